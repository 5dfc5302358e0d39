"""Models in requests and responses: a model or its spec, and numbers that round-trip."""

from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from tests.contract.conftest import Post
from tests.contract.networks.calls import call
from tests.contract.wire import json_of, label
from tests.nn.networks import ROWS, SPEC, Text, parts, written


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("predict", {"inputs": [[1, 2]]}),
        ("backward", {"data": ROWS, "loss": "mse"}),
        ("graph", {"inputs": [1, 2], "target": 1, "loss": "mse"}),
        ("train", {"data": ROWS, "loss": "mse", "steps": 2}),
    ],
    ids=label,
)
def test_spec_may_stand_for_a_model(post: Post, path: str, body: dict[str, Any]) -> None:
    made = call(post, "", **SPEC)["model"]
    given, named = (post(f"networks/{path}", model=model, **body) for model in (made, SPEC))
    assert given.status_code == 200 and given.content == named.content


FLOATS = st.floats(-1e150, 1e150).map(lambda x: x + 0.0)  # no -0.0: an update by 0 may turn it into 0.0
WIDTHS = st.lists(st.integers(1, 4), min_size=2, max_size=4)


@st.composite
def models(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a model of one to three layers."""
    widths = draw(WIDTHS)
    layers = []
    for inputs, neurons in zip(widths, widths[1:], strict=False):
        row = st.lists(FLOATS, min_size=inputs, max_size=inputs)
        weights = draw(st.lists(row, min_size=neurons, max_size=neurons))
        biases = draw(st.lists(FLOATS, min_size=neurons, max_size=neurons))
        layers.append({"weights": weights, "biases": biases, "activation": draw(st.sampled_from(["linear", "tanh", "relu"]))})
    return {"layers": layers}


@hypothesis.given(model=models())
def test_model_round_trips_through_a_training_with_learning_rate_0(post: Post, model: dict[str, Any]) -> None:
    inputs, outputs = len(model["layers"][0]["weights"][0]), len(model["layers"][-1]["biases"])
    body: dict[str, Any] = {
        "data": {"inputs": [[0.5] * inputs], "targets": [[1.5] * outputs]},
        "loss": "mae",
        "optimizer": {"name": "sgd", "learning_rate": 0.0},
        "steps": 2,
    }
    first = post("networks/train", model=model, **body)
    assert json_of(first)["model"] == model
    text = parts(first.content)["model"]
    again = post("networks/train", content=written(model=Text(text), **body))
    assert again.content == first.content
