"""Training: a model and data in, a new model, its state and a history out; gradients and predictions of a model.

Training is a generator that stops between chunks of steps, so that its caller can look at progress, a clock or a client. What
comes out depends on nothing but what went in: neither the size of the chunks nor a stop and a resumption in between.
"""

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import msgspec
import numpy as np
import numpy.typing as npt

from app.engine.errors import InvalidNode, UnboundInput, quote
from app.engine.graph import Graph, Node
from app.engine.tape import Tape, bind
from app.nn import kernels
from app.nn.errors import InvalidNetwork, Misfit
from app.nn.losses import Accuracy, Loss, check_targets
from app.nn.model import Floats, Model, opcode_of
from app.nn.optimizers import Optimizer

CHUNK_SECONDS = 0.04
"""How long a chunk of steps takes, about: the least time between two looks at a clock or a client."""

FIRST_PRODUCTS = 2_000_000
"""Weights times rows in the first chunk, whose pace nobody knows: a millisecond or two."""

MOST_STEPS = 2**52
"""Up to here a step is a double, as which a learning rate's expression takes it."""

ACCURACY: dict[Accuracy, int] = {
    "none": kernels.NO_ACCURACY,
    "sign": kernels.SIGN,
    "zero_one": kernels.ZERO_ONE,
    "argmax": kernels.ARGMAX,
}


class Row(msgspec.Struct, frozen=True, gc=False):
    """A step of the history: what held before its update. `accuracy` is None for regression.

    A msgspec struct, because a dataclass takes a tenth of a small step to make.
    """

    step: int
    loss: float
    data_loss: float
    regularization_loss: float
    accuracy: float | None
    learning_rate: float


@dataclass(frozen=True, slots=True)
class State:
    """Where training stands: the number of steps done, and the optimizer's buffers, each of a model's shape."""

    step: int = 0
    buffers: Mapping[str, Model] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Trained:
    """What training comes to. `detail` says more where it did not complete."""

    model: Model
    state: State
    history: list[Row]
    stopped: Literal["completed", "non-finite", "deadline"]
    detail: str | None


@dataclass(frozen=True, slots=True)
class NetworkGradients:
    """A loss with its parts, its gradients in the shape of the model, and, where asked for, by the inputs."""

    data_loss: float
    regularization_loss: float
    accuracy: float | None
    gradients: Model
    input_gradients: Floats | None

    @property
    def loss(self) -> float:
        """The sum of the parts."""
        return self.data_loss + self.regularization_loss


@dataclass(frozen=True, slots=True)
class Formula:
    """An expression as a tape, with the slots of its variables (-1 for one that it does not have)."""

    tape: Tape
    numbers: Floats
    slots: tuple[int, ...]


def check_formula(graph: Graph, names: Sequence[str], *place: str) -> Formula:
    """The tape of an expression of `names` alone. Raises UnboundInput for another leaf without a number."""
    known = [name for name in names if name in graph.index]
    try:
        bound = bind(graph, {name: 0.0 for name in known if graph.nodes[graph.index[name]].op == "value"})
    except UnboundInput as error:
        expected = " and ".join(names)
        raise UnboundInput(f"{error.detail.partition(':')[0]}: it is an expression of {expected}", place) from None
    for name in known:
        node = graph.nodes[graph.index[name]]
        if node.op != "value" or (graph.source == "text" and node.data is not None):
            raise InvalidNode(f"{quote(name)} is given, so the expression cannot assign it", place)
    slots = tuple(int(bound.tape.slot[graph.index[name]]) if name in known else -1 for name in names)
    assert bound.tape.slot[graph.index[graph.output]] == bound.tape.slots - 1, "the output is computed last"
    return Formula(bound.tape, bound.numbers, slots)


class _Network:
    """A model's numbers and the buffers to walk it with, for up to `room` rows: allocated once a run."""

    def __init__(self, model: Model, loss: Loss, targets: Floats, room: int, l2: float) -> None:
        self.model = model
        self.theta = model.flat()
        self.grad = np.zeros(len(self.theta))
        self.layout = layout(model)
        self.cells = _cells(model, room)
        self.accuracy = ACCURACY[check_targets(loss, targets, model.outputs)]
        self.coupled = loss.graph is None
        formula = check_formula(loss.graph, ("score", "target"), "loss") if loss.graph else _NOTHING
        tape, count = formula.tape, room * model.outputs if loss.graph else 0
        self.v = np.empty((tape.slots, count))
        self.v[: tape.leaves] = formula.numbers[:, np.newaxis]
        self.g = np.empty((tape.slots, count))
        self.objective: tuple[Any, ...] = (
            tape.code, *formula.slots, self.v, self.g, self.coupled, self.accuracy, l2,
        )  # fmt: skip

    def numbers(self, of: Mapping[str, Model], names: Mapping[str, int]) -> Floats:
        """The optimizer's state as rows, from its buffers."""
        state = np.zeros((3, len(self.theta) if names else 0))
        for name, row in names.items():
            if name in of:
                state[row] = of[name].flat()
        return state


