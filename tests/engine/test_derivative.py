"""The derivative of a graph as a graph: against the walks of `transforms`, against mpmath, and how it is written."""

import math
import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.engine import derivative, transforms
from app.engine.derivative import gradient
from app.engine.errors import InvalidNode, UnknownNode
from app.engine.graph import Graph, Node
from app.engine.primitives import OPCODE, PRIMITIVES, WIRE, Primitive
from app.engine.text import parse
from tests.engine.conftest import graphs, leaf_values
from tests.rows import for_each

EACH_ROW = for_each("row", WIRE.values())


def cases(row: Primitive) -> Iterator[tuple[Graph, dict[str, float]]]:
    """The operation on leaves, of as many as it takes, at points of its domain."""
    rng = np.random.default_rng(sum(map(ord, row.name)))
    arities = (len(row.d),) if row.fold is None else (2, 3, 5) if row.fun is not None else (1, 2, 3, 5)
    for arity in arities:
        names = [f"x{k}" for k in range(arity)]
        graph = Graph([*(Node(name, "value") for name in names), Node("f", row.name, tuple(names))], ("f",))
        domain = row.domain if len(row.domain) == arity else ((-3.0, 3.0),) * arity
        for _ in range(5):
            yield graph, {name: float(rng.uniform(*limits)) for name, limits in zip(names, domain, strict=True)}


def slopes(graph: Graph, at: dict[str, Any], wrt: list[str] | None = None) -> list[Any]:
    """The values of the derivatives' graph."""
    found = gradient(graph, wrt)
    return [transforms.evaluate(found, at)[name] for name in found.outputs[1:]]


def assert_close(got: list[Any], want: list[Any], relative: float, what: object) -> None:
    for a, b in zip(got, want, strict=True):
        assert a == pytest.approx(b, rel=relative, abs=1e-300), what


def check_row(row: Primitive) -> None:
    """The rule's values are the partials of the table, and the rule's derivatives its second partials, to rounding."""
    for graph, at in cases(row):
        names = list(at)
        assert_close(
            slopes(graph, at), [transforms.backward(graph, at, names).gradients[x] for x in names], 1e-13, (row.name, at)
        )
        hessian, first = transforms.hessian(graph, at, names).hessian, gradient(graph)
        for x, output in zip(names, first.outputs[1:], strict=True):
            second = slopes(replace(first, outputs=(output,)), at, names)
            assert_close(second, [hessian[x][y] for y in names], 1e-12, (row.name, x, at))


@EACH_ROW
def test_rule_agrees_with_the_compiled_partials(row: Primitive) -> None:
    check_row(row)


@pytest.mark.parametrize(
    ("name", "wrong"), [("sin", ("sin(a)",)), ("hypot", ("b/y", "a/y")), ("mean", ("1",)), ("tan", ("1 + y",))]
)
def test_wrong_rule_is_found(monkeypatch: pytest.MonkeyPatch, name: str, wrong: tuple[str, ...]) -> None:
    rows = list(PRIMITIVES)
    rows[OPCODE[name]] = replace(WIRE[name], symbolic=wrong)
    monkeypatch.setattr(derivative, "PRIMITIVES", tuple(rows))
    monkeypatch.setattr(derivative, "_rules", vars(derivative._rules)["__wrapped__"])  # which does not remember rows
    with pytest.raises(AssertionError):
        check_row(WIRE[name])


@EACH_ROW
def test_kinks_have_the_partials_of_the_conventions(row: Primitive) -> None:
    for point, partials in row.kinks:
        names = [f"x{k}" for k in range(len(point))]
        graph = Graph([*(Node(name, "value") for name in names), Node("f", row.name, tuple(names))], ("f",))
        assert slopes(graph, dict(zip(names, point, strict=True))) == list(partials), point


