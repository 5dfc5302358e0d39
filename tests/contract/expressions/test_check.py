"""POST /v1/check: gradients compared with difference quotients."""

import math

import pytest

from tests.contract.conftest import Post
from tests.contract.expressions.cases import POINT, TANGLED
from tests.contract.wire import json_of


def test_check_passes_and_lists_every_derivative(post: Post) -> None:
    found = json_of(post("check", expression=TANGLED, inputs=POINT))
    gradients = json_of(post("backward", expression=TANGLED, inputs=POINT))["gradients"]
    assert found["ok"] is True and set(found["checks"]) == {"x", "y", "z"}
    for name, row in found["checks"].items():
        assert set(row) == {"reverse", "forward", "numeric", "relative_error"}
        assert row["reverse"] == gradients[name]
        assert row["forward"] == pytest.approx(gradients[name], rel=1e-13)
        assert row["numeric"] == pytest.approx(gradients[name], rel=1e-6)
        assert 0.0 <= row["relative_error"] <= 1e-6


def test_each_mode_has_its_own_number(post: Post) -> None:
    """They differ in the last digit where the same factors are multiplied in another order."""
    request = {"expression": "0.1*(0.3*(0.7*sin(x)))", "inputs": {"x": 2.7}}
    row = json_of(post("check", **request))["checks"]["x"]
    reverse = json_of(post("backward", **request))["gradients"]["x"]
    forward = json_of(post("jvp", **request, tangents={"x": 1}))["tangent"]
    assert (row["reverse"], row["forward"]) == (reverse, forward) and reverse != forward


def test_check_fails_at_a_kink(post: Post) -> None:
    """relu'(0) is 0 by convention, and the central difference is 1/2."""
    found = json_of(post("check", expression="relu(x)", inputs={"x": 0}, tolerance=1e-9))
    assert found["ok"] is False
    assert found["checks"]["x"]["reverse"] == found["checks"]["x"]["forward"] == 0.0
    assert found["checks"]["x"]["numeric"] == pytest.approx(0.5)
    assert json_of(post("check", expression="relu(x)", inputs={"x": 0}, tolerance=0.6))["ok"] is True


@pytest.mark.parametrize("scale", ["1e-7", "1e-20", "1e-200", "1e5"])
def test_check_fails_at_a_kink_of_any_size(post: Post, scale: str) -> None:
    """|x| in disguise: the gradient by the convention is 0, and the difference quotient is not."""
    found = json_of(post("check", expression=f"{scale}*(relu(x) - relu(-x))", inputs={"x": 0}))
    assert found["ok"] is False
    assert found["checks"]["x"]["reverse"] == 0.0 and found["checks"]["x"]["relative_error"] == pytest.approx(1.0)


@pytest.mark.parametrize(
    "text", ["sin(x)**2 + cos(x)**2", "(x + 1e6) - x", "exp(x)/exp(x) + 1e3", "0*x", "logsumexp(x, x) - x"]
)
def test_check_passes_where_the_gradient_is_zero_but_for_rounding(post: Post, text: str) -> None:
    for x in (0.3, 1.7, -250.5):
        assert json_of(post("check", expression=text, inputs={"x": x}))["ok"] is True


def test_check_is_not_ok_where_the_value_is_not_finite(post: Post) -> None:
    """The derivatives by x agree, since x only chooses."""
    request = {"expression": "y + where(x == 0, log(-1), 0)", "inputs": {"x": 0, "y": 1}, "wrt": ["x"]}
    assert post("check", **request).json()["type"].endswith("/non-finite")
    found = json_of(post("check", **request, nonfinite="null"))
    assert found["ok"] is False
    assert found["nonfinite"][0] == {"node": "output", "pass": "forward", "value": "NaN"}


def test_check_fails_if_the_tolerance_is_tiny(post: Post) -> None:
    assert json_of(post("check", expression="exp(sin(x))", inputs={"x": 1.1}, tolerance=1e-300))["ok"] is False


@pytest.mark.parametrize(
    ("text", "x"),
    [
        ("log(x)", 1e-10),
        ("sqrt(x)", 1e-9),
        ("1/x", 1e-8),
        ("x**2", 1e-300),
        ("exp(-x)", 700.0),
        ("x**2", 1e150),
        ("sin(1e6*x)", 1.0),
    ],
)
def test_check_raises_no_false_alarm_near_a_boundary_or_at_any_scale(post: Post, text: str, x: float) -> None:
    assert json_of(post("check", expression=text, inputs={"x": x}))["ok"] is True


def test_check_with_wrt_at_many_points(post: Post) -> None:
    found = json_of(post("check", expression="h = x*x*y; sin(h)", inputs={"x": [1, 2, 3], "y": 0.5}, wrt=["h", "y"]))
    assert found["ok"] is True and set(found["checks"]) == {"h", "y"}
    for k, x in enumerate([1, 2, 3]):
        assert found["checks"]["h"]["reverse"][k] == pytest.approx(math.cos(x * x * 0.5), rel=1e-14), f"point {k}"
        assert found["checks"]["y"]["numeric"][k] == pytest.approx(x * x * math.cos(x * x * 0.5), rel=1e-7), f"point {k}"
