"""What stands around every request: its id, keys, HEAD, headers, the log line, and the answer where a defect came up."""

import logging
import os
import re
import time
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api import metrics, problems
from app.api.execution import Execution
from app.api.observability import log as access
from app.api.problems import Problem
from app.api.security import DOCS_POLICY, HEADERS, Keys

REQUEST_ID = re.compile(rb"[\x21-\x7e]{1,128}")

STATIC = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
STATIC_DOCS = [*STATIC[:-1], (b"content-security-policy", DOCS_POLICY.encode())]

log = logging.getLogger("autodiff")


class RequestContext:
    """Gives every answer an `X-Request-ID`, the client's own where it sent a printable one of at most 128 characters, and
    every request a line in the log and its place in the metrics.

    A HEAD is routed as the GET that it stands for; the server leaves the body out. An exception that nobody foresaw is
    logged under the request id and answered without a trace of it. While the service drains, connections are closed.
    """

    def __init__(self, app: ASGIApp, keys: Keys) -> None:
        self.app = app
        self.keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = time.perf_counter()
        execution: Execution = scope["app"].state.execution
        execution.serving += 1
        method, path = scope["method"], scope["path"]
        if method == "HEAD":
            scope = {**scope, "method": "GET"}
        given = b""
        for key, value in scope["headers"]:
            if key == b"x-request-id":
                given = value
                break
        identity = given if given and REQUEST_ID.fullmatch(given) else os.urandom(16).hex().encode()
        request_id = identity.decode()
        facts: dict[str, Any] = {}
        scope.setdefault("state", {}).update(request_id=request_id, facts=facts)
        status = 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = list(message["headers"])
                headers.append((b"x-request-id", identity))
                headers += STATIC_DOCS if path.startswith("/docs") else STATIC
                if execution.draining:
                    headers.append((b"connection", b"close"))
                message = {**message, "headers": headers}
            elif message["type"] == "http.response.body":
                facts["bytes_out"] = facts.get("bytes_out", 0) + len(message.get("body", b""))
            await send(message)

        try:
            if method != "OPTIONS":  # which computes nothing, and which browsers send without a key
                self.keys.check(scope)
            await self.app(scope, receive, send_with_headers)
        except Problem as problem:
            await problems.response(*problems.of_exception(problem))(scope, receive, send_with_headers)
        except Exception:
            log.exception("request %s failed: %s %s", request_id, method, path)
            if status:
                raise
            await problems.internal(request_id)(scope, receive, send_with_headers)
        finally:
            execution.serving -= 1
            route = getattr(scope.get("route"), "path", "unmatched")
            seconds = time.perf_counter() - began
            metrics.count(route, status, seconds, facts.get("problem", str(status)) if status >= 400 else None)
            ms = round(seconds * 1e3, 3)
            access.info("request", request_id=request_id, route=route, method=method, status=status, ms=ms, **facts)
