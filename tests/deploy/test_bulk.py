"""Derivatives of files of points: formats, parts, sums, bad rows, and runs that are interrupted."""

import hashlib
import math
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pytest
from pyarrow import csv
from pyarrow import parquet as pq

from app.deploy import blocks, bulk, files
from app.engine import backward, hessian, parse
from app.engine.primitives import WIRE
from tests.conftest import ROOT
from tests.rows import for_each

DECAY = "a*exp(-b*t)"
NAMES = ("a", "b", "t")
ROWS = 500


def columns(rows: int = ROWS) -> dict[str, np.ndarray]:
    """Points for the expression `DECAY`."""
    rng = np.random.default_rng(7)
    return {name: rng.uniform(0.1, 2.0, rows) for name in NAMES}


def write(path: Path, rows: int = ROWS, group: int = 100) -> Path:
    """A Parquet file of points."""
    pq.write_table(pa.table(columns(rows)), path, row_group_size=group)
    return path


def run(source: Path | str, output: Path | str, *flags: str, expression: str = DECAY) -> pa.Table:
    """Run the command in this process, and read its output folder as any reader would."""
    workers = () if "--workers" in flags else ("--workers", "1")
    bulk.main([expression, "--input", str(source), "--output", str(output), *flags, *workers])
    return pq.read_table(output) if "://" not in str(output) else pa.table({})


