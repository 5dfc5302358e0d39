"""Base classes of request and response models, and field types for numbers and lists of numbers.

Requests are strict: no unknown fields, no numbers as strings, no booleans as numbers, no NaN. Null counts as absent for every
optional field. Lists of numbers arrive as NumPy arrays, whether they were sent as lists or in base64; where the body was large,
the compiled scanner has already read them.
"""

import math
from collections.abc import Callable, Container, Iterator, Mapping
from copy import deepcopy
from itertools import islice
from typing import Annotated, Any, ClassVar, Literal, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    GetPydanticSchema,
    SkipValidation,
    TypeAdapter,
    ValidationError,
    WrapValidator,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError, SchemaValidator, core_schema

from app.engine import base64_doubles
from app.engine.base64_doubles import BrokenDoubles
from app.engine.large_json import LargeList, LargeObject, LargeString, opened
from app.engine.scanner import BrokenList, NodesText, NumberList, NumberRows, NumberText
from app.service.problems import MAX_ERRORS

Floats: TypeAlias = npt.NDArray[np.float64]
Handler: TypeAlias = Callable[[Any], Any]


COMPONENT = "x-component"


def component(title: str, description: str) -> dict[str, Any]:
    """What marks a JSON schema that the OpenAPI document describes once, by this name, and refers to wherever it stands.

    Code generators then make one type of it, and not one for each field.
    """
    return {COMPONENT: {"title": title, "description": description}}


class RequestModel(BaseModel):
    """Base of everything a client sends."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, frozen=True)

    OTHER_NAMES: ClassVar[Mapping[str, str]] = {}
    """Fields by the names that people or other programs give them: the name here, or a sentence that says what to write.

    The field may also be one of an object within this one.
    """

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, fields: Any) -> Any:
        """Drop nulls at optional fields, so that they get their defaults, and most of very many unknown fields."""
        known = cls.__pydantic_fields__  # `model_fields`, which takes longer to look up
        if not isinstance(fields, dict):
            if not isinstance(fields, LargeObject):
                return fields
            fields = large_fields(fields, known, len(known))
        if len(fields) > len(known) + MAX_ERRORS:  # of unknown fields, no more than an error lists are worth its memory
            unknown = islice((name for name in fields if name not in known), MAX_ERRORS)
            fields = {name: fields[name] for name in (*unknown, *filter(fields.__contains__, known))}
        if type(None) not in map(type, fields.values()):
            return fields
        nulls = {name for name, value in fields.items() if value is None and name in known and not known[name].is_required()}
        return {name: value for name, value in fields.items() if name not in nulls}

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The model's schema, with null allowed at optional fields."""
        schema = handler(core)
        described = handler.resolve_ref_schema(schema)
        for name, field in described.get("properties", {}).items():
            if name not in described.get("required", ()):
                described["properties"][name] = nullable(field)
        return schema


Arrays = Annotated[
    Literal["list", "base64"],
    Field(json_schema_extra=component("ArrayFormat", "How a response writes lists of numbers: as lists, or in base64.")),
]
"""How lists of numbers are written in a response."""


class ComputationRequest(RequestModel):
    """Base of what a client sends to a computation, as a whole."""

    arrays: Arrays = Field(
        "list",
        description="How lists of numbers in the response are written that have one entry per point, per row or per entry of a "
        'matrix: as lists, or in base64 as `{"float64": "...", "shape": [rows, columns]}`',
    )


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


class FileRequest(RequestModel):
    """Base of requests whose body is a file, and not JSON."""

    content: SkipValidation[bytes] = Field(repr=False)

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The schema of the file's bytes."""
        return {"type": "string", "format": "binary", "title": cls.__name__, "description": cls.__doc__}


ABSENT: Any = None
"""The default of a response field that is left out unless it is given."""


BESIDE_REFERENCES = ("title", "description", "default", "examples")
"""Keywords that belong to a field, and not to the component that it refers to."""


def nullable(schema: JsonSchemaValue) -> JsonSchemaValue:
    """A JSON schema that allows null too, in a form that code generators understand."""
    if COMPONENT in schema:
        beside = {key: value for key, value in schema.items() if key in BESIDE_REFERENCES}
        rest = {key: value for key, value in schema.items() if key not in BESIDE_REFERENCES}
        return {"oneOf": [rest, {"type": "null"}], **beside}
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


