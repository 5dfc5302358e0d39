"""Minimization in process: random requests, limits, deadlines and cancellation."""

import asyncio
import json
import math
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.api.solvers import minimize as minimization
from app.api.solvers.minimize import MinimizeRequest
from app.api.solvers.routes import router
from app.service.problems import Problem
from app.settings import Settings
from tests.conftest import times
from tests.service.inprocess import job_with, running, send, service, until_at_work

APP = service(router, settings=Settings(compute_timeout_s=5.0))
METHODS = [None, "bfgs", "l-bfgs-b", "newton-cg", "trust-ncg", "trust-exact", "slsqp", "trust-constr"]

NAMES = st.sampled_from(["x", "y", "t", "z"])
NUMBERS = st.one_of(
    st.sampled_from([0.0, 1.0, -1.0, 0.5, 3.0, 1e-8, -1e8, 1e150, -1e300, 1e308, 5e-324]), st.floats(-10, 10, allow_nan=False)
)
UNARY = st.sampled_from(["exp", "log", "sqrt", "abs", "tanh", "sin", "relu", "reciprocal", "lgamma", "sign", "asin"])


def texts() -> st.SearchStrategy[str]:
    """Expressions of a few operations, many of them with a bounded domain, kinks, or without a minimum."""
    leaves = st.one_of(NAMES, NUMBERS.map(lambda number: f"({number!r})"))

    def extend(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        return st.one_of(
            st.tuples(inner, st.sampled_from(["+", "-", "*", "/", "**"]), inner).map(lambda p: f"({p[0]} {p[1]} {p[2]})"),
            st.tuples(UNARY, inner).map(lambda p: f"{p[0]}({p[1]})"),
            st.tuples(inner, inner).map(lambda p: f"({p[0]})**2 + ({p[1]} - 1)**2"),
        )

    return st.recursive(leaves, extend, max_leaves=6)


def sorted_limits(limits: tuple[float | None, float | None]) -> tuple[float | None, float | None]:
    """Limits that do not cross."""
    low, high = limits
    return (high, low) if low is not None and high is not None and low > high else limits


LIMITS = st.one_of(st.none(), NUMBERS)
LISTS = st.lists(NUMBERS, min_size=2, max_size=2)
CONSTRAINTS = st.fixed_dictionaries({"expression": texts()}, optional={"equals": NUMBERS, "min": NUMBERS, "max": NUMBERS})
OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "method": st.sampled_from(METHODS),
        "bounds": st.dictionaries(NAMES, st.tuples(LIMITS, LIMITS).map(sorted_limits), max_size=2),
        "constraints": st.lists(CONSTRAINTS, max_size=2),
        "reduce": st.sampled_from(["sum", "mean"]),
        "starts": st.integers(1, 3),
        "tolerance": st.sampled_from([1e-12, 1e-4, 1e300]),
        "max_iterations": st.integers(1, 60),
        "trajectory": st.booleans(),
    },
)


@st.composite
def bodies(draw: st.DrawFn) -> dict[str, Any]:
    """Requests, most of which bind each of their names once."""
    body: dict[str, Any] = {"expression": draw(texts()), **draw(OPTIONS)}
    everything = str(body)
    used = [name for name in "xytz" if re.search(rf"\b{name}\b", everything)]
    fixed = draw(st.lists(st.sampled_from(used or ["x"]), max_size=1))
    body["initial"] = {name: draw(NUMBERS) for name in used if name not in fixed}
    body["inputs"] = {name: draw(st.one_of(NUMBERS, LISTS)) for name in fixed}
    if draw(st.integers(0, 9)):
        body["bounds"] = {name: limits for name, limits in body.get("bounds", {}).items() if name in body["initial"]}
        body["method"] = body.get("method") if not (body["bounds"] or body.get("constraints")) else None
    return body


BODIES = bodies()


def numbers(value: Any) -> Iterator[float]:
    """All numbers of a JSON document."""
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from numbers(item)
    elif isinstance(value, float | int) and not isinstance(value, bool):
        yield float(value)


@settings(times(1.5), suppress_health_check=[HealthCheck.too_slow])
@given(BODIES)
def test_no_request_makes_the_service_fail(body: dict[str, Any]) -> None:
    """An answer has finite numbers only, and a point within the bounds; everything else is a problem of the request."""
    response = send(APP, "POST", "/v1/minimize", json=body)
    assert response.status_code in (200, 422, 503), response.text
    found = json.loads(response.content)
    if response.status_code != 200:
        assert found["type"] != "/problems/internal" and found["detail"]
        return
    assert all(math.isfinite(number) for number in numbers(found))
    assert set(found["minimum"]) == set(found["gradients"]) == set(body["initial"])
    for name, (low, high) in body.get("bounds", {}).items():
        assert (low is None or found["minimum"][name] >= low) and (high is None or found["minimum"][name] <= high)
    if found["converged"] and not body.get("constraints") and "tolerance" not in body:
        held = found.get("multipliers", {}).get("bounds", {})
        for name in found["minimum"]:
            slope = abs(found["gradients"][name] - held.get(name, 0.0))
            assert slope <= 1e-8 or slope <= 1e-4 * max(1.0, abs(found["value"])), found


