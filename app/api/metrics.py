"""Metrics for Prometheus. Not here: log lines (`observability`)."""

import os
from functools import cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import REGISTRY

SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)

REQUESTS = Counter("autodiff_requests", "Requests answered", ("route", "status"))
LATENCY = Histogram("autodiff_request_seconds", "Time from a request's head to its answer's end", ("route",), buckets=SECONDS)
PHASES = Histogram("autodiff_phase_seconds", "Time in decoding, computing and encoding", ("phase",), buckets=SECONDS)
RUNNING = Gauge("autodiff_pool_running", "Computations in the pool", multiprocess_mode="livesum")
QUEUED = Gauge("autodiff_pool_queued", "Computations waiting for the pool", multiprocess_mode="livesum")
REJECTED = Counter("autodiff_rejected", "Requests answered with a problem", ("problem",))

DECODE, COMPUTE, ENCODE = (PHASES.labels(phase) for phase in ("decode", "compute", "encode"))


@cache
def _of(route: str, status: int) -> tuple[Counter, Histogram]:
    """What counts the answers of a route; looking them up by their labels takes longer than counting."""
    return REQUESTS.labels(route, status), LATENCY.labels(route)


def count(route: str, status: int, seconds: float, problem: str | None) -> None:
    """Counts an answer, and the problem that it is, if it is one."""
    requests, latency = _of(route, status)
    requests.inc()
    latency.observe(seconds)
    if problem is not None:
        REJECTED.labels(problem).inc()


def exposition() -> bytes:
    """All metrics, of all worker processes, in Prometheus's text format."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return generate_latest(REGISTRY)
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # untyped there
    return generate_latest(registry)
