"""Inputs that are lists: an expression evaluated at many points at once."""

import random
from typing import Any

import pytest

from tests.contract.conftest import Post
from tests.contract.expressions.cases import TANGLED
from tests.contract.wire import EVALUATED, json_of, label, problem, smallest
from tests.rows import for_each


def test_only_what_depends_on_the_point_is_a_list(post: Post) -> None:
    request = {"expression": "v = w*w; y = v*x", "inputs": {"x": [1, 2, 3], "w": 2}, "values": True}
    found = json_of(post("backward", **request))
    assert found["value"] == [4.0, 8.0, 12.0]
    assert found["values"] == {"w": 2.0, "v": 4.0, "x": [1.0, 2.0, 3.0], "y": [4.0, 8.0, 12.0]}
    assert found["gradients"] == {"w": [4.0, 8.0, 12.0], "v": [1.0, 2.0, 3.0], "x": [4.0] * 3, "y": [1.0] * 3}


@pytest.mark.parametrize("count", [1, 2, 63, 64, 65, 700])
def test_many_points_agree_with_single_points(post: Post, count: int) -> None:
    """A list of one number gives lists of one number."""
    rng = random.Random(count)
    inputs = {name: [rng.uniform(0.2, 2) for _ in range(count)] for name in "xy"}
    together = json_of(post("backward", expression=TANGLED, inputs={**inputs, "z": 0.4}))
    assert len(together["value"]) == count
    for k in {0, count // 2, count - 1}:
        alone = json_of(post("backward", expression=TANGLED, inputs={"x": inputs["x"][k], "y": inputs["y"][k], "z": 0.4}))
        assert together["value"][k] == pytest.approx(alone["value"], rel=1e-13), k
        for name, gradient in alone["gradients"].items():
            assert together["gradients"][name][k] == pytest.approx(gradient, rel=1e-12), (name, k)


@for_each("operation", EVALUATED)
def test_empty_list_of_points_is_refused(post: Post, operation: str) -> None:
    problem(post(operation, **smallest(operation, inputs={"x": []})), "shape-mismatch", 422, "/inputs/x")


@pytest.mark.parametrize(
    ("operation", "fields", "pointer"),
    [
        ("backward", {"cotangent": []}, "/cotangent"),
        ("jvp", {"tangents": {"x": []}}, "/tangents/x"),
        ("hvp", {"tangents": {"x": []}}, "/tangents/x"),
    ],
    ids=label,
)
def test_empty_list_of_cotangents_or_tangents_is_refused(
    post: Post, operation: str, fields: dict[str, Any], pointer: str
) -> None:
    problem(post(operation, **smallest(operation, **fields)), "shape-mismatch", 422, pointer)
