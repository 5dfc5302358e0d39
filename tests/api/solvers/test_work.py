"""Estimated run times and memory of the solvers, term by term. Each amount is a number of its own."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from app.api.expressions.work import (
    BYTES_PER_NODE,
    BYTES_PER_NUMBER,
    BYTES_PER_ROW,
    BYTES_PER_SUM,
    SECONDS_PER_CHARACTER,
    SECONDS_PER_INSTRUCTION,
    SECONDS_PER_NUMBER,
)
from app.api.solvers import fit as fits
from app.api.solvers import minimize as minimization
from app.api.solvers import propagate as propagation
from app.api.solvers.fit import FitRequest
from app.api.solvers.minimize import MinimizeRequest
from app.api.solvers.propagate import PropagateRequest
from app.engine.text import parse as parse_text
from app.service.bodies import parse
from app.service.execution import Job
from app.service.memory import Budget, Share
from app.service.problems import Problem
from tests.rows import for_each
from tests.service.inprocess import job_with


def request_of(model: type[Any], body: dict[str, Any], more: dict[str, Any]) -> Any:
    """A request with some fields more, and without those that are None."""
    fields = {name: value for name, value in {**body, **more}.items() if value is not None}
    return parse(json.dumps(fields).encode(), model)


# --- minimization

SEARCH: dict[str, Any] = {"expression": "x*x+y*y", "initial": {"x": 1, "y": 2}}
"""7 characters, and so at most 8 nodes with the output."""
READ = 8 * SECONDS_PER_CHARACTER


def iteration(nodes: int, variables: int, points: int = 1) -> float:
    """SciPy's own time, a few walks for the value and for each variable, and a matrix of at most 1,000 rows factorized."""
    walks = 4 * nodes * points * SECONDS_PER_INSTRUCTION * (1 + variables)
    return minimization.SECONDS_PER_ITERATION + walks + min(variables, 1000) ** 3 * minimization.SECONDS_PER_CUBE


EXPECTED = minimization.EXPECTED_ITERATIONS
BOTH = {"constraints": [{"expression": "x+y", "equals": 1}]}
"""3 characters, and so at most 4 nodes."""
MANY = {f"x{k}": 1.0 for k in range(1001)}

SEARCHES: dict[str, tuple[dict[str, Any], float]] = {
    "two variables": ({}, READ + EXPECTED * iteration(8, 2)),
    "one variable": ({"initial": {"x": 1}, "inputs": {"y": 1}}, READ + EXPECTED * iteration(8, 1)),
    "iterations": ({"max_iterations": 7}, READ + 7 * iteration(8, 2)),
    "starts": ({"starts": 3, "bounds": {"x": [0, 1], "y": [0, 1]}}, READ + 3 * EXPECTED * iteration(8, 2)),
    "starts and iterations": (
        {"starts": 3, "max_iterations": 7, "bounds": {"x": [0, 1], "y": [0, 1]}},
        READ + 3 * 7 * iteration(8, 2),
    ),
    "points": ({"inputs": {"z": [1] * 5}}, READ + EXPECTED * iteration(8, 2, 5)),
    "longest list": ({"inputs": {"z": [1] * 5, "w": [1, 2], "v": 1}}, READ + EXPECTED * iteration(8, 2, 5)),
    "a constraint": (BOTH, READ + 4 * SECONDS_PER_CHARACTER + EXPECTED * iteration(8 + 4, 2)),
    "two constraints": (
        {"constraints": BOTH["constraints"] * 2},
        READ + 2 * 4 * SECONDS_PER_CHARACTER + EXPECTED * iteration(8 + 2 * 4, 2),
    ),
    "more variables than there are rows of a matrix": ({"initial": MANY}, READ + EXPECTED * iteration(8, 1001)),
}


@for_each(("more", "seconds"), SEARCHES.values())
def test_estimate_of_a_search(more: dict[str, Any], seconds: float) -> None:
    request = request_of(MinimizeRequest, SEARCH, more)
    assert minimization.estimate_seconds(request) == pytest.approx(seconds, rel=1e-12)


# --- fits

CURVE: dict[str, Any] = {
    "expression": "a*x+b",
    "data": {"x": [1, 2, 3, 4, 5, 6, 7]},
    "target": [1, 2, 3, 4, 5, 6, 7],
    "parameters": {"a": 1, "b": 1},
}
"""5 characters, and so at most 6 nodes with the output."""


