"""Between the wire and `app.nn`: models, data, losses, optimizers and states, and where they are at fault."""

import json
import math
from typing import Any

import numpy as np
import pytest

from app.api.networks import translation
from app.api.networks.models import NetworkSpec, TrainRequest
from app.nn import MLP, losses, optimizers
from app.nn.datasets import load
from app.nn.training import HistoryRow, TrainingState
from app.service.bodies import encode, parse
from app.service.execution import Job
from app.service.problems import Problem
from app.settings import Settings
from tests.rows import for_each

JOB = Job(Settings(), math.inf, {})
LINE = {"layers": [{"weights": [[1, 1]], "biases": [0]}]}
DATA = {"inputs": [[0, 1], [1, 1]], "targets": [1, -1]}


def request_with(**fields: Any) -> TrainRequest:
    """A training request with other fields than the smallest one has."""
    return parse(json.dumps({"model": LINE, "data": DATA, "loss": "mse", **fields}).encode(), TrainRequest)


def translate(request: TrainRequest) -> None:
    """Translate all of a request, in the order of the endpoint."""
    loss = translation.loss_of(request.loss, JOB)
    model = translation.model_of(request.model, JOB, "model")
    translation.data_of(request.data, model, loss)
    translation.state_of(request.state, translation.optimizer_of(request.optimizer, JOB))


ZEROS = {"layers": [{"weights": [[0, 0]], "biases": [0]}]}
FAULTS: dict[str, tuple[dict[str, Any], str, str]] = {
    "no layers": ({"model": {"layers": []}}, "invalid-request shape-mismatch", "/model/layers"),
    "biases": ({"model": {"layers": [{"weights": [[1, 1]], "biases": [0, 0]}]}}, "shape-mismatch", "/model/layers/0/biases"),
    "activation": (
        {"model": {"layers": [{"weights": [[1, 1]], "biases": [0], "activation": "rely"}]}},
        "invalid-request",
        "/model/layers/0/activation",
    ),
    "width of a layer": (
        {"model": {"layers": [LINE["layers"][0], {"weights": [[1, 1]], "biases": [0]}]}},
        "shape-mismatch",
        "/model/layers/1/weights",
    ),
    "activation of a spec": (
        {"model": {"inputs": 2, "layers": [1], "activation": "rely"}},
        "invalid-request",
        "/model/activation",
    ),
    "width of data": ({"data": {"inputs": [[1]], "targets": [1]}}, "shape-mismatch", "/data/inputs"),
    "number of targets": ({"data": {"inputs": [[1, 2]], "targets": [1, 2]}}, "shape-mismatch", "/data/targets"),
    "no targets": ({"data": {"inputs": [[1, 2]]}}, "invalid-request", "/data/targets"),
    "no data": ({"data": {}}, "invalid-request", "/data/inputs"),
    "both kinds of data": ({"data": {**DATA, "dataset": "xor"}}, "invalid-request", "/data/dataset"),
    "unknown dataset": ({"data": {"dataset": "xorr"}}, "invalid-request", "/data/dataset"),
    "samples without a dataset": ({"data": {**DATA, "samples": 3}}, "invalid-request", "/data/samples"),
    "unknown loss": ({"loss": "msee"}, "invalid-request", "/loss"),
    "text of a loss": ({"loss": {"expression": "score -"}}, "syntax-error", "/loss/expression"),
    "unknown optimizer": ({"optimizer": {"name": "adma"}}, "invalid-request", "/optimizer/name"),
    "parameter of another optimizer": (
        {"optimizer": {"name": "adam", "momentum": 0.9}},
        "invalid-request",
        "/optimizer/momentum",
    ),
    "text of a learning rate": ({"optimizer": {"learning_rate": "1 -"}}, "syntax-error", "/optimizer/learning_rate"),
    "state of another optimizer": (
        {"state": {"step": 1, "optimizer": {"name": "adam"}}},
        "shape-mismatch",
        "/state/optimizer/name",
    ),
}


@for_each(("fields", "kinds", "pointer"), FAULTS.values())
def test_fault_points_at_its_place(fields: dict[str, Any], kinds: str, pointer: str) -> None:
    with pytest.raises(Problem) as caught:
        translate(request_with(**fields))
    assert caught.value.kind.name in kinds.split()
    assert [error.pointer for error in caught.value.errors] == [pointer]


