"""Requests for streamed trainings, and the check of a stream that ended well."""

from typing import Any

from tests.nn.networks import SPEC

PATH = "/v1/networks/train/stream"
MOONS = {"dataset": "moons", "samples": 100, "noise": 0.1, "seed": 1337}
SMALL: dict[str, Any] = {"model": SPEC, "data": MOONS, "loss": "max_margin", "steps": 50}

LONG: dict[str, Any] = {
    "model": {"inputs": 2, "layers": [16, 16, 1], "seed": 1337},
    "data": MOONS,
    "loss": "max_margin",
    "l2": 1e-4,
    "optimizer": {"learning_rate": 0.01},
    "steps": 2_000_000,
    "log_every": 1000,
}
"""A training of about twenty seconds."""


def assert_progress(found: list[tuple[str, Any]], log_every: int = 1) -> list[Any]:
    """Return the progress rows of a stream that ended with a result.

    There is at least one, they are in order, and each whose step is logged is a row of the result's history.
    """
    assert [name for name, _ in found] == ["progress"] * (len(found) - 1) + ["result"]
    progress, result = [data for _, data in found[:-1]], found[-1][1]
    assert progress
    steps = [row["step"] for row in progress]
    assert steps == sorted(set(steps))
    by_step = {row["step"]: row for row in result["history"]}
    for row in progress:
        if row["step"] % log_every == 0:
            assert by_step[row["step"]] == row
    return progress
