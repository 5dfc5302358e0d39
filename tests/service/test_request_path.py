"""The files that one POST /v1/backward passes through, as the README's design notes list them."""

import asyncio
import io
import itertools
import json
import os
import re
import sys
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

import orjson
import pytest
import structlog

import app
from app.main import create_app
from app.service import middleware
from app.service.logs import BufferedLines
from app.settings import Settings
from tests.conftest import ROOT
from tests.service.inprocess import running

APP = Path(app.__file__).parent
README = (ROOT / "README.md").read_text("utf-8")
BLOCK = re.compile(r"(<!-- the path of a request -->\s*```\w*\n)(.*?)```", re.DOTALL)
UPDATE = "AUTODIFF_UPDATE=1 python -m pytest tests/service/test_request_path.py"
MAX_FILES, MAX_VISITS = 10, 2


def first_text_example() -> dict[str, Any]:
    """The body of the README's first request with an expression as text."""
    body = re.search(r"curl .*?/v1/backward .*?-d '\s*(\{.*?\})'", README, re.DOTALL)
    assert body is not None
    example: dict[str, Any] = json.loads(body[1])
    assert isinstance(example["expression"], str)
    return example


def trace(body: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files under app/, without app/engine, in which functions are entered while one request is answered.

    A first request has been answered before: FastAPI builds its handlers then. Log lines are made as a server makes them.
    """
    lines = BufferedLines(io.BytesIO())
    renderer = structlog.processors.JSONRenderer(orjson.dumps)
    access_log = structlog.wrap_logger(lines, processors=[renderer], wrapper_class=structlog.BoundLogger)
    entered: list[str] = []

    def note(frame: FrameType, event: str, _: object) -> None:
        file = Path(frame.f_code.co_filename)
        if event == "call" and file.is_relative_to(APP) and not file.is_relative_to(APP / "engine"):
            entered.append(f"app/{file.relative_to(APP).as_posix()}")

    async def ask() -> None:
        async with running(create_app(Settings())) as client:
            other = {"expression": "p*q", "inputs": {"p": 1, "q": 2}}
            assert (await client.post("/v1/backward", json=other)).status_code == 200
            profiler = sys.getprofile()
            monkeypatch.setattr(middleware, "access_log", access_log)
            sys.setprofile(note)
            try:
                response = await client.post("/v1/backward", json=body)
            finally:
                sys.setprofile(profiler)
            assert response.status_code == 200

    asyncio.run(ask())
    return [file for file, _ in itertools.groupby(entered)]


@pytest.fixture(scope="module")
def path() -> list[str]:
    """The files of the README's first example, in the order in which they are entered."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        return trace(first_text_example(), monkeypatch)


def test_readme_lists_the_path_of_a_request(path: list[str]) -> None:
    if os.environ.get("AUTODIFF_UPDATE"):
        listing = "\n".join(path)
        readme = BLOCK.sub(lambda block: block[1] + listing + "\n```", README)
        (ROOT / "README.md").write_text(readme, "utf-8")
    listed = BLOCK.search((ROOT / "README.md").read_text("utf-8"))
    assert listed is not None
    assert listed[2].split() == path, f"to accept the change, run: {UPDATE}"


def test_path_has_few_files(path: list[str]) -> None:
    files = sorted(set(path))
    assert len(files) <= MAX_FILES, files


def test_path_does_not_jump_back_and_forth(path: list[str]) -> None:
    visits = {file: count for file, count in Counter(path).items() if count > MAX_VISITS}
    assert not visits, visits
