"""Training: the result depends only on the arguments, not on how the steps are cut into chunks, stopped and resumed."""

import math
import random
import subprocess
import sys
import time
from typing import Any

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from app.engine.errors import EngineError, InvalidNode, UnboundInput
from app.engine.text import parse
from app.nn import MLP, Layer, Model, evaluation, losses, optimizers, training
from app.nn.errors import InvalidNetwork, NetworkMismatch
from app.nn.optimizers import OPTIMIZERS, Optimizer
from app.nn.training import HistoryRow, TrainingOptions, TrainingResult, TrainingState, batch_rows
from tests.conftest import times
from tests.rows import for_each

draw = random.Random(12)
INPUTS = np.array([[draw.uniform(-1, 1) for _ in range(2)] for _ in range(23)])
TARGETS = np.array([[draw.choice([-1.0, 1.0])] for _ in range(23)])
MODEL = MLP(2, [4, 1], activation="tanh", seed=3)
ADAM = optimizers.make("adam", 0.02, {"amsgrad": True})
CONTROLS = ("checkpoint", "out_of_time", "max_history_rows")

quick = times(0.4)


def options_of(**changes: Any) -> TrainingOptions:
    given: dict[str, Any] = {"loss": losses.named("max_margin"), "optimizer": ADAM, "steps": 50, "batch_size": 5, "seed": 9}
    return TrainingOptions(**(given | changes))


def train(model: Model = MODEL, **changes: Any) -> TrainingResult:
    controls = {name: changes.pop(name) for name in CONTROLS if name in changes}
    return training.train(model, INPUTS, TARGETS, options_of(**changes), **controls)


def numbers(result: TrainingResult) -> list[Any]:
    """All numbers of a result except the history."""
    buffers = {name: model.parameters() for name, model in result.state.buffers.items()}
    return [result.model.parameters(), result.state.step, buffers]


def sgd(rate: str | float) -> Optimizer:
    return optimizers.make("sgd", parse(rate) if isinstance(rate, str) else rate)


# --- mini-batches


@quick
@hypothesis.given(
    rows=st.integers(1, 40),
    size=st.integers(1, 45),
    seed=st.integers(0, 2**70),
    first=st.integers(0, 90),
    steps=st.integers(1, 40),
)
def test_rows_of_a_step_depend_on_seed_and_step_alone(rows: int, size: int, seed: int, first: int, steps: int) -> None:
    whole, bounds = batch_rows(rows, size, seed, 0, first + steps)
    some, cuts = batch_rows(rows, size, seed, first, steps)
    assert some.tolist() == whole[bounds[first] :].tolist()
    assert cuts.tolist() == (bounds[first:] - bounds[first]).tolist()


@pytest.mark.parametrize(("seed", "epoch"), [(0, 0), (0, 3), (7, 2), (2**70, 1)])
def test_order_of_an_epoch_is_numpys_from_seed_and_epoch(seed: int, epoch: int) -> None:
    """Part of the promise that a seed gives the same training everywhere."""
    drawn, _ = batch_rows(11, 4, seed, 3 * epoch, 3)
    assert drawn.tolist() == np.random.Generator(np.random.PCG64([seed, epoch])).permutation(11).tolist()


@quick
@hypothesis.given(rows=st.integers(1, 60), size=st.integers(1, 70), seed=st.integers(0, 2**32), epochs=st.integers(1, 4))
def test_epoch_takes_each_row_once(rows: int, size: int, seed: int, epochs: int) -> None:
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


@pytest.mark.parametrize("size", [23, 24, 10**12])
def test_batch_of_all_rows_or_more_equals_no_batches(size: int) -> None:
    assert numbers(train(batch_size=size)) == numbers(train(batch_size=None))


