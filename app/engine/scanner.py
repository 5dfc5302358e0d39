"""Find the bulk of a JSON text, long lists of numbers, also in base64, and lists of nodes, and read it by compiled code.

A JSON library makes Python objects of everything: 32 bytes for each number, and the GIL is held all the while. `scan` takes
the bulk out in one pass without the GIL, and leaves a short text, the skeleton, to the library:

>>> found = scan(b'{"x": [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16.5]}', "token")
>>> found.skeleton
b'{"x": "token0"}'
>>> found.bulk[0].values[-1]
np.float64(16.5)
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import overload

import numpy as np
import numpy.typing as npt

from app.engine import node_reader
from app.engine.base64_doubles import PAUSED as DOUBLES_PAUSED
from app.engine.base64_doubles import read_doubles
from app.engine.interruption import Checkpoint, never
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
from app.engine.node_reader import NodeArrays

Floats = npt.NDArray[np.float64]
Longs = npt.NDArray[np.int64]

MIN_BULK = 16
"""Numbers in a list, or in all rows together, from which it is bulk."""
MIN_BROKEN = 1000
"""Numbers (and rows) read before an offending element from which a list that is not right is bulk too."""
MAX_DEPTH = 1024
"""Deeper nesting is refused, as orjson refuses it."""

LIST, ROWS, NODES, BROKEN, DOUBLES = 1, 2, 3, 4, 5
"""Kinds of bulk. A bulk value is a row of integers: kind, where its text begins and ends, and four more, as `_Found` says."""
BULK_FIELDS = 7

FOUND = ("string", "boolean", "null", "list", "object", "number", "number out of range")
STRING_FOUND, BOOLEAN_FOUND, NULL_FOUND, LIST_FOUND, OBJECT_FOUND, NUMBER_FOUND, RANGE_FOUND = range(7)

SHORTEST_NUMBER, SHORTEST_ROW, SHORTEST_BULK, SHORTEST_UNDECIDED = len("0,"), len("[],"), len('"nodes":[]'), 20
"""The fewest bytes of text that each takes up, which bounds how many there can be."""

BYTES_PER_CHECK = 1 << 21
"""How much text is read between two checks: some tens of milliseconds."""
ENTRIES_PER_CHECK = 1000

VALUE, VALUE_OR_CLOSE, KEY, KEY_OR_CLOSE, AFTER_KEY, AFTER_VALUE, IN_KEY, IN_STRING, IN_LIST, IN_ROWS, IN_DOUBLES = range(11)
"""What the scan expects next, or what it is in the middle of."""
FINISHED, BROKEN_OFF, PAUSED, REFUSED, AT_NODES = 0, 1, 2, 3, 4
"""How a part of the scan ends."""
(P, DEPTH, HIDDEN, EXPECTED, NAMED, COUNT, USED, ROWS_USED, UNSURE, LAST, LAST_ROW, MORE, WITHIN, STOPS_AT_NODES) = range(14)
STATE_FIELDS = 14
"""The state of the scan where it pauses; see `_scan`."""
NODES_KEY, DOUBLES_KEY = np.frombuffer(b'nodes"', np.uint8), np.frombuffer(b'float64"', np.uint8)
NODES_NAME, DOUBLES_NAME = 1, 2
"""The keys whose values may be bulk; 0 is any other."""
NODES_DEPTH = 3
"""How deeply a list of nodes is nested: nodes in it, and arguments in them."""


@dataclass(frozen=True, slots=True, eq=False)
class NumberList:
    """A list of numbers: a read-only array of float64. Long work on them should call `check` meanwhile."""

    values: Floats
    check: Checkpoint = never


@dataclass(frozen=True, slots=True, eq=False)
class NumberRows:
    """A list of lists of numbers, not necessarily of one length. Row i is `values[starts[i]:starts[i + 1]]`.

    `starts` has one entry more than there are rows. Both arrays are read-only.
    """

    values: Floats
    starts: Longs


@dataclass(frozen=True, slots=True, eq=False)
class NumberText:
    """The string that is the value of a key `"float64"`, and the finite doubles that it holds in base64.

    `values` is a read-only array. `text` is the string with its quotes, for where no numbers are expected; it is JSON.
    """

    values: Floats
    text: memoryview


@dataclass(frozen=True, slots=True)
class NodesText:
    """The text of the list that is the value of a key `"nodes"`. It is JSON, and all numbers in it are finite.

    `arrays` is what `node_reader` made of the text, whose size is -1 if it could not read it; None if it has not been asked.
    """

    text: memoryview
    check: Checkpoint = never
    arrays: NodeArrays | None = field(default=None, repr=False, compare=False)


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


Bulk = NumberList | NumberRows | NumberText | NodesText | BrokenList


@dataclass(frozen=True, slots=True, eq=False)
class BulkValues(Sequence[Bulk]):
    """The bulk values of a text, each made when it is accessed: a million objects would take more room than their numbers.

    `found`, `numbers` and `starts` are as `_scan` fills them. `overflowing` are the positions in `numbers` that only Python
    could tell to be out of range, which is extremely rare. `nodes` is the first value with nodes, and what was made of it.
    """

    text: memoryview
    found: Longs
    numbers: Floats
    starts: Longs
    overflowing: tuple[int, ...]
    nodes: tuple[int, NodeArrays] | None
    check: Checkpoint

    def __len__(self) -> int:
        return len(self.found)

    @overload
    def __getitem__(self, k: int) -> Bulk: ...
    @overload
    def __getitem__(self, k: slice) -> list[Bulk]: ...
    def __getitem__(self, k: int | slice) -> Bulk | list[Bulk]:
        if isinstance(k, slice):
            return [self[j] for j in range(len(self))[k]]
        kind, begin, end, *rest = self.found[k].tolist()
        if kind == NODES:
            arrays = self.nodes[1] if self.nodes is not None and self.nodes[0] == k else None
            return NodesText(self.text[begin:end], self.check, arrays)
        if kind == BROKEN:
            index, start, what, rows = rest
            return BrokenList(index, FOUND[what], start if start >= 0 else None, bool(rows))
        first, last, first_row, last_row = rest
        if kind == DOUBLES:
            return NumberText(self.numbers[first:last], self.text[begin:end])
        bad = min((k for k in self.overflowing if first <= k < last), default=None) if self.overflowing else None
        if kind == LIST:
            return (
                NumberList(self.numbers[first:last], self.check) if bad is None else BrokenList(bad - first, FOUND[RANGE_FOUND])
            )
        offsets = self.starts[first_row:last_row]
        if bad is None:
            return NumberRows(self.numbers[first:last], offsets)
        row = int(np.searchsorted(offsets, bad - first, side="right")) - 1
        return BrokenList(row, FOUND[RANGE_FOUND], bad - first - int(offsets[row]), rows=True)


@dataclass(frozen=True, slots=True, eq=False)
class Scan:
    """A text without its bulk: in `skeleton`, the JSON string `"<token><k>"` stands in place of `bulk[k]`."""

    skeleton: bytes | bytearray | memoryview
    bulk: BulkValues


def scan(body: bytes | bytearray | memoryview, token: str, check: Checkpoint = never) -> Scan | None:
    """Take the bulk values out of a JSON text; None if the text is not JSON, and a JSON library should say why.

    Bulk is a list of at least 16 numbers, a list of at least 2 lists of numbers with at least 16 in total, or of at least 1,000
    lists, a longer such list that is broken, the value of each key "nodes" that is a list, and that of each key "float64" that
    is a string of at least 16 finite doubles in base64. `token` becomes part of a JSON
    string as it is, and should be a random text that the author of the body cannot know.

    Numbers are rounded correctly, and an integer -0 is 0.0. The arrays take 8 bytes for each number. Outside of bulk, a text
    with a number that exceeds every double counts as not JSON, as it does for orjson. `check` is called every few milliseconds.
    Raises ValueError if `token` is not printable ASCII without quotes and backslashes.
    """
    if not token.isascii() or not token.isprintable() or '"' in token or "\\" in token:
        raise ValueError(f"a token is printable ASCII without quotes and backslashes, not {token!r}")
    arrays = _Arrays(body)
    arrays.state[STOPS_AT_NODES] = 1
    if not _run(arrays, check):
        return None
    numbers, starts, found = arrays.numbers, arrays.starts, arrays.found[: arrays.state[COUNT]]
    overflowing = []
    for k in range(arrays.state[UNSURE]):
        if k % ENTRIES_PER_CHECK == 0:
            check()
        position, begin, end = arrays.undecided[k].tolist()
        number = float(bytes(body[begin:end]))
        if position >= 0:
            numbers[position] = number
        if np.isinf(number):
            if position < 0:
                return None
            overflowing.append(position)
    numbers.flags.writeable = starts.flags.writeable = False
    bulk = BulkValues(memoryview(body), found, numbers, starts, tuple(overflowing), arrays.nodes, check)
    return Scan(_skeleton(bulk, token.encode()) if bulk else body, bulk)


def _skeleton(bulk: BulkValues, token: bytes) -> bytearray:
    """The text with tokens in place of its bulk."""
    skeleton = bytearray()
    done = 0
    for k in range(len(bulk) + 1):
        if k % ENTRIES_PER_CHECK == 0:
            bulk.check()
        begin, end = bulk.found[k, 1:3].tolist() if k < len(bulk) else (len(bulk.text), 0)
        for at in range(done, begin, BYTES_PER_CHECK):  # which holds the GIL
            skeleton += bulk.text[at : min(at + BYTES_PER_CHECK, begin)]
        if end:
            skeleton += b'"%s%d"' % (token, k)
        done = end
    return skeleton


def fault(body: bytes | bytearray | memoryview, check: Checkpoint = never) -> tuple[bytes, int]:
    """Return a beginning and a position: of a text that `scan` refuses, a JSON library need not read more than the rest.

    The text from the position on, with the beginning before it, is refused for the same reason at the same place.
    """
    arrays = _Arrays(body)
    position, beginning = 0, b""

    def note() -> None:
        nonlocal position, beginning
        check()
        position, beginning = int(arrays.state[P]), _beginning(arrays)

    _run(arrays, note)
    return beginning, position


INNERMOST = {KEY: b'{"":0,', KEY_OR_CLOSE: b"{", IN_KEY: b'{"', AFTER_KEY: b'{""'}
"""How an object begins, of which the scan expects something else than a value."""


def _beginning(arrays: "_Arrays") -> bytes:
    """A short text after which a JSON library expects what the scan expects."""
    expected, depth = arrays.state[EXPECTED], arrays.state[DEPTH]
    in_list, in_object = b"[", b'{"":'
    outer = [in_list if kind == OPEN_LIST else in_object for kind in arrays.kinds[1 : depth + 1]]
    if expected == IN_LIST:
        outer.append(b"[0,")
    elif expected == IN_ROWS:
        outer += [in_list, b"[0,"] if arrays.state[WITHIN] else [b"[0,"]
    elif expected == VALUE and outer and outer[-1] == in_list:  # behind a comma
        outer[-1] = b"[0,"
    elif expected == IN_STRING or expected == IN_DOUBLES:
        outer.append(b'"')
    elif expected == AFTER_VALUE:
        outer.append(b"{}")  # and not a number, which what follows could go on
    elif expected in INNERMOST:
        outer[-1] = INNERMOST[expected]
    return b"".join(outer)


class _Arrays:
    """What `_scan` reads and fills."""

    def __init__(self, body: bytes | bytearray | memoryview) -> None:
        self.raw = np.frombuffer(body, np.uint8)
        self.raw.flags.writeable = False  # as the kernel is compiled for, whatever `body` is
        size = len(self.raw)
        self.numbers = np.empty(size // SHORTEST_NUMBER + 1)  # memory that is not written to is never allocated
        self.starts = np.empty(size // SHORTEST_ROW + 2, np.int64)
        self.undecided = np.empty((size // SHORTEST_UNDECIDED + 1, 3), np.int64)
        self.found = np.empty((size // SHORTEST_BULK + 1, BULK_FIELDS), np.int64)
        self.kinds = np.empty(MAX_DEPTH + 3, np.uint8)
        self.state = np.zeros(STATE_FIELDS, np.int64)
        self.nodes: tuple[int, NodeArrays] | None = None

    def read_nodes(self, check: Checkpoint) -> None:
        """Read the list of nodes at which the scan has stopped, and pass it over, unless it must be scanned.

        What the reader accepts is JSON, so one pass is enough. Only the first list is read here, since each takes arrays.
        """
        state = self.state
        count, begin = int(state[COUNT]), int(state[P])
        arrays = node_reader.read_first(self.raw[begin:], check)
        if arrays.size >= 0 and not node_reader.decide(self.raw[begin:], arrays, check):
            arrays = arrays._replace(size=-1)
        self.nodes = count, arrays
        state[STOPS_AT_NODES] = 0
        if arrays.size >= 0:
            self.found[count, :3] = NODES, begin, begin + arrays.end
            state[COUNT], state[P], state[EXPECTED], state[NAMED] = count + 1, begin + arrays.end, AFTER_VALUE, 0


def _run(arrays: _Arrays, check: Checkpoint) -> bool:
    """Scan the text, with a check before each part of it. Return whether it is JSON."""
    stop, outcome = 0, PAUSED
    while outcome == PAUSED or outcome == AT_NODES:
        if outcome == AT_NODES:
            arrays.read_nodes(check)
        check()
        stop = max(stop, int(arrays.state[P])) + BYTES_PER_CHECK
        outcome = _scan(
            arrays.raw,
            stop,
            arrays.numbers,
            arrays.starts,
            arrays.undecided,
            arrays.found,
            arrays.kinds,
            arrays.state,
        )
    return outcome == FINISHED


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
def _scalar_end(raw: Bytes, p: int) -> tuple[int, float]:
    """The position behind the number or the literal at p, or -1; and the number, or 0."""
    if raw[p] == LOWER_T:
        return word_end(raw, p, TRUE), 0.0
    if raw[p] == LOWER_F:
        return word_end(raw, p, FALSE), 0.0
    if raw[p] == LOWER_N:
        return word_end(raw, p, NULL), 0.0
    return read_number(raw, p)


@inline_without_refcounts
def _read_list(
    raw: Bytes, p: int, stop: int, numbers: Floats, used: int, undecided: Longs, unsure: int
) -> tuple[int, int, int, int]:
    """Read the numbers of a list, of which at least one is to come, from the position of the next into `numbers[used:]`.

    Returns the outcome, a position, and the new `used` and `unsure`. Where the list is FINISHED, the position is behind it;
    where it is BROKEN_OFF, that of the first element that is not a number in range, or -1 if an element is followed by neither
    a comma nor a bracket; where the reading is PAUSED, because it has reached `stop`, that of the next element.
    """
    while p < stop:
        begin = p
        p, number = read_number(raw, p)
        if p < 0 or np.isinf(number):
            return BROKEN_OFF, begin, used, unsure
        numbers[used] = number
        if np.isnan(number):
            undecided[unsure, 0], undecided[unsure, 1], undecided[unsure, 2] = used, begin, p
            unsure += 1
        used += 1
        p = skip_space(raw, p)
        if is_byte(raw, p, CLOSE_LIST):
            return FINISHED, p + 1, used, unsure
        if not is_byte(raw, p, COMMA):
            return BROKEN_OFF, -1, used, unsure
        p = skip_space(raw, p + 1)
    return PAUSED, p, used, unsure


@inline_without_refcounts
def _read_rows(
    raw: Bytes,
    p: int,
    stop: int,
    within: bool,
    first: int,
    numbers: Floats,
    used: int,
    starts: Longs,
    rows: int,
    undecided: Longs,
    unsure: int,
) -> tuple[int, int, bool, int, int, int]:
    """Read a list of lists of numbers, from the bracket of its next row or, `within` a row, from its next number.

    Returns the outcome and a position as `_read_list` does, whether this stands within a row, and the new `used`, `rows` and
    `unsure`. `starts` counts from `first`, the position of the list's first number.
    """
    while p < stop:
        if not within:
            if not is_byte(raw, p, OPEN_LIST):
                return BROKEN_OFF, p, False, used, rows, unsure
            starts[rows] = used - first
            rows += 1
            p = skip_space(raw, p + 1)
            within = not is_byte(raw, p, CLOSE_LIST)
            if not within:
                p += 1
        if within:
            outcome, p, used, unsure = _read_list(raw, p, stop, numbers, used, undecided, unsure)
            if outcome != FINISHED:
                return outcome, p, True, used, rows, unsure
            within = False
        p = skip_space(raw, p)
        if is_byte(raw, p, CLOSE_LIST):
            starts[rows] = used - first
            return FINISHED, p + 1, False, used, rows, unsure
        if not is_byte(raw, p, COMMA):
            return BROKEN_OFF, -1, False, used, rows, unsure
        p = skip_space(raw, p + 1)
    return PAUSED, p, within, used, rows, unsure


@jit_without_refcounts
def _scan(
    raw: Bytes, stop: int, numbers: Floats, starts: Longs, undecided: Longs, found: Longs, kinds: Bytes, state: Longs
) -> int:
    """Fill the arrays, up to the first token from `stop` on. Return PAUSED, FINISHED, or REFUSED where the text is not JSON.

    Returns AT_NODES at the bracket of a list of nodes if `stops_at_nodes` says so.

    A row of `found` holds kind, begin and end, and then: for LIST, ROWS and DOUBLES the range in `numbers`, for ROWS also that
    in `starts`; for BROKEN row or index, column or -1, and what was found. `undecided` holds positions in `numbers`, or -1 for
    a number outside of bulk, and in the text.

    `kinds` is the stack of open brackets. While `hidden` is not 0, the text is part of a bulk value, which ends when the depth
    falls below it. Elements are read twice at most: a list that turns out not to be bulk before element 1,000 is read again,
    and so is a string that turns out not to hold doubles.
    `count`, `used`, `rows` and `unsure` are how much of the arrays is in use; `last`, `last_row` and `more` are that with the
    list that is being read, and `within` says whether this is in a row of it.
    """
    p, depth, hidden, expected, named = state[P], state[DEPTH], state[HIDDEN], state[EXPECTED], state[NAMED]
    count, used, rows, unsure = state[COUNT], state[USED], state[ROWS_USED], state[UNSURE]
    last, last_row, more, within = state[LAST], state[LAST_ROW], state[MORE], state[WITHIN] != 0
    stops_at_nodes = state[STOPS_AT_NODES] != 0
    outcome = PAUSED
    while p < stop:
        if expected == IN_STRING or expected == IN_KEY:
            end = string_end(raw, p, stop)
            if end < 0:
                outcome = REFUSED
                break
            p = end
            if raw[p] == QUOTE:
                p += 1
                expected = AFTER_VALUE if expected == IN_STRING else AFTER_KEY
            continue
        if expected == IN_DOUBLES:
            part, end, last = read_doubles(raw, p, stop, numbers, last)
            if part == DOUBLES_PAUSED:
                p = end
                break
            if part == FINISHED and last - used >= MIN_BULK and is_byte(raw, end, QUOTE):
                p = end + 1
                found[count, 0], found[count, 2], found[count, 3], found[count, 4] = DOUBLES, p, used, last
                count += 1
                used = last
                expected = AFTER_VALUE
            else:
                p = found[count, 1] + 1
                expected = IN_STRING
            continue
        if expected == IN_LIST:
            part, end, last, more = _read_list(raw, p, stop, numbers, last, undecided, more)
            if part == PAUSED:
                p = end
                break
            what = _what(raw, end) if end >= 0 else -1
            if part == FINISHED and last - used >= MIN_BULK:
                found[count, 0], found[count, 2], found[count, 3], found[count, 4] = LIST, end, used, last
                count += 1
                used, unsure = last, more
                p = end
                expected = AFTER_VALUE
                continue
            if end < 0:
                outcome = REFUSED
                break
            nested = 1
            p = found[count, 1] + 1
            expected = VALUE_OR_CLOSE
            if part == BROKEN_OFF and last - used >= MIN_BROKEN and what >= 0:
                found[count, 0], found[count, 3], found[count, 4] = BROKEN, last - used, -1
                found[count, 5], found[count, 6] = RANGE_FOUND if what == NUMBER_FOUND else what, 0
                hidden = depth + 1
                p = end
                expected = VALUE
        elif expected == IN_ROWS:
            part, end, within, last, last_row, more = _read_rows(
                raw, p, stop, within, used, numbers, last, starts, last_row, undecided, more
            )
            if part == PAUSED:
                p = end
                break
            what = _what(raw, end) if end >= 0 else -1
            if part == FINISHED and last_row - rows >= 2 and (last - used >= MIN_BULK or last_row - rows >= MIN_BROKEN):
                found[count, 0], found[count, 2], found[count, 3], found[count, 4] = ROWS, end, used, last
                found[count, 5], found[count, 6] = rows, last_row + 1
                count += 1
                used, rows, unsure = last, last_row + 1, more
                p = end
                expected = AFTER_VALUE
                continue
            if end < 0:
                outcome = REFUSED
                break
            nested = 1
            p = found[count, 1] + 1
            expected = VALUE_OR_CLOSE
            if part == BROKEN_OFF and last - used + last_row - rows >= MIN_BROKEN and what >= 0:
                found[count, 0], found[count, 6] = BROKEN, 1
                if within:
                    found[count, 3], found[count, 4] = last_row - rows - 1, last - used - starts[last_row - 1]
                    found[count, 5] = RANGE_FOUND if what == NUMBER_FOUND else what
                    nested = 2
                else:
                    found[count, 3], found[count, 4], found[count, 5] = last_row - rows, -1, what
                hidden = depth + 1
                p = end
                expected = VALUE
        elif expected == AFTER_VALUE:
            p = skip_space(raw, p)
            if depth == 0:
                outcome = FINISHED if p == len(raw) else REFUSED
                break
            c = raw[p] if p < len(raw) else 0
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
                outcome = REFUSED
                break
            continue
        else:
            p = skip_space(raw, p)
            if p == len(raw):
                outcome = REFUSED
                break
            c = raw[p]
            if expected == KEY_OR_CLOSE and c == CLOSE_OBJECT or expected == VALUE_OR_CLOSE and c == CLOSE_LIST:
                expected = AFTER_VALUE  # which closes the bracket
                continue
            if expected == KEY or expected == KEY_OR_CLOSE:
                if c != QUOTE:
                    outcome = REFUSED
                    break
                p += 1
                named = 0
                if hidden == 0:
                    named = NODES_NAME if word_end(raw, p, NODES_KEY) > 0 else 0
                    named = DOUBLES_NAME if word_end(raw, p, DOUBLES_KEY) > 0 else named
                expected = IN_KEY
                continue
            if expected == AFTER_KEY:
                if c != COLON:
                    outcome = REFUSED
                    break
                p += 1
                expected = VALUE
                continue
            # A value begins here.
            name = named
            named = 0
            if c == QUOTE:
                expected = IN_STRING
                if name == DOUBLES_NAME:
                    expected = IN_DOUBLES
                    found[count, 1] = p
                    last = used
                p += 1
                continue
            if c != OPEN_LIST and c != OPEN_OBJECT:
                end, number = _scalar_end(raw, p)
                ignored = hidden > 0 and found[count, 0] == BROKEN
                if end < 0 or (np.isinf(number) and not ignored):
                    outcome = REFUSED
                    break
                if np.isnan(number) and not ignored:
                    undecided[unsure, 0], undecided[unsure, 1], undecided[unsure, 2] = -1, p, end
                    unsure += 1
                p = end
                expected = AFTER_VALUE
                continue
            nested = 1
            if c == OPEN_LIST and name == NODES_NAME and stops_at_nodes and depth + NODES_DEPTH <= MAX_DEPTH:
                named = name
                outcome = AT_NODES
                break
            if c == OPEN_LIST and hidden == 0:
                found[count, 1] = p
                what = _what(raw, skip_space(raw, p + 1))
                if name == NODES_NAME:
                    found[count, 0] = NODES
                    hidden = depth + 1
                elif what == NUMBER_FOUND or what == LIST_FOUND:
                    expected = IN_LIST if what == NUMBER_FOUND else IN_ROWS
                    last, last_row, more, within = used, rows, unsure, False
                    p = skip_space(raw, p + 1)
                    continue
            p += 1
            expected = VALUE_OR_CLOSE if c == OPEN_LIST else KEY_OR_CLOSE
        if depth + nested > MAX_DEPTH:
            outcome = REFUSED
            break
        for _ in range(nested):
            depth += 1
            kinds[depth] = OPEN_LIST if expected != KEY_OR_CLOSE else OPEN_OBJECT
    state[P], state[DEPTH], state[HIDDEN], state[EXPECTED], state[NAMED] = p, depth, hidden, expected, named
    state[COUNT], state[USED], state[ROWS_USED], state[UNSURE] = count, used, rows, unsure
    state[LAST], state[LAST_ROW], state[MORE], state[WITHIN] = last, last_row, more, within
    return outcome
