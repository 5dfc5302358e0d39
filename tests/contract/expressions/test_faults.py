"""Faulty requests are answered with a problem that points at the fault and explains it."""

import re
from typing import Any

import pytest

from tests.contract.conftest import Post
from tests.contract.expressions.faults import FAULTS, Fault
from tests.contract.wire import POSTS, assert_mentions, graph, leaf, node, problem, resolve, smallest
from tests.rows import for_each


@for_each("fault", FAULTS)
def test_fault_is_named_with_its_place(post: Post, fault: Fault) -> None:
    body = problem(post(fault.operation, **fault.request), fault.problem, 422, fault.pointer)
    assert_mentions(body, fault.words)
    for entry in body["errors"]:
        resolve(fault.request, entry["pointer"].rpartition("/")[0])  # the last step may be what is missing
    assert not re.search(r"\b(float|int|str|bool|array|dict|struct|enum)\b", body["detail"]), "the words are JSON's"


@for_each("operation", POSTS)
def test_expression_is_required(post: Post, operation: str) -> None:
    request = smallest(operation)
    del request["expression"]
    assert_mentions(
        problem(post(operation, **request), "invalid-request", 422, "/expression"), ["expression", "missing|required"]
    )


@pytest.mark.parametrize("ring", [2, 3, 12, 13, 1000], ids=lambda ring: f"{ring}-nodes")
def test_detail_spells_out_the_cycle(post: Post, ring: int) -> None:
    """In `a -> b -> a` each node is followed by one of its arguments, or each by a user of it."""
    arguments = {f"n{k}": f"n{(k + 1) % ring}" for k in range(ring)}
    nodes = [node(name, "neg", argument) for name, argument in arguments.items()]
    detail = problem(post("forward", expression=graph(leaf("x", 1.0), *nodes)), "graph-cycle", 422)["detail"]
    shown = re.findall(r"\bn\d+\b", detail)
    assert shown[0] == shown[-1]
    if ring <= 3:
        assert " -> ".join(shown) in detail and len(shown) == ring + 1
        pairs = list(zip(shown, shown[1:], strict=False))
        assert all(arguments[a] == b for a, b in pairs) or all(arguments[b] == a for a, b in pairs)


def test_cycle_leaves_out_nodes_that_only_lead_to_it(post: Post) -> None:
    nodes = [node("top", "neg", "a"), node("a", "add", "x", "b"), node("b", "neg", "a"), leaf("x", 1.0)]
    detail = problem(post("forward", expression={"nodes": nodes, "output": "top"}), "graph-cycle", 422)["detail"]
    assert "top" not in detail and ("a -> b -> a" in detail or "b -> a -> b" in detail)


LONG = "q" * 100_000

LONG_NAMES: dict[str, dict[str, Any]] = {
    "op": {"expression": graph(leaf("x", 1), node("y", LONG, "x"))},
    "argument": {"expression": graph(leaf("x", 1), node("y", "neg", LONG))},
    "id": {"expression": graph(leaf("x", 1), node(LONG, "neg", "x"))},
    "output": {"expression": {"nodes": [leaf("x", 1)], "output": LONG}},
    "input of a graph": {"expression": graph(leaf("x", 1)), "inputs": {LONG: 1}},
    "input with a wrong number": {"expression": graph(leaf("x", 1)), "inputs": {LONG: "q"}},
    "input with a wrong item": {"expression": graph(leaf("x", 1)), "inputs": {LONG: [1, None]}},
    "unknown field": {"expression": graph(leaf("x", 1)), LONG: 1},
    "input of a text": {"expression": "x", "inputs": {LONG: 1}},
    "name": {"expression": f"{LONG} + "},
    "call": {"expression": f"{LONG}(x)"},
    "assignment": {"expression": f"{LONG} = 1; {LONG} = 2"},
    "many inputs": {"expression": "x", "inputs": {LONG[:k]: 1 for k in range(1, 300)}},
}


@for_each("request_", LONG_NAMES.values())
def test_long_names_are_not_repeated_in_full(post: Post, request_: dict[str, Any]) -> None:
    response = post("forward", **request_)
    problem(response, status=422)
    assert len(response.content) < 3000


MANY_FAULTS: dict[str, dict[str, Any]] = {
    "bad nodes": {"nodes": [{"id": f"n{k}", "op": "no", "args": [f"m{k}"], "data": "x", "oops": {}} for k in range(500)]},
    "ids and no ops": {"nodes": [{"id": k} for k in range(3000)]},
    "one id": {"nodes": [leaf("same", 1)] * 3000},
    "unbound leaves": {"nodes": [leaf(f"n{k}") for k in range(3000)]},
    "cycles": {"nodes": [node(f"n{k}", "add", f"n{k + 1}", "n0") for k in range(3000)]},
    "unknown arguments": {"nodes": [node(f"n{k}", "sin", f"n{k - 1}", "z" * 100) for k in range(3000)]},
    "nulls": {"nodes": [None] * 3000},
}


@pytest.mark.parametrize("graph", MANY_FAULTS.values(), ids=MANY_FAULTS)
def test_thousands_of_faulty_nodes_give_a_short_error(post: Post, graph: dict[str, Any]) -> None:
    problem(post("backward", expression=graph | {"output": "n0"}), status=422)


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"inputs": {f"i{k}": None for k in range(3000)}}, id="inputs"),
        pytest.param({"inputs": {"x": 1}, "wrt": [f"i{k}" for k in range(3000)]}, id="wrt"),
        pytest.param({f"i{k}": None for k in range(3000)}, id="unknown fields"),
        pytest.param({"inputs": {"x": [None] * 3000}}, id="items"),
    ],
)
def test_thousands_of_faulty_fields_give_a_short_error(post: Post, fields: dict[str, Any]) -> None:
    problem(post("backward", expression="x", **fields), status=422)
