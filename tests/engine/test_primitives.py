"""Every row of the table against mpmath, against differences, and compiled code against NumPy."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise, product
from typing import Any

import mpmath
import numpy as np
import pytest
from mpmath import mp, mpf

from app.engine import batch, transforms
from app.engine.batch import BatchWalk
from app.engine.errors import EngineError
from app.engine.graph import Graph
from app.engine.primitives import ALIASES, LEAF, OPCODE, PRIMITIVES, WIRE, Primitive
from app.engine.tape import Tape
from app.engine.text import parse
from app.engine.values import apply, backward, value
from app.engine.walk import PointWalk
from tests.rows import for_each

EPSILON = float(np.finfo(float).eps)
DIGITS = 40
ROWS = [row for row in PRIMITIVES if row.fun is not None]
FOLDS = [row for row in PRIMITIVES if row.fun is None or row.fold == row.name]
EACH_ROW = for_each("row", ROWS)
POINTS = 30

Oracle = Callable[..., Any]


def heaviside(condition: bool) -> mpf:
    return mpf(1) if condition else mpf(0)


ORACLES: dict[str, Oracle] = {
    "add": lambda x, y: x + y,
    "sub": lambda x, y: x - y,
    "mul": lambda x, y: x * y,
    "divide": lambda x, y: x / y,
    "pow": lambda x, y: mpmath.power(x, y),
    "neg": lambda x: -x,
    "reciprocal": lambda x: 1 / x,
    "square": lambda x: x**2,
    "sqrt": mpmath.sqrt,
    "abs": lambda x: abs(x),
    "sign": mpmath.sign,
    "exp": mpmath.exp,
    "expm1": mpmath.expm1,
    "log": mpmath.log,
    "log1p": mpmath.log1p,
    "log2": lambda x: mpmath.log(x, 2),
    "log10": mpmath.log10,
    "sin": mpmath.sin,
    "cos": mpmath.cos,
    "tan": mpmath.tan,
    "asin": mpmath.asin,
    "acos": mpmath.acos,
    "atan": mpmath.atan,
    "atan2": lambda x, y: mpmath.atan2(x, y),
    "sinh": mpmath.sinh,
    "cosh": mpmath.cosh,
    "tanh": mpmath.tanh,
    "asinh": mpmath.asinh,
    "acosh": mpmath.acosh,
    "atanh": mpmath.atanh,
    "hypot": lambda x, y: mpmath.sqrt(x**2 + y**2),
    "sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)),
    "softplus": lambda x: mpmath.log1p(mpmath.exp(x)),
    "relu": lambda x: x if x > 0 else mpf(0),
    "leaky_relu": lambda x: x if x > 0 else x / 100,
    "elu": lambda x: x if x > 0 else mpmath.expm1(x),
    "gelu": lambda x: x * mpmath.erfc(-x / mpmath.sqrt(2)) / 2,
    "silu": lambda x: x / (1 + mpmath.exp(-x)),
    "erf": mpmath.erf,
    "erfc": mpmath.erfc,
    "lgamma": lambda x: mpmath.re(mpmath.loggamma(x)),
    "digamma": mpmath.digamma,
    "polygamma": lambda n, x: mpmath.psi(int(n), x),
    "min": min,
    "max": max,
    "where": lambda x, y, z: y if x != 0 else z,
    "lt": lambda x, y: heaviside(x < y),
    "le": lambda x, y: heaviside(x <= y),
    "gt": lambda x, y: heaviside(x > y),
    "ge": lambda x, y: heaviside(x >= y),
    "eq": lambda x, y: heaviside(x == y),
    "ne": lambda x, y: heaviside(x != y),
    "sum": lambda *x: mpmath.fsum(x),
    "mean": lambda *x: mpmath.fsum(x) / len(x),
    "prod": lambda *x: mpmath.fprod(x),
    "logsumexp": lambda *x: mpmath.log(mpmath.fsum(map(mpmath.exp, x))),
}
"""What each operation on the wire computes, according to mpmath."""

INTERNAL: dict[str, Oracle] = {
    "identity": lambda x: x,
    "pow_number": lambda x, y: mpmath.power(x, y),
    "pow_two": lambda x, y: mpmath.power(x, y),
    "logaddexp": lambda x, y: mpmath.log(mpmath.exp(x) + mpmath.exp(y)),
    "largest": max,
    "shift_down": lambda x, y: x - y,
    "shift_up": lambda x, y: x + y,
}
"""The same for the rows that only other rows use."""


@pytest.fixture(autouse=True)
def precise() -> Any:
    with mp.workdps(DIGITS):
        yield


# --- the checkers: each takes a row, and fails where the row is wrong


def drawn(row: Primitive, count: int = POINTS) -> list[tuple[float, ...]]:
    """Points of the row's domain, the same on every run."""
    rng = np.random.default_rng(sum(map(ord, row.name)))
    return [tuple(rng.uniform(low, high) for low, high in row.domain) for _ in range(count)]


