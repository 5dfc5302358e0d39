"""A real server process for the tests that speak HTTP; `AUTODIFF_TEST_URL` names a running one to test instead."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

ROOT = Path(__file__).parents[1]


class Server:
    """A `python -m app` process on a free port, with its log in a file."""

    def __init__(self, log: Path, *flags: str, environment: dict[str, str] | None = None) -> None:
        self.log = log
        self.began = time.perf_counter()
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "app", "--port", "0", *flags],
                cwd=ROOT,
                # A server of several workers, run in this process, would have left the place where they count together.
                env={k: v for k, v in os.environ.items() if k != "PROMETHEUS_MULTIPROC_DIR"} | (environment or {}),
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self.url = self._address()

    def _address(self) -> str:
        """The address that the server says it listens on."""
        while self.process.poll() is None and time.perf_counter() - self.began < 60:
            for line in self.log.read_text().splitlines():
                if "running on http" in line:
                    return "http://" + line.split("http://")[1].split()[0]
            time.sleep(0.01)
        raise RuntimeError(f"the server did not start:\n{self.log.read_text()}")

    def wait_until_ready(self, seconds: float = 60) -> float:
        """Waits for /readyz; returns the seconds since the process was started."""
        while time.perf_counter() - self.began < seconds:
            with contextlib.suppress(httpx.ConnectError):  # a worker that does not listen yet
                if httpx.get(f"{self.url}/readyz").status_code == 200:
                    return time.perf_counter() - self.began
            time.sleep(0.01)
        raise RuntimeError(f"the server did not become ready:\n{self.log.read_text()}")

    def stop(self) -> int:
        """Ends the process as an orchestrator does; returns its exit code."""
        self.process.terminate()
        return self.process.wait(30)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("server") / "log")
    server.wait_until_ready()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def base_url(request: pytest.FixtureRequest) -> str:
    given = os.environ.get("AUTODIFF_TEST_URL")
    return given.rstrip("/") if given else request.getfixturevalue("server").url


@pytest.fixture(scope="session")
def client(base_url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=base_url, timeout=60) as client:
        yield client


def examples() -> list[tuple[str, str, dict[str, Any]]]:
    """(operation, name, example) for every file in openapi/examples."""
    files = sorted((ROOT / "openapi" / "examples").glob("*.json"))
    return [(*file.name.split(".")[:2], json.loads(file.read_text("utf-8"))) for file in files]  # type: ignore[misc]
