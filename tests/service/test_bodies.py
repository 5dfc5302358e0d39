"""Bodies: read within the limit, decompressed, parsed, and explained where they are not JSON; responses as JSON."""

import asyncio
import gzip
import json
import math
import zlib
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from fastapi import Request
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import ClientDisconnect
from starlette.types import Message

from app.service import bodies
from app.service.bodies import EXPLAINED_BYTES, compress, decompress, encode, parse, read
from app.service.models import ABSENT, RequestModel, ResponseModel, Vector
from app.service.negotiation import JSON, negotiate
from app.service.problems import Problem


class Body(RequestModel):
    """A text, and numbers."""

    text: str
    numbers: Vector | None = None


def refusal(body: bytes) -> Problem:
    """The problem with a body."""
    with pytest.raises(Problem) as caught:
        parse(body, Body)
    return caught.value


# --- reading


def received(chunks: Iterable[bytes], headers: dict[str, str] | None = None, *, ends: bool = True) -> Request:
    """A POST whose body arrives in chunks. If it does not end, the client leaves after the last one."""
    messages: list[Message] = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    messages.append({"type": "http.request", "body": b""} if ends else {"type": "http.disconnect"})
    found = iter(messages)

    async def receive() -> Message:
        return next(found)

    encoded = [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()]
    scope = {"type": "http", "method": "POST", "headers": encoded, "state": {"facts": {}}}
    return Request(scope, receive)


async def next_chunk(request: Request) -> bytes:
    """What a request has received and nobody has read."""
    body: bytes = (await request.receive())["body"]
    return body


def read_body(request: Request) -> bytes:
    """The body, at most 100 bytes, with its length as the headers declare it."""
    return asyncio.run(read(request, negotiate(request, (JSON,)).body_length, 100))


@pytest.mark.parametrize("chunks", [[], [b"whole"], [b"in ", b"", b"three ", b"chunks"]], ids=["empty", "one", "several"])
def test_body_is_read_whole(chunks: list[bytes]) -> None:
    assert read_body(received(chunks)) == b"".join(chunks)


def test_body_at_the_limit_is_read() -> None:
    assert len(read_body(received([b"x" * 60, b"x" * 40], {"Content-Length": "100"}))) == 100


def test_body_over_the_limit_is_read_no_further() -> None:
    request = received([b"x" * 60, b"x" * 41, b"never read"])
    with pytest.raises(
        Problem, match="the body is longer; the limit is 100 bytes, and AUTODIFF_MAX_BODY_BYTES raises it"
    ) as caught:
        read_body(request)
    assert caught.value.kind.status == 413 and caught.value.headers == {"Connection": "close"}
    assert asyncio.run(next_chunk(request)) == b"never read"


def test_declared_length_over_the_limit_is_refused_unread() -> None:
    request = received([b"never read"], {"Content-Length": "1000000"})
    with pytest.raises(Problem, match="the body has 1,000,000 bytes"):
        read_body(request)
    assert asyncio.run(next_chunk(request)) == b"never read"


@pytest.mark.parametrize("declared", ["", "-5", "ten", "٣", "0x10", "1e9"])
def test_declared_length_that_is_no_number_is_ignored(declared: str) -> None:
    request = received([b"body"])
    request.scope["headers"] = [(b"content-length", declared.encode("utf-8"))]
    assert read_body(request) == b"body"


def test_client_that_leaves_within_its_body() -> None:
    with pytest.raises(ClientDisconnect):
        read_body(received([b"half"], ends=False))


# --- decompression


def go_on() -> None:
    """A check that never ends the work."""


@pytest.mark.parametrize("size", [0, 1, 1000, 200_000])
def test_gzip_is_decompressed(size: int) -> None:
    content = bytes(np.random.default_rng(size).integers(0, 8, size, np.uint8))
    assert decompress(gzip.compress(content), size, go_on) == content


def test_gzip_of_several_members_is_decompressed() -> None:
    assert decompress(gzip.compress(b"one ") + gzip.compress(b"two"), 100, go_on) == b"one two"


def test_gzip_bomb_is_never_held_whole() -> None:
    checks: list[None] = []
    bomb = gzip.compress(b"\0" * 50_000_000)
    with pytest.raises(Problem, match="the decompressed body is longer; the limit is 1000000 bytes"):
        decompress(bomb, 1_000_000, lambda: checks.append(None))
    assert len(checks) <= 1_000_000 / bodies.CHUNK_BYTES + 2


@pytest.mark.parametrize(
    "content",
    [b"{}", b"\x1f\x8b", gzip.compress(b"some text")[:-9], zlib.compress(b"zlib"), gzip.compress(b"a") + b"trailing"],
    ids=["plain", "header only", "cut off", "zlib", "trailing bytes"],
)
def test_body_that_is_no_gzip(content: bytes) -> None:
    with pytest.raises(Problem, match="gzip") as caught:
        decompress(content, 100, go_on)
    assert caught.value.kind.name == "invalid-json"


def test_decompression_stops_when_the_work_must_end() -> None:
    def stop() -> None:
        raise ClientDisconnect

    with pytest.raises(ClientDisconnect):
        decompress(gzip.compress(b"text"), 100, stop)


@given(st.binary(max_size=3000))
def test_compressed_response_can_be_read_and_is_always_the_same(content: bytes) -> None:
    assert gzip.decompress(compress(content)) == content
    assert compress(content) == compress(content)


# --- what is not JSON

