"""Where work runs: small requests on the event loop, the others in a bounded pool of threads.

A hop to a thread costs as much as a small request, and a large request on the loop would stall all others. Kernels and NumPy
release the GIL, so a large computation leaves the loop free. A computation ends at its deadline, or when its client goes away,
at its next checkpoint; its place in the pool and its memory are free again when its thread has really ended.
"""

import asyncio
import contextlib
import math
import time
from collections import Counter
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from fastapi import Request
from starlette.requests import ClientDisconnect

from app.machine import trim_memory
from app.service.keys import client_of
from app.service.memory import Budget, Share, State
from app.service.metrics import QUEUED, RUNNING
from app.service.places import Places, Ticket
from app.service.problems import Problem
from app.settings import Settings

T = TypeVar("T")

INLINE_BYTES = 8192
INLINE_SECONDS = 0.001
"""Bodies up to this size run on the event loop if their estimated run time is not longer than this."""

TRIMMED_BYTES = 1 << 25
TRIM_SECONDS = 1.0
"""So long after a job that has held more, what the process has kept is given back to the system. Done at once after each of
many such jobs, it would make the next one slower, which then has to get the same memory again."""

KERNELS_POLL_SECONDS = 0.5
"""How often a request that waits for kernels checks whether a shutdown has begun."""

SHORT_BYTES = 1 << 18
SHORT_SECONDS = 0.05
"""Work up to this size and estimated run time may have the place that is kept for short work."""


@dataclass(slots=True, eq=False)
class Job:
    """One computation, from its request to its response.

    Attributes:
        settings: the limits it must keep to.
        deadline: when it must end, as a time of `time.perf_counter`.
        facts: what it found out about itself, for the log line.
        client: who sent it: the digest of a key, or an address.
        cancelled: nobody waits for it any more.
        stopping: its deadline was brought forward because the service is shutting down.
        counted: it counts among what its client has in flight.
        admitted: it has a place in the pool, or waits for one.
        ticket: its claim to that place.
        share: the memory it holds; None for small work on the event loop.
        body_bytes: the part of that which its request takes.
        threads: among how many threads it may split its work: more than one where places in the pool are free.
    """

    settings: Settings
    deadline: float
    facts: dict[str, Any]
    client: Hashable = None
    cancelled: bool = False
    stopping: bool = False
    counted: bool = False
    admitted: bool = False
    ticket: Ticket | None = None
    share: Share | None = None
    body_bytes: int = 0
    threads: int = 1
    thread: "asyncio.Future[Any] | None" = None
    watcher: "asyncio.Task[None] | None" = None

    def check(self) -> None:
        """Raise ClientDisconnect or, past the deadline, Problem if the work must end. Long work calls it between its parts."""
        self.check_client()
        if time.perf_counter() > self.deadline:
            raise self.deadline_exceeded()

    def check_client(self) -> None:
        """Raise ClientDisconnect if nobody waits for the work any more."""
        if self.cancelled:
            raise ClientDisconnect

    def reserve(self, size: float) -> None:
        """Hold memory for an estimated peak of `size` bytes, besides what the request takes, before it is allocated.

        Waits until so much is free. Raises Problem where that can never be, ClientDisconnect, and Problem past the deadline.
        What was reserved before is kept if it is more.
        """
        if self.share is not None:
            self.share.set(max(self.share.held, self.body_bytes + math.ceil(size)), self.check)
            self.facts["memory"] = self.share.held

    def reserve_more(self, size: float) -> None:
        """Hold memory for `size` bytes more than was reserved before; waits and raises as `reserve` does."""
        if self.share is not None:
            self.reserve(self.share.held - self.body_bytes + size)

    def keep(self, size: int) -> None:
        """Hold memory for a response of `size` bytes alone, besides what the request takes."""
        if self.share is not None:
            self.share.keep(self.body_bytes + size)

    def deadline_exceeded(self) -> Problem:
        """The problem for a computation that ran out of time."""
        detail = f"the computation took over {self.settings.compute_timeout_s:g} s, the limit of AUTODIFF_COMPUTE_TIMEOUT_S"
        if self.stopping:
            detail = "the service is shutting down; try again"
        return Problem("deadline-exceeded", detail, headers={"Retry-After": "1"})


