"""The budget of bytes: what fits, what waits, and what is refused."""

import gc
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from app.api.expressions.expression import NodeList
from app.main import create_app
from app.service.execution import Job
from app.service.memory import Budget, Share, State
from app.service.problems import Problem
from app.service.routing import ParsedRequest
from app.settings import Settings
from tests.service.inprocess import job_with, send


def go_on() -> None:
    """A check that never ends a wait."""


def for_a_minute() -> Callable[[], None]:
    """A check that ends a wait which should have ended long before."""
    end = time.monotonic() + 60.0

    def check() -> None:
        assert time.monotonic() < end, "it waits for ever"

    return check


def running(budget: Budget, size: int) -> Share:
    """A request that runs and holds `size` bytes."""
    share = Share(budget)
    share.set(size, go_on)
    return share


class Waiting:
    """A request that asks for memory in a thread of its own."""

    def __init__(self, share: Share, size: int, check: Callable[[], None] = go_on) -> None:
        self.share = share
        self.error: Exception | None = None
        self.asked = threading.Event()
        self.check = check
        self.thread = threading.Thread(target=self._ask, args=(size,))
        self.thread.start()

    def _ask(self, size: int) -> None:
        def check() -> None:
            self.asked.set()
            self.check()

        try:
            self.share.set(size, check)
        except Exception as error:
            self.error = error

    def end(self) -> None:
        """Wait for its end."""
        self.thread.join(10)
        assert not self.thread.is_alive()


def test_what_fits_is_held_at_once_and_given_back() -> None:
    budget = Budget(100)
    first, second = running(budget, 60), running(budget, 40)
    assert budget.used == 100
    first.set(10, go_on)
    assert budget.used == 50
    first.release()
    second.release()
    assert budget.used == 0 and not budget.shares


def test_what_could_never_fit_is_refused_and_the_setting_named() -> None:
    budget = Budget(100)
    with pytest.raises(Problem, match="needs about 101 bytes of memory; the limit is 100, and AUTODIFF_MEMORY_BYTES") as caught:
        Share(budget).set(101, go_on)
    assert caught.value.kind.name == "too-large" and budget.used == 0


def test_body_that_could_never_fit_is_refused_and_not_told_to_come_again() -> None:
    budget = Budget(100)
    with pytest.raises(Problem, match="the body takes 51 bytes of memory; the limit is 50, and AUTODIFF_MEMORY") as caught:
        Share(budget).receive(51)
    assert caught.value.kind.name == "too-large" and budget.used == 0


def test_response_that_is_there_is_held_whether_it_fits_or_not() -> None:
    budget = Budget(100)
    running(budget, 90)
    share = running(budget, 10)
    share.keep(30)
    assert budget.used == 120


def test_what_does_not_fit_now_waits_until_it_does() -> None:
    budget = Budget(100)
    first, other = running(budget, 50), running(budget, 30)
    waiting = Waiting(Share(budget), 60)
    assert waiting.asked.wait(10) and waiting.thread.is_alive() and budget.used == 80
    other.release()
    assert waiting.thread.is_alive() or budget.used == 110, "50 and 60 do not fit"
    first.set(40, go_on)
    waiting.end()
    assert waiting.error is None and waiting.share.held == 60 and budget.used == 100


def test_client_or_deadline_ends_the_wait() -> None:
    budget = Budget(100)
    running(budget, 50)

    def late() -> None:
        raise Problem("deadline-exceeded", "late")

    waiting = Waiting(Share(budget), 60, late)
    waiting.end()
    assert isinstance(waiting.error, Problem) and waiting.error.kind.name == "deadline-exceeded"
    assert budget.used == 50 and waiting.share.state is State.RUNNING


def test_of_requests_that_wait_for_each_other_the_last_is_refused() -> None:
    budget = Budget(100)
    first, second = running(budget, 40), running(budget, 40)
    waiting = Waiting(first, 70)
    assert waiting.asked.wait(10)
    with pytest.raises(Problem, match="AUTODIFF_MEMORY_BYTES allows is in use by other computations") as caught:
        second.set(70, for_a_minute())
    assert caught.value.kind.name == "overloaded" and caught.value.headers == {"Retry-After": "1"}
    second.release()
    waiting.end()
    assert waiting.error is None and budget.used == 70


def test_memory_of_requests_in_the_queue_is_not_waited_for() -> None:
    """They come to an end only after those that run."""
    budget = Budget(100)
    queued = running(budget, 60)
    queued.state = State.QUEUED
    with pytest.raises(Problem, match="in use by other computations"):
        Share(budget).set(50, go_on)


def test_uploads_have_half_of_the_budget_and_do_not_wait() -> None:
    budget = Budget(100)
    first, second = Share(budget), Share(budget)
    first.receive(30)
    first.receive(40)
    second.receive(10)
    with pytest.raises(Problem, match="in use by the bodies of other requests") as caught:
        second.receive(11)
    assert caught.value.kind.name == "overloaded" and budget.used == 50
    first.state = State.QUEUED
    second.receive(50)
    assert budget.used == 90


def test_upload_is_refused_where_computations_hold_too_much() -> None:
    budget = Budget(100)
    running(budget, 95)
    with pytest.raises(Problem, match="AUTODIFF_MEMORY_BYTES"):
        Share(budget).receive(6)


def test_response_takes_the_place_of_what_its_computation_held() -> None:
    """Besides the request, which is held until the end."""
    budget = Budget(1000)
    job = job_with()
    job.share, job.body_bytes = Share(budget), 100
    job.share.receive(100)
    job.reserve(700)
    assert budget.used == 800
    job.keep(50)
    assert budget.used == 150


def test_memory_for_more_is_added_to_what_was_reserved() -> None:
    """What the request takes is counted once."""
    budget = Budget(1000)
    job = job_with()
    job.share, job.body_bytes = Share(budget), 100
    job.reserve(700)
    assert budget.used == 800
    job.reserve_more(150)
    assert budget.used == 950
    job.reserve_more(50)
    assert budget.used == 1000
    with pytest.raises(Problem, match="the limit is 1000, and AUTODIFF_MEMORY_BYTES"):
        job.reserve_more(1)


# --- what is left of a request


@pytest.mark.parametrize("outcome", ["answered", "invalid", "a problem in the pool", "late"])
def test_nothing_of_a_request_waits_for_garbage_to_be_collected(outcome: str) -> None:
    """Collections are rare, and what they would free is not in the budget."""
    nodes: list[dict[str, Any]] = [{"id": "n0", "op": "value", "data": 0.0}]
    nodes += [{"id": f"n{k}", "op": "add", "args": [f"n{k - 1}", 1]} for k in range(1, 2000)]
    if outcome == "a problem in the pool":
        nodes.append({"id": "n2000", "op": "log", "args": ["n0"]})
    body = {"expression": {"nodes": nodes, "output": nodes[-1]["id"]}, "wrt": [1] if outcome == "invalid" else ["n0"]}
    app = create_app(Settings(compute_timeout_s=1e-9 if outcome == "late" else 30.0))

    def left() -> int:
        return sum(type(thing) in (Job, NodeList, ParsedRequest) for thing in gc.get_objects())

    gc.collect()
    gc.disable()
    gc.freeze()  # what is there already is not looked through
    try:
        response = send(app, "POST", "/v1/backward", json=body)
        assert response.status_code == {"answered": 200, "late": 503}.get(outcome, 422)
        del response
        assert left() == 0
    finally:
        gc.enable()
