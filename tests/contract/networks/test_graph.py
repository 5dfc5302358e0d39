"""POST /v1/networks/graph: a network as a scalar expression."""

import random
from typing import Any

import pytest

from tests.contract.conftest import Post
from tests.contract.networks.calls import assert_close, call
from tests.contract.wire import json_of
from tests.nn.networks import ACTIVATIONS, MODEL, ROWS
from tests.rows import for_each

LOSSES = {
    "max_margin": lambda draw: draw.choice([-1, 1]),
    "mse": lambda draw: draw.uniform(-2, 2),
    "mae": lambda draw: draw.uniform(-2, 2),
    "huber": lambda draw: draw.uniform(-2, 2),
    "binary_cross_entropy": lambda draw: draw.choice([0, 1]),
    "cross_entropy": lambda draw: draw.randrange(3),
    "expression": lambda draw: draw.uniform(-2, 2),
}

OWN = {"expression": "d = score - target; log(cosh(d)) + 0.1*d**2"}
POSITIVE = ("log", "log2", "log10", "sqrt", "lgamma", "digamma", "reciprocal")


def network(activation: str, outputs: int, draw: random.Random) -> dict[str, Any]:
    """Return a network with two hidden layers. The arguments of the first activation stay in its domain."""
    small = 0.5 if activation in ("asin", "acos", "atanh", "log1p") else 1.0
    shift = 2.5 if activation in (*POSITIVE, "acosh") else 0.1

    def matrix(inputs: int, neurons: int, size: float) -> list[list[float]]:
        return [[draw.uniform(-size, size) for _ in range(inputs)] for _ in range(neurons)]

    return {
        "layers": [
            {"weights": matrix(2, 4, 0.5 * small), "biases": [shift + 0.1 * k for k in range(4)], "activation": activation},
            {"weights": matrix(4, 3, 0.7), "biases": [0.1, -0.2, 0.3], "activation": "silu"},
            {"weights": matrix(3, outputs, 1.0), "biases": [0.05 * k for k in range(outputs)], "activation": "linear"},
        ]
    }


CASES = [(activation, "mse", 3) for activation in ACTIVATIONS]
CASES += [("tanh", loss, outputs) for loss in LOSSES for outputs in ((3,) if loss == "cross_entropy" else (1, 3))]


@for_each(("activation", "name", "outputs"), dict.fromkeys(CASES))
def test_graph_has_the_gradients_of_the_network(post: Post, activation: str, name: str, outputs: int) -> None:
    """/v1/backward of the graph agrees with /v1/networks/backward for the row."""
    draw = random.Random(f"{activation} {name} {outputs}")
    model = network(activation, outputs, draw)
    row = [draw.uniform(-1, 1), draw.uniform(-1, 1)]
    target = [LOSSES[name](draw) for _ in range(1 if name == "cross_entropy" else outputs)]
    loss = OWN if name == "expression" else name
    graph = call(post, "graph", model=model, inputs=row, target=target[0] if len(target) == 1 else target, loss=loss)["graph"]
    by_graph = json_of(post("backward", expression=graph))
    data = {"inputs": [row], "targets": [target]}
    found = call(post, "backward", model=model, data=data, loss=loss, input_gradients=True)
    assert_close(by_graph["value"], found["loss"])
    assert by_graph["output"] == graph["output"]
    gradients = by_graph["gradients"]
    for k, layer in enumerate(found["gradients"]["layers"]):
        for j, (weights, bias) in enumerate(zip(layer["weights"], layer["biases"], strict=True)):
            assert_close(gradients[f"layers.{k}.biases.{j}"], bias, (k, j))
            for i, weight in enumerate(weights):
                assert_close(gradients[f"layers.{k}.weights.{j}.{i}"], weight, (k, j, i))
    for i, slope in enumerate(found["input_gradients"][0]):
        assert_close(gradients[f"inputs.{i}"], slope, i)


@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu"])
def test_graph_without_a_target_has_the_scores(post: Post, activation: str, outputs: int) -> None:
    draw = random.Random(activation)
    model = network(activation, outputs, draw)
    row = [0.3, -0.8]
    graph = call(post, "graph", model=model, inputs=row)["graph"]
    scores = call(post, "predict", model=model, inputs=[row])["outputs"][0]
    if outputs == 1:
        assert_close(json_of(post("forward", expression=graph))["value"], scores[0])
        return
    assert len(graph["outputs"]) == 3
    found = json_of(post("jacobian", expression=graph, wrt=["inputs.0", "inputs.1"]))
    for name, score in zip(graph["outputs"], scores, strict=True):
        assert_close(found["values"][name], score, name)
    # With target 0 for one score and the other scores as their own targets, the gradient of mse is 2/3 * score * d score.
    for k, name in enumerate(graph["outputs"]):
        targets = [score if j != k else 0.0 for j, score in enumerate(scores)]
        by = call(post, "backward", model=model, data={"inputs": [row], "targets": [targets]}, loss="mse", input_gradients=True)
        for i in range(2):
            assert_close(2 / 3 * scores[k] * found["jacobian"][name][f"inputs.{i}"], by["input_gradients"][0][i], (name, i))


def test_ids_of_parameters_and_inputs(post: Post) -> None:
    nodes = call(post, "graph", model=MODEL, inputs=[1.0, 2.0], target=1, loss="max_margin")["graph"]["nodes"]
    leaves = {node["id"]: node["data"] for node in nodes if node["op"] == "value"}
    expected = {"inputs.0": 1.0, "inputs.1": 2.0}
    for k, layer in enumerate(MODEL["layers"]):
        expected |= {f"layers.{k}.biases.{j}": bias for j, bias in enumerate(layer["biases"])}
        expected |= {f"layers.{k}.weights.{j}.{i}": w for j, row in enumerate(layer["weights"]) for i, w in enumerate(row)}
    assert expected.items() <= leaves.items()
    assert len(leaves) == len(expected) + 1, "the target is the only other leaf"


def test_inputs_of_the_graph_can_be_bound_to_a_batch(post: Post) -> None:
    graph = call(post, "graph", model=MODEL, inputs=[0.0, 0.0])["graph"]
    columns = [list(column) for column in zip(*ROWS["inputs"], strict=True)]
    values = json_of(post("forward", expression=graph, inputs={"inputs.0": columns[0], "inputs.1": columns[1]}))["value"]
    scores = call(post, "predict", model=MODEL, inputs=ROWS["inputs"])["outputs"]
    for value, (score,) in zip(values, scores, strict=True):
        assert_close(value, score)


def test_loss_with_an_id_of_128_characters(post: Post) -> None:
    """Ids that the graph derives from those of the loss stay valid, and different."""
    name, other = "d" * 128, "e" * 128
    nodes = [
        {"id": "score", "op": "value"},
        {"id": "target", "op": "value"},
        {"id": name, "op": "sub", "args": ["score", "target"]},
        {"id": other, "op": "square", "args": [name]},
        {"id": "loss", "op": "mul", "args": [name, other]},
    ]
    loss = {"expression": {"nodes": nodes, "output": "loss"}}
    found = call(post, "backward", model=MODEL, data={"inputs": [[1, 2]], "targets": [0.5]}, loss=loss)
    graph = call(post, "graph", model=MODEL, inputs=[1, 2], target=0.5, loss=loss)["graph"]
    assert_close(json_of(post("backward", expression=graph))["value"], found["loss"])
