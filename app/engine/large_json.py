"""Large JSON values, decoded piece by piece.

A JSON library holds the GIL until it has made Python objects of a whole text, and these take many times the text's size in
memory. `decode` therefore leaves the large lists, objects and strings of a large text as they are, each with a method to decode
it in pieces. Whoever needs a value can stop at the first piece that is wrong, and what nobody needs is never decoded.
"""

import secrets
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import orjson

from app.engine.interruption import Checkpoint
from app.engine.jit import jit_without_refcounts
from app.engine.json_tokens import (
    BACKSLASH,
    CLOSE_LIST,
    CLOSE_OBJECT,
    COMMA,
    OPEN_LIST,
    OPEN_OBJECT,
    QUOTE,
    SPACE,
    Bytes,
    skip_space,
    string_end,
)
from app.engine.scanner import BulkValues, NodesText, scan

TOKEN = secrets.token_hex(16)
"""What stands in place of a value that has been taken out. It is new in each process, so no client can send it."""
TOKEN_BYTES = TOKEN.encode()


class Sizes(NamedTuple):
    """Numbers of bytes of text.

    Attributes:
        piece: what is decoded at once: some milliseconds. Texts up to this size are decoded as a whole.
        container: lists and objects in a large text that are longer are large.
        string: strings that are longer are large.
        key: keys that are longer are cut. No name that means anything is nearly as long.
        passed: what is passed over between two checks: some milliseconds.
    """

    piece: int
    container: int
    string: int
    key: int
    passed: int


SIZES = Sizes(piece=1 << 18, container=1 << 12, string=1 << 16, key=1 << 12, passed=1 << 22)

ENTRY, AFTER_KEY, AFTER_VALUE = 0, 1, 2
"""What comes next where `_walk` goes on."""
FULL, LAST, LONG_KEY, LARGE = 0, 1, 2, 3
"""Why `_walk` stops: the piece is full, the list or object ends, or something is not to be decoded."""

Bulk = BulkValues | tuple[()]
Text = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True, eq=False)
class LargeValue:
    """The text of a value within a text of which bulk has been taken out, and what is needed to decode it.

    Attributes:
        text: the value's text, which is JSON.
        bulk: the bulk values whose tokens may be in the text.
        check: is called before each piece.
    """

    text: memoryview
    bulk: Bulk
    check: Checkpoint


class LargeString(LargeValue):
    """A long string."""

    __slots__ = ()

    def characters(self) -> str:
        """The string."""
        raw = as_array(self.text)
        parts = []
        at = 1
        while at < len(raw) - 1:
            self.check()
            end = _string_part(raw, at, at + SIZES.piece)
            parts.append(orjson.loads(b'"%s"' % self.text[at:end]))
            at = end
        return "".join(parts)


class LargeList(LargeValue):
    """A list with a long text."""

    __slots__ = ()

    def pieces(self) -> Iterator[list[Any]]:
        """The entries in order, in lists."""
        return _pieces(self, b"[", b"]")

    def first(self, count: int) -> list[Any]:
        """The first entries, up to `count`."""
        found: list[Any] = []
        for piece in self.pieces():
            found += piece
            if len(found) >= count:
                return found[:count]
        return found


class LargeObject(LargeValue):
    """An object with a long text."""

    __slots__ = ()

    def pieces(self) -> Iterator[dict[str, Any]]:
        """The entries in order, in dicts. A name may come again in another piece, and the last one counts."""
        return _pieces(self, b"{", b"}")

    def entries(self) -> dict[str, Any]:
        """All entries."""
        found: dict[str, Any] = {}
        for piece in self.pieces():
            found |= piece
        return found

    def fields(self, names: Container[str], others: int) -> dict[str, Any]:
        """The entries with these names, and the first others, up to so many."""
        found: dict[str, Any] = {}
        for piece in self.pieces():
            for name, value in piece.items():
                known = name in names
                if known or others > 0 or name in found:
                    others -= not known and name not in found
                    found[name] = value
        return found


def decode(text: Text, bulk: Bulk, check: Checkpoint) -> Any:
    """The value of a JSON text. If the text is large, the value may be a LargeValue, as may the values within.

    The token `"<TOKEN><k>"` stands for `bulk[k]`. A large text must be JSON, as `scan` says. Raises orjson.JSONDecodeError.
    """
    if len(text) > SIZES.piece:
        raw = as_array(text)
        begin = _past_space(raw, 0)
        value = _large_value(memoryview(text)[begin : _end(raw, begin, check)], bulk, check)
        if value is not None:
            return value
    return _loads(text, bulk, [])


def whole(value: Any) -> Any:
    """A value with all that is large in it, except for bulk."""
    if isinstance(value, LargeString):
        return value.characters()
    if isinstance(value, LargeList):
        return [whole(entry) for piece in value.pieces() for entry in piece]
    if isinstance(value, LargeObject):
        return {name: whole(entry) for name, entry in value.entries().items()}
    return value


def opened(nodes: NodesText) -> Any:
    """The value of a list that is called nodes, and is not the nodes of a graph."""
    found = scan(nodes.text, TOKEN, nodes.check)
    assert found is not None, "it has been scanned before"
    return decode(found.skeleton, found.bulk, nodes.check)


def _large_value(text: memoryview, bulk: Bulk, check: Checkpoint) -> LargeValue | None:
    """The value that a text stands for, or None if it is a number or a literal."""
    kind = LARGE_KINDS.get(text[0])
    return None if kind is None else kind(text, bulk, check)


