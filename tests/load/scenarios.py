"""The scenarios. Each puts a server under load and returns figures, and whether they are as they should be."""

import asyncio
import copy
import json
import os
import random
import signal
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil

from tests.conftest import Server, examples
from tests.load.client import Connection, Lost, Refused, Tally, milliseconds, request

Figures = dict[str, Any]

CONNECTIONS = 64
LARGE_NODES = 200_000
LARGE_EVERY = 0.5
MUTATIONS = 10_000


@dataclass(frozen=True)
class Scenario:
    """A load, with the flags and settings of the server that it needs."""

    run: Callable[[Server, float], Coroutine[Any, Any, tuple[Figures, bool]]]
    flags: tuple[str, ...] = ()
    settings: dict[str, str] = field(default_factory=dict)


XY = {"x": 2, "y": 3}
NEURON = {"layers": [{"weights": [[2, 3]], "biases": [1]}]}
STEP = {
    "model": NEURON,
    "data": {"inputs": [[1, 1]], "targets": [4]},
    "loss": "mse",
    "steps": 1,
    "optimizer": {"learning_rate": 0.125},
}
MIXED: list[tuple[str, dict[str, object], dict[str, object], int]] = [
    ("/v1/forward", {"expression": "x**2 + 3*x", "inputs": {"x": 2}}, {"value": 10.0}, 200),
    ("/v1/backward", {"expression": "x*y", "inputs": XY}, {"value": 6.0, "gradients": {"x": 3.0, "y": 2.0}}, 200),
    ("/v1/backward", {"expression": "w*x", "inputs": {"x": [1, 2], "w": 3}}, {"value": [3.0, 6.0]}, 200),
    ("/v1/jvp", {"expression": "x*x", "inputs": {"x": 4}, "tangents": {"x": 1}}, {"tangent": 8.0}, 200),
    ("/v1/hvp", {"expression": "x*y", "inputs": XY, "tangents": {"x": 1}}, {"hvp": {"x": 0.0, "y": 1.0}}, 200),
    ("/v1/hessian", {"expression": "x*x*y", "inputs": XY}, {"gradients": {"x": 12.0, "y": 4.0}}, 200),
    ("/v1/backward", {"expression": "x +"}, {"type": "/problems/syntax-error"}, 422),
    ("/v1/networks/predict", {"model": NEURON, "inputs": [[1, 1]]}, {"outputs": [[6.0]]}, 200),
    # (2 + 3 + 1 - 4)**2 = 4, and each number moves by 0.125 * 2 * 2
    ("/v1/networks/train", STEP, {"stopped": "completed", "model": {"layers": [
        {"weights": [[1.5, 2.5]], "biases": [0.5], "activation": "linear"}]}}, 200),
]  # fmt: skip
"""(path, body, part of the response, status). The responses are known in closed form."""


def address(server: Server) -> tuple[str, int]:
    """Return host and port of a server."""
    split = urlsplit(server.url)
    assert split.hostname is not None and split.port is not None
    return split.hostname, split.port


def mixed(server: Server) -> list[tuple[bytes, bytes, int]]:
    """Return (request, response, status) for the mixed work, after comparing each response with its closed form."""
    found = []
    for path, body, part, status in MIXED:
        response = httpx.post(server.url + path, json=body, headers={"Accept-Encoding": "identity"})
        assert response.status_code == status and part.items() <= response.json().items(), response.text
        found.append((request(path, body), response.content, status))
    return found


def large_body() -> bytes:
    """Return a request for a chain x, x + 1, x + 2, ... whose gradient by x is 1."""
    nodes: list[dict[str, object]] = [{"id": "n0", "op": "value", "data": 0.0}]
    nodes += [{"id": f"n{k}", "op": "add", "args": [f"n{k - 1}", 1]} for k in range(1, LARGE_NODES)]
    return json.dumps({"expression": {"nodes": nodes, "output": nodes[-1]["id"]}, "wrt": ["n0"]}).encode()


