"""Optimizers, losses and activations against numbers recorded from PyTorch."""

import json
from typing import Any

import pytest

from tests.contract.conftest import Post
from tests.contract.networks.calls import train
from tests.nn.networks import RECORDED
from tests.rows import for_each

TORCH = json.loads((RECORDED / "training.json").read_text("utf-8"))


@for_each("case", TORCH["cases"])
def test_twenty_steps_agree_with_pytorch(post: Post, case: dict[str, Any]) -> None:
    layers = [
        {"weights": weights, "biases": biases, "activation": activation}
        for weights, biases, activation in zip(TORCH["weights"], TORCH["biases"], case["activations"], strict=True)
    ]
    data = {"inputs": TORCH["inputs"], "targets": TORCH["targets"][case["targets"]]}
    found = train(post, model={"layers": layers}, data=data, steps=20, **case["request"])
    losses = [row["loss"] for row in found["history"]]
    assert losses == pytest.approx(case["losses"], rel=0.0, abs=1e-9)
    flat = [n for layer in found["model"]["layers"] for n in (*(w for row in layer["weights"] for w in row), *layer["biases"])]
    assert flat == pytest.approx(case["parameters"], rel=0.0, abs=1e-8)


def test_recorded_cases_cover_every_optimizer_loss_and_activation() -> None:
    cases = TORCH["cases"]
    assert {case["request"]["optimizer"]["name"] for case in cases} == {"sgd", "adam", "adamw", "rmsprop"}
    assert {case["request"]["loss"] for case in cases} == {
        "max_margin", "mse", "mae", "huber", "binary_cross_entropy", "cross_entropy",
    }  # fmt: skip
    used = {activation for case in cases for activation in case["activations"]}
    assert used == {"relu", "tanh", "sigmoid", "silu", "gelu", "elu", "leaky_relu", "softplus", "linear", "sin"}
    named = {option for case in cases for option in case["request"]["optimizer"]}
    assert named == {
        "name", "learning_rate", "momentum", "nesterov", "dampening", "weight_decay", "betas", "eps", "amsgrad", "alpha",
        "centered",
    }  # fmt: skip
