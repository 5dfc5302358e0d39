"""Request bodies that are not JSON, or not an object."""

import httpx

from tests.contract.conftest import Post
from tests.contract.wire import POSTS, problem
from tests.rows import for_each


@for_each("operation", POSTS)
@for_each("body", [b"[]", b"1", b'"x"', b"null", b"true", b"[1e999]", b"NaN", b"1e999", b"-Infinity"])
def test_body_that_is_not_an_object_is_an_invalid_request(post: Post, operation: str, body: bytes) -> None:
    """The empty pointer points at the whole document."""
    pointer = "/0" if body == b"[1e999]" else ""
    problem(post(operation, content=body), "invalid-request", 422, pointer)


@for_each(
    "body",
    [b"", b" ", b"{", b'{"expression": "x"', b'{"expression": "x",}', b"{'expression': 'x'}", b'{"expression": "x"} {}']
    + [b"\xff\xfe", b'{"expression": "\xff"}', b'\xef\xbb\xbf{"expression": "1"}', '{"expression": "1"}'.encode("utf-16")]
    + [b"expression=x", b"<x/>", b"\x00", b'{"expression": "a\nb"}', b'{"expression": 01}', b'{"expression": -NaN}', b"[" * 10],
)
def test_body_that_is_not_json_is_invalid_json(post: Post, body: bytes) -> None:
    assert "errors" not in problem(post("forward", content=body), "invalid-json", 400)


def test_invalid_json_names_line_and_column(post: Post) -> None:
    detail = problem(post("forward", content=b'{"expression": "x",\n "inputs": }'), "invalid-json", 400)["detail"]
    assert "line 2, column 12" in detail


def test_body_without_a_content_type_is_read_as_json(client: httpx.Client) -> None:
    assert client.post("/v1/forward", content=b'{"expression": "1"}').status_code == 200
