"""Sparse Hessians and Jacobians: their structure against an independent one, and their numbers against dense ones."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.engine import edges, elimination, sparse, transforms
from app.engine.binding import Seed
from app.engine.elimination import Allowance, Elimination, Mask
from app.engine.graph import Graph, Node
from app.engine.text import parse
from tests.engine.conftest import graphs, leaf_values
from tests.rows import for_each

RECORDED = json.loads((Path(__file__).parent / "recorded" / "casadi_patterns.json").read_text("utf-8"))["cases"]
SEEDS = st.integers(0, 2**32 - 1)
NAN = math.nan
ONE_STEP = Allowance(most_steps=1)
"""With which nothing can be eliminated, so that a mask is used."""
PLANS = pytest.mark.parametrize(
    ("allowance", "kind"), [pytest.param(Allowance(), Elimination, id="edges"), pytest.param(ONE_STEP, Mask, id="mask")]
)

# --- structure, in sets of names: what is not linear in which arguments, from calculus

CURVED = {"sin", "exp", "tanh", "sigmoid", "square", "log1p", "elu", "softplus"}
STRAIGHT = {"neg", "relu", "abs", "leaky_relu"}
FLAT = {"sign", "lt", "ge", "eq"}
PAIRS = {
    "add": (), "sub": (), "sum": (), "mean": (), "min": (), "max": (), "mul": ((0, 1),), "divide": ((0, 1), (1, 1)),
    "hypot": ((0, 0), (0, 1), (1, 1)), "atan2": ((0, 0), (0, 1), (1, 1)), "where": (), "prod": ((0, 1), (0, 2), (1, 2)),
    "logsumexp": ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)),
}  # fmt: skip
ARITY = {"sum": 3, "mean": 3, "where": 3, "prod": 3, "logsumexp": 3}


def pairs_of(op: str, count: int) -> tuple[tuple[int, int], ...]:
    """The pairs of arguments by which an operation has second derivatives."""
    if op == "pow":
        return ((0, 0),) if count == 1 else ((0, 0), (0, 1), (1, 1))
    return PAIRS.get(op, ((0, 0),) if op in CURVED else ())


def passing(node: Node) -> list[str]:
    """The arguments on which a node depends with a slope, if any."""
    if node.op in FLAT:
        return []
    return [arg for arg in (node.args[1:] if node.op == "where" else node.args) if isinstance(arg, str)]


def structure(graph: Graph, wrt: list[str]) -> tuple[set[tuple[str, str]], set[tuple[str, str]]]:
    """The pairs (output, name) of a Jacobian and the unordered pairs of names of the first output's Hessian."""
    nodes = {node.id: node for node in graph.nodes}
    depends: dict[str, set[str]] = {}

    def reach(name: str) -> set[str]:
        if name not in depends:
            depends[name] = {name} & set(wrt)
            for arg in passing(nodes[name]):
                depends[name] |= reach(arg)
        return depends[name]

    needed: list[str] = [graph.output]
    found: set[tuple[str, str]] = set()
    for name in needed:
        node = nodes[name]
        reach(name)
        needed += [arg for arg in passing(node) if arg not in needed]
        named = [arg for arg in node.args if isinstance(arg, str)]
        for i, j in pairs_of(node.op, len(named)):
            if max(i, j) < len(node.args):
                both = [reach(arg) if isinstance(arg, str) else set() for arg in (node.args[i], node.args[j])]
                found |= {(min(a, b), max(a, b)) for a in both[0] for b in both[1]}
    return {(output, name) for output in graph.outputs for name in reach(output)}, found


