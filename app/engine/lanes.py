"""Compiled loops over a tape at one point, for many directions at once: Jacobians and Hessians.

Each slot holds a row of `WIDTH` lanes, one lane per direction, so that an instruction is looked at once for all of them and
its arithmetic is vectorized. A slot that no direction reaches is not live: its row is undefined, and instructions on such
slots alone are skipped, which makes sparse matrices cheap. Products are as in `kernels`: an exact zero wins over NaN and
infinity.
"""

import numpy as np
import numpy.typing as npt

from app.engine.jit import inline_without_refcounts, jit_without_refcounts
from app.engine.kernels import Code, Ints

Matrix = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

WIDTH = 16


@inline_without_refcounts
def _add(to: Matrix, live: Flags, row: int, factor: float, of: Matrix, other: int) -> None:
    """Add `factor` times another row to a row, which becomes live."""
    if factor == 0.0:
        return
    if not np.isfinite(factor):
        for lane in range(WIDTH):
            product = 0.0 if of[other, lane] == 0.0 else factor * of[other, lane]
            to[row, lane] = to[row, lane] + product if live[row] else product
    elif live[row]:
        for lane in range(WIDTH):
            to[row, lane] += factor * of[other, lane]
    else:
        for lane in range(WIDTH):
            to[row, lane] = factor * of[other, lane]
    live[row] = True


@inline_without_refcounts
def _seed(t: Matrix, live: Flags, slots: Ints, first: int) -> None:
    """Make unit vectors for `slots` from `first` on, one per lane; no other slot is live."""
    live[:] = False
    for lane in range(min(WIDTH, len(slots) - first)):
        slot = slots[first + lane]
        if slot < 0:
            continue
        if not live[slot]:
            t[slot, :] = 0.0
            live[slot] = True
        t[slot, lane] = 1.0


@inline_without_refcounts
def _push(code: Code, p: Matrix, t: Matrix, live: Flags) -> None:
    """Push the tangents of the live slots forward."""
    base = len(t) - len(code)
    for k in range(len(code)):
        i, j, h = code[k, 1], code[k, 2], code[k, 3]
        if live[i]:
            _add(t, live, base + k, p[k, 0], t, i)
        if live[j]:
            _add(t, live, base + k, p[k, 1], t, j)
        if live[h]:
            _add(t, live, base + k, p[k, 2], t, h)


@inline_without_refcounts
def _keep(rows: Matrix, live: Flags, slots: Ints, into: Matrix, first: int) -> None:
    """Copy the numbers in `slots` into the rows of `into` from `first` on, one row per lane."""
    for lane in range(min(WIDTH, len(into) - first)):
        for k in range(len(slots)):
            slot = slots[k]
            into[first + lane, k] = rows[slot, lane] if slot >= 0 and live[slot] else 0.0


@jit_without_refcounts
def push_each(code: Code, p: Matrix, slots: Ints, outputs: Ints, t: Matrix, live: Flags, into: Matrix) -> None:
    """Forward mode: row d of `into` gets the derivatives of `outputs` by `slots[d]`. `t` and `live` are work space."""
    for first in range(0, len(slots), WIDTH):
        _seed(t, live, slots, first)
        _push(code, p, t, live)
        _keep(t, live, outputs, into, first)


@jit_without_refcounts
def pull_each(code: Code, p: Matrix, outputs: Ints, slots: Ints, g: Matrix, live: Flags, into: Matrix) -> None:
    """Reverse mode: row d of `into` gets the derivatives of `outputs[d]` by `slots`."""
    base = len(g) - len(code)
    for first in range(0, len(outputs), WIDTH):
        _seed(g, live, outputs, first)
        for k in range(len(code) - 1, -1, -1):
            if live[base + k]:
                _add(g, live, code[k, 1], p[k, 0], g, base + k)
                _add(g, live, code[k, 2], p[k, 1], g, base + k)
                _add(g, live, code[k, 3], p[k, 2], g, base + k)
        _keep(g, live, slots, into, first)


@jit_without_refcounts
def pull_tangents_each(
    code: Code, p: Matrix, s: Matrix, slots: Ints, t: Matrix, live: Flags, w: Matrix, alive: Flags, curved: Flags, into: Matrix
) -> None:
    """Forward over reverse, as `kernels.pull_tangents`: row d of `into` gets the second derivatives by `slots[d]` and `slots`.

    `t`, `live`, `w`, `alive` and `curved` are work space.
    """
    base = len(t) - len(code)
    for k in range(len(code)):  # most instructions are linear
        curved[k] = s[k, 0] != 0.0 or s[k, 1] != 0.0 or s[k, 2] != 0.0 or s[k, 3] != 0.0 or s[k, 4] != 0.0 or s[k, 5] != 0.0
    for first in range(0, len(slots), WIDTH):
        _seed(t, live, slots, first)
        _push(code, p, t, live)
        alive[:] = False
        for k in range(len(code) - 1, -1, -1):
            i, j, h = code[k, 1], code[k, 2], code[k, 3]
            if alive[base + k]:
                _add(w, alive, i, p[k, 0], w, base + k)
                _add(w, alive, j, p[k, 1], w, base + k)
                _add(w, alive, h, p[k, 2], w, base + k)
            if not curved[k]:
                continue
            if live[i]:
                _add(w, alive, i, s[k, 0], t, i)
                _add(w, alive, j, s[k, 1], t, i)
                _add(w, alive, h, s[k, 3], t, i)
            if live[j]:
                _add(w, alive, i, s[k, 1], t, j)
                _add(w, alive, j, s[k, 2], t, j)
                _add(w, alive, h, s[k, 4], t, j)
            if live[h]:
                _add(w, alive, i, s[k, 3], t, h)
                _add(w, alive, j, s[k, 4], t, h)
                _add(w, alive, h, s[k, 5], t, h)
        _keep(w, alive, slots, into, first)
