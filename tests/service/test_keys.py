"""Which requests need an API key, and which keys are valid."""

import base64
import hmac
import string
from functools import cache
from typing import Any

import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from app.main import create_app
from app.service.keys import OPEN_PATHS, Keys
from app.service.problems import Problem
from app.settings import Settings
from tests.rows import for_each
from tests.service.asgi import DOCS_PAGES, OPERATIONS, Operation, Response, ask, perform

KEYS = Keys((b"first", b"second key"), metrics_open=True)


def scope(path: str, authorization: str | None = None, root_path: str = "") -> dict[str, object]:
    """A GET with an Authorization header, or without."""
    headers = [] if authorization is None else [(b"authorization", authorization.encode("latin-1"))]
    return {"type": "http", "method": "GET", "path": path, "headers": headers, "root_path": root_path, "state": {}}


@pytest.mark.parametrize("authorization", ["Bearer first", "bearer first", "BEARER  first ", "Bearer second key"])
def test_valid_key(authorization: str) -> None:
    KEYS.check(scope("/v1/forward", authorization))


@for_each("path", ["/umbridge", "/umbridge/Evaluate", "/umbridgex/Evaluate", "/v1/umbridge/Evaluate", "/v1/forward"])
def test_password_is_a_key_below_some_paths_only(path: str) -> None:
    keys = Keys((b"first",), metrics_open=True, basic_paths=("/umbridge",))
    authorization = f"Basic {base64.b64encode(b'name:first').decode()}"
    if path == "/umbridge/Evaluate":
        keys.check(scope(path, authorization))
    else:
        with pytest.raises(Problem):
            keys.check(scope(path, authorization))


@for_each("character", sorted(set(string.printable) - set(string.whitespace)))
def test_key_may_begin_and_end_with_any_character(character: str) -> None:
    keys = Keys((f"{character}key{character}".encode(),), metrics_open=True)
    keys.check(scope("/v1/forward", f"Bearer {character}key{character}"))
    for less in (f"{character}key", f"key{character}"):
        with pytest.raises(Problem):
            keys.check(scope("/v1/forward", f"Bearer {less}"))


@for_each(
    "authorization",
    [None, "", "first", "Basic first", "Bearer", "Bearer ", "Bearer firs", "Bearer first2", "Bearer FIRST", "Bearer \xff"],
)
def test_invalid_key(authorization: str | None) -> None:
    with pytest.raises(Problem) as caught:
        KEYS.check(scope("/v1/forward", authorization))
    assert caught.value.kind.status == 401
    assert caught.value.headers == {"WWW-Authenticate": "Bearer"}
    assert "Authorization: Bearer <key>" in caught.value.detail and "first" not in caught.value.detail


@for_each("root_path", ["", "/autodiff", "/autodiff/"])
@for_each("path", ["", "/", "/docs/swagger-ui.css", "/problems/unknown-node", *OPEN_PATHS])
def test_open_paths_need_no_key(path: str, root_path: str) -> None:
    KEYS.check(scope(path, root_path=root_path))
    KEYS.check(scope(root_path.rstrip("/") + path, root_path=root_path))


@for_each("path", ["/v1/info", "/docsx", "/webx", "/livez2", "/v1/docs", "/unknown", "/openapi.jsonl", "//docs"])
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


# --- the service as a whole

KEY = ("Authorization", "Bearer first")
NEEDING_KEYS = [operation for operation in OPERATIONS if not operation.is_open]
OPEN = [operation for operation in OPERATIONS if operation.is_open]


@cache
def app_with(keys: str = "first, second key", **settings: Any) -> FastAPI:
    """The application with two keys. Each is made once."""
    return create_app(Settings(api_keys=SecretStr(keys), **settings))


def assert_unauthorized(response: Response) -> None:
    """Assert that a key is asked for, and none shown."""
    assert response.status == 401 and response.problem == "unauthorized"
    assert response.values("www-authenticate") == ["Bearer"]
    assert b"first" not in response.body


def test_there_are_operations_that_need_a_key_and_others() -> None:
    assert len(NEEDING_KEYS) > 20 and len(OPEN) >= 4


@for_each("operation", NEEDING_KEYS)
@for_each("root_path", ["", "/autodiff"])
def test_operation_needs_a_key(operation: Operation, root_path: str) -> None:
    """Whether the proxy strips its prefix or keeps it."""
    app = app_with(root_path=root_path)
    for path in {operation.path, root_path + operation.path}:
        for wrong in ([], [("Authorization", "Bearer wrong")]):
            assert_unauthorized(perform(app, operation, wrong, path=path))
        assert perform(app, operation, [KEY], path=path).status == 200


@for_each("operation", NEEDING_KEYS)
def test_every_method_needs_a_key(operation: Operation) -> None:
    for method in ("GET", "HEAD", "POST", "DELETE", "options"):
        assert_unauthorized(perform(app_with(), operation, method=method))