def large_fields(value: LargeObject, known: Container[str], count: int) -> dict[str, Any]:
    """The fields of a large object that are among the `count` known ones, and more others than `RequestModel` looks at."""
    fields = value.fields(known, count + MAX_ERRORS + 1)
    return {
        name: field.characters() if isinstance(field, LargeString) and name in known else field
        for name, field in fields.items()
    }


def items(value: Any, handler: Handler) -> Any:
    """The entries of a list, of which a large one is validated piece by piece."""
    if isinstance(value, BrokenList | NumberRows):
        handler([[]] if isinstance(value, NumberRows) or value.rows else [1])  # which is wrong, unless integers are asked for
        assert isinstance(value, BrokenList), "no list of lists is asked for, but for rows of numbers"
        try:
            return handler([WRONG_ENTRIES[value.found]])
        except ValidationError as error:
            raise _moved(error, value.index) from None
    if not isinstance(value, LargeList | NumberList):
        return handler(value)
    entries: list[Any] = []
    try:
        for piece in validated_pieces(value, handler):
            entries += piece
    except BaseException:
        _empty(entries)
        raise
    return entries


def validated_pieces(value: LargeList | NumberList, handler: Handler) -> Iterator[list[Any]]:
    """The entries of a large list as `handler` validates them, some thousands at a time. Errors have their indices."""
    count = 0
    for piece in value.pieces() if isinstance(value, LargeList) else _pieces_of_numbers(value):
        entries = [entry.characters() if isinstance(entry, LargeString) else entry for entry in piece]
        try:
            yield handler(entries)
        except ValidationError as error:
            raise _moved(error, count) from None
        count += len(entries)


def _pieces_of_numbers(value: NumberList) -> Iterator[list[float]]:
    for low in range(0, len(value.values), PIECE_ENTRIES):
        value.check()
        yield value.values[low : low + PIECE_ENTRIES].tolist()


def take_apart(model: BaseModel) -> None:
    """Empty the large lists and objects of a request that is answered, some thousands of entries at a time.

    Else Python would free all that they hold at once, and no other thread would run for half a second per million rows.
    """
    for value in vars(model).values():
        if isinstance(value, BaseModel):
            take_apart(value)
        elif isinstance(value, list | dict):
            _empty(value)


def _empty(entries: list[Any] | dict[str, Any]) -> None:
    while entries:
        if isinstance(entries, list):
            del entries[-PIECE_ENTRIES:]
        else:
            entries.popitem()


def _moved(error: ValidationError, count: int) -> ValidationError:
    """The error for a part of a list as the error for the list; `count` entries precede the part."""
    moved: list[InitErrorDetails] = []
    for entry in error.errors(include_url=False):
        same: Any = PydanticCustomError(entry["type"], entry["msg"], entry.get("ctx"))
        place = entry["loc"]
        if place and isinstance(place[0], int):
            place = (place[0] + count, *place[1:])
        moved.append({"type": same, "loc": place, "input": entry["input"]})
    return ValidationError.from_exception_data(error.title, moved)


def _named_items(value: Any, handler: Handler) -> Any:
    """The entries of an object, of which a large one is validated piece by piece."""
    if not isinstance(value, LargeObject):
        return handler(value)
    table = value.entries()
    names = iter(list(table))
    while part := {name: table[name] for name in islice(names, PIECE_ENTRIES)}:
        value.check()
        table |= handler(part)
    return table


WRONG_ENTRIES = {
    "string": "",
    "boolean": True,
    "null": None,
    "list": [],
    "object": {},
    "number out of range": float("inf"),
}
"""What `BrokenList.found` names."""

Item = TypeVar("Item")
Items = Annotated[list[Item], Field(fail_fast=True), WrapValidator(items)]
NamedItems = Annotated[dict[str, Item], Field(fail_fast=True), WrapValidator(_named_items)]
"""A list, and an object with any names. Large ones are decoded and validated piece by piece.

Validation ends at the first fault: an error for each of a million entries would take gigabytes.
"""

PIECE_ENTRIES = 10_000
"""How many entries of an object, or numbers of a list, are validated at once."""

