"""Networks as source code: compiled or interpreted, they give the scores of the service."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.formats.network_source import LANGUAGES, Language, write_source
from app.nn import MLP
from app.nn.evaluation import predict
from app.nn.model import ACTIVATIONS, Floats, Model
from tests.formats.networks import row_of, single

MAIN = """
#include <stdio.h>
void predict(const double *inputs, double *outputs);
int main(void) {
    double x[%d], y[%d];
    for (;;) {
        for (int i = 0; i < %d; i++) if (scanf("%%lf", &x[i]) != 1) return 0;
        predict(x, y);
        for (int i = 0; i < %d; i++) printf("%%.17g\\n", y[i]);
    }
}
"""
STRICT = ("-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")

needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no gcc")
needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="there is no node")


def tolerance(expected: Floats) -> float:
    return 1e-12 * max(1.0, float(np.abs(expected).max()))


def run_c(source: bytes, model: Model, rows: Floats, folder: Path, flags: tuple[str, ...] = STRICT) -> Floats:
    """Compile without warnings, and run."""
    (folder / "network.c").write_bytes(source)
    (folder / "main.c").write_text(MAIN % (model.inputs, model.outputs, model.inputs, model.outputs))
    command = ["gcc", "-O1", *flags, str(folder / "network.c"), str(folder / "main.c"), "-lm", "-o", str(folder / "run")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert not done.stderr and done.returncode == 0, done.stderr
    text = "\n".join(repr(number) for number in rows.ravel().tolist())
    out = subprocess.run([str(folder / "run")], input=text, capture_output=True, text=True, check=True).stdout
    return np.array(out.split(), np.float64).reshape(len(rows), model.outputs)


def run_javascript(sources: dict[str, tuple[bytes, Floats]], folder: Path) -> dict[str, Any]:
    """Import each module in one node, and run."""
    lines = []
    for name, (source, rows) in sources.items():
        (folder / f"{name}.mjs").write_bytes(source)
        lines.append(f'import {{ predict as {name} }} from "{folder / name}.mjs";')
        lines.append(f"answer.{name} = {json.dumps(rows.tolist())}.map({name});")
    imports, rest = lines[::2], lines[1::2]
    (folder / "main.mjs").write_text("\n".join([*imports, "const answer = {};", *rest, "console.log(JSON.stringify(answer));"]))
    done = subprocess.run(["node", str(folder / "main.mjs")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def all_activations() -> list[tuple[str, Model, Floats]]:
    return [(name, single(name), row_of(name, 200)) for name in ACTIVATIONS]


def test_numpy_source_gives_the_scores() -> None:
    for name, model, rows in all_activations():
        space: dict[str, Any] = {}
        exec(compile(b"".join(write_source(model, "numpy")), name, "exec"), space)
        expected = predict(model, rows)
        assert np.abs(space["predict"](rows) - expected).max() <= tolerance(expected), name


@needs_gcc
def test_c_source_gives_the_scores(tmp_path: Path) -> None:
    for name in ("silu", "gelu", "digamma"):  # those that need other functions
        model, rows = single(name), row_of(name, 200)
        expected = predict(model, rows)
        found = run_c(b"".join(write_source(model, "c")), model, rows, tmp_path)
        assert np.abs(found - expected).max() <= tolerance(expected), name


@needs_gcc
@pytest.mark.slow
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_in_c(name: str, tmp_path: Path) -> None:
    model, rows = single(name), row_of(name, 1000)
    expected = predict(model, rows)
    found = run_c(b"".join(write_source(model, "c")), model, rows, tmp_path)
    assert np.abs(found - expected).max() <= tolerance(expected)


@needs_node
def test_javascript_source_gives_the_scores(tmp_path: Path) -> None:
    cases = all_activations()
    answer = run_javascript(
        {name: (b"".join(write_source(model, "javascript")), rows) for name, model, rows in cases}, tmp_path
    )
    for name, model, rows in cases:
        expected = predict(model, rows)
        assert np.abs(np.array(answer[name]) - expected).max() <= tolerance(expected), name


def test_demo_network_in_every_language(tmp_path: Path) -> None:
    model = MLP(2, [16, 16, 1], seed=1337)
    rows = np.random.default_rng(0).uniform(-3.0, 3.0, (100, 2))
    expected = predict(model, rows)
    space: dict[str, Any] = {}
    exec(compile(b"".join(write_source(model, "numpy")), "network", "exec"), space)
    assert np.abs(space["predict"](rows) - expected).max() <= 1e-12
    if shutil.which("gcc"):
        assert np.abs(run_c(b"".join(write_source(model, "c")), model, rows, tmp_path) - expected).max() <= 1e-12
    if shutil.which("node"):
        answer = run_javascript({"demo": (b"".join(write_source(model, "javascript")), rows)}, tmp_path)
        assert np.abs(np.array(answer["demo"]) - expected).max() <= 1e-12


def test_pytorch_source_gives_the_scores() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed; the bench extra has it")
    for name, model, rows in [*all_activations(), ("demo", MLP(2, [16, 16, 1], seed=1337), np.ones((3, 2)))]:
        space: dict[str, Any] = {}
        exec(compile(b"".join(write_source(model, "pytorch")), name, "exec"), space)
        expected = predict(model, rows)
        with torch.no_grad():
            found = space["network"]()(torch.from_numpy(rows)).numpy()
        assert np.abs(found - expected).max() <= tolerance(expected), name


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_activation_is_written(language: str) -> None:
    assert set(LANGUAGES[language].activations) == set(ACTIVATIONS)
    for name in ACTIVATIONS:
        source = b"".join(write_source(single(name), language)).decode()
        assert source.endswith("\n") and not source.endswith("\n\n")


@pytest.mark.parametrize("language", LANGUAGES)
def test_weights_keep_all_digits(language: str) -> None:
    number = 0.1 + 0.2
    model = Model(tuple(single("tanh").layers)).with_flat(np.array([number, -5e-324]))
    source = b"".join(write_source(model, language)).decode()
    assert repr(number) in source and "-5e-324" in source


def test_a_new_language_is_one_row(monkeypatch: pytest.MonkeyPatch) -> None:
    def write(language: Language, model: Model) -> Any:
        for layer in model.layers:
            yield f"{language.activations[layer.activation]} {layer.weights.tolist()} {layer.biases.tolist()}"

    monkeypatch.setitem(LANGUAGES, "words", Language("txt", {"tanh": "tangens hyperbolicus of"}, write))
    assert b"".join(write_source(single("tanh"), "words")) == b"tangens hyperbolicus of [[1.0]] [0.0]\n"
