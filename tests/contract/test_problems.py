"""Errors: their one shape, every kind of them with its place in the body, and the pages behind their types."""

import json
import re
from typing import Any

import httpx
import pytest

from tests.contract.conftest import Post
from tests.contract.wire import (
    GETS,
    POSTS,
    exchange,
    graph,
    head,
    leaf,
    node,
    problem,
    resolve,
    smallest,
    status_of,
    strict,
)

TYPES = {
    "invalid-json": 400,
    "invalid-request": 422,
    "unknown-node": 422,
    "duplicate-node": 422,
    "graph-cycle": 422,
    "unknown-primitive": 422,
    "wrong-arity": 422,
    "unbound-input": 422,
    "syntax-error": 422,
    "shape-mismatch": 422,
    "non-finite": 422,
    "too-large": 413,
    "unauthorized": 401,
    "not-acceptable": 406,
    "unsupported-media-type": 415,
    "not-found": 404,
    "method-not-allowed": 405,
    "overloaded": 503,
    "deadline-exceeded": 503,
    "internal": 500,
}

X, Y = leaf("x", 1.0), leaf("y", 2.0)

# (operation, what differs from the smallest request, problem, pointer, words of the detail)
CASES: list[tuple[str, dict[str, Any], str, str, list[str]]] = [
    # --- shape
    ("forward", {"expression": 5}, "invalid-request", "/expression", ["string", "object", "integer"]),
    ("forward", {"expression": None}, "invalid-request", "/expression", ["null"]),
    ("forward", {"expression": ["x"]}, "invalid-request", "/expression", ["list"]),
    ("forward", {"inputs": 5}, "invalid-request", "/inputs", ["object", "integer"]),
    ("forward", {"inputs": [1]}, "invalid-request", "/inputs", ["object", "list"]),
    ("forward", {"inputs": None}, "invalid-request", "/inputs", ["object", "null"]),
    ("forward", {"inputs": {"x": "3.5"}}, "invalid-request", "/inputs/x", ["number", "string"]),
    ("forward", {"inputs": {"x": True}}, "invalid-request", "/inputs/x", ["number", "boolean"]),
    ("forward", {"inputs": {"x": None}}, "invalid-request", "/inputs/x", ["number", "null"]),
    ("forward", {"inputs": {"x": {}}}, "invalid-request", "/inputs/x", ["number", "object"]),
    ("forward", {"inputs": {"x": [1, "2"]}}, "invalid-request", "/inputs/x/1", ["number", "string"]),
    ("forward", {"inputs": {"x": [[1]]}}, "invalid-request", "/inputs/x/0", ["number", "list"]),
    ("forward", {"inputs": {"a": 1, "x": [1, None]}}, "invalid-request", "/inputs/x/1", ["number", "null"]),
    ("forward", {"inputs": {"a/b~c": [1, False]}}, "invalid-request", "/inputs/a~1b~0c/1", ["number", "boolean"]),
    ("forward", {"inputs": {"": "q"}}, "invalid-request", "/inputs/", ["number"]),
    ("forward", {"input": {}}, "invalid-request", "/input", ["unknown", "'inputs'"]),
    ("forward", {"wrt": ["x"]}, "invalid-request", "/wrt", ["unknown"]),
    ("forward", {"a/b~c": 1}, "invalid-request", "/a~1b~0c", ["unknown"]),
    ("forward", {"nonfinite": "nul"}, "invalid-request", "/nonfinite", ["error", "null"]),
    ("forward", {"nonfinite": None}, "invalid-request", "/nonfinite", []),
    ("forward", {"values": 1}, "invalid-request", "/values", ["true or false", "integer"]),
    ("forward", {"values": "true"}, "invalid-request", "/values", ["true or false", "string"]),
    ("backward", {"wrt": "x"}, "invalid-request", "/wrt", ["list", "string"]),
    ("backward", {"wrt": [1]}, "invalid-request", "/wrt/0", ["string", "integer"]),
    ("backward", {"wrt": ["x", None]}, "invalid-request", "/wrt/1", ["string", "null"]),
    ("backward", {"cotangent": "1"}, "invalid-request", "/cotangent", ["number", "string"]),
    ("backward", {"cotangent": True}, "invalid-request", "/cotangent", ["number", "boolean"]),
    ("backward", {"cotangent": [1, "1"]}, "invalid-request", "/cotangent/1", ["number", "string"]),
    ("jvp", {"tangents": {"x": "1"}}, "invalid-request", "/tangents/x", ["number", "string"]),
    ("jvp", {"tangents": {"x": [True]}}, "invalid-request", "/tangents/x/0", ["number", "boolean"]),
    ("hvp", {"tangents": 1}, "invalid-request", "/tangents", ["object", "integer"]),
    ("jacobian", {"outputs": "x"}, "invalid-request", "/outputs", ["list", "string"]),
    ("jacobian", {"outputs": []}, "invalid-request", "/outputs", []),
    ("check", {"tolerance": "1"}, "invalid-request", "/tolerance", ["number", "string"]),
    ("check", {"tolerance": -1}, "invalid-request", "/tolerance", ["number", "0"]),
    ("graph", {"gradients": "yes"}, "invalid-request", "/gradients", ["true or false"]),
    ("parse", {"values": True}, "invalid-request", "/values", ["unknown"]),
    ("forward", {"expression": {}}, "invalid-request", "/expression/nodes", ["missing"]),
    ("forward", {"expression": {"nodes": []}}, "invalid-request", "/expression/output", ["output"]),
    ("forward", {"expression": {"nodes": [], "output": "x"}}, "invalid-request", "/expression/nodes", ["one node"]),
    ("forward", {"expression": {"nodes": {}, "output": "x"}}, "invalid-request", "/expression/nodes", ["list", "object"]),
    ("forward", {"expression": {"nodes": [5], "output": "x"}}, "invalid-request", "/expression/nodes/0", ["object", "integer"]),
    ("forward", {"expression": {"nodes": [X], "output": 5}}, "invalid-request", "/expression/output", ["string", "integer"]),
    ("forward", {"expression": {"nodes": [X], "outputs": ["x"]}}, "invalid-request", "/expression/outputs", ['"output"']),
    ("jacobian", {"expression": {"nodes": [X], "outputs": []}}, "invalid-request", "/expression/outputs", []),
    ("jacobian", {"expression": {"nodes": [X], "outputs": [5]}}, "invalid-request", "/expression/outputs/0", ["string"]),
    ("forward", {"expression": graph(X, extra=1)}, "invalid-request", "/expression/extra", ["unknown"]),
    ("forward", {"expression": graph({"id": "x"})}, "invalid-request", "/expression/nodes/0/op", ["missing"]),
    (
        "forward",
        {"expression": {"nodes": [{"op": "value"}], "output": "x"}},
        "invalid-request",
        "/expression/nodes/0/id",
        ["missing"],
    ),
    (
        "forward",
        {"expression": graph(X, {**Y, "date": 1})},
        "invalid-request",
        "/expression/nodes/1/date",
        ["unknown", "'data'"],
    ),
    (
        "forward",
        {"expression": graph(X, {**Y, "data": "2"})},
        "invalid-request",
        "/expression/nodes/1/data",
        ["number", "string"],
    ),
    (
        "forward",
        {"expression": graph(X, {**Y, "data": True})},
        "invalid-request",
        "/expression/nodes/1/data",
        ["number", "boolean"],
    ),
    (
        "forward",
        {"expression": graph(X, {**Y, "data": [2]})},
        "invalid-request",
        "/expression/nodes/1/data",
        ["number", "list"],
    ),
    ("forward", {"expression": graph(X, {**Y, "label": 2})}, "invalid-request", "/expression/nodes/1/label", ["string"]),
    (
        "forward",
        {"expression": graph(X, {"id": 5, "op": "value"}, output="x")},
        "invalid-request",
        "/expression/nodes/1/id",
        ["string"],
    ),
    ("forward", {"expression": graph(X, {"id": "z", "op": 5})}, "invalid-request", "/expression/nodes/1/op", ["string"]),
    (
        "forward",
        {"expression": graph(X, {"id": "z", "op": "neg", "args": "x"})},
        "invalid-request",
        "/expression/nodes/1/args",
        ["list"],
    ),
    ("forward", {"expression": graph(X, node("z", "neg", True))}, "invalid-request", "/expression/nodes/1/args/0", ["boolean"]),
    ("forward", {"expression": graph(X, node("z", "add", 1, None))}, "invalid-request", "/expression/nodes/1/args/1", ["null"]),
    (
        "forward",
        {"expression": graph(X, node("z", "add", 1, ["x"]))},
        "invalid-request",
        "/expression/nodes/1/args/1",
        ["list"],
    ),
    ("forward", {"expression": graph(X, leaf(""), output="x")}, "invalid-request", "/expression/nodes/1/id", ["128"]),
    ("forward", {"expression": graph(X, leaf("q" * 129), output="x")}, "invalid-request", "/expression/nodes/1/id", ["128"]),
    ("forward", {"expression": graph(X, leaf("\x1f"), output="x")}, "invalid-request", "/expression/nodes/1/id", ["control"]),
    (
        "forward",
        {"expression": graph(X, node("z", "neg", "x", data=1))},
        "invalid-request",
        "/expression/nodes/1/data",
        ["'z'"],
    ),
    ("forward", {"expression": "x = 1; y = x*x", "inputs": {"y": 2}}, "invalid-request", "/inputs/y", ["'y'", "leaf"]),
    ("forward", {"expression": "q" * 129, "inputs": {}}, "syntax-error", "/expression", ["line 1", "column 1", "128"]),
    # --- names
    (
        "forward",
        {"expression": graph(X, Y, node("z", "add", "x", "yy"))},
        "unknown-node",
        "/expression/nodes/2/args/1",
        ["'yy'", "'y'"],
    ),
    (
        "forward",
        {"expression": {"nodes": [leaf("weight", 1)], "output": "wieght"}},
        "unknown-node",
        "/expression/output",
        ["'wieght'", "'weight'"],
    ),
    (
        "jacobian",
        {"expression": {"nodes": [X, Y], "outputs": ["x", "yy"]}},
        "unknown-node",
        "/expression/outputs/1",
        ["'yy'", "'y'"],
    ),
    ("jacobian", {"expression": {"nodes": [X, Y], "outputs": ["z"]}}, "unknown-node", "/expression/outputs/0", ["'z'"]),
    (
        "jacobian",
        {"expression": "first = x", "outputs": ["first", "frist"]},
        "unknown-node",
        "/outputs/1",
        ["'frist'", "'first'"],
    ),
    ("backward", {"wrt": ["x", "z"]}, "unknown-node", "/wrt/1", ["'z'", "'x'"]),
    ("hessian", {"wrt": ["z"]}, "unknown-node", "/wrt/0", ["'z'"]),
    ("check", {"wrt": ["x", "x", "z"]}, "unknown-node", "/wrt/2", ["'z'"]),
    ("forward", {"inputs": {"x": 1, "y": 2}}, "unknown-node", "/inputs/y", ["'y'", "'x'"]),
    ("forward", {"inputs": {"x": 1, "a/b~c": 2}}, "unknown-node", "/inputs/a~1b~0c", ["'a/b~c'"]),
    ("parse", {"inputs": {"y": [2]}}, "unknown-node", "/inputs/y", ["'y'"]),
    ("jvp", {"tangents": {"x": 1, "y": 2}}, "unknown-node", "/tangents/y", ["'y'"]),
    ("hvp", {"tangents": {"a/b": 2}}, "unknown-node", "/tangents/a~1b", ["'a/b'"]),
    (
        "forward",
        {"expression": graph(X, Y, leaf("x"), output="x")},
        "duplicate-node",
        "/expression/nodes/2/id",
        ["'x'", "0", "2"],
    ),
    ("forward", {"expression": "a = x\na = 2*x"}, "duplicate-node", "/expression", ["'a'", "line 2, column 1"]),
    ("forward", {"expression": "a = x; x = 3; a"}, "duplicate-node", "/expression", ["'x'", "line 1, column 8"]),
    (
        "forward",
        {"expression": graph(X, node("z", "sn", "x"))},
        "unknown-primitive",
        "/expression/nodes/1/op",
        ["'sn'", "'sin'"],
    ),
    ("forward", {"expression": graph(X, node("z", "", "x"))}, "unknown-primitive", "/expression/nodes/1/op", ["''"]),
    (
        "forward",
        {"expression": graph(X, node("z", "POW", "x", 2))},
        "unknown-primitive",
        "/expression/nodes/1/op",
        ["'POW'", "'pow'"],
    ),
    ("forward", {"expression": "x + sn(x)"}, "unknown-primitive", "/expression", ["'sn'", "'sin'", "line 1, column 5"]),
    ("forward", {"expression": "value(x)"}, "unknown-primitive", "/expression", ["'value'", "column 1"]),
    ("forward", {"expression": "div(x, 2) + divided(x, 2)"}, "unknown-primitive", "/expression", ["'divided'", "'divide'"]),
    # --- arity
    (
        "forward",
        {"expression": graph(X, node("z", "sin", "x", "x"))},
        "wrong-arity",
        "/expression/nodes/1/args",
        ["sin", "1", "2", "'z'"],
    ),
    ("forward", {"expression": graph(X, node("z", "pow", "x"))}, "wrong-arity", "/expression/nodes/1/args", ["pow", "2", "1"]),
    ("forward", {"expression": graph(X, {"id": "z", "op": "neg"})}, "wrong-arity", "/expression/nodes/1/args", ["neg", "0"]),
    ("forward", {"expression": graph(node("z", "sum"))}, "wrong-arity", "/expression/nodes/0/args", ["sum", "0"]),
    (
        "forward",
        {"expression": graph(X, node("z", "where", 1, 2))},
        "wrong-arity",
        "/expression/nodes/1/args",
        ["where", "3", "2"],
    ),
    ("forward", {"expression": graph(X, node("z", "value", "x"))}, "wrong-arity", "/expression/nodes/1/args", ["1"]),
    ("forward", {"expression": "1 + sin(x, x)"}, "wrong-arity", "/expression", ["sin", "line 1, column 5"]),
    ("forward", {"expression": "max(x)"}, "wrong-arity", "/expression", ["max", "2", "1"]),
    ("forward", {"expression": "exp()"}, "wrong-arity", "/expression", ["exp", "0"]),
    # --- cycles
    ("forward", {"expression": graph(node("a", "neg", "b"), node("b", "neg", "a"))}, "graph-cycle", "/expression/nodes/1", []),
    ("forward", {"expression": graph(X, node("a", "neg", "a"))}, "graph-cycle", "/expression/nodes/1", ["a -> a"]),
    ("forward", {"expression": graph(X, node("a", "neg", "a"), output="x")}, "graph-cycle", "/expression/nodes/1", ["a -> a"]),
    # --- numbers missing
    ("forward", {"expression": "x*y"}, "unbound-input", "/expression", ["'y'", "inputs"]),
    (
        "forward",
        {"expression": graph(leaf("x"), leaf("z"), node("y", "mul", "x", "z"))},
        "unbound-input",
        "/expression/nodes/1",
        ["'z'"],
    ),
    ("forward", {"expression": "x", "inputs": {}}, "unbound-input", "/expression", ["'x'"]),
    ("graph", {"expression": "x", "inputs": {}}, "unbound-input", "/expression", ["'x'"]),
    # --- text
    ("forward", {"expression": ""}, "syntax-error", "/expression", ["line 1, column 1", "expected"]),
    ("forward", {"expression": "# nothing"}, "syntax-error", "/expression", ["line 1, column 10", "expected"]),
    ("forward", {"expression": "a = x\nb = (a + 1\nb"}, "syntax-error", "/expression", ["line 3, column 1", "expected", "')'"]),
    ("forward", {"expression": "x +"}, "syntax-error", "/expression", ["line 1, column 4", "expected", "number"]),
    ("forward", {"expression": "(x\n  + * 2)"}, "syntax-error", "/expression", ["line 2, column 5", "expected", "'*'"]),
    ("forward", {"expression": "2x"}, "syntax-error", "/expression", ["line 1, column 2", "operator", "'x'"]),
    ("forward", {"expression": "x^2"}, "syntax-error", "/expression", ["line 1, column 2", "**"]),
    ("forward", {"expression": "x = x == "}, "syntax-error", "/expression", ["line 1, column 10", "end"]),
    ("forward", {"expression": "f(x) = 2"}, "unknown-primitive", "/expression", ["'f'"]),
    ("forward", {"expression": "x if x"}, "syntax-error", "/expression", ["line 1, column 7", "'else'"]),
    ("forward", {"expression": "max(x, 2"}, "syntax-error", "/expression", ["line 1, column 9", "')'"]),
    ("forward", {"expression": "x)"}, "syntax-error", "/expression", ["line 1, column 2", "')'"]),
    ("forward", {"expression": "x; x"}, "syntax-error", "/expression", ["line 1, column 1", "last"]),
    ("forward", {"expression": "x.real"}, "syntax-error", "/expression", ["line 1, column 2"]),
    ("forward", {"expression": "'x'"}, "syntax-error", "/expression", ["line 1, column 1"]),
    ("forward", {"expression": "1e999"}, "syntax-error", "/expression", ["line 1, column 1", "1.8e308"]),
    ("forward", {"expression": "x + 1__0"}, "syntax-error", "/expression", ["line 1, column 5"]),
    ("forward", {"expression": "x\x00"}, "syntax-error", "/expression", ["line 1, column 2"]),
    ("forward", {"expression": "x² + 1", "inputs": {}}, "syntax-error", "/expression", ["line 1, column"]),
    ("forward", {"expression": "x + ٣"}, "syntax-error", "/expression", ["line 1, column 5"]),
    # --- lengths
    (
        "forward",
        {"expression": "x*y", "inputs": {"x": [1, 2], "y": [1, 2, 3]}},
        "shape-mismatch",
        "/inputs/y",
        ["2", "3", "'x'", "'y'"],
    ),
    ("forward", {"expression": "x*y", "inputs": {"x": [1, 2], "y": []}}, "shape-mismatch", "/inputs/y", ["2", "0"]),
    ("parse", {"expression": "x*y", "inputs": {"x": [1, 2], "y": [1]}}, "shape-mismatch", "/inputs/y", ["2", "1"]),
    ("backward", {"inputs": {"x": [1, 2]}, "cotangent": [1, 2, 3]}, "shape-mismatch", "/cotangent", ["2", "3"]),
    ("jvp", {"inputs": {"x": [1, 2]}, "tangents": {"x": [1]}}, "shape-mismatch", "/tangents/x", ["2", "1"]),
    (
        "hvp",
        {"expression": "x*y", "inputs": {"x": 1, "y": 2}, "tangents": {"x": [1, 2], "y": [1]}},
        "shape-mismatch",
        "/tangents/y",
        ["2", "1"],
    ),
    # --- not finite: see test_expressions for the words
    ("forward", {"expression": "log(x)", "inputs": {"x": -1}}, "non-finite", "/expression", ["log(-1.0)", "NaN"]),
    ("forward", {"expression": graph(X, node("y", "divide", 1, 0))}, "non-finite", "/expression/nodes/1", ["'y'"]),
]


