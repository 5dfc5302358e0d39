"""API keys: which requests need one, which keys are valid, and who sent a request."""

import base64
import hashlib
import hmac
import ipaddress
from collections.abc import Hashable, Sequence

from starlette.types import Scope

from app.service.problems import Problem

OPEN_PATHS = ("/livez", "/readyz", "/docs", "/web", "/openapi.json", "/problems", "/metrics")
"""Paths that need no key, with everything below them; so does the root, which is the page of the playground."""


class Keys:
    """The API keys of a service. Without any, the service is open to all.

    Below `basic_paths`, the password of Basic credentials counts as a key: some clients can send one only in the URL.
    """

    def __init__(self, keys: Sequence[bytes], metrics_open: bool, basic_paths: Sequence[str] = ()) -> None:
        self.digests = [hashlib.sha256(key).digest() for key in keys]
        self.open_paths = OPEN_PATHS if metrics_open else OPEN_PATHS[:-1]
        self.basic_paths = tuple(f"{path}/" for path in basic_paths)

    def is_open(self, path: str) -> bool:
        """Whether a path needs no key."""
        return path == "/" or any(path == open_path or path.startswith(f"{open_path}/") for open_path in self.open_paths)

    def check(self, scope: Scope) -> None:
        """Raise Problem unless the request has a valid key or its path needs none.

        All digests are compared, in constant time, so that the time taken reveals neither a key nor its length.
        """
        path = scope["path"].removeprefix(scope.get("root_path", "").rstrip("/")) or "/"
        if not self.digests or self.is_open(path):
            return
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        scheme, _, key = given[0].partition(b" ") if given else (b"", b"", b"")
        is_basic = scheme.lower() == b"basic" and path.startswith(self.basic_paths)
        key = _password(key) if is_basic else key.strip(b" \t")
        digest = hashlib.sha256(key).digest()
        matches = [hmac.compare_digest(digest, known) for known in self.digests]
        if len(given) != 1 or not (is_basic or scheme.lower() == b"bearer") or not any(matches):
            detail = "the request has no valid API key; send the header Authorization: Bearer <key>"
            raise Problem("unauthorized", detail, headers={"WWW-Authenticate": "Bearer"})
        scope["state"]["key"] = digest


def _password(credentials: bytes) -> bytes:
    """The password of Basic credentials (RFC 7617); empty, which is no key, where they are malformed."""
    try:
        return base64.b64decode(credentials.strip(b" \t"), validate=True).partition(b":")[2]
    except ValueError:
        return b""


def client_of(scope: Scope) -> Hashable:
    """Who sent a request: the digest of its key, or its address; of an IPv6 address the network, which is one client's."""
    key = scope.get("state", {}).get("key")
    if key is not None:
        return bytes(key)
    address: str = scope["client"][0] if scope.get("client") else ""
    if ":" not in address:
        return address
    try:
        parsed = ipaddress.IPv6Address(address)
    except ValueError:  # from a proxy that is trusted
        return address
    return str(parsed.ipv4_mapped) if parsed.ipv4_mapped else parsed.packed[:8]
