"""Fits in process: random requests, limits, deadlines and cancellation."""

import asyncio
import json
import math
import re
from typing import Any

import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.api.solvers import fit as fits
from app.api.solvers.fit import FitRequest
from app.api.solvers.routes import router
from app.service.problems import Problem
from app.settings import Settings
from tests.api.solvers.test_minimize import numbers, texts
from tests.service.inprocess import job_with, running, send, service, until_at_work

APP = service(router, settings=Settings(compute_timeout_s=5.0))
NUMBERS = st.one_of(
    st.sampled_from([0.0, 1.0, -1.0, 0.5, 3.0, 1e-8, -1e8, 1e150, -1e300, 1e308, 5e-324]), st.floats(-10, 10, allow_nan=False)
)


@st.composite
def bodies(draw: st.DrawFn) -> dict[str, Any]:
    """Requests, most of which bind each of their names once; the first is a column."""
    text = draw(texts())
    used = [name for name in "xytz" if re.search(rf"\b{name}\b", text)] or ["x"]
    columns, parameters = used[:1], used[1:] or ["y"]
    rows = draw(st.integers(1, 6))
    column = st.lists(NUMBERS, min_size=rows, max_size=rows)
    body: dict[str, Any] = {
        "expression": text if len(used) > 1 else f"({text})*y",
        "data": {name: draw(column) for name in columns},
        "target": draw(column),
        "parameters": {name: draw(NUMBERS) for name in parameters},
    }
    optional = {
        "bounds": st.dictionaries(st.sampled_from(parameters), st.tuples(st.one_of(st.none(), NUMBERS), st.none()), max_size=1),
        "sigma": st.one_of(st.floats(1e-3, 10), column),
        "weights": column,
        "absolute_sigma": st.booleans(),
        "loss": st.sampled_from(["linear", "soft_l1", "huber", "cauchy", "arctan"]),
        "loss_scale": st.sampled_from([1e-3, 1.0, 1e100]),
        "intervals": st.sampled_from(["wald", "profile", "none"]),
        "influence": st.booleans(),
        "derived": st.just({"d": f"{parameters[0]}**2 + 1"}),
        "predict": st.fixed_dictionaries({name: st.lists(NUMBERS, min_size=2, max_size=2) for name in columns}),
        "starts": st.integers(1, 3),
        "max_iterations": st.integers(1, 30),
    }
    return body | draw(st.fixed_dictionaries({}, optional=optional))


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(bodies())
def test_no_request_makes_the_service_fail(body: dict[str, Any]) -> None:
    """A response has finite numbers or null; everything else is a problem of the request."""
    response = send(APP, "POST", "/v1/fit", json=body)
    assert response.status_code in (200, 422, 503), response.text
    found = json.loads(response.content)
    if response.status_code != 200:
        assert found["type"] != "/problems/internal" and found["detail"]
        return
    assert all(math.isfinite(number) for number in numbers(found))
    assert set(found["parameters"]) == set(found["standard_errors"]) == set(body["parameters"])
    for name, (low, _) in body.get("bounds", {}).items():
        assert low is None or found["parameters"][name] >= low


def fit(job: Any = None, **body: Any) -> Any:
    """The response to a request, without a server."""
    request, job = FitRequest(**body), job or job_with()
    return fits.run(request, fits.prepare(request, job), job)


LINE: dict[str, Any] = {
    "expression": "a + b*x",
    "data": {"x": [1, 2, 3, 4, 5], "y": [2.1, 3.9, 6.2, 7.8, 10.1]},
    "target": "y",
    "parameters": {"a": 0, "b": 1},
}


