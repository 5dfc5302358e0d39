"""Faulty requests about expressions, and the problem that each of them gets."""

from typing import Any, NamedTuple

from tests.contract.wire import graph, leaf, node, smallest


class Fault(NamedTuple):
    """A faulty request: the smallest valid one with `fields` replaced, and what its problem must say."""

    operation: str
    fields: dict[str, Any]
    problem: str
    pointer: str
    words: tuple[str, ...]
    """What the detail must contain; "a|b" stands for a or b."""

    @property
    def request(self) -> dict[str, Any]:
        """The request as it is sent."""
        return smallest(self.operation, **self.fields)


def fault(operation: str, fields: dict[str, Any], problem: str, pointer: str, *words: str) -> Fault:
    """Return a fault whose `words` are given one by one."""
    return Fault(operation, fields, problem, pointer, words)


X, Y = leaf("x", 1.0), leaf("y", 2.0)

SHAPE = [
    fault("forward", {"expression": 5}, "invalid-request", "/expression", "string|text", "object"),
    fault("forward", {"expression": None}, "invalid-request", "/expression"),
    fault("forward", {"expression": ["x"]}, "invalid-request", "/expression", "a list with one entry"),
    fault("forward", {"inputs": 5}, "invalid-request", "/inputs", "object"),
    fault("forward", {"inputs": [1]}, "invalid-request", "/inputs", "object"),
    fault("forward", {"inputs": {"x": "3.5"}}, "invalid-request", "/inputs/x", "number"),
    fault("forward", {"inputs": {"x": True}}, "invalid-request", "/inputs/x", "number"),
    fault("forward", {"inputs": {"x": None}}, "invalid-request", "/inputs/x", "number"),
    fault("forward", {"inputs": {"x": {}}}, "invalid-request", "/inputs/x", "number"),
    fault("forward", {"inputs": {"x": [1, "2"]}}, "invalid-request", "/inputs/x/1", "number"),
    fault("forward", {"inputs": {"x": [[1]]}}, "invalid-request", "/inputs/x/0", "number"),
    fault("forward", {"inputs": {"a": 1, "x": [1, None]}}, "invalid-request", "/inputs/x/1", "number"),
    fault("forward", {"inputs": {"a/b~c": [1, False]}}, "invalid-request", "/inputs/a~1b~0c/1", "number"),
    fault("forward", {"inputs": {"": "q"}}, "invalid-request", "/inputs/", "number"),
    fault("forward", {"input": {}}, "invalid-request", "/input", "unknown", "'inputs'"),
    fault("forward", {"wrt": ["x"]}, "invalid-request", "/wrt", "unknown"),
    fault("forward", {"a/b~c": 1}, "invalid-request", "/a~1b~0c", "unknown"),
    fault("forward", {"nonfinite": "nul"}, "invalid-request", "/nonfinite", "error"),
    fault("forward", {"values": 1}, "invalid-request", "/values", "true"),
    fault("forward", {"values": "true"}, "invalid-request", "/values", "true"),
    fault("backward", {"wrt": "x"}, "invalid-request", "/wrt", "list"),
    fault("backward", {"wrt": [1]}, "invalid-request", "/wrt/0", "string"),
    fault("backward", {"wrt": ["x", None]}, "invalid-request", "/wrt/1", "string"),
    fault("backward", {"cotangent": "1"}, "invalid-request", "/cotangent", "number"),
    fault("backward", {"cotangent": True}, "invalid-request", "/cotangent", "number"),
    fault("backward", {"cotangent": [1, "1"]}, "invalid-request", "/cotangent/1", "number"),
    fault("jvp", {"tangents": {"x": "1"}}, "invalid-request", "/tangents/x", "number"),
    fault("jvp", {"tangents": {"x": [True]}}, "invalid-request", "/tangents/x/0", "number"),
    fault("hvp", {"tangents": 1}, "invalid-request", "/tangents", "object"),
    fault("jacobian", {"outputs": "x"}, "invalid-request", "/outputs", "list"),
    fault("jacobian", {"outputs": []}, "invalid-request", "/outputs"),
    fault("check", {"tolerance": "1"}, "invalid-request", "/tolerance", "number"),
    fault("check", {"tolerance": -1}, "invalid-request", "/tolerance", "0"),
    fault("graph", {"gradients": "yes"}, "invalid-request", "/gradients", "true"),
    fault("parse", {"values": True}, "invalid-request", "/values", "unknown"),
    fault("forward", {"expression": {}}, "invalid-request", "/expression/nodes", "missing|required"),
    fault("forward", {"expression": {"nodes": []}}, "invalid-request", "/expression/output", "output"),
    fault("forward", {"expression": {"nodes": [], "output": "x"}}, "invalid-request", "/expression/nodes", "one node"),
    fault("forward", {"expression": {"nodes": {}, "output": "x"}}, "invalid-request", "/expression/nodes", "list"),
    fault("forward", {"expression": {"nodes": [5], "output": "x"}}, "invalid-request", "/expression/nodes/0", "object"),
    fault("forward", {"expression": {"nodes": [X], "output": 5}}, "invalid-request", "/expression/output", "string"),
    fault("forward", {"expression": {"nodes": [X], "outputs": ["x"]}}, "invalid-request", "/expression/outputs", '"output"'),
    fault("jacobian", {"expression": {"nodes": [X], "outputs": []}}, "invalid-request", "/expression/outputs"),
    fault("jacobian", {"expression": {"nodes": [X], "outputs": [5]}}, "invalid-request", "/expression/outputs/0", "string"),
    fault("forward", {"expression": graph(X, extra=1)}, "invalid-request", "/expression/extra", "unknown"),
    fault("forward", {"expression": graph({"id": "x"})}, "invalid-request", "/expression/nodes/0/op", "missing|required"),
    fault(
        "forward",
        {"expression": {"nodes": [{"op": "value"}], "output": "x"}},
        "invalid-request",
        "/expression/nodes/0/id",
        "missing|required",
    ),
    fault(
        "forward",
        {"expression": graph(X, {**Y, "date": 1})},
        "invalid-request",
        "/expression/nodes/1/date",
        "unknown",
        "'data'",
    ),
    fault("forward", {"expression": graph(X, {**Y, "data": "2"})}, "invalid-request", "/expression/nodes/1/data", "number"),
    fault("forward", {"expression": graph(X, {**Y, "data": True})}, "invalid-request", "/expression/nodes/1/data", "number"),
    fault("forward", {"expression": graph(X, {**Y, "data": [2]})}, "invalid-request", "/expression/nodes/1/data", "number"),
    fault("forward", {"expression": graph(X, {**Y, "label": 2})}, "invalid-request", "/expression/nodes/1/label", "string"),
    fault(
        "forward",
        {"expression": graph(X, {"id": 5, "op": "value"}, output="x")},
        "invalid-request",
        "/expression/nodes/1/id",
        "string",
    ),
    fault("forward", {"expression": graph(X, {"id": "z", "op": 5})}, "invalid-request", "/expression/nodes/1/op", "string"),
    fault(
        "forward",
        {"expression": graph(X, {"id": "z", "op": "neg", "args": "x"})},
        "invalid-request",
        "/expression/nodes/1/args",
        "list",
    ),
    fault("forward", {"expression": graph(X, node("z", "neg", True))}, "invalid-request", "/expression/nodes/1/args/0"),
    fault("forward", {"expression": graph(X, node("z", "add", 1, None))}, "invalid-request", "/expression/nodes/1/args/1"),
    fault("forward", {"expression": graph(X, node("z", "add", 1, ["x"]))}, "invalid-request", "/expression/nodes/1/args/1"),
    fault("forward", {"expression": graph(X, leaf(""), output="x")}, "invalid-request", "/expression/nodes/1/id", "128"),
    fault("forward", {"expression": graph(X, leaf("q" * 129), output="x")}, "invalid-request", "/expression/nodes/1/id", "128"),
    fault(
        "forward", {"expression": graph(X, leaf("\x1f"), output="x")}, "invalid-request", "/expression/nodes/1/id", "control"
    ),
    fault(
        "forward", {"expression": graph(X, node("z", "neg", "x", data=1))}, "invalid-request", "/expression/nodes/1/data", "'z'"
    ),
    fault("forward", {"expression": "x = 1; y = x*x", "inputs": {"y": 2}}, "invalid-request", "/inputs/y", "'y'", "leaf"),
    fault("forward", {"expression": "q" * 129, "inputs": {}}, "syntax-error", "/expression", "line 1", "column 1", "128"),
]
"""Requests that do not match the schema."""

