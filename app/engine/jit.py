"""How functions are compiled, and the folder that keeps their machine code.

Numba's own cache looks at one source file only, so a kernel would be stale after a change in another file. Here the folder is
named by a hash of everything that the machine code depends on: a changed rule is a new folder. Each file begins with a hash of
the rest, so that one that is damaged is not run, but compiled again.

Importing this module sets two options of numba for the whole process, `CACHE_DIR` and `CACHE_LOCATOR_CLASSES`, since numba
offers no others, and the first number of the symbols that numba makes. It writes nothing: the folder is made when the first
kernel is saved.
"""

import contextlib
import hashlib
import io
import itertools
import logging
import os
import platform
import stat
import tempfile
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeVar, cast

import llvmlite.binding
import numba
from numba.core import bytecode
from numba.core import config as numba_config
from numba.core.caching import IndexDataCacheFile, UserProvidedCacheLocator

try:
    import fcntl
except ImportError:  # on Windows
    fcntl = None  # type: ignore[assignment]  # a module elsewhere

F = TypeVar("F", bound=Callable[..., object])

njit: Any = numba.njit
config: Any = numba_config  # its options are made at run time, so no type knows them
APP = Path(__file__).resolve().parent.parent
COMPLETE = "complete"
LOCK = "lock"

log = logging.getLogger("autodiff")


def _fingerprint() -> str:
    """Return a hash of the sources with compiled code, of the compiler, and of the processor that it compiles for."""
    digest = hashlib.sha256()
    for file in (*sorted((APP / "engine").glob("*.py")), *sorted((APP / "nn").glob("*.py")), APP / "warm.py"):
        digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    cpu = config.CPU_NAME or llvmlite.binding.get_host_cpu_name()
    features = config.CPU_FEATURES
    if features is None:
        features = llvmlite.binding.get_host_cpu_features().flatten()
    for part in (numba.__version__, llvmlite.__version__, platform.python_version(), platform.machine(), cpu, features):
        digest.update(part.encode() + b"\0")
    return digest.hexdigest()[:16]


def _named() -> Path:
    """Return AUTODIFF_CACHE_DIR, which is trusted whoever owns it."""
    return Path(os.environ.get("AUTODIFF_CACHE_DIR") or os.devnull)


def _home() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "autodiff-http"


def _temporary() -> Path:
    return Path(tempfile.gettempdir()).resolve() / f"autodiff-http-{os.getuid()}"


def _is_trusted(folder: Path) -> bool:
    """Return whether a folder may be used if it exists: machine code in it is run, so it must be the user's own or named."""
    if folder.parent == _temporary() and not all(map(_is_private, (folder, *folder.parents))):
        return False
    return not folder.exists() or folder.parent == _named() or folder.stat().st_uid == os.getuid()


def _is_private(folder: Path) -> bool:
    """Return whether nobody else can replace what a folder holds. It is no link, and it may not exist yet."""
    try:
        found = folder.lstat()
    except FileNotFoundError:
        return True
    shared = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not found.st_mode & stat.S_ISVTX
    return stat.S_ISDIR(found.st_mode) and not shared and found.st_uid in (0, os.getuid())


def _is_writable(folder: Path) -> bool:
    """Return whether files can be written to a folder, or the folder can be made."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    return existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)


def _choose() -> tuple[Path | None, bool]:
    """Return the folder for machine code, None if none can be written, and whether it holds all kernels already.

    It is in AUTODIFF_CACHE_DIR, else in the user's cache folder, else in the temporary folder.
    """
    name = _fingerprint()
    for base in (_named, _home, _temporary):
        with contextlib.suppress(OSError, RuntimeError):  # there is no such folder, or it cannot be read
            folder = base() / name
            if not _is_trusted(folder):
                continue
            complete = (folder / COMPLETE).is_file()
            if complete or _is_writable(folder):
                return folder, complete
    return None, False


FOLDER, IS_COMPLETE = _choose()


class KernelCacheLocator(UserProvidedCacheLocator):
    """Numba's locator for a given folder, which need not be writable, nor depend on where the sources are.

    Numba refuses a folder that it cannot write to, and then compiles everything at each start: that is what would happen to
    an image with a read-only file system. It also names a subfolder by the path of the sources, so that a checkout and a
    package installed from it would each compile.
    """

    def __init__(self, py_func: Any, py_file: str) -> None:
        self._py_file = py_file
        self._lineno = py_func.__code__.co_firstlineno
        self._cache_path = str(Path(config.CACHE_DIR) / Path(py_file).parent.name)

    @classmethod
    def from_function(cls, py_func: Any, py_file: str) -> "KernelCacheLocator":
        """Return the locator, without trying to write to the folder as numba's own does."""
        return cls(py_func, py_file)

    def ensure_cache_path(self) -> None:
        """Make the folder, unless it already holds everything. Raises OSError if it is somebody else's."""
        if IS_COMPLETE or FOLDER is None:
            return
        FOLDER.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not _is_trusted(FOLDER):
            raise PermissionError(f"{FOLDER} belongs to somebody else")
        super().ensure_cache_path()  # type: ignore[no-untyped-call]  # numba has no types


