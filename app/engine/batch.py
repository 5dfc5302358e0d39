"""The walks over a block of points, with NumPy: each slot holds an array with one number per point.

The rules of the table are called on arrays as they are. What does not depend on the points stays one number, and is computed
by the compiled row as at one point. `transforms` cuts the points into blocks.
"""

from collections.abc import Mapping
from typing import cast

import numpy as np

from app.engine import kernels
from app.engine.binding import Column
from app.engine.interruption import Checkpoint, never
from app.engine.primitives import PRIMITIVES
from app.engine.tape import Bools, Floats, Ints, Tape
from app.engine.walk import SlotNumbers, pick


class BatchWalk:
    """The walks over one block of points. All methods as in `walk.Walk`.

    Only slots that depend on those in `towards` get adjoints. An exact zero passes nothing on; where that may matter, because
    the result holds a NaN, the caller walks again with `careful`, which looks for zeros in every product.
    """

    def __init__(
        self,
        tape: Tape,
        numbers: Floats,
        columns: Mapping[int, Floats],
        towards: Bools,
        careful: bool = False,
        checkpoint: Checkpoint = never,
    ) -> None:
        self.tape = tape
        self.towards = towards
        self.careful = careful
        self.checkpoint = checkpoint
        self.arguments = [(PRIMITIVES[op], slots[: len(PRIMITIVES[op].d)]) for op, *slots in tape.code.tolist()]
        self.partials: dict[tuple[int, int], Column] | None = None
        values: list[Column] = list(numbers)
        for slot, column in columns.items():
            values[slot] = column
        with np.errstate(all="ignore"):
            for k, (row, slots) in enumerate(self.arguments):
                given = [values[slot] for slot in slots]
                if any(isinstance(x, np.ndarray) for x in given):
                    assert row.fun is not None
                    values.append(row.fun(*given))
                else:
                    x, y, z = (*given, 0.0, 0.0)[:3]
                    values.append(np.float64(kernels.apply(int(tape.code[k, 0]), x, y, z)))
        self._values = values

    @property
    def values(self) -> list[Column]:
        """The value in every slot."""
        return self._values

    def linearize(self) -> None:
        """Keep the partials as they are computed."""
        if self.partials is None:
            self.partials = {}

    def push(self, tangents: Mapping[int, Column]) -> list[Column]:
        """Forward mode."""
        base, t = self.tape.leaves, self._seeded(tangents)
        with np.errstate(all="ignore"):
            for k, (_, slots) in enumerate(self.arguments):
                for i, slot in enumerate(slots):
                    if not _is_zero(t[slot]):
                        t[base + k] = _plus(t[base + k], self._times(t[slot], self.partial(k, i)))
        return t

    def pull(self, cotangents: Mapping[int, Column]) -> list[Column]:
        """Reverse mode."""
        base, g = self.tape.leaves, self._seeded(cotangents)
        with np.errstate(all="ignore"):
            for k in range(len(self.arguments) - 1, -1, -1):
                adjoint = g[base + k]
                if _is_zero(adjoint):
                    continue
                for i, slot in enumerate(self.arguments[k][1]):
                    if self.towards[slot]:
                        g[slot] = _plus(g[slot], self._times(adjoint, self.partial(k, i)))
        return g

    def curve(self, adjoints: SlotNumbers) -> None:
        """Keep the second partials times the adjoints."""
        base = self.tape.leaves
        self.curvature: list[list[Column]] = []
        with np.errstate(all="ignore"):
            for k, (row, slots) in enumerate(self.arguments):
                adjoint = adjoints[base + k]
                if _is_zero(adjoint):
                    self.curvature.append([0.0] * len(row.dd))
                    continue
                given = [self.values[slot] for slot in slots]
                out = self.values[base + k]
                self.curvature.append([self._times(adjoint, rule(*given, out)) for rule in row.dd])

    def pull_tangents(self, tangents: SlotNumbers) -> list[Column]:
        """Forward over reverse; call `curve` first."""
        base, w = self.tape.leaves, self._seeded({})
        with np.errstate(all="ignore"):
            for k in range(len(self.arguments) - 1, -1, -1):
                slots = self.arguments[k][1]
                dg = w[base + k]
                for i, slot in enumerate(slots):
                    if not self.towards[slot]:
                        continue
                    if not _is_zero(dg):
                        w[slot] = _plus(w[slot], self._times(dg, self.partial(k, i)))
                    for j, other in enumerate(slots):
                        low, high = sorted((i, j))
                        second = self.curvature[k][high * (high + 1) // 2 + low]
                        w[slot] = _plus(w[slot], self._times(second, tangents[other]))
        return w

    def push_each(self, slots: Ints, outputs: Ints) -> list[SlotNumbers]:
        """Forward mode for each slot, one after the other."""
        return [pick(self.push(self._unit(slot)), outputs) for slot in slots.tolist()]

    def pull_each(self, outputs: Ints, slots: Ints) -> list[SlotNumbers]:
        """Reverse mode for each output, one after the other."""
        return [pick(self.pull(self._unit(slot)), slots) for slot in outputs.tolist()]

    def pull_tangents_each(self, slots: Ints) -> list[SlotNumbers]:
        """Forward over reverse for each slot, one after the other; call `curve` first."""
        return [pick(self.pull_tangents(self.push(self._unit(slot))), slots) for slot in slots.tolist()]

    def partial(self, k: int, i: int) -> Column:
        """Return the partial of instruction k by its argument i."""
        if self.partials is not None and (k, i) in self.partials:
            return self.partials[k, i]
        row, slots = self.arguments[k]
        partial: Column = row.d[i](*[self.values[slot] for slot in slots], self.values[self.tape.leaves + k])
        if self.partials is not None:
            self.partials[k, i] = partial
        return partial

    def _times(self, x: Column, y: Column) -> Column:
        """The product; with `careful`, an exact zero wins over NaN and infinity at every point."""
        if _is_zero(x) or _is_zero(y):
            return 0.0
        if isinstance(y, float) and y == 1.0:
            return x
        if not self.careful or (isinstance(x, float) and isinstance(y, float)):
            return x * y
        return cast(Column, np.where((x == 0.0) | (y == 0.0), 0.0, x * y))

    def _unit(self, slot: int) -> dict[int, Column]:
        """The seed of one of many walks."""
        self.checkpoint()
        return {slot: 1.0} if slot >= 0 else {}

    def _seeded(self, seeds: Mapping[int, Column]) -> list[Column]:
        columns: list[Column] = [0.0] * self.tape.slots
        for slot, seed in seeds.items():
            columns[slot] = seed
        return columns


def _is_zero(x: Column) -> bool:
    """Return whether x is the number 0 for all points; no array is looked into."""
    return isinstance(x, float) and x == 0.0


def _plus(x: Column, y: Column) -> Column:
    """Return the sum, in a new array unless one of the two is zero."""
    if _is_zero(x):
        return y
    return x if _is_zero(y) else x + y
