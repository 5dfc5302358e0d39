"""Media types: which of the offered types an Accept header takes (RFC 9110, 12.5.1), and which bodies are read."""

import asyncio

import pytest
from fastapi import Request

from app.service.negotiation import Accepts, negotiate, preferred_type
from app.service.problems import Problem

JSON, DOT, SVG = "application/json", "text/vnd.graphviz", "image/svg+xml"


def request(*headers: tuple[str, str]) -> Request:
    """A POST with these headers."""
    encoded = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers]
    return Request({"type": "http", "method": "POST", "headers": encoded})


ACCEPTED: list[tuple[str, str]] = [
    ("*/*", JSON),
    ("application/json", JSON),
    ("application/*", JSON),
    ("text/*", DOT),
    ("image/*", SVG),
    ("text/vnd.graphviz", DOT),
    ("TEXT/VND.GRAPHVIZ", DOT),
    ("text/vnd.graphviz;charset=utf-8", DOT),
    ("text/vnd.graphviz, application/json", JSON),
    ("application/json, text/vnd.graphviz", JSON),
    ("text/vnd.graphviz, application/json;q=0.9", DOT),
    ("text/vnd.graphviz;q=0.5, application/json;q=0.4", DOT),
    ("text/vnd.graphviz; q=0.5 , application/json ; q=0.4", DOT),
    ("text/vnd.graphviz;Q=0.4,application/json;q=0.5", JSON),
    ("text/html, */*;q=0.1", JSON),
    ("text/html, image/*;q=0.2, */*;q=0.1", SVG),
    ("*/*, application/json;q=0", DOT),
    ("application/json;q=0, */*", DOT),
    ("application/json;q=0, text/*;q=0, */*;q=0.001", SVG),
    ("application/*;q=0, application/json;q=0.1, */*;q=0", JSON),
    ("*/*;q=0.1, text/vnd.graphviz;q=0.2", DOT),
    ("image/svg+xml;q=1.0, */*;q=0.999", SVG),
    ("text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8", JSON),
    (",, application/json ,", JSON),
    ("application/json;q=1.000", JSON),
    ("application/json;q=0.001", JSON),
    ("application/json;version=1;q=0.3, text/vnd.graphviz;q=0.2", JSON),
    ("application/problem+json", JSON),
]

EXCLUDING = [
    "text/html",
    "application/json;q=0, text/*;q=0, image/*;q=0",
    "*/*;q=0",
    "*/*;q=0.000",
    "application/xml",
    "json",
    "application",
    "/",
    "application/json/",
    "*",
    "*/json",
]

MALFORMED_WEIGHTS = ["q=x", "q=1e", "q==1", "q=nan", "q=inf", "q=-1", "q=2", "q=1e999", "q=0.1234", "q="]


@pytest.mark.parametrize(("accept", "media_type"), ACCEPTED)
def test_best_of_the_offered_types(accept: str, media_type: str) -> None:
    assert preferred_type(request(("Accept", accept)), (JSON, DOT, SVG)) == media_type


@pytest.mark.parametrize("accept", [None, "", " , ", "*/*"])
def test_first_type_without_a_preference(accept: str | None) -> None:
    """An empty list states no preference."""
    headers = [] if accept is None else [("Accept", accept)]
    assert preferred_type(request(*headers), (JSON, DOT)) == JSON
    assert preferred_type(request(*headers), (DOT, JSON)) == DOT


def test_accept_headers_add_up() -> None:
    assert preferred_type(request(("Accept", "text/html"), ("Accept", "text/vnd.graphviz")), (JSON, DOT)) == DOT


@pytest.mark.parametrize("accept", EXCLUDING)
def test_header_that_excludes_every_type_is_refused(accept: str) -> None:
    with pytest.raises(Problem) as caught:
        preferred_type(request(("Accept", accept)), (JSON, DOT, SVG))
    assert caught.value.kind.name == "not-acceptable"
    assert all(media_type in caught.value.detail for media_type in (JSON, DOT, SVG))


@pytest.mark.parametrize("weight", MALFORMED_WEIGHTS)
def test_malformed_weight_counts_as_zero(weight: str) -> None:
    with pytest.raises(Problem, match="the response is application/json, which the Accept header excludes"):
        preferred_type(request(("Accept", f"application/json;{weight}")), (JSON,))
    assert preferred_type(request(("Accept", f"application/json;{weight}, text/vnd.graphviz;q=0.1")), (JSON, DOT)) == DOT


@pytest.mark.parametrize("parameter", ["", "q", "x=0"])
def test_parameter_that_is_no_weight_is_ignored(parameter: str) -> None:
    assert preferred_type(request(("Accept", f"application/json;{parameter}")), (JSON, DOT)) == JSON


def test_accepts_is_a_dependency() -> None:
    asyncio.run(Accepts(JSON)(request(("Accept", "application/json"))))
    with pytest.raises(Problem, match="text/html"):
        asyncio.run(Accepts("text/html")(request(("Accept", "application/json"))))


# --- bodies

READ = [
    JSON,
    "application/json; charset=utf-8",
    "APPLICATION/JSON",
    " application/json ;x=y",
    "application/problem+json",
    "application/ld+json",
]
NOT_READ = [
    "text/plain",
    "",
    ";",
    "application/jsonx",
    "application/x-www-form-urlencoded",
    "json",
    "text/json+x",
    "application/xml",
    "text/x+json",
]


@pytest.mark.parametrize("content_type", READ)
def test_content_types_that_are_read(content_type: str) -> None:
    assert not negotiate(request(("Content-Type", content_type)), [JSON]).body_is_gzip
    assert negotiate(request(("Content-Type", content_type), ("Content-Encoding", "gzip")), [JSON]).body_is_gzip


def test_body_without_a_content_type_is_read() -> None:
    assert negotiate(request(), [DOT, JSON]).media_type == DOT


@pytest.mark.parametrize("content_type", NOT_READ)
def test_content_types_that_are_refused(content_type: str) -> None:
    with pytest.raises(Problem) as caught:
        negotiate(request(("Content-Type", content_type)), [JSON])
    assert caught.value.kind.name == "unsupported-media-type" and JSON in caught.value.detail
    assert caught.value.headers == {"Accept-Post": JSON}


@pytest.mark.parametrize(
    ("coding", "is_gzip"), [("identity", False), ("gzip", True), ("GZIP", True), (" gzip ", True), ("", False)]
)
def test_content_codings_that_are_read(coding: str, is_gzip: bool) -> None:
    headers = (("Content-Type", JSON), ("Content-Encoding", coding))
    assert negotiate(request(*headers), [JSON]).body_is_gzip == is_gzip


@pytest.mark.parametrize("coding", ["br", "deflate", "gzip, identity", "x" * 9000])
def test_content_codings_that_are_refused(coding: str) -> None:
    with pytest.raises(Problem) as caught:
        negotiate(request(("Content-Type", JSON), ("Content-Encoding", coding)), [JSON])
    assert caught.value.kind.name == "unsupported-media-type" and len(caught.value.detail) < 300
    assert caught.value.headers == {"Accept-Encoding": "gzip"}


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("gzip", True),
        ("gzip, deflate, br", True),
        ("br;q=1.0, gzip;q=0.1", True),
        ("gzip;q=0", False),
        ("identity, gzip;q=0.000", False),
        ("br", False),
        ("", False),
    ],
)
def test_client_accepts_gzip(accept: str, expected: bool) -> None:
    assert negotiate(request(("Accept-Encoding", accept)), [JSON]).compress == expected
    assert not negotiate(request(), [JSON]).compress
