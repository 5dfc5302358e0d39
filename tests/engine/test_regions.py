"""Every operation in every region of its rules, on both sides of each threshold: four ways to differentiate, against mpmath."""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import mpmath
import numpy as np
from mpmath import mp, mpf

from app.engine import transforms
from app.engine.derivative import gradient
from app.engine.graph import Graph
from app.engine.primitives import WIRE
from app.engine.text import parse
from tests.engine.test_primitives import ORACLES
from tests.rows import for_each

EPSILON = float(np.finfo(float).eps)

ROOT = 1.4616321449683622
"""The double nearest to digamma's positive zero, around which it is a series up to 0.35."""
SAFE_TANH, SAFE_SIGMOID = math.atanh(0.9), math.log(9.0)
"""Where tanh and sigmoid are 0.9: beyond, 1 minus them is computed in another way."""


def around(x: float) -> tuple[float, float]:
    """A point on each side."""
    return x - 1e-3, x + 1e-3


def signed(*points: float) -> tuple[float, ...]:
    """Points and their mirror images."""
    return (*points, *(-x for x in points))


POLYGAMMAS = (0.01, 0.3, *around(0.5), 0.9, *around(ROOT - 0.35), ROOT + 0.1, *around(ROOT + 0.35), 3.0, 14.5, 40.0, 1e6)
BELOW_ZERO = (-0.3, -0.7, -1.2, -2.5, -7.75, -30.4)

REGIONS: dict[str, Sequence[float | tuple[float, ...]]] = {
    "neg": signed(0.3, 1e6),
    "reciprocal": signed(0.3, 7.0, 1e-6),
    "square": signed(0.3, 7.0),
    "sqrt": (1e-6, 0.3, 7.0, 1e9),
    "abs": signed(1e-6, 0.3, 7.0),
    "sign": signed(1e-6, 0.3, 7.0),
    "exp": signed(1e-6, 0.3, 7.0, 30.0),
    "expm1": signed(1e-6, 0.3, 7.0, 30.0),
    "log": (1e-6, 0.3, 0.999, 1.001, 7.0, 1e9),
    "log2": (1e-6, 0.3, 0.999, 1.001, 7.0, 1e9),
    "log10": (1e-6, 0.3, 0.999, 1.001, 7.0, 1e9),
    "log1p": (-0.999, -0.5, -1e-6, 1e-6, 0.5, 7.0, 1e9),
    "sin": signed(1e-6, 0.5, 2.0, 4.0, 6.0),
    "cos": signed(1e-6, 0.5, 2.0, 4.0, 6.0),
    "tan": signed(1e-6, 0.5, 1.5, 2.0, 4.0),
    "asin": signed(1e-6, 0.5, 0.99),
    "acos": signed(1e-6, 0.5, 0.99),
    "atan": signed(1e-6, 0.5, 2.0, 1e3),
    "sinh": signed(1e-6, 0.5, 2.0, 20.0),
    "cosh": signed(1e-6, 0.5, 2.0, 20.0),
    "tanh": signed(1e-6, 0.5, *around(SAFE_TANH), 3.0, 19.5, 40.0),
    "asinh": signed(1e-6, 0.5, 2.0, 1e3),
    "acosh": (1.001, 1.5, 7.0, 1e3),
    "atanh": signed(1e-6, 0.5, 0.99),
    "sigmoid": signed(1e-6, 0.5, *around(SAFE_SIGMOID), 7.0, 36.0, 40.0),
    "softplus": signed(1e-6, 0.5, 2.0, 20.0, 40.0),
    "relu": signed(1e-6, 0.5, 7.0),
    "leaky_relu": signed(1e-6, 0.5, 7.0),
    "elu": signed(1e-6, 0.5, 7.0, 30.0),
    "gelu": signed(1e-6, 0.5, 1.4, 1.5, 6.0, 8.5, 20.0, 30.0),
    "silu": signed(1e-6, 0.5, 2.3, 2.5, 7.0, 40.0),
    "erf": signed(1e-6, 0.5, 1.0, 2.0, 5.0),
    "erfc": signed(1e-6, 0.5, 1.0, 2.0, 5.0, 20.0),
    "lgamma": (*POLYGAMMAS, *BELOW_ZERO),
    "digamma": (*POLYGAMMAS, *BELOW_ZERO),
    "polygamma": tuple((float(n), x) for n in (0, 1, 2, 3, 6) for x in (0.3, *around(0.5), 3.0, 40.0, -0.3, -1.2, -7.75)),
    "add": ((0.3, -7.0), (-2.0, 1e6)),
    "sub": ((0.3, -7.0), (-2.0, 1e6)),
    "mul": ((0.3, -7.0), (-2.0, 1e6)),
    "divide": ((0.3, -7.0), (-2.0, 0.01), (2.0, 1e6)),
    "pow": (
        (0.3, -2.5),
        (7.0, 0.3),
        (0.999, 40.0),
        (1.001, -40.0),
        (2.0, 1.0),
        (2.0, 2.0),
        (2.0, 3.0),
        (1e-6, 1.5),
        (1e6, 1.5),
    ),
    "atan2": ((0.3, 2.0), (0.3, -2.0), (-0.3, 2.0), (-0.3, -2.0), (2.0, 0.3), (-2.0, -0.3), (1e3, 1e-3), (1e-3, 1e3)),
    "hypot": ((0.3, 2.0), (0.3, -2.0), (-0.3, 2.0), (-2.0, -0.3), (1e3, 1e-3), (1e-3, -1e3)),
    "min": ((0.3, 2.0), (2.0, 0.3), (-2.0, -0.3), (1.0, 1.001)),
    "max": ((0.3, 2.0), (2.0, 0.3), (-2.0, -0.3), (1.0, 1.001)),
    "where": ((1.0, 2.0, 3.0), (-1.0, 2.0, 3.0), (1e-300, 2.0, 3.0)),
    **dict.fromkeys(("lt", "le", "gt", "ge", "eq", "ne"), ((0.3, 2.0), (2.0, 0.3), (1.0, 1.001))),
    "sum": ((0.3, -7.0, 2.0),),
    "mean": ((0.3, -7.0, 2.0),),
    "prod": ((0.3, -7.0, 2.0), (-0.3, -7.0, -2.0)),
    "logsumexp": ((0.3, -7.0, 2.0), (30.0, -5.0, 29.0), (-30.0, -40.0, -31.0)),
}

