"""The folder of machine code: shared by processes, checked before it is run, and private."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from app.engine import jit
from tests.conftest import ROOT

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

SMALL = """
import logging
from app.engine import jit

logging.basicConfig(format="%(message)s")

@jit.jit
def double(x):
    return 2.0*x

def result():
    with jit.alone():
        found = double(4.0)
        jit.mark_complete()
    return [found, sum(double.stats.cache_misses.values())]
"""
"""`result()` is 8.0, and how many kernels had to be compiled."""


FULL_DISK = """
import small

def fail(*arguments):
    raise OSError("No space left on device")

small.jit.CheckedCacheFile._open_for_write = fail
result = small.result
"""


def written(folder: Path) -> Path:
    """The folder, with modules that have kernels. Their machine code is in its folder `cache`."""
    (folder / "long_rules.py").write_text(KERNELS, "utf-8")
    (folder / "small.py").write_text(SMALL, "utf-8")
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return written(tmp_path)


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the machine code of `small`."""
    folder = written(tmp_path_factory.mktemp("compiled"))
    assert output("small.result()", folder)[0] == [8.0, 1]
    assert output("small.result()", folder)[0] == [8.0, 0], "it is on disk now"
    return folder


def started(program: str, folder: Path) -> "subprocess.Popen[str]":
    """Start a process that prints the value of an expression as JSON."""
    environment = {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}", "AUTODIFF_CACHE_DIR": str(folder / "cache")}
    command = [sys.executable, "-c", f"import json, long_rules as rules, small; print(json.dumps({program}))"]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def output(program: str, folder: Path) -> tuple[Any, str]:
    """Return the value of an expression in a new process, and its log."""
    process = started(program, folder)
    out, log = process.communicate(timeout=120)
    assert process.returncode == 0, log
    return json.loads(out), log


@pytest.mark.slow
def test_kernels_of_two_processes_keep_their_own_rules(folder: Path) -> None:
    assert output("rules.first(0.0)", folder)[0] == 0.0
    assert output("rules.second(0.0)", folder)[0] == 79.0
    assert len(list((folder / "cache").rglob("*.nbc"))) == 2, "each process has saved one kernel"
    assert output("[rules.first(0.0), rules.second(0.0)]", folder)[0] == [0.0, 79.0]
    assert output("[rules.second(0.0), rules.first(0.0)]", folder)[0] == [79.0, 0.0]


DAMAGE = {
    "emptied": lambda content: b"",
    "cut off": lambda content: content[: len(content) // 2],
    "longer": lambda content: content + b"x",
    "one bit": lambda content: content[:100] + bytes([content[100] ^ 4]) + content[101:],
    "its last bit": lambda content: content[:-1] + bytes([content[-1] ^ 1]),
    "something else": lambda content: b"machine code of somebody else",
}


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["nbi", "nbc"], ids=["index", "machine code"])
@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_damaged_file_is_compiled_again_and_replaced(compiled: Path, damage: Any, suffix: str) -> None:
    (file,) = (compiled / "cache").rglob(f"*.{suffix}")
    file.write_bytes(damage(file.read_bytes()))
    found, log = output("small.result()", compiled)
    assert found == [8.0, 1] and f"{file} is damaged" in log
    assert output("small.result()", compiled) == ([8.0, 0], "")


@pytest.mark.slow
def test_one_process_compiles_and_the_others_wait(folder: Path) -> None:
    processes = [started("small.result()", folder) for _ in range(4)]
    found = sorted(json.loads(process.communicate(timeout=120)[0])[1] for process in processes)
    assert found == [0, 0, 0, 1]


def test_lock_lets_nobody_else_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Not even to share it: two that compile at once may mix up their symbols. After it, the next one gets it."""
    fcntl = pytest.importorskip("fcntl", reason="there are no locks of files on this system")
    monkeypatch.setattr(jit, "FOLDER", tmp_path / "kernels")
    monkeypatch.setattr(jit, "IS_COMPLETE", False)
    with jit.alone(), (tmp_path / "kernels" / jit.LOCK).open() as other:
        with pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_SH | fcntl.LOCK_NB)
    with (tmp_path / "kernels" / jit.LOCK).open() as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.slow
def test_cache_that_could_not_be_saved_is_not_complete(folder: Path) -> None:
    """As on a full disk. The next start compiles again."""
    (folder / "full.py").write_text(FULL_DISK, "utf-8")
    found, log = output("__import__('full').result()", folder)
    assert found == [8.0, 1] and "could not be saved" in log and "No space left" in log
    assert not list((folder / "cache").rglob(jit.COMPLETE))
    assert output("small.result()", folder)[0] == [8.0, 1]
    assert list((folder / "cache").rglob(jit.COMPLETE))


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder below the temporary folder that would hold machine code, where no other folder can be written."""
    (tmp_path / "file").touch()
    monkeypatch.delenv("AUTODIFF_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    (tmp_path / "shared").mkdir(mode=0o1777)
    (tmp_path / "shared").chmod(0o1777)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "shared"))
    base: Path = tmp_path / "shared" / f"autodiff-http-{os.getuid()}"
    return base


def test_private_folder_within_a_shared_one_is_used(temporary: Path) -> None:
    """Everybody may write to /tmp, but not rename what others own there."""
    assert jit._choose()[0] == temporary / jit._fingerprint()
    (temporary / jit._fingerprint()).mkdir(parents=True, mode=0o700)
    assert jit._choose()[0] == temporary / jit._fingerprint()


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o722])
@pytest.mark.parametrize("level", [0, 1], ids=["folder", "its parent"])
def test_folder_that_others_can_write_is_not_used(temporary: Path, mode: int, level: int) -> None:
    folder = temporary / jit._fingerprint()
    folder.mkdir(parents=True, mode=0o700)
    (folder, temporary)[level].chmod(mode)
    assert jit._choose() == (None, False)


def test_temporary_folder_without_a_sticky_bit_is_not_used(temporary: Path) -> None:
    temporary.parent.chmod(0o777)
    assert jit._choose() == (None, False)


@pytest.mark.parametrize("level", [0, 1], ids=["folder", "its parent"])
def test_link_is_not_followed(temporary: Path, tmp_path: Path, level: int) -> None:
    (tmp_path / "elsewhere" / jit._fingerprint()).mkdir(parents=True, mode=0o700)
    if level:
        temporary.symlink_to(tmp_path / "elsewhere")
    else:
        temporary.mkdir(mode=0o700)
        (temporary / jit._fingerprint()).symlink_to(tmp_path / "elsewhere")
    assert jit._choose() == (None, False)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder to somebody else")
def test_folder_within_that_of_another_user_is_not_used(temporary: Path) -> None:
    (temporary / jit._fingerprint()).mkdir(parents=True, mode=0o700)
    os.chown(temporary, 12345, 12345)
    assert jit._choose() == (None, False)
