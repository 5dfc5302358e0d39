"""The schemas of tools: what they allow, and that the recorded requests and responses of the endpoints match them."""

import re
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest

from app.api.bridges.mcp_tools import TOOLS, Tool, input_schema, output_schema
from tests.conftest import Example, examples
from tests.rows import for_each

OPERATIONS = {tool.path.rpartition("/")[2]: tool for tool in TOOLS.values()}
EXAMPLES = [example for example in examples() if example.operation in OPERATIONS]
each_tool = pytest.mark.parametrize("tool", TOOLS.values(), ids=list(TOOLS))


def schemas_in(schema: Any) -> Iterator[dict[str, Any]]:
    """Every object in a schema that is a schema, or holds some."""
    if isinstance(schema, list):
        for item in schema:
            yield from schemas_in(item)
    elif isinstance(schema, dict):
        yield schema
        for value in schema.values():
            yield from schemas_in(value)


@for_each("example", EXAMPLES)
def test_recorded_request_and_response_match(example: Example) -> None:
    tool = OPERATIONS[example.operation]
    jsonschema_rs.Draft202012Validator(input_schema(tool)).validate(example.content["request"])
    if "answer" in example.content:
        jsonschema_rs.Draft202012Validator(output_schema(tool)).validate(example.content["answer"])


def test_every_tool_has_a_recorded_example() -> None:
    assert {example.operation for example in EXAMPLES} == set(OPERATIONS)


@each_tool
def test_arguments_are_the_fields_of_the_request(tool: Tool) -> None:
    schema = input_schema(tool)
    assert set(schema["properties"]) - {"check"} == set(tool.request.model_fields)
    assert schema["additionalProperties"] is False
    wrong = {"expression": "x", "nonsense": 1}
    assert not jsonschema_rs.Draft202012Validator(schema).is_valid(wrong)


@each_tool
def test_schemas_have_nothing_that_only_costs_a_model_its_attention(tool: Tool) -> None:
    for schema in schemas_in(input_schema(tool)):
        assert "examples" not in schema and not isinstance(schema.get("title"), str)
        assert schema.get("default", 0) is not None and None not in schema.get("enum", ())
        assert "\n" not in schema.get("description", "") if isinstance(schema.get("description", ""), str) else True


@each_tool
def test_optional_argument_is_left_out_and_not_null(tool: Tool) -> None:
    schema = input_schema(tool)
    for name, field in schema["properties"].items():
        if name not in schema["required"]:
            whole = {**field, "$defs": schema.get("$defs", {})}
            assert not jsonschema_rs.Draft202012Validator(whole).is_valid(None), name


@each_tool
def test_description_names_tools_that_exist(tool: Tool) -> None:
    """Words in backquotes are tools, arguments or fields of results."""
    known = set(TOOLS) | set(input_schema(tool)["properties"]) | set(output_schema(tool)["properties"])
    named = {re.split(r"[^a-z_]", word)[0] for word in re.findall("`([^`]+)`", tool.description)}
    assert named <= known