NOT_JSON: list[tuple[bytes, str]] = [
    (b"", "empty"),
    (b" \r\n\t", "empty"),
    (b"{]", "line 1, column 2"),
    (b'{"text":\n  "x",\n  }', "line 3, column 3"),
    (b"{'text': 'x'}", "line 1, column 2"),
    (b'{"text": "x"} {', "line 1, column 15"),
    (b'{"text": "x\n"}', "line 1, column 12"),
    (b'{"text": "\xff"}', "byte 10"),
    (b"\xef\xbb\xbf{}", "BOM"),
    (b"\xff\xfe{\x00", "UTF-8"),
    (b"[" * 100_000, "deep"),
    (b'{"text": "\\ud800"}', "surrogate"),
    (b'{"text": "\\x"}', "line 1, column 11"),
    (b"\x00", "line 1, column 1"),
    (b"-", "line 1, column 1"),
]


@pytest.mark.parametrize("padding", [b"", b" " * 1000], ids=["short", "scanned"])
@pytest.mark.parametrize(("body", "detail"), NOT_JSON, ids=[repr(body[:30]) for body, _ in NOT_JSON])
def test_body_that_is_not_json(body: bytes, detail: str, padding: bytes) -> None:
    problem = refusal(body + padding)
    assert problem.kind.name == "invalid-json" and problem.kind.status == 400
    assert detail in problem.detail and problem.errors == ()


@pytest.mark.parametrize(
    ("body", "detail"), [(b'{"text":"\xff"}', "UTF-8"), (b'{"text":"x"', "JSON"), (b'{"text":NaN}', "JSON")]
)
def test_large_body_that_is_not_json(body: bytes, detail: str) -> None:
    """It is not decoded again to say where, which would take many times its size in memory."""
    problem = refusal(b" " * EXPLAINED_BYTES + body)
    assert problem.kind.name == "invalid-json" and detail in problem.detail and len(problem.detail) < 300


NOT_FINITE: list[tuple[bytes, str]] = [
    (b'{"text": NaN}', "/text"),
    (b'{"text": "x", "numbers": [1, -Infinity]}', "/numbers/1"),
    (b'{"text": "x", "a~b": {"c/d": [0, 1e999]}}', "/a~0b/c~1d/1"),
    (b'{"text": %s}' % (b"9" * 400), "/text"),
    (b"[[Infinity]]", "/0/0"),
    (b"NaN", ""),
]


@pytest.mark.parametrize(("body", "place"), NOT_FINITE, ids=[repr(body[:30]) for body, _ in NOT_FINITE])
def test_number_that_is_not_finite(body: bytes, place: str) -> None:
    problem = refusal(body)
    assert problem.kind.name == "invalid-request"
    assert [(error.pointer, error.detail) for error in problem.errors] == [
        (place, "expected a finite number, found NaN or a number beyond 1.8e308")
    ]


# --- parsing


def test_text_that_looks_like_the_scanners_token_is_a_text() -> None:
    """The token is drawn anew by each process, so that no client can send it."""
    numbers = [0.5] * 100
    for text in ("token0", "0" * 32 + "0", bodies.TOKEN[:-1]):
        found = parse(json.dumps({"text": text, "numbers": numbers}).encode(), Body)
        assert found.text == text and found.numbers is not None and found.numbers.tolist() == numbers


def test_last_of_two_keys_counts() -> None:
    assert parse(b'{"text": 3, "text": "x"}', Body).text == "x"
    long = json.dumps([0.5] * 1000).encode()
    found = parse(b'{"numbers": %s, "text": "x", "numbers": [1]}' % long, Body)
    assert found.numbers is not None and found.numbers.tolist() == [1.0]


@given(st.binary(max_size=60))
def test_any_bytes_are_parsed_or_refused(body: bytes) -> None:
    with pytest.raises(Problem):
        parse(body, Body)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=50), st.integers(0, 700))
def test_any_text_survives(text: str, padding: int) -> None:
    body = json.dumps({"text": text}).encode() + b" " * padding
    assert parse(body, Body).text == text


# --- responses


class Answer(ResponseModel):
    """A value, and perhaps its parts."""

    value: Any
    parts: list["Answer"] = ABSENT


def test_fields_that_were_not_given_are_left_out() -> None:
    assert encode(Answer(value=1.0)) == b'{"value":1.0}'
    assert encode(Answer(value=None, parts=[Answer(value="x")])) == b'{"value":null,"parts":[{"value":"x"}]}'


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.array([1.0, 2.5]), b"[1.0,2.5]"),
        (np.array([[1.0], [-0.0]]), b"[[1.0],[-0.0]]"),
        (np.arange(6.0)[::2], b"[0.0,2.0,4.0]"),
        (np.arange(4.0).reshape(2, 2).T, b"[[0.0,2.0],[1.0,3.0]]"),
        (np.array([1.0, math.nan, math.inf]), b"[1.0,null,null]"),
        (np.float64(0.1), b"0.1"),
        (math.nan, b"null"),
    ],
    ids=["vector", "rows", "strided", "transposed", "not finite", "scalar", "NaN"],
)
def test_arrays_are_written_as_lists(value: Any, expected: bytes) -> None:
    assert encode(Answer(value=value)) == b'{"value":%s}' % expected


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=30))
def test_numbers_survive_the_wire(numbers: list[float]) -> None:
    assert json.loads(encode(Answer(value=np.array(numbers, np.float64))))["value"] == numbers


def test_value_without_a_json_form_is_a_defect() -> None:
    with pytest.raises(TypeError, match="not JSON serializable"):
        encode(Answer(value=object()))
