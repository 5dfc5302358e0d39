"""Between the wire and the engine: bytes to requests, expressions to graphs, numbers to JSON.

The one file that knows both sides. Not here: the wire's shapes (`schemas`), and how an exception is answered (`problems`).
"""

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import msgspec
import numpy as np
from msgspec import UNSET, Raw, UnsetType

from app.api.limits import check_nodes
from app.api.problems import FieldError, Problem, pointer
from app.api.schemas.expressions import ExpressionGraph, ExpressionRequest, NonFiniteNumber
from app.engine import reader
from app.engine.errors import NODES, InvalidNode, NonFinite, Path, UnknownNode, nearest, quote
from app.engine.faults import Asked, explain, number_text
from app.engine.gradients import Gradients
from app.engine.graph import Columns, Graph, Node, unknown_node
from app.engine.tape import Column, Seed
from app.engine.text import parse

T = TypeVar("T")
Wire = float | None | list[float | None]

MOST_NONFINITE = 20

LOOKED_AT = 1 << 20
"""Bytes of a body up to which it is read once more, with much more memory, to say better what is wrong with it."""

NOT_FINITE = "expected a finite number, found NaN or a number beyond 1.8e308"

ALLOWED = {"nonfinite": '"error" or "null"', "init": '"uniform", "he" or "xavier"'}
"""What may stand in fields that take one of a few words."""

WORDS = {
    "float": "a number",
    "int": "an integer",
    "str": "a string",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}


