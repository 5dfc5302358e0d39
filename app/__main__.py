"""`python -m app`: serves HTTP."""

import argparse
import os
import signal
import sys

import uvicorn
from pydantic import ValidationError

from app.service import logs, processes
from app.settings import Settings

WORKER_SILENCE_S = 30
"""A worker that does not answer its supervisor for so long is replaced: longer than any piece of work holds the GIL."""


def main(arguments: list[str] | None = None) -> None:
    """Reads the flags, which come before the environment, and serves until it is told to stop."""
    try:
        settings = Settings()
    except ValidationError as error:
        for wrong in error.errors():
            print(f"AUTODIFF_{str(wrong['loc'][0]).upper()}: {wrong['msg']}", file=sys.stderr)
        sys.exit(2)
    parser = argparse.ArgumentParser("python -m app", description="Automatic differentiation as a web service.")
    parser.add_argument("--host", default=settings.host, help=f"address to listen on (default: {settings.host})")
    parser.add_argument("--port", type=int, default=settings.port, help=f"port to listen on (default: {settings.port})")
    parser.add_argument("--workers", type=int, default=settings.workers, help="number of processes (default: 1)")
    flags = parser.parse_args(arguments)
    if not 0 <= flags.port <= 65535:
        parser.error(f"--port is from 0 to 65535, not {flags.port}")
    if not 1 <= flags.workers <= 256:
        parser.error(f"--workers is from 1 to 256, not {flags.workers}")
    # The server sends itself again the signal that ended it; an orderly end is a success.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    os.environ["AUTODIFF_HOST"] = flags.host  # by which /mcp knows the names that it may be called by
    os.environ["AUTODIFF_WORKERS"] = str(flags.workers)  # for the workers, which divide the machine's memory among them
    processes.prepare_metrics(flags.workers)
    logs.configure_logging(settings.log_level)
    uvicorn.run(
        "app.main:served",
        factory=True,
        host=flags.host,
        port=flags.port,
        workers=flags.workers,
        log_level=settings.log_level,
        log_config=None,
        forwarded_allow_ips=settings.trusted_proxies,
        access_log=False,
        server_header=False,
        http="app.service.connections:Connection",
        ws="none",
        timeout_worker_healthcheck=WORKER_SILENCE_S,
        timeout_graceful_shutdown=max(1, round(settings.shutdown_s)),
    )


if __name__ == "__main__":
    main()
