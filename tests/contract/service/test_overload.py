"""A full queue, and work that blocks nobody else."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.contract import client as http
from tests.contract.client import CheckedClient
from tests.contract.conftest import Start
from tests.contract.service.processes import LONG_TRAINING, SMALL_REQUEST, pool_size, wait_until
from tests.contract.sockets import send_and_leave
from tests.contract.wire import LOCAL, json_of, problem

pytestmark = pytest.mark.alone


@pytest.mark.skipif(not LOCAL, reason="starts servers of its own")
def test_full_queue_is_refused_at_once_with_retry_after(start: Start) -> None:
    """Meanwhile small requests and health checks are served as usual."""
    server = start(AUTODIFF_MAX_CONCURRENCY="1", AUTODIFF_MAX_QUEUE="1")
    with ThreadPoolExecutor(2) as threads:
        waiting = [threads.submit(send_and_leave, server.url, "/v1/networks/train", LONG_TRAINING, 2.0) for _ in range(2)]
        wait_until(lambda: pool_size(server) == 2, 5)
        refused = http.post(f"{server.url}/v1/networks/train", json=LONG_TRAINING)
        problem(refused, "overloaded", 503)
        assert int(refused.headers["retry-after"]) >= 1
        assert http.post(f"{server.url}/v1/backward", json=SMALL_REQUEST).json()["value"] == 9.0
        assert http.get(f"{server.url}/livez").status_code == 200
        for future in waiting:
            future.result()
    wait_until(lambda: pool_size(server) == 0, 5)
    assert http.post(f"{server.url}/v1/networks/train", json={**LONG_TRAINING, "steps": 1}).status_code == 200


def test_small_requests_are_served_during_a_large_one(base_url: str, client: httpx.Client) -> None:
    """An orchestrator that gets no answer from a health check ends the process."""
    names = [f"x{k}" for k in range(400)]
    text = " + ".join(f"sin({a}*{b})" for a, b in zip(names, names[1:], strict=False))
    request = {"expression": text, "inputs": {name: [0.1 * k for k in range(60)] for name in names}, "wrt": names[:200]}
    served = 0
    with ThreadPoolExecutor(1) as pool:
        large = pool.submit(http.post, f"{base_url}/v1/hessian", json=request, timeout=120)
        while not large.done():
            assert client.get("/livez").status_code == client.get("/readyz").status_code == 200
            assert json_of(client.post("/v1/forward", json={"expression": "1 + 1"}))["value"] == 2.0
            served += not large.done()
    assert large.result().status_code == 200 and served > 3


def test_creating_a_large_model_does_not_stall_the_service(client: httpx.Client, base_url: str) -> None:
    """A body of forty bytes asks for a second of work, which must not run on the event loop."""
    done = threading.Event()
    latencies = []

    def ask() -> None:
        with CheckedClient(base_url=base_url, timeout=60) as other:
            while not done.is_set():
                began = time.perf_counter()
                assert other.get("/livez").status_code == 200
                latencies.append(time.perf_counter() - began)
                time.sleep(0.01)

    thread = threading.Thread(target=ask)
    thread.start()
    began = time.perf_counter()
    response = client.post("/v1/networks", json={"inputs": 1000, "layers": [1500]})
    took = time.perf_counter() - began
    done.set()
    thread.join()
    assert response.status_code == 200
    assert max(latencies) < max(0.25, 0.5 * took), f"all others waited {max(latencies):.2f} s of the {took:.2f} s"
