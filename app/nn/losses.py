"""Losses: expressions of `score` and `target`, and the targets that each accepts.

A loss is the mean over rows and outputs, as in PyTorch. Cross-entropy couples the outputs of a row, so it is not an
expression of a single score; it has a loop of its own in `kernels`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from app.engine.errors import nearest, quote
from app.engine.graph import Graph
from app.engine.text import parse
from app.nn.errors import InvalidNetwork, NetworkMismatch
from app.nn.model import Floats

Accuracy = Literal["none", "sign", "zero_one", "argmax"]
"""How accuracy is counted.

`none`: not at all. `sign`: the share of scores with the sign of their target. `zero_one`: the share of scores above 0 exactly
where the target is above 0.5. `argmax`: the share of rows whose largest score is that of their class.
"""


@dataclass(frozen=True, slots=True)
class Targets:
    """A kind of targets: what they are in words, which numbers are accepted, and how accuracy is counted with them.

    `accepted` maps an array of targets to an array of booleans; it is None if every number is accepted or, for classes, if it
    depends on the model. `accuracy` is None if it depends
    on the targets themselves: `sign` if all are -1 or 1, `zero_one` if all are 0 or 1, else `none`.
    """

    description: str
    accepted: Callable[[Floats], npt.NDArray[np.bool_]] | None
    accuracy: Accuracy | None


NUMBERS = Targets("any number", None, None)
SIGNS = Targets("-1 or 1", lambda targets: np.abs(targets) == 1.0, "sign")
PROBABILITIES = Targets(
    "0 or 1, or a probability between them", lambda targets: (targets >= 0.0) & (targets <= 1.0), "zero_one"
)
CLASSES = Targets("the class of the row, the index of an output", None, "argmax")


@dataclass(frozen=True, slots=True)
class LossRow:
    """A row of the table of losses. `expression` is None for a loss that couples the outputs of a row."""

    name: str
    description: str
    expression: str | None
    targets: Targets


LOSSES: dict[str, LossRow] = {
    row.name: row
    for row in (
        LossRow("max_margin", "hinge loss of a support vector machine", "relu(1 - target*score)", SIGNS),
        LossRow("mse", "squared error", "(score - target)**2", NUMBERS),
        LossRow("mae", "absolute error", "abs(score - target)", NUMBERS),
        LossRow(
            "huber",
            "squared error near 0 and absolute error beyond 1 (delta is 1)",
            "d = abs(score - target); where(d < 1, 0.5*d**2, d - 0.5)",
            NUMBERS,
        ),
        # softplus(-s) is -log(sigmoid(s)) and softplus(s) is -log(1 - sigmoid(s)); neither overflows or cancels.
        LossRow(
            "binary_cross_entropy",
            "cross-entropy of the probability sigmoid(score); scores are logits",
            "target*softplus(-score) + (1 - target)*softplus(score)",
            PROBABILITIES,
        ),
        LossRow("cross_entropy", "cross-entropy of the softmax of a row's scores, which are logits", None, CLASSES),
    )
}


OTHER_NAMES = {
    **dict.fromkeys(("hinge", "hinge_loss", "margin", "svm"), "max_margin"),
    **dict.fromkeys(("l2", "l2_loss", "least_squares", "mean_squared_error", "MSELoss", "mse_loss", "quadratic"), "mse"),
    **dict.fromkeys(("squared", "squared_error"), "mse"),
    **dict.fromkeys(("l1", "L1Loss", "l1_loss", "mean_absolute_error", "absolute_error"), "mae"),
    **dict.fromkeys(("smooth_l1", "HuberLoss", "huber_loss", "SmoothL1Loss"), "huber"),
    **dict.fromkeys(("bce", "BCE", "bce_with_logits", "BCEWithLogitsLoss", "binary_crossentropy"), "binary_cross_entropy"),
    **dict.fromkeys(("binarycrossentropy", "log_loss"), "binary_cross_entropy"),
    **dict.fromkeys(("CrossEntropyLoss", "categorical_crossentropy", "ce", "crossentropy", "cross-entropy"), "cross_entropy"),
    **dict.fromkeys(("MSE", "Mse"), "mse"),
    **dict.fromkeys(("MAE", "Mae"), "mae"),
    **dict.fromkeys(("softmax", "softmax_cross_entropy", "sparse_categorical_crossentropy"), "cross_entropy"),
}
"""Losses by the names of other libraries. Theirs may take other targets; those of ours are checked."""


@dataclass(frozen=True, slots=True)
class Loss:
    """A loss to train with. `graph` is its expression of `score` and `target`, or None for cross-entropy."""

    name: str
    graph: Graph | None
    targets: Targets = NUMBERS


def named(loss: str) -> Loss:
    """Return the loss in the row `loss` of LOSSES. Raises InvalidNetwork for an unknown name."""
    row = LOSSES.get(loss)
    if row is None:
        other = OTHER_NAMES.get(loss)
        hint = (
            f" It is called {quote(other)} here."
            if other
            else nearest(loss, LOSSES) or f" Use one of {', '.join(map(quote, LOSSES))}."
        )
        raise InvalidNetwork(f"there is no loss {quote(loss)}.{hint}", ("loss",))
    return Loss(row.name, None if row.expression is None else parse(row.expression), row.targets)


def of_expression(graph: Graph) -> Loss:
    """Return the loss that is the mean of an expression of `score` and `target`. It accepts any targets."""
    return Loss("expression", graph)


def check_targets(loss: Loss, targets: Floats, outputs: int) -> Accuracy:
    """Check targets of shape (rows, outputs), or (rows, 1) for cross-entropy, and return how accuracy is counted with them.

    Raises InvalidNetwork for a target that the loss does not accept, NetworkMismatch for a class that is not one of the
    model's outputs, both at ("targets", row).
    """
    kind = loss.targets
    if loss.graph is None:
        return _check_classes(targets[:, 0], outputs, loss.name)
    if kind.accepted is not None:
        accepted = kind.accepted(targets)
        if not accepted.all():
            row, column = (int(k) for k in np.argwhere(~accepted)[0])
            detail = f"row {row} has the target {targets[row, column]:g}; {loss.name} needs {kind.description}"
            raise InvalidNetwork(detail, ("targets", row))
    if kind.accuracy is not None:
        return kind.accuracy
    if (np.abs(targets) == 1.0).all():
        return "sign"
    return "zero_one" if ((targets == 0.0) | (targets == 1.0)).all() else "none"


def _check_classes(classes: Floats, outputs: int, name: str) -> Accuracy:
    """Check that each target is the index of an output."""
    if outputs < 2:
        raise NetworkMismatch(f"{name} needs a model with one output per class, not with {outputs} output", ("model",))
    bad = np.flatnonzero((classes != np.floor(classes)) | (classes < 0) | (classes >= outputs))
    if len(bad):
        row = int(bad[0])
        detail = (
            f"row {row} has the class {classes[row]:g}; with {outputs} outputs, classes are the integers 0 to {outputs - 1}"
        )
        raise NetworkMismatch(detail, ("targets", row))
    return "argmax"
