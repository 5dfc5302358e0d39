"""New models, with weights drawn at random."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from app.engine.errors import nearest, quote
from app.engine.interruption import Checkpoint, never
from app.nn.errors import InvalidNetwork
from app.nn.model import LINEAR, Floats, Layer, Model, opcode_of, read_only

DRAWN_AT_ONCE = 16_384
"""How many weights are drawn between two calls of the checkpoint: a few milliseconds of work."""


@dataclass(frozen=True, slots=True)
class Initializer:
    """A way to draw the weights of a layer.

    `generator(seed)` makes the source of random numbers for a whole model. `draw(generator, count, inputs, neurons)` draws
    the next `count` weights of a layer, neuron by neuron.
    """

    name: str
    description: str
    generator: Callable[[int], Any]
    draw: Callable[[Any, int, int, int], npt.ArrayLike]


def _pcg64(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


INITIALIZERS: dict[str, Initializer] = {
    row.name: row
    for row in (
        Initializer(
            "uniform",
            "uniform in [-1, 1] from Python's generator, as micrograd draws them",
            random.Random,
            lambda generator, count, inputs, neurons: [generator.uniform(-1, 1) for _ in range(count)],
        ),
        Initializer(
            "he",
            "normal with variance 2/inputs (He et al. 2015), from NumPy's PCG64",
            _pcg64,
            lambda generator, count, inputs, neurons: generator.normal(0.0, (2.0 / inputs) ** 0.5, count),
        ),
        Initializer(
            "xavier",
            "normal with variance 2/(inputs + neurons) (Glorot and Bengio 2010), from NumPy's PCG64",
            _pcg64,
            lambda generator, count, inputs, neurons: generator.normal(0.0, (2.0 / (inputs + neurons)) ** 0.5, count),
        ),
    )
}


def MLP(  # micrograd's name
    inputs: int,
    layers: Sequence[int],
    *,
    activation: str = "relu",
    output_activation: str = LINEAR,
    init: str = "uniform",
    seed: int = 0,
    checkpoint: Checkpoint = never,
) -> Model:
    """Return a new multilayer perceptron. `layers` lists the number of neurons per layer. Biases are 0.

    The last layer has `output_activation`, every other layer `activation`. Raises InvalidNetwork if a width is below 1, there
    are no layers, the seed is negative, or a name is unknown.
    """
    if inputs < 1:
        raise InvalidNetwork(f"a network needs at least one input, not {inputs}", ("inputs",))
    if not layers:
        raise InvalidNetwork("a network needs at least one layer", ("layers",))
    for k, neurons in enumerate(layers):
        if neurons < 1:
            raise InvalidNetwork(f"a layer needs at least one neuron, not {neurons}", ("layers", k))
    if init not in INITIALIZERS:
        hint = nearest(init, INITIALIZERS) or f" Use one of {', '.join(INITIALIZERS)}."
        raise InvalidNetwork(f"there is no initializer {quote(init)}.{hint}", ("init",))
    if seed < 0:
        raise InvalidNetwork(f"seed must be at least 0, not {seed}", ("seed",))
    opcode_of(activation, ("activation",))
    opcode_of(output_activation, ("output_activation",))
    initializer = INITIALIZERS[init]
    generator = initializer.generator(seed)
    widths = [inputs, *layers]
    made = []
    for k, neurons in enumerate(layers):
        weights = _weights(initializer, generator, widths[k], neurons, checkpoint)
        last = k == len(layers) - 1
        made.append(Layer(weights, np.zeros(neurons), output_activation if last else activation))
    return Model(tuple(made))


def _weights(initializer: Initializer, generator: Any, inputs: int, neurons: int, checkpoint: Checkpoint) -> Floats:
    """Draw the weights of one layer, of shape (neurons, inputs), calling `checkpoint` from time to time."""
    flat = np.empty(neurons * inputs)
    for low in range(0, len(flat), DRAWN_AT_ONCE):
        checkpoint()
        high = min(low + DRAWN_AT_ONCE, len(flat))
        flat[low:high] = initializer.draw(generator, high - low, inputs, neurons)
    return read_only(flat.reshape((neurons, inputs)))
