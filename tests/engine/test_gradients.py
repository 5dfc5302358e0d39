"""The gradient table: immutable, and zero for what it does not hold."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from app.engine.gradients import Gradients, Tables
from tests.rows import for_each


def test_an_unknown_name_raises_and_an_unknown_value_has_the_gradient_zero() -> None:
    gradients: Gradients[str, float] = Gradients({"x": 2.0})
    assert gradients["x"] == 2.0
    with pytest.raises(KeyError, match="no gradient by 'nobody'. There are 'x'"):
        gradients["nobody"]
    assert gradients.get("nobody") is None and Gradients[object, float]({"x": 2.0})[object()] == 0.0
    assert "nobody" not in gradients and "x" in gradients
    assert list(gradients) == ["x"] and len(gradients) == 1


def test_gradients_are_a_mapping() -> None:
    gradients: Gradients[str, float] = Gradients({"y": -1.0, "x": 2.0})
    assert isinstance(gradients, Mapping)
    assert dict(gradients) == {"x": 2.0, "y": -1.0} == gradients
    assert list(gradients.items()) == [("y", -1.0), ("x", 2.0)] == list(gradients.copy().items())
    assert {**gradients} == gradients
    assert repr(gradients) == "Gradients({'y': -1.0, 'x': 2.0})"
    assert gradients != Gradients({"x": 2.0})


def test_gradients_never_change() -> None:
    given = {"x": 2.0}
    gradients: Gradients[str, float] = Gradients(given)
    given["x"] = 3.0
    given["y"] = 1.0
    assert dict(gradients) == {"x": 2.0}
    with pytest.raises(TypeError):
        gradients["x"] = 3.0  # type: ignore[index]
    with pytest.raises(TypeError):
        del gradients["x"]  # type: ignore[attr-defined]
    for name in ("_entries", "other"):
        with pytest.raises(AttributeError):
            setattr(gradients, name, {})
    assert dict(gradients) == {"x": 2.0}


def test_attributes_of_gradients_cannot_be_deleted() -> None:
    gradients: Gradients[str, float] = Gradients({"x": 2.0})
    with pytest.raises(AttributeError):
        del gradients._entries
    assert gradients["x"] == 2.0


def test_entries_can_be_arrays() -> None:
    gradients = Gradients({"x": np.array([1.0, 2.0])})
    assert gradients["x"].tolist() == [1.0, 2.0]


def test_a_copy_has_the_entries_that_the_index_points_at() -> None:
    gradients: Gradients[str, float] = Gradients.of({"x": 0, "z": 2}, np.array([1.0, 2.0, 3.0]))
    assert gradients.copy() == dict(gradients) == {"x": 1.0, "z": 3.0}


@for_each("index", [{"x": 0, "y": 1, "z": 2}, {"z": 2, "x": 0}])
@for_each("size", [1, 2, 3, 4])
def test_parts_are_the_table(index: dict[str, int], size: int) -> None:
    gradients: Gradients[str, float] = Gradients.of(index, np.array([1.0, 2.0, 3.0]))
    parts = list(gradients.parts(size))
    assert all(0 < len(part) <= size for part in parts)
    assert [item for part in parts for item in part.items()] == [(key, k + 1.0) for key, k in index.items()]
    assert all(type(number) is float for part in parts for number in part.values())


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_a_table_is_finite_if_all_of_its_numbers_are(number: float) -> None:
    assert Gradients.of({"x": 0, "y": 1}, np.ones(2)).is_finite()
    assert not Gradients.of({"x": 0, "y": 1}, np.array([1.0, number])).is_finite()
    assert not Gradients({"x": 1.0}).is_finite()  # is not in an array


def test_entries_of_many_points_are_read_only() -> None:
    entries = np.ones((2, 3))
    gradients: Gradients[str, Any] = Gradients.of({"x": 0, "y": 1}, entries)
    for array in (entries, gradients["x"]):
        with pytest.raises(ValueError, match="read-only"):
            array[:] = 0.0


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_a_matrix_is_finite_if_all_of_its_numbers_are(number: float) -> None:
    matrix = np.ones((2, 3))
    assert Tables(["a", "b"], ["x", "y", "z"], matrix).is_finite()
    matrix[1, 2] = number
    assert not Tables(["a", "b"], ["x", "y", "z"], matrix).is_finite()
