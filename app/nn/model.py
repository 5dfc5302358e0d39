"""Models: frozen layers of weights, biases and an activation. Not here: where first weights come from, and training."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from app.engine.errors import Path, nearest, quote
from app.engine.primitives import OPCODE, WIRE
from app.nn.errors import InvalidNetwork, Misfit

Floats = npt.NDArray[np.float64]

LINEAR = "linear"
ACTIVATIONS = (LINEAR, *(name for name, row in WIRE.items() if row.max_arity == 1))
"""`linear`, and every primitive of one argument."""


def opcode_of(activation: str, place: Path = ()) -> int:
    """The row of the table that an activation is. Raises InvalidNetwork."""
    if activation not in ACTIVATIONS:
        hint = nearest(activation, ACTIVATIONS)
        raise InvalidNetwork(f"there is no activation {quote(activation)}: linear or a primitive of one argument.{hint}", place)
    return OPCODE["identity" if activation == LINEAR else activation]


@dataclass(frozen=True, eq=False, slots=True)
class Layer:
    """A layer: `activation(inputs @ weights.T + biases)`.

    `weights` has shape (neurons, inputs): a row is a neuron. `biases` has shape (neurons,). Raises Misfit and InvalidNetwork.
    """

    weights: Floats
    biases: Floats
    activation: str = LINEAR

    def __post_init__(self) -> None:
        weights, biases = _frozen(self.weights), _frozen(self.biases)
        if weights.ndim != 2 or not weights.size:
            raise Misfit(
                f"weights have a row for each neuron, all of one width over 0, not the shape {weights.shape}", ("weights",)
            )
        if biases.shape != weights.shape[:1]:
            raise Misfit(f"{len(weights)} rows of weights want as many biases, not {biases.size}", ("biases",))
        opcode_of(self.activation, ("activation",))
        object.__setattr__(self, "weights", weights)
        object.__setattr__(self, "biases", biases)


@dataclass(frozen=True, eq=False, slots=True)
class Model:
    """Layers, each as wide as the one before has neurons. Raises Misfit, InvalidNetwork for no layers."""

    layers: tuple[Layer, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(self.layers))
        if not self.layers:
            raise InvalidNetwork("a model has at least one layer", ("layers",))
        for k in range(1, len(self.layers)):
            width, neurons = self.layers[k].weights.shape[1], len(self.layers[k - 1].biases)
            if width != neurons:
                detail = f"layer {k} takes {width} numbers, but layer {k - 1} before it has {neurons} neurons"
                raise Misfit(detail, ("layers", k, "weights"))

    @property
    def inputs(self) -> int:
        """The width of a row of inputs."""
        return int(self.layers[0].weights.shape[1])

    @property
    def outputs(self) -> int:
        """The number of outputs, which are scores."""
        return len(self.layers[-1].biases)

    @property
    def size(self) -> int:
        """The number of weights and biases."""
        return sum(layer.weights.size + layer.biases.size for layer in self.layers)

    def parameters(self) -> list[float]:
        """All weights and biases, layer by layer, neuron by neuron, weights and then bias, as micrograd lists them."""
        rows = (np.column_stack([layer.weights, layer.biases]) for layer in self.layers)
        return [float(number) for row in rows for number in row.ravel()]

    def flat(self) -> Floats:
        """A new vector of all numbers, layer by layer, weights and then biases: what training works on."""
        parts = [part.ravel() for layer in self.layers for part in (layer.weights, layer.biases)]
        return np.concatenate(parts)

    def with_flat(self, numbers: Floats) -> "Model":
        """A model of the same shape with these numbers, in the order of `flat`."""
        layers = []
        at = 0
        for layer in self.layers:
            split, end = at + layer.weights.size, at + layer.weights.size + layer.biases.size
            weights, biases = numbers[at:split].reshape(layer.weights.shape), numbers[split:end]
            layers.append(Layer(weights, biases, layer.activation))
            at = end
        return Model(tuple(layers))


def apply_gradients(model: Model, gradients: Model, learning_rate: float) -> Model:
    """A new model: each number less `learning_rate` times its gradient. Gradients have the shape of a model.

    Raises Misfit where the shapes differ.
    """
    shapes = [[layer.weights.shape for layer in each.layers] for each in (model, gradients)]
    if shapes[0] != shapes[1]:
        raise Misfit("the gradients are those of a model of another shape")
    return model.with_flat(model.flat() - learning_rate * gradients.flat())


def _frozen(numbers: Floats | Sequence[float] | Sequence[Sequence[float]]) -> Floats:
    array = np.array(numbers, np.float64)
    array.flags.writeable = False
    return array
