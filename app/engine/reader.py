"""Reading the nodes of a graph from JSON straight into columns, in compiled code and without the GIL.

A large graph so keeps no other request waiting, and a hundred thousand nodes take a few milliseconds. What is read is plain:
well-formed nodes whose strings are printable ASCII without escapes. For all else, and for whatever is wrong with a node,
`read` gives None, and msgspec and `graph.columns_of` take over, which know every case and say what is at fault.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, overload

import msgspec
import numpy as np
import numpy.typing as npt

from app.engine.graph import CODES, ID_LIMIT, LEAF_CODE, MAX_ARITY, MIN_ARITY, Columns, Floats, Ints, Node
from app.engine.jit import jit, part

Bytes = npt.NDArray[np.uint8]

FEW = 64
"""Nodes, or names looked up, up to which a dict of all ids costs no more than compiled code."""

MOST_UNSURE = 1000
"""Numbers that are left to Python at most: with more, all are better read by others."""

QUOTE, COMMA, MINUS, DOT, ZERO, NINE, COLON, LIST, BACKSLASH, END_LIST, OBJECT, END_OBJECT = b'",-.09:[\\]{}'
SPACE, LAST_PRINTABLE = 0x20, 0x7E
ID, OP, ARGS, DATA, LABEL = 1, 2, 4, 8, 16
SHORTEST_NODE, SHORTEST_ARGUMENT = len('{"id":"","op":""},'), len("0,")

POWERS = np.array([10.0**k for k in range(23)])
"""The powers of ten that a double holds exactly."""


def _words(name: str) -> tuple[int, int]:
    """A name of up to 16 bytes as two numbers."""
    padded = name.encode().ljust(16, b"\0")
    return int.from_bytes(padded[:8], "little"), int.from_bytes(padded[8:], "little")


def _primitives() -> tuple[npt.NDArray[np.uint64], Ints]:
    """A hash table of the names of all operations as words, and of their codes; free places have the code -1."""
    words, codes = np.zeros((256, 2), np.uint64), np.full(256, -1, np.int32)
    for name, code in CODES.items():
        low, high = _words(name)
        place = ((low ^ high) * 0x9E3779B97F4A7C15 % 2**64) >> 56
        while codes[place] >= 0:
            place = (place + 1) % 256
        words[place], codes[place] = (low, high), code
    return words, codes


WORDS, WORD_CODES = _primitives()


def read(text: bytes | memoryview) -> Columns | None:
    """The columns of a list of nodes, as `graph.columns_of` has them; None where the list is not plain, or not right."""
    raw = np.frombuffer(text, np.uint8)
    count, open_ones, spans, table, opcode, start, arg, datum, numbers, places = _read(raw)
    if count < 0 or open_ones > MOST_UNSURE:
        return None
    for k in np.flatnonzero(np.isnan(numbers)).tolist() if open_ones else ():  # of too many digits, or too far from 1
        numbers[k] = float(bytes(text[places[k, 0] : places[k, 1]]))
        if not np.isfinite(numbers[k]):
            return None
    ids = Ids(raw, spans)
    return Columns(ids, Index(raw, spans, table, ids), opcode, start, arg, datum, numbers)


class Ids(Sequence[str]):
    """The ids in a text, made as soon as one is looked at."""

    def __init__(self, raw: Bytes, spans: Ints) -> None:
        self.raw, self.spans = raw, spans
        self.made: list[str] | None = None

    @property
    def all(self) -> list[str]:
        """All of them."""
        if self.made is None:
            self.made = _joined(self.raw, self.spans).tobytes().decode("ascii").split("\n")
        return self.made

    def __len__(self) -> int:
        return len(self.spans)

    @overload
    def __getitem__(self, k: int) -> str: ...
    @overload
    def __getitem__(self, k: slice) -> list[str]: ...
    def __getitem__(self, k: int | slice) -> str | list[str]:
        return self.all[k]

    def __iter__(self) -> Iterator[str]:
        return iter(self.all)


class Index(Mapping[str, int]):
    """Positions by id: a dict, but while only few of many ids are looked up, they are looked up in the text."""

    def __init__(self, raw: Bytes, spans: Ints, table: Ints, ids: Ids) -> None:
        self.raw, self.spans, self.table, self.ids = raw, spans, table, ids
        self.asked = 0 if len(spans) > FEW else FEW
        self.made: dict[str, int] | None = None

    @property
    def all(self) -> dict[str, int]:
        """All of them."""
        if self.made is None:
            self.made = dict(zip(self.ids.all, range(len(self.spans)), strict=True))
        return self.made

    def get(self, name: str, default: Any = None) -> Any:
        """The position of a node, or `default`."""
        if self.asked >= FEW:
            return self.all.get(name, default)
        self.asked += 1
        if not name.isascii():
            return default
        position = _find(self.raw, self.spans, self.table, np.frombuffer(name.encode(), np.uint8))
        return position if position >= 0 else default

    def __getitem__(self, name: str) -> int:
        position = self.get(name)
        if position is None:
            raise KeyError(name)
        return int(position)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.get(name) is not None

    def __len__(self) -> int:
        return len(self.spans)

    def __iter__(self) -> Iterator[str]:
        return iter(self.ids)


class Nodes(Sequence[Node]):
    """The nodes in a text, decoded as soon as one is looked at."""

    def __init__(self, text: bytes | memoryview, count: int) -> None:
        self.text, self.size = text, count
        self.made: tuple[Node, ...] | None = None

    @property
    def all(self) -> tuple[Node, ...]:
        """All of them."""
        if self.made is None:
            self.made = msgspec.json.decode(self.text, type=tuple[Node, ...])
        return self.made

    def __len__(self) -> int:
        return self.size

    @overload
    def __getitem__(self, k: int) -> Node: ...
    @overload
    def __getitem__(self, k: slice) -> tuple[Node, ...]: ...
    def __getitem__(self, k: int | slice) -> Node | tuple[Node, ...]:
        return self.all[k]


# --- compiled


@part
def _skip(raw: Bytes, p: int) -> int:
    """The place of the next byte that is no white space; the end where there is none."""
    while p < len(raw) and (raw[p] == 0x20 or raw[p] == 0x0A or raw[p] == 0x0D or raw[p] == 0x09):
        p += 1
    return p


@part
def _is(raw: Bytes, p: int, byte: int) -> bool:
    return p < len(raw) and raw[p] == byte


@part
def _string(raw: Bytes, p: int) -> int:
    """The place behind a string's last character, from that of its first; -1 where it is not plain."""
    while p < len(raw):
        c = raw[p]
        if c == QUOTE:
            return p
        if c < SPACE or c > LAST_PRINTABLE or c == BACKSLASH:
            return -1
        p += 1
    return -1