def send_large(host: str, port: int, seconds: float) -> Tally:
    """Post the large graph twice a second. Runs in a process of its own, since sending much delays other clients."""
    sent = request("/v1/backward", large_body())
    expected = json.dumps({"output": f"n{LARGE_NODES - 1}", "value": LARGE_NODES - 1.0, "gradients": {"n0": 1.0}})

    async def run() -> Tally:
        tally, tasks = Tally(), []
        for _ in range(round(seconds / LARGE_EVERY)):
            tasks.append(asyncio.ensure_future(tally.send(Connection(host, port), sent, expected.replace(" ", "").encode())))
            await asyncio.sleep(LARGE_EVERY)
        await asyncio.gather(*tasks)
        return tally

    return asyncio.run(run())


async def soak(server: Server, seconds: float) -> tuple[Figures, bool]:
    """64 connections of mixed work without pauses, with large graphs beside them."""
    host, port = address(server)
    work = mixed(server)
    small = Tally()
    until = time.perf_counter() + seconds

    async def work_on(number: int) -> None:
        draw, connection = random.Random(number), Connection(host, port)
        while time.perf_counter() < until:
            await small.send(connection, *draw.choice(work))
        connection.close()

    with ProcessPoolExecutor(1) as beside:
        large_ones = asyncio.get_running_loop().run_in_executor(beside, send_large, host, port, seconds)
        await asyncio.gather(*(work_on(k) for k in range(CONNECTIONS)))
        large = await large_ones
    wrong, lost = small.wrong + large.wrong, small.lost + small.refused + large.lost + large.refused
    figures: Figures = {
        "right": small.right + large.right,
        "wrong": wrong,
        "put_off": small.put_off + large.put_off,
        "lost": lost,
        "small_per_second": round(len(small.seconds) / seconds),
        "small_ms": small.latency(),
        "large": large.right,
        "large_ms": large.latency(),
    }
    ok = not wrong and not lost and not figures["put_off"] and large.right >= seconds
    return figures, ok and figures["small_ms"]["p99"] < 50.0


def mutated(text: str, draw: random.Random) -> bytes:
    """Return a body with flipped bits, a cut, values of other types, huge numbers or deep nesting."""
    kind = draw.random()
    body = bytearray(text.encode())
    if kind < 0.35:
        for _ in range(draw.randint(1, 4)):
            body[draw.randrange(len(body))] ^= 1 << draw.randrange(8)
    elif kind < 0.45:
        del body[draw.randrange(len(body)) :]
    elif kind < 0.9:
        loaded = json.loads(text)
        for _ in range(draw.randint(1, 3)):
            place: Any = loaded
            while isinstance(place, dict | list) and place:
                key = draw.choice([*place] if isinstance(place, dict) else range(len(place)))
                if draw.random() < 0.4 or not isinstance(place[key], dict | list):
                    place[key] = copy.deepcopy(draw.choice(STRANGE))
                    break
                place = place[key]
        body = bytearray(json.dumps(loaded).encode())
    else:
        body = bytearray(text.replace("[", "[" * draw.randint(100, 20_000), 1).encode())
    return bytes(body)


STRANGE: list[Any] = [
    None, True, -1, 0, 3.5, 1e308, -1e308, 1e-320, 10**30, 2**63, "", "x", "(((x", "x/0", "log(-1)", "1" * 300, [], {}, [[]],
    [None], [1] * 1000, {"a": 1},
]  # fmt: skip


