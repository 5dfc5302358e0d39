"""Paths that do not exist, methods that are not allowed, HEAD, and queries."""

import re

import httpx
import pytest

from tests.contract.wire import GETS, POSTS, problem
from tests.rows import for_each


@for_each("method", ["GET", "POST", "DELETE"])
@for_each("path", ["/nope", "/v1", "/v1/", "/v1/nope", "/v1/forward/", "/v2/forward", "/problems", "/docs/a/b"])
def test_unknown_path_is_not_found(client: httpx.Client, path: str, method: str) -> None:
    problem(client.request(method, path), "not-found", 404)


@pytest.mark.parametrize("path", ["/problems/nope", "/docs/nope.js", "/problems/Invalid-json"])
def test_unknown_page_is_not_found(client: httpx.Client, path: str) -> None:
    problem(client.get(path), "not-found", 404)


@pytest.mark.parametrize(
    "path",
    [
        pytest.param("/a%00b", id="null byte"),
        pytest.param("/%ff%fe", id="not UTF-8"),
        pytest.param("/%2e%2e/%2e%2e/etc/passwd", id="dots"),
        pytest.param("/docs/..%2f..%2fpyproject.toml", id="encoded slashes"),
        pytest.param("/v1/" + "x" * 20000, id="long"),
    ],
)
def test_strange_path_is_not_found(client: httpx.Client, path: str) -> None:
    """No path leads out of the service, and a long one is not repeated in full."""
    response = client.get(path)
    problem(response, status=404)
    assert len(response.content) < 1000


@for_each("operation", POSTS)
@for_each("method", ["GET", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_operation_allows_post_only(client: httpx.Client, operation: str, method: str) -> None:
    response = client.request(method, f"/v1/{operation}")
    detail = problem(response, "method-not-allowed", 405)["detail"]
    assert response.headers["allow"] == "POST"
    assert detail == f"/v1/{operation} does not take {method}; send POST /v1/{operation} instead"


@for_each("method", ["POST", "PUT", "DELETE", "OPTIONS"])
@for_each("path", GETS)
def test_page_allows_get_and_head_only(client: httpx.Client, path: str, method: str) -> None:
    response = client.request(method, path)
    detail = problem(response, "method-not-allowed", 405)["detail"]
    assert set(re.split(r",\s*", response.headers["allow"])) == {"GET", "HEAD"}
    assert detail == f"{path} does not take {method}; send GET {path} instead; it takes GET, HEAD"


@pytest.mark.parametrize("path", GETS)
def test_head_is_get_without_the_body(client: httpx.Client, path: str) -> None:
    get, head = client.get(path), client.head(path)
    assert get.status_code == head.status_code == 200
    assert head.content == b"" and len(get.content) > 0
    changing = {"x-request-id", "date"}
    assert {k: v for k, v in head.headers.items() if k not in changing} == {
        k: v for k, v in get.headers.items() if k not in changing
    }


def test_head_of_an_unknown_path_is_not_found(client: httpx.Client) -> None:
    assert client.head("/nope").status_code == 404


def test_head_of_an_operation_is_not_allowed(client: httpx.Client) -> None:
    response = client.head("/v1/forward")
    assert response.status_code == 405 and response.headers["allow"] == "POST" and response.content == b""


@pytest.mark.parametrize("path", GETS)
def test_unknown_query_parameter_is_ignored(client: httpx.Client, path: str) -> None:
    """Health probes and browsers add such parameters to get past caches."""
    assert client.get(f"{path}?_=1732430000").status_code == 200
