"""Functions that languages lack, as texts from which the source code of each language is written.

A text has Python's syntax: assignments, then the result. It uses arithmetic, comparisons, `a if c else b`, and other functions
of this table or of the language, among them `floor`. Assignments are computed always, so they must not fail; the branches of a
condition may. Each has an error of a few units in the last place, but `lgamma` and the polygamma functions, close to their
zeros on the negative axis, have an absolute error of some 1e-15.

The coefficients are those of Chebyshev's interpolation, computed to 60 digits (tests/formats/test_special_functions.py).
"""

import math
import re
from collections.abc import Sequence
from functools import cache

from app.engine.special import (
    BERNOULLI,
    EULER_TERMS,
    HIGHEST_ORDER,
    ROOT,
    ROOT_REST,
    SPLITTER,
    SQRT_HALF,
    SQRT_HALF_HEAD,
    SQRT_HALF_TAIL,
    TAYLOR,
)

ERF = (
    1.042624293175288,
    -0.07971839911602548,
    0.005693565271745846,
    -0.00032686027779084816,
    1.5413874336357634e-05,
    -6.136323351453272e-07,
    2.109307882873931e-08,
    -6.373168350447077e-10,
    1.7168421270624852e-11,
    -4.176375979056823e-13,
    9.23681272428794e-15,
)
"""erf(x)/x as a polynomial of 2*x**2/0.49 - 1, for abs(x) <= 0.7."""
ERFC = (
    1.2530080582697296,
    -0.1356211061245812,
    -0.04756229435345119,
    0.12964515870276294,
    -0.11927366341527387,
    0.06830802734391002,
    -0.0237705149196694,
    0.002529391816960264,
    0.0018886903738623015,
    -0.0007798322782139159,
    -0.00010515991846224788,
    0.0001250993750792062,
    4.950078708032801e-06,
    -2.01006073242172e-05,
    -7.334599411833699e-07,
    3.472395430251341e-06,
    3.6116704249115387e-07,
    -6.163967274865109e-07,
    -1.4817077282877513e-07,
    1.0128106136488303e-07,
    4.857199786246537e-08,
    -1.2592787184564579e-08,
    -1.3081932548108701e-08,
    4.5443472471303477e-10,
    2.795002014076315e-09,
    2.1466806559372564e-10,
    -4.2256654117353397e-10,
    -3.6916547924318407e-11,
    3.3483745000744554e-11,
)
"""(1 + 2*x)*exp(x**2)*erfc(x) as a polynomial of (x - 3)/(x + 3), for x >= 0."""
LGAMMA_1 = (
    -0.5772156649015329,
    0.4112335167120566,
    -0.10017140859663286,
    0.03382260105347256,
    -0.012961596939291877,
    0.005298661781192961,
    -0.002250779637024876,
    0.0009805442926312114,
    -0.0004348994757947018,
    0.0001955067596247959,
    -8.882228561433623e-05,
    4.070006466709581e-05,
    -1.8782326956309124e-05,
    8.720122318649736e-06,
    -4.069271227409977e-06,
    1.906340094132404e-06,
    -8.970778256304619e-07,
    4.2659855815084003e-07,
    -2.021077679288524e-07,
    9.014676260638272e-08,
    -4.287326914512311e-08,
    2.882387139463668e-08,
    -1.3843918796095532e-08,
    -1.9578125308757934e-09,
    9.841908275409437e-10,
    5.711515917608114e-09,
    -2.772267806739904e-09,
    -1.6230734229951716e-09,
    7.901874468659405e-10,
    4.6357472719209804e-10,
    -2.251990456268094e-10,
)
"""lgamma(1 + s)/s as a polynomial of 2*s, for abs(s) <= 1/2."""
LGAMMA_2 = (
    0.42278433509846713,
    0.1612335167120566,
    -0.016838075263299536,
    0.0025726010534730713,
    -0.0004615969392917596,
    9.032844783558553e-05,
    -1.863677987501598e-05,
    3.981793163166481e-06,
    -8.716982450984518e-07,
    1.942529474587772e-07,
    -4.387338974983724e-08,
    1.0013314167996967e-08,
    -2.3043112100202176e-09,
    5.339813130999916e-10,
    -1.2481202067269968e-10,
    2.923176066319201e-11,
    -6.566709534240663e-12,
    1.5491338158886129e-12,
    -5.116584685713687e-13,
    1.2167067542304562e-13,
)
"""lgamma(2 + s)/s as a polynomial of 2*s, for abs(s) <= 1/2."""

