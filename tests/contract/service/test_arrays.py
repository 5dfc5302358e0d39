"""Lists of numbers in base64: in every place of every request and response, with the numbers and bytes of the lists."""

import base64
import json
import struct
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from tests.contract.conftest import Post
from tests.contract.events import events
from tests.contract.wire import json_of, problem, put, resolve
from tests.rows import for_each

X = [k / 8 + 0.1 for k in range(20)]
Y = [(k * 7 % 5) - 1.5 for k in range(20)]
ROWS = [[x, y] for x, y in zip(X, Y, strict=True)]
SIGNS = [1.0 if y > 0 else -1.0 for y in Y]
LAYER = {"weights": [[k / 9, -k / 7] for k in range(16)], "biases": [0.1 * k for k in range(16)], "activation": "tanh"}
LAST = {"weights": [[(k - 7) / 11 for k in range(16)]], "biases": [0.05], "activation": "linear"}
MODEL = {"layers": [LAYER, LAST]}
WEIGHTS = [f"/layers/{k}/{name}" for k in range(2) for name in ("weights", "biases")]
DECAY = [2.0 * 0.7**x + 0.01 * (-1) ** k for k, x in enumerate(X)]


def in_model(*at: str) -> list[str]:
    """The places of the numbers of models at these places."""
    return [place + weights for place in at for weights in WEIGHTS]


@dataclass(frozen=True)
class Case:
    """A request with lists, the places of lists in it, and those of the lists in its response that follow `arrays`."""

    operation: str
    request: dict[str, Any]
    given: list[str]
    answered: list[str] = field(default_factory=list)


POINTS = {"expression": "a = x*y; b = a*a; b + c", "inputs": {"x": X, "y": Y, "c": 2}}
INPUTS = ["/inputs/x", "/inputs/y"]
TRAINING = {"model": MODEL, "data": {"inputs": ROWS, "targets": SIGNS}, "loss": "mse"}
DATA = ["/data/inputs", "/data/targets"]
FIT = {"expression": "a*exp(-k*x)", "data": {"x": X, "y": DECAY}, "target": "y", "parameters": {"a": 2, "k": 0.5}}
FITTED = ["/residuals"]

