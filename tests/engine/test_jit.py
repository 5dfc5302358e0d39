"""Machine code on disk is never stale, is used from read-only folders, and is complete after warming up."""

import errno
import importlib.util
import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path
from typing import Any

import pytest

from app.engine import jit
from app.warm import warm

ROOT = Path(__file__).parents[2]
SINE = 'P("sin", lambda x: np.sin(x),'


def run(code: str, root: Path = ROOT, seconds: float = 120, **environment: str) -> Any:
    """The JSON that a fresh process with the app of `root` prints."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1", **environment},
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def copied(to: Path) -> Path:
    """A copy of the app's sources with times of its own, as an installation makes."""
    shutil.copytree(ROOT / "app", to / "app", ignore=shutil.ignore_patterns("__pycache__"), copy_function=shutil.copyfile)
    return to


@pytest.fixture(scope="module")
def complete(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A read-only cache folder with the machine code of these sources."""
    if jit.FOLDER is None:
        pytest.skip("no folder for machine code can be written here")
    if not (jit.FOLDER / jit.COMPLETE).is_file():
        warm()
    base = tmp_path_factory.mktemp("cache")
    shutil.copytree(jit.FOLDER, base / jit.FOLDER.name)
    for folder, _, files in os.walk(base, topdown=False):
        for file in files:
            Path(folder, file).chmod(stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH)
        Path(folder).chmod(0o555)
    return base


@pytest.mark.slow
def test_an_edited_rule_is_recompiled(tmp_path: Path) -> None:
    """Two processes share a cache folder; in between, the rule of sin is doubled."""
    root, cache = copied(tmp_path), str(tmp_path / "cache")
    code = """
        import json
        from app.engine import jit
        from app.engine.values import value
        print(json.dumps([value(0.5).sin().data, str(jit.FOLDER)]))
    """
    before, folder = run(code, root, AUTODIFF_CACHE_DIR=cache)
    table = root / "app" / "engine" / "primitives.py"
    text = table.read_text("utf-8")
    assert text.count(SINE) == 1
    kept = table.stat()
    table.write_text(text.replace(SINE, SINE.replace("np.sin(x)", "2.0 * np.sin(x)")), "utf-8")
    os.utime(table, ns=(kept.st_atime_ns, kept.st_mtime_ns))  # nor do times tell
    after, other = run(code, root, AUTODIFF_CACHE_DIR=cache)
    assert after == 2.0 * before == pytest.approx(0.958851077208406, rel=1e-15)
    assert folder != other and {Path(folder).parent, Path(other).parent} == {Path(cache)}


EVERYTHING = """
    import json, sys, time
    from app.warm import warm

    def dispatchers():
        found = {}
        for name, module in list(sys.modules.items()):
            if name.startswith("app."):
                for attribute, function in vars(module).items():
                    if hasattr(function, "nopython_signatures") and type(function._cache).__name__ != "NullCache":
                        found[f"{function.py_func.__module__}.{function.py_func.__name__}"] = function
        return found

    def count():
        return {name: len(f.signatures) for name, f in dispatchers().items()}

    def everything():
        import numpy as np
        from app.engine import drawing, faults, transforms
        from app.engine.graph import Graph, Node
        from app.engine.text import parse
        from app.engine.values import Value, apply, backward, graph_of, value
        from app.engine import value as _

        for text in ("sin(x)*y + 3", "sum(x, y, 1, x)", "where(x > 0, log(x), mean(x, y))", "x", "x*0 + 2", "x + a", "x**y"):
            text = parse("a = 2*x; " + text if " a" in text else text)
            graph = Graph(text.nodes + (Node("dead", "exp", (1,)),), text.outputs)
            lists = np.linspace(0.5, 1.0, 100)
            for x in (0.5, [0.5, 0.6], list(lists), lists):
                inputs = {n: v for n, v in {"x": x, "y": 2.0}.items() if n in graph.index}
                both = Graph(graph.nodes, (graph.output, "x"))
                transforms.evaluate(graph, inputs)
                transforms.evaluate(both, inputs, everything=True)
                for wrt in (None, ["x"], [graph.output, "x", "dead"], []):
                    transforms.backward(graph, inputs, wrt)
                    transforms.backward(graph, inputs, wrt, cotangent=2)
                    transforms.hessian(graph, inputs, wrt)
                    transforms.jacobian(graph, inputs, wrt)
                    transforms.jacobian(both, inputs, wrt)
                    transforms.hvp(graph, inputs, {"x": x, graph.output: 1}, wrt)
                    transforms.check_gradients(graph, inputs, wrt)
                transforms.backward(graph, inputs, cotangent=x)
                transforms.jvp(graph, inputs, {"x": x})
                transforms.jvp(graph, inputs)
                nodes, edges = drawing.rows(graph, inputs)
                drawing.dot(nodes, edges)
                for quantity in faults.Quantity:
                    point = None if isinstance(x, float) else 1
                    faults.explain(graph, inputs, faults.Fault(quantity, "x", float("nan"), point), {"x": x})
                    faults.explain(graph, inputs, faults.Fault(quantity, "x", float("inf"), point))
        for cycle in (("b",), ("a", "b")):
            try:
                Graph((Node("a", "neg", ("b",)), Node("b", "sum", cycle)), ("a",))
            except Exception as error:
                assert "cycle" in str(error), error
        constant = Graph((Node("k", "value", (), 2.0),), ("k",))
        transforms.backward(constant)
        transforms.hessian(constant, {"k": 3})
        x, y = value(0.5), value(2)
        for output in (x, x * y, x + 1, (x > y).where(x, 3), apply("mean", x, y, 2, 3), apply("sum", 1), x ** y, 2 ** x):
            backward(output)
            transforms.backward(graph_of(output))
"""


COUNT = """
    warm()
    before = count()
    everything()
    print(json.dumps([before, count()]))
"""


@pytest.mark.slow
def test_after_warming_up_nothing_is_compiled(complete: Path) -> None:
    """No use of the engine calls a kernel with types that it was not warmed up with."""
    before, after = run(EVERYTHING + COUNT, AUTODIFF_CACHE_DIR=str(complete))
    assert after == before
    kernels = {name: n for name, n in before.items() if name.startswith("app.engine.")}
    assert len(kernels) >= 13 and all(kernels.values()), "each kernel was warmed up"


COMPILED = """
    from numba.core.event import install_recorder

    with install_recorder("numba:compile") as compiled:
        warm()
    print(json.dumps(sorted({event.data["dispatcher"].py_func.__qualname__ for _, event in compiled.buffer})))
"""


@pytest.mark.slow
def test_a_start_with_a_complete_folder_compiles_nothing(complete: Path) -> None:
    """No kernel is called from Python that is only compiled as a part of others, and so not saved."""
    assert run(EVERYTHING + COMPILED, AUTODIFF_CACHE_DIR=str(complete)) == []


WITHOUT_WRITING = """
    import ctypes, os, sys
    if os.getuid() == 0:  # root writes where it likes, unless it gives up CAP_DAC_OVERRIDE, which takes an exec
        if os.environ.get("GAVE_UP") is None:
            os.environ["GAVE_UP"] = "1"
            for capability in (1, 3):
                ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)
            os.execv(sys.executable, [sys.executable, "-c", os.environ["PROGRAM"]])
