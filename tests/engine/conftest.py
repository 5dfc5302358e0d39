"""Random expressions for the engine's tests, and names of test cases."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

from app.engine.binding import Seed
from app.engine.graph import Graph, Node
from app.engine.primitives import WIRE, Primitive

ROUGH = {"sign", "abs", "relu", "leaky_relu", "elu", "min", "max", "where", "lt", "le", "gt", "ge", "eq", "ne"}
"""Operations with kinks, on which a random argument might fall, or within the step of a difference quotient of it."""
TAME = {"add", "sub", "neg", "sin", "cos", "tanh", "sigmoid", "atan", "erf", "asinh", "softplus", "gelu", "silu", "sum", "mean"}
"""Operations that are smooth everywhere and grow no faster than their arguments, which therefore need no limits."""
SMOOTH: list[Primitive] = [row for name, row in WIRE.items() if name not in ROUGH]
NAMES = ("x", "y", "a node", "é", "λ", "w[0]", "%1", "0", "sin", "'\"\\", "n" * 128)


def pytest_make_parametrize_id(val: Any) -> str | None:
    """Name a case by its parameters: collections are written out, and rows and types are named."""
    if isinstance(val, dict | list | tuple | bytes | complex):
        return repr(val)[:60]
    return val.name if isinstance(val, Primitive) else None


@st.composite
def graphs(draw: st.DrawFn, most: int = 10, outputs: int = 1) -> Graph:
    """Draw a valid graph of smooth operations with 1 to 3 leaves, fan-out, dead code, repeated arguments and constants.

    An argument that might leave the interval in which an operation is smooth is first mapped into it by lo + (hi - lo) *
    sigmoid(x), so that all values and derivatives of low order are moderate numbers.
    """
    nodes: list[Node] = []
    used: set[str] = set()

    def add(op: str, args: Sequence[str | float] = (), data: float | None = None) -> str:
        name = f"{draw(st.sampled_from(NAMES))[:120]}{len(nodes) or ''}"
        while name in used:
            name += "'"
        used.add(name)
        nodes.append(Node(name, op, tuple(args), data))
        return name

    def squeezed(arg: str | float, low: float, high: float) -> str | float:
        if isinstance(arg, float):
            return low + (high - low) / (1.0 + math.exp(-arg))
        return add("add", [add("mul", [add("sigmoid", [arg]), high - low]), low])

    numbers = st.floats(-2.0, 2.0).map(lambda x: round(x, 3))
    for _ in range(draw(st.integers(1, 3))):
        add("value", data=draw(numbers))
    known = [node.id for node in nodes]
    for _ in range(draw(st.integers(1, most))):
        row = draw(st.sampled_from(SMOOTH))
        count = row.min_arity if row.max_arity is not None else draw(st.integers(1, 4))
        args: list[str | float] = [draw(st.one_of(*[st.sampled_from(known)] * 3, numbers)) for _ in range(count)]
        if row.name not in TAME:
            domain = row.domain or ((-2.0, 2.0),) * count
            args = [squeezed(arg, *interval) for arg, interval in zip(args, domain, strict=True)]
        known.append(add(row.name, args))
    return Graph(tuple(nodes), tuple(known[-outputs:]))


def leaf_values(graph: Graph, points: int | None, seed: int) -> dict[str, Seed]:
    """Return numbers for all leaves: the graph's own at the first point and others near them at the rest; None: one point."""
    rng = np.random.default_rng(seed)
    own = {node.id: float(node.data or 0.0) for node in graph.nodes if node.op == "value"}
    if points is None:
        return dict(own)
    return {name: [x, *(x + rng.uniform(-1.0, 1.0, points - 1))] for name, x in own.items()}
