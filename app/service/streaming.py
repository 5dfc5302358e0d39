"""Server-sent events, produced by a thread of the pool and relayed to the client."""

import asyncio
import math
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from queue import SimpleQueue
from typing import TypeVar

from fastapi import Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from app.service.execution import Execution, Job
from app.service.models import Arrays
from app.service.pieces import pieces
from app.service.problems import answer

MEDIA_TYPE = "text/event-stream"
PROGRESS_SECONDS = 0.1
"""Progress events come at most this often."""

Events = Callable[[], Iterator[tuple[str, BaseModel]]]
Message = bytes | Exception | None
Item = TypeVar("Item")


class EventStream(StreamingResponse):
    """A response of server-sent events, for the OpenAPI document."""

    media_type = MEDIA_TYPE


def pushed(work: Callable[[Callable[[Item], None]], None]) -> Iterator[Item]:
    """Yield what `work` passes to the function that it is called with, as it comes: libraries report progress by such calls.

    The work runs in a thread of its own. An error in it is raised here. The iterator ends, or is closed, only when the thread
    has ended, so the work must notice by itself that nobody waits for it any more.
    """
    queue: SimpleQueue[tuple[Item] | BaseException | None] = SimpleQueue()

    def run() -> None:
        try:
            work(lambda item: queue.put((item,)))
            queue.put(None)
        except BaseException as error:
            queue.put(error)

    thread = threading.Thread(target=run, name="pushing", daemon=True)
    thread.start()
    try:
        while (message := queue.get()) is not None:
            if isinstance(message, BaseException):
                raise message
            yield message[0]
    finally:
        thread.join()


async def start(
    execution: Execution, job: Job, events: Events, request: Request, arrays: Arrays = "list"
) -> AsyncIterator[bytes]:
    """The events as text, once the first step has shown that the request is valid; else raises what is wrong with it."""
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[Message] = asyncio.Queue()

    def send(message: Message) -> None:
        loop.call_soon_threadsafe(queue.put_nowait, message)

    job.thread = loop.run_in_executor(execution.pool, _produce, events, job, send, arrays)
    try:
        first = await queue.get()
    except BaseException:  # the server gives up on the request
        job.cancelled = True
        raise
    if isinstance(first, Exception):
        raise first
    if job.watcher is not None:  # from here on, the streaming response itself watches for the client to disconnect
        job.watcher.cancel()
    return _relay(queue, job, request)


async def _relay(queue: "asyncio.Queue[Message]", job: Job, request: Request) -> AsyncIterator[bytes]:
    """The messages as they come.

    An exception becomes an `error` event that holds the problem with which the request would otherwise be answered.
    """
    try:
        while (message := await queue.get()) is not None:
            if isinstance(message, Exception):
                message = _event("error", bytes((await answer(request, message)).body))
            yield message
    finally:
        job.cancelled = True


def _produce(events: Events, job: Job, send: Callable[[Message], None], arrays: Arrays) -> None:
    """Run the iterator until it ends or the client disconnects. Sends an empty chunk once it has started."""
    last_progress = -math.inf
    try:
        iterator = events()
        send(b"")
        for name, data in iterator:
            if job.cancelled:
                return
            now = time.perf_counter()
            if name != "progress" or now - last_progress >= PROGRESS_SECONDS:
                last_progress = now
                send(_event(name, b"".join(pieces(data, job.check_client, arrays))))
    except Exception as error:
        send(error)
    finally:
        send(None)


def _event(name: str, data: bytes) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + data + b"\n\n"
