"""Minimization: edges of the domain, bounds, starts, limits, and everything that can be wrong with a problem."""

import math
from typing import Any

import numpy as np
import pytest

from app.engine.errors import EngineError, InvalidNode, NonFinite, ShapeMismatch, UnboundInput, UnknownNode
from app.engine.text import parse
from app.solvers import objective as objective_module
from app.solvers.errors import InvalidArgument, NotConverged
from app.solvers.methods import METHODS
from app.solvers.minimize import Bounds, Constraint, MinimizeOptions, MinimizeProblem, Minimum, plan_search, run_search
from app.solvers.search import Iteration, SearchEnded
from tests.rows import for_each


def search(
    text: str,
    initial: dict[str, float],
    inputs: dict[str, Any] | None = None,
    bounds: dict[str, Bounds] | None = None,
    constraints: dict[str, dict[str, float]] | None = None,
    **options: Any,
) -> Minimum:
    rows = [Constraint(parse(row), **limits) for row, limits in (constraints or {}).items()]
    reduce, watch = options.pop("reduce", "sum"), options.pop("watch", None)
    problem = MinimizeProblem(parse(text), initial, inputs or {}, bounds or {}, rows, reduce)
    return run_search(plan_search(problem, MinimizeOptions(**options)), watch)


ROSENBROCK = "(1 - x)**2 + c*(y - x**2)**2"
VALLEY = {"x": -1.2, "y": 1.0}


# --- methods


@pytest.mark.parametrize("method", METHODS)
def test_every_method_finds_the_minimum_to_the_last_digit(method: Any) -> None:
    found = search(ROSENBROCK, VALLEY, {"c": 100.0}, method=method)
    assert found.converged and found.method == method
    assert found.point == pytest.approx({"x": 1.0, "y": 1.0}, abs=1e-15) and found.value < 1e-30


@pytest.mark.parametrize("method", [None, "l-bfgs-b", "slsqp", "trust-constr"])
def test_methods_for_bounds_stop_at_them(method: Any) -> None:
    """At x = 0.5 the best y is 0.25. The gradient by x is -2(1 - x) there, and so is the multiplier."""
    found = search(ROSENBROCK, {"x": -1.2, "y": 1.0}, {"c": 100.0}, {"x": (-2.0, 0.5)}, method=method)
    assert found.converged and found.point == pytest.approx({"x": 0.5, "y": 0.25}, abs=1e-15)
    assert found.bound_multipliers == pytest.approx({"x": -1.0}, abs=1e-12)


@pytest.mark.parametrize(
    ("method", "bounds", "constraints", "able"),
    [
        ("bfgs", {"x": (0.0, None)}, {}, "l-bfgs-b, slsqp, trust-constr"),
        ("trust-exact", {"x": (None, 3.0)}, {}, "l-bfgs-b, slsqp, trust-constr"),
        ("l-bfgs-b", {}, {"x + y": {"equals": 1.0}}, "slsqp, trust-constr"),
        ("newton-cg", {}, {"x + y": {"equals": 1.0}}, "slsqp, trust-constr"),
    ],
)
def test_method_that_cannot_do_it_is_refused(method: Any, bounds: Any, constraints: Any, able: str) -> None:
    with pytest.raises(InvalidArgument, match=f"{method} cannot keep to .*; {able} can") as caught:
        search(ROSENBROCK, VALLEY, {"c": 100.0}, bounds, constraints, method=method)
    assert caught.value.place == ("method",)


def test_bounds_without_numbers_are_none() -> None:
    found = search(ROSENBROCK, VALLEY, {"c": 100.0}, {"x": (None, None)}, method="bfgs")
    assert found.converged and found.bound_multipliers == {}


def test_data_are_summed_or_averaged() -> None:
    """The mean minimizes the sum of squared distances; the value is the sum of squares, or their mean."""
    data = {"t": [1.0, 2.0, 6.0]}
    summed, averaged = (search("(x - t)**2", {"x": 0.0}, data, reduce=how) for how in ("sum", "mean"))
    assert summed.point == averaged.point == {"x": 3.0}
    assert summed.value == 14.0 and averaged.value == pytest.approx(14 / 3, rel=1e-15)


