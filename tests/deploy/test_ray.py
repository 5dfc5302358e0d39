"""The service on Ray Serve, and bulk jobs on Ray Data. They start Ray on this machine: pytest -n0 -m ray."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest
import yaml

from tests.conftest import ROOT, Server
from tests.deploy.test_bulk import digests, run, spoiled, write
from tests.load.scenarios import MIXED

pytest.importorskip("ray")
pytestmark = pytest.mark.ray

PROGRAMS = Path(sys.executable).parent
PATIENCE_S = 180
RAY = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled", "PYTHONPATH": str(ROOT)}
"""The environment of Ray's processes: no reports, and no token in the user's home folder."""


@dataclass
class Cluster:
    """A Ray cluster of this machine with the service, its files, and the process that runs it."""

    url: str
    config: Path
    log: Path
    process: "subprocess.Popen[bytes]"

    def wait(self, url: str, status: int = 200) -> httpx.Response:
        """Wait until a URL answers with a status."""
        until = time.perf_counter() + PATIENCE_S
        while time.perf_counter() < until and self.process.poll() is None:
            try:
                response = httpx.get(url)
                if response.status_code == status:
                    return response
            except httpx.TransportError:
                pass
            time.sleep(0.1)
        raise AssertionError(self.log.read_text())

    def replicas(self) -> set[int]:
        """The process ids of the replicas."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        return {child.pid for child in children if child.name().startswith("ray::ServeRepl")}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The file for `serve deploy` on a free port, run with `serve run`, which starts Ray."""
    folder = tmp_path_factory.mktemp("cluster")
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    content = yaml.safe_load((ROOT / "app" / "deploy" / "ray_serve.yaml").read_text())
    content["http_options"]["port"] = port
    content["applications"][0]["args"]["min_replicas"] = 1
    config, log = folder / "config.yaml", folder / "log"
    config.write_text(yaml.safe_dump(content))
    environment = os.environ | RAY
    with log.open("wb") as output:
        process = subprocess.Popen(
            [PROGRAMS / "serve", "run", config], cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
    found_cluster = Cluster(f"http://127.0.0.1:{port}", config, log, process)
    found_cluster.wait(f"{found_cluster.url}/readyz")
    yield found_cluster
    process.send_signal(signal.SIGINT)
    process.wait(60)


@pytest.mark.parametrize(("path", "body", "part", "status"), MIXED)
def test_responses_are_those_of_a_plain_server(
    path: str, body: dict[str, object], part: dict[str, object], status: int, cluster: Cluster, server: Server
) -> None:
    on_ray, plain = (httpx.post(url + path, json=body, headers={"X-Request-ID": "one"}) for url in (cluster.url, server.url))
    assert on_ray.status_code == plain.status_code == status and on_ray.content == plain.content
    assert {*on_ray.headers.get_list("x-request-id")} == {"one"}


def test_settings_of_the_file_hold(cluster: Cluster) -> None:
    limits = httpx.get(f"{cluster.url}/v1/info").json()["limits"]
    assert limits["max_concurrency_per_client"] == 4
    assert limits["memory_bytes"] <= psutil.virtual_memory().total // 2 // (os.cpu_count() or 1)


def test_metrics_are_those_of_the_service(cluster: Cluster) -> None:
    found = httpx.get(f"{cluster.url}/metrics").text
    assert 'autodiff_requests_total{route="/readyz",status="200"}' in found


def test_file_can_be_deployed_again_without_losing_requests(cluster: Cluster) -> None:
    """With another setting, so that all replicas are replaced, and with one replica more."""
    dashboard = re.search(r"dashboard at .*?(http://[\d.]+:\d+)", cluster.log.read_text())
    assert dashboard
    content = yaml.safe_load(cluster.config.read_text())
    (application,) = content["applications"]
    application["args"]["min_replicas"] = 2
    application["runtime_env"]["env_vars"]["AUTODIFF_MAX_CONCURRENCY_PER_CLIENT"] = "5"
    cluster.config.write_text(yaml.safe_dump(content))
    before = cluster.replicas()
    command = [PROGRAMS / "serve", "deploy", cluster.config, "-a", dashboard[1]]
    subprocess.run(command, cwd=ROOT, env=os.environ | RAY, check=True)
    until = time.perf_counter() + PATIENCE_S
    with httpx.Client(base_url=cluster.url, timeout=60) as client:
        while (cluster.replicas() & before or len(cluster.replicas()) < 2) and time.perf_counter() < until:
            assert client.post("/v1/forward", json={"expression": "6*7"}).json()["value"] == 42.0
        assert client.get("/v1/info").json()["limits"]["max_concurrency_per_client"] == 5
    assert len(cluster.replicas()) == 2 and not cluster.replicas() & before


def test_replica_that_is_killed_comes_back(cluster: Cluster) -> None:
    before = cluster.replicas()
    os.kill(min(before), signal.SIGKILL)
    until = time.perf_counter() + PATIENCE_S
    while (cluster.replicas() == before or len(cluster.replicas()) < len(before)) and time.perf_counter() < until:
        response = httpx.post(f"{cluster.url}/v1/forward", json={"expression": "6*7"}, timeout=60)
        assert response.status_code >= 500 or response.json()["value"] == 42.0
    assert len(cluster.replicas()) == len(before)
    assert cluster.wait(f"{cluster.url}/readyz").json() == {"status": "ok"}


@pytest.fixture
def ray_session(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """End the Ray that the command starts in this process."""
    import ray

    for name, value in RAY.items():
        monkeypatch.setenv(name, value)
    yield
    ray.shutdown()


@pytest.mark.filterwarnings("ignore")
def test_bulk_jobs_give_the_same_on_ray(tmp_path: Path, ray_session: None) -> None:
    source = write(tmp_path / "points.parquet")
    run(source, tmp_path / "here")
    run(source, tmp_path / "ray", "--ray", "--workers", "2")
    assert digests(tmp_path / "here") == digests(tmp_path / "ray")
    total = run(source, tmp_path / "sum", "--ray", "--workers", "2", "--reduce", "sum")
    assert total.equals(run(source, tmp_path / "sum here", "--reduce", "sum"))
    with pytest.raises(SystemExit, match="row 250"):
        run(spoiled(tmp_path / "spoiled.parquet"), tmp_path / "out", "--ray", "--workers", "2", expression="b")
