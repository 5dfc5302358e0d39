"""Bodies: read within the limit, decompressed, parsed, and explained where they are not JSON; responses as JSON."""

import asyncio
import gzip
import itertools
import json
import math
import tracemalloc
import zlib
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI, Request
from hypothesis import example, given
from hypothesis import strategies as st
from prometheus_client.registry import REGISTRY
from starlette.requests import ClientDisconnect
from starlette.types import Message

from app.engine import large_json
from app.engine.interruption import never
from app.main import create_app
from app.service import bodies
from app.service.bodies import EXPLAINED_BYTES, HELD_BYTES, LONG_BYTES, compress, decompress, encode, parse, read
from app.service.models import ABSENT, RequestModel, ResponseModel, Vector
from app.service.negotiation import JSON, negotiate
from app.service.problems import Problem
from app.settings import Settings
from tests.rows import for_each
from tests.service.asgi import POSTS, Operation, Response, ask, perform


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


def hold_nothing(size: int) -> None:
    """A budget that is never used up."""


def read_body(request: Request, limit: int = 100, hold: Callable[[int], None] = hold_nothing) -> bodies.Body:
    """The body, at most `limit` bytes, with its length as the headers declare it."""
    return asyncio.run(read(request, negotiate(request, (JSON,)).body_length, limit, hold))


@pytest.mark.parametrize("chunks", [[], [b"whole"], [b"in ", b"", b"three ", b"chunks"]], ids=["empty", "one", "several"])
def test_body_is_read_whole(chunks: list[bytes]) -> None:
    assert read_body(received(chunks)) == b"".join(chunks)


