"""A soak: 64 connections of mixed work for a minute, with large graphs beside them; every answer is compared.

    python -m tests.load.soak [--url http://127.0.0.1:8000] [--seconds 60] [--connections 64]

Prints the number of answers, the wrong and the lost ones, and the latency of the small requests. Ends with 1 if any answer
was wrong or lost. Not a test: it measures, and takes its time.
"""

import argparse
import asyncio
import json
import random
import time
from concurrent.futures import ProcessPoolExecutor

import httpx

LARGE_NODES = 200_000
LARGE_EVERY = 0.5


XY = {"x": 2, "y": 3}
NEURON = {"layers": [{"weights": [[2, 3]], "biases": [1]}]}
DEMO = {"model": {"inputs": 2, "layers": [4, 1], "seed": 1}, "data": {"dataset": "xor"}, "loss": "mse", "steps": 5}
SMALL: list[tuple[str, dict[str, object], dict[str, object]]] = [
    ("/v1/forward", {"expression": "x**2 + 3*x", "inputs": {"x": 2}}, {"value": 10.0}),
    ("/v1/backward", {"expression": "x*y", "inputs": XY}, {"gradients": {"x": 3.0, "y": 2.0}}),
    ("/v1/backward", {"expression": "w*x", "inputs": {"x": [1, 2], "w": 3}}, {"value": [3.0, 6.0]}),
    ("/v1/jvp", {"expression": "x*x", "inputs": {"x": 4}, "tangents": {"x": 1}}, {"tangent": 8.0}),
    ("/v1/hvp", {"expression": "x*y", "inputs": XY, "tangents": {"x": 1}}, {"hvp": {"x": 0.0, "y": 1.0}}),
    ("/v1/backward", {"expression": "x +"}, {"type": "/problems/syntax-error"}),
    ("/v1/networks/predict", {"model": NEURON, "inputs": [[1, 1]]}, {"outputs": [[6.0]]}),
    ("/v1/networks/train", DEMO, {"stopped": "completed"}),
]
"""(path, body, what the answer must hold), each known in closed form."""


def large() -> bytes:
    """A chain x, x + 1, x + 2, ... whose gradient by x is 1."""
    nodes: list[dict[str, object]] = [{"id": "n0", "op": "value", "data": 0.0}]
    nodes += [{"id": f"n{k}", "op": "add", "args": [f"n{k - 1}", 1]} for k in range(1, LARGE_NODES)]
    graph = {"nodes": nodes, "output": f"n{LARGE_NODES - 1}"}
    return json.dumps({"expression": graph, "wrt": ["n0"]}).encode()


def ask_large(url: str, seconds: float) -> tuple[int, int]:
    """Posts the large graph twice a second; the number of answers, and of wrong ones."""
    body = large()
    until = time.monotonic() + seconds
    asked = wrong = 0
    with httpx.Client(base_url=url, timeout=60) as client:
        while time.monotonic() < until:
            began = time.monotonic()
            answer = client.post("/v1/backward", content=body, headers={"Content-Type": "application/json"}).json()
            wrong += answer.get("value") != LARGE_NODES - 1.0 or answer.get("gradients") != {"n0": 1.0}
            asked += 1
            time.sleep(max(0.0, LARGE_EVERY - (time.monotonic() - began)))
    return asked, wrong


async def main() -> int:
    """Runs the soak and prints what came of it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--pause", type=float, default=0.1, help="seconds that a connection rests between two requests")
    flags = parser.parse_args()
    until = time.perf_counter() + flags.seconds
    latencies: list[float] = []
    counts = {"right": 0, "wrong": 0, "lost": 0, "large": 0}

    def judge(answer: dict[str, object], part: dict[str, object]) -> None:
        right = all(answer.get(key) == value for key, value in part.items())
        counts["right" if right else "wrong"] += 1

    async def ask(client: httpx.AsyncClient, number: int) -> None:
        draw = random.Random(number)
        while time.perf_counter() < until:
            path, body, part = draw.choice(SMALL)
            began = time.perf_counter()
            try:
                answer = await client.post(path, json=body)
            except httpx.HTTPError:
                counts["lost"] += 1
                continue
            latencies.append(time.perf_counter() - began)
            judge(answer.json(), part)
            await asyncio.sleep(draw.uniform(0, 2 * flags.pause))

    limits = httpx.Limits(max_connections=flags.connections + 1)
    async with httpx.AsyncClient(base_url=flags.url, timeout=60, limits=limits) as client:
        with ProcessPoolExecutor(1) as beside:  # a process of its own, as sending much would keep the small ones waiting here
            large_ones = asyncio.get_running_loop().run_in_executor(beside, ask_large, flags.url, flags.seconds)
            await asyncio.gather(*(ask(client, k) for k in range(flags.connections)))
            counts["large"], wrong = await large_ones
            counts["wrong"] += wrong
    latencies.sort()
    shares = {f"p{share:g}": round(1e3 * latencies[int(len(latencies) * share / 100) - 1], 1) for share in (50, 90, 99, 99.9)}
    print(json.dumps({**counts, "per_second": round(len(latencies) / flags.seconds), "small_ms": shares}))
    return 1 if counts["wrong"] or counts["lost"] else 0


if __name__ == "__main__":
    raise SystemExit(asyncio.run(main()))
