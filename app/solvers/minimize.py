"""Minimization of an expression within bounds and under constraints, by SciPy's methods with exact derivatives.

Unless a method is asked for, the problem decides: `trust-exact` where nothing is constrained, `l-bfgs-b` within bounds, `slsqp`
under constraints, followed by `trust-constr` where that did not reach a minimum; with too many variables for matrices
`trust-ncg` or `l-bfgs-b`. Newton steps with the exact Hessian then finish the search to the last digit.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from app.engine.binding import Inputs
from app.engine.errors import EngineError, InvalidNode, NonFinite, Place, UnknownNode, quote
from app.engine.faults import Fault, Quantity, explain
from app.engine.graph import Graph, unknown_node
from app.engine.interruption import Checkpoint, never
from app.engine.points import Reduce
from app.engine.primitives import LEAF_CODE
from app.solvers import kkt, newton
from app.solvers import methods as scipy_methods
from app.solvers.errors import InvalidArgument
from app.solvers.methods import METHODS, Method
from app.solvers.newton import Verdict
from app.solvers.objective import Floats, Objective, is_list
from app.solvers.search import FEASIBLE, Controls, End, Iteration, Limits, Sample, Search, SearchEnded, Task, is_better

TOLERANCE = 1e-8
"""The default tolerance: the largest entry of the gradient that counts as 0."""
MIN_DEFAULT_ITERATIONS = 1000
DEFAULT_ITERATIONS_PER_VARIABLE = 20
L_BFGS_B_ITERATIONS = 200
"""After so many iterations of the default within bounds, Newton steps take over."""
SLSQP_VARIABLES = 100
"""The default with more variables is `trust-constr`, because `slsqp` solves a dense least-squares problem per iteration."""

Bounds = tuple[float | None, float | None]


@dataclass(frozen=True, slots=True)
class Constraint:
    """A graph whose output must be equal to `equals`, or else at least `lower` and at most `upper`. None: no limit."""

    graph: Graph
    equals: float | None = None
    lower: float | None = None
    upper: float | None = None


@dataclass(frozen=True, slots=True)
class MinimizeProblem:
    """What to minimize.

    Attributes:
        graph: its output is minimized.
        inputs: the numbers of the leaves that stay fixed. Lists are points, over which the output is reduced.
        initial: where each variable starts.
        bounds: the lower and the upper bound of some variables.
        constraints: what else must hold.
        reduce: how points are reduced.
    """

    graph: Graph
    initial: Mapping[str, float]
    inputs: Inputs = field(default_factory=dict)
    bounds: Mapping[str, Bounds] = field(default_factory=dict)
    constraints: Sequence[Constraint] = ()
    reduce: Literal["sum", "mean"] = "sum"


@dataclass(frozen=True, slots=True)
class MinimizeOptions:
    """How to minimize.

    Attributes:
        method: None for one that suits the problem.
        starts: how many searches to do, from different points.
        seed: what the points of the further searches are drawn with.
        tolerance: the largest entry of the gradient that counts as 0. If None, 1e-8, and Newton steps finish the search.
        max_iterations: of each search. If None, 20 per variable and at least 1,000.
        trajectory: whether to keep all iterations.
        max_variables: with more variables no matrix is formed.
        checkpoint: called often; may raise to abandon the work.
        out_of_time: whether to end with the best point so far.
    """

    method: Method | None = None
    starts: int = 1
    seed: int = 0
    tolerance: float | None = None
    max_iterations: int | None = None
    trajectory: bool = False
    max_variables: int = 1000
    checkpoint: Checkpoint = never
    out_of_time: Callable[[], bool] = bool


@dataclass(frozen=True, slots=True)
class Minimum:
    """The best point found.

    Attributes:
        point: the variables' numbers.
        value: the function's value there.
        gradients: its derivative by each variable.
        constraint_multipliers: one per constraint: the derivative of the function is the sum of the multipliers times those of
            the constraints and bounds. Positive at an active lower limit, negative at an active upper one, else 0.
        bound_multipliers: one per variable that has bounds.
        iterations: of all methods and searches.
        evaluations: points at which the function was evaluated.
        converged: whether the point is a minimum as far as derivatives can tell.
        method: the names of the methods that ran.
        message: why it ended.
        ended: what ended it early.
        trajectory: the iterations of the search that found the point, if they were to be kept.
    """

    point: dict[str, float]
    value: float
    gradients: dict[str, float]
    constraint_multipliers: list[float]
    bound_multipliers: dict[str, float]
    iterations: int
    evaluations: int
    converged: bool
    method: str
    message: str
    ended: End | None
    trajectory: list[Iteration]


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What one search has come to."""

    search: Search
    methods: tuple[str, ...]
    verdict: Verdict
    ended: End | None
    trajectory: list[Iteration]


