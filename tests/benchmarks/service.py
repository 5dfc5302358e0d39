"""The service: requests a second beside a bare route, round trips beside reading the body, memory, and time to ready."""

import base64
import contextlib
import http.client
import json
import math
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from app.engine import transforms
from app.engine.points import Reduce
from app.engine.tape import record
from app.engine.text import parse
from app.nn import MLP, datasets, losses, optimizers, training
from app.nn.training import TrainingOptions
from tests.benchmarks.expressions import POINTS, mixed
from tests.benchmarks.measure import OURS, Contestant, Row, forget, peak, race
from tests.conftest import Server

SEVEN = {
    "expression": {
        "nodes": [
            {"id": "w", "op": "value", "data": 0.5}, {"id": "x", "op": "value", "data": 2},
            {"id": "b", "op": "value", "data": 0.1}, {"id": "m", "op": "mul", "args": ["w", "x"]},
            {"id": "s", "op": "add", "args": ["m", "b"]}, {"id": "h", "op": "tanh", "args": ["s"]},
            {"id": "y", "op": "pow", "args": ["h", 2]},
        ],
        "output": "y",
    }
}  # fmt: skip
TEXT = {"expression": "h = tanh(w*x + b); (h - y)**2", "inputs": {"w": 0.5, "x": 2, "b": -1, "y": 1}}
FRESH = {**TEXT, "expression": f"{TEXT['expression']} + NEW"}
BARE = """
from fastapi import FastAPI
app = FastAPI()

@app.post("/constant")
async def constant():
    return {"output": "y", "value": 24.7, "gradients": {"w": 1.0, "x": 2.0}}
"""
MOVER = """
async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    size = int(scope["path"][1:])
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % size)]})
    piece = bytes(1 << 18)
    for low in range(0, size, len(piece)):
        more = low + len(piece) < size
        await send({"type": "http.response.body", "body": piece[: size - low], "more_body": more})
"""
"""An ASGI application that receives a body and sends as many bytes as its path says."""

DEMO = {
    "model": {"inputs": 2, "layers": [16, 16, 1], "seed": 1337},
    "data": {"dataset": "moons", "samples": 100, "noise": 0.1, "seed": 1337},
    "loss": "max_margin",
    "l2": 0.0001,
    "steps": 100,
    "optimizer": {"name": "sgd", "learning_rate": "1.0 - 0.9*step/100"},
}


@contextlib.contextmanager
def answering(process: subprocess.Popen[bytes], url: str) -> Iterator[None]:
    """Wait until a server answers at a URL, and end it afterwards."""
    try:
        for _ in range(200):
            try:
                httpx.get(url)
                break
            except httpx.TransportError:
                time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(10)


@contextlib.contextmanager
def uvicorn_running(source: str, folder: Path) -> Iterator[str]:
    """The URL of another application, whose source this is, behind the same server."""
    (folder / "other.py").write_text(source)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "other:app", "--port", str(port), "--log-level", "warning", "--no-access-log"]
    with answering(subprocess.Popen(command, cwd=folder), f"http://127.0.0.1:{port}/1"):
        yield f"http://127.0.0.1:{port}"


def wrk(url: str, body: Any, folder: Path) -> float:
    """Requests per second, sent by another process over 16 connections. In each, NEW becomes another number."""
    script = folder / "post.lua"
    text = json.dumps(body)
    before, new, after = text.partition("NEW")
    lines = ["wrk.method = 'POST'", "wrk.headers['content-type'] = 'application/json'", f"wrk.body = [==[{text}]==]"]
    if new:
        made = f"return wrk.format(nil, nil, nil, [==[{before}]==] .. count .. [==[{after}]==])"
        lines += ["count = 0", f"request = function() count = count + 1; {made} end"]
    script.write_text("\n".join(lines))
    ran = subprocess.run(["wrk", "-t1", "-c16", "-d2", "-s", str(script), url], capture_output=True, text=True, check=True)
    assert "Non-2xx" not in ran.stdout, ran.stdout
    return float(ran.stdout.split("Requests/sec:")[1].split()[0])


