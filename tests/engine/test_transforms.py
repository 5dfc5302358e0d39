"""Values and derivatives of whole graphs: against recorded numbers, and by the laws that derivatives obey."""

import json
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import permutations
from pathlib import Path
from typing import Any

import mpmath
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.engine import batch, transforms
from app.engine.binding import Seed
from app.engine.errors import InvalidNode, ShapeMismatch, UnboundInput, UnknownNode
from app.engine.gradients import Gradients
from app.engine.graph import Graph, Node
from app.engine.points import BLOCK_POINTS, Reduce
from app.engine.primitives import OPCODE, PRIMITIVES
from app.engine.text import parse
from app.engine.transforms import (
    Check,
    agrees,
    backward,
    check_gradients,
    difference_quotient,
    evaluate,
    hessian,
    hvp,
    jacobian,
    jvp,
)
from app.engine.walk import PointWalk
from tests.conftest import times
from tests.engine.conftest import graphs, leaf_values
from tests.rows import for_each

CASES = json.loads((Path(__file__).parents[1] / "data" / "gradient_cases.json").read_text("utf-8"))
SIZES = pytest.mark.parametrize("points", [None, 3, 100])
SEEDS = st.integers(0, 2**32 - 1)
NAN, INF = math.nan, math.inf


def spread(inputs: Mapping[str, float], points: int | None) -> dict[str, Seed]:
    """The inputs, or the same at many points."""
    return {name: x if points is None else [x] * points for name, x in inputs.items()}


def everywhere(entry: Any, points: int | None) -> np.ndarray[Any, Any]:
    """An entry of a result as an array with one number per point."""
    assert points is None or np.shape(entry) in ((), (points,))
    return np.broadcast_to(np.asarray(entry, float), points or 1)


def assert_near(got: Any, want: Any, tolerance: float = 1e-10) -> None:
    """Assert equality to `tolerance`, relative to the largest of the numbers compared, but to 1 at least."""
    got, want = np.asarray(got, float), np.asarray(want, float)
    assert np.isfinite(want).all()
    np.testing.assert_allclose(got, want, rtol=0.0, atol=tolerance * max(1.0, np.abs(want).max(initial=0.0)))


# --- recorded numbers


@SIZES
@for_each("case", CASES)
def test_recorded_values_gradients_and_hessians(case: dict[str, Any], points: int | None) -> None:
    graph, inputs = parse(case["expression"]), spread(case["inputs"], points)
    result = backward(graph, inputs)
    np.testing.assert_allclose(everywhere(result.value, points), case["value"], rtol=1e-10)
    for name, want in case["gradients"].items():
        np.testing.assert_allclose(everywhere(result.gradients[name], points), want, rtol=1e-10)
    if "hessian" not in case:
        return
    second = hessian(graph, inputs)
    np.testing.assert_allclose(everywhere(second.value, points), case["value"], rtol=1e-10)
    for name, row in case["hessian"].items():
        np.testing.assert_allclose(everywhere(second.gradients[name], points), case["gradients"][name], rtol=1e-10)
        for other, want in row.items():
            np.testing.assert_allclose(everywhere(second.hessian[name][other], points), want, rtol=1e-10)


def test_the_recorded_cases_reach_the_hessian_too() -> None:
    assert len(CASES) == 39 and sum("hessian" in case for case in CASES) >= 20


@SIZES
def test_rosenbrocks_function(points: int | None) -> None:
    """Closed forms at (-1.2, 1): f 24.2, gradient (-215.6, -88), Hessian ((1330, 480), (480, 200))."""
    graph = parse("(1 - x)**2 + 100*(y - x**2)**2")
    got = hessian(graph, spread({"x": -1.2, "y": 1.0}, points))
    np.testing.assert_allclose(everywhere(got.value, points), 24.2, rtol=1e-14)
    np.testing.assert_allclose(everywhere(got.gradients["x"], points), -215.6, rtol=1e-14)
    np.testing.assert_allclose(everywhere(got.gradients["y"], points), -88.0, rtol=1e-14)
    want = {("x", "x"): 1330.0, ("x", "y"): 480.0, ("y", "x"): 480.0, ("y", "y"): 200.0}
    for (name, other), entry in want.items():
        np.testing.assert_allclose(everywhere(got.hessian[name][other], points), entry, rtol=1e-14)


# --- laws


def answers(graph: Graph, inputs: Mapping[str, Seed]) -> list[Any]:
    """Everything that can be computed of a graph, as plain numbers and lists by id."""
    names = sorted(graph.leaves)
    tangents = {name: 0.5 + k for k, name in enumerate(names)}
    first, second = backward(graph, inputs, cotangent=0.7), hessian(graph, inputs, names)
    product, forward, table = hvp(graph, inputs, tangents, names), jvp(graph, inputs, tangents), jacobian(graph, inputs, names)
    everything = evaluate(graph, inputs, everything=True)
    found = [
        first.value,
        *(first.gradients[name] for name in sorted(graph.names)),
        second.value,
        *(second.gradients[name] for name in names),
        *(second.hessian[name][other] for name in names for other in names),
        product.value,
        *(product.gradients[name] for name in names),
        *(product.hvp[name] for name in names),
        *forward,
        *table.values.values(),
        *(table.jacobian[output][name] for output in graph.outputs for name in names),
        *(everything[name] for name in sorted(everything)),
    ]
    return [entry.tolist() if isinstance(entry, np.ndarray) else entry for entry in found]


@given(graphs(outputs=2), SEEDS, st.sampled_from([None, 3, 64]), st.data())
def test_the_order_of_the_nodes_does_not_matter(graph: Graph, seed: int, points: int | None, data: st.DataObject) -> None:
    """Results are equal to the last bit, whatever the order."""
    inputs = leaf_values(graph, points, seed)
    shuffled = Graph(tuple(data.draw(st.permutations(graph.nodes))), graph.outputs)
    assert answers(shuffled, inputs) == answers(graph, inputs)


@given(graphs(), SEEDS, st.sampled_from([None, 3, 100]))
def test_forward_and_reverse_mode_are_each_others_transpose(graph: Graph, seed: int, points: int | None) -> None:
    """<w, J v> = <J' w, v>, for tangents and cotangents that differ from point to point."""
    rng = np.random.default_rng(seed)
    inputs = leaf_values(graph, points, seed)
    tangents: dict[str, Seed] = {name: rng.normal(size=points) for name in graph.leaves}
    cotangent: Seed = rng.normal(size=points)
    ahead = jvp(graph, inputs, tangents).tangent
    back = backward(graph, inputs, cotangent=cotangent).gradients
    products = [np.asarray(back[name]) * np.asarray(tangents[name]) for name in graph.leaves]
    scale = max(1.0, *(float(np.abs(p).max()) for p in products))
    np.testing.assert_allclose(np.asarray(ahead) * np.asarray(cotangent), sum(products), rtol=0.0, atol=1e-10 * scale)


@given(graphs(), SEEDS, st.sampled_from([None, 3, 100]), st.floats(-3.0, 3.0), st.floats(-3.0, 3.0))
def test_reverse_mode_is_linear_in_the_cotangent(graph: Graph, seed: int, points: int | None, v: float, w: float) -> None:
    inputs = leaf_values(graph, points, seed)
    one, both = (backward(graph, inputs, cotangent=c).gradients for c in (1.0, v + w))
    by_v, by_w = (backward(graph, inputs, cotangent=c).gradients for c in (v, w))
    for name in graph.names:
        # The parts may be larger than their sum, so what counts is their size.
        size = (abs(v) + abs(w)) * max(1.0, float(np.abs(one[name]).max()))
        np.testing.assert_allclose(by_v[name] + by_w[name], both[name], rtol=0.0, atol=1e-12 * max(1.0, size))
        np.testing.assert_allclose(by_v[name], np.multiply(v, one[name]), rtol=0.0, atol=1e-12 * max(1.0, size))


@given(graphs(), SEEDS, st.sampled_from([None, 3, 100]))
def test_hessian_is_symmetric_and_its_rows_are_hvps(graph: Graph, seed: int, points: int | None) -> None:
    """By leaves and operations alike, products with unit vectors are the rows, and with a sum of them the sum of the rows."""
    inputs = leaf_values(graph, points, seed)
    names = [*graph.leaves, *[node.id for node in graph.nodes if node.op != "value"][-3:]]
    whole = hessian(graph, inputs, names)
    np.testing.assert_equal(dict(whole.gradients), dict(backward(graph, inputs, names).gradients))
    total: dict[str, Any] = dict.fromkeys(names, 0.0)
    for name in names:
        product = hvp(graph, inputs, {name: 1.0}, names)
        for other in names:
            assert_near(product.hvp[other], whole.hessian[name][other], 1e-12)
            total[other] = total[other] + whole.hessian[name][other]
    size = max(float(np.abs(whole.hessian[a][b]).max()) for a in names for b in names)
    for name in names:
        for other in names:
            np.testing.assert_allclose(
                whole.hessian[name][other], whole.hessian[other][name], rtol=0.0, atol=1e-11 * max(1.0, size)
            )
    product = hvp(graph, inputs, dict.fromkeys(names, 1.0), names)
    for other in names:
        np.testing.assert_allclose(product.hvp[other], total[other], rtol=0.0, atol=1e-11 * max(1.0, size))


