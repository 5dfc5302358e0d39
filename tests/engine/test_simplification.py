"""The work of simplification grows with the expression and not with its square. How formulas look is in `tests/formats`."""

import cProfile
import itertools
import pstats
from collections.abc import Callable
from fractions import Fraction

import pytest

from app.engine import normal_forms
from app.engine.derivative import free_name, gradient
from app.engine.graph import ID_LIMIT, Graph
from app.engine.normal_forms import Forms
from app.engine.simplification import simplified
from app.engine.text import parse
from app.engine.transforms import evaluate
from tests.rows import for_each

FAMILIES: dict[str, Callable[[int], str]] = {
    "product of sums": lambda n: "*".join(f"(x{k} + y{k})" for k in range(n)),
    "product of like sums": lambda n: "*".join(f"(x + {k + 1}*y)" for k in range(n)),
    "quotients of quotients": lambda n: "/".join(f"x{k}" for k in range(n)),
    "continued fraction": lambda n: "1/(1 + x/" * n + "y" + ")" * n,
    "sum of quotients": lambda n: " + ".join(f"x{k}/(1 + x{k}*y)" for k in range(n)),
    "exponentials": lambda n: "exp(" * n + "x" + ")" * n,
    "tower of powers": lambda n: "**".join(["x"] * n),
    "powers of sums": lambda n: "*".join(f"(x + {k})**{k}" for k in range(n)),
    "sums of products": lambda n: "a0 = x; " + "; ".join(f"a{k + 1} = a{k}*(x + a{k})/(y - a{k})" for k in range(n)),
    "choices": lambda n: " + ".join(f"where(x > {k}, x**{k}, y/x)" for k in range(n)),
    "choices in choices": lambda n: "where(x > 1, " * n + "x" + "".join(f", x*{k})" for k in range(n)),
    "hypot": lambda n: "hypot(x, " * n + "y" + ")" * n,
}


