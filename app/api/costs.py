"""How long work takes, about: estimates from a request alone, before anything is computed, in seconds.

They need only tell a millisecond from more, and never say too little by much. What is not known before is taken for long.
Not here: what is done about it (`execution`), and limits (`limits`).
"""

import math
from collections.abc import Mapping
from itertools import pairwise

from app.api.schemas.expressions import ExpressionGraph, ExpressionRequest
from app.api.schemas.networks import (
    DataBody,
    LossExpression,
    ModelOrSpec,
    NetworkBackwardRequest,
    PredictRequest,
    TrainRequest,
)

CHARACTER = 1.5e-6
"""One character of a text, parsed."""
NODE = 0.2e-6
"""One node of a graph, read and laid out."""
STEP = 1e-8
"""One instruction at one point."""
NUMBER = 1e-7
"""One number of an answer."""
PRODUCT = 2e-9
"""One weight and one row, forward and back; activations are counted with the weights that lead to them."""
CALL = 2e-6
"""One layer in one step of training, beside its products."""
WEIGHT = 5e-7
"""One weight, drawn, and written in an answer with an optimizer's state."""
OWN_DATASETS = {"xor": 4, "spiral": 200}
"""Rows of the datasets that are made here; for the others a library is loaded at first."""

UNKNOWN = math.inf


def parsing(request: ExpressionRequest) -> float:
    """An expression, read."""
    return _read(request.expression)


def expression(request: ExpressionRequest) -> float:
    """A few walks over an expression at all of its points."""
    nodes = _nodes(request.expression)
    numbers = len(getattr(request, "wrt", None) or ()) or nodes
    return _read(request.expression) + (4.0 * STEP * nodes + NUMBER * numbers) * _points(request)


def derivatives(request: ExpressionRequest) -> float:
    """As many walks as an expression has leaves, or more, and tables of tables."""
    nodes = _nodes(request.expression)
    wanted = max(nodes, len(getattr(request, "wrt", None) or ()), len(getattr(request, "outputs", None) or ()))
    return expression(request) + (4.0 * STEP * nodes + NUMBER * wanted) * wanted * _points(request)


def drawing(request: ExpressionRequest) -> float:
    """An expression as rows of nodes and edges."""
    return _read(request.expression) + 50.0 * NUMBER * _nodes(request.expression) * _points(request)


def unknown(request: object) -> float:
    """Work whose amount a request does not show."""
    return UNKNOWN


def prediction(request: PredictRequest) -> float:
    """A forward pass over all rows."""
    return _made(request.model) + PRODUCT * _weights(request.model) * len(request.inputs)


def network_gradients(request: NetworkBackwardRequest) -> float:
    """A forward and a reverse pass over all rows."""
    return _made(request.model) + _loss(request.loss) + _step(request.model, request.loss, _rows(request.data))


def training(request: TrainRequest) -> float:
    """As many steps as are asked for."""
    rows = _rows(request.data)
    if request.batch_size is not None:
        rows = min(rows, max(request.batch_size, 1))
    rate = request.optimizer.learning_rate
    formula = 0.0 if rate is None or isinstance(rate, float) else STEP * _nodes(rate)
    begun = _made(request.model) + _loss(request.loss) + (_read(rate) if isinstance(rate, str | ExpressionGraph) else 0.0)
    return begun + max(request.steps, 0) * (formula + _step(request.model, request.loss, rows))


def _nodes(given: str | ExpressionGraph) -> float:
    """At most so many nodes: an operator takes a character of a text, and a node 16 bytes of a graph."""
    return len(given) if isinstance(given, str) else len(memoryview(given.nodes)) / 16


def _read(given: str | ExpressionGraph) -> float:
    return CHARACTER * len(given) if isinstance(given, str) else NODE * _nodes(given)


def _points(request: ExpressionRequest) -> int:
    """As many points as the longest list has numbers."""
    tangents: Mapping[str, float | list[float]] = getattr(request, "tangents", {})
    points = 1
    for given in (*request.inputs.values(), *tangents.values(), getattr(request, "cotangent", 1.0)):
        if isinstance(given, list) and len(given) > points:
            points = len(given)
    return points


def _weights(model: ModelOrSpec) -> float:
    """The weights of a model, or of the new one that it describes."""
    layers = [layer for layer in model.layers if isinstance(layer, int)]
    if layers:
        return sum(max(a, 0) * max(b, 0) for a, b in pairwise([model.inputs or 0, *layers]))
    return sum(len(row) for layer in model.layers if not isinstance(layer, int) for row in layer.weights)


def _made(model: ModelOrSpec) -> float:
    """A model, made and written."""
    return WEIGHT * _weights(model) + 10.0 * CALL * len(model.layers)


def _loss(loss: str | LossExpression) -> float:
    """A loss, read."""
    return 0.0 if isinstance(loss, str) else _read(loss.expression)


def _step(model: ModelOrSpec, loss: str | LossExpression, rows: float) -> float:
    """A step on so many rows."""
    last = model.layers[-1] if model.layers else 1
    outputs = max(last, 1) if isinstance(last, int) else len(last.biases)
    formula = 4 if isinstance(loss, str) else _nodes(loss.expression)
    return CALL * (1 + len(model.layers)) + (PRODUCT * _weights(model) + 2.0 * STEP * formula * outputs) * rows


def _rows(data: DataBody) -> float:
    """The rows of data; of a dataset by name those that are asked for."""
    if data.dataset is None:
        return len(data.inputs or ())
    rows = OWN_DATASETS.get(data.dataset)
    return UNKNOWN if rows is None else max(data.samples if data.samples is not None else rows, 0)
