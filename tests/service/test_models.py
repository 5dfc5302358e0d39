"""Field types of requests: lists of numbers give the same arrays and errors whether the compiled scanner read them or not."""

import base64
import json
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, ValidationError

from app.engine.scanner import scan
from app.service import models
from app.service.bodies import EXPLAINED_BYTES, parse
from app.service.models import (
    ABSENT,
    Items,
    Numbers,
    PositiveInteger,
    RequestModel,
    ResponseModel,
    Rows,
    Seed,
    Vector,
    VectorOrRows,
    WholeNumber,
    found_text,
    is_number,
    nan_for_null,
    nullable,
)
from app.service.problems import Problem
from tests.rows import for_each


class Arrays(RequestModel):
    """A field of every array type."""

    vector: Vector | None = None
    numbers: Numbers | None = None
    rows: Rows | None = None
    either: VectorOrRows | None = None
    by_name: dict[str, Numbers] = {}


PADDING = " " * 600
"""Makes a body long enough to be scanned."""

LENGTHS = {"plain": 3, "scanned": 40, "long": 1600}
"""Numbers before the one at fault. From 16 the scanner reads a valid list; from 1,000 it reads one that is broken too."""

WIDTH = 4
"""Numbers in a row."""

LISTS = ("vector", "numbers", "either")
ROWS = ("rows", "either")

WRONG = {
    "boolean": ("true", "a boolean"),
    "string": ('"3.5"', "a string"),
    "null": ("null", "null"),
    "object": ("{}", "an object"),
    "list": ("[1]", "a list"),
}
"""What is no number: its JSON, and what an error calls it."""

NOT_FINITE = ["1e999", "-1e999", "NaN", "Infinity", "-Infinity", "9" * 400]

every_length = for_each("length", LENGTHS.values())
LARGE = " " * (1 << 20)
"""Makes a body large, so that it is not decoded once more to find a fault: the scanner alone says what is wrong."""
every_size = pytest.mark.parametrize("space", ["", LARGE], ids=["small body", "large body"])


def read(field: str, text: str) -> Any:
    """The value of a field from its JSON text, which is the same in a large body."""
    values = [getattr(parse(f'{{"{field}": {text}}}{PADDING}{space}'.encode(), Arrays), field) for space in ("", LARGE)]
    assert type(values[0]) is type(values[1])
    np.testing.assert_equal(*values)
    return values[0]


def refusal(field: str, text: str) -> tuple[str, str, str]:
    """The kind of problem with a field, and the pointer and detail of the first place at fault."""
    with pytest.raises(Problem) as caught:
        read(field, text)
    problem = caught.value
    return problem.kind.name, problem.errors[0].pointer, problem.errors[0].detail


def list_text(length: int, *entries: str) -> str:
    """A JSON list of so many numbers, and further entries."""
    return f"[{', '.join([*(['0.5'] * length), *entries])}]"


def rows_text(length: int, *rows: str) -> str:
    """JSON rows with so many numbers, rounded up to whole rows, and further rows."""
    return f"[{', '.join([*([list_text(WIDTH)] * row_count(length)), *rows])}]"


