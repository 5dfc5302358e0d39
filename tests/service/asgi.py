"""Requests to an application in process with every byte of their headers and every part of their body, and the raw response.

Also every operation of the OpenAPI document with a request that succeeds, so that a new path is tested without being listed.
"""

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlencode

import httpx
from fastapi import FastAPI
from starlette.types import Message, Scope

from app.api.bridges.translation import TAG
from app.service.execution import Execution
from tests.conftest import examples, recorded_document

HeaderLines = Sequence[tuple[str, str | bytes]]
JSON_BODY = ("Content-Type", "application/json")


class Response(NamedTuple):
    """What an application sent: its status, its header lines, its body, and how many parts of the request it has read."""

    status: int
    headers: httpx.Headers
    body: bytes
    parts_read: int

    def values(self, name: str) -> list[str]:
        """The values of all lines of a header, in order."""
        return self.headers.get_list(name)

    def elements(self, name: str) -> set[str]:
        """The elements of a header that is a list, in lower case."""
        return {element.strip().lower() for value in self.values(name) for element in value.split(",")}

    @property
    def problem(self) -> str:
        """The name of the kind of problem."""
        return str(json.loads(self.body)["type"]).removeprefix("/problems/")


class Operation(NamedTuple):
    """An operation of the document: its method and path, a query and body with which it succeeds, and its description."""

    id: str
    method: str
    path: str
    query: str
    body: bytes
    description: dict[str, Any]

    @property
    def is_open(self) -> bool:
        """Whether the operation needs no key."""
        return not self.path.startswith("/v1/")

    @property
    def media_type(self) -> str:
        """The first documented media type of the successful response."""
        return str(next(iter(self.description["responses"]["200"]["content"])))

    @property
    def headers(self) -> HeaderLines:
        """The headers that describe the body."""
        return [("Content-Type", next(iter(self.description["requestBody"]["content"])))] if self.body else []


def header_lines(headers: HeaderLines) -> list[tuple[bytes, bytes]]:
    """The headers as a server passes them on: lower-case names, and bytes."""
    return [(name.lower().encode(), value if isinstance(value, bytes) else value.encode("latin-1")) for name, value in headers]


async def exchange(
    app: FastAPI,
    method: str,
    path: str,
    headers: HeaderLines = (),
    *,
    query: str = "",
    parts: Iterable[bytes] = (b"",),
    leaves: bool = False,
) -> Response:
    """The response to one request whose body arrives in parts. If the client leaves, it does so instead of ending its body."""
    messages: list[Message] = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
    if not leaves:
        messages[-1]["more_body"] = False
    read, started, content = 0, None, b""
    finished = asyncio.Event()

    async def receive() -> Message:
        nonlocal read
        if read < len(messages):
            read += 1
            return messages[read - 1]
        if not leaves:
            await finished.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        nonlocal started, content
        if message["type"] == "http.response.start":
            assert started is None, "the response was started twice"
            started = message
        else:
            assert started is not None and not finished.is_set()
            content += message.get("body", b"")
            if not message.get("more_body", False):
                finished.set()

    scope: Scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(b"host", b"test"), *header_lines(headers)],
        "server": ("test", 80),
        "client": ("127.0.0.1", 123),
    }
    await app(scope, receive, send)
    assert scope["method"] == method, "a server reads here whether the response to a HEAD leaves its body out"
    assert started is not None and finished.is_set(), "the application sent no whole response"
    return Response(started["status"], httpx.Headers(started["headers"]), content, read)


def ask(
    app: FastAPI,
    method: str,
    path: str,
    headers: HeaderLines = (),
    *,
    setup: Callable[[Execution], object] | None = None,
    **options: Any,
) -> Response:
    """The response of an application that is ready, or in the state that `setup` makes. The options are those of `exchange`."""

    async def respond() -> Response:
        execution = app.state.execution = Execution(app.state.settings)
        execution.ready.set()
        if setup is not None:
            setup(execution)
        try:
            response = await exchange(app, method, path, headers, **options)
            assert execution.requests_in_flight == 0
            return response
        finally:
            execution.close()

    return asyncio.run(respond())


def perform(app: FastAPI, operation: Operation, headers: HeaderLines = (), **options: Any) -> Response:
    """The response to an operation, by default successful. The headers come on top of those that describe the body."""
    given = {name.lower() for name, _ in headers}
    described = [(name, value) for name, value in operation.headers if name.lower() not in given]
    method, path = options.pop("method", operation.method), options.pop("path", operation.path)
    options = {"query": operation.query, "parts": [operation.body]} | options
    return ask(app, method, path, [*described, *headers], **options)


def operations() -> list[Operation]:
    """Every operation of the document but those of the bridges, with the smallest of its examples as its request."""
    requests: dict[str, list[Mapping[str, Any]]] = {}
    bodies: dict[str, list[bytes]] = {}
    for example in examples():
        requests.setdefault(example.operation, []).append(example.content.get("request", {}))
        bodies.setdefault(example.operation, []).append(example.body)
    found = []
    for path, item in recorded_document()["paths"].items():
        for method, description in item.items():
            if TAG in description["tags"]:  # whose errors have forms of their own
                continue
            request = min(requests.get(description["operationId"], [{}]), key=lambda request: len(json.dumps(request)))
            query, filled = dict(request), path
            for parameter in description.get("parameters", []):
                if parameter["in"] == "path":
                    name = parameter["name"]
                    value = query.pop(name) if name in query else parameter["schema"]["examples"][0]
                    filled = filled.replace(f"{{{name}}}", value)
            has_body = "requestBody" in description
            body = min(bodies[description["operationId"]], key=len) if has_body else b""
            text = "" if has_body else urlencode(query)
            found.append(Operation(description["operationId"], method.upper(), filled, text, body, description))
    return found


OPERATIONS = operations()
POSTS = [operation for operation in OPERATIONS if operation.body]
GETS = [operation for operation in OPERATIONS if operation.method == "GET"]
STREAMS = [operation for operation in POSTS if operation.media_type == "text/event-stream"]
DOCS_PAGES = ["/docs", "/docs/start.js", "/docs/swagger-ui-bundle.js", "/docs/swagger-ui.css", "/docs/favicon.png"]
"""The pages of Swagger UI, which the document leaves out."""


def label(value: object) -> str:
    """The id of a parameter: the method and path of an operation, and what is printable of a short text."""
    if isinstance(value, Operation):
        return f"{value.method} {value.path}"
    return ascii(value)[:40]
