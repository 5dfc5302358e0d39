"""The rules of UM-Bridge 1.0, from its public documentation (https://um-bridge-benchmarks.readthedocs.io), for both models.

The protocol's own suite takes the first model without a config, and checks sizes and the forms of answers and errors. So do
these tests.
"""

from typing import Any

import httpx
import pytest

from tests.contract.bridges.umbridge_calls import INDICES, MODELS, OPERATIONS, error, output, post, request
from tests.contract.wire import json_of
from tests.rows import for_each

every_model = for_each("name", MODELS)
every_operation = for_each("operation", OPERATIONS)


def sizes(client: httpx.Client, name: str) -> tuple[list[int], list[int]]:
    """The sizes of a model without a config."""
    inputs = json_of(post(client, "InputSizes", {"name": name}))
    outputs = json_of(post(client, "OutputSizes", {"name": name}))
    assert list(inputs) == ["inputSizes"] and list(outputs) == ["outputSizes"]
    return inputs["inputSizes"], outputs["outputSizes"]


def default(client: httpx.Client, operation: str, name: str, **fields: Any) -> dict[str, Any]:
    """A request of zeros that fits the sizes of a model without a config."""
    (inputs,), (outputs,) = sizes(client, name)
    return request(operation, name, inputs, outputs, **fields)


def test_server_answers_head(client: httpx.Client) -> None:
    """The suite waits for the server with a HEAD of the address, whatever its status."""
    assert client.head("/umbridge").status_code < 500


def test_info(client: httpx.Client) -> None:
    found = json_of(client.get("/umbridge/Info"))
    assert set(found) == {"protocolVersion", "models"}
    assert found["protocolVersion"] == 1.0 and found["models"] == ["expression", "network"]


@every_model
def test_model_info_has_a_boolean_for_every_operation(client: httpx.Client, name: str) -> None:
    found = json_of(post(client, "ModelInfo", {"name": name}))
    assert found == {"support": dict.fromkeys(OPERATIONS, True)}


@every_model
def test_sizes_are_positive_integers(client: httpx.Client, name: str) -> None:
    for found in sizes(client, name):
        assert len(found) == 1 and type(found[0]) is int and found[0] > 0


@every_model
def test_outputs_have_their_sizes(client: httpx.Client, name: str) -> None:
    found = output(client, "Evaluate", default(client, "Evaluate", name))
    assert [len(vector) for vector in found] == sizes(client, name)[1]
    assert all(type(number) is float for vector in found for number in vector)


@every_model
@for_each(("operation", "side"), [("Gradient", 0), ("ApplyJacobian", 1), ("ApplyHessian", 0)])
def test_products_have_the_size_of_an_input_or_output(client: httpx.Client, name: str, operation: str, side: int) -> None:
    """A gradient and a Hessian's product are as long as the input, a Jacobian's product as the output."""
    found = output(client, operation, default(client, operation, name))
    assert len(found) == sizes(client, name)[side][0] and all(type(number) is float for number in found)


@pytest.mark.parametrize("operation", ["ModelInfo", "InputSizes", "OutputSizes", *OPERATIONS])
def test_unknown_model_is_not_found_whatever_else_is_missing(client: httpx.Client, operation: str) -> None:
    message = error(post(client, operation, {"name": "wrong_model_name"}), "ModelNotFound")
    assert "wrong_model_name" in message and "expression" in message and "network" in message


@every_model
@every_operation
@for_each("more", [1, -1])
def test_input_of_another_length_is_invalid(client: httpx.Client, operation: str, name: str, more: int) -> None:
    body = default(client, operation, name)
    body["input"] = [[0.0] * (len(body["input"][0]) + more)]
    assert "input has" in error(post(client, operation, body))


@every_model
@every_operation
@for_each("vectors", [[], [[0.0, 0.0], [0.0]], [0.0, 0.0], 0.0, "x", None])
def test_input_that_is_not_one_vector_is_invalid(client: httpx.Client, operation: str, name: str, vectors: Any) -> None:
    assert "/input" in error(post(client, operation, default(client, operation, name, input=vectors)))


INDEXED = [(operation, index) for operation, indices in INDICES.items() for index in indices]


@every_model
@for_each(("operation", "index"), INDEXED)
@for_each("value", [1, -1, 2**70, 0.5, "0", None, True])
def test_index_of_no_vector_is_invalid(client: httpx.Client, operation: str, index: str, name: str, value: Any) -> None:
    assert index in error(post(client, operation, default(client, operation, name, **{index: value})))


WEIGHED = [("Gradient", "sens"), ("ApplyJacobian", "vec"), ("ApplyHessian", "sens"), ("ApplyHessian", "vec")]


@every_model
@for_each(("operation", "field"), WEIGHED)
@for_each("value", [[], [0.0] * 9, [[0.0]], ["a", "b"], 0.0, None])
def test_vector_of_another_length_or_type_is_invalid(
    client: httpx.Client, operation: str, field: str, name: str, value: Any
) -> None:
    assert field in error(post(client, operation, default(client, operation, name, **{field: value})))


@every_model
@every_operation
def test_missing_field_is_invalid(client: httpx.Client, operation: str, name: str) -> None:
    for field in set(default(client, operation, name)) - {"config", "name"}:
        body = default(client, operation, name)
        del body[field]
        assert field in error(post(client, operation, body))


@every_operation
@for_each("content", [b"", b"nope", b"[]", b"null", b'{"name": 1}', b'{"name": "expression"', b"\xff"])
def test_body_that_is_no_request_is_invalid(client: httpx.Client, operation: str, content: bytes) -> None:
    error(post(client, operation, content))
