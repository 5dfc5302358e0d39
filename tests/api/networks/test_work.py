"""Limits on requests about networks, and the estimates of their run time."""

import json
import math
from collections.abc import Callable
from typing import Any

import pytest

from app.api.expressions.work import SECONDS_PER_CHARACTER, SECONDS_PER_INSTRUCTION, SECONDS_PER_NODE
from app.api.networks import work
from app.api.networks.datasets import SECONDS_PER_ROW, estimate_rows
from app.api.networks.files import network_export
from app.api.networks.models import (
    DatasetQuery,
    NetworkBackwardRequest,
    NetworkExportRequest,
    NetworkSpec,
    PredictRequest,
    TrainRequest,
)
from app.api.networks.work import (
    BYTES_OF_FIELDS,
    BYTES_PER_BYTE,
    BYTES_PER_EXPORTED,
    BYTES_PER_HISTORY_ROW,
    BYTES_PER_STORED,
    BYTES_PER_WRITTEN,
    SECONDS_PER_LAYER,
    SECONDS_PER_PRODUCT,
    SECONDS_PER_WEIGHT,
    SECONDS_PER_WRITTEN,
)
from app.nn import MLP, losses
from app.nn.datasets import MAX_SAMPLES
from app.service.bodies import parse
from app.service.execution import Job
from app.service.memory import Budget, Share
from app.service.problems import Problem
from app.service.routing import FileResponse
from app.settings import Settings
from tests.rows import for_each
from tests.service.inprocess import job_with


def seconds(**fields: Any) -> float:
    """The estimate for a training."""
    model = {"inputs": 2, "layers": [16, 16, 1]}
    body = {"model": model, "data": {"dataset": "spiral", "samples": 100}, "loss": "mse", "steps": 1, **fields}
    return work.estimate_training(parse(json.dumps(body).encode(), TrainRequest))


def test_estimates_grow_with_everything_that_costs_time() -> None:
    base = seconds()
    for fields in (
        {"steps": 100},
        {"model": {"inputs": 2, "layers": [160, 160, 1]}},
        {"data": {"dataset": "spiral", "samples": 10_000}},
        {"loss": {"expression": "(score - target)**2" + " + 0*score" * 100}},
        {"optimizer": {"learning_rate": "0*(" + "-" * 3000 + "step)"}},
    ):
        assert seconds(**fields) > 1.5 * base, fields


def test_batches_cost_less_than_all_rows() -> None:
    rows = {"data": {"dataset": "spiral", "samples": 10_000}}
    assert seconds(**rows, batch_size=10) < 0.2 * seconds(**rows)
    assert seconds(**rows, batch_size=1_000_000) == seconds(**rows)


def test_dataset_of_a_library_takes_an_unknown_time() -> None:
    assert seconds(data={"dataset": "moons"}) == math.inf


def test_new_model_has_a_limit() -> None:
    work.check_spec(job_with(max_numbers=9), NetworkSpec(inputs=2, layers=[2, 1]))
    with pytest.raises(Problem, match="there would be 9 numbers; the limit is 8, and AUTODIFF_MAX_NUMBERS raises it"):
        work.check_spec(job_with(max_numbers=8), NetworkSpec(inputs=2, layers=[2, 1]))


def test_scores_have_a_limit() -> None:
    work.check_scores(job_with(max_numbers=10), MLP(2, [2, 1]), 10, ("inputs",))
    with pytest.raises(Problem, match="AUTODIFF_MAX_NUMBERS"):
        work.check_scores(job_with(max_numbers=9), MLP(2, [2, 1]), 10, ("inputs",))


def test_training_has_a_limit() -> None:
    model, loss = MLP(2, [2, 1]), losses.named("mse")
    work.check_training(job_with(max_work=9 * 10 * 5), model, 10, 5, loss, ("steps",), 9)
    with pytest.raises(Problem, match="9 parameters, 10 rows per step and 5 steps are 450 steps of work") as caught:
        work.check_training(job_with(max_work=449), model, 10, 5, loss, ("steps",), 9)
    assert [error.pointer for error in caught.value.errors] == ["/steps"]


# --- estimates, term by term