def test_same_problem_has_the_same_answer() -> None:
    def once() -> Minimum:
        return search(ROSENBROCK, VALLEY, {"c": 100.0}, {"x": (-2, 2), "y": (-2, 2)}, starts=5, seed=9)

    assert repr(once()) == repr(once())


# --- where there is no minimum


@pytest.mark.parametrize(
    ("text", "initial", "bounds", "constraints"),
    [
        ("x", {"x": 1.0}, {}, {}),
        ("-x**2", {"x": 1.0}, {}, {}),
        ("-x**2", {"x": 0.0}, {}, {}),
        ("x**3", {"x": 1.0}, {}, {}),
        ("x*y", {"x": 1.0, "y": 1.0}, {}, {}),
        ("-exp(x)", {"x": 1.0}, {}, {}),
        ("log(x)", {"x": 1.0}, {}, {}),
        ("-x", {"x": 1.0}, {"x": (0.0, None)}, {}),
        ("x", {"x": 1.0}, {}, {"x": {"upper": 3.0}}),
        ("x - y", {"x": 1.0, "y": 1.0}, {}, {"x + y": {"equals": 2.0}}),
    ],
)
def test_function_without_a_lower_bound_is_an_error(text: str, initial: Any, bounds: Any, constraints: Any) -> None:
    with pytest.raises(NotConverged, match="not bounded below"):
        search(text, initial, {}, bounds, constraints)


@pytest.mark.parametrize("method", METHODS)
def test_no_method_calls_a_falling_function_converged(method: Any) -> None:
    """Each either notices that the function is not bounded below, or says that it did not converge."""
    try:
        assert not search("x + y**2", {"x": 1.0, "y": 1.0}, method=method).converged
    except NotConverged:
        pass


@pytest.mark.parametrize("text", ["exp(-x)", "1/x", "sqrt(1 + x**2) - x"])
def test_infimum_that_no_point_has_is_not_a_minimum(text: str) -> None:
    try:
        assert not search(text, {"x": 1.0}).converged
    except NotConverged:
        pass


def test_kink_is_not_called_converged_unless_the_derivative_there_is_zero() -> None:
    found = search("abs(x - 0.3) + abs(y + 0.2)*2", {"x": 1.0, "y": 1.0})
    assert found.value < 1e-6 or not found.converged
    assert search("abs(x)", {"x": 1.0}).value < 1e-100


def test_numbers_that_make_a_method_fail_do_not_make_the_search_fail() -> None:
    """Here `trust-exact` of SciPy 1.17 raises UnboundLocalError, and there a ValueError."""
    text = "log(t**2 + (x - 1)**2)"
    try:
        assert search(text, {"x": -1e8, "t": 0.0}).value < 36.9
    except NotConverged:  # it is not bounded below
        pass
    assert search("1e200*(x - 1)**2", {"x": 3.0}).point["x"] == pytest.approx(1.0)


def test_saddle_is_left() -> None:
    found = search("x**2 - y**2 + y**4", {"x": 1.0, "y": 0.0})
    assert found.converged and found.value == pytest.approx(-0.25, abs=1e-15)
    assert abs(found.point["y"]) == pytest.approx(math.sqrt(0.5), rel=1e-15)


def test_contradictory_constraints_do_not_converge() -> None:
    found = search("x + y", VALLEY, {}, {}, {"x + y": {"equals": 1.0}, "x + y + 0": {"equals": 2.0}})
    assert not found.converged and "violated" in found.message


@pytest.mark.parametrize("text", ["3 + 0*x", "x**4", "x**6 + 1"])
def test_flat_minima_converge(text: str) -> None:
    found = search(text, {"x": 3.0})
    assert found.converged and found.value - {"3 + 0*x": 3.0, "x**4": 0.0, "x**6 + 1": 1.0}[text] < 1e-12


# --- the domain, and bounds


@for_each("method", METHODS)
@for_each("start", [0.01, 50.0])
def test_points_outside_the_domain_are_survived(method: Any, start: float) -> None:
    """x - log(x) has its minimum 1 at 1, y**2 - sqrt(y) at y = 4**(-2/3), z*log(z) at 1/e."""
    found = search("x - log(x) + y**2 - sqrt(y) + z*log(z)", {"x": start, "y": 9.0, "z": 7.0}, {}, method=method)
    assert found.converged, found.message
    y = 4 ** (-2 / 3)
    assert found.point == pytest.approx({"x": 1.0, "y": y, "z": math.exp(-1.0)}, rel=1e-12)
    assert found.value == pytest.approx(1.0 + y * y - math.sqrt(y) - math.exp(-1.0), rel=1e-14)


