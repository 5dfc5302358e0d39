"""Requests that ask for as much memory, time or patience as they can. Nothing may stop the service, or slow it for others."""

import asyncio
import gzip
import json
import resource
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from statistics import mean
from typing import Any

import httpx
import psutil

from tests.conftest import Server
from tests.load.client import Connection, Lost, Refused, Tally, request
from tests.load.scenarios import Figures, Scenario, address, soak

LIMIT_S = 2.0
MOONS = {"dataset": "moons"}
SGD = {"name": "sgd", "learning_rate": 0.01}
NAMES = [f"x{k}" for k in range(3990)]


def network(layers: list[int], **fields: Any) -> dict[str, Any]:
    """A request with a new model of two inputs."""
    return {"model": {"inputs": 2, "layers": layers}, "loss": "mse", **fields}


def repeated(start: bytes, entry: bytes, count: int, end: bytes) -> bytes:
    """A list with the same entry again and again."""
    return start + b",".join([entry] * count) + end


def one_number_rows() -> bytes:
    """64 MiB of JSON: rows of one number."""
    start = b'{"model":{"layers":[{"weights":[[1]],"biases":[0],"activation":"linear"}]},"inputs":['
    return repeated(start, b"[1]", (64 << 20) // 4 - 200, b"]}")


def many_arguments() -> bytes:
    """A node with 33 million numbers."""
    start = b'{"expression":{"nodes":[{"id":"s","op":"sum","args":['
    return repeated(start, b"1", 33_000_000, b']}],"output":"s"}}')


def many_names() -> bytes:
    """The product of 900,000 inputs, each with a value of its own."""
    names = [f"x{k}" for k in range(900_000)]
    nodes: list[dict[str, Any]] = [{"id": name, "op": "value"} for name in names]
    nodes.append({"id": "y", "op": "mul", "args": names})
    return json.dumps({"expression": {"nodes": nodes, "output": "y"}, "inputs": dict.fromkeys(names, 1)}).encode()


def chain(count: int) -> dict[str, Any]:
    """A graph of `count` nodes, each the tanh of the one before."""
    nodes: list[dict[str, Any]] = [{"id": "n0", "op": "value", "data": 0.3}]
    nodes += [{"id": f"n{k}", "op": "tanh", "args": [f"n{k - 1}"]} for k in range(1, count)]
    return {"nodes": nodes, "output": nodes[-1]["id"]}


ADAM = {"name": "adam", "learning_rate": 0.01, "amsgrad": True}
REQUESTS: dict[str, tuple[str, Callable[[], object], bool]] = {
    "rows of one number, gzip": ("/v1/networks/predict", one_number_rows, True),
    "a new model of 7,900,000 weights": ("/v1/networks", lambda: {"inputs": 1, "layers": [7_900_000], "init": "he"}, False),
    "a boundary of a million points": (
        "/v1/networks/decision-boundary",
        lambda: {"model": {"inputs": 2, "layers": [400, 1]}, "step": 0.0025, "padding": 0.25},
        False,
    ),
    "1,500 neurons on 100,000 rows": (
        "/v1/networks/backward",
        lambda: network([1500, 1], data=MOONS | {"samples": 100_000}),
        False,
    ),
    "a million neurons": ("/v1/networks/backward", lambda: network([1_000_000, 1], data=MOONS | {"samples": 1000}), False),
    "the state of an optimizer": (
        "/v1/networks/train",
        lambda: network([3_990_000, 1], data={"dataset": "xor"}, optimizer=ADAM, steps=1),
        False,
    ),
    "a Hessian of 3,990 names": (
        "/v1/hessian",
        lambda: {"expression": f"({'+'.join(NAMES)})**2", "inputs": dict.fromkeys(NAMES, 1.5)},
        False,
    ),
    "33 million arguments": ("/v1/forward", many_arguments, True),
    "one step of [3900, 3900, 1]": (
        "/v1/networks/train",
        lambda: network([3900, 3900, 1], data=MOONS | {"samples": 10_000}, optimizer=SGD, steps=1),
        False,
    ),
    "a drawing of 300,000 nodes": ("/v1/graph", lambda: {"expression": chain(300_000)}, True),
    "a million layers": (
        "/v1/networks/predict",
        lambda: repeated(b'{"inputs":[[1]],"model":{"layers":[', b'{"weights":[[1]],"biases":[0]}', 1_000_000, b"]}}"),
        True,
    ),
    "a new model of a million layers": ("/v1/networks", lambda: {"inputs": 1, "layers": [1] * 1_000_000}, True),
    "a million rows of a history": (
        "/v1/networks/history",
        lambda: repeated(b'{"history":[', b'{"step":1,"loss":0.5,"accuracy":1,"learning_rate":0.1}', 1_000_000, b"]}"),
        True,
    ),
    "900,000 names": ("/v1/backward", many_names, True),
    "a text of a megabyte": ("/v1/parse", lambda: {"expression": "+".join(["x*2"] * 250_000), "inputs": {"x": 1}}, False),
}
"""(path, body, whether it is sent as gzip)."""


class Watch:
    """What happens to a server meanwhile: its memory, and how long /livez takes at worst."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.process = psutil.Process(server.process.pid)
        self.idle = self.resident()
        self.peak = self.idle
        self.waits: list[float] = []

    def resident(self) -> int:
        """The resident memory of the server's processes in bytes."""
        return sum(process.memory_info().rss for process in (self.process, *self.process.children(recursive=True)))

    @asynccontextmanager
    async def while_running(self) -> AsyncIterator[None]:
        """Look at the server until the block ends."""
        tasks = [asyncio.ensure_future(watch()) for watch in (self._memory, self._livez)]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()

    async def _memory(self) -> None:
        while True:
            self.peak = max(self.peak, self.resident())
            await asyncio.sleep(0.005)

    async def _livez(self) -> None:
        connection, sent = Connection(*address(self.server)), request("/livez", b"", "GET")
        while True:
            began = time.perf_counter()
            await connection.send(sent)
            self.waits.append(time.perf_counter() - began)
            await asyncio.sleep(0.01)

    def figures(self) -> Figures:
        """What was seen."""
        return {"livez_ms": round(1e3 * max(self.waits)), "memory_mb": (self.peak - self.idle) >> 20}


@cache
def encoded(name: str) -> tuple[bytes, dict[str, str]]:
    """The body of one of the requests, and the headers it needs."""
    _, make, compress = REQUESTS[name]
    body = make()
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    return (gzip.compress(content, 6), headers | {"Content-Encoding": "gzip"}) if compress else (content, headers)


async def ask(server: Server, name: str) -> Figures:
    """Send one of the requests, and look at the server until the last byte of the response."""
    path, (content, headers) = REQUESTS[name][0], encoded(name)
    watch = Watch(server)
    async with watch.while_running(), httpx.AsyncClient(base_url=server.url, timeout=60) as client:
        await asyncio.sleep(0.1)
        began = time.perf_counter()
        try:
            async with client.stream("POST", path, content=content, headers=headers) as response:
                status, size = response.status_code, 0
                async for part in response.aiter_raw():
                    size += len(part)
        except httpx.TransportError:
            status, size = 0, 0
        seconds = time.perf_counter() - began
    return {"status": status, "sent": len(content), "received": size, "seconds": round(seconds, 2), **watch.figures()}


def budget_mb(server: Server) -> int:
    """The service's budget of memory in MiB."""
    limit: int = httpx.get(f"{server.url}/v1/info").json()["limits"]["memory_bytes"]
    return limit >> 20


async def ask_little(server: Server) -> Tally:
    """Send one small request on a connection of its own."""
    tally = Tally()
    await tally.send(Connection(*address(server)), request("/v1/forward", {"expression": "1"}), None)
    return tally


async def requests(server: Server, seconds: float) -> tuple[Figures, bool]:
    """Each of the requests alone, under a time limit of 2 s."""
    budget = budget_mb(server)
    figures, ok = {}, True
    for name in REQUESTS:
        row = figures[name] = await ask(server, name)
        print(f"  {name}: {json.dumps(row)}", flush=True)
        ok &= row["status"] in (200, 413, 422, 503) and row["seconds"] <= LIMIT_S + 0.5
        ok &= row["livez_ms"] <= 100 and row["memory_mb"] <= budget + 150
    return {"requests": len(figures)}, ok and server.process.poll() is None


async def unread(server: Server, seconds: float) -> tuple[Figures, bool]:
    """Six large responses that nobody reads, beside small requests that are answered."""
    watch, sent = Watch(server), request("/v1/networks", {"inputs": 1, "layers": [7_900_000], "init": "he"})
    async with watch.while_running():
        connections = [Connection(*address(server)) for _ in range(6)]
        for connection in connections:
            await connection.open()
            assert connection.writer is not None and connection.reader is not None
            connection.writer.transport.pause_reading()  # type: ignore[attr-defined]  # of a socket
            connection.writer.write(sent)
        await asyncio.sleep(10.0)
        small = await ask_little(server)
        for connection in connections:
            connection.close()
    figures = watch.figures() | {"small": small.right}
    return figures, small.right == 1 and figures["memory_mb"] <= budget_mb(server) + 150


async def uploads(server: Server, seconds: float) -> tuple[Figures, bool]:
    """25 bodies of 60 MB that never end. A small one is answered, and they are left after a while."""
    watch = Watch(server)
    head = b"POST /v1/forward HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 60000001\r\n\r\n"
    async with watch.while_running():
        connections = [Connection(*address(server)) for _ in range(25)]

        async def send(connection: Connection) -> None:
            await connection.open()
            assert connection.writer is not None
            connection.writer.write(head)
            for _ in range(60):
                connection.writer.write(b" " * 1_000_000)
                await connection.writer.drain()

        results = await asyncio.gather(*(send(connection) for connection in connections), return_exceptions=True)
        await asyncio.sleep(1.0)
        small = await ask_little(server)
        for connection in connections:
            connection.close()
    figures = watch.figures() | {"small": small.right, "cut_off": sum(isinstance(r, Exception) for r in results)}
    return figures, small.right == 1 and figures["memory_mb"] <= budget_mb(server) // 2 + 150


async def silent(server: Server, seconds: float) -> tuple[Figures, bool]:
    """2,000 connections that say nothing, at a server with 1,024 files, which allows 924: new requests are served."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4096)), hard))
    connections = [Connection(*address(server)) for _ in range(2000)]
    for connection in connections:
        try:
            await connection.open()
        except Refused:
            continue
    served = Tally()
    for _ in range(20):
        await served.send(Connection(*address(server)), request("/v1/forward", {"expression": "1"}), None)
    for connection in connections:
        connection.close()
    return {"served": served.right, "of": 20}, served.right == 20


async def heads(server: Server, seconds: float) -> tuple[Figures, bool]:
    """Heads without an end: each is refused or cut off after as much as the setting allows."""
    watch = Watch(server)

    async def send() -> int:
        reader, writer = await asyncio.open_connection(*address(server))
        sent = 0
        try:
            writer.write(b"GET / HTTP/1.1\r\nX: ")
            while sent < 10_000_000:
                writer.write(b"y" * 10_000)
                await writer.drain()
                await asyncio.sleep(0)  # let the other clients of this process go on
                sent += 10_000
        except OSError:
            pass
        writer.close()
        return sent

    async with watch.while_running():
        most = max(await asyncio.gather(*(send() for _ in range(10))))
    figures = watch.figures() | {"most_sent": most}
    return figures, figures["livez_ms"] <= 100 and figures["memory_mb"] <= 150


TRAINING = network([16, 16, 1], data={"dataset": "spiral"}, steps=10_000_000, log_every=1_000_000, optimizer=SGD)


async def neighbours(server: Server, seconds: float) -> tuple[Figures, bool]:
    """One key keeps 70 long trainings in flight. Another key's short requests are answered as if it were alone."""

    def keyed(key: str, path: str, body: object) -> bytes:
        return request(path, body).replace(b"host: service", f"host: service\r\nauthorization: Bearer {key}".encode(), 1)

    async def press() -> None:
        connection, sent = Connection(*address(server)), keyed("greedy", "/v1/networks/train", TRAINING)
        while True:
            try:
                status, _ = await connection.send(sent)
            except Lost:
                status = 0
            await asyncio.sleep(0.0 if status == 200 else 0.5)

    tasks = [asyncio.ensure_future(press()) for _ in range(70)]
    await asyncio.sleep(2.0)
    text = "+".join(f"sin(x*{k})" for k in range(100))
    shorts = {
        "inline": keyed("modest", "/v1/backward", {"expression": "x*y", "inputs": {"x": 2, "y": 3}}),
        "pool": keyed("modest", "/v1/backward", {"expression": text, "inputs": {"x": 2}}),
    }
    tallies = {name: Tally() for name in shorts}
    connection, until = Connection(*address(server)), time.perf_counter() + min(seconds, 30.0)
    while time.perf_counter() < until:
        for name, sent in shorts.items():
            await tallies[name].send(connection, sent, None)
        await asyncio.sleep(0.01)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    figures = {
        name: tally.latency() | {"right": tally.right, "wrong": tally.wrong + tally.put_off} for name, tally in tallies.items()
    }
    return figures, all(row["p99"] < 50.0 and not row["wrong"] for row in figures.values())


GROUP = Path("/sys/fs/cgroup/memory/autodiff-load")


async def small_machine(server: Server, seconds: float) -> tuple[Figures, bool]:
    """All of the requests, three at a time, in a control group of 1 GB: nothing is killed, and all are answered."""
    try:
        GROUP.mkdir(exist_ok=True)
        (GROUP / "memory.limit_in_bytes").write_text(str(10**9))
        (GROUP / "cgroup.procs").write_text(str(server.process.pid))
    except OSError as error:
        return {"skipped": f"no control group can be made here: {error}"}, True
    for name in REQUESTS:
        encoded(name)  # before the clock runs
    watch, statuses = Watch(server), []
    async with watch.while_running():
        names = [*REQUESTS] * 2
        for k in range(0, len(names), 3):
            rows = await asyncio.gather(*(ask(server, name) for name in names[k : k + 3]))
            statuses += [row["status"] for row in rows]
    figures = watch.figures() | {"statuses": {s: statuses.count(s) for s in set(statuses)}}
    return figures, server.process.poll() is None and not set(statuses) - {200, 413, 422, 503}


async def soak_beside(server: Server, seconds: float) -> tuple[Figures, bool]:
    """The soak, with each of the requests in turn beside it: no response is wrong or lost, and memory does not grow.

    Whole rounds of the requests are compared, since they differ in what they need: the round that is under way after two
    minutes, or the first of a shorter run, with the last one that is complete.
    """
    for name in REQUESTS:
        encoded(name)  # before the clock runs
    began, statuses, rounds = time.perf_counter(), Counter[int](), list[list[int]]()

    async def press() -> None:
        async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
            while True:
                rounds.append([])
                for name in REQUESTS:
                    content, headers = encoded(name)
                    response = await client.post(REQUESTS[name][0], content=content, headers=headers)
                    statuses[response.status_code] += 1
                    if time.perf_counter() - began > seconds:
                        return

    async def watch() -> int:
        process, at_two_minutes = Watch(server), 0
        while time.perf_counter() - began < seconds:
            rounds[-1].append(process.resident() >> 20)
            if time.perf_counter() - began < 120.0:
                at_two_minutes = len(rounds) - 1
            await asyncio.sleep(0.1)
        return at_two_minutes

    (figures, _), _, at_two_minutes = await asyncio.gather(soak(server, seconds), press(), watch())
    means = [mean(resident) for resident in rounds[:-1] or rounds if resident]
    early, late = means[min(at_two_minutes, len(means) - 1)], means[-1]
    memory = {
        "by_round": [round(value) for value in means],
        "growth": late / early,
        "most": max(mb for resident in rounds for mb in resident),
    }
    figures |= {"hostile": dict(statuses), "resident_mb": memory}
    right = not figures["wrong"] and not figures["lost"] and not set(statuses) - {200, 413, 422, 503}
    return figures, right and late <= 1.1 * early


SHORT = {"AUTODIFF_COMPUTE_TIMEOUT_S": f"{LIMIT_S:g}"}
KEYS = {"AUTODIFF_API_KEYS": "greedy,modest"}
HALF_A_GIGABYTE = {"AUTODIFF_MEMORY_BYTES": str(5 * 10**8)}
HOSTILE = {
    "requests": Scenario(requests, settings=SHORT),
    "requests of workers": Scenario(requests, flags=("--workers", "2"), settings=SHORT),
    "small machine": Scenario(small_machine, settings=SHORT | HALF_A_GIGABYTE),
    "unread": Scenario(unread, settings={"AUTODIFF_MEMORY_BYTES": str(15 * 10**8)}),
    "uploads": Scenario(uploads, settings=HALF_A_GIGABYTE),
    "silent": Scenario(silent, settings={"AUTODIFF_MAX_CONNECTIONS": "924"}),
    "heads": Scenario(heads),
    "neighbours": Scenario(neighbours, settings=KEYS),
    "soak beside": Scenario(soak_beside, settings={"AUTODIFF_COMPUTE_TIMEOUT_S": "10"}),
}