LINE = {"layers": [{"weights": [[1, 1]], "biases": [0]}]}
"""One layer of 2 weights, one output."""
TWO_LAYERS = {
    "layers": [{"weights": [[1, 1], [1, 1], [1, 1]], "biases": [0, 0, 0]}, {"weights": [[1] * 3] * 2, "biases": [0] * 2}]
}
"""2*3 and 3*2 weights, two outputs."""
SPEC = {"inputs": 2, "layers": [3, 2]}
"""A new model of that shape."""
XOR = {"dataset": "xor"}
LOSS_TEXT = {"expression": "score*target"}
"""12 characters, so at most 13 nodes with the output."""
LOSS_NODES = {
    "expression": {
        "nodes": [
            {"id": "score", "op": "value"},
            {"id": "target", "op": "value"},
            {"id": "loss", "op": "mul", "args": ["score", "target"]},
        ],
        "output": "loss",
    }
}
NAMED_NODES = 4
"""What the loss of one score is taken to need if it has a name."""


def new(weights: int, layers: int) -> float:
    """A model created and written."""
    return weights * SECONDS_PER_WEIGHT + 10 * layers * SECONDS_PER_LAYER


def step(weights: int, layers: int, outputs: int, rows: int, loss_nodes: int = NAMED_NODES) -> float:
    """A pass forward and back: layers and one loss, weights by rows, and the loss, forward and back, by outputs and rows."""
    return (
        (layers + 1) * SECONDS_PER_LAYER
        + weights * rows * SECONDS_PER_PRODUCT
        + 2 * loss_nodes * outputs * rows * SECONDS_PER_INSTRUCTION
    )


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        pytest.param({"inputs": 5, "layers": [1]}, new(5, 1), id="inputs"),
        pytest.param({"inputs": 1, "layers": [7]}, new(7, 1), id="neurons"),
        pytest.param(SPEC, new(2 * 3 + 3 * 2, 2), id="two layers"),
    ],
)
def test_estimate_of_a_new_model(spec: dict[str, Any], expected: float) -> None:
    assert work.estimate_model(parse(json.dumps(spec).encode(), NetworkSpec)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("model", "rows", "expected"),
    [
        pytest.param(LINE, 1, new(2, 1) + 2 * SECONDS_PER_PRODUCT, id="one row"),
        pytest.param(LINE, 1000, new(2, 1) + 1000 * 2 * SECONDS_PER_PRODUCT, id="rows"),
        pytest.param(TWO_LAYERS, 10, new(12, 2) + 10 * 12 * SECONDS_PER_PRODUCT, id="two layers"),
        pytest.param(SPEC, 10, new(12, 2) + 10 * 12 * SECONDS_PER_PRODUCT, id="new model"),
        pytest.param({"layers": []}, 10, 0.0, id="no layers"),
    ],
)
def test_estimate_of_a_prediction(model: dict[str, Any], rows: int, expected: float) -> None:
    body = json.dumps({"model": model, "inputs": [[1, 1]] * rows}).encode()
    assert work.estimate_prediction(parse(body, PredictRequest)) == pytest.approx(expected, rel=1e-12)


ROWS_OF_DATA: dict[str, tuple[dict[str, Any], int]] = {
    "inputs": ({"inputs": [[1, 1]] * 6, "targets": [1] * 6}, 6),
    "dataset": (XOR, 4),
    "samples": ({"dataset": "xor", "samples": 700}, 700),
    "dataset of 200 rows": ({"dataset": "spiral"}, 200),
    "unknown dataset, which is refused": ({"dataset": "none", "samples": 700}, 0),
    "no data, which are refused": ({}, 0),
}


@pytest.mark.parametrize(("data", "rows"), ROWS_OF_DATA.values(), ids=ROWS_OF_DATA)
def test_estimate_of_network_gradients_by_rows(data: dict[str, Any], rows: int) -> None:
    expected = new(2, 1) + step(2, 1, 1, rows)
    assert gradient_seconds({"data": data}) == pytest.approx(expected, rel=1e-12)


@for_each("name", ["moons", "circles", "blobs", "digits", "iris", "wine", "breast_cancer", "diabetes"])
def test_estimate_for_a_dataset_of_a_library_is_unknown(name: str) -> None:
    assert gradient_seconds({"data": {"dataset": name, "samples": 1}}) == math.inf
    assert seconds(model=LINE, data={"dataset": name, "samples": 1}) == math.inf


def gradient_seconds(fields: dict[str, Any]) -> float:
    """The estimate for gradients."""
    body = {"model": LINE, "data": XOR, "loss": "mse", **fields}
    return work.estimate_gradients(parse(json.dumps(body).encode(), NetworkBackwardRequest))


