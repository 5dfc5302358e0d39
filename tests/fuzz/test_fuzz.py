"""A small part of the comparison of random expressions and networks with mpmath; `python -m tests.fuzz` is the whole."""

import math
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from app.engine.graph import Node
from app.nn import Layer, Model
from tests.fuzz import cases, networks
from tests.fuzz.cases import Case, check, draw

CASES = 400


@pytest.mark.parametrize("part", range(4), ids=lambda part: f"part-{part}")
def test_random_expressions_are_what_mpmath_says(part: int) -> None:
    tally: Counter[str] = Counter()
    for k in range(CASES // 4):
        rng = random.Random(f"ci {part} {k}")
        case = draw(rng)
        wrong = check(case, rng, tally)
        assert not wrong, "\n".join([str(case), *wrong])
    assert tally["compared"] > CASES / 8, "most cases must be defined, or nothing is compared"


def test_random_networks_are_what_mpmath_says() -> None:
    tally: Counter[str] = Counter()
    for k in range(CASES // 2):
        rng = random.Random(f"ci {k}")
        case = networks.draw(rng)
        wrong = networks.check(case, rng, tally)
        assert not wrong, "\n".join([str(case), *wrong])
    assert tally["compared"] > CASES / 8, "most cases must be defined, or nothing is compared"


@pytest.mark.parametrize(
    ("key", "factor"),
    [
        pytest.param("data loss", 1 + 1e-12, id="a loss off by thousands of last bits"),
        pytest.param("weights 0 0 0", 1 + 1e-12, id="a gradient off by thousands of last bits"),
        pytest.param("biases 1 0", 0.0, id="a gradient of 0"),
        pytest.param("input 0 0", math.nan, id="a gradient by an input refused without a reason"),
        pytest.param("score 0 0", -1.0, id="a score of the wrong sign"),
    ],
)
def test_planted_faults_of_networks_are_found(key: str, factor: float, monkeypatch: pytest.MonkeyPatch) -> None:
    layers = Layer(np.array([[0.5, -0.25]]), np.array([0.1]), "tanh"), Layer(np.array([[1.5]]), np.array([0.3]))
    case = networks.NetworkCase(Model(layers), ((1.0, 2.0),), ((0.5,),), "mse", 0.0)
    assert not networks.check(case, random.Random(1), Counter())
    right = networks.answers(case)
    wrong = {way: {**found, key: found[key] * factor} for way, found in right.items() if key in found}
    monkeypatch.setattr(networks, "answers", lambda case: wrong)
    assert networks.check(case, random.Random(1), Counter())


Change = Callable[[str, float], float]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda key, x: x * (1 + 1.2e-14) if key == "d0" else x, id="a gradient off by 100 last bits"),
        pytest.param(lambda key, x: 0.0 if key == "d1" else x, id="a gradient of 0"),
        pytest.param(lambda key, x: math.nan if key == "value" else x, id="a value refused without a reason"),
        pytest.param(lambda key, x: 1.5 * x if key == "d10" else x, id="a second derivative that is half as large again"),
    ],
)
def test_planted_faults_are_found(change: Change, monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = (Node("x0", "value"), Node("x1", "value"), Node("n0", "exp", ("x0",)), Node("n1", "mul", ("n0", "x1")))
    case = Case(nodes, {"x0": 1.0, "x1": 2.0})
    assert not check(case, random.Random(1), Counter())
    right = cases.numbers_of

    def wrong(*given: Any, **options: Any) -> dict[str, float]:
        return {key: change(key, x) for key, x in right(*given, **options).items()}

    monkeypatch.setattr(cases, "numbers_of", wrong)
    assert check(case, random.Random(1), Counter())


def test_a_number_where_the_limit_is_another_is_found() -> None:
    """The slope of `sqrt(x)**2` is 1; an engine that answered 0 at 0 would be wrong."""
    case = Case((Node("x0", "value"), Node("n0", "sqrt", ("x0",)), Node("n1", "square", ("n0",))), {"x0": 0.0})
    found = {"value": 0.0, "d0": 0.0}
    assert cases.beside(case, found, {"x0": 1.0}, Counter())
    assert not cases.beside(case, {**found, "d0": math.nan}, {"x0": 1.0}, Counter())


def case(operations: list[tuple[Any, ...]], **inputs: float) -> Case:
    return Case((*(Node(name, "value") for name in inputs), *(Node(i, op, tuple(args)) for i, op, *args in operations)), inputs)


@pytest.mark.parametrize(
    "right",
    [
        # The exponent is 2.0000000000000004 in doubles: the second derivative at 0 is 0, and its limit is 2.
        pytest.param(
            case([("t", "tanh", "b"), ("y", "atanh", "t"), ("p", "pow", "x", "y")], x=0.0, b=2.0),
            id="a jump of a power at zero",
        ),
        # 6.66 units in the last place of 1e16 are nearly two periods of tan.
        pytest.param(
            case(
                [("s", "add", "x", "y"), ("t", "tan", "s"), ("r", "leaky_relu", "t"), ("a", "atan2", "r", "r")],
                x=-1e16,
                y=2.776525572566426,
            ),
            id="a period",
        ),
        # The sum of adjoints (b + a) - a loses digits of b, although y - y is exactly 0.
        pytest.param(
            case(
                [
                    *(("l", "log1p", "x"), ("g", "gelu", "l"), ("y", "reciprocal", "g"), ("z", "sub", "y", "y")),
                    *(("w", "add", "z", -1.6476618622045303), ("a", "atan2", "y", "w")),
                ],
                x=-0.0010964701366718117,
            ),
            id="a difference of adjoints",
        ),
    ],
)
def test_what_doubles_cannot_know_is_no_fault(right: Case) -> None:
    for seed in range(5):
        assert not check(right, random.Random(seed), Counter(), runs=16)
