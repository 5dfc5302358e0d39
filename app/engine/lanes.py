"""Compiled loops over a tape at one point, for many directions at once: Jacobians and Hessians.

Each slot holds a row of `WIDTH` lanes, one lane per direction, so that an instruction is looked at once for all of them and
its arithmetic is vectorized. A slot that no direction reaches is not live: its row is undefined, and instructions on such
slots alone are skipped, which makes sparse matrices cheap.

All partials and second partials must be finite. Each loop returns whether no partial of 0 met a number that is not finite;
only then are its results what the careful loops of `kernels` would give.
"""

import numpy as np
import numpy.typing as npt

from app.engine.jit import inline_without_refcounts, jit_without_refcounts
from app.engine.kernels import BENDS, ZERO_STOPS, Code, Flags, Ints, second

Matrix = npt.NDArray[np.float64]

WIDTH = 16


@inline_without_refcounts
def _add(to: Matrix, live: Flags, row: int, factor: float, passes: bool, of: Matrix, other: int) -> bool:
    """Add `factor` times another row to a row, which becomes live. Return False for 0 times a number that is not finite.

    Unless it `passes` zeros on, a factor of 0 adds nothing.
    """
    if factor == 0.0:
        if not passes:
            return True
        total = 0.0
        for lane in range(WIDTH):
            total += 0.0 * of[other, lane]
        if total != 0.0:
            return False
        if not live[row]:
            to[row, :] = 0.0
    elif live[row]:
        for lane in range(WIDTH):
            to[row, lane] += factor * of[other, lane]
    else:
        for lane in range(WIDTH):
            to[row, lane] = factor * of[other, lane]
    live[row] = True
    return True


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
def _push(code: Code, p: Matrix, t: Matrix, live: Flags) -> bool:
    """Push the tangents of the live slots forward."""
    base = len(t) - len(code)
    fine = True
    for k in range(len(code)):
        for i in range(3):
            if live[code[k, 1 + i]]:
                fine &= _add(t, live, base + k, p[k, i], not ZERO_STOPS[code[k, 0], i], t, code[k, 1 + i])
    return fine


@inline_without_refcounts
def _keep(rows: Matrix, live: Flags, slots: Ints, into: Matrix, first: int) -> None:
    """Copy the numbers in `slots` into the rows of `into` from `first` on, one row per lane."""
    for lane in range(min(WIDTH, len(into) - first)):
        for k in range(len(slots)):
            slot = slots[k]
            into[first + lane, k] = rows[slot, lane] if slot >= 0 and live[slot] else 0.0


@jit_without_refcounts
def push_each(code: Code, p: Matrix, slots: Ints, outputs: Ints, t: Matrix, live: Flags, into: Matrix) -> bool:
    """Forward mode: row d of `into` gets the derivatives of `outputs` by `slots[d]`. `t` and `live` are work space."""
    fine = True
    for first in range(0, len(slots), WIDTH):
        _seed(t, live, slots, first)
        fine &= _push(code, p, t, live)
        _keep(t, live, outputs, into, first)
    return fine


@jit_without_refcounts
def pull_each(code: Code, p: Matrix, outputs: Ints, slots: Ints, g: Matrix, live: Flags, into: Matrix) -> bool:
    """Reverse mode: row d of `into` gets the derivatives of `outputs[d]` by `slots`."""
    base = len(g) - len(code)
    fine = True
    for first in range(0, len(outputs), WIDTH):
        _seed(g, live, outputs, first)
        for k in range(len(code) - 1, -1, -1):
            if live[base + k]:
                for i in range(3):
                    fine &= _add(g, live, code[k, 1 + i], p[k, i], not ZERO_STOPS[code[k, 0], i], g, base + k)
        _keep(g, live, slots, into, first)
    return fine


@jit_without_refcounts
def pull_tangents_each(
    code: Code, p: Matrix, s: Matrix, seeds: Ints, slots: Ints, t: Matrix, live: Flags, w: Matrix, alive: Flags, curved: Flags,
    into: Matrix,
) -> bool:  # fmt: skip
    """Forward over reverse, as `kernels.pull_tangents`: row d of `into` gets the second derivatives by `seeds[d]` and `slots`.

    `t`, `live`, `w`, `alive` and `curved` are work space.
    """
    base = len(t) - len(code)
    fine = True
    for k in range(len(code)):  # most instructions are linear
        op = code[k, 0]
        curved[k] = BENDS[op, 0] or BENDS[op, 1] or BENDS[op, 2] or BENDS[op, 3] or BENDS[op, 4] or BENDS[op, 5]
    for first in range(0, len(seeds), WIDTH):
        _seed(t, live, seeds, first)
        fine &= _push(code, p, t, live)
        alive[:] = False
        for k in range(len(code) - 1, -1, -1):
            op = code[k, 0]
            if alive[base + k]:
                for i in range(3):
                    fine &= _add(w, alive, code[k, 1 + i], p[k, i], not ZERO_STOPS[op, i], w, base + k)
            if not curved[k]:
                continue
            for j in range(3):
                if live[code[k, 1 + j]]:
                    for i in range(3):
                        place = second(i, j)
                        fine &= _add(w, alive, code[k, 1 + i], s[k, place], BENDS[op, place], t, code[k, 1 + j])
        _keep(w, alive, slots, into, first)
    return fine
