"""`python -m app.deploy.bulk`: derivatives of an expression at every row of files, however many rows there are.

Files are read in blocks, each block becomes a part of the output folder, and parts that exist are skipped. So a run that was
interrupted goes on where it was when the same command is given again.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from app.engine.errors import EngineError, nearest
from app.engine.text import parse
from app.machine import usable_processors

if TYPE_CHECKING:
    from app.deploy.blocks import Job
    from app.deploy.files import File

INSTALL = "pip install 'autodiff-http[bulk]'"


def main(arguments: list[str] | None = None) -> None:
    """Read the flags and run the job. A job that fails exits with 1 and a message; parts that are complete stay."""
    flags = _parser().parse_args(arguments)
    try:
        from app.deploy import files
    except ModuleNotFoundError as error:
        sys.exit(f"{error.name} is not installed: {INSTALL}")
    try:
        run(flags)
    except (files.BulkError, EngineError) as error:
        sys.exit(f"error: {error}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m app.deploy.bulk", description=__doc__)
    add = parser.add_argument
    add("expression", help="the text of the expression; its names are columns of the input, or set by --set")
    add("--input", nargs="+", required=True, metavar="PATH", help="Parquet, CSV or NumPy files, or folders of them; URIs too")
    add("--output", required=True, metavar="FOLDER", help="folder for the results")
    add("--wrt", metavar="NAME,...", help="what to differentiate by (default: every name)")
    add("--order", type=int, choices=(1, 2), default=1, help="2 for second derivatives too")
    add("--reduce", choices=("sum", "mean"), default="none", help="one row for all: each column's exact sum, rounded once")
    add("--set", nargs="+", action="extend", type=_constant, default=[], metavar="NAME=NUMBER", help="numbers for all rows")
    add("--bad-rows", choices=("error", "null"), default="error", help="rows with a number that is missing or not finite")
    add("--workers", type=int, help="processes (default: one per core)")
    add("--ray", action="store_true", help="use the Ray cluster of RAY_ADDRESS, or a new one on this machine")
    return parser


def _constant(text: str) -> tuple[str, float]:
    """`NAME=NUMBER` as a pair. Raises ValueError, which argparse reports."""
    name, _, number = text.partition("=")
    return name, float(number)


def run(flags: argparse.Namespace) -> None:
    """Compute what is not there yet, and print how many rows per second that were. Raises BulkError and EngineError."""
    from tqdm import tqdm

    from app.deploy import blocks, files, workers

    found = files.find(flags.input)
    job = _job(flags, files.column_names(found[0]))
    numbered = list(enumerate(files.blocks(found)))
    there = files.begin(job.output, _manifest(flags, job, found))
    left = [(k, block) for k, block in numbered if job.part(k).name not in there]
    if flags.ray and left:
        workers.join_ray()
        results = workers.on_ray(job, left, flags.workers)
    else:
        results = workers.on_this_machine(job, left, min(flags.workers or usable_processors(), max(len(left), 1)))
    began, done = time.perf_counter(), blocks.Done(0, 0)
    with tqdm(total=len(numbered), initial=len(numbered) - len(left), unit="block", disable=None) as bar:
        for one in results:
            done = blocks.Done(done.rows + one.rows, done.bad + one.bad)
            bar.update()
            bar.set_postfix(rows=f"{done.rows:,}")
    if job.reduce != "none":
        blocks.write_total(job, len(numbered))
    seconds = time.perf_counter() - began
    skipped = f", {len(numbered) - len(left)} of {len(numbered)} blocks were there already" if there else ""
    bad = f", {done.bad:,} of them null" if done.bad else ""
    print(f"{done.rows:,} rows in {seconds:.1f} s ({done.rows / seconds:,.0f} per second){bad}{skipped}")


def _job(flags: argparse.Namespace, columns: Sequence[str]) -> "Job":
    """The job of these flags, for files with these columns. Raises BulkError and EngineError."""
    from app.deploy.blocks import Job
    from app.deploy.files import BulkError, locate

    graph, constants = parse(flags.expression), dict(flags.set)
    for name in constants:
        if name not in graph.leaves:
            raise BulkError(f"--set {name}: the expression has no input of this name.{nearest(name, graph.leaves)}")
    read = [name for name in graph.leaves if name not in constants]
    missing = [name for name in read if name not in columns]
    if missing:
        advice = nearest(missing[0], columns) or f" Give it a number with --set {missing[0]}=..."
        raise BulkError(f"{missing[0]!r} is no column of the input.{advice}")
    if not read:
        raise BulkError("the expression uses no column of the input, so all rows would be the same")
    wrt = [*dict.fromkeys(name.strip() for name in flags.wrt.split(","))] if flags.wrt else [*graph.leaves]
    graph.positions(wrt, ("wrt",))
    output, nulls = locate(flags.output), flags.bad_rows == "null"
    job = Job(flags.expression, wrt, flags.order, flags.reduce, read, constants, nulls, output)
    names = job.result_names()
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise BulkError(f"two columns of the results would have the name {twice[0]}; rename an input")
    return job


def _manifest(flags: argparse.Namespace, job: "Job", found: Sequence["File"]) -> dict[str, Any]:
    """What decides the bytes of the results."""
    same = {name: getattr(job, name) for name in ("expression", "wrt", "order", "reduce")}
    return {**same, "set": job.constants, "bad-rows": flags.bad_rows, "input": [[file.path, file.size] for file in found]}


if __name__ == "__main__":
    main()