def calls(text: str) -> int:
    """The number of calls of functions that a simplification makes."""
    graph = parse(text)
    found = gradient(graph)
    profile = cProfile.Profile()
    profile.runcall(simplified, found, len(graph.nodes))
    return int(pstats.Stats(profile).total_calls)  # type: ignore[attr-defined]  # which its type does not have


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_twice_as_long_takes_about_twice_as_much(monkeypatch: pytest.MonkeyPatch, family: Callable[[int], str]) -> None:
    """With a twentieth of the trials of shorter forms, which all end in the longer text of some families."""
    monkeypatch.setattr(normal_forms, "MAX_STEPS", normal_forms.MAX_STEPS // 20)
    assert calls(family(40)) < 2.6 * calls(family(20)) + 10_000


def test_names_that_differ_only_where_they_are_cut_off_take_linear_time() -> None:
    taken: dict[str, int] = {}
    profile = cProfile.Profile()
    names = profile.runcall(lambda: [free_name("n" * (ID_LIMIT + 5), taken) for _ in range(20_000)])
    assert len(set(names)) == 20_000 and max(map(len, names)) <= ID_LIMIT
    assert pstats.Stats(profile).total_calls < 200_000  # type: ignore[attr-defined]


def test_checkpoint_is_called_for_every_node() -> None:
    called = 0

    def count() -> None:
        nonlocal called
        called += 1

    graph = parse("*".join(f"sin(x{k})" for k in range(50)))
    simplified(gradient(graph), len(graph.nodes), checkpoint=count)
    assert called > 150


@pytest.mark.parametrize("condition", ["x >= 0", "0 >= x", "x <= 0", "0 <= x", "x >= z", "x <= z"])
def test_half_at_a_tie_is_on_the_right_side(condition: str) -> None:
    """1 on the side where the condition holds, 1/2 where both are equal, 0 on the other side, however it is written."""
    graph = parse(f"where({condition}, where({condition.replace('>', '=').replace('<', '=')}, 0.5, 1), 0)*y")
    found = simplified(gradient(graph, ["y"]), len(graph.nodes))
    for x in (-2.0, 0.0, 2.0):
        inputs = {"x": x, "y": 3.0} | ({"z": 0.0} if "z" in condition else {})
        want = 0.5 if x == 0.0 else float(eval(condition, {}, {"x": x, "z": 0.0}))  # the conditions above
        assert evaluate(found, inputs)[found.outputs[1]] == want


# --- limits: what is simplified up to a length stays as it is, one beyond


def shown(text: str) -> Graph:
    """An expression after simplification."""
    graph = parse(text)
    leaves = [node for node in graph.nodes if node.op == "value"]
    rest = [node for node in graph.nodes if node.op != "value"]
    return simplified(Graph([*leaves, *rest], graph.outputs), len(leaves))


def uses(graph: Graph, name: str) -> bool:
    return any(name in node.args for node in graph.nodes)


def has(graph: Graph, op: str) -> bool:
    return any(node.op == op for node in graph.nodes)


@pytest.mark.parametrize(("count", "is_short"), [(12, True), (13, False)])
@pytest.mark.parametrize(("join", "rest"), [(" + ", "- a0"), ("*", "/a0")], ids=["sum", "product"])
def test_sum_or_product_of_twelve_loses_what_cancels(join: str, rest: str, count: int, is_short: bool) -> None:
    whole = join.join(f"a{k}" for k in range(count))
    assert uses(shown(f"({whole}){rest}"), "a0") is not is_short


@pytest.mark.parametrize(("count", "is_short"), [(12, True), (13, False)])
def test_sum_of_twelve_knows_that_squares_of_sine_and_cosine_are_one(count: int, is_short: bool) -> None:
    graph = shown(f"sum(sin(x)**2, cos(x)**2, {', '.join(f'a{k}' for k in range(count - 2))})")
    assert has(graph, "sin") is has(graph, "cos") is not is_short


@pytest.mark.parametrize(("parts", "is_short"), [(50, True), (51, False)])
def test_fifty_parts_are_searched_for_a_choice_that_is_known(parts: int, is_short: bool) -> None:
    """The product, its two factors, the arguments of the inner choice, those of its comparison, and these of logsumexp."""
    names = ", ".join(f"y{k}" for k in range(parts - 8))
    graph = shown(f"where(x > 1, where(x > 1, x, 2)*logsumexp({names}), 0)")
    assert sum(node.op == "where" for node in graph.nodes) == (1 if is_short else 2)


@for_each(
    "terms",
    [
        ("2", "x", "-2*(x + y)"),
        ("x", "sin(y)", "-2*(x + y)"),
        ("x*z", "-x*(z - y)", "sin(y)"),
    ],
)
@for_each("around", ["{}", "({})*w", "({})**2 + w"])
def test_terms_that_merge_do_so_in_any_order(terms: tuple[str, ...], around: str) -> None:
    graphs = [shown(around.format(" + ".join(f"({term})" for term in order))) for order in itertools.permutations(terms)]
    assert len({len(graph.nodes) for graph in graphs}) == 1
    inputs = {"x": 0.75, "y": -1.5, "z": 2.25, "w": 0.5}
    values = [evaluate(graph, {name: inputs[name] for name in graph.leaves})["output"] for graph in graphs]
    assert values == pytest.approx([values[0]] * len(values), rel=1e-13)


@for_each("factor", ["2", "3", "-1", "-7", "0.5", "1.5", "-0.25", "1e6"])
@for_each("text", ["{0}*(a + y) - {0}*a", "{0}*(a + y + 2) - {0}*(a + 2)", "z + {0}*(a - y) + {0}*(y - a)"])
def test_terms_of_a_multiple_of_a_sum_cancel(text: str, factor: str) -> None:
    assert not uses(shown(text.format(f"({factor})")), "a")


@for_each("choice", ["where(x > 1, {}, z)", "where(x > 1, z, {})"])
@for_each(
    "around",
    ["{}", "{} + y", "y - 2*{}", "y*{}", "y/{}", "{}**3", "y**{}", "sin({})", "max(y, {})", "exp(y*{} + 1)", "({} + 1)**2"],
)
def test_choice_within_a_choice_by_the_same_condition_is_known(choice: str, around: str) -> None:
    """In a sum, a product, a power and a call, and in one within another."""
    graph = parse(choice.format(around.format("where(x > 1, a, b)")))
    found = shown(choice.format(around.format("where(x > 1, a, b)")))
    assert sum(node.op == "where" for node in found.nodes) == 1
    for x in (0.5, 1.5):
        inputs = {"x": x, "y": 1.25, "z": 0.75, "a": 2.5, "b": 3.5}
        values = [evaluate(g, {name: inputs[name] for name in g.leaves})["output"] for g in (graph, found)]
        assert values[1] == pytest.approx(values[0], rel=1e-14)


@pytest.mark.parametrize(
    ("text", "gone"),
    [
        ("(x + y)*(x - y)", "add"),
        ("(x - 1)*(x + 1)/y", "add"),
        ("(x - y)*z + (y - x)", "add"),
        ("w + z*hypot(x, y)**2 - z*x**2", "hypot"),
        ("w + z*sin(x)**2 + z*cos(x)**2", "sin"),
        ("w + z*cosh(x)**2 - z*sinh(x)**2", "cosh"),
        ("w + z*sigmoid(x) + z*sigmoid(-x)", "sigmoid"),
    ],
)
def test_identity_shortens_whatever_stands_around_it(text: str, gone: str) -> None:
    assert has(parse(text), gone) and not has(shown(text), gone)


@pytest.mark.parametrize("text", ["(y + b)/(b*2)", "sin(y)*(x*y) + (a + y)", "(y/b)**0.5*(x*2 - (2 + y))"])
def test_a_sum_or_product_is_found_in_either_order(text: str) -> None:
    """b*2 serves as 2*b: nothing is computed twice."""
    graph = parse(text)
    nodes = simplified(gradient(graph), len(graph.nodes)).nodes
    computed = [(node.op, frozenset(node.args)) for node in nodes if node.op in ("add", "mul")]
    assert len(set(computed)) == len(computed)


@pytest.mark.parametrize("text", ["x**{}*1", "x**-{}*1", "x**2*x**({} - 2)"])
def test_exponent_is_below_two_to_the_53(text: str) -> None:
    """From there on doubles are not all integers, and nothing is simplified: an odd power could become an even one."""
    assert not has(shown(text.format(2**53 - 1)), "mul")
    assert has(shown(text.format(2**53)), "mul")


def test_odd_power_stays_odd() -> None:
    graph = parse("x**2*x**9007199254740991")
    found = simplified(gradient(graph), len(graph.nodes))
    assert evaluate(found, {"x": -1.0})[found.outputs[0]] == -1.0
    assert evaluate(shown("x**2*x**9007199254740991"), {"x": -1.0}) == {"output": -1.0}


@pytest.mark.parametrize("excess", [0, 1])
@pytest.mark.parametrize("is_flipped", [False, True], ids=["numerator", "denominator"])
def test_fraction_of_301_digits_is_rounded(is_flipped: bool, excess: int) -> None:
    """Up to 10**300 it is exact; beyond, it is the double that is nearest."""
    fraction = Fraction(10**300 + excess, 10**100 + 1 + 2 * excess)
    assert fraction.numerator == 10**300 + excess
    fraction = 1 / fraction if is_flipped else fraction
    forms = Forms()
    found = forms.all[forms.number(fraction)].number
    assert (found == fraction) is not bool(excess)
    assert float(found) == float(fraction)


@for_each(
    "text",
    [
        "x",
        "1/3",
        "x+y",
        "-x-y",
        "2*x*y",
        "x*y+3",
        "-2*x",
        "2*x/3",
        "1.1111111111111112e-05*x",
        "x/y",
        "x/(y*z)",
        "x/(2*y)",
        "1/(x*y*z)",
        "x*y/(2*z)",
        "x**3",
        "x**3*y",
        "(x+y)*z",
        "z/(x+y)",
        "sqrt(x)",
        "sin(x)",
        "hypot(x,y)",
    ],
)
def test_size_of_a_form_is_the_length_of_its_text(text: str) -> None:
    """By which the shorter of two forms is chosen."""
    graph, forms = parse(text), Forms()
    places: dict[str, int] = {}
    for node in graph.nodes:
        places[node.id] = forms.of_node(node, places)
    assert forms.size(places[graph.output]) == len(text)
