"""Limits on requests about expressions, and the estimates of their run time."""

import math
from typing import Any

import numpy as np
import pytest

from app.api.expressions import work
from app.api.expressions.models import BackwardRequest, HessianRequest, HvpRequest
from app.engine.text import parse
from app.service.execution import Job
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
    ("field", "given", "pointer"),
    [("inputs", {"y": 1.0, "a/b": np.zeros(4)}, "/inputs/a~1b"), ("cotangent", {"": np.zeros(4)}, "/cotangent")],
)
def test_too_many_points(field: str, given: Any, pointer: str) -> None:
    problem = refusal(job_with(max_points=3), 1, 1, ("tangents", {}), (field, given))
    assert "has 4 numbers; the limit is 3, and AUTODIFF_MAX_POINTS raises it" in problem.detail
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