@given(graphs(), SEEDS)
def test_second_derivatives_are_differences_of_gradients(graph: Graph, seed: int) -> None:
    inputs, names = leaf_values(graph, None, seed), graph.leaves
    exact = hessian(graph, inputs)
    at = np.array([exact.gradients[name] for name in names], dtype=float)
    for other in names:

        def gradient(x: Any, other: str = other) -> Any:
            """The gradient as a vector, whose entries are all at the same point."""
            found = backward(graph, {**inputs, other: float(x[0])}).gradients
            return np.array([found[name] for name in names])

        column = np.array([exact.hessian[name][other] for name in names], dtype=float)
        difference = difference_quotient(gradient, np.full(len(names), inputs[other]), at).value
        assert np.all(np.abs(column - difference) <= 1e-6 * np.maximum(1.0, np.maximum(np.abs(at), np.abs(column))))


@given(graphs(outputs=4), SEEDS, st.sampled_from([None, 3, 100]))
def test_jacobian_is_the_same_in_forward_and_in_reverse_mode(graph: Graph, seed: int, points: int | None) -> None:
    """With fewer nodes than outputs the Jacobian is made in forward mode; the gradient of each output, in reverse mode."""
    inputs = leaf_values(graph, points, seed)
    name = graph.leaves[0]
    outputs = tuple(dict.fromkeys(graph.outputs))
    many, wide = Graph(graph.nodes, outputs), list(graph.leaves) * len(outputs)
    forward, reverse = jacobian(many, inputs, [name]), jacobian(many, inputs, wide)
    values = evaluate(many, inputs)
    for output in outputs:
        single = backward(Graph(graph.nodes, (output,)), inputs, [name])
        assert_near(forward.jacobian[output][name], single.gradients[name])
        assert_near(reverse.jacobian[output][name], single.gradients[name])
        for table in (forward, reverse):
            np.testing.assert_equal(table.values[output], values[output])


@pytest.mark.parametrize(("outputs", "inputs"), [(16, 16), (17, 17), (33, 40), (17, 16), (40, 33)])
def test_jacobian_of_a_linear_map_is_its_matrix(outputs: int, inputs: int) -> None:
    """Walks go in lanes of 16: in reverse mode of the outputs, in forward mode of the inputs if these are fewer."""
    matrix = np.random.default_rng(0).integers(1, 10, (outputs, inputs)).astype(float)
    nodes = [Node(f"x{i}", "value", data=1.0) for i in range(inputs)]
    for j, row in enumerate(matrix.tolist()):
        nodes += [Node(f"m{j},{i}", "mul", (f"x{i}", entry)) for i, entry in enumerate(row)]
        nodes.append(Node(f"y{j}", "sum", tuple(f"m{j},{i}" for i in range(inputs))))
    table = jacobian(Graph(nodes, tuple(f"y{j}" for j in range(outputs)))).jacobian
    np.testing.assert_array_equal([[table[f"y{j}"][f"x{i}"] for i in range(inputs)] for j in range(outputs)], matrix)


@pytest.mark.parametrize("size", [16, 17, 33])
def test_hessian_of_a_quadratic_form_is_its_matrix_and_the_transpose(size: int) -> None:
    """In lanes of 16 variables."""
    matrix = np.random.default_rng(0).integers(1, 10, (size, size)).astype(float)
    nodes = [Node(f"x{i}", "value", data=float(i)) for i in range(size)]
    for j, row in enumerate(matrix.tolist()):
        nodes += [Node(f"m{j},{i}", "mul", (f"x{i}", entry)) for i, entry in enumerate(row)]
        nodes += [Node(f"s{j}", "sum", tuple(f"m{j},{i}" for i in range(size))), Node(f"y{j}", "mul", (f"s{j}", f"x{j}"))]
    found = hessian(Graph([*nodes, Node("f", "sum", tuple(f"y{j}" for j in range(size)))], ("f",)))
    names = [f"x{i}" for i in range(size)]
    np.testing.assert_array_equal([[found.hessian[a][b] for b in names] for a in names], matrix + matrix.T)
    np.testing.assert_array_equal([found.gradients[a] for a in names], (matrix + matrix.T) @ np.arange(size))


