"""Every limit in both rooms, in the form of their protocols, and what is small enough for the event loop."""

import asyncio
import gzip
import json
from typing import Any

import httpx
import pytest
from fastapi import Request

from app.service.execution import INLINE_BYTES, Execution, Job
from tests.conftest import recorded_document
from tests.contract.bridges.tesseract_calls import address
from tests.contract.bridges.umbridge_calls import NETWORK
from tests.contract.bridges.umbridge_calls import request as umbridge_request
from tests.rows import for_each
from tests.service.inprocess import running, send
from tests.service.limits import app_with

FOUR_NODES = "x*y + x"
"""x, y, their product and the sum: 7 bytes."""

EXPRESSION = {"expression": FOUR_NODES}
UMBRIDGE: dict[str, dict[str, Any]] = {
    "ModelInfo": {"name": "expression"},
    "InputSizes": {"name": "expression", "config": EXPRESSION},
    "OutputSizes": {"name": "expression", "config": EXPRESSION},
    "Evaluate": umbridge_request("Evaluate", config=EXPRESSION),
    "Gradient": umbridge_request("Gradient", config=EXPRESSION),
    "ApplyJacobian": umbridge_request("ApplyJacobian", config=EXPRESSION),
    "ApplyHessian": umbridge_request("ApplyHessian", config=EXPRESSION),
}
INPUTS: dict[str, Any] = {"inputs": {"x": [1, 2, 3], "y": 1}}
TESSERACT: dict[str, dict[str, Any]] = {
    "apply": INPUTS,
    "jacobian": {**INPUTS, "jac_inputs": ["x"], "jac_outputs": ["output"]},
    "jacobian_vector_product": {
        **INPUTS,
        "jvp_inputs": ["y"],
        "jvp_outputs": ["output"],
        "tangent_vector": {"y": 1},
    },
    "vector_jacobian_product": {
        **INPUTS,
        "vjp_inputs": ["x"],
        "vjp_outputs": ["output"],
        "cotangent_vector": {"output": [1, 1, 1]},
    },
    "abstract_eval": {"inputs": {"x": {"shape": [3]}, "y": {"shape": []}}},
}
CALLS: dict[str, dict[str, Any]] = {f"/umbridge/{name}": body for name, body in UMBRIDGE.items()} | {
    address(FOUR_NODES, name): body for name, body in TESSERACT.items()
}
COMPUTING = [path for path in CALLS if not path.endswith(("ModelInfo", "Sizes", "abstract_eval"))]
"""What evaluates the expression."""
READING = [path for path in CALLS if not path.endswith("ModelInfo")]
"""What reads the expression."""

every_call = pytest.mark.parametrize("path", CALLS)


def post(path: str, content: bytes, headers: dict[str, str] | None = None, **settings: Any) -> httpx.Response:
    return send(app_with(**settings), "POST", path, content=content, headers=headers)


def message(response: httpx.Response, status: int = 422) -> str:
    """What an error says, after checking its form; `status` is what /v1 has for it."""
    body = response.json()
    if "error" in body:
        assert response.status_code == (400 if status == 422 else status)
        assert body["error"]["type"] == "InvalidInput"
        return str(body["error"]["message"])
    assert response.status_code == status
    return str(body["detail"] if status != 422 else body["detail"][0]["msg"])


def assert_limit(path: str, setting: str, size: int) -> None:
    """Assert that a call is answered at a limit and refused below it."""
    content = json.dumps(CALLS[path]).encode()
    assert post(path, content, None, **{setting: size}).status_code == 200
    refused = message(post(path, content, None, **{setting: size - 1}))
    assert f"the limit is {size - 1}, and AUTODIFF_{setting.upper()} raises it" in refused


def test_every_operation_has_a_small_request() -> None:
    paths = recorded_document()["paths"]
    posts = {path for path, item in paths.items() if "post" in item and path.startswith(("/umbridge", "/tesseract"))}
    assert posts == {f"/umbridge/{name}" for name in UMBRIDGE} | {f"/tesseract/{{expression}}/{name}" for name in TESSERACT}


