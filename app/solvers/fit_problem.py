"""What is given to a fit, and the problem of least squares that it is. Everything that can be wrong with it is found here."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from app.engine.binding import Column
from app.engine.errors import Place, ShapeMismatch, UnknownNode, quote
from app.engine.graph import Graph
from app.engine.interruption import Checkpoint
from app.engine.primitives import LEAF
from app.solvers.curve import Curve, Floats
from app.solvers.errors import InvalidArgument, MissingData, check_not_constant
from app.solvers.least_squares import LeastSquares, Loss

Numbers = float | Sequence[float] | Floats


@dataclass(frozen=True, slots=True)
class Parameter:
    """Where the search for a parameter starts, and its bounds. With equal bounds it is held there."""

    start: float
    lower: float = -math.inf
    upper: float = math.inf


@dataclass(frozen=True, slots=True)
class FitProblem:
    """A curve, the data, and what to say of the fit.

    `data` has columns by name, lists of one length or numbers that are the same in each row. `target` and `sigma` are the name
    of a column or numbers. `weights` multiply the squares of the residuals; `sigma` is the same as weights 1/sigma**2, and with
    `absolute_sigma` these are known and not only relative. `predict` has the columns of further rows, and `predict_sigma` their
    sigma; with `predict_gaps`, the curve need not be finite there. `derived` are expressions of the parameters and of columns
    that are one number.
    """

    graph: Graph
    data: Mapping[str, Numbers]
    target: str | Numbers
    parameters: Mapping[str, Parameter]
    sigma: str | Numbers | None = None
    absolute_sigma: bool = False
    weights: str | Numbers | None = None
    loss: Loss = "linear"
    loss_scale: float = 1.0
    level: float = 0.95
    intervals: Literal["wald", "profile", "none"] = "wald"
    derived: Mapping[str, Graph] = field(default_factory=dict)
    predict: Mapping[str, Numbers] | None = None
    predict_sigma: Numbers | None = None
    predict_gaps: bool = False
    influence: bool = False
    starts: int = 1
    seed: int = 0
    max_iterations: int | None = None


def problem_of(given: FitProblem, checkpoint: Checkpoint) -> tuple[LeastSquares, list[str], dict[str, float]]:
    """The problem, the names of the parameters that are searched for, and the numbers of those that are held."""
    _check_names(given)
    columns, rows = _columns(given)
    fixed = {name: p.lower for name, p in given.parameters.items() if p.lower == p.upper}
    free = [name for name in given.parameters if name not in fixed]
    if not free:
        raise InvalidArgument("all parameters are held by equal bounds, so there is nothing to fit", ("parameters",))
    target = _column(given, given.target, "target", rows)
    weights = _weights(given, rows)
    count = int(np.count_nonzero(weights))
    if count < len(free):
        of = " with a weight" if count < rows else ""
        detail = f"there are {len(free)} parameters and {count} row{'s' if count != 1 else ''}{of}; give at least as many rows"
        raise ShapeMismatch(detail, ("data",))
    used = {name: column for name, column in columns.items() if name in given.graph.index}
    curve = Curve(given.graph, tuple(free), {**used, **fixed}, rows, checkpoint)
    bounds = np.array([[given.parameters[n].lower, given.parameters[n].upper] for n in free]).reshape(len(free), 2)
    problem = LeastSquares(curve, target, weights, bounds[:, 0], bounds[:, 1], given.loss, given.loss_scale)
    return problem, free, fixed


def _check_names(given: FitProblem) -> None:
    """Raise an error for a name that stands for nothing, or for two things, and for bounds that cannot be."""
    graph = given.graph
    by_name = [name for name in (given.target, given.sigma, given.weights) if isinstance(name, str)]
    for place, names in (("parameters", given.parameters), ("data", given.data)):
        for name in names:
            if name not in by_name:
                check_not_constant(name, graph, (place, name))
    for name in given.data:
        if name in graph.index and graph.nodes[graph.index[name]].op != LEAF:
            raise InvalidArgument(
                f"{quote(name)} is computed by the expression, so it cannot be a column; write what it is computed from alone",
                ("data", name),
            )
    for name, parameter in given.parameters.items():
        if name in given.data:
            raise InvalidArgument(f"{quote(name)} is a parameter and a column of data", ("parameters", name))
        if name not in graph.index or name not in graph.leaves:
            raise UnknownNode(f"the expression has no name {quote(name)}", ("parameters", name))
        if parameter.lower > parameter.upper:
            detail = f"the lower bound {parameter.lower!r} is above the upper bound {parameter.upper!r}"
            raise InvalidArgument(detail, ("parameters", name))
        if parameter.start < parameter.lower:
            detail = f"the start {parameter.start!r} is below the lower bound {parameter.lower!r}"
            raise InvalidArgument(detail, ("parameters", name))
        if parameter.start > parameter.upper:
            detail = f"the start {parameter.start!r} is above the upper bound {parameter.upper!r}"
            raise InvalidArgument(detail, ("parameters", name))
    if not given.parameters:
        raise InvalidArgument("there is no parameter to fit", ("parameters",))
    for name in graph.leaves:
        position = graph.index[name]
        if name not in given.data and name not in given.parameters and graph.nodes[position].data is None:
            raise MissingData(f"{quote(name)} is neither a column of data nor a parameter", ("nodes", position))


def _columns(given: FitProblem) -> tuple[dict[str, Column], int]:
    """The columns of data, and the number of rows."""
    lists = {name: column for name, column in given.data.items() if not isinstance(column, float | int)}
    if not isinstance(given.target, str | float | int):
        rows, first = len(given.target), "the target"
    elif isinstance(given.target, str) and given.target in lists:
        rows, first = len(lists[given.target]), quote(given.target)
    else:
        if isinstance(given.target, str) and given.target not in given.data:
            raise UnknownNode(f"the data have no column {quote(given.target)}", ("target",))
        raise InvalidArgument("the target must be a column of data with one number per row", ("target",))
    if rows == 0:
        raise ShapeMismatch("there are no rows of data", ("data",))
    for name, entries in lists.items():
        if len(entries) != rows:
            raise ShapeMismatch(f"{quote(name)} has {len(entries)} rows and {first} has {rows}", ("data", name))
    columns: dict[str, Column] = {}
    for name, column in given.data.items():
        columns[name] = float(column) if isinstance(column, float | int) else np.asarray(column, np.float64)
    return columns, rows


def _column(given: FitProblem, numbers: str | Numbers, field: str, rows: int) -> Floats:
    """The numbers of a column that is given by name or by itself, one per row."""
    if isinstance(numbers, str):
        if numbers not in given.data:
            raise UnknownNode(f"the data have no column {quote(numbers)}", (field,))
        numbers = given.data[numbers]
    if not isinstance(numbers, float | int) and len(numbers) != rows:
        raise ShapeMismatch(f"the list has {len(numbers)} entries for {rows} rows", (field,))
    return np.array(np.broadcast_to(np.asarray(numbers, np.float64), rows))


def _weights(given: FitProblem, rows: int) -> Floats:
    """The weight of each row."""
    if given.sigma is not None and given.weights is not None:
        raise InvalidArgument("give sigma or weights, not both", ("weights",))
    if given.sigma is not None:
        sigma = _column(given, given.sigma, "sigma", rows)
        if not (sigma > 0.0).all():
            row = int(np.argmin(sigma))
            raise InvalidArgument(f"sigma must be positive; that of row {row} is not", _entry(given.sigma, "sigma", row))
        with np.errstate(all="ignore"):
            weights = 1.0 / sigma**2
        if not (np.isfinite(weights) & (weights > 0.0)).all():
            raise InvalidArgument("sigma must be between 1e-150 and 1e150", ("sigma",))
        return np.asarray(weights)
    if given.weights is None:
        return np.ones(rows)
    weights = _column(given, given.weights, "weights", rows)
    if not (weights >= 0.0).all():
        row = int(np.argmin(weights))
        raise InvalidArgument(f"weights must not be negative; that of row {row} is", _entry(given.weights, "weights", row))
    return weights


def _entry(numbers: str | Numbers, field: str, row: int) -> Place:
    """The place of an entry of sigma or weights, or of the field if it is no list."""
    return (field,) if isinstance(numbers, str | float | int) else (field, row)