GRADIENTS: dict[str, tuple[dict[str, Any], float]] = {
    "two layers": ({"model": TWO_LAYERS}, new(12, 2) + step(12, 2, 2, 4)),
    "new model": ({"model": SPEC}, new(12, 2) + step(12, 2, 2, 4)),
    "no layers": ({"model": {"layers": []}}, step(0, 0, 1, 4)),
    "text of a loss": ({"loss": LOSS_TEXT}, new(2, 1) + 13 * SECONDS_PER_CHARACTER + step(2, 1, 1, 4, 13)),
    "nodes of a loss": ({"loss": LOSS_NODES}, new(2, 1) + 3 * SECONDS_PER_NODE + step(2, 1, 1, 4, 3)),
    "loss of two outputs": (
        {"loss": LOSS_TEXT, "model": SPEC},
        new(12, 2) + 13 * SECONDS_PER_CHARACTER + step(12, 2, 2, 4, 13),
    ),
}


@pytest.mark.parametrize(("fields", "expected"), GRADIENTS.values(), ids=GRADIENTS)
def test_estimate_of_network_gradients(fields: dict[str, Any], expected: float) -> None:
    assert gradient_seconds(fields) == pytest.approx(expected, rel=1e-12)


RATE_NODES = {"nodes": [{"id": "step", "op": "value"}, {"id": "rate", "op": "square", "args": ["step"]}], "output": "rate"}

TRAININGS: dict[str, tuple[dict[str, Any], float]] = {
    "one step": ({"steps": 1}, new(2, 1) + step(2, 1, 1, 4)),
    "steps": ({"steps": 50}, new(2, 1) + 50 * step(2, 1, 1, 4)),
    "100 steps by default": ({}, new(2, 1) + 100 * step(2, 1, 1, 4)),
    "batch": ({"steps": 50, "batch_size": 3}, new(2, 1) + 50 * step(2, 1, 1, 3)),
    "batch larger than the data": ({"steps": 50, "batch_size": 30}, new(2, 1) + 50 * step(2, 1, 1, 4)),
    "new model": ({"steps": 50, "model": SPEC}, new(12, 2) + 50 * step(12, 2, 2, 4)),
    "text of a loss": (
        {"steps": 50, "loss": LOSS_TEXT},
        new(2, 1) + 13 * SECONDS_PER_CHARACTER + 50 * step(2, 1, 1, 4, 13),
    ),
    "nodes of a loss": ({"steps": 50, "loss": LOSS_NODES}, new(2, 1) + 3 * SECONDS_PER_NODE + 50 * step(2, 1, 1, 4, 3)),
    "number as learning rate": ({"steps": 50, "optimizer": {"learning_rate": 0.1}}, new(2, 1) + 50 * step(2, 1, 1, 4)),
    "text of a learning rate": (
        {"steps": 50, "optimizer": {"learning_rate": "0.1/(1+step)"}},
        new(2, 1) + 13 * SECONDS_PER_CHARACTER + 50 * (step(2, 1, 1, 4) + 13 * SECONDS_PER_INSTRUCTION),
    ),
    "nodes of a learning rate": (
        {"steps": 50, "optimizer": {"learning_rate": RATE_NODES}},
        new(2, 1) + 2 * SECONDS_PER_NODE + 50 * (step(2, 1, 1, 4) + 2 * SECONDS_PER_INSTRUCTION),
    ),
}


@for_each(("fields", "expected"), TRAININGS.values())
def test_estimate_of_a_training(fields: dict[str, Any], expected: float) -> None:
    body = {"model": LINE, "data": XOR, "loss": "mse", **fields}
    assert work.estimate_training(parse(json.dumps(body).encode(), TrainRequest)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("inputs", "layers", "size"), [(1, [1], 1 + 1), (3, [2], 3 * 2 + 2), (2, [3, 2], 2 * 3 + 3 + 3 * 2 + 2)]
)
def test_parameters_of_a_new_model(inputs: int, layers: list[int], size: int) -> None:
    spec = NetworkSpec(inputs=inputs, layers=layers)
    work.check_spec(job_with(max_numbers=size), spec)
    with pytest.raises(Problem, match="AUTODIFF_MAX_NUMBERS"):
        work.check_spec(job_with(max_numbers=size - 1), spec)


