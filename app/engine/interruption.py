"""Cooperative cancellation: long work calls a checkpoint between its parts, which raises an exception to stop it."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Checkpoint = Callable[[], None]
Item = TypeVar("Item")

ITEMS_BETWEEN = 1 << 12
"""Between so many items of a loop in Python, some milliseconds, work looks whether it must stop."""


def never() -> None:
    """Never stop the work."""


def checked(items: Iterable[Item], checkpoint: Checkpoint) -> Iterator[Item]:
    """Yield the items, and call the checkpoint now and then."""
    for k, item in enumerate(items):
        if k % ITEMS_BETWEEN == 0:
            checkpoint()
        yield item
