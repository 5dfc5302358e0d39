"""Losses: expressions of `score` and `target`, one line each, and what their targets may be.

Each is the mean over rows and outputs, as PyTorch's defaults are. `cross_entropy` couples the outputs of a row, so it is
no expression of one score, and has its own loop in `kernels`.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from app.engine.errors import nearest, quote
from app.engine.graph import Graph
from app.engine.text import parse
from app.nn.errors import InvalidNetwork, Misfit
from app.nn.model import Floats

Accuracy = Literal["none", "sign", "zero_one", "argmax"]

CROSS_ENTROPY = "cross_entropy"

EXPRESSIONS = {
    "max_margin": "relu(1 - target*score)",
    "mse": "(score - target)**2",
    "mae": "abs(score - target)",
    "huber": "d = abs(score - target); where(d < 1, 0.5*d**2, d - 0.5)",
    "binary_cross_entropy": "target*softplus(-score) + (1 - target)*softplus(score)",
}
"""Huber's has delta 1. The scores of `binary_cross_entropy` are logits: softplus(-s) is -log of the probability sigmoid(s) of
1, softplus(s) that of the probability of 0, and neither overflows or cancels."""

NAMES = (*EXPRESSIONS, CROSS_ENTROPY)


@dataclass(frozen=True)
class Loss:
    """A loss: its expression as a graph, or None for cross-entropy."""

    name: str
    graph: Graph | None


def named(name: str) -> Loss:
    """One of the losses in `NAMES`. Raises InvalidNetwork."""
    if name == CROSS_ENTROPY:
        return Loss(name, None)
    if name not in EXPRESSIONS:
        hint = nearest(name, NAMES) or f" There are {', '.join(NAMES)}."
        raise InvalidNetwork(f"there is no loss {quote(name)}.{hint}", ("loss",))
    return Loss(name, parse(EXPRESSIONS[name]))


def of_expression(graph: Graph) -> Loss:
    """A loss of one's own, of the leaves `score` and `target`."""
    return Loss("expression", graph)


def check_targets(loss: Loss, targets: Floats, outputs: int) -> Accuracy:
    """How accuracy is counted with these targets, of shape (rows, outputs), or (rows, 1) for cross-entropy.

    Raises InvalidNetwork for a label that the loss cannot take, Misfit for a class that the model has no output for.
    """
    if loss.graph is None:
        if outputs < 2:
            raise Misfit(f"{CROSS_ENTROPY} wants a model with an output for each class, not with {outputs}", ("model",))
        classes = targets[:, 0]
        bad = np.flatnonzero((classes != np.floor(classes)) | (classes < 0) | (classes >= outputs))
        if len(bad):
            k = int(bad[0])
            detail = f"row {k} has the class {classes[k]:g}; with {outputs} outputs classes are the integers 0 to {outputs - 1}"
            raise Misfit(detail, ("data", "targets", k))
        return "argmax"
    if loss.name == "max_margin":
        _among(targets, np.abs(targets) == 1.0, "-1 or 1", loss.name)
        return "sign"
    if loss.name == "binary_cross_entropy":
        _among(targets, (targets >= 0.0) & (targets <= 1.0), "0 or 1, or a probability between them", loss.name)
        return "zero_one"
    if (np.abs(targets) == 1.0).all():
        return "sign"
    return "zero_one" if ((targets == 0.0) | (targets == 1.0)).all() else "none"


def _among(targets: Floats, fits: np.ndarray[tuple[int, ...], np.dtype[np.bool_]], words: str, name: str) -> None:
    if not fits.all():
        row, column = (int(k) for k in np.argwhere(~fits)[0])
        detail = f"row {row} has the target {targets[row, column]:g}; for {name} it is {words}"
        raise InvalidNetwork(detail, ("data", "targets", row))
