"""Calls of the network operations, and requests that several tests share."""

from typing import Any

import pytest

from tests.contract.conftest import Post
from tests.contract.wire import json_of
from tests.nn.networks import SPEC

MOONS = {"dataset": "moons", "samples": 40, "noise": 0.2, "seed": 5}


def call(post: Post, path: str, **body: Any) -> Any:
    """Post to /v1/networks/<path>, or to /v1/networks if the path is empty, and return the JSON of the success."""
    return json_of(post(f"networks/{path}".rstrip("/"), **body))


def train(post: Post, **body: Any) -> Any:
    """Train a small network on moons, with these fields added or replaced, and return the JSON of the success."""
    return call(post, "train", **({"model": SPEC, "data": MOONS, "loss": "max_margin"} | body))


def assert_close(found: float, expected: float, where: object = None) -> None:
    """Assert that two numbers agree to ten digits."""
    assert found == pytest.approx(expected, rel=1e-10, abs=1e-10), where
