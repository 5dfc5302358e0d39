"""Media types: which Accept takes what (RFC 9110, 12.5.1), and which bodies are read."""

import pytest
from starlette.requests import Request

from app.api.negotiation import accepted, check_content
from app.api.problems import Problem

JSON, DOT, SVG = "application/json", "text/vnd.graphviz", "image/svg+xml"


def request(*headers: tuple[str, str]) -> Request:
    return Request(
        {"type": "http", "method": "POST", "headers": [(k.lower().encode(), v.encode("latin-1")) for k, v in headers]}
    )


TAKEN: list[tuple[str, str]] = [
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
]
RULED_OUT = [
    "text/html",
    "application/json;q=0, text/*;q=0, image/*;q=0",
    "*/*;q=0",
    "*/*;q=0.000",
    "application/xml",
    "json",
    "application",
    "/",
]
RULED_OUT += ["application/json/", "*", "*/json"]
MALFORMED = [
    "application/json;q=",
    "application/json;q=x",
    "application/json;q=1e",
    "application/json;q==1",
    "application/json;q",
    "application/json;",
]
ODD = [
    "application/json;q=nan",
    "application/json;q=inf",
    "application/json;q=-1",
    "application/json;q=2",
    "application/json;q=1e999",
]


@pytest.mark.parametrize(("accept", "media"), TAKEN)
def test_the_best_of_the_offered(accept: str, media: str) -> None:
    assert accepted(request(("Accept", accept)), (JSON, DOT, SVG)) == media


def test_without_preference_the_first() -> None:
    assert accepted(request(), (JSON, DOT)) == JSON
    assert accepted(request(), (DOT, JSON)) == DOT
    assert accepted(request(("Accept", "*/*")), (DOT, JSON)) == DOT


def test_an_empty_accept_states_no_preference() -> None:
    """A list with nothing in it says nothing (RFC 9110, 12.5.1 has no other meaning for it)."""
    assert accepted(request(("Accept", "")), (JSON,)) == JSON


def test_accept_headers_add_up() -> None:
    assert accepted(request(("Accept", "text/html"), ("Accept", "text/vnd.graphviz")), (JSON, DOT)) == DOT


@pytest.mark.parametrize("accept", RULED_OUT)
def test_ruled_out(accept: str) -> None:
    with pytest.raises(Problem) as caught:
        accepted(request(("Accept", accept)), (JSON, DOT, SVG))
    assert caught.value.kind.name == "not-acceptable"
    assert all(media in caught.value.detail for media in (JSON, DOT, SVG))


def test_the_refusal_of_a_single_type_names_it() -> None:
    with pytest.raises(Problem, match=JSON):
        accepted(request(("Accept", "text/html")), (JSON,))


@pytest.mark.parametrize("accept", MALFORMED + ODD)
def test_a_malformed_weight_is_no_defect(accept: str) -> None:
    """Whether it counts as 1 or as 0 is open; it must not outweigh what is well-formed."""
    try:
        assert accepted(request(("Accept", accept)), (JSON, DOT)) == JSON
    except Problem as problem:
        assert problem.kind.name == "not-acceptable"
    assert accepted(request(("Accept", f"{accept}, text/vnd.graphviz")), (DOT, JSON)) == DOT


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


@pytest.mark.parametrize("content", READ)
def test_bodies_that_are_read(content: str) -> None:
    check_content(request(("Content-Type", content)))
    check_content(request())
    check_content(request(("Content-Type", content), ("Content-Encoding", "identity")))


@pytest.mark.parametrize("content", NOT_READ)
def test_bodies_that_are_not(content: str) -> None:
    with pytest.raises(Problem) as caught:
        check_content(request(("Content-Type", content)))
    assert caught.value.kind.name == "unsupported-media-type" and JSON in caught.value.detail
    assert caught.value.headers == {"Accept-Post": JSON}


@pytest.mark.parametrize("coding", ["br", "deflate", "gzip, identity", "x" * 9000])
def test_codings_that_are_not_read(coding: str) -> None:
    with pytest.raises(Problem) as caught:
        check_content(request(("Content-Type", JSON), ("Content-Encoding", coding)))
    assert caught.value.kind.name == "unsupported-media-type" and len(caught.value.detail) < 300
