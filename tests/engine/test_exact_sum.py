"""Sums and means against `math.fsum` and exact fractions."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.engine.exact_sum import ExactSums, rounded
from tests.rows import for_each

numbers = st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=40)


def sums(*rows: list[float]) -> ExactSums:
    found = ExactSums(len(rows))
    found.add(np.array(rows))
    return found


@given(numbers)
def test_sum_is_rounded_once(terms: list[float]) -> None:
    exact = sum(map(Fraction, terms))
    try:
        expected = float(exact)
    except OverflowError:
        expected = math.inf if exact > 0 else -math.inf
    assert sums(terms).sums()[0] == expected


@given(numbers, st.integers(0, 40))
def test_sums_can_be_joined(terms: list[float], cut: int) -> None:
    one, other = sums(terms[:cut]), sums(terms[cut:])
    one.join(other)
    assert one.sums().tobytes() == sums(terms).sums().tobytes() and one.means().tobytes() == sums(terms).means().tobytes()


@given(numbers)
def test_mean_is_rounded_once(terms: list[float]) -> None:
    exact = sum(map(Fraction, terms)) / len(terms)
    assert sums(terms).means()[0] == float(exact)


@for_each(
    ("terms", "expected"),
    [
        ([1e100, 1.0, -1e100], 1.0),
        ([0.1] * 10, 1.0),
        ([1e308, 1e308, -1e308], 1e308),
        ([1.7e308, 1.7e308], math.inf),
        ([-1.7e308, -1.7e308], -math.inf),
        ([5e-324] * 3, 1.5e-323),
        ([-5e-324, 2.2250738585072014e-308], 2.225073858507201e-308),
        ([1.0, 2.0**-53], 1.0),
        ([1.0, 2.0**-53, 5e-324], 1.0 + 2.0**-52),
        ([math.inf, -1e308], math.inf),
        ([-math.inf, 1.0], -math.inf),
        ([-0.0], 0.0),
    ],
)
def test_sums(terms: list[float], expected: float) -> None:
    assert sums(terms).sums()[0] == expected


@pytest.mark.parametrize("terms", [[math.inf, -math.inf], [math.nan, 1.0], [math.inf, math.nan]])
def test_what_has_no_sum_is_nan(terms: list[float]) -> None:
    assert math.isnan(sums(terms).sums()[0])


def test_sum_depends_neither_on_the_order_nor_on_the_blocks() -> None:
    rng = np.random.default_rng(1)
    terms = rng.normal(size=7) * 10.0 ** rng.integers(-200, 200, 7)
    expected = math.fsum(terms)
    for order in itertools.islice(itertools.permutations(terms), 0, 5040, 7):
        found = ExactSums(1)
        found.add(np.array([order[:3]]))
        found.add(np.array([order[3:]]))
        assert found.sums()[0] == expected


def test_mean_counts_the_terms_of_all_blocks() -> None:
    terms = np.random.default_rng(2).normal(size=90)
    found = ExactSums(1)
    for block in np.split(terms, [10, 40]):
        found.add(block[None, :])
    assert found.means()[0] == float(sum(map(Fraction, terms.tolist())) / len(terms))


def test_each_row_has_its_sum() -> None:
    found = sums([1.0, 2.0], [1e100, -1e100], [math.inf, 1.0], [0.25, -0.5])
    assert found.sums().tolist() == [3.0, 0.0, math.inf, -0.25]
    assert found.means().tolist() == [1.5, 0.0, math.inf, -0.125]


def test_of_nothing() -> None:
    assert ExactSums(1).sums()[0] == 0.0
    assert math.isnan(ExactSums(1).means()[0])


def test_a_million_terms() -> None:
    terms = np.random.default_rng(0).normal(size=10**6) * 1e10
    found = ExactSums(1)
    for block in np.split(terms, 50):
        found.add(block[None, :])
    assert found.sums()[0] == math.fsum(terms)


@given(numbers, st.integers(0, 40))
def test_totals_of_blocks_add_up(terms: list[float], cut: int) -> None:
    parts = [sums(part).totals()[0] for part in (terms[:cut], terms[cut:])]
    assert rounded(sum(parts)) == sums(terms).sums()[0]
    assert rounded(sum(parts), len(terms)) == sums(terms).means()[0]


def test_totals_beyond_doubles_and_of_nothing() -> None:
    one = 2**1074  # in units of the smallest double
    assert rounded(one << 1024) == math.inf and rounded(-(one << 1024)) == -math.inf
    assert rounded(one << 1024, 2) == 2.0**1023
    assert math.isnan(rounded(0, 0))