EXPORTS: dict[str, tuple[dict[str, Any], float]] = {
    "one layer": ({"model": LINE, "format": "c"}, new(2, 1) + 2 * SECONDS_PER_WRITTEN),
    "two layers": ({"model": TWO_LAYERS, "format": "c"}, new(12, 2) + 12 * SECONDS_PER_WRITTEN),
    "new model": ({"model": SPEC, "format": "javascript"}, new(12, 2) + 12 * SECONDS_PER_WRITTEN),
    "ONNX": ({"model": LINE, "format": "onnx"}, math.inf),
    "safetensors": ({"model": LINE, "format": "safetensors"}, math.inf),
}


@pytest.mark.parametrize(("body", "expected"), EXPORTS.values(), ids=EXPORTS)
def test_estimate_of_a_file(body: dict[str, Any], expected: float) -> None:
    assert work.estimate_export(parse(json.dumps(body).encode(), NetworkExportRequest)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("samples", "rows"), [(None, 0), (70, 70), (MAX_SAMPLES, MAX_SAMPLES), (10**9, MAX_SAMPLES)])
def test_estimate_of_the_rows_of_a_dataset(samples: int | None, rows: int) -> None:
    """More rows than there can be are refused."""
    assert estimate_rows(DatasetQuery(samples=samples)) == pytest.approx(rows * SECONDS_PER_ROW, rel=1e-12)


# --- memory of files and histories


def held(hold: Callable[[Job], object]) -> int:
    """The bytes that a job holds."""
    job, budget = job_with(), Budget(1 << 40)
    job.share = Share(budget)
    hold(job)
    return budget.used


@pytest.mark.parametrize(
    ("file_format", "bytes_per_number"),
    [
        ("c", BYTES_PER_WRITTEN),
        ("javascript", BYTES_PER_WRITTEN),
        ("onnx", BYTES_PER_EXPORTED),
        ("safetensors", BYTES_PER_EXPORTED),
    ],
)
def test_memory_of_a_file_grows_with_weights_and_biases(file_format: str, bytes_per_number: int) -> None:
    assert held(lambda job: work.check_export(job, MLP(2, [3, 2]), file_format)) == (12 + 5) * bytes_per_number


@pytest.mark.parametrize("file_format", ["c", "javascript", "numpy", "pytorch", "onnx", "safetensors"])
def test_memory_of_a_file_is_that_of_its_bytes_and_more(file_format: str) -> None:
    """But not many times more."""
    body = {"model": {"inputs": 100, "layers": [50, 1]}, "format": file_format}
    written = network_export(parse(json.dumps(body).encode(), NetworkExportRequest), job_with())
    assert isinstance(written, FileResponse)
    size = sum(map(len, written.pieces))
    assert size < held(lambda job: work.check_export(job, MLP(100, [50, 1]), file_format)) < 10 * size


@pytest.mark.parametrize(
    ("size", "numbers", "fields"),
    [
        (0, 7, 0),
        (1000, 7, 50_000),
        (2_000_000, 7, BYTES_OF_FIELDS),
        (2_000_001, 7, BYTES_OF_FIELDS),
        (10**7, 0, BYTES_OF_FIELDS),
    ],
)
def test_memory_of_a_file_that_is_read(size: int, numbers: int, fields: int) -> None:
    """Fifty bytes per byte for the objects of its fields, as far as there may be any; its bytes; its numbers."""
    expected = BYTES_PER_BYTE * size + fields + BYTES_PER_STORED * numbers
    assert held(lambda job: work.check_import(job, size, numbers)) == expected


def test_numbers_of_a_file_have_a_limit() -> None:
    work.check_import(job_with(max_numbers=7), 1, 7)
    with pytest.raises(Problem, match="the limit is 7, and AUTODIFF_MAX_NUMBERS raises it"):
        work.check_import(job_with(max_numbers=7), 1, 8)


def test_file_is_not_read_past_the_deadline() -> None:
    with pytest.raises(Problem) as caught:
        work.check_import(Job(Settings(), 0.0, {}), 1, 7)
    assert caught.value.kind.name == "deadline-exceeded"


def test_memory_of_a_history_comes_on_top() -> None:
    def hold(job: Job) -> None:
        job.reserve(1000)
        work.reserve_history(job, 7)

    assert held(hold) == 1000 + 7 * BYTES_PER_HISTORY_ROW