WholeNumber = Annotated[int, BeforeValidator(whole)]
"""An integer, which may be written 5 or 5.0."""

PositiveInteger = Annotated[int, Field(ge=1, le=2**63 - 1), BeforeValidator(whole)]
"""An integer from 1, which may be written 5 or 5.0."""

Seed = Annotated[int, Field(ge=0, le=2**32 - 1), BeforeValidator(whole)]
"""The seed of a random number generator."""


def is_number(value: object) -> bool:
    """Whether a decoded JSON value is a number (and not a boolean)."""
    return type(value) is float or type(value) is int


def broken_list_error(broken: BrokenList, *row: int) -> PydanticCustomError:
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
        return bool(value) and isinstance(value[0], list | NumberList | BrokenList | LargeList)
    return isinstance(value, NumberRows) or (isinstance(value, BrokenList) and value.rows)


def _is_long(value: Any) -> bool:
    return isinstance(value, list) and len(value) > LONG_LIST


def beginning(value: Any) -> Any:
    """As much of a large list as decides whether it is right: `scan` has looked at more entries, and did not find it to be."""
    return value.first(LONG_LIST + 1) if isinstance(value, LargeList) else value


def _number_list(value: Any, handler: Handler) -> Floats:
    value = _decoded(beginning(value))
    if isinstance(value, np.ndarray):  # from base64, or from our own code
        if value.ndim != 1:
            detail = 'expected a list of numbers, found rows; leave "shape" out'
            raise PydanticCustomError("shape-mismatch", detail, {"place": ("shape",)})
        return value
    if _is_rows(value):
        raise PydanticCustomError("number", "expected a number, found a list", {"place": (0,)})
    if isinstance(value, NumberList):
        return value.values
    if isinstance(value, BrokenList):
        raise broken_list_error(value)
    return np.array((LONG_HANDLER if _is_long(value) else handler)(value), np.float64)


def _numbers(value: Any, handler: Handler) -> float | Floats:
    if type(value) is float:
        return value
    if type(value) is int:
        return float(value)
    if isinstance(value, NodesText):
        value = opened(value)
    value = _decoded(value)
    if isinstance(value, list | np.ndarray | NumberList | NumberRows | BrokenList | LargeList):
        numbers = _number_list(value, handler)
        if not len(numbers):
            raise PydanticCustomError("shape-mismatch", "the list is empty; give at least one number")
        return numbers
    hint = BASE64_FORM if value and isinstance(value, dict | LargeObject) else "; a number stands without quotes: 3"
    found = {"found": found_text(value), "base64": hint if isinstance(value, str | dict | LargeObject) and value else ""}
    raise PydanticCustomError("number_or_list", "expected a number or a list of numbers, found {found}{base64}", found)


def _rows(value: Any, handler: Handler) -> Floats:
    """Rows as an array of shape (rows, width)."""
    value = _decoded(beginning(value))
    if isinstance(value, np.ndarray):  # from base64, or from our own code
        if value.ndim != 2:
            raise PydanticCustomError("rows", 'expected rows; give them a "shape": [rows, columns]')
        if not value.size:
            raise PydanticCustomError("shape-mismatch", "there are no rows, or rows without numbers", {"place": ("shape",)})
        return value
    is_numbers = isinstance(value, list) and value and is_number(value[0])
    if is_numbers or (isinstance(value, NumberList | BrokenList) and not _is_rows(value)):
        detail = "expected a list, found a number; rows are written [[1, 2], [3, 4]], and a single one [[1, 2]]"
        raise PydanticCustomError("row", detail, {"place": (0,)})
    if isinstance(value, BrokenList):
        raise broken_list_error(value)
    if isinstance(value, NumberRows):
        _check_widths(value.starts)
        return value.values.reshape(len(value.starts) - 1, -1)
    rows = (LONG_ROWS_HANDLER if _is_long(value) else handler)(_scanned_rows(value))
    _check_widths(np.cumsum([0, *map(len, rows)]))
    return np.array(rows, np.float64)