@part
def _digits(raw: Bytes, p: int) -> int:
    while p < len(raw) and ZERO <= raw[p] <= NINE:
        p += 1
    return p


@part
def _number(raw: Bytes, p: int) -> tuple[int, float]:
    """The place behind a number, -1 where there is none, and the number; NaN where it is not sure to be rounded right."""
    negative = _is(raw, p, MINUS)
    first = p + 1 if negative else p
    point = _digits(raw, first)
    if point == first or (raw[first] == ZERO and point > first + 1):
        return -1, np.nan
    end = point
    if _is(raw, point, DOT):
        end = _digits(raw, point + 1)
        if end == point + 1:
            return -1, np.nan
    whole = end == point
    exponent = 0 if whole else point - end + 1
    leading = first
    while leading < end - 1 and (raw[leading] == ZERO or leading == point):
        leading += 1
    significant = end - leading - (1 if leading <= point < end else 0)
    mantissa = np.uint64(0)
    for k in range(leading, min(point, end)):
        mantissa = mantissa * np.uint64(10) + np.uint64(raw[k] - ZERO)
    for k in range(max(leading, point + 1), end):
        mantissa = mantissa * np.uint64(10) + np.uint64(raw[k] - ZERO)
    if end < len(raw) and (raw[end] | 0x20) == 0x65:  # e or E
        down = _is(raw, end + 1, MINUS)
        begin = end + 2 if down or _is(raw, end + 1, 0x2B) else end + 1
        end = _digits(raw, begin)
        if end == begin:
            return -1, np.nan
        while begin < end - 1 and raw[begin] == ZERO:
            begin += 1
        if end > begin + 5:
            return end, np.nan
        power = 0
        for k in range(begin, end):
            power = power * 10 + (raw[k] - ZERO)
        exponent += -power if down else power
        whole = False
    if significant > 19:
        return end, np.nan
    number = _scaled(mantissa, exponent)
    return end, -number if negative and not (whole and number == 0.0) else number  # -0 is an integer, as for msgspec


