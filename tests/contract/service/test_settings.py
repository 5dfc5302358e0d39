"""Settings that a proxy or an orchestrator sets in the environment."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.conftest import ROOT, Server
from tests.contract import client as http
from tests.contract.service.processes import wait_until
from tests.contract.wire import LOCAL

pytestmark = pytest.mark.skipif(not LOCAL, reason="starts servers of its own")


@pytest.fixture(scope="module")
def prefixed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server behind a root path."""
    environment = {"AUTODIFF_ROOT_PATH": "/auto/diff"}
    server = Server(tmp_path_factory.mktemp("prefixed") / "log", environment=environment)
    server.wait_until_ready()
    yield server
    server.stop()


def test_root_path_precedes_every_link_of_the_docs(prefixed: Server) -> None:
    page = http.get(f"{prefixed.url}/docs").text
    assert "/auto/diff/openapi.json" in page and "/auto/diff/docs/swagger-ui.css" in page
    assert 'href="/docs' not in page and 'src="/docs' not in page
    assert http.get(prefixed.url).headers["location"] == "/auto/diff/docs"


def test_root_path_is_the_server_of_the_document(prefixed: Server) -> None:
    """Without it Swagger UI and generated clients would miss the prefix."""
    servers = http.get(f"{prefixed.url}/openapi.json").json().get("servers", [])
    assert [entry["url"] for entry in servers] == ["/auto/diff"]


@pytest.mark.parametrize("prefix", ["", "/auto/diff"], ids=["stripped", "kept"])
def test_root_path_may_be_stripped_or_kept_by_the_proxy(prefixed: Server, prefix: str) -> None:
    assert http.get(f"{prefixed.url}{prefix}/docs").status_code == 200
    assert http.post(f"{prefixed.url}{prefix}/v1/forward", json={"expression": "1"}).json()["value"] == 1.0


def is_alive(url: str) -> bool:
    """Whether a server listens at a URL and is alive."""
    try:
        return httpx.get(f"{url}/livez").status_code == 200
    except httpx.TransportError:
        return False


def test_port_and_log_level_come_from_the_environment(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "AUTODIFF_PORT": str(port), "AUTODIFF_LOG_LEVEL": "warning"}
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "app"], cwd=ROOT, env=environment, stdout=log, stderr=log)
    try:
        wait_until(lambda: is_alive(f"http://127.0.0.1:{port}"), 120)
    finally:
        process.terminate()
        process.wait(30)
    assert "INFO" not in (tmp_path / "log").read_text()