@pytest.mark.parametrize("l2", [0.0, 0.1])
def test_history_has_the_loss_of_the_rows_of_each_step(l2: float) -> None:
    rows, bounds = batch_rows(23, 5, 9, 0, 50)
    for row in train(optimizer=sgd(0.0), l2=l2).history:
        chosen = rows[bounds[row.step] : bounds[row.step + 1]]
        alone = evaluation.gradients(MODEL, INPUTS[chosen], TARGETS[chosen], losses.named("max_margin"))
        assert row.data_loss == pytest.approx(alone.data_loss, rel=1e-14)
        assert row.accuracy == alone.accuracy
        assert row.regularization_loss == pytest.approx(l2 * sum(number**2 for number in MODEL.parameters()), rel=1e-14)
        assert row.loss == row.data_loss + row.regularization_loss


# --- chunks and resumption


@pytest.mark.parametrize("steps", [200, 201])
@pytest.mark.parametrize("seconds", [0.0, 1e-4, 10.0])
def test_size_of_chunks_does_not_change_the_result(monkeypatch: pytest.MonkeyPatch, seconds: float, steps: int) -> None:
    expected = train(steps=steps)
    assert expected.state.step == steps
    monkeypatch.setattr(training, "FIRST_CHUNK_PRODUCTS", 1)
    monkeypatch.setattr(training, "CHUNK_SECONDS", seconds)
    found = train(steps=steps)
    assert numbers(found) == numbers(expected) and found.history == expected.history


@quick
@hypothesis.given(
    cuts=st.lists(st.integers(1, 49), max_size=4, unique=True).map(sorted),
    every=st.integers(1, 60),
    size=st.sampled_from([None, 1, 5, 22]),
    optimizer=st.sampled_from([*OPTIMIZERS, "sgd with momentum", "rmsprop with momentum"]),
)
def test_resumed_training_equals_an_uninterrupted_one(cuts: list[int], every: int, size: int | None, optimizer: str) -> None:
    name, _, momentum = optimizer.partition(" with ")
    made = optimizers.make(name, 0.02, {"momentum": 0.9} if momentum else None)
    changes: dict[str, Any] = {"optimizer": made, "batch_size": size, "log_every": every}
    expected = train(**changes)
    model, state, history = MODEL, TrainingState(), []
    for first, last in zip([0, *cuts], [*cuts, 50], strict=True):
        part = train(model=model, state=state, steps=last - first, **changes)
        model, state = part.model, part.state
        history += [row for row in part.history if row.step % every == 0 or row.step == 49]
        assert part.history[-1].step == last - 1, "the last step is always in the history"
    assert numbers(part) == numbers(expected)
    assert history == expected.history


@pytest.mark.parametrize("garbage", [math.nan, math.inf, 1e308])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_uninitialized_memory_is_never_read(monkeypatch: pytest.MonkeyPatch, garbage: float, optimizer: str) -> None:
    """Arrays from np.empty are filled before they are read, whatever the layers, the loss and the batch."""
    model = MLP(2, [3, 1, 4, 1], activation="gelu", seed=3)
    targets = np.abs(TARGETS)

    def results() -> list[Any]:
        found: list[Any] = []
        for loss in (losses.named(row.name) for row in losses.LOSSES.values() if row.expression is not None):
            for size in (None, 1, 5):
                options = TrainingOptions(loss, optimizers.make(optimizer, 0.01), steps=30, batch_size=size)
                trained = training.train(model, INPUTS, targets, options)
                found += [numbers(trained), trained.history]
            by = evaluation.gradients(model, INPUTS[:1], targets[:1], loss, 0.1, by_inputs=True)
            found += [by.loss, by.gradients.parameters(), [] if by.input_gradients is None else by.input_gradients.tolist()]
        return [*found, evaluation.predict(model, INPUTS).tolist()]

    expected = results()
    monkeypatch.setattr(
        np, "empty", lambda shape, dtype=np.float64: np.full(shape, garbage if dtype == np.float64 else 77, dtype)
    )
    assert results() == expected


def test_generator_yields_every_row_once() -> None:
    options = TrainingOptions(losses.named("mse"), ADAM, steps=3000, batch_size=5, log_every=7)
    chunks = training.begin(MODEL, INPUTS, TARGETS, options)
    seen: list[HistoryRow] = []
    while True:
        try:
            seen += next(chunks)
        except StopIteration as end:
            trained = end.value
            break
    assert seen == trained.history
    assert [row.step for row in seen] == [*range(0, 3000, 7), 2999]
    assert trained.stopped == "completed" and trained.detail is None


