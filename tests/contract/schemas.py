"""Checks responses against the OpenAPI document that the service publishes."""

import hashlib
import re
from functools import cache
from typing import Any

import httpx
import jsonschema_rs

from tests.contract.events import events
from tests.contract.wire import strict

JSON, PROBLEM, EVENTS = "application/json", "application/problem+json", "text/event-stream"
DRAFT = "https://json-schema.org/draft/2020-12/schema"
MACHINERY = {401, 404, 405, 413, 500, 503}
"""Statuses that the service may send for any path before an operation is reached, so that no operation need list them."""


def dereference(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """Follow the `$ref` of a schema, if it has one, into the components of the document."""
    while "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema


def validator(document: dict[str, Any], schema: dict[str, Any]) -> jsonschema_rs.Draft202012Validator:
    """Return a validator for one schema of a document, whose components it may refer to."""
    return jsonschema_rs.Draft202012Validator({**schema, "$schema": DRAFT, "components": document["components"]})


def closed(schema: Any) -> Any:
    """Return a copy of a schema or document whose objects allow no properties but the listed ones.

    A response with a field that the document does not describe then fails its check.
    """
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    copy = {key: value if key in ("example", "examples", "default") else closed(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and schema.get("type", "object") == "object":
        copy.setdefault("additionalProperties", False)
    return copy


ITERATION: dict[str, Any] = {
    "type": "object",
    "properties": {"iteration": {"type": "integer"}, "value": {"type": "number"}, "gradient_norm": {"type": "number"}},
    "required": ["iteration", "value", "gradient_norm"],
    "additionalProperties": False,
}
"""The data of a progress event of a search whose response has no rows of that kind."""


class ResponseChecker:
    """Checks responses against one OpenAPI document."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = closed(document)
        self.seen: set[bytes] = set()
        self.validator = cache(lambda key: validator(self.document, self._schema(*key)))
        self.templates: list[tuple[re.Pattern[str], str]] = [
            (re.compile(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(path))), path)
            for path in sorted(self.document["paths"], key=lambda path: "{" in path)
        ]

    def check(self, response: httpx.Response) -> None:
        """Raise AssertionError if the response does not match the document."""
        media = response.headers.get("content-type", "").partition(";")[0].lower()
        content = response.content
        if response.request.method == "HEAD" or not content:
            return
        path = self._template(response.request.url.raw_path.decode().partition("?")[0])
        if path.endswith("/openapi.json") or media not in (JSON, PROBLEM, EVENTS):
            return
        method = response.request.method.lower()
        if media != EVENTS:
            self._validate((path, method, response.status_code, media), content)
            return
        for name, data in events(iter(response.text.splitlines())):
            self.check_event(path, name, data)

    def check_event(self, path: str, name: str, data: str) -> None:
        """Raise AssertionError if the data of a server-sent event does not match the document."""
        self._validate((path, "event", name, JSON), data.encode())

    def _validate(self, key: tuple[str, str, int | str, str], content: bytes) -> None:
        digest = hashlib.sha256(repr(key).encode() + content).digest()
        if digest in self.seen:
            return
        for error in self.validator(key).iter_errors(strict(content)):
            place = "".join(f"/{part}" for part in error.instance_path)
            raise AssertionError(f"{key} does not match the OpenAPI document at {place!r}: {error.message[:500]}")
        self.seen.add(digest)

    def _template(self, path: str) -> str:
        """Return the path of the document that a request's path belongs to, or the path itself."""
        for pattern, template in self.templates:
            if pattern.fullmatch(path):
                return template
        for pattern, template in self.templates:  # behind a root path
            if re.search(f"{pattern.pattern}$", path):
                return template
        return path

    def _schema(self, path: str, method: str, status: int | str, media: str) -> dict[str, Any]:
        if method == "event":
            return self._event_schema(path, str(status))
        responses = self.document["paths"].get(path, {}).get(method, {}).get("responses", {})
        documented = responses.get(str(status))
        if documented is None and media == PROBLEM and (not responses or status in MACHINERY):
            return self._problem_schema()
        assert documented is not None, f"the document lists no status {status} for {method} {path}"
        assert media in documented["content"], f"the document lists no {media} for {method} {path} {status}"
        schema: dict[str, Any] = documented["content"][media]["schema"]
        return schema

    def _problem_schema(self) -> dict[str, Any]:
        """Return the schema of a problem, which every operation documents for its errors."""
        for item in self.document["paths"].values():
            for operation in item.values():
                for response in operation["responses"].values():
                    if PROBLEM in response.get("content", {}):
                        schema: dict[str, Any] = response["content"][PROBLEM]["schema"]
                        return schema
        raise AssertionError("the document describes no problem")

    def _event_schema(self, path: str, name: str) -> dict[str, Any]:
        """Return the schema of an event's data: that of `<path without /stream>`, one of its history rows, or a problem."""
        if name == "error":
            return self._problem_schema()
        plain = path.removesuffix("/stream")
        result = dereference(
            self.document, self.document["paths"][plain]["post"]["responses"]["200"]["content"][JSON]["schema"]
        )
        assert name in ("progress", "result"), f"the contract has no event {name!r}"
        if name == "result":
            return result
        rows = result["properties"].get("history") or result["properties"].get("trajectory")
        row: dict[str, Any] = dereference(self.document, rows)["items"] if rows else ITERATION
        return row
