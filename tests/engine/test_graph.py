"""Graphs: what is refused and how that is said, and the order that nodes are put in."""

import math
import random
from itertools import permutations
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.engine.errors import DuplicateNode, EngineError, GraphCycle, InvalidNode, UnknownNode, UnknownPrimitive, WrongArity
from app.engine.graph import ID_LIMIT, Graph, Node
from app.engine.transforms import backward, evaluate
from tests.conftest import times
from tests.engine.conftest import graphs
from tests.rows import for_each

X = Node("x", "value", data=2.0)


def refused(kind: type[EngineError], *nodes: Node, outputs: tuple[str, ...] | None = None) -> Any:
    """The error that these nodes are refused with."""
    with pytest.raises(EngineError) as caught:
        Graph(nodes, outputs if outputs is not None else (nodes[-1].id,))
    assert type(caught.value) is kind, caught.value
    return caught.value


# --- order


@given(graphs(outputs=2), st.data())
def test_topological_order(graph: Graph, data: st.DataObject) -> None:
    """The order of what the outputs need does not depend on the order of the nodes."""
    shuffled = Graph(tuple(data.draw(st.permutations(graph.nodes))), graph.outputs)
    orders = []
    for one in (graph, shuffled):
        order = [one.nodes[k].id for k in one.wiring.order.tolist()]
        place = {name: k for k, name in enumerate(order)}
        assert sorted(order) == sorted(node.id for node in one.nodes)
        assert all(place[arg] < place[node.id] for node in one.nodes for arg in node.args if isinstance(arg, str))
        needed, todo = set(), list(one.outputs)
        while todo:
            name = todo.pop()
            if name not in needed:
                needed.add(name)
                todo += [arg for arg in one.nodes[one.index[name]].args if isinstance(arg, str)]
        assert set(order[: one.wiring.live]) == needed
        orders.append(order[: one.wiring.live])
    assert orders[0] == orders[1]


def test_nodes_can_be_in_any_order() -> None:
    nodes = (X, Node("a", "square", ("x",)), Node("b", "mul", ("a", "x")), Node("y", "add", ("b", 1)))
    for order in permutations(nodes):
        assert backward(Graph(order, ("y",))) == (9.0, {"x": 12.0, "a": 2.0, "b": 1.0, "y": 1.0})  # type: ignore[comparison-overlap]


def test_names_default_to_all_ids_in_the_given_order() -> None:
    nodes = (Node("y", "exp", ("x",)), X)
    assert Graph(nodes, ("y",)).names == ("y", "x")
    assert Graph(nodes, ("y",)).leaves == ("x",)
    assert Graph(nodes, ("y",), ("x",)).names == ("x",)


def test_several_outputs() -> None:
    graph = Graph((X, Node("f", "exp", ("x",)), Node("g", "neg", ("x",))), ("g", "f", "x"))
    assert graph.output == "g"
    assert list(evaluate(graph)) == ["g", "f", "x"]


def test_a_graph_never_changes() -> None:
    graph = Graph((X,), ("x",))
    for name in ("nodes", "outputs", "names", "index", "wiring", "new"):
        with pytest.raises((AttributeError, TypeError)):
            setattr(graph, name, ())
    with pytest.raises(AttributeError):
        X.data = 3.0  # type: ignore[misc]
    assert Graph([X], ["x"]).nodes == (X,)  # type: ignore[arg-type]
    assert Graph((X,), ("x",)) == graph and hash(Graph((X,), ("x",))) == hash(graph)


def test_a_list_given_as_nodes_may_change_afterwards() -> None:
    nodes = [X]
    graph = Graph(nodes, ("x",))
    nodes.append(Node("y", "exp", ("x",)))
    assert graph.nodes == (X,)


# --- cycles


