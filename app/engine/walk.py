"""Walks over a tape: their interface, and the implementation for one point. The one for many points is in `batch`."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from app.engine import edges, kernels, lanes
from app.engine.binding import Column
from app.engine.elimination import Elimination
from app.engine.interruption import Checkpoint, never
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

    def curve(self, cotangents: Mapping[int, Column]) -> SlotNumbers:
        """Reverse mode, as `pull`, and keep the second partials for `pull_tangents` and `pull_tangents_each`."""

    def pull_tangents(self, tangents: Mapping[int, Column]) -> SlotNumbers:
        """Forward over reverse: return the derivative of every slot's adjoint, given the tangents of some slots."""

    def pull_tangents_each(self, slots: Ints) -> list[SlotNumbers]:
        """Forward over reverse from each of `slots` alone: return the derivatives of the adjoints of `slots`."""

    def eliminate(self, plan: Elimination, cotangents: Mapping[int, Column]) -> tuple[SlotNumbers, SlotNumbers]:
        """Edge pushing: return the adjoint of every slot, as `pull`, and the entries of the plan."""


class Passed(NamedTuple):
    """Tangents or adjoints, one per slot, and which slots have one: where nothing was passed on, the number is 0."""

    numbers: Floats
    live: Bools


class PointWalk:
    """The walks at one point: compiled loops over arrays with one number per slot. All methods as in `Walk`.

    A fast loop whose numbers are not all finite is followed by a careful one, as `kernels` says.
    """

    def __init__(self, tape: Tape, numbers: Floats, checkpoint: Checkpoint = never) -> None:
        self.tape = tape
        self.checkpoint = checkpoint
        self._values = np.empty(tape.slots)
        self._values[: tape.leaves] = numbers
        self._known = False
        self.partials: Floats | None = None
        self.factors = np.empty((0, 3))
        self.finite = False

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
            self.factors = np.empty((len(self.tape.code) + 1, 3))  # the last row holds the factors 1 and 2 of `edges`
            self.factors[-1] = 1.0, 2.0, 0.0
            self.partials = self.factors[:-1]
            self.finite = kernels.linearize(self.tape.code, self._values, self.partials)
            self._known = True
        return self.partials

    def partial(self, k: int, i: int) -> float:
        """Return the partial of instruction k by its argument i."""
        return float(self.linearize()[k, i])

    def push(self, tangents: Mapping[int, Column]) -> Floats:
        """Forward mode."""
        p, t = self.linearize(), self._seeded(tangents)
        if self.finite and kernels.push(self.tape.code, p, t):
            return t
        return self.push_carefully(tangents).numbers

    def push_carefully(self, tangents: Mapping[int, Column]) -> Passed:
        """Forward mode, for any numbers. A tangent of 0 is no tangent."""
        t = self._seeded(tangents)
        passed = Passed(t, t != 0.0)
        kernels.push_carefully(self.tape.code, self.linearize(), *passed)
        return passed

    def pull(self, cotangents: Mapping[int, Column]) -> Floats:
        """Reverse mode."""
        p, g = self.linearize(), self._seeded(cotangents)
        if self.finite and kernels.pull(self.tape.code, p, g):
            return g
        return self.pull_carefully(cotangents).numbers

    def pull_one(self, output: int, cotangent: float, slots: Ints) -> Floats:
        """Reverse mode from one slot alone: return its value, and the adjoints of `slots`."""
        entries, finite = kernels.pull_one(self.tape.code, self._values, self.linearize(), output, cotangent, slots)
        if not (self.finite and finite):
            entries[1:] = pick(self.pull_carefully({output: cotangent}).numbers, slots)
        return entries

    def pull_carefully(self, cotangents: Mapping[int, Column]) -> Passed:
        """Reverse mode, for any numbers. A cotangent of 0 is no cotangent."""
        g = self._seeded(cotangents)
        passed = Passed(g, g != 0.0)
        kernels.pull_carefully(self.tape.code, self.linearize(), *passed)
        return passed

    def curve(self, cotangents: Mapping[int, Column]) -> Floats:
        """Reverse mode, and keep the second partials times the adjoints."""
        adjoints = self.pull(cotangents)
        self.cotangents = cotangents
        self.curvature = np.empty((len(self.tape.code), 6))
        finite = kernels.curve(self.tape.code, self.values, adjoints, self.curvature)
        self.all_finite = self.finite and finite
        return adjoints

    def pull_tangents(self, tangents: Mapping[int, Column]) -> Floats:
        """Forward over reverse; call `curve` first."""
        if self.all_finite:
            t, w = self._seeded(tangents), self._seeded({})
            if kernels.push(self.tape.code, self.linearize(), t) and kernels.pull_tangents(
                self.tape.code, self.linearize(), self.curvature, t, w
            ):
                return w
        return self.pull_tangents_carefully(tangents).numbers

    def pull_tangents_carefully(self, tangents: Mapping[int, Column]) -> Passed:
        """Forward over reverse, for any numbers; call `curve` first."""
        g, t = self.pull_carefully(self.cotangents), self.push_carefully(tangents)
        passed = Passed(self._seeded({}), np.zeros(self.tape.slots, np.bool_))
        kernels.pull_tangents_carefully(self.tape.code, self.linearize(), self.curvature, g.live, *t, *passed)
        return passed

    def push_each(self, slots: Ints, outputs: Ints) -> list[SlotNumbers]:
        """Forward mode for each slot, in lanes."""
        rows, p = np.empty((len(slots), len(outputs))), self.linearize()
        if self.finite and lanes.push_each(self.tape.code, p, slots, outputs, *self._lanes(), rows):
            return [rows.ravel()]
        return [pick(self.push_carefully(seed).numbers, outputs) for seed in self._units(slots)]

    def pull_each(self, outputs: Ints, slots: Ints) -> list[SlotNumbers]:
        """Reverse mode for each output, in lanes."""
        rows, p = np.empty((len(outputs), len(slots))), self.linearize()
        if self.finite and lanes.pull_each(self.tape.code, p, outputs, slots, *self._lanes(), rows):
            return [rows.ravel()]
        return [pick(self.pull_carefully(seed).numbers, slots) for seed in self._units(outputs)]

    def pull_tangents_each(self, slots: Ints) -> list[SlotNumbers]:
        """Forward over reverse for each slot, in lanes; call `curve` first."""
        rows, p = np.empty((len(slots), len(slots))), self.linearize()
        room = (*self._lanes(), *self._lanes(), np.empty(len(self.tape.code), np.bool_))
        fine = self.all_finite
        for first in range(0, len(slots) if fine else 0, lanes.WIDTH):
            if first:
                self.checkpoint()
            part = slice(first, first + lanes.WIDTH)
            fine &= lanes.pull_tangents_each(self.tape.code, p, self.curvature, slots[part], slots, *room, rows[part])
        if fine:
            return [rows.ravel()]
        return [pick(self.pull_tangents_carefully(seed).numbers, slots) for seed in self._units(slots)]

    def eliminate(self, plan: Elimination, cotangents: Mapping[int, Column]) -> tuple[Floats, Floats]:
        """Edge pushing."""
        code, p, g = self.tape.code, self.linearize(), self._seeded(cotangents)
        self.checkpoint()
        if self.finite and kernels.pull(code, p, g):
            weight = self._bent(plan, g)
            if edges.accumulate(plan.steps, self.factors.ravel(), weight):
                return g, weight[plan.entries]
        self.checkpoint()
        g, g_live = self.pull_carefully(cotangents)
        weight, live = self._bent(plan, g), np.zeros(plan.weights, np.bool_)
        live[0] = True
        live[1 : 1 + len(plan.bend_at)] = g_live[self.tape.leaves + plan.bend_at]
        edges.accumulate_carefully(code, plan.steps, self.factors.ravel(), weight, live)
        return g, weight[plan.entries]

    def _bent(self, plan: Elimination, g: Floats) -> Floats:
        """The weights before the first step."""
        weight = np.zeros(plan.weights)
        weight[0] = 1.0
        if len(plan.bend_at):
            edges.bend(self.tape.code, self.values, g, plan.bend_at, plan.bend_place, weight)
        return weight

    def _units(self, slots: Ints) -> Iterator[dict[int, Column]]:
        """The seeds of as many careful walks."""
        for slot in slots.tolist():
            self.checkpoint()
            yield {slot: 1.0} if slot >= 0 else {}

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
