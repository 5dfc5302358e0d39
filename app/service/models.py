"""Base classes of request and response models, and field types for numbers and lists of numbers.

Requests are strict: no unknown fields, no numbers as strings, no booleans as numbers, no NaN. Null counts as absent for every
optional field. Lists of numbers arrive as NumPy arrays; where the body was large, the compiled scanner has already read them.
"""

import itertools
from collections.abc import Callable
from copy import deepcopy
from typing import Annotated, Any, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    GetPydanticSchema,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, SchemaValidator, core_schema

from app.engine.scanner import BrokenList, NumberList, NumberRows
from app.service.problems import MAX_ERRORS

Floats: TypeAlias = npt.NDArray[np.float64]
Handler: TypeAlias = Callable[[Any], Any]


class RequestModel(BaseModel):
    """Base of everything a client sends."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, fields: Any) -> Any:
        """Drop nulls at optional fields, so that they get their defaults, and most of very many unknown fields."""
        if not isinstance(fields, dict):
            return fields
        known = cls.model_fields
        if len(fields) > len(known) + MAX_ERRORS:  # of unknown fields, no more than an error lists are worth its memory
            unknown = itertools.islice((name for name in fields if name not in known), MAX_ERRORS)
            fields = {name: fields[name] for name in (*unknown, *filter(fields.__contains__, known))}
        nulls = [name for name, value in fields.items() if value is None and name in known and not known[name].is_required()]
        return {name: value for name, value in fields.items() if name not in nulls} if nulls else fields

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The model's schema, with null allowed at optional fields."""
        schema = handler(core)
        described = handler.resolve_ref_schema(schema)
        for name, field in described.get("properties", {}).items():
            if name not in described.get("required", ()):
                described["properties"][name] = nullable(field)
        return schema


class ResponseModel(BaseModel):
    """Base of everything the service sends. Fields that are not given to the constructor are left out of the JSON."""

    model_config = ConfigDict(frozen=True, validate_by_name=True)

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The model's schema without defaults, which mean nothing in a response."""
        schema = handler(core)
        for field in handler.resolve_ref_schema(schema).get("properties", {}).values():
            field.pop("default", None)
        return schema


ABSENT: Any = None
"""The default of a response field that is left out unless it is given."""


def nullable(schema: JsonSchemaValue) -> JsonSchemaValue:
    """A JSON schema that allows null too, in a form that code generators understand."""
    if isinstance(schema.get("type"), str):
        enum = {"enum": [*schema["enum"], None]} if "enum" in schema else {}
        return {**schema, "type": [schema["type"], "null"], **enum}
    if "$ref" in schema:
        rest = {key: value for key, value in schema.items() if key != "$ref"}
        return {"oneOf": [{"$ref": schema["$ref"]}, {"type": "null"}], **rest}
    if "oneOf" in schema:
        return {**schema, "oneOf": [*schema["oneOf"], {"type": "null"}]}
    return schema


def whole(value: Any) -> Any:
    """5.0 as the integer 5, and an integer beyond 64 bits as a float, which is then refused; anything else as it is."""
    if type(value) is float and value.is_integer() and abs(value) < 2**63:
        return int(value)
    return float(value) if type(value) is int and not -(2**63) <= value < 2**63 else value


Item = TypeVar("Item")
Items = Annotated[list[Item], Field(fail_fast=True)]
"""A list that is validated up to its first fault: an error for each of a million entries would take gigabytes."""

WholeNumber = Annotated[int, BeforeValidator(whole)]
"""An integer, which may be written 5 or 5.0."""

PositiveInteger = Annotated[int, Field(ge=1, le=2**63 - 1), BeforeValidator(whole)]
"""An integer from 1, which may be written 5 or 5.0."""

Seed = Annotated[int, Field(ge=0, le=2**32 - 1), BeforeValidator(whole)]
"""The seed of a random number generator."""


def is_number(value: object) -> bool:
    """Whether a decoded JSON value is a number (and not a boolean)."""
    return type(value) is float or type(value) is int


def _broken(broken: BrokenList, *row: int) -> PydanticCustomError:
    """The error for a long list that holds something else than numbers or rows. Its location is extended by `place`."""
    place = (*row, *broken.place)
    if broken.found == "number out of range":
        return PydanticCustomError("finite_number", "expected a finite number, found one beyond 1.8e308", {"place": place})
    expected = "a list" if broken.rows and broken.start is None else "a number"
    article = "an" if broken.found == "object" else "a"
    found = "null" if broken.found == "null" else f"{article} {broken.found}"
    described = {"expected": expected, "found": found, "place": place}
    return PydanticCustomError("number", "expected {expected}, found {found}", described)


def _is_rows(value: Any) -> bool:
    """Whether a value is a list of lists, scanned or not."""
    if isinstance(value, list):
        return bool(value) and isinstance(value[0], list | NumberList | BrokenList)
    return isinstance(value, NumberRows) or (isinstance(value, BrokenList) and value.rows)


def _is_long(value: Any) -> bool:
    return isinstance(value, list) and len(value) > LONG_LIST


def _number_list(value: Any, handler: Handler) -> Floats:
    if isinstance(value, np.ndarray):  # from our own code
        return value
    if _is_rows(value):
        raise PydanticCustomError("number", "expected a number, found a list", {"place": (0,)})
    if isinstance(value, NumberList):
        return value.values
    if isinstance(value, BrokenList):
        raise _broken(value)
    return np.array((LONG_HANDLER if _is_long(value) else handler)(value), np.float64)