@pytest.mark.parametrize(
    ("nodes", "cycle"),
    [
        ((Node("a", "neg", ("a",)),), "a -> a"),
        ((Node("a", "neg", ("b",)), Node("b", "neg", ("a",))), "a -> b -> a"),
        ((Node("a", "add", ("b", "c")), Node("b", "neg", ("c",)), Node("c", "mul", (2, "a"))), "a -> b -> c -> a"),
        (
            (Node("x", "value"), Node("a", "add", ("x", "b")), Node("b", "sub", ("a", "x")), Node("y", "exp", ("a",))),
            "a -> b -> a",
        ),
        ((X, Node("y", "exp", ("x",)), Node("dead", "add", ("y", "dead"))), "dead -> dead"),
        ((Node("e", "sum", ("x", 1, 2, "e")), X), "e -> e"),
    ],
)
def test_cycles_are_spelled_out(nodes: tuple[Node, ...], cycle: str) -> None:
    """Each node is followed by one of its arguments. Cycles in dead code are refused too."""
    output = "y" if any(node.id == "y" for node in nodes) else nodes[0].id
    error = refused(GraphCycle, *nodes, outputs=(output,))
    names = cycle.split(" -> ")
    rotations = [names[k:-1] + names[:k] + [names[k]] for k in range(len(names) - 1)]
    assert error.detail in [f"the graph has a cycle: {' -> '.join(rotation)}" for rotation in rotations]
    start = error.detail.removeprefix("the graph has a cycle: ").split(" -> ")[0]
    assert error.place == ("nodes", [node.id for node in nodes].index(start))


def test_a_long_cycle_is_abbreviated() -> None:
    nodes = [Node(f"n{k}", "neg", (f"n{(k + 1) % 1000}",)) for k in range(1000)]
    error = refused(GraphCycle, *nodes, outputs=("n0",))
    assert error.detail == "the graph has a cycle: n0 -> n1 -> n2 -> n3 -> n4 -> n5 -> ... (994 more) ... -> n0"
    twelve = [Node(f"n{k}", "neg", (f"n{(k + 1) % 12}",)) for k in range(12)]
    assert refused(GraphCycle, *twelve, outputs=("n0",)).detail.count("->") == 12


def test_a_cycle_of_long_names_is_abbreviated_too() -> None:
    long = "n" * ID_LIMIT
    assert len(refused(GraphCycle, Node(long, "neg", (long,))).detail) < 120


@pytest.mark.parametrize(("length", "shown"), [(30, "n" * 30), (31, "n" * 29 + "…")])
def test_an_id_in_a_cycle_is_cut_beyond_thirty_characters(length: int, shown: str) -> None:
    name = "n" * length
    assert refused(GraphCycle, Node(name, "neg", (name,))).detail == f"the graph has a cycle: {shown} -> {shown}"


@pytest.mark.slow
def test_a_cycle_of_three_hundred_thousand_nodes_needs_no_recursion() -> None:
    count = 300_000
    nodes = [Node(str(k), "neg", (str((k + 1) % count),)) for k in range(count)]
    assert f"({count - 6} more)" in refused(GraphCycle, *nodes, outputs=("0",)).detail


@pytest.mark.parametrize("count", [40_000, 70_000])
def test_positions_of_nodes_need_more_than_sixteen_bits(count: int) -> None:
    """The sum 2 + 1 + ... + 1 + 2, one node per plus sign."""
    nodes = [X, *(Node(f"n{k}", "add", (f"n{k - 1}" if k else "x", 1)) for k in range(count - 2))]
    nodes.append(Node("last", "add", (f"n{count - 3}", "x")))
    assert backward(Graph(tuple(nodes), ("last",)), wrt=["x"]) == (count + 2.0, {"x": 2.0})  # type: ignore[comparison-overlap]


def test_a_node_used_twice_is_not_a_cycle() -> None:
    """A ladder of 60 squares has 2**60 paths, and 60 nodes."""
    nodes = [Node("0", "value", data=0.5), *(Node(str(k), "add", (str(k - 1), str(k - 1))) for k in range(1, 60))]
    random.Random(1).shuffle(nodes)
    assert backward(Graph(tuple(nodes), ("59",)), wrt=["0"]) == (0.5 * 2.0**59, {"0": 2.0**59})  # type: ignore[comparison-overlap]


# --- what is refused


