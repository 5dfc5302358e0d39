"""Limits on requests about expressions, and the estimates of their run time."""

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from app.api.expressions import work
from app.api.expressions.drawn import drawn_graph
from app.api.expressions.models import (
    BackwardRequest,
    CheckRequest,
    ExpressionRequest,
    ForwardRequest,
    GraphRequest,
    HessianRequest,
    HvpRequest,
    JacobianRequest,
    JvpRequest,
    ParseRequest,
)
from app.api.expressions.work import (
    BYTES_PER_ARGUMENT,
    BYTES_PER_NODE,
    BYTES_PER_NUMBER,
    BYTES_PER_ROW,
    BYTES_PER_SUM,
    SECONDS_PER_CHARACTER,
    SECONDS_PER_CHECK,
    SECONDS_PER_INSTRUCTION,
    SECONDS_PER_NODE,
    SECONDS_PER_NUMBER,
)
from app.engine.text import parse
from app.service.bodies import parse as parse_body
from app.service.execution import Job
from app.service.memory import Budget, Share
from app.service.problems import Problem
from tests.service.inprocess import job_with

GRAPH = parse("x*y + x")
"""Four nodes: x, y, their product and the sum."""


def refusal(job: Job, passes: int, numbers: int, *fields: tuple[str, Any]) -> Problem:
    """The problem with a computation on `GRAPH`."""
    with pytest.raises(Problem) as caught:
        work.check(job, GRAPH, passes, numbers, *fields)
    assert caught.value.kind.name == "too-large" and caught.value.kind.status == 422
    return caught.value


def test_work_within_the_limits_is_noted_for_the_log() -> None:
    job = job_with(max_points=3, max_work=24, max_numbers=6)
    work.check(job, GRAPH, 2, 2, ("inputs", {"x": np.zeros(3), "y": 1.0}))
    assert job.facts == {"nodes": 4, "points": 3}


@pytest.mark.parametrize(
    ("field", "given", "pointer", "name"),
    [
        ("inputs", {"y": 1.0, "a/b": np.zeros(4)}, "/inputs/a~1b", "a/b"),
        ("cotangent", {"": np.zeros(4)}, "/cotangent", "cotangent"),
    ],
)
def test_too_many_points(field: str, given: Any, pointer: str, name: str) -> None:
    problem = refusal(job_with(max_points=3), 1, 1, ("tangents", {}), (field, given))
    assert f"{name!r} has 4 numbers; the limit is 3, and AUTODIFF_MAX_POINTS raises it" in problem.detail
    assert [error.pointer for error in problem.errors] == [pointer]


def test_too_much_work() -> None:
    problem = refusal(job_with(max_work=23), 2, 1, ("inputs", {"x": np.zeros(3)}))
    expected = "4 nodes, 3 points and 2 passes are 24 steps of work; the limit is 23, and AUTODIFF_MAX_WORK raises it"
    assert problem.detail == expected


def test_too_many_numbers() -> None:
    problem = refusal(job_with(max_numbers=5), 1, 2, ("inputs", {"x": np.zeros(3)}))
    assert problem.detail == "there would be 6 numbers; the limit is 5, and AUTODIFF_MAX_NUMBERS raises it"


def test_estimates_grow_with_text_points_and_names() -> None:
    short = work.estimate_evaluation(BackwardRequest(expression="x"))
    assert 0.0 < short < 1e-3
    assert work.estimate_evaluation(BackwardRequest(expression="x" * 2000)) > 1e-3
    assert work.estimate_evaluation(BackwardRequest(expression="x", inputs={"x": np.zeros(100_000)})) > 1e-3
    assert work.estimate_evaluation(BackwardRequest(expression="x", cotangent=np.zeros(100_000))) > 1e-3
    assert work.estimate_evaluation(HvpRequest(expression="x", tangents={"x": np.zeros(100_000)})) > 1e-3
    assert work.estimate_matrix(HessianRequest(expression="x*x")) < 1e-3
    assert work.estimate_matrix(HessianRequest(expression="x*x", wrt=["x"] * 1500)) > 1e-3
    assert work.estimate_unknown(object()) == math.inf


def test_nodes_of_a_text_are_never_underestimated() -> None:
    for text in ("x", "x+y", "-(-x)", "a = x; b = a*a; b", "sin(cos(x))", "x if x < 1 else 2"):
        assert work.count_nodes(text) >= len(parse(text).nodes)


# --- estimates, term by term

