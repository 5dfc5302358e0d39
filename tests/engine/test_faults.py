"""The first node at fault for a NaN or an infinity is found, and no innocent one is blamed."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.engine.errors import NonFinite
from app.engine.faults import Fault, Quantity, explain, number_text
from app.engine.graph import Graph, Node
from app.engine.text import parse
from app.engine.transforms import backward, evaluate, hessian, hvp, jvp
from tests.engine.conftest import graphs
from tests.rows import for_each

NAN, INF = math.nan, math.inf


def found(graph: Graph, inputs: Mapping[str, Any], quantity: Quantity, node: str, seeds: Mapping[str, Any]) -> Any:
    """The number that was requested, from the transform that computes it."""
    if quantity is Quantity.VALUE:
        return evaluate(graph, inputs, everything=True)[node]
    if quantity is Quantity.TANGENT:
        return jvp(graph, inputs, seeds).tangent
    if quantity is Quantity.GRADIENT:
        return backward(graph, inputs, [node], cotangent=seeds.get(graph.output, 1.0)).gradients[node]
    return hvp(graph, inputs, seeds, [node]).hvp[node]


def blamed(error: NonFinite) -> str:
    """The node at fault, as a message describes it: `log(-4.0)`."""
    return error.detail.split("pass, node ")[1].split(" gives the first")[0].split(" has the first")[0]


def explained(
    text: str | Graph,
    inputs: Mapping[str, Any],
    quantity: Quantity,
    node: str = "output",
    seeds: Mapping[str, Any] | None = None,
) -> NonFinite:
    """The explanation of a number that is computed, and is not finite."""
    graph = parse(text) if isinstance(text, str) else text
    number = found(graph, inputs, quantity, node, seeds or {})
    assert isinstance(number, float) and not math.isfinite(number)
    error = explain(graph, inputs, Fault(quantity, node, number), seeds=seeds)
    assert isinstance(error, NonFinite)
    assert f" is {number_text(number)}: " in error.detail
    return error


# --- values


@for_each(
    ("text", "inputs", "guilty"),
    [
        ("y = log(x); y + 1", {"x": -4.0}, "'y' = log(-4.0)"),
        ("y = log(x); z = y*2; sqrt(z)*z + 3", {"x": 0.0}, "'y' = log(0.0)"),
        ("1/x", {"x": 0.0}, "'output' = divide(1.0, 0.0)"),
        ("exp(x)", {"x": 1000.0}, "'output' = exp(1000.0)"),
        ("a = exp(x); b = exp(y); a - b", {"x": 1000.0, "y": 2000.0}, "'a' = exp(1000.0)"),
        ("a = exp(x); b = exp(y); a - b", {"x": 1.0, "y": 2000.0}, "'b' = exp(2000.0)"),
        ("x*y*z", {"x": 1e200, "y": 1e200, "z": 2.0}, "'%1' = mul(1e+200, 1e+200)"),
        ("asin(x)", {"x": 2.0}, "'output' = asin(2.0)"),
        ("digamma(x)", {"x": -2.0}, "'output' = digamma(-2.0)"),
        ("x**y", {"x": -2.0, "y": 0.5}, "'output' = pow(-2.0, 0.5)"),
        ("where(x < 0, log(x), 0)", {"x": -4.0}, "'%2' = log(-4.0)"),
        ("a = log(x); b = exp(x); where(x < 0, b, a)/0", {"x": -4.0}, "'output' = divide(0.01831563888873418, 0.0)"),
        ("a = log(x); b = (a < 1); b/0", {"x": -4.0}, "'output' = divide(0.0, 0.0)"),
        ("a = log(x); b = sqrt(x); where(x < 0, 1, a) + b", {"x": -4.0}, "'b' = sqrt(-4.0)"),
        ("a = log(x); a**0 + 1/x - 1/0", {"x": -1.0}, "'%4' = divide(1.0, 0.0)"),
    ],
)
def test_fault_of_a_value(text: str, inputs: dict[str, float], guilty: str) -> None:
    """The first node whose value is not finite; a branch that was not taken is not blamed."""
    error = explained(text, inputs, Quantity.VALUE)
    assert blamed(error) == guilty
    assert error.detail.startswith("the value of 'output' is ")
    assert "in the forward pass" in error.detail
    assert error.place[0] == "nodes" and guilty.startswith(f"'{parse(text).nodes[int(error.place[1])].id}' = ")


@pytest.mark.parametrize(
    ("text", "inputs", "guilty"),
    [
        ("max(log(x), 1)", {"x": -1.0}, "'%1' = log(-1.0)"),
        ("min(1, log(x), 2)", {"x": -1.0}, "'%1' = log(-1.0)"),
        ("log(x)*0", {"x": -1.0}, "'%1' = log(-1.0)"),
        ("0*exp(x)", {"x": 1000.0}, "'%1' = exp(1000.0)"),
        ("y = sqrt(x); prod(2, y, z)", {"x": -1.0, "z": 0.0}, "'y' = sqrt(-1.0)"),
        ("y = exp(x); sign(y - y)", {"x": 1000.0}, "'y' = exp(1000.0)"),
        ("where(log(x), 1/y, 2)", {"x": -1.0, "y": 0.0}, "'%2' = divide(1.0, 0.0)"),  # rather than the condition
    ],
)
def test_a_value_whose_fault_comes_through_a_slope_of_zero(text: str, inputs: dict[str, float], guilty: str) -> None:
    """A NaN passes through max, and through a product with 0, although the partial there is 0."""
    assert blamed(explained(text, inputs, Quantity.VALUE)) == guilty


def test_a_value_of_a_node_on_the_way() -> None:
    error = explained("y = log(x); z = y + 1; where(x > 0, z, x)", {"x": -4.0}, Quantity.VALUE, "z")
    assert error.detail.startswith("the value of 'z' is NaN: in the forward pass, node 'y' = log(-4.0) gives the first number")


@pytest.mark.parametrize(
    ("text", "inputs", "guilty"),
    [
        ("s = sum(x, 1, log(y), 3, 4, 5, 6, 7); 2*s", {"x": 1.0, "y": -1.0}, "'%1' = log(-1.0)"),
        ("s = prod(x, y, z); 2*s", {"x": 1e200, "y": 1e200, "z": 2.0}, "'s' = prod(1e+200, 1e+200, 2.0)"),
        ("s = mean(x, y, z); 2*s", {"x": 1e308, "y": 1e308, "z": 2.0}, "'s' = mean(1e+308, 1e+308, 2.0)"),
        ("s = sum(x, x, x, x, x, x, x, x); 2*s", {"x": 1e308}, "'s' = sum(" + "1e+308, " * 6 + "...)"),
        ("s = sum(x, x, x, x, x, x); 2*s", {"x": 1e308}, "'s' = sum(" + ", ".join(["1e+308"] * 6) + ")"),
        ("s = logsumexp(x, y/0, x); 2*s", {"x": 1.0, "y": 2.0}, "'%1' = divide(2.0, 0.0)"),
        ("a = sum(x, x); s = mean(a, 1, 2); s", {"x": 1e308}, "'a' = sum(1e+308, 1e+308)"),
    ],
)
def test_fault_within_an_operation_on_many_arguments(text: str, inputs: dict[str, float], guilty: str) -> None:
    """A fault within the chain that a node is laid out as is the node's; at most six arguments are shown."""
    assert blamed(explained(text, inputs, Quantity.VALUE)) == guilty


