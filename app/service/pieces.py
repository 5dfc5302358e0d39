"""Large responses, written as JSON and compressed piece by piece.

orjson holds the GIL until a value is written, and needs twice the room of what it writes. In pieces, other requests are
answered in between, and the work ends in time when its deadline passes or its client goes away.
"""

import zlib
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import orjson
from pydantic import BaseModel

from app.engine.base64_doubles import Part
from app.engine.gradients import Gradients
from app.service.bodies import COMPRESSION_LEVEL, GZIP_FORMAT, HasJSONForm, JSONRows, encode, in_base64, plain, written
from app.service.models import Arrays

PIECE_ENTRIES = 1 << 15
"""How many numbers are written at once: some milliseconds."""
CHARACTERS_PER_ENTRY = 32
"""A text counts as one entry for so many characters."""
ENTRIES_PER_ROW = 4

LEAST_BYTES = 1 << 16
"""Pieces below this size are put together, since each takes some microseconds to send."""

Piece = bytes | memoryview | Part
"""A piece of a response. The text of a part of an array is made when it is sent."""

SCALARS = {float, int, bool, type(None)}


class Writing(NamedTuple):
    """The further arguments of `pieces`."""

    check: Callable[[], None]
    arrays: Arrays = "list"


def pieces(answer: object, check: Callable[[], None], arrays: Arrays = "list") -> Iterator[bytes | memoryview]:
    """The bytes of `encode`, in pieces of some PIECE_ENTRIES numbers. `check` is called before each."""
    return map(written, unwritten(answer, check, arrays))


def unwritten(answer: object, check: Callable[[], None], arrays: Arrays = "list") -> Iterator[Piece]:
    """The same, with arrays in base64 as they are, to be written with `written`."""
    return _pieces(answer, Writing(check, arrays))


