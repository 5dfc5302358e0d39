"""What section 2 of the contract says of expressions, word by word, over HTTP.

Expectations are closed forms, published numbers, Python's own arithmetic or mpmath, never what the service said before.
"""

import json
import math
import random
import re
import shutil
import subprocess
from typing import Any

import httpx
import mpmath
import pytest

from tests.contract.conftest import Post
from tests.contract.wire import POSTS, answer, graph, leaf, node, problem, smallest

# --- micrograd's README example: https://github.com/karpathy/micrograd, at commit c911406

MICROGRAD = """\
c = a + b
d = a*b + b**3
c1 = c + (c + 1)
c2 = c1 + (1 + c1 + (-a))
d1 = d + (d*2 + relu(b + a))
d2 = d1 + (3*d1 + relu(b - a))
e = c2 - d2
f = e**2
g = f/2.0 + 10.0/f"""
VALUE, BY_A, BY_B = 24.70408163265306, 138.83381924198252, 645.5772594752186

MICROGRAD_NODES = [
    leaf("a", -4.0),
    leaf("b", 2.0),
    node("c", "add", "a", "b"),
    node("ab", "mul", "a", "b"),
    node("b3", "pow", "b", 3),
    node("d", "add", "ab", "b3"),
    node("c+1", "add", "c", 1),
    node("c'", "add", "c", "c+1"),
    node("-a", "neg", "a"),
    node("1+c'", "add", 1, "c'"),
    node("1+c'-a", "add", "1+c'", "-a"),
    node("c''", "add", "c'", "1+c'-a"),
    node("2d", "mul", "d", 2),
    node("b+a", "add", "b", "a"),
    node("relu(b+a)", "relu", "b+a"),
    node("2d+", "add", "2d", "relu(b+a)"),
    node("d'", "add", "d", "2d+"),
    node("3d'", "mul", 3, "d'"),
    node("b-a", "sub", "b", "a"),
    node("relu(b-a)", "relu", "b-a"),
    node("3d'+", "add", "3d'", "relu(b-a)"),
    node("d''", "add", "d'", "3d'+"),
    node("e", "sub", "c''", "d''"),
    node("f", "pow", "e", 2),
    node("f/2", "divide", "f", 2.0),
    node("10/f", "divide", 10.0, "f"),
    node("g", "add", "f/2", "10/f"),
]


def test_micrograds_example_as_text(post: Post) -> None:
    found = answer(post("backward", expression=MICROGRAD, inputs={"a": -4, "b": 2}))
    assert found["output"] == "g"
    assert found["value"] == pytest.approx(VALUE, rel=1e-13)
    assert found["gradients"]["a"] == pytest.approx(BY_A, rel=1e-13)
    assert found["gradients"]["b"] == pytest.approx(BY_B, rel=1e-13)
    assert set(found["gradients"]) == {"a", "b", "c", "d", "c1", "c2", "d1", "d2", "e", "f", "g"}


@pytest.mark.parametrize("seed", range(5))
def test_micrograds_example_as_a_graph_in_any_order(post: Post, seed: int) -> None:
    nodes = list(MICROGRAD_NODES)
    straight = answer(post("backward", expression={"nodes": nodes, "output": "g"}))
    random.Random(seed).shuffle(nodes)
    shuffled = answer(post("backward", expression={"nodes": nodes, "output": "g"}))
    assert shuffled == straight, "the order in which nodes stand means nothing, to the last bit"
    assert shuffled["value"] == pytest.approx(VALUE, rel=1e-13)
    assert shuffled["gradients"]["a"] == pytest.approx(BY_A, rel=1e-13)
    assert shuffled["gradients"]["b"] == pytest.approx(BY_B, rel=1e-13)
    assert set(shuffled["gradients"]) == {row["id"] for row in MICROGRAD_NODES}


# --- forward


def test_forward_answers_with_output_and_value_alone(post: Post) -> None:
    assert answer(post("forward", expression="x**2", inputs={"x": 3})) == {"output": "output", "value": 9.0}


def test_forward_with_values_has_every_node(post: Post) -> None:
    expression = graph(leaf("x", 3.0), node("y", "pow", "x", 2), node("z", "neg", "y"), leaf("alone", 7.5), output="z")
    found = answer(post("forward", expression=expression, values=True))
    assert found == {"output": "z", "value": -9.0, "values": {"x": 3.0, "y": 9.0, "z": -9.0, "alone": 7.5}}


def test_values_of_a_text_have_its_names(post: Post) -> None:
    values = answer(post("forward", expression="h = w*x; h + 1", inputs={"w": 2, "x": 3}, values=True))["values"]
    assert {"w": 2.0, "x": 3.0, "h": 6.0, "output": 7.0}.items() <= values.items()


@pytest.mark.parametrize(
    ("text", "output"),
    [
        ("x*x", "output"),
        ("y = x*x", "y"),
        ("y = x; y*x", "output"),
        ("a = x\nb = a*x", "b"),
        ("x", "output"),
        ("x*x;\n", "output"),
    ],
)
def test_the_last_statement_is_the_output(post: Post, text: str, output: str) -> None:
    assert answer(post("forward", expression=text, inputs={"x": 1}))["output"] == output


FUNCTIONS: dict[str, Any] = {
    "sin": math.sin,
    "tanh": math.tanh,
    "max": max,
    "min": min,
    "hypot": math.hypot,
    "where": lambda condition, a, b: a if condition else b,
    "pi": math.pi,
    "e": math.e,
    "x": 2.0,
    "y": -3.0,
}


@pytest.mark.parametrize(
    "text",
    [
        "-x**2",
        "2**-x",
        "2**3**2",
        "(2**3)**2",
        "-x**-x",
        "x - y - 1",
        "x / y / 4",
        "x / y * 4",
        "x - (y - 1)",
        "--x",
        "-+-x",
        "2*-x",
        "+x",
        "1e3 + .5 + 5. + 1.5E-2 + 1_000",
        "pi*e",
        "x < y",
        "x > y",
        "x <= 2",
        "x >= 2.5",
        "x == 2",
        "x != 2",
        "(x > y) + (x > 1)",
        "1 + 2 < 4 * 1",
        "x if x > y else y",
        "x if x < y else y",
        "1 if x < y else 2 if x == 2 else 3",
        "(x if y else 7) * 2",
        "max(x, y, 1) - min(x, y)",
        "hypot(3, 4)",
        "where(x > 0, y, x)",
        "sin(x)*tanh(y) + sin(tanh(x*y))",
        "max(x,\n    y)",
        "(x +\n y)",
        "x   *\ty",
        "sin (x)",
    ],
)
def test_text_means_what_it_means_in_python(post: Post, text: str) -> None:
    expected = eval(text, {"__builtins__": {}}, FUNCTIONS)
    used = {name: FUNCTIONS[name] for name in "xy" if re.search(rf"\b{name}\b", text)}
    assert answer(post("forward", expression=text, inputs=used))["value"] == pytest.approx(float(expected), rel=1e-15)