def test_a_jacobian_takes_one_walk_for_each_of_the_fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forward mode for fewer nodes than outputs, else reverse mode."""
    walks: list[str] = []

    class Counted(PointWalk):
        def push_each(self, slots: Any, outputs: Any) -> Any:
            walks.extend(["push"] * len(slots))
            return super().push_each(slots, outputs)

        def pull_each(self, outputs: Any, slots: Any) -> Any:
            walks.extend(["pull"] * len(outputs))
            return super().pull_each(outputs, slots)

    monkeypatch.setattr("app.engine.points.PointWalk", Counted)
    nodes = parse("a = x*y; b = a*z; c = b + x; d = a*c; d").nodes
    for wrt, outputs, want in (
        (["x"], ("a", "b", "c", "d"), ["push"]),
        (["x", "y", "z"], ("a", "b", "c", "d"), ["push"] * 3),
        (["x", "y", "z"], ("d",), ["pull"]),
        (["x", "y", "z"], ("b", "d"), ["pull"] * 2),
        (["x", "y"], ("b", "d"), ["pull"] * 2),
    ):
        walks.clear()
        jacobian(Graph(nodes, outputs), {"x": 1.0, "y": 2.0, "z": 3.0}, wrt)
        assert walks == want


@given(graphs(outputs=2), SEEDS)
@times(0.3)
def test_many_points_are_the_same_as_one_at_a_time(graph: Graph, seed: int) -> None:
    """To the last bit if few points are walked one by one, and up to rounding if NumPy takes them together."""
    inputs = leaf_values(graph, 64, seed)
    few = answers(graph, {name: list(column)[:3] for name, column in inputs.items()})  # type: ignore[arg-type]
    many = answers(graph, inputs)
    for point in range(3):
        alone = answers(graph, {name: column[point] for name, column in inputs.items()})  # type: ignore[index]
        assert [entry if isinstance(entry, float) else entry[point] for entry in few] == alone
        for entry, want in zip(many, alone, strict=True):
            assert_near(entry if isinstance(entry, float) else entry[point], want)


@given(graphs(outputs=2), SEEDS, st.sampled_from([None, 3, 100]))
@times(0.2)
def test_inputs_and_graph_are_left_unchanged(graph: Graph, seed: int, points: int | None) -> None:
    inputs = {n: np.array(x) if points else x for n, x in leaf_values(graph, points, seed).items()}
    kept = {name: np.copy(x) for name, x in inputs.items()}
    nodes, wiring = graph.nodes, [np.copy(a) for a in (graph.wiring.arg, graph.wiring.order, graph.wiring.numbers)]
    before = answers(graph, inputs)
    check_gradients(graph, inputs)
    assert answers(graph, inputs) == before
    assert graph.nodes is nodes
    for array, was in zip((graph.wiring.arg, graph.wiring.order, graph.wiring.numbers), wiring, strict=True):
        np.testing.assert_array_equal(array, was)
    assert inputs.keys() == kept.keys()
    for name, was in kept.items():
        np.testing.assert_array_equal(inputs[name], was)


@given(graphs(), SEEDS)
def test_the_gradient_by_an_operation_is_that_by_a_leaf_in_its_place(graph: Graph, seed: int) -> None:
    """A node that becomes a leaf with the value that it had keeps its gradient."""
    inputs = leaf_values(graph, None, seed)
    values = evaluate(graph, inputs, everything=True)
    whole = backward(graph, inputs).gradients
    for k, node in enumerate(graph.nodes):
        if node.op == "value":
            continue
        cut = Graph((*graph.nodes[:k], Node(node.id, "value"), *graph.nodes[k + 1 :]), graph.outputs)
        bound = {**inputs, node.id: values[node.id]}
        assert_near(backward(cut, bound, [node.id]).gradients[node.id], whole[node.id])
        assert_near(jvp(graph, inputs, {node.id: 1.0}).tangent, whole[node.id])


@given(graphs(), SEEDS, st.sampled_from([None, 3, 70]))
@settings(times(0.3), suppress_health_check=[HealthCheck.too_slow])
def test_check_gradients_agrees_on_smooth_graphs(graph: Graph, seed: int, points: int | None) -> None:
    checks = check_gradients(graph, leaf_values(graph, points, seed), graph.names)
    for name, check in checks.items():
        assert agrees(check, 1e-6), (name, check)


# --- what a derivative is by


@SIZES
def test_derivatives_by_an_operation(points: int | None) -> None:
    """s = sin(x), y = s*x: by s it is x; by x, through s and without it, cos(x)*x + sin(x)."""
    graph, inputs = parse("s = sin(x); s*x"), spread({"x": 2.0}, points)
    gradients = backward(graph, inputs).gradients
    np.testing.assert_allclose(everywhere(gradients["s"], points), 2.0, rtol=1e-15)
    np.testing.assert_allclose(everywhere(gradients["x"], points), math.cos(2) * 2 + math.sin(2), rtol=1e-14)
    second = hessian(graph, inputs, ["s", "x"]).hessian
    np.testing.assert_allclose(everywhere(second["s"]["s"], points), 0.0, atol=0.0)
    np.testing.assert_allclose(everywhere(second["s"]["x"], points), 1.0, rtol=1e-15)
    np.testing.assert_allclose(everywhere(second["x"]["s"], points), 1.0, rtol=1e-15)
    np.testing.assert_allclose(everywhere(second["x"]["x"], points), 2 * math.cos(2) - 2 * math.sin(2), rtol=1e-14)
    tangent = jvp(graph, inputs, {"s": 3.0, "x": 0.5}).tangent
    np.testing.assert_allclose(everywhere(tangent, points), 3 * 2 + 0.5 * (math.cos(2) * 2 + math.sin(2)), rtol=1e-14)
    product = hvp(graph, inputs, {"s": 3.0}, ["x"])
    np.testing.assert_allclose(everywhere(product.hvp["x"], points), 3.0, rtol=1e-15)


@SIZES
def test_gradient_of_the_output_by_itself_is_the_cotangent(points: int | None) -> None:
    for text in ("x", "y = x*x", "x*x"):
        graph = parse(text)
        inputs = spread({"x": 3.0}, points)
        assert np.all(everywhere(backward(graph, inputs, [graph.output]).gradients[graph.output], points) == 1.0)
        scaled = backward(graph, inputs, [graph.output], cotangent=-2.5).gradients
        assert np.all(everywhere(scaled[graph.output], points) == -2.5)
        assert np.all(everywhere(jvp(graph, inputs, {graph.output: 7.0}).tangent, points) == 7.0)


@SIZES
def test_the_cotangent_of_an_output_that_others_use(points: int | None) -> None:
    graph = Graph((Node("x", "value"), Node("f", "square", ("x",)), Node("g", "exp", ("f",))), ("f", "g"))
    table = jacobian(graph, spread({"x": 0.5}, points), ["x", "f", "g"])
    want = {"f": {"x": 1.0, "f": 1.0, "g": 0.0}, "g": {"x": math.exp(0.25), "f": math.exp(0.25), "g": 1.0}}
    for output, row in want.items():
        for name, entry in row.items():
            np.testing.assert_allclose(everywhere(table.jacobian[output][name], points), entry, rtol=1e-14)


def test_defaults_of_wrt() -> None:
    """All nodes of a graph or the names of a text for `backward`; the leaves for second derivatives."""
    text = parse("a = x*y; a + sin(a)")
    assert tuple(backward(text, {"x": 1.0, "y": 2.0}).gradients) == ("x", "y", "a")
    assert tuple(hessian(text, {"x": 1.0, "y": 2.0}).hessian) == ("x", "y")
    assert tuple(jacobian(text, {"x": 1.0, "y": 2.0}).jacobian["output"]) == ("x", "y")
    graph = Graph((Node("y", "exp", ("x",)), Node("x", "value", data=0.0)), ("y",))
    assert backward(graph).gradients == {"y": 1.0, "x": 1.0}
    assert hessian(graph).hessian == {"x": {"x": 1.0}}
    assert dict(backward(graph, wrt=[]).gradients) == {}
    assert hessian(graph, wrt=[]).hessian == {} and hvp(graph, wrt=[]).hvp == {}
    assert jacobian(graph, wrt=[]).jacobian == {"y": {}}


def test_gradients_are_tables_in_which_an_unknown_name_raises() -> None:
    gradients = backward(parse("x**2"), {"x": 3.0}).gradients
    assert isinstance(gradients, Gradients)
    assert gradients["x"] == 6.0
    with pytest.raises(KeyError, match="nobody"):
        gradients["nobody"]


# --- branches that are not taken

BRANCHES = [
    ("where(x > 0, log(x), 0)", 0.0, 0.0, 0.0),
    ("where(x > 0, log(x), 0)", -4.0, 0.0, 0.0),
    ("where(x > 0, x*sqrt(x), x)", 0.0, 0.0, 1.0),
    ("where(x > 0, x*sqrt(x), x)", -1.0, -1.0, 1.0),
    ("log(x)/x if x > 0 else 2*x", 0.0, 0.0, 2.0),
    ("log(x)/x if x > 0 else 2*x", -3.0, -6.0, 2.0),
    ("where(x <= 0, 0, exp(1/x)*lgamma(x))", 0.0, 0.0, 0.0),
    ("where(x <= 0, 0, exp(1/x)*lgamma(x))", -2.0, 0.0, 0.0),
    ("where(0, 1/(x - x), x)", 1.0, 1.0, 1.0),
    ("where(1, x, (x - x)**-1*exp(1000*abs(x)))", 1.0, 1.0, 1.0),
    ("where(x > 0, where(x > 1, 1/x, log(x - 5)), 3*x)", -1.0, -3.0, 3.0),
]
"""Expressions with the value and the slope of the branch that is taken at a point, which is a linear function. The other is
NaN or infinite there, in value or derivatives.
"""


@SIZES
@for_each(("text", "x", "value", "slope"), BRANCHES)
def test_a_branch_not_taken_passes_nothing_on(text: str, x: float, value: float, slope: float, points: int | None) -> None:
    graph, inputs = parse(text), spread({"x": x}, points)
    np.testing.assert_array_equal(everywhere(evaluate(graph, inputs)["output"], points), value)
    np.testing.assert_array_equal(everywhere(backward(graph, inputs).gradients["x"], points), slope)
    np.testing.assert_array_equal(everywhere(jvp(graph, inputs, {"x": 1.0}).tangent, points), slope)
    np.testing.assert_array_equal(everywhere(jacobian(graph, inputs).jacobian["output"]["x"], points), slope)
    second = hessian(graph, inputs)
    np.testing.assert_array_equal(everywhere(second.gradients["x"], points), slope)
    np.testing.assert_array_equal(everywhere(second.hessian["x"]["x"], points), 0.0)
    product = hvp(graph, inputs, {"x": 2.5})
    np.testing.assert_array_equal(everywhere(product.gradients["x"], points), slope)
    np.testing.assert_array_equal(everywhere(product.hvp["x"], points), 0.0)


def test_branches_not_taken_in_a_forward_mode_jacobian() -> None:
    """Two outputs and one input, so that the Jacobian is made of tangents."""
    graph = Graph(parse("a = where(x > 0, log(x), x); b = a*2").nodes, ("a", "b"))
    for points in (None, 3, 100):
        table = jacobian(graph, spread({"x": -1.0}, points), ["x"]).jacobian
        np.testing.assert_array_equal(everywhere(table["a"]["x"], points), 1.0)
        np.testing.assert_array_equal(everywhere(table["b"]["x"], points), 2.0)


def test_points_with_and_without_a_taken_branch_side_by_side() -> None:
    """In one block of 200 points, half have the logarithm of a negative number in the branch that is not taken."""
    x = np.linspace(-2.0, 2.0, 200)
    graph = parse("where(x > 0, log(x)*y, y**2)")
    got = hessian(graph, {"x": x, "y": 3.0})
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(got.value, np.where(x > 0, 3 * np.log(x), 9.0), rtol=1e-14)
        np.testing.assert_allclose(got.gradients["x"], np.where(x > 0, 3 / x, 0.0), rtol=1e-14)
        np.testing.assert_allclose(got.gradients["y"], np.where(x > 0, np.log(x), 6.0), rtol=1e-14)
        np.testing.assert_allclose(got.hessian["x"]["x"], np.where(x > 0, -3 / x**2, 0.0), rtol=1e-14)
        np.testing.assert_allclose(got.hessian["x"]["y"], np.where(x > 0, 1 / x, 0.0), rtol=1e-14)
        np.testing.assert_allclose(got.hessian["y"]["y"], np.where(x > 0, 0.0, 2.0), rtol=1e-14)


@SIZES
def test_a_zero_tangent_or_cotangent_passes_nothing_on(points: int | None) -> None:
    """sqrt at 0 has an infinite slope, and log of a negative base under pow is NaN: times 0 both are 0."""
    graph = parse("sqrt(x) + y")
    inputs = spread({"x": 0.0, "y": 1.0}, points)
    assert np.all(everywhere(jvp(graph, inputs, {"y": 1.0}).tangent, points) == 1.0)
    assert np.all(everywhere(jvp(graph, inputs, {"x": 0.0, "y": 1.0}).tangent, points) == 1.0)
    assert np.all(everywhere(backward(graph, inputs, cotangent=0.0).gradients["x"], points) == 0.0)
    assert np.all(everywhere(hvp(graph, inputs, {"y": 1.0}, ["y"]).hvp["y"], points) == 0.0)
    power = parse("x**n")
    inputs = spread({"x": -2.0, "n": 3.0}, points)
    assert np.all(everywhere(jvp(power, inputs, {"x": 1.0}).tangent, points) == 12.0)
    assert np.all(everywhere(hvp(power, inputs, {"x": 1.0}, ["x"]).hvp["x"], points) == -12.0)
    assert np.all(everywhere(hessian(power, inputs, ["x"]).hessian["x"]["x"], points) == -12.0)
    assert np.all(everywhere(hvp(parse("x**3"), spread({"x": -2.0}, points), {"x": 1.0}).hvp["x"], points) == -12.0)


def test_adjoints_of_two_branches_meet_at_the_points_where_either_is_taken() -> None:
    """The root's slope at 0 is infinite: it counts where the first branch, the second or both are taken."""
    a, b = np.tile([1.0, 0.0, 0.0, 1.0], 25), np.tile([0.0, 1.0, 0.0, 1.0], 25)
    graph, inputs = parse("u = sqrt(x); where(a, u, 0) + where(b, u, 0)"), {"x": np.zeros(100), "a": a, "b": b}
    want = np.tile([INF, INF, 0.0, INF], 25)
    np.testing.assert_array_equal(backward(graph, inputs).gradients["x"], want)
    np.testing.assert_array_equal(jvp(graph, inputs, {"x": 1.0}).tangent, want)