def pairs(n: int) -> list[tuple[int, int]]:
    """The second partials in the order of `Primitive.dd`: the lower triangle, row by row."""
    return [(i, j) for i in range(n) for j in range(i + 1)]


def varied(row: Primitive) -> list[int]:
    """The arguments with derivatives: a number as exponent has none, nor have the shift of `logsumexp` and an order."""
    return {"pow_number": [0], "pow_two": [0], "largest": [], "shift_down": [0], "shift_up": [0], "polygamma": [1]}.get(
        row.name, list(range(len(row.d)))
    )


def assert_close(got: float, want: Any, tolerance: float, what: str) -> None:
    assert math.isfinite(got), what
    assert abs(got - want) <= tolerance * max(1, abs(want)), f"{what}: {got!r} is not {mpmath.nstr(want, 17)}"


def check_against_mpmath(row: Primitive, oracle: Oracle) -> None:
    """The value to 1e-14 relative; partials and second partials to 1e-13 of max(1, |partial|), of mpmath's derivatives."""
    for point in drawn(row, 12):
        exact = tuple(map(mpf, point))
        want = oracle(*exact)
        out = float(row.fun(*map(np.float64, point)))  # type: ignore[misc]
        assert abs(out - want) <= 1e-14 * abs(want), f"{row.name}{point}: {out!r} is not {want}"
        n = varied(row)
        for i in n:
            orders = tuple(int(k == i) for k in range(len(point)))
            derivative = mpmath.diff(oracle, exact, orders) if len(point) > 1 else mpmath.diff(oracle, exact[0])
            got = float(row.d[i](*map(np.float64, point), np.float64(out)))
            assert_close(got, derivative, 1e-13, f"partial {i} of {row.name}{point}")
        for rule, (i, j) in zip(row.dd, pairs(len(row.d)), strict=True):
            if not {i, j} <= set(n):
                continue
            orders = tuple(int(k == i) + int(k == j) for k in range(len(point)))
            derivative = mpmath.diff(oracle, exact, orders) if len(point) > 1 else mpmath.diff(oracle, exact[0], 2)
            got = float(rule(*map(np.float64, point), np.float64(out)))
            assert_close(got, derivative, 1e-13, f"second partial {i}, {j} of {row.name}{point}")


def slope(function: Callable[[float], float], x: float) -> float:
    """Richardson's extrapolation of four central differences: an error of order h**8, and rounding of about 1e-11."""
    table = [(function(x + h) - function(x - h)) / (2 * h) for h in (0.02, 0.01, 0.005, 0.0025)]
    factor = 4.0
    while len(table) > 1:
        table = [(fine * factor - coarse) / (factor - 1) for coarse, fine in pairwise(table)]
        factor *= 4.0
    return table[0]


def check_against_differences(row: Primitive) -> None:
    """Partials against differences of `fun`, second partials against differences of partials: any row, without an oracle.

    To 1e-6: near 0.1, where logarithms and the like are cut off, the eighth derivative makes 1e-8 of the last step.
    """
    n = varied(row)
    for point in drawn(row):
        inner = tuple(
            np.clip(x, low + 0.03, high - 0.03) if high > low else x for x, (low, high) in zip(point, row.domain, strict=True)
        )
        out = row.fun(*inner)  # type: ignore[misc]

        def moved(i: int, x: float, inner: Sequence[float] = inner) -> list[float]:
            return [*inner[:i], x, *inner[i + 1 :]]

        for i in n:
            want = slope(lambda x, i=i: float(row.fun(*moved(i, x))), inner[i])  # type: ignore[misc]
            assert_close(float(row.d[i](*inner, out)), want, 1e-6, f"partial {i} of {row.name}{inner}")
        for rule, (i, j) in zip(row.dd, pairs(len(row.d)), strict=True):
            if not {i, j} <= set(n):
                continue

            def partial(x: float, i: int = i, j: int = j) -> float:
                arguments = moved(j, x)
                return float(row.d[i](*arguments, row.fun(*arguments)))  # type: ignore[misc]

            want = slope(partial, inner[j])
            assert_close(float(rule(*inner, out)), want, 1e-6, f"second partial {i}, {j} of {row.name}{inner}")


def tape_of(code: int, arity: int) -> Tape:
    """A tape of one instruction on `arity` leaves."""
    code_row = np.array([[code, *(k if k < arity else 0 for k in range(3))]], np.int32)
    source, slot = np.arange(arity, dtype=np.int32), np.arange(arity + 1, dtype=np.int32)
    arrays = [code_row, source, np.full(arity, np.nan), source.copy(), slot]
    for array in arrays:
        array.flags.writeable = False
    return Tape(*arrays)