@pytest.mark.alone
def test_deadline_ends_training_with_the_model_so_far() -> None:
    steps = 10_000_000
    began = time.perf_counter()
    part = train(steps=steps, log_every=1_000_000, out_of_time=lambda: time.perf_counter() > began + 0.2)
    assert time.perf_counter() - began < 5.0
    assert part.stopped == "deadline" and part.detail and str(steps) in part.detail
    assert 0 < part.state.step < steps and part.history[-1].step == part.state.step - 1
    assert numbers(part) == numbers(train(steps=part.state.step, log_every=1_000_000))


def test_full_history_ends_training_with_the_model_so_far() -> None:
    part = train(steps=100_000, max_history_rows=40)
    assert part.stopped == "deadline" and part.detail and "the history has 40 rows" in part.detail
    assert len(part.history) == part.state.step == 40
    assert numbers(part) == numbers(train(steps=40))


@for_each("every", [1, 2, 7, 100])
@for_each("rows", [1, 2, 15, 16, 17, 33, 700])
def test_history_is_full_with_exactly_its_rows(rows: int, every: int) -> None:
    """However fast steps are done, and also where a training is continued."""
    last = (rows - 1) * every
    part = train(steps=last + 2, max_history_rows=rows, log_every=every)
    assert (part.stopped, part.state.step) == ("deadline", last + 1)
    assert [row.step for row in part.history] == list(range(0, last + 1, every))
    assert train(steps=last + 1, max_history_rows=rows, log_every=every).stopped == "completed"
    more = train(model=part.model, state=part.state, steps=50 * every, max_history_rows=3, log_every=every)
    assert [row.step for row in more.history] == [last + k * every for k in (1, 2, 3)]


class Stopped(Exception):
    """Raised by a checkpoint."""


def test_checkpoint_stops_training_between_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "CHUNK_SECONDS", 0.0)
    calls = 0

    def checkpoint() -> None:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise Stopped

    with pytest.raises(Stopped):
        train(steps=1000, checkpoint=checkpoint)
    assert calls == 4


