"""Requests that nobody sends who means well: none is answered with a 5xx, none is answered at length, none ends the server."""

import itertools
import json
import random
import socket
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.conftest import Server, examples
from tests.contract.conftest import Post
from tests.contract.wire import (
    LOCAL,
    LONGEST_ERROR,
    POSTS,
    exchange,
    graph,
    head,
    leaf,
    node,
    place,
    problem,
    smallest,
    status_of,
    strict,
)

Unharmed = Callable[[], None]
HOLE = "@@HOLE@@"

# --- numbers: (operation, request with a hole where a number belongs)

PLACES: list[tuple[str, dict[str, Any]]] = [
    ("forward", {"inputs": {"x": HOLE}}),
    ("forward", {"inputs": {"x": [1, 2, HOLE]}}),
    ("forward", {"expression": graph({**leaf("x"), "data": HOLE}), "inputs": {}}),
    ("forward", {"expression": graph(leaf("x"), node("y", "add", "x", HOLE))}),
    ("backward", {"cotangent": HOLE}),
    ("backward", {"cotangent": [1, HOLE]}),
    ("jvp", {"tangents": {"x": HOLE}}),
    ("jvp", {"tangents": {"x": [1, HOLE]}}),
    ("hvp", {"tangents": {"x": HOLE}}),
    ("hvp", {"tangents": {"x": [HOLE, 1]}}),
    ("jacobian", {"inputs": {"x": HOLE}}),
    ("hessian", {"inputs": {"x": HOLE}}),
    ("check", {"tolerance": HOLE}),
    ("check", {"inputs": {"x": HOLE}}),
    ("parse", {"inputs": {"x": HOLE}}),
    ("graph", {"inputs": {"x": HOLE}}),
]
NO_NUMBERS = ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1e400000", "9" * 400, "-" + "9" * 400, "9" * 10_000]
NO_NUMBERS += ["9" * 400 + ".5", "1" + "0" * 309, "1.7976931348623159e308", "true", "false", "{}"]
NO_JSON = [
    "nan",
    "inf",
    "+1",
    ".5",
    "5.",
    "0x10",
    "1_000",
    "01",
    "1e",
    "--1",
    "-NaN",
    "1 2",
    "",
    "undefined",
    "'1'",
    "1e999999999999999999x",
]


def filled(operation: str, fields: dict[str, Any], literal: str) -> bytes:
    """The body with a literal in the hole."""
    return json.dumps(smallest(operation, **fields)).replace(f'"{HOLE}"', literal).encode()


@pytest.mark.parametrize(("operation", "fields"), PLACES)
def test_what_is_no_finite_number(post: Post, operation: str, fields: dict[str, Any]) -> None:
    for literal in NO_NUMBERS:
        problem(post(operation, content=filled(operation, fields, literal)), "invalid-request", 422)
    for literal in ('"3.5"', '""', '"NaN"'):
        problem(post(operation, content=filled(operation, fields, literal)), status=422)
    for literal in NO_JSON:
        problem(post(operation, content=filled(operation, fields, literal)), "invalid-json", 400)
    if "data" not in str(fields):
        problem(post(operation, content=filled(operation, fields, "null")), "invalid-request", 422)


@pytest.mark.parametrize(("operation", "fields"), PLACES)
def test_what_is_a_number_after_all(post: Post, operation: str, fields: dict[str, Any]) -> None:
    for literal in (
        "1e-999",
        "1.0000000000000000000000000000000000000001",
        "0." + "3" * 10_000,
        "1E+2",
        "12345678901234567890",
    ):
        response = post(operation, content=filled(operation, fields, literal))
        assert response.status_code == 200 or problem(response)["type"] in (
            "/problems/shape-mismatch",
            "/problems/invalid-request",
        )
        if response.status_code != 200:
            assert "[" in json.dumps(fields) or literal == "1e-999"


# --- fields: null, wrong kinds, unknown ones, at every level

