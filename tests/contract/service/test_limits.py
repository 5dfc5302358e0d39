"""Limits: each is refused with its number and its setting before any work is done."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.conftest import Server
from tests.contract import client as http
from tests.contract.service.processes import LONG_TRAINING
from tests.contract.sockets import first_response
from tests.contract.wire import LOCAL, assert_mentions, problem

TEN = [f"x{k}" for k in range(10)]
MANY_NODES = {"nodes": [{"id": f"n{k}", "op": "value"} for k in range(21)], "output": "n0"}
LINE = {"layers": [{"weights": [[1, 1]], "biases": [0]}]}

LIMITS: dict[str, tuple[str, str, Any]] = {
    "AUTODIFF_MAX_NODES": ("20", "/v1/forward", {"expression": MANY_NODES}),
    "AUTODIFF_MAX_TEXT": ("60", "/v1/forward", {"expression": "x" + " + x" * 20, "inputs": {"x": 1}}),
    "AUTODIFF_MAX_POINTS": ("3", "/v1/forward", {"expression": "x", "inputs": {"x": [1, 2, 3, 4]}}),
    "AUTODIFF_MAX_WORK": (
        "1000",
        "/v1/networks/train",
        {**LONG_TRAINING, "model": LINE, "data": {"dataset": "xor"}, "steps": 100},
    ),
    "AUTODIFF_MAX_NUMBERS": ("100", "/v1/hessian", {"expression": "+".join(TEN), "inputs": dict.fromkeys(TEN, 1)}),
}
"""(value, path, request that exceeds it) by setting."""


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with low limits."""
    environment = {name: limit for name, (limit, _, _) in LIMITS.items()}
    server = Server(
        tmp_path_factory.mktemp("limited") / "log", environment=environment | {"AUTODIFF_MAX_BODY_BYTES": "2000"}, fork=True
    )
    server.wait_until_ready()
    yield server
    server.stop()


@pytest.mark.parametrize("setting", LIMITS)
@pytest.mark.skipif(not LOCAL, reason="starts servers of its own")
def test_limit_is_named_with_its_setting(limited: Server, setting: str) -> None:
    limit, path, body = LIMITS[setting]
    assert_mentions(problem(http.post(limited.url + path, json=body), "too-large", 422), [limit, setting])
    assert http.get(f"{limited.url}/v1/info").json()["limits"][setting.removeprefix("AUTODIFF_").lower()] == int(limit)


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"loss": {"expression": "score" + " + score" * 20}}, id="loss"),
        pytest.param({"loss": "mse", "optimizer": {"learning_rate": "step" + " + step" * 20}}, id="learning rate"),
    ],
)
@pytest.mark.skipif(not LOCAL, reason="starts servers of its own")
def test_limit_of_text_length_holds_for_every_text(limited: Server, fields: dict[str, Any]) -> None:
    run = {"model": LINE, "data": {"dataset": "xor"}, "steps": 1}
    refused = http.post(f"{limited.url}/v1/networks/train", json=run | fields)
    assert_mentions(problem(refused, None, 422), ["AUTODIFF_MAX_TEXT"])


@pytest.mark.parametrize(
    ("path", "body"),
    [
        pytest.param("/v1/parse", {"expression": "-" * 40 + "x"}, id="text"),
        pytest.param("/v1/networks/graph", {"model": {"inputs": 4, "layers": [4]}, "inputs": [1, 1, 1, 1]}, id="network"),
    ],
)
@pytest.mark.skipif(not LOCAL, reason="starts servers of its own")
def test_limit_of_nodes_holds_for_every_source_of_nodes(limited: Server, path: str, body: Any) -> None:
    assert_mentions(problem(http.post(limited.url + path, json=body), None, 422), ["AUTODIFF_MAX_NODES"])


@pytest.mark.parametrize(("path", "more"), [("backward", {}), ("train", {"steps": 1})], ids=["backward", "train"])
def test_loss_expression_times_rows_is_limited(client: httpx.Client, path: str, more: dict[str, int]) -> None:
    """A loss is evaluated for all rows at once: without a limit a few kilobytes would take as many gigabytes."""
    loss = {"expression": "(" + "-" * 7000 + "score)**2"}
    model, data = {"inputs": 2, "layers": [1]}, {"dataset": "spiral", "samples": 100_000}
    refused = client.post(f"/v1/networks/{path}", json={"model": model, "data": data, "loss": loss, **more})
    assert_mentions(problem(refused, None, 422), ["AUTODIFF_MAX_NUMBERS"])


@pytest.mark.parametrize(
    ("framing", "part"),
    [
        pytest.param("content-length: 1000000000", b"", id="declared"),
        pytest.param("transfer-encoding: chunked", b"bb8\r\n" + b" " * 3000 + b"\r\n", id="chunked"),
    ],
)
@pytest.mark.skipif(not LOCAL, reason="starts servers of its own")
def test_body_over_the_limit_is_refused_before_it_is_read(limited: Server, framing: str, part: bytes) -> None:
    start = f"POST /v1/forward HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n{framing}\r\n\r\n"
    status, body = first_response(limited.url, start.encode() + part)
    assert status == 413 and b"AUTODIFF_MAX_BODY_BYTES" in body


def test_dense_hessian_of_100_000_inputs_is_too_large(client: httpx.Client) -> None:
    nodes: list[dict[str, Any]] = [{"id": f"x{k}", "op": "value", "data": 1} for k in range(100_000)]
    nodes.append({"id": "y", "op": "sum", "args": [f"x{k}" for k in range(100_000)]})
    problem(client.post("/v1/hessian", json={"expression": {"nodes": nodes, "output": "y"}}), "too-large", 422)