@pytest.mark.parametrize(("operation", "fields", "name", "pointer", "words"), CASES)
def test_a_fault_in_the_body(
    post: Post, operation: str, fields: dict[str, Any], name: str, pointer: str, words: list[str]
) -> None:
    request = smallest(operation, **fields)
    body = problem(post(operation, **request), name, 422, pointer)
    assert all(word in body["detail"] for word in words), body["detail"]
    for entry in body["errors"]:
        resolve(request, entry["pointer"].rpartition("/")[0])
    assert not re.search(r"\b(float|int|str|bool|array|dict|struct|enum)\b", body["detail"]), "the words are JSON's"


@pytest.mark.parametrize("body", [b"[]", b"1", b'"x"', b"null", b"true", b"[1e999]", b"NaN", b"1e999", b"-Infinity"])
def test_a_body_that_is_no_object(post: Post, body: bytes) -> None:
    """Its place is the whole document, to which the empty pointer leads."""
    pointer = "/0" if body.startswith(b"[1") else ""
    for operation in POSTS:
        problem(post(operation, content=body), "invalid-request", 422, pointer)


@pytest.mark.parametrize("operation", POSTS)
def test_a_missing_field(post: Post, operation: str) -> None:
    request = smallest(operation)
    del request["expression"]
    assert "missing" in problem(post(operation, **request), "invalid-request", 422, "/expression")["detail"]


