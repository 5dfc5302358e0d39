"""The endpoints for networks: create, predict, differentiate, train, resume, stream. What they compute is in `app.nn`."""

import time
from collections.abc import Generator, Iterator
from functools import partial
from typing import Any

import numpy as np
from fastapi import APIRouter
from starlette.requests import ClientDisconnect

from app.api.errors import BODY_PROBLEMS, EXPRESSION_PROBLEMS, NUMBER_PROBLEMS, located
from app.api.expressions.expression import graph_object
from app.api.expressions.work import SECONDS_PER_NUMBER, check_nodes, estimate_unknown
from app.api.networks import pictures, translation, work
from app.api.networks.models import (
    BoundaryRequest,
    BoundaryResponse,
    HistoryRequest,
    HistoryResponse,
    HistoryRowResponse,
    NetworkBackwardRequest,
    NetworkBackwardResponse,
    NetworkGraphRequest,
    NetworkGraphResponse,
    NewModelResponse,
    NewNetworkRequest,
    PredictRequest,
    PredictResponse,
    TrainRequest,
    TrainResponse,
)
from app.engine.faults import number_text
from app.nn import evaluation, losses, training
from app.nn.graphs import network_graph
from app.nn.optimizers import Optimizer
from app.nn.training import HistoryRow, TrainingOptions, TrainingResult
from app.service import problems
from app.service.execution import Job
from app.service.problems import Problem, problem_at, too_large
from app.service.routing import PNG, SVG, ComputationRoute, computation

Events = Iterator[tuple[str, HistoryRowResponse | TrainResponse]]

PROBLEMS = (*BODY_PROBLEMS, *NUMBER_PROBLEMS)
LOSS_PROBLEMS = (*PROBLEMS, *EXPRESSION_PROBLEMS)

router = APIRouter(
    prefix="/v1/networks", tags=["networks"], route_class=ComputationRoute, responses=problems.responses(*PROBLEMS)
)


@router.post("", summary="A new multilayer perceptron")
@computation(estimate_seconds=work.estimate_model)
def networks(request: NewNetworkRequest, job: Job) -> NewModelResponse:
    """Weights are drawn layer by layer, neuron by neuron; biases are 0.

    `uniform` draws from [-1, 1] with Python's generator, so that seed 1337 gives the model of micrograd's published demo. `he`
    and `xavier` are normal with the variances 2/inputs and 2/(inputs + neurons), from NumPy's PCG64.
    """
    model = translation.model_of(request, job)
    return NewModelResponse(model=translation.model_response(model), parameters=model.size)


@router.post("/predict", summary="Scores for rows of inputs")
@computation(estimate_seconds=work.estimate_prediction)
def predict(request: PredictRequest, job: Job) -> PredictResponse:
    """Each layer gives `activation(inputs @ weights.T + biases)`; `outputs` has the shape (rows, outputs)."""
    model = translation.model_of(request.model, job, "model")
    work.check_scores(job, model, len(request.inputs), ("inputs",))
    scores = evaluation.predict(model, request.inputs, checkpoint=job.check)
    if not np.isfinite(scores).all():
        row, output = np.argwhere(~np.isfinite(scores))[0]
        found = number_text(scores[row, output])
        detail = f"output {output} of row {row} is {found}; check the activations' domains and the size of the numbers"
        raise Problem("non-finite", detail)
    return PredictResponse(outputs=scores)


@router.post("/backward", summary="Loss and gradients on data", responses=problems.responses(*LOSS_PROBLEMS))
@computation(estimate_seconds=work.estimate_gradients)
def network_backward(request: NetworkBackwardRequest, job: Job) -> NetworkBackwardResponse:
    """`loss = data_loss + l2 * sum(p*p)`, where `data_loss` is the mean over rows and outputs.

    `gradients` has the shape of the model, `input_gradients` that of the inputs.
    """
    loss = translation.loss_of(request.loss, job)
    model = translation.model_of(request.model, job, "model")
    inputs, targets = translation.data_of(request.data, model, loss)
    numbers = model.size + (inputs.size if request.input_gradients else 0)
    work.check_training(job, model, len(inputs), 1, loss, ("data",), numbers)
    result = evaluation.gradients(model, inputs, targets, loss, request.l2, request.input_gradients, checkpoint=job.check)
    parts = [result.gradients.flat(), np.empty(0) if result.input_gradients is None else result.input_gradients]
    if not np.isfinite(result.loss) or not all(np.isfinite(part).all() for part in parts):
        what = "a gradient" if np.isfinite(result.loss) else "the loss"
        why = "numbers of the model or the data are too large, or outside the domain of an activation or of the loss"
        raise Problem("non-finite", f"{what} is not finite: {why}")
    optional: dict[str, Any] = {"accuracy": result.accuracy, "input_gradients": result.input_gradients}
    return NetworkBackwardResponse(
        loss=result.loss,
        data_loss=result.data_loss,
        regularization_loss=result.regularization_loss,
        gradients=translation.numbers_response(result.gradients),
        **{name: value for name, value in optional.items() if value is not None},
    )