@every_call
@pytest.mark.parametrize("coding", ["identity", "gzip"])
def test_bytes_of_a_body(path: str, coding: str) -> None:
    content = json.dumps(CALLS[path]).encode().ljust(500)
    headers = {"Content-Encoding": coding}
    body = gzip.compress(content) if coding == "gzip" else content
    assert post(path, body, headers, max_body_bytes=500).status_code == 200
    refused = post(path, body, headers, max_body_bytes=499)
    assert "AUTODIFF_MAX_BODY_BYTES" in message(refused, 413) and refused.headers["connection"] == "close"


@for_each("path", READING)
def test_bytes_of_a_text(path: str) -> None:
    assert_limit(path, "max_text", len(FOUR_NODES))


@for_each("path", READING)
def test_nodes(path: str) -> None:
    assert_limit(path, "max_nodes", 4)


@pytest.mark.parametrize("path", [path for path in COMPUTING if "tesseract" in path])
def test_points(path: str) -> None:
    assert_limit(path, "max_points", 3)


def test_points_of_shapes_that_are_broadcast_are_counted_before_they_are_made() -> None:
    """Two short arrays have together a million million points."""
    ones = [1] * 1_000_000
    content = json.dumps({"inputs": {"x": [ones], "y": [[one] for one in ones]}}).encode()
    assert "1,000,000,000,000 points" in message(post(address(FOUR_NODES, "apply"), content))


PASSES = {"Evaluate": 1, "Gradient": 2, "ApplyJacobian": 3, "ApplyHessian": 6}
"""Walks over four nodes at one point, as in /v1."""


@pytest.mark.parametrize(("operation", "passes"), PASSES.items())
def test_work(operation: str, passes: int) -> None:
    assert_limit(f"/umbridge/{operation}", "max_work", 4 * passes)


@pytest.mark.parametrize(("operation", "passes"), [("Gradient", 2), ("ApplyJacobian", 3), ("ApplyHessian", 6)])
def test_work_for_several_outputs_is_counted_for_all(operation: str, passes: int) -> None:
    config = {"expression": "p = x*y; s = p + x", "outputs": ["p", "s"]}
    content = json.dumps(umbridge_request(operation, outputs=2, config=config)).encode()
    path = f"/umbridge/{operation}"
    assert post(path, content, max_work=2 * 4 * passes).status_code == 200
    assert "AUTODIFF_MAX_WORK" in message(post(path, content, max_work=2 * 4 * passes - 1))


NUMBERS = {"apply": 3, "jacobian": 9, "jacobian_vector_product": 6, "vector_jacobian_product": 6}
"""Numbers of a response; with a product, those of the value too."""


@pytest.mark.parametrize(("endpoint", "numbers"), NUMBERS.items())
def test_numbers(endpoint: str, numbers: int) -> None:
    assert_limit(address(FOUR_NODES, endpoint), "max_numbers", numbers)


@for_each("operation", ["Evaluate", "Gradient", "ApplyJacobian", "ApplyHessian"])
@for_each(("setting", "least"), [("max_numbers", 1), ("max_work", 1)])
def test_limits_of_networks(operation: str, setting: str, least: int) -> None:
    content = json.dumps(umbridge_request(operation, "network", outputs=2, config={"model": NETWORK})).encode()
    path = f"/umbridge/{operation}"
    assert post(path, content).status_code == 200
    assert f"AUTODIFF_{setting.upper()}" in message(post(path, content, None, **{setting: least}))


@pytest.mark.parametrize("operation", ["Gradient", "ApplyJacobian", "ApplyHessian"])
def test_nodes_of_a_network_that_is_differentiated(operation: str) -> None:
    """As many as `/v1/networks/graph` writes: inputs, parameters, products, sums and activations."""
    model = {"layers": [{"weights": [[1, 2], [3, 4]], "biases": [0, 0], "activation": "tanh"}]}
    content = json.dumps(umbridge_request(operation, "network", outputs=2, config={"model": model})).encode()
    nodes = 2 + 6 + 4 + 2 + 2
    assert post(f"/umbridge/{operation}", content, max_nodes=nodes).status_code == 200
    assert "AUTODIFF_MAX_NODES" in message(post(f"/umbridge/{operation}", content, max_nodes=nodes - 1))


# --- the event loop or the pool


