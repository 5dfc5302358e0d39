"""Lone surrogates, invalid UTF-8, control characters and very long names, in every place for a string."""

import json
from typing import Any

from tests.contract.conftest import Post
from tests.contract.expressions.requests import HOLE
from tests.contract.wire import assert_never_5xx, graph, leaf, node, problem, smallest, strict
from tests.rows import for_each

SURROGATES = [
    b"\\ud800",
    b"\\udfff",
    b"a\\ud800b",
    b"\\udc00\\ud800",
    b"\\ud800\\u0041",
    b"\xed\xa0\x80",
    b"\xed\xb0\x80",
    b"\xff",
    b"\xc0\xaf",
]

SURROGATES += [b"\xf5\x80\x80\x80", b"\xe2\x82", b"\x80"]

STRING_PLACES: list[tuple[str, dict[str, Any]]] = [
    ("forward", {"expression": HOLE}),
    ("forward", {"expression": f"x + {HOLE}"}),
    ("forward", {"expression": graph(leaf(HOLE, 1), leaf("x", 1))}),
    ("forward", {"expression": graph({"id": "x", "op": HOLE})}),
    ("forward", {"expression": graph(leaf("x", 1), node("y", "neg", HOLE))}),
    ("forward", {"expression": graph({**leaf("x", 1), "label": HOLE})}),
    ("forward", {"expression": {"nodes": [leaf("x", 1)], "output": HOLE}}),
    ("forward", {"inputs": {HOLE: 1}}),
    ("forward", {"inputs": {"x": 1}, HOLE: 1}),
    ("forward", {"nonfinite": HOLE}),
    ("backward", {"wrt": [HOLE]}),
    ("jvp", {"tangents": {HOLE: 1}}),
    ("jacobian", {"outputs": [HOLE]}),
]

STRANGE = ["\x00", "\x1b[31m", "\u202e", "\u2028", "\ufeff", "😀", "a - at `$.inputs[...]", "$[0]", "..", "%s{0}"]
LONG = ["q" * 500_000, "\x7f" * 9999]


@for_each("piece", SURROGATES)
@for_each(("operation", "fields"), STRING_PLACES)
def test_lone_surrogate_or_invalid_utf8_is_refused(post: Post, operation: str, fields: dict[str, Any], piece: bytes) -> None:
    template = json.dumps(smallest(operation, **fields)).encode()
    body = problem(post(operation, content=template.replace(HOLE.encode(), piece)))
    allowed = ("/problems/invalid-json", "/problems/invalid-request") if b"\\" in piece else ("/problems/invalid-json",)
    assert body["type"] in allowed


@for_each("piece", STRANGE + LONG)
@for_each(("operation", "fields"), STRING_PLACES)
def test_strange_text_is_never_a_5xx(post: Post, operation: str, fields: dict[str, Any], piece: str) -> None:
    """A long name is refused. A label may have any length."""
    template = json.dumps(smallest(operation, **fields))
    response = post(operation, content=template.replace(HOLE, json.dumps(piece)[1:-1]).encode())
    assert_never_5xx(response)
    if piece in LONG and "label" not in template:
        problem(response, status=422)


def test_escaped_surrogate_pair_is_one_character(post: Post) -> None:
    body = b'{"expression": {"nodes": [{"id": "\\ud83d\\ude00", "op": "value", "data": 2}], "output": "\xf0\x9f\x98\x80"}}'
    assert strict(post("forward", content=body).content) == {"output": "😀", "value": 2.0}
