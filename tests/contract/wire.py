"""What the contract tests share: a smallest valid request for every POST, the shape of a problem, and raw sockets."""

import json
import os
import re
import socket
from typing import Any
from urllib.parse import urlsplit

import httpx

POSTS = ("forward", "backward", "jvp", "jacobian", "hessian", "hvp", "check", "parse", "graph")
GETS = ("/livez", "/readyz", "/v1/info", "/v1/primitives", "/docs", "/openapi.json", "/problems/invalid-json")
LOCAL = "AUTODIFF_TEST_URL" not in os.environ

LONGEST_ERROR = 20_000
"""Bytes that an error may have, whatever the request was."""


def smallest(operation: str, **fields: Any) -> dict[str, Any]:
    """A valid request of an operation, with these fields put in or replaced."""
    request: dict[str, Any] = {"expression": "x*x + 3*x", "inputs": {"x": 2.0}}
    if operation in ("jvp", "hvp"):
        request["tangents"] = {"x": 1.0}
    return request | fields


def graph(*nodes: dict[str, Any], output: str | None = None, **fields: Any) -> dict[str, Any]:
    """A graph object of these nodes; its output is the last of them unless told otherwise."""
    return {"nodes": list(nodes), "output": output or nodes[-1]["id"], **fields}


def leaf(name: str, data: Any = None) -> dict[str, Any]:
    """A leaf, with its number where it is given one."""
    return {"id": name, "op": "value"} | ({} if data is None else {"data": data})


def node(name: str, op: str, *args: Any, **fields: Any) -> dict[str, Any]:
    """An operation on arguments."""
    return {"id": name, "op": op, "args": list(args), **fields}


def answer(response: httpx.Response) -> Any:
    """The JSON of an answer that has to be a success."""
    assert response.status_code == 200, response.text[:1000]
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-request-id"]
    return strict(response.content)


def strict(content: bytes) -> Any:
    """JSON as the standard has it: UTF-8, no NaN, no infinity, no key twice."""

    def refuse(token: str) -> None:
        raise AssertionError(f"{token} is no JSON")

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len(dict(pairs)) == len(pairs), f"a key stands twice among {[key for key, _ in pairs][:20]}"
        return dict(pairs)

    return json.loads(content.decode("utf-8"), parse_constant=refuse, object_pairs_hook=once)


def problem(
    response: httpx.Response, name: str | None = None, status: int | None = None, pointer: str | None = None
) -> dict[str, Any]:
    """The problem object of an error, after all that section 1 says of every error has been checked."""
    assert response.status_code >= 400, response.text[:1000]
    assert response.headers["content-type"] == "application/problem+json"
    assert re.fullmatch(r"[\x21-\x7e]{1,128}", response.headers["x-request-id"])
    assert len(response.content) < LONGEST_ERROR
    body: dict[str, Any] = strict(response.content)
    assert {"type", "title", "status", "detail"} <= set(body) <= {"type", "title", "status", "detail", "errors", "instance"}
    assert re.fullmatch(r"/problems/[a-z-]+", body["type"])
    assert body["status"] == response.status_code
    assert isinstance(body["title"], str) and body["title"]
    assert isinstance(body["detail"], str) and body["detail"]
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", body["detail"]), "control characters are no text for a person"
    assert "Traceback" not in body["detail"] and ".py" not in body["detail"]
    if "errors" in body:
        assert 1 <= len(body["errors"]) <= 20
        for entry in body["errors"]:
            assert set(entry) == {"pointer", "detail"}
            assert isinstance(entry["detail"], str) and entry["detail"]
            assert re.fullmatch(r"(/([^~/]|~0|~1)*)*", entry["pointer"], re.DOTALL), entry["pointer"]
    if name is not None:
        assert body["type"] == f"/problems/{name}", body
    if status is not None:
        assert response.status_code == status
    if pointer is not None:
        assert pointer in [entry["pointer"] for entry in body.get("errors", [])], body
    return body


def resolve(document: Any, pointer: str) -> Any:
    """What a JSON Pointer leads to (RFC 6901). Raises where it leads nowhere."""
    for step in pointer.split("/")[1:]:
        step = step.replace("~1", "/").replace("~0", "~")
        document = document[int(step)] if isinstance(document, list) else document[step]
    return document


def place(base_url: str) -> tuple[str, int, str]:
    """Host, port and path prefix of the service, for a socket of one's own."""
    parts = urlsplit(base_url)
    return parts.hostname or "localhost", parts.port or 80, parts.path


def head(base_url: str, path: str = "/v1/forward", method: str = "POST", **headers: str) -> bytes:
    """The head of a request as bytes; header names are written with _ for -."""
    host, port, prefix = place(base_url)
    lines = [f"{method} {prefix}{path} HTTP/1.1", f"Host: {host}:{port}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def exchange(base_url: str, *parts: bytes, hang_up: bool = False, seconds: float = 10.0) -> bytes:
    """What the service answers to raw bytes until it closes the connection, or for `seconds` at most.

    With `hang_up` the client closes its end, without reading, as soon as all is sent.
    """
    host, port, _ = place(base_url)
    received = b""
    with socket.create_connection((host, port), timeout=seconds) as connection:
        try:
            for part in parts:
                connection.sendall(part)
            if hang_up:
                return b""
            while chunk := connection.recv(65536):
                received += chunk
        except (TimeoutError, ConnectionError):
            pass
    return received


def status_of(received: bytes) -> int:
    """The status of a raw answer."""
    match = re.match(rb"HTTP/1\.1 (\d{3}) ", received)
    assert match, received[:200]
    return int(match[1])
