"""POST /v1/backward: the value of an expression and its gradients."""

import math
import random

import pytest

from tests.contract.conftest import Post
from tests.contract.expressions.cases import MICROGRAD, MICROGRAD_BY_A, MICROGRAD_BY_B, MICROGRAD_NODES, MICROGRAD_VALUE
from tests.contract.wire import graph, json_of, leaf, node


def test_micrograd_example_as_text(post: Post) -> None:
    found = json_of(post("backward", expression=MICROGRAD, inputs={"a": -4, "b": 2}))
    assert found["output"] == "g"
    assert found["value"] == pytest.approx(MICROGRAD_VALUE, rel=1e-13)
    assert found["gradients"]["a"] == pytest.approx(MICROGRAD_BY_A, rel=1e-13)
    assert found["gradients"]["b"] == pytest.approx(MICROGRAD_BY_B, rel=1e-13)
    assert set(found["gradients"]) == {"a", "b", "c", "d", "c1", "c2", "d1", "d2", "e", "f", "g"}


@pytest.mark.parametrize("seed", range(5), ids=lambda seed: f"seed-{seed}")
def test_micrograd_example_as_a_graph_in_any_node_order(post: Post, seed: int) -> None:
    """The order of the nodes makes no difference, to the last bit."""
    nodes = list(MICROGRAD_NODES)
    ordered = json_of(post("backward", expression={"nodes": nodes, "output": "g"}))
    random.Random(seed).shuffle(nodes)
    shuffled = json_of(post("backward", expression={"nodes": nodes, "output": "g"}))
    assert shuffled == ordered
    assert shuffled["value"] == pytest.approx(MICROGRAD_VALUE, rel=1e-13)
    assert shuffled["gradients"]["a"] == pytest.approx(MICROGRAD_BY_A, rel=1e-13)
    assert shuffled["gradients"]["b"] == pytest.approx(MICROGRAD_BY_B, rel=1e-13)
    assert set(shuffled["gradients"]) == {row["id"] for row in MICROGRAD_NODES}


def test_default_wrt_of_a_graph_is_every_node(post: Post) -> None:
    expression = graph(leaf("x", 3.0), node("y", "mul", "x", "x"), node("z", "mul", "y", 2), leaf("alone", 1), output="z")
    assert json_of(post("backward", expression=expression)) == {
        "output": "z",
        "value": 18.0,
        "gradients": {"x": 12.0, "y": 2.0, "z": 1.0, "alone": 0.0},
    }


def test_default_wrt_of_a_text_is_its_inputs_and_assigned_names(post: Post) -> None:
    found = json_of(post("backward", expression="h = w*x + b; k = 2*h; h**2", inputs={"w": 2, "x": 3, "b": 1}))
    assert found["value"] == 49.0
    assert found["gradients"] == {"w": 42.0, "x": 28.0, "b": 14.0, "h": 14.0, "k": 0.0}


def test_wrt_may_name_an_intermediate_node(post: Post) -> None:
    gradients = json_of(post("backward", expression="h = x*x; h**3", inputs={"x": 2}, wrt=["h"]))["gradients"]
    assert gradients == {"h": 48.0}


def test_gradient_is_zero_for_nodes_the_output_does_not_depend_on(post: Post) -> None:
    expression = graph(leaf("x", 2), leaf("u", 5), node("v", "exp", "u"), node("y", "neg", "x"))
    assert json_of(post("backward", expression=expression, wrt=["u", "v"]))["gradients"] == {"u": 0.0, "v": 0.0}


def test_gradients_of_several_uses_add_up(post: Post) -> None:
    assert json_of(post("backward", expression=graph(leaf("x", 3), node("y", "add", "x", "x"))))["gradients"]["x"] == 2.0


def test_backward_with_values(post: Post) -> None:
    found = json_of(post("backward", expression="y = x*x", inputs={"x": 3}, values=True))
    assert found == {"output": "y", "value": 9.0, "gradients": {"x": 6.0, "y": 1.0}, "values": {"x": 3.0, "y": 9.0}}


def test_cotangent_scales_every_gradient(post: Post) -> None:
    plain = json_of(post("backward", expression="y = x**3", inputs={"x": 2}))
    scaled = json_of(post("backward", expression="y = x**3", inputs={"x": 2}, cotangent=-0.5))
    assert scaled["value"] == plain["value"] == 8.0
    assert scaled["gradients"] == {"x": -6.0, "y": -0.5}
    assert json_of(post("backward", expression="y = x**3", inputs={"x": 2}, cotangent=1)) == plain


def test_cotangent_per_point(post: Post) -> None:
    found = json_of(post("backward", expression="x**2", inputs={"x": [1, 2, 3]}, cotangent=[1, 10, 0]))
    assert found["gradients"] == {"x": [2.0, 40.0, 0.0]}


def test_numbers_among_the_arguments_are_constants(post: Post) -> None:
    """This holds if both arguments are numbers, and if the exponent is."""
    expression = graph(leaf("x", 3), node("y", "mul", 2, 2.5), node("z", "add", "x", "y"), node("w", "pow", "z", 2))
    found = json_of(post("backward", expression=expression))
    assert found["value"] == 64.0 and found["gradients"] == {"x": 16.0, "y": 16.0, "z": 16.0, "w": 1.0}
    assert json_of(post("forward", expression=graph(node("x", "sum", 1, 2, 3))))["value"] == 6.0


def test_pow_with_a_node_as_exponent(post: Post) -> None:
    found = json_of(post("backward", expression="x**y", inputs={"x": 2, "y": 3}))
    assert found["gradients"] == pytest.approx({"x": 12.0, "y": 8 * math.log(2)}, rel=1e-15)


def test_labels_do_not_change_the_result(post: Post) -> None:
    plain = graph(leaf("x", 3), node("y", "exp", "x"))
    labelled = graph({**leaf("x", 3), "label": "y"}, node("y", "exp", "x", label="\n\x00 any text"))
    assert json_of(post("backward", expression=plain)) == json_of(post("backward", expression=labelled))