# --- long steps


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of two rows, so that every step has several."""
    monkeypatch.setattr(evaluation, "BLOCK_NUMBERS", 1)
    monkeypatch.setattr(evaluation, "MIN_BLOCK_ROWS", 2)


@pytest.mark.parametrize(("size", "count"), [(None, 12 * 12), (4, 12 * 2), (5, 10 * 3 + 2 * 2)])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_long_steps_have_the_result_of_short_ones(
    monkeypatch: pytest.MonkeyPatch, small_blocks: None, optimizer: str, size: int | None, count: int
) -> None:
    """They are done block by block, from outside the kernel: of 23 rows, the last batch of five in an epoch has three."""
    changes: dict[str, Any] = {"optimizer": optimizers.make(optimizer, parse("0.1/(1 + step)")), "batch_size": size, "l2": 0.1}
    short = train(steps=12, **changes)
    monkeypatch.setattr(training, "LONG_STEP_PRODUCTS", 0)
    checks: list[None] = []
    long = train(steps=12, checkpoint=lambda: checks.append(None), **changes)
    assert numbers(long) == numbers(short) and long.history == short.history
    assert len(checks) == count


def test_no_block_of_a_long_step_is_worked_on_twice(monkeypatch: pytest.MonkeyPatch, small_blocks: None) -> None:
    """Rows of two are lost as soon as the block behind theirs is begun."""
    expected = train(steps=1, batch_size=None)
    monkeypatch.setattr(training, "LONG_STEP_PRODUCTS", 0)
    inputs, calls = INPUTS.copy(), 0

    def lose() -> None:
        nonlocal calls
        calls += 1
        inputs[: max(0, 2 * (calls - 2))] = math.nan

    found = training.train(MODEL, inputs, TARGETS, options_of(steps=1, batch_size=None), checkpoint=lose)
    assert numbers(found) == numbers(expected) and found.history == expected.history
    assert np.isnan(inputs[:18]).all()


@pytest.mark.parametrize("calls", [0, 5, 30])
def test_a_long_step_that_is_stopped_changes_nothing(monkeypatch: pytest.MonkeyPatch, small_blocks: None, calls: int) -> None:
    monkeypatch.setattr(training, "LONG_STEP_PRODUCTS", 0)
    left = iter([False] * calls)
    part = train(steps=50, batch_size=None, log_every=50, out_of_time=lambda: next(left, True))
    done = part.state.step
    assert done == calls // 12, "a step of 23 rows asks before each of its 12 blocks but the last, and once after it"
    assert part.stopped == "deadline" and part.detail and f"after {done} of 50 steps" in part.detail
    assert [row.step for row in part.history] == ([done - 1] if done == 1 else [0, done - 1][:done])
    if done:
        assert numbers(part) == numbers(train(steps=done, batch_size=None))
    else:
        assert part.model.parameters() == MODEL.parameters()


def test_long_step_that_overflows_returns_the_last_finite_model(monkeypatch: pytest.MonkeyPatch, small_blocks: None) -> None:
    changes: dict[str, Any] = {"loss": losses.named("mse"), "optimizer": sgd(1e9), "steps": 100}
    short = train(**changes)
    assert short.stopped == "non-finite"
    monkeypatch.setattr(training, "LONG_STEP_PRODUCTS", 0)
    long = train(**changes)
    assert (numbers(long), long.history, long.detail) == (numbers(short), short.history, short.detail)


# --- numbers that are not finite


@pytest.mark.parametrize("seconds", [0.0, 0.04, 10.0])
@pytest.mark.parametrize("every", [1, 7, 100])
@pytest.mark.parametrize("fault", [1, 2, 3, 16, 17, 18, 40, 199])
def test_infinite_learning_rate_is_found_at_its_step(
    monkeypatch: pytest.MonkeyPatch, fault: int, every: int, seconds: float
) -> None:
    """The learning rate is infinite at one step: wherever it is in a chunk, the step before it is the last."""
    monkeypatch.setattr(training, "CHUNK_SECONDS", seconds)
    rate = f"0.05/(step != {fault})"
    found = train(optimizer=sgd(rate), steps=200, log_every=every)
    assert found.stopped == "non-finite" and found.detail and f"step {fault}" in found.detail
    assert "learning rate" in found.detail
    assert [row.step for row in found.history] == sorted({*range(0, fault - 1, every), fault - 1})
    # The model and the state are those before step fault - 1, so that step can be repeated.
    assert found.state.step == fault - 1
    if fault > 1:
        assert numbers(found) == numbers(train(optimizer=sgd(0.05), steps=fault - 1))
    again = train(model=found.model, state=found.state, optimizer=sgd(0.05), steps=51 - fault % 50)
    assert again.history[0] == found.history[-1]


@pytest.mark.parametrize("fault", [2, 17, 40])
def test_buffers_are_those_before_the_fault(fault: int) -> None:
    found = train(optimizer=optimizers.make("adam", parse(f"0.05/(step != {fault})")), steps=60)
    assert found.stopped == "non-finite" and found.state.step == fault - 1
    assert numbers(found) == numbers(train(optimizer=optimizers.make("adam", 0.05), steps=fault - 1))


def test_overflow_of_the_loss_returns_the_last_finite_model() -> None:
    found = train(optimizer=sgd(1e9), steps=1000, loss=losses.named("mse"), batch_size=None)
    assert found.stopped == "non-finite" and found.detail
    assert f"the loss is not finite at step {found.state.step + 1}" in found.detail
    assert np.isfinite(found.model.flat()).all()
    assert all(math.isfinite(row.loss) for row in found.history)
    assert [row.step for row in found.history] == list(range(found.state.step + 1))
    again = evaluation.gradients(found.model, INPUTS, TARGETS, losses.named("mse"))
    assert again.loss == found.history[-1].loss


def test_overflow_of_the_weights_returns_the_model_before_it() -> None:
    """At step 3 a finite loss and a finite learning rate lead to weights that are not finite."""
    found = train(optimizer=sgd("1.7e308 if step == 3 else 0.01"), l2=10.0, batch_size=None)
    assert found.stopped == "non-finite" and found.detail and "step 3" in found.detail
    assert np.isfinite(found.model.flat()).all()
    assert found.state.step == 3 and [row.step for row in found.history] == [0, 1, 2, 3]


def test_fault_in_the_first_step_returns_the_given_model() -> None:
    found = train(optimizer=sgd("1/step"))
    assert found.stopped == "non-finite" and found.detail and "step 0" in found.detail
    assert numbers(found) == [MODEL.parameters(), 0, {}] and found.history == []


def test_overflow_of_the_penalty_is_found_at_its_step() -> None:
    """The data loss and all gradients are finite, but the sum of squares is not."""
    model = Model((Layer(np.array([[1e160]]), np.array([0.0])),))
    options = TrainingOptions(losses.named("mse"), sgd(0.1), steps=3, l2=0.5)
    found = training.train(model, np.zeros((1, 1)), np.zeros((1, 1)), options)
    assert found.stopped == "non-finite" and found.detail and "the loss is not finite at step 0" in found.detail
    assert numbers(found) == [[1e160, 0.0], 0, {}] and found.history == []


def test_fault_in_the_first_step_after_resuming_keeps_the_state() -> None:
    part = train(steps=5)
    found = train(
        model=part.model, state=part.state, optimizer=optimizers.make("adam", parse("1/(step - 5)"), {"amsgrad": True})
    )
    assert found.stopped == "non-finite" and found.detail and "step 5" in found.detail
    assert numbers(found) == numbers(part) and found.history == []


@pytest.mark.parametrize(("name", "buffer"), [("adam", "exp_avg_sq"), ("adamw", "exp_avg_sq"), ("rmsprop", "square_avg")])
def test_overflow_of_a_buffer_returns_the_model_and_state_before_it(name: str, buffer: str) -> None:
    """The squares of derivatives of 1e200 overflow; the derivatives and the weights do not."""
    inputs = np.array([[1e200, 1e200], [0.5, -1.0]])
    options = TrainingOptions(losses.named("mae"), optimizers.make(name), steps=3)
    found = training.train(MLP(2, [1], seed=1), inputs, np.ones((2, 1)), options)
    assert found.stopped == "non-finite" and found.detail and "step 0" in found.detail
    assert found.model.parameters() == MLP(2, [1], seed=1).parameters()
    assert found.state == TrainingState(0, {})


def test_last_step_is_exact_in_the_learning_rate() -> None:
    last = 2**52 - 1
    found = train(optimizer=sgd("step"), state=TrainingState(last), steps=1, loss=losses.named("mae"))
    assert found.state.step == 2**52 and found.stopped == "completed"
    assert [(row.step, row.learning_rate) for row in found.history] == [(last, float(last))]


# --- errors before the first step


OTHER_SHAPE = train(model=MLP(2, [5, 1]), steps=1).state
WITHOUT_BUFFERS = train(optimizer=sgd(0.1), steps=1).state
WITHOUT_AMSGRAD = train(optimizer=optimizers.make("adam", 0.1), steps=1).state


@pytest.mark.parametrize(
    ("words", "kind", "place", "changes"),
    [
        pytest.param("steps", InvalidNetwork, ("steps",), {"steps": 0}, id="no steps"),
        pytest.param("steps", InvalidNetwork, ("steps",), {"steps": -3}, id="negative steps"),
        pytest.param("beyond step", InvalidNetwork, ("steps",), {"steps": 2**52 + 1}, id="too many steps"),
        pytest.param(
            "beyond step",
            InvalidNetwork,
            ("steps",),
            {"steps": 2, "state": TrainingState(2**52 - 1)},
            id="too many after a state",
        ),
        pytest.param("log_every", InvalidNetwork, ("log_every",), {"log_every": 0}, id="log_every"),
        pytest.param("batch_size", InvalidNetwork, ("batch_size",), {"batch_size": 0}, id="batch_size"),
        pytest.param("seed", InvalidNetwork, ("seed",), {"seed": -1}, id="seed"),
        pytest.param("l2", InvalidNetwork, ("l2",), {"l2": -0.1}, id="l2"),
        pytest.param("step", InvalidNetwork, ("state", "step"), {"state": TrainingState(-1)}, id="negative step of a state"),
        pytest.param(
            "momentum_buffer",
            NetworkMismatch,
            ("state", "optimizer", "momentum_buffer"),
            {"state": TrainingState(1, {"momentum_buffer": MODEL})},
            id="buffer of another optimizer",
        ),
        pytest.param(
            "shape", NetworkMismatch, ("state", "optimizer", "exp_avg"), {"state": OTHER_SHAPE}, id="buffer of another shape"
        ),
        pytest.param("exp_avg", NetworkMismatch, ("state", "optimizer"), {"state": WITHOUT_BUFFERS}, id="no buffers"),
        pytest.param(
            "max_exp_avg_sq", NetworkMismatch, ("state", "optimizer"), {"state": WITHOUT_AMSGRAD}, id="missing buffer"
        ),
        pytest.param(
            "'scor'.*score and target",
            UnboundInput,
            ("loss",),
            {"loss": losses.of_expression(parse("(scor - target)**2"))},
            id="unknown name in a loss",
        ),
        pytest.param(
            "'score'",
            InvalidNode,
            ("loss",),
            {"loss": losses.of_expression(parse("score = target; score**2"))},
            id="loss assigns the score",
        ),
        pytest.param(
            "'score'",
            InvalidNode,
            ("loss",),
            {"loss": losses.of_expression(parse("score = 3; score**2"))},
            id="score is a number",
        ),
        pytest.param(
            "'stepp'", UnboundInput, ("optimizer", "learning_rate"), {"optimizer": sgd("1/stepp")}, id="unknown name in a rate"
        ),
        pytest.param("takes 3", NetworkMismatch, ("inputs",), {"model": MLP(3, [1])}, id="width of inputs"),
        pytest.param("outputs?", NetworkMismatch, ("targets",), {"model": MLP(2, [2])}, id="width of targets"),
    ],
)
def test_wrong_options_are_refused_before_the_first_step(
    words: str, kind: type[EngineError], place: tuple[str | int, ...], changes: dict[str, Any]
) -> None:
    model = changes.get("model", MODEL)
    options = options_of(**{name: value for name, value in changes.items() if name != "model"})
    with pytest.raises(kind, match=words) as caught:
        training.begin(model, INPUTS, TARGETS, options)
    assert caught.value.place == place


# --- compiled code


@pytest.mark.slow
def test_kernels_are_loaded_from_disk_in_a_new_process() -> None:
    """Records as arguments must not keep numba from finding the machine code that another process compiled."""
    program = """if True:
        import numpy as np
        from app.nn import MLP, evaluation, kernels, losses, optimizers, training
        model, rows, targets, loss = MLP(2, [1]), np.zeros((2, 2)), np.ones((2, 1)), losses.named("mse")
        evaluation.predict(model, rows)
        evaluation.gradients(model, rows, targets, loss)
        training.train(model, rows, targets, training.TrainingOptions(loss, optimizers.make("sgd"), steps=1))
        for kernel in (kernels.predict_block, kernels.add_block, kernels.train):
            print(kernel.py_func.__name__, sum(kernel.stats.cache_hits.values()), sum(kernel.stats.cache_misses.values()))
    """
    loaded = ["predict_block 1 0", "add_block 1 0", "train 1 0"]
    found: list[str] = []
    for _ in range(2):  # the first process may compile
        if found != loaded:
            run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
            found = run.stdout.splitlines()
    assert found == loaded
