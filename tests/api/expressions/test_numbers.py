"""Numbers of the engine on their way into a response."""

import json
import math
from typing import Any

import numpy as np
import pytest

from app.api.expressions.models import ForwardRequest
from app.api.expressions.numbers import MAX_DICT_ENTRIES, MAX_LISTED, ResponseNumbers
from app.engine.errors import NonFinite
from app.engine.faults import Quantity
from app.engine.gradients import Gradients
from app.engine.text import parse
from app.service import bodies


def numbers_of(text: str, inputs: dict[str, Any], *, allow_null: bool) -> ResponseNumbers:
    """The numbers of a response to a request about an expression."""
    request = ForwardRequest(expression=text, inputs=inputs, nonfinite="null" if allow_null else "error")
    return ResponseNumbers(request, parse(text), lambda: None)


def written(table: Any) -> Any:
    """A table as JSON has it."""
    return json.loads(bodies.encode(table))


def listed(numbers: ResponseNumbers) -> Any:
    """The field `nonfinite` as JSON has it."""
    return [row.model_dump(by_alias=True, exclude_unset=True) for row in numbers.nulls]


def test_finite_numbers_stay_as_they_are() -> None:
    numbers = numbers_of("y = x*x", {"x": 1.5}, allow_null=False)
    column = np.array([2.25, 1.0])
    table = numbers.table(Quantity.VALUE, {"x": 1.5, "y": column})
    assert table["x"] == 1.5 and table["y"] is column
    assert numbers.one(Quantity.VALUE, 2.25) == 2.25
    assert numbers.fields == {}


@pytest.mark.parametrize("size", [MAX_DICT_ENTRIES, MAX_DICT_ENTRIES + 1])
@pytest.mark.parametrize("number", [0.5, math.nan])
def test_large_table_has_all_its_numbers_and_nulls(size: int, number: float) -> None:
    numbers = numbers_of("y = x*x", {"x": 1.5}, allow_null=True)
    column = np.arange(size, dtype=float)
    column[-1] = number
    table = numbers.table(Quantity.GRADIENT, Gradients.of({f"x{k}": k for k in range(size)}, column))
    last = None if math.isnan(number) else number
    assert written(table) == {f"x{k}": float(k) for k in range(size - 1)} | {f"x{size - 1}": last}
    assert [row.node for row in numbers.nulls] == ([f"x{size - 1}"] if last is None else [])


def test_list_of_nulls_is_there_if_the_request_allows_null() -> None:
    numbers = numbers_of("y = x*x", {"x": 1.5}, allow_null=True)
    assert numbers.table(Quantity.VALUE, {"x": 1.5}) == {"x": 1.5}
    assert numbers.fields == {"nonfinite": []}


def test_sum_that_overflows_is_no_fault() -> None:
    """Each number is finite, although their sum is not."""
    numbers = numbers_of("y = x*x", {"x": 1.5}, allow_null=False)
    assert numbers.table(Quantity.VALUE, {"x": 1e308, "y": 1e308}) == {"x": 1e308, "y": 1e308}


@pytest.mark.parametrize(("number", "word"), [(math.nan, "NaN"), (math.inf, "Infinity"), (-math.inf, "-Infinity")])
def test_nulls_are_listed_with_pass_and_point(number: float, word: str) -> None:
    numbers = numbers_of("y = x*x", {"x": np.array([1.0, 2.0])}, allow_null=True)
    assert written(numbers.table(Quantity.VALUE, {"y": np.array([1.0, number])})) == {"y": [1.0, None]}
    assert numbers.table(Quantity.GRADIENT, {"x": number}) == {"x": None}
    assert listed(numbers) == [
        {"node": "y", "pass": "forward", "value": word, "point": 1},
        {"node": "x", "pass": "backward", "value": word},
    ]


def test_at_most_20_nulls_are_listed() -> None:
    numbers = numbers_of("y = x*x", {"x": 1}, allow_null=True)
    table = numbers.table(Quantity.VALUE, {"x": np.full(15, np.nan), "y": np.full(15, np.inf)})
    assert written(table) == {"x": [None] * 15, "y": [None] * 15}
    assert len(numbers.nulls) == MAX_LISTED == 20
    assert [row.node for row in numbers.nulls] == ["x"] * 15 + ["y"] * 5
    assert numbers.one(Quantity.VALUE, math.nan) is None and len(numbers.nulls) == 20


def test_first_fault_is_raised_without_null() -> None:
    numbers = numbers_of("y = log(x)", {"x": np.array([1.0, -1.0])}, allow_null=False)
    with pytest.raises(NonFinite, match=r"'y' = log\(-1.0\)"):
        numbers.table(Quantity.VALUE, {"y": np.array([0.0, np.nan])})


def test_number_of_no_node_is_named() -> None:
    numbers = numbers_of("y = x*x", {"x": 1}, allow_null=False)
    with pytest.raises(NonFinite, match=r"the local gradient is NaN at point 1 \(counted from 0\)"):
        numbers.named("the local gradient", Quantity.GRADIENT, "y", np.array([0.0, np.nan]))
    with pytest.raises(NonFinite, match="the local gradient is Infinity$"):
        numbers.named("the local gradient", Quantity.GRADIENT, "y", math.inf)


def test_number_of_no_node_is_at_the_node_that_uses_it() -> None:
    numbers = numbers_of("y = x*x", {"x": 1}, allow_null=False)
    with pytest.raises(NonFinite) as caught:
        numbers.named("the gradient by the number 2", Quantity.GRADIENT, "y.1", math.nan, "y")
    assert caught.value.place == ("nodes", numbers.graph.index["y"])


def test_fault_of_the_output_is_found_with_the_tangents_of_the_request() -> None:
    """The derivative of a square root at 0 is infinite, which only a tangent of x shows."""
    numbers = numbers_of("a = sqrt(x); y = 2*a", {"x": 0}, allow_null=False)
    with pytest.raises(NonFinite, match="'a' = sqrt") as caught:
        numbers.one(Quantity.TANGENT, math.inf, seeds={"x": 1.0})
    assert caught.value.place == ("nodes", numbers.graph.index["a"])


def test_no_nan_gets_into_json() -> None:
    assert bodies.encode({"x": math.nan}) == b'{"x":null}'