class Execution:
    """The pool of one process, its queue and its memory, and whether its kernels are ready."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.places = Places(settings.max_concurrency)
        self.pool = ThreadPoolExecutor(settings.max_concurrency + 1, thread_name_prefix="compute")
        self.budget = Budget(settings.memory_bytes)
        self.ready = asyncio.Event()
        self.gradients_ready = asyncio.Event()  # some kernels are, with which small requests for gradients are answered
        self.admitted: set[Job] = set()
        self.in_flight: Counter[Hashable] = Counter()  # computations by client, from the upload to the end of the response
        self.draining = False
        self.last_deadline = math.inf  # what a shutdown leaves to jobs, as a time of `time.perf_counter`
        self.requests_in_flight = 0
        self.closed = False
        self.trimming: asyncio.TimerHandle | None = None

    def receive(self, job: Job, request: Request, size: int) -> None:
        """Hold memory for a body of `size` bytes. Raises Problem: too-many-requests, overloaded, too-large."""
        self._count_for_client(job, request)
        assert job.share is not None
        job.share.receive(size)
        job.body_bytes = size

    def _count_for_client(self, job: Job, request: Request) -> None:
        if job.counted:
            return
        job.client = client_of(request.scope)
        limit = self.settings.max_concurrency_per_client
        if limit and self.in_flight[job.client] >= limit:
            raise Problem(
                "too-many-requests",
                f"{limit} computations of this client are in flight, and AUTODIFF_MAX_CONCURRENCY_PER_CLIENT is {limit}",
                headers={"Retry-After": "1"},
            )
        job.counted = True
        job.share = Share(self.budget)
        self.in_flight[job.client] += 1

    async def admit(self, job: Job, request: Request, *, is_short: bool = False) -> None:
        """Wait for a place in the pool.

        From now on the client's connection is watched, so the body must have been read. Raises Problem where the client has too
        much in flight, the queue is full or the deadline passes first, ClientDisconnect where the client goes away first.
        """
        self._count_for_client(job, request)
        job.admitted = True
        self.admitted.add(job)
        self._bring_forward(job)
        await self._wait_for_place(job, is_short, request)

    async def become_long(self, job: Job, request: Request) -> None:
        """Exchange a place for short work for one of the others; raises as `admit` does."""
        assert job.ticket is not None
        self.places.remove(job.ticket)
        await self._wait_for_place(job, False, request)

    async def _wait_for_place(self, job: Job, is_short: bool, request: Request) -> None:
        ticket = job.ticket = Ticket(job.client, is_short)
        assert job.share is not None
        job.share.state = State.QUEUED
        try:
            self.places.add(ticket)
            self._make_room(ticket)
            self._count()
            if job.watcher is None:
                job.watcher = asyncio.create_task(_cancel_on_disconnect(job, request))
            left, done = math.inf, set[Any]()
            while left > 0.0 and not done:  # at least once, so that a client that has left is noticed
                left = max(job.deadline - time.perf_counter(), 0.0)
                # In parts, since a shutdown may bring the deadline forward.
                waits = (ticket.granted, job.watcher)
                done, _ = await asyncio.wait(waits, timeout=min(left, 1.0), return_when=asyncio.FIRST_COMPLETED)
            job.check()
            if not ticket.granted.done():
                raise job.deadline_exceeded()
            ticket.granted.result()  # which raises if it had to make room
        except BaseException:
            self._forget(job)
            raise
        job.share.state = State.RUNNING
        self._count()

    def _make_room(self, ticket: Ticket) -> None:
        """If the queue is full, turn away the newest of the client that has most in it: of several, the one that came now."""
        waiting, limit = self.places.waiting - 1, self.settings.max_queue
        if ticket.granted.done() or waiting < limit:
            return
        last = self.places.greediest()
        if last is None or self.places.count_waiting(last.client) <= self.places.count_waiting(ticket.client):
            last = ticket
        detail = f"{waiting} computations are waiting, and AUTODIFF_MAX_QUEUE is {limit}"
        refusal = Problem("overloaded", detail, headers={"Retry-After": "1"})
        if last is ticket:
            raise refusal
        self.places.remove(last)
        last.granted.set_exception(refusal)
        last.granted.add_done_callback(_ignore_result)

    async def run(self, job: Job, work: Callable[[], T]) -> T:
        """The result of `work`, done in a thread of the pool. Raises ClientDisconnect as soon as the client goes away."""
        assert job.watcher is not None, "only admitted jobs run in the pool"
        job.threads = max(1, 1 + self.settings.max_concurrency - len(self.places.running) - self.places.waiting)
        thread = asyncio.get_running_loop().run_in_executor(self.pool, work)
        job.thread = thread
        try:
            if not job.watcher.done():
                await asyncio.wait((thread, job.watcher), return_when=asyncio.FIRST_COMPLETED)
        except BaseException:  # the server gives up on the request
            job.cancelled = True
            thread.add_done_callback(_ignore_result)
            raise
        if not thread.done():
            thread.add_done_callback(_ignore_result)
            raise ClientDisconnect
        try:
            return thread.result()
        finally:
            del thread  # an exception refers to this frame: together they would keep the request until garbage is collected

    def release(self, job: Job) -> None:
        """Give the job's place back, now or when its thread ends. Jobs that were never admitted have none."""
        if job in self.admitted:
            self._after_thread(job, self._forget)

    def finish(self, job: Job) -> None:
        """Give the job's memory back, and what its client has in flight, when its response is sent or its thread ends later."""
        if job.counted:
            self._after_thread(job, self._finish)

    def _after_thread(self, job: Job, end: Callable[[Job], None]) -> None:
        if job.thread is not None and not job.thread.done():
            job.thread.add_done_callback(lambda _: end(job))
        else:
            end(job)

    def _forget(self, job: Job) -> None:
        if job.watcher is not None:
            job.watcher.cancel()
        if job.ticket is not None:
            self.places.remove(job.ticket)
        # Their exceptions refer to frames that refer to the job, which would wait for garbage to be collected.
        job.watcher = job.ticket = job.thread = None
        job.admitted = False
        self.admitted.discard(job)
        self._count()

    def _finish(self, job: Job) -> None:
        if not job.counted:
            return
        job.counted = False
        self.in_flight[job.client] -= 1
        if not self.in_flight[job.client]:
            del self.in_flight[job.client]
        if job.share is None:
            return
        job.share.release()
        if job.facts.get("memory", 0) > TRIMMED_BYTES and self.trimming is None and not self.closed:
            self.trimming = asyncio.get_running_loop().call_later(TRIM_SECONDS, self._trim)

    def _trim(self) -> None:
        self.trimming = None
        self.pool.submit(trim_memory)

    def _count(self) -> None:
        RUNNING.set(len(self.places.running))
        QUEUED.set(self.places.waiting)

    async def wait_for_kernels(self, job: Job, *, of_gradients: bool) -> None:
        """Wait until all kernels are loaded, or only those for gradients. Raises Problem if a shutdown leaves no time."""
        loaded = self.gradients_ready if of_gradients else self.ready
        while not loaded.is_set():
            left = self.last_deadline - time.perf_counter()
            if left <= 0.0:
                job.stopping = True
                raise job.deadline_exceeded()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(loaded.wait(), min(left, KERNELS_POLL_SECONDS))

    def drain(self) -> None:
        """Give jobs, also those still to come, the time that a shutdown leaves. Trainings then end with the model so far."""
        self.draining = True
        self.last_deadline = time.perf_counter() + max(self.settings.shutdown_s - 2.0, 0.0)
        for job in self.admitted:
            self._bring_forward(job)

    def _bring_forward(self, job: Job) -> None:
        """End a job in time for a shutdown."""
        job.stopping = self.last_deadline < job.deadline
        job.deadline = min(job.deadline, self.last_deadline)

    def close(self) -> None:
        """Cancel what runs, and wait for its threads to end."""
        self.closed = True
        if self.trimming is not None:
            self.trimming.cancel()
        for job in self.admitted:
            job.cancelled = True
        self.pool.shutdown()


async def _cancel_on_disconnect(job: Job, request: Request) -> None:
    """Cancel the job when its client goes away."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
    job.cancelled = True


def _ignore_result(thread: "asyncio.Future[Any]") -> None:
    """Retrieve the exception of work that nobody waits for, so that asyncio does not report it."""
    if not thread.cancelled():
        thread.exception()
