"""Newton steps that finish a search to the last digit, and the test of what they reach.

A step solves the second-order model with the exact Hessian: on the variables that are free, those that are at no bound which
the gradient pushes them against. It is kept only if it improves the point.
D. Bertsekas, Projected Newton methods for optimization problems with simple constraints, SIAM J. Control 20 (1982) 221-246.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy

from app.solvers.objective import Floats
from app.solvers.search import Sample, Search, norm

Bools = npt.NDArray[np.bool_]

MAX_STEPS = 100
"""The most Newton steps of a finish. A minimum where the Hessian is singular is approached by a third of the way each."""
MAX_PRODUCTS = 1000
"""The most products with the Hessian for one step, where there are too many variables for a matrix."""
HALVINGS = 40
DOUBLINGS = 400
SUFFICIENT = 1e-4
"""The part of the decrease that the slope promises, at which a step counts as a decrease."""
NOISE = 10.0 * float(np.finfo(np.float64).eps)
"""The relative rounding error of a value."""
CANNOT_TELL = "the second derivative is 0 in some direction and cannot tell whether this is a minimum"
FLAT = 1e-12
"""Eigenvalues below this, relative to the largest of a scaled Hessian, count as 0."""
SMALL_DECREASE = 1e-12
"""Where a Newton step promises a decrease below this, relative to the value, the value has no more digits to win."""
NOTHING = 1e-40
"""Where it promises a decrease below this, relative to the value at the start, the value is as good as the least there is."""
PROBED = 10
"""After so many steps a finish is slow, because the Hessian is all but singular."""
SMALL_STEP = 1e-4
"""A Newton step that is not smaller than this, relative to the variables, does not lead to a minimum nearby."""


@dataclass(frozen=True, slots=True)
class Model:
    """The second-order model on the free variables: H, its eigenvalues scaled by `scale` on both sides, and a step.

    Attributes:
        free: which of the n variables are free.
        step: the step of all n variables, 0 for those that are not free.
        decrease: what the model promises for the whole step.
        curved: whether an eigenvalue is negative, so that the point is no minimum.
        flat: whether the step goes along a direction without curvature.
        level: whether there is a direction without curvature.
    """

    free: Bools
    step: Floats
    decrease: float
    curved: bool
    flat: bool
    level: bool = False


def finish(search: Search) -> None:
    """Do Newton steps from the search's current point until none improves it."""
    kept = 0
    probed = False
    with np.errstate(all="ignore"):
        while kept < MAX_STEPS:
            here = search.current
            model = model_at(search, here)
            better = None if model is None or _is_done(search, model) else _line_search(search, here, model)
            if better is None and model is not None and kept >= PROBED and not probed:
                probed, better = True, _beyond(search, here, model)
            if better is None:
                break
            kept += 1
            search.step(better.x)


def _is_done(search: Search, model: Model) -> bool:
    return not model.step.any() or (not model.curved and not model.flat and model.decrease <= NOTHING * search.level)


def _beyond(search: Search, here: Sample, model: Model) -> Sample | None:
    """A lower point far along the step, where a slow finish crept towards a point of inflection; None at a minimum."""
    length = float(np.abs(model.step / (1.0 + np.abs(here.x))).max(initial=0.0))
    if length == 0.0:
        return None
    x = np.clip(here.x + model.step * (1e-3 / length), search.task.lower, search.task.upper)
    there = search.sample(x)
    return there if there.finite and there.value < here.value - NOISE * abs(here.value) else None


def model_at(search: Search, here: Sample) -> Model | None:
    """The model at a point; None where second derivatives are not finite, or no step was found without their matrix."""
    lower, upper = search.task.lower, search.task.upper
    matrix = search.hessian(here.x) if search.dense else None
    if matrix is not None and not np.isfinite(matrix).all():
        return None
    at_lower, at_upper = here.x <= lower, here.x >= upper
    free = ~((at_lower & (here.gradient >= 0.0)) | (at_upper & (here.gradient <= 0.0)) | (at_lower & at_upper))
    while True:
        model = _large_model(search, here, free) if matrix is None else _model(matrix, here, free)
        if model is None:
            return None
        blocked = free & ((at_lower & (model.step < 0.0)) | (at_upper & (model.step > 0.0)))
        if not blocked.any():
            return model
        free = free & ~blocked


