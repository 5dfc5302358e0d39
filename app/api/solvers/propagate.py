"""POST /v1/propagate on the wire: its models, limits and estimate, and the translation to `app.solvers.propagate`."""

import math
from typing import Annotated, Any, Literal

from pydantic import Field, GetPydanticSchema, SkipValidation, TypeAdapter
from pydantic_core import PydanticCustomError, SchemaValidator, core_schema

from app.api.errors import located
from app.api.expressions.expression import Expression, graph_of, with_outputs
from app.api.expressions.work import (
    BYTES_PER_NODE,
    BYTES_PER_NUMBER,
    BYTES_PER_ROW,
    SECONDS_PER_INSTRUCTION,
    SECONDS_PER_NUMBER,
    check_numbers,
    count_nodes,
    reading_seconds,
)
from app.engine.graph import Graph
from app.engine.interruption import checked
from app.engine.large_json import LargeObject
from app.service.execution import Job
from app.service.models import (
    ABSENT,
    FLOAT,
    NUMBER_SCHEMA,
    ComputationRequest,
    Handler,
    Items,
    NamedItems,
    RequestModel,
    ResponseModel,
    Seed,
    Vector,
    WholeNumber,
    beginning,
    component,
    found_text,
    is_number,
    large_fields,
)
from app.service.problems import too_large
from app.solvers.distributions import Estimate, bounded, from_readings, measured
from app.solvers.monte_carlo import Sampling, Simulation
from app.solvers.propagate import PropagateOptions, Propagation, Result
from app.solvers.propagate import propagate as propagate_uncertainty

SECONDS_PER_DRAW = 4e-8
"""One random number of an input."""
SECONDS_PER_SAMPLE = 2e-7
"""One sample of an output, sorted and summed up."""
SECONDS_PER_RULE = 2e-6
"""One node of a derivative's graph, made and recorded."""
NODES_PER_RULE = 16
"""The most nodes of a derivative's graph for one argument of a node, on average."""
BYTES_PER_SAMPLE = 40
"""One sample of an output, with copies."""
BYTES_PER_BLOCK = 1 << 26
"""What a block of samples takes while it is evaluated."""

DistributionName = Literal["uniform", "triangular", "arcsine", "trapezoidal", "curvilinear_trapezoid"]


READINGS = "'u' is the standard uncertainty of 'value'; give several readings as {\"readings\": [...]}."
LIMITS = "'u' is a standard uncertainty, which is 'U' divided by its coverage factor."


class MeasuredInput(RequestModel):
    """A quantity with a standard uncertainty."""

    OTHER_NAMES = {
        **dict.fromkeys(("error", "sigma", "standard_uncertainty", "unc", "uncertainty"), "u"),
        **dict.fromkeys(("std", "stdev", "s", "sd"), READINGS),
        **dict.fromkeys(("U", "expanded", "expanded_uncertainty"), LIMITS),
        **dict.fromkeys(("estimate", "mean", "nominal", "nominal_value", "x"), "value"),
        **dict.fromkeys(("df", "nu", "degrees_of_freedom"), "dof"),
    }

    value: float = Field(description="The best estimate", examples=[4.999])
    u: float = Field(ge=0.0, description="The standard uncertainty of `value`", examples=[0.0032])
    dof: float | None = Field(None, gt=0.0, description="The degrees of freedom of `u`; default: infinitely many", examples=[4])


class ReadingsInput(RequestModel):
    """A quantity that was read several times: its mean, with the uncertainty s/sqrt(n) and n - 1 degrees of freedom."""

    readings: Vector = Field(description="At least 2 readings", examples=[[5.007, 4.994, 5.005, 4.990, 4.999]])


class BoundedInput(RequestModel):
    """A quantity between two limits, of which the distribution is known."""

    value: float = Field(description="The middle between the limits", examples=[20.0])
    half_width: float = Field(ge=0.0, description="Half the distance of the limits", examples=[0.5])
    distribution: DistributionName = Field(description="The distribution between the limits")
    beta: float | None = Field(None, ge=0.0, le=1.0, description="For `trapezoidal`: the ratio of the top to the base")
    half_width_uncertainty: float | None = Field(
        None, ge=0.0, description="For `curvilinear_trapezoid`: each limit is inexact by plus or minus so much"
    )


