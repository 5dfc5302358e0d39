"""What stands on the wire about expressions: requests, and their answers.

Requests are strict: unknown fields, numbers as strings and booleans as numbers are refused. Not here: their meaning.
"""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from app.engine.graph import Node

Numbers = Annotated[
    float | list[float], Meta(description="A number, or a list with one number for each point", examples=[3.0, [1.0, 2.0]])
]
Result = Annotated[
    float | None | list[float | None],
    Meta(description="A number, or a list with one for each point; null where it is NaN or infinite and that was allowed"),
]
Bindings = Annotated[
    dict[str, Numbers],
    Meta(description="Numbers for leaves, by id. All lists have one length; each entry of them is a point."),
]


NODE_SCHEMA = {"$ref": f"#/components/schemas/{Node.__name__}"}


class ExpressionGraph(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """Nodes in any order, and the id of the output; `outputs` in its place where an endpoint takes several."""

    nodes: Annotated[
        Raw, Meta(description="The nodes, in any order", extra_json_schema={"type": "array", "items": NODE_SCHEMA})
    ]
    output: Annotated[str | None, Meta(description="The id of the output")] = None
    outputs: Annotated[list[str] | None, Meta(description="The ids of several outputs")] = None


Expression = Annotated[
    str | ExpressionGraph,
    Meta(
        description="Text in Python's arithmetic syntax, or a graph object. Where a key stands twice in an object, the "
        "last one counts."
    ),
]


class ExpressionRequest(Struct, forbid_unknown_fields=True, kw_only=True):
    """What every request about an expression has."""

    expression: Expression
    inputs: Bindings = {}
    nonfinite: Annotated[
        Literal["error", "null"],
        Meta(description="What becomes of a number that is NaN or infinite: an error, or null in its place"),
    ] = "error"


class ForwardRequest(ExpressionRequest, kw_only=True):
    """An expression whose value is wanted."""

    values: Annotated[bool, Meta(description="Whether to answer with the value of every node")] = False


class BackwardRequest(ForwardRequest, kw_only=True):
    """An expression whose gradients are wanted."""

    wrt: Annotated[
        list[str] | None,
        Meta(description="The nodes to differentiate by; default: every node of a graph, inputs and assigned names of a text"),
    ] = None
    cotangent: Annotated[Numbers, Meta(description="What the gradients are multiplied by")] = 1.0


class JvpRequest(ExpressionRequest, kw_only=True):
    """An expression whose derivative along a direction is wanted."""

    tangents: Annotated[dict[str, Numbers], Meta(description="The direction, by id; what is missing is 0")] = {}


class LeavesRequest(ExpressionRequest, kw_only=True):
    """An expression to be differentiated by its leaves, or by what `wrt` names."""

    wrt: Annotated[list[str] | None, Meta(description="The nodes to differentiate by; default: the leaves")] = None


class JacobianRequest(LeavesRequest, kw_only=True):
    """An expression with several outputs."""

    outputs: Annotated[list[str] | None, Meta(description="The outputs by id; for text, names that it assigns")] = None


class HvpRequest(LeavesRequest, kw_only=True):
    """An expression whose Hessian is to be multiplied by a direction."""

    tangents: Annotated[dict[str, Numbers], Meta(description="The direction, by id; what is missing is 0")] = {}


class CheckRequest(LeavesRequest, kw_only=True):
    """An expression whose gradients are to be compared with difference quotients."""

    tolerance: Annotated[float, Meta(gt=0.0, description="The greatest relative error that is right")] = 1e-6


class GraphRequest(ExpressionRequest, kw_only=True):
    """An expression to be shown as nodes and edges."""

    gradients: Annotated[bool, Meta(description="Whether to show gradients")] = True


class NonFiniteNumber(Struct, rename={"walk": "pass"}):
    """A number in the answer that is null: the node, the pass in which it came up, what it was, and at which point."""

    node: str
    walk: Literal["forward", "backward"]
    value: Literal["NaN", "Infinity", "-Infinity"]
    point: int | UnsetType = UNSET


class Answer(Struct, kw_only=True):
    """What answers have in common."""

    nonfinite: Annotated[
        list[NonFiniteNumber] | UnsetType, Meta(description='With "nonfinite": "null", the first 20 numbers that are null')
    ] = UNSET


class ForwardAnswer(Answer, kw_only=True):
    """The value of the output, and of every node where that was asked for."""

    output: str
    value: Result
    values: dict[str, Result] | UnsetType = UNSET


class BackwardAnswer(Answer, kw_only=True):
    """The value of the output and its gradient table."""

    output: str
    value: Result
    gradients: dict[str, Result]
    values: dict[str, Result] | UnsetType = UNSET


class JvpAnswer(Answer, kw_only=True):
    """The value of the output and its derivative along the tangents."""

    output: str
    value: Result
    tangent: Result


class JacobianAnswer(Answer, kw_only=True):
    """The values of the outputs, and a gradient table for each of them."""

    values: dict[str, Result]
    jacobian: dict[str, dict[str, Result]]


class HessianAnswer(Answer, kw_only=True):
    """The value of the output, its gradients and their gradients."""

    output: str
    value: Result
    gradients: dict[str, Result]
    hessian: dict[str, dict[str, Result]]


class HvpAnswer(Answer, kw_only=True):
    """The value of the output, its gradients, and the Hessian times the tangents."""

    output: str
    value: Result
    gradients: dict[str, Result]
    hvp: dict[str, Result]


class CheckedGradient(Struct):
    """A gradient in reverse mode, in forward mode and as a difference quotient."""

    reverse: Result
    forward: Result
    numeric: Result
    relative_error: Result


class CheckAnswer(Answer, kw_only=True):
    """Whether all gradients agree with their difference quotients."""

    ok: bool
    checks: dict[str, CheckedGradient]


class ParseAnswer(Struct):
    """The expression as a graph object."""

    graph: ExpressionGraph


class GraphNode(Struct, kw_only=True):
    """A node with its value and the derivative of the output by it."""

    id: str
    label: str | None
    op: str
    data: Result
    grad: Result | UnsetType = UNSET
    arity: int
    is_leaf: bool


class GraphEdge(Struct, rename={"origin": "from"}):
    """An argument's way into a node, with the derivative of the node by this argument."""

    origin: str
    to: str
    local_gradient: Result | UnsetType = UNSET


class GraphAnswer(Answer, kw_only=True):
    """Nodes in topological order, and edges."""

    nodes: list[GraphNode]
    edges: list[GraphEdge]
