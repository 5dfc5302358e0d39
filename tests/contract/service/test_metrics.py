"""Prometheus metrics at GET /metrics."""

import pytest

from tests.contract import client as http
from tests.contract.conftest import Start
from tests.contract.service.processes import SMALL_REQUEST, wait_until
from tests.contract.wire import LOCAL

pytestmark = pytest.mark.skipif(not LOCAL, reason="starts servers of its own")


def test_metrics_count_requests_problems_and_phases(start: Start) -> None:
    server = start()
    for _ in range(3):
        http.post(f"{server.url}/v1/backward", json=SMALL_REQUEST)
    http.post(f"{server.url}/v1/backward", json={"expression": "x +"})
    http.post(f"{server.url}/v1/backward", content=b"{", headers={"Content-Type": "application/json"})
    expected = (
        'autodiff_requests_total{route="/v1/backward",status="200"} 3.0',
        'autodiff_rejected_total{problem="syntax-error"} 1.0',
        'autodiff_rejected_total{problem="invalid-json"} 1.0',
        'autodiff_phase_seconds_count{phase="compute"} 3.0',
        'autodiff_request_seconds_count{route="/v1/backward"} 5.0',
    )
    # A request is counted after its response is sent.
    wait_until(lambda: all(line in http.get(f"{server.url}/metrics").text for line in expected), 2)
