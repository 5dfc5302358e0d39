"""Many short cases as one test."""

from collections.abc import Callable, Iterable
from functools import wraps
from inspect import signature
from typing import Any


def for_each(names: str | tuple[str, ...], rows: Iterable[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Call a test for each row, as `pytest.mark.parametrize` does, but as one test. A failure has a note that shows its row.

    It is for tables of many rows that take some milliseconds each, since pytest's own work for a test takes as long. Fixtures
    are made once for all rows.
    """
    keys = (names,) if isinstance(names, str) else names
    table = [dict(zip(keys, (row,) if isinstance(names, str) else row, strict=True)) for row in rows]
    assert table, "a table without rows tests nothing"

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        @wraps(test)
        def run(**fixtures: Any) -> None:
            __tracebackhide__ = True
            for row in table:
                try:
                    test(**row, **fixtures)
                except BaseException as error:
                    error.add_note("in the row " + ", ".join(f"{name}={repr(value)[:300]}" for name, value in row.items()))
                    raise

        given = signature(test)
        rest = [parameter for name, parameter in given.parameters.items() if name not in keys]
        run.__signature__ = given.replace(parameters=rest)  # type: ignore[attr-defined]  # pytest asks for it
        return run

    return decorate
