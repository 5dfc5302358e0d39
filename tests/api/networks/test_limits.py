"""Every limit on every endpoint for networks: a request at the limit is answered, and one over it is refused."""

import json
from typing import Any

import numpy as np
import pytest

from app.api.expressions.work import BYTES_PER_NUMBER
from app.api.networks import translation, work
from app.api.networks.models import NetworkSpec
from app.nn import losses
from app.nn.datasets import MAX_NOISE, MAX_SAMPLES, MAX_SEED
from app.nn.evaluation import block_bytes
from app.nn.graphs import network_graph
from app.nn.training import MAX_STEPS
from app.service.execution import Job
from app.service.problems import Problem
from tests.rows import for_each
from tests.service.inprocess import job_with, send
from tests.service.limits import AtLimit, app_with, assert_held, assert_too_large, post

LINE = {"layers": [{"weights": [[1, 1]], "biases": [0]}]}
"""Two inputs, one output: 3 parameters."""
PLANE = {"layers": [{"weights": [[1, 1], [1, -1]], "biases": [0, 0]}]}
"""Two inputs, two outputs: 6 parameters."""
SPEC = {"inputs": 2, "layers": [3, 1]}
"""2*3 weights and 3 biases, then 3*1 weights and 1 bias: 13 parameters, 4 neurons."""

XOR = {"dataset": "xor"}
"""Four rows."""
ROWS = {"inputs": [[0, 1], [1, 0], [1, 1]], "targets": [[0, 1], [1, 0], [1, 1]]}
"""Three rows with two targets each."""
LEARN = {"data": XOR, "loss": "mse"}

TRAININGS = ("networks/train", "networks/train/stream")
THREE_NODES = {
    "nodes": [
        {"id": "score", "op": "value"},
        {"id": "target", "op": "value"},
        {"id": "loss", "op": "mul", "args": ["score", "target"]},
    ],
    "output": "loss",
}


def refused(path: str, body: dict[str, Any], pointer: str, detail: str = "") -> None:
    """The request does not match the schema at this place."""
    response = post(path, body)
    problem = response.json()
    assert (response.status_code, problem["type"]) == (422, "/problems/invalid-request"), response.text
    assert [error["pointer"] for error in problem["errors"]] == [pointer]
    assert detail in problem["detail"]


def result_of(body: dict[str, Any], path: str, **settings: Any) -> Any:
    """The response of a training, or the last event of its stream."""
    response = post(path, {"model": LINE, **LEARN, **body}, **settings)
    assert response.status_code == 200, response.text
    if path == "networks/train":
        return response.json()
    kind, data = response.text.rstrip("\n").split("\n\n")[-1].split("\n")
    assert kind == "event: result", response.text
    return json.loads(data.removeprefix("data: "))


# --- numbers of a new model

NEW_MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "predict": ("networks/predict", {"inputs": [[1, 2]]}),
    "backward": ("networks/backward", {"data": XOR, "loss": {"expression": "score"}}),
    "train": ("networks/train", {"data": XOR, "loss": {"expression": "score"}, "steps": 1}),
    "stream": ("networks/train/stream", {"data": XOR, "loss": {"expression": "score"}, "steps": 1}),
    "graph": ("networks/graph", {"inputs": [1, 2]}),
    "boundary": ("networks/decision-boundary", {"step": 1}),
}


def test_numbers_of_a_new_model() -> None:
    answer = assert_held(AtLimit("networks", SPEC, "max_numbers", 13))
    assert answer.json()["parameters"] == 13


@pytest.mark.parametrize(("inputs", "layers", "size"), [(1, [1], 2), (5, [1], 6), (1, [4], 8), (2, [2, 2], 12)])
def test_numbers_of_new_models_of_other_shapes(inputs: int, layers: list[int], size: int) -> None:
    assert_held(AtLimit("networks", {"inputs": inputs, "layers": layers}, "max_numbers", size))