def test_the_place_is_the_node_at_fault() -> None:
    nodes = (Node("f", "sum", ("y", 1, 2)), Node("x", "value", data=-1.0), Node("y", "log", ("x",), label="why"))
    error = explained(Graph(nodes, ("f",)), {}, Quantity.VALUE, "f")
    assert error.place == ("nodes", 2)
    assert blamed(error) == "'y' = log(-1.0)"


def test_long_ids_are_cut() -> None:
    name = "n" * 128
    error = explained(Graph((Node("x", "value", data=-1.0), Node(name, "log", ("x",))), (name,)), {}, Quantity.VALUE, name)
    assert len(error.detail) < 400


# --- tangents


@pytest.mark.parametrize(
    ("text", "inputs", "seeds", "guilty"),
    [
        ("y = sqrt(x); y*3", {"x": 0.0}, {"x": 1.0}, "'y' = sqrt(0.0)"),
        ("y = sqrt(x); z = y + x; z*z + z", {"x": 0.0}, {"x": 1.0}, "'y' = sqrt(0.0)"),
        ("y = sqrt(x) + sqrt(z); y", {"x": 0.0, "z": 0.0}, {"z": 1.0}, "'%2' = sqrt(0.0)"),
        ("x*1e300", {"x": 1.0}, {"x": 1e300}, "'output' = mul(1.0, 1e+300)"),
        ("y = x**0.5; where(x > 0, 1/x, y)", {"x": 0.0}, {"x": 1.0}, "'y' = pow(0.0, 0.5)"),
        ("y = x**n; y", {"x": -2.0, "n": 2.0}, {"n": 1.0}, "'y' = pow(-2.0, 2.0)"),
    ],
)
def test_fault_of_a_tangent(text: str, inputs: dict[str, float], seeds: dict[str, float], guilty: str) -> None:
    error = explained(text, inputs, Quantity.TANGENT, seeds=seeds)
    assert blamed(error) == guilty
    assert error.detail.startswith("the tangent of 'output' is ") and "in the forward pass" in error.detail