def requests(server: Server, folder: Path) -> Iterator[Row]:
    """Small requests that repeat, one worker, beside a bare FastAPI route that returns a constant."""
    if shutil.which("wrk") is None:
        print("wrk is not installed: no figure for requests per second", file=sys.stderr)
        return
    answer = httpx.post(f"{server.url}/v1/backward", json=SEVEN).json()
    assert abs(answer["gradients"]["x"] - math.tanh(1.1) / math.cosh(1.1) ** 2) < 1e-15, answer
    rates: dict[str, list[float]] = {"graph": [], "text": [], "fresh": [], "bare": []}
    with uvicorn_running(BARE, folder) as bare:
        for _ in range(5):
            rates["graph"].append(wrk(f"{server.url}/v1/backward", SEVEN, folder))
            rates["text"].append(wrk(f"{server.url}/v1/backward", TEXT, folder))
            rates["fresh"].append(wrk(f"{server.url}/v1/backward", FRESH, folder))
            rates["bare"].append(wrk(f"{bare}/constant", SEVEN, folder))
    rate = {name: statistics.median(found) for name, found in rates.items()}
    rows = (("graph of 7 nodes", "graph", 0.55), ("text that repeats", "text", 0.55), ("text that is new", "fresh", 0.5))
    for what, name, least in rows:
        seconds = {OURS: 1 / rate[name], "bare FastAPI route": 1 / rate["bare"]}
        note = f"{rate[name]:.0f} and {rate['bare']:.0f} requests per second, {rate[name] / rate['bare']:.2f} of the rate"
        yield Row(f"POST /v1/backward, {what}, 16 connections", seconds, {"bare FastAPI route": 1 / least}, note=note)


def workers(folder: Path) -> Iterator[Row]:
    """Small requests that repeat, one worker beside two on this machine, where wrk runs too."""
    if shutil.which("wrk") is None:
        return
    servers = [Server(folder / f"workers{count}", "--workers", str(count), environment=dict(os.environ)) for count in (1, 2)]
    try:
        for server in servers:
            server.wait_until_ready()
        time.sleep(4.0)  # for what is loaded behind readiness
        rates: list[list[float]] = [[], []]
        for _ in range(5):
            for server, found in zip(servers, rates, strict=True):
                found.append(wrk(f"{server.url}/v1/backward", TEXT, folder))
    finally:
        for server in servers:
            server.stop()
    one, two = map(statistics.median, rates)
    note = f"{two:.0f} and {one:.0f} requests per second, {two / one:.2f} times the rate"
    yield Row("POST /v1/backward, text that repeats, two workers", {OURS: 1 / two, "one": 1 / one}, {"one": 1 / 1.5}, note=note)


def round_trips(server: Server, size: int) -> Iterator[Row]:
    """A large graph there and back beside reading its body with `json.loads`; and a training beside the training itself."""
    program = mixed(size)
    graph = program.graph()
    nodes = [
        {"id": n.id, "op": n.op, "data": n.data} if n.op == "value" else {"id": n.id, "op": n.op, "args": list(n.args)}
        for n in graph.nodes
    ]
    headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
    with httpx.Client(base_url=server.url, headers=headers, timeout=60) as client:
        for what, more, target in (("one gradient", {"wrt": ["n0"]}, 1.5), ("all gradients", {}, 2.0)):
            body = json.dumps({"expression": {"nodes": nodes, "output": "out"}, **more}).encode()

            def ask(body: bytes = body) -> Any:
                return client.post("/v1/backward", content=body)

            assert len(ask().json()["gradients"]) == (1 if more else len(nodes))
            contestants = {OURS: Contestant(ask), "json.loads of the body": Contestant(partial(json.loads, body))}
            yield race(f"POST /v1/backward, {size:,} nodes, {what}", contestants, {"json.loads of the body": target}, repeats=7)
            idle = forget(server.process.pid)
            ask()
            seconds = {OURS: (peak(server.process.pid) - idle) / len(body), "the body": 1.0}
            yield Row(
                f"memory for it, {what}, times the body's {len(body) / 1e6:.1f} MB", seconds, {"the body": 12.0}, unit="times"
            )
        data = datasets.load("moons", 100, 0.1, 1337)
        model, targets = MLP(2, [16, 16, 1], seed=1337), data.targets[:, None]
        loss, optimizer = losses.named("max_margin"), optimizers.make("sgd", parse("1.0 - 0.9*step/100"))

        def itself() -> Any:
            return training.train(model, data.inputs, targets, TrainingOptions(loss, optimizer, 100, l2=1e-4))

        def over_http() -> Any:
            return client.post("/v1/networks/train", json=DEMO)

        assert over_http().json()["history"][-1]["loss"] == itself().history[-1].loss
        contestants = {OURS: Contestant(over_http), "the training itself": Contestant(itself)}
        yield race("POST /v1/networks/train, the demo's 100 steps", contestants, {"the training itself": 3.0})
    tape = record(graph.wiring)
    arrays = (tape.code, tape.source, tape.numbers, tape.slot)
    walked = tape.slots * 16 + len(tape.code) * 24
    count = len(tape.code) + tape.leaves
    seconds = {OURS: (sum(array.nbytes for array in arrays) + walked) / count, "a byte": 1.0}
    yield Row("bytes an instruction of the tape and its walk", seconds, {"a byte": 64.0}, unit="bytes")


