"""SciPy's methods of minimization, fed with exact derivatives. Each continues a search from its current point.

How a method learns that a point is outside the domain depends on how it chooses its steps. Those with a trust region, and
SLSQP, reject a value of infinity and shorten the step. Those whose line search interpolates get a cone instead that rises
from the last point: its value and slope are finite, and lead back.
"""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import scipy

from app.solvers.objective import Floats
from app.solvers.scale import factor_for
from app.solvers.search import PATIENCE, Sample, Search, norm

Method = Literal["bfgs", "l-bfgs-b", "newton-cg", "trust-ncg", "trust-exact", "slsqp", "trust-constr"]

SCIPY_ERRORS = (ArithmeticError, ValueError, RuntimeError, IndexError, UnboundLocalError, np.linalg.LinAlgError)
"""What SciPy's methods raise where numbers are too large or too small for them, some by mistake."""
DENSE_ROWS = 100
"""With more rows of constraints and bounds, `trust-constr` factorizes their derivatives as a sparse matrix."""
SLSQP_PATIENCE = 4
"""It gives up on a step only after ten evaluations, and then tries the same direction again."""


@dataclass(frozen=True, slots=True)
class Ability:
    """What a method can do: keep to bounds, keep to constraints, and work without matrices of n times n numbers."""

    bounds: bool
    constraints: bool
    dense: bool
    run: Callable[[Search, float], None]


def run(method: Method, search: Search, tolerance: float, most: float = math.inf) -> None:
    """Run a method until it ends, by itself or after `most` iterations. Raises SearchEnded."""
    if not len(search.movable):
        return
    search.begin(SLSQP_PATIENCE if method == "slsqp" else PATIENCE, most)
    with np.errstate(all="ignore"):
        try:
            METHODS[method].run(search, tolerance)
        except SCIPY_ERRORS:
            pass  # what has been found so far counts


class _Functions:
    """The functions of a search as SciPy calls them, of its movable variables.

    What is far too large or too small for SciPy's tolerances is multiplied by powers of 2, which round nothing: the objective
    by `weight`, the constraints by `rows`; the variables are `sizes` times SciPy's.
    """

    def __init__(self, search: Search, as_cone: bool) -> None:
        self.search = search
        self.as_cone = as_cone
        here, movable = search.current, search.movable
        self.sizes, self.weight = np.ones(len(movable)), 1.0
        is_limited = bool(search.task.constraints) or search.task.has_bounds
        if is_limited or not search.is_absolute:
            if is_limited:
                self.sizes = np.array([1.0 / factor_for(size) for size in search.sizes[movable].tolist()])
            level = float(np.abs(here.gradient[movable] * self.sizes).max(initial=0.0))
            if search.dense:
                level = max(level, float(np.abs(self.hessian(self.start())).max(initial=0.0)))
            self.weight = factor_for(level)
            if not search.task.constraints:
                self.weight = max(self.weight, 1.0)  # a large objective ends at a gradient that is smaller beside it
        steepest = np.abs(here.jacobian[:, movable] * self.sizes).max(axis=1, initial=0.0)
        self.rows = np.array([factor_for(level) for level in steepest.tolist()], np.float64)

    def tolerance(self, tolerance: float) -> float:
        """A tolerance for the gradient that SciPy sees."""
        return tolerance * self.weight * float(self.sizes.min(initial=1.0)) if self.search.is_absolute else tolerance

    def start(self) -> Floats:
        return self.search.current.x[self.search.movable] / self.sizes

    def bounds(self) -> tuple[Floats, Floats]:
        task, movable = self.search.task, self.search.movable
        return task.lower[movable] / self.sizes, task.upper[movable] / self.sizes

    def limits(self) -> tuple[Floats, Floats]:
        constraints = self.search.task.constraints
        lower, upper = (np.array([getattr(c, side) for c in constraints], np.float64) for side in ("lower", "upper"))
        return self.rows * lower, self.rows * upper

    def point(self, y: Floats) -> Floats:
        return self.search.expand(self.sizes * y)

    def sample(self, y: Floats) -> Sample:
        return self.search.sample(self.point(y))

    def value(self, y: Floats) -> float:
        sample = self.sample(y)
        if sample.finite:
            return self.weight * sample.value
        current = self.search.current
        cone = current.value + norm(current.gradient) * norm(sample.x - current.x)
        return self.weight * cone if self.as_cone else np.inf

    def gradient(self, y: Floats) -> Floats:
        sample, movable = self.sample(y), self.search.movable
        if sample.finite:
            return self.weight * self.sizes * sample.gradient[movable]
        current = self.search.current
        away = sample.x - current.x
        return self.weight * self.sizes * (norm(current.gradient) / (norm(away) or 1.0) * away)[movable]

    def hessian(self, y: Floats) -> Floats:
        movable, matrix = self.search.movable, self.search.hessian(self.point(y))
        matrix = matrix if len(movable) == len(matrix) else matrix[np.ix_(movable, movable)]
        return _finite(self.weight * (self.sizes[:, None] * matrix * self.sizes))

    def product(self, y: Floats, direction: Floats) -> Floats:
        tangent = np.zeros(len(self.search.start))
        tangent[self.search.movable] = self.sizes * direction
        return _finite(self.weight * self.sizes * self.search.product(self.point(y), tangent)[self.search.movable])

    def constraints(self, y: Floats) -> Floats:
        sample = self.sample(y)
        return self.rows * (sample if sample.finite else self.search.current).constraints

    def jacobian(self, y: Floats) -> Floats:
        sample = self.sample(y)
        jacobian = (sample if sample.finite else self.search.current).jacobian[:, self.search.movable]
        return self.rows[:, None] * jacobian * self.sizes

    def curvature(self, y: Floats, multipliers: Floats) -> Floats:
        """The second derivatives of the multipliers times the constraints."""
        movable, x = self.search.movable, self.point(y)
        total = np.zeros((len(x), len(x)))
        for limits, multiplier in zip(self.search.task.constraints, self.rows * multipliers, strict=True):
            if multiplier:
                total += multiplier * limits.objective.hessian(x)
        return _finite(self.sizes[:, None] * total[np.ix_(movable, movable)] * self.sizes)

    def iterated(self, intermediate_result: Any) -> None:
        self.search.iterated(self.point(np.asarray(intermediate_result.x)))