@SIZES
def test_a_negative_tangent_or_cotangent_counts(points: int | None) -> None:
    """The slope of sqrt at 0 is infinite: times -2 it is minus infinity."""
    graph, inputs = parse("sqrt(x)"), spread({"x": 0.0}, points)
    assert np.all(everywhere(jvp(graph, inputs, {"x": -2.0}).tangent, points) == -INF)
    assert np.all(everywhere(backward(graph, inputs, cotangent=-2.0).gradients["x"], points) == -INF)


@SIZES
@pytest.mark.parametrize(
    ("text", "inputs", "gradients"),
    [
        ("sqrt(x*y)", {"x": 3.0, "y": 0.0}, {"x": math.nan, "y": INF}),
        ("sqrt(y*x)", {"x": 3.0, "y": 0.0}, {"x": math.nan, "y": INF}),
        ("sqrt(where(c, x, y))", {"c": 0.0, "x": 5.0, "y": 0.0}, {"c": 0.0, "x": 0.0, "y": INF}),
        ("sqrt(where(c, x, y))", {"c": 1.0, "x": 0.0, "y": 5.0}, {"c": 0.0, "x": INF, "y": 0.0}),
        ("sqrt(relu(x))", {"x": -1.0}, {"x": 0.0}),
        ("sqrt(max(x, y))", {"x": -1.0, "y": 0.0}, {"x": 0.0, "y": INF}),
    ],
)
def test_only_the_zero_of_a_selection_wins_over_an_infinite_adjoint(
    text: str, inputs: dict[str, float], gradients: dict[str, float], points: int | None
) -> None:
    """The square root has an infinite slope at 0. What was not selected gets 0, any other factor of 0 gives NaN."""
    graph, given = parse(text), spread(inputs, points)
    for name, want in gradients.items():
        np.testing.assert_array_equal(everywhere(backward(graph, given).gradients[name], points), want)
        np.testing.assert_array_equal(everywhere(jacobian(graph, given).jacobian["output"][name], points), want)
        np.testing.assert_array_equal(everywhere(hessian(graph, given).gradients[name], points), want)
        np.testing.assert_array_equal(everywhere(jvp(graph, given, {name: 1.0}).tangent, points), want)


def test_zero_cotangents_at_some_points_only() -> None:
    """The points with cotangent 0 get a gradient of 0 although the slope there is infinite."""
    x, cotangent = np.zeros(100), np.tile([0.0, 2.0], 50)
    gradient = backward(parse("sqrt(x)"), {"x": x}, cotangent=cotangent).gradients["x"]
    np.testing.assert_array_equal(gradient, np.tile([0.0, INF], 50))
    tangent = jvp(parse("sqrt(x)"), {"x": x}, {"x": cotangent}).tangent
    np.testing.assert_array_equal(tangent, np.tile([0.0, INF], 50))


@SIZES
def test_a_gradient_of_exactly_nothing_is_plus_zero(points: int | None) -> None:
    graph = parse("0*x - 0*y + where(x > 5, z, 1) - x*w - relu(-y*w)")
    gradients = backward(graph, spread({"x": 1.0, "y": -1.0, "z": 3.0, "w": 0.0}, points), ["x", "y", "z"]).gradients
    for entry in gradients.values():
        numbers = everywhere(entry, points)
        assert np.all(numbers == 0.0) and not np.signbit(numbers).any()


@SIZES
@pytest.mark.parametrize("text", ["x - 0*y", "x - y*0", "x + y*-0.0", "0*y - x"])
def test_a_zero_that_arrives_alone_is_plus_zero(text: str, points: int | None) -> None:
    gradient = everywhere(backward(parse(text), spread({"x": 1.0, "y": 2.0}, points)).gradients["y"], points)
    assert np.all(gradient == 0.0) and not np.signbit(gradient).any()


# --- shapes of graphs


@SIZES
@for_each(
    ("text", "x", "value", "gradient", "second"),
    [
        ("x*x", 3.0, 9.0, 6.0, 2.0),
        ("x*x*x", 3.0, 27.0, 27.0, 18.0),
        ("x/x", 3.0, 1.0, 0.0, 0.0),
        ("x - x", 3.0, 0.0, 0.0, 0.0),
        ("x**x", 1.0, 1.0, 1.0, 2.0),
        ("atan2(x, x)", 2.0, math.pi / 4, 0.0, 0.0),
        ("hypot(x, x)", 2.0, 2.0 * math.sqrt(2), math.sqrt(2), 0.0),
        ("y = x*x; z = y + y; z*y", 2.0, 32.0, 64.0, 96.0),
        ("a = x + x; b = a + a; c = b + b; c + c", 1.5, 24.0, 16.0, 0.0),
        ("sum(x, x, x, x)", 1.5, 6.0, 4.0, 0.0),
        ("prod(x, x, x, x)", 1.5, 5.0625, 13.5, 27.0),
        ("mean(x, x, 1)", 1.5, 4 / 3, 2 / 3, 0.0),
        ("where(x, x, x)", 2.0, 2.0, 1.0, 0.0),
        ("x", 2.0, 2.0, 1.0, 0.0),
        ("+x", 2.0, 2.0, 1.0, 0.0),
        ("--x", 2.0, 2.0, 1.0, 0.0),
        ("0*x + 7", 2.0, 7.0, 0.0, 0.0),
    ],
)
def test_shapes_of_results(text: str, x: float, value: float, gradient: float, second: float, points: int | None) -> None:
    got = hessian(parse(text), spread({"x": x}, points))
    np.testing.assert_allclose(everywhere(got.value, points), value, rtol=1e-14)
    np.testing.assert_allclose(everywhere(got.gradients["x"], points), gradient, rtol=1e-14, atol=1e-15)
    np.testing.assert_allclose(everywhere(got.hessian["x"]["x"], points), second, rtol=1e-14, atol=1e-15)


