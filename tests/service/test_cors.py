"""Requests from pages of other origins (the Fetch standard, CORS protocol): which may call, and what they may send and read."""

import json
from functools import cache
from typing import Any

import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from app.main import create_app
from app.service.execution import Execution
from app.service.logs import access_log
from app.settings import Settings
from tests.rows import for_each
from tests.service.asgi import OPERATIONS, POSTS, STREAMS, Operation, Response, ask, perform

ORIGIN, OTHER_ORIGIN = "https://a.example", "http://localhost:3000"
REFUSED_ORIGINS = {
    "another host": "https://b.example",
    "another scheme": "http://a.example",
    "another port": "https://a.example:8443",
    "a subdomain": "https://x.a.example",
    "a longer host": "https://a.example.evil.example",
    "a prefix of the host": "https://a.exampl",
    "a sandboxed page": "null",
    "all origins": "*",
    "two origins": f"{ORIGIN}, {OTHER_ORIGIN}",
    "empty": "",
}
SAFELISTED = {"accept", "accept-language", "content-language", "content-type"}
"""Request headers that every page may send (the Fetch standard, 2.2.2)."""

SENT = SAFELISTED | {"authorization", "content-encoding", "x-request-id", "mcp-protocol-version", "mcp-method", "mcp-name"}
"""Request headers that a client of this service needs: its key, the type and coding of its body, its request id, and MCP's."""

READ = {"x-request-id", "retry-after"}
"""Response headers that a client of this service reads: what to quote in a report, and when to try again."""


@cache
def app_for(origins: str, keys: str = "") -> FastAPI:
    """The application for some origins. Each is made once."""
    return create_app(Settings(cors_origins=origins, api_keys=SecretStr(keys)))


def listed() -> FastAPI:
    """An application that two origins may call."""
    return app_for(f"{ORIGIN}, {OTHER_ORIGIN}")


def cors_headers(response: Response) -> list[str]:
    """The names of all headers of the protocol."""
    return sorted(name for name in response.headers if name.startswith("access-control-"))


def assert_readable(response: Response, origin: str = ORIGIN) -> None:
    """Assert that a page of the origin, and no other, may read the response, without cookies, and two of its headers."""
    assert cors_headers(response) == ["access-control-allow-origin", "access-control-expose-headers"]
    assert response.values("access-control-allow-origin") == [origin]
    assert response.elements("access-control-expose-headers") == READ
    if origin != "*":
        assert "origin" in response.elements("vary"), "a cache would give it to pages of other origins"


def preflight(app: FastAPI, path: str, origin: str = ORIGIN, method: str = "POST", headers: str | None = None) -> Response:
    """The response to the request that a browser sends ahead."""
    lines = [("Origin", origin), ("Access-Control-Request-Method", method)]
    if headers is not None:
        lines.append(("Access-Control-Request-Headers", headers))
    return ask(app, "OPTIONS", path, lines)


every_operation = for_each("operation", OPERATIONS)
origin_refused = pytest.mark.parametrize("origin", REFUSED_ORIGINS.values(), ids=REFUSED_ORIGINS)


# --- preflight


@every_operation
@for_each("keys", ["", "k"])
def test_preflight_of_every_operation(operation: Operation, keys: str) -> None:
    """It comes without a key, with or without the names of further headers."""
    app = app_for(ORIGIN, keys)
    for headers in (None, "content-type", "authorization,content-type,x-request-id"):
        response = preflight(app, operation.path, ORIGIN, operation.method, headers)
        assert response.status in (200, 204)
        assert response.values("access-control-allow-origin") == [ORIGIN]
        assert response.elements("access-control-allow-methods") == {"get", "post"}
        assert response.elements("access-control-allow-headers") == SENT
        assert "access-control-allow-credentials" not in response.headers
        assert 0 < int(response.headers["access-control-max-age"]) <= 86400
        assert "origin" in response.elements("vary")


def test_preflight_of_each_listed_origin() -> None:
    for origin in (ORIGIN, OTHER_ORIGIN):
        assert preflight(listed(), "/v1/forward", origin).values("access-control-allow-origin") == [origin]


@origin_refused
def test_preflight_of_an_origin_that_is_not_listed(origin: str) -> None:
    response = preflight(listed(), "/v1/forward", origin)
    assert response.status >= 400 and "access-control-allow-origin" not in response.headers
    assert "origin" in response.elements("vary"), "a cache would refuse pages of listed origins too"


@pytest.mark.parametrize("origins", ["", ORIGIN], ids=["none are listed", "others are listed"])
def test_refused_preflight_names_the_setting(origins: str) -> None:
    """Whoever looks at the response in a browser's tools learns what to set."""
    response = preflight(app_for(origins), "/v1/forward", "https://b.example")
    assert response.status >= 400 and response.values("content-type") == ["application/problem+json"]
    assert "AUTODIFF_CORS_ORIGINS" in json.loads(response.body)["detail"]


@pytest.mark.parametrize("origin", [ORIGIN, "https://b.example"], ids=["answered", "refused"])
def test_preflight_has_an_id_and_a_line_in_the_log(monkeypatch: pytest.MonkeyPatch, origin: str) -> None:
    """As every other request."""
    lines: list[dict[str, Any]] = []
    monkeypatch.setattr(access_log, "info", lambda event, **facts: lines.append(facts), raising=False)
    asked = [("Origin", origin), ("Access-Control-Request-Method", "POST"), ("X-Request-ID", "mine")]
    response = ask(app_for(ORIGIN, "k"), "OPTIONS", "/v1/forward", asked)
    assert response.values("x-request-id") == ["mine"] and response.values("x-content-type-options") == ["nosniff"]
    (line,) = lines
    assert line["request_id"] == "mine" and line["route"] == "/v1/forward" and line["method"] == "OPTIONS"
    assert (line["status"], line.get("problem")) == ((200, None) if origin == ORIGIN else (400, "invalid-request"))