@pytest.mark.parametrize(
    "body",
    [b"", b" ", b"{", b'{"expression": "x"', b'{"expression": "x",}', b"{'expression': 'x'}", b'{"expression": "x"} {}']
    + [b"\xff\xfe", b'{"expression": "\xff"}', b'\xef\xbb\xbf{"expression": "1"}', '{"expression": "1"}'.encode("utf-16")]
    + [b"expression=x", b"<x/>", b"\x00", b'{"expression": "a\nb"}', b'{"expression": 01}', b'{"expression": -NaN}', b"[" * 10],
)
def test_a_body_that_is_no_json(post: Post, body: bytes) -> None:
    found = problem(post("forward", content=body), "invalid-json", 400)
    assert "errors" not in found


def test_invalid_json_says_where_reading_stopped(post: Post) -> None:
    detail = problem(post("forward", content=b'{"expression": "x",\n "inputs": }'), "invalid-json", 400)["detail"]
    assert "line 2, column 12" in detail


@pytest.mark.parametrize("ring", [2, 3, 12, 13, 1000])
def test_a_cycle_is_spelled_out(post: Post, ring: int) -> None:
    """`a -> b -> a`: each named node is followed by one of its arguments (or each by its user) and the first comes last."""
    arguments = {f"n{k}": f"n{(k + 1) % ring}" for k in range(ring)}
    nodes = [node(name, "neg", argument) for name, argument in arguments.items()]
    detail = problem(post("forward", expression=graph(X, *nodes)), "graph-cycle", 422)["detail"]
    shown = re.findall(r"\bn\d+\b", detail)
    assert shown[0] == shown[-1]
    if ring <= 3:
        assert " -> ".join(shown) in detail and len(shown) == ring + 1
        pairs = list(zip(shown, shown[1:], strict=False))
        assert all(arguments[a] == b for a, b in pairs) or all(arguments[b] == a for a, b in pairs)


