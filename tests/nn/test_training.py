"""Training: what comes out depends on nothing but what went in, wherever it is cut into chunks or stopped and resumed."""

import math
import random
import time
from typing import Any

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from app.engine.errors import EngineError, InvalidNode, UnboundInput
from app.engine.text import parse
from app.nn import MLP, losses, optimizers, training
from app.nn.errors import InvalidNetwork, Misfit
from app.nn.training import Row, State, Trained, batch_rows

draw = random.Random(12)
INPUTS = np.array([[draw.uniform(-1, 1) for _ in range(2)] for _ in range(23)])
TARGETS = np.array([[draw.choice([-1.0, 1.0])] for _ in range(23)])
MODEL = MLP(2, [4, 1], activation="tanh", seed=3)
ADAM = optimizers.make("adam", 0.02, {"amsgrad": 1.0})

quick = hypothesis.settings(deadline=None, derandomize=True, database=None, max_examples=40)


def train(**options: Any) -> Trained:
    given: dict[str, Any] = {"loss": losses.named("max_margin"), "optimizer": ADAM, "steps": 50, "batch_size": 5, "seed": 9}
    return training.train(options.pop("model", MODEL), INPUTS, TARGETS, **(given | options))


def numbers(trained: Trained) -> list[Any]:
    """All of a training's numbers but its history."""
    buffers = {name: model.parameters() for name, model in trained.state.buffers.items()}
    return [trained.model.parameters(), trained.state.step, buffers]


def sgd(rate: str | float) -> Any:
    return optimizers.make("sgd", parse(rate) if isinstance(rate, str) else rate, {})


# --- mini-batches


@quick
@hypothesis.given(
    rows=st.integers(1, 40),
    size=st.integers(1, 45),
    seed=st.integers(0, 2**70),
    first=st.integers(0, 90),
    steps=st.integers(1, 40),
)
def test_the_rows_of_a_step_depend_on_seed_and_step_alone(rows: int, size: int, seed: int, first: int, steps: int) -> None:
    whole, bounds = batch_rows(rows, size, seed, 0, first + steps)
    some, cuts = batch_rows(rows, size, seed, first, steps)
    assert some.tolist() == whole[bounds[first] :].tolist()
    assert cuts.tolist() == (bounds[first:] - bounds[first]).tolist()


@quick
@hypothesis.given(rows=st.integers(1, 60), size=st.integers(1, 70), seed=st.integers(0, 2**32), epochs=st.integers(1, 4))
def test_an_epoch_uses_each_row_once(rows: int, size: int, seed: int, epochs: int) -> None:
    per_epoch = math.ceil(rows / size)
    drawn, bounds = batch_rows(rows, size, seed, 0, per_epoch * epochs)
    for epoch in range(epochs):
        steps = range(epoch * per_epoch, (epoch + 1) * per_epoch)
        batches = [drawn[bounds[k] : bounds[k + 1]].tolist() for k in steps]
        assert sorted(row for batch in batches for row in batch) == list(range(rows))
        assert all(len(batch) == min(size, rows) for batch in batches[:-1])


def test_orders_differ_between_epochs_and_seeds() -> None:
    orders = [batch_rows(50, 50, seed, epoch, 1)[0].tolist() for seed in range(3) for epoch in range(3)]
    assert len({tuple(order) for order in orders}) == 9


def test_a_batch_of_all_rows_is_no_batch() -> None:
    whole = numbers(train(batch_size=None))
    assert numbers(train(batch_size=23)) == numbers(train(batch_size=24)) == numbers(train(batch_size=10**12)) == whole


def test_a_step_is_one_on_its_own_rows() -> None:
    """The history of a mini-batch training has the losses and accuracies of the very rows that were drawn."""
    rows, bounds = batch_rows(23, 5, 9, 0, 50)
    for row in train(optimizer=sgd(0.0)).history:
        chosen = rows[bounds[row.step] : bounds[row.step + 1]]
        alone = training.gradients(MODEL, INPUTS[chosen], TARGETS[chosen], losses.named("max_margin"))
        assert (row.data_loss, row.accuracy) == (pytest.approx(alone.data_loss, rel=1e-14), alone.accuracy)


# --- chunks, resumption