def row_count(length: int) -> int:
    """How many rows so many numbers are."""
    return -(-length // WIDTH)


def test_lengths_are_what_they_are_called() -> None:
    """Else all of these tests would look at one reader only."""

    def scanned(text: str) -> str:
        found = scan(f'{{"x": {text}}}'.encode(), "token")
        assert found is not None
        return type(found.bulk[0]).__name__ if found.bulk else "not scanned"

    assert [scanned(list_text(n)) for n in LENGTHS.values()] == ["not scanned", "NumberList", "NumberList"]
    assert [scanned(list_text(n, "true")) for n in LENGTHS.values()] == ["not scanned", "not scanned", "BrokenList"]
    assert [scanned(rows_text(n)) for n in LENGTHS.values()] == ["not scanned", "NumberRows", "NumberRows"]
    assert [scanned(rows_text(n, "[true]")) for n in LENGTHS.values()] == ["not scanned", "not scanned", "BrokenList"]


# --- valid values


@every_length
@for_each("field", LISTS)
def test_list_becomes_an_array(field: str, length: int) -> None:
    values = [0.1 * k - 3 for k in range(length)] + [5, -0.0, 1e-320]
    array = read(field, json.dumps(values))
    assert array.dtype == np.float64 and array.shape == (length + 3,)
    assert array.tolist() == values
    assert np.signbit(array[-2])


@every_length
@for_each("field", ROWS)
def test_rows_become_an_array(field: str, length: int) -> None:
    rows = [[0.1 * k, 2, -k] for k in range(length)]
    array = read(field, json.dumps(rows))
    assert array.dtype == np.float64 and array.shape == (length, 3)
    assert array.tolist() == rows


@pytest.mark.parametrize("text", ["3", "3.0", "-0.5"])
def test_number_stays_a_number(text: str) -> None:
    value = read("numbers", text)
    assert type(value) is float and value == float(text)


@pytest.mark.parametrize("field", ["vector", "either"])
def test_empty_list_is_an_empty_array(field: str) -> None:
    """Whether it fits the rest of the request is for the endpoint to say."""
    assert read(field, "[]").shape == (0,)


def test_empty_list_of_points_is_refused() -> None:
    expected = "the list is empty; give at least one number"
    assert refusal("numbers", "[]") == ("shape-mismatch", "/numbers", expected)
    assert refusal("by_name", '{"x": []}') == ("shape-mismatch", "/by_name/x", expected)


def test_array_stays_as_it_is() -> None:
    """Our own code makes models of arrays too."""
    array = np.array([1.0, 2.0])
    assert Arrays(vector=array).vector is array
    assert Arrays(rows=array[:, np.newaxis]).model_dump()["rows"] == [[1.0], [2.0]]


def test_arrays_within_an_object_are_read() -> None:
    long = [0.5] * 100
    values = parse(json.dumps({"by_name": {"a": 1, "b": [1, 2], "c/d": long}}).encode(), Arrays).by_name
    assert values["a"] == 1.0
    assert [np.asarray(values[name]).tolist() for name in ("b", "c/d")] == [[1.0, 2.0], long]


class Plain(RequestModel):
    """Fields whose types know nothing of scanned lists and large bodies."""

    numbers: list[float] = []
    rows: list[list[float]] = []
    table: dict[str, float] = {}
    texts: dict[str, str] = {}


PLAIN: dict[str, Any] = {
    "numbers": [k / 8 for k in range(2000)],
    "rows": [[k / 8, 1.0, 2.0, 3.0] for k in range(500)],
    "table": {f"name {k}": k / 8 for k in range(200_000)},
    "texts": {"float64": base64.b64encode(bytes(8000)).decode(), "long": "x" * 2_000_000},
}


@every_size
@pytest.mark.parametrize("field", PLAIN)
def test_large_value_of_a_plain_field_is_read(field: str, space: str) -> None:
    text = json.dumps({field: PLAIN[field]}) + space
    assert getattr(parse(text.encode(), Plain), field) == PLAIN[field]


@every_size
@pytest.mark.parametrize("field", PLAIN)
def test_large_value_of_a_plain_field_is_no_fault_beside_another(field: str, space: str) -> None:
    with pytest.raises(Problem) as caught:
        parse((json.dumps({field: PLAIN[field], "nope": 1}) + space).encode(), Plain)
    assert [error.pointer for error in caught.value.errors] == ["/nope"]


@every_size
@pytest.mark.parametrize(
    ("field", "text", "place", "found"),
    [
        ("numbers", list_text(1600, "null"), "/numbers/1600", "null"),
        ("rows", rows_text(1600, "[1, true]"), "/rows/400/1", "a boolean"),
        ("texts", f'{{"x": {list_text(1600)}}}', "/texts/x", "a list"),
    ],
)
def test_fault_in_a_large_value_of_a_plain_field(field: str, text: str, place: str, found: str, space: str) -> None:
    with pytest.raises(Problem) as caught:
        parse(f'{{"{field}": {text}}}{space}'.encode(), Plain)
    assert [error.pointer for error in caught.value.errors] == [place]
    assert caught.value.errors[0].detail.endswith(f", found {found}")


finite = st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(finite, max_size=60))
def test_any_list_is_read_as_python_reads_it(values: list[float]) -> None:
    """Both readers round correctly."""
    assert read("vector", json.dumps(values)).tolist() == values