def refusal(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The message with which a command fails."""
    with pytest.raises(SystemExit) as ended:
        bulk.main([*map(str, arguments), "--workers", "1"])
    return str(ended.value)


def digests(folder: Path) -> dict[str, str]:
    """The hash of each part."""
    return {part.name: hashlib.sha256(part.read_bytes()).hexdigest() for part in sorted(folder.glob("part-*"))}


def test_first_derivatives_are_those_of_the_engine(tmp_path: Path) -> None:
    found = run(write(tmp_path / "points.parquet"), tmp_path / "out", "--wrt", "a,b")
    expected = backward(parse(DECAY), columns(), ["a", "b"])
    assert found.column_names == ["value", "d_a", "d_b"]
    np.testing.assert_array_equal(found["value"], expected.value)
    np.testing.assert_array_equal(found["d_a"], expected.gradients["a"])
    np.testing.assert_array_equal(found["d_b"], expected.gradients["b"])


def test_second_derivatives_are_those_of_the_engine(tmp_path: Path) -> None:
    found = run(write(tmp_path / "points.parquet"), tmp_path / "out", "--wrt", "a,b", "--order", "2")
    expected = hessian(parse(DECAY), columns(), ["a", "b"])
    assert found.column_names == ["value", "d_a", "d_b", "d2_a_a", "d2_a_b", "d2_b_b"]
    np.testing.assert_array_equal(found["d_b"], expected.gradients["b"])
    for name in ("a_a", "a_b", "b_b"):
        first, second = name.split("_")
        np.testing.assert_array_equal(found[f"d2_{name}"], expected.hessian[first][second])


def test_every_input_is_differentiated_by_default(tmp_path: Path) -> None:
    found = run(write(tmp_path / "points.parquet"), tmp_path / "out", "--set", "a=2", expression=f"y = {DECAY}; y*y")
    assert found.column_names == ["value", "d_a", "d_b", "d_t"]


def test_a_name_can_be_a_number_for_all_rows(tmp_path: Path) -> None:
    found = run(write(tmp_path / "points.parquet"), tmp_path / "out", "--set", "a=2", "b=-1e-3", "--wrt", "a,b")
    expected = backward(parse(DECAY), columns() | {"a": 2.0, "b": -1e-3}, ["a", "b"])
    np.testing.assert_array_equal(found["d_b"], expected.gradients["b"])


def test_value_that_is_the_same_at_every_row(tmp_path: Path) -> None:
    found = run(write(tmp_path / "points.parquet"), tmp_path / "out", expression="y = a; 7")
    assert found["value"].to_pylist() == [7.0] * ROWS and found["d_a"].to_pylist() == [0.0] * ROWS


def test_each_row_group_is_a_part(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    write(tmp_path / "in" / "1.parquet")
    write(tmp_path / "in" / "2.parquet", rows=150)
    (tmp_path / "in" / "_SUCCESS.csv").touch()
    (tmp_path / "in" / "notes.txt").touch()
    run(tmp_path / "in", tmp_path / "out")
    parts = sorted((tmp_path / "out").glob("*.parquet"))
    assert [part.name for part in parts] == [f"part-{k:05}.parquet" for k in range(7)]
    assert [pq.read_metadata(part).num_rows for part in parts] == [100] * 6 + [50]


@pytest.mark.parametrize("name", ["points.csv", "points.csv.gz", "points.npy", "points.npz"])
def test_other_formats_give_the_same(name: str, tmp_path: Path) -> None:
    source = tmp_path / name
    arrays = columns()
    if ".csv" in name:
        with pa.output_stream(source, compression="detect") as stream:
            csv.write_csv(pa.table(arrays | {"label": ["x"] * ROWS}), stream)
    elif name.endswith("npz"):
        np.savez(source, allow_pickle=False, **arrays)
    else:
        structured = np.empty(ROWS, [(column, np.float64) for column in (*NAMES, "other")])
        for column, numbers in arrays.items():
            structured[column] = numbers
        np.save(source, structured)
    found = run(source, tmp_path / "out")
    assert found.equals(run(write(tmp_path / "points.parquet"), tmp_path / "reference"))


def test_columns_of_other_types_are_read_as_doubles(tmp_path: Path) -> None:
    kinds = {"a": pa.int32(), "b": pa.float32(), "t": pa.decimal128(20)}
    given = {"a": pa.array([1, 2], kinds["a"]), "b": pa.array([0.5, 1.5], kinds["b"]), "t": pa.array([1, 2], kinds["t"])}
    pq.write_table(pa.table(given), tmp_path / "points.parquet")
    found = run(tmp_path / "points.parquet", tmp_path / "out")
    np.testing.assert_allclose(found["value"], [math.exp(-0.5), 2 * math.exp(-3.0)], rtol=1e-15)


def test_paths_of_fsspec(tmp_path: Path) -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    with memory.open("/points/1.parquet", "wb") as stream:
        pq.write_table(pa.table(columns()), stream)
    run("memory://points", "memory://results")
    with memory.open("/results/part-00000.parquet", "rb") as stream:
        found = pq.read_table(stream)
    assert found.equals(run(write(tmp_path / "points.parquet", group=ROWS), tmp_path / "out"))
    assert sorted(file.rpartition("/")[2] for file in memory.ls("/results", detail=False)) == [
        "_job.json",
        "part-00000.parquet",
    ]


@for_each("name", [row.name for row in WIRE.values()])
def test_results_do_not_depend_on_how_rows_are_cut(name: str) -> None:
    row = WIRE[name]
    count = row.min_arity if row.max_arity == row.min_arity else 3
    graph = parse(f"y = {name}({', '.join('uvw'[:count])}); y + u")
    rng = np.random.default_rng(3)
    inputs = {leaf: rng.uniform(0.2, 0.9, 1000) + (1.0 if name == "acosh" else 0.0) for leaf in "uvw"[:count]}
    if name == "polygamma":
        inputs["u"] = np.floor(inputs["u"] * 4)
    whole = blocks.derivatives(graph, inputs, graph.leaves, 2)
    for size in (1, 3, 63, 64, 65, 257):
        for start in (0, 1, 500, 1000 - size):
            cut = {leaf: np.ascontiguousarray(column[start : start + size]) for leaf, column in inputs.items()}
            for all_rows, some in zip(whole, blocks.derivatives(graph, cut, graph.leaves, 2), strict=True):
                assert all_rows[start : start + size].tobytes() == np.ascontiguousarray(some).tobytes()


@pytest.mark.slow
@pytest.mark.parametrize("reduce", ["sum", "mean"])
def test_reduced_row_does_not_depend_on_blocks(reduce: str, tmp_path: Path) -> None:
    graph, found = parse(DECAY), []
    for group in (1, 7, 64, 500):
        source = write(tmp_path / f"{group}.parquet", group=group)
        found.append(run(source, tmp_path / str(group), "--wrt", "a,b", "--reduce", reduce, "--order", "2"))
    assert all(table.equals(found[0]) for table in found)
    assert found[0].num_rows == 1 and found[0].column_names[:3] == ["value", "d_a", "d_b"]
    exact = backward(graph, columns(), ["a", "b"])
    expected = math.fsum(exact.gradients["b"])  # type: ignore[arg-type]  # an array
    assert found[0]["d_b"][0].as_py() == pytest.approx(expected / (ROWS if reduce == "mean" else 1), rel=1e-15)


def test_sum_by_a_number_is_the_gradient_of_the_sum(tmp_path: Path) -> None:
    source = write(tmp_path / "points.parquet")
    found = run(source, tmp_path / "out", "--set", "a=2", "b=0.5", "--wrt", "a,b", "--reduce", "sum")
    from app.engine import transforms

    expected = transforms.backward(parse(DECAY), {"a": 2.0, "b": 0.5, "t": columns()["t"]}, ["a", "b"], reduce="sum")
    assert found.to_pylist() == [{"value": expected.value, "d_a": expected.gradients["a"], "d_b": expected.gradients["b"]}]


@pytest.mark.slow
def test_several_processes_give_the_same(tmp_path: Path) -> None:
    source = write(tmp_path / "points.parquet")
    run(source, tmp_path / "one")
    run(source, tmp_path / "two", "--workers", "2")
    assert digests(tmp_path / "one") == digests(tmp_path / "two")


def test_existing_parts_are_skipped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, output = write(tmp_path / "points.parquet"), tmp_path / "out"
    run(source, output)
    before = digests(output)
    stamps = {part: part.stat().st_mtime_ns for part in output.glob("part-*")}
    (output / "part-00003.parquet").unlink()
    (output / f".part-00003.parquet.{'0a' * 16}").write_bytes(b"half a part")
    (output / ".keep").touch()
    capsys.readouterr()
    run(source, output)
    assert digests(output) == before and [file.name for file in output.glob(".*")] == [".keep"]
    changed = [part.name for part, stamp in stamps.items() if part.stat().st_mtime_ns != stamp]
    assert changed == ["part-00003.parquet"]
    assert "4 of 5 blocks were there already" in capsys.readouterr().out


def test_reduced_run_goes_on_too(tmp_path: Path) -> None:
    source, output = write(tmp_path / "points.parquet"), tmp_path / "out"
    first = run(source, output, "--reduce", "sum")
    (output / "sum.parquet").unlink()
    (output / "_part-00001.json").unlink()
    assert run(source, output, "--reduce", "sum").equals(first)


@pytest.mark.slow
def test_killed_run_leaves_no_process_and_goes_on(tmp_path: Path) -> None:
    source, output = write(tmp_path / "points.parquet", rows=20_000, group=100), tmp_path / "out"
    flags = ("--input", str(source), "--output", str(output), "--workers", "2")
    process = subprocess.Popen([sys.executable, "-m", "app.deploy.bulk", DECAY, *flags], cwd=ROOT)
    while not list(output.glob("part-*")):
        assert process.poll() is None
        time.sleep(0.01)
    workers = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    psutil.wait_procs(workers, timeout=10)
    assert not [worker for worker in workers if worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE]
    assert 0 < len(digests(output)) < 200
    run(source, output)
    run(source, tmp_path / "reference")
    assert digests(output) == digests(tmp_path / "reference") and len(digests(output)) == 200


def test_folder_of_another_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, output = write(tmp_path / "points.parquet"), tmp_path / "out"
    run(source, output)
    message = refusal(capsys, "a*b*t*1", "--input", source, "--output", output)
    assert "holds the results of another run (expression); choose another folder, or delete it" in message
    write(source, rows=ROWS + 1)
    assert "another run (input)" in refusal(capsys, DECAY, "--input", source, "--output", output)


def test_folder_with_other_files_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write(tmp_path / "points.parquet")
    assert "is not empty; choose another folder" in refusal(capsys, DECAY, "--input", source, "--output", tmp_path)


def spoiled(path: Path) -> Path:
    """Points of which rows 250, 320 and 471 cannot be computed."""
    table = pa.table(columns())
    numbers = {name: table[name].to_pylist() for name in NAMES}
    numbers["b"][250], numbers["t"][320], numbers["a"][471] = None, math.nan, 0.0
    pq.write_table(pa.table(numbers), path, row_group_size=100)
    return path


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("b", "row 250 (counted from 0): 'b' is null"),
        ("t", "row 320 (counted from 0): 't' is NaN"),
        (
            "log(a)",
            "row 471 (counted from 0): the value of 'output' is -Infinity: in the forward pass, node 'output' = log(0.0)",
        ),
        ("sqrt(a)", "row 471 (counted from 0): the gradient of 'output' by 'a' is Infinity: in the backward pass"),
        ("a**1.5", "row 471 (counted from 0): the second derivative of 'output' by 'a' is Infinity"),
    ],
)
def test_bad_row_is_an_error_with_its_place(
    expression: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = spoiled(tmp_path / "points.parquet")
    found = refusal(capsys, expression, "--input", source, "--output", tmp_path / "out", "--order", "2")
    assert found.startswith(f"error: {source}, {message}")


@pytest.mark.slow
def test_bad_row_in_another_process_is_an_error(tmp_path: Path) -> None:
    source = spoiled(tmp_path / "points.parquet")
    with pytest.raises(SystemExit, match="row 250"):
        run(source, tmp_path / "out", "--workers", "2", expression="b")


def test_bad_rows_are_nulls_on_demand(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = run(spoiled(tmp_path / "points.parquet"), tmp_path / "out", "--bad-rows", "null", expression="log(a)*b*t")
    for name in found.column_names:
        assert [k for k, number in enumerate(found[name].to_pylist()) if number is None] == [250, 320, 471]
    assert "3 of them null" in capsys.readouterr().out


def test_bad_rows_are_left_out_of_sums_on_demand(tmp_path: Path) -> None:
    source = spoiled(tmp_path / "points.parquet")
    found = run(source, tmp_path / "out", "--bad-rows", "null", "--reduce", "mean", "--wrt", "t", expression="log(a)*b*t")
    whole = run(source, tmp_path / "rows", "--bad-rows", "null", "--wrt", "t", expression="log(a)*b*t")
    numbers = [number for number in whole["d_t"].to_pylist() if number is not None]
    assert found["d_t"][0].as_py() == pytest.approx(math.fsum(numbers) / (ROWS - 3), rel=1e-15)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a*"], "line 1, column 3: expected"),
        (["a*tt"], "'tt' is no column of the input. Did you mean 't'?"),
        (["a*zzz"], "'zzz' is no column of the input. Give it a number with --set zzz=..."),
        (["a", "--set", "q=1"], "--set q: the expression has no input of this name."),
        (["a", "--set", "a=1"], "the expression uses no column of the input"),
        (["a*t", "--wrt", "a,z"], "there is no node 'z'"),
        (["label"], "the column 'label' does not hold numbers but string"),
    ],
)
def test_what_does_not_fit_is_named(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pq.write_table(pa.table(columns() | {"label": ["x"] * ROWS}), tmp_path / "points.parquet")
    found = refusal(capsys, *arguments, "--input", tmp_path / "points.parquet", "--output", tmp_path / "out")
    assert message in found


def test_results_need_names_of_their_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ("a", "b_c", "a_b", "c")
    pq.write_table(pa.table({name: [1.0] for name in names}), tmp_path / "points.parquet")
    arguments = ("a*b_c*a_b*c", "--input", tmp_path / "points.parquet", "--output", tmp_path / "out", "--order", "2")
    assert "would have the name d2_a_b_c; rename an input" in refusal(capsys, *arguments)


def test_files_that_cannot_be_read_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def message(source: Path) -> str:
        return refusal(capsys, DECAY, "--input", source, "--output", tmp_path / "out")

    assert "does not exist" in message(tmp_path / "none.parquet")
    (tmp_path / "points.txt").touch()
    assert "points.txt is none of .parquet, .csv, .npy, .npz" in message(tmp_path / "points.txt")
    (tmp_path / "empty").mkdir()
    assert "there is no file with one of the endings" in message(tmp_path / "empty")
    (tmp_path / "bad.parquet").write_bytes(b"no Parquet")
    assert "bad.parquet cannot be read" in message(tmp_path / "bad.parquet")
    (tmp_path / "words.csv").write_text("a,b,t\n1,2,3\n1,two,3\n")
    found = message(tmp_path / "words.csv")
    assert "words.csv cannot be read" in found and "invalid value 'two'" in found


def test_file_that_lacks_a_column_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write(tmp_path / "1.parquet")
    for name, table in (("2.parquet", "parquet"), ("2.csv", "csv")):
        lacking = pa.table({"a": [1.0], "b": [1.0]})
        pq.write_table(lacking, tmp_path / name) if table == "parquet" else csv.write_csv(lacking, tmp_path / name)
        output = tmp_path / f"out {table}"
        found = refusal(capsys, DECAY, "--input", source, tmp_path / name, "--output", output)
        assert f"{name} lacks one of the columns a, b, t" in found


def test_sum_that_overflows_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pq.write_table(pa.table({"a": [1e308, 1e308]}), tmp_path / "points.parquet")
    arguments = ("a", "--input", tmp_path / "points.parquet", "--output", tmp_path / "out", "--reduce", "sum")
    assert "the sum of value is too large for a number of 64 bits" in refusal(capsys, *arguments)


def test_mean_of_no_row_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pq.write_table(pa.table({"a": pa.array([], pa.float64())}), tmp_path / "points.parquet")
    arguments = ("a", "--input", tmp_path / "points.parquet", "--output", tmp_path / "out", "--reduce", "mean")
    assert "there is no row for the mean" in refusal(capsys, *arguments)


def test_file_without_rows_is_an_empty_part(tmp_path: Path) -> None:
    (tmp_path / "points.csv").write_text("a,t\n")
    assert run(tmp_path / "points.csv", tmp_path / "out", "--set", "b=1").num_rows == 0


def test_part_that_fails_is_removed(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), files.new_file(files.locate(str(tmp_path / "part"))) as stream:
        stream.write(b"half")
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("app.deploy.") and name != "app.deploy.bulk"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr("app.deploy.files")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(SystemExit, match=r"pyarrow is not installed: pip install 'autodiff-http\[bulk\]'"):
        bulk.main([DECAY, "--input", "in", "--output", "out"])
