"""Log lines as JSON, one a request and one for whatever else there is to say. Never a body, a query or a key.

Not here: metrics (`metrics`).
"""

import asyncio
import logging
import os
import sys
import tempfile
import time
from functools import lru_cache
from typing import Any, BinaryIO

import msgspec
import structlog

log: Any = structlog.get_logger("autodiff.access")


def prepare_metrics(workers: int) -> None:
    """Lets several processes count together: to be called before any of them imports `metrics`."""
    if workers > 1 and "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(prefix="autodiff-metrics-")


def _json(event: dict[str, Any], **options: Any) -> bytes:
    return msgspec.json.encode(event, enc_hook=repr)


def _json_text(event: dict[str, Any], **options: Any) -> str:
    return _json(event).decode()


@lru_cache(1)
def _second(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


def _stamped(logger: Any, method: str, event: dict[str, Any]) -> dict[str, Any]:
    """Adds the time in UTC as ISO 8601 has it; the text of a second is made once."""
    now = time.time()
    event["timestamp"] = f"{_second(int(now))}.{int(now % 1.0 * 1e6):06d}Z"
    return event


class _Lines:
    """Writes the lines of one turn of the event loop at once: to write each takes as long as to make it."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.waiting: list[bytes] = []

    def msg(self, line: bytes) -> None:
        """Takes a line, for the end of this turn; writes it at once where no loop runs."""
        self.waiting.append(line)
        if len(self.waiting) == 1:
            try:
                asyncio.get_running_loop().call_soon(self.write)
            except RuntimeError:
                self.write()

    debug = info = warning = error = msg

    def write(self) -> None:
        """Writes what waits."""
        lines, self.waiting = self.waiting, []
        self.file.write(b"\n".join([*lines, b""]))
        self.file.flush()


def configure_logging(level: str) -> None:
    """One JSON object a line on standard output, for our lines and for those of uvicorn and all other libraries."""
    plain: list[Any] = [structlog.stdlib.add_log_level, _stamped]
    shared = [*plain, structlog.processors.format_exc_info]
    structlog.configure(
        processors=[*plain, structlog.processors.JSONRenderer(_json)],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        logger_factory=lambda *_: _Lines(sys.stdout.buffer),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(allow=[]), *shared],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(_json_text),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in ("uvicorn", "uvicorn.error"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
