"""Fits against the certified values of NIST's Statistical Reference Datasets for nonlinear regression.

https://www.itl.nist.gov/div898/strd/nls/nls_main.shtml. Certified values have 11 digits.
"""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.engine.text import parse
from app.solvers.curve import Curve
from app.solvers.fit import Fit, fit
from app.solvers.fit_problem import FitProblem, Parameter

PROBLEMS: list[dict[str, Any]] = json.loads((Path(__file__).parents[1] / "data/nist_regression.json").read_text())["problems"]
RUNS = [pytest.param(p, s, id=f"{p['name']}-{k}") for p in PROBLEMS for k, s in enumerate(p["starts"])]


def digits(found: float, certified: float) -> float:
    """How many digits are right, at most 11: NIST's log relative error."""
    return min(11.0, -math.log10(max(abs(found - certified) / abs(certified), 1e-99)))


def run(problem: dict[str, Any], start: dict[str, float]) -> Fit:
    data = {**problem["data"], "y": problem["target"]}
    return fit(FitProblem(parse(problem["expression"]), data, "y", {name: Parameter(x) for name, x in start.items()}))


@pytest.mark.parametrize(("problem", "start"), RUNS)
def test_certified_values(problem: dict[str, Any], start: dict[str, float]) -> None:
    found = run(problem, start)
    assert found.converged
    for name, certified in problem["certified"].items():
        assert digits(found.parameters[name], certified) >= 10.0, name
    for name, certified in problem.get("standard_errors", {}).items():
        assert digits(found.standard_errors[name], certified) >= 10.0, name
    assert digits(found.quality.residual_sum_of_squares, problem["rss"]) >= 9.0


def test_mean_of_the_digits() -> None:
    found = [
        digits(result.parameters[name], certified)
        for problem in PROBLEMS
        for start in problem["starts"]
        for result in [run(problem, start)]
        for name, certified in problem["certified"].items()
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