# --- gradients


@for_each(
    ("text", "inputs", "by", "guilty"),
    [
        ("y = sqrt(x); y*3", {"x": 0.0}, "x", "'y' = sqrt(0.0)"),
        ("y = sqrt(x); z = y*3; z + x", {"x": 0.0}, "x", "'y' = sqrt(0.0)"),
        ("a = x + x; b = sqrt(a); b + 1", {"x": 0.0}, "x", "'b' = sqrt(0.0)"),
        ("y = x*1e200; z = y*1e200; z", {"x": 0.0}, "x", "'y' = mul(0.0, 1e+200)"),
        ("y = x**n; y + 1", {"x": -2.0, "n": 3.0}, "n", "'y' = pow(-2.0, 3.0)"),
        ("a = sqrt(x); b = sqrt(y); a + b", {"x": 0.0, "y": 1.0}, "x", "'a' = sqrt(0.0)"),
        ("a = sqrt(x); b = sqrt(y); a*b + b", {"x": 4.0, "y": 0.0}, "y", "'b' = sqrt(0.0)"),
        ("y = asin(x); where(x > 0, y, sqrt(x - 1))", {"x": 1.0}, "x", "'y' = asin(1.0)"),
        ("mean(x, sqrt(x), 2)", {"x": 0.0}, "x", "'%1' = sqrt(0.0)"),
        ("hypot(sqrt(x), 1)*sqrt(y)", {"x": 1.0, "y": 0.0}, "y", "'%3' = sqrt(0.0)"),
    ],
)
def test_fault_of_a_gradient(text: str, inputs: dict[str, float], by: str, guilty: str) -> None:
    """The node whose derivative first makes an infinity of finite numbers, from the output backwards."""
    error = explained(text, inputs, Quantity.GRADIENT, by)
    assert blamed(error) == guilty
    assert error.detail.startswith(f"the gradient of 'output' by '{by}' is ") and "in the backward pass" in error.detail


def test_fault_of_a_gradient_with_a_cotangent() -> None:
    """Which alone makes the product overflow: without it the gradient is finite."""
    error = explained("y = x*1e10; y + 1", {"x": 4.0}, Quantity.GRADIENT, "x", {"output": 1e300})
    assert blamed(error) == "'y' = mul(4.0, 10000000000.0)"


def test_fault_of_a_gradient_of_another_output() -> None:
    nodes = (Node("x", "value", data=0.0), Node("f", "exp", ("x",)), Node("g", "sqrt", ("x",)))
    error = explain(Graph(nodes, ("f", "g")), {}, Fault(Quantity.GRADIENT, "x", INF, output="g"))
    assert error.detail.startswith("the gradient of 'g' by 'x' is Infinity") and blamed(error) == "'g' = sqrt(0.0)"


# --- second derivatives


@pytest.mark.parametrize(
    ("text", "inputs", "seeds", "by", "guilty"),
    [
        ("y = x**1.5; y*3", {"x": 0.0}, {"x": 1.0}, "x", "'y' = pow(0.0, 1.5)"),
        ("y = hypot(x, z); y + 1", {"x": 0.0, "z": 0.0}, {"x": 1.0}, "x", "'y' = hypot(0.0, 0.0)"),
        ("y = x**n; y*y", {"x": -2.0, "n": 3.0}, {"x": 1.0}, "n", "'y' = pow(-2.0, 3.0)"),
        ("y = x**1.5; z = y + x*x; z + 2*x", {"x": 0.0}, {"x": 1.0}, "x", "'y' = pow(0.0, 1.5)"),
        ("y = x**1.5; where(x >= 0, y, sqrt(x - 1))", {"x": 0.0}, {"x": 1.0}, "x", "'y' = pow(0.0, 1.5)"),
        ("y = x**1.5; z = x**1.25; where(x >= 0, y, z)", {"x": 0.0}, {"x": 1.0}, "x", "'y' = pow(0.0, 1.5)"),
    ],
)
def test_fault_of_a_second_derivative(
    text: str, inputs: dict[str, float], seeds: dict[str, float], by: str, guilty: str
) -> None:
    error = explained(text, inputs, Quantity.SECOND, by, seeds)
    assert blamed(error) == guilty
    assert error.detail.startswith(f"the second derivative of 'output' by '{by}' is ")


