"""Source code that computes an expression and its derivatives: one straight-line function, without any dependency.

A language is a row of `LANGUAGES`: how numbers, operations and names are written, and the templates of a function. What it
lacks comes along as further functions, written from the texts of `special_functions`.
"""

import ast
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from app.engine.derivative import free_name, gradient, hessian
from app.engine.errors import InvalidNode
from app.engine.graph import Graph, Node
from app.engine.interruption import Checkpoint, checked, never
from app.engine.primitives import ALIASES, LEAF, LEAF_CODE
from app.engine.simplification import simplified
from app.engine.special import HIGHEST_ORDER
from app.formats.formulas import ARITHMETIC
from app.formats.notation import ATOM, FACTOR, NEGATION, PRODUCT, Notation, Plan, Template, Written, needed, plan, write
from app.formats.special_functions import function

LONGEST = 160
"""Longer texts are definitions, so that no line and no nesting becomes too long for a compiler."""
MANY_INPUTS = 64
"""More inputs are passed as one array."""
READABLE = 2000
"""The derivatives of expressions with more nodes are not simplified."""
GROWTH = 4
"""Nor are derivatives with so many times more nodes, as Hessians may have."""
WORTHWHILE = 8


class Entry(NamedTuple):
    """How a list of results is written: a template per entry, what stands between them, and what stands for no entries.

    Of a matrix, it is said of its rows too.
    """

    entry: str = "{value}"
    between: str = ", "
    row: str = "{entries}"
    between_rows: str = ", "
    empty: str = ""


@dataclass(frozen=True)
class Language:
    """A row of the table.

    Templates are format strings. Those of the function know {name}, {module}, {parameters}, {helpers}, {definitions}, {value},
    {gradient}, {hessian}, {count} (the derivatives), {squared}, the same but at least 1 as {room} and {area}, and {size} (the
    inputs).

    Attributes:
        name: its name in requests.
        title: its name in the documentation.
        number: a number from its shortest digits.
        functions: the operations that it has, as calls, with {0} and {1} for the arguments.
        templates: the operations that it writes otherwise, beside arithmetic.
        truth: a comparison as the number 1 or 0.
        condition: a number as a condition.
        identifier: a regular expression of the names that it allows.
        reserved: the names that it does not allow, or uses itself.
        parameter: a parameter of the function.
        no_parameters: what stands for no parameters at all.
        many: the parameter that stands for all, if there are more than `MANY_INPUTS`.
        unpacked: a statement that takes an input out of that: {name}, {k} from 0 and {k1} from 1.
        prepared: a statement for every input before it is used.
        unused: a statement for an input that is not used.
        definition: a statement that gives a value a name.
        helper: a further function: {name}, {parameters}, {definitions}, {value}.
        source: the whole, by what it computes: `none`, `gradient` or `hessian`.
        usage: a line that calls it: {arguments}.
        gradient: how the gradient's entries are written: {k}, {value}, {input}.
        hessian: how the Hessian's are.
        shown: how a name appears in formulas, for notations whose names need not be identifiers.
        notation: a notation in place of arithmetic, functions and templates.
    """

    name: str
    title: str
    source: Mapping[str, str]
    usage: Mapping[str, str]
    definition: str
    helper: str = ""
    number: Callable[[str], str] = str
    functions: Mapping[str, str] = field(default_factory=dict)
    templates: Mapping[str, Template] = field(default_factory=dict)
    truth: str = "({0} ? 1.0 : 0.0)"
    condition: str = "{0} != 0.0"
    identifier: str = r"[A-Za-z_][A-Za-z0-9_]*"
    reserved: frozenset[str] = frozenset()
    parameter: str = "{name}"
    no_parameters: str = ""
    many: str = "inputs"
    unpacked: str = ""
    prepared: str = ""
    unused: str = ""
    gradient: Entry = Entry()
    hessian: Entry = Entry(row="[{entries}]")
    shown: Callable[[str], str] | None = None
    notation: Notation | None = None


@dataclass(frozen=True, slots=True)
class Code:
    """Source code, the names of its function's inputs in their order, which names were changed, and a line that calls it."""

    source: str
    inputs: tuple[str, ...]
    renamed: Mapping[str, str]
    usage: str


