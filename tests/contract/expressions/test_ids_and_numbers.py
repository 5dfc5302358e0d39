"""Which ids and numbers a request may contain."""

import pytest

from tests.contract.conftest import Post
from tests.contract.wire import graph, json_of, label, leaf, node, problem
from tests.rows import for_each

IDS = [
    "x",
    " ",
    "a/b",
    "m~n",
    "a/b~c/~1",
    "é",
    "日本",
    "😀",
    "a b",
    '"',
    "\\",
    "'",
    "%1",
    "output",
    "0",
    "-1",
    "null",
    "__proto__",
    "x" * 128,
]


@for_each("name", IDS)
def test_id_may_be_any_string_of_1_to_128_characters(post: Post, name: str) -> None:
    request = {"expression": graph(leaf(name), node("then", "mul", name, name)), "inputs": {name: 3}}
    assert json_of(post("backward", **request, wrt=[name])) == {"output": "then", "value": 9.0, "gradients": {name: 6.0}}
    assert json_of(post("jvp", **request, tangents={name: 2}))["tangent"] == 12.0
    assert json_of(post("hessian", **request))["hessian"] == {name: {name: 2.0}}
    assert json_of(post("graph", **request))["nodes"][0]["id"] == name


def test_length_of_an_id_counts_characters_not_bytes(post: Post) -> None:
    assert json_of(post("forward", expression=graph(leaf("😀" * 128, 1))))["value"] == 1.0
    problem(post("forward", expression=graph(leaf("😀" * 129, 1))), "invalid-request", 422, "/expression/nodes/0/id")


@pytest.mark.parametrize("name", ["", "x" * 129, "a\n", "\x00", "a\x7fb", "a\x85"], ids=label)
def test_empty_long_or_control_character_ids_are_refused(post: Post, name: str) -> None:
    problem(post("forward", expression=graph(leaf("x", 1), leaf(name, 1), output="x")), "invalid-request", 422)


def test_id_may_look_like_a_number(post: Post) -> None:
    assert json_of(post("forward", expression=graph(leaf("3", 5), node("y", "mul", "3", 3))))["value"] == 15.0


@pytest.mark.parametrize("literal", ["3", "3.0", "30e-1", "0.3E+1", "3.0000000000000000000000000000000001"])
def test_number_in_any_json_notation(post: Post, literal: str) -> None:
    body = f'{{"expression": "x*2", "inputs": {{"x": {literal}}}}}'.encode()
    assert json_of(post("forward", content=body))["value"] == 6.0


@pytest.mark.parametrize(
    "number", [5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, 0.1, 1 / 3, 123456789.123456789, 2**60 + 1]
)
def test_numbers_round_trip_exactly(post: Post, number: float) -> None:
    assert json_of(post("forward", expression="x", inputs={"x": number}))["value"] == float(number)
    assert json_of(post("forward", expression=graph(leaf("x", -number))))["value"] == -float(number)


def test_integers_may_exceed_64_bits(post: Post) -> None:
    assert json_of(post("forward", expression="x", inputs={"x": 10**300}))["value"] == 1e300
