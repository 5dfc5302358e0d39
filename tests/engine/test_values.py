"""Values: expressions in Python itself, with the numbers of the published examples."""

import copy
import math
import operator
import rlcompleter
import subprocess
import sys
import textwrap
import traceback
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.engine import transforms
from app.engine.errors import UnknownPrimitive, WrongArity
from app.engine.gradients import Gradients
from app.engine.graph import Graph, Node
from app.engine.primitives import ALIASES, WIRE
from app.engine.text import parse
from app.engine.values import Value, add, apply, backward, divide, grad, graph_of, mul, neg, pow, relu, sub, sum, value
from tests.engine.conftest import graphs
from tests.rows import for_each

ROOT = Path(__file__).parents[2]

# --- the example in micrograd's README (https://github.com/karpathy/micrograd)

README = {"value": 24.70408163265306, "a": 138.83381924198252, "b": 645.5772594752186}

README_TEXT = """
c = a + b
d = a*b + b**3
c2 = c + (c + 1)
c3 = c2 + (1 + c2 + -a)
d2 = d + (d*2 + relu(b + a))
d3 = d2 + (3*d2 + relu(b - a))
e_ = c3 - d3
f = e_**2
g = f/2
g + 10/f
"""


def readme() -> tuple[Value, Value, Value]:
    a, b = value(-4.0), value(2.0)
    c = a + b
    d = a * b + b**3
    c += c + 1
    c += 1 + c + (-a)
    d += d * 2 + (b + a).relu()
    d += 3 * d + (b - a).relu()
    e = c - d
    f = e**2
    g = f / 2.0
    g += 10.0 / f
    return g, a, b


def readme_nodes() -> list[Node]:
    return [
        Node("a", "value", data=-4.0),
        Node("b", "value", data=2.0),
        Node("c", "add", ("a", "b")),
        Node("ab", "mul", ("a", "b")),
        Node("bbb", "pow", ("b", 3)),
        Node("d", "add", ("ab", "bbb")),
        Node("c+1", "add", ("c", 1)),
        Node("c2", "add", ("c", "c+1")),
        Node("1+c2", "add", (1, "c2")),
        Node("-a", "neg", ("a",)),
        Node("1+c2-a", "add", ("1+c2", "-a")),
        Node("c3", "add", ("c2", "1+c2-a")),
        Node("2d", "mul", ("d", 2)),
        Node("b+a", "add", ("b", "a")),
        Node("r1", "relu", ("b+a",)),
        Node("2d+r1", "add", ("2d", "r1")),
        Node("d2", "add", ("d", "2d+r1")),
        Node("3d2", "mul", (3, "d2")),
        Node("b-a", "sub", ("b", "a")),
        Node("r2", "relu", ("b-a",)),
        Node("3d2+r2", "add", ("3d2", "r2")),
        Node("d3", "add", ("d2", "3d2+r2")),
        Node("e", "sub", ("c3", "d3")),
        Node("f", "pow", ("e", 2)),
        Node("f/2", "divide", ("f", 2)),
        Node("10/f", "divide", (10, "f")),
        Node("g", "add", ("f/2", "10/f")),
    ]


def test_micrograds_readme() -> None:
    g, a, b = readme()
    gradients = backward(g)
    assert g.data == pytest.approx(README["value"], rel=1e-13)
    assert grad(a, gradients) == pytest.approx(README["a"], rel=1e-13)
    assert grad(b, gradients) == pytest.approx(README["b"], rel=1e-13)


def test_micrograds_readme_is_the_same_to_the_last_bit_as_values_text_and_nodes_in_any_order() -> None:
    g, a, b = readme()
    gradients = backward(g)
    as_values = (g.data, gradients[a], gradients[b])
    got = transforms.backward(parse(README_TEXT), {"a": -4.0, "b": 2.0})
    assert (got.value, got.gradients["a"], got.gradients["b"]) == as_values
    rng = np.random.default_rng(0)
    nodes = readme_nodes()
    for _ in range(20):
        got = transforms.backward(Graph(tuple(nodes[k] for k in rng.permutation(len(nodes))), ("g",)))
        assert (got.value, got.gradients["a"], got.gradients["b"]) == as_values


