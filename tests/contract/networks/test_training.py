"""POST /v1/networks/train: micrograd's published demo, digits, defaults and the history."""

import math
import time
from typing import Any

import httpx
import numpy as np
import pytest

from tests.contract.client import CheckedClient
from tests.contract.conftest import Post, Start
from tests.contract.networks.calls import MOONS, train
from tests.contract.service.processes import warm_up
from tests.contract.wire import LOCAL, json_of, label
from tests.nn.networks import SPEC, demo, parameters


def test_micrograds_demo_from_its_seeds(client: httpx.Client) -> None:
    """Dataset, model and training are three requests with the demo's sizes, seeds and hyperparameters."""
    published = demo()
    data = json_of(client.get("/v1/datasets/moons", params={"samples": 100, "noise": 0.1, "seed": 1337}))
    assert data["inputs"] == published["inputs"]
    assert data["targets"] == published["targets"]
    made = json_of(client.post("/v1/networks", json={"inputs": 2, "layers": [16, 16, 1], "seed": 1337}))
    assert parameters(made["model"]) == published["initial_parameters"]
    request = {
        "model": made["model"],
        "data": data,
        "loss": "max_margin",
        "l2": 1e-4,
        "optimizer": {"name": "sgd", "learning_rate": "1.0 - 0.9*step/100"},
        "steps": 100,
    }
    found = json_of(client.post("/v1/networks/train", json=request))
    assert found["stopped"] == "completed" and "detail" not in found
    assert [row["step"] for row in found["history"]] == list(range(100))
    for row, expected in zip(found["history"], published["history"], strict=True):
        assert row["loss"] == pytest.approx(expected["loss"], rel=0.0, abs=1e-12), row["step"]
        assert row["accuracy"] == expected["accuracy"], row["step"]
        assert row["learning_rate"] == pytest.approx(1.0 - 0.9 * row["step"] / 100, rel=1e-15)
        assert row["loss"] == row["data_loss"] + row["regularization_loss"]
    final = parameters(found["model"])
    assert final == pytest.approx(published["final_parameters"], rel=0.0, abs=1e-10)
    scores = json_of(client.post("/v1/networks/predict", json={"model": found["model"], "inputs": data["inputs"]}))["outputs"]
    assert sum((s > 0) == (t > 0) for (s,), t in zip(scores, published["targets"], strict=True)) == 100


def test_micrograds_demo_in_one_request(post: Post) -> None:
    data = {"dataset": "moons", "samples": 100, "noise": 0.1, "seed": 1337}
    spec = {"inputs": 2, "layers": [16, 16, 1], "activation": "relu", "init": "uniform", "seed": 1337}
    rate = {"learning_rate": "1.0 - 0.9*step/100"}
    found = train(post, model=spec, data=data, l2=1e-4, optimizer=rate, steps=100)
    assert parameters(found["model"]) == pytest.approx(demo()["final_parameters"], rel=0.0, abs=1e-10)


def test_digits_cross_validate_to_97_percent(client: httpx.Client) -> None:
    """Five times thirty epochs on four fifths of scikit-learn's digits."""
    data = json_of(client.get("/v1/datasets/digits"))
    inputs, targets = np.array(data["inputs"]) / 16, np.array(data["targets"])
    order = np.random.default_rng(0).permutation(len(inputs))
    right = 0
    for held_out in np.array_split(order, 5):
        kept = np.setdiff1d(order, held_out)
        request = {
            "model": {"inputs": 64, "layers": [32, 10], "init": "he", "seed": 0},
            "data": {"inputs": inputs[kept].tolist(), "targets": targets[kept].tolist()},
            "loss": "cross_entropy",
            "optimizer": {"name": "adam", "learning_rate": 0.01},
            "batch_size": 64,
            "steps": 30 * math.ceil(len(kept) / 64),
            "log_every": 100,
        }
        found = json_of(client.post("/v1/networks/train", json=request))
        assert found["stopped"] == "completed" and found["history"][-1]["accuracy"] > 0.95
        held = {"model": found["model"], "inputs": inputs[held_out].tolist()}
        scores = json_of(client.post("/v1/networks/predict", json=held))["outputs"]
        right += int((np.argmax(scores, axis=1) == targets[held_out]).sum())
    assert right / len(inputs) >= 0.97


