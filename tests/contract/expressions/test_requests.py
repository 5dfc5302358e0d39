"""What a request may leave out, repeat or reorder."""

import json

import pytest

from tests.contract.conftest import Post
from tests.contract.expressions.cases import POINT, TANGLED
from tests.contract.wire import EVALUATED, POSTS, json_of, smallest
from tests.rows import for_each


@for_each("operation", EVALUATED)
def test_inputs_are_optional_if_nothing_must_be_bound(post: Post, operation: str) -> None:
    request = smallest(operation, expression="x = 3; y = x*x", nonfinite="error")
    del request["inputs"]
    bare = post(operation, **request)
    assert bare.status_code == 200 and bare.content == post(operation, **request, inputs={}).content


@pytest.mark.parametrize("operation", POSTS)
def test_body_size_and_repetition_do_not_change_the_bytes(post: Post, operation: str) -> None:
    """Small bodies are handled on the event loop, large ones in the pool."""
    body = json.dumps(smallest(operation, expression=TANGLED, inputs=POINT)).encode()
    first = post(operation, content=body)
    assert first.status_code == 200 and first.content == post(operation, content=body).content
    assert first.content == post(operation, content=body + b" " * 100_000).content


def test_keys_may_be_in_any_order(post: Post) -> None:
    body = b'{"wrt": ["x"], "inputs": {"x": 2}, "expression": {"output": "y", "nodes": [{"args": ["x"], "op": "neg", "id": "y"}'
    body += b', {"data": 1, "op": "value", "id": "x"}]}}'
    assert json_of(post("backward", content=body)) == {"output": "y", "value": -2.0, "gradients": {"x": -1.0}}
