"""What the machine or the container has."""

import mmap
import os
import platform
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from app import machine
from app.settings import Settings


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Control groups in a folder, where a test writes limits."""
    monkeypatch.setattr(machine, "CGROUPS", {"": (str(tmp_path), "memory.max"), "memory": (str(tmp_path / "v1"), "limit")})
    monkeypatch.setattr(os, "sysconf", {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 1 << 21}.__getitem__)
    return tmp_path


def limit(file: Path, text: str) -> None:
    """Write a limit."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def test_machine_without_groups(groups: Path) -> None:
    assert machine.memory_bytes() == 8 << 30


@pytest.mark.parametrize(("text", "found"), [("max\n", 8 << 30), ("1000000\n", 1_000_000), ("99999999999999\n", 8 << 30)])
@pytest.mark.parametrize("file", ["memory.max", "v1/limit"])
def test_limit_of_the_container(groups: Path, file: str, text: str, found: int) -> None:
    limit(groups / file, text)
    assert machine.memory_bytes() == found


@pytest.mark.skipif(not Path("/proc/self/cgroup").exists(), reason="Linux has control groups")
def test_limit_of_the_service_within(groups: Path) -> None:
    """systemd's MemoryMax= is set on a group below the root."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            limit(Path(f"{groups}{path}") / "memory.max", "3000000")
        if "memory" in controllers.split(","):
            limit(Path(f"{groups}/v1{path}") / "limit", "2000000")
    assert machine.memory_bytes() in (2_000_000, 3_000_000)


@pytest.mark.parametrize(("workers", "budget"), [(1, 4 << 30), (2, 2 << 30), (4, 1 << 30)])
def test_budget_is_half_of_the_memory_shared_among_workers(groups: Path, workers: int, budget: int) -> None:
    assert machine.memory_budget(workers) == budget
    assert Settings(workers=workers).memory_bytes == budget


def test_budget_is_at_most_4_gib(groups: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Per worker: a large machine has enough for all of them."""
    monkeypatch.setattr(os, "sysconf", {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 1 << 26}.__getitem__)
    assert machine.memory_budget(1) == machine.memory_budget(8) == 4 << 30


