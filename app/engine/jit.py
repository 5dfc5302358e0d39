"""How and where loops are compiled: the flags of every kernel, and the folder that keeps their machine code.

Numba's own cache looks at one file only, so an edited rule in another file would be served stale. Here the folder is
named by a hash of everything the machine code depends on: a changed rule is a new folder. Not here: any kernel.
"""

import contextlib
import hashlib
import os
import platform
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

import llvmlite.binding
import numba
from numba.core import config as numba_config
from numba.core.caching import UserProvidedCacheLocator

F = TypeVar("F", bound=Callable[..., object])

njit: Any = numba.njit
config: Any = numba_config  # its settings are made at run time, so no type knows them
APP = Path(__file__).resolve().parent.parent
COMPLETE = "complete"


def _fingerprint() -> str:
    """A hash of the sources with compiled code, of the compiler and of the processor it compiles for."""
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
    """AUTODIFF_CACHE_DIR, which is trusted whoever owns it."""
    return Path(os.environ.get("AUTODIFF_CACHE_DIR") or os.devnull)


def _home() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "autodiff-http"


def _temporary() -> Path:
    return Path(tempfile.gettempdir()) / f"autodiff-http-{os.getuid()}"


def _writable(folder: Path) -> bool:
    """Whether `folder` is there, or can be made, and takes a file."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
        return True
    except OSError:
        return False


class KernelCacheLocator(UserProvidedCacheLocator):
    """Numba's locator for a given folder, but content with one that can only be read, and wherever the sources stand.

    Numba refuses a folder that it cannot write to and then compiles everything at each start, which is what happens to an
    image that runs with a read-only file system. And it names a subfolder by the path of the sources, so that a checkout
    and what is installed from it would each compile.
    """

    def __init__(self, py_func: Any, py_file: str) -> None:
        self._py_file = py_file
        self._lineno = py_func.__code__.co_firstlineno
        self._cache_path = str(Path(config.CACHE_DIR) / Path(py_file).parent.name)

    def ensure_cache_path(self) -> None:
        """Makes the folder, unless it already holds everything."""
        if not IS_COMPLETE:
            super().ensure_cache_path()  # type: ignore[no-untyped-call]  # numba has no types


def _choose() -> tuple[Path | None, bool]:
    """The folder for machine code, or None where none can be written, and whether it holds all kernels already.

    Where the settings name one, that, else one in the user's cache folder, else one in the temporary folder; the latter two
    only if they are this user's own, since what is in them is run.
    """
    name = _fingerprint()
    for base in (_named, _home, _temporary):
        with contextlib.suppress(OSError, RuntimeError):  # no such folder, or one that may not be looked into
            folder = base() / name
            complete = (folder / COMPLETE).is_file()
            if (complete or _writable(folder)) and (base is _named or folder.stat().st_uid == os.getuid()):
                return folder, complete
    return None, False


FOLDER, IS_COMPLETE = _choose()
config.CACHE_DIR = str(FOLDER or "")
config.CACHE_LOCATOR_CLASSES = f"{__name__}.{KernelCacheLocator.__name__}"


def jit(function: F, counts: bool = True) -> F:
    """Compile a module-level loop: kept on disk, without the GIL, with IEEE division (1/0 is inf, not an exception).

    One that neither makes arrays nor returns any can do without counting references to them (`counts=False`), which numba
    leaves in where a loop has many ways out: two atomic operations for each look at a byte.

    Never `parallel=True`: two threads of ours in numba's own thread pool abort the process.
    """
    compiled: Any = njit(cache=FOLDER is not None, nogil=True, error_model="numpy", _nrt=counts)(function)
    if FOLDER is not None:
        save = compiled._cache.save_overload

        def save_if_possible(*arguments: Any) -> None:
            with contextlib.suppress(OSError):  # a full disk, or a folder that can only be read: it is compiled all the same
                save(*arguments)

        compiled._cache.save_overload = save_if_possible
    return cast(F, compiled)


@cache
def inline(function: F, counts: bool = True) -> F:
    """Compile a small function that only compiled loops call; it is kept as a part of them. `counts` as in `jit`."""
    return cast(F, njit(error_model="numpy", _nrt=counts)(function))


def part(function: F) -> F:
    """`inline`, without counting references."""
    return cast(F, inline(function, counts=False))


def mark_complete() -> None:
    """Say that the folder holds every kernel, so that later starts may read it without being able to write it."""
    if FOLDER is not None and not IS_COMPLETE:
        (FOLDER / COMPLETE).touch()
