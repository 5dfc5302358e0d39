"""A layered layout of a directed graph without cycles, from left to right (Sugiyama, Tagawa and Toda 1981).

Edges that skip layers pass through points of their own in each of them; all edges from one node share these points, so that
they look like a bus. Everything follows from the order of nodes and edges, so the same graph has the same layout everywhere.
"""

from bisect import bisect_right, insort
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from app.engine.interruption import Checkpoint, never

Edge = tuple[int, int]
Stop = tuple[float, float, float]

GAP = 22.0
"""The vertical distance between two nodes of a layer."""
PASS_GAP = 12.0
"""The same where one of the two is a point that an edge passes."""
COLUMN_GAP = 44.0
"""The horizontal distance between layers."""
SWEEPS = 16
"""How often the layers are put in order, and how often they are moved up and down."""
STRAIGHTNESS = 200.0
"""How much more than a node a point of an edge insists on its place, so that long edges are straight."""
LIGHTNESS = 0.1
"""How much less a leaf does, so that it makes way for what is computed."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where everything is.

    Attributes:
        width: of the whole.
        height: of the whole.
        left: for each node its left edge.
        middle: for each node the height of its centre.
        stops: for each edge the layers that it passes, as (left, right, height).
    """

    width: float
    height: float
    left: list[float]
    middle: list[float]
    stops: list[list[Stop]]


@dataclass(slots=True)
class _Layers:
    """The vertices of each layer from above. Those beyond the nodes are points that edges pass, by (node, layer)."""

    columns: list[list[int]]
    layer: list[int]
    points: dict[tuple[int, int], int]
    before: list[list[int]]
    after: list[list[int]]


def layout(sizes: Sequence[tuple[float, float]], edges: Sequence[Edge], *, checkpoint: Checkpoint = never) -> Layout:
    """Place nodes of these (width, height). Edges lead from a node to one that comes later; there may be several between two.

    `checkpoint` is called before each sweep.
    """
    layers = _layers(len(sizes), edges)
    _order(layers, checkpoint)
    heights = [height for _, height in sizes] + [0.0] * len(layers.points)
    middle = _heights(layers, heights, len(sizes), checkpoint)
    widths = [max((sizes[v][0] for v in column if v < len(sizes)), default=0.0) for column in layers.columns]
    starts = list(accumulate((width + COLUMN_GAP for width in widths), initial=0.0))
    ends = [start + width for start, width in zip(starts, widths, strict=False)]
    # Nodes are flush right, so that edges leave a layer from one line.
    left = [ends[layers.layer[v]] - sizes[v][0] for v in range(len(sizes))]
    passed = [(a, range(layers.layer[a] + 1, layers.layer[b])) for a, b in edges]
    stops = [[(starts[k], ends[k], middle[layers.points[a, k]]) for k in numbers] for a, numbers in passed]
    height = max(map(sum, zip(middle, (h / 2 for h in heights), strict=True)), default=0.0)
    return Layout(max(ends, default=0.0), height, left, middle[: len(sizes)], stops)


def _layers(count: int, edges: Sequence[Edge]) -> _Layers:
    """Each node one layer behind its last argument or, if at most one argument is computed, just before its first user."""
    layer = [0] * count
    into: list[list[int]] = [[] for _ in range(count)]
    out: list[list[int]] = [[] for _ in range(count)]
    for a, b in sorted(edges, key=lambda edge: edge[1]):
        layer[b] = max(layer[b], layer[a] + 1)
        into[b].append(a)
        out[a].append(b)
    for v in reversed(range(count)):
        if out[v] and len({a for a in into[v] if into[a]}) <= 1:
            layer[v] = min(layer[b] for b in out[v]) - 1
    before, after = [list[int]() for _ in range(count)], [list[int]() for _ in range(count)]
    points: dict[tuple[int, int], int] = {}
    for a, b in dict.fromkeys(edges):
        last = a
        for k in range(layer[a] + 1, layer[b] + 1):
            at = b if k == layer[b] else points.setdefault((a, k), len(before))
            if at == len(before):
                before.append([])
                after.append([])
                layer.append(k)
            if at not in after[last]:
                after[last].append(at)
                before[at].append(last)
            last = at
    columns: list[list[int]] = [[] for _ in range(max(layer, default=-1) + 1)]
    for v in _depth_first(count, into, points):
        columns[layer[v]].append(v)
    return _Layers(columns, layer, points, before, after)


