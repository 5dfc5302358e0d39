"""Expressions on the wire: a text, a graph object or a MathJSON array, and the engine's graph that it stands for."""

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Annotated, Any, Generic, TypeVar

import orjson
from pydantic import ConfigDict, Field, GetPydanticSchema, RootModel
from pydantic_core import PydanticCustomError, core_schema

from app.api.errors import KIND_OF, problem_for
from app.api.expressions import work
from app.engine.errors import EngineError, Place
from app.engine.graph import Graph, Node, NodeTable, unknown_node
from app.engine.large_json import LargeList, LargeObject, decode
from app.engine.node_table import Nodes, read_nodes
from app.engine.scanner import BrokenList, NodesText, NumberList, NumberRows, NumberText
from app.engine.text import parse
from app.formats import mathjson
from app.formats.mathjson import MathJSON
from app.service.execution import Job
from app.service.models import FLOAT, Handler, Items, RequestModel, component, found_text, is_number, validated_pieces
from app.service.problems import problem_at

CACHED_BYTES = 4096
CACHE_ENTRIES = 256
MAX_EXAMINED_NODES = 1000
"""Expressions up to this size stay in memory, parsed, in case they come again: the latest of them."""

Wire = TypeVar("Wire")
"""The model of one node on the wire."""


def _argument(value: Any, handler: Handler) -> str | float:
    if isinstance(value, str):
        return value
    if not is_number(value):
        raise PydanticCustomError("argument", "expected a node's id or a number, found {found}", {"found": found_text(value)})
    return float(value)


ARGUMENT = component("NodeArgument", "The id of a node, or a number.")
Argument = Annotated[
    str | float,
    GetPydanticSchema(
        lambda source, handler: core_schema.no_info_wrap_validator_function(_argument, FLOAT),
        lambda source, handler: {"oneOf": [{"type": "string"}, {"type": "number"}], **ARGUMENT},
    ),
]


class ExpressionNode(RequestModel):
    """A node of a graph: a leaf, or an operation on other nodes and numbers."""

    OTHER_NAMES = {
        "name": "id",
        **dict.fromkeys(("function", "kind", "operation", "operator", "primitive", "type"), "op"),
        **dict.fromkeys(("arguments", "children", "inputs", "operands", "parents"), "args"),
        **dict.fromkeys(("number", "val", "value"), "data"),
    }

    id: str = Field(description="1 to 128 characters, no control characters", examples=["x"])
    op: str = Field(description='The name of a primitive, or "value" for a leaf', examples=["mul"])
    args: Items[Argument] = Field([], description="Ids of nodes, or numbers, which become constant leaves")
    data: float | None = Field(None, description="A leaf's number; `inputs` overrides it")
    label: str | None = Field(None, description="Shown in drawings; has no other meaning")


class NodeList(Generic[Wire]):
    """The nodes of a graph object.

    Attributes:
        nodes: the engine's nodes, perhaps decoded only when they are accessed.
        table: what the compiled reader made of them, if it could.
        text: their JSON text, if it is short.
    """

    __slots__ = ("nodes", "table", "text")

    def __init__(self, nodes: Sequence[Node], table: NodeTable | None = None, text: bytes | None = None) -> None:
        self.nodes = nodes
        self.table = table
        self.text = text

    def __len__(self) -> int:
        return len(self.nodes)

    def json_rows(self, low: int, high: int) -> list[dict[str, Any]]:
        """The nodes from `low` up to `high` as a response has them: without the fields that have no value."""
        return [_node_json(node) for node in self.nodes[low:high]]


def _node_json(node: Node) -> dict[str, Any]:
    fields: dict[str, Any] = {"id": node.id, "op": node.op}
    if node.args:
        fields["args"] = node.args
    if node.data is not None:
        fields["data"] = node.data
    if node.label is not None:
        fields["label"] = node.label
    return fields


@lru_cache(maxsize=CACHE_ENTRIES)
def _read_short(text: bytes) -> NodeList[Any] | None:
    table = read_nodes(text)
    return None if table is None else NodeList(Nodes(text, len(table.ids)), table, text)


def _short_text(nodes: list[Any]) -> bytes | None:
    """The nodes as JSON text again, if it is short and not nested more deeply than any node is."""
    try:
        text = orjson.dumps(nodes)
    except orjson.JSONEncodeError:
        return None
    return text if len(text) <= CACHED_BYTES else None


