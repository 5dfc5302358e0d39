"""A graph as a function of a vector, compared with the engine's own transforms and with mpmath."""

from typing import Any

import numpy as np
import pytest

from app.engine.errors import InvalidNode, UnboundInput
from app.engine.text import parse
from app.engine.transforms import backward, hessian, hvp
from app.solvers import objective as module
from app.solvers.objective import Objective

CURVE = parse("r = y - a*exp(-b*x) - c; r**2")
DATA = {"x": [0.0, 1.0, 2.0, 3.0, 4.0], "y": [3.1, 2.2, 1.4, 1.2, 0.9]}
NAMES = ["b", "a", "c"]
POINT = np.array([0.4, 2.5, 0.3])


@pytest.mark.parametrize("reduce", ["sum", "mean"])
@pytest.mark.parametrize("inputs", [DATA, {"x": 1.5, "y": 2.0}], ids=["points", "one point"])
def test_derivatives_are_those_of_the_transforms(inputs: dict[str, Any], reduce: Any) -> None:
    f = Objective(CURVE, inputs, NAMES, reduce)
    at = {**inputs, **dict(zip(NAMES, POINT.tolist(), strict=True))}
    value, gradient = f.value_and_gradient(POINT)
    whole = hessian(CURVE, at, NAMES, reduce=reduce)
    assert value == backward(CURVE, at, reduce=reduce).value
    assert gradient.tolist() == [whole.gradients[name] for name in NAMES]
    expected = [[whole.hessian[row][column] for column in NAMES] for row in NAMES]
    assert f.hessian(POINT) == pytest.approx(np.array(expected), rel=1e-14)
    assert (f.hessian(POINT) == f.hessian(POINT).T).all()
    direction = np.array([1.0, -2.0, 0.5])
    product = hvp(CURVE, at, dict(zip(NAMES, direction.tolist(), strict=True)), NAMES, reduce=reduce).hvp
    assert f.product(POINT, direction) == pytest.approx(np.array([product[name] for name in NAMES]), rel=1e-14)


def test_hessian_of_many_variables_over_points_is_that_of_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is made of products then."""
    f = Objective(CURVE, DATA, NAMES)
    together = f.hessian(POINT)
    monkeypatch.setattr(module, "MOST_SUMS", 8)
    assert f.hessian(POINT) == pytest.approx(together, rel=1e-14)


def test_variables_that_the_graph_lacks_or_does_not_need_have_derivative_zero() -> None:
    f = Objective(parse("unused = z*2; x**3"), {}, ["other", "x", "z"])
    x = np.array([7.0, 2.0, 5.0])
    assert f.value_and_gradient(x)[1].tolist() == [0.0, 12.0, 0.0]
    assert f.hessian(x).tolist() == [[0.0, 0.0, 0.0], [0.0, 12.0, 0.0], [0.0, 0.0, 0.0]]
    assert f.product(x, np.array([1.0, 1.0, 1.0])).tolist() == [0.0, 12.0, 0.0]


def test_points_outside_the_domain_give_numbers_that_are_not_finite() -> None:
    value, gradient = Objective(parse("log(x)"), {}, ["x"]).value_and_gradient(np.array([-1.0]))
    assert np.isnan(value) and gradient.shape == (1,)


def test_unbound_and_wrong_names_are_refused() -> None:
    with pytest.raises(UnboundInput):
        Objective(CURVE, DATA, ["a", "b"])
    with pytest.raises(InvalidNode):
        Objective(CURVE, DATA, [*NAMES, "r"])


def test_checkpoint_is_called_before_every_walk() -> None:
    calls: list[int] = []
    f = Objective(CURVE, {"x": 1.0, "y": 1.0}, NAMES, checkpoint=lambda: calls.append(1))
    f.value_and_gradient(POINT)
    f.hessian(POINT)
    f.product(POINT, POINT)
    assert len(calls) == 3
