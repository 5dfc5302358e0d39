"""A bulk job and its work: the derivatives of an expression at every row of a block, or their exact sums.

A block gives the same bytes on any machine with the same processor, whatever else is computed there and in whatever order.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations_with_replacement
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from pyarrow import parquet as pq

from app.deploy import files
from app.deploy.files import Block, BulkError, File
from app.engine.exact_sum import ExactSums, rounded
from app.engine.faults import Fault, Quantity, explain, number_text
from app.engine.graph import Graph
from app.engine.points import MIN_BLOCK_POINTS, Reduce
from app.engine.tape import Bools, Floats
from app.engine.text import parse
from app.engine.transforms import backward, hessian
from app.warm import warm


@dataclass(frozen=True, slots=True)
class Job:
    """What to compute at every row.

    Attributes:
        expression: the text of the expression.
        wrt: the ids of the nodes by which derivatives are taken.
        order: 1 for first derivatives, 2 for second derivatives too.
        reduce: "none" for one row of results per row, else one row for all: the sum or the mean.
        columns: the leaves whose numbers are columns of the files.
        constants: the numbers of the other leaves.
        nulls: a row that cannot be computed is null, or left out of the sum, and not an error.
        output: the folder for the results.
    """

    expression: str
    wrt: Sequence[str]
    order: int
    reduce: Reduce
    columns: Sequence[str]
    constants: Mapping[str, float]
    nulls: bool
    output: File

    def result_names(self) -> list[str]:
        """The names of the columns of the results: value, d_a, d_b, and d2_a_a, d2_a_b, d2_b_b for the second order."""
        second = [f"d2_{a}_{b}" for a, b in combinations_with_replacement(self.wrt, 2)] if self.order == 2 else []
        return ["value", *(f"d_{name}" for name in self.wrt), *second]

    def part(self, index: int) -> File:
        """The file with the results of a block. Sums of blocks are hidden from readers of the folder."""
        return self.output.child(f"part-{index:05}.parquet" if self.reduce == "none" else f"_part-{index:05}.json")


class Done(NamedTuple):
    """How many rows there were, and how many of them could not be computed."""

    rows: int
    bad: int

    def plus(self, rows: int, bad: Bools | None) -> "Done":
        """With more rows, of which some are bad."""
        return Done(self.rows + rows, self.bad + (0 if bad is None else int(bad.sum())))


Results = Iterator[tuple[list[Floats], Bools | None]]
"""Columns of results, some rows at a time, with the rows that could not be computed, or None if there are none."""


@cache
def prepared(expression: str) -> Graph:
    """The graph of a job's expression, in a process that has loaded the kernels. Of all on a machine, one compiles them."""
    pa.set_cpu_count(1)
    warm()
    return parse(expression)


def work_on(job: Job, index: int, block: Block) -> Done:
    """Compute a block and write its part. Raises BulkError for a row that cannot be computed."""
    results = _results(job, prepared(job.expression), block)
    return (_write_rows if job.reduce == "none" else _write_sums)(job, job.part(index), results)


def _write_rows(job: Job, part: File, results: Results) -> Done:
    """One row of results per row."""
    schema = pa.schema([(name, pa.float64()) for name in job.result_names()])
    done = Done(0, 0)
    options: dict[str, Any] = {"use_dictionary": False, "compression": "NONE"}  # doubles that hardly repeat
    with files.new_file(part) as stream, pq.ParquetWriter(stream, schema, **options) as writer:
        for columns, bad in results:
            writer.write_batch(pa.record_batch([pa.array(column, mask=bad) for column in columns], schema))
            done = done.plus(len(columns[0]), bad)
    return done


def _write_sums(job: Job, part: File, results: Results) -> Done:
    """The exact sums of the rows that could be computed."""
    names = job.result_names()
    sums, done = ExactSums(len(names)), Done(0, 0)
    for columns, bad in results:
        table = np.stack(columns)
        sums.add(table if bad is None else table[:, ~bad])
        done = done.plus(len(columns[0]), bad)
    content = {"rows": done.rows, "bad": done.bad, "totals": dict(zip(names, sums.totals(), strict=True))}
    with files.new_file(part) as stream:
        stream.write(json.dumps(content).encode())
    return done


