"""What people type and send, what is wrong with it, and what the answer must say.

The rows are grouped by what they are about. Expressions come from spreadsheets, MATLAB, R, JavaScript, LaTeX, Python,
Mathematica, pocket calculators and paper. `means` was worked out apart from the service, with Python's own arithmetic: a text
that an answer proposes must have this value.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from tests.contract.wire import leaf, node
from tests.nn.networks import MODEL, ROWS

X, Y, N = 0.7, 1.9, 5.0
"""The numbers that the names of all rows have, chosen so that different texts have different values."""


class Typed(NamedTuple):
    """A text that is no expression.

    `says` are parts of the answer's detail; "a|b" stands for a or b. `writes` is the text it proposes, if any, with the value
    `means` at `inputs`; None if it must not propose any.
    """

    text: str
    says: tuple[str, ...]
    writes: str | None
    means: float | None
    inputs: dict[str, float]


def typed(text: str, *says: str, writes: str | None = None, means: float | None = None, **inputs: float) -> Typed:
    """A row. Every name has its number from the beginning of this file unless it is given another."""
    return Typed(text, says, writes, means, {"x": X, "y": Y, **inputs})


def sigmoid(z: float) -> float:
    return 1 / (1 + math.exp(-z))


OPERATORS = [
    typed("2x", "'x'", "line 1, column 2", "*", writes="2*x", means=2 * X),
    typed("2(x+1)", "*", writes="2*(x+1)", means=2 * (X + 1)),
    typed("(x+1)(x-1)", "*", writes="(x+1)*(x-1)", means=(X + 1) * (X - 1)),
    typed("x(x+1)", "*", writes="x*(x+1)", means=X * (X + 1)),
    typed("x y", "*", writes="x*y", means=X * Y),
    typed("2 x y", "*", writes="2*x*y", means=2 * X * Y),
    typed("2pi", "*", writes="2*pi", means=2 * math.pi),
    typed("3x + 2y", "*", writes="3*x + 2*y", means=3 * X + 2 * Y),
    typed("sin(x)cos(x)", "*", writes="sin(x)*cos(x)", means=math.sin(X) * math.cos(X)),
    typed("pmax(x, y)", "'max'", writes="max(x, y)", means=Y),
    typed("amin(x, y)", "'min'", writes="min(x, y)", means=X),
    typed("dsqrt(x)", "'sqrt'", writes="sqrt(x)", means=math.sqrt(X)),
    typed("neq(x, y)", "'ne'", writes="ne(x, y)", means=1.0),
    typed("gmean(x, y)", "arithmetic"),
    typed("dexp(x)", "no distributions"),
    typed("csqrt(x)", "no primitive 'csqrt'"),
    typed("vsum(x, y)", "no primitive 'vsum'"),
    typed("x(2)", "no indexing"),
    typed("(x + y)[1]", "no indexing"),
    typed("x{2}", "no indexing"),
    typed("[x y]", "list"),
    typed("sum([x y])", "commas"),
    typed("max([x -1])", "commas"),
    typed("sum([x, y])", "brackets", writes="sum(x, y)", means=X + Y),
    typed("2ˣ", "**", writes="2**x", means=2**X),
    typed("n!!", "double factorial", n=N),
    typed("!x > 1", "parentheses"),
    typed("~x == y", "parentheses"),
    typed("!(x > 1)", writes="1 - (x > 1)", means=1.0),
    typed("log(x, base = 2)", "without names"),
    typed("\\(x) x^2", "alone", writes="x**2", means=X**2),
    typed("1 if x", "'else'"),
    typed("xsin(x)", "'xsin'", "*", writes="x*sin(x)", means=X * math.sin(X)),
    typed("1/2x", "1/(2*x)", "(1/2)*x"),
    typed("x^2y", "**"),
    typed("x²", "**", writes="x**2", means=X**2),
    typed("x³ + 2x² − 5", "**", writes="x**3 + 2*x**2 - 5", means=X**3 + 2 * X**2 - 5),
    typed("x²y", writes="x**2*y", means=X**2 * Y),
    typed("x⁻¹", writes="x**-1", means=1 / X),
    typed("2×x", writes="2*x", means=2 * X),
    typed("x÷2", writes="x/2", means=X / 2),
    typed("2·x", writes="2*x", means=2 * X),
    typed("−x", writes="-x", means=-X),
    typed("x – 1", writes="x - 1", means=X - 1),
    typed("√x", "sqrt", writes="sqrt(x)", means=math.sqrt(X)),
    typed("√(x+1)", "sqrt", writes="sqrt(x+1)", means=math.sqrt(X + 1)),
    typed("2√x", "sqrt", writes="2*sqrt(x)", means=2 * math.sqrt(X)),
    typed("√2x", "sqrt"),
    typed("½x", writes="(1/2)*x", means=X / 2),
    typed("x^2", "**", writes="x**2", means=X**2),
    typed("-x^2", "**", writes="-x**2", means=-(X**2)),
    typed("2*x^3 - x^0.5", "**", writes="2*x**3 - x**0.5", means=2 * X**3 - X**0.5),
    typed("2^3^2", "**", "parentheses"),
    typed("x * * 2", "** without a space", writes="x ** 2", means=X**2),
    typed("x%2", "no remainder"),
    typed("x//2", "no whole-number division"),
    typed("5!", "exp(lgamma(n + 1))", writes="exp(lgamma(5 + 1))", means=120.0),
    typed("(x+1)!", "lgamma", writes="exp(lgamma(x+1 + 1))", means=math.gamma(X + 2)),
    typed("|x|", "abs", writes="abs(x)", means=X),
    typed("2|x - y|", "abs", writes="2*abs(x - y)", means=2 * (Y - X)),
    typed("|x| + |y|", "abs", writes="abs(x) + abs(y)", means=X + Y),
    typed("|x - |y||", "abs"),
    typed("x > 1 | | y > 1", "abs"),
    typed("x ≤ y", writes="x <= y", means=1.0),
    typed("x ≠ y", writes="x != y", means=1.0),
    typed("x <> y", "!=", writes="x != y", means=1.0),
    typed("x === y", "==", writes="x == y", means=0.0),
    typed("x =< y", "<=", writes="x <= y", means=1.0),
    typed("x = y = 3", "equality", "=="),
    typed("2ˣ3", "write a power with **"),
    typed("sin(x) = y", "an equality is written =="),
    typed("2 3", "found '3'"),
    typed("x.foo(2)", "names have no dots"),
    typed("foo.(x)", "names have no dots"),
    typed("x += 1", "a name keeps its value"),
    typed("x++", "in place"),
    typed("x @ y", "matrices"),
    typed("x ± 1", "one value"),
    typed("x‐y", writes="x-y", means=X - Y),
    typed("x ~= y", "!=", writes="x != y", means=1.0),
    typed("x is y", "==", writes="x == y", means=0.0),
    typed("x is not y", "!=", writes="x != y", means=1.0),
    typed("x xor y", "!="),
    typed("x div 2", "no whole-number division"),
    typed("x %/% 2", "no whole-number division"),
    typed("x\\y", "with /", writes="y/x", means=Y / X),
    typed("exp^x", "a function", writes="exp(x)", means=math.exp(X)),
    typed("exp^2(x)", writes="exp(x)**2", means=math.exp(X) ** 2),
    typed("sinh^-1(x)", "asinh", "1/sinh(x)"),
    typed("sqrt^-1(x)", "inverse function", "1/sqrt(x)"),
    typed("√1e-4 + x", "sqrt", writes="sqrt(1e-4) + x", means=0.01 + X),
    typed("x !== y", "!=", writes="x != y", means=1.0),
    typed("x => 1", ">="),
    typed("x + ... + y", "all terms"),
    typed("∏ x", "prod(a, b, c)"),
    typed("∑ x", "sum(a, b, c)"),
    typed("∫ x dx", "no integrals"),
]
"""Operators and signs."""

FUNCTIONS = [
    typed("np.pi*x", "constants are written pi and e", writes="pi*x", means=math.pi * X),
    typed("Math.E*x", "constants are written pi and e", writes="e*x", means=math.e * X),
    typed("2*if(x > 1, y, 3)", "the function is called where", writes="2*where(x > 1, y, 3)", means=6.0),
    typed("if (x > 1, y)", "the function is called where"),
    typed("max(2x, x > 1 ? 1 : 0)", "a if condition else b", writes="max(2*x,1 if x > 1 else 0)", means=2 * X),
    typed("2 x squared", "in symbols"),
    typed("cube(1 if x > 1 else y)", "x**3", writes="(1 if x > 1 else y)**3", means=Y**3),
    typed("sin x", "sin(x)", writes="sin(x)", means=math.sin(X)),
    typed("2 sin x + cos y", writes="2*sin(x) + cos(y)", means=2 * math.sin(X) + math.cos(Y)),
    typed("abs x", writes="abs(x)", means=X),
    typed("sin 2x", "parentheses"),
    typed("sin x^2", "parentheses"),
    typed("sin x*y", "parentheses"),
    typed("SIN(x)", "'sin'", writes="sin(x)", means=math.sin(X)),
    typed("Sin[x]", "round brackets", writes="sin(x)", means=math.sin(X)),
    typed("Sqrt[x] + Exp[y]", writes="sqrt(x) + exp(y)", means=math.sqrt(X) + math.exp(Y)),
    typed("np.sin(x)", "bare names", writes="sin(x)", means=math.sin(X)),
    typed("math.exp(x) + math.pi", "bare names", writes="exp(x) + pi", means=math.exp(X) + math.pi),
    typed("Math.PI*x", "pi", writes="pi*x", means=math.pi * X),
    typed("torch.nn.functional.relu(x)", writes="relu(x)", means=X),
    typed("x.sin()", "bare names", writes="sin(x)", means=math.sin(X)),
    typed("(x + 1).tanh()", writes="tanh(x + 1)", means=math.tanh(X + 1)),
    typed("arctan.(x)", "no dot", writes="atan(x)", means=math.atan(X)),
    typed("rad2deg(sin(x))", "x*180/pi", writes="sin(x)*180/pi", means=math.degrees(math.sin(X))),
    typed("max(x; y)", "commas", writes="max(x, y)", means=Y),
    typed("nabla(x)", "as a whole"),
    typed("{x", "not a list"),
    typed("x.y", "no dots"),
    typed("Sum[x, {i, 1, 3}]", "sum(a, b, c)"),
    typed("x.pow(2)", writes="pow(x, 2)", means=X**2),
    typed("sin^2(x)", "after the call", writes="sin(x)**2", means=math.sin(X) ** 2),
    typed("sin² x", writes="sin(x)**2", means=math.sin(X) ** 2),
    typed("sin^2 x + cos^2 x", writes="sin(x)**2 + cos(x)**2", means=1.0),
    typed("sin^-1(x)", "asin", "1/sin(x)"),
    typed("cot(x)", "cot(x) is 1/tan(x)", writes="1/tan(x)", means=1 / math.tan(X)),
    typed("2/cot(x+1)", "1/tan(x)", writes="2/(1/tan(x+1))", means=2 * math.tan(X + 1)),
    typed("sec(x)", "sec(x) is 1/cos(x)", writes="1/cos(x)", means=1 / math.cos(X)),
    typed("csc(x)", "1/sin(x)", writes="1/sin(x)", means=1 / math.sin(X)),
    typed("gamma(x)", "gamma(x) is exp(lgamma(x)) for x > 0"),
    typed("factorial(x)", "exp(lgamma(n + 1))"),
    typed("softmax(x, y)", "exp(x)/(exp(x) + exp(y))", writes="exp(x)/(exp(x) + exp(y))", means=sigmoid(X - Y)),
    typed("round(x)", "'round'", "no rounding"),
    typed("floor(x)", "'floor'", "no rounding"),
    typed("ceil(x)", "no rounding"),
    typed("mod(x, 2)", "'mod'", "no rounding, remainder"),
    typed("arcsin(x)", "'asin'", writes="asin(x)", means=math.asin(X)),
    typed("arctan2(y, x)", "'atan2'", writes="atan2(y, x)", means=math.atan2(Y, X)),
    typed("atan(y, x)", "atan2", writes="atan2(y, x)", means=math.atan2(Y, X)),
    typed("ln(x)", "'log'", writes="log(x)", means=math.log(X)),
    typed("lg(x)", "log10(x)", "log2(x)"),
    typed("ld(x)", "'log2'", writes="log2(x)", means=math.log2(X)),
    typed("log(x, 10)", "log(x)/log(b)"),
    typed("logistic(x)", "'sigmoid'", writes="sigmoid(x)", means=sigmoid(X)),
    typed("swish(x)", "'silu'", writes="silu(x)", means=X * sigmoid(X)),
    typed("cbrt(x)", writes="sign(x)*abs(x)**(1/3)", means=X ** (1 / 3)),
    typed("clip(x, 0, 0.5)", "min(max(x, low), high)", writes="min(max(x, 0), 0.5)", means=0.5),
    typed("normcdf(x)", "erfc(-x/sqrt(2))/2", writes="erfc(-x/sqrt(2))/2", means=0.5 * math.erfc(-X / math.sqrt(2))),
    typed("heaviside(x)", "x > 0", "x >= 0"),
    typed("sinc(x)", "sin(x)/x", "sin(pi*x)/(pi*x)"),
    typed("power(x, 2)", "'pow'", writes="pow(x, 2)", means=X**2),
    typed("POWER(x;2)", "'pow'", writes="pow(x,2)", means=X**2),
    typed("max(x; y)", "commas", writes="max(x, y)", means=Y),
    typed("max([x, y])", "without brackets", writes="max(x, y)", means=Y),
    typed("average(x, y)", "'mean'", writes="mean(x, y)", means=(X + Y) / 2),
    typed("sinn(x)", "'sin'"),
    typed("tahn(x)", "'tanh'"),
    typed("foo(x)", "'foo'", "/v1/primitives"),
    typed("PI()*x", "written pi", writes="pi*x", means=math.pi * X),
    typed("pi(x+1)", "*", writes="pi*(x+1)", means=math.pi * (X + 1)),
    typed("SUMSQ(x,y)", writes="x**2 + y**2", means=X**2 + Y**2),
    typed("IF(x>0,x)", "'where'"),
    typed("sum(c(x, y))", "without c()", writes="sum(x, y)", means=X + Y),
    typed("c(x, y)", "stand for numbers"),
    typed("ones(2)", "stand for numbers"),
    typed("dnorm(x)", writes="exp(-x**2/2)/sqrt(2*pi)", means=math.exp(-(X**2) / 2) / math.sqrt(2 * math.pi)),
    typed("pnorm(x)", writes="erfc(-x/sqrt(2))/2", means=0.5 * math.erfc(-X / math.sqrt(2))),
    typed("dnorm(x, y, 2)", "dnorm(x) is"),
    typed("sin.(x)", "no dot", writes="sin(x)", means=math.sin(X)),
    typed("x |> sin", "parentheses", writes="sin(x)", means=math.sin(X)),
    typed("x %>% exp()", "parentheses", writes="exp(x)", means=math.exp(X)),
    typed("max{x, y}", "round brackets", writes="max(x, y)", means=Y),
    typed("σ(x)", "'sigmoid'", writes="sigmoid(x)", means=sigmoid(X)),
    typed("Γ(x)", "exp(lgamma(x))", "x > 0"),
    typed("log_2(x)", "'log2'", writes="log2(x)", means=math.log2(X)),
    typed("log_2 x", "the base", writes="log2(x)", means=math.log2(X)),
    typed("parseFloat(x)", "not converted"),
]
"""Functions."""

WHOLE = [
    typed("f(x)=x**2", "expression alone", writes="x**2", means=X**2),
    typed("f(x, y) := x*y", writes="x*y", means=X * Y),
    typed("=LOG(x)", "log10"),
    typed("LOG(x)", "base 10", "log10(x) or log(x)"),
    typed("=ATAN2(x, y)", "atan2(y, x)"),
    typed("ATAN2(x, y)", "atan2(y, x)"),
    typed("ArcTan[x, y]", "atan2(y, x)", writes="atan2(y, x)", means=math.atan2(Y, X)),
    typed("=-x^2", "(-x)**2 or -(x**2)"),
    typed("=2*-x^2", "(-x)**2 or -(x**2)"),
    typed("=y-x^2", "without =", writes="y-x**2", means=Y - X**2),
    typed("max(1,5;2)", "separated by commas"),
    typed("=MAX(x;y)", "without =", writes="max(x,y)", means=Y),
    typed("SQR(x)", "Conventions differ"),
    typed("select(x, y, x > 0)", "where(condition, a, b)"),
    typed(r"\cot x", "LaTeX"),
    typed(r"\cot(x)", "LaTeX", writes="1/tan(x)", means=1 / math.tan(X)),
    typed(r"\log_y x", "LaTeX"),
    typed(r"\frac{d}{dx} x^2", "LaTeX"),
    typed(r"x \times y", "LaTeX", writes="x *y", means=X * Y),
    typed(r"x \leq y", "LaTeX", writes="x <= y", means=1.0),
    typed("=x*2", "without =", writes="x*2", means=2 * X),
    typed("lambda x: x**2", writes="x**2", means=X**2),
    typed("def f(x): return x**2", writes="x**2", means=X**2),
    typed("x => x**2", writes="x**2", means=X**2),
    typed("x -> x^2", writes="x**2", means=X**2),
    typed("@(x) x.^2", writes="x**2", means=X**2),
    typed("function(x) x^2", writes="x**2", means=X**2),
    typed("let z = x + 1", writes="z = x + 1", means=X + 1),
    typed("return x**2", writes="x**2", means=X**2),
    typed("z := x**2", "=", writes="z = x**2", means=X**2),
    typed("z <- x^2", "=", writes="z = x**2", means=X**2),
    typed("lambda*x", "reserved word"),
    typed('"x**2"', "quotes", writes="x**2", means=X**2),
    typed("“x**2”", "quotes", writes="x**2", means=X**2),
    typed("x .^ 2 + x.*y", "no dot", writes="x**2 + x*y", means=X**2 + X * Y),
    typed("$x^2$", "dollar", writes="x**2", means=X**2),
    typed(r"\frac{x}{2} + \sqrt{y}", "LaTeX", writes="((x)/(2)) + sqrt(y)", means=X / 2 + math.sqrt(Y)),
    typed(r"\sin(x)", "LaTeX", writes="sin(x)", means=math.sin(X)),
    typed("e^{-x^2}", "LaTeX", writes="e**(-x**2)", means=math.exp(-(X**2))),
    typed(r"2\pi x", "LaTeX", writes="2*pi*x", means=2 * math.pi * X),
    typed("x[0]", "indexing", writes="x0", means=3.0, x0=3.0),
    typed("x[i]", "indexing"),
    typed("[x, y]", "not a list"),
    typed("{x+1}*2", "round brackets", writes="(x+1)*2", means=2 * (X + 1)),
    typed("x, y", "one value"),
    typed("x * (y + 2", "')'"),
    typed("x + 1 // a note", "comment begins with #"),
    typed("derivative of x^2", "in symbols"),
    typed("x plus 2", "in symbols"),
    typed("d/dx x^2", "differentiated as a whole"),
    typed("f'(x)", "differentiated as a whole"),
    typed("∂x", "differentiated as a whole"),
    typed("diff(x^2, x)", "differentiated as a whole"),
    typed("∫x dx", "no integrals"),
    typed("integrate(x**2, x)", "no integrals"),
    typed("∑x", "sum(a, b, c)"),
    typed("$A$1*2", "dollar", writes="A1*2", means=6.0, A1=3.0),
    typed("A1:A3", "no ranges"),
    typed("${x}*2", "dollar", writes="x*2", means=2 * X),
    typed("{{x}}*2", "template", writes="x*2", means=2 * X),
    typed("() => 3*2", "alone", writes="3*2", means=6.0),
    typed("@. sin(x)", "alone", writes="sin(x)", means=math.sin(X)),
    typed("begin x^2 end", "alone", writes="x**2", means=X**2),
    typed("import math", "bare names"),
    typed("% a note", "begins with #"),
    typed("for i in x: i", "no loops"),
    typed("[i**2 for i in x]", "no loops"),
    typed("sum(a for a in x)", "no loops"),
    typed("y ~ 2*x", "right-hand side", writes="2*x", means=2 * X),
    typed("D[x^2, x]", "differentiated as a whole"),
    typed("Integrate[x, x]", "no integrals"),
    typed(r"\int_0^1 x dx", "no integrals"),
    typed(r"\sum_{i=1}^{3} x_i", "sum(a, b, c)"),
    typed(r"\frac12 x", "LaTeX", writes="((1)/(2))*x", means=X / 2),
    typed(r"\log_2 x", "LaTeX", writes="log2(x)", means=math.log2(X)),
    typed(r"\lvert x - y \rvert", "LaTeX", writes="abs(x - y)", means=Y - X),
    typed("x_{1}^2", "LaTeX", writes="x_1**2", means=9.0, x_1=3.0),
    typed(r"\begin{cases} x \end{cases}", "LaTeX"),
    typed("z:=x*2", "with =", writes="z=x*2", means=2 * X),
    typed("x /* a note */", "begins with #"),
    typed(r"\partial x", "as a whole"),
    typed(r"\lVert x \rVert", "LaTeX", writes="abs(x)", means=X),
    typed(r"x \lt y", "LaTeX", writes="x < y", means=1.0),
    typed(r"x \gt y", "LaTeX", writes="x > y", means=0.0),
]
"""Statements, and the notation of other languages."""

CONDITIONS = [
    typed("x>0 ? x : -x", "a if condition else b", writes="x if x>0 else -x", means=X),
    typed("z = x>1 ? 1 : 2", writes="z = 1 if x>1 else 2", means=2.0),
    typed("x > 0 ? 1 : x < -1 ? 2 : 3", "a if condition else b"),
    typed("if x > 0: x else: -x", writes="x if x > 0 else -x", means=X),
    typed("if x > 1 then x else y", writes="x if x > 1 else y", means=Y),
    typed("if (x > 1) x else y", writes="x if (x > 1) else y", means=Y),
    typed("IF(x>0, x, -x)", "'where'", writes="where(x>0, x, -x)", means=X),
    typed("if(x>0, x, -x)", "where", writes="where(x>0, x, -x)", means=X),
    typed("ifelse(x > 1, x, 0)", "'where'", writes="where(x > 1, x, 0)", means=0.0),
    typed("np.where(x > 1, x, y)", writes="where(x > 1, x, y)", means=Y),
    typed("x > 0 && y > 2", "multiply", writes="(x > 0)*(y > 2)", means=0.0),
    typed("x > 0 and y > 0", "multiply", writes="(x > 0)*(y > 0)", means=1.0),
    typed("1 if x > 0 and y < 1 else 3", "multiply", writes="1 if (x > 0)*(y < 1) else 3", means=3.0),
    typed("x > 1 or y > 1", "max", writes="max(x > 1, y > 1)", means=1.0),
    typed("x > 1 || y > 2", "max", writes="max(x > 1, y > 2)", means=0.0),
    typed("not x > 0", "1 minus", writes="1 - (x > 0)", means=0.0),
    typed("!(x > 1)", "1 minus", writes="1 - (x > 1)", means=1.0),
    typed("x and y", "multiply comparisons"),
    typed("True*x", "1", writes="1*x", means=X),
    typed("x*False", "0", writes="x*0", means=0.0),
    typed("x + None", "no None"),
    typed("x ?", "a if condition else b"),
    typed("x > 1 | y > 1", "max", writes="max(x > 1, y > 1)", means=1.0),
]
"""Conditions and booleans."""

NUMBERS = [
    typed("3,14*x", "point", writes="3.14*x", means=3.14 * X),
    typed("sin(1,5)", "1.5"),
    typed("1,000*x", "1000", "1.000"),
    typed("1,000,000", "thousands", writes="1000000", means=1e6),
    typed("1,234.5", "thousands", writes="1234.5", means=1234.5),
    typed("1.000,5", "thousands", writes="1000.5", means=1000.5),
    typed("1 000*x", "thousands", writes="1000*x", means=1000 * X),
    typed("1'000", "thousands", writes="1000", means=1000.0),
    typed("２*x", "plain", writes="2*x", means=2 * X),
    typed("（x＋1）", "plain", writes="(x+1)", means=X + 1),
    typed("٣*x", "0 to 9", writes="3*x", means=3 * X),
    typed("0x1F", "decimal", writes="31", means=31.0),
    typed("0b101 + x", "decimal", writes="5 + x", means=5 + X),
    typed("x + 0o17", "decimal", writes="x + 15", means=X + 15),
    typed("1.2.3", "'.3'"),
    typed("1e999", "1.8e308"),
    typed("05", "leading zeros"),
    typed("sin(30°)", "radians", writes="sin(30*pi/180)", means=0.5),
    typed("cos(60 deg)", "radians", writes="cos(60*pi/180)", means=0.5),
    typed("sind(30)", "sin(x*pi/180)", writes="sin(30*pi/180)", means=0.5),
    typed("radians(x)", "x*pi/180", writes="x*pi/180", means=math.radians(X)),
    typed("5 kg", "no units"),
    typed("$5 + x", "no units", writes="5 + x", means=5 + X),
    typed("20% * x", "quotient", writes="(20/100)* x", means=0.2 * X),
    typed("∞", "no infinity"),
    typed("3 + 4i", "real"),
    typed("2.5im", "real"),
    typed("1d-3*x", "1e-3", "*"),
    typed("1D5*x", "1e-3", "*"),
    typed("1.0f*x", "no suffix"),
    typed("1L", "no suffix"),
    typed("x*50%", "quotient", writes="x*(50/100)", means=0.5 * X),
    typed("x + 5%", "no remainder"),
    typed("10 % -3", "no remainder"),
]
"""Numbers, angles and units."""

TYPED = [*OPERATORS, *FUNCTIONS, *WHOLE, *CONDITIONS, *NUMBERS]


class Sent(NamedTuple):
    """A request that is wrong, the problem it gets, the place in the body, and parts of the answer's texts.

    `fixed` makes the request that the answer asks for, which must be answered with 200.
    """

    name: str
    operation: str
    body: dict[str, Any]
    problem: str
    pointer: str
    says: tuple[str, ...]
    fixed: dict[str, Any] | None


def sent(
    name: str, operation: str, body: dict[str, Any], problem: str, pointer: str, *says: str, fixed: dict[str, Any] | None = None
) -> Sent:
    """A row."""
    return Sent(name, operation, body, problem, pointer, says, fixed)


SQUARE: dict[str, Any] = {"expression": "x**2", "inputs": {"x": 3}}
LEAF, TIMES = leaf("x", 3.0), node("y", "mul", "x", 2)


def squared(**fields: Any) -> dict[str, Any]:
    """x squared, with other fields. None leaves one out."""
    return {name: value for name, value in (SQUARE | fields).items() if value is not None}


def of_graph(*nodes: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A request with a graph."""
    return {"expression": {"nodes": list(nodes), "output": "y", **fields}}


