"""POST /v1/minimize on the wire: its models, the translation to `app.solvers.minimize`, its limits and its cost."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
from pydantic import Field, SkipValidation

from app.api.errors import KIND_OF, OF_THE_EXPRESSION, problem_for
from app.api.expressions import work
from app.api.expressions.expression import AnyExpression, Expression, ExpressionGraph, graph_of
from app.api.expressions.models import EXPRESSION_NAMES, Bindings
from app.api.solvers.fit import Bounds, Starts
from app.engine.errors import EngineError, NonFinite, UnboundInput
from app.engine.graph import Graph
from app.service.execution import Job
from app.service.models import ABSENT, ComputationRequest, Items, NamedItems, PositiveInteger, RequestModel, ResponseModel, Seed
from app.service.problems import FieldError, Problem, problem_at, too_large
from app.solvers.methods import Method
from app.solvers.minimize import (
    DEFAULT_ITERATIONS_PER_VARIABLE,
    MIN_DEFAULT_ITERATIONS,
    Constraint,
    MinimizeOptions,
    MinimizeProblem,
    Minimum,
    Plan,
    needs_matrices,
    plan_search,
    run_search,
)
from app.solvers.objective import MOST_SUMS
from app.solvers.search import Iteration, SearchEnded

SECONDS_PER_ITERATION = 3e-4
"""One iteration of SciPy's methods, besides the functions."""
SECONDS_PER_CUBE = 1e-9
"""One entry of a matrix of n times n numbers, factorized, for each of n columns."""
EXPECTED_ITERATIONS = 50
SECONDS_TO_ANSWER = 0.01
"""What a search leaves of its time for its answer."""
BYTES_PER_ENTRY = 200
"""One entry of a matrix of n times n numbers, in all matrices of a method and of an exact step."""
BYTES_PER_SEARCH = 100_000
SAMPLES_PER_SEARCH = 30
"""How many vectors per function a search remembers, and its methods with it."""
BYTES_PER_VALUE = 40
"""One number of a trajectory, as text and in a table."""


class MinimizeConstraint(RequestModel):
    """What must hold at the minimum: an expression equals a number, or lies between two."""

    OTHER_NAMES = {
        **dict.fromkeys(("expr", "fun", "function", "g"), "expression"),
        **dict.fromkeys(("eq", "value"), "equals"),
        **dict.fromkeys(("lb", "lower"), "min"),
        **dict.fromkeys(("ub", "upper"), "max"),
        "type": 'An equality has "equals": 0, an inequality "min": 0 or "max": 0.',
    }

    expression: Expression
    equals: float | None = Field(None, description="What the expression must equal")
    min: float | None = Field(None, description="The lowest value allowed")
    max: float | None = Field(None, description="The highest value allowed")


class MinimizeRequest(ComputationRequest):
    """An expression to minimize."""

    OTHER_NAMES = {
        **EXPRESSION_NAMES,
        **dict.fromkeys(("guess", "initial_guess", "start", "variables", "vars", "x0"), "initial"),
        **dict.fromkeys(("maxiter", "max_iter", "steps"), "max_iterations"),
        **dict.fromkeys(("algorithm", "optimizer", "solver"), "method"),
        **dict.fromkeys(("maximise", "maximize"), "Minimize the negative of the expression, and change the minimum's sign."),
        "constants": "inputs",
        "tol": "tolerance",
    }

    expression: Expression
    inputs: Bindings = Field(
        default_factory=dict,
        description="Numbers for leaves that stay fixed, by id. Lists are points, over which the expression is summed.",
    )
    initial: NamedItems[float] = Field(
        description="The variables, by id, and the numbers that the search starts from", examples=[{"x": 0.0}]
    )
    method: Method | None = Field(None, description="A method of SciPy; default: one that suits the problem, or several")
    bounds: NamedItems[Bounds] = Field(
        default_factory=dict,
        description="The lower and the upper bound of a variable, null for none. They hold at every evaluation.",
        examples=[{"x": [0.0, None]}],
    )
    constraints: Items[MinimizeConstraint] = Field([], description="What must hold at the minimum")
    reduce: Literal["sum", "mean"] = Field("sum", description="Whether lists in `inputs` mean a sum over points, or a mean")
    starts: Starts = Field(
        1,
        description="How many searches to do. The first starts from `initial`, the others from points drawn within the bounds, "
        "if all variables have both, and else around `initial`.",
    )
    seed: Seed = Field(0, description="The seed for the points of further starts")
    tolerance: float | None = Field(
        None,
        gt=0.0,
        description="The largest entry of the gradient that counts as 0. Default: 1e-8, after which Newton steps finish the "
        "search to the last digit; with a tolerance of your own there are none.",
    )
    max_iterations: PositiveInteger | None = Field(
        None, description="The most iterations of a search; default: 20 per variable, at least 1,000"
    )
    trajectory: bool = Field(False, description="Whether to include all iterations")


