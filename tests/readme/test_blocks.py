"""Every shell command and every program of the README that can be run here gives what is shown."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.readme.blocks import APART, PROGRAMS, README, Block, apart, programs
from tests.readme.running import missing, prepare, run_program, run_python, run_shell, same_text

BLOCKS = programs()
HERE = [block for block in BLOCKS if apart(block) is None or block.language == "python"]


@pytest.fixture(scope="module")
def names() -> dict[str, dict[str, Any]]:
    """The names of Python by the section of the README: later blocks go on with those of earlier ones."""
    return {}


@pytest.mark.parametrize("block", HERE, ids=[block.name for block in HERE])
def test_block_gives_what_is_shown(block: Block, base_url: str, tmp_path: Path, names: dict[str, dict[str, Any]]) -> None:
    row = apart(block)
    if row is not None and missing(row.needs):
        pytest.skip(f"{row.needs} is not installed; {row.runs} runs it where it is")
    if block.language == "python":
        run_python(block, base_url, names.setdefault(block.section, {}))
        return
    program = "curl" if block.language == "sh" else "node"
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    prepare(tmp_path)
    (run_shell if block.language == "sh" else run_program)(block, base_url, tmp_path)


def test_every_block_is_run_or_named() -> None:
    """Those that are named are in the README once, and each has something that runs it."""
    assert len(HERE) >= 20
    assert {block.language for block in BLOCKS} == set(PROGRAMS)
    for row in APART:
        assert [row.fragment in block.code for block in BLOCKS].count(True) == 1, row.fragment
    counted = sum(README.count(f"```{language}\n") for language in PROGRAMS)
    answers = [block.answer_language for block in BLOCKS]
    assert counted == len(BLOCKS) + sum(language in PROGRAMS for language in answers)
    assert answers.count("json") == README.count("```json\n") - 1, "the configuration of MCP is the only JSON that is no answer"


@pytest.mark.parametrize(("shown", "printed"), [("6.0", "6.1"), ("[1.0, 2.0]", "[1.0]"), ("x 1", "y 1"), ("true", "True")])
def test_other_texts_are_noticed(shown: str, printed: str) -> None:
    assert not same_text(shown, printed)