def decode(body: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """The request in a body. Raises Problem: invalid-json, or invalid-request with the place at fault."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        loaded = _loaded(body) if len(body) <= LOOKED_AT else None
        raise _misfit_at(*_misfit(str(error), loaded, partial(_fields, decoder.type))) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        if len(body) > LOOKED_AT:
            raise Problem("invalid-json", f"the body cannot be read as JSON in UTF-8: {error}") from None
        _loaded(body)
        raise Problem("invalid-json", f"the body holds what is no Unicode text, such as a lone surrogate ({error})") from None


def encode(answer: object) -> bytes:
    """An answer as JSON."""
    return msgspec.json.encode(answer)


def _loaded(body: bytes) -> Any:
    """The body as plain objects, read once more to say what is wrong. Raises Problem where it is no JSON, or has NaN."""
    loaded = _parsed(body, "the body")
    place = _not_finite(loaded)
    if place is not None:
        raise _misfit_at(place, NOT_FINITE)
    return loaded


def _parsed(body: bytes, what: str) -> Any:
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Problem("invalid-json", f"{what} is not UTF-8: {error.reason} at byte {error.start}") from None
    if not text.strip():
        raise Problem("invalid-json", "the body is empty; it should be a JSON object")
    try:
        return json.loads(text, parse_int=float, object_pairs_hook=_pairs)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        why = error.msg[0].lower() + error.msg[1:].removesuffix(" at")
        if text.startswith("\ufeff"):
            why = "it begins with a byte order mark (BOM), which JSON has not,"
        raise Problem("invalid-json", f"{what} is not JSON: {why} at {where}") from None
    except RecursionError:
        raise Problem("invalid-json", f"{what} is not JSON that can be read: it is nested too deeply") from None


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object, if it has each key once. Where nothing else is wrong with a body, this is not asked, and the last counts."""
    entries = dict(pairs)
    if len(entries) != len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise Problem("invalid-request", f"the key {quote(twice)} stands twice in one object")
    return entries


def _not_finite(loaded: object) -> tuple[str | int, ...] | None:
    """The way to the first number that is not finite; None where there is none."""
    stack: list[tuple[object, tuple[str | int, ...]]] = [(loaded, ())]
    while stack:
        item, path = stack.pop()
        if isinstance(item, float):
            if not math.isfinite(item):
                return path
        elif isinstance(item, list):
            stack.extend((item[k], (*path, k)) for k in range(len(item) - 1, -1, -1))
        elif isinstance(item, dict):
            stack.extend((value, (*path, key)) for key, value in reversed(item.items()))
    return None


def _misfit_at(path: tuple[str | int, ...], detail: str) -> Problem:
    where = pointer(path)
    return Problem("invalid-request", f"at {where}: {detail}" if where else detail, [FieldError(where, detail)])


def _misfit(message: str, loaded: Any, known_at: Callable[[Path], list[str]]) -> tuple[Path, str]:
    """What msgspec says, as a path and in JSON's words: 'Expected `float`, got `str` - at `$.inputs[...][2]`'.

    `loaded` is what was read, or None where that is too large; then the path ends where msgspec does not name a key.
    `known_at` gives the names of the fields that stand at a path.
    """
    what, _, at = message.rpartition(" - at `$") if message.endswith("`") and " - at `$" in message else (message, "", "")
    path = _resolved(at, loaded)
    if "unknown field" in what and loaded is not None and not _holds(loaded, path, _named(what)):
        what, path = message, ()  # a name of the client's that looks like a path
    fields = re.findall(r"`([^`]*)`", what)
    if what.startswith("Expected `") and len(fields) == 2:
        wanted = " or ".join(WORDS.get(word, word) for word in fields[0].split(" | "))
        detail = f"expected {wanted}, found {'a boolean' if fields[1] == 'bool' else WORDS.get(fields[1], fields[1])}"
    elif "unknown field" in what:
        name = _named(what)
        known = known_at(path)
        hint = OTHER_NAMES.get(name) or nearest(name, known) or (f" The fields are {', '.join(known)}." if known else "")
        path = (*path, name)
        detail = f"unknown field {quote(name)}.{hint}"
    elif "missing required field" in what:
        path = (*path, fields[0])
        detail = f"the field {quote(fields[0])} is missing"
    elif what.startswith("Invalid enum value"):
        detail = f"expected {ALLOWED.get(str(path[-1]) if path else '', 'one of the documented words')}"
    else:
        detail = re.sub("`([^`]*)`", lambda word: WORDS.get(word[1], word[1]), what[0].lower() + what[1:])
    return path, detail


OTHER_NAMES = {"lr": " It is called 'learning_rate'."}
"""Names that fields bear elsewhere."""


def _named(what: str) -> str:
    """The name in 'Object contains unknown field `name`'."""
    return what.split("`", 1)[1].rpartition("`")[0]


def _holds(loaded: Any, path: tuple[str | int, ...], name: str) -> bool:
    """Whether the object at `path` has a field of this name."""
    for step in path:
        loaded = loaded[step]
    return isinstance(loaded, dict) and name in loaded


def _fields(kind: Any, path: tuple[str | int, ...]) -> list[str]:
    """The names of the fields that stand at a place of a request."""
    if not path:
        return [field.encode_name for field in msgspec.structs.fields(kind)]
    if path == ("expression",):
        return [field.encode_name for field in msgspec.structs.fields(ExpressionGraph)]
    return []


def _resolved(at: str, loaded: Any) -> tuple[str | int, ...]:
    """Msgspec's path as steps. It does not name keys of maps, `[...]`; there it is the first entry that is not numbers."""
    path: list[str | int] = []
    for name, index in re.findall(r"\.([^.\[\]`]+)|\[(\d+|\.\.\.)\]", at):
        if loaded is None and index == "...":
            break
        step: Any = name or (int(index) if index != "..." else _first_misfit(loaded))
        try:
            loaded = loaded[step] if loaded is not None else None
        except (KeyError, IndexError, TypeError):  # a name of the client's that looks like a path
            break
        path.append(step)
    return tuple(path)


def _first_misfit(entries: Any) -> str | None:
    def fits(value: object) -> bool:
        return isinstance(value, float) or (isinstance(value, list) and all(isinstance(item, float) for item in value))

    return next((key for key, value in entries.items() if not fits(value)), None) if isinstance(entries, dict) else None


def graph_of(expression: str | ExpressionGraph, outputs: list[str] | None = None, several: bool = False) -> Graph:
    """The graph of an expression, with one output unless `several` may be asked for.

    Raises: all that `engine.graph` and `engine.text` raise, and InvalidNode where there are too few or too many outputs.
    """
    if isinstance(expression, str):
        graph = parse(expression)
        check_nodes(len(graph.nodes), ("expression",))
    else:
        nodes, columns = _nodes(expression.nodes)
        check_nodes(len(nodes))
        named = expression.outputs
        if named is not None and not several:
            detail = 'this endpoint takes one output: write "output": "..." in place of "outputs"'
            raise InvalidNode(detail, ("expression", "outputs"))
        if (named is None) == (expression.output is None):
            detail = 'a graph has either "output" or "outputs"' if several else 'a graph has an "output"'
            raise InvalidNode(detail, ("expression", "output"))
        try:
            graph = Graph(nodes, tuple(named if named is not None else [expression.output or ""]), columns=columns)
        except UnknownNode as error:
            if named is not None and error.path == ("expression", "output"):
                error.path = ("expression", "outputs", 0)
            raise
    if outputs is None:
        return graph
    if not outputs:
        raise InvalidNode("there is at least one output", ("outputs",))
    for k, name in enumerate(outputs):
        if name not in graph.index:
            raise unknown_node(name, graph, ("outputs", k))
    return replace(graph, outputs=tuple(dict.fromkeys(outputs)))


def _nodes(text: Raw) -> tuple[Sequence[Node], Columns | None]:
    """A list of nodes, with the columns that it comes to where these could be read at once. Raises InvalidNode, Problem."""
    raw = memoryview(text)
    columns = reader.read(raw)
    if columns is not None:
        return reader.Nodes(raw, len(columns.ids)), columns
    try:
        return msgspec.json.decode(raw, type=tuple[Node, ...]), None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        loaded = _parsed(bytes(raw), "the list of nodes") if len(raw) <= LOOKED_AT else None
        if loaded is None and not isinstance(error, msgspec.ValidationError):
            raise Problem("invalid-json", f"the list of nodes cannot be read as JSON in UTF-8: {error}") from None
        path, detail = _not_finite(loaded), NOT_FINITE
        if path is None:
            path, detail = _misfit(str(error), loaded, lambda path: [*Node.__struct_fields__])
        at = f"node {path[0]}, at {'/'.join(map(str, path[1:]))}" if path[1:] else f"node {path[0]}" if path else "nodes"
        raise InvalidNode(f"{at}: {detail}", (*NODES, *path)) from None


def graph_body(nodes: Sequence[Node], outputs: Sequence[str]) -> ExpressionGraph:
    """A graph on the wire."""
    text = Raw(msgspec.json.encode(nodes))
    return ExpressionGraph(text, output=outputs[0]) if len(outputs) == 1 else ExpressionGraph(text, outputs=list(outputs))


class Outgoing:
    """The numbers of one answer on their way out: checked, and written as JSON has them.

    A number that is NaN or infinite raises NonFinite, which says where it comes from, or becomes null and is listed.
    """

    def __init__(self, request: ExpressionRequest, graph: Graph) -> None:
        self.inputs = request.inputs
        self.graph = graph
        self.nulls: list[NonFiniteNumber] | None = [] if request.nonfinite == "null" else None

    @property
    def nonfinite(self) -> list[NonFiniteNumber] | UnsetType:
        """The list for the answer's field of this name."""
        return UNSET if self.nulls is None else self.nulls

    def table(
        self,
        asked: Asked,
        columns: Mapping[str, Column],
        *,
        seeds: Mapping[str, Seed] | None = None,
        output: str | None = None,
    ) -> dict[str, Wire]:
        """A table of numbers by node. The other arguments are as in `faults.explain`."""
        plain: Any = columns.copy() if isinstance(columns, Gradients) else dict(columns)
        # A sum is finite only if all its terms are, and a float only if they are.
        if isinstance(next(iter(plain.values()), None), float) and isinstance(total := sum(plain.values()), float):
            if math.isfinite(total):
                return plain  # type: ignore[no-any-return]  # numbers
        elif all(map(_is_finite, plain.values())):
            return dict(zip(plain, map(_plain, plain.values()), strict=True))

        def fault(node: str) -> Callable[[float, int | None], NonFinite]:
            return lambda number, point: explain(
                self.graph, self.inputs, asked, node, number, point=point, seeds=seeds, output=output
            )

        return {node: self._nulled(asked, node, column, fault(node)) for node, column in columns.items()}

    def described(self, what: str, asked: Asked, node: str, column: Column) -> Wire:
        """A number that is none of a node's own, said as `what`: one that is not finite has its node at fault already."""

        def fault(number: float, point: int | None) -> NonFinite:
            where = "" if point is None else f" at point {point} (counted from 0)"
            place: Path = (*NODES, self.graph.index[node]) if self.graph.source == "nodes" else ("expression",)
            return NonFinite(f"{what} is {number_text(number)}{where}", place)

        return self._nulled(asked, node, column, fault)

    def _nulled(self, asked: Asked, node: str, column: Column, fault: Callable[[float, int | None], NonFinite]) -> Wire:
        """A column with null for each number that is not finite, which is listed, or raised as its `fault`."""
        plain: Any = _plain(column)
        if _is_finite(column):
            return plain  # type: ignore[no-any-return]  # a number, or a list of them
        many = isinstance(plain, list)
        for point, number in enumerate(plain if many else [plain]):
            if math.isfinite(number):
                continue
            if self.nulls is None:
                raise fault(number, point if many else None)
            if len(self.nulls) < MOST_NONFINITE:
                text: Any = number_text(number)
                self.nulls.append(NonFiniteNumber(node, asked.walk, text, point if many else UNSET))
        return [x if math.isfinite(x) else None for x in plain] if many else None

    def one(self, asked: Asked, column: Column, *, seeds: Mapping[str, Seed] | None = None, output: str | None = None) -> Wire:
        """One number, of the graph's output."""
        return self.table(asked, {self.graph.output: column}, seeds=seeds, output=output)[self.graph.output]


def _is_finite(column: Column) -> bool:
    return bool(np.isfinite(column).all()) if isinstance(column, np.ndarray) else math.isfinite(column)


def _plain(column: Column) -> Any:
    return column.tolist() if isinstance(column, np.ndarray) else column
