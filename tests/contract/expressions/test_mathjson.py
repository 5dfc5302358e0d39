"""MathJSON arrays wherever an expression stands: the same responses as for the text, and errors that point at the place."""

import json
from typing import Any

import pytest

from tests.contract.conftest import AssertAlive, Post
from tests.contract.wire import POSTS, json_of, problem, smallest
from tests.rows import for_each

TEXT = "x*exp(y) + x**2"
ARRAY = ["Add", ["Multiply", "x", ["Exp", "y"]], ["Power", "x", 2]]
INPUTS = {"x": 1.5, "y": 0.25}


@for_each("operation", POSTS)
def test_array_gets_the_response_of_its_text(post: Post, operation: str) -> None:
    a = json_of(post(operation, **smallest(operation, expression=ARRAY, inputs=INPUTS)))
    b = json_of(post(operation, **smallest(operation, expression=TEXT, inputs=INPUTS)))
    assert a == b


def test_array_is_evaluated_at_points(post: Post) -> None:
    answer = json_of(post("backward", expression=["Which", ["Less", "x", 0], 0, "True", ["Ln", "x"]], inputs={"x": [-1, 1, 2]}))
    assert answer["value"][:2] == [0.0, 0.0] and answer["gradients"]["x"] == [0.0, 1.0, 0.5]


SOLVED: dict[str, dict[str, Any]] = {
    "minimize": {"expression": ["Add", ["Square", ["Subtract", "x", 1]], 2], "initial": {"x": 3}},
    "fit": {
        "expression": ["Multiply", "a", "x"],
        "data": {"x": [1, 2, 3], "y": [2, 4, 6.5]},
        "target": "y",
        "parameters": {"a": 1},
    },
    "propagate": {"expression": ["Divide", "V", "I"], "inputs": {"V": {"value": 5, "u": 0.1}, "I": 2}},
}


@pytest.mark.parametrize("operation", SOLVED)
def test_solver_takes_an_array(post: Post, operation: str) -> None:
    json_of(post(operation, **SOLVED[operation]))


def test_constraint_and_derived_quantity_are_arrays(post: Post) -> None:
    constrained = SOLVED["minimize"] | {"constraints": [{"expression": ["Add", "x", 0], "min": 2}]}
    assert json_of(post("minimize", **constrained))["minimum"]["x"] == pytest.approx(2.0)
    derived = SOLVED["fit"] | {"derived": {"double": ["Multiply", 2, "a"]}}
    assert json_of(post("fit", **derived))["derived"]["double"]["value"] > 4.0


def test_loss_and_learning_rate_are_arrays(post: Post) -> None:
    request: dict[str, Any] = {
        "model": {"inputs": 2, "layers": [3, 1]},
        "data": {"dataset": "xor"},
        "loss": {"expression": ["Square", ["Subtract", "score", "target"]]},
        "optimizer": {"learning_rate": ["Divide", 1, ["Add", "step", 10]]},
        "steps": 5,
    }
    texts = request | {"loss": {"expression": "square(score - target)"}, "optimizer": {"learning_rate": "1/(step + 10)"}}
    assert json_of(post("networks/train", **request)) == json_of(post("networks/train", **texts))


FAULTS: list[tuple[dict[str, Any], str, str, str]] = [
    ({"expression": ["Add", 1, ["Floor", "x"]]}, "unknown-primitive", "/expression/2/0", "'Floor'"),
    ({"expression": ["Add", 1, ["Sin", "x", "y"]]}, "wrong-arity", "/expression/2", "Sin takes 1 argument, not 2"),
    ({"expression": ["Add", 1, [True]]}, "invalid-request", "/expression/2/0", "a boolean"),
    ({"expression": []}, "invalid-request", "/expression", "an empty list"),
    ({"expression": [1, 2, 3]}, "invalid-request", "/expression/0", "a number"),
    ({"expression": ["Add", "x", 1], "inputs": {}}, "unbound-input", "/expression", "'x'"),
    ({"expression": ["Ln", "x"], "inputs": {"x": -1}}, "non-finite", "/expression", "log"),
    ({"expression": ["Sin", "x"], "inputs": {"y": 1}}, "unknown-node", "/inputs/y", "'y'"),
]


@for_each(("request_", "name", "pointer", "words"), FAULTS)
def test_fault_is_pointed_at(post: Post, request_: dict[str, Any], name: str, pointer: str, words: str) -> None:
    found = problem(post("forward", **{"inputs": {"x": 1}, **request_}), name, 422)
    assert words in found["detail"]
    assert pointer in [entry["pointer"] for entry in found.get("errors", [{"pointer": pointer}])]


def test_place_in_a_constraint_and_in_a_loss(post: Post) -> None:
    request = SOLVED["minimize"] | {"constraints": [{"expression": ["Sin", ["Floor", "x"]], "min": 2}]}
    problem(post("minimize", **request), "unknown-primitive", 422, "/constraints/0/expression/1/0")
    request = {"model": {"inputs": 2, "layers": [1]}, "data": {"dataset": "xor"}, "loss": {"expression": ["Floor", "score"]}}
    problem(post("networks/backward", **request), "unknown-primitive", 422, "/loss/expression/0")


def nested(depth: int) -> bytes:
    """A request with an array of this depth."""
    return b'{"expression": ' + b'["Negate", ' * depth + b'"x"' + b"]" * depth + b', "inputs": {"x": 1}}'


@pytest.mark.parametrize("depth", [10, 500, 1000])
def test_deep_array_is_evaluated(post: Post, depth: int) -> None:
    assert json_of(post("forward", content=nested(depth)))["value"] == 1.0


@pytest.mark.parametrize("depth", [1025, 100_000, 1_000_000])
def test_array_that_is_too_deep_is_refused(post: Post, assert_alive: AssertAlive, depth: int) -> None:
    problem(post("forward", content=nested(depth)), "invalid-json", 400)
    assert_alive()


def test_long_array_is_evaluated(post: Post) -> None:
    terms = [["Multiply", k, "x"] for k in range(20_000)]
    assert json_of(post("forward", expression=["Add", *terms], inputs={"x": 1}))["value"] == sum(range(20_000))


def test_long_array_deep_within_arrays_is_evaluated(post: Post) -> None:
    array: Any = ["Add", *["x"] * 100_000]
    for _ in range(900):
        array = ["Negate", array]
    assert json_of(post("forward", expression=array, inputs={"x": 1}))["value"] == 100_000.0


@pytest.mark.parametrize(
    "array",
    [
        pytest.param(b'["Add"' + b',"x"' * 1_500_000 + b"]", id="names"),
        pytest.param(b'["Add"' + b',{"sym":"x"}' * 1_100_000 + b"]", id="objects"),
    ],
)
def test_array_over_the_limit_is_refused(post: Post, assert_alive: AssertAlive, array: bytes) -> None:
    found = problem(
        post("forward", content=b'{"expression": ' + array + b', "inputs": {"x": 1}}'), "too-large", 422, "/expression"
    )
    assert "AUTODIFF_MAX_NODES" in found["detail"]
    assert_alive()


def test_numbers_first_and_other_bulk_are_refused(post: Post) -> None:
    for array in ([1.5] * 5000, [[1.5] * 20] * 500, ["Add", [1.5] * 5000], ["Add", [[0.5] * 9] * 500], [*[1] * 2000, "x"]):
        problem(post("forward", expression=array, inputs={}), "invalid-request", 422)
    body = json.dumps({"expression": ["Add", {"nodes": [{"id": "x"}] * 500}], "inputs": {}}).encode()
    problem(post("forward", content=body), "invalid-request", 422, "/expression/1")
