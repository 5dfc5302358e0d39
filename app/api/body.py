"""Reading a request's body: no more of it than the limit allows, and, where it is compressed, no more of it unpacked.

Not here: what is in it (`codec`).
"""

import gzip
import zlib
from collections.abc import Callable

from fastapi import Request
from starlette.requests import ClientDisconnect

from app.api.negotiation import header
from app.api.problems import Problem

CHUNK = 1 << 16
GZIP = 16 + zlib.MAX_WBITS


async def read(request: Request, limit: int) -> bytes:
    """The body as it was sent. Raises Problem as soon as its declared or real length is over `limit`, and reads no further."""
    declared = header(request, b"content-length") or ""
    if declared.isdecimal() and int(declared) > limit:
        raise _too_large(limit, f"the body has {int(declared):,} bytes")
    parts: list[bytes] = []
    size = 0
    more = True
    while more:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > limit:
            raise _too_large(limit, "the body is longer")
        more = message.get("more_body", False)
    request.scope["state"]["facts"]["bytes_in"] = size
    return parts[0] if len(parts) == 1 else b"".join(parts)


def unpacked(body: bytes, limit: int, check: Callable[[], None]) -> bytes:
    """A gzip body unpacked, in pieces, so that one which would be over `limit` is never there as a whole.

    `check` is called between them. Raises Problem for that, and for what is no gzip.
    """
    parts: list[bytes] = []
    size = 0
    at = 0
    try:
        while at < len(body):
            stream = zlib.decompressobj(GZIP)
            while not stream.eof:
                piece = body[at : at + CHUNK]
                part = stream.decompress(piece, CHUNK)
                taken = len(piece) - len(stream.unconsumed_tail) - len(stream.unused_data)
                if not part and not stream.eof and not taken:
                    raise Problem("invalid-json", "the gzip body is cut off")
                at += taken
                size += len(part)
                if size > limit:
                    raise _too_large(limit, "the body unpacked is longer")
                parts.append(part)
                check()
    except zlib.error as error:
        raise Problem("invalid-json", f"the body is said to be gzip and is not: {error}") from None
    return b"".join(parts)


def packed(content: bytes) -> bytes:
    """An answer as gzip; the same bytes each time, as no time of day goes into it."""
    return gzip.compress(content, 1, mtime=0)


def _too_large(limit: int, what: str) -> Problem:
    detail = f"{what}; the limit is {limit} bytes, and AUTODIFF_MAX_BODY_BYTES raises it"
    return Problem("too-large", detail, headers={"Connection": "close"})
