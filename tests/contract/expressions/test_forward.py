"""POST /v1/forward: the value of an expression."""

import math

import pytest

from tests.contract.conftest import Post
from tests.contract.wire import graph, json_of, leaf, node
from tests.rows import for_each


def test_response_is_output_and_value(post: Post) -> None:
    assert json_of(post("forward", expression="x**2", inputs={"x": 3})) == {"output": "output", "value": 9.0}


def test_values_lists_every_node_of_a_graph(post: Post) -> None:
    expression = graph(leaf("x", 3.0), node("y", "pow", "x", 2), node("z", "neg", "y"), leaf("alone", 7.5), output="z")
    found = json_of(post("forward", expression=expression, values=True))
    assert found == {"output": "z", "value": -9.0, "values": {"x": 3.0, "y": 9.0, "z": -9.0, "alone": 7.5}}


def test_values_of_a_text_are_keyed_by_its_names(post: Post) -> None:
    values = json_of(post("forward", expression="h = w*x; h + 1", inputs={"w": 2, "x": 3}, values=True))["values"]
    assert {"w": 2.0, "x": 3.0, "h": 6.0, "output": 7.0}.items() <= values.items()


def test_an_assigned_name_shadows_a_constant(post: Post) -> None:
    assert json_of(post("forward", expression="e = 2*x; e + pi", inputs={"x": 1}))["value"] == 2.0 + math.pi


def test_inputs_override_data(post: Post) -> None:
    expression = graph(leaf("x", 3), leaf("y"), node("z", "mul", "x", "y"))
    assert json_of(post("forward", expression=expression, inputs={"y": 2}))["value"] == 6.0
    assert json_of(post("forward", expression=expression, inputs={"y": 2, "x": 5}))["value"] == 10.0


@for_each(
    ("text", "value"),
    [
        ("tanh(1000)", 1.0),
        ("sigmoid(-1000)", 0.0),
        ("softplus(1000)", 1000.0),
        ("softplus(-1000)", 0.0),
        ("logsumexp(1000, 1000)", 1000.0 + math.log(2)),
        ("log1p(1e-300)", 1e-300),
        ("expm1(1e-300)", 1e-300),
        ("hypot(3e200, 4e200)", 5e200),
        ("erfc(27)", 5.237048923789256e-319),
    ],
)
def test_values_at_extreme_arguments(post: Post, text: str, value: float) -> None:
    assert json_of(post("forward", expression=text))["value"] == pytest.approx(value, rel=1e-14)
