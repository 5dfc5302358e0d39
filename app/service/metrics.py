"""Metrics for Prometheus.

In several worker processes they are counted together through files in PROMETHEUS_MULTIPROC_DIR, which must be set before this
module is imported (`processes.prepare_metrics` does that).
"""

import os
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import REGISTRY

from app.service.processes import VARIABLE, forget_dead_workers

BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Upper bounds of the histograms' buckets in seconds."""

REQUESTS = Counter("autodiff_requests", "Requests answered", ("route", "status"))
LATENCY = Histogram(
    "autodiff_request_seconds", "Time from a request's head to the end of its response", ("route",), buckets=BUCKETS
)
PHASES = Histogram("autodiff_phase_seconds", "Time spent decoding, computing and encoding", ("phase",), buckets=BUCKETS)
RUNNING = Gauge("autodiff_pool_running", "Computations running in the pool", multiprocess_mode="livesum")
QUEUED = Gauge("autodiff_pool_queued", "Computations waiting for the pool", multiprocess_mode="livesum")
CLOSED = Counter("autodiff_connections_closed", "Connections that a limit has closed", ("setting",))
REJECTED = Counter("autodiff_rejected", "Requests answered with a problem", ("problem",))

DECODE, COMPUTE, ENCODE = (PHASES.labels(phase) for phase in ("decode", "compute", "encode"))


def exposition() -> bytes:
    """All metrics, of all worker processes, in Prometheus's text format."""
    if VARIABLE not in os.environ:
        return generate_latest(REGISTRY)
    forget_dead_workers(Path(os.environ[VARIABLE]))
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # prometheus_client has no types here
    return generate_latest(registry)
