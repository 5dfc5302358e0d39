"""pydantic's errors as problems: where they point and what they say."""

import tracemalloc
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, TypeAdapter, ValidationError

from app.service.bodies import parse
from app.service.models import Items, Numbers, RequestModel, Rows, Vector
from app.service.problems import MAX_ERRORS, Problem
from app.service.validation import invalid_request
from tests.rows import for_each


class Inner(RequestModel):
    """A field, and one with another name."""

    OTHER_NAMES = {"lr": "learning_rate", "epochs": "Give the number of steps."}

    learning_rate: float = Field(1.0, examples=[0.01])
    other: float = Field(1.0, alias="from")


class Entry(RequestModel):
    """An object in an object with any names."""

    inner: Inner | None = None


class Outer(RequestModel):
    """A field of every kind."""

    OTHER_NAMES = {"lr": "learning_rate", "count": "whole"}

    number: float
    whole: int = 1
    text: str = ""
    flag: bool = False
    words: list[str] = []
    pair: Annotated[list[float], Field(min_length=2, max_length=2)] = [0.0, 1.0]
    table: dict[str, float] = {}
    inner: Inner | None = None
    inners: list[Inner] = []
    choice: Literal["error", "null"] = "error"
    positive: float = Field(1.0, gt=0.0)
    named: dict[str, Entry] = {}
    method: Literal["l-bfgs-b", "slsqp"] = "slsqp"


class Faulty(RequestModel):
    """Fields that can have very many faults."""

    count: int
    names: Items[str] = []
    numbers: Vector | None = None
    rows: Rows | None = None
    table: dict[str, Numbers] = Field({}, fail_fast=True)


def problem_of(value: Any) -> Problem:
    """The problem with a value of `Outer`."""
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate(value)
    return invalid_request(caught.value, Outer)


CASES: dict[str, tuple[Any, str, str]] = {
    "no object: list": ([], "", "expected an object, found a list"),
    "no object: number": (3, "", "expected an object, found a number"),
    "no object: string": ("x", "", "expected an object, found a string"),
    "no object: null": (None, "", "expected an object, found null"),
    "no object: boolean": (False, "", "expected an object, found a boolean"),
    "missing": ({}, "/number", "the field 'number' is required"),
    "number as string": ({"number": "3.5"}, "/number", "expected a number, found a string"),
    "number as boolean": ({"number": True}, "/number", "expected a number, found a boolean"),
    "number as null": ({"number": None}, "/number", "expected a number, found null"),
    "number that is not finite": (
        {"number": float("nan")},
        "/number",
        "expected a finite number, found NaN or a number beyond 1.8e308",
    ),
    "integer with a fraction": ({"number": 1, "whole": 2.5}, "/whole", "expected an integer, found 2.5"),
    "integer as string": ({"number": 1, "whole": "2"}, "/whole", "expected an integer, found a string"),
    "string as number": ({"number": 1, "text": 3}, "/text", "expected a string, found a number"),
    "boolean as number": ({"number": 1, "flag": 1}, "/flag", "expected true or false, found a number"),
    "list as string": ({"number": 1, "words": "x"}, "/words", "expected a list, found a string"),
    "entry of a list": ({"number": 1, "words": ["x", 3]}, "/words/1", "expected a string, found a number"),
    "object as list": ({"number": 1, "table": []}, "/table", "expected an object, found a list"),
    "entry of an object": ({"number": 1, "table": {"a/b~c": "x"}}, "/table/a~1b~0c", "expected a number, found a string"),
    "model as list": ({"number": 1, "inner": []}, "/inner", "expected an object, found a list"),
    "model within a list": ({"number": 1, "inners": [{}, 3]}, "/inners/1", "expected an object, found a number"),
    "choice": ({"number": 1, "choice": "nul"}, "/choice", 'expected "error" or "null"'),
    "choice, as Python has it": (
        {"number": 1, "method": "L_BFGS_B"},
        "/method",
        'expected "l-bfgs-b" or "slsqp"; write "l-bfgs-b"',
    ),
    "limit": ({"number": 1, "positive": 0}, "/positive", "input should be greater than 0"),
    "length": ({"number": 1, "pair": [1]}, "/pair", "list should have at least 2 items, not 1"),
    "unknown": (
        {"number": 1, "x": 1},
        "/x",
        "unknown field 'x'. The fields are number, whole, text, flag, words, pair, table, inner, inners, choice, positive, "
        "named, method.",
    ),
    "unknown, nearly known": ({"number": 1, "wordz": 1}, "/wordz", "unknown field 'wordz'. Did you mean 'words'?"),
    "unknown, in capitals": ({"number": 1, "TEXT": ""}, "/TEXT", "unknown field 'TEXT'. Did you mean 'text'?"),
    "unknown, empty": ({"number": 1, "": 1}, "/", "unknown field ''. The fields are number, "),
    "unknown, within": ({"number": 1, "inner": {"learning_rat": 1}}, "/inner/learning_rat", "Did you mean 'learning_rate'?"),
    "unknown, within a list": ({"number": 1, "inners": [{"form": 1}]}, "/inners/0/form", "Did you mean 'from'?"),
    "unknown, within a named entry": ({"number": 1, "named": {"inner": {"iner": {}}}}, "/named/inner/iner", "mean 'inner'?"),
    "unknown, below a named entry": (
        {"number": 1, "named": {"a": {"inner": {"form": 1}}}},
        "/named/a/inner/form",
        "Did you mean 'from'?",
    ),
    "unknown, of another library": (
        {"number": 1, "inner": {"lr": 0.1}},
        "/inner/lr",
        "unknown field 'lr'. It is called 'learning_rate' here.",
    ),
    "unknown, of another place": (
        {"number": 1, "lr": 0.1},
        "/lr",
        "unknown field 'lr'. 'learning_rate' belongs in 'inner': \"inner\": {\"learning_rate\": 0.01}.",
    ),
    "unknown, of another place, by its own name": ({"number": 1, "learning_rate": 0.1}, "/learning_rate", "belongs in 'inner'"),
    "unknown, with advice": ({"number": 1, "inner": {"epochs": 5}}, "/inner/epochs", "unknown field 'epochs'. Give the number"),
    "alias": ({"number": 1, "inner": {"from": "x"}}, "/inner/from", "expected a number, found a string"),
}