@pytest.mark.parametrize(("path", "body"), NEW_MODELS.values(), ids=NEW_MODELS)
def test_numbers_of_a_new_model_within_a_request(path: str, body: dict[str, Any]) -> None:
    """The rows and the loss need fewer numbers than the model."""
    model = {"inputs": 2, "layers": [5, 1]}
    assert_held(AtLimit(path, {"model": model, **body}, "max_numbers", 2 * 5 + 5 + 5 * 1 + 1))


@pytest.mark.parametrize(("path", "body"), NEW_MODELS.values(), ids=NEW_MODELS)
def test_numbers_of_a_model_of_the_request(path: str, body: dict[str, Any]) -> None:
    """The same numbers, sent."""
    model = post("networks", {"inputs": 2, "layers": [5, 1]}).json()["model"]
    assert_held(AtLimit(path, {"model": model, **body}, "max_numbers", 2 * 5 + 5 + 5 * 1 + 1))


STATES: dict[str, tuple[dict[str, Any], int]] = {
    "sgd": ({"name": "sgd"}, 1),
    "momentum": ({"name": "sgd", "momentum": 0.9}, 2),
    "adam": ({"name": "adam"}, 3),
    "amsgrad": ({"name": "adam", "amsgrad": True}, 4),
}


@for_each(("optimizer", "count"), STATES.values())
@for_each("path", TRAININGS)
def test_numbers_of_an_optimizers_state(path: str, optimizer: dict[str, Any], count: int) -> None:
    """The response has a number of each buffer for every number of the model."""
    optimizer = {"learning_rate": 0.01, **optimizer}
    body = {"model": {"inputs": 2, "layers": [9, 1]}, "data": XOR, "loss": "mse", "optimizer": optimizer, "steps": 1}
    assert_held(AtLimit(path, body, "max_numbers", count * (2 * 9 + 9 + 9 + 1)))


@pytest.mark.parametrize(("by_inputs", "numbers"), [(False, 6), (True, 6 + 3 * 2)])
def test_numbers_of_gradients_by_the_inputs(by_inputs: bool, numbers: int) -> None:
    data = {"inputs": ROWS["inputs"], "targets": [0, 1, 0]}
    body = {"model": PLANE, "data": data, "loss": "cross_entropy", "input_gradients": by_inputs}
    assert_held(AtLimit("networks/backward", body, "max_numbers", numbers))


# --- numbers of a pass over all rows


@pytest.mark.parametrize(
    ("model", "rows", "numbers"),
    [
        pytest.param(LINE, 5, 5, id="one output"),
        pytest.param(PLANE, 5, 10, id="two outputs"),
        pytest.param(SPEC, 20, 20, id="hidden layer"),
    ],
)
def test_numbers_of_a_prediction(model: Any, rows: int, numbers: int) -> None:
    """One score for each row and output."""
    assert_held(AtLimit("networks/predict", {"model": model, "inputs": [[1, 2]] * rows}, "max_numbers", numbers))


LOSSES: dict[str, tuple[dict[str, Any], int]] = {
    "text of 3 nodes": ({"model": LINE, "data": XOR, "loss": {"expression": "score*target"}}, 3 * 4),
    "graph of 3 nodes": ({"model": LINE, "data": XOR, "loss": {"expression": THREE_NODES}}, 3 * 4),
    "two outputs": ({"model": PLANE, "data": ROWS, "loss": {"expression": "score*target"}}, 3 * 3 * 2),
    "more rows": ({"model": LINE, "data": {**XOR, "samples": 7}, "loss": {"expression": "score*target"}}, 3 * 7),
    **{
        name: ({"model": LINE, "data": XOR, "loss": name}, len(graph.nodes) * 4)
        for name in ("max_margin", "mse", "mae", "huber")
        if (graph := losses.named(name).graph) is not None
    },
}
"""(request, numbers): a loss is evaluated for all rows and outputs at once, which takes one number for each node."""


