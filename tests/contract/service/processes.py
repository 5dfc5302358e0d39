"""Requests and checks for tests that start servers of their own."""

import time
from collections.abc import Callable

import httpx

from tests.conftest import Server

SMALL_REQUEST = {"expression": "x*x", "inputs": {"x": 3}}
"""A request whose value is 9."""

LONG_TRAINING = {
    "model": {"inputs": 2, "layers": [16, 16, 1]},
    "data": {"dataset": "moons"},
    "loss": "mse",
    "steps": 20_000_000,
    "log_every": 1_000_000,
}
"""A training that only a limit or a cancellation ends."""


def warm_up(server: Server) -> None:
    """Train for one step, until that succeeds: the first training loads libraries, which may exceed a short time limit."""
    body = {**LONG_TRAINING, "steps": 1}
    wait_until(lambda: httpx.post(f"{server.url}/v1/networks/train", json=body, timeout=60).status_code == 200, 60)


def running(server: Server) -> float:
    """Return the number of computations that run in the pool."""
    return _metric(server, "autodiff_pool_running")


def pool_size(server: Server) -> float:
    """Return the number of computations that run in the pool or wait for it."""
    return running(server) + _metric(server, "autodiff_pool_queued")


def _metric(server: Server, name: str) -> float:
    lines = httpx.get(f"{server.url}/metrics", verify=False).text.splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))


def wait_until(condition: Callable[[], bool], seconds: float) -> None:
    """Wait until a condition holds. Raises AssertionError after `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"the condition did not hold within {seconds} s"
        time.sleep(0.02)