@given(
    st.integers(1, 5).flatmap(lambda width: st.lists(st.lists(finite, min_size=width, max_size=width), min_size=1, max_size=20))
)
def test_any_rows_are_read_as_python_reads_them(rows: list[list[float]]) -> None:
    assert read("rows", json.dumps(rows)).tolist() == rows


# --- lists with a fault


@every_length
@for_each(("text", "found"), WRONG.values())
@for_each("field", LISTS)
def test_entry_of_a_list_that_is_no_number(field: str, text: str, found: str, length: int) -> None:
    expected = ("invalid-request", f"/{field}/{length}", f"expected a number, found {found}")
    assert refusal(field, list_text(length, text)) == expected
    assert refusal(field, list_text(length, text, "0.5")) == expected


@every_length
@for_each("text", NOT_FINITE)
@for_each("field", LISTS)
def test_entry_of_a_list_that_is_not_finite(field: str, text: str, length: int) -> None:
    expected = "expected a finite number, found NaN or a number beyond 1.8e308"
    assert refusal(field, list_text(length, text)) == ("invalid-request", f"/{field}/{length}", expected)


@every_length
@for_each("field", ["vector", "numbers"])
def test_rows_in_place_of_a_list(field: str, length: int) -> None:
    assert refusal(field, rows_text(length)) == ("invalid-request", f"/{field}/0", "expected a number, found a list")


@every_length
def test_list_with_a_fault_within_an_object(length: int) -> None:
    problem = refusal("by_name", f'{{"a": 1, "b/c": {list_text(length, "null")}}}')
    assert problem == ("invalid-request", f"/by_name/b~1c/{length}", "expected a number, found null")


@for_each("text", ['"3"', "true", "{}"])
@for_each("field", ["numbers", "vector", "rows", "either"])
def test_value_that_is_no_list(field: str, text: str) -> None:
    kind, place, detail = refusal(field, text)
    expected = "a number or a list of numbers" if field == "numbers" else "a list"
    assert (kind, place) == ("invalid-request", f"/{field}")
    hint = "; a number stands without quotes: 3" if field == "numbers" and text == '"3"' else ""
    assert detail == f"expected {expected}, found {found_text(json.loads(text))}{hint}"


@pytest.mark.parametrize("field", ["vector", "rows", "either"])
def test_number_in_place_of_a_list(field: str) -> None:
    assert refusal(field, "3.5") == ("invalid-request", f"/{field}", "expected a list, found a number")


@pytest.mark.parametrize("field", ["numbers", "vector", "rows", "either"])
def test_null_is_absent(field: str) -> None:
    assert read(field, "null") is None


# --- rows with a fault


@every_length
@for_each("column", [0, 2])
@for_each(("text", "found"), WRONG.values())
@for_each("field", ROWS)
def test_entry_of_a_row_that_is_no_number(field: str, text: str, found: str, column: int, length: int) -> None:
    row = list_text(column, text, "1")
    expected = ("invalid-request", f"/{field}/{row_count(length)}/{column}", f"expected a number, found {found}")
    assert refusal(field, rows_text(length, row)) == expected
    assert refusal(field, rows_text(length, row, list_text(WIDTH))) == expected


@every_length
@for_each("text", NOT_FINITE)
@for_each("field", ROWS)
def test_entry_of_a_row_that_is_not_finite(field: str, text: str, length: int) -> None:
    expected = "expected a finite number, found NaN or a number beyond 1.8e308"
    place = f"/{field}/{row_count(length)}/1"
    assert refusal(field, rows_text(length, f"[1, {text}]")) == ("invalid-request", place, expected)


@every_length
@for_each(("text", "found"), [*[WRONG[name] for name in WRONG if name != "list"], ("3", "a number")])
@for_each("field", ROWS)
def test_row_that_is_no_list(field: str, text: str, found: str, length: int) -> None:
    kind, place, detail = refusal(field, rows_text(length, text, list_text(WIDTH)))
    assert (kind, place) == ("invalid-request", f"/{field}/{row_count(length)}")
    assert detail == f"expected a list, found {found}"