TEXT = "x*y+x"
"""Five characters, so at most 6 nodes with the output."""
READ_TEXT = 6 * SECONDS_PER_CHARACTER
NODES = {
    "nodes": [
        {"id": "x", "op": "value"},
        {"id": "y", "op": "value"},
        {"id": "p", "op": "mul", "args": ["x", "y"]},
    ],
    "output": "p",
}
READ_NODES = 3 * SECONDS_PER_NODE
FIVE = [1, 2, 3, 4, 5]
TWO = [1, 2]


def few_walks(nodes: int, numbers: int) -> float:
    """Four instructions per node for a few walks over a graph, and its numbers written, at one point."""
    return 4 * nodes * SECONDS_PER_INSTRUCTION + numbers * SECONDS_PER_NUMBER


Terms = dict[str, tuple[type[ExpressionRequest], dict[str, Any], float]]

PARSING: Terms = {
    "text": (ParseRequest, {"expression": TEXT}, READ_TEXT),
    "graph": (ParseRequest, {"expression": NODES}, READ_NODES),
    "points, which parsing ignores": (ParseRequest, {"expression": NODES, "inputs": {"x": FIVE}}, READ_NODES),
    "two bytes per letter, which are one character": (ParseRequest, {"expression": "é*é"}, 4 * SECONDS_PER_CHARACTER),
}

EVALUATION: Terms = {
    "text": (ForwardRequest, {"expression": TEXT}, READ_TEXT + few_walks(6, 6)),
    "graph": (ForwardRequest, {"expression": NODES}, READ_NODES + few_walks(3, 3)),
    "number, which is one point": (ForwardRequest, {"expression": NODES, "inputs": {"x": 2}}, READ_NODES + few_walks(3, 3)),
    "inputs": (ForwardRequest, {"expression": NODES, "inputs": {"x": FIVE}}, READ_NODES + 5 * few_walks(3, 3)),
    "list of one": (ForwardRequest, {"expression": NODES, "inputs": {"x": [1]}}, READ_NODES + few_walks(3, 3)),
    "text at points": (ForwardRequest, {"expression": TEXT, "inputs": {"x": FIVE}}, READ_TEXT + 5 * few_walks(6, 6)),
    "longest list first": (
        ForwardRequest,
        {"expression": NODES, "inputs": {"x": FIVE, "y": TWO}},
        READ_NODES + 5 * few_walks(3, 3),
    ),
    "longest list last": (
        ForwardRequest,
        {"expression": NODES, "inputs": {"x": TWO, "y": FIVE}},
        READ_NODES + 5 * few_walks(3, 3),
    ),
    "tangents of a jvp": (JvpRequest, {"expression": NODES, "tangents": {"x": FIVE}}, READ_NODES + 5 * few_walks(3, 3)),
    "tangents of an hvp": (HvpRequest, {"expression": NODES, "tangents": {"x": FIVE}}, READ_NODES + 5 * few_walks(3, 3)),
    "tangents longer than inputs": (
        JvpRequest,
        {"expression": NODES, "inputs": {"x": TWO}, "tangents": {"x": FIVE}},
        READ_NODES + 5 * few_walks(3, 3),
    ),
    "cotangent": (BackwardRequest, {"expression": NODES, "cotangent": FIVE}, READ_NODES + 5 * few_walks(3, 3)),
    "cotangent longer than inputs": (
        BackwardRequest,
        {"expression": NODES, "inputs": {"x": TWO}, "cotangent": FIVE},
        READ_NODES + 5 * few_walks(3, 3),
    ),
    "wrt": (BackwardRequest, {"expression": NODES, "wrt": ["x"]}, READ_NODES + few_walks(3, 1)),
    "wrt of many": (BackwardRequest, {"expression": NODES, "wrt": ["x"] * 9}, READ_NODES + few_walks(3, 9)),
    "wrt at points": (
        BackwardRequest,
        {"expression": NODES, "wrt": ["x"], "inputs": {"x": FIVE}},
        READ_NODES + 5 * few_walks(3, 1),
    ),
    "wrt of an hvp": (HvpRequest, {"expression": NODES, "wrt": ["x", "y"]}, READ_NODES + few_walks(3, 2)),
}

