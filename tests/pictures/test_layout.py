"""The layered layout of graphs."""

import time
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.pictures.layout import Edge, Layout, layout
from tests.conftest import times

Graphs = tuple[list[tuple[float, float]], list[Edge]]


@st.composite
def graphs(draw: st.DrawFn) -> Graphs:
    count = draw(st.integers(1, 25))
    sizes = [(draw(st.sampled_from([40.0, 90.0])), draw(st.sampled_from([20.0, 60.0]))) for _ in range(count)]
    ends = st.tuples(st.integers(0, count - 1), st.integers(0, count - 1)).filter(lambda ends: ends[0] != ends[1])
    edges = draw(st.lists(ends.map(lambda ends: (min(ends), max(ends))), max_size=3 * count)) if count > 1 else []
    return sizes, edges


def boxes(sizes: list[tuple[float, float]], found: Layout) -> list[tuple[float, float, float, float]]:
    """Left, right, top and bottom of each node."""
    return [
        (left, left + width, middle - height / 2, middle + height / 2)
        for (width, height), left, middle in zip(sizes, found.left, found.middle, strict=True)
    ]


@times(0.4)
@given(graphs())
def test_nodes_do_not_overlap_and_edges_lead_to_the_right(graph: Graphs) -> None:
    sizes, edges = graph
    found = layout(sizes, edges)
    placed = boxes(sizes, found)
    for one, other in combinations(placed, 2):
        assert one[1] <= other[0] or other[1] <= one[0] or one[3] < other[2] + 1e-6 or other[3] < one[2] + 1e-6
    for (a, b), stops in zip(edges, found.stops, strict=True):
        x = placed[a][1]
        for left, right, height in stops:
            assert x < left <= right
            assert not any(box[0] < right and left < box[1] and box[2] < height < box[3] for box in placed)
            x = right
        assert x < placed[b][0]
    for box in placed:
        assert -1e-6 <= box[0] < box[1] <= found.width + 1e-6 and -1e-6 <= box[2] < box[3] <= found.height + 1e-6


@times(0.4)
@given(graphs())
def test_the_same_graph_has_the_same_layout(graph: Graphs) -> None:
    assert layout(*graph) == layout(*graph)


@pytest.mark.parametrize("depth", [2, 5])
def test_a_tree_has_no_crossings(depth: int) -> None:
    """Children of a binary tree stand in the order of their parents."""
    count = 2**depth - 1
    edges = [(count - 1 - child, count - 1 - (child - 1) // 2) for child in range(1, count)]
    edges.sort(key=lambda edge: edge[1])
    found = layout([(10.0, 10.0)] * count, edges)
    pairs = [(found.middle[a], found.middle[b], found.left[a]) for a, b in edges]
    for one, other in combinations(pairs, 2):
        assert one[2] != other[2] or (one[0] - other[0]) * (one[1] - other[1]) >= 0.0


def test_no_nodes() -> None:
    assert layout([], []) == Layout(0.0, 0.0, [], [], [])


def test_a_chain_that_graphviz_does_not_finish_takes_no_time() -> None:
    """y = y*x + sin(a), 40 times: Graphviz 2.43 and 16.1 were still at work after 20 s."""
    edges: list[Edge] = []
    y, count = 0, 2
    for _ in range(40):
        edges += [(y, count), (0, count), (1, count + 1), (count, count + 2), (count + 1, count + 2)]
        y, count = count + 2, count + 3
    began = time.process_time()
    layout([(100.0, 50.0)] * count, edges)
    assert time.process_time() - began < 3.0