@pytest.mark.parametrize("seconds", [0.0, 1e-4, 10.0])
def test_chunks_leave_no_trace(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    expected = train(steps=200)
    monkeypatch.setattr(training, "CHUNK_SECONDS", seconds)
    found = train(steps=200)
    assert numbers(found) == numbers(expected) and found.history == expected.history


@quick
@hypothesis.given(
    cuts=st.lists(st.integers(1, 49), max_size=4, unique=True).map(sorted),
    every=st.integers(1, 60),
    size=st.sampled_from([None, 1, 5, 22]),
    optimizer=st.sampled_from(list(optimizers.NAMES)),
)
def test_wherever_it_is_cut_training_comes_to_the_same(cuts: list[int], every: int, size: int | None, optimizer: str) -> None:
    options: dict[str, Any] = {"optimizer": optimizers.make(optimizer, 0.02, {}), "batch_size": size, "log_every": every}
    expected = train(**options)
    model, state, history = MODEL, State(), []
    for first, last in zip([0, *cuts], [*cuts, 50], strict=True):
        part = train(model=model, state=state, steps=last - first, **options)
        model, state = part.model, part.state
        history += [row for row in part.history if row.step % every == 0 or row.step == 49]
        assert part.history[-1].step == last - 1, "the last step is always there"
    assert numbers(part) == numbers(expected)
    assert history == expected.history


@pytest.mark.parametrize("garbage", [math.nan, math.inf, 1e308])
@pytest.mark.parametrize("optimizer", optimizers.NAMES)
def test_what_stood_in_memory_before_does_not_matter(monkeypatch: pytest.MonkeyPatch, garbage: float, optimizer: str) -> None:
    """Arrays that are made without content are filled before they are read, whatever the layers, the loss and the batch."""
    model = MLP(2, [3, 1, 4, 1], activation="gelu", seed=3)

    def results() -> list[Any]:
        found: list[Any] = []
        for loss in losses.EXPRESSIONS:
            given = losses.named(loss)
            targets = np.abs(TARGETS)
            for size in (None, 1, 5):
                options: dict[str, Any] = {"loss": given, "optimizer": optimizers.make(optimizer, 0.01, {}), "batch_size": size}
                trained = training.train(model, INPUTS, targets, steps=30, **options)
                found += [numbers(trained), trained.history]
            by = training.gradients(model, INPUTS[:1], targets[:1], given, 0.1, by_inputs=True)
            found += [by.loss, by.gradients.parameters(), [] if by.input_gradients is None else by.input_gradients.tolist()]
        return [*found, training.predict(model, INPUTS).tolist()]

    expected = results()
    monkeypatch.setattr(
        np, "empty", lambda shape, dtype=np.float64: np.full(shape, garbage if dtype == np.float64 else 77, dtype)
    )
    assert results() == expected


def test_the_generator_yields_every_row_once() -> None:
    chunks = training.begin(
        MODEL, INPUTS, TARGETS, loss=losses.named("mse"), optimizer=ADAM, steps=3000, batch_size=5, log_every=7
    )
    seen: list[Row] = []
    while True:
        try:
            seen += next(chunks)
        except StopIteration as end:
            trained = end.value
            break
    assert seen == trained.history
    assert [row.step for row in seen] == [*range(0, 3000, 7), 2999]
    assert trained.stopped == "completed" and trained.detail is None


def test_a_deadline_ends_it_with_the_model_so_far() -> None:
    steps = 10_000_000
    began = time.perf_counter()
    part = train(steps=steps, log_every=1_000_000, out_of_time=lambda: time.perf_counter() > began + 0.2)
    assert time.perf_counter() - began < 5.0
    assert part.stopped == "deadline" and part.detail and str(steps) in part.detail
    assert 0 < part.state.step < steps and part.history[-1].step == part.state.step - 1
    assert numbers(part) == numbers(train(steps=part.state.step, log_every=1_000_000))


# --- what is not finite


@pytest.mark.parametrize("seconds", [0.0, 0.04, 10.0])
@pytest.mark.parametrize("every", [1, 7, 100])
@pytest.mark.parametrize("fault", [1, 2, 3, 16, 17, 18, 40, 199])
def test_the_step_of_a_fault_is_found(monkeypatch: pytest.MonkeyPatch, fault: int, every: int, seconds: float) -> None:
    """The learning rate is infinite at one step: wherever that lies in a chunk, the step before it is the last."""
    monkeypatch.setattr(training, "CHUNK_SECONDS", seconds)
    rate = f"0.05/(step != {fault})"
    options: dict[str, Any] = {"steps": 200, "log_every": every}
    found = train(optimizer=sgd(rate), **options)
    assert found.stopped == "non-finite" and found.detail and f"step {fault}" in found.detail
    assert "learning rate" in found.detail
    assert [row.step for row in found.history] == sorted({*range(0, fault - 1, every), fault - 1})
    # The model and the state are those before step fault - 1, so that step can be done again.
    assert found.state.step == fault - 1
    if fault > 1:
        assert numbers(found) == numbers(train(optimizer=sgd(0.05), steps=fault - 1))
    again = train(model=found.model, state=found.state, optimizer=sgd(0.05), steps=51 - fault % 50)
    assert again.history[0] == found.history[-1]


def test_a_loss_that_overflows_leaves_the_last_finite_model() -> None:
    found = train(optimizer=sgd(1e9), steps=1000, loss=losses.named("mse"), batch_size=None)
    assert found.stopped == "non-finite" and found.detail
    assert np.isfinite(found.model.flat()).all()
    assert all(math.isfinite(row.loss) for row in found.history)
    assert [row.step for row in found.history] == list(range(found.state.step + 1))
    again = training.gradients(found.model, INPUTS, TARGETS, losses.named("mse"))
    assert again.loss == found.history[-1].loss


def test_weights_that_overflow_are_not_given_out() -> None:
    """Step 3 takes a finite loss and a finite rate to weights that are not finite."""
    found = train(optimizer=sgd("1.7e308 if step == 3 else 0.01"), l2=10.0, batch_size=None)
    assert found.stopped == "non-finite" and found.detail and "step 3" in found.detail
    assert np.isfinite(found.model.flat()).all()
    assert found.state.step == 3 and [row.step for row in found.history] == [0, 1, 2, 3]


def test_a_fault_in_the_first_step_gives_the_model_back() -> None:
    found = train(optimizer=sgd("1/step"))
    assert found.stopped == "non-finite" and found.detail and "step 0" in found.detail
    assert numbers(found) == [MODEL.parameters(), 0, {}] and found.history == []


def test_no_number_of_a_state_is_infinite() -> None:
    """Squares of slopes of 1e200 overflow where the slopes, and the weights, do not."""
    inputs = np.array([[1e200, 1e200], [0.5, -1.0]])
    for name, buffer in (("adam", "exp_avg_sq"), ("adamw", "exp_avg_sq"), ("rmsprop", "square_avg")):
        optimizer = optimizers.make(name, None, {})
        model = MLP(2, [1], seed=1)
        found = training.train(model, inputs, np.ones((2, 1)), loss=losses.named("mae"), optimizer=optimizer, steps=3)
        assert np.isfinite(found.model.flat()).all()
        assert not found.state.buffers or np.isfinite(found.state.buffers[buffer].flat()).all(), (name, found.stopped)


# --- what is refused


OTHER = train(model=MLP(2, [5, 1]), steps=1)
PLAIN = train(optimizer=sgd(0.1), steps=1)
ADAM_WITHOUT_AMSGRAD = train(optimizer=optimizers.make("adam", 0.1, {}), steps=1)
WRONG: list[tuple[str, type[EngineError], tuple[str | int, ...], dict[str, Any]]] = [
    ("steps", InvalidNetwork, ("steps",), {"steps": 0}),
    ("steps", InvalidNetwork, ("steps",), {"steps": -3}),
    ("log_every", InvalidNetwork, ("log_every",), {"log_every": 0}),
    ("batch_size", InvalidNetwork, ("batch_size",), {"batch_size": 0}),
    ("seed", InvalidNetwork, ("seed",), {"seed": -1}),
    ("l2", InvalidNetwork, ("l2",), {"l2": -0.1}),
    ("step", InvalidNetwork, ("state", "step"), {"state": State(-1)}),
    ("momentum_buffer", Misfit, ("state", "optimizer", "momentum_buffer"), {"state": State(1, {"momentum_buffer": MODEL})}),
    ("shape", Misfit, ("state", "optimizer", "exp_avg"), {"state": OTHER.state}),
    ("exp_avg", Misfit, ("state", "optimizer"), {"state": PLAIN.state}),
    ("max_exp_avg_sq", Misfit, ("state", "optimizer"), {"state": ADAM_WITHOUT_AMSGRAD.state}),
    ("'scor'", UnboundInput, ("loss",), {"loss": losses.of_expression(parse("(scor - target)**2"))}),
    ("'score'", InvalidNode, ("loss",), {"loss": losses.of_expression(parse("score = target; score**2"))}),
    ("'stepp'", UnboundInput, ("optimizer", "learning_rate"), {"optimizer": sgd("1/stepp")}),
    ("width|numbers", Misfit, ("data", "inputs"), {"model": MLP(3, [1])}),
    ("outputs", Misfit, ("data", "targets"), {"model": MLP(2, [2])}),
]


@pytest.mark.parametrize(("words", "kind", "path", "options"), WRONG, ids=[f"{k} {case[0]}" for k, case in enumerate(WRONG)])
def test_what_is_refused_is_refused_before_a_step(
    words: str, kind: type[EngineError], path: tuple[str | int, ...], options: dict[str, Any]
) -> None:
    given: dict[str, Any] = {"loss": losses.named("max_margin"), "optimizer": ADAM, "steps": 5, **options}
    with pytest.raises(kind, match=words) as caught:
        training.begin(given.pop("model", MODEL), INPUTS, TARGETS, **given)
    assert caught.value.path == path