ADAPTERS: dict[type[RequestModel], TypeAdapter[Any]] = {
    model: TypeAdapter(model) for model in (MeasuredInput, ReadingsInput, BoundedInput)
}
NUMBER = SchemaValidator(FLOAT)


def _input(value: Any, handler: Handler) -> "float | MeasuredInput | ReadingsInput | BoundedInput":
    """A number, or the model that the fields of an object belong to."""
    if is_number(value):
        return NUMBER.validate_python(value)  # type: ignore[no-any-return]  # a float
    if not isinstance(value, dict | LargeObject):
        forms = '{"value", "u"}, {"readings"} or {"value", "half_width", "distribution"}'
        context = {"forms": forms, "found": found_text(value)}
        raise PydanticCustomError("input", "expected a number or an object {forms}, found {found}", context)
    if isinstance(value, LargeObject):
        known = MeasuredInput.model_fields | ReadingsInput.model_fields | BoundedInput.model_fields
        value = large_fields(value, known, len(known))
    given = {name for name, field in value.items() if field is not None}
    model: type[RequestModel] = MeasuredInput
    if "readings" in given:
        model = ReadingsInput
    elif "u" not in given and given & (BoundedInput.model_fields.keys() - {"value"}):
        model = BoundedInput
    return ADAPTERS[model].validate_python(value)  # type: ignore[no-any-return]  # a model


InputQuantity = Annotated[
    float | MeasuredInput | ReadingsInput | BoundedInput,
    GetPydanticSchema(
        lambda source, handler: core_schema.no_info_wrap_validator_function(_input, core_schema.any_schema()),
        lambda schema, handler: {
            "oneOf": [
                {**NUMBER_SCHEMA},
                *handler(core_schema.union_schema([adapter.core_schema for adapter in ADAPTERS.values()]))["anyOf"],
            ],
            **component("InputQuantity", "A number that is exact, or a quantity with its uncertainty."),
        },
    ),
]


def _correlation(value: Any, handler: Handler) -> tuple[str, str, float]:
    value = beginning(value)
    if not isinstance(value, list) or len(value) != 3:
        count = f"a list of {len(value)}" if isinstance(value, list) else found_text(value)
        raise PydanticCustomError("correlation", "expected [input, input, coefficient], found {found}", {"found": count})
    for k, name in enumerate(value[:2]):
        if not isinstance(name, str):
            found = {"found": found_text(name), "place": (k,)}
            raise PydanticCustomError("correlation", "expected the name of an input, found {found}", found)
    if not is_number(value[2]):
        found = {"found": found_text(value[2]), "place": (2,)}
        raise PydanticCustomError("correlation", "expected a coefficient between -1 and 1, found {found}", found)
    return value[0], value[1], NUMBER.validate_python(value[2])


Correlation = Annotated[
    tuple[str, str, float],
    GetPydanticSchema(
        lambda source, handler: core_schema.no_info_wrap_validator_function(_correlation, core_schema.any_schema()),
        lambda schema, handler: {
            "type": "array",
            "items": {
                "oneOf": [{"type": "string"}, {**NUMBER_SCHEMA}],
                **component("CorrelationEntry", "The name of an input, or a coefficient."),
            },
            "minItems": 3,
            "maxItems": 3,
        },
    ),
]


class MonteCarlo(RequestModel):
    """How to draw random samples."""

    samples: WholeNumber = Field(1_000_000, ge=2, description="How many samples to draw of every input")
    seed: Seed = Field(0, description="The seed of the samples; the same request gives the same samples")


class PropagateRequest(ComputationRequest):
    """An expression, and what is known of its inputs."""

    expression: Expression
    inputs: NamedItems[InputQuantity] = Field(
        default_factory=dict,
        description="What each name or leaf stands for: a plain number is exact; others are an estimate with its standard "
        "uncertainty, readings, or limits with a distribution. An exact number may have a name that a text does not use",
    )
    outputs: Items[str] | None = Field(
        None, description="The ids of the outputs; for text, names that it assigns. Default: the expression's output"
    )
    correlations: Items[Correlation] = Field(
        [], description="[input, input, coefficient] for each pair that is correlated", examples=[[["V", "I", -0.36]]]
    )
    coverage: float = Field(0.95, gt=0.0, lt=1.0, description="The probability that intervals cover")
    coverage_factor: float | None = Field(
        None, gt=0.0, description="The coverage factor; default: the one that `coverage` and the degrees of freedom give"
    )
    order: WholeNumber = Field(1, ge=1, le=2, description="2 adds the terms of second order; independent inputs only")
    monte_carlo: MonteCarlo | None = Field(None, description="Propagates distributions by Monte Carlo too (JCGM 101)")


