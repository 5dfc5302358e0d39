"""Many trainings at once."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.nn.networks import OPTIMIZERS

pytestmark = pytest.mark.alone


def test_a_thousand_concurrent_trainings_give_the_bytes_of_lone_ones(client: httpx.Client) -> None:
    """Sixteen clients send 1,000 requests of many kinds."""
    bodies: list[dict[str, Any]] = []
    for k, optimizer in enumerate(OPTIMIZERS.values()):
        moons = {"dataset": "moons", "samples": 20 + 5 * k, "noise": 0.1, "seed": k}
        spec = {"inputs": 2, "layers": [16, 16, 1], "activation": ["relu", "tanh", "gelu"][k % 3], "seed": 1337 + k}
        body = {"model": spec, "data": moons, "loss": ["max_margin", "mse", "huber"][k % 3], "optimizer": optimizer}
        bodies.append({**body, "steps": 15 + k, "batch_size": [None, 8][k % 2], "seed": k})
    iris = {"model": {"inputs": 4, "layers": [8, 3], "init": "xavier"}, "data": {"dataset": "iris"}, "loss": "cross_entropy"}
    bodies.append({**iris, "steps": 20, "batch_size": 32, "optimizer": {"name": "adam"}})
    bodies.append({**bodies[0], "loss": {"expression": "log(cosh(score - target))"}, "l2": 0.01})
    bodies.append({**bodies[0], "optimizer": {"learning_rate": 1e9}, "l2": 1e-3, "steps": 200})
    contents = [json.dumps(body).encode() for body in bodies]
    headers = {"Content-Type": "application/json"}

    def send(k: int) -> tuple[int, bytes]:
        response = client.post("/v1/networks/train", content=contents[k], headers=headers)
        return response.status_code, response.content

    alone = [send(k) for k in range(len(contents))]
    assert [status for status, _ in alone] == [200] * len(contents)
    assert len({content for _, content in alone}) == len(contents)
    with ThreadPoolExecutor(16) as pool:
        for k, found in enumerate(pool.map(send, [k % len(contents) for k in range(1000)])):
            assert found == alone[k % len(contents)], bodies[k % len(contents)]
