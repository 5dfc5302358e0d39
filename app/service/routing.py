"""The route class of computations: plain functions from a request model to a response model, served by FastAPI.

A request that is a file has a model derived from `FileRequest`. A function that responds with a file returns what
`file_response` makes.

`ComputationRoute` reads and validates the body before FastAPI sees it, and decides where the work runs. FastAPI does the rest:
it solves the dependencies of the route, the router and the app, calls the function, and describes it in the OpenAPI document.
An invalid body is answered before any dependency runs. The parameters of a GET are left to FastAPI; it is computed in the pool
and does not wait until the kernels are ready.

    router = APIRouter(route_class=ComputationRoute)

    @router.post("/square")
    @computation(estimate_seconds=lambda request: 1e-6)
    def square(request: SquareRequest, job: Job) -> SquareResponse:
        return SquareResponse(value=request.x**2)

The parameter annotated with `Job`, if there is one, gets the limits, deadline and cancellation check of the request. A
function that is not marked as a `computation` runs on the event loop if its body is small.
"""

import functools
import inspect
import itertools
import math
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar, get_type_hints

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.datastructures import Headers, QueryParams
from starlette.routing import Match
from starlette.types import Message, Receive, Scope

from app.service import bodies, pieces, streaming
from app.service.execution import INLINE_BYTES, INLINE_SECONDS, SHORT_BYTES, SHORT_SECONDS, Execution, Job
from app.service.metrics import COMPUTE, ENCODE
from app.service.models import Arrays, FileRequest, RequestModel, take_apart
from app.service.negotiation import FILE, JSON, Negotiated, negotiate

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])
Handler = Callable[[Request], Coroutine[Any, Any, Response]]

Rendering = Callable[[Any], bytes] | Callable[[Any], Iterator[bytes]]
"""What writes a response in a media type."""

NO_HEADERS = Headers()
NO_PARAMETERS = QueryParams()

MIN_COMPRESSED_BYTES = 1400
"""Responses below this size fit into one packet as they are."""

TAKEN_APART_BYTES = 1 << 20
"""A model from a larger body is taken apart when it has been answered."""

PNG, SVG = "image/png", "image/svg+xml"

DOCUMENTED: dict[str, dict[str, Any]] = {
    PNG: {"schema": {"type": "string", "format": "binary", "description": "A picture of 1200 by 900 pixels"}},
    SVG: {
        "schema": {"type": "string", "description": "A picture as an SVG document"},
        "example": '<svg xmlns="http://www.w3.org/2000/svg" width="576pt" height="432pt" viewBox="0 0 576 432">...</svg>',
    },
}
"""How the OpenAPI document describes pictures."""

GZIP_RATIO = 32
"""A compressed body counts as so many times its size until it is decompressed."""


def little_work(request: object, **path: str) -> float:
    """The default estimate: small bodies mean little work."""
    return 0.0


def forever(request: object, **path: str) -> float:
    """The estimate for work without an end."""
    return math.inf


@dataclass(frozen=True, slots=True)
class Computation:
    """How to run an endpoint function and write its response.

    Attributes:
        estimate_seconds: the estimated run time of a request in seconds. Parameters in the path are passed by name.
        renderings: further media types of the answer, and what writes them, as a whole or in pieces.
        file: the function responds with a file, which `file_response` makes, and not with JSON.
        streams: the function returns an iterator of (event name, model), sent as server-sent events.
        ends_early: the function ends by itself in time for the deadline, so that what it returns is written even after it.
        pictures: media types of pictures, and what draws them from the request, in place of the function, in the pool.
        any_content_type: the body is read as JSON, whatever it is declared as.
        needs_gradients_only: small requests are answered as soon as the kernels for gradients are ready.
    """

    estimate_seconds: Callable[..., float] = little_work
    renderings: Mapping[str, Rendering] = field(default_factory=dict)
    file: bool = False
    streams: bool = False
    ends_early: bool = False
    pictures: Mapping[str, Callable[[Any, Job], bytes]] = field(default_factory=dict)
    any_content_type: bool = False
    needs_gradients_only: bool = False

    @property
    def media_types(self) -> tuple[str, ...]:
        """The media types that a response can have."""
        if self.file:
            return (FILE,)
        return (streaming.MEDIA_TYPE,) if self.streams else (JSON, *self.renderings, *self.pictures)


