"""POST /v1/networks/predict."""

from typing import Any

import numpy as np

from tests.contract.conftest import Post
from tests.contract.networks.calls import call
from tests.contract.wire import assert_mentions, problem
from tests.nn.networks import ROWS
from tests.rows import for_each


def test_outputs_agree_with_numpy(post: Post) -> None:
    draw = np.random.default_rng(8)
    weights, biases = draw.normal(size=(4, 3)), draw.normal(size=4)
    last, bias = draw.normal(size=(2, 4)), draw.normal(size=2)
    inputs = draw.normal(size=(50, 3))
    layers = [
        {"weights": weights.tolist(), "biases": biases.tolist(), "activation": "tanh"},
        {"weights": last.tolist(), "biases": bias.tolist(), "activation": "exp"},
    ]
    found = call(post, "predict", model={"layers": layers}, inputs=inputs.tolist())
    assert set(found) == {"outputs"}
    expected = np.exp(np.tanh(inputs @ weights.T + biases) @ last.T + bias)
    np.testing.assert_allclose(found["outputs"], expected, rtol=1e-13)


OVERFLOW = {"layers": [{"weights": [[1.0], [1e200]], "biases": [0.0, 0.0]}]}


def test_overflow_names_output_and_row(post: Post) -> None:
    response = post("networks/predict", model=OVERFLOW, inputs=[[1.0], [1e150]])
    assert_mentions(problem(response, "non-finite", 422), ["output 1", "row 1"])


@for_each("size", [1e100, 1e154, 1e200, 1.7e308])
@for_each(
    ("path", "body"),
    [
        ("predict", {"inputs": [[1.0, 1.0], [2.0, 1.5]]}),
        ("backward", {"data": ROWS, "loss": "mse", "input_gradients": True}),
        ("train", {"data": ROWS, "loss": "mse", "steps": 5}),  # sgd
        ("train", {"data": ROWS, "loss": "mae", "steps": 5, "optimizer": {"name": "adam"}, "l2": 1e-3}),
        ("train", {"data": ROWS, "loss": "mae", "steps": 5, "optimizer": {"name": "rmsprop", "momentum": 0.9}}),
        ("decision-boundary", {"step": 1.0}),
    ],
)
def test_huge_weights_give_finite_numbers_or_a_problem(post: Post, path: str, body: dict[str, Any], size: float) -> None:
    """A response never has null where a number belongs."""
    huge = {"layers": [{"weights": [[size, -size]], "biases": [size]}]}
    response = post(f"networks/{path}", model=huge, **body)
    if response.status_code == 200:
        assert b"null" not in response.content
    else:
        problem(response, "non-finite", 422)
