"""The walks over a block of points, with NumPy: each slot holds an array with one number per point.

The rules of the table are called on arrays as they are. What does not depend on the points stays one number, and is computed
by the compiled row as at one point. `transforms` cuts the points into blocks.
"""

from collections.abc import Mapping

import numpy as np

from app.engine import kernels
from app.engine.binding import Column
from app.engine.elimination import Elimination
from app.engine.interruption import Checkpoint, checked, never
from app.engine.primitives import PRIMITIVES, zero
from app.engine.tape import Bools, Floats, Ints, Tape
from app.engine.walk import SlotNumbers, pick

_Passed = tuple[Column, Bools | None] | None
"""Numbers on their way, and at which points there are any; None if there are none at all."""


class _Flow:
    """Tangents or adjoints on their way through a tape: for each slot a number or an array, or None where nothing arrived.

    In a careful walk, `live` says for each slot at which points something arrived; None stands for all points.
    """

    def __init__(self, slots: int, seeds: Mapping[int, Column], careful: bool) -> None:
        self.numbers: list[Column | None] = [None] * slots
        self.live: list[Bools | None] = [None] * slots
        for slot, seed in seeds.items():
            if not _is_zero(seed):
                self.add(slot, seed, seed != 0.0 if careful and isinstance(seed, np.ndarray) else None)

    def add(self, slot: int, product: Column, live: Bools | None) -> None:
        """Let a product arrive at a slot, at all points or at those that are `live`."""
        if live is not None:
            product = np.where(live, product, 0.0)
        before = self.numbers[slot]
        if before is None:
            self.numbers[slot], self.live[slot] = product, live
        else:
            self.numbers[slot], self.live[slot] = before + product, _either(self.live[slot], live)

    def at(self, slot: int) -> _Passed:
        """What has arrived at a slot."""
        numbers = self.numbers[slot]
        return None if numbers is None else (numbers, self.live[slot])

    def columns(self) -> list[Column]:
        """The numbers, 0 where nothing arrived."""
        return [0.0 if column is None else column for column in self.numbers]


