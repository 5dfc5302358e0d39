"""What is known of an input: an estimate, its standard uncertainty, and the distribution that Monte Carlo draws it from.

`DISTRIBUTIONS` is the table of distributions that are given by a half-width, with their standard deviations and the way to
draw from them (JCGM 101:2008, 6.4).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from app.engine.errors import nearest, quote
from app.engine.tape import Floats
from app.solvers.errors import InvalidArgument

Draw = Callable[[np.random.Generator, int, float], Floats]


@dataclass(frozen=True, slots=True)
class Distribution:
    """A symmetric distribution on [-1, 1], to be scaled by a half-width.

    `deviation` is its standard deviation and `draw` draws from it, both given the number that is called `parameter`, if the
    distribution has any. It is between 0 and 1, or, if it `is_width`, between 0 and the half-width and given relative to that.
    """

    name: str
    deviation: Callable[[float], float]
    draw: Draw
    parameter: str | None = None
    is_width: bool = False


def _uniform(rng: np.random.Generator, count: int, _: float) -> Floats:
    return 2.0 * rng.random(count) - 1.0


def _triangular(rng: np.random.Generator, count: int, _: float) -> Floats:
    a, b = _pairs(rng, count)
    return a + b - 1.0


def _arcsine(rng: np.random.Generator, count: int, _: float) -> Floats:
    found: Floats = np.sin(2.0 * math.pi * rng.random(count))
    return found


def _trapezoidal(rng: np.random.Generator, count: int, beta: float) -> Floats:
    a, b = _pairs(rng, count)
    return (1.0 + beta) * a + (1.0 - beta) * b - 1.0


def _curvilinear_trapezoid(rng: np.random.Generator, count: int, inexactness: float) -> Floats:
    a, b = _pairs(rng, count)
    return (1.0 + inexactness * (1.0 - 2.0 * a)) * (2.0 * b - 1.0)


def _pairs(rng: np.random.Generator, count: int) -> tuple[Floats, Floats]:
    """Pairs of numbers from 0 to 1, one after the other, so that two halves of them are the same as all at once."""
    drawn = rng.random((count, 2))
    return drawn[:, 0], drawn[:, 1]


# fmt: off
DISTRIBUTIONS: dict[str, Distribution] = {row.name: row for row in (
    Distribution("uniform", lambda _: math.sqrt(1.0 / 3.0), _uniform),
    Distribution("triangular", lambda _: math.sqrt(1.0 / 6.0), _triangular),
    Distribution("arcsine", lambda _: math.sqrt(0.5), _arcsine),
    Distribution("trapezoidal", lambda beta: math.sqrt((1.0 + beta * beta) / 6.0), _trapezoidal, "beta"),
    Distribution("curvilinear_trapezoid", lambda d: math.sqrt(1.0 / 3.0 + d * d / 9.0), _curvilinear_trapezoid,
                 "half_width_uncertainty", is_width=True),
)}
# fmt: on


@dataclass(frozen=True, slots=True)
class Estimate:
    """An input that is not exact: use `measured`, `from_readings` or `bounded` to make one.

    `degrees_of_freedom` is infinite if the uncertainty itself is certain. Without a `distribution` the input is normal, or, if
    it has finite degrees of freedom, has a t-distribution. `half_width` and `parameter` are the distribution's.
    """

    value: float
    uncertainty: float
    degrees_of_freedom: float = math.inf
    distribution: Distribution | None = None
    half_width: float = 0.0
    parameter: float = 0.0

    @property
    def is_normal(self) -> bool:
        """Whether the input is normally distributed."""
        return self.distribution is None and math.isinf(self.degrees_of_freedom)

    def draw(self, rng: np.random.Generator, count: int) -> Floats:
        """Return `count` random numbers with this distribution. For a t-distribution see JCGM 101, 6.4.9.2."""
        if self.distribution is not None:
            deviations = self.half_width * self.distribution.draw(rng, count, self.parameter)
        elif math.isinf(self.degrees_of_freedom):
            deviations = self.uncertainty * rng.standard_normal(count)
        else:
            deviations = self.uncertainty * rng.standard_t(self.degrees_of_freedom, count)
        return self.value + deviations


def measured(value: float, uncertainty: float, degrees_of_freedom: float = math.inf) -> Estimate:
    """An estimate with its standard uncertainty, and the degrees of freedom of that.

    Raises: InvalidArgument, with the place "value", "u" or "dof".
    """
    _check_finite(value, "value")
    if not 0.0 <= uncertainty < math.inf:
        raise InvalidArgument(f"a standard uncertainty is a number from 0, this one is {uncertainty!r}", ("u",))
    if not degrees_of_freedom > 0.0:
        raise InvalidArgument(f"degrees of freedom are above 0, these are {degrees_of_freedom!r}", ("dof",))
    return Estimate(value, uncertainty, degrees_of_freedom)


def from_readings(readings: Sequence[float] | Floats) -> Estimate:
    """The mean of n readings with the standard uncertainty s/sqrt(n) and n - 1 degrees of freedom (JCGM 100, 4.2).

    Raises: InvalidArgument, with the place ("readings",) or ("readings", k).
    """
    numbers = np.asarray(readings, np.float64)
    n = len(numbers)
    if n < 2:
        found = "there is only one reading" if n else "there are no readings"
        detail = f"{found}; give at least 2, or a value and its standard uncertainty u"
        raise InvalidArgument(detail, ("readings",))
    if not np.isfinite(numbers).all():
        k = int(np.argmin(np.isfinite(numbers)))
        raise InvalidArgument(f"reading {k} is not a finite number", ("readings", k))
    scale = _power_of_two(float(np.max(np.abs(numbers))))
    scaled = numbers / scale  # so that no sum and no square overflows
    mean = math.fsum(scaled.tolist()) / n
    squares = math.fsum(((scaled - mean) ** 2).tolist())
    return Estimate(mean * scale, math.sqrt(squares / (n - 1) / n) * scale, float(n - 1))


def bounded(value: float, half_width: float, distribution: str, parameters: Mapping[str, float] | None = None) -> Estimate:
    """A quantity between `value` plus and minus `half_width`, with a distribution of the table.

    Of the `parameters`, "trapezoidal" needs `beta`, the ratio of the top to the base, and "curvilinear_trapezoid" needs
    `half_width_uncertainty`: each limit is inexact by plus or minus so much.

    Raises: InvalidArgument, with the place "value", "half_width", "distribution" or the parameter's name.
    """
    _check_finite(value, "value")
    if not 0.0 <= half_width < math.inf:
        raise InvalidArgument(f"a half-width is a number from 0, this one is {half_width!r}", ("half_width",))
    row = DISTRIBUTIONS.get(distribution)
    if row is None:
        hint = nearest(distribution, DISTRIBUTIONS) or f" There are {', '.join(DISTRIBUTIONS)}."
        raise InvalidArgument(f"there is no distribution {quote(distribution)}.{hint}", ("distribution",))
    parameters = parameters or {}
    for name in parameters:
        if name != row.parameter:
            raise InvalidArgument(f"the distribution {row.name} has no {quote(name)}", (name,))
    parameter = 0.0 if row.parameter is None else _parameter(row, row.parameter, half_width, parameters)
    return Estimate(value, half_width * row.deviation(parameter), distribution=row, half_width=half_width, parameter=parameter)


def _parameter(row: Distribution, name: str, half_width: float, parameters: Mapping[str, float]) -> float:
    """The parameter of a distribution, a width relative to the half-width."""
    if name not in parameters:
        raise InvalidArgument(f"the distribution {row.name} needs {quote(name)}", (name,))
    number = parameters[name]
    most = half_width if row.is_width else 1.0
    if not 0.0 <= number <= most:
        what = "the half-width" if row.is_width else "1"
        raise InvalidArgument(f"{quote(name)} is between 0 and {what}, this one is {number!r}", (name,))
    return number / (half_width or 1.0) if row.is_width else number


def _check_finite(number: float, name: str) -> None:
    if not math.isfinite(number):
        raise InvalidArgument(f"{name} is not a finite number", (name,))


def _power_of_two(number: float) -> float:
    """A power of two of the size of a number, 1 for 0."""
    return math.ldexp(1.0, min(math.frexp(number)[1], 1023)) if number else 1.0
