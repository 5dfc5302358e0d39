"""The headers of every kind of response, on every path of the OpenAPI document.

The values are those of the wire contract, of RFC 9110 and, for security headers, of OWASP's recommendations for REST services.
"""

import gzip
import re
from collections.abc import AsyncIterator, Callable, Mapping
from functools import cache
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from fastapi.responses import StreamingResponse
from pydantic import SecretStr

from app.main import create_app
from app.service import bodies, routing
from app.service.execution import INLINE_BYTES, Execution, Job
from app.service.models import RequestModel
from app.service.places import Ticket
from app.service.routing import PNG, ComputationRoute, computation
from app.settings import Settings
from tests.rows import for_each
from tests.service.asgi import (
    DOCS_PAGES,
    GETS,
    OPERATIONS,
    POSTS,
    STREAMS,
    HeaderLines,
    Operation,
    Response,
    ask,
    label,
    perform,
)
from tests.service.inprocess import service

PROBLEM = "application/problem+json"
REQUEST_ID = ("X-Request-ID", "given-by-the-client")

SECURITY_HEADERS = {"x-content-type-options": "nosniff", "referrer-policy": "no-referrer", "x-frame-options": "DENY"}

API_POLICY = {"default-src": "'none'", "frame-ancestors": "'none'"}
"""A response of the API is no page: it loads nothing, and no page frames it."""

PAGE_POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data: blob:",
    "connect-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
}
"""Nothing is inline. Pictures with inline styles are shown as images."""

DOCS_POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self' 'unsafe-inline'",
    "img-src": "'self' data: blob:",
    "font-src": "'self' data:",
    "connect-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
}
"""Swagger UI loads from this service only. It styles its elements inline and has icons in data URLs; no script is inline."""

NO_HEADERS: dict[str, str] = {}

OPTIONAL_HEADERS = [
    "accept-encoding",
    "accept-post",
    "allow",
    "connection",
    "content-encoding",
    "location",
    "retry-after",
    "www-authenticate",
    "x-accel-buffering",
]
"""Headers that belong to some kinds of responses, and are on no other."""

DISCLOSING_HEADERS = ["server", "x-powered-by", "set-cookie", "access-control-allow-origin", "access-control-allow-credentials"]


@cache
def app_with(**settings: Any) -> FastAPI:
    """The application with some settings. Each is made once."""
    return create_app(Settings(**settings))


def policy(response: Response) -> dict[str, str]:
    """The content security policy by directive."""
    (text,) = response.values("content-security-policy")
    directives = [directive.split(maxsplit=1) for directive in text.split(";")]
    assert len({name for name, _ in directives}) == len(directives), "a repeated directive is ignored"
    return {name: " ".join(value.split()) for name, value in directives}


def assert_headers(
    response: Response,
    status: int,
    content_type: str = PROBLEM,
    optional: Mapping[str, str] = NO_HEADERS,
    *,
    docs: bool = False,
) -> None:
    """Assert what holds for every response, and that of the optional headers it has exactly these, each once."""
    assert response.status == status, response.body[:300]
    found = {name: response.values(name) for name in SECURITY_HEADERS}
    assert found == {name: [value] for name, value in SECURITY_HEADERS.items()}
    is_page = content_type.startswith("text/html")
    assert policy(response) == (DOCS_POLICY if docs else PAGE_POLICY if is_page else API_POLICY)
    assert response.values("x-request-id") == [REQUEST_ID[1]]
    assert response.values("content-type") == [content_type]
    if content_type.startswith("text/event-stream"):
        assert response.values("content-length") == []
    else:
        assert response.values("content-length") == [str(len(response.body))]
    if status in (429, 503):
        (seconds,) = response.values("retry-after")
        assert re.fullmatch("[1-9][0-9]{0,2}", seconds)
        optional = {**optional, "retry-after": seconds}
    found = {name: response.values(name) for name in OPTIONAL_HEADERS if response.values(name)}
    assert found == {name: [value] for name, value in optional.items()}
    assert [name for name in DISCLOSING_HEADERS if name in response.headers] == []


def content_type_of(operation: Operation) -> str:
    """The documented media type of a success. Text says that it is UTF-8; JSON always is, and takes no parameter."""
    media_type = operation.media_type
    return f"{media_type}; charset=utf-8" if media_type.startswith("text/") and ";" not in media_type else media_type


