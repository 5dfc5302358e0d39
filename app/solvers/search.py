"""One search for a minimum: the points it has evaluated, what it has found so far, and when it must end."""

import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt
import scipy

from app.engine.errors import quote
from app.engine.faults import number_text
from app.engine.interruption import Checkpoint, never
from app.solvers.errors import NotConverged
from app.solvers.objective import Floats, Objective
from app.solvers.scale import Scale, scale_of, sizes_at, sizes_at_start

KEPT_SAMPLES = 16
"""How many of the last points are remembered, so that a method that returns to one does not evaluate it again."""
UNBOUNDED = -1e100
"""A function that falls below this, relative to its value at the start, has no minimum."""
PATIENCE = 30
"""After so many iterations at the same point, a trust region is as small as a double can tell, as it is at a kink."""
NEAR = 1e-16
"""Points that differ by less, relative to the variables or to 1, count as the same."""
ROUNDING = 4.0 * float(np.finfo(np.float64).eps)
"""The relative error of what the variables contribute to a constraint."""
MOST_VIOLATED = float(np.finfo(np.float64).max)
FEASIBLE = 1e-9
"""The largest violation of a constraint, relative to its limits, at which a point counts as feasible."""

End = Literal["iterations", "deadline", "stalled"]


@dataclass(frozen=True, slots=True)
class Limits:
    """A function that must stay between two numbers, either of which may be infinite. They are equal for an equation."""

    objective: Objective
    lower: float
    upper: float


@dataclass(frozen=True, slots=True)
class Task:
    """What to minimize: an objective of n variables, with bounds of shape (n,) and with constraints."""

    objective: Objective
    lower: Floats
    upper: Floats
    constraints: Sequence[Limits] = ()

    @property
    def has_bounds(self) -> bool:
        """Whether any variable has a bound."""
        return bool(np.isfinite(self.lower).any() or np.isfinite(self.upper).any())

    @property
    def width(self) -> Floats:
        """The distance between the bounds of each variable."""
        with np.errstate(over="ignore"):
            return self.upper - self.lower


@dataclass(frozen=True, slots=True)
class Sample:
    """What is known of one point x of shape (n,): the objective's value and gradient, those of the m constraints.

    `constraints` has shape (m,), `jacobian` (m, n). `finite` is false if any of these numbers is NaN or infinite: the point is
    outside the domain. `violation` is the largest distance of a constraint from its limits, relative to their size, or to that
    of its terms.
    """

    x: Floats
    value: float
    gradient: Floats
    constraints: Floats
    jacobian: Floats
    finite: bool
    violation: float


@dataclass(frozen=True, slots=True)
class Iteration:
    """One iteration: its number, its point, and the value and the Euclidean norm of the gradient there."""

    iteration: int
    x: Floats
    value: float
    gradient_norm: float


@dataclass(frozen=True, slots=True)
class Controls:
    """When a search must end, and who watches it.

    Attributes:
        max_iterations: the most iterations.
        pulse: called often; raises SearchEnded past the deadline, or something else to abandon the search.
        watch: called with each iteration.
    """

    max_iterations: int
    pulse: Checkpoint = never
    watch: Callable[[Iteration], None] | None = None


class SearchEnded(Exception):
    """A search must end with the best point so far, for the reason given."""

    def __init__(self, reason: End) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(eq=False)