FULL: dict[str, dict[str, Any]] = {
    operation: smallest(
        operation,
        expression=graph({**leaf("x", 1.0), "args": [], "label": "l"}, node("y", "mul", "x", 2, label="m")),
        nonfinite="error",
        **{"forward": {"values": True}, "backward": {"values": True, "wrt": ["x"], "cotangent": 1}}.get(operation, {}),
        **{"hessian": {"wrt": ["x"]}, "hvp": {"wrt": ["x"]}, "jacobian": {"wrt": ["x"], "outputs": ["y"]}}.get(operation, {}),
        **{"check": {"wrt": ["x"], "tolerance": 0.5}, "graph": {"gradients": True}}.get(operation, {}),
    )
    for operation in POSTS
}
Path = tuple[str | int, ...]


def places(document: Any, path: Path = ()) -> Iterator[Path]:
    """The way to every value of a document."""
    yield path
    items = document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    for key, value in items:
        yield from places(value, (*path, key))


def put(document: Any, path: Path, value: Any) -> Any:
    """A copy of the document with another value in one place."""
    if not path:
        return value
    copy = dict(document) if isinstance(document, dict) else list(document)
    copy[path[0]] = put(document[path[0]], path[1:], value)  # type: ignore[index]
    return copy


def harmless(response: httpx.Response) -> None:
    """An answer in JSON, or a problem that blames the request."""
    assert response.status_code in (200, 400, 422), response.text[:500]
    if response.status_code == 200:
        if response.headers["content-type"] == "application/json":
            strict(response.content)
    else:
        problem(response)


@pytest.mark.parametrize("operation", POSTS)
def test_the_full_request_is_valid(post: Post, operation: str) -> None:
    assert post(operation, **FULL[operation]).status_code == 200


@pytest.mark.parametrize("operation", POSTS)
def test_another_kind_of_value_in_every_place(post: Post, operation: str) -> None:
    for path in places(FULL[operation]):
        for value in (None, True, 5, 1.5, "", "q", [], ["x"], [[]], [None], {}, {"x": "y"}, {"": None}, {"nodes": None}):
            response = post(operation, content=json.dumps(put(FULL[operation], path, value)).encode())
            harmless(response)
            if value is None and path and path[-1] not in ("wrt", "outputs", "data", "label"):
                problem(response, status=422)


@pytest.mark.parametrize(
    "name", ["extra", "", "id ", "Expression", "a - at `$.q", "a` - at `$.x[...][3]`", "$[0]", "`", "~/", "é", "x" * 50_000]
)
def test_unknown_fields_at_every_level(post: Post, name: str) -> None:
    levels: list[Path] = [(), ("expression",), ("expression", "nodes", 0), ("expression", "nodes", 1)]
    for operation, path in itertools.product(POSTS, levels):
        target: Any = FULL[operation]
        for step in path:
            target = target[step]
        response = post(operation, content=json.dumps(put(FULL[operation], path, {**target, name: 1})).encode())
        body = problem(response, "invalid-request", 422)
        steps = [*path, name.replace("~", "~0").replace("/", "~1")]
        assert body["errors"][0]["pointer"].startswith(("/" + "/".join(map(str, steps)))[:100])


@pytest.mark.parametrize(
    "value",
    ["nul", "", "a - at `$.q", "a` - at `$.inputs[...]`", "'", "q" * 100_000, "\u202e", "\n"],
    ids=lambda value: repr(value)[:20],
)
def test_other_values_of_an_enumeration(post: Post, value: str) -> None:
    problem(post("forward", expression="1", nonfinite=value), "invalid-request", 422, "/nonfinite")


# --- keys that stand twice: documented as "the last one counts", and never a defect

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


@pytest.mark.parametrize("body", TWICE)
def test_a_key_that_stands_twice(post: Post, body: bytes) -> None:
    harmless(post("forward", content=body))


