"""Media types: which of the offered types an Accept header takes (RFC 9110, 12.5.1), and which bodies are read."""

import asyncio
import gzip
import json
from functools import cache

import pytest
from fastapi import FastAPI, Request

from app.main import create_app
from app.service.negotiation import FILE, Accepts, negotiate, preferred_type
from app.service.problems import Problem
from app.settings import Settings
from tests.rows import for_each
from tests.service.asgi import GETS, POSTS, Operation, Response, ask, label, perform

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

LENGTHS = [
    ("0", 0),
    ("100", 100),
    ("0" * 17 + "100", 100),
    ("9" * 20, 10**20 - 1),
    ("9" * 5000, 10**20 - 1),
    ("-1", None),
    ("x", None),
]


@for_each(("text", "length"), LENGTHS)
def test_length_that_is_declared(text: str, length: int | None) -> None:
    """As many digits are read as a length may have that is not far over every limit."""
    headers = [("Content-Type", JSON), ("Content-Length", text)]
    assert negotiate(request(*headers), [JSON])[0] == length


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


@for_each(("accept", "media_type"), ACCEPTED)
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


@for_each("accept", EXCLUDING)
def test_header_that_excludes_every_type_is_refused(accept: str) -> None:
    with pytest.raises(Problem) as caught:
        preferred_type(request(("Accept", accept)), (JSON, DOT, SVG))
    assert caught.value.kind.name == "not-acceptable"
    assert all(media_type in caught.value.detail for media_type in (JSON, DOT, SVG))


@for_each("weight", MALFORMED_WEIGHTS)
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


@for_each("content_type", NOT_READ)
def test_content_types_that_are_refused(content_type: str) -> None:
    with pytest.raises(Problem) as caught:
        negotiate(request(("Content-Type", content_type)), [JSON])
    assert caught.value.kind.name == "unsupported-media-type" and JSON in caught.value.detail
    assert caught.value.headers == {"Accept-Post": JSON}


def test_json_in_another_type_is_no_file() -> None:
    with pytest.raises(Problem) as caught:
        negotiate(request(("Content-Type", "application/geo+json")), [JSON], FILE)
    assert caught.value.kind.name == "unsupported-media-type" and caught.value.headers == {"Accept-Post": FILE}


