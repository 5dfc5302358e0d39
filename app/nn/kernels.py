"""The compiled training loop: many steps per call, without the GIL, and without allocations that grow with the steps.

Layers are BLAS products. Activations and losses are the rules of the table of primitives, each as a loop over a block of
numbers; the optimizers' update rules come from their own table. Nothing here knows a primitive or an optimizer by name.

Rows are worked on in blocks, so that the memory for a pass over many rows does not grow with them. Blocks depend on the model
alone, and sums over rows run in one order, so results do not depend on how work is divided.
"""

from collections import namedtuple
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt

from app.engine import kernels as walks
from app.engine.jit import inline, inline_without_refcounts, jit
from app.engine.kernels import ZERO_STOPS, Code, Floats, Function
from app.engine.primitives import OPCODE, PRIMITIVES, Primitive
from app.nn.optimizers import OPTIMIZERS, OptimizerRow, Step

Ints = npt.NDArray[np.int64]
Matrix = npt.NDArray[np.float64]

NO_ACCURACY, SIGN, ZERO_ONE, ARGMAX = range(4)


class Network(NamedTuple):
    """A model laid out flat, and the memory to walk it for a block of rows.

    `layout` has one row per layer: inputs, neurons, where its weights and its biases start in `theta`, and the opcode of its
    activation. `theta` holds all weights and biases, `gradient` their gradient; `block_gradient` is that of one block, and is
    empty if all rows fit into the first. `transposed` has room for the transposed weights of one small layer. Rows of `cells`,
    with all layers one after the other: sums, activations, and the derivatives of the loss by the activations and by the sums.
    A block has at most `block` rows.
    """

    layout: Ints
    theta: Floats
    gradient: Floats
    block_gradient: Floats
    transposed: Floats
    cells: Matrix
    block: int


class Objective(NamedTuple):
    """A loss, how accuracy is counted, and the factor of the L2 penalty.

    The loss is a tape: `code` over `values` and `adjoints`, with one row per slot and one column per score of a block. The
    constants are already in `values`; `score` and `target` are the slots of the variables, or -1. If `couples_outputs` is
    true, the loss is cross-entropy instead.
    """

    code: Code
    score: int
    target: int
    values: Matrix
    adjoints: Matrix
    couples_outputs: bool
    accuracy: int
    l2: float


class Data(NamedTuple):
    """Rows of inputs, of shape (rows, inputs), and of targets, of shape (rows, outputs) or (rows, 1). Both are read-only."""

    inputs: Matrix
    targets: Matrix


class Batches(NamedTuple):
    """The rows of each step: those of step k are `rows[bounds[k]:bounds[k + 1]]`. If `rows` is empty, a step takes all rows.

    `inputs` and `targets` have room for the rows of one step.
    """

    rows: Ints
    bounds: Ints
    inputs: Matrix
    targets: Matrix


class Updates(NamedTuple):
    """An optimizer: the code of its row, its parameters as numbers, and its buffers.

    `buffers` has one row per buffer that is kept; `kept` gives each buffer's row, or -1.
    """

    code: int
    parameters: Floats
    buffers: Matrix
    kept: Ints


class Schedule(NamedTuple):
    """The learning rate as a tape: `code` over `values`, with the step in slot `step`, or -1 for a constant rate."""

    code: Code
    values: Floats
    step: int


LOOPS = ("identity", "add", "sub", "mul", "relu")
"""Primitives with a loop of their own over a block, which LLVM can vectorize.

The others share a loop around the switch: looking up the rule for each entry costs little compared to the rule itself, and a
loop takes a tenth of a second to compile.
"""


@inline_without_refcounts
def _passed(adjoint: float, partial: float, zero_stops: bool) -> float:
    """Return what an instruction passes on to an argument."""
    return 0.0 if zero_stops and partial == 0.0 else adjoint * partial