def stream_headers(operation: Operation) -> dict[str, str]:
    """The headers of a success that only streams have: proxies are asked not to hold events back."""
    return {"x-accel-buffering": "no"} if operation in STREAMS else {}


def padded(body: bytes) -> bytes:
    """The same JSON, too large for the event loop. A file is in the pool in any case."""
    return body.ljust(INLINE_BYTES + 1) if body.startswith(b"{") else body


every_operation = for_each("operation", OPERATIONS)
every_get = for_each("operation", GETS)
every_post = for_each("operation", POSTS)
in_every_size = pytest.mark.parametrize(
    ("encode", "headers"),
    [(bytes, []), (padded, []), (gzip.compress, [("Content-Encoding", "gzip")])],
    ids=["small", "large", "gzip"],
)


def test_document_has_gets_posts_and_a_stream() -> None:
    """Or the tables below would be empty."""
    assert len(POSTS) >= 17 and len(GETS) >= 8 and STREAMS


# --- successes


@every_operation
def test_success(operation: Operation) -> None:
    response = perform(app_with(), operation, [REQUEST_ID])
    assert_headers(response, 200, content_type_of(operation), stream_headers(operation))
    assert len(response.body) > 0


@in_every_size
@every_post
def test_success_varies_by_what_the_client_accepts(
    operation: Operation, encode: Callable[[bytes], bytes], headers: list[tuple[str, str]]
) -> None:
    """RFC 9110, 12.5.5: a cache must know that the response is another one for a client that accepts gzip, or another type."""
    response = perform(app_with(), operation, [REQUEST_ID, *headers], parts=[encode(operation.body)])
    assert_headers(response, 200, content_type_of(operation), stream_headers(operation))
    assert operation in STREAMS or "accept-encoding" in response.elements("vary")
    assert len(operation.description["responses"]["200"]["content"]) == 1 or "accept" in response.elements("vary")


@pytest.mark.parametrize("operation", POSTS, ids=label)
def test_compressed_success(monkeypatch: pytest.MonkeyPatch, operation: Operation) -> None:
    """The length is that of the compressed body. Events are not compressed, as they would be held back."""
    monkeypatch.setattr(routing, "MIN_COMPRESSED_BYTES", 1)
    response = perform(app_with(), operation, [REQUEST_ID, ("Accept-Encoding", "gzip")])
    if operation in STREAMS:
        assert_headers(response, 200, content_type_of(operation), stream_headers(operation))
        return
    assert_headers(response, 200, content_type_of(operation), {"content-encoding": "gzip"})
    assert "accept-encoding" in response.elements("vary")
    assert gzip.decompress(response.body) == perform(app_with(), operation).body


RENDERED = [
    (operation, media_type)
    for operation in POSTS
    for media_type in operation.description["responses"]["200"]["content"]
    if media_type != operation.media_type
]


@pytest.mark.parametrize(("operation", "media_type"), RENDERED, ids=label)
def test_success_in_another_media_type(operation: Operation, media_type: str) -> None:
    response = perform(app_with(), operation, [REQUEST_ID, ("Accept", media_type)])
    text = media_type.startswith("text/") and "charset" not in media_type
    assert_headers(response, 200, f"{media_type}; charset=utf-8" if text else media_type)
    assert {"accept", "accept-encoding"} <= response.elements("vary")


@pytest.mark.parametrize("operation", [operation for operation, media_type in RENDERED if media_type == PNG], ids=label)
def test_png_is_not_compressed_again(operation: Operation) -> None:
    """It is compressed already, so that gzip only costs time, on both sides."""
    response = perform(app_with(), operation, [REQUEST_ID, ("Accept", PNG), ("Accept-Encoding", "gzip")])
    assert_headers(response, 200, PNG)
    assert response.body.startswith(b"\x89PNG") and len(response.body) > 1400


@every_operation
def test_client_that_accepts_only_problems_gets_the_first_type(operation: Operation) -> None:
    """Some generated clients name only the media type of the errors."""
    response = perform(app_with(), operation, [REQUEST_ID, ("Accept", "application/problem+json")])
    expected = next(iter(operation.description["responses"]["200"]["content"]))
    assert response.status == 200 and response.values("content-type")[0].partition(";")[0] == expected.partition(";")[0]


