"""Functions that NumPy lacks, in a form that one rule can use for a number in compiled code and for a whole array.

Most have one implementation for each; `digamma` and its derivatives, `sigmoid` and `sech2` have one that serves both.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import types
from numba.extending import overload, register_jitable

from app.engine.jit import inline, jit

Number = Any
"""A float or an array of float64, the two types of argument that a rule is called with."""


def where(condition: Number, a: Number, b: Number) -> Number:
    """Return `a` where the condition holds, else `b`; both are evaluated."""
    return np.where(condition, a, b)


# C's functions, for arrays too: SciPy's erfc loses digits in its tail, and its gammaln near the zeros at 1 and 2.
ERF, ERFC, LGAMMA = 0, 1, 2


def erf(x: Number) -> Number:
    """Return the error function (DLMF 7.2.1)."""
    return _of_each(ERF, np.ravel(x)).reshape(np.shape(x))


def erfc(x: Number) -> Number:
    """Return 1 - erf(x) without cancellation (DLMF 7.2.2)."""
    return _of_each(ERFC, np.ravel(x)).reshape(np.shape(x))


def lgamma(x: Number) -> Number:
    """Return log|Gamma(x)| (DLMF 5.2.1); infinite at 0, -1, -2, ..."""
    return _of_each(LGAMMA, np.ravel(x)).reshape(np.shape(x))


@jit
def _of_each(function: int, x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Apply one of C's functions to each number."""
    values = np.empty(len(x))
    for k in range(len(x)):
        values[k] = math.erf(x[k]) if function == ERF else math.erfc(x[k]) if function == ERFC else math.lgamma(x[k])
    return values


@overload(where, strict=False)
def _where(condition: Any, a: Any, b: Any) -> Callable[..., Any]:
    return lambda condition, a, b: float(a) if condition else float(b)


@overload(erf, strict=False)
def _erf(x: Any) -> Callable[..., Any] | None:
    return (lambda x: math.erf(x)) if isinstance(x, types.Float) else None


@overload(erfc, strict=False)
def _erfc(x: Any) -> Callable[..., Any] | None:
    return (lambda x: math.erfc(x)) if isinstance(x, types.Float) else None


@overload(lgamma, strict=False)
def _lgamma(x: Any) -> Callable[..., Any] | None:
    return (lambda x: math.lgamma(x)) if isinstance(x, types.Float) else None


# The polygamma functions take eight steps of the recurrence psi(x) = psi(x + 1) - 1/x (DLMF 5.15.5) and then the asymptotic
# series (DLMF 5.15.8, with Bernoulli numbers), of which eight terms are accurate to the last bits at x >= 8.5. Below 1/2
# the reflection formula (DLMF 5.15.6) applies.

SHIFT = 8
PI = math.pi
SPLITTER = 134217729.0  # 2**27 + 1
SQRT_HALF = math.sqrt(0.5)
# The same in two parts: 26 bits, and the rest.
SQRT_HALF_HEAD = 0.7071067839860916
SQRT_HALF_TAIL = -2.799544089368687e-09
# The zero of digamma on the positive axis, in two doubles (DLMF 5.4.20), and polygamma(k, ROOT) / k! for k = 1..30.
ROOT = 1.4616321449683622
ROOT_REST = 9.549995429965697e-17
TAYLOR = (
    0.9676722454476212,
    -0.4427631689835921,
    0.258499760955651,
    -0.16394270544240652,
    0.10782405069126237,
    -0.07219956125645471,
    0.04880428816414311,
    -0.03316112647484736,
    0.022597648232218104,
    -0.01542476590494896,
    0.010538791616612175,
    -0.007204534386356869,
    0.004926781395729853,
    -0.003369801655439328,
    0.002305126326734928,
    -0.0015769367714301972,
    0.0010788252019162967,
    -0.0007380709389960052,
    0.000504953265834602,
    -0.0003454680251063077,
    0.00023635601564027053,
    -0.00016170622091974803,
    0.0001106337276874741,
    -7.569179582195066e-05,
    5.178575795222081e-05,
    -3.5430070947659604e-05,
    2.424006611860132e-05,
    -1.6584242271854135e-05,
    1.134638458466385e-05,
    -7.762817668462094e-06,
)


