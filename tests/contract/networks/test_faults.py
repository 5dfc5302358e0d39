"""Faulty requests are answered with a problem that points at the fault and explains it."""

import json

import httpx

from tests.contract.conftest import Post
from tests.contract.networks.fault_cases import BASES, CASES, assert_fault, changed
from tests.contract.networks.faults import Fault
from tests.contract.wire import problem
from tests.rows import for_each


@for_each(("path", "fault"), CASES)
def test_fault_is_named_with_its_place(post: Post, path: str, fault: Fault) -> None:
    request = changed(path, fault.place, fault.value)
    assert_fault(post(path, **request), request, fault.problem, fault.pointer, fault.words)


@for_each("path", BASES)
def test_request_without_a_fault_is_valid(client: httpx.Client, path: str) -> None:
    assert client.post(f"/v1/{path}", json=BASES[path]).status_code == 200


NUMBERS = [
    "/model/layers/0/weights/0/1",
    "/model/layers/1/biases/0",
    "/data/inputs/1/0",
    "/data/targets/2",
    "/l2",
    "/optimizer/learning_rate",
]


@for_each("place", NUMBERS)
@for_each("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
def test_number_that_is_not_finite_is_refused(post: Post, place: str, number: str) -> None:
    """NaN and Infinity are not JSON: the request may be refused as such."""
    content = json.dumps(changed("networks/train", place, 31415.926535)).replace("31415.926535", number).encode()
    response = post("networks/train", content=content)
    if "N" in number or "I" in number:
        assert response.status_code in (400, 422)
        body = problem(response)
        assert response.status_code == 400 or body["errors"][0]["pointer"] == place
    else:
        problem(response, "invalid-request", 422, place)
