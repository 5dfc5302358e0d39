"""Initial weights: micrograd's draws from Python's generator, and normal draws from NumPy's PCG64."""

import random
from collections.abc import Callable

import numpy as np
import pytest

from app.nn import MLP
from app.nn.errors import InvalidNetwork
from app.nn.init import DRAWN_AT_ONCE, INITIALIZERS

VARIANCES: dict[str, Callable[[int, int], float]] = {
    "he": lambda inputs, neurons: 2 / inputs,
    "xavier": lambda inputs, neurons: 2 / (inputs + neurons),
}


class Stopped(Exception):
    """Raised by a checkpoint."""


@pytest.mark.parametrize("seed", [0, 1, 1337, 2**32 - 1])
def test_uniform_draws_as_micrograd_does(seed: int) -> None:
    draw = random.Random(seed)
    expected = []
    for inputs, neurons in ((3, 5), (5, 4), (4, 2)):
        for _ in range(neurons):
            expected += [draw.uniform(-1, 1) for _ in range(inputs)] + [0.0]
    assert MLP(3, [5, 4, 2], seed=seed).parameters() == expected
    assert MLP(3, [5, 4, 2], init="uniform", seed=seed).parameters() == expected


def test_large_layer_is_drawn_as_a_small_one() -> None:
    """Weights are drawn in parts, with no gap between them."""
    draw = random.Random(5)
    wide, last = MLP(150, [2 * DRAWN_AT_ONCE // 150 + 3, 2], seed=5).layers
    for layer in (wide, last):
        assert layer.weights.ravel().tolist() == [draw.uniform(-1, 1) for _ in range(layer.weights.size)]


@pytest.mark.parametrize("init", VARIANCES)
@pytest.mark.parametrize("seed", [0, 7])
def test_he_and_xavier_draw_from_pcg64(init: str, seed: int) -> None:
    generator = np.random.Generator(np.random.PCG64(seed))
    model = MLP(4, [6, 3], init=init, seed=seed)
    for layer in model.layers:
        neurons, inputs = layer.weights.shape
        drawn = generator.standard_normal((neurons, inputs)) * VARIANCES[init](inputs, neurons) ** 0.5
        np.testing.assert_allclose(layer.weights, drawn, rtol=1e-15)
        assert not layer.biases.any()


@pytest.mark.parametrize(("init", "variance"), [("he", 2 / 300), ("xavier", 2 / 500), ("uniform", 1 / 3)])
def test_variance_of_weights_is_the_published_one(init: str, variance: float) -> None:
    """60,000 draws: the standard error of the variance is 0.6 % for normal draws and less for uniform ones."""
    weights = MLP(300, [200], init=init, seed=11).layers[0].weights
    assert weights.var() == pytest.approx(variance, rel=0.025)
    assert abs(weights.mean()) < 4.5 * (variance / weights.size) ** 0.5


@pytest.mark.parametrize("init", INITIALIZERS)
def test_weights_depend_on_the_seed_alone(init: str) -> None:
    first = MLP(2, [3], init=init, seed=1).parameters()
    assert MLP(2, [3], init=init, seed=1).parameters() == first
    assert MLP(2, [3], init=init, seed=2).parameters() != first


def test_defaults_are_uniform_and_seed_zero() -> None:
    assert MLP(2, [3]).parameters() == MLP(2, [3], init="uniform", seed=0).parameters()


def test_last_layer_has_the_output_activation() -> None:
    assert [layer.activation for layer in MLP(2, [3, 3, 1]).layers] == ["relu", "relu", "linear"]
    named = MLP(2, [3, 3, 1], activation="sin", output_activation="tanh")
    assert [layer.activation for layer in named.layers] == ["sin", "sin", "tanh"]


@pytest.mark.parametrize("init", INITIALIZERS)
def test_checkpoint_stops_the_drawing_of_weights(init: str) -> None:
    calls = 0

    def checkpoint() -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise Stopped

    with pytest.raises(Stopped):
        MLP(DRAWN_AT_ONCE, [1000], init=init, checkpoint=checkpoint)
    assert calls == 3


@pytest.mark.parametrize(
    ("inputs", "layers", "seed", "place"),
    [
        (0, [1], 0, ("inputs",)),
        (-1, [1], 0, ("inputs",)),
        (1, [], 0, ("layers",)),
        (1, [0], 0, ("layers", 0)),
        (1, [2, 0, 1], 0, ("layers", 1)),
        (1, [2, -1], 0, ("layers", 1)),
        (1, [1], -1, ("seed",)),
    ],
)
def test_widths_and_seeds_below_the_least(inputs: int, layers: list[int], seed: int, place: tuple[str | int, ...]) -> None:
    assert MLP(1, [1], seed=0).size == 2
    with pytest.raises(InvalidNetwork) as caught:
        MLP(inputs, layers, seed=seed)
    assert caught.value.place == place