"""

USE = """
    began = time.perf_counter()
    from app.engine import jit
    try:
        (jit.FOLDER / "probe").touch()
        writable = True
    except OSError:
        writable = False
    everything()
    used = {name: f.stats for name, f in dispatchers().items()}
    print(json.dumps({
        "folder": str(jit.FOLDER),
        "writable": writable,
        "compiled": sorted(name for name, stats in used.items() if sum(stats.cache_misses.values())),
        "loaded": sorted(name for name, stats in used.items() if sum(stats.cache_hits.values())),
    }))
"""


def use(root: Path, cache: Path) -> Any:
    program = textwrap.dedent(WITHOUT_WRITING) + textwrap.dedent(EVERYTHING) + textwrap.dedent(USE)
    return run(program, root, AUTODIFF_CACHE_DIR=str(cache), PROGRAM=program)


@pytest.mark.slow
def test_a_complete_read_only_folder_is_used_without_compiling(complete: Path) -> None:
    """As in an image with a read-only file system: everything comes from disk, and nothing is written or compiled."""
    found = use(ROOT, complete)
    assert Path(found["folder"]).parent == complete
    if found["writable"]:
        pytest.skip("this user can write to what can only be read")
    assert found["compiled"] == []
    assert len(found["loaded"]) >= 10


def test_complete_folder_need_not_be_writable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Root may write everywhere, so the system is not asked here."""
    monkeypatch.setenv("AUTODIFF_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(jit, "_home", jit._named)
    monkeypatch.setattr(jit, "_temporary", jit._named)
    folder, complete = jit._choose()
    assert folder is not None and folder.parent == tmp_path and not complete
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert jit._choose() == (None, False)
    folder.mkdir()
    (folder / jit.COMPLETE).touch()
    assert jit._choose() == (folder, True)


@pytest.mark.slow
def test_the_same_sources_elsewhere_share_the_machine_code(complete: Path, tmp_path: Path) -> None:
    """The name of the folder depends on the text of the sources, not on where or when they were written."""
    found = use(copied(tmp_path), complete)
    if found["writable"]:
        pytest.skip("this user can write to what can only be read")
    assert Path(found["folder"]).parent == complete
    assert found["compiled"] == []


# --- which folder


@pytest.mark.slow
def test_importing_the_engine_makes_no_folder_and_computing_does(tmp_path: Path) -> None:
    code = """
        import json, os
        import app.engine
        from app.engine import jit
        before = os.listdir(os.environ["HOME"]), os.path.exists(os.environ["AUTODIFF_CACHE_DIR"])
        app.engine.value(2.0).sin()
        print(json.dumps([*before, jit.FOLDER.is_dir()]))
    """
    (tmp_path / "home").mkdir()
    home, chosen = str(tmp_path / "home"), str(tmp_path / "cache")
    assert run(code, HOME=home, AUTODIFF_CACHE_DIR=chosen, XDG_CACHE_HOME="") == [[], False, True]


def test_importing_the_engine_changes_only_where_numba_caches() -> None:
    code = """
        import json
        from numba.core import config
        before = dict(vars(config))
        import app.engine
        print(json.dumps(sorted(name for name, option in vars(config).items() if before.get(name) != option)))
    """
    assert run(code) == ["CACHE_DIR", "CACHE_LOCATOR_CLASSES"]


def test_the_folder_is_named_by_all_that_machine_code_depends_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    name = jit._fingerprint()
    assert len(name) == 16 and name == jit._fingerprint()
    names = {name}
    for part, change in {"CPU_NAME": "generic", "CPU_FEATURES": "+sse2"}.items():
        with monkeypatch.context() as patch:
            patch.setattr(jit.config, part, change)
            names.add(jit._fingerprint())
    with monkeypatch.context() as patch:
        patch.setattr("numba.__version__", "0.0")
        names.add(jit._fingerprint())
    root = copied(tmp_path)
    monkeypatch.setattr(jit, "APP", root / "app")
    assert jit._fingerprint() == name, "where the sources stand does not matter"
    for file in ("engine/special.py", "engine/kernels.py", "nn/kernels.py"):
        with (root / "app" / file).open("a") as source:
            source.write("\n")
        names.add(jit._fingerprint())
    assert len(names) == 7


def test_the_named_folder_comes_before_the_users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    name = jit._fingerprint()
    monkeypatch.setenv("AUTODIFF_CACHE_DIR", str(tmp_path / "chosen"))
    assert jit._choose() == (tmp_path / "chosen" / name, False)
    assert not (tmp_path / "chosen").exists(), "choosing makes no folder"
    (tmp_path / "chosen" / name).mkdir(parents=True)
    (tmp_path / "chosen" / name / jit.COMPLETE).touch()
    assert jit._choose() == (tmp_path / "chosen" / name, True)
    monkeypatch.delenv("AUTODIFF_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert jit._choose() == (tmp_path / "xdg" / "autodiff-http" / name, False)
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert jit._choose() == (tmp_path / "home" / ".cache" / "autodiff-http" / name, False)


def test_a_folder_that_cannot_be_made_is_skipped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In this order: the named folder, the user's cache folder, the temporary folder, none."""
    (tmp_path / "file").touch()
    name = jit._fingerprint()
    monkeypatch.setenv("AUTODIFF_CACHE_DIR", str(tmp_path / "file" / "below"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert jit._choose() == (tmp_path / "xdg" / "autodiff-http" / name, False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file" / "too"))
    assert jit._choose() == (tmp_path / f"autodiff-http-{os.getuid()}" / name, False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "file"))
    assert jit._choose() == (None, False)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder to somebody else")
@pytest.mark.parametrize("variable", ["AUTODIFF_CACHE_DIR", "XDG_CACHE_HOME"])
def test_machine_code_of_another_user_is_not_run(variable: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Everybody can write to the temporary folder: a cache found there is used only if it is the user's own."""
    (tmp_path / "file").touch()
    planted = tmp_path / f"autodiff-http-{os.getuid()}" / jit._fingerprint()
    planted.mkdir(parents=True)
    (planted / jit.COMPLETE).touch()
    os.chown(planted.parent, 12345, 12345)
    os.chown(planted, 12345, 12345)
    monkeypatch.delenv("AUTODIFF_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file" / "too"))
    monkeypatch.setenv(variable, str(tmp_path / "file" / "below"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert jit._choose() == (None, False)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder to somebody else")
def test_the_named_folder_is_trusted_whoever_owns_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / "image" / jit._fingerprint()
    folder.mkdir(parents=True)
    (folder / jit.COMPLETE).touch()
    os.chown(folder, 12345, 12345)
    monkeypatch.setenv("AUTODIFF_CACHE_DIR", str(folder.parent))
    assert jit._choose() == (folder, True)


# --- a small function, compiled in this process


@pytest.fixture
def triple(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Makes a function that is compiled when it is first called, and kept in the folder `cache`."""
    file, folder = tmp_path / "small.py", tmp_path / "cache"
    file.write_text("def triple(x):\n    return 3.0*x\n", "utf-8")
    monkeypatch.setattr(jit, "FOLDER", folder)
    monkeypatch.setattr(jit, "IS_COMPLETE", False)
    monkeypatch.setattr(jit, "_unsaved", [])
    monkeypatch.setattr(jit.config, "CACHE_DIR", str(folder))

    def make() -> Any:
        spec = importlib.util.spec_from_file_location("small", file)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return jit.jit(module.triple)

    return make


def loads_after_calling(function: Any) -> int:
    """How often machine code is loaded from disk for a call."""
    assert function(2.0) == 6.0
    return sum(function.stats.cache_hits.values())


def test_machine_code_is_loaded_where_it_was_saved(triple: Any, tmp_path: Path) -> None:
    assert loads_after_calling(triple()) == 0
    assert loads_after_calling(triple()) == 1
    jit.mark_complete()
    assert (tmp_path / "cache" / jit.COMPLETE).is_file()


def test_machine_code_of_somebody_else_is_not_loaded(triple: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert loads_after_calling(triple()) == 0
    owner = tmp_path.stat().st_uid
    monkeypatch.setattr(os, "getuid", lambda: owner + 1)
    assert loads_after_calling(triple()) == 0


@pytest.mark.parametrize("suffix", ["nbi", "nbc"], ids=["index", "machine code"])
def test_damaged_machine_code_is_compiled_again(
    triple: Any, suffix: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert loads_after_calling(triple()) == 0
    (file,) = (tmp_path / "cache").rglob(f"*.{suffix}")
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with caplog.at_level("WARNING", "autodiff"):
        assert loads_after_calling(triple()) == 0
    assert {record.getMessage() for record in caplog.records} == {f"{file} is damaged, so its kernel is compiled again"}
    assert loads_after_calling(triple()) == 1


def test_machine_code_that_cannot_be_saved_is_used_nevertheless(
    triple: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As on a full disk. The next start compiles again, as a warning says."""

    def replace(*arguments: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", replace)
    assert loads_after_calling(triple()) == loads_after_calling(triple()) == 0
    with caplog.at_level("WARNING", "autodiff"):
        jit.mark_complete()
    (record,) = caplog.records
    said = f"kernels could not be saved in {tmp_path / 'cache'}, so the next start compiles them again: "
    assert record.getMessage() == f"{said}[Errno {errno.ENOSPC}] No space left on device"
    assert not (tmp_path / "cache" / jit.COMPLETE).exists()


def test_function_without_a_folder_is_compiled_all_the_same(triple: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jit, "FOLDER", None)
    assert loads_after_calling(triple()) == 0
    jit.mark_complete()