def check_executors(code: int, arity: int, points: Sequence[tuple[float, ...]]) -> None:
    """Compiled code for one point and NumPy for many: values, partials and second partials are the same to the last digits.

    To 1e-13 relative: NumPy's vector code and libm may differ in the last bit of `exp` and its kind, and SciPy's erfc and
    libm's in the tail. Below 1e-290 digits are lost to underflow.
    """
    tape = tape_of(code, arity)
    table = np.array(points)
    columns = {k: table[:, k].copy() for k in range(arity)}
    everything = np.ones(arity + 1, np.bool_)
    many = BatchWalk(tape, np.zeros(arity), columns, everything)
    with np.errstate(all="ignore"):
        partials = [np.broadcast_to(many.partial(0, i), len(points)) for i in range(arity)]
    many.curve({arity: 1.0})
    second = [np.broadcast_to(0.0 if column is None else column, len(points)) for column in many.curvature[0]]
    for k, point in enumerate(points):
        one = PointWalk(tape, np.array(point))
        one.curve({arity: 1.0})
        compiled = [one.values[-1], *one.linearize()[0, :arity], *one.curvature[0, : len(second)]]
        batched = [many.values[-1][k], *(p[k] for p in partials), *(s[k] for s in second)]  # type: ignore[index]
        np.testing.assert_allclose(batched, compiled, rtol=1e-13, atol=1e-300, err_msg=f"{PRIMITIVES[code].name}{point}")
        np.testing.assert_array_equal(one.linearize()[0, arity:], 0.0)
        np.testing.assert_array_equal(one.curvature[0, len(second) :], 0.0)


# --- every row


@EACH_ROW
def test_value_partials_and_second_partials_are_those_of_mpmath(row: Primitive) -> None:
    check_against_mpmath(row, {**ORACLES, **INTERNAL}[row.name])


@EACH_ROW
def test_partials_are_the_slopes_of_the_function_and_of_each_other(row: Primitive) -> None:
    check_against_differences(row)


@EACH_ROW
def test_compiled_code_and_numpy_agree(row: Primitive) -> None:
    check_executors(OPCODE[row.name], len(row.d), drawn(row))


HOSTILE = [0.0, -0.0, 1.0, -1.0, 0.5, -3.0, math.inf, -math.inf, math.nan, 1e300, -1e300, 1e160, 1e-160, -1e-300]


@EACH_ROW
def test_compiled_code_and_numpy_agree_on_hostile_numbers(row: Primitive) -> None:
    """For infinite, undefined, huge and tiny arguments and at kinks, both give the same number, infinity or NaN."""
    n = len(row.d)
    points = list(product(HOSTILE if n < 3 else [0.0, -1.0, math.inf, math.nan], repeat=n))
    check_executors(OPCODE[row.name], n, points)


@EACH_ROW
def test_forward_and_reverse_agree(row: Primitive) -> None:
    """<cotangent, J tangent> = <J' cotangent, tangent> for one instruction."""
    rng = np.random.default_rng(1)
    n = len(row.d)
    tape = tape_of(OPCODE[row.name], n)
    for point in drawn(row, 5):
        tangent = rng.normal(size=n)
        walk = PointWalk(tape, np.array(point))
        ahead = walk.push(dict(enumerate(tangent.tolist())))[-1]
        back = PointWalk(tape, np.array(point)).pull({n: 1.0})[:n]
        assert ahead == pytest.approx(back @ tangent, rel=1e-13, abs=1e-13)
        kept = walk.pull({n: 1.0})[:n]
        np.testing.assert_array_equal(kept, back)


@for_each(("row", "kink"), [(row, k) for row in ROWS for k in range(len(row.kinks))])
def test_kinks_have_exactly_the_documented_partials(row: Primitive, kink: int) -> None:
    point, partials = row.kinks[kink]
    tape = tape_of(OPCODE[row.name], len(point))
    assert PointWalk(tape, np.array(point)).linearize()[0, : len(point)].tolist() == list(partials)
    columns = {k: np.full(3, x) for k, x in enumerate(point)}
    walk = BatchWalk(tape, np.zeros(len(point)), columns, np.ones(len(point) + 1, np.bool_))
    with np.errstate(all="ignore"):
        for k, want in enumerate(partials):
            assert np.broadcast_to(walk.partial(0, k), 3).tolist() == [want] * 3
    if row.wire:
        names = "xyz"[: len(point)]
        graph = parse(f"{row.name}({', '.join(names)})")
        for points in (None, 3, 100):
            inputs = {n: x if points is None else [x] * points for n, x in zip(names, point, strict=True)}
            gradients = transforms.backward(graph, inputs).gradients
            for n, want in zip(names, partials, strict=True):
                assert np.all(np.asarray(gradients[n]) == want)


