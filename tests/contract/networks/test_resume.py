"""Resuming a training from the model and the state of a response."""

import json
from collections.abc import Callable
from functools import cache
from typing import Any

import httpx
import pytest

from tests.contract.conftest import Post
from tests.contract.networks.calls import MOONS, train
from tests.contract.wire import json_of, problem
from tests.nn.networks import OPTIMIZERS, SPEC, Text, parts, rows, written
from tests.rows import for_each

Whole = Callable[[str, int | None], dict[str, str]]


def resume(post: Post, first: httpx.Response, **body: Any) -> httpx.Response:
    """Train on from the text of the model and the state in a response."""
    text = parts(first.content)
    assert json_of(first)["stopped"] == "completed"
    return post("networks/train", content=written(**body | {"model": Text(text["model"]), "state": Text(text["state"])}))


def run(name: str, batch: int | None) -> dict[str, Any]:
    """Return a training request without its model and steps."""
    return {
        "data": MOONS,
        "loss": "max_margin",
        "l2": 1e-3,
        "optimizer": OPTIMIZERS[name],
        "batch_size": batch,
        "seed": 3,
    }


@pytest.fixture(scope="module")
def whole_of(post: Post) -> Whole:
    """The parts of the response to all 100 steps at once, which several tests compare with; it is asked for once."""

    @cache
    def whole(name: str, batch: int | None) -> dict[str, str]:
        return parts(post("networks/train", model=SPEC, steps=100, **run(name, batch)).content)

    return whole


@for_each(("first", "second"), [(60, 40), (1, 99), (99, 1)])
@for_each("batch", [None, 7])
@for_each("name", OPTIMIZERS)
def test_two_parts_give_the_same_bytes_as_the_whole(
    post: Post, whole_of: Whole, name: str, batch: int | None, first: int, second: int
) -> None:
    body, whole = run(name, batch), whole_of(name, batch)
    assert list(whole) == ["model", "state", "history", "stopped"]
    one = post("networks/train", model=SPEC, steps=first, **body)
    two = resume(post, one, steps=second, **body)
    found = parts(two.content)
    assert (found["model"], found["state"]) == (whole["model"], whole["state"])
    assert rows(parts(one.content)["history"]) + rows(found["history"]) == rows(whole["history"])

    # A client may parse the numbers and write them again, as Python does.
    state, model = json.loads(json.dumps(json_of(one)["state"])), json.loads(json.dumps(json_of(one)["model"]))
    assert post("networks/train", model=model, state=state, steps=second, **body).content == two.content


@for_each("batch", [None, 7])
@for_each("name", OPTIMIZERS)
def test_thinned_history_of_two_parts(post: Post, whole_of: Whole, name: str, batch: int | None) -> None:
    """With log_every=7 there is each seventh step of the whole, and the last of each part."""
    body, whole = run(name, batch), whole_of(name, batch)
    one = post("networks/train", model=SPEC, steps=60, **body | {"log_every": 7})
    two = parts(resume(post, one, steps=40, **body | {"log_every": 7}).content)
    assert (two["model"], two["state"]) == (whole["model"], whole["state"])
    every = rows(whole["history"])
    assert rows(parts(one.content)["history"]) == [*every[:60:7], every[59]]
    assert rows(two["history"]) == [*every[63::7], every[99]]


@for_each(
    ("name", "buffers"),
    [
        ("sgd", set()),
        ("sgd momentum", {"momentum_buffer"}),
        ("adam", {"exp_avg", "exp_avg_sq"}),
        ("adam amsgrad", {"exp_avg", "exp_avg_sq", "max_exp_avg_sq"}),
        ("adamw", {"exp_avg", "exp_avg_sq"}),
        ("rmsprop", {"square_avg"}),
        ("rmsprop momentum", {"square_avg", "momentum_buffer"}),
        ("rmsprop centered", {"square_avg", "grad_avg", "momentum_buffer"}),
    ],
)
def test_state_counts_steps_and_has_pytorchs_buffers(post: Post, name: str, buffers: set[str]) -> None:
    state = train(post, optimizer=OPTIMIZERS[name], steps=5)["state"]
    assert state["step"] == 5 and state["optimizer"]["name"] == OPTIMIZERS[name]["name"]
    assert set(state["optimizer"]) - {"name"} == buffers


def test_step_of_a_state_may_be_large(post: Post) -> None:
    far = 10**12
    found = train(post, state={"step": far}, steps=3)
    assert [row["step"] for row in found["history"]] == [far, far + 1, far + 2] and found["state"]["step"] == far + 3


@pytest.mark.parametrize("step", [2**63 - 2, 2**63, 10**30], ids=["last step overflows", "2**63", "10**30"])
def test_step_of_a_state_beyond_64_bits_is_refused(post: Post, step: int) -> None:
    body = {"model": SPEC, "data": MOONS, "loss": "max_margin", "steps": 3, "state": {"step": step}}
    problem(post("networks/train", **body), None, 422, "/state/step")
