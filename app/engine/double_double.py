"""Values of an expression with twice the digits of a double, where a difference of two of them has to be right to the last.

A number is a sum of two doubles, `hi + lo`, with |lo| at most half a unit in the last place of hi: about 32 decimal digits.
Sums and products are exact transformations: T. Dekker, A floating-point technique for extending the available precision,
Numerische Mathematik 18 (1971) 224-242; D. Knuth, The Art of Computer Programming 2, 4.2.2. Functions are series after a
reduction of the argument, or one Newton step from the double result. The few that have neither here (erf, erfc, gelu, lgamma,
digamma, polygamma) are right to the digits of a double. Where a double-double overflows and a double does not, the double is
taken.

All functions work on floats and on arrays. No 80-bit floats are involved, which not all processors have.
"""

import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import reduce
from typing import Any, NamedTuple

import numpy as np

from app.engine.binding import Column
from app.engine.graph import Graph
from app.engine.primitives import ALIASES, LEAF, WIRE

SPLIT = 2.0**27 + 1.0


class DoubleDouble(NamedTuple):
    """The number `hi + lo`, or one such number per point."""

    hi: Any
    lo: Any


Rule = Callable[..., DoubleDouble]


def exact(number: Any) -> DoubleDouble:
    """A double as it is."""
    return DoubleDouble(number, 0.0 * np.asarray(number))


def constant(number: Fraction) -> DoubleDouble:
    """The double-double closest to a fraction."""
    hi = float(number)
    return DoubleDouble(np.float64(hi), np.float64(float(number - Fraction(hi))))


def _digits(text: str) -> DoubleDouble:
    return constant(Fraction(text))


PI = _digits("3.14159265358979323846264338327950288419716939937510")
HALF_PI = (PI.hi / 2, PI.lo / 2, float(Fraction("1.57079632679489661923132169163975144209858469968755") - Fraction(PI.hi / 2)
           - Fraction(PI.lo / 2)))  # fmt: skip
LN2 = _digits("0.69314718055994530941723212145817656807550013436026")
LN10 = _digits("2.30258509299404568401799145468436420760110148862877")
ONE = exact(np.float64(1.0))
INVERSE_FACTORIALS = [constant(Fraction(1, math.factorial(k))) for k in range(31)]


# --- arithmetic


def _two_sum(a: Any, b: Any) -> DoubleDouble:
    """The exact sum of two doubles."""
    total = a + b
    other = total - a
    return DoubleDouble(total, (a - (total - other)) + (b - other))


def _quick_two_sum(a: Any, b: Any) -> DoubleDouble:
    """The exact sum of two doubles of which the first is the larger."""
    total = a + b
    return DoubleDouble(total, b - (total - a))


def _two_product(a: Any, b: Any) -> DoubleDouble:
    """The exact product of two doubles."""
    product = a * b
    t = SPLIT * a
    a_hi = t - (t - a)
    a_lo = a - a_hi
    t = SPLIT * b
    b_hi = t - (t - b)
    b_lo = b - b_hi
    return DoubleDouble(product, ((a_hi * b_hi - product) + a_hi * b_lo + a_lo * b_hi) + a_lo * b_lo)


def add(x: DoubleDouble, y: DoubleDouble) -> DoubleDouble:
    """The sum."""
    s, t = _two_sum(x.hi, y.hi), _two_sum(x.lo, y.lo)
    s = _quick_two_sum(s.hi, s.lo + t.hi)
    return _quick_two_sum(s.hi, s.lo + t.lo)


def negative(x: DoubleDouble) -> DoubleDouble:
    """The number with the other sign."""
    return DoubleDouble(-x.hi, -x.lo)


def subtract(x: DoubleDouble, y: DoubleDouble) -> DoubleDouble:
    """The difference."""
    return add(x, negative(y))


def multiply(x: DoubleDouble, y: DoubleDouble) -> DoubleDouble:
    """The product."""
    p = _two_product(x.hi, y.hi)
    return _quick_two_sum(p.hi, p.lo + (x.hi * y.lo + x.lo * y.hi))