@SIZES
def test_a_leaf_with_a_thousand_users(points: int | None) -> None:
    """A leaf with 1,000 users: sum over k of k*x."""
    nodes = [Node("x", "value"), *(Node(f"t{k}", "mul", ("x", k)) for k in range(1000))]
    graph = Graph((*nodes, Node("s", "sum", tuple(f"t{k}" for k in range(1000)))), ("s",))
    got = backward(graph, spread({"x": 2.0}, points), ["x", "t999"])
    assert np.all(everywhere(got.value, points) == 999000.0)
    assert np.all(everywhere(got.gradients["x"], points) == 499500.0)
    assert np.all(everywhere(got.gradients["t999"], points) == 1.0)


@SIZES
@pytest.mark.parametrize("count", [16, 17, 40])
def test_a_hessian_by_more_leaves_than_are_walked_at_once(count: int, points: int | None) -> None:
    """The square of the sum plus the sum of the cubes: 2 everywhere, and 6*x more on the diagonal."""
    names = [f"x{k}" for k in range(count)]
    graph = parse(f"square(sum({', '.join(names)})) + {' + '.join(f'{name}**3' for name in names)}")
    table = hessian(graph, spread({name: float(k) for k, name in enumerate(names)}, points)).hessian
    for i, name in enumerate(names):
        for j, other in enumerate(names):
            want = 2.0 + (6.0 * i if i == j else 0.0)
            np.testing.assert_allclose(everywhere(table[name][other], points), want, rtol=1e-14)


@SIZES
def test_constant_output_unreachable_input_and_dead_code(points: int | None) -> None:
    """A node that the output does not depend on has gradient 0; dead code needs no numbers."""
    graph = Graph(
        (
            Node("x", "value", data=2.0),
            Node("unbound", "value"),
            Node("dead", "log", ("unbound",)),
            Node("nan", "log", (-1,)),
            Node("c", "add", (1, 2)),
            Node("y", "mul", ("x", "c")),
        ),
        ("y",),
    )
    inputs = spread({"x": 2.0}, points)
    got = backward(graph, inputs)
    assert np.all(everywhere(got.value, points) == 6.0)
    for name, want in {"x": 3.0, "unbound": 0.0, "dead": 0.0, "nan": 0.0, "c": 2.0, "y": 1.0}.items():
        assert np.all(everywhere(got.gradients[name], points) == want), name
    assert np.all(everywhere(jvp(graph, inputs, {"dead": 1.0, "unbound": 1.0}).tangent, points) == 0.0)
    second = hessian(graph, inputs, ["x", "dead"])
    assert np.all(everywhere(second.hessian["x"]["dead"], points) == 0.0)
    assert np.all(everywhere(second.hessian["dead"]["x"], points) == 0.0)
    assert np.all(everywhere(hvp(graph, inputs, {"dead": 1.0, "x": 1.0}, ["dead", "c"]).hvp["c"], points) == 1.0)
    assert np.all(everywhere(jacobian(graph, inputs, ["dead"]).jacobian["y"]["dead"], points) == 0.0)
    constant = Graph((Node("x", "value", data=1.0), Node("k", "exp", (0,))), ("k",))
    assert np.all(everywhere(backward(constant, inputs).gradients["x"], points) == 0.0)
    assert evaluate(constant, inputs) == {"k": 1.0}
    assert np.all(everywhere(hessian(constant, inputs).hessian["x"]["x"], points) == 0.0)


@SIZES
def test_derivatives_by_dead_code_are_zero_beside_an_infinite_slope(points: int | None) -> None:
    """The root's slope at 0 is infinite, so that each derivative is walked on its own."""
    nodes = (Node("x", "value"), Node("dead", "exp", ("x",)), Node("r", "sqrt", ("x",)), Node("y", "neg", ("x",)))
    graph, inputs = Graph((*nodes, Node("f", "add", ("r", 1))), ("f", "y", "x")), spread({"x": 0.0}, points)
    table = jacobian(graph, inputs, ["x", "dead"]).jacobian
    want = {"f": {"x": INF, "dead": 0.0}, "y": {"x": -1.0, "dead": 0.0}, "x": {"x": 1.0, "dead": 0.0}}
    for output, row in want.items():
        for name, entry in row.items():
            assert np.all(everywhere(table[output][name], points) == entry)
    second = hessian(graph, inputs, ["dead", "y"])
    assert np.all(everywhere(second.hessian["dead"]["dead"], points) == 0.0)


@SIZES
def test_single_leaf_and_leaf_outputs(points: int | None) -> None:
    graph = Graph((Node("x", "value", data=4.0), Node("y", "sqrt", ("x",))), ("x", "y", "x"))
    inputs = spread({"x": 4.0}, points)
    table = jacobian(graph, inputs)
    assert np.all(everywhere(table.jacobian["x"]["x"], points) == 1.0)
    assert np.all(everywhere(table.jacobian["y"]["x"], points) == 0.25)
    assert np.all(everywhere(backward(graph, inputs).gradients["y"], points) == 0.0)
    alone = Graph((Node("x", "value", data=4.0),), ("x",))
    assert evaluate(alone) == {"x": 4.0}
    assert backward(alone) == (4.0, {"x": 1.0})  # type: ignore[comparison-overlap]
    assert hessian(alone).hessian == {"x": {"x": 0.0}}


@pytest.mark.parametrize("order", ["in order", "reversed"])
def test_deep_chain(order: str) -> None:
    """300,000 additions of 1 and halvings in turn: the slope is 2**-150,000, exactly 0 in doubles; one step has 0.5."""
    count = 300_000
    nodes = [Node("0", "value", data=1.0)]
    nodes += [
        Node(str(k), "add", (str(k - 1), 1)) if k % 2 else Node(str(k), "mul", (str(k - 1), 0.5)) for k in range(1, count)
    ]
    graph = Graph(tuple(nodes if order == "in order" else nodes[::-1]), (str(count - 1),))
    got = backward(graph, wrt=["0", str(count - 2), str(count - 5)])
    assert got.value == 2.0
    assert dict(got.gradients) == {"0": 0.0, str(count - 2): 1.0, str(count - 5): 0.25}
    assert jvp(graph, {}, {str(count - 5): 1.0}).tangent == 0.25
    assert hvp(graph, {}, {"0": 1.0}).hvp["0"] == 0.0
    many = backward(graph, {"0": [1.0, -5.0]}, [str(count - 5)])
    assert np.all(many.value == 2.0) and np.all(many.gradients[str(count - 5)] == 0.25)


def test_a_deep_chain_of_one_repeated_operation() -> None:
    """x + 1 + 1 ...: value and slope are known exactly, as whole numbers."""
    count = 300_000
    nodes = [Node("0", "value"), *(Node(str(k), "add", (str(k - 1), 1)) for k in range(1, count))]
    got = backward(Graph(tuple(nodes[::-1]), (str(count - 1),)), {"0": 0.5}, ["0"])
    assert got.value == count - 1 + 0.5 and got.gradients["0"] == 1.0


# --- points


@for_each("points", [1, 2, 63, 64, 65, BLOCK_POINTS - 1, BLOCK_POINTS, BLOCK_POINTS + 1, 2 * BLOCK_POINTS + 70])
def test_all_points_come_back_in_order(points: int) -> None:
    """Sizes around those at which points are walked one by one, in one block, in two, or with a short last block."""
    x = np.linspace(0.5, 3.0, points)
    got = hessian(parse("x*log(x) + a*x**2"), {"x": x, "a": 2.0})
    np.testing.assert_allclose(got.value, x * np.log(x) + 2 * x**2, rtol=1e-13)
    np.testing.assert_allclose(got.gradients["x"], np.log(x) + 1 + 4 * x, rtol=1e-13)
    np.testing.assert_allclose(got.hessian["x"]["x"], 1 / x + 4, rtol=1e-13)
    np.testing.assert_allclose(got.hessian["a"]["x"], 2 * x, rtol=1e-13)


def test_one_block_with_a_nan_does_not_touch_the_others() -> None:
    """A NaN at one point makes its block walk again with `careful`; all other numbers are the same as without it."""
    x = np.linspace(0.5, 3.0, 2 * BLOCK_POINTS)
    clean = hessian(parse("x*log(x)"), {"x": x})
    x[5] = -1.0
    got = hessian(parse("x*log(x)"), {"x": x})
    keep = np.arange(len(x)) != 5
    for a, b in zip((got.value, got.gradients["x"], got.hessian["x"]["x"]), _flat(clean), strict=True):
        np.testing.assert_array_equal(np.asarray(a)[keep], np.asarray(b)[keep])
    assert math.isnan(np.asarray(got.value)[5])


