"""Training for programs in Python: names, expressions and plain lists in place of the records that `app.nn.training` takes."""

from typing import TypedDict, Unpack

import numpy as np
import numpy.typing as npt

from app.engine.text import parse
from app.nn import evaluation, losses, optimizers, training
from app.nn.errors import NetworkMismatch
from app.nn.losses import LOSSES, Loss
from app.nn.model import Floats, Model
from app.nn.optimizers import Optimizer
from app.nn.training import TrainingOptions, TrainingResult, TrainingState


class TrainingKeywords(TypedDict, total=False):
    """The rarer arguments of `train`, with the meanings and defaults that they have in `TrainingOptions`."""

    l2: float
    batch_size: int | None
    seed: int
    log_every: int
    state: TrainingState


def train(
    model: Model,
    inputs: npt.ArrayLike,
    targets: npt.ArrayLike,
    *,
    loss: str | Loss = "mse",
    optimizer: str | Optimizer = "sgd",
    learning_rate: float | str | None = None,
    steps: int = 100,
    **keywords: Unpack[TrainingKeywords],
) -> TrainingResult:
    """Train, and return the new model with the history and the state to resume from. `model` does not change.

    Args:
        model: a model, such as `MLP(2, [16, 1])`.
        inputs: rows of numbers: lists, or an array of shape (rows, inputs).
        targets: a number per row, or rows with one per output; for cross-entropy, the class of each row.
        loss: a name of LOSSES, or an expression of `score` and `target`, such as "(score - target)**2".
        optimizer: a name of OPTIMIZERS, with PyTorch's defaults; or what `optimizers.make` returns.
        learning_rate: a number, or an expression of `step`, for an optimizer given by its name; None for PyTorch's default.
        steps: how many updates to do.
        keywords: see TrainingKeywords.

    Raises: InvalidNetwork for unknown names and numbers out of range; NetworkMismatch for data that do not fit the model; the
    errors of `app.engine.parse` for expressions.
    """
    rows, wanted = _rows(inputs, "inputs"), _rows(targets, "targets")
    if isinstance(optimizer, str):
        rate = parse(learning_rate) if isinstance(learning_rate, str) else learning_rate
        optimizer = optimizers.make(optimizer, rate)
    elif learning_rate is not None:
        raise TypeError("learning_rate belongs to an optimizer given by its name; give it to optimizers.make")
    return training.train(model, rows, wanted, TrainingOptions(loss_of(loss), optimizer, steps, **keywords))


def predict(model: Model, inputs: npt.ArrayLike) -> Floats:
    """Return the scores, of shape (rows, outputs), for rows of inputs."""
    return evaluation.predict(model, _rows(inputs, "inputs"))


def loss_of(loss: str | Loss) -> Loss:
    """Return a loss by its name, or the mean of an expression of `score` and `target`."""
    if isinstance(loss, Loss):
        return loss
    if loss in LOSSES or loss in losses.OTHER_NAMES or loss.isidentifier():
        return losses.named(loss)
    return losses.of_expression(parse(loss))


def _rows(numbers: npt.ArrayLike, name: str) -> Floats:
    """Return an array of shape (rows, width). Targets may be a number per row; inputs are rows."""
    try:
        array = np.asarray(numbers, np.float64)
    except (TypeError, ValueError):
        raise NetworkMismatch(f"{name} are rows of numbers, all of one length: [[1, 2], [3, 4]]", (name,)) from None
    if array.ndim == 1 and name == "targets":
        array = array[:, np.newaxis]
    if array.ndim != 2:
        raise NetworkMismatch(f"{name} are rows of numbers, [[1, 2], [3, 4]], and not of shape {array.shape}", (name,))
    return np.ascontiguousarray(array)