GRAPH_FIXED = of_graph(LEAF, TIMES)

NAMES = [
    sent("π", "backward", {"expression": "π*x", "inputs": {"x": 1}}, "unbound-input", "/expression", "'π'", "written pi"),
    sent("PI", "backward", {"expression": "PI*x", "inputs": {"x": 1}}, "unbound-input", "/expression", "'PI'", "written pi"),
    sent("E", "backward", {"expression": "E**x", "inputs": {"x": 1}}, "unbound-input", "/expression", "'E'", "written e"),
    sent("inf", "backward", {"expression": "inf*x", "inputs": {"x": 1}}, "unbound-input", "/expression", "no infinity"),
    sent("true", "backward", {"expression": "true*x", "inputs": {"x": 1}}, "unbound-input", "/expression", "written 1"),
    sent("imaginary unit", "backward", {"expression": "x + i", "inputs": {"x": 1}}, "unbound-input", "/expression", "real"),
    sent("dy/dx", "backward", {"expression": "dy/dx"}, "unbound-input", "/expression", "'dy' and 'dx'", "as a whole"),
    sent(
        "input e", "backward", {"expression": "e**2", "inputs": {"e": 2}}, "unknown-node", "/inputs/e", "2.718", "another name"
    ),
    sent(
        "input pi", "backward", {"expression": "pi", "inputs": {"pi": 3}}, "unknown-node", "/inputs/pi", "3.14", "another name"
    ),
    sent("two unbound", "backward", {"expression": "x*y"}, "unbound-input", "/expression", "'x' and 'y' have no number"),
    sent("product of names", "backward", {"expression": "xy", "inputs": {"x": 1, "y": 2}}, "unknown-node", "/inputs/x", "x*y"),
    sent(
        "call without parentheses",
        "backward",
        {"expression": "sinx", "inputs": {"x": 1}},
        "unknown-node",
        "/inputs/x",
        "sin(x)",
    ),
    sent("another name", "backward", squared(inputs={"z": 3}), "unknown-node", "/inputs/z", "'z'", "'x'"),
]
"""Names without a number, and numbers without a name."""

