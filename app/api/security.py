"""Who may ask: API keys, compared in constant time, and the headers that keep a browser from doing more than it should."""

import hashlib
import hmac

from starlette._utils import get_route_path
from starlette.datastructures import Headers
from starlette.types import Scope

from app.api.problems import Problem

OPEN = ("/livez", "/readyz", "/docs", "/openapi.json", "/problems", "/metrics")
"""Paths that want no key, with all below them; and the root, which leads to the documentation."""

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
DOCS_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Swagger UI styles its elements inline; its scripts, and all that it asks for, are our own."""


class Keys:
    """The API keys of a service: none, and it is open."""

    def __init__(self, keys: tuple[bytes, ...], metrics_open: bool) -> None:
        self.digests = [hashlib.sha256(key).digest() for key in keys]
        self.open = OPEN if metrics_open else OPEN[:-1]

    def check(self, scope: Scope) -> None:
        """Raises Problem unless the request has a key, or the path wants none.

        Compares digests, and all of them, so that the time tells neither a key nor its length.
        """
        path = get_route_path(scope)
        if not self.digests or path in ("", "/") or path.startswith(tuple(f"{o}/" for o in self.open)) or path in self.open:
            return
        scheme, _, key = Headers(scope=scope).get("authorization", "").partition(" ")
        digest = hashlib.sha256(key.strip().encode("latin-1", "replace")).digest()
        matches = [hmac.compare_digest(digest, known) for known in self.digests]
        if scheme.lower() != "bearer" or not any(matches):
            detail = "the request has no API key that is known; send the header Authorization: Bearer <key>"
            raise Problem("unauthorized", detail, headers={"WWW-Authenticate": "Bearer"})
