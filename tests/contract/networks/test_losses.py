"""Losses given as expressions."""

import math
from typing import Any

import pytest

from tests.contract.conftest import Post
from tests.contract.networks.calls import call, train
from tests.nn.networks import ROWS, SPEC

SQUARE = [
    {"id": "score", "op": "value"},
    {"id": "target", "op": "value"},
    {"id": "d", "op": "sub", "args": ["score", "target"]},
    {"id": "out", "op": "pow", "args": ["d", 2]},
]


@pytest.mark.parametrize("expression", ["(score - target)**2", {"nodes": SQUARE, "output": "out"}], ids=["text", "graph"])
@pytest.mark.parametrize(
    ("path", "more"),
    [("train", {"steps": 30, "optimizer": {"name": "adam", "learning_rate": 0.05}}), ("backward", {})],
    ids=["train", "backward"],
)
def test_squared_difference_is_mse_to_the_last_bit(post: Post, path: str, more: dict[str, Any], expression: Any) -> None:
    data = {"inputs": ROWS["inputs"], "targets": [[0.5, 1.0], [-1.0, 2.0], [0.25, 0.0], [3.0, -1.0]]}
    body: dict[str, Any] = {"model": SPEC | {"layers": [5, 2]}, "data": data, **more}
    named = post(f"networks/{path}", loss="mse", **body)
    assert named.status_code == 200
    assert post(f"networks/{path}", loss={"expression": expression}, **body).content == named.content


@pytest.mark.parametrize(("expression", "loss"), [("target", 0.0), ("1.5", 1.5)])
def test_loss_that_ignores_the_score_is_constant(post: Post, expression: str, loss: float) -> None:
    """Half of the targets of moons are -1 and half are 1."""
    found = train(post, loss={"expression": expression}, steps=3)
    assert [row["loss"] for row in found["history"]] == [loss] * 3


@pytest.mark.parametrize("expression", ["score", "a = score*score; 0.5*a"])
def test_loss_may_ignore_the_target(post: Post, expression: str) -> None:
    first = train(post, loss={"expression": expression}, steps=3)["history"][0]
    data = {"inputs": ROWS["inputs"], "targets": [0, 0, 0, 0]}
    rows = train(post, loss={"expression": expression}, data=data, steps=1)["history"][0]
    scores = [score for (score,) in call(post, "predict", model=SPEC, inputs=ROWS["inputs"])["outputs"]]
    expected = scores if expression == "score" else [0.5 * score * score for score in scores]
    assert math.isfinite(first["loss"]) and rows["loss"] == pytest.approx(math.fsum(expected) / 4, rel=1e-12)
