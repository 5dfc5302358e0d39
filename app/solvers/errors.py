"""The errors of the solvers, and a check that several share."""

from app.engine.errors import EngineError, Place, quote
from app.engine.graph import CONSTANTS, Graph


class InvalidArgument(EngineError):
    """An argument of a solver is invalid, such as a negative uncertainty. `place` is relative to the solver's arguments."""


class MissingData(EngineError):
    """A name of an expression is neither a column of data nor a parameter."""


class NotConverged(EngineError):
    """A search has no usable answer, such as the minimum of a function that has none."""


def check_not_constant(name: str, graph: Graph, place: Place) -> None:
    """Raise InvalidArgument for a name that a text takes as a constant, so that a number given for it would not count."""
    if name in CONSTANTS and name not in graph.index:
        raise InvalidArgument(f"in a text, {quote(name)} is the constant {CONSTANTS[name]!r}; choose another name", place)
