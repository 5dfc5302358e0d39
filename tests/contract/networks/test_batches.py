"""Mini-batches: which rows a step uses."""

import math
from typing import Any

import pytest

from tests.contract.conftest import Post
from tests.contract.networks.calls import MOONS, train
from tests.nn.networks import SPEC


def drawn(post: Post, count: int, **body: Any) -> list[set[int]]:
    """Return the rows of each step. Target k is 2**k, the score stays 0, and so the loss of a step tells its rows."""
    model = {"layers": [{"weights": [[0.0]], "biases": [0.0]}]}
    data = {"inputs": [[0.0]] * count, "targets": [2.0**k for k in range(count)]}
    found = train(post, model=model, data=data, loss="mae", optimizer={"learning_rate": 0.0}, **body)
    size, steps = body["batch_size"], []
    per_epoch = math.ceil(count / size)
    for row in found["history"]:
        here = count - size * (per_epoch - 1) if row["step"] % per_epoch == per_epoch - 1 else size
        bits = round(row["loss"] * here)
        steps.append({k for k in range(count) if bits >> k & 1})
        assert len(steps[-1]) == here
    return steps


@pytest.mark.parametrize(("count", "size"), [(23, 5), (20, 5), (7, 1), (9, 8)])
def test_every_epoch_uses_each_row_once(post: Post, count: int, size: int) -> None:
    per_epoch = math.ceil(count / size)
    steps = drawn(post, count, batch_size=size, steps=4 * per_epoch, seed=1)
    for epoch in range(4):
        used = [row for batch in steps[epoch * per_epoch : (epoch + 1) * per_epoch] for row in batch]
        assert sorted(used) == list(range(count)), f"epoch {epoch}"


def test_epochs_have_orders_of_their_own(post: Post) -> None:
    steps = drawn(post, 23, batch_size=5, steps=10, seed=1)
    assert steps[:5] != steps[5:]


def test_rows_of_a_step_depend_on_seed_and_step_alone(post: Post) -> None:
    whole = drawn(post, 23, batch_size=5, steps=30, seed=1)
    assert drawn(post, 23, batch_size=5, steps=12, seed=1) == whole[:12]
    for start in (1, 4, 5, 10, 17):
        assert drawn(post, 23, batch_size=5, steps=30 - start, seed=1, state={"step": start}) == whole[start:], start
    assert drawn(post, 23, batch_size=5, steps=30, seed=2) != whole
    assert drawn(post, 23, batch_size=5, steps=30, seed=0) == drawn(post, 23, batch_size=5, steps=30)


@pytest.mark.parametrize("size", [None, 40, 41, 10**9], ids=["null", "all", "one more", "huge"])
def test_batch_of_all_rows_equals_no_batches(post: Post, size: int | None) -> None:
    body: dict[str, Any] = {"model": SPEC, "data": MOONS, "loss": "max_margin", "steps": 20}
    whole = post("networks/train", **body)
    assert whole.status_code == 200 and post("networks/train", batch_size=size, **body).content == whole.content
