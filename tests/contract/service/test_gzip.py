"""Compressed requests and responses."""

import gzip
import json
import time
import zlib

import httpx
import psutil
import pytest

from tests.contract import client as http
from tests.contract.conftest import Post, Start
from tests.contract.service.processes import SMALL_REQUEST
from tests.contract.wire import LOCAL, problem

GZIP = {"Content-Encoding": "gzip", "Content-Type": "application/json"}


def test_gzip_request_and_response_equal_plain_ones(client: httpx.Client) -> None:
    body = {"expression": "x*x", "inputs": {"x": list(range(2000))}}
    headers = GZIP | {"Accept-Encoding": "gzip"}
    packed = client.post("/v1/forward", content=gzip.compress(json.dumps(body).encode()), headers=headers)
    plain = client.post("/v1/forward", json=body, headers={"Accept-Encoding": "identity"})
    assert packed.headers["content-encoding"] == "gzip" and "content-encoding" not in plain.headers
    assert packed.content == plain.content and packed.json()["value"][-1] == 1999.0**2
    assert "content-encoding" not in client.post("/v1/forward", json=SMALL_REQUEST, headers={"Accept-Encoding": "gzip"}).headers


@pytest.mark.skipif(not LOCAL, reason="starts servers of its own")
def test_gzip_bomb_is_refused_without_inflating_it(start: Start) -> None:
    """Ten gigabytes of zeros in ten megabytes: 413 at once, and memory does not grow."""
    server = start()
    process = psutil.Process(server.process.pid)
    http.post(f"{server.url}/v1/forward", json=SMALL_REQUEST)
    before = process.memory_info().rss
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    first = packer.compress(bytes(1 << 22)) + packer.flush(zlib.Z_FULL_FLUSH)
    rest = packer.compress(bytes(1 << 22)) + packer.flush(zlib.Z_FULL_FLUSH)
    bomb = first + rest * 2500
    refused = http.post(f"{server.url}/v1/forward", content=bomb, headers=GZIP, timeout=30)
    problem(refused, "too-large", 413)
    assert process.memory_info().rss < before + 200_000_000


def test_gzip_with_many_members(client: httpx.Client) -> None:
    """RFC 1952 allows any number of members."""
    body = json.dumps(SMALL_REQUEST).encode()
    members = b"".join(gzip.compress(body[k : k + 3]) for k in range(0, len(body), 3))
    assert client.post("/v1/forward", content=members, headers=GZIP).json()["value"] == 9.0


@pytest.mark.alone
def test_gzip_with_100_000_empty_members_takes_linear_time(client: httpx.Client) -> None:
    began = time.monotonic()
    empty = client.post("/v1/forward", content=gzip.compress(b"") * 100_000, headers=GZIP)
    assert "empty" in problem(empty, "invalid-json", 400)["detail"]
    assert time.monotonic() - began < 5


def test_truncated_gzip_is_named(client: httpx.Client) -> None:
    cut = client.post("/v1/forward", content=gzip.compress(json.dumps(SMALL_REQUEST).encode())[:-3], headers=GZIP)
    assert "cut off" in problem(cut, "invalid-json", 400)["detail"]


@pytest.mark.parametrize("coding", ["deflate", "br", "gzip, identity"])
def test_other_content_encodings_are_unsupported(post: Post, coding: str) -> None:
    response = post("forward", content=b'{"expression": "1"}', headers={"Content-Encoding": coding})
    problem(response, "unsupported-media-type", 415)
