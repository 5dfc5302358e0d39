"""The polynomials of special functions, against mpmath."""

from collections.abc import Callable, Sequence
from typing import Any

import mpmath
import pytest
from mpmath import mp, mpf

from app.formats.special_functions import ERF, ERFC, LGAMMA_1, LGAMMA_2

Function = Callable[[Any], Any]

POLYNOMIALS: dict[str, tuple[Sequence[float], Function, Function, tuple[float, float]]] = {
    "ERF": (ERF, lambda x: 2 * x * x / mpf("0.49") - 1, lambda x: mpmath.erf(x) / x, (1e-6, 0.7)),
    "ERFC": (
        ERFC,
        lambda x: (x - 3) / (x + 3),
        lambda x: (1 + 2 * x) * mpmath.exp(x * x) * mpmath.erfc(x),
        (0.0, 25.0),
    ),
    "LGAMMA_1": (LGAMMA_1, lambda s: 2 * s, lambda s: mpmath.loggamma(1 + s) / s, (-0.4999, 0.5)),
    "LGAMMA_2": (LGAMMA_2, lambda s: 2 * s, lambda s: mpmath.loggamma(2 + s) / s, (-0.4999, 0.5)),
}
"""Coefficients from the constant on, the variable of the polynomial, the function, and where they agree."""


@pytest.mark.parametrize("case", POLYNOMIALS.values(), ids=POLYNOMIALS)
def test_polynomial_is_the_function_to_double_precision(
    case: tuple[Sequence[float], Function, Function, tuple[float, float]],
) -> None:
    coefficients, variable, function, (low, high) = case
    with mp.workdps(40):
        for k in range(201):
            x = mpf(low) + (mpf(high) - mpf(low)) * k / 200
            if x:
                found = mpmath.fsum(mpf(c) * variable(x) ** power for power, c in enumerate(coefficients))
                assert abs(found - function(x)) <= 4 * mpf(2) ** -53 * abs(function(x)), x