def test_of_two_keys_the_last_one_counts(post: Post) -> None:
    response = post("forward", content=b'{"expression": "x", "inputs": {"x": 1, "x": 2}, "inputs": {"x": 3, "x": 4}}')
    if response.status_code == 200:
        assert strict(response.content)["value"] == 4.0
    else:
        problem(response, status=422)


# --- text that is no text

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


@pytest.mark.parametrize(("operation", "fields"), STRING_PLACES)
def test_lone_surrogates_and_broken_utf8(post: Post, operation: str, fields: dict[str, Any]) -> None:
    template = json.dumps(smallest(operation, **fields)).encode()
    for piece in SURROGATES:
        response = post(operation, content=template.replace(HOLE.encode(), piece))
        if b"\\" in piece:
            assert problem(response)["type"] in ("/problems/invalid-json", "/problems/invalid-request")
        else:
            problem(response, "invalid-json", 400)


@pytest.mark.parametrize(("operation", "fields"), STRING_PLACES)
def test_strange_but_valid_text(post: Post, operation: str, fields: dict[str, Any]) -> None:
    """Control and direction characters, paths of msgspec, half a megabyte of a name: refused at no length."""
    template = json.dumps(smallest(operation, **fields))
    for piece in (
        "\x00",
        "\x1b[31m",
        "\u202e",
        "\u2028",
        "\ufeff",
        "😀",
        "a - at `$.inputs[...]",
        "$[0]",
        "..",
        "%s{0}",
        "q" * 500_000,
        "\x7f" * 9999,
    ):
        response = post(operation, content=template.replace(HOLE, json.dumps(piece)[1:-1]).encode())
        harmless(response)
        if len(piece) > 1000 and b"label" not in template.encode():
            problem(response, status=422)


def test_an_escaped_pair_is_one_character(post: Post) -> None:
    body = b'{"expression": {"nodes": [{"id": "\\ud83d\\ude00", "op": "value", "data": 2}], "output": "\xf0\x9f\x98\x80"}}'
    assert strict(post("forward", content=body).content) == {"output": "😀", "value": 2.0}


# --- depth and length

DEEP = [b"[" * 100_000, b"[" * 100_000 + b"]" * 100_000, b'{"a":' * 100_000 + b"1" + b"}" * 100_000, b"[{" * 50_000]
DEEP += [b"[" * depth + b"]" * depth for depth in (100, 500, 900, 1000, 1100, 3000)]


@pytest.mark.parametrize("field", ["", "expression", "inputs", "tangents", "nonfinite", "wrt", "cotangent", "other"])
def test_deep_nesting_in_every_field(post: Post, field: str) -> None:
    for deep in DEEP:
        body = b'{"expression": "x", "' + field.encode() + b'": ' + deep + b"}" if field else deep
        response = post("hvp" if field == "tangents" else "backward", content=body)
        assert response.status_code in (400, 422)
        problem(response)


@pytest.mark.parametrize(
    "before, after",
    [
        (b'{"expression": {"nodes": ', b', "output": "x"}}'),
        (b'{"expression": {"nodes": [{"id": "x", "op": "add", "args": ', b'}], "output": "x"}}'),
        (b'{"expression": {"nodes": [{"id": "x", "op": "value", "data": ', b'}], "output": "x"}}'),
        (b'{"expression": {"nodes": [{"id": "x", "op": "value", "label": ', b'}], "output": "x"}}'),
        (b'{"expression": "x", "inputs": {"x": ', b"}}"),
        (b'{"expression": "x", "inputs": {"x": [1, ', b"]}}"),
    ],
)
def test_deep_nesting_in_deep_places(post: Post, before: bytes, after: bytes) -> None:
    for deep in DEEP:
        response = post("forward", content=before + deep + after)
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
def test_long_texts_that_are_no_expressions(post: Post, text: str) -> None:
    problem(post("forward", expression=text), status=422)


