"""The service on two Ray nodes of this machine, while a replica is killed, beside two workers of a plain server."""

import asyncio
import os
import random
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import psutil

from tests.conftest import Server
from tests.load.client import Connection, Tally, milliseconds
from tests.load.scenarios import Figures, Scenario, address, mixed

CLIENTS = 16
REQUESTS = 5000
Work = list[tuple[bytes, bytes, int]]


@contextmanager
def cluster() -> Iterator[tuple[str, int]]:
    """Two Ray nodes with a core and a replica each. Yields host and port of the proxy."""
    import ray
    from ray import serve
    from ray.cluster_utils import Cluster

    from app.deploy.ray_serve import app

    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = int(found.getsockname()[1])
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        nodes.add_node(num_cpus=1)
        nodes.wait_for_nodes()
        ray.init(address=nodes.address, log_to_driver=False)
        serve.start(proxy_location="HeadOnly", http_options={"host": "127.0.0.1", "port": port})
        serve.run(app({"min_replicas": 2, "max_replicas": 2}))
        yield "127.0.0.1", port
        serve.shutdown()
    finally:
        ray.shutdown()
        nodes.shutdown()


def replicas() -> set[int]:
    """The process ids of the replicas, which are among the descendants of this process."""
    found = set()
    for process in psutil.Process().children(recursive=True):
        try:
            if process.name().startswith("ray::ServeRepl") and process.status() != psutil.STATUS_ZOMBIE:
                found.add(process.pid)
        except psutil.Error:
            continue
    return found


async def work_through(host: str, port: int, work: Work, count: int) -> tuple[Tally, int, float]:
    """Send requests on 16 connections, each again if it failed. Return their tally, how many were sent again, and the time."""
    tally, again, left = Tally(), 0, iter(range(count))
    draw = random.Random(0)

    async def client() -> None:
        nonlocal again
        connection = Connection(host, port)
        for _ in left:
            sent, expected, status = draw.choice(work)
            first = Tally()
            found = await first.send(connection, sent, expected, status)
            if found is None or found >= 500:
                again += 1
                connection.close()
                await tally.send(connection, sent, expected, status)
            else:
                tally.right, tally.wrong = tally.right + first.right, tally.wrong + first.wrong
            tally.seconds += first.seconds
        connection.close()

    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return tally, again, time.perf_counter() - began


def described(tally: Tally, again: int, seconds: float) -> Figures:
    """The figures of a load."""
    figures: Figures = {"per_second": round(tally.right / seconds), "p99_ms": milliseconds(tally.seconds)["p99"]}
    lost = tally.lost + tally.refused + tally.put_off
    return figures | {"right": tally.right, "wrong": tally.wrong, "lost": lost, "sent_again": again}


async def killed_replica(server: Server, seconds: float) -> tuple[Figures, bool]:
    """5,000 requests to two workers; 5,000 to two replicas; and 5,000 while one of the replicas is killed and comes back."""
    work = mixed(server)
    await work_through(*address(server), work, REQUESTS // 10)
    figures: Figures = {"workers": described(*await work_through(*address(server), work, REQUESTS))}
    with cluster() as (host, port):
        while len(replicas()) < 2 or httpx.get(f"http://{host}:{port}/readyz").status_code != 200:
            await asyncio.sleep(0.1)
        before = replicas()
        await work_through(host, port, work, REQUESTS // 10)
        figures["replicas"] = described(*await work_through(host, port, work, REQUESTS))
        load = asyncio.ensure_future(work_through(host, port, work, REQUESTS))
        await asyncio.sleep(1.0)
        os.kill(min(before), signal.SIGKILL)
        gone = time.perf_counter()
        while replicas() >= before or len(replicas()) < 2 and time.perf_counter() < gone + 120:
            await asyncio.sleep(0.2)
        seconds = time.perf_counter() - gone
        figures["killed"] = described(*await load) | {"process_back_after_s": round(seconds, 1)}
        back = len(replicas()) == 2 and replicas() != before
    parts: list[Any] = [figures[name] for name in ("workers", "replicas", "killed")]
    return figures, back and all(part["right"] == REQUESTS and not part["wrong"] and not part["lost"] for part in parts)


CLUSTER = {"ray": Scenario(killed_replica, flags=("--workers", "2"))}
"""Not among those that run by default, because Ray is an extra."""