NAMES = [
    fault(
        "forward",
        {"expression": graph(X, Y, node("z", "add", "x", "yy"))},
        "unknown-node",
        "/expression/nodes/2/args/1",
        "'yy'",
        "'y'",
    ),
    fault(
        "forward",
        {"expression": {"nodes": [leaf("weight", 1)], "output": "wieght"}},
        "unknown-node",
        "/expression/output",
        "'wieght'",
        "'weight'",
    ),
    fault(
        "jacobian",
        {"expression": {"nodes": [X, Y], "outputs": ["x", "yy"]}},
        "unknown-node",
        "/expression/outputs/1",
        "'yy'",
        "'y'",
    ),
    fault("jacobian", {"expression": {"nodes": [X, Y], "outputs": ["z"]}}, "unknown-node", "/expression/outputs/0", "'z'"),
    fault(
        "jacobian",
        {"expression": "first = x", "outputs": ["first", "frist"]},
        "unknown-node",
        "/outputs/1",
        "'frist'",
        "'first'",
    ),
    fault("backward", {"wrt": ["x", "z"]}, "unknown-node", "/wrt/1", "'z'", "'x'"),
    fault("hessian", {"wrt": ["z"]}, "unknown-node", "/wrt/0", "'z'"),
    fault("check", {"wrt": ["x", "x", "z"]}, "unknown-node", "/wrt/2", "'z'"),
    fault("forward", {"inputs": {"x": 1, "y": 2}}, "unknown-node", "/inputs/y", "'y'", "'x'"),
    fault("forward", {"inputs": {"x": 1, "a/b~c": 2}}, "unknown-node", "/inputs/a~1b~0c", "'a/b~c'"),
    fault("parse", {"inputs": {"y": [2]}}, "unknown-node", "/inputs/y", "'y'"),
    fault("jvp", {"tangents": {"x": 1, "y": 2}}, "unknown-node", "/tangents/y", "'y'"),
    fault("hvp", {"tangents": {"a/b": 2}}, "unknown-node", "/tangents/a~1b", "'a/b'"),
    fault(
        "forward",
        {"expression": graph(X, Y, leaf("x"), output="x")},
        "duplicate-node",
        "/expression/nodes/2/id",
        "'x'",
        "0",
        "2",
    ),
    fault("forward", {"expression": "a = x\na = 2*x"}, "duplicate-node", "/expression", "'a'", "line 2, column 1"),
    fault("forward", {"expression": "a = x; x = 3; a"}, "duplicate-node", "/expression", "'x'", "line 1, column 8"),
    fault(
        "forward",
        {"expression": graph(X, node("z", "sn", "x"))},
        "unknown-primitive",
        "/expression/nodes/1/op",
        "'sn'",
        "'sin'",
    ),
    fault("forward", {"expression": graph(X, node("z", "", "x"))}, "unknown-primitive", "/expression/nodes/1/op", "''"),
    fault(
        "forward",
        {"expression": graph(X, node("z", "POW", "x", 2))},
        "unknown-primitive",
        "/expression/nodes/1/op",
        "'POW'",
        "'pow'",
    ),
    fault("forward", {"expression": "x + sn(x)"}, "unknown-primitive", "/expression", "'sn'", "'sin'", "line 1, column 5"),
    fault("forward", {"expression": "value(x)"}, "unknown-primitive", "/expression", "'value'", "column 1"),
    fault("forward", {"expression": "div(x, 2) + divided(x, 2)"}, "unknown-primitive", "/expression", "'divided'", "'divide'"),
]
"""Ids and primitives that do not exist, or exist twice."""

