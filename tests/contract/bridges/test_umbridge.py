"""UM-Bridge: the numbers are those of `/v1` to the last bit, a config chooses the function, and errors say what is wrong."""

import gzip
import json
import math
from typing import Any

import httpx
import pytest

from tests.contract.bridges.umbridge_calls import NETWORK, OPERATIONS, ROSENBROCK, error, output, post, request
from tests.contract.wire import graph, json_of, leaf, node
from tests.rows import for_each

POINT = [-1.2, 1.0]
VEC = [0.3, -1.7]
EXPRESSIONS = {
    "Rosenbrock's function": ROSENBROCK,
    "assignments": "h = tanh(0.7*x + y); (h - y)**2/(1 + x**2)",
    "graph": {
        "nodes": [
            {"id": "x", "op": "value"},
            {"id": "y", "op": "value"},
            {"id": "p", "op": "mul", "args": ["x", "y"]},
            {"id": "f", "op": "sin", "args": ["p"]},
        ],
        "output": "f",
    },
    "MathJSON": ["Divide", ["Exp", "x"], ["Add", ["Square", "y"], 1]],
}

every_expression = pytest.mark.parametrize("expression", EXPRESSIONS.values(), ids=EXPRESSIONS)


def v1(client: httpx.Client, operation: str, **body: Any) -> Any:
    """The answer of an endpoint of /v1."""
    return json_of(client.post(f"/v1/{operation}", json=body))


def at_point(expression: Any) -> dict[str, Any]:
    return {"expression": expression, "inputs": {"x": POINT[0], "y": POINT[1]}}


def asked(operation: str, expression: Any, **fields: Any) -> dict[str, Any]:
    return request(operation, input=[POINT], config={"expression": expression}, **fields)


@every_expression
def test_value_is_that_of_forward(client: httpx.Client, expression: Any) -> None:
    expected = v1(client, "forward", **at_point(expression))["value"]
    assert output(client, "Evaluate", asked("Evaluate", expression)) == [[expected]]


@every_expression
@pytest.mark.parametrize("sens", [1.0, -0.37, 0.0])
def test_gradient_is_that_of_backward(client: httpx.Client, expression: Any, sens: float) -> None:
    expected = v1(client, "backward", **at_point(expression), wrt=["x", "y"], cotangent=sens)["gradients"]
    assert output(client, "Gradient", asked("Gradient", expression, sens=[sens])) == [expected["x"], expected["y"]]


@every_expression
def test_product_with_the_jacobian_is_the_tangent_of_jvp(client: httpx.Client, expression: Any) -> None:
    expected = v1(client, "jvp", **at_point(expression), tangents={"x": VEC[0], "y": VEC[1]})["tangent"]
    assert output(client, "ApplyJacobian", asked("ApplyJacobian", expression, vec=VEC)) == [expected]


@every_expression
@pytest.mark.parametrize("sens", [1.0, -0.37])
def test_product_with_the_hessian_is_that_of_hvp(client: httpx.Client, expression: Any, sens: float) -> None:
    expected = v1(client, "hvp", **at_point(expression), tangents={"x": VEC[0], "y": VEC[1]})["hvp"]
    found = output(client, "ApplyHessian", asked("ApplyHessian", expression, sens=[sens], vec=VEC))
    assert found == [sens * expected["x"], sens * expected["y"]]


# --- networks


ROW = [0.4, -1.3]


@pytest.fixture
def as_graph(client: httpx.Client) -> dict[str, Any]:
    """The network as the expression that the service writes for it."""
    graph: dict[str, Any] = v1(client, "networks/graph", model=NETWORK, inputs=ROW)["graph"]
    return graph


def of_network(operation: str, **fields: Any) -> dict[str, Any]:
    return request(operation, "network", input=[ROW], config={"model": NETWORK}, **fields)


def one_output(graph: dict[str, Any], k: int) -> dict[str, Any]:
    return {"nodes": graph["nodes"], "output": graph["outputs"][k]}


def test_outputs_of_a_network_are_those_of_predict(client: httpx.Client) -> None:
    expected = v1(client, "networks/predict", model=NETWORK, inputs=[ROW])["outputs"]
    assert output(client, "Evaluate", of_network("Evaluate")) == expected


def test_values_need_no_derivatives(client: httpx.Client) -> None:
    config = {"expression": {"nodes": [leaf("x"), node("r", "sqrt", "x"), node("s", "add", "x", 1)], "outputs": ["r", "s"]}}
    assert output(client, "Evaluate", request("Evaluate", input=[[0.0]], config=config)) == [[0.0, 1.0]]


