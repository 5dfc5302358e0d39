"""How a process starts and ends: ready when its kernels are, and on SIGTERM not ready any more while its requests end."""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from types import FrameType

from fastapi import FastAPI

from app.service.execution import Execution

GRACE_SECONDS = 1.0
"""How long new requests are still accepted after SIGTERM, at most, so that clients learn that their connections close."""

QUIET_SECONDS = 0.2
"""The grace period ends early after this long without a request."""

IDLE_SECONDS = 0.1
"""How often it is looked whether requests are in flight before more is loaded."""

PATIENCE_SECONDS = 5.0
"""How long a part of what is loaded waits for requests in flight, at most: some streams do not end for an hour."""

INTERRUPTED = 130
"""The exit code of a process that Ctrl-C has ended, as shells have it."""

log = logging.getLogger("autodiff")


@contextlib.asynccontextmanager
async def serving(
    app: FastAPI, warm: Callable[[Callable[[], None]], None], preload: Sequence[Callable[[], object]]
) -> AsyncIterator[None]:
    """Load the kernels in the background: the process is alive at once, and ready when `warm` has returned.

    `warm` calls its argument as soon as the kernels for gradients are there. `preload` then loads what the first requests
    would otherwise wait for, in parts. Each waits until no request is in flight, since it holds the GIL.
    """
    execution = app.state.execution = Execution(app.state.settings)
    loop = asyncio.get_running_loop()

    def gradients_are_ready() -> None:
        loop.call_soon_threadsafe(execution.gradients_ready.set)

    async def make_ready() -> None:
        try:
            await loop.run_in_executor(execution.pool, warm, gradients_are_ready)
        except Exception:
            log.exception("the kernels could not be compiled or loaded; the process ends")
            os._exit(1)
        execution.ready.set()
        log.info("ready")
        for load in preload:
            await _idle(execution)
            await loop.run_in_executor(execution.pool, load)
        gc.freeze()  # what is loaded now stays, so the garbage collector need not look at it again

    task = asyncio.create_task(make_ready())

    def only_loads() -> bool:
        return not execution.ready.is_set() or not (task.done() or execution.requests_in_flight)

    owns_process = bool(getattr(app.state, "owns_process", False))
    with drained(execution), interruptible(only_loads, owns_process):
        yield
    task.cancel()
    if owns_process and not execution.ready.is_set():
        log.info("stopped before the kernels were ready")
        sys.stdout.flush()
        os._exit(0)  # no thread that compiles can be asked to stop
    execution.close()


async def _idle(execution: Execution) -> None:
    """Wait until no request is in flight, but not for long."""
    for _ in range(round(PATIENCE_SECONDS / IDLE_SECONDS)):
        if not execution.requests_in_flight:
            return
        await asyncio.sleep(IDLE_SECONDS)


@contextlib.contextmanager
def drained(execution: Execution) -> Iterator[None]:
    """On SIGTERM, let the requests under way end before the server's own handler stops accepting connections.

    In between, `/readyz` answers 503 and every response closes its connection.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    stop_server = signal.getsignal(signal.SIGTERM)

    def start_draining(number: int, frame: FrameType | None) -> None:
        if execution.draining:
            _call(stop_server, number, frame)
            return
        execution.drain()
        loop.call_soon_threadsafe(lambda: loop.create_task(drain(number, frame)))

    async def drain(number: int, frame: FrameType | None) -> None:
        log.info("draining")
        began = quiet = time.perf_counter()
        while time.perf_counter() < min(quiet + QUIET_SECONDS, began + GRACE_SECONDS):
            await asyncio.sleep(0.02)
            if execution.requests_in_flight:
                quiet = time.perf_counter()
        _call(stop_server, number, frame)

    signal.signal(signal.SIGTERM, start_draining)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, stop_server)


@contextlib.contextmanager
def interruptible(may_end: Callable[[], bool], owns_process: bool) -> Iterator[None]:
    """Let Ctrl-C end the process at once while `may_end()`: no thread that compiles or imports can be asked to stop.

    Only where the process is the server's own, and not that of a program or a test that runs the app.
    """
    if not owns_process or threading.current_thread() is not threading.main_thread():
        yield
        return
    stop_server = signal.getsignal(signal.SIGINT)

    def stop(number: int, frame: FrameType | None) -> None:
        if may_end():
            os._exit(INTERRUPTED)
        _call(stop_server, number, frame)

    signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, stop_server)


def _call(handler: object, number: int, frame: FrameType | None) -> None:
    if callable(handler):
        handler(number, frame)
