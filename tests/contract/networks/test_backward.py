"""POST /v1/networks/backward: losses and gradients."""

import copy
from typing import Any

import numpy as np
import pytest
from sklearn import datasets as sklearn_datasets

from tests.contract.conftest import Post
from tests.contract.networks.calls import call
from tests.contract.wire import problem
from tests.nn.networks import MODEL, ROWS, parameters


def test_gradients_agree_with_central_differences(post: Post) -> None:
    found = call(post, "backward", model=MODEL, data=ROWS, loss="huber", l2=0.01)
    step = 1e-6

    def loss(model: dict[str, Any]) -> float:
        value: float = call(post, "backward", model=model, data=ROWS, loss="huber", l2=0.01)["loss"]
        return value

    for k, layer in enumerate(MODEL["layers"]):
        for j in range(len(layer["biases"])):
            for i in range(len(layer["weights"][0]) + 1):
                losses = []
                for sign in (1, -1):
                    moved = copy.deepcopy(MODEL)
                    if i < len(layer["weights"][0]):
                        moved["layers"][k]["weights"][j][i] += sign * step
                    else:
                        moved["layers"][k]["biases"][j] += sign * step
                    losses.append(loss(moved))
                gradients = found["gradients"]["layers"][k]
                gradient = gradients["weights"][j][i] if i < len(layer["weights"][0]) else gradients["biases"][j]
                assert gradient == pytest.approx((losses[0] - losses[1]) / (2 * step), rel=1e-7, abs=1e-8), (k, j, i)


def test_response_has_losses_accuracy_and_gradients(post: Post) -> None:
    found = call(post, "backward", model=MODEL, data=ROWS, loss="max_margin", l2=0.1)
    assert set(found) == {"loss", "data_loss", "regularization_loss", "accuracy", "gradients"}
    assert found["loss"] == pytest.approx(found["data_loss"] + found["regularization_loss"], rel=1e-15)
    assert found["regularization_loss"] == pytest.approx(0.1 * sum(p * p for p in parameters(MODEL)), rel=1e-14)
    scores = [score for (score,) in call(post, "predict", model=MODEL, inputs=ROWS["inputs"])["outputs"]]
    assert found["accuracy"] == sum((s > 0) == (t > 0) for s, t in zip(scores, ROWS["targets"], strict=True)) / 4
    for layer, own in zip(found["gradients"]["layers"], MODEL["layers"], strict=True):
        assert np.shape(layer["weights"]) == np.shape(own["weights"]) and len(layer["biases"]) == len(own["biases"])
    numbers = {"inputs": ROWS["inputs"], "targets": [0.5, 1.5, 2.0, -3.0]}
    regression = call(post, "backward", model=MODEL, data=numbers, loss="mse", input_gradients=True)
    assert set(regression) == {"loss", "data_loss", "regularization_loss", "gradients", "input_gradients"}
    assert np.shape(regression["input_gradients"]) == (4, 2)
    assert regression["regularization_loss"] == 0.0


def test_targets_may_be_numbers_or_rows(post: Post) -> None:
    rows = {"inputs": ROWS["inputs"], "targets": [[t] for t in ROWS["targets"]]}
    numbers, lists = (post("networks/backward", model=MODEL, data=data, loss="mse") for data in (ROWS, rows))
    assert numbers.status_code == 200 and numbers.content == lists.content


def test_data_may_be_the_name_of_a_dataset(post: Post) -> None:
    named = {"dataset": "moons", "samples": 20, "noise": 0.2, "seed": 7}
    inputs, classes = sklearn_datasets.make_moons(20, noise=0.2, random_state=7)
    given = {"inputs": inputs.tolist(), "targets": (2 * classes - 1).tolist()}
    first, second = (post("networks/backward", model=MODEL, data=data, loss="max_margin") for data in (named, given))
    assert first.status_code == 200 and first.content == second.content


def test_overflow_is_a_problem(post: Post) -> None:
    model = {"layers": [{"weights": [[1.0], [1e200]], "biases": [0.0, 0.0]}]}
    problem(
        post("networks/backward", model=model, data={"inputs": [[1e150]], "targets": [[0, 0]]}, loss="mse"), "non-finite", 422
    )
