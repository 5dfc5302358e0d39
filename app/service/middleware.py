"""What surrounds every request: its id, HEAD, response headers, the log line and the metrics, and then the API key."""

import logging
import os
import re
import time
from functools import cache
from typing import Any

from prometheus_client import Counter, Histogram
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.service import problems
from app.service.execution import Execution
from app.service.keys import Keys
from app.service.logs import access_log
from app.service.metrics import LATENCY, REJECTED, REQUESTS
from app.service.problems import NO_PATHS, Paths, Problem

REQUEST_ID = re.compile(rb"[\x21-\x7e]{1,128}")

SECURITY_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
]
API_POLICY = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
DOCS_POLICY = (
    b"content-security-policy",
    b"default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    b"font-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
)
"""Swagger UI styles its elements inline. Its scripts, and everything it requests, come from this service."""
PAGE_POLICY = (
    b"content-security-policy",
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
)
"""Matplotlib styles the elements of its SVGs inline, so the playground shows them as images, from blob URLs."""

log = logging.getLogger("autodiff")


class RequestContext:
    """Give every response an `X-Request-ID`, and every request a line in the log and its place in the metrics.

    It is the outermost middleware. The client's own id is kept if it is printable and has at most 128 characters. A HEAD is
    routed as the GET that it stands for; the server leaves the body out. A proxy may strip `root_path` from the path or keep
    it. While the service drains, connections are closed.
    """

    def __init__(self, app: ASGIApp, root_path: str = "") -> None:
        self.app = app
        self.root_path = root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = time.perf_counter()
        execution: Execution | None = getattr(scope["app"].state, "execution", None)
        if execution is None:
            raise RuntimeError("the app's lifespan has not run; write `with TestClient(app) as client`, or run a server")
        execution.requests_in_flight += 1
        if self.root_path:
            scope["root_path"] = self.root_path
        method = scope["method"]
        page = scope["path"].removeprefix(self.root_path.rstrip("/"))
        if method == "HEAD":
            scope = {**scope, "method": "GET"}
        identity = _request_id(scope)
        facts: dict[str, Any] = {}
        scope.setdefault("state", {}).update(request_id=identity.decode(), facts=facts)
        status = 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = facts["status"] = message["status"]
                headers = [*message["headers"], (b"x-request-id", identity), *SECURITY_HEADERS, _policy(page, status)]
                if execution.draining:
                    headers.append((b"connection", b"close"))
                message = {**message, "headers": headers}
            elif message["type"] == "http.response.body":
                facts["bytes_out"] = facts.get("bytes_out", 0) + len(message.get("body", b""))
            await send(message)

        try:
            await self.app(scope, receive, send_with_headers)
        finally:
            execution.requests_in_flight -= 1
            job, _ = (scope["state"].pop(name, None) for name in ("job", "model"))  # the connection keeps the scope for a while
            if job and job.counted:
                execution.finish(job)
            _record(scope, method, status, time.perf_counter() - began)


class Admission:
    """Check the API key of every request, and answer what goes wrong.

    It is within what lets pages of other origins read responses, so that they can read these too. Unexpected exceptions are
    logged under the request id and answered without a trace.
    """

    def __init__(self, app: ASGIApp, keys: Keys) -> None:
        self.app = app
        self.keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        state = scope["state"]
        try:
            if self.keys.digests and scope["method"] != "OPTIONS":  # CORS preflight requests come without a key
                self.keys.check(scope)
            await self.app(scope, receive, send)
        except Problem as problem:
            state["facts"]["problem"] = problem.kind.name
            await problems.response(problem)(scope, receive, send)
        except Exception:
            log.exception("request %s failed: %s %s", state["request_id"], scope["method"], scope["path"])
            if "status" in state["facts"]:  # the response has begun
                raise
            await problems.response(problems.internal(state["request_id"]))(scope, receive, send)


def _record(scope: Scope, method: str, status: int, seconds: float) -> None:
    """Count a request in the metrics and write its line in the log."""
    facts = scope["state"]["facts"]
    route = getattr(scope.get("route") or _route_of(scope), "path", "unmatched")
    requests, latency = _series(route, status)
    requests.inc()
    latency.observe(seconds)
    if status >= 400:
        REJECTED.labels(facts.get("problem", str(status))).inc()
    facts |= {"route": route, "method": method, "status": status, "ms": round(seconds * 1e3, 3)}
    access_log.info("request", request_id=scope["state"]["request_id"], **facts)


def _policy(page: str, status: int) -> tuple[bytes, bytes]:
    """The content security policy of a path without its root path. What a page about an error cannot show is no page."""
    if page == "/docs" or page.startswith("/docs/"):
        return DOCS_POLICY
    is_page = page in ("", "/") or page.startswith("/web/") or (page.startswith("/problems/") and status == 200)
    return PAGE_POLICY if is_page else API_POLICY


def _route_of(scope: Scope) -> BaseRoute | None:
    """The route of a request that was answered before it was routed, for the log; of a preflight, that of its path."""
    paths: Paths = getattr(scope["app"].state, "paths", NO_PATHS)
    least = Match.PARTIAL if scope["method"] == "OPTIONS" else Match.FULL
    return next((route for route in paths.routes if route.matches(scope)[0].value >= least.value), None)


@cache
def _series(route: str, status: int) -> tuple[Counter, Histogram]:
    """The metrics of a route and a status. Looking them up by their labels takes longer than counting."""
    return REQUESTS.labels(route, status), LATENCY.labels(route)


def _request_id(scope: Scope) -> bytes:
    """The client's request id, or a new one."""
    for key, value in scope["headers"]:
        if key == b"x-request-id" and REQUEST_ID.fullmatch(value):
            return bytes(value)
    return os.urandom(16).hex().encode()