MATRIX: Terms = {
    "text": (HessianRequest, {"expression": TEXT}, READ_TEXT + few_walks(6, 6) + 6 * few_walks(6, 6)),
    "graph": (HessianRequest, {"expression": NODES}, READ_NODES + few_walks(3, 3) + 3 * few_walks(3, 3)),
    "inputs": (
        HessianRequest,
        {"expression": NODES, "inputs": {"x": FIVE}},
        READ_NODES + 5 * (few_walks(3, 3) + 3 * few_walks(3, 3)),
    ),
    "wrt of few, where the leaves may be as many as the nodes": (
        HessianRequest,
        {"expression": NODES, "wrt": ["x"]},
        READ_NODES + few_walks(3, 1) + 3 * few_walks(3, 3),
    ),
    "wrt of many": (
        HessianRequest,
        {"expression": NODES, "wrt": ["x"] * 9},
        READ_NODES + few_walks(3, 9) + 9 * few_walks(3, 9),
    ),
    "outputs": (
        JacobianRequest,
        {"expression": NODES, "outputs": ["p"] * 7},
        READ_NODES + few_walks(3, 3) + 7 * few_walks(3, 7),
    ),
    "more in wrt than outputs": (
        JacobianRequest,
        {"expression": NODES, "outputs": ["p"] * 7, "wrt": ["x"] * 9},
        READ_NODES + few_walks(3, 9) + 9 * few_walks(3, 9),
    ),
    "more outputs than in wrt": (
        JacobianRequest,
        {"expression": NODES, "outputs": ["p"] * 7, "wrt": ["x"] * 5, "inputs": {"x": FIVE}},
        READ_NODES + 5 * (few_walks(3, 5) + 7 * few_walks(3, 7)),
    ),
}

DRAWING: Terms = {
    "text": (GraphRequest, {"expression": TEXT}, READ_TEXT + 50 * 6 * SECONDS_PER_NUMBER),
    "graph": (GraphRequest, {"expression": NODES}, READ_NODES + 50 * 3 * SECONDS_PER_NUMBER),
    "points": (
        GraphRequest,
        {"expression": NODES, "inputs": {"x": FIVE}},
        READ_NODES + 5 * 50 * 3 * SECONDS_PER_NUMBER,
    ),
}


def difference_quotients(nodes: int, walks: int) -> float:
    """122 times a few walks for each leaf, and ten times four numbers, at one point."""
    return 122 * 4 * nodes * walks * SECONDS_PER_INSTRUCTION + 40 * walks * SECONDS_PER_NUMBER


CHECK: Terms = {
    "text": (CheckRequest, {"expression": TEXT}, READ_TEXT + few_walks(6, 6) + SECONDS_PER_CHECK + difference_quotients(6, 6)),
    "wrt": (
        CheckRequest,
        {"expression": NODES, "wrt": ["x"]},
        READ_NODES + few_walks(3, 1) + SECONDS_PER_CHECK + difference_quotients(3, 1),
    ),
    "points": (
        CheckRequest,
        {"expression": NODES, "inputs": {"x": FIVE}},
        READ_NODES + SECONDS_PER_CHECK + 5 * (few_walks(3, 3) + difference_quotients(3, 3)),
    ),
}


def seconds_of(estimate: Callable[[Any], float], model: type[ExpressionRequest], body: dict[str, Any]) -> float:
    """The estimate for a request."""
    return estimate(parse_body(json.dumps(body).encode(), model))


@pytest.mark.parametrize(("model", "body", "seconds"), PARSING.values(), ids=PARSING)
def test_estimate_of_parsing(model: type[ExpressionRequest], body: dict[str, Any], seconds: float) -> None:
    assert seconds_of(work.estimate_parsing, model, body) == pytest.approx(seconds, rel=1e-12)


@pytest.mark.parametrize(("model", "body", "seconds"), EVALUATION.values(), ids=EVALUATION)
def test_estimate_of_an_evaluation(model: type[ExpressionRequest], body: dict[str, Any], seconds: float) -> None:
    assert seconds_of(work.estimate_evaluation, model, body) == pytest.approx(seconds, rel=1e-12)


@pytest.mark.parametrize(("model", "body", "seconds"), MATRIX.values(), ids=MATRIX)
def test_estimate_of_a_matrix(model: type[ExpressionRequest], body: dict[str, Any], seconds: float) -> None:
    assert seconds_of(work.estimate_matrix, model, body) == pytest.approx(seconds, rel=1e-12)


@pytest.mark.parametrize(("model", "body", "seconds"), DRAWING.values(), ids=DRAWING)
def test_estimate_of_a_drawing(model: type[ExpressionRequest], body: dict[str, Any], seconds: float) -> None:
    assert seconds_of(work.estimate_drawing, model, body) == pytest.approx(seconds, rel=1e-12)


@pytest.mark.parametrize(("model", "body", "seconds"), CHECK.values(), ids=CHECK)
def test_estimate_of_a_check(model: type[ExpressionRequest], body: dict[str, Any], seconds: float) -> None:
    assert seconds_of(work.estimate_check, model, body) == pytest.approx(seconds, rel=1e-12)