def _loops(name: str, arguments: str, otherwise: Function, statements: Callable[[Primitive], Sequence[str]]) -> Function:
    """Compile a function of an opcode and arrays: a loop over all entries i for each of `LOOPS`, else `otherwise`.

    In the statements of a row, `value(i)`, `d0(i)` and `d1(i)` stand for its rules at entry i.
    """
    scope: dict[str, Any] = {"otherwise": otherwise}
    switch = [f"def {name}(op, {arguments}):"]
    for code in map(OPCODE.__getitem__, LOOPS):
        row = PRIMITIVES[code]
        assert row.fun is not None
        given = ", ".join(f"{x}[i]" for x in "xy"[: len(row.d)])
        own: dict[str, Any] = {"passed": _passed, "selects": row.selects, "fun": inline(row.fun)}
        own |= {f"rule{k}": inline(rule) for k, rule in enumerate(row.d)}
        lines = [f"def loop({arguments}):", "    for i in range(len(out)):"]
        for statement in statements(row):
            text = statement.replace("value(i)", f"fun({given})")
            for k in range(len(row.d)):
                text = text.replace(f"d{k}(i)", f"rule{k}({given}, out[i])")
            lines.append(f"        {text}")
        exec("\n".join(lines), own)  # only the text above; no user input
        scope[f"loop_{code}"] = inline_without_refcounts(own["loop"])
        switch += [f"    if op == {code}:", f"        loop_{code}({arguments})", "        return"]
    exec("\n".join([*switch, f"    otherwise(op, {arguments})"]), scope)
    return cast(Function, inline_without_refcounts(scope[name]))


@inline_without_refcounts
def _forward_otherwise(op: int, x: Floats, y: Floats, z: Floats, out: Floats) -> None:
    for i in range(len(out)):
        out[i] = walks.value_of(np.int32(op), x[i], y[i], z[i])


@inline_without_refcounts
def _backward_otherwise(
    op: int, x: Floats, y: Floats, z: Floats, out: Floats, g: Floats, gx: Floats, gy: Floats, gz: Floats
) -> None:
    for i in range(len(out)):
        d0, d1, d2 = walks.partials_of(np.int32(op), x[i], y[i], z[i], out[i])
        gx[i] += _passed(g[i], d0, ZERO_STOPS[op, 0])
        gy[i] += _passed(g[i], d1, ZERO_STOPS[op, 1])
        gz[i] += _passed(g[i], d2, ZERO_STOPS[op, 2])


forward_block = _loops("forward_block", "x, y, z, out", _forward_otherwise, lambda row: ["out[i] = value(i)"])
backward_block = _loops(
    "backward_block",
    "x, y, z, out, g, gx, gy, gz",
    _backward_otherwise,
    lambda row: [f"g{x}[i] += passed(g[i], d{k}(i), selects)" for k, x in enumerate("xy"[: len(row.d)])],
)


def update_switch(rows: Sequence[OptimizerRow]) -> Function:
    """Compile one function that applies the update rule of the row with a given code, which is its position in `rows`.

    It hands each rule its parameters and buffers as records with the names from the table.
    """
    scope: dict[str, Any] = {"buffer": _buffer}
    lines = ["def update(updates, step, theta, gradient):", "    code, numbers = updates.code, updates.parameters"]
    for code, row in enumerate(rows):
        scope[f"rule_{code}"] = inline_without_refcounts(row.update)
        scope[f"Parameters_{code}"] = _record(tuple(parameter.name for parameter in row.parameters))
        scope[f"Buffers_{code}"] = _record(tuple(buffer.name for buffer in row.buffers))
        values = []
        at = 0
        for parameter in row.parameters:
            if parameter.kind == "pair":
                values.append(f"(numbers[{at}], numbers[{at + 1}])")
            else:
                values.append(f"numbers[{at}]" + (" != 0.0" if parameter.kind == "flag" else ""))
            at += 2 if parameter.kind == "pair" else 1
        buffers = [f"buffer(updates, {k})" for k in range(len(row.buffers))]
        lines += [
            f"    if code == {code}:",
            f"        parameters = Parameters_{code}({', '.join(values)})",
            f"        rule_{code}(theta, gradient, step, parameters, Buffers_{code}({', '.join(buffers)}))",
        ]
    exec("\n".join(lines), scope)  # only the text above; no user input
    return cast(Function, inline_without_refcounts(scope["update"]))


@cache
def _record(fields: tuple[str, ...]) -> type:
    """Return a named tuple with these fields: one class for equal fields, so that rules share what numba compiles for it."""
    return namedtuple("Record", fields)


@inline
def _buffer(updates: Updates, k: int) -> Floats:
    """The k-th buffer of the optimizer, of length 0 if it is not kept."""
    row = updates.kept[k]
    return updates.buffers[max(row, 0), : updates.buffers.shape[1] if row >= 0 else 0]


