"""Count what a protobuf message holds before a library makes objects of it.

An empty message within another takes two bytes of a file and a hundred of memory, so a library that parses whatever it is
given takes fifty times the size of a malicious file. This scan reads tags and lengths alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from app.engine.interruption import ITEMS_BETWEEN, Checkpoint, never
from app.formats.errors import InvalidFile

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
MAX_VARINT = 10
"""Bytes of the longest varint."""


@dataclass(frozen=True)
class Message:
    """A type of messages, as far as it matters.

    `messages` are its fields that are messages, `packed` those that are lists of packed varints. A whole file must have the
    field `needed`, if there is one, with something in it.
    """

    messages: Mapping[int, "Message"] = field(default_factory=dict)
    packed: frozenset[int] = frozenset()
    needed: int | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """What a message may hold: fields in all, how deep messages are nested, and bytes of packed varints in all."""

    fields: int
    depth: int
    packed: int


def check(data: bytes | bytearray, kind: Message, limits: Limits, checkpoint: Checkpoint = never) -> None:
    """Raise InvalidFile unless the bytes are a message within the limits. There is no recursion."""
    view = memoryview(data)
    fields = packed = 0
    missing = kind.needed
    stack: list[tuple[int, int, Message]] = [(0, len(view), kind)]
    while stack:
        at, end, kind = stack.pop()
        while at < end:
            fields += 1
            if fields > limits.fields:
                raise InvalidFile(f"the file has more than {limits.fields:,} fields, which no network of this service needs")
            if fields % ITEMS_BETWEEN == 0:
                checkpoint()
            tag, at = _varint(view, at, end)
            number, wire = tag >> 3, tag & 7
            if number == 0:
                raise _damaged()
            begin, at = _skipped(view, at, end, wire)
            inner = kind.messages.get(number) if wire == BYTES else None
            if inner is not None and begin < at:
                if not stack and number == missing:
                    missing = None
                if len(stack) >= limits.depth:
                    raise InvalidFile(
                        f"the file is nested more than {limits.depth} deep, which no network of this service needs"
                    )
                stack.append((at, end, kind))
                at, end, kind = begin, at, inner
            elif wire == BYTES and number in kind.packed:
                packed += at - begin
                if packed > limits.packed:
                    raise InvalidFile(f"the file has more than {limits.packed:,} bytes of integers; weights are real numbers")
    if missing is not None:
        raise _damaged()


def _skipped(view: memoryview, at: int, end: int, wire: int) -> tuple[int, int]:
    """Where the content of a field begins, and where it ends. Groups, which ONNX does not have, are refused."""
    if wire == VARINT:
        return at, _varint(view, at, end)[1]
    if wire == BYTES:
        size, at = _varint(view, at, end)
    elif wire in (FIXED64, FIXED32):
        size = 8 if wire == FIXED64 else 4
    else:
        raise _damaged()
    if size > end - at:
        raise _damaged()
    return at, at + size


def _varint(view: memoryview, at: int, end: int) -> tuple[int, int]:
    """A variable-length integer, and the position behind it."""
    value = 0
    for k in range(min(MAX_VARINT, end - at)):
        byte = view[at + k]
        value |= (byte & 0x7F) << 7 * k
        if byte < 0x80:
            return value, at + k + 1
    raise _damaged()


def _damaged() -> InvalidFile:
    return InvalidFile("the file is neither an ONNX model nor a safetensors file, or it is damaged")
