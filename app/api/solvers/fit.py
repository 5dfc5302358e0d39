"""POST /v1/fit on the wire: its models, limits and estimate, and the translation to `app.solvers.fit`."""

import math
import time
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BeforeValidator, Field, GetPydanticSchema, SkipValidation, TypeAdapter
from pydantic_core import PydanticCustomError, core_schema

from app.api.errors import problem_for
from app.api.expressions.expression import Expression, graph_of
from app.api.expressions.work import (
    BYTES_PER_NODE,
    BYTES_PER_NUMBER,
    SECONDS_PER_INSTRUCTION,
    SECONDS_PER_NUMBER,
    check_numbers,
    count_nodes,
    reading_seconds,
)
from app.engine.errors import EngineError
from app.engine.graph import Graph
from app.engine.large_json import LargeObject
from app.service.execution import Job
from app.service.models import (
    ABSENT,
    FLOAT64_ARRAY,
    LIST_SCHEMA,
    NUMBER_SCHEMA,
    ComputationRequest,
    Floats,
    Handler,
    Intervals,
    NamedItems,
    Numbers,
    PositiveInteger,
    RequestModel,
    ResponseModel,
    Results,
    Seed,
    beginning,
    component,
    found_text,
    is_number,
    nan_for_null,
    whole,
)
from app.service.problems import problem_at, too_large
from app.solvers.fit import Fit, fit
from app.solvers.fit_problem import FitProblem, Parameter
from app.solvers.least_squares import Loss, Progress, Watch

EVALUATIONS = 100
"""How many evaluations of the curve and its Jacobian a fit takes, roughly."""
SECONDS_PER_FIT = 5e-3
"""The least that a fit takes."""
SECONDS_TO_ANSWER = 0.05
"""What a search leaves of its time for its answer, besides the precise evaluations."""
SECONDS_PER_PRECISE_INSTRUCTION = 4e-7
"""One node at one row in all evaluations with twice the digits at the end of a search."""
GRACE_SECONDS = 0.3
"""How long an answer may take after the time limit."""
BYTES_PER_ENTRY = 100
"""One entry of the Jacobian, with the copies that a step needs."""

NUMBERS = TypeAdapter[float | Floats](Numbers)


def _column(value: Any, handler: Handler) -> str | float | Floats:
    return value if isinstance(value, str) else NUMBERS.validate_python(value)


ColumnOrNumbers = Annotated[
    str | float | Floats,
    GetPydanticSchema(
        lambda source, handler: core_schema.no_info_wrap_validator_function(_column, core_schema.any_schema()),
        lambda source, handler: {
            "oneOf": [
                {"type": "string", "title": "ColumnName", "description": "The name of a column of `data`"},
                {**NUMBER_SCHEMA},
                {**LIST_SCHEMA, "items": {**NUMBER_SCHEMA}},
                handler(FLOAT64_ARRAY.core_schema),
            ],
            **component("ColumnOrNumbers", "The name of a column, a number for all rows, or a list with one number per row."),
        },
    ),
]
"""The name of a column, one number for all rows, or a list with one number per row."""


class FitParameter(RequestModel):
    """Where the search for a parameter starts, and its bounds."""

    OTHER_NAMES = {
        **dict.fromkeys(("guess", "init", "initial", "p0", "value"), "start"),
        **dict.fromkeys(("lower", "lb", "minimum"), "min"),
        **dict.fromkeys(("upper", "ub", "maximum"), "max"),
        **dict.fromkeys(("fixed", "vary"), "Give a column of 'data' one number for what stays fixed."),
    }

    start: float = Field(description="Where the search starts", examples=[0.0001])
    min: float | None = Field(None, description="The lower bound; default: none")
    max: float | None = Field(None, description="The upper bound; default: none")


PARAMETER = TypeAdapter(FitParameter)
START = TypeAdapter(Annotated[float, Field(strict=True, allow_inf_nan=False)])


def _parameter(value: Any, handler: Handler) -> FitParameter:
    if is_number(value):
        return FitParameter(start=START.validate_python(value))
    if not isinstance(value, dict | LargeObject):
        found = {"found": found_text(value)}
        raise PydanticCustomError(
            "parameter", 'expected a number or an object with "start", "min" and "max", found {found}', found
        )
    return PARAMETER.validate_python(value)


StartOrParameter = Annotated[
    FitParameter,
    GetPydanticSchema(
        lambda source, handler: core_schema.no_info_wrap_validator_function(_parameter, core_schema.any_schema()),
        lambda schema, handler: {
            "oneOf": [{**NUMBER_SCHEMA}, handler(PARAMETER.core_schema)],
            **component("StartOrParameter", "Where the search for a parameter starts, or that with bounds."),
        },
    ),
]