Interval = Annotated[list[float], Field(min_length=2, max_length=2, description="The lower and the upper limit")]


class BudgetEntry(ResponseModel):
    """One input's part in the uncertainty of an output."""

    input: str = Field(description="The name of the input")
    uncertainty: float = Field(description="Its standard uncertainty")
    sensitivity: float = Field(description="The derivative of the output by it")
    contribution: float = Field(description="|sensitivity| times uncertainty")
    share: float | None = Field(
        description="Its share of the variance, correlations included; all shares sum to 1, some may be negative; null if the "
        "uncertainty of the output is 0"
    )


class SecondOrderResult(ResponseModel):
    """The result with terms of second order."""

    value: float = Field(description="The value with the terms of second order")
    standard_uncertainty: float | None = Field(description="Null if the terms of second order make the variance negative")


class MonteCarloResult(ResponseModel):
    """The result of Monte Carlo."""

    mean: float = Field(description="The mean of the samples")
    standard_uncertainty: float = Field(description="The standard deviation of the samples")
    interval: Interval = Field(description="The coverage interval with equal tails")
    shortest_interval: Interval = Field(description="The shortest coverage interval")
    agrees: bool = Field(
        description="Whether the limits of the first-order `interval` and of this one differ by at most half a unit in the "
        "second significant digit of the first-order standard uncertainty (JCGM 101, clause 8)"
    )


class PropagateResult(ResponseModel):
    """An output's value and uncertainty."""

    value: float = Field(description="The output at the estimates of the inputs")
    standard_uncertainty: float = Field(description="The combined standard uncertainty, of first order")
    degrees_of_freedom: float | None = Field(
        description="Effective, not rounded; null for infinitely many, or as `message` says"
    )
    coverage_factor: float = Field(description="Student's t for `coverage` and the degrees of freedom, or the given factor")
    expanded_uncertainty: float = Field(description="The coverage factor times the standard uncertainty")
    interval: Interval = Field(description="The value minus and plus the expanded uncertainty")
    budget: list[BudgetEntry] = Field(description="One entry per input that is not exact")
    second_order: SecondOrderResult = Field(ABSENT, description='With "order": 2')
    monte_carlo: MonteCarloResult = Field(ABSENT, description="With `monte_carlo`")
    message: str = Field(ABSENT, description="What else there is to know about the numbers")


class PropagateResponse(ResponseModel):
    """What became of each output, and how they are correlated."""

    results: SkipValidation[dict[str, PropagateResult]] = Field(description="The result of each output")
    correlation: SkipValidation[dict[str, dict[str, float | None]]] = Field(
        description="The correlation of each two outputs; null where one has no uncertainty"
    )


# --- limits


def estimate_propagation(request: PropagateRequest) -> float:
    """Estimated run time in seconds."""
    nodes, n = count_nodes(request.expression), len(request.inputs)
    m = len(request.outputs or getattr(request.expression, "outputs", None) or ()) or 1
    seconds = reading_seconds(request.expression) + SECONDS_PER_NUMBER * 50.0 * m * (n + 1)
    seconds += SECONDS_PER_INSTRUCTION * 4.0 * nodes * (2 + min(n, m)) + 1e-8 * float(len(request.correlations)) ** 2
    if request.order == 2:
        rules = 2.0 * NODES_PER_RULE * nodes
        seconds += m * (SECONDS_PER_RULE * rules + SECONDS_PER_INSTRUCTION * 4.0 * rules * (n + 1) ** 2)
    if request.monte_carlo is not None:
        each = SECONDS_PER_INSTRUCTION * nodes + SECONDS_PER_DRAW * n + SECONDS_PER_SAMPLE * m
        seconds += each * request.monte_carlo.samples
    return seconds