CASES = {
    "forward": Case(
        "forward",
        {**POINTS, "values": True},
        INPUTS,
        ["/value", *(f"/values/{name}" for name in ("x", "y", "a", "b", "output"))],
    ),
    "forward, sum": Case("forward", {**POINTS, "reduce": "sum"}, INPUTS),
    "backward": Case(
        "backward", {**POINTS, "cotangent": Y}, [*INPUTS, "/cotangent"], ["/value", *(f"/gradients/{name}" for name in "xycab")]
    ),
    "backward, mean": Case("backward", {**POINTS, "reduce": "mean", "wrt": ["x", "c"]}, INPUTS, ["/gradients/x"]),
    "backward, at one point": Case("backward", {"expression": "x*x", "inputs": {"x": 2}}, []),
    "jvp": Case(
        "jvp", {**POINTS, "tangents": {"x": Y, "c": X}}, [*INPUTS, "/tangents/x", "/tangents/c"], ["/value", "/tangent"]
    ),
    "jacobian": Case(
        "jacobian",
        {**POINTS, "expression": "f = x*y; g = f + c*x", "outputs": ["f", "g"], "wrt": ["x", "c"]},
        INPUTS,
        [f"/values/{f}" for f in "fg"] + [f"/jacobian/{f}/{x}" for f in "fg" for x in "xc"],
    ),
    "hessian": Case(
        "hessian",
        {**POINTS, "wrt": ["x", "y"]},
        INPUTS,
        ["/value", "/gradients/x", "/gradients/y", *(f"/hessian/{a}/{b}" for a in "xy" for b in "xy")],
    ),
    "sparse Hessian": Case(
        "hessian",
        {"expression": "x**3*y", "inputs": {"x": 2, "y": 3}, "format": "sparse"},
        [],
        ["/hessian/values"],
    ),
    "sparse Hessian at many points": Case(
        "hessian",
        {"expression": "x**3*y", "inputs": {"x": X, "y": Y}, "format": "sparse"},
        INPUTS,
        ["/value", "/gradients/x", "/gradients/y", "/hessian/values"],
    ),
    "sparse Jacobian of a sum": Case(
        "jacobian",
        {"expression": "x*y", "inputs": {"x": X, "y": 3}, "format": "sparse", "reduce": "sum"},
        ["/inputs/x"],
        ["/jacobian/values/0"],
    ),
    "hvp": Case(
        "hvp", {**POINTS, "wrt": ["x"], "tangents": {"y": X}}, [*INPUTS, "/tangents/y"], ["/value", "/gradients/x", "/hvp/x"]
    ),
    "check": Case(
        "check",
        {**POINTS, "wrt": ["x"]},
        INPUTS,
        [f"/checks/x/{name}" for name in ("reverse", "forward", "numeric", "relative_error")],
    ),
    "parse": Case("parse", POINTS, INPUTS),
    "graph": Case(
        "graph",
        {"expression": "x*2", "inputs": {"x": X}},
        ["/inputs/x"],
        ["/nodes/0/data", "/nodes/0/grad", "/nodes/1/grad", "/nodes/2/data", "/nodes/2/grad"]
        + ["/edges/0/local_gradient", "/edges/1/local_gradient"],
    ),
    "derivative": Case("derivative", {"expression": "x*y"}, []),
    "code": Case("code", {"expression": "x*y", "language": "c"}, []),
    "a new network": Case("networks", {"inputs": 2, "layers": [3, 1]}, [], in_model("/model")),
    "predict": Case("networks/predict", {"model": MODEL, "inputs": ROWS}, [*in_model("/model"), "/inputs"], ["/outputs"]),
    "network's backward": Case(
        "networks/backward",
        {**TRAINING, "input_gradients": True},
        [*in_model("/model"), *DATA],
        [*in_model("/gradients"), "/input_gradients"],
    ),
    "targets in rows": Case(
        "networks/backward",
        {**TRAINING, "data": {"inputs": ROWS, "targets": [[y] for y in SIGNS]}},
        DATA,
        in_model("/gradients"),
    ),
    "train": Case(
        "networks/train",
        {**TRAINING, "optimizer": {"name": "adam"}, "steps": 3},
        [*in_model("/model"), *DATA],
        in_model("/model", "/state/optimizer/exp_avg", "/state/optimizer/exp_avg_sq"),
    ),
    "network's graph": Case(
        "networks/graph",
        {"model": {"layers": [LAST]}, "inputs": X[:16], "target": [1.0]},
        ["/model/layers/0/weights", "/model/layers/0/biases", "/inputs", "/target"],
    ),
    "decision boundary": Case(
        "networks/decision-boundary",
        {"model": MODEL, "data": {"inputs": ROWS, "targets": SIGNS}, "step": 1},
        [*in_model("/model"), *DATA],
    ),
    "history": Case(
        "networks/history",
        {"history": [{"step": 0, "loss": 1, "accuracy": 0.5}, {"step": 1, "loss": 0.5}]},
        [],
        ["/loss", "/accuracy"],
    ),
    "minimize": Case(
        "minimize",
        {"expression": "(m - x)**2", "inputs": {"x": X}, "initial": {"m": 0}, "trajectory": True},
        ["/inputs/x"],
    ),
    "fit": Case(
        "fit",
        {**FIT, "sigma": [0.1] * 20, "predict": {"x": X, "sigma": X}, "influence": True},
        ["/data/x", "/data/y", "/sigma", "/predict/x", "/predict/sigma"],
        [*FITTED, "/predictions/value", "/predictions/confidence", "/predictions/prediction", "/influence/a", "/influence/k"],
    ),
    "fit with weights": Case("fit", {**FIT, "target": DECAY, "weights": [1.0 + x for x in X]}, ["/target", "/weights"], FITTED),
    "propagate": Case(
        "propagate",
        {"expression": "x*y", "inputs": {"x": {"readings": [5.0 + 0.01 * y for y in Y]}, "y": {"value": 2, "u": 0.1}}},
        ["/inputs/x/readings"],
    ),
}
GIVEN = [(name, place) for name, case in CASES.items() for place in case.given]
BODIES = {"short": b"", "scanned": b" " * 5000}
"""What is added to a body: one that is decoded as a whole, and one that the compiled scanner reads."""


