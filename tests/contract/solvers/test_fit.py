"""POST /v1/fit: the shape of the response, and errors with their places."""

from typing import Any

import pytest

from tests.contract.conftest import Post
from tests.contract.wire import json_of, problem
from tests.rows import for_each

DATA: dict[str, Any] = {
    "x": [77.6, 114.9, 141.1, 190.8, 239.9, 289.0, 332.8, 378.4, 434.8, 477.3, 536.8, 593.1, 689.1, 760.0],
    "y": [10.07, 14.73, 17.94, 23.93, 29.61, 35.18, 40.02, 44.82, 50.76, 55.05, 61.01, 66.40, 75.47, 81.78],
}
MISRA: dict[str, Any] = {
    "expression": "b1*(1 - exp(-b2*x))",
    "data": DATA,
    "target": "y",
    "parameters": {"b1": 500, "b2": 0.0001},
}
CERTIFIED = {"b1": 2.3894212918e02, "b2": 5.5015643181e-04}


def fitted(post: Post, **options: Any) -> Any:
    return json_of(post("fit", **{**MISRA, **options}))


def test_every_field(post: Post) -> None:
    found = fitted(post)
    assert found["parameters"] == pytest.approx(CERTIFIED, rel=1e-10)
    assert found["standard_errors"] == pytest.approx({"b1": 2.7070075241, "b2": 7.2668688436e-06}, rel=1e-10)
    assert found["residual_sum_of_squares"] == pytest.approx(1.2455138894e-01, rel=1e-9)
    assert found["residual_standard_deviation"] == pytest.approx(1.0187876330e-01, rel=1e-9)
    assert found["degrees_of_freedom"] == 12 and found["converged"] is True and found["message"]
    assert found["covariance"]["b1"]["b1"] == pytest.approx(2.7070075241**2, rel=1e-9)
    assert found["covariance"]["b1"]["b2"] == found["covariance"]["b2"]["b1"]
    assert found["correlation"]["b1"]["b1"] == 1.0 and -1.0 < found["correlation"]["b1"]["b2"] < -0.99
    assert len(found["residuals"]) == 14 and found["intervals"]["b1"][0] < 238.9 < found["intervals"]["b1"][1]
    assert {"r_squared", "aic", "bic", "iterations", "evaluations"} <= found.keys()
    assert not {"derived", "predictions", "influence"} & found.keys()


def test_what_is_asked_for_comes_too(post: Post) -> None:
    options: dict[str, Any] = {"derived": {"half": "log(2)/b2"}, "predict": {"x": [100, 200]}, "influence": True}
    found = fitted(post, **options, intervals="profile", level=0.9)
    assert found["derived"]["half"]["value"] == pytest.approx(0.6931471805599453 / CERTIFIED["b2"], rel=1e-9)
    bands = found["predictions"]
    assert len(bands["value"]) == len(bands["confidence"]) == len(bands["prediction"]) == 2
    assert bands["prediction"][0][0] < bands["confidence"][0][0] < bands["value"][0] < bands["confidence"][0][1]
    assert {name: len(column) for name, column in found["influence"].items()} == {"b1": 14, "b2": 14}
    assert "intervals" not in fitted(post, intervals="none")


def test_a_target_may_be_a_list_and_a_column_a_number(post: Post) -> None:
    plain = fitted(post)
    data = {"x": DATA["x"], "one": 1}
    assert fitted(post, data=data, target=DATA["y"], expression="b1*(one - exp(-b2*x))") == plain
    assert fitted(post, parameters={"b1": {"start": 500}, "b2": {"start": 1e-4, "min": None}}) == plain
    assert fitted(post, bounds={"b1": [None, None]}) == plain


def test_sigma_may_be_a_column_a_list_or_a_number(post: Post) -> None:
    sigma = [0.1] * 14
    by_list = fitted(post, sigma=sigma)
    assert fitted(post, sigma="s", data={**DATA, "s": sigma}) == by_list
    assert fitted(post, sigma=0.1) == by_list
    assert fitted(post, weights=[100.0] * 14)["parameters"] == pytest.approx(by_list["parameters"], rel=1e-14)