def _bounds(value: Any, handler: Handler) -> tuple[float, float]:
    value = beginning(value)
    if not isinstance(value, list) or len(value) != 2:
        count = f"a list of {len(value)}" if isinstance(value, list) else found_text(value)
        raise PydanticCustomError("bounds", "expected [lower, upper], found {found}", {"found": count})
    ends = []
    for k, (end, none) in enumerate(zip(value, (-math.inf, math.inf), strict=True)):
        if end is not None and not is_number(end):
            found = {"found": found_text(end), "place": (k,)}
            raise PydanticCustomError("bounds", "expected a number or null, found {found}", found)
        ends.append(none if end is None else START.validate_python(end))
    return ends[0], ends[1]


Bounds = Annotated[
    tuple[float, float],
    GetPydanticSchema(
        lambda source, handler: core_schema.no_info_wrap_validator_function(_bounds, core_schema.any_schema()),
        lambda schema, handler: {"type": "array", "items": {"type": ["number", "null"]}, "minItems": 2, "maxItems": 2},
    ),
]
"""A lower and an upper bound, either of which may be null."""


Starts = Annotated[int, Field(ge=1, le=10_000), BeforeValidator(whole)]
"""How many searches to do; it may be written 5 or 5.0."""


class FitRequest(ComputationRequest):
    """A curve, data, and what to report of the fit."""

    OTHER_NAMES = {
        **dict.fromkeys(("curve", "expr", "f", "formula", "func", "function", "model"), "expression"),
        **dict.fromkeys(("guess", "initial", "p0", "params", "start"), "parameters"),
        **dict.fromkeys(("dependent", "response", "y", "ydata"), "target"),
        **dict.fromkeys(("inputs", "x", "xdata"), "data"),
        **dict.fromkeys(("errors", "u", "yerr"), "sigma"),
        **dict.fromkeys(("confidence", "confidence_level"), "level"),
        **dict.fromkeys(("maxiter", "max_iter", "maxfev"), "max_iterations"),
    }

    expression: Expression
    data: NamedItems[Numbers] = Field(
        description="Columns by name: lists of one length, or one number for all rows", examples=[{"x": [1, 2], "y": [2, 4]}]
    )
    target: ColumnOrNumbers = Field(description="What the curve is fitted to: the name of a column, or a list")
    parameters: NamedItems[StartOrParameter] = Field(
        description="Where the search starts, by parameter, perhaps with bounds", examples=[{"a": 1.0}]
    )
    bounds: NamedItems[Bounds] = Field(
        default_factory=dict, description="[lower, upper] by parameter; null for none", examples=[{"a": [0.0, None]}]
    )
    sigma: ColumnOrNumbers | None = Field(
        None, description="The standard deviation of the target, one for all rows or one per row"
    )
    absolute_sigma: bool = Field(
        False,
        description="Whether sigma (or weights = 1/sigma**2) is known, and not only up to a factor; if not, standard errors "
        "are scaled by the spread of the residuals",
    )
    weights: ColumnOrNumbers | None = Field(None, description="What the squares of the residuals are multiplied by")
    loss: Loss = Field("linear", description="SciPy's name of a function of the squared residuals, for data with outliers")
    loss_scale: float = Field(1.0, gt=0.0, description="The size of a residual from which the loss grows more slowly")
    level: float = Field(0.95, gt=0.0, lt=1.0, description="The probability that intervals and bands cover")
    intervals: Literal["wald", "profile", "none"] = Field(
        "wald", description="Symmetric intervals by the t distribution, or exact ones by profile likelihood, or none"
    )
    derived: NamedItems[Expression] = Field(
        default_factory=dict, description="Further quantities, as expressions of the parameters"
    )
    predict: NamedItems[Numbers] | None = Field(
        None, description="Columns of rows at which the curve and its bands are wanted; `sigma` among them is that of the rows"
    )
    influence: bool = Field(False, description="Whether to include the derivative of each parameter by each row of the target")
    starts: Starts = Field(1, description="How many starts to try; all but the first are drawn")
    seed: Seed = Field(0, description="The seed of the starts")
    max_iterations: PositiveInteger | None = Field(
        None, description="The most iterations from each start; default: as many as it takes"
    )


Interval = Annotated[
    list[float | None],
    Field(min_length=2, max_length=2, description="The lower and the upper end; null for an end that does not exist"),
]
NumberOrNull = float | None


class DerivedQuantity(ResponseModel):
    """A quantity that follows from the parameters."""

    value: float = Field(description="Its value at the fitted parameters")
    standard_error: NumberOrNull = Field(description="Its standard error by the delta method; null where there is none")


