"""pydantic's validation errors as problems: each with a JSON pointer and a message that says what to write instead."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from app.engine.errors import nearest, quote
from app.service.models import RequestModel, found_text
from app.service.problems import MAX_ERRORS, FieldError, Problem, pointer

EXPECTED = {
    "float_type": "a number",
    "int_type": "an integer",
    "string_type": "a string",
    "bool_type": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
}
"""What pydantic's error types ask for, in the words of JSON."""


def invalid_request(error: ValidationError, model: type[BaseModel]) -> Problem:
    """The problem for a request that does not fit its model."""
    entries = sorted(error.errors(include_url=False), key=lambda entry: not _is_renamed(entry, model))
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
        return f"unknown field {name}.{_hint(str(entry['loc'][-1]), _models_at(model, entry['loc'][:-1]))}"
    if kind == "finite_number":
        return "expected a finite number, found NaN or a number beyond 1.8e308"
    if kind == "int_from_float" or (kind == "int_type" and isinstance(found, float)):
        return f"expected an integer, found {found!r}"
    if kind in EXPECTED:
        return f"expected {EXPECTED[kind]}, found {found_text(found)}{_as_written(entry, model)}"
    if kind == "literal_error":
        expected = entry["ctx"]["expected"].replace(chr(39), chr(34))
        same = json.dumps(found.lower().replace("_", "-")) if isinstance(found, str) else "no text"
        return f"expected {expected}{f'; write {same}' if same in expected else ''}"
    message = str(entry["msg"]).replace(" after validation", "")
    return message if message[1:2].isupper() else message[0].lower() + message[1:]


def _as_written(entry: Any, model: type[BaseModel]) -> str:
    """How to write a value that has the wrong type, as the end of a message, or an empty string."""
    if not entry["loc"] or not isinstance(entry["loc"][-1], str):
        return ""
    kind, name, is_text = entry["type"], entry["loc"][-1], isinstance(entry["input"], str)
    found = [parent.model_fields.get(name) for parent in _models_at(model, entry["loc"][:-1])]
    fields = [field for field in found if field is not None]
    if is_text and kind in ("float_type", "int_type"):
        return "; a number stands without quotes: 3"
    if is_text and kind == "list_type" and any(map(_takes_texts, fields)):
        return '; a list stands in brackets, also if it has one entry: ["x"]'
    examples = [example for field in fields for example in field.examples or () if isinstance(example, dict)]
    return f"; write {_fragment(name, examples[0])}" if examples else ""


def _takes_texts(field: FieldInfo) -> bool:
    """Whether a field takes a list of texts."""
    parts = [field.annotation]
    for part in parts:
        if get_origin(part) is list and get_args(part) == (str,):
            return True
        parts += get_args(part)
    return False


def _is_renamed(entry: Any, model: type[BaseModel]) -> bool:
    """Whether an unknown field is one that has another name or place here, which also explains what is missing."""
    if entry["type"] != "extra_forbidden" or not isinstance(entry["loc"][-1], str):
        return False
    models = _models_at(model, entry["loc"][:-1])
    return any(entry["loc"][-1] in names for names in map(_other_names, models))


def _other_names(model: type[BaseModel]) -> Mapping[str, str]:
    return model.OTHER_NAMES if issubclass(model, RequestModel) else {}


def _hint(name: str, models: Sequence[type[BaseModel]]) -> str:
    """Which field was probably meant, and where it belongs."""
    known = list(dict.fromkeys(field for field in _names_of(models) if field != name))
    other = next((names[name] for names in map(_other_names, models) if name in names), name)
    if " " in other:
        return f" {other}"
    if other in known:
        return f" It is called {other!r} here."
    near = nearest(name, known)
    if near:
        return near
    for parent, field, inner in _inner_fields(models):
        if field == other:
            shown = _fragment(parent, {field: inner.examples[0]}) if inner.examples else ""
            return f" {other!r} belongs in {parent!r}{f': {shown}' if shown else ''}."
    return f" The fields are {', '.join(known)}." if known else ""


def _fragment(name: str, value: Any) -> str:
    """A field with its value, as JSON has it."""
    return f"{json.dumps(name)}: {json.dumps(value)}"


def _names_of(models: Iterable[type[BaseModel]]) -> list[str]:
    return [field.alias or name for found in models for name, field in found.model_fields.items()]


def _inner_fields(models: Iterable[type[BaseModel]]) -> Iterator[tuple[str, str, FieldInfo]]:
    """The fields of the objects in these models: the name of the object, of its field, and the field."""
    for model in models:
        for parent, field in model.model_fields.items():
            for inner in dict.fromkeys(_models_in(field.annotation)):
                yield from ((parent, name, found) for name, found in inner.model_fields.items())


def _models_at(model: type[BaseModel], location: Sequence[str | int]) -> list[type[BaseModel]]:
    """The models of which the object at a location of a request may be one."""
    models: list[type[BaseModel]] = [model]
    of_names = False
    for step in location:
        if of_names:  # the name of an entry, which is no field
            of_names = False
        elif isinstance(step, str):
            annotations = [parent.model_fields[step].annotation for parent in models if step in parent.model_fields]
            models = [found for annotation in annotations for found in _models_in(annotation)]
            of_names = any(get_origin(annotation) is dict for annotation in annotations)
    return list(dict.fromkeys(models))


def _models_in(annotation: Any) -> Iterable[type[BaseModel]]:
    """The models that an annotation names, at any depth."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)
