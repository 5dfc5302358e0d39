"""Compiled loops for sparse derivatives: edge pushing, on structure first and then on numbers.

Edge pushing (R. M. Gower and M. P. Mello, Optimization Methods and Software 27 (2012) 251-277) walks back over a tape and
keeps a weighted graph between slots: an edge {a, b} with weight w stands for the term w * da * db of the second derivative.
Where the walk comes to an instruction, the edges at its slot are pushed on to its arguments, each times the partial, and the
instruction's own second partials times its adjoint become new edges. Edges between leaves remain, and are the entries of the
Hessian.

An edge to an output, which is never pushed, makes the same walk give the entries of a Jacobian.

What is pushed where depends on the structure alone. So `push_edges` runs once per graph and writes the steps down, and
`accumulate` runs once per point. A step (to, of, f, h) is weight[to] += weight[of] * factor[f] * factor[h]. Factor 3k + i is
the partial of instruction k by its argument i; after these come 1 and 2. Weight 0 is 1; after it come the second partials
times adjoints, one for each of the bends, and then the edges.

The ends of edges are numbered: first the outputs of a Jacobian and the operations that are differentiated by, then the slots.
An edge is kept at its higher end, which the walk meets first.
"""

import numpy as np
import numpy.typing as npt

from app.engine.jit import inline_without_refcounts, jit, jit_without_refcounts
from app.engine.kernels import BENDS, ZERO_STOPS, Code, Flags, Floats, Ints, second, second_partials_of
from app.engine.primitives import PRIMITIVES, zero

Steps = npt.NDArray[np.int32]
"""Shape (n, 4)."""
Words = npt.NDArray[np.uint64]

PASSES = np.array([[k < len(row.d) and row.d[k] is not zero for k in range(3)] for row in PRIMITIVES], np.bool_)
"""Whether an operation has this partial at all, by opcode and argument."""
CURVED = BENDS.sum(axis=1)
"""How many second partials an operation has, by opcode."""

MOST_STEPS_PER_EDGE = 4
"""An edge is pushed to three arguments, and to the place of an operation that is differentiated by."""
MOST_STEPS_BESIDES = 32
"""An edge from a slot to itself is pushed to all pairs of these four, and there are up to nine second partials."""


@jit_without_refcounts
def find_active(code: Code, active: Flags, needed: Flags) -> None:
    """Find the slots that depend on those differentiated by and have an effect on the outputs, by partials not 0 everywhere.

    At first, `active` holds the slots that are differentiated by, and `needed` the outputs. Afterwards `active` holds the
    slots found.
    """
    base = len(active) - len(code)
    for k in range(len(code)):
        for i in range(3):
            if PASSES[code[k, 0], i] and active[code[k, 1 + i]]:
                active[base + k] = True
    for k in range(len(code) - 1, -1, -1):
        if needed[base + k]:
            for i in range(3):
                if PASSES[code[k, 0], i]:
                    needed[code[k, 1 + i]] = True
    for slot in range(len(active)):
        active[slot] &= needed[slot]


@jit
def find_bends(code: Code, active: Flags) -> tuple[Ints, Ints]:
    """Return the second partials by active slots: for each its instruction and its place in (aa, ab, bb, ac, bc, cc)."""
    base = len(active) - len(code)
    bends = 0  # at most
    for k in range(len(code)):
        bends += CURVED[code[k, 0]] if active[base + k] else 0
    at, place = np.empty(bends, np.int32), np.empty(bends, np.int32)
    count = 0
    for k in range(len(code)):
        if not active[base + k] or not CURVED[code[k, 0]]:
            continue
        for i in range(3):
            for j in range(i + 1):
                if BENDS[code[k, 0], second(i, j)] and active[code[k, 1 + i]] and active[code[k, 1 + j]]:
                    at[count], place[count] = k, second(i, j)
                    count += 1
    return at[:count], place[:count]


@inline_without_refcounts
def _step(steps: Steps, following: Ints, heads: Steps, n: int, a: int, b: int, of: int, f: int, h: int) -> int:
    """Write down a step to the edge {a, b}, as the first of those at its higher end; return the number of steps."""
    high = max(a, b)
    steps[n, 0], steps[n, 1], steps[n, 2], steps[n, 3] = min(a, b), of, f, h
    following[n] = heads[high, 0]
    heads[high, 0] = n
    heads[high, 1] += 1
    return n + 1


