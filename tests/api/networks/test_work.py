"""Limits on requests about networks, and the estimates of their run time."""

import json
import math
from typing import Any

import pytest

from app.api.networks import work
from app.api.networks.models import NetworkSpec, TrainRequest
from app.nn import MLP, losses
from app.service.bodies import parse
from app.service.problems import Problem
from tests.service.inprocess import job_with


def seconds(**fields: Any) -> float:
    """The estimate for a training."""
    model = {"inputs": 2, "layers": [16, 16, 1]}
    body = {"model": model, "data": {"dataset": "spiral", "samples": 100}, "loss": "mse", "steps": 1, **fields}
    return work.estimate_training(parse(json.dumps(body).encode(), TrainRequest))


def test_estimates_grow_with_everything_that_costs_time() -> None:
    base = seconds()
    for fields in (
        {"steps": 100},
        {"model": {"inputs": 2, "layers": [160, 160, 1]}},
        {"data": {"dataset": "spiral", "samples": 10_000}},
        {"loss": {"expression": "(score - target)**2" + " + 0*score" * 100}},
        {"optimizer": {"learning_rate": "0*(" + "-" * 3000 + "step)"}},
    ):
        assert seconds(**fields) > 1.5 * base, fields


def test_batches_cost_less_than_all_rows() -> None:
    rows = {"data": {"dataset": "spiral", "samples": 10_000}}
    assert seconds(**rows, batch_size=10) < 0.2 * seconds(**rows)
    assert seconds(**rows, batch_size=1_000_000) == seconds(**rows)


def test_dataset_of_a_library_takes_an_unknown_time() -> None:
    assert seconds(data={"dataset": "moons"}) == math.inf


def test_new_model_has_a_limit() -> None:
    work.check_spec(job_with(max_numbers=9), NetworkSpec(inputs=2, layers=[2, 1]))
    with pytest.raises(Problem, match="there would be 9 numbers; the limit is 8, and AUTODIFF_MAX_NUMBERS raises it"):
        work.check_spec(job_with(max_numbers=8), NetworkSpec(inputs=2, layers=[2, 1]))


def test_scores_have_a_limit() -> None:
    work.check_scores(job_with(max_numbers=30), MLP(2, [2, 1]), 10)
    with pytest.raises(Problem, match="AUTODIFF_MAX_NUMBERS"):
        work.check_scores(job_with(max_numbers=29), MLP(2, [2, 1]), 10)


def test_training_has_a_limit() -> None:
    model, loss = MLP(2, [2, 1]), losses.named("mse")
    work.check_training(job_with(max_work=9 * 10 * 5), model, 10, 5, loss)
    with pytest.raises(Problem, match="9 parameters, 10 rows per step and 5 steps are 450 steps of work") as caught:
        work.check_training(job_with(max_work=449), model, 10, 5, loss)
    assert [error.pointer for error in caught.value.errors] == ["/steps"]
