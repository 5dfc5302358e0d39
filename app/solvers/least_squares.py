"""Nonlinear least squares, finished to the last digit that doubles can give.

First SciPy's trust-region reflective method with the exact Jacobian, scaled by its columns, so that parameters may be many
orders of magnitude apart; where it fails, MINPACK's Levenberg-Marquardt method. Then steps of Newton's method by QR, with
residuals in double-double arithmetic, until a step no longer changes a digit.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import scipy.linalg
from scipy import optimize

from app.solvers.curve import Curve, Floats

Loss = Literal["linear", "soft_l1", "huber", "cauchy", "arctan"]
Bools = npt.NDArray[np.bool_]
Progress = Callable[[int, float, float], None]
"""Called with the number of an iteration, the sum of squares and the norm of its gradient. May raise StopIteration."""

TOLERANCE = 1e-12
"""The relative change of the sum of squares, or of the parameters, at which the first method stops."""
EVALUATIONS_PER_PARAMETER = 1000
POLISHING_STEPS = 20
STATIONARY = 1e-6
"""The cosine between the residuals and a column of the Jacobian below which they count as orthogonal."""
CLOSE = 1e-3
"""How much of the residuals the way to a bound may change, if the parameter counts as being there."""
RANK_TOLERANCE = 10.0 * float(np.finfo(np.float64).eps)
EPSILON = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, slots=True)
class LeastSquares:
    """What is minimised: the sum of scale**2 * rho(weight * (target - f)**2 / scale**2).

    `target` and `weights` have shape (rows,), `lower` and `upper` (parameters,); bounds may be infinite. `loss` is SciPy's
    name for rho, and `scale` its `f_scale`.
    """

    curve: Curve
    target: Floats
    weights: Floats
    lower: Floats
    upper: Floats
    loss: Loss = "linear"
    scale: float = 1.0


@dataclass(frozen=True, slots=True)
class Solution:
    """A point of least squares.

    `cost` is the sum that is minimised, `residuals` are target - f there, and `free` says which parameters are not at a bound.
    """

    point: Floats
    cost: float
    residuals: Floats
    free: Bools
    iterations: int
    converged: bool


def rho(loss: Loss, z: Floats) -> tuple[Floats, Floats, Floats]:
    """Return a loss function of z >= 0 and its first and second derivative, as SciPy's `least_squares` documents them."""
    if loss == "soft_l1":
        root = np.sqrt(1.0 + z)
        return 2.0 * (root - 1.0), 1.0 / root, -0.5 / root**3
    if loss == "huber":
        root = np.sqrt(np.maximum(z, 1.0))
        inside = z <= 1.0
        return np.where(inside, z, 2.0 * root - 1.0), 1.0 / root, np.where(inside, 0.0, -0.5 / root**3)
    if loss == "cauchy":
        return np.log1p(z), 1.0 / (1.0 + z), -1.0 / (1.0 + z) ** 2
    if loss == "arctan":
        return np.arctan(z), 1.0 / (1.0 + z**2), -2.0 * z / (1.0 + z**2) ** 2
    return z, np.ones_like(z), np.zeros_like(z)


def cost_of(problem: LeastSquares, residuals: Floats) -> float:
    """The sum that is minimised."""
    z = problem.weights * residuals**2 / problem.scale**2
    return float(problem.scale**2 * np.sum(rho(problem.loss, z)[0]))


def least_squares(
    problem: LeastSquares,
    start: Floats,
    max_iterations: int | None = None,
    progress: Progress | None = None,
    polish: bool = True,
) -> Solution:
    """Return the least squares from one start, at which values and derivatives must be finite.

    The start must lie within the bounds. With `max_iterations`, the best point so far is returned after as many.
    """
    root = np.sqrt(problem.weights)
    unit = float(np.sqrt(np.mean((root * (problem.curve.at(start)[0] - problem.target)) ** 2))) or 1.0
    counter = _Counter(problem, max_iterations, progress)

    def residuals(point: Floats) -> Floats:
        values, slopes = problem.curve.at(point)
        if not np.isfinite(slopes).all():
            return np.full(problem.curve.rows, np.inf)  # a point where no step can start is none to go to
        with np.errstate(all="ignore"):
            return np.asarray(root * (values - problem.target) / unit)

    def jacobian(point: Floats) -> Floats:
        return root[:, None] * problem.curve.at(point)[1] / unit

    with np.errstate(all="ignore"):
        found = optimize.least_squares(
            residuals,
            start,
            jacobian,
            bounds=(problem.lower, problem.upper),
            method="trf",
            x_scale="jac",
            ftol=TOLERANCE,
            xtol=TOLERANCE,
            gtol=None,
            loss=problem.loss,
            f_scale=problem.scale / unit,
            max_nfev=EVALUATIONS_PER_PARAMETER * (1 + len(start)),
            callback=counter,
        )
        point = found.x
        if found.status == 0 and problem.loss == "linear" and np.isinf([problem.lower, problem.upper]).all():
            other = optimize.least_squares(
                residuals, start, jacobian, method="lm", x_scale="jac", ftol=TOLERANCE, xtol=TOLERANCE
            )
            point = other.x if other.cost < found.cost else point
    best = _minimum(problem, _on_bounds(problem, point), counter.count)
    return _polished(problem, best) if polish and problem.loss == "linear" and not counter.stopped else best


