"""Write a network as an ONNX file, in double precision and with operators that onnxruntime computes in double.

A library that writes a file holds the GIL until all of it is written. So it writes all but the weights, which are put between.
"""

from collections.abc import Iterator
from typing import Any

from app.engine.interruption import Checkpoint, never
from app.formats.errors import CannotExport, optional
from app.formats.onnx_activations import RULES, X, steps_of
from app.formats.raw_numbers import raw_numbers
from app.nn.model import LINEAR, Floats, Model

PRODUCER = "autodiff-http"
OPSET, IR_VERSION = 17, 8
"""Old enough for every program of these years."""
DELIMITED = 2
"""The wire type of a protobuf field that begins with its length."""


def write_onnx(model: Model, *, checkpoint: Checkpoint = never) -> Iterator[bytes | memoryview]:
    """Yield the file in pieces. Its input `inputs` has the shape (rows, inputs), its output `outputs` (rows, outputs).

    Raises CannotExport for an activation that onnxruntime cannot compute in double, MissingLibrary.
    """
    for k, layer in enumerate(model.layers):
        if layer.activation not in RULES:
            detail = f"onnxruntime has no operators in double precision for the activation {layer.activation!r}; export it as "
            raise CannotExport(detail + "pytorch, numpy, c or javascript", ("layers", k, "activation"))
    yield from _Writer(checkpoint).file(model)


class _Writer:
    """Nodes and initializers of a graph."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        self.onnx = optional("onnx")
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self.constants: dict[float, str] = {}
        self.weights: list[tuple[bytes, Floats]] = []

    def file(self, model: Model) -> Iterator[bytes | memoryview]:
        """The file of a model."""
        helper, double = self.onnx.helper, self.onnx.TensorProto.DOUBLE
        name = "inputs"
        for k, layer in enumerate(model.layers):
            self.checkpoint()
            weights, biases = self.array(f"layers.{k}.weights", layer.weights), self.array(f"layers.{k}.biases", layer.biases)
            last = k == len(model.layers) - 1
            output = "outputs" if last else f"layers.{k}.outputs"
            linear = layer.activation == LINEAR
            sums = output if linear else f"layers.{k}.sums"
            self.nodes.append(helper.make_node("Gemm", [name, weights, biases], [sums], transB=1))
            if not linear:
                self.activation(layer.activation, sums, output, f"layers.{k}")
            name = output
        inputs = helper.make_tensor_value_info("inputs", double, ["rows", model.inputs])
        outputs = helper.make_tensor_value_info("outputs", double, ["rows", model.outputs])
        graph = helper.make_graph(self.nodes, "network", [inputs], [outputs], self.initializers)
        head = self.onnx.ModelProto(ir_version=IR_VERSION, producer_name=PRODUCER)
        head.opset_import.append(helper.make_opsetid("", OPSET))
        known = graph.SerializeToString(deterministic=True)
        size = len(known) + sum(len(before) + numbers.nbytes for before, numbers in self.weights)
        yield head.SerializeToString(deterministic=True) + _before_field(self.onnx.ModelProto.GRAPH_FIELD_NUMBER, size) + known
        for before, numbers in self.weights:
            yield before
            yield from raw_numbers(numbers, self.checkpoint)

    def activation(self, name: str, source: str, output: str, prefix: str) -> None:
        """Append the nodes of an activation."""
        steps = steps_of(name)
        made: list[str] = []
        for k, (operator, arguments) in enumerate(steps):
            names = [source if a == X else made[a] if isinstance(a, int) else self.constant(float(a)) for a in arguments]
            made.append(output if k == len(steps) - 1 else f"{prefix}.{name}.{k}")
            self.nodes.append(self.onnx.helper.make_node(operator, names, [made[-1]]))

    def constant(self, number: float) -> str:
        """The name of an initializer for a number."""
        if number not in self.constants:
            self.constants[number] = f"constants.{len(self.constants)}"
            self.tensor(self.constants[number], (), [number])
        return self.constants[number]

    def array(self, name: str, numbers: Floats) -> str:
        """Keep an initializer for the end of the graph, and return its name."""
        kind = self.onnx.TensorProto
        tensor = kind(name=name, dims=numbers.shape, data_type=kind.DOUBLE).SerializeToString(deterministic=True)
        tensor += _before_field(kind.RAW_DATA_FIELD_NUMBER, numbers.nbytes)
        number = self.onnx.GraphProto.INITIALIZER_FIELD_NUMBER
        self.weights.append((_before_field(number, len(tensor) + numbers.nbytes) + tensor, numbers))
        return name

    def tensor(self, name: str, shape: tuple[int, ...], numbers: list[float]) -> None:
        """Append an initializer of a few numbers."""
        self.initializers.append(self.onnx.helper.make_tensor(name, self.onnx.TensorProto.DOUBLE, shape, numbers))


def _before_field(number: int, size: int) -> bytes:
    """What stands before a field of so many bytes in a protobuf message: its number and its size, 7 bits in each byte."""
    written = bytearray()
    for value in (number << 3 | DELIMITED, size):
        while value > 0x7F:
            written.append(value & 0x7F | 0x80)
            value >>= 7
        written.append(value)
    return bytes(written)
