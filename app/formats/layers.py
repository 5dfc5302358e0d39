"""Build a model from what other programs write one after the other: matrices, shifts, scales and activations."""

from collections.abc import Callable

import numpy as np

from app.formats.errors import InvalidFile
from app.nn.errors import NetworkMismatch
from app.nn.model import LINEAR, Floats, Layer, Model

MAX_LAYERS = 10_000
"""As many layers as a model in a request may have."""


class Chain:
    """Layers so far, and the affine map since the last activation.

    That map is `weights @ x + biases`, or, while there is no matrix, `scale*x + shift` with one number per input or one for
    all; None stands for one that changes nothing. `width` is the width of the last value, if it is known.

    `reserve` is called with the number of numbers of the model before it has more than `reserved`, and may raise: a file can
    use the same weights in many layers.
    """

    def __init__(self, reserve: Callable[[int], None], reserved: int) -> None:
        self.reserve = reserve
        self.reserved = reserved
        self.numbers = 0
        self.width: int | None = None
        self.layers: list[Layer] = []
        self.weights: Floats | None = None
        self.biases: Floats | None = None
        self.scale: Floats | None = None
        self.shift: Floats | None = None

    def matrix(self, weights: Floats, biases: Floats | None) -> None:
        """Multiply with a matrix of shape (neurons, inputs) and add biases."""
        if weights.ndim != 2 or not weights.size:
            raise InvalidFile(f"weights of the shape {weights.shape} are not read; a layer has a matrix of at least one number")
        if self.width is not None and weights.shape[1] != self.width:
            raise NetworkMismatch(f"layer {len(self.layers)} takes {weights.shape[1]} inputs, but gets {self.width} numbers")
        if self.weights is not None:
            self.activation(LINEAR)
        neurons, inputs = weights.shape
        self.count(weights.size + neurons)
        biases = np.zeros(neurons) if biases is None else _spread(biases, neurons, "biases")
        if self.shift is not None:
            biases = biases + weights @ _spread(self.shift, inputs, "numbers of a scaler")
        if self.scale is not None:
            weights = weights * _spread(self.scale, inputs, "numbers of a scaler")
        self.scale = self.shift = None
        self.weights, self.biases, self.width = weights, biases, neurons

    def scaled(self, scale: Floats | None, shift: Floats | None) -> None:
        """Multiply with one number per neuron, then add one."""
        if self.weights is not None and self.biases is not None:
            neurons = len(self.biases)
            if scale is not None:
                factors = _spread(scale, neurons, "factors")
                self.weights, self.biases = self.weights * factors[:, np.newaxis], self.biases * factors
            if shift is not None:
                self.biases = self.biases + _spread(shift, neurons, "biases")
            return
        if scale is not None:
            self.scale = scale if self.scale is None else _combined(np.multiply, self.scale, scale)
            self.shift = None if self.shift is None else _combined(np.multiply, self.shift, scale)
        if shift is not None:
            self.shift = shift if self.shift is None else _combined(np.add, self.shift, shift)

    def activation(self, name: str) -> None:
        """End a layer."""
        if self.weights is None or self.biases is None:
            if self.width is None:
                raise InvalidFile("the first operator is no layer, and the file does not say how wide the input is")
            self.count(self.width**2)
            self.numbers -= self.width**2  # which the matrix counts again
            identity = np.zeros((self.width, self.width))
            identity.ravel()[:: self.width + 1] = 1.0  # np.eye would hold the GIL
            self.matrix(identity, None)
        assert self.weights is not None and self.biases is not None
        if len(self.layers) >= MAX_LAYERS:
            raise InvalidFile(f"a network has at most {MAX_LAYERS:,} layers")
        if not (np.isfinite(self.weights).all() and np.isfinite(self.biases).all()):
            raise InvalidFile(f"layer {len(self.layers)} has a weight or bias that is NaN or infinite")
        self.layers.append(Layer(self.weights, self.biases, name))
        self.weights = self.biases = None

    def count(self, numbers: int) -> None:
        """Count numbers before they are allocated."""
        self.numbers += numbers
        if self.numbers > self.reserved:
            self.reserved = self.numbers
            self.reserve(self.numbers)

    def model(self) -> Model:
        """The model, whose last layer is linear if nothing else was said."""
        if self.weights is not None or self.scale is not None or self.shift is not None or not self.layers:
            self.activation(LINEAR)
        return Model(tuple(self.layers))


def _spread(numbers: Floats, count: int, what: str) -> Floats:
    """So many numbers: those given, or the only one for all."""
    numbers = numbers.ravel()
    if len(numbers) not in (1, count):
        raise NetworkMismatch(f"there are {len(numbers)} {what} for {count}")
    return np.broadcast_to(numbers, (count,)).copy() if len(numbers) == 1 else numbers


def _combined(combine: np.ufunc, a: Floats, b: Floats) -> Floats:
    if len(a) != len(b) and 1 not in (len(a), len(b)):
        raise NetworkMismatch(f"a scaler has {len(a)} and {len(b)} numbers")
    return np.asarray(combine(a, b))
