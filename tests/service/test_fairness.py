"""Clients beside each other: what one of them may have in flight, and what it cannot take from the others."""

import asyncio
import gc
import gzip
from typing import Any

import pytest
from starlette.requests import ClientDisconnect

from app.main import create_app
from app.service import bodies
from app.service.execution import Execution, Job
from app.service.keys import client_of
from app.service.memory import State
from app.service.problems import Problem
from app.settings import Settings
from tests.rows import for_each
from tests.service.fake_time import Clock, Work, in_pool, run_with_execution, settle
from tests.service.inprocess import send
from tests.service.test_execution import Client


class Caller(Client):
    """A client with an address."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self.address = address

    def request(self) -> Any:
        """A request whose body has been read."""
        request = super().request()
        request.scope["client"] = (self.address, 1)
        return request


class Call:
    """A computation of a client, until its response is sent."""

    def __init__(self, execution: Execution, clock: Clock, address: str, is_short: bool = False) -> None:
        self.execution = execution
        self.job = Job(execution.settings, clock.now + 30.0, {})
        self.work = Work(self.job)
        self.client = Caller(address)
        self.request = self.client.request()
        self.sent = asyncio.Event()
        self.is_short = is_short
        self.task = asyncio.create_task(self._serve())

    async def _serve(self) -> str:
        try:
            try:
                await self.execution.admit(self.job, self.request, is_short=self.is_short)
                answer = await self.execution.run(self.job, self.work)
            finally:
                self.execution.release(self.job)
            await self.sent.wait()
            return answer
        finally:
            self.execution.finish(self.job)

    @property
    def problem(self) -> Problem:
        """What it is refused with."""
        assert self.task.done()
        error = self.task.exception()
        assert isinstance(error, Problem) and error.headers == {"Retry-After": "1"}
        return error

    async def end(self) -> None:
        """Let it come to its end."""
        await self.work.begun.wait()
        self.work.may_end.set()
        self.sent.set()
        await self.task
        await settle()


def test_client_has_no_more_in_flight_than_the_setting_says(clock: Clock) -> None:
    """Waiting, running, and with a response that is not read yet; another client is not concerned."""

    async def test(execution: Execution) -> None:
        calls = [Call(execution, clock, "1.1.1.1") for _ in range(3)]
        await settle()
        assert calls[2].problem.kind.name == "too-many-requests" and calls[2].problem.kind.status == 429
        assert "AUTODIFF_MAX_CONCURRENCY_PER_CLIENT is 2" in calls[2].problem.detail
        other = Call(execution, clock, "2.2.2.2")
        await calls[0].work.begun.wait()
        calls[0].work.may_end.set()
        await calls[1].work.begun.wait()
        unread = Call(execution, clock, "1.1.1.1")
        await settle()
        assert unread.problem.kind.name == "too-many-requests", "its first response is not read"
        calls[0].sent.set()
        await calls[0].task
        again = Call(execution, clock, "1.1.1.1")
        for call in (calls[1], other, again):
            await call.end()

    run_with_execution(clock, Settings(max_concurrency=1, max_queue=9, max_concurrency_per_client=2), test)


def test_work_of_a_client_that_has_left_counts_until_its_thread_ends(clock: Clock) -> None:
    """Else who leaves again and again would have as many threads, and as much memory, as there are."""

    async def test(execution: Execution) -> None:
        first = Call(execution, clock, "1.1.1.1")
        await first.work.begun.wait()
        first.job.reserve(1000)
        first.client.left.set()
        await settle()
        assert first.task.done() and isinstance(first.task.exception(), ClientDisconnect)
        again = Call(execution, clock, "1.1.1.1")
        await settle()
        assert again.problem.kind.name == "too-many-requests" and execution.budget.used == 1000
        thread = first.job.thread
        assert thread is not None
        first.work.may_end.set()
        await asyncio.wait((thread,))
        await settle()
        assert execution.budget.used == 0
        await Call(execution, clock, "1.1.1.1").end()

    run_with_execution(clock, Settings(max_concurrency=1, max_concurrency_per_client=1), test)


def test_refusal_of_a_client_that_leaves_at_that_moment_is_not_reported(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """The log does not have it as an exception that was forgotten."""

    async def test(execution: Execution) -> None:
        calls = [Call(execution, clock, "1.1.1.1") for _ in range(3)]
        await calls[0].work.begun.wait()
        calls[2].client.left.set()
        other = Call(execution, clock, "2.2.2.2")
        await settle()
        assert isinstance(calls[2].task.exception(), ClientDisconnect)
        for call in (calls[0], calls[1], other):
            await call.end()

    run_with_execution(clock, Settings(max_concurrency=1, max_queue=2), test)
    gc.collect()
    assert not caplog.records


def test_upload_counts_as_in_flight(clock: Clock) -> None:
    async def test(execution: Execution) -> None:
        jobs = [Job(execution.settings, clock.now + 30.0, {}) for _ in range(2)]
        request = Caller("1.1.1.1").request()
        execution.receive(jobs[0], request, 10_000)
        execution.receive(jobs[0], request, 20_000)
        assert execution.budget.used == 20_000
        with pytest.raises(Problem, match="AUTODIFF_MAX_CONCURRENCY_PER_CLIENT is 1"):
            execution.receive(jobs[1], request, 10_000)
        execution.finish(jobs[0])
        assert execution.budget.used == 0

    run_with_execution(clock, Settings(max_concurrency=1, max_concurrency_per_client=1), test)


def test_full_queue_turns_away_the_client_that_has_most_in_it(clock: Clock) -> None:
    async def test(execution: Execution) -> None:
        greedy = [Call(execution, clock, "1.1.1.1") for _ in range(4)]
        await settle()
        modest = Call(execution, clock, "2.2.2.2")
        await settle()
        assert greedy[3].problem.kind.name == "overloaded" and "AUTODIFF_MAX_QUEUE is 3" in greedy[3].problem.detail
        refused = Call(execution, clock, "1.1.1.1")
        await settle()
        assert refused.problem.kind.name == "overloaded"
        await greedy[0].end()
        await greedy[1].end()
        await modest.work.begun.wait()
        assert not greedy[2].work.begun.is_set(), "they take turns"
        await modest.end()
        await greedy[2].end()

    run_with_execution(clock, Settings(max_concurrency=1, max_queue=3), test)


def test_full_queue_in_which_all_have_as_much_turns_away_who_comes_last(clock: Clock) -> None:
    async def test(execution: Execution) -> None:
        addresses = ("1.1.1.1", "1.1.1.1", "2.2.2.2", "3.3.3.3")  # the first one runs
        calls = []
        for address in addresses:
            calls.append(Call(execution, clock, address))
            await settle()
        assert calls[-1].problem.kind.name == "overloaded"
        for call in calls[:-1]:
            await call.end()

    run_with_execution(clock, Settings(max_concurrency=1, max_queue=2), test)


def test_short_work_does_not_wait_for_long_work(clock: Clock) -> None:
    async def test(execution: Execution) -> None:
        greedy = [Call(execution, clock, "1.1.1.1") for _ in range(4)]
        await settle()
        for _ in range(3):
            await Call(execution, clock, "2.2.2.2", is_short=True).end()
        assert not greedy[1].work.begun.is_set()
        for call in greedy:
            await call.end()

    run_with_execution(clock, Settings(max_concurrency=1, max_queue=3), test)


def test_metrics_count_short_work_and_long(clock: Clock) -> None:
    async def test(execution: Execution) -> None:
        calls = [Call(execution, clock, "1.1.1.1", is_short=is_short) for is_short in (False, True, False, True, True)]
        await settle()
        assert in_pool() == (2, 3)
        for call in calls:
            await call.end()
        assert in_pool() == (0, 0)

    run_with_execution(clock, Settings(max_concurrency=1, max_queue=3), test)


def test_work_that_turns_out_to_be_long_gives_up_the_place_for_short_work(clock: Clock) -> None:
    async def test(execution: Execution) -> None:
        first = Call(execution, clock, "1.1.1.1")
        await first.work.begun.wait()
        job, request = Job(execution.settings, clock.now + 30.0, {}), Caller("1.1.1.1").request()
        await execution.admit(job, request, is_short=True)
        waits = asyncio.create_task(execution.become_long(job, request))
        await settle()
        assert not waits.done() and execution.places.waiting == 1
        await Call(execution, clock, "2.2.2.2", is_short=True).end()
        await first.end()
        await waits
        execution.release(job)
        execution.finish(job)

    run_with_execution(clock, Settings(max_concurrency=1, max_queue=3), test)


@pytest.mark.parametrize("zipped", [False, True], ids=["plain", "gzip"])
def test_memory_is_held_before_a_body_is_decoded(monkeypatch: pytest.MonkeyPatch, zipped: bool) -> None:
    """A body that needs more than there could be is refused, before it is decompressed or decoded."""
    decoded: list[object] = []
    monkeypatch.setattr(bodies, "decompress", lambda *given: decoded.append(given))
    monkeypatch.setattr(bodies, "parse", lambda *given: decoded.append(given))
    text = b'{"expression": "1"}'.ljust(300_000)
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip" if zipped else "identity"}
    content = gzip.compress(text) if zipped else text
    app = create_app(Settings(memory_bytes=1_000_000 if not zipped else 200_000))
    response = send(app, "POST", "/v1/forward", content=content, headers=headers)
    assert response.status_code == 422 and response.json()["type"] == "/problems/too-large"
    assert "AUTODIFF_MEMORY_BYTES" in response.json()["detail"] and not decoded


@pytest.mark.parametrize(("less", "status"), [(0, 200), (1, 422)])
def test_memory_of_a_body_that_is_decompressed(less: int, status: int) -> None:
    """It is at most 1,032 times as long as the compressed one (zlib's technical details), and may be copied as it grows."""
    content = gzip.compress(b'{"expression": "1"}')
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    app = create_app(Settings(memory_bytes=2 * 1032 * len(content) - less))
    response = send(app, "POST", "/v1/forward", content=content, headers=headers)
    assert response.status_code == status


def test_body_of_a_computation_in_the_queue_is_no_upload(clock: Clock) -> None:
    """Uploads have half of the memory, and it does not count among them."""

    async def test(execution: Execution) -> None:
        running, queued, uploading = (Job(execution.settings, clock.now + 30.0, {}) for _ in range(3))
        request = Caller("1.2.3.4").request()
        await execution.admit(running, request)
        execution.receive(queued, request, 40)
        admission = asyncio.create_task(execution.admit(queued, request))
        await settle()
        execution.receive(uploading, request, 20)
        assert execution.budget.used == 60
        execution.release(running)
        await admission
        execution.release(queued)
        for job in (running, queued, uploading):
            execution.finish(job)

    run_with_execution(clock, Settings(memory_bytes=100, max_concurrency=1), test)


def test_memory_of_a_computation_that_runs_is_waited_for(clock: Clock) -> None:
    """Also where it holds no more than its body."""

    async def test(execution: Execution) -> None:
        first, second = (Job(execution.settings, clock.now + 30.0, {}) for _ in range(2))
        for job, size in ((first, 40), (second, 10)):
            request = Caller("1.2.3.4").request()
            execution.receive(job, request, size)
            await execution.admit(job, request)
        assert second.share is not None
        asking = asyncio.create_task(execution.run(second, lambda: second.reserve(70)))
        while second.share.state is not State.WAITING and not asking.done():
            await asyncio.sleep(0)
        execution.release(first)
        execution.finish(first)
        await asking
        assert execution.budget.used == 80
        execution.release(second)
        execution.finish(second)

    run_with_execution(clock, Settings(memory_bytes=100, max_concurrency=2), test)


@for_each(
    ("one", "other", "same"),
    [
        ("1.2.3.4", "1.2.3.5", False),
        ("1.2.3.4", "1.2.3.4", True),
        ("2001:db8::1", "2001:db8::2", True),
        ("2001:db8::", "2001:db8::ffff:ffff:ffff:ffff", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:1.2.3.4", "1.2.3.4", True),
        ("::ffff:1.2.3.4", "::ffff:1.2.3.5", False),
        ("un:known", "other:", False),
    ],
)
def test_address_names_the_client(one: str, other: str, same: bool) -> None:
    """Of IPv6, the network of 64 bits, which is one subscriber's."""
    clients = [client_of({"client": (address, 1), "state": {}}) for address in (one, other)]
    assert (clients[0] == clients[1]) == same


def test_key_names_the_client_wherever_it_calls_from() -> None:
    scopes: list[dict[str, Any]] = [{"client": (address, 1), "state": {"key": b"digest"}} for address in ("1.1.1.1", "2.2.2.2")]
    assert client_of(scopes[0]) == client_of(scopes[1]) == b"digest"
    assert client_of({"client": None, "state": {}}) == ""
