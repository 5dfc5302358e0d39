"""The files in openapi/examples: each request gets the response recorded beside it."""

from typing import Any

import httpx
import pytest

from tests.conftest import Example, examples
from tests.contract.wire import json_of
from tests.rows import for_each

EXAMPLES = examples()


def assert_equal(found: Any, expected: Any, place: str = "") -> None:
    """Assert that two JSON documents have the same structure, and the same numbers to 1e-12."""
    if isinstance(expected, dict):
        assert isinstance(found, dict) and set(found) == set(expected), place
        for key in expected:
            assert_equal(found[key], expected[key], f"{place}/{key}")
    elif isinstance(expected, list):
        assert isinstance(found, list) and len(found) == len(expected), place
        for k, item in enumerate(expected):
            assert_equal(found[k], item, f"{place}/{k}")
    elif place.endswith(("/iterations", "/evaluations")):
        assert isinstance(found, int) and found > 0, place  # which may differ between processors
    elif isinstance(expected, float | int) and not isinstance(expected, bool):
        assert isinstance(found, float | int) and not isinstance(found, bool), place
        assert found == pytest.approx(expected, rel=1e-12, abs=1e-12), place
    else:
        assert type(found) is type(expected) and found == expected, place


@for_each("example", EXAMPLES)
def test_request_gets_the_recorded_response(client: httpx.Client, routes: dict[str, tuple[str, str]], example: Example) -> None:
    assert example.content["summary"]
    method, path = routes[example.operation]
    request = example.content.get("request", {})
    address = path.format(**example.path)
    if method == "POST":
        response = client.post(address, content=example.body, headers={"Content-Type": example.media_type})
    else:
        response = client.get(address, params={key: request[key] for key in request if f"{{{key}}}" not in path})
    if "answer" in example.content:
        assert_equal(json_of(response), example.content["answer"])
    else:
        assert response.status_code == 200, response.text


def test_every_post_has_an_example(routes: dict[str, tuple[str, str]]) -> None:
    posts = {operation for operation, (method, _) in routes.items() if method == "POST"}
    assert posts <= {example.operation for example in EXAMPLES}
