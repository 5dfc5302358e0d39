"""Which requests need an API key, and which keys are valid."""

import pytest

from app.service.keys import OPEN_PATHS, Keys
from app.service.problems import Problem

KEYS = Keys((b"first", b"second key"), metrics_open=True)


def scope(path: str, authorization: str | None = None, root_path: str = "") -> dict[str, object]:
    """A GET with an Authorization header, or without."""
    headers = [] if authorization is None else [(b"authorization", authorization.encode("latin-1"))]
    return {"type": "http", "method": "GET", "path": path, "headers": headers, "root_path": root_path}


@pytest.mark.parametrize("authorization", ["Bearer first", "bearer first", "BEARER  first ", "Bearer second key"])
def test_valid_key(authorization: str) -> None:
    KEYS.check(scope("/v1/forward", authorization))


@pytest.mark.parametrize(
    "authorization",
    [None, "", "first", "Basic first", "Bearer", "Bearer ", "Bearer firs", "Bearer first2", "Bearer FIRST", "Bearer \xff"],
)
def test_invalid_key(authorization: str | None) -> None:
    with pytest.raises(Problem) as caught:
        KEYS.check(scope("/v1/forward", authorization))
    assert caught.value.kind.status == 401
    assert caught.value.headers == {"WWW-Authenticate": "Bearer"}
    assert "Authorization: Bearer <key>" in caught.value.detail and "first" not in caught.value.detail


@pytest.mark.parametrize("root_path", ["", "/autodiff", "/autodiff/"])
@pytest.mark.parametrize("path", ["", "/", "/docs/swagger-ui.css", "/problems/unknown-node", *OPEN_PATHS])
def test_open_paths_need_no_key(path: str, root_path: str) -> None:
    KEYS.check(scope(path, root_path=root_path))
    KEYS.check(scope(root_path.rstrip("/") + path, root_path=root_path))


@pytest.mark.parametrize("path", ["/v1/info", "/docsx", "/livez2", "/v1/docs", "/unknown", "/openapi.jsonl", "//docs"])
def test_other_paths_need_a_key(path: str) -> None:
    with pytest.raises(Problem):
        KEYS.check(scope(path))


@pytest.mark.parametrize("path", ["/metrics", "/metrics/"])
def test_metrics_can_need_a_key(path: str) -> None:
    with pytest.raises(Problem):
        Keys((b"k",), metrics_open=False).check(scope(path))


@pytest.mark.parametrize("path", ["/v1/forward", "/metrics"])
def test_without_keys_everything_is_open(path: str) -> None:
    Keys((), metrics_open=False).check(scope(path))