@part
def _scaled(mantissa: np.uint64, exponent: int) -> float:
    """`mantissa * 10**exponent` rounded to the nearest double, or NaN where that is not sure.

    Where both factors are doubles, one operation rounds right (Clinger, PLDI 1990). Else the rounding error of the operation
    is computed too, exactly but for 2**-100 or so (Dekker, Numer. Math. 18 (1971) 224-242), and only a sum too close to the
    middle between two doubles is left open.
    """
    if mantissa == 0:
        return 0.0
    if exponent < -22 or exponent > 22:
        return np.nan
    high = float(mantissa)
    power: float = POWERS[abs(exponent)]
    if mantissa <= np.uint64(1 << 53):
        return high / power if exponent < 0 else high * power
    low = float(np.int64(mantissa - np.uint64(high)))
    if exponent < 0:
        near = high / power
        product, error = _product(near, power)
        rest = ((high - product) - error + low) / power
    else:
        near, error = _product(high, power)
        rest = error + low * power
    number = near + rest
    off = (near - number) + rest
    gap = np.nextafter(number, np.inf if off > 0.0 else 0.0) - number
    return number if abs(off) < abs(gap) * (0.5 - 1e-9) else np.nan


@part
def _product(x: float, y: float) -> tuple[float, float]:
    """The product and its rounding error."""
    product = x * y
    a, b = x * 134217729.0, y * 134217729.0
    x_high, y_high = a - (a - x), b - (b - y)
    x_low, y_low = x - x_high, y - y_high
    return product, ((x_high * y_high - product) + x_high * y_low + x_low * y_high) + x_low * y_low


@part
def _hash(raw: Bytes, first: int, last: int) -> np.int64:
    """FNV-1a, folded."""
    h = np.uint64(0xCBF29CE484222325)
    for k in range(first, last):
        h = (h ^ np.uint64(raw[k])) * np.uint64(0x100000001B3)
    return np.int64((h ^ (h >> np.uint64(32))) & np.uint64(0x7FFFFFFF))


@part
def _same(raw: Bytes, p: int, other: Bytes, q: int, length: int) -> bool:
    for k in range(length):
        if raw[p + k] != other[q + k]:
            return False
    return True


