"""A picture of a fit: data, curve and bands, and the residuals below."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from app.engine.interruption import Checkpoint, never
from app.pictures.canvas import (
    BLUE,
    INK,
    VERMILLION,
    Floats,
    Format,
    check_drawable,
    grid_lines,
    printable,
    render,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_PARAMETERS = 4
"""More parameters are not in the title."""


@dataclass(frozen=True, slots=True)
class FittedCurve:
    """The curve on a grid, with its bands; NaN where there is none.

    Attributes:
        x: the grid, ascending, shape (points,).
        value: the curve.
        confidence: the ends of the band for the curve, shape (points, 2).
        prediction: the ends of the band for a further observation, shape (points, 2).
    """

    x: Floats
    value: Floats
    confidence: Floats
    prediction: Floats


@dataclass(frozen=True, slots=True)
class FitPicture:
    """What a picture of a fit shows.

    Attributes:
        x: the column of data on the horizontal axis, shape (rows,); the fitted values if there is no curve.
        observed: the target.
        residuals: observed minus fitted.
        sigma: the standard deviation of each row; None where it is not known.
        curve: None where the data have several columns, so that there is no curve to draw: then observed is drawn against
            fitted.
        x_name: what is on the horizontal axis.
        x_is_row: whether that is the number of the row.
        y_name: what is on the vertical axis.
        parameters: the fitted numbers with their standard errors, by name; NaN for an error that does not exist.
        r_squared: NaN if it does not exist.
        deviation: the residual standard deviation; NaN if it does not exist.
        level: the probability that the bands cover.
        converged: whether the search reached a minimum.
    """

    x: Floats
    observed: Floats
    residuals: Floats
    sigma: Floats | None
    curve: FittedCurve | None
    x_name: str
    x_is_row: bool
    y_name: str
    parameters: dict[str, tuple[float, float]]
    r_squared: float
    deviation: float
    level: float
    converged: bool


def fit_picture(fit: FitPicture, form: Format, *, checkpoint: Checkpoint = never) -> bytes:
    """Return a picture of a fit. Raises NotDrawable."""
    check_drawable(fit.x, fit.observed, fit.residuals)
    title, parameters = _title(fit), _parameters(fit)
    x_name, y_name = printable(fit.x_name), printable(fit.y_name)

    def paint(figure: "Figure") -> None:
        from matplotlib.ticker import MaxNLocator

        space = 0.08 if fit.curve is not None else 0.32
        grid = figure.add_gridspec(2, 1, height_ratios=[3, 1], left=0.13, right=0.97, top=0.89, bottom=0.1, hspace=space)
        axes = figure.add_subplot(grid[0])
        axes.set_title(f"{title}\n{parameters}" if parameters else title)
        axes.set_ylabel(y_name)
        if fit.curve is None:
            _paint_against(axes, fit)
            below = figure.add_subplot(grid[1])
            axes.set_xlabel(x_name)
        else:
            _paint_curve(axes, fit, fit.curve)
            below = figure.add_subplot(grid[1], sharex=axes)
            axes.tick_params(labelbottom=False)
        axes.legend()
        grid_lines(axes)
        below.axhline(0.0, color=INK, linewidth=1.0)
        below.vlines(fit.x, 0.0, fit.residuals, color=VERMILLION, linewidth=0.8)
        below.plot(fit.x, fit.residuals, "o", color=VERMILLION, markersize=_marker_size(fit))
        below.set_ylabel("residual")
        below.set_xlabel(x_name)
        if fit.x_is_row:
            below.xaxis.set_major_locator(MaxNLocator(integer=True))
        grid_lines(below)

    return render(paint, form, description=f"{title}; {parameters}", checkpoint=checkpoint)


def _title(fit: FitPicture) -> str:
    parts = [] if np.isnan(fit.r_squared) else [f"R² = {_rounded_down(fit.r_squared)}"]
    if np.isfinite(fit.deviation):
        parts.append(f"residual standard deviation {fit.deviation:.4g}")
    title = f"Fit of {printable(fit.y_name)}: {', '.join(parts) or f'{len(fit.x):,} rows'}"
    return title if fit.converged else f"{title} (not converged)"


def _rounded_down(share: float) -> str:
    """R squared with as many nines as it has and two digits more; only what is exactly 1 is 1."""
    if not 0.0 < share < 1.0:
        return f"{share:.4g}"
    digits = min(2 + int(-np.log10(1.0 - share)), 12)
    return f"{np.floor(share * 10.0**digits) / 10.0**digits:.{digits}f}"


def _parameters(fit: FitPicture) -> str:
    if len(fit.parameters) > MAX_PARAMETERS:
        return f"{len(fit.parameters)} parameters, {len(fit.x):,} rows"
    texts = []
    for name, (number, error) in fit.parameters.items():
        after = f" ± {error:.2g}" if np.isfinite(error) else ""
        texts.append(f"{printable(name, 20)} = {number:.5g}{after}")
    return ", ".join(texts).replace("-", "−")


def _marker_size(fit: FitPicture) -> float:
    return 4.5 if len(fit.x) <= 300 else 2.0


def _paint_curve(axes: "Axes", fit: FitPicture, curve: FittedCurve) -> None:
    """Data, curve and bands. A band that leaves the picture does not stretch it."""
    level = f"{100.0 * fit.level:g} %"
    if np.isfinite(curve.prediction).any():
        axes.fill_between(curve.x, *curve.prediction.T, color=BLUE, alpha=0.13, linewidth=0, label=f"{level} prediction band")
        axes.plot(curve.x, curve.prediction, ":", color=BLUE, linewidth=0.9)
    if np.isfinite(curve.confidence).any():
        axes.fill_between(curve.x, *curve.confidence.T, color=BLUE, alpha=0.3, linewidth=0, label=f"{level} confidence band")
    axes.plot(curve.x, curve.value, color=BLUE, linewidth=1.8, label="curve")
    _paint_data(axes, fit)
    shown = np.concatenate([fit.observed, fit.observed - fit.residuals])
    low, high = float(shown.min()), float(shown.max())
    room = (high - low) or abs(high) or 1.0
    bottom, top = axes.get_ylim()
    axes.set_ylim(max(bottom, low - room), min(top, high + room))


def _paint_against(axes: "Axes", fit: FitPicture) -> None:
    """Observed against fitted, which are equal on a line."""
    ends = [min(fit.x.min(), fit.observed.min()), max(fit.x.max(), fit.observed.max())]
    axes.plot(ends, ends, color=BLUE, linewidth=1.5, label="observed = fitted")
    _paint_data(axes, fit)


def _paint_data(axes: "Axes", fit: FitPicture) -> None:
    style: dict[str, Any] = {"color": INK, "markersize": _marker_size(fit), "label": f"data ({len(fit.x):,} rows)"}
    if fit.sigma is None:
        axes.plot(fit.x, fit.observed, "o", **style)
    else:
        axes.errorbar(fit.x, fit.observed, yerr=fit.sigma, fmt="o", elinewidth=0.8, capsize=2.0, **style)
