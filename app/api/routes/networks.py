"""The endpoints for networks: make, predict, differentiate, train, resume, stream. What they compute is in `nn`."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import msgspec
import numpy as np
from fastapi import APIRouter
from msgspec import UNSET
from starlette.requests import ClientDisconnect

from app.api import costs
from app.api import network_codec as codec
from app.api.codec import graph_body
from app.api.endpoint import BODY_PROBLEMS, computation, event_stream
from app.api.execution import JOB
from app.api.limits import check_model, check_nodes, check_numbers, check_training, too_large
from app.api.problems import Problem
from app.api.schemas.networks import (
    BoundaryAnswer,
    BoundaryPoint,
    BoundaryRequest,
    HistoryAnswer,
    HistoryRequest,
    HistoryRow,
    ModelAnswer,
    NetworkBackwardAnswer,
    NetworkBackwardRequest,
    NetworkGraphAnswer,
    NetworkGraphRequest,
    NetworkSpec,
    PredictAnswer,
    PredictRequest,
    TrainAnswer,
    TrainRequest,
)
from app.nn import losses, training
from app.nn.errors import InvalidNetwork, Misfit
from app.nn.graphs import network_graph
from app.nn.init import MLP
from app.nn.training import Row, Trained

router = APIRouter(prefix="/v1/networks", tags=["networks"])

PROBLEMS = (*BODY_PROBLEMS, "shape-mismatch", "non-finite")
LOSS_PROBLEMS = (
    *PROBLEMS, "unknown-node", "duplicate-node", "graph-cycle", "unknown-primitive", "wrong-arity", "unbound-input",
    "syntax-error",
)  # fmt: skip


@computation(router, "", seconds=costs.unknown, problems=PROBLEMS)
def networks(request: NetworkSpec) -> ModelAnswer:
    """A new multilayer perceptron.

    Weights are drawn layer by layer, neuron by neuron; biases are 0. `uniform` draws from [-1, 1] with Python's generator,
    so that seed 1337 gives the model of micrograd's published demo; `he` and `xavier` are normal with the variances
    2/inputs and 2/(inputs + neurons), from NumPy's PCG64.
    """
    check_model(request.inputs, request.layers)
    model = MLP(
        request.inputs,
        request.layers,
        activation=request.activation,
        output_activation=request.output_activation,
        init=request.init,
        seed=request.seed,
    )
    return ModelAnswer(codec.model_body(model), len(model.flat()))


@computation(router, "/predict", seconds=costs.prediction, problems=PROBLEMS)
def predict(request: PredictRequest) -> PredictAnswer:
    """Scores for rows of inputs.

    Each layer gives `activation(inputs @ weights.T + biases)`; `outputs` has the shape (rows, outputs).
    """
    model, rows = codec.model_of(request.model), codec.rows_of(request.inputs, ("inputs",))
    check_numbers(len(rows) * sum(len(layer.biases) for layer in model.layers))
    scores = training.predict(model, rows)
    if not np.isfinite(scores).all():
        row, output = np.argwhere(~np.isfinite(scores))[0]
        raise Problem("non-finite", f"output {output} of row {row} is {scores[row, output]}: the forward pass overflows")
    return PredictAnswer(scores.tolist())


@computation(router, "/backward", seconds=costs.network_gradients, problems=LOSS_PROBLEMS)
def network_backward(request: NetworkBackwardRequest) -> NetworkBackwardAnswer:
    """Loss and gradients on data.

    `loss = data_loss + l2 * sum(p*p)`, where `data_loss` is the mean over rows and outputs; `gradients` has the shape of the
    model, `input_gradients` that of the inputs.
    """
    loss = codec.loss_of(request.loss)
    model = codec.model_of(request.model)
    inputs, targets = codec.data_of(request.data, model, loss)
    check_training(model.size, len(inputs), 1, loss, model.outputs)
    result = training.gradients(model, inputs, targets, loss, request.l2, request.input_gradients)
    numbers = [result.gradients.flat(), result.input_gradients if result.input_gradients is not None else np.empty(0)]
    if not np.isfinite(result.loss) or not all(np.isfinite(part).all() for part in numbers):
        what = "a gradient" if np.isfinite(result.loss) else "the loss"
        raise Problem("non-finite", f"{what} is not finite: the numbers of the model or the data are too large")
    by_inputs = result.input_gradients
    return NetworkBackwardAnswer(
        loss=result.loss,
        data_loss=result.data_loss,
        regularization_loss=result.regularization_loss,
        accuracy=UNSET if result.accuracy is None else result.accuracy,
        gradients=codec.buffer_body(result.gradients),
        input_gradients=UNSET if by_inputs is None else by_inputs.tolist(),
    )


@dataclass(frozen=True)
class _Training:
    """A training that is checked and begun: its chunks, and how its end is written."""

    chunks: Any
    answer: Callable[[Trained], TrainAnswer]


def _begin(request: TrainRequest) -> _Training:
    """Everything that can be wrong with a request for a training comes up here."""
    loss = codec.loss_of(request.loss)
    model = codec.model_of(request.model)
    inputs, targets = codec.data_of(request.data, model, loss)
    optimizer = codec.optimizer_of(request.optimizer)
    job = JOB.get()
    rows = min(request.batch_size or len(inputs), len(inputs))
    check_training(model.size, rows, request.steps, loss, model.outputs)
    run = training.begin(
        model,
        inputs,
        targets,
        loss=loss,
        optimizer=optimizer,
        steps=request.steps,
        l2=request.l2,
        batch_size=request.batch_size,
        seed=request.seed,
        log_every=request.log_every,
        state=codec.state_of(request.state, optimizer),
        out_of_time=lambda: time.perf_counter() > job.deadline,
        most_rows=job.settings.max_points,
    )

    def answer(result: Trained) -> TrainAnswer:
        return TrainAnswer(
            model=codec.model_body(result.model),
            state=codec.state_body(result.state, optimizer),
            history=[codec.history_row(row) for row in result.history],
            stopped=result.stopped,
            detail=UNSET if result.detail is None else result.detail,
        )

    return _Training(run, answer)


@computation(router, "/train", seconds=costs.training, problems=LOSS_PROBLEMS)
def train(request: TrainRequest) -> TrainAnswer:
    """Train a model: a new model, its state and a history.

    Step k: forward on the step's rows, log, backward, update; so row k of `history` holds the loss before update k. Nothing is
    kept here: `model` and `state` of the answer go into the next request to go on, and 60 steps and then 40 give the bytes of
    100. The rows of a mini-batch depend on `seed` and the step alone. Update rules, parameter names and defaults are PyTorch's.
    """
    job = JOB.get()
    for event, data in _events(_begin(request)):
        if event == "result":
            return cast(TrainAnswer, data)
        if job.cancelled:
            break
    raise ClientDisconnect


@event_stream(router, "/train/stream", problems=LOSS_PROBLEMS, events={"progress": HistoryRow, "result": TrainAnswer})
def train_stream(request: TrainRequest) -> Iterator[tuple[str, msgspec.Struct]]:
    """Train a model and watch.

    The same request as `/v1/networks/train`, answered by server-sent events: `progress` with a row of the history, at most
    every 100 ms; then one `result` with the whole answer, or `error` with a problem.
    """
    return _events(_begin(request))


def _events(begun: _Training) -> Iterator[tuple[str, msgspec.Struct]]:
    """After each chunk of steps its last row, and in the end the answer."""
    while True:
        try:
            rows: list[Row] = next(begun.chunks)
        except StopIteration as end:
            yield "result", begun.answer(end.value)
            return
        yield "progress", codec.history_row(rows[-1])


@computation(router, "/graph", seconds=costs.unknown, problems=LOSS_PROBLEMS)
def network_as_graph(request: NetworkGraphRequest) -> NetworkGraphAnswer:
    """A network as a scalar expression, neuron by neuron.

    The answer is a graph object that `/v1/backward` takes. Parameters are the leaves `layers.0.weights.3.1` and
    `layers.0.biases.3`, inputs are `inputs.0`. With `target` the output is `loss`; without one the outputs are the scores.
    """
    model = codec.model_of(request.model)
    check_nodes(2 * model.size)
    wanted = None
    if request.target is not None:
        wanted = np.array(request.target if isinstance(request.target, list) else [request.target], np.float64)
    loss = codec.loss_of(request.loss) if request.loss is not None else None
    if wanted is not None and loss is None:
        loss = losses.named("mse")
    graph = network_graph(model, np.array(request.inputs, np.float64), wanted, loss)
    return NetworkGraphAnswer(graph_body(graph.nodes, graph.outputs))


@computation(router, "/decision-boundary", seconds=costs.unknown, problems=PROBLEMS)
def decision_boundary(request: BoundaryRequest) -> BoundaryAnswer:
    """Scores on a grid, for a model of two inputs.

    The grid covers the data and `padding` on each side, in steps of `step`; a score over 0 is one side of the boundary. Of a
    model with several outputs the score is the index of the greatest.
    """
    model = codec.model_of(request.model)
    if model.inputs != 2:
        detail = f"a boundary is drawn for a model of two inputs, and this one has {model.inputs}"
        raise Misfit(detail, ("model", "layers", 0, "weights"))
    low, high = np.array([-1.0, -1.0]), np.array([1.0, 1.0])
    if request.data is not None:
        inputs, _ = codec.data_of(request.data, model)
        low, high = inputs.min(axis=0), inputs.max(axis=0)
    sizes = (high - low + 2.0 * request.padding) / request.step
    most = JOB.get().settings.max_points
    ends = np.abs(np.concatenate([low, high])).max() + request.padding
    if not (np.isfinite(ends) and np.prod(np.maximum(np.ceil(sizes), 1.0)) <= most):
        raise too_large("the grid has too many points: take a larger step", most, "max_points", ("step",), ("padding",))
    xs, ys = (np.arange(lo - request.padding, hi + request.padding, request.step) for lo, hi in zip(low, high, strict=True))
    if not len(xs) or not len(ys):
        raise InvalidNetwork("the grid has no points: data without extent want a padding over 0", ("padding",))
    grid = np.array([(x, y) for y in ys for x in xs])
    scores = training.predict(model, grid)
    if not np.isfinite(scores).all():
        raise Problem("non-finite", "a score on the grid is not finite: the forward pass overflows")
    shown = scores[:, 0] if model.outputs == 1 else scores.argmax(axis=1).astype(np.float64)
    return BoundaryAnswer([BoundaryPoint(x, y, s) for (x, y), s in zip(grid.tolist(), shown.tolist(), strict=True)])


@computation(router, "/history", problems=PROBLEMS)
def history(request: HistoryRequest) -> HistoryAnswer:
    """A training's history by column, ready to be plotted.

    Takes the `history` of `/v1/networks/train` as it is.
    """
    if not request.history:
        raise Misfit("the history has no rows", ("history",))
    answer = HistoryAnswer(step=[row.step for row in request.history], loss=[row.loss for row in request.history])
    for name in ("data_loss", "regularization_loss", "accuracy", "learning_rate"):
        column = [getattr(row, name) for row in request.history]
        if any(number is not None for number in column):
            setattr(answer, name, column)
    return answer