CASES = [(name, point if isinstance(point, tuple) else (point,)) for name, points in REGIONS.items() for point in points]


def test_every_operation_is_here() -> None:
    assert set(REGIONS) == set(WIRE)


@cache
def derivative(name: str, point: tuple[Any, ...], orders: tuple[int, ...]) -> Any:
    """A derivative by mpmath, with as many digits as `digits` says. A kink is further away than its steps."""
    oracle = ORACLES[name]
    with mp.workdps(digits(name)):
        if name == "polygamma":
            return mpmath.psi(int(point[0]) + orders[1], point[1]) if not orders[0] else mpf(0)
        if len(point) == 1:
            return mpmath.diff(oracle, point[0], orders[0]) if orders[0] else oracle(*point)
        return mpmath.diff(oracle, point, orders) if any(orders) else oracle(*point)


def digits(name: str) -> int:
    """With how many digits mpmath computes: far out, differences of numbers near 1 have to show."""
    return 250 if name in ("erf", "erfc", "gelu") else 60


def allowed(name: str, point: tuple[Any, ...], orders: tuple[int, ...], want: Any, roundings: int) -> Any:
    """Some roundings of the result, and as many of the arguments, which the derivative of the next order magnifies.

    Where it is 0, mpmath's differences are not quite.
    """
    total = abs(want)
    for i, x in enumerate(point):
        total += abs(x * derivative(name, point, tuple(order + (k == i) for k, order in enumerate(orders))))
    return roundings * EPSILON * total + mpf(10) ** (10 - digits(name))


def first(column: Any) -> float:
    return float(np.ravel(column)[0])


@for_each(("name", "point"), CASES)
def test_rules_are_those_of_mpmath(name: str, point: tuple[float, ...]) -> None:
    """Value, gradient and second derivatives at one point and at many; and the derivative as a graph, and its own derivative.

    The graph may cancel where the rules do not: sqrt(1 - a**2) near 1, or 1/h - a**2/h**3 for h = hypot(a, b) and a small b.
    """
    names = [f"x{k}" for k in range(len(point))]
    graph = parse(f"{name}({', '.join(names)})")
    free = names[1:] if name == "polygamma" else names
    symbolic = gradient(graph, free)
    at = dict(zip(names, point, strict=True))
    with mp.workdps(digits(name)), np.errstate(all="ignore"):
        exact = tuple(map(mpf, point))
        for points in (None, 64):
            given: dict[str, Any] = {n: x if points is None else [x] * points for n, x in at.items()}
            found = transforms.hessian(graph, given, free)
            numbers = transforms.evaluate(symbolic, given)
            for i, by in enumerate(names):
                if by not in free:
                    continue
                orders = tuple(int(k == i) for k in range(len(names)))
                want = derivative(name, exact, orders)
                what = f"{name}{point} by {by} at {points or 1} points, not {mpmath.nstr(want, 17)}"
                assert abs(first(found.gradients[by]) - want) <= allowed(name, exact, orders, want, 16), what
                output = symbolic.outputs[1 + free.index(by)]
                assert abs(first(numbers[output]) - want) <= allowed(name, exact, orders, want, 2000), f"graph: {what}"
            value = derivative(name, exact, (0,) * len(names))
            assert abs(first(found.value) - value) <= allowed(name, exact, (0,) * len(names), value, 16), (name, point)
            for i, j, orders in pairs(names, free):
                want = derivative(name, exact, orders)
                what = f"{name}{point} by {names[i]} and {names[j]} at {points or 1} points, not {mpmath.nstr(want, 17)}"
                error = allowed(name, exact, orders, want, 32)
                terms = abs(first(found.gradients[names[i]])) * (1 + 1 / abs(exact[j]))
                assert abs(first(found.hessian[names[i]][names[j]]) - want) <= error, what
                assert abs(second(symbolic, free, names[i], names[j], given) - want) <= 100 * error + 4 * EPSILON * terms, (
                    f"graph: {what}"
                )


def pairs(names: list[str], free: list[str]) -> list[tuple[int, int, tuple[int, ...]]]:
    """The places of two names that are differentiated by, and how often that is by each."""
    places = [k for k, name in enumerate(names) if name in free]
    return [(i, j, tuple((k == i) + (k == j) for k in range(len(names)))) for i in places for j in places]


def second(symbolic: Graph, free: list[str], by: str, other: str, given: dict[str, Any]) -> float:
    """A second derivative: that of the first one's graph."""
    once = replace(symbolic, outputs=(symbolic.outputs[1 + free.index(by)],))
    twice = gradient(once, [other])
    return first(transforms.evaluate(twice, given)[twice.outputs[1]])
