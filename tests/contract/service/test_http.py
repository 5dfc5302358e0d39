"""HTTP below the level of an HTTP client: framing, garbage and strange headers."""

import json
import random

import pytest

from tests.contract.conftest import AssertAlive
from tests.contract.sockets import exchange, head, status_of
from tests.contract.wire import MAX_ERROR_BYTES, smallest

BODY = json.dumps(smallest("forward")).encode()


def test_second_request_on_a_connection_after_an_error(base_url: str) -> None:
    """The body of the first is read although its type is unsupported, so the second starts where it should."""
    first = head(base_url, Content_Length="3", Content_Type="text/plain") + b"abc"
    second = head(base_url, Content_Length=str(len(BODY)), Connection="close") + BODY
    received = exchange(base_url, first + second)
    assert status_of(received) == 415 and b"HTTP/1.1 200" in received and b'"value":10.0' in received


def test_chunked_body_is_read(base_url: str) -> None:
    chunks = b"".join(b"%x\r\n%s\r\n" % (1, BODY[k : k + 1]) for k in range(len(BODY))) + b"0\r\n\r\n"
    received = exchange(base_url, head(base_url, Transfer_Encoding="chunked", Connection="close"), chunks)
    assert status_of(received) == 200 and b'"value":10.0' in received


@pytest.mark.parametrize("sent", [b"", BODY[:20], BODY], ids=["nothing", "a part", "all but one"])
@pytest.mark.parametrize("length", [len(BODY) + 1, 10 * len(BODY), 10**9, 10**18], ids=lambda length: f"of {length}")
def test_body_that_is_cut_off_does_no_harm(base_url: str, assert_alive: AssertAlive, length: int, sent: bytes) -> None:
    start = head(base_url, Content_Length=str(length), Content_Type="application/json")
    exchange(base_url, start, sent, hang_up=True)
    assert_alive()


@pytest.mark.parametrize(
    "sent",
    [b"", b"5", b"5\r\n", b'5\r\n{"exp', b'5\r\n{"exp\r\n', b"ffffffff\r\n" + BODY, b"%x\r\n%s\r\n" % (len(BODY), BODY)],
    ids=["nothing", "digit", "size", "part of a chunk", "chunk", "huge size", "no last chunk"],
)
def test_chunked_body_that_is_cut_off_does_no_harm(base_url: str, assert_alive: AssertAlive, sent: bytes) -> None:
    start = head(base_url, Transfer_Encoding="chunked", Content_Type="application/json")
    exchange(base_url, start, sent, hang_up=True)
    assert_alive()


def assert_refused(received: bytes, *statuses: int) -> None:
    """Assert that the connection was closed without a response, or with one of these statuses."""
    assert received == b"" or status_of(received) in statuses, received[:200]


@pytest.mark.parametrize(
    "size", ["zz", "-1", "0x5", "fffffffffffffffff", ""], ids=["letters", "negative", "prefix", "too large", "empty"]
)
def test_invalid_chunk_size_is_refused(base_url: str, assert_alive: AssertAlive, size: str) -> None:
    start = head(base_url, Transfer_Encoding="chunked", Connection="close")
    received = exchange(base_url, start, f"{size}\r\n{{\r\n0\r\n\r\n".encode(), seconds=2)
    assert_refused(received, 400, 413, 422)
    assert_alive()


@pytest.mark.parametrize(
    "length",
    ["-1", "abc", "1e3", "0x10", "99999999999999999999999", "5, 6", ""],
    ids=["negative", "letters", "exponent", "prefix", "too large", "two", "empty"],
)
def test_invalid_content_length_is_refused(base_url: str, assert_alive: AssertAlive, length: str) -> None:
    received = exchange(base_url, head(base_url, Content_Length=length, Connection="close"), BODY, seconds=1)
    assert_refused(received, 400, 413)
    assert_alive()


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


def assert_below_500(received: bytes) -> None:
    """Assert that the connection was closed without a response, or with a short one that blames the client."""
    assert received == b"" or status_of(received) < 500, received[:200]
    assert len(received) < MAX_ERROR_BYTES


@pytest.mark.parametrize("garbage", GARBAGE, ids=lambda garbage: repr(garbage[:24]))
def test_garbage_is_never_a_5xx(base_url: str, assert_alive: AssertAlive, garbage: bytes) -> None:
    received = exchange(base_url, garbage, seconds=0.3)
    assert_below_500(received)
    assert_alive()


def test_random_garbage_does_no_harm(base_url: str, assert_alive: AssertAlive) -> None:
    rng = random.Random(5)
    for _ in range(60):
        garbage = rng.randbytes(rng.choice([1, 30, 3000]))
        exchange(base_url, rng.choice([b"", head(base_url)[:-2], b"POST "]) + garbage, hang_up=True)
    assert_alive()


def test_mutated_request_is_never_a_5xx(base_url: str, assert_alive: AssertAlive) -> None:
    rng = random.Random(6)
    whole = head(base_url, Content_Length=str(len(BODY)), Content_Type="application/json", Connection="close") + BODY
    for _ in range(60):
        wire = bytearray(whole)
        for _ in range(rng.randint(1, 4)):
            wire[rng.randrange(len(wire))] = rng.randrange(256)
        received = exchange(base_url, bytes(wire), seconds=0.1)
        assert received == b"" or status_of(received) < 500, bytes(wire)
    assert_alive()


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
def test_strange_header_is_never_a_5xx(base_url: str, assert_alive: AssertAlive, headers: dict[str, str]) -> None:
    start = head(base_url, **{"Content_Length": str(len(BODY)), "Connection": "close"} | headers)
    received = exchange(base_url, start, BODY, seconds=3)
    assert_below_500(received)
    assert_alive()
