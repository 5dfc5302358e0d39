"""Sums and means over points: against the numbers at each point, added up with `math.fsum`, and against written-out sums."""

import math
from typing import Any

import numpy as np
import pytest

from app.engine.errors import InvalidNode, ShapeMismatch
from app.engine.graph import Graph
from app.engine.points import BLOCK_POINTS, Reduce
from app.engine.text import parse
from app.engine.transforms import backward, evaluate, hessian, hvp, jacobian, jvp
from tests.rows import for_each

RNG = np.random.default_rng(7)
COUNTS = [1, 2, 63, 64, 65, BLOCK_POINTS - 1, BLOCK_POINTS, 2 * BLOCK_POINTS + 70]
CURVE = parse("r = y - a*exp(-b*x); r**2")


def data(points: int) -> dict[str, Any]:
    x = RNG.uniform(0.0, 3.0, points)
    return {"a": 1.5, "b": 0.7, "x": x, "y": 2.0 * np.exp(-x) + RNG.normal(size=points)}


def reduced(column: Any, points: int, how: str) -> float:
    """What `reduce` should make of a column, or of a number that is the same at all points."""
    total = math.fsum(np.broadcast_to(column, points))
    return total if how == "sum" else total / points


def close(a: Any, b: Any) -> bool:
    """Equal up to the rounding of a division, which our means do not have."""
    return bool(np.all(np.abs(np.asarray(a) - b) <= 2.0**-52 * np.abs(b)))


@for_each("how", ["sum", "mean"])
@for_each("points", COUNTS)
def test_numbers_are_those_of_the_points_added_up(points: int, how: Reduce) -> None:
    inputs = data(points)
    apart, together = backward(CURVE, inputs), backward(CURVE, inputs, reduce=how)
    assert close(together.value, reduced(apart.value, points, how))
    for name in ("a", "b"):
        assert close(together.gradients[name], reduced(apart.gradients[name], points, how))
    for name in ("x", "y", "r"):  # one number per point, each of which the sum depends on
        expected = apart.gradients[name] if how == "sum" else apart.gradients[name] / np.float64(points)
        np.testing.assert_array_equal(together.gradients[name], expected)
    assert evaluate(CURVE, inputs, reduce=how) == {"output": together.value}


@pytest.mark.parametrize("how", ["sum", "mean"])
@pytest.mark.parametrize("points", [2, 65, BLOCK_POINTS + 1])
def test_second_derivatives_are_those_of_the_points_added_up(points: int, how: Reduce) -> None:
    inputs = data(points)
    apart, together = hessian(CURVE, inputs, ["a", "b"]), hessian(CURVE, inputs, reduce=how)
    assert list(together.hessian) == ["a", "b"], "the leaves that are one number"
    for row in "ab":
        assert close(together.gradients[row], reduced(apart.gradients[row], points, how))
        for column in "ab":
            assert close(together.hessian[row][column], reduced(apart.hessian[row][column], points, how))
    product = hvp(CURVE, inputs, {"a": 1.0, "b": -2.0}, reduce=how)
    for row in "ab":
        expected = together.hessian[row]["a"] - 2.0 * together.hessian[row]["b"]
        assert math.isclose(product.hvp[row], expected, rel_tol=1e-12)
        assert product.gradients[row] == together.gradients[row]


@pytest.mark.parametrize("how", ["sum", "mean"])
def test_a_sum_over_points_is_the_sum_written_out(how: Reduce) -> None:
    x, y = [0.5, 1.0, 2.0], [1.0, 3.0, -1.0]
    rows = ", ".join(f"({b} - a*exp(-b*{a}))**2" for a, b in zip(x, y, strict=True))
    written = parse(f"{how}({rows})")
    point = {"a": 1.5, "b": 0.7}
    one, many = hessian(written, point), hessian(CURVE, {**point, "x": x, "y": y}, reduce=how)
    assert math.isclose(one.value, many.value, rel_tol=1e-15)
    for i in "ab":
        assert math.isclose(one.gradients[i], many.gradients[i], rel_tol=1e-14)
        for j in "ab":
            assert math.isclose(one.hessian[i][j], many.hessian[i][j], rel_tol=1e-14)


def test_tangent_is_the_cotangent_of_the_gradient() -> None:
    inputs = data(100)
    tangents: dict[str, Any] = {"a": 0.5, "x": RNG.normal(size=100), "r": -1.0}
    gradients = backward(CURVE, inputs, list(tangents), reduce="sum").gradients
    expected = 0.5 * gradients["a"] + np.dot(tangents["x"], gradients["x"]) - np.sum(gradients["r"])
    assert math.isclose(jvp(CURVE, inputs, tangents, reduce="sum").tangent, expected, rel_tol=1e-12)
    assert math.isclose(jvp(CURVE, inputs, tangents, reduce="mean").tangent, expected / 100, rel_tol=1e-12)


@pytest.mark.parametrize("how", ["sum", "mean"])
@pytest.mark.parametrize("points", [1, 2, 70])
def test_value_is_that_of_all_points_whatever_the_derivative(points: int, how: Reduce) -> None:
    inputs, direction = data(points), {"a": 1.0, "b": -2.0}
    expected = reduced(evaluate(CURVE, inputs)["output"], points, how)
    values = [
        backward(CURVE, inputs, reduce=how).value,
        jvp(CURVE, inputs, direction, reduce=how).value,
        jacobian(CURVE, inputs, reduce=how).values["output"],
        hessian(CURVE, inputs, reduce=how).value,
        hvp(CURVE, inputs, direction, reduce=how).value,
    ]
    assert [np.shape(value) for value in values] == [()] * 5 and all(close(value, expected) for value in values)
    slopes = backward(CURVE, inputs, reduce=how).gradients
    tangent = jvp(CURVE, inputs, direction, reduce=how).tangent
    assert math.isclose(tangent, slopes["a"] - 2.0 * slopes["b"], rel_tol=1e-12)
    for found in (hessian(CURVE, inputs, reduce=how), hvp(CURVE, inputs, direction, reduce=how)):
        assert all(math.isclose(found.gradients[name], slopes[name], rel_tol=1e-12) for name in direction)