def random_text(rng: random.Random, depth: int) -> str:
    """An expression as a person might write it, with as few parentheses as chance will have."""
    if depth == 0:
        return rng.choice(["x", "y", "2", "0.5", "3.", "1e-1", "pi", "e"])

    def part() -> str:
        return random_text(rng, depth - 1)

    kind = rng.randrange(12)
    if kind < 5:
        return f"{part()}{rng.choice(['', ' '])}{rng.choice('+-*/')} {part()}"
    if kind == 5:
        return f"{part()}**{rng.choice(['2', '-1', '(-2)', '3', 'x', '-x', '0.5'])}"
    if kind == 6:
        return f"{rng.choice('-+')}{part()}"
    if kind == 7:
        return f"({part()})"
    if kind == 8:
        return f"{part()} {rng.choice(['<', '<=', '>', '>=', '==', '!='])} {part()}"
    if kind == 9:
        return f"({part()} if {part()} else {part()})"
    if kind == 10:
        return f"{part()} if {part()} else {part()}"
    return rng.choice(["sin({})", "tanh({})", "max({}, {})", "min({}, {}, {})", "where({}, {}, {})", "hypot({}, {})"]).format(
        part(), part(), part()
    )


def test_random_texts_mean_what_they_mean_in_python(post: Post) -> None:
    rng = random.Random(3)
    compared = 0
    for _ in range(600):
        text = random_text(rng, rng.randint(1, 5))
        try:
            expected = eval(text, {"__builtins__": {}}, FUNCTIONS)
        except (ZeroDivisionError, OverflowError, TypeError):
            continue
        except SyntaxError:
            problem(post("forward", expression=text), "syntax-error", 422)
            continue
        if isinstance(expected, complex) or not math.isfinite(expected) or "**" in text and not 1e-9 < abs(expected) < 1e9:
            continue
        used = {name: FUNCTIONS[name] for name in "xy" if re.search(rf"\b{name}\b", text)}
        response = post("forward", expression=text, inputs=used)
        assert response.status_code == 200, (text, response.text)
        assert response.json()["value"] == pytest.approx(float(expected), rel=1e-9, abs=1e-12), text
        compared += 1
    assert compared > 400


def test_an_assigned_name_hides_a_constant(post: Post) -> None:
    assert answer(post("forward", expression="e = 2*x; e + pi", inputs={"x": 1}))["value"] == 2.0 + math.pi


# --- backward


def test_the_default_wrt_of_a_graph_is_every_node(post: Post) -> None:
    expression = graph(leaf("x", 3.0), node("y", "mul", "x", "x"), node("z", "mul", "y", 2), leaf("alone", 1), output="z")
    assert answer(post("backward", expression=expression)) == {
        "output": "z",
        "value": 18.0,
        "gradients": {"x": 12.0, "y": 2.0, "z": 1.0, "alone": 0.0},
    }


def test_the_default_wrt_of_a_text_is_its_inputs_and_assigned_names(post: Post) -> None:
    found = answer(post("backward", expression="h = w*x + b; k = 2*h; h**2", inputs={"w": 2, "x": 3, "b": 1}))
    assert found["value"] == 49.0
    assert found["gradients"] == {"w": 42.0, "x": 28.0, "b": 14.0, "h": 14.0, "k": 0.0}


def test_wrt_picks_and_may_name_an_intermediate_node(post: Post) -> None:
    gradients = answer(post("backward", expression="h = x*x; h**3", inputs={"x": 2}, wrt=["h"]))["gradients"]
    assert gradients == {"h": 48.0}


def test_by_a_node_that_the_output_does_not_depend_on_the_gradient_is_zero(post: Post) -> None:
    expression = graph(leaf("x", 2), leaf("u", 5), node("v", "exp", "u"), node("y", "neg", "x"))
    assert answer(post("backward", expression=expression, wrt=["u", "v"]))["gradients"] == {"u": 0.0, "v": 0.0}


def test_a_node_used_twice_gets_the_sum(post: Post) -> None:
    assert answer(post("backward", expression=graph(leaf("x", 3), node("y", "add", "x", "x"))))["gradients"]["x"] == 2.0


def test_backward_with_values(post: Post) -> None:
    found = answer(post("backward", expression="y = x*x", inputs={"x": 3}, values=True))
    assert found == {"output": "y", "value": 9.0, "gradients": {"x": 6.0, "y": 1.0}, "values": {"x": 3.0, "y": 9.0}}


def test_the_cotangent_scales_every_gradient(post: Post) -> None:
    plain = answer(post("backward", expression="y = x**3", inputs={"x": 2}))
    scaled = answer(post("backward", expression="y = x**3", inputs={"x": 2}, cotangent=-0.5))
    assert scaled["value"] == plain["value"] == 8.0
    assert scaled["gradients"] == {"x": -6.0, "y": -0.5}
    assert answer(post("backward", expression="y = x**3", inputs={"x": 2}, cotangent=1)) == plain


def test_a_list_of_cotangents_has_one_for_each_point(post: Post) -> None:
    found = answer(post("backward", expression="x**2", inputs={"x": [1, 2, 3]}, cotangent=[1, 10, 0]))
    assert found["gradients"] == {"x": [2.0, 40.0, 0.0]}


# --- jvp


def test_jvp_answers_with_the_derivative_along_the_tangents(post: Post) -> None:
    found = answer(post("jvp", expression="x**2 * y", inputs={"x": 3, "y": 4}, tangents={"x": 1, "y": 10}))
    assert found == {"output": "output", "value": 36.0, "tangent": 24.0 + 90.0}


def test_a_missing_tangent_is_zero(post: Post) -> None:
    assert answer(post("jvp", expression="x**2 * y", inputs={"x": 3, "y": 4}, tangents={"x": 1}))["tangent"] == 24.0
    assert answer(post("jvp", expression="x**2 * y", inputs={"x": 3, "y": 4}, tangents={}))["tangent"] == 0.0


def test_tangents_for_each_point(post: Post) -> None:
    assert answer(post("jvp", expression="x**2", inputs={"x": [1, 2]}, tangents={"x": [1, 10]}))["tangent"] == [2.0, 40.0]
    assert answer(post("jvp", expression="x**2", inputs={"x": [1, 2]}, tangents={"x": 1}))["tangent"] == [2.0, 4.0]


def test_jvp_and_backward_agree(post: Post) -> None:
    request: dict[str, Any] = {"expression": "sin(x*y) + exp(z)/hypot(x, z)", "inputs": {"x": 0.3, "y": -2, "z": 1.1}}
    gradients = answer(post("backward", **request))["gradients"]
    for name in "xyz":
        tangent = answer(post("jvp", **request, tangents={name: 1}))["tangent"]
        assert tangent == pytest.approx(gradients[name], rel=1e-14)


# --- jacobian


def test_the_jacobian_of_a_texts_outputs(post: Post) -> None:
    request = {"expression": "f = x*y; g = sin(x); h = f + g", "inputs": {"x": 0, "y": 5}, "outputs": ["f", "g"]}
    assert answer(post("jacobian", **request)) == {
        "values": {"f": 0.0, "g": 0.0},
        "jacobian": {"f": {"x": 5.0, "y": 0.0}, "g": {"x": 1.0, "y": 0.0}},
    }


