"""The OpenAPI document of an application in process: the same however it is asked for, in a form for generators."""

import asyncio
import json
import re
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from app.api import docs
from app.main import create_app
from app.settings import Settings
from tests.service.inprocess import running, send

SETTINGS = {
    "defaults": Settings(),
    "keys": Settings(api_keys=SecretStr("k")),
    "keys and root path": Settings(api_keys=SecretStr("k"), root_path="/autodiff"),
}

Document = dict[str, Any]


def served(app: FastAPI) -> Document:
    """The document as a client gets it."""
    response = send(app, "GET", "/openapi.json")
    assert response.status_code == 200
    document: Document = response.json()
    return document


WAYS: dict[str, Callable[[FastAPI], Document]] = {"openapi()": lambda app: app.openapi(), "served": served}

ORDERS = [("openapi()", "openapi()", "served", "served", "openapi()"), ("served", "served", "openapi()", "openapi()", "served")]


def places(value: Any, path: str = "") -> Iterator[tuple[str, Document]]:
    """Every object of a document with its path, but for examples, which are data."""
    if isinstance(value, dict):
        yield path, value
        for key, item in value.items():
            if key not in ("examples", "example", "default", "enum"):
                yield from places(item, f"{path}/{key}")
    elif isinstance(value, list):
        for k, item in enumerate(value):
            yield from places(item, f"{path}/{k}")


@pytest.fixture(scope="module")
def documents() -> dict[str, Document]:
    """The document with each of the settings."""
    return {name: create_app(settings).openapi() for name, settings in SETTINGS.items()}


@pytest.fixture(scope="module")
def document(documents: dict[str, Document]) -> Document:
    return documents["defaults"]


@pytest.mark.parametrize("order", ORDERS, ids=", ".join)
def test_document_is_the_same_in_any_order_of_calls(documents: dict[str, Document], order: tuple[str, ...]) -> None:
    """And from one application to the next."""
    app = create_app(SETTINGS["keys and root path"])
    for way in order:
        assert json.loads(json.dumps(WAYS[way](app))) == documents["keys and root path"], way


def test_other_requests_are_answered_while_the_document_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is made once, however many ask for it at once."""
    begun, may_end = threading.Event(), threading.Event()
    made = 0

    def make(**options: Any) -> Document:
        nonlocal made
        made += 1
        begun.set()
        assert may_end.wait(10)
        return {"paths": {}, "components": {"schemas": {}}}

    monkeypatch.setattr(docs, "get_openapi", make)

    async def ask() -> None:
        async with running(create_app(Settings())) as client:
            asked = [asyncio.create_task(client.get("/openapi.json")) for _ in range(3)]
            assert await asyncio.to_thread(begun.wait, 60)
            assert (await client.get("/livez")).status_code == 200
            assert not any(task.done() for task in asked)
            may_end.set()
            assert {(await task).status_code for task in asked} == {200} and made == 1

    asyncio.run(ask())


def test_keys_and_root_path_are_all_that_settings_change(documents: dict[str, Document]) -> None:
    def shared(other: Document) -> Document:
        paths = {
            path: {method: {k: v for k, v in operation.items() if k != "security"} for method, operation in item.items()}
            for path, item in other["paths"].items()
        }
        components = {name: value for name, value in other["components"].items() if name != "securitySchemes"}
        rest = {name: value for name, value in other.items() if name not in ("security", "servers")}
        return {**rest, "paths": paths, "components": components}

    for name, document in documents.items():
        assert shared(document) == shared(documents["defaults"]), name


def test_root_path_is_the_server(documents: dict[str, Document], document: Document) -> None:
    assert "servers" not in document and documents["keys and root path"]["servers"] == [{"url": "/autodiff"}]


def test_key_is_required_where_there_are_keys(documents: dict[str, Document]) -> None:
    document, with_keys = documents["defaults"], documents["keys"]
    assert "security" not in document and "securitySchemes" not in document["components"], "Swagger UI has no lock to show"
    assert with_keys["security"] == [{"ApiKey": []}]
    for path, item in with_keys["paths"].items():
        for operation in item.values():
            assert ("security" in operation) == (not path.startswith(("/v1", "/umbridge", "/tesseract"))), path
            assert operation.get("security", []) == [], path


def test_every_reference_resolves(document: Document) -> None:
    references = {value["$ref"] for _, value in places(document) if "$ref" in value}
    assert len(references) > 20
    for reference in references:
        place: Any = document
        for step in reference.removeprefix("#/").split("/"):
            place = place[step]
        assert isinstance(place, dict), reference


def test_no_any_of(document: Document) -> None:
    """A generator for TypeScript loses the string of `anyOf` string and object; null as a choice is sent explicitly."""
    assert [path for path, value in places(document) if "anyOf" in value] == []


def test_no_prefix_items(document: Document) -> None:
    assert [path for path, value in places(document) if "prefixItems" in value] == []


def schemas_of_type(document: Document, kind: str) -> list[tuple[str, Document]]:
    """The schemas that allow a JSON type."""
    found = []
    for path, value in places(document):
        types = value.get("type")
        if types == kind or (isinstance(types, list) and kind in types):
            found.append((path, value))
    return found


@pytest.mark.parametrize(("kind", "form"), [("number", "double"), ("integer", "int64")])
def test_numbers_have_a_format(document: Document, kind: str, form: str) -> None:
    found = schemas_of_type(document, kind)
    assert len(found) > 10
    assert [path for path, schema in found if schema.get("format") != form] == []


def test_limits_are_those_of_json_schema(document: Document) -> None:
    """Not pydantic's own, which come out where a limit is set on a type that has a validator."""
    assert [path for path, value in places(document) if {"ge", "gt", "le", "lt"} & set(value)] == []
    fields = document["components"]["schemas"]["TrainRequest"]["properties"]
    assert (fields["seed"]["minimum"], fields["seed"]["maximum"]) == (0, 2**32 - 1)