def _scanned_rows(value: Any) -> Any:
    """The value with scanned rows as plain lists: where only some rows of a list are long, each was scanned by itself."""
    if not isinstance(value, list):
        return value
    broken = next((row for row, item in enumerate(value) if isinstance(item, BrokenList)), None)
    if broken is not None:
        raise broken_list_error(value[broken], broken)
    return [item.values.tolist() if isinstance(item, NumberList) else beginning(item) for item in value]


def _check_widths(starts: npt.NDArray[np.int64]) -> None:
    """Raise unless there are rows, all of one width above 0. Row i has `starts[i + 1] - starts[i]` numbers."""
    width = int(starts[1] - starts[0]) if len(starts) > 1 else 0
    if not width:
        raise PydanticCustomError("shape-mismatch", "there are no rows, or rows without numbers")
    for low in range(0, len(starts) - 1, ROWS_AT_ONCE):
        lengths = np.diff(starts[low : low + ROWS_AT_ONCE + 1])
        others = np.flatnonzero(lengths != width)
        if len(others):
            row, count = low + int(others[0]), int(lengths[others[0]])
            raise PydanticCustomError(
                "shape-mismatch",
                "row {row} has {count} numbers and row 0 has {width}; give all rows the same length",
                {"row": row, "count": count, "width": width, "place": (row,)},
            )


def _numbers_or_rows(value: Any, handler: Handler) -> Floats:
    """A list of numbers, or rows of numbers: an array of one or two dimensions."""
    value = _decoded(beginning(value))
    is_rows = value.ndim == 2 if isinstance(value, np.ndarray) else _is_rows(value)
    return _rows(value, ROWS_HANDLER) if is_rows else _number_list(value, handler)


# --- numbers in base64

FAULT_TEXTS = {
    "character": "character {position} (counted from 0) is not in base64's alphabet, which is A-Z, a-z, 0-9, + and /",
    "URL": "character {position} (counted from 0) is of base64url; write + in place of - and / in place of _",
    "space": "character {position} (counted from 0) is a space or a line break; write the text without any",
    "padding": "the text must end at a multiple of 4 characters, padded with = or == if need be; it is wrong at character "
    "{position} (counted from 0)",
    "length": "the text does not hold whole doubles, which take 8 bytes each",
    "bits": "the last character before the padding has bits that belong to no byte; it is not what an encoder writes",
    "not finite": "entry {position} (counted from 0) is NaN or infinite; give finite numbers",
}
"""What is wrong with a text, by `BrokenDoubles.fault`."""

BASE64_FORM = '; an object is written {"float64": "..."}, with the numbers in base64'


def _doubles(value: Any, handler: Handler) -> Floats:
    """The numbers that a string holds in base64."""
    if isinstance(value, NumberText):
        return value.values
    if isinstance(value, LargeString):
        numbers = base64_doubles.read(value.text[1:-1], value.check)
    else:
        text: str = handler(value)
        # In a decoded string, a backslash or a quote is one, and not the beginning of an escape or the end.
        numbers = base64_doubles.read(text.encode("utf-8", "replace").translate(NO_ESCAPES))
    if isinstance(numbers, BrokenDoubles):
        fault: Any = FAULT_TEXTS[numbers.fault]
        raise PydanticCustomError("float64", fault, {"position": numbers.position})
    return numbers


NO_ESCAPES = bytes.maketrans(b'\\"', b"??")
MAX_DIMENSION = 2**63 - 1


