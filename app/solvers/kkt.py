"""Multipliers, and Newton steps on the conditions of Karush, Kuhn and Tucker, which finish a constrained search.

At a minimum the gradient of the objective is the sum of the multipliers times the gradients of the active constraints and of
the active bounds; multipliers of lower limits are not negative, those of upper limits not positive.
J. Nocedal and S. Wright, Numerical Optimization, 2nd edition (2006), chapters 12 and 18.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy

from app.solvers.newton import CANNOT_TELL, FLAT, Verdict
from app.solvers.objective import Floats
from app.solvers.scale import Scale
from app.solvers.search import ROUNDING, Sample, Search

Signs = npt.NDArray[np.int8]
Indices = npt.NDArray[np.intp]

NONE: Indices = np.empty(0, np.intp)
MAX_STEPS = 40
ACTIVE = 1e-6
"""A limit that is nearer than this, relative to its size, counts as active."""
CLEAR = 1e-2
"""A step that reduces the residual to this part shows that its active set is right."""
NEAR = (ACTIVE, 1e-4, 1e-2)
"""How near the limits may be that Newton steps try to reach: a barrier keeps a method away from them."""
MOST_AT_ONCE = 300
"""Up to so many limits, the multipliers of constraints and bounds are found together where one after the other fails."""
FLAT_ROW = 1e-8
"""A constraint has no multiplier where its gradient is below this, relative to its second derivatives."""
SADDLE = 1e-7
"""An eigenvalue of the reduced Hessian below minus this, relative to the largest, shows that a point is no minimum."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """How well a point meets the conditions.

    Attributes:
        constraints: the multipliers of the m constraints.
        bounds: those of the bounds of the n variables.
        active_constraints: -1 where a constraint is at its upper limit, 1 at its lower one, 2 for an equation, 0 if inactive.
        active_bounds: the same for the variables and their bounds.
        stationarity: the largest entry of what the multipliers leave of the gradient, times the size of its variable, relative
            to the unit of the scale.
        violation: the largest violation of a constraint, relative to its limit.
        complementarity: the largest product of a multiplier and the distance from its limit, relative to the worth of the
            scale.
        without_gradient: the active constraints that are left out, because their gradient is as good as 0: they have no
            multiplier.
    """

    constraints: Floats
    bounds: Floats
    active_constraints: Signs
    active_bounds: Signs
    stationarity: float
    violation: float
    complementarity: float
    without_gradient: Indices

    @property
    def residual(self) -> float:
        """The largest of the three."""
        return max(self.stationarity, self.violation, self.complementarity)


def _sides(values: Floats, lower: Floats, upper: Floats, near: tuple[Floats, Floats]) -> Signs:
    """Which limit each value is at, as in `Conditions`. `near` says how close to its limits."""
    sides = np.zeros(len(values), np.int8)
    sides[values >= upper - near[1]] = -1
    sides[values <= lower + near[0]] = 1
    sides[lower == upper] = 2
    return sides


def limits_of(search: Search) -> tuple[Floats, Floats]:
    """The lower and upper limits of the constraints, of shape (m,) each."""
    rows = search.task.constraints
    return np.array([row.lower for row in rows], np.float64), np.array([row.upper for row in rows], np.float64)


def _near(limits: tuple[Floats, Floats], sizes: Floats | float, near: float) -> tuple[Floats, Floats]:
    """What counts as near to each limit: that part of it, or of the sizes if they are larger, or of the limits' distance."""
    lower, upper = limits
    width = np.where(upper > lower, upper - lower, 0.0)
    low, high = (near * np.minimum(np.maximum(np.abs(limit), sizes), width) for limit in limits)
    return np.where(np.isfinite(lower), low, 0.0), np.where(np.isfinite(upper), high, 0.0)


