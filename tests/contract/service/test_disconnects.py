"""Clients that leave, stall or never read."""

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import httpx
import pytest

from tests.contract import client as http
from tests.contract.conftest import AssertAlive, Start
from tests.contract.service.processes import LONG_TRAINING, pool_size, wait_until
from tests.contract.sockets import connect, head, json_request, send_and_leave
from tests.contract.wire import LOCAL, json_of

pytestmark = pytest.mark.alone


@pytest.mark.parametrize("path", ["/v1/networks/train", "/v1/networks/train/stream"])
@pytest.mark.skipif(not LOCAL, reason="starts servers of its own")
def test_work_is_cancelled_when_its_clients_disconnect(start: Start, path: str) -> None:
    server = start()
    with ThreadPoolExecutor(20) as threads:
        for future in [threads.submit(send_and_leave, server.url, path, LONG_TRAINING, 0.5) for _ in range(20)]:
            future.result()
    wait_until(lambda: pool_size(server) == 0, 5)
    assert http.post(f"{server.url}/v1/networks/train", json={**LONG_TRAINING, "steps": 1}).status_code == 200


@pytest.mark.skipif(not LOCAL, reason="starts servers of its own")
def test_trainings_of_clients_that_timed_out_do_not_delay_others(start: Start) -> None:
    """Eight clients ask for trainings without end and leave."""
    server = start()
    for _ in range(8):
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{server.url}/v1/networks/train", json=LONG_TRAINING, timeout=httpx.Timeout(5, read=0.1))
    began = time.perf_counter()
    try:
        response = http.post(f"{server.url}/v1/networks/train", json={**LONG_TRAINING, "steps": 10}, timeout=5.0)
    except httpx.ReadTimeout:
        pytest.fail("a small training waits for abandoned ones")
    assert json_of(response)["stopped"] == "completed"
    assert time.perf_counter() - began < 5.0


def test_fifty_stalled_uploads_block_nobody(client: httpx.Client, base_url: str) -> None:
    start = head(base_url, "/v1/backward", Content_Type="application/json", Content_Length="900") + b"{"
    with ExitStack() as stack:
        for _ in range(50):
            stack.enter_context(connect(base_url)).sendall(start)
        assert client.post("/v1/networks/train", json={**LONG_TRAINING, "steps": 1}).status_code == 200


def test_clients_that_never_read_block_nobody(base_url: str, assert_alive: AssertAlive) -> None:
    """Five clients ask for large responses and read nothing."""
    body = {"expression": "x*y", "inputs": {"x": list(range(20_000)), "y": 2}}
    with ExitStack() as stack:
        for _ in range(5):
            stack.enter_context(connect(base_url)).sendall(json_request(base_url, "/v1/backward", body))
        assert_alive()
    assert_alive()


def test_clients_that_only_connect_block_nobody(base_url: str, assert_alive: AssertAlive) -> None:
    """Of 200 connections half send nothing and half the beginning of a head."""
    with ExitStack() as stack:
        connections = [stack.enter_context(connect(base_url)) for _ in range(200)]
        for connection in connections[::2]:
            connection.sendall(b"POST /v1/forward HTTP/1.1\r\nHost: x\r\nContent-Le")
        assert_alive()