def generate(
    graph: Graph,
    language: Language,
    *,
    wrt: Sequence[str] | None = None,
    derivatives: str = "gradient",
    name: str = "f",
    checkpoint: Checkpoint = never,
) -> Code:
    """Return the source code of a function that computes a graph's output and its derivatives.

    The inputs are the leaves, except for those to which a text assigns a number, unless they are in `wrt`.

    Args:
        graph: what is computed.
        language: a row of `LANGUAGES`.
        wrt: the nodes to differentiate by; default: the inputs.
        derivatives: `none`, `gradient` or `hessian`.
        name: the function's name.
        checkpoint: is called from time to time.

    Raises: UnknownNode; InvalidNode for an operation that cannot be written.
    """
    inputs = _inputs(graph, wrt)
    by = inputs if wrt is None else tuple(dict.fromkeys(wrt))
    if derivatives == "none":
        graph.positions(by, ("wrt",))
        whole = replace(graph, outputs=(graph.output,), table=graph.table)
    else:
        whole = (gradient if derivatives == "gradient" else hessian)(graph, by, checkpoint=checkpoint)
        if len(graph.nodes) <= READABLE and len(whole.nodes) <= GROWTH * READABLE:
            whole = simplified(whole, len(graph.nodes), checkpoint=checkpoint)
    nodes = _lowered(whole, set(inputs), checkpoint)
    return _Program(language, nodes, inputs, by, whole.outputs, derivatives, name).code(checkpoint)


def _inputs(graph: Graph, wrt: Sequence[str] | None) -> tuple[str, ...]:
    """The leaves that the function takes: those that are needed and not assigned by a text, and those in `wrt`."""
    table, wiring = graph.table, graph.wiring
    assert table is not None
    used = np.zeros(len(wiring.opcode), np.bool_)
    used[wiring.order[: wiring.live]] = True
    free = used if graph.source == "nodes" else used & (wiring.datum < 0)
    wanted = set(wrt or ())
    leaves = np.flatnonzero(wiring.opcode == LEAF_CODE).tolist()
    return tuple([table.ids[k] for k in leaves if free[k] or table.ids[k] in wanted])


def _lowered(graph: Graph, inputs: set[str], checkpoint: Checkpoint) -> list[Node]:
    """What the outputs need, in operations on one or two arguments as far as languages have no others."""
    nodes: list[Node] = []
    numbers = iter(range(len(graph.nodes) ** 2 + 10**9))
    for node in checked(needed(graph, graph.outputs, checkpoint), checkpoint):
        op, args = ALIASES.get(node.op, node.op), list(node.args)
        if node.op == LEAF:
            nodes.append(node._replace(data=None) if node.id in inputs else node)
        elif op in ("sum", "prod") and len(args) > 2:
            nodes.append(Node(node.id, *_chain("mul" if op == "prod" else "add", args, nodes, numbers)))
        elif op == "mean":
            total = _made(*_chain("add", args, nodes, numbers), nodes, numbers)
            nodes.append(Node(node.id, "divide", (total, float(len(args)))))
        elif op in ("min", "max") and len(args) != 2:
            nodes.append(Node(node.id, *_chain(op, args, nodes, numbers)))
        elif op == "logsumexp" and len(args) < 3:
            nodes.append(Node(node.id, *_chain("logaddexp", args, nodes, numbers)))
        elif op == "logsumexp":  # the largest is subtracted before, and added to the result
            largest = _made(*_chain("max", args, nodes, numbers), nodes, numbers)
            shifted = [_made("sub", (argument, largest), nodes, numbers) for argument in args]
            total = _made(*_chain("logaddexp", shifted, nodes, numbers), nodes, numbers)
            nodes.append(Node(node.id, "add", (largest, total)))
        elif op == "polygamma" and not isinstance(args[0], str):
            if float(args[0]) not in range(HIGHEST_ORDER + 1):
                detail = f"there is no polygamma function of order {args[0]:g}; write a whole number from 0 to {HIGHEST_ORDER}"
                raise InvalidNode(detail, ("nodes", graph.index[node.id]))
            nodes.append(Node(node.id, f"polygamma_{int(args[0])}", (args[1],)))
        elif op == "square":
            nodes.append(Node(node.id, "pow", (args[0], 2.0)))
        else:
            nodes.append(node._replace(op=op))
    return nodes


def _chain(
    op: str, args: Sequence[str | float], nodes: list[Node], numbers: Iterator[int]
) -> tuple[str, tuple[str | float, ...]]:
    """An operation on two arguments from left to right: the last one, after making the others."""
    if len(args) == 1:
        return "sum", (args[0],)
    total = args[0]
    for argument in args[1:-1]:
        total = _made(op, (total, argument), nodes, numbers)
    return op, (total, args[-1])


def _made(op: str, args: tuple[str | float, ...], nodes: list[Node], numbers: Iterator[int]) -> str:
    name = f"\0{next(numbers)}"
    nodes.append(Node(name, op, args))
    return name


