"""Functions that NumPy lacks: against mpmath from the poles to far out, for a number and for an array."""

import math
from collections.abc import Callable
from typing import Any

import mpmath
import numba
import numpy as np
import pytest
from mpmath import mp, mpf

from app.engine import special, transforms
from app.engine.text import parse
from tests.rows import for_each

POLYGAMMA = [(special.digamma, 0), (special.trigamma, 1), (special.tetragamma, 2)]
FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)),
    "sech2": lambda x: mpmath.sech(x) ** 2,
    "normal_cdf": lambda x: mpmath.erfc(-x / mpmath.sqrt(2)) / 2,
    "normal_pdf": lambda x: mpmath.exp(-x * x / 2) / mpmath.sqrt(2 * mpmath.pi),
    "erf": mpmath.erf,
    "erfc": mpmath.erfc,
    "lgamma": lambda x: mpmath.re(mpmath.loggamma(x)),
    "digamma": mpmath.digamma,
    "trigamma": lambda x: mpmath.polygamma(1, x),
    "tetragamma": lambda x: mpmath.polygamma(2, x),
}


@pytest.mark.parametrize(("function", "order"), POLYGAMMA, ids=["digamma", "trigamma", "tetragamma"])
def test_polygamma_functions(function: Callable[[Any], Any], order: int) -> None:
    """On [-20, 100], near 0 and up to 1e15: to 4e-15, and where the function is steep, as beside the poles of the negative
    axis, to what two roundings of the argument make of it.
    """
    rng = np.random.default_rng(order)
    points = [
        *rng.uniform(-20.0, 0.0, 200),
        *rng.uniform(0.0, 3.0, 200),
        *rng.uniform(3.0, 100.0, 50),
        *10.0 ** rng.uniform(-15, 15, 100),
        *-(10.0 ** rng.uniform(-15, 0, 50)),
    ]
    found = function(np.array(points))
    with mp.workdps(40):
        for x, got in zip(points, found, strict=True):
            want, steepness = mpmath.polygamma(order, mpf(x)), mpmath.polygamma(order + 1, mpf(x))
            allowed = 4e-15 * abs(want) + 4.4e-16 * abs(x * steepness)
            assert abs(got - want) <= allowed, (x, got, mpmath.nstr(want, 17))
            assert abs(function(np.float64(x)) - want) <= allowed


@pytest.mark.parametrize("x", [0.3, 2.5, 40.0])
def test_highest_order_has_two_derivatives(x: float) -> None:
    found = transforms.hessian(parse("polygamma(100, x)"), {"x": x})
    with mp.workdps(40):
        want = [float(mpmath.polygamma(order, mpf(x))) for order in (100, 101, 102)]
    assert [found.value, found.gradients["x"], found.hessian["x"]["x"]] == pytest.approx(want, rel=1e-12)
    assert math.isnan(special.polygamma(103.0, x))


@pytest.mark.slow
@pytest.mark.parametrize("order", [0, 1, 2, 3, 4, 5, 7, 10, 20, 50, 100])
def test_polygamma_of_any_order(order: int) -> None:
    """As above, with one rounding more per order."""
    rng = np.random.default_rng(order)
    points = [
        *rng.uniform(-20.0, 0.0, 60),
        *rng.uniform(0.0, 3.0, 60),
        *rng.uniform(3.0, 100.0, 30),
        *10.0 ** rng.uniform(-2, 3, 30),
    ]
    found = special.polygamma(float(order), np.array(points))
    with mp.workdps(40):
        for x, got in zip(points, found, strict=True):
            want, steepness = mpmath.psi(order, mpf(x)), mpmath.psi(order + 1, mpf(x))
            if abs(want) > np.finfo(float).max:
                assert got == math.copysign(math.inf, want), x
                continue
            allowed = (4e-15 + 2e-16 * order) * abs(want) + 4.4e-16 * abs(x * steepness)
            assert abs(got - want) <= allowed, (x, got, mpmath.nstr(want, 17))


@for_each("order", [3, 4, 5, 10, 50, 100, 102])
def test_polygamma_at_large_numbers(order: int) -> None:
    """Down to the smallest normal values, where x**-(order + 1) is 0."""
    for digits in (3.1, 30.0, 60.0, 150.0, 220.0, 290.0, 305.0):
        x = 10.0 ** (digits / order)
        with mp.workdps(40):
            want = mpmath.psi(order, mpf(x))
        if 1e-305 < abs(want) < 1e300:
            assert abs(float(special.polygamma(float(order), np.float64(x))) - want) <= (4e-15 + 3e-16 * order) * abs(want), x


def test_polygamma_where_it_has_no_value() -> None:
    for order, x, want in [(3.0, -2.0, math.inf), (4.0, -2.0, math.nan), (3.5, 1.0, math.nan), (-1.0, 1.0, math.nan),
                           (103.0, 1.0, math.nan), (3.0, math.inf, 0.0), (3.0, -math.inf, math.nan),
                           (math.nan, 1.0, math.nan), (3.0, math.nan, math.nan), (3.0, 0.0, math.inf)]:  # fmt: skip
        np.testing.assert_equal(float(special.polygamma(order, np.float64(x))), want)
    np.testing.assert_array_equal(
        special.polygamma(np.array([1.0, 2.0]), np.ones(2)), special.polygamma(np.array([1.0, 2.0]), 1.0)
    )


@pytest.mark.parametrize("x", [-0.5004349510525127, -0.5039, -0.5041, -0.504083, -0.51])
def test_digamma_close_to_its_first_zero_on_the_negative_axis(x: float) -> None:
    """Where both terms of the reflection formula are small, their error is too, and the rounding of 1 - x is made good."""
    with mp.workdps(40):
        assert abs(float(special.digamma(np.float64(x))) - mpmath.digamma(mpf(x))) <= 3e-17


@for_each("name", FUNCTIONS)
def test_numbers_arrays_and_compiled_code_agree(name: str) -> None:
    """All ways in which a rule calls it give the same; infinities and NaN warn only as `errstate` allows."""
    function = getattr(special, name)
    points = np.array([0.3, 1.7, 2.9, 7.5, 30.0, 0.01])
    with mp.workdps(40):
        want = [float(FUNCTIONS[name](mpf(x))) for x in points]
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(function(points), want, rtol=1e-13)
        np.testing.assert_allclose([function(np.float64(x)) for x in points], want, rtol=1e-13)
        function(np.array([0.0, -1.0, -2.5, 1e300, -1e300, np.inf, -np.inf, np.nan]))


def test_compiled_where_and_polygammas_agree_with_numpy() -> None:
    """In compiled code `where` takes one number, and the others run the same code as for arrays."""

    @numba.njit(error_model="numpy")
    def compiled(x: float) -> tuple[float, float, float]:
        return special.where(x > 0.0, x, 2.0), special.digamma(x), special.sigmoid(x)

    for x in (-2.5, -0.3, 0.2, 1.4616321449683622, 3.0, 50.0):
        with np.errstate(all="ignore"):
            want = [float(special.where(x > 0.0, x, 2.0)), float(special.digamma(np.float64(x))), float(special.sigmoid(x))]
        np.testing.assert_allclose(compiled(x), want, rtol=2e-15, atol=1e-17)


@pytest.mark.parametrize("pole", [0.0, -1.0, -2.0, -170.0])
def test_poles(pole: float) -> None:
    x = np.array([pole])
    with np.errstate(all="ignore"):
        assert special.lgamma(x)[0] == math.inf
        assert math.isnan(special.digamma(x)[0])
        assert special.trigamma(x)[0] == math.inf
