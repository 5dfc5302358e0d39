"""Read the nodes of a graph from JSON straight into arrays, in compiled code and without the GIL.

A large graph thus blocks no other request, and a hundred thousand nodes take a few milliseconds. Only plain lists of nodes
are read: valid nodes whose ids need no escapes. `node_table` wraps the arrays.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from app.engine.graph import CODES, ID_LIMIT, MAX_ARITY, MIN_ARITY
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
    is_byte,
    read_number,
    skip_space,
    word_end,
)
from app.engine.primitives import LEAF_CODE
from app.engine.tape import Floats, Ints

Lengths = npt.NDArray[np.uint16]

ID, OP, ARGS, DATA, LABEL = 1, 2, 4, 8, 16
"""The fields of a node, as bits of a set."""
SHORTEST_NODE, SHORTEST_ARGUMENT, SHORTEST_UNDECIDED = len('{"id":"","op":""},'), len("0,"), 20
"""The fewest bytes of text that each takes up, which bounds how many there can be."""
DELETE = 0x7F


class NodeArrays(NamedTuple):
    """What a text of nodes comes to, or `size` -1.

    `spans` are the first and last position of each id's text. `table` is a hash table of ids: positions of nodes, or -1.
    Rows of `undecided` are a position in `numbers`, and where in the text the number begins and ends, for numbers that
    compiled code cannot round. The others are as in `graph.NodeTable`.
    """

    size: int
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


@jit
def read(raw: Bytes) -> NodeArrays:
    """Read a list of nodes."""
    max_nodes, max_args = len(raw) // SHORTEST_NODE + 1, len(raw) // SHORTEST_ARGUMENT + 1  # unused memory costs nothing
    spans = np.empty((max_nodes, 2), np.int32)
    opcode = np.empty(max_nodes, np.int32)
    start = np.empty(max_nodes + 1, np.int32)
    datum = np.empty(max_nodes, np.int32)
    arg = np.empty(max_args, np.int32)
    lengths = np.empty(max_args, np.uint16)
    numbers = np.empty(max_args)
    undecided = np.empty((len(raw) // SHORTEST_UNDECIDED + 1, 3), np.int32)
    n, taken, used, unsure = -1, 0, 0, 0
    if len(raw) < 2**31:
        n, taken, used, unsure = _read_nodes(raw, spans, opcode, start, arg, lengths, datum, numbers, undecided)
    size = 16
    while size < 2 * n:
        size *= 2
    table = np.full(size, -1, np.int32)
    if n >= 0 and not _link(raw, spans[:n], table, arg[:taken], lengths):
        n = -1
    k = max(n, 0)
    return NodeArrays(
        n, spans[:k], table, opcode[:k], start[: k + 1], arg[:taken], datum[:k], numbers[:used], undecided[:unsure]
    )


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

    The position is -1 if the string holds an escape or a control character.
    """
    first = p
    more = 0  # bytes of characters beyond the first of each
    while p < len(raw):
        c = raw[p]
        if c == QUOTE:
            return p, p - first - more
        if c < SPACE or c == BACKSLASH or c == DELETE:
            return -1, 0
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
        return OP
    if length == 4 and raw[p] == 0x61 and raw[p + 1] == 0x72 and raw[p + 2] == 0x67 and raw[p + 3] == 0x73:
        return ARGS
    if length == 4 and raw[p] == 0x64 and raw[p + 1] == 0x61 and raw[p + 2] == 0x74 and raw[p + 3] == 0x61:
        return DATA
    if length == 5 and raw[p] == 0x6C and raw[p + 1] == 0x61 and raw[p + 2] == 0x62 and raw[p + 3] == 0x65:
        return LABEL if raw[p + 4] == 0x6C else 0
    return 0


