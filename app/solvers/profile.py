"""Intervals by profile likelihood: how far a parameter may move if all others follow it.

A parameter is held at a number and the others are fitted again. Its interval is where the sum that is minimised exceeds its
minimum by no more than the variance times the square of the t quantile, as in R's `confint` for `nls`: D. Bates, D. Watts,
Nonlinear Regression Analysis and Its Applications (1988), section 6.1.2.
"""

import math

import numpy as np
from scipy import optimize

from app.solvers.curve import Curve, Floats
from app.solvers.least_squares import LeastSquares, Solution, cost_of, least_squares
from app.solvers.statistics import Spread

DOUBLINGS = 20
"""How often the distance is doubled before a side counts as one that is never crossed."""
TOLERANCE = 1e-9
"""The relative precision of an end of an interval."""


def profile_interval(problem: LeastSquares, minimum: Solution, spread: Spread, k: int, quantile: float) -> tuple[float, float]:
    """The ends of the interval of parameter k. An end is NaN where a bound comes first, or the sum never grows enough."""
    if not spread.known[k] or math.isnan(spread.variance) or spread.variance == 0.0:
        return math.nan, math.nan
    profile = _Profile(problem, minimum, spread, k)
    limit = math.sqrt(spread.variance) * quantile
    return profile.end(-1.0, limit), profile.end(1.0, limit)


class _Profile:
    """The square root of how much the sum grows as parameter k moves, the others being fitted again."""

    def __init__(self, problem: LeastSquares, minimum: Solution, spread: Spread, k: int) -> None:
        self.problem = problem
        self.minimum = minimum
        self.k = k
        self.others = np.arange(len(minimum.point)) != k
        covariance = spread.factor @ spread.factor.T
        self.distance = math.sqrt(covariance[k, k])  # at which the growth would be 1 if the curve were a straight line
        self.direction = covariance[self.others, k] / covariance[k, k]
        self.near: list[tuple[float, Floats]] = [(float(minimum.point[k]), minimum.point[self.others])]

    def growth(self, number: float) -> float:
        """The square root of the growth of the sum with the parameter at a number; infinite where there is no curve."""
        if not self.others.any():
            residuals = self.problem.curve.residuals(np.array([number]), self.problem.target)
            cost = cost_of(self.problem, residuals)
        else:
            cost = self._fitted(number)
        return math.sqrt(max(cost - self.minimum.cost, 0.0)) if math.isfinite(cost) else math.inf

    def _fitted(self, number: float) -> float:
        problem, others = self.problem, self.others
        curve = problem.curve
        names = tuple(name for name, other in zip(curve.names, others, strict=True) if other)
        held = {**curve.columns, curve.names[self.k]: number}
        rest = Curve(curve.graph, names, held, curve.rows, curve.checkpoint)
        lower, upper = problem.lower[others], problem.upper[others]
        part = LeastSquares(rest, problem.target, problem.weights, lower, upper, problem.loss, problem.scale)
        start, known = min(self.near, key=lambda pair: abs(pair[0] - number))
        for guess in (known + self.direction * (number - start), known, self.minimum.point[others]):
            guess = np.clip(guess, lower, upper)
            values, slopes = rest.at(guess)
            if np.isfinite(values).all() and np.isfinite(slopes).all():
                found = least_squares(part, guess)
                curve.evaluations += rest.evaluations
                self.near.append((number, found.point))
                return found.cost
        return math.inf

    def end(self, side: float, limit: float) -> float:
        """The number on one side at which the growth is `limit`, or NaN."""
        best = float(self.minimum.point[self.k])
        bound = float((self.problem.upper if side > 0.0 else self.problem.lower)[self.k])
        inside, distance = best, self.distance * limit
        for _ in range(DOUBLINGS):
            outside = best + side * distance
            beyond = side * (outside - bound) >= 0.0
            outside = bound if beyond else outside
            growth = self.growth(outside)
            if growth >= limit:
                return self._crossing(inside, outside, limit)
            if beyond:
                return math.nan
            inside, distance = outside, 2.0 * distance
        return math.nan

    def _crossing(self, inside: float, outside: float, limit: float) -> float:
        """Where the growth is `limit`, between two numbers."""

        def excess(number: float) -> float:
            return min(self.growth(number), 1e3 * limit) - limit

        tolerance = TOLERANCE * max(abs(inside - outside), abs(outside) * 1e-3)
        return float(optimize.brentq(excess, inside, outside, xtol=max(tolerance, 1e-300), rtol=1e-14))