def random_graph(seed: int, leaves: int, size: int, outputs: int) -> Graph:
    """A random graph whose numbers stay moderate: leaves, then operations on nodes that are often near."""
    rng = np.random.default_rng(seed)
    ops = [*CURVED - {"exp", "log1p", "square"}, *STRAIGHT, *FLAT, *PAIRS, "pow"]
    nodes = [Node(f"x{k}", "value", data=float(rng.uniform(0.2, 1.5))) for k in range(leaves)]
    for k in range(size):
        op = str(rng.choice(sorted(ops)))
        near = rng.integers(max(0, len(nodes) - 2 * leaves), len(nodes), 3).tolist()
        far = rng.integers(0, len(nodes), 3).tolist()
        args: list[Any] = [nodes[a if rng.random() < 0.7 else b].id for a, b in zip(near, far, strict=True)]
        count = ARITY.get(op, 2 if op in PAIRS or op in {"lt", "ge", "eq"} else 1)
        if op == "pow":
            nodes += [Node(f"q{k}", "tanh", (args[0],)), Node(f"v{k}", "pow", (f"q{k}", 3))]
        elif op == "divide":
            nodes += [Node(f"q{k}", "softplus", (args[1],)), Node(f"v{k}", "divide", (args[0], f"q{k}"))]
        else:
            nodes.append(Node(f"v{k}", op, tuple(args[:count])))
            if op in ("mul", "prod", "sum"):
                nodes[-1] = nodes[-1]._replace(id=f"q{k}")
                nodes.append(Node(f"v{k}", "sin", (f"q{k}",)))
    if outputs == 1:
        nodes.append(Node("out", "sum", tuple(f"v{k}" for k in range(size - 6, size))))
        return Graph(tuple(nodes), ("out",))
    chosen = rng.choice(size, outputs, replace=False).tolist()
    return Graph(tuple(nodes), tuple(f"v{k}" for k in chosen))


def with_output(graph: Graph, output: str) -> Graph:
    return Graph(graph.nodes, (output,))


def hessian_places(found: sparse.SparseHessian) -> set[tuple[str, str]]:
    """The unordered pairs of names, after a look at the order of the entries."""
    rows, columns = found.pattern.rows.tolist(), found.pattern.columns.tolist()
    places = list(zip(rows, columns, strict=True))
    assert places == sorted(set(places)) and all(row >= column for row, column in places)
    pairs = [(found.names[row], found.names[column]) for row, column in places]
    return {(min(pair), max(pair)) for pair in pairs}


def jacobian_places(graph: Graph, found: sparse.SparseJacobian) -> set[tuple[str, str]]:
    """The pairs of an output and a name, after a look at the order of the entries."""
    places = list(zip(found.pattern.rows.tolist(), found.pattern.columns.tolist(), strict=True))
    assert places == sorted(set(places))
    return {(graph.outputs[row], found.names[column]) for row, column in places}


@PLANS
@given(SEEDS)
def test_structure_of_a_hessian_is_that_of_sets_of_names(allowance: Allowance, kind: type, seed: int) -> None:
    graph = random_graph(seed, 8, 30, 1)
    found = sparse.hessian(graph, allowance=allowance)
    assert hessian_places(found) == structure(graph, list(graph.leaves))[1]
    assert isinstance(graph.plans["hessian"][1], kind | Elimination)


@PLANS
@given(SEEDS)
def test_structure_of_a_jacobian_is_that_of_sets_of_names(allowance: Allowance, kind: type, seed: int) -> None:
    graph = random_graph(seed, 8, 30, 5)
    found = sparse.jacobian(graph, allowance=allowance)
    assert jacobian_places(graph, found) == structure(graph, list(graph.leaves))[0]
    assert isinstance(graph.plans["jacobian"][1], kind | Elimination)


@given(SEEDS)
def test_structure_by_operations_too(seed: int) -> None:
    """By an operation, a derivative is that by a number added to its result."""
    graph = random_graph(seed, 4, 20, 3)
    wrt = [*graph.leaves, *(f"v{k}" for k in range(0, 20, 3))][::-1]
    assert jacobian_places(graph, sparse.jacobian(graph, {}, wrt)) == structure(graph, wrt)[0]
    first = with_output(graph, graph.output)
    assert hessian_places(sparse.hessian(first, {}, wrt)) == structure(first, wrt)[1]


@for_each("name", RECORDED)
def test_structure_is_that_of_casadi(name: str) -> None:
    case = RECORDED[name]
    names = list(case["variables"])
    text = "; ".join(f"f{k} = {output}" for k, output in enumerate(case["outputs"]))
    parsed = parse(text)
    graph = Graph(parsed.nodes, tuple(f"f{k}" for k in range(len(case["outputs"]))), parsed.names, "text")
    inputs = dict.fromkeys(names, 0.5)
    jacobian = sparse.jacobian(graph, inputs, names)
    assert np.column_stack([jacobian.pattern.rows, jacobian.pattern.columns]).tolist() == case["jacobian"]
    hessian = sparse.hessian(with_output(graph, "f0"), inputs, names)
    assert np.column_stack([hessian.pattern.rows, hessian.pattern.columns]).tolist() == case["hessian"]


# --- numbers


