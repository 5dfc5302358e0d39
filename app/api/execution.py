"""Where work runs: small requests on the event loop, the others in a pool of threads of their own.

A hop to a thread costs as much as a small request does; a large one on the loop would keep all others waiting. Kernels and
NumPy let go of the GIL, so a large computation leaves the loop free. Not here: what is computed.
"""

import asyncio
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, field
from typing import TypeVar

T = TypeVar("T")

INLINE_BYTES = 8192
"""Bodies up to this size are worked on where they arrive, if their work grows in proportion to them."""


@dataclass(frozen=True, slots=True)
class Job:
    """What a computation can look at while it runs: its deadline, a time of `time.perf_counter`, and whether it is still
    wanted.
    """

    deadline: float
    cancelled: threading.Event = field(default_factory=threading.Event)


JOB: ContextVar[Job] = ContextVar("JOB")
"""The job that the code which reads it runs for."""


class Execution:
    """The pool of one process, and whether its kernels are ready. A computation has `seconds` of time."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.pool = ThreadPoolExecutor(max(2, os.cpu_count() or 1), thread_name_prefix="compute")
        self.ready = asyncio.Event()

    async def run(self, work: Callable[[], T], size: int, proportional: bool) -> T:
        """The result of `work` on a body of `size` bytes. Work that is not `proportional` to it goes to the pool."""
        if not self.ready.is_set():
            await self.ready.wait()
        if proportional and size <= INLINE_BYTES:
            return work()
        return await self.start(work, self.job())

    def job(self) -> Job:
        """A job that begins now."""
        return Job(time.perf_counter() + self.seconds)

    def start(self, work: Callable[[], T], job: Job) -> asyncio.Future[T]:
        """Begins `work` in the pool, as this job."""
        context = copy_context()
        context.run(JOB.set, job)
        return asyncio.get_running_loop().run_in_executor(self.pool, context.run, work)

    def close(self) -> None:
        """Waits for what runs and takes nothing new."""
        self.pool.shutdown()