DOCS_TYPES = {
    "/docs": "text/html; charset=utf-8",
    "/docs/start.js": "text/javascript; charset=utf-8",
    "/docs/swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "/docs/swagger-ui.css": "text/css; charset=utf-8",
    "/docs/favicon.png": "image/png",
}


@pytest.mark.parametrize("path", DOCS_PAGES)
def test_page_of_the_docs(path: str) -> None:
    assert_headers(ask(app_with(), "GET", path, [REQUEST_ID]), 200, DOCS_TYPES[path], docs=True)


@pytest.mark.parametrize("path", ["/docs/swagger-ui-bundle.js", "/docs/swagger-ui.css", "/docs/favicon.png"])
def test_assets_are_cached_for_a_day_at_most(path: str) -> None:
    """They change with an update only, and 1.5 MB are not loaded for each look at the page."""
    (value,) = ask(app_with(), "GET", path).values("cache-control")
    seconds = re.fullmatch(r"max-age=(\d+)", value)
    assert seconds is not None and 3600 <= int(seconds[1]) <= 86400


@pytest.mark.parametrize("path", [*(operation.path for operation in GETS), "/docs", "/openapi.json", "/docs/no.js"])
def test_what_can_change_is_not_cached(path: str) -> None:
    assert not re.search(r"max-age=[1-9]|immutable|public", ask(app_with(), "GET", path).headers.get("cache-control", ""))


def test_document() -> None:
    assert_headers(ask(app_with(), "GET", "/openapi.json", [REQUEST_ID]), 200, "application/json")


@for_each("root_path", ["", "/autodiff"])
@for_each("path", ["/", "/web/main.js", "/web/nope.js", "/problems/unbound-input"])
def test_page(path: str, root_path: str) -> None:
    response = ask(app_with(root_path=root_path), "GET", f"{root_path}{path}", [REQUEST_ID])
    assert response.status == (404 if "nope" in path else 200)
    assert policy(response) == PAGE_POLICY and response.values("x-request-id") == [REQUEST_ID[1]]
    assert {name: response.values(name) for name in SECURITY_HEADERS} == {k: [v] for k, v in SECURITY_HEADERS.items()}


@pytest.mark.parametrize("path", ["/", "/web/main.js", "/web/style.css"])
def test_page_that_the_client_has(path: str) -> None:
    """RFC 9110, 15.4.5: a 304 has the headers that a 200 would have about caching, and no body."""
    first = ask(app_with(), "GET", path)
    response = ask(app_with(), "GET", path, [REQUEST_ID, ("If-None-Match", first.headers["etag"])])
    assert response.status == 304 and response.body == b"" and response.values("x-request-id") == [REQUEST_ID[1]]
    assert {name: response.values(name) for name in SECURITY_HEADERS} == {k: [v] for k, v in SECURITY_HEADERS.items()}
    assert policy(response) == PAGE_POLICY
    for name in ("etag", "cache-control", "vary"):
        assert response.values(name) == first.values(name)
    assert [name for name in (*OPTIONAL_HEADERS, *DISCLOSING_HEADERS) if name in response.headers] == []


@for_each("path", [*(operation.path for operation in GETS), *DOCS_PAGES, "/openapi.json", "/", "/web/main.js", "/nope"])
def test_head_has_the_headers_of_a_get(path: str) -> None:
    """The server leaves the body out, because its own scope still says HEAD; `exchange` asserts that."""
    get, head = (ask(app_with(), method, path, [REQUEST_ID]) for method in ("GET", "HEAD"))
    changing = {"content-length"} if path == "/metrics" else set()  # a counter has one more digit, now and then
    assert head.status == get.status
    assert {name: get.values(name) for name in get.headers if name not in changing} == {
        name: head.values(name) for name in head.headers if name not in changing
    }
    assert "content-length" in head.headers


@every_get
def test_head_is_refused_as_a_get_is(operation: Operation) -> None:
    head = perform(app_with(), operation, [REQUEST_ID, ("Accept", "image/webp")], method="HEAD")
    assert head.status == 406 and head.values("content-type") == [PROBLEM]


# --- refusals


@in_every_size
@every_post
def test_422(operation: Operation, encode: Callable[[bytes], bytes], headers: list[tuple[str, str]]) -> None:
    assert_headers(perform(app_with(), operation, [REQUEST_ID, *headers], parts=[encode(b"{}")]), 422)


