"""What the Jacobian at a fit says of its parameters: covariance, intervals, bands, and how the residuals are spread."""

import math
from dataclasses import dataclass

import numpy as np
import scipy

from app.solvers.curve import Floats
from app.solvers.least_squares import (
    EPSILON,
    RANK_TOLERANCE,
    Bools,
    LeastSquares,
    Solution,
    column_norms,
    half_hessian,
    loss_weights,
)


@dataclass(frozen=True, slots=True)
class Spread:
    """The covariance of the parameters, s**2 (J'WJ)^-1, as `variance * factor @ factor.T`.

    `factor` has shape (parameters, rank), with rows of zeros for parameters at a bound. `null` has shape (parameters, n)
    and spans the directions in which the fit does not change, and those of parameters at a bound. `known` says which
    parameters have a standard error. `variance` is NaN if there are no degrees of freedom to estimate it.
    """

    factor: Floats
    null: Floats
    known: Bools
    variance: float
    degrees_of_freedom: int

    @property
    def standard_errors(self) -> Floats:
        """The standard errors, NaN where a parameter has none; also where their squares overflow or underflow."""
        return np.where(self.known, math.sqrt(self.variance) * column_norms(self.factor.T), np.nan)

    @property
    def covariance(self) -> Floats:
        """The covariance matrix, NaN where a parameter has none."""
        errors = self.standard_errors
        return np.asarray(self.correlation * np.outer(errors, errors))

    @property
    def correlation(self) -> Floats:
        """The correlation matrix, NaN where a parameter has no standard error."""
        norms = column_norms(self.factor.T)
        units = self.factor / np.where(norms > 0.0, norms, 1.0)[:, None]
        found = np.clip(units @ units.T, -1.0, 1.0)
        np.fill_diagonal(found, 1.0)
        unknown = np.isnan(self.standard_errors)
        found[unknown, :] = found[:, unknown] = np.nan
        return found

    def deviation(self, gradient: Floats) -> Floats:
        """The standard deviation of quantities with these gradients, shape (n, parameters), by the delta method.

        NaN for a quantity that depends on a direction in which the fit does not change, or on a parameter at a bound.
        """
        found = math.sqrt(self.variance) * column_norms((gradient @ self.factor).T)
        along, size = np.abs(gradient @ self.null).sum(axis=1), np.abs(gradient) @ np.abs(self.null).sum(axis=1)
        return np.where(along > 1e-8 * size, np.nan, found)


def spread(problem: LeastSquares, minimum: Solution, absolute: bool) -> Spread:
    """The covariance at a minimum. With `absolute`, weights are 1/sigma**2 for known sigma, and the variance is 1.

    For a robust loss, J'WJ is the approximation of the second derivatives that SciPy's `least_squares` uses, and the variance
    is that of the minimised sum, as in SciPy's `curve_fit`.
    """
    root = np.sqrt(np.maximum(loss_weights(problem, minimum.residuals)[1], problem.weights * EPSILON))
    columns = root[:, None] * problem.curve.at(minimum.point)[1][:, minimum.free]
    sizes = column_norms(columns)
    sizes = np.where(sizes > 0.0, sizes, 1.0)
    if not np.isfinite(columns / sizes).all():
        return _nothing(problem, minimum, absolute)
    _, singular, directions = np.linalg.svd(columns / sizes, full_matrices=False)
    kept = singular > RANK_TOLERANCE * max(columns.shape) * singular.max(initial=0.0)
    count = len(minimum.point)
    factor, null = np.zeros((count, int(kept.sum()))), np.zeros((count, int((~kept).sum())))
    factor[minimum.free] = directions[kept].T / singular[kept] / sizes[:, None]
    null[minimum.free] = directions[~kept].T
    known = minimum.free & ~(np.abs(null) > 1e-8).any(axis=1)
    null[minimum.free] /= sizes[:, None]
    null = np.column_stack([null, np.eye(count)[:, ~minimum.free]])
    freedom = int(np.count_nonzero(problem.weights)) - count + int((~kept).sum())
    variance = 1.0 if absolute else (minimum.cost / freedom if freedom > 0 else math.nan)
    return Spread(factor, null, known, variance, freedom)


def _nothing(problem: LeastSquares, minimum: Solution, absolute: bool) -> Spread:
    """What can be said where the derivatives are too large for a double: nothing."""
    count = len(minimum.point)
    freedom = int(np.count_nonzero(problem.weights)) - count
    variance = 1.0 if absolute else math.nan
    return Spread(np.zeros((count, 0)), np.eye(count), np.zeros(count, np.bool_), variance, freedom)


def quantile(level: float, degrees_of_freedom: int) -> float:
    """The two-sided quantile of Student's t distribution; NaN without degrees of freedom."""
    return float(scipy.special.stdtrit(degrees_of_freedom, 0.5 + 0.5 * level)) if degrees_of_freedom > 0 else math.nan


@dataclass(frozen=True, slots=True)
class Quality:
    """How well a curve fits. NaN where a number does not exist.

    `aic` and `bic` are those of R's `nls`: of the Gaussian likelihood, with one more parameter for the variance.
    """

    residual_sum_of_squares: float
    residual_standard_deviation: float
    r_squared: float
    aic: float
    bic: float


def quality(problem: LeastSquares, minimum: Solution, found: Spread) -> Quality:
    """The quality of a fit. R squared compares with the weighted mean of the target."""
    weights, target = problem.weights, problem.target
    used = weights > 0.0
    count, parameters = int(used.sum()), len(minimum.point)
    squares = float(np.sum(weights * minimum.residuals**2))
    mean = np.sum(weights * target) / np.sum(weights)
    total = float(np.sum(weights * (target - mean) ** 2))
    aic = bic = math.nan
    if squares > 0.0 and problem.loss == "linear":
        likelihood = math.log(2.0 * math.pi) + 1.0 - math.log(count) - float(np.mean(np.log(weights[used]))) + math.log(squares)
        aic = count * likelihood + 2.0 * (parameters + 1)
        bic = count * likelihood + math.log(count) * (parameters + 1)
    freedom = found.degrees_of_freedom
    deviation = math.sqrt(minimum.cost / freedom) if freedom > 0 else math.nan
    return Quality(squares, deviation, 1.0 - squares / total if 0.0 < total < math.inf else math.nan, aic, bic)


def influence(problem: LeastSquares, minimum: Solution) -> Floats:
    """The derivative of each parameter by each row of the target, shape (parameters, rows), by implicit differentiation.

    At a minimum the gradient by the free parameters is 0, and stays so: H dp = J' W dy with the Hessian H of half the sum,
    which includes the curvature of f. NaN if H is singular; 0 for parameters at a bound.
    """
    free, pull = minimum.free, loss_weights(problem, minimum.residuals)[1]
    jacobian = problem.curve.at(minimum.point)[1][:, free]
    hessian = half_hessian(problem, minimum)[np.ix_(free, free)]
    sizes = np.sqrt(np.abs(np.diag(hessian)))
    found = np.zeros((len(minimum.point), problem.curve.rows))
    try:
        if not sizes.all():
            raise np.linalg.LinAlgError
        scaled = hessian / np.outer(sizes, sizes)
        if np.linalg.cond(scaled) > 1.0 / RANK_TOLERANCE:
            raise np.linalg.LinAlgError
        found[free] = np.linalg.solve(scaled, (jacobian * pull[:, None]).T / sizes[:, None]) / sizes[:, None]
    except np.linalg.LinAlgError:
        found[free] = np.nan
    return found