@EACH_ROW
def test_rules_leave_their_arguments_unchanged(row: Primitive) -> None:
    arguments = [np.array(column) for column in zip(*drawn(row, 4), strict=True)]
    kept = [argument.copy() for argument in arguments]
    out = np.asarray(row.fun(*arguments))  # type: ignore[misc]
    kept_out = out.copy()
    for rule in (*row.d, *row.dd):
        rule(*arguments, out)
    for argument, was in zip([*arguments, out], [*kept, kept_out], strict=True):
        np.testing.assert_array_equal(argument, was)


def test_every_row_has_an_oracle() -> None:
    assert set(ORACLES) == set(WIRE)
    assert set(INTERNAL) == {row.name for row in PRIMITIVES if not row.wire}


# --- the checkers catch wrong rules


def planted(name: str, **rules: Any) -> Primitive:
    return replace(PRIMITIVES[OPCODE[name]], **rules)


WRONG_RULES = [
    planted("sin", fun=lambda x: np.sin(x) * (1 + 1e-12)),
    planted("sin", d=(lambda x, out: np.cos(x) + 1e-11,)),
    planted("sin", dd=(lambda x, out: out,)),
    planted("tanh", d=(lambda x, out: 1 - out,)),
    planted("divide", d=(lambda x, y, out: 1 / y, lambda x, y, out: out / y)),
    planted("mul", d=(lambda x, y, out: x, lambda x, y, out: y)),
    planted("mul", dd=(lambda x, y, out: 1.0, lambda x, y, out: 0.0, lambda x, y, out: 0.0)),
    planted("hypot", dd=PRIMITIVES[OPCODE["hypot"]].dd[::-1]),
    planted("pow_number", d=(lambda x, y, out: y * out, lambda x, y, out: 0.0)),
]


@for_each("row", WRONG_RULES)
def test_a_wrong_rule_is_caught_by_mpmath(row: Primitive) -> None:
    with pytest.raises(AssertionError):
        check_against_mpmath(row, {**ORACLES, **INTERNAL}[row.name])


@pytest.mark.parametrize("row", WRONG_RULES[2:], ids=lambda row: row.name)
def test_a_wrong_derivative_is_caught_by_differences(row: Primitive) -> None:
    with pytest.raises(AssertionError):
        check_against_differences(row)


@pytest.mark.parametrize(
    "row",
    [
        planted("sin", fun=lambda x: np.sin(x) + 1e-11),
        planted("sin", d=(lambda x, out: np.cos(x) + 1e-11,)),
        planted("hypot", dd=PRIMITIVES[OPCODE["hypot"]].dd[::-1]),
    ],
)
def test_a_rule_that_differs_between_the_executors_is_caught(row: Primitive, monkeypatch: pytest.MonkeyPatch) -> None:
    code = OPCODE[row.name]
    monkeypatch.setattr(batch, "PRIMITIVES", (*PRIMITIVES[:code], row, *PRIMITIVES[code + 1 :]))
    with pytest.raises(AssertionError):
        check_executors(code, len(row.d), drawn(row))


# --- what a row says to people

PROSE = {
    ("sign", "formula"),
    ("atan2", "formula"),
    ("erf", "formula"),
    ("lgamma", "formula"),
    ("digamma", "formula"),
    ("polygamma", "formula"),
    ("min", "formula"),
    ("max", "formula"),
}
"""What is said in words, because the language has none for it."""


@for_each("row", ROWS)
def test_formula_and_derivatives_compute_what_they_say(row: Primitive) -> None:
    """A formula that is an expression has the row's values, and its derivatives have the row's partials."""
    said: dict[str, list[Any]] = {
        "formula": [(row.formula, row.fun)],
        "derivative": list(zip(row.derivative, row.d, strict=True)),
    }
    for kind, texts in said.items():
        for text, rule in texts:
            if (row.name, kind) in PROSE:
                with pytest.raises(EngineError):
                    parse(text)
                continue
            graph = parse(text)
            assert set(graph.leaves) <= {"x", "y", "z"}
            for point in drawn(row, 5):
                inputs = {name: x for name, x in zip("xyz", point, strict=False) if name in graph.index}
                got = transforms.evaluate(graph, inputs)[graph.output]
                out = row.fun(*point)  # type: ignore[misc]
                want = out if kind == "formula" else rule(*point, out)
                assert got == pytest.approx(float(want), rel=1e-12, abs=1e-13), (text, point)


