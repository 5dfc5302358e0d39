"""Pictures over HTTP: media types, contents against the numbers of the same request, bytes, limits and names of users."""

import io
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from app.pictures.networks import history_picture
from tests.contract.conftest import Post
from tests.contract.wire import graph, json_of, leaf, node, problem
from tests.pictures.svg import HOSTILE, assert_on_a_scale, markers, read, texts

MOONS: dict[str, Any] = {"dataset": "moons", "samples": 60, "noise": 0.1, "seed": 1}
MODEL = {"layers": [{"weights": [[0.5, -1.5]], "biases": [0.1]}]}
MISRA: dict[str, Any] = {
    "expression": "b1*(1 - exp(-b2*x))",
    "data": {
        "x": [77.6, 114.9, 141.1, 190.8, 239.9, 289.0, 332.8, 378.4, 434.8, 477.3, 536.8, 593.1, 689.1, 760.0],
        "y": [10.07, 14.73, 17.94, 23.93, 29.61, 35.18, 40.02, 44.82, 50.76, 55.05, 61.01, 66.40, 75.47, 81.78],
    },
    "target": "y",
    "parameters": {"b1": 500, "b2": 0.0001},
}
HISTORY = [{"step": k, "loss": 1.0 / (1 + k), "accuracy": 0.5 + k / 40} for k in range(12)]
REQUESTS: dict[str, dict[str, Any]] = {
    "networks/decision-boundary": {"model": MODEL, "data": MOONS},
    "networks/history": {"history": HISTORY},
    "fit": MISRA,
}


def picture(post: Post, path: str, media: str, **body: Any) -> bytes:
    """Return the picture that answers a request."""
    response = post(path, headers={"Accept": media}, **body)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == media and "Accept" in response.headers["vary"]
    return response.content


def svg(post: Post, path: str, **body: Any) -> Any:
    """Return the root of the SVG that answers a request."""
    return read(picture(post, path, "image/svg+xml", **body))


@pytest.mark.parametrize("path", REQUESTS)
def test_png_has_its_size_and_is_not_compressed_again(post: Post, path: str) -> None:
    content = picture(post, path, "image/png", **REQUESTS[path])
    image = Image.open(io.BytesIO(content))
    image.load()
    assert (image.format, image.size) == ("PNG", (1200, 900))


def test_the_server_draws_the_bytes_of_this_process(post: Post) -> None:
    """The same request gives the same bytes in every process."""
    content = picture(post, "networks/history", "image/svg+xml", history=HISTORY)
    columns = {name: np.array([row[name] for row in HISTORY]) for name in ("loss", "accuracy")}
    assert content == history_picture([row["step"] for row in HISTORY], columns, "svg")  # type: ignore[misc]


def test_boundary_shows_the_points_and_the_accuracy(post: Post, client: httpx.Client) -> None:
    query = {name: value for name, value in MOONS.items() if name != "dataset"}
    data = json_of(client.get("/v1/datasets/moons", params=query))
    inputs, targets = np.array(data["inputs"]), np.array(data["targets"])
    targets[0] = -targets[0]  # so that both sides differ in number
    body = {"model": MODEL, "data": {"inputs": inputs.tolist(), "targets": targets.tolist()}}
    root = svg(post, "networks/decision-boundary", **body)
    gradients = json_of(post("networks/backward", **body, loss="max_margin"))
    assert f"Decision boundary, accuracy {100 * gradients['accuracy']:.4g} % of 60 points" in texts(root)
    for side in (-1.0, 1.0):
        places = markers(root, int(np.sum(targets == side)))
        for k in range(2):
            assert_on_a_scale(places[:, k], inputs[targets == side][:, k])


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        pytest.param({"inputs": [[0, 0], [1, 1]], "targets": [0.5, 2]}, "data", id="regression"),
        pytest.param({"inputs": [[0, 0], [1, 1]]}, "data", id="no targets"),
        pytest.param({"inputs": [[0, 0], [1, 1]], "targets": [0, 1]}, "target 1", id="0 and 1"),
        pytest.param(None, "score 0", id="no data"),
    ],
)
def test_boundary_of_other_data(post: Post, data: Any, shown: str) -> None:
    assert shown in texts(svg(post, "networks/decision-boundary", model=MODEL, data=data))


def test_fit_shows_data_residuals_and_parameters(post: Post) -> None:
    root = svg(post, "fit", **MISRA)
    shown = texts(root)
    assert "b1 = 238.94 ± 2.7, b2 = 0.00055016 ± 7.3e−06" in shown  # NIST: 238.94212918, 5.5015643181e-04
    assert "Fit of y: R² = 0.999981, residual standard deviation 0.1019" in shown
    assert {"95 % confidence band", "95 % prediction band", "data (14 rows)"} <= set(shown)
    residuals = np.array(json_of(post("fit", **MISRA))["residuals"])
    groups = [[u for u in g if u.tag.endswith("}use")] for g in root.iter()]
    places = [np.array([float(u.get("y", "nan")) for u in g]) for g in groups if len(g) == 14]
    assert_on_a_scale(places[0], np.array(MISRA["data"]["y"]))
    assert_on_a_scale(places[1], residuals)


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        pytest.param(
            {"expression": "a*x + b*z", "data": {"x": [1, 2, 3, 4], "z": [2, 1, 4, 3], "y": [5, 4.1, 11, 10]}},
            "observed = fitted",
            id="two columns",
        ),
        pytest.param({"expression": "a + b - b", "data": {"y": [5, 4, 3]}}, "row", id="no column"),
        pytest.param({"expression": "a/x + b", "data": {"x": [-1, 1, 2, 3], "y": [-2, 2, 1, 0.7]}}, "curve", id="a pole"),
        pytest.param(
            {"expression": "a*x + b", "data": {"x": [1, 1, 1], "y": [2, 3, 2]}, "sigma": [1, 2, 1]}, "curve", id="one x"
        ),
    ],
)
def test_other_fits(post: Post, fields: dict[str, Any], shown: str) -> None:
    assert shown in texts(svg(post, "fit", **fields, target="y", parameters={"a": 1, "b": 0}))


