"""Bodies of requests and responses: read within the limit, decompressed, validated; encoded and compressed.

Long lists of numbers and the nodes of a graph are taken out of a JSON body by the compiled scanner, without the GIL and without
a Python object per number. What is left is ordinary JSON, which orjson decodes and pydantic validates.
"""

import gzip
import json
import math
import secrets
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
import orjson
from fastapi import Request
from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect

from app.engine import scanner
from app.engine.gradients import Gradients
from app.engine.scanner import NodesText
from app.service.metrics import DECODE
from app.service.problems import FieldError, Problem, pointer
from app.service.validation import invalid_request

Model = TypeVar("Model", bound=BaseModel)

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

SCANNED_BYTES = 4096
"""Bodies from this size on are scanned for bulk. Below, decoding them as a whole is faster."""

TOKEN = secrets.token_hex(16)
"""What stands in place of a scanned value. It is new in each process, so no client can send it."""


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


class NotJSON(Exception):
    """A part of a body is not JSON. `parse` turns it into a problem."""


async def read(request: Request, declared: int | None, limit: int, hold: Callable[[int], None]) -> bytes:
    """The body as it was sent.

    `hold` is called with the number of bytes that a body of more than HELD_BYTES takes, as it grows: what is only declared
    takes none. Raises Problem as soon as the declared or real length exceeds `limit`, and reads no further; ClientDisconnect.
    """
    if declared is not None and declared > limit:
        raise _too_large(limit, f"the body has {declared:,} bytes")
    parts: list[bytes] = []
    size = 0
    held = HELD_BYTES
    more = True
    while more:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > limit:
            raise _too_large(limit, "the body is longer")
        if size > held:
            held = min(2 * size, declared or limit, limit)
            hold(held)
        more = message.get("more_body", False)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def decompress(body: bytes, limit: int, check: Callable[[], None]) -> bytes:
    """A gzip body decompressed, piece by piece, so that one that would exceed `limit` is never held as a whole.

    `check` is called between pieces. Raises Problem where the limit is exceeded or the body is not gzip.
    """
    parts: list[bytes] = []
    size = 0
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
                size += len(part)
                if size > limit:
                    raise _too_large(limit, "the decompressed body is longer")
                parts.append(part)
                check()
    except zlib.error as error:
        raise Problem("invalid-json", f"the body is declared as gzip, but is not: {error}") from None
    return b"".join(parts)


def parse(body: bytes, model: type[Model]) -> Model:
    """The request in a body. Raises Problem: invalid-json, or invalid-request with the places at fault."""
    began = time.perf_counter()
    scan = scanner.scan(body, TOKEN) if len(body) >= SCANNED_BYTES else None
    bulk = scan.bulk if scan is not None else []
    texts = sum(isinstance(value, NodesText) for value in bulk)
    if scan is None or texts > 1:  # of several nodes some may be ignored, and then nothing else would check that they are JSON
        scan, bulk = None, []
    try:
        tree = orjson.loads(body if scan is None else scan.skeleton)
        if bulk:
            tree = _with_bulk(tree, bulk)
        try:
            request = model.model_validate(tree)
        except ValidationError:
            if not bulk or (len(body) > EXPLAINED_BYTES and not texts):
                raise
            # A scanned value stands where none is read. Without the scan it is valid, or the error points at the right place.
            request = model.model_validate(orjson.loads(body))
    except ValidationError as error:
        raise invalid_request(error, model) from None
    except (orjson.JSONDecodeError, NotJSON) as error:
        raise _explain(body, error) from None
    DECODE.observe(time.perf_counter() - began)
    return request


def _with_bulk(tree: Any, bulk: list[Any]) -> Any:
    """The tree with the scanned values in their places."""
    length = len(TOKEN)
    if isinstance(tree, str) and tree.startswith(TOKEN):
        return bulk[int(tree[length:])]
    stack = [tree]
    while stack:
        item = stack.pop()
        for key, value in item.items() if isinstance(item, dict) else enumerate(item) if isinstance(item, list) else ():
            if type(value) is str:
                if value.startswith(TOKEN):
                    item[key] = bulk[int(value[length:])]
            elif type(value) is dict or type(value) is list:
                stack.append(value)
    return tree


def _explain(body: bytes, error: Exception) -> Problem:
    """Why a body is not JSON: line and column, or the place of a number that is not finite."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as wrong:
        return Problem("invalid-json", f"the body is not UTF-8: {wrong.reason} at byte {wrong.start}")
    if not text.strip():
        return Problem("invalid-json", "the body is empty; send a JSON object")
    if text.startswith("\ufeff"):
        return Problem("invalid-json", "the body is not JSON: it begins with a byte order mark (BOM); leave it out")
    if len(body) > EXPLAINED_BYTES:
        return Problem("invalid-json", f"the body is not JSON, or holds a number that is not finite: {error}")
    try:
        tree = json.loads(text, parse_int=float)
    except json.JSONDecodeError as wrong:
        reason = wrong.msg[0].lower() + wrong.msg[1:].removesuffix(" at")
        return Problem("invalid-json", f"the body is not JSON: {reason} at line {wrong.lineno}, column {wrong.colno}")
    except RecursionError:
        return Problem("invalid-json", "the body is not JSON that can be read: it is nested too deeply")
    place = next(_not_finite(tree), None)
    if place is not None:
        detail = "expected a finite number, found NaN or a number beyond 1.8e308"
        error_entry = FieldError(pointer=pointer(place), detail=detail)
        return Problem("invalid-request", f"at {error_entry.pointer}: {detail}" if place else detail, [error_entry])
    return Problem("invalid-json", f"the body is not JSON that can be read: {error}")


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


def encode(answer: object) -> bytes:
    """A response model as JSON. NumPy arrays are written as they are, and a NaN in them as null."""
    # A model is taken apart here, because orjson first asks it for attributes of other kinds of objects, which takes longer.
    value = plain(answer) if isinstance(answer, BaseModel) else answer
    return orjson.dumps(value, default=plain, option=orjson.OPT_SERIALIZE_NUMPY)


def plain(value: Any) -> Any:
    """What orjson cannot write itself: models, by the fields they were given, arrays that are not contiguous, and tables."""
    if isinstance(value, BaseModel):
        given, fields = value.model_fields_set, type(value).model_fields
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
