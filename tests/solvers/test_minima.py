"""Minima of published test functions, and how many evaluations they take."""

from typing import Any

import numpy as np
import pytest
from scipy import optimize

from app.engine.text import parse
from app.engine.transforms import evaluate
from app.solvers import objective as objective_module
from app.solvers.methods import METHODS
from app.solvers.minimize import Constraint, MinimizeOptions, MinimizeProblem, Minimum, minimize
from tests.rows import for_each
from tests.solvers.constrained import PROBLEMS as CONSTRAINED
from tests.solvers.constrained import Constrained
from tests.solvers.least_squares import PROBLEMS, LeastSquares


def rosenbrock(n: int) -> str:
    return " + ".join(f"100*(x{k + 1} - x{k}**2)**2 + (1 - x{k})**2" for k in range(1, n))


@pytest.mark.parametrize("row", PROBLEMS, ids=lambda row: row.name)
def test_least_squares_reach_a_published_minimum(row: LeastSquares) -> None:
    """In no more evaluations than SciPy's default, which takes difference quotients."""
    graph = parse(row.expression)
    found = minimize(MinimizeProblem(graph, row.start, row.inputs, {}))  # type: ignore[arg-type]  # numbers and lists
    assert found.converged, found.message
    distances = [abs(found.value - minimum) / (minimum or 1.0) for minimum in row.minima]
    assert min(distances) < 1e-5, found  # the paper prints six digits
    assert max(map(abs, found.gradients.values())) < 1e-2  # of the values of Meyer's function, 1e4 large, not a digit is left
    names = list(row.start)

    def value(x: Any) -> float:
        at: Any = {**row.inputs, **dict(zip(names, x.tolist(), strict=True))}
        total = evaluate(graph, at, reduce="sum")[graph.output]
        return float(total) if np.isfinite(total) else float("inf")

    with np.errstate(all="ignore"):
        scipys = optimize.minimize(value, np.array(list(row.start.values())))
    assert found.evaluations <= scipys.nfev


@pytest.mark.parametrize("n", [10, 100])
def test_rosenbrock_in_many_variables_reaches_zero(n: int) -> None:
    found = minimize(MinimizeProblem(parse(rosenbrock(n)), {f"x{k}": 0.5 for k in range(1, n + 1)}, {}, {}))
    assert found.converged and found.value == 0.0
    assert set(found.point.values()) == {1.0} and set(found.gradients.values()) == {0.0}
    assert found.evaluations < 60


# --- constraints


def solve(row: Constrained, **options: Any) -> Minimum:
    rows = [Constraint(parse(text), equals=0.0) for text in row.equations]
    rows += [Constraint(parse(text), lower=0.0) for text in row.inequalities]
    return minimize(MinimizeProblem(parse(row.expression), row.initial, {}, row.bounds, rows), MinimizeOptions(**options))


def slopes(text: str, point: dict[str, float]) -> Any:
    """The gradient of a text at a point in forward mode of SciPy's complex step: another program's derivative."""
    names = list(point)
    code = compile(text, "text", "eval")
    functions = {name: getattr(np, name) for name in ("sin", "cos", "exp", "log")} | {"pi": np.pi}
    gradient = []
    for name in names:
        at = {k: complex(number, 1e-200 * (k == name)) for k, number in point.items()}
        gradient.append(complex(eval(code, functions, at)).imag / 1e-200)
    return np.array(gradient)


def assert_meets_conditions(row: Constrained, found: Minimum) -> None:
    """The multipliers satisfy the conditions of Karush, Kuhn and Tucker, with derivatives that are not ours."""
    gradient = slopes(row.expression, found.point)
    size = max(1.0, float(np.abs(gradient).max()))
    left = gradient.copy()
    texts = [*row.equations, *row.inequalities]
    functions = {name: getattr(np, name) for name in ("sin", "cos", "exp", "log")} | {"pi": np.pi}
    for k, (text, multiplier) in enumerate(zip(texts, found.constraint_multipliers, strict=True)):
        left -= multiplier * slopes(text, found.point)
        value = eval(compile(text, "text", "eval"), functions, dict(found.point))
        if k < len(row.equations):
            assert abs(value) < 1e-6
        else:
            assert value > -1e-6 and multiplier >= 0.0 and abs(value * multiplier) < 1e-6 * size
    names = list(found.point)
    for name, multiplier in found.bound_multipliers.items():
        left[names.index(name)] -= multiplier
        low, high = row.bounds[name]
        x = found.point[name]
        assert (low is None or x >= low) and (high is None or x <= high)
        if multiplier > 0.0:
            assert low is not None and (x - low) * multiplier < 1e-6 * size
        if multiplier < 0.0:
            assert high is not None and (high - x) * -multiplier < 1e-6 * size
    assert np.abs(left).max() < 1e-6 * size


