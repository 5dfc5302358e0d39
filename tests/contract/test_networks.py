"""Section 3 of the contract over HTTP, but for training: models, predictions, gradients, graphs, boundaries, datasets.

Expectations are micrograd's published numbers, scikit-learn's data, closed forms, or what another endpoint answers.
"""

import copy
import json
import random
import threading
import time
from typing import Any

import httpx
import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from sklearn import datasets as sklearn_datasets

from tests.contract.conftest import Post
from tests.contract.wire import answer, problem, resolve, strict
from tests.nn.networks import ACTIVATIONS, MODEL, ROWS, SPEC, Text, demo, parameters, parts, written

JSON = {"Content-Type": "application/json"}


def of(post: Post, path: str, **body: Any) -> Any:
    return answer(post(f"networks/{path}".rstrip("/"), **body))


# --- new models


def test_the_demos_first_model_comes_from_its_seed(post: Post) -> None:
    found = of(post, "", inputs=2, layers=[16, 16, 1], activation="relu", output_activation="linear", init="uniform", seed=1337)
    assert set(found) == {"model", "parameters"} and found["parameters"] == 337
    assert parameters(found["model"]) == demo()["initial_parameters"]
    assert [layer["activation"] for layer in found["model"]["layers"]] == ["relu", "relu", "linear"]
    assert set(found["model"]["layers"][0]) == {"weights", "biases", "activation"}


def test_defaults_of_a_new_model_are_the_contracts(post: Post) -> None:
    explicit = post("networks", inputs=2, layers=[3, 1], activation="relu", output_activation="linear", init="uniform", seed=0)
    assert post("networks", inputs=2, layers=[3, 1]).content == explicit.content


@pytest.mark.parametrize("init", ["he", "xavier"])
def test_normal_weights_are_numpys(post: Post, init: str) -> None:
    found = of(post, "", inputs=3, layers=[5, 2], init=init, seed=42)
    generator = np.random.Generator(np.random.PCG64(42))
    for layer, (inputs, neurons) in zip(found["model"]["layers"], [(3, 5), (5, 2)], strict=True):
        deviation = (2 / (inputs if init == "he" else inputs + neurons)) ** 0.5
        np.testing.assert_allclose(layer["weights"], deviation * generator.standard_normal((neurons, inputs)), rtol=1e-15)
        assert layer["biases"] == [0.0] * neurons


def test_a_large_new_model_does_not_stall_the_service(client: httpx.Client, base_url: str) -> None:
    """A body of forty bytes asks for a second of work: it is not done where all other requests are read."""
    done = threading.Event()
    waits = []

    def ask() -> None:
        with httpx.Client(base_url=base_url, timeout=60) as other:
            while not done.is_set():
                began = time.perf_counter()
                assert other.get("/livez").status_code == 200
                waits.append(time.perf_counter() - began)
                time.sleep(0.01)

    thread = threading.Thread(target=ask)
    thread.start()
    began = time.perf_counter()
    response = client.post("/v1/networks", json={"inputs": 1000, "layers": [1500]})
    took = time.perf_counter() - began
    done.set()
    thread.join()
    assert response.status_code == 200
    assert max(waits) < max(0.25, 0.5 * took), f"all others waited {max(waits):.2f} s of the {took:.2f} s"


@pytest.mark.parametrize("path", ["networks", "networks/predict", "networks/train"])
def test_a_model_beyond_all_memory_is_too_large(post: Post, path: str) -> None:
    spec = {"inputs": 1_000_000, "layers": [1_000_000], "init": "he"}
    bodies: dict[str, dict[str, Any]] = {
        "networks": spec,
        "networks/predict": {"model": spec, "inputs": [[1.0, 2.0]]},
        "networks/train": {"model": spec, "data": ROWS, "loss": "mse"},
    }
    problem(post(path, **bodies[path]), "too-large", 422)


# --- predictions


def test_predictions_are_numpys(post: Post) -> None:
    draw = np.random.default_rng(8)
    weights, biases = draw.normal(size=(4, 3)), draw.normal(size=4)
    last, bias = draw.normal(size=(2, 4)), draw.normal(size=2)
    inputs = draw.normal(size=(50, 3))
    layers = [
        {"weights": weights.tolist(), "biases": biases.tolist(), "activation": "tanh"},
        {"weights": last.tolist(), "biases": bias.tolist(), "activation": "exp"},
    ]
    found = of(post, "predict", model={"layers": layers}, inputs=inputs.tolist())
    assert set(found) == {"outputs"}
    expected = np.exp(np.tanh(inputs @ weights.T + biases) @ last.T + bias)
    np.testing.assert_allclose(found["outputs"], expected, rtol=1e-13)


def test_a_model_that_overflows_names_output_and_row(post: Post) -> None:
    layers = [{"weights": [[1.0], [1e200]], "biases": [0.0, 0.0]}]
    body = problem(post("networks/predict", model={"layers": layers}, inputs=[[1.0], [1e150]]), "non-finite", 422)
    assert "output 1" in body["detail"] and "row 1" in body["detail"]
    for path in ("networks/backward", "networks/train"):
        response = post(path, model={"layers": layers}, data={"inputs": [[1e150]], "targets": [[0, 0]]}, loss="mse")
        if path.endswith("train"):
            found = answer(response)
            assert found["stopped"] == "non-finite" and "step 0" in found["detail"]
            assert found["model"]["layers"][0]["weights"] == layers[0]["weights"]
        else:
            problem(response, "non-finite", 422)


# --- gradients, and the graph of a network


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


def close(found: float, expected: float) -> None:
    assert found == pytest.approx(expected, rel=1e-10, abs=1e-10)


def network(activation: str, outputs: int, draw: random.Random) -> dict[str, Any]:
    """A network of two hidden layers, the first with this activation, whose arguments are kept in its domain."""
    small = 0.5 if activation in ("asin", "acos", "atanh", "log1p") else 1.0
    shift = 2.5 if activation in (*POSITIVE, "acosh") else 0.1

    def rows(inputs: int, neurons: int, size: float) -> list[list[float]]:
        return [[draw.uniform(-size, size) for _ in range(inputs)] for _ in range(neurons)]

    return {
        "layers": [
            {"weights": rows(2, 4, 0.5 * small), "biases": [shift + 0.1 * k for k in range(4)], "activation": activation},
            {"weights": rows(4, 3, 0.7), "biases": [0.1, -0.2, 0.3], "activation": "silu"},
            {"weights": rows(3, outputs, 1.0), "biases": [0.05 * k for k in range(outputs)], "activation": "linear"},
        ]
    }


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_graph_of_a_network_has_its_gradients(post: Post, activation: str) -> None:
    """/v1/backward on the graph is /v1/networks/backward for the row: with every loss, one output and several."""
    draw = random.Random(activation)
    for name, target_of in LOSSES.items():
        for outputs in (3,) if name == "cross_entropy" else (1, 3):
            model = network(activation, outputs, draw)
            row = [draw.uniform(-1, 1), draw.uniform(-1, 1)]
            target = [target_of(draw) for _ in range(1 if name == "cross_entropy" else outputs)]
            loss = OWN if name == "expression" else name
            graph = of(post, "graph", model=model, inputs=row, target=target[0] if len(target) == 1 else target, loss=loss)
            by_graph = answer(post("backward", expression=graph["graph"]))
            data = {"inputs": [row], "targets": [target]}
            found = of(post, "backward", model=model, data=data, loss=loss, input_gradients=True)
            close(by_graph["value"], found["loss"])
            assert by_graph["output"] == graph["graph"]["output"]
            gradients = by_graph["gradients"]
            for k, layer in enumerate(found["gradients"]["layers"]):
                for j, (weights, bias) in enumerate(zip(layer["weights"], layer["biases"], strict=True)):
                    close(gradients[f"layers.{k}.biases.{j}"], bias)
                    for i, weight in enumerate(weights):
                        close(gradients[f"layers.{k}.weights.{j}.{i}"], weight)
            for i, slope in enumerate(found["input_gradients"][0]):
                close(gradients[f"inputs.{i}"], slope)