@every_length
@for_each("count", [0, 1, 3, 5])
@for_each("field", ROWS)
def test_ragged_rows(field: str, count: int, length: int) -> None:
    kind, place, detail = refusal(field, rows_text(length, list_text(count), list_text(WIDTH)))
    row = row_count(length)
    assert (kind, place) == ("shape-mismatch", f"/{field}/{row}")
    assert detail == f"row {row} has {count} numbers and row 0 has {WIDTH}; give all rows the same length"


@for_each(("text", "found"), WRONG.values())
@for_each("field", LISTS)
def test_entry_of_a_long_list_of_a_large_body_that_is_no_number(field: str, text: str, found: str) -> None:
    expected = ("invalid-request", f"/{field}/1600", f"expected a number, found {found}")
    assert refusal(field, list_text(1600, text) + LARGE) == expected


@for_each(("text", "found"), WRONG.values())
@for_each("field", ROWS)
def test_entry_of_long_rows_of_a_large_body_that_is_no_number(field: str, text: str, found: str) -> None:
    expected = ("invalid-request", f"/{field}/400/1", f"expected a number, found {found}")
    assert refusal(field, rows_text(1600, f"[1, {text}]") + LARGE) == expected


@for_each(("text", "found"), [*[WRONG[name] for name in WRONG if name != "list"], ("3", "a number")])
@for_each("field", ROWS)
def test_row_of_a_large_body_that_is_no_list(field: str, text: str, found: str) -> None:
    kind, place, detail = refusal(field, rows_text(1600, text) + LARGE)
    assert (kind, place, detail) == ("invalid-request", f"/{field}/400", f"expected a list, found {found}")


@for_each("text", ["1e999", "-1e999", "9" * 400])
def test_number_of_a_large_body_that_is_not_finite(text: str) -> None:
    for field, value, place in (
        *((field, list_text(1600, text), "1600") for field in LISTS),
        *((field, rows_text(1600, f"[1, {text}]"), "400/1") for field in ROWS),
    ):
        detail = "expected a finite number, found NaN or a number beyond 1.8e308"
        assert refusal(field, value + LARGE) == ("invalid-request", f"/{field}/{place}", detail)


@pytest.mark.parametrize("row", [1, 2, 3, 5, 6, 7])
def test_ragged_row_among_many(monkeypatch: pytest.MonkeyPatch, row: int) -> None:
    """Widths are compared some rows at a time."""
    monkeypatch.setattr(models, "ROWS_AT_ONCE", 3)
    rows = [list_text(WIDTH)] * row + [list_text(2), list_text(WIDTH)]
    expected = f"row {row} has 2 numbers and row 0 has {WIDTH}; give all rows the same length"
    assert refusal("rows", f"[{', '.join(rows)}]") == ("shape-mismatch", f"/rows/{row}", expected)


@pytest.mark.parametrize(("field", "text"), [("rows", "[]"), ("rows", "[[]]"), ("rows", "[[], []]"), ("either", "[[]]")])
def test_rows_without_numbers(field: str, text: str) -> None:
    assert refusal(field, text) == ("shape-mismatch", f"/{field}", "there are no rows, or rows without numbers")


@for_each("width", LENGTHS.values())
@for_each(("text", "found"), [("3", "a number"), ("null", "null")])
@for_each("field", ROWS)
def test_wrong_row_between_rows_of_any_width(field: str, text: str, found: str, width: int) -> None:
    """Where the rows as a whole are not scanned, each long row is by itself."""
    expected = ("invalid-request", f"/{field}/1", f"expected a list, found {found}")
    assert refusal(field, f"[{list_text(width)}, {text}, {list_text(width)}]") == expected


@pytest.mark.parametrize("width", LENGTHS.values(), ids=LENGTHS)
@pytest.mark.parametrize("field", ROWS)
def test_wrong_entry_in_a_row_of_any_width(field: str, width: int) -> None:
    expected = ("invalid-request", f"/{field}/1/{width}", "expected a number, found a boolean")
    assert refusal(field, f"[{list_text(2)}, {list_text(width, 'true')}]") == expected


