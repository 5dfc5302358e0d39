"""Limits on requests about expressions, and the estimates of their run time."""

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from app.api.expressions import derivatives, work
from app.api.expressions.derivatives import CodeRequest, DerivativeRequest
from app.api.expressions.drawn import drawn_graph
from app.api.expressions.models import (
    BackwardRequest,
    CheckRequest,
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
    SECONDS_PER_ENTRY,
    SECONDS_PER_INSTRUCTION,
    SECONDS_PER_NODE,
    SECONDS_PER_NUMBER,
)
from app.engine.graph import Graph
from app.engine.text import parse
from app.formats.code import READABLE
from app.service.bodies import parse as parse_body
from app.service.execution import Job
from app.service.memory import Budget, Share
from app.service.models import RequestModel
from app.service.problems import Problem
from tests.rows import for_each
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


Terms = dict[str, tuple[type[RequestModel], dict[str, Any], float]]

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


DERIVATIVE: Terms = {
    "text": (
        DerivativeRequest,
        {"expression": TEXT},
        READ_TEXT + 6 * (derivatives.SECONDS_PER_NODE + derivatives.SECONDS_PER_FORM),
    ),
    "graph": (
        DerivativeRequest,
        {"expression": NODES},
        READ_NODES + 3 * (derivatives.SECONDS_PER_NODE + derivatives.SECONDS_PER_FORM),
    ),
    "the longest text of which formulas are written": (
        DerivativeRequest,
        {"expression": "x".ljust(READABLE - 1)},
        READABLE * (SECONDS_PER_CHARACTER + derivatives.SECONDS_PER_NODE + derivatives.SECONDS_PER_FORM),
    ),
    "one of which none are": (
        DerivativeRequest,
        {"expression": "x".ljust(READABLE)},
        (READABLE + 1) * (SECONDS_PER_CHARACTER + derivatives.SECONDS_PER_NODE),
    ),
}


def written(nodes: int, times: int) -> float:
    """An expression that is made and written so many times."""
    return nodes * times * (derivatives.SECONDS_PER_NODE + derivatives.SECONDS_PER_FORM)


CODE: Terms = {
    "none": (CodeRequest, {"expression": TEXT, "language": "c", "derivatives": "none"}, READ_TEXT + written(6, 1)),
    "default": (CodeRequest, {"expression": TEXT, "language": "c"}, READ_TEXT + written(6, 2)),
    "gradient": (CodeRequest, {"expression": TEXT, "language": "c", "derivatives": "gradient"}, READ_TEXT + written(6, 2)),
    "hessian by what may be all nodes": (
        CodeRequest,
        {"expression": NODES, "language": "c", "derivatives": "hessian"},
        READ_NODES + written(3, 1 + 3),
    ),
    "hessian": (
        CodeRequest,
        {"expression": TEXT, "language": "c", "derivatives": "hessian", "wrt": ["x", "y"]},
        READ_TEXT + written(6, 1 + 2),
    ),
    "gradient by two, which are written at once": (
        CodeRequest,
        {"expression": TEXT, "language": "c", "derivatives": "gradient", "wrt": ["x", "y"]},
        READ_TEXT + written(6, 2),
    ),
}

MATHJSON: Terms = {
    "entries": (ParseRequest, {"expression": ["Add", "x", ["Multiply", "x", "y"]]}, 6 * SECONDS_PER_ENTRY),
    "nodes": (
        ForwardRequest,
        {"expression": ["Add", "x", ["Multiply", "x", "y"]]},
        6 * SECONDS_PER_ENTRY + few_walks(2 * 6 + 1, 2 * 6 + 1),
    ),
}


def seconds_of(estimate: Callable[[Any], float], model: type[RequestModel], body: dict[str, Any]) -> float:
    """The estimate for a request."""
    return estimate(parse_body(json.dumps(body).encode(), model))


@pytest.mark.parametrize(("model", "body", "seconds"), PARSING.values(), ids=PARSING)
def test_estimate_of_parsing(model: type[RequestModel], body: dict[str, Any], seconds: float) -> None:
    assert seconds_of(work.estimate_parsing, model, body) == pytest.approx(seconds, rel=1e-12)


@for_each(("model", "body", "seconds"), EVALUATION.values())
def test_estimate_of_an_evaluation(model: type[RequestModel], body: dict[str, Any], seconds: float) -> None:
    assert seconds_of(work.estimate_evaluation, model, body) == pytest.approx(seconds, rel=1e-12)


@for_each(("model", "body", "seconds"), MATRIX.values())
def test_estimate_of_a_matrix(model: type[RequestModel], body: dict[str, Any], seconds: float) -> None:
    assert seconds_of(work.estimate_matrix, model, body) == pytest.approx(seconds, rel=1e-12)


