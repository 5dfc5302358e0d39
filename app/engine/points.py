"""Walks at one point or at many: many points are cut into blocks, and their numbers kept in columns or summed.

Several threads may share the blocks. The blocks are the same then, and so are the results, to the last bit: columns do not
meet, and sums are exact.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal, Protocol

import numpy as np

from app.engine.batch import BatchWalk
from app.engine.binding import Bound, Column
from app.engine.exact_sum import ExactSums
from app.engine.interruption import Checkpoint, never
from app.engine.tape import Bools, Floats, Ints, dependents
from app.engine.walk import PointWalk, SlotNumbers, Walk

BLOCK_POINTS = 16_384
"""Points in a block of a batch walk: a column of them fits into the processor's cache."""
BLOCK_NUMBERS = 1 << 22
"""The most numbers that a batch walk holds: slots, or entries that are added up, times points of a block."""
MIN_BLOCK_POINTS = 64
"""With fewer points per block, NumPy costs more than one compiled walk per point."""
BLOCKS_PER_THREAD = 4
"""With fewer blocks than that, a thread is not worth its start."""

Reduce = Literal["none", "sum", "mean"]
"""What becomes of the numbers at many points: they stay apart, or are added up, or averaged."""
Seeds = Mapping[int, Column]
"""Tangents or cotangents by slot."""
Walks = Callable[[Walk, Seeds], list[SlotNumbers]]
"""What a transform computes with a walk: sequences of numbers, the entries, which are joined."""


def at_points(
    bound: Bound, seeds: Seeds, towards: Sequence[int] | Ints, walks: Walks, checkpoint: Checkpoint = never, threads: int = 1
) -> Floats:
    """Return what `walks` computes: an array of shape (n,) at one point, and (n, points) at many.

    `towards` are the slots whose adjoints are used. Many points are cut into blocks for a `BatchWalk`, which up to `threads`
    threads share; if a block would hold only few points, each point is walked alone.
    """
    if bound.points is None:
        return _joined(walks(PointWalk(bound.tape, bound.numbers, checkpoint), seeds))
    columns = _Columns(bound.points)
    _walk_blocks(bound, seeds, towards, walks, columns, bound.tape.slots, _Way(checkpoint, threads))
    return columns.table


def summed_over_points(
    bound: Bound,
    seeds: Seeds,
    towards: Sequence[int] | Ints,
    walks: Walks,
    kept: Bools,
    mean: bool,
    checkpoint: Checkpoint = never,
    threads: int = 1,
) -> list[Column]:
    """Return what `walks` computes at many points: each entry as its exact sum or mean, or, where `kept`, as a column.

    The mean of a kept entry is the entry divided by the number of points, as it is a term of the mean. `kept` has shape (n,).
    """
    assert bound.points is not None
    sums = _Sums(bound.points, kept)
    _walk_blocks(bound, seeds, towards, walks, sums, max(bound.tape.slots, len(kept)), _Way(checkpoint, threads))
    return sums.entries(mean)


@dataclass(frozen=True, slots=True)
class _Way:
    """How blocks are walked: what is called before each, and how many threads may share them."""

    checkpoint: Checkpoint
    threads: int


class _Taker(Protocol):
    """What takes the entries of one block after the other."""

    def room(self, entries: int, rows: slice) -> Floats:
        """Return an array of shape (entries, points of the block), to be written to, more than once if need be."""

    def take(self, rows: slice) -> None:
        """Take what has been written for these points."""

    def another(self) -> "_Taker":
        """Return what takes some of the blocks in another thread, once the first block has been taken."""

    def join(self, other: Any) -> None:
        """Take what another one has taken."""


class _Columns:
    """Keeps all entries: one number per point."""

    def __init__(self, points: int) -> None:
        self.table = np.empty((0, points))

    def room(self, entries: int, rows: slice) -> Floats:
        if not len(self.table):
            self.table = np.empty((entries, self.table.shape[1]))
        return self.table[:, rows]

    def take(self, rows: slice) -> None:
        pass

    def another(self) -> "_Columns":
        return self

    def join(self, other: "_Columns") -> None:
        pass