@for_each(("body", "numbers"), LOSSES.values())
@for_each("path", ["networks/backward", *TRAININGS])
def test_numbers_of_a_loss(path: str, body: dict[str, Any], numbers: int) -> None:
    assert_held(AtLimit(path, {**body, "steps": 2} if path in TRAININGS else body, "max_numbers", numbers))


@pytest.mark.parametrize("path", TRAININGS)
def test_numbers_of_a_loss_on_a_batch(path: str) -> None:
    """Only the rows of one step count."""
    body = {"model": LINE, "data": XOR, "loss": {"expression": "score*target"}, "steps": 3, "batch_size": 2}
    assert_held(AtLimit(path, body, "max_numbers", 3 * 2))


@pytest.mark.parametrize("path", ["networks/backward", *TRAININGS])
def test_cross_entropy_has_no_expression_to_count(path: str) -> None:
    data = {"inputs": [[0, 1], [1, 0]], "targets": [0, 1]}
    assert post(path, {"model": PLANE, "data": data, "loss": "cross_entropy"}, max_numbers=6).status_code == 200


# --- work: parameters times rows times steps

WORK: dict[str, tuple[str, dict[str, Any], int]] = {
    **{
        f"{path.removeprefix('networks/')}, {name}": (path, fields, work)
        for path in TRAININGS
        for name, fields, work in (
            ("one step", {"model": LINE, "steps": 1}, 3 * 4),
            ("five steps", {"model": LINE, "steps": 5}, 3 * 4 * 5),
            ("two layers", {"model": SPEC, "steps": 5}, 13 * 4 * 5),
            ("two outputs", {"model": PLANE, "data": ROWS, "steps": 5}, 6 * 3 * 5),
            ("more rows", {"model": LINE, "data": {**XOR, "samples": 9}, "steps": 5}, 3 * 9 * 5),
            ("batches", {"model": LINE, "steps": 5, "batch_size": 3}, 3 * 3 * 5),
            ("batches of one row", {"model": LINE, "steps": 5, "batch_size": 1}, 3 * 1 * 5),
            ("batch of all rows", {"model": LINE, "steps": 5, "batch_size": 4}, 3 * 4 * 5),
            ("batch larger than the data", {"model": LINE, "steps": 5, "batch_size": 50}, 3 * 4 * 5),
            ("100 steps by default", {"model": LINE}, 3 * 4 * 100),
            ("thin history", {"model": LINE, "steps": 5, "log_every": 5}, 3 * 4 * 5),
        )
    },
}
"""(path, fields, work): `batch_size` bounds the rows of a step."""


@for_each(("path", "fields", "work"), WORK.values())
def test_work_of_a_training(path: str, fields: dict[str, Any], work: int) -> None:
    assert_held(AtLimit(path, {**LEARN, **fields}, "max_work", work, ("/steps",)))


@pytest.mark.parametrize("path", TRAININGS)
def test_work_of_a_training_counts_only_its_own_steps(path: str) -> None:
    body = {"model": LINE, **LEARN, "steps": 5, "state": {"step": 1000}}
    assert_held(AtLimit(path, body, "max_work", 3 * 4 * 5, ("/steps",)))


def test_work_of_a_prediction() -> None:
    assert_held(AtLimit("networks/predict", {"model": SPEC, "inputs": [[1, 2]] * 5}, "max_work", 13 * 5, ("/inputs",)))


def test_work_of_a_decision_boundary() -> None:
    assert_held(AtLimit("networks/decision-boundary", {"model": SPEC, "step": 1}, "max_work", 13 * 4 * 4, ("/step",)))