def test_every_row_has_a_formula_and_a_derivative_text() -> None:
    for row in WIRE.values():
        assert row.formula and row.derivative and row.domain_note
        assert bool(row.kinks) == (row.kink != "none") or row.name == "pow", row.name
        if row.fun is not None:
            assert len(row.derivative) == len(row.d)


def test_a_row_with_missing_rules_is_refused() -> None:
    with pytest.raises(ValueError, match="rules of its own or a fold"):
        Primitive("nothing")
    with pytest.raises(ValueError, match="2 partials need as many intervals, and 3 second partials"):
        planted("mul", dd=())
    with pytest.raises(ValueError, match="1 partials need as many intervals"):
        planted("sin", domain=())


def test_names_of_operations_are_the_documented_ones() -> None:
    contract = (
        "neg abs sign exp expm1 log log1p log2 log10 sqrt square reciprocal sin cos tan asin acos atan sinh cosh tanh asinh "
        "acosh atanh sigmoid softplus relu leaky_relu elu gelu silu erf erfc lgamma digamma add sub mul divide pow min max "
        "polygamma atan2 hypot lt le gt ge eq ne where sum mean prod logsumexp"
    )
    assert set(WIRE) == set(contract.split())
    assert ALIASES == {"div": "divide"}
    assert LEAF not in WIRE and len(set(OPCODE)) == len(PRIMITIVES)


# --- operations of any number of arguments

TAKEN: dict[int, list[tuple[float, ...]]] = {
    1: [(0.7,), (-1.3,)],
    2: [(0.7, -1.3), (2.0, 2.5)],
    5: [(0.7, -1.3, 2.2, 0.1, -0.4), (1.0, 2.0, 3.0, 4.0, 5.0)],
}


def at(graph: Graph, inputs: Mapping[str, float], points: int | None) -> transforms.Hessian:
    """The Hessian at one point, or at `points` of them that are all the same, of which the last is returned."""
    if points is None:
        return transforms.hessian(graph, inputs)
    answer = transforms.hessian(graph, {name: [x] * points for name, x in inputs.items()})

    def last(entry: Any) -> float:
        return float(np.broadcast_to(entry, points)[-1])

    return transforms.Hessian(
        last(answer.value),
        {name: last(entry) for name, entry in answer.gradients.items()},  # type: ignore[arg-type]
        {name: {k: last(v) for k, v in row.items()} for name, row in answer.hessian.items()},  # type: ignore[arg-type]
    )


@for_each("points", [None, 3, 100])
@for_each("count", [1, 2, 5])
@for_each("name", [row.name for row in FOLDS])
def test_operations_on_any_number_of_arguments(name: str, count: int, points: int | None) -> None:
    """Value, gradient and Hessian of 1, 2 and 5 arguments; `min` and `max` need at least two."""
    names = [f"x{k}" for k in range(count)]
    if count < WIRE[name].min_arity:
        with pytest.raises(EngineError, match=f"{name} takes 2 or more arguments, not 1"):
            parse(f"{name}(x0)")
        return
    graph = parse(f"{name}({', '.join(names)})")
    for arguments in TAKEN[count]:
        exact = tuple(map(mpf, arguments))
        got = at(graph, dict(zip(names, arguments, strict=True)), points)
        assert got.value == pytest.approx(float(ORACLES[name](*exact)), rel=1e-14)
        assert apply(name, *arguments).data == pytest.approx(got.value, rel=1e-14)
        for i, by in enumerate(names):
            orders = tuple(int(k == i) for k in range(count))
            want = mpmath.diff(ORACLES[name], exact, orders)
            assert got.gradients[by] == pytest.approx(float(want), rel=1e-13, abs=1e-15)
            for j, other in enumerate(names):
                orders = tuple(int(k == i) + int(k == j) for k in range(count))
                want = mpmath.diff(ORACLES[name], exact, orders)
                assert got.hessian[by][other] == pytest.approx(float(want), rel=1e-12, abs=1e-14)


@pytest.mark.parametrize("points", [None, 3, 100])
def test_a_product_with_zeros_has_the_product_of_the_others_as_derivative(points: int | None) -> None:
    graph = parse("prod(a, b, c, d)")
    one = at(graph, {"a": 2.0, "b": 0.0, "c": -3.0, "d": 5.0}, points)
    assert dict(one.gradients) == {"a": 0.0, "b": -30.0, "c": 0.0, "d": 0.0}
    assert one.hessian["a"] == {"a": 0.0, "b": -15.0, "c": 0.0, "d": 0.0}
    two = at(graph, {"a": 2.0, "b": 0.0, "c": 0.0, "d": 5.0}, points)
    assert set(dict(two.gradients).values()) == {0.0}
    assert two.hessian["b"] == {"a": 0.0, "b": 0.0, "c": 10.0, "d": 0.0}
    a, b, c = value(2.0), value(0.0), value(-3.0)
    gradients = backward(apply("prod", a, b, c, 5.0))
    assert [gradients[v] for v in (a, b, c)] == [0.0, -30.0, 0.0]