@pytest.mark.parametrize("operation", [get for get in GETS if "samples" in str(get.description.get("parameters"))], ids=label)
@pytest.mark.parametrize("query", ["samples=many", "samples=-1", "unknown=1"])
def test_422_of_a_query(operation: Operation, query: str) -> None:
    assert_headers(perform(app_with(), operation, [REQUEST_ID], query=query), 422)


@pytest.mark.parametrize("operation", [POSTS[0], *STREAMS], ids=label)
@in_every_size
def test_400(operation: Operation, encode: Callable[[bytes], bytes], headers: list[tuple[str, str]]) -> None:
    assert_headers(perform(app_with(), operation, [REQUEST_ID, *headers], parts=[encode(b"{")]), 400)


@every_operation
def test_404_below_a_path(operation: Operation) -> None:
    assert_headers(perform(app_with(), operation, [REQUEST_ID], path=f"{operation.path}/nothing/here"), 404)


@pytest.mark.parametrize("path", ["/nope", "/v1/nope", "/v1/forward/", "/livez/", "/problems/nope", "/v1/datasets/nope"])
def test_404_of_an_unknown_path(path: str) -> None:
    assert_headers(ask(app_with(), "GET", path, [REQUEST_ID]), 404)


@pytest.mark.parametrize("path", ["/docs/nope.js", "/docs/swagger-ui.css/x"])
def test_404_below_the_docs(path: str) -> None:
    assert_headers(ask(app_with(), "GET", path, [REQUEST_ID]), 404, docs=True)


@every_operation
@for_each("method", ["GET", "HEAD", "POST", "PUT", "OPTIONS"])
def test_405_or_an_allowed_method(operation: Operation, method: str) -> None:
    """RFC 9110, 15.5.6: Allow lists every method that the path takes."""
    allowed = {other.method for other in OPERATIONS if other.path == operation.path}
    allowed |= {"HEAD"} if "GET" in allowed else set()
    response = perform(app_with(), operation, [REQUEST_ID], method=method)
    if method in allowed:
        assert response.status not in (405, 501) and response.values("allow") == []
        return
    (listed,) = response.values("allow")
    assert_headers(response, 405, optional={"allow": listed})
    assert response.elements("allow") == {name.lower() for name in allowed}


@for_each("operation", [operation for operation in OPERATIONS if not operation.is_open])
def test_401(operation: Operation) -> None:
    """RFC 9110, 15.5.2: with the scheme that is asked for."""
    response = perform(app_with(api_keys=SecretStr("k")), operation, [REQUEST_ID])
    assert_headers(response, 401, optional={"www-authenticate": "Bearer"})
    assert response.problem == "unauthorized"


@every_operation
def test_406(operation: Operation) -> None:
    assert_headers(perform(app_with(), operation, [REQUEST_ID, ("Accept", "image/webp")]), 406)


@pytest.mark.parametrize("declares", [True, False], ids=["declared", "undeclared"])
@pytest.mark.parametrize("large", [False, True], ids=["small", "large"])
@every_post
def test_413(operation: Operation, declares: bool, large: bool) -> None:
    """What is left of the body is not read, so the connection cannot be used again (RFC 9110, 15.5.14)."""
    body = padded(operation.body) if large else operation.body
    headers = [("Content-Length", str(len(body)))] if declares else []
    response = perform(app_with(max_body_bytes=len(body) - 1), operation, [REQUEST_ID, *headers], parts=[body])
    assert_headers(response, 413, optional={"connection": "close"})
    assert response.problem == "too-large"


@every_post
def test_413_after_decompression(operation: Operation) -> None:
    body = operation.body.ljust(10_000)
    headers = [REQUEST_ID, ("Content-Encoding", "gzip")]
    response = perform(app_with(max_body_bytes=9_999), operation, headers, parts=[gzip.compress(body)])
    assert response.status == 413 and response.problem == "too-large"
    assert_headers(response, 413, optional={"connection": "close"} if "connection" in response.headers else {})


@every_post
def test_415_of_a_media_type(operation: Operation) -> None:
    """Accept-Post (W3C's Linked Data Platform, 7.1) says which type is read."""
    response = perform(app_with(), operation, [REQUEST_ID, ("Content-Type", "text/plain")])
    assert_headers(response, 415, optional={"accept-post": next(iter(operation.description["requestBody"]["content"]))})


