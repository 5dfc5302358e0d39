"""The OpenAPI document: valid, as recorded in openapi/openapi.json, and true of what is on the wire."""

import json
import os
import re
from typing import Any

import httpx
import jsonschema
import pytest
from openapi_spec_validator import validate

from tests.conftest import ROOT, examples
from tests.contract.conftest import Post
from tests.contract.test_problems import CASES
from tests.contract.wire import GETS, POSTS, problem, smallest, strict

EXPRESSIONS = [case for case in examples() if case[0] in POSTS]
SNAPSHOT = ROOT / "openapi" / "openapi.json"
UNEXAMPLED = ("/v1/networks",)
"""Paths, or beginnings of paths, whose examples are still to be written."""

UPDATE = "AUTODIFF_UPDATE=1 python -m pytest tests/contract/test_openapi.py -k recorded"


def operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [(path, method, operation) for path, item in document["paths"].items() for method, operation in item.items()]


def check(document: dict[str, Any], schema: dict[str, Any], instance: Any) -> None:
    """Raises unless the instance fits a schema of the document."""
    schema = {**schema, "$schema": "https://json-schema.org/draft/2020-12/schema", "components": document["components"]}
    jsonschema.Draft202012Validator(schema).validate(instance)


def schema_of(
    document: dict[str, Any], operation: str, status: int | None = None, media: str = "application/json"
) -> dict[str, Any]:
    """The schema of an operation's request, or of its answer with a status."""
    described = document["paths"][f"/v1/{operation}"]["post"]
    found: dict[str, Any] = (described["requestBody"] if status is None else described["responses"][str(status)])["content"][
        media
    ]["schema"]
    return found


def test_the_document_is_the_recorded_one(document: dict[str, Any]) -> None:
    if os.environ.get("AUTODIFF_UPDATE"):
        SNAPSHOT.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", "utf-8")
    assert SNAPSHOT.exists() and json.loads(SNAPSHOT.read_text("utf-8")) == document, f"if the change is meant: {UPDATE}"


