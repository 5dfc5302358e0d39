"""Media types: what a body may be, and which of the offered types a response takes (RFC 9110, sections 8.3 and 12.5.1)."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from fastapi import Request

from app.service.problems import Problem

JSON = "application/json"
FILE = "application/octet-stream"
FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")
"""What HTML forms send, and curl's `-d` and `-F` by default."""
GZIP = ("gzip", "x-gzip")
CONTENT_HEADERS = frozenset({b"accept", b"accept-encoding", b"content-encoding", b"content-length", b"content-type"})
MAX_DIGITS = 20
"""Digits of a length that are read. More are far beyond any limit, and very many could not be converted."""
QUALITY = re.compile(r"0(\.\d{0,3})?|1(\.0{0,3})?")


class Negotiated(NamedTuple):
    """What the headers say of the body, its length (None if it is not declared) and coding, and how the response is written."""

    body_length: int | None
    body_is_gzip: bool
    media_type: str
    compress: bool


def negotiate(request: Request, offered: Sequence[str], expected: str | None = JSON) -> Negotiated:
    """Read the headers about content. `expected` is the media type of the body; None for any.

    Raises Problem for a body that is not read and for an excluded response.
    """
    headers = _content_headers(request)
    content, coding = headers.get(b"content-type"), headers.get(b"content-encoding", "")
    if request.scope["method"] != "GET":
        _check_content_type(content, coding, expected)
    length, accept_coding = headers.get(b"content-length", ""), headers.get(b"accept-encoding")
    return Negotiated(
        int(length[:MAX_DIGITS]) if length.isdecimal() else None,
        coding.strip().lower() in GZIP,
        _preferred(headers.get(b"accept", ""), offered),
        accept_coding is not None and _accepts_gzip(accept_coding.lower()),
    )


class Accepts:
    """Dependency for GET routes: raises Problem unless the client accepts this media type."""

    def __init__(self, media_type: str) -> None:
        self.media_type = media_type

    async def __call__(self, request: Request) -> None:
        """Check one request."""
        preferred_type(request, (self.media_type,))


def _content_headers(request: Request) -> dict[bytes, str]:
    """The headers about content, those of one name joined by commas. `request.headers` would take several times as long."""
    found: dict[bytes, str] = {}
    for name, value in request.scope["headers"]:
        if name in CONTENT_HEADERS:
            text = str(value, "latin-1")
            found[name] = f"{found[name]},{text}" if name in found else text
    return found


def _check_content_type(content: str | None, coding: str, expected: str | None) -> None:
    """Raise Problem unless the body is declared as expected, or not declared at all, and in a content coding that is read."""
    if content is not None and expected is not None and content != expected:
        media = content.partition(";")[0].strip().lower()
        is_json = media.startswith("application/") and media.endswith("+json")
        if media != expected and not (is_json and expected == JSON):
            what = " a JSON object with" if expected == JSON and media in FORMS else ""
            detail = f"the body is declared as {media[:100] or 'no media type'}; send{what} Content-Type: {expected}"
            raise Problem("unsupported-media-type", detail, headers={"Accept-Post": expected})
    if coding and coding.strip().lower() not in ("identity", "", *GZIP):
        detail = f"the content coding {coding[:100]} is not supported; send the body as it is, or as gzip"
        raise Problem("unsupported-media-type", detail, headers={"Accept-Encoding": "gzip"})


def _accepts_gzip(accept: str) -> bool:
    """Whether the client takes a compressed response."""
    return "gzip" in accept and _quality(accept.replace("gzip", "gzip/gzip"), "gzip/gzip") > 0.0


def preferred_type(request: Request, offered: Sequence[str]) -> str:
    """The offered media type that the client prefers, the first one if it has no preference.

    Raises Problem where the Accept header excludes them all. A client that accepts nothing but problems gets the first type:
    some generated clients send only the media type of the errors.
    """
    return _preferred(_content_headers(request).get(b"accept", ""), offered)


def _preferred(accept: str, offered: Sequence[str]) -> str:
    """As `preferred_type`, with the value of the Accept header."""
    if not accept.strip(" ,") or accept in ("*/*", offered[0], "application/problem+json"):
        return offered[0]
    weights = [_quality(accept, media) for media in offered]
    best = max(weights)
    if best <= 0.0:
        raise Problem(
            "not-acceptable",
            f"the response is {' or '.join(offered)}, which the Accept header excludes; send Accept: {offered[0]}",
        )
    return offered[weights.index(best)]


def _quality(accept: str, media: str) -> float:
    """The weight of a media type: that of the most specific range it falls into, 0 if there is none."""
    ranges = ("*/*", f"{media.partition('/')[0]}/*", media)
    found = (-1, 0.0)
    for part in accept.lower().split(","):
        name, *parameters = (piece.strip() for piece in part.split(";"))
        precision = ranges.index(name) if name in ranges else -1
        if precision > found[0]:
            weight = next((p[2:] for p in parameters if p.startswith("q=")), "1")
            found = (precision, float(weight) if QUALITY.fullmatch(weight) else 0.0)
    return found[1]
