"""Several workers: the same bytes from each, and a killed one is replaced."""

import contextlib
import json
import os
import random
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import psutil
import pytest

from tests.conftest import Server, examples
from tests.contract import client as http
from tests.contract.conftest import Post, Start
from tests.contract.service.processes import SMALL_REQUEST, wait_until
from tests.contract.wire import LOCAL, POSTS, graph, leaf, node, smallest
from tests.nn.networks import OPTIMIZERS, SPEC

pytestmark = [pytest.mark.alone, pytest.mark.skipif(not LOCAL, reason="starts servers of its own")]


def test_killed_worker_is_replaced(start: Start) -> None:
    server = start("--workers", "2")
    supervisor = psutil.Process(server.process.pid)

    def workers() -> set[int]:
        """Return the process ids of the workers."""
        found = set()
        for child in supervisor.children():
            with contextlib.suppress(psutil.Error):  # a process that has just ended has no command line
                if "spawn_main" in " ".join(child.cmdline()):
                    found.add(child.pid)
        return found

    wait_until(lambda: len(workers()) == 2, 60)
    before = workers()
    os.kill(min(before), signal.SIGKILL)
    lost = 0
    end = time.monotonic() + 3
    while time.monotonic() < end:
        try:
            assert http.post(f"{server.url}/v1/backward", json=SMALL_REQUEST).json()["value"] == 9.0
        except httpx.TransportError:
            lost += 1
    assert lost <= 5
    wait_until(lambda: len(workers()) == 2 and workers() != before, 60)
    assert "autodiff_requests_total" in http.get(f"{server.url}/metrics").text
    assert server.stop() == 0


def requests() -> list[tuple[str, bytes]]:
    """Return requests of many kinds: all examples, sums of many numbers, points enough for several blocks, and errors."""
    rng = random.Random(11)
    bodies: list[tuple[str, dict[str, Any]]] = [
        (example.operation, example.content["request"]) for example in examples() if example.operation in POSTS
    ]
    names = [f"x{k}" for k in range(300)]
    text = "logsumexp(" + ", ".join(f"sin({a}*{b})" for a, b in zip(names, names[1:], strict=False)) + ")"
    inputs: dict[str, Any] = {name: rng.uniform(-2, 2) for name in names}
    points = inputs | {name: [rng.uniform(-2, 2) for _ in range(500)] for name in names[:5]}
    for operation in ("backward", "graph", "parse", "check"):
        bodies.append((operation, {"expression": text, "inputs": inputs}))
    bodies.append(("backward", {"expression": text, "inputs": points}))
    bodies.append(("hessian", {"expression": text, "inputs": inputs, "wrt": names[:20]}))
    bodies.append(("hvp", {"expression": text, "inputs": points, "tangents": {names[0]: 1, names[1]: [0.1] * 500}}))
    special = "lgamma(x) + digamma(x) + erf(x)*erfc(y) + gelu(y)**x + atan2(x, y) + log1p(exp(x)) + hypot(x, y)"
    bodies.append(("hessian", {"expression": special, "inputs": {"x": [rng.uniform(0.1, 3) for _ in range(200)], "y": 0.7}}))
    for expression in (
        "x +",
        "x*y",
        "sn(x)",
        "log(-x)",
        graph(node("a", "neg", "b"), node("b", "neg", "a")),
        graph(leaf("x"), leaf("x")),
    ):
        bodies.append(("backward", smallest("backward", expression=expression)))
    bodies.append(("backward", {"expression": "x", "inputs": {"x": "1"}, "wrong": 1}))
    return [(operation, json.dumps(body).encode()) for operation, body in bodies]


def responses(url: str) -> list[tuple[int, bytes]]:
    """Return status and body for every request, and for the pages that describe the service."""
    with httpx.Client(base_url=url, timeout=60) as client:
        found = [client.post(f"/v1/{operation}", content=body) for operation, body in requests()]
        pages = [client.get(path) for path in ("/openapi.json", "/v1/primitives", "/v1/info", "/docs", "/problems/non-finite")]
    return [(response.status_code, response.content) for response in found + pages]


@pytest.fixture(scope="module")
def second_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Another server than that of the session."""
    server = Server(tmp_path_factory.mktemp("second") / "log")
    server.wait_until_ready()
    yield server
    server.stop()


def test_processes_and_workers_give_the_same_bytes(start: Start) -> None:
    """Neither hash seeds nor the order of requests make a difference."""
    first = start(PYTHONHASHSEED="1")
    second = start("--workers", "2", PYTHONHASHSEED="2")
    expected = responses(first.url)
    assert {status for status, _ in expected} == {200, 422}
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(responses, [second.url] * 4):
            assert found == expected
    assert first.stop() == 0
    assert second.stop() == 0
    assert "Traceback" not in first.log.read_text() + second.log.read_text()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_another_process_trains_to_the_same_bytes(post: Post, second_server: Server, name: str) -> None:
    """This holds for every optimizer."""
    body: dict[str, Any] = {"model": SPEC, "data": {"dataset": "moons", "samples": 40, "noise": 0.2, "seed": 5}}
    body |= {"loss": "max_margin", "optimizer": OPTIMIZERS[name], "steps": 300, "batch_size": 9}
    here, there = post("networks/train", **body), http.post(f"{second_server.url}/v1/networks/train", json=body)
    assert here.status_code == 200 and here.content == there.content