class Float64Array(RequestModel):
    """Numbers in base64 (RFC 4648, section 4): the bytes of little-endian IEEE 754 doubles.

    Rows are written one after the other, with their number and their width in `shape`; a list has no `shape`. In a request all
    numbers are finite. In a response NaN stands where a list has null.

    A request may have them in `inputs`, `tangents` and `cotangent` of expressions, the `weights` and `biases` of networks and
    of an optimizer's state, `inputs`, `targets` and `target` of data, every column of `data` and `predict`, `target`, `sigma`
    and `weights` of a fit, and `readings` of a measurement. With `"arrays": "base64"` in a request (`?arrays=base64` of a
    dataset), its response has them in place of everything that is one number per point in responses about expressions; of
    `weights`, `biases`, `outputs`, `input_gradients`, and the columns of a history; of `inputs` and `targets` of a dataset;
    of `residuals`, `predictions` and `influence` of a fit. Lists of integers, of a fixed length (such as intervals, `layers`
    or `bounds`), of one number per constraint, and of objects (such as `points`, `history` or `trajectory`) are always lists.
    """

    float64: Annotated[
        Floats,
        GetPydanticSchema(
            lambda source, handler: core_schema.no_info_wrap_validator_function(_doubles, core_schema.str_schema(strict=True)),
            lambda source, handler: {"type": "string", "contentEncoding": "base64"},
        ),
    ] = Field(description="The doubles, 8 bytes each, in base64 with padding", examples=["AAAAAAAA8D8AAAAAAAAAQA=="])
    shape: list[Annotated[int, Field(ge=0, le=MAX_DIMENSION), BeforeValidator(whole)]] | None = Field(
        None, min_length=1, max_length=2, description="[rows, columns]; for a list it may be left out", examples=[[1, 2]]
    )

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The schema, which is the same for requests and responses."""
        schema = super().__get_pydantic_json_schema__(core, handler)
        described = handler.resolve_ref_schema(schema)
        described["properties"]["shape"].pop("default", None)
        return schema


FLOAT64_ARRAY = TypeAdapter(Float64Array)


def _decoded(value: Any) -> Any:
    """The array that an object in base64 stands for, with its shape; anything else as it is."""
    if isinstance(value, LargeObject):
        fields = value.fields(Float64Array.model_fields, MAX_ERRORS)
    elif isinstance(value, dict):
        fields = value
    else:
        return value
    if "float64" not in fields:
        return value
    found = FLOAT64_ARRAY.validate_python(fields)
    shape = found.shape
    if shape is None:
        return found.float64
    if math.prod(shape) != found.float64.size:
        place = {"place": ("shape",), "shape": " by ".join(map(str, shape)), "count": found.float64.size}
        raise PydanticCustomError("shape-mismatch", "the shape is {shape}, and there are {count} numbers", place)
    return found.float64.reshape(shape)


def found_text(value: Any) -> str:
    """A decoded JSON value in words, without echoing it."""
    return FOUND_TEXTS.get(type(value), "a number" if is_number(value) else "a list")


FOUND_TEXTS: dict[type, str] = {
    type(None): "null",
    bool: "a boolean",
    str: "a string",
    LargeString: "a string",
    NumberText: "a string",
    dict: "an object",
    LargeObject: "an object",
}

FLOAT = core_schema.float_schema(strict=True, allow_inf_nan=False)
FLOATS = core_schema.list_schema(FLOAT, strict=True)
LONG_FLOATS = core_schema.list_schema(FLOAT, strict=True, fail_fast=True)
FLOAT_ROWS = core_schema.list_schema(LONG_FLOATS, strict=True)
LONG_FLOAT_ROWS = core_schema.list_schema(LONG_FLOATS, strict=True, fail_fast=True)

ROWS_HANDLER: Handler = SchemaValidator(FLOAT_ROWS).validate_python
LONG_HANDLER: Handler = SchemaValidator(LONG_FLOATS).validate_python
LONG_ROWS_HANDLER: Handler = SchemaValidator(LONG_FLOAT_ROWS).validate_python

ROWS_AT_ONCE = 1 << 16
"""How many rows' widths are compared at once."""

LONG_LIST = 1000
"""Lists longer than this are validated up to their first fault."""


def array_field(
    validate: Callable[[Any, Handler], Any], inner: CoreSchema, named: dict[str, Any], *forms: JsonSchemaValue
) -> GetPydanticSchema:
    """Annotation for a field that `validate` reads into NumPy arrays. `inner` is the schema for plain Python lists.

    The field's JSON schema is a component with these forms, and numbers in base64.
    """
    serialize = core_schema.plain_serializer_function_ser_schema(
        lambda value: value.tolist() if isinstance(value, np.ndarray) else value
    )
    return GetPydanticSchema(
        lambda source, handler: core_schema.no_info_wrap_validator_function(validate, inner, serialization=serialize),
        # Copies, because pydantic writes into them.
        lambda source, handler: {"oneOf": [*deepcopy(forms), handler(FLOAT64_ARRAY.core_schema)], **named},
    )