def write_total(job: Job, count: int) -> Done:
    """Add up the sums of all blocks, and write the one row of results. Raises BulkError if there is no such row."""
    rows = bad = 0
    totals = dict.fromkeys(job.result_names(), 0)
    for index in range(count):
        with job.output.filesystem.open_input_stream(job.part(index).path) as stream:
            part = json.loads(stream.read())
        rows, bad = rows + part["rows"], bad + part["bad"]
        totals = {name: total + part["totals"][name] for name, total in totals.items()}
    if rows == bad:
        raise BulkError(f"there is no row for the {job.reduce}")
    result = {name: rounded(total, rows - bad if job.reduce == "mean" else 1) for name, total in totals.items()}
    overflown = [name for name, number in result.items() if not math.isfinite(number)]
    if overflown:
        raise BulkError(f"the {job.reduce} of {overflown[0]} is too large for a number of 64 bits")
    with files.new_file(job.output.child(f"{job.reduce}.parquet")) as stream:
        pq.write_table(pa.table({name: [number] for name, number in result.items()}), stream)
    return Done(rows, bad)


def _results(job: Job, graph: Graph, block: Block) -> Results:
    """The results of a block."""
    row = block.first_row
    for batch in filter(len, files.batches(block, job.columns)):
        given = {name: _numbers(batch, name, block.file) for name in job.columns}
        columns = derivatives(graph, {**job.constants, **given}, job.wrt, job.order)
        bad = _not_finite([*given.values(), *columns])
        if bad is not None and not job.nulls:
            k = int(bad.argmax())
            raise BulkError(f"{block.file.path}, row {row + k} (counted from 0): {_reason(job, graph, batch, k)}")
        yield columns, bad
        row += len(batch)


def _numbers(batch: pa.RecordBatch, name: str, file: File) -> Floats:
    """A column as doubles, NaN for null. Raises BulkError if it does not hold numbers."""
    column = batch.column(name)
    kind = column.type
    if not (pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind) or pa.types.is_null(kind)):
        raise BulkError(f"{file.path}: the column {name!r} does not hold numbers but {kind}")
    # Contiguous, because NumPy has other loops for other arrays, which round differently.
    return np.ascontiguousarray(column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False))


def derivatives(graph: Graph, inputs: Mapping[str, Any], wrt: Sequence[str], order: int) -> list[Floats]:
    """The columns of results at many points, each of shape (points,). They do not depend on how points are cut into blocks."""
    points = max(np.size(column) for column in inputs.values())
    missing = max(MIN_BLOCK_POINTS - points, 0)  # fewer points would be walked one by one, which rounds differently
    if missing:
        inputs = {name: np.append(x, np.repeat(x[-1:], missing)) if np.ndim(x) else x for name, x in inputs.items()}
    if order == 1:
        found = backward(graph, inputs, wrt)
        entries = [found.value, *(found.gradients[name] for name in wrt)]
    else:
        second = hessian(graph, inputs, wrt)
        entries = [second.value, *(second.gradients[name] for name in wrt)]
        entries += [second.hessian[a][b] for a, b in combinations_with_replacement(wrt, 2)]
    return [np.broadcast_to(entry, points + missing)[:points] for entry in entries]


def _not_finite(columns: Sequence[Floats]) -> Bools | None:
    """The rows in which a number is not finite, or None if there are none."""
    with np.errstate(all="ignore"):
        if all(math.isfinite(np.add.reduce(column)) for column in columns):  # faster than looking at each
            return None
        bad = ~np.logical_and.reduce([np.isfinite(column) for column in columns])
    return bad if bad.any() else None


def _reason(job: Job, graph: Graph, batch: pa.RecordBatch, k: int) -> str:
    """Why row k of a batch cannot be computed."""
    given = {name: batch.column(name)[k].as_py() for name in job.columns}
    for name, number in given.items():
        if number is None or not math.isfinite(number):
            return f"{name!r} is {'null' if number is None else number_text(number)}"
    row = {name: np.array([float(number)]) for name, number in given.items()}
    columns = derivatives(graph, {**job.constants, **row}, job.wrt, job.order)
    second = [(Quantity.SECOND, b, {a: 1.0}) for a, b in combinations_with_replacement(job.wrt, 2)]
    first: list[tuple[Quantity, str, dict[str, float]]] = [(Quantity.GRADIENT, name, {}) for name in job.wrt]
    kinds = [(Quantity.VALUE, graph.output, {}), *first, *second]
    at_fault = next(i for i, column in enumerate(columns) if not math.isfinite(column[0]))
    quantity, node, seeds = kinds[at_fault]
    inputs = {**job.constants, **{name: float(column[0]) for name, column in row.items()}}
    return explain(graph, inputs, Fault(quantity, node, float(columns[at_fault][0])), seeds).detail