def _pieces(answer: object, writing: Writing) -> Iterator[Piece]:
    if _entries(answer) <= PIECE_ENTRIES:
        writing.check()
        yield encode(answer, writing.arrays)
    elif isinstance(answer, BaseModel | HasJSONForm):
        yield from _pieces(plain(answer), writing)
    elif isinstance(answer, Mapping):
        yield from _joined(b"{", _pieces_of_dict(answer, writing), b"}")
    elif isinstance(answer, np.ndarray) and writing.arrays == "base64" and answer.dtype == np.float64:
        for piece in in_base64(answer):
            writing.check()
            yield piece
    elif isinstance(answer, np.ndarray):
        rows = PIECE_ENTRIES * len(answer) // _entries(answer)
        if rows:
            parts = (answer[low : low + rows] for low in range(0, len(answer), rows))
            yield from _joined(b"[", ((_inner(part, writing),) for part in parts), b"]")
        else:
            yield from _joined(b"[", (_pieces(row, writing) for row in answer), b"]")
    elif isinstance(answer, JSONRows):
        ranges = range(0, len(answer), PIECE_ENTRIES // ENTRIES_PER_ROW)
        parts_of_rows = (answer.json_rows(low, min(low + ranges.step, len(answer))) for low in ranges)
        yield from _joined(b"[", ((_inner(part, writing),) for part in parts_of_rows), b"]")
    elif isinstance(answer, list | tuple):
        yield from _joined(b"[", _pieces_of_list(answer, writing), b"]")
    else:
        writing.check()
        yield encode(answer, writing.arrays)


def _pieces_of_dict(table: Mapping[str, Any], writing: Writing) -> Iterator[Iterable[Piece]]:
    """The items of a mapping: small ones together, each of the others by itself."""
    if isinstance(table, Gradients) and table.are_numbers:
        yield from ((_inner(part, writing),) for part in table.parts(PIECE_ENTRIES))
        return
    for group in _groups(table.items(), lambda item: _entries(item[1])):
        if len(group) == 1 and _entries(group[0][1]) > PIECE_ENTRIES:
            key, value = group[0]
            yield _with_key(orjson.dumps(key), _pieces(value, writing))
        else:
            yield (_inner(dict(group), writing),)


def _with_key(key: bytes, value: Iterator[Piece]) -> Iterator[Piece]:
    yield key + b":"
    yield from value


def _pieces_of_list(entries: "list[Any] | tuple[Any, ...]", writing: Writing) -> Iterator[Iterable[Piece]]:
    """The entries of a list: small ones together, each of the others by itself."""
    for group in _groups(entries, _entries):
        if len(group) == 1 and _entries(group[0]) > PIECE_ENTRIES:
            yield _pieces(group[0], writing)
        else:
            yield (_inner(group, writing),)


def _groups(items: Iterable[Any], size_of: Callable[[Any], int]) -> Iterator[list[Any]]:
    """Split items into groups of up to PIECE_ENTRIES entries; an item with more is alone."""
    group: list[Any] = []
    room = PIECE_ENTRIES
    for item in items:
        size = size_of(item)
        if group and size > room:
            yield group
            group, room = [], PIECE_ENTRIES
        group.append(item)
        room -= size
    if group:
        yield group


def _inner(value: Any, writing: Writing) -> bytes:
    """A dict or list as JSON without its brackets."""
    writing.check()
    return encode(value, writing.arrays)[1:-1]


def _joined(opening: bytes, parts: Iterable[Iterable[Piece]], closing: bytes) -> Iterator[Piece]:
    """Parts, each of one or more pieces, with commas between them."""
    before = opening
    for part in parts:
        for piece in part:
            if isinstance(piece, Part):
                yield from (before, piece) if before else (piece,)
            else:
                yield before + piece
            before = b""
        before = b","
    yield closing


def _entries(value: Any) -> int:
    """How many entries a value has, counted no further than a little above PIECE_ENTRIES."""
    if type(value) in SCALARS:
        return 1
    if isinstance(value, np.ndarray):  # orjson makes an object for each list of an array of more dimensions
        return value.size if value.ndim <= 2 else value.size * value.ndim
    if isinstance(value, str):
        return 1 + len(value) // CHARACTERS_PER_ENTRY
    if isinstance(value, dict):
        return _sum_of_entries(value.values(), len(value))
    if isinstance(value, list | tuple):
        return _sum_of_entries(value, len(value))
    if isinstance(value, BaseModel):
        return _sum_of_entries(value.__dict__.values())
    if isinstance(value, Mapping):  # a table of the engine, whose entries are alike
        return len(value) * (_entries(value[next(iter(value))]) if value else 1)
    if isinstance(value, JSONRows):
        return ENTRIES_PER_ROW * len(value)
    return PIECE_ENTRIES + 1 if isinstance(value, HasJSONForm) else 1


def _sum_of_entries(values: Iterable[Any], least: int = 0) -> int:
    if least > PIECE_ENTRIES or SCALARS.issuperset(map(type, values)):
        return least
    total = least
    for value in values:
        total += _entries(value)
        if total > PIECE_ENTRIES:
            break
    return total


def grouped(content: Iterable[bytes | memoryview]) -> Iterator[bytes | memoryview]:
    """The same content, with short pieces put together."""
    group: list[bytes | memoryview] = []
    size = 0
    for piece in content:
        if len(piece) < LEAST_BYTES:
            group.append(piece)
            size += len(piece)
            if size < LEAST_BYTES:
                continue
            piece = b""
        if size:
            yield b"".join(group)
            group, size = [], 0
        if piece:
            yield piece
    if size:
        yield b"".join(group)


def compress(content: Iterable[Piece], check: Callable[[], None]) -> Iterator[bytes]:
    """Pieces as gzip. Always the same bytes for the same content, since no time of day goes into it."""
    stream = zlib.compressobj(COMPRESSION_LEVEL, wbits=GZIP_FORMAT)
    for piece in content:
        check()
        if part := stream.compress(written(piece)):
            yield part
    yield stream.flush()


async def released(content: "deque[Piece]") -> AsyncIterator[bytes | memoryview]:
    """The texts of pieces one by one. Each is given up when it is sent, not held until the client has read all of the body."""
    while content:
        yield written(content.popleft())
