"""The headers Accept and Content-Type."""

import json

import httpx
import pytest

from tests.contract.conftest import Post
from tests.contract.wire import POSTS, problem, smallest
from tests.rows import for_each

ACCEPTED = ["application/json", "*/*", "application/*", "text/html, */*;q=0.1", "application/json;q=0.001", "APPLICATION/JSON"]
ACCEPTED += ["application/json; charset=utf-8", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"]

ANY_BUT_JSON = "application/json;q=0, */*"
REFUSED = [
    "text/html",
    "application/xml",
    "application/json;q=0",
    "*/*;q=0",
    ANY_BUT_JSON,
    "image/*",
    "application/jsonx",
]


@for_each("operation", POSTS)
@for_each("accept", ACCEPTED)
def test_accept_header_that_admits_json(post: Post, accept: str, operation: str) -> None:
    response = post(operation, **smallest(operation), headers={"Accept": accept})
    assert response.status_code == 200 and response.headers["content-type"] == "application/json"


@for_each("accept", ACCEPTED)
def test_accept_header_of_a_get_that_admits_json(client: httpx.Client, accept: str) -> None:
    assert client.get("/v1/info", headers={"Accept": accept}).status_code == 200


@for_each(
    ("accept", "operation"),
    [
        (accept, operation)
        for accept in REFUSED
        for operation in POSTS
        if (operation, accept) not in (("graph", "image/*"), ("graph", ANY_BUT_JSON), ("code", ANY_BUT_JSON))
    ],
)
def test_accept_header_without_json_is_not_acceptable(post: Post, accept: str, operation: str) -> None:
    body = problem(post(operation, **smallest(operation), headers={"Accept": accept}), "not-acceptable", 406)
    assert "application/json" in body["detail"]


@pytest.mark.parametrize("accept", REFUSED)
def test_accept_header_of_a_get_without_json_is_not_acceptable(client: httpx.Client, accept: str) -> None:
    problem(client.get("/v1/primitives", headers={"Accept": accept}), "not-acceptable", 406)


def test_two_accept_headers_are_one_list(client: httpx.Client) -> None:
    """RFC 9110, 5.3: a field that appears twice is the list of its values."""
    headers = [("Accept", "text/html"), ("Accept", "application/json")]
    assert client.post("/v1/forward", json={"expression": "1"}, headers=headers).status_code == 200


def test_not_acceptable_lists_every_offered_type(post: Post) -> None:
    response = post("graph", **smallest("graph"), headers={"Accept": "image/webp"})
    detail = problem(response, "not-acceptable", 406)["detail"]
    assert "application/json" in detail and "text/vnd.graphviz" in detail


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("text/html", 200),
        ("*/*", 200),
        ("application/json, */*;q=0.1", 200),
        ("text/html;q=0, */*;q=0.1", 406),
        ("application/json", 406),
        ("text/html;q=0", 406),
    ],
)
def test_problem_page_is_html_or_not_acceptable(client: httpx.Client, accept: str, status: int) -> None:
    response = client.get("/problems/non-finite", headers={"Accept": accept})
    assert response.status_code == status
    assert response.headers["content-type"].startswith("text/html" if status == 200 else "application/problem+json")


GOOD_TYPES = ["application/json", "application/json; charset=utf-8", "Application/JSON", 'application/json;charset="UTF-8"']

BAD_TYPES = [
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "application/xml",
    "json",
    "*/*",
]

BAD_TYPES += ["application/octet-stream", "application/jsonx", "text/json-but-not", "x" * 5000]


@pytest.mark.parametrize("content_type", GOOD_TYPES)
def test_content_type_of_json_is_accepted(post: Post, content_type: str) -> None:
    assert post("forward", content=b'{"expression": "1"}', headers={"Content-Type": content_type}).status_code == 200


@for_each("operation", ["forward", "graph"])
@for_each("content_type", BAD_TYPES)
def test_other_content_type_is_unsupported(post: Post, content_type: str, operation: str) -> None:
    response = post(operation, content=json.dumps(smallest(operation)).encode(), headers={"Content-Type": content_type})
    assert "application/json" in problem(response, "unsupported-media-type", 415)["detail"]