@pytest.fixture
def admitted(monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    """The jobs that asked for a place in the pool."""
    jobs: list[Job] = []
    admit = Execution.admit

    async def noted(self: Execution, job: Job, request: Request, *, is_short: bool) -> None:
        jobs.append(job)
        await admit(self, job, request, is_short=is_short)

    monkeypatch.setattr(Execution, "admit", noted)
    return jobs


@every_call
def test_small_request_is_computed_on_the_loop_and_a_large_body_in_the_pool(path: str, admitted: list[Job]) -> None:
    places = []
    for size in (INLINE_BYTES, INLINE_BYTES + 1):
        assert post(path, json.dumps(CALLS[path]).encode().ljust(size)).status_code == 200
        places.append(len(admitted))
        admitted.clear()
    assert places == [0, 1]


@pytest.mark.parametrize("endpoint", TESSERACT)
def test_long_expression_in_the_path_goes_to_the_pool(endpoint: str, admitted: list[Job]) -> None:
    text = FOUR_NODES + " + 1" * 500
    assert post(address(text, endpoint), json.dumps(TESSERACT[endpoint]).encode()).status_code == 200
    assert len(admitted) == 1


@pytest.mark.parametrize("operation", PASSES)
def test_long_expression_in_the_config_goes_to_the_pool(operation: str, admitted: list[Job]) -> None:
    body = umbridge_request(operation, config={"expression": FOUR_NODES + " + 1" * 500})
    assert post(f"/umbridge/{operation}", json.dumps(body).encode()).status_code == 200
    assert len(admitted) == 1


@pytest.mark.parametrize("operation", ["Gradient", "ApplyJacobian", "ApplyHessian"])
def test_derivative_of_a_network_goes_to_the_pool(operation: str, admitted: list[Job]) -> None:
    body = umbridge_request(operation, "network", outputs=2, config={"model": NETWORK})
    assert post(f"/umbridge/{operation}", json.dumps(body).encode()).status_code == 200
    assert len(admitted) == 1


def test_jacobian_of_many_numbers_goes_to_the_pool(admitted: list[Job]) -> None:
    points = list(range(1, 121))
    body = {"inputs": {"x": points, "y": 1}, "jac_inputs": ["x"], "jac_outputs": ["output"]}
    assert post(address(FOUR_NODES, "jacobian"), json.dumps(body).encode()).status_code == 200
    assert len(admitted) == 1


# --- time, clients and the queue


@pytest.mark.parametrize("path", ["/umbridge/Gradient", address("x*y + x", "apply")])
def test_deadline(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels look at the deadline at least at their beginning, if the work is in the pool."""
    content = json.dumps(CALLS[path]).encode().ljust(INLINE_BYTES + 1)
    refused = post(path, content, compute_timeout_s=1e-9)
    assert refused.status_code == 503 and refused.headers["retry-after"] == "1"
    body = refused.json()
    assert "AUTODIFF_COMPUTE_TIMEOUT_S" in (body["error"]["message"] if "error" in body else body["detail"])
    if "error" in body:
        assert body["error"]["type"] == "DeadlineExceeded"


def test_client_with_too_much_in_flight() -> None:
    """While its first computation is uploaded, a second one of the same client is refused."""

    async def both() -> httpx.Response:
        app = app_with(max_concurrency_per_client=1)
        uploading, go_on = asyncio.Event(), asyncio.Event()
        content = json.dumps(UMBRIDGE["Evaluate"]).encode().ljust(20_000)

        async def slowly() -> Any:
            yield content[:15_000]
            uploading.set()
            await go_on.wait()
            yield content[15_000:]

        async with running(app) as client:
            first = asyncio.create_task(client.post("/umbridge/Evaluate", content=slowly()))
            await uploading.wait()
            await asyncio.sleep(0.01)
            second = await client.post("/umbridge/Evaluate", content=content)
            go_on.set()
            assert (await first).status_code == 200
            return second

    refused = asyncio.run(both())
    assert refused.status_code == 429 and refused.headers["retry-after"] == "1"
    assert refused.json()["error"]["type"] == "TooManyRequests"


# --- metrics


def test_expressions_are_no_labels_of_metrics() -> None:
    for k in range(3):
        assert post(address(f"x + {k}.5", "apply"), b'{"inputs": {"x": 1}}').status_code == 200
    exposition = send(app_with(), "GET", "/metrics").text
    assert 'route="/tesseract/{expression}/apply"' in exposition and "%2B" not in exposition and ".5/apply" not in exposition