@pytest.mark.parametrize("name", [HOSTILE[0], HOSTILE[3]])
def test_names_of_users_are_escaped(post: Post, name: str) -> None:
    expression = graph(leaf("b"), leaf("x"), {**node("y", "mul", "b", "x"), "label": name})
    svg(post, "graph", expression=expression, inputs={"b": 2, "x": 3})
    columns = {name: [1, 2, 3], "x": [1, 2, 3]}
    svg(post, "fit", expression=expression, data=columns, target=name, parameters={"b": 1})


def test_graph_as_svg_has_an_element_for_each_row(post: Post) -> None:
    request = {"expression": "y = a*b + relu(a - 2); y**2", "inputs": {"a": 3, "b": -1}}
    found = json_of(post("graph", **request))
    ids = {element.get("id"): element for element in svg(post, "graph", **request).iter()}
    for k, row in enumerate(found["nodes"]):
        assert ids[f"node-{k}"].get("data-id") == row["id"]
    for k, edge in enumerate(found["edges"]):
        assert (ids[f"edge-{k}"].get("data-from"), ids[f"edge-{k}"].get("data-to")) == (edge["from"], edge["to"])
    assert picture(post, "graph", "image/svg+xml", **request) == picture(post, "graph", "image/svg+xml", **request)


def test_graph_as_svg_without_gradients(post: Post) -> None:
    shown = " ".join(texts(svg(post, "graph", expression="y = x*x", inputs={"x": 3}, gradients=False)))
    assert "data 9" in shown and "grad" not in shown
    assert "grad 6" in " ".join(texts(svg(post, "graph", expression="y = x*x", inputs={"x": 3})))


def test_graph_for_a_picture_may_have_500_nodes(post: Post) -> None:
    """A number among the arguments is a node of its own."""
    refused = problem(
        post(
            "graph",
            expression="+".join(["x"] * 253) + "+" + "+".join(["1"] * 124),
            inputs={"x": 1},
            headers={"Accept": "image/svg+xml"},
        ),
        "too-large",
        422,
    )
    assert "AUTODIFF_MAX_DRAWN_NODES" in refused["detail"] and "500" in refused["detail"]


def test_errors_are_those_of_the_endpoint(post: Post) -> None:
    accept = {"Accept": "image/svg+xml"}
    problem(post("graph", expression="log(x)", inputs={"x": -1}, headers=accept), "non-finite", 422)
    problem(post("fit", **{**MISRA, "target": "z"}, headers=accept), "unknown-node", 422)
    problem(post("networks/history", history=[], headers=accept), "shape-mismatch", 422)
    problem(post("networks/history", history=[{"step": 0, "loss": 1e200}], headers=accept), "invalid-request", 422)
    model = {"layers": [{"weights": [[1]], "biases": [0]}]}
    problem(post("networks/decision-boundary", model=model, headers=accept), "shape-mismatch", 422)
    endless = {"model": {"inputs": 2, "layers": [1]}, "padding": 1e308}
    problem(post("networks/decision-boundary", **endless, headers=accept), "invalid-request", 422, "/padding")


MANY = 5_001
LARGE: dict[str, tuple[dict[str, Any], str]] = {
    "networks/history": ({"history": [{"step": k, "loss": 1} for k in range(MANY)]}, "/history"),
    "networks/decision-boundary": (
        {"model": {"layers": [{"weights": [[1, 1]], "biases": [0]}]}, "data": {"inputs": [[k, 1] for k in range(MANY)]}},
        "/data",
    ),
    "fit": (
        {"expression": "a*x", "parameters": {"a": 1}, "data": {"x": [1] * MANY}, "target": [1] * MANY},
        "/data",
    ),
}
"""Requests with more points than a picture shows, and where they have them."""


@pytest.mark.parametrize("path", LARGE)
def test_picture_of_too_many_points_is_refused(post: Post, path: str) -> None:
    body, pointer = LARGE[path]
    refused = problem(post(path, **body, headers={"Accept": "image/svg+xml"}), "too-large", 422, pointer)
    assert "AUTODIFF_MAX_DRAWN_POINTS" in refused["detail"]


def test_document_describes_the_pictures(document: dict[str, Any]) -> None:
    for path in REQUESTS:
        content = document["paths"][f"/v1/{path}"]["post"]["responses"]["200"]["content"]
        assert content["image/png"]["schema"]["format"] == "binary"
        assert content["image/svg+xml"]["example"].startswith("<svg")
    assert "image/svg+xml" in document["paths"]["/v1/graph"]["post"]["responses"]["200"]["content"]