def layout(model: Model) -> npt.NDArray[np.int64]:
    """A model's shape as `kernels` reads it."""
    rows = []
    at = 0
    for layer in model.layers:
        neurons, inputs = layer.weights.shape
        rows.append((inputs, neurons, at, at + neurons * inputs, opcode_of(layer.activation)))
        at += neurons * (inputs + 1)
    return np.array(rows, np.int64)


def predict(model: Model, inputs: Floats) -> Floats:
    """The scores for each row of inputs, of shape (rows, outputs). Raises Misfit for rows of another width."""
    check_inputs(model, inputs)
    return kernels.predict(layout(model), model.flat(), inputs, _cells(model, len(inputs)))


def _cells(model: Model, rows: int) -> Floats:
    """Room for what `kernels` keeps of so many rows in all layers."""
    return np.empty((4, rows * sum(len(layer.biases) for layer in model.layers)))


def check_inputs(model: Model, inputs: Floats, place: tuple[str | int, ...] = ("inputs",)) -> None:
    """Raises Misfit unless there are rows as wide as the model's inputs."""
    if not len(inputs):
        raise Misfit("there are no rows", place)
    if inputs.shape[1] != model.inputs:
        raise Misfit(f"rows have {inputs.shape[1]} numbers, and the model takes {model.inputs}", place)


def check_data(model: Model, inputs: Floats, targets: Floats, loss: Loss) -> None:
    """Raises Misfit unless there are rows of the model's widths, and as many targets."""
    check_inputs(model, inputs, ("data", "inputs"))
    if len(targets) != len(inputs):
        raise Misfit(f"there are {len(targets)} targets for {len(inputs)} rows of inputs", ("data", "targets"))
    width = 1 if loss.graph is None else model.outputs
    if targets.shape[1] != width:
        wanted = "a class for each row" if loss.graph is None else f"{width} for each row, as the model has outputs"
        raise Misfit(f"targets have {targets.shape[1]} numbers a row; there should be {wanted}", ("data", "targets"))


def gradients(
    model: Model, inputs: Floats, targets: Floats, loss: Loss, l2: float = 0.0, by_inputs: bool = False
) -> NetworkGradients:
    """The loss on all rows and its gradients. `inputs` is (rows, inputs), `targets` (rows, outputs) or (rows, 1)."""
    check_data(model, inputs, targets, loss)
    network = _Network(model, loss, targets, len(inputs), l2)
    gx = np.empty(inputs.shape if by_inputs else (0, 0))
    data, regularization, accuracy = kernels.objective(
        network.layout, network.theta, inputs, targets, network.cells, network.grad, gx, *network.objective
    )
    right = None if network.accuracy == kernels.NO_ACCURACY else accuracy
    return NetworkGradients(data, regularization, right, model.with_flat(network.grad), gx if by_inputs else None)


