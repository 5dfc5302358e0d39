"""How a process ends: on SIGTERM it says that it is not ready any more, and lets its requests end. Not here: the pool."""

import asyncio
import contextlib
import logging
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

from app.api.execution import Execution

GRACE_SECONDS = 1.0
"""How long, at most, new requests are still taken, so that clients with open connections learn that these are closed."""

log = logging.getLogger("autodiff")


@contextlib.contextmanager
def drained(execution: Execution) -> Iterator[None]:
    """Comes before the server in hearing SIGTERM, and passes it on when nothing runs any more, or after a second.

    In between `/readyz` is 503, and every answer closes its connection, so that no request is sent into one that is about
    to be closed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    server: Any = signal.getsignal(signal.SIGTERM)

    def hear(number: int, frame: FrameType | None) -> None:
        if execution.draining:
            server(number, frame)
            return
        execution.drain()
        loop.call_soon_threadsafe(lambda: loop.create_task(stop(number, frame)))

    async def stop(number: int, frame: FrameType | None) -> None:
        log.info("draining")
        until = time.perf_counter() + GRACE_SECONDS
        while time.perf_counter() < until and (execution.serving or execution.jobs):
            await asyncio.sleep(0.05)
        if callable(server):
            server(number, frame)

    signal.signal(signal.SIGTERM, hear)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, server)