def test_the_jacobian_of_a_graphs_outputs(post: Post) -> None:
    nodes = [leaf("x", 2), leaf("y", 3), node("f", "mul", "x", "y"), node("g", "sub", "f", "x")]
    found = answer(post("jacobian", expression={"nodes": nodes, "outputs": ["g", "f"]}))
    assert found["values"] == {"g": 4.0, "f": 6.0}
    assert found["jacobian"] == {"g": {"x": 2.0, "y": 2.0}, "f": {"x": 3.0, "y": 2.0}}


def test_the_jacobian_of_one_output_is_its_gradient(post: Post) -> None:
    found = answer(post("jacobian", expression="x**2*y", inputs={"x": 3, "y": 1}))
    assert found == {"values": {"output": 9.0}, "jacobian": {"output": {"x": 6.0, "y": 9.0}}}


@pytest.mark.parametrize("names", [["x"], ["x", "y"], ["y", "x", "z", "f"]])
def test_the_jacobian_by_few_and_by_many_nodes(post: Post, names: list[str]) -> None:
    """Forward and reverse mode, whichever is chosen, agree with each output's own gradients."""
    text, inputs = "f = x*y; g = f*z; h = g - x", {"x": 2, "y": 3, "z": 5}
    found = answer(post("jacobian", expression=text, inputs=inputs, outputs=["f", "g", "h"], wrt=names))["jacobian"]
    expected = {
        "f": {"x": 3.0, "y": 2.0, "z": 0.0, "f": 1.0},
        "g": {"x": 15.0, "y": 10.0, "z": 6.0, "f": 5.0},
        "h": {"x": 14.0, "y": 10.0, "z": 6.0, "f": 5.0},
    }
    assert found == {f: {name: row[name] for name in names} for f, row in expected.items()}


def test_the_jacobian_at_many_points(post: Post) -> None:
    request = {"expression": "f = x*y; g = y", "inputs": {"x": [1, 2], "y": 3}, "outputs": ["f", "g"]}
    found = answer(post("jacobian", **request))
    assert found["values"] == {"f": [3.0, 6.0], "g": 3.0}, "only what depends on a point is a list"
    assert found["jacobian"] == {"f": {"x": [3.0, 3.0], "y": [1.0, 2.0]}, "g": {"x": [0.0, 0.0], "y": [1.0, 1.0]}}


# --- hessian and hvp

ROSENBROCK = "(1 - x)**2 + 100*(y - x**2)**2"


def test_rosenbrocks_hessian_at_its_standard_start(post: Post) -> None:
    """Value 24.2 and the starting point are in Moré, Garbow, Hillstrom (1981); the rest is calculus by hand."""
    found = answer(post("hessian", expression=ROSENBROCK, inputs={"x": -1.2, "y": 1}))
    assert found["value"] == pytest.approx(24.2, rel=1e-14)
    assert found["gradients"] == pytest.approx({"x": -215.6, "y": -88.0}, rel=1e-13)
    assert found["hessian"]["x"] == pytest.approx({"x": 1330.0, "y": 480.0}, rel=1e-13)
    assert found["hessian"]["y"] == pytest.approx({"x": 480.0, "y": 200.0}, rel=1e-13)


TANGLED = "sin(x*y)*exp(z/x) + log(x + y**2)*atan2(y, z) + pow(x, y) + logsumexp(x, y, z)"
POINT = {"x": 1.3, "y": -0.7, "z": 0.4}


def test_the_hessian_is_symmetric_and_what_mpmath_finds(post: Post) -> None:
    def f(x: Any, y: Any, z: Any) -> Any:
        m = mpmath
        body = m.sin(x * y) * m.exp(z / x) + m.log(x + y**2) * m.atan2(y, z) + x**y
        return body + m.log(m.exp(x) + m.exp(y) + m.exp(z))

    found = answer(post("hessian", expression=TANGLED, inputs=POINT))
    names = list(POINT)
    assert list(found["hessian"]) == names and all(list(row) == names for row in found["hessian"].values())
    with mpmath.workdps(40):
        at = tuple(map(mpmath.mpf, POINT.values()))
        for i, a in enumerate(names):
            first = tuple(int(k == i) for k in range(3))
            assert found["gradients"][a] == pytest.approx(float(mpmath.diff(f, at, first)), rel=1e-12)
            for j, b in enumerate(names):
                assert found["hessian"][a][b] == pytest.approx(found["hessian"][b][a], rel=1e-13)
                second = tuple(first[k] + int(k == j) for k in range(3))
                assert found["hessian"][a][b] == pytest.approx(float(mpmath.diff(f, at, second)), rel=1e-11)


def test_hvp_is_the_hessian_times_the_tangents(post: Post) -> None:
    tangents = {"x": 0.5, "y": -2.0, "z": 3.0}
    whole = answer(post("hessian", expression=TANGLED, inputs=POINT))
    found = answer(post("hvp", expression=TANGLED, inputs=POINT, tangents=tangents))
    assert found["output"] == "output" and found["value"] == whole["value"]
    assert found["gradients"] == pytest.approx(whole["gradients"], rel=1e-14)
    for name, row in whole["hessian"].items():
        assert found["hvp"][name] == pytest.approx(sum(row[by] * tangents[by] for by in row), rel=1e-12)
    picked = answer(post("hvp", expression=TANGLED, inputs=POINT, tangents=tangents, wrt=["z"]))
    assert picked["hvp"] == {"z": found["hvp"]["z"]} and set(picked["gradients"]) == {"z"}


def test_hessian_and_hvp_at_many_points(post: Post) -> None:
    found = answer(post("hessian", expression="x**3*y", inputs={"x": [1, 2], "y": 5}))
    assert found["value"] == [5.0, 40.0]
    assert found["gradients"] == {"x": [15.0, 60.0], "y": [1.0, 8.0]}
    assert found["hessian"] == {"x": {"x": [30.0, 60.0], "y": [3.0, 12.0]}, "y": {"x": [3.0, 12.0], "y": [0.0, 0.0]}}
    product = answer(post("hvp", expression="x**3*y", inputs={"x": [1, 2], "y": 5}, tangents={"x": [1, 10], "y": 1}))
    assert product["hvp"] == {"x": [33.0, 612.0], "y": [3.0, 120.0]}


def test_the_hessian_by_an_intermediate_node(post: Post) -> None:
    found = answer(post("hessian", expression="h = x*x; h**3", inputs={"x": 2}, wrt=["h"]))
    assert found["gradients"] == {"h": 48.0} and found["hessian"] == {"h": {"h": 24.0}}


# --- check


def test_a_right_gradient_passes_the_check(post: Post) -> None:
    found = answer(post("check", expression=TANGLED, inputs=POINT))
    gradients = answer(post("backward", expression=TANGLED, inputs=POINT))["gradients"]
    assert found["ok"] is True and set(found["checks"]) == {"x", "y", "z"}
    for name, row in found["checks"].items():
        assert set(row) == {"reverse", "forward", "numeric", "relative_error"}
        assert row["reverse"] == gradients[name]
        assert row["forward"] == pytest.approx(gradients[name], rel=1e-13)
        assert row["numeric"] == pytest.approx(gradients[name], rel=1e-6)
        assert 0.0 <= row["relative_error"] <= 1e-6