def test_limits_are_those_of_points_work_and_numbers() -> None:
    assert fit(job_with(max_points=5), **LINE).converged
    with pytest.raises(Problem, match="there are 5 rows; the limit is 4, and AUTODIFF_MAX_POINTS raises it"):
        fit(job_with(max_points=4), **LINE)
    nodes = 5
    most = nodes * 5 * 2 * 3 + 5 * 4
    assert fit(job_with(max_work=most), **LINE).converged
    with pytest.raises(Problem, match="AUTODIFF_MAX_WORK"):
        fit(job_with(max_work=most - 1), **LINE)
    assert fit(job_with(max_numbers=13), **LINE).converged
    with pytest.raises(Problem, match="AUTODIFF_MAX_NUMBERS"):
        fit(job_with(max_numbers=12), **LINE)
    long = LINE | {"data": {"x": list(range(20)), "y": [2.0 * k + k % 3 for k in range(20)]}}  # whose Jacobian is larger
    assert fit(job_with(max_numbers=40), **long).converged
    with pytest.raises(Problem, match="AUTODIFF_MAX_NUMBERS"):
        fit(job_with(max_numbers=39), **long)


SLOW: dict[str, Any] = {
    "expression": "a*exp(-b*x) + c*sin(d*x)",
    "data": {"x": [k / 1e5 for k in range(100_000)], "y": [math.sin(k) for k in range(100_000)]},
    "target": "y",
    "parameters": {"a": 1, "b": 1, "c": 1, "d": 1},
    "starts": 10_000,
}
"""Minutes of work."""


@pytest.mark.alone
def test_deadline_gives_the_best_point_so_far() -> None:
    app = service(router, settings=Settings(compute_timeout_s=2.0))
    response = send(app, "POST", "/v1/fit", json=SLOW)
    found = response.json()
    assert response.status_code == 200, found
    assert not found["converged"] and found["iterations"] > 0 and "time limit" in found["message"]


@pytest.mark.parametrize("path", ["/v1/fit", "/v1/fit/stream"])
def test_client_that_leaves_stops_the_work(path: str) -> None:
    """The place in the pool is free again long before the work would have ended."""
    app = service(router, settings=Settings(compute_timeout_s=100.0, max_concurrency=1))

    async def leave(app: FastAPI) -> float:
        async with running(app) as client:
            task = asyncio.create_task(client.post(path, json=SLOW))
            await until_at_work(app)
            task.cancel()
            began = asyncio.get_running_loop().time()
            assert (await client.post("/v1/fit", json=LINE)).status_code == 200
            return asyncio.get_running_loop().time() - began

    assert asyncio.run(leave(app)) < 30.0


def test_estimate_grows_with_everything_that_takes_time() -> None:
    def estimate(**more: Any) -> float:
        return fits.estimate_fit(FitRequest(**{**LINE, **more}))

    least = estimate()
    assert least > 0.001, "never on the event loop"
    assert estimate(starts=1000) > 5 * least
    assert estimate(data={"x": [1.0] * 10**5, "y": [1.0] * 10**5}) > 5 * least
    assert estimate(expression="+".join(["a*x"] * 10_000) + "+b") > 5 * least


def test_stream_tells_the_iterations_and_then_the_fit() -> None:
    response = send(APP, "POST", "/v1/fit/stream", json=LINE)
    events = [
        (event.split("\n")[0].removeprefix("event: "), json.loads(event.split("\n")[1].removeprefix("data: ")))
        for event in response.text.strip().split("\n\n")
    ]
    assert [name for name, _ in events][-1] == "result" and {name for name, _ in events[:-1]} == {"progress"}
    assert events[0][1].keys() == {"iteration", "value", "gradient_norm"}
    assert events[-1][1] == send(APP, "POST", "/v1/fit", json=LINE).json()


def test_stream_refuses_before_it_begins() -> None:
    assert send(APP, "POST", "/v1/fit/stream", json={**LINE, "parameters": {"a": 1, "q": 1}}).status_code == 422
    late = {**LINE, "derived": {"d": "1/(a - a)"}}
    response = send(APP, "POST", "/v1/fit/stream", json=late)
    assert "event: error" in response.text and "/problems/non-finite" in response.text