FIELDS = [
    *(
        sent(
            f"{name} for {field}",
            "backward",
            squared(**{field: None}, **{name: SQUARE[field]}),
            "invalid-request",
            f"/{name}",
            f"'{field}'",
            fixed=SQUARE,
        )
        for field, names in (
            ("inputs", ("variables", "vars", "params", "parameters", "input", "point", "args")),
            ("expression", ("expr", "function", "formula", "f", "equation")),
        )
        for name in names
    ),
    sent(
        "expr for expression, of a derivative",
        "derivative",
        {"expr": "x**2"},
        "invalid-request",
        "/expr",
        "'expression'",
        fixed={"expression": "x**2"},
    ),
    sent(
        "inputs as a list",
        "backward",
        squared(inputs=[3]),
        "invalid-request",
        "/inputs",
        "an object",
        '"inputs": {"x": 3.0}',
        fixed=squared(inputs={"x": 3.0}),
    ),
    sent("input as a string", "backward", squared(inputs={"x": "3"}), "invalid-request", "/inputs/x", "number", "string"),
    sent("input as a matrix", "backward", squared(inputs={"x": [[3]]}), "invalid-request", "/inputs/x/0", "number", "list"),
    sent("input as a boolean", "backward", squared(inputs={"x": True}), "invalid-request", "/inputs/x", "number", "boolean"),
    sent("input as null", "backward", squared(inputs={"x": None}), "invalid-request", "/inputs/x", "number", "null"),
    sent("wrt as a string", "backward", squared(wrt="x"), "invalid-request", "/wrt", '["x"]', fixed=squared(wrt=["x"])),
    sent("with_respect_to", "backward", squared(with_respect_to=["x"]), "invalid-request", "/with_respect_to", "'wrt'"),
    sent("graph at the top", "backward", {"nodes": [LEAF, TIMES], "output": "y"}, "invalid-request", "/nodes", "'expression'"),
    sent("expression as a number", "backward", squared(expression=3), "invalid-request", "/expression", "text", "object"),
    sent(
        "lists of two lengths",
        "backward",
        {"expression": "x*y", "inputs": {"x": [1, 2], "y": [1]}},
        "shape-mismatch",
        "/inputs/y",
        "one length",
    ),
    sent("an empty list", "backward", squared(inputs={"x": []}), "shape-mismatch", "/inputs/x", "empty"),
]
"""Fields of requests about expressions."""