def test_at_a_kink_the_check_fails(post: Post) -> None:
    """relu'(0) is 0 by convention, and the central difference is 1/2."""
    found = answer(post("check", expression="relu(x)", inputs={"x": 0}, tolerance=1e-9))
    assert found["ok"] is False
    assert found["checks"]["x"]["reverse"] == found["checks"]["x"]["forward"] == 0.0
    assert found["checks"]["x"]["numeric"] == pytest.approx(0.5)
    assert answer(post("check", expression="relu(x)", inputs={"x": 0}, tolerance=0.6))["ok"] is True


def test_a_tiny_tolerance_is_not_met(post: Post) -> None:
    assert answer(post("check", expression="exp(sin(x))", inputs={"x": 1.1}, tolerance=1e-300))["ok"] is False


@pytest.mark.parametrize(
    ("text", "x"),
    [
        ("log(x)", 1e-10),
        ("sqrt(x)", 1e-9),
        ("1/x", 1e-8),
        ("x**2", 1e-300),
        ("exp(-x)", 700.0),
        ("x**2", 1e150),
        ("sin(1e6*x)", 1.0),
    ],
)
def test_a_right_gradient_passes_also_near_a_boundary_and_at_any_scale(post: Post, text: str, x: float) -> None:
    """A false alarm would send people to look for a mistake that is not there."""
    assert answer(post("check", expression=text, inputs={"x": x}))["ok"] is True


def test_check_takes_wrt_and_many_points(post: Post) -> None:
    found = answer(post("check", expression="h = x*x*y; sin(h)", inputs={"x": [1, 2, 3], "y": 0.5}, wrt=["h", "y"]))
    assert found["ok"] is True and set(found["checks"]) == {"h", "y"}
    for k, x in enumerate([1, 2, 3]):
        assert found["checks"]["h"]["reverse"][k] == pytest.approx(math.cos(x * x * 0.5), rel=1e-14)
        assert found["checks"]["y"]["numeric"][k] == pytest.approx(x * x * math.cos(x * x * 0.5), rel=1e-7)


# --- parse

TEXTS = {
    MICROGRAD: {"a": -4.0, "b": 2.0},
    TANGLED: POINT,
    "x": {"x": 0.1},
    "y = x": {"x": 0.1},
    "4.5": {},
    "mean(x, y, 3) if x > y else prod(x, y, x) / 3": {"x": 1.7, "y": 0.3},
    "h = tanh(w*x + b); (h - y)**2": {"w": 0.3, "x": -1.7, "b": 0.2, "y": 1.0},
    "α = β*β; α/3": {"β": 0.7},
}


@pytest.mark.parametrize(("text", "inputs"), TEXTS.items())
def test_a_parsed_text_gives_the_same_bits(post: Post, text: str, inputs: dict[str, float]) -> None:
    parsed = answer(post("parse", expression=text, inputs=inputs))["graph"]
    names = list(answer(post("backward", expression=text, inputs=inputs))["gradients"])
    for operation in ("backward", "hessian", "check"):
        from_text = post(operation, expression=text, inputs=inputs, wrt=names)
        from_graph = post(operation, expression=parsed, wrt=names)
        assert answer(from_text) and from_text.content == from_graph.content
    assert post("graph", expression=parsed).content == post("graph", expression=text, inputs=inputs).content


@pytest.mark.parametrize("operation", POSTS)
def test_every_endpoint_takes_a_parsed_graph(post: Post, operation: str) -> None:
    request = smallest(operation)
    parsed = answer(post("parse", expression=request["expression"]))["graph"]
    answer(post(operation, **request | {"expression": parsed}))


def test_a_parsed_graph_is_parsed_to_itself(post: Post) -> None:
    expression = graph(leaf("x", 3.0), node("y", "pow", "x", 2.0, label="x squared"))
    assert answer(post("parse", expression=expression)) == {"graph": expression}
    again = answer(post("parse", expression=MICROGRAD))
    assert answer(post("parse", expression=again["graph"])) == again


def test_ids_of_unnamed_nodes_are_unique_stable_and_no_names(post: Post) -> None:
    request = {"expression": "a*b + a*b + sin(a*b)"}
    first, second = post("parse", **request), post("parse", **request)
    assert first.content == second.content
    nodes = answer(first)["graph"]["nodes"]
    assert len({row["id"] for row in nodes}) == len(nodes)
    assert {row["id"] for row in nodes if row["op"] == "value"} == {"a", "b"}


# --- graph

ROW = {"id", "label", "op", "data", "grad", "arity", "is_leaf"}


@pytest.mark.parametrize(("text", "inputs"), list(TEXTS.items()))
def test_rows_are_in_topological_order_and_obey_the_chain_rule(post: Post, text: str, inputs: dict[str, float]) -> None:
    found = answer(post("graph", expression=text, inputs=inputs))
    place = {row["id"]: k for k, row in enumerate(found["nodes"])}
    assert len(place) == len(found["nodes"])
    assert all(set(row) == ROW for row in found["nodes"])
    assert all(set(edge) == {"from", "to", "local_gradient"} for edge in found["edges"])
    assert all(place[edge["from"]] < place[edge["to"]] for edge in found["edges"])
    grad = {row["id"]: row["grad"] for row in found["nodes"]}
    for row in found["nodes"]:
        into = [edge for edge in found["edges"] if edge["to"] == row["id"]]
        assert row["is_leaf"] == (row["op"] == "value") == (not into)
        assert row["arity"] == len(into)
        out = [edge for edge in found["edges"] if edge["from"] == row["id"]]
        if out:
            total = math.fsum(grad[edge["to"]] * edge["local_gradient"] for edge in out)
            assert row["grad"] == pytest.approx(total, rel=1e-12, abs=1e-14)
    for name, gradient in answer(post("backward", expression=text, inputs=inputs))["gradients"].items():
        assert grad[name] == gradient


def test_a_graph_keeps_ids_labels_and_data(post: Post) -> None:
    found = answer(post("graph", expression=graph(leaf("x", 3), node("y", "pow", "x", 2, label="x squared"))))
    rows = {row["id"]: row for row in found["nodes"]}
    assert rows["x"] == {"id": "x", "label": None, "op": "value", "data": 3.0, "grad": 6.0, "arity": 0, "is_leaf": True}
    assert rows["y"] == {"id": "y", "label": "x squared", "op": "pow", "data": 9.0, "grad": 1.0, "arity": 2, "is_leaf": False}
    assert {"from": "x", "to": "y", "local_gradient": 6.0} in found["edges"]


def test_two_uses_of_a_node_are_two_edges(post: Post) -> None:
    edges = answer(post("graph", expression="y = x - x", inputs={"x": 3}))["edges"]
    assert [(edge["from"], edge["to"], edge["local_gradient"]) for edge in edges] == [("x", "y", 1.0), ("x", "y", -1.0)]


def test_without_gradients_there_are_none(post: Post) -> None:
    found = answer(post("graph", expression="y = x*x", inputs={"x": 3}, gradients=False))
    assert [set(row) for row in found["nodes"]] == [ROW - {"grad"}] * 2
    assert found["edges"] == [{"from": "x", "to": "y"}] * 2