class _Sums:
    """Adds up the entries that are not `kept`, of which it has one block at a time."""

    def __init__(self, points: int, kept: Bools, columns: Floats | None = None) -> None:
        self._is_kept = kept
        self._kept = np.flatnonzero(kept)
        self._added = np.flatnonzero(~kept)
        self._columns = np.empty((len(self._kept), points)) if columns is None else columns
        self._sums = ExactSums(len(self._added))
        self._block = np.empty((len(kept), 0))

    def room(self, entries: int, rows: slice) -> Floats:
        if self._block.shape[1] != rows.stop - rows.start:
            self._block = np.empty((entries, rows.stop - rows.start))
        return self._block

    def take(self, rows: slice) -> None:
        self._columns[:, rows] = self._block[self._kept]
        self._sums.add(self._block[self._added] if len(self._kept) else self._block)

    def another(self) -> "_Sums":
        return _Sums(0, self._is_kept, self._columns)

    def join(self, other: "_Sums") -> None:
        self._sums.join(other._sums)

    def entries(self, mean: bool) -> list[Column]:
        """All entries, in their order."""
        found: list[Column] = [0.0] * (len(self._kept) + len(self._added))
        for k, total in zip(self._added.tolist(), (self._sums.means() if mean else self._sums.sums()).tolist(), strict=True):
            found[k] = total
        columns = self._columns / self._columns.shape[1] if mean else self._columns
        for k, column in zip(self._kept.tolist(), columns, strict=True):
            found[k] = column
        return found


def _walk_blocks(
    bound: Bound, seeds: Seeds, towards: Sequence[int] | Ints, walks: Walks, taker: _Taker, width: int, way: _Way
) -> None:
    """Walk over many points, and give the entries to the taker. A block holds `width` numbers per point."""
    tape, points = bound.tape, bound.points or 0
    if not points:
        zeros = {slot: 0.0 for slot in seeds}
        taker.room(len(_joined(walks(PointWalk(tape, bound.numbers), zeros))), slice(0, 0))
        return
    block = min(BLOCK_POINTS, BLOCK_NUMBERS // max(width, 1), points)
    if block < MIN_BLOCK_POINTS:
        _one_by_one(bound, seeds, walks, taker, way.checkpoint)
        return
    needed = dependents(tape, towards)

    def walk(rows: slice, taker: _Taker) -> None:
        _walk_block(bound, seeds, needed, walks, rows, taker, way.checkpoint)

    blocks = [slice(start, min(start + block, points)) for start in range(0, points, block)]
    most = min(len(blocks) // BLOCKS_PER_THREAD, BLOCK_NUMBERS // (width * block))  # so that they hold no more than one may
    walk(blocks[0], taker)
    _share(iter(blocks[1:]), walk, taker, min(way.threads, most) - 1)


def _share(blocks: Iterator[slice], walk: Callable[[slice, _Taker], None], taker: _Taker, helpers: int) -> None:
    """Walk over blocks, each of which is taken by this thread or by one of so many others."""

    def work(taker: _Taker) -> _Taker:
        try:
            for rows in blocks:
                walk(rows, taker)
        except BaseException:
            for _ in blocks:  # are left over, so that all threads end
                pass
            raise
        return taker

    if helpers < 1:
        work(taker)
        return
    with ThreadPoolExecutor(helpers, "points") as pool:
        others = [pool.submit(work, taker.another()) for _ in range(helpers)]
        work(taker)
    for other in others:
        taker.join(other.result())


def _joined(parts: list[Any]) -> Floats:
    return np.concatenate(parts)


def _part(columns: Seeds, rows: slice | int) -> dict[int, Any]:
    """The seeds at some of the points."""
    return {slot: column[rows] if isinstance(column, np.ndarray) else column for slot, column in columns.items()}


def _one_by_one(bound: Bound, seeds: Seeds, walks: Walks, taker: _Taker, checkpoint: Checkpoint) -> None:
    for k in range(bound.points or 0):
        checkpoint()
        entries = _joined(walks(PointWalk(bound.tape, bound.at(k).numbers, checkpoint), _part(seeds, k)))
        rows = slice(k, k + 1)
        taker.room(len(entries), rows)[:, 0] = entries
        taker.take(rows)


def _walk_block(
    bound: Bound, seeds: Seeds, needed: Bools, walks: Walks, rows: slice, taker: _Taker, checkpoint: Checkpoint
) -> None:
    columns, here = _part(bound.columns, rows), _part(seeds, rows)
    for careful in (False, True):
        checkpoint()
        walk = BatchWalk(bound.tape, bound.numbers, columns, needed, careful, checkpoint)
        with np.errstate(all="ignore"):
            entries = list(chain.from_iterable(walks(walk, here)))
        if _store(entries, taker.room(len(entries), rows)):
            break
    taker.take(rows)


def _store(entries: Sequence[Column], table: Floats) -> bool:
    """Copy the entries into the rows of a table; return whether none is NaN.

    Infinities of both signs count as NaN too, since only the sum is looked at; the second walk that follows does no harm.
    """
    total = 0.0
    with np.errstate(all="ignore"):
        for entry, row in zip(entries, table, strict=True):
            np.add(entry, 0.0, out=row)  # which also turns -0.0, the gradient of nothing, into 0.0
            total += np.add.reduce(row)
    return not math.isnan(total)
