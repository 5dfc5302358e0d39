"""The errors of the solvers."""

from app.engine.errors import EngineError


class InvalidArgument(EngineError):
    """An argument of a solver is invalid, such as a negative uncertainty. `place` is relative to the solver's arguments."""


class MissingData(EngineError):
    """A name of an expression is neither a column of data nor a parameter."""


class NotConverged(EngineError):
    """A search has no usable answer, such as the minimum of a function that has none."""
