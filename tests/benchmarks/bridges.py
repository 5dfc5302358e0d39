"""The bridges: requests per second of UM-Bridge, beside those of /v1 and of that project's own server in Python."""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx

from tests.benchmarks.measure import OURS, Row
from tests.benchmarks.service import answering, wrk
from tests.conftest import Server

ROSENBROCK = "(1 - x)**2 + 100*(y - x**2)**2"
POINT = [-1.2, 1.0]
GRADIENT = [-215.6, -88.0]
V1 = "/v1/backward"
PEER = "umbridge's server"
ROUNDS = 5
PORT = 4342

OWN_SERVER = f"""
import umbridge

class Rosenbrock(umbridge.Model):
    def __init__(self):
        super().__init__("expression")
    def get_input_sizes(self, config):
        return [2]
    def get_output_sizes(self, config):
        return [1]
    def supports_evaluate(self):
        return True
    def supports_gradient(self):
        return True
    def __call__(self, parameters, config):
        x, y = parameters[0]
        return [[(1 - x)**2 + 100*(y - x**2)**2]]
    def gradient(self, out_wrt, in_wrt, parameters, sens, config):
        x, y = parameters[0]
        return [sens[0]*(-2*(1 - x) - 400*x*(y - x**2)), sens[0]*200*(y - x**2)]

umbridge.serve_models([Rosenbrock()], {PORT})
"""
"""The function with a gradient written by hand, as that project's documentation shows."""


@contextmanager
def own_server(folder: Path) -> Iterator[str]:
    """The address of UM-Bridge's own server in Python."""
    with (folder / "peer.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-c", OWN_SERVER], stdout=log, stderr=log)
    url = f"http://127.0.0.1:{PORT}"
    with answering(process, f"{url}/Info"):
        yield url


def bridges() -> Iterator[Row]:
    """UM-Bridge's two most frequent operations on Rosenbrock's function."""
    for needed, there in (("wrk", shutil.which("wrk")), ("umbridge", find_spec("umbridge"))):
        if there is None:
            print(f"{needed} is not installed: no figure for the bridges", file=sys.stderr)
            return
    v1 = {"expression": ROSENBROCK, "inputs": {"x": POINT[0], "y": POINT[1]}}
    evaluate: dict[str, Any] = {"name": "expression", "input": [POINT], "config": {"expression": ROSENBROCK}}
    gradient = {**evaluate, "outWrt": 0, "inWrt": 0, "sens": [1.0]}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        server = Server(folder / "log", environment=dict(os.environ))
        server.wait_until_ready()
        time.sleep(2.0)  # for what is loaded behind readiness
        try:
            with own_server(folder) as peer:
                for url in (f"{server.url}/umbridge", peer):
                    found = httpx.post(f"{url}/Gradient", json=gradient).json()["output"]
                    assert all(abs(a - b) < 1e-9 for a, b in zip(found, GRADIENT, strict=True)), (url, found)
                targets: dict[str, tuple[str, Any]] = {V1: (server.url + V1, v1)}
                for operation, body in (("Evaluate", evaluate), ("Gradient", gradient)):
                    targets[operation] = (f"{server.url}/umbridge/{operation}", body)
                    targets[f"{PEER} {operation}"] = (f"{peer}/{operation}", body)
                rates: dict[str, list[float]] = {what: [] for what in targets}
                for _ in range(ROUNDS):
                    for what, (url, body) in targets.items():
                        rates[what].append(wrk(url, body, folder))
        finally:
            server.stop()
    rate = {what: statistics.median(found) for what, found in rates.items()}
    for operation in ("Evaluate", "Gradient"):
        theirs = rate[f"{PEER} {operation}"]
        note = f"{rate[operation]:.0f}, {rate[V1]:.0f} and {theirs:.0f} requests per second"
        seconds = {OURS: 1 / rate[operation], V1: 1 / rate[V1], PEER: 1 / theirs}
        yield Row(f"POST /umbridge/{operation}, Rosenbrock, 16 connections", seconds, {V1: 1 / 0.9, PEER: 1.0}, note=note)