class MinimizeMultipliers(ResponseModel):
    """The gradient of the function is the sum of the multipliers times the gradients of the constraints and bounds.

    A multiplier is positive at an active lower limit, negative at an active upper one, and 0 where neither is active.
    """

    constraints: list[float] = Field(description="One number per constraint")
    bounds: dict[str, float] = Field(description="One number per variable in `bounds`")


class MinimizeIteration(ResponseModel):
    """One iteration of a search. Iteration 0 is the start."""

    iteration: int
    point: SkipValidation[dict[str, float]] = Field(ABSENT, description="The variables' numbers; absent in progress events")
    value: float
    gradient_norm: float = Field(description="The Euclidean norm of the function's gradient")


class MinimizeResponse(ResponseModel):
    """The minimum that was found, and how."""

    minimum: SkipValidation[dict[str, float]] = Field(description="The variables' numbers at the minimum")
    value: float = Field(description="The value of the expression there")
    gradients: SkipValidation[dict[str, float]] = Field(description="Its derivative by each variable there")
    multipliers: MinimizeMultipliers = Field(ABSENT, description="Present where the request has bounds or constraints")
    iterations: int = Field(description="Iterations of all methods, from all starts")
    evaluations: int = Field(description="Points at which the expression was evaluated, with its gradient")
    converged: bool = Field(description="Whether this is a minimum, as far as first and second derivatives tell")
    method: str = Field(description="What ran, in order, joined by ` + `", examples=["trust-exact"])
    message: str = Field(description="Why the search ended")
    trajectory: SkipValidation[list[MinimizeIteration]] = Field(
        ABSENT, description="The iterations of the search that found the minimum"
    )


Events = Iterator[tuple[str, MinimizeIteration | MinimizeResponse]]


def estimate_seconds(request: MinimizeRequest) -> float:
    """Estimated run time in seconds of a search, or of several."""
    n = len(request.initial)
    points = max((len(given) for given in request.inputs.values() if isinstance(given, np.ndarray)), default=1)
    expressions = [request.expression, *(constraint.expression for constraint in request.constraints)]
    walk = work.SECONDS_PER_INSTRUCTION * sum(map(work.count_nodes, expressions)) * points
    iteration = SECONDS_PER_ITERATION + 4.0 * walk * (1 + n) + SECONDS_PER_CUBE * min(n, 1000) ** 3
    reading = sum(map(work.reading_seconds, expressions))
    return reading + request.starts * (request.max_iterations or EXPECTED_ITERATIONS) * iteration


def prepare(request: MinimizeRequest, job: Job) -> Plan:
    """Check a request. Raises Problem."""
    problem = _problem(request, job)
    _check(request, problem, job)
    options = MinimizeOptions(
        method=request.method,
        starts=request.starts,
        seed=request.seed,
        tolerance=request.tolerance,
        max_iterations=request.max_iterations,
        trajectory=request.trajectory,
        max_variables=job.settings.max_variables,
        checkpoint=job.check_client,
        out_of_time=lambda: time.perf_counter() > job.deadline - SECONDS_TO_ANSWER,
    )
    with _places(request):
        try:
            return plan_search(problem, options)
        except SearchEnded:
            raise job.deadline_exceeded() from None


def run(request: MinimizeRequest, plan: Plan, job: Job, watch: Callable[[Iteration], None] | None = None) -> MinimizeResponse:
    """Do what a request that has been checked asks for. Raises Problem."""
    with _places(request):
        try:
            found = run_search(plan, watch)
        except SearchEnded:
            raise job.deadline_exceeded() from None
    if found.ended == "deadline" and not found.iterations:
        raise job.deadline_exceeded()  # sent again, it would get no further
    return _response(request, found)


def progress(iteration: Iteration) -> MinimizeIteration:
    """An iteration as a progress event has it."""
    return MinimizeIteration(iteration=iteration.iteration, value=iteration.value, gradient_norm=iteration.gradient_norm)