@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu"])
def test_the_graph_of_a_network_without_a_target_has_its_scores(post: Post, activation: str, outputs: int) -> None:
    draw = random.Random(activation)
    model = network(activation, outputs, draw)
    row = [0.3, -0.8]
    graph = of(post, "graph", model=model, inputs=row)["graph"]
    scores = of(post, "predict", model=model, inputs=[row])["outputs"][0]
    if outputs == 1:
        close(answer(post("forward", expression=graph))["value"], scores[0])
        return
    assert len(graph["outputs"]) == 3
    found = answer(post("jacobian", expression=graph, wrt=["inputs.0", "inputs.1"]))
    for name, score in zip(graph["outputs"], scores, strict=True):
        close(found["values"][name], score)
    # The slope of a score by an input: that of 0.5*score**2 is score times as much, and the others' targets are their scores.
    for k, name in enumerate(graph["outputs"]):
        wanted = [score if j != k else 0.0 for j, score in enumerate(scores)]
        by = of(post, "backward", model=model, data={"inputs": [row], "targets": [wanted]}, loss="mse", input_gradients=True)
        for i in range(2):
            close(2 / 3 * scores[k] * found["jacobian"][name][f"inputs.{i}"], by["input_gradients"][0][i])


def test_the_nodes_of_a_network_have_the_contracts_names(post: Post) -> None:
    nodes = of(post, "graph", model=MODEL, inputs=[1.0, 2.0], target=1, loss="max_margin")["graph"]["nodes"]
    leaves = {node["id"]: node["data"] for node in nodes if node["op"] == "value"}
    expected = {"inputs.0": 1.0, "inputs.1": 2.0}
    for k, layer in enumerate(MODEL["layers"]):
        expected |= {f"layers.{k}.biases.{j}": bias for j, bias in enumerate(layer["biases"])}
        expected |= {f"layers.{k}.weights.{j}.{i}": w for j, row in enumerate(layer["weights"]) for i, w in enumerate(row)}
    assert expected.items() <= leaves.items()
    assert len(leaves) == len(expected) + 1, "the target is the one leaf more"


def test_a_graph_binds_other_numbers(post: Post) -> None:
    """Inputs of the graph can be lists, so a network is evaluated on a batch by /v1/forward."""
    graph = of(post, "graph", model=MODEL, inputs=[0.0, 0.0])["graph"]
    columns = [list(column) for column in zip(*ROWS["inputs"], strict=True)]
    values = answer(post("forward", expression=graph, inputs={"inputs.0": columns[0], "inputs.1": columns[1]}))["value"]
    scores = of(post, "predict", model=MODEL, inputs=ROWS["inputs"])["outputs"]
    for value, (score,) in zip(values, scores, strict=True):
        close(value, score)


def test_gradients_agree_with_central_differences(post: Post) -> None:
    found = of(post, "backward", model=MODEL, data=ROWS, loss="huber", l2=0.01)
    step = 1e-6

    def loss(model: dict[str, Any]) -> float:
        value: float = of(post, "backward", model=model, data=ROWS, loss="huber", l2=0.01)["loss"]
        return value

    for k, layer in enumerate(MODEL["layers"]):
        for j in range(len(layer["biases"])):
            for i in range(len(layer["weights"][0]) + 1):
                losses = []
                for sign in (1, -1):
                    moved = copy.deepcopy(MODEL)
                    if i < len(layer["weights"][0]):
                        moved["layers"][k]["weights"][j][i] += sign * step
                    else:
                        moved["layers"][k]["biases"][j] += sign * step
                    losses.append(loss(moved))
                gradients = found["gradients"]["layers"][k]
                gradient = gradients["weights"][j][i] if i < len(layer["weights"][0]) else gradients["biases"][j]
                assert gradient == pytest.approx((losses[0] - losses[1]) / (2 * step), rel=1e-7, abs=1e-8)


def test_the_answer_of_backward_has_the_contracts_fields(post: Post) -> None:
    found = of(post, "backward", model=MODEL, data=ROWS, loss="max_margin", l2=0.1)
    assert set(found) == {"loss", "data_loss", "regularization_loss", "accuracy", "gradients"}
    assert found["loss"] == pytest.approx(found["data_loss"] + found["regularization_loss"], rel=1e-15)
    assert found["regularization_loss"] == pytest.approx(0.1 * sum(p * p for p in parameters(MODEL)), rel=1e-14)
    scores = [score for (score,) in of(post, "predict", model=MODEL, inputs=ROWS["inputs"])["outputs"]]
    assert found["accuracy"] == sum((s > 0) == (t > 0) for s, t in zip(scores, ROWS["targets"], strict=True)) / 4
    for layer, own in zip(found["gradients"]["layers"], MODEL["layers"], strict=True):
        assert np.shape(layer["weights"]) == np.shape(own["weights"]) and len(layer["biases"]) == len(own["biases"])
    numbers = {"inputs": ROWS["inputs"], "targets": [0.5, 1.5, 2.0, -3.0]}
    regression = of(post, "backward", model=MODEL, data=numbers, loss="mse", input_gradients=True)
    assert set(regression) == {"loss", "data_loss", "regularization_loss", "gradients", "input_gradients"}
    assert np.shape(regression["input_gradients"]) == (4, 2)
    assert regression["regularization_loss"] == 0.0


def test_targets_are_numbers_or_rows_and_data_a_name_or_rows(post: Post) -> None:
    rows = {"inputs": ROWS["inputs"], "targets": [[t] for t in ROWS["targets"]]}
    one = post("networks/backward", model=MODEL, data=ROWS, loss="mse")
    assert one.status_code == 200 and one.content == post("networks/backward", model=MODEL, data=rows, loss="mse").content
    named = {"dataset": "moons", "samples": 20, "noise": 0.2, "seed": 7}
    inputs, classes = sklearn_datasets.make_moons(20, noise=0.2, random_state=7)
    given = {"inputs": inputs.tolist(), "targets": (2 * classes - 1).tolist()}
    first, second = (post("networks/backward", model=MODEL, data=data, loss="max_margin") for data in (named, given))
    assert first.status_code == 200 and first.content == second.content


def test_a_spec_stands_where_a_model_does(post: Post) -> None:
    made = of(post, "", **SPEC)["model"]
    for path, body in (
        ("predict", {"inputs": [[1, 2]]}),
        ("backward", {"data": ROWS, "loss": "mse"}),
        ("graph", {"inputs": [1, 2], "target": 1, "loss": "mse"}),
        ("train", {"data": ROWS, "loss": "mse", "steps": 2}),
    ):
        given, named = (post(f"networks/{path}", model=model, **body) for model in (made, SPEC))
        assert given.status_code == 200 and given.content == named.content, path


# --- boundaries and histories


