"""Fixtures for the contract tests: one request, the server's health, and servers of a test's own."""

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import Server
from tests.contract.wire import LOCAL, strict

Post = Callable[..., httpx.Response]
Start = Callable[..., Server]


@pytest.fixture(scope="session")
def post(client: httpx.Client) -> Post:
    """Posts to an operation of section 2: `post("forward", expression="x", inputs={"x": 1})`, or raw `content=`."""

    def send(
        operation: str, *, content: bytes | None = None, headers: dict[str, str] | None = None, **body: Any
    ) -> httpx.Response:
        path = f"/v1/{operation}"
        if content is None:
            return client.post(path, json=body, headers=headers)
        return client.post(path, content=content, headers={"Content-Type": "application/json", **(headers or {})})

    return send


@pytest.fixture(scope="session")
def document(client: httpx.Client) -> dict[str, Any]:
    """The OpenAPI document."""
    response = client.get("/openapi.json")
    assert response.status_code == 200 and response.headers["content-type"] == "application/json"
    found: dict[str, Any] = strict(response.content)
    return found


@pytest.fixture(scope="session")
def routes(document: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """Method and path of every operation by its id, which is what files in openapi/examples are named by."""
    return {
        operation["operationId"]: (method.upper(), path)
        for path, item in document["paths"].items()
        for method, operation in item.items()
    }


@pytest.fixture
def unharmed(request: pytest.FixtureRequest, client: httpx.Client) -> Callable[[], None]:
    """Checks that the service lives, in the process that it was started in."""
    server: Server | None = request.getfixturevalue("server") if LOCAL else None

    def check() -> None:
        assert client.get("/livez").status_code == 200
        assert server is None or server.process.poll() is None

    return check


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts servers that end with the test."""
    servers: list[Server] = []

    def begin(*flags: str, **environment: str) -> Server:
        server = Server(tmp_path / f"log{len(servers)}", *flags, environment=environment)
        servers.append(server)
        for _ in range(6000):  # with several workers the address is known before anyone listens there
            with suppress(httpx.TransportError):
                httpx.get(f"{server.url}/livez")
                break
            time.sleep(0.01)
        server.wait_until_ready()
        return server

    yield begin
    for server in servers:
        if server.process.poll() is None:
            server.process.kill()
            server.process.wait(30)