@every_post
def test_415_of_a_content_coding(operation: Operation) -> None:
    """RFC 9110, 15.5.16: Accept-Encoding says which coding is read, which distinguishes this from an unsupported type."""
    response = perform(app_with(), operation, [REQUEST_ID, ("Content-Encoding", "br")])
    assert_headers(response, 415, optional={"accept-encoding": "gzip"})


# --- failures of the service


@cache
def app_to_break() -> FastAPI:
    """An application whose router a test replaces."""
    return create_app(Settings())


async def fail(*_: Any) -> None:
    """What a router with a defect does."""
    raise RuntimeError("a secret")


@pytest.mark.parametrize(
    "path", [*dict.fromkeys(operation.path for operation in OPERATIONS), "/docs", "/openapi.json", "/nope"]
)
def test_500_of_any_path(monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    app = app_to_break()
    monkeypatch.setattr(app, "router", fail)
    monkeypatch.setattr(app, "middleware_stack", None)
    for method in ("GET", "POST"):
        response = ask(app, method, path, [REQUEST_ID])
        assert_headers(response, 500, docs=path == "/docs")
        assert response.problem == "internal"
        assert b"secret" not in response.body and REQUEST_ID[1].encode() in response.body


@pytest.mark.parametrize("operation", POSTS, ids=label)
@in_every_size
def test_500_of_a_computation(
    monkeypatch: pytest.MonkeyPatch,
    operation: Operation,
    encode: Callable[[bytes], bytes],
    headers: list[tuple[str, str]],
) -> None:
    """On the event loop and in the pool."""

    def parse(*_: Any) -> Any:
        raise RuntimeError("a secret")

    monkeypatch.setattr(bodies, "parse", parse)
    response = perform(app_with(), operation, [REQUEST_ID, *headers], parts=[encode(operation.body)])
    assert_headers(response, 500)
    assert response.problem == "internal" and b"secret" not in response.body


class Nothing(RequestModel):
    """An empty request."""


def test_defect_after_the_start_of_a_response_ends_the_connection() -> None:
    """A response that has begun cannot become another one: the exception goes to the server, which cuts the connection."""
    router = APIRouter()

    async def chunks() -> AsyncIterator[bytes]:
        yield b"a beginning"
        raise RuntimeError("after the start")

    @router.get("/breaks")
    async def breaks() -> StreamingResponse:
        return StreamingResponse(chunks())

    with pytest.raises(RuntimeError, match="after the start"):
        ask(service(router), "GET", "/breaks")


def test_stream_that_fails_at_its_start_is_an_ordinary_problem() -> None:
    router = APIRouter(route_class=ComputationRoute)

    @router.post("/events", response_model=None)
    @computation(streams=True)
    def events(request: Nothing, job: Job) -> Any:
        raise RuntimeError("a secret")

    assert_headers(ask(service(router), "POST", "/events", [REQUEST_ID], parts=[b"{}"]), 500)


# --- 503


def fill_the_queue(execution: Execution) -> None:
    """As many computations run as can, short ones too, and none may wait."""
    for _ in range(execution.settings.max_concurrency + 1):
        execution.places.add(Ticket("another client", is_short=True))


@every_post
@for_each("compressed", [False, True])
def test_503_of_a_full_queue(operation: Operation, compressed: bool) -> None:
    body = gzip.compress(operation.body) if compressed else padded(operation.body)
    headers = [REQUEST_ID, ("Content-Encoding", "gzip" if compressed else "identity")]
    app = app_with(max_queue=0, max_concurrency=1)
    response = perform(app, operation, headers, parts=[body], setup=fill_the_queue)
    assert_headers(response, 503)
    assert response.problem == "overloaded"


@every_post
def test_503_of_a_deadline(operation: Operation) -> None:
    response = perform(app_with(compute_timeout_s=1e-9), operation, [REQUEST_ID], parts=[padded(operation.body)])
    assert_headers(response, 503)
    assert response.problem == "deadline-exceeded"


@every_post
def test_503_of_a_shutdown(operation: Operation) -> None:
    """No time is left to computations."""
    app = app_with(shutdown_s=0)
    response = perform(app, operation, [REQUEST_ID], parts=[padded(operation.body)], setup=Execution.drain)
    assert_headers(response, 503, optional={"connection": "close"})
    assert response.problem == "deadline-exceeded"


@every_get
def test_get_before_the_kernels_are_ready(operation: Operation) -> None:
    """Only readiness has to wait; the rows of a dataset need no kernels."""
    response = perform(app_with(), operation, [REQUEST_ID], setup=lambda execution: execution.ready.clear())
    if operation.path == "/readyz":
        assert_headers(response, 503)
        assert response.problem == "overloaded"
    else:
        assert_headers(response, 200, content_type_of(operation))


# --- draining


@every_operation
def test_connection_closes_while_draining(operation: Operation) -> None:
    response = perform(app_with(), operation, [REQUEST_ID], setup=Execution.drain)
    if operation.path == "/readyz":
        assert_headers(response, 503, optional={"connection": "close"})
    else:
        assert_headers(response, 200, content_type_of(operation), {"connection": "close", **stream_headers(operation)})


@for_each(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/nope", [("Authorization", "Bearer k")], 404),
        ("DELETE", "/v1/forward", [("Authorization", "Bearer k")], 405),
        ("POST", "/v1/forward", [], 401),
        ("POST", "/v1/forward", [("Authorization", "Bearer k"), ("Accept", "image/webp")], 406),
        ("POST", "/v1/forward", [("Authorization", "Bearer k"), ("Content-Type", "text/plain")], 415),
        ("POST", "/v1/forward", [("Authorization", "Bearer k")], 400),
        ("GET", "/docs", [], 200),
        ("GET", "/docs/favicon.png", [], 200),
        ("HEAD", "/livez", [], 200),
    ],
)
def test_connection_of_a_refusal_closes_while_draining(
    method: str, path: str, headers: list[tuple[str, str]], status: int
) -> None:
    response = ask(app_with(api_keys=SecretStr("k")), method, path, headers, setup=Execution.drain)
    assert response.status == status and response.values("connection") == ["close"]


