"""Between the wire and `nn`: bodies to models, data, losses, optimizers and states, and back. As `codec` is for expressions."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from msgspec import UNSET
from msgspec.structs import replace

from app.api.codec import graph_of
from app.api.limits import check_expression, check_model
from app.api.schemas.expressions import ExpressionGraph
from app.api.schemas.networks import (
    BufferBody,
    BufferLayer,
    DataBody,
    HistoryRow,
    LayerBody,
    LossExpression,
    ModelBody,
    ModelOrSpec,
    OptimizerBody,
    OptimizerState,
    StateBody,
)
from app.engine.errors import EngineError, Path
from app.nn import losses, optimizers, training
from app.nn.datasets import load
from app.nn.errors import InvalidNetwork, Misfit
from app.nn.init import MLP
from app.nn.losses import Loss
from app.nn.model import Floats, Layer, Model
from app.nn.optimizers import Optimizer
from app.nn.training import Row, State

BUFFERS = ("momentum_buffer", "exp_avg", "exp_avg_sq", "max_exp_avg_sq", "square_avg", "grad_avg")


@contextmanager
def at(*path: str | int) -> Iterator[None]:
    """Lets an error of the engine point at this place of the body, and at its own place within."""
    try:
        yield
    except EngineError as error:
        error.path = (*path, *error.path)
        raise


def rows_of(rows: Sequence[Sequence[float]], place: Path) -> Floats:
    """Rows as an array of shape (rows, width). Raises Misfit where two differ in width, or there are none."""
    if not rows or not rows[0]:
        raise Misfit("there are no rows, or rows without numbers", place)
    width = len(rows[0])
    for k, row in enumerate(rows):
        if len(row) != width:
            raise Misfit(f"row {k} has {len(row)} numbers and row 0 has {width}: rows have one width", (*place, k))
    return np.array(rows, np.float64)


def model_of(body: ModelOrSpec) -> Model:
    """The model in a body, or the new one that it describes. Errors point into `model`."""
    with at("model"):
        neurons = [layer for layer in body.layers if isinstance(layer, int)]
        options = {name: getattr(body, name) for name in ("activation", "output_activation", "init", "seed")}
        given = {name: option for name, option in options.items() if option is not None}
        if not body.layers:
            raise InvalidNetwork("a model has at least one layer", ("layers",))
        if len(neurons) == len(body.layers):
            if body.inputs is None:
                raise InvalidNetwork("a new model wants the number of its inputs", ("inputs",))
            check_model(body.inputs, neurons)
            return MLP(body.inputs, neurons, **given)
        layers = []
        for k, layer in enumerate(body.layers):
            if isinstance(layer, int):
                raise InvalidNetwork("layers are all layers, or all numbers of neurons of a new model", ("layers", k))
            with at("layers", k):
                layers.append(Layer(rows_of(layer.weights, ("weights",)), np.array(layer.biases), layer.activation))
        if given or body.inputs is not None:
            name = next(iter(given), "inputs")
            raise InvalidNetwork(f"{name} is for a new model, and this one has its layers", (name,))
        return Model(tuple(layers))


def data_of(body: DataBody, model: Model, loss: Loss | None = None) -> tuple[Floats, Floats]:
    """Inputs of shape (rows, features) and targets of shape (rows, outputs), which fit the model and the loss; without a
    loss there are as many targets as rows, whatever they are, or none. Errors point into `data`.
    """
    if loss is None and body.targets is None and body.inputs is not None:
        body = replace(body, targets=[0.0] * len(body.inputs))
    inputs, targets = _data(body)
    try:
        training.check_inputs(model, inputs, ("data", "inputs"))
        if loss is not None:
            training.check_data(model, inputs, targets, loss)
            losses.check_targets(loss, targets, model.outputs)
        elif len(targets) != len(inputs):
            raise Misfit(f"there are {len(targets)} targets for {len(inputs)} rows of inputs", ("data", "targets"))
    except EngineError as error:
        if body.dataset is not None and error.path[:1] == ("data",):
            error.path = ("data", "dataset")
        raise
    return inputs, targets


def _data(body: DataBody) -> tuple[Floats, Floats]:
    with at("data"):
        if body.dataset is not None:
            if body.inputs is not None or body.targets is not None:
                raise InvalidNetwork("data are a dataset by name, or inputs and targets, not both", ("dataset",))
            made = load(body.dataset, body.samples, body.noise, body.seed or 0)
            return made.inputs, made.targets[:, np.newaxis]
        for name in ("samples", "noise", "seed"):
            if getattr(body, name) is not None:
                raise InvalidNetwork(f"{name} goes with a dataset by name", (name,))
        if body.inputs is None or body.targets is None:
            missing = "inputs" if body.inputs is None else "targets"
            raise InvalidNetwork(f"data are inputs and targets, or a dataset by name; {missing} are missing", (missing,))
        inputs = rows_of(body.inputs, ("inputs",))
        if not body.targets:
            raise Misfit(f"there are no targets for {len(inputs)} rows of inputs", ("targets",))
        return inputs, rows_of(_as_rows(body.targets), ("targets",))


def _as_rows(targets: Sequence[float | list[float]]) -> list[list[float]]:
    return [target if isinstance(target, list) else [target] for target in targets]


def loss_of(body: str | LossExpression) -> Loss:
    """A loss by name, or of an expression. Errors point into `loss`."""
    if isinstance(body, str):
        return losses.named(body)
    check_expression(body.expression, ("loss", "expression"))
    with at("loss"):
        return losses.of_expression(graph_of(body.expression))


def optimizer_of(body: OptimizerBody) -> Optimizer:
    """An optimizer; its learning rate may be an expression of `step`. Errors point into `optimizer`."""
    rate: Any = body.learning_rate
    if isinstance(rate, str | ExpressionGraph):
        check_expression(rate, ("optimizer", "learning_rate"))
        try:
            rate = graph_of(rate)
        except EngineError as error:
            error.path = ("optimizer", "learning_rate", *error.path[1:])
            raise
    given: dict[str, float] = {}
    for name in optimizers.PARAMETERS:
        number = getattr(body, name, UNSET)
        if number is not UNSET:
            given[name] = float(number)
    if body.betas is not UNSET:
        given |= dict(zip(("beta1", "beta2"), body.betas, strict=True))
    try:
        return optimizers.make(body.name, rate, given)
    except InvalidNetwork as error:
        if error.path[-1] in ("beta1", "beta2"):
            place = () if body.name not in ("adam", "adamw") else (int(str(error.path[-1])[-1]) - 1,)
            error.path = ("optimizer", "betas", *place)
            error.detail = error.detail.replace("beta1", "betas").replace("beta2", "betas")
        raise


def state_of(body: StateBody | None, optimizer: Optimizer) -> State:
    """The state to resume from. Errors point into `state`."""
    if body is None:
        return State()
    buffers: dict[str, Model] = {}
    kept = body.optimizer
    if kept is not None:
        if kept.name != optimizer.name:
            detail = f"the state is that of {kept.name}, and the optimizer is {optimizer.name}"
            raise Misfit(detail, ("state", "optimizer", "name"))
        for name in BUFFERS:
            numbers: BufferBody | None = getattr(kept, name)
            if numbers is not None:
                with at("state", "optimizer", name):
                    buffers[name] = _shaped(numbers)
    return State(body.step, buffers)


def _shaped(body: BufferBody) -> Model:
    layers = []
    for k, layer in enumerate(body.layers):
        with at("layers", k):
            layers.append(Layer(rows_of(layer.weights, ("weights",)), np.array(layer.biases)))
    return Model(tuple(layers))


def model_body(model: Model) -> ModelBody:
    """A model on the wire."""
    return ModelBody([LayerBody(lay.weights.tolist(), lay.biases.tolist(), lay.activation) for lay in model.layers])


def buffer_body(model: Model) -> BufferBody:
    """Numbers in the shape of a model on the wire."""
    return BufferBody([BufferLayer(layer.weights.tolist(), layer.biases.tolist()) for layer in model.layers])


def state_body(state: State, optimizer: Optimizer) -> StateBody:
    """A state on the wire."""
    buffers: dict[str, Any] = {name: buffer_body(buffer) for name, buffer in state.buffers.items()}
    return StateBody(state.step, OptimizerState(name=optimizer.name, **buffers))


def history_row(row: Row) -> HistoryRow:
    """A row of the history on the wire."""
    return HistoryRow(
        step=row.step,
        loss=row.loss,
        data_loss=row.data_loss,
        regularization_loss=row.regularization_loss,
        accuracy=UNSET if row.accuracy is None else row.accuracy,
        learning_rate=row.learning_rate,
    )
