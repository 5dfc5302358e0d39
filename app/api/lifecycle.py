"""How a process ends: on SIGTERM it says that it is not ready any more, and lets its requests end. Not here: the pool."""

import asyncio
import contextlib
import ctypes
import logging
import os
import signal
import socket
import struct
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

from app.api.execution import Execution

GRACE_SECONDS = 1.0
"""How long, at most, new requests are still taken, so that clients with open connections learn that these are closed."""

LINGER_SECONDS = 0.2
"""How long nothing must come before that is ended earlier; and how long connections are still answered that were made
before no more are taken.
"""

SO_ATTACH_FILTER = 26
"""socket(7) has it, Python's module has not."""

log = logging.getLogger("autodiff")


@contextlib.contextmanager
def drained(execution: Execution) -> Iterator[None]:
    """Comes before the server in hearing SIGTERM, and passes it on when nothing comes any more, or after a second.

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
        began = quiet = time.perf_counter()
        while time.perf_counter() < min(quiet + LINGER_SECONDS, began + GRACE_SECONDS):
            await asyncio.sleep(0.02)
            if execution.serving or execution.jobs:
                quiet = time.perf_counter()
        for listening in getattr(getattr(server, "__self__", None), "servers", ()):
            for each in listening.sockets:
                _turn_away(each.fileno())
        await asyncio.sleep(LINGER_SECONDS)
        if callable(server):
            server(number, frame)

    signal.signal(signal.SIGTERM, hear)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, server)


def _turn_away(listening: int) -> None:
    """Lets the system take no new connections, while those that it has queued are still accepted.

    To close the socket at once would break these, which clients see as established and may have sent a request into. Linux
    has no call for it, but drops what a filter of the socket drops: here, by one instruction, everything.
    """
    drop = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))  # "return 0"
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(listening)) as same:
        same.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HL", 1, ctypes.addressof(drop)))
