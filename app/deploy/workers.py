"""Where the blocks of a bulk job are computed: in processes of this machine, or by Ray Data on those of a cluster."""

import multiprocessing
import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from typing import Any

from app.deploy.blocks import Done, Job, prepared, work_on
from app.deploy.files import Block, BulkError

Numbered = tuple[int, Block]
"""A block and its place among all blocks of the job."""

BLOCKS_PER_TASK, TASKS_PER_CORE = 8, 8
"""How many blocks a task of Ray has at most, and how many tasks there are at least for a core if blocks suffice."""


def on_this_machine(job: Job, blocks: Sequence[Numbered], workers: int) -> Iterator[Done]:
    """Compute blocks in so many processes; one is this process. Raises BulkError where a block or a process fails."""
    if workers == 1:
        yield from (work_on(job, *block) for block in blocks)
        return
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, spawn, _begin, (job.expression,)) as pool:
        try:
            for future in as_completed([pool.submit(work_on, job, *block) for block in blocks]):
                yield future.result()
        except BrokenProcessPool as error:
            raise BulkError("a worker was killed, perhaps for lack of memory; start again to go on") from error
        finally:
            pool.shutdown(cancel_futures=True)


def _begin(expression: str) -> None:
    """Load the kernels, and end when the process that started this one has been killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_end_after, args=(parent,), daemon=True).start()
    prepared(expression)


def _end_after(parent: Any) -> None:
    parent.join()
    os._exit(1)


def join_ray() -> None:
    """Connect to the cluster that RAY_ADDRESS names, or start one on this machine."""
    import ray

    ray.init(ignore_reinit_error=True)


def on_ray(job: Job, blocks: Sequence[Numbered], workers: int | None) -> Iterator[Done]:
    """Compute blocks on the cores of the cluster, at most `workers` at once; call `join_ray` first.

    Ray repeats a block whose worker or node has failed. Raises BulkError where a block itself fails.
    """
    import ray

    ray.data.DataContext.get_current().enable_progress_bars = False  # there is one already
    # Not `range`: its reading is a stage of its own, for which Ray keeps one of two cores.
    tasks = ray.data.from_items(
        [{"id": k} for k in range(len(blocks))], override_num_blocks=_tasks(len(blocks), int(ray.cluster_resources()["CPU"]))
    )
    for row in tasks.map(partial(_work_on_row, job, blocks), compute=ray.data.TaskPoolStrategy(workers)).iter_rows():
        if row["error"]:
            raise BulkError(row["error"])
        yield Done(row["rows"], row["bad"])


def _tasks(blocks: int, cores: int) -> int:
    """In how many tasks Ray computes blocks: starting one takes as long as a fifth of a small block."""
    return -(-blocks // max(1, min(BLOCKS_PER_TASK, blocks // (TASKS_PER_CORE * cores))))


def _work_on_row(job: Job, blocks: Sequence[Numbered], row: dict[str, Any]) -> dict[str, Any]:
    """Compute a block for Ray. An error is a result: Ray would try the block again."""
    try:
        done = work_on(job, *blocks[row["id"]])
    except BulkError as error:
        return {"rows": 0, "bad": 0, "error": str(error)}
    return {"rows": done.rows, "bad": done.bad, "error": ""}
