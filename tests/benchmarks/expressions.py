"""Expressions against CasADi, JAX and micrograd: tapes, tables, many points, Jacobians and Hessians."""

import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from app.engine import derivative, kernels, transforms
from app.engine.graph import Graph, Node
from app.engine.tape import record
from app.engine.text import LONG_TEXT, parse
from tests.benchmarks.measure import OURS, Contestant, Row, forget, peak, race
from tests.conftest import Server

UNARY = ("neg", "sin", "cos", "tanh", "sigmoid")
BINARY = ("add", "sub", "mul", "add", "mul")
CLOSE = 1e-9


@dataclass(frozen=True)
class Program:
    """A random program: leaves with numbers, then operations on anything before; what nothing takes is summed."""

    leaves: np.ndarray
    steps: list[tuple[str, list[int]]]
    loose: list[int]

    @property
    def size(self) -> int:
        """The number of nodes, without the sum."""
        return len(self.leaves) + len(self.steps)

    def graph(self) -> Graph:
        """As a graph."""
        names = [f"n{k}" for k in range(self.size)]
        nodes = [Node(names[k], "value", data=float(x)) for k, x in enumerate(self.leaves)]
        first = len(self.leaves)
        nodes += [Node(names[first + k], op, tuple(names[a] for a in args)) for k, (op, args) in enumerate(self.steps)]
        return Graph((*nodes, Node("out", "sum", tuple(names[k] for k in self.loose))), ("out",))

    def run(self, functions: dict[str, Callable[..., Any]], leaves: Any, zero: Any) -> Any:
        """The output, worked out by other functions on other leaves."""
        values = [leaves[k] for k in range(len(self.leaves))]
        for op, args in self.steps:
            values.append(functions[op](*[values[a] for a in args]))
        total = zero
        for k in self.loose:
            total = total + values[k]
        return total


