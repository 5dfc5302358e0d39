"""Run the blocks of the README that the test suite does not run: `python -m tests.readme`.

They are in R and Elixir, with Docker and Ray, and those of Python whose modules the extra `test` does not have. What is missing
here is named. `python -m tests.readme all` runs the other blocks too, and `python -m tests.readme TEXT` those that contain the
text. The exit code is 1 if a block fails.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.conftest import Server
from tests.readme.blocks import Apart, Block, apart, programs
from tests.readme.running import missing, prepare, run_program, run_python, run_shell
from tests.readme.serving import copy_project, serve


def run(block: Block, row: Apart | None, url: str, names: dict[str, dict[str, Any]]) -> str:
    """Run a block in a folder of its own and return what is to be reported."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if block.language == "python":
            return f"{run_python(block, url, names.setdefault(block.section, {}))} values compared"
        if row is None or block.language != "sh":
            prepare(folder)
            (run_shell if block.language == "sh" else run_program)(block, url, folder)
            return "compared" if block.answer or block.language != "sh" else "ran"
        project = copy_project(folder / "project")
        if row.kind != "start":
            (project / ".venv").symlink_to(sys.prefix)
        if row.kind == "program":
            run_shell(block, url, project)
            return "ran"
        seconds = serve(block.code, project, folder / "log")
        return ", ".join(f"{state} after {number:.1f} s" for state, number in seconds.items())


def main() -> int:
    """Run the blocks in order and print a line for each. Return the exit code."""
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    counts = {"passed": 0, "failed": 0, "missing": 0}
    names: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder) / "log")
        try:
            server.wait_until_ready(900)  # it may have to compile the kernels
            for block in programs():
                row = apart(block)
                chosen = (row is not None or wanted == "all") if wanted in ("", "all") else wanted in block.code
                if not chosen or (row is not None and row.kind == "tests"):
                    continue
                title = f"{block.name}: {block.code.splitlines()[0][:60]}"
                if row is not None and missing(row.needs):
                    result, report = "missing", row.needs
                else:
                    try:
                        result, report = "passed", run(block, row, server.url, names)
                    except Exception as error:  # of any program, which is reported, and the next one runs
                        result, report = "failed", f"{type(error).__name__}: {error}"
                counts[result] += 1
                print(f"{result:8}{title}: {report}", flush=True)
        finally:
            server.kill()
    print(", ".join(f"{number} {result}" for result, number in counts.items()))
    return 1 if counts["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