class Search:
    """The state of one search.

    Attributes:
        task: what is minimized.
        controls: when it must end.
        start: the point that it starts from.
        dense: whether the variables are few enough for matrices of n times n numbers.
        is_absolute: whether the tolerance is one of gradients as they are, and not relative to what is large in the problem.
        sizes: of the variables as far as the start tells, as in `app.solvers.scale`.
        level: the size of the objective at the start.
        movable: the indices of the variables whose bounds differ; the methods see only these.
        evaluations: at how many points the functions were evaluated.
        iterations: how many iterations the methods have done.
        newton_steps: how many of them were Newton steps that finish a search.
        patience: after how many iterations at the same point a method has stalled.
        left_domain: whether a point outside the domain was tried.
        current: the point of the last iteration.
        best: the best point so far: feasible if any was, and then the lowest.
    """

    task: Task
    controls: Controls
    start: Floats
    dense: bool = True
    is_absolute: bool = False
    evaluations: int = 0
    iterations: int = 0
    newton_steps: int = 0
    left_domain: bool = False
    patience: int = PATIENCE
    movable: npt.NDArray[np.intp] = field(init=False)
    current: Sample = field(init=False)
    best: Sample = field(init=False)
    _samples: "OrderedDict[bytes, Sample]" = field(default_factory=OrderedDict)
    _curvature: tuple[bytes, Floats] | None = None
    _still: int = 0
    _last: float = math.inf

    def __post_init__(self) -> None:
        self.movable = np.flatnonzero(self.task.lower < self.task.upper)
        self.scale = self.level = 1.0
        self._width = self.task.width
        self.sizes = sizes_at_start(self.task.objective, self.start, self._width, self.dense)
        first = self.sample(self.start)
        self.scale = max(1.0, abs(first.value)) if math.isfinite(first.value) else 1.0
        self.level = abs(first.value) or 1.0
        self.current = self.best = first
        if first.finite:
            self._report()

    # --- points

    def expand(self, y: Floats) -> Floats:
        """The point whose movable variables have these numbers, each moved into its bounds."""
        x = self.start.copy()
        x[self.movable] = y
        return np.clip(x, self.task.lower, self.task.upper)

    def sample(self, x: Floats) -> Sample:
        """What is known of a point within the bounds. Evaluates each function once per point."""
        key = x.tobytes()
        found = self._samples.get(key)
        if found is None:
            self.controls.pulse()
            found = self._samples[key] = self._evaluate(x)
            self.evaluations += 1
            if len(self._samples) > KEPT_SAMPLES:
                self._samples.popitem(last=False)
            self._compare(found)
        return found

    def _evaluate(self, x: Floats) -> Sample:
        value, gradient = self.task.objective.value_and_gradient(x)
        rows = [limits.objective.value_and_gradient(x) for limits in self.task.constraints]
        constraints = np.array([row[0] for row in rows], np.float64)
        jacobian = np.array([row[1] for row in rows], np.float64).reshape(len(rows), len(x))
        finite = bool(
            math.isfinite(value)
            and np.isfinite(gradient).all()
            and np.isfinite(constraints).all()
            and np.isfinite(jacobian).all()
        )
        rounding = ROUNDING * (np.abs(jacobian) @ np.abs(x))
        terms = np.abs(jacobian) @ self.sizes_at(x)
        limits = zip(constraints.tolist(), rounding.tolist(), terms.tolist(), self.task.constraints, strict=True)
        violation = max((_violation(number, error, size, row) for number, error, size, row in limits), default=0.0)
        if value < UNBOUNDED * self.scale and violation <= FEASIBLE:
            raise NotConverged(unbounded_text(self.task.objective, x, value))
        return Sample(x, value, gradient, constraints, jacobian, finite, violation)

    def _compare(self, sample: Sample) -> None:
        if not sample.finite:
            self.left_domain = True
        elif self.evaluations > 1 and is_better(sample, self.best):
            self.best = sample

    # --- iterations

    def iterated(self, x: Floats) -> None:
        """Count an iteration that has ended at x. Raises SearchEnded."""
        sample = self.sample(x)
        moved = np.abs(sample.x - self.current.x) > NEAR * np.maximum(self.sizes, np.abs(sample.x))
        self._still = 0 if moved.any() else self._still + 1
        if sample.finite:
            self.current = sample
        self.iterations += 1
        self._report()
        if self.iterations >= self.controls.max_iterations:
            raise SearchEnded("iterations")
        if self._still >= self.patience or self.iterations >= self._last:
            raise SearchEnded("stalled")

    def begin(self, patience: int = PATIENCE, most: float = math.inf) -> None:
        """Let a method begin, which has stalled after so many iterations at the same point, or after `most` of them."""
        self.patience, self._still = patience, 0
        self._last = self.iterations + most

    def step(self, x: Floats) -> None:
        """Count a Newton step to x, which has stalled only when it is not kept. Raises SearchEnded."""
        self.newton_steps += 1
        self._still, self._last = 0, math.inf
        self.iterated(x)

    def _report(self) -> None:
        if self.controls.watch is not None:
            sample = self.current
            self.controls.watch(Iteration(self.iterations, sample.x, sample.value, norm(sample.gradient)))

    def sizes_at(self, x: Floats) -> Floats:
        """The sizes of the variables at a point, of shape (n,)."""
        return sizes_at(x, self.sizes, self._width)

    def scale_at(self, here: Sample, is_late: bool = False) -> Scale:
        """What counts as large at a point. For an absolute tolerance that is 1, or a larger gradient.

        Evaluates nothing if it is late.
        """
        hessian = self.hessian(here.x) if self.dense and not self.is_absolute and not is_late else None
        scale = scale_of(here.value, here.gradient, self.sizes_at(here.x), hessian)
        if not self.is_absolute:
            return scale
        unit = max(1.0, float(np.abs(here.gradient).max(initial=0.0)))
        return Scale(scale.sizes, unit, max(1.0, scale.worth), np.ones(len(here.x)))

    def product(self, x: Floats, direction: Floats) -> Floats:
        """The Hessian of the objective at x times a direction."""
        self.controls.pulse()
        return self.task.objective.product(x, direction)

    def hessian(self, x: Floats, multipliers: Floats | None = None) -> Floats:
        """The second derivatives at x of the objective less the multipliers times the constraints: an array (n, n)."""
        self.controls.pulse()
        key = x.tobytes()
        if self._curvature is None or self._curvature[0] != key:
            self._curvature = key, self.task.objective.hessian(x)
        matrix = self._curvature[1]
        for limits, multiplier in zip(self.task.constraints, () if multipliers is None else multipliers, strict=False):
            if multiplier:
                matrix = matrix - multiplier * limits.objective.hessian(x)
        return matrix