def test_derivatives_are_taken_by_inputs_alone(client: httpx.Client) -> None:
    """Those by a number within a graph may be infinite, and nobody asked for them."""
    nodes = [leaf("x"), leaf("c", 0.0), node("r", "sqrt", "c"), node("s", "square", "x"), node("y", "add", "s", "r")]
    fields: dict[str, Any] = {"inputs": 1, "input": [[2.0]], "sens": [3.0], "config": {"expression": graph(*nodes)}}
    assert output(client, "Gradient", request("Gradient", **fields)) == [12.0]
    assert output(client, "ApplyHessian", request("ApplyHessian", vec=[0.5], **fields)) == [3.0]


@pytest.mark.parametrize("k", [0, 1])
def test_gradient_of_a_network_is_that_of_its_graph(client: httpx.Client, as_graph: dict[str, Any], k: int) -> None:
    sens = [0.0, 0.0]
    sens[k] = -0.6
    wrt = ["inputs.0", "inputs.1"]
    expected = v1(client, "backward", expression=one_output(as_graph, k), wrt=wrt, cotangent=-0.6)["gradients"]
    assert output(client, "Gradient", of_network("Gradient", sens=sens)) == [expected[name] for name in wrt]


def test_gradient_of_a_network_is_the_sum_over_its_outputs(client: httpx.Client, as_graph: dict[str, Any]) -> None:
    sens, wrt = [0.25, -3.0], ["inputs.0", "inputs.1"]
    rows = [v1(client, "backward", expression=one_output(as_graph, k), wrt=wrt, cotangent=sens[k])["gradients"] for k in (0, 1)]
    expected = [math.fsum(row[name] for row in rows) for name in wrt]
    assert output(client, "Gradient", of_network("Gradient", sens=sens)) == expected


def test_tangents_of_a_network_are_those_of_its_graph(client: httpx.Client, as_graph: dict[str, Any]) -> None:
    tangents = {"inputs.0": VEC[0], "inputs.1": VEC[1]}
    expected = [v1(client, "jvp", expression=one_output(as_graph, k), tangents=tangents)["tangent"] for k in (0, 1)]
    assert output(client, "ApplyJacobian", of_network("ApplyJacobian", vec=VEC)) == expected


def test_product_with_the_hessian_of_a_network_is_that_of_its_graph(client: httpx.Client, as_graph: dict[str, Any]) -> None:
    tangents, wrt = {"inputs.0": VEC[0], "inputs.1": VEC[1]}, ["inputs.0", "inputs.1"]
    rows = [v1(client, "hvp", expression=one_output(as_graph, k), tangents=tangents, wrt=wrt)["hvp"] for k in (0, 1)]
    sens = [0.25, -3.0]
    expected = [math.fsum(s * row[name] for s, row in zip(sens, rows, strict=True)) for name in wrt]
    assert output(client, "ApplyHessian", of_network("ApplyHessian", sens=sens, vec=VEC)) == expected


def test_network_without_a_config_is_a_small_one(client: httpx.Client) -> None:
    """relu(0.1 x - 0.2 y) and relu(0.3 x + 0.4 y), of which the score is 0.5 and -0.6 times."""
    assert json_of(post(client, "InputSizes", {"name": "network"})) == {"inputSizes": [2]}
    assert json_of(post(client, "OutputSizes", {"name": "network"})) == {"outputSizes": [1]}
    for (x, y), score in (((3.0, 1.0), 0.5 * 0.1 - 0.6 * 1.3), ((1.0, 1.0), -0.6 * 0.7), ((4.0, -2.0), 0.5 * 0.8 - 0.6 * 0.4)):
        assert output(client, "Evaluate", request("Evaluate", "network", input=[[x, y]])) == [[pytest.approx(score)]]


def test_network_may_be_a_spec(client: httpx.Client) -> None:
    spec = {"inputs": 3, "layers": [4, 2], "seed": 7}
    model = v1(client, "networks", **spec)["model"]
    bodies = [request("Evaluate", "network", input=[[0.1, 0.2, 0.3]], config={"model": m}) for m in (spec, model)]
    assert output(client, "Evaluate", bodies[0]) == output(client, "Evaluate", bodies[1])


# --- the config


POLAR = {"expression": "r = hypot(x, y); phi = atan2(y, x)", "outputs": ["r", "phi"], "inputs": ["y", "x"]}


def test_config_names_inputs_and_outputs_in_their_order(client: httpx.Client) -> None:
    body = {"name": "expression", "config": POLAR}
    assert json_of(post(client, "InputSizes", body)) == {"inputSizes": [2]}
    assert json_of(post(client, "OutputSizes", body)) == {"outputSizes": [2]}
    found = output(client, "Evaluate", request("Evaluate", input=[[4.0, 3.0]], config=POLAR))
    assert found == [[5.0, pytest.approx(math.atan2(4.0, 3.0), rel=1e-15)]]