@pytest.mark.parametrize(("model", "body", "seconds"), DRAWING.values(), ids=DRAWING)
def test_estimate_of_a_drawing(model: type[RequestModel], body: dict[str, Any], seconds: float) -> None:
    assert seconds_of(work.estimate_drawing, model, body) == pytest.approx(seconds, rel=1e-12)


@pytest.mark.parametrize(("model", "body", "seconds"), CHECK.values(), ids=CHECK)
def test_estimate_of_a_check(model: type[RequestModel], body: dict[str, Any], seconds: float) -> None:
    assert seconds_of(work.estimate_check, model, body) == pytest.approx(seconds, rel=1e-12)


@pytest.mark.parametrize(("model", "body", "seconds"), DERIVATIVE.values(), ids=DERIVATIVE)
def test_estimate_of_a_derivative(model: type[RequestModel], body: dict[str, Any], seconds: float) -> None:
    assert seconds_of(derivatives.estimate_derivative, model, body) == pytest.approx(seconds, rel=1e-12)


@pytest.mark.parametrize(("model", "body", "seconds"), CODE.values(), ids=CODE)
def test_estimate_of_source_code(model: type[RequestModel], body: dict[str, Any], seconds: float) -> None:
    assert seconds_of(derivatives.estimate_code, model, body) == pytest.approx(seconds, rel=1e-12)


@pytest.mark.parametrize(("model", "body", "seconds"), MATHJSON.values(), ids=MATHJSON)
def test_estimate_of_mathjson(model: type[RequestModel], body: dict[str, Any], seconds: float) -> None:
    estimate = work.estimate_parsing if model is ParseRequest else work.estimate_evaluation
    assert seconds_of(estimate, model, body) == pytest.approx(seconds, rel=1e-12)


def test_work_that_a_request_does_not_show_takes_an_unknown_time() -> None:
    assert seconds_of(work.estimate_unknown, CheckRequest, {"expression": "x", "inputs": {"x": 1}}) == math.inf


@pytest.mark.parametrize("letter", ["x", "é", "変", "𐎠"])
def test_text_is_measured_in_bytes(letter: str) -> None:
    size = 10 * len(letter.encode())
    work.check_text(letter * 10, job_with(max_text=size), ("expression",))
    with pytest.raises(Problem, match=f"the text has {size} bytes; the limit is {size - 1}, and AUTODIFF_MAX_TEXT") as caught:
        work.check_text(letter * 10, job_with(max_text=size - 1), ("expression",))
    assert [error.pointer for error in caught.value.errors] == ["/expression"]


COUNTS: dict[str, tuple[Callable[[int, Job], object], str, int]] = {
    "nodes": (lambda count, job: work.check_nodes(count, job, ("expression", "nodes")), "max_nodes", 1),
    "arguments": (lambda count, job: work.check_arguments(count, job, ("expression", "nodes")), "max_nodes", 4),
    "entries of MathJSON": (lambda count, job: work.check_entries(count, job, ("expression",)), "max_nodes", 1),
    "nodes of a derivative": (lambda count, job: derivatives._check(job, GRAPH, count), "max_nodes", 0),
    "numbers": (lambda count, job: work.check_numbers(job, count), "max_numbers", 1),
    "points of a picture": (lambda count, job: work.check_drawn(job, count, "points", ("data",)), "max_drawn_points", 1),
    "nodes of a picture": (lambda count, job: work.check_picture(job, count), "max_drawn_nodes", 1),
    "steps": (lambda count, job: work.check_work(job, count, 1, 1), "max_work", 1),
    "steps at points": (lambda count, job: work.check_work(job, 1, count, 1), "max_work", 1),
    "steps of passes": (lambda count, job: work.check_work(job, 1, 1, count), "max_work", 1),
}


@for_each(("count", "setting", "times"), COUNTS.values())
def test_counts_at_the_limit(count: Callable[[int, Job], object], setting: str, times: int) -> None:
    """Derivatives may have as many nodes as arguments, of the four nodes of `GRAPH`."""
    job, most = job_with(**{setting: 5}), 5 * (times or 1)
    count(most, job)
    shown = "20" if setting == "max_nodes" and times != 1 else "5"
    with pytest.raises(Problem, match=f"the limit is {shown}, and AUTODIFF_{setting.upper()} raises it"):
        count(most + 1, job)


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


def test_memory_of_reading() -> None:
    job, budget = with_memory()
    work.check_text("é" * 7, job, ("expression",))
    assert budget.used == 7 * work.BYTES_PER_CHARACTER
    work.check_entries(70, job, ("expression",))
    assert budget.used == 70 * work.BYTES_PER_ENTRY


