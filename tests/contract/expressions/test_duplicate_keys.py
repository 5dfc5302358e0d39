"""Keys that appear twice in an object: the last one counts, as documented, and none is a server error."""

from tests.contract.conftest import Post
from tests.contract.wire import assert_never_5xx, json_of
from tests.rows import for_each

TWICE = [
    b'{"expression": "1", "expression": "2"}',
    b'{"expression": 5, "expression": "2"}',
    b'{"expression": "2", "expression": 5}',
    b'{"expression": {"nodes": [{"id": 5}]}, "expression": "2"}',
    b'{"expression": {"nodes": [{"id": "x", "op": "value", "data": []}], "output": "x"}, "expression": {"nodes": {}}}',
    b'{"inputs": {"x": "bad"}, "inputs": {"x": 1}, "expression": "x"}',
    b'{"inputs": {"x": [1, "bad"]}, "inputs": {"x": 1}, "expression": "x"}',
    b'{"inputs": {"x": [1, "bad"]}, "inputs": 5, "expression": "x"}',
    b'{"inputs": {"x": "bad", "x": 1}, "expression": "x"}',
    b'{"inputs": {"x": [[], 2], "x": [1, 2]}, "expression": "x"}',
    b'{"inputs": {"x": 1, "x": "bad"}, "expression": "x"}',
    b'{"extra": {}, "expression": "2", "extra": 3}',
    b'{"expression": {"extra": 1, "nodes": []}, "expression": "2"}',
    b'{"inputs": {"x": NaN}, "inputs": {"x": 1}, "expression": "x"}',
    b'{"inputs": {"x": 1e999}, "inputs": {"x": 1}, "expression": "x"}',
    b'{"inputs": {"x": 1e999, "x": 1}, "expression": "x"}',
    b'{"inputs": {"\\ud800": 1}, "inputs": {"x": 1}, "expression": "x"}',
]


@for_each("body", TWICE)
def test_duplicate_key_is_never_a_5xx(post: Post, body: bytes) -> None:
    assert_never_5xx(post("forward", content=body))


def test_the_last_of_two_keys_counts(post: Post) -> None:
    response = post("forward", content=b'{"expression": "x", "inputs": {"x": 1, "x": 2}, "inputs": {"x": 3, "x": 4}}')
    assert json_of(response)["value"] == 4.0
