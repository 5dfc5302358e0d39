"""ONNX files: what is written runs in onnxruntime with the same scores, and what other programs write is read."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.engine import parse
from app.formats import onnx_import, protobuf
from app.formats.errors import CannotExport, InvalidFile
from app.formats.onnx_activations import RULES, known_compositions
from app.formats.onnx_export import write_onnx
from app.formats.onnx_import import LIMITS, MODEL, Imported, read_onnx
from app.formats.onnx_tensors import BLOCK, array_of
from app.nn import MLP
from app.nn.errors import NetworkMismatch
from app.nn.evaluation import gradients, predict
from app.nn.losses import of_expression
from app.nn.model import ACTIVATIONS, LINEAR, Floats, Model
from tests.formats.networks import EVERYWHERE, assert_same, random_network, row_of, single
from tests.rows import for_each

onnx = pytest.importorskip("onnx", reason="onnx is not installed: pip install '.[interop]'")
onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install '.[test]'")

FOLDER = Path(__file__).parent / "recorded"
RECORDED = json.loads((FOLDER / "models.json").read_text("utf-8"))
LACKING = {"asin", "acos", "atan", "gelu", "erf", "erfc", "lgamma", "digamma"}
"""Activations that onnxruntime cannot compute in double."""


def read(data: bytes) -> Imported:
    return read_onnx(data, reserve=lambda numbers: None)


def run(data: bytes, rows: Floats) -> Any:
    """The scores that onnxruntime computes."""
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: rows})[0]


@for_each("activation", [name for name in ACTIVATIONS if name not in LACKING])
def test_activation_is_that_of_onnxruntime(activation: str) -> None:
    model, rows = single(activation), row_of(activation)
    data = b"".join(write_onnx(model))
    onnx.checker.check_model(data, full_check=True)
    expected = predict(model, rows)
    assert np.abs(run(data, rows) - expected).max() <= 1e-12 * max(np.abs(expected).max(), 1.0)
    assert_same(read(data).model, model)


@for_each("activation", sorted(LACKING))
def test_activation_without_operators_is_named(activation: str) -> None:
    model = Model((*single("relu").layers, *single(activation).layers))
    with pytest.raises(CannotExport, match=f"'{activation}'") as caught:
        b"".join(write_onnx(model))
    assert caught.value.place == ("layers", 1, "activation")


def test_every_activation_is_written_or_lacking() -> None:
    assert set(RULES) | LACKING == set(ACTIVATIONS) and not set(RULES) & LACKING


@for_each("seed", range(12))
def test_network_of_ours_comes_back_and_scores_agree(seed: int) -> None:
    names = [name for name in EVERYWHERE if name in RULES and name not in ("exp", "sinh", "cosh", "expm1")]
    picked = tuple(np.random.default_rng(seed).choice(names, 4))
    model = random_network(seed, tuple(map(str, picked)))
    rows = np.random.default_rng(seed).normal(size=(1000, 3))
    data = b"".join(write_onnx(model))
    onnx.checker.check_model(data, full_check=True)
    expected = predict(model, rows)
    assert np.abs(run(data, rows) - expected).max() <= 1e-12 * max(np.abs(expected).max(), 1.0)
    found = read(data)
    assert_same(found.model, model)
    assert found.removed == ()
    assert b"".join(write_onnx(found.model)) == data


def test_demo_network_in_onnxruntime() -> None:
    model = MLP(2, [16, 16, 1], seed=1337)
    rows = np.random.default_rng(0).uniform(-3.0, 3.0, (1000, 2))
    assert np.abs(run(b"".join(write_onnx(model)), rows) - predict(model, rows)).max() <= 1e-12


def test_last_sigmoid_of_ours_stays() -> None:
    model = MLP(2, [3, 1], output_activation="sigmoid")
    found = read(b"".join(write_onnx(model)))
    assert_same(found.model, model)
    assert found.removed == ()


@for_each("case", RECORDED)
def test_recorded_model_gives_its_logits(case: dict[str, Any]) -> None:
    """Weights in single precision are those of the file; scikit-learn's own are double, and were rounded for it."""
    data = (FOLDER / "models" / case["file"]).read_bytes()
    found = read(data)
    rows, scores = np.array(case["rows"]), np.array(case["scores"])
    rounded = case["file"].startswith("sklearn") and any(
        t.data_type == 1 for t in onnx.load_from_string(data).graph.initializer
    )
    scale = max(1.0, np.abs(scores).max())
    assert np.abs(predict(found.model, rows) - scores).max() <= (1e-5 if rounded else 1e-12) * scale


