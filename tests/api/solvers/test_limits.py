"""Every limit on /v1/propagate: a request at the limit is answered, and one over it is refused. And its deadline."""

import json
import time
from typing import Any

import pytest

from tests.service.limits import AtLimit, assert_held, post

UNCERTAIN = {"value": 1, "u": 0.1}
XY: dict[str, Any] = {"expression": "x*y + x", "inputs": {"x": UNCERTAIN, "y": UNCERTAIN}}
SAMPLES = {"monte_carlo": {"samples": 100}}

CASES = [
    AtLimit("propagate", XY, "max_text", 7, ("/expression",)),
    AtLimit("propagate", XY, "max_nodes", 4, ("/expression",)),
    AtLimit("propagate", XY | SAMPLES, "max_points", 100, ("/monte_carlo/samples",)),
    AtLimit("propagate", XY | {"correlations": [["x", "y", 0.5]]}, "max_variables", 2, ("/correlations",)),
    # One output with five numbers for each of two inputs, one correlation and twelve others.
    AtLimit("propagate", XY, "max_numbers", 23),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.setting)
def test_request_at_the_limit_is_answered_and_one_over_it_refused(case: AtLimit) -> None:
    assert_held(case)


WORK = 4 * 3 + 4
"""Four nodes are walked over three times, and two uncertainties make a matrix of four numbers."""


def test_work_is_limited() -> None:
    assert_held(AtLimit("propagate", XY, "max_work", WORK))


@pytest.mark.parametrize(
    "fields",
    [
        SAMPLES,
        {"order": 2},
        {"correlations": [["x", "y", 0.5]]},
        {"expression": "f = x*y + x; f + y", "outputs": ["f", "output"]},
    ],
)
def test_more_of_anything_is_more_work(fields: dict[str, Any]) -> None:
    refused = post("propagate", XY | fields, max_work=WORK)
    assert refused.status_code == 422 and "AUTODIFF_MAX_WORK" in refused.json()["detail"]
    assert post("propagate", XY | fields).status_code == 200


SUM = " + ".join(f"x{k}" for k in range(150))


@pytest.mark.parametrize(
    ("expression", "names", "fields"),
    [
        pytest.param("x" + "*cos(x)" * 2000, ["x"], {"monte_carlo": {"samples": 1_000_000}}, id="samples"),
        pytest.param(f"s = {SUM}; sin(s)*exp(s)", [f"x{k}" for k in range(150)], {"order": 2}, id="second order"),
    ],
)
def test_deadline_ends_the_work(expression: str, names: list[str], fields: dict[str, Any]) -> None:
    body = {"expression": expression, "inputs": dict.fromkeys(names, UNCERTAIN)} | fields
    began = time.perf_counter()
    response = post("propagate", body, compute_timeout_s=0.3)
    assert response.status_code == 503 and response.json()["type"] == "/problems/deadline-exceeded"
    assert time.perf_counter() - began < 5.0


def test_second_order_takes_many_inputs() -> None:
    """The third derivatives of a sum of terms are those of its terms, and most of them are 0."""
    expression = " + ".join(f"sin(x{k}*x{k + 1})" for k in range(300))
    inputs = {f"x{k}": UNCERTAIN for k in range(301)}
    response = post("propagate", {"expression": expression, "inputs": inputs, "order": 2})
    assert response.status_code == 200


def test_million_samples_are_within_the_default_limits() -> None:
    response = post("propagate", XY | {"monte_carlo": {}})
    assert response.status_code == 200
    (result,) = json.loads(response.content)["results"].values()
    assert result["monte_carlo"]["mean"] == pytest.approx(2.0, abs=0.001)
