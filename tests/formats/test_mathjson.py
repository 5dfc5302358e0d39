"""MathJSON read as graphs: values as Compute Engine gives them, and errors with their places."""

import json
import math
import os
from pathlib import Path
from typing import Any

import pytest

from app.engine import backward, evaluate, parse
from app.engine.errors import EngineError, InvalidNode, UnknownPrimitive, WrongArity
from app.engine.large_json import SIZES, decode
from app.engine.primitives import WIRE
from app.formats import mathjson
from tests.conftest import ROOT
from tests.formats.mathjson_cases import evaluated, random_cases
from tests.rows import for_each

RECORDED = json.loads((Path(__file__).parent / "recorded" / "mathjson.json").read_text("utf-8"))
MODULES = os.environ.get("AUTODIFF_TEST_COMPUTE_ENGINE")
SEED, COUNT = 16, 2000


def value_of(expression: Any, inputs: dict[str, float], moved: float = 0.0) -> float:
    """The value at inputs that are moved by a relative amount."""
    graph = mathjson.read(expression)
    given = {name: number * (1.0 + moved) for name, number in inputs.items() if name in graph.index}
    [value] = evaluate(graph, given).values()
    return float(value)


def assert_agree(cases: list[dict[str, Any]], expected: list[float | None]) -> None:
    """Assert that most values are comparable, and that these are Compute Engine's."""
    compared = [agrees(case, value) for case, value in zip(cases, expected, strict=True)]
    assert sum(compared) > 0.9 * len(cases)


def agrees(case: dict[str, Any], expected: float | None) -> bool:
    """Whether a value can be compared. If so, it is that of Compute Engine, as far as rounding the inputs lets it be known."""
    if expected is None:  # not a real number there, or a comparison that it leaves open
        return False
    expression, inputs = case["expression"], case["inputs"]
    value = value_of(expression, inputs)
    if not math.isfinite(value):  # a pole, or an overflow on the way: the service refuses it
        return False
    sensitivity = abs(value_of(expression, inputs, 1e-12) - value)
    assert abs(value - expected) <= 1e-11 * max(abs(expected), 1e-3) + 20.0 * sensitivity, case
    return True


def test_recorded_values_agree() -> None:
    assert_agree(random_cases(RECORDED["seed"], len(RECORDED["values"])), RECORDED["values"])


@pytest.mark.slow
@pytest.mark.skipif(MODULES is None, reason="AUTODIFF_TEST_COMPUTE_ENGINE does not name the folder of Compute Engine")
def test_fresh_values_agree() -> None:
    assert MODULES is not None
    cases = random_cases(SEED, COUNT)
    assert_agree(cases, evaluated(cases, Path(MODULES)))


def test_every_function_is_tried() -> None:
    """The random expressions use all of the table but for what they cannot compare."""

    def heads(item: Any) -> set[str]:
        return {item[0]}.union(*map(heads, item)) if isinstance(item, list) else set()

    used = set().union(*(heads(case["expression"]) for case in random_cases(RECORDED["seed"], len(RECORDED["values"]))))
    assert set(mathjson.FUNCTIONS) - used == {"Sum", "Product"}


WRITTEN = {
    "power": (["Add", ["Power", "x", 2], 1], "x**2 + 1"),
    "nothing to add": (["Add"], "0"),
    "nothing to multiply": (["Multiply"], "1"),
    "four terms": (["Add", "x", "y", 1, 2], "sum(x, y, 1, 2)"),
    "exp": (["Power", "ExponentialE", "x"], "exp(x)"),
    "e as it is typed": (["Power", "e", "x"], "exp(x)"),
    "log to the base 10": (["Log", "x"], "log10(x)"),
    "log to the base 2": (["Log", "x", 2], "log2(x)"),
    "log to any base": (["Log", "x", "y"], "log(x)/log(y)"),
    "natural log": (["Ln", "x"], "log(x)"),
    "constant exponent": (["Power", "x", ["Rational", 3, 2]], "x**1.5"),
    "half": (["Multiply", "Half", "x"], "0.5*x"),
    "chain": (["Less", 0, "x", 3], "0 < x < 3"),
    "which": (["Which", ["Less", "x", 0], ["Negate", "x"], "True", "x"], "-x if x < 0 else x"),
    "if": (["If", ["LessEqual", "x", 1], "x", "y"], "x if x <= 1 else y"),
    "mixed number": (["InvisibleOperator", 2, ["Divide", 1, 2]], "2 + 0.5"),
    "negative mixed number": (["InvisibleOperator", -2, ["Rational", 1, 2]], "-2 - 0.5"),
    "product side by side": (["InvisibleOperator", 2, "x", ["Delimiter", ["Add", "y", 1], "'(,)'"]], "prod(2, x, y + 1)"),
    "list": (["Max", ["List", 1, "x", 3]], "max(1, x, 3)"),
    "sum of a list": (["Sum", ["List", 1, "x", 3]], "sum(1, x, 3)"),
    "product of a list": (["Product", ["List", 2, "x"]], "2*x"),
    "not": (["Not", ["Less", "x", 1]], "(x < 1) == 0"),
    "and": (["And", ["Less", "x", 1], "y"], "(x < 1)*(y != 0)"),
    "or": (["Or", ["Less", "x", 1], ["Less", "y", 1]], "max(x < 1, y < 1)"),
    "own primitive": (["relu", ["Negate", "x"]], "relu(-x)"),
    "own primitive of many": (["logsumexp", "x", "y", 1], "logsumexp(x, y, 1)"),
    "objects": ({"fn": ["Add", {"num": "1.5"}, {"sym": "x"}, {"num": 2}]}["fn"], "sum(1.5, x, 2)"),
    "function object": (["Sin", {"fn": ["Add", "x", 1]}], "sin(x + 1)"),
    "repeating decimals": (["Add", {"num": "0.1(6)"}, {"num": "-.(3)e1"}, "x"], "sum(1/6, -10/3, x)"),
    "number as text": (["Add", "-1.5e3", "x"], "-1500 + x"),
    "odd root": (["Root", "x", 3], "sign(x)*abs(x)**(1/3)"),
    "square root": (["Root", "x", 2], "sqrt(x)"),
}