def encoded(numbers: Any) -> dict[str, Any]:
    """A list or rows of numbers in base64."""
    rows = numbers if isinstance(numbers[0], list) else [numbers]
    flat = [number for row in rows for number in row]
    text = base64.b64encode(struct.pack(f"<{len(flat)}d", *flat)).decode()
    return {"float64": text, "shape": [len(rows), len(rows[0])]} if rows is numbers else {"float64": text}


def with_base64(request: dict[str, Any], places: list[str]) -> dict[str, Any]:
    """A request with the lists at these places in base64."""
    for place in places:
        path = tuple(int(step) if step.isdigit() else step for step in place.split("/")[1:])
        request = put(request, path, encoded(resolve(request, place)))
    return request


def decoded(value: Any, place: str, found: list[str]) -> Any:
    """A response with lists in place of base64, where NaN is null. `found` gets the places of base64."""
    if isinstance(value, list):
        return [decoded(entry, f"{place}/{k}", found) for k, entry in enumerate(value)]
    if not isinstance(value, dict):
        return value
    if "float64" not in value:
        return {name: decoded(entry, f"{place}/{name}", found) for name, entry in value.items()}
    found.append(place)
    content = base64.b64decode(value["float64"], validate=True)
    numbers = [None if x != x else x for x in struct.unpack(f"<{len(content) // 8}d", content)]
    if "shape" not in value:
        return numbers
    rows, columns = value["shape"]
    assert rows * columns == len(numbers)
    return [numbers[k * columns : (k + 1) * columns] for k in range(rows)]


def send(post: Post, operation: str, request: dict[str, Any], padding: bytes = b"") -> httpx.Response:
    return post(operation, content=json.dumps(request).encode() + padding)


@for_each("padding", BODIES.values())
@for_each(("name", "place"), GIVEN)
def test_base64_in_a_request_gives_the_bytes_of_the_list(post: Post, name: str, place: str, padding: bytes) -> None:
    case = CASES[name]
    expected = send(post, case.operation, case.request)
    assert expected.status_code == 200, expected.text[:500]
    assert send(post, case.operation, with_base64(case.request, [place]), padding).content == expected.content


@for_each("name", CASES)
def test_base64_in_a_response_holds_the_numbers_of_the_lists(post: Post, name: str) -> None:
    """All lists of the request are in base64 too."""
    case = CASES[name]
    expected = json_of(send(post, case.operation, case.request))
    request = with_base64(case.request, case.given) | {"arrays": "base64"}
    found: list[str] = []
    assert decoded(json_of(send(post, case.operation, request)), "", found) == expected
    assert sorted(found) == sorted(case.answered)


@for_each("case", CASES.values())
def test_lists_are_the_default(post: Post, case: Case) -> None:
    expected = send(post, case.operation, case.request)
    for arrays in ("list", None):
        assert send(post, case.operation, {**case.request, "arrays": arrays}).content == expected.content


REDUCED: dict[str, tuple[str, dict[str, Any]]] = {
    "forward": ("forward", {}),
    "backward": ("backward", {"wrt": ["c"]}),
    "jvp": ("jvp", {"tangents": {"c": 2}}),
    "hvp": ("hvp", {"wrt": ["c"], "tangents": {"c": 2}}),
    "jacobian": ("jacobian", {"wrt": ["c"]}),
    "hessian": ("hessian", {"wrt": ["c"]}),
    "sparse Jacobian": ("jacobian", {"wrt": ["c"], "format": "sparse"}),
    "sparse Hessian": ("hessian", {"wrt": ["c"], "format": "sparse"}),
    "Hessian by nothing": ("hessian", {"wrt": []}),
}