def test_a_bystander_is_not_part_of_the_cycle(post: Post) -> None:
    nodes = [node("top", "neg", "a"), node("a", "add", "x", "b"), node("b", "neg", "a"), X]
    detail = problem(post("forward", expression={"nodes": nodes, "output": "top"}), "graph-cycle", 422)["detail"]
    assert "top" not in detail and ("a -> b -> a" in detail or "b -> a -> b" in detail)


# --- no echo

SECRET = "s3cr3tMarker"
ECHOES: list[tuple[str, Any]] = [
    ("value of an unknown field", {"expression": "1", "other": SECRET}),
    ("value of an unknown field of a node", {"expression": graph({**X, "other": {SECRET: SECRET}})}),
    ("number", {"expression": "x", "inputs": {"x": SECRET}}),
    ("item", {"expression": "x", "inputs": {"x": [1, SECRET]}}),
    ("data", {"expression": graph({**X, "data": SECRET})}),
    ("nonfinite", {"expression": "1", "nonfinite": SECRET}),
    ("values", {"expression": "1", "values": SECRET}),
    ("inputs", {"expression": "1", "inputs": SECRET}),
    ("nodes", {"expression": {"nodes": SECRET, "output": "x"}}),
    ("expression", {"expression": [SECRET]}),
    ("label", {"expression": graph({**X, "label": SECRET}, node("y", "nope", "x", label=SECRET))}),
    ("other ids", {"expression": graph(leaf(SECRET, 1), X, node("y", "nope", "x"))}),
    ("comment", {"expression": f"x +* 2  # {SECRET}", "inputs": {"x": 1}}),
    ("text around", {"expression": f"{SECRET} = 1\ny = 2 + * {SECRET}", "inputs": {}}),
    ("text that is not finite", {"expression": f"{SECRET} = 1; y = log(-1)"}),
    ("other inputs", {"expression": f"{SECRET} = x; log({SECRET}*0 - 1)", "inputs": {"x": 1}}),
    ("body", SECRET),
    ("list", [SECRET]),
]