def fit_seconds(rows: int, parameters: int, starts: int = 1) -> float:
    """A hundred evaluations of the curve, by a few walks, and of its Jacobian, besides reading it and the least of a fit."""
    each = 4 * 6 * rows * SECONDS_PER_INSTRUCTION + rows * parameters * SECONDS_PER_NUMBER
    return 6 * SECONDS_PER_CHARACTER + fits.SECONDS_PER_FIT + 100 * starts * each


FITS: dict[str, tuple[dict[str, Any], float]] = {
    "line": ({}, fit_seconds(7, 2)),
    "one parameter": ({"parameters": {"a": 1}, "data": {"x": [1] * 7, "b": 1}}, fit_seconds(7, 1)),
    "starts": ({"starts": 3, "bounds": {"a": [0, 1], "b": [0, 1]}}, fit_seconds(7, 2, 3)),
    "rows of the data": ({"data": {"x": [1] * 9}}, fit_seconds(9, 2)),
    "rows of the target": ({"target": [1] * 9}, fit_seconds(9, 2)),
    "rows of a prediction": ({"predict": {"x": [1] * 11}}, fit_seconds(11, 2)),
    "fewer rows of a prediction": ({"predict": {"x": [1] * 3}}, fit_seconds(7, 2)),
}


@pytest.mark.parametrize(("more", "seconds"), FITS.values(), ids=FITS)
def test_estimate_of_a_fit(more: dict[str, Any], seconds: float) -> None:
    assert fits.estimate_fit(request_of(FitRequest, CURVE, more)) == pytest.approx(seconds, rel=1e-12)


# --- uncertainty

MEASURED = {"x": {"value": 1, "u": 0.1}, "y": {"value": 2, "u": 0.1}}
BUDGET: dict[str, Any] = {"expression": "p=x*y;q=x+y;r=x-y", "inputs": MEASURED}
"""17 characters, and so at most 18 nodes with the output."""
READ_BUDGET = 18 * SECONDS_PER_CHARACTER


def first_order(inputs: int, outputs: int) -> float:
    """Fifty numbers of the response for each output and each of its inputs; two passes and one per input or output."""
    return outputs * (inputs + 1) * 50 * SECONDS_PER_NUMBER + 4 * 18 * (2 + min(inputs, outputs)) * SECONDS_PER_INSTRUCTION


def second_order(inputs: int, outputs: int) -> float:
    """For each output a graph of its derivatives, twice as large as that of first ones, and walks by each two inputs."""
    nodes = 2 * propagation.NODES_PER_RULE * 18
    return outputs * (nodes * propagation.SECONDS_PER_RULE + 4 * nodes * (inputs + 1) ** 2 * SECONDS_PER_INSTRUCTION)


def simulation(inputs: int, outputs: int, samples: int) -> float:
    """Each sample is drawn for each input, evaluated, and sorted for each output."""
    each = 18 * SECONDS_PER_INSTRUCTION + inputs * propagation.SECONDS_PER_DRAW + outputs * propagation.SECONDS_PER_SAMPLE
    return samples * each


THREE = {"outputs": ["p", "q", "r"]}
ONE_INPUT = {"inputs": {"x": MEASURED["x"]}}

BUDGETS: dict[str, tuple[dict[str, Any], float]] = {
    "one output": ({}, first_order(2, 1)),
    "one input": (ONE_INPUT, first_order(1, 1)),
    "three outputs": (THREE, first_order(2, 3)),
    "three outputs of one input": (THREE | ONE_INPUT, first_order(1, 3)),
    "correlations": ({"correlations": [["x", "y", 0.5]] * 300}, first_order(2, 1) + 300**2 * 1e-8),
    "second order": ({"order": 2}, first_order(2, 1) + second_order(2, 1)),
    "second order of one input": ({"order": 2} | ONE_INPUT, first_order(1, 1) + second_order(1, 1)),
    "second order of three outputs": ({"order": 2} | THREE, first_order(2, 3) + second_order(2, 3)),
    "samples": ({"monte_carlo": {"samples": 1000}}, first_order(2, 1) + simulation(2, 1, 1000)),
    "twice the samples": ({"monte_carlo": {"samples": 2000}}, first_order(2, 1) + simulation(2, 1, 2000)),
    "samples of one input": ({"monte_carlo": {"samples": 1000}} | ONE_INPUT, first_order(1, 1) + simulation(1, 1, 1000)),
    "samples of three outputs": ({"monte_carlo": {"samples": 1000}} | THREE, first_order(2, 3) + simulation(2, 3, 1000)),
}


