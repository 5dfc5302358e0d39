"""Cooperative cancellation: long work calls a checkpoint between its parts, which raises an exception to stop it."""

from collections.abc import Callable

Checkpoint = Callable[[], None]


def never() -> None:
    """Never stop the work."""