def _finite(numbers: Floats) -> Floats:
    """Second derivatives that a method can work with: 0 for those that are not finite."""
    return numbers if np.isfinite(numbers).all() else np.where(np.isfinite(numbers), numbers, 0.0)


def _optimize() -> Any:
    """`scipy.optimize` without its types, since SciPy's stubs know only vectors of a fixed number of dimensions."""
    return scipy.optimize


def _minimize(search: Search, method: str, functions: _Functions, options: dict[str, Any], **more: Any) -> None:
    result = _optimize().minimize(
        functions.value,
        functions.start(),
        jac=functions.gradient,
        method=method,
        callback=functions.iterated,
        options=options,
        **more,
    )
    final = functions.sample(np.asarray(result.x))
    if final.finite:
        search.current = final


def _bounds(functions: _Functions) -> list[tuple[float, float]]:
    lower, upper = functions.bounds()
    return list(zip(lower.tolist(), upper.tolist(), strict=True))


def _most(search: Search) -> int:
    """More iterations than the search does, since it counts them itself."""
    return search.controls.max_iterations + 1


def _bfgs(search: Search, tolerance: float) -> None:
    _minimize(search, "BFGS", _Functions(search, True), {"gtol": tolerance, "maxiter": _most(search)})


def _l_bfgs_b(search: Search, tolerance: float) -> None:
    most, functions = _most(search), _Functions(search, True)
    gtol = functions.tolerance(tolerance)
    options = {"gtol": gtol, "ftol": 0.0, "maxcor": 20, "maxls": 50, "maxiter": most, "maxfun": 100 * most}
    _minimize(search, "L-BFGS-B", functions, options, bounds=_bounds(functions))


def _newton_cg(search: Search, tolerance: float) -> None:
    functions = _Functions(search, True)
    options = {"xtol": 1e-2 * tolerance, "maxiter": _most(search)}
    _minimize(search, "Newton-CG", functions, options, hessp=functions.product)


def _trust_ncg(search: Search, tolerance: float) -> None:
    functions = _Functions(search, False)
    _minimize(search, "trust-ncg", functions, _trust_options(search, tolerance), hessp=functions.product)