def dense(found: sparse.SparseHessian) -> np.ndarray[Any, Any]:
    """The whole matrix, of shape (n, n) or (n, n, points)."""
    entries, (rows, columns) = np.asarray(found.entries), (found.pattern.rows, found.pattern.columns)
    matrix = np.zeros((len(found.names), len(found.names), *entries.shape[1:]))
    matrix[rows, columns] = entries
    matrix[columns, rows] = entries
    return matrix


def matrix_of(tables: Mapping[str, Mapping[str, Any]]) -> np.ndarray[Any, Any]:
    return np.array([list(dict(row).values()) for row in tables.values()])


def assert_near(got: Any, want: Any, tolerance: float = 1e-12) -> None:
    """Equality to `tolerance`, relative to the largest number: the sums over paths are formed in another order."""
    np.testing.assert_allclose(got, want, rtol=0.0, atol=tolerance * max(1.0, np.nanmax(np.abs(want), initial=0.0)))


@PLANS
@given(SEEDS)
def test_hessian_is_the_dense_one(allowance: Allowance, kind: type, seed: int) -> None:
    graph = random_graph(seed, 8, 30, 1)
    wrt = [*graph.leaves, "v7", "v20"]
    found, whole = sparse.hessian(graph, {}, wrt, allowance=allowance), transforms.hessian(graph, {}, wrt)
    assert found.value == whole.value
    np.testing.assert_array_equal(found.gradient, list(dict(whole.gradients).values()))  # NaN where the other is NaN
    assert_near(dense(found), matrix_of(whole.hessian))


@PLANS
@given(SEEDS)
def test_jacobian_is_the_dense_one(allowance: Allowance, kind: type, seed: int) -> None:
    graph = random_graph(seed, 8, 30, 5)
    wrt = [*graph.leaves, "v7", "v20"]
    found, whole = sparse.jacobian(graph, {}, wrt, allowance=allowance), transforms.jacobian(graph, {}, wrt)
    assert found.values == list(whole.values.values())
    matrix = np.zeros((5, len(wrt)))
    matrix[found.pattern.rows, found.pattern.columns] = found.entries
    assert_near(matrix, matrix_of(whole.jacobian))


def test_hessian_from_a_mask_is_the_dense_one_bit_by_bit() -> None:
    graph = random_graph(1, 10, 60, 1)
    found = sparse.hessian(graph, allowance=ONE_STEP)
    assert isinstance(graph.plans["hessian"][1], Mask)
    whole = matrix_of(transforms.hessian(graph).hessian)
    assert np.asarray(found.entries).tolist() == whole[found.pattern.rows, found.pattern.columns].tolist()


@given(st.data(), SEEDS)
def test_columns_are_products_with_unit_tangents(data: st.DataObject, seed: int) -> None:
    graph = data.draw(graphs(most=12))
    inputs = leaf_values(graph, None, seed)
    found = sparse.hessian(graph, inputs)
    matrix = dense(found)
    for k, name in enumerate(found.names):
        product = transforms.hvp(graph, inputs, {name: 1.0}).hvp
        assert_near(matrix[:, k], [product[other] for other in found.names], 1e-10)


CASES = [
    ("where(x > 0, log(x), x*y)", {"x": -1.0, "y": 2.0}),  # branch not taken is NaN
    ("where(x > 0, log(x)*y, x*y)", {"x": [-1.0, 0.0, 3.0] * 30, "y": 2.0}),  # branches at many points
    ("relu(x)*y + relu(-x)*y*y", {"x": 0.0, "y": 3.0}),  # kink of relu
    ("relu(x*y)*log(z) + x*z", {"x": 0.0, "y": 3.0, "z": 0.0}),  # kink beside an infinity
    ("abs(x)*y*y + max(x, y)**2", {"x": 2.0, "y": 2.0}),  # tie
    ("min(x*x, 1/y) + y*y", {"x": 1.0, "y": 0.0}),  # infinity not selected
    ("max(x*x, 1/y) + y*y", {"x": 1.0, "y": 0.0}),  # infinity selected
    ("x**2 + (x*y)**1 + x**0", {"x": 0.0, "y": -1.0}),  # powers of zero
    ("x**y", {"x": 0.0, "y": 2.0}),  # zero to a power
    ("sqrt(x)*y", {"x": 0.0, "y": 0.0}),  # zero times infinity
    ("sigmoid(log(x))*y", {"x": 0.0, "y": 1.0}),  # zero that does not select
    ("sign(log(x))*y*y + x*y", {"x": 0.0, "y": 1.0}),  # flat behind an infinity
    ("hypot(x, y)*x", {"x": 0.0, "y": 0.0}),  # kink of hypot
    ("prod(x, y, z)*x", {"x": 0.0, "y": 0.0, "z": 2.0}),  # product with zeros
    ("logsumexp(x, y, z)*x", {"x": 800.0, "y": 1.0, "z": -800.0}),  # logsumexp far out
    ("exp(x)*exp(x)*0*y + x*y", {"x": 800.0, "y": 1.0}),  # overflow
    ("(x < y)*x*y + elu(x)", {"x": 1.0, "y": 1.0}),  # comparison
]


