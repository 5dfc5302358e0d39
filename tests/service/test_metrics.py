"""What is measured of one request, in process: the phases of every kind of answer."""

import time

import pytest
from prometheus_client.registry import REGISTRY

from app.main import create_app
from app.service.execution import INLINE_BYTES
from app.settings import Settings
from tests.service.asgi import POSTS, STREAMS, Operation, label, perform

PHASES = ("decode", "compute", "encode")


def measured() -> dict[str, float]:
    """How often each phase has been measured in this process."""
    return {phase: REGISTRY.get_sample_value("autodiff_phase_seconds_count", {"phase": phase}) or 0.0 for phase in PHASES}


def seconds() -> float:
    """How long all phases took so far."""
    return sum(REGISTRY.get_sample_value("autodiff_phase_seconds_sum", {"phase": phase}) or 0.0 for phase in PHASES)


@pytest.mark.parametrize("operation", [operation for operation in POSTS if operation not in STREAMS], ids=label)
def test_each_phase_is_measured_once(operation: Operation) -> None:
    """On the event loop and in the pool, in each media type. A file is not decoded: it is computed from as it is."""
    app = create_app(Settings())
    padded = operation.body + b" " * INLINE_BYTES if operation.body.startswith(b"{") else operation.body
    phases = PHASES if operation.body.startswith(b"{") else PHASES[1:]
    for media_type in operation.description["responses"]["200"]["content"]:
        for body in (operation.body, padded):
            before, seconds_before, began = measured(), seconds(), time.perf_counter()
            assert perform(app, operation, [("Accept", media_type)], parts=[body]).status == 200
            assert 0.0 < seconds() - seconds_before < time.perf_counter() - began
            after = {phase: count for phase, count in measured().items() if count != before[phase]}
            assert after == {phase: before[phase] + 1 for phase in phases}, media_type
