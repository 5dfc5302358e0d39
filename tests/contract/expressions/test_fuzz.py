"""Random bytes and mutated requests are never a server error."""

import json
import random
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import Server, examples
from tests.contract.conftest import AssertAlive, Post
from tests.contract.expressions.requests import FULL
from tests.contract.wire import LOCAL, POSTS, assert_never_5xx, at, paths, problem, put


def test_random_bytes_are_refused(post: Post) -> None:
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
    """Return the request with up to four mutations: other values or keys, then flipped bits, cuts, insertions and repeats."""
    document: Any = request
    for _ in range(rng.randint(0, 2)):
        ways = list(paths(document))
        path = rng.choice(ways)
        act = rng.randrange(4)
        if act == 0:
            document = put(document, path, rng.choice(POOL))
        elif act == 1:
            document = put(document, path, at(document, rng.choice(ways)))
        else:
            parent: Any = at(document, path)
            if isinstance(parent, dict) and parent:
                key = rng.choice(list(parent))
                copy = {k: v for k, v in parent.items() if k != key or act == 2}
                copy[rng.choice(["x", "wrt", "inputs", " - at `$.q", "nodes", "data", "", key.upper()])] = rng.choice(POOL)
                document = put(document, path, copy)
            elif isinstance(parent, list) and parent:
                document = put(document, path, parent[: rng.randrange(len(parent))] + parent[:3] * (act - 1))
    body = bytearray(json.dumps(document, ensure_ascii=rng.random() < 0.5).encode())
    for _ in range(rng.choice([0, 1, 1, 2])):
        place = rng.randrange(len(body) + 1)
        act = rng.randrange(6)
        if act == 0 and place < len(body):
            body[place] ^= 1 << rng.randrange(8)
        elif act == 1:
            del body[place : place + rng.randint(1, 20)]
        elif act == 2:
            body[place:place] = rng.choice(LITERALS)
        elif act == 3:
            start = rng.randrange(len(body) + 1)
            body[place:place] = body[start : start + rng.randint(1, 60)]
        elif act == 4:
            body[place:] = b""
        elif body.startswith(b"{") and len(body) > 2:
            body[1:1] = body[1 : rng.randrange(2, len(body))] + b", "
    return bytes(body)


def fuzzed(seed: int, count: int) -> Iterator[tuple[str, bytes]]:
    """Yield operations and mutated bodies: those of the examples, and requests that use every field."""
    rng = random.Random(seed)
    requests = [(example.operation, example.content["request"]) for example in examples() if example.operation in POSTS]
    requests += list(FULL.items())
    for k in range(count):
        operation, request = requests[k % len(requests)]
        yield rng.choice([operation, rng.choice(POSTS)]), mutated(rng, request)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4), ids=lambda seed: f"seed-{seed}")
def test_mutated_request_is_never_a_5xx(post: Post, assert_alive: AssertAlive, seed: int) -> None:
    for operation, body in fuzzed(seed, 700):
        response = post(operation, content=body)
        assert response.status_code in (200, 400, 422), body
        assert_never_5xx(response)
    assert_alive()


@pytest.mark.slow
def test_mutations_reach_successes_and_every_common_problem(post: Post) -> None:
    """A fuzz test that never gets past the first check would find nothing."""
    responses = [post(operation, content=body) for operation, body in fuzzed(7, 700)]
    seen = {200 if response.status_code == 200 else response.json()["type"].rpartition("/")[2] for response in responses}
    assert seen >= {200, "invalid-json", "invalid-request", "unknown-node", "syntax-error", "unbound-input"}


@pytest.mark.skipif(not LOCAL, reason="reads the log of the server that the tests started")
def test_fuzzing_leaves_no_traceback_in_the_log(post: Post, server: Server) -> None:
    for operation, body in fuzzed(8, 100):
        post(operation, content=body)
    log = server.log.read_text()
    assert "Traceback" not in log, log[log.rindex("Traceback") :][-3000:]