def test_a_made_up_id_is_no_other_nodes_id(post: Post) -> None:
    """Numbers among the arguments are shown as leaves; whatever ids they get, the user's own come first."""
    ids = ["y", "y[1]", "y[1]'", "%1", "output"]
    nodes = [leaf(name, k) for k, name in enumerate(ids[1:])]
    found = answer(post("graph", expression=graph(*nodes, node("y", "sum", 7, 8, *ids[1:]))))
    assert len({row["id"] for row in found["nodes"]}) == len(found["nodes"]) == 7
    assert {row["id"]: row["data"] for row in found["nodes"]}.items() >= {
        name: float(k) for k, name in enumerate(ids[1:])
    }.items()


def dot(client: httpx.Client, request: dict[str, Any]) -> str:
    response = client.post("/v1/graph", json=request, headers={"Accept": "text/vnd.graphviz"})
    assert response.status_code == 200, response.text
    assert response.headers["content-type"].split(";")[0] == "text/vnd.graphviz"
    return response.text


def test_dot_by_accept(client: httpx.Client) -> None:
    text = dot(client, {"expression": "y = x*x", "inputs": {"x": 3}})
    assert text.lstrip().startswith("digraph") and text.rstrip().endswith("}")
    assert "mul" in text and "data 9" in text and "grad 6" in text
    assert "grad" not in dot(client, {"expression": "y = x*x", "inputs": {"x": 3}, "gradients": False})


HOSTILE_NAMES = ['a"b', "a\\b", "a\\", "{a|b}", "<p>", "w[0]", "é☃", "a -> b; }", "a b", "\\N", "%", "layers.0.weights.3.1"]


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_dot_shows_any_id_and_label(client: httpx.Client, name: str) -> None:
    """Graphviz itself reads the text, where it is installed, and shows the name as it is."""
    expression = graph(leaf(name, 2), {**leaf("q", 3), "label": name}, node("y", "mul", name, "q"))
    text = dot(client, {"expression": expression})
    if not shutil.which("dot"):
        pytest.skip("wants Graphviz")
    result = subprocess.run(["dot", "-Tjson0"], input=text.encode(), capture_output=True, timeout=20)
    assert result.returncode == 0 and not result.stderr, result.stderr
    labels = [row.get("label", "") for row in json.loads(result.stdout)["objects"]]
    bare = re.sub(r"\\(.)", r"\1", " ".join(labels))
    assert bare.count(name) == 2, labels


# --- primitives and conventions

UNARY = {
    "neg": lambda x: -x,
    "abs": abs,
    "sign": mpmath.sign,
    "exp": mpmath.exp,
    "expm1": mpmath.expm1,
    "log": mpmath.log,
    "log1p": mpmath.log1p,
    "log2": lambda x: mpmath.log(x, 2),
    "log10": mpmath.log10,
    "sqrt": mpmath.sqrt,
    "square": lambda x: x * x,
    "reciprocal": lambda x: 1 / x,
    "sin": mpmath.sin,
    "cos": mpmath.cos,
    "tan": mpmath.tan,
    "asin": mpmath.asin,
    "acos": mpmath.acos,
    "atan": mpmath.atan,
    "sinh": mpmath.sinh,
    "cosh": mpmath.cosh,
    "tanh": mpmath.tanh,
    "asinh": mpmath.asinh,
    "acosh": mpmath.acosh,
    "atanh": mpmath.atanh,
    "sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)),
    "softplus": lambda x: mpmath.log1p(mpmath.exp(x)),
    "relu": lambda x: max(x, mpmath.mpf(0)),
    "leaky_relu": lambda x: x if x > 0 else x * mpmath.mpf(0.01),
    "elu": lambda x: x if x > 0 else mpmath.expm1(x),
    "gelu": lambda x: x / 2 * (1 + mpmath.erf(x / mpmath.sqrt(2))),
    "silu": lambda x: x / (1 + mpmath.exp(-x)),
    "erf": mpmath.erf,
    "erfc": mpmath.erfc,
    "lgamma": lambda x: mpmath.log(abs(mpmath.gamma(x))),
    "digamma": mpmath.digamma,
}
POINTS = {
    "acosh": [1.1, 2.7],
    "log": [0.3, 4.2],
    "log2": [0.3, 4.2],
    "log10": [0.3, 4.2],
    "sqrt": [0.3, 4.2],
    "log1p": [-0.4, 2.0],
}
POINTS |= {"lgamma": [0.3, 4.2], "digamma": [0.3, 4.2]}
BINARY = {
    "add": lambda x, y: x + y,
    "sub": lambda x, y: x - y,
    "mul": lambda x, y: x * y,
    "divide": lambda x, y: x / y,
    "div": lambda x, y: x / y,
    "pow": lambda x, y: x**y,
    "min": min,
    "max": max,
    "atan2": mpmath.atan2,
    "hypot": mpmath.hypot,
}
MANY = {
    "sum": lambda *x: mpmath.fsum(x),
    "mean": lambda *x: mpmath.fsum(x) / len(x),
    "prod": lambda *x: mpmath.fprod(x),
    "logsumexp": lambda *x: mpmath.log(mpmath.fsum(map(mpmath.exp, x))),
    "min": min,
    "max": max,
}
COMPARISONS = ("lt", "le", "gt", "ge", "eq", "ne")


@pytest.mark.parametrize("op", UNARY)
def test_unary_primitives_are_what_mpmath_says(post: Post, op: str) -> None:
    points = POINTS.get(op, [-0.6, 0.4])
    found = answer(post("backward", expression=f"{op}(x)", inputs={"x": points}))
    with mpmath.workdps(30):
        for k, x in enumerate(map(mpmath.mpf, points)):
            assert found["value"][k] == pytest.approx(float(UNARY[op](x)), rel=1e-13)
            assert found["gradients"]["x"][k] == pytest.approx(float(mpmath.diff(UNARY[op], x)), rel=1e-12, abs=1e-18)


@pytest.mark.parametrize("op", BINARY)
def test_binary_primitives_are_what_mpmath_says(post: Post, op: str) -> None:
    x, y = 1.7, 0.6
    found = answer(post("backward", expression=graph(leaf("x", x), leaf("y", y), node("z", op, "x", "y"))))
    with mpmath.workdps(30):
        assert found["value"] == pytest.approx(float(BINARY[op](mpmath.mpf(x), mpmath.mpf(y))), rel=1e-14)
        for name, order in (("x", (1, 0)), ("y", (0, 1))):
            expected = float(mpmath.diff(BINARY[op], (mpmath.mpf(x), mpmath.mpf(y)), order))
            assert found["gradients"][name] == pytest.approx(expected, rel=1e-13, abs=1e-18)


@pytest.mark.parametrize("op", MANY)
@pytest.mark.parametrize("count", [2, 3, 5])
def test_primitives_of_any_number_of_arguments(post: Post, op: str, count: int) -> None:
    numbers = [0.3, -1.2, 2.5, 0.7, -0.4][:count]
    names = [f"x{k}" for k in range(count)]
    found = answer(post("backward", expression=f"{op}({', '.join(names)})", inputs=dict(zip(names, numbers, strict=True))))
    with mpmath.workdps(30):
        at = tuple(map(mpmath.mpf, numbers))
        assert found["value"] == pytest.approx(float(MANY[op](*at)), rel=1e-14)
        for k, name in enumerate(names):
            expected = float(mpmath.diff(MANY[op], at, tuple(int(j == k) for j in range(count))))
            assert found["gradients"][name] == pytest.approx(expected, rel=1e-13, abs=1e-18)