def scale(x: DoubleDouble, factor: Any) -> DoubleDouble:
    """The product with a power of two, which is exact."""
    return DoubleDouble(x.hi * factor, x.lo * factor)


def divide(x: DoubleDouble, y: DoubleDouble) -> DoubleDouble:
    """The quotient: three quotients of doubles, each of what the one before leaves."""
    first = x.hi / y.hi
    rest = subtract(x, multiply(y, exact(first)))
    second = rest.hi / y.hi
    rest = subtract(rest, multiply(y, exact(second)))
    return add(_quick_two_sum(first, second), exact(rest.hi / y.hi))


def sqrt(x: DoubleDouble) -> DoubleDouble:
    """The square root: one Newton step."""
    root = np.sqrt(x.hi)
    rest = subtract(x, _two_product(root, root))
    step = np.where(root == 0.0, 0.0, rest.hi / np.where(root == 0.0, 1.0, 2.0 * root))
    return _quick_two_sum(root, step)


def _choose(condition: Any, x: DoubleDouble, y: DoubleDouble) -> DoubleDouble:
    return DoubleDouble(np.where(condition, x.hi, y.hi), np.where(condition, x.lo, y.lo))


def _less(x: DoubleDouble, y: DoubleDouble) -> Any:
    return (x.hi < y.hi) | ((x.hi == y.hi) & (x.lo < y.lo))


def _series(x: DoubleDouble, first: int, step: int, precise: int, last: int, sign: float) -> DoubleDouble:
    """The sum over k = first, first + step, ..., last of (+-1) x**(k - first) / k!, by Horner's scheme.

    Terms beyond `precise` are computed with doubles: they must be less than a double's rounding of the sum.
    """
    power = x if step == 1 else multiply(x, x)
    tail = INVERSE_FACTORIALS[last].hi
    for k in range(last - step, precise, -step):
        tail = INVERSE_FACTORIALS[k].hi + sign * (tail * power.hi)
    total = exact(tail)
    for k in range(precise, first - 1, -step):
        total = add(INVERSE_FACTORIALS[k], scale(multiply(total, power), sign))
    return total


# --- functions


def _expm1_reduced(x: DoubleDouble) -> tuple[DoubleDouble, Any]:
    """(exp(r) - 1, k) with x = k log(2) + r."""
    k = np.rint(x.hi / LN2.hi)
    r = scale(subtract(x, multiply(LN2, exact(k))), 2.0**-8)
    e = multiply(r, _series(r, 1, 1, 5, 11, 1.0))
    for _ in range(8):
        e = add(scale(e, 2.0), multiply(e, e))
    return e, k


def exp(x: DoubleDouble) -> DoubleDouble:
    """The exponential function."""
    e, k = _expm1_reduced(x)
    total, k = add(ONE, e), np.asarray(k).astype(np.int64)
    return DoubleDouble(np.ldexp(total.hi, k), np.ldexp(total.lo, k))


def expm1(x: DoubleDouble) -> DoubleDouble:
    """The exponential function minus 1."""
    e, k = _expm1_reduced(x)
    return _choose(k == 0, e, subtract(exp(x), ONE))


def log(x: DoubleDouble) -> DoubleDouble:
    """The natural logarithm: one Newton step of second order."""
    start = exact(np.log(x.hi))
    e = subtract(multiply(x, exp(negative(start))), ONE)
    return add(start, subtract(e, scale(multiply(e, e), 0.5)))


def log1p(x: DoubleDouble) -> DoubleDouble:
    """The logarithm of 1 + x."""
    return log(add(ONE, x))


def sin_cos(x: DoubleDouble) -> tuple[DoubleDouble, DoubleDouble]:
    """The sine and the cosine."""
    k = np.rint(x.hi / HALF_PI[0])
    r = x
    for part in HALF_PI:
        r = subtract(r, _two_product(k, np.float64(part)))
    sine, cosine = multiply(r, _series(r, 1, 2, 15, 29, -1.0)), _series(r, 0, 2, 16, 30, -1.0)
    quarter = np.mod(k, 4.0)
    odd = (quarter == 1.0) | (quarter == 3.0)
    s, c = _choose(odd, cosine, sine), _choose(odd, sine, cosine)
    return _choose(quarter >= 2.0, negative(s), s), _choose((quarter == 1.0) | (quarter == 2.0), negative(c), c)


