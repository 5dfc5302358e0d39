"""The examples of the documentation, from openapi/examples/<operation>.<name>.json. The tests send the same files."""

import json
from functools import cache
from pathlib import Path
from typing import Any


@cache
def _examples(operation: str) -> dict[str, dict[str, Any]]:
    """The examples of an operation by name, the shortest first."""
    packaged = Path(__file__).parents[1] / "examples"
    folder = packaged if packaged.is_dir() else Path(__file__).parents[2] / "openapi" / "examples"
    files = sorted(folder.glob(f"{operation}.*.json"))
    found = {file.name.split(".")[1]: json.loads(file.read_text("utf-8")) for file in files}
    return dict(sorted(found.items(), key=lambda item: len(json.dumps(item[1].get("request")))))


def request_examples(operation: str) -> dict[str, dict[str, Any]]:
    """Example bodies of an operation, as OpenAPI has them."""
    return {
        name: {"summary": e["summary"], "value": e["request"]} for name, e in _examples(operation).items() if "request" in e
    }


def response_examples(operation: str) -> dict[str, dict[str, Any]]:
    """Example responses of an operation, as OpenAPI has them."""
    return {name: {"summary": e["summary"], "value": e["answer"]} for name, e in _examples(operation).items() if "answer" in e}
