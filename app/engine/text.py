"""Parse expression text, in Python's arithmetic syntax, to a graph.

Python's own parser gives up beyond 200 nested parentheses and recurses on long sums. This one keeps a stack, takes text of
any length and depth, and says what it expected. Lines end with LF, CR LF or CR, and names are normalised (NFKC), as in
Python.

    statement   = [name "="] expression        one per line, or separated by ";"; the last is the output
    expression  = expression "if" expression "else" expression
                | expression ("<" | "<=" | ">" | ">=" | "==" | "!=" | "+" | "-" | "*" | "/" | "**") expression
                | ("-" | "+") expression | name "(" expression {"," expression} ")" | "(" expression ")" | name | number
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from keyword import iskeyword
from typing import NamedTuple, TypeVar
from unicodedata import normalize

import numpy as np

from app.engine import text_reader
from app.engine.advice import Fault, advise
from app.engine.errors import DuplicateNode, EngineError, ExpressionSyntaxError, UnknownPrimitive, quote
from app.engine.graph import CODES, CONSTANTS, ID_LIMIT, Graph, Node, NodeTable, unknown_primitive, wrong_arity
from app.engine.interruption import ITEMS_BETWEEN, Checkpoint, never
from app.engine.primitives import ALIASES, LEAF, WIRE
from app.engine.text_reader import BINARY, COMPARISON, POWER, UNARY, free_output

E = TypeVar("E", bound=EngineError)

TOKEN = re.compile(
    r"(?:[ \t\f]|\#[^\r\n]*)*+(?:"
    r"(?P<number>(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9][0-9_]*)(?:[eE][+-]?[0-9][0-9_]*)?)"
    r"|(?P<name>[^\W\d](?:\w|[^\x00-\x7f])*)"
    r"|(?P<operator>\*\*|<=|>=|==|!=|[-+*/<>])"
    r"|(?P<line>\r\n?|\n)"
    r"|(?P<mark>[=(),;])"
    r"|(?P<end>\Z)"
    r"|(?P<other>.))",
    re.DOTALL,
)
"""A token with the spaces and the comment before it. The end of the text is one, so that nothing is searched for after it."""

LEADING_ZEROS = re.compile(r"0[0_]*[1-9][0-9_]*\Z")
"""Integers that mean eight-based numbers elsewhere; Python refuses them too. Decimal fractions may begin with zeros."""

LONG_TEXT = 4096
"""Texts from this size on are read by compiled code, if it can."""

OPERAND = "a number, a name, a call or '('"
SHORT_NODES = 1000
"""Up to so many nodes, what the parser knows becomes arrays in less time than `graph.tabulate` takes for all at once."""


class _Token(NamedTuple):
    kind: str
    text: str
    at: int


@dataclass(slots=True)
class _Pending:
    """An entry of the stack that waits for operands: an operator, an open parenthesis or call, an `if` or an `else`.

    For a call, `before` is the number of operands before its first argument; for a comparison, it is the result of the
    comparison to its left in a chain `a < b < c`.
    """

    kind: str
    name: str
    at: int
    level: int = 0
    before: "int | str | float | None" = None


def parse(text: str, *, checkpoint: Checkpoint = never) -> Graph:
    """Return the graph of an expression. Unnamed nodes get the ids %1, %2, ...; a name that is never assigned is a leaf.

    Raises: ExpressionSyntaxError; UnknownPrimitive; WrongArity; DuplicateNode for a name that is assigned twice, or after it
    was used. All have `line` and `column`.
    """
    graph = text_reader.read(text, checkpoint) if len(text) >= LONG_TEXT else None
    if graph is not None:
        return graph
    parser = _Parser(text, checkpoint)
    try:
        return parser.graph()
    except EngineError as error:
        if parser.fault is not None:
            error.detail += _advice(error, text, parser.fault)
            error.args = (error.detail,)
        raise


def _advice(error: EngineError, text: str, fault: Fault) -> str:
    """Return what to write instead, as the end of a message, or an empty string."""
    if isinstance(error, DuplicateNode):
        return ""
    found = advise(text, fault, _fault_of)
    if found is None or (found.statement is None and found.words == "write"):
        return ""
    if isinstance(error, UnknownPrimitive) and found.statement is None and not error.detail.endswith("'."):
        return ""
    end = f": {found.statement}" if found.statement else ""
    if not isinstance(error, UnknownPrimitive):
        return f"; {found.words}{end}"
    return f" {found.words[0].upper()}{found.words[1:]}{end or '.'}"


def _fault_of(text: str) -> Fault | None:
    """Return where a text cannot be read, or None if it can."""
    parser = _Parser(text, never)
    try:
        parser.graph()
    except EngineError:
        return parser.fault
    return None


class _Parser:
    """One pass over the tokens with two stacks: operands (ids and numbers), and pending operators, calls and conditions."""

    def __init__(self, text: str, checkpoint: Checkpoint) -> None:
        self.text = text
        self.checkpoint = checkpoint
        self.tokens = self._tokens()
        self.ahead = next(self.tokens)
        self.ids: list[str] = []
        self.ops: list[str] = []
        self.args: list[tuple[str | float, ...]] = []
        self.data: list[float | None] = []
        self.made = 0
        self.names: dict[str, int] = {}
        self.operands: list[str | float] = []
        self.pending: list[_Pending] = []
        self.depth = 0
        self.fault: Fault | None = None

    def graph(self) -> Graph:
        """Read all statements."""
        output = ""
        begun = 0
        while True:
            while self.ahead.text in (";", "\n"):
                self._next()
            if self.ahead.kind == "end":
                break
            if output and output not in self.names:
                message = "only the last statement can be without a name; write name = expression"
                raise self._syntax_error(message, begun)
            begun = self.ahead.at
            output = self._statement()
        if not output:
            raise self._syntax_error(f"expected {OPERAND}, found nothing", self.ahead.at)
        nodes = tuple(map(Node, self.ids, self.ops, self.args, self.data))
        table = self._table() if len(nodes) <= SHORT_NODES else None
        return Graph(nodes, (output,), tuple(self.names), "text", table)

    def _table(self) -> NodeTable:
        """The nodes as arrays, as `graph.tabulate` makes them. All that it looks for has been checked, one by one."""
        ids = tuple(self.ids)
        index = {name: k for k, name in enumerate(ids)}
        datum: list[int] = []
        numbers: list[float] = []
        for number in self.data:
            datum.append(-1 if number is None else len(numbers))
            if number is not None:
                numbers.append(number)
        start, arg = [0], []
        for arguments in self.args:
            for argument in arguments:
                if isinstance(argument, str):
                    arg.append(index[argument])
                else:
                    numbers.append(argument)
                    arg.append(-len(numbers))
            start.append(len(arg))
        opcode = [CODES[op] for op in self.ops]
        opcodes, starts, places, data = (np.array(integers, np.int32) for integers in (opcode, start, arg, datum))
        return NodeTable(ids, index, opcodes, starts, places, data, np.array(numbers, np.float64))

    def _statement(self) -> str:
        """Read `name = expression` or an expression; return the id of its node."""
        first, count = self.ahead, len(self.ids)
        name = ""
        if first.kind == "name" and not iskeyword(first.text):
            self._next()
            if self.ahead.text == "=":
                name = first.text
                self._next()
                result = self._expression(None)
            else:
                result = self._expression(first)
        else:
            result = self._expression(None)
        if name in self.names:
            message = f"{quote(name)} already stands for another node; a name can be assigned only once, so choose another"
            raise self._error_at(DuplicateNode, message, first.at)
        if name:
            self._check_name(name, first.at)
        label = name or free_output(self.names)
        if len(self.ids) > count and self.ids[-1] == result and self.ids[-1].startswith("%"):
            self.ids[-1] = label
            self.made -= 1
        elif isinstance(result, str):
            self._append(label, "sum", (result,))
        else:
            self._append(label, LEAF, (), result)
        if name:
            self.names[name] = len(self.ids) - 1
        return label

    def _expression(self, first: _Token | None) -> str | float:
        """Read up to the end of the statement. `first` is a name that has already been taken off the tokens."""
        operand_next = True
        while True:
            token = first or self._next()
            first = None
            if self.depth and token.text == "\n":
                continue
            operand_next = self._operand(token) if operand_next else self._operator(token)
            if not operand_next and not self.depth and self._at_end():
                self._reduce(closing=self.ahead)
                return self.operands.pop()

    def _at_end(self) -> bool:
        return self.ahead.kind == "end" or self.ahead.text in (";", "\n")

    def _operand(self, token: _Token) -> bool:
        """Take a token where an operand can begin; return whether one is still expected."""
        text = token.text
        if token.kind == "number":
            if LEADING_ZEROS.match(text):
                raise self._syntax_error(f"{quote(text)} is not a number; write it without leading zeros", token.at)
            try:
                number = float(text)
            except ValueError:
                raise self._syntax_error(f"{quote(text)} is not a number", token.at) from None
            if not math.isfinite(number):
                raise self._syntax_error(f"{quote(text)} is too large for a double (1.8e308)", token.at)
            self.operands.append(number)
            return False
        if token.kind == "name" and not iskeyword(text):
            while self.depth and self.ahead.text == "\n":
                self._next()
            if self.ahead.text == "(":
                self._next()
                if text not in WIRE and text not in ALIASES:
                    error = unknown_primitive(text, (), leaf=False)
                    raise self._error_at(type(error), error.detail, token.at)
                self._open(_Pending("call", text, token.at, before=len(self.operands)))
                return True
            self.operands.append(self._name(text, token.at))
            return False
        if text == "(":
            self._open(_Pending("(", "(", token.at))
            return True
        if text in ("-", "+"):
            self.pending.append(_Pending("unary", text, token.at, UNARY))
            return True
        if text == ")" and self.pending and self.pending[-1].kind == "call":  # no arguments, or a comma after the last
            self._close()
            return False
        raise self._unexpected(token, OPERAND)

    def _operator(self, token: _Token) -> bool:
        """Take a token after an operand; return whether another operand is expected."""
        text = token.text
        if token.kind == "operator":
            name, level = BINARY[text]
            chained = self._reduce(level, right=level == POWER)
            self.pending.append(_Pending("binary", name, token.at, level, chained))
            return True
        if text == ")" and self.depth:
            self._reduce(closing=token)
            self._close()
            return False
        if text == "," and self.depth:
            self._reduce(closing=token)
            if self.pending[-1].kind != "call":
                raise self._unexpected(token, "')'")
            return True
        if text == "if":
            self._reduce()
            if self.pending and self.pending[-1].kind == "if":
                raise self._unexpected(token, "'else'")
            self.pending.append(_Pending("if", text, token.at))
            return True
        if text == "else":
            self._reduce()
            if not self.pending or self.pending[-1].kind != "if":
                raise self._syntax_error("'else' without an 'if' before it", token.at)
            self.pending[-1] = _Pending("else", text, token.at)
            return True
        if self.pending and self.pending[-1].kind == "if":
            raise self._unexpected(token, "'else'")
        raise self._unexpected(token, self._expected())

    def _expected(self) -> str:
        """What can follow an operand."""
        opened = next((pending.kind for pending in reversed(self.pending) if pending.kind in ("(", "call")), None)
        return {None: "an operator or the end of the statement", "(": "an operator or ')'"}.get(
            opened, "an operator, ',' or ')'"
        )

    def _open(self, pending: _Pending) -> None:
        self.pending.append(pending)
        self.depth += 1

    def _close(self) -> None:
        """End the group or the call that was opened last."""
        opened = self.pending.pop()
        self.depth -= 1
        if opened.kind != "call":
            return
        assert isinstance(opened.before, int)
        arguments = tuple(self.operands[opened.before :])
        del self.operands[opened.before :]
        row = WIRE[ALIASES.get(opened.name, opened.name)]
        if len(arguments) < row.min_arity or (row.max_arity is not None and len(arguments) > row.max_arity):
            error = wrong_arity(opened.name, len(arguments), ())
            raise self._error_at(type(error), error.detail, opened.at)
        self.operands.append(self._node(row.name, arguments))

    def _reduce(self, level: int = 0, *, right: bool = False, closing: _Token | None = None) -> str | float | None:
        """Apply the pending operators that bind at least as tightly as `level`, or, if `right`, more tightly.

        With `closing`, the token that ends an expression, conditions are applied too. If a comparison is followed by another
        one, its result is returned instead of becoming an operand, and its right side takes its place as an operand:
        a < b < c is (a < b)*(b < c).
        """
        while self.pending:
            top = self.pending[-1]
            if top.kind in ("binary", "unary"):
                if top.level < level or (right and top.level == level):
                    break
                self.pending.pop()
                b = self.operands.pop()
                if top.kind == "unary":
                    value = b if top.name == "+" else (-b if isinstance(b, float) else self._node("neg", (b,)))
                    self.operands.append(value)
                    continue
                value = self._node(top.name, (self.operands.pop(), b))
                if top.level == COMPARISON and top.before is not None:
                    assert not isinstance(top.before, int)
                    value = self._node("mul", (top.before, value))
                if top.level == level == COMPARISON:
                    self.operands.append(b)
                    return value
                self.operands.append(value)
            elif top.kind == "else" and closing:
                self.pending.pop()
                b, condition, a = self.operands.pop(), self.operands.pop(), self.operands.pop()
                self.operands.append(self._node("where", (condition, a, b)))
            elif top.kind == "if" and closing:
                raise self._unexpected(closing, "'else'")
            else:
                break
        return None

    def _name(self, text: str, at: int) -> str | float:
        if text not in self.names:
            if text in CONSTANTS:
                return CONSTANTS[text]
            self._check_name(text, at)
            self.names[text] = len(self.ids)
            self._append(text, LEAF, ())
        return text

    def _check_name(self, text: str, at: int) -> None:
        if not text.isidentifier():
            raise self._syntax_error(f"{quote(text)} is not a name", at)
        if len(text) > ID_LIMIT:
            raise self._syntax_error(f"a name has at most {ID_LIMIT} characters, this one has {len(text)}", at)

    def _node(self, op: str, arguments: tuple[str | float, ...]) -> str:
        self.made += 1
        return self._append(f"%{self.made}", op, arguments)

    def _append(self, name: str, op: str, arguments: tuple[str | float, ...], data: float | None = None) -> str:
        self.ids.append(name)
        self.ops.append(op)
        self.args.append(arguments)
        self.data.append(data)
        return name

    def _tokens(self) -> Iterator[_Token]:
        for k, match in enumerate(TOKEN.finditer(self.text)):
            if k % ITEMS_BETWEEN == 0:
                self.checkpoint()
            kind, group = match.lastgroup or "other", match.lastindex or 0
            text, at = match[group], match.start(group)
            if kind == "line":
                text = "\n"
            elif kind == "name" and not text.isascii() and text.isidentifier():
                text = normalize("NFKC", text)
            yield _Token(kind, text, at)
        while True:
            yield _Token("end", "", len(self.text))

    def _next(self) -> _Token:
        """Take a token; `ahead` is then the next one."""
        token = self.ahead
        self.ahead = next(self.tokens)
        return token

    def _unexpected(self, token: _Token, expected: str) -> ExpressionSyntaxError:
        if token.kind == "end":
            found = "the end of the text"
        elif token.text == "\n":
            found = "the end of the line"
        else:
            found = quote(token.text)
        return self._syntax_error(f"expected {expected}, found {found}", token.at)

    def _syntax_error(self, message: str, at: int) -> ExpressionSyntaxError:
        return self._error_at(ExpressionSyntaxError, message, at)

    def _error_at(self, kind: type[E], message: str, at: int) -> E:
        """Return an error of this kind for the character at index `at`."""
        token = TOKEN.match(self.text, at)
        self.fault = Fault(at, at if token is None else token.end())
        before = self.text[:at].replace("\r\n", "\n").replace("\r", "\n")
        return kind(message, line=before.count("\n") + 1, column=len(before) - before.rfind("\n"))
