"""The README's start command, as it is pasted: it makes its own virtual environment, installs, and serves."""

import socket
from pathlib import Path

import pytest

from tests.readme.blocks import APART, programs
from tests.readme.serving import copy_project, serve

pytestmark = pytest.mark.slow


def command(kind: str) -> str:
    """The command of a kind, of which there is one."""
    fragment = next(row.fragment for row in APART if row.kind == kind)
    return next(block.code for block in programs() if fragment in block.code)


def test_start_command_leads_to_the_first_answer(tmp_path: Path) -> None:
    folder = copy_project(tmp_path / "project")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    seconds = serve(command("start"), folder, tmp_path / "log", port)
    assert seconds["listening"] <= seconds["ready"] < seconds["answered"]
    assert (folder / ".venv" / "bin" / "python").exists()


@pytest.mark.parametrize("kind", ["start", "tests"])
def test_command_is_one_line_that_makes_its_own_environment(kind: str) -> None:
    """Debian's Python refuses to install outside of one."""
    assert command(kind).count("\n") == 1
    assert command(kind).startswith("python3 -m venv .venv && .venv/bin/pip install ")