@register_jitable
def _digamma_positive(x: Number) -> Number:
    y = x + SHIFT
    w = 1.0 / (y * y)
    series = w * (
        1 / 12
        - w * (1 / 120 - w * (1 / 252 - w * (1 / 240 - w * (1 / 132 - w * (691 / 32760 - w * (1 / 12 - w * 3617 / 8160))))))
    )
    total = np.log(y) - 0.5 / y - series
    for k in range(SHIFT):
        total = total - 1.0 / (x + k)
    # Close to its zero on the positive axis the sum above cancels; Taylor's series about the zero keeps every digit. Close to
    # the zeros on the negative axis only an absolute error of some 1e-15 is reached.
    h = (x - ROOT) - ROOT_REST
    close = np.abs(h) < 0.35
    h = where(close, h, 0.0)
    near = 0.0 * x
    for coefficient in TAYLOR[::-1]:
        near = (near + coefficient) * h
    return where(close, near, total)


@register_jitable
def _trigamma_positive(x: Number) -> Number:
    y = x + SHIFT
    w = 1.0 / (y * y)
    series = (w / y) * (
        1 / 6 - w * (1 / 30 - w * (1 / 42 - w * (1 / 30 - w * (5 / 66 - w * (691 / 2730 - w * (7 / 6 - w * 3617 / 510))))))
    )
    total = 1.0 / y + 0.5 * w + series
    for k in range(SHIFT):
        total = total + 1.0 / ((x + k) * (x + k))
    return total


@register_jitable
def _tetragamma_positive(x: Number) -> Number:
    y = x + SHIFT
    w = 1.0 / (y * y)
    series = (w * w) * (
        1 / 2 - w * (1 / 6 - w * (1 / 6 - w * (3 / 10 - w * (5 / 6 - w * (691 / 210 - w * (35 / 2 - w * 3617 / 30))))))
    )
    total = w + w / y + series
    for k in range(SHIFT):
        total = total + 2.0 / ((x + k) * (x + k) * (x + k))
    return -total


@register_jitable
def _half_turns(x: Number) -> tuple[Number, Number]:
    """Return sin(pi x) and cos(pi x), with x first reduced to [-1/2, 1/2] so that no digit of a large x is lost.

    The cosine is taken as a sine of what is left to a quarter turn, which keeps its digits close to its zeros.
    """
    n = np.floor(x + 0.5)
    r = x - n
    sign = 1.0 - 2.0 * np.abs(n - 2.0 * np.floor(0.5 * n))
    return sign * np.sin(PI * r), sign * np.sin(PI * (0.5 - np.abs(r)))


@register_jitable
def digamma(x: Number) -> Number:
    """Return the derivative of log Gamma (DLMF 5.2.2); NaN at the poles 0, -1, -2, ..."""
    s, c = _half_turns(x)
    mirror = where(x < 0.5, 1.0 - x, 1.0)
    # The rounding error of 1 - x, times the leading terms of trigamma (DLMF 5.15.8): close to the zero at -0.504 it is most of
    # the error.
    rest = where(x < 0.5, (1.0 - mirror) - x, 0.0) * ((1.0 + 0.5 / mirror) / mirror)
    reflected = _digamma_positive(mirror) + rest - PI * c / s
    value = where(x < 0.5, reflected, _digamma_positive(where(x < 0.5, 1.0, x)))
    return where((x <= 0.0) & (x == np.floor(x)), np.nan, value)


@register_jitable
def trigamma(x: Number) -> Number:
    """Return the derivative of digamma (DLMF 5.15); infinite at the poles."""
    s, _ = _half_turns(x)
    reflected = (PI / s) * (PI / s) - _trigamma_positive(where(x < 0.5, 1.0 - x, 1.0))
    return where(x < 0.5, reflected, _trigamma_positive(where(x < 0.5, 1.0, x)))


@register_jitable
def tetragamma(x: Number) -> Number:
    """Return the second derivative of digamma (DLMF 5.15)."""
    s, c = _half_turns(x)
    reflected = _tetragamma_positive(where(x < 0.5, 1.0 - x, 1.0)) - 2.0 * (PI / s) * (PI / s) * (PI * c / s)
    return where(x < 0.5, reflected, _tetragamma_positive(where(x < 0.5, 1.0, x)))


HIGHEST_ORDER = 100
"""Polygamma functions of higher orders are not computed: their values soon exceed all doubles."""

EULER_TERMS = 9
# Bernoulli numbers B_2k over (2k)!, for k = 1..12.
BERNOULLI = (
    1 / 12,
    -1 / 720,
    1 / 30240,
    -1 / 1209600,
    1 / 47900160,
    -691 / 1307674368000,
    1 / 74724249600,
    -3617 / 10670622842880000,
    43867 / 5109094217170944000,
    -174611 / 802857662698291200000,
    77683 / 14101100039391805440000,
    -236364091 / 1693824136731743669452800000,
)