@for_each("points", [None, 3, 100])
@for_each(
    ("text", "gradients"),
    [
        ("min(x, y)", {"x": 0.5, "y": 0.5}),
        ("max(x, y)", {"x": 0.5, "y": 0.5}),
        ("max(x, y, z)", {"x": 0.25, "y": 0.25, "z": 0.5}),
        ("min(x, y, z)", {"x": 0.25, "y": 0.25, "z": 0.5}),
        ("max(x, x)", {"x": 1.0}),
        ("max(x, 3)", {"x": 0.5}),
        ("min(3, x)", {"x": 0.5}),
        ("max(x, 4, y)", {"x": 0.0, "y": 0.0}),
    ],
)
def test_ties_give_each_side_half(text: str, gradients: dict[str, float], points: int | None) -> None:
    got = at(parse(text), {name: 3.0 for name in gradients}, points)
    assert dict(got.gradients) == gradients
    assert {entry for row in got.hessian.values() for entry in row.values()} == {0.0}


# --- special values

ROOT = 1.4616321449683622  # the double nearest to digamma's zero
SPECIAL: list[tuple[str, tuple[float, ...]]] = [
    ("tanh", (1000.0,)),
    ("tanh", (-1000.0,)),
    ("tanh", (20.0,)),
    ("tanh", (-20.0,)),
    ("tanh", (1e-300,)),
    ("softplus", (1000.0,)),
    ("softplus", (-1000.0,)),
    ("softplus", (-700.0,)),
    ("sigmoid", (-800.0,)),
    ("sigmoid", (800.0,)),
    ("sigmoid", (-700.0,)),
    ("sigmoid", (40.0,)),
    ("log1p", (1e-300,)),
    ("log1p", (-1e-300,)),
    ("log1p", (1e-17,)),
    ("expm1", (1e-300,)),
    ("expm1", (-1e-17,)),
    ("logsumexp", (1000.0, 1000.0)),
    ("logsumexp", (-1000.0, -1000.0)),
    ("logsumexp", (1000.0, -1000.0)),
    ("logsumexp", (-1000.0, -1001.0, -1002.5)),
    ("hypot", (3e200, 4e200)),
    ("hypot", (3e-200, 4e-200)),
    ("hypot", (1e-300, 1.0)),
    ("hypot", (0.0, -2.0)),
    ("atan2", (3e200, 4e200)),
    ("atan2", (3e200, -4e200)),
    ("atan2", (-3e-150, -4e-150)),
    ("atan2", (-1e-3, -1.0)),
    ("atan2", (1.0, 0.0)),
    ("atan2", (1e-300, 1.0)),
    ("atan2", (1.0, 1e200)),
    ("erf", (1e-300,)),
    ("erf", (6.0,)),
    ("erfc", (10.0,)),
    ("erfc", (-10.0,)),
    ("erfc", (26.0,)),
    ("gelu", (-30.0,)),
    ("gelu", (30.0,)),
    ("gelu", (-37.0,)),
    ("silu", (-800.0,)),
    ("silu", (-700.0,)),
    ("silu", (800.0,)),
    ("elu", (-1e-300,)),
    ("elu", (-800.0,)),
    ("lgamma", (1e5,)),
    ("lgamma", (1e300,)),
    ("lgamma", (1e-300,)),
    ("lgamma", (-0.5,)),
    ("lgamma", (-2.5,)),
    ("lgamma", (-100.3,)),
    ("lgamma", (-1e-5,)),
    ("digamma", (1e-3,)),
    ("digamma", (1e-100,)),
    ("digamma", (ROOT,)),
    ("digamma", (math.nextafter(ROOT, 2.0),)),
    ("digamma", (ROOT + 1e-9,)),
    ("digamma", (ROOT - 1e-4,)),
    ("digamma", (ROOT + 0.0999,)),
    ("digamma", (ROOT - 0.1001,)),
    ("digamma", (-0.5,)),
    ("digamma", (-2.5,)),
    ("digamma", (-7.25,)),
    ("digamma", (-1000.75,)),
    ("digamma", (1e10,)),
    ("pow", (1e-200, 1.5)),
    ("pow", (1e200, 1.5)),
    ("pow", (1.0000001, 1e7)),
    ("pow", (1e-300, -0.03)),
    ("pow", (1e-310, 1e-10)),
    ("pow", (1e-310, -1e-10)),
    ("log", (1e-307,)),
    ("log", (1e308,)),
    ("log2", (1e-300,)),
    ("log10", (1e300,)),
    ("exp", (-745.0,)),
    ("exp", (709.0,)),
    ("sinh", (1e-300,)),
    ("sinh", (710.0,)),
    ("cosh", (-710.0,)),
    ("asinh", (1e-300,)),
    ("asinh", (-1e10,)),
    ("asinh", (1e150,)),
    ("acosh", (1e150,)),
    ("acosh", (1.0 + 1e-12,)),
    ("atanh", (1.0 - 1e-12,)),
    ("atanh", (1e-300,)),
    ("asin", (1.0 - 1e-12,)),
    ("acos", (-1.0 + 1e-12,)),
    ("atan", (1e150,)),
    ("sin", (1e6,)),
    ("cos", (1e22,)),
    ("tan", (math.pi / 2,)),
    ("divide", (1e200, 1e-50)),
    ("divide", (1e-150, 1e-150)),
    ("reciprocal", (1e-100,)),
    ("sqrt", (1e-200,)),
    ("sqrt", (1e300,)),
]