def test_memory_of_pictures_comes_on_top() -> None:
    job, budget = with_memory()
    job.reserve(1000)
    work.check_picture(job, 7)
    assert budget.used == 1000 + 7 * work.BYTES_PER_DRAWN_NODE
    work.reserve_picture(job, 5)
    assert budget.used == 1000 + 7 * work.BYTES_PER_DRAWN_NODE + work.BYTES_PER_PICTURE + 5 * work.BYTES_PER_DRAWN_NUMBER


@pytest.mark.parametrize("times", [1, 3])
def test_memory_of_derivatives(times: int) -> None:
    job, budget = with_memory()
    derivatives._check(job, GRAPH, times)
    assert budget.used == 4 * times * derivatives.BYTES_PER_NODE and job.facts["nodes"] == 4


def test_memory_of_derivatives_that_are_written_comes_on_top() -> None:
    """Each with all that it needs: the product and its leaves twice, the sum besides."""
    job, budget = with_memory()
    graph = Graph(parse("p = x*y; q = p + x").nodes, ("x", "p", "q"), ("x", "y", "p", "q"), "text")
    assert derivatives._may_be_written(graph, job)
    assert budget.used == (3 + 4) * derivatives.BYTES_PER_WRITTEN_NODE


@pytest.mark.parametrize(
    ("points", "columns", "per_entry", "numbers"),
    [
        pytest.param(1, True, BYTES_PER_NUMBER, 5, id="one point"),
        pytest.param(1, False, BYTES_PER_NUMBER, 5, id="one point, equal everywhere"),
        pytest.param(7, True, 7 * BYTES_PER_NUMBER, 5 * 7, id="points"),
        pytest.param(7, False, BYTES_PER_SUM, 5, id="sums over points"),
    ],
)
def test_memory_of_a_sparse_matrix(points: int, columns: bool, per_entry: int, numbers: int) -> None:
    """Five entries with their places, and one step per point."""
    request = HessianRequest(expression="x", inputs={"x": np.zeros(points)} if points > 1 else {})

    def plan(**limits: int) -> int:
        job, budget = with_memory(**limits)
        job.reserve(1000)
        work.sparse_allowance(request, job, GRAPH, 3, 2, columns).plan(9, 5)
        return budget.used

    assert plan(max_numbers=3 + numbers, max_work=9 * points) == 1000 + 5 * (work.BYTES_PER_PLACE + per_entry)
    with pytest.raises(Problem, match="AUTODIFF_MAX_NUMBERS"):
        plan(max_numbers=3 + numbers - 1)
    with pytest.raises(Problem, match="AUTODIFF_MAX_WORK"):
        plan(max_work=9 * points - 1)


def test_steps_of_edge_pushing_are_at_least_one_and_two_per_number() -> None:
    request = HessianRequest(expression="x")
    assert work.sparse_allowance(request, job_with(max_numbers=7), GRAPH, 0, 1, True).most_steps == 14


def test_work_of_a_matrix_that_fills_in() -> None:
    """Four nodes, seven points and two passes."""
    request = HessianRequest(expression="x", inputs={"x": np.zeros(7)})
    work.sparse_allowance(request, job_with(max_work=56), GRAPH, 0, 2, True).dense(1)
    with pytest.raises(Problem, match="4 nodes, 7 points and 2 passes are 56 steps of work; the limit is 55"):
        work.sparse_allowance(request, job_with(max_work=55), GRAPH, 0, 2, True).dense(1)


@for_each(
    ("reduce", "inputs", "wrt", "sums"),
    [
        ("none", {}, None, 0),
        ("sum", {}, None, 3),
        ("mean", {}, None, 3),
        ("sum", {"x": [1.0, 2.0]}, ["x"], 3),
        ("sum", {"x": [1.0, 2.0]}, ["x", "y"], 3 * 2),
        ("sum", {"x": 1.0}, ["x", "y"], 3 * 3),
        ("sum", {}, ["p", "x"], 3 * 2),
        ("sum", {}, [], 3),
    ],
)
def test_numbers_that_are_sums(reduce: Any, inputs: dict[str, Any], wrt: list[str] | None, sums: int) -> None:
    """Values are, and derivatives by leaves that are one number; by a list there is one per point, as by an operation."""
    given = {name: np.array(value) if isinstance(value, list) else value for name, value in inputs.items()}
    request = JacobianRequest.model_construct(expression="x", inputs=given, reduce=reduce)
    assert work.count_sums(request, parse("p = x*y; p + x"), 3, wrt) == sums


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