@pytest.mark.parametrize("op", ["sum", "mean", "prod", "logsumexp"])
def test_one_argument_is_a_number_of_arguments_too(post: Post, op: str) -> None:
    found = answer(post("backward", expression=f"{op}(x)", inputs={"x": 1.25}))
    assert found["value"] == 1.25 and found["gradients"] == {"x": 1.0}


@pytest.mark.parametrize("op", COMPARISONS)
@pytest.mark.parametrize(("x", "y"), [(1, 2), (2, 1), (1.5, 1.5)])
def test_comparisons_give_one_or_zero_and_have_derivative_zero(post: Post, op: str, x: float, y: float) -> None:
    expected = {"lt": x < y, "le": x <= y, "gt": x > y, "ge": x >= y, "eq": x == y, "ne": x != y}[op]
    found = answer(post("backward", expression=graph(leaf("x", x), leaf("y", y), node("z", op, "x", "y"))))
    assert found["value"] == float(expected) and found["gradients"] == {"x": 0.0, "y": 0.0, "z": 1.0}


@pytest.mark.parametrize(
    ("text", "inputs", "gradients"),
    [
        ("relu(x)", {"x": 0}, {"x": 0.0}),
        ("abs(x)", {"x": 0}, {"x": 0.0}),
        ("sign(x)", {"x": 0}, {"x": 0.0}),
        ("min(x, y)", {"x": 2, "y": 2}, {"x": 0.5, "y": 0.5}),
        ("max(x, y)", {"x": 2, "y": 2}, {"x": 0.5, "y": 0.5}),
        ("x**0", {"x": 0}, {"x": 0.0}),
        ("x**1", {"x": 0}, {"x": 1.0}),
        ("x**2", {"x": 0}, {"x": 0.0}),
        ("x**2", {"x": -3}, {"x": -6.0}),
        ("x**3", {"x": -2}, {"x": 12.0}),
        ("pow(x, -1)", {"x": -2}, {"x": -0.25}),
        ("where(x > 0, log(x), 0)", {"x": -4}, {"x": 0.0}),
        ("where(x > 0, log(x), 0)", {"x": 0}, {"x": 0.0}),
        ("log(x) if x > 0 else 0", {"x": -4}, {"x": 0.0}),
        ("where(x == 0, 1, sin(x)/x)", {"x": 0}, {"x": 0.0}),
        ("0*sqrt(x)", {"x": 0}, {"x": 0.0}),
        ("where(c, a, b)", {"c": 1, "a": 2, "b": 3}, {"c": 0.0, "a": 1.0, "b": 0.0}),
        ("where(c, a, b)", {"c": 0, "a": 2, "b": 3}, {"c": 0.0, "a": 0.0, "b": 1.0}),
        ("where(c, a, b)", {"c": -0.5, "a": 2, "b": 3}, {"c": 0.0, "a": 1.0, "b": 0.0}),
        ("prod(x, y, z)", {"x": 0, "y": 2, "z": 3}, {"x": 6.0, "y": 0.0, "z": 0.0}),
        ("leaky_relu(x)", {"x": -5}, {"x": 0.01}),
    ],
)
@pytest.mark.parametrize("many", [False, True], ids=["point", "points"])
def test_conventions(post: Post, text: str, inputs: dict[str, float], gradients: dict[str, float], many: bool) -> None:
    given: dict[str, Any] = {name: [x, x] for name, x in inputs.items()} if many else inputs
    expected: dict[str, Any] = {name: [g, g] for name, g in gradients.items()} if many else gradients
    assert answer(post("backward", expression=text, inputs=given))["gradients"] == expected


@pytest.mark.parametrize("many", [False, True], ids=["point", "points"])
def test_zero_to_the_zero_is_one_and_its_derivative_by_the_base_zero(post: Post, many: bool) -> None:
    inputs: dict[str, Any] = {"x": [0, 0], "y": [0, 0]} if many else {"x": 0, "y": 0}
    found = answer(post("backward", expression="x**y", inputs=inputs, wrt=["x"]))
    assert found["value"] == ([1.0, 1.0] if many else 1.0)
    assert found["gradients"]["x"] == ([0.0, 0.0] if many else 0.0)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("tanh(1000)", 1.0),
        ("sigmoid(-1000)", 0.0),
        ("softplus(1000)", 1000.0),
        ("softplus(-1000)", 0.0),
        ("logsumexp(1000, 1000)", 1000.0 + math.log(2)),
        ("log1p(1e-300)", 1e-300),
        ("expm1(1e-300)", 1e-300),
        ("hypot(3e200, 4e200)", 5e200),
        ("erfc(27)", 5.237048923789256e-319),
    ],
)
def test_extremes(post: Post, text: str, value: float) -> None:
    assert answer(post("forward", expression=text))["value"] == pytest.approx(value, rel=1e-14)


def test_primitives_are_listed_with_all_that_is_promised(client: httpx.Client) -> None:
    rows = {row["name"]: row for row in answer(client.get("/v1/primitives"))["primitives"]}
    assert set(rows) == set(UNARY) | (set(BINARY) - {"div"}) | set(MANY) | set(COMPARISONS) | {"where"}
    for name, row in rows.items():
        assert {"name", "arity", "formula", "derivative", "domain", "kink"} <= set(row)
        assert row["formula"] and row["derivative"] and row["domain"] and row["kink"]
        expected = 1 if name in UNARY else 3 if name == "where" else None if name in MANY else 2
        assert row["arity"] == expected
    assert "div" in rows["divide"]["aliases"]


@pytest.mark.parametrize("op", [*UNARY, *BINARY, *MANY, *COMPARISONS, "where"])
def test_every_primitive_has_an_infallible_graph_form(post: Post, op: str) -> None:
    """A call in text and an `op` in a graph are the same operation."""
    count = 1 if op in UNARY else 3 if op == "where" or op in MANY else 2
    names = "xyz"[:count]
    inputs = {name: 1.1 + 0.1 * k for k, name in enumerate(names)}
    if op in ("asin", "acos", "atanh"):
        inputs = {"x": 0.25}
    as_text = answer(post("hessian", expression=f"{op}({','.join(names)})", inputs=inputs))
    as_graph = answer(post("hessian", expression=graph(*map(leaf, names), node("output", op, *names)), inputs=inputs))
    assert as_text == as_graph


# --- inputs, ids, numbers


def test_inputs_override_data(post: Post) -> None:
    expression = graph(leaf("x", 3), leaf("y"), node("z", "mul", "x", "y"))
    assert answer(post("forward", expression=expression, inputs={"y": 2}))["value"] == 6.0
    assert answer(post("forward", expression=expression, inputs={"y": 2, "x": 5}))["value"] == 10.0


