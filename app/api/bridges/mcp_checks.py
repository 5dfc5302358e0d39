"""Checks of answers: the derivatives that an answer contains or rests on, compared with difference quotients.

Everything is computed by the endpoints of /v1. Second derivatives are compared with difference quotients of the derivative's
formula, which is another way to them than the one that `/v1/hessian` takes.
"""

import math
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

from pydantic import Field

from app.api.bridges.mcp_calls import CallFailed
from app.service.models import ABSENT, ResponseModel

TOLERANCE = 1e-6
"""The largest relative error that counts as agreement; the default of `/v1/check`."""

Fields = dict[str, Any]
Post = Callable[[str, Fields], Awaitable[Fields]]
"""Calls the endpoint at a path with the fields of a body."""


class AnswerCheck(ResponseModel):
    """Derivatives that the answer contains or rests on, compared with difference quotients of the function (Ridders' method).

    Both tables are by what is differentiated (an output; for second derivatives, the variable of the first derivative) and
    then by the variable.
    """

    ok: bool = Field(description="Whether all of them agree, to a relative error of 1e-6. At a kink they need not.")
    relative_errors: dict[str, dict[str, float | None]] = Field(
        ABSENT, description="The relative error, of several points the largest"
    )
    difference_quotients: dict[str, dict[str, float | None]] = Field(
        ABSENT, description="The difference quotients themselves; absent where there are several points"
    )
    message: str = Field(ABSENT, description="Why there is no comparison. The answer itself is not affected.")


async def check_gradient(arguments: Fields, answer: Fields, post: Post) -> Fields:
    """Check of the first derivatives of the expression at the inputs."""
    body: Fields = {name: arguments[name] for name in ("expression", "inputs", "wrt") if name in arguments}
    return await _report({answer["output"]: body}, post)


async def check_minimum(arguments: Fields, answer: Fields, post: Post) -> Fields:
    """Check of the derivatives by the variables at the minimum."""
    inputs = {**(arguments.get("inputs") or {}), **answer["minimum"]}
    body = {"expression": arguments["expression"], "inputs": inputs, "wrt": list(answer["minimum"])}
    return await _report({"value": body}, post)


async def check_fit(arguments: Fields, answer: Fields, post: Post) -> Fields:
    """Check of the derivatives of the curve by the parameters, at the fitted ones, in every row."""
    graph = (await post("/v1/parse", {"expression": arguments["expression"]}))["graph"]
    inputs = {**arguments["data"], **answer["parameters"]}
    leaves = [node["id"] for node in graph["nodes"] if node["op"] == "value"]
    body = {
        "expression": graph,
        "inputs": {name: inputs[name] for name in leaves if name in inputs},
        "wrt": [name for name in answer["parameters"] if name in leaves],
    }
    return await _report({"curve": body}, post)


async def check_propagation(arguments: Fields, answer: Fields, post: Post) -> Fields:
    """Check of the sensitivities, which are the derivatives of the results by the inputs at their estimates."""
    graph = (await post("/v1/parse", {"expression": arguments["expression"]}))["graph"]
    inputs = {name: _estimate(given) for name, given in arguments["inputs"].items()}
    budgets = {name: [row["input"] for row in result["budget"]] for name, result in answer["results"].items()}
    bodies = {
        name: {"expression": {"nodes": graph["nodes"], "output": name}, "inputs": inputs, "wrt": wrt}
        for name, wrt in budgets.items()
        if wrt
    }
    return await _report(bodies, post)


def _estimate(given: Any) -> Any:
    """The best estimate of an input that `/v1/propagate` has accepted."""
    if not isinstance(given, Mapping):
        return given
    readings = given.get("readings")
    return math.fsum(readings) / len(readings) if readings else given["value"]


