"""`python -m app`: serves HTTP."""

import argparse
import copy
from typing import Any

import uvicorn
from uvicorn.config import LOGGING_CONFIG

from app.settings import Settings


def _logging(level: str) -> dict[str, Any]:
    """Uvicorn's own logging, with our lines in it."""
    config: dict[str, Any] = copy.deepcopy(LOGGING_CONFIG)
    config["loggers"]["autodiff"] = {"handlers": ["default"], "level": level.upper(), "propagate": False}
    return config


def main(arguments: list[str] | None = None) -> None:
    """Reads the flags, which come before the environment, and serves until it is told to stop."""
    settings = Settings()
    parser = argparse.ArgumentParser("python -m app", description="Automatic differentiation as a web service.")
    parser.add_argument("--host", default=settings.host, help=f"address to listen on (default: {settings.host})")
    parser.add_argument("--port", type=int, default=settings.port, help=f"port to listen on (default: {settings.port})")
    parser.add_argument("--workers", type=int, default=settings.workers, help="number of processes (default: 1)")
    flags = parser.parse_args(arguments)
    uvicorn.run(
        "app.main:create_app",
        factory=True,
        host=flags.host,
        port=flags.port,
        workers=flags.workers,
        log_level=settings.log_level,
        log_config=_logging(settings.log_level),
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=25,
    )


if __name__ == "__main__":
    main()
