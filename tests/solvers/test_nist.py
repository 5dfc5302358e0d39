"""Fits against the certified values of NIST's Statistical Reference Datasets for nonlinear regression.

https://www.itl.nist.gov/div898/strd/nls/nls_main.shtml. Certified values have 11 digits.
"""

import json
import math
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.engine.text import parse
from app.solvers.curve import Curve
from app.solvers.fit import Fit, fit
from app.solvers.fit_problem import FitProblem, Parameter

PROBLEMS: list[dict[str, Any]] = json.loads((Path(__file__).parents[1] / "data/nist_regression.json").read_text())["problems"]
RUNS = [(k, j) for k, problem in enumerate(PROBLEMS) for j in range(len(problem["starts"]))]


def digits(found: float, certified: float) -> float:
    """How many digits are right, at most 11: NIST's log relative error."""
    return min(11.0, -math.log10(max(abs(found - certified) / abs(certified), 1e-99)))


def run(problem: dict[str, Any], start: dict[str, float]) -> Fit:
    data = {**problem["data"], "y": problem["target"]}
    return fit(FitProblem(parse(problem["expression"]), data, "y", {name: Parameter(x) for name, x in start.items()}))


@cache
def run_of(k: int, j: int) -> Fit:
    """The fit of a problem from one of its starts."""
    return run(PROBLEMS[k], PROBLEMS[k]["starts"][j])


@pytest.mark.parametrize(("k", "j"), RUNS, ids=[f"{PROBLEMS[k]['name']}-{j}" for k, j in RUNS])
def test_certified_values(k: int, j: int) -> None:
    problem, found = PROBLEMS[k], run_of(k, j)
    assert found.converged
    for name, certified in problem["certified"].items():
        assert digits(found.parameters[name], certified) >= 10.0, name
    for name, certified in problem.get("standard_errors", {}).items():
        assert digits(found.standard_errors[name], certified) >= 10.0, name
    assert digits(found.quality.residual_sum_of_squares, problem["rss"]) >= 9.0


def test_mean_of_the_digits() -> None:
    found = [
        digits(result.parameters[name], certified)
        for k, j in RUNS
        for result in [run_of(k, j)]
        for name, certified in PROBLEMS[k]["certified"].items()
    ]
    assert np.mean(found) >= 10.4 and min(found) >= 9.0


def test_no_value_is_taken_at_a_displaced_point(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each vector of parameters at which the curve is evaluated is a step of the search, never one beside another."""
    points: list[np.ndarray[Any, Any]] = []
    right = Curve.at

    def noted(self: Curve, point: Any) -> Any:
        if not points or not np.array_equal(points[-1], point):
            points.append(np.array(point))
        return right(self, point)

    monkeypatch.setattr(Curve, "at", noted)
    problem = next(p for p in PROBLEMS if p["name"] == "Gauss1")
    result = run(problem, problem["starts"][0])
    assert len(points) <= 2 * result.iterations + 12, "one evaluation per step, whatever the number of parameters"
    for a in points:
        for b in points:
            changed = np.flatnonzero(a != b)
            assert len(changed) != 1, "no single parameter is moved"


def test_a_fit_without_residuals_to_speak_of() -> None:
    """Lanczos1: the data are a sum of exponentials to 13 digits. Of the certified sum, 1.43e-25, decimals make the digits."""
    x = np.arange(24) * 0.05
    y = [float(f"{value:.12e}") for value in 0.0951 * np.exp(-x) + 0.8607 * np.exp(-3 * x) + 1.5576 * np.exp(-5 * x)]
    start = dict(zip(("b1", "b2", "b3", "b4", "b5", "b6"), (0.5, 0.7, 3.6, 4.2, 4.0, 6.3), strict=True))
    expression = "b1*exp(-b2*x) + b3*exp(-b4*x) + b5*exp(-b6*x)"
    found = run({"expression": expression, "data": {"x": x}, "target": y}, start)
    certified = (9.5100000027e-02, 1.0000000001, 8.6070000013e-01, 3.0000000002, 1.5575999998, 5.0000000001)
    assert found.converged
    for name, value in zip(start, certified, strict=True):
        assert digits(found.parameters[name], value) >= 10.0, name
