"""Read MathJSON, the format of MathLive and the Compute Engine, as a graph.

An array is a function's name and its arguments: `["Add", ["Power", "x", 2], 1]`. `FUNCTIONS` is the table of the names that are
read, with their meaning as an expression of this project. Functions whose meaning depends on how many arguments there are, or
on what they are, have a rule in `RULES` besides.

There is no recursion, so arrays may be nested as deeply as there is memory for.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, reduce
from typing import Any, NamedTuple
from unicodedata import normalize

from app.engine.errors import InvalidNode, Place, UnknownPrimitive, WrongArity, nearest, quote
from app.engine.graph import ID_LIMIT, Graph, Node, is_id
from app.engine.large_json import LargeList, LargeObject, LargeString
from app.engine.primitives import LEAF, WIRE
from app.engine.scanner import BrokenList, NodesText, NumberList, NumberRows
from app.engine.text import parse
from app.engine.text_reader import OUTPUT

Operand = str | float
"""The id of a node, or a number."""

Grow = Callable[[int], None]
"""Is called with the number of entries that the arrays read so far have in all, before more are read, and may raise."""

ENTRIES_BETWEEN = 1 << 10
"""How many entries are read between two calls of `Grow`: some milliseconds."""

NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?\Z")
REPEATING = re.compile(r"([+-]?[0-9]*\.[0-9]*)\(([0-9]+)\)((?:[eE][+-]?[0-9]+)?)\Z")
"""A decimal whose last digits repeat for ever, such as 0.1(6) for 1/6."""
DIGITS_OF_A_DOUBLE = 800
"""More digits than these never change to which double a decimal is rounded."""
STARTS_AS_NUMBER = re.compile(r"[+-]?(?:[0-9]|\.[0-9(])")

CONSTANTS = {
    "Pi": math.pi,
    "ExponentialE": math.e,
    "e": math.e,
    "Half": 0.5,
    "GoldenRatio": (1.0 + math.sqrt(5.0)) / 2.0,
    "EulerGamma": 0.5772156649015329,
    "CatalanConstant": 0.915965594177219,
    "MachineEpsilon": 2.0**-52,
    "True": 1.0,
    "False": 0.0,
}
"""Names that stand for numbers. Every other name is an input."""

NO_NUMBERS = {
    *("NaN", "PositiveInfinity", "NegativeInfinity", "ComplexInfinity", "ImaginaryUnit"),
    *("Nothing", "Missing", "Undefined", "+Infinity", "-Infinity", "Infinity"),
}
"""Names that stand for something else than a finite real number."""


class Function(NamedTuple):
    """A function of MathJSON.

    Attributes:
        name: its name there.
        min_arity: the fewest arguments.
        max_arity: the most, or None if there is no limit.
        meaning: what it is, as an expression of the arguments `a`, `b`, `c`; with `...` where any number can follow.
    """

    name: str
    min_arity: int
    max_arity: int | None
    meaning: str


def _fixed(arity: int, meanings: str) -> list[Function]:
    """Rows for functions of `arity` arguments, from lines `name: meaning`."""
    rows = (line.strip().partition(": ") for line in meanings.strip().splitlines())
    return [Function(name, arity, arity, meaning) for name, _, meaning in rows]


FUNCTIONS: dict[str, Function] = {
    row.name: row
    for row in (
        Function("Add", 0, None, "a + b + ..."),
        Function("Subtract", 1, None, "a - b - ..."),
        Function("Multiply", 0, None, "a * b * ..."),
        Function("InvisibleOperator", 1, None, "a * b * ..., or a + b for a mixed number such as 2 1/2"),
        Function("Divide", 2, None, "a / b / ..."),
        Function("Rational", 1, 2, "a / b"),
        *_fixed(
            1,
            """
            Negate: -a
            Square: square(a)
            Sqrt: sqrt(a)
            Exp: exp(a)
            Exp2: 2**a
            Log2: log2(a)
            Lb: log2(a)
            Log10: log10(a)
            Lg: log10(a)
            Sin: sin(a)
            Cos: cos(a)
            Tan: tan(a)
            Sec: reciprocal(cos(a))
            Csc: reciprocal(sin(a))
            Cot: reciprocal(tan(a))
            Arcsin: asin(a)
            Arccos: acos(a)
            Arctan: atan(a)
            Arcsec: acos(reciprocal(a))
            Arccsc: asin(reciprocal(a))
            Arccot: atan2(1, a)
            Sinh: sinh(a)
            Cosh: cosh(a)
            Tanh: tanh(a)
            Sech: reciprocal(cosh(a))
            Csch: reciprocal(sinh(a))
            Coth: reciprocal(tanh(a))
            Arsinh: asinh(a)
            Arcosh: acosh(a)
            Artanh: atanh(a)
            Arsech: acosh(reciprocal(a))
            Arcsch: asinh(reciprocal(a))
            Arcoth: atanh(reciprocal(a))
            Haversine: square(sin(a/2))
            Degrees: a*(pi/180)
            Abs: abs(a)
            Sign: sign(a)
            Erf: erf(a)
            Erfc: erfc(a)
            GammaLn: lgamma(a)
            Digamma: digamma(a)
            Trigamma: polygamma(1, a)
            Not: a == 0
            Boole: a != 0
            """,
        ),
        *_fixed(
            2,
            """
            Power: a**b
            Root: a**(1/b)
            Arctan2: atan2(a, b)
            Hypot: hypot(a, b)
            PolyGamma: polygamma(a, b)
            """,
        ),
        Function("Ln", 1, 2, "log(a), or log(a)/log(b) to the base b"),
        Function("Log", 1, 2, "log10(a), or log(a)/log(b) to the base b"),
        Function("Clamp", 3, 3, "min(max(a, b), c)"),
        Function("If", 3, 3, "where(a, b, c)"),
        Function("Which", 2, None, "b if a else d if c else ...; not a number where no condition holds"),
        Function("Less", 2, None, "a < b < ..."),
        Function("LessEqual", 2, None, "a <= b <= ..."),
        Function("Greater", 2, None, "a > b > ..."),
        Function("GreaterEqual", 2, None, "a >= b >= ..."),
        Function("Equal", 2, None, "a == b == ..."),
        Function("NotEqual", 2, None, "a != b != ..., neighbours compared"),
        Function("And", 1, None, "1 if all are true, else 0"),
        Function("Or", 1, None, "1 if one is true, else 0"),
        Function("Min", 1, None, "min(a, b, ...)"),
        Function("Max", 1, None, "max(a, b, ...)"),
        Function("Mean", 1, None, "mean(a, b, ...)"),
        Function("Sum", 1, 1, "the sum of a List"),
        Function("Product", 1, 1, "the product of a List"),
        Function("Delimiter", 1, 2, "a, in parentheses"),
    )
}
"""The functions that are read. The names of this project's own primitives, such as `relu`, are read as functions too."""

