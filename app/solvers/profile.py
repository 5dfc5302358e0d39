"""Intervals by profile likelihood: how far a parameter may move if all others follow it.

A parameter is held at a number and the others are fitted again. Its interval is where the sum that is minimised exceeds its
minimum by no more than the variance times the square of the t quantile, as in R's `confint` for `nls`: D. Bates, D. Watts,
Nonlinear Regression Analysis and Its Applications (1988), section 6.1.2.
"""

import math

import numpy as np
import scipy

from app.solvers.curve import Curve, Floats
from app.solvers.least_squares import LeastSquares, Solution, Watch, cost_of, least_squares
from app.solvers.statistics import Spread

STEPS = 60
"""How many steps are taken before a side counts as one that is never crossed."""
MOST_ITERATIONS = 100
"""The most iterations of a fit with one parameter held."""
FIRST_STEP = 0.25
"""The first step, in units of the distance at which a straight line would be crossed."""
NEAR_ZERO = 0.02
"""Steps towards zero become shorter, but no shorter than this, in the same units."""
GROWTH_PER_STEP = 0.35
"""Steps become shorter where the growth in one of them is more than this part of the limit."""
TOLERANCE = 1e-9
"""The relative precision of an end of an interval."""


def profile_interval(
    problem: LeastSquares, minimum: Solution, spread: Spread, k: int, quantile: float, watch: Watch
) -> tuple[float, float]:
    """The ends of the interval of parameter k.

    An end is NaN where a bound comes first, where the sum never grows enough, and where there is no time to find it.
    """
    if not spread.known[k] or not spread.variance > 0.0:
        return math.nan, math.nan
    limit = math.sqrt(spread.variance) * quantile
    lower, upper = (_Profile(problem, minimum, spread, k, side, watch).end(limit) for side in (-1.0, 1.0))
    return lower, upper


class _Profile:
    """One side of the square root of how much the sum grows as parameter k moves, the others being fitted again.

    Each fit starts from the closest one before, so that they stay in one valley.
    """

    def __init__(self, problem: LeastSquares, minimum: Solution, spread: Spread, k: int, side: float, watch: Watch) -> None:
        self.problem = problem
        self.minimum = minimum
        self.k = k
        self.side = side
        self.watch = watch
        self.others = np.arange(len(minimum.point)) != k
        row = spread.factor[k]
        self.distance = float(np.linalg.norm(row))  # at which the growth would be 1 if the curve were a straight line
        self.direction = spread.factor[self.others] @ row / self.distance**2
        self.fits: dict[float, Floats] = {float(minimum.point[k]): minimum.point[self.others]}
        self.growths: dict[float, float] = {float(minimum.point[k]): 0.0}

    def growth(self, number: float) -> float:
        """The square root of the growth of the sum with the parameter at a number; infinite where there is no curve."""
        if number not in self.growths:
            cost = self._cost(number)
            self.growths[number] = math.sqrt(max(cost - self.minimum.cost, 0.0)) if math.isfinite(cost) else math.inf
        return self.growths[number]

    def _cost(self, number: float) -> float:
        problem, others, curve = self.problem, self.others, self.problem.curve
        if not others.any():
            return cost_of(problem, curve.residuals(np.array([number]), problem.target))
        names = tuple(name for name, other in zip(curve.names, others, strict=True) if other)
        held = {**curve.columns, curve.names[self.k]: number}
        rest = Curve(curve.graph, names, held, curve.rows, curve.checkpoint)
        lower, upper = problem.lower[others], problem.upper[others]
        part = LeastSquares(rest, problem.target, problem.weights, lower, upper, problem.loss, problem.scale)
        begin = min(self.fits, key=lambda known: abs(known - number))
        guesses = [self.fits[begin] + self.direction * (number - begin), self.fits[begin]]
        costs = []
        for k, guess in enumerate(guesses):
            guesses[k] = np.clip(guess, lower, upper)
            values, slopes = rest.at(guesses[k])
            cost = cost_of(problem, problem.target - values)
            costs.append(cost if np.isfinite(cost) and np.isfinite(slopes).all() else math.inf)
        if min(costs) == math.inf:
            return math.inf
        found = least_squares(
            part, guesses[int(np.argmin(costs))], MOST_ITERATIONS, Watch(None, self.watch.out_of_time), polish=False
        )
        curve.evaluations += rest.evaluations
        self.fits[number] = found.point
        return found.cost

    def end(self, limit: float) -> float:
        """The number at which the growth is `limit`, or NaN."""
        inside = float(self.minimum.point[self.k])
        bound = float((self.problem.upper if self.side > 0.0 else self.problem.lower)[self.k])
        step = FIRST_STEP * self.distance * limit
        for _ in range(STEPS):
            if self.watch.out_of_time():
                return math.nan
            # Zero may be a pole of the curve, with another branch behind it that does not belong to the interval.
            step = min(step, max(0.5 * abs(inside), NEAR_ZERO * self.distance * limit))
            outside = inside + self.side * step
            if self.side * (outside - bound) >= 0.0:
                outside = bound
            before, growth = self.growth(inside), self.growth(outside)
            if growth - before > GROWTH_PER_STEP * limit and abs(outside - inside) > 1e-6 * self.distance * limit:
                step = 0.5 * abs(outside - inside)
                continue
            if growth >= limit:
                return self._crossing(inside, outside, limit)
            if outside == bound or outside == inside:
                return math.nan
            if growth - before < 0.5 * GROWTH_PER_STEP * limit:
                step *= 2.0
            inside = outside
        return math.nan

    def _crossing(self, inside: float, outside: float, limit: float) -> float:
        """Where the growth is `limit`, between two numbers."""

        def excess(number: float) -> float:
            return min(self.growth(number), 1e3 * limit) - limit

        tolerance = max(TOLERANCE * self.distance * limit, 1e-300)
        return float(scipy.optimize.brentq(excess, inside, outside, xtol=tolerance, rtol=1e-14))
