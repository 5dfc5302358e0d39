"""Streams whose clients leave, whose time runs out, or that find the queue full."""

import socket
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from tests.contract.client import CheckedClient
from tests.contract.conftest import Start
from tests.contract.events import events, read_events
from tests.contract.networks.streams import LONG, PATH, SMALL
from tests.contract.service.processes import warm_up
from tests.contract.sockets import connect, json_request
from tests.contract.wire import LOCAL, json_of, problem

pytestmark = pytest.mark.alone


def assert_prompt(client: httpx.Client) -> None:
    """Assert that small trainings are answered at once: no thread works for a client that has left."""
    for _ in range(3):
        began = time.perf_counter()
        response = client.post("/v1/networks/train", json=SMALL, timeout=5.0)
        assert json_of(response)["stopped"] == "completed"
        assert time.perf_counter() - began < 5.0


def test_client_that_leaves_after_the_first_event_frees_its_thread(client: httpx.Client, base_url: str) -> None:
    """Eight clients, one after the other, each ask for twenty seconds of work."""
    for _ in range(8):
        with httpx.Client(base_url=base_url, timeout=20) as other, other.stream("POST", PATH, json=LONG) as response:
            name, _ = next(events(response.iter_lines()))
            assert name == "progress"
    assert_prompt(client)


def test_clients_that_leave_together_free_their_threads(client: httpx.Client, base_url: str) -> None:
    """Of eight clients most wait for a thread, and some leave before a thread has started on their request."""
    with ExitStack() as stack:
        connections = []
        for _ in range(8):
            connection = stack.enter_context(connect(base_url))
            connection.sendall(json_request(base_url, PATH, LONG))
            connections.append(connection)
        assert connections[0].recv(65536).startswith(b"HTTP/1.1 200")
    assert_prompt(client)


def test_client_that_resets_the_connection_frees_its_thread(client: httpx.Client, base_url: str) -> None:
    """The reset comes after some events."""
    for _ in range(4):
        with connect(base_url) as connection:
            connection.sendall(json_request(base_url, PATH, LONG))
            received = b""
            while received.count(b"event: progress") < 3:
                received += connection.recv(65536)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closing sends a reset
    assert_prompt(client)


def ended(client: httpx.Client, body: dict[str, Any]) -> str:
    """Return how a stream ended: `stopped` of its result, or the type of a problem. It must end within ten seconds."""
    response = client.post(PATH, json=body, timeout=10.0)
    if response.status_code != 200:
        return str(problem(response)["type"])
    name, data = read_events(response.text)[-1]
    return str(data["stopped"] if name == "result" else data["type"])


@pytest.mark.skipif(not LOCAL, reason="starts servers of its own")
def test_deadline_of_a_waiting_stream_is_a_503_or_an_event(start: Start) -> None:
    """With one thread and a second for each stream, some wait longer than their time."""
    server = start(AUTODIFF_MAX_CONCURRENCY="1", AUTODIFF_COMPUTE_TIMEOUT_S="1")
    warm_up(server)
    with CheckedClient(base_url=server.url) as client, ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: ended(client, LONG), range(4)))
    assert set(found) <= {"deadline", "/problems/deadline-exceeded"} and "deadline" in found


@pytest.mark.skipif(not LOCAL, reason="starts servers of its own")
@pytest.mark.parametrize("queue", ["0", "2"], ids=lambda queue: f"queue of {queue}")
def test_stream_is_refused_before_it_begins_or_completes(start: Start, queue: str) -> None:
    """A full queue is a 503 at once. A stream that has begun ends with a result."""
    server = start(AUTODIFF_MAX_CONCURRENCY="1", AUTODIFF_MAX_QUEUE=queue)
    with ExitStack() as stack:
        clients = [stack.enter_context(CheckedClient(base_url=server.url)) for _ in range(8)]
        pool = stack.enter_context(ThreadPoolExecutor(8))
        found = [how for _ in range(40) for how in pool.map(lambda client: ended(client, SMALL), clients)]
    assert set(found) <= {"completed", "/problems/overloaded"} and "completed" in found