LISTS = {"x": [1.0, 2.0], "y": [3.0, 5.0]}


@for_each(
    ("text", "lists", "total", "mean"),
    [("x*y + c*c", LISTS, 111.0, 55.5), ("c*c", {}, 49.0, 49.0), ("spare = x*y; c*c", LISTS, 98.0, 49.0)],
)
@for_each("name", REDUCED)
def test_reduced_numbers_are_numbers_in_base64_too(
    post: Post, name: str, text: str, lists: dict[str, Any], total: float, mean: float
) -> None:
    operation, fields = REDUCED[name]
    for reduce, expected in (("sum", total), ("mean", mean)):
        request = {"expression": text, "inputs": {**lists, "c": 7}, "reduce": reduce, **fields}
        answer = decoded(json_of(send(post, operation, {**request, "arrays": "base64"})), "", [])
        assert answer == json_of(send(post, operation, request))
        assert (answer["values"]["output"] if operation == "jacobian" else answer["value"]) == expected


@pytest.mark.parametrize("name", ["train", "fit", "minimize"])
def test_results_of_a_stream_follow_the_request_too(post: Post, name: str) -> None:
    case = CASES[name]
    request = with_base64(case.request, case.given) | {"arrays": "base64"}
    expected = send(post, case.operation, request).json()
    response = send(post, f"{case.operation}/stream", request)
    sent = dict(events(iter(response.text.splitlines())))
    assert json.loads(sent["result"]) == expected


def test_response_goes_into_the_next_request(post: Post) -> None:
    """Three steps and two more, in base64, are five steps."""
    request = {**TRAINING, "optimizer": {"name": "adam"}, "arrays": "base64", "log_every": 100}
    first = send(post, "networks/train", {**request, "steps": 3}).json()
    rest = send(post, "networks/train", {**request, "model": first["model"], "state": first["state"], "steps": 2}).json()
    whole = send(post, "networks/train", {**request, "steps": 5}).json()
    assert (rest["model"], rest["state"]) == (whole["model"], whole["state"])


@pytest.mark.parametrize("name", ["moons", "iris"])
def test_rows_of_a_dataset_in_base64(client: httpx.Client, name: str) -> None:
    expected = client.get(f"/v1/datasets/{name}").json()
    response = client.get(f"/v1/datasets/{name}", params={"arrays": "base64"})
    found: list[str] = []
    assert decoded(json_of(response), "", found) == expected and found == ["/inputs", "/targets"]
    assert client.get(f"/v1/datasets/{name}", params={"arrays": "list"}).json() == expected


def test_dataset_in_base64_is_data_of_a_training(client: httpx.Client, post: Post) -> None:
    data = client.get("/v1/datasets/moons", params={"arrays": "base64"}).json()
    plain = client.get("/v1/datasets/moons").json()
    answers = [send(post, "networks/train", {**TRAINING, "data": rows, "steps": 2}).content for rows in (data, plain)]
    assert answers[0] == answers[1]


NULLS = {"expression": "log(x)", "inputs": {"x": [-1.0, 0.0, 1.0]}, "nonfinite": "null"}


NULLABLE = {"forward": {}, "backward": {}, "hessian": {}, "graph": {}, "sparse": {"format": "sparse"}}


@pytest.mark.parametrize(("name", "fields"), NULLABLE.items(), ids=NULLABLE)
def test_nan_stands_for_null(post: Post, name: str, fields: dict[str, Any]) -> None:
    operation, request = name.replace("sparse", "hessian"), {**NULLS, **fields}
    expected = json_of(send(post, operation, request))
    found: list[str] = []
    assert decoded(json_of(send(post, operation, {**request, "arrays": "base64"})), "", found) == expected
    assert found and expected["nonfinite"]