config.CACHE_DIR = str(FOLDER or "")
config.CACHE_LOCATOR_CLASSES = f"{__name__}.{KernelCacheLocator.__name__}"

# Numba numbers the symbols of each process from 1, and the linker takes two inlined functions with the same symbol for the same
# function. If a folder holds machine code of two processes, because the first was interrupted or both ran at the same time, a
# kernel would silently call another kernel's rule. So every process starts at a random number.
bytecode.FunctionIdentity._unique_ids = itertools.count(int.from_bytes(os.urandom(6), "big"))


class CheckedCacheFile(IndexDataCacheFile):
    """Numba's files of one kernel, each with a hash of its content at the end, which unpickling passes over.

    A file that is damaged counts as missing: the kernel is compiled again, and the file is written anew.
    """

    def _load_index(self) -> Any:
        intact = _is_intact(Path(self._index_path))
        return super()._load_index() if intact else {}  # type: ignore[no-untyped-call]  # numba has no types

    def _load_data(self, name: str) -> Any:
        path = Path(self._data_path(name))  # type: ignore[no-untyped-call]  # numba has no types
        if not _is_intact(path):
            raise OSError(f"{path} is damaged")  # which numba takes for a file that is gone
        return super()._load_data(name)  # type: ignore[no-untyped-call]  # numba has no types

    @contextlib.contextmanager
    def _open_for_write(self, filepath: str) -> Iterator[io.BytesIO]:
        content = io.BytesIO()
        yield content
        with super()._open_for_write(filepath) as file:
            file.write(content.getvalue() + hashlib.sha256(content.getvalue()).digest())


def _is_intact(path: Path) -> bool:
    """Return whether a file ends with the hash of the rest. One that does not exist is not damaged."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return True
    size = len(content) - hashlib.sha256().digest_size
    if size > 0 and hashlib.sha256(content[:size]).digest() == content[size:]:
        return True
    log.warning("%s is damaged, so its kernel is compiled again", path)
    return False


def _load_if_trusted(load: Callable[..., Any], *arguments: Any) -> Any:
    """Load machine code, unless somebody else has made the folder since it was chosen."""
    return load(*arguments) if FOLDER is not None and FOLDER.exists() and _is_trusted(FOLDER) else None


_unsaved: list[OSError] = []
"""Why kernels could not be saved."""


def _save_if_possible(save: Callable[..., Any], *arguments: Any) -> None:
    """Save machine code. On a full disk or in a read-only folder the kernel is only compiled."""
    try:
        save(*arguments)
    except OSError as error:
        _unsaved.append(error)


def jit(function: F, refcounts: bool = True) -> F:
    """Compile a module-level function: cached on disk, without the GIL, with IEEE division (1/0 is inf, not an exception).

    `refcounts=False` leaves out the reference counts of arrays, for functions that neither make arrays nor return any. Numba
    keeps the counts wherever a loop has several exits, which costs two atomic operations for each byte looked at.

    Never use `parallel=True`: two of our threads in numba's own thread pool abort the process.
    """
    options = {"error_model": "numpy", "nogil": True, "no_cfunc_wrapper": True, "_nrt": refcounts}
    compiled: Any = njit(cache=FOLDER is not None, **options)(function)
    if FOLDER is not None:
        disk = compiled._cache
        path, name, stamp = disk._cache_path, disk._impl.filename_base, disk._impl.locator.get_source_stamp()
        disk._cache_file = CheckedCacheFile(path, name, stamp)  # type: ignore[no-untyped-call]  # numba has no types
        disk.load_overload = partial(_load_if_trusted, disk.load_overload)
        disk.save_overload = partial(_save_if_possible, disk.save_overload)
    return cast(F, compiled)


def jit_without_refcounts(function: F) -> F:
    """Compile as `jit` does, without reference counts."""
    return jit(function, refcounts=False)


@cache
def inline(function: F, refcounts: bool = True) -> F:
    """Compile a small function that only compiled functions call; its code is cached as part of theirs.

    It is compiled without the wrappers by which Python and C would call it, which take as long as the function itself.
    """
    options = {"error_model": "numpy", "no_cpython_wrapper": True, "no_cfunc_wrapper": True, "_nrt": refcounts}
    return cast(F, njit(**options)(function))


def inline_without_refcounts(function: F) -> F:
    """Compile as `inline` does, without reference counts; see `jit`."""
    return cast(F, inline(function, refcounts=False))


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Wait until no other process compiles into the folder; the first compiles, and the others then load what it has saved."""
    if FOLDER is None or IS_COMPLETE or fcntl is None:
        yield
        return
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # the folder, or its file system, does not allow it
            FOLDER.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = stack.enter_context((FOLDER / LOCK).open("w"))
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def mark_complete() -> None:
    """Note that the folder holds every kernel, so that later starts may read it without being able to write to it."""
    if FOLDER is None or IS_COMPLETE:
        return
    if _unsaved:
        log.warning("kernels could not be saved in %s, so the next start compiles them again: %s", FOLDER, _unsaved[0])
        return
    with contextlib.suppress(OSError):
        (FOLDER / COMPLETE).touch()
