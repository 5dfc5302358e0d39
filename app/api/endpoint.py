"""How a function becomes an endpoint: read, decode, run, encode; and how it is described in the OpenAPI document.

A computation is a function of a request struct that returns an answer struct. Its first docstring line is the summary,
the rest the description. Not here: any particular endpoint.
"""

import asyncio
import inspect
import json
import math
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

import msgspec
from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse
from fastapi.routing import APIRoute
from starlette._utils import get_route_path
from starlette.exceptions import HTTPException
from starlette.routing import Match
from starlette.types import Receive, Scope, Send

from app.api import body, codec
from app.api.execution import INLINE_BYTES, INLINE_SECONDS, JOB, Execution, Job
from app.api.metrics import COMPUTE, DECODE, ENCODE
from app.api.negotiation import JSON, accepted, check_content, is_gzip, takes_gzip
from app.api.problems import KINDS, MEDIA_TYPE, Problem, ProblemDetails, failure_of
from app.engine.errors import quote
from app.engine.graph import Node

EVENT_STREAM = "text/event-stream"
PROGRESS_SECONDS = 0.1
WORTH_PACKING = 1400
"""Bytes below which an answer fits into one packet as it is."""
UNPACKED = [(b"vary", b"Accept-Encoding")]
PACKED = [*UNPACKED, (b"content-encoding", b"gzip")]

BODY_PROBLEMS = (
    "invalid-json",
    "unauthorized",
    "too-large",
    "overloaded",
    "deadline-exceeded",
    "unsupported-media-type",
    "invalid-request",
    "not-acceptable",
    "internal",
)
EXPRESSION_PROBLEMS = (
    *BODY_PROBLEMS,
    "unknown-node",
    "duplicate-node",
    "graph-cycle",
    "unknown-primitive",
    "wrong-arity",
    "unbound-input",
    "syntax-error",
    "shape-mismatch",
    "non-finite",
)

SCHEMAS: list[type] = [ProblemDetails, Node]
"""The structs that the OpenAPI document's schemas are made of."""

DESCRIBED: dict[str, dict[str, Any]] = {}
"""What the OpenAPI document says of each operation's body, answers and parameters, by its id."""


@cache
def examples(operation: str) -> dict[str, dict[str, Any]]:
    """The examples of an operation by name, from openapi/examples/<operation>.<name>.json."""
    packaged = Path(__file__).parent / "examples"
    folder = packaged if packaged.is_dir() else Path(__file__).parents[2] / "openapi" / "examples"
    files = sorted(folder.glob(f"{operation}.*.json"))
    return {file.name.split(".")[1]: json.loads(file.read_text("utf-8")) for file in files}


class Endpoint(APIRoute):
    """A route whose endpoint takes the request and makes the response itself: no dependencies are solved on the way."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """As a route does; a path without parameters is only compared."""
        if self.param_convertors:
            return super().matches(scope)
        if get_route_path(scope) != self.path:
            return Match.NONE, {}
        match = Match.FULL if scope["method"] in (self.methods or ()) else Match.PARTIAL
        return match, {"endpoint": self.endpoint, "path_params": {}, "route": self}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers the request; exceptions are answered by the application's handlers."""
        if scope["method"] not in (self.methods or ()):
            raise HTTPException(405, headers={"Allow": ", ".join(sorted(self.methods or ()))})
        response: Response = await self.endpoint(Request(scope, receive, send))
        await response(scope, receive, send)


class Answer(Response):
    """A response with headers that are made once for all answers of their kind."""

    def __init__(self, content: bytes, head: list[tuple[bytes, bytes]]) -> None:
        self.status_code = 200
        self.background = None
        self.body = content
        self.raw_headers = [(b"content-length", b"%d" % len(content)), *head]


def _content_type(media: str) -> bytes:
    """The header's value: a text says how it is encoded."""
    return (f"{media}; charset=utf-8" if media.startswith("text/") else media).encode()