def final_conditions(search: Search, here: Sample) -> Conditions:
    """The conditions at a point that is to be the answer, without the constraints whose gradient is as good as 0 there."""
    with np.errstate(all="ignore"):
        met, sizes = conditions(search, here), search.sizes_at(here.x)
        slopes = np.abs(here.jacobian * sizes).max(axis=1, initial=0.0)
        left_out = []
        for k in np.flatnonzero(met.active_constraints).tolist():
            if slopes[k] == 0.0:
                left_out.append(k)
                continue
            if met.constraints[k] == 0.0:
                continue
            curvature = search.task.constraints[k].objective.hessian(here.x)
            if slopes[k] <= FLAT_ROW * np.abs(sizes[:, None] * curvature * sizes).max(initial=0.0):
                left_out.append(k)
    return conditions(search, here, left_out=np.array(left_out, np.intp)) if left_out else met


def conditions(
    search: Search, here: Sample, near: float = ACTIVE, scale: Scale | None = None, left_out: Indices = NONE
) -> Conditions:
    """The multipliers by least squares over the constraints at or `near` their limits, and what they leave.

    The scale is that of the point, unless one is given. Some constraints may be left out.
    """
    task, limits = search.task, limits_of(search)
    with np.errstate(all="ignore"):
        scale = scale or search.scale_at(here)
        terms = np.abs(here.jacobian) @ scale.sizes
        active = _sides(here.constraints, *limits, _near(limits, terms, near))
        active[left_out] = 0
        is_exact = near == ACTIVE and not search.is_absolute  # a Newton step ends at a bound, not near it
        at_bounds = _near((task.lower, task.upper), 0.0 if is_exact else scale.sizes, near)
        held = _sides(here.x, task.lower, task.upper, at_bounds)
        constraints, bounds = _multipliers(here, active, held, scale)
        left = (here.gradient - constraints @ here.jacobian - bounds) * scale.weights
        left[(bounds != 0.0) & (np.abs(left) <= ROUNDING * np.abs(here.gradient) * scale.weights)] = 0.0
        apart = np.concatenate(
            [_distance(here.constraints, active, limits_of(search)), _distance(here.x, held, (task.lower, task.upper))]
        )
        products = np.abs(np.concatenate([constraints, bounds]) * apart)
    stationarity, apart_by = float(np.abs(left).max(initial=0.0)) / scale.unit, float(products.max(initial=0.0)) / scale.worth
    return Conditions(constraints, bounds, active, held, stationarity, here.violation, apart_by, left_out)


def _distance(values: Floats, sides: Signs, limits: tuple[Floats, Floats]) -> Floats:
    """The distance of each value from the limit it is at, 0 where it is at none."""
    lower, upper = limits
    limit = np.where(sides == -1, upper, np.where(sides > 0, lower, values))
    return values - limit


def _multipliers(here: Sample, active: Signs, held: Signs, scale: Scale) -> tuple[Floats, Floats]:
    """The multipliers of the constraints and of the bounds. Those of bounds take what is left of the gradient at them."""
    rows = np.flatnonzero(active)
    jacobian, gradient, sides = here.jacobian[rows] * scale.sizes, here.gradient * scale.sizes, active[rows]
    constraints, takes = np.zeros(len(active)), held != 0
    while True:
        found = _signed_least_squares(jacobian[:, ~takes], gradient[~takes], sides)
        left = gradient - found @ jacobian if len(rows) else gradient
        wrong = takes & (((held == 1) & (left < 0.0)) | ((held == -1) & (left > 0.0)))
        if not wrong.any():
            break
        takes &= ~wrong
    bounds = np.where(takes, left, 0.0)
    columns = np.flatnonzero(held)
    is_poor = np.abs((left - bounds) * (scale.weights / scale.sizes)).max(initial=0.0) > 1e-7 * scale.unit
    if is_poor and len(rows) and len(columns) and len(rows) + len(columns) <= MOST_AT_ONCE:
        matrix = np.vstack([jacobian, np.eye(len(here.x))[columns]])
        together = _signed_least_squares(matrix, gradient, np.concatenate([sides, held[columns]]))
        found, bounds = together[: len(rows)], np.zeros(len(held))
        bounds[columns] = together[len(rows) :]
    constraints[rows] = found
    return constraints, bounds / scale.sizes


