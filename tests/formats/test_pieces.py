"""Networks with many weights are written in pieces, so that other requests are answered in between."""

from typing import Any

import numpy as np
import pytest

from app.formats.network_source import LANGUAGES, write_source
from app.formats.onnx_export import write_onnx
from app.formats.safetensors_files import write_safetensors
from app.nn.model import Layer, Model

FORMATS = ("onnx", "safetensors", *LANGUAGES)
LARGEST = 1 << 19
"""Bytes that are copied, or made of numbers, in a few milliseconds."""
SHAPES = [(270, 270), (1, 70_000), (70_000, 1), (3, 24_000)]


def of_shape(neurons: int, inputs: int, *, transposed: bool = False) -> Model:
    weights = np.random.default_rng(neurons).normal(size=(inputs, neurons) if transposed else (neurons, inputs))
    return Model((Layer(weights.T if transposed else weights, np.random.default_rng(1).normal(size=neurons), "tanh"),))


def pieces(model: Model, name: str, checkpoint: Any = None) -> Any:
    options = {"checkpoint": checkpoint} if checkpoint else {}
    if name in LANGUAGES:
        return write_source(model, name, **options)
    pytest.importorskip(name, reason=f"{name} is not installed: pip install '.[interop]'")
    return write_onnx(model, **options) if name == "onnx" else write_safetensors(model, **options)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_no_piece_is_large(shape: tuple[int, int], name: str) -> None:
    sizes = [len(piece) for piece in pieces(of_shape(*shape), name)]
    assert max(sizes) <= LARGEST and sum(sizes) >= 8 * 70_000


@pytest.mark.parametrize("name", FORMATS)
def test_checkpoint_ends_the_writing(name: str) -> None:
    """It is looked at again before each further piece."""
    calls = 0

    def stop_late() -> None:
        nonlocal calls
        calls += 1
        if calls > 3:
            raise TimeoutError

    found = []
    with pytest.raises(TimeoutError):
        for piece in pieces(of_shape(1, 200_000), name, stop_late):
            found.append(len(piece))
    assert sum(found) < 8 * 200_000


@pytest.mark.parametrize(("shape", "transposed"), [*((shape, False) for shape in SHAPES), (SHAPES[0], True)], ids=str)
def test_all_weights_are_there_in_order(shape: tuple[int, int], transposed: bool) -> None:
    """As NumPy and the formats' own libraries read them."""
    model = of_shape(*shape, transposed=transposed)
    layer = model.layers[0]
    space: dict[str, Any] = {}
    exec(b"".join(pieces(model, "numpy")), space)
    assert np.array_equal(space["LAYERS"][0][0], layer.weights) and np.array_equal(space["LAYERS"][0][1], layer.biases)
    tensors = pytest.importorskip("safetensors.numpy").load(b"".join(pieces(model, "safetensors")))
    assert np.array_equal(tensors["layers.0.weights"], layer.weights)
    assert np.array_equal(tensors["layers.0.biases"], layer.biases)
    onnx = pytest.importorskip("onnx")
    file = onnx.load_from_string(b"".join(pieces(model, "onnx")))
    onnx.checker.check_model(file, full_check=True)
    arrays = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in file.graph.initializer}
    assert np.array_equal(arrays["layers.0.weights"], layer.weights)
    assert np.array_equal(arrays["layers.0.biases"], layer.biases)
