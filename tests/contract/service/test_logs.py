"""The log: one JSON line per request, and never a body."""

import json

import httpx
import pytest

from tests.conftest import Server
from tests.contract import client as http
from tests.contract.service.processes import wait_until
from tests.contract.wire import LOCAL

pytestmark = pytest.mark.skipif(not LOCAL, reason="reads the log of a server of its own")


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
