"""Training from Python: names and lists give the numbers that the records give."""

import doctest
from typing import Any

import numpy as np
import pytest

import app.nn
from app.engine.errors import EngineError
from app.engine.text import parse
from app.nn import MLP, losses, optimizers, predict, train, training
from app.nn.errors import InvalidNetwork, NetworkMismatch
from app.nn.training import TrainingOptions

INPUTS = [[0, 0], [0, 1], [1, 0], [1, 1]]
TARGETS = [-1, 1, 1, -1]
MODEL = MLP(2, [4, 1], seed=1)


def test_names_and_lists_train_as_the_records_do() -> None:
    found = train(
        MODEL, INPUTS, TARGETS, loss="max_margin", optimizer="adam", learning_rate=0.05, steps=20, l2=0.01, batch_size=3, seed=2
    )
    options = TrainingOptions(losses.named("max_margin"), optimizers.make("adam", 0.05), 20, l2=0.01, batch_size=3, seed=2)
    same = training.train(MODEL, np.array(INPUTS, np.float64), np.array(TARGETS, np.float64)[:, np.newaxis], options)
    assert found.model.parameters() == same.model.parameters() and found.history == same.history
    assert predict(found.model, INPUTS).shape == (4, 1)


def test_the_first_loss_is_that_of_the_model_by_hand() -> None:
    result = train(MODEL, INPUTS, TARGETS, loss="(score - target)**2", steps=1)
    scores = predict(MODEL, INPUTS)[:, 0]
    assert result.history[0].loss == pytest.approx(np.mean((scores - np.array(TARGETS)) ** 2), rel=1e-14)


def test_the_rate_may_be_an_expression_of_the_step() -> None:
    result = train(MODEL, INPUTS, TARGETS, learning_rate="0.1/(step + 1)", steps=3)
    assert [row.learning_rate for row in result.history] == pytest.approx([0.1, 0.05, 0.1 / 3])


def test_a_stopped_training_resumes() -> None:
    whole = train(MODEL, INPUTS, TARGETS, optimizer="adam", steps=10)
    half = train(MODEL, INPUTS, TARGETS, optimizer="adam", steps=4)
    rest = train(half.model, INPUTS, TARGETS, optimizer="adam", steps=6, state=half.state)
    assert rest.model.parameters() == whole.model.parameters()


WRONG: dict[str, tuple[dict[str, Any], type[EngineError], str]] = {
    "loss of another library": ({"loss": "hinge"}, InvalidNetwork, "'max_margin'"),
    "optimizer of another library": ({"optimizer": "Adam"}, InvalidNetwork, "'adam'"),
    "one row": ({"inputs": [1, 2]}, NetworkMismatch, "rows of numbers"),
    "ragged rows": ({"inputs": [[1, 2], [3]]}, NetworkMismatch, "all of one length"),
    "texts": ({"inputs": [["a", "b"]]}, NetworkMismatch, "rows of numbers"),
    "targets of another number": ({"targets": [1, -1]}, NetworkMismatch, "targets"),
}


@pytest.mark.parametrize(("fields", "kind", "message"), WRONG.values(), ids=WRONG)
def test_wrong_arguments_are_explained(fields: dict[str, Any], kind: type[EngineError], message: str) -> None:
    arguments: dict[str, Any] = {"inputs": INPUTS, "targets": TARGETS} | fields
    with pytest.raises(kind) as caught:
        train(MODEL, **arguments)
    assert message in caught.value.detail


def test_a_rate_belongs_to_a_name() -> None:
    for rate in (0.1, 0.0, ""):
        with pytest.raises(TypeError, match="learning_rate"):
            train(MODEL, INPUTS, TARGETS, optimizer=optimizers.make("adam"), learning_rate=rate)
    assert train(MODEL, INPUTS, TARGETS, optimizer=optimizers.make("adam", parse("0.1*step")), steps=1).stopped == "completed"


def test_examples_in_docstrings() -> None:
    found = doctest.testmod(app.nn)
    assert found.failed == 0 and found.attempted == 5
