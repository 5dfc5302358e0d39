"""What a fit says in words: how the search ended, and why some numbers do not exist."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from app.engine.errors import quote
from app.solvers.fit_problem import FitProblem
from app.solvers.least_squares import Solution
from app.solvers.statistics import Spread


@dataclass(frozen=True, slots=True)
class Search:
    """The best point of all starts, and how many starts there was no time for."""

    best: Solution
    skipped: int

    @property
    def converged(self) -> bool:
        """Whether the point is a minimum, and all starts were tried."""
        return self.best.converged and not self.skipped


def message_of(given: FitProblem, search: Search, found: Spread, names: Sequence[str], is_late: bool) -> str:
    """All sentences about a fit. `names` are those of the parameters that are not held at equal bounds."""
    return " ".join(
        [_ended(given, search, is_late), *_unknown(given, search, found, names), *_others(given, search, found, is_late)]
    )


def _ended(given: FitProblem, search: Search, is_late: bool) -> str:
    what = "sum of squares" if given.loss == "linear" else f"sum of the {given.loss} loss"
    if search.skipped:
        starts = f"{search.skipped:,} of the {given.starts:,} starts"
        return f"The time limit was reached before {starts}; this is the best of the others."
    if search.converged:
        return f"The {what} is at a minimum."
    if search.best.is_saddle:
        return f"The derivatives of the {what} are 0, but it is not at a minimum; try another start."
    if search.best.stopped:
        limit = "time limit" if is_late else "limit on iterations"
        return f"The search ended at the {limit}, before a minimum was reached; this is the best point so far."
    return "The search ended before a minimum was reached: no step makes the sum smaller; this is the best point so far."


def _unknown(given: FitProblem, search: Search, found: Spread, names: Sequence[str]) -> list[str]:
    """Why parameters have no standard errors."""
    minimum, parts = search.best, []
    for k, name in enumerate(names):
        if not minimum.free[k]:
            side = "lower" if minimum.point[k] <= given.parameters[name].lower else "upper"
            parts.append(f"{quote(name)} is at its {side} bound, so neither it nor what depends on it has a standard error.")
    if parts:
        parts.append("The other standard errors hold while it stays there.")
    held = [name for name in given.parameters if name not in names]
    if held:
        parts.append(f"Held at equal bounds: {', '.join(map(quote, held))}.")
    unknown = [name for k, name in enumerate(names) if minimum.free[k] and not found.known[k]]
    if unknown:
        listed = ", ".join(map(quote, unknown))
        parts.append(f"The data do not determine {listed}: the Jacobian is rank-deficient, so there are no standard errors.")
    if found.degrees_of_freedom <= 0 and not given.absolute_sigma:
        parts.append("There are as many parameters as rows, so there are no degrees of freedom, and no standard errors.")
    return parts


def _others(given: FitProblem, search: Search, found: Spread, is_late: bool) -> list[str]:
    """Why other numbers are null."""
    parts = []
    if given.intervals == "profile":
        if not search.converged:
            parts.append("Profile intervals exist only at a minimum.")
        elif found.variance == 0.0:
            parts.append("The fit is exact, so there are no profile intervals.")
        elif is_late:
            parts.append("The time limit was reached before all profile intervals were found.")
        else:
            parts.append("The end of a profile interval is null where a bound comes first or the sum never grows enough.")
    if given.influence and not search.converged:
        parts.append("The influence exists only at a minimum.")
    if given.loss != "linear":
        parts.append("AIC and BIC are not defined for this loss.")
    elif not np.any(search.best.residuals):
        parts.append("The fit is exact, so AIC and BIC are not defined.")
    if given.predict is not None and given.predict_sigma is None and _varies(given):
        parts.append("Prediction bands need `sigma` in `predict`, as the rows have a sigma or a weight each.")
    return parts


def _varies(given: FitProblem) -> bool:
    """Whether rows have a sigma or a weight each."""
    numbers = given.sigma if given.sigma is not None else given.weights
    numbers = given.data.get(numbers) if isinstance(numbers, str) else numbers
    return numbers is not None and not isinstance(numbers, float | int)
