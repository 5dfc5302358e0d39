"""Mutated requests, random bytes and random paths are never a server error in either room."""

import json
import random
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.conftest import examples
from tests.contract.conftest import AssertAlive
from tests.contract.expressions.test_fuzz import mutated
from tests.contract.wire import problem, strict

CASES = [
    example
    for example in examples()
    if example.operation.startswith(("umbridge", "tesseract")) and "request" in example.content
]
ROUNDS = 150


def assert_protocol(response: httpx.Response, room: str) -> None:
    """Assert that a response is a success, or an error in the form of its protocol that blames the request."""
    media = response.headers["content-type"]
    if media == "application/problem+json":
        problem(response)
        assert response.status_code in (404, 405, 406, 415), response.text[:500]
        return
    assert media in ("application/json", "application/json+base64")
    assert response.status_code in ((200, 400) if room == "umbridge" else (200, 422)), response.text[:500]
    body = strict(response.content)
    if response.status_code == 400:
        assert body["error"]["type"] in ("InvalidInput", "ModelNotFound") and body["error"]["message"]
    elif response.status_code == 422:
        assert body["detail"] and all(entry["type"] and entry["msg"] and entry["loc"] for entry in body["detail"])


def bodies(rng: random.Random, request: dict[str, Any]) -> Iterator[bytes]:
    for _ in range(ROUNDS):
        yield mutated(rng, request)


@pytest.mark.slow
@pytest.mark.parametrize("example", CASES, ids=lambda example: f"{example.operation}.{example.name}")
def test_mutated_requests(
    client: httpx.Client, routes: dict[str, tuple[str, str]], example: Any, assert_alive: AssertAlive
) -> None:
    rng = random.Random(f"{example.operation}.{example.name}")
    url = routes[example.operation][1].format(**example.path)
    for body in bodies(rng, example.content["request"]):
        response = client.post(url, content=body, headers={"Content-Type": "application/json"})
        assert_protocol(response, example.operation.partition("_")[0])
    assert_alive()


def test_random_bytes(client: httpx.Client) -> None:
    rng = random.Random(21)
    urls = [
        *(f"/umbridge/{name}" for name in ("ModelInfo", "InputSizes", "Evaluate", "Gradient", "ApplyHessian")),
        *(f"/tesseract/x%2Fy/{name}" for name in ("apply", "jacobian", "abstract_eval")),
    ]
    alphabets = [bytes(range(256)), b'{}[]",:0123456789.eE+-ntrufals\\u ', b'{"name": "expression"}\x00\xff']
    for k in range(400):
        content = bytes(rng.choices(alphabets[k % 3], k=rng.choice([1, 2, 10, 100, 1000, 20_000])))
        url = urls[k % len(urls)]
        response = client.post(url, content=content, headers={"Content-Type": "application/json"})
        assert response.status_code in (400, 422)
        assert_protocol(response, url.split("/")[1])


CHARACTERS = "xyz0123456789.+-*/()=;,<> \n\té\x00%abcdefsinlogtanh_"
ENDPOINTS = ("apply", "jacobian", "abstract_eval", "openapi.json", "health", "jacobian_vector_product")


@pytest.mark.slow
def test_random_paths(base_url: str, client: httpx.Client, assert_alive: AssertAlive) -> None:
    """Bare and percent-encoded characters in turn, and malformed escapes."""
    rng = random.Random(22)
    content = json.dumps({"inputs": {"x": 1.0, "y": 2.0}}).encode()
    for _ in range(600):
        text = "".join(rng.choices(CHARACTERS, k=rng.randrange(1, 40)))
        escaped = "".join(
            c if c in "xyz0123456789.+-*()=,/" and rng.random() < 0.5 else "".join(f"%{b:02X}" for b in c.encode())
            for c in text
        )
        if rng.random() < 0.1:
            escaped += rng.choice(["%", "%G0", "%FF", "b64:%2F", "%ED%A0%80"])
        endpoint = rng.choice(ENDPOINTS)
        method = "GET" if endpoint in ("openapi.json", "health") else "POST"
        url = httpx.URL(f"{base_url}/tesseract/").copy_with(raw_path=f"/tesseract/{escaped}/{endpoint}".encode())
        response = httpx.request(method, url, content=content if method == "POST" else None, verify=False)
        assert_protocol(response, "tesseract")
    assert_alive()
