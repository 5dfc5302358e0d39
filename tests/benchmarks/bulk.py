"""Files of points: the bulk command with one and two processes, with and without Ray, beside JAX on the same files."""

import hashlib
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from app.engine import transforms
from app.engine.text import parse
from tests.benchmarks.measure import OURS, Row

EXPRESSION = "h = tanh(a*b + c); u = sin(h*d) + exp(-e2*e2); where(u > 0, log(1 + u*u), h - u) + sqrt(1 + a*a)*d"
NAMES = ("a", "b", "c", "d", "e2")
FILE_ROWS = 10_000_000
BATCH_ROWS = 1 << 17
JAX = "jax vmap, compiled"
SAMPLE_S = 0.1


def write_points(folder: Path, rows: int) -> None:
    """Parquet files of points, as PyArrow writes them by default."""
    import pyarrow as pa
    from pyarrow import parquet as pq

    rng = np.random.default_rng(0)
    for k, start in enumerate(range(0, rows, FILE_ROWS)):
        count = min(FILE_ROWS, rows - start)
        pq.write_table(pa.table({name: rng.uniform(-1.0, 1.0, count) for name in NAMES}), folder / f"points-{k:03}.parquet")


class Command:
    """A run of the bulk command, whose processes' memory is watched."""

    def __init__(self, source: Path, output: Path, *flags: str, cores: int = 2) -> None:
        command = [sys.executable, "-m", "app.deploy.bulk", EXPRESSION, "--input", str(source), "--output", str(output), *flags]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        os.sched_setaffinity(self.process.pid, sorted(os.sched_getaffinity(0))[-cores:])
        self.resident: list[int] = []
        self.watch = threading.Thread(target=self._watch, daemon=True)
        self.watch.start()

    def _watch(self) -> None:
        while self.process.poll() is None:
            total = 0
            for process in [psutil.Process(self.process.pid), *psutil.Process(self.process.pid).children(recursive=True)]:
                try:
                    total += process.memory_info().rss
                except psutil.Error:
                    continue
            self.resident.append(total)
            time.sleep(SAMPLE_S)

    def seconds(self) -> float:
        """Wait for the end, and return the time that the command says it took, without its start and Ray's."""
        printed, _ = self.process.communicate()
        self.watch.join()
        found = re.search(r"rows in ([0-9.]+) s", printed)
        assert self.process.returncode == 0 and found, printed
        return float(found[1])

    def memory(self) -> str:
        """The largest resident memory of all processes in the second and in the last quarter of the run."""
        quarter = len(self.resident) // 4
        second, last = max(self.resident[quarter : 2 * quarter]), max(self.resident[-quarter:])
        return f"{second >> 20} MB in the second quarter, {last >> 20} in the last"


def jax_writer() -> Callable[[Path, Path], None]:
    """What JAX does with a file: its compiled vmap on batches of the same size, with results written the same way."""
    import jax
    import jax.numpy as jnp
    import pyarrow as pa
    from pyarrow import parquet as pq

    def f(a: Any, b: Any, c: Any, d: Any, e: Any) -> Any:
        h = jnp.tanh(a * b + c)
        u = jnp.sin(h * d) + jnp.exp(-e * e)
        return jnp.where(u > 0, jnp.log(1 + u * u), h - u) + jnp.sqrt(1 + a * a) * d

    compiled: Callable[..., Any] = jax.jit(jax.vmap(jax.value_and_grad(f, argnums=(0, 1, 2, 3, 4))))
    schema = pa.schema([(name, pa.float64()) for name in ("value", *(f"d_{name}" for name in NAMES))])

    def write(file: Path, output: Path) -> None:
        with pq.ParquetWriter(output, schema, use_dictionary=False, compression="NONE") as writer:
            for batch in pq.ParquetFile(file).iter_batches(BATCH_ROWS, use_threads=False):
                value, gradients = compiled(*[jnp.asarray(batch.column(name).to_numpy()) for name in NAMES])
                columns = [np.asarray(column) for column in (value, *gradients)]
                writer.write_batch(pa.record_batch([pa.array(column) for column in columns], schema))

    return write


def steady_seconds(folder: Path, workers: int) -> float:
    """The time of all parts at the pace at which they were completed, without the start of the workers."""
    stamps = sorted(part.stat().st_mtime for part in folder.glob("part-*"))
    return (stamps[-1] - stamps[workers - 1]) * len(stamps) / (len(stamps) - workers)


