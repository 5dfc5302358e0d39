"""MCP in process: keys, hosts and origins, limits, cancellation, defects, and a service without the SDK."""

import asyncio
import gzip
import json
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from threading import Event
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI
from pydantic import SecretStr

from app.api.bridges import mcp_sdk
from app.api.bridges.mcp_sdk import Connector, connecting
from app.api.bridges.mcp_tools import TOOLS, Tool
from app.main import create_app
from app.service.execution import Execution, Job
from app.service.models import RequestModel, ResponseModel
from app.service.routing import ComputationRoute, computation
from app.settings import Settings
from tests.service.asgi import exchange
from tests.service.inprocess import running

pytest.importorskip("mcp", reason="the SDK of MCP is not installed: pip install '.[mcp]'")

LOCAL_HOSTS = {"allowed_hosts": "test"}
SQUARE = {"expression": "x*x", "inputs": {"x": 3}}


def call_of(tool: str, arguments: Any) -> dict[str, Any]:
    """The message that calls a tool."""
    return {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": tool, "arguments": arguments}}


@asynccontextmanager
async def served(**settings: Any) -> AsyncIterator[tuple[FastAPI, httpx.AsyncClient]]:
    """The application with these settings, and a client that calls it by the name `test`."""
    app = create_app(Settings(**(LOCAL_HOSTS | settings)))
    async with running(app) as client, connecting(app):
        yield app, client


def asked(content: Any, headers: dict[str, str] | None = None, **settings: Any) -> httpx.Response:
    """The response to one message, or to bytes."""

    async def ask() -> httpx.Response:
        async with served(**settings) as (app, client):
            body: dict[str, Any] = {"content": content} if isinstance(content, bytes) else {"json": content}
            response = await client.post("/mcp", headers={"Content-Type": "application/json"} | (headers or {}), **body)
            execution: Execution = app.state.execution
            assert execution.budget.used == 0 and not execution.in_flight and not execution.admitted
            return response

    return asyncio.run(ask())


def error_text(response: httpx.Response) -> str:
    """What a tool says about its error."""
    result = response.json()["result"]
    assert response.status_code == 200 and result["isError"] and "structuredContent" not in result
    text: str = result["content"][0]["text"]
    return text


# --- keys, hosts and origins


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        pytest.param({}, 401, id="no key"),
        pytest.param({"Authorization": "Bearer wrong"}, 401, id="wrong key"),
        pytest.param({"Authorization": "Bearer secret"}, 200, id="key"),
    ],
)
def test_calls_need_a_key_where_there_are_keys(authorization: dict[str, str], status: int) -> None:
    response = asked(call_of("gradient", SQUARE), authorization, api_keys=SecretStr("secret"))
    assert response.status_code == status
    if status == 401:
        assert response.headers["www-authenticate"] == "Bearer"
        assert response.json()["type"] == "/problems/unauthorized"


HOSTS = [
    pytest.param({}, {"Host": "127.0.0.1:8000"}, 200, id="the default, by address"),
    pytest.param({}, {"Host": "localhost"}, 200, id="the default, by name"),
    pytest.param({}, {"Host": "LocalHost:8000"}, 200, id="the default, in capitals"),
    pytest.param({}, {"Host": "[::1]:8000"}, 200, id="the default, by IPv6 address"),
    pytest.param({}, {"Host": "evil.example"}, 421, id="the default, by another name"),
    pytest.param({}, {"Host": "localhost.evil.example"}, 421, id="the default, by a name that begins like it"),
    pytest.param({}, {"Host": "localhost@evil.example"}, 421, id="the default, by a name behind credentials"),
    pytest.param({}, {"Host": ""}, 421, id="the default, by no name"),
    pytest.param({}, {"Host": "[::1"}, 421, id="the default, by no host"),
    pytest.param({"host": "0.0.0.0"}, {"Host": "anything.example"}, 200, id="on all addresses"),
    pytest.param({"allowed_hosts": "*"}, {"Host": "anything.example"}, 200, id="any"),
    pytest.param({"allowed_hosts": " * "}, {"Host": "anything.example"}, 200, id="any, between spaces"),
    pytest.param({"allowed_hosts": "a.example, B.example"}, {"Host": "b.example:443"}, 200, id="one of two"),
    pytest.param({"allowed_hosts": "a.example"}, {"Host": "localhost"}, 421, id="listed, and called by another"),
    pytest.param({"allowed_hosts": "10.0.0.1, 2001:db8::1"}, {"Host": "[2001:db8::1]:80"}, 200, id="a listed IPv6 address"),
    pytest.param({"allowed_hosts": "10.0.0.1, 2001:db8::1"}, {"Host": "10.0.0.1"}, 200, id="a listed IPv4 address"),
    pytest.param({"host": "0.0.0.0", "allowed_hosts": "a.example"}, {"Host": "b.example"}, 421, id="listed, on all addresses"),
    pytest.param({}, {"Host": "localhost", "Origin": "http://localhost:3000"}, 200, id="a page of this machine"),
    pytest.param({}, {"Host": "localhost", "Origin": "http://evil.example"}, 403, id="a page of another host"),
    pytest.param({}, {"Host": "localhost", "Origin": "null"}, 403, id="a page without an origin"),
    pytest.param(
        {"cors_origins": "https://a.example"}, {"Host": "localhost", "Origin": "https://a.example"}, 200, id="a listed origin"
    ),
    pytest.param({"cors_origins": "*"}, {"Host": "localhost", "Origin": "https://a.example"}, 200, id="any origin"),
    pytest.param({"host": "0.0.0.0"}, {"Host": "a.example", "Origin": "https://b.example"}, 200, id="a page, on all addresses"),
]


