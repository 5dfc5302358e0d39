"""Checks of answers, with endpoints that answer what a test says: a wrong derivative is noticed."""

import asyncio
from typing import Any

import pytest

from app.api.bridges.mcp_calls import CallFailed
from app.api.bridges.mcp_checks import Fields, check_hessian, check_propagation, checked_answer

QUADRATIC = {"expression": "a*x**2", "inputs": {"a": 1.5}}


def agreeing(number: Any) -> Fields:
    """A row of /v1/check in which all agree on a number."""
    zero = [0.0] * len(number) if isinstance(number, list) else 0.0
    return {"reverse": number, "forward": number, "numeric": number, "relative_error": zero}


def second_derivatives(hessian: Any, found: Any, **arguments: Any) -> bool:
    """Whether the check accepts this second derivative, where the formula of the first gives the other."""

    async def post(path: str, fields: Fields) -> Fields:
        if path == "/v1/derivative":
            return {"graph": {"nodes": [], "outputs": ["output", "d_x"]}}
        return {"ok": True, "checks": {"x": agreeing(found)}}

    answer = {"output": "output", "hessian": {"x": {"x": hessian}}}
    report = asyncio.run(check_hessian({**QUADRATIC, **arguments}, answer, post))
    ok: bool = report["ok"]
    return ok


@pytest.mark.parametrize(
    ("hessian", "found", "arguments", "ok"),
    [
        pytest.param(3.0, 3.0, {}, True, id="the same"),
        pytest.param(3.0, 3.0 + 1e-12, {}, True, id="rounded otherwise"),
        pytest.param(3.0, 3.001, {}, False, id="wrong"),
        pytest.param(-3.0, 3.0, {}, False, id="of the other sign"),
        pytest.param(0.0, 1e-15, {}, True, id="0 but for rounding"),
        pytest.param([3.0, 4.0], [3.0, 4.0], {"inputs": {"a": [1, 2]}}, True, id="the same at two points"),
        pytest.param([3.0, 4.0], [3.0, 5.0], {"inputs": {"a": [1, 2]}}, False, id="wrong at one of two points"),
        pytest.param(3.0, [3.0, 4.0], {"inputs": {"a": [1, 2]}}, False, id="one number for two points"),
        pytest.param(7.0, [3.0, 4.0], {"inputs": {"a": [1, 2]}, "reduce": "sum"}, True, id="the sum"),
        pytest.param(7.0, [3.0, 4.0], {"inputs": {"a": [1, 2]}, "reduce": "mean"}, False, id="the sum for the mean"),
        pytest.param(3.5, [3.0, 4.0], {"inputs": {"a": [1, 2]}, "reduce": "mean"}, True, id="the mean"),
        pytest.param(6.0, 3.0, {"inputs": {"a": [1, 2]}, "reduce": "sum"}, True, id="the sum of a constant"),
    ],
)
def test_wrong_second_derivative_is_noticed(hessian: Any, found: Any, arguments: dict[str, Any], ok: bool) -> None:
    assert second_derivatives(hessian, found, **arguments) is ok


@pytest.mark.parametrize(
    ("values", "ok"),
    [
        pytest.param([2.0, 1.0], True, id="right"),
        pytest.param([2.0, 1.5], False, id="a wrong entry"),
        pytest.param([2.0], False, id="an entry that is missing"),
    ],
)
def test_wrong_entry_of_a_sparse_matrix_is_noticed(values: list[float], ok: bool) -> None:
    """Of x**2 + x*y: 2 by x twice, 1 by x and y, 0 by y twice."""
    exact = {("x", "x"): 2.0, ("x", "y"): 1.0, ("y", "x"): 1.0, ("y", "y"): 0.0}

    async def post(path: str, fields: Fields) -> Fields:
        if path == "/v1/derivative":
            return {"graph": {"nodes": [], "outputs": ["output", "x", "y"]}}
        x = fields["expression"]["output"]
        return {"ok": True, "checks": {y: agreeing(exact[x, y]) for y in fields["wrt"]}}

    count = len(values)
    hessian = {"names": ["x", "y"], "rows": [0, 1][:count], "columns": [0, 0][:count], "values": values}
    arguments = {"expression": "x**2 + x*y", "inputs": {"x": 1, "y": 1}, "format": "sparse"}
    assert asyncio.run(check_hessian(arguments, {"hessian": hessian}, post))["ok"] is ok


def test_answer_is_kept_where_its_check_fails() -> None:
    async def fail(arguments: Fields, answer: Fields, post: Any) -> Fields:
        raise CallFailed({"type": "/problems/overloaded", "detail": "the queue is full"})

    async def post(path: str, fields: Fields) -> Fields:
        raise AssertionError

    found = asyncio.run(checked_answer(fail, {}, {"value": 1.0}, post))
    assert found["value"] == 1.0
    assert found["check"] == {"ok": False, "message": "the answer could not be checked: the queue is full"}


def test_sensitivities_are_checked_at_the_estimates() -> None:
    """Exact numbers, values with an uncertainty, and the mean of readings."""
    asked: list[Fields] = []

    async def post(path: str, fields: Fields) -> Fields:
        if path == "/v1/parse":
            return {"graph": {"nodes": [], "output": "f"}}
        asked.append(fields)
        return {"ok": True, "checks": {"x": agreeing(1.0)}}

    given = {"c": 2, "x": {"value": 3, "u": 0.1}, "y": {"readings": [1.0, 2.0, 6.0]}}
    answer = {"results": {"f": {"budget": [{"input": "x"}, {"input": "y"}]}, "exact": {"budget": []}}}
    report = asyncio.run(check_propagation({"expression": "f = c*x*y", "inputs": given}, answer, post))
    assert [fields["inputs"] for fields in asked] == [{"c": 2, "x": 3, "y": 3.0}]
    assert asked[0]["wrt"] == ["x", "y"] and asked[0]["expression"]["output"] == "f"
    assert report["ok"] is True and report["relative_errors"] == {"f": {"x": 0.0}}