def _signed_least_squares(matrix: Floats, gradient: Floats, sides: Signs) -> Floats:
    """The multipliers z that make z @ matrix nearest to the gradient, with the signs that their sides allow."""
    if not matrix.size:
        return np.zeros(len(matrix))
    size = np.linalg.norm(matrix, axis=1)
    scale = 1.0 / np.where(size > 0.0, size, 1.0)
    scaled = (matrix * scale[:, None]).T
    found: Floats = scipy.linalg.lstsq(scaled, gradient, check_finite=False)[0]
    wrong = ((sides == 1) & (found < 0.0)) | ((sides == -1) & (found > 0.0))
    if wrong.any():
        low, high = np.where(sides == 1, 0.0, -np.inf), np.where(sides == -1, 0.0, np.inf)
        found = np.asarray(scipy.optimize.lsq_linear(scaled, gradient, (low, high), method="bvls").x)
        kept = (sides == 2) | ((found > 0.0) & (sides == 1)) | ((found < 0.0) & (sides == -1))
        again: Floats = np.zeros(len(found))
        if kept.any():
            again[kept] = scipy.linalg.lstsq(scaled[:, kept], gradient, check_finite=False)[0]
        if not (((sides == 1) & (again < 0.0)) | ((sides == -1) & (again > 0.0))).any():
            found = again
    return found * scale


def finish(search: Search) -> None:
    """Do Newton steps on the conditions with the active set of the current point, while they improve it."""
    kept = 0
    with np.errstate(all="ignore"):
        here = search.current
        met = conditions(search, here)
        while kept < MAX_STEPS and met.residual > 0.0:
            better = _improved(search, here, met)
            if better is None:
                break
            here, met = better
            kept += 1
            search.step(here.x)


def _improved(search: Search, here: Sample, met: Conditions) -> tuple[Sample, Conditions] | None:
    """The point that meets the conditions best, of Newton steps to the limits that hold something back, or to all nearby."""
    tried: set[bytes] = set()
    scale = search.scale_at(here)
    best: tuple[Sample, Conditions] | None = None
    for near in NEAR:
        guess = met if near == ACTIVE else conditions(search, here, near, scale)
        pulls = (guess.constraints != 0.0) | (guess.active_constraints == 2)
        held = (guess.bounds != 0.0) | (guess.active_bounds == 2)
        for rows, columns in ((pulls, held), (guess.active_constraints != 0, guess.active_bounds != 0)):
            key = rows.tobytes() + columns.tobytes()
            if key in tried:
                continue
            tried.add(key)
            better = _step_to(search, here, guess, met.residual, np.flatnonzero(rows), np.flatnonzero(columns), scale)
            if better is not None and (best is None or better[1].residual < best[1].residual):
                best = better
            if best is not None and best[1].residual < CLEAR * met.residual:
                return best
    return best


def _step_to(
    search: Search, here: Sample, guess: Conditions, residual: float, rows: Indices, columns: Indices, scale: Scale
) -> tuple[Sample, Conditions] | None:
    """A point that meets the conditions clearly better than with this residual, on the Newton step with this active set."""
    step = _newton_step(search, here, guess, rows, columns, scale.sizes)
    for length, enough in ((1.0, 0.9), (0.5, 0.7), (0.25, 0.8)):
        if step is None:
            break
        there = search.sample(np.clip(here.x + length * step, search.task.lower, search.task.upper))
        if there is here or not there.finite:
            continue
        after = conditions(search, there, ACTIVE, scale)
        if after.residual < enough * residual:
            return there, after
    return None