@inline_without_refcounts
def _read_nodes(
    raw: Bytes,
    spans: Ints,
    opcode: Ints,
    start: Ints,
    arg: Ints,
    lengths: Lengths,
    datum: Ints,
    numbers: Floats,
    undecided: Ints,
) -> tuple[int, int, int, int]:
    """Fill the arrays; return how many nodes, or -1, arguments, numbers and undecided numbers there are.

    An argument that is a name is left as its position in the text, with its length in `lengths`; for a number that is 0.
    """
    nothing = (-1, 0, 0, 0)
    n = taken = used = unsure = 0
    p = skip_space(raw, 0)
    if not is_byte(raw, p, OPEN_LIST):
        return nothing
    p = skip_space(raw, p + 1)
    while True:
        if not is_byte(raw, p, OPEN_OBJECT):
            return nothing
        p = skip_space(raw, p + 1)
        seen = 0
        op = np.int64(-1)
        datum[n] = -1
        start[n] = taken
        while True:
            if not is_byte(raw, p, QUOTE):
                return nothing
            end, _ = _plain_end(raw, p + 1)
            if end < 0:
                return nothing
            key = _key(raw, p + 1, end - p - 1)
            if key == 0 or seen & key:
                return nothing
            seen |= key
            p = skip_space(raw, end + 1)
            if not is_byte(raw, p, COLON):
                return nothing
            p = skip_space(raw, p + 1)
            if key == ID or key == OP or (key == LABEL and is_byte(raw, p, QUOTE)):
                if not is_byte(raw, p, QUOTE):
                    return nothing
                end, characters = _plain_end(raw, p + 1)
                if end < 0:
                    return nothing
                if key == ID:
                    if not 1 <= characters <= ID_LIMIT:
                        return nothing
                    spans[n, 0], spans[n, 1] = p + 1, end
                elif key == OP:
                    op = _opcode(raw, p + 1, end)
                p = end + 1
            elif key != ARGS and word_end(raw, p, NULL) > 0:
                p += 4
            elif key == DATA:
                begin = p
                p, number = read_number(raw, p)
                if p < 0 or np.isinf(number):
                    return nothing
                if np.isnan(number):
                    undecided[unsure, 0], undecided[unsure, 1], undecided[unsure, 2] = used, begin, p
                    unsure += 1
                numbers[used], datum[n] = number, used
                used += 1
            elif key == ARGS and is_byte(raw, p, OPEN_LIST):
                p = skip_space(raw, p + 1)
                while not is_byte(raw, p, CLOSE_LIST):
                    if taken > start[n]:
                        if not is_byte(raw, p, COMMA):
                            return nothing
                        p = skip_space(raw, p + 1)
                    if is_byte(raw, p, QUOTE):
                        end, characters = _plain_end(raw, p + 1)
                        if end < 0 or not 1 <= characters <= ID_LIMIT:
                            return nothing
                        arg[taken], lengths[taken] = p + 1, end - p - 1
                        p = end + 1
                    else:
                        begin = p
                        p, number = read_number(raw, p)
                        if p < 0 or np.isinf(number):
                            return nothing
                        if np.isnan(number):
                            undecided[unsure, 0], undecided[unsure, 1], undecided[unsure, 2] = used, begin, p
                            unsure += 1
                        arg[taken], lengths[taken] = -1 - used, 0
                        numbers[used] = number
                        used += 1
                    taken += 1
                    p = skip_space(raw, p)
                p += 1
            else:
                return nothing
            p = skip_space(raw, p)
            if is_byte(raw, p, COMMA):
                p = skip_space(raw, p + 1)
            elif is_byte(raw, p, CLOSE_OBJECT):
                break
            else:
                return nothing
        arity = taken - start[n]
        if op < 0 or not seen & ID or not MIN_ARITY[op] <= arity <= MAX_ARITY[op] or (datum[n] >= 0 and op != LEAF_CODE):
            return nothing
        opcode[n] = op
        n += 1
        p = skip_space(raw, p + 1)
        if is_byte(raw, p, COMMA):
            p = skip_space(raw, p + 1)
        elif is_byte(raw, p, CLOSE_LIST):
            break
        else:
            return nothing
    if skip_space(raw, p + 1) != len(raw):
        return nothing
    start[n] = taken
    return n, taken, used, unsure


@inline_without_refcounts
def _link(raw: Bytes, spans: Ints, table: Ints, arg: Ints, lengths: Lengths) -> bool:
    """Fill the hash table, and replace the names among the arguments by positions.

    Returns False if two nodes share an id or an argument names no node.
    """
    last_place = len(table) - 1
    patience = 64 * (len(spans) + len(arg))  # ids that were made to collide are left to a dict
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