@pytest.mark.parametrize(("where", "body"), ECHOES, ids=[where for where, _ in ECHOES])
def test_no_error_echoes_the_body(post: Post, where: str, body: Any) -> None:
    response = post("forward", content=json.dumps(body).encode())
    problem(response)
    assert SECRET not in response.text and SECRET not in str(response.headers)


@pytest.mark.parametrize("cut", [1, 5, 20, 40, 60])
def test_no_error_echoes_a_body_that_is_no_json(post: Post, cut: int) -> None:
    body = json.dumps({SECRET: SECRET, "expression": SECRET, "x": [SECRET]}).encode()[:-cut]
    for content in (body, b"\xff" + body, body + b"\xed\xa0\x80", body + b"\x00", SECRET.encode()):
        response = post("forward", content=content)
        problem(response, "invalid-json", 400)
        assert SECRET not in response.text


# --- methods, media types, unknown paths


@pytest.mark.parametrize("path", ["/nope", "/v1", "/v1/", "/v1/nope", "/v1/forward/", "/v2/forward", "/problems", "/docs/a/b"])
def test_an_unknown_path(client: httpx.Client, path: str) -> None:
    for method in ("GET", "POST", "DELETE"):
        problem(client.request(method, path), "not-found", 404)


@pytest.mark.parametrize("path", ["/problems/nope", "/docs/nope.js", "/problems/Invalid-json"])
def test_an_unknown_page(client: httpx.Client, path: str) -> None:
    problem(client.get(path), "not-found", 404)


