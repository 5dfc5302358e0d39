"""Which operation gets which of the faulty requests."""

import copy
from collections.abc import Iterable
from typing import Any

import httpx

from tests.contract.networks.faults import DATA_FAULTS, DELETE, MODEL_FAULTS, NEITHER, TRAIN_FAULTS, Fault
from tests.contract.wire import assert_mentions, problem, resolve
from tests.nn.networks import MODEL, ROWS

BASES: dict[str, dict[str, Any]] = {
    "networks": {"inputs": 2, "layers": [3, 1]},
    "networks/predict": {"model": MODEL, "inputs": [[1.0, 2.0], [3.0, 4.0]]},
    "networks/backward": {"model": MODEL, "data": ROWS, "loss": "mse"},
    "networks/train": {"model": MODEL, "data": ROWS, "loss": "mse", "steps": 3, "optimizer": {"name": "sgd"}},
    "networks/train/stream": {"model": MODEL, "data": ROWS, "loss": "mse", "steps": 3, "optimizer": {"name": "sgd"}},
    "networks/graph": {"model": MODEL, "inputs": [1.0, 2.0], "target": 1.0, "loss": "mse"},
    "networks/decision-boundary": {"model": MODEL, "data": ROWS},
    "networks/history": {"history": [{"step": 0, "loss": 1.0}]},
}
"""A valid request for each operation."""
LAYER_FAULTS = [fault for fault in MODEL_FAULTS if fault.place.startswith("/model/layers")]
LOSS_FAULTS = [fault for fault in DATA_FAULTS if fault.place == "/loss" and fault.value is not DELETE]


def suits_a_boundary(fault: Fault) -> bool:
    """Whether a faulty `data` is faulty for a decision boundary too, which needs no targets and has no loss."""
    of_data = fault.place.startswith("/data/") or isinstance(fault.value, dict) and "dataset" in fault.value
    return of_data and fault.value is not DELETE and fault.value != [[1, 1]] * 4


def of(path: str, place: str, value: Any, problem: str | tuple[str, ...], pointer: str, *words: str) -> tuple[str, Fault]:
    """Return an operation and a fault of its request."""
    return path, Fault(place, value, problem, pointer, words)