class _Counter:
    """Counts iterations, reports each, and stops after the last."""

    def __init__(self, problem: LeastSquares, last: int | None, progress: Progress | None) -> None:
        self.problem = problem
        self.last = last
        self.progress = progress
        self.count = 0
        self.stopped = False

    def __call__(self, intermediate_result: optimize.OptimizeResult) -> None:
        self.count += 1
        try:
            if self.progress is not None:
                self.progress(self.count, *self._state(intermediate_result.x))
            if self.last is not None and self.count >= self.last:
                raise StopIteration
        except StopIteration:
            self.stopped = True
            raise

    def _state(self, point: Floats) -> tuple[float, float]:
        """The sum that is minimised, and the norm of its gradient."""
        problem = self.problem
        values, jacobian = problem.curve.at(point)  # which has just been evaluated
        residuals = problem.target - values
        slope = rho(problem.loss, problem.weights * residuals**2 / problem.scale**2)[1]
        gradient = 2.0 * (problem.weights * slope * residuals) @ jacobian
        return cost_of(problem, residuals), float(np.linalg.norm(gradient))


def _cosines(problem: LeastSquares, point: Floats) -> Floats:
    """The cosine between the weighted residuals and each column of the Jacobian; positive where a parameter would grow."""
    values, jacobian = problem.curve.at(point)
    residuals = problem.target - values
    z = problem.weights * residuals**2 / problem.scale**2
    root = np.sqrt(problem.weights * rho(problem.loss, z)[1])
    pull, columns = root * residuals, root[:, None] * jacobian
    sizes = np.linalg.norm(pull) * np.linalg.norm(columns, axis=0)
    return np.asarray(np.divide(pull @ columns, sizes, out=np.zeros(len(point)), where=sizes > 0.0))


def _on_bounds(problem: LeastSquares, point: Floats) -> Floats:
    """The point, with each parameter at its bound that is as good as there and would go beyond."""
    cosines = _cosines(problem, point)
    values, jacobian = problem.curve.at(point)
    size = np.linalg.norm(problem.target - values)
    at = point.copy()
    for k, cosine in enumerate(cosines):
        bound = problem.upper[k] if cosine > 0.0 else problem.lower[k]
        close = abs(bound - point[k]) * np.linalg.norm(jacobian[:, k]) <= CLOSE * size
        if abs(cosine) > 100.0 * STATIONARY and close:
            at[k] = bound
    moved = problem.curve.at(at)
    return at if np.isfinite(moved[0]).all() and np.isfinite(moved[1]).all() else point


def _minimum(problem: LeastSquares, point: Floats, iterations: int) -> Solution:
    """The record of a point."""
    residuals = problem.curve.residuals(point, problem.target)
    free = (point > problem.lower) & (point < problem.upper)
    cosines = np.abs(_cosines(problem, point)[free])
    size, scale = np.sqrt(np.sum(problem.weights * residuals**2)), np.sqrt(np.sum(problem.weights * problem.target**2))
    stationary = not cosines.size or float(cosines.max()) <= STATIONARY or size <= 100.0 * EPSILON * scale
    return Solution(point, cost_of(problem, residuals), residuals, free, iterations, bool(stationary))


def _polished(problem: LeastSquares, start: Solution) -> Solution:
    """The minimum after steps of Newton's method by QR, as long as they become shorter.

    With J = QR and the curvature S, the sum over the rows of weight * residual * (Hessian of f), a step is the solution of
    (R'R - S) step = R'Q'r: R step = (I - R'^-1 S R^-1)^-1 Q'r. Neither J'J is formed, nor is J'r, whose terms cancel.
    """
    root, point = np.sqrt(problem.weights), start.point.copy()
    free = start.free & problem.curve.at(point)[1].any(axis=0)
    if not free.any():
        return start
    length, inner = np.inf, None
    for _ in range(POLISHING_STEPS):
        residuals = problem.curve.residuals(point, problem.target)
        columns = root[:, None] * problem.curve.at(point)[1][:, free]
        sizes = np.linalg.norm(columns, axis=0)
        if not (np.isfinite(residuals).all() and np.isfinite(sizes).all() and sizes.all()):
            break
        q, r = scipy.linalg.qr(columns / sizes, mode="economic")
        if np.abs(np.diag(r)).min() <= RANK_TOLERANCE:
            break
        if inner is None:
            curvature = problem.curve.curvature(point, problem.weights * residuals)[np.ix_(free, free)] / np.outer(sizes, sizes)
            inner = _inner(r, curvature)
        step = scipy.linalg.solve_triangular(r, np.linalg.solve(inner, q.T @ (root * residuals))) / sizes
        moved = point.copy()
        moved[free] += step
        longer = float(np.linalg.norm(step * sizes)) >= length
        if longer or not np.isfinite(moved).all() or np.any((moved < problem.lower) | (moved > problem.upper)):
            break
        same, length = bool(np.all(moved == point)), float(np.linalg.norm(step * sizes))
        point = moved
        if same:
            break
    end = _minimum(problem, point, start.iterations)
    return end if end.cost <= start.cost * (1.0 + 1e-9) or start.cost == 0.0 else start


def _inner(r: Floats, curvature: Floats) -> Floats:
    """I - R'^-1 S R^-1, or I where that is not positive definite, which makes the step one of Gauss and Newton."""
    identity = np.eye(len(r))
    if not np.isfinite(curvature).all():
        return identity
    half = scipy.linalg.solve_triangular(r, curvature, trans="T")
    inner = identity - scipy.linalg.solve_triangular(r, half.T, trans="T")
    return inner if np.linalg.eigvalsh(0.5 * (inner + inner.T)).min() > 0.01 else identity
