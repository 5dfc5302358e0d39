"""Read a network from an ONNX file.

A file is untrusted. What it holds is counted before a library parses it and before numbers are allocated, no external data are
read, and no path is opened. The graph must be a chain of layers. A scaler at its beginning is folded into the first layer; a
last Softmax or Sigmoid, and what computes labels from it, are removed, since scores are logits here.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from app.engine.errors import quote
from app.engine.interruption import Checkpoint, never
from app.formats import protobuf
from app.formats.errors import InvalidFile, optional
from app.formats.layers import Chain
from app.formats.onnx_activations import OPERATORS, Step, X, known_compositions
from app.formats.onnx_export import PRODUCER
from app.formats.onnx_tensors import TENSOR, array_of, count_numbers
from app.formats.protobuf import Limits, Message
from app.nn.model import Floats, Model

Reserve = Callable[[int], None]
"""Is called with the number of numbers of a file or of its model before they are allocated, and may raise."""

LIMITS = Limits(fields=300_000, depth=16, packed=1 << 20)
MAX_ATTRIBUTE = 1 << 20
"""Numbers of the longest attribute, such as the scale of a Scaler."""
MAX_TAIL = 32
"""Nodes of the longest branch for labels."""

_STRINGS = Message()
_NODE_FIELDS: dict[int, Message] = {9: _STRINGS, 10: _STRINGS}
_NODE = Message(_NODE_FIELDS)
_SHAPE = Message({1: _STRINGS})
_TYPE = Message({1: Message({2: _SHAPE})})
_VALUE = Message({2: _TYPE, 4: _STRINGS})
_SPARSE = Message({1: TENSOR, 2: TENSOR})
_GRAPH = Message(
    {1: _NODE, 5: TENSOR, 11: _VALUE, 12: _VALUE, 13: _VALUE, 14: Message({2: _STRINGS}), 15: _SPARSE, 16: _STRINGS},
)
_ATTRIBUTE = Message(
    {5: TENSOR, 6: _GRAPH, 10: TENSOR, 11: _GRAPH, 14: _TYPE, 15: _TYPE, 22: _SPARSE, 23: _SPARSE}, frozenset({8})
)
_NODE_FIELDS[5] = _ATTRIBUTE
_FUNCTION = Message({7: _NODE, 9: _STRINGS, 11: _ATTRIBUTE, 12: _VALUE, 14: _STRINGS})
MODEL = Message(
    {7: _GRAPH, 8: _STRINGS, 14: _STRINGS, 20: Message({1: _GRAPH, 2: _GRAPH}), 25: _FUNCTION, 26: _STRINGS}, needed=7
)
"""The messages of an ONNX file, by the numbers of their fields in onnx.proto."""

LAST = ("Softmax", "Sigmoid", "ArgMax")
"""Operators with which the part of a classifier begins that follows its scores."""
TAIL = {
    *LAST,
    *("Sub", "Concat", "ArrayFeatureExtractor", "Reshape", "Cast", "ZipMap", "Identity", "Flatten"),
}
"""Operators that turn scores into probabilities and labels."""

FLOAT_TYPES = (1, 10, 11, 16)
"""float, float16, double, bfloat16: what a Cast may lead to."""


@dataclass(frozen=True, slots=True)
class Imported:
    """A model that was read, and what was removed from it."""

    model: Model
    removed: tuple[str, ...] = ()


def read_onnx(data: bytes | bytearray, *, reserve: Reserve, checkpoint: Checkpoint = never) -> Imported:
    """Return the network in a file. Raises InvalidFile, NetworkMismatch, MissingLibrary; and what `reserve` raises."""
    protobuf.check(data, MODEL, LIMITS, checkpoint)
    onnx = optional("onnx")
    decode_error = optional("google.protobuf.message").DecodeError
    file = onnx.ModelProto()
    try:
        file.ParseFromString(bytes(data))
    except decode_error:
        raise InvalidFile("the file is neither an ONNX model nor a safetensors file, or it is damaged") from None
    if not file.graph.node:
        raise InvalidFile("the file is no ONNX model, or one without operators")
    if file.functions:
        raise InvalidFile("the file defines functions of its own, which are not read; export it with inlined functions")
    if file.graph.sparse_initializer:
        raise InvalidFile("the file has sparse weights, which are not read; make them dense")
    return _Reader(file, reserve, checkpoint).imported()


class _Reader:
    """A walk along the chain of layers."""

    def __init__(self, file: Any, reserve: Reserve, checkpoint: Checkpoint) -> None:
        graph = file.graph
        self.checkpoint = checkpoint
        self.is_ours = file.producer_name == PRODUCER
        self.outputs = [output.name for output in graph.output]
        self.tensors: dict[str, Any] = {tensor.name: tensor for tensor in graph.initializer}
        self.derived: dict[str, tuple[str, Any]] = {}
        self.nodes = [node for node in graph.node if not self.is_constant(node)]
        numbers = count_numbers(self.tensors.values())
        reserve(numbers)
        self.chain = Chain(reserve, numbers)
        self.inputs = [value for value in graph.input if value.name not in self.tensors]
        self.readers: dict[str, list[int]] = defaultdict(list)
        for k, node in enumerate(self.nodes):
            for name in dict.fromkeys(node.input):
                self.readers[name].append(k)
        self.used: set[int] = set()

    def is_constant(self, node: Any) -> bool:
        """Whether a node computes a constant. If so, note how."""
        if node.op_type == "Constant" and len(node.output) == 1 and len(node.attribute) == 1:
            attribute = node.attribute[0]
            self.check_new(node.output[0])
            if attribute.name == "value":
                self.tensors[node.output[0]] = attribute.t
            elif attribute.name in ("value_float", "value_int", "value_floats", "value_ints"):
                _check_length(attribute)
                numbers = {"value_float": [attribute.f], "value_int": [attribute.i]}.get(attribute.name)
                found = np.array(numbers or [*attribute.floats, *attribute.ints], np.float64)
                self.derived[node.output[0]] = ("", found.reshape(()) if numbers else found)
            else:
                raise InvalidFile(f"a Constant with {quote(attribute.name)} is not read")
            return True
        source = node.input[0] if node.input else ""
        if node.op_type in ("Identity", "Cast", "Transpose") and len(node.output) == 1 and self.is_array(source):
            self.check_new(node.output[0])
            self.derived[node.output[0]] = (source, node)
            return True
        return False

    def check_new(self, name: str) -> None:
        """Raise InvalidFile for a constant that there is already; constants made of each other would have no end."""
        if self.is_array(name):
            raise InvalidFile(f"there are two constants with the name {quote(name)}")

    def is_array(self, name: str) -> bool:
        """Whether a name stands for a constant."""
        return name in self.tensors or name in self.derived

    def size(self, name: str) -> int:
        """How many numbers a constant has."""
        while name in self.derived:
            source, made = self.derived[name]
            if not source:
                return int(made.size)
            name = source
        return math.prod(self.tensors[name].dims)

    def array(self, name: str, what: str) -> Floats:
        """The numbers of a constant."""
        turned = False
        while name in self.derived:
            source, made = self.derived[name]
            if not source:
                return made if not turned else made.T  # type: ignore[no-any-return]  # an array
            if made.op_type == "Transpose" and list(_attributes(made).get("perm", [1, 0])) != [1, 0]:
                raise InvalidFile(f"a Transpose with other axes than [1, 0] is not read (of {what})")
            turned ^= made.op_type == "Transpose"
            name = source
        if name not in self.tensors:
            raise InvalidFile(f"{what} must be constant, and {quote(name)} is computed")
        found = array_of(self.tensors[name])
        return found.T if turned else found

    def imported(self) -> Imported:
        """Walk from the input to the scores."""
        if len(self.inputs) != 1:
            raise InvalidFile(f"a network has one input, and the file has {len(self.inputs)}")
        name = self.inputs[0].name
        self.chain.width = _width(self.inputs[0])
        removed: tuple[str, ...] = ()
        while ahead := [k for k in self.readers.get(name, ()) if k not in self.used]:
            self.checkpoint()
            tail = self.tail(ahead)
            if tail:
                removed = tuple(dict.fromkeys(self.nodes[k].op_type for k in tail))
                self.used.update(tail)
                break
            name = self.step(name, ahead)
        self.check_end(name, removed)
        return Imported(self.chain.model(), removed)

    def check_end(self, name: str, removed: Sequence[str]) -> None:
        """Raise InvalidFile where something of the graph was not read, or is not an output that scores are."""
        for k, node in enumerate(self.nodes):
            if k not in self.used:
                raise _unread(node, "; it does not follow from the input through layers")
        if not removed and self.outputs != [name]:
            raise InvalidFile("a network has one output, at the end of its layers; the file has others")

    def tail(self, ahead: Sequence[int]) -> list[int]:
        """The nodes that are left if they only make probabilities or labels of the scores."""
        left = len(self.nodes) - len(self.used)
        if self.is_ours or left > MAX_TAIL or not any(self.nodes[k].op_type in LAST for k in ahead):
            return []
        rest = [k for k in range(len(self.nodes)) if k not in self.used]
        kinds = [self.nodes[k].op_type for k in rest]
        makes_labels = "ArgMax" in kinds
        fits = set(kinds) <= (TAIL if makes_labels else {"Softmax", "Sigmoid", "Identity", "Cast"})
        return rest if fits and (makes_labels or sum(kind in LAST for kind in kinds) == 1) else []

    def step(self, name: str, ahead: Sequence[int]) -> str:
        """Read what follows a value; return the name of the next."""
        for activation, steps in known_compositions():
            found = self.matched(steps, name)
            if found is not None:
                self.used.update(found)
                self.chain.activation(activation)
                return str(self.nodes[found[-1]].output[0])
        if name in self.outputs:
            raise InvalidFile("a network has one output, at the end of its layers; the file has others before it")
        if len(ahead) != 1:
            kinds = ", ".join(dict.fromkeys(self.nodes[k].op_type for k in ahead))
            raise InvalidFile(f"{quote(name)} goes to several operators ({kinds}); a network is a chain of layers")
        node = self.nodes[ahead[0]]
        self.used.add(ahead[0])
        read = READERS.get(node.op_type)
        if read is None or node.domain not in ("", "ai.onnx", "ai.onnx.ml"):
            raise _unread(node)
        if len(node.output) != 1:
            raise InvalidFile(f"the operator {node.op_type} must have one output here")
        read(self, node, name)
        return str(node.output[0])

    def matched(self, steps: Sequence[Step], name: str) -> list[int] | None:
        """The nodes that are these steps from a value on, in the order of the steps, or None."""
        found: list[int] = []
        for operator, arguments in steps:
            sources = [name if a == X else self.nodes[found[a]].output[0] if isinstance(a, int) else a for a in arguments]
            first = next(source for source in sources if isinstance(source, str))
            for k in self.readers.get(first, ()):
                if k not in self.used and k not in found and self.is_step(self.nodes[k], operator, sources):
                    found.append(k)
                    break
            else:
                return None
        own = {*found}
        for k in found[:-1]:
            output = self.nodes[k].output[0]
            if output in self.outputs or not own.issuperset(self.readers.get(output, ())):
                return None
        outside = set(self.readers.get(name, ())) - own - self.used
        return None if outside or name in self.outputs else found

    def is_step(self, node: Any, operator: str, sources: Sequence[str | float]) -> bool:
        """Whether a node is an operator, without attributes, of these values and numbers."""
        if node.op_type != operator or node.attribute or len(node.input) != len(sources) or len(node.output) != 1:
            return False
        return all(
            self.is_number(given, source) if isinstance(source, float) else given == source
            for given, source in zip(node.input, sources, strict=True)
        )

    def is_number(self, name: str, number: float) -> bool:
        """Whether a name stands for this number, rounded to single precision if that is its type."""
        if not self.is_array(name) or self.size(name) != 1:
            return False
        found = self.array(name, "a number")
        with np.errstate(over="ignore"):
            return float(found.reshape(())) in (number, float(np.float32(number)))

    def vector(self, node: Any, name: str) -> Floats:
        """The constant that a node combines with a value, as a vector or as a single number."""
        others = [given for given in node.input if given != name]
        if len(others) != 1:
            raise _unread(node, "; one of its arguments must be constant")
        found = self.array(others[0], f"an argument of {node.op_type}")
        if found.ndim > 2 or (found.ndim == 2 and len(found) != 1):
            raise InvalidFile(f"an argument of {node.op_type} has the shape {found.shape}; expected one number per neuron")
        return found.ravel()


def _gemm(reader: _Reader, node: Any, name: str) -> None:
    options = _attributes(node)
    if len(node.input) not in (2, 3) or node.input[0] != name or options.get("transA", 0):
        raise InvalidFile("a Gemm must multiply the value before it with constant weights")
    weights = reader.array(node.input[1], "the weights of a Gemm")
    if not options.get("transB", 0):
        weights = weights.T
    biases = reader.array(node.input[2], "the biases of a Gemm").ravel() if len(node.input) == 3 and node.input[2] else None
    alpha, beta = float(options.get("alpha", 1.0)), float(options.get("beta", 1.0))
    if biases is not None and beta != 1.0:
        biases = beta * biases
    reader.chain.matrix(weights if alpha == 1.0 else alpha * weights, biases)


def _matmul(reader: _Reader, node: Any, name: str) -> None:
    if len(node.input) != 2 or node.input[0] != name:
        raise InvalidFile("a MatMul must multiply the value before it with constant weights")
    reader.chain.matrix(reader.array(node.input[1], "the weights of a MatMul").T, None)


def _add(reader: _Reader, node: Any, name: str) -> None:
    reader.chain.scaled(None, reader.vector(node, name))


def _sub(reader: _Reader, node: Any, name: str) -> None:
    other = reader.vector(node, name)
    if node.input[0] == name:
        reader.chain.scaled(None, -other)
    else:
        reader.chain.scaled(np.array([-1.0]), other)


def _mul(reader: _Reader, node: Any, name: str) -> None:
    reader.chain.scaled(reader.vector(node, name), None)


def _div(reader: _Reader, node: Any, name: str) -> None:
    if node.input[0] != name:
        raise _unread(node, "; only a division by a constant is")
    with np.errstate(divide="ignore"):
        reader.chain.scaled(1.0 / reader.vector(node, name), None)


def _scaler(reader: _Reader, node: Any, name: str) -> None:
    """(x - offset)*scale."""
    options = _attributes(node)
    offset, scale = (np.array(options.get(key, [default]), np.float64) for key, default in (("offset", 0.0), ("scale", 1.0)))
    reader.chain.scaled(None, -offset)
    reader.chain.scaled(scale, None)


def _identity(reader: _Reader, node: Any, name: str) -> None:
    """Nothing to do."""


def _cast(reader: _Reader, node: Any, name: str) -> None:
    if _attributes(node).get("to") not in FLOAT_TYPES:
        raise InvalidFile("a Cast to something else than a real type is not read")


def _flatten(reader: _Reader, node: Any, name: str) -> None:
    if _attributes(node).get("axis", 1) != 1:
        raise InvalidFile("a Flatten with another axis than 1 is not read")


def _reshape(reader: _Reader, node: Any, name: str) -> None:
    """Only one that leaves rows as they are."""
    if len(node.input) != 2 or node.input[0] != name:
        raise _unread(node)
    shape, width = reader.array(node.input[1], "the shape of a Reshape").ravel().tolist(), reader.chain.width
    rows_kept = len(shape) == 2 and (shape[1] == width or (shape[0] == 0.0 and shape[1] == -1.0))
    if not (rows_kept or (shape == [-1.0] and width == 1)):
        raise InvalidFile(
            f"a Reshape to {[int(n) if math.isfinite(n) else n for n in shape[:8]]} is not read; rows must stay rows"
        )


def _operator(reader: _Reader, node: Any, name: str) -> None:
    """An activation that is one operator."""
    activation, needed = OPERATORS[node.op_type]
    options = _attributes(node)
    for key, default in needed.items():
        given = options.pop(key, default)
        same = given == default or (isinstance(default, float) and float(given) == float(np.float32(default)))
        if not same:
            shown = given[:20] if isinstance(given, bytes | list) else given
            raise InvalidFile(f"{node.op_type} with {key} = {shown!r} has no counterpart here, only {default!r}")
    if len(node.input) != 1:
        raise _unread(node)
    reader.chain.activation(activation)


READERS: dict[str, Callable[[_Reader, Any, str], None]] = {
    "Gemm": _gemm,
    "MatMul": _matmul,
    "Add": _add,
    "Sub": _sub,
    "Mul": _mul,
    "Div": _div,
    "Scaler": _scaler,
    "Identity": _identity,
    "Cast": _cast,
    "Flatten": _flatten,
    "Reshape": _reshape,
    **dict.fromkeys(OPERATORS, _operator),
}
"""What reads each operator, besides the compositions of `onnx_activations`."""


def _attributes(node: Any) -> dict[str, Any]:
    """The attributes of a node that are numbers, texts and lists of numbers."""
    found: dict[str, Any] = {}
    for attribute in node.attribute:
        kind = attribute.type
        if kind in (1, 2, 3):
            found[attribute.name] = (attribute.f, attribute.i, attribute.s)[kind - 1]
        elif kind in (6, 7):
            _check_length(attribute)
            found[attribute.name] = list(attribute.floats if kind == 6 else attribute.ints)
        else:
            raise InvalidFile(f"the attribute {quote(attribute.name)} of {node.op_type[:60]} is not read")
    return found


def _check_length(attribute: Any) -> None:
    """Raise InvalidFile for an attribute with very many numbers, each of which becomes an object."""
    if max(len(attribute.floats), len(attribute.ints)) > MAX_ATTRIBUTE:
        raise InvalidFile(f"the attribute {quote(attribute.name)} has more than {MAX_ATTRIBUTE:,} numbers")


def _width(value: Any) -> int | None:
    """The width of the rows of an input, if the file says it."""
    dims = value.type.tensor_type.shape.dim
    width = dims[1].dim_value if len(dims) == 2 else 0
    return width if width > 0 else None


def _unread(node: Any, why: str = "") -> InvalidFile:
    where = f", node {quote(node.name)}," if node.name else ""
    return InvalidFile(f"the operator {quote(node.op_type)}{where} is not read{why or '; read are ' + ', '.join(READERS)}")