def test_a_boundary_is_what_predict_says_of_micrograds_grid(post: Post) -> None:
    data = {"dataset": "moons", "samples": 100, "noise": 0.1, "seed": 1337}
    inputs = np.array(demo()["inputs"])
    found = of(post, "decision-boundary", model=SPEC, data=data)["points"]
    h = 0.25
    (x_min, y_min), (x_max, y_max) = inputs.min(axis=0) - 1, inputs.max(axis=0) + 1
    xx, yy = np.meshgrid(np.arange(x_min, x_max, h), np.arange(y_min, y_max, h))
    assert [(p["x"], p["y"]) for p in found] == list(zip(xx.ravel().tolist(), yy.ravel().tolist(), strict=True))
    scores = of(post, "predict", model=SPEC, inputs=[[p["x"], p["y"]] for p in found])["outputs"]
    assert [p["score"] for p in found] == [score for (score,) in scores]
    assert set(found[0]) == {"x", "y", "score"}


def test_a_boundary_of_ones_own_data_step_and_padding(post: Post) -> None:
    data = {"inputs": [[0.0, 10.0], [1.0, 12.0]], "targets": [1, -1]}
    found = of(post, "decision-boundary", model=MODEL, data=data, step=0.5, padding=0.5)["points"]
    expected = [(x, y) for y in np.arange(9.5, 12.5, 0.5) for x in np.arange(-0.5, 1.5, 0.5)]
    assert [(p["x"], p["y"]) for p in found] == expected


def test_a_boundary_of_several_outputs_has_the_greatest(post: Post) -> None:
    spec = {"inputs": 2, "layers": [4, 3], "seed": 5}
    found = of(post, "decision-boundary", model=spec, step=0.5)["points"]
    scores = of(post, "predict", model=spec, inputs=[[p["x"], p["y"]] for p in found])["outputs"]
    assert [p["score"] for p in found] == [float(np.argmax(row)) for row in scores]


def test_a_history_comes_back_by_column(post: Post) -> None:
    trained = of(post, "train", model=SPEC, data=ROWS, loss="max_margin", steps=7)
    found = of(post, "history", history=trained["history"])
    names = ("step", "loss", "data_loss", "regularization_loss", "accuracy", "learning_rate")
    assert found == {name: [row[name] for row in trained["history"]] for name in names}
    assert found["step"] == list(range(7))


# --- datasets


NAMES = ["moons", "circles", "blobs", "spiral", "xor", "digits", "iris", "wine", "breast_cancer", "diabetes"]
CLASSES = {"digits": 10, "iris": 3, "wine": 3, "breast_cancer": 2}
FEATURES = {"digits": 64, "iris": 4, "wine": 13, "breast_cancer": 30, "diabetes": 10}


def get(client: httpx.Client, name: str, **query: Any) -> httpx.Response:
    return client.get(f"/v1/datasets/{name}", params=query)


def test_what_datasets_there_are(client: httpx.Client) -> None:
    found = answer(client.get("/v1/datasets"))["datasets"]
    assert [row["name"] for row in found] == NAMES
    for row in found:
        assert row["description"] and row["features"] == FEATURES.get(row["name"], 2)
        made = answer(get(client, row["name"]))
        assert len(made["inputs"]) == row["samples"], "the default is as listed"


@pytest.mark.parametrize("name", NAMES)
def test_a_dataset_has_the_contracts_shape(client: httpx.Client, name: str) -> None:
    response = get(client, name, samples=4, seed=1)
    found = answer(response)
    assert set(found) == {"name", "inputs", "targets", "features"} | ({"classes"} if name in CLASSES else set())
    assert found["name"] == name and found["features"] == FEATURES.get(name, 2)
    assert np.shape(found["inputs"]) == (4, found["features"]) and np.shape(found["targets"]) == (4,)
    assert found.get("classes") == CLASSES.get(name)
    if name in CLASSES:
        assert set(found["targets"]) <= set(range(CLASSES[name]))
    elif name != "diabetes":
        assert set(found["targets"]) == {-1.0, 1.0}
    assert get(client, name, samples=4, seed=1).content == response.content


def test_moons_are_scikit_learns(client: httpx.Client) -> None:
    for samples, noise, seed in ((100, 0.1, 1337), (51, 0.0, 0), (200, 1.5, 2**32 - 1)):
        found = answer(get(client, "moons", samples=samples, noise=noise, seed=seed))
        inputs, classes = sklearn_datasets.make_moons(samples, noise=noise, random_state=seed)
        assert found["inputs"] == inputs.tolist() and found["targets"] == (2 * classes - 1).tolist()


@pytest.mark.parametrize("name", [*CLASSES, "diabetes"])
def test_bundled_sets_are_scikit_learns(client: httpx.Client, name: str) -> None:
    inputs, targets = getattr(sklearn_datasets, f"load_{name}")(return_X_y=True)
    found = answer(get(client, name))
    assert found["inputs"] == inputs.tolist() and found["targets"] == targets.tolist()


@pytest.mark.parametrize("name", NAMES)
def test_a_dataset_is_the_data_of_a_training_as_it_is(client: httpx.Client, post: Post, name: str) -> None:
    found = answer(get(client, name, samples=4))
    loss, outputs = ("cross_entropy", found["classes"]) if name in CLASSES else ("mse", 1)
    body = {"model": {"inputs": found["features"], "layers": [outputs], "init": "he"}, "loss": loss, "steps": 1}
    given = post("networks/train", data=found, **body)
    named = post("networks/train", data={"dataset": name, "samples": 4}, **body)
    assert given.status_code == 200 and given.content == named.content


@pytest.mark.parametrize(
    ("name", "query", "words"),
    [
        ("moons", {"samples": 0}, ["samples", "0"]),
        ("moons", {"samples": -5}, ["samples", "-5"]),
        ("moons", {"samples": 100_001}, ["samples", "100000"]),
        ("iris", {"samples": 151}, ["samples", "150"]),
        ("moons", {"samples": "many"}, ["samples", "integer", "many"]),
        ("moons", {"samples": "2.5"}, ["samples", "integer"]),
        ("moons", {"samples": ""}, ["samples"]),
        ("moons", {"samples": "1" * 400}, ["samples"]),
        ("moons", {"samples": "9" * 5000}, ["samples"]),
        ("moons", {"noise": "-0.1"}, ["noise", "negative"]),
        ("moons", {"noise": "nan"}, ["noise", "number"]),
        ("moons", {"noise": "inf"}, ["noise", "number"]),
        ("moons", {"noise": "1e999"}, ["noise", "number"]),
        ("moons", {"noise": "1e308"}, ["noise"]),
        ("moons", {"noise": "loud"}, ["noise", "number", "loud"]),
        ("iris", {"noise": "0.1"}, ["noise", "iris"]),
        ("moons", {"seed": "-1"}, ["seed", "-1"]),
        ("moons", {"seed": 2**32}, ["seed", "4294967295"]),
        ("moons", {"seed": "1_0"}, ["seed", "integer"]),
        ("moons", {"sample": 5}, ["'sample'", "samples"]),
        ("moons", {"Samples": 5}, ["'Samples'", "samples"]),
    ],
)
def test_a_wrong_query_is_named(client: httpx.Client, name: str, query: dict[str, Any], words: list[str]) -> None:
    body = problem(get(client, name, **query), "invalid-request", 422)
    for word in words:
        assert word in body["detail"], body


@pytest.mark.parametrize("name", ["moonz", "Moons", "mnist", "x" * 500, "%00", "a%2Fb"])
def test_an_unknown_dataset_is_not_found(client: httpx.Client, name: str) -> None:
    body = problem(get(client, name), "not-found", 404)
    if name == "moonz":
        assert "'moonz'" in body["detail"] and "moons" in body["detail"]