BRANCHES = [
    ("where(x > 0, log(x), 0)", {"x": 0.0}, [0.0]),
    ("where(x > 0, log(x), 0)", {"x": -1.0}, [0.0]),
    ("where(x > 0, log(x), 0)", {"x": 4.0}, [0.25]),
    ("where(x, log(x), 3)", {"x": 0.0}, [0.0]),
    ("relu(log(x))", {"x": 0.0}, [0.0]),
    ("max(x, sqrt(y))", {"x": 1.0, "y": 0.0}, [1.0, 0.0]),
    ("min(x, y, log(z))", {"x": 1.0, "y": 1.0, "z": math.inf}, [0.5, 0.5, 0.0]),
    ("max(x, y, z)", {"x": 2.0, "y": 2.0, "z": 2.0}, [0.25, 0.25, 0.5]),
    ("h = log(x); where(x > 0, h, 0) + where(x > 1, 2*h, 0)", {"x": 0.5}, [2.0]),
    ("h = log(x); where(x > 0, h, 0) + where(x > 1, 2*h, 0)", {"x": 0.0}, [0.0]),
    ("h = log(x); where(x > 0, h, 0) + where(x > 1, 2*h, 0)", {"x": 2.0}, [1.5]),
    ("where(x > 0, where(y > 0, log(y)*x, 0), 0)", {"x": 1.0, "y": 0.0}, [0.0, 0.0]),
    ("sign(log(x))*y", {"x": 0.0, "y": 2.0}, [0.0, -1.0]),
    ("(x < y)*z", {"x": 1.0, "y": 2.0, "z": 3.0}, [0.0, 0.0, 1.0]),
    ("x**0", {"x": 0.0}, [0.0]),
    ("x**y", {"x": 0.0, "y": 0.0}, [0.0, 0.0]),
    ("x**y", {"x": 0.0, "y": 1.0}, [1.0, 0.0]),
    ("x**3", {"x": 0.0}, [0.0]),
    ("hypot(x, y)", {"x": 0.0, "y": 0.0}, [0.0, 0.0]),
]


@for_each(("text", "at", "want"), BRANCHES)
def test_branch_that_is_not_taken_passes_nothing_on(text: str, at: dict[str, float], want: list[float]) -> None:
    assert slopes(parse(text), at) == want
    columns = {name: [number, number] for name, number in at.items()}
    for column, number in zip(slopes(parse(text), columns), want, strict=True):
        np.testing.assert_array_equal(column, number)


def test_product_with_zeros() -> None:
    graph = parse("prod(x, y, z)")
    assert slopes(graph, {"x": 0.0, "y": 2.0, "z": 3.0}) == [6.0, 0.0, 0.0]
    assert slopes(graph, {"x": 0.0, "y": 0.0, "z": 3.0}) == [0.0, 0.0, 0.0]
    by_x = gradient(graph, ["x"])
    assert slopes(replace(by_x, outputs=("d_x",)), {"x": 0.0, "y": 0.0, "z": 3.0}, ["y", "z"]) == [3.0, 0.0]


@for_each(
    ("text", "function", "x"),
    [
        ("x**3", lambda x: x**3, 1.5),
        ("sin(x)*exp(x)", lambda x: mpmath.sin(x) * mpmath.exp(x), 0.7),
        ("x**x", lambda x: x**x, 1.3),
        ("tanh(x)/x", lambda x: mpmath.tanh(x) / x, 0.8),
        ("erf(x)*log(x)", lambda x: mpmath.erf(x) * mpmath.log(x), 0.6),
        ("atan2(x, 2) + hypot(x, 3)", lambda x: mpmath.atan2(x, 2) + mpmath.hypot(x, 3), 1.1),
        ("asin(x) + atanh(x) + acosh(3 + x)", lambda x: mpmath.asin(x) + mpmath.atanh(x) + mpmath.acosh(3 + x), 0.4),
        ("gelu(x) + silu(x)", lambda x: x * mpmath.ncdf(x) + x / (1 + mpmath.exp(-x)), 0.9),
        ("logsumexp(x, 2*x, 1)", lambda x: mpmath.log(mpmath.exp(x) + mpmath.exp(2 * x) + mpmath.e), 0.3),
        ("prod(x, sin(x), x*x)", lambda x: x**3 * mpmath.sin(x), 0.5),
        ("lgamma(x) + digamma(2*x)", lambda x: mpmath.loggamma(x) + mpmath.digamma(2 * x), 1.7),
        ("softplus(x) + sigmoid(x)", lambda x: mpmath.log1p(mpmath.exp(x)) + 1 / (1 + mpmath.exp(-x)), 0.2),
    ],
)
def test_third_and_fourth_derivative(text: str, function: Any, x: float) -> None:
    graph = parse(text)
    for order in range(1, 5):
        found = gradient(graph, ["x"])
        graph = replace(found, outputs=found.outputs[1:])
        with mpmath.workdps(40):
            want = float(mpmath.diff(function, mpmath.mpf(x), order))
        assert transforms.evaluate(graph, {"x": x})[graph.output] == pytest.approx(want, rel=1e-11), order


