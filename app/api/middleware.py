"""What stands around every request: its id, HEAD, and the answer where a defect of ours came up."""

import logging
import re
import uuid

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api import problems

REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")

log = logging.getLogger("autodiff")


class RequestContext:
    """Gives every answer an `X-Request-ID`, the client's own where it sent a printable one of at most 128 characters.

    A HEAD is routed as the GET that it stands for; the server leaves the body out. An exception that nobody foresaw is
    logged under the request id and answered without a trace of it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if scope["method"] == "HEAD":
            scope = {**scope, "method": "GET"}
        given = next((value for key, value in scope["headers"] if key == b"x-request-id"), b"").decode("latin-1")
        request_id = given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        started = False

        async def send_with_id(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                MutableHeaders(scope=message)["X-Request-ID"] = request_id
            await send(message)

        try:
            await self.app(scope, receive, send_with_id)
        except Exception:
            log.exception("request %s failed: %s %s", request_id, scope["method"], scope["path"])
            if started:
                raise
            await problems.internal(request_id)(scope, receive, send_with_id)