GRAPHS = [
    sent(
        "op *",
        "backward",
        of_graph(LEAF, node("y", "*", "x", 2)),
        "unknown-primitive",
        "/expression/nodes/1/op",
        "'mul'",
        fixed=GRAPH_FIXED,
    ),
    sent(
        "op multiply",
        "backward",
        of_graph(LEAF, node("y", "multiply", "x", 2)),
        "unknown-primitive",
        "/expression/nodes/1/op",
        "'mul'",
        fixed=GRAPH_FIXED,
    ),
    sent("op +", "backward", of_graph(LEAF, node("y", "+", "x", 2)), "unknown-primitive", "/expression/nodes/1/op", "'add'"),
    sent(
        "op -", "backward", of_graph(LEAF, node("y", "-", "x")), "unknown-primitive", "/expression/nodes/1/op", "'sub'", "'neg'"
    ),
    sent(
        "op input",
        "backward",
        of_graph({"id": "x", "op": "input", "data": 3}, TIMES),
        "unknown-primitive",
        "/expression/nodes/0/op",
        "leaf",
        "'value'",
        fixed=GRAPH_FIXED,
    ),
    sent(
        "op variable",
        "backward",
        of_graph({"id": "x", "op": "variable", "data": 3}, TIMES),
        "unknown-primitive",
        "/expression/nodes/0/op",
        "'value'",
        fixed=GRAPH_FIXED,
    ),
    sent(
        "op Tanh", "backward", of_graph(LEAF, node("y", "Tanh", "x")), "unknown-primitive", "/expression/nodes/1/op", "'tanh'"
    ),
    sent(
        "op cot",
        "backward",
        of_graph(LEAF, node("y", "cot", "x")),
        "unknown-primitive",
        "/expression/nodes/1/op",
        "cot(x) is 1/tan(x)",
    ),
    sent(
        "number in quotes",
        "backward",
        of_graph(LEAF, node("y", "mul", "x", "2")),
        "unknown-node",
        "/expression/nodes/1/args/1",
        "without quotes: 2",
        fixed=GRAPH_FIXED,
    ),
    sent(
        "outputs of a graph as a text",
        "jacobian",
        {"expression": {"nodes": [LEAF, TIMES], "outputs": "y"}},
        "invalid-request",
        "/expression/outputs",
        "found a string; a list stands in brackets",
        '["x"]',
        fixed={"expression": {"nodes": [LEAF, TIMES], "outputs": ["y"]}},
    ),
    sent(
        "graph without output",
        "backward",
        {"expression": {"nodes": [LEAF, TIMES]}},
        "invalid-request",
        "/expression/output",
        'add "output": "y"',
        fixed=GRAPH_FIXED,
    ),
    sent(
        "result for output",
        "backward",
        {"expression": {"nodes": [LEAF, TIMES], "result": "y"}},
        "invalid-request",
        "/expression/result",
        "'output'",
        fixed=GRAPH_FIXED,
    ),
    sent("edges", "backward", of_graph(LEAF, TIMES, edges=[]), "invalid-request", "/expression/edges", "'args'"),
    sent(
        "type for op",
        "backward",
        of_graph({"id": "x", "type": "value", "data": 3}, TIMES),
        "invalid-request",
        "/expression/nodes/0/type",
        "'op'",
        fixed=GRAPH_FIXED,
    ),
    sent(
        "inputs for args",
        "backward",
        of_graph(LEAF, {"id": "y", "op": "mul", "inputs": ["x", 2]}),
        "invalid-request",
        "/expression/nodes/1/inputs",
        "'args'",
        fixed=GRAPH_FIXED,
    ),
    sent(
        "value for data",
        "backward",
        of_graph({"id": "x", "op": "value", "value": 3}, TIMES),
        "invalid-request",
        "/expression/nodes/0/value",
        "'data'",
        fixed=GRAPH_FIXED,
    ),
    sent(
        "name for id",
        "backward",
        of_graph({"name": "x", "op": "value", "data": 3}, TIMES),
        "invalid-request",
        "/expression/nodes/0/name",
        "'id'",
        fixed=GRAPH_FIXED,
    ),
    sent(
        "leaf with arguments",
        "backward",
        of_graph(node("x", "value", 3), TIMES),
        "wrong-arity",
        "/expression/nodes/0/args",
        "data",
        fixed=GRAPH_FIXED,
    ),
    sent(
        "wrong argument",
        "backward",
        of_graph(LEAF, leaf("w", 1), node("y", "mul", "x", "W")),
        "unknown-node",
        "/expression/nodes/2/args/1",
        "'w'",
    ),
]
"""Graph objects."""

