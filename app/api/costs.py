"""How long work takes, about: estimates from a request alone, before anything is computed, in seconds.

They need only tell a millisecond from more, and never say too little by much. What is not known before is taken for long.
Not here: what is done about it (`execution`), and limits (`limits`).
"""

import math
from collections.abc import Mapping
from itertools import pairwise

from app.api.schemas.expressions import ExpressionGraph, ExpressionRequest
from app.api.schemas.networks import DataBody, ModelOrSpec, NetworkBackwardRequest, PredictRequest, TrainRequest

STEP = 1e-8
"""One instruction at one point."""
PRODUCT = 2e-9
"""One weight and one row, forward and back; activations are counted with the weights that lead to them."""
CALL = 2e-6
"""One step of training, beside its products."""
OWN_DATASETS = {"xor": 4, "spiral": 200}
"""Rows of the datasets that are made here; for the others a library is loaded at first."""

UNKNOWN = math.inf


def expression(request: ExpressionRequest) -> float:
    """A few walks over an expression at all of its points."""
    return 4.0 * STEP * _nodes(request.expression) * _points(request.inputs)


def derivatives(request: ExpressionRequest) -> float:
    """As many walks as an expression has leaves, or more."""
    return expression(request) * _nodes(request.expression)


def unknown(request: object) -> float:
    """Work whose amount a request does not show."""
    return UNKNOWN


def prediction(request: PredictRequest) -> float:
    """A forward pass over all rows."""
    return PRODUCT * _weights(request.model) * len(request.inputs)


def network_gradients(request: NetworkBackwardRequest) -> float:
    """A forward and a reverse pass over all rows."""
    return PRODUCT * _weights(request.model) * _rows(request.data)


def training(request: TrainRequest) -> float:
    """As many steps as are asked for."""
    rows = _rows(request.data)
    if request.batch_size is not None:
        rows = min(rows, max(request.batch_size, 1))
    return max(request.steps, 0) * (CALL + PRODUCT * _weights(request.model) * rows)


def _nodes(given: str | ExpressionGraph) -> float:
    """At most so many nodes: an operator and a name take two characters of a text, and a node 16 bytes of a graph."""
    return len(given) / 2 if isinstance(given, str) else len(memoryview(given.nodes)) / 16


def _points(inputs: Mapping[str, float | list[float]]) -> int:
    return max((len(given) for given in inputs.values() if isinstance(given, list)), default=1)


def _weights(model: ModelOrSpec) -> float:
    """The weights of a model, or of the new one that it describes."""
    layers = [layer for layer in model.layers if isinstance(layer, int)]
    if layers:
        return sum(max(a, 0) * max(b, 0) for a, b in pairwise([model.inputs or 0, *layers]))
    return sum(len(row) for layer in model.layers if not isinstance(layer, int) for row in layer.weights)


def _rows(data: DataBody) -> float:
    """The rows of data; of a dataset by name those that are asked for."""
    if data.dataset is None:
        return len(data.inputs or ())
    rows = OWN_DATASETS.get(data.dataset)
    return UNKNOWN if rows is None else max(data.samples if data.samples is not None else rows, 0)