def computation(
    router: APIRouter,
    path: str,
    *,
    seconds: Callable[[Any], float] | None = None,
    problems: tuple[str, ...] = EXPRESSION_PROBLEMS,
    renderings: Mapping[str, Callable[[Any], bytes]] | None = None,
) -> Callable[[Callable[[Any], Any]], Callable[[Any], Any]]:
    """Makes a POST endpoint of a function from a request struct to an answer struct.

    `seconds` estimates how long its work takes, about, where a small body can ask for much. `renderings` are media types
    beside JSON that an answer can be had in.
    """

    def register(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
        hints = get_type_hints(function)
        writers: dict[str, Callable[[Any], bytes]] = {JSON: codec.encode, **(renderings or {})}
        offered = tuple(writers)
        heads = {
            (media, packed): [(b"content-type", _content_type(media)), *(PACKED if packed else UNPACKED)]
            for media in offered
            for packed in (False, True)
        }
        decoder = msgspec.json.Decoder(hints["request"])

        async def endpoint(request: Request) -> Response:
            check_content(request)
            media = accepted(request, offered)
            execution: Execution = request.app.state.execution
            decode, small = await _received(request, decoder)
            pack = takes_gzip(request)

            def decoded() -> Any:
                began = time.perf_counter()
                asked = decode()
                DECODE.observe(time.perf_counter() - began)
                return asked

            def answered(asked: Any) -> tuple[bytes, bool]:
                began = time.perf_counter()
                answer = function(asked)
                computed = time.perf_counter()
                content = writers[media](answer)
                packed = pack and len(content) >= WORTH_PACKING
                content = body.packed(content) if packed else content
                COMPUTE.observe(computed - began)
                ENCODE.observe(time.perf_counter() - computed)
                return content, packed

            if not execution.ready.is_set():
                await execution.ready.wait()
            if not small:
                content, packed = await execution.pooled(lambda: answered(decoded()), request)
            else:
                asked = decoded()
                if seconds is None or seconds(asked) <= INLINE_SECONDS:
                    content, packed = execution.inline(lambda: answered(asked), request)
                else:
                    content, packed = await execution.pooled(lambda: answered(asked), request)
            return Answer(content, heads[media, packed])

        shown = examples(function.__name__)
        results = {key: {"summary": e["summary"], "value": e["answer"]} for key, e in shown.items() if "answer" in e}
        content: dict[str, Any] = {JSON: {"schema": _schema(hints["return"]), "examples": results}}
        content |= {media: {"schema": {"type": "string"}} for media in renderings or {}}
        _route(router, path, "POST", function, endpoint, content, problems, _body(function, hints["request"]))
        return function

    return register


def event_stream(
    router: APIRouter, path: str, *, problems: tuple[str, ...], events: Mapping[str, type[msgspec.Struct]]
) -> Callable[[Callable[[Any], Any]], Callable[[Any], Any]]:
    """Makes a POST endpoint, answered by server-sent events, of a function from a request struct to an iterator of
    (event, struct).

    What is wrong with a request is found when the function is called, and answered as ever; what comes up later is an
    `error` event. The iterator runs in the pool, and is left as soon as the client has gone.
    """

    def register(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
        hints = get_type_hints(function)
        decoder = msgspec.json.Decoder(hints["request"])

        async def endpoint(request: Request) -> Response:
            check_content(request)
            accepted(request, (EVENT_STREAM,))
            execution: Execution = request.app.state.execution
            decode, _ = await _received(request, decoder)
            await execution.ready.wait()
            stream = _relayed(execution, lambda: function(decode()), execution.job(request.scope["state"]["facts"]), request)
            await anext(stream)  # which raises what is wrong with the request
            # Proxies that collect an answer before they pass it on are asked not to.
            return StreamingResponse(stream, media_type=EVENT_STREAM, headers={"X-Accel-Buffering": "no"})

        kinds: dict[str, type] = {**events, "error": ProblemDetails}
        listed = "; ".join(f"`{name}`: {kind.__name__}" for name, kind in kinds.items())
        data = {"type": "string", "contentMediaType": JSON, "description": f"As JSON, by event: {listed}"}
        names = {"type": "string", "enum": list(kinds)}
        event = {"type": "object", "properties": {"event": names, "data": data}, "required": ["event", "data"]}
        content = {EVENT_STREAM: {"schema": event}}
        _route(router, path, "POST", function, endpoint, content, problems, _body(function, hints["request"]))
        return function

    return register


async def _received(request: Request, decoder: msgspec.json.Decoder[Any]) -> tuple[Callable[[], Any], bool]:
    """What makes a request struct of the body, which has been read and is within the limit; and whether that is quickly done.
    A body is unpacked where it is decoded, by the job that works on it.
    """
    execution: Execution = request.app.state.execution
    limit = execution.settings.max_body_bytes
    raw = await body.read(request, limit)
    if is_gzip(request):
        return lambda: codec.decode(body.unpacked(raw, limit, JOB.get().check), decoder), False
    return lambda: codec.decode(raw, decoder), len(raw) <= INLINE_BYTES


async def _relayed(
    execution: Execution, events: Callable[[], Iterator[tuple[str, msgspec.Struct]]], job: Job, request: Request
) -> AsyncIterator[bytes]:
    """The events as text, from a thread to the client: progress at most every `PROGRESS_SECONDS`, all else at once.

    First comes an empty text, when the events have begun, or the exception for which they have not.
    """
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[bytes | Exception | None] = asyncio.Queue()

    def put(item: bytes | Exception | None) -> None:
        loop.call_soon_threadsafe(queue.put_nowait, item)

    def work() -> None:
        told = -math.inf
        begun = False
        try:
            iterator = events()
            begun = True
            put(b"")
            for name, data in iterator:
                if job.cancelled:
                    return
                now = time.perf_counter()
                if name != "progress" or now - told >= PROGRESS_SECONDS:
                    told = now
                    put(_event(name, data))
        except Exception as error:
            put(_event("error", failure_of(error, request)) if begun else error)
        finally:
            put(None)

    def ended(future: asyncio.Future[None]) -> None:
        """Passes on why work never began: its time ran out while it waited."""
        error = None if future.cancelled() else future.exception()
        if isinstance(error, Exception):
            queue.put_nowait(error)

    execution.start(work, job).add_done_callback(ended)
    try:
        while (item := await queue.get()) is not None:
            if isinstance(item, Exception):
                raise item
            yield item
    finally:
        job.cancelled = True


def _event(name: str, data: msgspec.Struct) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + codec.encode(data) + b"\n\n"


@dataclass(frozen=True, slots=True)
class QueryParameter:
    """A number that a GET takes in its query, None where it is not given."""

    name: str
    kind: type[int] | type[float]
    description: str


def description(
    router: APIRouter,
    path: str,
    *,
    media: str = JSON,
    problems: tuple[str, ...] = ("not-acceptable", "internal"),
    path_example: str | None = None,
    query: tuple[QueryParameter, ...] = (),
    pooled: bool = False,
) -> Callable[[Callable[[Request], Any]], Callable[[Request], Any]]:
    """Makes a GET endpoint of a function that gets the request and returns an answer struct, or, for other media types than
    JSON, a whole response.

    The function finds the numbers of its `query` in `request.state.query`. `pooled` ones run in the pool.
    """

    def register(function: Callable[[Request], Any]) -> Callable[[Request], Any]:
        answer = get_type_hints(function)["return"]
        structured = isinstance(answer, type) and issubclass(answer, msgspec.Struct)

        async def endpoint(request: Request) -> Response:
            accepted(request, (media,))
            request.state.query = _query(request, query)
            if not pooled:
                result = function(request)
                return Response(codec.encode(result), media_type=media) if structured else result
            execution: Execution = request.app.state.execution
            content = await execution.start(
                lambda: codec.encode(function(request)), execution.job(request.scope["state"]["facts"])
            )
            return Response(content, media_type=media)

        shown = examples(function.__name__)
        results = {key: {"summary": e["summary"], "value": e["answer"]} for key, e in shown.items() if "answer" in e}
        content: dict[str, Any] = {media: {"schema": _schema(answer) if structured else {"type": "string"}}}
        if results:
            content[media]["examples"] = results
        parameters: list[dict[str, Any]] = []
        if path_example is not None:
            text = {"type": "string"}
            parameters.append({"name": "name", "in": "path", "required": True, "schema": text, "example": path_example})
        for q in query:
            schema = {"type": "integer" if q.kind is int else "number"}
            parameters.append({"name": q.name, "in": "query", "description": q.description, "schema": schema})
        _route(router, path, "GET", function, endpoint, content, problems, {"parameters": parameters} if parameters else {})
        return function

    return register


def _query(request: Request, parameters: tuple[QueryParameter, ...]) -> dict[str, int | float | None]:
    """The numbers in a query. Raises Problem for one that is none, and for a parameter that there is not."""
    known = {q.name: q for q in parameters}
    if not known:  # whatever a probe adds so as not to be answered from a cache
        return {}
    numbers: dict[str, int | float | None] = dict.fromkeys(known)
    for name, text in request.query_params.multi_items():
        if name not in known:
            listed = ", ".join(known) or "none"
            raise Problem("invalid-request", f"there is no query parameter {quote(name)}; there are: {listed}")
        try:
            number = known[name].kind(text)
        except ValueError:
            number = math.nan
        if not -1e308 <= number <= 1e308 or "_" in text:
            what = "an integer" if known[name].kind is int else "a number"
            raise Problem("invalid-request", f"the query parameter {name} is {what}, not {quote(text)}")
        numbers[name] = number
    return numbers


def _route(
    router: APIRouter,
    path: str,
    method: str,
    function: Callable[..., Any],
    endpoint: Callable[[Request], Any],
    content: dict[str, Any],
    problems: tuple[str, ...],
    described: dict[str, Any],
) -> None:
    """Adds the route, with the function's docstring and what it can answer in the OpenAPI document."""
    summary, _, text = inspect.cleandoc(function.__doc__ or "").partition("\n\n")
    router.add_api_route(
        path,
        endpoint,
        methods=[method],
        operation_id=function.__name__,
        summary=summary.rstrip("."),
        description=text,
        response_class=Response,
        route_class_override=Endpoint,
    )
    answers = {"200": {"description": "The answer", "content": content}, **_problem_responses(problems)}
    DESCRIBED[function.__name__] = {**described, "responses": answers}


def _body(function: Callable[..., Any], kind: type) -> dict[str, Any]:
    """A request body of this struct, with the operation's examples."""
    shown = {key: {"summary": e["summary"], "value": e["request"]} for key, e in examples(function.__name__).items()}
    return {"requestBody": {"required": True, "content": {JSON: {"schema": _schema(kind), "examples": shown}}}}


def _schema(kind: type) -> dict[str, str]:
    """A reference to the schema of a struct, which is then in the document."""
    SCHEMAS.append(kind)
    return {"$ref": f"#/components/schemas/{kind.__name__}"}


def _problem_responses(names: tuple[str, ...]) -> dict[str, Any]:
    """The error answers, one for each status, with the problems that have it."""
    by_status: dict[int, list[str]] = {}
    for name in names:
        by_status.setdefault(KINDS[name].status, []).append(name)
    return {
        str(status): {
            "description": "; ".join(f"[{name}](/problems/{name}): {KINDS[name].title}" for name in kinds),
            "content": {MEDIA_TYPE: {"schema": {"$ref": f"#/components/schemas/{ProblemDetails.__name__}"}}},
        }
        for status, kinds in sorted(by_status.items())
    }