async def mutations(server: Server, seconds: float) -> tuple[Figures, bool]:
    """Three times 10,000 mutated bodies over every POST, after 1,000 to warm up. Memory must not grow after the first round."""
    host, port = address(server)
    document = httpx.get(f"{server.url}/openapi.json").json()
    paths = {op["operationId"]: path for path, item in document["paths"].items() for way, op in item.items() if way == "post"}
    jsons = [e for e in examples() if "request" in e.content]
    assert {e.operation for e in jsons} >= set(paths) - {"network_import"}, "every POST of JSON has an example"
    cases = [(paths[e.operation].format(**e.path), json.dumps(e.content["request"])) for e in jsons if e.operation in paths]
    draw, connection, process = random.Random(0), Connection(host, port), psutil.Process(server.process.pid)
    statuses: dict[int, int] = {}
    largest = lost = 0
    resident = []
    for turn in range(4):
        for _ in range(MUTATIONS if turn else MUTATIONS // 10):
            path, text = draw.choice(cases)
            try:
                status, content = await connection.send(request(path, mutated(text, draw)))
            except (Lost, Refused):
                lost += 1
                continue
            statuses[status] = statuses.get(status, 0) + 1
            largest = max(largest, len(content))
        resident.append(process.memory_info().rss >> 20)
    defects = sum(count for status, count in statuses.items() if status >= 500)
    figures = {"statuses": statuses, "lost": lost, "largest": largest, "resident_mb": resident}
    return figures, not defects and not lost and largest < 1 << 20 and resident[1] <= 1.2 * resident[0]


LONG = {
    "model": {"inputs": 2, "layers": [16, 16, 1]},
    "data": {"dataset": "spiral"},
    "loss": "mse",
    "steps": 10_000_000,
    "log_every": 1_000_000,
}
TENTH = LONG | {"steps": 4000, "log_every": 4000}
"""A training that takes about 0.1 s."""


async def overload(server: Server, seconds: float) -> tuple[Figures, bool]:
    """Four times as many clients as the pool and its queue have places, for ten seconds."""
    host, port = address(server)
    limits = httpx.get(f"{server.url}/v1/info").json()["limits"]
    clients = 4 * (limits["max_concurrency"] + limits["max_queue"])
    sent, small = request("/v1/networks/train", TENTH), mixed(server)[1]
    refused: list[float] = []
    served = others = 0
    connections = [Connection(host, port) for _ in range(clients)]
    for connection in connections:
        await connection.open()
    until = time.perf_counter() + 10.0
    between = Tally()

    async def press(connection: Connection) -> None:
        nonlocal served, others
        while time.perf_counter() < until:
            began = time.perf_counter()
            status, _ = await connection.send(sent)
            if status == 503:
                refused.append(time.perf_counter() - began)
                await asyncio.sleep(1.0)  # as Retry-After says
            elif status == 200:
                served += 1
            else:
                others += 1

    async def watch() -> None:
        connection = Connection(host, port)
        while time.perf_counter() < until:
            await between.send(connection, *small)
            await asyncio.sleep(0.02)

    tasks = [asyncio.ensure_future(press(connection)) for connection in connections]
    await watch()
    for task, connection in zip(tasks, connections, strict=True):
        task.cancel()
        connection.close()
    await asyncio.gather(*tasks, return_exceptions=True)
    ended = time.perf_counter()
    after, status = Connection(host, port), 503
    while status == 503 and time.perf_counter() < ended + 10.0:
        status, _ = await after.send(sent)
    again = time.perf_counter() - ended
    figures = {
        "clients": clients,
        "served": served,
        "refused": len(refused),
        "others": others,
        "refused_ms": milliseconds(refused),
        "small_between_ms": between.latency(),
        "served_again_after_s": round(again, 3),
    }
    ok = not others and not between.wrong and not between.put_off and not between.lost and served and status == 200
    return figures, bool(ok) and figures["refused_ms"]["p99"] < 100.0 and again < 1.0


async def pool(server: Server) -> float:
    """Return the number of computations that run in the pool or wait for it."""
    _, content = await Connection(*address(server)).send(request("/metrics", b"", "GET"))
    lines = content.decode().splitlines()
    return sum(float(line.split()[1]) for line in lines if line.startswith(("autodiff_pool_running ", "autodiff_pool_queued ")))


async def leavers(server: Server, seconds: float) -> tuple[Figures, bool]:
    """200 clients that leave in the middle of long work: half of them one by one, then the others together."""
    host, port = address(server)
    sent = request("/v1/networks/train", LONG)
    connections = [Connection(host, port) for _ in range(200)]
    tasks = [asyncio.ensure_future(connection.send(sent)) for connection in connections]
    await asyncio.sleep(2.0)
    working = await pool(server)
    for connection in connections[:100]:
        connection.close()
        await asyncio.sleep(0.0025)
    for connection in connections[100:]:
        connection.close()
    left = time.perf_counter()
    while await pool(server) and time.perf_counter() < left + 10.0:
        await asyncio.sleep(0.005)
    empty = time.perf_counter() - left
    results = await asyncio.gather(*tasks, return_exceptions=True)
    kinds: dict[str, int] = {}
    for result in results:
        kind = type(result).__name__ if isinstance(result, BaseException) else str(result[0])
        kinds[kind] = kinds.get(kind, 0) + 1
    return {"working": working, "pool_empty_after_ms": round(1e3 * empty), "responses": kinds}, working > 0 and empty < 0.25


async def killed(server: Server, seconds: float) -> tuple[Figures, bool]:
    """One of two workers is killed under load. Only the requests it had in hand are lost, and it is replaced."""
    host, port = address(server)
    work = mixed(server)
    supervisor = psutil.Process(server.process.pid)

    def workers() -> set[int]:
        """Return the process ids of the workers."""
        alive = set()
        for child in supervisor.children():
            try:
                if "spawn_main" in " ".join(child.cmdline()) and child.status() != psutil.STATUS_ZOMBIE:
                    alive.add(child.pid)
            except psutil.Error:
                continue
        return alive

    before = workers()
    tally = Tally()
    until = time.perf_counter() + 8.0

    async def work_on(number: int) -> None:
        draw, connection = random.Random(number), Connection(host, port)
        while time.perf_counter() < until:
            await tally.send(connection, *draw.choice(work))
            await asyncio.sleep(0.01)

    tasks = [asyncio.ensure_future(work_on(k)) for k in range(CONNECTIONS)]
    await asyncio.sleep(2.0)
    os.kill(min(before), signal.SIGKILL)
    gone = time.perf_counter()
    back = None
    while back is None and time.perf_counter() < until:
        if len(workers()) == 2 and workers() != before:
            back = time.perf_counter() - gone
        await asyncio.sleep(0.05)
    await asyncio.gather(*tasks)
    figures = {
        "right": tally.right,
        "wrong": tally.wrong,
        "lost": tally.lost,
        "refused": tally.refused,
        "back_after_s": back and round(back, 2),
    }
    # Each connection has one request under way, so the killed worker had at most that many.
    others = tally.wrong + tally.put_off + tally.refused
    return figures, back is not None and not others and tally.lost <= CONNECTIONS


async def stopped(server: Server, seconds: float) -> tuple[Figures, bool]:
    """SIGTERM under load. Every request is completed, small ones and trainings alike.

    A client sends no more when a response closes its connection, as a proxy does when /readyz turns 503. Without that, what it
    sends while the listening socket is closed may be lost, which the service does not promise to answer.
    """
    host, port = address(server)
    work = mixed(server)
    tally = Tally()
    trainings = [asyncio.ensure_future(Connection(host, port).send(request("/v1/networks/train", TENTH))) for _ in range(20)]

    async def work_on(number: int) -> None:
        draw, connection = random.Random(number), Connection(host, port)
        while True:
            await tally.send(connection, *draw.choice(work))
            if connection.writer is None:
                return
            await asyncio.sleep(0.002)

    tasks = [asyncio.ensure_future(work_on(k)) for k in range(CONNECTIONS)]
    await asyncio.sleep(0.5)
    server.process.send_signal(signal.SIGTERM)
    began = time.perf_counter()
    await asyncio.wait_for(asyncio.gather(*tasks), 30.0)
    trained = await asyncio.gather(*trainings, return_exceptions=True)
    answered = sum(not isinstance(result, BaseException) and result[0] == 200 for result in trained)
    code = await asyncio.to_thread(server.process.wait, 30)
    ended = time.perf_counter() - began
    figures = {
        "right": tally.right,
        "wrong": tally.wrong,
        "lost": tally.lost,
        "trainings": answered,
        "ended_after_s": round(ended, 2),
    }
    return figures | {"exit": code}, not tally.wrong and not tally.put_off and not tally.lost and answered == 20 and code == 0


SCENARIOS = {
    "soak": Scenario(soak),
    "mutations": Scenario(mutations),
    "overload": Scenario(overload),
    "leavers": Scenario(leavers, settings={"AUTODIFF_MAX_QUEUE": "250"}),
    "killed": Scenario(killed, flags=("--workers", "2")),
    "stopped": Scenario(stopped),
    "workers": Scenario(stopped, flags=("--workers", "2")),
}