def test_long_names_are_not_repeated_in_full(post: Post) -> None:
    long = "q" * 100_000
    for request in (
        {"expression": graph(leaf("x", 1), node("y", long, "x"))},
        {"expression": graph(leaf("x", 1), node("y", "neg", long))},
        {"expression": graph(leaf("x", 1), node(long, "neg", "x"))},
        {"expression": {"nodes": [leaf("x", 1)], "output": long}},
        {"expression": {"nodes": [leaf("x", 1)], "output": "x"}, "inputs": {long: 1}},
        {"expression": {"nodes": [leaf("x", 1)], "output": "x"}, "inputs": {long: "q"}},
        {"expression": {"nodes": [leaf("x", 1)], "output": "x"}, "inputs": {long: [1, None]}},
        {"expression": {"nodes": [leaf("x", 1)], "output": "x"}, long: 1},
        {"expression": "x", "inputs": {long: 1}},
        {"expression": f"{long} + "},
        {"expression": f"{long}(x)"},
        {"expression": f"{long} = 1; {long} = 2"},
        {"expression": "x", "inputs": {long[:k]: 1 for k in range(1, 300)}},
    ):
        response = post("forward", **request)
        problem(response, status=422)
        assert len(response.content) < 3000


def test_thousands_of_faults_make_no_long_answer(post: Post) -> None:
    bad = [{"id": f"n{k}", "op": "no", "args": [f"m{k}"], "data": "x", "oops": {}} for k in range(500)]
    assert len(json.dumps(bad)) > 30_000
    for nodes in (
        bad,
        [{"id": k} for k in range(3000)],
        [leaf("same", 1)] * 3000,
        [leaf(f"n{k}") for k in range(3000)],
        [node(f"n{k}", "add", f"n{k + 1}", "n0") for k in range(3000)],
        [node(f"n{k}", "sin", f"n{k - 1}", "z" * 100) for k in range(3000)],
        [None] * 3000,
    ):
        request = {"expression": {"nodes": nodes, "output": "n0"}}
        problem(post("backward", **request), status=422)
    problem(post("forward", expression="x", inputs={f"i{k}": None for k in range(3000)}), status=422)
    problem(post("backward", expression="x", inputs={"x": 1}, wrt=[f"i{k}" for k in range(3000)]), status=422)
    problem(post("forward", expression="x", **{f"i{k}": None for k in range(3000)}), status=422)
    problem(post("forward", expression="x", inputs={"x": [None] * 3000}), status=422)


# --- random bytes and mutations


def test_random_bytes(post: Post) -> None:
    rng = random.Random(20)
    for k in range(400):
        length = rng.choice([1, 2, 3, 10, 100, 1000, 20_000])
        alphabet = [bytes(range(256)), b'{}[]",:0123456789.eE+-ntrufals\\u ', b'{"expression": "x"}\x00\xff'][k % 3]
        content = bytes(rng.choices(alphabet, k=length))
        response = post(POSTS[k % len(POSTS)], content=content)
        assert response.status_code in (400, 422), content[:200]
        problem(response)


POOL: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    1.5,
    2**70,
    1e308,
    "",
    "x",
    "y",
    "output",
    "nope",
    "$.q",
    " - at `$.q",
    "a/b~c",
    "\x00",
    "é",
    "log(x)",
]
POOL += [
    [],
    {},
    [[]],
    [None],
    ["x"],
    [1, 2],
    {"x": 1},
    {"x": []},
    {"nodes": [], "output": "x"},
    "(" * 50,
    "x" * 200,
    [1] * 50,
    "value",
    "neg",
    "sum",
]
LITERALS = [
    b"NaN",
    b"1e999",
    b"-Infinity",
    b"9" * 400,
    b'"\\ud800"',
    b"\xff",
    b"\x00",
    b"[" * 2000,
    b"{",
    b'"',
    b",",
    b":",
    b"}",
    b"\\",
    b"null",
    b"-",
]


