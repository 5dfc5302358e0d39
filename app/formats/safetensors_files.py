"""Networks as safetensors files: weights and biases as tensors in double precision, the architecture in the metadata."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import orjson

from app.engine.errors import quote
from app.engine.interruption import Checkpoint, checked, never
from app.formats.errors import InvalidFile, optional
from app.formats.layers import MAX_LAYERS, Chain
from app.formats.onnx_import import Imported, Reserve
from app.formats.raw_numbers import raw_numbers
from app.nn.model import Floats, Model

METADATA = "autodiff-http"
MAX_HEADER_BYTES = 8 << 20
LENGTH_BYTES = 8
ALIGNMENT = 8
"""The tensors begin at a multiple of so many bytes."""
TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2"}


def write_safetensors(model: Model, *, checkpoint: Checkpoint = never) -> Iterator[bytes | memoryview]:
    """Yield the file in pieces, byte for byte as the library writes it, which would hold the GIL for all of it.

    Raises MissingLibrary where the file could not be read again.
    """
    optional("safetensors")
    tensors: dict[str, Floats] = {}
    for k, layer in enumerate(checked(model.layers, checkpoint)):
        tensors |= {f"layers.{k}.weights": layer.weights, f"layers.{k}.biases": layer.biases}
    tensors = dict(sorted(tensors.items()))
    activations = orjson.dumps({"activations": [layer.activation for layer in model.layers]}).decode()
    header: dict[str, Any] = {"__metadata__": {METADATA: activations}}
    begin = 0
    for name, numbers in checked(tensors.items(), checkpoint):
        header[name] = {"dtype": "F64", "shape": numbers.shape, "data_offsets": (begin, begin := begin + numbers.nbytes)}
    text = orjson.dumps(header)
    text += b" " * (-len(text) % ALIGNMENT)
    yield len(text).to_bytes(LENGTH_BYTES, "little") + text
    for numbers in tensors.values():
        yield from raw_numbers(numbers, checkpoint)


def is_safetensors(data: bytes | bytearray) -> bool:
    """Whether bytes begin as a safetensors file does: with the length of a JSON object."""
    length = int.from_bytes(data[:LENGTH_BYTES], "little")
    return data[LENGTH_BYTES : LENGTH_BYTES + 1] == b"{" and length <= len(data) - LENGTH_BYTES


def read_safetensors(data: bytes | bytearray, *, reserve: Reserve, checkpoint: Checkpoint = never) -> Imported:
    """Return the network in a file that `write_safetensors` wrote.

    Raises InvalidFile, InvalidNetwork, NetworkMismatch, MissingLibrary; and what `reserve` raises.
    """
    activations, described = _header(data)
    numbers = 0
    for name, entry in described.items():
        begin, end = entry["data_offsets"]
        if entry["dtype"] not in TYPES:
            raise InvalidFile(f"the tensor {quote(name)} is of the type {quote(entry['dtype'])}; read are {', '.join(TYPES)}")
        numbers += (end - begin) // np.dtype(TYPES[entry["dtype"]]).itemsize
    reserve(numbers)
    library = optional("safetensors")
    try:
        tensors: dict[str, Any] = dict(library.deserialize(bytes(data)))
    except library.SafetensorError:
        raise InvalidFile("the safetensors file is damaged: its header does not fit its data") from None
    chain = Chain(reserve, numbers)
    for k, activation in enumerate(activations):
        checkpoint()
        chain.matrix(_array(tensors, f"layers.{k}.weights"), _array(tensors, f"layers.{k}.biases"))
        chain.activation(activation)
    return Imported(chain.model())


def _header(data: bytes | bytearray) -> tuple[list[str], dict[str, Any]]:
    """The activations of the layers, and the description of each tensor, of the right form and number."""
    length = int.from_bytes(data[:LENGTH_BYTES], "little")
    if length > MAX_HEADER_BYTES:
        raise InvalidFile(f"the header of the safetensors file has more than {MAX_HEADER_BYTES:,} bytes")
    try:
        header = orjson.loads(memoryview(data)[LENGTH_BYTES : LENGTH_BYTES + length])
        architecture = orjson.loads(header.pop("__metadata__")[METADATA])
        activations = architecture["activations"]
    except (ValueError, KeyError, TypeError, AttributeError):
        detail = f"the safetensors file does not say what its layers are; its metadata need an entry {METADATA!r}, as "
        raise InvalidFile(detail + "/v1/networks/export writes it, or export the model as ONNX") from None
    if not isinstance(activations, list) or not all(isinstance(name, str) for name in activations) or not activations:
        raise InvalidFile(f"the entry {METADATA!r} of the metadata needs the names of the layers' activations")
    if len(activations) > MAX_LAYERS:
        raise InvalidFile(f"a network has at most {MAX_LAYERS:,} layers")
    for part in ("weights", "biases"):
        for k in range(len(activations)):
            if f"layers.{k}.{part}" not in header:
                raise InvalidFile(f"the safetensors file has no tensor 'layers.{k}.{part}'")
    if len(header) != 2 * len(activations):
        raise InvalidFile(f"the safetensors file has {len(header)} tensors, but {len(activations)} layers have two each")
    for name, entry in header.items():
        if not _is_described(entry):
            raise InvalidFile(f"the description of the tensor {quote(name)} is not of the form that safetensors has")
    return activations, header


def _is_described(entry: Any) -> bool:
    """Whether the description of a tensor has its type, shape and place."""
    if not isinstance(entry, dict) or not isinstance(entry.get("dtype"), str):
        return False
    shape, offsets = entry.get("shape"), entry.get("data_offsets")
    if not (isinstance(shape, list) and isinstance(offsets, list) and len(shape) <= 2 and len(offsets) == 2):
        return False
    return all(type(n) is int and n >= 0 for n in (*shape, *offsets)) and offsets[0] <= offsets[1]


def _array(tensors: dict[str, Any], name: str) -> Any:
    """A tensor in double precision."""
    entry = tensors[name]
    return np.frombuffer(entry["data"], TYPES[entry["dtype"]]).astype(np.float64).reshape(entry["shape"])
