"""POST /v1/hessian and /v1/hvp: second derivatives."""

from typing import Any

import mpmath
import pytest

from tests.contract.conftest import Post
from tests.contract.expressions.cases import POINT, TANGLED
from tests.contract.wire import json_of

ROSENBROCK = "(1 - x)**2 + 100*(y - x**2)**2"


def test_hessian_of_rosenbrock_at_its_standard_start(post: Post) -> None:
    """The value 24.2 and the start are in Moré, Garbow, Hillstrom (1981); the derivatives are calculus by hand."""
    found = json_of(post("hessian", expression=ROSENBROCK, inputs={"x": -1.2, "y": 1}))
    assert found["value"] == pytest.approx(24.2, rel=1e-14)
    assert found["gradients"] == pytest.approx({"x": -215.6, "y": -88.0}, rel=1e-13)
    assert found["hessian"]["x"] == pytest.approx({"x": 1330.0, "y": 480.0}, rel=1e-13)
    assert found["hessian"]["y"] == pytest.approx({"x": 480.0, "y": 200.0}, rel=1e-13)


def test_hessian_agrees_with_mpmath_and_is_symmetric(post: Post) -> None:
    def f(x: Any, y: Any, z: Any) -> Any:
        m = mpmath
        body = m.sin(x * y) * m.exp(z / x) + m.log(x + y**2) * m.atan2(y, z) + x**y
        return body + m.log(m.exp(x) + m.exp(y) + m.exp(z))

    found = json_of(post("hessian", expression=TANGLED, inputs=POINT))
    names = list(POINT)
    assert list(found["hessian"]) == names and all(list(row) == names for row in found["hessian"].values())
    with mpmath.workdps(40):
        at = tuple(map(mpmath.mpf, POINT.values()))
        for i, a in enumerate(names):
            first = tuple(int(k == i) for k in range(3))
            assert found["gradients"][a] == pytest.approx(float(mpmath.diff(f, at, first)), rel=1e-12), a
            for j, b in enumerate(names):
                assert found["hessian"][a][b] == pytest.approx(found["hessian"][b][a], rel=1e-13), (a, b)
                second = tuple(first[k] + int(k == j) for k in range(3))
                assert found["hessian"][a][b] == pytest.approx(float(mpmath.diff(f, at, second)), rel=1e-11), (a, b)


def test_hvp_is_the_hessian_times_the_tangents(post: Post) -> None:
    tangents = {"x": 0.5, "y": -2.0, "z": 3.0}
    whole = json_of(post("hessian", expression=TANGLED, inputs=POINT))
    found = json_of(post("hvp", expression=TANGLED, inputs=POINT, tangents=tangents))
    assert found["output"] == "output" and found["value"] == whole["value"]
    assert found["gradients"] == pytest.approx(whole["gradients"], rel=1e-14)
    for name, row in whole["hessian"].items():
        assert found["hvp"][name] == pytest.approx(sum(row[by] * tangents[by] for by in row), rel=1e-12), name
    picked = json_of(post("hvp", expression=TANGLED, inputs=POINT, tangents=tangents, wrt=["z"]))
    assert picked["hvp"] == {"z": found["hvp"]["z"]} and set(picked["gradients"]) == {"z"}


def test_hessian_and_hvp_at_many_points(post: Post) -> None:
    found = json_of(post("hessian", expression="x**3*y", inputs={"x": [1, 2], "y": 5}))
    assert found["value"] == [5.0, 40.0]
    assert found["gradients"] == {"x": [15.0, 60.0], "y": [1.0, 8.0]}
    assert found["hessian"] == {"x": {"x": [30.0, 60.0], "y": [3.0, 12.0]}, "y": {"x": [3.0, 12.0], "y": [0.0, 0.0]}}
    product = json_of(post("hvp", expression="x**3*y", inputs={"x": [1, 2], "y": 5}, tangents={"x": [1, 10], "y": 1}))
    assert product["hvp"] == {"x": [33.0, 612.0], "y": [3.0, 120.0]}


def test_hessian_with_respect_to_an_intermediate_node(post: Post) -> None:
    found = json_of(post("hessian", expression="h = x*x; h**3", inputs={"x": 2}, wrt=["h"]))
    assert found["gradients"] == {"h": 48.0} and found["hessian"] == {"h": {"h": 24.0}}