@pytest.mark.parametrize(
    ("coding", "is_gzip"),
    [
        ("identity", False),
        ("gzip", True),
        ("GZIP", True),
        (" gzip ", True),
        ("x-gzip", True),  # RFC 9110, 8.4.1.3: the same as gzip
        ("X-Gzip", True),
        ("", False),
    ],
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


# --- the service as a whole


@cache
def app() -> FastAPI:
    """The application, made once."""
    return create_app(Settings())


LONG = json.dumps({"expression": "x*x", "inputs": {"x": list(range(1000))}}).encode()
"""A request whose response is worth compressing."""


def long_response(*accept_encoding: str) -> Response:
    """The response to `LONG` for a client that accepts these codings, in one header each."""
    return ask(app(), "POST", "/v1/forward", [("Accept-Encoding", value) for value in accept_encoding], parts=[LONG])


COMPRESSED = [
    "gzip",
    "gzip, br",
    "br, gzip",
    "br,gzip",
    "gzip, deflate, br, zstd",
    "gzip;q=1",
    "gzip;q=1.000",
    "gzip;q=0.001",
    "gzip;Q=0.5",
    "gzip; q=0.5",
    "gzip ;q=0.5",
    "gzip\t;\tq=0.5",
    " gzip ",
    "\tgzip\t",
    ",,gzip,,",
    "br;q=1.0, gzip;q=0.8, *;q=0.1",
    "identity;q=0, gzip",
    "identity;q=0.5, gzip;q=1",
    "*;q=0, gzip",
    "gzip, *;q=0",
    "deflate;q=0, gzip",
    "gzip, identity;q=0",
    "GZIP",
    "br, Gzip;q=0.5",
]
"""RFC 9110, 12.5.3 and 8.4.1: gzip is named, in any case, with a weight above 0 and white space around separators."""

NOT_COMPRESSED = [
    "gzip;q=0",
    "gzip;q=0.0",
    "gzip;q=0.000",
    "gzip; q=0",
    "gzip ; q=0",
    "gzip\t;\tq=0",
    "gzip;Q=0",
    "GZIP;Q=0",
    "br, gzip;q=0",
    "gzip;q=0, br",
    "gzip;q=0, *",
    "*, gzip;q=0",
    "gzip;q=0, deflate;q=1",
    "identity",
    "identity, gzip;q=0",
    "br",
    "deflate, br, zstd",
    "*;q=0",
    "identity;q=0",
    "identity;q=0, *;q=0",
    "gzipped",
    "xgzip",
    "gzip2, br",
    "not-gzip",
    "gzip/gzip;q=0",
    "",
    " ",
    ",",
]
"""Gzip is excluded or not named. Without a coding that the client accepts, the response comes as it is (12.5.3)."""


@for_each("accept", COMPRESSED)
def test_response_is_compressed(accept: str) -> None:
    response = long_response(accept)
    assert response.status == 200 and response.values("content-encoding") == ["gzip"]
    assert len(response.body) < 5000 and gzip.decompress(response.body) == long_response().body
    assert response.values("content-length") == [str(len(response.body))]
    assert "accept-encoding" in response.elements("vary")


@for_each("accept", NOT_COMPRESSED)
def test_response_is_not_compressed(accept: str) -> None:
    response = long_response(accept)
    assert response.status == 200 and response.values("content-encoding") == []
    assert json.loads(response.body)["value"][-1] == 999.0**2
    assert response.values("content-length") == [str(len(response.body))]
    assert "accept-encoding" in response.elements("vary")


@pytest.mark.parametrize(
    "accept", ["gzip;q=x", "gzip;q=-1", "gzip;q=2", "gzip;q=", "gzip;q=0.0001", "gzip;q=1e1", "gzip;q=nan"]
)
def test_malformed_weight_of_gzip_counts_as_zero(accept: str) -> None:
    """A response without compression is one that every client reads."""
    response = long_response(accept)
    assert response.status == 200 and response.values("content-encoding") == []


@pytest.mark.parametrize("name", ["accept-encoding", "Accept-Encoding", "ACCEPT-ENCODING"])
def test_response_without_a_preference_is_not_compressed(name: str) -> None:
    assert long_response().values("content-encoding") == []
    assert ask(app(), "POST", "/v1/forward", [(name, "gzip")], parts=[LONG]).values("content-encoding") == ["gzip"]


@for_each("operation", GETS)
def test_excluded_type_comes_back_for_no_get(operation: Operation) -> None:
    """The documented type with weight 0, even if everything else is accepted."""
    media_type = operation.media_type.partition(";")[0]
    for accept in (f"{media_type};q=0", f"*/*;q=1, {media_type};q=0.000", f"{media_type.partition('/')[0]}/*;q=0, image/*"):
        assert perform(app(), operation, [("Accept", accept)]).status == 406
    for accept in (
        media_type,
        media_type.upper(),
        f"image/webp, {media_type};q=0.001",
        "*/*;q=0.1",
        "",
        f"*/*;q=0, {media_type}",
    ):
        assert perform(app(), operation, [("Accept", accept)]).status == 200


@for_each("operation", POSTS)
def test_excluded_type_comes_back_for_no_post(operation: Operation) -> None:
    """Nor is the body of such a request read."""
    offered = list(operation.description["responses"]["200"]["content"])
    excluded = ", ".join(f"{media_type};q=0" for media_type in offered)
    response = perform(app(), operation, [("Accept", f"{excluded}, */*")])
    assert response.status == 406 and response.parts_read == 0
    assert all(media_type in json.loads(response.body)["detail"] for media_type in offered)
    assert perform(app(), operation, [("Accept", "text/html;q=0.9"), ("Accept", offered[0])]).status == 200


@for_each(
    ("accept", "media_type"),
    [
        ("text/vnd.graphviz;q=0.5, application/json;q=0.499", DOT),
        ("text/vnd.graphviz;q=0.499, application/json;q=0.5", JSON),
        ("text/vnd.graphviz;q=0.5, application/json;q=0.5", JSON),
        ("application/json;q=0.1, text/*;q=0.2", DOT),
        ("application/json;q=0.2, text/*;q=0.1", JSON),
        ("text/vnd.graphviz, */*;q=0.999", DOT),
        ("text/vnd.graphviz;q=0, text/*, application/json;q=0.001", JSON),
        ("*/*;q=0.9, application/json;q=0.8", DOT),
        ("*/*, text/vnd.graphviz;q=0.9", JSON),
        ("\ttext/vnd.graphviz\t;\tq=1\t,\tapplication/json\t;\tq=0.9", DOT),
        ("TEXT/VND.GRAPHVIZ, APPLICATION/JSON;Q=0.9", DOT),
        ("text/vnd.graphviz;charset=utf-8;q=0.8, application/json;q=0.9", JSON),
        ("application/problem+json", JSON),
        ("application/problem+json, text/vnd.graphviz", DOT),
        ("image/webp, text/vnd.graphviz;q=0.001", DOT),
    ],
)
def test_weights_choose_the_rendering(accept: str, media_type: str) -> None:
    (operation,) = [operation for operation in POSTS if operation.path == "/v1/graph"]
    response = perform(app(), operation, [("Accept", accept)])
    assert response.status == 200 and response.headers["content-type"].partition(";")[0] == media_type
    assert response.body.startswith(b"{" if media_type == JSON else b"digraph")


SMALL = b'{"expression": "x*x", "inputs": {"x": 3}}'

READ_TYPES = [
    "application/json",
    "APPLICATION/JSON",
    "Application/Json; Charset=UTF-8",
    "application/json;charset=utf-8",
    "application/json ; charset=utf-8",
    "application/json\t;\tcharset=utf-8",
    'application/json; charset="utf-8"',
    "application/json; charset=us-ascii",
    "application/json; charset=iso-8859-1",
    "application/json; charset=utf-16",
    "application/json; charset=nonsense",
    "application/json; charset=",
    "application/json;",
    "application/json;;",
    "application/json; boundary=x",
    "application/json; q=0",
    " application/json ",
    "application/vnd.api+json",
    "application/LD+JSON; profile=x",
]
"""RFC 8259, 11: the type has no parameters, so a charset says nothing, and JSON is UTF-8."""

REFUSED_TYPES = [
    "",
    " ",
    ";charset=utf-8",
    "text/json",
    "text/plain",
    "text/plain; application/json",
    "application/json, text/plain",
    "text/plain, application/json",
    "application/jsonp",
    "application/json+xml",
    "application/json/x",
    "xapplication/json",
    "application/x-json",
    "application /json",
    '"application/json"',
    "application/xml",
    "application/octet-stream",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=application/json",
    "*/*",
    "application/*",
    "json",
    "+json",
    "image/x+json",
]


@for_each("content_type", READ_TYPES)
def test_body_of_this_type_is_read_as_utf_8(content_type: str) -> None:
    response = ask(app(), "POST", "/v1/forward", [("Content-Type", content_type)], parts=[SMALL])
    assert response.status == 200 and json.loads(response.body)["value"] == 9.0
    sent = '{"expression": "é*é", "inputs": {"é": 3}}'
    for coding, status in (("utf-8", 200), ("latin-1", 400), ("utf-16", 400)):
        response = ask(app(), "POST", "/v1/forward", [("Content-Type", content_type)], parts=[sent.encode(coding)])
        assert response.status == status, coding


@for_each("content_type", REFUSED_TYPES)
def test_body_of_another_type_is_refused_unread(content_type: str) -> None:
    """A page of another origin can send text/plain and forms without a preflight, so those must not be read as JSON."""
    response = ask(app(), "POST", "/v1/forward", [("Content-Type", content_type)], parts=[SMALL])
    assert response.status == 415 and response.problem == "unsupported-media-type" and response.parts_read == 0
    assert response.values("accept-post") == [JSON]


def test_body_without_a_type_is_read_by_the_service() -> None:
    assert ask(app(), "POST", "/v1/forward", parts=[SMALL]).status == 200


@pytest.mark.parametrize("coding", ["gzip", "GZIP", "Gzip", "gZiP", " gzip", "gzip ", "\tgzip\t"], ids=label)
def test_compressed_body_is_read(coding: str) -> None:
    """RFC 9110, 8.4.1: the names of codings are case-insensitive."""
    response = ask(app(), "POST", "/v1/forward", [("Content-Encoding", coding)], parts=[gzip.compress(SMALL)])
    assert response.status == 200 and json.loads(response.body)["value"] == 9.0


@pytest.mark.parametrize("coding", ["identity", "IDENTITY", " identity ", ""], ids=label)
def test_body_without_a_coding_is_read(coding: str) -> None:
    headers = [("Content-Encoding", coding)]
    assert ask(app(), "POST", "/v1/forward", headers, parts=[SMALL]).status == 200
    assert ask(app(), "POST", "/v1/forward", headers, parts=[gzip.compress(SMALL)]).status == 400


@for_each(
    "coding",
    [
        "br",
        "deflate",
        "zstd",
        "compress",
        "gzip, identity",
        "identity, gzip",
        "gzip, gzip",
        "gzip;q=1",
        "*",
        "gzip2",
        "utf-8",
        "\xff",
    ],
)
def test_body_of_another_coding_is_refused_unread(coding: str) -> None:
    response = ask(app(), "POST", "/v1/forward", [("Content-Encoding", coding)], parts=[SMALL])
    assert response.status == 415 and response.problem == "unsupported-media-type" and response.parts_read == 0
    assert response.values("accept-encoding") == ["gzip"] and response.values("accept-post") == []