async def check_hessian(arguments: Fields, answer: Fields, post: Post) -> Fields:
    """Check of the second derivatives by difference quotients of the formulas of the first."""
    names, entries = _second_derivatives(answer["hessian"], is_sparse=arguments.get("format") == "sparse")
    if not names:  # a constant, which has no derivative to ask for
        return _summary({})
    derivative = await post("/v1/derivative", {"expression": arguments["expression"], "wrt": names, "forms": []})
    nodes, outputs = derivative["graph"]["nodes"], derivative["graph"]["outputs"][1:]
    inputs = arguments.get("inputs") or {}
    checked = {}
    for name, output in zip(names, outputs, strict=True):
        body = {"expression": {"nodes": nodes, "output": output}, "inputs": inputs, "wrt": names}
        checked[name] = await post("/v1/check", body)
    report = _summary(checked)
    points = max((len(given) for given in inputs.values() if isinstance(given, list)), default=1)
    for (x, y), second in entries.items():
        same = _reduced(checked[x]["checks"][y]["reverse"], points, arguments.get("reduce") or "none")
        report["ok"] = report["ok"] and _agree(second, same)
    return report


def _second_derivatives(hessian: Any, *, is_sparse: bool) -> tuple[list[str], dict[tuple[str, str], Any]]:
    """The variables of a Hessian, and its entries; of a sparse one, those of the lower triangle, 0 where it has none."""
    if not is_sparse:
        return list(hessian), {(x, y): second for x, row in hessian.items() for y, second in row.items()}
    names = hessian["names"]
    entries = {(x, y): 0.0 for k, x in enumerate(names) for y in names[: k + 1]}
    for row, column, second in zip(hessian["rows"], hessian["columns"], hessian["values"], strict=True):
        entries[names[row], names[column]] = second
    return names, entries


def _reduced(value: Any, points: int, reduce: str) -> Any:
    """The sum or the mean over the points of a number, or of one number per point."""
    if reduce == "none":
        return value
    total = math.fsum(value) if isinstance(value, list) else points * value
    return total / points if reduce == "mean" else total


def _agree(first: Any, second: Any) -> bool:
    """Whether two numbers, or two lists of numbers, are the same but for rounding."""
    numbers, others = _numbers(first), _numbers(second)
    if len(numbers) != len(others):  # one of them is the same number at every point
        numbers, others = numbers * len(others), others * len(numbers)
    return all(abs(a - b) <= TOLERANCE * max(abs(a), abs(b), TOLERANCE) for a, b in zip(numbers, others, strict=False))


async def _report(bodies: Mapping[str, Fields], post: Post) -> Fields:
    """The report on several functions, given by bodies of requests to `/v1/check`."""
    return _summary({name: await post("/v1/check", body) for name, body in bodies.items()})


def _summary(checked: Mapping[str, Fields]) -> Fields:
    """The report on responses of `/v1/check`, by what they are about."""
    errors = {name: {x: _largest(row["relative_error"]) for x, row in _rows(found)} for name, found in checked.items()}
    report = {"ok": all(found["ok"] for found in checked.values()), "relative_errors": errors}
    numeric = {name: {x: row["numeric"] for x, row in _rows(found)} for name, found in checked.items()}
    if not any(isinstance(number, list) for row in numeric.values() for number in row.values()):
        report["difference_quotients"] = numeric
    return report


def _rows(found: Fields) -> Iterator[tuple[str, Fields]]:
    yield from found["checks"].items()


def _largest(errors: Any) -> float | None:
    """The largest of some relative errors."""
    return max(_numbers(errors), default=None)


def _numbers(value: Any) -> list[float]:
    """The numbers of a column, of which those that are not finite are null."""
    return [number for number in (value if isinstance(value, list) else [value]) if number is not None]


async def checked_answer(
    check: Callable[[Fields, Fields, Post], Awaitable[Fields]], arguments: Fields, answer: Fields, post: Post
) -> Fields:
    """An answer with the report of its check. Where it cannot be checked, the report says why."""
    if _has_base64(arguments):
        return {**answer, "check": {"ok": False, "message": "not checked: checks read lists of numbers, not base64"}}
    try:
        report = await check(arguments, answer, post)
    except CallFailed as failed:
        report = {"ok": False, "message": f"the answer could not be checked: {failed}"}
    return {**answer, "check": report}


def _has_base64(arguments: Any) -> bool:
    """Whether arrays are in base64, in the arguments or, as these ask for, in the answer."""
    if isinstance(arguments, list):
        return any(_has_base64(entry) for entry in arguments)
    if not isinstance(arguments, dict):
        return False
    return "float64" in arguments or arguments.get("arrays") == "base64" or any(map(_has_base64, arguments.values()))
