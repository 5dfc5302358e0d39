"""Estimated run times and memory of the bridges, term by term. Each amount is a number of its own."""

import json
import math
import weakref
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel

from app.api.bridges import tesseract_work, umbridge_work
from app.api.bridges.tesseract_models import TesseractAbstract, TesseractApply, TesseractJacobian, TesseractVJP
from app.api.bridges.tesseract_work import function_of
from app.api.bridges.umbridge_models import (
    UMBridgeApplyHessian,
    UMBridgeApplyJacobian,
    UMBridgeEvaluate,
    UMBridgeGradient,
    UMBridgeSizes,
)
from app.api.expressions import routes as expressions
from app.api.expressions.work import (
    BYTES_PER_CHARACTER,
    BYTES_PER_NODE,
    SECONDS_PER_CHARACTER,
    SECONDS_PER_INSTRUCTION,
    SECONDS_PER_NUMBER,
)
from app.api.networks.work import SECONDS_PER_LAYER, SECONDS_PER_PRODUCT, SECONDS_PER_WEIGHT
from app.service.bodies import parse
from app.service.execution import Job
from app.service.memory import Budget, Share
from app.service.problems import Problem
from tests.service.inprocess import job_with

TEXT = "p=x*y;q=x+y;r=x-y"
"""17 characters, and so at most 18 nodes with the output."""
READ = 18 * SECONDS_PER_CHARACTER
NETWORK = {"inputs": 5, "layers": [3, 2]}
"""21 weights in two layers."""
MADE = 21 * SECONDS_PER_WEIGHT + 2 * 10 * SECONDS_PER_LAYER


def walks(numbers: int, nodes: int = 18) -> float:
    """A few walks over an expression, and its numbers written."""
    return 4 * nodes * SECONDS_PER_INSTRUCTION + numbers * SECONDS_PER_NUMBER


# --- UM-Bridge

CONFIGS: dict[str, tuple[dict[str, Any], float]] = {
    "all inputs": ({"expression": TEXT}, walks(18)),
    "one input": ({"expression": TEXT, "inputs": ["x"]}, walks(1)),
    "two inputs": ({"expression": TEXT, "inputs": ["x", "y"]}, walks(2)),
    "one output": ({"expression": TEXT, "outputs": ["p"]}, walks(18)),
    "three outputs": ({"expression": TEXT, "outputs": ["p", "q", "r"]}, 3 * walks(18)),
    "three outputs of two inputs": ({"expression": TEXT, "inputs": ["x", "y"], "outputs": ["p", "q", "r"]}, 3 * walks(2)),
}


@pytest.mark.parametrize(("config", "seconds"), CONFIGS.values(), ids=CONFIGS)
def test_estimate_of_a_vector_function(config: dict[str, Any], seconds: float) -> None:
    """There are walks for each output."""
    body = json.dumps({"name": "expression", "config": config, "input": [[1, 2]]}).encode()
    request = parse(body, UMBridgeEvaluate)
    assert umbridge_work.estimate_evaluation(request) == pytest.approx(READ + seconds, rel=1e-12)
    assert umbridge_work.estimate_derivative(request) == pytest.approx(READ + seconds, rel=1e-12)
    assert umbridge_work.estimate_sizes(request) == pytest.approx(READ, rel=1e-12)


def test_estimate_of_a_network() -> None:
    body = json.dumps({"name": "network", "config": {"model": NETWORK}, "input": [[1, 2, 3, 4, 5]]}).encode()
    request = parse(body, UMBridgeEvaluate)
    assert umbridge_work.estimate_evaluation(request) == pytest.approx(MADE + 21 * SECONDS_PER_PRODUCT, rel=1e-12)
    assert umbridge_work.estimate_derivative(request) == math.inf
    sizes = json.dumps({"name": "network", "config": {"model": NETWORK}}).encode()
    assert umbridge_work.estimate_sizes(parse(sizes, UMBridgeSizes)) == pytest.approx(MADE, rel=1e-12)


SEVERAL: dict[str, dict[str, Any]] = {
    "Gradient": {"outWrt": 0, "inWrt": 0, "sens": [1.0, 2.0, 3.0]},
    "ApplyJacobian": {"outWrt": 0, "inWrt": 0, "vec": [1.0, 1.0]},
    "ApplyHessian": {"outWrt": 0, "inWrt1": 0, "inWrt2": 0, "sens": [1.0, 2.0, 3.0], "vec": [1.0, 1.0]},
}
WORK: dict[str, tuple[type[BaseModel], Any, str]] = {
    "Gradient": (UMBridgeGradient, umbridge_work.gradient, "backward"),
    "ApplyJacobian": (UMBridgeApplyJacobian, umbridge_work.apply_jacobian, "jvp"),
    "ApplyHessian": (UMBridgeApplyHessian, umbridge_work.apply_hessian, "hvp"),
}