@for_each("case", [c for c in RECORDED if "gradients" in c])
def test_gradients_by_inputs_are_pytorchs(case: dict[str, Any]) -> None:
    found = read((FOLDER / "models" / case["file"]).read_bytes())
    rows = np.array(case["rows"])
    loss = of_expression(parse("score + 0*target"))
    result = gradients(found.model, rows, np.zeros((len(rows), found.model.outputs)), loss, by_inputs=True)
    assert result.input_gradients is not None
    by_sum = result.input_gradients * len(rows) * found.model.outputs
    assert np.abs(by_sum - np.array(case["gradients"])).max() <= 1e-12


REMOVED = {
    "pytorch_softmax_dynamo.onnx": ("Softmax",),
    "pytorch_sigmoid_script.onnx": ("Sigmoid",),
    "pytorch_activations_script.onnx": (),
    "sklearn_regressor.onnx": (),
    "sklearn_classes_array.onnx": ("Softmax", "Identity", "ArgMax", "ArrayFeatureExtractor", "Reshape", "Cast"),
    "sklearn_binary.onnx": ("Sigmoid", "Sub", "Concat", "ArgMax", "ZipMap", "ArrayFeatureExtractor", "Reshape", "Cast"),
}


@pytest.mark.parametrize("file", REMOVED)
def test_what_follows_the_scores_is_named(file: str) -> None:
    found = read((FOLDER / "models" / file).read_bytes())
    assert found.removed == REMOVED[file]
    assert found.model.layers[-1].activation == LINEAR


@for_each("case", RECORDED[:12])
def test_single_precision_of_onnxruntime_is_near(case: dict[str, Any]) -> None:
    data = (FOLDER / "models" / case["file"]).read_bytes()
    found = read(data)
    double = "double" in case["file"]
    rows: Any = np.random.default_rng(0).normal(size=(1000, found.model.inputs)).astype(np.float64 if double else np.float32)
    scores = predict(found.model, rows.astype(np.float64))
    if found.removed == ("Softmax",):
        powers = np.exp(scores - scores.max(axis=1, keepdims=True))
        scores = powers / powers.sum(axis=1, keepdims=True)
    elif found.removed == ("Sigmoid",):
        scores = 1.0 / (1.0 + np.exp(-scores))
    assert np.abs(run(data, rows) - scores).max() <= (1e-12 if double else 1e-5)


# --- files made by hand


def tensor(name: str, numbers: Any, kind: int = 11) -> Any:
    array = np.array(numbers, np.float64)
    return onnx.helper.make_tensor(name, kind, array.shape, array.ravel().tolist())


def node(operator: str, inputs: str, output: str, **attributes: Any) -> Any:
    return onnx.helper.make_node(operator, inputs.split(), output.split(), **attributes)


def file_of(nodes: list[Any], tensors: list[Any], *, width: Any = 2, outputs: str = "y", inputs: str = "x") -> bytes:
    """A file with the input x of this width and the output y."""
    double, info = onnx.TensorProto.DOUBLE, onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        nodes,
        "g",
        [info(name, double, ["rows", width]) for name in inputs.split()],
        [info(name, double, None) for name in outputs.split()],
        tensors,
    )
    return bytes(onnx.helper.make_model(graph, ir_version=8).SerializeToString())


W, B = tensor("W", [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]), tensor("b", [0.5, -0.5, 1.5])
GEMM = node("Gemm", "x W b", "h", transB=1)
ROWS = np.array([[1.0, -2.0], [0.5, 3.0]])

