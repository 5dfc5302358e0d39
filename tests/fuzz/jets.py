"""Expressions in mpmath: values with first and second derivatives, and how far rounding may move them.

A jet is a number with its derivatives by the leaves. The rules are written here once more, by hand and from textbooks, so
that a mistake in the table of primitives is not repeated. How well conditioned a result is, is found by computing it again with
every intermediate number moved by a few units in its last place: what those runs have in common is what a double can know.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import mpmath
from mpmath import mp, mpf

UNIT = mpf(2) ** -53
TINY = mpf(2) ** -1074
SMALLEST, LARGEST = mpf(2) ** -1022, mpf(1.7976931348623157e308)
DEEPEST = mpf(10) ** 7
"""exp of more is not computed: it overflows in doubles long before."""

Rule = Callable[..., Any]


class Unknown(Exception):
    """A number that is not defined, or infinite, so that nothing follows for what is made of it."""


@dataclass(frozen=True)
class Jet:
    """A value with derivatives by n leaves; `second` is the lower triangle. None: not known, because a slope is infinite."""

    value: Any
    first: tuple[Any, ...] | None
    second: tuple[Any, ...] | None


class Sum(tuple[Any, ...]):
    """Terms whose rounding errors count, because a rule has to add them and they may cancel."""


class Noise:
    """Moves numbers by up to `units` units in the last place, up or down, and 0 not at all. Jets have derivatives by `leaves`.

    Not always by the same: steps of one size may be those after which a periodic function is the same again.
    """

    def __init__(self, leaves: int, units: float, seed: int) -> None:
        self.leaves = leaves
        self.margins: list[Any] = []  # how far the arguments of operations that jump are from their jumps
        self.steep = False  # whether any slope on the way was infinite, even by what does not depend on a leaf
        self.out_of_range = False  # whether any value on the way is infinite, or has lost digits, as a double
        self.slopes_out_of_range = False  # the same for partials
        self.bends_out_of_range = False  # the same for second partials
        self.units = units
        self.random = random.Random(seed)

    def _units(self) -> Any:
        return mpf(self.random.choice((-1.0, -0.7, 0.7, 1.0)) * self.units)

    def __call__(self, x: Any) -> Any:
        """The number, moved."""
        if isinstance(x, Sum):
            return mpmath.fsum(map(self, x))
        if not self.units or not x or mpmath.isinf(x):
            return x
        return x * (1 + self._units() * UNIT) + self._units() * TINY


def _defined(condition: bool) -> None:
    if not condition:
        raise Unknown


def _sigmoid(x: Any) -> Any:
    return 1 / (1 + mpmath.exp(-x))


def _exp(x: Any) -> Any:
    _defined(x < DEEPEST)
    return mpmath.exp(x) if x > -DEEPEST else mpf(0)


def _pdf(x: Any) -> Any:
    return _exp(-x * x / 2) / mpmath.sqrt(2 * mp.pi)


def _cdf(x: Any) -> Any:
    return mpmath.erfc(-x / mpmath.sqrt(2)) / 2


def _small(x: Any) -> Any:
    """Bessel-like functions are slow far out, where these are constant."""
    _defined(abs(x) < 10**5)
    return x


def _gamma_argument(x: Any) -> Any:
    """Not a pole, nor so close to one that doubles cannot tell."""
    _defined(abs(x) < 10**9 and (x > 0 or abs(x - mpmath.nint(x)) > 1000 * UNIT * abs(x)))
    return x


def _digamma(x: Any) -> Any:
    """On the negative axis two terms of the reflection formula cancel near the zeros, which doubles cannot avoid cheaply."""
    return mpmath.digamma(x) if x > 0 else Sum((mpmath.digamma(1 - x), -mp.pi * mpmath.cot(mp.pi * x)))


def _trigamma(x: Any) -> Any:
    """By reflection on the negative axis, where mpmath adds one term per unit."""
    return mpmath.psi(1, x) if x > 0 else (mp.pi / mpmath.sin(mp.pi * x)) ** 2 - mpmath.psi(1, 1 - x)


def _tetragamma(x: Any) -> Any:
    turn = mp.pi * x
    return mpmath.psi(2, x) if x > 0 else Sum((mpmath.psi(2, 1 - x), -2 * mp.pi**3 * mpmath.cos(turn) / mpmath.sin(turn) ** 3))


def _positive(x: Any) -> Any:
    _defined(x > 0)
    return x


def _slope(x: Any) -> Any:
    """A value below which no slope exists, such as 0 under a square root."""
    if x <= 0:
        raise ZeroDivisionError
    return x


UNARY: dict[str, tuple[Rule, Rule, Rule]] = {
    "neg": (lambda x: -x, lambda x: mpf(-1), lambda x: mpf(0)),
    "abs": (abs, mpmath.sign, lambda x: mpf(0)),
    "sign": (mpmath.sign, lambda x: mpf(0), lambda x: mpf(0)),
    "exp": (_exp, _exp, _exp),
    "expm1": (lambda x: mpmath.expm1(x) if abs(x) < 1 else _exp(x) - 1, _exp, _exp),
    "log": (lambda x: mpmath.log(_positive(x)), lambda x: 1 / x, lambda x: -1 / x**2),
    "log1p": (lambda x: mpmath.log1p(_positive(1 + x) - 1), lambda x: 1 / (1 + x), lambda x: -1 / (1 + x) ** 2),
    "log2": (lambda x: mpmath.log(_positive(x), 2), lambda x: 1 / x / mpmath.log(2), lambda x: -1 / x**2 / mpmath.log(2)),
    "log10": (lambda x: mpmath.log10(_positive(x)), lambda x: 1 / x / mpmath.log(10), lambda x: -1 / x**2 / mpmath.log(10)),
    "sqrt": (
        lambda x: mpmath.sqrt(x if x >= 0 else _positive(x)),
        lambda x: 1 / (2 * mpmath.sqrt(_slope(x))),
        lambda x: -1 / (4 * mpmath.sqrt(x) ** 3),
    ),
    "square": (lambda x: x * x, lambda x: 2 * x, lambda x: mpf(2)),
    "reciprocal": (lambda x: 1 / x, lambda x: -1 / x**2, lambda x: 2 / x**3),
    "sin": (mpmath.sin, mpmath.cos, lambda x: -mpmath.sin(x)),
    "cos": (mpmath.cos, lambda x: -mpmath.sin(x), lambda x: -mpmath.cos(x)),
    "tan": (mpmath.tan, lambda x: mpmath.sec(x) ** 2, lambda x: 2 * mpmath.tan(x) * mpmath.sec(x) ** 2),
    "asin": (
        lambda x: mpmath.asin(x if abs(x) <= 1 else _positive(mpf(-1))),
        lambda x: 1 / mpmath.sqrt(_slope(1 - x * x)),
        lambda x: x / mpmath.sqrt(1 - x * x) ** 3,
    ),
    "acos": (
        lambda x: mpmath.acos(x if abs(x) <= 1 else _positive(mpf(-1))),
        lambda x: -1 / mpmath.sqrt(_slope(1 - x * x)),
        lambda x: -x / mpmath.sqrt(1 - x * x) ** 3,
    ),
    "atan": (mpmath.atan, lambda x: 1 / (1 + x * x), lambda x: -2 * x / (1 + x * x) ** 2),
    "sinh": (lambda x: (_exp(x) - _exp(-x)) / 2, lambda x: (_exp(x) + _exp(-x)) / 2, lambda x: (_exp(x) - _exp(-x)) / 2),
    "cosh": (lambda x: (_exp(x) + _exp(-x)) / 2, lambda x: (_exp(x) - _exp(-x)) / 2, lambda x: (_exp(x) + _exp(-x)) / 2),
    "tanh": (
        lambda x: mpmath.tanh(x),
        lambda x: mpmath.sech(_small(x)) ** 2,
        lambda x: -2 * mpmath.tanh(x) * mpmath.sech(_small(x)) ** 2,
    ),
    "asinh": (mpmath.asinh, lambda x: 1 / mpmath.sqrt(1 + x * x), lambda x: -x / mpmath.sqrt(1 + x * x) ** 3),
    "acosh": (
        lambda x: mpmath.acosh(x if x >= 1 else _positive(mpf(-1))),
        lambda x: 1 / mpmath.sqrt(_slope(x * x - 1)),
        lambda x: -x / mpmath.sqrt(x * x - 1) ** 3,
    ),
    "atanh": (
        lambda x: mpmath.atanh(_positive(1 - abs(x)) and x),
        lambda x: 1 / (1 - x * x),
        lambda x: 2 * x / (1 - x * x) ** 2,
    ),
    "sigmoid": (
        lambda x: _sigmoid(_small(x)),
        lambda x: _sigmoid(x) * _sigmoid(-x),
        lambda x: _sigmoid(x) * _sigmoid(-x) * (_sigmoid(-x) - _sigmoid(x)),
    ),
    "softplus": (
        lambda x: mpmath.log1p(_exp(-abs(x))) + max(x, 0),
        lambda x: _sigmoid(_small(x)),
        lambda x: _sigmoid(x) * _sigmoid(-x),
    ),
    "relu": (lambda x: max(x, mpf(0)), lambda x: mpf(x > 0), lambda x: mpf(0)),
    "leaky_relu": (lambda x: x if x > 0 else x / 100, lambda x: mpf(1) if x > 0 else mpf(1) / 100, lambda x: mpf(0)),
    "elu": (
        lambda x: x if x > 0 else mpmath.expm1(x) if x > -1 else _exp(x) - 1,
        lambda x: mpf(1) if x > 0 else _exp(x),
        lambda x: mpf(0) if x > 0 else _exp(x),
    ),
    "gelu": (
        lambda x: x * _cdf(_small(x)),
        lambda x: Sum((_cdf(x), x * _pdf(x))),
        lambda x: Sum((2 * _pdf(x), -x * x * _pdf(x))),
    ),
    "silu": (
        lambda x: x * _sigmoid(_small(x)),
        lambda x: Sum((_sigmoid(x), x * _sigmoid(x) * _sigmoid(-x))),
        lambda x: Sum((2 * _sigmoid(x) * _sigmoid(-x), x * (_sigmoid(-x) - _sigmoid(x)) * _sigmoid(x) * _sigmoid(-x))),
    ),
    "erf": (
        lambda x: mpmath.erf(_small(x)),
        lambda x: 2 / mpmath.sqrt(mp.pi) * _exp(-x * x),
        lambda x: -4 * x / mpmath.sqrt(mp.pi) * _exp(-x * x),
    ),
    "erfc": (
        lambda x: mpmath.erfc(_small(x)),
        lambda x: -2 / mpmath.sqrt(mp.pi) * _exp(-x * x),
        lambda x: 4 * x / mpmath.sqrt(mp.pi) * _exp(-x * x),
    ),
    "lgamma": (
        lambda x: mpmath.re(mpmath.loggamma(_gamma_argument(x))),
        _digamma,
        _trigamma,
    ),
    "digamma": (
        lambda x: _digamma(_gamma_argument(x)),
        _trigamma,
        _tetragamma,
    ),
}
"""Value, derivative and second derivative of each operation on one argument."""


def _power(x: Any, y: Any) -> Any:
    if x == 0:
        _defined(y >= 0)
        return mpf(y == 0)
    if x < 0:
        _defined(y == mpmath.floor(y))
        return (-1) ** int(y % 2) * _exp(y * mpmath.log(-x))
    return _exp(y * mpmath.log(x))


def _pow(x: Any, y: Any) -> tuple[Any, Sequence[Any], Sequence[Any]]:
    value = _power(x, y)
    by_x = mpf(0) if y == 0 else y * _power_slope(x, y - 1)
    by_xx = mpf(0) if y in (0, 1) else y * (y - 1) * _power_slope(x, y - 2)
    if x > 0:
        log = mpmath.log(x)
        below = _power(x, y - 1)
        return value, (by_x, value * log), (by_xx, Sum((below, below * y * log)), value * log * log)
    return value, (by_x, None), (by_xx, None, None)


def _power_slope(x: Any, y: Any) -> Any:
    if x == 0 and y < 0:
        raise ZeroDivisionError
    return _power(x, y)


def _divide(x: Any, y: Any) -> tuple[Any, Sequence[Any], Sequence[Any]]:
    return x / y, (1 / y, -x / y**2), (mpf(0), -1 / y**2, 2 * x / y**3)


def _atan2(x: Any, y: Any) -> tuple[Any, Sequence[Any], Sequence[Any]]:
    h = x * x + y * y
    _defined(x != 0 or y > 0)  # else it depends on the sign of 0, which mpmath does not have
    return mpmath.atan2(x, y), (y / h, -x / h), (-2 * x * y / h**2, (x * x - y * y) / h**2, 2 * x * y / h**2)


def _hypot(x: Any, y: Any) -> tuple[Any, Sequence[Any], Sequence[Any]]:
    h = mpmath.sqrt(x * x + y * y)
    if h == 0:
        return h, (mpf(0), mpf(0)), (None, None, None)
    return h, (x / h, y / h), (y * y / h**3, -x * y / h**3, x * x / h**3)


def _logaddexp(x: Any, y: Any) -> tuple[Any, Sequence[Any], Sequence[Any]]:
    small = _exp(-abs(x - y))
    big, rest = 1 / (1 + small), small / (1 + small)
    bend = big * rest
    return max(x, y) + mpmath.log1p(small), (big, rest) if x >= y else (rest, big), (bend, -bend, bend)


def _choose(sign: int) -> Rule:
    def rule(x: Any, y: Any) -> tuple[Any, Sequence[Any], Sequence[Any]]:
        take = mpf(1) / 2 if x == y else mpf((x - y) * sign > 0)
        return (x if take else y), (take, 1 - take), (mpf(0),) * 3

    return rule


def _apart(x: Any, y: Any) -> bool:
    """Numbers that are equal, or differ by more than doubles may."""
    _defined(x == y or abs(x - y) > 1000 * UNIT * max(abs(x), abs(y)))
    return True


def _compare(holds: Callable[[Any, Any], bool]) -> Rule:
    return lambda x, y: (mpf(bool(holds(x, y))), (mpf(0),) * 2, (mpf(0),) * 3)


def _polygamma(n: Any, x: Any) -> tuple[Any, Sequence[Any], Sequence[Any]]:
    _defined(n == mpmath.floor(n) and 0 <= n <= 100 and 0 < x < 10**9)
    order = int(n)
    return mpmath.psi(order, x), (mpf(0), mpmath.psi(order + 1, x)), (mpf(0), mpf(0), mpmath.psi(order + 2, x))


BINARY: dict[str, Rule] = {
    "add": lambda x, y: (x + y, (mpf(1), mpf(1)), (mpf(0),) * 3),
    "sub": lambda x, y: (x - y, (mpf(1), mpf(-1)), (mpf(0),) * 3),
    "mul": lambda x, y: (x * y, (y, x), (mpf(0), mpf(1), mpf(0))),
    "divide": _divide,
    "pow": _pow,
    "min": _choose(-1),
    "max": _choose(1),
    "atan2": _atan2,
    "hypot": _hypot,
    "polygamma": _polygamma,
    "logaddexp": _logaddexp,
    "lt": _compare(lambda x, y: x < y),
    "le": _compare(lambda x, y: x <= y),
    "gt": _compare(lambda x, y: x > y),
    "ge": _compare(lambda x, y: x >= y),
    "eq": _compare(lambda x, y: _apart(x, y) and x == y),
    "ne": _compare(lambda x, y: _apart(x, y) and x != y),
}
"""Value, derivatives and second derivatives (xx, xy, yy) of each operation on two arguments."""

SELECTING = frozenset(("min", "max", "relu", "sign", "lt", "le", "gt", "ge", "eq", "ne"))
COMPARISONS = frozenset(("lt", "le", "gt", "ge", "eq", "ne"))


def constant(value: Any, leaves: int) -> Jet:
    """A number that depends on no leaf."""
    return Jet(value, (mpf(0),) * leaves, (mpf(0),) * (leaves * (leaves + 1) // 2))


def leaf(value: Any, k: int, leaves: int) -> Jet:
    """Leaf k."""
    flat = constant(value, leaves)
    return Jet(value, tuple(mpf(j == k) for j in range(leaves)), flat.second)


def _depends(arg: Jet) -> bool:
    return arg.first is None or arg.second is None or any(arg.first) or any(arg.second)


def _combine(
    value: Any, partials: Sequence[Any], seconds: Sequence[Any], args: Sequence[Jet], selects: bool, noise: Noise
) -> Jet:
    """The chain rule. A partial that is not known counts only if something depends on the argument.

    Each product is moved on its own, as it is rounded: where two cancel, a derivative is known to their last digits at best.
    """
    leaves = noise.leaves
    used = [k for k, arg in enumerate(args) if not (selects and partials[k] == 0) and _depends(arg)]
    if any(partials[k] is None or args[k].first is None for k in used):
        return Jet(value, None, None)
    first = [mpmath.fsum(noise(partials[k] * args[k].first[i]) for k in used) for i in range(leaves)]  # type: ignore[index]
    if any(args[k].second is None for k in used):
        return Jet(value, tuple(first), None)
    bends = [(i, j, seconds[i * (i + 1) // 2 + j]) for i in used for j in used if j <= i]
    if any(s is None for _, _, s in bends):
        return Jet(value, tuple(first), None)
    second = []
    at = 0
    for a in range(leaves):
        for b in range(a + 1):
            total = mpmath.fsum(noise(partials[k] * args[k].second[at]) for k in used)  # type: ignore[index]
            for i, j, s in bends:
                if s:
                    x, y = args[i].first, args[j].first
                    assert x is not None and y is not None
                    total += s * (x[a] * y[b] + (x[b] * y[a] if i != j else 0))
            second.append(total)
            at += 1
    return Jet(value, tuple(first), tuple(second))


def apply(op: str, args: Sequence[Jet], noise: Noise) -> Jet:
    """One operation. Raises Unknown where its value is not defined."""
    if op == "where":
        condition, a, b = args
        noise.margins.append(condition.value)
        return a if condition.value != 0 else b
    if op in ("sum", "mean", "prod", "logsumexp"):
        return _many(op, args, noise)
    if op in ("min", "max") and len(args) > 2:
        total = args[0]
        for arg in args[1:]:
            total = apply(op, (total, arg), noise)
        return total
    numbers = [a.value for a in args]
    if any(mpmath.isinf(x) for x in numbers):
        raise Unknown
    try:
        if op in UNARY:
            fun, d, dd = UNARY[op]
            value = fun(*numbers)
            try:
                partials = [d(*numbers)]
                seconds = [dd(*numbers)]
            except ZeroDivisionError:
                partials, seconds = [None], [None]
        else:
            value, partials, seconds = BINARY[op](*numbers)
    except ZeroDivisionError:
        raise Unknown from None
    if op in COMPARISONS or op == "sign":
        noise.margins.append(numbers[0] - (numbers[1] if op in COMPARISONS else 0))
    noise.steep = noise.steep or None in partials or None in seconds
    partials = [None if p is None else noise(p) for p in partials]
    seconds = [None if s is None else noise(s) for s in seconds]
    noise.slopes_out_of_range = noise.slopes_out_of_range or not all(map(_in_range, partials))
    noise.bends_out_of_range = noise.bends_out_of_range or not all(map(_in_range, seconds))
    value = value if op in COMPARISONS else noise(value)
    noise.out_of_range = noise.out_of_range or not _in_range(value)
    return _combine(value, partials, seconds, args, op in SELECTING, noise)


def _in_range(x: Any) -> bool:
    return x is None or x == 0 or bool(SMALLEST <= abs(x) <= LARGEST)


def _many(op: str, args: Sequence[Jet], noise: Noise) -> Jet:
    total = args[0]
    if op == "logsumexp":
        top = max(a.value for a in args)
        shifted = [Jet(noise(a.value - top), a.first, a.second) for a in args]
        total = shifted[0]
        for arg in shifted[1:]:  # in pairs, because mixed second derivatives are known to the digits of the pairs
            total = apply("logaddexp", (total, arg), noise)
        return Jet(noise(total.value + top), total.first, total.second)
    for arg in args[1:]:
        total = apply("mul" if op == "prod" else "add", (total, arg), noise)
    if op == "mean":
        total = apply("divide", (total, constant(mpf(len(args)), noise.leaves)), noise)
    return total