@pytest.mark.parametrize(("method", "headers", "reason"), [("PUT", None, "method"), ("POST", "x-other", "headers")])
def test_refused_preflight_says_what_is_refused(method: str, headers: str | None, reason: str) -> None:
    detail = json.loads(preflight(listed(), "/v1/forward", method=method, headers=headers).body)["detail"]
    assert f"disallowed cors {reason}" in detail and "Authorization" in detail and "POST" in detail


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "post", "*"])
def test_preflight_of_a_method_that_no_path_takes(method: str) -> None:
    assert preflight(listed(), "/v1/forward", method=method).status >= 400


@pytest.mark.parametrize("headers", ["cookie", "x-other", "content-type, x-other", "*", "x-forwarded-for"])
def test_preflight_of_a_header_that_is_not_needed(headers: str) -> None:
    assert preflight(listed(), "/v1/forward", headers=headers).status >= 400


@for_each("name", sorted(SENT))
def test_preflight_of_a_header_in_any_case(name: str) -> None:
    for spelled in (name, name.upper(), f" {name} "):
        assert preflight(listed(), "/v1/forward", headers=spelled).status in (200, 204)


def test_preflight_of_any_origin() -> None:
    response = preflight(app_for("*"), "/v1/forward", "https://whoever.example")
    assert response.status in (200, 204) and response.values("access-control-allow-origin") == ["*"]
    assert "access-control-allow-credentials" not in response.headers


@pytest.mark.parametrize(
    "headers",
    [[("Origin", ORIGIN)], [("Access-Control-Request-Method", "POST")], []],
    ids=["no method", "no origin", "neither"],
)
def test_options_that_is_no_preflight(headers: list[tuple[str, str]]) -> None:
    response = ask(listed(), "OPTIONS", "/v1/forward", headers)
    assert response.status == 405 and response.values("allow") == ["POST"]


# --- what a page may read


@every_operation
def test_success_is_readable(operation: Operation) -> None:
    response = perform(listed(), operation, [("Origin", ORIGIN)])
    assert response.status == 200
    assert_readable(response)
    if operation in POSTS and operation not in STREAMS:
        assert {"accept-encoding", "origin"} <= response.elements("vary")


REFUSALS: dict[str, tuple[str, str, list[tuple[str, str]], int]] = {
    "400": ("POST", "/v1/forward", [("Authorization", "Bearer k")], 400),
    "401": ("POST", "/v1/forward", [], 401),
    "404": ("GET", "/nope", [("Authorization", "Bearer k")], 404),
    "405": ("DELETE", "/v1/forward", [("Authorization", "Bearer k")], 405),
    "406": ("GET", "/livez", [("Accept", "image/webp")], 406),
    "413": ("POST", "/v1/forward", [("Authorization", "Bearer k"), ("Content-Length", "999999999999")], 413),
    "415": ("POST", "/v1/forward", [("Authorization", "Bearer k"), ("Content-Type", "text/plain")], 415),
}


@pytest.mark.parametrize(("method", "path", "headers", "status"), REFUSALS.values(), ids=REFUSALS)
def test_refusal_is_readable(method: str, path: str, headers: list[tuple[str, str]], status: int) -> None:
    """Or the page would only learn that the network failed."""
    response = ask(app_for(ORIGIN, "k"), method, path, [*headers, ("Origin", ORIGIN)])
    assert response.status == status
    assert_readable(response)


def test_503_and_its_retry_after_are_readable() -> None:
    response = ask(listed(), "GET", "/readyz", [("Origin", OTHER_ORIGIN)], setup=Execution.drain)
    assert response.status == 503 and "retry-after" in response.headers
    assert_readable(response, OTHER_ORIGIN)


def test_500_is_readable(monkeypatch: pytest.MonkeyPatch) -> None:
    def parse(*_: object) -> None:
        raise RuntimeError("a secret")

    monkeypatch.setattr("app.service.bodies.parse", parse)
    response = ask(listed(), "POST", "/v1/forward", [("Origin", ORIGIN)], parts=[b"{}"])
    assert response.status == 500
    assert_readable(response)


def test_every_origin_may_read_where_all_are_listed() -> None:
    assert_readable(ask(app_for("*"), "GET", "/livez", [("Origin", "https://whoever.example")]), "*")


@origin_refused
def test_origin_that_is_not_listed_may_not_read(origin: str) -> None:
    response = ask(listed(), "GET", "/livez", [("Origin", origin)])
    assert response.status == 200
    assert "access-control-allow-origin" not in response.headers
    assert "access-control-allow-credentials" not in response.headers


def test_response_without_an_origin_varies_by_it() -> None:
    """A cache that holds it must not give it to a page, which could not read it."""
    response = ask(listed(), "GET", "/livez")
    assert cors_headers(response) == [] and "origin" in response.elements("vary")


# --- without origins


@every_operation
def test_no_page_of_another_origin_may_read_by_default(operation: Operation) -> None:
    response = perform(app_for(""), operation, [("Origin", ORIGIN)])
    assert response.status == 200 and cors_headers(response) == []


@every_operation
def test_no_preflight_is_answered_by_default(operation: Operation) -> None:
    response = preflight(app_for(""), operation.path, ORIGIN, operation.method)
    assert response.status == 405 and cors_headers(response) == []
