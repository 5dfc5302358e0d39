"""What to write instead: formulas that are right, proposals that can be read, and no time lost on hopeless texts."""

import math
import operator
import re
import time
import unicodedata
from collections.abc import Callable
from typing import Any

import mpmath
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.engine.advice import ATOM, CHARACTERS, REWRITTEN_LENGTH, RULES
from app.engine.errors import EngineError, UnboundInput, UnknownPrimitive
from app.engine.foreign_names import FORMULAS, NOTES, NUMBERS, OPERATIONS, RENAMED, SPREADSHEET_NAMES
from app.engine.primitives import ALIASES, WIRE
from app.engine.text import parse
from app.engine.transforms import evaluate
from tests.rows import for_each

mpmath.mp.dps = 30


def degrees(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A function of an angle in degrees."""
    return lambda x: function(x * mpmath.pi / 180)


ORACLES: dict[str, Callable[..., Any]] = {
    "acosec": mpmath.acsc, "acosech": mpmath.acsch, "acoth": mpmath.acoth, "acsc": mpmath.acsc, "acsch": mpmath.acsch,
    "acosd": lambda x: mpmath.degrees(mpmath.acos(x)), "asind": lambda x: mpmath.degrees(mpmath.asin(x)),
    "atand": lambda x: mpmath.degrees(mpmath.atan(x)),
    "asec": mpmath.asec, "asech": mpmath.asech, "beta": mpmath.beta, "binom": mpmath.binomial,
    "cbrt": lambda x: mpmath.sign(x) * mpmath.cbrt(abs(x)), "choose": mpmath.binomial,
    "clamp": lambda x, low, high: sorted([x, low, high])[1], "clip": lambda x, low, high: sorted([x, low, high])[1],
    "comb": mpmath.binomial, "cosd": degrees(mpmath.cos), "cosec": mpmath.csc, "cosech": mpmath.csch,
    "cosm1": lambda x: mpmath.cos(x) - 1, "cospi": mpmath.cospi, "cot": mpmath.cot, "cotg": mpmath.cot, "coth": mpmath.coth,
    "dnorm": mpmath.npdf, "pnorm": mpmath.ncdf, "sumsq": lambda x, y: x * x + y * y, "γ": mpmath.gamma,
    "csc": mpmath.csc, "csch": mpmath.csch, "ctg": mpmath.cot, "cube": lambda x: x * x * x, "deg2rad": mpmath.radians,
    "degrees": mpmath.degrees, "erfcx": lambda x: mpmath.exp(x * x) * mpmath.erfc(x), "exp10": lambda x: mpmath.power(10, x),
    "exp2": lambda x: mpmath.power(2, x), "fact": mpmath.factorial, "factorial": mpmath.factorial, "gamma": mpmath.gamma,
    "hardtanh": lambda x: sorted([x, -1, 1])[1], "inv": lambda x: 1 / x, "lerp": lambda a, b, t: (1 - t) * a + t * b,
    "logaddexp": lambda a, b: mpmath.log(mpmath.exp(a) + mpmath.exp(b)),
    "logit": lambda x: mpmath.log(x) - mpmath.log1p(-x), "logsigmoid": lambda x: mpmath.log(1 / (1 + mpmath.exp(-x))),
    "mish": lambda x: x * mpmath.tanh(mpmath.log(1 + mpmath.exp(x))), "nchoosek": mpmath.binomial, "norm": mpmath.hypot,
    "normcdf": mpmath.ncdf, "normpdf": mpmath.npdf, "pow10": lambda x: mpmath.power(10, x),
    "pow2": lambda x: mpmath.power(2, x), "rad2deg": mpmath.degrees, "radians": mpmath.radians,
    "relu6": lambda x: sorted([x, 0, 6])[1], "root": lambda x, n: mpmath.power(x, 1 / n),
    "rsqrt": lambda x: 1 / mpmath.sqrt(x), "sec": mpmath.sec, "sech": mpmath.sech, "sind": degrees(mpmath.sin),
    "sinpi": mpmath.sinpi, "softmax": lambda x, y: 1 / (1 + mpmath.exp(y - x)), "softsign": lambda x: x / (1 + abs(x)),
    "tand": degrees(mpmath.tan), "tanhshrink": lambda x: x - mpmath.tanh(x), "tgamma": mpmath.gamma,
    "xlogy": lambda x, y: x * mpmath.log(y),
}  # fmt: skip
"""What the functions of FORMULAS mean, by mpmath."""

POINTS: dict[int, list[tuple[float, ...]]] = {
    1: [(0.3,), (0.85,), (-0.4,), (2.7,)],
    2: [(1.7, 0.6), (4.0, 2.0)],
    3: [(0.3, 0.1, 0.8), (1.7, -1.0, 1.0), (-2.0, -1.0, 1.0)],
}
"""Arguments. Those at which mpmath has no real value are left out."""


def real(function: Callable[..., Any], arguments: tuple[float, ...]) -> float | None:
    """The value of a function of mpmath, or None if it is not real and finite."""
    try:
        value = mpmath.mpmathify(function(*map(mpmath.mpf, arguments)))
    except (ValueError, ZeroDivisionError):
        return None
    return float(value) if isinstance(value, mpmath.mpf) and mpmath.isfinite(value) else None


@for_each("name", FORMULAS)
def test_formula_is_the_function(name: str) -> None:
    arguments, formula, where = FORMULAS[name]
    names = arguments.split(", ")
    compared = 0
    for point in POINTS[len(names)]:
        given = dict(zip(names, point, strict=True))
        graph = parse(formula)
        inputs = {name: number for name, number in given.items() if name in graph.names}
        expected = real(ORACLES[name], point)
        if expected is None or (where and not eval(where, dict(given))):
            continue
        assert evaluate(graph, inputs)["output"] == pytest.approx(expected, rel=1e-13, abs=1e-15)
        compared += 1
    assert compared >= 1


@for_each("name", FORMULAS)
def test_formula_of_sums_is_the_function_of_sums(name: str) -> None:
    """Each argument is written as a name plus 1/8 and has the value of a point."""
    names = FORMULAS[name][0].split(", ")
    with pytest.raises(EngineError) as caught:
        parse(f"{name}({', '.join(f'{parameter} + 0.125' for parameter in names)})")
    if FORMULAS[name][2]:  # it holds for some arguments, so no text is proposed
        assert ". Write: " not in caught.value.detail
        return
    graph = parse(caught.value.detail.partition(". Write: ")[2])
    compared = 0
    for point in POINTS[len(names)]:
        given = {parameter: number - 0.125 for parameter, number in zip(names, point, strict=True)}
        expected = real(ORACLES[name], point)
        if expected is not None:
            value = evaluate(graph, {parameter: given[parameter] for parameter in graph.names})["output"]
            assert value == pytest.approx(expected, rel=1e-13, abs=1e-15)
            compared += 1
    assert compared >= 1


def test_every_formula_has_an_oracle() -> None:
    assert set(ORACLES) == set(FORMULAS)


NAMESAKES: dict[str, Callable[..., Any]] = {
    "arcsin": mpmath.asin, "arccos": mpmath.acos, "arctan arctg": mpmath.atan, "arcsinh arsinh": mpmath.asinh,
    "arccosh arcosh": mpmath.acosh, "arctanh artanh": mpmath.atanh, "arctan2": mpmath.atan2, "sen dsin": mpmath.sin,
    "dcos": mpmath.cos, "tg dtan": mpmath.tan, "sh": mpmath.sinh, "ch": mpmath.cosh, "th": mpmath.tanh,
    "ln alog dlog": mpmath.ln, "alog10 dlog10": mpmath.log10, "ld": lambda x: mpmath.log(x, 2), "ln1p": mpmath.log1p,
    "dsqrt": mpmath.sqrt, "power": mpmath.power, "fabs dabs magnitude": mpmath.fabs, "sgn signum": mpmath.sign,
    "psi": mpmath.digamma, "gammaln lngamma loggamma": mpmath.loggamma,
    "expit logistic sigma σ": lambda x: 1 / (1 + mpmath.exp(-x)), "swish": lambda x: x / (1 + mpmath.exp(-x)),
    "leakyrelu": lambda x: x if x > 0 else x / 100, "recip": lambda x: 1 / x, "fmax amax pmax maximum": max,
    "fmin amin pmin minimum": min, "average avg": lambda x, y: (x + y) / 2, "plus fsum": operator.add,
    "subtract": operator.sub, "multiply times product": operator.mul, "true_divide": operator.truediv,
    "negate negative": operator.neg, "equal": operator.eq, "neq not_equal": operator.ne, "less": operator.lt,
    "leq lte less_equal": operator.le, "greater": operator.gt, "geq gte greater_equal": operator.ge,
    "if iif ifelse": lambda condition, x, y: x if condition else y,
}  # fmt: skip
"""What the names of RENAMED mean in the languages and libraries that have them."""


@for_each("names", NAMESAKES)
def test_an_operation_of_another_name_is_the_function_of_that_name(names: str) -> None:
    for op in {RENAMED[name] for name in names.split()}:
        row = WIRE[ALIASES.get(op, op)]
        parameters = "xyz"[: 2 if row.fold else row.min_arity]
        graph = parse(f"{op}({', '.join(parameters)})")
        compared = 0
        for point in (*POINTS[len(parameters)], (0.6, 1.7), (2.0, 2.0), (0.0, 1.0, 2.0)):
            expected = real(NAMESAKES[names], point) if len(point) == len(parameters) else None
            if expected is not None:
                value = evaluate(graph, dict(zip(parameters, point, strict=True)))["output"]
                assert value == pytest.approx(expected, rel=1e-13)
                compared += 1
        assert compared >= 1


def test_every_other_name_has_an_oracle() -> None:
    assert sorted(" ".join(NAMESAKES).split()) == sorted(RENAMED)


@for_each("symbol", OPERATIONS)
def test_the_operation_of_an_operator_is_that_of_python(symbol: str) -> None:
    written = f"x {({'×': '*', '÷': '/', '^': '**'}).get(symbol, symbol)} y" if symbol != "?:" else "y if x else z"
    arguments = "x, y, z" if symbol == "?:" else "x, y"
    for x, y in ((2.0, 3.0), (3.0, 2.0), (2.0, 2.0), (0.0, 2.0)):
        given = {"x": x, "y": y, "z": 5.0}
        graph = parse(f"{OPERATIONS[symbol]}({arguments})")
        assert evaluate(graph, {name: given[name] for name in graph.names})["output"] == float(eval(written, {}, given))


@pytest.mark.parametrize(
    ("names", "value"), [("π 𝜋 PI Pi", math.pi), ("E ℯ", math.e), ("tau τ", math.tau), ("true TRUE", 1.0), ("false FALSE", 0.0)]
)
def test_a_number_of_another_name_has_its_value(names: str, value: float) -> None:
    for name in names.split():
        words, _, written = NUMBERS[name].partition(" is written ")
        assert evaluate(parse(written))["output"] == value
        assert f"{value:.4f}"[:-1] in words or "..." not in words


NOTED: list[tuple[str, str, dict[str, float], Any]] = [
    ("acot arccot", "atan(1/x)", {"x": -2.0}, mpmath.acot(-2)),
    ("acot arccot", "atan2(1, x)", {"x": -2.0}, mpmath.acot(-2) + mpmath.pi),
    ("heaviside step theta", "(x > 0)", {"x": 0.0}, 0),
    ("heaviside step theta", "(x >= 0)", {"x": 0.0}, 1),
    ("sqr", "square(x)", {"x": 3.0}, 9),
    ("sqr", "sqrt(x)", {"x": 9.0}, 3),
    ("select piecewise", "where(condition, a, b)", {"condition": 0.0, "a": 2.0, "b": 3.0}, 3),
    ("piecewise", "a if condition else b", {"condition": 0.0, "a": 2.0, "b": 3.0}, 3),
    ("psigamma", "digamma(x)", {"x": 0.3}, mpmath.psi(0, 0.3)),
    ("psigamma", "polygamma(n, x)", {"n": 2.0, "x": 0.3}, mpmath.psi(2, 0.3)),
    ("trigamma", "polygamma(1, x)", {"x": 0.3}, mpmath.psi(1, 0.3)),
    ("logb", "log(x)/log(b)", {"x": 5.0, "b": 3.0}, mpmath.log(5, 3)),
    ("lg", "log10(x)", {"x": 5.0}, mpmath.log(5, 10)),
    ("lg", "log2(x)", {"x": 5.0}, mpmath.log(5, 2)),
    ("lg logb LOG", "log(x)", {"x": 5.0}, mpmath.log(5)),
    ("LOG", "log10(x)", {"x": 5.0}, mpmath.log(5, 10)),
    ("ATAN2", "atan2(y, x)", {"x": 2.0, "y": 3.0}, mpmath.arg(mpmath.mpc(2, 3))),
    ("atan2d", "atan2(y, x)*180/pi", {"x": 2.0, "y": 3.0}, mpmath.degrees(mpmath.arg(mpmath.mpc(2, 3)))),
    ("rgamma", "exp(-lgamma(x))", {"x": 2.5}, mpmath.rgamma(2.5)),
    ("sinc", "sin(x)/x", {"x": 0.3}, mpmath.sinc(0.3)),
    ("sinc", "sin(pi*x)/(pi*x)", {"x": 0.3}, mpmath.sincpi(0.3)),
    ("and", "(x > 0)*(y > 0)", {"x": 1.0, "y": -1.0}, 0),
    ("or", "max(x > 0, y > 0)", {"x": 1.0, "y": -1.0}, 1),
    ("not", "1 - (x > 0)", {"x": -1.0}, 1),
]
"""Names, a formula that is given for them, numbers, and the value of the function that is meant."""


@for_each(("names", "formula", "inputs", "value"), NOTED)
def test_a_formula_in_a_note_is_the_function(names: str, formula: str, inputs: dict[str, float], value: Any) -> None:
    for name in names.split():
        assert re.search(rf"(?<![\w(]){re.escape(formula)}(?!\w|[*/])", {**NOTES, **SPREADSHEET_NAMES}[name])
    assert evaluate(parse(formula), inputs)["output"] == pytest.approx(float(value), rel=1e-13)


def test_formula_of_a_root_says_where_it_holds() -> None:
    """The cube root of -8 is -2 for some, and no power of a negative number here."""
    with pytest.raises(UnknownPrimitive, match=re.escape("root(x, n) is x**(1/n) for x >= 0")):
        parse("root(x, 3)")


ABSENT = {
    "no rounding, remainder": "ceil ceiling fix floor fmod frac int mod modulo quotient rem remainder rint round trunc truncate"
    " idivide isqrt",
    "differentiated as a whole": "d deriv derivative derive diff differentiate grad gradient hessian jacobian nabla",
    "no random numbers": "rand randn random normal uniform rnorm runif",
    "Names stand for numbers": "dot matmul transpose det cross cumsum array linspace range sumproduct ones zeros vector matrix"
    " tensor",
    "not converted": "parseFloat float double",
    "mean, sum and sqrt": "std stdev var variance sd median",
    "no integrals": "int_ integral integrate quad trapz",
    "no limits": "limit lim",
    "no equation": "solve fsolve fzero root_of",
    "expression alone": "print sum_ list len",
    "no exponential integrals": "Ei exp1 expi expint expn",
    "no erfi": "erfi",
    "no inverse of erf": "erfinv norminv",
    "no distributions": "dgamma pgamma qgamma dexp pexp qexp",
    "parameters differ": "glu celu selu prelu rrelu crelu",
    "arithmetic mean": "gmean hmean tmean wmean",
    "one number": "sort",
    "no zeta function": "zeta",
    "no Lambert W": "lambertw",
    "no Bessel functions": "besselj",
    "Numbers are real": "conj real imag",
}
"""Functions of Python, NumPy, SciPy, PyTorch, MATLAB, R and Mathematica for which no operation stands here."""


@for_each(("words", "names"), ABSENT.items())
def test_absent_function_is_explained(words: str, names: str) -> None:
    for name in names.split():
        assert re.search(rf"there is no primitive '{name}'\. [A-Za-z,; ]*{words}", fault_of(f"2*{name}(x)")), name


UNNUMBERED = {
    "numbers are finite; there is no infinity": "inf Inf INF infinity Infinity",
    "no number may be missing; every name needs one": "nan NaN NA nil null NULL undefined",
    "numbers are real; there is no imaginary unit": "i j I",
    "an expression is differentiated as a whole; write it alone": "dx dy dt",
}
"""Names of what is no number here."""


@pytest.mark.parametrize(("words", "names"), UNNUMBERED.items(), ids=UNNUMBERED)
def test_name_of_what_is_no_number_is_explained(words: str, names: str) -> None:
    for name in names.split():
        with pytest.raises(UnboundInput, match=rf"'{name}'.*{words}"):
            evaluate(parse(f"x + {name}"), {"x": 1.0})


def test_other_names_lead_to_operations_and_are_none_themselves() -> None:
    assert set(RENAMED.values()) | (set(OPERATIONS.values())) <= set(WIRE) | set(ALIASES)
    for table in (RENAMED, FORMULAS, NOTES):
        assert not set(table) & (set(WIRE) | set(ALIASES))
        assert all(name == name.lower() for name in table)
    assert not set(RENAMED) & set(FORMULAS) and not set(RENAMED) & set(NOTES) and not set(FORMULAS) & set(NOTES)


FRAGMENTS = [
    "x",
    "y",
    "2",
    "3.5",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    "|",
    "^",
    "**",
    "*",
    "/",
    "-",
    "!",
    "?",
    ":",
    ",",
    ";",
    "=",
    "<",
]
FRAGMENTS += [
    " ",
    "sin",
    "cot",
    "log",
    "np.",
    ".",
    "and ",
    "or ",
    "not ",
    "if ",
    "else ",
    "\\frac",
    "'",
    '"',
    "%",
    "@",
    "°",
    "²",
]
FRAGMENTS += [*CHARACTERS, "√", "1,000", "lambda x: ", "=>", "\n", "#", "&&", "||", "f(x) = ", "$", "٣"]


@given(st.lists(st.sampled_from(FRAGMENTS), max_size=12).map("".join))
def test_what_is_proposed_can_be_read(text: str) -> None:
    try:
        parse(text)
    except EngineError as error:
        proposed = re.search(r"(?:; [^:]+|Write[^:]*): ([^:]+)$", error.detail)
        if proposed and "found" not in proposed[1]:
            parse(proposed[1])


@pytest.mark.alone
@pytest.mark.parametrize(
    "piece", ["(", "x(", "|x", "x ? ", "a(b,", "!", "x^", "if ", "{", "\\frac{", "1,000", "x and ", "√", " "]
)
def test_advice_takes_little_time(piece: str) -> None:
    """A statement that is rewritten is short, so that no pattern takes long, however often it could match."""
    for length in (REWRITTEN_LENGTH - 2, 100_000):
        text = (piece * length)[:length] + "$"
        began = time.perf_counter()
        with pytest.raises(EngineError):
            parse(text)
        assert time.perf_counter() - began < 2.0


def fault_of(text: str) -> str:
    """What is said about a text that is no expression."""
    with pytest.raises(EngineError) as caught:
        parse(text)
    return caught.value.detail


@for_each(
    ("text", "proposal"),
    [
        (r"\sin x + \alpha", ": sin(x) + alpha"),
        (r"\alpha\beta", ": alpha*beta"),
        (r"\frac{x}{2}", ": ((x)/(2))"),
        (r"\sin\left(x\right)", ": sin(x)"),
        (r"y=\frac{x}{2}", ": y=((x)/(2))"),  # and nothing about the sign before it
        (r"\foo x + 1", ""),
        (r"\sin x \foo y", ""),
        (r"\alpha + \mathbb x", ""),
    ],
)
def test_latex_is_rewritten_if_all_its_commands_are_known(text: str, proposal: str) -> None:
    """An unknown command that is dropped, or taken for a name, would make another formula."""
    assert fault_of(text).endswith(f"write it without LaTeX's commands{proposal}")


PLAIN = {"*": "×·⋅∙∗＊•\u2062", "/": "÷∕⁄", "-": "−–—‒﹣‐‑", "<=": "≤⩽", ">=": "≥⩾", "!=": "≠"}
"""Signs of typesetting, by what they are in expressions."""


@for_each(("sign", "character"), [(sign, character) for sign in PLAIN for character in PLAIN[sign]])
def test_sign_of_typesetting_is_written_in_plain_characters(sign: str, character: str) -> None:
    assert fault_of(f"(x){character}(y)").endswith(f"write it in plain characters: (x){sign}(y)")


@pytest.mark.parametrize("character", "½¼¾⅓⅔")
def test_fraction_of_one_character_is_written_as_a_quotient(character: str) -> None:
    words, _, proposal = fault_of(f"2*{character}").partition("write it in plain characters: ")
    assert words and evaluate(parse(proposal))["output"] == pytest.approx(2 * unicodedata.numeric(character), rel=1e-15)


@pytest.mark.parametrize("character", ["\u00a0", "\u202f", "\u2009", "\u200b"], ids=unicodedata.name)
def test_space_of_typesetting_separates_nothing(character: str) -> None:
    proposal = fault_of(f"x{character}+{character}y").partition("write it in plain characters: ")[2]
    assert proposal.replace(" ", "") == "x+y"


GREEK = "alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa mu nu xi pi rho sigma tau upsilon phi"
GREEK += " varphi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega"
"""LaTeX's commands for Greek letters, without \\lambda, which is a reserved word here."""


@for_each("letter", GREEK.split())
def test_a_greek_letter_of_latex_is_a_name(letter: str) -> None:
    assert fault_of(rf"\{letter} + x").endswith(f"write it without LaTeX's commands: {letter} + x")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (r"\frac{1}{2}\int x dx", "there are no integrals"),
        (r"2\pi + \int_0^1 x dx", "there are no integrals"),
        (r"\alpha*\sum_{i=1}^n x", "write a sum out, as in sum(a, b, c)"),
        (r"\alpha*\prod_{i=1}^n x", "write a product out, as in prod(a, b, c)"),
        (r"\alpha*\infty", "numbers are finite; there is no infinity"),
    ],
)
def test_what_latex_has_and_expressions_have_not_is_named_wherever_it_stands(text: str, words: str) -> None:
    """Without the command that comes first the text would still be no expression."""
    assert fault_of(text).endswith(f"; {words}")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("(x,y!", "expected ')', found ','; an expression has one value; give each of several a name, as in a = x; b = y"),
        ("and?x", "found 'and'; multiply comparisons to say 'and'"),
        ("y=|x", "found '|'; take the max of comparisons to say 'or'"),
    ],
    ids=["factorial behind", "question mark behind", "equals sign before"],
)
def test_advice_is_about_the_fault_and_not_about_its_neighbour(text: str, words: str) -> None:
    assert fault_of(text).endswith(words)