def test_the_example_of_the_elixir_port() -> None:
    x = value(3.0)
    y = pow(x, 2)
    gradients = backward(y)
    assert grad(x, gradients) == 6.0
    assert (x.data, y.data, grad(y, gradients)) == (3.0, 9.0, 1.0)


def test_the_functions_of_the_elixir_port() -> None:
    x, y = value(3.0), value(-2.0)
    assert add(x, y).data == 1.0 == add(3, y).data
    assert sub(x, y).data == 5.0 == sub(x, -2).data
    assert mul(x, y).data == -6.0 == mul(3.0, y).data
    assert divide(x, y).data == -1.5 == divide(3, y).data
    assert pow(x, 2).data == 9.0 and pow(2, x).data == 8.0
    assert neg(x).data == -3.0
    assert relu(x).data == 3.0 and relu(y).data == 0.0
    assert sum([x, y, 1.5]).data == 2.5
    assert sum(v for v in (x, x)).data == 6.0
    assert sum([]).data == 0.0 and sum([]).op == "value"
    assert add(1, 2).data == 3.0


def test_sum_is_one_node_and_reaches_every_term() -> None:
    terms = [value(float(k)) for k in range(1000)]
    total = sum([*terms, terms[0], 5.0])
    assert total.op == "sum" and len(total.args) == 1002 and total.data == 499_505.0
    gradients = backward(total)
    assert [gradients[term] for term in terms] == [2.0] + [1.0] * 999


# --- operators and methods


@for_each(
    ("operation", "at", "slopes"),
    [
        (operator.add, (3.0, -2.0), (1.0, 1.0)),
        (operator.sub, (3.0, -2.0), (1.0, -1.0)),
        (operator.mul, (3.0, -2.0), (-2.0, 3.0)),
        (operator.truediv, (3.0, -2.0), (-0.5, -0.75)),
        (operator.pow, (3.0, -2.0), (-2 / 27, math.log(3) / 9)),
        (operator.lt, (3.0, -2.0), (0.0, 0.0)),
        (operator.le, (3.0, 3.0), (0.0, 0.0)),
        (operator.gt, (3.0, -2.0), (0.0, 0.0)),
        (operator.ge, (3.0, 3.0), (0.0, 0.0)),
    ],
)
def test_operators_and_their_reflections(
    operation: Callable[[Any, Any], Any], at: tuple[float, float], slopes: tuple[float, float]
) -> None:
    """The number that Python computes, whichever side is a value, and the gradient of that side."""
    x, y = at
    for left, right in (
        (value(x), value(y)),
        (value(x), y),
        (x, value(y)),
        (value(x), np.float64(y)),
        (np.float64(x), value(y)),
    ):
        result = operation(left, right)
        assert isinstance(result, Value)
        assert result.data == float(operation(x, y))
        gradients = backward(result)
        for side, slope in ((left, slopes[0]), (right, slopes[1])):
            if isinstance(side, Value):
                assert gradients[side] == pytest.approx(slope, rel=1e-15)


def test_unary_operators() -> None:
    x = value(-3.0)
    assert (-x).data == 3.0 and backward(-x)[x] == -1.0
    assert +x is x
    assert abs(x).data == 3.0 and backward(abs(x))[x] == -1.0
    assert bool(x) and not bool(value(0.0))