@for_each(("more", "seconds"), BUDGETS.values())
def test_estimate_of_a_propagation(more: dict[str, Any], seconds: float) -> None:
    request = request_of(PropagateRequest, BUDGET, more)
    assert propagation.estimate_propagation(request) == pytest.approx(READ_BUDGET + seconds, rel=1e-12)


# --- memory


def held(hold: Callable[[Job], object]) -> int:
    """The bytes that a job holds."""
    budget = Budget(1 << 40)
    job = job_with()
    job.share = Share(budget)
    hold(job)
    return budget.used


@pytest.mark.parametrize(
    ("more", "numbers", "entries", "nodes"),
    [
        pytest.param({}, 7 + 2 * 2**2, 7 * (2 + 8) + 2**2, 5, id="residuals, covariance and correlation"),
        pytest.param({"data": {"x": [1] * 9}, "target": [1] * 9}, 9 + 2 * 2**2, 9 * (2 + 8) + 2**2, 5, id="rows"),
        pytest.param(
            {"expression": "a*x+b+c", "parameters": {"a": 1, "b": 1, "c": 1}},
            7 + 2 * 3**2,
            7 * (3 + 8) + 3**2,
            7,
            id="parameters",
        ),
        pytest.param({"predict": {"x": [1, 2]}}, 7 * 6 + 2 * 2**2, 7 * (2 + 8) + 2**2, 5, id="predictions and intervals"),
        pytest.param({"influence": True}, 7 * 3 + 2 * 2**2, 7 * (2 + 8) + 2**2, 5, id="influence"),
        pytest.param(
            {"influence": True, "predict": {"x": [1] * 9}}, 9 * 8 + 2 * 2**2, 9 * (2 + 8) + 2**2, 5, id="both, of more rows"
        ),
    ],
)
def test_memory_of_a_fit(more: dict[str, Any], numbers: int, entries: int, nodes: int) -> None:
    """The numbers of the response, and the Jacobian with eight columns and the normal matrix more."""
    request = request_of(FitRequest, CURVE, more)
    graph = parse_text(str(request.expression))
    assert len(graph.nodes) == nodes
    expected = nodes * BYTES_PER_NODE + numbers * BYTES_PER_NUMBER + entries * fits.BYTES_PER_ENTRY
    assert held(lambda job: fits._check(request, graph, job)) == expected
    fits._check(
        request, graph, job_with(max_numbers=max(numbers, entries - len(request.parameters) ** 2 - 8 * fits._rows(request)))
    )
    with pytest.raises(Problem, match="AUTODIFF_MAX_NUMBERS"):
        fits._check(request, graph, job_with(max_numbers=numbers - 1))


def related(n: int) -> dict[str, Any]:
    """A chain of correlated inputs."""
    return {"correlations": [[f"x{k}", f"x{k + 1}", 0.1] for k in range(n - 1)]}


def chain(n: int) -> dict[str, Any]:
    """A sum of `n` inputs, in `2 n - 1` nodes."""
    names = [f"x{k}" for k in range(n)]
    return {"expression": "+".join(names), "inputs": {name: {"value": 1, "u": 0.1} for name in names}}


@pytest.mark.parametrize(
    ("more", "matrices", "rules", "samples", "outputs", "inputs"),
    [
        pytest.param(chain(2), 5 * 2 + 1, 0, 0, 1, 2, id="budget"),
        pytest.param(chain(3), 5 * 3 + 1, 0, 0, 1, 3, id="inputs"),
        pytest.param(chain(3) | {"inputs": chain(2)["inputs"] | {"x2": 1}}, 5 * 2 + 1, 0, 0, 1, 2, id="exact input"),
        pytest.param(chain(3) | related(3), 5 * 3 + 1 + 4 * 3**2, 0, 0, 1, 3, id="correlations"),
        pytest.param(chain(2) | {"order": 2}, 5 * 2 + 1 + 3 * 2**2, 2, 0, 1, 2, id="second order"),
        pytest.param(chain(3) | {"order": 2}, 5 * 3 + 1 + 3 * 3**2, 4, 0, 1, 3, id="second order of three inputs"),
        pytest.param(chain(2) | {"monte_carlo": {"samples": 70}}, 5 * 2 + 1, 0, 70, 1, 2, id="samples"),
        pytest.param(
            {"expression": "p=x*y;q=x+y", "outputs": ["p", "q"], "inputs": MEASURED, "monte_carlo": {"samples": 70}},
            2 * (5 * 2 + 2),
            0,
            70,
            2,
            2,
            id="samples of two outputs",
        ),
    ],
)
def test_memory_of_a_propagation(
    more: dict[str, Any], matrices: int, rules: int, samples: int, outputs: int, inputs: int
) -> None:
    """`rules` is the number of arguments of all nodes, each of which has a rule of several nodes."""
    request = request_of(PropagateRequest, {}, more)
    graph = work_graph(request)
    nodes = len(graph.nodes) + rules * propagation.NODES_PER_RULE
    expected = nodes * BYTES_PER_NODE + matrices * BYTES_PER_NUMBER + outputs * (inputs + 1) * BYTES_PER_ROW
    expected += (propagation.BYTES_PER_BLOCK + samples * outputs * propagation.BYTES_PER_SAMPLE) if samples else 0
    assert held(lambda job: propagation._check(request, graph, job)) == expected


