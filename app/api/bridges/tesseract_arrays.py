"""Arrays of the Tesseract protocol: read from JSON or base64, broadcast to points, and written."""

import base64
import binascii
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np
import orjson
from pydantic import BeforeValidator, Field, GetPydanticSchema, RootModel, SkipValidation
from pydantic_core import PydanticCustomError, core_schema

from app.engine import base64_doubles
from app.engine.interruption import Checkpoint, checked, never
from app.engine.large_json import LargeList, LargeObject, LargeString
from app.engine.large_json import whole as whole_json
from app.engine.scanner import BrokenList, NumberList, NumberRows
from app.service import pieces
from app.service.models import (
    Floats,
    Handler,
    RequestModel,
    ResponseModel,
    broken_list_error,
    component,
    found_text,
    is_number,
    whole,
)

Shape = tuple[int, ...]

DType = Literal[
    "float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8", "bool"
]
MAX_DIMENSIONS = 32
"""As many as fit into NumPy's arrays with room for those that a Jacobian adds."""

JSON_LISTS = (list, LargeList, NumberList, NumberRows, BrokenList)


Length = Annotated[int, Field(ge=0, le=2**63 - 1), BeforeValidator(whole)]
"""The length of a dimension."""


class ArrayBuffer(RequestModel):
    """The numbers of an array, the last index running fastest."""

    buffer: Any = Field(description="Nested lists of numbers, or little-endian numbers in base64")
    encoding: Literal["json", "raw", "base64"]
    compression: Literal["none"] | None = Field(None, description="Compressed arrays are not read")


class EncodedArray(RequestModel):
    """An array."""

    object_type: Literal["array"] = "array"
    shape: list[Length] = Field(max_length=MAX_DIMENSIONS, examples=[[3]])
    dtype: DType
    data: ArrayBuffer


def _array(value: Any, handler: Handler) -> Floats:
    """An array from its encoded form, from nested lists or from a number. The handler validates the encoded form."""
    if isinstance(value, np.ndarray):  # from our own code
        return value
    if is_number(value):
        return _shaped(np.array(float(value)), ())
    if isinstance(value, JSON_LISTS):
        array = _nested(value)
        return _shaped(array, array.shape)
    if not isinstance(value, dict | LargeObject):
        raise PydanticCustomError("array", "expected an array or a number, found {found}", {"found": found_text(value)})
    encoded: EncodedArray = handler(value)
    shape = tuple(encoded.shape)
    if encoded.data.encoding == "base64":
        return _from_base64(encoded.data.buffer, shape, np.dtype(encoded.dtype))
    return _from_json(encoded.data.buffer, shape, np.dtype(encoded.dtype))


def _from_base64(buffer: Any, shape: Shape, dtype: "np.dtype[Any]") -> Floats:
    text = buffer.characters() if isinstance(buffer, LargeString) else buffer
    if not isinstance(text, str):
        raise PydanticCustomError("array_data", "expected a string in base64, found {found}", {"found": found_text(buffer)})
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise PydanticCustomError("array_data", "the buffer is not base64") from None
    needed = math.prod(shape) * dtype.itemsize
    if len(content) != needed:
        detail = "the buffer has {found} bytes, and an array of this shape and dtype has {needed}"
        raise PydanticCustomError("array_shape", detail, {"found": len(content), "needed": needed})
    return _shaped(np.frombuffer(content, dtype.newbyteorder("<")).astype(np.float64), shape)


def _from_json(buffer: Any, shape: Shape, dtype: "np.dtype[Any]") -> Floats:
    """An array from nested lists, or from a flat list with a shape."""
    array = _nested(buffer)
    if array.shape != shape and (array.ndim != 1 or array.size != math.prod(shape)):
        detail = "the buffer has the shape {found}, and the array {shape}"
        raise PydanticCustomError("array_shape", detail, {"found": list(array.shape), "shape": list(shape)})
    if dtype.kind != "f":
        low, high = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
        wrong = array[(array != np.floor(array)) | (array < low) | (array > high)]
        if wrong.size:
            detail = "the buffer holds {number}, which is no {dtype}"
            raise PydanticCustomError("array_data", detail, {"number": float(wrong[0]), "dtype": dtype.name})
    return _shaped(array, shape)


def _nested(value: Any) -> Floats:
    """An array from nested lists. What is left of the time is looked at if they are long."""
    if isinstance(value, LargeList):
        return _rectangle(whole_json(value), value.check)
    return _rectangle(value)


def _rectangle(value: Any, check: Checkpoint = never) -> Floats:
    """Nested lists, all of one length in each dimension, as an array."""
    shape: list[int] = []
    items: Sequence[Any] = [value]
    while items and isinstance(items[0], JSON_LISTS):
        if any(isinstance(item, NumberRows | NumberList | BrokenList) for item in items):
            items = [_rows(item) for item in items]
            if len({item.shape for item in items}) > 1:
                raise _ragged()
            return np.stack(items).reshape(*shape, *items[0].shape)
        length = len(items[0]) if isinstance(items[0], list) else 0
        if not all(isinstance(item, list) and len(item) == length for item in checked(items, check)):
            raise _ragged()
        if len(shape) == MAX_DIMENSIONS:
            raise PydanticCustomError("array_shape", "an array has at most {limit} dimensions", {"limit": MAX_DIMENSIONS})
        shape.append(length)
        items = [inner for item in checked(items, check) for inner in item]
    for item in checked(items, check):
        if not is_number(item):
            if isinstance(item, JSON_LISTS):
                raise _ragged()
            raise PydanticCustomError("array_data", "expected a number, found {found}", {"found": found_text(item)})
    return np.array([float(item) for item in checked(items, check)]).reshape(shape)


