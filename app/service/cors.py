"""Preflight requests that Starlette refuses, answered with a problem that says why and which setting decides."""

from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.service import problems
from app.service.problems import ORIGINS_SETTING, Problem


class ExplainedPreflights:
    """Middleware around Starlette's `CORSMiddleware`, whose refusals it replaces. All other responses pass as they are."""

    def __init__(self, app: ASGIApp, headers: Sequence[str]) -> None:
        self.app = app
        self.headers = headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["method"] != "OPTIONS" or not _is_preflight(Headers(scope=scope)):
            await self.app(scope, receive, send)
            return
        refused: list[Message] = []

        async def send_unless_refused(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 400:
                refused.append(message)
            elif not refused:
                await send(message)
            elif "body" in message:
                refused.append(message)

        await self.app(scope, receive, send_unless_refused)
        if refused:
            why = b"".join(message.get("body", b"") for message in refused).decode("latin-1").lower()
            detail = (
                f"the preflight request is refused ({why}); {ORIGINS_SETTING} lists the origins whose pages may call, with the "
                f"methods GET and POST and the headers {', '.join(self.headers)}"
            )
            vary = Headers(raw=refused[0]["headers"]).get("vary", "Origin")
            problem = Problem("invalid-request", detail, headers={"Vary": vary}, status=400)
            scope["state"]["facts"]["problem"] = problem.kind.name
            await problems.response(problem)(scope, receive, send)


def _is_preflight(headers: Headers) -> bool:
    return "origin" in headers and "access-control-request-method" in headers