def atan2(y: DoubleDouble, x: DoubleDouble) -> DoubleDouble:
    """The angle of the point (x, y): one step from the double result."""
    start = np.arctan2(y.hi, x.hi)
    s, c = sin_cos(exact(start))
    across = subtract(multiply(y, c), multiply(x, s))
    along = add(multiply(x, c), multiply(y, s))
    return add(exact(start), divide(across, along))


def power(x: DoubleDouble, y: DoubleDouble) -> DoubleDouble:
    """The power x**y: by products if y is a small integer everywhere, else exp(y log x)."""
    exponents = np.unique(np.asarray(y.hi))
    if len(exponents) == 1 and not np.any(y.lo) and abs(exponents[0]) <= 64 and exponents[0] == np.rint(exponents[0]):
        total = reduce(multiply, [x] * int(abs(exponents[0])), ONE)
        return divide(ONE, total) if exponents[0] < 0 else total
    return exp(multiply(y, log(x)))


def _asin(x: DoubleDouble) -> DoubleDouble:
    return atan2(x, sqrt(multiply(subtract(ONE, x), add(ONE, x))))


def _asinh(x: DoubleDouble) -> DoubleDouble:
    size = _choose(x.hi < 0.0, negative(x), x)
    found = log(add(size, sqrt(add(multiply(size, size), ONE))))
    return _choose(x.hi < 0.0, negative(found), found)


def _sinh(x: DoubleDouble) -> DoubleDouble:
    e = expm1(x)
    return scale(add(e, divide(e, add(e, ONE))), 0.5)


def _tanh(x: DoubleDouble) -> DoubleDouble:
    e = expm1(scale(x, 2.0))
    return divide(e, add(e, exact(np.float64(2.0))))


def _sigmoid(x: DoubleDouble) -> DoubleDouble:
    return divide(ONE, add(ONE, exp(negative(x))))


def _softplus(x: DoubleDouble) -> DoubleDouble:
    size = _choose(x.hi > 0.0, x, negative(x))
    return add(_choose(x.hi > 0.0, x, exact(0.0 * x.hi)), log1p(exp(negative(size))))


def _compare(holds: Callable[[DoubleDouble, DoubleDouble], Any]) -> Rule:
    return lambda x, y: exact(np.where(holds(x, y), 1.0, 0.0))


def _mean(*numbers: DoubleDouble) -> DoubleDouble:
    return divide(reduce(add, numbers), exact(np.float64(len(numbers))))


def _logsumexp(*numbers: DoubleDouble) -> DoubleDouble:
    top = exact(reduce(np.maximum, [x.hi for x in numbers]))
    return add(top, log(reduce(add, [exp(subtract(x, top)) for x in numbers])))


def _smaller(x: DoubleDouble, y: DoubleDouble) -> DoubleDouble:
    return _choose(_less(x, y), x, y)


def _larger(x: DoubleDouble, y: DoubleDouble) -> DoubleDouble:
    return _choose(_less(x, y), y, x)


