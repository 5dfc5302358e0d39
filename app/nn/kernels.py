"""The training loop, compiled: many steps a call, without the GIL and without an allocation that grows with them.

Layers are BLAS products; activations and losses are the table's rules, each as a loop over a whole block of numbers. Nothing
here knows an operation by name. Not here: what is trained and for how long (`training`).

A network is laid out flat. `layout` has a row (inputs, neurons, place of weights, place of biases, opcode of the activation)
for each layer; `theta` holds all numbers. The rows of `cells` hold, each layer behind the one before, the layers' sums, their
activations, and the derivatives of the loss by the activations and by the sums.
"""

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from app.engine import kernels as walks
from app.engine.jit import inline, jit, part
from app.engine.kernels import Code, Floats, Function, times
from app.engine.primitives import OPCODE, PRIMITIVES, Primitive

Layout = npt.NDArray[np.int64]
Matrix = npt.NDArray[np.float64]


LOOPS = ("identity", "add", "sub", "mul", "relu")
"""Rows that get a loop of their own over a block, which LLVM can vectorize. For the others the loop is around the switch:
finding the row again for each entry costs little beside such a rule, and a loop costs a tenth of a second to compile."""


def _loops(name: str, arguments: str, otherwise: Function, statements: Callable[[Primitive], Sequence[str]]) -> Function:
    """One compiled function of an opcode and arrays: for each of `LOOPS` a loop over all entries i, else `otherwise`.

    In the statements of a row, `value(i)` and `d0(i)`, `d1(i)` stand for its rules at entry i.
    """
    scope: dict[str, Any] = {"otherwise": otherwise}
    switch = [f"def {name}(op, {arguments}):"]
    for code in map(OPCODE.__getitem__, LOOPS):
        row = PRIMITIVES[code]
        assert row.fun is not None
        given = ", ".join(f"{x}[i]" for x in "xy"[: len(row.d)])
        own: dict[str, Any] = {"times": times, "fun": inline(row.fun)}
        own |= {f"rule{k}": inline(rule) for k, rule in enumerate(row.d)}
        lines = [f"def loop({arguments}):", "    for i in range(len(out)):"]
        for statement in statements(row):
            text = statement.replace("value(i)", f"fun({given})")
            for k in range(len(row.d)):
                text = text.replace(f"d{k}(i)", f"rule{k}({given}, out[i])")
            lines.append(f"        {text}")
        exec("\n".join(lines), own)  # the text above, nothing of a user's
        scope[f"loop_{code}"] = part(own["loop"])
        switch += [f"    if op == {code}:", f"        loop_{code}({arguments})", "        return"]
    exec("\n".join([*switch, f"    otherwise(op, {arguments})"]), scope)
    return cast(Function, part(scope[name]))


@part
def _forward_otherwise(op: int, x: Floats, y: Floats, z: Floats, out: Floats) -> None:
    for i in range(len(out)):
        out[i] = walks.value_of(np.int32(op), x[i], y[i], z[i])


@part
def _backward_otherwise(
    op: int, x: Floats, y: Floats, z: Floats, out: Floats, g: Floats, gx: Floats, gy: Floats, gz: Floats
) -> None:
    for i in range(len(out)):
        d0, d1, d2 = walks.partials_of(np.int32(op), x[i], y[i], z[i], out[i])
        gx[i] += times(g[i], d0)
        gy[i] += times(g[i], d1)
        gz[i] += times(g[i], d2)


forward_block = _loops("forward_block", "x, y, z, out", _forward_otherwise, lambda row: ["out[i] = value(i)"])
backward_block = _loops(
    "backward_block",
    "x, y, z, out, g, gx, gy, gz",
    _backward_otherwise,
    lambda row: [f"g{x}[i] += times(g[i], d{k}(i))" for k, x in enumerate("xy"[: len(row.d)])],
)

NO_ACCURACY, SIGN, ZERO_ONE, ARGMAX = range(4)
SGD, ADAM, ADAMW, RMSPROP = range(4)


@part
def _end(layout: Layout, rows: int) -> int:
    """The number of cells that all layers take for so many rows."""
    end = 0
    for k in range(len(layout)):
        end += rows * layout[k, 1]
    return end


@inline
def _scores(layout: Layout, theta: Floats, x: Matrix, cells: Matrix) -> Matrix:
    """Forward through all layers; the last layer's activations."""
    rows = len(x)
    before = x
    at = 0
    for k in range(len(layout)):
        inputs, neurons, weights, biases = layout[k, 0], layout[k, 1], layout[k, 2], layout[k, 3]
        size = rows * neurons
        flat, out = cells[0, at : at + size], cells[1, at : at + size]
        sums = flat.reshape((rows, neurons))
        w = theta[weights : weights + neurons * inputs].reshape((neurons, inputs))
        np.dot(before, w.T, sums)
        for i in range(rows):
            for j in range(neurons):
                sums[i, j] += theta[biases + j]
        forward_block(layout[k, 4], flat, flat, flat, out)
        before = out.reshape((rows, neurons))
        at += size
    return before


