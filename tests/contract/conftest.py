"""Fixtures of the contract tests: a client whose responses are checked against the OpenAPI document, and servers."""

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import Server
from tests.contract.client import CheckedClient, checker
from tests.contract.wire import LOCAL, strict

Post = Callable[..., httpx.Response]
Start = Callable[..., Server]
AssertAlive = Callable[[], None]


@pytest.fixture(scope="session")
def client(base_url: str) -> Iterator[httpx.Client]:
    """A client of the service. A response that does not match the OpenAPI document fails the test."""
    with CheckedClient(base_url=base_url, timeout=60) as client:
        yield client


@pytest.fixture(scope="session")
def post(client: httpx.Client) -> Post:
    """Post to an operation: `post("forward", expression="x", inputs={"x": 1})`, or raw bytes with `content=`."""

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
    """The OpenAPI document that the service publishes."""
    response = client.get("/openapi.json")
    assert response.status_code == 200 and response.headers["content-type"] == "application/json"
    document: dict[str, Any] = strict(response.content)
    return document


@pytest.fixture(scope="session")
def routes(document: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """Method and path of every operation by its id, after which the files in openapi/examples are named."""
    return {
        operation["operationId"]: (method.upper(), path)
        for path, item in document["paths"].items()
        for method, operation in item.items()
    }


@pytest.fixture
def assert_alive(request: pytest.FixtureRequest, client: httpx.Client) -> AssertAlive:
    """Assert that the service responds, and does so in the process that was started."""
    server: Server | None = request.getfixturevalue("server") if LOCAL else None

    def check() -> None:
        assert client.get("/livez").status_code == 200
        assert server is None or server.process.poll() is None

    return check


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start servers that end with the test: `start("--workers", "2", AUTODIFF_MAX_QUEUE="1")`.

    They are forks, unless a variable says how Python itself starts, or there are several workers.
    """
    servers: list[Server] = []

    def begin(*flags: str, **environment: str) -> Server:
        fork = "--workers" not in flags and all(name.startswith("AUTODIFF_") for name in environment)
        server = Server(tmp_path / f"log{len(servers)}", *flags, environment=environment, fork=fork)
        servers.append(server)
        for _ in range(6000):  # with several workers the address is known before anyone listens there
            with suppress(httpx.TransportError):
                httpx.get(f"{server.url}/livez", verify=False)
                break
            time.sleep(0.01)
        server.wait_until_ready()
        checker(httpx.URL(server.url))  # now, since the test may stop the server before its first response
        return server

    yield begin
    for server in servers:
        server.kill()
