"""The solvers as a library, as the README shows them."""

import pytest

from app.engine import parse
from app.solvers import FitProblem, MinimizeProblem, Parameter, fit, measured, minimize, propagate


def test_a_minimum() -> None:
    graph = parse("(1 - x)**2 + 100*(y - x**2)**2")
    assert minimize(MinimizeProblem(graph, {"x": -1.2, "y": 1.0})).point == {"x": 1.0, "y": 1.0}


def test_a_fit() -> None:
    data = {"x": [0.0, 1, 2, 3], "y": [2.02, 1.19, 0.74, 0.45]}
    found = fit(FitProblem(parse("a*exp(-b*x)"), data, "y", {"a": Parameter(1), "b": Parameter(1)}))
    assert found.standard_errors["b"] == pytest.approx(0.0099, abs=5e-5)


def test_an_uncertainty() -> None:
    found = propagate(parse("V/I"), {"V": measured(4.999, 0.0032), "I": measured(0.019661, 9.5e-6)})
    relative = (0.0032 / 4.999) ** 2 + (9.5e-6 / 0.019661) ** 2
    assert found.results["output"].standard_uncertainty == pytest.approx(4.999 / 0.019661 * relative**0.5, rel=1e-12)