TRAIN: dict[str, Any] = {"model": MODEL, "data": ROWS, "loss": "mse", "steps": 3, "optimizer": {"name": "adam"}}


def training(**fields: Any) -> dict[str, Any]:
    """A training, with other fields. None leaves one out."""
    return {name: value for name, value in (TRAIN | fields).items() if value is not None}


RATE = training(optimizer={"name": "adam", "learning_rate": 0.01})
PREDICT: dict[str, Any] = {"model": MODEL, "inputs": [[1, 2]]}

NETWORKS = [
    sent(
        "lr at the top",
        "networks/train",
        training(lr=0.01),
        "invalid-request",
        "/lr",
        "'optimizer'",
        '"optimizer": {"learning_rate": 0.01}',
        fixed=training(optimizer={"learning_rate": 0.01}),
    ),
    sent(
        "learning_rate at the top",
        "networks/train",
        training(learning_rate=0.01),
        "invalid-request",
        "/learning_rate",
        '"optimizer": {"learning_rate": 0.01}',
        fixed=training(optimizer={"learning_rate": 0.01}),
    ),
    sent(
        "lr in the optimizer",
        "networks/train",
        training(optimizer={"name": "adam", "lr": 0.01}),
        "invalid-request",
        "/optimizer/lr",
        "'learning_rate'",
        fixed=RATE,
    ),
    sent(
        "optimizer as text",
        "networks/train",
        training(optimizer="adam"),
        "invalid-request",
        "/optimizer",
        '{"name": "adam"}',
        fixed=TRAIN,
    ),
    sent(
        "Adam",
        "networks/train",
        training(optimizer={"name": "Adam"}),
        "invalid-request",
        "/optimizer/name",
        "'adam'",
        fixed=TRAIN,
    ),
    sent(
        "beta1",
        "networks/train",
        training(optimizer={"name": "adam", "beta1": 0.9}),
        "invalid-request",
        "/optimizer/beta1",
        '"betas": [0.9, 0.999]',
        fixed=training(optimizer={"name": "adam", "betas": [0.9, 0.999]}),
    ),
    sent(
        "loss as an expression",
        "networks/train",
        training(loss="(score - target)**2"),
        "invalid-request",
        "/loss",
        '{"expression": "(score - target)**2"}',
        fixed=training(loss={"expression": "(score - target)**2"}),
    ),
    sent("hinge", "networks/train", training(loss="hinge"), "invalid-request", "/loss", "'max_margin'"),
    sent("bce", "networks/train", training(loss="bce"), "invalid-request", "/loss", "'binary_cross_entropy'"),
    sent("crossentropy", "networks/train", training(loss="crossentropy"), "invalid-request", "/loss", "'cross_entropy'"),
    sent(
        "mean_squared_error",
        "networks/train",
        training(loss="mean_squared_error"),
        "invalid-request",
        "/loss",
        "'mse'",
        fixed=TRAIN,
    ),
    sent(
        "epochs",
        "networks/train",
        training(steps=None, epochs=3),
        "invalid-request",
        "/epochs",
        "'steps'",
        "batch",
        fixed=TRAIN,
    ),
    sent(
        "iterations",
        "networks/train",
        training(steps=None, iterations=3),
        "invalid-request",
        "/iterations",
        "'steps'",
        fixed=TRAIN,
    ),
    sent(
        "batch", "networks/train", training(batch=2), "invalid-request", "/batch", "'batch_size'", fixed=training(batch_size=2)
    ),
    sent(
        "data.X",
        "networks/train",
        training(data={"X": ROWS["inputs"], "targets": ROWS["targets"]}),
        "invalid-request",
        "/data/X",
        "'inputs'",
        fixed=TRAIN,
    ),
    sent(
        "data.y",
        "networks/train",
        training(data={"inputs": ROWS["inputs"], "y": ROWS["targets"]}),
        "invalid-request",
        "/data/y",
        "'targets'",
        fixed=TRAIN,
    ),
    sent(
        "model.hidden",
        "networks/train",
        training(model={"inputs": 2, "hidden": [3, 1]}),
        "invalid-request",
        "/model/hidden",
        "'layers'",
        fixed=training(model={"inputs": 2, "layers": [3, 1]}),
    ),
    sent(
        "predict one row",
        "networks/predict",
        PREDICT | {"inputs": [1, 2]},
        "invalid-request",
        "/inputs/0",
        "[[1, 2]]",
        fixed=PREDICT,
    ),
    sent("predict x", "networks/predict", {"model": MODEL, "x": [[1, 2]]}, "invalid-request", "/x", "'inputs'", fixed=PREDICT),
    sent(
        "predict data",
        "networks/predict",
        {"model": MODEL, "data": [[1, 2]]},
        "invalid-request",
        "/data",
        "'inputs'",
        fixed=PREDICT,
    ),
    sent(
        "softmax",
        "networks",
        {"inputs": 2, "layers": [3], "output_activation": "softmax"},
        "invalid-request",
        "/output_activation",
        "'linear'",
        "'cross_entropy'",
        fixed={"inputs": 2, "layers": [3], "output_activation": "linear"},
    ),
    sent(
        "ReLU",
        "networks",
        {"inputs": 2, "layers": [3], "activation": "ReLU"},
        "invalid-request",
        "/activation",
        "'relu'",
        fixed={"inputs": 2, "layers": [3], "activation": "relu"},
    ),
    sent(
        "input_size",
        "networks",
        {"input_size": 2, "layers": [3]},
        "invalid-request",
        "/input_size",
        "'inputs'",
        fixed={"inputs": 2, "layers": [3]},
    ),
    sent(
        "weight for weights",
        "networks/predict",
        {"model": {"layers": [{"weight": [[1, 2]], "biases": [0]}]}, "inputs": [[1, 2]]},
        "invalid-request",
        "/model/layers/0/weight",
        "'weights'",
        fixed={"model": {"layers": [{"weights": [[1, 2]], "biases": [0]}]}, "inputs": [[1, 2]]},
    ),
    sent(
        "x0 for initial",
        "minimize",
        {"expression": "(x - 1)**2", "x0": {"x": 0}},
        "invalid-request",
        "/x0",
        "'initial'",
        fixed={"expression": "(x - 1)**2", "initial": {"x": 0}},
    ),
    sent(
        "p0 for parameters",
        "fit",
        {"expression": "a*x", "data": {"x": [1, 2, 3], "y": [2, 4, 7]}, "target": "y", "p0": {"a": 1}},
        "invalid-request",
        "/p0",
        "'parameters'",
        fixed={"expression": "a*x", "data": {"x": [1, 2, 3], "y": [2, 4, 7]}, "target": "y", "parameters": {"a": 1}},
    ),
]
"""Networks and searches."""

