"""Derivatives at kinks, ties, zero powers and branches that are not taken."""

from typing import Any

import pytest

from tests.contract.conftest import Post
from tests.contract.wire import json_of
from tests.rows import for_each


@for_each(
    ("text", "inputs", "gradients"),
    [
        ("relu(x)", {"x": 0}, {"x": 0.0}),
        ("abs(x)", {"x": 0}, {"x": 0.0}),
        ("sign(x)", {"x": 0}, {"x": 0.0}),
        ("min(x, y)", {"x": 2, "y": 2}, {"x": 0.5, "y": 0.5}),
        ("max(x, y)", {"x": 2, "y": 2}, {"x": 0.5, "y": 0.5}),
        ("x**0", {"x": 0}, {"x": 0.0}),
        ("x**1", {"x": 0}, {"x": 1.0}),
        ("x**2", {"x": 0}, {"x": 0.0}),
        ("x**2", {"x": -3}, {"x": -6.0}),
        ("x**3", {"x": -2}, {"x": 12.0}),
        ("pow(x, -1)", {"x": -2}, {"x": -0.25}),
        ("where(x > 0, log(x), 0)", {"x": -4}, {"x": 0.0}),
        ("where(x > 0, log(x), 0)", {"x": 0}, {"x": 0.0}),
        ("log(x) if x > 0 else 0", {"x": -4}, {"x": 0.0}),
        ("where(x == 0, 1, sin(x)/x)", {"x": 0}, {"x": 0.0}),
        ("where(c, a, b)", {"c": 1, "a": 2, "b": 3}, {"c": 0.0, "a": 1.0, "b": 0.0}),
        ("where(c, a, b)", {"c": 0, "a": 2, "b": 3}, {"c": 0.0, "a": 0.0, "b": 1.0}),
        ("where(c, a, b)", {"c": -0.5, "a": 2, "b": 3}, {"c": 0.0, "a": 1.0, "b": 0.0}),
        ("prod(x, y, z)", {"x": 0, "y": 2, "z": 3}, {"x": 6.0, "y": 0.0, "z": 0.0}),
        ("leaky_relu(x)", {"x": -5}, {"x": 0.01}),
    ],
)
@for_each("many", [False, True])
def test_gradient_by_convention(
    post: Post, text: str, inputs: dict[str, float], gradients: dict[str, float], many: bool
) -> None:
    given: dict[str, Any] = {name: [x, x] for name, x in inputs.items()} if many else inputs
    expected: dict[str, Any] = {name: [g, g] for name, g in gradients.items()} if many else gradients
    assert json_of(post("backward", expression=text, inputs=given))["gradients"] == expected


@pytest.mark.parametrize("many", [False, True], ids=["point", "points"])
def test_zero_to_the_zero_is_one_with_derivative_zero_by_the_base(post: Post, many: bool) -> None:
    inputs: dict[str, Any] = {"x": [0, 0], "y": [0, 0]} if many else {"x": 0, "y": 0}
    found = json_of(post("backward", expression="x**y", inputs=inputs, wrt=["x"]))
    assert found["value"] == ([1.0, 1.0] if many else 1.0)
    assert found["gradients"]["x"] == ([0.0, 0.0] if many else 0.0)


@for_each("text", ["sigmoid(log(x))", "softplus(log(x))", "sqrt(x)**2", "(x**3)**(1/3)", "0*sqrt(x)"])
@for_each("path", ["backward", "jvp", "jacobian", "hessian", "hvp"])
@for_each("many", [False, True])
def test_zero_times_infinity_is_refused_unless_a_selection_made_the_zero(post: Post, path: str, text: str, many: bool) -> None:
    """The first four have the slope 1 at 0; the product of their factors does not know it."""
    request: dict[str, Any] = {"expression": text, "inputs": {"x": [0, 0.5] if many else 0}}
    if path in ("jvp", "hvp"):
        request["tangents"] = {"x": 1}
    refused = post(path, **request)
    assert refused.status_code == 422 and refused.json()["type"] == "/problems/non-finite"
    found = json_of(post(path, **request, nonfinite="null"))
    assert found["nonfinite"]
    if path == "backward":
        slope = found["gradients"]["x"]
        assert (slope[0] if many else slope) is None


@pytest.mark.parametrize("outputs", [["f"], ["f", "g"]], ids=["reverse mode", "forward mode"])
def test_both_modes_of_a_jacobian_refuse_the_same(post: Post, outputs: list[str]) -> None:
    """A constant, whose two factors are infinite."""
    refused = post("jacobian", expression="f = acos(x/x); g = 2*x", inputs={"x": 3}, outputs=outputs)
    assert refused.status_code == 422 and refused.json()["type"] == "/problems/non-finite"
