"""Media types: what a request may hold, and which of the offered ones an answer takes. RFC 9110, sections 8.3 and 12.5.1."""

import re
from collections.abc import Sequence

from fastapi import Request

from app.api.problems import Problem

JSON = "application/json"
QUALITY = re.compile(r"0(\.\d{0,3})?|1(\.0{0,3})?")


def header(request: Request, name: bytes) -> str | None:
    """A header of a request by its name in lower case, the first where there are several; None where there is none."""
    for key, value in request.scope["headers"]:
        if key == name:
            return str(value, "latin-1")
    return None


def check_content(request: Request) -> None:
    """Raises Problem unless the body is said to be JSON, or nothing is said of it."""
    content = header(request, b"content-type")
    if content is not None and content != JSON:
        media = content.partition(";")[0].strip().lower()
        if media != JSON and not (media.startswith("application/") and media.endswith("+json")):
            detail = f"the body is said to be {media[:100] or 'of no type'}; send Content-Type: {JSON}"
            raise Problem("unsupported-media-type", detail, headers={"Accept-Post": JSON})
    coding = header(request, b"content-encoding")
    if coding is not None and coding.strip().lower() not in ("identity", "gzip", ""):
        detail = f"the content coding {coding[:100]} is not read; send the body as it is, or as gzip"
        raise Problem("unsupported-media-type", detail, headers={"Accept-Encoding": "gzip"})


def is_gzip(request: Request) -> bool:
    """Whether the body is said to be compressed."""
    return (header(request, b"content-encoding") or "").strip().lower() == "gzip"


def takes_gzip(request: Request) -> bool:
    """Whether the client wants its answer compressed."""
    accept = header(request, b"accept-encoding")
    return accept is not None and "gzip" in accept and _quality(accept.replace("gzip", "gzip/gzip"), "gzip/gzip") > 0.0


def accepted(request: Request, offered: Sequence[str]) -> str:
    """The offered media type that the client likes best; the first where it has no preference.

    Raises Problem where the Accept header rules all of them out.
    """
    accept = ",".join([str(value, "latin-1") for key, value in request.scope["headers"] if key == b"accept"])
    if not accept.strip(" ,") or accept in ("*/*", offered[0]):
        return offered[0]
    weights = [_quality(accept, media) for media in offered]
    best = max(weights)
    if best <= 0.0:
        detail = (
            f"the answer is {' or '.join(offered)}, and Accept has neither"
            if len(offered) > 1
            else (f"the answer is {offered[0]}, which Accept rules out")
        )
        raise Problem("not-acceptable", detail)
    return offered[weights.index(best)]


def _quality(accept: str, media: str) -> float:
    """The weight of a media type: that of the most specific range it falls into, 0 if there is none."""
    kind = media.partition("/")[0]
    found = (-1, 0.0)
    for part in accept.lower().split(","):
        name, *parameters = (piece.strip() for piece in part.split(";"))
        precision = (("*/*", f"{kind}/*", media).index(name)) if name in ("*/*", f"{kind}/*", media) else -1
        if precision > found[0]:
            weight = next((p[2:] for p in parameters if p.startswith("q=")), "1")
            found = (precision, float(weight) if QUALITY.fullmatch(weight) else 0.0)
    return found[1]