def _problem(request: MinimizeRequest, job: Job) -> MinimizeProblem:
    constraints = []
    for k, constraint in enumerate(request.constraints):
        graph = graph_of(constraint.expression, job, ("constraints", k, "expression"))
        constraints.append(Constraint(graph, constraint.equals, constraint.min, constraint.max))
    return MinimizeProblem(
        graph=graph_of(request.expression, job),
        initial=request.initial,
        inputs=request.inputs,
        bounds=request.bounds,
        constraints=constraints,
        reduce=request.reduce,
    )


def _check(request: MinimizeRequest, problem: MinimizeProblem, job: Job) -> None:
    """Raise Problem where a search exceeds a limit, else hold the memory that it takes."""
    n, m, limit = len(request.initial), len(request.constraints), job.settings.max_variables
    for count, what in ((n, "variables"), (m, "constraints")):
        if count > limit and needs_matrices(problem, request.method):
            place = ("initial",) if what == "variables" else ("constraints",)
            name = request.method or "a search with constraints"
            detail = f"there are {count:,} {what}, and {name} needs matrices of that size"
            raise too_large(detail, limit, "max_variables", place)
    is_dense = n <= limit
    passes = 4 + 2 * n * is_dense
    work.check(job, problem.graph, passes, 0, ("inputs", request.inputs))
    rows: list[Graph] = [constraint.graph for constraint in problem.constraints]
    nodes = sum(len(graph.nodes) for graph in rows)
    most = request.max_iterations or max(MIN_DEFAULT_ITERATIONS, DEFAULT_ITERATIONS_PER_VARIABLE * n)
    numbers = (2 + request.trajectory * (most + 1)) * (n + 2)
    if numbers > job.settings.max_numbers and request.trajectory:
        detail = f"the trajectory may have {numbers:,} numbers"
        raise too_large(detail, job.settings.max_numbers, "max_numbers", ("trajectory",))
    work.check_numbers(job, numbers)
    held = BYTES_PER_ENTRY * (n * n * is_dense + m * n) + 8 * SAMPLES_PER_SEARCH * (1 + m) * n + work.BYTES_PER_NODE * nodes
    lists = any(isinstance(given, np.ndarray) for given in request.inputs.values())
    sums = work.BYTES_PER_SUM * min(1 + n + n * n * is_dense, MOST_SUMS + n) if lists else 0
    job.reserve_more(BYTES_PER_SEARCH + held + sums + BYTES_PER_VALUE * numbers)


@contextmanager
def _places(request: MinimizeRequest) -> Iterator[None]:
    """Turn the solver's errors into problems at their places in the request."""
    try:
        yield
    except EngineError as error:
        raise _problem_of(error, request) from None


def _problem_of(error: EngineError, request: MinimizeRequest) -> Problem:
    expression: AnyExpression = request.expression
    path: tuple[str | int, ...] = ("expression",)
    if error.place[:1] == ("constraints",) and len(error.place) > 2:
        k = int(error.place[1])
        expression, path = request.constraints[k].expression, error.place[:3]
        error.place = error.place[3:]
        if not error.place:
            return problem_at(KIND_OF[type(error)], path, error.detail)
    if isinstance(error, NonFinite):  # in this answer no number can be null
        place = error.place if error.place[:1] and error.place[0] in OF_THE_EXPRESSION else ()
        return problem_at("non-finite", (*path, *place) if isinstance(expression, ExpressionGraph) else path, error.detail)
    problem = problem_for(error, expression, path)
    if isinstance(error, UnboundInput):  # the advice of other endpoints is half of what can be done here
        detail = f'{error.detail}; add it to "initial", as a variable, or to "inputs"'
        return Problem("unbound-input", detail, [FieldError(pointer=at.pointer, detail=detail) for at in problem.errors])
    return problem


def _response(request: MinimizeRequest, found: Minimum) -> MinimizeResponse:
    optional: dict[str, Any] = {}
    if request.bounds or request.constraints:
        optional["multipliers"] = MinimizeMultipliers(constraints=found.constraint_multipliers, bounds=found.bound_multipliers)
    if request.trajectory:
        names = list(request.initial)
        optional["trajectory"] = [
            MinimizeIteration(
                iteration=row.iteration,
                point=dict(zip(names, row.x.tolist(), strict=True)),
                value=row.value,
                gradient_norm=row.gradient_norm,
            )
            for row in found.trajectory
        ]
    return MinimizeResponse(
        minimum=found.point,
        value=found.value,
        gradients=found.gradients,
        iterations=found.iterations,
        evaluations=found.evaluations,
        converged=found.converged,
        method=found.method,
        message=found.message,
        **optional,
    )
