"""The log as other libraries write it."""

import asyncio
import io
import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta

from app.service.logs import BufferedLines
from tests.conftest import ROOT

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


REQUEST = """
from app.service.logs import access_log, configure_logging
configure_logging("{level}")
access_log.info("request", route="/v1/backward", ms=0.25)
"""


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