def several_outputs(operation: str) -> Any:
    """A request for three outputs."""
    config = {"expression": TEXT, "outputs": ["p", "q", "r"]}
    body = {"name": "expression", "config": config, "input": [[3.0, 4.0]], **SEVERAL[operation]}
    return parse(json.dumps(body).encode(), WORK[operation][0])


@pytest.mark.parametrize("operation", SEVERAL)
def test_deadline_is_looked_at_before_each_output(operation: str) -> None:
    job = job_with()
    job.deadline = 0.0
    with pytest.raises(Problem) as caught:
        WORK[operation][1](several_outputs(operation), job)
    assert caught.value.kind.name == "deadline-exceeded"


@pytest.mark.parametrize("operation", SEVERAL)
def test_graphs_of_single_outputs_are_not_all_there_at_once(operation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With 10,000 outputs of as many nodes they would take gigabytes."""
    endpoint = WORK[operation][2]
    compute, made = getattr(expressions, endpoint), []

    def counted(request: Any, job: Job) -> Any:
        made.append(weakref.ref(request.expression))
        assert sum(graph() is not None for graph in made) <= 2  # this one, and the one before until the next is made
        return compute(request, job)

    monkeypatch.setattr(expressions, endpoint, counted)
    WORK[operation][1](several_outputs(operation), job_with())
    assert len(made) == 3


# --- Tesseract

PATH = "x*y*y"
"""5 characters, and so at most 6 nodes."""
READ_PATH = 6 * SECONDS_PER_CHARACTER
JACOBIAN = {"jac_inputs": ["x"], "jac_outputs": ["output"]}

ARRAYS: dict[str, tuple[dict[str, Any], int, int]] = {
    "numbers": ({"x": 1, "y": 2}, 1, 1),
    "a list and a number": ({"x": [1] * 7, "y": 2}, 7, 7 * 7),
    "a number and a list": ({"x": 1, "y": [2] * 7}, 7, 7),
    "a row and a column": ({"x": [[1] * 5], "y": [[2]] * 3}, 15, 15 * 5),
    "shapes that do not fit": ({"x": [1, 2], "y": [1, 2, 3]}, 1, 2),
}


@pytest.mark.parametrize(("inputs", "points", "entries"), ARRAYS.values(), ids=ARRAYS)
def test_estimate_of_arrays(inputs: dict[str, Any], points: int, entries: int) -> None:
    """Walks at all points. A Jacobian has a row for each point, and a column for each number of its inputs."""
    body = json.dumps({"inputs": inputs}).encode()
    found = tesseract_work.estimate_apply(parse(body, TesseractApply), PATH)
    assert found == pytest.approx(READ_PATH + points * walks(2, 6), rel=1e-12)
    jacobian = parse(json.dumps({"inputs": inputs, **JACOBIAN}).encode(), TesseractJacobian)
    expected = READ_PATH + points * walks(2, 6) + entries * SECONDS_PER_NUMBER
    assert tesseract_work.estimate_jacobian(jacobian, PATH) == pytest.approx(expected, rel=1e-12)


def test_estimate_of_a_jacobian_by_several_inputs() -> None:
    body = {"inputs": {"x": [1] * 7, "y": 2}, "jac_inputs": ["x", "y"], "jac_outputs": ["output"]}
    jacobian = parse(json.dumps(body).encode(), TesseractJacobian)
    expected = READ_PATH + 7 * walks(2, 6) + 7 * (7 + 1) * SECONDS_PER_NUMBER
    assert tesseract_work.estimate_jacobian(jacobian, PATH) == pytest.approx(expected, rel=1e-12)


class Unsearched(list[str]):
    """A list in which nothing is looked up: of 8,500 names in as many, that takes half a second, on the event loop."""

    def __contains__(self, name: object) -> bool:
        raise AssertionError(f"{name} is looked up in a list")


def test_names_of_a_jacobian_are_not_searched_one_by_one() -> None:
    request = TesseractJacobian.model_construct(inputs={"x": np.ones(2)}, jac_inputs=Unsearched(["x"]), jac_outputs=["output"])
    assert tesseract_work.estimate_jacobian(request, "x") > 0.0
    assert tesseract_work.jacobian(function_of("x", job_with()), request, job_with())["x"].tolist() == [[1.0, 0.0], [0.0, 1.0]]


def test_estimate_of_shapes() -> None:
    request = parse(b'{"inputs": {"x": {"shape": [1000]}, "y": {"shape": []}}}', TesseractAbstract)
    assert tesseract_work.estimate_abstract(request, PATH) == pytest.approx(5 * SECONDS_PER_CHARACTER, rel=1e-12)


def held(body: dict[str, Any], operation: Any, model: type[TesseractApply]) -> int:
    """The bytes that an operation on `x*y` holds."""
    job, budget = job_with(), Budget(1 << 40)
    job.share = Share(budget)
    operation(function_of("x*y", job), parse(json.dumps(body).encode(), model), job)
    return budget.used


NODES = 3 * BYTES_PER_NODE
"""x, y and their product."""


@pytest.mark.parametrize("points", [1, 7])
def test_memory_of_points(points: int) -> None:
    """A double per input and point, besides what an evaluation takes. It is held until the evaluation's own memory is."""
    function = function_of("x*y", job_with())
    job, budget = job_with(), Budget(1 << 40)
    job.share = Share(budget)
    request = parse(json.dumps({"inputs": {"x": [1] * points, "y": [2] * points}}).encode(), TesseractApply)
    tesseract_work.points_of(function, request, job)
    assert budget.used == np.dtype(np.float64).itemsize * 2 * points


def test_memory_of_a_jacobian_grows_with_its_entries(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many more bytes as there are more entries, for the same gradients."""
    body = {"inputs": {"x": [1] * 7, "y": [2] * 7}, **JACOBIAN}
    held_more: list[float] = []
    monkeypatch.setattr("app.service.execution.Job.reserve_more", lambda job, size: held_more.append(size))
    held(body, tesseract_work.jacobian, TesseractJacobian)
    assert held_more[-1] == tesseract_work.BYTES_PER_ENTRY * 7 * 7
    assert held_more.count(8 * 2 * 7) == 1


def test_memory_of_a_sum_over_points(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an input has one number for is summed from a copy of all points."""
    held_more: list[float] = []
    monkeypatch.setattr("app.service.execution.Job.reserve_more", lambda job, size: held_more.append(size))
    body = {
        "inputs": {"x": [[1] * 5] * 3, "y": [2] * 5},
        "vjp_inputs": ["y"],
        "vjp_outputs": ["output"],
        "cotangent_vector": {"output": [[1] * 5] * 3},
    }
    held(body, tesseract_work.vector_jacobian_product, TesseractVJP)
    assert held_more[-1] == 8 * 15


def test_sums_over_points_are_made_some_rows_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The work can be stopped before each part."""
    x = np.arange(15.0).reshape(3, 5)
    body = {
        "inputs": {"x": x.tolist(), "y": [1] * 5},
        "vjp_inputs": ["y"],
        "vjp_outputs": ["output"],
        "cotangent_vector": {"output": [[1] * 5] * 3},
    }
    checks: dict[int, int] = {}
    for rows in (5, 2):
        checks[rows] = 0

        def count(job: Job, rows: int = rows) -> None:
            checks[rows] += 1

        monkeypatch.setattr(tesseract_work, "EXACT_ROWS", rows)
        monkeypatch.setattr(Job, "check", count)
        job = job_with()
        request = parse(json.dumps(body).encode(), TesseractVJP)
        found = tesseract_work.vector_jacobian_product(function_of("x*y", job), request, job)
        assert np.asarray(found["y"]).tolist() == x.sum(0).tolist()
    assert checks[2] - checks[5] == 2


def test_text_in_a_path_is_paid_by_its_characters() -> None:
    job, budget = job_with(), Budget(1 << 40)
    job.share = Share(budget)
    function_of("x*y", job)
    assert budget.used == 3 * BYTES_PER_CHARACTER


def test_points_at_the_limit() -> None:
    function = function_of("x*y", job_with())
    request = parse(b'{"inputs": {"x": [[1, 2, 3]], "y": [[1], [2]]}}', TesseractApply)
    assert tesseract_work.points_of(function, request, job_with(max_points=6)).count == 6
    with pytest.raises(Problem, match="the arrays have 6 points; the limit is 5, and AUTODIFF_MAX_POINTS raises it"):
        tesseract_work.points_of(function, request, job_with(max_points=5))


def test_numbers_of_a_jacobian_at_the_limit() -> None:
    body = json.dumps({"inputs": {"x": [1] * 7, "y": 2}, **JACOBIAN}).encode()
    function, request = function_of("x*y", job_with()), parse(body, TesseractJacobian)
    assert tesseract_work.jacobian(function, request, job_with(max_numbers=49))["x"].shape == (7, 7)
    with pytest.raises(Problem, match="there would be 49 numbers; the limit is 48"):
        tesseract_work.jacobian(function, request, job_with(max_numbers=48))
