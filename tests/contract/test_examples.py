"""Every file in openapi/examples: its request gets its answer."""

from typing import Any

import httpx
import pytest

from tests.conftest import examples
from tests.contract.wire import POSTS, answer

CASES = examples()


def agree(found: Any, expected: Any, place: str = "") -> None:
    """The same structure exactly, and the same numbers to 1e-12."""
    if isinstance(expected, dict):
        assert isinstance(found, dict) and set(found) == set(expected), place
        for key in expected:
            agree(found[key], expected[key], f"{place}/{key}")
    elif isinstance(expected, list):
        assert isinstance(found, list) and len(found) == len(expected), place
        for k, item in enumerate(expected):
            agree(found[k], item, f"{place}/{k}")
    elif isinstance(expected, float | int) and not isinstance(expected, bool):
        assert isinstance(found, float | int) and not isinstance(found, bool), place
        assert found == pytest.approx(expected, rel=1e-12, abs=1e-12), place
    else:
        assert type(found) is type(expected) and found == expected, place


@pytest.mark.parametrize(("operation", "name", "example"), CASES, ids=[f"{operation}.{name}" for operation, name, _ in CASES])
def test_the_request_gets_the_answer(
    client: httpx.Client, routes: dict[str, tuple[str, str]], operation: str, name: str, example: dict[str, Any]
) -> None:
    assert example["summary"]
    method, path = routes[operation]
    request = example.get("request", {})
    if method == "POST":
        response = client.post(path, json=request)
    else:
        response = client.get(path.format(**request), params={key: request[key] for key in request if f"{{{key}}}" not in path})
    if "answer" in example:
        agree(answer(response), example["answer"])
    else:
        assert response.status_code == 200, response.text


def test_every_operation_has_an_example() -> None:
    assert {operation for operation, _, _ in CASES} >= set(POSTS)
