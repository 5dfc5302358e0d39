"""Calls of the endpoints of /v1 from within the process, on behalf of another request.

A call goes through the endpoint's own route, so its limits, deadline, memory and place in the pool are those of a request over
HTTP, and so are the bytes of the answer. It ends when the client of the other request goes away.
"""

import json
from collections.abc import Mapping
from typing import Any

import orjson
from fastapi import Request, Response
from starlette.types import ASGIApp, Message, Receive, Scope

from app.service import problems
from app.service.execution import Execution
from app.service.negotiation import JSON
from app.service.problems import Problem


class CallFailed(Exception):
    """An endpoint answered with a problem.

    Attributes:
        problem: the problem object.
        retry_after: after how many seconds it may help to try again; None where it does not.
    """

    def __init__(self, problem: Mapping[str, Any], retry_after: str | None = None) -> None:
        super().__init__(problem["detail"])
        self.problem = problem
        self.retry_after = retry_after

    @property
    def name(self) -> str:
        """The name of the kind of problem."""
        return str(self.problem["type"]).removeprefix("/problems/")


class AnswerTooLong(Exception):
    """A response has more bytes than its reader takes."""


async def collect(app: ASGIApp, scope: Scope, receive: Receive, limit: float) -> Response:
    """The response of an ASGI application, in memory. Raises AnswerTooLong where its body has more than `limit` bytes."""
    status, headers, body = 500, [], bytearray()

    async def send(message: Message) -> None:
        nonlocal status, headers
        if message["type"] == "http.response.start":
            status, headers = message["status"], list(message.get("headers", ()))
            declared = dict(headers).get(b"content-length", b"")
            if declared.isdigit() and int(declared) > limit:
                raise AnswerTooLong
        elif message["type"] == "http.response.body":
            body.extend(message.get("body", b""))
            if len(body) > limit:
                raise AnswerTooLong

    await app(scope, receive, send)
    response = Response(bytes(body), status)
    response.raw_headers = headers
    return response


async def call(request: Request, path: str, arguments: Mapping[str, Any], limit: int) -> dict[str, Any]:
    """What `POST path` answers to a body of these fields, as decoded JSON.

    Args:
        request: the request on whose behalf the call is made, with its client, key and id. Its body has been read.
        path: the path of the endpoint, without the root path of the service.
        arguments: the fields of the body.
        limit: the most bytes that the answer may have.

    Raises CallFailed, also where the answer is too long.
    """
    try:
        body = json.dumps(arguments).encode()
    except RecursionError:
        raise CallFailed(described(Problem("invalid-request", "the arguments are nested too deeply"))) from None
    facts: dict[str, Any] = {}
    scope = _scope(request, path, len(body), facts)
    execution: Execution = request.app.state.execution
    try:
        response = await collect(request.app.router, scope, _receive(body, request.receive), limit)
    except AnswerTooLong:
        detail = f"the answer has more than {limit:,} bytes; ask for fewer points, or for less about each"
        raise CallFailed(described(Problem("too-large", detail, status=422))) from None
    except Exception as error:
        response = await problems.answer(request, error)
    finally:
        job = scope["state"].get("job")
        if job is not None:
            execution.finish(job)
        known = request.scope["state"]["facts"]
        known |= {name: facts[name] for name in ("memory", "problem") if name in facts}
    if response.status_code != 200:
        raise _failed(response)
    answer: dict[str, Any] = orjson.loads(response.body)
    return answer


async def failure_of(request: Request, error: Exception) -> CallFailed:
    """What a call fails with where an error was raised outside of any endpoint: a defect, which is logged."""
    return _failed(await problems.answer(request, error))


def _failed(response: Response) -> CallFailed:
    # A client that has left gets no body, and nobody reads this.
    content = response.body or Problem("internal", "the client has left").details.to_json()
    return CallFailed(orjson.loads(content), response.headers.get("retry-after"))


def _scope(request: Request, path: str, length: int, facts: dict[str, Any]) -> Scope:
    """The ASGI scope of a request for JSON, from the same client and with the same key as another."""
    root = request.scope.get("root_path", "")
    whole = f"{root}{path}"
    headers = [(b"content-type", JSON.encode()), (b"accept", JSON.encode()), (b"content-length", str(length).encode())]
    state = {**request.scope["state"], "facts": facts}
    own = {"method": "POST", "path": whole, "raw_path": whole.encode(), "query_string": b"", "headers": headers, "state": state}
    return {**request.scope, **own}


def _receive(body: bytes, receive: Receive) -> Receive:
    """An ASGI `receive` that gives a body, and then what else comes on the connection: that the client leaves."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_next() -> Message:
        return messages.pop() if messages else await receive()

    return receive_next


def described(problem: Problem) -> dict[str, Any]:
    """The problem object of a problem."""
    return problem.details.model_dump(exclude_none=True)