OPTIMIZER_CODE = {name: code for code, name in enumerate(OPTIMIZERS)}
update = update_switch(list(OPTIMIZERS.values()))


@inline_without_refcounts
def _end(layout: Ints, rows: int) -> int:
    """The number of cells that all layers need for so many rows."""
    end = 0
    for k in range(len(layout)):
        end += rows * layout[k, 1]
    return end


@inline
def _product(a: Matrix, b: Matrix, out: Matrix) -> None:
    """Write the matrix product into `out`. A function of its own because numba's needs reference counts."""
    np.dot(a, b, out)


@inline_without_refcounts
def _transpose(matrix: Matrix, transposed: Matrix) -> None:
    for j in range(len(transposed)):
        row = transposed[j]
        for i in range(len(row)):
            row[i] = matrix[i, j]


@inline_without_refcounts
def _add_to_rows(numbers: Floats, matrix: Matrix) -> None:
    for i in range(len(matrix)):
        row = matrix[i]  # a slice's index cannot be negative, which lets LLVM use vector instructions
        for j in range(len(row)):
            row[j] += numbers[j]


@inline_without_refcounts
def _sum_rows(matrix: Matrix, sums: Floats) -> None:
    """Write the sums over all rows, in their order, into `sums`."""
    sums[:] = 0.0
    fours = len(matrix) // 4 * 4
    for i in range(0, fours, 4):  # four rows at a time, so that sums are stored a quarter as often
        a, b, c, d = matrix[i], matrix[i + 1], matrix[i + 2], matrix[i + 3]
        for j in range(len(sums)):
            sums[j] = sums[j] + a[j] + b[j] + c[j] + d[j]
    for i in range(fours, len(matrix)):
        row = matrix[i]
        for j in range(len(sums)):
            sums[j] += row[j]


@inline_without_refcounts
def _forward(network: Network, x: Matrix) -> None:
    """Run forward through all layers."""
    layout, theta, cells = network.layout, network.theta, network.cells
    rows = len(x)
    before = x
    at = 0
    for k in range(len(layout)):
        inputs, neurons, weights, biases = layout[k, 0], layout[k, 1], layout[k, 2], layout[k, 3]
        size = rows * neurons
        flat, out = cells[0, at : at + size], cells[1, at : at + size]
        sums = flat.reshape((rows, neurons))
        w = theta[weights : weights + neurons * inputs].reshape((neurons, inputs))
        if w.size <= len(network.transposed):  # BLAS then takes half to two thirds of the time
            columns = network.transposed[: w.size].reshape((inputs, neurons))
            _transpose(w, columns)
            _product(before, columns, sums)
        else:
            _product(before, w.T, sums)
        _add_to_rows(theta[biases : biases + neurons], sums)
        forward_block(layout[k, 4], flat, flat, flat, out)
        before = out.reshape((rows, neurons))
        at += size


@inline_without_refcounts
def _backward(network: Network, x: Matrix, gradient: Floats, gx: Matrix) -> None:
    """Run backward through all layers, from the derivatives by the last layer's activations.

    Overwrites `gradient`, and `gx`, the derivatives by the inputs, if it has any rows.
    """
    layout, theta, cells = network.layout, network.theta, network.cells
    rows = len(x)
    end = _end(layout, rows)
    for k in range(len(layout) - 1, -1, -1):
        inputs, neurons, weights, biases = layout[k, 0], layout[k, 1], layout[k, 2], layout[k, 3]
        start = end - rows * neurons
        sums, out, after, slope = cells[0, start:end], cells[1, start:end], cells[2, start:end], cells[3, start:end]
        slope[:] = 0.0
        backward_block(layout[k, 4], sums, sums, sums, out, after, slope, slope, slope)
        delta = slope.reshape((rows, neurons))
        w = theta[weights : weights + neurons * inputs].reshape((neurons, inputs))
        before = cells[1, start - rows * inputs : start].reshape((rows, inputs)) if k else x
        _product(delta.T, before, gradient[weights : weights + neurons * inputs].reshape((neurons, inputs)))
        _sum_rows(delta, gradient[biases : biases + neurons])
        if k:
            _product(delta, w, cells[2, start - rows * inputs : start].reshape((rows, inputs)))
        elif len(gx):
            _product(delta, w, gx)
        end = start


