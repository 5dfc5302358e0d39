"""What the machine or the container has, for the defaults of settings."""

import contextlib
import ctypes
import mmap
import os
from pathlib import Path

try:
    import resource
except ImportError:  # on Windows
    resource = None  # type: ignore[assignment]  # a module elsewhere

ENOUGH_BYTES = 4 << 30
"""The default budget of memory is not larger than this."""

CGROUPS = {"": ("/sys/fs/cgroup", "memory.max"), "memory": ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")}
"""Where Linux says how much memory a container or a service has, by controller: cgroup version 2 and version 1."""


try:
    _c_library: ctypes.CDLL | None = ctypes.CDLL(None)
except TypeError:  # on Windows
    _c_library = None


TRIM_THRESHOLD, MMAP_THRESHOLD, ARENA_MAX = -1, -3, -8
"""What glibc's `mallopt` can set: how much free memory a heap keeps at its end, from what size a block is a mapping of its own,
and how many heaps threads share."""
KEPT_BYTES = 16 << 20
"""What comes and goes together would be new memory each time: four blocks of a quarter of a megabyte for a part of a body, and
some megabytes of columns for a block of points."""
LARGE_BLOCK_BYTES = 1 << 20
HEAPS = 2


def keep_heaps_small() -> None:
    """Let glibc give large blocks back to the system as soon as they are free, and hold few heaps for threads.

    Otherwise the threshold grows with what is freed, and large arrays come to lie in heaps, where a small block that stays
    keeps what is free below it.
    """
    if _c_library is not None and hasattr(_c_library, "mallopt"):
        _c_library.mallopt(TRIM_THRESHOLD, KEPT_BYTES)
        _c_library.mallopt(MMAP_THRESHOLD, LARGE_BLOCK_BYTES)
        _c_library.mallopt(ARENA_MAX, HEAPS)


def trim_memory() -> None:
    """Give memory that is free back to the system, where the C library is glibc; it keeps hundreds of megabytes otherwise."""
    if _c_library is not None and hasattr(_c_library, "malloc_trim"):
        _c_library.malloc_trim(0)


LARGE_PAGE_BYTES = 1 << 21


def large_buffer(size: int) -> memoryview:
    """New memory for `size` bytes, in large pages where the system has them.

    Ordinary pages are asked for one by one when they are written first, which takes several times as long as writing them.
    """
    if size < LARGE_PAGE_BYTES or not hasattr(mmap, "MADV_HUGEPAGE"):
        return memoryview(bytearray(size))
    whole_pages = -(-size // LARGE_PAGE_BYTES) * LARGE_PAGE_BYTES  # Linux aligns a mapping only of such a size
    mapping = mmap.mmap(-1, whole_pages, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with contextlib.suppress(OSError):  # a kernel without them
        mapping.madvise(mmap.MADV_HUGEPAGE)
    return memoryview(mapping)[:size]


def open_files() -> int:
    """How many files this process may open, at most 10,100."""
    if resource is None:
        return 1124
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return 10_100 if limit == resource.RLIM_INFINITY else min(limit, 10_100)


def usable_processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_bytes() -> int:
    """How much memory there is; 8 GiB where the system does not say."""
    try:
        found = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # on Windows
        found = 2 * ENOUGH_BYTES
    for limit in _cgroup_limits():
        try:
            found = min(found, int(limit.read_text()))
        except (OSError, ValueError):  # there is none, or it says "max"
            continue
    return found


def _cgroup_limits() -> list[Path]:
    """The files with the limits of this process's control groups: at the root, which a container sees as its own, and below."""
    files = [Path(root, name) for root, name in CGROUPS.values()]
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return files
    for _, controllers, path in (line.split(":", 2) for line in lines):
        for controller in CGROUPS.keys() & controllers.split(","):
            root, name = CGROUPS[controller]
            files.append(Path(root + path, name))
    return files


def memory_budget(workers: int) -> int:
    """Half of the memory, divided among worker processes, and at most 4 GiB."""
    return max(min(memory_bytes() // 2 // workers, ENOUGH_BYTES), 1)