SHARED = 9 * BLOCK_POINTS + 70
"""So many points are worth two threads."""
ANY: dict[str, Callable[[Graph, Mapping[str, Seed], Reduce, int], object]] = {
    "evaluate": lambda g, i, how, n: evaluate(g, i, reduce=how, threads=n),
    "everything": lambda g, i, how, n: evaluate(g, i, everything=True, threads=n),
    "backward": lambda g, i, how, n: backward(g, i, reduce=how, threads=n),
    "jvp": lambda g, i, how, n: jvp(g, i, {"a": 1.0}, reduce=how, threads=n),
    "jacobian": lambda g, i, how, n: jacobian(g, i, reduce=how, threads=n),
    "hessian": lambda g, i, how, n: hessian(g, i, ["a", "b"], reduce=how, threads=n),
    "hvp": lambda g, i, how, n: hvp(g, i, {"a": 1.0}, ["a", "b"], reduce=how, threads=n),
}


def bits_of(result: Any) -> Any:
    """A result with the bytes of its numbers in place of them."""
    if isinstance(result, Mapping):
        return {name: bits_of(value) for name, value in result.items()}
    return [bits_of(part) for part in result] if isinstance(result, tuple) else np.asarray(result).tobytes()


@pytest.mark.parametrize("how", ["none", "sum", "mean"])
@pytest.mark.parametrize("name", ANY)
def test_threads_change_no_bit_of_the_results(name: str, how: Reduce) -> None:
    """However threads share the points, and although one block holds infinities, is walked twice, and gives NaN."""
    rng = np.random.default_rng(5)
    x = rng.normal(size=SHARED)
    x[3 * BLOCK_POINTS :: BLOCK_POINTS] = 0.0
    graph = parse("where(x > 0, a*sin(x), exp(b*x)) / x")
    inputs: dict[str, Seed] = {"x": x, "a": 1.5, "b": 0.25}
    expected = bits_of(ANY[name](graph, inputs, how, 1))
    for threads in (2, 3):
        assert bits_of(ANY[name](graph, inputs, how, threads)) == expected


def test_threads_share_many_points() -> None:
    """Blocks are walked in other threads, and few points are not."""
    seen: set[int] = set()

    def note() -> None:
        seen.add(threading.get_ident())
        time.sleep(0.001)  # lets another thread run, on one processor too

    backward(parse("sin(x)"), {"x": np.ones(SHARED)}, threads=2, checkpoint=note)
    assert len(seen) == 2
    seen.clear()
    backward(parse("sin(x)"), {"x": np.ones(SHARED)}, checkpoint=note)
    backward(parse("sin(x)"), {"x": np.ones(BLOCK_POINTS)}, threads=2, checkpoint=note)
    assert seen == {threading.get_ident()}


@pytest.mark.parametrize("in_helper", [False, True], ids=["own thread", "other thread"])
def test_an_error_in_one_thread_ends_all(monkeypatch: pytest.MonkeyPatch, in_helper: bool) -> None:
    """The other thread finishes its block, and begins no other one."""
    monkeypatch.setattr("app.engine.points.BLOCK_POINTS", 64)
    before, own = threading.active_count(), threading.get_ident()
    graph, calls = parse("sin(x)"), 0
    helping, failed = threading.Event(), threading.Event()

    def count() -> None:
        nonlocal calls
        calls += 1

    backward(graph, {"x": np.ones(64)}, checkpoint=count)
    of_a_block, calls = calls, 0

    def fail() -> None:
        """The first block is walked before there are two threads. The one that fails does so while the other waits."""
        count()
        if calls <= of_a_block:
            return
        if is_helper := threading.get_ident() != own:
            helping.set()
        assert helping.wait(60)
        if is_helper == in_helper:
            failed.set()
            raise TimeoutError
        assert failed.wait(60)

    with pytest.raises(TimeoutError):
        backward(graph, {"x": np.ones(64 * 100)}, threads=2, checkpoint=fail)
    assert threading.active_count() == before
    assert of_a_block < calls <= 3 * of_a_block + 1


def _flat(result: transforms.Hessian) -> tuple[Any, Any, Any]:
    return result.value, result.gradients["x"], result.hessian["x"]["x"]


EMPTY: dict[str, Callable[[Graph, Mapping[str, Seed]], Sequence[Any]]] = {
    "evaluate": lambda graph, inputs: list(evaluate(graph, inputs).values()),
    "everything": lambda graph, inputs: [evaluate(graph, inputs, everything=True)["a"]],
    "backward": lambda graph, inputs: [backward(graph, inputs).value, backward(graph, inputs).gradients["x"]],
    "cotangent": lambda graph, inputs: [backward(graph, inputs, cotangent=[]).gradients["x"]],
    "jvp": lambda graph, inputs: list(jvp(graph, inputs, {"x": 1.0})),
    "jacobian": lambda graph, inputs: [jacobian(graph, inputs).jacobian["output"]["x"]],
    "hessian": lambda graph, inputs: [hessian(graph, inputs).value, hessian(graph, inputs).hessian["x"]["y"]],
    "hvp": lambda graph, inputs: [hvp(graph, inputs, {"x": []}).hvp["y"]],
    "check": lambda graph, inputs: [check_gradients(graph, inputs)["x"].numeric],
}


@for_each("quantity", EMPTY)
def test_no_points_at_all(quantity: str) -> None:
    """Empty lists are zero points: every result that depends on a point is an empty array."""
    for entry in EMPTY[quantity](parse("a = x*y; a + 2"), {"x": [], "y": 3.0}):
        assert np.shape(entry) == (0,)


def test_a_value_that_depends_on_no_list_is_one_number() -> None:
    for points in (3, 100):
        graph = parse("c = y*2; d = exp(0); c*x + d")
        values = evaluate(graph, {"x": [1.0] * points, "y": 3.0}, everything=True)
        shapes = {name: np.shape(value) for name, value in values.items()}
        assert (shapes["c"], shapes["d"], shapes["y"]) == ((), (), ()), points
        assert (shapes["x"], shapes["output"]) == ((points,), (points,))
        assert isinstance(values["c"], float)
        assert evaluate(parse("c = y*2; d = x; c"), {"x": [1.0] * points, "y": 3.0}) == {"output": 6.0}
        assert backward(parse("x; "), {"x": 2.0}, cotangent=[1.0] * points).value == 2.0


def test_a_list_of_seeds_makes_points_if_inputs_are_numbers() -> None:
    for points in (3, 100):
        seeds = np.linspace(-1.0, 1.0, points)
        gradients = backward(parse("x**3"), {"x": 2.0}, cotangent=seeds)
        assert gradients.value == 8.0
        np.testing.assert_allclose(gradients.gradients["x"], 12 * seeds, rtol=1e-15)
        tangent = jvp(parse("x**3"), {"x": 2.0}, {"x": list(seeds)})
        np.testing.assert_allclose(tangent.tangent, 12 * seeds, rtol=1e-15)
        product = hvp(parse("x**3"), {"x": 2.0}, {"x": list(seeds)})
        np.testing.assert_allclose(product.hvp["x"], 12 * seeds, rtol=1e-15)


@pytest.mark.parametrize("number", [3, True, np.float64(3.0), np.float32(3.0), np.int64(3), Fraction(3)])
def test_inputs_can_be_any_type_of_number(number: Any) -> None:
    assert evaluate(parse("x*2"), {"x": number}) == {"output": 2.0 * float(number)}
    assert evaluate(parse("x*2"), {"x": [number, 1]})["output"].tolist() == [2.0 * float(number), 2.0]  # type: ignore[union-attr]


def test_overflow_in_one_direction_of_many_is_no_finite_number() -> None:
    """It overflows in the first of the groups that directions are computed in, and in none of the others."""
    names = [f"x{k}" for k in range(40)]
    sines = [f"s{j} = sin({' + '.join(f'{(7 * j + 3 * k) % 11 + 1}*{x}' for k, x in enumerate(names))})" for j in range(60)]
    ring = " + ".join(f"s{j}*s{(j + 1) % 60}" for j in range(60))  # of which a dense matrix is made
    graph = parse("; ".join([*sines, f"x0*1e200*1e200*x0*x0 + {ring}"]))
    inputs = {name: 0.01 * k for k, name in enumerate(names)}
    row = hessian(graph, inputs).hessian["x0"]
    column = hvp(graph, inputs, {"x0": 1.0}).hvp
    assert math.isnan(column["x0"]) and math.isnan(row["x0"])
    found, expected = (np.array([given[name] for name in names[1:]], float) for given in (row, column))
    np.testing.assert_allclose(found, expected, rtol=1e-12)


# --- many inputs

NAMES = [f"x{k}" for k in range(40)]