@inline
def _careful_slope(code: Code, values: Matrix, entry: int, score: int, adjoint: float) -> float:
    """Return the derivative by the score of one entry, in which 0 met infinity: NaN unless a selection stopped it."""
    v = values[:, entry].copy()
    p, g = np.empty((len(code), 3)), np.zeros(len(v))
    g[-1] = adjoint
    leaves = len(v) - len(code)
    for k in range(len(code)):  # not `linearize`, which would bring a second switch along
        p[k, 0], p[k, 1], p[k, 2] = walks.partials_of(code[k, 0], v[code[k, 1]], v[code[k, 2]], v[code[k, 3]], v[leaves + k])
    walks.pull_carefully(code, p, g, g != 0.0)
    return float(g[score])


@inline_without_refcounts
def _tape_loss(objective: Objective, s: Matrix, t: Matrix, ds: Floats, total: float, scores: int) -> float:
    """Add the losses of a block to `total`, and write the derivatives of the mean over all `scores` scores into `ds`."""
    code, v, g, score, target = objective.code, objective.values, objective.adjoints, objective.score, objective.target
    count = s.size
    leaves = len(v) - len(code)
    flat_scores, flat_targets = s.reshape(count), t.reshape(count)
    for q in range(count):
        if score >= 0:
            v[score, q] = flat_scores[q]
        if target >= 0:
            v[target, q] = flat_targets[q]
    for k in range(len(code)):
        i, j, h = code[k, 1], code[k, 2], code[k, 3]
        forward_block(np.int64(code[k, 0]), v[i, :count], v[j, :count], v[h, :count], v[leaves + k, :count])
    g[:, :count] = 0.0
    g[len(v) - 1, :count] = 1.0 / scores
    for k in range(len(code) - 1, -1, -1):
        i, j, h = code[k, 1], code[k, 2], code[k, 3]
        out = leaves + k
        backward_block(
            np.int64(code[k, 0]), v[i, :count], v[j, :count], v[h, :count], v[out, :count],
            g[out, :count], g[i, :count], g[j, :count], g[h, :count],
        )  # fmt: skip
    for i in range(count):
        ds[i] = g[score, i] if score >= 0 else 0.0
        if np.isnan(ds[i]):
            ds[i] = _careful_slope(code, v, i, score, 1.0 / scores)
    for i in range(count):
        total += v[len(v) - 1, i]
    return total


@inline_without_refcounts
def _cross_entropy(s: Matrix, t: Matrix, ds: Floats, total: float, rows: int) -> float:
    """Add logsumexp(scores) - score of the class to `total` for each row of a block, and write the derivatives into `ds`.

    The derivative of the mean over all `rows` rows is (softmax - one hot)/rows. The largest score is subtracted first, and the
    other terms are kept apart from the largest and from that of the class, so that nothing cancels however large scores are.
    """
    outputs = s.shape[1]
    for i in range(len(s)):
        row, terms = s[i], ds[i * outputs : (i + 1) * outputs]
        top, right = row.argmax(), int(t[i, 0])
        rest, wrong = 0.0, 0.0
        for j in range(outputs):
            term = np.exp(row[j] - row[top])
            terms[j] = term
            rest += term if j != top else 0.0
            wrong += term if j != right else 0.0
        total += (row[top] - row[right]) + np.log1p(rest)
        terms[right] = -wrong
        for j in range(outputs):
            terms[j] = terms[j] / (1.0 + rest) / rows
    return total


@inline_without_refcounts
def _right(kind: int, s: Matrix, t: Matrix) -> int:
    """Count the scores on the side of their targets, or the rows whose largest score is that of their class."""
    right = 0
    if kind == ARGMAX:
        for i in range(len(s)):
            right += s[i].argmax() == int(t[i, 0])
        return right
    middle = 0.0 if kind == SIGN else 0.5
    for i in range(s.shape[0]):
        for j in range(s.shape[1]):
            right += (s[i, j] > 0.0) == (t[i, j] > middle)
    return right


@inline_without_refcounts
def _regularize(l2: float, theta: Floats, gradient: Floats) -> float:
    """Return the L2 penalty, and add its derivatives to `gradient`."""
    squares = 0.0
    for k in range(len(theta)):
        squares += theta[k] * theta[k]
        gradient[k] += 2.0 * l2 * theta[k]
    return squares * l2