@pytest.mark.parametrize(
    "path", ["/a%00b", "/%ff%fe", "/%2e%2e/%2e%2e/etc/passwd", "/docs/..%2f..%2fpyproject.toml", "/v1/" + "x" * 20000]
)
def test_a_strange_path(client: httpx.Client, path: str) -> None:
    """None leads out of the house, and a long one is not repeated in full."""
    response = client.get(path)
    problem(response, status=404)
    assert len(response.content) < 1000


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_another_method_than_post(client: httpx.Client, method: str) -> None:
    for operation in POSTS:
        response = client.request(method, f"/v1/{operation}")
        problem(response, "method-not-allowed", 405)
        assert response.headers["allow"] == "POST"


@pytest.mark.parametrize("path", GETS)
def test_another_method_than_get(client: httpx.Client, path: str) -> None:
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        response = client.request(method, path)
        problem(response, "method-not-allowed", 405)
        assert set(re.split(r",\s*", response.headers["allow"])) == {"GET", "HEAD"}, "both are answered"


@pytest.mark.parametrize("path", GETS)
def test_head_is_get_without_the_body(client: httpx.Client, path: str) -> None:
    get, head = client.get(path), client.head(path)
    assert get.status_code == head.status_code == 200
    assert head.content == b"" and len(get.content) > 0
    changing = {"x-request-id", "date"}
    assert {k: v for k, v in head.headers.items() if k not in changing} == {
        k: v for k, v in get.headers.items() if k not in changing
    }