@for_each("name", [*WIRE, *ALIASES])
def test_every_primitive_is_a_method(name: str) -> None:
    """With the value and the gradients that the same graph has."""
    row = WIRE[ALIASES.get(name, name)]
    rng = np.random.default_rng(3)
    count = row.min_arity if row.max_arity is not None else 4
    domain = row.domain if len(row.domain) == count else ((-2.0, 2.0),) * count
    numbers = [float(rng.uniform(low, high)) for low, high in domain]
    leaves = [value(x) for x in numbers]
    result = getattr(leaves[0], name)(*leaves[1:])
    assert (result.op, result.args) == (row.name, tuple(leaves))
    ids = [f"x{k}" for k in range(count)]
    nodes = [Node(i, "value", data=x) for i, x in zip(ids, numbers, strict=True)]
    want = transforms.backward(Graph((*nodes, Node("y", name, tuple(ids))), ("y",)))
    assert result.data == want.value
    gradients = backward(result)
    assert [gradients[leaf] for leaf in leaves] == [want.gradients[i] for i in ids]
    assert apply(name, *leaves).data == result.data


@given(graphs())
def test_values_have_the_numbers_of_the_graph_to_the_last_bit(graph: Graph) -> None:
    made: dict[str, Value] = {}
    for node in graph.nodes:
        args = [made[arg] if isinstance(arg, str) else arg for arg in node.args]
        made[node.id] = apply(node.op, *args) if node.args else value(float(node.data or 0.0))
    want = transforms.backward(graph)
    gradients = backward(made[graph.output])
    assert made[graph.output].data == want.value
    assert {name: gradients[of] for name, of in made.items()} == dict(want.gradients)
    back = graph_of(made[graph.output])
    assert transforms.evaluate(back)[back.output] == want.value


def test_an_integer_exponent_of_a_negative_base() -> None:
    x = value(-2.0)
    assert (x**3).data == -8.0 and backward(x**3)[x] == 12.0
    n = value(3.0)
    gradients = backward(x**n)
    assert gradients[x] == 12.0 and math.isnan(gradients[n])


def test_division_by_zero_is_infinite() -> None:
    x = value(0.0)
    assert (1 / x).data == math.inf and math.isnan((x / x).data)
    assert backward(x.sqrt())[x] == math.inf


def test_where_passes_nothing_to_the_other_branch() -> None:
    x = value(-4.0)
    y = (x > 0).where(x.log(), x * 2)
    assert y.data == -8.0 and backward(y)[x] == 2.0


# --- tables


def test_gradients_cover_every_value_on_the_way_and_nothing_else() -> None:
    x, y = value(3.0), value(5.0)
    square = x * x
    output = square + 1
    gradients = output.backward()
    assert isinstance(gradients, Gradients)
    assert set(gradients) == {x, square, output}
    assert (gradients[x], gradients[square], gradients[output]) == (6.0, 1.0, 1.0)
    assert gradients[y] == 0.0 and grad(y, gradients) == 0.0
    with pytest.raises(TypeError):
        gradients[x] = 1.0  # type: ignore[index]


def test_backward_of_a_leaf() -> None:
    x = value(3.0)
    assert dict(backward(x)) == {x: 1.0}


def test_backward_can_be_called_again_and_in_between() -> None:
    """Nothing is kept in the values, so there is no zero_grad to forget."""
    x = value(3.0)
    y = x * x
    z = y * y
    assert backward(z)[x] == 108.0 == backward(z)[x]
    assert backward(y)[x] == 6.0
    assert x.grad is None and z.grad is None


# --- immutability


@pytest.mark.parametrize("name", ["data", "grad", "op", "args", "label", "new"])
def test_a_value_never_changes(name: str) -> None:
    x = value(3.0) * 2
    with pytest.raises(AttributeError):
        setattr(x, name, 1.0)
    with pytest.raises(AttributeError):
        delattr(x, name)
    assert x.data == 6.0


def test_with_grad_and_with_label_are_copies() -> None:
    x = value(3.0, label="x")
    y = x**2
    gradients = backward(y)
    shown = x.with_grad(gradients)
    assert (shown.data, shown.grad, shown.label, x.grad) == (3.0, 6.0, "x", None)
    assert shown is not x and shown != x
    assert gradients[shown] == 0.0, "a copy is another value"
    named = y.with_label("y")
    assert (named.label, named.data, named.op, named.args, y.label) == ("y", 9.0, "pow", (x, 2.0), None)
    assert repr(x) == "Value(data=3.0, label='x')"
    assert repr(shown) == "Value(data=3.0, grad=6.0, label='x')"
    assert repr(y) == "Value(data=9.0, op='pow')"
    assert repr(value(1.0).with_grad(gradients)) == "Value(data=1.0, grad=0.0)"