def test_promoted_numbers_are_constants(post: Post) -> None:
    """Also where one number stands in both places, and where the exponent is a number."""
    expression = graph(leaf("x", 3), node("y", "mul", 2, 2.5), node("z", "add", "x", "y"), node("w", "pow", "z", 2))
    found = answer(post("backward", expression=expression))
    assert found["value"] == 64.0 and found["gradients"] == {"x": 16.0, "y": 16.0, "z": 16.0, "w": 1.0}
    assert answer(post("forward", expression=graph(node("x", "sum", 1, 2, 3))))["value"] == 6.0


def test_pow_takes_a_node_for_an_exponent(post: Post) -> None:
    found = answer(post("backward", expression="x**y", inputs={"x": 2, "y": 3}))
    assert found["gradients"] == pytest.approx({"x": 12.0, "y": 8 * math.log(2)}, rel=1e-15)


@pytest.mark.parametrize("alias", ["div", "divide"])
def test_div_stands_for_divide(post: Post, alias: str) -> None:
    found = answer(post("backward", expression=graph(leaf("x", 6), leaf("y", 3), node("z", alias, "x", "y"))))
    assert found["value"] == 2.0 and found["gradients"]["y"] == pytest.approx(-2 / 3, rel=1e-15)
    assert answer(post("forward", expression=f"{alias}(x, 4)", inputs={"x": 6}))["value"] == 1.5


IDS = [
    "x",
    " ",
    "a/b",
    "m~n",
    "a/b~c/~1",
    "é",
    "日本",
    "😀",
    "a b",
    '"',
    "\\",
    "'",
    "%1",
    "output",
    "0",
    "-1",
    "null",
    "__proto__",
    "x" * 128,
]


@pytest.mark.parametrize("name", IDS)
def test_an_id_is_any_string_of_1_to_128_characters(post: Post, name: str) -> None:
    request = {"expression": graph(leaf(name), node("then", "mul", name, name)), "inputs": {name: 3}}
    assert answer(post("backward", **request, wrt=[name])) == {"output": "then", "value": 9.0, "gradients": {name: 6.0}}
    assert answer(post("jvp", **request, tangents={name: 2}))["tangent"] == 12.0
    assert answer(post("hessian", **request))["hessian"] == {name: {name: 2.0}}
    assert answer(post("graph", **request))["nodes"][0]["id"] == name


def test_128_characters_are_characters_not_bytes(post: Post) -> None:
    assert answer(post("forward", expression=graph(leaf("😀" * 128, 1))))["value"] == 1.0
    problem(post("forward", expression=graph(leaf("😀" * 129, 1))), "invalid-request", 422, "/expression/nodes/0/id")


@pytest.mark.parametrize("name", ["", "x" * 129, "a\n", "\x00", "a\x7fb", "a\x85"])
def test_other_strings_are_no_ids(post: Post, name: str) -> None:
    problem(post("forward", expression=graph(leaf("x", 1), leaf(name, 1), output="x")), "invalid-request", 422)


def test_an_id_that_looks_like_a_number_is_an_id(post: Post) -> None:
    assert answer(post("forward", expression=graph(leaf("3", 5), node("y", "mul", "3", 3))))["value"] == 15.0


def test_names_in_text_may_be_unicode(post: Post) -> None:
    assert answer(post("backward", expression="δ = α*2; δ**2", inputs={"α": 3}))["gradients"] == {"α": 24.0, "δ": 12.0}


def test_labels_mean_nothing(post: Post) -> None:
    plain = graph(leaf("x", 3), node("y", "exp", "x"))
    labelled = graph({**leaf("x", 3), "label": "y"}, node("y", "exp", "x", label="\n\x00 any text"))
    assert answer(post("backward", expression=plain)) == answer(post("backward", expression=labelled))


@pytest.mark.parametrize("literal", ["3", "3.0", "30e-1", "0.3E+1", "3.0000000000000000000000000000000001"])
def test_a_number_is_a_number_however_it_is_written(post: Post, literal: str) -> None:
    body = f'{{"expression": "x*2", "inputs": {{"x": {literal}}}}}'.encode()
    assert answer(post("forward", content=body))["value"] == 6.0


@pytest.mark.parametrize(
    "number", [5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, 0.1, 1 / 3, 123456789.123456789, 2**60 + 1]
)
def test_numbers_come_back_as_they_went(post: Post, number: float) -> None:
    assert answer(post("forward", expression="x", inputs={"x": number}))["value"] == float(number)
    assert answer(post("forward", expression=graph(leaf("x", -number))))["value"] == -float(number)


def test_integers_beyond_64_bits_are_numbers(post: Post) -> None:
    assert answer(post("forward", expression="x", inputs={"x": 10**300}))["value"] == 1e300


# --- many points


def test_what_depends_on_a_point_is_a_list_and_the_rest_is_not(post: Post) -> None:
    request = {"expression": "v = w*w; y = v*x", "inputs": {"x": [1, 2, 3], "w": 2}, "values": True}
    found = answer(post("backward", **request))
    assert found["value"] == [4.0, 8.0, 12.0]
    assert found["values"] == {"w": 2.0, "v": 4.0, "x": [1.0, 2.0, 3.0], "y": [4.0, 8.0, 12.0]}
    assert found["gradients"] == {"w": [4.0, 8.0, 12.0], "v": [1.0, 2.0, 3.0], "x": [4.0] * 3, "y": [1.0] * 3}