@for_each("name", WRITTEN)
def test_array_is_what_the_text_is(name: str) -> None:
    array, text = WRITTEN[name]
    found, expected = mathjson.read(array), parse(text)
    assert set(found.names) == set(expected.names)
    inputs = {leaf: number for leaf, number in {"x": 1.25, "y": 0.75}.items() if leaf in found.index}
    a, b = backward(found, inputs), backward(expected, inputs)
    assert a.value == b.value
    assert {n: a.gradients[n] for n in inputs} == {n: pytest.approx(b.gradients[n], rel=1e-15) for n in inputs}


def test_no_condition_holds_is_not_a_number() -> None:
    assert math.isnan(value_of(["Which", ["Less", "x", 0], 1, ["Greater", "x", 1], 2], {"x": 0.5}))
    assert value_of(["Which", ["Less", "x", 0], 1, ["Greater", "x", 1], 2], {"x": 1.5}) == 2.0
    assert math.isnan(value_of(["Which", "False", 1], {}))


def test_root_and_cube_root_of_negative_numbers_are_real() -> None:
    assert value_of(["Root", "x", 3], {"x": -8.0}) == -2.0
    assert value_of(["Power", "x", ["Rational", 1, 3]], {"x": -8.0}) == -2.0
    assert math.isnan(value_of(["Root", "x", 4], {"x": -16.0}))


def test_every_primitive_is_a_function() -> None:
    for name, row in WIRE.items():
        arguments = [1.0 + k / 4 for k in range(row.min_arity)]
        assert mathjson.read([name, *arguments]).nodes[-1].op == name


@pytest.mark.parametrize(
    ("names", "output"), [(["output"], "output_2"), (["x"], "output"), (["output", "output_2"], "output_3")]
)
def test_output_has_a_free_name(names: list[str], output: str) -> None:
    assert mathjson.read(["Add", 1, *names]).output == output


def test_single_name_and_single_number_are_expressions() -> None:
    assert value_of(["Delimiter", "x"], {"x": 3.0}) == 3.0
    assert value_of(["Delimiter", 2], {}) == 2.0


