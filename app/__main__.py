"""`python -m app`: serves HTTP."""

import argparse
import errno
import os
import signal
import socket
import sys

import uvicorn
from pydantic import ValidationError

from app import __version__
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
            if wrong["type"] == "default_factory_not_called":  # follows from another one that is wrong
                continue
            print(f"AUTODIFF_{str(wrong['loc'][0]).upper()}: {wrong['msg']}", file=sys.stderr)
        sys.exit(2)
    parser = argparse.ArgumentParser(
        "python -m app",
        description="Automatic differentiation as a web service. GET /docs describes it.",
        epilog="Settings are environment variables, such as AUTODIFF_PORT=9000; the README lists them. Flags come first.",
    )
    parser.add_argument("--version", action="version", version=f"autodiff-http {__version__}")
    parser.add_argument("--host", default=settings.host, help=f"address to listen on (default: {settings.host})")
    parser.add_argument("--port", type=int, default=settings.port, help=f"port to listen on (default: {settings.port})")
    parser.add_argument("--workers", type=int, default=settings.workers, help="number of processes (default: 1)")
    flags = parser.parse_args(arguments)
    if not 0 <= flags.port <= 65535:
        parser.error(f"--port is from 0 to 65535, not {flags.port}")
    if not 1 <= flags.workers <= 256:
        parser.error(f"--workers is from 1 to 256, not {flags.workers}")
    check_address(flags.host, flags.port)
    # The server sends itself again the signal that ended it; an orderly end is a success.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    os.environ["AUTODIFF_HOST"] = flags.host  # by which /mcp knows the names that it may be called by
    os.environ["AUTODIFF_WORKERS"] = str(flags.workers)  # for the workers, which divide the machine's memory among them
    processes.prepare_metrics(flags.workers)
    logs.configure_logging(settings.log_level)
    try:
        _serve(flags, settings)
    except KeyboardInterrupt:  # before the server has its own way to end
        sys.exit(130)


def _serve(flags: argparse.Namespace, settings: Settings) -> None:
    """Run the server until it is told to stop."""
    uvicorn.run(
        "app.main:served",
        factory=True,
        host=flags.host,
        port=flags.port,
        workers=flags.workers,
        log_level=settings.log_level,
        log_config=None,
        proxy_headers=bool(settings.trusted_proxies),  # without any, looking for them in each request would be in vain
        forwarded_allow_ips=settings.trusted_proxies,
        access_log=False,
        server_header=False,
        http="app.service.connections:Connection",
        ws="none",
        timeout_worker_healthcheck=WORKER_SILENCE_S,
        timeout_graceful_shutdown=max(1, round(settings.shutdown_s)),
    )


def check_address(host: str, port: int) -> None:
    """End the process with a message where nobody can listen at this address."""
    wrong = _listening_error(host, port)
    if wrong is None:
        return
    message = f"cannot listen on {host} port {port}: {(wrong.strerror or str(wrong)).lower()}"
    if wrong.errno == errno.EADDRINUSE:
        free = next((other for other in range(port + 1, port + 20) if other < 65536 and not _listening_error(host, other)), 0)
        message += f"; take another one: --port {free}"
    elif wrong.errno == errno.EACCES:
        message += "; ports below 1024 are reserved: --port 8000"
    print(message, file=sys.stderr)
    sys.exit(1)


def _listening_error(host: str, port: int) -> OSError | None:
    """Why nobody can listen at an address, or None."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        with socket.socket(family, kind, protocol) as attempt:
            if os.name != "nt":  # where it would take the address from whoever listens
                attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            attempt.bind(address)
    except OSError as error:
        return error
    return None


if __name__ == "__main__":
    main()
