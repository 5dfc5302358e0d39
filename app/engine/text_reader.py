"""Read a long expression text straight into the arrays of a graph, in compiled code and without the GIL.

`text.parse` makes Python objects of every token and node: two microseconds and 150 bytes for each character. This reader keeps
the same stacks in arrays. It reads only texts without a fault, and only plain ones (see `text_tokens`); all others are left to
`text`, and so is what to say about them.
"""

from collections.abc import Container, Iterator, Mapping, Sequence
from keyword import kwlist
from typing import Any, NamedTuple, overload

import numpy as np
import numpy.typing as npt

from app.engine.graph import CODES, CONSTANTS, ID_LIMIT, MAX_ARITY, MIN_ARITY, Graph, NodeTable, TableNodes
from app.engine.interruption import Checkpoint, checked, never
from app.engine.jit import inline_without_refcounts, jit_without_refcounts
from app.engine.large_json import as_array
from app.engine.primitives import ALIASES, LEAF_CODE, WIRE
from app.engine.tape import Floats, Ints
from app.engine.text_tokens import (
    ADD,
    ASSIGN,
    BETWEEN,
    CLOSING,
    END_OF_STATEMENT,
    FINISHED,
    NAME,
    NUMBER,
    OPENING,
    OPERATOR,
    OPERATORS,
    PAUSED,
    REFUSED,
    STATE_FIELDS,
    SUB,
    TOKENS,
    UNSURE,
    WORDS,
    Longs,
    P,
    Tokens,
    find_tokens,
    room_for,
)
from app.engine.text_tokens import NUMBERS as NUMBERS_FOUND

OUTPUT = "output"

COMPARISON, SUM, PRODUCT, UNARY, POWER = 1, 2, 3, 4, 5
"""How tightly operators bind."""
BINARY = {
    "<": ("lt", COMPARISON),
    "<=": ("le", COMPARISON),
    ">": ("gt", COMPARISON),
    ">=": ("ge", COMPARISON),
    "==": ("eq", COMPARISON),
    "!=": ("ne", COMPARISON),
    "+": ("add", SUM),
    "-": ("sub", SUM),
    "*": ("mul", PRODUCT),
    "/": ("divide", PRODUCT),
    "**": ("pow", POWER),
}
"""The primitive and the level of each operator between two operands."""

BYTES_PER_CHECK = 1 << 21
TOKENS_PER_CHECK = 1 << 20
"""How much is read between two checks: some tens of milliseconds."""

PLAIN, IF, ELSE, UNUSED = -1, -2, -3, -4
"""What a name means, if it is no function, whose meaning is its opcode. `UNUSED` are Python's other keywords."""
FIRST_CONSTANT = -5
"""Constant k means `FIRST_CONSTANT - k`."""
MEANINGS = (
    {name: CODES[name] for name in (*WIRE, *ALIASES)}
    | dict.fromkeys(kwlist, UNUSED)
    | {"if": IF, "else": ELSE}
    | {name: FIRST_CONSTANT - k for k, name in enumerate(CONSTANTS)}
)
CONSTANT_NUMBERS = np.array(list(CONSTANTS.values()))
OPERATOR_CODES = np.array([CODES[BINARY[operator][0]] for operator in OPERATORS])
LEVELS = np.array([BINARY[operator][1] for operator in OPERATORS])
MUL_CODE, NEG_CODE, SUM_CODE, WHERE_CODE = CODES["mul"], CODES["neg"], CODES["sum"], CODES["where"]

UNNAMED, OUTPUT_LABEL = -1, -2
"""The labels of nodes without a name, and of an output without one."""
NONE, BROKEN = -1, -2

BINARY_ENTRY, UNARY_ENTRY, GROUP, CALL, IF_ENTRY, ELSE_ENTRY = range(6)
"""Kinds of entries of the stack `pending`."""
KIND, CODE, LEVEL, BEFORE = range(4)
"""The fields of such an entry; `BEFORE` is as in `text._Pending`, with NONE for no comparison."""

T, OPERANDS, PENDING, OPEN_COUNT, NODES, ARGS, CONSTANTS_USED, DATA, NAMES = range(9)
WITHIN, TARGET, BEGUN, OPERAND_NEXT, OUTPUT_NODE = range(9, 14)
PARSE_FIELDS = 14
"""The state of the parser where it pauses: the token, how much of each array is in use, and of the statement: whether one is
begun, the name it assigns to or NONE, its first node, and whether an operand comes next. `OUTPUT_NODE` is that of the last one,
NONE before the first."""


