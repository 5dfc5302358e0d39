"""Bodies of requests and responses: read within the limit, decompressed, validated; encoded and compressed.

Long lists of numbers and the nodes of a graph are taken out of a JSON body by the compiled scanner, without the GIL and without
a Python object per number. What is left is ordinary JSON, which orjson decodes, piece by piece if it is large, and pydantic
validates.
"""

import codecs
import gzip
import json
import math
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
import numpy.typing as npt
import orjson
from fastapi import Request
from pydantic import BaseModel, RootModel, ValidationError
from starlette.requests import ClientDisconnect

from app.engine import base64_doubles, scanner
from app.engine.base64_doubles import Part
from app.engine.gradients import Gradients
from app.engine.interruption import Checkpoint, never
from app.engine.large_json import TOKEN, LargeList, LargeObject, LargeString, decode
from app.engine.scanner import BrokenList, NumberList, NumberRows, NumberText
from app.machine import large_buffer
from app.service.json_mistakes import json_advice
from app.service.metrics import DECODE
from app.service.models import Arrays, FileRequest
from app.service.problems import FieldError, Problem, pointer
from app.service.validation import invalid_request

Model = TypeVar("Model", bound=BaseModel)
Body = bytes | bytearray | memoryview

CHUNK_BYTES = 1 << 16
GZIP_FORMAT = 16 + zlib.MAX_WBITS
COMPRESSION_LEVEL = 1
MAX_GZIP_RATIO = 1032
"""What is decompressed is at most so many times as long (deflate's longest match takes two bits)."""

DECODED_RATIO = 12
"""What is decoded and validated takes at most about so many times the memory of its text."""

EXPLAINED_BYTES = 1 << 20
"""Bodies up to this size are decoded once more by the standard library to say exactly where they stop being JSON."""

HELD_BYTES = 8192
"""Bodies up to this size are so few that their memory is not counted."""

LONG_BYTES = 1 << 20
"""A body that declares its length is put together in a buffer of that length once so much of it has come: growing page by page
would take as much time as all the rest of receiving."""

SCANNED_BYTES = 4096
"""Bodies from this size on are scanned for bulk. Below, decoding them as a whole is faster."""

SLICE_BYTES = 1 << 20
"""How much of a body that is not JSON is looked at between two checks."""


@runtime_checkable
class JSONRows(Protocol):
    """A long list of a response whose entries are made only when they are written."""

    def __len__(self) -> int: ...

    def json_rows(self, low: int, high: int) -> list[Any]:
        """The entries from `low` up to `high`."""


@runtime_checkable
class HasJSONForm(Protocol):
    """A value of a response that says itself how it looks in JSON."""

    def json_form(self) -> Any:
        """The value as lists, dicts, strings and numbers."""


async def read(request: Request, declared: int | None, limit: int, hold: Callable[[int], None]) -> Body:
    """The body as it was sent. One that comes in parts is put together as they come, and not once more when the last is there.

    `hold` is called with the number of bytes that a body of more than HELD_BYTES takes, as it grows: what is only declared
    takes none. Raises Problem as soon as the declared or real length exceeds `limit`, and reads no further; ClientDisconnect.
    """
    if declared is not None and declared > limit:
        raise _too_large(limit, f"the body has {declared:,} bytes")
    content: bytes | bytearray = b""
    room: memoryview | None = None
    size = 0
    held = HELD_BYTES
    more = True
    while more:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        part = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise _too_large(limit, "the body is longer")
        if size > held:
            held = min(2 * size, declared or limit, limit)
            hold(held)
        if room is None and declared is not None and LONG_BYTES < size <= declared:
            room = large_buffer(declared)
            room[: len(content)] = content
            content = b""
        if room is not None:
            room[size - len(part) : size] = part
        elif not content:
            content = part
        elif part:
            content = content if isinstance(content, bytearray) else bytearray(content)
            content += part
        more = message.get("more_body", False)
    return content if room is None else room[:size]


def decompress(body: Body, limit: int, check: Checkpoint) -> Body:
    """A gzip body decompressed, piece by piece, so that one that would exceed `limit` is never held as a whole.

    `check` is called between pieces. Raises Problem where the limit is exceeded or the body is not gzip.
    """
    content = bytearray()
    at = 0
    try:
        while at < len(body):
            stream = zlib.decompressobj(GZIP_FORMAT)
            while not stream.eof:
                piece = body[at : at + CHUNK_BYTES]
                part = stream.decompress(piece, CHUNK_BYTES)
                # At the end of a member both attributes hold what follows it.
                taken = len(piece) - len(stream.unused_data if stream.eof else stream.unconsumed_tail)
                if not part and not stream.eof and not taken:
                    raise Problem("invalid-json", "the gzip body is cut off")
                at += taken
                content += part
                if len(content) > limit:
                    raise _too_large(limit, "the decompressed body is longer")
                check()
    except zlib.error as error:
        raise Problem("invalid-json", f"the body is declared as gzip, but is not: {error}") from None
    return content


