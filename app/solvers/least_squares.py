"""Nonlinear least squares, finished to the last digit that doubles can give.

First Levenberg's and Marquardt's method of MINPACK with the exact Jacobian, scaled by its columns, so that parameters may be
many orders of magnitude apart; where there are bounds, a robust loss or many rows, or where it finds no minimum, SciPy's
trust-region reflective method. Then steps of Newton's method by QR, with residuals in double-double arithmetic, until a step no
longer changes a digit.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
import scipy

from app.solvers.curve import Curve, Floats

Loss = Literal["linear", "soft_l1", "huber", "cauchy", "arctan"]
Bools = npt.NDArray[np.bool_]
Progress = Callable[[int, float, float], None]
"""Called with the number of an iteration, the sum that is minimised and the norm of its gradient."""

TOLERANCE = 1e-12
"""The relative change of the sum of squares, or of the parameters, at which the first method stops."""
EVALUATIONS_PER_PARAMETER = 1000
MOST_FOR_MINPACK = 1_000_000
"""Rows times squared parameters up to which MINPACK is used: a factorization takes some milliseconds, and holds the GIL."""
POLISHING_STEPS = 20
STATIONARY = 1e-6
"""The cosine between the residuals and a column of the Jacobian below which they count as orthogonal."""
CLOSE = 1e-3
"""How much of the residuals the way to a bound may change, if the parameter counts as being there."""
SADDLE = 1e-6
"""How negative a second derivative is at a saddle, relative to the others, and by how much the sum must fall beside it."""
ESCAPES, ESCAPE_LENGTHS = 3, 12
"""How many saddles are left, and how many lengths of a step are tried."""
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

    `cost` is the sum that is minimised, `residuals` are target - f there, `free` says which parameters are not at a bound, and
    `stopped` that the search was ended early. At a saddle the derivatives are 0, but the sum falls along a curve.
    """

    point: Floats
    cost: float
    residuals: Floats
    free: Bools
    iterations: int
    converged: bool
    stopped: bool
    is_saddle: bool = False


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
    """The sum that is minimised; infinite where it is too large for a double."""
    z = problem.weights * residuals**2 / problem.scale**2
    return float(problem.scale**2 * np.sum(rho(problem.loss, z)[0]))


def loss_weights(problem: LeastSquares, residuals: Floats) -> tuple[Floats, Floats]:
    """What each row weighs in the first derivatives of half the sum, and in the second ones."""
    z = problem.weights * residuals**2 / problem.scale**2
    _, first, second = rho(problem.loss, z)
    return problem.weights * first, problem.weights * (first + 2.0 * z * second)


def column_norms(matrix: Floats) -> Floats:
    """The Euclidean norm of each column, also where squares overflow or underflow."""
    largest = np.abs(matrix).max(axis=0, initial=0.0)
    safe = np.where((largest > 0.0) & np.isfinite(largest), largest, 1.0)
    return np.asarray(safe * np.sqrt(np.sum((matrix / safe) ** 2, axis=0)))


@dataclass(frozen=True, slots=True)
class Watch:
    """What a search reports to, and what may end it early, with the best point so far.

    `progress` is called after each iteration. `out_of_time` is asked between iterations and further steps.
    """

    progress: Progress | None = None
    out_of_time: Callable[[], bool] = lambda: False


def least_squares(
    problem: LeastSquares,
    start: Floats,
    max_iterations: int | None = None,
    watch: Watch | None = None,
    polish: bool = True,
) -> Solution:
    """Return the least squares from one start, at which values, derivatives and the sum must be finite.

    The start must lie within the bounds. With `max_iterations`, the best point so far is returned after as many. Without
    `polish`, the last digits are left to `finish`.
    """
    search = _Search(problem, start, max_iterations, watch or Watch())
    with np.errstate(all="ignore"):
        for _ in range(1 + ESCAPES):
            point = search.run(start)
            best = _solution(problem, _on_bounds(problem, point), search.count, search.stopped)
            further = None if search.watch.out_of_time() else _downhill(problem, best)
            if further is None:
                break
            start = further
        else:
            return replace(best, converged=False, is_saddle=True)
    return finish(problem, best, search.watch) if polish else best


