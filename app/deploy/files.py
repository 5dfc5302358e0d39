"""Files of points: the blocks they are cut into, the columns of a block, and the parts that are written for them.

A block is a row group of a Parquet file, or a whole CSV or NumPy file, since only a Parquet file says where its rows begin.
Paths are local or URIs: PyArrow opens `s3`, `gs`, `abfs` and `hdfs` itself, and fsspec, where it is installed, what it can.
"""

import json
import re
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from pyarrow import csv, fs
from pyarrow import parquet as pq

BATCH_ROWS = 1 << 17
"""Rows that are held at once: a row group can have any number of rows."""
COMPRESSED = (".gz", ".bz2", ".zst", ".lz4")
MANIFEST = "_job.json"
UNFINISHED = re.compile(r"\..+\.[0-9a-f]{32}")
"""The names of files that are being written, or were when a run was killed."""


class BulkError(Exception):
    """Files that cannot be read, rows that cannot be computed, or a folder of results that belongs to another run."""


@dataclass(frozen=True, slots=True)
class File:
    """A file or a folder: its path within a file system, and its size in bytes where that is known."""

    filesystem: fs.FileSystem
    path: str
    size: int | None = None

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]

    def child(self, name: str) -> "File":
        """A file of this folder."""
        return File(self.filesystem, f"{self.path}/{name}")


@dataclass(frozen=True, slots=True)
class Block:
    """A part of a file that is read, computed and written alone. `first_row` is counted from 0, within the file."""

    file: File
    row_group: int = 0
    first_row: int = 0


class Format(NamedTuple):
    """A format of input files: its columns' names, where its blocks begin, and the batches of some columns of a block."""

    names: Callable[[File], Sequence[str]]
    first_rows: Callable[[File], list[int]]
    batches: Callable[[Block, Sequence[str]], Iterator[pa.RecordBatch]]


def locate(path: str) -> File:
    """A path or a URI as a file, which need not exist."""
    if "://" not in path:
        return File(fs.LocalFileSystem(), str(Path(path).resolve()))  # workers may have another working directory
    try:
        found = fs.FileSystem.from_uri(path)
    except pa.ArrowInvalid:  # not one of PyArrow's own
        found = fs.FileSystem.from_uri(f"fsspec+{path}")
    return File(found[0], found[1].rstrip("/"))


def find(paths: Sequence[str]) -> list[File]:
    """The files at these paths, and those in and below folders, in the order of their names. Raises BulkError."""
    found: list[File] = []
    for path in paths:
        place = locate(path)
        info = place.filesystem.get_file_info(place.path)
        if info.type is fs.FileType.NotFound:
            raise BulkError(f"{path} does not exist")
        if info.type is fs.FileType.File:
            if _suffix(info.path) not in FORMATS:
                raise BulkError(f"{path} is none of {', '.join(FORMATS)}")
            found.append(File(place.filesystem, info.path, info.size))
            continue
        below = place.filesystem.get_file_info(fs.FileSelector(place.path, recursive=True))
        files = [file for file in below if _suffix(file.path) in FORMATS and not _is_hidden(file.path[len(place.path) :])]
        if not files:
            raise BulkError(f"there is no file with one of the endings {', '.join(FORMATS)} in {path}")
        found += [File(place.filesystem, file.path, file.size) for file in sorted(files, key=lambda file: file.path)]
    return found


def _suffix(path: str) -> str:
    """The ending of a file's name that says its format, without that of a compression."""
    name = PurePosixPath(path)
    return (name.with_suffix("") if name.suffix in COMPRESSED else name).suffix


def _is_hidden(path: str) -> bool:
    """Whether other readers of folders skip a file too: something in its path begins with a dot or an underscore."""
    return any(part.startswith((".", "_")) for part in path.split("/"))


def blocks(files: Sequence[File]) -> list[Block]:
    """The blocks of all files, in order. Raises BulkError."""

    def of(file: File) -> list[Block]:
        with _reading(file):
            return [Block(file, k, row) for k, row in enumerate(FORMATS[_suffix(file.path)].first_rows(file))]

    with ThreadPoolExecutor() as pool:  # the ends of a thousand remote files take a while
        return [block for found in pool.map(of, files) for block in found]


def column_names(file: File) -> Sequence[str]:
    """The names of a file's columns. Raises BulkError."""
    with _reading(file):
        return FORMATS[_suffix(file.path)].names(file)