@for_each("operation", NEEDING_KEYS)
def test_options_needs_no_key_and_does_nothing(operation: Operation) -> None:
    """A preflight never has one."""
    assert perform(app_with(), operation, method="OPTIONS").status == 405


@for_each("path", [*(operation.path for operation in OPEN), *DOCS_PAGES, "/", "/openapi.json"])
@for_each("root_path", ["", "/autodiff"])
@for_each("method", ["GET", "HEAD"])
def test_open_page_needs_no_key(path: str, root_path: str, method: str) -> None:
    for prefix in {"", root_path}:
        assert ask(app_with(root_path=root_path), method, prefix + path).status in (200, 307)
    assert ask(app_with(root_path=root_path), method, path, [("Authorization", "Bearer wrong")]).status in (200, 307)


@for_each(
    "path",
    [
        "/nope",
        "/v1",
        "/v1/nope",
        "/v2/forward",
        "/livezz",
        "/livez%2f..",
        "/LIVEZ",
        "/docs.",
        "//livez",
        "/v1/livez",
        "/.",
        "*",
        "x",
    ],
)
def test_unknown_path_needs_a_key(path: str) -> None:
    """What is added to the service is closed until it is listed as open."""
    assert_unauthorized(ask(app_with(), "GET", path))


@pytest.mark.parametrize("path", ["/livez/../v1/info", "/docs/../v1/info", "/problems/../v1/info", "/docs/%2e%2e/v1/info"])
def test_dots_do_not_lead_past_the_keys(path: str) -> None:
    assert ask(app_with(), "GET", path).status == 404


@pytest.mark.parametrize(
    "path",
    [
        "/autodiffx/livez",
        "/other/livez",
        "/autodiff/autodiff/livez",
        "/autodiff/v1/info",
        "/x/autodiff/livez",
        "/Autodiff/livez",
    ],
)
def test_only_the_prefix_of_the_proxy_is_left_out(path: str) -> None:
    assert_unauthorized(ask(app_with(root_path="/autodiff"), "GET", path))


@pytest.mark.parametrize("path", ["/autodiff/livez", "/x/livez"])
def test_prefix_is_not_known_without_a_root_path(path: str) -> None:
    assert_unauthorized(ask(app_with(), "GET", path))