def mutated(rng: random.Random, request: dict[str, Any]) -> bytes:
    """The request with one to three things done to it: bits, cuts, repeats, other values, other keys, keys twice."""
    document: Any = request
    for _ in range(rng.randint(0, 2)):
        ways = list(places(document))
        path = rng.choice(ways)
        act = rng.randrange(4)
        if act == 0:
            document = put(document, path, rng.choice(POOL))
        elif act == 1:
            source: Any = document
            for step in rng.choice(ways):
                source = source[step]
            document = put(document, path, source)
        else:
            parent: Any = document
            for step in path:
                parent = parent[step]
            if isinstance(parent, dict) and parent:
                key = rng.choice(list(parent))
                copy = {k: v for k, v in parent.items() if k != key or act == 2}
                copy[rng.choice(["x", "wrt", "inputs", " - at `$.q", "nodes", "data", "", key.upper()])] = rng.choice(POOL)
                document = put(document, path, copy)
            elif isinstance(parent, list) and parent:
                document = put(document, path, parent[: rng.randrange(len(parent))] + parent[:3] * (act - 1))
    body = bytearray(json.dumps(document, ensure_ascii=rng.random() < 0.5).encode())
    for _ in range(rng.choice([0, 1, 1, 2])):
        at = rng.randrange(len(body) + 1)
        act = rng.randrange(6)
        if act == 0 and at < len(body):
            body[at] ^= 1 << rng.randrange(8)
        elif act == 1:
            del body[at : at + rng.randint(1, 20)]
        elif act == 2:
            body[at:at] = rng.choice(LITERALS)
        elif act == 3:
            start = rng.randrange(len(body) + 1)
            body[at:at] = body[start : start + rng.randint(1, 60)]
        elif act == 4:
            body[at:] = b""
        elif body.startswith(b"{") and len(body) > 2:
            body[1:1] = body[1 : rng.randrange(2, len(body))] + b", "
    return bytes(body)


@pytest.mark.parametrize("seed", range(4))
def test_mutated_examples(post: Post, unharmed: Unharmed, seed: int) -> None:
    rng = random.Random(seed)
    requests = [(operation, example["request"]) for operation, _, example in examples() if operation in POSTS]
    requests += list(FULL.items())
    for k in range(700):
        operation, request = requests[k % len(requests)]
        body = mutated(rng, request)
        response = post(rng.choice([operation, rng.choice(POSTS)]), content=body)
        assert response.status_code in (200, 400, 422), body
        harmless(response)
    unharmed()


def test_mutations_end_in_answers_and_in_all_kinds_of_errors(post: Post) -> None:
    """The fuzz is worth something only if it gets past the first check."""
    rng = random.Random(7)
    requests = [(operation, example["request"]) for operation, _, example in examples() if operation in POSTS]
    seen = set()
    for k in range(700):
        operation, request = requests[k % len(requests)]
        response = post(operation, content=mutated(rng, request))
        seen.add(200 if response.status_code == 200 else response.json()["type"])
    wanted = {
        200,
        *(f"/problems/{name}" for name in ("invalid-json", "invalid-request", "unknown-node", "syntax-error", "unbound-input")),
    }
    assert wanted <= seen


# --- below HTTP

BODY = json.dumps(smallest("forward")).encode()


def test_a_body_cut_off_in_the_middle(base_url: str, unharmed: Unharmed) -> None:
    for length in (len(BODY) + 1, 10 * len(BODY), 10**9, 10**18):
        for sent in (b"", BODY[:20], BODY):
            exchange(base_url, head(base_url, Content_Length=str(length), Content_Type="application/json"), sent, hang_up=True)
            unharmed()


def test_a_chunked_body_cut_off(base_url: str, unharmed: Unharmed) -> None:
    start = head(base_url, Transfer_Encoding="chunked", Content_Type="application/json")
    for sent in (
        b"",
        b"5",
        b"5\r\n",
        b'5\r\n{"exp',
        b'5\r\n{"exp\r\n',
        b"ffffffff\r\n" + BODY,
        b"%x\r\n%s\r\n" % (len(BODY), BODY),
    ):
        exchange(base_url, start, sent, hang_up=True)
        unharmed()