def polygamma(order: Number, x: Number) -> Number:
    """Return the derivative of this order of digamma (DLMF 5.15), for whole orders from 0 to 100; NaN for others.

    At the poles 0, -1, -2, ... it is infinite for odd orders and NaN for even ones.
    """
    shape = np.broadcast_shapes(np.shape(order), np.shape(x))
    orders, numbers = (np.array(np.broadcast_to(given, shape), np.float64).ravel() for given in (order, x))
    return _polygamma_of_each(orders, numbers).reshape(shape)


@overload(polygamma, strict=False)
def _polygamma_number(order: Any, x: Any) -> Callable[..., Any] | None:
    return (lambda order, x: _polygamma(float(order), float(x))) if isinstance(x, types.Float) else None


@jit
def _polygamma_of_each(orders: npt.NDArray[np.float64], x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Apply `polygamma` to each pair of numbers."""
    values = np.empty(len(x))
    for k in range(len(x)):
        values[k] = _polygamma(orders[k], x[k])
    return values


@inline
def _polygamma(order: Number, x: Number) -> Number:
    """Return one value of `polygamma`, which has two orders more, for its derivatives."""
    if not 0.0 <= order <= HIGHEST_ORDER + 2 or order != np.floor(order) or np.isnan(x) or x == -np.inf:
        return np.nan
    n = int(order)
    if n == 0:
        return float(digamma(x))
    if x <= 0.0 and x == np.floor(x):
        return np.inf if n % 2 else np.nan
    if n == 1:
        return float(trigamma(x))
    if n == 2:
        return float(tetragamma(x))
    if x == np.inf:
        return 0.0
    if x > 0.0:
        return _polygamma_positive(n, x)
    mirrored = _polygamma_positive(n, 1.0 - x)
    return (-mirrored if n % 2 else mirrored) - PI * _cotangent_slope(n, x)


@inline
def _polygamma_positive(n: int, x: float) -> float:
    """Return the polygamma function of order n > 0 for x > 0: (-1)**(n + 1) * n! * zeta(n + 1, x) (DLMF 5.15.1, 25.11.12).

    Hurwitz's zeta function, here divided by x**-(n + 1), is nine terms of its series and Euler's and Maclaurin's formula for
    the rest (DLMF 25.11.43).
    """
    s = n + 1
    total = 0.0
    for k in range(EULER_TERMS):
        total += (x / (x + k)) ** s
    y = x + EULER_TERMS
    rest = y / n + 0.5
    term = s / y
    for k in range(len(BERNOULLI)):
        rest += BERNOULLI[k] * term
        term *= (s + 2 * k + 1) / y * ((s + 2 * k + 2) / y)
    total += (x / y) ** s * rest
    value = total / x if n % 2 else -total / x
    for k in range(1, n + 1):  # one by one, since x**-(n + 1) may be 0 where the value, about x times as large, is not
        value *= k / x
    return value


@inline
def _cotangent_slope(n: int, x: float) -> float:
    """Return the derivative of order n of cot(pi x), pi**n times a polynomial of the cotangent, whose terms have one sign.

    With c for the cotangent, the derivative of p(c) is -pi (1 + c**2) p'(c).
    """
    sine, cosine = _half_turns(x)
    c = cosine / sine
    p = np.zeros(n + 3)
    p[1] = 1.0
    for k in range(n):
        slope = np.zeros(n + 3)
        for j in range(k + 2):
            slope[j] = (j + 1) * p[j + 1]
        for j in range(k + 3):
            p[j] = -(slope[j] + (slope[j - 2] if j > 1 else 0.0))
    value = 0.0
    for j in range(n + 1, -1, -2):
        value = value * c * c + p[j]
    return value * (c if n % 2 == 0 else 1.0) * PI**n


@register_jitable
def sigmoid(x: Number) -> Number:
    """Return 1/(1 + exp(-x)) without overflow or cancellation."""
    e = np.exp(-np.abs(x))
    return where(x >= 0.0, 1.0, e) / (1.0 + e)


@register_jitable
def sech2(x: Number) -> Number:
    """Return 1/cosh(x)**2, which is 1 - tanh(x)**2 without the cancellation that leaves nothing of it beyond x = 19."""
    sech = 1.0 / np.cosh(x)
    return sech * sech


@register_jitable
def normal_cdf(x: Number) -> Number:
    """Return the standard normal distribution function, accurate in the lower tail too.

    There erfc would magnify the rounding error of its argument, so that is computed and made good, in first order.
    """
    near = where(np.abs(x) > 60.0, where(x > 0.0, 60.0, -60.0), x)
    z, head = SQRT_HALF * near, _head(near)
    error = ((head * SQRT_HALF_HEAD - z) + head * SQRT_HALF_TAIL) + (near - head) * SQRT_HALF
    return 0.5 * erfc(-z) + error * gauss(z) / math.sqrt(math.pi)


@register_jitable
def _head(x: Number) -> Number:
    """Return the leading 26 bits of a number, whose products with others are exact (Dekker, Numer. Math. 18 (1971) 224-242)."""
    scaled = SPLITTER * x
    return scaled - (scaled - x)


@register_jitable
def gauss(x: Number, factor: float = 1.0) -> Number:
    """Return exp(-factor * x**2) for a `factor` of 1 or 1/2.

    The exponential would magnify the rounding error of the square, so that is computed and made good.
    """
    near = where(np.abs(x) > 60.0, 60.0, x)  # beyond, the result is 0
    head, square = _head(near), near * near
    error = (head * head - square) + (near - head) * (near + head)
    return np.exp(-factor * square) * (1.0 - factor * error)


@register_jitable
def normal_pdf(x: Number) -> Number:
    """Return the standard normal density."""
    return gauss(x, 0.5) / math.sqrt(2.0 * math.pi)


SMALLEST = 1e-290
"""Smaller numbers may have lost digits to underflow, or lose them when divided."""

SAFE = 0.9
"""Up to here, 1 minus a number loses no more than one digit."""


def tanh_slope(x: Number, out: Number) -> Number:
    """Return 1 - tanh(x)**2, given `out` = tanh(x)."""
    return sech2(x)


def sigmoid_rest(x: Number, out: Number) -> Number:
    """Return 1 - sigmoid(x), given `out` = sigmoid(x)."""
    return sigmoid(-x)


@overload(tanh_slope, strict=False)
def _tanh_slope(x: Any, out: Any) -> Callable[..., Any] | None:
    def number(x: float, out: float) -> Any:
        return 1.0 - out * out if abs(out) < SAFE else sech2(x)

    return number if isinstance(x, types.Float) else None


@overload(sigmoid_rest, strict=False)
def _sigmoid_rest(x: Any, out: Any) -> Callable[..., Any] | None:
    def number(x: float, out: float) -> Any:
        return 1.0 - out if out < SAFE else sigmoid(-x)

    return number if isinstance(x, types.Float) else None


def power_below(factor: Number, x: Number, y: Number, steps: int, out: Number) -> Number:
    """Return `factor * x**(y - steps)` for 1 or 2 steps, given `out` = x**y.

    Where y - steps is rounded, which a large x would magnify and which may make an odd number even, or the power alone would
    overflow, it divides `out` instead.
    """
    below = y - steps
    power = np.power(x, below)
    if isinstance(y, float) and y >= steps and below + steps == y and y - below == steps:
        return factor * power  # nothing is rounded, and the power is infinite only where x**y is
    divided = _product_over(factor, out, x) / x if steps == 2 else _product_over(factor, out, x)
    usable = (x != 0.0) & (np.abs(out) > SMALLEST) & np.isfinite(out)
    rounded = (below + steps != y) | (y - below != steps)
    return np.where(usable & (rounded | np.isinf(power)), divided, factor * power)


@register_jitable
def _product_over(a: Number, b: Number, x: Number) -> Number:
    """Return a * b / x. A large x divides the larger factor, a small x the smaller, so that no quotient loses digits."""
    is_a = (np.abs(a) > np.abs(b)) == (np.abs(x) > 1.0)
    return where(is_a, a, b) / x * where(is_a, b, a)


def hypot_slope(x: Number, y: Number, out: Number) -> Number:
    """Return x / hypot(x, y), given `out` = hypot(x, y), also where that overflows; 0 at (0, 0)."""
    half = np.hypot(0.5 * x, 0.5 * y)
    return np.where(out == 0.0, 0.0, np.where(np.isinf(out), 0.5 * x / half, x / out))


@overload(power_below, strict=False)
def _power_below(factor: Any, x: Any, y: Any, steps: Any, out: Any) -> Callable[..., Any] | None:
    def number(factor: float, x: float, y: float, steps: int, out: float) -> Any:
        below = y - steps
        if x != 0.0 and abs(out) > SMALLEST and np.isfinite(out):
            divided = _product_over(factor, out, x) / x if steps == 2 else _product_over(factor, out, x)
            if below + steps != y or y - below != steps:
                return divided
            power = np.power(x, below)
            return divided if np.isinf(power) else factor * power
        return factor * np.power(x, below)

    return number if isinstance(x, types.Float) else None


@overload(hypot_slope, strict=False)
def _hypot_slope(x: Any, y: Any, out: Any) -> Callable[..., Any] | None:
    def number(x: float, y: float, out: float) -> Any:
        if out == 0.0:
            return 0.0
        return 0.5 * x / np.hypot(0.5 * x, 0.5 * y) if np.isinf(out) else x / out

    return number if isinstance(x, types.Float) else None
