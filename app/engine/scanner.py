"""Find the bulk of a JSON text, long lists of numbers and lists of nodes, and read it into arrays in compiled code.

A JSON library makes Python objects of everything: 32 bytes for each number, and the GIL is held all the while. `scan` takes
the bulk out in one pass without the GIL, and leaves a short text, the skeleton, to the library:

>>> found = scan(b'{"x": [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16.5]}', "token")
>>> found.skeleton
b'{"x": "token0"}'
>>> found.bulk[0].values[-1]
np.float64(16.5)
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from app.engine.jit import inline_without_refcounts, jit_without_refcounts
from app.engine.json_tokens import (
    CLOSE_LIST,
    CLOSE_OBJECT,
    COLON,
    COMMA,
    FALSE,
    LOWER_F,
    LOWER_N,
    LOWER_T,
    MINUS,
    NINE,
    NULL,
    OPEN_LIST,
    OPEN_OBJECT,
    QUOTE,
    TRUE,
    ZERO,
    Bytes,
    is_byte,
    read_number,
    skip_space,
    string_end,
    word_end,
)

Floats = npt.NDArray[np.float64]
Longs = npt.NDArray[np.int64]

MIN_BULK = 16
"""Numbers in a list, or in all rows together, from which it is bulk."""
MIN_BROKEN = 1000
"""Numbers (and rows) read before an offending element from which a list that is not right is bulk too."""
MAX_DEPTH = 1024
"""Deeper nesting is refused, as orjson refuses it."""

LIST, ROWS, NODES, BROKEN = 1, 2, 3, 4
"""Kinds of bulk. A bulk value is a row of integers: kind, where its text begins and ends, and four more, as `_Found` says."""
BULK_FIELDS = 7

FOUND = ("string", "boolean", "null", "list", "object", "number", "number out of range")
STRING_FOUND, BOOLEAN_FOUND, NULL_FOUND, LIST_FOUND, OBJECT_FOUND, NUMBER_FOUND, RANGE_FOUND = range(7)

SHORTEST_NUMBER, SHORTEST_ROW, SHORTEST_BULK, SHORTEST_UNDECIDED = len("0,"), len("[],"), len('"nodes":[]'), 20
"""The fewest bytes of text that each takes up, which bounds how many there can be."""

VALUE, VALUE_OR_CLOSE, KEY, KEY_OR_CLOSE, AFTER_VALUE = 1, 2, 3, 4, 5
"""What the scan expects next."""
NODES_KEY = np.frombuffer(b'nodes"', np.uint8)


@dataclass(frozen=True, slots=True, eq=False)
class NumberList:
    """A list of numbers: a read-only array of float64."""

    values: Floats


@dataclass(frozen=True, slots=True, eq=False)
class NumberRows:
    """A list of lists of numbers, not necessarily of one length. Row i is `values[starts[i]:starts[i + 1]]`.

    `starts` has one entry more than there are rows. Both arrays are read-only.
    """

    values: Floats
    starts: Longs


@dataclass(frozen=True, slots=True)
class NodesText:
    """The text of the list that is the value of a key `"nodes"`.

    Its strings are valid UTF-8 and its brackets are balanced. Whoever reads the nodes must check that the rest is JSON too.
    """

    text: memoryview


@dataclass(frozen=True, slots=True)
class BrokenList:
    """A list, or a list of rows, that begins with at least 1,000 numbers and then holds something else.

    `rows` says which of the two it is. `index` is the position of the first wrong element; in rows, of the row, and `start` is
    then the position in that row, or None if the row itself is wrong. `found` is "string", "boolean", "null", "list",
    "object", "number" (in place of a row) or "number out of range".
    """

    index: int
    found: str
    start: int | None = None
    rows: bool = False

    @property
    def place(self) -> tuple[int, ...]:
        """The path of the wrong element from the list: `(index,)`, or `(row, column)`."""
        return (self.index,) if self.start is None else (self.index, self.start)


Bulk = NumberList | NumberRows | NodesText | BrokenList


@dataclass(frozen=True, slots=True)
class Scan:
    """A text without its bulk: in `skeleton`, the JSON string `"<token><k>"` stands in place of `bulk[k]`."""

    skeleton: bytes
    bulk: list[Bulk]


def scan(body: bytes, token: str) -> Scan | None:
    """Take the bulk values out of a JSON text; None if the text is not JSON, and a JSON library should say why.

    Bulk is a list of at least 16 numbers, a list of at least 2 lists of numbers with at least 16 in total, a longer such list
    that is broken, and the value of each key "nodes" that is a list. `token` becomes part of a JSON string as it is, and
    should be a random text that the author of the body cannot know.

    Numbers are rounded correctly, and an integer -0 is 0.0. The arrays take 8 bytes for each number. Raises ValueError if
    `token` is not printable ASCII without quotes and backslashes.
    """
    if not token.isascii() or not token.isprintable() or '"' in token or "\\" in token:
        raise ValueError(f"a token is printable ASCII without quotes and backslashes, not {token!r}")
    raw = np.frombuffer(body, np.uint8)
    size = len(raw)
    numbers = np.empty(size // SHORTEST_NUMBER + 1)  # memory that is not written to is never allocated
    starts = np.empty(size // SHORTEST_ROW + 2, np.int64)
    undecided = np.empty((size // SHORTEST_UNDECIDED + 1, 3), np.int64)
    found = np.empty((size // SHORTEST_BULK + 1, BULK_FIELDS), np.int64)
    count, open_count = _scan(raw, numbers, starts, undecided, found, np.empty(MAX_DEPTH + 2, np.uint8))
    if count < 0:
        return None
    overflowing = set()
    for k in range(open_count):
        position, begin, end = undecided[k].tolist()
        numbers[position] = float(body[begin:end])
        if np.isinf(numbers[position]):
            overflowing.add(position)
    numbers.flags.writeable = starts.flags.writeable = False
    view = memoryview(body)
    bulk: list[Bulk] = []
    parts: list[bytes | memoryview] = []
    done = 0
    for k in range(count):
        kind, begin, end, *rest = found[k].tolist()
        bulk.append(_bulk_value(kind, view[begin:end], rest, numbers, starts, overflowing))
        parts += [view[done:begin], f'"{token}{k}"'.encode()]
        done = end
    return Scan(b"".join([*parts, view[done:]]) if bulk else body, bulk)


def _bulk_value(kind: int, text: memoryview, rest: list[int], numbers: Floats, starts: Longs, overflowing: set[int]) -> Bulk:
    """The bulk value of a row of `found`.

    `overflowing` are the numbers that only Python could tell to be out of range, which is extremely rare.
    """
    if kind == NODES:
        return NodesText(text)
    if kind == BROKEN:
        index, start, what, rows = rest
        return BrokenList(index, FOUND[what], start if start >= 0 else None, bool(rows))
    first, last, first_row, last_row = rest
    bad = min((k for k in overflowing if first <= k < last), default=None) if overflowing else None
    if kind == LIST:
        return NumberList(numbers[first:last]) if bad is None else BrokenList(bad - first, FOUND[RANGE_FOUND])
    offsets = starts[first_row:last_row]
    if bad is None:
        return NumberRows(numbers[first:last], offsets)
    row = int(np.searchsorted(offsets, bad - first, side="right")) - 1
    return BrokenList(row, FOUND[RANGE_FOUND], bad - first - int(offsets[row]), rows=True)


# --- compiled


@inline_without_refcounts
def _what(raw: Bytes, p: int) -> int:
    """Which kind of value begins at p, as an index of FOUND; -1 if none does."""
    if p >= len(raw):
        return -1
    c = raw[p]
    if c == QUOTE:
        return STRING_FOUND
    if c == LOWER_T or c == LOWER_F:
        return BOOLEAN_FOUND
    if c == LOWER_N:
        return NULL_FOUND
    if c == OPEN_LIST:
        return LIST_FOUND
    if c == OPEN_OBJECT:
        return OBJECT_FOUND
    return NUMBER_FOUND if c == MINUS or ZERO <= c <= NINE else -1


@inline_without_refcounts
def _scalar_end(raw: Bytes, p: int) -> int:
    """The position behind the number or the literal at p, or -1."""
    if raw[p] == LOWER_T:
        return word_end(raw, p, TRUE)
    if raw[p] == LOWER_F:
        return word_end(raw, p, FALSE)
    if raw[p] == LOWER_N:
        return word_end(raw, p, NULL)
    return read_number(raw, p)[0]


@inline_without_refcounts
def _list_end(raw: Bytes, p: int) -> int:
    """The position behind the list whose bracket is at p: where its brackets are closed. -1 if they never are."""
    depth = 0
    while p < len(raw):
        c = raw[p]
        if c == QUOTE:
            p = string_end(raw, p + 1)
            if p < 0:
                return -1
        elif c == OPEN_LIST or c == OPEN_OBJECT:
            depth += 1
        elif c == CLOSE_LIST or c == CLOSE_OBJECT:
            depth -= 1
            if depth == 0:
                return p + 1
        p += 1
    return -1


@inline_without_refcounts
def _read_list(raw: Bytes, p: int, numbers: Floats, used: int, undecided: Longs, unsure: int) -> tuple[bool, int, int, int]:
    """Read the numbers of a list, from the first position behind its bracket, into `numbers[used:]`.

    Returns whether the list ends behind them, the position behind it or that of the first element that is not a number in
    range, and the new `used` and `unsure`. The position is -1 if an element is followed by neither a comma nor a bracket.
    """
    p = skip_space(raw, p)
    if is_byte(raw, p, CLOSE_LIST):
        return True, p + 1, used, unsure
    while True:
        begin = p
        p, number = read_number(raw, p)
        if p < 0 or np.isinf(number):
            return False, begin, used, unsure
        numbers[used] = number
        if np.isnan(number):
            undecided[unsure, 0], undecided[unsure, 1], undecided[unsure, 2] = used, begin, p
            unsure += 1
        used += 1
        p = skip_space(raw, p)
        if is_byte(raw, p, CLOSE_LIST):
            return True, p + 1, used, unsure
        if not is_byte(raw, p, COMMA):
            return False, -1, used, unsure
        p = skip_space(raw, p + 1)


@inline_without_refcounts
def _read_rows(
    raw: Bytes, p: int, numbers: Floats, used: int, starts: Longs, rows: int, undecided: Longs, unsure: int
) -> tuple[bool, int, bool, int, int, int]:
    """Read a list of lists of numbers, from the bracket of its first row.

    Returns whether it ends behind them, the position behind it or that of the first element that does not fit, whether this
    stands within a row, and the new `used`, `rows` and `unsure`. `starts` counts from the first number of the list.
    """
    first = used
    while True:
        if not is_byte(raw, p, OPEN_LIST):
            return False, p, False, used, rows, unsure
        starts[rows] = used - first
        rows += 1
        whole, p, used, unsure = _read_list(raw, p + 1, numbers, used, undecided, unsure)
        if not whole:
            return False, p, True, used, rows, unsure
        p = skip_space(raw, p)
        if is_byte(raw, p, CLOSE_LIST):
            starts[rows] = used - first
            return True, p + 1, False, used, rows, unsure
        if not is_byte(raw, p, COMMA):
            return False, -1, False, used, rows, unsure
        p = skip_space(raw, p + 1)


@jit_without_refcounts
def _scan(raw: Bytes, numbers: Floats, starts: Longs, undecided: Longs, found: Longs, kinds: Bytes) -> tuple[int, int]:
    """Fill the arrays; return how many rows of `found` and of `undecided` there are, or (-1, 0) where the text is not JSON.

    A row of `found` holds kind, begin and end, and then: for LIST and ROWS the range in `numbers` and that in `starts`; for
    BROKEN row or index, column or -1, and what was found. `undecided` holds positions in `numbers` and in the text.

    `kinds` is the stack of open brackets. While `hidden` is not 0, the text is part of a bulk value, which ends when the depth
    falls below it. Elements are read twice at most: a list that turns out not to be bulk before element 1,000 is read again.
    """
    depth = hidden = 0
    count = used = rows = unsure = 0
    expected = VALUE
    nodes_next = False
    p = skip_space(raw, 0)
    while True:
        if expected == AFTER_VALUE:
            p = skip_space(raw, p)
            if depth == 0:
                return (count, unsure) if p == len(raw) else (-1, 0)
            if p == len(raw):
                return -1, 0
            c = raw[p]
            p += 1
            if c == COMMA:
                expected = VALUE if kinds[depth] == OPEN_LIST else KEY
            elif c == (CLOSE_LIST if kinds[depth] == OPEN_LIST else CLOSE_OBJECT):
                depth -= 1
                if depth < hidden:
                    found[count, 2] = p
                    count += 1
                    hidden = 0
            else:
                return -1, 0
            continue
        p = skip_space(raw, p)
        if p == len(raw):
            return -1, 0
        c = raw[p]
        if expected == KEY_OR_CLOSE and c == CLOSE_OBJECT or expected == VALUE_OR_CLOSE and c == CLOSE_LIST:
            expected = AFTER_VALUE  # which closes the bracket
            continue
        if expected == KEY or expected == KEY_OR_CLOSE:
            if c != QUOTE:
                return -1, 0
            nodes_next = hidden == 0 and word_end(raw, p + 1, NODES_KEY) > 0
            p = string_end(raw, p + 1)
            if p < 0:
                return -1, 0
            p = skip_space(raw, p + 1)
            if not is_byte(raw, p, COLON):
                return -1, 0
            p += 1
            expected = VALUE
            continue
        # A value begins here.
        is_nodes = nodes_next
        nodes_next = False
        if c == QUOTE:
            p = string_end(raw, p + 1) + 1
            if p == 0:
                return -1, 0
            expected = AFTER_VALUE
            continue
        if c != OPEN_LIST and c != OPEN_OBJECT:
            p = _scalar_end(raw, p)
            if p < 0:
                return -1, 0
            expected = AFTER_VALUE
            continue
        begin = p
        expected = VALUE_OR_CLOSE if c == OPEN_LIST else KEY_OR_CLOSE
        nested = 1
        p = skip_space(raw, p + 1)
        if c == OPEN_LIST and hidden == 0:
            what = _what(raw, p)
            found[count, 1] = begin
            if is_nodes:
                end = _list_end(raw, begin)
                if end < 0:
                    return -1, 0
                found[count, 0], found[count, 2] = NODES, end
                count += 1
                p = end
                expected = AFTER_VALUE
                continue
            elif what == NUMBER_FOUND:
                whole, end, last, more = _read_list(raw, p, numbers, used, undecided, unsure)
                if end < 0:
                    return -1, 0
                what = _what(raw, end)
                if whole and last - used >= MIN_BULK:
                    found[count, 0], found[count, 2], found[count, 3], found[count, 4] = LIST, end, used, last
                    count += 1
                    used, unsure = last, more
                    p = end
                    expected = AFTER_VALUE
                    continue
                if not whole and last - used >= MIN_BROKEN and what >= 0:
                    found[count, 0], found[count, 3], found[count, 4] = BROKEN, last - used, -1
                    found[count, 5], found[count, 6] = RANGE_FOUND if what == NUMBER_FOUND else what, 0
                    hidden = depth + 1
                    p = end
                    expected = VALUE
            elif what == LIST_FOUND:
                whole, end, inside, last, last_row, more = _read_rows(raw, p, numbers, used, starts, rows, undecided, unsure)
                if end < 0:
                    return -1, 0
                what = _what(raw, end)
                if whole and last - used >= MIN_BULK and last_row - rows >= 2:
                    found[count, 0], found[count, 2], found[count, 3], found[count, 4] = ROWS, end, used, last
                    found[count, 5], found[count, 6] = rows, last_row + 1
                    count += 1
                    used, rows, unsure = last, last_row + 1, more
                    p = end
                    expected = AFTER_VALUE
                    continue
                if not whole and last - used + last_row - rows >= MIN_BROKEN and what >= 0:
                    found[count, 0], found[count, 6] = BROKEN, 1
                    if inside:
                        found[count, 3], found[count, 4] = last_row - rows - 1, last - used - starts[last_row - 1]
                        found[count, 5] = RANGE_FOUND if what == NUMBER_FOUND else what
                        nested = 2
                    else:
                        found[count, 3], found[count, 4], found[count, 5] = last_row - rows, -1, what
                    hidden = depth + 1
                    p = end
                    expected = VALUE
        if depth + nested > MAX_DEPTH:
            return -1, 0
        for _ in range(nested):
            depth += 1
            kinds[depth] = c