def slope_of(function: Oracle, point: Sequence[Any], i: int, step: int = 30) -> Any:
    """A partial derivative by mpmath, with a step relative to the argument, so that 1e-300 and 1e200 have one too."""
    h = (abs(point[i]) or mpf(1)) * mpf(10) ** -step
    up, down = ([*point[:i], point[i] + s * h, *point[i + 1 :]] for s in (1, -1))
    return (function(*up) - function(*down)) / (2 * h)


def tolerance(function: Oracle, point: Sequence[Any], want: Any) -> Any:
    """Eight roundings, times what the function makes of a rounding of its arguments: 1 + sum |x f'(x) / f(x)|.

    No more can be quantity: gelu(-30) has a condition of 900, since erfc's argument -30/sqrt(2) is rounded. It is capped
    at 2,000, for where a function is as steep as that (digamma at its zero) its rule takes care. Below the normal numbers
    an error of one unit is allowed.
    """
    condition = mpf(1)
    for i, x in enumerate(point):
        if x != 0 and want != 0:
            condition += abs(x * slope_of(function, point, i, 15) / want)
    return 8 * EPSILON * min(condition, 2000) * abs(want) + 5e-324


@for_each(("name", "point"), SPECIAL)
def test_special_values(name: str, point: tuple[float, ...]) -> None:
    """Far out, near zero, at zeros and next to poles, value and gradient are mpmath's at one point and at many."""
    oracle = ORACLES[name]
    names = "xyz"[: len(point)]
    graph, inputs = parse(f"{name}({', '.join(names)})"), dict(zip(names, point, strict=True))
    exact = tuple(map(mpf, point))
    with mp.workdps(1500 if name in ("hypot", "atan2", "atan") else 120):  # so that 1 + 1e-600 still is more than 1
        functions = [oracle, *(lambda *x, i=i: slope_of(oracle, x, i) for i in range(len(point)))]
        wanted = [function(*exact) for function in functions]  # type: ignore[no-untyped-call]
        allowed = [tolerance(function, exact, want) for function, want in zip(functions, wanted, strict=True)]
        for points in (None, 3, 128):
            answer = at(graph, inputs, points)
            numbers: list[Any] = [answer.value, *(answer.gradients[by] for by in names)]
            for k, (got, want, error) in enumerate(zip(numbers, wanted, allowed, strict=True)):
                what = "value" if k == 0 else f"derivative by {names[k - 1]}"
                assert abs(got - want) <= error, f"{what} at {points or 1} points: {got!r}, not {mpmath.nstr(want, 17)}"


@for_each("points", [None, 3, 128])
@for_each("ulps", [-3, -1, 0, 1, 3, 10_000])
def test_digamma_keeps_every_digit_at_its_zero(ulps: int, points: int | None) -> None:
    x = ROOT + ulps * math.ulp(ROOT)
    got = at(parse("digamma(x)"), {"x": x}, points).value
    assert got == pytest.approx(float(mpmath.digamma(mpf(x))), rel=2e-15, abs=0.0)


NAN, INF = math.nan, math.inf