@inline
def _back(layout: Layout, theta: Floats, x: Matrix, cells: Matrix, grad: Floats, gx: Matrix) -> None:
    """Backward through all layers, from the derivatives by the last layer's activations.

    Overwrites `grad`, and `gx`, the derivative by the inputs, where it has any rows.
    """
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
        np.dot(delta.T, before, grad[weights : weights + neurons * inputs].reshape((neurons, inputs)))
        for j in range(neurons):
            grad[biases + j] = 0.0
        for i in range(rows):
            for j in range(neurons):
                grad[biases + j] += delta[i, j]
        if k:
            np.dot(delta, w, cells[2, start - rows * inputs : start].reshape((rows, inputs)))
        elif len(gx):
            np.dot(delta, w, gx)
        end = start


@part
def _tape_loss(code: Code, score: int, target: int, v: Matrix, g: Matrix, s: Matrix, t: Matrix, ds: Floats) -> float:
    """The mean of a loss's tape over all scores, and its derivative by each score into `ds`.

    `v` and `g` have a row a slot; the constants stand in `v` already.
    """
    count = s.size
    leaves = len(v) - len(code)
    scores, targets = s.reshape(count), t.reshape(count)
    for q in range(count):
        if score >= 0:
            v[score, q] = scores[q]
        if target >= 0:
            v[target, q] = targets[q]
    for k in range(len(code)):
        i, j, h = code[k, 1], code[k, 2], code[k, 3]
        forward_block(np.int64(code[k, 0]), v[i, :count], v[j, :count], v[h, :count], v[leaves + k, :count])
    g[:, :count] = 0.0
    g[len(v) - 1, :count] = 1.0 / count
    for k in range(len(code) - 1, -1, -1):
        i, j, h = code[k, 1], code[k, 2], code[k, 3]
        out = leaves + k
        backward_block(
            np.int64(code[k, 0]), v[i, :count], v[j, :count], v[h, :count], v[out, :count],
            g[out, :count], g[i, :count], g[j, :count], g[h, :count],
        )  # fmt: skip
    for i in range(count):
        ds[i] = g[score, i] if score >= 0 else 0.0
    total = 0.0
    for i in range(count):
        total += v[len(v) - 1, i]
    return total / count


@inline
def _cross_entropy(s: Matrix, t: Matrix, ds: Floats) -> float:
    """The mean over rows of logsumexp(scores) - score of the class, and its derivative: (softmax - one hot)/rows."""
    rows, outputs = s.shape
    total: float = 0.0
    for i in range(rows):
        top = s[i].max()
        norm = 0.0
        for j in range(outputs):
            norm += np.exp(s[i, j] - top)
        right = int(t[i, 0])
        total += top + np.log(norm) - s[i, right]
        for j in range(outputs):
            ds[i * outputs + j] = (np.exp(s[i, j] - top) / norm - (1.0 if j == right else 0.0)) / rows
    return float(total / rows)


@inline
def _accuracy(kind: int, s: Matrix, t: Matrix) -> float:
    """The share of scores on the side of their targets, or of rows whose greatest score is that of the class."""
    right = 0
    if kind == ARGMAX:
        for i in range(len(s)):
            right += s[i].argmax() == int(t[i, 0])
        return right / len(s)
    middle = 0.0 if kind == SIGN else 0.5
    for i in range(s.shape[0]):
        for j in range(s.shape[1]):
            right += (s[i, j] > 0.0) == (t[i, j] > middle)
    return right / s.size


@jit
def objective(
    layout: Layout, theta: Floats, x: Matrix, t: Matrix, cells: Matrix, grad: Floats, gx: Matrix, code: Code,
    score: int, target: int, v: Matrix, g: Matrix, coupled: bool, accuracy: int, l2: float,
) -> tuple[float, float, float]:  # fmt: skip
    """Data loss, regularization loss and accuracy on these rows; the gradient of the loss into `grad`, and by the inputs
    into `gx`, where that has any rows.
    """
    s = _scores(layout, theta, x, cells)
    end = _end(layout, len(x))
    ds = cells[2, end - s.size : end]
    loss = _cross_entropy(s, t, ds) if coupled else _tape_loss(code, score, target, v, g, s, t, ds)
    right = _accuracy(accuracy, s, t) if accuracy != NO_ACCURACY else np.nan
    _back(layout, theta, x, cells, grad, gx)
    regularization = 0.0
    if l2 != 0.0:
        for k in range(len(theta)):
            regularization += theta[k] * theta[k]
            grad[k] += 2.0 * l2 * theta[k]
        regularization *= l2
    return loss, regularization, right


