"""API keys: which requests need one."""

from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from app.settings import Settings
from tests.conftest import Server
from tests.contract import client as http
from tests.contract.conftest import Start
from tests.contract.service.processes import SMALL_REQUEST, wait_until
from tests.contract.wire import LOCAL, problem

pytestmark = pytest.mark.skipif(not LOCAL, reason="starts servers of its own")


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with two API keys."""
    keys = {"AUTODIFF_API_KEYS": "first-secret, second-secret"}
    server = Server(tmp_path_factory.mktemp("keyed") / "log", environment=keys, fork=True)
    server.wait_until_ready()
    yield server
    server.stop()


@pytest.mark.parametrize(
    ("query", "headers"),
    [
        pytest.param("", {}, id="no key"),
        pytest.param("", {"Authorization": "Bearer wrong-secret"}, id="wrong key"),
        pytest.param("", {"Authorization": "Basic first-secret"}, id="another scheme"),
        pytest.param("?key=first-secret&api_key=first-secret", {}, id="key in the query"),
    ],
)
def test_request_without_a_valid_key_is_unauthorized(keyed: Server, query: str, headers: dict[str, str]) -> None:
    refused = http.post(f"{keyed.url}/v1/backward{query}", json=SMALL_REQUEST, headers=headers)
    problem(refused, "unauthorized", 401)
    assert refused.headers["www-authenticate"] == "Bearer" and "secret" not in refused.text


@pytest.mark.parametrize("key", ["first-secret", "second-secret"])
def test_each_key_is_accepted(keyed: Server, key: str) -> None:
    headers = {"Authorization": f"Bearer {key}"}
    assert http.post(f"{keyed.url}/v1/backward", json=SMALL_REQUEST, headers=headers).json()["value"] == 9.0


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/web/main.js",
        "/livez",
        "/readyz",
        "/docs",
        "/docs/start.js",
        "/openapi.json",
        "/problems/unauthorized",
        "/metrics",
    ],
)
def test_health_documentation_and_metrics_need_no_key(keyed: Server, path: str) -> None:
    assert http.get(keyed.url + path).status_code == 200


def test_info_needs_a_key(keyed: Server) -> None:
    assert http.get(f"{keyed.url}/v1/info").status_code == 401


def test_document_describes_the_key(keyed: Server) -> None:
    document = http.get(f"{keyed.url}/openapi.json").json()
    assert document["components"]["securitySchemes"]["ApiKey"]["scheme"] == "bearer"
    assert document["security"] == [{"ApiKey": []}]


def test_keys_are_never_logged(keyed: Server) -> None:
    for key in ("first-secret", "wrong-secret"):
        headers = {"Authorization": f"Bearer {key}", "X-Request-ID": f"with-{key[:5]}"}
        http.post(f"{keyed.url}/v1/backward?key={key}", json=SMALL_REQUEST, headers=headers)
    wait_until(lambda: "with-wrong" in keyed.log.read_text(), 2)
    assert "secret" not in keyed.log.read_text()


@pytest.fixture(scope="module")
def prefixed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a key behind a root path."""
    environment = {"AUTODIFF_API_KEYS": "k", "AUTODIFF_ROOT_PATH": "/autodiff"}
    server = Server(tmp_path_factory.mktemp("prefixed") / "log", environment=environment, fork=True)
    server.wait_until_ready()
    yield server
    server.stop()


@pytest.mark.parametrize(
    ("path", "status"), [("/livez", 200), ("/docs", 200), ("/openapi.json", 200), ("/metrics", 200), ("/v1/info", 401)]
)
def test_same_paths_need_a_key_behind_a_root_path(prefixed: Server, path: str, status: int) -> None:
    """The proxy has left the prefix in the path."""
    assert http.get(f"{prefixed.url}/autodiff{path}").status_code == status


def test_metrics_can_need_a_key(start: Start) -> None:
    server = start(AUTODIFF_API_KEYS="k", AUTODIFF_METRICS_OPEN="false")
    assert http.get(f"{server.url}/metrics").status_code == 401
    assert http.get(f"{server.url}/metrics", headers={"Authorization": "Bearer k"}).status_code == 200


def test_value_without_a_key_is_refused() -> None:
    """It would leave the service open by mistake."""
    with pytest.raises(ValueError, match="there is no key between the commas"):
        Settings(api_keys=SecretStr(" , "))