def work_graph(request: PropagateRequest) -> Any:
    """The graph of a text with its outputs."""
    graph = parse_text(str(request.expression))
    outputs = tuple(request.outputs or graph.outputs)
    return type(graph)(graph.nodes, outputs, graph.names, "text")


@pytest.mark.parametrize(
    ("more", "variables", "constraints", "numbers", "sums"),
    [
        pytest.param({}, 2, 0, 2 * (2 + 2), 0, id="two variables"),
        pytest.param({"initial": {"x": 1}, "inputs": {"y": 1}}, 1, 0, 2 * (1 + 2), 0, id="one variable"),
        pytest.param(BOTH, 2, 1, 2 * (2 + 2), 0, id="a constraint"),
        pytest.param({"trajectory": True, "max_iterations": 7}, 2, 0, (2 + 8) * (2 + 2), 0, id="a trajectory"),
        pytest.param({"trajectory": True}, 2, 0, (2 + 1001) * (2 + 2), 0, id="the longest trajectory"),
        pytest.param(
            {"expression": "x*x+y*z", "inputs": {"z": [1] * 5}, "reduce": "sum"}, 2, 0, 2 * (2 + 2), 1 + 2 + 4, id="sums"
        ),
    ],
)
def test_memory_of_a_search(more: dict[str, Any], variables: int, constraints: int, numbers: int, sums: int) -> None:
    """Matrices of the variables and of the constraints by them; thirty vectors for each function; sums over the points."""
    request = request_of(MinimizeRequest, SEARCH, more)
    of_constraints = 3 * constraints
    expected = (
        minimization.BYTES_PER_SEARCH
        + minimization.BYTES_PER_ENTRY * (variables**2 + constraints * variables)
        + 8 * 30 * (1 + constraints) * variables
        + BYTES_PER_NODE * of_constraints
        + BYTES_PER_SUM * sums
        + minimization.BYTES_PER_VALUE * numbers
    )

    def hold(job: Job) -> None:
        problem = minimization._problem(request, job_with())
        minimization._check(request, problem, job)

    assert held(hold) == expected + BYTES_PER_NODE * len(parse_text(str(request.expression)).nodes)


def test_default_iterations_grow_with_the_variables() -> None:
    """Twenty per variable from fifty variables on, at least a thousand; each is a row of a trajectory."""
    for n, iterations in ((49, 1000), (50, 1000), (51, 1020)):
        body = {"expression": "+".join(MANY.keys() & {f"x{k}" for k in range(n)}), "initial": dict(list(MANY.items())[:n])}
        request = request_of(MinimizeRequest, body, {"trajectory": True})
        numbers = (2 + iterations + 1) * (n + 2)
        problem = minimization._problem(request, job_with())
        minimization._check(request, problem, job_with(max_numbers=numbers))
        with pytest.raises(Problem, match=f"the trajectory may have {numbers:,} numbers"):
            minimization._check(request, problem, job_with(max_numbers=numbers - 1))


def test_matrices_end_where_variables_are_more_than_the_limit() -> None:
    """A method without matrices needs memory for vectors only."""
    request = request_of(MinimizeRequest, SEARCH, {"method": "l-bfgs-b"})
    problem = minimization._problem(request, job_with())

    def bytes_at(limit: int) -> int:
        budget = Budget(1 << 40)
        job = job_with(max_variables=limit)
        job.share = Share(budget)
        minimization._check(request, problem, job)
        return budget.used

    assert bytes_at(2) - bytes_at(1) == minimization.BYTES_PER_ENTRY * 2**2