def minimize(job: Any = None, **body: Any) -> Any:
    """The response to a request, without a server."""
    request, job = MinimizeRequest(**body), job or job_with()
    return minimization.run(request, minimization.prepare(request, job), job)


SQUARES = "+".join(f"x{k}**2" for k in range(9))
NINE: dict[str, Any] = {f"x{k}": 1.0 for k in range(9)}


def test_limit_on_variables_is_that_of_matrices() -> None:
    assert minimize(job_with(max_variables=9), expression=SQUARES, initial=NINE, method="bfgs").converged
    with pytest.raises(
        Problem, match="there are 9 variables, and bfgs .*; the limit is 8, and AUTODIFF_MAX_VARIABLES raises it"
    ):
        minimize(job_with(max_variables=8), expression=SQUARES, initial=NINE, method="bfgs")
    for method in ("l-bfgs-b", "newton-cg", "trust-ncg", None):
        assert minimize(job_with(max_variables=8), expression=SQUARES, initial=NINE, method=method).converged


def test_limit_on_constraints_is_the_same() -> None:
    rows = [{"expression": "x0", "min": -1}] * 9
    with pytest.raises(Problem, match="there are 9 constraints"):
        minimize(job_with(max_variables=8), expression="x0**2", initial={"x0": 1}, constraints=rows)


def test_limit_on_the_numbers_of_a_trajectory() -> None:
    with pytest.raises(Problem, match="AUTODIFF_MAX_NUMBERS"):
        minimize(job_with(max_numbers=1000), expression=SQUARES, initial=NINE, trajectory=True)
    short = minimize(job_with(max_numbers=1000), expression=SQUARES, initial=NINE, trajectory=True, max_iterations=50)
    assert short.converged


def test_limit_on_work_counts_points_and_variables() -> None:
    request: dict[str, Any] = {"expression": "(x - t)**2", "inputs": {"t": [1.0, 2.0]}, "initial": {"x": 1}}
    nodes = 4
    assert minimize(job_with(max_work=nodes * 2 * 6), **request).converged
    with pytest.raises(Problem, match="AUTODIFF_MAX_WORK"):
        minimize(job_with(max_work=nodes * 2 * 6 - 1), **request)


SLOW: dict[str, Any] = {
    "expression": "(y - a*exp(-b*x) - c*sin(d*x))**2 + abs(a - b)",
    "inputs": {"x": [k / 1e5 for k in range(100_000)], "y": [math.sin(k) for k in range(100_000)]},
    "initial": {"a": 1, "b": 1, "c": 1, "d": 1},
    "starts": 10_000,
}
"""Minutes of work."""


@pytest.mark.alone
def test_deadline_gives_the_best_point_so_far() -> None:
    app = service(router, settings=Settings(compute_timeout_s=1.5))
    response = send(app, "POST", "/v1/minimize", json=SLOW)
    found = response.json()
    assert response.status_code == 200 and not found["converged"] and "time limit" in found["message"]
    assert found["iterations"] > 0


def test_deadline_before_the_first_iteration_is_a_problem() -> None:
    job = job_with()
    job.deadline = 0.0
    with pytest.raises(Problem, match="the computation took over"):
        minimize(job, expression="x**2", initial={"x": 1})


@pytest.mark.parametrize("path", ["/v1/minimize", "/v1/minimize/stream"])
def test_client_that_leaves_stops_the_work(path: str) -> None:
    """The place in the pool is free again long before the work would have ended."""
    app = service(router, settings=Settings(compute_timeout_s=100.0, max_concurrency=1))

    async def leave(app: FastAPI) -> float:
        async with running(app) as client:
            task = asyncio.create_task(client.post(path, json=SLOW))
            await until_at_work(app)
            task.cancel()
            began = asyncio.get_running_loop().time()
            response = await client.post("/v1/minimize", json={"expression": "x**2", "initial": {"x": 1}, "starts": 200})
            assert response.status_code == 200
            return asyncio.get_running_loop().time() - began

    assert asyncio.run(leave(app)) < 30.0


def test_estimate_grows_with_everything_that_takes_time() -> None:
    def estimate(**more: Any) -> float:
        return minimization.estimate_seconds(MinimizeRequest(**{"expression": "x**2", "initial": {"x": 1.0}, **more}))

    least = estimate()
    assert least > 0.001, "never on the event loop"
    assert estimate(starts=10) > 5 * least and estimate(max_iterations=10_000) > 5 * least
    assert estimate(inputs={"t": [1.0] * 10**6}) > 5 * least
    assert estimate(expression=SQUARES * 1000, initial=NINE) > 5 * least


def test_deadline_ends_a_single_long_evaluation() -> None:
    """At very many points, or of very many nodes, one look at the function may take longer than there is time."""
    text = "+".join(f"sin({k}*x*t)" for k in range(1, 300))
    inputs = {"t": [k / 1e6 for k in range(500_000)]}
    job = job_with()
    began = time.perf_counter()
    job.deadline = began + 1.0
    with pytest.raises(Problem, match="the computation took over"):
        minimize(job, expression=text, initial={"x": 1.0}, inputs=inputs)
    assert time.perf_counter() - began < 4.0