def half_hessian(problem: LeastSquares, found: Solution) -> Floats:
    """The second derivatives of half the sum by all parameters: J'WJ minus the curvature, with the weights of the loss."""
    first, second = loss_weights(problem, found.residuals)
    jacobian = problem.curve.at(found.point)[1]
    return np.asarray(jacobian.T @ (second[:, None] * jacobian) - problem.curve.curvature(found.point, first * found.residuals))


def _downhill(problem: LeastSquares, found: Solution) -> Floats | None:
    """A point with a smaller sum in the direction of the most negative second derivative, if the point is a saddle."""
    free = found.free
    if found.stopped or not found.converged or not free.any():
        return None
    hessian = half_hessian(problem, found)[np.ix_(free, free)]
    scale = np.sqrt(np.abs(np.diag(hessian)))
    scale = np.where(scale > 0.0, scale, max(scale.max(initial=0.0), 1.0))
    scaled = hessian / np.outer(scale, scale)
    if not np.isfinite(scaled).all():
        return None
    values, vectors = np.linalg.eigh(scaled)
    if values[0] >= -SADDLE:
        return None
    best, further = found.cost * (1.0 - SADDLE), None
    for k in range(ESCAPE_LENGTHS):
        for sign in (1.0, -1.0):
            point = found.point.copy()
            point[free] += sign * math.sqrt(found.cost) * 0.5**k * vectors[:, 0] / scale
            point = np.clip(point, problem.lower, problem.upper)
            cost = cost_of(problem, problem.target - problem.curve.at(point)[0])
            if cost < best and np.isfinite(problem.curve.at(point)[1]).all():
                best, further = cost, point
    return further


