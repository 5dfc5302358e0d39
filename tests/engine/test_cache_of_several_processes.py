"""A cache folder that several processes have filled gives every kernel its own rules."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.slow

# Rules too long for LLVM to inline, so that kernels call them by their symbols. Only their numbers tell the symbols apart.
KERNELS = """
import numpy as np
from app.engine.jit import inline, jit

def long_rule(function):
    scope = {"np": np}
    exec("def rule(x): return " + " + ".join(f"np.{function}({k}.0*x)" for k in range(1, 80)), scope)
    return inline(scope["rule"])

sines, cosines = long_rule("sin"), long_rule("cos")

@jit
def first(x):
    return sines(x)

@jit
def second(x):
    return cosines(x)
"""


def output(program: str, folder: Path) -> str:
    """Return what a new process prints."""
    environment = {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}", "AUTODIFF_CACHE_DIR": str(folder / "cache")}
    command = [sys.executable, "-c", f"import long_rules as rules; print({program})"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout.strip()


def test_kernels_of_two_processes_keep_their_own_rules(tmp_path: Path) -> None:
    (tmp_path / "long_rules.py").write_text(KERNELS, "utf-8")
    assert output("rules.first(0.0)", tmp_path) == "0.0"
    assert output("rules.second(0.0)", tmp_path) == "79.0"
    assert len(list((tmp_path / "cache").rglob("*.nbc"))) == 2, "each process has saved one kernel"
    assert output("rules.first(0.0), rules.second(0.0)", tmp_path) == "0.0 79.0"
    assert output("rules.second(0.0), rules.first(0.0)", tmp_path) == "79.0 0.0"