@pytest.mark.parametrize(
    ("text", "inputs", "guilty"),
    [
        ("y = x**0.5; z = y + x; z*z", {"x": 0.0}, "'y' = pow(0.0, 0.5)"),
        ("y = sqrt(x); exp(y)*0 + y*y", {"x": 0.0}, "'y' = sqrt(0.0)"),
    ],
)
def test_a_second_derivative_at_fault_for_an_infinite_tangent(text: str, inputs: dict[str, float], guilty: str) -> None:
    """The product has nothing infinite about it; what comes into it is the square root's slope."""
    assert blamed(explained(text, inputs, Quantity.SECOND, "x", {"x": 1.0})) == guilty


# --- many points


def test_the_fault_is_found_at_the_given_point() -> None:
    graph = parse("y = log(x); z = sqrt(y + a); z*2")
    inputs: dict[str, Any] = {"x": [1.0, 2.0, -1.0, 0.1], "a": 0.0}
    error = explain(graph, inputs, Fault(Quantity.VALUE, "output", NAN, point=2))
    assert error.detail.startswith("the value of 'output' is NaN at point 2 (counted from 0): ")
    assert blamed(error) == "'y' = log(-1.0)"
    assert blamed(explain(graph, inputs, Fault(Quantity.VALUE, "output", NAN, point=3))) == "'z' = sqrt(-2.3025850929940455)"
    assert blamed(explain(graph, inputs, Fault(Quantity.GRADIENT, "x", INF, point=0))) == "'z' = sqrt(0.0)"


def test_seeds_that_are_lists_count_at_the_given_point() -> None:
    """Tangents and cotangents that are lists count with their entry at the point."""
    graph = parse("y = x*1e10; y + 1")
    for point, seed in enumerate([1.0, 1e300]):
        value = backward(graph, {"x": 1.0}, ["x"], cotangent=seed).gradients["x"]
        assert math.isinf(value) == (point == 1)
    error = explain(graph, {"x": 1.0}, Fault(Quantity.GRADIENT, "x", INF, point=1), seeds={"output": [1.0, 1e300]})
    assert blamed(error) == "'y' = mul(1.0, 10000000000.0)"
    error = explain(graph, {"x": [1.0, 2.0]}, Fault(Quantity.TANGENT, "output", INF, point=1), seeds={"x": [1.0, 1e300]})
    assert blamed(error) == "'y' = mul(2.0, 10000000000.0)"
    error = explain(graph, {"x": [1.0, 2.0]}, Fault(Quantity.TANGENT, "output", INF, point=0), seeds={"x": [1e300, 1.0]})
    assert blamed(error) == "'y' = mul(1.0, 10000000000.0)"


@pytest.mark.parametrize(
    ("text", "quantity", "node", "seeds"),
    [
        ("y = w*x; y + w", Quantity.GRADIENT, "w", {"output": 1e305}),
        ("y = w*x; y + w", Quantity.TANGENT, "output", {"w": 1e305}),
        ("y = w**2*x; y + w", Quantity.SECOND, "w", {"w": 1e305}),
    ],
)
def test_point_at_fault_for_a_sum_is_found_with_the_seeds(
    text: str, quantity: Quantity, node: str, seeds: dict[str, float]
) -> None:
    """Which alone make the number overflow at the point 1."""
    fault = Fault(quantity, node, INF)
    error = explain(parse(text), {"w": 1.0, "x": [1.0, 1e5]}, fault, seeds, reduce="sum")
    assert "is Infinity at point 1 (counted from 0): " in error.detail and error.place[0] == "nodes"


def test_number_at_the_point_is_named_and_not_the_sum() -> None:
    """The sum of -Infinity and NaN is NaN."""
    error = explain(parse("log(x)"), {"x": [1.0, 0.0, -1.0]}, Fault(Quantity.VALUE, "output", NAN), reduce="sum")
    assert error.detail.startswith("the value of 'output' is -Infinity at point 1 (counted from 0): ")


