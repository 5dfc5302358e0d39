"""Between request and response models and `app.nn`: models, data, losses, optimizers, states and histories."""

import json
from typing import Any

import numpy as np

from app.api.errors import located
from app.api.expressions.expression import graph_of
from app.api.networks import work
from app.api.networks.models import (
    BUFFERS,
    HistoryRequest,
    HistoryRowResponse,
    LayerNumbers,
    LossExpression,
    ModelNumbers,
    NetworkData,
    NetworkLayer,
    NetworkModel,
    NetworkSpec,
    OptimizerState,
)
from app.api.networks.models import TrainingState as TrainingStateModel
from app.engine.errors import NAME_LIMIT, EngineError, quote
from app.engine.text import parse
from app.nn import MLP, losses, optimizers
from app.nn.datasets import load
from app.nn.evaluation import check_data, check_inputs
from app.nn.losses import Loss
from app.nn.model import Floats, Layer, Model
from app.nn.optimizers import Optimizer
from app.nn.training import HistoryRow, TrainingState
from app.service.execution import Job
from app.service.problems import Problem, problem_at


def model_of(body: NetworkModel | NetworkSpec, job: Job, *path: str) -> Model:
    """The model at `path` in the request, or the new one that a spec describes."""
    with located(*path):
        if isinstance(body, NetworkSpec):
            work.check_spec(job, body)
            options = body.model_dump(include={"activation", "output_activation", "init", "seed"})
            return MLP(body.inputs, body.layers, **options, checkpoint=job.check)
        layers = []
        for k, layer in enumerate(body.layers):
            with located(*path, "layers", k):
                layers.append(Layer(layer.weights, layer.biases, layer.activation))
        model = Model(tuple(layers))
        work.check_model(job, model)
        return model


def data_of(body: NetworkData, model: Model, loss: Loss) -> tuple[Floats, Floats]:
    """Inputs of shape (rows, features) and targets of shape (rows, outputs), which fit the model and the loss."""
    inputs, targets = _data(body)
    if targets is None:
        raise problem_at("invalid-request", ("data", "targets"), "the field 'targets' is required")
    with located(*_place(body), whole=body.dataset is not None):
        check_data(model, inputs, targets, loss)
        losses.check_targets(loss, targets, model.outputs)
    return inputs, targets


def inputs_of(body: NetworkData, model: Model) -> Floats:
    """The inputs alone, of shape (rows, features); targets are not needed."""
    inputs, targets = _data(body)
    if targets is not None and len(targets) != len(inputs):
        detail = f"there are {len(targets)} targets for {len(inputs)} rows of inputs"
        raise problem_at("shape-mismatch", ("data", "targets"), detail)
    with located(*_place(body), whole=body.dataset is not None):
        check_inputs(model, inputs)
    return inputs


def points_of(body: NetworkData, model: Model) -> tuple[Floats, Floats | None]:
    """Inputs of shape (rows, features), and their targets of shape (rows,); None unless there is one number per row."""
    inputs, targets = inputs_of(body, model), _data(body)[1]
    return inputs, targets[:, 0] if targets is not None and targets.shape[1] == 1 else None


def check_two_inputs(model: Model) -> None:
    """Raise Problem for a model that has no decision boundary in a plane."""
    if model.inputs != 2:
        detail = f"a decision boundary needs a model of two inputs, and this one has {model.inputs}"
        raise problem_at("shape-mismatch", ("model",), detail)


def check_finite(scores: Floats) -> Floats:
    """The scores on a grid. Raises Problem where one is not finite."""
    if not np.isfinite(scores).all():
        detail = "a score on the grid is not finite; check the activations' domains and the size of the numbers"
        raise Problem("non-finite", detail)
    return scores


def check_history(request: HistoryRequest) -> None:
    """Raise Problem for a history without rows."""
    if not request.history:
        raise problem_at("shape-mismatch", ("history",), "the history has no rows")


def history_columns(request: HistoryRequest) -> dict[str, Floats]:
    """The columns of a history, without those that no row has. NaN stands for a number that is absent."""
    names = ("loss", "data_loss", "regularization_loss", "accuracy", "learning_rate")
    columns = {name: [getattr(row, name) for row in request.history] for name in names}
    given = {name: column for name, column in columns.items() if any(number is not None for number in column)}
    return {name: np.array(column, np.float64) for name, column in given.items()}


def _place(body: NetworkData) -> tuple[str, ...]:
    """Where the rows come from."""
    return ("data",) if body.dataset is None else ("data", "dataset")