def beside_jax(source: Path, folder: Path, rows: int) -> Row:
    """The work of one process on one core, in turns with JAX, file by file, so that both have the same neighbours."""
    from app.deploy import blocks, files

    job = blocks.Job(EXPRESSION, NAMES, 1, "none", NAMES, {}, False, files.locate(str(folder)))
    write = jax_writer()
    times, used = {OURS: 0.0, JAX: 0.0}, {OURS: 0.0, JAX: 0.0}
    with pinned():
        for k, path in enumerate(sorted(source.iterdir())):
            (file,) = files.find([str(path)])
            part = {OURS: partial(_ours, job, files.blocks([file])), JAX: partial(write, path, folder / "jax.parquet")}
            for name, work in part.items():
                if not k:
                    work()  # compiles
                began, ran = time.perf_counter(), time.process_time()
                work()
                times[name] += time.perf_counter() - began
                used[name] += time.process_time() - ran
    note = f"processor time: ours {used[OURS]:.1f} s, JAX {used[JAX]:.1f} s"
    return Row(f"{rows:,} rows of Parquet, 5 gradients, one core, in turns", times, {JAX: 1.2}, note=note)


def _ours(job: Any, blocks: Sequence[Any]) -> None:
    """Work on the blocks of a file."""
    from app.deploy.blocks import work_on

    for k, block in enumerate(blocks):
        work_on(job, k, block)


@contextmanager
def pinned() -> Iterator[None]:
    """Stay on one core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def digests(folder: Path) -> list[bytes]:
    """The hash of each part."""
    return [hashlib.file_digest(part.open("rb"), "sha256").digest() for part in sorted(folder.glob("part-*"))]


def check_equal(source: Path, output: Path) -> None:
    """Compare all parts with the engine, called on whole files, to the last bit."""
    from pyarrow import parquet as pq

    graph, parts = parse(EXPRESSION), sorted(output.glob("part-*"))
    for file in sorted(source.iterdir()):
        table = pq.read_table(file)
        expected = transforms.backward(graph, {name: table[name].to_numpy() for name in NAMES}, NAMES)
        groups = pq.read_metadata(file).num_row_groups
        found = pq.read_table(parts[:groups])
        parts = parts[groups:]
        for name, column in {"value": expected.value, **{f"d_{name}": expected.gradients[name] for name in NAMES}}.items():
            assert found[name].to_numpy().tobytes() == np.ascontiguousarray(column).tobytes(), f"{file}: {name}"
    assert not parts


def bulk(rows: int) -> Iterator[Row]:
    """All runs, in a folder below TMPDIR that takes 300 bytes per row: in memory, or a slow disk is measured instead."""
    with tempfile.TemporaryDirectory() as folder:
        yield from _bulk(rows, Path(folder))


def _bulk(rows: int, folder: Path) -> Iterator[Row]:
    source, reference, turns = folder / "points", folder / "1", folder / "turns"
    source.mkdir()
    turns.mkdir()
    write_points(source, rows)
    yield beside_jax(source, turns, rows)
    title = f"{rows:,} rows of Parquet, 5 gradients"
    one = Command(source, reference, "--workers", "1", cores=1)
    one.seconds()
    alone = steady_seconds(reference, 1)
    yield Row(f"{title}, 1 process", {OURS: alone}, {}, note=f"memory: {one.memory()}")
    check_equal(source, reference)
    expected = digests(reference)

    two = Command(source, folder / "2", "--workers", "2")
    two.seconds()
    times = {OURS: steady_seconds(folder / "2", 2), "1 process": alone}
    yield Row(f"{title}, 2 processes", times, {"1 process": 1 / 1.5}, note=f"memory: {two.memory()}")
    assert digests(folder / "2") == expected
    subprocess.run(["rm", "-r", folder / "2"], check=True)

    ray = {}
    for workers in ("1", "2"):
        Command(source, folder / "ray", "--ray", "--workers", workers).seconds()
        ray[workers] = steady_seconds(folder / "ray", int(workers))
        assert digests(folder / "ray") == expected
        subprocess.run(["rm", "-r", folder / "ray"], check=True)
    yield Row(f"{title}, Ray with 2 workers", {OURS: ray["2"], "Ray with 1 worker": ray["1"]}, {"Ray with 1 worker": 1 / 1.5})

    killed = Command(source, folder / "killed", "--workers", "2")
    while len(list((folder / "killed").glob("part-*"))) < len(expected) // 3:
        time.sleep(SAMPLE_S)
    killed.process.kill()
    killed.process.wait()
    there = len(list((folder / "killed").glob("part-*")))
    rest = Command(source, folder / "killed", "--workers", "2").seconds()
    assert digests(folder / "killed") == expected
    work = f"{title}, killed with {there} of {len(expected)} parts and started again"
    yield Row(work, {OURS: rest}, {})