def test_point_at_fault_for_a_sum_of_another_output_is_found() -> None:
    nodes = (Node("x", "value"), Node("f", "exp", ("x",)), Node("g", "sqrt", ("x",)))
    fault = Fault(Quantity.GRADIENT, "x", INF, output="g")
    error = explain(Graph(nodes, ("f", "g")), {"x": [4.0, 0.0]}, fault, reduce="sum")
    assert "is Infinity at point 1 (counted from 0): " in error.detail and blamed(error) == "'g' = sqrt(0.0)"


# --- whatever the graph


def test_dead_code_needs_no_numbers() -> None:
    """The transforms do not need a number there, so neither does the explanation."""
    nodes = (Node("x", "value"), Node("unused", "value"), Node("dead", "exp", ("unused",)), Node("y", "log", ("x",)))
    error = explain(Graph(nodes, ("y",)), {"x": -1.0}, Fault(Quantity.VALUE, "y", NAN))
    assert blamed(error) == "'y' = log(-1.0)"


def test_fault_of_a_node_that_the_output_does_not_need() -> None:
    """All values can be requested, those of dead code included."""
    nodes = (Node("x", "value"), Node("fine", "neg", ("x",)), Node("dead", "log", ("x",)), Node("after", "neg", ("dead",)))
    error = explained(Graph((*nodes, Node("y", "exp", ("x",))), ("y",)), {"x": -1.0}, Quantity.VALUE, "after")
    assert blamed(error) == "'dead' = log(-1.0)" and error.place == ("nodes", 2)


@given(graphs(most=6), st.sampled_from(["log", "sqrt", "asin", "divide"]))
def test_a_planted_fault_is_found(graph: Graph, op: str) -> None:
    """Below any smooth graph lies one node that is NaN or infinite: it is blamed, for the value of whatever follows."""
    bad = {"log": (-1.0,), "sqrt": (-1.0,), "asin": (2.0,), "divide": (1.0, 0.0)}[op]
    leaf = next(node.id for node in graph.nodes if node.op == "value")
    nodes = tuple(Node(node.id, op, bad) if node.id == leaf else node for node in graph.nodes)
    broken = Graph(nodes, graph.outputs)
    values = evaluate(broken, everything=True)
    arguments = ", ".join(map(number_text, bad))
    for name, value in values.items():
        if not math.isfinite(value):
            error = explain(broken, {}, Fault(Quantity.VALUE, name, float(value)))
            assert blamed(error).endswith(f" = {op}({arguments})")
            assert error.place == ("nodes", broken.index[leaf])


@given(graphs(most=6))
def test_a_planted_slope_is_found(graph: Graph) -> None:
    """Below any smooth graph lies a square root at 0: where a gradient by its argument is infinite, the root is blamed."""
    leaf = next(node.id for node in graph.nodes if node.op == "value")
    nodes = tuple(Node(node.id, "sqrt", ("zero",)) if node.id == leaf else node for node in graph.nodes)
    broken = Graph((Node("zero", "value", data=0.0), *nodes), graph.outputs)
    gradient = backward(broken, wrt=["zero"]).gradients["zero"]
    if gradient != 0.0:
        assert not math.isfinite(gradient)  # NaN where what is above cancels: 0 times infinity
        assert blamed(explain(broken, {}, Fault(Quantity.GRADIENT, "zero", float(gradient)))).endswith(" = sqrt(0.0)")
    second = hessian(broken, wrt=["zero"]).hessian["zero"]["zero"]
    if gradient != 0.0 and not math.isfinite(second):
        error = explain(broken, {}, Fault(Quantity.SECOND, "zero", float(second)), seeds={"zero": 1.0})
        assert blamed(error).endswith(" = sqrt(0.0)")


@pytest.mark.parametrize(
    ("number", "text"),
    [(NAN, "NaN"), (INF, "Infinity"), (-INF, "-Infinity"), (-0.0, "-0.0"), (1.5, "1.5"), (np.float64(2), "2.0")],
)
def test_number_text(number: float, text: str) -> None:
    assert number_text(number) == text


def test_the_pass_of_each_quantity() -> None:
    assert {quantity.name: quantity.walk for quantity in Quantity} == {
        "VALUE": "forward",
        "TANGENT": "forward",
        "GRADIENT": "backward",
        "SECOND": "backward",
    }
