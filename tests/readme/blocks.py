"""The fenced blocks of the README, and who runs each of them."""

import re
from typing import Literal, NamedTuple

from tests.conftest import ROOT

README = (ROOT / "README.md").read_text("utf-8")
FENCE = re.compile(r"^```(?P<language>\w*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
PROGRAMS = ("sh", "python", "javascript", "r", "elixir")


class Block(NamedTuple):
    """A program of the README, the number of its first line, and the block below it, which is its answer."""

    language: str
    code: str
    line: int
    section: str
    answer_language: str = ""
    answer: str = ""

    @property
    def name(self) -> str:
        """The place and the language, for the ids of tests and for reports."""
        return f"line {self.line}, {self.language}"


Kind = Literal["start", "tests", "service", "program"]
"""A command that installs and starts the service or the tests, another one that starts the service, or a program that ends."""


class Apart(NamedTuple):
    """A block that the test suite does not run: a fragment of its code, what it needs, and what runs it."""

    fragment: str
    needs: str
    runs: str
    kind: Kind = "program"


COMMAND = "python -m tests.readme"
APART = (
    Apart("pip install . &&", "python3", "tests/readme/test_start.py, which is slow", "start"),
    Apart("pip install '.[test]' &&", "python3", ".ci/run", "tests"),
    Apart("docker build", "docker", COMMAND, "service"),
    Apart("docker compose", "docker", COMMAND),
    Apart("serve run", "module ray", COMMAND, "service"),
    Apart("serve deploy", "variable RAY_DASHBOARD_ADDRESS", COMMAND),
    Apart("library(httr2)\n\nbody", "Rscript", COMMAND),
    Apart("library(httr2)\ncall", "Rscript", COMMAND),
    Apart("Mix.install", "elixir", COMMAND),
    Apart("import umbridge", "module umbridge", COMMAND),
    Apart("from umbridge.pymc", "module pymc", COMMAND),
    Apart("from tesseract_core", "module tesseract_core", COMMAND),
    Apart("from tesseract_jax", "module tesseract_jax", COMMAND),
)
"""Every other program runs in the test suite, and so do those of Python here if their modules are installed."""


def programs() -> list[Block]:
    """Return the README's programs, in order. A block directly below a shell command is its answer, and no program."""
    found: list[Block] = []
    above = None
    for match in FENCE.finditer(README):
        language, code = match["language"], match["code"]
        if above is not None and above[0] == "sh" and README[above[1] : match.start()] == "\n" and language != "sh":
            found[-1] = found[-1]._replace(answer_language=language, answer=code)
        elif language in PROGRAMS:
            section = re.findall(r"^##+ (.+)$", README[: match.start()], re.MULTILINE)[-1]
            found.append(Block(language, code, README.count("\n", 0, match.start()) + 2, section))
        above = (language, match.end())
    return found


def apart(block: Block) -> Apart | None:
    """Return why the test suite does not run a block, or None."""
    return next((row for row in APART if row.fragment in block.code), None)