def computation(
    *,
    estimate_seconds: Callable[..., float] = little_work,
    renderings: Mapping[str, Rendering] | None = None,
    file: bool = False,
    streams: bool = False,
    ends_early: bool = False,
    pictures: Mapping[str, Callable[[Any, Job], bytes]] | None = None,
    any_content_type: bool = False,
    needs_gradients_only: bool = False,
) -> Callable[[Endpoint], Endpoint]:
    """Mark a function as a computation; the arguments are those of `Computation`."""

    def mark(function: Endpoint) -> Endpoint:
        estimate = forever if streams else estimate_seconds  # a stream lasts as long as its client reads it
        vars(function)["computation"] = Computation(
            estimate, renderings or {}, file, streams, ends_early, pictures or {}, any_content_type, needs_gradients_only
        )
        return function

    return mark


class FileResponse(StreamingResponse):
    """A file in pieces, each given up when it is sent."""

    media_type = FILE

    def __init__(
        self, content: Iterable[bytes | memoryview], status_code: int = 200, headers: Mapping[str, str] | None = None
    ) -> None:
        self.pieces: deque[pieces.Piece] = deque(pieces.grouped(content))
        super().__init__(pieces.released(self.pieces), status_code, headers)


def file_response(content: Iterable[bytes | memoryview], name: str) -> FileResponse:
    """A response that the client saves under a name. No piece of the content takes more than some milliseconds to compress."""
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Vary": "Accept-Encoding"}
    return FileResponse(content, headers=headers)


class ParsedRequest(Request):
    """A request whose body has been read, decompressed and validated.

    FastAPI reads the body before it solves the dependencies, so the first `json()` returns the model, which FastAPI passes on
    as it is. Dependencies that read the body get what the client sent.
    """

    def __init__(
        self, request: Request, body: bodies.Body, model: RequestModel | None, job: Job, negotiated: Negotiated
    ) -> None:
        super().__init__(request.scope, _replay(body, request.receive))
        self.content = body
        self.model = model
        self.job = job
        self.negotiated = negotiated
        self.read_by_fastapi = model is None

    @property
    def headers(self) -> Headers:
        """The headers; none until FastAPI has read the body, or it would parse the content type: 3 % of a small request."""
        return super().headers if self.read_by_fastapi else NO_HEADERS

    @property
    def query_params(self) -> QueryParams:
        """The parameters of the query. Without one, there is nothing to parse: 3 % of a small request."""
        return super().query_params if self.scope["query_string"] else NO_PARAMETERS

    async def body(self) -> bytes:
        """The body, decompressed."""
        if self.read_by_fastapi:
            return bytes(self.content)
        # FastAPI only asks whether it is empty, which needs no copy. An empty file is for the computation to refuse.
        return self.content or b"\0"  # type: ignore[return-value]

    async def json(self) -> Any:
        """The model for FastAPI, then the decoded body."""
        if self.read_by_fastapi:
            return await super().json()
        self.read_by_fastapi = True
        return self.model


def _replay(body: bodies.Body, receive: Receive) -> Receive:
    """An ASGI `receive` that replays a body that was already read."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again() -> Message:
        return messages.pop() if messages else await receive()

    return receive_again


class PrefixRouter(APIRouter):
    """A router that decides at once about most requests, and is included without a further prefix.

    It is passed over if the path does not begin as its prefix does, up to a parameter, and taken if the path is that of one of
    its routes without parameters. FastAPI tries every route of every router before the right one, and twice, which takes longer
    than a small computation.
    """

    @functools.cached_property
    def plain_paths(self) -> set[tuple[str, str]]:
        """The methods and paths of the routes without parameters, when the first request comes."""
        routes = [route for route in self.routes if isinstance(route, APIRoute) and not route.param_convertors]
        return {(method, route.path) for route in routes for method in route.methods or ()}

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Whether one of the routes is the one for a request."""
        path = scope.get("path", "")
        if self.prefix.partition("{")[0] not in path:  # behind a root path, it does not begin the path
            return Match.NONE, {}
        if (scope.get("method"), path) in self.plain_paths and not scope.get("root_path"):
            return Match.FULL, {}  # FastAPI looks for the route itself when it handles the request
        return super().matches(scope)


