"""The examples of errors in the documentation that no request to a default service gets: they say what the service says."""

import asyncio
import time
from typing import Any

import pytest
from pydantic import SecretStr

from app.api.mistakes import MISTAKES
from app.main import create_app
from app.service import problems
from app.service.execution import Execution, Job
from app.service.problems import Problem
from app.settings import Settings
from tests.service.asgi import ask
from tests.service.inprocess import send
from tests.service.test_execution import Client


def sent(text: str, key: str = "") -> tuple[int, dict[str, Any]]:
    """Send a request that is written as method and path, headers, an empty line, and a body to a service with one key."""
    head, _, body = text.partition("\n\n")
    first, *lines = head.replace("<key>", key).split("\n")
    headers = {"Content-Type": "application/json"} | dict(line.split(": ", 1) for line in lines)
    app = create_app(Settings(api_keys=SecretStr("k")))
    response = send(app, *first.split(" "), headers=headers, content=body)
    return response.status_code, response.json()


def test_request_without_a_key_and_with_one() -> None:
    mistake = MISTAKES["unauthorized"]
    status, problem = sent(mistake.wrong)
    assert (status, problem["detail"]) == (401, mistake.detail)
    status, answer = sent(mistake.right, "k")
    assert status == 200 and answer["gradients"]["x"] == 6.0


def test_body_that_is_too_large() -> None:
    mistake = MISTAKES["too-large"]
    assert mistake.wrong == "a body of 100 MB"
    headers = [("Content-Type", "application/json"), ("Content-Length", "100000000")]
    response = ask(create_app(Settings()), "POST", "/v1/backward", headers)
    assert response.status == 413 and response.problem == "too-large"
    assert mistake.detail in response.body.decode()


@pytest.mark.parametrize(
    ("name", "settings", "count"),
    [("overloaded", {"max_queue": 64}, 66), ("too-many-requests", {"max_queue": 99, "max_concurrency_per_client": 64}, 65)],
)
def test_too_many_requests_at_once(name: str, settings: dict[str, Any], count: int) -> None:
    """One more than may run, or wait, or be in flight."""

    async def refused() -> Problem:
        execution = Execution(Settings(max_concurrency=1, **settings))
        admissions: list[asyncio.Task[None]] = []
        try:
            for _ in range(count):
                job = Job(execution.settings, time.perf_counter() + 30.0, {})
                admissions.append(asyncio.create_task(execution.admit(job, Client().request())))
                await asyncio.sleep(0)
            (error,) = {admission.exception() for admission in admissions if admission.done()} - {None}
            assert isinstance(error, Problem)
            return error
        finally:
            for admission in admissions:
                admission.cancel()
            await asyncio.gather(*admissions, return_exceptions=True)
            execution.close()

    problem = asyncio.run(refused())
    assert (problem.kind.name, problem.detail) == (name, MISTAKES[name].detail)


def test_computation_that_takes_too_long() -> None:
    with pytest.raises(Problem) as caught:
        Job(Settings(), time.perf_counter() - 1.0, {}).check()
    assert (caught.value.kind.name, caught.value.detail) == ("deadline-exceeded", MISTAKES["deadline-exceeded"].detail)


def test_defect() -> None:
    (identity,) = MISTAKES["internal"].detail.split()[-1:]
    assert problems.internal(identity).detail == MISTAKES["internal"].detail
