"""A state that does not fit the optimizer or the model."""

from typing import Any

from tests.contract.conftest import Post
from tests.contract.networks.fault_cases import BASES
from tests.contract.networks.faults import ADAM, BUFFER, NEITHER, OTHER, RMSPROP
from tests.contract.wire import assert_mentions, problem
from tests.rows import for_each

STATES: list[tuple[dict[str, Any], dict[str, Any], str, list[str]]] = [
    ({"name": "sgd", "momentum": 0.9}, {"step": 1}, "/state/optimizer", ["momentum_buffer"]),
    ({"name": "sgd", "momentum": 0.9}, {"step": 1, "optimizer": {"name": "sgd"}}, "/state/optimizer", ["momentum_buffer"]),
    ({"name": "adam"}, {"step": 1, "optimizer": ADAM | {"exp_avg_sq": None}}, "/state/optimizer", ["exp_avg_sq"]),
    ({"name": "adam", "amsgrad": True}, {"step": 1, "optimizer": ADAM}, "/state/optimizer", ["max_exp_avg_sq"]),
    (
        {"name": "adam"},
        {"step": 1, "optimizer": ADAM | {"max_exp_avg_sq": BUFFER}},
        "/state/optimizer/max_exp_avg_sq",
        ["adam"],
    ),
    ({"name": "adamw"}, {"step": 1, "optimizer": ADAM}, "/state/optimizer/name", ["adam", "adamw"]),
    ({"name": "adam"}, {"step": 1, "optimizer": ADAM | {"exp_avg": OTHER}}, "/state/optimizer/exp_avg", ["exp_avg", "shape"]),
    ({"name": "adam"}, {"step": 1, "optimizer": ADAM | {"exp_avg": {"layers": []}}}, "/state/optimizer/exp_avg", []),
    (
        {"name": "adam"},
        {"step": 1, "optimizer": ADAM | {"exp_avg": {"layers": BUFFER["layers"][:1]}}},
        "/state/optimizer/exp_avg",
        ["exp_avg", "shape"],
    ),
    (
        {"name": "adam"},
        {"step": 1, "optimizer": ADAM | {"exp_avg": {"layers": [{"weights": [[1, 2], [1]], "biases": [0, 0]}]}}},
        "/state/optimizer/exp_avg/layers/0/weights/1",
        ["row 1"],
    ),
    ({"name": "rmsprop", "centered": True}, {"step": 1, "optimizer": RMSPROP}, "/state/optimizer", ["grad_avg"]),
]


@for_each(("optimizer", "state", "pointer", "words"), STATES)
def test_state_that_does_not_fit_is_named(
    post: Post, optimizer: dict[str, Any], state: dict[str, Any], pointer: str, words: list[str]
) -> None:
    request = BASES["networks/train"] | {"optimizer": optimizer, "state": state}
    body = problem(post("networks/train", **request), None, 422)
    assert body["type"].removeprefix("/problems/") in NEITHER
    assert any(entry["pointer"].startswith(pointer) for entry in body["errors"]), body
    assert_mentions(body, words)