@router.post("/train", summary="Train a model", responses=problems.responses(*LOSS_PROBLEMS))
@computation(estimate_seconds=work.estimate_training, ends_early=True)
def train(request: TrainRequest, job: Job) -> TrainResponse:
    """A new model, its state and a history.

    Step k runs forward on the step's rows, logs, runs backward and updates, so row k of `history` holds the loss before update
    k. Nothing is kept here: send `model` and `state` of the response in the next request to go on; 60 steps and then 40 give
    the bytes of 100. The rows of a mini-batch depend only on `seed` and the step. Update rules, parameter names and defaults
    are PyTorch's.
    """
    for event, data in _training(request, job):
        if event == "result":
            assert isinstance(data, TrainResponse)
            return data
        if job.cancelled:
            break
    raise ClientDisconnect


@router.post("/train/stream", summary="Train a model and watch", responses=problems.responses(*LOSS_PROBLEMS))
@computation(streams=True)
def train_stream(request: TrainRequest, job: Job) -> Events:
    """The same request as `/v1/networks/train`, answered by server-sent events.

    `progress` events hold a row of the history each, at most every 100 ms. Then comes one `result` with the whole response of
    `/v1/networks/train`, or one `error` with a problem.
    """
    return _training(request, job)


def _training(request: TrainRequest, job: Job) -> Events:
    """A checked training. It yields a row of the history after each chunk of steps, and the response at the end."""
    loss = translation.loss_of(request.loss, job)
    model = translation.model_of(request.model, job, "model")
    inputs, targets = translation.data_of(request.data, model, loss)
    optimizer = translation.optimizer_of(request.optimizer, job)
    rows = min(request.batch_size or len(inputs), len(inputs))
    numbers = model.size * (1 + len(optimizer.buffers))
    work.check_training(job, model, rows, request.steps, loss, ("steps",), numbers)
    seconds_to_answer = SECONDS_PER_NUMBER * numbers
    options = TrainingOptions(
        loss=loss,
        optimizer=optimizer,
        steps=request.steps,
        l2=request.l2,
        batch_size=request.batch_size,
        seed=request.seed,
        log_every=request.log_every,
        state=translation.state_of(request.state, optimizer),
    )
    chunks = training.begin(
        model,
        inputs,
        targets,
        options,
        checkpoint=job.check_client,
        out_of_time=lambda: time.perf_counter() > job.deadline - seconds_to_answer,
        max_history_rows=job.settings.max_points,
    )
    return _events(chunks, options, job)


def _events(chunks: Generator[list[HistoryRow], None, TrainingResult], options: TrainingOptions, job: Job) -> Events:
    while True:
        try:
            rows = next(chunks)
        except StopIteration as end:
            result: TrainingResult = end.value
            if result.stopped == "deadline" and result.state.step == options.state.step:
                raise job.deadline_exceeded() from None  # sent again, it would get no further
            yield "result", _train_response(result, options.optimizer, job.settings.max_points)
            return
        work.reserve_history(job, len(rows))
        yield "progress", translation.history_row(rows[-1])


def _train_response(result: TrainingResult, optimizer: Optimizer, max_rows: int) -> TrainResponse:
    detail = result.detail
    if result.stopped == "deadline" and len(result.history) >= max_rows:
        detail = f"{detail}; AUTODIFF_MAX_POINTS limits the rows of a history, and a larger log_every leaves more of them out"
    return TrainResponse(
        model=translation.model_response(result.model),
        state=translation.state_response(result.state, optimizer),
        history=translation.history_rows(result.history),
        stopped=result.stopped,
        **({} if detail is None else {"detail": detail}),
    )


