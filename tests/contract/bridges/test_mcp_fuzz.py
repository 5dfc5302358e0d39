"""Random messages to /mcp, from almost right to anything: an answer of JSON-RPC, and never a server error."""

import json
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import times
from tests.contract.wire import strict

pytest.importorskip("mcp", reason="the SDK of MCP is not installed: pip install '.[mcp]'")

NAMES = st.sampled_from(["evaluate", "gradient", "hessian", "derivative", "check", "minimize", "fit", "propagate", "", "x"])
METHODS = st.sampled_from(
    ["tools/call", "tools/list", "initialize", "ping", "server/discover", "notifications/cancelled", "subscriptions/listen"]
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4), max_leaves=12
)
FIELDS = st.sampled_from(
    [
        "expression",
        "inputs",
        "wrt",
        "check",
        "reduce",
        "initial",
        "bounds",
        "data",
        "target",
        "parameters",
        "order",
        "nonfinite",
    ]
)
TEXTS = st.sampled_from(["x", "x*y", "log(x)", "a*x + b", "2x", "f = x; f**2", "1/x", "\ud800", "x" * 500, "if", ""])
ARGUMENTS = st.fixed_dictionaries(
    {}, optional={"expression": TEXTS | VALUES, "inputs": st.dictionaries(st.sampled_from("xyab"), VALUES, max_size=3)}
) | st.dictionaries(FIELDS | st.text(max_size=8), VALUES, max_size=4)
META = (
    st.just({"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}})
    | VALUES
)
PARAMS = st.fixed_dictionaries({"name": NAMES | VALUES, "arguments": ARGUMENTS | VALUES}, optional={"_meta": META})
MESSAGES = st.fixed_dictionaries(
    {"jsonrpc": st.just("2.0"), "method": METHODS | st.text(max_size=8)},
    optional={"id": st.integers() | st.text(max_size=5) | VALUES, "params": PARAMS | VALUES},
)
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "MCP-Protocol-Version": st.sampled_from(["2026-07-28", "2025-11-25", "2025-06-18", "2024-11-05", "1900-01-01", "x"]),
        "Mcp-Method": METHODS,
        "Mcp-Name": NAMES,
        "Mcp-Session-Id": st.sampled_from(["1", "none"]),
    },
)


@pytest.fixture(scope="module")
def connection(base_url: str) -> Any:
    with httpx.Client(base_url=base_url, timeout=60) as client:
        yield client


def assert_answered(response: httpx.Response, content: bytes) -> None:
    """Assert that a response is one of JSON-RPC, or the acknowledgement of a notification."""
    assert response.status_code in (200, 202, 400, 404), (response.status_code, response.text[:300], content)
    if response.status_code == 202:
        assert not response.content
        return
    body = strict(response.content)
    assert body["jsonrpc"] == "2.0" and ("result" in body) != ("error" in body), content
    if "error" in body:
        assert body["error"]["code"] != -32603, (body, content)
    elif "isError" in body["result"]:
        result = body["result"]
        assert ("structuredContent" in result) != result["isError"]
        assert not result["isError"] or "internal" not in result["content"][0]["text"].partition("\n")[0], (result, content)


@times(4)
@given(message=MESSAGES, headers=HEADERS)
def test_random_message_is_answered(connection: httpx.Client, message: Any, headers: dict[str, str]) -> None:
    content = json.dumps(message).encode()
    response = connection.post("/mcp", content=content, headers={"Content-Type": "application/json"} | headers)
    assert_answered(response, content)


@given(content=st.binary(max_size=40) | VALUES.map(lambda value: json.dumps(value).encode()), headers=HEADERS)
def test_random_bytes_are_answered(connection: httpx.Client, content: bytes, headers: dict[str, str]) -> None:
    response = connection.post("/mcp", content=content, headers={"Content-Type": "application/json"} | headers)
    assert response.status_code == 400
    assert_answered(response, content)
