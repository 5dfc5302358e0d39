"""`/v1/networks/export` and `/v1/networks/import`: files out and in, round trips, faults, and mutated files."""

import gzip
import json
import os
import random
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest

from tests.conftest import ROOT, Server
from tests.contract.conftest import AssertAlive, Start
from tests.contract.wire import LOCAL, assert_never_5xx, json_of, problem
from tests.rows import for_each

pytest.importorskip("onnx", reason="onnx is not installed: pip install '.[interop]'")
pytest.importorskip("safetensors", reason="safetensors is not installed: pip install '.[interop]'")

MODEL = {
    "layers": [
        {"weights": [[0.1, -0.2], [0.3, 1e-300]], "biases": [0.5, -0.25], "activation": "softplus"},
        {"weights": [[0.5, -0.6]], "biases": [0.1], "activation": "linear"},
    ]
}
FILE = {"Content-Type": "application/octet-stream"}
RECORDED = ROOT / "tests" / "formats" / "recorded"
MUTATED = int(os.environ.get("AUTODIFF_TEST_FILES", "60"))
"""How many mutated files are sent."""


def exported(client: httpx.Client, **fields: Any) -> httpx.Response:
    return client.post("/v1/networks/export", json={"model": MODEL, **fields})


def imported(client: httpx.Client, content: bytes, **headers: str) -> httpx.Response:
    return client.post("/v1/networks/import", content=content, headers={**FILE, **headers})


@pytest.mark.parametrize("name", ["onnx", "safetensors"])
def test_network_comes_back_as_it_was(client: httpx.Client, name: str) -> None:
    file = exported(client, format=name)
    assert file.status_code == 200 and file.headers["content-type"] == "application/octet-stream"
    assert file.headers["content-disposition"] == f'attachment; filename="network.{name}"'
    answer = json_of(imported(client, file.content))
    assert answer == {"model": MODEL, "parameters": 9, "removed": []}
    assert exported(client, format=name).content == file.content


NAMES = {"pytorch": "network.py", "numpy": "network.py", "c": "network.c", "javascript": "network.mjs"}


@pytest.mark.parametrize("name", NAMES)
def test_source_has_a_name_and_all_weights(client: httpx.Client, name: str) -> None:
    file = exported(client, format=name)
    assert file.status_code == 200
    assert file.headers["content-disposition"] == f'attachment; filename="{NAMES[name]}"'
    for number in ("-0.25", "1e-300", "-0.6"):
        assert number in file.text
    if name == "numpy":
        space: dict[str, Any] = {}
        exec(file.text, space)
        scores = json_of(client.post("/v1/networks/predict", json={"model": MODEL, "inputs": [[0.5, -1.0]]}))["outputs"]
        assert np.abs(space["predict"]([[0.5, -1.0]]) - scores).max() <= 1e-15


def test_spec_is_exported(client: httpx.Client) -> None:
    spec = {"inputs": 2, "layers": [16, 16, 1], "seed": 1337}
    file = client.post("/v1/networks/export", json={"model": spec, "format": "onnx"})
    model = json_of(client.post("/v1/networks", json=spec))["model"]
    assert json_of(imported(client, file.content)) == {"model": model, "parameters": 337, "removed": []}


@for_each("case", json.loads((RECORDED / "models.json").read_text("utf-8")))
def test_model_of_another_program_gives_its_scores(client: httpx.Client, case: dict[str, Any]) -> None:
    answer = json_of(imported(client, (RECORDED / "models" / case["file"]).read_bytes()))
    found = json_of(client.post("/v1/networks/predict", json={"model": answer["model"], "inputs": case["rows"]}))["outputs"]
    scores = np.array(case["scores"])
    tolerance = 1e-12 if case["file"].startswith("pytorch") or "double" in case["file"] else 1e-5
    assert np.abs(np.array(found) - scores).max() <= tolerance * max(1.0, np.abs(scores).max())


def test_imported_model_is_trained_on(client: httpx.Client) -> None:
    answer = json_of(imported(client, (RECORDED / "models" / "pytorch_sigmoid_script.onnx").read_bytes()))
    assert answer["removed"] == ["Sigmoid"]
    data = {"inputs": [[0.1, 0.2, 0.3, 0.4], [1, 0, 1, 0]], "targets": [0, 1]}
    request = {"model": answer["model"], "data": data, "loss": "binary_cross_entropy", "steps": 3}
    assert len(json_of(client.post("/v1/networks/train", json=request))["history"]) == 3


def test_file_may_be_compressed(client: httpx.Client) -> None:
    file = exported(client, format="safetensors").content
    assert json_of(imported(client, gzip.compress(file), **{"Content-Encoding": "gzip"}))["parameters"] == 9


def test_activation_without_operators_is_pointed_at(client: httpx.Client) -> None:
    model = {"layers": [{"weights": [[1.0]], "biases": [0.0], "activation": "erf"}]}
    body = problem(client.post("/v1/networks/export", json={"model": model, "format": "onnx"}), "invalid-request", 422)
    assert "'erf'" in body["detail"] and body["errors"][0]["pointer"] == "/model/layers/0/activation"
    assert client.post("/v1/networks/export", json={"model": model, "format": "javascript"}).status_code == 200


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [({"format": "tflite"}, "/format"), ({}, "/format"), ({"format": "c", "model": {"layers": []}}, "/model/layers")],
)
def test_wrong_request_is_pointed_at(client: httpx.Client, fields: dict[str, Any], pointer: str) -> None:
    problem(client.post("/v1/networks/export", json={"model": MODEL, **fields}), "invalid-request", 422, pointer)