@given(graphs(), st.integers(0, 99))
def test_random_graph(graph: Graph, seed: int) -> None:
    """Both ways accumulate in other orders, so they agree up to what cancels."""
    at = leaf_values(graph, 3, seed)
    found, want = gradient(graph), transforms.hessian(graph, at)
    values = transforms.evaluate(found, at)
    np.testing.assert_array_equal(values[graph.output], want.value)
    for leaf, output in zip(graph.leaves, found.outputs[1:], strict=True):
        size = 1.0 + np.max(np.abs(want.gradients[leaf]))
        np.testing.assert_allclose(values[output], want.gradients[leaf], rtol=1e-9, atol=1e-9 * size)
        again = transforms.backward(replace(found, outputs=(output,)), at, list(graph.leaves))
        for other in graph.leaves:
            size = 1.0 + np.max(np.abs(want.hessian[leaf][other]))
            np.testing.assert_allclose(again.gradients[other], want.hessian[leaf][other], rtol=1e-8, atol=1e-8 * size)


# --- how it is written


def written(text: str, *wrt: str) -> dict[str, str]:
    """The nodes of the derivative's graph that the expression does not have: an operation and its arguments by id."""
    graph = parse(text)
    found = gradient(graph, wrt or None)
    own = {node.id for node in graph.nodes}
    return {node.id: f"{node.op}({', '.join(map(str, node.args))})" for node in found.nodes if node.id not in own}


def test_derivatives_are_short() -> None:
    assert written("x*x") == {"d_x": "mul(2.0, x)"}
    assert written("x**2") == {"d_x": "mul(2.0, x)"}
    assert written("3*x + 1") == {"d_x": "sum(3.0)"}
    assert written("exp(x)") == {"d_x": "sum(output)"}
    assert written("log(x)") == {"d_x": "divide(1.0, x)"}
    assert written("y*log(x)", "x") == {"d_x": "divide(y, x)"}
    assert written("5*(2*x)", "x") == {"d_x": "sum(10.0)"}
    assert written("x - y") == {"d_x": "sum(1.0)", "d_y": "sum(-1.0)"}
    assert written("abs(x)*y", "x") == {"%2": "sign(x)", "d_x": "mul(y, %2)"}
    assert written("where(x > 0, x, -x)") == {"d_x": "where(%1, 1.0, -1.0)"}
    assert written("where(x, x, 2*x)") == {"%2": "ne(x, 0.0)", "d_x": "where(%2, 1.0, 2.0)"}


def test_equal_parts_are_made_once() -> None:
    """Those of the expression too: its own sin(y) and x**2 serve in the derivatives."""
    found = written("x**2*sin(y)")
    assert sorted(found.values()) == ["cos(y)", "mul(%1, %3)", "mul(2.0, %4)", "mul(x, %2)"]
    graph = gradient(parse("a = sin(x*y); b = cos(y*x); a + b"))
    keys = [(node.op, *sorted(map(str, node.args))) for node in graph.nodes if node.op not in ("value", "sum")]
    assert len(keys) == len(set(keys)) + 1  # x*y and y*x are the expression's own


def test_outputs_are_named_after_the_nodes() -> None:
    found = gradient(parse("d_x = x*y; d_x + x"), ["x", "y", "x"])
    assert found.outputs == ("output", "d_x_2", "d_y") and found.source == "text"
    assert set(found.names) == {"x", "y", "d_x", "d_x_2", "d_y"} and found.leaves == ("x", "y")
    long = "n" * 128
    graph = Graph([Node(long, "value", (), 2.0), Node("f", "square", (long,))], ("f",))
    found = gradient(graph)
    assert len(found.outputs[1]) == 128 and transforms.evaluate(found)[found.outputs[1]] == 4.0


def test_derivative_by_an_operation_and_by_what_has_no_influence() -> None:
    graph = parse("h = x*x; k = y; h**3")
    assert slopes(graph, {"x": 2.0, "y": 1.0}, ["h", "k", "y"]) == [48.0, 0.0, 0.0]
    assert slopes(graph, {"x": 2.0}, ["output"]) == [1.0]