def test_nan_is_the_canonical_one(post: Post) -> None:
    """Quiet, positive and without a payload, so that the same response has the same bytes on every machine."""
    answer = json_of(send(post, "forward", {**NULLS, "arrays": "base64"}))
    assert base64.b64decode(answer["value"]["float64"])[:16] == bytes.fromhex("000000000000f87f") * 2


@pytest.mark.parametrize("coding", ["identity", "gzip"])
@pytest.mark.parametrize("points", [98_303, 98_304, 200_000])
def test_large_response_in_base64_is_whole(post: Post, points: int, coding: str) -> None:
    """It is written in pieces, as it is sent or compressed; 3 * 2**15 numbers are one of them."""
    numbers = [k / 7 for k in range(points)]
    request = {"expression": "x*1", "inputs": {"x": encoded(numbers)}, "wrt": ["x"], "arrays": "base64"}
    response = post("backward", content=json.dumps(request).encode(), headers={"Accept-Encoding": coding})
    assert response.headers.get("content-encoding", "identity") == coding
    answer = json_of(response)
    assert answer["value"] == encoded(numbers) and answer["gradients"] == {"x": encoded([1.0] * points)}


EXTREMES = [0.0, -0.0, 5e-324, -5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, -1.7976931348623157e308]


@pytest.mark.parametrize("repeats", [1, 9], ids=["few", "many"])
def test_extreme_numbers_survive_both_ways(post: Post, repeats: int) -> None:
    """Below 64 points, from which on the gradients' zeros have no sign."""
    numbers = EXTREMES * repeats
    request = {"expression": "neg(neg(x))", "inputs": {"x": encoded(numbers)}}
    answer = json_of(send(post, "forward", {**request, "arrays": "base64"}))
    assert struct.pack(f"<{len(numbers)}d", *numbers) == base64.b64decode(answer["value"]["float64"])
    assert send(post, "forward", request).content == send(post, "forward", {**request, "inputs": {"x": numbers}}).content


@pytest.mark.parametrize("arrays", ["float64", "LIST", 1, True, []], ids=str)
def test_other_form_of_arrays(post: Post, arrays: Any) -> None:
    problem(send(post, "forward", {**POINTS, "arrays": arrays}), "invalid-request", 422, "/arrays")


def test_other_form_of_a_dataset(client: httpx.Client) -> None:
    problem(client.get("/v1/datasets/xor", params={"arrays": "float64"}), "invalid-request", 422)


@for_each("padding", BODIES.values())
@for_each(("name", "place"), GIVEN)
def test_fault_in_base64_is_at_its_place(post: Post, name: str, place: str, padding: bytes) -> None:
    request = with_base64(CASES[name].request, [place])
    broken = resolve(request, place)
    broken["float64"] = broken["float64"][:5] + "*" + broken["float64"][6:]
    body = problem(send(post, CASES[name].operation, request, padding), "invalid-request", 422, f"{place}/float64")
    assert "character 5 (counted from 0)" in body["detail"] and "*" not in body["detail"]


@for_each(("name", "place"), GIVEN)
def test_shape_that_does_not_fit(post: Post, name: str, place: str) -> None:
    request = with_base64(CASES[name].request, [place])
    resolve(request, place)["shape"] = [7, 3]
    problem(send(post, CASES[name].operation, request), "shape-mismatch", 422, f"{place}/shape")


def test_derived_quantity_may_be_called_float64(post: Post) -> None:
    """Its text is an expression, even where it is base64 of sixteen numbers."""
    name = base64.b64encode(struct.pack("<16d", *[1.1] * 16)).decode().rstrip("=").replace("/", "").replace("+", "")
    text = "/".join([name, name[: 169 - 2 * len(name) % 4]])
    derived = {"half_life": "log(2)/k", "float64": "log(2)/k"}
    answer = json_of(send(post, "fit", {**FIT, "derived": derived}, BODIES["scanned"]))
    assert answer["derived"]["float64"] == answer["derived"]["half_life"]
    problem(send(post, "fit", {**FIT, "derived": {"float64": text}}, BODIES["scanned"]))
