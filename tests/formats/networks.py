"""Networks and rows for the tests of files, and domains of activations."""

import numpy as np

from app.nn.model import ACTIVATIONS, Floats, Layer, Model

DOMAINS = {
    **dict.fromkeys(("log", "log2", "log10", "sqrt", "reciprocal", "lgamma", "digamma"), (0.1, 9.0)),
    "log1p": (-0.9, 9.0),
    "acosh": (1.0, 9.0),
    **dict.fromkeys(("atanh", "asin", "acos"), (-0.99, 0.99)),
    "tan": (-1.4, 1.4),
}
"""Where activations are tried; all others between -8 and 8."""


def single(activation: str) -> Model:
    """A network that is an activation of its only input."""
    return Model((Layer(np.array([[1.0]]), np.array([0.0]), activation),))


def row_of(activation: str, count: int = 1000) -> Floats:
    """Inputs of an activation: of shape (count, 1), some of them tiny."""
    low, high = DOMAINS.get(activation, (-8.0, 8.0))
    rng = np.random.default_rng(0)
    numbers = rng.uniform(low, high, count)
    tiny = 10.0 ** rng.uniform(-12.0, -1.0, count // 10)
    if low <= 0.0:
        numbers[: len(tiny)] = tiny
    elif low == 1.0:
        numbers[: len(tiny)] = 1.0 + tiny
    return numbers[:, np.newaxis]


def random_network(seed: int, activations: tuple[str, ...], width: int = 5) -> Model:
    """Random layers with these activations. Arguments stay small."""
    rng = np.random.default_rng(seed)
    widths = [3, *rng.integers(1, width + 1, len(activations)).tolist()]
    return Model(
        tuple(
            Layer(rng.normal(0.0, 0.5, (after, before)), rng.normal(0.0, 0.3, after), activation)
            for before, after, activation in zip(widths, widths[1:], activations, strict=False)
        )
    )


EVERYWHERE = tuple(name for name in ACTIVATIONS if name not in DOMAINS)
"""Activations that are finite everywhere."""


def assert_same(a: Model, b: Model) -> None:
    """Assert that two models are equal to the last bit."""
    assert [layer.activation for layer in a.layers] == [layer.activation for layer in b.layers]
    assert [layer.weights.shape for layer in a.layers] == [layer.weights.shape for layer in b.layers]
    assert a.flat().tobytes() == b.flat().tobytes()