def test_request_of_the_contract_and_its_defaults(post: Post) -> None:
    """Leaving out any field whose default the request states gives the same bytes."""
    data = {"inputs": [[1.0, 1.0], [0.5, -1.0]], "targets": [1, -1]}
    layers = [
        {"weights": [[0.1, -0.2], [0.3, 0.4]], "biases": [0.0, 0.0], "activation": "relu"},
        {"weights": [[0.5, -0.6]], "biases": [0.0], "activation": "linear"},
    ]
    request = {
        "model": {"layers": layers},
        "data": data,
        "loss": "max_margin",
        "l2": 0.0001,
        "optimizer": {"name": "sgd", "learning_rate": "1.0 - 0.9*step/100"},
        "steps": 100,
        "batch_size": None,
        "seed": 0,
        "log_every": 1,
        "state": None,
    }
    response = post("networks/train", **request)
    found = json_of(response)
    assert set(found) == {"model", "state", "history", "stopped"} and len(found["history"]) == 100
    # The scores are -0.6*0.7 and 0.5*0.25, so the margins are 1.42 and 1.125; the squares of the weights add up to 0.91.
    first = found["history"][0]
    assert first["data_loss"] == pytest.approx((1.42 + 1.125) / 2, rel=1e-15)
    assert first["regularization_loss"] == pytest.approx(0.91e-4, rel=1e-14)
    assert first["accuracy"] == 0.0 and first["learning_rate"] == 1.0
    for name in ("batch_size", "seed", "log_every", "state", "steps"):
        del request[name]
        assert post("networks/train", **request).content == response.content, name


@pytest.mark.parametrize(
    "optimizer",
    [{}, {"name": "sgd"}, {"learning_rate": None}, {"name": "sgd", "learning_rate": 0.001, "nesterov": False}],
    ids=label,
)
def test_default_optimizer_is_sgd(post: Post, optimizer: dict[str, Any]) -> None:
    body: dict[str, Any] = {"model": SPEC, "data": MOONS, "loss": "mse", "steps": 5}
    plain = post("networks/train", **body)
    assert plain.status_code == 200 and post("networks/train", optimizer=optimizer, **body).content == plain.content


@pytest.mark.parametrize(
    ("steps", "every", "expected"),
    [(5, 1, [0, 1, 2, 3, 4]), (10, 4, [0, 4, 8, 9]), (9, 4, [0, 4, 8]), (1, 50, [0]), (7, 50, [0, 6])],
    ids=label,
)
def test_log_every_thins_the_history_and_keeps_the_last_step(post: Post, steps: int, every: int, expected: list[int]) -> None:
    found = train(post, steps=steps, log_every=every)
    assert [row["step"] for row in found["history"]] == expected
    assert set(found["history"][0]) == {"step", "loss", "data_loss", "regularization_loss", "accuracy", "learning_rate"}


def test_accuracy_is_absent_for_regression(post: Post) -> None:
    found = train(post, loss="mse", data={"inputs": [[1, 2]], "targets": [3]}, steps=1)
    assert "accuracy" not in found["history"][0]


@pytest.mark.skipif(not LOCAL, reason="starts servers of its own")
@pytest.mark.alone
def test_training_at_the_deadline_equals_as_many_steps(start: Start) -> None:
    server = start(AUTODIFF_COMPUTE_TIMEOUT_S="1")
    warm_up(server)
    body: dict[str, Any] = {"model": SPEC, "data": MOONS, "loss": "max_margin", "optimizer": {"name": "adam"}, "batch_size": 7}
    with CheckedClient(base_url=server.url, timeout=30) as client:

        def send(**more: Any) -> Any:
            return json_of(client.post("/v1/networks/train", json={**body, "log_every": 10**6, **more}))

        began = time.perf_counter()
        found = send(steps=10**8)
        assert time.perf_counter() - began < 5.0
        assert found["stopped"] == "deadline" and str(10**8) in found["detail"]
        done = found["state"]["step"]
        assert 0 < done < 10**8 and found["history"][-1]["step"] == done - 1
        if done < 200_000:  # more would take too long to repeat
            half = send(steps=done // 2)  # in two halves, so that a slower moment does not meet the deadline again
            whole = send(steps=done - done // 2, model=half["model"], state=half["state"])
            assert whole["stopped"] == "completed" and whole["model"] == found["model"] and whole["state"] == found["state"]
        part = send(steps=100)
        rest = send(steps=10**8, model=part["model"], state=part["state"])
        assert rest["stopped"] == "deadline" and rest["state"]["step"] > 100