FORMS: dict[str, tuple[list[Any], list[Any], Any]] = {
    "gemm": ([node("Gemm", "x W b", "y", transB=1)], [W, B], lambda x, w, b: x @ w.T + b),
    "factors": ([node("Gemm", "x W b", "y", transB=1, alpha=2.0, beta=0.5)], [W, B], lambda x, w, b: 2.0 * x @ w.T + 0.5 * b),
    "no bias": ([node("Gemm", "x W", "y", transB=1)], [W], lambda x, w, b: x @ w.T),
    "matmul": (
        [node("Transpose", "W", "V", perm=[1, 0]), node("MatMul", "x V", "h"), node("Add", "b h", "y")],
        [W, B],
        lambda x, w, b: x @ w.T + b,
    ),
    "constant": (
        [node("Constant", "", "b", value=B), GEMM, node("Relu", "h", "y")],
        [W],
        lambda x, w, b: np.maximum(x @ w.T + b, 0.0),
    ),
    "scaler": (
        [node("Sub", "x m", "c"), node("Div", "c s", "d"), node("Gemm", "d W b", "y", transB=1)],
        [W, B, tensor("m", [1.0, 2.0]), tensor("s", [2.0, 4.0])],
        lambda x, w, b: ((x - [1.0, 2.0]) / [2.0, 4.0]) @ w.T + b,
    ),
    "one number for all": (
        [node("Mul", "x s", "c"), node("Add", "c s", "d"), node("Gemm", "d W b", "y", transB=1)],
        [W, B, tensor("s", 3.0)],
        lambda x, w, b: (x * 3.0 + 3.0) @ w.T + b,
    ),
    "turned": (
        [node("Sub", "s x", "c"), node("Gemm", "c W b", "y", transB=1)],
        [W, B, tensor("s", [1.0, 2.0])],
        lambda x, w, b: ([1.0, 2.0] - x) @ w.T + b,
    ),
    "scaled scores": (
        [GEMM, node("Mul", "h s", "k"), node("Sub", "k b", "y")],
        [W, B, tensor("s", [[2.0, 3.0, 4.0]])],
        lambda x, w, b: (x @ w.T + b) * [2.0, 3.0, 4.0] - b,
    ),
    "two matrices": (
        [GEMM, node("Gemm", "h V", "y")],
        [W, B, tensor("V", [[1.0], [2.0], [3.0]])],
        lambda x, w, b: (x @ w.T + b) @ [[1.0], [2.0], [3.0]],
    ),
    "activation first": (
        [node("Tanh", "x", "t"), node("Gemm", "t W b", "y", transB=1)],
        [W, B],
        lambda x, w, b: np.tanh(x) @ w.T + b,
    ),
    "only a scaler": ([node("Mul", "x s", "y")], [tensor("s", [2.0, 3.0])], lambda x, w, b: x * [2.0, 3.0]),
    "identities": (
        [
            *(node("Identity", "x", "a"), node("Flatten", "a", "f"), node("Cast", "f", "c", to=11)),
            *(node("Reshape", "c shape", "r"), node("Gemm", "r W b", "y", transB=1)),
        ],
        [W, B, onnx.helper.make_tensor("shape", 7, [2], [-1, 2])],
        lambda x, w, b: x @ w.T + b,
    ),
    "half": (
        [node("Gemm", "x H b", "y", transB=1)],
        [tensor("H", [[0.5, 0.25]] * 3, 10), B],
        lambda x, w, b: x @ ([[0.5], [0.25]] * np.ones(3)) + b,
    ),
    "bfloat16": (
        [node("Gemm", "x H b", "y", transB=1)],
        [tensor("H", [[0.5, 0.25]] * 3, 16), B],
        lambda x, w, b: x @ ([[0.5], [0.25]] * np.ones(3)) + b,
    ),
}


@for_each("name", FORMS)
def test_form_is_read(name: str) -> None:
    nodes, tensors, expected = FORMS[name]
    found = read(file_of(nodes, tensors))
    w, b = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]), np.array([0.5, -0.5, 1.5])
    assert np.allclose(predict(found.model, ROWS), expected(ROWS, w, b), rtol=1e-14, atol=1e-14)


Y = "y"
BAD: dict[str, tuple[list[Any], list[Any], dict[str, Any], str]] = {
    "operator": ([node("Conv", "x W", Y)], [W], {}, "the operator 'Conv' is not read"),
    "operator behind": ([GEMM, node("LSTM", "h W W", Y)], [W, B], {}, "'LSTM'"),
    "normalisation": ([GEMM, node("LayerNormalization", "h b", Y)], [W, B], {}, "'LayerNormalization'"),
    "slope": ([GEMM, node("LeakyRelu", "h", Y, alpha=0.2)], [W, B], {}, "alpha = 0.2"),
    "approximation": ([GEMM, node("Gelu", "h", Y, approximate="tanh")], [W, B], {}, "approximate"),
    "branches": (
        [GEMM, node("Relu", "h", "a"), node("Tanh", "h", "t"), node("Add", "a t", Y)],
        [W, B],
        {},
        "several operators",
    ),
    "skip": ([GEMM, node("Tanh", "h", "t"), node("Add", "h t", Y)], [W, B], {}, "several operators"),
    "computed weights": ([node("MatMul", "x x", Y)], [], {}, "must be constant"),
    "two inputs": ([node("Gemm", "x W z", Y, transB=1)], [W], {"inputs": "x z"}, "one input"),
    "two outputs": ([GEMM, node("Relu", "h", Y)], [W, B], {"outputs": "h y"}, "one output"),
    "another output": ([GEMM, node("Relu", "h", "z")], [W, B], {"outputs": "h"}, "one output"),
    "loose end": ([GEMM, node("Relu", "h", Y), node("Relu", "q", "r")], [W, B], {}, "'Relu'"),
    "turned weights": ([node("Gemm", "x W b", Y, transA=1)], [W, B], {}, "Gemm"),
    "reshape": ([GEMM, node("Reshape", "h s", Y)], [W, B, onnx.helper.make_tensor("s", 7, [1], [-1])], {}, "Reshape"),
    "cast": ([GEMM, node("Cast", "h", Y, to=7)], [W, B], {}, "Cast"),
    "division": ([GEMM, node("Div", "b h", Y)], [W, B], {}, "'Div'"),
    "middle softmax": ([GEMM, node("Softmax", "h", "s"), node("Gemm", "s b", Y)], [W, B], {}, "'Softmax'"),
    "infinite": ([node("Gemm", "x V", Y, transB=1)], [tensor("V", [[1e999, 0.0]])], {}, "NaN or infinite"),
    "vector of weights": ([node("MatMul", "x v", Y)], [tensor("v", [1.0, 2.0])], {}, "shape"),
    "text": ([node("MatMul", "x v", Y)], [onnx.helper.make_tensor("v", 8, [2], [b"a", b"b"])], {}, "type that is not read"),
    "unknown width": ([node("Tanh", "x", Y)], [], {"width": "n"}, "how wide"),
}


