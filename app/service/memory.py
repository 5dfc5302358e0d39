"""A budget of bytes that the requests of a process share.

What a request will need is estimated before it is allocated. A request that does not fit now waits for others to end; one that
never could is refused.
"""

import itertools
import threading
from collections.abc import Callable
from enum import Enum

from app.service.problems import Problem, too_large

WAIT_SECONDS = 0.02
"""How often a request that waits looks at its deadline and its client."""

UPLOADS = 0.5
"""The part of the budget that bodies on their way may take."""


class Budget:
    """The bytes of a process. Its shares may be used from any thread."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.shares: set[Share] = set()  # those that hold something, or wait for it
        self.changed = threading.Condition()

    @property
    def used(self) -> int:
        """How many bytes are held."""
        return sum(share.held for share in self.shares)


class State(Enum):
    """What a request does with what it holds."""

    UPLOADING = "its body is on its way"
    QUEUED = "it waits for a place in the pool"
    RUNNING = "it is computed, or its response is sent"
    WAITING = "it is to be computed, and waits for more memory"


class Share:
    """What one request holds of a budget."""

    numbers = itertools.count()

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.held = 0
        self.state = State.UPLOADING
        self.number = next(self.numbers)

    def receive(self, size: int) -> None:
        """Hold `size` bytes for a body on its way. Raises Problem where they do not fit: uploads do not wait for each other."""
        budget = self.budget
        if size > UPLOADS * budget.total:
            raise too_large(f"the body takes {size:,} bytes of memory", UPLOADS * budget.total, "memory_bytes")
        with budget.changed:
            uploads = sum(share.held for share in budget.shares if share.state is State.UPLOADING)
            more = size - self.held
            if budget.used + more > budget.total or uploads + more > UPLOADS * budget.total:
                raise _overloaded("the bodies of other requests")
            self._hold(size)

    def set(self, size: int, check: Callable[[], None]) -> None:
        """Hold `size` bytes, and wait until they are free if need be. `check` is called while waiting.

        Raises Problem where so many are more than the budget, or where nothing that holds memory would ever give it back.
        """
        self._check_total(size)
        budget = self.budget
        with budget.changed:
            budget.shares.add(self)
            self.state = State.WAITING
            try:
                while budget.used + size - self.held > budget.total:
                    if self._is_last_of_stuck():
                        raise _overloaded("other computations")
                    budget.changed.wait(WAIT_SECONDS)
                    check()
            finally:
                self.state = State.RUNNING
            self._hold(size)

    def keep(self, size: int) -> None:
        """Hold `size` bytes that are there already, whether or not they fit."""
        with self.budget.changed:
            self._hold(size)

    def release(self) -> None:
        """Give everything back."""
        with self.budget.changed:
            self._hold(0)

    def _check_total(self, size: int) -> None:
        if size > self.budget.total:
            raise too_large(f"the request needs about {size:,} bytes of memory", self.budget.total, "memory_bytes")

    def _hold(self, size: int) -> None:
        self.held = size
        (self.budget.shares.add if size else self.budget.shares.discard)(self)
        self.budget.changed.notify_all()

    def _is_last_of_stuck(self) -> bool:
        """Whether no share will change by itself, and this request is the last to have come of those that wait."""
        shares = self.budget.shares
        if any(share.held for share in shares if share.state in (State.UPLOADING, State.RUNNING)):
            return False
        return self.number == max(share.number for share in shares if share.state is State.WAITING)


def _overloaded(who: str) -> Problem:
    detail = f"the memory that AUTODIFF_MEMORY_BYTES allows is in use by {who}"
    return Problem("overloaded", detail, headers={"Retry-After": "1"})