@PLANS
@for_each(("text", "inputs"), CASES)
def test_conventions_are_those_of_dense_matrices(allowance: Allowance, kind: type, text: str, inputs: dict[str, Any]) -> None:
    """The same numbers, and NaN and infinity in the same places."""
    graph = parse(text)
    whole = transforms.hessian(graph, inputs)
    found = sparse.hessian(graph, inputs, allowance=allowance)
    np.testing.assert_allclose(dense(found), matrix_of(whole.hessian), rtol=1e-13, atol=0.0)
    outputs = Graph(graph.nodes, graph.outputs * 2, graph.names, "text")
    rows = sparse.jacobian(outputs, inputs, allowance=allowance)
    matrix = np.zeros((2, len(rows.names), *np.asarray(rows.entries).shape[1:]))
    matrix[rows.pattern.rows, rows.pattern.columns] = rows.entries
    wanted = np.array(list(dict(whole.gradients).values()))
    np.testing.assert_allclose(matrix, np.stack([wanted, wanted]), rtol=1e-13, atol=0.0)


@pytest.mark.parametrize("points", [1, 3, 100])
@PLANS
def test_many_points_are_each_point_alone(allowance: Allowance, kind: type, points: int) -> None:
    graph = parse("where(x > y, sin(x*y)*z, x/z) + relu(y - x)*z**2 + logsumexp(x, y, z)")
    columns: dict[str, Seed] = {"x": np.linspace(-1.0, 2.0, points), "y": np.linspace(1.0, 0.0, points), "z": 1.5}
    found = sparse.hessian(graph, columns, allowance=allowance)
    assert np.asarray(found.entries).shape == (len(found.pattern.rows), points)
    for k in range(points):
        alone: dict[str, Seed] = {name: float(x[k]) if isinstance(x, np.ndarray) else x for name, x in columns.items()}
        assert_near(dense(found)[..., k], matrix_of(transforms.hessian(graph, alone).hessian))


@pytest.mark.parametrize("reduce", ["sum", "mean"])
@PLANS
def test_reduced_entries_are_sums_over_the_points(allowance: Allowance, kind: type, reduce: Any) -> None:
    graph = parse("sin(a*x)*b + a*a*x")
    inputs: dict[str, Seed] = {"x": np.linspace(-1.0, 2.0, 100), "a": 0.5, "b": 2.0}
    found = sparse.hessian(graph, inputs, reduce=reduce, allowance=allowance)
    assert list(found.names) == ["a", "b"]
    each = dense(sparse.hessian(graph, inputs, ["a", "b"]))
    want = [[math.fsum(entry) / (100 if reduce == "mean" else 1) for entry in row] for row in each.tolist()]
    assert_near(dense(found), want)
    rows = sparse.jacobian(graph, inputs, reduce=reduce, allowance=allowance)
    whole = transforms.jacobian(graph, inputs, reduce=reduce).jacobian["output"]
    for name, entry in zip((rows.names[k] for k in rows.pattern.columns), rows.entries, strict=True):
        np.testing.assert_allclose(entry, whole[name], rtol=1e-14)


# --- graphs that fill in, and graphs in pieces


def blocks(count: int, size: int) -> Graph:
    """A sum of squares of sums, whose Hessian is 2 in blocks on the diagonal."""
    nodes = [Node(f"x{b}_{k}", "value", data=0.1) for b in range(count) for k in range(size)]
    for b in range(count):
        nodes += [
            Node(f"s{b}", "sum", tuple(f"x{b}_{k}" for k in range(size))),
            Node(f"q{b}", "square", (f"s{b}",)),
        ]
    return Graph((*nodes, Node("out", "sum", tuple(f"q{b}" for b in range(count)))), ("out",))