MOONS = training(data={"dataset": "moons"}, model={"inputs": 2, "layers": [3, 1]})
FIT: dict[str, Any] = {"expression": "a*x", "data": {"x": [1, 2, 3], "y": [2, 4, 7]}, "target": "y", "parameters": {"a": 1}}
LEAST: dict[str, Any] = {"expression": "(x - 1)**2", "initial": {"x": 0}}
GAUGE: dict[str, Any] = {"expression": "a*b", "inputs": {"a": {"value": 1, "u": 0.1}, "b": 2}}


def gauge(**fields: Any) -> dict[str, Any]:
    """A budget of uncertainty, with these fields for its first input."""
    return GAUGE | {"inputs": {"a": fields, "b": 2}}


def row(name: str, operation: str, wrong: dict[str, Any], pointer: str, says: str, fixed: dict[str, Any] | None) -> Sent:
    """A row about an invalid request, with one part of the answer's texts."""
    return sent(name, operation, wrong, "invalid-request", pointer, says, fixed=fixed)


OTHER_TOOLS = [
    row("nadam", "networks/train", training(optimizer={"name": "nadam"}), "/optimizer/name", "Use one of sgd, adam", None),
    row(
        "SGD",
        "networks/train",
        training(optimizer={"name": "SGD"}),
        "/optimizer/name",
        "'sgd'",
        training(optimizer={"name": "sgd"}),
    ),
    row("optimizer by key", "networks/train", training(optimizer={"adam": {}}), "/optimizer/adam", '{"name": "adam"}', TRAIN),
    row("loss by name", "networks/train", training(loss={"name": "mse"}), "/loss/name", '"loss": "mse"', TRAIN),
    row("softmax loss", "networks/train", training(loss="softmax_cross_entropy"), "/loss", "'cross_entropy'", None),
    row("data as text", "networks/train", training(data="moons"), "/data", '"data": {"dataset": "moons"}', MOONS),
    row("make_moons", "networks/train", training(data={"dataset": "make_moons"}), "/data/dataset", "'moons'", MOONS),
    row("sizes", "networks/train", training(model=[2, 3, 1]), "/model", '{"inputs": 2, "layers": [3, 1]}', MOONS),
    row("sklearn's alpha", "networks/train", training(alpha=0.1), "/alpha", "'l2' is a penalty", training(l2=0.1)),
    row("shuffle", "networks/train", training(shuffle=True), "/shuffle", "drawn at random", TRAIN),
    row("validation", "networks/train", training(validation_split=0.2), "/validation_split", "/v1/networks/predict", TRAIN),
    row("stream", "networks/train", training(stream=True), "/stream", "/v1/networks/train/stream", TRAIN),
    row("dropout", "networks", {"inputs": 2, "layers": [1], "dropout": 0.1}, "/dropout", "no dropout", None),
    row("use_bias", "networks", {"inputs": 2, "layers": [1], "use_bias": True}, "/use_bias", "has biases", None),
    row("weights at the top", "networks/predict", {"weights": [[1, 2]], "inputs": [[1, 2]]}, "/weights", "in a layer", PREDICT),
    row("number in quotes", "backward", squared(inputs={"x": "3"}), "/inputs/x", "without quotes", SQUARE),
    row("order", "backward", squared(order=2), "/order", "/v1/hessian", SQUARE),
    row("list of one text", "backward", squared(expression=["x**2"]), "/expression", "without brackets", SQUARE),
    row("lang", "code", {"expression": "x", "lang": "c"}, "/lang", "'language'", {"expression": "x", "language": "c"}),
    row("tangents in a list", "jvp", squared(tangents=[1]), "/tangents", '{"x": 1.0}', squared(tangents={"x": 1})),
    row("MEAN", "forward", squared(reduce="MEAN"), "/reduce", 'write "mean"', squared(reduce="mean")),
    row("names of parameters", "fit", FIT | {"parameters": ["a"]}, "/parameters", '"parameters": {"a": 1.0}', FIT),
    row("lmfit's value", "fit", FIT | {"parameters": {"a": {"value": 1}}}, "/parameters/a/value", "'start'", FIT),
    row("rows of data", "fit", FIT | {"data": [[1, 2], [2, 4]]}, "/data", '"data": {"x": [1, 2], "y": [2, 4]}', FIT),
    row("y = a*x", "fit", FIT | {"expression": "y = a*x"}, "/data/y", "alone", FIT),
    row("start in a list", "minimize", LEAST | {"initial": [0]}, "/initial", '"initial": {"x": 0.0}', LEAST),
    row("BFGS", "minimize", LEAST | {"method": "BFGS"}, "/method", 'write "bfgs"', LEAST | {"method": "bfgs"}),
    row("L_BFGS_B", "minimize", LEAST | {"method": "L_BFGS_B"}, "/method", 'write "l-bfgs-b"', LEAST | {"method": "l-bfgs-b"}),
    row("maximize", "minimize", LEAST | {"maximize": True}, "/maximize", "negative", LEAST),
    row("SciPy's constraint", "minimize", LEAST | {"constraints": [{"fun": "x"}]}, "/constraints/0/fun", "'expression'", None),
    row("sigma", "propagate", gauge(value=1, sigma=0.1), "/inputs/a/sigma", "'u'", GAUGE),
    row("std", "propagate", gauge(value=1, std=0.1), "/inputs/a/std", '"readings"', GAUGE),
    row("expanded uncertainty", "propagate", gauge(value=1, U=0.2), "/inputs/a/U", "coverage factor", GAUGE),
    row("nominal_value", "propagate", gauge(nominal_value=1, u=0.1), "/inputs/a/nominal_value", "'value'", GAUGE),
]
"""What people write who come from Keras, PyTorch, scikit-learn, SciPy, lmfit, R, the GUM and low-code tools."""