def test_work_that_a_request_does_not_show_takes_an_unknown_time() -> None:
    assert seconds_of(work.estimate_unknown, CheckRequest, {"expression": "x", "inputs": {"x": 1}}) == math.inf


@pytest.mark.parametrize("letter", ["x", "é", "変", "𐎠"])
def test_text_is_measured_in_bytes(letter: str) -> None:
    size = 10 * len(letter.encode())
    work.check_text(letter * 10, job_with(max_text=size), ("expression",))
    with pytest.raises(Problem, match=f"the text has {size} bytes; the limit is {size - 1}, and AUTODIFF_MAX_TEXT") as caught:
        work.check_text(letter * 10, job_with(max_text=size - 1), ("expression",))
    assert [error.pointer for error in caught.value.errors] == ["/expression"]


@pytest.mark.parametrize("setting", ["max_nodes", "max_numbers"])
def test_counts_at_the_limit(setting: str) -> None:
    def count(number: int) -> None:
        if setting == "max_nodes":
            work.check_nodes(number, job_with(max_nodes=5), ("expression", "nodes"))
        else:
            work.check_numbers(job_with(max_numbers=5), number)

    count(5)
    with pytest.raises(Problem, match=f"the limit is 5, and AUTODIFF_{setting.upper()} raises it"):
        count(6)


# --- memory, term by term


def with_memory(**limits: Any) -> tuple[Job, Budget]:
    """A job that holds memory, and the budget that it holds it of."""
    job, budget = job_with(**limits), Budget(1 << 40)
    job.share = Share(budget)
    return job, budget


@pytest.mark.parametrize(
    ("numbers", "points", "rows", "sums", "held"),
    [
        pytest.param(0, 1, 0, 0, 0, id="nodes alone"),
        pytest.param(5, 1, 0, 0, 5 * BYTES_PER_NUMBER, id="numbers"),
        pytest.param(5, 7, 0, 0, 5 * 7 * BYTES_PER_NUMBER, id="numbers at points"),
        pytest.param(0, 1, 3, 0, 3 * BYTES_PER_ROW, id="rows"),
        pytest.param(2, 7, 0, 2, 2 * BYTES_PER_NUMBER + 2 * BYTES_PER_SUM, id="sums"),
        pytest.param(5, 7, 0, 2, (3 * 7 + 2) * BYTES_PER_NUMBER + 2 * BYTES_PER_SUM, id="sums and numbers at points"),
    ],
)
def test_memory_of_an_answer(numbers: int, points: int, rows: int, sums: int, held: int) -> None:
    job, budget = with_memory()
    work.check(job, GRAPH, 1, numbers, ("inputs", {"x": np.zeros(points)}), rows=rows, sums=sums)
    assert budget.used == 4 * BYTES_PER_NODE + held


def test_memory_of_arguments_comes_on_top() -> None:
    job, budget = with_memory()
    job.reserve(1000)
    work.check_arguments(7, job, ("expression", "nodes"))
    assert budget.used == 1000 + 7 * BYTES_PER_ARGUMENT


def test_memory_of_a_matrix_that_fills_in() -> None:
    """It is computed as a dense one, of doubles, of which there is a copy; where it is too large, nothing is held for it."""
    job, budget = with_memory(max_numbers=12)
    request = HessianRequest.model_validate({"expression": "x", "format": "sparse"})
    allowance = work.sparse_allowance(request, job, GRAPH, 0, 1, True)
    with pytest.raises(Problem, match="13 numbers"):
        allowance.dense(13)
    assert budget.used == 0
    allowance.dense(12)
    assert budget.used == 2 * 12 * np.dtype(np.float64).itemsize


@pytest.mark.parametrize("text", ["x", "x*2", "sum(1, 2, 3, 4)", "where(x, 1, x)*x"])
def test_rows_of_a_drawing_are_counted_before_they_are_made(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Nodes, the numbers among their arguments, and edges."""
    counted: list[int] = []
    monkeypatch.setattr(work, "check", lambda *given, rows: counted.append(rows))
    graph = parse(text)
    request = GraphRequest.model_validate({"expression": text, "inputs": dict.fromkeys(graph.leaves, 1.0)})
    answer = drawn_graph(request, graph, job_with())
    (rows,) = counted
    assert len(answer.nodes) + len(answer.edges) <= rows <= 2 * (len(answer.nodes) + len(answer.edges))
