"""What can be done along a tape at given numbers: the interface, and its implementation for one point.

`batch` has the implementation for many points. Not here: what the walks are for (`transforms`).
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from app.engine import kernels, lanes
from app.engine.interruption import checkpoint
from app.engine.tape import Bools, Column, Floats, Ints, Tape

Columns = Sequence[Column] | Floats
"""A number, or an array with one entry a point, for each slot of a tape."""


class Walk(Protocol):
    """A tape with numbers in its leaves, and the walks over it.

    Seeds map slots to numbers; slots without one start at 0. A seed at an instruction's slot is added to what the
    instruction passes on, so a derivative can be asked for by any node as well as by a leaf.
    """

    @property
    def values(self) -> Columns:
        """The value in every slot."""

    def linearize(self) -> object:
        """Keeps the partials, because several walks will want them."""

    def partial(self, k: int, i: int) -> Column:
        """The partial of instruction k by its argument i."""

    def push(self, tangents: Mapping[int, Column]) -> Columns:
        """Forward mode: the tangent of every slot along the given ones."""

    def pull(self, cotangents: Mapping[int, Column]) -> Columns:
        """Reverse mode: the adjoint of every slot, given cotangents of some."""

    def push_each(self, slots: Ints, outputs: Ints) -> list[Columns]:
        """Forward mode for each of `slots` alone: the tangents of `outputs`."""

    def pull_each(self, outputs: Ints, slots: Ints) -> list[Columns]:
        """Reverse mode for each of `outputs` alone: the adjoints of `slots`."""

    def pull_tangents_each(self, slots: Ints) -> list[Columns]:
        """Forward over reverse for each of `slots` alone, behind `curve`: the derivatives of the adjoints of `slots`."""

    def curve(self, adjoints: Columns) -> None:
        """Keeps the second partials times the adjoints, for `pull_tangents`."""

    def pull_tangents(self, tangents: Columns) -> Columns:
        """Forward over reverse: the derivative of every slot's adjoint along the tangents of all slots."""


class PointWalk:
    """The walks at one point, in compiled loops over vectors with one number a slot."""

    def __init__(self, tape: Tape, numbers: Floats) -> None:
        self.tape = tape
        self._values = np.empty(tape.slots)
        self._values[: tape.leaves] = numbers
        self._known = False
        self.partials: Floats | None = None

    @property
    def values(self) -> Floats:
        """The value in every slot."""
        if not self._known:
            kernels.forward(self.tape.code, self._values)
            self._known = True
        return self._values

    def linearize(self) -> Floats:
        """Keeps the partials, and returns them: an array of shape (instructions, 3)."""
        if self.partials is None:
            self.partials = np.empty((len(self.tape.code), 3))
            kernels.linearize(self.tape.code, self._values, self.partials)
            self._known = True
        return self.partials

    def partial(self, k: int, i: int) -> float:
        """The partial of instruction k by its argument i."""
        return float(self.linearize()[k, i])

    def push(self, tangents: Mapping[int, Column]) -> Floats:
        """Forward mode."""
        tape, t = self.tape, self._seeded(tangents)
        kernels.push(tape.code, self.linearize(), t)
        return t

    def pull(self, cotangents: Mapping[int, Column]) -> Floats:
        """Reverse mode."""
        tape, g = self.tape, self._seeded(cotangents)
        kernels.pull(tape.code, self.linearize(), g)
        return g

    def curve(self, adjoints: Columns) -> None:
        """Keeps the second partials times the adjoints."""
        tape = self.tape
        self.curvature = kernels.curve(tape.code, self.values, np.asarray(adjoints))

    def pull_tangents(self, tangents: Columns) -> Floats:
        """Forward over reverse, behind `curve`."""
        tape, w = self.tape, self._seeded({})
        kernels.pull_tangents(tape.code, self.linearize(), self.curvature, np.asarray(tangents), w)
        return w

    def push_each(self, slots: Ints, outputs: Ints) -> list[Columns]:
        """Forward mode for each slot, in lanes."""
        rows = np.empty((len(slots), len(outputs)))
        lanes.push_each(self.tape.code, self.linearize(), slots, outputs, *self._lanes(), rows)
        return [rows.ravel()]

    def pull_each(self, outputs: Ints, slots: Ints) -> list[Columns]:
        """Reverse mode for each output, in lanes."""
        rows = np.empty((len(outputs), len(slots)))
        lanes.pull_each(self.tape.code, self.linearize(), outputs, slots, *self._lanes(), rows)
        return [rows.ravel()]

    def pull_tangents_each(self, slots: Ints) -> list[Columns]:
        """Forward over reverse for each slot, in lanes."""
        rows = np.empty((len(slots), len(slots)))
        room = (*self._lanes(), *self._lanes(), np.empty(len(self.tape.code), np.bool_))
        lanes.pull_tangents_each(self.tape.code, self.linearize(), self.curvature, slots, *room, rows)
        return [rows.ravel()]

    def _lanes(self) -> tuple[Floats, Bools]:
        """Room for lanes, and for what is live in them."""
        slots = self.tape.slots
        return np.empty((slots, lanes.WIDTH)), np.empty(slots, np.bool_)

    def _seeded(self, seeds: Mapping[int, Column]) -> Floats:
        vector = np.zeros(self.tape.slots)
        for slot, seed in seeds.items():
            vector[slot] = seed
        return vector


def pick(columns: Columns, slots: Ints) -> Columns:
    """The numbers at these slots; 0 for slot -1, which stands for a node that the outputs do not need."""
    if isinstance(columns, np.ndarray):
        return kernels.gather(columns, slots)
    return [columns[slot] if slot >= 0 else 0.0 for slot in slots.tolist()]


def unit(slot: int) -> dict[int, Column]:
    """The seed of one of many walks."""
    checkpoint()
    return {slot: 1.0} if slot >= 0 else {}
