"""Limits on requests about networks, and estimates of their run time and memory.

Work is counted in parameters times rows times steps.
"""

import math
from itertools import pairwise

from app.api.expressions.work import (
    BYTES_PER_NUMBER,
    BYTES_PER_ROW,
    SECONDS_PER_INSTRUCTION,
    check_nodes,
    check_numbers,
    count_nodes,
    reading_seconds,
)
from app.api.networks.models import (
    LossExpression,
    NetworkBackwardRequest,
    NetworkData,
    NetworkExportRequest,
    NetworkImportRequest,
    NetworkModel,
    NetworkSpec,
    PredictRequest,
    TrainRequest,
)
from app.engine.errors import Place
from app.formats.network_source import LANGUAGES
from app.nn.datasets import SOURCES
from app.nn.evaluation import block_bytes
from app.nn.losses import Loss
from app.nn.model import LINEAR, Model
from app.service.execution import Job
from app.service.problems import too_large

SECONDS_PER_PRODUCT = 2e-9
"""One weight and one row, forward and back; activations are counted with the weights that lead to them."""
SECONDS_PER_LAYER = 2e-6
"""One layer in one step of training, besides its products."""
SECONDS_PER_WRITTEN = 1e-6
"""One weight as text in source code."""
BYTES_PER_WRITTEN = 60
"""One weight, and as text in source code."""
BYTES_PER_EXPORTED = 24
"""One weight, also in an exported file, compressed."""
BYTES_PER_STORED = 56
"""One weight in a file that is read, and in a library's objects."""
BYTES_PER_BYTE = 3
"""One byte of a file, and in a library's objects."""
BYTES_OF_FIELDS = 100_000_000
"""The most that a library's objects take besides the weights: `onnx_import.LIMITS` bounds how many there are."""
BYTES_PER_HISTORY_ROW = 400
"""One row of a training's history, as an object and as text."""
SECONDS_PER_WEIGHT = 5e-7
"""One weight, drawn, and written in a response with an optimizer's state."""


def estimate_model(request: NetworkSpec) -> float:
    """Estimated run time in seconds of a new model."""
    return _model_seconds(request)


def estimate_export(request: NetworkExportRequest) -> float:
    """Estimated run time in seconds of a model as a file; unknown if a library may have to be loaded first."""
    if request.format not in LANGUAGES:
        return math.inf
    return _model_seconds(request.model) + SECONDS_PER_WRITTEN * _weights(request.model)


def estimate_import(request: NetworkImportRequest) -> float:
    """Estimated run time in seconds of a model from a file: unknown, since a library may have to be loaded first."""
    return math.inf


def estimate_prediction(request: PredictRequest) -> float:
    """Estimated run time in seconds of a forward pass over all rows."""
    return _model_seconds(request.model) + SECONDS_PER_PRODUCT * _weights(request.model) * len(request.inputs)


def estimate_gradients(request: NetworkBackwardRequest) -> float:
    """Estimated run time in seconds of a forward and a reverse pass over all rows."""
    step = _step_seconds(request.model, request.loss, _rows(request.data))
    return _model_seconds(request.model) + _loss_seconds(request.loss) + step


def estimate_training(request: TrainRequest) -> float:
    """Estimated run time in seconds of all steps."""
    rows = _rows(request.data)
    if request.batch_size is not None:
        rows = min(rows, request.batch_size)
    once = _model_seconds(request.model) + _loss_seconds(request.loss)
    each = _step_seconds(request.model, request.loss, rows)
    rate = request.optimizer.learning_rate
    if not isinstance(rate, float | None):
        once += reading_seconds(rate)
        each += SECONDS_PER_INSTRUCTION * count_nodes(rate)
    return once + request.steps * each


def _weights(model: NetworkModel | NetworkSpec) -> float:
    if isinstance(model, NetworkSpec):
        return sum(a * b for a, b in pairwise([model.inputs, *model.layers]))
    return sum(layer.weights.size for layer in model.layers)


def _model_seconds(model: NetworkModel | NetworkSpec) -> float:
    """Estimated time in seconds to create and serialize a model."""
    return SECONDS_PER_WEIGHT * _weights(model) + 10.0 * SECONDS_PER_LAYER * len(model.layers)


def _loss_seconds(loss: str | LossExpression) -> float:
    """Estimated time in seconds to read a loss."""
    return 0.0 if isinstance(loss, str) else reading_seconds(loss.expression)