def assert_blocks(found: sparse.SparseHessian, count: int, size: int) -> None:
    assert np.asarray(found.entries).tolist() == [2.0] * (count * size * (size + 1) // 2)
    assert (found.pattern.rows // size == found.pattern.columns // size).all()


def test_steps_may_outgrow_their_first_room() -> None:
    """All of it is asked for: four numbers of four bytes a step, and two more to find them."""
    graph, asked = blocks(20, 30), list[int]()
    assert_blocks(sparse.hessian(graph, allowance=Allowance(room=asked.append)), 20, 30)
    plan = graph.plans["hessian"][1]
    assert isinstance(plan, Elimination) and len(plan.steps) > 2 * elimination.LEAST_STEPS + 4 * len(graph.tape.code)
    assert len(asked) > 1 and sum(asked) >= 24 * len(plan.steps)


@pytest.mark.parametrize("piece", [1, 7, 100])
def test_pieces_give_the_same_steps(piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = sparse.hessian(random_graph(3, 10, 60, 1))
    calls: list[None] = []
    monkeypatch.setattr(elimination, "PIECE", piece)
    graph = random_graph(3, 10, 60, 1)
    found = sparse.hessian(graph, checkpoint=lambda: calls.append(None))
    assert np.asarray(found.entries).tolist() == np.asarray(whole.entries).tolist()
    assert len(calls) >= len(graph.plans["hessian"][1].steps) // (piece + edges.MOST_STEPS_BESIDES + 40)


def test_checkpoint_stops_the_search_for_steps() -> None:
    class Stop(Exception):
        pass

    def stop() -> None:
        raise Stop

    with pytest.raises(Stop):
        sparse.hessian(blocks(2, 3), checkpoint=stop)


def test_much_that_is_mixed_before_little_comes_out_is_computed_from_a_dense_matrix() -> None:
    """A square of a sum of 500 functions of two variables: edge pushing would take 250,000 steps for 3 entries."""
    terms = " + ".join(f"sin({k}*x)*cos({k}*y)" for k in range(1, 501))
    graph = parse(f"({terms})**2")
    found = sparse.hessian(graph, {"x": 0.3, "y": 0.4})
    assert isinstance(graph.plans["hessian"][1], Mask) and hessian_places(found) == {("x", "x"), ("x", "y"), ("y", "y")}
    assert_near(dense(found), matrix_of(transforms.hessian(graph, {"x": 0.3, "y": 0.4}).hessian))


@pytest.mark.parametrize("count", [17, 63, 64, 65, 130])
def test_masks_of_more_columns_than_a_word_has_bits(count: int) -> None:
    graph = blocks(1, count)
    assert_blocks(sparse.hessian(graph, allowance=ONE_STEP), 1, count)
    assert isinstance(graph.plans["hessian"][1], Mask)


def test_large_dense_hessians_are_those_of_products() -> None:
    """With more than 16 columns a dense Hessian may come from edge pushing; here it does."""
    graph = random_graph(5, 40, 200, 1)
    whole = transforms.hessian(graph)
    assert graph.plans["steps"][1] is not None
    for name in graph.leaves:
        assert_near(list(dict(whole.hessian[name]).values()), list(dict(transforms.hvp(graph, {}, {name: 1.0}).hvp).values()))


def test_large_dense_hessian_does_without_edge_pushing_where_it_fills_in() -> None:
    graph = blocks(1, 60)
    assert matrix_of(transforms.hessian(graph).hessian).tolist() == [[2.0] * 60] * 60
    assert graph.plans["steps"][1] is None


def test_next_evaluation_takes_the_same_steps() -> None:
    graph = parse("sin(x*y)")
    first = sparse.hessian(graph, {"x": 1.0, "y": 2.0})
    second = sparse.hessian(graph, {"x": 2.0, "y": 1.0})
    assert second.pattern is first.pattern and np.asarray(second.entries).tolist() != np.asarray(first.entries).tolist()
    assert list(sparse.hessian(graph, {"x": 1.0, "y": 2.0}, ["y"]).pattern.rows) == [0]


@pytest.mark.parametrize("text", ["x + y", "3", "x"])
def test_nothing_is_listed_where_all_is_linear(text: str) -> None:
    found = sparse.hessian(parse(text), {name: 1.0 for name in ("x", "y") if name in text})
    assert len(found.pattern.rows) == len(np.asarray(found.entries)) == 0


def test_a_node_that_the_output_does_not_need_has_no_entries() -> None:
    graph = parse("a = x*x*x; b = y*y; b + y")
    found = sparse.hessian(graph, {"x": 1.0, "y": 2.0}, ["x", "a", "y"])
    assert hessian_places(found) == {("y", "y")} and list(found.names) == ["x", "a", "y"]


def test_allowance_is_asked_before_work_is_done() -> None:
    asked: list[tuple[str, Any]] = []
    allowance = Allowance(
        plan=lambda steps, entries: asked.append(("plan", (steps, entries))),
        dense=lambda size: asked.append(("dense", size)),
        room=lambda size: asked.append(("room", size > 0)),
    )
    graph = parse("x*y*z")
    found = sparse.hessian(graph, dict.fromkeys("xyz", 1.0), allowance=allowance)
    assert [kind for kind, _ in asked] == ["room", "plan"] and asked[1][1][1] == len(found.pattern.rows) == 3
    sparse.hessian(graph, dict.fromkeys("xyz", 2.0), allowance=allowance)
    assert [kind for kind, _ in asked[2:]] == ["plan"]


@pytest.mark.parametrize(("outputs", "size"), [((), 3 * 3), (("f", "g"), 2 * 3)], ids=["Hessian", "Jacobian"])
def test_allowance_is_asked_for_a_dense_matrix_before_it_is_made(outputs: tuple[str, ...], size: int) -> None:
    """Each time, also of a plan that is there already; for its mask, of one byte per entry, only the first time."""
    asked: list[tuple[str, int]] = []
    allowance = Allowance(
        dense=lambda size: asked.append(("dense", size)), room=lambda size: asked.append(("room", size)), most_steps=1
    )
    graph = parse("f = sin(x*y*z); g = f*f*x")
    graph = Graph(graph.nodes, outputs or graph.outputs, graph.names, "text")
    matrix: Any = sparse.jacobian if outputs else sparse.hessian
    matrix(graph, dict.fromkeys("xyz", 1.0), allowance=allowance)
    tried = [kind for kind, _ in asked].index("dense")
    assert asked[tried:] == [("dense", size), ("room", size), ("dense", size)]
    matrix(graph, dict.fromkeys("xyz", 2.0), allowance=allowance)
    assert asked[tried + 3 :] == [("dense", size)]


def test_large_dense_hessians_of_one_graph_are_by_the_names_that_are_asked_for() -> None:
    graph = parse(" + ".join(f"{k}*x{k}**2" for k in range(1, 41)))
    inputs = {f"x{k}": 1.0 for k in range(1, 41)}
    for asked in (range(1, 21), range(21, 41)):
        found = matrix_of(transforms.hessian(graph, inputs, [f"x{k}" for k in asked]).hessian)
        assert found.tolist() == np.diag([2.0 * k for k in asked]).tolist()


def test_plan_is_for_the_nodes_that_are_differentiated_by() -> None:
    graph = parse("x**2 + 3*y")
    inputs = {"x": 5.0, "y": 7.0}
    for name, slope, curvature in (("x", 10.0, [2.0]), ("y", 3.0, []), ("x", 10.0, [2.0])):
        assert list(sparse.jacobian(graph, inputs, [name]).entries) == [slope]
        assert list(sparse.hessian(graph, inputs, [name]).entries) == curvature


@given(SEEDS)
def test_order_of_the_nodes_does_not_matter(seed: int) -> None:
    graph = random_graph(seed, 6, 25, 1)
    shuffled = Graph(tuple(graph.nodes[::-1]), graph.outputs)
    found, other = sparse.hessian(graph), sparse.hessian(shuffled, {}, graph.leaves)
    assert hessian_places(found) == hessian_places(other)
    np.testing.assert_array_equal(found.entries, other.entries)


def test_jacobian_of_an_output_that_is_a_leaf_or_stands_twice() -> None:
    graph = parse("f = x*y; g = f + x")
    graph = Graph(graph.nodes, ("x", "g", "g", "y"), graph.names, "text")
    found = sparse.jacobian(graph, {"x": 2.0, "y": 3.0}, ["y", "x", "f"])
    entries = dict(
        zip(zip(found.pattern.rows.tolist(), found.pattern.columns.tolist(), strict=True), found.entries, strict=True)
    )
    g = {0: 2.0, 1: 4.0, 2: 1.0}
    assert entries == {(0, 1): 1.0, (3, 0): 1.0} | {(row, k): number for row in (1, 2) for k, number in g.items()}
