"""X-Request-ID: taken from the request if it is valid, made otherwise, and always returned."""

import re
from typing import Any

import httpx
import pytest

from tests.contract.sockets import exchange, head, status_of
from tests.contract.wire import label
from tests.rows import for_each


@for_each(
    ("method", "path", "body"),
    [
        ("GET", "/livez", None),  # health
        ("POST", "/v1/forward", {"expression": "1"}),  # success
        ("POST", "/v1/forward", {"expression": ""}),  # error
        ("GET", "/nope", None),  # not found
        ("GET", "/docs", None),  # page
    ],
)
@for_each("given", ["abc", "0", "a" * 128, "7d3f2c9e-0000-4000-8000-000000000000", "a/b=c+d:e;f,g", "~"])
def test_valid_request_id_is_returned(client: httpx.Client, given: str, method: str, path: str, body: Any) -> None:
    response = client.request(method, path, json=body, headers={"X-Request-ID": given})
    assert response.headers.get_list("x-request-id") == [given]


@pytest.mark.parametrize("given", ["a" * 129, "a b", "a" * 5000, ""], ids=label)
def test_invalid_request_id_is_replaced(client: httpx.Client, given: str) -> None:
    made = client.get("/livez", headers={"X-Request-ID": given}).headers["x-request-id"]
    assert made != given and re.fullmatch(r"[\x21-\x7e]{8,128}", made)


@pytest.mark.parametrize("given", ["a\tb", "é", "a\x80", "a\x01b", "a\x00b", "a\x7fb", "x\rSet-Cookie: y"])
def test_control_characters_are_never_returned(base_url: str, given: str) -> None:
    received = exchange(base_url, head(base_url, "/livez", "GET", X_Request_ID=given, Connection="close"))
    assert status_of(received) in (200, 400)
    top = received.split(b"\r\n\r\n")[0]
    assert given.encode("latin-1") not in top and b"Set-Cookie" not in top


def test_generated_request_ids_differ(client: httpx.Client) -> None:
    assert len({client.get("/livez").headers["x-request-id"] for _ in range(50)}) == 50
