"""Requests of UM-Bridge, and the checks that hold for all of its errors."""

import json
from typing import Any

import httpx

from tests.contract.wire import MAX_ERROR_BYTES, json_of, strict

ROSENBROCK = "(1 - x)**2 + 100*(y - x**2)**2"
NETWORK = {
    "layers": [
        {"weights": [[0.3, -0.7], [1.1, 0.2], [-0.4, 0.9]], "biases": [0.1, -0.2, 0.3], "activation": "tanh"},
        {"weights": [[0.6, -0.5, 0.4], [0.2, 0.8, -0.9]], "biases": [0.05, -0.15], "activation": "linear"},
    ]
}

INDICES = {
    "Evaluate": (),
    "Gradient": ("outWrt", "inWrt"),
    "ApplyJacobian": ("outWrt", "inWrt"),
    "ApplyHessian": ("outWrt", "inWrt1", "inWrt2"),
}
"""The operations and the indices that each takes."""

OPERATIONS = tuple(INDICES)
MODELS = ("expression", "network")


def post(client: httpx.Client, operation: str, body: Any) -> httpx.Response:
    """Post as the clients do: JSON without a content type."""
    content = body if isinstance(body, bytes) else json.dumps(body, indent=4).encode()
    return client.post(f"/umbridge/{operation}", content=content)


def request(operation: str, name: str = "expression", inputs: int = 2, outputs: int = 1, **fields: Any) -> dict[str, Any]:
    """A valid request, with zeros for whatever numbers it takes."""
    body: dict[str, Any] = {"name": name, "input": [[0.0] * inputs], "config": {}}
    body |= dict.fromkeys(INDICES[operation], 0)
    if operation in ("Gradient", "ApplyHessian"):
        body["sens"] = [0.0] * outputs
    if operation in ("ApplyJacobian", "ApplyHessian"):
        body["vec"] = [0.0] * inputs
    return body | fields


def output(client: httpx.Client, operation: str, body: Any) -> Any:
    """The output of a request that must succeed."""
    found = json_of(post(client, operation, body))
    assert list(found) == ["output"]
    return found["output"]


def error(response: httpx.Response, kind: str = "InvalidInput", status: int = 400) -> str:
    """The message of an error response, after checking that it has the protocol's form."""
    assert (response.status_code, response.headers["content-type"]) == (status, "application/json"), response.text[:500]
    assert len(response.content) < MAX_ERROR_BYTES and response.headers["x-request-id"]
    body = strict(response.content)
    assert set(body) == {"error"} and set(body["error"]) == {"type", "message"}
    assert body["error"]["type"] == kind, body
    message = body["error"]["message"]
    assert isinstance(message, str) and message and "Traceback" not in message
    return message
