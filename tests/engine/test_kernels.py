"""The switch, a function that is generated from the rules of a table of primitives."""

import re
from collections.abc import Callable
from types import FunctionType
from typing import Any

import numba
import numpy as np
import pytest

from app.engine.jit import jit
from app.engine.kernels import _place, _written, switch, value_and_partials_of
from app.engine.primitives import PRIMITIVES, Primitive, zero

factor = 3.0


def squared(x: float) -> float:
    """A rule that is not a lambda."""
    return x * x


def made_of(text: str, **names: object) -> Callable[..., Any]:
    """A lambda that is in no file."""
    rule: Callable[..., Any] = eval(text, names)
    return rule


def row(name: str, rule: Callable[..., Any]) -> Primitive:
    """A row with this value."""
    return Primitive(name, rule, (zero,), (zero,), domain=((0.0, 1.0),))


ROWS = [
    row("lambda", lambda x: factor * np.sin(x)),
    row("function", squared),
    row("not in a file", made_of("lambda x: 5.0 * x")),
    row("other names", lambda u: 7.0 * u),
    row("other meaning", made_of("lambda x: factor * x", factor=11.0)),
    Primitive("fold", fold="add"),
    row("constant", zero),
    row("two on a line", (lambda x: x + 1.0, lambda x: x + 2.0)[1]),
]


@pytest.mark.parametrize("code", [k for k, row in enumerate(ROWS) if row.fun])
def test_switch_returns_what_the_rule_returns(code: int) -> None:
    rule = ROWS[code].fun
    assert rule is not None
    assert apply(code, 0.7) == rule(0.7)


value_of = switch(ROWS, lambda row: (), 0, "")


@jit
def apply(op: int, x: float) -> float:
    """The value of one instruction."""
    return value_of(op, x, 0.0, 0.0)  # type: ignore[no-any-return]  # compiled


def test_name_with_two_meanings_is_not_confused() -> None:
    scope: dict[str, Any] = {"factor": 2.0}
    expression = _written(ROWS[0].fun, "x", scope)  # type: ignore[arg-type]  # it is there
    assert expression.startswith("rule_") and scope["factor"] == 2.0


def test_all_rules_of_the_table_are_written_out() -> None:
    """None is compiled as a function of its own, which takes three times as long."""
    for primitive in PRIMITIVES:
        arguments = ", ".join("xyz"[: len(primitive.d)])
        for rule in (*primitive.d, *primitive.dd):
            assert not _written(rule, f"{arguments}, out", {}).startswith("rule_")
        if primitive.fun is not None:
            assert not _written(primitive.fun, arguments, {}).startswith("rule_")


@pytest.mark.slow
def test_common_rows_do_not_pay_for_the_calls_of_others() -> None:
    """numba clears the places of results of calls whenever a function is entered: 22 of them made walks 1.5 times as long."""
    number = numba.float64
    value_and_partials_of.compile((numba.int32, number, number, number))  # type: ignore[attr-defined]  # compiled
    code = value_and_partials_of.inspect_llvm(value_and_partials_of.signatures[0])  # type: ignore[attr-defined]  # compiled
    functions = re.split(r"(?m)^(?=define )", code)
    (rows,) = [text for text in functions if re.match(r"define .*4rows", text)]
    assert rows.count(" alloca ") <= 4, "the result and the error of the call of the rare rows, and little else"


def test_place_of_a_rule_without_columns_is_none() -> None:
    """As under `python -X no_debug_ranges`: then all rules are called."""
    assert _place(made_of("lambda x: x")) != (0, 0)
    assert _place(FunctionType(squared.__code__.replace(co_linetable=b""), {})) == (0, 0)
