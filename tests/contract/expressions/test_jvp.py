"""POST /v1/jvp: the derivative along a direction."""

from typing import Any

import pytest

from tests.contract.conftest import Post
from tests.contract.wire import json_of


def test_tangent_is_the_derivative_along_the_tangents(post: Post) -> None:
    found = json_of(post("jvp", expression="x**2 * y", inputs={"x": 3, "y": 4}, tangents={"x": 1, "y": 10}))
    assert found == {"output": "output", "value": 36.0, "tangent": 24.0 + 90.0}


def test_missing_tangents_are_zero(post: Post) -> None:
    assert json_of(post("jvp", expression="x**2 * y", inputs={"x": 3, "y": 4}, tangents={"x": 1}))["tangent"] == 24.0
    assert json_of(post("jvp", expression="x**2 * y", inputs={"x": 3, "y": 4}, tangents={}))["tangent"] == 0.0


def test_tangents_per_point(post: Post) -> None:
    assert json_of(post("jvp", expression="x**2", inputs={"x": [1, 2]}, tangents={"x": [1, 10]}))["tangent"] == [2.0, 40.0]
    assert json_of(post("jvp", expression="x**2", inputs={"x": [1, 2]}, tangents={"x": 1}))["tangent"] == [2.0, 4.0]


def test_jvp_agrees_with_backward(post: Post) -> None:
    request: dict[str, Any] = {"expression": "sin(x*y) + exp(z)/hypot(x, z)", "inputs": {"x": 0.3, "y": -2, "z": 1.1}}
    gradients = json_of(post("backward", **request))["gradients"]
    for name in "xyz":
        tangent = json_of(post("jvp", **request, tangents={name: 1}))["tangent"]
        assert tangent == pytest.approx(gradients[name], rel=1e-14), name