@for_each("row", CONSTRAINED)
def test_constrained_problems_have_their_published_solutions(row: Constrained) -> None:
    found = solve(row)
    assert found.converged, found.message
    assert abs(found.value - row.value) <= 1e-6 * (abs(row.value) or 1.0)
    assert_meets_conditions(row, found)


@for_each("method", ["slsqp", "trust-constr"])
@for_each("number", [7, 11, 30, 43, 71, 100])
def test_methods_that_keep_to_constraints_find_the_same(method: Any, number: int) -> None:
    (row,) = (row for row in CONSTRAINED if row.number == number)
    found = solve(row, method=method)
    assert found.converged and found.method == method
    assert abs(found.value - row.value) <= 1e-6 * abs(row.value)
    assert_meets_conditions(row, found)


def test_wrong_sign_of_a_constraint_is_noticed() -> None:
    """So the checks above can fail."""
    row = Constrained(0, "(x1 - 3)**2", (0.0,), 4.0, (), ("1 - x1",))
    found = solve(row)
    assert_meets_conditions(row, found)
    with pytest.raises(AssertionError):
        assert_meets_conditions(Constrained(0, "(x1 - 3)**2", (0.0,), 4.0, (), ("x1 - 1",)), found)


# --- no difference quotients


class Recorder:
    """Records every point that is walked, in place of the engine's class."""

    points: list[Any]

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.points = points = []
        walk: Any = vars(objective_module)["PointWalk"]

        def recorded(tape: Any, numbers: Any, *rest: Any) -> Any:
            points.append(np.array(numbers))
            return walk(tape, numbers, *rest)

        monkeypatch.setattr(objective_module, "PointWalk", recorded)

    def displaced(self) -> int:
        """How many points differ from an earlier one in a single number, and there only by a difference quotient's step."""
        count = 0
        for k, x in enumerate(self.points):
            for other in self.points[:k]:
                apart = np.sort(np.abs(x - other)) if len(x) == len(other) else np.ones(1)
                is_last_digit = apart[-1] < 1e-13  # in which the end of a search may differ, and no difference quotient
                count += bool(not is_last_digit and apart[-1] < 1e-4 and not apart[:-1].any())
        return count


COUPLED = "x1**2 + x2**2 + x3**2 - x1*x2 - x2*x3 + exp(0.1*(x1 + x2 - x3)) + sin(x1*x3)"
START = {"x1": 0.7, "x2": -1.1, "x3": 1.9}


@pytest.mark.parametrize("method", [None, *METHODS])
def test_no_value_is_taken_at_a_displaced_point(method: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder(monkeypatch)
    found = minimize(MinimizeProblem(parse(COUPLED), START, {}, {}), MinimizeOptions(method=method))
    assert found.converged and recorder.displaced() == 0
    distinct = {x.tobytes() for x in recorder.points}
    assert len(distinct) == found.evaluations


@pytest.mark.parametrize("method", [None, "slsqp", "trust-constr"])
def test_no_constraint_is_taken_at_a_displaced_point(method: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder(monkeypatch)
    constraints = [Constraint(parse("x1*x2 + x3**2"), upper=1.0), Constraint(parse("x1 + x2 + x3"), equals=0.5)]
    found = minimize(MinimizeProblem(parse(COUPLED), START, {}, {"x1": (-2, 2)}, constraints), MinimizeOptions(method=method))
    assert found.converged and recorder.displaced() == 0
    assert len({x.tobytes() for x in recorder.points}) == 3 * found.evaluations, "one point of three functions"


def test_difference_quotients_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder(monkeypatch)
    f = objective_module.Objective(parse(COUPLED), {}, list(START))

    def value(x: Any) -> float:
        return f.value_and_gradient(x)[0]

    optimize.minimize(value, np.array(list(START.values())))
    assert recorder.displaced() > 10