@for_each("name", BAD)
def test_fault_is_named(name: str) -> None:
    nodes, tensors, options, words = BAD[name]
    with pytest.raises(InvalidFile, match=words.replace("(", r"\(")):
        read(file_of(nodes, tensors, **options))


def test_layers_that_do_not_fit_are_named() -> None:
    with pytest.raises(NetworkMismatch, match="takes 2 inputs, but gets 3"):
        read(file_of([GEMM, node("Gemm", "h W", "y", transB=1)], [W, B]))
    with pytest.raises(NetworkMismatch, match="4 biases for 3"):
        read(file_of([node("Gemm", "x W c", "y", transB=1)], [W, tensor("c", [1.0] * 4)]))


def test_external_data_are_not_read() -> None:
    outside = onnx.TensorProto(name="W", dims=[3, 2], data_type=11, data_location=onnx.TensorProto.EXTERNAL)
    outside.external_data.add(key="location", value="/etc/passwd")
    with pytest.raises(InvalidFile, match="external data are not read"):
        read(file_of([GEMM, node("Relu", "h", "y")], [outside, B]))


def test_shape_is_compared_with_the_data_before_anything_is_allocated() -> None:
    huge = onnx.TensorProto(name="W", dims=[2**40, 2**40], data_type=11, raw_data=b"\0" * 16)
    with pytest.raises(InvalidFile, match="impossible shape"):
        read(file_of([GEMM, node("Relu", "h", "y")], [huge, B]))
    large = onnx.TensorProto(name="W", dims=[2**10, 2**20], data_type=11, raw_data=b"\0" * 16)
    with pytest.raises(InvalidFile, match="but 2 numbers"):
        read(file_of([GEMM, node("Relu", "h", "y")], [large, B]))
    negative = onnx.TensorProto(name="W", dims=[-1, 2], data_type=11, raw_data=b"\0" * 16)
    with pytest.raises(InvalidFile, match="impossible shape"):
        read(file_of([GEMM, node("Relu", "h", "y")], [negative, B]))


@pytest.mark.parametrize("dims", [[0, 2**62], [2**62, 0], [0, 2**31, 2**31], [0, 2**63 - 1], [2**32, 2**32], [2**62] * 8])
def test_shape_that_no_array_has_is_refused(dims: list[int]) -> None:
    """Also one with a 0, which has no numbers."""
    empty = onnx.TensorProto(name="W", dims=dims, data_type=11)
    with pytest.raises(InvalidFile, match="impossible shape"):
        read(file_of([GEMM, node("Relu", "h", "y")], [empty, B]))


@pytest.mark.parametrize("operator", ["Identity", "Cast", "Transpose"])
def test_constants_made_of_each_other_are_refused(operator: str) -> None:
    circle = [node(operator, "W", "a"), node(operator, "a", "W"), GEMM, node("Relu", "h", "y")]
    with pytest.raises(InvalidFile, match="two constants with the name 'W'"):
        read(file_of(circle, [W, B]))


def test_numbers_are_announced_before_they_are_read() -> None:
    asked: list[int] = []
    found = read_onnx(file_of([node("Tanh", "x", "y")], [], width=40), reserve=asked.append)
    assert asked == [0, 1600, 1640]
    assert np.array_equal(found.model.layers[0].weights, np.identity(40))