ARITY = [
    fault(
        "forward",
        {"expression": graph(X, node("z", "sin", "x", "x"))},
        "wrong-arity",
        "/expression/nodes/1/args",
        "sin",
        "1",
        "2",
        "'z'",
    ),
    fault(
        "forward", {"expression": graph(X, node("z", "pow", "x"))}, "wrong-arity", "/expression/nodes/1/args", "pow", "2", "1"
    ),
    fault("forward", {"expression": graph(X, {"id": "z", "op": "neg"})}, "wrong-arity", "/expression/nodes/1/args", "neg", "0"),
    fault("forward", {"expression": graph(node("z", "sum"))}, "wrong-arity", "/expression/nodes/0/args", "sum", "0"),
    fault(
        "forward",
        {"expression": graph(X, node("z", "where", 1, 2))},
        "wrong-arity",
        "/expression/nodes/1/args",
        "where",
        "3",
        "2",
    ),
    fault("forward", {"expression": graph(X, node("z", "value", "x"))}, "wrong-arity", "/expression/nodes/1/args", "1"),
    fault("forward", {"expression": "1 + sin(x, x)"}, "wrong-arity", "/expression", "sin", "line 1, column 5"),
    fault("forward", {"expression": "max(x)"}, "wrong-arity", "/expression", "max", "2", "1"),
    fault("forward", {"expression": "exp()"}, "wrong-arity", "/expression", "exp", "0"),
]
"""Calls with too few or too many arguments."""

CYCLES = [
    fault("forward", {"expression": graph(node("a", "neg", "b"), node("b", "neg", "a"))}, "graph-cycle", "/expression/nodes/1"),
    fault("forward", {"expression": graph(X, node("a", "neg", "a"))}, "graph-cycle", "/expression/nodes/1", "a -> a"),
    fault(
        "forward", {"expression": graph(X, node("a", "neg", "a"), output="x")}, "graph-cycle", "/expression/nodes/1", "a -> a"
    ),
]
"""Nodes that depend on themselves."""

