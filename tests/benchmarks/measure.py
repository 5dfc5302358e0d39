"""How contestants are timed: side by side, in turns, each once before anything counts; and what a row of the table is."""

import gc
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

REPEATS = 9
LEAST_SECONDS = 0.005
OURS = "ours"


@dataclass
class Contestant:
    """Something to time: what it does, how long it took to compile or build before, and what it gave, to be compared."""

    run: Callable[[], object]
    compiled_s: float = 0.0


@dataclass
class Row:
    """A row of the table. `targets` are the greatest ratios of our time to each peer's, by the peer's name.

    `note` says what else is to be known; `seconds` are the medians of one run of each.
    """

    work: str
    seconds: dict[str, float]
    targets: Mapping[str, float]
    compiled_s: dict[str, float] = field(default_factory=dict)
    note: str = ""
    unit: str = "s"

    def ratio(self, peer: str) -> float:
        """Our time over a peer's."""
        return self.seconds[OURS] / self.seconds[peer]

    def held(self) -> bool:
        """Whether all targets are met."""
        return all(self.ratio(peer) <= most for peer, most in self.targets.items())


def race(
    work: str, contestants: Mapping[str, Contestant], targets: Mapping[str, float], repeats: int = REPEATS, note: str = ""
) -> Row:
    """Times all contestants in turns: medians of `repeats` rounds, each of as many runs as take some milliseconds."""
    runs: dict[str, int] = {}
    for name, contestant in contestants.items():
        contestant.run()
        began = time.perf_counter()
        contestant.run()
        runs[name] = max(1, min(1000, round(LEAST_SECONDS / max(time.perf_counter() - began, 1e-9))))
    times: dict[str, list[float]] = {name: [] for name in contestants}
    gc.collect()
    for _ in range(repeats):
        for name, contestant in contestants.items():
            began = time.perf_counter()
            for _ in range(runs[name]):
                contestant.run()
            times[name].append((time.perf_counter() - began) / runs[name])
    seconds = {name: statistics.median(found) for name, found in times.items()}
    compiled = {name: contestant.compiled_s for name, contestant in contestants.items() if contestant.compiled_s}
    return Row(work, seconds, targets, compiled, note)


def peak(pid: int) -> int:
    """The most memory that a process has had since `forget`, in bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))


def forget(pid: int) -> int:
    """Starts the count of the most memory anew; what there is now."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    now: int = psutil.Process(pid).memory_info().rss
    return now


def shown(seconds: float, row_unit: str = "s") -> str:
    """A time, or what else a row counts, for people."""
    if row_unit != "s":
        return f"{seconds:.3g} {row_unit}".strip()
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"


def table(rows: list[Row]) -> str:
    """The rows as a table in Markdown: one line for each peer."""
    lines = ["| work | ours | peer | its time | ratio | target | held | compiled before |", "|---|---|---|---|---|---|---|---|"]
    for row in rows:
        for peer in [name for name in row.seconds if name != OURS] or [""]:
            theirs, ratio = (shown(row.seconds[peer], row.unit), f"{row.ratio(peer):.3g}") if peer else ("", "")
            most = row.targets.get(peer)
            target, held = (f"{most:g}", "yes" if row.ratio(peer) <= most else "NO") if most is not None else ("", "")
            compiled = shown(row.compiled_s[peer]) if peer in row.compiled_s else ""
            ours = shown(row.seconds[OURS], row.unit)
            lines.append(f"| {row.work} | {ours} | {peer} | {theirs} | {ratio} | {target} | {held} | {compiled} |")
        if row.note:
            lines.append(f"| | {row.note} | | | | | | |")
    return "\n".join(lines)
