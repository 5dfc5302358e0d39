"""POST /v1/networks: new models."""

from typing import Any

import numpy as np
import pytest

from tests.contract.conftest import Post
from tests.contract.networks.calls import call
from tests.contract.wire import problem
from tests.nn.networks import ROWS, demo, parameters


def test_seed_1337_gives_the_first_model_of_micrograds_demo(post: Post) -> None:
    found = call(
        post, "", inputs=2, layers=[16, 16, 1], activation="relu", output_activation="linear", init="uniform", seed=1337
    )
    assert set(found) == {"model", "parameters"} and found["parameters"] == 337
    assert parameters(found["model"]) == demo()["initial_parameters"]
    assert [layer["activation"] for layer in found["model"]["layers"]] == ["relu", "relu", "linear"]
    assert set(found["model"]["layers"][0]) == {"weights", "biases", "activation"}


def test_defaults_are_relu_linear_uniform_and_seed_0(post: Post) -> None:
    explicit = post("networks", inputs=2, layers=[3, 1], activation="relu", output_activation="linear", init="uniform", seed=0)
    assert post("networks", inputs=2, layers=[3, 1]).content == explicit.content


@pytest.mark.parametrize("init", ["he", "xavier"])
def test_he_and_xavier_draw_from_pcg64(post: Post, init: str) -> None:
    found = call(post, "", inputs=3, layers=[5, 2], init=init, seed=42)
    generator = np.random.Generator(np.random.PCG64(42))
    for layer, (inputs, neurons) in zip(found["model"]["layers"], [(3, 5), (5, 2)], strict=True):
        deviation = (2 / (inputs if init == "he" else inputs + neurons)) ** 0.5
        np.testing.assert_allclose(layer["weights"], deviation * generator.standard_normal((neurons, inputs)), rtol=1e-15)
        assert layer["biases"] == [0.0] * neurons


@pytest.mark.parametrize("path", ["networks", "networks/predict", "networks/train"])
def test_model_that_exceeds_memory_is_too_large(post: Post, path: str) -> None:
    spec = {"inputs": 1_000_000, "layers": [1_000_000], "init": "he"}
    bodies: dict[str, dict[str, Any]] = {
        "networks": spec,
        "networks/predict": {"model": spec, "inputs": [[1.0, 2.0]]},
        "networks/train": {"model": spec, "data": ROWS, "loss": "mse"},
    }
    problem(post(path, **bodies[path]), "too-large", 422)