def posted(url: str, path: str, body: bytes) -> bytes:
    """The response to a POST, by a client that costs next to nothing beside the service."""
    address = url.removeprefix("http://").split(":")
    connection = http.client.HTTPConnection(address[0], int(address[1]), timeout=60)
    connection.request("POST", path, body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    content = response.read()
    connection.close()
    assert response.status == 200, content[:1000]
    return content


def encoded(numbers: Any) -> dict[str, str]:
    """A list of numbers in base64."""
    return {"float64": base64.b64encode(numbers.tobytes()).decode()}


def points(server: str, mover: str, count: int) -> Iterator[Row]:
    """Many points over HTTP: in base64 beside the engine on arrays, and as lists beside `json.loads` of the request.

    `mover` is the URL of MOVER.
    """
    graph, names = parse(POINTS), ("a", "b", "c", "d", "e2")
    rng = np.random.default_rng(0)
    lists: dict[str, Any] = {name: rng.uniform(-1.0, 1.0, count) for name in names}
    one: dict[str, Any] = {**lists, **dict.fromkeys(names[1:], 0.5)}
    cases: tuple[tuple[str, dict[str, Any], Reduce, float], ...] = (
        ("none", lists, "none", 2.5),
        ("sum, gradients by lists", lists, "sum", 1.5),
        ("sum, gradients by numbers", one, "sum", 1.5),
    )
    for what, inputs, reduce, target in cases:
        wrt = [name for name in names if inputs is lists or name != "a"]
        given = {name: encoded(column) if isinstance(column, np.ndarray) else column for name, column in inputs.items()}
        request = {"expression": POINTS, "wrt": wrt, "inputs": given, "reduce": reduce, "arrays": "base64"}
        body = json.dumps(request).encode()
        engine = partial(transforms.backward, graph, inputs, wrt, reduce=reduce)
        gradients = json.loads(posted(server, "/v1/backward", body))["gradients"]
        for name, column in engine().gradients.items():
            assert gradients[name] == (encoded(column) if isinstance(column, np.ndarray) else column), name
        sent = len(posted(server, "/v1/backward", body))
        contestants = {
            OURS: Contestant(partial(posted, server, "/v1/backward", body)),
            "the engine": Contestant(engine),
            "moving the bytes": Contestant(partial(posted, mover, f"/{sent}", body)),
        }
        title = f"POST /v1/backward, {count:,} points, base64, reduce {what}"
        yield race(title, contestants, {"the engine": target}, repeats=5)
    numbers = {"a": lists["a"].tolist(), **dict.fromkeys(names[1:], 0.5)}
    body = json.dumps({"expression": POINTS, "wrt": ["a"], "inputs": numbers}).encode()
    contestants = {
        OURS: Contestant(partial(posted, server, "/v1/backward", body)),
        "json.loads of the body": Contestant(partial(json.loads, body)),
    }
    title = f"POST /v1/backward, {count:,} points of one input, lists"
    yield race(title, contestants, {"json.loads of the body": 1.0}, repeats=5)


def many_points(count: int) -> Iterator[Row]:
    """`points` with a server of its own."""
    with tempfile.TemporaryDirectory() as name:
        server = Server(Path(name) / "log", environment=dict(os.environ))
        server.wait_until_ready()
        time.sleep(2.0)  # for what is loaded behind readiness
        try:
            with uvicorn_running(MOVER, Path(name)) as mover:
                yield from points(server.url, mover, count)
        finally:
            server.stop()


def starts(folder: Path) -> Iterator[Row]:
    """From the start of the process to its first gradient and to ready: with the machine code there, and without."""
    for what, most in (("cold", 12.0), ("warm", 1.5)):
        found = []
        for k in range(1 if what == "cold" else 5):
            server = Server(folder / f"start{k}", environment={"AUTODIFF_CACHE_DIR": str(folder / "kernels")})
            if what == "cold":
                httpx.post(f"{server.url}/v1/backward", json=TEXT, timeout=180).raise_for_status()
                first = time.perf_counter() - server.began
                yield Row("start to the first gradient, cold", {OURS: first, "a second": 1.0}, {"a second": 6.0})
            found.append(server.wait_until_ready())
            server.stop()
        yield Row(f"start to ready, {what}", {OURS: statistics.median(found), "a second": 1.0}, {"a second": most})


def service(size: int) -> Iterator[Row]:
    """All of it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        server = Server(folder / "log", environment=dict(os.environ))
        server.wait_until_ready()
        time.sleep(2.0)  # for what is loaded behind readiness
        try:
            yield from requests(server, folder)
            yield from round_trips(server, size)
        finally:
            server.stop()
        yield from workers(folder)
        yield from starts(folder)