def test_duplicate_ids() -> None:
    error = refused(DuplicateNode, X, Node("y", "exp", ("x",)), Node("x", "value"), outputs=("y",))
    assert (error.detail, error.place) == ("nodes 0 and 2 share the id 'x'", ("nodes", 2, "id"))


@pytest.mark.parametrize(
    ("arg", "hint"),
    [
        ("alpa", " Did you mean 'alpha'?"),
        ("ALPHA", " Did you mean 'alpha'?"),
        ("zzzz", ""),
        ("", ""),
        ("q" * 500, ""),
        ("2", " A number stands without quotes: 2."),
        ("-0.5e3", " A number stands without quotes: -0.5e3."),
    ],
)
def test_an_unknown_argument(arg: str, hint: str) -> None:
    error = refused(UnknownNode, Node("alpha", "value"), Node("f", "sum", ("alpha", 1, arg, "alpha")))
    shown = arg if len(arg) <= 60 else arg[:59] + "…"
    assert error.detail == f"node 'f' has the argument '{shown}', which names no node.{hint}"
    assert error.place == ("nodes", 1, "args", 2)


def test_the_first_unknown_argument_is_named() -> None:
    error = refused(UnknownNode, X, Node("a", "add", (1, 2)), Node("b", "add", ("x", "p")), Node("c", "add", ("q", "x")))
    assert error.place == ("nodes", 2, "args", 1)


@pytest.mark.parametrize(
    ("outputs", "path", "hint"),
    [
        (("Y",), ("output",), "Did you mean 'y'?"),
        (("q",), ("output",), "The nodes are 'x', 'y'."),
        (("y", "q"), ("outputs", 1), "The nodes are 'x', 'y'."),
        (("",), ("output",), "The nodes are 'x', 'y'."),
    ],
)
def test_an_unknown_output(outputs: tuple[str, ...], path: tuple[str | int, ...], hint: str) -> None:
    error = refused(UnknownNode, X, Node("y", "exp", ("x",)), outputs=outputs)
    unknown = next(name for name in outputs if name != "y")
    assert (error.detail, error.place) == (f"there is no node '{unknown}'. {hint}", path)


MANY = [f"n{k}" for k in range(5_000)]
"""Ids of so many nodes, by position."""


@pytest.mark.parametrize(
    "positions",
    [
        range(5_000),
        range(4_999, -1, -2),
        [*range(7, 4_000, 3), *range(3, 4_999, 4)],
        random.Random(0).choices(range(5_000), k=3_000),
        [0] * 2_000,
    ],
    ids=["all", "backwards", "two distances", "random, some twice", "one"],
)
def test_many_outputs_are_found_by_id(positions: list[int]) -> None:
    nodes = [Node(name, "value", data=1.0) for name in MANY]
    assert Graph(nodes, tuple(MANY[k] for k in positions)).roots.tolist() == list(positions)


@pytest.mark.parametrize("place", [0, 1, 2_000, 2_499])
def test_an_unknown_output_among_many(place: int) -> None:
    outputs = MANY[::2]
    outputs[place] = "other"
    error = refused(UnknownNode, *[Node(name, "value") for name in MANY], outputs=tuple(outputs))
    assert error.place == ("outputs", place)
    assert error.detail.startswith("there is no node 'other'")


@pytest.mark.parametrize("count", [8, 9])
def test_up_to_eight_nodes_are_listed_for_an_unknown_output(count: int) -> None:
    nodes = [Node(f"n{k}", "value") for k in range(count)]
    detail = refused(UnknownNode, *nodes, outputs=("other",)).detail
    listed = f" The nodes are {', '.join(repr(node.id) for node in nodes)}."
    assert detail == "there is no node 'other'." + (listed if count == 8 else "")