@for_each("line", ["\n", "\r\n", "\r"])
def test_statement_at_fault_is_rewritten_and_no_other(line: str) -> None:
    for statements in (["2x", "a = 1", "b = 2"], ["a = 1", "2x", "b = 2"], ["a = 1", "b = 2", "2x"]):
        fault = fault_of(line.join(statements))
        assert fault.startswith(f"line {statements.index('2x') + 1}, column 2: ")
        assert fault.endswith("write a product with *: 2*x")


@pytest.mark.parametrize(("faults", "is_rewritten"), [(40, True), (41, False)])
@pytest.mark.parametrize("piece", ["a b", "1a"])
def test_at_most_forty_faults_are_rewritten(piece: str, faults: int, is_rewritten: bool) -> None:
    proposal = ": " + "+".join([f"{piece[0]}*{piece[-1]}"] * faults)
    assert fault_of("+".join([piece] * faults)).endswith("write a product with *" + (proposal if is_rewritten else ""))


@pytest.mark.parametrize(("depth", "is_rewritten"), [(40, True), (41, False)])
def test_at_most_forty_levels_of_latex_are_rewritten(depth: int, is_rewritten: bool) -> None:
    """Python's own powers are what they must become."""
    words, _, proposal = fault_of(r"\pi" + "^{x" * depth + "}" * depth).partition("LaTeX's commands")
    assert words and proposal.replace(" ", "") == (":pi" + "**(x" * depth + ")" * depth if is_rewritten else "")


def test_rules_say_something_and_patterns_can_match_nothing_only_before_a_token() -> None:
    for rule in RULES:
        assert rule.words
        assert rule.before or rule.pattern.match("") is None, rule.pattern.pattern
    assert re.fullmatch(ATOM, "f(x, (y + 1)*2)")
