"""Pictures of networks: the decision boundary with the data, and the history of a training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from app.engine.interruption import Checkpoint, never
from app.pictures.canvas import (
    BLUE,
    COLOURS,
    GREEN,
    INK,
    MARKERS,
    VERMILLION,
    Floats,
    Format,
    check_drawable,
    grid_lines,
    percent,
    render,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BELOW, ABOVE = "#e8a673", "#73b3d6"
"""The smallest and the largest score: vermillion and blue, lighter than the data."""
REGION = 0.3
"""How strong the colour of a class is behind the data."""
MAX_CLASSES = len(COLOURS)
"""More classes share colours, and are not in the legend."""


@dataclass(frozen=True, slots=True)
class Boundary:
    """What a picture of a decision boundary shows.

    Attributes:
        xs: the first inputs of the grid, ascending, shape (columns,).
        ys: the second, shape (rows,).
        scores: the model's scores there, shape (rows, columns, outputs).
        points: the data, shape (points, 2); perhaps none.
        targets: their targets, shape (points,); None where there are none, or where they are not classes.
        accuracy: the share of the points that the model classifies as their targets; None without classes.
    """

    xs: Floats
    ys: Floats
    scores: Floats
    points: Floats
    targets: Floats | None
    accuracy: float | None


def boundary_picture(boundary: Boundary, form: Format, *, checkpoint: Checkpoint = never) -> bytes:
    """Return a picture of a decision boundary: the regions, the boundary, and the data over it. Raises NotDrawable."""
    check_drawable(boundary.xs, boundary.ys, boundary.scores, boundary.points)
    title = "Decision boundary"
    if boundary.accuracy is not None:
        title += f", accuracy {percent(boundary.accuracy)} of {len(boundary.points):,} points"

    def paint(figure: "Figure") -> None:
        axes = figure.add_axes((0.11, 0.1, 0.73 if boundary.scores.shape[2] == 1 else 0.86, 0.83))
        axes.set_title(title)
        axes.set_xlabel("input 0")
        axes.set_ylabel("input 1")
        with np.errstate(all="ignore"):
            (_paint_score if boundary.scores.shape[2] == 1 else _paint_classes)(figure, axes, boundary)
        _paint_points(axes, boundary)
        axes.set_xlim(boundary.xs[0], boundary.xs[-1])
        axes.set_ylim(boundary.ys[0], boundary.ys[-1])
        handles, labels = axes.get_legend_handles_labels()
        if handles:
            axes.legend(handles, labels, loc="upper right")

    return render(paint, form, description=title, checkpoint=checkpoint)


def _extent(boundary: Boundary) -> tuple[float, float, float, float]:
    """The outer edges of the grid's cells."""
    half = [(line[-1] - line[0]) / (2 * max(len(line) - 1, 1)) for line in (boundary.xs, boundary.ys)]
    xs, ys = boundary.xs, boundary.ys
    return xs[0] - half[0], xs[-1] + half[0], ys[0] - half[1], ys[-1] + half[1]


def _paint_regions(axes: "Axes", boundary: Boundary, colours: npt.NDArray[np.uint8]) -> None:
    """The grid in these colours, shape (rows, columns, 3)."""
    extent = _extent(boundary)
    axes.imshow(colours, extent=extent, origin="lower", aspect="auto", interpolation="nearest")


