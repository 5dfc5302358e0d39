"""Errors in the middle of a stream. They need a training that fails, so the app runs in this process."""

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from app.main import create_app
from app.nn import training
from app.service.execution import Execution
from app.service.problems import Problem
from tests.contract.events import read_events
from tests.contract.networks.streams import PATH, SMALL


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (RuntimeError("a secret of ours"), "internal"),
        (Problem("deadline-exceeded", "the time ran out"), "deadline-exceeded"),
        (MemoryError(), "overloaded"),
    ],
    ids=["defect", "deadline", "memory"],
)
def test_error_in_the_middle_is_an_error_event(monkeypatch: pytest.MonkeyPatch, error: Exception, kind: str) -> None:
    """The status is 200 by then. An internal error reveals nothing but its request id."""
    row = training.HistoryRow(0, 1.0, 1.0, 0.0, None, 0.1)

    def begin(*_: Any, **__: Any) -> Iterator[list[training.HistoryRow]]:
        yield [row]
        raise error

    async def ask() -> httpx.Response:
        app = create_app()
        app.state.execution = Execution(app.state.settings)  # without the life cycle, which would freeze this process
        app.state.execution.ready.set()
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://in-process") as client:
            response = await client.post(PATH, json=SMALL, headers={"X-Request-ID": "a-request"})
        app.state.execution.close()
        return response

    monkeypatch.setattr(training, "begin", begin)
    response = asyncio.run(ask())
    assert response.status_code == 200
    found = read_events(response.text)
    assert [name for name, _ in found] == ["progress", "error"]
    body = found[-1][1]
    assert body["type"] == f"/problems/{kind}" and body["title"] and body["detail"]
    assert body["status"] == (500 if kind == "internal" else 503)
    assert "secret" not in response.text and "Traceback" not in response.text
    if kind == "internal":
        assert "a-request" in body["detail"]