def test_jacobian_of_several_outputs(client: httpx.Client) -> None:
    """Polar coordinates at (3, 4): dr = (x, y)/r, dphi = (-y, x)/r**2."""
    body: dict[str, Any] = {"input": [[4.0, 3.0]], "config": POLAR}
    gradient = output(client, "Gradient", request("Gradient", sens=[2.0, 5.0], **body))
    assert gradient == pytest.approx([2 * 4 / 5 + 5 * 3 / 25, 2 * 3 / 5 - 5 * 4 / 25], rel=1e-15)
    product = output(client, "ApplyJacobian", request("ApplyJacobian", vec=[1.0, 2.0], **body))
    assert product == pytest.approx([4 / 5 + 2 * 3 / 5, 3 / 25 - 2 * 4 / 25], rel=1e-14)


def test_assigned_number_is_no_input_unless_it_is_named(client: httpx.Client) -> None:
    config = {"expression": "a = 3; a*x"}
    for more, expected in (({}, [1]), ({"inputs": ["a", "x"]}, [2])):
        body = {"name": "expression", "config": config | more}
        assert json_of(post(client, "InputSizes", body)) == {"inputSizes": expected}


@pytest.mark.parametrize("config", [{}, [], None], ids=str)
def test_empty_config_is_the_default(client: httpx.Client, config: Any) -> None:
    """R and MATLAB write an empty list."""
    assert output(client, "Evaluate", request("Evaluate", input=[[1.0, 1.0]], config=config)) == [[0.0]]
    body = request("Evaluate", input=[[1.0, 1.0]])
    del body["config"]
    assert output(client, "Evaluate", body) == [[0.0]]


def test_name_may_be_in_a_list(client: httpx.Client) -> None:
    """As R's client writes a string."""
    assert json_of(post(client, "InputSizes", {"name": ["expression"]})) == {"inputSizes": [2]}
    error(post(client, "InputSizes", {"name": ["nope"]}), "ModelNotFound")
    error(post(client, "InputSizes", {"name": ["expression", "network"]}))


@for_each(
    ("config", "words"),
    [
        ({"expression": "log(x"}, "line 1, column 6"),  # syntax
        ({"expression": "sofplus(x)"}, "Did you mean 'softplus'"),  # primitive
        ({"expression": "x", "inputs": ["z"]}, "no 'z'"),
        ({"expression": "x + y", "inputs": ["x"]}, "'y'"),  # unbound
        ({"expression": "x", "inputs": ["x", "x"]}, "twice"),  # input twice
        ({"expression": "x", "inputs": []}, "at least one"),  # no inputs
        ({"expression": "x", "outputs": ["f"]}, "no 'f'"),
        ({"expression": 3}, "/config/expression"),  # number
        ({"expresion": "x"}, "Did you mean 'expression'"),  # misspelt
        ({"model": NETWORK}, "no model"),  # network's
        ("x", "/config"),  # text
    ],
)
@for_each("operation", OPERATIONS)
def test_wrong_config_is_invalid(client: httpx.Client, operation: str, config: Any, words: str) -> None:
    inputs = len(config["inputs"]) if isinstance(config, dict) and config.get("inputs") else 1
    assert words in error(post(client, operation, request(operation, inputs=inputs, config=config)))


@for_each(
    "config",
    [
        {"expression": "x"},
        {"inputs": ["x"]},
        {"model": {"layers": []}},
        {"model": {"layers": [{"weights": [[1, 2]], "biases": [0, 0]}]}},
        {"model": {"layers": [{"weights": [[1, 2]], "biases": [0], "activation": "nope"}]}},
    ],
)
@for_each("operation", OPERATIONS)
def test_wrong_config_of_a_network_is_invalid(client: httpx.Client, operation: str, config: Any) -> None:
    error(post(client, operation, request(operation, "network", config=config)))


@pytest.mark.parametrize(
    ("operation", "expression"),
    [
        ("Evaluate", "log(x - 1)"),
        ("Gradient", "sqrt(x)"),
        ("ApplyJacobian", "sqrt(x)"),
        ("ApplyHessian", "x**1.5"),
    ],
)
def test_number_that_is_not_finite_is_an_error(client: httpx.Client, operation: str, expression: str) -> None:
    """There is no null in this protocol."""
    fields: dict[str, Any] = {"sens": [1.0], "vec": [1.0]}
    body = request(operation, inputs=1)
    body |= {name: fields[name] for name in fields if name in body} | {"config": {"expression": expression}}
    message = error(post(client, operation, body))
    assert "nonfinite" not in message and ("NaN" in message or "nfinity" in message)