OTHER_FAULTS = [
    of("networks", "/inputs", DELETE, "invalid-request", "/inputs", "missing|required"),
    of("networks", "/inputs", 0, "invalid-request", "/inputs", "1"),
    of("networks", "/inputs", 2.5, "invalid-request", "/inputs", "integer"),
    of("networks", "/layers", DELETE, "invalid-request", "/layers", "missing|required"),
    of("networks", "/layers", [], "invalid-request", "/layers", "1"),
    of("networks", "/layers", 3, "invalid-request", "/layers", "list"),
    of("networks", "/layers/1", 0, "invalid-request", "/layers/1", "1"),
    of("networks", "/layers/1", "1", "invalid-request", "/layers/1", "integer"),
    of("networks", "/activation", "rellu", "invalid-request", "/activation", "'rellu'", "'relu'"),
    of("networks", "/output_activation", "where", "invalid-request", "/output_activation", "'where'"),
    of("networks", "/init", "kaiming", "invalid-request", "/init", "uniform", "he", "xavier"),
    of("networks", "/seed", -1, "invalid-request", "/seed"),
    of("networks", "/seed", 1.5, "invalid-request", "/seed", "integer"),
    of("networks", "/hidden", 5, "invalid-request", "/hidden", "'hidden'"),
    of("networks/predict", "/inputs", DELETE, "invalid-request", "/inputs", "missing|required"),
    of("networks/predict", "/inputs", [], NEITHER, "/inputs", "rows"),
    of("networks/predict", "/inputs", [[]], NEITHER, "/inputs", "rows"),
    of("networks/predict", "/inputs", [1.0, 2.0], "invalid-request", "/inputs/0", "list"),
    of("networks/predict", "/inputs/1", [1.0], "shape-mismatch", "/inputs/1", "row 1", "1", "2"),
    of("networks/predict", "/inputs", [[1.0, 2.0, 3.0]], "shape-mismatch", "/inputs", "3", "2"),
    of("networks/backward", "/input_gradients", 1, "invalid-request", "/input_gradients", "true"),
    of("networks/backward", "/steps", 1, "invalid-request", "/steps", "'steps'"),
    of("networks/graph", "/inputs", [1.0], "shape-mismatch", "/inputs", "2", "1"),
    of("networks/graph", "/inputs", [], NEITHER, "/inputs", "2", "0"),
    of("networks/graph", "/inputs", [[1.0, 2.0]], "invalid-request", "/inputs/0", "number"),
    of("networks/graph", "/target", [1.0, 2.0], "shape-mismatch", "/target", "1", "2"),
    of("networks/graph", "/target", [], "shape-mismatch", "/target", "empty"),
    of("networks/graph", "/target", "1", "invalid-request", "/target"),
    of("networks/graph", "/target", DELETE, "invalid-request", "/target", "target"),
    of("networks/decision-boundary", "/model", {"inputs": 3, "layers": [1]}, NEITHER, "/model", "two inputs", "3"),
    of("networks/decision-boundary", "/step", 0, "invalid-request", "/step"),
    of("networks/decision-boundary", "/step", -0.25, "invalid-request", "/step"),
    of("networks/decision-boundary", "/step", 1e-9, "too-large", "/step", "1000000", "points"),
    of("networks/decision-boundary", "/padding", 1e300, "too-large", "/padding", "1000000", "points"),
    of("networks/decision-boundary", "/padding", -1, "invalid-request", "/padding"),
    of("networks/train", "/steps", 10**15, "too-large", "/steps", "AUTODIFF_MAX_WORK"),
    of("networks/history", "/history", [], NEITHER, "/history", "rows"),
    of("networks/history", "/history", DELETE, "invalid-request", "/history", "missing|required"),
    of("networks/history", "/history/0/loss", DELETE, "invalid-request", "/history/0/loss", "missing|required"),
    of("networks/history", "/history/0/loss", None, "invalid-request", "/history/0/loss", "number"),
    of("networks/history", "/history/0/step", 0.5, "invalid-request", "/history/0/step", "integer"),
    of("networks/history", "/rows", 0.5, "invalid-request", "/rows", "'rows'"),
]

CASES: list[tuple[str, Fault]] = [
    *(("networks/train", fault) for fault in (*MODEL_FAULTS, *DATA_FAULTS, *TRAIN_FAULTS)),
    *(("networks/predict", fault) for fault in MODEL_FAULTS),
    *(("networks/backward", fault) for fault in (*LAYER_FAULTS, *DATA_FAULTS)),
    *(("networks/train/stream", fault) for fault in (*LAYER_FAULTS, *DATA_FAULTS, *TRAIN_FAULTS)),
    *(("networks/decision-boundary", fault) for fault in (*LAYER_FAULTS, *filter(suits_a_boundary, DATA_FAULTS))),
    *(("networks/graph", fault) for fault in (*LAYER_FAULTS, *LOSS_FAULTS)),
    *OTHER_FAULTS,
]
"""(operation, fault) for every faulty request."""


def changed(path: str, place: str, value: Any) -> dict[str, Any]:
    """Return the valid request of an operation with one place replaced, or removed if the value is DELETE."""
    request = copy.deepcopy(BASES[path])
    parent, _, key = place.rpartition("/")
    container = resolve(request, parent)
    if value is DELETE:
        del container[key]
    else:
        container[int(key) if isinstance(container, list) else key] = value
    return request


def assert_fault(
    response: httpx.Response, request: Any, kind: str | tuple[str, ...], pointer: str, words: Iterable[str] = ()
) -> None:
    """Assert a 422 of this kind, or one of these, at this place or inside it. Every pointer must point into the request."""
    body = problem(response, None, 422, None)
    kinds = (kind,) if isinstance(kind, str) else kind
    assert body["type"].removeprefix("/problems/") in kinds, body
    pointers = [entry["pointer"] for entry in body.get("errors", [])]
    assert any(found == pointer or found.startswith(pointer + "/") for found in pointers), body
    for found in pointers:
        resolve(request, found.rpartition("/")[0])  # the last step may be what is missing
    assert_mentions(body, words)
