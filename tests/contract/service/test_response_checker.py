"""The check of responses against the OpenAPI document catches planted mistakes."""

import json
from typing import Any

import httpx
import pytest

from tests.contract.schemas import ResponseChecker

VALUE = {"output": "y", "value": 1.0}
ROW = {"step": 0, "loss": 1.0, "data_loss": 1.0, "regularization_loss": 0.0, "learning_rate": 0.1}
PROBLEM = {"type": "/problems/invalid-request", "title": "t", "status": 422, "detail": "d"}
STREAM = "/v1/networks/train/stream"


def respond(path: str, content: Any, status: int = 200, media: str = "application/json") -> httpx.Response:
    """Return a response to a POST as if a service had sent it. Content that is not text is sent as JSON."""
    text = content if isinstance(content, str) else json.dumps(content)
    request = httpx.Request("POST", f"http://service{path}")
    return httpx.Response(status, headers={"Content-Type": media}, text=text, request=request)


@pytest.fixture
def checker(document: dict[str, Any]) -> ResponseChecker:
    return ResponseChecker(document)


@pytest.mark.parametrize(
    "response",
    [
        pytest.param(respond("/v1/forward", VALUE), id="success"),
        pytest.param(respond("/prefix/v1/forward", VALUE), id="behind a root path"),
        pytest.param(respond("/v1/forward", PROBLEM, 422, "application/problem+json"), id="problem"),
        pytest.param(respond("/nope", PROBLEM, 404, "application/problem+json"), id="unknown path"),
        pytest.param(respond(STREAM, f"event: progress\ndata: {json.dumps(ROW)}\n\n", 200, "text/event-stream"), id="progress"),
        pytest.param(respond(STREAM, f"event: error\ndata: {json.dumps(PROBLEM)}\n\n", 200, "text/event-stream"), id="error"),
    ],
)
def test_response_that_matches_passes(checker: ResponseChecker, response: httpx.Response) -> None:
    checker.check(response)


@pytest.mark.parametrize(
    "response",
    [
        pytest.param(respond("/v1/forward", {"output": "y"}), id="missing field"),
        pytest.param(respond("/v1/forward", VALUE | {"value": "1"}), id="wrong type"),
        pytest.param(respond("/v1/forward", VALUE | {"extra": 1}), id="undocumented field"),
        pytest.param(respond("/v1/forward", VALUE, 201), id="undocumented status"),
        pytest.param(respond("/v1/forward", VALUE, 422), id="undocumented media type"),
        pytest.param(respond("/v1/forward", '{"output": "y", "value": NaN}'), id="NaN"),
        pytest.param(respond("/v1/nope", VALUE), id="undocumented path"),
        pytest.param(respond("/v1/forward", {"type": "t"}, 422, "application/problem+json"), id="incomplete problem"),
        pytest.param(respond(STREAM, 'event: progress\ndata: {"step": 0}\n\n', 200, "text/event-stream"), id="progress"),
        pytest.param(respond(STREAM, "event: result\ndata: {}\n\n", 200, "text/event-stream"), id="result"),
        pytest.param(respond(STREAM, "event: error\ndata: {}\n\n", 200, "text/event-stream"), id="error"),
        pytest.param(respond(STREAM, "event: other\ndata: {}\n\n", 200, "text/event-stream"), id="unknown event"),
    ],
)
def test_response_that_does_not_match_fails(checker: ResponseChecker, response: httpx.Response) -> None:
    with pytest.raises(AssertionError):
        checker.check(response)