@pytest.mark.parametrize(
    ("model", "data", "work"),
    [
        pytest.param(LINE, XOR, 3 * 4, id="four rows"),
        pytest.param(LINE, {**XOR, "samples": 9}, 3 * 9, id="nine rows"),
        pytest.param(PLANE, ROWS, 6 * 3, id="two outputs"),
        pytest.param(SPEC, XOR, 13 * 4, id="two layers"),
    ],
)
def test_work_of_network_gradients(model: Any, data: Any, work: int) -> None:
    """Gradients are one step. The request has no field `steps`, so nothing is said about where the refusal points."""
    body = {"model": model, "data": data, "loss": "mse"}
    assert post("networks/backward", body, max_work=work).status_code == 200
    response = post("networks/backward", body, max_work=work - 1)
    assert (response.status_code, response.json()["type"]) == (422, "/problems/too-large")
    assert f"the limit is {work - 1}, and AUTODIFF_MAX_WORK raises it" in response.json()["detail"]


# --- texts and nodes within requests

EXPRESSIONS: dict[str, tuple[str, dict[str, Any], str]] = {
    "loss of a training": ("networks/train", {"model": LINE, "data": XOR, "loss": {"expression": None}, "steps": 1}, "loss"),
    "loss of a stream": (
        "networks/train/stream",
        {"model": LINE, "data": XOR, "loss": {"expression": None}, "steps": 1},
        "loss",
    ),
    "loss of gradients": ("networks/backward", {"model": LINE, "data": XOR, "loss": {"expression": None}}, "loss"),
    "loss of a graph": ("networks/graph", {"model": LINE, "inputs": [1, 2], "target": 1, "loss": {"expression": None}}, "loss"),
    "rate of a training": (
        "networks/train",
        {"model": LINE, **LEARN, "optimizer": {"learning_rate": None}, "steps": 1},
        "rate",
    ),
    "rate of a stream": (
        "networks/train/stream",
        {"model": LINE, **LEARN, "optimizer": {"learning_rate": None}, "steps": 1},
        "rate",
    ),
}
"""(path, request without its expression, which expression it is)."""


def with_expression(body: dict[str, Any], kind: str, expression: Any) -> tuple[dict[str, Any], str]:
    """The request with its expression, and the pointer to it."""
    if kind == "loss":
        return {**body, "loss": {"expression": expression}}, "/loss/expression"
    return {**body, "optimizer": {"learning_rate": expression}}, "/optimizer/learning_rate"


@for_each(("path", "body", "kind"), EXPRESSIONS.values())
@for_each("comment", ["# e", "# é", "# 変"])
def test_length_of_a_text_within_a_request(path: str, body: dict[str, Any], kind: str, comment: str) -> None:
    """Counted in bytes, of which a letter has up to four."""
    text = ("score*score " if kind == "loss" else "0.1/(1+step) ") + comment
    full, pointer = with_expression(body, kind, text)
    size = len(text) + {"# e": 0, "# é": 1, "# 変": 2}[comment]
    assert_held(AtLimit(path, full, "max_text", size, (pointer,)))


def squares(leaf: str) -> dict[str, Any]:
    """A graph of a leaf and ten squares of it."""
    nodes = [{"id": f"n{k}", "op": "square", "args": [leaf]} for k in range(10)]
    return {"nodes": [{"id": leaf, "op": "value"}, *nodes], "output": "n9"}


FORMS: dict[str, tuple[Any, Any]] = {
    "text": ("*".join(["score"] * 10), "square(" * 10 + "step" + ")" * 10),
    "graph": (squares("score"), squares("step")),
}
"""(loss, learning rate): more nodes than the model of `LINE` has parameters, which count as nodes in a network's graph."""
SIZES = {"loss": {"text": 10, "graph": 11}, "rate": {"text": 11, "graph": 11}}
"""Nine products and a leaf, or ten squares and a leaf."""


COUNTED_ALONE = {name: row for name, row in EXPRESSIONS.items() if row[0] != "networks/graph"}
"""A graph of a network has the nodes of its loss, so they count together."""