@jit_without_refcounts
def push_edges(
    code: Code, bend_at: Ints, bend_place: Ints, active: Flags, alias: Ints, roots: Ints, heads: Steps, mark: Ints,
    steps: Steps, following: Ints, low: Ints, arguments: Steps, state: npt.NDArray[np.int64], piece: int,
) -> None:  # fmt: skip
    """Write down the steps of edge pushing, about `piece` of them, or until there is no room; to be called again.

    `state` is where the walk has come to: the end after the next one, the numbers of steps and of edges, the number of bends
    that are left, and the number of edges that are pushed on; the others are entries. `alias[k]` is the end that stands for
    instruction k if it is differentiated by, else -1; it may be empty. `roots` are the slots of a Jacobian's outputs, of which
    number o is end o. `arguments`, of shape (4, 2), is work space.

    For each end, `heads` holds the last step to an edge there and the number of these steps, from which `following` leads to
    the others. Once the walk has come to an end, these become the number of the first edge there and the number of edges, and
    `low` gets their lower ends; the steps, whose first number was a lower end, get that of the edge's weight. `mark` says which
    edge leads to each end.
    """
    offset = len(heads) - len(active)
    base = len(heads) - len(code)
    one, two = 3 * len(code), 3 * len(code) + 1
    weights = 1 + len(bend_at)
    top, n, edges, bends = state[0], state[1], state[2], state[3]
    stop = n + piece
    if top == len(heads):
        for o in range(len(roots)):
            if roots[o] >= 0 and active[roots[o]]:
                n = _step(steps, following, heads, n, offset + roots[o], o, 0, one, one)
    while top > 0 and n < stop and n + MOST_STEPS_PER_EDGE * heads[top - 1, 1] + MOST_STEPS_BESIDES <= len(steps):
        top -= 1
        first = edges
        e = heads[top, 0]
        while e >= 0:
            end = steps[e, 0]
            if mark[end] < first:
                mark[end] = edges
                low[edges] = end
                edges += 1
            steps[e, 0] = weights + mark[end]
            e = following[e]
        heads[top, 0], heads[top, 1] = first, edges - first
        k = top - base
        if k < 0:
            continue
        state[4] = edges
        if edges > first:
            count = 0
            for i in range(3):
                if PASSES[code[k, 0], i] and active[code[k, 1 + i]]:
                    arguments[count, 0], arguments[count, 1] = offset + code[k, 1 + i], 3 * k + i
                    count += 1
            if len(alias) and alias[k] >= 0:
                arguments[count, 0], arguments[count, 1] = alias[k], one
                count += 1
            for q in range(first, edges):
                for i in range(count):
                    a, f = arguments[i, 0], arguments[i, 1]
                    if low[q] != top:
                        n = _step(steps, following, heads, n, a, low[q], weights + q, f, two if a == low[q] else one)
                        continue
                    for j in range(i + 1):
                        b, h = arguments[j, 0], arguments[j, 1]
                        n = _step(steps, following, heads, n, a, b, weights + q, f, h)
                        if i != j and a == b:  # both orders of the two arguments are the same edge
                            n = _step(steps, following, heads, n, a, b, weights + q, f, h)
        while bends > 0 and bend_at[bends - 1] == k:
            bends -= 1
            i = 0 if bend_place[bends] == 0 else 1 if bend_place[bends] < 3 else 2
            j = bend_place[bends] - i * (i + 1) // 2
            a, b = offset + code[k, 1 + i], offset + code[k, 1 + j]
            n = _step(steps, following, heads, n, a, b, 1 + bends, one, two if i != j and a == b else one)
    state[0], state[1], state[2], state[3] = top, n, edges, bends


@inline_without_refcounts
def _sort(order: Ints, keys: Ints, into: Ints, bins: Ints) -> None:
    """Sort `order` by the keys of what it lists; equal keys stay in their order. `bins` has room for one more than each key."""
    bins[:] = 0
    for k in range(len(keys)):
        bins[keys[k] + 1] += 1
    for k in range(1, len(bins)):
        bins[k] += bins[k - 1]
    for k in range(len(order)):
        key = keys[order[k]]
        into[bins[key]] = order[k]
        bins[key] += 1