def parse(body: Body, model: type[Model], check: Checkpoint = never) -> Model:
    """The request in a body. `check` is called every few milliseconds while a large one is decoded, and may raise.

    Raises Problem: invalid-json, or invalid-request with the places at fault.
    """
    if issubclass(model, FileRequest):
        construct: Any = model.model_construct
        file: Model = construct(content=bytes(body) if isinstance(body, memoryview) else body)
        return file
    began = time.perf_counter()
    try:
        if len(body) < SCANNED_BYTES:
            # What model_validate calls, without 3 % of the time that a small body takes.
            request: Model = model.__pydantic_validator__.validate_python(orjson.loads(body))
        else:
            request = _parse_scanned(body, model, check)
    except ValidationError as error:
        raise invalid_request(error, model) from None
    except orjson.JSONDecodeError:
        raise _explain(body, check) from None
    DECODE.observe(time.perf_counter() - began)
    return request


def _parse_scanned(body: Body, model: type[Model], check: Checkpoint) -> Model:
    scan = scanner.scan(body, TOKEN, check)
    if scan is None:
        raise _explain(body, check)
    try:
        return model.model_validate(decode(scan.skeleton, scan.bulk, check))
    except ValidationError as error:
        if not (scan.bulk and len(body) <= EXPLAINED_BYTES) and not any(map(_is_undecoded, error.errors(include_url=False))):
            raise
    # A value that was left undecoded stands where none is read. Decoded it is valid, or the error points at the right place.
    return model.model_validate(orjson.loads(body))


def _is_undecoded(entry: Any) -> bool:
    """Whether an error is about a value of the right kind, which the field's type cannot decode."""
    return isinstance(entry["input"], UNDECODED.get(entry["type"], ()))


UNDECODED: dict[str, tuple[type, ...]] = {
    "list_type": (LargeList, NumberList, NumberRows, BrokenList),
    "dict_type": (LargeObject,),
    "string_type": (LargeString, NumberText),
}


INFINITE = "number is infinity when parsed as double"
"""How orjson describes what is JSON, and no double."""


def _explain(body: Body, check: Checkpoint) -> Problem:
    """Why a body is not JSON: line and column, or the place of a number that is not finite."""
    problem = _explain_encoding(body, check)
    if problem is not None:
        return problem
    if len(body) > EXPLAINED_BYTES:
        fault = _fault(body, check)
        if fault.startswith(INFINITE):
            where = fault.removeprefix(INFINITE)
            return Problem("invalid-request", f"expected a finite number, found one beyond 1.8e308{where}")
        return Problem("invalid-json", f"the body is not JSON that can be read: {fault}")
    try:
        tree = json.loads(str(body, "utf-8"), parse_int=float)
    except json.JSONDecodeError as wrong:
        reason = wrong.msg[0].lower() + wrong.msg[1:].removesuffix(" at")
        where = f"{reason} at line {wrong.lineno}, column {wrong.colno}"
        return Problem("invalid-json", f"the body is not JSON: {where}{json_advice(wrong.doc, wrong.pos, reason)}")
    except RecursionError:
        return Problem("invalid-json", "the body is not JSON that can be read: it is nested too deeply")
    place = next(_not_finite(tree), None)
    if place is not None:
        detail = "expected a finite number, found NaN or a number beyond 1.8e308"
        error_entry = FieldError(pointer=pointer(place), detail=detail)
        return Problem("invalid-request", f"at {error_entry.pointer}: {detail}" if place else detail, [error_entry])
    return Problem("invalid-json", f"the body is not JSON that can be read: {_fault(body, check)}")


def _explain_encoding(body: Body, check: Checkpoint) -> Problem | None:
    """The problem with a body that is not UTF-8, is empty, or begins with a byte order mark."""
    at = 0
    empty = True
    while at < len(body):
        check()
        end = min(at + SLICE_BYTES, len(body))
        try:
            text, size = codecs.utf_8_decode(body[at:end], "strict", end == len(body))
        except UnicodeDecodeError as wrong:
            return Problem("invalid-json", f"the body is not UTF-8: {wrong.reason} at byte {at + wrong.start}")
        if at == 0 and text.startswith("\ufeff"):
            return Problem("invalid-json", "the body is not JSON: it begins with a byte order mark (BOM); leave it out")
        at += size
        empty = empty and not text.strip()
    return Problem("invalid-json", "the body is empty; send a JSON object") if empty else None