class Work(NamedTuple):
    """What the parser reads and fills; arrays with room for all that a text of so many tokens can come to.

    Attributes:
        meaning: what each name means.
        node_of: the node that each name stands for, or NONE.
        names: the names in the order in which they came to stand for nodes.
        operand, number: the stack of operands: the position of a node, or NONE for a number.
        pending: the stack of operators, groups, calls and conditions that wait for operands.
        label: of each node: its name, UNNAMED or OUTPUT_LABEL.
        opcode, start, arg, datum: as in `NodeTable`, but numbers among arguments and data are counted from 0 each.
        constants: the numbers among the arguments.
        data: the numbers of leaves.
        state: see PARSE_FIELDS.
    """

    meaning: Ints
    node_of: Ints
    names: Ints
    operand: Ints
    number: Floats
    pending: Ints
    label: Ints
    opcode: Ints
    start: Ints
    arg: Ints
    datum: Ints
    constants: Floats
    data: Floats
    state: Longs


def read(text: str, checkpoint: Checkpoint = never) -> Graph | None:
    """Return the graph of a text as `text.parse` does, or None for a text that it must read itself."""
    if not text.isascii() or len(text) >= 2**31:
        return None
    raw = as_array(text.encode())
    tokens, state = room_for(len(raw)), np.zeros(STATE_FIELDS, np.int64)
    outcome = PAUSED
    while outcome == PAUSED:
        checkpoint()
        outcome = find_tokens(raw, int(state[P]) + BYTES_PER_CHECK, tokens, state)
    if outcome == REFUSED:
        return None
    for k, begin, end in checked(tokens.undecided[: state[UNSURE]].tolist(), checkpoint):
        tokens.numbers[k] = float(text[begin:end])
    if np.isinf(tokens.numbers[: state[NUMBERS_FOUND]]).any():
        return None
    words = [text[begin:end] for begin, end in checked(tokens.spans[: state[WORDS]].tolist(), checkpoint)]
    meaning = np.array([MEANINGS.get(word, PLAIN) for word in checked(words, checkpoint)], np.int32)
    if (meaning == UNUSED).any():
        return None
    work = _work(int(state[TOKENS]), meaning)
    outcome = PAUSED
    while outcome == PAUSED:
        checkpoint()
        outcome = _parse(tokens, int(state[TOKENS]), int(work.state[T]) + TOKENS_PER_CHECK, work)
    return _graph(words, work, checkpoint) if outcome == FINISHED else None


def _work(size: int, meaning: Ints) -> Work:
    """Return the arrays for so many tokens. Memory that is not written to is never allocated.

    A token makes at most two nodes, with four arguments; the end of a text may make another one.
    """
    nodes, words = 2 * size + 2, len(meaning)
    state = np.zeros(PARSE_FIELDS, np.int64)
    state[OUTPUT_NODE] = NONE
    return Work(
        meaning,
        np.full(words, NONE, np.int32),
        np.empty(words, np.int32),
        np.empty(size + 1, np.int32),
        np.empty(size + 1),
        np.empty((size + 1, 4), np.int32),
        np.empty(nodes, np.int32),
        np.empty(nodes, np.int32),
        np.zeros(nodes + 1, np.int32),
        np.empty(2 * nodes, np.int32),
        np.empty(nodes, np.int32),
        np.empty(2 * nodes),
        np.empty(nodes),
        state,
    )


def _graph(words: Sequence[str], work: Work, checkpoint: Checkpoint) -> Graph:
    """Return the graph of what has been read, with numbers in the order in which `graph.tabulate` has them."""
    state = work.state
    size, data = int(state[NODES]), int(state[DATA])
    arg = work.arg[: state[ARGS]].copy()
    arg[arg < 0] -= data
    names = tuple([words[word] for word in checked(work.names[: state[NAMES]].tolist(), checkpoint)])
    positions = {name: k for name, k in zip(names, work.node_of[work.names[: state[NAMES]]].tolist(), strict=True)}
    label = work.label[:size].copy()
    last = int(state[OUTPUT_NODE])
    output = free_output(positions) if label[last] == OUTPUT_LABEL else words[label[last]]
    positions[output] = last
    ids = Ids(label, words, output, checkpoint)
    table = NodeTable(
        ids,
        Index(ids, positions),
        work.opcode[:size].copy(),
        work.start[: size + 1].copy(),
        arg,
        work.datum[:size].copy(),
        np.concatenate((work.data[:data], work.constants[: state[CONSTANTS_USED]])),
    )
    return Graph(TableNodes((), table, ids, checkpoint), (output,), names, "text", table)


