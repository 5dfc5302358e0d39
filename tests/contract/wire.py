"""Requests and responses of the contract tests: the smallest valid requests, and the checks that every response must pass."""

import json
import os
import re
from collections.abc import Iterable, Iterator
from typing import Any

import httpx

EVALUATED = ("forward", "backward", "jvp", "jacobian", "hessian", "hvp", "check", "parse", "graph")
"""The operations on expressions whose leaves have numbers: `POST /v1/<name>`."""
WRITTEN = ("derivative", "code")
"""Those on expressions alone."""
POSTS = (*EVALUATED, *WRITTEN)
GETS = ("/livez", "/readyz", "/v1/info", "/v1/primitives", "/docs", "/openapi.json", "/problems/invalid-json")
LOCAL = "AUTODIFF_TEST_URL" not in os.environ
"""Whether the tests may start servers of their own."""
MAX_ERROR_BYTES = 20_000
"""The largest error response, whatever the request was."""


def smallest(operation: str, **fields: Any) -> dict[str, Any]:
    """Return a valid request of an operation on expressions, with these fields added or replaced.

    One on expressions alone is without `inputs`.
    """
    request: dict[str, Any] = {"expression": "x*x + 3*x", "inputs": {"x": 2.0}} | fields
    if operation in ("jvp", "hvp"):
        request = {"tangents": {"x": 1.0}} | request
    if operation in WRITTEN:
        del request["inputs"]
    return {"language": "python"} | request if operation == "code" else request


def graph(*nodes: dict[str, Any], output: str | None = None, **fields: Any) -> dict[str, Any]:
    """Return a graph object. Its output is the last node unless `output` names another."""
    return {"nodes": list(nodes), "output": output or nodes[-1]["id"], **fields}


def leaf(name: str, data: Any = None) -> dict[str, Any]:
    """Return a leaf of a graph object, with `data` if it is given."""
    return {"id": name, "op": "value"} | ({} if data is None else {"data": data})


def node(name: str, op: str, *args: Any, **fields: Any) -> dict[str, Any]:
    """Return a node of a graph object that applies `op` to `args`."""
    return {"id": name, "op": op, "args": list(args), **fields}


def json_of(response: httpx.Response) -> Any:
    """Return the JSON of a response that must be a success."""
    assert response.status_code == 200, response.text[:1000]
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-request-id"]
    return strict(response.content)


def strict(content: bytes) -> Any:
    """Parse JSON as RFC 8259 defines it: UTF-8, no NaN, no infinity; no key may appear twice."""

    def refuse(token: str) -> None:
        raise AssertionError(f"{token} is not JSON")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len(dict(pairs)) == len(pairs), f"a key appears twice in {[key for key, _ in pairs][:20]}"
        return dict(pairs)

    return json.loads(content.decode("utf-8"), parse_constant=refuse, object_pairs_hook=unique)


def problem(
    response: httpx.Response, name: str | None = None, status: int | None = None, pointer: str | None = None
) -> dict[str, Any]:
    """Return the problem object of an error response, after checking everything that holds for every error.

    `name` is the last part of its type, `pointer` one of the places in its `errors`.
    """
    assert response.status_code >= 400, response.text[:1000]
    assert response.headers["content-type"] == "application/problem+json"
    assert re.fullmatch(r"[\x21-\x7e]{1,128}", response.headers["x-request-id"])
    assert len(response.content) < MAX_ERROR_BYTES
    body: dict[str, Any] = strict(response.content)
    assert {"type", "title", "status", "detail"} <= set(body) <= {"type", "title", "status", "detail", "errors", "instance"}
    assert re.fullmatch(r"/problems/[a-z-]+", body["type"])
    assert body["status"] == response.status_code
    assert isinstance(body["title"], str) and body["title"]
    assert isinstance(body["detail"], str) and " " in body["detail"], "a detail is a sentence"
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", body["detail"]), "a detail has no control characters"
    assert "Traceback" not in body["detail"] and ".py" not in body["detail"]
    if "errors" in body:
        assert 1 <= len(body["errors"]) <= 20
        for entry in body["errors"]:
            assert set(entry) == {"pointer", "detail"}
            assert isinstance(entry["detail"], str) and " " in entry["detail"]
            assert re.fullmatch(r"(/([^~/]|~0|~1)*)*", entry["pointer"], re.DOTALL), entry["pointer"]
    if name is not None:
        assert body["type"] == f"/problems/{name}", body
    if status is not None:
        assert response.status_code == status, body
    if pointer is not None:
        assert pointer in [entry["pointer"] for entry in body.get("errors", [])], body
    return body


def assert_mentions(body: dict[str, Any], words: Iterable[str]) -> None:
    """Assert that a problem's detail or errors contain every word. A word may list alternatives: "missing|required"."""
    text = " ".join([body["detail"], *(entry["detail"] for entry in body.get("errors", []))])
    for word in words:
        assert any(alternative in text for alternative in word.split("|")), f"{word!r} is not in {text!r}"


def assert_never_5xx(response: httpx.Response) -> None:
    """Assert that a response is a success in valid JSON, or a problem that blames the request."""
    assert response.status_code in (200, 400, 422), response.text[:500]
    if response.status_code != 200:
        problem(response)
    elif response.headers["content-type"] == "application/json":
        strict(response.content)


def resolve(document: Any, pointer: str) -> Any:
    """Return what a JSON Pointer (RFC 6901) points at. Raises KeyError, IndexError or ValueError if it points nowhere."""
    for step in pointer.split("/")[1:]:
        step = step.replace("~1", "/").replace("~0", "~")
        document = document[int(step)] if isinstance(document, list) else document[step]
    return document


def label(value: object) -> str | None:
    """Return the parameter id of a value: its text or JSON, shortened. For `ids=` in `pytest.mark.parametrize`."""
    match value:
        case str():
            text = value
        case bytes():
            text = repr(value[:40])
        case dict() | list() | tuple():
            text = json.dumps(value, ensure_ascii=False, default=str)
        case _:
            return None
    return text if len(text) <= 48 else f"{text[:45]}..."


Path = tuple[str | int, ...]
"""The keys and indices that lead to a place in a JSON document."""


def paths(document: Any, path: Path = ()) -> Iterator[Path]:
    """Yield the path of every value of a JSON document, the document itself first."""
    yield path
    items = document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    for key, value in items:
        yield from paths(value, (*path, key))


def at(document: Any, path: Path) -> Any:
    """Return the value at a path."""
    for step in path:
        document = document[step]
    return document


def put(document: Any, path: Path, value: Any) -> Any:
    """Return a copy of a JSON document with another value at a path. The last key may be new."""
    if not path:
        return value
    copy = dict(document) if isinstance(document, dict) else list(document)
    copy[path[0]] = put(document[path[0]], path[1:], value) if path[1:] else value  # type: ignore[index]
    return copy
