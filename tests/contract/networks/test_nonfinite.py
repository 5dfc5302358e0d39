"""Trainings that become NaN or infinite stop with the last finite model."""

import math
from typing import Any

import pytest

from tests.contract.conftest import Post
from tests.contract.networks.calls import MOONS, train
from tests.contract.wire import json_of
from tests.nn.networks import MODEL, parameters
from tests.rows import for_each


@for_each("every", [1, 10, 1000])
@for_each("loss", ["max_margin", "mse", "huber"])
@for_each("optimizer", [{"name": "sgd"}, {"name": "sgd", "momentum": 0.9}, {"name": "adam"}])
def test_diverging_training_returns_the_last_finite_model(post: Post, optimizer: dict[str, Any], loss: str, every: int) -> None:
    body: dict[str, Any] = {
        "model": {"inputs": 2, "layers": [8, 8, 8, 1], "seed": 1},
        "data": MOONS,
        "loss": loss,
        "l2": 1e-4,
        "optimizer": optimizer | {"learning_rate": 1e9 if optimizer["name"] == "sgd" else "1e9*10**step"},
        "steps": 1000,
        "log_every": every,
    }
    response = post("networks/train", **body)
    assert b"null" not in response.content
    found = json_of(response)
    assert found["stopped"] == "non-finite" and found["detail"]
    last = found["history"][-1]["step"]
    assert f"step {last}" in found["detail"] or f"step {last + 1}" in found["detail"]
    assert found["state"]["step"] == last
    assert [row["step"] for row in found["history"]] == sorted({*range(0, last, every), last})
    assert all(math.isfinite(number) for row in found["history"] for number in row.values())
    assert all(map(math.isfinite, parameters(found["model"])))

    # The loss of the last finite model is that of the last row, and the training can be resumed with a smaller rate.
    again = json_of(post("networks/backward", model=found["model"], data=MOONS, loss=loss, l2=1e-4))
    assert again["loss"] == found["history"][-1]["loss"]
    rest = body | {"model": found["model"], "state": found["state"], "optimizer": optimizer | {"learning_rate": 0.0}}
    rest |= {"steps": 3, "log_every": 1}
    resumed = json_of(post("networks/train", **rest))
    assert resumed["history"][0]["step"] == last and resumed["history"][0]["loss"] == found["history"][-1]["loss"]
    if resumed["stopped"] == "completed":
        assert resumed["state"]["step"] == last + 3
    else:  # Adam squares the gradient of that very step, which may overflow at any rate
        assert optimizer["name"] == "adam"
        assert resumed["state"] == found["state"] and resumed["model"] == found["model"]


def test_learning_rate_that_is_not_finite_is_named(post: Post) -> None:
    found = train(post, optimizer={"learning_rate": "0.1/(step - 5)"}, steps=20)
    assert found["stopped"] == "non-finite"
    assert "learning rate" in found["detail"] and "step 5" in found["detail"]
    assert found["history"][-1]["step"] == 4 == found["state"]["step"]


def test_overflow_at_step_0_returns_the_model_unchanged(post: Post) -> None:
    found = train(post, model=MODEL, loss="mse", data={"inputs": [[1, 2]], "targets": [1e200]}, steps=5)
    assert found["stopped"] == "non-finite" and "step 0" in found["detail"]
    assert found["model"] == MODEL and found["state"]["step"] == 0 and found["history"] == []


def test_overflow_of_the_scores_at_step_0_returns_the_model_unchanged(post: Post) -> None:
    layers = [{"weights": [[1.0], [1e200]], "biases": [0.0, 0.0]}]
    found = train(post, model={"layers": layers}, data={"inputs": [[1e150]], "targets": [[0, 0]]}, loss="mse")
    assert found["stopped"] == "non-finite" and "step 0" in found["detail"]
    assert found["model"]["layers"][0]["weights"] == layers[0]["weights"]


@pytest.mark.parametrize("name", ["adam", "adamw", "rmsprop"])
def test_state_never_has_null(post: Post, name: str) -> None:
    """Gradients of 1e200 are finite, but not their squares, which these optimizers keep."""
    data = {"inputs": [[1e200, 1e200], [0.5, -1.0]], "targets": [1, -1]}
    body = {"model": {"inputs": 2, "layers": [1]}, "data": data, "loss": "mae", "optimizer": {"name": name}}
    response = post("networks/train", steps=3, **body)
    assert response.status_code == 200 and b"null" not in response.content
    found = json_of(response)
    again = post("networks/train", steps=1, **body | {"model": found["model"], "state": found["state"]})
    assert again.status_code == 200, "the response can be sent back"