LARGE_KINDS: dict[int, type[LargeValue]] = {OPEN_LIST: LargeList, OPEN_OBJECT: LargeObject, QUOTE: LargeString}


def _pieces(value: LargeValue, opening: bytes, closing: bytes) -> Iterator[Any]:
    """The entries of a list or of an object, decoded together while their text is short."""
    text, raw = value.text, as_array(value.text)
    at = _past_space(raw, 1)
    expected, why = ENTRY, FULL
    while why != LAST:
        value.check()
        piece = bytearray(opening)
        children: list[LargeValue] = []
        begin, room, why = at, SIZES.piece, LARGE
        while why not in (FULL, LAST):
            why, at = _walk(raw, at, room, opening == b"{", expected, SIZES)
            piece += text[begin:at]
            room = SIZES.piece - len(piece)
            expected = ENTRY
            if why == LARGE:
                value.check()
                begin, at = at, _end(raw, at, value.check)
                child = _large_value(text[begin:at], value.bulk, value.check)
                assert child is not None
                children.append(child)
                piece += b'"%s%d"' % (TOKEN_BYTES, -len(children))
                expected = AFTER_VALUE
            elif why == LONG_KEY:
                at = _end(raw, at, value.check, within_string=True)
                piece += b'"'
                expected = AFTER_KEY
            begin = at
        piece += closing
        yield _loads(piece, value.bulk, children)
        at = _past_space(raw, at + 1)  # behind the comma


def _end(raw: Bytes, at: int, check: Checkpoint, within_string: bool = False) -> int:
    """The position behind the list, object or string at `at`, or of the string that `at` is within."""
    depth = 0
    while True:
        at, depth, within_string = _pass_over(raw, at, at + SIZES.passed, depth, within_string)
        if depth == 0 and not within_string:
            return at
        check()


def _loads(text: Text, bulk: Bulk, children: Sequence[LargeValue]) -> Any:
    """The value of a short text, with what the tokens in it stand for: bulk values and, by numbers below 0, `children`."""
    tree = orjson.loads(text)
    if not children and not (bulk and TOKEN_BYTES in bytes(text)):
        return tree
    length = len(TOKEN)

    def resolved(token: str) -> Any:
        k = int(token[length:])
        return bulk[k] if k >= 0 else children[-1 - k]

    if isinstance(tree, str) and tree.startswith(TOKEN):
        return resolved(tree)
    stack = [tree]
    while stack:
        item = stack.pop()
        for key, value in item.items() if isinstance(item, dict) else enumerate(item) if isinstance(item, list) else ():
            if type(value) is str:
                if value.startswith(TOKEN):
                    item[key] = resolved(value)
            elif type(value) is dict or type(value) is list:
                stack.append(value)
    return tree


def as_array(text: Text) -> Bytes:
    """The bytes of a text, read-only, as the kernels are compiled for."""
    raw = np.frombuffer(text, np.uint8)
    raw.flags.writeable = False
    return raw


# --- compiled, for texts that are JSON


@jit_without_refcounts
def _pass_over(raw: Bytes, p: int, stop: int, depth: int, within_string: bool) -> tuple[int, int, bool]:
    """Pass over a value of which `depth` brackets are open, up to its end or to `stop`.

    Returns the position, at which the value ends if there is neither an open bracket nor an open string, and these two.
    """
    while p < stop:
        c = raw[p]
        if within_string:
            within_string = c != QUOTE
            p += 1 if c == BACKSLASH else 0
        elif c == QUOTE:
            within_string = True
        elif c == OPEN_LIST or c == OPEN_OBJECT:
            depth += 1
        elif c == CLOSE_LIST or c == CLOSE_OBJECT:
            depth -= 1
        elif depth == 0:  # a number or a literal
            while p < len(raw) and raw[p] > SPACE and raw[p] != COMMA and raw[p] != CLOSE_LIST and raw[p] != CLOSE_OBJECT:
                p += 1
            break
        p += 1
        if depth == 0 and not within_string:
            break
    return p, depth, within_string


@jit_without_refcounts
def _past_space(raw: Bytes, p: int) -> int:
    """Return the first position from `p` on at which there is no space."""
    return skip_space(raw, p)


@jit_without_refcounts
def _string_part(raw: Bytes, p: int, stop: int) -> int:
    """Return the first position from `stop` on at which a string can be cut, or that of its closing quote."""
    return string_end(raw, p, stop)


@jit_without_refcounts
def _walk(raw: Bytes, p: int, room: int, named: bool, expected: int, sizes: Sizes) -> tuple[int, int]:
    """Walk over the entries of a list or, if they are `named`, of an object, until `room` bytes are passed.

    Returns why the walk stops, and where: at the comma before the next entry, at the closing bracket, at a large value, or in
    the middle of a long key.
    """
    stop = p + room
    if expected == ENTRY and (raw[p] == CLOSE_LIST or raw[p] == CLOSE_OBJECT):
        return LAST, p
    while True:
        if expected == ENTRY and named:
            p = string_end(raw, p + 1, p + sizes.key)
            if raw[p] != QUOTE:
                return LONG_KEY, p
            p += 1
        if expected != AFTER_VALUE:
            if named:
                p = skip_space(raw, skip_space(raw, p) + 1)
            limit = p + (sizes.string if raw[p] == QUOTE else sizes.container)
            end, depth, within_string = _pass_over(raw, p, limit, 0, False)
            if depth > 0 or within_string:
                return LARGE, p
            p = end
        p = skip_space(raw, p)
        if raw[p] != COMMA:
            return LAST, p
        if p >= stop:
            return FULL, p
        p = skip_space(raw, p + 1)
        expected = ENTRY
