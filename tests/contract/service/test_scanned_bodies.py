"""Bodies below and above the size from which a compiled scanner reads lists: both get the same responses."""

import json
from typing import Any

import pytest

from tests.contract.conftest import Post
from tests.rows import for_each

PADDING = b" " * 5000
NODE = {"id": "x", "op": "sum", "args": list(range(17))}

BODIES: dict[str, tuple[str, bytes, int]] = {
    "an input called nodes": ("forward", b'{"expression": "nodes*2", "inputs": {"nodes": [1, 2, 3]}}', 200),
    "a tangent called nodes": (
        "jvp",
        b'{"expression": "nodes*2", "inputs": {"nodes": [1, 2]}, "tangents": {"nodes": [1, 1]}}',
        200,
    ),
    "nodes under an escaped key": (
        "backward",
        b'{"expression": {"\\u006eodes": [%s], "output": "x"}}' % json.dumps(NODE).encode(),
        200,
    ),
    "ignored nodes that are not JSON": (
        "backward",
        b'{"expression": {"nodes": [1 2 ?], "nodes": [{"id": "x", "op": "value", "data": 2}], "output": "x"}}',
        400,
    ),
    "unknown nodes that are not JSON": ("backward", b'{"expression": "x", "inputs": {"x": 1}, "nodes": [foo]}', 400),
    "numbers in place of names": (
        "backward",
        b'{"expression": "x", "inputs": {"x": 1}, "wrt": %s}' % json.dumps([*range(17)]).encode(),
        422,
    ),
    "rows in place of numbers": (
        "forward",
        b'{"expression": "x", "inputs": {"x": %s}}' % json.dumps([[*range(17)]] * 2).encode(),
        422,
    ),
    "numbers in place of layers": (
        "networks/predict",
        b'{"model": {"layers": %s}, "inputs": [[1]]}' % json.dumps([[*range(17)]] * 2).encode(),
        422,
    ),
}


@for_each(("operation", "body", "status"), BODIES.values())
def test_padding_changes_nothing(post: Post, operation: str, body: bytes, status: int) -> None:
    short, padded = post(operation, content=body), post(operation, content=body + PADDING)
    assert (short.status_code, padded.status_code) == (status, status)
    assert short.json() == padded.json()


@pytest.mark.parametrize(
    ("operation", "body"),
    [
        pytest.param("networks", {"inputs": 1e300, "layers": [1]}, id="inputs"),
        pytest.param("networks", {"inputs": 1, "layers": [1e300]}, id="layers"),
        pytest.param("networks", {"inputs": 9e18, "layers": [9e18, 9e18]}, id="many weights"),
        pytest.param("networks/history", {"history": [{"step": 1e300, "loss": 1}]}, id="step"),
        pytest.param("networks/history", {"history": [{"step": -1, "loss": 1}]}, id="negative step"),
    ],
)
def test_whole_numbers_out_of_range_are_refused(post: Post, operation: str, body: dict[str, Any]) -> None:
    assert post(operation, **body).status_code == 422
