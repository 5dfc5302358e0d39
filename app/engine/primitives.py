"""The table of primitives: one row per operation, with its value, its partials and its second partials.

Everything else is derived from the table: opcodes, the kernels' switch, the batch walk, the methods of Value, the names that
expressions can use, the documentation and the parameters of the tests. Adding an operation is adding one row.

Rules are written in NumPy terms, so that compiled code can run them on numbers and NumPy on arrays. A rule takes the
arguments and, if it is a partial, the value `out` after them.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from app.engine.special import (
    Number,
    digamma,
    erf,
    erfc,
    gauss,
    hypot_slope,
    lgamma,
    normal_cdf,
    normal_pdf,
    polygamma,
    power_below,
    sigmoid,
    sigmoid_rest,
    tanh_slope,
    tetragamma,
    trigamma,
    where,
)

Rule = Callable[..., float]
Interval = tuple[float, float]

LN2 = math.log(2.0)
LN10 = math.log(10.0)
TWO_OVER_SQRT_PI = 2.0 / math.sqrt(math.pi)

ANY: Interval = (-3.0, 3.0)
POSITIVE: Interval = (0.1, 4.0)
INSIDE_ONE: Interval = (-0.95, 0.95)


def zero(*arguments: Number) -> float:
    """The rule of a partial that is 0 everywhere. It passes nothing on, not even of what is infinite."""
    return 0.0


@dataclass(frozen=True, slots=True)
class Primitive:
    """One operation.

    `fun(*args)` is the value, `d[i](*args, out)` the partial by argument i, and `dd` the second partials, the lower
    triangle row by row: (aa,), (aa, ab, bb) or (aa, ab, bb, ac, bc, cc).

    `formula` and `derivative` (one per argument) say the same to people, in the syntax of `engine.text` where possible.
    `domain` gives an interval for each argument, in which the rules are smooth and tests draw points; `domain_note` says
    where the operation is defined. `kink` says what happens where there is no derivative, and `kinks` are such points, each
    with the partials taken there.

    `selects` says that the operation takes some of its arguments and leaves the others: where a partial is 0, nothing behind
    that argument has any effect, whatever it holds. In all other rows 0 times infinity is NaN.

    An operation on any number of arguments is a `fold`, from left to right, of the two-argument operation that it names;
    with `average`, the result is divided by the number of arguments; with `shift`, the largest of three or more arguments is
    subtracted from each before, and added to the result. `with_number` names the row that is used instead if the last argument
    is a number and not a node. `wire` is False for rows that only other rows use.

    `symbolic` are the partials as expressions, in the syntax of `engine.text`, of the arguments a, b and c and the value y. For
    a fold there is one for every argument, a, which may use the number of arguments, n; without it, a fold is differentiated as
    a chain of the operations that it names. For up to FEW arguments, `symbolic_of_few` is used instead, in which b is the same
    fold of what the other arguments exceed this one by.

    In a row that `selects`, a partial in `symbolic` is "0" or where(condition, partial, 0).
    """

    name: str
    fun: Rule | None = None
    d: tuple[Rule, ...] = ()
    dd: tuple[Rule, ...] = ()
    formula: str = ""
    derivative: tuple[str, ...] = ()
    domain: tuple[Interval, ...] = ()
    domain_note: str = "all numbers"
    kink: str = "none"
    kinks: tuple[tuple[tuple[float, ...], tuple[float, ...]], ...] = ()
    selects: bool = False
    fold: str | None = None
    average: bool = False
    shift: bool = False
    with_number: str | None = None
    wire: bool = True
    symbolic: tuple[str, ...] = ()
    symbolic_of_few: str | None = None

    def __post_init__(self) -> None:
        n = len(self.d)
        if self.fun is None and (n or self.dd or self.fold is None):
            raise ValueError(f"{self.name}: a row needs rules of its own or a fold")
        if self.fun is not None and (not 1 <= n <= 3 or len(self.dd) != n * (n + 1) // 2 or len(self.domain) != n):
            raise ValueError(f"{self.name}: {n} partials need as many intervals, and {n * (n + 1) // 2} second partials")

    @property
    def min_arity(self) -> int:
        """The smallest number of arguments."""
        return len(self.d) or 1

    @property
    def max_arity(self) -> int | None:
        """The largest number of arguments; None if there is no limit."""
        return None if self.fold else len(self.d)

    @property
    def arity_text(self) -> str:
        """The number of arguments, for a message."""
        if self.max_arity is None:
            return f"{self.min_arity} or more arguments"
        return f"{self.min_arity} argument{'s' * (self.min_arity > 1)}"


P = Primitive
FEW = 4
"""With so few arguments, a fold of the others for each of them is no more than a person writes."""

# fmt: off
PRIMITIVES: tuple[Primitive, ...] = (
    # --- arithmetic
    P("add", lambda x, y: x + y, (lambda x, y, out: 1.0, lambda x, y, out: 1.0),
      (zero, zero, zero),
      "x + y", ("1", "1"), (ANY, ANY), symbolic=("1", "1")),
    P("sub", lambda x, y: x - y, (lambda x, y, out: 1.0, lambda x, y, out: -1.0),
      (zero, zero, zero),
      "x - y", ("1", "-1"), (ANY, ANY), symbolic=("1", "-1")),
    P("mul", lambda x, y: x * y, (lambda x, y, out: y, lambda x, y, out: x),
      (zero, lambda x, y, out: 1.0, zero),
      "x * y", ("y", "x"), (ANY, ANY), symbolic=("b", "a")),
    P("divide", lambda x, y: x / y, (lambda x, y, out: 1.0 / y, lambda x, y, out: -out / y),
      (zero, lambda x, y, out: -1.0 / (y * y), lambda x, y, out: 2.0 * (out / y) / y),
      "x / y", ("1/y", "-x/y**2"), (ANY, POSITIVE), "y != 0", symbolic=("1/b", "-y/b")),
    # b*a**(b - 1) alone is NaN at (0, 0), and where(b != 0, ..., 0) has another derivative by b at b = 0, which is 1/a.
    P("pow", lambda x, y: np.power(x, y),
      (lambda x, y, out: where(y == 0.0, 0.0, power_below(y, x, y, 1, out)),
       lambda x, y, out: where((x == 0.0) & (y >= 0.0), 0.0, out * np.log(x))),
      (lambda x, y, out: where((y == 0.0) | (y == 1.0), 0.0, power_below(y, x, y, 2, out) * (y - 1.0)),
       lambda x, y, out: where((x == 0.0) & (y > 1.0), 0.0, power_below(1.0 + y * np.log(x), x, y, 1, out)),
       lambda x, y, out: where((x == 0.0) & (y >= 0.0), 0.0, out * np.log(x) * np.log(x))),
      "x ** y", ("y * x**(y - 1)", "x**y * log(x)"), (POSITIVE, ANY),
      "x > 0, or any x (not 0 for y < 0) with an integer y; the derivative by y needs x > 0, or x = 0 and y >= 0",
      "0**0 is 1 and both its derivatives are 0; with a number as exponent, no derivative by the exponent is taken",
      (((0.0, 0.0), (0.0, 0.0)), ((0.0, 1.0), (1.0, 0.0)), ((0.0, 2.0), (0.0, 0.0))), with_number="pow_number",
      symbolic=("where((a == 0)*(b == 0), 0, b*a**(b - 1))", "where(a != 0, y*log(a), 0)")),
    P("pow_number", lambda x, y: np.power(x, y),
      (lambda x, y, out: where(y == 0.0, 0.0, power_below(y, x, y, 1, out)), zero),
      (lambda x, y, out: where((y == 0.0) | (y == 1.0), 0.0, power_below(y, x, y, 2, out) * (y - 1.0)),
       zero, zero),
      "x ** 2.5", ("2.5 * x**1.5", "0"), (POSITIVE, (2.5, 2.5)), wire=False, symbolic=("b*a**(b - 1)", "0")),
    # The most frequent power, without the time of a power.
    P("pow_two", lambda x, y: x * x, (lambda x, y, out: 2.0 * x, zero), (lambda x, y, out: 2.0, zero, zero),
      "x ** 2", ("2*x", "0"), (ANY, (2.0, 2.0)), wire=False, symbolic=("2*a", "0")),
    P("identity", lambda x: x, (lambda x, out: 1.0,), (zero,), "x", ("1",), (ANY,), wire=False),
    P("neg", lambda x: -x, (lambda x, out: -1.0,), (zero,), "-x", ("-1",), (ANY,), symbolic=("-1",)),
    P("reciprocal", lambda x: 1.0 / x, (lambda x, out: -out * out,), (lambda x, out: 2.0 * out * out * out,),
      "1/x", ("-1/x**2",), (POSITIVE,), "x != 0", symbolic=("-1/a**2",)),
    P("square", lambda x: x * x, (lambda x, out: 2.0 * x,), (lambda x, out: 2.0,), "x**2", ("2*x",), (ANY,), symbolic=("2*a",)),
    P("sqrt", lambda x: np.sqrt(x), (lambda x, out: 0.5 / out,), (lambda x, out: -0.25 / (x * out),),
      "sqrt(x)", ("1/(2*sqrt(x))",), (POSITIVE,), "x >= 0; the derivative needs x > 0", symbolic=("1/(2*y)",)),
    P("abs", lambda x: np.abs(x), (lambda x, out: np.sign(x),), (zero,),
      "abs(x)", ("sign(x)",), (POSITIVE,), kink="at 0 the derivative is 0", kinks=(((0.0,), (0.0,)),), symbolic=("sign(a)",)),
    P("sign", lambda x: np.sign(x), (zero,), (zero,),
      "-1, 0 or 1", ("0",), (POSITIVE,), kink="at 0 the value and the derivative are 0", kinks=(((0.0,), (0.0,)),),
      selects=True, symbolic=("0",)),
    # --- exponentials and logarithms
    P("exp", lambda x: np.exp(x), (lambda x, out: out,), (lambda x, out: out,), "exp(x)", ("exp(x)",), (ANY,), symbolic=("y",)),
    P("expm1", lambda x: np.expm1(x), (lambda x, out: np.exp(x),), (lambda x, out: np.exp(x),),
      "exp(x) - 1", ("exp(x)",), (ANY,), symbolic=("exp(a)",)),
    P("log", lambda x: np.log(x), (lambda x, out: 1.0 / x,), (lambda x, out: -1.0 / (x * x),),
      "log(x)", ("1/x",), (POSITIVE,), "x > 0", symbolic=("1/a",)),
    P("log1p", lambda x: np.log1p(x), (lambda x, out: 1.0 / (1.0 + x),),
      (lambda x, out: -1.0 / ((1.0 + x) * (1.0 + x)),), "log(1 + x)", ("1/(1 + x)",), ((-0.9, 4.0),), "x > -1",
      symbolic=("1/(1 + a)",)),
    P("log2", lambda x: np.log2(x), (lambda x, out: 1.0 / (x * LN2),), (lambda x, out: -1.0 / (x * x * LN2),),
      "log(x)/log(2)", ("1/(x*log(2))",), (POSITIVE,), "x > 0", symbolic=("1/(a*log(2))",)),
    P("log10", lambda x: np.log10(x), (lambda x, out: 1.0 / (x * LN10),), (lambda x, out: -1.0 / (x * x * LN10),),
      "log(x)/log(10)", ("1/(x*log(10))",), (POSITIVE,), "x > 0", symbolic=("1/(a*log(10))",)),
    P("logaddexp", lambda x, y: np.logaddexp(x, y),
      (lambda x, y, out: sigmoid(x - y), lambda x, y, out: sigmoid(y - x)),
      (lambda x, y, out: sigmoid(x - y) * sigmoid(y - x), lambda x, y, out: -sigmoid(x - y) * sigmoid(y - x),
       lambda x, y, out: sigmoid(x - y) * sigmoid(y - x)),
      "log(exp(x) + exp(y))", ("1/(1 + exp(y - x))", "1/(1 + exp(x - y))"), (ANY, ANY), wire=False),
    # The shift of `logsumexp`. The result does not depend on it, so no derivative by it is taken.
    P("largest", lambda x, y: np.maximum(x, y), (zero, zero), (zero, zero, zero), "max(x, y)", ("0", "0"), (ANY, ANY),
      wire=False),
    P("shift_down", lambda x, y: x - y, (lambda x, y, out: 1.0, zero), (zero, zero, zero), "x - y", ("1", "0"), (ANY, ANY),
      wire=False),
    P("shift_up", lambda x, y: x + y, (lambda x, y, out: 1.0, zero), (zero, zero, zero), "x + y", ("1", "0"), (ANY, ANY),
      wire=False),
    # --- circular functions
    P("sin", lambda x: np.sin(x), (lambda x, out: np.cos(x),), (lambda x, out: -out,), "sin(x)", ("cos(x)",), (ANY,),
      symbolic=("cos(a)",)),
    P("cos", lambda x: np.cos(x), (lambda x, out: -np.sin(x),), (lambda x, out: -out,), "cos(x)", ("-sin(x)",), (ANY,),
      symbolic=("-sin(a)",)),
    P("tan", lambda x: np.tan(x), (lambda x, out: 1.0 + out * out,), (lambda x, out: 2.0 * out * (1.0 + out * out),),
      "tan(x)", ("1 + tan(x)**2",), ((-1.4, 1.4),), "x not an odd multiple of pi/2", symbolic=("1 + y**2",)),
    P("asin", lambda x: np.arcsin(x), (lambda x, out: 1.0 / np.sqrt((1.0 - x) * (1.0 + x)),),
      (lambda x, out: x / ((1.0 - x) * (1.0 + x) * np.sqrt((1.0 - x) * (1.0 + x))),),
      "asin(x)", ("1/sqrt(1 - x**2)",), (INSIDE_ONE,), "-1 <= x <= 1; the derivative needs -1 < x < 1",
      symbolic=("1/sqrt(1 - a**2)",)),
    P("acos", lambda x: np.arccos(x), (lambda x, out: -1.0 / np.sqrt((1.0 - x) * (1.0 + x)),),
      (lambda x, out: -x / ((1.0 - x) * (1.0 + x) * np.sqrt((1.0 - x) * (1.0 + x))),),
      "acos(x)", ("-1/sqrt(1 - x**2)",), (INSIDE_ONE,), "-1 <= x <= 1; the derivative needs -1 < x < 1",
      symbolic=("-1/sqrt(1 - a**2)",)),
    P("atan", lambda x: np.arctan(x), (lambda x, out: 1.0 / (1.0 + x * x),),
      (lambda x, out: -2.0 * (x / (1.0 + x * x)) / (1.0 + x * x),), "atan(x)", ("1/(1 + x**2)",), (ANY,),
      symbolic=("1/(1 + a**2)",)),
    P("atan2", lambda x, y: np.arctan2(x, y),
      (lambda x, y, out: y / np.hypot(x, y) / np.hypot(x, y), lambda x, y, out: -x / np.hypot(x, y) / np.hypot(x, y)),
      (lambda x, y, out: -2.0 * (x / np.hypot(x, y)) * (y / np.hypot(x, y)) / np.hypot(x, y) / np.hypot(x, y),
       lambda x, y, out: 4.0 * ((0.5 * x - 0.5 * y) / np.hypot(x, y)) * ((0.5 * x + 0.5 * y) / np.hypot(x, y))
       / np.hypot(x, y) / np.hypot(x, y),
       lambda x, y, out: 2.0 * (x / np.hypot(x, y)) * (y / np.hypot(x, y)) / np.hypot(x, y) / np.hypot(x, y)),
      "the angle of the point (y, x)", ("y/(x**2 + y**2)", "-x/(x**2 + y**2)"), (ANY, POSITIVE), "not both 0",
      symbolic=("b/(a**2 + b**2)", "-a/(a**2 + b**2)")),
    # --- hyperbolic functions
    P("sinh", lambda x: np.sinh(x), (lambda x, out: np.cosh(x),), (lambda x, out: out,),
      "sinh(x)", ("cosh(x)",), (ANY,), symbolic=("cosh(a)",)),
    P("cosh", lambda x: np.cosh(x), (lambda x, out: np.sinh(x),), (lambda x, out: out,),
      "cosh(x)", ("sinh(x)",), (ANY,), symbolic=("sinh(a)",)),
    P("tanh", lambda x: np.tanh(x), (lambda x, out: tanh_slope(x, out),), (lambda x, out: -2.0 * out * tanh_slope(x, out),),
      "tanh(x)", ("1 - tanh(x)**2",), (ANY,), symbolic=("1/cosh(a)**2",)),
    P("asinh", lambda x: np.arcsinh(x), (lambda x, out: 1.0 / np.hypot(1.0, x),),
      (lambda x, out: -(x / np.hypot(1.0, x)) / np.hypot(1.0, x) / np.hypot(1.0, x),),
      "asinh(x)", ("1/sqrt(1 + x**2)",), (ANY,), symbolic=("1/sqrt(1 + a**2)",)),
    P("acosh", lambda x: np.arccosh(x), (lambda x, out: 1.0 / (np.sqrt(x - 1.0) * np.sqrt(x + 1.0)),),
      (lambda x, out: -(x / (x + 1.0)) / (x - 1.0) / (np.sqrt(x - 1.0) * np.sqrt(x + 1.0)),),
      "acosh(x)", ("1/sqrt(x**2 - 1)",), ((1.1, 4.0),), "x >= 1; the derivative needs x > 1",
      symbolic=("1/sqrt(a**2 - 1)",)),
    P("atanh", lambda x: np.arctanh(x), (lambda x, out: 1.0 / ((1.0 - x) * (1.0 + x)),),
      (lambda x, out: 2.0 * x / ((1.0 - x) * (1.0 + x) * (1.0 - x) * (1.0 + x)),),
      "atanh(x)", ("1/(1 - x**2)",), (INSIDE_ONE,), "-1 < x < 1", symbolic=("1/(1 - a**2)",)),
    P("hypot", lambda x, y: np.hypot(x, y),
      (lambda x, y, out: hypot_slope(x, y, out), lambda x, y, out: hypot_slope(y, x, out)),
      (lambda x, y, out: (y / out) * (y / out) / out, lambda x, y, out: -(x / out) * (y / out) / out,
       lambda x, y, out: (x / out) * (x / out) / out),
      "sqrt(x**2 + y**2)", ("x/hypot(x, y)", "y/hypot(x, y)"), (ANY, POSITIVE),
      kink="at (0, 0) both derivatives are 0", kinks=(((0.0, 0.0), (0.0, 0.0)),),
      symbolic=("where(y != 0, a/y, 0)", "where(y != 0, b/y, 0)")),
    # --- activations
    P("sigmoid", lambda x: sigmoid(x), (lambda x, out: out * sigmoid_rest(x, out),),
      (lambda x, out: -out * sigmoid_rest(x, out) * np.tanh(0.5 * x),), "1/(1 + exp(-x))", ("sigmoid(x)*sigmoid(-x)",), (ANY,),
      symbolic=("y*sigmoid(-a)",)),
    P("softplus", lambda x: np.maximum(x, 0.0) + np.log1p(np.exp(-np.abs(x))), (lambda x, out: sigmoid(x),),
      (lambda x, out: sigmoid(x) * sigmoid(-x),), "log(1 + exp(x))", ("sigmoid(x)",), (ANY,), symbolic=("sigmoid(a)",)),
    P("relu", lambda x: where(x < 0.0, 0.0, x), (lambda x, out: where(x > 0.0, 1.0, 0.0),), (zero,),
      "x if x > 0 else 0", ("1 if x > 0 else 0",), (POSITIVE,), kink="at 0 the derivative is 0",
      kinks=(((0.0,), (0.0,)), ((-1.0,), (0.0,))), selects=True, symbolic=("where(a > 0, 1, 0)",)),
    P("leaky_relu", lambda x: where(x > 0.0, x, 0.01 * x), (lambda x, out: where(x > 0.0, 1.0, 0.01),),
      (zero,), "x if x > 0 else 0.01*x", ("1 if x > 0 else 0.01",), (POSITIVE,),
      kink="at 0 the derivative is 0.01", kinks=(((0.0,), (0.01,)), ((-1.0,), (0.01,))), symbolic=("where(a > 0, 1, 0.01)",)),
    P("elu", lambda x: where(x > 0.0, x, np.expm1(x)), (lambda x, out: where(x > 0.0, 1.0, np.exp(x)),),
      (lambda x, out: where(x > 0.0, 0.0, np.exp(x)),), "x if x > 0 else exp(x) - 1", ("1 if x > 0 else exp(x)",),
      ((-3.0, -0.1),), kink="at 0 the derivative is 1 and the second derivative is 1",
      kinks=(((0.0,), (1.0,)), ((2.0,), (1.0,))), symbolic=("where(a > 0, 1, exp(a))",)),
    P("gelu", lambda x: x * normal_cdf(x), (lambda x, out: normal_cdf(x) + x * normal_pdf(x),),
      (lambda x, out: where(np.abs(x) > 40.0, 0.0, (2.0 - x * x) * normal_pdf(x)),), "x/2 * (1 + erf(x/sqrt(2)))",
      ("(1 + erf(x/sqrt(2)))/2 + x*exp(-x**2/2)/sqrt(2*pi)",), (ANY,),
      symbolic=("erfc(-a/sqrt(2))/2 + a*exp(-a**2/2)/sqrt(2*pi)",)),
    P("silu", lambda x: x * sigmoid(x), (lambda x, out: sigmoid(x) * (1.0 + x * sigmoid(-x)),),
      (lambda x, out: sigmoid(x) * sigmoid(-x) * (2.0 - x * np.tanh(0.5 * x)),), "x*sigmoid(x)",
      ("sigmoid(x)*(1 + x*sigmoid(-x))",), (ANY,), symbolic=("sigmoid(a)*(1 + a*sigmoid(-a))",)),
    # --- special functions
    P("erf", lambda x: erf(x), (lambda x, out: TWO_OVER_SQRT_PI * gauss(x),),
      (lambda x, out: -2.0 * TWO_OVER_SQRT_PI * (x * gauss(x)),), "2/sqrt(pi) times the integral of exp(-t**2), 0 to x",
      ("2/sqrt(pi)*exp(-x**2)",), (ANY,), symbolic=("2/sqrt(pi)*exp(-a**2)",)),
    P("erfc", lambda x: erfc(x), (lambda x, out: -TWO_OVER_SQRT_PI * gauss(x),),
      (lambda x, out: 2.0 * TWO_OVER_SQRT_PI * (x * gauss(x)),), "1 - erf(x)", ("-2/sqrt(pi)*exp(-x**2)",), (ANY,),
      symbolic=("-2/sqrt(pi)*exp(-a**2)",)),
    P("lgamma", lambda x: lgamma(x), (lambda x, out: digamma(x),), (lambda x, out: trigamma(x),),
      "log(abs(gamma(x)))", ("digamma(x)",), (POSITIVE,), "x not 0, -1, -2, ...", symbolic=("digamma(a)",)),
    P("digamma", lambda x: digamma(x), (lambda x, out: trigamma(x),), (lambda x, out: tetragamma(x),),
      "the derivative of lgamma", ("polygamma(1, x)",), (POSITIVE,), "x not 0, -1, -2, ...", symbolic=("polygamma(1, a)",)),
    P("polygamma", lambda x, y: polygamma(x, y), (zero, lambda x, y, out: polygamma(x + 1.0, y)),
      (zero, zero, lambda x, y, out: polygamma(x + 2.0, y)),
      "the derivative of order x of digamma at y", ("0", "polygamma(x + 1, y)"), ((3.0, 3.0), POSITIVE),
      "x a whole number from 0 to 100, y not 0, -1, -2, ...; no derivative by x is taken",
      symbolic=("0", "polygamma(a + 1, b)")),
    # --- choice
    P("min", lambda x, y: np.minimum(x, y),
      (lambda x, y, out: where(x < y, 1.0, where(x == y, 0.5, 0.0)),
       lambda x, y, out: where(y < x, 1.0, where(x == y, 0.5, 0.0))),
      (zero, zero, zero),
      "the smallest argument", ("1 if x < y else 0", "1 if y < x else 0"), ((-3.0, -0.1), POSITIVE),
      kink="if two are equal, each side gets half; more than two are compared in pairs from the left",
      kinks=(((1.0, 1.0), (0.5, 0.5)), ((2.0, 1.0), (0.0, 1.0))), selects=True, fold="min",
      symbolic=("where(a <= b, where(a == b, 0.5, 1), 0)", "where(b <= a, where(a == b, 0.5, 1), 0)")),
    P("max", lambda x, y: np.maximum(x, y),
      (lambda x, y, out: where(x > y, 1.0, where(x == y, 0.5, 0.0)),
       lambda x, y, out: where(y > x, 1.0, where(x == y, 0.5, 0.0))),
      (zero, zero, zero),
      "the largest argument", ("1 if x > y else 0", "1 if y > x else 0"), ((-3.0, -0.1), POSITIVE),
      kink="if two are equal, each side gets half; more than two are compared in pairs from the left",
      kinks=(((1.0, 1.0), (0.5, 0.5)), ((2.0, 1.0), (1.0, 0.0))), selects=True, fold="max",
      symbolic=("where(a >= b, where(a == b, 0.5, 1), 0)", "where(b >= a, where(a == b, 0.5, 1), 0)")),
    P("where", lambda x, y, z: where(x != 0.0, y, z),
      (zero, lambda x, y, z, out: where(x != 0.0, 1.0, 0.0),
       lambda x, y, z, out: where(x != 0.0, 0.0, 1.0)),
      (zero, zero, zero,
       zero, zero, zero),
      "y if x != 0 else z", ("0", "1 if x != 0 else 0", "0 if x != 0 else 1"), (POSITIVE, ANY, ANY),
      kink="the branch that is not taken gets exactly 0, whatever it holds",
      kinks=(((0.0, 1.0, 2.0), (0.0, 0.0, 1.0)), ((-1.0, 1.0, 2.0), (0.0, 1.0, 0.0))), selects=True,
      symbolic=("0", "where(a != 0, 1, 0)", "where(a == 0, 1, 0)")),
) + tuple(
    # --- comparisons: 1 or 0, flat on both sides
    P(name, fun, (zero, zero),
      (zero, zero, zero),
      f"1 if x {symbol} y else 0", ("0", "0"), ((-3.0, -0.1), POSITIVE), kink="the derivative is 0 everywhere",
      kinks=(((1.0, 1.0), (0.0, 0.0)),), selects=True, symbolic=("0", "0"))
    for name, symbol, fun in (
        ("lt", "<", lambda x, y: where(x < y, 1.0, 0.0)),
        ("le", "<=", lambda x, y: where(x <= y, 1.0, 0.0)),
        ("gt", ">", lambda x, y: where(x > y, 1.0, 0.0)),
        ("ge", ">=", lambda x, y: where(x >= y, 1.0, 0.0)),
        ("eq", "==", lambda x, y: where(x == y, 1.0, 0.0)),
        ("ne", "!=", lambda x, y: where(x != y, 1.0, 0.0)),
    )
) + (
    # --- any number of arguments
    P("sum", fold="add", formula="x1 + x2 + ...", derivative=("1 for each argument",), symbolic=("1",)),
    P("mean", fold="add", average=True, formula="(x1 + x2 + ... + xn)/n", derivative=("1/n for each argument",),
      symbolic=("1/n",)),
    P("prod", fold="mul", formula="x1 * x2 * ...", derivative=("the product of the others, even if one is 0",)),
    P("logsumexp", fold="logaddexp", shift=True, formula="log(exp(x1) + exp(x2) + ...)",
      derivative=("exp(xi - logsumexp(x1, ...))",), symbolic=("exp(a - y)",),
      symbolic_of_few="sigmoid(-b)"),  # which has all digits, however large the value is
)
# fmt: on

LEAF = "value"
"""The `op` of a leaf: a number that is given, not computed."""

LEAF_CODE = len(PRIMITIVES)
"""The opcode of a leaf, which no row has."""

ALIASES = {"div": "divide"}
"""Other names of operations."""

OPCODE: dict[str, int] = {row.name: code for code, row in enumerate(PRIMITIVES)}
"""The index of each row in the table, which is all that a tape and its kernels know of an operation."""

WIRE: dict[str, Primitive] = {row.name: row for row in PRIMITIVES if row.wire}
"""The operations that an expression can name."""