@jit_without_refcounts
def list_entries(
    heads: Steps, low: Ints, number: Ints, outputs: bool, rows: Ints, columns: Ints, order: Ints, spare: Ints, bins: Ints
) -> None:
    """List the edges that are left: the row and the column of each, and their order by row and then by column.

    `low` are their lower ends, by higher ends in descending order, and `heads` has these. `number` is the row or the column
    that an end stands for. Lower ends are rows if they are `outputs`, and otherwise the larger number is the row. `spare`, as
    long as the others, and `bins`, which has room for one more than each number, are work space.
    """
    n = 0
    for end in range(len(heads) - 1, -1, -1):
        for _ in range(heads[end, 1]):
            a, b = number[low[n]], number[end]
            rows[n], columns[n] = (a, b) if outputs else (max(a, b), min(a, b))
            order[n] = n
            n += 1
    _sort(order, columns, spare, bins)
    _sort(spare, rows, order, bins)


@jit_without_refcounts
def bend(code: Code, v: Floats, g: Floats, bend_at: Ints, bend_place: Ints, weight: Floats) -> None:
    """Put second partials times adjoints into `weight`, from 1 on."""
    base = len(v) - len(code)
    for c in range(len(bend_at)):
        k, place = bend_at[c], bend_place[c]
        aa, ab, bb, ac, bc, cc = second_partials_of(code[k, 0], v[code[k, 1]], v[code[k, 2]], v[code[k, 3]], v[base + k])
        found = aa if place == 0 else ab if place == 1 else bb if place == 2 else ac if place == 3 else bc if place == 4 else cc
        weight[1 + c] = g[base + k] * found


@jit_without_refcounts
def accumulate(steps: Steps, factor: Floats, weight: Floats) -> bool:
    """Take the steps. Return whether all weights are finite. If so, and if all partials are, they are right."""
    for n in range(len(steps)):
        weight[steps[n, 0]] += weight[steps[n, 1]] * factor[steps[n, 2]] * factor[steps[n, 3]]
    total = 0.0
    for k in range(len(weight)):
        total += weight[k]
    return bool(np.isfinite(total))


@inline_without_refcounts
def _stops(code: Code, factor: Floats, f: int) -> bool:
    """Return whether a factor passes nothing on."""
    return bool(factor[f] == 0.0 and ZERO_STOPS[code[f // 3, 0], f % 3])  # 1 and 2 are not 0


@jit_without_refcounts
def accumulate_carefully(code: Code, steps: Steps, factor: Floats, weight: Floats, live: Flags) -> None:
    """As `accumulate`, for any numbers. `live` says which weights there are: where nothing was passed on, they are 0."""
    for n in range(len(steps)):
        to, of, f, h = steps[n, 0], steps[n, 1], steps[n, 2], steps[n, 3]
        if live[of] and not _stops(code, factor, f) and not _stops(code, factor, h):
            weight[to] += weight[of] * factor[f] * factor[h]
            live[to] = True


@jit_without_refcounts
def spread(code: Code, active: Flags, bend_at: Ints, bend_place: Ints, ahead: Words, back: Words) -> None:
    """Spread sets of up to 64 slots, one bit for each, which are given in `ahead`.

    Afterwards `ahead` says which of them each slot depends on, and `back` which of them its second derivatives are taken by.
    """
    base = len(ahead) - len(code)
    for k in range(len(code)):
        if active[base + k]:
            for i in range(3):
                if PASSES[code[k, 0], i]:
                    ahead[base + k] |= ahead[code[k, 1 + i]]
    c = len(bend_at) - 1
    for k in range(len(code) - 1, -1, -1):
        if not active[base + k]:
            continue
        for i in range(3):
            if PASSES[code[k, 0], i]:
                back[code[k, 1 + i]] |= back[base + k]
        while c >= 0 and bend_at[c] == k:
            i = 0 if bend_place[c] == 0 else 1 if bend_place[c] < 3 else 2
            j = bend_place[c] - i * (i + 1) // 2
            back[code[k, 1 + i]] |= ahead[code[k, 1 + j]]
            back[code[k, 1 + j]] |= ahead[code[k, 1 + i]]
            c -= 1
