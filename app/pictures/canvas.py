"""What pictures by Matplotlib share: one style, one font, and bytes that depend on nothing but what is drawn.

Only Matplotlib's object interface is used. Its settings, its cache of fonts and its parser of text belong to the whole process,
so one picture is drawn at a time. It is imported when it is first needed, since that takes as long as several pictures.
"""

import io
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from app.engine.interruption import Checkpoint, never

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = npt.NDArray[np.float64]
Format = Literal["png", "svg"]
Paint = Callable[["Figure"], None]

INCHES = (8.0, 6.0)
DOTS_PER_INCH = 150
LARGEST = 1e100
"""Larger numbers overflow where Matplotlib computes its scales."""

BLUE, VERMILLION, GREEN, INK = "#0072b2", "#d55e00", "#007a5a", "#1f2328"
COLOURS = (VERMILLION, BLUE, GREEN, "#cc79a7", "#e69f00", "#56b4e9", "#8a6d00", "#444444")
"""The palette of Okabe and Ito, two of them darker to be legible on white: people who see few colours can tell them apart."""
MARKERS = "^osDvPX*"
"""Each class has a shape as well as a colour."""

STYLE: dict[str, Any] = {
    "font.family": ["DejaVu Sans"],  # which comes with Matplotlib
    "font.size": 12.0,
    "axes.titlesize": 13.0,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.formatter.use_mathtext": False,
    "legend.framealpha": 0.9,
    "legend.fontsize": 10.5,
    "text.parse_math": False,  # a name such as $x$ is a name
    "text.usetex": False,
    "svg.fonttype": "none",  # text stays text, for search and for screen readers
    "svg.hashsalt": "autodiff-http",
    "path.simplify": True,
    "agg.path.chunksize": 1000,  # other threads run between the parts of a long line
}

_alone = threading.Lock()


class NotDrawable(Exception):
    """A number is too large for a scale."""


def render(paint: Paint, form: Format, *, description: str, checkpoint: Checkpoint = never) -> bytes:
    """Return what `paint` draws on a figure, as a PNG of 1200 by 900 pixels or as SVG.

    `description` is for those who cannot see an SVG. `checkpoint` is called now and then, and may raise to end the work; once
    the figure is being written it is not called any more.
    """
    from matplotlib import rc_context, rcParamsDefault
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    file = io.BytesIO()
    # Not what a matplotlibrc of the user or of this folder says.
    style: Any = {name: value for name, value in rcParamsDefault.items() if not name.startswith("backend")} | STYLE
    with _turn(checkpoint), rc_context(style):
        # Places are given by hand: finding them would draw all texts twice more.
        figure = Figure(figsize=INCHES, dpi=DOTS_PER_INCH)
        try:
            paint(figure)
            checkpoint()
            canvas: Any = FigureCanvasAgg(figure) if form == "png" else FigureCanvasSVG(figure)  # they have no types
            if form == "png":
                canvas.draw()
                pixels = np.asarray(canvas.buffer_rgba())[:, :, :3].copy()
            else:
                metadata = {"Date": None, "Creator": None, "Format": None, "Type": None, "Title": printable(description, 300)}
                canvas.print_svg(file, metadata=metadata)
        finally:
            _take_apart(figure)
    return _png(pixels) if form == "png" else file.getvalue()


def _take_apart(figure: "Figure") -> None:
    """Remove the references of a figure's parts to each other.

    They go round in circles: 3 MB for each picture would wait for all garbage to be collected, which is rare, and stops all
    other requests.
    """
    lines: list[Any] = [axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)]
    ticks = [tick for axis in lines for tick in (*axis.majorTicks, *axis.minorTicks)]
    parts: list[Any] = [*figure.findobj(), *lines, *ticks, figure.canvas, figure]
    for part in parts:
        vars(part).clear()


def _png(pixels: npt.NDArray[np.uint8]) -> bytes:
    """Red, green and blue, shape (rows, columns, 3), as a PNG.

    zlib lets other threads run, and takes half the time of Pillow, which does not.
    """
    rows, columns, _ = pixels.shape
    lines = np.zeros((rows, 1 + 3 * columns), np.uint8)  # each line begins with a 0: it is not filtered
    lines[:, 1:] = pixels.reshape(rows, -1)
    header = struct.pack(">IIBBBBB", columns, rows, 8, 2, 0, 0, 0)
    metre = struct.pack(">IIB", round(DOTS_PER_INCH / 0.0254), round(DOTS_PER_INCH / 0.0254), 1)
    chunks = ((b"IHDR", header), (b"pHYs", metre), (b"IDAT", zlib.compress(lines.data, 6)), (b"IEND", b""))
    parts = (struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@contextmanager
def _turn(checkpoint: Checkpoint) -> Iterator[None]:
    """Wait until no other picture is being drawn."""
    while not _alone.acquire(timeout=0.05):
        checkpoint()
    try:
        checkpoint()
        yield
    finally:
        _alone.release()


def printable(text: str, limit: int = 40) -> str:
    """A text as it is drawn: cut where it is long, and with U+FFFD for what the font does not have."""
    cut = text if len(text) <= limit else text[: limit - 1] + "…"
    characters = _characters()
    return "".join(c if c.isprintable() and ord(c) in characters else "\ufffd" for c in cut)


@cache
def _characters() -> frozenset[int]:
    """The characters that the font has."""
    from matplotlib import get_data_path
    from matplotlib.ft2font import FT2Font

    return frozenset(FT2Font(str(Path(get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"))).get_charmap())


def check_drawable(*columns: Floats) -> None:
    """Raise NotDrawable where a number is too large. NaN is a gap."""
    for column in columns:
        if column.size and np.nanmax(np.abs(np.nan_to_num(column, nan=0.0))) > LARGEST:
            raise NotDrawable(f"a number beyond {LARGEST:g} cannot be drawn; scale the data")


def percent(share: float) -> str:
    """A share in percent; only what is everything is 100 %."""
    return f"{100.0 * share:.4g} %" if share in (0.0, 1.0) else f"{min(max(100.0 * share, 0.01), 99.99):.4g} %"


def grid_lines(axes: "Axes") -> None:
    """Faint lines behind the data."""
    axes.grid(True, color="#d0d7de", linewidth=0.6)
    axes.set_axisbelow(True)


def load() -> None:
    """Import Matplotlib and draw something, so that no request waits for it."""
    render(lambda figure: None, "png", description="nothing")
    render(lambda figure: None, "svg", description="nothing")