class BatchWalk:
    """The walks over one block of points. All methods as in `walk.Walk`.

    Only slots that depend on those in `towards` get adjoints. What an operation did not select passes nothing on; where that
    may matter, because a result is NaN, the caller walks again with `careful`, which looks at every point.
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
        self.leaves = tape.leaves
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
        return self._push(tangents).columns()

    def pull(self, cotangents: Mapping[int, Column]) -> list[Column]:
        """Reverse mode."""
        return self._pull(cotangents).columns()

    def _push(self, tangents: Mapping[int, Column]) -> _Flow:
        base, t = self.tape.leaves, self._flow(tangents)
        with np.errstate(all="ignore"):
            for k, (_, slots) in enumerate(self.arguments):
                for i, slot in enumerate(slots):
                    self._pass_on(k, i, t, slot, base + k)
        return t

    def _pull(self, cotangents: Mapping[int, Column]) -> _Flow:
        base, g = self.tape.leaves, self._flow(cotangents)
        with np.errstate(all="ignore"):
            for k in range(len(self.arguments) - 1, -1, -1):
                for i, slot in enumerate(self.arguments[k][1]):
                    if self.towards[slot]:
                        self._pass_on(k, i, g, base + k, slot)
        return g

    def curve(self, cotangents: Mapping[int, Column]) -> list[Column]:
        """Reverse mode, and keep the second partials times the adjoints: None for those that do not exist."""
        base = self.tape.leaves
        self.adjoints = self._pull(cotangents)
        self.curvature: list[list[Column | None]] = []
        with np.errstate(all="ignore"):
            for k, (row, slots) in enumerate(self.arguments):
                adjoint = self.adjoints.numbers[base + k]
                given = [self.values[slot] for slot in (*slots, base + k)]
                bends = [None if adjoint is None or rule is zero else adjoint * rule(*given) for rule in row.dd]
                self.curvature.append(bends)
        return self.adjoints.columns()

    def pull_tangents(self, tangents: Mapping[int, Column]) -> list[Column]:
        """Forward over reverse; call `curve` first."""
        base, t, w = self.tape.leaves, self._push(tangents), self._flow({})
        with np.errstate(all="ignore"):
            for k in range(len(self.arguments) - 1, -1, -1):
                slots = self.arguments[k][1]
                for i, slot in enumerate(slots):
                    if not self.towards[slot]:
                        continue
                    self._pass_on(k, i, w, base + k, slot)
                    for j, other in enumerate(slots):
                        low, high = sorted((i, j))
                        second, tangent = self.curvature[k][high * (high + 1) // 2 + low], t.numbers[other]
                        if second is not None and tangent is not None:
                            w.add(slot, second * tangent, _both(self.adjoints.live[base + k], t.live[other]))
        return w.columns()

    def push_each(self, slots: Ints, outputs: Ints) -> list[SlotNumbers]:
        """Forward mode for each slot, one after the other."""
        return [pick(self.push(self._unit(slot)), outputs) for slot in slots.tolist()]

    def pull_each(self, outputs: Ints, slots: Ints) -> list[SlotNumbers]:
        """Reverse mode for each output, one after the other."""
        return [pick(self.pull(self._unit(slot)), slots) for slot in outputs.tolist()]

    def pull_tangents_each(self, slots: Ints) -> list[SlotNumbers]:
        """Forward over reverse for each slot, one after the other; call `curve` first."""
        return [pick(self.pull_tangents(self._unit(slot)), slots) for slot in slots.tolist()]

    def eliminate(self, plan: Elimination, cotangents: Mapping[int, Column]) -> tuple[list[Column], list[Column]]:
        """Edge pushing."""
        adjoints, weight = self.curve(cotangents), _Flow(plan.weights, {0: 1.0}, self.careful)
        for c, (k, place) in enumerate(zip(plan.bend_at.tolist(), plan.bend_place.tolist(), strict=True), 1):
            second = self.curvature[k][place]
            if second is not None:
                weight.add(c, second, self.adjoints.live[self.leaves + k])
        with np.errstate(all="ignore"):
            for to, of, *factors in checked(plan.steps.tolist(), self.checkpoint):
                passed = weight.at(of)
                for factor in factors:
                    passed = self._multiplied(passed, factor)
                if passed is not None:
                    weight.add(to, *passed)
        columns = weight.columns()
        return adjoints, [columns[entry] for entry in plan.entries.tolist()]

    def _multiplied(self, passed: _Passed, factor: int) -> _Passed:
        """What is passed on by a factor of a step, as in `edges`."""
        k, i = divmod(factor, 3)
        if k < len(self.arguments):
            return self._times(passed, k, i)
        return passed if passed is None or i == 0 else (2.0 * passed[0], passed[1])

    def partial(self, k: int, i: int) -> Column:
        """Return the partial of instruction k by its argument i."""
        if self.partials is not None and (k, i) in self.partials:
            return self.partials[k, i]
        row, slots = self.arguments[k]
        partial: Column = row.d[i](*[self._values[slot] for slot in slots], self._values[self.leaves + k])
        if self.partials is not None:
            self.partials[k, i] = partial
        return partial

    def _pass_on(self, k: int, i: int, flow: _Flow, source: int, target: int) -> None:
        """Pass what has arrived at slot `source` on to slot `target`, times the partial of instruction k by its argument i."""
        passed = self._times(flow.at(source), k, i)
        if passed is not None:
            flow.add(target, *passed)

    def _times(self, passed: _Passed, k: int, i: int) -> _Passed:
        """What is passed on by the partial of instruction k by its argument i."""
        row = self.arguments[k][0]
        if passed is None or row.d[i] is zero:
            return None
        partial = self.partial(k, i)
        if row.selects and _is_zero(partial):
            return None
        numbers, live = passed
        product = numbers if isinstance(partial, float) and partial == 1.0 else numbers * partial
        if self.careful and row.selects and isinstance(partial, np.ndarray):
            live = _both(live, partial != 0.0)
        return product, live

    def _flow(self, seeds: Mapping[int, Column]) -> _Flow:
        return _Flow(self.tape.slots, seeds, self.careful)

    def _unit(self, slot: int) -> dict[int, Column]:
        """The seed of one of many walks."""
        self.checkpoint()
        return {slot: 1.0} if slot >= 0 else {}


def _is_zero(x: Column) -> bool:
    """Return whether x is the number 0 for all points; no array is looked into."""
    return isinstance(x, float) and x == 0.0


def _both(a: Bools | None, b: Bools | None) -> Bools | None:
    """Return where both are true; None is true everywhere."""
    if a is None:
        return b
    return a if b is None else a & b


def _either(a: Bools | None, b: Bools | None) -> Bools | None:
    """Return where one of the two is true; None is true everywhere."""
    return None if a is None or b is None else a | b