@for_each("points", [None, 3, 128])
@for_each(
    ("text", "point", "value", "gradient"),
    [
        ("x**y", (0.0, 0.0), 1.0, (0.0, 0.0)),
        ("x**0", (0.0,), 1.0, (0.0,)),
        ("x**1", (0.0,), 0.0, (1.0,)),
        ("x**2", (0.0,), 0.0, (0.0,)),
        ("x**y", (0.0, 2.0), 0.0, (0.0, 0.0)),
        ("x**y", (0.0, 1.0), 0.0, (1.0, 0.0)),
        ("x**0.5", (0.0,), 0.0, (INF,)),
        ("x**-1", (0.0,), INF, (-INF,)),
        ("x**3", (-2.0,), -8.0, (12.0,)),
        ("x**y", (-2.0, 3.0), -8.0, (12.0, NAN)),
        ("x**0.5", (-2.0,), NAN, (NAN,)),
        ("(-2)**x", (3.0,), -8.0, (NAN,)),
        ("relu(x)", (0.0,), 0.0, (0.0,)),
        ("leaky_relu(x)", (0.0,), 0.0, (0.01,)),
        ("elu(x)", (0.0,), 0.0, (1.0,)),
        ("abs(x)", (0.0,), 0.0, (0.0,)),
        ("sign(x)", (0.0,), 0.0, (0.0,)),
        ("hypot(x, y)", (0.0, 0.0), 0.0, (0.0, 0.0)),
        ("atan2(x, y)", (0.0, -1.0), math.pi, (-1.0, 0.0)),
        ("sqrt(x)", (0.0,), 0.0, (INF,)),
        ("log(x)", (0.0,), -INF, (INF,)),
        ("exp(x)", (1000.0,), INF, (INF,)),
        ("1/x", (0.0,), INF, (-INF,)),
        ("x/y", (0.0, 0.0), NAN, (INF, NAN)),
        ("asin(x)", (1.0,), math.pi / 2, (INF,)),
        ("acos(x)", (1.0,), 0.0, (-INF,)),
        ("asin(x)", (2.0,), NAN, (NAN,)),
        ("atanh(x)", (1.0,), INF, (INF,)),
        ("acosh(x)", (1.0,), 0.0, (INF,)),
        ("acosh(x)", (0.5,), NAN, (NAN,)),
        ("lgamma(x)", (-3.0,), INF, (NAN,)),
        ("lgamma(x)", (0.0,), INF, (NAN,)),
        ("digamma(x)", (-3.0,), NAN, (INF,)),
        ("log2(x)", (8.0,), 3.0, (1 / (8 * math.log(2)),)),
        ("log10(x)", (1000.0,), 3.0, (1 / (1000 * math.log(10)),)),
    ],
)
def test_values_and_partials_at_the_edges_of_domains(
    text: str, point: tuple[float, ...], value: float, gradient: tuple[float, ...], points: int | None
) -> None:
    """Exactly the numbers of the documented conventions and of IEEE arithmetic at the edge of a domain."""
    got = at(parse(text), dict(zip("xy", point, strict=False)), points)
    np.testing.assert_array_equal([got.value, *(got.gradients[by] for by in "xy"[: len(point)])], [value, *gradient])


@for_each("points", [None, 3, 128])
@for_each(
    ("text", "point", "by", "want"),
    [
        ("x**y", (0.0, 0.0), "yy", 0.0),  # 0**y is constant for y > 0
        ("x**y", (0.0, 2.0), "xy", 0.0),
        ("x**y", (0.0, 1.0), "xy", -INF),  # 1 + log(x), at 0
        ("elu(x)", (0.0,), "xx", 1.0),
    ],
)
def test_second_partials_at_the_edges_of_domains(
    text: str, point: tuple[float, ...], by: str, want: float, points: int | None
) -> None:
    """As documented for kinks, and else the limit from within the domain."""
    got = at(parse(text), dict(zip("xy", point, strict=False)), points)
    assert got.hessian[by[0]][by[1]] == got.hessian[by[1]][by[0]] == want


@for_each("points", [None, 128])
@for_each(
    ("text", "point", "want"),
    [
        ("gelu(x)", (1e200,), 0.0),
        ("gelu(x)", (-1e200,), 0.0),
        ("erf(x)", (1e200,), 0.0),
        ("silu(x)", (1e300,), 0.0),
        ("tanh(x)", (-1e300,), 0.0),
        ("softplus(x)", (1e300,), 0.0),
        ("sigmoid(x)", (-1e300,), 0.0),
        ("atan(x)", (1e200,), 0.0),
        ("asinh(x)", (1e200,), 0.0),
        ("acosh(x)", (1e200,), 0.0),
        ("atan2(x, y)", (1e308, 1.2e308), 0.0),
        ("hypot(x, y)", (1e300, 1e300), 0.0),
        ("logsumexp(x, y)", (1e300, -1e300), 0.0),
        ("lgamma(x)", (1e300,), 1e-300),
        ("sqrt(x)", (1e200,), 0.0),
    ],
)
def test_second_derivatives_far_out(text: str, point: tuple[float, ...], want: float, points: int | None) -> None:
    """They vanish or underflow there, and are not NaN because an intermediate result was infinite."""
    got = at(parse(text), dict(zip("xy", point, strict=False)), points)
    for row in got.hessian.values():
        for entry in row.values():
            assert entry == pytest.approx(want, rel=1e-14, abs=1e-299 * (want == 0.0))