@for_each(
    ("op", "hint"),
    [
        ("sinn", " Did you mean 'sin'?"),
        ("SIN", " Did you mean 'sin'?"),
        ("power", " It is called 'pow'."),
        ("multiply", " It is called 'mul'."),
        ("*", " It is called 'mul'."),
        ("-", " It is called 'sub', or 'neg' with one argument."),
        ("input", " A leaf has the op 'value'."),
        ("cot", " cot(x) is 1/tan(x)."),
        ("sin2", ""),
        ("ln", " It is called 'log'."),
        ("Value", " Did you mean 'value'?"),
        ("qqq", ""),
        ("", ""),
        ("identity", None),
        ("pow_number", None),
        ("logaddexp", None),
    ],
)
def test_an_unknown_primitive(op: str, hint: str | None) -> None:
    """A node cannot name a row that only other rows use."""
    error = refused(UnknownPrimitive, X, Node("y", op, ("x",)))
    assert error.detail.startswith(f"there is no primitive '{op}'.")
    if hint is not None:
        assert error.detail == f"there is no primitive '{op}'.{hint}"
    assert error.place == ("nodes", 1, "op")


LEAVES = "const constant data input inputs leaf literal number param parameter placeholder scalar tensor var variable"
"""What other libraries call the op of a leaf."""


@for_each("op", [*LEAVES.split(), "Const", "Placeholder"])
def test_leaf_of_another_name_is_told_its_own(op: str) -> None:
    assert refused(UnknownPrimitive, X, Node("y", op)).detail == f"there is no primitive '{op}'. A leaf has the op 'value'."


@for_each(
    ("op", "args", "message"),
    [
        ("sin", (), "node 'y': sin takes 1 argument, not 0"),
        ("sin", ("x", "x"), "node 'y': sin takes 1 argument, not 2"),
        ("mul", ("x",), "node 'y': mul takes 2 arguments, not 1"),
        ("mul", ("x", 2, 3), "node 'y': mul takes 2 arguments, not 3"),
        ("where", ("x", 2), "node 'y': where takes 3 arguments, not 2"),
        ("where", ("x", 2, 3, 4), "node 'y': where takes 3 arguments, not 4"),
        ("max", ("x",), "node 'y': max takes 2 or more arguments, not 1"),
        ("sum", (), "node 'y': sum takes 1 or more arguments, not 0"),
        ("div", ("x",), "node 'y': div takes 2 arguments, not 1"),
        ("value", ("x",), "node 'y': a leaf takes no arguments, not 1; put its number into `data`"),
        ("value", (2.0,), "node 'y': a leaf takes no arguments, not 1; put its number into `data`"),
    ],
)
def test_wrong_arity(op: str, args: tuple[str | float, ...], message: str) -> None:
    error = refused(WrongArity, X, Node("y", op, args))
    assert (error.detail, error.place) == (message, ("nodes", 1, "args"))


@for_each("name", ["", "n" * (ID_LIMIT + 1), "a\nb", "\x00", "tab\t", "\x7f", "\x85", "\x9f", "\ud800", "a\udfffb", "\udc80"])
def test_invalid_ids(name: str) -> None:
    error = refused(InvalidNode, X, Node(name, "exp", ("x",)), outputs=("x",))
    assert error.detail.startswith("an id has 1 to 128 characters and no control characters, this one is ")
    assert f"({len(name)} characters)" in error.detail
    assert error.place == ("nodes", 1, "id")
    assert error.detail.isprintable()
    error.detail.encode("utf-8")


@for_each("name", ["n" * ID_LIMIT, " ", "a b", "é", "变量", "😀", "\u200b", "\u2028", "'", '"', "\\", "%1", "0", "-1", "pi"])
def test_valid_ids(name: str) -> None:
    """Any characters except control characters, even those that no name in text can have."""
    graph = Graph((Node(name, "value"), Node("f", "square", (name,))), ("f",))
    assert backward(graph, {name: 3.0}).gradients[name] == 6.0


def test_data_on_an_operation() -> None:
    error = refused(InvalidNode, X, Node("y", "exp", ("x",), data=1.0))
    assert error.detail == "node 'y' is the operation exp: only a node with op 'value' has data"
    assert error.place == ("nodes", 1, "data")


def test_data_of_zero_on_an_operation_is_refused_too() -> None:
    assert refused(InvalidNode, X, Node("y", "exp", ("x",), data=0.0)).place[-1] == "data"