def free_output(names: Container[str]) -> str:
    """Return the id of an output without a name, which is no name of the text."""
    number = 1
    free = OUTPUT
    while free in names:
        number += 1
        free = f"{OUTPUT}_{number}"
    return free


class Ids(Sequence[str]):
    """The ids of a text's nodes: names, and %1, %2, ... for those without. All are made when the first is accessed."""

    def __init__(self, label: Ints, words: Sequence[str], output: str, checkpoint: Checkpoint) -> None:
        self.label = label
        self._words, self._output, self._checkpoint = words, output, checkpoint
        self._made: list[str] | None = None

    @property
    def made(self) -> list[str]:
        """All ids."""
        if self._made is None:
            ids: list[str] = []
            unnamed = 0
            for label in checked(self.label.tolist(), self._checkpoint):
                unnamed += label == UNNAMED
                ids.append(f"%{unnamed}" if label == UNNAMED else self._output if label < 0 else self._words[label])
            self._made = ids
        return self._made

    def __len__(self) -> int:
        return len(self.label)

    @overload
    def __getitem__(self, k: int) -> str: ...
    @overload
    def __getitem__(self, k: slice) -> list[str]: ...
    def __getitem__(self, k: int | slice) -> str | list[str]:
        return self.made[k]

    def __iter__(self) -> Iterator[str]:
        return iter(self.made)


class Index(Mapping[str, int]):
    """Positions by id: `positions` for names, and a search for the others, which few ask for."""

    def __init__(self, ids: Ids, positions: Mapping[str, int]) -> None:
        self._ids, self._positions = ids, positions
        self._unnamed: npt.NDArray[np.int64] | None = None

    def get(self, name: str, default: Any = None) -> Any:
        """Return the position of a node, or `default`."""
        position = self._positions.get(name, -1)
        if position >= 0:
            return position
        if self._unnamed is None:
            self._unnamed = np.flatnonzero(self._ids.label == UNNAMED)
        number = int(name[1:]) if name[1:].isdecimal() and len(name) < 12 else 0
        return int(self._unnamed[number - 1]) if name == f"%{number}" and 0 < number <= len(self._unnamed) else default

    def __getitem__(self, name: str) -> int:
        position = self.get(name)
        if position is None:
            raise KeyError(name)
        return int(position)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.get(name) is not None

    def __len__(self) -> int:
        return len(self._ids)

    def __iter__(self) -> Iterator[str]:
        return iter(self._ids)


# --- compiled


@inline_without_refcounts
def _push(w: Work, node: int, number: float) -> None:
    """Push an operand: a node, or a number if `node` is NONE."""
    top = w.state[OPERANDS]
    w.operand[top], w.number[top] = node, number
    w.state[OPERANDS] = top + 1


@inline_without_refcounts
def _wait(w: Work, kind: int, code: int, level: int, before: int) -> None:
    """Push an entry of the stack `pending`."""
    top = w.state[PENDING]
    w.pending[top, KIND], w.pending[top, CODE], w.pending[top, LEVEL], w.pending[top, BEFORE] = kind, code, level, before
    w.state[PENDING] = top + 1


@inline_without_refcounts
def _argument(w: Work, node: int, number: float) -> None:
    """Give the node to come another argument."""
    s = w.state
    if node < 0:
        w.constants[s[CONSTANTS_USED]] = number
        node = -1 - s[CONSTANTS_USED]
        s[CONSTANTS_USED] += 1
    w.arg[s[ARGS]] = node
    s[ARGS] += 1


@inline_without_refcounts
def _node(w: Work, code: int, label: int) -> int:
    """Add a node with the arguments that it has been given, and return its position."""
    n = int(w.state[NODES])
    w.opcode[n], w.label[n], w.datum[n] = code, label, -1
    w.start[n + 1] = w.state[ARGS]
    w.state[NODES] = n + 1
    return n


@inline_without_refcounts
def _apply(w: Work, code: int, first: int) -> int:
    """Add a node whose arguments are the operands from `first` on, which it takes off the stack."""
    for k in range(first, w.state[OPERANDS]):
        _argument(w, w.operand[k], w.number[k])
    w.state[OPERANDS] = first
    return _node(w, code, UNNAMED)