class FitPredictions(ResponseModel):
    """The curve at the rows of `predict`, with its bands."""

    value: Results = Field(description="The fitted curve")
    confidence: Intervals = Field(description="Where the curve is: [lower, upper] per row")
    prediction: Intervals = Field(description="Where a further observation is")


class FitResponse(ResponseModel):
    """A fit. Numbers that do not exist are null, and `message` says why."""

    parameters: dict[str, float] = Field(description="The fitted numbers")
    standard_errors: dict[str, NumberOrNull] = Field(description="Square roots of the variances in `covariance`")
    intervals: SkipValidation[dict[str, Interval]] = Field(
        ABSENT, description="Confidence intervals of the parameters at `level`"
    )
    covariance: SkipValidation[dict[str, dict[str, NumberOrNull]]] = Field(description="The covariance of each two parameters")
    correlation: SkipValidation[dict[str, dict[str, NumberOrNull]]] = Field(
        description="The correlation of each two parameters"
    )
    residual_sum_of_squares: float = Field(description="Weighted")
    residual_standard_deviation: NumberOrNull = Field(description="Weighted; null without degrees of freedom")
    degrees_of_freedom: int = Field(description="Rows with a weight minus parameters that the data determine")
    r_squared: NumberOrNull = Field(description="1 minus the sum of squares over that around the weighted mean of the target")
    aic: NumberOrNull = Field(description="As R has it: of the Gaussian likelihood, with the variance as one more parameter")
    bic: NumberOrNull = Field(description="As `aic`")
    residuals: Results = Field(description="Observed minus fitted, unweighted")
    derived: SkipValidation[dict[str, DerivedQuantity]] = Field(ABSENT, description="With `derived`")
    predictions: FitPredictions = Field(ABSENT, description="With `predict`")
    influence: SkipValidation[dict[str, Results]] = Field(
        ABSENT, description="With `influence`: the derivative of each parameter by each row of the target"
    )
    iterations: int = Field(description="Iterations of the search that found the minimum")
    evaluations: int = Field(description="How often the curve and its Jacobian were evaluated")
    converged: bool = Field(description="Whether the search reached a minimum, from all starts")
    message: str = Field(description="How the search ended, and why numbers are null")


class FitProgress(ResponseModel):
    """The progress of a search."""

    iteration: int = Field(description="How many iterations are done")
    value: float = Field(description="The sum of squares, or what the loss makes of it")
    gradient_norm: float = Field(description="The Euclidean norm of its gradient by the parameters")


Events = Iterator[tuple[str, FitProgress | FitResponse]]


# --- limits


def estimate_fit(request: FitRequest) -> float:
    """Estimated run time in seconds."""
    nodes, parameters, rows = count_nodes(request.expression), len(request.parameters), _rows(request)
    each = 4.0 * SECONDS_PER_INSTRUCTION * nodes * rows + SECONDS_PER_NUMBER * rows * parameters
    return reading_seconds(request.expression) + SECONDS_PER_FIT + EVALUATIONS * request.starts * each


def _rows(request: FitRequest) -> int:
    """The length of the longest list."""
    columns = [*request.data.values(), request.target, *(request.predict or {}).values()]
    return max((len(column) for column in columns if isinstance(column, np.ndarray)), default=1)


def _check(request: FitRequest, graph: Graph, job: Job) -> None:
    """Raise Problem where the request exceeds a limit, else hold the memory that it takes."""
    settings = job.settings
    nodes, parameters, rows = len(graph.nodes), len(request.parameters), _rows(request)
    job.facts["nodes"], job.facts["points"] = nodes, rows
    if rows > settings.max_points:
        raise too_large(f"there are {rows:,} rows", settings.max_points, "max_points", ("data",))
    work = nodes * rows * 2 * (1 + parameters) + rows * parameters**2
    if work > settings.max_work:
        detail = f"{nodes:,} nodes, {rows:,} rows and {parameters:,} parameters are {work:,} steps of work for one evaluation"
        raise too_large(detail, settings.max_work, "max_work")
    numbers = rows * (1 + 5 * (request.predict is not None) + parameters * request.influence) + 2 * parameters**2
    check_numbers(job, max(numbers, rows * parameters))
    entries = rows * (parameters + 8) + parameters**2
    job.reserve(BYTES_PER_NODE * nodes + BYTES_PER_NUMBER * numbers + BYTES_PER_ENTRY * entries)


# --- translation