@dataclass(frozen=True, slots=True)
class _Total:
    """How many searches there were, with their iterations and evaluations."""

    searches: int
    iterations: int
    evaluations: int

    def plus(self, search: Search) -> "_Total":
        return _Total(self.searches + 1, self.iterations + search.iterations, self.evaluations + search.evaluations)


@dataclass(frozen=True, slots=True)
class Plan:
    """A problem that has been checked: its graphs are bound, and finite at the start, of shape (n,)."""

    problem: MinimizeProblem
    options: MinimizeOptions
    task: Task
    start: Floats


def minimize(problem: MinimizeProblem, options: MinimizeOptions | None = None) -> Minimum:
    """Search for the minimum of a graph's output by some of its leaves, the variables.

    Raises what `plan_search` and `run_search` raise.
    """
    return run_search(plan_search(problem, options or MinimizeOptions()))


def plan_search(problem: MinimizeProblem, options: MinimizeOptions) -> Plan:
    """Check a problem.

    Raises:
        InvalidArgument, UnknownNode, InvalidNode, UnboundInput, ShapeMismatch: for a problem that makes no sense, with a place
            such as ("bounds", "x") or ("constraints", 0, "expression"), which a place in that graph may follow.
        NonFinite: where a function or its gradient is not finite at the start.
        SearchEnded: past the deadline.
    """
    task = _task(problem, options)
    start = np.clip(np.array(list(problem.initial.values()), np.float64), task.lower, task.upper)
    with np.errstate(all="ignore"):
        _check_finite(problem, options, task, start)
    return Plan(problem, options, task, start)


def run_search(plan: Plan, watch: Callable[[Iteration], None] | None = None) -> Minimum:
    """Search for the minimum. `watch` is called with each iteration.

    Raises:
        NotConverged: if the function is not bounded below.
        SearchEnded: past the deadline, if there is nothing to return.
    """
    with np.errstate(all="ignore"):
        return _run_all(plan, watch)


def _run_all(plan: Plan, watch: Callable[[Iteration], None] | None) -> Minimum:
    """All searches."""
    task, options = plan.task, plan.options
    best = _search(task, plan.start, options, watch)
    assert best is not None, "the start has been checked"
    total = _Total(1, best.search.iterations, best.search.evaluations)
    ended = best.ended
    for start in _further_starts(task, plan.start, options):
        if ended == "deadline":
            break
        try:
            outcome = _search(task, start, options, watch)
        except SearchEnded as end:
            ended = end.reason
            break
        if outcome is not None:
            total = total.plus(outcome.search)
            ended = outcome.ended
            if is_better(outcome.search.current, best.search.current):
                best = outcome
    return _minimum(plan, best, total, ended == "deadline")


# --- the task


def _task(problem: MinimizeProblem, options: MinimizeOptions) -> Task:
    """Check everything but the numbers at the start, and bind the graphs."""
    names = list(problem.initial)
    if not names:
        raise InvalidArgument("there is no variable; give each a number to start from", ("initial",))
    graphs = [problem.graph, *(constraint.graph for constraint in problem.constraints)]
    for name in names:
        if name in problem.inputs:
            raise InvalidArgument(f"{quote(name)} is in the inputs too; it is either fixed or a variable", ("initial", name))
        _check_name(name, graphs, ("initial", name))
    for name in problem.inputs:
        _check_name(name, graphs, ("inputs", name))
    lower, upper = _bounds(problem)
    pulse = _pulse(options)
    constraints = [_limits(problem, k, constraint, pulse) for k, constraint in enumerate(problem.constraints)]
    fixed = {name: given for name, given in problem.inputs.items() if name in problem.graph.index}
    objective = Objective(problem.graph, fixed, names, problem.reduce, pulse)
    task = Task(objective, lower, upper, constraints)
    _check_method(task, options)
    return task


def _pulse(options: MinimizeOptions) -> Checkpoint:
    """What is called often: the checkpoint, and the look at the clock, which ends a search with the best point so far."""

    def pulse() -> None:
        options.checkpoint()
        if options.out_of_time():
            raise SearchEnded("deadline")

    return pulse