class _Search:
    """One run of SciPy's methods: scaled residuals and their Jacobian, the best point so far, and the count of iterations."""

    def __init__(self, problem: LeastSquares, start: Floats, last: int | None, watch: Watch) -> None:
        self.problem = problem
        self.watch = watch
        self.last = last
        self.count = 0
        self.stopped = False
        self.root = np.sqrt(problem.weights)
        pull = self.root * (problem.curve.at(start)[0] - problem.target)
        self.unit = float(column_norms(pull[:, None])[0]) / math.sqrt(len(pull)) or 1.0
        self.best: tuple[float, Floats] = (math.inf, start)

    def residuals(self, point: Floats) -> Floats:
        """The weighted residuals, about 1 at the start; infinite at a point from which no step can begin."""
        values, slopes = self.problem.curve.at(point)
        found = np.asarray(self.root * (values - self.problem.target) / self.unit)
        cost = float(found @ found)
        if not np.isfinite(column_norms(slopes)).all() or not math.isfinite(cost):
            return np.full(self.problem.curve.rows, np.inf)
        if cost < self.best[0]:
            self.best = cost, point.copy()
        return found

    def jacobian(self, point: Floats) -> Floats:
        """The derivatives of the weighted residuals."""
        return np.asarray(self.root[:, None] * self.problem.curve.at(point)[1] / self.unit)

    def run(self, start: Floats) -> Floats:
        """The end of Levenberg's and Marquardt's method where that is a minimum, or else of the trust-region method."""
        problem = self.problem
        bounded = np.isfinite([problem.lower, problem.upper]).any()
        if bounded or problem.loss != "linear" or problem.curve.rows * len(start) ** 2 > MOST_FOR_MINPACK:
            return self._by_trust_region(start)
        point = self._by_levenberg_marquardt(start)
        if self.stopped or self._is_minimum(point):
            return point
        other = self._by_trust_region(start)
        return other if self._cost(other) < self._cost(point) else point

    def _by_levenberg_marquardt(self, start: Floats) -> Floats:
        """MINPACK's method, which has no callback: it asks for the Jacobian after each iteration, and first at the start."""
        first = True

        def jacobian(point: Floats) -> Floats:
            nonlocal first
            if not first:
                self._after_iteration(point)
            first = False
            return self.jacobian(point)

        try:
            found = scipy.optimize.least_squares(
                self.residuals, start, jacobian, method="lm", x_scale="jac", ftol=TOLERANCE, xtol=TOLERANCE, gtol=EPSILON
            )
            return np.asarray(found.x, np.float64)
        except (StopIteration, ValueError):  # ValueError: of numbers that are not finite
            return self.best[1]

    def _by_trust_region(self, start: Floats) -> Floats:
        """SciPy's trust-region reflective method."""
        problem = self.problem
        try:
            found = scipy.optimize.least_squares(
                self.residuals,
                start,
                self.jacobian,
                bounds=(problem.lower, problem.upper),
                method="trf",
                x_scale="jac",
                ftol=TOLERANCE,
                xtol=TOLERANCE,
                gtol=None,
                loss=problem.loss,
                f_scale=problem.scale / self.unit,
                max_nfev=EVALUATIONS_PER_PARAMETER * (1 + len(start)),
                callback=lambda intermediate_result: self._after_iteration(intermediate_result.x),
            )
            return np.asarray(found.x, np.float64)
        except (np.linalg.LinAlgError, ValueError):  # of a factorization, where numbers of all sizes come together
            return self.best[1]

    def _is_minimum(self, point: Floats) -> bool:
        """Whether the derivatives vanish there, and not because a parameter no longer changes anything."""
        slopes = self.problem.curve.at(point)[1]
        return bool(slopes.any(axis=0).all()) and _solution(self.problem, point, self.count, self.stopped).converged

    def _cost(self, point: Floats) -> float:
        return cost_of(self.problem, self.problem.target - self.problem.curve.at(point)[0])

    def _after_iteration(self, point: Floats) -> None:
        """Count it, tell of it, and raise StopIteration where the search must end."""
        self.count += 1
        if self.watch.progress is not None:
            self.watch.progress(self.count, *self._state(point))
        if (self.last is not None and self.count >= self.last) or self.watch.out_of_time():
            self.stopped = True
            raise StopIteration

    def _state(self, point: Floats) -> tuple[float, float]:
        """The sum that is minimised, and the norm of its gradient."""
        problem = self.problem
        values, jacobian = problem.curve.at(point)  # which has just been evaluated
        residuals = problem.target - values
        gradient = 2.0 * (loss_weights(problem, residuals)[0] * residuals) @ jacobian
        return cost_of(problem, residuals), float(np.linalg.norm(gradient))


def _cosines(problem: LeastSquares, point: Floats, residuals: Floats) -> Floats:
    """The cosine between the weighted residuals and each column of the Jacobian; positive where a parameter would grow."""
    jacobian = problem.curve.at(point)[1]
    root = np.sqrt(loss_weights(problem, residuals)[0])
    pull, columns = (root * residuals)[:, None], root[:, None] * jacobian
    sizes = column_norms(columns)
    units = columns / np.where(sizes > 0.0, sizes, 1.0)
    return np.asarray(units.T @ (pull / (column_norms(pull) or 1.0)))[:, 0]


def _on_bounds(problem: LeastSquares, point: Floats) -> Floats:
    """The point, with each parameter at its bound that is as good as there and would go beyond."""
    values, jacobian = problem.curve.at(point)
    cosines = _cosines(problem, point, problem.target - values)
    size = column_norms((problem.target - values)[:, None])[0]
    at, sizes = point.copy(), column_norms(jacobian)
    for k, cosine in enumerate(cosines):
        bound = problem.upper[k] if cosine > 0.0 else problem.lower[k]
        close = abs(bound - point[k]) * sizes[k] <= CLOSE * size
        if abs(cosine) > 100.0 * STATIONARY and close:
            at[k] = bound
    moved = problem.curve.at(at)
    return at if np.isfinite(moved[0]).all() and np.isfinite(moved[1]).all() else point


def finish(problem: LeastSquares, best: Solution, watch: Watch) -> Solution:
    """The minimum after the last steps; what a search ended at otherwise is returned as it is.

    A minimum just before a bound ends there, if that is no worse: searches stay inside.
    """
    if problem.loss != "linear" or best.stopped or best.is_saddle or watch.out_of_time():
        return best
    with np.errstate(all="ignore"):
        return _finished(problem, best, watch)