# --- what does not fit: (path, where in the base request, what is put there, problem, pointer, words)

Misfit = tuple[str, Any, str | tuple[str, ...], str, list[str]]
DELETE = object()
NEITHER = ("invalid-request", "shape-mismatch")  # the contract leaves open which of the two
BASES: dict[str, dict[str, Any]] = {
    "networks": {"inputs": 2, "layers": [3, 1]},
    "networks/predict": {"model": MODEL, "inputs": [[1.0, 2.0], [3.0, 4.0]]},
    "networks/backward": {"model": MODEL, "data": ROWS, "loss": "mse"},
    "networks/train": {"model": MODEL, "data": ROWS, "loss": "mse", "steps": 3, "optimizer": {"name": "sgd"}},
    "networks/train/stream": {"model": MODEL, "data": ROWS, "loss": "mse", "steps": 3, "optimizer": {"name": "sgd"}},
    "networks/graph": {"model": MODEL, "inputs": [1.0, 2.0], "target": 1.0, "loss": "mse"},
    "networks/decision-boundary": {"model": MODEL, "data": ROWS},
    "networks/history": {"history": [{"step": 0, "loss": 1.0}]},
}
BUFFER = {"layers": [{"weights": layer["weights"], "biases": layer["biases"]} for layer in MODEL["layers"]]}
OTHER = {"layers": [BUFFER["layers"][1], {"weights": [[1.0]], "biases": [0.0]}]}
ADAM = {"name": "adam", "exp_avg": BUFFER, "exp_avg_sq": BUFFER}
RMSPROP = {"name": "rmsprop", "square_avg": BUFFER}
LAYERS = MODEL["layers"]
TWO_CLASSES = {"layers": [LAYERS[0], {"weights": [[1, 2, 3], [3, 2, 1]], "biases": [0, 0]}]}
DIGITS = {"dataset": "digits", "samples": 4}
NEW: dict[str, Any] = {"inputs": 2, "layers": [3, 1]}
CYCLE = {
    "nodes": [{"id": "s", "op": "add", "args": ["b", 1]}, {"id": "b", "op": "neg", "args": ["s"]}],
    "output": "s",
}