def batches(block: Block, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """These columns of a block, some rows at a time. Raises BulkError."""
    with _reading(block.file):
        try:
            yield from FORMATS[_suffix(block.file.path)].batches(block, names)
        except KeyError as error:
            raise BulkError(f"{block.file.path} lacks one of the columns {', '.join(names)}") from error


@contextmanager
def _reading(file: File) -> Iterator[None]:
    """Raise BulkError where a file is damaged or gone."""
    try:
        yield
    except (pa.ArrowException, OSError, ValueError) as error:
        raise BulkError(f"{file.path} cannot be read: {error}") from error


def _parquet(file: File) -> pq.ParquetFile:
    return pq.ParquetFile(file.filesystem.open_input_file(file.path))


def _first_rows_of_groups(file: File) -> list[int]:
    metadata = _parquet(file).metadata
    rows = [metadata.row_group(k).num_rows for k in range(metadata.num_row_groups)]
    return list(accumulate(rows, initial=0))[:-1]


def _parquet_batches(block: Block, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
    with _parquet(block.file) as opened:
        if not {*names}.issubset(opened.schema_arrow.names):  # PyArrow passes over what is missing
            raise KeyError
        yield from opened.iter_batches(BATCH_ROWS, [block.row_group], list(names), use_threads=False)


def _csv(file: File, **convert: Any) -> csv.CSVStreamingReader:
    stream = file.filesystem.open_input_stream(file.path)
    return csv.open_csv(stream, csv.ReadOptions(use_threads=False), convert_options=csv.ConvertOptions(**convert))


def _csv_batches(block: Block, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
    yield from _csv(block.file, include_columns=names, column_types=dict.fromkeys(names, pa.float64()))


def _arrays(file: File) -> dict[str, np.ndarray]:
    """The columns of a NumPy file: the fields of a structured array, or the arrays of an archive."""
    with file.filesystem.open_input_file(file.path) as stream:
        loaded = np.load(stream)
        if isinstance(loaded, np.ndarray):
            return {name: loaded[name] for name in loaded.dtype.names or ()}
        return dict(loaded)


def _numpy_batches(block: Block, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
    arrays = _arrays(block.file)
    table = pa.table({name: np.ascontiguousarray(arrays[name]) for name in names})
    yield from table.to_batches(BATCH_ROWS)


def _one_block(file: File) -> list[int]:
    return [0]


PARQUET = Format(lambda file: _parquet(file).schema_arrow.names, _first_rows_of_groups, _parquet_batches)
CSV = Format(lambda file: _csv(file).schema.names, _one_block, _csv_batches)
NUMPY = Format(lambda file: list(_arrays(file)), _one_block, _numpy_batches)
FORMATS = {".parquet": PARQUET, ".csv": CSV, ".npy": NUMPY, ".npz": NUMPY}


@contextmanager
def new_file(file: File) -> Iterator[pa.NativeFile]:
    """Write a file that has its name only when it is complete. Until then, the name begins with a dot."""
    folder, _, name = file.path.rpartition("/")
    unfinished = f"{folder}/.{name}.{uuid.uuid4().hex}"
    try:
        with file.filesystem.open_output_stream(unfinished) as stream:
            yield stream
    except BaseException:
        file.filesystem.delete_file(unfinished)
        raise
    file.filesystem.move(unfinished, file.path)


def begin(output: File, job: dict[str, Any]) -> set[str]:
    """Make the folder for the results of a job and note there what it is; return the names of the files that it has already.

    Removes what an earlier run has left unfinished. Raises BulkError if the folder belongs to another job.
    """
    output.filesystem.create_dir(output.path, recursive=True)
    names = [info.base_name for info in output.filesystem.get_file_info(fs.FileSelector(output.path))]
    found = {name for name in names if not name.startswith(".")}
    if MANIFEST in found:
        with output.filesystem.open_input_stream(output.child(MANIFEST).path) as stream:
            before = json.loads(stream.read())
        if before != job:
            changed = ", ".join(key for key in job if job[key] != before.get(key))
            raise BulkError(f"{output.path} holds the results of another run ({changed}); choose another folder, or delete it")
    elif found:
        raise BulkError(f"{output.path} is not empty; choose another folder")
    else:
        with new_file(output.child(MANIFEST)) as stream:
            stream.write(json.dumps(job).encode())
    for name in names:
        if UNFINISHED.fullmatch(name):
            output.filesystem.delete_file(output.child(name).path)
    return found