@pytest.mark.parametrize(("settings", "headers", "status"), HOSTS)
def test_host_and_origin_are_those_of_the_service(settings: dict[str, str], headers: dict[str, str], status: int) -> None:
    response = asked(call_of("gradient", SQUARE), headers, **({"allowed_hosts": ""} | settings))
    assert response.status_code == status
    if status != 200:
        setting = "AUTODIFF_ALLOWED_HOSTS" if status == 421 else "AUTODIFF_CORS_ORIGINS"
        assert setting in response.json()["error"]["message"] and "evil" not in response.text


@pytest.mark.parametrize("names", [["localhost", "evil.example"], ["evil.example", "localhost"], ["localhost", "localhost"]])
def test_several_hosts_are_none(names: list[str]) -> None:
    """RFC 9112, 3.2: a proxy may go by another one than the service."""

    async def ask() -> httpx.Response:
        async with served(allowed_hosts="localhost") as (_, client):
            headers = [("Content-Type", "application/json"), *(("Host", name) for name in names)]
            return await client.post("/mcp", headers=headers, json=call_of("gradient", SQUARE))

    response = asyncio.run(ask())
    assert response.status_code == 421 and "AUTODIFF_ALLOWED_HOSTS" in response.json()["error"]["message"]


@pytest.mark.parametrize("text", ["https://a.example", "a.example:8000", "a.example/mcp", "*.example", "a.example,,b.example"])
def test_allowed_hosts_are_names(text: str) -> None:
    with pytest.raises(ValueError, match="is no host name such as"):
        Settings(allowed_hosts=text)


# --- limits


def test_message_is_counted_decompressed() -> None:
    content = gzip.compress(json.dumps(call_of("evaluate", SQUARE)).encode().ljust(mcp_sdk.MAX_MESSAGE_BYTES))
    assert asked(content, {"Content-Encoding": "gzip"}).json()["result"]["structuredContent"]["value"] == 9.0
    longer = gzip.compress(json.dumps(call_of("evaluate", SQUARE)).encode().ljust(mcp_sdk.MAX_MESSAGE_BYTES + 1))
    assert asked(longer, {"Content-Encoding": "gzip"}).status_code == 413


def test_limit_of_bodies_holds_where_it_is_lower() -> None:
    message = call_of("evaluate", SQUARE)
    size = len(json.dumps(message, separators=(",", ":")))
    assert asked(message, max_body_bytes=size).status_code == 200
    assert asked(message, max_body_bytes=size - 1).status_code == 413


@pytest.mark.parametrize(
    ("tool", "arguments", "settings", "words"),
    [
        pytest.param("evaluate", SQUARE, {"max_text": 2}, ["too-large", "AUTODIFF_MAX_TEXT"], id="text"),
        pytest.param(
            "gradient",
            {"expression": "x", "inputs": {"x": [1, 2, 3]}},
            {"max_points": 2},
            ["too-large", "AUTODIFF_MAX_POINTS"],
            id="points",
        ),
        pytest.param("check", SQUARE, {"max_work": 3}, ["too-large", "AUTODIFF_MAX_WORK"], id="work"),
        pytest.param("check", SQUARE, {"compute_timeout_s": 1e-9}, ["deadline-exceeded"], id="time"),
        pytest.param(
            "derivative", {"expression": "x"}, {"memory_bytes": 1}, ["too-large", "AUTODIFF_MEMORY_BYTES"], id="memory"
        ),
    ],
)
def test_limits_of_the_service_hold(tool: str, arguments: Any, settings: dict[str, Any], words: list[str]) -> None:
    text = error_text(asked(call_of(tool, arguments), **settings))
    assert all(word in text for word in words)