def _paint_score(figure: "Figure", axes: "Axes", boundary: Boundary) -> None:
    """One output: its score from vermillion below 0 to blue above, and the line where it is 0."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LinearSegmentedColormap, Normalize
    from matplotlib.lines import Line2D

    scores = boundary.scores[:, :, 0]
    largest = float(np.abs(scores).max()) or 1.0
    scale = ScalarMappable(Normalize(-largest, largest), LinearSegmentedColormap.from_list("score", [BELOW, "#ffffff", ABOVE]))
    _paint_regions(axes, boundary, scale.to_rgba(scores, bytes=True)[:, :, :3])
    figure.colorbar(scale, cax=figure.add_axes((0.87, 0.17, 0.025, 0.69)), label="score")
    if scores.min() < 0.0 < scores.max():
        axes.contour(boundary.xs, boundary.ys, scores, levels=[0.0], colors=[INK], linewidths=1.6)
        axes.add_line(Line2D([], [], color=INK, linewidth=1.6, label="score 0"))


def _paint_classes(figure: "Figure", axes: "Axes", boundary: Boundary) -> None:
    """Several outputs: the class with the largest score, and the lines between the classes."""
    from matplotlib.colors import to_rgba_array

    best = boundary.scores.argmax(axis=2)
    colours = to_rgba_array(COLOURS)[:, :3]
    tints = np.round(255.0 * (1.0 - REGION * (1.0 - colours))).astype(np.uint8)
    _paint_regions(axes, boundary, tints[best % MAX_CLASSES])
    classes = set() if boundary.targets is None else set(boundary.targets.tolist())
    for k in np.unique(best).tolist():
        if k not in classes and k < MAX_CLASSES:
            axes.fill([], [], color=COLOURS[k], alpha=REGION, label=f"class {k}")
        others = np.delete(boundary.scores, k, axis=2).max(axis=2)
        lead = boundary.scores[:, :, k] - others
        if lead.min() < 0.0 < lead.max():
            axes.contour(boundary.xs, boundary.ys, lead, levels=[0.0], colors=[INK], linewidths=1.0)


def _paint_points(axes: "Axes", boundary: Boundary) -> None:
    points, targets = boundary.points, boundary.targets
    if not len(points):
        return
    if targets is None:
        axes.scatter(points[:, 0], points[:, 1], s=24, c="#ffffff", edgecolors=INK, linewidths=0.8, label="data")
        return
    one_output = boundary.scores.shape[2] == 1
    classes = np.unique(targets).tolist()
    for k, target in enumerate(classes):
        # With one output, vermillion is the side below 0, and blue that above.
        style = (
            int(target > min(classes)) if one_output and len(classes) > 1 else int(target > 0) if one_output else int(target)
        )
        name = f"target {target:g}".replace("-", "−") if one_output else f"class {target:g}"
        of_class = points[targets == target]
        axes.scatter(
            of_class[:, 0],
            of_class[:, 1],
            s=30,
            c=COLOURS[style % MAX_CLASSES],
            marker=MARKERS[style % len(MARKERS)],
            edgecolors="#ffffff",
            linewidths=0.8,
            label=name if k < MAX_CLASSES else None,
        )


LINES = {
    "loss": (BLUE, "-", 2.0, "loss"),
    "data_loss": (VERMILLION, "--", 1.5, "data loss"),
    "regularization_loss": (GREEN, ":", 2.0, "regularization loss"),
}
"""For each part of the loss its colour, style, width and name."""

LOG_RATIO = 100.0
"""Losses are drawn on a logarithmic scale where the largest is so many times the smallest."""


def history_picture(
    steps: Sequence[int], columns: Mapping[str, Floats], form: Format, *, checkpoint: Checkpoint = never
) -> bytes:
    """Return a picture of a training's history: the loss, its parts and, below, the accuracy, by step.

    `columns` has `loss` and perhaps `data_loss`, `regularization_loss` and `accuracy`, one number per step; NaN is a gap.
    Raises NotDrawable.
    """
    check_drawable(*columns.values())
    accuracy = columns.get("accuracy")
    title = f"Step {steps[-1]:,}: loss {columns['loss'][-1]:.4g}"
    if accuracy is not None and np.isfinite(accuracy[-1]):
        title += f", accuracy {percent(float(accuracy[-1]))}"

    def paint(figure: "Figure") -> None:
        from matplotlib.ticker import LogFormatter, MaxNLocator

        count = 1 if accuracy is None else 2
        grid = figure.add_gridspec(
            count, 1, height_ratios=[2, 1][:count], left=0.13, right=0.97, top=0.93, bottom=0.1, hspace=0.08
        )
        axes = figure.add_subplot(grid[0])
        axes.set_title(title)
        marker = "." if len(steps) <= 30 else ""
        shown = [name for name in LINES if name in columns]
        if not np.any(columns.get("regularization_loss", 1.0)):
            shown = ["loss"]  # the data loss is the same
        for name in shown:
            colour, style, width, label = LINES[name]
            axes.plot(steps, columns[name], style, color=colour, linewidth=width, label=label, marker=marker)
        axes.set_ylabel("loss")
        losses = np.concatenate([columns[name] for name in shown])
        positive = losses[losses > 0.0]
        if positive.size and not (losses <= 0.0).any() and positive.max() > LOG_RATIO * positive.min():
            axes.set_yscale("log")
            axes.set_ylabel("loss (logarithmic)")
            axes.yaxis.set_major_formatter(LogFormatter())
        axes.legend()
        grid_lines(axes)
        last = axes
        if accuracy is not None:
            axes.tick_params(labelbottom=False)
            last = figure.add_subplot(grid[1], sharex=axes)
            last.plot(steps, 100.0 * accuracy, color=BLUE, linewidth=1.8, marker=marker)
            last.set_ylabel("accuracy in %")
            grid_lines(last)
        last.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
        last.set_xlabel("step")

    return render(paint, form, description=title, checkpoint=checkpoint)