def test_nothing_but_numbers_has_their_formats(document: Document) -> None:
    for form, kind in (("double", "number"), ("int64", "integer")):
        for path, value in places(document):
            if value.get("format") == form:
                assert kind in value["type"], path


def test_enumerations_have_a_type(document: Document) -> None:
    found = [(path, value) for path, value in places(document) if isinstance(value.get("enum"), list)]
    assert found
    assert [path for path, value in found if "type" not in value] == []


def test_choices_of_an_object_are_named(document: Document) -> None:
    """Beside an object, a choice without a name is lost by some generators; numbers, lists and null need none."""
    for path, value in places(document):
        choices = value.get("oneOf", [])
        if any("$ref" in choice for choice in choices):
            assert [c for c in choices if "$ref" not in c and c.get("type") not in ("null", "number", "array")] == [], path


def test_event_streams_are_strings(document: Document) -> None:
    found = [value["text/event-stream"] for _, value in places(document) if "text/event-stream" in value]
    assert found == [{"schema": {"type": "string"}}] * 3
    success = document["paths"]["/v1/networks/train/stream"]["post"]["responses"]["200"]
    assert list(success["content"]) == ["text/event-stream"]


def test_optional_fields_of_requests_allow_null(document: Document) -> None:
    """As the service does: null counts as absent."""
    schemas = document["components"]["schemas"]
    for name in ("BackwardRequest", "TrainRequest", "NetworkData", "ExpressionNode", "NetworkSpec"):
        for field, schema in schemas[name]["properties"].items():
            choices = schema.get("oneOf", [schema])
            nullable = any("null" in choice.get("type", ()) for choice in choices)
            assert nullable == (field not in schemas[name].get("required", [])), (name, field)


def test_fields_have_their_defaults_in_words(document: Document) -> None:
    """Generators make fields with a default required, or send them always."""
    schemas = document["components"]["schemas"]
    for name, schema in schemas.items():
        assert [field for field, described in schema.get("properties", {}).items() if "default" in described] == [], name
    fields = schemas["TrainRequest"]["properties"]
    assert fields["steps"]["description"] == "How many steps to do. Default: `100`."
    assert schemas["NetworkSpec"]["properties"]["init"]["description"].endswith('distributions. Default: `"uniform"`.')
    assert "Default" not in json.dumps(schemas["BackwardResponse"])


