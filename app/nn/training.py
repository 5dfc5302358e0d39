"""Training: from a model and data to a new model, a state to resume from, and a history.

A training is a generator that pauses between chunks of steps, so that its caller can report progress, look at a clock or stop.
The result depends only on the arguments, not on the size of the chunks or on whether the training was stopped and resumed.
"""

import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Literal, NamedTuple, cast

import numpy as np
import numpy.typing as npt

from app.engine.errors import quote
from app.engine.graph import Graph
from app.engine.interruption import Checkpoint, never
from app.nn import kernels
from app.nn.errors import InvalidNetwork, NetworkMismatch
from app.nn.evaluation import check_data, data_of, network_of, objective_of
from app.nn.formulas import Formula, constant, formula_of
from app.nn.losses import Loss
from app.nn.model import Floats, Model, read_only, same_shape
from app.nn.optimizers import Optimizer

CHUNK_SECONDS = 0.04
"""The run time of a chunk of steps to aim for: how often the caller can look at a clock or a client."""

FIRST_CHUNK_PRODUCTS = 2_000_000
"""Weights times rows in the first chunk, before the speed is known: a millisecond or two."""

LONG_STEP_PRODUCTS = 2**29
"""Weights times rows of a step that is done block by block, so that it can be stopped in between."""

MAX_STEPS = 2**52
"""The last step. Up to here a step is exact as a double, which the expression of a learning rate needs."""

Stopped = Literal["completed", "non-finite", "deadline"]


class HistoryRow(NamedTuple):
    """What held at a step, before its update. `accuracy` is None for regression."""

    step: int
    loss: float
    data_loss: float
    regularization_loss: float
    accuracy: float | None
    learning_rate: float


_new_row = partial(tuple.__new__, HistoryRow)
"""Make a row from a tuple. `HistoryRow(...)` takes a tenth of a small step, and this a third of that."""


@dataclass(frozen=True, slots=True)
class TrainingState:
    """Where a training stands: the number of steps done, and the optimizer's buffers, each in the shape of the model."""

    step: int = 0
    buffers: Mapping[str, Model] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TrainingOptions:
    """How to train.

    `steps` more steps are done after `state.step`. `l2` is the factor of the sum of squares of all weights and biases, which is
    added to the loss. `batch_size` is the number of rows per step; None, or a number not below that of all rows, takes all
    rows in every step. `seed` decides which rows a step takes. The history has every `log_every`-th step and the last.
    """

    loss: Loss
    optimizer: Optimizer
    steps: int
    l2: float = 0.0
    batch_size: int | None = None
    seed: int = 0
    log_every: int = 1
    state: TrainingState = field(default_factory=TrainingState)


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """The outcome of a training. `detail` says why it did not complete, else it is None."""

    model: Model
    state: TrainingState
    history: list[HistoryRow]
    stopped: Stopped
    detail: str | None


def train(
    model: Model,
    inputs: Floats,
    targets: Floats,
    options: TrainingOptions,
    *,
    checkpoint: Checkpoint = never,
    out_of_time: Callable[[], bool] | None = None,
    max_history_rows: int | None = None,
) -> TrainingResult:
    """Train to the end and return the result. Arguments and errors are those of `begin`."""
    chunks = begin(
        model,
        inputs,
        targets,
        options,
        checkpoint=checkpoint,
        out_of_time=out_of_time,
        max_history_rows=max_history_rows,
    )
    while True:
        try:
            next(chunks)
        except StopIteration as end:
            return cast(TrainingResult, end.value)


def begin(
    model: Model,
    inputs: Floats,
    targets: Floats,
    options: TrainingOptions,
    *,
    checkpoint: Checkpoint = never,
    out_of_time: Callable[[], bool] | None = None,
    max_history_rows: int | None = None,
) -> Generator[list[HistoryRow], None, TrainingResult]:
    """Check everything, and return a generator that trains chunk by chunk.

    `inputs` has shape (rows, inputs); `targets` has shape (rows, outputs), or (rows, 1) for cross-entropy. After each chunk the
    generator yields the new rows of the history or, if there are none, a row for the last step of the chunk; it returns the
    result. Each step runs forward on its rows, logs, runs backward and updates.

    `checkpoint` is called before each chunk, and within long steps. If `out_of_time` returns true after a chunk or within a
    long step, which is then not done, or the history has `max_history_rows` rows, the training stops with the model so far.
    Raises NetworkMismatch, InvalidNetwork, UnboundInput and
    InvalidNode before the first step.
    """
    check_data(model, inputs, targets, options.loss)
    _check_options(options)
    _check_state(model, options)
    run = _Run(model, inputs, targets, options)
    return _chunks(run, checkpoint, out_of_time, max_history_rows)


