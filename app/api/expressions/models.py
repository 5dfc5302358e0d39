"""Request and response models of the endpoints for expressions."""

from typing import Annotated, Literal

from pydantic import Field, SkipValidation

from app.api.expressions.expression import Expression, ExpressionGraph
from app.engine.points import Reduce
from app.service.models import (
    ABSENT,
    ComputationRequest,
    Floats,
    Items,
    NamedItems,
    Numbers,
    ResponseModel,
    Result,
    ResultEntries,
    component,
)

Bindings = Annotated[
    NamedItems[Numbers],
    Field(
        description="Numbers for leaves, by id. All lists have the same length; entry k of each belongs to point k.",
        examples=[{"x": 3.0}],
    ),
]
Tangents = Annotated[
    NamedItems[Numbers],
    Field(description="The direction, by id; a node that is not named has 0", examples=[{"x": 1.0}]),
]
ByLeaves = Annotated[Items[str] | None, Field(description="The nodes to differentiate by; default: the leaves")]

MatrixFormat = Annotated[
    Literal["dense", "sparse"],
    Field(
        description="`dense`: a table of tables. `sparse`: the structural nonzeros, which are the same at all points: entries "
        "that can differ from 0, by the operations between the nodes. An entry may be 0 at some points.",
        json_schema_extra=component("MatrixFormat", "How a matrix is written: as a table of tables, or its nonzeros only."),
    ),
]


SEVERAL = 'One text has several outputs: "expression": "f = x*y; g = x + y", for /v1/jacobian with "outputs": ["f", "g"].'

EXPRESSION_NAMES = {
    **dict.fromkeys(("code", "equation", "expr", "exp", "f", "formula", "fn", "func", "function", "graph"), "expression"),
    **dict.fromkeys(("args", "arguments", "at", "bindings", "data", "env", "params", "parameters", "point"), "inputs"),
    **dict.fromkeys(("input", "variables", "vars", "x"), "inputs"),
    "order": "Second derivatives come from /v1/hessian; the text that /v1/derivative returns can be differentiated again.",
    **dict.fromkeys(("by", "gradients_of", "respect_to", "with_respect_to"), "wrt"),
    **dict.fromkeys(("expressions", "functions"), SEVERAL),
    **dict.fromkeys(("direction", "seed", "tangent", "v", "vector"), "tangents"),
}
"""What people call the fields of requests about expressions."""


class ExpressionRequest(ComputationRequest):
    """An expression and its inputs."""

    OTHER_NAMES = EXPRESSION_NAMES

    expression: Expression
    inputs: Bindings = Field(default_factory=dict)
    nonfinite: Literal["error", "null"] = Field(
        "error",
        description="What to do with a number that is NaN or infinite: respond with an error, or with null in its place",
        json_schema_extra=component("NonFinite", "Whether numbers that are NaN or infinite are an error, or null."),
    )


class ReducibleRequest(ExpressionRequest):
    """An expression whose sum or mean over the points may be asked for."""

    reduce: Reduce = Field(
        "none",
        description="With lists in `inputs`, evaluate and differentiate the sum or the mean over the points: the value is one "
        "number, and so is the derivative by every node that is one number for all points; by a list it remains a list. Second "
        "derivatives are then taken by single numbers only. Each sum is rounded once, so it does not depend on the order of "
        "the points.",
        json_schema_extra=component("Reduce", "What is evaluated: each point, or the sum or the mean over all points."),
    )


class ForwardRequest(ReducibleRequest):
    """An expression to evaluate."""

    values: bool = Field(False, description="Whether to include the value of every node, at each point if there are several")


class BackwardRequest(ForwardRequest):
    """An expression to differentiate in reverse mode."""

    wrt: Items[str] | None = Field(
        None, description="The nodes to differentiate by; default: every node of a graph, inputs and assigned names of a text"
    )
    cotangent: Numbers = Field(1.0, description="The factor of all gradients")


class JvpRequest(ReducibleRequest):
    """An expression to differentiate along a direction."""

    tangents: Tangents = Field(default_factory=dict)


class HessianRequest(ReducibleRequest):
    """An expression to differentiate twice."""

    wrt: ByLeaves = None
    format: MatrixFormat = "dense"


class JacobianRequest(ReducibleRequest):
    """An expression with several outputs."""

    wrt: ByLeaves = None
    outputs: Items[str] | None = Field(None, description="The ids of the outputs; for text, names that it assigns")
    format: MatrixFormat = "dense"