def _depth_first(count: int, into: list[list[int]], points: dict[tuple[int, int], int]) -> list[int]:
    """All vertices, the arguments of a node next to each other: in this order a tree has no crossings."""
    found: dict[int, None] = {}
    below: dict[int, list[int]] = {}
    for (node, _), point in points.items():
        below.setdefault(node, []).append(point)
    for root in reversed(range(count)):
        stack = [root]
        while stack:
            v = stack.pop()
            if v not in found:
                found[v] = None
                found |= dict.fromkeys(below.get(v, ()))
                stack.extend(reversed(into[v]))
    return list(found)


def _order(layers: _Layers, checkpoint: Checkpoint) -> None:
    """Order each layer by the mean places of its neighbours, to and fro, and keep the order with the fewest crossings."""
    best, kept = _crossings(layers), [column[:] for column in layers.columns]
    for sweep in range(SWEEPS):
        checkpoint()
        if best == 0:
            break
        forward = sweep % 2 == 0
        neighbours = layers.before if forward else layers.after
        places: dict[int, float] = {}
        for column in layers.columns if forward else reversed(layers.columns):
            means = {
                v: sum(places[w] for w in neighbours[v]) / len(neighbours[v]) if neighbours[v] else float(k)
                for k, v in enumerate(column)
            }
            column.sort(key=means.__getitem__)
            places.update((v, float(k)) for k, v in enumerate(column))
        found = _crossings(layers)
        if found < best:
            best, kept = found, [column[:] for column in layers.columns]
    layers.columns = kept


def _crossings(layers: _Layers) -> int:
    """How many pairs of edges between neighbouring layers cross."""
    total = 0
    for first, second in pairwise(layers.columns):
        place = {v: k for k, v in enumerate(second)}
        seen: list[int] = []
        for v in first:
            ends = sorted(place[w] for w in layers.after[v])
            total += sum(len(seen) - bisect_right(seen, end) for end in ends)
            for end in ends:
                insort(seen, end)
    return total


def _heights(layers: _Layers, heights: Sequence[float], count: int, checkpoint: Checkpoint) -> list[float]:
    """The height of each vertex: as close to its neighbours' mean as the order and the distances allow."""
    middle = [0.0] * len(heights)
    weights = [STRAIGHTNESS if v >= count else 1.0 if layers.before[v] else LIGHTNESS for v in range(len(heights))]
    gaps = [
        [(heights[a] + heights[b]) / 2 + (GAP if a < count and b < count else PASS_GAP) for a, b in pairwise(column)]
        for column in layers.columns
    ]
    both = [[*a, *b] for a, b in zip(layers.before, layers.after, strict=True)]
    for sweep in range(SWEEPS):
        checkpoint()
        neighbours = both if sweep >= SWEEPS - 4 else layers.before if sweep % 2 == 0 else layers.after
        for k in range(len(gaps)) if sweep % 2 == 0 else reversed(range(len(gaps))):
            column = layers.columns[k]
            wanted = []
            for v in column:
                pulls = [(min(weights[w], weights[v]), middle[w]) for w in neighbours[v]]
                total = sum(weight for weight, _ in pulls)
                wanted.append(sum(weight * y for weight, y in pulls) / total if pulls else middle[v])
            for v, y in zip(column, _spread(wanted, [weights[v] for v in column], gaps[k]), strict=True):
                middle[v] = y
    top = min((y - height / 2 for y, height in zip(middle, heights, strict=True)), default=0.0)
    return [y - top for y in middle]


def _spread(wanted: Sequence[float], weights: Sequence[float], gaps: Sequence[float]) -> list[float]:
    """The closest numbers to the wanted ones, by weighted squares, with at least these gaps (pool adjacent violators)."""
    offsets = [0.0]
    for gap in gaps:
        offsets.append(offsets[-1] + gap)
    blocks: list[tuple[float, float, int]] = []  # mean, weight and length
    for want, weight, offset in zip(wanted, weights, offsets, strict=False):
        block = (want - offset, weight, 1)
        while blocks and blocks[-1][0] > block[0]:
            mean, heavy, length = blocks.pop()
            both = heavy + block[1]
            block = ((mean * heavy + block[0] * block[1]) / both, both, length + block[2])
        blocks.append(block)
    flat = [mean for mean, _, length in blocks for _ in range(length)]
    return [y + offset for y, offset in zip(flat, offsets, strict=False)]
