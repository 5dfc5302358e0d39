"""Walks over a tape: their interface, and the implementation for one point. The one for many points is in `batch`."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from app.engine import kernels, lanes
from app.engine.binding import Column
from app.engine.tape import Bools, Floats, Ints, Tape

SlotNumbers = Sequence[Column] | Floats
"""For each slot of a tape a number, or an array with one number per point."""


class Walk(Protocol):
    """A tape with numbers in its leaves, and the walks over it.

    Seeds map slots to numbers; slots without one start at 0. A seed at an instruction's slot is added to what the
    instruction passes on, so derivatives can be taken by any node and not only by leaves.
    """

    @property
    def values(self) -> SlotNumbers:
        """The value in every slot."""

    def linearize(self) -> object:
        """Keep the partials, because several walks will use them."""

    def partial(self, k: int, i: int) -> Column:
        """Return the partial of instruction k by its argument i."""

    def push(self, tangents: Mapping[int, Column]) -> SlotNumbers:
        """Forward mode: return the tangent of every slot, given those of some."""

    def pull(self, cotangents: Mapping[int, Column]) -> SlotNumbers:
        """Reverse mode: return the adjoint of every slot, given cotangents of some."""

    def push_each(self, slots: Ints, outputs: Ints) -> list[SlotNumbers]:
        """Forward mode from each of `slots` alone: return the tangents of `outputs`."""

    def pull_each(self, outputs: Ints, slots: Ints) -> list[SlotNumbers]:
        """Reverse mode from each of `outputs` alone: return the adjoints of `slots`."""

    def curve(self, adjoints: SlotNumbers) -> None:
        """Keep the second partials times the adjoints, for `pull_tangents` and `pull_tangents_each`."""

    def pull_tangents(self, tangents: SlotNumbers) -> SlotNumbers:
        """Forward over reverse: return the derivative of every slot's adjoint along the tangents of all slots."""

    def pull_tangents_each(self, slots: Ints) -> list[SlotNumbers]:
        """Forward over reverse from each of `slots` alone: return the derivatives of the adjoints of `slots`."""


class PointWalk:
    """The walks at one point: compiled loops over arrays with one number per slot. All methods as in `Walk`."""

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
        """Keep the partials and return them: an array of shape (instructions, 3)."""
        if self.partials is None:
            self.partials = np.empty((len(self.tape.code), 3))
            kernels.linearize(self.tape.code, self._values, self.partials)
            self._known = True
        return self.partials

    def partial(self, k: int, i: int) -> float:
        """Return the partial of instruction k by its argument i."""
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

    def curve(self, adjoints: SlotNumbers) -> None:
        """Keep the second partials times the adjoints."""
        tape = self.tape
        self.curvature = kernels.curve(tape.code, self.values, np.asarray(adjoints))

    def pull_tangents(self, tangents: SlotNumbers) -> Floats:
        """Forward over reverse; call `curve` first."""
        tape, w = self.tape, self._seeded({})
        kernels.pull_tangents(tape.code, self.linearize(), self.curvature, np.asarray(tangents), w)
        return w

    def push_each(self, slots: Ints, outputs: Ints) -> list[SlotNumbers]:
        """Forward mode for each slot, in lanes."""
        rows = np.empty((len(slots), len(outputs)))
        lanes.push_each(self.tape.code, self.linearize(), slots, outputs, *self._lanes(), rows)
        return [rows.ravel()]

    def pull_each(self, outputs: Ints, slots: Ints) -> list[SlotNumbers]:
        """Reverse mode for each output, in lanes."""
        rows = np.empty((len(outputs), len(slots)))
        lanes.pull_each(self.tape.code, self.linearize(), outputs, slots, *self._lanes(), rows)
        return [rows.ravel()]

    def pull_tangents_each(self, slots: Ints) -> list[SlotNumbers]:
        """Forward over reverse for each slot, in lanes; call `curve` first."""
        rows = np.empty((len(slots), len(slots)))
        room = (*self._lanes(), *self._lanes(), np.empty(len(self.tape.code), np.bool_))
        lanes.pull_tangents_each(self.tape.code, self.linearize(), self.curvature, slots, *room, rows)
        return [rows.ravel()]

    def _lanes(self) -> tuple[Floats, Bools]:
        """Work space for the lanes, and for the flags of live slots."""
        slots = self.tape.slots
        return np.empty((slots, lanes.WIDTH)), np.empty(slots, np.bool_)

    def _seeded(self, seeds: Mapping[int, Column]) -> Floats:
        vector = np.zeros(self.tape.slots)
        for slot, seed in seeds.items():
            vector[slot] = seed
        return vector


def pick(numbers: SlotNumbers, slots: Ints) -> SlotNumbers:
    """Return the numbers in these slots, and 0 for slot -1, which stands for a node that the outputs do not need."""
    if isinstance(numbers, np.ndarray):
        return kernels.gather(numbers, slots)
    return [numbers[slot] if slot >= 0 else 0.0 for slot in slots.tolist()]