@pytest.mark.parametrize("field", ROWS)
def test_wrong_entry_in_a_row_of_a_large_body(field: str) -> None:
    """Beside a row that is no list, each long row is scanned by itself, and not decoded once more."""
    width = LENGTHS["long"]
    rows = f"[{list_text(2)}, null, {list_text(width, 'true')}]{' ' * EXPLAINED_BYTES}"
    assert refusal(field, rows) == ("invalid-request", f"/{field}/2/{width}", "expected a number, found a boolean")


@every_length
def test_list_in_place_of_rows(length: int) -> None:
    kind, place, detail = refusal("rows", list_text(length))
    assert (kind, place) == ("invalid-request", "/rows/0")
    assert detail.startswith("expected a list, found a number") and "[[1, 2]]" in detail


# --- base64


def encoded(numbers: Any, *, shape: Any = None) -> str:
    """Numbers in base64 as JSON, with the shape of rows or another one."""
    array = np.array(numbers, "<f8")
    shape = shape or (list(array.shape) if array.ndim == 2 else None)
    return json.dumps({"float64": base64.b64encode(array.tobytes()).decode()} | ({} if shape is None else {"shape": shape}))


@every_length
@for_each("field", LISTS)
def test_list_in_base64(field: str, length: int) -> None:
    numbers = [k / 7 for k in range(length)]
    found = read(field, encoded(numbers))
    assert found.dtype == np.float64 and found.tolist() == numbers
    assert read(field, encoded(numbers, shape=[length])).tolist() == numbers
    assert read(field, encoded(numbers, shape=[float(length)])).tolist() == numbers


@every_length
@for_each("field", ROWS)
def test_rows_in_base64(field: str, length: int) -> None:
    rows = [[k / 7, -float(k)] for k in range(length)]
    assert read(field, encoded(rows)).tolist() == rows


@pytest.mark.parametrize("field", LISTS)
def test_escaped_key_and_text_in_base64(field: str) -> None:
    numbers = [k / 7 for k in range(40)]
    text = encoded(numbers).replace("float64", "\\u0066loat64").replace("/", "\\/")
    assert read(field, text).tolist() == numbers


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=50))
def test_the_same_numbers_in_both_forms(numbers: list[float]) -> None:
    """Also -0.0, subnormal numbers and the largest ones."""
    assert read("numbers", encoded(numbers)).tobytes() == read("numbers", json.dumps(numbers)).tobytes()


SIXTEEN = [1.0] * 16
BAD_BASE64: dict[str, tuple[str, tuple[str, str, str]]] = {
    "a wrong character": (
        '{"float64": "AAAA!AAA8D8="}',
        ("invalid-request", "/{}/float64", "character 4 (counted from 0) is not in base64's alphabet"),
    ),
    "a wrong character in a long text": (
        f'{{"float64": "{"A" * 1_999_999}!"}}',
        ("invalid-request", "/{}/float64", "character 1999999 (counted from 0) is not in base64's alphabet"),
    ),
    "a character of base64url": (
        '{"float64": "AAAA_AAA8D8="}',
        ("invalid-request", "/{}/float64", "character 4 (counted from 0) is of base64url"),
    ),
    "a line break": (
        '{"float64": "AAAA\\nAAAA8D8="}',
        ("invalid-request", "/{}/float64", "character 4 (counted from 0) is a space or a line"),
    ),
    "no padding": (
        '{"float64": "AAAAAAAA8D8"}',
        ("invalid-request", "/{}/float64", "the text must end at a multiple of 4 characters"),
    ),
    "half a double": ('{"float64": "AAAAAA=="}', ("invalid-request", "/{}/float64", "the text does not hold whole doubles")),
    "bits to spare": (
        '{"float64": "AAAAAAAA8D9="}',
        ("invalid-request", "/{}/float64", "the last character before the padding has bits"),
    ),
    "NaN": (encoded([*SIXTEEN, np.nan]), ("invalid-request", "/{}/float64", "entry 16 (counted from 0) is NaN or infinite")),
    "infinity": (encoded([1.0, -np.inf]), ("invalid-request", "/{}/float64", "entry 1 (counted from 0) is NaN or infinite")),
    "a backslash": (
        '{"float64": "AAAA\\\\/AAA8D8="}',
        ("invalid-request", "/{}/float64", "character 4 (counted from 0) is not in"),
    ),
    "a quote": ('{"float64": "AAAAAAAA8D8=\\""}', ("invalid-request", "/{}/float64", "the text must end at a multiple of 4")),
    "a list": ('{"float64": [1, 2]}', ("invalid-request", "/{}/float64", "expected a string, found a list")),
    "a long list": (f'{{"float64": {SIXTEEN}}}', ("invalid-request", "/{}/float64", "expected a string, found a list")),
    "null": ('{"float64": null}', ("invalid-request", "/{}/float64", "expected a string, found null")),
    "another field": ('{"float64": "", "dtype": "<f8"}', ("invalid-request", "/{}/dtype", "unknown field 'dtype'")),
    "a shape that is no list": (
        '{"float64": "", "shape": 0}',
        ("invalid-request", "/{}/shape", "expected a list, found a number"),
    ),
    "a shape of no entries": (
        '{"float64": "", "shape": []}',
        ("invalid-request", "/{}/shape", "list should have at least 1 item"),
    ),
    "a shape of three entries": (
        encoded([1.0], shape=[1, 1, 1]),
        ("invalid-request", "/{}/shape", "list should have at most 2 items"),
    ),
    "a negative shape": (
        encoded([1.0], shape=[-1]),
        ("invalid-request", "/{}/shape/0", "input should be greater than or equal to 0"),
    ),
    "half a row": (encoded([1.0], shape=[0.5, 2]), ("invalid-request", "/{}/shape/0", "expected an integer, found 0.5")),
    "a shape of more numbers": (
        encoded(SIXTEEN, shape=[3, 6]),
        ("shape-mismatch", "/{}/shape", "the shape is 3 by 6, and there are 16 numbers"),
    ),
    "a very large shape": (
        encoded(SIXTEEN, shape=[2**62, 4]),
        ("shape-mismatch", "/{}/shape", f"the shape is {2**62} by 4, and there are 16 numbers"),
    ),
}


