"""A server process for the tests that speak HTTP, the examples they send, and the Hypothesis profile of all tests.

Set `AUTODIFF_TEST_URL` to test a server that is already running.
"""

import base64
import contextlib
import gc
import json
import os
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import httpx
import hypothesis
import pytest

from tests.forks import Fork

ROOT = Path(__file__).parents[1]

# Every run tries the same examples, so that a change is never blamed for an example that somebody else's run did not try.
# `--hypothesis-profile thorough` tries more of them.
hypothesis.settings.register_profile("autodiff", deadline=None, derandomize=True, database=None, max_examples=25)
hypothesis.settings.register_profile("thorough", hypothesis.settings.get_profile("autodiff"), max_examples=200)
hypothesis.settings.load_profile("autodiff")


def times(factor: float) -> hypothesis.settings:
    """Settings of a test with more examples, or fewer, than others have."""
    return hypothesis.settings(max_examples=round(factor * hypothesis.settings().max_examples))


def pytest_configure() -> None:
    """Let HTTP clients look up certificates when they need one, instead of loading a hundred whenever one is made: 30 ms.

    The tests' own servers need none.
    """
    gc.disable()  # until all is loaded
    if "AUTODIFF_TEST_URL" not in os.environ:
        os.environ.pop("SSL_CERT_FILE", None)
        os.environ["SSL_CERT_DIR"] = ssl.get_default_verify_paths().openssl_capath


def pytest_collection_finish() -> None:
    """Exclude everything loaded so far, a million objects, from garbage collection."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000)  # new objects, in place of 700
    gc.enable()


class Server:
    """A `python -m app` process on a free port, of the project in `folder`. Its output goes to the file `log`.

    With `fork` it is a fork of a process that has loaded everything. The rest of the start is the same.
    """

    def __init__(
        self, log: Path, *flags: str, environment: dict[str, str] | None = None, folder: Path = ROOT, fork: bool = False
    ) -> None:
        self.log = log
        self.began = time.perf_counter()
        flags = ("--port", "0", *flags)
        variables = {**os.environ, **(environment or {})}
        log.touch()
        self.process: subprocess.Popen[bytes] | Fork
        if fork:
            self.process = Fork(log, folder, flags, variables)
        else:
            with log.open("wb") as output:
                command = [sys.executable, "-m", "app", *flags]
                self.process = subprocess.Popen(command, cwd=folder, env=variables, stdout=output, stderr=subprocess.STDOUT)
        self.url = self._address()

    def _address(self) -> str:
        """Return the URL that the server logs once it listens."""
        while self.process.poll() is None and time.perf_counter() - self.began < 180:
            for line in self.log.read_text().splitlines():
                if "running on http" in line:
                    return "http://" + line.split("http://")[1].split()[0]
            time.sleep(0.01)
        self.kill()
        raise RuntimeError(f"the server did not start:\n{self.log.read_text()}")

    def wait_until_ready(self, seconds: float = 180) -> float:
        """Wait until /readyz returns 200. Return the seconds since the process was started."""
        while time.perf_counter() - self.began < seconds:
            with contextlib.suppress(httpx.TransportError):  # a worker that does not listen yet
                # Without verify=False, certificates would be loaded for every look.
                if httpx.get(f"{self.url}/readyz", verify=False).status_code == 200:
                    return time.perf_counter() - self.began
            time.sleep(0.01)
        raise RuntimeError(f"the server did not become ready:\n{self.log.read_text()}")

    def stop(self) -> int:
        """Send SIGTERM, as an orchestrator does, and return the exit code."""
        self.process.terminate()
        return self.process.wait(30)

    def kill(self) -> None:
        """Kill the process if it still runs."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(30)


# What the report of a test that has passed needs. Keywords are left out, because nothing here reads them.
REPORT_FIELDS = ("nodeid", "location", "outcome", "when", "duration", "start", "stop")


@pytest.hookimpl(tryfirst=True)
def pytest_report_to_serializable(report: pytest.CollectReport | pytest.TestReport) -> dict[str, Any] | None:
    """Send reports of tests that have passed in a short form: there are 27,000 of them, three of each test."""
    if not isinstance(report, pytest.TestReport) or not report.passed or report.sections:
        return None
    parts = {name: getattr(report, name) for name in REPORT_FIELDS}
    return {"$report_type": "TestReport", "keywords": {}, "longrepr": None, "sections": [], "user_properties": [], **parts}


@contextlib.contextmanager
def _environment_put_back() -> Iterator[None]:
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(autouse=True, scope="module")
def environment_of_the_file() -> Iterator[None]:
    """Put the environment back after each file. After each test of all, it would take seconds."""
    with _environment_put_back():
        yield


@pytest.fixture
def environment_as_it_was() -> Iterator[None]:
    """Put the environment back after a test: `python -m app` changes it for the processes that it starts."""
    with _environment_put_back():
        yield


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("server") / "log", fork=True)
    server.wait_until_ready()
    yield server
    server.stop()
    for line in server.log.read_text().splitlines():
        assert line.startswith("{") and "Warning: " not in line, f"a line of the log is not JSON, or a warning: {line}"


@pytest.fixture(scope="session")
def base_url(request: pytest.FixtureRequest) -> str:
    given = os.environ.get("AUTODIFF_TEST_URL")
    return given.rstrip("/") if given else request.getfixturevalue("server").url


class Example(NamedTuple):
    """A file of openapi/examples: the id of its operation, its name, and its JSON."""

    operation: str
    name: str
    content: dict[str, Any]

    @property
    def media_type(self) -> str:
        """What the body of a POST is: JSON, or a file, which the example has in base64."""
        return "application/octet-stream" if "file" in self.content else "application/json"

    @property
    def path(self) -> dict[str, str]:
        """The parameters in the path, each ready for a URL."""
        given = self.content.get("path", self.content.get("request", {}))
        return {name: quote(value, safe="") for name, value in given.items() if isinstance(value, str)}

    @property
    def body(self) -> bytes:
        """The body of a POST."""
        if "file" in self.content:
            return base64.b64decode(self.content["file"])
        return json.dumps(self.content.get("request", {})).encode()


def recorded_document() -> dict[str, Any]:
    """The OpenAPI document in openapi/, which a test compares with that of the service. Making one takes a second."""
    document: dict[str, Any] = json.loads((ROOT / "openapi" / "openapi.json").read_text("utf-8"))
    return document


def examples() -> list[Example]:
    """Return every example in openapi/examples, in the order of the file names `<operation>.<name>.json`."""
    files = sorted((ROOT / "openapi" / "examples").glob("*.json"))
    found = []
    for file in files:
        operation, name, _ = file.name.split(".")
        found.append(Example(operation, name, json.loads(file.read_text("utf-8"))))
    return found