@partial(jit, refcounts=False)
def add_block(network: Network, objective: Objective, data: Data, low: int, gx: Matrix, found: Floats) -> None:
    """Work on one block of `data`, from row `low` on. Blocks are worked on in order, from row 0 to the last.

    After the last block `found` holds the data loss, the regularization loss and the accuracy, `network.gradient` the gradient
    of their sum, and `gx`, if it has any rows, the derivatives by the inputs.
    """
    rows = len(data.inputs)
    high = min(low + network.block, rows)
    x, t = data.inputs[low:high], data.targets[low:high]
    if low == 0:
        found[0] = found[1] = found[2] = 0.0
    _forward(network, x)
    outputs = network.layout[len(network.layout) - 1, 1]
    scores = rows * outputs
    end = _end(network.layout, len(x))
    start = end - len(x) * outputs
    s, ds = network.cells[1, start:end].reshape((len(x), outputs)), network.cells[2, start:end]
    if objective.couples_outputs:
        found[0] = _cross_entropy(s, t, ds, found[0], rows)
    else:
        found[0] = _tape_loss(objective, s, t, ds, found[0], scores)
    if objective.accuracy != NO_ACCURACY:
        found[2] += _right(objective.accuracy, s, t)
    gradient = network.gradient if low == 0 else network.block_gradient
    _backward(network, x, gradient, gx[low:high])
    if low > 0:
        for k in range(len(gradient)):
            network.gradient[k] += gradient[k]
    if high < rows:
        return
    found[0] /= rows if objective.couples_outputs else scores
    found[2] = np.nan if objective.accuracy == NO_ACCURACY else found[2] / (rows if objective.accuracy == ARGMAX else scores)
    if objective.l2 != 0.0:
        found[1] = _regularize(objective.l2, network.theta, network.gradient)


@inline_without_refcounts
def _take_rows(matrix: Matrix, rows: Ints, out: Matrix) -> None:
    """Copy these rows, number by number: an assignment to a row takes two seconds to compile, for the text of its errors."""
    for i in range(len(rows)):
        source, target = matrix[rows[i]], out[i]
        for j in range(len(target)):
            target[j] = source[j]


@jit
def train(
    network: Network, objective: Objective, data: Data, batches: Batches, updates: Updates, schedule: Schedule,
    first: int, fresh: bool, done: int, found: Floats, log: Matrix,
) -> int:  # fmt: skip
    """Do steps `first`, `first + 1`, ..., one per row of `log`, and return the number of steps with a finite loss.

    Each step writes (data loss, regularization loss, accuracy, learning rate) into the log and then updates the network and
    the optimizer's buffers in place. Training ends before the update of a step whose loss or learning rate is not finite.
    `fresh` says that no buffer holds anything yet. Of the first step, the blocks before row `done` have been added up in
    `network` and `found` already, by `add_block`.
    """
    no_inputs = np.empty((0, 0))
    for k in range(len(log)):
        x, t = data.inputs, data.targets
        if len(batches.rows):
            low, high = batches.bounds[k], batches.bounds[k + 1]
            _take_rows(data.inputs, batches.rows[low:high], batches.inputs)
            _take_rows(data.targets, batches.rows[low:high], batches.targets)
            x, t = batches.inputs[: high - low], batches.targets[: high - low]
        for start in range(done if k == 0 else 0, len(x), network.block):
            add_block(network, objective, Data(x, t), start, no_inputs, found)
        if schedule.step >= 0:
            schedule.values[schedule.step] = first + k
            walks.forward(schedule.code, schedule.values)
        rate = schedule.values[len(schedule.values) - 1]
        log[k, 0], log[k, 1], log[k, 2], log[k, 3] = found[0], found[1], found[2], rate
        if not np.isfinite(found[0] + found[1] + rate):
            return k
        update(updates, Step(first + k + 1, rate, fresh and k == 0), network.theta, network.gradient)
    return len(log)


@partial(jit, refcounts=False)
def predict_block(network: Network, x: Matrix, scores: Matrix) -> None:
    """Write the scores of a block of rows into `scores`, of shape (rows, outputs)."""
    _forward(network, x)
    start = _end(network.layout, len(x)) - scores.size
    for i in range(scores.shape[0]):
        for j in range(scores.shape[1]):
            scores[i, j] = network.cells[1, start + i * scores.shape[1] + j]