def _fault(body: Body, check: Checkpoint) -> str:
    """What orjson says about a body that is not JSON, without having it decode what precedes the fault."""
    beginning, first = scanner.fault(body, check)
    size = 2 * scanner.BYTES_PER_CHECK
    while True:
        end = min(first + size, len(body))
        while end < len(body) and body[end] & 0xC0 == 0x80:  # within a character
            end += 1
        try:
            orjson.loads(beginning + body[first:end])
        except orjson.JSONDecodeError as error:
            read = error.doc[len(beginning) : error.pos].encode()
            if len(read) < size // 2 or end == len(body):
                return _described(error.msg, body, first + len(read), check)
        assert end < len(body), "the scan refuses what orjson refuses"
        size *= 4


def _described(message: str, body: Body, fault: int, check: Checkpoint) -> str:
    """A fault at this byte of a body as orjson describes it: with its line, column and position in characters."""
    line, column, characters = 1, 1, 0
    for at in range(0, fault, SLICE_BYTES):
        check()
        part = bytes(body[at : min(at + SLICE_BYTES, fault)])
        line += part.count(b"\n")
        column = _characters(part[part.rfind(b"\n") + 1 :]) + (1 if b"\n" in part else column)
        characters += _characters(part)
    return f"{message}: line {line} column {column} (char {characters})"


def _characters(text: Body) -> int:
    """The number of characters in UTF-8, each of which has one byte that continues no other."""
    return int(np.count_nonzero(np.frombuffer(text, np.uint8) & 0xC0 != 0x80))


def _not_finite(tree: object) -> Iterator[tuple[str | int, ...]]:
    """The paths of numbers that are NaN or infinite, in document order."""
    stack: list[tuple[object, tuple[str | int, ...]]] = [(tree, ())]
    while stack:
        item, path = stack.pop()
        if isinstance(item, float) and not math.isfinite(item):
            yield path
        elif isinstance(item, list):
            stack.extend((item[k], (*path, k)) for k in range(len(item) - 1, -1, -1))
        elif isinstance(item, dict):
            stack.extend((value, (*path, key)) for key, value in reversed(item.items()))


def encode(answer: object, arrays: Arrays = "list") -> bytes:
    """A response model as JSON.

    Arrays of floats are written as lists, with null for NaN, or in base64, as `Float64Array` describes. All else that is a list
    stays one, as do arrays of integers.
    """
    # A model is taken apart here, because orjson first asks it for attributes of other kinds of objects, which takes longer.
    value = plain(answer) if isinstance(answer, BaseModel) else answer
    if arrays == "base64":
        return orjson.dumps(value, default=plain_with_base64)
    return orjson.dumps(value, default=plain, option=orjson.OPT_SERIALIZE_NUMPY)


def plain_with_base64(value: Any) -> Any:
    """As `plain`, with arrays of floats in base64."""
    if isinstance(value, np.ndarray):
        return orjson.Fragment(b"".join(map(written, in_base64(value)))) if value.dtype == np.float64 else value.tolist()
    return plain(value)


def written(piece: bytes | memoryview | Part) -> bytes | memoryview:
    """A piece of a response as text."""
    return piece.text() if isinstance(piece, Part) else piece


def in_base64(array: npt.NDArray[np.float64]) -> Iterator[bytes | Part]:
    """An array as a `Float64Array` in JSON."""
    yield b'{"float64":"'
    yield from base64_doubles.parts(array)
    yield b'"}' if array.ndim == 1 else b'","shape":%s}' % orjson.dumps(array.shape)


def plain(value: Any) -> Any:
    """What orjson cannot write itself: models, by the fields they were given, arrays that are not contiguous, and tables."""
    if isinstance(value, RootModel):
        return value.root
    if isinstance(value, BaseModel):
        given, fields = value.__pydantic_fields_set__, value.__pydantic_fields__  # `model_fields_set`, `model_fields`; faster
        return {fields[name].alias or name: field for name, field in value.__dict__.items() if name in given}
    if isinstance(value, np.ndarray):
        return np.ascontiguousarray(value)
    if isinstance(value, Gradients):
        return value.copy()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, HasJSONForm):
        return value.json_form()
    if isinstance(value, JSONRows):
        return value.json_rows(0, len(value))
    raise TypeError(f"{type(value).__name__} has no JSON form")


def compress(content: bytes) -> bytes:
    """A body as gzip. Always the same bytes for the same content, since no time of day goes into it."""
    return gzip.compress(content, COMPRESSION_LEVEL, mtime=0)


def _too_large(limit: int, what: str) -> Problem:
    detail = f"{what}; the limit is {limit} bytes, and AUTODIFF_MAX_BODY_BYTES raises it"
    return Problem("too-large", detail, headers={"Connection": "close"})