def test_a_graph_needs_a_node_and_an_output() -> None:
    with pytest.raises(InvalidNode, match="at least one node") as caught:
        Graph((), ("x",))
    assert caught.value.place == ("nodes",)
    with pytest.raises(InvalidNode, match="at least one output") as caught:
        Graph((X,), ())
    assert caught.value.place == ("outputs",)


def test_an_alias_is_the_operation_it_stands_for() -> None:
    graph = Graph((X, Node("y", "div", (1, "x"))), ("y",))
    assert backward(graph) == (0.5, {"x": -0.25, "y": 1.0})  # type: ignore[comparison-overlap]


def test_number_arguments_are_constants() -> None:
    nodes = (
        X,
        Node("a", "sub", (5, "x")),
        Node("b", "where", (1, "a", 7)),
        Node("c", "sum", (1, "b", 2.5, "b")),
        Node("d", "mean", (1, 2, "c")),
        Node("k", "pow", (2, 3)),
        Node("y", "mul", ("d", "k")),
    )
    got = backward(Graph(nodes, ("y",)))
    assert got.value == pytest.approx((1 + 2 + 1 + 3 + 2.5 + 3) / 3 * 8, rel=1e-15)
    assert got.gradients["x"] == pytest.approx(-2 / 3 * 8, rel=1e-15)
    assert got.gradients["k"] == pytest.approx(12.5 / 3, rel=1e-15)


def test_an_id_that_looks_like_a_number_is_not_one() -> None:
    graph = Graph((Node("2", "value", data=7.0), Node("y", "mul", ("2", 2))), ("y",))
    assert backward(graph) == (14.0, {"2": 2.0, "y": 1.0})  # type: ignore[comparison-overlap]


def test_a_constant_exponent_has_no_derivative_of_its_own() -> None:
    """(-2)**3 with a number as exponent is smooth; with a node as exponent its gradient is by log(-2), which is NaN."""
    number = Graph((Node("x", "value", data=-2.0), Node("y", "pow", ("x", 3))), ("y",))
    assert backward(number).gradients["x"] == 12.0
    node = Graph((Node("x", "value", data=-2.0), Node("n", "value", data=3.0), Node("y", "pow", ("x", "n"))), ("y",))
    got = backward(node).gradients
    assert got["x"] == 12.0 and math.isnan(got["n"])


def test_a_hint_in_a_large_graph() -> None:
    """A hint in a graph of 100,000 nodes compares only some of them."""
    nodes = [Node(f"node number {k}", "value") for k in range(100_000)]
    error = refused(UnknownNode, *nodes, Node("y", "neg", ("node number 17x",)))
    assert "Did you mean 'node number 17'?" in error.detail
    assert np.all(Graph(tuple(nodes), ("node number 5",)).wiring.order[:1] == 5)


IDS = st.sampled_from(["a", "b", "c", "d", "", "a\n", "n" * 200, "1"])
NODES = st.builds(
    Node,
    st.one_of(*[st.sampled_from("abcd")] * 9, IDS),
    st.sampled_from(["value", "neg", "add", "sum", "where", "max", "div", "pow", "identity", "Sin"]),
    st.lists(st.one_of(st.sampled_from("abcd"), IDS, st.floats()), max_size=4).map(tuple),
    st.one_of(st.none(), st.none(), st.floats()),
)


@given(st.lists(NODES, max_size=5), st.lists(IDS, max_size=2))
@times(5)
def test_any_nodes_are_a_graph_or_an_engine_error(nodes: list[Node], outputs: list[str]) -> None:
    """The error's place leads to something that exists."""
    try:
        graph = Graph(tuple(nodes), tuple(outputs))
    except EngineError as error:
        assert error.detail.isprintable()
        place: Any = {"nodes": nodes, "outputs": outputs, "output": outputs[:1]}
        for step in error.place:
            place = getattr(place, str(step)) if isinstance(place, Node) else place[step]
    else:
        assert len(graph.wiring.order) == len(nodes)