@part
def _update(kind: int, p: Floats, step: int, rate: float, theta: Floats, grad: Floats, state: Matrix, fresh: bool) -> None:
    """PyTorch's update rules. `p` is `optimizers.PARAMETERS`; `step` counts from 1; `fresh`: no buffer was filled yet."""
    momentum, dampening, decay, nesterov, beta1 = p[0], p[1], p[2], p[3], p[4]
    beta2, eps, amsgrad, alpha, centered = p[5], p[6], p[7], p[8], p[9]
    if kind == SGD:
        for k in range(len(theta)):
            slope = grad[k] + decay * theta[k]
            if momentum != 0.0:
                state[0, k] = slope if fresh else momentum * state[0, k] + (1.0 - dampening) * slope
                slope = slope + momentum * state[0, k] if nesterov != 0.0 else state[0, k]
            theta[k] -= rate * slope
    elif kind == RMSPROP:
        for k in range(len(theta)):
            slope = grad[k] + decay * theta[k]
            state[0, k] = alpha * state[0, k] + (1.0 - alpha) * slope * slope
            spread = state[0, k]
            if centered != 0.0:
                state[2, k] += (1.0 - alpha) * (slope - state[2, k])
                spread -= state[2, k] * state[2, k]
            move = slope / (np.sqrt(spread) + eps)
            if momentum != 0.0:
                state[1, k] = momentum * state[1, k] + move
                move = state[1, k]
            theta[k] -= rate * move
    else:
        size = rate / (1.0 - beta1**step)
        root = np.sqrt(1.0 - beta2**step)
        shrink = 1.0 - rate * decay if kind == ADAMW else 1.0
        decay = 0.0 if kind == ADAMW else decay
        if amsgrad == 0.0:  # a loop without a choice in it is one for vectors
            for k in range(len(theta)):
                slope = grad[k] + decay * theta[k]
                state[0, k] += (1.0 - beta1) * (slope - state[0, k])
                state[1, k] = beta2 * state[1, k] + (1.0 - beta2) * slope * slope
                theta[k] = shrink * theta[k] - size * state[0, k] / (np.sqrt(state[1, k]) / root + eps)
        else:
            for k in range(len(theta)):
                slope = grad[k] + decay * theta[k]
                state[0, k] += (1.0 - beta1) * (slope - state[0, k])
                state[1, k] = beta2 * state[1, k] + (1.0 - beta2) * slope * slope
                state[2, k] = max(state[2, k], state[1, k])
                theta[k] = shrink * theta[k] - size * state[0, k] / (np.sqrt(state[2, k]) / root + eps)


@jit
def train(
    layout: Layout, theta: Floats, state: Matrix, inputs: Matrix, targets: Matrix, rows: Layout, bounds: Layout, x: Matrix,
    t: Matrix, cells: Matrix, grad: Floats, kind: int, p: Floats, rcode: Code, rv: Floats,
    rstep: int, first: int, fresh: bool, log: Matrix, nothing: Matrix, code: Code, score: int, target: int,
    v: Matrix, g: Matrix, coupled: bool, accuracy: int, l2: float,
) -> int:  # fmt: skip
    """Steps `first`, `first + 1`, ..., one for each row of `log`; the number of steps whose loss is finite.

    Step k works on the rows `rows[bounds[k]:bounds[k + 1]]` (all, where `rows` is empty), writes (data loss, regularization
    loss, accuracy, learning rate) into the log, and then updates `theta` and `state` in place; it ends before the update of
    a step whose loss is not finite. The learning rate is a tape with the step in slot `rstep` of its values `rv`.
    """
    for k in range(len(log)):
        bx, bt = inputs, targets
        if len(rows):
            low, high = bounds[k], bounds[k + 1]
            for i in range(low, high):
                x[i - low] = inputs[rows[i]]
                t[i - low] = targets[rows[i]]
            bx, bt = x[: high - low], t[: high - low]
        loss, regularization, right = objective(
            layout, theta, bx, bt, cells, grad, nothing, code, score, target, v, g, coupled, accuracy, l2
        )
        if rstep >= 0:
            rv[rstep] = first + k
            walks.forward(rcode, rv)
        rate = rv[len(rv) - 1]
        log[k, 0], log[k, 1], log[k, 2], log[k, 3] = loss, regularization, right, rate
        if not np.isfinite(loss + regularization + rate):
            return k
        _update(kind, p, first + k + 1, rate, theta, grad, state, fresh and k == 0)
    return len(log)


@jit
def predict(layout: Layout, theta: Floats, inputs: Matrix, cells: Matrix) -> Matrix:
    """The scores of all rows, of shape (rows, outputs)."""
    return _scores(layout, theta, inputs, cells).copy()  # type: ignore[no-any-return]  # compiled