def _check_name(name: str, graphs: Sequence[Graph], place: Place) -> None:
    """Raise UnknownNode for a name that no graph has, InvalidNode where it is an operation of the first."""
    if not any(name in graph.index for graph in graphs):
        raise unknown_node(name, graphs[0], place)
    node = graphs[0].index.get(name)
    if node is not None and graphs[0].wiring.opcode[node] != LEAF_CODE:
        op = graphs[0].nodes[node].op
        raise InvalidNode(f"{quote(name)} is the operation {op}; only a leaf can be given a number", place)


def _bounds(problem: MinimizeProblem) -> tuple[Floats, Floats]:
    """The bounds of all variables, infinite where there are none."""
    limits = np.full((2, len(problem.initial)), [[-math.inf], [math.inf]])
    places = {name: k for k, name in enumerate(problem.initial)}
    for name, (low, high) in problem.bounds.items():
        if name not in places:
            if name in problem.inputs:
                raise InvalidArgument(f"{quote(name)} is fixed by the inputs; only a variable has bounds", ("bounds", name))
            detail = f"there is no variable {quote(name)}; the variables are {', '.join(map(quote, list(places)[:8]))}"
            raise UnknownNode(detail, ("bounds", name))
        if low is not None and high is not None and low > high:
            raise InvalidArgument(f"the lower bound {low:g} is above the upper bound {high:g}", ("bounds", name))
        limits[:, places[name]] = -math.inf if low is None else low, math.inf if high is None else high
    return limits[0], limits[1]


def _limits(problem: MinimizeProblem, k: int, constraint: Constraint, pulse: Checkpoint) -> Limits:
    """A constraint, bound to the inputs. Raises for one that says nothing, or says it about points."""
    place: Place = ("constraints", k)
    low, high, equals = constraint.lower, constraint.upper, constraint.equals
    if equals is not None and (low is not None or high is not None):
        raise InvalidArgument("a constraint has either an equation or limits, not both", place)
    if equals is None and low is None and high is None:
        raise InvalidArgument("a constraint needs a number that it equals, or a lower or an upper limit", place)
    if low is not None and high is not None and low > high:
        raise InvalidArgument(f"the lower limit {low:g} is above the upper limit {high:g}", place)
    graph, inside = constraint.graph, (*place, "expression")
    for name in (*problem.initial, *problem.inputs):
        node = graph.index.get(name)
        if node is None:
            continue
        if graph.wiring.opcode[node] != LEAF_CODE:
            raise InvalidArgument(f"{quote(name)} has a number already, so the constraint cannot define it", inside)
        if is_list(problem.inputs.get(name, 0.0)):
            detail = f"{quote(name)} is a list; a constraint is one number, so it can use single numbers only"
            raise InvalidArgument(detail, inside)
    fixed = {name: given for name, given in problem.inputs.items() if name in graph.index}
    try:
        objective = Objective(graph, fixed, list(problem.initial), "sum", pulse)
    except EngineError as error:
        error.place = (*inside, *error.place)
        raise
    if equals is not None:
        return Limits(objective, equals, equals)
    return Limits(objective, -math.inf if low is None else low, math.inf if high is None else high)


def _check_method(task: Task, options: MinimizeOptions) -> None:
    """Raise InvalidArgument for a method that cannot do the task."""
    n, limit = len(task.lower), options.max_variables
    needs_matrices = METHODS[options.method].dense if options.method is not None else bool(task.constraints)
    if n > limit and needs_matrices:
        detail = f"there are {n} variables; a method that needs a matrix of them, squared, takes at most {limit}"
        raise InvalidArgument(detail, ("initial",))
    if options.method is None:
        return
    ability = METHODS[options.method]
    able = [name for name, row in METHODS.items() if row.bounds or not task.has_bounds]
    able = [name for name in able if METHODS[name].constraints or not task.constraints]
    if options.method not in able:
        what = "constraints" if task.constraints and not ability.constraints else "bounds"
        raise InvalidArgument(f"{options.method} cannot keep to {what}; {', '.join(able)} can", ("method",))


def needs_matrices(problem: MinimizeProblem, method: Method | None) -> bool:
    """Whether a problem can only be solved with matrices of n times n numbers."""
    return bool(problem.constraints) if method is None else METHODS[method].dense