SHIFT = 8
"""So many steps of a recurrence lead to where an asymptotic series holds."""


def horner(coefficients: Sequence[float], x: str) -> str:
    """Return the text of a polynomial, given its coefficients from the constant on."""
    text = repr(coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        text = f"({text})*{x} + {coefficient!r}"
    return text


def _lgamma_positive() -> str:
    steps = range(1, 7)
    shift = " + ".join(f"(x >= {k + 1.5})" for k in steps)
    product = "*".join(f"(x - {k} if x >= {k + 1.5} else 1)" for k in steps)
    series = horner([1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156, -3617 / 122400], "w")
    far = f"(x - 0.5)*(log(x) - 1) + {0.5 * math.log(2 * math.pi) - 0.5!r} + ({series})/x"
    near = "lgamma_near_1(x) - log(x) if x < 0.5 else lgamma_near_1(x - 1) if x < 1.5 else lgamma_near_2(y - 2) + log(p)"
    return f"w = 1/(x*x) if x > 7.5 else 0; y = x - ({shift}); p = {product}; {far} if x >= 7.5 else {near}"


def _alternating(coefficients: Sequence[float]) -> str:
    """The text of c0 - w*(c1 - w*(c2 - ...)), as `app.engine.special` has its series."""
    text = repr(coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        text = f"{coefficient!r} - w*({text})"
    return text


def _digamma_positive() -> str:
    """In the order of `app.engine.special`, so that both are rounded alike."""
    series = _alternating([1 / 12, 1 / 120, 1 / 252, 1 / 240, 1 / 132, 691 / 32760, 1 / 12, 3617 / 8160])
    total = f"log(y) - 0.5/y - w*({series})" + "".join(f" - 1/(x + {k})" if k else " - 1/x" for k in range(SHIFT))
    near = f"h*({horner(TAYLOR, 'h')})"
    return f"y = x + {SHIFT}; w = 1/(y*y); h = (x - {ROOT!r}) - {ROOT_REST!r}; {near} if abs(h) < 0.35 else {total}"


FUNCTIONS: dict[str, tuple[str, str]] = {
    "sign": ("x", "x if x != x else (x > 0) - (x < 0)"),
    "max": ("a b", "a if a != a else a if a >= b else b"),
    "min": ("a b", "a if a != a else a if a <= b else b"),
    "hypot": (
        "x y",
        "a = abs(x); b = abs(y); m = a if a > b else b; n = b if a > b else a; r = n/m if m > 0 else m; m*sqrt(1 + r*r)",
    ),
    "log1p": ("x", "u = 1 + x; x if u == 1 else log(u)*x/(u - 1)"),  # Kahan's
    "expm1": ("x", "u = exp(x); x if u == 1 else u - 1 if u < 1e-17 else u - 1 if u > 1e17 else (u - 1)*x/log(u)"),
    "sigmoid": ("x", "e = exp(-abs(x)); (1 if x >= 0 else e)/(1 + e)"),
    "softplus": ("x", "(x if x > 0 else 0) + log1p(exp(-abs(x)))"),
    "logaddexp": ("a b", "(a if a > b else b) + log1p(exp(-abs(a - b)))"),
    "relu": ("x", "0 if x < 0 else x"),
    "leaky_relu": ("x", "x if x > 0 else 0.01*x"),
    "elu": ("x", "x if x > 0 else expm1(x)"),
    "silu": ("x", "x*sigmoid(x)"),
    "gauss": (
        "x",
        f"a = 60 if abs(x) > 60 else x; s = {SPLITTER!r}*a; h = s - (s - a); q = a*a; "
        "exp(-q)*(1 - ((h*h - q) + (a - h)*(a + h)))",
    ),
    "gelu": (
        "x",
        f"a = x if abs(x) < 60 else 60*sign(x); z = {SQRT_HALF!r}*a; s = {SPLITTER!r}*a; h = s - (s - a); "
        f"e = ((h*{SQRT_HALF_HEAD!r} - z) + h*{SQRT_HALF_TAIL!r}) + (a - h)*{SQRT_HALF!r}; "
        f"x*(0.5*erfc(-z) + e*gauss(z)/{math.sqrt(math.pi)!r})",
    ),
    "erf_near": ("x", f"s = x*x*{2 / 0.49!r} - 1; x*({horner(ERF, 's')})"),
    "erfc_far": ("x", f"a = x if x < 60 else 60; t = (a - 3)/(a + 3); gauss(a)*({horner(ERFC, 't')})/(1 + 2*a)"),
    "erf": ("x", "erf_near(x) if abs(x) < 0.7 else sign(x)*(1 - erfc_far(abs(x)))"),
    "erfc": ("x", "erfc_far(x) if x >= 0.5 else 1 - erf(x)"),
    "lgamma_near_1": ("s", f"t = 2*s; s*({horner(LGAMMA_1, 't')})"),
    "lgamma_near_2": ("s", f"t = 2*s; s*({horner(LGAMMA_2, 't')})"),
    "lgamma_positive": ("x", _lgamma_positive()),
    "lgamma": (
        "x",
        f"r = x - floor(x + 0.5); lgamma_positive(x) if x > 0 else "
        f"log({math.pi!r}/abs(sin({math.pi!r}*r))) - lgamma_positive(1 - x)",
    ),
    "digamma_positive": ("x", _digamma_positive()),
    "digamma": (
        "x",
        f"r = x - floor(x + 0.5); m = 1 - x; e = ((1 - m) - x)*((1 + 0.5/m)/m) if x < 0.5 else 0; "
        f"digamma_positive(x) if x >= 0.5 else "
        f"digamma_positive(m) + e - {math.pi!r}*sin({math.pi!r}*(0.5 - abs(r)))/sin({math.pi!r}*r)",
    ),
}
"""Parameters and text of each function."""


@cache
def function(name: str) -> tuple[tuple[str, ...], str]:
    """Return the parameters and the text of a function. `polygamma_3` is the polygamma function of order 3.

    Raises KeyError for a name that is none of the table's.
    """
    match = re.fullmatch(r"polygamma_(\d+)", name)
    if match and int(match[1]) <= HIGHEST_ORDER:
        return ("x",), _polygamma(int(match[1]))
    if name == "polygamma":
        return ("n", "x"), _polygamma_of_any_order()
    parameters, text = FUNCTIONS[name]
    return tuple(parameters.split()), text


def _polygamma(order: int) -> str:
    """As `app.engine.special` has it, with the loops written out."""
    if order == 0:
        return "digamma(x)"
    turns = f"r = x - floor(x + 0.5); s = sin({math.pi!r}*r)"
    if order == 1:
        coefficients = [1 / 6, 1 / 30, 1 / 42, 1 / 30, 5 / 66, 691 / 2730, 7 / 6, 3617 / 510]
        steps = "".join(f" + 1/((z + {k})*(z + {k}))" if k else " + 1/(z*z)" for k in range(SHIFT))
        total = f"1/y + 0.5*w + w/y*({_alternating(coefficients)}){steps}"
        mirrored = f"{math.pi!r}/s*({math.pi!r}/s) - v"
    elif order == 2:
        coefficients = [1 / 2, 1 / 6, 1 / 6, 3 / 10, 5 / 6, 691 / 210, 35 / 2, 3617 / 30]
        steps = "".join(f" + 2/((z + {k})*(z + {k})*(z + {k}))" if k else " + 2/(z*z*z)" for k in range(SHIFT))
        total = f"-(w + w/y + w*w*({_alternating(coefficients)}){steps})"
        cosine = f"sin({math.pi!r}*(0.5 - abs(r)))"
        mirrored = f"v - 2*({math.pi!r}/s)*({math.pi!r}/s)*({math.pi!r}*{cosine}/s)"
    else:
        slope = _cotangent_slope(order).replace("c", f"(sin({math.pi!r}*(0.5 - abs(r)))/s)")
        mirrored = f"{'-' if order % 2 else ''}v - {math.pi ** (order + 1)!r}*({slope})"
        statements, total = _polygamma_positive(order)
        return f"{turns}; z = x if x > 0 else 1 - x; {statements}; v = {total}; v if x > 0 else {mirrored}"
    shifted = f"z = x if x >= 0.5 else 1 - x; y = z + {SHIFT}; w = 1/(y*y); v = {total}"
    return f"{turns}; {shifted}; v if x >= 0.5 else {mirrored}"


def _polygamma_positive(n: int) -> tuple[str, str]:
    """Assignments and a text: (-1)**(n + 1) * n! * zeta(n + 1, z) by Euler's and Maclaurin's formula."""
    s = n + 1
    terms = " + ".join(f"(z/(z + {k}))**{s}" for k in range(1, EULER_TERMS))
    statements, rest = [f"y = z + {EULER_TERMS}", f"e0 = {s}/y"], f"y/{n} + 0.5"
    for k, bernoulli in enumerate(BERNOULLI):
        rest += f" + {bernoulli!r}*e{k}"
        if k + 1 < len(BERNOULLI):
            statements.append(f"e{k + 1} = e{k}*({s + 2 * k + 1}/y*({s + 2 * k + 2}/y))")
    factor = ("1/z" if n % 2 else "-1/z") + "".join(f"*({k}/z)" for k in range(1, n + 1))
    return "; ".join(statements), f"{factor}*(1 + {terms} + (z/y)**{s}*({rest}))"


def _cotangent_slope(order: int) -> str:
    """The derivative of this order of cot(pi x) over pi**order, as a polynomial of c = cot(pi x)."""
    p = [0, 1] + [0] * (order + 1)
    for _ in range(order):
        slope = [(j + 1) * p[j + 1] if j + 1 < len(p) else 0 for j in range(len(p))]
        p = [-(slope[j] + (slope[j - 2] if j > 1 else 0)) for j in range(len(p))]
    terms = [
        f"{float(coefficient)!r}*c**{j}" if j else repr(float(coefficient)) for j, coefficient in enumerate(p) if coefficient
    ]
    return " + ".join(terms)


def _polygamma_of_any_order() -> str:
    """The same for x > 0 and an order that is known only when the function is called; NaN for other x."""
    rising = "*".join(f"({k}/x if n >= {k} else 1)" for k in range(1, HIGHEST_ORDER + 1))
    terms = " + ".join(f"(x/(x + {k}))**(n + 1)" for k in range(1, EULER_TERMS))
    parts, product = ["y/n + 0.5"], "(n + 1)/y"
    for k, bernoulli in enumerate(BERNOULLI):
        parts.append(f"{bernoulli!r}*({product})")
        product += f"*((n + {2 * k + 2})/y)*((n + {2 * k + 3})/y)"
    odd = "2*floor(0.5*n) != n"
    total = f"1 + {terms} + (x/y)**(n + 1)*({' + '.join(parts)})"
    whole = f"(1 if {odd} else -1)/x*({rising})*({total})"
    return f"y = x + {EULER_TERMS}; digamma(x) if n == 0 else ({whole} if x > 0 else log(-1.0))"
