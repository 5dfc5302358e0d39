"""Write a network as an ONNX file, in double precision and with operators that onnxruntime computes in double."""

from typing import Any

from app.engine.interruption import Checkpoint, never
from app.formats.errors import CannotExport, optional
from app.formats.onnx_activations import RULES, X, steps_of
from app.nn.model import LINEAR, Model

PRODUCER = "autodiff-http"
OPSET, IR_VERSION = 17, 8
"""Old enough for every program of these years."""


def write_onnx(model: Model, *, checkpoint: Checkpoint = never) -> bytes:
    """Return the file. Its input `inputs` has the shape (rows, inputs), its output `outputs` the shape (rows, outputs).

    Raises CannotExport for an activation that onnxruntime cannot compute in double, MissingLibrary.
    """
    for k, layer in enumerate(model.layers):
        if layer.activation not in RULES:
            detail = f"onnxruntime has no operators in double precision for the activation {layer.activation!r}; export it as "
            raise CannotExport(detail + "pytorch, numpy, c or javascript", ("layers", k, "activation"))
    return _Writer(checkpoint).file(model)


class _Writer:
    """Nodes and initializers of a graph."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        self.onnx = optional("onnx")
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self.constants: dict[float, str] = {}

    def file(self, model: Model) -> bytes:
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
        file = helper.make_model(
            graph, producer_name=PRODUCER, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION
        )
        return bytes(file.SerializeToString(deterministic=True))

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

    def array(self, name: str, numbers: Any) -> str:
        """Append an initializer, and return its name."""
        tensor = self.onnx.TensorProto(name=name, dims=numbers.shape, data_type=self.onnx.TensorProto.DOUBLE)
        tensor.raw_data = numbers.astype("<f8", copy=False).tobytes()
        self.initializers.append(tensor)
        return name

    def tensor(self, name: str, shape: tuple[int, ...], numbers: list[float]) -> None:
        """Append an initializer of a few numbers."""
        self.initializers.append(self.onnx.helper.make_tensor(name, self.onnx.TensorProto.DOUBLE, shape, numbers))