def test_memory_of_a_system_that_does_not_say(groups: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(name: str) -> int:
        raise ValueError("unrecognized configuration name")

    monkeypatch.setattr(os, "sysconf", unknown)
    assert machine.memory_bytes() == 8 << 30


@pytest.mark.parametrize(
    ("listed", "folder"),
    [
        ("7:cpu,memory,pids:/service\n1:name=systemd:/\n", "v1/service/limit"),
        ("12:devices:/other\n7:memory:/service\n1:name=systemd:/\n0::/other\n", "v1/service/limit"),
        ("12:devices:/other\n7:memory:/other\n0::/service\n", "service/memory.max"),
        ("12:pids:/other\n7:memory:/pods.slice:cri-containerd:service\n", "v1/pods.slice:cri-containerd:service/limit"),
    ],
    ids=["several controllers", "version 1", "both versions", "colons in the path"],
)
def test_limit_of_the_group_that_is_listed(groups: Path, monkeypatch: pytest.MonkeyPatch, listed: str, folder: str) -> None:
    """One line per group, in any order: `hierarchy:controllers:path`; version 2 has no controllers there."""
    read = Path.read_text
    monkeypatch.setattr(Path, "read_text", lambda file: listed if str(file) == "/proc/self/cgroup" else read(file))
    limit(groups / folder, "4000000")
    assert machine.memory_bytes() == 4_000_000


def test_groups_that_are_not_listed_leave_the_limit_at_the_root(groups: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = Path.read_text

    def read_text(file: Path) -> str:
        if str(file) == "/proc/self/cgroup":
            raise PermissionError
        return read(file)

    monkeypatch.setattr(Path, "read_text", read_text)
    limit(groups / "memory.max", "4000000")
    assert machine.memory_bytes() == 4_000_000


@pytest.mark.parametrize(("processors", "threads"), [(None, 2), (1, 2), (2, 2), (3, 3), (64, 64)])
def test_as_many_computations_run_as_there_are_processors(
    monkeypatch: pytest.MonkeyPatch, processors: int | None, threads: int
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: processors)
    assert Settings().max_concurrency == threads


@pytest.mark.parametrize(("allowed", "found"), [(256, 256), (10_099, 10_099), (1_000_000, 10_100), (-1, 10_100)])
def test_open_files_are_those_that_the_system_allows(monkeypatch: pytest.MonkeyPatch, allowed: int, found: int) -> None:
    resource = pytest.importorskip("resource")  # which Windows has not
    monkeypatch.setattr(resource, "getrlimit", lambda what: (allowed, -1))
    monkeypatch.setattr(resource, "RLIM_INFINITY", -1)
    assert machine.open_files() == found
    assert Settings().max_connections == max(found - 100, 64)


def test_1024_connections_are_allowed_where_the_system_does_not_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "resource", None)
    assert machine.open_files() == 1124 and Settings().max_connections == 1024


def test_at_least_64_connections_are_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.settings.open_files", lambda: 163)
    assert Settings().max_connections == 64


@pytest.mark.parametrize(
    "size", [0, 1, machine.LARGE_PAGE_BYTES - 1, machine.LARGE_PAGE_BYTES, 2 * machine.LARGE_PAGE_BYTES + 1]
)
@pytest.mark.parametrize("refusal", [None, OSError(22, "Invalid argument")], ids=["given", "refused"])
def test_buffer_has_its_size_and_keeps_what_is_written(
    monkeypatch: pytest.MonkeyPatch, size: int, refusal: OSError | None
) -> None:
    """Also where the kernel has no large pages."""

    class Mapping(mmap.mmap):
        def madvise(self, *advice: int) -> None:
            if refusal is not None:
                raise refusal
            super().madvise(*advice)

    monkeypatch.setattr(mmap, "mmap", Mapping)
    buffer = machine.large_buffer(size)
    content = (bytes(range(251)) * (size // 251 + 1))[:size]
    buffer[:] = content
    assert len(buffer) == size and buffer == content


def test_heaps_are_kept_small_by_the_numbers_of_malloc_h(monkeypatch: pytest.MonkeyPatch) -> None:
    """M_TRIM_THRESHOLD, M_MMAP_THRESHOLD and M_ARENA_MAX: 16 and 1 MiB, and two heaps."""
    told: list[tuple[int, int]] = []
    monkeypatch.setattr(machine, "_c_library", SimpleNamespace(mallopt=lambda what, value: told.append((what, value))))
    machine.keep_heaps_small()
    assert sorted(told) == [(-8, 2), (-3, 1_048_576), (-1, 16_777_216)]


def test_memory_is_given_back_where_the_c_library_can() -> None:
    machine.trim_memory()


BLOCKS = """
import numpy, sys
from app import machine
machine.keep_heaps_small()
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 >> 20
numpy.ones(2 << 20)  # 16 MB, after which glibc alone would put such arrays into its heap
before, large, small = resident(), [], []
for _ in range(50):
    large.append(numpy.ones(1 << 19))  # 4 MB
    small.append(numpy.ones(1 << 13))  # 64 KB, which stay
most = resident()
large.clear()
print(before, most, resident())
"""


@pytest.mark.skipif(sys.platform != "linux" or platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_freed_arrays_leave_no_holes() -> None:
    found = subprocess.run([sys.executable, "-c", BLOCKS], capture_output=True, text=True, check=True)
    before, most, after = map(int, found.stdout.split())
    assert most > before + 200 and after < before + 20


PARTS = """
import resource
from app import machine
machine.keep_heaps_small()
def pass_on():
    for _ in range(100):
        parts = [bytes([k]) * 250_000 for k in range(4)]
pass_on()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
pass_on()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux" or platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_parts_of_bodies_use_the_same_memory_again() -> None:
    """The system gives no new page for what has just been freed; there would be 24,000."""
    found = subprocess.run([sys.executable, "-c", PARTS], capture_output=True, text=True, check=True)
    assert int(found.stdout) < 2000
