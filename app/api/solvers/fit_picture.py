"""The picture of a fit, drawn from a request of POST /v1/fit."""

from dataclasses import replace

import numpy as np

from app.api.errors import drawable
from app.api.expressions.work import check_drawn, reserve_picture
from app.api.solvers import fit as fits
from app.api.solvers.fit import FitRequest
from app.pictures.canvas import Format
from app.pictures.fit import FitPicture, FittedCurve, fit_picture
from app.service.execution import Job
from app.solvers.curve import Floats
from app.solvers.fit import Fit
from app.solvers.fit_problem import FitProblem

CURVE_POINTS = 400
SECONDS_TO_DRAW = 2.0
"""What a search leaves of its time for its picture, where a picture takes its turn among others."""


def draw_fit(request: FitRequest, job: Job, form: Format) -> bytes:
    """The picture of a fit. Raises Problem."""
    given = fits.prepare(request, job)
    rows = max((len(column) for column in given.data.values() if isinstance(column, np.ndarray)), default=1)
    check_drawn(job, rows, "rows", ("data",))
    reserve_picture(job, rows + CURVE_POINTS)
    axis = _axis(given)
    grid = None if axis is None else _grid(given, axis, rows)
    predict = {axis: grid} if axis and grid is not None else {} if axis == "" else None
    own = given.predict_sigma if isinstance(given.predict_sigma, float | int) else None
    asked = replace(given, predict=predict, predict_sigma=own, predict_gaps=True, derived={}, influence=False, intervals="none")
    found = fits.solve(request, asked, job, seconds_to_answer=SECONDS_TO_DRAW)
    with drawable("data"):
        return fit_picture(_picture(given, found, axis, grid), form, checkpoint=job.check)


def _axis(given: FitProblem) -> str | None:
    """The column on the horizontal axis: "" for the rows where no column varies, None where several do."""
    names = [name for name, c in given.data.items() if isinstance(c, np.ndarray) and name in given.graph.index]
    return None if len(names) > 1 else names[0] if names else ""


def _grid(given: FitProblem, axis: str, rows: int) -> Floats:
    """Where the curve is drawn: over the data, and over the rows of `predict`."""
    if axis == "":
        return np.array([0.0, rows - 1.0])
    columns = [np.asarray(given.data[axis], np.float64)]
    if given.predict and axis in given.predict:
        columns.append(np.atleast_1d(np.asarray(given.predict[axis], np.float64)))
    x = np.concatenate(columns)
    with np.errstate(all="ignore"):
        return np.linspace(x.min(), x.max(), CURVE_POINTS) if x.size else x


def _picture(given: FitProblem, found: Fit, axis: str | None, grid: Floats | None) -> FitPicture:
    observed = _column(given, given.target, len(found.residuals))
    curve = None
    if grid is not None and found.predictions is not None:
        bands, n = found.predictions, len(grid)
        value, *ends = (np.broadcast_to(a, (n, *a.shape[1:])) for a in (bands.value, bands.confidence, bands.prediction))
        curve = FittedCurve(grid, _finite(value), _finite(ends[0]), _finite(ends[1]))
    fitted = observed - found.residuals
    if axis is None:
        x = fitted
    else:
        x = np.asarray(given.data[axis], np.float64) if axis else np.arange(len(observed), dtype=np.float64)
    return FitPicture(
        x=x,
        observed=observed,
        residuals=found.residuals,
        sigma=None if given.sigma is None else _column(given, given.sigma, len(observed)),
        curve=curve,
        x_name="fitted" if axis is None else axis or "row",
        x_is_row=axis == "",
        y_name=given.target if isinstance(given.target, str) else "target",
        parameters={name: (number, found.standard_errors[name]) for name, number in found.parameters.items()},
        r_squared=found.quality.r_squared,
        deviation=found.quality.residual_standard_deviation,
        level=given.level,
        converged=found.converged,
    )


def _column(given: FitProblem, numbers: object, rows: int) -> Floats:
    """A column that is given by name or by itself, one number per row."""
    found = given.data[numbers] if isinstance(numbers, str) else numbers
    return np.array(np.broadcast_to(np.asarray(found, np.float64), rows))


def _finite(numbers: Floats) -> Floats:
    """The numbers with NaN, a gap, for each that cannot be drawn."""
    return np.where(np.abs(numbers) < 1e99, numbers, np.nan)
