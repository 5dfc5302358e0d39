"""The work of simplification grows with the expression and not with its square. How formulas look is in `tests/formats`."""

import cProfile
import pstats
from collections.abc import Callable

import pytest

from app.engine import simplification
from app.engine.derivative import free_name, gradient
from app.engine.graph import ID_LIMIT
from app.engine.simplification import simplified
from app.engine.text import parse
from app.engine.transforms import evaluate

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


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_twice_as_long_takes_about_twice_as_much(monkeypatch: pytest.MonkeyPatch, family: Callable[[int], str]) -> None:
    """With a twentieth of the trials of shorter forms, which all end in the longer text of some families."""
    monkeypatch.setattr(simplification, "MAX_STEPS", simplification.MAX_STEPS // 20)
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