def _numbers(value: Any, handler: Handler) -> float | Floats:
    if is_number(value):
        return float(value)
    if isinstance(value, list | np.ndarray | NumberList | NumberRows | BrokenList):
        numbers = _number_list(value, handler)
        if not len(numbers):
            raise PydanticCustomError("shape-mismatch", "the list is empty; give at least one number")
        return numbers
    raise PydanticCustomError(
        "number_or_list", "expected a number or a list of numbers, found {found}", {"found": found_text(value)}
    )


def _rows(value: Any, handler: Handler) -> Floats:
    """Rows as an array of shape (rows, width)."""
    if isinstance(value, np.ndarray):  # from our own code
        return value
    if isinstance(value, NumberList | BrokenList) and not _is_rows(value):
        raise PydanticCustomError("row", "expected a list, found a number", {"place": (0,)})
    if isinstance(value, BrokenList):
        raise _broken(value)
    if isinstance(value, NumberRows):
        lengths = np.diff(value.starts)
        _check_widths(lengths)
        return value.values.reshape(len(lengths), -1)
    rows = (LONG_ROWS_HANDLER if _is_long(value) else handler)(_scanned_rows(value))
    _check_widths(np.fromiter(map(len, rows), np.int64, len(rows)))
    return np.array(rows, np.float64)


def _scanned_rows(value: Any) -> Any:
    """The value with scanned rows as plain lists: where only some rows of a list are long, each was scanned by itself."""
    if not isinstance(value, list):
        return value
    broken = next((row for row, item in enumerate(value) if isinstance(item, BrokenList)), None)
    if broken is not None:
        raise _broken(value[broken], broken)
    return [item.values.tolist() if isinstance(item, NumberList) else item for item in value]


def _check_widths(lengths: npt.NDArray[np.int64]) -> None:
    """Raise unless there are rows, all of one width above 0."""
    if not len(lengths) or not lengths[0]:
        raise PydanticCustomError("shape-mismatch", "there are no rows, or rows without numbers")
    others = np.flatnonzero(lengths != lengths[0])
    if len(others):
        row = int(others[0])
        raise PydanticCustomError(
            "shape-mismatch",
            "row {row} has {count} numbers and row 0 has {width}; give all rows the same length",
            {"row": row, "count": int(lengths[row]), "width": int(lengths[0]), "place": (row,)},
        )


def _numbers_or_rows(value: Any, handler: Handler) -> Floats:
    """A list of numbers, or rows of numbers: an array of one or two dimensions."""
    return _rows(value, ROWS_HANDLER) if _is_rows(value) else _number_list(value, handler)


def found_text(value: Any) -> str:
    """A decoded JSON value in words, without echoing it."""
    names: dict[type, str] = {type(None): "null", bool: "a boolean", str: "a string", dict: "an object"}
    lists = "a list of numbers" if isinstance(value, NumberList | NumberRows | BrokenList) else "a list"
    return names.get(type(value), "a number" if is_number(value) else lists)


FLOAT = core_schema.float_schema(strict=True, allow_inf_nan=False)
FLOATS = core_schema.list_schema(FLOAT, strict=True)
LONG_FLOATS = core_schema.list_schema(FLOAT, strict=True, fail_fast=True)
FLOAT_ROWS = core_schema.list_schema(LONG_FLOATS, strict=True)
LONG_FLOAT_ROWS = core_schema.list_schema(LONG_FLOATS, strict=True, fail_fast=True)

ROWS_HANDLER: Handler = SchemaValidator(FLOAT_ROWS).validate_python
LONG_HANDLER: Handler = SchemaValidator(LONG_FLOATS).validate_python
LONG_ROWS_HANDLER: Handler = SchemaValidator(LONG_FLOAT_ROWS).validate_python

LONG_LIST = 1000
"""Lists longer than this are validated up to their first fault, like `Items`."""


def array_field(validate: Callable[[Any, Handler], Any], inner: CoreSchema, schema: JsonSchemaValue) -> GetPydanticSchema:
    """Annotation for a field that `validate` reads into NumPy arrays. `inner` is the schema for plain Python lists."""
    serialize = core_schema.plain_serializer_function_ser_schema(
        lambda value: value.tolist() if isinstance(value, np.ndarray) else value
    )
    return GetPydanticSchema(
        lambda source, handler: core_schema.no_info_wrap_validator_function(validate, inner, serialization=serialize),
        lambda source, handler: deepcopy(schema),  # pydantic writes into it
    )


NUMBER_SCHEMA: JsonSchemaValue = {"type": "number"}
LIST_SCHEMA: JsonSchemaValue = {"type": "array", "items": NUMBER_SCHEMA}
ROWS_SCHEMA: JsonSchemaValue = {"type": "array", "items": LIST_SCHEMA}

Vector = Annotated[Floats, array_field(_number_list, FLOATS, LIST_SCHEMA)]
"""A list of numbers."""

Rows = Annotated[Floats, array_field(_rows, FLOAT_ROWS, ROWS_SCHEMA)]
"""Rows of numbers, all of one width above 0: an array of shape (rows, width)."""

Numbers = Annotated[float | Floats, array_field(_numbers, FLOATS, {"oneOf": [NUMBER_SCHEMA, LIST_SCHEMA]})]
"""A number, or a list with one number per point."""

VectorOrRows = Annotated[Floats, array_field(_numbers_or_rows, FLOATS, {"oneOf": [LIST_SCHEMA, ROWS_SCHEMA]})]
"""A list of numbers, or rows of numbers."""