@pytest.mark.parametrize("count", [1, 2, 63, 64, 65, 700])
def test_many_points_are_as_many_single_ones(post: Post, count: int) -> None:
    """Lists of one too: what is given as a list is answered as a list."""
    rng = random.Random(count)
    inputs = {name: [rng.uniform(0.2, 2) for _ in range(count)] for name in "xy"}
    together = answer(post("backward", expression=TANGLED, inputs={**inputs, "z": 0.4}))
    assert len(together["value"]) == count
    for k in {0, count // 2, count - 1}:
        alone = answer(post("backward", expression=TANGLED, inputs={"x": inputs["x"][k], "y": inputs["y"][k], "z": 0.4}))
        assert together["value"][k] == pytest.approx(alone["value"], rel=1e-13)
        for name, gradient in alone["gradients"].items():
            assert together["gradients"][name][k] == pytest.approx(gradient, rel=1e-12)


@pytest.mark.parametrize("operation", POSTS)
def test_a_list_of_no_points_is_no_defect(post: Post, operation: str) -> None:
    """The contract is silent: an answer with empty lists will do, and so will an error that says what is wrong."""
    request = smallest(operation, inputs={"x": []})
    response = post(operation, **request)
    if response.status_code != 200:
        problem(response, status=422, pointer="/inputs/x")


def test_an_empty_list_of_cotangents_or_tangents_is_no_defect(post: Post) -> None:
    for operation, fields in (
        ("backward", {"cotangent": []}),
        ("jvp", {"tangents": {"x": []}}),
        ("hvp", {"tangents": {"x": []}}),
    ):
        response = post(operation, **smallest(operation, **fields))
        assert response.status_code == 200 or problem(response, status=422), operation


# --- numbers that are not finite


@pytest.mark.parametrize(
    ("operation", "text", "inputs", "words"),
    [
        ("forward", "y = log(x); y*2", {"x": -4}, ["'y'", "log", "-4", "forward", "NaN"]),
        ("forward", "y = x/z; y + 1", {"x": 1, "z": 0}, ["'y'", "divide", "1.0", "0.0", "forward", "Infinity"]),
        ("forward", "y = exp(x); -y", {"x": 1000}, ["'y'", "exp", "1000", "forward", "-Infinity"]),
        ("backward", "y = sqrt(x); y*2", {"x": 0}, ["'y'", "sqrt", "0.0", "backward", "Infinity"]),
        ("backward", "y = log(x); y*2", {"x": -4}, ["'y'", "log", "-4", "forward", "NaN"]),
        ("jvp", "y = sqrt(x); y*2", {"x": 0}, ["'y'", "sqrt", "0.0", "forward"]),
        ("hessian", "y = x**1.5; y*2", {"x": 0}, ["'y'", "pow", "0.0", "1.5", "backward"]),
        ("hvp", "y = x**1.5; y*2", {"x": 0}, ["'y'", "pow", "0.0", "1.5", "backward"]),
        ("jacobian", "y = sqrt(x); y*2", {"x": 0}, ["'y'", "sqrt", "0.0", "backward"]),
        ("check", "y = sqrt(x); y*2", {"x": 0}, ["'y'", "sqrt", "0.0", "backward"]),
        ("graph", "y = log(x); y*2", {"x": -4}, ["'y'", "log", "-4", "forward", "NaN"]),
        ("graph", "y = sqrt(x); y*2", {"x": 0}, ["'y'", "sqrt", "0.0", "backward"]),
    ],
)
def test_the_error_names_node_operation_arguments_and_pass(
    post: Post, operation: str, text: str, inputs: dict[str, float], words: list[str]
) -> None:
    request = smallest(operation, expression=text, inputs=inputs)
    detail = problem(post(operation, **request), "non-finite", 422)["detail"]
    assert all(word in detail for word in words), detail
    at_points = {name: [1.5, x] for name, x in inputs.items()}
    detail = problem(post(operation, **{**request, "inputs": at_points}), "non-finite", 422)["detail"]
    assert all(word in detail for word in words) and "point 1" in detail, detail


def test_in_a_graph_the_pointer_leads_to_the_node_at_fault(post: Post) -> None:
    expression = graph(leaf("x", -1), node("z", "mul", "y", 2), node("y", "log", "x"), output="z")
    problem(post("forward", expression=expression), "non-finite", 422, "/expression/nodes/2")


def test_only_what_was_asked_for_is_at_fault(post: Post) -> None:
    assert answer(post("backward", expression="sqrt(x)*y", inputs={"x": 0, "y": 1}, wrt=["y"]))["gradients"] == {"y": 0.0}
    assert answer(post("forward", expression="sqrt(x)", inputs={"x": 0}))["value"] == 0.0
    expression = graph(leaf("x", -1), node("bad", "log", "x"), node("y", "neg", "x"))
    assert answer(post("backward", expression=expression))["gradients"] == {"x": -1.0, "bad": 0.0, "y": 1.0}


def test_null_stands_in_the_place_of_each_such_number(post: Post) -> None:
    found = answer(post("backward", expression="y = log(x)", inputs={"x": [1, 0, -1]}, nonfinite="null", values=True))
    assert found["value"] == [0.0, None, None] and found["values"] == {"x": [1.0, 0.0, -1.0], "y": [0.0, None, None]}
    assert found["gradients"]["x"] in ([1.0, None, -1.0], [1.0, None, None]) and found["gradients"]["y"] == [1.0] * 3
    rows = found["nonfinite"]
    assert all({"node", "pass", "value"} <= set(row) <= {"node", "pass", "value", "point"} for row in rows)
    assert {("y", "forward", "-Infinity"), ("y", "forward", "NaN"), ("x", "backward", "Infinity")} <= {
        (row["node"], row["pass"], row["value"]) for row in rows
    }


def test_one_null(post: Post) -> None:
    found = answer(post("forward", expression="y = 1/x", inputs={"x": 0}, nonfinite="null"))
    assert found == {"output": "y", "value": None, "nonfinite": [{"node": "y", "pass": "forward", "value": "Infinity"}]}


def test_the_list_has_the_first_20(post: Post) -> None:
    found = answer(post("forward", expression="y = log(x)", inputs={"x": [-1] * 50}, nonfinite="null"))
    assert found["value"] == [None] * 50 and len(found["nonfinite"]) == 20


def nulls(found: Any) -> int:
    """How many numbers of an answer are null."""
    if isinstance(found, dict):
        return sum(nulls(value) for key, value in found.items() if key not in ("label", "nonfinite"))
    return sum(map(nulls, found)) if isinstance(found, list) else int(found is None)


FAULTY = {
    "value": ("y = log(x)", {"x": -1}),
    "gradient": ("sqrt(x) + y", {"x": 0, "y": 1}),
    "second": ("x**1.5 + y*y", {"x": 0, "y": 1}),
    "points": ("y = 1/x", {"x": [1, 0, 2]}),
    "dead branch": ("where(x > 0, sqrt(x), 0)", {"x": 0}),
    "numeric": ("0*sqrt(x)", {"x": 0}),
}


@pytest.mark.parametrize("operation", [operation for operation in POSTS if operation != "parse"])
@pytest.mark.parametrize("case", FAULTY)
def test_no_null_goes_unsaid(post: Post, operation: str, case: str) -> None:
    """By default a number that is not finite is an error; with "null" each null of the answer is in the list."""
    text, inputs = FAULTY[case]
    request = smallest(operation, expression=text, inputs=inputs)
    response = post(operation, **request)
    if response.status_code == 200:
        assert nulls(answer(response)) == 0, response.text
    else:
        problem(response, "non-finite", 422)
    found = answer(post(operation, **request, nonfinite="null"))
    if operation in ("check", "graph"):  # whose rows have several numbers of one node
        assert bool(found["nonfinite"]) == (nulls(found) > 0), found
    else:
        assert len(found["nonfinite"]) == nulls(found) < 20, found


# --- what a request may leave out, and what it may not


@pytest.mark.parametrize("operation", POSTS)
def test_an_expression_alone_will_do(post: Post, operation: str) -> None:
    """Where nothing is to be bound, `inputs` may be left out, be empty, and `nonfinite` say its default."""
    request = smallest(operation, expression="x = 3; y = x*x", nonfinite="error")
    del request["inputs"]
    bare = post(operation, **request)
    assert answer(bare)
    assert bare.content == post(operation, **request, inputs={}).content


@pytest.mark.parametrize("operation", POSTS)
def test_where_the_work_is_done_makes_no_difference(post: Post, operation: str) -> None:
    """A body padded with spaces gets the same bytes, and so does the same body again."""
    body = json.dumps(smallest(operation, expression=TANGLED, inputs=POINT)).encode()
    first = post(operation, content=body)
    assert answer(first) and first.content == post(operation, content=body).content
    assert first.content == post(operation, content=body + b" " * 100_000).content


def test_keys_in_any_order(post: Post) -> None:
    body = b'{"wrt": ["x"], "inputs": {"x": 2}, "expression": {"output": "y", "nodes": [{"args": ["x"], "op": "neg", "id": "y"}'
    body += b', {"data": 1, "op": "value", "id": "x"}]}}'
    assert answer(post("backward", content=body)) == {"output": "y", "value": -2.0, "gradients": {"x": -1.0}}