COMPARISONS = {"Less": "lt", "LessEqual": "le", "Greater": "gt", "GreaterEqual": "ge", "Equal": "eq", "NotEqual": "ne"}
TRUTHS = {*COMPARISONS.values()}
"""Primitives whose value is 1 or 0."""

OF_LISTS = {"Min", "Max", "Mean", "Sum", "Product"}
"""Functions that take their arguments in a `List` too."""

ADVICE = {
    "Sum": '; write the terms out: ["Sum", ["List", ...]]',
    "Product": '; write the factors out: ["Product", ["List", ...]]',
    "List": "; a list can only be the argument of Sum, Product, Min, Max or Mean",
    "Error": "; the formula was not understood when it was entered",
    "Tuple": "; an expression is one number",
    "D": "; /v1/derivative differentiates",
}


@dataclass(frozen=True, slots=True, eq=False)
class MathJSON:
    """An array, as JSON has been decoded to it, that has not been read yet.

    `entries` is an upper bound on the entries of all arrays in it.
    """

    value: Any
    entries: int


def unread(value: Any) -> MathJSON:
    """Return the array with a bound on its entries, for which a large one is not decoded."""
    if isinstance(value, LargeList):
        return MathJSON(value, len(value.text) // 2)
    count, stack = 0, [value]
    while stack:
        item = stack.pop()
        if isinstance(item, list):
            count += len(item)
            stack += [entry for entry in item if isinstance(entry, list | dict)]
        elif isinstance(item, dict):
            stack += item.values()
    return MathJSON(value, count)


def read(value: object, *, grow: Grow = lambda entries: None) -> Graph:
    """Return the graph of a MathJSON array that JSON has been decoded to. Names are leaves.

    Raises InvalidNode, UnknownPrimitive and WrongArity, whose place is the path within the array; and what `grow` raises.
    """
    return _Reader(grow).graph(value)


@dataclass(slots=True)
class _Call:
    """A function whose arguments are being read: its place, the arguments left, and those that have been read."""

    name: str
    place: Place
    rest: Iterator[tuple[int, Any]]
    raw: Sequence[Any]
    operands: list[Operand] = field(default_factory=list)
    parent: "_Call | None" = None


class _Reader:
    """One pass over the array with a stack of calls."""

    def __init__(self, grow: Grow) -> None:
        self.grow = grow
        self.nodes: list[Node] = []
        self.names: dict[str, None] = {}
        self.truths: set[str] = set()
        self.made = 0
        self.entries = 0
        self.counted = 0

    def graph(self, value: object) -> Graph:
        """Read everything."""
        call = self._open(value, None, ())
        while True:
            step = next(call.rest, None)
            if step is None:
                result = self._close(call)
                if call.parent is None:
                    return self._finished(result)
                call = call.parent
                call.operands.append(result)
                continue
            k, item = step
            item, steps = _unwrapped(item)
            if isinstance(item, list | LargeList | NumberList | NumberRows | BrokenList):
                call = self._open(item, call, (k, *steps))
            else:
                call.operands.append(self._atom(item, call, (k, *steps)))

    def _open(self, value: object, parent: _Call | None, at: Place) -> _Call:
        """Begin to read an array at `at` within its parent."""
        items = self._items(value)
        call = _Call("", at, iter(()), items, parent=parent)
        if not items:
            raise InvalidNode(
                'expected a function and its arguments, such as ["Add", "x", 1], found an empty list', _place(call)
            )
        name, _ = _unwrapped(items[0])
        if not isinstance(name, str):
            detail = f'expected the name of a function, such as "Add", found {_kind(name)}'
            raise InvalidNode(detail, (*_place(call), 0))
        call.name = name
        if name == "List" and parent is not None and parent.name in OF_LISTS and len(parent.raw) == 2:
            if len(items) == 1:
                raise WrongArity(f"{parent.name} needs a list with at least one entry", _place(call))
        elif len(items) == 1 and name not in FUNCTIONS and name not in WIRE:
            detail = 'expected a function and its arguments, such as ["Add", "x", 1], found a list with one entry'
            if parent is None:
                detail += "; an expression as text stands without brackets"
            raise InvalidNode(detail, _place(call))
        elif name not in FUNCTIONS and name not in WIRE:
            raise UnknownPrimitive(_unknown(name), (*_place(call), 0))
        else:
            _check_arity(call, len(items) - 1)
        call.rest = enumerate(items)
        next(call.rest)
        return call

    def _atom(self, item: object, call: _Call, at: Place) -> Operand:
        """Read a number or a name."""
        if type(item) is float or type(item) is int:
            number = float(item)
            if not math.isfinite(number):
                raise InvalidNode("expected a finite number", (*_place(call), *at))
            return number
        if not isinstance(item, str):
            detail = f"expected a number, a name or a list, found {_kind(item)}"
            raise InvalidNode(detail, (*_place(call), *at))
        if item in self.names:
            return item
        if item in CONSTANTS:
            return CONSTANTS[item]
        if item[:1] == "'" and call.name == "Delimiter" and at == (2,):
            return 0.0  # the kind of parentheses, which _delimited leaves out
        if STARTS_AS_NUMBER.match(item):
            decimal = _decimal(item)
            if decimal is None:
                detail = f"{quote(item)} is no number; write digits, a point and an exponent, as in 1.5e-3"
                raise InvalidNode(detail, (*_place(call), *at))
            return self._atom(decimal, call, at)
        name = normalize("NFC", item)
        problem = _name_problem(name)
        if problem:
            raise InvalidNode(problem, (*_place(call), *at))
        if name not in self.names:
            self.names[name] = None
            self._append(Node(name, LEAF))
        return name

    def _close(self, call: _Call) -> Operand:
        """Make the nodes of a call whose operands have been read."""
        name, operands = call.name, call.operands
        if name == "List":
            assert call.parent is not None
            call.parent.operands.extend(operands[:-1])
            return operands[-1]
        if name in ("Sum", "Product"):
            raw, _ = _unwrapped(call.raw[1])
            if not (isinstance(raw, list | LargeList) and _head(raw) == "List"):
                raise InvalidNode(f"there is no {name} over a range{ADVICE[name]}", (*_place(call), 1))
        if name in RULES:
            return RULES[name](self, call)
        if name in WIRE:
            return self.node(name, *operands)
        return self.expanded(FUNCTIONS[name].meaning, operands)

    def _finished(self, result: Operand) -> Graph:
        """The graph whose output is `result`."""
        label, number = OUTPUT, 1
        while label in self.names:
            number += 1
            label = f"{OUTPUT}_{number}"
        last = self.nodes[-1].id if self.nodes else ""
        if isinstance(result, float):
            self.nodes.append(Node(label, LEAF, data=result))
        elif result == last and result not in self.names:
            self.nodes[-1] = self.nodes[-1]._replace(id=label)
        else:
            self.nodes.append(Node(label, "sum", (result,)))
        return Graph(tuple(self.nodes), (label,), tuple(self.names), "text")

    def node(self, op: str, *args: Operand) -> str:
        """Append a node and return its id."""
        self.made += 1
        name = f"%{self.made}"
        self._append(Node(name, op, args))
        if op in TRUTHS:
            self.truths.add(name)
        return name

    def _append(self, node: Node) -> None:
        self.nodes.append(node)

    def _items(self, value: object) -> Sequence[Any]:
        """The entries of an array, which are counted. Of one that begins with many numbers, which is wrong, only a number."""
        if isinstance(value, list):
            self._count(len(value))
            return value
        if not isinstance(value, LargeList):
            has_rows = isinstance(value, NumberRows) or (isinstance(value, BrokenList) and value.rows)
            return [[] if has_rows else 0.0]
        entries: list[Any] = []
        for piece in value.pieces():
            self._count(len(piece))
            entries += piece
        return entries

    def _count(self, entries: int) -> None:
        self.entries += entries
        if self.entries > self.counted + ENTRIES_BETWEEN:
            self.counted = self.entries
            self.grow(self.entries)

    def expanded(self, meaning: str, operands: Sequence[Operand]) -> Operand:
        """Append the nodes of an expression of `a`, `b` and `c`."""
        made: dict[str, Operand] = dict(zip("abc", operands, strict=False))
        result: Operand = 0.0
        for node in _template(meaning):
            arguments = tuple(made[a] if isinstance(a, str) else a for a in node.args)
            result = self.node(node.op, *arguments)
            made[node.id] = result
        return result

    def truth(self, operand: Operand) -> Operand:
        """Whether an operand is not 0, as 1 or 0."""
        if isinstance(operand, float):
            return float(operand != 0.0)
        return operand if operand in self.truths else self.node("ne", operand, 0.0)

    def conjunction(self, operands: Sequence[Operand]) -> Operand:
        """Whether all truths hold."""
        if len(operands) == 1:
            return operands[0]
        result = self.node("prod" if len(operands) > 2 else "mul", *operands)
        self.truths.add(result)
        return result


# --- rules for functions that one expression cannot describe

Rule = Callable[[_Reader, _Call], Operand]


def _many(two: str, more: str, neutral: float) -> Rule:
    """A rule for any number of arguments: a number for none, the argument itself for one, a primitive for two or more."""

    def combined(reader: _Reader, call: _Call) -> Operand:
        operands = call.operands
        if len(operands) < 2:
            return operands[0] if operands else neutral
        return reader.node(two if len(operands) == 2 else more, *operands)

    return combined


def _negate(reader: _Reader, call: _Call) -> Operand:
    [a] = call.operands
    return -a if isinstance(a, float) else reader.node("neg", a)


def _divide(reader: _Reader, call: _Call) -> Operand:
    """Numbers are divided at once, so that `x**(1/2)` has a constant exponent."""

    def quotient(a: Operand, b: Operand) -> Operand:
        if isinstance(a, float) and isinstance(b, float) and b and math.isfinite(a / b):
            return a / b
        return reader.node("divide", a, b)

    return reduce(quotient, call.operands)


def _subtract(reader: _Reader, call: _Call) -> Operand:
    return reduce(lambda a, b: reader.node("sub", a, b), call.operands)


def _invisible(reader: _Reader, call: _Call) -> Operand:
    """The product of what stands side by side. An integer alone before a fraction of positive integers is a mixed number."""
    alone = len(call.operands) == 2 and not (call.parent is not None and call.parent.name == "InvisibleOperator")
    if alone and _is_integer(call.raw[1]) and min(_fraction(call.raw[2])) > 0.0:
        whole, part = call.operands
        assert isinstance(whole, float)
        return reader.node("add", whole, part) if whole >= 0.0 else reader.node("sub", whole, part)
    return RULES["Multiply"](reader, call)


def _is_integer(value: Any) -> bool:
    value, _ = _unwrapped(value)
    return (type(value) is int or type(value) is float) and float(value).is_integer()


def _fraction(value: Any) -> tuple[float, float]:
    """Numerator and denominator of a fraction of integers; zeros for anything else."""
    value, _ = _unwrapped(value)
    is_fraction = isinstance(value, list) and len(value) == 3 and value[0] in ("Rational", "Divide")
    if not (is_fraction and _is_integer(value[1]) and _is_integer(value[2])):
        return 0.0, 0.0
    return float(_unwrapped(value[1])[0]), float(_unwrapped(value[2])[0])


def _power(reader: _Reader, call: _Call) -> Operand:
    """A power; `exp` where the base is e, whose rounded value would lose digits. 1/n is a root."""
    base, _ = _unwrapped(call.raw[1])
    if base in ("ExponentialE", "e"):
        return reader.node("exp", call.operands[1])
    numerator, degree = _fraction(call.raw[2])
    if numerator == 1.0 and degree > 1.0:
        return _real_root(reader, call.operands[0], degree)
    return reader.node("pow", *call.operands)


def _root(reader: _Reader, call: _Call) -> Operand:
    """A root; one of odd degree is real for negative numbers too."""
    a, degree = call.operands
    if not isinstance(degree, float):
        return reader.expanded("a**(1/b)", call.operands)
    if degree == 0.0:
        raise InvalidNode("there is no root of degree 0", (*_place(call), 2))
    return _real_root(reader, a, degree)


def _real_root(reader: _Reader, a: Operand, degree: float) -> Operand:
    if degree == 2.0:
        return reader.node("sqrt", a)
    if degree % 2.0 == 1.0:
        return reader.expanded("sign(a)*abs(a)**b", (a, 1.0 / degree))
    return reader.node("pow", a, 1.0 / degree)


def _logarithm(of_one: str) -> Rule:
    def logarithm(reader: _Reader, call: _Call) -> Operand:
        a, *base = call.operands
        named = _unwrapped(call.raw[2])[0] if base else None
        if not base or named in ("ExponentialE", "e"):
            return reader.node("log" if base else of_one, a)
        known = {2.0: "log2", 10.0: "log10"}.get(base[0]) if isinstance(base[0], float) else None
        return reader.node(known, a) if known else reader.expanded("log(a)/log(b)", call.operands)

    return logarithm


def _which(reader: _Reader, call: _Call) -> Operand:
    """Conditions, each with a value after it; the first that holds counts."""
    if len(call.operands) % 2:
        raise WrongArity('Which takes pairs of a condition and a value; the last condition may be "True"', _place(call))
    pairs = list(zip(call.operands[::2], call.operands[1::2], strict=True))
    result: Operand | None = None
    for condition, value in reversed(pairs):
        if isinstance(condition, float):
            result = value if condition else result
        else:
            rest = reader.node("divide", 0.0, 0.0) if result is None else result  # not a number, where no condition holds
            result = reader.node("where", condition, value, rest)
    return reader.node("divide", 0.0, 0.0) if result is None else result


def _comparison(op: str) -> Rule:
    def compared(reader: _Reader, call: _Call) -> Operand:
        pairs = zip(call.operands, call.operands[1:], strict=False)
        return reader.conjunction([reader.node(op, a, b) for a, b in pairs])

    return compared


def _and(reader: _Reader, call: _Call) -> Operand:
    return reader.conjunction([reader.truth(operand) for operand in call.operands])


def _or(reader: _Reader, call: _Call) -> Operand:
    truths = [reader.truth(operand) for operand in call.operands]
    if len(truths) == 1:
        return truths[0]
    result = reader.node("max", *truths)
    reader.truths.add(result)
    return result


def _delimited(reader: _Reader, call: _Call) -> Operand:
    return call.operands[0]


RULES: Mapping[str, Rule] = {
    "Add": _many("add", "sum", 0.0),
    "Sum": _many("add", "sum", 0.0),
    "Multiply": _many("mul", "prod", 1.0),
    "Product": _many("mul", "prod", 1.0),
    "Min": _many("min", "min", 0.0),
    "Max": _many("max", "max", 0.0),
    "Mean": _many("mean", "mean", 0.0),
    "InvisibleOperator": _invisible,
    "Negate": _negate,
    "Subtract": _subtract,
    "Divide": _divide,
    "Rational": _divide,
    "Power": _power,
    "Root": _root,
    "Ln": _logarithm("log"),
    "Log": _logarithm("log10"),
    "If": lambda reader, call: reader.node("where", *call.operands),
    "Which": _which,
    **{name: _comparison(op) for name, op in COMPARISONS.items()},
    "And": _and,
    "Or": _or,
    "Delimiter": _delimited,
}


# --- what is in the array


@cache
def _template(meaning: str) -> tuple[Node, ...]:
    """The operations of an expression of `a`, `b` and `c`, each after its arguments."""
    return tuple(node for node in parse(meaning).nodes if node.op != LEAF)


def _unwrapped(item: Any) -> tuple[Any, Place]:
    """What an object such as `{"sym": "x"}` or `{"num": "1.5"}` stands for, and the way there; anything else as it is."""
    if not isinstance(item, dict | LargeObject):
        return (item.characters(), ()) if isinstance(item, LargeString) else (item, ())
    fields = item.fields(("fn", "num", "sym"), 0) if isinstance(item, LargeObject) else item
    for key in ("fn", "num", "sym"):
        if key in fields:
            return _unwrapped_field(fields[key], key)
    return item, ()


def _unwrapped_field(value: Any, key: str) -> tuple[Any, Place]:
    if isinstance(value, LargeString):
        value = value.characters()
    fits = isinstance(value, list | LargeList) if key == "fn" else isinstance(value, str)
    return (value if fits or (key == "num" and type(value) in (int, float)) else None), (key,)


def _decimal(text: str) -> float | None:
    """The number that a text is, or None if it is none."""
    if NUMBER.match(text):
        return float(text)
    found = REPEATING.match(text)
    if found is None:
        return None
    first, repeated, exponent = found.groups()
    return float(first + repeated * (DIGITS_OF_A_DOUBLE // len(repeated) + 1) + exponent)


def _head(value: list[Any] | LargeList) -> Any:
    """The first entry of an array."""
    first = value[:1] if isinstance(value, list) else value.first(1)
    return first[0] if first else None


def _place(call: _Call | None) -> Place:
    """The path of a call within the whole array."""
    steps: list[Place] = []
    while call is not None:
        steps.append(call.place)
        call = call.parent
    return tuple(step for place in reversed(steps) for step in place)


def _check_arity(call: _Call, count: int) -> None:
    """Raise WrongArity for a function that does not take `count` arguments."""
    if call.name in FUNCTIONS:
        row = FUNCTIONS[call.name]
        least, most = row.min_arity, row.max_arity
    else:
        least, most = WIRE[call.name].min_arity, WIRE[call.name].max_arity
    if count >= least and (most is None or count <= most):
        return
    needed = f"{least} or more arguments" if most is None else f"{least} argument{'s' if least != 1 else ''}"
    if most is not None and most != least:
        needed = f"{least} to {most} arguments"
    hint = ADVICE.get(call.name, "") if call.name in ("Sum", "Product") else ""
    raise WrongArity(f"{call.name} takes {needed}, not {count}{hint}", _place(call))


def _unknown(name: str) -> str:
    """What is wrong with the name of a function."""
    if name[:1] == "'":
        return "a string is no function; write its name without the inner quotes"
    if not name.isidentifier():
        return f"{quote(name)} is no function of MathJSON; an expression as text stands without brackets"
    hint = ADVICE.get(name) or f".{nearest(name, FUNCTIONS) or nearest(name, WIRE)}"
    return f"there is no counterpart here for the MathJSON function {quote(name)}{hint}"


def _name_problem(name: str) -> str:
    """Why a name cannot be that of an input, or an empty string."""
    if name in NO_NUMBERS:
        return f"{quote(name)} is no finite real number"
    if name[:1] == "'":
        return "expected a number, a name or a list, found a string in quotes"
    if name in FUNCTIONS:
        return f'{quote(name)} is a function; write ["{name}", ...] with its arguments'
    if not is_id(name) or name.startswith("%"):
        return f"a name has 1 to {ID_LIMIT} characters, no control characters, and no % at its beginning"
    return ""


def _kind(value: object) -> str:
    """A JSON value in words."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int | float):
        return "a number"
    return "an object" if isinstance(value, dict | LargeObject | NodesText) else "a list"