def _check_finite(problem: MinimizeProblem, options: MinimizeOptions, task: Task, start: Floats) -> None:
    """Raise NonFinite, which says where the first function that is not finite at the start goes wrong."""
    for k, objective in enumerate([task.objective, *(row.objective for row in task.constraints)]):
        value, gradient = objective.value_and_gradient(start)
        if math.isfinite(value) and np.isfinite(gradient).all():
            continue
        fault = Fault(Quantity.VALUE, objective.graph.output, value)
        if math.isfinite(value):
            at = int(np.argmin(np.isfinite(gradient)))
            fault = Fault(Quantity.GRADIENT, objective.variables[at], float(gradient[at]))
        inputs: Mapping[str, Any] = objective.inputs_at(start)
        reduce: Reduce = "none" if k else problem.reduce
        error = explain(objective.graph, inputs, fault, reduce=reduce, checkpoint=options.checkpoint)
        place = ("constraints", k - 1, "expression", *error.place) if k else error.place
        raise NonFinite(f"at the start, {error.detail}", place)


def _further_starts(task: Task, first: Floats, options: MinimizeOptions) -> Iterator[Floats]:
    """Points drawn within the bounds if all are finite, else around the first."""
    draw = np.random.Generator(np.random.PCG64(options.seed))
    within = bool(np.isfinite(task.lower).all() and np.isfinite(task.upper).all())
    for _ in range(options.starts - 1):
        if within:
            part = draw.random(len(first))
            x = task.lower * (1.0 - part) + task.upper * part  # no difference, which might be too large for a double
        else:
            x = first + np.maximum(1.0, np.abs(first)) * draw.standard_normal(len(first))
        yield np.clip(x, task.lower, task.upper)


# --- one search


def _search(task: Task, start: Floats, options: MinimizeOptions, watch: Callable[[Iteration], None] | None) -> _Outcome | None:
    """A whole search from one start; None if a function is not finite there."""
    n = len(start)
    trajectory: list[Iteration] = []

    def iterated(iteration: Iteration) -> None:
        if options.trajectory:
            trajectory.append(iteration)
        if watch is not None:
            watch(iteration)

    most = options.max_iterations or max(MIN_DEFAULT_ITERATIONS, DEFAULT_ITERATIONS_PER_VARIABLE * n)
    controls = Controls(most, task.objective.checkpoint, iterated)
    search = Search(task, controls, start, n <= options.max_variables, options.tolerance is not None)
    begin = search.current
    if not begin.finite:
        return None
    methods: list[str] = []
    ended = None
    try:
        _run(search, options, methods)
    except SearchEnded as end:
        ended = end.reason
        search.current = search.best
    verdict = Verdict(False)
    try:
        if ended == "iterations":
            _look_ahead(search, begin)
        if ended != "deadline":
            verdict = _verdict(search, options)
    except SearchEnded as end:
        ended = end.reason
    return _Outcome(search, tuple(methods), verdict, ended, trajectory)


def _run(search: Search, options: MinimizeOptions, methods: list[str]) -> None:
    """Run one method after the other until one reaches a minimum, each finished by Newton steps."""
    tolerance = options.tolerance or TOLERANCE
    begin = search.current
    for method in _chain(search, options):
        if methods and not is_better(search.current, begin):
            search.current = begin
        methods.append(method)
        try:
            scipy_methods.run(method, search, tolerance, math.inf if options.method else _most(search))
        except SearchEnded as end:
            if end.reason != "stalled":
                raise
        if not search.task.constraints and is_better(search.best, search.current):
            search.current = search.best
        if options.tolerance is None:
            (kkt if search.task.constraints else newton).finish(search)
        if _verdict(search, options).converged:
            return
    if is_better(search.best, search.current):
        search.current = search.best
    _look_ahead(search, begin)


def _look_ahead(search: Search, begin: Sample) -> None:
    """Go on in the direction of the whole search, in ever longer steps, while it leads down. Raises NotConverged.

    Methods that build up a model step by step give up long before a value shows that a function is not bounded below.
    """
    here = search.current
    direction, length = here.x - begin.x, 1.0
    with np.errstate(all="ignore"):
        while np.isfinite(length * direction).all() and direction.any():
            length *= 2.0
            x = np.clip(begin.x + length * direction, search.task.lower, search.task.upper)
            there = search.sample(x) if np.isfinite(x).all() else here
            if not there.finite or there.violation > FEASIBLE or there.value >= here.value:
                return
            here = there


def _most(search: Search) -> float:
    """The most iterations of a method that the problem chose: with a matrix, Newton steps get further than `l-bfgs-b`."""
    return L_BFGS_B_ITERATIONS if search.dense and not search.task.constraints and search.task.has_bounds else math.inf