@pytest.mark.parametrize("method", [None, "l-bfgs-b", "slsqp", "trust-constr"])
def test_bounds_hold_at_every_evaluation(method: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The start as well: outside, it is moved to the nearest point inside."""
    seen: list[Any] = []
    walk: Any = vars(objective_module)["PointWalk"]

    def recorded(tape: Any, numbers: Any, *rest: Any) -> Any:
        seen.append(np.array(numbers[:2]))
        return walk(tape, numbers, *rest)

    monkeypatch.setattr(objective_module, "PointWalk", recorded)
    found = search(
        "sqrt(x)*1e-3 + (x - y)**2 - 2*y", {"x": 5.0, "y": 9.0}, {}, {"x": (1e-9, 1.0), "y": (-1.0, 0.75)}, method=method
    )
    points = np.array(seen)
    assert points[:, 0].min() >= 1e-9 and points[:, 0].max() <= 1.0
    assert points[:, 1].min() >= -1.0 and points[:, 1].max() <= 0.75
    assert found.converged and "'x', 'y'" in found.message and "moved to the nearest point inside" in found.message
    assert found.point["y"] == 0.75 and found.bound_multipliers["y"] < 0.0


def test_start_within_bounds_is_not_said_to_be_moved() -> None:
    assert "moved" not in search("(x - 2)**2", {"x": 1.0}, {}, {"x": (0.0, 5.0)}).message


def test_fixed_variables_stay() -> None:
    found = search("(x - 2)**2 + (x - y)**2", {"x": 1.0, "y": 0.0}, {}, {"x": (3.0, 3.0)})
    assert found.point == {"x": 3.0, "y": 3.0} and found.converged and found.bound_multipliers == {"x": 2.0}
    alone = search("x**2", {"x": 1.0}, {}, {"x": (3.0, 3.0)})
    assert alone.point == {"x": 3.0} and alone.gradients == {"x": 6.0} and alone.converged


@pytest.mark.parametrize("method", ["slsqp", "trust-constr"])
def test_fixed_variables_stay_under_constraints(method: Any) -> None:
    found = search(
        "x**2 + y**2 + z**2",
        {"x": 1.0, "y": 1.0, "z": 0.0},
        {},
        {"z": (2.0, 2.0)},
        {"x + y + z": {"lower": 4.0}},
        method=method,
    )
    assert found.converged and found.point == pytest.approx({"x": 1.0, "y": 1.0, "z": 2.0}, abs=1e-12)
    assert found.constraint_multipliers == pytest.approx([2.0]) and found.bound_multipliers == pytest.approx({"z": 2.0})


def test_two_sided_constraint_has_one_multiplier_with_the_sign_of_its_limit() -> None:
    lower = search("x**2", {"x": 3.0}, {}, {}, {"2*x": {"lower": 2.0, "upper": 8.0}})
    upper = search("(x - 9)**2", {"x": 3.0}, {}, {}, {"2*x": {"lower": 2.0, "upper": 8.0}})
    inside = search("(x - 2)**2", {"x": 3.0}, {}, {}, {"2*x": {"lower": 2.0, "upper": 8.0}})
    assert lower.point == pytest.approx({"x": 1.0}) and lower.constraint_multipliers == pytest.approx([1.0])
    assert upper.point == pytest.approx({"x": 4.0}) and upper.constraint_multipliers == pytest.approx([-5.0])
    assert inside.point == pytest.approx({"x": 2.0}) and inside.constraint_multipliers == [0.0]


def test_constraints_may_use_inputs_and_variables_of_their_own() -> None:
    found = search("x", {"x": 5.0, "y": 1.0}, {"a": 2.0}, {"y": (-3.0, None)}, {"x - a*y": {"lower": 0.0}})
    assert found.converged and found.point == pytest.approx({"x": -6.0, "y": -3.0})
    assert found.gradients == {"x": 1.0, "y": 0.0}


# --- starts, limits and trajectory


def test_many_starts_find_the_lowest_of_several_minima() -> None:
    """sin(x) + x/10 on [-20, 20] is lowest near -pi/2 - 4pi, but for the end of the interval."""
    bounds: dict[str, Bounds] = {"x": (-18.0, 20.0)}
    one = search("sin(x) + x/10", {"x": 5.0}, {}, bounds)
    best = search("sin(x) + x/10", {"x": 5.0}, {}, bounds, starts=20, seed=1)
    assert best.point["x"] == pytest.approx(-math.acos(-0.1) - 4 * math.pi, rel=1e-12) and best.value < one.value
    assert "the best of 20 searches" in best.message
    assert best.iterations > one.iterations and best.evaluations > one.evaluations


def test_starts_are_drawn_around_the_first_where_bounds_are_missing() -> None:
    found = search("(x**2 - 1)**2 + 0.1*x", {"x": 0.9}, {}, {"x": (-5.0, None)}, starts=20)
    assert found.point["x"] == pytest.approx(-1.0122, abs=1e-3), "the root of 4x(x**2 - 1) + 0.1 below -1"


def test_drawn_starts_outside_the_domain_are_left_out() -> None:
    found = search("x - log(x)", {"x": 1.5}, starts=12, seed=3)
    assert found.point["x"] == pytest.approx(1.0) and "were not used, because a function is not finite there" in found.message


def test_iterations_are_limited_and_counted() -> None:
    found = search(ROSENBROCK, VALLEY, {"c": 100.0}, max_iterations=5)
    assert found.iterations == 5 and not found.converged and "the limit of 5 iterations" in found.message


def test_tolerance_of_ones_own_ends_the_search_early() -> None:
    rough, exact = search(ROSENBROCK, VALLEY, {"c": 100.0}, tolerance=1e-2), search(ROSENBROCK, VALLEY, {"c": 100.0})
    assert rough.converged and rough.iterations < exact.iterations
    assert 1e-8 < max(map(abs, rough.gradients.values())) <= 1e-2


@pytest.mark.parametrize("method", [None, "bfgs", "slsqp", "trust-constr"])
def test_trajectory_leads_from_the_start_to_the_minimum(method: Any) -> None:
    seen: list[Iteration] = []
    found = search(ROSENBROCK, VALLEY, {"c": 100.0}, method=method, trajectory=True, watch=seen.append)
    rows = found.trajectory
    assert seen == rows and [row.iteration for row in rows] == list(range(found.iterations + 1))
    assert rows[0].x.tolist() == [-1.2, 1.0] and rows[0].value == pytest.approx(24.2)
    assert rows[0].gradient_norm == pytest.approx(math.hypot(215.6, 88.0))
    assert rows[-1].value == found.value and rows[-1].x.tolist() == list(found.point.values())


def test_time_limit_returns_the_best_point_so_far() -> None:
    calls = iter(range(10**6))
    found = search(ROSENBROCK, VALLEY, {"c": 100.0}, out_of_time=lambda: next(calls) > 30)
    assert found.ended == "deadline" and not found.converged and "the time limit was reached" in found.message
    assert 0 < found.iterations < 25 and found.value < 24.2


def test_time_limit_before_the_first_point_has_no_answer() -> None:
    with pytest.raises(SearchEnded):
        search(ROSENBROCK, VALLEY, {"c": 100.0}, out_of_time=lambda: True)


def test_time_limit_among_many_starts_returns_the_best_of_those_done() -> None:
    calls = iter(range(10**6))
    found = search("(x**2 - 1)**2", {"x": 3.0}, starts=1000, out_of_time=lambda: next(calls) > 500)
    assert found.ended == "deadline" and not found.converged and found.value < 1e-20
    assert "because the time limit was reached" in found.message
    assert found.message.startswith("not converged: the time limit was reached before the last start")


@pytest.mark.parametrize("method", METHODS)
def test_checkpoint_stops_every_method(method: Any) -> None:
    class Stopped(Exception):
        pass

    calls = iter(range(10**6))

    def checkpoint() -> None:
        if next(calls) > 20:
            raise Stopped

    with pytest.raises(Stopped):
        search(ROSENBROCK, VALLEY, {"c": 100.0}, method=method, checkpoint=checkpoint)


def test_many_variables_need_no_matrix() -> None:
    n = 30
    text = " + ".join(f"100*(x{k + 1} - x{k}**2)**2 + (1 - x{k})**2" for k in range(1, n))
    initial = {f"x{k}": 0.5 for k in range(1, n + 1)}
    found = search(text, initial, max_variables=n - 1)
    assert found.method == "trust-ncg" and found.converged and found.value < 1e-12
    bounded = search(text, initial, {}, {"x1": (0.0, 0.9)}, max_variables=n - 1)
    assert bounded.method == "l-bfgs-b" and bounded.converged and bounded.point["x1"] == 0.9


# --- what is wrong with a problem

OF_CONSTRAINT = ("constraints", 0, "expression")


@for_each(
    ("text", "arguments", "kind", "place"),
    [
        ("x**2", {"initial": {}}, InvalidArgument, ("initial",)),
        ("x**2", {"initial": {"y": 1.0}}, UnknownNode, ("initial", "y")),
        ("x**2*y", {"initial": {"x": 1.0}}, UnboundInput, ("nodes", 2)),
        ("a = x**2; a + 1", {"initial": {"x": 1.0, "a": 2.0}}, InvalidNode, ("initial", "a")),
        ("a = x**2; a + 1", {"inputs": {"a": 2.0}}, InvalidNode, ("inputs", "a")),
        ("x**2", {"inputs": {"x": 1.0}}, InvalidArgument, ("initial", "x")),
        ("x**2", {"inputs": {"z": 1.0}}, UnknownNode, ("inputs", "z")),
        ("x**2*s*t", {"inputs": {"s": [1.0, 2.0], "t": [1.0]}}, ShapeMismatch, ("inputs", "t")),
        ("x**2", {"bounds": {"z": (0.0, 1.0)}}, UnknownNode, ("bounds", "z")),
        ("x**2*c", {"inputs": {"c": 1.0}, "bounds": {"c": (0.0, 1.0)}}, InvalidArgument, ("bounds", "c")),
        ("x**2", {"bounds": {"x": (2.0, 1.0)}}, InvalidArgument, ("bounds", "x")),
        ("x**2", {"constraints": {"x": {}}}, InvalidArgument, ("constraints", 0)),
        ("x**2", {"constraints": {"x": {"equals": 1.0, "upper": 2.0}}}, InvalidArgument, ("constraints", 0)),
        ("x**2", {"constraints": {"x": {"lower": 3.0, "upper": 2.0}}}, InvalidArgument, ("constraints", 0)),
        ("x**2*t", {"inputs": {"t": [1.0]}, "constraints": {"x + t": {"lower": 3.0}}}, InvalidArgument, OF_CONSTRAINT),
        ("x**2", {"constraints": {"x = 3*2; x": {"lower": 3.0}}}, InvalidArgument, OF_CONSTRAINT),
        ("x**2", {"constraints": {"x*u": {"lower": 3.0}}}, UnboundInput, (*OF_CONSTRAINT, "nodes", 1)),
        ("log(x)", {"initial": {"x": -1.0}}, NonFinite, ("nodes", 1)),
        ("sqrt(x)", {"initial": {"x": 0.0}}, NonFinite, ("nodes", 1)),
        ("x**2", {"constraints": {"sqrt(-x)": {"upper": 1.0}}}, NonFinite, (*OF_CONSTRAINT, "nodes", 2)),
        ("1e300*x*x", {"initial": {"x": 1e10}}, NonFinite, ("nodes", 1)),
        ("log(x)*t", {"initial": {"x": -1.0}, "inputs": {"t": [1.0, 2.0]}}, NonFinite, ("nodes", 1)),
    ],
)  # fmt: skip
def test_wrong_problems_are_refused_with_their_place(
    text: str, arguments: dict[str, Any], kind: type[EngineError], place: tuple[str | int, ...]
) -> None:
    with pytest.raises(kind) as caught:
        search(text, **{"initial": {"x": 1.0}, **arguments})
    assert caught.value.place == place


def test_not_finite_at_the_start_is_explained() -> None:
    with pytest.raises(NonFinite, match=r"at the start, the value of 'output' is NaN: .* = log\(-1.0\)"):
        search("log(x)", {"x": -1.0})
    with pytest.raises(NonFinite, match="at the start, the gradient of 'output' by 'x' is Infinity"):
        search("sqrt(x)", {"x": -3.0}, {}, {"x": (0.0, None)})


# --- problems of all scales


@pytest.mark.parametrize("factor", [1e-19, 1e-9, 1.0, 1e9, 1e30])
def test_factor_of_the_objective_changes_the_value_and_the_multipliers_only(factor: float) -> None:
    """(3, 2) is moved perpendicularly to x + y = 4, by 0.5 in both variables: the gradient is -1 in both."""
    found = search("k*((x-3)**2 + (y-2)**2)", {"x": 0.0, "y": 0.0}, {"k": factor}, {}, {"x + y": {"upper": 4.0}})
    assert found.converged, found.message
    assert found.point == pytest.approx({"x": 2.5, "y": 1.5}, rel=1e-12)
    assert found.value == pytest.approx(0.5 * factor, rel=1e-12, abs=0.0)
    assert found.constraint_multipliers == pytest.approx([-factor], rel=1e-9, abs=0.0)


@pytest.mark.parametrize("factor", [1e-19, 1e-9, 1.0, 1e9])
@pytest.mark.parametrize("method", [None, "slsqp", "trust-constr"])
def test_factor_of_a_curved_objective_does_not_move_the_minimum(factor: float, method: Any) -> None:
    """On the circle, d/dx (1-x)**2 + 100*(y-x**2)**2 along it is 0; the root by bisection in x, to 15 digits."""
    found = search(f"k*({ROSENBROCK})", VALLEY, {"c": 100.0, "k": factor}, {}, {"x**2 + y**2": {"upper": 1.5}}, method=method)
    low, high = 0.8, 1.0
    for _ in range(60):
        x = 0.5 * (low + high)
        y = math.sqrt(1.5 - x * x)
        along = (-2 * (1 - x) - 400 * x * (y - x * x)) * y - 200 * (y - x * x) * x
        low, high = (x, high) if along < 0.0 else (low, x)
    assert x == pytest.approx(0.90723396, abs=1e-8)
    assert found.converged and found.point == pytest.approx({"x": x, "y": y}, rel=1e-10), found.message


@pytest.mark.parametrize("unit", [1e-9, 1e-3, 1.0, 1e9])
def test_limit_is_kept_relative_to_its_size(unit: float) -> None:
    found = search("(x/u - 3)**2", {"x": 0.0}, {"u": unit}, {}, {"x": {"upper": 2.0 * unit}})
    assert found.converged, found.message
    assert found.point == pytest.approx({"x": 2.0 * unit}, rel=1e-12, abs=0.0)
    assert found.value == pytest.approx(1.0) and found.constraint_multipliers == pytest.approx([-2.0 / unit])


@pytest.mark.parametrize("factor", [1e-12, 1e-6, 1e6, 1e12])
def test_factor_of_a_constraint_changes_its_multiplier_only(factor: float) -> None:
    found = search("(x-3)**2 + (y-2)**2", {"x": 0.0, "y": 0.0}, {"k": factor}, {}, {"k*x + k*y": {"upper": 4.0 * factor}})
    assert found.converged and found.point == pytest.approx({"x": 2.5, "y": 1.5}, rel=1e-9), found.message
    assert found.constraint_multipliers == pytest.approx([-1.0 / factor], rel=1e-6)


def test_variables_of_very_different_sizes_have_no_invented_multipliers() -> None:
    found = search("(1e12*x - 0.5)**2 + (y - 2)**2", {"x": 1e-10, "y": 1.0}, {}, {"x": (0.0, 1e-9)}, {"y": {"upper": 1.5}})
    assert found.converged, found.message
    assert found.point == pytest.approx({"x": 5e-13, "y": 1.5}, rel=1e-10, abs=0.0)
    assert found.value == pytest.approx(0.25) and found.bound_multipliers == {"x": 0.0}
    assert found.constraint_multipliers == pytest.approx([-1.0])


@for_each("bounds", [(0.0, 1e-6), (0.0, 1e-9), (0.0, 1e-12), (5.0, 5.000000001)])
@for_each("constraints", [{}, {"2*x": {"upper": 100.0}}])
def test_multiplier_of_narrow_bounds_belongs_to_the_limit_that_holds(bounds: Bounds, constraints: Any) -> None:
    """(x - 1)**2 falls until 1 and rises after, with the gradient 2(x - 1), which is the multiplier."""
    found = search("(x - 1)**2", {"x": bounds[0] or 0.0}, {}, {"x": bounds}, constraints)
    x = bounds[1] if bounds[0] == 0.0 else bounds[0]
    assert x is not None and found.converged and found.point == {"x": x}, found.message
    assert found.bound_multipliers == pytest.approx({"x": 2.0 * (x - 1.0)})


@for_each("factor", [1e-30, 1e-19, 1e-9])
@for_each("method", [None, "bfgs", "l-bfgs-b", "newton-cg", "trust-ncg", "trust-exact"])
def test_small_objectives_without_constraints_have_the_same_minimum(factor: float, method: Any) -> None:
    found = search(f"k*({ROSENBROCK})", VALLEY, {"c": 100.0, "k": factor}, method=method)
    assert found.converged and found.point == pytest.approx({"x": 1.0, "y": 1.0}, rel=1e-10), found.message


@pytest.mark.parametrize("start", [0.0, 1.0, 5.0])
@pytest.mark.parametrize(("text", "constraint"), [("x", {"x**2": {"upper": 0.0}}), ("x + y", {"x**2 + y**2": {"equals": 0.0}})])
def test_constraint_without_a_gradient_has_no_multiplier(text: str, constraint: Any, start: float) -> None:
    """Only 0 is feasible. There the gradient of the constraint is 0, and that of the function is not."""
    found = search(text, {name: start for name in ("x", "y") if name in text}, {}, {}, constraint)
    assert not found.converged and found.constraint_multipliers == [0.0]
    assert found.point == pytest.approx(dict.fromkeys(found.point, 0.0), abs=1e-6)
    assert "the gradient of constraint 1 is 0" in found.message and "no multiplier exists" in found.message


def test_constraint_without_a_gradient_is_not_needed_where_others_hold() -> None:
    """At 0, x and y alone hold the gradient (1, 1)."""
    rows = {"x*y": {"lower": 0.0}, "x": {"lower": 0.0}, "1*y": {"lower": 0.0}}
    found = search("x + y", {"x": 1.0, "y": 1.0}, {}, {}, rows)
    assert found.converged and found.constraint_multipliers == pytest.approx([0.0, 1.0, 1.0]), found.message


@for_each("text", ["x**3", "-x**4", "x**5 + y**2"])
@for_each("limits", [{}, {"bounds": {"x": (-1.0, 1.0)}}, {"constraints": {"x": {"lower": -1.0}}}])
def test_second_derivative_of_0_is_said_to_tell_nothing(text: str, limits: Any) -> None:
    found = search(text, {name: 0.0 for name in ("x", "y") if name in text}, **limits)
    assert "the second derivative is 0 in some direction and cannot tell" in found.message


def test_minimum_with_a_positive_second_derivative_is_not_doubted() -> None:
    for limits in ({}, {"constraints": {"x": {"upper": 9.0}}}):
        assert "cannot tell" not in search("(x - 1)**2 + y**2", {"x": 0.0, "y": 1.0}, {}, {}, **limits).message


def test_only_search_is_not_called_the_best() -> None:
    found = search("x - log(x) + sqrt(x - 1.5 + 1e-9)", {"x": 1.5}, {}, starts=1)
    assert "best of" not in found.message
    few = search("sqrt(1e-30 - (x - 1)**2)", {"x": 1.0}, starts=2)
    assert "best of 1" not in few.message and "the only search that was done" in few.message


@pytest.mark.parametrize("tolerance", [1e-8, 1e-4])
def test_tolerance_of_ones_own_does_not_make_a_small_limit_active(tolerance: float) -> None:
    found = search("(1e9*x - 3)**2", {"x": 0.0}, {}, {}, {"x": {"upper": 2e-9}}, tolerance=tolerance)
    assert not found.converged or found.point == pytest.approx({"x": 2e-9}, rel=1e-6, abs=0.0), found.message


@pytest.mark.parametrize("limits", [{"bounds": {"x": (-9.0, 9.0)}}, {"constraints": {"x + y": {"lower": -9.0}}}])
@pytest.mark.parametrize("most", [8, 15, 30])
def test_time_limit_within_limits_returns_the_best_point_so_far(limits: Any, most: int) -> None:
    calls = iter(range(10**6))
    found = search(ROSENBROCK, VALLEY, {"c": 100.0}, **limits, out_of_time=lambda: next(calls) > most)
    assert found.ended == "deadline" and not found.converged and found.value <= 24.2
