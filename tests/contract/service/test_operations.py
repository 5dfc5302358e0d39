"""Health, information and the start page."""

import re

import httpx
import pytest

from app.settings import Settings
from tests.contract.wire import POSTS, json_of, strict


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
def test_health_is_200_with_an_object(client: httpx.Client, path: str) -> None:
    assert isinstance(json_of(client.get(path)), dict)


def test_info_lists_name_version_limits_and_features(client: httpx.Client) -> None:
    found = strict(client.get("/v1/info").content)
    assert found["name"] == "autodiff-http"
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", found["version"])
    assert isinstance(found["limits"], dict)
    assert set(found["features"]) >= {*POSTS, "many-points", "reduce", "fit"}


def test_info_lists_all_limits(client: httpx.Client) -> None:
    """Under the names of their settings."""
    settings = {name for name in Settings.model_fields if name.startswith("max_") or name.endswith("_timeout_s")}
    assert strict(client.get("/v1/info").content)["limits"].keys() == {*settings, "memory_bytes"}


def test_root_is_the_playground(client: httpx.Client) -> None:
    response = client.get("/")
    assert response.status_code == 200 and response.headers["content-type"].startswith("text/html")
    assert 'href="./docs"' in response.text