class HvpRequest(ReducibleRequest):
    """An expression whose Hessian is multiplied by a direction."""

    wrt: ByLeaves = None
    tangents: Tangents = Field(default_factory=dict)


class CheckRequest(ExpressionRequest):
    """An expression whose gradients are compared with difference quotients."""

    wrt: ByLeaves = None
    tolerance: float = Field(1e-6, gt=0.0, description="The largest relative error that counts as agreement")


class ParseRequest(ExpressionRequest):
    """An expression to convert to a graph object."""


class GraphRequest(ExpressionRequest):
    """An expression to show as nodes and edges."""

    gradients: bool = Field(True, description="Whether to include gradients")


Column = float | None | list[float | None] | Floats
Table = SkipValidation[dict[str, Result]]


class NonFiniteNumber(ResponseModel):
    """A number of the response that is null: its node, the pass in which it came up, what it was, and at which point."""

    node: str
    walk: Literal["forward", "backward"] = Field(alias="pass")
    value: Literal["NaN", "Infinity", "-Infinity"]
    point: int = Field(ABSENT, description="The point, counted from 0; absent where there is only one")


class ExpressionResponse(ResponseModel):
    """What responses about expressions have in common."""

    nonfinite: list[NonFiniteNumber] = Field(ABSENT, description='With "nonfinite": "null", the first 20 numbers that are null')


class ForwardResponse(ExpressionResponse):
    """The value of the output, and of every node if requested."""

    output: str
    value: Result
    values: Table = ABSENT


class BackwardResponse(ExpressionResponse):
    """The value of the output and its gradient table."""

    output: str
    value: Result
    gradients: Table
    values: Table = ABSENT


class JvpResponse(ExpressionResponse):
    """The value of the output and its derivative along the tangents."""

    output: str
    value: Result
    tangent: Result


Places = SkipValidation[list[int]]
DenseMatrix = Annotated[dict[str, dict[str, Result]], Field(title="DenseMatrix", description="A table of tables, by id")]


class SparseHessian(ResponseModel):
    """The structural nonzeros of a Hessian's lower triangle, by row and then by column.

    Entry k is `values[k]`, the second derivative by `names[rows[k]]` and `names[columns[k]]`.
    """

    names: SkipValidation[list[str]]
    rows: Places = Field(description="Indices into `names`")
    columns: Places = Field(description="Indices into `names`, none greater than that in `rows`")
    values: ResultEntries


class SparseJacobian(ResponseModel):
    """The structural nonzeros of a Jacobian, by row and then by column.

    Entry k is `values[k]`, the derivative of `outputs[rows[k]]` by `names[columns[k]]`.
    """

    outputs: SkipValidation[list[str]]
    names: SkipValidation[list[str]]
    rows: Places = Field(description="Indices into `outputs`")
    columns: Places = Field(description="Indices into `names`")
    values: ResultEntries


class JacobianResponse(ExpressionResponse):
    """The values of the outputs, and a gradient table for each of them, or the nonzeros of all."""

    values: Table
    jacobian: SkipValidation[DenseMatrix | SparseJacobian]


class HessianResponse(ExpressionResponse):
    """The value of the output, its gradients and their gradients."""

    output: str
    value: Result
    gradients: Table
    hessian: SkipValidation[DenseMatrix | SparseHessian]


class HvpResponse(ExpressionResponse):
    """The value of the output, its gradients, and the Hessian times the tangents."""

    output: str
    value: Result
    gradients: Table
    hvp: Table


class CheckedGradient(ResponseModel):
    """A gradient in reverse mode, in forward mode and as a difference quotient."""

    reverse: Result
    forward: Result
    numeric: Result
    relative_error: Result


class CheckResponse(ExpressionResponse):
    """Whether all gradients agree with their difference quotients."""

    ok: bool
    checks: dict[str, CheckedGradient]


class ParseResponse(ResponseModel):
    """The expression as a graph object."""

    graph: ExpressionGraph


class GraphNode(ResponseModel):
    """A node with its value and the derivative of the output by it."""

    id: str
    label: str | None
    op: str
    data: Result
    grad: Result = ABSENT
    arity: int
    is_leaf: bool


class GraphEdge(ResponseModel):
    """An argument of a node, with the derivative of the node by this argument."""

    origin: str = Field(alias="from")
    to: str
    local_gradient: Result = ABSENT


class GraphResponse(ExpressionResponse):
    """Nodes in topological order, and edges."""

    nodes: SkipValidation[list[GraphNode]]
    edges: SkipValidation[list[GraphEdge]]