@inline_without_refcounts
def _reduce(w: Work, level: int, right: bool, closing: bool) -> int:
    """Apply what binds tightly enough, as `text._Parser._reduce` does; return a comparison, NONE, or BROKEN at an `if`."""
    s = w.state
    while s[PENDING] > 0:
        top = s[PENDING] - 1
        kind, code, binds, before = w.pending[top, KIND], w.pending[top, CODE], w.pending[top, LEVEL], w.pending[top, BEFORE]
        if kind == BINARY_ENTRY or kind == UNARY_ENTRY:
            if binds < level or (right and binds == level):
                break
            s[PENDING] -= 1
            last = s[OPERANDS] - 1
            if kind == UNARY_ENTRY:
                if code == NEG_CODE and w.operand[last] < 0:
                    w.number[last] = -w.number[last]
                elif code == NEG_CODE:
                    _push(w, _apply(w, NEG_CODE, last), 0.0)
                continue
            node, number = w.operand[last], w.number[last]
            value = _apply(w, code, last - 1)
            if binds == COMPARISON and before != NONE:
                _argument(w, before, 0.0)
                _argument(w, value, 0.0)
                value = _node(w, MUL_CODE, UNNAMED)
            if binds == COMPARISON and level == COMPARISON:
                _push(w, node, number)
                return value
            _push(w, value, 0.0)
        elif kind == ELSE_ENTRY and closing:
            s[PENDING] -= 1
            first = s[OPERANDS] - 3
            node, number = w.operand[first], w.number[first]  # the condition comes first
            w.operand[first], w.number[first] = w.operand[first + 1], w.number[first + 1]
            w.operand[first + 1], w.number[first + 1] = node, number
            _push(w, _apply(w, WHERE_CODE, first), 0.0)
        elif kind == IF_ENTRY and closing:
            return BROKEN
        else:
            break
    return NONE


@inline_without_refcounts
def _close(w: Work) -> bool:
    """End the group or the call that was opened last; return whether a call has as many arguments as it needs."""
    s = w.state
    s[PENDING] -= 1
    s[OPEN_COUNT] -= 1
    top = s[PENDING]
    if w.pending[top, KIND] == GROUP:
        return True
    code, first = w.pending[top, CODE], w.pending[top, BEFORE]
    if not MIN_ARITY[code] <= s[OPERANDS] - first <= MAX_ARITY[code]:
        return False
    _push(w, _apply(w, code, first), 0.0)
    return True


@inline_without_refcounts
def _kind_on_top(w: Work) -> int:
    """Return the kind of the last entry of `pending`, or NONE."""
    return int(w.pending[w.state[PENDING] - 1, KIND]) if w.state[PENDING] > 0 else NONE


@inline_without_refcounts
def _take_name(tokens: Tokens, word: int, w: Work) -> bool:
    """Push what a name stands for. A new one becomes a leaf, if it is not too long."""
    node, meaning = w.node_of[word], w.meaning[word]
    if node < 0 and meaning <= FIRST_CONSTANT:
        _push(w, NONE, CONSTANT_NUMBERS[FIRST_CONSTANT - meaning])
        return True
    if node < 0:
        node = _node(w, LEAF_CODE, word)
        if not _give(tokens, word, node, w):
            return False
    _push(w, node, 0.0)
    return True


@inline_without_refcounts
def _give(tokens: Tokens, word: int, node: int, w: Work) -> bool:
    """Let a name stand for a node; return whether it may."""
    if w.node_of[word] >= 0 or tokens.spans[word, 1] - tokens.spans[word, 0] > ID_LIMIT:
        return False
    w.node_of[word] = node
    w.names[w.state[NAMES]] = word
    w.state[NAMES] += 1
    return True


@inline_without_refcounts
def _take_operand(tokens: Tokens, t: int, opens: bool, w: Work) -> bool:
    """Take a token where an operand can begin, with an opening parenthesis behind a function; return whether it fits."""
    s, kind, what = w.state, tokens.kind[t], tokens.what[t]
    if kind == NUMBER:
        _push(w, NONE, tokens.numbers[what])
        s[OPERAND_NEXT] = 0
        return True
    if kind == NAME and opens:
        _wait(w, CALL, w.meaning[what], 0, s[OPERANDS])
        s[OPEN_COUNT] += 1
        s[T] += 1
        return bool(w.meaning[what] >= 0)
    if kind == NAME:
        s[OPERAND_NEXT] = 0
        return w.meaning[what] != IF and w.meaning[what] != ELSE and _take_name(tokens, what, w)
    if kind == OPENING:
        _wait(w, GROUP, 0, 0, NONE)
        s[OPEN_COUNT] += 1
        return True
    if kind == OPERATOR and (what == ADD or what == SUB):
        _wait(w, UNARY_ENTRY, NEG_CODE if what == SUB else NONE, UNARY, NONE)
        return True
    if kind == CLOSING and _kind_on_top(w) == CALL:  # no arguments, or a comma after the last
        s[OPERAND_NEXT] = 0
        return _close(w)
    return False