def _step_seconds(model: NetworkModel | NetworkSpec, loss: str | LossExpression, rows: float) -> float:
    """Estimated time in seconds of one step on `rows` rows."""
    outputs = 1
    if isinstance(model, NetworkSpec):
        outputs = model.layers[-1]
    elif model.layers:
        outputs = len(model.layers[-1].biases)
    nodes = 4 if isinstance(loss, str) else count_nodes(loss.expression)
    per_row = SECONDS_PER_PRODUCT * _weights(model) + 2.0 * SECONDS_PER_INSTRUCTION * nodes * outputs
    return SECONDS_PER_LAYER * (1 + len(model.layers)) + per_row * rows


def _rows(data: NetworkData) -> float:
    """The number of rows; infinite if a library must be loaded first, which takes an unknown time."""
    if data.dataset is None:
        return 0 if data.inputs is None else len(data.inputs)
    source = SOURCES.get(data.dataset)
    if source is None:
        return 0
    return math.inf if source.loads_library else data.samples if data.samples is not None else source.samples


def check_spec(job: Job, spec: NetworkSpec) -> None:
    """Raise Problem for a new model with too many weights."""
    numbers = sum(a * b + b for a, b in pairwise([spec.inputs, *spec.layers]))
    check_numbers(job, numbers)
    job.reserve(BYTES_PER_NUMBER * numbers)


def check_model(job: Job, model: Model) -> None:
    """Raise Problem for a model of the request with too many weights and biases."""
    check_numbers(job, model.size)
    job.reserve(BYTES_PER_NUMBER * model.size)


def check_export(job: Job, model: Model, file_format: str) -> None:
    """Hold the memory that a model takes as a file."""
    job.reserve((BYTES_PER_WRITTEN if file_format in LANGUAGES else BYTES_PER_EXPORTED) * model.size)


def check_import(job: Job, size: int, numbers: int) -> None:
    """Raise Problem where a file of `size` bytes has too many numbers. Else hold the memory that they take."""
    job.check()
    check_numbers(job, numbers)
    job.reserve(BYTES_PER_BYTE * size + min(BYTES_OF_FIELDS, 50 * size) + BYTES_PER_STORED * numbers)


def check_scores(job: Job, model: Model, rows: int, path: Place) -> None:
    """Raise Problem where the scores of `rows` rows are too many numbers or too much work; `path` is what to reduce."""
    check_numbers(job, rows * model.outputs)
    _check_work(job, model, rows, 1, path)
    numbers = model.size + rows * (model.inputs + model.outputs)
    job.reserve(BYTES_PER_NUMBER * numbers + block_bytes(model, rows))


def check_graph(job: Job, model: Model) -> None:
    """Raise Problem where a network has too many nodes as a scalar expression without a loss.

    They are inputs, parameters, products, sums and activations.
    """
    products = sum(layer.weights.size for layer in model.layers)
    activations = sum(len(layer.biases) for layer in model.layers if layer.activation != LINEAR)
    nodes = model.inputs + model.size + products + model.neurons + activations
    check_nodes(nodes, job, ("model",))
    job.reserve(BYTES_PER_ROW * nodes)


def check_training(job: Job, model: Model, rows: int, steps: int, loss: Loss, path: Place, numbers: int) -> None:
    """Raise Problem where `steps` steps on `rows` rows are too much work; `path` is what to reduce. Else hold their memory.

    `numbers` is how many numbers the response has besides its history. The expression of a loss must not have too many either.
    """
    if loss.graph is not None:
        check_numbers(job, len(loss.graph.nodes) * rows * model.outputs)
    check_numbers(job, numbers)
    _check_work(job, model, rows, steps, path)
    numbers += 2 * model.size + rows * model.inputs
    job.reserve(BYTES_PER_NUMBER * numbers + block_bytes(model, rows, loss))


def reserve_history(job: Job, rows: int) -> None:
    """Hold memory for so many rows of a history more. How many there will be is known only when a training has ended."""
    job.reserve_more(BYTES_PER_HISTORY_ROW * rows)


def _check_work(job: Job, model: Model, rows: int, steps: int, path: Place) -> None:
    work = model.size * rows * steps
    if work > job.settings.max_work:
        detail = f"{model.size:,} parameters, {rows:,} rows per step and {steps:,} steps are {work:,} steps of work"
        raise too_large(detail, job.settings.max_work, "max_work", path)
