"""POST /v1/networks/decision-boundary: scores on a grid."""

from typing import Any

import numpy as np
import pytest

from tests.contract.conftest import Post
from tests.contract.networks.calls import call
from tests.contract.wire import json_of, problem
from tests.nn.networks import MODEL, SPEC, demo


def test_points_and_scores_of_micrograds_grid(post: Post) -> None:
    data = {"dataset": "moons", "samples": 100, "noise": 0.1, "seed": 1337}
    inputs = np.array(demo()["inputs"])
    found = call(post, "decision-boundary", model=SPEC, data=data)["points"]
    h = 0.25
    (x_min, y_min), (x_max, y_max) = inputs.min(axis=0) - 1, inputs.max(axis=0) + 1
    xx, yy = np.meshgrid(np.arange(x_min, x_max, h), np.arange(y_min, y_max, h))
    assert [(p["x"], p["y"]) for p in found] == list(zip(xx.ravel().tolist(), yy.ravel().tolist(), strict=True))
    scores = call(post, "predict", model=SPEC, inputs=[[p["x"], p["y"]] for p in found])["outputs"]
    assert [p["score"] for p in found] == [score for (score,) in scores]
    assert set(found[0]) == {"x", "y", "score"}


def test_grid_follows_data_step_and_padding(post: Post) -> None:
    data = {"inputs": [[0.0, 10.0], [1.0, 12.0]], "targets": [1, -1]}
    found = call(post, "decision-boundary", model=MODEL, data=data, step=0.5, padding=0.5)["points"]
    expected = [(x, y) for y in np.arange(9.5, 12.5, 0.5) for x in np.arange(-0.5, 1.5, 0.5)]
    assert [(p["x"], p["y"]) for p in found] == expected


def test_score_of_several_outputs_is_the_index_of_the_greatest(post: Post) -> None:
    spec = {"inputs": 2, "layers": [4, 3], "seed": 5}
    found = call(post, "decision-boundary", model=spec, step=0.5)["points"]
    scores = call(post, "predict", model=spec, inputs=[[p["x"], p["y"]] for p in found])["outputs"]
    assert [p["score"] for p in found] == [float(np.argmax(row)) for row in scores]


def test_targets_are_optional(post: Post) -> None:
    """The grid depends on the inputs alone."""
    model = {"layers": [{"weights": [[1, 2]], "biases": [0]}]}
    body = {"model": model, "data": {"inputs": [[0, 0], [1, 1]]}, "step": 1, "padding": 1}
    points = json_of(post("networks/decision-boundary", **body))["points"]
    assert [(p["x"], p["y"]) for p in points] == [(x, y) for y in (-1.0, 0.0, 1.0) for x in (-1.0, 0.0, 1.0)]
    assert all(p["score"] == p["x"] + 2 * p["y"] for p in points)


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"data": {"inputs": [[0, 0], [0, 1e300]]}, "padding": 0}, id="endless line"),
        pytest.param({"data": {"inputs": [[0, 0], [0, 1e10]]}, "padding": 0}, id="long line"),
        pytest.param(
            {"data": {"inputs": [[1.7976931348623157e308, 0]]}, "step": 1e307, "padding": 1e307}, id="beyond the largest number"
        ),
    ],
)
def test_degenerate_or_endless_grid_is_refused(post: Post, fields: dict[str, Any]) -> None:
    problem(post("networks/decision-boundary", model={"inputs": 2, "layers": [1]}, **fields), None, 422)