@part
def _opcode(raw: Bytes, first: int, last: int) -> np.int64:
    """The code of an operation by its name; -1 where there is none."""
    if last - first > 16:
        return np.int64(-1)
    low, high = np.uint64(0), np.uint64(0)
    for k in range(first, last):
        if k - first < 8:
            low |= np.uint64(raw[k]) << np.uint64(8 * (k - first))
        else:
            high |= np.uint64(raw[k]) << np.uint64(8 * (k - first - 8))
    place = np.int64(((low ^ high) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(56))
    while WORD_CODES[place] >= 0:
        if WORDS[place, 0] == low and WORDS[place, 1] == high:
            return np.int64(WORD_CODES[place])
        place = (place + 1) & 255
    return np.int64(-1)


@part
def _key(raw: Bytes, p: int, length: int) -> int:
    """Which field of a node this name is; 0 for none."""
    if length == 2 and raw[p] == 0x69 and raw[p + 1] == 0x64:
        return ID
    if length == 2 and raw[p] == 0x6F and raw[p + 1] == 0x70:
        return OP
    if length == 4 and raw[p] == 0x61 and raw[p + 1] == 0x72 and raw[p + 2] == 0x67 and raw[p + 3] == 0x73:
        return ARGS
    if length == 4 and raw[p] == 0x64 and raw[p + 1] == 0x61 and raw[p + 2] == 0x74 and raw[p + 3] == 0x61:
        return DATA
    if length == 5 and raw[p] == 0x6C and raw[p + 1] == 0x61 and raw[p + 2] == 0x62 and raw[p + 3] == 0x65:
        return LABEL if raw[p + 4] == 0x6C else 0
    return 0


@part
def _is_null(raw: Bytes, p: int) -> bool:
    return p + 4 <= len(raw) and raw[p] == 0x6E and raw[p + 1] == 0x75 and raw[p + 2] == 0x6C and raw[p + 3] == 0x6C


@jit
def _read(raw: Bytes) -> tuple[int, int, Ints, Ints, Ints, Ints, Ints, Ints, Floats, Ints]:
    """(number of nodes, or -1; how many numbers are NaN; span of each id; hash table of ids; columns; span of each number)."""
    most_nodes, most = len(raw) // SHORTEST_NODE + 1, len(raw) // SHORTEST_ARGUMENT + 1  # room that is not used costs nothing
    spans = np.empty((most_nodes, 2), np.int32)
    opcode = np.empty(most_nodes, np.int32)
    start = np.empty(most_nodes + 1, np.int32)
    datum = np.empty(most_nodes, np.int32)
    arg = np.empty(most, np.int32)
    lengths = np.empty(most, np.uint8)
    numbers = np.empty(most)
    places = np.empty((most, 2), np.int32)
    n, taken, used = -1, 0, 0
    if len(raw) < 2**31:
        n, taken, used = _scan(raw, spans, opcode, start, arg, lengths, datum, numbers, places)
    size = 16
    while size < 2 * n:
        size *= 2
    table = np.full(size, -1, np.int32)
    if n >= 0 and not _link(raw, spans[:n], table, arg[:taken], lengths):
        n = -1
    if n < 0:
        taken = used = 0
    nodes = max(n, 0)
    unsure = 0
    for k in range(used):
        unsure += np.isnan(numbers[k])
    columns = (opcode[:nodes], start[: nodes + 1], arg[:taken], datum[:nodes], numbers[:used])
    return n, unsure, spans[:nodes], table, *columns, places[:used]


@part
def _scan(
    raw: Bytes, spans: Ints, opcode: Ints, start: Ints, arg: Ints, lengths: Bytes, datum: Ints, numbers: Floats, places: Ints
) -> tuple[int, int, int]:
    """Fills the arrays; (number of nodes, or -1, of arguments, of numbers).

    An argument that is a name is left as its place in the text, with its length in `lengths`, which is 0 for a number.
    """
    nothing = (-1, 0, 0)
    n = taken = used = 0
    p = _skip(raw, 0)
    if not _is(raw, p, LIST):
        return nothing
    p = _skip(raw, p + 1)
    while True:
        if not _is(raw, p, OBJECT):
            return nothing
        p = _skip(raw, p + 1)
        seen = 0
        op = np.int64(-1)
        datum[n] = -1
        start[n] = taken
        while True:
            if not _is(raw, p, QUOTE):
                return nothing
            end = _string(raw, p + 1)
            if end < 0:
                return nothing
            key = _key(raw, p + 1, end - p - 1)
            if key == 0 or seen & key:
                return nothing
            seen |= key
            p = _skip(raw, end + 1)
            if not _is(raw, p, COLON):
                return nothing
            p = _skip(raw, p + 1)
            if key == ID or key == OP or (key == LABEL and _is(raw, p, QUOTE)):
                end = _string(raw, p + 1) if _is(raw, p, QUOTE) else -1
                if end < 0:
                    return nothing
                if key == ID:
                    if not 1 <= end - p - 1 <= ID_LIMIT:
                        return nothing
                    spans[n, 0], spans[n, 1] = p + 1, end
                elif key == OP:
                    op = _opcode(raw, p + 1, end)
                p = end + 1
            elif key != ARGS and _is_null(raw, p):
                p += 4
            elif key == DATA:
                begin = p
                p, number = _number(raw, p)
                if p < 0:
                    return nothing
                numbers[used], datum[n] = number, used
                places[used, 0], places[used, 1] = begin, p
                used += 1
            elif key == ARGS and _is(raw, p, LIST):
                p = _skip(raw, p + 1)
                while not _is(raw, p, END_LIST):
                    if taken > start[n]:
                        if not _is(raw, p, COMMA):
                            return nothing
                        p = _skip(raw, p + 1)
                    if _is(raw, p, QUOTE):
                        end = _string(raw, p + 1)
                        if not 1 <= end - p - 1 <= ID_LIMIT:
                            return nothing
                        arg[taken], lengths[taken] = p + 1, end - p - 1
                        p = end + 1
                    else:
                        begin = p
                        p, number = _number(raw, p)
                        if p < 0:
                            return nothing
                        arg[taken], lengths[taken] = -1 - used, 0
                        numbers[used] = number
                        places[used, 0], places[used, 1] = begin, p
                        used += 1
                    taken += 1
                    p = _skip(raw, p)
                p += 1
            else:
                return nothing
            p = _skip(raw, p)
            if _is(raw, p, COMMA):
                p = _skip(raw, p + 1)
            elif _is(raw, p, END_OBJECT):
                break
            else:
                return nothing
        arity = taken - start[n]
        if op < 0 or not seen & ID or not MIN_ARITY[op] <= arity <= MAX_ARITY[op] or (datum[n] >= 0 and op != LEAF_CODE):
            return nothing
        opcode[n] = op
        n += 1
        p = _skip(raw, p + 1)
        if _is(raw, p, COMMA):
            p = _skip(raw, p + 1)
        elif _is(raw, p, END_LIST):
            break
        else:
            return nothing
    if _skip(raw, p + 1) != len(raw):
        return nothing
    start[n] = taken
    return n, taken, used


@part
def _link(raw: Bytes, spans: Ints, table: Ints, arg: Ints, lengths: Bytes) -> bool:
    """Fills the hash table, and makes positions of the names among the arguments. False where an id stands twice or is none."""
    last_place = len(table) - 1
    patience = 64 * (len(spans) + len(arg))  # ids made to collide are left to a dict
    for k in range(len(spans)):
        first, length = spans[k, 0], spans[k, 1] - spans[k, 0]
        place = _hash(raw, first, first + length) & last_place
        while table[place] >= 0:
            other = table[place]
            if spans[other, 1] - spans[other, 0] == length and _same(raw, first, raw, spans[other, 0], length):
                return False
            place = (place + 1) & last_place
            patience -= 1
            if patience < 0:
                return False
        table[place] = k
    for k in range(len(arg)):
        length = lengths[k]
        if length == 0:
            continue
        first = arg[k]
        place = _hash(raw, first, first + length) & last_place
        while True:
            other = table[place]
            if other < 0:
                return False
            if spans[other, 1] - spans[other, 0] == length and _same(raw, first, raw, spans[other, 0], length):
                break
            place = (place + 1) & last_place
            patience -= 1
            if patience < 0:
                return False
        arg[k] = other
    return True


@partial(jit, counts=False)
def _find(raw: Bytes, spans: Ints, table: Ints, name: Bytes) -> int:
    """The position of the node with this id, or -1."""
    place = _hash(name, 0, len(name)) & (len(table) - 1)
    while table[place] >= 0:
        first, last = spans[table[place], 0], spans[table[place], 1]
        if last - first == len(name) and _same(raw, first, name, 0, len(name)):
            return int(table[place])
        place = (place + 1) & (len(table) - 1)
    return -1


@jit
def _joined(raw: Bytes, spans: Ints) -> Bytes:
    """All ids, with a line break between two."""
    size = -1
    for k in range(len(spans)):
        size += spans[k, 1] - spans[k, 0] + 1
    joined = np.empty(size, np.uint8)
    at = 0
    for k in range(len(spans)):
        if k:
            joined[at] = 0x0A
            at += 1
        for place in range(spans[k, 0], spans[k, 1]):
            joined[at] = raw[place]
            at += 1
    return joined