@pytest.mark.parametrize("text", [True, False], ids=["text", "nodes"])
@pytest.mark.parametrize("inputs", [NAMES, NAMES[::-1], NAMES[3:] + NAMES[:3]], ids=["in order", "backwards", "rotated"])
def test_many_inputs_go_to_their_leaves(inputs: list[str], text: bool) -> None:
    """Any order will do, and the output needs all leaves but one. All numbers are whole, so the sum is exact."""
    if text:
        graph = parse("; ".join(["spare = x0 + 1", " + ".join(f"{k}*x{k}" for k in range(1, 40))]))
    else:
        terms = [Node(f"t{k}", "mul", (float(k), f"x{k}")) for k in range(1, 40)]
        total = Node("s", "sum", tuple(term.id for term in terms))
        graph = Graph([*(Node(name, "value") for name in NAMES), *terms, total], ("s",))
    numbers = {f"x{k}": k * 2.0**k for k in range(40)}
    value = evaluate(graph, {name: numbers[name] for name in inputs})[graph.output]
    assert value == sum(k * k * 2**k for k in range(40))


@pytest.mark.parametrize(
    ("changed", "kind", "place", "message"),
    [
        ({"x7": None}, UnboundInput, None, "'x7' has no number"),
        ({"x7": None, "q": 1.0}, UnknownNode, ("inputs", "q"), "there is no node 'q'"),
        ({"y": 1.0}, InvalidNode, ("inputs", "y"), "only a leaf can have an input"),
    ],
)
@pytest.mark.parametrize("text", [True, False], ids=["text", "nodes"])
def test_many_inputs_that_do_not_fit(
    changed: dict[str, Any], kind: type[Exception], place: Any, message: str, text: bool
) -> None:
    if text:
        graph = parse(f"y = {' + '.join(NAMES)}; y**2")
    else:
        graph = Graph(
            [*(Node(name, "value") for name in NAMES), Node("y", "sum", tuple(NAMES)), Node("z", "sin", ("y",))], ("z",)
        )
    inputs = {name: 1.0 for name in NAMES} | changed
    with pytest.raises(kind) as caught:
        evaluate(graph, {name: number for name, number in inputs.items() if number is not None})
    assert message in caught.value.detail  # type: ignore[attr-defined]
    assert place is None or caught.value.place == place  # type: ignore[attr-defined]


# --- inputs that do not fit


def test_first_leaf_without_a_number_is_pointed_at() -> None:
    """The first of the nodes as they were given, whichever the output comes to first."""
    graph = Graph([Node("f", "add", ("b", "a")), Node("a", "value"), Node("b", "value")], ("f",))
    with pytest.raises(UnboundInput, match="'a' and 'b' have no number") as caught:
        evaluate(graph, {})
    assert caught.value.place == ("nodes", 1)


@for_each(
    ("call", "kind", "path", "message"),
    [
        (lambda g: evaluate(g, {"x": 1.0, "z": 1.0}), UnknownNode, ("inputs", "z"), "there is no node 'z'"),
        (lambda g: evaluate(g, {"x": 1.0, "yy": 1.0}), UnknownNode, ("inputs", "yy"), "Did you mean 'y'"),
        (
            lambda g: evaluate(g, {"x": 1.0, "s": 1.0}),
            InvalidNode,
            ("inputs", "s"),
            "'s' is the operation sin; only a leaf can have an input",
        ),
        (lambda g: evaluate(g, {"x": "1", "y": 1.0}), InvalidNode, ("inputs", "x"), "the input 'x' is a str"),  # type: ignore[dict-item]
        (lambda g: evaluate(g, {"x": None, "y": 1.0}), InvalidNode, ("inputs", "x"), "is a NoneType; give a number"),  # type: ignore[dict-item]
        (lambda g: evaluate(g, {"x": 1.0}), UnboundInput, ("nodes", 2), "'y' has no number"),
        (lambda g: evaluate(g, {}), UnboundInput, ("nodes", 0), "'x' and 'y' have no number"),
        (
            lambda g: evaluate(g, {"x": [1.0, 2.0], "y": [1.0]}),
            ShapeMismatch,
            ("inputs", "y"),
            "'y' has 1 numbers and 'x' has 2",
        ),
        (lambda g: evaluate(g, {"x": [1.0], "y": []}), ShapeMismatch, ("inputs", "y"), "'y' has 0 numbers and 'x' has 1"),
        (lambda g: backward(g, {"x": 1.0, "y": 1.0}, ["x", "q"]), UnknownNode, ("wrt", 1), "there is no node 'q'"),
        (lambda g: backward(g, {"x": 1.0, "y": 1.0}, ["x", "x", "q"]), UnknownNode, ("wrt", 2), "there is no node 'q'"),
        (lambda g: hessian(g, {"x": 1.0, "y": 1.0}, ["q"]), UnknownNode, ("wrt", 0), "The nodes are 'x', 's', 'y'"),
        (lambda g: jacobian(g, {"x": 1.0, "y": 1.0}, ["q"]), UnknownNode, ("wrt", 0), "there is no node 'q'"),
        (lambda g: hvp(g, {"x": 1.0, "y": 1.0}, {"x": 1.0}, ["q"]), UnknownNode, ("wrt", 0), "there is no node 'q'"),
        (lambda g: check_gradients(g, {"x": 1.0, "y": 1.0}, ["q"]), UnknownNode, ("wrt", 0), "there is no node 'q'"),
        (lambda g: jvp(g, {"x": 1.0, "y": 1.0}, {"q": 1.0}), UnknownNode, ("tangents", "q"), "there is no node 'q'"),
        (
            lambda g: jvp(g, {"x": [1.0, 2.0], "y": 1.0}, {"x": [1.0]}),
            ShapeMismatch,
            ("tangents", "x"),
            "the list has 1 numbers, but the number of points is 2",
        ),
        (
            lambda g: hvp(g, {"x": 1.0, "y": 1.0}, {"x": [1.0], "y": [1.0, 2.0]}),
            ShapeMismatch,
            ("tangents", "y"),
            "the list has 2 numbers, but the number of points is 1",
        ),
        (
            lambda g: backward(g, {"x": [1.0, 2.0], "y": 1.0}, cotangent=[1.0] * 3),
            ShapeMismatch,
            ("cotangent",),
            "the list has 3 numbers, but the number of points is 2",
        ),
    ],
)
def test_inputs_that_do_not_fit_are_refused(
    call: Callable[[Graph], object], kind: type[Exception], path: tuple[str | int, ...], message: str
) -> None:
    with pytest.raises(kind) as caught:
        call(parse("s = sin(x); s + y"))
    assert caught.value.place == path  # type: ignore[attr-defined]
    assert message in caught.value.detail  # type: ignore[attr-defined]


@pytest.mark.parametrize("count", [1, 50])
def test_an_input_among_many_that_is_an_operation_is_refused(count: int) -> None:
    names = [f"x{k}" for k in range(count)]
    graph = parse(f"s = {' + '.join(names)}; s*s")
    with pytest.raises(InvalidNode, match="'s' is the operation") as caught:
        evaluate(graph, dict.fromkeys(names, 1.0) | {"s": 2.0})
    assert caught.value.place == ("inputs", "s")


def test_an_unbound_leaf_is_named_with_its_place() -> None:
    nodes = (Node("y", "exp", ("x",)), Node("unused", "value"), Node("x", "value"))
    with pytest.raises(UnboundInput) as caught:
        backward(Graph(nodes, ("y",)))
    assert caught.value.place == ("nodes", 2)
    assert caught.value.detail == "'x' has no number"


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ("2*x", "'x' has no number"),
        ("x + y", "'x' and 'y' have no number"),
        ("x + sin", "'x' and 'sin' have no number; sin is a function, called as sin(...)"),
        ("E - E + PI*Pi", "'E', 'PI' and 'Pi' have no number; the constant 2.718... is written e; the constant is written pi"),
    ],
)
def test_unbound_names_of_a_text_may_be_functions_or_constants(text: str, detail: str) -> None:
    with pytest.raises(UnboundInput) as caught:
        backward(parse(text))
    assert caught.value.detail == detail


def test_a_text_is_parsed_first() -> None:
    for transform in (evaluate, hessian, jacobian, check_gradients):
        with pytest.raises(TypeError, match=r"parse\(text\)"):
            transform("x**2", {"x": 1.0})  # type: ignore[arg-type]
    for along in (jvp, hvp):
        with pytest.raises(TypeError, match=r"parse\(text\)"):
            along("x**2", {"x": 1.0}, {"x": 1.0})  # type: ignore[arg-type]


