"""`python -m app` at a terminal: a banner, lines for people, and an end at Ctrl-C. Elsewhere every line is JSON."""

import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.service.logs import banner, readable
from tests.conftest import ROOT, Server
from tests.contract.wire import LOCAL

pty = pytest.importorskip("pty", reason="there are no terminals on this system")
pytestmark = pytest.mark.skipif(not LOCAL, reason="starts servers of its own")


class Terminal:
    """A server that runs at a terminal of its own. `shown` is what it has written there so far."""

    def __init__(self, folder: Path | None = None) -> None:
        self.screen, terminal = pty.openpty()
        environment = os.environ | ({} if folder is None else {"AUTODIFF_CACHE_DIR": str(folder)})
        command = [sys.executable, "-m", "app", "--port", "0"]
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True
        )
        os.close(terminal)
        self.shown = ""

    def read(self, until: Callable[[str], object], seconds: float = 120.0) -> str:
        """Read until what is shown is as wished, or the process has ended."""
        end = time.monotonic() + seconds
        while not until(self.shown) and time.monotonic() < end:
            if not select.select([self.screen], [], [], 0.1)[0]:
                continue
            try:
                self.shown += os.read(self.screen, 65536).decode()
            except OSError:  # the process has closed its side
                break
        return self.shown

    def interrupt(self) -> int:
        """Press Ctrl-C, and return the exit code."""
        self.process.send_signal(signal.SIGINT)
        self.read(lambda shown: False, 30)
        return self.process.wait(30)


@pytest.fixture
def terminal() -> Iterator[Callable[..., Terminal]]:
    """Start servers at terminals. They end with the test."""
    started: list[Terminal] = []

    def start(folder: Path | None = None) -> Terminal:
        started.append(Terminal(folder))
        return started[-1]

    yield start
    for found in started:
        found.process.kill()
        found.process.wait(30)
        os.close(found.screen)


@pytest.mark.slow
def test_a_terminal_gets_a_banner_and_lines_for_people(terminal: Callable[..., Terminal]) -> None:
    server = terminal()
    shown = server.read(lambda shown: "ready" in shown and "/docs" in shown)
    address = re.search(r"documentation +(http://127\.0\.0\.1:\d+)/docs\r", shown)
    assert address and f"playground     {address[1]}/\r" in shown
    assert httpx.post(f"{address[1]}/v1/backward", json={"expression": "x", "inputs": {"x": 1}}).status_code == 200
    assert httpx.get(f"{address[1]}/nothing").status_code == 404
    shown = server.read(lambda shown: "404" in shown)
    assert re.search(r"\d\d:\d\d:\d\d  200  POST /v1/backward  \d+\.\d ms\r\n", shown)
    assert "404  GET unmatched" in shown and "not-found" in shown
    assert "{" not in shown and "Traceback" not in shown and "Started server process" not in shown
    assert server.interrupt() in (0, 130, -signal.SIGINT) and "Traceback" not in server.shown


@pytest.mark.slow
def test_ctrl_c_ends_the_compilation_at_once(terminal: Callable[..., Terminal], tmp_path: Path) -> None:
    server = terminal(tmp_path)
    shown = server.read(lambda shown: "compiling" in shown and "/docs" in shown)
    assert "compiling kernels, about 30 s, once" in shown
    assert server.interrupt() == 130
    assert "Traceback" not in server.shown and "compiled kernels" not in server.shown


def test_a_line_of_a_request_and_others() -> None:
    event: dict[str, Any] = {"timestamp": "2030-01-02T03:04:05.678Z", "level": "info", "event": "request", "request_id": "q"}
    facts = {"status": 422, "method": "POST", "route": "/v1/fit", "ms": 1.25, "problem": "syntax-error"}
    assert readable(None, "info", event | facts) == "03:04:05  422  POST /v1/fit  1.2 ms  syntax-error"
    event = {"timestamp": "2030-01-02T03:04:05.678Z", "level": "warning", "event": "little memory", "free": 3}
    assert readable(None, "warning", event) == "03:04:05  warning: little memory  free=3"
    event = {"timestamp": "2030-01-02T03:04:05.678Z", "level": "error", "event": "failed", "exception": "Traceback ..."}
    assert readable(None, "error", event) == "03:04:05  error: failed\nTraceback ..."


@pytest.mark.parametrize("host", ["0.0.0.0", "[::]"])
def test_the_banner_has_an_address_that_a_browser_can_open(host: str) -> None:
    assert "http://localhost:8000/docs" in banner(f"http://{host}:8000")


def test_elsewhere_every_line_is_json(tmp_path: Path) -> None:
    server = Server(tmp_path / "log", fork=True)
    server.stop()
    lines = server.log.read_text().splitlines()
    assert lines and all(isinstance(json.loads(line), dict) for line in lines)
