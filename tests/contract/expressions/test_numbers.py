"""What a request may contain where a number belongs."""

from typing import Any

from tests.contract.conftest import Post
from tests.contract.expressions.requests import HOLE, filled
from tests.contract.wire import graph, json_of, leaf, node, problem
from tests.rows import for_each

PLACES: list[tuple[str, dict[str, Any]]] = [
    ("forward", {"inputs": {"x": HOLE}}),
    ("forward", {"inputs": {"x": [1, 2, HOLE]}}),
    ("forward", {"expression": graph({**leaf("x"), "data": HOLE}), "inputs": {}}),
    ("forward", {"expression": graph(leaf("x"), node("y", "add", "x", HOLE))}),
    ("backward", {"cotangent": HOLE}),
    ("backward", {"cotangent": [1, HOLE]}),
    ("jvp", {"tangents": {"x": HOLE}}),
    ("jvp", {"tangents": {"x": [1, HOLE]}}),
    ("hvp", {"tangents": {"x": HOLE}}),
    ("hvp", {"tangents": {"x": [HOLE, 1]}}),
    ("jacobian", {"inputs": {"x": HOLE}}),
    ("hessian", {"inputs": {"x": HOLE}}),
    ("check", {"tolerance": HOLE}),
    ("check", {"inputs": {"x": HOLE}}),
    ("parse", {"inputs": {"x": HOLE}}),
    ("graph", {"inputs": {"x": HOLE}}),
]
"""(operation, fields with a hole where a number belongs)."""
NOT_FINITE = ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1e400000", "1.7976931348623159e308", "1" + "0" * 309]
NOT_FINITE += ["9" * 400, "-" + "9" * 400, "9" * 10_000, "9" * 400 + ".5"]
NOT_NUMBERS = ["true", "false", "{}"]
STRINGS = ['"3"', '"3.5"', '""', '"NaN"']
NOT_JSON = ["nan", "inf", "+1", ".5", "5.", "0x10", "1_000", "01", "1e", "--1", "-NaN", "1 2", "", "undefined", "'1'"]
NOT_JSON += ["1e999999999999999999x"]
NUMBERS = ["1e-999", "1.0000000000000000000000000000000000000001", "0." + "3" * 10_000, "1E+2", "12345678901234567890"]


@for_each("literal", NOT_FINITE + NOT_NUMBERS)
@for_each(("operation", "fields"), PLACES)
def test_not_a_finite_number_is_refused(post: Post, operation: str, fields: dict[str, Any], literal: str) -> None:
    problem(post(operation, content=filled(operation, fields, literal)), "invalid-request", 422)


@for_each("literal", STRINGS)
@for_each(("operation", "fields"), PLACES)
def test_number_in_quotes_is_refused(post: Post, operation: str, fields: dict[str, Any], literal: str) -> None:
    """As an argument of a node it is an id, which names no node."""
    problem(post(operation, content=filled(operation, fields, literal)), status=422)


@for_each("literal", NOT_JSON)
@for_each(("operation", "fields"), PLACES)
def test_number_that_is_not_json_is_invalid_json(post: Post, operation: str, fields: dict[str, Any], literal: str) -> None:
    problem(post(operation, content=filled(operation, fields, literal)), "invalid-json", 400)


OPTIONAL = ({"cotangent": HOLE}, {"tolerance": HOLE})
"""Fields that are optional, so that null stands for their absence."""


@for_each(("operation", "fields"), [case for case in PLACES if "data" not in str(case) and case[1] not in OPTIONAL])
def test_null_is_not_a_number(post: Post, operation: str, fields: dict[str, Any]) -> None:
    problem(post(operation, content=filled(operation, fields, "null")), "invalid-request", 422)


@for_each("literal", NUMBERS)
@for_each(
    ("operation", "fields"), [case for case in PLACES if "[" not in str(case[1].get("cotangent", case[1].get("tangents")))]
)
def test_number_in_unusual_notation_is_accepted(post: Post, operation: str, fields: dict[str, Any], literal: str) -> None:
    response = post(operation, content=filled(operation, fields, literal))
    if literal == "1e-999" and "tolerance" in fields:  # 0, and a tolerance is positive
        problem(response, "invalid-request", 422, "/tolerance")
    else:
        json_of(response)