def _finished(problem: LeastSquares, best: Solution, watch: Watch) -> Solution:
    found = _polished(problem, best, watch)
    sizes = column_norms(problem.curve.at(found.point)[1])
    room = max(CLOSE * column_norms(found.residuals[:, None])[0], 1e-8 * column_norms(problem.target[:, None])[0])
    for k in range(len(found.point)):
        for bound in (problem.lower[k], problem.upper[k]):
            if 0.0 < abs(bound - found.point[k]) * sizes[k] <= room:
                at = np.where(np.arange(len(sizes)) == k, bound, found.point)
                values, slopes = problem.curve.at(at)
                if np.isfinite(values).all() and np.isfinite(slopes).all():
                    there = _polished(problem, _solution(problem, at, found.iterations, found.stopped), watch)
                    found = there if there.cost <= found.cost else found
    return found


def _solution(problem: LeastSquares, point: Floats, iterations: int, stopped: bool) -> Solution:
    """The record of a point."""
    residuals = problem.curve.residuals(point, problem.target)
    free = (point > problem.lower) & (point < problem.upper)
    cosines = np.abs(_cosines(problem, point, residuals)[free])
    root = np.sqrt(problem.weights)
    size = column_norms((root * residuals)[:, None])[0]
    # Rounding the parameters turns the residuals by this angle, and rounding the target does too.
    moved = (
        column_norms(root[:, None] * problem.curve.at(point)[1] * point).sum()
        + column_norms((root * problem.target)[:, None])[0]
    )
    stationary = not cosines.size or size == 0.0 or cosines.max() <= STATIONARY + 4.0 * EPSILON * moved / size
    return Solution(point, cost_of(problem, residuals), residuals, free, iterations, bool(stationary), stopped)


def _polished(problem: LeastSquares, start: Solution, watch: Watch) -> Solution:
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
        if watch.out_of_time():
            break
        residuals = problem.curve.residuals(point, problem.target)
        columns = root[:, None] * problem.curve.at(point)[1][:, free]
        sizes = column_norms(columns)
        if not (np.isfinite(residuals).all() and np.isfinite(sizes).all() and sizes.all()):
            break
        q, r = scipy.linalg.qr(columns / sizes, mode="economic")
        if np.abs(np.diag(r)).min() <= RANK_TOLERANCE:
            break
        if inner is None:
            curvature = problem.curve.curvature(point, problem.weights * residuals)[np.ix_(free, free)] / np.outer(sizes, sizes)
            inner = _inner(np.asarray(r, np.float64), curvature)
        pull = q.T @ (root * residuals)
        if not np.isfinite(pull).all():
            break
        step = scipy.linalg.solve_triangular(r, np.linalg.solve(inner, pull)) / sizes
        if np.all(np.abs(step) <= EPSILON * np.abs(point[free])):
            break
        moved = point.copy()
        moved[free] += step
        longer = float(np.linalg.norm(step * sizes)) >= length
        if longer or not np.isfinite(moved).all() or np.any((moved < problem.lower) | (moved > problem.upper)):
            break
        point, length = moved, float(np.linalg.norm(step * sizes))
    end = _solution(problem, point, start.iterations, start.stopped)
    return end if end.cost <= start.cost * (1.0 + 1e-9) or start.cost == 0.0 else start


def _inner(r: Floats, curvature: Floats) -> Floats:
    """I - R'^-1 S R^-1, or I where that is not positive definite, which makes the step one of Gauss and Newton."""
    identity = np.eye(len(r))
    if not np.isfinite(curvature).all():
        return identity
    half = scipy.linalg.solve_triangular(r, curvature, trans="T")
    inner = identity - scipy.linalg.solve_triangular(r, half.T, trans="T")
    if not np.isfinite(inner).all():
        return identity
    return inner if np.linalg.eigvalsh(0.5 * (inner + inner.T)).min() > 0.01 else identity
