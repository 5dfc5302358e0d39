"""A small part of the comparison of random expressions with mpmath; `python -m tests.fuzz --count 300000` is the whole."""

import random
from collections import Counter

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


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("a rule that is off by 100 units in the last place", lambda key, x: x * (1 + 1.2e-14) if key == "d0" else x),
        ("a number where the truth is infinite", lambda key, x: 0.0 if key == "d1" else x),
        ("a refusal without a reason", lambda key, x: float("nan") if key == "value" else x),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_planted_faults_are_found(text: str, wrong: object, monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case(
        (Node("x0", "value"), Node("x1", "value"), Node("n0", "exp", ("x0",)), Node("n1", "mul", ("n0", "x1"))),
        {"x0": 1.0, "x1": 2.0},
    )
    assert not check(case, random.Random(1), Counter())
    right = cases.numbers_of
    monkeypatch.setattr(cases, "numbers_of", lambda *given: {key: wrong(key, x) for key, x in right(*given).items()})  # type: ignore[operator]
    assert check(case, random.Random(1), Counter())