@router.post("/graph", summary="A network as a scalar expression", responses=problems.responses(*LOSS_PROBLEMS))
@computation(estimate_seconds=estimate_unknown)
def network_as_graph(request: NetworkGraphRequest, job: Job) -> NetworkGraphResponse:
    """The network neuron by neuron, as a graph object that `/v1/backward` takes.

    Parameters are the leaves `layers.0.weights.3.1` and `layers.0.biases.3`, inputs are `inputs.0`. With `target` the output
    is `loss`; without it the outputs are the scores.
    """
    model = translation.model_of(request.model, job, "model")
    work.check_graph(job, model)
    target = None if request.target is None else np.atleast_1d(np.asarray(request.target))
    loss = translation.loss_of(request.loss, job) if request.loss is not None else None
    if target is not None and loss is None:
        loss = losses.named("mse")
    with located():
        graph = network_graph(model, request.inputs, target, loss, checkpoint=job.check)
    check_nodes(len(graph.nodes), job, ("model",))
    return NetworkGraphResponse(graph=graph_object(graph.nodes, graph.outputs))


@router.post("/decision-boundary", summary="Scores on a grid")
@computation(
    estimate_seconds=estimate_unknown,
    pictures={PNG: partial(pictures.draw_boundary, form="png"), SVG: partial(pictures.draw_boundary, form="svg")},
)
def decision_boundary(request: BoundaryRequest, job: Job) -> BoundaryResponse:
    """For a model of two inputs. The grid covers the data and `padding` on each side, in steps of `step`.

    A score above 0 is one side of the boundary. For a model with several outputs the score is the index of the largest.

    With `Accept: image/png` or `image/svg+xml` the response is a picture of the boundary with the data over it and, if the
    targets are classes, the accuracy. It covers the same range by a grid of its own, so `step` makes no difference to it.
    """
    model = translation.model_of(request.model, job, "model")
    translation.check_two_inputs(model)
    inputs = pictures.DEFAULT_RANGE
    if request.data is not None:
        inputs = translation.inputs_of(request.data, model)
    grid = _grid(inputs, request, job.settings.max_points)
    work.check_scores(job, model, len(grid), ("step",))
    scores = translation.check_finite(evaluation.predict(model, grid, checkpoint=job.check))
    shown = scores[:, 0] if model.outputs == 1 else scores.argmax(axis=1).astype(np.float64)
    rows: Any = translation.BoundaryRows(grid, shown)  # a list once it is written
    return BoundaryResponse(points=rows)


def _grid(inputs: Any, request: BoundaryRequest, limit: int) -> Any:
    """The points of the grid, of shape (points, 2), row by row from below."""
    with np.errstate(all="ignore"):  # infinity is too many
        low, high = inputs.min(axis=0) - request.padding, inputs.max(axis=0) + request.padding
        points = np.prod(np.maximum(np.ceil((high - low) / request.step), 1.0))
    if not (np.isfinite(low).all() and np.isfinite(high).all() and points <= limit):
        raise too_large("the grid has too many points: take a larger step", limit, "max_points", ("step",), ("padding",))
    xs, ys = (np.arange(low[k], high[k], request.step) for k in range(2))
    if not len(xs) or not len(ys):
        raise problem_at("invalid-request", ("padding",), "the grid has no points; data without extent need a padding above 0")
    return np.column_stack([np.tile(xs, len(ys)), np.repeat(ys, len(xs))])


@router.post("/history", summary="A training's history by column")
@computation(pictures={PNG: partial(pictures.draw_history, form="png"), SVG: partial(pictures.draw_history, form="svg")})
def history(request: HistoryRequest, job: Job) -> HistoryResponse:
    """Takes the `history` of `/v1/networks/train` as it is, and returns it by column, ready to be plotted.

    With `Accept: image/png` or `image/svg+xml` the response is a picture of the loss, its parts and the accuracy by step.
    """
    translation.check_history(request)
    columns: dict[str, Any] = translation.history_columns(request)
    return HistoryResponse(step=[row.step for row in request.history], **columns)