def test_text_of_nodes_and_of_another_order_is_the_same_derivative() -> None:
    graph = parse("x*sin(x)*y")
    shuffled = Graph(graph.nodes[::-1], graph.outputs)
    assert slopes(graph, {"x": 2.0, "y": 3.0}, ["x", "y"]) == slopes(shuffled, {"x": 2.0, "y": 3.0}, ["x", "y"])


def test_integers_among_the_arguments() -> None:
    graph = Graph([Node("x", "value"), Node("f", "pow", ("x", 3)), Node("g", "mul", ("f", 2))], ("g",))
    assert slopes(graph, {"x": 2.0}) == [24.0]


def test_deep_and_wide_graphs() -> None:
    deep = parse("x" + " + sin(x)" * 5000)
    assert slopes(deep, {"x": 0.0}) == [5001.0]
    wide = Graph([Node("x", "value"), Node("f", "prod", ("x",) * 2000)], ("f",))
    assert slopes(wide, {"x": 1.0}) == [2000.0]


@pytest.mark.parametrize("x", [-25.0, 5.0, 19.0, 300.0])
def test_slope_of_tanh_keeps_its_digits_far_out(x: float) -> None:
    """Where 1 - tanh(x)**2 would have few of them, or none."""
    with mpmath.workdps(40):
        assert slopes(parse("tanh(x)"), {"x": x}) == [pytest.approx(float(mpmath.sech(x) ** 2), rel=1e-13)]


@pytest.mark.parametrize(("count", "has_all_digits"), [(2, True), (4, True), (5, False)])
def test_slopes_of_a_short_logsumexp_keep_their_digits(count: int, has_all_digits: bool) -> None:
    """Those of up to four arguments do so however large the value is; those of five are as short as a person writes them."""
    names = [f"x{k}" for k in range(count)]
    graph = parse(f"logsumexp({', '.join(names)})")
    draw = random.Random(count)
    for _ in range(20 if has_all_digits else 0):
        at = {name: 1e6 + draw.random() for name in names}
        with mpmath.workdps(40):
            total = mpmath.fsum(mpmath.exp(x) for x in at.values())
            want = [mpmath.exp(x) / total for x in at.values()]
        assert_close(slopes(graph, at), want, 2e-15, at)
    found = gradient(graph, ["x0"])
    assert ([node.op for node in found.nodes[len(graph.nodes) :]] == ["sub", "exp"]) is not has_all_digits


def test_zero_among_the_arguments_keeps_its_sign() -> None:
    """1/b is infinite at 0, and -infinite at -0 (IEEE 754, 7.3)."""
    for zero, slope in ((0.0, math.inf), (-0.0, -math.inf)):
        graph = Graph((Node("x", "value"), Node("f", "divide", ("x", zero))), ("f",))
        assert slopes(graph, {"x": 1.0}) == [slope] == [transforms.backward(graph, {"x": 1.0}, ["x"]).gradients["x"]]


def test_errors() -> None:
    with pytest.raises(UnknownNode) as unknown:
        gradient(parse("x*y"), ["x", "z"])
    assert unknown.value.place == ("wrt", 1)


def test_derivatives_by_nothing_are_none() -> None:
    assert gradient(parse("x*y"), []).outputs == derivative.hessian(parse("x*y"), []).outputs == ("output",)


@pytest.mark.parametrize("text", ["a = x*y; sin(a)*exp(z/x) + where(x > 0, log(x), 0)*y", "3*x + y - z", "x**2 + y*z"])
def test_second_derivatives_are_those_of_the_hessian(text: str) -> None:
    """Those of a linear function are derivatives of numbers."""
    graph = parse(text)
    at = {"x": 1.3, "y": 0.7, "z": -0.4}
    found, want = derivative.hessian(graph), transforms.hessian(graph, at)
    values = transforms.evaluate(found, at)
    assert found.outputs[:5] == ("output", "d_x", "d_y", "d_z", "d_x_x") and len(found.outputs) == 1 + 3 + 6
    for i, a in enumerate("xyz"):
        for b in "xyz"[: i + 1]:
            assert values[f"d_{a}_{b}"] == pytest.approx(want.hessian[a][b], rel=1e-13, abs=1e-15)


