"""The log as other libraries write it."""

import asyncio
import io
import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import APIRouter
from fastapi.responses import StreamingResponse
from pydantic import SecretStr

from app.main import create_app
from app.service import middleware
from app.service.logs import BufferedLines
from app.settings import Settings
from tests.conftest import ROOT
from tests.service.inprocess import send, service

PROGRAM = """
import logging, warnings
from app.service.logs import configure_logging
configure_logging("info")
warnings.warn("of a library")
logging.getLogger("uvicorn.error").info("of uvicorn")
"""


def test_every_line_is_json() -> None:
    """Also a warning, of which Python writes two lines to standard error."""
    run = subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, check=True)
    warning, other = [json.loads(line) for line in run.stdout.splitlines()]
    assert "of a library" in warning["event"] and warning["level"] == "warning"
    assert other["event"] == "of uvicorn" and run.stderr == ""
    assert warning.keys() == other.keys() == {"event", "level", "timestamp"}


REQUEST = """
from app.service.logs import access_log, configure_logging
configure_logging("{level}")
access_log.info("request", route="/v1/backward", ms=0.25)
"""


LINES = """
import logging, logging.config
from uvicorn.config import LOGGING_CONFIG
from app.service.logs import access_log, configure_logging
logging.config.dictConfig(LOGGING_CONFIG)  # as uvicorn does by itself
configure_logging("{level}")
logging.getLogger("uvicorn.error").setLevel("{level}".upper())  # as it does with its option log_level
facts = dict(method="POST", route="/v1/backward", ms=1.3)
access_log.info("request", status=200, **facts)
access_log.info("request", status=422, problem="syntax-error", **facts)
library, server = logging.getLogger("library"), logging.getLogger("uvicorn.error")
library.debug("detail")
library.info("of %s", "a library")
library.warning("of %s", "a library")
server.info("Started server process [7]")
server.info("Uvicorn running on http://0.0.0.0:8000 (Press CTRL+C to quit)")
server.error("of uvicorn")
try:
    1 / 0
except ZeroDivisionError:
    library.exception("failed")
"""
FOR_PEOPLE = r"""
TIME  200  POST /v1/backward  1\.3 ms
TIME  422  POST /v1/backward  1\.3 ms  syntax-error
TIME  of a library
TIME  warning: of a library

  autodiff-http

  playground     http://localhost:8000/
  documentation  http://localhost:8000/docs

  Ctrl-C ends it\.

TIME  error: of uvicorn
TIME  error: failed
Traceback \(most recent call last\):
  [^\n]*
ZeroDivisionError: division by zero
"""
"""What a person sees, where TIME is a time of day."""


def test_lines_on_a_terminal_are_for_people() -> None:
    """They leave out how the server starts."""
    pty = pytest.importorskip("pty", reason="there are no terminals on this system")
    screen, terminal = pty.openpty()
    run = subprocess.run([sys.executable, "-c", LINES.format(level="info")], cwd=ROOT, stdout=terminal, stderr=subprocess.PIPE)
    written = os.read(screen, 65536).decode().replace("\r\n", "\n")
    os.close(terminal)
    os.close(screen)
    assert run.stderr == b""
    assert re.fullmatch(FOR_PEOPLE.replace("TIME", r"\d\d:\d\d:\d\d").lstrip(), written), written


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        ("debug", ["info", "info", "debug", "info", "warning", "info", "info", "error", "error"]),
        ("info", ["info", "info", "info", "warning", "info", "info", "error", "error"]),
        ("warning", ["warning", "error", "error"]),
        ("error", ["error", "error"]),
    ],
)
def test_lines_elsewhere_are_json_from_a_level_on(level: str, expected: list[str]) -> None:
    """Also if the program was started at a terminal. The times are in UTC, and those of libraries have the same form."""
    pty = pytest.importorskip("pty", reason="there are no terminals on this system")
    screen, terminal = pty.openpty()
    program = [sys.executable, "-c", LINES.format(level=level)]
    run = subprocess.run(program, cwd=ROOT, stdin=terminal, stdout=subprocess.PIPE, stderr=terminal, text=True)
    os.set_blocking(screen, False)
    with pytest.raises(BlockingIOError):
        os.read(screen, 65536)  # nothing was written there
    os.close(terminal)
    os.close(screen)
    lines = [json.loads(line) for line in run.stdout.splitlines()]
    assert [line["level"] for line in lines] == expected
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", line["timestamp"]) for line in lines)
    assert lines[-1]["event"] == "failed" and "ZeroDivisionError: division by zero" in lines[-1]["exception"]