SENT = [*NAMES, *FIELDS, *GRAPHS, *NETWORKS, *OTHER_TOOLS]

Check = Callable[[Any], None]

NOT_JSON = {
    "single quotes": ("{'expression': 'x'}", "double quotes", '{"x": 3}'),
    "typographic quotes": ("{“expression”: “x”}", "plain double quotes"),
    "no quotes around a name": ('{expression: "x"}', "names stand in double quotes"),
    "no quotes around a text": ('{"expression": x**2}', "texts stand in double quotes"),
    "trailing comma in an object": ('{"expression": "1", "inputs": {},}', "leave out the comma before }"),
    "trailing comma in a list": ('{"expression": "x", "inputs": {"x": [1, 2,]}}', "leave out the comma before }"),
    "comment //": ('{"expression": "1" // one\n}', "JSON has no comments"),
    "comment #": ('{"expression": "1" # one\n}', "JSON has no comments"),
    "comment /*": ('/* one */ {"expression": "1"}', "JSON has no comments"),
    "True": ('{"expression": "1", "values": True}', "true, false and null"),
    "None": ('{"expression": "1", "wrt": None}', "true, false and null"),
    "undefined": ('{"expression": "1", "wrt": undefined}', "left out, or null"),
    "form": ("expression=x**2&x=3", "a form", "JSON object"),
    "YAML": ("expression: x**2\ninputs:\n  x: 3", "YAML", "JSON object"),
    "form after a line break": ("\n expression=x**2&x=3", "a form", "JSON object"),
    "YAML after a line break": ("\n  expression: x**2", "YAML", "JSON object"),
    "XML after a line break": ("\n <expression>x</expression>", "XML", "JSON object"),
    "XML": ("<expression>x</expression>", "XML", "JSON object"),
    "bare text": ("x**2", "double quotes"),
    "number .5": ('{"expression": "x", "inputs": {"x": .5}}', "a digit on each side", "0.5"),
    "number 5.": ('{"expression": "x", "inputs": {"x": 5.}}', "a digit on each side"),
    "number +5": ('{"expression": "x", "inputs": {"x": +5}}', "no plus sign"),
    "number 05": ('{"expression": "x", "inputs": {"x": 05}}', "no leading zeros"),
    "decimal comma": ('{"expression": "x", "inputs": {"x": 0,5}}', "point", "0.5"),
    "colon missing": ('{"expression" "x"}', "colon"),
    "equals sign": ('{"expression"= "x"}', "colon"),
    "comma missing": ('{"expression": "x" "inputs": {}}', "a comma is missing"),
    "semicolon": ('{"expression": "x"; "inputs": {}}', "commas"),
    "two commas": ('{"expression": "x",, "inputs": {}}', "comma too many"),
    "brace missing": ('{"expression": "x", "inputs": {"x": 3}', "} or ] is missing"),
    "quote missing": ('{"expression": "x', "double quote is missing"),
    "brace too many": ('{"expression": "1"}}', "} too many"),
    "two objects": ('{"expression": "1"}\n{"expression": "2"}', "not several"),
    "line break in a text": ('{"expression": "a = 1\na"}', r"\n"),
    "backslash in a text": (r'{"expression": "\sin(x)"}', "backslash"),
    "nothing": ("", "empty"),
    "JavaScript object as text": ("[object Object]", "JSON.stringify"),
    "template": ("{{body}}", "template"),
    "template for a number": ('{"expression": "x", "inputs": {"x": {{x}}}}', "template"),
    "name of a file": ("@request.json", "--data @name"),
    "R list": ('list(expression = "x")', "auto_unbox"),
    "quotient": ('{"expression": "x", "inputs": {"x": 1/2}}', "not computed"),
    "two signs": ('{"expression": "x", "inputs": {"x": --5}}', "not computed"),
    "no braces": ('"expression": "x", "inputs": {"x": 3}', "an object stands in braces"),
    "sum of texts": ('{"expression": "x" + "y"}', "not computed"),
    "thousands": ('{"expression": "x", "inputs": {"x": 1,000}}', "thousands are not separated"),
    "backticks": ('{"expression": `x`}', "plain double quotes"),
    "Python's f": ('{"expression": f"x"}', "without a letter before"),
    "TRUE": ('{"expression": "1", "values": TRUE}', "true, false and null"),
    "bracket for brace": ('{"expression": "x", "inputs": {"x": 3}]', "closed by }"),
}
"""Bodies that are not JSON: the body, and parts of the detail."""

