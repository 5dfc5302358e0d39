"""How much of a request an error repeats: exactly at each limit, and one over."""

import math
from collections.abc import Callable

import pytest

from app.engine import binding, errors, faults, gradients, graph
from app.engine.errors import EngineError, nearest, quote
from app.engine.graph import Graph, Node
from app.engine.text import parse
from app.engine.transforms import backward, evaluate
from app.engine.walk import PointWalk


def names(count: int, length: int = 3) -> list[str]:
    """Names that are no slips of each other."""
    return [chr(0x4E00 + k) * length for k in range(count)]


def error_of(act: Callable[[], object]) -> str:
    """What an error says."""
    with pytest.raises((EngineError, KeyError)) as caught:
        act()
    return str(caught.value)


def leaves(count: int) -> Graph:
    """The sum of as many leaves."""
    found = names(count)
    return Graph([*(Node(name, "value") for name in found), Node("f", "sum", tuple(found))], ("f",))


@pytest.mark.parametrize("over", [0, 1])
def test_names_that_are_compared(over: int) -> None:
    """The nearest name is looked for among the first 300."""
    known = [*names(errors.MAX_COMPARED_NAMES - 1 + over), "voltage"]
    assert ("voltage" in nearest("voltagee", known)) is not bool(over)


@pytest.mark.parametrize("over", [0, 1])
def test_names_that_are_long_enough_to_compare(over: int) -> None:
    name = "n" * (errors.NAME_LIMIT - 1 + over) + "a"
    assert bool(nearest(name.upper(), [name])) is not bool(over)


@pytest.mark.parametrize(("length", "cut"), [(errors.NAME_LIMIT, False), (errors.NAME_LIMIT + 1, True)])
def test_names_that_are_cut(length: int, cut: bool) -> None:
    shown = quote("n" * length)
    assert ("…" in shown) is cut and len(shown) == errors.NAME_LIMIT + 2


@pytest.mark.parametrize(
    ("count", "more"),
    [(5, ""), (6, " and 1 other leaf"), (7, " and 2 other leaves")],
)
def test_inputs_without_a_number(count: int, more: str) -> None:
    assert binding.MAX_MISSING_SHOWN == 5
    said = error_of(lambda: evaluate(leaves(count)))
    assert f"{more} have no number" in said
    assert [name in said for name in names(count)] == [True] * 5 + [False] * (count - 5)


@pytest.mark.parametrize("over", [0, 1])
def test_names_of_a_graph(over: int) -> None:
    """All are listed as long as they are few: here, leaves and their sum."""
    graph_of_names = leaves(graph.MAX_NAMES_SHOWN - 1 + over)
    inputs = dict.fromkeys(graph_of_names.leaves, 1.0)
    said = error_of(lambda: backward(graph_of_names, inputs, ["nothing"]))
    assert ("The nodes are" in said) is not bool(over)


@pytest.mark.parametrize("over", [0, 1])
def test_names_of_a_table(over: int) -> None:
    found = leaves(gradients.MAX_NAMES_SHOWN + over)
    table = backward(found, dict.fromkeys(found.leaves, 1.0), list(found.leaves)).gradients
    said = error_of(lambda: table["nothing"])
    assert ("There are" in said) is not bool(over)


@pytest.mark.parametrize("over", [0, 1])
def test_arguments_of_a_node_at_fault(over: int) -> None:
    count = faults.MAX_ARGUMENTS_SHOWN + over
    found = Graph([Node("f", "prod", (math.inf, *[0.0] * (count - 1)))], ("f",))
    bound = binding.bind(found, {}, everything=True)
    said = faults._describe(bound, PointWalk(bound.tape, bound.numbers), 0)
    assert said.count("0.0") == faults.MAX_ARGUMENTS_SHOWN - 1 and (", ..." in said) is bool(over)


@pytest.mark.parametrize(
    ("count", "shown"),
    [(1, 1), (2, 2), (graph.MAX_CYCLE_SHOWN, graph.MAX_CYCLE_SHOWN), (graph.MAX_CYCLE_SHOWN + 1, graph.CYCLE_START_SHOWN)],
)
def test_nodes_of_a_cycle(count: int, shown: int) -> None:
    """All of a short one, the beginning of a long one, and how many there are besides."""
    found = names(count)
    nodes = [Node(name, "neg", (found[(k + 1) % count],)) for k, name in enumerate(found)]
    said = error_of(lambda: Graph(nodes, (found[0],)))
    assert len({name for name in found if name in said}) == shown
    assert (f"({count - shown} more)" in said) is (shown < count)


@pytest.mark.parametrize(("length", "cut"), [(graph.CYCLE_ID_SHOWN, False), (graph.CYCLE_ID_SHOWN + 1, True)])
def test_names_within_a_cycle(length: int, cut: bool) -> None:
    said = error_of(lambda: Graph([Node("n" * length, "neg", ("n" * length,))], ("n" * length,)))
    assert ("…" in said) is cut


@pytest.mark.parametrize(("length", "valid"), [(0, False), (1, True), (graph.ID_LIMIT, True), (graph.ID_LIMIT + 1, False)])
def test_length_of_an_id(length: int, valid: bool) -> None:
    assert graph.is_id("n" * length) is valid


@pytest.mark.parametrize("over", [0, 1])
def test_products_that_are_seen_in_a_name(over: int) -> None:
    """A name of at most 12 letters is taken apart into known factors."""
    text = "ab" * (binding.MAX_PRODUCT_LENGTH // 2) + "a" * over
    said = error_of(lambda: evaluate(parse(text), {"a": 1.0, "b": 1.0}))
    assert ("is one name" in said) is not bool(over)