def _node_list(value: Any, handler: Handler) -> NodeList[Any]:
    """Read the nodes: by compiled code where they are plain, else by pydantic, which says what is wrong with them."""
    if isinstance(value, NodeList):
        return value
    found: NodeList[Any] | None = None
    if isinstance(value, NodesText):
        table = read_nodes(value.text, value.check, value.arrays)
        found = None if table is None else NodeList(Nodes(value.text, len(table.ids), value.check), table)
    elif isinstance(value, list):  # of a small body, which was decoded as a whole
        text = _short_text(value)
        found = None if text is None else _read_short(text)
    if found is not None:
        return found
    if isinstance(value, NodesText):
        value = decode(value.text, (), value.check)
        if isinstance(value, LargeList):  # of valid nodes, nothing is kept but their number
            return NodeList(Nodes(value.text, sum(map(len, validated_pieces(value, handler)))))
    parts = validated_pieces(value, handler) if isinstance(value, LargeList) else [handler(value)]
    return NodeList([Node(n.id, n.op, tuple(n.args), n.data, n.label) for part in parts for n in part])


class ExpressionGraph(RequestModel):
    """A graph of scalar operations: nodes in any order, and the id of the output."""

    OTHER_NAMES = {
        **dict.fromkeys(("out", "result", "root"), "output"),
        **dict.fromkeys(("ops", "operations", "vertices"), "nodes"),
        **dict.fromkeys(("edges", "links"), "There are no edges: each node names its arguments in 'args'."),
    }

    nodes: Annotated[
        NodeList[ExpressionNode],
        GetPydanticSchema(
            lambda source, handler: core_schema.no_info_wrap_validator_function(_node_list, handler(Items[ExpressionNode]))
        ),
        Field(description="The nodes, in any order"),
    ]
    output: str | None = Field(None, description="The id of the output")
    outputs: Items[str] | None = Field(None, description="The ids of several outputs, where an endpoint takes several")


def _expression(value: Any, handler: Handler) -> str | ExpressionGraph | MathJSON:
    if isinstance(value, NumberText):  # of an expression called float64
        value = orjson.loads(value.text)
    if isinstance(value, str):
        return value
    if isinstance(value, list | LargeList | NumberList | NumberRows | BrokenList):
        return mathjson.unread(value)
    if not isinstance(value, dict | LargeObject):
        detail = "expected an expression as text, as a graph object or as a MathJSON list, found {found}"
        raise PydanticCustomError("expression", detail, {"found": found_text(value)})
    graph: ExpressionGraph = handler(value)
    return graph


class ExpressionText(RootModel[str]):
    """An expression in Python's arithmetic syntax: statements `name = expression`, the last of which is the output."""

    model_config = ConfigDict(json_schema_extra={"examples": ["h = tanh(w*x + b); (h - y)**2"]})


class ExpressionMathJSON(RootModel[list[Any]]):
    """An expression as a MathJSON array, as MathLive and the Compute Engine write it: a function and its arguments.

    Arguments are numbers, names and arrays: `["Add", ["Power", "x", 2], 1]`. Names are the inputs; `Pi` and `ExponentialE` are
    constants. These functions are read: FUNCTION_NAMES. The names of primitives, such as `relu`, are functions too. Any other
    function is `unknown-primitive`.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [["Add", ["Power", "x", 2], 1]], "minItems": 2})


ExpressionMathJSON.__doc__ = (ExpressionMathJSON.__doc__ or "").replace("FUNCTION_NAMES", ", ".join(mathjson.FUNCTIONS))


def _schema_of(model: type[RootModel[Any]]) -> dict[str, Any]:
    """The JSON schema of a model. A field's own description would replace the model's in a schema from the field's handler."""
    return model.model_json_schema()


Expression = Annotated[
    str | ExpressionGraph | MathJSON,
    GetPydanticSchema(
        lambda source, handler: core_schema.no_info_wrap_validator_function(_expression, handler(ExpressionGraph)),
        lambda schema, handler: {
            "oneOf": [_schema_of(ExpressionText), handler(schema), _schema_of(ExpressionMathJSON)],
            **component("Expression", "An expression: a text, a graph object or a MathJSON array."),
        },
    ),
    Field(
        description="Text in Python's arithmetic syntax, a graph object, or a MathJSON array. If an object has a key twice, "
        "the last one counts."
    ),
]
"""An expression: a text, a graph object or a MathJSON array."""