def _rows(item: Any) -> Floats:
    """A scanned list or rows as an array of one or two dimensions."""
    if isinstance(item, BrokenList):  # without its place, which is within the item
        raise PydanticCustomError("array_data", broken_list_error(item).message())
    if isinstance(item, NumberList):
        return item.values
    if isinstance(item, NumberRows):
        widths = np.diff(item.starts)
        if (widths == widths[0]).all():
            return item.values.reshape(len(widths), -1)
    elif isinstance(item, list):
        return _rectangle(item)
    raise _ragged()


def _ragged() -> PydanticCustomError:
    return PydanticCustomError("array_shape", "the lists of an array have different lengths or depths")


def _shaped(array: Floats, shape: Shape) -> Floats:
    """The array in a shape of as many numbers. Raises PydanticCustomError if it has none, or one that is not finite."""
    if not array.size:  # the other lengths of its shape may be too large for NumPy
        raise PydanticCustomError("shape-mismatch", "an array has no numbers; give at least one")
    if not np.isfinite(array).all():
        raise PydanticCustomError("finite_number", "expected finite numbers, found NaN or infinity")
    return array.reshape(shape)


ARRAY_DESCRIPTION = "An array of any shape; a number or nested lists of numbers are read too"

Array = Annotated[
    Floats,
    GetPydanticSchema(
        lambda source, handler: core_schema.no_info_wrap_validator_function(_array, handler(EncodedArray)),
        lambda schema, handler: {
            "oneOf": [{"type": "number"}, {"type": "array", "items": {}}, handler(schema)],
            **component("TesseractArray", "An encoded array, a number, or nested lists of numbers."),
        },
    ),
    Field(description=ARRAY_DESCRIPTION),
]
"""An array of float64."""


class ShapeAndType(RequestModel):
    """The shape of an array. What else an encoded array has is ignored."""

    model_config = {"extra": "ignore"}

    shape: list[Length] = Field(max_length=MAX_DIMENSIONS, examples=[[3]])
    dtype: DType = "float64"


# --- responses


class ArrayContent(ResponseModel):
    """The numbers of an array, the last index running fastest."""

    buffer: Any = Field(description="Nested lists of numbers, or little-endian numbers in base64")
    encoding: Literal["json", "base64"]


class ArrayResponse(ResponseModel):
    """An array of float64."""

    object_type: Literal["array"]
    shape: list[int]
    dtype: Literal["float64"]
    data: ArrayContent


class Arrays(RootModel[SkipValidation[dict[str, ArrayResponse]]]):
    """Arrays by name."""


class NestedArrays(RootModel[SkipValidation[dict[str, dict[str, ArrayResponse]]]]):
    """Arrays by the names of an output and an input."""


def encoded(array: Floats) -> Any:
    """An array as a response has it, with its numbers as nested lists."""
    buffer: Any = array if array.ndim else float(array)
    return {
        "object_type": "array",
        "shape": list(array.shape),
        "dtype": "float64",
        "data": {"buffer": buffer, "encoding": "json"},
    }


def to_base64(answer: RootModel[Any]) -> Iterator[bytes]:
    """Arrays as JSON with their numbers in base64, in pieces, since orjson would hold the GIL for the whole of a long text."""
    return map(bytes, pieces.grouped(_in_base64(answer.root)))


def _in_base64(value: dict[str, Any]) -> Iterator[bytes | memoryview]:
    """An array, or a table of arrays or of tables of them."""
    if isinstance(value.get("object_type"), str):
        numbers = np.ascontiguousarray(value["data"]["buffer"], np.float64).reshape(-1)
        described = {name: inner for name, inner in value.items() if name != "data"}
        yield orjson.dumps(described)[:-1] + b',"data":{"buffer":"'
        yield from base64_doubles.write(numbers)
        yield b'","encoding":"base64"}}'
        return
    before = b"{"
    for name, inner in value.items():
        yield before + orjson.dumps(name) + b":"
        yield from _in_base64(inner)
        before = b","
    yield b"}"


# --- shapes


def broadcast(shapes: Mapping[str, Shape]) -> Shape:
    """The shape that arrays of these shapes have together, by NumPy's rules.

    Raises ValueError with the name of the first shape that does not fit.
    """
    result: list[int] = []
    for name, shape in shapes.items():
        padded = [1] * (len(result) - len(shape)) + list(shape)
        result = [1] * (len(padded) - len(result)) + result
        for k, (have, given) in enumerate(zip(result, padded, strict=True)):
            if have != given and 1 not in (have, given):
                raise ValueError(name)
            result[k] = given if have == 1 else have
    return tuple(result)


def fits(shape: Shape, whole_shape: Shape) -> bool:
    """Whether an array of this shape can be broadcast to the whole shape."""
    try:
        return broadcast({"": whole_shape, "part": shape}) == whole_shape
    except ValueError:
        return False