class ComputationRoute(APIRoute):
    """A route for a computation, a POST of a model or a GET: see the module's docstring."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        self.computation: Computation = vars(endpoint).get("computation", Computation())
        parameters = {
            name: hint for name, hint in get_type_hints(endpoint).items() if name != "return" and isinstance(hint, type)
        }
        models = {name: hint for name, hint in parameters.items() if issubclass(hint, RequestModel)}
        if len(models) != 1:
            raise TypeError(f"{endpoint.__name__} must have one parameter that is a RequestModel, and has {len(models)}")
        self.model_name, self.body_model = next(iter(models.items()))
        self.vary = "Accept, Accept-Encoding" if len(self.computation.media_types) > 1 else "Accept-Encoding"
        self.reads_body = options.get("methods") != ["GET"]
        self.reads_file = issubclass(self.body_model, FileRequest)
        if inspect.iscoroutinefunction(endpoint):
            raise TypeError(f"{endpoint.__name__} must be a plain function: computations run in threads too")
        self.injected = {name: hint for name, hint in parameters.items() if issubclass(hint, Job | Request | Response)}
        super().__init__(path, self._runner(endpoint), **_documented(self.computation, options))

    def get_route_handler(self) -> Handler:
        """FastAPI's handler, behind one that validates the body, finds a place for the work, and cleans up after it."""
        handle = super().get_route_handler()
        media_types = self.computation.media_types
        body_type = None if self.computation.any_content_type else FILE if self.reads_file else JSON

        async def handle_computation(request: Request) -> Response:
            negotiated = negotiate(request, media_types, body_type)
            is_picture = negotiated.media_type in self.computation.pictures
            # Pictures are drawn in the pool, however small they are.
            estimate_seconds = forever if is_picture else self.computation.estimate_seconds
            if request.path_params:
                estimate_seconds = functools.partial(estimate_seconds, **request.path_params)
            execution: Execution = request.app.state.execution
            state = request.scope["state"]
            settings = execution.settings
            job = state["job"] = Job(settings, math.inf, state["facts"])
            body: bodies.Body = b""
            if self.reads_body:
                hold = functools.partial(execution.receive, job, request)
                body = await bodies.read(request, negotiated.body_length, settings.max_body_bytes, hold)
                state["facts"]["bytes_in"] = len(body)
                if not execution.ready.is_set():
                    is_early = self.computation.needs_gradients_only and len(body) < bodies.SCANNED_BYTES
                    await execution.wait_for_kernels(job, of_gradients=is_early)
            job.deadline = time.perf_counter() + settings.compute_timeout_s
            try:
                if not self.reads_body:
                    return await handle(ParsedRequest(request, body, None, job, negotiated))
                # In the pool, a request may also compile what it alone needs.
                if len(body) > INLINE_BYTES or negotiated.body_is_gzip or not execution.ready.is_set():
                    return await handle(await self._parse_in_pool(request, body, job, negotiated, estimate_seconds))
                model = state["model"] = bodies.parse(body, self.body_model)
                seconds = estimate_seconds(model)
                if seconds > INLINE_SECONDS:
                    await execution.admit(job, request, is_short=seconds <= SHORT_SECONDS)
                return await handle(ParsedRequest(request, body, model, job, negotiated))
            finally:
                if job.admitted:
                    execution.release(job)

        return handle_computation

    async def _parse_in_pool(
        self, request: Request, body: bodies.Body, job: Job, negotiated: Negotiated, estimate_seconds: Callable[[Any], float]
    ) -> ParsedRequest:
        """The request, decompressed and validated in the pool, with a place there for its computation."""
        execution: Execution = request.app.state.execution

        def parse() -> ParsedRequest:
            text: bodies.Body = body
            if negotiated.body_is_gzip:
                limit = job.settings.max_body_bytes
                # Twice, since what grows may have to be copied.
                job.reserve(2 * min(limit, bodies.MAX_GZIP_RATIO * len(body)))
                text = bodies.decompress(body, limit, job.check)
            job.reserve((1 if self.reads_file else bodies.DECODED_RATIO) * len(text))
            return ParsedRequest(request, text, bodies.parse(text, self.body_model, job.check), job, negotiated)

        is_short = len(body) * (GZIP_RATIO if negotiated.body_is_gzip else 1) <= SHORT_BYTES
        await execution.admit(job, request, is_short=is_short)
        parsed = await execution.run(job, parse)
        request.scope["state"]["model"] = parsed.model
        if is_short and estimate_seconds(parsed.model) > SHORT_SECONDS:
            await execution.become_long(job, request)
        return parsed

    def _runner(self, endpoint: Callable[..., Any]) -> Callable[..., Coroutine[Any, Any, Response]]:
        """The function as FastAPI calls it: run on the loop or in the pool, with its answer written."""

        @functools.wraps(endpoint)
        async def run(http_request: ParsedRequest, http_response: Response, **arguments: Any) -> Any:
            job = http_request.job
            if not self.reads_body:
                seconds = self.computation.estimate_seconds(arguments[self.model_name])
                await http_request.app.state.execution.admit(job, http_request, is_short=seconds <= SHORT_SECONDS)
            for name, kind in self.injected.items():
                arguments[name] = job if kind is Job else http_response if issubclass(kind, Response) else http_request
            if self.computation.streams:
                response = await self._stream(endpoint, arguments, http_request)
            elif job.admitted:
                work = functools.partial(self._answer_in_pool, endpoint, arguments, http_request)
                response = await http_request.app.state.execution.run(job, work)
            else:
                response = self._answer(endpoint, arguments, http_request)
            if not isinstance(response, Response):
                return response  # what is not a model of ours is left to FastAPI
            response.raw_headers.extend(http_response.raw_headers)  # those that dependencies have set
            response.status_code = http_response.status_code or self.status_code or response.status_code
            return response

        del vars(run)["__wrapped__"]  # FastAPI would look through it, and run a generator function as a stream of its own kind
        vars(run)["__signature__"] = self._signature(endpoint)
        return run

    def _signature(self, endpoint: Callable[..., Any]) -> inspect.Signature:
        """The function's signature for FastAPI: without what `run` gives it, and with the request and response of `run`."""
        signature = inspect.signature(endpoint, eval_str=True)
        kept = [parameter for name, parameter in signature.parameters.items() if name not in self.injected]
        for name, kind in (("http_request", Request), ("http_response", Response)):
            kept.append(inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=kind))
        return signature.replace(parameters=kept)

    def _answer_in_pool(self, endpoint: Callable[..., Any], arguments: Mapping[str, Any], request: ParsedRequest) -> Any:
        """Answer a request, and take it apart afterwards if it is large."""
        try:
            return self._answer(endpoint, arguments, request)
        finally:
            if request.model is not None and len(request.content) > TAKEN_APART_BYTES:
                take_apart(request.model)

    def _answer(self, endpoint: Callable[..., Any], arguments: Mapping[str, Any], request: ParsedRequest) -> Any:
        """Run the function, encode the model it returns, and compress it if the client accepts gzip."""
        media_type = request.negotiated.media_type
        arrays = _arrays(arguments[self.model_name])
        began = time.perf_counter()
        draw = self.computation.pictures.get(media_type)
        answer = endpoint(**arguments) if draw is None else draw(arguments[self.model_name], request.job)
        computed = time.perf_counter()
        COMPUTE.observe(computed - began)
        if draw is not None:
            request.job.keep(len(answer))
            content = answer
        else:
            if isinstance(answer, FileResponse):
                return self._file(answer, request)
            if not isinstance(answer, BaseModel):
                return answer
            check = request.job.check_client if self.computation.ends_early else request.job.check
            if media_type == JSON and request.job.admitted:
                return self._in_pieces(pieces.unwritten(answer, check, arrays), check, request)
            render = self.computation.renderings.get(media_type)
            written = bodies.encode(answer, arrays) if render is None else render(answer)
            if not isinstance(written, bytes) and request.job.admitted:
                return self._in_pieces(_checked(written, check), check, request)
            content = written if isinstance(written, bytes) else b"".join(written)
        headers = {"Vary": self.vary}
        if request.negotiated.compress and len(content) >= MIN_COMPRESSED_BYTES and media_type != PNG:
            content = bodies.compress(content)
            headers["Content-Encoding"] = "gzip"
        ENCODE.observe(time.perf_counter() - computed)
        return Response(content, headers=headers, media_type=media_type)

    def _in_pieces(self, content: Iterator[pieces.Piece], check: Callable[[], None], request: ParsedRequest) -> Response:
        """The answer of work in the pool, which may be large. `check` is called before each piece is compressed."""
        began, job, headers = time.perf_counter(), request.job, {"Vary": self.vary}
        head = list(itertools.islice(content, 2))
        content = itertools.chain(head, content)
        if request.negotiated.compress and (len(head) > 1 or len(head[0]) >= MIN_COMPRESSED_BYTES):
            content = pieces.compress(content, check)
            headers["Content-Encoding"] = "gzip"
        body = deque(content)
        size = sum(map(len, body))
        job.keep(size)
        headers["Content-Length"] = str(size)
        ENCODE.observe(time.perf_counter() - began)
        return StreamingResponse(pieces.released(body), headers=headers, media_type=request.negotiated.media_type)

    def _file(self, answer: FileResponse, request: ParsedRequest) -> Response:
        """The file, compressed if the client accepts gzip."""
        began, job, content = time.perf_counter(), request.job, answer.pieces
        if request.negotiated.compress and sum(map(len, content)) >= MIN_COMPRESSED_BYTES:
            whole = (content.popleft() for _ in range(len(content)))
            content.extend(list(pieces.compress(whole, job.check)))
            answer.headers["Content-Encoding"] = "gzip"
        size = sum(map(len, content))
        answer.headers["Content-Length"] = str(size)
        if job.admitted:
            job.keep(size)
        ENCODE.observe(time.perf_counter() - began)
        return answer

    async def _stream(self, endpoint: Callable[..., Any], arguments: Mapping[str, Any], request: ParsedRequest) -> Response:
        """Server-sent events from a thread of the pool. What is wrong with the request is answered as an ordinary problem."""
        execution: Execution = request.app.state.execution
        job = request.job

        def events() -> Iterator[tuple[str, Any]]:
            return endpoint(**arguments)  # type: ignore[no-any-return]  # whatever function is registered

        content = await streaming.start(execution, job, events, request, _arrays(arguments[self.model_name]))
        # Ask proxies that buffer responses not to.
        return StreamingResponse(content, media_type=streaming.MEDIA_TYPE, headers={"X-Accel-Buffering": "no"})


def _checked(content: Iterator[bytes], check: Callable[[], None]) -> Iterator[bytes]:
    """The same pieces, with `check` called before each."""
    for piece in content:
        check()
        yield piece


def _arrays(model: RequestModel) -> Arrays:
    """How the response to a request has its arrays."""
    arrays: Arrays = vars(model).get("arrays", "list")  # pydantic takes long to say that a model has no such field
    return arrays


def _documented(computation: Computation, options: dict[str, Any]) -> dict[str, Any]:
    """The route's options with the computation's media types for the OpenAPI document."""
    others = [media for media in computation.media_types if media != JSON]
    content = {media: DOCUMENTED.get(media, {"schema": {"type": "string"}}) for media in others}
    options["responses"] = {200: {"content": content}, **(options.get("responses") or {})}
    if computation.file:
        content[FILE]["schema"]["format"] = "binary"
        options |= {"response_class": FileResponse, "response_model": None}
    if computation.streams:
        options |= {"response_class": streaming.EventStream, "response_model": None}
    return {**options, "strict_content_type": False}  # which has been checked by then, and may be absent