AnyExpression = str | ExpressionGraph | MathJSON | Graph
"""An expression as a request has it, or, from our own code, one that has been read."""


_parse_short = lru_cache(maxsize=CACHE_ENTRIES)(parse)


@lru_cache(maxsize=CACHE_ENTRIES)
def _connect_short(text: bytes, outputs: tuple[str, ...]) -> Graph:
    nodes = _read_short(text)
    assert nodes is not None
    return Graph(nodes.nodes, outputs, table=nodes.table)


def graph_of(expression: AnyExpression, job: Job, path: Place = ("expression",), *, several: bool = False) -> Graph:
    """The graph of an expression at `path` in the request, with one output unless it may have `several`.

    Raises Problem for everything that can be wrong with an expression, and where it exceeds a limit.
    """
    if isinstance(expression, Graph):
        return expression
    if isinstance(expression, str):
        work.check_text(expression, job, path)
        try:
            graph = _parse_short(expression) if len(expression) <= CACHED_BYTES else parse(expression, checkpoint=job.check)
        except EngineError as error:
            raise problem_for(error, expression, path) from None
        work.check_size(graph, job, path)
        return graph
    if isinstance(expression, MathJSON):
        return _graph_of_mathjson(expression, job, path)
    nodes = expression.nodes
    work.check_nodes(len(nodes.nodes), job, (*path, "nodes"))
    if nodes.text is None:  # before they are connected, which for a short text takes no time
        count = sum(len(node.args) for node in nodes.nodes) if nodes.table is None else len(nodes.table.arg)
        work.check_arguments(count, job, (*path, "nodes"))
    if expression.outputs is not None and not several:
        raise problem_at(
            "invalid-request", (*path, "outputs"), 'expected one output: write "output": "..." instead of "outputs"'
        )
    if (expression.outputs is None) == (expression.output is None):
        needed = 'either "output" or "outputs"' if several else '"output"'
        detail = f"a graph needs {needed}, which names a node{_proposed_output(nodes.nodes)}"
        raise problem_at("invalid-request", (*path, "output"), detail)
    outputs = (expression.output,) if expression.output is not None else tuple(expression.outputs or ())
    try:
        graph = Graph(nodes.nodes, outputs, table=nodes.table) if nodes.text is None else _connect_short(nodes.text, outputs)
    except EngineError as error:
        if error.place == ("output",) and expression.output is None:
            error.place = ("outputs", 0)
        raise problem_for(error, expression, path) from None
    if nodes.text is not None:
        assert graph.table is not None
        work.check_argument_count(len(graph.table.arg), job, (*path, "nodes"))
    return graph


def _proposed_output(nodes: Sequence[Node]) -> str:
    """The output that a graph without one must have if everything in it is used, as the end of a message."""
    if len(nodes) > MAX_EXAMINED_NODES:
        return ""
    used = {argument for node in nodes for argument in node.args}
    last = [node.id for node in nodes if node.id not in used]
    return f': add "output": {json.dumps(last[0])}' if len(last) == 1 else ""


def _graph_of_mathjson(expression: MathJSON, job: Job, path: Place) -> Graph:
    try:
        graph = mathjson.read(expression.value, grow=lambda entries: work.check_entries(entries, job, path))
    except EngineError as error:
        raise problem_at(KIND_OF[type(error)], (*path, *error.place), error.detail) from None
    work.check_size(graph, job, path)
    return graph


def with_outputs(graph: Graph, outputs: Items[str] | None) -> Graph:
    """The graph with the outputs that the request names, or its own. Raises Problem for names that it does not have."""
    if outputs is None:
        return graph
    if not outputs:
        raise problem_at("invalid-request", ("outputs",), "expected at least one output")
    for k, name in enumerate(outputs):
        if name not in graph.index:
            raise problem_at("unknown-node", ("outputs", k), unknown_node(name, graph, ()).detail)
    return replace(graph, outputs=tuple(dict.fromkeys(outputs)))


def graph_object(nodes: Sequence[Node], outputs: Sequence[str]) -> ExpressionGraph:
    """A graph on the wire, as every endpoint for expressions takes it."""
    if len(outputs) == 1:
        return ExpressionGraph(nodes=NodeList(nodes), output=outputs[0])
    return ExpressionGraph(nodes=NodeList(nodes), outputs=list(outputs))