def test_values_are_equal_only_to_themselves() -> None:
    x, y = value(3.0), value(3.0)
    assert x == x and x != y and x != 3.0  # type: ignore[comparison-overlap]
    assert len({x, y, x}) == 2


def test_inplace_operators_make_new_values() -> None:
    x = value(3.0)
    before = x
    x += 1
    assert before.data == 3.0 and x.data == 4.0


# --- what is not a value


@pytest.mark.parametrize("data", ["3", None, 1j, [1.0], np.array([1.0, 2.0]), b"1", value(1.0)])
def test_only_real_numbers(data: Any) -> None:
    with pytest.raises(TypeError, match="needs a real number"):
        value(data)
    if not isinstance(data, Value | np.ndarray):
        for operation in (operator.add, operator.mul, operator.pow, operator.truediv):
            with pytest.raises(TypeError):
                operation(value(3.0), data)


@pytest.mark.parametrize("data", [3, True, Fraction(1, 2), np.float64(2.5), np.float32(0.5), np.int64(7)])
def test_any_real_number_becomes_a_float(data: Any) -> None:
    assert type(value(data).data) is float and value(data).data == float(data)
    assert (value(1.0) + data).data == 1.0 + float(data)


def test_unknown_primitives_and_arity() -> None:
    with pytest.raises(UnknownPrimitive, match="Did you mean 'sin'"):
        apply("sinn", 1.0)
    with pytest.raises(UnknownPrimitive):
        apply("identity", 1.0)
    with pytest.raises(WrongArity, match="sin takes 1 argument, not 2"):
        value(1.0).sin(2.0)
    with pytest.raises(WrongArity, match="sum takes 1 or more arguments, not 0"):
        apply("sum")
    with pytest.raises(WrongArity, match="max takes 2 or more arguments, not 1"):
        value(1.0).max()
    with pytest.raises(AttributeError, match="no attribute or primitive 'foo'"):
        value(1.0).foo  # noqa: B018


# --- as a graph


def test_graph_of() -> None:
    x, y = value(2.0, label="x"), value(5.0, label="y")
    z = ((x * y).tanh() + x + 1).with_label("z")
    graph = graph_of(z)
    assert graph.output == "z" and set(graph.leaves) == {"x", "y"}
    got = transforms.backward(graph)
    gradients = backward(z)
    assert (got.value, got.gradients["x"], got.gradients["y"]) == (z.data, gradients[x], gradients[y])


@for_each(
    ("one", "other"),
    [("x", "x"), ("", "y"), ("%0", "%1"), ("%1", "%0"), ("%2", "a"), ("a\nb", "c"), ("n" * 129, "d"), ("\ud800", "e")],
)
def test_any_labels_make_a_graph(one: str, other: str) -> None:
    """Labels can be equal, look like made-up ids, or be no valid ids."""
    x, y = value(2.0, label=one), value(3.0, label=other)
    graph = graph_of((x * y + x).exp())
    assert transforms.backward(graph).value == math.exp(8.0)


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_logsumexp_of_values_is_that_of_a_graph_to_the_last_bit(count: int) -> None:
    for numbers in np.random.default_rng(count).normal(size=(100, count)).tolist():
        y = apply("logsumexp", *map(value, numbers))
        assert y.data == transforms.evaluate(graph_of(y))["%0"]
    if count == 2:
        assert apply("logsumexp", math.inf, value(1.0)).data == math.inf


def test_a_label_becomes_an_id_up_to_128_characters() -> None:
    for length, kept in ((128, True), (129, False)):
        label = "n" * length
        assert (graph_of(value(2.0, label=label)).output == label) == kept


# --- sizes