MODEL_MISFITS: list[Misfit] = [
    ("/model", DELETE, "invalid-request", "/model", ["missing"]),
    ("/model", None, "invalid-request", "/model", ["null"]),
    ("/model", [], "invalid-request", "/model", ["list"]),
    ("/model", {}, "invalid-request", "/model/layers", ["missing"]),
    ("/model", {"layers": []}, "invalid-request", "/model/layers", ["layer"]),
    ("/model", {"inputs": 2, "layers": []}, "invalid-request", "/model/layers", ["at least one layer"]),
    ("/model", {"layers": [3, 1]}, "invalid-request", "/model/inputs", ["inputs"]),
    ("/model", {"inputs": 0, "layers": [3, 1]}, "invalid-request", "/model/inputs", ["0"]),
    ("/model", {"inputs": 2, "layers": [3, 0]}, "invalid-request", "/model/layers/1", ["0"]),
    ("/model", {"inputs": 2, "layers": [-3, 1]}, "invalid-request", "/model/layers/0", ["-3"]),
    ("/model", {"inputs": 2, "layers": [2.5, 1]}, "invalid-request", "/model/layers/0", []),
    ("/model", {"inputs": 2, "layers": [True, 1]}, "invalid-request", "/model/layers/0", ["boolean"]),
    ("/model", NEW | {"init": "zero"}, "invalid-request", "/model/init", ["uniform", "he", "xavier"]),
    ("/model", NEW | {"seed": -1}, "invalid-request", "/model/seed", []),
    ("/model", NEW | {"seed": 2**32}, "invalid-request", "/model/seed", []),
    ("/model", NEW | {"activation": "rellu"}, "invalid-request", "/model/activation", ["'rellu'", "'relu'"]),
    ("/model", NEW | {"output_activation": "add"}, "invalid-request", "/model/output_activation", ["'add'"]),
    ("/model", NEW | {"activations": "relu"}, "invalid-request", "/model/activations", ["'activations'"]),
    ("/model", {"inputs": 2, "layers": [3, LAYERS[1]]}, "invalid-request", "/model/layers/0", ["layers"]),
    ("/model", {"inputs": 2, "layers": LAYERS}, "invalid-request", "/model/inputs", ["inputs"]),
    ("/model", {"seed": 5, "layers": LAYERS}, "invalid-request", "/model/seed", ["seed"]),
    ("/model", {"activation": "relu", "layers": LAYERS}, "invalid-request", "/model/activation", ["activation"]),
    ("/model/layers/0/activation", "rellu", "invalid-request", "/model/layers/0/activation", ["'rellu'", "'relu'"]),
    ("/model/layers/0/activation", "max", "invalid-request", "/model/layers/0/activation", ["'max'"]),
    ("/model/layers/0/activation", 5, "invalid-request", "/model/layers/0/activation", []),
    ("/model/layers/0/weight", [[1]], "invalid-request", "/model/layers/0/weight", ["'weight'"]),
    ("/model/layers/0/weights", DELETE, "invalid-request", "/model/layers/0/weights", ["missing"]),
    ("/model/layers/0/biases", DELETE, "invalid-request", "/model/layers/0/biases", ["missing"]),
    ("/model/layers/0/biases", [0.0, 0.0], "shape-mismatch", "/model/layers/0/biases", ["3", "2"]),
    ("/model/layers/1/biases", [], "shape-mismatch", "/model/layers/1/biases", ["1", "0"]),
    ("/model/layers/0/weights/1", [1.0], "shape-mismatch", "/model/layers/0/weights/1", ["1", "2"]),
    ("/model/layers/0/weights/2", [1.0, 2.0, 3.0], "shape-mismatch", "/model/layers/0/weights/2", ["3", "2"]),
    ("/model/layers/0/weights", [], NEITHER, "/model/layers/0/weights", ["rows"]),
    ("/model/layers/0/weights", [[], [], []], NEITHER, "/model/layers/0/weights", ["rows"]),
    ("/model/layers/1/weights", [[1.0, 2.0]], "shape-mismatch", "/model/layers/1/weights", ["layer 1", "layer 0", "2", "3"]),
    ("/model/layers/0/weights/0/0", "1", "invalid-request", "/model/layers/0/weights/0/0", ["number", "string"]),
    ("/model/layers/0/weights/0/0", None, "invalid-request", "/model/layers/0/weights/0/0", ["number", "null"]),
    ("/model/layers/0/biases/0", True, "invalid-request", "/model/layers/0/biases/0", ["number", "boolean"]),
]
DATA_MISFITS: list[Misfit] = [
    ("/data", DELETE, "invalid-request", "/data", ["missing"]),
    ("/data", {}, "invalid-request", "/data/inputs", ["inputs"]),
    ("/data/targets", DELETE, "invalid-request", "/data/targets", ["targets"]),
    ("/data/inputs", DELETE, "invalid-request", "/data/inputs", ["inputs"]),
    ("/data/dataset", "moons", "invalid-request", "/data/dataset", ["dataset", "inputs"]),
    ("/data/samples", 5, "invalid-request", "/data/samples", ["samples", "dataset"]),
    ("/data/noise", 0.5, "invalid-request", "/data/noise", ["noise", "dataset"]),
    ("/data/seed", 5, "invalid-request", "/data/seed", ["seed", "dataset"]),
    ("/data", {"dataset": "moonz"}, "invalid-request", "/data/dataset", ["'moonz'", "'moons'"]),
    ("/data", {"dataset": "moons", "samples": 0}, "invalid-request", "/data/samples", ["0"]),
    ("/data", {"dataset": "moons", "samples": 100_001}, "invalid-request", "/data/samples", ["100000"]),
    ("/data", {"dataset": "moons", "samples": 2.5}, "invalid-request", "/data/samples", []),
    ("/data", {"dataset": "moons", "noise": -1}, "invalid-request", "/data/noise", ["negative"]),
    ("/data", {"dataset": "iris", "noise": 1}, "invalid-request", "/data/noise", ["iris"]),
    ("/data", {"dataset": "moons", "seed": -1}, "invalid-request", "/data/seed", ["-1"]),
    ("/data", {"dataset": "moons", "seed": 2**32}, "invalid-request", "/data/seed", ["4294967295"]),
    ("/data", DIGITS, "shape-mismatch", "/data/dataset", ["64", "2"]),
    ("/data/inputs", [], NEITHER, "/data/inputs", ["rows"]),
    ("/data/inputs", [[], [], [], []], NEITHER, "/data/inputs", ["rows"]),
    ("/data/inputs", 5, "invalid-request", "/data/inputs", ["list"]),
    ("/data/inputs/2", [1.0], "shape-mismatch", "/data/inputs/2", ["row 2", "1", "2"]),
    ("/data/inputs", [[1.0, 2.0, 3.0]] * 4, "shape-mismatch", "/data/inputs", ["3", "2"]),
    ("/data/inputs/0/0", "1", "invalid-request", "/data/inputs/0/0", ["number", "string"]),
    ("/data/inputs/0/0", True, "invalid-request", "/data/inputs/0/0", ["number", "boolean"]),
    ("/data/inputs/0/0", None, "invalid-request", "/data/inputs/0/0", ["number", "null"]),
    ("/data/targets", [], NEITHER, "/data/targets", ["targets"]),
    ("/data/targets", [[], [], [], []], NEITHER, "/data/targets", ["rows"]),
    ("/data/targets", [1, -1, 1], "shape-mismatch", "/data/targets", ["3", "4"]),
    ("/data/targets", [1] * 5, "shape-mismatch", "/data/targets", ["5", "4"]),
    ("/data/targets", [[1, 1]] * 4, "shape-mismatch", "/data/targets", ["2", "1"]),
    ("/data/targets", [[1], [1], [1, 2], [1]], "shape-mismatch", "/data/targets/2", ["row 2", "2", "1"]),
    ("/data/targets/1", "1", "invalid-request", "/data/targets/1", ["string"]),
    ("/data/targets/1", None, "invalid-request", "/data/targets/1", ["null"]),
    ("/data/rows", [], "invalid-request", "/data/rows", ["'rows'"]),
    ("/loss", DELETE, "invalid-request", "/loss", ["missing"]),
    ("/loss", "mze", "invalid-request", "/loss", ["'mze'", "'mse'"]),
    ("/loss", "hinge", "invalid-request", "/loss", ["'hinge'", "max_margin"]),
    ("/loss", 5, "invalid-request", "/loss", []),
    ("/loss", {}, "invalid-request", "/loss/expression", ["missing"]),
    ("/loss", {"expr": "score"}, "invalid-request", "/loss/expr", ["'expr'"]),
    ("/loss", {"expression": "(score - tarqet)**2"}, ("unbound-input", "syntax-error"), "/loss", ["'tarqet'", "target"]),
    ("/loss", {"expression": "(score - target"}, "syntax-error", "/loss/expression", ["line 1"]),
    ("/loss", {"expression": "skore(score)"}, "unknown-primitive", "/loss/expression", ["'skore'"]),
    ("/loss", {"expression": "score = 2*target; score**2"}, "invalid-request", "/loss", ["'score'"]),
    ("/loss", {"expression": CYCLE}, "graph-cycle", "/loss/expression", ["s -> b", "b -> s"]),
    ("/l2", -0.1, "invalid-request", "/l2", []),
    ("/l2", "0", "invalid-request", "/l2", ["number", "string"]),
]
TRAIN_MISFITS: list[Misfit] = [
    ("/optimizer", "adam", "invalid-request", "/optimizer", ["object"]),
    ("/optimizer", {"name": "adamm"}, "invalid-request", "/optimizer/name", ["'adamm'", "'adam'"]),
    ("/optimizer", {"name": "lbfgs"}, "invalid-request", "/optimizer/name", ["'lbfgs'", "sgd"]),
    ("/optimizer/lr", 0.1, "invalid-request", "/optimizer/lr", ["'lr'", "learning_rate"]),
    ("/optimizer", {"name": "adam", "momentum": 0.9}, "invalid-request", "/optimizer/momentum", ["adam", "momentum"]),
    ("/optimizer", {"name": "sgd", "betas": [0.9, 0.99]}, "invalid-request", "/optimizer/betas", ["sgd", "betas"]),
    ("/optimizer", {"name": "sgd", "amsgrad": True}, "invalid-request", "/optimizer/amsgrad", ["sgd", "amsgrad"]),
    ("/optimizer", {"name": "sgd", "amsgrad": False}, "invalid-request", "/optimizer/amsgrad", ["sgd", "amsgrad"]),
    ("/optimizer", {"name": "adam", "betas": [1.5, 0.9]}, "invalid-request", "/optimizer/betas/0", ["1.5"]),
    ("/optimizer", {"name": "adam", "betas": [0.9, 1.0]}, "invalid-request", "/optimizer/betas/1", ["1"]),
    ("/optimizer", {"name": "adam", "betas": [0.9]}, "invalid-request", "/optimizer/betas", ["2"]),
    ("/optimizer", {"name": "adam", "eps": -1e-8}, "invalid-request", "/optimizer/eps", ["negative"]),
    ("/optimizer", {"name": "adam", "amsgrad": 1}, "invalid-request", "/optimizer/amsgrad", ["true or false"]),
    ("/optimizer", {"name": "sgd", "momentum": -0.5}, "invalid-request", "/optimizer/momentum", ["negative"]),
    ("/optimizer", {"name": "sgd", "momentum": None}, "invalid-request", "/optimizer/momentum", ["null"]),
    ("/optimizer", {"name": "sgd", "weight_decay": -1}, "invalid-request", "/optimizer/weight_decay", ["negative"]),
    ("/optimizer", {"name": "sgd", "nesterov": True}, "invalid-request", "/optimizer/nesterov", ["momentum"]),
    (
        "/optimizer",
        {"name": "sgd", "nesterov": True, "momentum": 0.9, "dampening": 0.1},
        "invalid-request",
        "/optimizer/nesterov",
        ["dampening"],
    ),
    ("/optimizer/learning_rate", -0.1, "invalid-request", "/optimizer/learning_rate", ["negative"]),
    ("/optimizer/learning_rate", True, "invalid-request", "/optimizer/learning_rate", ["boolean"]),
    ("/optimizer/learning_rate", "0.1*", "syntax-error", "/optimizer/learning_rate", ["line 1", "column 5"]),
    ("/optimizer/learning_rate", "0.1*stepp", ("unbound-input", "syntax-error"), "/optimizer/learning_rate", ["'stepp'"]),
    ("/optimizer/learning_rate", "score", ("unbound-input", "syntax-error"), "/optimizer/learning_rate", ["'score'", "step"]),
    ("/optimizer/learning_rate", "decay(step)", "unknown-primitive", "/optimizer/learning_rate", ["'decay'"]),
    ("/optimizer/learning_rate", "step = 3; step*2", "invalid-request", "/optimizer/learning_rate", ["'step'"]),
    ("/optimizer/learning_rate", "", "syntax-error", "/optimizer/learning_rate", []),
    ("/steps", 0, "invalid-request", "/steps", ["1"]),
    ("/steps", -1, "invalid-request", "/steps", ["1"]),
    ("/steps", 1.5, "invalid-request", "/steps", ["integer"]),
    ("/steps", "5", "invalid-request", "/steps", ["integer", "string"]),
    ("/steps", None, "invalid-request", "/steps", ["integer", "null"]),
    ("/batch_size", 0, "invalid-request", "/batch_size", ["1"]),
    ("/batch_size", -4, "invalid-request", "/batch_size", ["1"]),
    ("/batch_size", 2.5, "invalid-request", "/batch_size", ["integer"]),
    ("/seed", -1, "invalid-request", "/seed", []),
    ("/log_every", 0, "invalid-request", "/log_every", ["1"]),
    ("/stepz", 5, "invalid-request", "/stepz", ["'stepz'", "'steps'"]),
    ("/state", {}, "invalid-request", "/state/step", ["missing"]),
    ("/state", {"step": -1}, "invalid-request", "/state/step", []),
    ("/state", {"step": 2**63 - 1}, "invalid-request", "/state/step", []),
    ("/state", {"step": 2**63}, "invalid-request", "/state/step", []),
    ("/state", {"step": 10**30}, "invalid-request", "/state/step", []),
    ("/state", {"step": 1, "optimizer": {"name": "adam"}}, NEITHER, "/state/optimizer/name", ["adam", "sgd"]),
    (
        "/state",
        {"step": 1, "optimizer": {"name": "sgd", "momentum_buffer": BUFFER}},
        NEITHER,
        "/state/optimizer/momentum_buffer",
        ["momentum_buffer"],
    ),
    (
        "/state",
        {"step": 1, "optimizer": {"name": "sgd", "momentum": BUFFER}},
        "invalid-request",
        "/state/optimizer/momentum",
        ["'momentum'"],
    ),
]
STATES: list[tuple[dict[str, Any], dict[str, Any], str, list[str]]] = [
    ({"name": "sgd", "momentum": 0.9}, {"step": 1}, "/state/optimizer", ["momentum_buffer"]),
    ({"name": "sgd", "momentum": 0.9}, {"step": 1, "optimizer": {"name": "sgd"}}, "/state/optimizer", ["momentum_buffer"]),
    ({"name": "adam"}, {"step": 1, "optimizer": ADAM | {"exp_avg_sq": None}}, "/state/optimizer", ["exp_avg_sq"]),
    ({"name": "adam", "amsgrad": True}, {"step": 1, "optimizer": ADAM}, "/state/optimizer", ["max_exp_avg_sq"]),
    (
        {"name": "adam"},
        {"step": 1, "optimizer": ADAM | {"max_exp_avg_sq": BUFFER}},
        "/state/optimizer/max_exp_avg_sq",
        ["adam"],
    ),
    ({"name": "adamw"}, {"step": 1, "optimizer": ADAM}, "/state/optimizer/name", ["adam", "adamw"]),
    ({"name": "adam"}, {"step": 1, "optimizer": ADAM | {"exp_avg": OTHER}}, "/state/optimizer/exp_avg", ["exp_avg", "shape"]),
    ({"name": "adam"}, {"step": 1, "optimizer": ADAM | {"exp_avg": {"layers": []}}}, "/state/optimizer/exp_avg", []),
    (
        {"name": "adam"},
        {"step": 1, "optimizer": ADAM | {"exp_avg": {"layers": BUFFER["layers"][:1]}}},
        "/state/optimizer/exp_avg",
        ["exp_avg", "shape"],
    ),
    (
        {"name": "adam"},
        {"step": 1, "optimizer": ADAM | {"exp_avg": {"layers": [{"weights": [[1, 2], [1]], "biases": [0, 0]}]}}},
        "/state/optimizer/exp_avg/layers/0/weights/1",
        ["row 1"],
    ),
    ({"name": "rmsprop", "centered": True}, {"step": 1, "optimizer": RMSPROP}, "/state/optimizer", ["grad_avg"]),
]
LABELS: list[tuple[dict[str, Any], str, Any, list[str]]] = [
    (MODEL, "max_margin", 0, ["0", "-1 or 1"]),
    (MODEL, "max_margin", 0.5, ["0.5", "-1 or 1"]),
    (MODEL, "binary_cross_entropy", -1, ["-1", "0 or 1"]),
    (MODEL, "binary_cross_entropy", 1.5, ["1.5", "0 or 1"]),
    (TWO_CLASSES, "cross_entropy", 2, ["2", "0 to 1"]),
    (TWO_CLASSES, "cross_entropy", -1, ["-1", "0 to 1"]),
    (TWO_CLASSES, "cross_entropy", 0.5, ["0.5", "0 to 1"]),
    (TWO_CLASSES, "cross_entropy", 1e300, ["0 to 1"]),
]
FEW = [case for case in MODEL_MISFITS if case[4] and case[0].startswith("/model/layers")]
OF_LOSSES = [case for case in DATA_MISFITS if case[0] == "/loss" and case[1] is not DELETE]
OF_DATA = [case for case in DATA_MISFITS if case[0].startswith("/data/") or isinstance(case[1], dict) and "dataset" in case[1]]
OF_DATA = [case for case in OF_DATA if case[1] is not DELETE and case[1] != [[1, 1]] * 4]
CASES: list[tuple[str, str, Any, str | tuple[str, ...], str, list[str]]] = [
    *(("networks/train", *case) for case in (*MODEL_MISFITS, *DATA_MISFITS, *TRAIN_MISFITS)),
    *(("networks/predict", *case) for case in MODEL_MISFITS),
    *(("networks/backward", *case) for case in (*FEW, *DATA_MISFITS)),
    *(("networks/train/stream", *case) for case in (*FEW, *DATA_MISFITS, *TRAIN_MISFITS)),
    *(("networks/decision-boundary", *case) for case in (*FEW, *OF_DATA)),
    *(("networks/graph", *case) for case in (*FEW, *OF_LOSSES)),
    ("networks", "/inputs", DELETE, "invalid-request", "/inputs", ["missing"]),
    ("networks", "/inputs", 0, "invalid-request", "/inputs", ["1"]),
    ("networks", "/inputs", 2.5, "invalid-request", "/inputs", ["integer"]),
    ("networks", "/layers", DELETE, "invalid-request", "/layers", ["missing"]),
    ("networks", "/layers", [], "invalid-request", "/layers", ["1"]),
    ("networks", "/layers", 3, "invalid-request", "/layers", ["list"]),
    ("networks", "/layers/1", 0, "invalid-request", "/layers/1", ["1"]),
    ("networks", "/layers/1", "1", "invalid-request", "/layers/1", ["integer", "string"]),
    ("networks", "/activation", "rellu", "invalid-request", "/activation", ["'rellu'", "'relu'"]),
    ("networks", "/output_activation", "where", "invalid-request", "/output_activation", ["'where'"]),
    ("networks", "/init", "kaiming", "invalid-request", "/init", ["uniform", "he", "xavier"]),
    ("networks", "/seed", -1, "invalid-request", "/seed", []),
    ("networks", "/seed", 1.5, "invalid-request", "/seed", ["integer"]),
    ("networks", "/hidden", 5, "invalid-request", "/hidden", ["'hidden'"]),
    ("networks/predict", "/inputs", DELETE, "invalid-request", "/inputs", ["missing"]),
    ("networks/predict", "/inputs", [], NEITHER, "/inputs", ["rows"]),
    ("networks/predict", "/inputs", [[]], NEITHER, "/inputs", ["rows"]),
    ("networks/predict", "/inputs", [1.0, 2.0], "invalid-request", "/inputs/0", ["list"]),
    ("networks/predict", "/inputs/1", [1.0], "shape-mismatch", "/inputs/1", ["row 1", "1", "2"]),
    ("networks/predict", "/inputs", [[1.0, 2.0, 3.0]], "shape-mismatch", "/inputs", ["3", "2"]),
    ("networks/backward", "/input_gradients", 1, "invalid-request", "/input_gradients", ["true or false"]),
    ("networks/backward", "/steps", 1, "invalid-request", "/steps", ["'steps'"]),
    ("networks/graph", "/inputs", [1.0], "shape-mismatch", "/inputs", ["2", "1"]),
    ("networks/graph", "/inputs", [], NEITHER, "/inputs", ["2", "0"]),
    ("networks/graph", "/inputs", [[1.0, 2.0]], "invalid-request", "/inputs/0", ["number", "list"]),
    ("networks/graph", "/target", [1.0, 2.0], "shape-mismatch", "/target", ["1", "2"]),
    ("networks/graph", "/target", [], NEITHER, "/target", ["1", "0"]),
    ("networks/graph", "/target", "1", "invalid-request", "/target", ["string"]),
    ("networks/graph", "/target", DELETE, "invalid-request", "/target", ["target"]),
    ("networks/decision-boundary", "/model", {"inputs": 3, "layers": [1]}, NEITHER, "/model", ["two inputs", "3"]),
    ("networks/decision-boundary", "/step", 0, "invalid-request", "/step", []),
    ("networks/decision-boundary", "/step", -0.25, "invalid-request", "/step", []),
    ("networks/decision-boundary", "/step", 1e-9, "too-large", "/step", ["1000000", "points"]),
    ("networks/decision-boundary", "/padding", 1e300, "too-large", "/padding", ["1000000", "points"]),
    ("networks/decision-boundary", "/padding", -1, "invalid-request", "/padding", []),
    ("networks/train", "/steps", 10**15, "too-large", "/steps", ["AUTODIFF_MAX_WORK"]),
    ("networks/history", "/history", [], NEITHER, "/history", ["rows"]),
    ("networks/history", "/history", DELETE, "invalid-request", "/history", ["missing"]),
    ("networks/history", "/history/0/loss", DELETE, "invalid-request", "/history/0/loss", ["missing"]),
    ("networks/history", "/history/0/loss", None, "invalid-request", "/history/0/loss", ["number", "null"]),
    ("networks/history", "/history/0/step", 0.5, "invalid-request", "/history/0/step", ["integer"]),
    ("networks/history", "/rows", 0.5, "invalid-request", "/rows", ["'rows'"]),
]