@every_size
@for_each("field", ["vector", "numbers", "rows", "either"])
@for_each(("text", "expected"), BAD_BASE64.values())
def test_fault_of_base64(field: str, text: str, expected: tuple[str, str, str], space: str) -> None:
    kind, place, detail = refusal(field, text + space)
    assert (kind, place) == (expected[0], expected[1].format(field))
    assert detail.startswith(expected[2])


@every_length
def test_rows_in_place_of_a_list_in_base64(length: int) -> None:
    expected = ("shape-mismatch", "/vector/shape", 'expected a list of numbers, found rows; leave "shape" out')
    assert refusal("vector", encoded([[0.5] * length])) == expected


@every_length
def test_list_in_place_of_rows_in_base64(length: int) -> None:
    expected = ("invalid-request", "/rows", 'expected rows; give them a "shape": [rows, columns]')
    assert refusal("rows", encoded([0.5] * length)) == expected


@pytest.mark.parametrize("shape", [[0, 0], [0, 3], [3, 0]], ids=str)
@pytest.mark.parametrize("field", ROWS)
def test_rows_without_numbers_in_base64(field: str, shape: list[int]) -> None:
    text = f'{{"float64": "", "shape": {shape}}}'
    assert refusal(field, text) == ("shape-mismatch", f"/{field}/shape", "there are no rows, or rows without numbers")


def test_no_numbers_in_base64_are_as_an_empty_list() -> None:
    assert read("vector", '{"float64": ""}').tolist() == []
    assert refusal("numbers", '{"float64": ""}') == refusal("numbers", "[]")


def test_object_that_is_not_base64() -> None:
    kind, place, detail = refusal("numbers", '{"float32": ""}')
    assert (kind, place) == ("invalid-request", "/numbers") and '{"float64": "..."}' in detail


def test_an_input_may_be_called_float64() -> None:
    assert read("by_name", f'{{"float64": {encoded([1.0] * 40)}}}')["float64"].tolist() == [1.0] * 40
    assert read("by_name", '{"float64": 2}')["float64"] == 2.0


@pytest.mark.parametrize("field", LISTS)
def test_all_faults_of_a_short_list_are_listed(field: str) -> None:
    with pytest.raises(Problem) as caught:
        read(field, '[1, "a", 2, null]')
    assert [error.pointer for error in caught.value.errors] == [f"/{field}/1", f"/{field}/3"]
    assert caught.value.detail == f"at /{field}/1: expected a number, found a string (and 1 more)"


