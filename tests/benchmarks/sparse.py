"""Sparse Hessians and Jacobians against CasADi: from a `Graph` to the entries, and a further evaluation."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from app.engine import sparse, transforms
from app.engine.graph import Graph, Node
from tests.benchmarks.measure import OURS, Contestant, Row, race

CLOSE = 1e-9
BUILT = "casadi build + evaluation"
EVALUATED = "casadi, compiled"
SECONDS_OF_A_MILLION = 5.0


@dataclass(frozen=True)
class Problem:
    """A function of n variables: as a graph, and for CasADi. The start has shape (n,)."""

    name: str
    graph: Graph
    start: np.ndarray
    casadi: Callable[[Any], Any]


def rosenbrock(n: int) -> Problem:
    """The chained function of Rosenbrock, whose Hessian is tridiagonal."""
    start = np.linspace(-1.0, 1.0, n)
    nodes = [Node(f"x{k}", "value", data=float(z)) for k, z in enumerate(start)]
    for k in range(n - 1):
        nodes += [
            Node(f"a{k}", "pow", (f"x{k}", 2)),
            Node(f"b{k}", "sub", (f"x{k + 1}", f"a{k}")),
            Node(f"c{k}", "pow", (f"b{k}", 2)),
            Node(f"d{k}", "mul", (100.0, f"c{k}")),
            Node(f"e{k}", "sub", (1.0, f"x{k}")),
            Node(f"f{k}", "pow", (f"e{k}", 2)),
            Node(f"g{k}", "add", (f"d{k}", f"f{k}")),
        ]
    nodes.append(Node("out", "sum", tuple(f"g{k}" for k in range(n - 1))))

    def casadi(x: Any) -> Any:
        import casadi as ca

        return ca.sum1(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)

    return Problem(f"Rosenbrock, {n:,} variables", Graph(tuple(nodes), ("out",)), start, casadi)


def random_terms(n: int) -> Problem:
    """A sum of 2n terms, each of three random variables and a sine, a product and an exponential."""
    rng = np.random.default_rng(0)
    start = rng.uniform(-1.0, 1.0, n)
    picks = rng.integers(0, n, (2 * n, 3)).tolist()
    nodes = [Node(f"x{k}", "value", data=float(z)) for k, z in enumerate(start)]
    for k, (a, b, c) in enumerate(picks):
        nodes += [
            Node(f"p{k}", "mul", (f"x{a}", f"x{b}")),
            Node(f"s{k}", "sin", (f"p{k}",)),
            Node(f"e{k}", "exp", (f"x{c}",)),
            Node(f"t{k}", "mul", (f"s{k}", f"e{k}")),
        ]
    nodes.append(Node("out", "sum", tuple(f"t{k}" for k in range(2 * n))))

    def casadi(x: Any) -> Any:
        import casadi as ca

        a, b, c = (ca.DM(column) for column in np.array(picks).T)
        return ca.sum1(ca.sin(x[a] * x[b]) * ca.exp(x[c]))

    return Problem(f"random terms, {n:,} variables", Graph(tuple(nodes), ("out",)), start, casadi)


def banded(n: int) -> Problem:
    """The system of Broyden's tridiagonal function (Moré, Garbow, Hillstrom 1981): n outputs, each of three variables."""
    start = np.linspace(-1.0, 1.0, n)
    nodes = [Node(f"x{k}", "value", data=float(z)) for k, z in enumerate(start)]
    for k in range(n):
        nodes += [
            Node(f"a{k}", "mul", (2.0, f"x{k}")),
            Node(f"b{k}", "sub", (3.0, f"a{k}")),
            Node(f"c{k}", "mul", (f"b{k}", f"x{k}")),
        ]
        before = f"c{k}"
        if k:
            nodes.append(Node(f"d{k}", "sub", (before, f"x{k - 1}")))
            before = f"d{k}"
        if k < n - 1:
            nodes += [Node(f"e{k}", "mul", (2.0, f"x{k + 1}")), Node(f"g{k}", "sub", (before, f"e{k}"))]
            before = f"g{k}"
        nodes.append(Node(f"f{k}", "add", (before, 1.0)))
    outputs = tuple(f"f{k}" for k in range(n))

    def casadi(x: Any) -> Any:
        import casadi as ca

        return (3 - 2 * x) * x - ca.vertcat(0, x[:-1]) - ca.vertcat(2 * x[1:], 0) + 1

    return Problem(f"banded system, {n:,} variables", Graph(tuple(nodes), outputs), start, casadi)


