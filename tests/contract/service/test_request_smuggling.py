"""Ambiguous lengths never let one request hide another."""

import json

from tests.contract.conftest import AssertAlive
from tests.contract.sockets import exchange, head, status_of
from tests.contract.wire import smallest

BODY = json.dumps(smallest("forward")).encode()


def test_bytes_after_the_content_length_are_never_answered_with_success(base_url: str, assert_alive: AssertAlive) -> None:
    """They belong to no request, and are not another request either."""
    received = exchange(base_url, head(base_url, Content_Length="20"), BODY, seconds=2)
    assert status_of(received) == 400 and b" 200 " not in received
    assert_alive()


def test_content_length_beside_chunked_is_never_two_requests(base_url: str, assert_alive: AssertAlive) -> None:
    """RFC 9112, 6.1: a message with both may be an attempt at smuggling."""
    start = head(base_url, Content_Length="3", Transfer_Encoding="chunked", Connection="close")
    received = exchange(base_url, start, b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY), seconds=2)
    assert received == b"" or status_of(received) in (200, 400), received[:200]
    successes = received.count(b"HTTP/1.1 200")
    assert successes == 0 or received.count(b"HTTP/1.1 ") == 1 and b'"value":10.0' in received
    assert_alive()