def changed(path: str, at: str, value: Any) -> dict[str, Any]:
    """A base request with one place in it replaced, or deleted."""
    request = copy.deepcopy(BASES[path])
    parent, _, key = at.rpartition("/")
    place = resolve(request, parent)
    if value is DELETE:
        del place[key]
    else:
        place[int(key) if isinstance(place, list) else key] = value
    return request


def misfit(response: httpx.Response, request: Any, kind: str | tuple[str, ...], pointer: str, words: list[str]) -> None:
    """A 422 of this kind (or one of these) that points to the place and has these words; all pointers lead somewhere."""
    body = problem(response, None, 422, None)
    kinds = (kind,) if isinstance(kind, str) else kind
    assert body["type"].removeprefix("/problems/") in kinds, body
    pointers = [entry["pointer"] for entry in body.get("errors", [])]
    assert any(found == pointer or found.startswith(pointer + "/") for found in pointers), body
    for found in pointers:
        resolve(request, found.rpartition("/")[0])  # the place itself may be what is missing
    for word in words:
        assert word in body["detail"], body


def label(case: Any) -> str:
    path, at, value = case[:3]
    shown = "missing" if value is DELETE else json.dumps(value)
    return f"{path.removeprefix('networks/')} {at} {shown if len(shown) < 40 else shown[:37] + '...'}"


