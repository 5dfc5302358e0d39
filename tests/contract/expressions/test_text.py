"""Expressions as text mean what they mean in Python."""

import math
import random
import re
from typing import Any

import pytest

from tests.contract.conftest import Post
from tests.contract.wire import json_of, label
from tests.rows import for_each


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
    ids=label,
)
def test_the_last_statement_is_the_output(post: Post, text: str, output: str) -> None:
    assert json_of(post("forward", expression=text, inputs={"x": 1}))["output"] == output


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


@for_each(
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
def test_text_evaluates_as_in_python(post: Post, text: str) -> None:
    expected = eval(text, {"__builtins__": {}}, FUNCTIONS)
    used = {name: FUNCTIONS[name] for name in "xy" if re.search(rf"\b{name}\b", text)}
    assert json_of(post("forward", expression=text, inputs=used))["value"] == pytest.approx(float(expected), rel=1e-15)


def random_text(rng: random.Random, depth: int) -> str:
    """Return a random expression as a person might write it, most operands without parentheses."""
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


def test_random_text_evaluates_as_in_python(post: Post) -> None:
    """Precedence, associativity and errors are Python's."""
    rng = random.Random(3)
    compared = 0
    for _ in range(600):
        text = random_text(rng, rng.randint(1, 5))
        try:
            expected = eval(text, {"__builtins__": {}}, FUNCTIONS)
        except (ZeroDivisionError, OverflowError, TypeError):
            continue
        except SyntaxError:
            response = post("forward", expression=text)
            assert response.status_code == 422 and response.json()["type"] == "/problems/syntax-error", text
            continue
        if isinstance(expected, complex) or not math.isfinite(expected) or "**" in text and not 1e-9 < abs(expected) < 1e9:
            continue
        used = {name: FUNCTIONS[name] for name in "xy" if re.search(rf"\b{name}\b", text)}
        response = post("forward", expression=text, inputs=used)
        assert response.status_code == 200, (text, response.text)
        assert response.json()["value"] == pytest.approx(float(expected), rel=1e-9, abs=1e-12), text
        compared += 1
    assert compared > 400


def test_names_may_be_unicode(post: Post) -> None:
    assert json_of(post("backward", expression="δ = α*2; δ**2", inputs={"α": 3}))["gradients"] == {"α": 24.0, "δ": 12.0}