UNBOUND = [
    fault("forward", {"expression": "x*y"}, "unbound-input", "/expression", "'y'", "inputs"),
    fault(
        "forward",
        {"expression": graph(leaf("x"), leaf("z"), node("y", "mul", "x", "z"))},
        "unbound-input",
        "/expression/nodes/1",
        "'z'",
    ),
    fault("forward", {"expression": "x", "inputs": {}}, "unbound-input", "/expression", "'x'"),
    fault("graph", {"expression": "x", "inputs": {}}, "unbound-input", "/expression", "'x'"),
]
"""Leaves without a number."""

TEXT = [
    fault("forward", {"expression": ""}, "syntax-error", "/expression", "line 1, column 1", "expected"),
    fault("forward", {"expression": "# nothing"}, "syntax-error", "/expression", "line 1, column 10", "expected"),
    fault(
        "forward", {"expression": "a = x\nb = (a + 1\nb"}, "syntax-error", "/expression", "line 3, column 1", "expected", "')'"
    ),
    fault("forward", {"expression": "x +"}, "syntax-error", "/expression", "line 1, column 4", "expected", "number"),
    fault("forward", {"expression": "(x\n  + * 2)"}, "syntax-error", "/expression", "line 2, column 5", "expected", "'*'"),
    fault("forward", {"expression": "2x"}, "syntax-error", "/expression", "line 1, column 2", "operator", "'x'"),
    fault("forward", {"expression": "x^2"}, "syntax-error", "/expression", "line 1, column 2", "**"),
    fault("forward", {"expression": "x = x == "}, "syntax-error", "/expression", "line 1, column 10", "end"),
    fault("forward", {"expression": "f(x) = 2"}, "unknown-primitive", "/expression", "'f'"),
    fault("forward", {"expression": "x if x"}, "syntax-error", "/expression", "line 1, column 7", "'else'"),
    fault("forward", {"expression": "max(x, 2"}, "syntax-error", "/expression", "line 1, column 9", "')'"),
    fault("forward", {"expression": "x)"}, "syntax-error", "/expression", "line 1, column 2", "')'"),
    fault("forward", {"expression": "x; x"}, "syntax-error", "/expression", "line 1, column 1", "last"),
    fault("forward", {"expression": "x.real"}, "syntax-error", "/expression", "line 1, column 2"),
    fault("forward", {"expression": "'x'"}, "syntax-error", "/expression", "line 1, column 1"),
    fault("forward", {"expression": "1e999"}, "syntax-error", "/expression", "line 1, column 1", "1.8e308"),
    fault("forward", {"expression": "x + 1__0"}, "syntax-error", "/expression", "line 1, column 5"),
    fault("forward", {"expression": "x\x00"}, "syntax-error", "/expression", "line 1, column 2"),
    fault("forward", {"expression": "x² + 1", "inputs": {}}, "syntax-error", "/expression", "line 1, column"),
    fault("forward", {"expression": "x + ٣"}, "syntax-error", "/expression", "line 1, column 5"),
]
"""Texts that are not expressions."""

LENGTHS = [
    fault(
        "forward",
        {"expression": "x*y", "inputs": {"x": [1, 2], "y": [1, 2, 3]}},
        "shape-mismatch",
        "/inputs/y",
        "2",
        "3",
        "'x'",
        "'y'",
    ),
    fault("forward", {"expression": "x*y", "inputs": {"x": [1, 2], "y": []}}, "shape-mismatch", "/inputs/y", "empty"),
    fault("parse", {"expression": "x*y", "inputs": {"x": [1, 2], "y": [1]}}, "shape-mismatch", "/inputs/y", "2", "1"),
    fault("backward", {"inputs": {"x": [1, 2]}, "cotangent": [1, 2, 3]}, "shape-mismatch", "/cotangent", "2", "3"),
    fault("jvp", {"inputs": {"x": [1, 2]}, "tangents": {"x": [1]}}, "shape-mismatch", "/tangents/x", "2", "1"),
    fault(
        "hvp",
        {"expression": "x*y", "inputs": {"x": 1, "y": 2}, "tangents": {"x": [1, 2], "y": [1]}},
        "shape-mismatch",
        "/tangents/y",
        "2",
        "1",
    ),
]
"""Lists of unequal lengths."""

NONFINITE = [
    fault("forward", {"expression": "log(x)", "inputs": {"x": -1}}, "non-finite", "/expression", "log(-1.0)", "NaN"),
    fault("forward", {"expression": graph(X, node("y", "divide", 1, 0))}, "non-finite", "/expression/nodes/1", "'y'"),
]
"""Values that are NaN or infinite."""
FAULTS = [*SHAPE, *NAMES, *ARITY, *CYCLES, *UNBOUND, *TEXT, *LENGTHS, *NONFINITE]
