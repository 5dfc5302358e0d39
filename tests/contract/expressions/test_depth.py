"""Deeply nested JSON and long texts are refused without exhausting the stack."""

import pytest

from tests.contract.conftest import Post
from tests.contract.wire import problem
from tests.rows import for_each

DEEP = {
    "open lists": b"[" * 100_000,
    "lists": b"[" * 100_000 + b"]" * 100_000,
    "objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "lists and objects": b"[{" * 50_000,
    **{f"{depth} lists": b"[" * depth + b"]" * depth for depth in (100, 500, 900, 1000, 1100, 3000)},
}


@for_each("name", DEEP)
@for_each("field", ["", "expression", "inputs", "tangents", "nonfinite", "wrt", "cotangent", "other"])
def test_deep_nesting_in_a_field_is_refused(post: Post, field: str, name: str) -> None:
    deep = DEEP[name]
    body = b'{"expression": "x", "' + field.encode() + b'": ' + deep + b"}" if field else deep
    response = post("hvp" if field == "tangents" else "backward", content=body)
    assert response.status_code in (400, 422)
    problem(response)


@for_each("name", DEEP)
@for_each(
    ("before", "after"),
    [
        (b'{"expression": {"nodes": ', b', "output": "x"}}'),
        (b'{"expression": {"nodes": [{"id": "x", "op": "add", "args": ', b'}], "output": "x"}}'),
        (b'{"expression": {"nodes": [{"id": "x", "op": "value", "data": ', b'}], "output": "x"}}'),
        (b'{"expression": {"nodes": [{"id": "x", "op": "value", "label": ', b'}], "output": "x"}}'),
        (b'{"expression": "x", "inputs": {"x": ', b"}}"),
        (b'{"expression": "x", "inputs": {"x": [1, ', b"]}}"),  # item of an input
    ],
)
def test_deep_nesting_deep_inside_is_refused(post: Post, before: bytes, after: bytes, name: str) -> None:
    response = post("forward", content=before + DEEP[name] + after)
    assert response.status_code in (400, 422)
    problem(response)


@pytest.mark.parametrize(
    "text",
    [
        "(" * 100_000,
        "(" * 100_000 + "x",
        ")" * 100_000,
        "[" * 100_000,
        "-" * 100_000,
        "x" + "+" * 100_000,
        "sin(" * 50_000,
        "x**" * 50_000,
    ]
    + [
        "x if " * 50_000,
        "x if x else " * 50_000,
        "@#$%" * 50_000,
        "\x00" * 200_000,
        "é" * 200_000,
        "q" * 200_000,
        "9" * 200_000,
        "\n" * 200_000,
    ]
    + [
        ";" * 200_000,
        "x x" * 60_000,
        "x=" * 60_000,
        "x,y" * 60_000,
        '"' * 200_000,
        "." * 200_000,
        "1e" * 60_000,
        "# " * 100_000,
        "max(x," * 30_000,
    ],
    ids=lambda text: repr(text[:12]),
)
def test_long_text_that_is_not_an_expression_is_a_422(post: Post, text: str) -> None:
    problem(post("forward", expression=text), status=422)
