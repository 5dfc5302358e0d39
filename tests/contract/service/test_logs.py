"""The log: one JSON line per request, and never a body."""

import json
from typing import Any

import httpx
import pytest

from tests.conftest import Server
from tests.contract import client as http
from tests.contract.conftest import Start
from tests.contract.service.processes import SMALL_REQUEST, wait_until
from tests.contract.wire import LOCAL

pytestmark = pytest.mark.skipif(not LOCAL, reason="reads the log of a server of its own")

FIT = {"expression": "a*x", "data": {"x": [1, 2, 3]}, "target": [1, 2, 4], "parameters": {"a": 1}}


def test_log_has_a_line_per_request_and_no_body(server: Server) -> None:
    body = {"expression": "secret_name * 2", "inputs": {"secret_name": [1, 2, 3]}}
    http.post(f"{server.url}/v1/backward?secret_query=1", json=body, headers={"X-Request-ID": "my-id"})
    wait_until(lambda: "my-id" in server.log.read_text(), 2)
    text = server.log.read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    line = next(line for line in lines if line.get("request_id") == "my-id")
    assert line["route"] == "/v1/backward" and line["status"] == 200 and line["ms"] > 0
    assert line["nodes"] == 2 and line["points"] == 3
    assert line["bytes_in"] == len(httpx.Request("POST", "http://x", json=body).content)
    assert "secret_" not in text


@pytest.mark.parametrize(("path", "body"), [("backward", SMALL_REQUEST), ("check", SMALL_REQUEST), ("fit/stream", FIT)])
def test_log_counts_the_bytes_of_a_response(server: Server, path: str, body: dict[str, Any]) -> None:
    """However many parts it is sent in."""
    identity = f"bytes-of-{path}"
    headers = {"X-Request-ID": identity, "Accept-Encoding": "identity"}
    response = http.post(f"{server.url}/v1/{path}", json=body, headers=headers)
    assert response.status_code == 200
    wait_until(lambda: identity in server.log.read_text(), 2)
    lines = [json.loads(line) for line in server.log.read_text().splitlines()]
    line = next(line for line in lines if line.get("request_id") == identity)
    assert line["bytes_out"] == len(response.content)


@pytest.mark.parametrize(
    ("method", "path", "route"),
    [
        ("POST", "/v1/backward", "/v1/backward"),
        ("GET", "/v1/datasets/moons", "/v1/datasets/{name}"),
        ("GET", "/v1/nothing", "unmatched"),
    ],
)
def test_log_of_a_request_without_a_key_has_its_route(start: Start, method: str, path: str, route: str) -> None:
    server = start(AUTODIFF_API_KEYS="k")
    assert httpx.request(method, f"{server.url}{path}", headers={"X-Request-ID": "no-key"}).status_code == 401
    wait_until(lambda: "no-key" in server.log.read_text(), 2)
    lines = [json.loads(line) for line in server.log.read_text().splitlines()]
    line = next(line for line in lines if line.get("request_id") == "no-key")
    assert (line["route"], line["status"], line["problem"]) == (route, 401, "unauthorized")