@for_each(("value", "place", "detail"), CASES.values())
def test_place_and_message(value: Any, place: str, detail: str) -> None:
    problem = problem_of(value)
    assert problem.kind.name == "invalid-request"
    assert [error.pointer for error in problem.errors] == [place]
    assert detail in problem.errors[0].detail
    assert problem.detail == (f"at {place}: " if place else "") + problem.errors[0].detail


def test_a_field_with_another_name_is_reported_before_the_one_that_is_missing() -> None:
    assert problem_of({"count": 1}).detail == "at /count: unknown field 'count'. It is called 'whole' here. (and 1 more)"


def test_many_errors_are_counted_and_20_are_listed() -> None:
    problem = problem_of({"number": 1, "words": list(range(1000))})
    assert [error.pointer for error in problem.errors] == [f"/words/{k}" for k in range(20)]
    assert problem.detail == "at /words/0: expected a string, found a number (and 999 more)"


@pytest.mark.parametrize(
    "value",
    [{"choice": "s3cret" * 20_000}, {"s3cret" * 20_000: 1}, {"number": "s3cret" * 20_000}, {"table": {"q" * 20_000: None}}],
    ids=["choice", "field", "value", "key"],
)
def test_errors_are_short_and_do_not_repeat_the_input(value: Any) -> None:
    problem = problem_of({"number": 1, **value}).details
    text = problem.detail + "".join(error.pointer + error.detail for error in problem.errors or [])
    assert len(text) < 1500 and "s3cret" * 50 not in text


def test_errors_of_a_value_that_is_no_model() -> None:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(list[Inner]).validate_python([{}, 3])
    assert [error.pointer for error in invalid_request(caught.value, Outer).errors] == ["/1"]


@pytest.mark.parametrize(
    ("body", "place"),
    [
        pytest.param(b'{"count": 1, %s}' % b", ".join(b'"k%d": 1' % k for k in range(100_000)), "/k0", id="unknown fields"),
        pytest.param(b'{"count": 1, "names": [%s]}' % b", ".join([b"{}"] * 100_000), "/names/0", id="list"),
        pytest.param(b'{"count": 1, "numbers": [%s]}' % b", ".join([b'""'] * 100_000), "/numbers/0", id="numbers"),
        pytest.param(b'{"count": 1, "rows": [%s]}' % b", ".join([b"{}"] * 100_000), "/rows/0", id="rows"),
        pytest.param(
            b'{"count": 1, "table": {%s}}' % b", ".join(b'"k%d": ""' % k for k in range(100_000)), "/table/k0", id="table"
        ),
    ],
)
def test_a_hundred_thousand_faults_take_little_memory(body: bytes, place: str) -> None:
    """An error for each would take a gigabyte."""
    tracemalloc.start()
    with pytest.raises(Problem) as caught:
        parse(body, Faulty)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert caught.value.errors[0].pointer == place and len(caught.value.errors) <= MAX_ERRORS
    assert peak < 40 * len(body)


def test_a_shape_is_the_problem_only_where_nothing_else_is_wrong() -> None:
    for fields, kind in (({"count": 1}, "shape-mismatch"), ({"count": "x"}, "invalid-request")):
        with pytest.raises(ValidationError) as caught:
            Faulty.model_validate({**fields, "rows": [[1.0, 2.0], [3.0]]})
        assert invalid_request(caught.value, Faulty).kind.name == kind
