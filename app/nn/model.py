"""Models: frozen layers of weights, biases and an activation."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from app.engine.errors import Place, nearest, quote
from app.engine.primitives import OPCODE, WIRE
from app.nn.errors import InvalidNetwork, NetworkMismatch

Floats = npt.NDArray[np.float64]

LINEAR = "linear"
ACTIVATIONS = (LINEAR, *(name for name, row in WIRE.items() if row.max_arity == 1))
"""`linear`, and every primitive of one argument."""


OTHER_NAMES = {
    **dict.fromkeys(("identity", "none", "id"), "No activation is 'linear'."),
    **dict.fromkeys(("logistic", "expit"), "It is called 'sigmoid' here."),
    **dict.fromkeys(("swish",), "It is called 'silu' here."),
    "leakyrelu": "It is called 'leaky_relu' here.",
    "softmax": "For classes, make the last layer 'linear' and take the loss 'cross_entropy', which has the softmax in it.",
}
"""Activations by the names of other libraries, and what to write."""


def opcode_of(activation: str, place: Place = ("activation",)) -> int:
    """Return the opcode of an activation. Raises InvalidNetwork for an unknown name."""
    if activation not in ACTIVATIONS:
        other = OTHER_NAMES.get(activation.lower())
        detail = f"there is no activation {quote(activation)}; use linear or a primitive of one argument."
        hint = f" {other}" if other else nearest(activation, ACTIVATIONS)
        raise InvalidNetwork(f"{detail}{hint}", place)
    return OPCODE["identity" if activation == LINEAR else activation]


@dataclass(frozen=True, eq=False, slots=True)
class Layer:
    """A layer computes `activation(inputs @ weights.T + biases)`.

    `weights` has shape (neurons, inputs): each row belongs to one neuron. `biases` has shape (neurons,). Both are read-only;
    a contiguous float64 array that is already read-only is shared, anything else is copied. Raises NetworkMismatch for
    shapes that do not fit, InvalidNetwork for an unknown activation.
    """

    weights: Floats
    biases: Floats
    activation: str = LINEAR

    def __post_init__(self) -> None:
        weights, biases = _frozen(self.weights), _frozen(self.biases)
        if weights.ndim != 2 or not weights.size:
            detail = f"weights need one row per neuron, all of the same width of at least 1; the shape is {weights.shape}"
            raise NetworkMismatch(detail, ("weights",))
        if biases.shape != weights.shape[:1]:
            raise NetworkMismatch(f"a layer of {len(weights)} neurons needs as many biases, not {biases.size}", ("biases",))
        opcode_of(self.activation)
        object.__setattr__(self, "weights", weights)
        object.__setattr__(self, "biases", biases)


@dataclass(frozen=True, eq=False, slots=True)
class Model:
    """A feedforward network: each layer takes as many inputs as the layer before it has neurons.

    Raises InvalidNetwork if there are no layers, NetworkMismatch if two neighbours do not fit.
    """

    layers: tuple[Layer, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(self.layers))
        if not self.layers:
            raise InvalidNetwork("a model needs at least one layer", ("layers",))
        for k in range(1, len(self.layers)):
            width, neurons = self.layers[k].weights.shape[1], len(self.layers[k - 1].biases)
            if width != neurons:
                detail = f"layer {k} takes {width} inputs, but layer {k - 1} before it has {neurons} neurons"
                raise NetworkMismatch(detail, ("layers", k, "weights"))

    @property
    def inputs(self) -> int:
        """The number of inputs, which is the width of a row of data."""
        return int(self.layers[0].weights.shape[1])

    @property
    def outputs(self) -> int:
        """The number of outputs. An output is called a score."""
        return len(self.layers[-1].biases)

    @property
    def neurons(self) -> int:
        """The number of neurons in all layers."""
        return sum(len(layer.biases) for layer in self.layers)

    @property
    def size(self) -> int:
        """The number of weights and biases."""
        return sum(layer.weights.size + layer.biases.size for layer in self.layers)

    def parameters(self) -> list[float]:
        """List all weights and biases in micrograd's order: for each neuron its weights, then its bias."""
        rows = (np.column_stack([layer.weights, layer.biases]) for layer in self.layers)
        return [float(number) for row in rows for number in row.ravel()]

    def flat(self) -> Floats:
        """Copy all numbers into a new vector: for each layer all weights, then all biases."""
        parts = [part.ravel() for layer in self.layers for part in (layer.weights, layer.biases)]
        return np.concatenate(parts)

    def with_flat(self, numbers: Floats) -> "Model":
        """Return a model of the same shape with these numbers, in the order of `flat`. A read-only vector is shared."""
        layers = []
        at = 0
        for layer in self.layers:
            split, end = at + layer.weights.size, at + layer.weights.size + layer.biases.size
            weights, biases = numbers[at:split].reshape(layer.weights.shape), numbers[split:end]
            layers.append(Layer(weights, biases, layer.activation))
            at = end
        return Model(tuple(layers))


def same_shape(a: Model, b: Model) -> bool:
    """Return whether the layers of two models have the same numbers of neurons and inputs."""
    return [layer.weights.shape for layer in a.layers] == [layer.weights.shape for layer in b.layers]


def apply_gradients(model: Model, gradients: Model, learning_rate: float) -> Model:
    """Return a new model: each number minus `learning_rate` times its gradient. `gradients` has the shape of `model`.

    Raises NetworkMismatch if the shapes differ.
    """
    if not same_shape(model, gradients):
        raise NetworkMismatch("the gradients do not have the shape of the model", ("gradients",))
    return model.with_flat(read_only(model.flat() - learning_rate * gradients.flat()))


def read_only(array: Floats) -> Floats:
    """Make an array that nobody else holds read-only, and return it."""
    array.flags.writeable = False
    return array


def contiguous(numbers: npt.ArrayLike) -> Floats:
    """Return an aligned, contiguous float64 array: `numbers` itself if it is one, else a copy."""
    array = np.asarray(numbers, np.float64, order="C")
    return array if array.flags.aligned else array.copy()


def _frozen(numbers: Floats | Sequence[float] | Sequence[Sequence[float]]) -> Floats:
    """Return a read-only, contiguous float64 array: `numbers` itself if it is one, else a copy."""
    shared = isinstance(numbers, np.ndarray) and not numbers.flags.writeable
    return read_only(contiguous(numbers) if shared else np.array(numbers, np.float64, order="C"))