# --- request ids

KINDS_OF_RESPONSES: dict[str, tuple[str, str, list[tuple[str, str]], int]] = {
    "success": ("GET", "/livez", [], 200),
    "docs": ("GET", "/docs", [], 200),
    "unauthorized": ("POST", "/v1/forward", [], 401),
    "not found": ("GET", "/nope", [("Authorization", "Bearer k")], 404),
    "not acceptable": ("GET", "/livez", [("Accept", "image/webp")], 406),
    "options": ("OPTIONS", "/v1/forward", [], 405),
}
kinds_of_responses = for_each(("method", "path", "headers", "status"), KINDS_OF_RESPONSES.values())
MADE = re.compile("[0-9a-f]{32}")


@kinds_of_responses
@for_each("given", ["a", "~!", "7d3f2c9e-0000-4000-8000-000000000000", "x" * 128])
def test_request_id_of_the_client_is_returned(
    method: str, path: str, headers: list[tuple[str, str]], status: int, given: str
) -> None:
    response = ask(app_with(api_keys=SecretStr("k")), method, path, [*headers, ("X-Request-ID", given)])
    assert response.status == status and response.values("x-request-id") == [given]


@kinds_of_responses
@for_each("given", [None, b"", b"x" * 129, b"a b", b"a\tb", b"a\x00", b"a\x7f", b"\xc3\xa9", b"a\n", b"a\r\nSet-Cookie: b"])
def test_request_id_is_made(method: str, path: str, headers: list[tuple[str, str]], status: int, given: bytes | None) -> None:
    lines: HeaderLines = [*headers, *([] if given is None else [("X-Request-ID", given)])]
    first, second = (ask(app_with(api_keys=SecretStr("k")), method, path, lines) for _ in range(2))
    assert first.status == second.status == status
    (one,), (other,) = first.values("x-request-id"), second.values("x-request-id")
    assert MADE.fullmatch(one) and MADE.fullmatch(other) and one != other


def test_first_valid_request_id_of_several_is_returned_once() -> None:
    lines = [("X-Request-ID", "not valid"), ("X-Request-ID", "first"), ("X-Request-ID", "second")]
    assert ask(app_with(), "GET", "/livez", lines).values("x-request-id") == ["first"]


@every_operation
def test_request_id_is_made_for_every_operation(operation: Operation) -> None:
    (made,) = perform(app_with(), operation).values("x-request-id")
    assert MADE.fullmatch(made)