def test_the_first_unbound_leaf_is_the_first_given() -> None:
    """The message depends on the order of the nodes, not on the order of the walk."""
    nodes = (Node("b", "value"), Node("a", "value"), Node("y", "add", ("a", "b")))
    for order in permutations(nodes):
        with pytest.raises(UnboundInput) as caught:
            evaluate(Graph(order, ("y",)))
        first, second = (node.id for node in order if node.op == "value")
        assert caught.value.detail == f"'{first}' and '{second}' have no number"


def test_inputs_override_data() -> None:
    graph = Graph((Node("x", "value", data=3.0), Node("y", "square", ("x",))), ("y",))
    assert evaluate(graph)["y"] == 9.0
    assert evaluate(graph, {"x": 4.0})["y"] == 16.0
    assert evaluate(graph, {"x": [4.0, 5.0]})["y"].tolist() == [16.0, 25.0]  # type: ignore[union-attr]


# --- check_gradients


@pytest.mark.parametrize("points", [None, 3, 100])
def test_check_reports_all_three(points: int | None) -> None:
    check = check_gradients(parse("sin(x)*y"), spread({"x": 0.7, "y": 2.0}, points))["x"]
    want = 2 * math.cos(0.7)
    for found in (check.reverse, check.forward):
        np.testing.assert_allclose(everywhere(found, points), want, rtol=1e-14)
    np.testing.assert_allclose(everywhere(check.numeric, points), want, rtol=1e-9)
    assert agrees(check, 1e-8) and np.shape(check.relative_error) == (() if points is None else (points,))


@SIZES
def test_check_agrees_where_a_large_value_hides_a_slope_of_zero(points: int | None) -> None:
    """exp(x) - x has the slope 0 at 0. Rounding at 1e7 makes about 1e-7 of it, which is compared with 1 and not with 0."""
    check = check_gradients(parse("exp(x) - x + 1e7"), spread({"x": 0.0}, points))["x"]
    assert agrees(check, 1e-6) and np.all(everywhere(check.numeric, points) != 0.0)


@SIZES
@pytest.mark.parametrize(
    "text",
    [
        "relu(x)",
        "x if x > 0 else 2*x",
        "leaky_relu(x)",
        "sqrt(x)",
        "1e7*abs(x) + relu(x)",
        "3 + 1e-8*relu(x)",
        "1e-8*relu(-x) - 3",
    ],
)
def test_check_does_not_agree_at_a_kink(text: str, points: int | None) -> None:
    """At a kink, a difference quotient is between the slopes of both sides. However steep these are, what is small is not 0."""
    assert not agrees(check_gradients(parse(text), spread({"x": 0.0}, points))["x"], 1e-6)


@SIZES
def test_check_agrees_at_a_tie(points: int | None) -> None:
    """A central difference gives half of the slope on each side too."""
    check = check_gradients(parse("max(x, 0)*3"), spread({"x": 0.0}, points))["x"]
    assert agrees(check, 1e-9) and np.all(everywhere(check.reverse, points) == 1.5)


def test_check_catches_a_wrong_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slope of sin that is wrong by 1e-4 in the table that the batch walk reads; the compiled code keeps the right one."""
    code = OPCODE["sin"]
    wrong = replace(PRIMITIVES[code], d=(lambda x, out: np.cos(x) * 1.0001,))
    graph = parse("exp(sin(x))")
    many, one = {"x": np.linspace(-1.0, 1.0, 100)}, {"x": 0.3}
    assert agrees(check_gradients(graph, many)["x"], 1e-8)
    monkeypatch.setattr(batch, "PRIMITIVES", (*PRIMITIVES[:code], wrong, *PRIMITIVES[code + 1 :]))
    check = check_gradients(graph, many)["x"]
    assert not agrees(check, 1e-6)
    np.testing.assert_allclose(check.reverse, check.forward, rtol=1e-14)
    assert agrees(check_gradients(graph, one)["x"], 1e-8)


@pytest.mark.parametrize("tolerance", [0.0, 1e-6])
def test_error_as_large_as_the_tolerance_agrees(tolerance: float) -> None:
    more = math.nextafter(tolerance, 1.0)
    assert agrees(Check(1.0, 1.0, 1.0, tolerance), tolerance) and not agrees(Check(1.0, 1.0, 1.0, more), tolerance)
    column = np.array([0.0, tolerance])
    assert agrees(Check(1.0, 1.0, 1.0, column), tolerance)
    assert not agrees(Check(1.0, 1.0, 1.0, np.array([0.0, more])), tolerance)


def test_check_of_nan_does_not_agree() -> None:
    assert not agrees(check_gradients(parse("log(x)"), {"x": -1.0})["x"], 1e9)
    assert not agrees(check_gradients(parse("log(x)"), {"x": [1.0, -1.0]})["x"], 1e9)


@pytest.mark.parametrize("points", [None, 3, 100])
def test_check_by_operations_dead_nodes_and_the_output(points: int | None) -> None:
    graph = Graph(
        (
            Node("x", "value"),
            Node("y", "value", data=2.0),
            Node("s", "sin", ("x",)),
            Node("f", "mul", ("s", "y")),
            Node("g", "exp", ("f",)),
            Node("dead", "log", ("y",)),
        ),
        ("g",),
    )
    checks = check_gradients(graph, spread({"x": 0.5}, points), graph.names)
    f = 2 * math.sin(0.5)
    want = {"x": 2 * math.cos(0.5), "y": math.sin(0.5), "s": 2.0, "f": 1.0}
    for name, slope in want.items():
        assert agrees(checks[name], 1e-8)
        np.testing.assert_allclose(everywhere(checks[name].numeric, points), slope * math.exp(f), rtol=1e-9)
    assert agrees(checks["g"], 1e-8) and np.all(everywhere(checks["g"].reverse, points) == 1.0)
    assert np.all(everywhere(checks["dead"].numeric, points) == 0.0)


def test_check_by_an_operation_needs_no_numbers_for_dead_code() -> None:
    """Neither does the gradient itself, nor the check by a leaf."""
    nodes = (
        Node("x", "value"),
        Node("u", "value"),
        Node("dead", "log", ("u",)),
        Node("s", "sin", ("x",)),
        Node("y", "exp", ("s",)),
    )
    checks = check_gradients(Graph(nodes, ("y",)), {"x": 1.0}, ["x", "s"])
    assert agrees(checks["x"], 1e-8) and agrees(checks["s"], 1e-8)


@for_each(
    ("function", "x", "slope"),
    [
        (np.sin, 1.0, math.cos(1.0)),
        (np.exp, 20.0, math.exp(20.0)),
        (lambda x: 1e-8 * x**3, 2.0, 1.2e-7),
        (np.log, 1e-3, 1e3),
        (np.log, 1e-14, 1e14),  # closer to the edge than the smallest step of those from 1/80
        (lambda x: 1.0 / x, 1e-6, -1e12),
        (lambda x: x * 0.0 + 3.0, 5.0, 0.0),
        (np.sqrt, 1e12, 0.5e-6),
        # The step is most of a period, and what is computed from x is rounded to 1e-11 of one.
        (lambda x: np.sin(1e5 * x), 0.9992493717998397, float(1e5 * mpmath.cos(1e5 * mpmath.mpf(0.9992493717998397)))),
    ],
)
def test_difference_quotient_is_accurate_to_nine_digits(function: Callable[[Any], Any], x: float, slope: float) -> None:
    """Ridders' extrapolation to nine digits or so, close to the edge of a domain and far from 1."""
    quotient, uncertainty, _ = difference_quotient(function, x, function(x))
    assert quotient == pytest.approx(slope, rel=1e-8, abs=1e-12)
    assert abs(float(quotient) - slope) <= 100.0 * float(uncertainty)
    column = difference_quotient(function, np.array([x, 1.5 * x]), function(np.array([x, 1.5 * x]))).value
    assert np.asarray(column)[0] == pytest.approx(slope, rel=1e-8, abs=1e-12)


@pytest.mark.parametrize(
    ("function", "x", "slope"),
    [
        (np.exp, 0.5, math.exp(0.5)),
        (np.sin, 0.7, math.cos(0.7)),
        (np.tan, 1.2, 1 + math.tan(1.2) ** 2),
        (np.log, 3.0, 1 / 3),
        (np.tanh, 2.0, 1 / math.cosh(2.0) ** 2),
        (lambda x: 1 / x, 0.125, -64.0),
    ],
    ids=["exp", "sin", "tan", "log", "tanh", "reciprocal"],
)
def test_extrapolated_differences_of_smooth_functions_have_thirteen_digits(
    function: Callable[[Any], Any], x: float, slope: float
) -> None:
    """The error of a central difference is a series of even powers of the step, and each column takes away one of them."""
    assert difference_quotient(function, x, function(x)).value == pytest.approx(slope, rel=1e-13)