def _model(matrix: Floats, here: Sample, free: Bools) -> Model:
    step = np.zeros(len(here.x))
    if not free.any():
        return Model(free, step, 0.0, False, False)
    inner, gradient = matrix[np.ix_(free, free)], here.gradient[free]
    solved = _cholesky_step(inner, gradient)
    curved = flat = level = False
    if solved is None:
        solved, curved, flat, level = _eigen_step(inner, gradient, here.x[free])
    step[free] = solved
    decrease = -float(gradient @ solved + 0.5 * solved @ (inner @ solved))
    return Model(free, step, decrease, curved, flat, level)


def _large_model(search: Search, here: Sample, free: Bools) -> Model | None:
    """The model of too many variables for a matrix: a Newton step by conjugate gradients; None if they do not find one."""
    step = np.zeros(len(here.x))
    if not free.any():
        return Model(free, step, 0.0, False, False)
    gradient = here.gradient[free]

    def product(direction: Floats) -> Floats:
        tangent = np.zeros(len(here.x))
        tangent[free] = direction.ravel()
        return search.product(here.x, tangent)[free]

    shape = len(gradient), len(gradient)
    operator = scipy.sparse.linalg.LinearOperator(shape, matvec=product, dtype=np.float64)
    solved, _ = scipy.sparse.linalg.cg(operator, -gradient, rtol=1e-8, maxiter=min(2 * len(gradient), MAX_PRODUCTS))
    curvature = float(solved @ product(solved))
    if not (np.isfinite(solved).all() and curvature > 0.0):
        return None
    step[free] = solved
    return Model(free, step, -float(gradient @ solved) - 0.5 * curvature, False, False)


def _cholesky_step(matrix: Floats, gradient: Floats) -> Floats | None:
    """The Newton step, or None where the matrix, scaled to a diagonal of ones, is not clearly positive definite."""
    diagonal = np.diagonal(matrix)
    if not (diagonal > 0.0).all():
        return None
    scale = 1.0 / np.sqrt(diagonal)
    scaled = matrix * scale[:, None] * scale
    if not np.isfinite(scaled).all():
        return None
    try:
        factor = scipy.linalg.cho_factor(scaled, lower=True, check_finite=False)
    except np.linalg.LinAlgError:
        return None
    if float(np.diagonal(factor[0]).min()) ** 2 < FLAT:
        return None
    step = -scale * scipy.linalg.cho_solve(factor, scale * gradient, check_finite=False)
    return step if np.isfinite(step).all() else None


def _eigen_step(matrix: Floats, gradient: Floats, x: Floats) -> tuple[Floats, bool, bool, bool]:
    """A step for any matrix: Newton's where it curves up, downhill where it curves down or not at all.

    Returns it, whether the matrix has a negative eigenvalue, whether the step uses a direction without curvature, and whether
    there is one.
    """
    diagonal = np.abs(np.diagonal(matrix))
    size = np.maximum(diagonal, 1e-8 * diagonal.max(initial=0.0))
    scale = 1.0 / np.sqrt(np.where(size > 0.0, size, 1.0))
    scaled = matrix * scale[:, None] * scale
    if not np.isfinite(scaled).all():
        scale, scaled = np.ones(len(x)), matrix
    eigenvalues, vectors = scipy.linalg.eigh(scaled, check_finite=False)
    largest = float(np.abs(eigenvalues).max(initial=0.0))
    parts = vectors.T @ (scale * gradient)
    up, down = eigenvalues > FLAT * largest, eigenvalues < -1e-8 * largest
    level = ~up & ~down
    reach = max(1.0, norm(x / scale))
    along = np.zeros(len(x))
    along[up] = -parts[up] / eigenvalues[up]
    along[down] = parts[down] / eigenvalues[down]
    if down.any() and abs(along[down]).max() < 1e-3 * reach:  # at a saddle: nothing says which way is down
        worst = int(np.argmin(eigenvalues))
        along[worst] = math.copysign(reach, -parts[worst])
    slope = norm(parts[level])
    rounding = NOISE * norm(scale * gradient) + np.finfo(np.float64).tiny
    flat = slope > max(rounding, 1e-14 * largest)
    if flat:
        along[level] = -parts[level] / slope * reach
    return scale * (vectors @ along), bool(down.any()), flat, bool(level.any())


