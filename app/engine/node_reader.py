"""Read the nodes of a graph from JSON straight into arrays, in compiled code and without the GIL.

A large graph thus blocks no other request, and a hundred thousand nodes take a few milliseconds. Only valid nodes are read, and
only names without escapes but those of quotes and backslashes; `unescape` rewrites the others. `node_table` wraps the arrays.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from app.engine.graph import CODES, ID_LIMIT, MAX_ARITY, MIN_ARITY
from app.engine.interruption import Checkpoint, never
from app.engine.jit import inline_without_refcounts, jit, jit_without_refcounts
from app.engine.json_tokens import (
    BACKSLASH,
    CLOSE_LIST,
    CLOSE_OBJECT,
    COLON,
    COMMA,
    NULL,
    OPEN_LIST,
    OPEN_OBJECT,
    QUOTE,
    SPACE,
    Bytes,
    character_end,
    code_unit,
    is_byte,
    read_number,
    skip_space,
    string_end,
    word_end,
)
from app.engine.primitives import LEAF_CODE
from app.engine.tape import Floats, Ints

Lengths = npt.NDArray[np.uint16]
Longs = npt.NDArray[np.int64]

ID, OP_NAME, ARGS, DATA, LABEL = 1, 2, 4, 8, 16
"""The fields of a node, as bits of a set."""
SHORTEST_NODE, SHORTEST_ARGUMENT, SHORTEST_UNDECIDED = len('{"id":"","op":""},'), len("0,"), 20
"""The fewest bytes of text that each takes up, which bounds how many there can be."""
DELETE, SLASH = 0x7F, 0x2F


class NodeArrays(NamedTuple):
    """What a text of nodes comes to, or `size` -1.

    `end` is the position behind the list. `spans` are the first and last position of each id's text. `table` is a hash table of
    ids: positions of nodes, or -1.
    Rows of `undecided` are a position in `numbers`, and where in the text the number begins and ends, for numbers that
    compiled code cannot round. The others are as in `graph.NodeTable`.
    """

    size: int
    end: int
    spans: Ints
    table: Ints
    opcode: Ints
    start: Ints
    arg: Ints
    datum: Ints
    numbers: Floats
    undecided: Ints


def _words(name: str) -> tuple[int, int]:
    """Return a name of up to 16 bytes as two integers."""
    padded = name.encode().ljust(16, b"\0")
    return int.from_bytes(padded[:8], "little"), int.from_bytes(padded[8:], "little")


def _primitives() -> tuple[npt.NDArray[np.uint64], Ints]:
    """Return a hash table of the names of all operations, each as two integers, and their codes; -1 marks a free place."""
    words, codes = np.zeros((256, 2), np.uint64), np.full(256, -1, np.int32)
    for name, code in CODES.items():
        low, high = _words(name)
        place = ((low ^ high) * 0x9E3779B97F4A7C15 % 2**64) >> 56
        while codes[place] >= 0:
            place = (place + 1) % 256
        words[place], codes[place] = (low, high), code
    return words, codes


WORDS, WORD_CODES = _primitives()


class Space(NamedTuple):
    """Arrays with room for all that a text of nodes can come to. `lengths` are those of names among the arguments."""

    spans: Ints
    opcode: Ints
    start: Ints
    arg: Ints
    lengths: Lengths
    datum: Ints
    numbers: Floats
    undecided: Ints


BYTES_PER_CHECK = 1 << 21
"""How much text is read between two checks: some tens of milliseconds."""
NAMES_PER_CHECK = 1 << 17

FINISHED, PAUSED, REFUSED = 0, 1, 2
"""How a part of the reading ends."""
P, SIZE, TAKEN, USED, UNSURE, SEEN, OP = range(7)
STATE_FIELDS = 7
"""The state of the reading where it pauses; see `_read_part`."""


def read(raw: Bytes, check: Checkpoint = never) -> NodeArrays:
    """Read a text that is a list of nodes. `check` is called every few milliseconds."""
    found = read_first(raw, check)
    is_whole = found.size >= 0 and not raw[found.end :].tobytes().strip(b" \t\n\r")
    return found if is_whole else found._replace(size=-1)


def read_first(raw: Bytes, check: Checkpoint = never) -> NodeArrays:
    """Read the list of nodes with which a text begins, as `read` does."""
    if len(raw) <= BYTES_PER_CHECK:
        return _read_at_once(raw)
    space, state = _space(raw), np.zeros(STATE_FIELDS, np.int64)
    outcome = PAUSED
    while outcome == PAUSED:
        check()
        outcome = _read_part(raw, int(state[P]) + BYTES_PER_CHECK, space, state)
    found = _taken(space, state, _table(state[SIZE]) if outcome == FINISHED else _table(0), outcome)
    for low in range(0, found.size, NAMES_PER_CHECK):
        check()
        if not _enter(raw, found.spans, found.table, low, min(low + NAMES_PER_CHECK, found.size)):
            return found._replace(size=-1)
    for low in range(0, len(found.arg), NAMES_PER_CHECK):
        check()
        if not _link(raw, found.spans, found.table, found.arg, space.lengths, low, min(low + NAMES_PER_CHECK, len(found.arg))):
            return found._replace(size=-1)
    return found


def decide(raw: Bytes, arrays: NodeArrays, check: Checkpoint = never) -> bool:
    """Round the undecided numbers; return whether all of them are finite."""
    for position, begin, end in arrays.undecided.tolist():
        check()
        arrays.numbers[position] = float(raw[begin:end].tobytes())
        if np.isinf(arrays.numbers[position]):
            return False
    return True


@jit
def _read_at_once(raw: Bytes) -> NodeArrays:
    """Read a short list of nodes."""
    space, state = _space(raw), np.zeros(STATE_FIELDS, np.int64)
    outcome = _read_part(raw, len(raw) + 1, space, state)
    found = _taken(space, state, _table(state[SIZE]) if outcome == FINISHED else _table(0), outcome)
    if outcome != FINISHED:
        return found
    if _enter(raw, found.spans, found.table, 0, found.size) and _link(
        raw, found.spans, found.table, found.arg, space.lengths, 0, len(found.arg)
    ):
        return found
    return _taken(space, state, found.table, REFUSED)


@jit
def _space(raw: Bytes) -> Space:
    """Return the arrays, of which memory that is not written to is never allocated."""
    max_nodes, max_args = len(raw) // SHORTEST_NODE + 1, len(raw) // SHORTEST_ARGUMENT + 1
    return Space(
        np.empty((max_nodes, 2), np.int32),
        np.empty(max_nodes, np.int32),
        np.empty(max_nodes + 1, np.int32),
        np.empty(max_args, np.int32),
        np.empty(max_args, np.uint16),
        np.empty(max_nodes, np.int32),
        np.empty(max_args),
        np.empty((len(raw) // SHORTEST_UNDECIDED + 1, 3), np.int32),
    )


@jit
def _table(size: int) -> Ints:
    """Return an empty hash table for so many ids."""
    places = 16
    while places < 2 * size:
        places *= 2
    return np.full(places, -1, np.int32)


@jit
def _taken(space: Space, state: Longs, table: Ints, outcome: int) -> NodeArrays:
    """Return the parts of the arrays that have been filled."""
    size, taken = (state[SIZE], state[TAKEN]) if outcome == FINISHED else (0, 0)
    return NodeArrays(
        size if outcome == FINISHED else -1,
        state[P],
        space.spans[:size],
        table,
        space.opcode[:size],
        space.start[: size + 1],
        space.arg[:taken],
        space.datum[:size],
        space.numbers[: state[USED]],
        space.undecided[: state[UNSURE]],
    )


def unescape(raw: Bytes, check: Checkpoint = never) -> Bytes:
    """Return a JSON text with characters in place of escapes, but those of quotes, backslashes and control characters.

    Names that need no other escape are then equal if their bytes are.
    """
    out = np.empty(len(raw), np.uint8)
    p = q = 0
    while p < len(raw):
        check()
        p, q = _unescape_part(raw, p, p + BYTES_PER_CHECK, out, q)
    out.flags.writeable = False  # as the kernels are compiled for
    return out[:q]


@jit_without_refcounts
def _unescape_part(raw: Bytes, p: int, stop: int, out: Bytes, q: int) -> tuple[int, int]:
    """Write the text from p to `stop`, or a little further, to q. Return both positions behind it."""
    while p < len(raw) and p < stop:
        size = 1
        code = -1
        if raw[p] == BACKSLASH and p + 1 < len(raw):
            size = 2
            unit = code_unit(raw, p)
            if unit >= 0:
                size, code = 6, unit
                second = code_unit(raw, p + 6)
                if 0xD800 <= unit <= 0xDBFF and 0xDC00 <= second <= 0xDFFF:
                    size, code = 12, 0x10000 + ((unit - 0xD800) << 10) + (second - 0xDC00)
            elif raw[p + 1] == SLASH:
                code = SLASH
        if code == QUOTE or code == BACKSLASH:
            out[q], out[q + 1] = BACKSLASH, code
            q += 2
        elif code >= SPACE and not DELETE <= code < 0xA0:
            q = _write_character(code, out, q)
        else:
            for k in range(size):
                out[q + k] = raw[p + k]
            q += size
        p += size
    return p, q


@inline_without_refcounts
def _write_character(code: int, out: Bytes, q: int) -> int:
    """Write a character in UTF-8 to q, and return the position behind it."""
    if code < 0x80:
        out[q] = code
        return q + 1
    more = 1 if code < 0x800 else 2 if code < 0x10000 else 3
    out[q] = (0xC0, 0xE0, 0xF0)[more - 1] | code >> 6 * more
    for k in range(1, more + 1):
        out[q + k] = 0x80 | (code >> 6 * (more - k) & 0x3F)
    return q + more + 1


@jit_without_refcounts
def find(raw: Bytes, spans: Ints, table: Ints, name: Bytes) -> int:
    """Return the position of the node with this id, or -1."""
    place = _hash(name, 0, len(name)) & (len(table) - 1)
    while table[place] >= 0:
        first, last = spans[table[place], 0], spans[table[place], 1]
        if last - first == len(name) and _same(raw, first, name, 0, len(name)):
            return int(table[place])
        place = (place + 1) & (len(table) - 1)
    return -1


@jit
def join_ids(raw: Bytes, spans: Ints) -> Bytes:
    """Return the text of all ids, with a line break between each two."""
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


@inline_without_refcounts
def _plain_end(raw: Bytes, p: int) -> tuple[int, int]:
    """Return the position behind a string's last character, from that of its first, and its number of characters.

    The position is -1 if the string holds a control character, or an escape but those of quotes and backslashes.
    """
    first = p
    more = 0  # bytes of characters beyond the first of each
    while p < len(raw):
        c = raw[p]
        if c == QUOTE:
            return p, p - first - more
        if c < SPACE or c == DELETE:
            return -1, 0
        if c == BACKSLASH:
            if not (is_byte(raw, p + 1, QUOTE) or is_byte(raw, p + 1, BACKSLASH)):
                return -1, 0
            more += 1
            p += 1
        if c > DELETE:
            end = character_end(raw, p)
            if end < 0 or (c == 0xC2 and raw[p + 1] < 0xA0):  # U+0080 to U+009F are control characters
                return -1, 0
            more += end - p - 1
            p = end - 1
        p += 1
    return -1, 0


@inline_without_refcounts
def _hash(raw: Bytes, first: int, last: int) -> np.int64:
    """Return the FNV-1a hash of a part of the text, folded to 31 bits."""
    h = np.uint64(0xCBF29CE484222325)
    for k in range(first, last):
        h = (h ^ np.uint64(raw[k])) * np.uint64(0x100000001B3)
    return np.int64((h ^ (h >> np.uint64(32))) & np.uint64(0x7FFFFFFF))


@inline_without_refcounts
def _same(raw: Bytes, p: int, other: Bytes, q: int, length: int) -> bool:
    """Return whether `length` bytes are equal."""
    for k in range(length):
        if raw[p + k] != other[q + k]:
            return False
    return True


@inline_without_refcounts
def _opcode(raw: Bytes, first: int, last: int) -> np.int64:
    """Return the code of an operation by its name, or -1."""
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


@inline_without_refcounts
def _key(raw: Bytes, p: int, length: int) -> int:
    """Return which field of a node this name is, or 0."""
    if length == 2 and raw[p] == 0x69 and raw[p + 1] == 0x64:
        return ID
    if length == 2 and raw[p] == 0x6F and raw[p + 1] == 0x70:
        return OP_NAME
    if length == 4 and raw[p] == 0x61 and raw[p + 1] == 0x72 and raw[p + 2] == 0x67 and raw[p + 3] == 0x73:
        return ARGS
    if length == 4 and raw[p] == 0x64 and raw[p + 1] == 0x61 and raw[p + 2] == 0x74 and raw[p + 3] == 0x61:
        return DATA
    if length == 5 and raw[p] == 0x6C and raw[p + 1] == 0x61 and raw[p + 2] == 0x62 and raw[p + 3] == 0x65:
        return LABEL if raw[p + 4] == 0x6C else 0
    return 0


@jit_without_refcounts
def _read_part(raw: Bytes, stop: int, space: Space, state: Longs) -> int:
    """Fill the arrays, up to the first node or argument from `stop` on. Return FINISHED, PAUSED or REFUSED.

    An argument that is a name is left as its position in the text, with its length in `lengths`; for a number that is 0.

    `n`, `taken`, `used` and `unsure` are how many nodes, arguments, numbers and undecided numbers there are. Where the reading
    pauses between nodes, `seen` is 0; else it pauses within the arguments of node n, of which it has seen these fields.
    """
    spans, opcode, start, arg, lengths, datum, numbers, undecided = space
    p, n, taken, used, unsure, seen, op = (
        state[P],
        state[SIZE],
        state[TAKEN],
        state[USED],
        state[UNSURE],
        state[SEEN],
        state[OP],
    )
    if p == 0:
        p = skip_space(raw, 0)
        if len(raw) >= 2**31 or not is_byte(raw, p, OPEN_LIST):
            return REFUSED
        p = skip_space(raw, p + 1)
    outcome = PAUSED
    while p < stop:
        in_arguments = seen != 0
        if not in_arguments:
            if not is_byte(raw, p, OPEN_OBJECT):
                return REFUSED
            p = skip_space(raw, p + 1)
            op = -1
            datum[n] = -1
            start[n] = taken
        while True:
            key = ARGS
            if not in_arguments:
                if not is_byte(raw, p, QUOTE):
                    return REFUSED
                end, _ = _plain_end(raw, p + 1)
                if end < 0:
                    return REFUSED
                key = _key(raw, p + 1, end - p - 1)
                if key == 0 or seen & key:
                    return REFUSED
                seen |= key
                p = skip_space(raw, end + 1)
                if not is_byte(raw, p, COLON):
                    return REFUSED
                p = skip_space(raw, p + 1)
            if key == ID or key == OP_NAME:
                if not is_byte(raw, p, QUOTE):
                    return REFUSED
                end, characters = _plain_end(raw, p + 1)
                if end < 0:
                    return REFUSED
                if key == OP_NAME:
                    op = _opcode(raw, p + 1, end)
                elif 1 <= characters <= ID_LIMIT:
                    spans[n, 0], spans[n, 1] = p + 1, end
                else:
                    return REFUSED
                p = end + 1
            elif key == LABEL and is_byte(raw, p, QUOTE):
                p = string_end(raw, p + 1, len(raw)) + 1
                if p == 0:
                    return REFUSED
            elif key != ARGS and word_end(raw, p, NULL) > 0:
                p += 4
            elif key == DATA:
                begin = p
                p, number = read_number(raw, p)
                if p < 0 or np.isinf(number):
                    return REFUSED
                if np.isnan(number):
                    undecided[unsure, 0], undecided[unsure, 1], undecided[unsure, 2] = used, begin, p
                    unsure += 1
                numbers[used], datum[n] = number, used
                used += 1
            elif key == ARGS and (in_arguments or is_byte(raw, p, OPEN_LIST)):
                if not in_arguments:
                    p = skip_space(raw, p + 1)
                in_arguments = True
                while p < stop and not is_byte(raw, p, CLOSE_LIST):
                    if taken > start[n]:
                        if not is_byte(raw, p, COMMA):
                            return REFUSED
                        p = skip_space(raw, p + 1)
                    if is_byte(raw, p, QUOTE):
                        end, characters = _plain_end(raw, p + 1)
                        if end < 0 or not 1 <= characters <= ID_LIMIT:
                            return REFUSED
                        arg[taken], lengths[taken] = p + 1, end - p - 1
                        p = end + 1
                    else:
                        begin = p
                        p, number = read_number(raw, p)
                        if p < 0 or np.isinf(number):
                            return REFUSED
                        if np.isnan(number):
                            undecided[unsure, 0], undecided[unsure, 1], undecided[unsure, 2] = used, begin, p
                            unsure += 1
                        arg[taken], lengths[taken] = -1 - used, 0
                        numbers[used] = number
                        used += 1
                    taken += 1
                    p = skip_space(raw, p)
                if p >= stop:
                    break
                in_arguments = False
                p += 1
            else:
                return REFUSED
            p = skip_space(raw, p)
            if is_byte(raw, p, COMMA):
                p = skip_space(raw, p + 1)
            elif is_byte(raw, p, CLOSE_OBJECT):
                break
            else:
                return REFUSED
        if in_arguments:
            break
        arity = taken - start[n]
        if op < 0 or not seen & ID or not MIN_ARITY[op] <= arity <= MAX_ARITY[op] or (datum[n] >= 0 and op != LEAF_CODE):
            return REFUSED
        opcode[n] = op
        n += 1
        seen = 0
        p = skip_space(raw, p + 1)
        if is_byte(raw, p, COMMA):
            p = skip_space(raw, p + 1)
        elif is_byte(raw, p, CLOSE_LIST):
            p += 1
            start[n] = taken
            outcome = FINISHED
            break
        else:
            return REFUSED
    state[P], state[SIZE], state[TAKEN], state[USED], state[UNSURE], state[SEEN], state[OP] = (
        p,
        n,
        taken,
        used,
        unsure,
        seen,
        op,
    )
    return outcome


@jit_without_refcounts
def _enter(raw: Bytes, spans: Ints, table: Ints, low: int, high: int) -> bool:
    """Enter the ids of a range of nodes in the hash table. Return False if two nodes share an id."""
    last_place = len(table) - 1
    patience = 64 * (high - low)  # ids that were made to collide are left to a dict
    for k in range(low, high):
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
    return True


@jit_without_refcounts
def _link(raw: Bytes, spans: Ints, table: Ints, arg: Ints, lengths: Lengths, low: int, high: int) -> bool:
    """Replace the names in a range of the arguments by positions. Return False if one names no node."""
    last_place = len(table) - 1
    patience = 64 * (high - low)
    for k in range(low, high):
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
