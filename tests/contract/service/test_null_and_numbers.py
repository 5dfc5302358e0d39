"""Rules for every field of every request: null is absent, 5.0 is an integer, true and "3" are not numbers.

The cases are the requests in openapi/examples, walked along the schemas in openapi/openapi.json.
"""

import json
import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, NamedTuple

import httpx
import jsonschema_rs
import pytest

from tests.conftest import ROOT, examples
from tests.contract.conftest import Post
from tests.contract.events import read_events
from tests.contract.schemas import dereference, validator
from tests.contract.wire import Path, at, problem, put
from tests.rows import for_each

DOCUMENT: dict[str, Any] = json.loads((ROOT / "openapi" / "openapi.json").read_text("utf-8"))
POSTS = {
    item["post"]["operationId"]: path
    for path, item in DOCUMENT["paths"].items()
    if path.startswith("/v1/") and "post" in item and "application/json" in item["post"]["requestBody"]["content"]
}


class Case(NamedTuple):
    """An example's request and a place in it."""

    example: str
    path: str
    request: dict[str, Any]
    place: Path
    schema: dict[str, Any]

    def __repr__(self) -> str:
        return f"{self.example} /{'/'.join(map(str, self.place))}"

    @property
    def pointer(self) -> str:
        """The place as a JSON Pointer. No name in the examples needs escaping."""
        return "".join(f"/{step}" for step in self.place)


def types(schema: dict[str, Any]) -> set[str]:
    """Return the JSON types that a schema admits by name."""
    schema = dereference(DOCUMENT, schema)
    named = schema.get("type", [])
    found = {named} if isinstance(named, str) else set(named)
    return found.union(*(types(branch) for key in ("anyOf", "oneOf") for branch in schema.get(key, [])))


@cache
def validator_of(schema: str) -> jsonschema_rs.Draft202012Validator:
    """The validator of a schema given as JSON."""
    return validator(DOCUMENT, json.loads(schema))


def branch(schema: dict[str, Any], value: Any) -> dict[str, Any]:
    """Return the schema of a value without references and alternatives: of those, the first that the value matches."""
    schema = dereference(DOCUMENT, schema)
    for key in ("anyOf", "oneOf"):
        for alternative in schema.get(key, []):
            if validator_of(json.dumps(alternative)).is_valid(value):
                return branch(alternative, value)
    return schema


def walk(schema: dict[str, Any], value: Any, place: Path = ()) -> Iterator[tuple[Path, dict[str, Any], Any]]:
    """Yield (place, schema, value) for a value and everything in it. Of the items of a list only the first is entered."""
    yield place, schema, value
    inner = branch(schema, value)
    if isinstance(value, dict):
        for name, item in value.items():
            of_item = inner.get("properties", {}).get(name) or inner.get("additionalProperties")
            if isinstance(of_item, dict):
                yield from walk(of_item, item, (*place, name))
    elif isinstance(value, list) and value:
        of_item = inner["prefixItems"][0] if "prefixItems" in inner else inner.get("items")
        if isinstance(of_item, dict):
            yield from walk(of_item, value[0], (*place, 0))


def walked() -> Iterator[Case]:
    """Yield every place of every example's request."""
    for example in examples():
        if example.operation in POSTS and "request" in example.content:
            path, request = POSTS[example.operation], example.content["request"]
            schema = DOCUMENT["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
            for place, of_place, _ in walk(schema, request):
                yield Case(f"{example.operation}.{example.name}", path, request, place, of_place)


def absent_fields() -> Iterator[Case]:
    """Yield every optional field that an example leaves out."""
    for case in walked():
        value = at(case.request, case.place)
        if isinstance(value, dict):
            schema = branch(case.schema, value)
            for name, of_field in schema.get("properties", {}).items():
                if name not in value and name not in schema.get("required", []):
                    yield case._replace(place=(*case.place, name), schema=of_field)


def default_of(schema: dict[str, Any]) -> Any:
    """Return the default that the description of a field states, None if it has none."""
    stated = re.search(r"Default: `(.*)`\.$", schema.get("description", ""))
    return None if stated is None else json.loads(stated[1])


def numbers() -> Iterator[Case]:
    """Yield every number of the examples, and every absent number of a request with its default, or 1, put in."""
    for case in walked():
        if types(case.schema) & {"number", "integer"} and type(at(case.request, case.place)) in (int, float):
            yield case
    for case in absent_fields():
        if types(case.schema) & {"number", "integer"} and len(case.place) == 1:
            default = default_of(case.schema)
            if default is not None or "integer" in types(case.schema):
                yield case._replace(request=put(case.request, case.place, 1 if default is None else default))


def integers() -> list[Case]:
    """Return every number that must be an integer."""
    return [case for case in numbers() if "number" not in types(case.schema)]


def send(post: Post, case: Case, request: dict[str, Any]) -> httpx.Response:
    """Post a request to the operation of a case."""
    return post(case.path.removeprefix("/v1/"), content=json.dumps(request).encode())


def result(response: httpx.Response) -> Any:
    """Return what two equal requests have in common: the bytes of a success, or the last event of a stream."""
    assert response.status_code == 200, response.text
    if response.headers["content-type"].startswith("text/event-stream"):
        return read_events(response.text)[-1]
    return response.content


@pytest.fixture(scope="module")
def unchanged(post: Post) -> Callable[[Case], Any]:
    """The result of a case's request as it is, which many cases share; it is asked for once."""
    found: dict[str, Any] = {}

    def of(case: Case) -> Any:
        key = f"{case.path} {json.dumps(case.request)}"
        if key not in found:
            found[key] = result(send(post, case, case.request))
        return found[key]

    return of


@for_each("case", absent_fields())
def test_null_is_absent(post: Post, unchanged: Callable[[Case], Any], case: Case) -> None:
    with_null = put(case.request, case.place, None)
    assert result(send(post, case, with_null)) == unchanged(case)


@for_each("case", integers())
def test_integer_may_be_written_with_a_fraction_of_zero(post: Post, unchanged: Callable[[Case], Any], case: Case) -> None:
    with_fraction = put(case.request, case.place, float(at(case.request, case.place)))
    assert result(send(post, case, with_fraction)) == unchanged(case)


@for_each("case", integers())
def test_integer_with_another_fraction_is_refused(post: Post, case: Case) -> None:
    with_fraction = put(case.request, case.place, at(case.request, case.place) + 0.5)
    problem(send(post, case, with_fraction), "invalid-request", 422, case.pointer)


@for_each("case", numbers())
def test_boolean_is_not_a_number(post: Post, case: Case) -> None:
    problem(send(post, case, put(case.request, case.place, True)), "invalid-request", 422, case.pointer)


@for_each("case", [case for case in numbers() if "string" not in types(case.schema)])
def test_string_is_not_a_number(post: Post, case: Case) -> None:
    problem(send(post, case, put(case.request, case.place, "3")), "invalid-request", 422, case.pointer)


def test_examples_lead_to_every_field() -> None:
    """The rules are worth little for fields that no example leads to."""
    fields = {(case.path, case.place[0]) for case in (*walked(), *absent_fields()) if case.place}
    for path in POSTS.values():
        request = DOCUMENT["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
        assert {(path, name) for name in dereference(DOCUMENT, request)["properties"]} <= fields
