"""Derivatives and source code on the wire: requests, responses, limits and estimated run times."""

import math
from collections.abc import Sequence
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from app.api.expressions import work
from app.api.expressions.expression import Expression, ExpressionGraph, graph_object, graph_of
from app.api.expressions.models import EXPRESSION_NAMES, ByLeaves
from app.engine import derivative
from app.engine.graph import Graph
from app.engine.simplification import simplified
from app.formats.code import MANY_INPUTS, READABLE, generate
from app.formats.formulas import formulas, text_names
from app.formats.languages import LANGUAGES
from app.formats.notation import needed
from app.service.execution import Job
from app.service.models import ABSENT, ComputationRequest, Items, ResponseModel
from app.service.problems import too_large

SECONDS_PER_NODE = 20e-6
"""One node of an expression, differentiated."""
SECONDS_PER_FORM = 500e-6
"""One node, simplified and written in every form."""
BYTES_PER_NODE = 3000
"""The nodes that the derivatives have for one of the expression's."""
BYTES_PER_WRITTEN_NODE = 300
"""One node of a derivative, written in every form."""
MAX_WRITTEN = 300_000
"""The nodes of all derivatives, each with all that it needs. Beyond, only the graph comes back."""

Form = Literal["text", "latex", "mathml"]
FORMS: tuple[Form, ...] = get_args(Form)


def _known(language: str) -> str:
    if language not in LANGUAGES:
        raise PydanticCustomError("language", "expected one of {known}", {"known": ", ".join(LANGUAGES)})
    return language


class DerivativeRequest(ComputationRequest):
    """An expression whose derivatives are wanted as expressions."""

    OTHER_NAMES = EXPRESSION_NAMES

    expression: Expression
    wrt: ByLeaves = None
    forms: Items[Form] | None = Field(None, description="Which forms to write; default: all")


class DerivativeForms(ResponseModel):
    """A derivative as a formula."""

    text: str | None = Field(ABSENT, description="An expression that every endpoint takes")
    latex: str | None = Field(ABSENT, description="LaTeX, for math mode")
    mathml: str | None = Field(ABSENT, description="Presentation MathML")


class DerivativeResponse(ResponseModel):
    """The derivatives, as formulas and as one graph."""

    output: str
    derivatives: dict[str, DerivativeForms] = Field(
        description=f"By node. The forms are null for expressions of more than {READABLE:,} nodes, and for so many derivatives "
        f"that they have more than {MAX_WRITTEN:,} nodes, each with all that it needs."
    )
    graph: ExpressionGraph = Field(description="The expression and its derivatives: `outputs` has the output first")
    renamed: dict[str, str] = Field(ABSENT, description="Ids that are no names, and the names that the forms have for them")


class CodeRequest(ComputationRequest):
    """An expression to write as source code."""

    OTHER_NAMES = EXPRESSION_NAMES | dict.fromkeys(("lang", "format", "target"), "language")

    expression: Expression
    wrt: Annotated[Items[str] | None, Field(description="The nodes to differentiate by; default: the inputs")] = None
    language: Annotated[str, AfterValidator(_known)] = Field(
        description="The language", json_schema_extra={"enum": list(LANGUAGES)}, examples=["c"]
    )
    derivatives: Literal["none", "gradient", "hessian"] = Field("gradient", description="What is computed beside the value")
    name: str = Field("f", min_length=1, max_length=128, description="The name of the function", examples=["f"])


class CodeResponse(ResponseModel):
    """Source code."""

    language: str
    source: str
    inputs: list[str] = Field(
        description=f"The parameters of the function, in order. More than {MANY_INPUTS} are passed as one array."
    )
    renamed: dict[str, str] = Field(description="Names that the language does not allow, and what they became")
    usage: str = Field(description="A line that calls the function")


def estimate_derivative(request: DerivativeRequest) -> float:
    """Estimated run time in seconds of a derivative."""
    nodes = work.count_nodes(request.expression)
    per_node = SECONDS_PER_NODE + (SECONDS_PER_FORM if nodes <= READABLE else 0.0)
    return work.reading_seconds(request.expression) + per_node * nodes


def estimate_code(request: CodeRequest) -> float:
    """Estimated run time in seconds of source code."""
    nodes = work.count_nodes(request.expression)
    derivatives = {"none": 0, "gradient": 1}.get(request.derivatives, len(request.wrt or ()) or nodes)
    return work.reading_seconds(request.expression) + (SECONDS_PER_NODE + SECONDS_PER_FORM) * nodes * (1 + derivatives)


def respond_derivative(request: DerivativeRequest, job: Job) -> DerivativeResponse:
    """The response of /v1/derivative."""
    graph = graph_of(request.expression, job)
    _check(job, graph, 1)
    found = derivative.gradient(graph, request.wrt, checkpoint=job.check)
    names = dict.fromkeys(graph.leaves if request.wrt is None else request.wrt)
    forms: Sequence[Form] = FORMS if request.forms is None else request.forms
    readable = len(graph.nodes) <= READABLE
    if readable:
        found = simplified(found, len(graph.nodes), checkpoint=job.check)
        readable = _may_be_written(found, job)
    shown = text_names(graph) if readable else {}
    rows: dict[str, dict[str, Any]] = {name: dict.fromkeys(forms) for name in names}
    if readable:
        for name, output in zip(names, found.outputs[1:], strict=True):
            formula = formulas(found, output, forms, shown, checkpoint=job.check)
            rows[name] = {form: getattr(formula, form) for form in forms}
    changed = {name: text for name, text in shown.items() if name != text}
    return DerivativeResponse(
        output=graph.output,
        derivatives={name: DerivativeForms(**row) for name, row in rows.items()},
        graph=graph_object(found.nodes, found.outputs),
        **({"renamed": changed} if changed else {}),
    )


def _may_be_written(graph: Graph, job: Job) -> bool:
    """Whether the derivatives are not too long to be written. Hold the memory that they take."""
    total = 0
    for output in graph.outputs[1:]:
        job.check()
        total += len(needed(graph, [output]))
        if total > MAX_WRITTEN:
            return False
    job.reserve_more(BYTES_PER_WRITTEN_NODE * total)
    return True


def respond_code(request: CodeRequest, job: Job) -> CodeResponse:
    """The response of /v1/code."""
    graph = graph_of(request.expression, job)
    count = len(graph.leaves if request.wrt is None else request.wrt)
    _check(job, graph, 1 + count if request.derivatives == "hessian" else 1)
    code = generate(
        graph,
        LANGUAGES[request.language],
        wrt=request.wrt,
        derivatives=request.derivatives,
        name=request.name,
        checkpoint=job.check,
    )
    return CodeResponse(
        language=request.language,
        source=code.source,
        inputs=list(code.inputs),
        renamed=dict(code.renamed),
        usage=code.usage,
    )


def to_source(response: CodeResponse) -> bytes:
    """The source code alone."""
    return response.source.encode()


def _check(job: Job, graph: Graph, derivatives: int) -> None:
    """Raise Problem where so many derivatives would exceed a limit, else hold the memory that they take."""
    nodes = len(graph.nodes)
    job.facts["nodes"] = nodes
    if nodes * derivatives > (limit := 4 * job.settings.max_nodes):
        raise too_large(f"{nodes:,} nodes and {derivatives:,} derivatives of each", limit, "max_nodes")
    job.reserve(math.ceil(BYTES_PER_NODE * nodes * derivatives))
