"""pydantic's validation errors as problems: each with a JSON pointer and a message that says what to write instead."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from app.engine.errors import nearest, quote
from app.service.models import found_text
from app.service.problems import MAX_ERRORS, FieldError, Problem, pointer

EXPECTED = {
    "float_type": "a number",
    "int_type": "an integer",
    "int_from_float": "an integer",
    "string_type": "a string",
    "bool_type": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
}
"""What pydantic's error types ask for, in the words of JSON."""

OTHER_NAMES = {"lr": "learning_rate"}
"""Names under which other libraries know a field."""


def invalid_request(error: ValidationError, model: type[BaseModel]) -> Problem:
    """The problem for a request that does not fit its model."""
    entries = error.errors(include_url=False)
    found = [(_place(entry), _message(entry, model)) for entry in entries[:MAX_ERRORS]]
    errors = [FieldError(pointer=pointer(place), detail=message) for place, message in found]
    shapes = all(entry["type"] == "shape-mismatch" for entry in entries)
    first = f"at {errors[0].pointer}: {errors[0].detail}" if errors[0].pointer else errors[0].detail
    more = f" (and {len(entries) - 1} more)" if len(entries) > 1 else ""
    return Problem("shape-mismatch" if shapes else "invalid-request", first + more, errors)


def _place(entry: Any) -> tuple[str | int, ...]:
    """Where an error is. A scanned list has no location per entry, so its errors carry the rest of the path."""
    return (*entry["loc"], *entry.get("ctx", {}).get("place", ()))


def _message(entry: Any, model: type[BaseModel]) -> str:
    kind, found = entry["type"], entry["input"]
    name = quote(entry["loc"][-1]) if entry["loc"] else ""
    if kind == "missing":
        return f"the field {name} is required"
    if kind == "extra_forbidden":
        return f"unknown field {name}.{_hint(str(entry['loc'][-1]), list(_field_names(model, entry['loc'][:-1])))}"
    if kind == "finite_number":
        return "expected a finite number, found NaN or a number beyond 1.8e308"
    if kind == "int_from_float" or (kind == "int_type" and isinstance(found, float)):
        return f"expected an integer, found {found!r}"
    if kind in EXPECTED:
        return f"expected {EXPECTED[kind]}, found {found_text(found)}"
    if kind == "literal_error":
        return f"expected {entry['ctx']['expected'].replace(chr(39), chr(34))}"
    message = str(entry["msg"])
    return message if message[1:2].isupper() else message[0].lower() + message[1:]


def _hint(name: str, known: list[str]) -> str:
    """Which field was probably meant."""
    if OTHER_NAMES.get(name) in known:
        return f" It is called {OTHER_NAMES[name]!r} here."
    known = [field for field in known if field != name]
    return nearest(name, known) or (f" The fields are {', '.join(known)}." if known else "")


def _field_names(model: type[BaseModel], location: Sequence[str | int]) -> Iterator[str]:
    """The names of the fields at a location of a request."""
    models: list[type[BaseModel]] = [model]
    for step in location:
        if isinstance(step, str):
            annotations = [parent.model_fields[step].annotation for parent in models if step in parent.model_fields]
            models = [found for annotation in annotations for found in _models_in(annotation)]
    for found in dict.fromkeys(models):
        yield from (field.alias or name for name, field in found.model_fields.items())


def _models_in(annotation: Any) -> Iterable[type[BaseModel]]:
    """The models that an annotation names, at any depth."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)