NUMBER_SCHEMA: JsonSchemaValue = {"type": "number"}
LIST_SCHEMA: JsonSchemaValue = {"type": "array", "items": NUMBER_SCHEMA}
ROWS_SCHEMA: JsonSchemaValue = {"type": "array", "items": LIST_SCHEMA}

VECTOR = component("NumberList", "A list of numbers.")
ROWS = component("NumberRows", "Rows of numbers, all of the same width.")
NUMBERS = component("Numbers", "A number, or a list with one number per point or per row.")
VECTOR_OR_ROWS = component("NumberListOrRows", "A list of numbers, or rows of numbers.")
RESULT = component("Result", "A number, or one number per point; null where it is not finite and the request allows that.")
RESULTS = component("Results", "A list of numbers; null where a number is not finite.")
RESULT_ENTRIES = component("ResultEntries", "One result per entry of a matrix.")
INTERVALS = component("Intervals", "A lower and an upper limit per point; null where there is none.")

Vector = Annotated[Floats, array_field(_number_list, FLOATS, VECTOR, LIST_SCHEMA)]
"""A list of numbers."""

Rows = Annotated[Floats, array_field(_rows, FLOAT_ROWS, ROWS, ROWS_SCHEMA)]
"""Rows of numbers, all of one width above 0: an array of shape (rows, width)."""

Numbers = Annotated[float | Floats, array_field(_numbers, FLOATS, NUMBERS, NUMBER_SCHEMA, LIST_SCHEMA)]
"""A number, or a list with one number per point."""

VectorOrRows = Annotated[Floats, array_field(_numbers_or_rows, FLOATS, VECTOR_OR_ROWS, LIST_SCHEMA, ROWS_SCHEMA)]
"""A list of numbers, or rows of numbers."""


def array_result(named: dict[str, Any], *forms: JsonSchemaValue) -> GetPydanticSchema:
    """Annotation for a field of a response that is not validated and may be an array, in which NaN stands for null.

    Its JSON schema is a component with these forms, and numbers in base64.
    """
    return GetPydanticSchema(
        lambda source, handler: core_schema.any_schema(),
        lambda source, handler: {"oneOf": [*deepcopy(forms), handler(FLOAT64_ARRAY.core_schema)], **named},
    )


OPTIONAL_LIST_SCHEMA: JsonSchemaValue = {"type": "array", "items": {"type": ["number", "null"]}}
RESULT_SCHEMAS: list[JsonSchemaValue] = [NUMBER_SCHEMA, OPTIONAL_LIST_SCHEMA, {"type": "null"}]
INTERVALS_SCHEMA: JsonSchemaValue = {"type": "array", "items": {**OPTIONAL_LIST_SCHEMA, "minItems": 2, "maxItems": 2}}

Result = Annotated[
    float | None | list[float | None] | Floats,
    array_result(RESULT, *RESULT_SCHEMAS),
    Field(description="A number, or one number per point; null where it is not finite and the request allows that"),
]
"""A number of a response, or an array with one per point."""

ResultEntries = Annotated[
    list[Any] | Floats,
    GetPydanticSchema(
        lambda source, handler: core_schema.any_schema(),
        lambda source, handler: {
            "oneOf": [
                {"type": "array", "items": {"oneOf": [*RESULT_SCHEMAS, handler(FLOAT64_ARRAY.core_schema)], **RESULT}},
                handler(FLOAT64_ARRAY.core_schema),
            ],
            **RESULT_ENTRIES,
        },
    ),
]
"""Several results: a list of them, or an array with one number, or one row of a number per point, for each."""

Results = Annotated[list[float | None] | Floats, array_result(RESULTS, OPTIONAL_LIST_SCHEMA)]
"""An array of a response with one number per row."""

ResultRows = Annotated[list[list[float]] | Floats, array_result(ROWS, ROWS_SCHEMA)]
"""An array of a response with several numbers per row."""

Intervals = Annotated[list[list[float | None]] | Floats, array_result(INTERVALS, INTERVALS_SCHEMA)]
"""An array of a response with two numbers per row."""


def nan_for_null(numbers: Floats) -> Floats:
    """Numbers of a response, with NaN for each that is not finite: it is written as null in a list, and as it is in base64."""
    finite = np.isfinite(numbers)
    return numbers if finite.all() else np.where(finite, numbers, np.nan)