def test_smallest_request_is_translated() -> None:
    translate(request_with())


@pytest.mark.parametrize("targets", [[1, -1], [[1], [-1]]], ids=["list", "rows"])
def test_targets_are_rows(targets: Any) -> None:
    request = request_with(data={"inputs": [[0, 1], [1, 1]], "targets": targets})
    model = translation.model_of(request.model, JOB, "model")
    inputs, rows = translation.data_of(request.data, model, losses.named("mse"))
    assert inputs.tolist() == [[0, 1], [1, 1]] and rows.tolist() == [[1], [-1]]


def test_dataset_by_name_has_rows() -> None:
    request = request_with(data={"dataset": "spiral", "samples": 10, "seed": 3})
    model = translation.model_of(request.model, JOB, "model")
    inputs, targets = translation.data_of(request.data, model, losses.named("mse"))
    assert inputs.shape == (10, 2) and targets.shape == (10, 1)
    assert translation.inputs_of(request.data, model).tolist() == inputs.tolist()


@pytest.mark.parametrize("fields", [{"noise": 0.5}, {"noise": 0.0}, {"seed": 4, "noise": 0.2}, {"samples": 7}, {}])
def test_dataset_by_name_is_that_of_the_library(fields: dict[str, Any]) -> None:
    request = request_with(data={"dataset": "spiral", **fields})
    model = translation.model_of(request.model, JOB, "model")
    assert translation.inputs_of(request.data, model).tolist() == load("spiral", **fields).inputs.tolist()


def test_spec_is_the_model_of_the_library() -> None:
    options: dict[str, Any] = {"activation": "tanh", "output_activation": "sigmoid", "init": "he", "seed": 7}
    found = translation.model_of(NetworkSpec(inputs=2, layers=[3, 1], **options), JOB, "model")
    assert found.flat().tolist() == MLP(2, [3, 1], **options).flat().tolist()
    assert [layer.activation for layer in found.layers] == ["tanh", "sigmoid"]


def test_model_survives_the_wire() -> None:
    model = MLP(2, [3, 1], seed=5)
    body = json.loads(encode(translation.model_response(model)))
    again = translation.model_of(request_with(model=body).model, JOB, "model")
    assert again.flat().tolist() == model.flat().tolist()
    assert [layer.activation for layer in again.layers] == [layer.activation for layer in model.layers]


def test_state_survives_the_wire() -> None:
    optimizer = optimizers.make("sgd", 0.1, {"momentum": 0.9})
    buffers = {row.name: MLP(2, [1], seed=k) for k, row in enumerate(optimizers.OPTIMIZERS["sgd"].buffers)}
    state = TrainingState(3, buffers)
    body = json.loads(encode(translation.state_response(state, optimizer)))
    assert body["step"] == 3 and body["optimizer"]["name"] == "sgd"
    again = translation.state_of(request_with(state=body).state, optimizer)
    assert again.step == 3 and list(again.buffers) == list(buffers)
    for name, buffer in buffers.items():
        assert again.buffers[name].flat().tolist() == buffer.flat().tolist()


@pytest.mark.parametrize("accuracy", [None, 0.5])
def test_row_of_the_history(accuracy: float | None) -> None:
    row = HistoryRow(step=3, loss=1.5, data_loss=1.0, regularization_loss=0.5, accuracy=accuracy, learning_rate=0.1)
    body = json.loads(encode(translation.history_row(row)))
    expected = {"step": 3, "loss": 1.5, "data_loss": 1.0, "regularization_loss": 0.5, "learning_rate": 0.1}
    assert body == expected | ({} if accuracy is None else {"accuracy": accuracy})


def test_learning_rate_may_be_a_number_or_an_expression() -> None:
    for rate in (0.5, "1 - step/10", {"nodes": [{"id": "step", "op": "value"}], "output": "step"}):
        request = request_with(optimizer={"learning_rate": rate})
        assert translation.optimizer_of(request.optimizer, JOB).name == "sgd"


def test_arrays_of_a_model_are_not_copied() -> None:
    weights = np.array([[1.0, 2.0]])
    model = translation.model_of(request_with(model={"layers": [{"weights": weights.tolist(), "biases": [0]}]}).model, JOB)
    assert translation.model_response(model).layers[0].weights is model.layers[0].weights