@pytest.mark.parametrize(("path", "at", "value", "kind", "pointer", "words"), CASES, ids=map(label, CASES))
def test_a_misfit_is_named(
    post: Post, path: str, at: str, value: Any, kind: str | tuple[str, ...], pointer: str, words: list[str]
) -> None:
    request = changed(path, at, value)
    misfit(post(path, **request), request, kind, pointer, words)


@pytest.mark.parametrize("path", BASES)
def test_the_base_requests_are_right(client: httpx.Client, path: str) -> None:
    assert client.post(f"/v1/{path}", json=BASES[path]).status_code == 200


@pytest.mark.parametrize(("optimizer", "state", "pointer", "words"), STATES)
def test_a_state_that_does_not_fit_is_named(
    post: Post, optimizer: dict[str, Any], state: dict[str, Any], pointer: str, words: list[str]
) -> None:
    request = BASES["networks/train"] | {"optimizer": optimizer, "state": state}
    body = problem(post("networks/train", **request), None, 422)
    assert body["type"].removeprefix("/problems/") in NEITHER
    assert any(entry["pointer"].startswith(pointer) for entry in body["errors"]), body
    for word in words:
        assert word in body["detail"], body


@pytest.mark.parametrize("path", ["networks/train", "networks/backward", "networks/graph"])
@pytest.mark.parametrize(("model", "loss", "target", "words"), LABELS)
def test_a_label_that_the_loss_does_not_take_is_named(
    post: Post, path: str, model: dict[str, Any], loss: str, target: Any, words: list[str]
) -> None:
    fine = 1
    if path == "networks/graph":
        request: dict[str, Any] = {"model": model, "inputs": [1.0, 2.0], "target": target, "loss": loss}
        misfit(post(path, **request), request, NEITHER, "/target", words)
        return
    request = {"model": model, "data": {"inputs": [[1.0, 2.0]] * 3, "targets": [fine, target, fine]}, "loss": loss}
    misfit(post(path, **request), request, NEITHER, "/data/targets/1", ["row 1", *words])


def test_labels_of_a_dataset_that_the_loss_does_not_take_are_named(post: Post) -> None:
    for data, spec, loss in (
        ({"dataset": "digits", "samples": 5}, {"inputs": 64, "layers": [1]}, "max_margin"),
        ({"dataset": "digits", "samples": 50}, {"inputs": 64, "layers": [3]}, "cross_entropy"),
        ({"dataset": "moons"}, {"inputs": 2, "layers": [1]}, "binary_cross_entropy"),
        ({"dataset": "moons"}, {"inputs": 2, "layers": [2]}, "mse"),
    ):
        request = {"model": spec, "data": data, "loss": loss}
        misfit(post("networks/train", **request), request, NEITHER, "/data/dataset", [])


