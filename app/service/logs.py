"""Log lines: one per request, and those of all libraries. Never a body, a query string or a key.

They are JSON, or, on a terminal, lines for people.
"""

import asyncio
import logging
import re
import sys
from collections.abc import MutableMapping
from datetime import UTC, datetime
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
    """Write log lines to standard output, for us and for uvicorn and all other libraries: JSON, except on a terminal."""
    plain: list[Any] = [structlog.stdlib.add_log_level, structlog.processors.TimeStamper(fmt="iso", utc=True)]
    for_people = sys.stdout.isatty()
    structlog.configure(
        processors=[*plain, _readable_bytes] if for_people else [_json_line],
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
                readable if for_people else structlog.processors.JSONRenderer(),
            ],
        )
    )
    if for_people:
        handler.addFilter(is_for_people)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.captureWarnings(True)
    for name in ("uvicorn", "uvicorn.error"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True


RUNNING = re.compile(r"Uvicorn running on (\S+?)/? \(")
ANY_ADDRESS = re.compile(r"//(?:0\.0\.0\.0|\[::\])(?=:)")


def is_for_people(record: logging.LogRecord) -> bool:
    """Whether a line is worth a person's attention: of uvicorn's own, those that something is wrong, and the address."""
    return record.name != "uvicorn.error" or record.levelno > logging.INFO or bool(RUNNING.match(record.getMessage()))


def readable(logger: object, method: str, event: MutableMapping[str, Any]) -> str:
    """A line for people: the time and what happened, with a request in the order of its parts."""
    text = str(event.pop("event"))
    if (running := RUNNING.match(text)) is not None:
        return banner(running[1])
    clock, level = str(event.pop("timestamp"))[11:19], str(event.pop("level"))
    if text == "request" and "status" in event:
        problem = f"  {event['problem']}" if "problem" in event else ""
        return f"{clock}  {event['status']}  {event['method']} {event['route']}  {event['ms']:.1f} ms{problem}"
    exception = event.pop("exception", None)
    facts = "".join(f"  {name}={value}" for name, value in event.items())
    return f"{clock}  {'' if level == 'info' else f'{level}: '}{text}{facts}" + (f"\n{exception}" if exception else "")


def banner(address: str) -> str:
    """What the server says when it listens at this address."""
    address = ANY_ADDRESS.sub("//localhost", address)
    return f"""
  autodiff-http

  playground     {address}/
  documentation  {address}/docs

  Ctrl-C ends it.
"""


def _json_line(logger: object, method: str, event: MutableMapping[str, Any]) -> bytes:
    """A line as JSON with its level and its time, which structlog's own processors add one after the other."""
    event["level"], event["timestamp"] = method, datetime.now(UTC)
    return orjson.dumps(event, option=orjson.OPT_UTC_Z)


def _readable_bytes(logger: object, method: str, event: MutableMapping[str, Any]) -> bytes:
    return readable(logger, method, event).encode()