@pytest.mark.parametrize(("length", "faults"), [(1000, 2), (1001, 1)])
@pytest.mark.parametrize("field", LISTS)
def test_more_than_a_thousand_entries_are_read_up_to_the_first_fault(field: str, length: int, faults: int) -> None:
    with pytest.raises(Problem) as caught:
        read(field, f"[{'1,' * (length - 2)}true,true]")
    assert [error.pointer for error in caught.value.errors] == [f"/{field}/{length - 2 + k}" for k in range(faults)]


class Row(RequestModel):
    """An entry of a large list."""

    numbers: Vector | None = None
    choice: Literal["a", "b"] = "a"


class Table(RequestModel):
    """A list that may be large."""

    rows: Items[Row]


@pytest.mark.parametrize("count", [3, 20_000], ids=["small", "large"])
@pytest.mark.parametrize(
    ("row", "place", "detail"),
    [
        pytest.param('{"numbers": [[1]]}', "numbers/0", "expected a number, found a list", id="list"),
        pytest.param('{"numbers": [1, true]}', "numbers/1", "expected a number, found a boolean", id="boolean"),
        pytest.param('{"choice": "c"}', "choice", 'expected "a" or "b"', id="choice"),
        pytest.param('{"number": [1]}', "number", "unknown field 'number'. Did you mean 'numbers'?", id="field"),
    ],
)
def test_fault_in_an_entry_of_a_list_of_any_length(count: int, row: str, place: str, detail: str) -> None:
    text = '{"rows": [' + '{"numbers": [1]}, ' * count + row + "]}"
    with pytest.raises(Problem) as caught:
        parse(text.encode(), Table)
    assert [(error.pointer, error.detail) for error in caught.value.errors] == [(f"/rows/{count}/{place}", detail)]


class Counts(RequestModel):
    """A list of integers."""

    counts: Items[WholeNumber]


@every_size
@every_length
@for_each("name", ["boolean", "string", "null", "object", "list"])
def test_entry_of_a_list_that_is_no_integer(name: str, length: int, space: str) -> None:
    text = f'{{"counts": [{"3, " * length}{WRONG[name][0]}]}}{PADDING}{space}'
    with pytest.raises(Problem) as caught:
        parse(text.encode(), Counts)
    assert [error.pointer for error in caught.value.errors] == [f"/counts/{length}"]
    assert caught.value.detail == f"at /counts/{length}: expected an integer, found {WRONG[name][1]}"


@every_length
@for_each("field", ["vector", "numbers"])
def test_rows_in_place_of_a_list_are_one_fault(field: str, length: int) -> None:
    with pytest.raises(Problem) as caught:
        read(field, rows_text(length, list_text(WIDTH)))
    assert [error.pointer for error in caught.value.errors] == [f"/{field}/0"]
    assert caught.value.detail == f"at /{field}/0: expected a number, found a list"


@pytest.mark.parametrize("field", ROWS)
def test_a_fault_of_each_of_a_few_rows_is_listed(field: str) -> None:
    with pytest.raises(Problem) as caught:
        read(field, '[[1, 2], ["a", null], [3, true], 4]')
    assert [error.pointer for error in caught.value.errors] == [f"/{field}/1/0", f"/{field}/2/1", f"/{field}/3"]
    assert caught.value.detail == f"at /{field}/1/0: expected a number, found a string (and 2 more)"


# --- other fields


class Fields(RequestModel):
    """Fields that are no arrays."""

    needed: float
    whole: WholeNumber = 3
    positive: PositiveInteger = 1
    seed: Seed = 0
    flag: bool = False
    optional: str | None = None


def fields(**values: Any) -> Fields:
    return parse(json.dumps({"needed": 1, **values}).encode(), Fields)


@pytest.mark.parametrize("name", ["whole", "positive", "seed"])
@pytest.mark.parametrize("value", [5, 5.0])
def test_integer_may_have_a_point(name: str, value: float) -> None:
    found = getattr(fields(**{name: value}), name)
    assert type(found) is int and found == 5


