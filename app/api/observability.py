"""Log lines as JSON, one a request and one for whatever else there is to say. Never a body, a query or a key.

Not here: metrics (`metrics`).
"""

import logging
import os
import sys
import tempfile
from typing import Any

import msgspec
import structlog

log = structlog.stdlib.get_logger("autodiff.access")


def prepare_metrics(workers: int) -> None:
    """Lets several processes count together: to be called before any of them imports `metrics`."""
    if workers > 1 and "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(prefix="autodiff-metrics-")


def _json(event: dict[str, Any], **options: Any) -> str:
    return msgspec.json.encode(event, enc_hook=repr).decode()


def configure_logging(level: str) -> None:
    """One JSON object a line on standard output, for our lines and for those of uvicorn and all other libraries."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.JSONRenderer(_json)],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        logger_factory=structlog.WriteLoggerFactory(sys.stdout),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(allow=[]), *shared],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(_json),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in ("uvicorn", "uvicorn.error"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