def mixed(size: int, unary: tuple[str, ...] = UNARY, binary: tuple[str, ...] = BINARY, seed: int = 0) -> Program:
    """A mixed program of so many nodes, four in ten of them of one argument; a hundredth are leaves, at least ten."""
    rng = np.random.default_rng(seed)
    count = max(10, size // 100)
    steps: list[tuple[str, list[int]]] = []
    used: set[int] = set()
    for k in range(count, size):
        names, arity = (unary, 1) if rng.random() < 0.4 else (binary, 2)
        args = rng.integers(0, k, arity).tolist()
        used.update(args)
        steps.append((names[rng.integers(len(names))], args))
    return Program(rng.uniform(-1.0, 1.0, count), steps, [k for k in range(count, size) if k not in used])


def walk_of(graph: Graph) -> tuple[Callable[[], None], Callable[[], None], np.ndarray]:
    """Value and all adjoints, and the value alone, on a tape that is made before; and where the values are."""
    tape = record(graph.wiring)
    v, g, p = np.empty(tape.slots), np.zeros(tape.slots), np.empty((len(tape.code), 3))

    def value() -> None:
        v[: tape.leaves] = tape.numbers
        kernels.forward(tape.code, v)

    def run() -> None:
        v[: tape.leaves] = tape.numbers
        kernels.linearize(tape.code, v, p)
        g[:] = 0.0
        g[-1] = 1.0
        kernels.pull(tape.code, p, g)

    return run, value, v


def casadi_of(program: Program) -> tuple[Contestant, np.ndarray, np.ndarray]:
    """CasADi's virtual machine for value and gradient, with its buffers; and where its numbers are."""
    import casadi as ca

    functions = {
        "neg": lambda a: -a, "sin": ca.sin, "cos": ca.cos, "tanh": ca.tanh, "sigmoid": lambda a: 1 / (1 + ca.exp(-a)),
        "add": lambda a, b: a + b, "sub": lambda a, b: a - b, "mul": lambda a, b: a * b,
    }  # fmt: skip
    began = time.perf_counter()
    leaves = [ca.SX.sym(f"x{k}") for k in range(len(program.leaves))]
    out = program.run(functions, leaves, ca.SX(0))
    x = ca.vertcat(*leaves)
    function = ca.Function("f", [x], [out, ca.gradient(out, x)])
    built = time.perf_counter() - began
    buffer, evaluate = function.buffer()
    value, gradient = np.zeros(1), np.zeros(len(leaves))
    buffer.set_arg(0, program.leaves.data)
    buffer.set_res(0, value.data)
    buffer.set_res(1, gradient.data)
    kept = (function, buffer)  # which the evaluation needs, and does not keep
    return Contestant(lambda: (evaluate(), kept)[0], built), value, gradient


def tapes(sizes: tuple[int, ...]) -> Iterator[Row]:
    """Value and all gradients, engine only, and the same from a `Graph` to a table."""
    per_node: dict[int, float] = {}
    for size in sizes:
        program = mixed(size)
        graph = program.graph()
        run, value_alone, v = walk_of(graph)
        peer, value, gradient = casadi_of(program)
        run()
        peer.run()
        table = transforms.backward(graph)
        np.testing.assert_allclose(v[-1], value[0], rtol=CLOSE)
        ours = np.array([table.gradients[f"n{k}"] for k in range(len(program.leaves))])
        np.testing.assert_allclose(ours, gradient, rtol=1e-7, atol=CLOSE)
        contestants = {OURS: Contestant(run), "casadi": peer, "the value alone": Contestant(value_alone)}
        targets = {"casadi": 1.0, "the value alone": 2.5}
        row = race(f"tape: value and all gradients, {size:,} nodes", contestants, targets)
        per_node[size] = row.seconds[OURS] / size
        yield row

        def whole(graph: Graph = graph) -> object:
            return transforms.backward(Graph(graph.nodes, graph.outputs, table=graph.table))

        both = "casadi build + evaluation"
        evaluation = row.seconds["casadi"]
        row = race(f"graph to table, {size:,} nodes", {OURS: Contestant(whole)}, {both: 1 / 20}, repeats=5)
        row.seconds[both] = peer.compiled_s + evaluation
        yield row
    if len(sizes) > 1:
        few, many = min(sizes), max(sizes)
        seconds = {OURS: per_node[many], f"a node of {few:,}": per_node[few]}
        yield Row(f"tape: a node of {many:,}", seconds, {f"a node of {few:,}": 1.3})


def micrograd(size: int) -> Iterator[Row]:
    """The same from a graph to a table, of what micrograd can do; it recurses, so it gets a thread with a large stack."""
    from micrograd.engine import Value

    program = mixed(size, ("neg", "relu"), ("half", "mul"))
    spelled: list[tuple[str, list[int]]] = program.steps
    names = [f"n{k}" for k in range(size)]
    nodes = [Node(names[k], "value", data=float(x)) for k, x in enumerate(program.leaves)]
    for k, (op, args) in enumerate(spelled, len(program.leaves)):
        if op == "half":
            nodes.append(Node(f"s{k}", "add", (names[args[0]], names[args[1]])))
            nodes.append(Node(names[k], "mul", (f"s{k}", 0.5)))
        else:
            nodes.append(Node(names[k], op, tuple(names[a] for a in args)))
    graph = Graph((*nodes, Node("out", "sum", tuple(names[k] for k in program.loose))), ("out",))
    functions: dict[str, Callable[..., Any]] = {
        "neg": lambda a: -a, "relu": lambda a: a.relu(), "half": lambda a, b: (a + b) * 0.5, "mul": lambda a, b: a * b,
    }  # fmt: skip
    found: dict[str, Any] = {}

    def theirs() -> None:
        leaves = [Value(float(x)) for x in program.leaves]
        began = time.perf_counter()
        out = program.run(functions, leaves, Value(0.0))
        out.backward()
        found.update(seconds=time.perf_counter() - began, value=out.data, gradients=[leaf.grad for leaf in leaves])

    sys.setrecursionlimit(10_000_000)
    threading.stack_size(1 << 30)
    thread = threading.Thread(target=theirs)
    thread.start()
    thread.join()
    threading.stack_size(0)
    sys.setrecursionlimit(1000)
    result = transforms.backward(graph)
    np.testing.assert_allclose(float(result.value), found["value"], rtol=CLOSE)
    ours = np.array([result.gradients[f"n{k}"] for k in range(len(program.leaves))])
    np.testing.assert_allclose(ours, found["gradients"], rtol=1e-7, atol=CLOSE)
    row = race(
        f"graph to table, {len(graph.nodes):,} nodes of micrograd's",
        {OURS: Contestant(lambda: transforms.backward(Graph(graph.nodes, graph.outputs, table=graph.table)))},
        {"micrograd": 1 / 200},
    )
    row.seconds["micrograd"] = found["seconds"]
    yield row


POINTS = "h = tanh(a*b + c); u = sin(h*d) + exp(-e2*e2); where(u > 0, log(1 + u*u), h - u) + sqrt(1 + a*a)*d"


def many_points(count: int, threads: int = 1, target: float = 1.0) -> Iterator[Row]:
    """An expression of 20 nodes with 5 gradients at a million points."""
    import jax
    import jax.numpy as jnp

    graph = parse(POINTS)
    names = ("a", "b", "c", "d", "e2")
    rng = np.random.default_rng(0)
    inputs = {name: rng.uniform(-1.0, 1.0, count) for name in names}

    def f(a: Any, b: Any, c: Any, d: Any, e: Any) -> Any:
        h = jnp.tanh(a * b + c)
        u = jnp.sin(h * d) + jnp.exp(-e * e)
        return jnp.where(u > 0, jnp.log(1 + u * u), h - u) + jnp.sqrt(1 + a * a) * d

    compiled = jax.jit(jax.vmap(jax.value_and_grad(f, argnums=(0, 1, 2, 3, 4))))
    arrays = [jnp.asarray(inputs[name]) for name in names]
    began = time.perf_counter()
    value, gradients = jax.block_until_ready(compiled(*arrays))
    took = time.perf_counter() - began
    result = transforms.backward(graph, inputs, names, threads=threads)
    np.testing.assert_allclose(result.value, value, rtol=CLOSE, atol=CLOSE)
    for name, found in zip(names, gradients, strict=True):
        np.testing.assert_allclose(result.gradients[name], found, rtol=CLOSE, atol=CLOSE)
    import autograd
    import autograd.numpy as anp

    def total(a: Any, b: Any, c: Any, d: Any, e: Any) -> Any:
        h = anp.tanh(a * b + c)
        u = anp.sin(h * d) + anp.exp(-e * e)
        return anp.sum(anp.where(u > 0, anp.log(1 + u * u), h - u) + anp.sqrt(1 + a * a) * d)

    eager = autograd.grad(total, argnum=(0, 1, 2, 3, 4))
    for name, found in zip(names, eager(*(inputs[n] for n in names)), strict=True):
        np.testing.assert_allclose(result.gradients[name], found, rtol=CLOSE, atol=CLOSE)
    contestants = {
        OURS: Contestant(lambda: transforms.backward(graph, inputs, names, threads=threads)),
        "jax vmap(value_and_grad), compiled": Contestant(lambda: jax.block_until_ready(compiled(*arrays)), took),
        "autograd": Contestant(lambda: eager(*(inputs[n] for n in names))),
    }
    title = f"{count:,} points, 20 nodes, 5 gradients, {threads} thread{'s' if threads > 1 else ''}"
    yield race(title, contestants, {"jax vmap(value_and_grad), compiled": target}, repeats=5)


def memory_of(text: str) -> int:
    """The bytes that a text takes at most while it becomes a graph, once another one has loaded what this needs."""
    parse(text[: LONG_TEXT + text[LONG_TEXT:].index(" + ")])
    process = os.getpid()
    idle = forget(process)
    parse(text)
    return peak(process) - idle


def long_text(size: int, seconds: float, most: float) -> Iterator[Row]:
    """A text to a graph: its time, and its memory in megabytes."""
    text = " + ".join(f"x{k % 50}*sin(y)" for k in range(size // 10))[:size].rpartition(" + ")[0]
    assert parse(text).names[:3] == ("x0", "y", "x1")
    title = f"a text of {size:,} characters to a graph"
    with ProcessPoolExecutor(1, get_context("spawn")) as another:  # in which no memory is at hand that was given up before
        memory = {OURS: another.submit(memory_of, text).result() / 1e6, "a megabyte": 1.0}
    yield Row(f"memory of {title}", memory, {"a megabyte": most}, unit="MB")
    row = race(title, {OURS: Contestant(lambda: parse(text))}, {})
    yield Row(title, {**row.seconds, "a second": 1.0}, {"a second": seconds})


def _finished(compiled: Callable[..., Any], x: Any) -> Any:
    """Return the result of a function compiled by JAX, once it has been computed."""
    return compiled(x).block_until_ready()


def matrices() -> Iterator[Row]:
    """A Hessian in 100 variables, and a Jacobian of 200 by 200."""
    import jax
    import jax.numpy as jnp

    n = 100
    at = np.linspace(-1.0, 1.0, n)
    names = [f"x{k}" for k in range(n)]
    text = " + ".join(f"100*({b} - {a}**2)**2 + (1 - {a})**2" for a, b in zip(names[:-1], names[1:], strict=True))
    graph = parse(text)
    bound = dict(zip(names, at.tolist(), strict=True))

    def whole(x: Any) -> Any:
        return jnp.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)

    def scalars(x: Any) -> Any:
        total = 0.0
        for k in range(n - 1):
            total = total + 100.0 * (x[k + 1] - x[k] ** 2) ** 2 + (1 - x[k]) ** 2
        return total

    x = jnp.asarray(at)
    contestants = {OURS: Contestant(lambda: transforms.hessian(graph, bound))}
    ours = transforms.hessian(graph, bound).hessian
    matrix = np.array([[ours[a][b] for b in names] for a in names])
    for name, function in (("jax, of vectors", whole), ("jax, of scalars", scalars)):
        compiled = jax.jit(jax.hessian(function))
        began = time.perf_counter()
        theirs = compiled(x).block_until_ready()
        took = time.perf_counter() - began
        np.testing.assert_allclose(matrix, theirs, rtol=CLOSE, atol=CLOSE)
        contestants[name] = Contestant(partial(_finished, compiled, x), took)
    row = race("Hessian of Rosenbrock, 100 variables", contestants, {"jax, of vectors": 2.0, "jax, of scalars": 1.0})
    yield with_compilation(row, 1 / 10)
    yield hessian_request(text, bound, matrix, contestants["jax, of vectors"].compiled_s)

    rng = np.random.default_rng(0)
    steps = [(("mul", "sin_add", "tanh_mul")[rng.integers(3)], rng.integers(0, 200 + k, 2).tolist()) for k in range(800)]
    leaves = np.linspace(-1.0, 1.0, 200)
    nodes = [Node(f"v{k}", "value", data=float(z)) for k, z in enumerate(leaves)]
    for k, (op, (a, b)) in enumerate(steps, 200):
        if op == "mul":
            nodes.append(Node(f"v{k}", "mul", (f"v{a}", f"v{b}")))
        elif op == "sin_add":
            nodes += [Node(f"s{k}", "sin", (f"v{a}",)), Node(f"v{k}", "add", (f"s{k}", f"v{b}"))]
        else:
            nodes += [Node(f"s{k}", "mul", (f"v{a}", f"v{b}")), Node(f"v{k}", "tanh", (f"s{k}",))]
    wide = Graph(tuple(nodes), tuple(f"v{k}" for k in range(800, 1000)))
    functions = {"mul": lambda a, b: a * b, "sin_add": lambda a, b: jnp.sin(a) + b, "tanh_mul": lambda a, b: jnp.tanh(a * b)}

    def outputs(x: Any) -> Any:
        values = [x[k] for k in range(200)]
        for op, (a, b) in steps:
            values.append(functions[op](values[a], values[b]))
        return jnp.stack(values[-200:])

    compiled = jax.jit(jax.jacfwd(outputs))
    began = time.perf_counter()
    theirs = compiled(jnp.asarray(leaves)).block_until_ready()
    took = time.perf_counter() - began
    rows = transforms.jacobian(wide).jacobian
    matrix = np.array([[rows[f"v{k}"][f"v{i}"] for i in range(200)] for k in range(800, 1000)])
    np.testing.assert_allclose(matrix, theirs, rtol=CLOSE, atol=CLOSE)
    point = jnp.asarray(leaves)
    contestants = {
        OURS: Contestant(lambda: transforms.jacobian(wide)),
        "jax jacfwd, compiled": Contestant(lambda: compiled(point).block_until_ready(), took),
    }
    yield with_compilation(race("Jacobian 200 x 200", contestants, {"jax jacfwd, compiled": 1.0}), 1 / 10)


def hessian_request(text: str, inputs: dict[str, float], expected: np.ndarray, compiled_s: float) -> Row:
    """The same Hessian by a request, from the first byte to the last, beside a client that compiles it with JAX."""
    with tempfile.TemporaryDirectory() as name:
        server = Server(Path(name) / "log", environment=dict(os.environ))
        try:
            server.wait_until_ready()
            with httpx.Client(base_url=server.url) as client:

                def ask() -> Any:
                    return client.post("/v1/hessian", json={"expression": text, "inputs": inputs}).json()

                rows = ask()["hessian"]
                found = [[rows[a][b] for b in inputs] for a in inputs]
                np.testing.assert_allclose(found, expected, rtol=CLOSE, atol=CLOSE)
                row = race("POST /v1/hessian, Rosenbrock, 100 variables", {OURS: Contestant(ask)}, {})
        finally:
            server.stop()
    peer = "jax, of vectors, with compilation"
    return Row(row.work, {**row.seconds, peer: compiled_s}, {peer: 0.3})


def derivatives(size: int, seconds: float) -> Iterator[Row]:
    """The gradient of a mixed program as a graph, against a bound in seconds."""
    graph = mixed(size).graph()
    ours = {OURS: Contestant(lambda: derivative.gradient(graph))}
    row = race(f"derivative of {size:,} nodes as a graph", ours, {}, repeats=3)
    bound = f"{seconds:g} s"
    yield Row(row.work, {**row.seconds, bound: seconds}, {bound: 1.0})


def with_compilation(row: Row, target: float) -> Row:
    """The same row with each peer once more, its compilation counted in."""
    counted = {f"{peer}, with compilation": row.seconds[peer] + took for peer, took in row.compiled_s.items()}
    targets = {**row.targets, **dict.fromkeys(counted, target)}
    return Row(row.work, {**row.seconds, **counted}, targets, row.compiled_s)
