"""The OpenAPI document is valid, complete, and equal to openapi/openapi.json."""

import json
import os
import re
from typing import Any

import jsonschema_rs
import pytest
from openapi_spec_validator import validate

from tests.conftest import ROOT, Example, examples
from tests.contract.conftest import Post
from tests.contract.expressions.faults import FAULTS, Fault
from tests.contract.schemas import validator
from tests.contract.wire import EVALUATED, POSTS, json_of, smallest
from tests.rows import for_each

SNAPSHOT = ROOT / "openapi" / "openapi.json"
UPDATE = "AUTODIFF_UPDATE=1 python -m pytest tests/contract/service/test_openapi.py -k recorded_one"


def operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    """Return (path, method, operation) for every operation of the document."""
    return [(path, method, operation) for path, item in document["paths"].items() for method, operation in item.items()]


EXAMPLES = [example for example in examples() if "answer" in example.content]


def request_schema(document: dict[str, Any], path: str) -> dict[str, Any]:
    """Return the schema of a POST operation's request."""
    schema: dict[str, Any] = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    return schema


def test_document_is_the_recorded_one(document: dict[str, Any]) -> None:
    if os.environ.get("AUTODIFF_UPDATE"):
        SNAPSHOT.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", "utf-8")
    assert json.loads(SNAPSHOT.read_text("utf-8")) == document, f"to accept the change, run: {UPDATE}"


def test_document_is_valid_openapi_3_1(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1.")
    validate(document)


def test_every_reference_resolves_and_every_schema_is_used_and_described(document: dict[str, Any]) -> None:
    text = json.dumps(document)
    used = set(re.findall(r'"#/components/schemas/([^"]+)"', text))
    assert used == set(document["components"]["schemas"])
    assert set(re.findall(r'"\$ref": "([^"]+)"', text)) == {f"#/components/schemas/{name}" for name in used}
    for name, schema in document["components"]["schemas"].items():
        jsonschema_rs.meta.validate(schema)
        assert schema.get("description"), name


def test_every_operation_has_id_summary_description_and_examples(document: dict[str, Any]) -> None:
    ids = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(set(ids)) == len(ids) and all(re.fullmatch(r"[a-zA-Z][a-zA-Z0-9_]*", name) for name in ids)
    for path, method, operation in operations(document):
        assert operation["summary"] and operation["description"], path
        assert operation["tags"] and operation["responses"]["200"], path
        assert len(operation["summary"]) < 70 and not operation["summary"].endswith("."), path
        for parameter in re.findall(r"{(\w+)}", path):
            assert parameter in [row["name"] for row in operation["parameters"]], path
        if method == "post":
            assert operation["requestBody"]["required"] is True, path
            content = operation["requestBody"]["content"]
            assert "application/json" not in content or content["application/json"]["examples"], path
            success = operation["responses"]["200"]["content"]
            assert "application/json" not in success or success["application/json"]["examples"], path


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/v1/info", "/v1/primitives", "/problems/{name}"])
def test_document_lists_every_get(document: dict[str, Any], path: str) -> None:
    assert "get" in document["paths"][path]


NETWORKS = (
    "",
    "/predict",
    "/backward",
    "/train",
    "/train/stream",
    "/graph",
    "/decision-boundary",
    "/history",
    "/export",
    "/import",
)


@for_each("path", [*(f"/v1/{name}" for name in POSTS), *(f"/v1/networks{name}" for name in NETWORKS)])
def test_document_lists_every_post(document: dict[str, Any], path: str) -> None:
    assert "post" in document["paths"][path]


def test_every_status_is_documented(document: dict[str, Any]) -> None:
    for path, method, operation in operations(document):
        if operation["tags"] == ["Bridges"]:  # whose errors have the forms of their protocols
            assert {"200", "401"} <= set(operation["responses"]), path
            continue
        needed = {"200", "400", "406", "415", "422", "500"} if method == "post" else {"200", "406", "500"}
        assert needed <= set(operation["responses"]), path
        for status, response in operation["responses"].items():
            assert response["description"], (path, status)
            if int(status) >= 400:
                assert list(response["content"]) == ["application/problem+json"], (path, status)
    assert "503" in document["paths"]["/readyz"]["get"]["responses"]
    assert "404" in document["paths"]["/problems/{name}"]["get"]["responses"]
    assert "text/vnd.graphviz" in document["paths"]["/v1/graph"]["post"]["responses"]["200"]["content"]


def test_responses_name_their_problems(document: dict[str, Any]) -> None:
    described = document["paths"]["/v1/backward"]["post"]["responses"]
    named = {int(status): set(re.findall(r"/problems/([a-z-]+)", row["description"])) for status, row in described.items()}
    assert {fault.problem for fault in FAULTS} <= named[422]
    assert "invalid-json" in named[400] and "not-acceptable" in named[406] and "unsupported-media-type" in named[415]


@for_each("example", EXAMPLES)
def test_recorded_example_matches_the_schemas(
    document: dict[str, Any], routes: dict[str, tuple[str, str]], example: Example
) -> None:
    method, path = routes[example.operation]
    operation = document["paths"][path][method.lower()]
    success = operation["responses"]["200"]["content"]["application/json"]["schema"]
    validator(document, success).validate(example.content["answer"])
    if "request" in example.content and method == "POST":
        validator(document, request_schema(document, path)).validate(example.content["request"])


def test_examples_of_the_document_are_the_files(document: dict[str, Any]) -> None:
    for path, method, operation in operations(document):
        files = {example.name: example.content for example in examples() if example.operation == operation["operationId"]}
        success = operation["responses"]["200"]["content"].get("application/json", {}).get("examples", {})
        answers = {name: content["answer"] for name, content in files.items() if "answer" in content}
        assert {name: row["value"] for name, row in success.items()} == answers, path
        if method == "post":
            shown = operation["requestBody"]["content"].get("application/json", {}).get("examples", {})
            requests = {name: content["request"] for name, content in files.items() if "request" in content}
            assert {name: row["value"] for name, row in shown.items()} == requests, path
            assert all(row["summary"] for row in shown.values()), path


@for_each(
    "fields",
    [
        {"expression": "log(x) + y", "inputs": {"x": -1, "y": 2}, "nonfinite": "null"},
        {"expression": "log(x) + y", "inputs": {"x": [-1, 0, 1], "y": 2}, "nonfinite": "null"},  # nulls
        {"expression": "a = x*x; a + y", "inputs": {"x": [1, 2], "y": 2}},  # points
    ],
)
@for_each("operation", EVALUATED)
def test_valid_request_matches_the_schema(document: dict[str, Any], post: Post, operation: str, fields: dict[str, Any]) -> None:
    """The client checks the response."""
    request = smallest(operation, **fields)
    validator(document, request_schema(document, f"/v1/{operation}")).validate(request)
    json_of(post(operation, **request))


BEYOND_SCHEMAS = re.compile(r"/(id|output|outputs|nodes)$|^/inputs/y$|^/expression/nodes/1/data$")
"""Places of invalid requests whose fault no schema states: the length of an id in bytes of a text, one of two fields, and
what concerns the graph as a whole."""


@for_each("fault", [fault for fault in FAULTS if not BEYOND_SCHEMAS.search(fault.pointer)])
def test_schema_refuses_what_the_service_calls_an_invalid_request(document: dict[str, Any], fault: Fault) -> None:
    """The schema is as strict as the service. Faults with another problem, such as a cycle, match it."""
    matches = validator(document, request_schema(document, f"/v1/{fault.operation}")).is_valid(fault.request)
    assert matches == (fault.problem != "invalid-request")
