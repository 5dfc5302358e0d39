"""Warming up: in which order kernels are compiled, and by which process."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from app import warm
from app.engine import jit
from tests.conftest import ROOT

PARTS = ("_gradients", "_other_gradients", "_values_and_networks", "_long_texts", "_readers", "_other_derivatives", "_solvers")


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """The parts that have run in this process, in place of their kernels. No folder is complete."""
    run: list[str] = []
    for part in PARTS:
        monkeypatch.setattr(warm, part, lambda part=part: run.append(part))
    monkeypatch.setattr(jit, "FOLDER", tmp_path)
    monkeypatch.setattr(jit, "IS_COMPLETE", False)
    return run


@pytest.mark.parametrize("executable", [shutil.which("false"), shutil.which("true"), "/nowhere/python"])
@pytest.mark.parametrize("processors", [1, 2])
def test_first_process_runs_everything_whatever_the_second_did(
    steps: list[str], processors: int, executable: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What the second has not saved, it compiles. Kernels for gradients come first."""
    monkeypatch.setattr(warm, "usable_processors", lambda: processors)
    monkeypatch.setattr(sys, "executable", executable)
    warm.warm(lambda: steps.append("gradients are ready"))
    assert steps == [PARTS[0], "gradients are ready", *PARTS[1:]]
    assert (tmp_path / jit.COMPLETE).is_file()


def test_second_process_is_waited_for_before_its_machine_code_is_loaded(
    steps: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    script = tmp_path / "python"
    script.write_text(f"#!/bin/sh\nsleep 0.3\ntouch {tmp_path}/saved\n")
    script.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(script))
    monkeypatch.setattr(warm, "usable_processors", lambda: 2)
    monkeypatch.setattr(warm, "_readers", lambda: steps.append(f"saved: {(tmp_path / 'saved').is_file()}"))
    warm.warm()
    assert "saved: True" in steps


@pytest.mark.parametrize("is_complete", [True, False])
def test_second_process_is_started_only_to_compile(
    steps: list[str], is_complete: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[object] = []

    def start(*command: object, **options: object) -> None:
        started.append(command)
        raise OSError("no processes here")

    monkeypatch.setattr(subprocess, "Popen", start)
    monkeypatch.setattr(jit, "IS_COMPLETE", is_complete)
    monkeypatch.setattr(warm, "usable_processors", lambda: 2)
    warm.warm()
    assert len(started) == (not is_complete) and len(steps) == len(PARTS)


def test_second_process_ends_with_the_first(tmp_path: Path) -> None:
    """It finds the end of its input, which the first process held."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "AUTODIFF_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", "from app import warm; warm.compile_beside()"]
    process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE)
    with process:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(60) == 1
