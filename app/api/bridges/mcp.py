"""The Model Context Protocol at /mcp, over streamable HTTP: language models call functions of /v1 as tools.

Here is what concerns HTTP and JSON-RPC: which hosts and origins may call, how much a request may hold, and what is no message
at all. The rest of the protocol is the SDK's.
"""

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import orjson
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, BeforeValidator, ConfigDict
from pydantic_core import PydanticCustomError
from starlette.types import Message as ASGIMessage

from app.api.bridges.mcp_calls import collect
from app.api.bridges.mcp_sdk import MAX_MESSAGE_BYTES, Connector
from app.engine.interruption import never
from app.service import bodies
from app.service.execution import Execution
from app.service.memory import Share, State
from app.service.models import found_text
from app.service.negotiation import JSON, negotiate
from app.service.problems import Problem
from app.settings import Settings

PARSE_ERROR, INVALID_REQUEST, INTERNAL_ERROR = -32700, -32600, -32603
CODES = {"invalid-json": PARSE_ERROR, "internal": INTERNAL_ERROR}
"""JSON-RPC's codes of problems; all others are invalid requests."""

HEADERS = ("MCP-Protocol-Version", "Mcp-Method", "Mcp-Name")
"""Headers of the protocol that clients send."""

PASSED_ON = (b"host", b"traceparent", b"tracestate")
"""Headers that the SDK sees, besides its own."""

router = APIRouter(include_in_schema=False)


def _message_id(value: Any) -> str | int:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise PydanticCustomError("message_id", "expected a string or an integer, found {found}", {"found": found_text(value)})
    return value


class Message(BaseModel):
    """A request or a notification of JSON-RPC. What else is in it is the SDK's to read."""

    model_config = ConfigDict(strict=True)

    jsonrpc: Literal["2.0"]
    method: str
    id: Annotated[str | int | None, BeforeValidator(_message_id)] = None
    params: dict[str, Any] = {}


@router.post("/mcp")
async def mcp(request: Request) -> Response:
    """Answer one message. What is wrong with it is answered as JSON-RPC's errors, which clients show."""
    settings: Settings = request.app.state.settings
    connector: Connector = request.app.state.mcp
    handle = await connector.started()
    refusal = foreign(request, settings)
    if refusal is not None:
        return refusal
    execution: Execution = request.app.state.execution
    share = Share(execution.budget)
    try:
        body = await _read(request, share, min(MAX_MESSAGE_BYTES, settings.max_body_bytes))
        bodies.parse(body, Message)
        messages: list[ASGIMessage] = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> ASGIMessage:
            return messages.pop() if messages else await request.receive()

        # The content type has been checked, and the SDK refuses what is sent without one.
        own = [(b"content-type", JSON.encode()), (b"accept", b"application/json, text/event-stream")]
        headers = [(name, value) for name, value in request.scope["headers"] if name.startswith(b"mcp-") or name in PASSED_ON]
        return await collect(handle, {**request.scope, "headers": [*own, *headers]}, receive, math.inf)
    except Problem as problem:
        request.scope["state"]["facts"]["problem"] = problem.kind.name
        return _refusal(problem)
    finally:
        share.release()


async def _read(request: Request, share: Share, limit: int) -> bytes:
    """The body, decompressed, for which `share` holds memory. Raises Problem."""
    negotiated = negotiate(request, (JSON,))
    try:
        body: bodies.Body = await bodies.read(request, negotiated.body_length, limit, share.receive)
        if negotiated.body_is_gzip:
            body = bodies.decompress(bytes(body), limit, never)
    except Problem as problem:
        if problem.kind.name != "too-large" or problem.kind.status != 413:
            raise
        detail = f"the message has more than {limit:,} bytes, the most that /mcp takes; send less data, or POST it to /v1"
        raise Problem("too-large", detail, headers=problem.headers) from None
    request.scope["state"]["facts"]["bytes_in"] = len(body)
    if len(body) > bodies.HELD_BYTES:
        share.state = State.QUEUED  # what it holds becomes free only when the call of /v1 ends, which may wait for memory
        share.keep(bodies.DECODED_RATIO * len(body))
    return bytes(body)


def _refusal(problem: Problem) -> Response:
    """A problem as an error of JSON-RPC, which has the problem object as its data."""
    details = problem.details
    code = CODES.get(problem.kind.name, INVALID_REQUEST)
    # What does not fit the model of a message is a malformed request to HTTP too.
    status = 400 if problem.kind.name == "invalid-request" else details.status
    return _error(status, code, details.detail, {"data": details.model_dump(exclude_none=True)}, problem.headers)


def _error(
    status: int, code: int, message: str, more: Mapping[str, Any] | None = None, headers: Mapping[str, str] | None = None
) -> Response:
    """An error of JSON-RPC that answers no particular request."""
    error = {"code": code, "message": message, **(more or {})}
    return Response(orjson.dumps({"jsonrpc": "2.0", "id": None, "error": error}), status, headers, JSON)


def foreign(request: Request, settings: Settings) -> Response | None:
    """The refusal of a request that is not sent to a host of the service, or is sent by a page of an origin that may not call.

    A page that makes its own host name resolve to the address of a service which only its visitor can reach (DNS rebinding)
    could otherwise call that service.
    """
    hosts = settings.hosts
    if hosts is None:
        return None
    named = _headers(request, b"host")
    if len(named) != 1 or _name_of(f"//{named[0]}") not in hosts:
        detail = "the Host header has no name by which /mcp may be called; AUTODIFF_ALLOWED_HOSTS lists them"
        return _error(421, INVALID_REQUEST, detail)
    for origin in _headers(request, b"origin"):
        if origin not in settings.origins and "*" not in settings.origins and _name_of(origin) not in hosts:
            detail = "pages of this origin may not call /mcp; AUTODIFF_CORS_ORIGINS lists those that may"
            return _error(403, INVALID_REQUEST, detail)
    return None


def _headers(request: Request, name: bytes) -> list[str]:
    return [str(value, "latin-1") for key, value in request.scope["headers"] if key == name]


def _name_of(url: str) -> str | None:
    """The host of a URL, in lower case and without a port; None where there is none."""
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None
