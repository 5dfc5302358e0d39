"""An HTTP client that checks every response against the service's OpenAPI document.

`get`, `post` and `options` send one request each, like the functions of the same names in httpx.
"""

from collections.abc import Iterator
from functools import cache
from typing import Any

import httpx

from tests.contract.events import events
from tests.contract.schemas import ResponseChecker

_checkers: list[ResponseChecker] = []
"""The checker, once it has been made. All servers of a test run publish the same document."""


def checker(service: httpx.URL) -> ResponseChecker:
    """Return the checker of responses. The first call reads the document from the service at this URL."""
    if not _checkers:
        response = httpx.get(service.copy_with(path=f"{service.path.rstrip('/')}/openapi.json", query=None))
        _checkers.append(ResponseChecker(response.raise_for_status().json()))
    return _checkers[0]


class CheckedClient(httpx.Client):
    """An httpx client whose responses must match the OpenAPI document. Streamed responses are left to the caller."""

    def send(self, request: httpx.Request, *, stream: bool = False, **options: Any) -> httpx.Response:
        """Send a request and check its response. Raises AssertionError if it does not match the document."""
        response = super().send(request, stream=stream, **options)
        if not stream:
            checker(self.base_url if self.base_url.host else request.url.join("/")).check(response)
        return response


def stream_events(client: httpx.Client, path: str, body: object) -> Iterator[tuple[str, str]]:
    """Post a request and yield (event, data) for each server-sent event as it arrives, after checking it."""
    with client.stream("POST", path, json=body) as response:
        for name, data in events(response.iter_lines()):
            checker(client.base_url).check_event(path, name, data)
            yield name, data


def get(url: str, **options: Any) -> httpx.Response:
    """Send a GET request and check its response."""
    return _once("GET", url, **options)


def post(url: str, **options: Any) -> httpx.Response:
    """Send a POST request and check its response."""
    return _once("POST", url, **options)


def options(url: str, **options: Any) -> httpx.Response:
    """Send an OPTIONS request and check its response."""
    return _once("OPTIONS", url, **options)


def _once(method: str, url: str, *, timeout: Any = 30.0, **options: Any) -> httpx.Response:
    with CheckedClient(timeout=timeout, verify=_tls()) as client:
        return client.request(method, url, **options)


@cache
def _tls() -> Any:
    """Return a TLS context. Loading certificates takes longer than most requests, so it is done once."""
    return httpx.create_ssl_context()
