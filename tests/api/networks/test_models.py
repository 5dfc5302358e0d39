"""Request models of networks: which of several forms a value has, and what is wrong with it."""

import json
from typing import Any

import numpy as np
import pytest

from app.api.expressions.expression import ExpressionGraph
from app.api.networks.models import MAX_LAYERS, LossExpression, NetworkModel, NetworkSpec, TrainRequest
from app.nn.optimizers import OPTIMIZERS
from app.service.bodies import parse
from app.service.problems import Problem
from tests.rows import for_each

LINE = {"layers": [{"weights": [[1, 1]], "biases": [0]}]}
SPEC = {"inputs": 2, "layers": [1]}
DATA = {"inputs": [[0, 1], [1, 1]], "targets": [1, -1]}


def request_with(**fields: Any) -> TrainRequest:
    """A training request with other fields than the smallest one has."""
    return parse(json.dumps({"model": LINE, "data": DATA, "loss": "mse", **fields}).encode(), TrainRequest)


def test_model_or_spec() -> None:
    assert isinstance(request_with(model=LINE).model, NetworkModel)
    spec = request_with(model=SPEC).model
    assert isinstance(spec, NetworkSpec) and spec.layers == [1] and spec.activation == "relu"


def test_loss_is_a_name_or_an_expression() -> None:
    assert request_with(loss="mae").loss == "mae"
    assert isinstance(request_with(loss={"expression": "score"}).loss, LossExpression)


def test_learning_rate_is_a_number_or_an_expression() -> None:
    def rate(value: Any) -> Any:
        return request_with(optimizer={"learning_rate": value}).optimizer.learning_rate

    assert rate(1) == 1.0 and type(rate(1)) is float
    assert rate("1/step") == "1/step"
    assert isinstance(rate({"nodes": [{"id": "step", "op": "value"}], "output": "step"}), ExpressionGraph)


@pytest.mark.parametrize("size", [1, 60], ids=["plain", "scanned"])
def test_weights_are_arrays(size: int) -> None:
    layer = {"weights": [[0.5] * size] * size, "biases": [0] * size}
    model = request_with(model={"layers": [layer]}).model
    assert isinstance(model, NetworkModel)
    assert isinstance(model.layers[0].weights, np.ndarray) and model.layers[0].weights.shape == (size, size)
    assert model.layers[0].biases.shape == (size,)


LAYER = {"weights": [[1]], "biases": [0]}
DEEP: dict[str, dict[str, Any]] = {
    "layers": {"layers": [LAYER] * MAX_LAYERS},
    "spec": {"inputs": 1, "layers": [1] * MAX_LAYERS},
}


@pytest.mark.parametrize("model", DEEP.values(), ids=DEEP)
def test_as_many_layers_as_there_can_be(model: dict[str, Any]) -> None:
    """In a large body neither the bulk of numbers nor the piecewise list of objects may be longer."""
    deep: Any = request_with(model=model).model
    assert len(deep.layers) == MAX_LAYERS
    with pytest.raises(Problem, match="at most 10,000 layers") as caught:
        request_with(model={**model, "layers": [*model["layers"], model["layers"][0]]})
    assert [error.pointer for error in caught.value.errors] == ["/model/layers"]


FAULTS: dict[str, tuple[dict[str, Any], str, str]] = {
    "model": ({"model": 3}, "/model", "expected an object, found a number"),
    "layers": ({"model": {"layers": 3}}, "/model/layers", "expected a list, found a number"),
    "weight": (
        {"model": {"layers": [{"weights": [[1, None]], "biases": [0]}]}},
        "/model/layers/0/weights/0/1",
        "expected a number, found null",
    ),
    "field of a layer": (
        {"model": {"layers": [{"weights": [[1]], "bias": [0], "biases": [0]}]}},
        "/model/layers/0/bias",
        "unknown field 'bias'. It is called 'biases' here.",
    ),
    "field of a spec": ({"model": {**SPEC, "sed": 1}}, "/model/sed", "unknown field 'sed'. Did you mean 'seed'?"),
    "width of a layer": ({"model": {"inputs": 2, "layers": [0]}}, "/model/layers/0", "greater than or equal to 1"),
    "fraction of a neuron": ({"model": {"inputs": 2, "layers": [1, 2.5]}}, "/model/layers/1", "expected an integer, found 2.5"),
    "loss": ({"loss": 3}, "/loss", 'expected the name of a loss or {"expression": "(score - target)**2"}, found a number'),
    "learning rate": ({"optimizer": {"learning_rate": True}}, "/optimizer/learning_rate", "found a boolean"),
    "name of PyTorch": ({"optimizer": {"lr": 0.1}}, "/optimizer/lr", "It is called 'learning_rate' here."),
    "betas": ({"optimizer": {"name": "adam", "betas": [0.9]}}, "/optimizer/betas", "at least 2 items"),
    "steps": ({"steps": 0}, "/steps", "greater than or equal to 1"),
    "seed": ({"seed": 2**32}, "/seed", "less than or equal to 4294967295"),
    "l2": ({"l2": -1}, "/l2", "greater than or equal to 0"),
    "ragged inputs": ({"data": {"inputs": [[1, 2], [3]], "targets": [1, 2]}}, "/data/inputs/1", "row 1 has 1 numbers"),
}


@for_each(("fields", "pointer", "detail"), FAULTS.values())
def test_fault_points_at_its_place(fields: dict[str, Any], pointer: str, detail: str) -> None:
    with pytest.raises(Problem) as caught:
        request_with(**fields)
    assert [error.pointer for error in caught.value.errors] == [pointer]
    assert detail in caught.value.errors[0].detail


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_parameters_of_every_optimizer_are_fields(name: str) -> None:
    for parameter in OPTIMIZERS[name].parameters:
        value = {"number": 0.5, "flag": True, "pair": [0.5, 0.6]}[parameter.kind]
        optimizer = request_with(optimizer={"name": name, parameter.name: value}).optimizer
        assert getattr(optimizer, parameter.name) == value


def test_dataset_response_is_data() -> None:
    """What GET /v1/datasets/{name} sends is taken as it is."""
    sent = {**DATA, "name": "xor", "features": 2, "classes": 2}
    assert request_with(data=sent).data.inputs is not None