def test_cross_entropy_wants_an_output_for_each_class(post: Post) -> None:
    request: dict[str, Any] = {"model": MODEL, "data": {"inputs": [[1, 2]], "targets": [0]}, "loss": "cross_entropy"}
    misfit(post("networks/train", **request), request, NEITHER, "/model", ["1", "cross_entropy"])
    request |= {"model": TWO_CLASSES, "data": {"inputs": [[1, 2]], "targets": [[0, 1]]}}
    misfit(post("networks/train", **request), request, NEITHER, "/data/targets", ["class"])


def test_a_boundary_counts_rows_and_targets(post: Post) -> None:
    request = {"model": MODEL, "data": {"inputs": [[0, 0], [1, 1]], "targets": [1]}}
    misfit(post("networks/decision-boundary", **request), request, "shape-mismatch", "/data/targets", ["1", "2"])


NUMBERS = [
    "/model/layers/0/weights/0/1",
    "/model/layers/1/biases/0",
    "/data/inputs/1/0",
    "/data/targets/2",
    "/l2",
    "/optimizer/learning_rate",
]


@pytest.mark.parametrize("at", NUMBERS)
@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
def test_numbers_that_are_none_are_named(client: httpx.Client, at: str, number: str) -> None:
    request = changed("networks/train", "/l2", 0.0)
    content = json.dumps(_put(request, at, 31415.926535)).replace("31415.926535", number)
    response = client.post("/v1/networks/train", content=content, headers=JSON)
    if number.startswith(("N", "I", "-I")):
        assert response.status_code in (400, 422)
        body = problem(response)
        assert response.status_code == 400 or body["errors"][0]["pointer"] == at
    else:
        problem(response, "invalid-request", 422, at)


def _put(request: Any, at: str, value: Any) -> Any:
    parent, _, key = at.rpartition("/")
    place = resolve(request, parent)
    place[int(key) if isinstance(place, list) else key] = value
    return request


def test_huge_numbers_are_answered_or_named(post: Post) -> None:
    """Numbers near the largest: an answer, or a problem that says what is not finite; never null, never a defect."""
    for size in (1e100, 1e154, 1e200, 1.7e308):
        huge = {"layers": [{"weights": [[size, -size]], "biases": [size]}]}
        for path, body in (
            ("predict", {"inputs": [[1.0, 1.0], [2.0, 1.5]]}),
            ("backward", {"data": ROWS, "loss": "mse", "input_gradients": True}),
            ("train", {"data": ROWS, "loss": "mse", "steps": 5}),
            ("train", {"data": ROWS, "loss": "mae", "steps": 5, "optimizer": {"name": "adam"}, "l2": 1e-3}),
            ("train", {"data": ROWS, "loss": "mae", "steps": 5, "optimizer": {"name": "rmsprop", "momentum": 0.9}}),
            ("decision-boundary", {"step": 1.0}),
        ):
            response = post(f"networks/{path}", model=huge, **body)
            if response.status_code == 200:
                assert b"null" not in response.content and strict(response.content)
            else:
                problem(response, "non-finite", 422)


def test_no_number_of_a_state_is_null(post: Post) -> None:
    """Slopes of 1e200 are finite, and their squares, which Adam and RMSprop keep, are not."""
    data = {"inputs": [[1e200, 1e200], [0.5, -1.0]], "targets": [1, -1]}
    for name in ("adam", "adamw", "rmsprop"):
        body = {"model": {"inputs": 2, "layers": [1]}, "data": data, "loss": "mae", "optimizer": {"name": name}}
        response = post("networks/train", steps=3, **body)
        assert response.status_code == 200 and b"null" not in response.content, name
        found = answer(response)
        again = post("networks/train", steps=1, **body | {"model": found["model"], "state": found["state"]})
        assert again.status_code == 200, "what was answered can be sent back"


def test_a_long_id_in_a_loss_is_no_matter_of_the_graph(post: Post) -> None:
    """What /train takes as a loss, /graph takes too, and its graph is one that /v1/backward takes."""
    name = "d" * 128
    nodes = [
        {"id": "score", "op": "value"},
        {"id": "target", "op": "value"},
        {"id": name, "op": "sub", "args": ["score", "target"]},
        {"id": "loss", "op": "square", "args": [name]},
    ]
    loss = {"expression": {"nodes": nodes, "output": "loss"}}
    found = of(post, "backward", model=MODEL, data={"inputs": [[1, 2]], "targets": [0.5]}, loss=loss)
    graph = of(post, "graph", model=MODEL, inputs=[1, 2], target=0.5, loss=loss)["graph"]
    close(answer(post("backward", expression=graph))["value"], found["loss"])


# --- a model goes in and out unchanged

FLOATS = st.floats(-1e150, 1e150).map(lambda x: x + 0.0)  # 0.0 in place of -0.0, which an update by 0 may turn to 0.0
WIDTHS = st.lists(st.integers(1, 4), min_size=2, max_size=4)


@st.composite
def models(draw: st.DrawFn) -> dict[str, Any]:
    widths = draw(WIDTHS)
    layers = []
    for inputs, neurons in zip(widths, widths[1:], strict=False):
        row = st.lists(FLOATS, min_size=inputs, max_size=inputs)
        weights = draw(st.lists(row, min_size=neurons, max_size=neurons))
        biases = draw(st.lists(FLOATS, min_size=neurons, max_size=neurons))
        layers.append({"weights": weights, "biases": biases, "activation": draw(st.sampled_from(["linear", "tanh", "relu"]))})
    return {"layers": layers}


@hypothesis.settings(deadline=None, derandomize=True, database=None, max_examples=60)
@hypothesis.given(model=models())
def test_a_model_that_learns_nothing_comes_back_as_it_went_in(post: Post, model: dict[str, Any]) -> None:
    inputs, outputs = len(model["layers"][0]["weights"][0]), len(model["layers"][-1]["biases"])
    body: dict[str, Any] = {
        "data": {"inputs": [[0.5] * inputs], "targets": [[1.5] * outputs]},
        "loss": "mae",
        "optimizer": {"name": "sgd", "learning_rate": 0.0},
        "steps": 2,
    }
    first = post("networks/train", model=model, **body)
    assert answer(first)["model"] == model
    text = parts(first.content)["model"]
    again = post("networks/train", content=written(model=Text(text), **body))
    assert again.content == first.content


def test_a_boundary_needs_no_targets(post: Post) -> None:
    """The grid is about the inputs alone."""
    model = {"layers": [{"weights": [[1, 2]], "biases": [0]}]}
    body = {"model": model, "data": {"inputs": [[0, 0], [1, 1]]}, "step": 1, "padding": 1}
    points = answer(post("networks/decision-boundary", **body))["points"]
    assert [(p["x"], p["y"]) for p in points] == [(x, y) for y in (-1.0, 0.0, 1.0) for x in (-1.0, 0.0, 1.0)]
    assert all(p["score"] == p["x"] + 2 * p["y"] for p in points)


@pytest.mark.parametrize(
    "asked",
    [
        {"data": {"inputs": [[0, 0], [0, 1e300]]}, "padding": 0},
        {"data": {"inputs": [[0, 0], [0, 1e10]]}, "padding": 0},
        {"data": {"inputs": [[1.7976931348623157e308, 0]]}, "step": 1e307, "padding": 1e307},
    ],
)
def test_a_grid_that_is_a_line_or_has_no_end_is_refused(client: httpx.Client, asked: dict[str, Any]) -> None:
    body = {"model": {"inputs": 2, "layers": [1]}, **asked}
    assert client.post("/v1/networks/decision-boundary", json=body).status_code == 422