@pytest.mark.parametrize("root_path", ["", "/autodiff"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_closed_metrics_need_a_key(root_path: str, method: str) -> None:
    app = app_with(metrics_open=False, root_path=root_path)
    for path in {"/metrics", f"{root_path}/metrics"}:
        assert_unauthorized(ask(app, method, path))
        assert ask(app, method, path, [KEY]).status == 200
    for path in [operation.path for operation in OPEN if operation.path != "/metrics"] + [
        "/docs",
        "/docs/start.js",
        "/",
        "/web/main.js",
    ]:
        assert ask(app, method, path).status == 200, "only metrics are closed"


@pytest.mark.parametrize("metrics_open", [True, False], ids=["open", "closed"])
def test_metrics_need_no_key_where_there_is_none(metrics_open: bool) -> None:
    assert ask(app_with("", metrics_open=metrics_open), "GET", "/metrics").status == 200


VALID: dict[str, str | bytes] = {
    "as documented": "Bearer first",
    "the second key, with a space": "Bearer second key",
    "lower case": "bearer first",
    "upper case": "BEARER first",
    "mixed case": "bEaReR first",
    "several spaces": "Bearer    first",
    "trailing spaces": "Bearer first   ",
    "a trailing tab": "Bearer first\t",
}
"""RFC 9110, 11.1: the scheme is case-insensitive, and one or more spaces follow it. White space at the end is ignored (5.5)."""

INVALID: dict[str, str | bytes] = {
    "empty": "",
    "a space": " ",
    "a key without a scheme": "first",
    "a scheme without a key": "Bearer",
    "an empty key": "Bearer ",
    "a tab in place of the space": "Bearer\tfirst",
    "no space": "Bearerfirst",
    "a colon": "Bearer:first",
    "Basic": "Basic first",
    "Basic with base64": "Basic Zmlyc3Q6",
    "Token": "Token first",
    "a longer scheme": "Bearers first",
    "a shorter scheme": "Beare first",
    "an accented scheme": "B\xe9arer first",
    "the scheme twice": "Bearer Bearer first",
    "a prefix of the key": "Bearer firs",
    "an extension of the key": "Bearer firstx",
    "a suffix of the key": "Bearer irst",
    "another case": "Bearer First",
    "quotes": 'Bearer "first"',
    "the key twice": "Bearer first first",
    "both keys": "Bearer first, second key",
    "both keys as the setting has them": "Bearer first,second key",
    "a list of two": "Bearer first, Bearer first",
    "a list that begins with another scheme": "Basic x, Bearer first",
    "a null byte": b"Bearer first\0",
    "a byte order mark": b"\xef\xbb\xbfBearer first",
    "bytes that are not ASCII": b"Bearer f\xc3\xafrst",
    "bytes that are not UTF-8": b"Bearer \xff\xfe",
    "full-width letters": "Bearer \uff46\uff49\uff52\uff53\uff54".encode(),
    "a question mark": "Bearer ?",
    "a very long key": "Bearer " + "first" * 10_000,
}


@for_each("authorization", VALID.values())
def test_spelling_that_is_accepted(authorization: str | bytes) -> None:
    assert ask(app_with(), "GET", "/v1/info", [("Authorization", authorization)]).status == 200


@for_each("authorization", INVALID.values())
def test_spelling_that_is_refused(authorization: str | bytes) -> None:
    assert_unauthorized(ask(app_with(), "GET", "/v1/info", [("Authorization", authorization)]))


@pytest.mark.parametrize(
    "values",
    [
        ["Bearer wrong", "Bearer first"],
        ["Basic x", "Bearer first"],
        ["", "Bearer first"],
        ["Bearer", "first"],
        ["Bearer first", "Bearer wrong"],
        ["Bearer first", "Bearer first"],
    ],
    ids=["wrong and right", "another scheme and right", "empty and right", "in two halves", "right and wrong", "twice"],
)
def test_second_authorization_header_is_not_taken(values: list[str]) -> None:
    """RFC 9110, 5.3: the field is no list, so it stands once. A proxy may have checked only one of two."""
    assert_unauthorized(ask(app_with(), "GET", "/v1/info", [("Authorization", value) for value in values]))


@pytest.mark.parametrize(
    "headers",
    [
        [("Proxy-Authorization", "Bearer first")],
        [("X-API-Key", "first")],
        [("Cookie", "Authorization=Bearer first")],
        [("X-Authorization", "Bearer first")],
    ],
    ids=lambda headers: str(headers[0][0]),
)
def test_other_header_holds_no_key(headers: list[tuple[str, str]]) -> None:
    assert_unauthorized(ask(app_with(), "GET", "/v1/info", headers))


@pytest.mark.parametrize("query", ["key=first", "access_token=first", "api_key=first", "authorization=Bearer+first"])
def test_query_holds_no_key(query: str) -> None:
    assert_unauthorized(ask(app_with(), "GET", "/v1/info", query=query))


@pytest.mark.parametrize("key", ["cl\xe9s", "\u043a\u043b\u044e\u0447", "\U0001f511"], ids=["accented", "Cyrillic", "emoji"])
def test_key_that_is_not_ascii_is_sent_as_utf_8(key: str) -> None:
    app = app_with(key)
    assert ask(app, "GET", "/v1/info", [("Authorization", b"Bearer " + key.encode())]).status == 200
    other = key.encode("utf-16-le")
    assert ask(app, "GET", "/v1/info", [("Authorization", b"Bearer " + other)]).status == 401


@pytest.mark.parametrize("keys", ["first", "first,", ",first", " first ", "first,,second key", "first,first"])
def test_empty_key_between_commas_is_none(keys: str) -> None:
    assert_unauthorized(ask(app_with(keys), "GET", "/v1/info", [("Authorization", "Bearer ")]))
    assert_unauthorized(ask(app_with(keys), "GET", "/v1/info", [("Authorization", "Bearer ,")]))
    assert ask(app_with(keys), "GET", "/v1/info", [KEY]).status == 200


@pytest.mark.parametrize("authorization", ["Bearer first", "Bearer second key", "Bearer wrong", "Basic first", None])
def test_all_keys_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch, authorization: str | None) -> None:
    """The time taken does not tell which key matched, or how far."""
    compared: list[tuple[bytes, bytes]] = []
    compare = hmac.compare_digest

    def counted(given: bytes, known: bytes) -> bool:
        compared.append((given, known))
        return compare(given, known)

    monkeypatch.setattr(hmac, "compare_digest", counted)
    try:
        KEYS.check(scope("/v1/forward", authorization))
    except Problem:
        assert authorization not in ("Bearer first", "Bearer second key")
    assert len(compared) == 2
    assert all(len(given) == len(known) == 32 for given, known in compared), "digests have one length, keys do not"


def test_body_of_an_unauthorized_request_is_not_read() -> None:
    response = ask(app_with(), "POST", "/v1/forward", parts=[b"{}", b"{}", b"{}"])
    assert_unauthorized(response)
    assert response.parts_read == 0


def test_key_is_asked_for_before_anything_else_is_refused() -> None:
    """A client without a key learns nothing about paths, types or limits."""
    for method, path, headers in [
        ("GET", "/v1/nope", []),
        ("DELETE", "/v1/forward", []),
        ("POST", "/v1/forward", [("Content-Type", "text/plain")]),
        ("POST", "/v1/forward", [("Accept", "image/webp")]),
        ("POST", "/v1/forward", [("Content-Length", "999999999999")]),
    ]:
        assert_unauthorized(ask(app_with(), method, path, headers))
