"""safetensors files: round trips, and files that are wrong."""

import json
from typing import Any

import numpy as np
import pytest

from app.formats.errors import InvalidFile
from app.formats.onnx_import import Imported
from app.formats.safetensors_files import METADATA, is_safetensors, read_safetensors, write_safetensors
from app.nn.errors import InvalidNetwork, NetworkMismatch
from app.nn.model import ACTIVATIONS
from tests.formats.networks import assert_same, random_network
from tests.rows import for_each

library = pytest.importorskip("safetensors.numpy", reason="safetensors is not installed: pip install '.[interop]'")


def read(data: bytes) -> Imported:
    return read_safetensors(data, reserve=lambda numbers: None)


def test_network_comes_back_to_the_last_bit() -> None:
    model = random_network(0, ACTIVATIONS)
    data = b"".join(write_safetensors(model))
    assert is_safetensors(data)
    assert_same(read(data).model, model)
    assert b"".join(write_safetensors(read(data).model)) == data == b"".join(write_safetensors(model))


def test_other_programs_read_the_file() -> None:
    model = random_network(1, ("relu", "linear"))
    tensors = library.load(b"".join(write_safetensors(model)))
    assert set(tensors) == {"layers.0.weights", "layers.0.biases", "layers.1.weights", "layers.1.biases"}
    assert np.array_equal(tensors["layers.0.weights"], model.layers[0].weights)
    assert tensors["layers.0.weights"].dtype == np.float64


@pytest.mark.parametrize("names", [("tanh",), ACTIVATIONS], ids=["one layer", "many layers"])
def test_file_is_that_of_the_library(names: tuple[str, ...]) -> None:
    model = random_network(4, names)
    tensors = {
        f"layers.{k}.{part}": getattr(layer, part) for k, layer in enumerate(model.layers) for part in ("weights", "biases")
    }
    activations = json.dumps({"activations": names}, separators=(",", ":"))
    assert b"".join(write_safetensors(model)) == library.save(tensors, {METADATA: activations})


@pytest.mark.parametrize("kind", [np.float32, np.float16])
def test_other_precisions_are_read(kind: Any) -> None:
    tensors = {"layers.0.weights": np.array([[0.5, 1.0]], kind), "layers.0.biases": np.array([0.25], kind)}
    found = read(library.save(tensors, {METADATA: '{"activations": ["tanh"]}'}))
    assert found.model.layers[0].weights.tolist() == [[0.5, 1.0]]


def saved(tensors: dict[str, Any], metadata: dict[str, str] | None) -> bytes:
    return bytes(library.save({name: np.array(numbers) for name, numbers in tensors.items()}, metadata))


GOOD = {"layers.0.weights": [[1.0, 2.0]], "layers.0.biases": [0.5]}
TANH = {METADATA: '{"activations": ["tanh"]}'}


@pytest.mark.parametrize(
    ("tensors", "metadata", "words"),
    [
        pytest.param(GOOD, None, "does not say what its layers are", id="no metadata"),
        pytest.param(GOOD, {"format": "pt"}, "does not say what its layers are", id="of PyTorch"),
        pytest.param(GOOD, {METADATA: "["}, "does not say what its layers are", id="no JSON"),
        pytest.param(GOOD, {METADATA: "[]"}, "does not say what its layers are", id="a list"),
        pytest.param(GOOD, {METADATA: '{"activations": []}'}, "needs the names", id="no layers"),
        pytest.param(GOOD, {METADATA: '{"activations": [3]}'}, "needs the names", id="numbers"),
        pytest.param(GOOD, {METADATA: json.dumps({"activations": ["tanh"] * 10_001})}, "at most 10,000", id="many layers"),
        pytest.param(GOOD, {METADATA: '{"activations": ["tanh", "tanh"]}'}, "no tensor 'layers.1.weights'", id="too few"),
        pytest.param({**GOOD, "more": [1.0]}, TANH, "3 tensors", id="too many"),
        pytest.param({**GOOD, "layers.0.biases": [1]}, TANH, "of the type 'I64'", id="integers"),
        pytest.param({**GOOD, "layers.0.biases": [np.nan]}, TANH, "NaN or infinite", id="nan"),
        pytest.param({**GOOD, "layers.0.weights": [1.0, 2.0]}, TANH, "shape", id="vector"),
        pytest.param({**GOOD, "layers.0.weights": [[[1.0]]]}, TANH, "form", id="three dimensions"),
    ],
)
def test_wrong_file_is_explained(tensors: dict[str, Any], metadata: dict[str, str] | None, words: str) -> None:
    with pytest.raises(InvalidFile, match=words):
        read(saved(tensors, metadata))


def test_wrong_shapes_and_activations_are_explained() -> None:
    with pytest.raises(NetworkMismatch, match="2 biases for 1"):
        read(saved({**GOOD, "layers.0.biases": [1.0, 2.0, 3.0][:2]}, TANH))
    with pytest.raises(InvalidNetwork, match="there is no activation 'tahn'"):
        read(saved(GOOD, {METADATA: '{"activations": ["tahn"]}'}))


def test_header_is_compared_with_the_data() -> None:
    data = b"".join(write_safetensors(random_network(0, ("tanh",))))
    for broken in (data[:-8], data + b"\0" * 8, data.replace(b'"data_offsets":[0', b'"data_offsets":[8')):
        with pytest.raises(InvalidFile, match="damaged"):
            read(broken)
    huge = (2**40).to_bytes(8, "little") + data[8:]
    assert not is_safetensors(huge)
    with pytest.raises(InvalidFile, match="more than 8,388,608 bytes"):
        read(huge)
    deep = b'{"a":' * 5000
    with pytest.raises(InvalidFile, match="does not say"):
        read(len(deep).to_bytes(8, "little") + deep)


@pytest.mark.parametrize("size", [8_388_608, 8_388_609])
def test_header_has_at_most_8_mebibytes(size: int) -> None:
    """Spaces at its end are allowed."""
    model = random_network(0, ("tanh",))
    data = b"".join(write_safetensors(model))
    end = 8 + int.from_bytes(data[:8], "little")
    padded = size.to_bytes(8, "little") + data[8:end].ljust(size) + data[end:]
    if size == 8_388_608:
        assert_same(read(padded).model, model)
    else:
        with pytest.raises(InvalidFile, match="more than 8,388,608 bytes"):
            read(padded)


@for_each(
    "entry",
    [
        5,
        {"dtype": "F64"},
        {"dtype": 5, "shape": [1], "data_offsets": [0, 8]},
        {"dtype": "F64", "shape": [-1], "data_offsets": [0, 8]},
        {"dtype": "F64", "shape": [1.5], "data_offsets": [0, 8]},
        {"dtype": "F64", "shape": [1], "data_offsets": [8, 0]},
        {"dtype": "F64", "shape": [1], "data_offsets": [0, True]},
        {"dtype": "F64", "shape": 1, "data_offsets": [0, 8]},
    ],
)
def test_wrong_description_is_refused(entry: Any) -> None:
    header = {"__metadata__": TANH, "layers.0.weights": entry, "layers.0.biases": entry}
    text = json.dumps(header).encode()
    with pytest.raises(InvalidFile, match="form"):
        read(len(text).to_bytes(8, "little") + text + b"\0" * 8)


def test_numbers_are_announced_before_they_are_read() -> None:
    asked: list[int] = []
    model = random_network(3, ("tanh", "linear"))
    read_safetensors(b"".join(write_safetensors(model)), reserve=asked.append)
    assert asked == [model.size]