@pytest.mark.parametrize("multiple", [13, 30])
def test_memory_of_a_message_is_held_while_its_call_is_computed(multiple: int) -> None:
    """It takes up to twelve times its bytes, decoded, and so does the body of the call."""
    points = [float(k) for k in range(20_000)]
    message = json.dumps(call_of("evaluate", {"expression": "x", "inputs": {"x": points}, "reduce": "sum"})).encode()
    response = asked(message, memory_bytes=multiple * len(message))
    if multiple == 30:
        assert response.json()["result"]["structuredContent"]["value"] == 20_000 * 19_999 / 2
    else:
        assert "overloaded" in error_text(response) and "AUTODIFF_MEMORY_BYTES" in error_text(response)


def test_answer_stays_where_its_check_runs_out_of_a_limit() -> None:
    answer = asked(call_of("gradient", SQUARE | {"check": True}), max_work=20).json()["result"]["structuredContent"]
    assert answer["gradients"]["x"] == 6.0
    assert answer["check"]["ok"] is False and "AUTODIFF_MAX_WORK" in answer["check"]["message"]


def test_call_with_a_check_is_one_computation_at_a_time() -> None:
    """All calls of /v1 of one call of a tool count as one for the limit on a client's computations."""
    arguments = {"expression": "x*y", "initial": {"x": 1}, "inputs": {"y": 0}, "check": True}
    answer = asked(call_of("minimize", arguments), max_concurrency_per_client=1).json()["result"]
    assert answer["structuredContent"]["check"]["ok"] is True


# --- a tool that waits


class Nothing(RequestModel):
    """No arguments."""


class Done(ResponseModel):
    """The end."""

    done: bool


def add_tool(monkeypatch: pytest.MonkeyPatch, app: FastAPI, name: str, work: Callable[[Job], None]) -> None:
    """Give the application a tool whose computation, in the pool, is `work`."""
    router = APIRouter(route_class=ComputationRoute)

    @router.post(f"/test/{name}")
    @computation(estimate_seconds=lambda request: 1.0)
    def endpoint(request: Nothing, job: Job) -> Done:
        work(job)
        return Done(done=True)

    app.include_router(router)
    monkeypatch.setitem(TOOLS, name, Tool(name, name, f"/test/{name}", Nothing, Done, name))


@pytest.mark.parametrize("version", [None, "2026-07-28"], ids=["2025-11-25", "2026-07-28"])
def test_computation_ends_when_its_client_goes_away(monkeypatch: pytest.MonkeyPatch, version: str | None) -> None:
    started, ended = Event(), Event()

    def wait(job: Job) -> None:
        started.set()
        try:
            while True:
                job.check()
                time.sleep(0.001)
        finally:
            ended.set()

    async def leave() -> None:
        async with served() as (app, _):
            add_tool(monkeypatch, app, "wait", wait)
            message = call_of("wait", {})
            headers = {"Host": "test", "Content-Type": "application/json"}
            if version:
                meta = {"io.modelcontextprotocol/protocolVersion": version, "io.modelcontextprotocol/clientCapabilities": {}}
                message["params"]["_meta"] = meta
                headers |= {"MCP-Protocol-Version": version, "Mcp-Method": "tools/call", "Mcp-Name": "wait"}
            lines = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
            scope = {
                "type": "http",
                "method": "POST",
                "path": "/mcp",
                "query_string": b"",
                "headers": lines,
                "http_version": "1.1",
            }
            scope |= {
                "scheme": "http",
                "server": ("test", 80),
                "client": ("192.0.2.1", 1),
                "root_path": "",
                "raw_path": b"/mcp",
            }
            messages = [{"type": "http.request", "body": json.dumps(message).encode(), "more_body": False}]

            async def receive() -> Any:
                if messages:
                    return messages.pop()
                while not started.is_set():
                    await asyncio.sleep(0.001)
                return {"type": "http.disconnect"}

            async def send(message: Any) -> None:
                pass

            await app(scope, receive, send)
            while not ended.is_set():
                await asyncio.sleep(0.001)
            execution: Execution = app.state.execution
            while execution.in_flight or execution.admitted:
                await asyncio.sleep(0.001)
            assert execution.budget.used == 0

    asyncio.run(asyncio.wait_for(leave(), 60))


