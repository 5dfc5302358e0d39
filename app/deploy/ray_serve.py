"""The service on Ray Serve: `serve run app.deploy.ray_serve:app`, or `serve deploy app/deploy/ray_serve.yaml` on a cluster.

Each replica is a process with one core and the whole application. Ray Serve starts and stops replicas as the load asks for,
sends requests to those that are healthy, and repeats a health check on each. Connections are those of Ray Serve's own proxy,
so the settings about connections do nothing here.
"""

import os
import tempfile
from typing import Any

import ray
from fastapi import FastAPI
from ray import serve
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from app.service.processes import VARIABLE
from app.settings import Settings

AUTOSCALING = {"min_replicas": 1, "max_replicas": 100, "target_ongoing_requests": 4}
"""A replica computes on one core: with four requests in it, three of them wait."""

ENDING_S = 5.0
"""Seconds for a response, beyond the longest computation, before a replica that is stopped ends."""


def build() -> FastAPI:
    """The application of a replica, whose kernels are loaded: of all processes of a node, one compiles them."""
    node = ray.get_runtime_context().get_node_id()
    # Before anything imports the metrics: the replicas of a node count together, and share its memory.
    folder = os.environ.setdefault(VARIABLE, os.path.join(tempfile.gettempdir(), f"autodiff-metrics-node-{node}"))
    os.makedirs(folder, exist_ok=True)
    os.environ.setdefault("AUTODIFF_WORKERS", str(min(os.cpu_count() or 1, 256)))

    from app.main import served
    from app.warm import warm

    warm()
    service = served()
    trusted = service.state.settings.trusted_proxies
    service.add_middleware(ProxyHeadersMiddleware, trusted_hosts=trusted)
    return service


class Replica:
    """One process of the service."""

    app: FastAPI

    def check_health(self) -> None:
        """Raise an exception where /readyz would be a 503. Ray Serve then replaces the replica."""
        execution = getattr(self.app.state, "execution", None)
        if execution is None or not execution.ready.is_set():
            raise RuntimeError("the kernels are not ready")


def app(autoscaling: dict[str, Any]) -> serve.Application:
    """The application for Ray Serve. Arguments are Ray Serve's for autoscaling, such as `max_replicas=20` for `serve run`."""
    settings = Settings()
    deployment = serve.deployment(
        name="autodiff-http",
        autoscaling_config=AUTOSCALING | autoscaling,
        ray_actor_options={"num_cpus": 1},
        max_ongoing_requests=settings.max_concurrency + settings.max_queue,
        health_check_period_s=5,
        logging_config={"enable_access_log": False},  # the service logs each request itself
        graceful_shutdown_timeout_s=max(settings.shutdown_s, settings.compute_timeout_s) + ENDING_S,
    )
    application: serve.Application = deployment(serve.ingress(build)(Replica)).bind()
    return application
