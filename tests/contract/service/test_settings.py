"""Settings that a proxy or an orchestrator sets in the environment."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.conftest import ROOT, Server
from tests.contract import client as http
from tests.contract.service.processes import wait_until
from tests.contract.wire import LOCAL
from tests.forks import Fork

pytestmark = pytest.mark.skipif(not LOCAL, reason="starts servers of its own")


@pytest.fixture(scope="module")
def prefixed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server behind a root path."""
    environment = {"AUTODIFF_ROOT_PATH": "/auto/diff"}
    server = Server(tmp_path_factory.mktemp("prefixed") / "log", environment=environment, fork=True)
    server.wait_until_ready()
    yield server
    server.stop()


def test_root_path_precedes_every_link_of_the_docs(prefixed: Server) -> None:
    page = http.get(f"{prefixed.url}/docs").text
    assert "/auto/diff/openapi.json" in page and "/auto/diff/docs/swagger-ui.css" in page
    assert 'href="/docs' not in page and 'src="/docs' not in page
    assert 'href="/auto/diff/docs"' in http.get(prefixed.url).text


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
    process = Fork(tmp_path / "log", ROOT, (), environment)
    try:
        wait_until(lambda: is_alive(f"http://127.0.0.1:{port}"), 120)
    finally:
        process.terminate()
        process.wait(30)
    assert "INFO" not in (tmp_path / "log").read_text()


TRAINING = {
    "model": {"inputs": 2, "layers": [64, 64, 1]},
    "data": {"dataset": "moons"},
    "loss": "mse",
    "optimizer": {"name": "sgd", "learning_rate": 0.01},
    "steps": 1_000_000,
}
"""Long enough to be in flight until its client leaves."""


@pytest.fixture(scope="module", params=["127.0.0.1", "10.0.0.0/8, 127.0.0.0/8", ""], ids=["address", "network", "no proxy"])
def behind_proxy(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[tuple[Server, bool]]:
    """A server where one client may have one computation in flight, and whether it trusts this machine as a proxy."""
    environment = {"AUTODIFF_TRUSTED_PROXIES": request.param, "AUTODIFF_MAX_CONCURRENCY_PER_CLIENT": "1"}
    server = Server(tmp_path_factory.mktemp("proxied") / "log", environment=environment, fork=True)
    server.wait_until_ready()
    yield server, bool(request.param)
    server.stop()


def test_two_clients_through_one_proxy_are_two_if_the_proxy_is_trusted(behind_proxy: tuple[Server, bool]) -> None:
    """Else the header could be written by anybody, to be somebody else."""
    server, is_trusted = behind_proxy
    with httpx.Client(base_url=server.url, timeout=20) as proxy:
        with proxy.stream(
            "POST", "/v1/networks/train/stream", json=TRAINING, headers={"X-Forwarded-For": "203.0.113.5"}
        ) as one:
            lines = one.iter_lines()  # which ends the connection if nobody holds it
            assert next(lines).startswith("event")
            statuses = {
                address: httpx.post(
                    f"{server.url}/v1/networks/train", json={**TRAINING, "steps": 20}, headers={"X-Forwarded-For": address}
                ).status_code
                for address in ("203.0.113.5", "203.0.113.6", "198.51.100.1, 203.0.113.5")
            }
    assert statuses == {
        "203.0.113.5": 429,
        "203.0.113.6": 200 if is_trusted else 429,
        "198.51.100.1, 203.0.113.5": 429,  # what the client wrote itself does not count
    }