@for_each("change", [-1, 1])
@for_each("name", ["expression", "network"])
@for_each(
    ("operation", "field"),
    [
        ("Evaluate", "input"),
        ("Gradient", "input"),
        ("Gradient", "sens"),
        ("ApplyJacobian", "vec"),
        ("ApplyHessian", "sens"),
        ("ApplyHessian", "vec"),
    ],
)
def test_vector_of_another_length_is_an_error(client: httpx.Client, operation: str, field: str, name: str, change: int) -> None:
    """As long as the inputs, or in `sens` the outputs; more numbers are not passed over."""
    config = POLAR if name == "expression" else {"model": NETWORK}
    body = request(operation, name, outputs=2, config=config) | {"input": [[3.0, 4.0]]}
    wrong = [1.0] * (2 + change)
    message = error(post(client, operation, body | {field: [wrong] if field == "input" else wrong}))
    assert message.startswith(f"{field} has {2 + change} numbers, and the model takes 2")


@pytest.mark.parametrize("sens", [[], [1.0, 1.0]], ids=["none", "two"])
@pytest.mark.parametrize("operation", ["Gradient", "ApplyHessian"])
def test_one_output_has_one_sensitivity(client: httpx.Client, operation: str, sens: list[float]) -> None:
    message = error(post(client, operation, request(operation, sens=sens)))
    assert f"sens has {len(sens)} numbers, and the model takes 1" in message


def test_product_that_overflows_is_an_error(client: httpx.Client) -> None:
    body = request("ApplyHessian", inputs=1, sens=[1e308], vec=[1e10], config={"expression": "1e5*x**2"})
    assert "1.8e308" in error(post(client, "ApplyHessian", body))


# --- transport


@pytest.mark.parametrize(
    "content_type", ["application/json", "text/plain", "application/x-www-form-urlencoded", "application/octet-stream"]
)
def test_content_type_makes_no_difference(client: httpx.Client, content_type: str) -> None:
    content = json.dumps(request("Evaluate", input=[[1.0, 1.0]])).encode()
    response = client.post("/umbridge/Evaluate", content=content, headers={"Content-Type": content_type})
    assert json_of(response) == {"output": [[0.0]]}


def test_body_may_be_compressed(client: httpx.Client) -> None:
    content = gzip.compress(json.dumps(request("Evaluate", input=[[1.0, 1.0]])).encode())
    response = client.post("/umbridge/Evaluate", content=content, headers={"Content-Encoding": "gzip"})
    assert json_of(response) == {"output": [[0.0]]}


def test_long_vector_is_read_to_the_last_bit(client: httpx.Client) -> None:
    count = 3000
    numbers = [math.sin(k) for k in range(count)]
    config = {"expression": "sum(" + ", ".join(f"x{k}**2" for k in range(count)) + ")"}
    body = request("Gradient", input=[numbers], sens=[1.0], config=config)
    assert output(client, "Gradient", body) == [2.0 * number for number in numbers]


@pytest.mark.parametrize(
    ("vectors", "place"),
    [
        pytest.param([[0.5] * 3000 + ["x"]], "/input/0/3000", id="string behind many numbers"),
        pytest.param([[0.5] * 3000, [0.5] * 3000], "/input", id="two long vectors"),
        pytest.param([0.5] * 3000, "/input", id="long list of numbers"),
        pytest.param([["x"]], "/input/0/0", id="string"),
    ],
)
def test_error_points_at_its_place(client: httpx.Client, vectors: Any, place: str) -> None:
    assert f"at {place}:" in error(post(client, "Evaluate", request("Evaluate", input=vectors)))


@pytest.mark.parametrize(
    ("config", "place"),
    [
        pytest.param({"expression": "x +"}, "/config/expression: line 1", id="syntax"),
        pytest.param({"expression": "x*y", "inputs": ["x", "x"]}, "/config/inputs/1: ", id="name twice"),
        pytest.param({"expression": "z = x*y; z + y", "inputs": ["y", "z"]}, "/config/inputs/1: ", id="operation"),
        pytest.param({"expression": "x*y", "outputs": ["x", "q"]}, "/config/outputs/1: ", id="unknown output"),
        pytest.param({"expression": "x*y", "outputs": []}, "/config/outputs: ", id="no output"),
    ],
)
def test_error_of_the_config_names_its_place(client: httpx.Client, config: dict[str, Any], place: str) -> None:
    response = client.post("/umbridge/InputSizes", json={"name": "expression", "config": config})
    assert error(response).startswith(f"at {place}")
