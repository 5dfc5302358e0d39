"""Errors: a flat tree, and messages that are short and printable whatever they quote."""

import inspect
import time

import pytest

from app.engine import errors
from app.engine.errors import NAME_LIMIT, EngineError, ExpressionSyntaxError, nearest, quote
from tests.rows import for_each


def kinds() -> set[str]:
    return {name for name, kind in vars(errors).items() if inspect.isclass(kind) and issubclass(kind, EngineError)}


def test_the_docstring_lists_all_errors() -> None:
    drawn = {line.split("── ")[1].split()[0] for line in (errors.__doc__ or "").splitlines() if "── " in line}
    assert drawn == kinds() - {"EngineError"}
    assert all(getattr(errors, name).__bases__ == (EngineError,) for name in drawn)


def test_an_error_has_a_detail_and_a_place() -> None:
    error = EngineError("it is so", ("inputs", "x"))
    assert (str(error), error.detail, error.place) == ("it is so", "it is so", ("inputs", "x"))
    assert EngineError("it is so").place == ()
    assert (EngineError("it is so").line, EngineError("it is so").column) == (None, None)


def test_an_error_in_text_starts_with_its_line_and_column() -> None:
    syntax = ExpressionSyntaxError("expected more", line=2, column=5)
    assert (syntax.detail, syntax.line, syntax.column) == ("line 2, column 5: expected more", 2, 5)
    assert str(syntax) == syntax.detail and syntax.place == ()


@for_each("name", ["x", "a b", "a\nb", "\x00", "\ud800", "é", "'", '"', "n" * 10_000, "\n" * 10_000, "\x1b[31m", 3])
def test_quoted_names_are_short_and_printable(name: object) -> None:
    """Short even if every character is escaped."""
    quoted = quote(name)
    assert quoted.isprintable() and len(quoted) <= 10 * NAME_LIMIT
    quoted.encode("utf-8")
    assert quoted[0] in "'\"" and quoted[-1] == quoted[0]


@pytest.mark.parametrize(("length", "shown"), [(60, "n" * 60), (61, "n" * 59 + "…")])
def test_a_quoted_name_is_cut_beyond_sixty_characters(length: int, shown: str) -> None:
    assert quote("n" * length) == f"'{shown}'"


@for_each(
    ("name", "known", "hint"),
    [
        ("alpa", ["beta", "alpha"], " Did you mean 'alpha'?"),
        ("ALPHA", ["beta", "alpha"], " Did you mean 'alpha'?"),
        ("X", ["y", "x"], " Did you mean 'x'?"),
        ("sqrz", ["sqrt"], " Did you mean 'sqrt'?"),
        ("sen", ["sin"], ""),  # of three letters, another one is another name
        ("si", ["sin"], " Did you mean 'sin'?"),
        ("sumxy", ["sum"], ""),
        ("sigmoidxy", ["sigmoid"], " Did you mean 'sigmoid'?"),
        ("sigmoixy", ["sigmoi"], ""),
        ("zzz", ["beta", "alpha"], ""),
        ("weight1", ["weight2"], ""),  # numbers are not mistyped
        ("node12x", ["node13x"], ""),
        ("voltage33", ["voltage3"], ""),
        ("weght1", ["weight1"], " Did you mean 'weight1'?"),
        ("volage3", ["voltage3"], " Did you mean 'voltage3'?"),
        ("zzz", [], ""),
        ("", ["x"], ""),
        ("n" * 200, ["n" * 59], " Did you mean '" + "n" * 59 + "'?"),
        ("n" * 200, ["n" * 60], " Did you mean '" + "n" * 60 + "'?"),
        ("n" * 200, ["n" * 61], ""),
    ],
)
def test_nearest_name(name: str, known: list[str], hint: str) -> None:
    assert nearest(name, known) == hint


@pytest.mark.alone
def test_a_hint_is_cheap() -> None:
    """Only some of a million names are compared, and only short ones."""
    began = time.perf_counter()
    nearest("q" * 100_000, (f"{'p' * 50} {k}" for k in range(1_000_000)))
    assert time.perf_counter() - began < 2.0