PATHS = [
    ("POST", "/v1/gradient", 404, "/v1/backward"),
    ("POST", "/v1/grad", 404, "/v1/backward"),
    ("POST", "/v1/gradients", 404, "/v1/backward"),
    ("POST", "/backward", 404, "/v1/backward"),
    ("POST", "/v1/backward/", 404, "/v1/backward"),
    ("POST", "/v1/Backward", 404, "/v1/backward"),
    ("POST", "/v1/backwards", 404, "/v1/backward"),
    ("POST", "/v1//backward", 404, "/v1/backward"),
    ("POST", "/v2/backward", 404, "/v1/backward"),
    ("POST", "/api/v1/backward", 404, "/v1/backward"),
    ("POST", "/v1/evaluate", 404, "/v1/forward"),
    ("POST", "/v1/eval", 404, "/v1/forward"),
    ("POST", "/v1/differentiate", 404, "/v1/derivative"),
    ("POST", "/v1/optimize", 404, "/v1/minimize"),
    ("POST", "/v1/curve_fit", 404, "/v1/fit"),
    ("POST", "/v1/train", 404, "/v1/networks/train"),
    ("POST", "/v1/predict", 404, "/v1/networks/predict"),
    ("POST", "/v1/network", 404, "/v1/networks"),
    ("GET", "/health", 404, "/readyz"),
    ("GET", "/healthz", 404, "/readyz"),
    ("GET", "/openapi", 404, "/openapi.json"),
    ("GET", "/swagger", 404, "/docs"),
    ("GET", "/redoc", 404, "/docs"),
    ("GET", "/v1/primitive", 404, "/v1/primitives"),
    ("GET", "/v1/dataset/moons", 404, "/v1/datasets"),
    ("GET", "/v1/datasets/moons/", 404, "/v1/datasets/moons"),
    ("GET", "/v1/primitives/sin", 404, "/v1/primitives"),
    ("GET", "/problems/syntax-error/", 404, "/problems/syntax-error"),
    ("POST", "/v1/backward.json", 404, "/v1/backward"),
    ("POST", "/v1/hessian/sparse", 404, "/v1/hessian"),
    ("POST", "/v1/hesse", 404, "/v1/hessian"),
    ("POST", "/v1/least_squares", 404, "/v1/fit"),
    ("POST", "/v1/latex", 404, "/v1/derivative"),
    ("POST", "/v1/plot", 404, "/v1/graph"),
    ("POST", "/v1/networks/loss", 404, "/v1/networks/backward"),
    ("POST", "/v1/networks/train/stream/", 404, "/v1/networks/train/stream"),
    ("GET", "/v1/backward", 405, "POST /v1/backward"),
    ("PUT", "/v1/backward", 405, "POST /v1/backward"),
    ("POST", "/v1/primitives", 405, "GET /v1/primitives"),
]
"""Requests to paths that do not exist, or by a method they do not take: the status, and the path that the detail names."""