def test_head_of_nothing_and_of_a_computation(client: httpx.Client) -> None:
    assert client.head("/nope").status_code == 404
    response = client.head("/v1/forward")
    assert response.status_code == 405 and response.headers["allow"] == "POST" and response.content == b""


ACCEPTED = ["application/json", "*/*", "application/*", "text/html, */*;q=0.1", "application/json;q=0.001", "APPLICATION/JSON"]
ACCEPTED += ["application/json; charset=utf-8", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"]
REFUSED = [
    "text/html",
    "application/xml",
    "application/json;q=0",
    "*/*;q=0",
    "application/json;q=0, */*",
    "image/*",
    "application/jsonx",
]


@pytest.mark.parametrize("accept", ACCEPTED)
def test_accept_that_takes_json(post: Post, client: httpx.Client, accept: str) -> None:
    for operation in POSTS:
        response = post(operation, **smallest(operation), headers={"Accept": accept})
        assert response.status_code == 200 and response.headers["content-type"] == "application/json"
    assert client.get("/v1/info", headers={"Accept": accept}).status_code == 200


@pytest.mark.parametrize("accept", REFUSED)
def test_accept_that_rules_json_out(post: Post, client: httpx.Client, accept: str) -> None:
    for operation in POSTS if "*/*" not in accept else ["forward", "check"]:
        body = problem(post(operation, **smallest(operation), headers={"Accept": accept}), "not-acceptable", 406)
        assert "application/json" in body["detail"]
    problem(client.get("/v1/primitives", headers={"Accept": accept}), "not-acceptable", 406)


def test_two_accept_headers_are_one_list(client: httpx.Client) -> None:
    """RFC 9110, 5.3: a field that comes twice is its values joined by commas."""
    headers = [("Accept", "text/html"), ("Accept", "application/json")]
    assert client.post("/v1/forward", json={"expression": "1"}, headers=headers).status_code == 200


def test_a_graph_that_is_no_picture(post: Post) -> None:
    """Where no offered type is accepted, the detail lists those there are."""
    response = post("graph", **smallest("graph"), headers={"Accept": "image/webp"})
    detail = problem(response, "not-acceptable", 406)["detail"]
    assert "application/json" in detail and "text/vnd.graphviz" in detail


@pytest.mark.parametrize("accept", ["application/json", "text/html", "text/html;q=0", "*/*"])
def test_the_page_behind_a_type_is_for_everyone_who_follows_the_link(client: httpx.Client, accept: str) -> None:
    """A client that asks for JSON everywhere follows `type` too; a page is better than another problem."""
    assert client.get("/problems/non-finite", headers={"Accept": accept}).status_code in (200, 406)
    assert client.get("/problems/non-finite", headers={"Accept": f"{accept}, */*;q=0.1"}).status_code in (200, 406)
    assert client.get("/problems/non-finite").status_code == 200


GOOD_TYPES = ["application/json", "application/json; charset=utf-8", "Application/JSON", 'application/json;charset="UTF-8"']
BAD_TYPES = [
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "application/xml",
    "json",
    "*/*",
]
BAD_TYPES += ["application/octet-stream", "application/jsonx", "text/json-but-not", "x" * 5000]


@pytest.mark.parametrize("content_type", GOOD_TYPES)
def test_content_types_that_are_read(post: Post, content_type: str) -> None:
    assert post("forward", content=b'{"expression": "1"}', headers={"Content-Type": content_type}).status_code == 200


@pytest.mark.parametrize("content_type", BAD_TYPES)
def test_content_types_that_are_not(post: Post, content_type: str) -> None:
    for operation in ("forward", "graph"):
        response = post(operation, content=json.dumps(smallest(operation)).encode(), headers={"Content-Type": content_type})
        assert "application/json" in problem(response, "unsupported-media-type", 415)["detail"]


def test_a_body_without_a_content_type_is_taken_for_json(client: httpx.Client) -> None:
    """Many clients send none; what else could it be?"""
    assert client.post("/v1/forward", content=b'{"expression": "1"}').status_code == 200


@pytest.mark.parametrize("coding", ["deflate", "br", "gzip, identity"])
def test_compressed_bodies_are_not_read(post: Post, coding: str) -> None:
    response = post("forward", content=b'{"expression": "1"}', headers={"Content-Encoding": coding})
    problem(response, "unsupported-media-type", 415)


# --- request ids


@pytest.mark.parametrize("given", ["abc", "0", "a" * 128, "7d3f2c9e-0000-4000-8000-000000000000", "a/b=c+d:e;f,g", "~"])
def test_a_valid_request_id_is_taken(client: httpx.Client, given: str) -> None:
    headers = {"X-Request-ID": given}
    assert client.get("/livez", headers=headers).headers.get_list("x-request-id") == [given]
    assert client.post("/v1/forward", json={"expression": "1"}, headers=headers).headers["x-request-id"] == given
    assert client.post("/v1/forward", json={"expression": ""}, headers=headers).headers["x-request-id"] == given
    assert client.get("/nope", headers=headers).headers["x-request-id"] == given
    assert client.get("/docs", headers=headers).headers["x-request-id"] == given


@pytest.mark.parametrize("given", ["a" * 129, "a b", "a" * 5000, ""])
def test_another_is_replaced(client: httpx.Client, given: str) -> None:
    made = client.get("/livez", headers={"X-Request-ID": given}).headers["x-request-id"]
    assert made != given and re.fullmatch(r"[\x21-\x7e]{8,128}", made)


@pytest.mark.parametrize("given", ["a\tb", "é", "a\x80", "a\x01b", "a\x00b", "a\x7fb", "x\rSet-Cookie: y"])
def test_control_characters_are_never_returned(base_url: str, given: str) -> None:
    received = exchange(base_url, head(base_url, "/livez", "GET", X_Request_ID=given, Connection="close"))
    assert status_of(received) in (200, 400)
    top = received.split(b"\r\n\r\n")[0]
    assert given.encode("latin-1") not in top and b"Set-Cookie" not in top


def test_made_request_ids_differ(client: httpx.Client) -> None:
    assert len({client.get("/livez").headers["x-request-id"] for _ in range(50)}) == 50


# --- pages


@pytest.mark.parametrize(("name", "status"), TYPES.items())
def test_every_type_leads_to_a_short_page(client: httpx.Client, name: str, status: int) -> None:
    response = client.get(f"/problems/{name}")
    assert response.status_code == 200
    assert response.headers["content-type"].split(";")[0] == "text/html"
    assert name in response.text and str(status) in response.text
    assert 300 < len(response.content) < 4000
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", response.text), "no other host"
    for link in re.findall(r'href="([^"]+)"', response.text):
        assert client.get(httpx.URL(f"/problems/{name}").join(link)).status_code == 200


def test_the_type_of_an_error_can_be_followed(client: httpx.Client) -> None:
    url = client.base_url.join("/v1/forward")
    kind = problem(client.post("/v1/forward", content=b"{"))["type"]
    assert client.get(url.join(kind)).status_code == 200


# --- section 5


def test_livez_and_readyz(client: httpx.Client) -> None:
    for path in ("/livez", "/readyz"):
        response = client.get(path)
        assert response.status_code == 200 and isinstance(strict(response.content), dict)


@pytest.mark.parametrize("path", GETS)
def test_a_query_that_nobody_asked_for_does_no_harm(client: httpx.Client, path: str) -> None:
    """Probes and browsers add such things against caches; no GET here documents a 422."""
    assert client.get(f"{path}?_=1732430000").status_code == 200


def test_info_has_version_limits_and_features(client: httpx.Client) -> None:
    found = strict(client.get("/v1/info").content)
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", found["version"])
    assert isinstance(found["limits"], dict)
    assert set(POSTS) <= set(found["features"])


def test_the_root_leads_to_the_docs(client: httpx.Client) -> None:
    response = client.get("/")
    assert response.status_code in (302, 303, 307, 308)
    assert client.get(response.headers["location"]).status_code == 200
    assert client.get("/", follow_redirects=True).headers["content-type"].startswith("text/html")


def test_the_docs_ask_no_other_host(client: httpx.Client) -> None:
    page = client.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    links = re.findall(r'(?:src|href|data-[a-z]+)="([^"]+)"', page.text)
    assert len(links) >= 4
    for link in links:
        assert not re.match(r"(https?:)?//", link)
        response = client.get(httpx.URL("/docs").join(link))
        assert response.status_code == 200 and response.content
        if link.endswith(".css"):
            assert not re.search(r"url\(\s*['\"]?(https?:)?//", response.text) and "@import" not in response.text