FAULTS: dict[str, tuple[Any, type[EngineError], tuple[str | int, ...], str]] = {
    "empty": ([], InvalidNode, (), "found an empty list"),
    "number first": ([3, "x"], InvalidNode, (0,), "found a number"),
    "array first": ([["Sin"], "x"], InvalidNode, (0,), "found a list"),
    "name alone": (["Add", ["x"]], InvalidNode, (1,), "a list with one entry"),
    "no number": (["Add", {"num": "1/3"}, "x"], InvalidNode, (1, "num"), "'1/3' is no number"),
    "digits in groups": (["Add", "x", "1_000"], InvalidNode, (2,), "'1_000' is no number"),
    "null first": ([None], InvalidNode, (0,), "found null"),
    "unknown": (["Add", 1, ["Sin", ["Floor", "x"]]], UnknownPrimitive, (2, 1, 0), "'Floor'"),
    "nearly": (["Arcsinh", "x"], UnknownPrimitive, (0,), "Did you mean 'Arsinh'?"),
    "in quotes": (["'Sin'", "x"], UnknownPrimitive, (0,), "without the inner quotes"),
    "list": (["Add", ["List", 1, 2]], UnknownPrimitive, (1, 0), "Sum, Product, Min, Max or Mean"),
    "range": (["Sum", "k", ["Limits", "k", 1, 3]], WrongArity, (), "write the terms out"),
    "no list": (["Sum", "x"], InvalidNode, (1,), "write the terms out"),
    "empty list": (["Max", ["List"]], WrongArity, (1,), "at least one entry"),
    "too few": (["Multiply", ["Power", "x"]], WrongArity, (1,), "Power takes 2 arguments, not 1"),
    "too many": (["Sin", 1, 2], WrongArity, (), "Sin takes 1 argument, not 2"),
    "one or two": (["Log", 1, 2, 3], WrongArity, (), "Log takes 1 to 2 arguments, not 3"),
    "primitive": (["relu"], WrongArity, (), "relu takes 1 argument, not 0"),
    "pairs": (["Which", "x", 1, 2], WrongArity, (), "pairs"),
    "boolean": (["Add", True], InvalidNode, (1,), "found a boolean"),
    "null": (["Add", 1, None], InvalidNode, (2,), "found null"),
    "string": (["Add", "'x'"], InvalidNode, (1,), "a string in quotes"),
    "infinity": (["Add", "PositiveInfinity"], InvalidNode, (1,), "no finite real number"),
    "imaginary": (["Add", "ImaginaryUnit"], InvalidNode, (1,), "no finite real number"),
    "large number": (["Add", "1e999"], InvalidNode, (1,), "finite"),
    "function as name": (["Add", "Sin"], InvalidNode, (1,), '["Sin", ...]'),
    "empty name": (["Add", ""], InvalidNode, (1,), "1 to 128 characters"),
    "long name": (["Add", "x" * 129], InvalidNode, (1,), "1 to 128 characters"),
    "our mark": (["Add", "%1"], InvalidNode, (1,), "no % at its beginning"),
    "control": (["Add", "a\n"], InvalidNode, (1,), "control characters"),
    "object": (["Add", {"str": "x"}], InvalidNode, (1,), "found an object"),
    "number object": (["Add", {"num": True}], InvalidNode, (1, "num"), "found null"),
    "object's place": (["Add", {"fn": ["Floor", "x"]}], UnknownPrimitive, (1, "fn", 0), "Floor"),
    "degree": (["Root", "x", 0], InvalidNode, (2,), "degree 0"),
}


@for_each("name", FAULTS)
def test_fault_has_its_place(name: str) -> None:
    array, kind, place, words = FAULTS[name]
    with pytest.raises(kind) as caught:
        mathjson.read(array)
    assert caught.value.place == place
    assert words in caught.value.detail


def test_depth_and_length_do_not_matter() -> None:
    deep: Any = "x"
    for _ in range(20_000):
        deep = ["Negate", deep]
    assert value_of(deep, {"x": 3.0}) == 3.0
    assert value_of(["Add", *["x"] * 20_000], {"x": 1.0}) == 20_000.0
    with pytest.raises(UnknownPrimitive) as caught:
        mathjson.read(["Negate", ["Negate", ["Negated", deep]]])
    assert caught.value.place == (1, 1, 0)


def test_large_text_is_read_in_pieces() -> None:
    terms = [["Multiply", k, "x"] for k in range(9_000)]
    text = json.dumps(["Add", ["Add", *terms], {"fn": ["Add", *terms]}]).encode()
    assert len(text) > SIZES.piece
    value = decode(text, (), lambda: None)
    source = mathjson.unread(value)
    assert source.entries >= 6 * len(terms)
    assert value_of(source.value, {"x": 1.0}) == 2 * sum(range(9_000))


def test_growth_can_be_stopped() -> None:
    def grow(entries: int) -> None:
        assert entries <= 15_000, "enough"

    for array in (["Add", *["x"] * 20_000], ["Add", *[["Sin", "x"]] * 7_000]):
        with pytest.raises(AssertionError, match="enough"):
            mathjson.read(array, grow=grow)


def test_bound_on_entries() -> None:
    assert mathjson.unread(["Add", ["Sin", "x"], {"fn": ["Cos", "x"]}, 1]).entries == 8


def test_table_of_functions_matches_the_code() -> None:
    lines = ["| function | arguments | meaning |", "|---|---|---|"]
    for row in mathjson.FUNCTIONS.values():
        most = "or more" if row.max_arity is None else f"to {row.max_arity}"
        count = str(row.min_arity) if row.min_arity == row.max_arity else f"{row.min_arity} {most}"
        lines.append(f"| `{row.name}` | {count} | {row.meaning} |")
    expected = "\n".join(lines)
    assert expected in (ROOT / "README.md").read_text("utf-8"), f"the README's table should be:\n{expected}"
