"""Random requests to /v1/propagate are answered, or refused with a reason, but never a failure of the service."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import times
from tests.service.limits import post

EXPRESSIONS = (
    "x*y", "x/y", "log(x)*y", "x**y", "sqrt(x) + y", "max(x, y)", "where(x > 0, log(x), y)", "lgamma(x) + y", "exp(x*x) - y",
    "f = x*y; g = f/x", "digamma(x)", "x", "3", "prod(x, y, x)", "abs(x) + hypot(x, y)", "x +", "asin(x)*y", "1e300*x*y",
)  # fmt: skip
numbers = st.one_of(
    st.sampled_from([0, 1, -1, 0.5, 2, 1e-300, 1e300, -1e308, 5e-324, 1e-9, 3.0]), st.floats(-5, 5), st.integers(-3, 9)
)
junk = st.sampled_from([None, True, "x", "", [], {}, [1], {"value": 1}, "1e5", [["x", "y", 1]], 10**25, -0.0])
value_or_junk = st.one_of(numbers, numbers, numbers, numbers, numbers, junk)


def some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Objects with some of these fields."""
    return st.fixed_dictionaries({}, optional=fields)


positive = st.one_of(numbers.map(abs), value_or_junk)
inputs = st.one_of(
    numbers,
    st.fixed_dictionaries({"value": numbers, "u": numbers.map(abs)}, optional={"dof": positive}),
    st.fixed_dictionaries({"readings": st.lists(numbers, max_size=4)}),
    st.fixed_dictionaries(
        {
            "value": numbers,
            "half_width": numbers.map(abs),
            "distribution": st.sampled_from(["uniform", "triangular", "arcsine", "trapezoidal", "curvilinear_trapezoid"]),
        },
        optional={"beta": positive, "half_width_uncertainty": positive},
    ),
    some(value=value_or_junk, u=value_or_junk, dof=value_or_junk, readings=junk, half_width=positive, distribution=junk),
    junk,
)
names = st.sampled_from(["x", "y", "x", "y", "z", ""])
requests = st.fixed_dictionaries(
    {
        "expression": st.sampled_from(EXPRESSIONS),
        "inputs": st.fixed_dictionaries({"x": inputs, "y": inputs}, optional={"z": inputs}),
    },
    optional={
        "outputs": st.lists(st.sampled_from(["f", "g", "output", "x"]), max_size=3),
        "correlations": st.one_of(st.lists(st.tuples(names, names, numbers), max_size=2), junk),
        "coverage": st.one_of(st.sampled_from([0.5, 0.95, 0.999]), value_or_junk),
        "coverage_factor": value_or_junk,
        "order": st.sampled_from([1, 2, 2, 3, None]),
        "monte_carlo": st.one_of(some(samples=st.integers(0, 300), seed=st.integers(-1, 5)), junk),
    },
)


def refuse(token: str) -> None:
    raise AssertionError(f"{token} is not JSON")


statuses: set[str] = set()


@times(6)
@given(requests)
def test_random_request_is_never_a_5xx(body: dict[str, Any]) -> None:
    response = post("propagate", body)
    found = json.loads(response.content, parse_constant=refuse)
    assert response.status_code in (200, 400, 422), (response.text, body)
    statuses.add("200" if response.status_code == 200 else found["type"])
    if response.status_code == 422:
        assert found["detail"] and all(error["detail"] for error in found.get("errors", ()))


def test_random_requests_reach_answers_and_problems() -> None:
    """A fuzz test that never gets past the first check would find nothing."""
    if statuses:  # the test above ran
        assert statuses >= {"200", "/problems/invalid-request", "/problems/non-finite", "/problems/unknown-node"}