RULES: dict[str, Rule] = {
    "neg": negative,
    "abs": lambda x: _choose(x.hi < 0.0, negative(x), x),
    "sign": lambda x: exact(np.sign(x.hi)),
    "exp": exp,
    "expm1": expm1,
    "log": log,
    "log1p": log1p,
    "log2": lambda x: divide(log(x), LN2),
    "log10": lambda x: divide(log(x), LN10),
    "sqrt": sqrt,
    "square": lambda x: multiply(x, x),
    "reciprocal": lambda x: divide(ONE, x),
    "sin": lambda x: sin_cos(x)[0],
    "cos": lambda x: sin_cos(x)[1],
    "tan": lambda x: divide(*sin_cos(x)),
    "asin": _asin,
    "acos": lambda x: atan2(sqrt(multiply(subtract(ONE, x), add(ONE, x))), x),
    "atan": lambda x: atan2(x, ONE),
    "sinh": _sinh,
    "cosh": lambda x: scale(add(exp(x), exp(negative(x))), 0.5),
    "tanh": _tanh,
    "asinh": _asinh,
    "acosh": lambda x: log(add(x, sqrt(multiply(subtract(x, ONE), add(x, ONE))))),
    "atanh": lambda x: scale(log(divide(add(ONE, x), subtract(ONE, x))), 0.5),
    "sigmoid": _sigmoid,
    "softplus": _softplus,
    "relu": lambda x: _choose(x.hi > 0.0, x, exact(0.0 * x.hi)),
    "leaky_relu": lambda x: _choose(x.hi > 0.0, x, multiply(x, exact(np.float64(0.01)))),
    "elu": lambda x: _choose(x.hi > 0.0, x, expm1(x)),
    "silu": lambda x: multiply(x, _sigmoid(x)),
    "add": add,
    "sub": subtract,
    "mul": multiply,
    "divide": divide,
    "pow": power,
    "min": lambda *numbers: reduce(_smaller, numbers),
    "max": lambda *numbers: reduce(_larger, numbers),
    "atan2": atan2,
    "hypot": lambda x, y: sqrt(add(multiply(x, x), multiply(y, y))),
    "lt": _compare(_less),
    "le": _compare(lambda x, y: ~_less(y, x)),
    "gt": _compare(lambda x, y: _less(y, x)),
    "ge": _compare(lambda x, y: ~_less(x, y)),
    "eq": _compare(lambda x, y: (x.hi == y.hi) & (x.lo == y.lo)),
    "ne": _compare(lambda x, y: (x.hi != y.hi) | (x.lo != y.lo)),
    "where": lambda c, x, y: _choose(c.hi != 0.0, x, y),
    "sum": lambda *numbers: reduce(add, numbers),
    "mean": _mean,
    "prod": lambda *numbers: reduce(multiply, numbers),
    "logsumexp": _logsumexp,
}
"""How each operation is computed; the others are right to the digits of a double."""


def evaluate(graph: Graph, inputs: Mapping[str, Column | DoubleDouble]) -> DoubleDouble:
    """The output's value, at one point or at many, as `transforms.evaluate` has it to fewer digits.

    Every leaf needs a number, a double or a double-double, in `inputs` or as its `data`.
    """
    known: dict[str, DoubleDouble] = {}
    with np.errstate(all="ignore"):
        for position in graph.wiring.order.tolist():
            node = graph.nodes[position]
            if node.op == LEAF:
                given = inputs.get(node.id, node.data)
                known[node.id] = given if isinstance(given, DoubleDouble) else exact(np.asarray(given, np.float64))
            else:
                arguments = [known[a] if isinstance(a, str) else exact(np.float64(a)) for a in node.args]
                known[node.id] = _apply(ALIASES.get(node.op, node.op), arguments)
    return known[graph.output]


def _apply(op: str, arguments: list[DoubleDouble]) -> DoubleDouble:
    """One operation; where the result is not finite, and where there is no rule, that of doubles."""
    rule = RULES.get(op)
    found = None if rule is None else rule(*arguments)
    if found is not None and np.isfinite(found.hi).all() and np.isfinite(found.lo).all():
        return found
    plain = _plain(op, arguments)
    return plain if found is None else _choose(np.isfinite(found.hi) & np.isfinite(found.lo), found, plain)


def _plain(op: str, arguments: list[DoubleDouble]) -> DoubleDouble:
    """The value at `hi`, plus the derivative there times `lo`, as doubles have them."""
    row = WIRE[op]
    if row.fun is None:
        return exact(np.float64(np.nan))
    numbers = [x.hi for x in arguments]
    value = row.fun(*numbers)
    rest = sum(partial(*numbers, value) * x.lo for partial, x in zip(row.d, arguments, strict=True))
    return _quick_two_sum(value, np.where(np.isfinite(rest), rest, 0.0))