def test_line_of_a_request_has_its_level_and_time() -> None:
    program = REQUEST.format(level="info")
    run = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    line = json.loads(run.stdout)
    assert abs(datetime.fromisoformat(line.pop("timestamp")) - datetime.now(UTC)) < timedelta(minutes=1)
    assert line == {"event": "request", "route": "/v1/backward", "ms": 0.25, "level": "info"}


def test_line_of_a_request_below_the_level_is_not_written() -> None:
    program = REQUEST.format(level="warning")
    run = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout == ""


PREFLIGHT = {"Origin": "https://b.example", "Access-Control-Request-Method": "GET"}
REFUSED: dict[str, tuple[str, str, dict[str, Any]]] = {
    "invalid-json": ("POST", "/v1/forward", {"content": b"{"}),
    "invalid-request": ("POST", "/v1/forward", {"json": {}}),
    "invalid-request of a query": ("GET", "/v1/datasets/moons?samples=x", {}),
    "syntax-error": ("POST", "/v1/forward", {"json": {"expression": "x^2"}}),
    "unbound-input": ("POST", "/v1/forward", {"json": {"expression": "x"}}),
    "non-finite": ("POST", "/v1/forward", {"json": {"expression": "log(x)", "inputs": {"x": -1}}}),
    "not-converged": ("POST", "/v1/minimize", {"json": {"expression": "x", "initial": {"x": 1}}}),
    "not-found": ("GET", "/v1/nothing", {}),
    "method-not-allowed": ("GET", "/v1/forward", {}),
    "not-acceptable": ("GET", "/v1/info", {"headers": {"Accept": "text/html"}}),
    "unsupported-media-type": ("POST", "/v1/forward", {"content": b"", "headers": {"Content-Type": "text/plain"}}),
    "too-large": ("POST", "/v1/forward", {"json": {"expression": "1 + 1"}}),
    "unauthorized": ("GET", "/v1/info", {}),
    "overloaded": ("GET", "/readyz", {"ready": False}),
    "invalid-request of a preflight": ("OPTIONS", "/v1/info", {"headers": PREFLIGHT}),
}
SETTINGS: dict[str, dict[str, Any]] = {
    "too-large": {"max_body_bytes": 9},
    "unauthorized": {"api_keys": SecretStr("k")},
    "invalid-request of a preflight": {"cors_origins": "https://a.example"},
}
"""Other settings than the default ones."""


@pytest.mark.parametrize("name", REFUSED)
def test_line_of_a_refused_request_names_its_problem(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    lines: list[dict[str, Any]] = []
    monkeypatch.setattr(middleware, "access_log", SimpleNamespace(info=lambda event, **facts: lines.append(facts)))
    method, path, options = REFUSED[name]
    response = send(create_app(Settings(**SETTINGS.get(name, {}))), method, path, **options)
    assert response.json()["type"] == f"/problems/{name.partition(' ')[0]}"
    assert [(line["status"], line["problem"]) for line in lines] == [(response.status_code, name.partition(" ")[0])]


def test_bytes_of_a_response_are_those_of_all_its_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[dict[str, Any]] = []
    monkeypatch.setattr(middleware, "access_log", SimpleNamespace(info=lambda event, **facts: lines.append(facts)))
    router = APIRouter()

    @router.get("/parts")
    async def parts() -> StreamingResponse:
        return StreamingResponse(iter([b"x" * 1000, b"", b"y" * 234]))

    assert len(send(service(router), "GET", "/parts").content) == 1234
    assert [(line["bytes_out"], line["status"], line["route"]) for line in lines] == [(1234, 200, "/parts")]


class File(io.BytesIO):
    """A file that counts how often it is flushed."""

    flushes = 0

    def flush(self) -> None:
        self.flushes += 1


def test_lines_of_one_turn_of_the_event_loop_are_written_together() -> None:
    file = File()
    lines = BufferedLines(file)

    async def log() -> None:
        lines.msg(b"first")
        assert file.getvalue() == b""
        await asyncio.sleep(0)
        assert (file.getvalue(), file.flushes) == (b"first\n", 1)
        lines.info(b"second")
        lines.error(b"third")
        await asyncio.sleep(0)
        assert (file.getvalue(), file.flushes) == (b"first\nsecond\nthird\n", 2)

    asyncio.run(log())


def test_line_is_written_at_once_where_no_event_loop_runs() -> None:
    file = File()
    BufferedLines(file).msg(b"line")
    assert (file.getvalue(), file.flushes) == (b"line\n", 1)
