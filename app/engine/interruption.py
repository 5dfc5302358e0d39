"""How long work is given up: whoever starts it may set a check, which is called between its parts and raises to end it.

Not here: clocks, and who is to say that work is no longer wanted.
"""

from collections.abc import Callable
from contextvars import ContextVar


def _never() -> None:
    """Work goes on."""


CHECK: ContextVar[Callable[[], None]] = ContextVar("CHECK", default=_never)


def checkpoint() -> None:
    """Ends the work that calls it by an exception, if it is to end. Called at least every tenth of a second or so."""
    CHECK.get()()
