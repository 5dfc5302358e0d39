"""POST /v1/networks/history: a training's history by column."""

from tests.contract.conftest import Post
from tests.contract.networks.calls import call
from tests.nn.networks import ROWS, SPEC


def test_history_by_column(post: Post) -> None:
    trained = call(post, "train", model=SPEC, data=ROWS, loss="max_margin", steps=7)
    found = call(post, "history", history=trained["history"])
    names = ("step", "loss", "data_loss", "regularization_loss", "accuracy", "learning_rate")
    assert found == {name: [row[name] for row in trained["history"]] for name in names}
    assert found["step"] == list(range(7))