def notation_of(language: Language, prefix: str) -> Notation:
    """Return how a language writes expressions; further functions begin with a prefix."""
    if language.notation is not None:
        return language.notation

    def number(value: float) -> Written:
        text = language.number(repr(float(value)))
        return Written(text, NEGATION if text.startswith("-") else ATOM)

    def call(op: str, args: Sequence[str]) -> str:
        native = language.functions.get(op)
        return native.format(*args) if native else f"{prefix}_{op}({', '.join(args)})"

    def special(op: str, args: Sequence[Written]) -> Written | None:
        if op == "pow" and args[1].text == language.number("2.0") and re.fullmatch(r"\w+", args[0].text):
            return notation.operation("mul", [args[0], args[0]])
        return None

    one = language.number("1.0")
    templates = {**ARITHMETIC, "reciprocal": Template(f"{one}/{{0}}", PRODUCT, (FACTOR,)), **language.templates}
    notation = Notation(templates, call, number, language.condition, language.truth, special=special)
    return notation


class _Program:
    """Writes one function in one language."""

    def __init__(
        self,
        language: Language,
        nodes: Sequence[Node],
        inputs: Sequence[str],
        wrt: Sequence[str],
        outputs: Sequence[str],
        derivatives: str,
        name: str,
    ) -> None:
        self.language = language
        self.nodes = nodes
        self.inputs = inputs
        self.wrt = wrt
        self.derivatives = derivatives
        self.taken: dict[str, int] = dict.fromkeys(sorted(language.reserved), 1)
        self.renamed: dict[str, str] = {}
        self.name = self._identifier(name)
        n = len(wrt)
        self.outputs = list(outputs)
        if derivatives == "hessian":
            rows = [[outputs[1 + n + max(i, j) * (max(i, j) + 1) // 2 + min(i, j)] for j in range(n)] for i in range(n)]
            self.outputs = [*outputs[: 1 + n], *(entry for row in rows for entry in row)]
        self.notation = notation_of(language, self.name)

    def code(self, checkpoint: Checkpoint) -> Code:
        """The source code."""
        language = self.language
        planned = plan(self.nodes, self.outputs, self.notation, worthwhile=WORTHWHILE, longest=LONGEST, checkpoint=checkpoint)
        names = {name: self._identifier(name) for name in self.inputs}
        names |= {node.id: self._next() for node in self.nodes if node.id in planned.defined}
        shown = names if language.shown is None else {name: language.shown(text) for name, text in names.items()}
        definitions, results = write(self.notation, planned, shown, checkpoint)
        helpers = further_functions(language, {node.op for node in self.nodes}, self.name)
        fields = self._fields([shown[name] for name in self.inputs], [result.text for result in results])
        used = {node.id for node in self.nodes}
        lines = self._prologue([(shown[name], name in used) for name in self.inputs])
        lines += [language.definition.format(name=name, value=text) for name, text in definitions]
        fields |= {"helpers": "".join(helpers), "definitions": "".join(f"{line}\n" for line in lines)}
        source = language.source[self.derivatives].format(**fields)
        usage = language.usage[self.derivatives].format(**fields)
        return Code(source, tuple(names[name] for name in self.inputs), self.renamed, usage)

    def _fields(self, inputs: Sequence[str], results: Sequence[str]) -> dict[str, object]:
        """What the templates of the function and its usage know."""
        language, n = self.language, len(self.wrt)
        many = len(inputs) > MANY_INPUTS and language.unpacked != ""
        by = [language.shown(name) if language.shown else name for name in self.wrt]
        rows = []
        for i in range(n if self.derivatives == "hessian" else 0):
            row = results[1 + n + i * n : 1 + n + (i + 1) * n]
            entries = [
                language.hessian.entry.format(k=i * n + j, value=value, input=by[i], other=by[j], name=self.name)
                for j, value in enumerate(row)
            ]
            rows.append(language.hessian.row.format(entries=language.hessian.between.join(entries)))
        gradient_entries = [
            language.gradient.entry.format(k=k, value=value, input=by[k], name=self.name)
            for k, value in enumerate(results[1 : 1 + n])
        ]
        parameters = [language.parameter.format(name=name) for name in inputs]
        nothing = language.no_parameters if self.derivatives == "none" else ""
        return {
            "name": self.name,
            "module": self.name[:1].upper() + self.name[1:],
            "parameters": language.many.format(size=len(inputs)) if many else ", ".join(parameters) or nothing,
            "arguments": "inputs" if many else ", ".join(inputs),
            "comma": ", " if inputs else "",
            "value": results[0],
            "gradient": language.gradient.between.join(gradient_entries) or language.gradient.empty,
            "hessian": language.hessian.between_rows.join(rows) or language.hessian.empty,
            "count": n,
            "squared": n * n,
            "room": max(n, 1),
            "area": max(n * n, 1),
            "size": len(inputs),
        }

    def _prologue(self, inputs: Sequence[tuple[str, bool]]) -> list[str]:
        """Statements about the inputs, each given with whether it is used."""
        language = self.language
        lines = []
        if len(inputs) > MANY_INPUTS and language.unpacked:
            lines = [language.unpacked.format(name=name, k=k, k1=k + 1) for k, (name, used) in enumerate(inputs) if used]
        elif language.unused:
            lines = [language.unused.format(name=name) for name, used in inputs if not used]
        return lines + [language.prepared.format(name=name) for name, used in inputs if used and language.prepared]

    def _identifier(self, name: str) -> str:
        """A name that the language allows and that is not taken; it is taken now."""
        plain = name
        if self.language.shown is None and not re.fullmatch(self.language.identifier, name):
            plain = re.sub(r"[^A-Za-z0-9_]", "_", name)
            for candidate in (plain, plain[:1].lower() + plain[1:], f"x_{plain}"):
                if re.fullmatch(self.language.identifier, candidate):
                    plain = candidate
                    break
        found = free_name(plain, self.taken)
        if found != name:
            self.renamed[name] = found
        return found

    def _next(self) -> str:
        self.count = getattr(self, "count", 0) + 1
        while f"t{self.count}" in self.taken:
            self.count += 1
        self.taken[f"t{self.count}"] = 1
        return f"t{self.count}"


def further_functions(language: Language, ops: Collection[str], prefix: str) -> list[str]:
    """Return the functions that a language lacks of some operations, each before those that call it.

    The function of an operation is called by the prefix, an underscore and the operation's name.
    """
    known = {*ARITHMETIC, *language.templates, *language.functions, LEAF, "sum", "mean", "prod", "reciprocal"}
    if language.notation is not None:
        return []
    notation = notation_of(language, prefix)
    written: dict[str, str] = {}
    pending = sorted({*ops} - known, reverse=True)
    while pending:
        op = pending[-1]
        if op in written:
            pending.pop()
            continue
        parameters, text = function(op)
        nodes = nodes_of(text, parameters)
        missing = sorted({node.op for node in nodes} - known - written.keys() - {op})
        if missing:
            pending.extend(missing)
        else:
            written[op] = _further_function(language, notation, f"{prefix}_{op}", parameters, nodes)
            pending.pop()
    return list(written.values())


def _further_function(
    language: Language, notation: Notation, name: str, parameters: Sequence[str], nodes: Sequence[Node]
) -> str:
    assigned = frozenset(node.id for node in nodes[:-1] if not node.id.startswith("\0") and node.op != LEAF)
    definitions, (result,) = write(notation, Plan(nodes, assigned, [nodes[-1].id]), {n.id: n.id for n in nodes})
    lines = "".join(f"{language.definition.format(name=key, value=text)}\n" for key, text in definitions)
    shown = ", ".join(language.parameter.format(name=key) for key in parameters)
    return language.helper.format(name=name, parameters=shown, definitions=lines, value=result.text)


OPERATORS = {
    ast.Add: "add",
    ast.Sub: "sub",
    ast.Mult: "mul",
    ast.Div: "divide",
    ast.Pow: "pow",
    ast.Lt: "lt",
    ast.LtE: "le",
    ast.Gt: "gt",
    ast.GtE: "ge",
    ast.Eq: "eq",
    ast.NotEq: "ne",
}


def nodes_of(text: str, parameters: Sequence[str]) -> list[Node]:
    """Return the nodes of a function's text, arguments first: leaves for its parameters, and the result last."""
    nodes = [Node(name, LEAF) for name in parameters]

    def read(tree: ast.expr) -> str | float:
        match tree:
            case ast.Constant(value=value):
                return float(str(value))
            case ast.Name(id=name):
                return name
            case ast.UnaryOp(operand=inner):
                value = read(inner)
                return -value if isinstance(value, float) else add("neg", value)
            case ast.BinOp(left=left, op=op, right=right):
                return add(OPERATORS[type(op)], read(left), read(right))
            case ast.Compare(left=left, ops=[op], comparators=[right]):
                return add(OPERATORS[type(op)], read(left), read(right))
            case ast.IfExp(test=test, body=body, orelse=otherwise):
                return add("where", read(test), read(body), read(otherwise))
            case ast.Call(func=ast.Name(id=name), args=args):
                return add(name, *map(read, args))
        raise ValueError(f"{ast.dump(tree)} has no place in a function's text")

    def add(op: str, *args: str | float) -> str:
        nodes.append(Node(f"\0{len(nodes)}", op, args))
        return nodes[-1].id

    for statement in ast.parse("\n".join(part.strip() for part in text.split(";"))).body:
        if isinstance(statement, ast.Assign):
            name = ast.unparse(statement.targets[0])
            value = read(statement.value)
            nodes.append(Node(name, "sum", (value,)))
        else:
            assert isinstance(statement, ast.Expr)
            nodes.append(Node("\0result", "sum", (read(statement.value),)))
    return nodes
