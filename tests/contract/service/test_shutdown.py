"""Graceful shutdown: requests under way are answered, and the exit code is 0."""

import signal
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.contract import client as http
from tests.contract.conftest import Start
from tests.contract.service.processes import LONG_TRAINING, running, wait_until, warm_up
from tests.contract.sockets import connect, json_request, status_of
from tests.contract.wire import LOCAL, strict

pytestmark = [pytest.mark.alone, pytest.mark.skipif(not LOCAL, reason="starts servers of its own")]


def test_sigterm_lets_trainings_and_streams_end(start: Start) -> None:
    """Meanwhile /readyz is 503."""
    server = start(AUTODIFF_SHUTDOWN_S="5", AUTODIFF_MAX_CONCURRENCY="2")
    warm_up(server)
    with ThreadPoolExecutor(2) as threads:
        trained = threads.submit(http.post, f"{server.url}/v1/networks/train", json=LONG_TRAINING, timeout=30)
        stream = threads.submit(http.post, f"{server.url}/v1/networks/train/stream", json=LONG_TRAINING, timeout=30)
        wait_until(lambda: running(server) == 2, 20)
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: httpx.get(f"{server.url}/readyz").status_code == 503, 1)
        assert trained.result().json()["stopped"] == "deadline"
        assert stream.result().text.count("event: result") == 1
    assert server.process.wait(10) == 0


def test_training_that_arrives_after_sigterm_ends_in_time(start: Start) -> None:
    """New requests are accepted for a short time, in which a running one keeps the sockets open."""
    server = start(AUTODIFF_SHUTDOWN_S="5", AUTODIFF_MAX_CONCURRENCY="2")
    warm_up(server)
    with ThreadPoolExecutor(2) as threads:
        before = threads.submit(http.post, f"{server.url}/v1/networks/train", json=LONG_TRAINING, timeout=30)
        wait_until(lambda: running(server) == 1, 20)
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: httpx.get(f"{server.url}/readyz").status_code == 503, 1)
        after = threads.submit(http.post, f"{server.url}/v1/networks/train", json=LONG_TRAINING, timeout=30)
        assert [future.result().json()["stopped"] for future in (before, after)] == ["deadline", "deadline"]
    assert server.process.wait(10) == 0


def test_sigterm_lets_a_running_request_end(start: Start) -> None:
    server = start()
    names = [f"x{k}" for k in range(400)]
    text = " + ".join(f"sin({a}*{b})" for a, b in zip(names, names[1:], strict=False))
    points = {name: [0.1 * k for k in range(60)] for name in names}
    body = json_request(server.url, "/v1/hessian", {"expression": text, "inputs": points, "wrt": names[:250]})
    with connect(server.url, 60) as connection:
        connection.sendall(body)
        wait_until(lambda: running(server) == 1, 20)
        server.process.send_signal(signal.SIGTERM)
        received = b""
        while part := connection.recv(1 << 20):
            received += part
    assert status_of(received) == 200
    strict(received.partition(b"\r\n\r\n")[2])
    assert server.process.wait(30) == 0
    assert "Traceback" not in server.log.read_text()


def test_sigint_ends_the_process(start: Start) -> None:
    server = start()
    server.process.send_signal(signal.SIGINT)
    assert server.process.wait(30) in (0, 130, -signal.SIGINT)