def test_the_document_is_valid_openapi_3_1(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1.")
    validate(document)


def test_every_reference_leads_somewhere_and_every_schema_is_used(document: dict[str, Any]) -> None:
    text = json.dumps(document)
    used = set(re.findall(r'"#/components/schemas/([^"]+)"', text))
    assert used == set(document["components"]["schemas"])
    assert set(re.findall(r'"\$ref": "([^"]+)"', text)) == {f"#/components/schemas/{name}" for name in used}
    for name, schema in document["components"]["schemas"].items():
        jsonschema.Draft202012Validator.check_schema(schema)
        assert schema.get("description"), name


def test_every_operation_is_described(document: dict[str, Any]) -> None:
    ids = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(set(ids)) == len(ids) and all(re.fullmatch(r"[a-zA-Z][a-zA-Z0-9_]*", name) for name in ids)
    for path, method, operation in operations(document):
        assert operation["summary"] and operation["description"], path
        assert operation["tags"] and operation["responses"]["200"], path
        assert len(operation["summary"]) < 70 and not operation["summary"].endswith("."), path
        for parameter in re.findall(r"{(\w+)}", path):
            assert parameter in [row["name"] for row in operation["parameters"]]
        if method == "post" and not path.startswith(UNEXAMPLED):
            assert operation["requestBody"]["required"] is True
            assert operation["requestBody"]["content"]["application/json"]["examples"], path
            assert operation["responses"]["200"]["content"]["application/json"]["examples"], path


def test_every_path_of_the_contract_is_there(document: dict[str, Any]) -> None:
    assert {f"/v1/{operation}" for operation in POSTS} <= {path for path, method, _ in operations(document) if method == "post"}
    assert {"/livez", "/readyz", "/v1/info", "/v1/primitives", "/problems/{name}"} <= set(document["paths"])


def test_every_status_of_the_contract_is_there(document: dict[str, Any]) -> None:
    for path, method, operation in operations(document):
        wanted = {"200", "400", "406", "415", "422", "500"} if method == "post" else {"200", "406", "500"}
        assert wanted <= set(operation["responses"]), path
        for status, answer in operation["responses"].items():
            assert answer["description"]
            if int(status) >= 400:
                assert list(answer["content"]) == ["application/problem+json"], (path, status)
    assert "503" in document["paths"]["/readyz"]["get"]["responses"]
    assert "404" in document["paths"]["/problems/{name}"]["get"]["responses"]
    assert "text/vnd.graphviz" in document["paths"]["/v1/graph"]["post"]["responses"]["200"]["content"]


def test_every_problem_is_named_where_it_may_come(document: dict[str, Any]) -> None:
    described = document["paths"]["/v1/backward"]["post"]["responses"]
    named = {
        int(status): set(re.findall(r"/problems/([a-z-]+)", answer["description"])) for status, answer in described.items()
    }
    assert {name for _, _, name, _, _ in CASES} <= named[422]
    assert "invalid-json" in named[400] and "not-acceptable" in named[406] and "unsupported-media-type" in named[415]


@pytest.mark.parametrize("operation", POSTS)
def test_the_documents_examples_fit_its_schemas(document: dict[str, Any], operation: str) -> None:
    described = document["paths"][f"/v1/{operation}"]["post"]
    for content in (described["requestBody"]["content"], described["responses"]["200"]["content"]):
        for example in content["application/json"]["examples"].values():
            assert example["summary"]
            check(document, content["application/json"]["schema"], example["value"])


@pytest.mark.parametrize("operation", POSTS)
def test_the_documents_examples_are_those_of_the_files(document: dict[str, Any], operation: str) -> None:
    described = document["paths"][f"/v1/{operation}"]["post"]
    files = {name: example for of, name, example in examples() if of == operation}
    shown = described["requestBody"]["content"]["application/json"]["examples"]
    results = described["responses"]["200"]["content"]["application/json"]["examples"]
    assert {name: row["value"] for name, row in shown.items()} == {name: example["request"] for name, example in files.items()}
    assert {name: row["value"] for name, row in results.items()} == {name: example["answer"] for name, example in files.items()}


@pytest.mark.parametrize(
    ("operation", "name", "example"), EXPRESSIONS, ids=[f"{operation}.{name}" for operation, name, _ in EXPRESSIONS]
)
def test_real_answers_fit_the_schemas(
    document: dict[str, Any], post: Post, operation: str, name: str, example: dict[str, Any]
) -> None:
    check(document, schema_of(document, operation), example["request"])
    answer = strict(post(operation, **example["request"]).content)
    check(document, schema_of(document, operation, 200), answer)
    known = document["components"]["schemas"][schema_of(document, operation, 200)["$ref"].rpartition("/")[2]]["properties"]
    assert set(answer) <= set(known), "an answer has no fields but those described"


@pytest.mark.parametrize("operation", POSTS)
def test_more_real_answers_fit_the_schemas(document: dict[str, Any], post: Post, operation: str) -> None:
    """With nulls, at many points, and with all that may be asked for."""
    for fields in (
        {"expression": "log(x) + y", "inputs": {"x": -1, "y": 2}, "nonfinite": "null"},
        {"expression": "log(x) + y", "inputs": {"x": [-1, 0, 1], "y": 2}, "nonfinite": "null"},
        {"expression": "a = x*x; a + y", "inputs": {"x": [1, 2], "y": 2}},
    ):
        request = smallest(operation, **fields)
        check(document, schema_of(document, operation), request)
        response = post(operation, **request)
        assert response.status_code == 200, response.text
        check(document, schema_of(document, operation, 200), strict(response.content))


@pytest.mark.parametrize("path", [path for path in GETS if path not in ("/docs", "/openapi.json", "/problems/invalid-json")])
def test_what_the_service_says_of_itself_fits_the_schemas(document: dict[str, Any], client: httpx.Client, path: str) -> None:
    content = document["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]
    check(document, content["schema"], strict(client.get(path).content))


def test_errors_fit_the_schema_and_are_of_a_documented_status(document: dict[str, Any], post: Post) -> None:
    for operation, fields, _, _, _ in CASES:
        response = post(operation, **smallest(operation, **fields))
        if response.status_code == 200:
            continue  # test_problems says so
        body = problem(response)
        check(document, schema_of(document, operation, body["status"], "application/problem+json"), body)
    for headers, content in (({}, b"{"), ({"Accept": "text/html"}, b"{}"), ({"Content-Type": "text/plain"}, b"{}")):
        body = problem(post("forward", content=content, headers=headers))
        check(document, schema_of(document, "forward", body["status"], "application/problem+json"), body)


def test_what_the_schema_refuses_the_service_refuses(document: dict[str, Any], post: Post) -> None:
    """The schemas are as strict as the service: of all faulty shapes, none fits. What only the graph can tell, fits."""
    for operation, fields, name, pointer, _ in CASES:
        if pointer.endswith(("/id", "/output", "/outputs", "/nodes")) or pointer in ("/inputs/y", "/expression/nodes/1/data"):
            continue  # lengths of ids, one of two fields, and what only a graph as a whole can tell
        validator = jsonschema.Draft202012Validator(
            {
                **schema_of(document, operation),
                "components": document["components"],
                "$schema": jsonschema.Draft202012Validator.META_SCHEMA["$id"],
            }
        )
        assert validator.is_valid(smallest(operation, **fields)) == (name != "invalid-request"), (operation, fields)