def _data(body: NetworkData) -> tuple[Floats, Floats | None]:
    """The rows of the request or of its dataset; None for targets that are absent."""
    if body.dataset is not None:
        if body.inputs is not None or body.targets is not None:
            detail = "expected a dataset by name, or inputs and targets, not both"
            raise problem_at("invalid-request", ("data", "dataset"), detail)
        with located("data"):
            made = load(body.dataset, body.samples, body.noise, body.seed or 0)
        return made.inputs, made.targets[:, np.newaxis]
    for name in ("samples", "noise", "seed"):
        if getattr(body, name) is not None:
            raise problem_at("invalid-request", ("data", name), f"{name} needs a dataset by name")
    if body.inputs is None:
        detail = "the field 'inputs' is required, or 'dataset' in its place"
        raise problem_at("invalid-request", ("data", "inputs"), detail)
    targets = body.targets
    return body.inputs, targets[:, np.newaxis] if targets is not None and targets.ndim == 1 else targets


def loss_of(body: str | LossExpression, job: Job) -> Loss:
    """A loss by name, or of an expression."""
    if isinstance(body, str):
        if not body.isidentifier() and body not in losses.OTHER_NAMES:
            raise problem_at("invalid-request", ("loss",), _as_loss(body))
        with located():
            return losses.named(body)
    return losses.of_expression(graph_of(body.expression, job, ("loss", "expression")))


def _as_loss(text: str) -> str:
    """What is wrong with a text in place of a loss's name."""
    detail = (
        f"there is no loss {quote(text)}; use one of {', '.join(losses.LOSSES)}, or write an expression of score and target"
    )
    try:
        parse(text)
    except EngineError:
        return f'{detail} as {{"expression": "(score - target)**2"}}'
    return f"{detail} as {json.dumps({'expression': text})}" if len(text) <= NAME_LIMIT else f"{detail} as an object"


def optimizer_of(body: Any, job: Job) -> Optimizer:
    """An optimizer; its learning rate may be an expression of `step`."""
    rate = body.learning_rate
    if not isinstance(rate, float | None):
        rate = graph_of(rate, job, ("optimizer", "learning_rate"))
    given = body.model_dump(exclude={"name", "learning_rate"}, exclude_unset=True)
    with located("optimizer"):
        return optimizers.make(body.name, rate, given)


def state_of(body: TrainingStateModel | None, optimizer: Optimizer) -> TrainingState:
    """The state to resume from."""
    if body is None:
        return TrainingState()
    kept: Any = body.optimizer
    if kept is None:
        return TrainingState(body.step)
    if kept.name != optimizer.name:
        detail = f"the state belongs to {kept.name}, but the optimizer is {optimizer.name}"
        raise problem_at("shape-mismatch", ("state", "optimizer", "name"), detail)
    numbers: dict[str, ModelNumbers] = {name: getattr(kept, name) for name in BUFFERS if getattr(kept, name) is not None}
    return TrainingState(body.step, {name: _buffer(body, name) for name, body in numbers.items()})


def _buffer(body: ModelNumbers, name: str) -> Model:
    """Numbers in the shape of a model."""
    path = ("state", "optimizer", name)
    layers = []
    for k, layer in enumerate(body.layers):
        with located(*path, "layers", k):
            layers.append(Layer(layer.weights, layer.biases))
    with located(*path):
        return Model(tuple(layers))


def model_response(model: Model) -> NetworkModel:
    """A model on the wire."""
    layers = [NetworkLayer(weights=layer.weights, biases=layer.biases, activation=layer.activation) for layer in model.layers]
    return NetworkModel(layers=layers)


def numbers_response(model: Model) -> ModelNumbers:
    """Numbers in the shape of a model on the wire."""
    layers = [LayerNumbers(weights=layer.weights, biases=layer.biases) for layer in model.layers]
    return ModelNumbers(layers=layers)


def state_response(state: TrainingState, optimizer: Optimizer) -> TrainingStateModel:
    """A state on the wire."""
    buffers: dict[str, Any] = {name: numbers_response(buffer) for name, buffer in state.buffers.items()}
    return TrainingStateModel(step=state.step, optimizer=OptimizerState(name=optimizer.name, **buffers))


def history_row(row: HistoryRow) -> HistoryRowResponse:
    """A row of the history on the wire. Regression has no accuracy."""
    fields = row._asdict()
    if row.accuracy is None:
        del fields["accuracy"]
    return HistoryRowResponse(**fields)


def history_rows(rows: list[HistoryRow]) -> Any:
    """The whole history on the wire, as plain dicts: a model per row would take four times as long to make and to write."""
    if rows and rows[0].accuracy is None:
        return [{name: value for name, value in row._asdict().items() if name != "accuracy"} for row in rows]
    return [row._asdict() for row in rows]


class BoundaryRows:
    """The points of a decision boundary on the wire: a list of plain dicts, made when they are written.

    `grid` has shape (points, 2), `scores` (points,). A million models, or dicts, at once would take hundreds of megabytes.
    """

    def __init__(self, grid: Floats, scores: Floats) -> None:
        self.grid = grid
        self.scores = scores

    def __len__(self) -> int:
        return len(self.scores)

    def json_rows(self, low: int, high: int) -> list[dict[str, float]]:
        """The points from `low` up to `high`."""
        points = zip(self.grid[low:high].tolist(), self.scores[low:high].tolist(), strict=True)
        return [{"x": x, "y": y, "score": score} for (x, y), score in points]