@pytest.mark.parametrize("wrt", [["a"], ["x"], ["a", "x"], ["x", "a"], ["a", "x", "b"]], ids="-".join)
def test_jacobian_is_a_gradient_table_for_each_output(wrt: list[str]) -> None:
    inputs = data(70)
    nodes = parse("f = a*x; g = a + b; h = b*x**2; f + g + h").nodes
    text = Graph(nodes, ("f", "g", "h"))
    found = jacobian(text, {k: inputs[k] for k in "abx"}, wrt, reduce="sum")
    assert math.isclose(found.values["g"], 70 * 2.2)
    for output in "fgh":
        alone = backward(Graph(nodes, (output,)), {k: inputs[k] for k in "abx"}, wrt, reduce="sum")
        assert found.values[output] == alone.value
        for name in wrt:
            np.testing.assert_array_equal(found.jacobian[output][name], alone.gradients[name])


def test_a_list_that_the_output_does_not_need_has_a_derivative_at_each_point() -> None:
    graph = parse("unused = x*2; 3*y")
    found = backward(graph, {"x": [1.0, 2.0, 4.0], "y": 5.0}, ["x", "y"], reduce="sum")
    assert found.value == 45.0 and found.gradients["y"] == 9.0
    np.testing.assert_array_equal(found.gradients["x"], [0.0, 0.0, 0.0])


def test_a_value_that_no_list_changes_counts_once_for_each_point() -> None:
    assert evaluate(parse("a + 0*x"), {"a": 2.0, "x": [1.0, 2.0, 3.0]}, reduce="sum")["output"] == 6.0
    graph = parse("a*a")
    assert backward(graph, {"a": 2.0}, reduce="sum") == backward(graph, {"a": 2.0}), "one point"
    used = parse("y = x; a*3")
    found = backward(used, {"a": 2.0, "x": [1.0, 2.0]}, ["a", "x"], reduce="sum")
    assert found.value == 12.0 and found.gradients["a"] == 6.0
    np.testing.assert_array_equal(found.gradients["x"], [0.0, 0.0])


def test_a_sum_is_rounded_once_whatever_the_order() -> None:
    numbers = np.array([1e100, 1.0, -1e100, 1e-30] * 20_000)
    for order in (numbers, numbers[::-1], RNG.permutation(numbers)):
        found = backward(parse("a*x"), {"a": 1.0, "x": order}, reduce="sum")
        assert found.value == found.gradients["a"] == math.fsum(numbers)


def test_the_branch_that_a_point_does_not_take_does_no_harm() -> None:
    points = np.linspace(-1.0, 1.0, 101)
    found = backward(parse("where(x > 0, a*sqrt(x), a*x)"), {"a": 2.0, "x": points}, reduce="sum")
    expected = math.fsum(np.where(points > 0, np.sqrt(np.abs(points)), points))
    assert math.isclose(found.gradients["a"], expected, rel_tol=1e-15) and np.isfinite(found.gradients["x"]).all()


def test_points_that_are_walked_alone() -> None:
    nodes = "+".join(["sin(a*x)"] * 20_000)  # blocks of so many nodes would have fewer than 64 points
    points = np.linspace(0.0, 1.0, 5)
    found = backward(parse(nodes), {"a": 1.0, "x": points}, ["a", "x"], reduce="mean")
    assert math.isclose(found.gradients["a"], 4000 * math.fsum(points * np.cos(points)), rel_tol=1e-10)
    np.testing.assert_allclose(found.gradients["x"], 4000 * np.cos(points), rtol=1e-10)


def test_no_points() -> None:
    assert evaluate(parse("x"), {"x": []}, reduce="sum")["output"] == 0.0


@pytest.mark.parametrize("name", ["x", "r"])
def test_second_derivatives_by_a_list(name: str) -> None:
    with pytest.raises(InvalidNode, match=f"'{name}' differs from point to point") as error:
        hessian(CURVE, data(3), ["a", name], reduce="sum")
    assert error.value.place == ("wrt", 1)
    with pytest.raises(InvalidNode) as error:
        hvp(CURVE, data(3), {name: 1.0}, reduce="mean")
    assert error.value.place == ("tangents", name)


def test_lists_of_seeds_for_one_number() -> None:
    for transform in (jvp, hvp):
        with pytest.raises(ShapeMismatch, match="tangents for 'a'") as error:
            transform(CURVE, data(2), {"a": [1.0, 2.0]}, reduce="sum")
        assert error.value.place == ("tangents", "a")
    with pytest.raises(ShapeMismatch, match="tangents for 'x'"):
        jvp(parse("x"), {"x": 1.0}, {"x": [1.0, 2.0]}, reduce="sum")
    with pytest.raises(ShapeMismatch, match="2 numbers") as error:
        backward(CURVE, data(2), cotangent=[1.0, 2.0], reduce="sum")
    assert error.value.place == ("cotangent",)
