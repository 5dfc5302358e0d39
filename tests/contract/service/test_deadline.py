"""The time limit of a computation."""

import time

import pytest

from tests.contract import client as http
from tests.contract.conftest import Start
from tests.contract.service.processes import LONG_TRAINING, warm_up
from tests.contract.wire import LOCAL, problem

pytestmark = [pytest.mark.alone, pytest.mark.skipif(not LOCAL, reason="starts servers of its own")]


def test_training_at_the_deadline_returns_the_model_so_far(start: Start) -> None:
    """It can be resumed from there. Other work is abandoned with a 503."""
    server = start(AUTODIFF_COMPUTE_TIMEOUT_S="0.3")
    warm_up(server)
    began = time.monotonic()
    trained = http.post(f"{server.url}/v1/networks/train", json=LONG_TRAINING).json()
    assert trained["stopped"] == "deadline" and 0 < trained["state"]["step"] < LONG_TRAINING["steps"]
    assert time.monotonic() - began < 5
    more = {**LONG_TRAINING, "model": trained["model"], "state": trained["state"], "steps": 1}
    assert http.post(f"{server.url}/v1/networks/train", json=more).json()["state"]["step"] == trained["state"]["step"] + 1

    inputs = {f"x{k}": 1.0 for k in range(3000)}
    expensive = {"expression": "sum(" + ",".join(f"sin({name})" for name in inputs) + ")", "inputs": inputs}
    abandoned = http.post(f"{server.url}/v1/check", json=expensive)
    problem(abandoned, "deadline-exceeded", 503)
    assert abandoned.headers["retry-after"]


WIDE = {"expression": "sum(" + ",".join(f"sin(x{k})" for k in range(160)) + ")", "inputs": {f"x{k}": k / 9 for k in range(160)}}
PICTURES = {
    "graph": ("/v1/graph", WIDE),
    "history": ("/v1/networks/history", {"history": [{"step": k, "loss": 1 / (1 + k)} for k in range(5000)]}),
    "boundary": (
        "/v1/networks/decision-boundary",
        {"model": {"inputs": 2, "layers": [1000, 1000, 1]}, "data": {"dataset": "moons"}},
    ),
}


@pytest.mark.parametrize("name", PICTURES)
def test_picture_at_the_deadline_is_abandoned(start: Start, name: str) -> None:
    server = start(AUTODIFF_COMPUTE_TIMEOUT_S="0.02")
    path, body = PICTURES[name]
    began = time.monotonic()
    abandoned = http.post(f"{server.url}{path}", json=body, headers={"Accept": "image/svg+xml"})
    assert time.monotonic() - began < 2.5
    problem(abandoned, "deadline-exceeded", 503)