def test_operation_without_a_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = list(PRIMITIVES)
    rows[OPCODE["erf"]] = replace(WIRE["erf"], symbolic=())
    monkeypatch.setattr(derivative, "PRIMITIVES", tuple(rows))
    monkeypatch.setattr(derivative, "_rules", vars(derivative._rules)["__wrapped__"])  # which does not remember rows
    graph = parse("h = erf(x); 2*h + y")
    for nodes in (graph.nodes, graph.nodes[::-1]):  # each node before those that it needs, too
        with pytest.raises(InvalidNode, match="node 'h': the derivative of erf is no expression") as inexpressible:
            gradient(Graph(nodes, graph.outputs))
        assert inexpressible.value.place == ("nodes", [node.id for node in nodes].index("h"))
    assert slopes(parse("erf(x)*y"), {"x": 0.0, "y": 2.0}, ["y"]) == [0.0]


def test_checkpoint_is_called() -> None:
    class StopError(Exception):
        pass

    def stop() -> None:
        raise StopError

    with pytest.raises(StopError):
        gradient(parse("x*y"), checkpoint=stop)


# --- conventions in random graphs

ROUGH = "where max min relu abs sign lt ge eq ne log sqrt divide mul add sub pow hypot elu leaky_relu prod exp".split()
SPECIAL = [0.0, 1.0, -1.0, 2.0, 0.5, -2.0, 3.0]


def rough_graph(rng: random.Random) -> Graph:
    """A graph of operations with kinks and poles, with numbers among the arguments."""
    nodes, known = [Node(name, "value") for name in "xyz"], list("xyz")
    for k in range(rng.randint(1, 7)):
        row = WIRE[rng.choice(ROUGH) if rng.random() < 0.8 else rng.choice(list(WIRE))]
        count = row.min_arity if row.max_arity is not None else rng.randint(row.min_arity, 4)
        recent = [*known[-4:], *"xyz"]
        arguments = [rng.choice(recent) if rng.random() < 0.85 else rng.choice(SPECIAL) for _ in range(count)]
        nodes.append(Node(f"n{k}", row.name, tuple(arguments)))
        known.append(f"n{k}")
    return Graph(nodes, (known[-1],))


@pytest.mark.slow
def test_random_graphs_at_kinks_and_poles() -> None:
    """Wherever the reverse walk has a finite derivative, so has the graph, and it is the same."""
    rng = random.Random(4)
    compared = selected = 0
    for _ in range(4000):
        graph, at = rough_graph(rng), {name: rng.choice(SPECIAL) for name in "xyz"}
        want = transforms.backward(graph, at, ["x", "y", "z"])
        values = transforms.evaluate(graph, at, everything=True)
        if not math.isfinite(want.value):
            continue
        selected += not all(map(math.isfinite, values.values()))
        for name, got in zip("xyz", slopes(graph, at, ["x", "y", "z"]), strict=True):
            if math.isfinite(want.gradients[name]):
                compared += 1
                assert got == pytest.approx(want.gradients[name], rel=1e-9, abs=1e-9), (graph, at, name)
    assert compared > 5000 and selected > 50


@pytest.mark.slow
def test_checkpoint_is_called_within_a_node_of_many_arguments() -> None:
    """Nodes may have hundreds of thousands of arguments, and each of them its own part of the derivative."""
    for op in ("logsumexp", "prod", "sum"):
        called = 0

        def count() -> None:
            nonlocal called
            called += 1

        def called_with(arguments: int, op: str = op) -> int:
            nonlocal called
            called = 0
            gradient(Graph([Node("x", "value"), Node("f", op, ("x",) * arguments)], ("f",)), checkpoint=count)
            return called

        assert called_with(40_000) > called_with(4_000) + 5, op


def test_nodes_of_the_graph_are_made_when_they_are_accessed() -> None:
    graph = parse("x**2*sin(y)")
    found = gradient(graph)
    nodes = found.nodes
    own = len(graph.nodes)
    assert len(nodes) == len(list(nodes)) and tuple(nodes[:own]) == tuple(graph.nodes)
    for low in range(len(nodes)):
        for high in range(low, len(nodes) + 1):
            assert tuple(nodes[low:high]) == tuple(nodes)[low:high]
    assert nodes[-1] == tuple(nodes)[-1] and tuple(nodes[::2]) == tuple(nodes)[::2]
    assert Graph(nodes, found.outputs, found.names, "text").table is not None
