"""Labels that a loss does not take."""

from typing import Any

import pytest

from tests.contract.conftest import Post
from tests.contract.networks.fault_cases import assert_fault
from tests.contract.networks.faults import NEITHER, TWO_CLASSES
from tests.contract.wire import label
from tests.nn.networks import MODEL
from tests.rows import for_each

LABELS: list[tuple[dict[str, Any], str, Any, list[str]]] = [
    (MODEL, "max_margin", 0, ["0", "-1 or 1"]),
    (MODEL, "max_margin", 0.5, ["0.5", "-1 or 1"]),
    (MODEL, "binary_cross_entropy", -1, ["-1", "0 or 1"]),
    (MODEL, "binary_cross_entropy", 1.5, ["1.5", "0 or 1"]),
    (TWO_CLASSES, "cross_entropy", 2, ["2", "0 to 1"]),
    (TWO_CLASSES, "cross_entropy", -1, ["-1", "0 to 1"]),
    (TWO_CLASSES, "cross_entropy", 0.5, ["0.5", "0 to 1"]),
    (TWO_CLASSES, "cross_entropy", 1e300, ["0 to 1"]),
]


@for_each("path", ["networks/train", "networks/backward"])
@for_each(("model", "loss", "target", "words"), LABELS)
def test_label_in_a_row_is_named(
    post: Post, path: str, model: dict[str, Any], loss: str, target: Any, words: list[str]
) -> None:
    request: dict[str, Any] = {"model": model, "data": {"inputs": [[1.0, 2.0]] * 3, "targets": [1, target, 1]}, "loss": loss}
    assert_fault(post(path, **request), request, NEITHER, "/data/targets/1", ["row 1", *words])


@for_each(("model", "loss", "target", "words"), LABELS)
def test_label_of_a_graph_is_named(post: Post, model: dict[str, Any], loss: str, target: Any, words: list[str]) -> None:
    request: dict[str, Any] = {"model": model, "inputs": [1.0, 2.0], "target": target, "loss": loss}
    assert_fault(post("networks/graph", **request), request, NEITHER, "/target", words)


@pytest.mark.parametrize(
    ("data", "spec", "loss"),
    [
        ({"dataset": "digits", "samples": 5}, {"inputs": 64, "layers": [1]}, "max_margin"),
        ({"dataset": "digits", "samples": 50}, {"inputs": 64, "layers": [3]}, "cross_entropy"),
        ({"dataset": "moons"}, {"inputs": 2, "layers": [1]}, "binary_cross_entropy"),
        ({"dataset": "moons"}, {"inputs": 2, "layers": [2]}, "mse"),
    ],
    ids=label,
)
def test_labels_of_a_dataset_are_named(post: Post, data: dict[str, Any], spec: dict[str, Any], loss: str) -> None:
    request = {"model": spec, "data": data, "loss": loss}
    assert_fault(post("networks/train", **request), request, NEITHER, "/data/dataset")


def test_cross_entropy_needs_an_output_per_class(post: Post) -> None:
    request: dict[str, Any] = {"model": MODEL, "data": {"inputs": [[1, 2]], "targets": [0]}, "loss": "cross_entropy"}
    assert_fault(post("networks/train", **request), request, NEITHER, "/model", ["1", "cross_entropy"])


def test_cross_entropy_needs_one_class_per_row(post: Post) -> None:
    request = {"model": TWO_CLASSES, "data": {"inputs": [[1, 2]], "targets": [[0, 1]]}, "loss": "cross_entropy"}
    assert_fault(post("networks/train", **request), request, NEITHER, "/data/targets", ["class"])


@pytest.mark.parametrize("targets", [[1], [1, -1, 1]], ids=["fewer", "more"])
def test_decision_boundary_needs_as_many_targets_as_rows(post: Post, targets: list[int]) -> None:
    request = {"model": MODEL, "data": {"inputs": [[0, 0], [1, 1]], "targets": targets}}
    words = [str(len(targets)), "2"]
    assert_fault(post("networks/decision-boundary", **request), request, "shape-mismatch", "/data/targets", words)
