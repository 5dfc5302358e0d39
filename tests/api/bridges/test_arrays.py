"""Shapes are broadcast as NumPy broadcasts them."""

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.bridges.tesseract_arrays import Shape, broadcast, fits
from app.api.bridges.tesseract_models import TesseractApply
from app.engine.interruption import ITEMS_BETWEEN
from app.service.bodies import parse

shapes = st.lists(st.integers(0, 4), max_size=4).map(tuple)


@given(st.lists(shapes, max_size=4))
def test_broadcast_is_that_of_numpy(given_shapes: list[Shape]) -> None:
    named = {str(k): shape for k, shape in enumerate(given_shapes)}
    try:
        expected = np.broadcast_shapes(*given_shapes)
    except ValueError:
        with pytest.raises(ValueError):
            broadcast(named)
    else:
        assert broadcast(named) == expected


@given(shapes, shapes)
def test_fitting_is_what_numpy_broadcasts_to(shape: Shape, whole: Shape) -> None:
    try:
        np.broadcast_to(np.zeros(shape), whole)
        expected = True
    except ValueError:
        expected = False
    assert fits(shape, whole) == expected


def test_error_names_the_first_shape_that_does_not_fit() -> None:
    with pytest.raises(ValueError, match="^c$"):
        broadcast({"a": (3,), "b": (2, 1), "c": (4,), "d": (5,)})


def test_time_is_looked_at_while_nested_lists_are_read() -> None:
    """At every level, and twice for the numbers: decoding alone looks at it far less often."""
    lists = 20 * ITEMS_BETWEEN
    body = orjson.dumps({"inputs": {"x": [[[1, 2]]] * lists}})
    looked = 0

    def look() -> None:
        nonlocal looked
        looked += 1

    assert parse(body, TesseractApply, look).inputs["x"].shape == (lists, 1, 2)
    levels = (1 + 1 + 20 + 20) + 2 * 40
    assert looked > levels
