"""The numbers of tensors in an ONNX file."""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from app.engine.errors import quote
from app.formats.errors import InvalidFile
from app.formats.protobuf import Message

TENSOR = Message({13: Message(), 16: Message()}, frozenset({1, 5, 7, 11}))
"""TensorProto, by the numbers of its fields."""

TYPES: dict[int, tuple[str, str]] = {
    1: ("<f4", "float_data"),
    11: ("<f8", "double_data"),
    10: ("<f2", "int32_data"),
    16: ("<u2", "int32_data"),
    6: ("<i4", "int32_data"),
    7: ("<i8", "int64_data"),
}
"""Types of tensors that are read: how their bytes are read, and the field that holds their numbers where there are no bytes."""

BFLOAT16, INTEGERS = 16, (6, 7)
EXTERNAL = 1
MAX_DIMENSIONS = 8
MAX_NUMBERS = 1 << 40
"""More than the numbers of any file, and few enough for NumPy to count their bytes."""
BLOCK = 1 << 14
"""So many numbers become Python's at a time. Those of a whole tensor would take much memory, and hold the GIL."""


def count_numbers(tensors: Iterable[Any]) -> int:
    """How many real numbers tensors have in all. Raises InvalidFile for one whose data do not fit its shape."""
    return sum(_count(tensor) for tensor in tensors if tensor.data_type in TYPES and tensor.data_type not in INTEGERS)


def _count(tensor: Any) -> int:
    """How many numbers a tensor has, which is as many as its data are."""
    name = quote(tensor.name)
    if tensor.data_location == EXTERNAL or tensor.external_data:
        raise InvalidFile(
            f"the tensor {name} is in another file; external data are not read, so export one file with all weights"
        )
    sizes = [size for size in tensor.dims[: MAX_DIMENSIONS + 1] if size]  # NumPy multiplies those beside a 0 too
    if len(tensor.dims) > MAX_DIMENSIONS or min(sizes, default=0) < 0 or math.prod(sizes) > MAX_NUMBERS:
        raise InvalidFile(f"the tensor {name} has an impossible shape")
    if tensor.HasField("segment"):
        raise InvalidFile(f"the tensor {name} is a segment of another, which is not read")
    count = int(math.prod(tensor.dims))
    layout, field = TYPES[tensor.data_type]
    size = np.dtype(layout).itemsize
    given = len(tensor.raw_data) / size if tensor.HasField("raw_data") else len(getattr(tensor, field))
    if given != count:
        raise InvalidFile(f"the tensor {name} has the shape {list(tensor.dims)}, but {given:g} numbers")
    return count


def array_of(tensor: Any) -> npt.NDArray[np.float64]:
    """The numbers of a tensor in double precision. Raises InvalidFile for a type that is not read, or data that do not fit."""
    if tensor.data_type not in TYPES:
        raise InvalidFile(f"the tensor {quote(tensor.name)} is of a type that is not read; weights are floats or doubles")
    _count(tensor)
    layout, field = TYPES[tensor.data_type]
    if tensor.HasField("raw_data"):
        numbers = np.frombuffer(tensor.raw_data, layout)
    else:
        given = getattr(tensor, field)
        numbers = np.empty(len(given), np.int64 if field.startswith("int") else np.float64)
        for low in range(0, len(given), BLOCK):
            numbers[low : low + BLOCK] = given[low : low + BLOCK]
        if field == "int32_data" and tensor.data_type not in INTEGERS:  # 16 bits of each integer
            numbers = (numbers & 0xFFFF).astype("<u2").view(layout)
    if tensor.data_type == BFLOAT16:
        numbers = (numbers.astype("<u4") << 16).view("<f4")
    return numbers.astype(np.float64).reshape(tuple(tensor.dims))
