"""Cross-origin requests from browsers, and security headers."""

import httpx
import pytest

from tests.contract import client as http
from tests.contract.conftest import Start
from tests.contract.service.processes import SMALL_REQUEST
from tests.contract.wire import LOCAL

PREFLIGHT = {"Origin": "https://a.example", "Access-Control-Request-Method": "POST"}
ALLOWED = "access-control-allow-origin"


def test_cors_is_off_by_default(client: httpx.Client) -> None:
    assert ALLOWED not in client.options("/v1/backward", headers=PREFLIGHT).headers


@pytest.mark.skipif(not LOCAL, reason="starts servers of its own")
def test_listed_origins_only_and_without_a_key(start: Start) -> None:
    """A preflight never carries a key. A page of another origin may read why it is refused."""
    server = start(AUTODIFF_CORS_ORIGINS="https://a.example", AUTODIFF_API_KEYS="k")
    assert http.options(f"{server.url}/v1/backward", headers=PREFLIGHT).headers[ALLOWED] == "https://a.example"
    other = PREFLIGHT | {"Origin": "https://b.example"}
    assert ALLOWED not in http.options(f"{server.url}/v1/backward", headers=other).headers
    refused = http.post(f"{server.url}/v1/backward", json=SMALL_REQUEST, headers={"Origin": "https://a.example"})
    assert refused.status_code == 401 and refused.headers[ALLOWED] == "https://a.example"


@pytest.mark.parametrize("path", ["/livez", "/docs", "/v1/nothing"])
def test_every_response_has_security_headers(client: httpx.Client, path: str) -> None:
    headers = client.get(path).headers
    assert headers["x-content-type-options"] == "nosniff" and "default-src 'none'" in headers["content-security-policy"]
