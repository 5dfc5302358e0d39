"""First weights: micrograd's draws from Python's generator, and normal ones from NumPy's PCG64."""

import random

import numpy as np
import pytest

from app.nn import MLP


@pytest.mark.parametrize("seed", [0, 1, 1337, 2**32 - 1])
def test_uniform_draws_as_micrograd_does(seed: int) -> None:
    draw = random.Random(seed)
    expected = []
    for inputs, neurons in ((3, 5), (5, 4), (4, 2)):
        for _ in range(neurons):
            expected += [draw.uniform(-1, 1) for _ in range(inputs)] + [0.0]
    assert MLP(3, [5, 4, 2], seed=seed).parameters() == expected
    assert MLP(3, [5, 4, 2], init="uniform", seed=seed).parameters() == expected


@pytest.mark.parametrize(("init", "variance"), [("he", lambda n, m: 2 / n), ("xavier", lambda n, m: 2 / (n + m))])
@pytest.mark.parametrize("seed", [0, 7])
def test_normal_draws_come_from_pcg64(init: str, variance: object, seed: int) -> None:
    assert callable(variance)
    generator = np.random.Generator(np.random.PCG64(seed))
    model = MLP(4, [6, 3], init=init, seed=seed)
    for layer in model.layers:
        neurons, inputs = layer.weights.shape
        drawn = generator.standard_normal((neurons, inputs)) * variance(inputs, neurons) ** 0.5
        np.testing.assert_allclose(layer.weights, drawn, rtol=1e-15)
        assert not layer.biases.any()


@pytest.mark.parametrize(("init", "variance"), [("he", 2 / 300), ("xavier", 2 / 500), ("uniform", 1 / 3)])
def test_the_variance_is_the_published_one(init: str, variance: float) -> None:
    """60,000 draws: the estimate of a variance is off by 0.6 % (one deviation), that of a uniform's by less."""
    weights = MLP(300, [200], init=init, seed=11).layers[0].weights
    assert weights.var() == pytest.approx(variance, rel=0.025)
    assert abs(weights.mean()) < 4.5 * (variance / weights.size) ** 0.5


def test_seeds_differ_and_repeat() -> None:
    for init in ("uniform", "he", "xavier"):
        one, other = MLP(2, [3], init=init, seed=1), MLP(2, [3], init=init, seed=2)
        assert one.parameters() == MLP(2, [3], init=init, seed=1).parameters() != other.parameters()
    assert MLP(2, [3]).parameters() == MLP(2, [3], seed=0).parameters()


def test_the_last_layer_has_an_activation_of_its_own() -> None:
    assert [layer.activation for layer in MLP(2, [3, 3, 1]).layers] == ["relu", "relu", "linear"]
    named = MLP(2, [3, 3, 1], activation="sin", output_activation="tanh")
    assert [layer.activation for layer in named.layers] == ["sin", "sin", "tanh"]
