"""Where work runs: small requests on the event loop, the others in a pool of threads of their own.

A hop to a thread costs as much as a small request does; a large one on the loop would keep all others waiting. Kernels and
NumPy let go of the GIL, so a large computation leaves the loop free. Not here: what is computed.
"""

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

INLINE_BYTES = 8192
"""Bodies up to this size are worked on where they arrive, if their work grows in proportion to them."""


class Execution:
    """The pool of one process, and whether its kernels are ready."""

    def __init__(self) -> None:
        self.pool = ThreadPoolExecutor(max(2, os.cpu_count() or 1), thread_name_prefix="compute")
        self.ready = asyncio.Event()

    async def run(self, work: Callable[[], T], size: int, proportional: bool) -> T:
        """The result of `work` on a body of `size` bytes. Work that is not `proportional` to it goes to the pool."""
        if not self.ready.is_set():
            await self.ready.wait()
        if proportional and size <= INLINE_BYTES:
            return work()
        return await asyncio.get_running_loop().run_in_executor(self.pool, work)

    def close(self) -> None:
        """Waits for what runs and takes nothing new."""
        self.pool.shutdown()
