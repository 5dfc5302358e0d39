"""API keys in the bridges: the header that /v1 takes, or Basic credentials, whose password is the key."""

from collections.abc import Iterator

import httpx
import pytest

from tests.conftest import Server
from tests.contract.bridges.tesseract_calls import address
from tests.contract.bridges.umbridge_calls import request
from tests.contract.wire import LOCAL, problem

pytestmark = pytest.mark.skipif(not LOCAL, reason="starts servers of its own")

KEY = "first:secret"
"""A key with a colon, which ends the name in Basic credentials, and not the password."""


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with an API key."""
    server = Server(tmp_path_factory.mktemp("keyed") / "log", environment={"AUTODIFF_API_KEYS": KEY}, fork=True)
    server.wait_until_ready()
    yield server
    server.stop()


CALLS = {
    "/umbridge/Evaluate": request("Evaluate"),
    address("x/y", "apply"): {"inputs": {"x": 1.0, "y": 2.0}},
}

every_call = pytest.mark.parametrize(("path", "body"), CALLS.items(), ids=["umbridge", "tesseract"])


@every_call
def test_no_key_is_unauthorized(keyed: Server, path: str, body: object) -> None:
    problem(httpx.post(keyed.url + path, json=body, verify=False), "unauthorized", 401)


@every_call
def test_key_in_the_header(keyed: Server, path: str, body: object) -> None:
    headers = {"Authorization": f"Bearer {KEY}"}
    assert httpx.post(keyed.url + path, json=body, headers=headers, verify=False).status_code == 200


@every_call
@pytest.mark.parametrize("user", ["", "me"], ids=["no name", "a name"])
def test_key_in_the_url(keyed: Server, path: str, body: object, user: str) -> None:
    url = keyed.url.replace("http://", f"http://{user}:first%3Asecret@")
    assert httpx.post(url + path, json=body, verify=False).status_code == 200


@every_call
@pytest.mark.parametrize("credentials", ["bWU6d3Jvbmc=", "first:secret", "****", "Og==", "Zmlyc3Q6c2VjcmV0"])
def test_wrong_credentials_are_unauthorized(keyed: Server, path: str, body: object, credentials: str) -> None:
    """A wrong password, the key itself, what is not base64, nothing at all, and the key without a name before it."""
    headers = {"Authorization": f"Basic {credentials}"}
    response = httpx.post(keyed.url + path, json=body, headers=headers, verify=False)
    assert "secret" not in response.text
    problem(response, "unauthorized", 401)


def test_basic_credentials_are_for_the_bridges_alone(keyed: Server) -> None:
    url = keyed.url.replace("http://", "http://me:first%3Asecret@")
    problem(httpx.get(f"{url}/v1/info", verify=False), "unauthorized", 401)


@pytest.mark.parametrize("path", ["/umbridge/Info", address("x", "openapi.json"), address("x", "health")])
def test_get_needs_a_key_too(keyed: Server, path: str) -> None:
    assert httpx.get(keyed.url + path, verify=False).status_code == 401
    assert httpx.get(keyed.url + path, headers={"Authorization": f"Bearer {KEY}"}, verify=False).status_code == 200