def prepare(request: FitRequest, job: Job) -> FitProblem:
    """Read a request. Raises Problem for an expression that is invalid, and where the request exceeds a limit."""
    graph = graph_of(request.expression, job)
    _check(request, graph, job)
    derived = {name: graph_of(text, job, ("derived", name)) for name, text in request.derived.items()}
    predict = None if request.predict is None else dict(request.predict)
    is_column = "sigma" in graph.leaves and "sigma" not in request.parameters
    return FitProblem(
        graph=graph,
        data=request.data,
        target=request.target,
        parameters=_parameters(request),
        sigma=request.sigma,
        absolute_sigma=request.absolute_sigma,
        weights=request.weights,
        loss=request.loss,
        loss_scale=request.loss_scale,
        level=request.level,
        intervals=request.intervals,
        derived=derived,
        predict=predict,
        predict_sigma=None if predict is None or is_column else predict.pop("sigma", None),
        influence=request.influence,
        starts=request.starts,
        seed=request.seed,
        max_iterations=request.max_iterations,
    )


def run(request: FitRequest, given: FitProblem, job: Job, progress: Progress | None = None) -> FitResponse:
    """Do what a request asks for. `progress` is called after each iteration. Raises Problem."""
    return _response(given, solve(request, given, job, progress))


def solve(
    request: FitRequest,
    given: FitProblem,
    job: Job,
    progress: Progress | None = None,
    seconds_to_answer: float = SECONDS_TO_ANSWER,
) -> Fit:
    """The fit of a request, which ends so many seconds before its deadline. Raises Problem."""
    to_answer = seconds_to_answer + SECONDS_PER_PRECISE_INSTRUCTION * len(given.graph.nodes) * _rows(request)
    watch = Watch(progress, lambda: time.perf_counter() > job.deadline - to_answer)

    def check() -> None:
        job.check_client()
        if time.perf_counter() > job.deadline + GRACE_SECONDS:  # in an evaluation that takes longer than there is time
            raise job.deadline_exceeded()

    try:
        return fit(given, watch=watch, checkpoint=check)
    except EngineError as error:
        raise problem_for(error, request.expression, nulls_allowed=False) from None


def _parameters(request: FitRequest) -> Mapping[str, Parameter]:
    """The parameters with their bounds. Raises Problem for one that is bounded twice, and for bounds of something else."""
    found = {}
    for name, parameter in request.parameters.items():
        lower, upper = (
            (-math.inf if parameter.min is None else parameter.min),
            (math.inf if parameter.max is None else parameter.max),
        )
        if name in request.bounds:
            if parameter.min is not None or parameter.max is not None:
                raise problem_at("invalid-request", ("bounds", name), "the parameter has bounds of its own; give them once")
            lower, upper = request.bounds[name]
            if lower > upper:
                detail = f"the lower bound {lower!r} is above the upper bound {upper!r}"
                raise problem_at("invalid-request", ("bounds", name), detail)
        found[name] = Parameter(parameter.start, lower, upper)
    for name in request.bounds:
        if name not in found:
            raise problem_at("unknown-node", ("bounds", name), f"there is no parameter {name[:60]!r}")
    return found


def _response(given: FitProblem, found: Fit) -> FitResponse:
    names = list(given.parameters)
    optional: dict[str, Any] = {}
    if found.intervals is not None:
        optional["intervals"] = {name: [_number(end) for end in ends] for name, ends in found.intervals.items()}
    if given.derived:
        optional["derived"] = {
            name: DerivedQuantity(value=q.value, standard_error=_number(q.standard_error)) for name, q in found.derived.items()
        }
    if found.predictions is not None:
        bands = found.predictions
        optional["predictions"] = FitPredictions(
            value=nan_for_null(bands.value),
            confidence=nan_for_null(bands.confidence),
            prediction=nan_for_null(bands.prediction),
        )
    if found.influence is not None:
        optional["influence"] = {name: nan_for_null(column) for name, column in found.influence.items()}
    return FitResponse(
        parameters=found.parameters,
        standard_errors={name: _number(error) for name, error in found.standard_errors.items()},
        covariance=_matrix(names, found.covariance),
        correlation=_matrix(names, found.correlation),
        residual_sum_of_squares=found.quality.residual_sum_of_squares,
        residual_standard_deviation=_number(found.quality.residual_standard_deviation),
        degrees_of_freedom=found.degrees_of_freedom,
        r_squared=_number(found.quality.r_squared),
        aic=_number(found.quality.aic),
        bic=_number(found.quality.bic),
        residuals=found.residuals,
        iterations=found.iterations,
        evaluations=found.evaluations,
        converged=found.converged,
        message=found.message,
        **optional,
    )


def _number(number: float) -> float | None:
    return number if math.isfinite(number) else None


def _matrix(names: list[str], matrix: Floats) -> dict[str, dict[str, float | None]]:
    return {
        row: {name: _number(x) for name, x in zip(names, numbers, strict=True)}
        for row, numbers in zip(names, matrix.tolist(), strict=True)
    }
