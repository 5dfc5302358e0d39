"""The README: its requests get the responses it shows, and its tables match the code."""

import json
import re
import shutil
import subprocess
import sys
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from app.engine.primitives import ALIASES, WIRE
from app.settings import Settings
from tests.conftest import ROOT

README = (ROOT / "README.md").read_text("utf-8")
CURL = re.compile(r"```sh\ncurl -s localhost:8000(\S+) [^\n]*-d '\n(.*?)'\n```(?:\n```json\n(.*?)\n```)?", re.DOTALL)


COUNTS = ("iterations", "evaluations")
"""What a search needs may differ by one between processors, since their sums are rounded in another order."""


def near(a: Any, b: Any) -> bool:
    """Whether two JSON documents are equal but for rounding."""
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(key in COUNTS or near(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return isinstance(b, list) and len(a) == len(b) and all(map(near, a, b))
    return a == pytest.approx(b, rel=1e-12, abs=1e-15) if isinstance(a, float) else bool(a == b)


REQUESTS = CURL.findall(README)


@pytest.mark.parametrize(("path", "body", "shown"), REQUESTS, ids=[path for path, _, _ in REQUESTS])
def test_request_gets_the_response_that_is_shown(client: httpx.Client, path: str, body: str, shown: str) -> None:
    response = client.post(path, content=body, headers={"Content-Type": "application/json"})
    if shown:  # one of them is an error
        assert near(json.loads(shown), response.json())
    else:
        assert response.status_code == 200


def test_every_curl_command_is_found() -> None:
    assert len(REQUESTS) == README.count("curl -s localhost:8000") == 14


CODE = re.compile(r"```sh\ncurl -s localhost:8000/v1/code [^\n]*text/plain' -d '\n(.*?)'\n```\n```\w+\n(.*?)```", re.DOTALL)


@pytest.mark.parametrize(("body", "shown"), CODE.findall(README), ids=["C", "JavaScript"])
def test_code_that_is_shown_is_what_the_service_writes(client: httpx.Client, body: str, shown: str) -> None:
    headers = {"Content-Type": "application/json", "Accept": "text/plain"}
    assert client.post("/v1/code", content=body, headers=headers).text == shown


@pytest.mark.parametrize("language", ["python", "javascript"])
def test_client_of_arrays_in_base64_prints_what_is_shown(base_url: str, language: str) -> None:
    """The section's code is run as it stands, but for the address."""
    section = README.partition("### Arrays in base64")[2]
    found = re.search(rf"```{language}\n(.*?)```", section, re.DOTALL)
    assert found
    code = found[1].replace("http://localhost:8000", base_url)
    shown = re.split(" # | // ", code.strip())[-1].strip()
    program = [sys.executable, "-c"] if language == "python" else ["node", "--input-type=module", "-e"]
    if shutil.which(program[0]) is None:
        pytest.skip("Node.js is not installed")
    ran = subprocess.run([*program, code], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip() == shown


def test_table_of_primitives_matches_the_code() -> None:
    lines = ["| name | arguments | value | derivative by each argument | domain | at a kink |", "|---|---|---|---|---|---|"]
    for row in WIRE.values():
        names = [row.name, *(alias for alias, name in ALIASES.items() if name == row.name)]
        count = str(row.min_arity) if row.min_arity == row.max_arity else f"{row.min_arity} or more"
        derivative = ", ".join(f"`{d}`" for d in row.derivative)
        cells = [", ".join(f"`{n}`" for n in names), count, f"`{row.formula}`", derivative, row.domain_note, row.kink]
        lines.append(f"| {' | '.join(cells)} |")
    expected = "\n".join(lines)
    assert expected in README, f"the README's table should be:\n{expected}"


def test_table_of_settings_matches_the_code() -> None:
    lines = []
    for name, field in Settings.model_fields.items():
        plain = not field.default_factory and field.default not in (None, "", SecretStr(""))
        default = f"`{field.default}` " if plain else ""
        lines.append(f"| `AUTODIFF_{name.upper()}` | {default}| {field.description} |")
    expected = "\n".join(lines)
    assert expected in README, f"the README's settings should be:\n{expected}"


def test_every_endpoint_is_listed(client: httpx.Client) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    assert [path for path in paths if path not in README] == []