def _chain(search: Search, options: MinimizeOptions) -> tuple[Method, ...]:
    """The methods to try, one after the other."""
    task = search.task
    if options.method is not None:
        return (options.method,)
    if task.constraints:
        return ("slsqp", "trust-constr") if len(task.lower) <= SLSQP_VARIABLES else ("trust-constr",)
    if task.has_bounds:
        return ("l-bfgs-b",)
    return ("trust-exact",) if search.dense else ("trust-ncg",)


def _verdict(search: Search, options: MinimizeOptions) -> Verdict:
    tolerance = options.tolerance or TOLERANCE
    here = search.current
    if search.task.constraints:
        return kkt.judge(search, here, kkt.final_conditions(search, here), tolerance)
    return newton.judge(search, here, tolerance, options.tolerance is None)


# --- the answer


def _minimum(plan: Plan, best: _Outcome, total: _Total, is_late: bool) -> Minimum:
    problem, options = plan.problem, plan.options
    search, here = best.search, best.search.current
    given = problem.initial.values()
    moved = [name for name, number, x in zip(problem.initial, given, plan.start.tolist(), strict=True) if number != x]
    names = list(problem.initial)
    met = _final_conditions(search, here) if search.task.constraints or search.task.has_bounds else None
    bound_multipliers = {}
    if met is not None:
        bound_multipliers = {name: float(met.bounds[k]) + 0.0 for k, name in enumerate(names) if name in problem.bounds}
    return Minimum(
        point=dict(zip(names, here.x.tolist(), strict=True)),
        value=here.value,
        gradients=dict(zip(names, here.gradient.tolist(), strict=True)),
        constraint_multipliers=[] if met is None else (met.constraints + 0.0).tolist(),
        bound_multipliers=bound_multipliers,
        iterations=total.iterations,
        evaluations=total.evaluations,
        converged=best.verdict.converged and not (is_late and total.searches < options.starts),
        method=" + ".join(best.methods),
        message=_message(options, best, total, moved, is_late),
        ended="deadline" if is_late else best.ended,
        trajectory=best.trajectory,
    )


def _final_conditions(search: Search, here: Sample) -> kkt.Conditions:
    """The conditions at the answer, by what is known already if there is no time for second derivatives."""
    try:
        return kkt.final_conditions(search, here)
    except SearchEnded:
        return kkt.conditions(search, here, scale=search.scale_at(here, is_late=True))


def _message(options: MinimizeOptions, best: _Outcome, total: _Total, moved: Sequence[str], is_late: bool) -> str:
    """Why the search ended, in words."""
    search = best.search
    parts = []
    if moved:
        names = ", ".join(map(quote, moved[:8])) + (", ..." if len(moved) > 8 else "")
        parts.append(f"the start of {names} was outside its bounds and was moved to the nearest point inside")
    if best.verdict.converged:
        slope = newton.free_gradient(search, search.current)
        of = " of the variables at no bound" if search.task.has_bounds else ""
        what = f"no entry of the gradient{of} is larger than {slope:.2g}" if slope else f"the gradient{of} is 0"
        what = "the conditions for a minimum hold" if search.task.constraints else what
        what += f", but {best.verdict.reason}" if best.verdict.reason else ""
        is_early = is_late and total.searches < options.starts
        early = "not converged: the time limit was reached before the last start; in the best search so far, "
        parts.append(early + what if is_early else f"converged: {what}")
    else:
        parts.append("not converged: " + _reason(best))
    if search.newton_steps:
        parts.append(f"finished by {search.newton_steps} Newton step{'s' if search.newton_steps > 1 else ''}")
    if options.starts > 1:
        only = "the only search that was done"
        parts.append(f"the best of {total.searches} searches" if total.searches > 1 else only)
        missing = options.starts - total.searches
        if missing:
            why = "the time limit was reached" if is_late else "a function is not finite there"
            parts.append(
                f"{missing} of the {options.starts} starts {'was' if missing == 1 else 'were'} not used, because {why}"
            )
    return "; ".join(parts)


def _reason(best: _Outcome) -> str:
    search = best.search
    if best.ended == "deadline":
        return f"the time limit was reached after {search.iterations} iterations"
    reason = best.verdict.reason
    if best.ended == "iterations":
        return f"the limit of {search.controls.max_iterations} iterations was reached, and {reason}"
    if search.left_domain:
        return f"{reason}; the search met the edge of the function's domain"
    hint = "" if search.task.constraints else "; the function may have a kink there"
    return f"no step gets any lower, yet {reason}{hint}"