def test_a_chunked_body_is_read(base_url: str) -> None:
    chunks = b"".join(b"%x\r\n%s\r\n" % (1, BODY[k : k + 1]) for k in range(len(BODY))) + b"0\r\n\r\n"
    received = exchange(base_url, head(base_url, Transfer_Encoding="chunked", Connection="close"), chunks)
    assert status_of(received) == 200 and b'"value":10.0' in received


@pytest.mark.parametrize("size", ["zz", "-1", "0x5", "fffffffffffffffff", ""])
def test_a_wrong_chunk_size(base_url: str, unharmed: Unharmed, size: str) -> None:
    start = head(base_url, Transfer_Encoding="chunked", Connection="close")
    received = exchange(base_url, start, f"{size}\r\n{{\r\n0\r\n\r\n".encode(), seconds=2)
    assert not received or status_of(received) in (400, 413, 422)
    unharmed()


@pytest.mark.parametrize("length", ["-1", "abc", "1e3", "0x10", "99999999999999999999999", "5, 6", ""])
def test_a_content_length_that_is_none(base_url: str, unharmed: Unharmed, length: str) -> None:
    received = exchange(base_url, head(base_url, Content_Length=length, Connection="close"), BODY, seconds=1)
    assert not received or status_of(received) in (400, 413)
    unharmed()


def test_a_content_length_that_is_too_small(base_url: str, unharmed: Unharmed) -> None:
    """What is over is no part of the request, and no second request that anybody would answer with success."""
    received = exchange(base_url, head(base_url, Content_Length="20"), BODY, seconds=2)
    assert status_of(received) == 400 and b" 200 " not in received
    unharmed()


def test_both_lengths(base_url: str, unharmed: Unharmed) -> None:
    """RFC 9112, 6.1: a request with both may be an attempt at smuggling."""
    start = head(base_url, Content_Length="3", Transfer_Encoding="chunked", Connection="close")
    received = exchange(base_url, start, b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY), seconds=2)
    assert not received or status_of(received) in (200, 400)
    assert received.count(b"HTTP/1.1 ") <= 1 or b"HTTP/1.1 400" in received
    unharmed()


GARBAGE = [
    b"\x00",
    b"\r\n\r\n\r\n",
    b"GET\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01",
    b"hello\n" * 1000,
]
GARBAGE += [
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET / HTTP/1.1\r\n: x\r\n\r\n",
    b"\xff" * 100_000,
    b"POST /v1/forward\r\n\r\n",
]
GARBAGE += [
    b"GET http:// HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET // HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET * HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET ?q HTTP/1.1\r\nHost: x\r\n\r\n",
]
GARBAGE += [
    b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
    b"FOO / HTTP/1.1\r\nHost: x\r\n\r\n",
]


@pytest.mark.parametrize("garbage", GARBAGE, ids=lambda garbage: repr(garbage[:24]))
def test_what_is_no_http(base_url: str, unharmed: Unharmed, garbage: bytes) -> None:
    received = exchange(base_url, garbage, seconds=0.3)
    if received:
        assert status_of(received) < 500 and len(received) < LONGEST_ERROR
    unharmed()


def test_random_garbage(base_url: str, unharmed: Unharmed) -> None:
    rng = random.Random(5)
    for _ in range(60):
        garbage = rng.randbytes(rng.choice([1, 30, 3000]))
        exchange(base_url, rng.choice([b"", head(base_url)[:-2], b"POST "]) + garbage, hang_up=True)
    unharmed()


