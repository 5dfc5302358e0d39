"""Multipliers of constraints and bounds at one point."""

import numpy as np
import pytest

from app.solvers.kkt import _multipliers
from app.solvers.scale import Scale
from app.solvers.search import Sample


@pytest.mark.parametrize(("bounds", "are_found"), [(2, True), (299, True), (300, False)])
def test_multipliers_are_found_together_up_to_300_limits(bounds: int, are_found: bool) -> None:
    """The gradient is 3 times that of the constraint plus multipliers of 1 and 3 at the first two bounds, of 1 at the others.

    Both bounds look wrong without the constraint, and no multiplier of the constraint alone gives both numbers.
    """
    jacobian, gradient = np.zeros((1, bounds)), np.ones(bounds)
    jacobian[0, :2], gradient[:2] = -2.0, [-5.0, -3.0]
    here = Sample(np.zeros(bounds), 0.0, gradient, np.zeros(1), jacobian, True, 0.0)
    unit = Scale(np.ones(bounds), 1.0, 1.0, np.ones(bounds))
    constraint, bound = _multipliers(here, np.ones(1, np.int8), np.ones(bounds, np.int8), unit)
    left = gradient - constraint @ jacobian - bound
    assert (constraint >= 0.0).all() and (bound >= 0.0).all()
    assert bool(np.abs(left).max() <= 1e-12) is are_found