@pytest.mark.parametrize("content", [b"", b"hello", b"{}", b'{"model": 1}', b"\x80\x02}q\x00.", b"PK\x03\x04" + b"\0" * 50])
def test_other_files_are_refused(client: httpx.Client, content: bytes) -> None:
    body = problem(imported(client, content), "invalid-request", 422)
    assert "ONNX" in body["detail"] and "errors" not in body


@pytest.mark.parametrize("media", ["application/json", "text/plain", "application/x-www-form-urlencoded"])
def test_import_takes_bytes_alone(client: httpx.Client, media: str) -> None:
    body = problem(imported(client, b"{}", **{"Content-Type": media}), "unsupported-media-type", 415)
    assert "application/octet-stream" in body["detail"]


def test_responses_are_negotiated(client: httpx.Client) -> None:
    refused = client.post("/v1/networks/export", json={"model": MODEL, "format": "c"}, headers={"Accept": "image/png"})
    problem(refused, "not-acceptable", 406)
    problem(imported(client, b"", Accept="image/png"), "not-acceptable", 406)


def test_operator_that_is_not_read_is_named(client: httpx.Client) -> None:
    import onnx

    file = onnx.load_from_string(exported(client, format="onnx").content)
    file.graph.node[-1].op_type = "Conv"
    body = problem(imported(client, file.SerializeToString()), "invalid-request", 422)
    assert "the operator 'Conv'" in body["detail"]


def mutated(rng: random.Random, seeds: list[bytes]) -> bytes:
    """A file with some bytes changed, removed, doubled or taken from another."""
    data = bytearray(rng.choice(seeds))
    for _ in range(rng.choice([1, 1, 2, 5, 20])):
        at = rng.randrange(len(data) + 1)
        size = rng.choice([1, 1, 2, 4, 8, 64])
        match rng.randrange(6):
            case 0:
                data[at : at + size] = rng.randbytes(size)
            case 1:
                del data[at : at + size]
            case 2:
                data[at:at] = data[at : at + size] * rng.choice([1, 2, 500])
            case 3:
                data[at : at + 1] = bytes([rng.choice([0, 1, 0x7F, 0x80, 0xFF])])
            case 4:
                other = rng.choice(seeds)
                data[at : at + size] = other[at : at + size]
            case 5:
                data[at : at + 9] = rng.choice([b"\xff" * 9 + b"\x01", (2**62).to_bytes(9, "little"), b"\0" * 9])
    return bytes(data)


@pytest.mark.skipif(not LOCAL, reason="a remote service may have other limits")
def test_mutated_files_are_no_5xx_and_take_no_memory(start: Start) -> None:
    budget = 200_000_000
    server: Server = start(AUTODIFF_MEMORY_BYTES=str(budget))
    process = psutil.Process(server.process.pid)
    rng = random.Random(15)
    with httpx.Client(base_url=server.url, timeout=60) as client:
        seeds = [path.read_bytes() for path in sorted((RECORDED / "models").glob("*.onnx"))]
        seeds += [exported(client, format=name).content for name in ("onnx", "safetensors")] * 4
        assert all(imported(client, seed).status_code == 200 for seed in seeds)
        before, statuses = process.memory_info().rss, []
        for _ in range(MUTATED):
            response = imported(client, mutated(rng, seeds))
            assert_never_5xx(response)
            statuses.append(response.status_code)
            if len(statuses) % 50 == 0:
                assert process.memory_info().rss - before < budget
        assert client.get("/livez").status_code == 200
    assert 200 in statuses and 422 in statuses


HOSTILE = {
    "empty nodes": b"\x3a\x80\x80\x80\x02" + b"\x0a\x00" * (1 << 21),
    "empty tensors": b"\x3a\x80\x80\x80\x02" + b"\x2a\x00" * (1 << 21),
    "zeros": b"\0" * (1 << 22),
    "long header": (1 << 24).to_bytes(8, "little") + b"{" + b'"a":1,' * (1 << 22),
}


@pytest.mark.skipif(not LOCAL, reason="a remote service may have other limits")
@pytest.mark.parametrize("name", HOSTILE)
def test_large_hostile_file_is_refused(client: httpx.Client, assert_alive: AssertAlive, name: str) -> None:
    problem(imported(client, HOSTILE[name]), "invalid-request", 422)
    assert_alive()


@pytest.mark.slow
def test_missing_library_is_named(tmp_path: Path, start: Start) -> None:
    """Without the extra, source code is still written."""
    for name in ("onnx", "safetensors"):
        (tmp_path / f"{name}.py").write_text("raise ImportError\n")
    server = start(PYTHONPATH=os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    with httpx.Client(base_url=server.url, timeout=60) as client:
        for name in ("onnx", "safetensors"):
            body = problem(exported(client, format=name), "not-available", 501)
            assert f"{name} is not installed" in body["detail"] and "autodiff-http[interop]" in body["detail"]
        body = problem(imported(client, (RECORDED / "models" / "sklearn_binary.onnx").read_bytes()), "not-available", 501)
        for nonsense in (b"", b"hello world", b"\x08\x07\x12\x01x"):
            problem(imported(client, nonsense), "invalid-request", 422)
        assert exported(client, format="c").status_code == 200