def test_a_graph(post: Post) -> None:
    nodes = [{"id": "m", "op": "mul", "args": ["a", "x"]}, *({"id": name, "op": "value"} for name in "ax")]
    found = json_of(
        post(
            "fit", expression={"nodes": nodes, "output": "m"}, data={"x": [1, 2], "y": [2, 4]}, target="y", parameters={"a": 1}
        )
    )
    assert found["parameters"] == {"a": 2.0} and found["residual_sum_of_squares"] == 0.0


def test_what_does_not_exist_is_null(post: Post) -> None:
    found = fitted(post, data={"x": [100, 200], "y": [10, 19]}, predict={"x": [300]})
    assert found["standard_errors"] == {"b1": None, "b2": None} and found["intervals"]["b1"] == [None, None]
    assert found["residual_standard_deviation"] is None and found["covariance"]["b1"]["b2"] is None
    assert found["predictions"]["confidence"] == [[None, None]]
    assert "degrees of freedom" in found["message"]
    bounded = fitted(post, parameters={"b1": {"start": 200, "max": 220}, "b2": 1e-4})
    assert bounded["parameters"]["b1"] == 220.0 and bounded["standard_errors"]["b1"] is None and "'b1'" in bounded["message"]


BAD: dict[str, tuple[dict[str, Any], str, str]] = {
    "an unknown name": ({"expression": "b1*(1 - exp(-b2*q))"}, "unbound-input", "/expression"),
    "a parameter of nothing": ({"parameters": {"b1": 1, "b2": 1, "b3": 1}}, "unknown-node", "/parameters/b3"),
    "no such target": ({"target": "z"}, "unknown-node", "/target"),
    "an empty column": ({"data": {"x": [], "y": []}}, "shape-mismatch", "/data/x"),
    "columns of unlike length": ({"data": {"x": [1, 2], "y": [1, 2, 3]}}, "shape-mismatch", "/data/x"),
    "fewer rows than parameters": ({"data": {"x": [1], "y": [2]}}, "shape-mismatch", "/data"),
    "bounds that cross": ({"bounds": {"b1": [2, 1]}}, "invalid-request", "/bounds/b1"),
    "a start outside": ({"bounds": {"b1": [0, 1]}}, "invalid-request", "/parameters/b1"),
    "bounded twice": (
        {"parameters": {"b1": {"start": 1, "min": 0}, "b2": 1}, "bounds": {"b1": [0, 9]}},
        "invalid-request",
        "/bounds/b1",
    ),
    "bounds of nothing": ({"bounds": {"b9": [0, 1]}}, "unknown-node", "/bounds/b9"),
    "bounds of three": ({"bounds": {"b1": [0, 1, 2]}}, "invalid-request", "/bounds/b1"),
    "a bound as text": ({"bounds": {"b1": ["0", 1]}}, "invalid-request", "/bounds/b1/0"),
    "sigma and weights": ({"sigma": 1, "weights": 1}, "invalid-request", "/weights"),
    "a level of 1": ({"level": 1}, "invalid-request", "/level"),
    "an unknown loss": ({"loss": "tukey"}, "invalid-request", "/loss"),
    "a parameter as text": ({"parameters": {"b1": "1", "b2": 1}}, "invalid-request", "/parameters/b1"),
    "a derived text": ({"derived": {"d": "2*"}}, "syntax-error", "/derived/d"),
    "a derived name": ({"derived": {"d": "2*q"}}, "unbound-input", "/derived/d"),
    "a prediction without x": ({"predict": {"z": [1]}}, "unbound-input", "/predict"),
    "a start without a value": (
        {"expression": "log(b1)*x + b2", "parameters": {"b1": -1, "b2": 1}},
        "non-finite",
        "/expression",
    ),
    "no starts": ({"starts": 0}, "invalid-request", "/starts"),
}


@for_each(("options", "kind", "pointer"), BAD.values())
def test_bad_input(post: Post, options: dict[str, Any], kind: str, pointer: str) -> None:
    found = problem(post("fit", **{**MISRA, **options}), kind, 422)
    assert found["errors"][0]["pointer"] == pointer
    assert '"nonfinite"' not in found["detail"], "a fit has no such field"


def test_the_same_request_gets_the_same_bytes(post: Post) -> None:
    request: dict[str, Any] = {**MISRA, "starts": 5, "seed": 3, "bounds": {"b1": [100, 600], "b2": [1e-5, 1e-3]}}
    assert post("fit", **request).content == post("fit", **request).content