@pytest.mark.parametrize("kind", [1, 11])
def test_many_numbers_are_read_in_order(kind: int) -> None:
    numbers = np.arange(2 * BLOCK + 3.0)
    assert np.array_equal(array_of(tensor("V", numbers, kind)), numbers)


def test_weights_that_are_used_often_are_counted_often() -> None:
    square = tensor("V", np.eye(100).tolist())
    nodes = [node("Gemm", f"{'x' if k == 0 else f'h{k}'} V", f"h{k + 1}" if k < 49 else "y") for k in range(50)]
    asked: list[int] = []
    read_onnx(file_of(nodes, [square], width=100), reserve=asked.append)
    assert asked[0] == 10_000 and asked[-1] == 50 * 10_100


def test_long_attribute_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_import, "MAX_ATTRIBUTE", 10)
    scaler = node("Scaler", "x", "y", offset=[0.0] * 11, scale=[1.0])
    with pytest.raises(InvalidFile, match="'offset' has more than 10 numbers"):
        read(file_of([scaler], []))


@pytest.mark.parametrize("count", [32, 33])
def test_at_most_32_operators_after_the_scores_are_left_out(count: int) -> None:
    copies = [node("Identity", f"p{k}", f"p{k + 1}") for k in range(count - 2)]
    data = file_of([GEMM, node("Softmax", "h", "p0"), *copies, node("Identity", f"p{count - 2}", "y")], [W, B])
    if count == 32:
        found = read(data)
        assert found.removed == ("Softmax", "Identity") and predict(found.model, ROWS).shape == (2, 3)
    else:
        with pytest.raises(InvalidFile, match="Softmax"):
            read(data)


def test_functions_and_sparse_weights_are_refused() -> None:
    file = onnx.load_from_string(file_of([GEMM, node("Relu", "h", "y")], [W, B]))
    file.functions.add(name="f", domain="d")
    with pytest.raises(InvalidFile, match="functions"):
        read(file.SerializeToString())
    del file.functions[:]
    file.graph.sparse_initializer.add()
    with pytest.raises(InvalidFile, match="sparse"):
        read(file.SerializeToString())


@pytest.mark.parametrize("data", [b"", b"\x00", b"hello world", b"PK\x03\x04" + b"\0" * 60, b"\xff" * 100, b"\x0a" * 50])
def test_other_files_are_refused(data: bytes) -> None:
    with pytest.raises(InvalidFile):
        read(data)


SMALL_PARTS = {
    "empty nodes": b"\x3a\x80\x80\x04" + b"\x0a\x00" * (1 << 15),
    "empty tensors": b"\x3a\x80\x80\x04" + b"\x2a\x00" * (1 << 15),
    "empty metadata": b"\x72\x00" * (1 << 15),
    "unknown fields": b"\x78\x01" * (1 << 15),
}


@pytest.mark.parametrize("name", SMALL_PARTS)
def test_many_small_parts_are_refused_before_a_library_sees_them(name: str) -> None:
    with pytest.raises(InvalidFile, match="30,000 fields"):
        protobuf.check(SMALL_PARTS[name], MODEL, replace(LIMITS, fields=30_000))


def test_a_file_of_too_many_fields_is_refused() -> None:
    with pytest.raises(InvalidFile, match="300,000 fields"):
        protobuf.check(b"\x78\x01" * 300_001, MODEL, LIMITS)


def test_deep_graphs_are_refused() -> None:
    data = b""
    for _ in range(40):  # a graph, in an attribute, of a node
        for tag in (b"\x32", b"\x2a", b"\x0a"):
            data = tag + _length(len(data)) + data
    with pytest.raises(InvalidFile, match="nested more than 16 deep"):
        protobuf.check(b"\x3a" + _length(len(data)) + data, MODEL, LIMITS)


def _length(count: int) -> bytes:
    parts = bytearray()
    while count >= 0x80:
        parts.append(count & 0x7F | 0x80)
        count >>= 7
    return bytes([*parts, count])


def test_packed_integers_are_bounded() -> None:
    tensor_of_integers = b"\x3a" + _length(1 << 21) + b"\x00" * (1 << 21)
    graph = b"\x2a" + _length(len(tensor_of_integers)) + tensor_of_integers
    with pytest.raises(InvalidFile, match="bytes of integers"):
        protobuf.check(b"\x3a" + _length(len(graph)) + graph, MODEL, LIMITS)


def test_compositions_are_told_apart() -> None:
    """No composition is the beginning of an earlier one, or the earlier one would hide it."""
    known = known_compositions()
    for k, (name, steps) in enumerate(known):
        for other, earlier in known[:k]:
            assert steps[: len(earlier)] != earlier or name == other
