"""The fake clock of tests in process."""

import pytest

from app.service import execution, lifecycle, middleware, routing, streaming
from tests.service.fake_time import Clock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock that stands still, read by everything that runs and times requests."""
    clock = Clock()
    clock.install(monkeypatch, execution, lifecycle, middleware, routing, streaming)
    return clock