def _newton_step(
    search: Search, here: Sample, met: Conditions, rows: Indices, columns: Indices, sizes: Floats
) -> Floats | None:
    """The step to the minimum of the model of the Lagrangian with these constraints and bounds at their limits."""
    n, m = len(here.x), len(rows)
    matrix = search.hessian(here.x, met.constraints)
    free = np.ones(n, np.bool_)
    free[columns] = False
    step = np.zeros(n)
    step[columns] = -_distance(here.x, met.active_bounds, (search.task.lower, search.task.upper))[columns]
    left = -(here.gradient + matrix @ step)[free] * sizes[free]
    apart = _distance(here.constraints, met.active_constraints, limits_of(search))[rows] + here.jacobian[rows] @ step
    matrix = (sizes[:, None] * matrix * sizes)[np.ix_(free, free)]
    jacobian = (here.jacobian[rows] * sizes)[:, free]
    unit, units = _largest(matrix.ravel()), np.array([_largest(row) for row in jacobian], np.float64)
    count = int(free.sum())
    system = np.zeros((count + m, count + m))
    system[:count, :count] = matrix / unit
    system[count:, :count] = jacobian / units[:, None]
    system[:count, count:] = system[count:, :count].T
    wanted = np.concatenate([left / unit, -apart / units])
    if not (np.isfinite(system).all() and np.isfinite(wanted).all()):
        return None
    step[free] = _solve(system, wanted)[:count] * sizes[free]
    return step if np.isfinite(step).all() else None


def _largest(numbers: Floats) -> float:
    """The size of the largest number, and 1 where all are 0."""
    return float(np.abs(numbers).max(initial=0.0)) or 1.0


def _solve(system: Floats, wanted: Floats) -> Floats:
    """The solution of a symmetric system, by least squares where it is singular."""
    if not len(wanted):
        return wanted
    size = np.sqrt(np.maximum(np.abs(system).max(axis=1), np.finfo(np.float64).tiny))
    scaled = system / size[:, None] / size
    factor, _, found, singular = scipy.linalg.lapack.dgesv(scaled, wanted / size)  # which, unlike `solve`, warns of nothing
    if not singular and np.abs(np.diagonal(factor)).min() > 1e-13:
        solution: Floats = found / size
        return solution
    least: Floats = scipy.linalg.lstsq(scaled, wanted / size, cond=1e-13, check_finite=False)[0] / size
    return least


def judge(search: Search, here: Sample, met: Conditions, tolerance: float) -> Verdict:
    """Whether a point meets the conditions to the tolerance, and is no saddle."""
    if met.violation > max(tolerance, 1e-12):
        return Verdict(False, f"a constraint is violated by {met.violation:.3g}, relative to its limit")
    if met.residual > tolerance:
        if met.stationarity <= tolerance:
            return Verdict(
                False, f"a constraint with a multiplier is {met.complementarity:.3g} from its limit, times the multiplier"
            )
        if len(met.without_gradient):
            which = ", ".join(str(k + 1) for k in met.without_gradient[:8].tolist())
            detail = f"the gradient of constraint {which} is 0 there, or as good as 0, so that no multiplier exists"
            return Verdict(False, f"{detail} and the conditions for a minimum cannot tell")
        return Verdict(False, f"the gradients of the active constraints leave {met.stationarity:.3g} of the objective's")
    with np.errstate(all="ignore"):
        matrix = search.hessian(here.x, met.constraints)
        free = met.active_bounds == 0
        sizes = search.sizes_at(here.x)[free]
        rows, matrix = here.jacobian[met.active_constraints != 0][:, free] * sizes, matrix[np.ix_(free, free)]
        rows, matrix = rows / np.array([[_largest(row)] for row in rows]).reshape(-1, 1), sizes[:, None] * matrix * sizes
        basis = scipy.linalg.null_space(rows) if len(rows) else np.eye(len(matrix))
        if basis.shape[1] and np.isfinite(matrix).all():
            eigenvalues = scipy.linalg.eigvalsh(basis.T @ matrix @ basis, check_finite=False)
            if eigenvalues[0] < -SADDLE * max(float(np.abs(eigenvalues).max()), 1e-8 * float(np.abs(matrix).max())):
                return Verdict(
                    False, "this is not a minimum: the second derivative is negative in a direction along the constraints"
                )
            if eigenvalues[0] <= FLAT * float(np.abs(eigenvalues).max()):
                return Verdict(True, CANNOT_TELL)
    return Verdict(True)