def test_mutated_requests(base_url: str, unharmed: Unharmed) -> None:
    rng = random.Random(6)
    whole = head(base_url, Content_Length=str(len(BODY)), Content_Type="application/json", Connection="close") + BODY
    for _ in range(60):
        wire = bytearray(whole)
        for _ in range(rng.randint(1, 4)):
            wire[rng.randrange(len(wire))] = rng.randrange(256)
        received = exchange(base_url, bytes(wire), seconds=0.1)
        if received:
            assert status_of(received) < 500, bytes(wire)
    unharmed()


@pytest.mark.parametrize(
    "headers",
    [
        {"X_Request_ID": "q" * 60_000},
        {"Accept": "q" * 60_000},
        {"Accept": "*/*," * 10_000},
        {"Accept": ";;;,,,;q=;q==,=/=;q=1e999,*;q"},
        {"Accept": "\xff/\xfe"},
        {"Content_Type": "\xff/\xfe"},
        {"Content_Type": ";" * 10_000},
        {"Content_Encoding": "\xff" * 5000},
        {"Cookie": "q" * 60_000},
        {f"X_{k}": "q" for k in range(2000)},
        {"Upgrade": "websocket", "Sec_WebSocket_Key": "x", "Sec_WebSocket_Version": "13"},
        {"Upgrade": "h2c", "HTTP2_Settings": "AAMAAABkAARAAAAAAAIAAAAA"},
        {"Expect": "100-continue"},
        {"Expect": "nonsense"},
        {"Range": "bytes=0-1"},
        {"If_None_Match": "*"},
        {"X_HTTP_Method_Override": "DELETE"},
        {"Content_Length": "2"},
    ],
    ids=lambda headers: f"{next(iter(headers))}: {next(iter(headers.values()))[:12]!a}",
)
def test_strange_headers(base_url: str, unharmed: Unharmed, headers: dict[str, str]) -> None:
    start = head(base_url, **{"Content_Length": str(len(BODY)), "Connection": "close"} | headers)
    received = exchange(base_url, start, BODY, seconds=3)
    if received:
        assert status_of(received) < 500 and len(received) < LONGEST_ERROR
    unharmed()


def test_two_requests_on_one_connection(base_url: str) -> None:
    """Also where the first was an error: its body has been read, so the second stands where it should."""
    first = head(base_url, Content_Length="3", Content_Type="text/plain") + b"abc"
    second = head(base_url, Content_Length=str(len(BODY)), Connection="close") + BODY
    received = exchange(base_url, first + second)
    assert status_of(received) == 415 and b"HTTP/1.1 200" in received and b'"value":10.0' in received


def test_a_client_that_never_reads(base_url: str, unharmed: Unharmed) -> None:
    """It asks for large answers without taking one; the others are served as ever."""
    host, port, _ = place(base_url)
    body = json.dumps({"expression": "x*y", "inputs": {"x": list(range(20_000)), "y": 2}}).encode()
    sockets = []
    try:
        for _ in range(5):
            connection = socket.create_connection((host, port), timeout=5)
            sockets.append(connection)
            connection.sendall(head(base_url, "/v1/backward", Content_Length=str(len(body))) + body)
        unharmed()
    finally:
        for connection in sockets:
            connection.close()
    unharmed()


def test_clients_that_only_connect(base_url: str, unharmed: Unharmed) -> None:
    host, port, _ = place(base_url)
    sockets = [socket.create_connection((host, port), timeout=5) for _ in range(200)]
    try:
        for connection in sockets[::2]:
            connection.sendall(b"POST /v1/forward HTTP/1.1\r\nHost: x\r\nContent-Le")
        unharmed()
    finally:
        for connection in sockets:
            connection.close()


@pytest.mark.skipif(not LOCAL, reason="reads the log of the server that the tests started")
def test_nothing_of_all_this_was_a_defect(server: Server, unharmed: Unharmed) -> None:
    """The last test of the module: whatever was sent up to here left no trace of an exception in the log."""
    unharmed()
    log = server.log.read_text()
    assert "Traceback" not in log, log[log.rindex("Traceback") :][-3000:]
