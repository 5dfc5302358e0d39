"""What follows from a fit: derived quantities, and the curve at further rows with its confidence and prediction bands."""

import math
from dataclasses import dataclass

import numpy as np

from app.engine import transforms
from app.engine.binding import Column
from app.engine.errors import NonFinite, ShapeMismatch, UnknownNode, quote
from app.solvers.curve import Curve, Floats
from app.solvers.errors import InvalidArgument, MissingData
from app.solvers.fit_problem import FitProblem
from app.solvers.least_squares import LeastSquares, Solution
from app.solvers.statistics import Spread


@dataclass(frozen=True, slots=True)
class Derived:
    """A quantity that follows from the parameters, with its standard error."""

    value: float
    standard_error: float


@dataclass(frozen=True, slots=True)
class Predictions:
    """The curve at further rows, with the ends of its confidence and prediction bands, each of shape (rows, 2)."""

    value: Floats
    confidence: Floats
    prediction: Floats


def derived_quantities(given: FitProblem, free: list[str], point: dict[str, float], found: Spread) -> dict[str, Derived]:
    """The derived quantities: errors have places below `derived`."""
    quantities = {}
    constants = {name: float(column) for name, column in given.data.items() if isinstance(column, float | int)}
    for key, graph in given.derived.items():
        known = {**constants, **point}
        for name in graph.leaves:
            if name not in known and graph.nodes[graph.index[name]].data is None:
                what = "is a list; only columns that are one number can be used" if name in given.data else "is not known"
                raise MissingData(f"{quote(name)} {what} in a derived quantity", ("derived", key))
        inputs = {name: number for name, number in known.items() if name in graph.leaves}
        result = transforms.backward(graph, inputs, [name for name in free if name in graph.index])
        gradient = np.array([[result.gradients[name] if name in graph.index else 0.0 for name in free]])
        quantities[key] = Derived(float(result.value), float(found.deviation(gradient)[0]))
        if not math.isfinite(quantities[key].value):
            raise NonFinite(f"the derived quantity is {quantities[key].value} at the fitted parameters", ("derived", key))
    return quantities


def predictions(given: FitProblem, problem: LeastSquares, minimum: Solution, found: Spread, t: float) -> Predictions | None:
    """The curve and its bands at the rows of `predict`, by the exact gradient of the curve (the delta method)."""
    if given.predict is None:
        return None
    curve = problem.curve
    rows, columns = 1, dict[str, Column]()
    for name, column in given.predict.items():
        columns[name] = float(column) if isinstance(column, float | int) else np.asarray(column, np.float64)
        rows = rows if isinstance(column, float | int) else len(column)
    lists = {name: column for name, column in columns.items() if isinstance(column, np.ndarray)}
    for name, column in lists.items():
        if len(column) != rows:
            raise ShapeMismatch(f"{quote(name)} has {len(column)} rows, and another column has {rows}", ("predict", name))
    if rows == 0:
        raise ShapeMismatch("there are no rows to predict", ("predict",))
    used: dict[str, Column] = {name: column for name, column in curve.columns.items() if isinstance(column, float)}
    missing = [name for name in curve.columns if name not in used and name not in columns]
    if missing:
        raise MissingData(f"the column {quote(missing[0])} of the expression is missing", ("predict",))
    for name in columns:
        if name in curve.names or (name not in given.graph.leaves and name not in given.data):
            what = "is a parameter" if name in curve.names else "is neither in the data nor in the expression"
            raise UnknownNode(f"{quote(name)} {what}", ("predict", name))
    used |= {name: column for name, column in columns.items() if name in given.graph.leaves and name not in curve.names}
    values, slopes = Curve(given.graph, curve.names, used, rows, curve.checkpoint).at(minimum.point)
    if not np.isfinite(values).all() and not given.predict_gaps:
        row = int(np.argmin(np.isfinite(values)))
        raise NonFinite(f"the curve is {values[row]} at row {row} (counted from 0)", ("predict",))
    deviation = found.deviation(slopes)
    noise = _noise(given, found, rows)
    half = t * np.column_stack([deviation, np.sqrt(deviation**2 + noise)])
    ends = values[:, None, None] + half[:, :, None] * np.array([-1.0, 1.0])
    return Predictions(values, ends[:, 0], ends[:, 1])


def _noise(given: FitProblem, found: Spread, rows: int) -> Floats:
    """The variance of an observation at each row of `predict`; NaN where it is not known."""
    own = given.predict_sigma
    if own is not None:
        sigma = np.asarray(own, np.float64)
        if np.ndim(sigma) and len(sigma) != rows:
            raise ShapeMismatch(f"the list has {len(sigma)} entries for {rows} rows", ("predict", "sigma"))
        if not np.all(sigma > 0.0):
            raise InvalidArgument("sigma must be positive", ("predict", "sigma"))
        return np.array(np.broadcast_to(found.variance * sigma**2, rows))
    single = given.sigma if given.sigma is not None else given.weights
    if single is None:
        return np.full(rows, found.variance)
    single = given.data.get(single) if isinstance(single, str) else single
    if not isinstance(single, float | int):
        return np.full(rows, np.nan)
    return np.full(rows, found.variance * (float(single) ** 2 if given.sigma is not None else 1.0 / float(single)))