def _trust_exact(search: Search, tolerance: float) -> None:
    functions = _Functions(search, False)
    _minimize(search, "trust-exact", functions, _trust_options(search, tolerance), hess=functions.hessian)


def _trust_options(search: Search, tolerance: float) -> dict[str, Any]:
    """No largest radius: variables may be of any size."""
    return {"gtol": tolerance, "max_trust_radius": 1e300, "maxiter": _most(search)}


def _slsqp(search: Search, tolerance: float) -> None:
    functions = _Functions(search, False)
    rows: list[dict[str, Any]] = []
    constraints = search.task.constraints
    lower, upper = functions.limits()
    equations = np.flatnonzero(lower == upper) if len(constraints) else np.empty(0, np.int64)
    if len(equations):
        rows.append(_row(functions, "eq", equations, 1.0, lower[equations]))
    for sign, limit in ((1.0, lower), (-1.0, upper)):
        kept = np.flatnonzero(np.isfinite(limit) & (lower != upper)) if len(constraints) else equations
        if len(kept):
            rows.append(_row(functions, "ineq", kept, sign, limit[kept]))
    options = {"ftol": min(1e-4 * tolerance, 1e-12), "maxiter": _most(search)}
    _minimize(search, "SLSQP", functions, options, bounds=_bounds(functions), constraints=rows)


def _row(functions: _Functions, kind: str, kept: Any, sign: float, limit: Floats) -> dict[str, Any]:
    """Some constraints as SLSQP takes them: functions that must be 0, or not negative."""
    return {
        "type": kind,
        "fun": lambda y: sign * (functions.constraints(y)[kept] - limit),
        "jac": lambda y: sign * functions.jacobian(y)[kept],
    }


def _trust_constr(search: Search, tolerance: float) -> None:
    """Moves a start at its bounds a little inside, because the barrier needs that."""
    functions, task = _Functions(search, False), search.task
    lower, upper = functions.bounds()
    more: dict[str, Any] = {}
    if task.has_bounds:
        more["bounds"] = scipy.optimize.Bounds(lower, upper, keep_feasible=True)
        inside = functions.sample(_inside(functions.start(), lower, upper))
        if inside.finite:
            search.current = inside
    is_large = len(search.movable) * (1 + task.has_bounds) + len(task.constraints) > DENSE_ROWS
    if task.constraints:
        jacobian = (lambda y: scipy.sparse.csr_array(functions.jacobian(y))) if is_large else functions.jacobian
        limits = functions.limits()
        more["constraints"] = _optimize().NonlinearConstraint(
            functions.constraints, *limits, jac=jacobian, hess=functions.curvature
        )
    gtol = functions.tolerance(tolerance)
    options: dict[str, Any] = {"gtol": gtol, "xtol": 1e-14, "barrier_tol": gtol, "maxiter": _most(search)}
    if task.constraints or task.has_bounds:
        options["factorization_method"] = "AugmentedSystem" if is_large else "SVDFactorization"
        options["sparse_jacobian"] = is_large
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Singular Jacobian matrix")  # SciPy then goes on by another factorization
        _minimize(search, "trust-constr", functions, options, hess=functions.hessian, **more)


def _inside(y: Floats, lower: Floats, upper: Floats) -> Floats:
    """The point, at least a thousandth of the bounds' distance, or of a variable's size, from them."""
    width = np.where(np.isfinite(upper - lower), upper - lower, np.maximum(1.0, np.abs(y)))
    return np.clip(y, lower + 1e-3 * width, upper - 1e-3 * width)


METHODS: dict[Method, Ability] = {
    "bfgs": Ability(bounds=False, constraints=False, dense=True, run=_bfgs),
    "l-bfgs-b": Ability(bounds=True, constraints=False, dense=False, run=_l_bfgs_b),
    "newton-cg": Ability(bounds=False, constraints=False, dense=False, run=_newton_cg),
    "trust-ncg": Ability(bounds=False, constraints=False, dense=False, run=_trust_ncg),
    "trust-exact": Ability(bounds=False, constraints=False, dense=True, run=_trust_exact),
    "slsqp": Ability(bounds=True, constraints=True, dense=True, run=_slsqp),
    "trust-constr": Ability(bounds=True, constraints=True, dense=True, run=_trust_constr),
}
"""The methods by name."""