def casadi_of(problem: Problem, second: bool) -> tuple[Contestant, Callable[[], Any]]:
    """CasADi's evaluation, with its buffers, and how long it took to build; and what gives the entries as a matrix."""
    import casadi as ca

    n = len(problem.start)
    began = time.perf_counter()
    x = ca.SX.sym("x", n)
    f = problem.casadi(x)
    matrix = ca.tril(ca.hessian(f, x)[0]) if second else ca.jacobian(f, x)
    function = ca.Function("f", [x], [f, ca.gradient(f, x), matrix] if second else [f, matrix])
    built = time.perf_counter() - began
    results = [np.zeros(function.nnz_out(k)) for k in range(function.n_out())]
    buffer, evaluate = function.buffer()
    buffer.set_arg(0, problem.start.data)
    for k, result in enumerate(results):
        buffer.set_res(k, result.data)
    pattern = function.sparsity_out(function.n_out() - 1)
    kept = (function, buffer)  # which the evaluation needs, and does not keep

    def entries() -> Any:
        rows, columns = pattern.get_triplet()
        order = np.lexsort((columns, rows))
        return np.array(rows)[order], np.array(columns)[order], results[-1][order]

    return Contestant(lambda: (evaluate(), kept)[0], built), entries


def compare(problem: Problem, second: bool, repeats: int = 5) -> Iterator[Row]:
    """Both rows of one problem, after a look that the entries are the same."""
    compute: Callable[..., Any] = sparse.hessian if second else sparse.jacobian
    graph = problem.graph
    what = "Hessian" if second else "Jacobian"

    def whole() -> Any:
        return compute(Graph(graph.nodes, graph.outputs, table=graph.table))

    peer, entries = casadi_of(problem, second)
    peer.run()
    rows, columns, numbers = entries()
    found = compute(graph)
    np.testing.assert_array_equal(found.pattern.rows, rows)
    np.testing.assert_array_equal(found.pattern.columns, columns)
    np.testing.assert_allclose(found.entries, numbers, rtol=CLOSE, atol=CLOSE)
    again = {OURS: Contestant(lambda: compute(graph)), EVALUATED: peer}
    later = race(f"sparse {what}, further evaluation, {problem.name}", again, {EVALUATED: 15.0}, repeats)
    first = race(f"sparse {what}, graph to entries, {problem.name}", {OURS: Contestant(whole)}, {BUILT: 1 / 20}, repeats)
    first.seconds[BUILT] = peer.compiled_s + later.seconds[EVALUATED]
    yield first
    yield later


def matrices(sizes: tuple[int, ...], million: bool) -> Iterator[Row]:
    """All problems at these sizes; and, if asked for, a million variables against a bound in seconds."""
    for n in sizes:
        yield from compare(rosenbrock(n), True)
    yield from compare(random_terms(max(sizes) // 10), True)
    yield from compare(banded(max(sizes)), False)
    if million:
        graph = rosenbrock(1_000_000).graph
        began = time.perf_counter()
        found = sparse.hessian(Graph(graph.nodes, graph.outputs, table=graph.table))
        took = time.perf_counter() - began
        assert len(found.pattern.rows) == 1_999_999
        bound = f"{SECONDS_OF_A_MILLION:g} s"
        work = "sparse Hessian, graph to entries, Rosenbrock, 1,000,000 variables"
        yield Row(work, {OURS: took, bound: SECONDS_OF_A_MILLION}, {bound: 1.0})


def dense_in_disguise(n: int) -> Iterator[Row]:
    """All pairs: the sparse way against the dense one, where there is nothing to gain."""
    names = [f"x{k}" for k in range(n)]
    nodes = [Node(name, "value", data=0.5 + k / n) for k, name in enumerate(names)]
    for i in range(n):
        nodes += [Node(f"p{i}_{j}", "mul", (names[i], names[j])) for j in range(i)]
    pairs = tuple(node.id for node in nodes if node.op == "mul")
    graph = Graph((*nodes, Node("s", "sum", pairs), Node("out", "sin", ("s",))), ("out",))

    def fresh() -> Graph:
        return Graph(graph.nodes, graph.outputs, table=graph.table)

    contestants = {
        OURS: Contestant(lambda: sparse.hessian(fresh())),
        "dense": Contestant(lambda: transforms.hessian(fresh())),
    }
    yield race(f"sparse Hessian, all pairs of {n} variables", contestants, {"dense": 3.0}, repeats=5)
