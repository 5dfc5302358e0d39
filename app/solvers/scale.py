"""How large variables, gradients and constraints are, so that a test of "as good as 0" can be relative to something.

Nothing here changes when the objective, a variable or a constraint is written in another unit, as long as that unit shows:
in the start, in bounds, or in the derivatives at the start.
"""

import math
from dataclasses import dataclass

import numpy as np

from app.solvers.objective import Floats, Objective

LEAST_PART = 1e-3
"""A variable that comes close to 0 still counts as this part of its size at the start."""
OF_THE_VALUE = 1e-6
"""A gradient below this part of the value, times the tolerance, is lost in the rounding of the value."""
ORDINARY = (1e-3, 1e6)
"""SciPy's methods are given derivatives of this size as they are, and others scaled."""
TINY = float(np.finfo(np.float64).tiny)


@dataclass(frozen=True, slots=True)
class Scale:
    """What counts as large at a point.

    Attributes:
        sizes: of the n variables.
        unit: of a derivative of the objective times the weight of its variable.
        weights: those weights: the sizes, or 1 where a tolerance is absolute.
        worth: of a difference of the objective.
    """

    sizes: Floats
    unit: float
    worth: float
    weights: Floats


def sizes_at_start(objective: Objective, start: Floats, width: Floats, dense: bool) -> Floats:
    """The sizes of the n variables as far as the start tells, at most 1: of its numbers, or else of its Newton steps.

    `width` is the distance between the bounds of each variable.
    """
    sizes = np.minimum(np.abs(start), 1.0)
    unknown = sizes == 0.0
    if unknown.any():
        sizes[unknown] = 1.0
        if dense:
            steps = _newton_sizes(objective, start)
            sizes[unknown] = steps[unknown]
    return np.where((width > 0.0) & (width < sizes), width, sizes)


def _newton_sizes(objective: Objective, start: Floats) -> Floats:
    """The lengths of the Newton steps along each variable alone, at most 1, and 1 where a step says nothing."""
    value, gradient = objective.value_and_gradient(start)
    curvature = np.abs(np.diagonal(objective.hessian(start)))
    with np.errstate(all="ignore"):
        steps = np.abs(gradient) / curvature
        decrease = steps * np.abs(gradient)
        worth = decrease > 1e-12 * max(abs(value), float(np.max(decrease, initial=0.0, where=np.isfinite(decrease))))
    return np.where(np.isfinite(steps) & (steps > 0.0) & worth, np.minimum(steps, 1.0), 1.0)


def sizes_at(x: Floats, least: Floats, width: Floats) -> Floats:
    """The sizes of the n variables at x; `least` are those at the start. None is larger than the distance of its bounds."""
    sizes = np.maximum(np.abs(x), LEAST_PART * least)
    return np.where((width > 0.0) & (width < sizes), width, sizes)


def scale_of(value: float, gradient: Floats, sizes: Floats, hessian: Floats | None) -> Scale:
    """The scale at a point with these derivatives of the objective. Without its Hessian, the gradient must tell."""
    slopes = np.abs(gradient) * sizes
    unit = max(float(slopes.max(initial=0.0)), OF_THE_VALUE * abs(value), TINY)
    if hessian is not None:
        curvature = float((np.abs(hessian) * sizes[:, None] * sizes).max(initial=0.0))
        unit = max(unit, curvature) if math.isfinite(curvature) else unit
    return Scale(sizes, unit, max(abs(value), float(slopes.sum()), TINY), sizes)


def factor_for(level: float) -> float:
    """A power of 2 that makes a number of this size an ordinary one: 1 where it is, or where it is 0 or not finite."""
    if not (math.isfinite(level) and level > 0.0) or ORDINARY[0] <= level <= ORDINARY[1]:
        return 1.0
    return math.ldexp(1.0, min(max(-round(math.log2(level)), -1000), 1000))