def in_process(code: str, seconds: float) -> str:
    """What a fresh process prints. A crash, an exception or a timeout fails the test."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], cwd=ROOT, capture_output=True, text=True, timeout=seconds, check=False
    )
    assert done.returncode == 0, f"exit code {done.returncode}: {done.stderr[-2000:]}"
    return done.stdout


@pytest.mark.alone
def test_a_chain_of_a_million_values_is_differentiated_and_freed() -> None:
    """In a process with a recursion limit that leaves no room for recursion, to its end."""
    out = in_process(
        """
        import gc, sys, time
        from app.engine.values import backward, value
        backward(value(2.0) * 3 + 1)
        sys.setrecursionlimit(80)
        x = y = value(0.5)
        for k in range(500_000):
            y = (y + 1) * 1.0
        began = time.perf_counter()
        gradients = backward(y)
        assert time.perf_counter() - began < 30
        assert (y.data, gradients[x], gradients[y], len(gradients)) == (500_000.5, 1.0, 1.0, 1_000_001)
        del gradients
        y = None
        gc.collect()
        print("freed")
        """,
        120,
    )
    assert out == "freed\n"


def test_long_chains_need_no_recursion() -> None:
    """A chain deeper than the recursion limit: made, shown, differentiated, made a graph, copied."""
    limit = sys.getrecursionlimit()
    x = value(0.5, label="x")
    backward(x + 1)
    y = x
    for _ in range(5000):
        y = y + 1
    try:
        sys.setrecursionlimit(len(traceback.extract_stack()) + 60)
        assert repr(y) == "Value(data=5000.5, op='add')"
        assert backward(y)[x] == 1.0
        assert len(graph_of(y).nodes) == 5001
        assert y.with_label("y").data == 5000.5
        assert copy.copy(y).data == 5000.5
    finally:
        sys.setrecursionlimit(limit)


@given(st.permutations(range(5)))
def test_the_order_in_which_values_are_made_does_not_matter(order: list[int]) -> None:
    xs: dict[int, Value] = {}
    for k in order:
        xs[k] = value(0.1 + k)
    output = sum([xs[k] * xs[(k + 1) % 5] for k in range(5)]).tanh()
    gradients = backward(output)
    want = transforms.backward(parse("tanh(a*b + b*c + c*d + d*f + f*a)"), {n: 0.1 + k for k, n in enumerate("abcdf")})
    assert output.data == pytest.approx(want.value, rel=1e-15)
    assert [gradients[xs[k]] for k in range(5)] == pytest.approx([want.gradients[n] for n in "abcdf"], rel=1e-15, abs=1e-300)


@pytest.mark.parametrize("function", [math.sin, math.exp, math.sqrt, float, math.isfinite], ids=lambda f: f.__name__)
def test_functions_of_plain_numbers_refuse_a_value(function: Callable[[Any], object]) -> None:
    """A number from them would have no gradient, and nobody would notice."""
    with pytest.raises(TypeError, match=r"x\.sin\(\).*x\.data"):
        function(value(0.5))


def test_numpy_functions_of_a_value_keep_the_gradient() -> None:
    """NumPy calls the method of the same name."""
    x = value(0.5)
    y: Any = np.sin(x)
    assert backward(y)[x] == pytest.approx(math.cos(0.5), rel=1e-15)


def test_dir_and_completion_show_every_primitive() -> None:
    x = value(1.0)
    assert {*WIRE, *ALIASES, "data", "backward"} <= set(dir(x))
    completer = rlcompleter.Completer({"x": x})
    assert completer.complete("x.sinh", 0) in ("x.sinh(", "x.sinh()")


@pytest.mark.parametrize(("name", "hint"), [("sine", ""), ("cot", "cot(x) is 1/tan(x)"), ("ln", "'log'"), ("tahn", "'tanh'")])
def test_unknown_method_is_explained(name: str, hint: str) -> None:
    with pytest.raises(AttributeError) as caught:
        getattr(value(1.0), name)
    assert repr(name) in str(caught.value) and hint in str(caught.value)