def _check(request: PropagateRequest, graph: Graph, job: Job) -> None:
    """Raise Problem where the request exceeds a limit, else hold the memory that it takes."""
    settings = job.settings
    nodes, m = len(graph.nodes), len(graph.outputs)
    n = sum(not isinstance(given, float) for given in request.inputs.values())
    samples = request.monte_carlo.samples if request.monte_carlo else 0
    job.facts["nodes"], job.facts["points"] = nodes, max(samples, 1)
    if samples > settings.max_points:
        detail = f"{samples:,} samples are points to evaluate"
        raise too_large(detail, settings.max_points, "max_points", ("monte_carlo", "samples"))
    related = len({name for a, b, _ in request.correlations for name in (a, b)})
    if related > settings.max_variables:
        raise too_large(f"{related:,} inputs are correlated", settings.max_variables, "max_variables", ("correlations",))
    rules = NODES_PER_RULE * len(graph.wiring.arg) if request.order == 2 else 0
    work = nodes * (2 + min(n, m)) + m * n * n + m * rules * (4 + 2 * n) * (n + 1) + samples * (nodes + 4 * n + 20 * m)
    work += related**3
    if work > settings.max_work:
        detail = f"{nodes:,} nodes, {n:,} inputs, {m:,} outputs and {samples:,} samples are {work:,} steps of work"
        raise too_large(detail, settings.max_work, "max_work")
    check_numbers(job, m * (5 * n + m + 12))
    matrices = m * (5 * n + m) + 4 * related**2 + (3 * n * n if request.order == 2 else 0)
    memory = BYTES_PER_NODE * (nodes + rules) + BYTES_PER_NUMBER * matrices + BYTES_PER_ROW * m * (n + 1)
    job.reserve(memory + (BYTES_PER_BLOCK + BYTES_PER_SAMPLE * samples * m if samples else 0))


# --- translation


def respond(request: PropagateRequest, job: Job) -> PropagateResponse:
    """The response to a request."""
    graph = with_outputs(graph_of(request.expression, job, several=True), request.outputs)
    _check(request, graph, job)
    inputs: dict[str, float | Estimate] = {}
    for name, given in checked(request.inputs.items(), job.check):
        with located("inputs", name):
            inputs[name] = given if isinstance(given, float) else _estimate(given)
    wanted = request.monte_carlo
    sampling = None if wanted is None else Sampling(wanted.samples, wanted.seed)
    options = PropagateOptions(request.coverage, request.coverage_factor, request.order, sampling)
    found = propagate_uncertainty(graph, inputs, request.correlations, options, checkpoint=job.check)
    return _response(found)


def _estimate(given: MeasuredInput | ReadingsInput | BoundedInput) -> Estimate:
    if isinstance(given, ReadingsInput):
        return from_readings(given.readings)
    if isinstance(given, MeasuredInput):
        return measured(given.value, given.u, math.inf if given.dof is None else given.dof)
    parameters = {"beta": given.beta, "half_width_uncertainty": given.half_width_uncertainty}
    stated = {name: number for name, number in parameters.items() if number is not None}
    return bounded(given.value, given.half_width, given.distribution, stated)


def _response(found: Propagation) -> PropagateResponse:
    results = {name: _result(result) for name, result in found.results.items()}
    return PropagateResponse(results=results, correlation=found.correlation)


def _result(result: Result) -> PropagateResult:
    optional: dict[str, Any] = {}
    if result.second_order is not None:
        second = result.second_order
        optional["second_order"] = SecondOrderResult(value=second.value, standard_uncertainty=second.standard_uncertainty)
    if result.monte_carlo is not None:
        optional["monte_carlo"] = _simulation(result.monte_carlo, bool(result.agrees))
    if result.messages:
        optional["message"] = "; ".join(result.messages)
    budget = [
        BudgetEntry(
            input=row.input,
            uncertainty=row.uncertainty,
            sensitivity=row.sensitivity,
            contribution=row.contribution,
            share=row.share,
        )
        for row in result.budget
    ]
    return PropagateResult(
        value=result.value,
        standard_uncertainty=result.standard_uncertainty,
        degrees_of_freedom=result.degrees_of_freedom,
        coverage_factor=result.coverage_factor,
        expanded_uncertainty=result.expanded_uncertainty,
        interval=list(result.interval),
        budget=budget,
        **optional,
    )


def _simulation(found: Simulation, agrees: bool) -> MonteCarloResult:
    return MonteCarloResult(
        mean=found.mean,
        standard_uncertainty=found.standard_uncertainty,
        interval=list(found.interval),
        shortest_interval=list(found.shortest_interval),
        agrees=agrees,
    )