def batch_rows(rows: int, size: int, seed: int, first: int, steps: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the rows of steps `first`, `first + 1`, ... in one list, and the bounds of each step in it.

    An epoch takes all rows once, in a new order; its last step has what is left. Step k belongs to epoch
    k // ceil(rows/size), whose order is a permutation by PCG64 from (seed, epoch), so it depends only on seed and k.
    """
    per_epoch = -(-rows // size)
    epochs = range(first // per_epoch, (first + steps - 1) // per_epoch + 1)
    orders = [np.random.Generator(np.random.PCG64([seed, epoch])).permutation(rows) for epoch in epochs]
    starts = np.arange(first, first + steps) % per_epoch * size
    bounds = np.concatenate(([0], np.cumsum(np.minimum(size, rows - starts))))
    return np.concatenate(orders)[starts[0] : starts[0] + bounds[-1]], bounds


class _Snapshot(NamedTuple):
    """The numbers of a training before a step."""

    step: int
    theta: Floats
    buffers: Floats


class _OutOfTime(Exception):
    """A long step was stopped. It has changed neither weights nor buffers."""


class _Run:
    """A training in progress: the arrays that its steps change, and everything that they read."""

    def __init__(self, model: Model, inputs: Floats, targets: Floats, options: TrainingOptions) -> None:
        rows = min(options.batch_size or len(inputs), len(inputs))
        room = rows if rows < len(inputs) else 0
        rate = _rate(options.optimizer)
        values = np.empty(rate.tape.slots)
        values[: rate.tape.leaves] = rate.numbers
        self.model = model
        self.options = options
        self.rows = rows
        self.data = data_of(inputs, targets)
        self.objective = objective_of(model, targets, options.loss, options.l2, rows)
        self.network = network_of(model, options.loss, rows)
        self.batch = np.empty((room, model.inputs)), np.empty((room, targets.shape[1]))
        self.updates = _updates(options.optimizer, options.state, model.size)
        self.schedule = kernels.Schedule(rate.tape.code, values, rate.slots[0] if rate.slots else -1)
        self.has_long_steps = model.size * rows > LONG_STEP_PRODUCTS
        self.most_steps = 1 if self.has_long_steps else 16  # in the first chunk, and how many times as many in the next

    def steps(self, first: int, count: int, out_of_time: Callable[[], bool] = lambda: False) -> tuple[int, Floats]:
        """Do `count` steps from `first` on, of long steps one. Return how many were finite, and their log of shape (count, 4).

        Raises _OutOfTime if `out_of_time` returns true within a long step.
        """
        if self.has_long_steps:
            return self._long_step(first, out_of_time)
        rows, bounds = _ALL_ROWS
        if len(self.batch[0]):
            rows, bounds = batch_rows(len(self.data.inputs), self.rows, self.options.seed, first, count)
        return self._train(self.data, kernels.Batches(rows, bounds, *self.batch), first, count, 0, np.empty(3))

    def _long_step(self, step: int, out_of_time: Callable[[], bool]) -> tuple[int, Floats]:
        """Do one step, whose blocks are added one by one but for the last."""
        data = self.data
        if len(self.batch[0]):
            rows, _ = batch_rows(len(data.inputs), self.rows, self.options.seed, step, 1)
            data = kernels.Data(read_only(data.inputs[rows]), read_only(data.targets[rows]))
        found = np.empty(3)
        last = (len(data.inputs) - 1) // self.network.block * self.network.block
        for low in range(0, last, self.network.block):
            if out_of_time():
                raise _OutOfTime
            kernels.add_block(self.network, self.objective, data, low, np.empty((0, 0)), found)
        return self._train(data, kernels.Batches(*_ALL_ROWS, *self.batch), step, 1, last, found)

    def _train(
        self, data: kernels.Data, batches: kernels.Batches, first: int, count: int, done: int, found: Floats
    ) -> tuple[int, Floats]:
        """Call the kernel; the arguments are its own. Return how many steps were finite, and their log."""
        fresh = first == self.options.state.step and not self.options.state.buffers
        log = np.empty((count, 4))
        network, schedule = self.network, self.schedule
        finite = kernels.train(network, self.objective, data, batches, self.updates, schedule, first, fresh, done, found, log)
        return finite, log

    def is_finite(self) -> bool:
        """Whether all weights, biases and buffers are finite."""
        return bool(np.isfinite(self.network.theta).all() and np.isfinite(self.updates.buffers).all())

    def snapshot(self, step: int) -> _Snapshot:
        """Copy the numbers as they are before `step`."""
        return _Snapshot(step, self.network.theta.copy(), self.updates.buffers.copy())

    def restore(self, snapshot: _Snapshot) -> None:
        """Go back to the numbers of a snapshot."""
        self.network.theta[:], self.updates.buffers[:] = snapshot.theta, snapshot.buffers

    def history(self, log: Floats, first: int, every: int, last: int) -> list[HistoryRow]:
        """Return the history in a log that starts with step `first`: every `every`-th step, and the step `last`."""
        steps = np.arange(first, first + len(log))
        if every > 1:
            kept = (steps % every == 0) | (steps == last)
            steps, log = steps[kept], log[kept]
        loss = log[:, 0] + log[:, 1]
        data, regularization, accuracy, rate = log.T.tolist()
        if self.objective.accuracy == kernels.NO_ACCURACY:
            accuracy = [None] * len(accuracy)
        return list(map(_new_row, zip(steps.tolist(), loss.tolist(), data, regularization, accuracy, rate, strict=True)))

    def result(self, step: int, history: list[HistoryRow], stopped: Stopped, detail: str | None) -> TrainingResult:
        """Return the result of a training that has done all steps before `step`. The run ends here."""
        start, optimizer = self.options.state, self.options.optimizer
        names = optimizer.buffers if step > start.step or start.buffers else ()
        buffers = read_only(self.updates.buffers)
        kept = {name: self.model.with_flat(buffers[row]) for row, name in enumerate(names)}
        model = self.model.with_flat(read_only(self.network.theta))
        return TrainingResult(model, TrainingState(step, kept), history, stopped, detail)


_ALL_ROWS = np.empty(0, np.int64), np.zeros(1, np.int64)


def _chunks(
    run: _Run, checkpoint: Checkpoint, out_of_time: Callable[[], bool] | None, max_history_rows: int | None
) -> Generator[list[HistoryRow], None, TrainingResult]:
    """Train chunk by chunk. The size of a chunk follows the speed of the one before."""
    options, start = run.options, run.options.state.step
    end = start + options.steps
    history: list[HistoryRow] = []
    at, count = start, max(1, min(run.most_steps, options.steps, FIRST_CHUNK_PRODUCTS // (run.model.size * run.rows)))
    snapshots: list[_Snapshot] = []
    log = np.empty((0, 4))

    def steps_to_full() -> int:
        """How many steps it is to the end of the one whose row fills the history, so that no chunk goes beyond it."""
        if max_history_rows is None:
            return options.steps
        next_row = -(-at // options.log_every)
        return (next_row + max_history_rows - len(history) - 1) * options.log_every + 1 - at

    def is_over() -> bool:
        checkpoint()
        return out_of_time is not None and out_of_time()

    def stop(reason: str) -> TrainingResult:
        detail = f"{reason} after {at - start} of {options.steps} steps; continue from this model and state"
        last = run.history(log[-1:], at - 1, 1, at - 1) if not history or history[-1].step != at - 1 else []
        return run.result(at, history + last, "deadline", detail)

    while at < end:
        checkpoint()
        count = min(count, steps_to_full())
        snapshots = [*snapshots[-1:], run.snapshot(at)]
        began = time.perf_counter()
        try:
            done, log = run.steps(at, count, is_over)
        except _OutOfTime:
            return stop("the time limit was reached")
        if done < count or not run.is_finite():
            return _stop_at_fault(run, snapshots, history, log[:done])
        rows = run.history(log, at, options.log_every, end - 1)
        history += rows
        at += count
        pace = max((time.perf_counter() - began) / count, 1e-9)
        yield rows or run.history(log[-1:], at - 1, 1, at - 1)
        full = max_history_rows is not None and len(history) >= max_history_rows
        if at < end and (full or (out_of_time is not None and out_of_time())):
            return stop(f"the history has {len(history)} rows" if full else "the time limit was reached")
        count = max(1, min(int(CHUNK_SECONDS / pace), run.most_steps * count, end - at))
    return run.result(at, history, "completed", None)


def _stop_at_fault(run: _Run, snapshots: list[_Snapshot], history: list[HistoryRow], log: Floats) -> TrainingResult:
    """Return the result of a training whose chunk, which began at the last snapshot, was not finite."""
    chunk = snapshots[-1].step
    step, last_log, detail = _last_finite(run, snapshots[0])
    if step >= chunk:
        history = history + run.history(log, chunk, run.options.log_every, step)
    kept = [row for row in history if row.step < step]
    return run.result(step, kept + run.history(last_log, step, 1, step), "non-finite", detail)


def _last_finite(run: _Run, start: _Snapshot) -> tuple[int, Floats, str]:
    """Repeat steps one by one from a snapshot before the fault.

    Return the last step whose loss and update are finite, its log, and what failed after it. The run is left at the numbers
    before the update of that step. If there is no such step, return the first step with an empty log.
    """
    step = start.step
    run.restore(start)
    previous: _Snapshot | None = None
    log = np.empty((0, 4))
    while True:
        before = run.snapshot(step)
        done, new = run.steps(step, 1)
        if done and run.is_finite():
            previous, log = before, new
            step += 1
            continue
        if done:
            run.restore(before)
            detail = f"a weight, bias or buffer is not finite after step {step}; the model is the one before its update"
            return step, new, detail
        failed = "the loss" if np.isfinite(new[0, 3]) else "the learning rate"
        if previous is None:
            run.restore(before)
            return step, new[:0], f"{failed} is not finite at step {step}, the first; the model is the one that was given"
        run.restore(previous)
        detail = f"{failed} is not finite at step {step}; the model is the one of step {step - 1}, before its update"
        return step - 1, log, detail


def _updates(optimizer: Optimizer, state: TrainingState, size: int) -> kernels.Updates:
    """Return an optimizer as the kernels take it, with its buffers from `state`, or zeros."""
    buffers = np.zeros((len(optimizer.buffers), size))
    for row, name in enumerate(optimizer.buffers):
        if name in state.buffers:
            buffers[row] = state.buffers[name].flat()
    positions = {name: row for row, name in enumerate(optimizer.buffers)}
    kept = np.array([positions.get(buffer.name, -1) for buffer in optimizer.row.buffers], np.int64)
    numbers: list[float] = []
    for parameter in optimizer.row.parameters:
        setting = optimizer.settings[parameter.name]
        numbers += setting if isinstance(setting, tuple) else (setting,)
    return kernels.Updates(kernels.OPTIMIZER_CODE[optimizer.name], np.array(numbers, np.float64), buffers, kept)


def _rate(optimizer: Optimizer) -> Formula:
    """Return the learning rate as a tape of `step`."""
    rate = optimizer.learning_rate
    return formula_of(rate, ("step",), ("optimizer", "learning_rate")) if isinstance(rate, Graph) else constant(rate)


def _check_options(options: TrainingOptions) -> None:
    """Raise InvalidNetwork for a number out of range."""
    for name, number, minimum in (
        ("steps", options.steps, 1),
        ("log_every", options.log_every, 1),
        ("batch_size", options.batch_size, 1),
        ("seed", options.seed, 0),
        ("l2", options.l2, 0),
    ):
        if number is not None and number < minimum:
            raise InvalidNetwork(f"{name} must be at least {minimum}, not {number:g}", (name,))
    if options.state.step < 0:
        raise InvalidNetwork(f"the step of a state must be at least 0, not {options.state.step}", ("state", "step"))
    if options.state.step + options.steps > MAX_STEPS:
        detail = f"{options.steps} steps after step {options.state.step} go beyond step {MAX_STEPS}; do fewer steps"
        raise InvalidNetwork(detail, ("steps",))


def _check_state(model: Model, options: TrainingOptions) -> None:
    """Raise NetworkMismatch if the state does not belong to this model and optimizer."""
    optimizer, state = options.optimizer, options.state
    for name, buffer in state.buffers.items():
        if name not in optimizer.buffers:
            detail = f"{optimizer.name} with these parameters keeps no {quote(name)}; the state is that of another optimizer"
            raise NetworkMismatch(detail, ("state", "optimizer", name))
        if not same_shape(buffer, model):
            raise NetworkMismatch(f"{quote(name)} does not have the shape of the model", ("state", "optimizer", name))
    missing = [name for name in optimizer.buffers if name not in state.buffers]
    if state.step and missing:
        detail = f"the state has no {', '.join(missing)}, which {optimizer.name} keeps after the first step"
        raise NetworkMismatch(detail, ("state", "optimizer"))
