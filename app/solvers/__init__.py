"""Answers that need derivatives, over `app.engine.transforms`: minima, fits, propagation of uncertainty. No HTTP.

from app.engine import parse
from app.solvers import FitProblem, MinimizeProblem, Parameter, fit, measured, minimize, propagate

minimize(MinimizeProblem(parse("(1 - x)**2 + 100*(y - x**2)**2"), {"x": -1.2, "y": 1.0})).point
fit(FitProblem(parse("a*exp(-b*x)"), {"x": x, "y": y}, "y", {"a": Parameter(1.0), "b": Parameter(0.5)})).parameters
propagate(parse("V/I"), {"V": measured(4.999, 0.0032), "I": measured(0.019661, 0.0000095)}).results["output"].interval
"""

from app.solvers.distributions import Estimate, bounded, from_readings, measured
from app.solvers.errors import InvalidArgument, MissingData, NotConverged
from app.solvers.fit import Fit, fit
from app.solvers.fit_problem import FitProblem, Parameter
from app.solvers.minimize import Constraint, MinimizeOptions, MinimizeProblem, Minimum, minimize
from app.solvers.monte_carlo import Sampling
from app.solvers.propagate import PropagateOptions, Propagation, propagate

__all__ = [
    "Constraint",
    "Estimate",
    "Fit",
    "FitProblem",
    "InvalidArgument",
    "MinimizeOptions",
    "MinimizeProblem",
    "Minimum",
    "MissingData",
    "NotConverged",
    "Parameter",
    "PropagateOptions",
    "Propagation",
    "Sampling",
    "bounded",
    "fit",
    "from_readings",
    "measured",
    "minimize",
    "propagate",
]