def is_better(sample: Sample, other: Sample) -> bool:
    """Whether one point is a better answer than another: less violated, or as feasible and lower."""
    if max(sample.violation, FEASIBLE) != max(other.violation, FEASIBLE):
        return sample.violation < other.violation
    return sample.value < other.value


def norm(vector: Floats) -> float:
    """The Euclidean norm of a finite vector, without overflow on the way and at most the largest double."""
    return min(float(scipy.linalg.norm(vector, check_finite=False)), float(np.finfo(np.float64).max)) if len(vector) else 0.0


def _violation(value: float, rounding: float, terms: float, limits: Limits) -> float:
    """The distance of a constraint from its limits, beyond rounding, relative to the limit that it violates.

    Where that limit is 0, it is relative to the size of the constraint's terms.
    """
    if not (math.isfinite(value) and math.isfinite(rounding)):
        return math.inf
    limit = limits.lower if value < limits.lower else limits.upper
    apart = max(limits.lower - value, value - limits.upper) - rounding
    if apart <= 0.0:
        return 0.0
    size = abs(limit) or terms
    return min(apart / size, MOST_VIOLATED) if size > 0.0 else MOST_VIOLATED


def unbounded_text(objective: Objective, x: Floats, value: float) -> str:
    """The sentence for a function that falls without end."""
    k = int(np.argmax(np.abs(x)))
    where = f"{quote(objective.variables[k])} = {x[k]:.3g}" if len(x) else "the start"
    found = number_text(value) if not math.isfinite(value) else f"{value:.3g}"
    return (
        f"the function is not bounded below: its value is {found} at {where}. "
        "Give bounds or constraints within which it has a minimum"
    )