def test_one_client_has_only_so_many_computations_in_flight(monkeypatch: pytest.MonkeyPatch) -> None:
    started, leave = Event(), Event()

    def wait(job: Job) -> None:
        started.set()
        assert leave.wait(60)

    async def two_calls() -> tuple[httpx.Response, httpx.Response]:
        async with served(max_concurrency_per_client=1) as (app, client):
            add_tool(monkeypatch, app, "wait", wait)
            first = asyncio.create_task(client.post("/mcp", json=call_of("wait", {})))
            while not started.is_set():
                await asyncio.sleep(0.001)
            second = await client.post("/mcp", json=call_of("wait", {}))
            leave.set()
            return await first, second

    first, second = asyncio.run(two_calls())
    assert first.json()["result"]["structuredContent"] == {"done": True}
    text = error_text(second)
    assert text.startswith("too-many-requests") and "after 1 s" in text


def test_defect_is_an_error_of_the_tool_with_the_request_id(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(job: Job) -> None:
        raise ZeroDivisionError("secret")

    async def call() -> httpx.Response:
        async with served() as (app, client):
            add_tool(monkeypatch, app, "fail", fail)
            return await client.post("/mcp", json=call_of("fail", {}), headers={"X-Request-ID": "abc123"})

    text = error_text(asyncio.run(call()))
    assert text.startswith("internal") and "abc123" in text and "secret" not in text and "Zero" not in text
    assert "ZeroDivisionError" in caplog.text and "abc123" in caplog.text


def test_defect_of_a_check_is_an_error_of_the_tool_with_the_request_id(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(arguments: Any, answer: Any, post: Any) -> Any:
        raise KeyError("secret")

    monkeypatch.setitem(TOOLS, "gradient", replace(TOOLS["gradient"], check=fail))
    message = call_of("gradient", SQUARE | {"check": True})
    text = error_text(asked(message, {"X-Request-ID": "abc123"}))
    assert text.startswith("internal") and "abc123" in text and "secret" not in text
    assert "KeyError" in caplog.text and "abc123" in caplog.text


# --- the life of the SDK


def test_calls_go_through_a_root_path() -> None:
    for root in ("/auto/diff", "/v1"):
        response = asked(call_of("gradient", SQUARE), root_path=root)
        assert response.json()["result"]["structuredContent"]["gradients"]["x"] == 6.0


def test_service_without_the_sdk_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mcp_types", None)
    response = asked(call_of("gradient", SQUARE))
    assert response.status_code == 501 and response.json()["type"] == "/problems/not-available"
    assert "pip install 'autodiff-http[mcp]'" in response.json()["detail"]


def test_many_first_requests_share_one_server() -> None:
    async def call_at_once() -> list[httpx.Response]:
        async with served() as (_, client):
            return await asyncio.gather(*(client.post("/mcp", json=call_of("gradient", SQUARE)) for _ in range(10)))

    assert {response.status_code for response in asyncio.run(call_at_once())} == {200}


def test_client_that_leaves_while_the_sdk_is_loaded_leaves_it_to_others() -> None:
    async def answer() -> httpx.Response:
        async with served() as (app, client):
            first = asyncio.create_task(app.state.mcp.started())
            await asyncio.sleep(0)
            first.cancel()
            return await client.post("/mcp", json=call_of("gradient", SQUARE))

    assert asyncio.run(answer()).status_code == 200


def test_application_that_ends_while_the_sdk_is_loaded_ends() -> None:
    async def end() -> None:
        connector = Connector(FastAPI())
        first = asyncio.create_task(connector.started())
        await asyncio.sleep(0)
        await connector.close()
        await first

    asyncio.run(asyncio.wait_for(end(), 60))


def test_browser_may_send_the_protocols_headers() -> None:
    app = create_app(Settings(cors_origins="https://a.example"))
    asked_for = "content-type,mcp-method,mcp-name,mcp-protocol-version"
    headers = [
        ("Origin", "https://a.example"),
        ("Access-Control-Request-Method", "POST"),
        ("Access-Control-Request-Headers", asked_for),
    ]
    response = asyncio.run(_preflight(app, headers))
    assert response.status == 200


async def _preflight(app: FastAPI, headers: list[tuple[str, str]]) -> Any:
    app.state.execution = Execution(app.state.settings)
    try:
        return await exchange(app, "OPTIONS", "/mcp", headers)
    finally:
        app.state.execution.close()
