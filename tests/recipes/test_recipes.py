"""The recipes of CONTRIBUTING.md, applied as they are written to a copy of the project and called over HTTP."""

import ast
import math
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from tests.conftest import ROOT, Server

pytestmark = pytest.mark.slow

CONTRIBUTING = (ROOT / ".github" / "CONTRIBUTING.md").read_text("utf-8")
RECIPES = ("Add a primitive", "Add an optimizer", "Add a dataset", "Add an endpoint")

FENCED = re.compile(r"^```(?:python|json)\n.*?^```$", re.MULTILINE | re.DOTALL)
PLACED = re.compile(
    r"^(?:New file `(?P<new>[^`]+)`"
    r"|In `(?P<file>[^`]+)`, (?:above `(?P<above>[^`]+)`|as the last row of `(?P<table>\w+)`)):\n\n"
    r"```(?:python|json)\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


class Edit(NamedTuple):
    """A block of a recipe: a new file, or lines above a line of a file, or lines at the end of a table."""

    file: str
    code: str
    above: str | None
    table: str | None


def section(title: str) -> str:
    """Return the text below a heading of CONTRIBUTING.md."""
    _, found, rest = CONTRIBUTING.partition(f"\n## {title}\n")
    assert found, f"CONTRIBUTING.md has no section {title!r}"
    return rest.partition("\n## ")[0]


def edits(title: str) -> list[Edit]:
    """Return the blocks of a recipe, in order."""
    found = [match.groupdict() for match in PLACED.finditer(section(title))]
    return [Edit(match["new"] or match["file"], match["code"], match["above"], match["table"]) for match in found]


def end_of_table(source: str, name: str) -> int:
    """Return the number of the line that ends the last row of a module's table."""
    assigned = [node for node in ast.parse(source).body if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == name]
    assert len(assigned) == 1, name
    rows: Any = assigned[0].value
    if isinstance(rows, ast.DictComp):
        rows = rows.generators[0].iter
    assert isinstance(rows, ast.Tuple), name
    assert rows.elts[-1].end_lineno is not None
    return rows.elts[-1].end_lineno


def apply(edit: Edit, project: Path) -> None:
    """Apply one block of a recipe."""
    path = project / edit.file
    if edit.above is None and edit.table is None:
        assert not path.exists(), f"{edit.file} is not new"
        path.parent.mkdir(exist_ok=True)
        path.write_text(edit.code, "utf-8")
        return
    source = path.read_text("utf-8")
    lines = source.splitlines(keepends=True)
    if edit.table is not None:
        at = end_of_table(source, edit.table)
    else:
        places = [k for k, line in enumerate(lines) if edit.above is not None and line.lstrip().startswith(edit.above)]
        assert len(places) == 1, f"{len(places)} lines of {edit.file} begin with {edit.above}"
        at = places[0]
    lines.insert(at, edit.code)
    path.write_text("".join(lines), "utf-8")


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of a service to which all recipes have been applied. It compiles its own kernels."""
    project = tmp_path_factory.mktemp("project")
    for folder in ("app", "openapi"):
        shutil.copytree(ROOT / folder, project / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for title in RECIPES:
        for edit in edits(title):
            apply(edit, project)
    server = Server(project / "log", folder=project, environment={"AUTODIFF_CACHE_DIR": str(project / "kernels")})
    try:
        with httpx.Client(base_url=server.url, timeout=60) as client:
            wait_until_ready(client, server)
            yield client
    finally:
        server.kill()


def wait_until_ready(client: httpx.Client, server: Server) -> None:
    """Wait until the kernels are compiled. Ask rarely, since the compiler needs the processor."""
    while time.perf_counter() - server.began < 600:
        if client.get("/readyz").status_code == 200:
            return
        assert server.process.poll() is None, server.log.read_text()
        time.sleep(0.5)
    raise RuntimeError(f"the server did not become ready:\n{server.log.read_text()}")


def post(client: httpx.Client, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Return the response to a request, which must succeed."""
    response = client.post(path, json=body)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


@pytest.mark.parametrize("title", RECIPES)
def test_every_block_of_a_recipe_says_where_it_goes(title: str) -> None:
    assert len(edits(title)) == len(FENCED.findall(section(title))) > 0


@pytest.mark.parametrize("title", RECIPES)
def test_nothing_of_a_recipe_is_in_the_project(title: str) -> None:
    """Otherwise the tests below would pass without the recipe."""
    for edit in edits(title):
        path = ROOT / edit.file
        assert not path.exists() or edit.code.strip() not in path.read_text("utf-8")


def test_new_primitive_has_a_value_and_derivatives(changed: httpx.Client) -> None:
    found = post(changed, "/v1/backward", {"expression": "cube(x)", "inputs": {"x": 2}})
    assert found["value"] == 8.0 and found["gradients"] == {"x": 12.0}
    found = post(changed, "/v1/hessian", {"expression": "cube(x)", "inputs": {"x": 2}})
    assert found["hessian"] == {"x": {"x": 12.0}}
    nodes = [{"id": "x", "op": "value"}, {"id": "y", "op": "cube", "args": ["x"]}]
    graph = {"nodes": nodes, "output": "y"}
    found = post(changed, "/v1/backward", {"expression": graph, "inputs": {"x": [-1, 0, 3]}})
    assert found["value"] == [-1.0, 0.0, 27.0] and found["gradients"]["x"] == [3.0, 0.0, 27.0]


def test_new_primitive_is_listed_and_is_an_activation(changed: httpx.Client) -> None:
    rows = {row["name"]: row for row in changed.get("/v1/primitives").json()["primitives"]}
    assert rows["cube"]["formula"] == "x**3" and rows["cube"]["derivative"] == ["3*x**2"]
    model = {"layers": [{"weights": [[2.0]], "biases": [1.0], "activation": "cube"}]}
    assert post(changed, "/v1/networks/predict", {"model": model, "inputs": [[0.5], [-1.0]]})["outputs"] == [[8.0], [-1.0]]


MODEL: dict[str, Any] = {"layers": [{"weights": [[0.5, -1.0]], "biases": [0.25], "activation": "tanh"}]}
DATA: dict[str, Any] = {"inputs": [[1.0, 2.0], [0.5, -1.0], [-1.5, 0.25]], "targets": [1, -1, -1]}
ADAGRAD: dict[str, Any] = {
    "name": "adagrad",
    "learning_rate": 0.1,
    "lr_decay": 0.5,
    "weight_decay": 0.01,
    "initial_accumulator_value": 0.2,
}


def flat(model: dict[str, Any]) -> list[float]:
    """Return the numbers of a model of one neuron."""
    (layer,) = model["layers"]
    return [*layer["weights"][0], *layer["biases"]]


def model_of(numbers: list[float]) -> dict[str, Any]:
    """Return the model of one neuron with these numbers."""
    return {"layers": [{"weights": [numbers[:2]], "biases": numbers[2:], "activation": "tanh"}]}


def test_new_optimizer_trains_by_the_published_rule(changed: httpx.Client) -> None:
    """The steps are computed here from gradients of the service, by the algorithm in PyTorch's documentation of Adagrad."""
    theta, total = flat(MODEL), [0.2] * 3
    for step in range(3):
        sent = {"model": model_of(theta), "data": DATA, "loss": "mse"}
        gradient = flat(post(changed, "/v1/networks/backward", sent)["gradients"])
        slopes = [g + 0.01 * number for g, number in zip(gradient, theta, strict=True)]
        total = [t + slope * slope for t, slope in zip(total, slopes, strict=True)]
        rate = 0.1 / (1.0 + step * 0.5)
        theta = [number - rate * slope / (math.sqrt(t) + 1e-10) for number, slope, t in zip(theta, slopes, total, strict=True)]
    body = {"model": MODEL, "data": DATA, "loss": "mse", "optimizer": ADAGRAD, "steps": 3}
    found = post(changed, "/v1/networks/train", body)
    assert flat(found["model"]) == pytest.approx(theta, rel=1e-12)
    assert flat(found["state"]["optimizer"]["sum"]) == pytest.approx(total, rel=1e-12)


def test_new_optimizer_resumes_and_checks_its_parameters(changed: httpx.Client) -> None:
    body = {"model": MODEL, "data": DATA, "loss": "mse", "optimizer": ADAGRAD}
    whole = post(changed, "/v1/networks/train", body | {"steps": 5})
    half = post(changed, "/v1/networks/train", body | {"steps": 2})
    rest = post(changed, "/v1/networks/train", body | {"model": half["model"], "state": half["state"], "steps": 3})
    assert rest["model"] == whole["model"] and rest["state"] == whole["state"]
    wrong = changed.post("/v1/networks/train", json=body | {"optimizer": {"name": "adagrad", "lr_decay": -1}, "steps": 1})
    assert wrong.status_code == 422
    assert [error["pointer"] for error in wrong.json()["errors"]] == ["/optimizer/lr_decay"]


def test_new_dataset_is_listed_and_drawn(changed: httpx.Client) -> None:
    rows = {row["name"]: row for row in changed.get("/v1/datasets").json()["datasets"]}
    assert rows["checkerboard"]["samples"] == 200 and rows["checkerboard"]["features"] == 2
    found = changed.get("/v1/datasets/checkerboard", params={"samples": 50, "noise": 0, "seed": 3})
    assert found.status_code == 200, found.text
    data = found.json()
    assert len(data["inputs"]) == len(data["targets"]) == 50
    for (x, y), target in zip(data["inputs"], data["targets"], strict=True):
        assert -2.0 <= x < 2.0 and -2.0 <= y < 2.0
        assert target == (1.0 if (math.floor(x) + math.floor(y)) % 2 == 0 else -1.0)


def test_new_dataset_trains_by_name(changed: httpx.Client) -> None:
    rows = changed.get("/v1/datasets/checkerboard", params={"samples": 30, "noise": 0.1, "seed": 7}).json()
    body = {"model": {"inputs": 2, "layers": [4, 1], "seed": 1}, "loss": "mse", "steps": 5}
    by_name: dict[str, Any] = {"dataset": "checkerboard", "samples": 30, "noise": 0.1, "seed": 7}
    by_rows = {"inputs": rows["inputs"], "targets": rows["targets"]}
    found = post(changed, "/v1/networks/train", body | {"data": by_name})
    assert found["model"] == post(changed, "/v1/networks/train", body | {"data": by_rows})["model"]
    assert found["stopped"] == "completed"


def test_new_endpoint_computes(changed: httpx.Client) -> None:
    found = post(changed, "/v1/polynomials", {"coefficients": [1, -2, 0, 4], "x": 3})
    assert found == {"value": 13.0, "derivative": 15.0}  # x**3 - 2*x**2 + 4 and 3*x**2 - 4*x at 3
    long = post(changed, "/v1/polynomials", {"coefficients": [1.0] * 100_001, "x": 1.0})  # runs in the pool
    assert long == {"value": 100_001.0, "derivative": 5_000_050_000.0}


@pytest.mark.parametrize(
    ("body", "problem", "pointer"),
    [
        pytest.param({"coefficients": [1], "x": "3"}, "invalid-request", "/x", id="string for number"),
        pytest.param({"coefficients": [1, True], "x": 3}, "invalid-request", "/coefficients/1", id="boolean in list"),
        pytest.param({"coefficients": [1, 0, 0], "x": 1e200}, "non-finite", "/x", id="overflow"),
    ],
)
def test_new_endpoint_reports_problems(changed: httpx.Client, body: dict[str, Any], problem: str, pointer: str) -> None:
    response = changed.post("/v1/polynomials", json=body)
    assert response.status_code == 422 and response.json()["type"] == f"/problems/{problem}"
    assert [error["pointer"] for error in response.json()["errors"]] == [pointer]


def test_new_endpoint_is_documented_with_its_example(changed: httpx.Client) -> None:
    operation = changed.get("/openapi.json").json()["paths"]["/v1/polynomials"]["post"]
    assert operation["operationId"] == "polynomial"
    request = operation["requestBody"]["content"]["application/json"]["examples"]["square"]["value"]
    answer = operation["responses"]["200"]["content"]["application/json"]["examples"]["square"]["value"]
    assert post(changed, "/v1/polynomials", request) == answer