@for_each("name", ["whole", "positive", "seed"])
@for_each("value", [5.5, True, "5", [5], {}, 2**63, 2.0**63, 1e300])
def test_value_that_is_no_integer_of_64_bits(name: str, value: Any) -> None:
    with pytest.raises(Problem) as caught:
        fields(**{name: value})
    assert [error.pointer for error in caught.value.errors] == [f"/{name}"]


@pytest.mark.parametrize(("name", "value"), [("positive", 0), ("seed", -1), ("seed", 2**32), ("seed", -1.0)])
def test_integer_out_of_its_range(name: str, value: float) -> None:
    with pytest.raises(Problem) as caught:
        fields(**{name: value})
    assert [error.pointer for error in caught.value.errors] == [f"/{name}"]


@pytest.mark.parametrize("name", ["whole", "positive", "seed", "flag", "optional"])
def test_null_gives_an_optional_field_its_default(name: str) -> None:
    assert fields(**{name: None}) == fields()
    assert name not in fields(**{name: None}).model_fields_set


@pytest.mark.parametrize("body", ['{"needed": null}', "{}"], ids=["null", "absent"])
def test_required_field_takes_no_null(body: str) -> None:
    with pytest.raises(Problem) as caught:
        parse(body.encode(), Fields)
    assert [error.pointer for error in caught.value.errors] == ["/needed"]


def test_requests_do_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        fields().needed = 2.0  # type: ignore[misc]


def test_fields_of_a_response_may_be_left_out() -> None:
    class Result(ResponseModel):
        """A result."""

        value: float
        detail: str = Field(ABSENT, description="Why")

    schema = Result.model_json_schema(mode="serialization")
    assert "default" not in schema["properties"]["detail"]
    assert "detail" not in Result(value=1.0).model_fields_set


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "number", "minimum": 0}, {"type": ["number", "null"], "minimum": 0}),
        ({"type": "string", "enum": ["a"]}, {"type": ["string", "null"], "enum": ["a", None]}),
        ({"$ref": "#/x", "description": "d"}, {"oneOf": [{"$ref": "#/x"}, {"type": "null"}], "description": "d"}),
        ({"oneOf": [{"type": "number"}]}, {"oneOf": [{"type": "number"}, {"type": "null"}]}),
        ({"type": ["number", "null"]}, {"type": ["number", "null"]}),
    ],
    ids=["type", "enum", "reference", "oneOf", "already"],
)
def test_nullable_schema(schema: dict[str, Any], expected: dict[str, Any]) -> None:
    assert nullable(schema) == expected


@pytest.mark.parametrize(
    ("value", "expected"), [(1, True), (1.5, True), (True, False), ("1", False), (None, False), ([], False)]
)
def test_numbers_are_no_booleans(value: Any, expected: bool) -> None:
    assert is_number(value) == expected


@pytest.mark.parametrize("field", ["vector", "numbers", "rows", "either"])
def test_schema_of_an_array_field_is_that_of_a_list_or_of_base64(field: str) -> None:
    class One(RequestModel):
        """One field."""

        vector: Vector
        numbers: Numbers
        rows: Rows
        either: VectorOrRows

    number = {"type": "number"}
    numbers = {"type": "array", "items": number}
    rows = {"type": "array", "items": numbers}
    expected = {"vector": [numbers], "numbers": [number, numbers], "rows": [rows], "either": [numbers, rows]}
    schema = One.model_json_schema()["properties"][field]
    *lists, base64_form = schema["oneOf"]
    assert lists == expected[field]
    assert (base64_form["title"], base64_form["required"]) == ("Float64Array", ["float64"])
    assert base64_form["properties"]["float64"]["contentEncoding"] == "base64"


def test_a_long_list_is_validated_up_to_its_first_fault() -> None:
    """An error for each of a million entries would take gigabytes."""
    for field, value in (("vector", ["x"] * 1001), ("rows", [["x"] * 3] * 1001)):
        with pytest.raises(ValidationError) as error:
            Arrays.model_validate({field: value})
        assert error.value.error_count() == 1, field


def test_what_is_not_finite_in_a_response_is_nan() -> None:
    """In base64 too, where an infinity could be written."""
    found = nan_for_null(np.array([1.5, np.inf, -np.inf, np.nan]))
    assert found[0] == 1.5 and np.isnan(found[1:]).all()
