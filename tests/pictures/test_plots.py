"""Pictures by Matplotlib: the same bytes on every run, and what they show against the numbers."""

import io
import threading
import warnings
from typing import Any

import numpy as np
import pytest
from PIL import Image

from app.pictures.canvas import NotDrawable, percent, printable
from app.pictures.fit import FitPicture, FittedCurve, fit_picture
from app.pictures.networks import Boundary, boundary_picture, history_picture
from tests.pictures.svg import HOSTILE, assert_on_a_scale, markers, read, texts

X = np.linspace(0.0, 3.0, 9)


def fit_of(**changes: Any) -> FitPicture:
    """A fit of a line."""
    grid = np.linspace(0.0, 3.0, 50)
    band = np.column_stack([2 * grid - 0.1, 2 * grid + 0.1])
    residuals = 0.05 * np.sin(7.0 * X)
    fields: dict[str, Any] = {
        "x": X,
        "observed": 2.0 * X + residuals,
        "residuals": residuals,
        "sigma": None,
        "curve": FittedCurve(grid, 2 * grid, band, band * 1.1),
        "x_name": "x",
        "x_is_row": False,
        "y_name": "y",
        "parameters": {"a": (2.0, 0.01)},
        "r_squared": 0.99987,
        "deviation": 0.05,
        "level": 0.95,
        "converged": True,
    }
    return FitPicture(**{**fields, **changes})


def boundary(outputs: int = 1) -> Boundary:
    """A boundary along a diagonal, with seven points."""
    line = np.linspace(-1.0, 1.0, 20)
    x, y = np.meshgrid(line, line)
    scores = (x + y)[:, :, None] if outputs == 1 else np.stack([x, y, -x - y], axis=2)
    points = np.array([[-0.8, -0.3], [-0.5, -0.2], [-0.2, -0.7], [0.1, 0.4], [0.3, 0.2], [0.6, 0.9], [0.9, 0.5]])
    targets = np.array([-1.0] * 3 + [1.0] * 4) if outputs == 1 else np.array([0.0, 1.0, 2.0, 0.0, 1.0, 2.0, 0.0])
    return Boundary(line, line, scores, points, targets, 6 / 7)


def test_a_fit_shows_data_residuals_and_numbers() -> None:
    fit = fit_of(sigma=np.full(9, 0.05))
    root = read(fit_picture(fit, "svg"))
    shown = texts(root)
    assert "Fit of y: R² = 0.99987, residual standard deviation 0.05" in shown and "a = 2 ± 0.01" in shown
    assert {"95 % confidence band", "95 % prediction band", "curve", "data (9 rows)", "residual", "x", "y"} <= set(shown)
    groups = [g for g in root.iter() if len([u for u in g if u.tag.endswith("}use")]) == 9]
    places = [
        np.array([[float(u.get("x", "nan")), float(u.get("y", "nan"))] for u in g if u.tag.endswith("}use")]) for g in groups
    ]
    data, residuals = places[0] if len(places) == 2 else places[-2], places[-1]
    assert_on_a_scale(data[:, 0], fit.x)
    assert_on_a_scale(data[:, 1], fit.observed)
    assert_on_a_scale(residuals[:, 0], fit.x)
    assert_on_a_scale(residuals[:, 1], fit.residuals)


def test_a_png_has_its_size_and_no_date() -> None:
    content = fit_picture(fit_of(curve=None, x=2.0 * X, x_name="fitted"), "png")
    image = Image.open(io.BytesIO(content))
    assert (image.format, image.size) == ("PNG", (1200, 900)) and set(image.info) <= {"dpi"}
    image.load()
    colours = image.convert("RGB").getcolors(1 << 21)
    assert colours is not None and len(colours) > 20 and {(255, 255, 255), (31, 35, 40)} <= {c for _, c in colours}


@pytest.mark.parametrize("name", HOSTILE)
def test_names_are_escaped_and_no_mathematics(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a character that the font does not have
        root = read(fit_picture(fit_of(x_name=name, y_name=name, parameters={name: (1.0, np.nan)}), "svg"))
    shown = texts(root)
    assert shown.count(printable(name)) == 2
    assert f"{printable(name, 20)} = 1".replace("-", "−") in shown
    assert any(text.startswith(f"Fit of {printable(name)}: ") for text in shown)


def test_a_boundary_shows_points_and_accuracy() -> None:
    shown = boundary()
    root = read(boundary_picture(shown, "svg"))
    assert "Decision boundary, accuracy 85.71 % of 7 points" in texts(root)
    assert {"target −1", "target 1", "score 0", "score", "input 0", "input 1"} <= set(texts(root))
    for count, side in ((3, -1.0), (4, 1.0)):
        places = markers(root, count)
        assert shown.targets is not None
        for k in range(2):
            assert_on_a_scale(places[:, k], shown.points[shown.targets == side][:, k])


def test_classes_are_in_the_legend() -> None:
    assert {"class 0", "class 1", "class 2"} <= set(texts(read(boundary_picture(boundary(3), "svg"))))


def test_a_history_shows_its_parts_and_the_accuracy() -> None:
    steps = list(range(0, 100, 10))
    loss = np.exp(-0.08 * np.array(steps))
    columns = {"loss": loss, "data_loss": 0.9 * loss, "accuracy": np.linspace(0.5, 0.999, 10)}
    shown = texts(read(history_picture(steps, columns, "svg")))
    assert "Step 90: loss 0.0007466, accuracy 99.9 %" in shown
    assert {"loss", "data loss", "loss (logarithmic)", "accuracy in %", "step"} <= set(shown)
    assert "regularization loss" not in shown


def test_threads_and_settings_of_the_process_make_no_difference() -> None:
    import matplotlib

    fit = fit_of()
    alone, found = fit_picture(fit, "svg"), list[bytes]()
    with matplotlib.rc_context({"font.size": 30.0, "text.parse_math": True, "svg.hashsalt": "other"}):
        before = dict(matplotlib.rcParams)
        threads = [threading.Thread(target=lambda: found.append(fit_picture(fit, "svg"))) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert dict(matplotlib.rcParams) == before
    assert found == [alone] * 2


SHARES = [(1.0, "100 %"), (0.99999, "99.99 %"), (0.0, "0 %"), (0.5, "50 %"), (2e-5, "0.01 %")]


@pytest.mark.parametrize(("share", "text"), SHARES)
def test_only_everything_is_100_percent(share: float, text: str) -> None:
    assert percent(share) == text


@pytest.mark.parametrize("number", [1e200, -1e200, np.inf])
def test_numbers_beyond_any_scale_are_refused(number: float) -> None:
    with pytest.raises(NotDrawable):
        history_picture([0, 1], {"loss": np.array([1.0, number])}, "svg")


@pytest.mark.parametrize("numbers", [[1e100, -1e100], [5e-324, 1e-320], [np.nan, 1.0]])
def test_extreme_numbers_are_drawn(numbers: list[float]) -> None:
    column = np.array(numbers)
    with np.errstate(all="ignore"):
        read(history_picture([0, 1], {"loss": column}, "svg"))
