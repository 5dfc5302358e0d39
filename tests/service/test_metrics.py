"""What is measured of one request, in process: the phases of every kind of answer."""

import time

import pytest

from app.service import metrics
from app.service.execution import INLINE_BYTES
from tests.service.asgi import POSTS, STREAMS, Operation, label, perform
from tests.service.limits import app_with

PHASES = ("decode", "compute", "encode")


def measured(what: str) -> dict[str, float]:
    """How often each phase has been measured in this process (`count`), or how many seconds it took in all (`sum`)."""
    (found,) = metrics.PHASES.collect()
    return {sample.labels["phase"]: sample.value for sample in found.samples if sample.name.endswith(f"_{what}")}


@pytest.mark.parametrize("operation", [operation for operation in POSTS if operation not in STREAMS], ids=label)
def test_each_phase_is_measured_once(operation: Operation) -> None:
    """On the event loop and in the pool, in each media type. A file is not decoded: it is computed from as it is."""
    app = app_with()
    padded = operation.body + b" " * INLINE_BYTES if operation.body.startswith(b"{") else operation.body
    phases = PHASES if operation.body.startswith(b"{") else PHASES[1:]
    for media_type in operation.description["responses"]["200"]["content"]:
        for body in (operation.body, padded):
            before, seconds, began = measured("count"), sum(measured("sum").values()), time.perf_counter()
            assert perform(app, operation, [("Accept", media_type)], parts=[body]).status == 200
            assert 0.0 < sum(measured("sum").values()) - seconds < time.perf_counter() - began
            after = {phase: count for phase, count in measured("count").items() if count != before[phase]}
            assert after == {phase: before[phase] + 1 for phase in phases}, media_type
