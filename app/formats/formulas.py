"""Formulas for people: the text that the service parses, LaTeX and Presentation MathML."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count as count_from
from keyword import iskeyword
from unicodedata import normalize
from xml.sax.saxutils import escape

from app.engine.derivative import free_name
from app.engine.graph import CONSTANTS, ID_LIMIT, Graph
from app.engine.interruption import Checkpoint, never
from app.engine.primitives import LEAF
from app.formats.notation import (
    ATOM,
    CHOICE,
    COMPARISON,
    FACTOR,
    NEGATION,
    POWER,
    PRODUCT,
    SUM,
    Notation,
    Plan,
    Template,
    Written,
    needed,
    plan,
    short_number,
    write,
)

COMPARISONS = {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!="}


@dataclass(frozen=True, slots=True)
class Formula:
    """An expression in the requested notations; None for those that were not requested."""

    text: str | None
    latex: str | None
    mathml: str | None


def text_names(graph: Graph) -> dict[str, str]:
    """Return a name for each node that can be one in a text: its id, or, where that is none, a similar name."""
    taken: dict[str, int] = dict.fromkeys(CONSTANTS, 1)
    names = {}
    ids = [node.id for node in graph.nodes if node.op == LEAF]
    plain = {name for name in ids if is_text_name(name)}
    taken |= dict.fromkeys(plain, 1)
    for name in ids:
        names[name] = name if name in plain else free_name(similar_name(name), taken)
    return names


def is_text_name(name: str) -> bool:
    """Return whether an id can be a name in a text."""
    valid = name.isidentifier() and not iskeyword(name) and name not in CONSTANTS
    return valid and normalize("NFKC", name) == name and len(name) <= ID_LIMIT


def similar_name(name: str) -> str:
    """Return an identifier that is similar to a name."""
    plain = re.sub(r"\W", "_", normalize("NFKC", name))
    return plain if plain.isidentifier() and not iskeyword(plain) and plain not in CONSTANTS else f"x_{plain}"


def formulas(
    graph: Graph, output: str, forms: Sequence[str], names: Mapping[str, str], *, checkpoint: Checkpoint = never
) -> Formula:
    """Write an output of a graph.

    Args:
        graph: the graph.
        output: the id of what is written.
        forms: which of `text`, `latex` and `mathml` are wanted.
        names: the names of the leaves.
        checkpoint: is called from time to time.
    """
    nodes = needed(graph, [output], checkpoint)
    if graph.source == "nodes":  # there, a leaf's number is a default for an input
        nodes = [node._replace(data=None) for node in nodes]
    taken = dict.fromkeys([*CONSTANTS, *names.values()], 1)
    numbers = count_from(1)
    known = {name for name in graph.names if is_text_name(name) and name not in taken and not name.startswith("d_")}
    planned = plan(nodes, [output], TEXT, preferred=known, checkpoint=checkpoint)
    full = dict(names)
    for node in planned.nodes:
        if node.id in planned.defined and node.op != LEAF:
            full[node.id] = free_name(node.id, taken) if node.id in known else _next(numbers, taken)
    written = {form: WRITERS[form](planned, full, checkpoint) for form in WRITERS if form in forms}
    return Formula(written.get("text"), written.get("latex"), written.get("mathml"))


def _next(numbers: Iterator[int], taken: dict[str, int]) -> str:
    name = next(name for number in numbers if (name := f"t{number}") not in taken)
    taken[name] = 1
    return name


# --- text


def _text_number(number: float) -> Written:
    if abs(number) == math.pi:
        return Written("pi" if number > 0 else "-pi", ATOM if number > 0 else NEGATION)
    if abs(number) == math.e:
        return Written("e" if number > 0 else "-e", ATOM if number > 0 else NEGATION)
    text = short_number(number)
    return Written(text, NEGATION if text.startswith("-") else ATOM)


def _text_special(op: str, args: Sequence[Written]) -> Written | None:
    if op == "pow":
        base, exponent = args
        number = exponent.level == NEGATION and re.fullmatch(r"-[\d.e+-]+", exponent.text)
        return Written(f"{TEXT.at(base, ATOM)}**{exponent.text if number else TEXT.at(exponent, ATOM)}", POWER)
    return None


ARITHMETIC = {
    "add": Template("{0} + {1}", SUM, (SUM, NEGATION)),
    "sub": Template("{0} - {1}", SUM, (SUM, NEGATION)),
    "mul": Template("{0}*{1}", PRODUCT, (NEGATION, FACTOR)),
    "divide": Template("{0}/{1}", PRODUCT, (NEGATION, FACTOR)),
    "neg": Template("-{0}", NEGATION, (PRODUCT,)),
    **{op: Template(f"{{0}} {sign} {{1}}", COMPARISON, (SUM, SUM)) for op, sign in COMPARISONS.items()},
}
"""Arithmetic as most languages write it."""

TEXT = Notation(
    ARITHMETIC
    | {
        "square": Template("{0}**2", POWER, (ATOM,)),
        "where": Template("{1} if {0} else {2}", CHOICE, (COMPARISON, COMPARISON, CHOICE)),
    },
    lambda op, args: f"{op}({', '.join(args)})",
    _text_number,
    special=_text_special,
)


def _text(planned: Plan, names: Mapping[str, str], checkpoint: Checkpoint) -> str:
    definitions, (result,) = write(TEXT, planned, names, checkpoint)
    return "; ".join([*(f"{name} = {text}" for name, text in definitions), result.text])


# --- LaTeX

GREEK = (
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau upsilon phi chi psi omega "
    "Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega"
).split()
GREEK_LETTERS = dict(zip("αβγδεζηθικλμνξπρστυφχψωΓΔΘΛΞΠΣΥΦΨΩ", GREEK, strict=True))
LATEX_FUNCTIONS = {
    **{name: rf"\{name}" for name in ("sin", "cos", "tan", "sinh", "cosh", "tanh", "log", "min", "max")},
    **{f"a{name}": rf"\arc{name}" for name in ("sin", "cos", "tan")},
    "log2": r"\log_{2}",
    "log10": r"\log_{10}",
    "digamma": r"\psi",
}
LATEX_SPECIAL = {c: rf"\{c}" for c in "&%$#_{}"} | {"\\": r"\backslash{}", "~": r"\sim{}", "^": r"\hat{}"}


def _latex_word(word: str) -> str:
    if word in GREEK or word in GREEK_LETTERS:
        return "\\" + GREEK_LETTERS.get(word, word)
    if len(word) == 1 and (word.isascii() and word.isalnum() or word.isalpha()):
        return word
    return rf"\mathrm{{{''.join(LATEX_SPECIAL.get(c, c) for c in word)}}}" if not word.isdigit() else word


def latex_name(name: str) -> str:
    """Return a name as LaTeX: `x_1` and `x1` with a subscript, names of Greek letters as letters."""
    match = re.fullmatch(r"([^\W\d_]+)_?(\d+|(?<=_)[^\W_]+)", name)
    if match:
        return f"{_latex_word(match[1])}_{{{_latex_word(match[2])}}}"
    return _latex_word(name)


def _latex_number(number: float) -> Written:
    if abs(number) == math.pi:
        return Written(r"\pi" if number > 0 else r"-\pi", ATOM if number > 0 else NEGATION)
    text = short_number(number)
    mantissa, e, exponent = text.partition("e")
    if e:
        text = rf"{mantissa} \cdot 10^{{{exponent}}}"
    return Written(text, NEGATION if text.startswith("-") else PRODUCT if e else ATOM)


def _latex_special(op: str, args: Sequence[Written]) -> Written | None:
    if op == "mul":
        left, right = LATEX.at(args[0], NEGATION), LATEX.at(args[1], FACTOR)
        dot = r" \cdot " if right[0].isdigit() or right.startswith(r"\frac") and left[-1].isdigit() else " "
        return Written(left + dot + right, PRODUCT)
    if op == "divide" and args[0].level == NEGATION and args[0].text.startswith("-"):
        return Written(rf"-\frac{{{args[0].text[1:]}}}{{{args[1].text}}}", NEGATION)
    if op in COMPARISONS:
        sign = {"le": r"\le", "ge": r"\ge", "eq": "=", "ne": r"\ne"}.get(op, COMPARISONS[op])
        text = f"{LATEX.at(args[0], SUM)} {sign} {LATEX.at(args[1], SUM)}"
        return Written(rf"\left[{text}\right]", ATOM, text)
    return None


def _latex_call(op: str, args: Sequence[str]) -> str:
    function = LATEX_FUNCTIONS.get(op) or r"\operatorname{" + op.replace("_", r"\_") + "}"
    return function + r"\left(" + ", ".join(args) + r"\right)"


LATEX = Notation(
    ARITHMETIC
    | {
        "divide": Template(r"\frac{{{0}}}{{{1}}}", FACTOR),
        "pow": Template("{0}^{{{1}}}", POWER, (ATOM, CHOICE)),
        "square": Template("{0}^{{2}}", POWER, (ATOM,)),
        "reciprocal": Template(r"\frac{{1}}{{{0}}}", FACTOR),
        "sqrt": Template(r"\sqrt{{{0}}}", ATOM),
        "exp": Template("e^{{{0}}}", POWER),
        "abs": Template(r"\left|{0}\right|", ATOM),
        "lgamma": Template(r"\log\left|\Gamma\left({0}\right)\right|", FACTOR),
        "polygamma": Template(r"\psi^{{\left({0}\right)}}\left({1}\right)", ATOM),
        "where": Template(r"\begin{{cases}} {1} & \text{{if }} {0} \\ {2} & \text{{otherwise}} \end{{cases}}", SUM),
    },
    _latex_call,
    _latex_number,
    condition=r"{0} \ne 0",
    grouped=r"\left({0}\right)",
    special=_latex_special,
)


def _latex(planned: Plan, names: Mapping[str, str], checkpoint: Checkpoint) -> str:
    definitions, (result,) = write(LATEX, planned, {name: latex_name(shown) for name, shown in names.items()}, checkpoint)
    if not definitions:
        return result.text
    lines = [*(f"{name} &= {text}" for name, text in definitions), f"& {result.text}"]
    return r"\begin{aligned} " + r" \\ ".join(lines) + r" \end{aligned}"


# --- MathML


def _mathml_number(number: float) -> Written:
    text = _text_number(number)
    plain = text.text.lstrip("-").replace("pi", "π")
    mantissa, e, exponent = plain.partition("e")
    shown = f"<mi>{plain}</mi>" if plain in ("π", "e") else f"<mn>{mantissa}</mn>"
    if e and mantissa:
        shown += f"<mo>·</mo><msup><mn>10</mn>{_minus(exponent)}</msup>"
    level = PRODUCT if e and mantissa else ATOM
    return Written(f"<mo>-</mo>{shown}", NEGATION) if number < 0 else Written(shown, level)


def _minus(exponent: str) -> str:
    return f"<mrow><mo>-</mo><mn>{exponent[1:]}</mn></mrow>" if exponent.startswith("-") else f"<mn>{exponent}</mn>"


def mathml_name(name: str) -> str:
    """Return a name as MathML, with a subscript as in LaTeX."""
    match = re.fullmatch(r"([^\W\d_]+)_?(\d+|(?<=_)[^\W_]+)", name)
    if match:
        below = f"<mn>{match[2]}</mn>" if match[2].isdigit() else f"<mi>{match[2]}</mi>"
        return f"<msub><mi>{escape(match[1])}</mi>{below}</msub>"
    return f"<mi>{escape(name)}</mi>"


def _mathml_operator(sign: str) -> str:
    return f"<mo>{escape(sign)}</mo>"


def _mathml_special(op: str, args: Sequence[Written]) -> Written | None:
    if op in COMPARISONS:
        sign = {"le": "≤", "ge": "≥", "eq": "=", "ne": "≠"}.get(op, COMPARISONS[op])
        text = MATHML.at(args[0], SUM) + _mathml_operator(sign) + MATHML.at(args[1], SUM)
        return Written(f"<mrow><mo>[</mo>{text}<mo>]</mo></mrow>", ATOM, text)
    if op == "mul":
        left, right = MATHML.at(args[0], NEGATION), MATHML.at(args[1], FACTOR)
        times = "·" if right.startswith("<mn>") else INVISIBLE_TIMES
        return Written(f"{left}<mo>{times}</mo>{right}", PRODUCT)
    return None


INVISIBLE_TIMES = "\u2062"
_ROW = "<mrow>{%d}</mrow>"
MATHML = Notation(
    {
        "add": Template("{0}<mo>+</mo>{1}", SUM, (SUM, NEGATION)),
        "sub": Template("{0}<mo>-</mo>{1}", SUM, (SUM, PRODUCT)),
        "neg": Template("<mo>-</mo>{0}", NEGATION, (PRODUCT,)),
        "divide": Template(f"<mfrac>{_ROW % 0}{_ROW % 1}</mfrac>", FACTOR),
        "pow": Template(f"<msup>{_ROW % 0}{_ROW % 1}</msup>", POWER, (ATOM, CHOICE)),
        "square": Template(f"<msup>{_ROW % 0}<mn>2</mn></msup>", POWER, (ATOM,)),
        "reciprocal": Template(f"<mfrac><mn>1</mn>{_ROW % 0}</mfrac>", FACTOR),
        "sqrt": Template("<msqrt>{0}</msqrt>", ATOM),
        "exp": Template(f"<msup><mi>e</mi>{_ROW % 0}</msup>", POWER),
        "abs": Template("<mrow><mo>|</mo>{0}<mo>|</mo></mrow>", ATOM),
        "where": Template(
            "<mrow><mo>{{</mo><mtable><mtr><mtd>{1}</mtd><mtd><mtext>if </mtext>{0}</mtd></mtr>"
            "<mtr><mtd>{2}</mtd><mtd><mtext>otherwise</mtext></mtd></mtr></mtable></mrow>",
            SUM,
        ),
    },
    lambda op, args: (
        f"<mrow><mi>{escape(op)}</mi><mo>\u2061</mo><mrow><mo>(</mo>{'<mo>,</mo>'.join(args)}<mo>)</mo></mrow></mrow>"
    ),
    _mathml_number,
    condition="{0}<mo>≠</mo><mn>0</mn>",
    grouped="<mrow><mo>(</mo>{0}<mo>)</mo></mrow>",
    special=_mathml_special,
)


def _mathml(planned: Plan, names: Mapping[str, str], checkpoint: Checkpoint) -> str:
    definitions, (result,) = write(MATHML, planned, {name: mathml_name(shown) for name, shown in names.items()}, checkpoint)
    rows = [f"<mtr><mtd>{name}<mo>=</mo>{text}</mtd></mtr>" for name, text in definitions]
    body = f"<mtable>{''.join(rows)}<mtr><mtd>{result.text}</mtd></mtr></mtable>" if rows else f"<mrow>{result.text}</mrow>"
    return f"<math>{re.sub(LONE, LONE_ALONE, body)}</math>"


LONE, LONE_ALONE = re.compile("<mrow><m([in])>([^<]*)</m[in]></mrow>"), r"<m\1>\2</m\1>"
"""A name or number that stands alone in a row, and the same without the row."""

FORMS = ("text", "latex", "mathml")

WRITERS = {"text": _text, "latex": _latex, "mathml": _mathml}
"""How to write each form."""