@inline_without_refcounts
def _take_operator(kind: int, what: int, w: Work) -> bool:
    """Take a token after an operand; return whether it fits. `what` is the meaning of a name."""
    s = w.state
    s[OPERAND_NEXT] = 1
    if kind == OPERATOR:
        chained = _reduce(w, LEVELS[what], LEVELS[what] == POWER, False)
        _wait(w, BINARY_ENTRY, OPERATOR_CODES[what], LEVELS[what], chained)
        return True
    if kind == CLOSING and s[OPEN_COUNT] > 0:
        s[OPERAND_NEXT] = 0
        return _reduce(w, 0, False, True) != BROKEN and _close(w)
    if kind == BETWEEN and s[OPEN_COUNT] > 0:
        return _reduce(w, 0, False, True) != BROKEN and _kind_on_top(w) == CALL
    if kind == NAME and what == IF:
        _reduce(w, 0, False, False)
        fits = _kind_on_top(w) != IF_ENTRY
        _wait(w, IF_ENTRY, 0, 0, NONE)
        return fits
    if kind == NAME and what == ELSE:
        _reduce(w, 0, False, False)
        if _kind_on_top(w) != IF_ENTRY:
            return False
        w.pending[s[PENDING] - 1, KIND] = ELSE_ENTRY
        return True
    return False


@inline_without_refcounts
def _end_statement(tokens: Tokens, w: Work) -> bool:
    """Give the statement's result its label; return whether the statement is complete and its name is free."""
    s = w.state
    if _reduce(w, 0, False, True) == BROKEN:
        return False
    s[OPERANDS] -= 1
    result, number = w.operand[s[OPERANDS]], w.number[s[OPERANDS]]
    label = s[TARGET] if s[TARGET] >= 0 else OUTPUT_LABEL
    last = s[NODES] - 1
    if last >= s[BEGUN] and last == result and w.label[last] == UNNAMED:
        w.label[last] = label
    elif result >= 0:
        _argument(w, result, 0.0)
        last = _node(w, SUM_CODE, label)
    else:
        last = _node(w, LEAF_CODE, label)
        w.data[s[DATA]] = number
        w.datum[last] = s[DATA]
        s[DATA] += 1
    s[OUTPUT_NODE] = last
    s[WITHIN] = 0
    return label < 0 or _give(tokens, label, last, w)


@jit_without_refcounts
def _parse(tokens: Tokens, count: int, stop: int, w: Work) -> int:
    """Read tokens up to the first statement or token from `stop` on. Return FINISHED, PAUSED or REFUSED."""
    s = w.state
    while s[T] < min(stop, count):
        t = s[T]
        kind, what = tokens.kind[t], tokens.what[t]
        if s[WITHIN] == 0:
            if kind == END_OF_STATEMENT:
                s[T] += 1
                continue
            if s[OUTPUT_NODE] >= 0 and w.label[s[OUTPUT_NODE]] == OUTPUT_LABEL:  # only the last one can be without a name
                return REFUSED
            assigns = kind == NAME and w.meaning[what] != IF and w.meaning[what] != ELSE
            assigns = assigns and t + 1 < count and tokens.kind[t + 1] == ASSIGN
            s[WITHIN], s[OPERAND_NEXT], s[BEGUN], s[TARGET] = 1, 1, s[NODES], NONE
            if assigns:
                s[TARGET] = what
                s[T] += 2
            continue
        if s[OPERAND_NEXT] != 0:
            fits = _take_operand(tokens, t, t + 1 < count and tokens.kind[t + 1] == OPENING, w)
        else:
            fits = _take_operator(kind, w.meaning[what] if kind == NAME else what, w)
        if not fits:
            return REFUSED
        s[T] += 1
        ends = s[T] == count or tokens.kind[s[T]] == END_OF_STATEMENT
        if ends and s[OPERAND_NEXT] == 0 and s[OPEN_COUNT] == 0 and not _end_statement(tokens, w):
            return REFUSED
    if s[T] < count:
        return PAUSED
    return FINISHED if s[WITHIN] == 0 and s[OUTPUT_NODE] >= 0 else REFUSED