@for_each(("path", "body", "kind"), COUNTED_ALONE.values())
@for_each("form", FORMS)
def test_nodes_within_a_request(path: str, body: dict[str, Any], kind: str, form: str) -> None:
    loss, rate = FORMS[form]
    full, pointer = with_expression(body, kind, loss if kind == "loss" else rate)
    pointers = (pointer if form == "text" else f"{pointer}/nodes",)
    assert_held(AtLimit(path, full, "max_nodes", SIZES[kind][form], pointers))


# --- nodes of a network as a graph

LINE_NODES = 2 + 2 + 2 + 1 + 1
"""Inputs, weights, products, bias and sum of `LINE`."""


def test_nodes_of_a_network() -> None:
    """Every parameter is a leaf, and has an operation of its own."""
    body = {"model": LINE, "inputs": [1, 2]}
    answer = post("networks/graph", body, max_nodes=LINE_NODES)
    assert len(answer.json()["graph"]["nodes"]) == LINE_NODES
    assert_too_large(post("networks/graph", body, max_nodes=2 * 3 - 1), "max_nodes", 5, ("/model",))


def test_all_nodes_of_a_network_are_counted() -> None:
    assert_held(AtLimit("networks/graph", {"model": LINE, "inputs": [1, 2]}, "max_nodes", LINE_NODES, ("/model",)))


# --- points of a decision boundary

CORNERS = {"inputs": [[0, 0], [2, 1]]}
GRIDS: dict[str, tuple[dict[str, Any], int]] = {
    "from -2 to 2 in steps of 1": ({"step": 1}, 4 * 4),
    "steps of 0.25 by default": ({}, 16 * 16),
    "padding of 0": ({"step": 1, "padding": 0}, 2 * 2),
    "padding of 2": ({"step": 1, "padding": 2}, 6 * 6),
    "range of the data": ({"step": 0.5, "padding": 0, "data": CORNERS}, 4 * 2),
    "range of the data, padded": ({"step": 0.5, "padding": 0.5, "data": CORNERS}, 6 * 4),
    "range of the data, padded by 1": ({"step": 1, "data": CORNERS}, 4 * 3),
    "dataset": ({"step": 0.25, "padding": 0.5, "data": XOR}, 8 * 8),
    "step that does not divide the range": ({"step": 1.5}, 3 * 3),
}


@for_each(("body", "points"), GRIDS.values())
def test_points_of_a_grid(body: dict[str, Any], points: int) -> None:
    case = AtLimit("networks/decision-boundary", {"model": LINE, **body}, "max_points", points, ("/step", "/padding"))
    assert len(assert_held(case).json()["points"]) == points


FARTHEST = {"inputs": [[1.7e308, 0], [-1.7e308, 1]]}


@pytest.mark.parametrize(
    "body",
    [
        pytest.param({"padding": 1e308, "data": FARTHEST}, id="edges"),
        pytest.param({"padding": 0, "data": FARTHEST}, id="extent"),
        pytest.param({"padding": 1e300, "step": 1e-300}, id="number of points"),
    ],
)
def test_grid_that_overflows_is_too_large(body: dict[str, Any]) -> None:
    """Without a warning, which would be a test's error and a service's line in the log."""
    refused = post("networks/decision-boundary", {"model": LINE, **body}, max_points=1000)
    assert_too_large(refused, "max_points", 1000, ("/step", "/padding"))


# --- memory of a model, and nodes of a network


def test_memory_of_a_model_grows_with_its_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[float] = []
    monkeypatch.setattr(Job, "reserve", lambda job, size: held.append(size))
    spec = NetworkSpec(inputs=9, layers=[100])
    work.check_spec(job_with(), spec)
    assert held == [BYTES_PER_NUMBER * 1000]
    model = translation.model_of(spec, job_with())
    held.clear()
    work.check_model(job_with(), model)
    assert held == [BYTES_PER_NUMBER * 1000]


