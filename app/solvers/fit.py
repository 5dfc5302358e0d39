"""Fit a curve to data: parameters with their standard errors, intervals and bands.

    fit(FitProblem(graph, {"x": [...], "y": [...]}, "y", {"b1": Parameter(500), "b2": Parameter(1e-4)}))

All derivatives are exact. What cannot be known, such as the standard error of a parameter at its bound, is NaN, and `message`
says why.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from app.engine.errors import NonFinite
from app.engine.faults import Fault, Quantity, explain
from app.engine.interruption import Checkpoint, never
from app.solvers.curve import Floats
from app.solvers.fit_message import Search, message_of
from app.solvers.fit_problem import FitProblem, problem_of
from app.solvers.least_squares import LeastSquares, Watch, column_norms, cost_of, finish, least_squares
from app.solvers.predictions import Derived, Predictions, derived_quantities, predictions
from app.solvers.profile import profile_interval
from app.solvers.statistics import Quality, Spread, influence, quality, quantile, spread

Interval = tuple[float, float]

SMALLEST_SUM = 1e-250
"""A sum of squares at the start below which squares lose digits on the way to the minimum."""


@dataclass(frozen=True, slots=True)
class Fit:
    """A fit. Numbers that do not exist are NaN.

    `covariance` and `correlation` have shape (parameters, parameters), in the order of the parameters; `residuals` are observed
    minus fitted, unweighted; `influence` is the derivative of each parameter by each row of the target.
    """

    parameters: dict[str, float]
    standard_errors: dict[str, float]
    intervals: dict[str, Interval] | None
    covariance: Floats
    correlation: Floats
    quality: Quality
    degrees_of_freedom: int
    residuals: Floats
    derived: dict[str, Derived]
    predictions: Predictions | None
    influence: dict[str, Floats] | None
    iterations: int
    evaluations: int
    converged: bool
    message: str


def fit(given: FitProblem, *, watch: Watch | None = None, checkpoint: Checkpoint = never) -> Fit:
    """Fit a curve by least squares, or by a robust loss.

    `watch` is told of each iteration, and may end the search with the best point so far.

    Raises: MissingData and UnknownNode for names that stand for nothing; ShapeMismatch for columns of unlike length, or fewer
    rows than parameters; InvalidArgument for sigma, weights and bounds that cannot be; NonFinite for a start without a value.
    """
    with np.errstate(all="ignore"):
        return _fit(given, watch or Watch(), checkpoint)


def check_fit(given: FitProblem) -> None:
    """Raise what `fit` raises for what is given, without the search."""
    with np.errstate(all="ignore"):
        problem, free, _ = problem_of(given, never)
        _check_start(given, problem, np.array([given.parameters[name].start for name in free]))


def _fit(given: FitProblem, watch: Watch, checkpoint: Checkpoint) -> Fit:
    problem, free, fixed = problem_of(given, checkpoint)
    search = _best(given, problem, free, watch)
    minimum = search.best
    found = spread(problem, minimum, given.absolute_sigma)
    t = quantile(given.level, found.degrees_of_freedom)
    point = _in_order(given, minimum.point, free, fixed)
    order = [list(given.parameters).index(name) for name in free]
    errors = np.full(len(point), np.nan)
    errors[order] = found.standard_errors
    return Fit(
        parameters=point,
        standard_errors=dict(zip(point, errors.tolist(), strict=True)),
        intervals=_intervals(given, problem, search, found, t, watch),
        covariance=_spread_out(found.covariance, order, len(point)),
        correlation=_spread_out(found.correlation, order, len(point)),
        quality=quality(problem, minimum, found),
        degrees_of_freedom=found.degrees_of_freedom,
        residuals=minimum.residuals,
        derived=derived_quantities(given, free, point, found),
        predictions=predictions(given, problem, minimum, found, t),
        influence=_influence(given, problem, search, free),
        iterations=minimum.iterations,
        evaluations=problem.curve.evaluations,
        converged=search.converged,
        message=message_of(given, search, found, problem.curve.names, watch.out_of_time()),
    )


def _spread_out(matrix: Floats, order: list[int], count: int) -> Floats:
    """A matrix of some of the parameters as one of all, NaN for the others."""
    found = np.full((count, count), np.nan)
    found[np.ix_(order, order)] = matrix
    return found


def _best(given: FitProblem, problem: LeastSquares, free: list[str], watch: Watch) -> Search:
    """The best of the minima from all starts."""
    start = np.array([given.parameters[name].start for name in free])
    _check_start(given, problem, start)
    best = least_squares(problem, start, given.max_iterations, watch, polish=given.starts == 1)
    for k, other in enumerate(_further_starts(given, problem, start), 1):
        if watch.out_of_time():
            return Search(best, given.starts - k)
        problem.curve.checkpoint()
        if _is_start(problem, other):
            found = least_squares(problem, other, given.max_iterations, watch, polish=False)
            best = found if (found.cost, not found.converged) < (best.cost, not best.converged) else best
    return Search(finish(problem, best, watch) if given.starts > 1 else best, 0)


def _is_start(problem: LeastSquares, point: Floats) -> bool:
    """Whether values, derivatives and the sum are finite."""
    values, slopes = problem.curve.at(point)
    return bool(np.isfinite(column_norms(slopes)).all() and math.isfinite(cost_of(problem, problem.target - values)))


def _further_starts(given: FitProblem, problem: LeastSquares, start: Floats) -> Iterator[Floats]:
    """Starts drawn within the bounds; where one is infinite, around the given start, by its size."""
    rng = np.random.default_rng(given.seed)
    for _ in range(given.starts - 1):
        unit, normal = rng.random(len(start)), rng.standard_normal(len(start))
        within = problem.lower + unit * (problem.upper - problem.lower)
        around = start + normal * np.where(start == 0.0, 1.0, np.abs(start))
        yield np.clip(np.where(np.isfinite(within), within, around), problem.lower, problem.upper)


def _check_start(given: FitProblem, problem: LeastSquares, start: Floats) -> None:
    """Raise NonFinite if the curve, or a derivative of it, is not finite at the start."""
    if _is_start(problem, start):
        residuals = problem.target - problem.curve.at(start)[0]
        if residuals[problem.weights > 0.0].any() and cost_of(problem, residuals) < SMALLEST_SUM:
            raise NonFinite("the squares of the residuals are too small for a double; scale the data", ("data",))
        return
    curve = problem.curve
    values, slopes = curve.at(start)
    if np.isfinite(values).all() and np.isfinite(slopes).all():
        what = "the sum of squares" if np.isfinite(column_norms(slopes)).all() else "the sum of the squared derivatives"
        raise NonFinite(
            f"at the start of the parameters, {what} is too large for a number of 64 bits; scale the data", ("data",)
        )
    inputs = {**curve.columns, **dict(zip(curve.names, start.tolist(), strict=True))}
    many = any(isinstance(column, np.ndarray) for column in curve.columns.values())
    if not np.isfinite(values).all():
        row = int(np.argmin(np.isfinite(values)))
        fault = Fault(Quantity.VALUE, given.graph.output, float(values[row]), row if many else None)
    else:
        row, k = np.argwhere(~np.isfinite(slopes))[0].tolist()
        fault = Fault(Quantity.GRADIENT, curve.names[k], float(slopes[row, k]), row if many else None)
    error = explain(given.graph, inputs, fault)
    raise NonFinite(f"at the start of the parameters, {error.detail}", error.place)


def _in_order(given: FitProblem, point: Floats, free: list[str], fixed: dict[str, float]) -> dict[str, float]:
    """All parameters, in the order in which they are given."""
    found = {**fixed, **dict(zip(free, point.tolist(), strict=True))}
    return {name: found[name] for name in given.parameters}


def _intervals(
    given: FitProblem, problem: LeastSquares, search: Search, found: Spread, t: float, watch: Watch
) -> dict[str, Interval] | None:
    """The interval of each parameter; NaN for one that has none."""
    if given.intervals == "none":
        return None
    minimum, errors = search.best, found.standard_errors
    ends: dict[str, Interval] = {name: (math.nan, math.nan) for name in given.parameters}
    for k, name in enumerate(problem.curve.names):
        if given.intervals == "wald":
            ends[name] = float(minimum.point[k] - t * errors[k]), float(minimum.point[k] + t * errors[k])
        elif search.converged:  # elsewhere than at a minimum there is no profile
            ends[name] = profile_interval(problem, minimum, found, k, t, watch)
    return ends


def _influence(given: FitProblem, problem: LeastSquares, search: Search, free: list[str]) -> dict[str, Floats] | None:
    """The influence of each row on each parameter; NaN where the search did not reach a minimum, 0 for held parameters."""
    if not given.influence:
        return None
    rows = dict(zip(free, influence(problem, search.best), strict=True))
    unknown, held = np.full(problem.curve.rows, np.nan), np.zeros(problem.curve.rows)
    return {name: (rows[name] if search.converged else unknown) if name in rows else held for name in given.parameters}
