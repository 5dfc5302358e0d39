"""A small part of the comparison of random expressions with mpmath; `python -m tests.fuzz --count 300000` is the whole."""

import math
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from app.engine.graph import Node
from tests.fuzz import cases
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