ENUMERATIONS = {
    "Activation": ("relu", ["linear", "tanh", "relu"], ["Tanh", "softmax", "atan2", ""]),
    "LossName": ("mse", ["mse", "max_margin", "cross_entropy"], ["MSE", "hinge", ""]),
    "OptimizerName": ("adam", ["sgd", "adam", "adamw", "rmsprop"], ["Adam", "lbfgs", ""]),
    "DatasetName": ("moons", ["moons", "iris", "xor"], ["Moons", "mnist", ""]),
    "ArrayFormat": ("list", ["list", "base64"], ["json", ""]),
    "Reduce": ("sum", ["none", "sum", "mean"], ["max", ""]),
}


@pytest.mark.parametrize("name", ENUMERATIONS)
def test_names_are_enumerated_in_one_component(document: Document, name: str) -> None:
    usual, inside, outside = ENUMERATIONS[name]
    schema = document["components"]["schemas"][name]
    assert schema["type"] == "string" and set(inside) <= set(schema["enum"]) and not set(outside) & set(schema["enum"])
    others = [path for path, found in places(document) if usual in found.get("enum", ()) and not path.endswith(f"/{name}")]
    assert [path for path in others if document_enum(document, path) == schema["enum"]] == []


def document_enum(document: Document, path: str) -> list[Any]:
    """The names that a schema allows, without null."""
    found = dict(places(document))[path]["enum"]
    return [choice for choice in found if choice is not None]


def test_choices_that_are_not_all_components_have_a_name(document: Document) -> None:
    """Generators make a type for each field whose choices are written out, and one for all that refer to a component."""
    written_out = [path for path, found in places(document) if any("$ref" not in choice for choice in without_null(found)[1:])]
    assert "/components/schemas/Numbers" in written_out
    unnamed = [path for path in written_out if not re.fullmatch(r"/components/schemas/\w+", path)]
    assert unnamed == ["/components/schemas/TesseractFault/properties/loc/items"]  # which is FastAPI's form


def without_null(schema: Document) -> list[Any]:
    return [choice for choice in schema.get("oneOf", ()) if choice != {"type": "null"}]


def test_choices_keep_their_own_descriptions(document: Document) -> None:
    described = {name: document["components"]["schemas"][f"Expression{name}"]["description"] for name in ("Text", "MathJSON")}
    assert "Python's arithmetic syntax" in described["Text"] and "MathLive" in described["MathJSON"]


def test_document_speaks_of_no_python(document: Document) -> None:
    text = json.dumps({name: schema for name, schema in document["components"]["schemas"].items()})
    assert not re.search(r"numpy[.]|NDArray|ndarray|Annotated|pydantic", text)


# --- the pages


def test_docs_page_loads_nothing_from_elsewhere() -> None:
    response = send(create_app(Settings()), "GET", "/docs")
    assert response.status_code == 200 and response.headers["content-type"] == "text/html; charset=utf-8"
    assert not re.search(r"https?:|//", response.text.replace("<!doctype html>", ""))


@pytest.mark.parametrize("name", ["start.js", *docs.MEDIA_TYPES])
def test_assets_of_the_docs_page_are_served(name: str) -> None:
    response = send(create_app(Settings()), "GET", f"/docs/{name}")
    assert response.status_code == 200 and len(response.content) > 100
    expected = docs.MEDIA_TYPES.get(name, "text/javascript")
    assert response.headers["content-type"].partition(";")[0] == expected


@pytest.mark.parametrize("name", ["other.js", "redoc.standalone.js", "%2e%2e%2f__init__.py"])
def test_no_other_file_is_served(name: str) -> None:
    response = send(create_app(Settings()), "GET", f"/docs/{name}")
    assert response.status_code == 404 and response.json()["type"] == "/problems/not-found"


def test_docs_page_under_a_root_path_refers_to_it() -> None:
    page = send(create_app(SETTINGS["keys and root path"]), "GET", "/docs").text
    assert 'src="/autodiff/docs/start.js"' in page and 'data-document="/autodiff/openapi.json"' in page