@pytest.mark.parametrize("is_declared", [False, True], ids=["undeclared", "declared"])
@pytest.mark.parametrize("more", [0, 1, 100_000])
def test_long_body_is_read_whole(is_declared: bool, more: int) -> None:
    content = bytes(range(256)) * (LONG_BYTES // 256) + b"x" * more
    chunks = [content[at : at + 250_000] for at in range(0, len(content), 250_000)]
    headers = {"Content-Length": str(len(content))} if is_declared else {}
    assert bytes(read_body(received(chunks, headers), len(content))) == content


def test_long_body_is_parsed_and_explained() -> None:
    """A long body comes as a view of an array, which must do wherever a body is looked at."""
    numbers = b"1.5," * (LONG_BYTES // 4)
    body = b'{"text": "x",\n "numbers": [%s2]}' % numbers
    chunks, headers = [body[:1000], body[1000:]], {"Content-Length": str(len(body))}
    view = read_body(received(chunks, headers), len(body))
    assert isinstance(view, memoryview)
    vector = parse(view, Body).numbers
    assert vector is not None and vector[-1] == 2.0 and len(vector) == len(numbers) // 4 + 1
    column = len(' "numbers": [2') + len(numbers) + 1
    with pytest.raises(Problem, match=f"line 2 column {column} "):
        parse(memoryview(body.replace(b"2]", b"2}")), Body)
    packed = memoryview(gzip.compress(body))
    assert decompress(packed, len(body), never) == body


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


@pytest.mark.parametrize(
    ("chunks", "declared", "held"),
    [
        pytest.param([HELD_BYTES], None, [], id="small"),
        pytest.param([HELD_BYTES, 1], None, [2 * (HELD_BYTES + 1)], id="one byte over"),
        pytest.param([HELD_BYTES], HELD_BYTES, [], id="small, declared"),
        pytest.param([9000, 9000], 18_000, [18_000], id="declared"),
        pytest.param([9000, 9000, 9000], 27_000, [18_000, 27_000], id="declared, and longer and longer"),
        pytest.param([9000, 9001, 30_000], None, [18_000, 36_002, 96_002], id="longer and longer"),
        pytest.param([60_000], None, [100_000], id="no more than the limit"),
    ],
)
def test_memory_is_held_before_a_large_body_is_read(chunks: list[int], declared: int | None, held: list[int]) -> None:
    sizes: list[int] = []
    request = received([b"x" * size for size in chunks], {} if declared is None else {"Content-Length": str(declared)})
    assert len(read_body(request, 100_000, sizes.append)) == sum(chunks)
    assert sizes == held


def test_body_that_no_memory_is_left_for_is_not_read() -> None:
    def refuse(size: int) -> None:
        raise Problem("overloaded", "no memory")

    request = received([b"x" * 9000, b"never read"], {"Content-Length": "9010"})
    with pytest.raises(Problem, match="no memory"):
        read_body(request, 10_000, refuse)
    assert asyncio.run(next_chunk(request)) == b"never read"


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


@pytest.mark.parametrize("sizes", [(200_000, 100_000), (70_000, 0, 70_000), (65_536, 65_536), (1, 300_000, 1)])
def test_large_members_are_decompressed(sizes: tuple[int, ...]) -> None:
    """Some compress well, so that a piece of them is more than is taken at once, and some do not."""
    draw = np.random.default_rng(0)
    for high in (2, 256):
        members = [bytes(draw.integers(0, high, size, np.uint8)) for size in sizes]
        body = b"".join(gzip.compress(member, 1) for member in members)
        assert decompress(body, sum(sizes), go_on) == b"".join(members)


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


# --- bodies on the way to the service

SENT = b'{"expression": "x*y + 10", "inputs": {"x": 3, "y": 4}}'
VALUE = 22.0
GZIP = ("Content-Encoding", "gzip")


@cache
def app_with(**settings: Any) -> FastAPI:
    """The application with some settings. Each is made once."""
    return create_app(Settings(**settings))


def forward(parts: Iterable[bytes], *headers: tuple[str, str], **settings: Any) -> Response:
    """The response to a POST whose body arrives in parts."""
    return ask(app_with(**settings), "POST", "/v1/forward", [("Content-Type", JSON), *headers], parts=parts)


def assert_value(response: Response) -> None:
    """Assert that the body was read as `SENT`."""
    assert response.status == 200, response.body
    assert json.loads(response.body)["value"] == VALUE


def assert_problem(response: Response, name: str, status: int, detail: str = "") -> None:
    """Assert that the request was refused so."""
    assert (response.status, response.problem) == (status, name), response.body
    assert detail in json.loads(response.body)["detail"]


def split(body: bytes, size: int) -> list[bytes]:
    """The body in parts of this size."""
    return [body[at : at + size] for at in range(0, len(body), size)]


@for_each("size", [1, 2, 7, 50, 10_000])
@for_each("coding", ["plain", "padded", "gzip"])
def test_body_in_parts(size: int, coding: str) -> None:
    """The order of the parts is that of the body."""
    if coding == "gzip":
        assert_value(forward(split(gzip.compress(SENT), size), GZIP))
    else:
        assert_value(forward(split(SENT.ljust(9000) if coding == "padded" else SENT, size)))


@pytest.mark.parametrize("places", ["first", "last", "between"])
def test_empty_parts_do_not_end_a_body(places: str) -> None:
    half = len(SENT) // 2
    parts = {
        "first": [b"", b"", SENT],
        "last": [SENT, b"", b""],
        "between": [SENT[:half], b"", b"", SENT[half:]],
    }[places]
    response = forward(parts)
    assert_value(response)
    assert response.parts_read == len(parts)


@given(st.lists(st.integers(0, len(SENT)), max_size=6))
@example([5, 5, 30])
def test_body_cut_anywhere(cuts: list[int]) -> None:
    at = [0, *sorted(cuts), len(SENT)]
    parts = [SENT[begin:end] for begin, end in itertools.pairwise(at)]
    assert read_body(received(parts)) == SENT


def test_message_without_a_body_is_empty() -> None:
    """ASGI: `body` and `more_body` may be left out."""
    request = received([])

    async def receive() -> Message:
        return {"type": "http.request"}

    assert asyncio.run(read(Request(request.scope, receive), None, 100, hold_nothing)) == b""


LIMIT = 100
SIZES = for_each(("size", "status"), [(LIMIT - 1, 200), (LIMIT, 200), (LIMIT + 1, 413), (2 * LIMIT, 413)])
PARTS = for_each("parts", [1, 10, LIMIT])


@SIZES
@PARTS
@for_each("declared", [True, False])
def test_limit_of_a_body(size: int, status: int, parts: int, declared: bool) -> None:
    body = SENT.ljust(size)
    headers = [("Content-Length", str(size))] if declared else []
    response = forward(split(body, -(-size // parts)), *headers, max_body_bytes=LIMIT)
    if status == 200:
        assert_value(response)
    else:
        assert_problem(response, "too-large", 413, "AUTODIFF_MAX_BODY_BYTES")
        assert response.values("connection") == ["close"]


@SIZES
def test_limit_of_a_declared_length(size: int, status: int) -> None:
    """What is declared is believed if it is too long: nothing is read."""
    response = forward([SENT], ("Content-Length", str(size)), max_body_bytes=LIMIT)
    assert response.status == status
    assert response.parts_read == (1 if status == 200 else 0)


@pytest.mark.parametrize("declared", ["0", "1", str(len(SENT)), str(LIMIT), "-1", "x", ""])
def test_declared_length_within_the_limit_does_not_raise_it(declared: str) -> None:
    """An endless body is read up to the limit."""
    parts = [b" " * 30] * 1000
    response = forward(parts, ("Content-Length", declared), max_body_bytes=LIMIT)
    assert_problem(response, "too-large", 413)
    assert response.parts_read == 4


@pytest.mark.parametrize("spelled", ["101", "0101", "1000000000000000000000"])
def test_declared_length_is_a_number(spelled: str) -> None:
    assert_problem(forward([SENT], ("Content-Length", spelled), max_body_bytes=LIMIT), "too-large", 413)


@pytest.mark.parametrize(("size", "status"), [(9_999, 200), (10_000, 200), (10_001, 413), (200_000, 413)])
def test_limit_after_decompression(size: int, status: int) -> None:
    """The README: bytes are counted after decompression."""
    packed = gzip.compress(SENT.ljust(size))
    assert len(packed) < 1000
    response = forward([packed], GZIP, ("Content-Length", str(len(packed))), max_body_bytes=10_000)
    if status == 200:
        assert_value(response)
    else:
        assert_problem(response, "too-large", 413, "AUTODIFF_MAX_BODY_BYTES")


def test_limit_counts_all_members() -> None:
    packed = gzip.compress(SENT.ljust(60)) + gzip.compress(b" " * 30)
    assert_value(forward([packed], GZIP, max_body_bytes=max(90, len(packed))))
    with pytest.raises(Problem, match="the decompressed body is longer"):
        decompress(packed, 89, go_on)
    assert len(decompress(packed, 90, go_on)) == 90


def test_limit_counts_compressed_bytes_too() -> None:
    """A body that grows by compression."""
    noise = np.random.default_rng(1).integers(0, 256, 300, np.uint8).tobytes()
    assert_problem(forward([gzip.compress(noise)], GZIP, max_body_bytes=300), "too-large", 413)


NOT_GZIP = {
    "nothing": (b"", "empty"),
    "plain JSON": (SENT, "is not"),
    "zlib": (zlib.compress(SENT), "is not"),
    "raw deflate": (zlib.compress(SENT, wbits=-15), "is not"),
    "a zip file": (b"PK\x03\x04" + bytes(40), "is not"),
    "zeros": (bytes(100), "is not"),
    "magic number only": (b"\x1f\x8b", "cut off"),
    "header only": (gzip.compress(SENT)[:10], "cut off"),
    "half": (gzip.compress(SENT)[:30], "cut off"),
    "without the check sum": (gzip.compress(SENT)[:-8], "cut off"),
    "without the last byte": (gzip.compress(SENT)[:-1], "cut off"),
    "second member cut off": (gzip.compress(SENT) + gzip.compress(b" ")[:-1], "cut off"),
    "wrong check sum": (gzip.compress(SENT)[:-8] + b"\0\0\0\0" + gzip.compress(SENT)[-4:], "is not"),
    "wrong length": (gzip.compress(SENT)[:-4] + b"\0\0\0\0", "is not"),
    "unknown method": (b"\x1f\x8b\x07" + gzip.compress(SENT)[3:], "is not"),
    "JSON behind it": (gzip.compress(SENT) + SENT, "is not"),
    "a byte behind it": (gzip.compress(SENT) + b"x", ""),
    "a byte before it": (b"x" + gzip.compress(SENT), "is not"),
    "compressed twice": (gzip.compress(gzip.compress(SENT)), "UTF-8"),
    "an empty member": (gzip.compress(b""), "empty"),
    "text that is not JSON": (gzip.compress(b"expression=x"), "not JSON"),
}


@for_each(("body", "detail"), NOT_GZIP.values())
@for_each("size", [1, 10_000])
def test_body_that_is_labelled_gzip_and_is_not(body: bytes, detail: str, size: int) -> None:
    """The request is at fault, so the status is 400, with a reason that names the coding unless the text is at fault."""
    response = forward(split(body, size) or [b""], GZIP)
    assert_problem(response, "invalid-json", 400, detail)
    assert "gzip" in json.loads(response.body)["detail"] or detail in ("empty", "UTF-8", "not JSON")


def test_members_add_up_to_a_body() -> None:
    members = b"".join(gzip.compress(part) for part in split(SENT, 5))
    assert_value(forward([members], GZIP))
    assert_value(forward([gzip.compress(b"") + members + gzip.compress(b"")], GZIP))


@for_each("size", [bodies.CHUNK_BYTES - 1, bodies.CHUNK_BYTES, bodies.CHUNK_BYTES + 1, 3 * bodies.CHUNK_BYTES])
@for_each("level", [0, 9])
def test_pieces_of_decompression_meet(size: int, level: int) -> None:
    """Sizes around that of a piece, of what goes in and of what comes out."""
    content = bytes(k * k % 251 for k in range(size))
    assert decompress(gzip.compress(content, level), size, go_on) == content
    with pytest.raises(Problem, match="the decompressed body is longer"):
        decompress(gzip.compress(content, level), size - 1, go_on)


def test_decompression_takes_little_more_than_the_result() -> None:
    content = bytes(20_000_000)
    packed = gzip.compress(content)
    tracemalloc.start()
    assert decompress(packed, len(content), go_on) == content
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.5 * len(content)


# --- clients that leave


class Nested(RequestModel):
    """Numbers within an object within a list."""

    parts: list[dict[str, Body]]


def test_numbers_are_found_at_every_depth_of_a_body_that_is_not_read_twice() -> None:
    numbers = [k / 8 for k in range(1, EXPLAINED_BYTES // 4)]
    body = json.dumps({"parts": [{"one": {"text": "x"}}, {"two": {"text": "y", "numbers": numbers}}]}).encode()
    assert len(body) > EXPLAINED_BYTES
    found = parse(body, Nested).parts[1]["two"].numbers
    assert found is not None and found.tolist() == numbers


def test_time_of_decoding_is_measured() -> None:
    name = "autodiff_phase_seconds_sum"
    before = REGISTRY.get_sample_value(name, {"phase": "decode"}) or 0.0
    parse(b'{"text": "x"}', Body)
    assert 0.0 < (REGISTRY.get_sample_value(name, {"phase": "decode"}) or 0.0) - before < 60.0


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What has been computed or streamed so far."""
    done: list[object] = []
    parse_body = bodies.parse

    def noted(*arguments: Any) -> Any:
        done.append(arguments)
        return parse_body(*arguments)

    monkeypatch.setattr(bodies, "parse", noted)
    return done


@for_each("operation", POSTS)
@for_each("left", ["nothing", "half", "all but the end", "large", "gzip"])
def test_client_that_leaves_while_it_sends(computed: list[object], operation: Operation, left: str) -> None:
    """Nothing is computed, whatever has arrived. Nobody reads the response, and it is no failure of the service."""
    body, headers = operation.body, []
    parts = {"nothing": [], "half": [body[: len(body) // 2]], "all but the end": [body], "large": [body.ljust(20_000)]}
    if left == "gzip":
        parts, headers = {"gzip": [gzip.compress(body)]}, [GZIP]
    response = perform(app_with(), operation, headers, parts=parts[left], leaves=True)
    assert response.status == 499 and response.body == b""
    assert computed == []
    assert response.parts_read == len(parts[left])


def test_client_that_stays_is_answered(computed: list[object]) -> None:
    """Or the test above would show nothing."""
    assert_value(forward([SENT]))
    assert len(computed) == 1


def test_body_over_the_limit_is_refused_even_if_the_client_leaves() -> None:
    response = ask(app_with(max_body_bytes=10), "POST", "/v1/forward", parts=[SENT], leaves=True)
    assert_problem(response, "too-large", 413)


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
    (b"\xef\xbb\xbf{}", "it begins with a byte order mark (BOM); leave it out"),
    (b"\xff\xfe{\x00", "UTF-8"),
    (b"[" * 100_000, "deep"),
    (b'{"text": "\\ud800"}', "surrogate"),
    (b'{"text": "\\x"}', "line 1, column 11; within a text, a backslash is written \\\\"),
    (b"\x00", "line 1, column 1"),
    (b"-", "line 1, column 1"),
]


def test_message_of_a_body_that_is_not_json() -> None:
    assert refusal(b"{'text': 'x'}").detail == (
        "the body is not JSON: expecting property name enclosed in double quotes at line 1, column 2; "
        'names and texts stand in double quotes: {"x": 3}'
    )


@for_each("padding", [b"", b" " * 1000])
@for_each(("body", "detail"), NOT_JSON)
def test_body_that_is_not_json(body: bytes, detail: str, padding: bytes) -> None:
    problem = refusal(body + padding)
    assert problem.kind.name == "invalid-json" and problem.kind.status == 400
    assert detail in problem.detail and problem.errors == ()


@pytest.mark.parametrize(("spaces", "is_seen"), [(59, True), (60, False)])
def test_mistake_is_seen_60_characters_before_the_fault(spaces: int, is_seen: bool) -> None:
    assert ("leave out the comma" in refusal(b'{"text": "x",' + b" " * spaces + b"}").detail) is is_seen


@pytest.mark.parametrize(
    ("body", "detail"), [(b'{"text":"\xff"}', "UTF-8"), (b'{"text":"x"', "JSON"), (b'{"text":NaN}', "JSON")]
)
def test_large_body_that_is_not_json(body: bytes, detail: str) -> None:
    """It is not decoded again to say where, which would take many times its size in memory."""
    problem = refusal(b" " * EXPLAINED_BYTES + body)
    assert problem.kind.name == "invalid-json" and detail in problem.detail and len(problem.detail) < 300


@pytest.mark.parametrize(("more", "found"), [(0, "expecting ',' delimiter at line 1, column 1048576"), (1, "(char ")])
def test_largest_body_whose_fault_is_explained_in_our_words(more: int, found: str) -> None:
    assert found in refusal(b'{"text":"x"'.ljust(EXPLAINED_BYTES + more - 1) + b"?").detail


@pytest.mark.parametrize("shift", [-1, 0, 1])
def test_byte_that_is_not_utf_8_is_counted_from_the_beginning(monkeypatch: pytest.MonkeyPatch, shift: int) -> None:
    """Also where a body is looked at in slices, which may end within a character."""
    monkeypatch.setattr(bodies, "SLICE_BYTES", 1000)
    body = b'{"text":"%s' % ("é" * 1500).encode()
    body = body[: 3000 + shift] + b'\xff"}'
    with pytest.raises(UnicodeDecodeError) as whole:
        body.decode()
    assert refusal(body).detail.endswith(f" at byte {whole.value.start}")


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
    for text in ("token0", "0" * 32 + "0", large_json.TOKEN[:-1]):
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
