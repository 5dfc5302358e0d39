"""Log lines as JSON: one per request, and those of all libraries. Never a body, a query string or a key."""

import asyncio
import logging
import sys
from typing import Any, BinaryIO

import orjson
import structlog

access_log: Any = structlog.get_logger("autodiff.access")


class BufferedLines:
    """A structlog logger that writes the lines of one turn of the event loop together.

    structlog's own writes and flushes each line, which takes a tenth of a small request.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.lines: list[bytes] = []

    def msg(self, line: bytes) -> None:
        """Write a line at the end of this turn of the event loop, or at once where no loop runs."""
        self.lines.append(line)
        if len(self.lines) == 1:
            try:
                asyncio.get_running_loop().call_soon(self.flush)
            except RuntimeError:
                self.flush()

    debug = info = warning = error = msg

    def flush(self) -> None:
        """Write what has been collected."""
        lines, self.lines = self.lines, []
        self.file.write(b"\n".join([*lines, b""]))
        self.file.flush()


def configure_logging(level: str) -> None:
    """Write one JSON object per line to standard output, for our lines and those of uvicorn and all other libraries."""
    plain: list[Any] = [structlog.stdlib.add_log_level, structlog.processors.TimeStamper(fmt="iso", utc=True)]
    structlog.configure(
        processors=[*plain, structlog.processors.JSONRenderer(orjson.dumps)],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        logger_factory=lambda *_: BufferedLines(sys.stdout.buffer),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(allow=[]), *plain, structlog.processors.format_exc_info],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.captureWarnings(True)
    for name in ("uvicorn", "uvicorn.error"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