def _steps(search: Search, here: Sample, step: Floats) -> Iterator[tuple[float, Floats]]:
    """Points along a step, each half as far, moved into the bounds, until they are the point itself."""
    length = 1.0
    for _ in range(HALVINGS):
        x = np.clip(here.x + length * step, search.task.lower, search.task.upper)
        if np.array_equal(x, here.x):
            return
        yield length, x
        length *= 0.5


def _line_search(search: Search, here: Sample, model: Model) -> Sample | None:
    """A better point along the step, or None."""
    noise = NOISE * abs(here.value)
    is_last_digit = not model.curved and not model.flat and model.decrease <= SMALL_DECREASE * abs(here.value)
    for length, x in _steps(search, here, model.step):
        if is_last_digit and length < 1.0:
            break
        there = search.sample(x)
        if not there.finite:
            continue
        slope = float(here.gradient @ (x - here.x))
        promised = min(slope, 0.0) if not model.curved else min(slope, -0.5 * length * length * abs(model.decrease))
        if there.value < here.value + SUFFICIENT * promised - noise:
            return _further(search, here, there, model) if length == 1.0 and (model.curved or model.flat) else there
        if there.value <= here.value + noise and not model.curved and _is_flatter(search, here, there, model):
            return there
    return None


def _is_flatter(search: Search, here: Sample, there: Sample, model: Model) -> bool:
    """Whether the Newton step from there is clearly shorter. Its decrease tells what rounding hides in the values."""
    after = model_at(search, there)
    return after is not None and not after.curved and 0.0 <= after.decrease < 0.5 * model.decrease


def _further(search: Search, here: Sample, there: Sample, model: Model) -> Sample:
    """The last point that gets better while the step is doubled, as it must where nothing curves up."""
    length = 1.0
    for _ in range(DOUBLINGS):
        length *= 2.0
        x = np.clip(here.x + length * model.step, search.task.lower, search.task.upper)
        if not np.isfinite(x).all() or np.array_equal(x, there.x):
            return there
        further = search.sample(x)
        if not further.finite or further.value >= there.value:
            return there
        there = further
    return there


def _is_small(search: Search, here: Sample, tolerance: float) -> bool:
    """Whether the gradient of the free variables is as good as 0, beside what is large in the problem."""
    with np.errstate(all="ignore"):
        scale = search.scale_at(here)
        return free_gradient(search, here, scale.sizes) <= tolerance * scale.unit


def free_gradient(search: Search, here: Sample, sizes: Floats | float = 1.0) -> float:
    """The largest entry of the gradient times the sizes, without those that push a variable against its bound."""
    lower, upper, g = search.task.lower, search.task.upper, here.gradient
    held = ((here.x <= lower) & (g >= 0.0)) | ((here.x >= upper) & (g <= 0.0))
    return float(np.abs(sizes * g)[~held].max(initial=0.0))


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a point is a minimum; why not, or what cannot be told, in words."""

    converged: bool
    reason: str = ""


def judge(search: Search, here: Sample, tolerance: float, strict: bool) -> Verdict:
    """Whether a point is a minimum within the bounds.

    The gradient of the free variables must be below the tolerance, or the decrease that is left must be nothing beside the
    value. With `strict` the Hessian must also have no negative eigenvalue, if there is a matrix of it, and the Newton step must
    be short: a function that falls more and more slowly for ever has no minimum.
    """
    slope = free_gradient(search, here)
    is_small = slope <= tolerance if not strict else _is_small(search, here, tolerance)
    if not strict:
        return Verdict(is_small, "" if is_small else f"an entry of the gradient is {slope:.3g}")
    with np.errstate(all="ignore"):
        model = model_at(search, here)
    if model is None:
        return Verdict(is_small, "" if is_small else f"an entry of the gradient is {slope:.3g}")
    if model.curved:
        return Verdict(False, "this is not a minimum: the second derivative is negative in some direction")
    if not is_small and (model.flat or model.decrease > max(SMALL_DECREASE * abs(here.value), NOTHING * search.level)):
        return Verdict(False, f"an entry of the gradient is {slope:.3g}")
    if not model.flat and (np.abs(model.step) > SMALL_STEP * (search.sizes + np.abs(here.x))).any():
        return Verdict(False, "the Newton step is still long, so the function may have no minimum nearby")
    return Verdict(True, CANNOT_TELL if model.level else "")