def test_memory_of_a_prediction_grows_with_its_model_inputs_and_outputs(monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[float] = []
    monkeypatch.setattr(Job, "reserve", lambda job, size: held.append(size))
    model = translation.model_of(NetworkSpec(inputs=5, layers=[3]), job_with())
    for rows in (1, 2, 12):
        held.clear()
        work.check_scores(job_with(), model, rows, ("inputs",))
        assert held == [BYTES_PER_NUMBER * (18 + rows * (5 + 3)) + block_bytes(model, rows)]


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
def test_memory_of_a_training_grows_with_its_model_rows_and_loss(monkeypatch: pytest.MonkeyPatch, loss: str) -> None:
    """The numbers of the response; the model and its gradient; the inputs; a block, in which an expression takes room."""
    held: list[float] = []
    monkeypatch.setattr(Job, "reserve", lambda job, size: held.append(size))
    model = translation.model_of(NetworkSpec(inputs=5, layers=[3]), job_with())
    for rows in (1, 12):
        held.clear()
        work.check_training(job_with(), model, rows, 1, losses.named(loss), ("steps",), 7)
        assert held == [BYTES_PER_NUMBER * (7 + 2 * 18 + 5 * rows) + block_bytes(model, rows, losses.named(loss))]
    assert (
        block_bytes(model, 1, losses.named("mse"))
        > block_bytes(model, 1)
        == block_bytes(model, 1, losses.named("cross_entropy"))
    )


def test_all_activations_of_a_network_are_nodes() -> None:
    """2 inputs; 13 parameters, 9 products and 4 sums; 3 activations of the hidden layer and 1 of the output."""
    model = translation.model_of(NetworkSpec(inputs=2, layers=[3, 1], output_activation="tanh"), job_with())
    nodes = 2 + 13 + 9 + 4 + 3 + 1
    assert len(network_graph(model, np.zeros(2)).nodes) == nodes
    work.check_graph(job_with(max_nodes=nodes), model)
    with pytest.raises(Problem, match=f"{nodes} nodes"):
        work.check_graph(job_with(max_nodes=nodes - 1), model)


def test_nodes_of_a_network_are_at_most_as_many_as_are_counted() -> None:
    """Inputs, parameters, products and sums; a linear output needs no activation."""
    model = translation.model_of(NetworkSpec(inputs=2, layers=[3, 1]), job_with())
    nodes = 2 + 13 + 9 + 4 + 3
    work.check_graph(job_with(max_nodes=nodes), model)
    with pytest.raises(Problem, match=f"{nodes} nodes"):
        work.check_graph(job_with(max_nodes=nodes - 1), model)
    assert len(network_graph(model, np.zeros(2)).nodes) <= nodes


# --- memory of a dataset


def test_rows_of_a_dataset_need_memory() -> None:
    """100,000 rows of two inputs and a target are 9.6 MB as numbers and as text."""
    path = f"/v1/datasets/spiral?samples={MAX_SAMPLES}"
    assert send(app_with(memory_bytes=9_600_000), "GET", path).status_code == 200
    assert_too_large(send(app_with(memory_bytes=9_599_999), "GET", path), "memory_bytes", 9_599_999, ())


# --- rows of a history


@pytest.mark.parametrize("path", TRAININGS)
def test_history_within_the_limit_is_complete(path: str) -> None:
    result = result_of({"steps": 17}, path, max_points=17)
    assert result["stopped"] == "completed" and len(result["history"]) == result["state"]["step"] == 17


@pytest.mark.parametrize("path", TRAININGS)
def test_training_stops_when_its_history_is_full(path: str) -> None:
    """The steps done so far are answered, to be continued: nothing is refused."""
    result = result_of({"steps": 17}, path, max_points=16)
    assert result["stopped"] == "deadline" and len(result["history"]) == result["state"]["step"] == 16
    assert result["detail"].startswith("the history has 16 rows after 16 of 17 steps; continue from this model and state")
    assert "AUTODIFF_MAX_POINTS" in result["detail"] and "log_every" in result["detail"]


@pytest.mark.parametrize("path", TRAININGS)
def test_only_rows_that_are_kept_fill_the_history(path: str) -> None:
    result = result_of({"steps": 17, "log_every": 2}, path, max_points=9)
    assert result["stopped"] == "completed" and len(result["history"]) == 9


# --- constant limits


@pytest.mark.parametrize("path", TRAININGS)
def test_last_step(path: str) -> None:
    assert result_of({"steps": 1, "state": {"step": MAX_STEPS - 1}}, path)["state"]["step"] == MAX_STEPS
    body = {"model": LINE, **LEARN, "steps": 2, "state": {"step": MAX_STEPS - 1}}
    refused(path, body, "/steps", f"2 steps after step {MAX_STEPS - 1} go beyond step {MAX_STEPS}")


@pytest.mark.parametrize("path", TRAININGS)
@pytest.mark.parametrize(
    ("name", "least", "most"), [("steps", 1, None), ("log_every", 1, MAX_STEPS), ("batch_size", 1, 2**63 - 1)]
)
def test_range_of_whole_numbers(path: str, name: str, least: int, most: int | None) -> None:
    body = {"model": LINE, **LEARN, "steps": 2}
    for accepted in (least, most or 17):
        result_of({**body, name: accepted}, path)
    refused(path, {**body, name: least - 1}, f"/{name}")
    if most != 2**63 - 1:
        refused(path, {**body, name: MAX_STEPS + 1}, f"/{name}")


@pytest.mark.parametrize("path", TRAININGS)
def test_as_many_steps_as_there_can_be(path: str) -> None:
    """The schema allows them, and the work is what is refused."""
    response = post(path, {"model": LINE, **LEARN, "steps": MAX_STEPS})
    assert_too_large(response, "max_work", 10**12, ("/steps",))


@pytest.mark.parametrize("count", [1, MAX_SAMPLES])
def test_samples_of_a_dataset(count: int) -> None:
    answer = send(app_with(), "GET", f"/v1/datasets/spiral?samples={count}")
    assert answer.status_code == 200 and len(answer.json()["inputs"]) == count


@pytest.mark.parametrize(
    ("name", "count", "most"),
    [("spiral", 0, MAX_SAMPLES), ("spiral", MAX_SAMPLES + 1, MAX_SAMPLES), ("iris", 151, 150), ("xor", -1, MAX_SAMPLES)],
)
def test_samples_that_a_dataset_does_not_have(name: str, count: int, most: int) -> None:
    """A bundled dataset has no more than its own rows."""
    response = send(app_with(), "GET", f"/v1/datasets/{name}?samples={count}")
    assert (response.status_code, response.json()["type"]) == (422, "/problems/invalid-request")
    assert f"samples of {name} must be from 1 to {most}, not {count}" in response.json()["detail"]


DATA_OF: dict[str, tuple[str, dict[str, Any]]] = {
    "backward": ("networks/backward", {"loss": "mse"}),
    "train": ("networks/train", {"loss": "mse", "steps": 1}),
    "stream": ("networks/train/stream", {"loss": "mse", "steps": 1}),
    "boundary": ("networks/decision-boundary", {"step": 1}),
}


@for_each(("path", "body"), DATA_OF.values())
@for_each(
    ("name", "most", "over"),
    [("samples", MAX_SAMPLES, MAX_SAMPLES + 1), ("noise", MAX_NOISE, MAX_NOISE * 1.001), ("seed", MAX_SEED, MAX_SEED + 1)],
)
def test_data_of_a_request(path: str, body: dict[str, Any], name: str, most: float, over: float) -> None:
    full = {"model": LINE, **body, "step": 1e6} if path.endswith("boundary") else {"model": LINE, **body}
    assert post(path, {**full, "data": {**XOR, name: most}}).status_code == 200
    refused(path, {**full, "data": {**XOR, name: over}}, f"/data/{name}")
