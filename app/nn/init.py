"""First weights. Not here: the models that they go into."""

import random
from collections.abc import Callable, Sequence

import numpy as np

from app.engine.errors import quote
from app.engine.interruption import checkpoint
from app.nn.errors import InvalidNetwork
from app.nn.model import LINEAR, Floats, Layer, Model, opcode_of

Draw = Callable[[int, int], Floats]
"""Weights of shape (neurons, inputs), drawn for one layer after the other."""


def _uniform(seed: int) -> Draw:
    """micrograd's: for each neuron, each weight in turn, uniform in [-1, 1] from Python's own generator."""
    generator = random.Random(seed)

    def neuron(inputs: int) -> list[float]:
        checkpoint()
        return [generator.uniform(-1, 1) for _ in range(inputs)]

    return lambda neurons, inputs: np.array([neuron(inputs) for _ in range(neurons)])


def _normal(deviation: Callable[[int, int], float]) -> Callable[[int], Draw]:
    def start(seed: int) -> Draw:
        generator = np.random.Generator(np.random.PCG64(seed))
        return lambda neurons, inputs: generator.normal(0.0, deviation(neurons, inputs), (neurons, inputs))

    return start


INITIALIZERS: dict[str, Callable[[int], Draw]] = {
    "uniform": _uniform,
    "he": _normal(lambda neurons, inputs: (2.0 / inputs) ** 0.5),
    "xavier": _normal(lambda neurons, inputs: (2.0 / (inputs + neurons)) ** 0.5),
}
"""`uniform` is micrograd's. `he`: normal, variance 2/inputs (He et al. 2015). `xavier`: normal, variance
2/(inputs + neurons) (Glorot and Bengio 2010)."""


def MLP(  # micrograd's name
    inputs: int,
    layers: Sequence[int],
    *,
    activation: str = "relu",
    output_activation: str = LINEAR,
    init: str = "uniform",
    seed: int = 0,
) -> Model:
    """A multilayer perceptron: `layers` are the numbers of neurons, all with `activation` but the last. Biases are 0.

    Raises InvalidNetwork for a width under 1, no layers, a negative seed, and names that are none.
    """
    if inputs < 1:
        raise InvalidNetwork(f"a network has at least one input, not {inputs}", ("inputs",))
    if not layers:
        raise InvalidNetwork("a network has at least one layer", ("layers",))
    for k, neurons in enumerate(layers):
        if neurons < 1:
            raise InvalidNetwork(f"a layer has at least one neuron, not {neurons}", ("layers", k))
    if init not in INITIALIZERS:
        raise InvalidNetwork(f"there is no initializer {quote(init)}; there are {', '.join(INITIALIZERS)}", ("init",))
    if seed < 0:
        raise InvalidNetwork(f"a seed is not negative, this one is {seed}", ("seed",))
    opcode_of(activation, ("activation",))
    opcode_of(output_activation, ("output_activation",))
    draw = INITIALIZERS[init](seed)
    widths = [inputs, *layers]
    made = []
    for k, neurons in enumerate(layers):
        last = k == len(layers) - 1
        made.append(Layer(draw(neurons, widths[k]), np.zeros(neurons), output_activation if last else activation))
    return Model(tuple(made))