def batch_rows(rows: int, size: int, seed: int, first: int, steps: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The rows of steps `first`, ..., in one list, and the bounds of each step in it.

    An epoch takes all rows once, in an order of its own; its last step has what is left. Step k belongs to epoch
    k // ceil(rows/size), whose order is a permutation by PCG64 from (seed, epoch): it depends on nothing but seed and k.
    """
    per_epoch = -(-rows // size)
    parts = []
    epoch, order = -1, np.empty(0, np.int64)
    for k in range(first, first + steps):
        if k // per_epoch != epoch:
            epoch = k // per_epoch
            order = np.random.Generator(np.random.PCG64([seed, epoch])).permutation(rows)
        at = k % per_epoch * size
        parts.append(order[at : at + size])
    bounds = np.cumsum([0, *map(len, parts)])
    return np.concatenate(parts), bounds


def train(model: Model, inputs: Floats, targets: Floats, **options: Any) -> Trained:
    """Trains to the end; all as in `begin`."""
    chunks = begin(model, inputs, targets, **options)
    while True:
        try:
            next(chunks)
        except StopIteration as end:
            return cast(Trained, end.value)


def begin(
    model: Model,
    inputs: Floats,
    targets: Floats,
    *,
    loss: Loss,
    optimizer: Optimizer,
    steps: int,
    l2: float = 0.0,
    batch_size: int | None = None,
    seed: int = 0,
    log_every: int = 1,
    state: State | None = None,
    out_of_time: Callable[[], bool] | None = None,
    most_rows: int | None = None,
) -> Generator[list[Row], None, Trained]:
    """Begins a training: a generator that yields the new rows of the history after each chunk of steps, or, where there are
    none, the row of its last step, and returns a new model with its state.

    Step k: forward on the step's rows, log, backward, update; `steps` are counted from `state.step` on. `out_of_time` is
    asked between chunks whether to stop with the model so far, as it does when the history has `most_rows`. A batch of all
    rows or more is all rows, in every step. Raises Misfit, InvalidNetwork and UnboundInput at once, before a step is done.
    """
    start = state or State()
    check_data(model, inputs, targets, loss)
    _check_run(model, optimizer, steps, batch_size, log_every, seed, l2, start)
    room = min(batch_size or len(inputs), len(inputs))
    network = _Network(model, loss, targets, room, l2)
    return _chunks(
        network, inputs, targets, optimizer, _rate(optimizer), steps, room, seed, log_every, start, out_of_time, most_rows
    )


def _chunks(
    network: "_Network",
    inputs: Floats,
    targets: Floats,
    optimizer: Optimizer,
    rate: "Formula",
    steps: int,
    room: int,
    seed: int,
    log_every: int,
    start: State,
    out_of_time: Callable[[], bool] | None,
    most_rows: int | None,
) -> Generator[list[Row], None, Trained]:
    model, batched = network.model, room < len(inputs)
    buffers = network.numbers(start.buffers, optimizer.buffers)
    x, t = np.empty((room if batched else 0, model.inputs)), np.empty((room if batched else 0, targets.shape[1]))
    rate_values = np.empty(rate.tape.slots)
    rate_values[: rate.tape.leaves] = rate.numbers
    everything, no_bounds, no_inputs = np.empty(0, np.int64), np.zeros(1, np.int64), np.empty((0, 0))

    def run(first: int, count: int) -> tuple[int, Floats]:
        """`count` steps from `first` on: how many were finite, and their log."""
        log = np.empty((count, 4))
        rows, bounds = everything, no_bounds
        if batched:
            rows, bounds = batch_rows(len(inputs), room, seed, first, count)
        fresh = first == start.step and not start.buffers
        done = kernels.train(
            network.layout, network.theta, buffers, inputs, targets, rows, bounds, x, t, network.cells, network.grad,
            optimizer.code, optimizer.vector, rate.tape.code, rate_values,
            rate.slots[0], first, fresh, log, no_inputs, *network.objective,
        )  # fmt: skip
        return done, log

    history: list[Row] = []
    last = start.step + steps - 1
    at, count = start.step, max(1, min(16, steps, FIRST_PRODUCTS // (model.size * room)))
    before: list[tuple[int, Floats, Floats]] = []
    stopped: Literal["completed", "non-finite", "deadline"] = "completed"
    detail = None
    while at <= last:
        before = [*before[-1:], (at, network.theta.copy(), buffers.copy())]
        began = time.perf_counter()
        done, log = run(at, count)
        if done < count or not _finite(network.theta, buffers):
            at, row, detail = _last_finite(network.theta, buffers, run, before[0])
            steps_done = _rows(log[:done], before[-1][0], log_every, at, network.accuracy) if at >= before[-1][0] else []
            history = [kept for kept in [*history, *steps_done] if kept.step < at] + _rows(row, at, 1, at, network.accuracy)
            stopped = "non-finite"
            break
        rows = _rows(log, at, log_every, last, network.accuracy)
        history += rows
        at += count
        yield rows or _rows(log[-1:], at - 1, 1, at - 1, network.accuracy)
        now = time.perf_counter()
        full = most_rows is not None and len(history) >= most_rows
        if at <= last and (full or (out_of_time is not None and out_of_time())):
            why = f"the history has {len(history)} rows" if full else "the time limit ran out"
            stopped, detail = "deadline", f"{why} after {at - start.step} of {steps} steps; go on from model and state"
            if not history or history[-1].step != at - 1:
                history += _rows(log[-1:], at - 1, 1, at - 1, network.accuracy)
            break
        pace = max((now - began) / count, 1e-9)
        count = max(1, min(int(CHUNK_SECONDS / pace), 16 * count, last - at + 1))
    kept_buffers = optimizer.buffers if at > start.step or start.buffers else {}
    state = State(at, {name: model.with_flat(buffers[row]) for name, row in kept_buffers.items()})
    return Trained(model.with_flat(network.theta), state, history, stopped, detail)


def _last_finite(
    theta: Floats, buffers: Floats, run: Callable[[int, int], tuple[int, Floats]], start: tuple[int, Floats, Floats]
) -> tuple[int, Floats, str]:
    """Steps again from a start before the fault, one by one: the last step whose loss and result are finite, its log and
    what is at fault behind it. Leaves `theta` and `buffers` as they were before that step's update.
    """
    at, theta[:], buffers[:] = start
    previous: tuple[Floats, Floats] | None = None
    log = np.empty((0, 4))
    while True:
        now = (theta.copy(), buffers.copy())
        done, new = run(at, 1)
        if done and _finite(theta, buffers):
            previous, log = now, new
            at += 1
            continue
        if done:
            what = f"a weight, or a number of the optimizer, is not finite after step {at}"
            theta[:], buffers[:] = now
            return at, new, f"{what}; the model is the one before its update"
        what = "the loss" if np.isfinite(new[0, 3]) else "the learning rate"
        if previous is None:
            theta[:], buffers[:] = now
            return at, new[:0], f"{what} is not finite at step {at}, the first; the model is the one that was given"
        theta[:], buffers[:] = previous
        return at - 1, log, f"{what} is not finite at step {at}; the model is that of step {at - 1}, before its update"


def _finite(theta: Floats, buffers: Floats) -> bool:
    return bool(np.isfinite(theta).all() and np.isfinite(buffers).all())


def _rows(log: Floats, first: int, every: int, last: int, accuracy: int) -> list[Row]:
    """The rows of the history in a log that begins with step `first`: each `every`th step, and the `last`."""
    rows = []
    for k, (data, regularization, right, rate) in enumerate(log.tolist()):
        step = first + k
        if step % every == 0 or step == last:
            share = None if accuracy == kernels.NO_ACCURACY else right
            rows.append(Row(step, data + regularization, data, regularization, share, rate))
    return rows


def _rate(optimizer: Optimizer) -> Formula:
    """The learning rate as a tape of `step`."""
    rate = optimizer.learning_rate
    if isinstance(rate, Graph):
        return check_formula(rate, ("step",), "optimizer", "learning_rate")
    return check_formula(Graph((Node("rate", "value", data=rate),), ("rate",)), ("step",), "optimizer", "learning_rate")


_NOTHING = check_formula(Graph((Node("nothing", "value", data=0.0),), ("nothing",)), ("score", "target"), "loss")


def _check_run(
    model: Model,
    optimizer: Optimizer,
    steps: int,
    batch_size: int | None,
    log_every: int,
    seed: int,
    l2: float,
    state: State,
) -> None:
    """Raises InvalidNetwork for numbers that make no sense, Misfit for a state that is not one of this run."""
    for name, number, least in (("steps", steps, 1), ("log_every", log_every, 1), ("seed", seed, 0), ("l2", l2, 0)):
        if number < least:
            raise InvalidNetwork(f"{name} is at least {least}, not {number:g}", (name,))
    if batch_size is not None and batch_size < 1:
        raise InvalidNetwork(f"batch_size is at least 1, not {batch_size}", ("batch_size",))
    if state.step < 0:
        raise InvalidNetwork(f"a state's step is not negative, not {state.step}", ("state", "step"))
    if state.step + steps > MOST_STEPS:
        detail = f"{steps} steps from step {state.step} on go beyond step {MOST_STEPS}"
        raise InvalidNetwork(detail, ("steps",))
    for name, buffer in state.buffers.items():
        if name not in optimizer.buffers:
            detail = f"{optimizer.name} with these parameters keeps no {quote(name)}; the state is another optimizer's"
            raise Misfit(detail, ("state", "optimizer", name))
        if [layer.weights.shape for layer in buffer.layers] != [layer.weights.shape for layer in model.layers]:
            raise Misfit(f"{quote(name)} has not the shape of the model", ("state", "optimizer", name))
    missing = [name for name in optimizer.buffers if name not in state.buffers]
    if state.step and missing:
        raise Misfit(f"the state is missing {', '.join(missing)}, which {optimizer.name} has kept", ("state", "optimizer"))
