"""The files for Kubernetes, Compose, Caddy and Ray Serve: valid by their schemas, and in agreement with the settings."""

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import compose_spec
import httpx
import kubernetes_validate
import pytest
import yaml

from app.settings import Settings
from tests.conftest import ROOT

DEPLOY = ROOT / "app" / "deploy"
KUBERNETES = list(yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text()))
COMPOSE = (DEPLOY / "compose.yaml").read_text()
KINDS = ("Deployment", "Service", "HorizontalPodAutoscaler", "PodDisruptionBudget")


def pod() -> dict[str, Any]:
    """The pod of the deployment."""
    found: dict[str, Any] = KUBERNETES[0]["spec"]["template"]["spec"]
    return found


@pytest.mark.parametrize("version", ["1.29", "1.33"])
@pytest.mark.parametrize("kind", KINDS)
def test_kubernetes_manifest_matches_its_schema(kind: str, version: str) -> None:
    (manifest,) = (manifest for manifest in KUBERNETES if manifest["kind"] == kind)
    kubernetes_validate.validate(manifest, version, strict=True)
    manifest["spec"]["replica"] = 1
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(manifest, version, strict=True)
    del manifest["spec"]["replica"]


def test_kubernetes_manifests_refer_to_each_other() -> None:
    assert [manifest["kind"] for manifest in KUBERNETES] == [*KINDS]
    deployment, service, scaler, budget = (manifest["spec"] for manifest in KUBERNETES)
    labels = deployment["template"]["metadata"]["labels"].items()
    for selector in (deployment["selector"]["matchLabels"], service["selector"], budget["selector"]["matchLabels"]):
        assert selector.items() <= labels
    assert scaler["scaleTargetRef"] == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "name": KUBERNETES[0]["metadata"]["name"],
    }
    assert "replicas" not in deployment


def test_pod_ends_after_the_service() -> None:
    (container,) = pod()["containers"]
    wait = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod()["terminationGracePeriodSeconds"] >= wait + Settings().shutdown_s + 5


def test_compose_file_matches_its_schema() -> None:
    found = compose_spec.PyCompose.from_yaml(COMPOSE)
    assert found.service_names() == ["autodiff-http", "caddy"]
    for wrong in ("read_only: maybe", "read_onyl: true", "read_only: [true]"):
        with pytest.raises(Exception, match=r"read|unknown|invalid"):
            compose_spec.PyCompose.from_yaml(COMPOSE.replace("read_only: true", wrong))


def test_compose_trusts_the_proxy_alone() -> None:
    services = yaml.safe_load(COMPOSE)["services"]
    proxy = services["caddy"]["networks"]["inside"]["ipv4_address"]
    assert services["autodiff-http"]["environment"]["AUTODIFF_TRUSTED_PROXIES"] == proxy
    assert "ports" not in services["autodiff-http"] and [*services["autodiff-http"]["networks"]] == ["inside"]


def texts() -> Iterator[str]:
    """All files that name settings."""
    yield from (path.read_text() for path in DEPLOY.glob("*.yaml"))


def test_settings_exist() -> None:
    named = {name for text in texts() for name in re.findall(r"AUTODIFF_([A-Z_]+)", text)}
    assert named and {name.lower() for name in named} <= {*Settings.model_fields}


def without_rates(caddyfile: str) -> str:
    """A Caddyfile without the limit of rates, which needs a module that is built in by compose.yaml."""
    shorter, count = re.subn(r"\torder rate_limit .*\n|\trate_limit \{\n(?:\t\t.*\n)*\t\}\n", "", caddyfile)
    assert count == 2
    return shorter


@dataclass
class Proxy:
    """Caddy in front of a server that answers with the headers it gets."""

    url: str
    config: Path
    environment: dict[str, str]


class Echo(BaseHTTPRequestHandler):
    """Answers with the headers of the request."""

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        if len(self.rfile.read(length)) < length:
            return
        content = json.dumps({name.lower(): value for name, value in self.headers.items()}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing."""


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """Caddy with the file as it is, without TLS. Skips where there is no Caddy."""
    if not shutil.which("caddy"):
        pytest.skip("there is no Caddy")
    folder = tmp_path_factory.mktemp("caddy")
    upstream = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    threading.Thread(target=upstream.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{free_port()}"
    places = {"DOMAIN": url, "UPSTREAM": f"127.0.0.1:{upstream.server_port}", "HOME": str(folder), "XDG_DATA_HOME": str(folder)}
    config = folder / "Caddyfile"
    config.write_text(without_rates((DEPLOY / "Caddyfile").read_text()).replace("{\n", "{\n\tadmin off\n", 1))
    environment = os.environ | places
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(["caddy", "run", "--config", config, "--adapter", "caddyfile"], env=environment, stderr=log)
    for _ in range(1000):
        with contextlib.suppress(httpx.TransportError):
            httpx.get(f"{url}/metrics")
            break
        assert process.poll() is None, (folder / "log").read_text()
        time.sleep(0.01)
    yield Proxy(url, config, environment)
    process.terminate()
    process.wait(30)
    upstream.shutdown()
    upstream.server_close()


def test_caddy_finds_its_file_valid(proxy: Proxy) -> None:
    config = proxy.config.with_name("with TLS")
    config.write_text(proxy.config.read_text())
    command = ["caddy", "validate", "--adapter", "caddyfile", "--config", str(config)]
    found = subprocess.run(command, env=proxy.environment | {"DOMAIN": "a.example"}, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr


def test_proxy_replaces_the_forwarded_address(proxy: Proxy) -> None:
    found = httpx.post(f"{proxy.url}/v1/forward", json={}, headers={"X-Forwarded-For": "203.0.113.7"})
    assert found.json()["x-forwarded-for"] == "127.0.0.1"


def test_proxy_keeps_metrics_and_long_bodies_out(proxy: Proxy) -> None:
    assert httpx.get(f"{proxy.url}/metrics").status_code == 404
    assert httpx.post(f"{proxy.url}/v1/forward", content=bytes(64 << 20)).status_code == 200
    # Caddy says 502 up to version 2.6, and the length is known only when the body has been read.
    assert httpx.post(f"{proxy.url}/v1/forward", content=bytes(66 << 20)).status_code in (413, 502)
