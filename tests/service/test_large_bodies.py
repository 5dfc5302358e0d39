"""Large bodies are decoded and validated in pieces, and get the same models and the same errors as if they were not."""

# ruff: noqa: UP031  # JSON has too many braces for str.format

import base64
import contextlib
import json
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from app.api.expressions.expression import NodeList
from app.api.expressions.models import BackwardRequest, HvpRequest, JacobianRequest
from app.api.networks.models import HistoryRequest, NetworkSpec, PredictRequest, TrainRequest
from app.engine import large_json, node_reader, scanner
from app.engine.errors import EngineError
from app.engine.large_json import Sizes
from app.formats import mathjson
from app.formats.mathjson import MathJSON
from app.main import create_app
from app.service import bodies, models, routing
from app.service.models import RequestModel
from app.service.problems import Problem
from app.service.validation import invalid_request
from app.settings import Settings
from tests.conftest import times
from tests.rows import for_each
from tests.service.inprocess import send

Outcome = tuple[Any, ...]


def plainly(body: bytes, model: type[RequestModel]) -> Outcome:
    """The model or the problem, by way of orjson and pydantic alone."""
    try:
        return ("ok", as_plain(model.model_validate(orjson.loads(body))))
    except ValidationError as error:
        return as_outcome(invalid_request(error, model))


def in_pieces(body: bytes, model: type[RequestModel], sizes: Sizes) -> Outcome:
    """The same by way of `parse`, as if the body were very large."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bodies, "SCANNED_BYTES", 0)
        patch.setattr(bodies, "EXPLAINED_BYTES", 0)
        patch.setattr(large_json, "SIZES", sizes)
        patch.setattr(scanner, "BYTES_PER_CHECK", sizes.passed)
        patch.setattr(models, "PIECE_ENTRIES", 3)
        try:
            return ("ok", as_plain(bodies.parse(body, model)))
        except Problem as problem:
            return as_outcome(problem)


def as_outcome(problem: Problem) -> Outcome:
    return (problem.kind.name, problem.detail, [(error.pointer, error.detail) for error in problem.errors])


def as_plain(value: Any) -> Any:
    """A model as plain values."""
    if isinstance(value, BaseModel):
        return {name: as_plain(field) for name, field in value.__dict__.items()}
    if isinstance(value, NodeList):
        return [node._asdict() for node in value.nodes]
    if isinstance(value, MathJSON):
        try:
            return mathjson.read(value.value).nodes
        except EngineError as error:
            return (error.detail, error.place)
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, list):
        return list(map(as_plain, value))
    return {name: as_plain(entry) for name, entry in value.items()} if isinstance(value, dict) else value


NUMBERS = st.integers(-3, 300) | st.floats(-1e9, 1e9) | st.just(1e300)
NAMES = st.sampled_from(["x", "y", "nodes", "inputs", "é", "long" * 20, 'with \\ and "'])
JUNK = st.recursive(
    st.none() | st.booleans() | NUMBERS | NAMES,
    lambda values: st.lists(values, max_size=4) | st.dictionaries(NAMES, values, max_size=4),
    max_leaves=12,
)


def mostly(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """These values, and sometimes anything."""
    return st.integers(0, 9).flatmap(lambda k: JUNK if k == 0 else values)


def lists(values: st.SearchStrategy[Any], most: int = 25) -> st.SearchStrategy[Any]:
    return mostly(st.lists(mostly(values), max_size=most))


def rows(most: int = 12) -> st.SearchStrategy[Any]:
    return st.integers(1, 3).flatmap(
        lambda width: lists(mostly(st.lists(mostly(NUMBERS), min_size=width, max_size=width)), most)
    )


def objects(required: dict[str, Any], optional: dict[str, Any]) -> st.SearchStrategy[Any]:
    fixed = st.fixed_dictionaries(required, optional=optional)
    return mostly(st.tuples(fixed, st.dictionaries(NAMES, JUNK, max_size=2)).map(lambda parts: parts[1] | parts[0]))


def tables(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return mostly(st.dictionaries(NAMES | st.text(max_size=3), mostly(values), max_size=12))


NODES = objects(
    {"id": mostly(NAMES), "op": st.sampled_from(["value", "sin", "sum", "nope"])},
    {"args": lists(NAMES | NUMBERS), "data": mostly(NUMBERS), "label": NAMES},
)
GRAPHS = objects({"nodes": lists(NODES, 6)}, {"output": mostly(NAMES), "outputs": lists(NAMES)})
EXPRESSIONS = mostly(NAMES | GRAPHS)
LAYERS = objects({"weights": rows(4), "biases": lists(NUMBERS, 4)}, {"activation": NAMES})
MODELS = objects({"layers": lists(LAYERS, 3)}, {}) | objects(
    {"inputs": NUMBERS, "layers": lists(NUMBERS)}, {"seed": NUMBERS, "init": NAMES}
)
DATA = objects({}, {"inputs": rows(), "targets": rows() | lists(NUMBERS), "dataset": NAMES, "samples": NUMBERS})
POINTS = NUMBERS | lists(NUMBERS)
REQUESTS: dict[type[RequestModel], st.SearchStrategy[Any]] = {
    BackwardRequest: objects(
        {"expression": EXPRESSIONS},
        {"inputs": tables(POINTS), "wrt": lists(NAMES), "cotangent": mostly(POINTS), "values": JUNK},
    ),
    HvpRequest: objects(
        {"expression": EXPRESSIONS}, {"inputs": tables(POINTS), "tangents": tables(POINTS), "wrt": lists(NAMES)}
    ),
    JacobianRequest: objects({"expression": EXPRESSIONS}, {"outputs": lists(NAMES), "nonfinite": NAMES}),
    PredictRequest: objects({"model": MODELS, "inputs": rows()}, {}),
    NetworkSpec: objects({"inputs": NUMBERS, "layers": lists(NUMBERS)}, {"seed": NUMBERS}),
    HistoryRequest: objects({"history": lists(objects({"step": NUMBERS, "loss": NUMBERS}, {"accuracy": NUMBERS}))}, {}),
    TrainRequest: objects(
        {"model": MODELS, "data": DATA, "loss": mostly(NAMES | objects({"expression": EXPRESSIONS}, {}))},
        {
            "optimizer": objects({"name": NAMES}, {"betas": lists(NUMBERS), "learning_rate": NUMBERS | EXPRESSIONS}),
            "state": objects(
                {"step": NUMBERS},
                {"optimizer": objects({"name": NAMES}, {"momentum_buffer": objects({"layers": lists(LAYERS, 3)}, {})})},
            ),
        },
    ),
}
LAYOUTS = st.sampled_from([{}, {"indent": 2}, {"ensure_ascii": False}, {"separators": (",", ":")}])
SIZES = st.builds(Sizes, st.integers(1, 60), st.integers(1, 60), st.integers(60, 90), st.just(200), st.integers(1, 60))
"""Tokens of values that have been taken out are shorter than large strings."""


@pytest.mark.parametrize("model", REQUESTS)
@times(0.6)
@given(st.data(), LAYOUTS, SIZES)
def test_pieces_change_nothing(model: type[RequestModel], data: st.DataObject, layout: dict[str, Any], sizes: Sizes) -> None:
    body = json.dumps(data.draw(REQUESTS[model]), **layout).encode()
    assert in_pieces(body, model, sizes) == plainly(body, model)


LONG: dict[str, tuple[type[RequestModel], str]] = {
    "many wrong entries": (BackwardRequest, '{"expression": "x", "inputs": {"x": [%s]}}' % ",".join(['""'] * 3000)),
    "a wrong entry late": (BackwardRequest, '{"expression": "x", "inputs": {"x": [%s, ""]}}' % ",".join(["[1]"] * 900)),
    "a wrong number": (BackwardRequest, '{"expression": "x", "inputs": {"x": [%s, []]}}' % ",".join(["1"] * 3000)),
    "many empty rows": (PredictRequest, '{"model": {"layers": []}, "inputs": [%s]}' % ",".join(["[]"] * 3000)),
    "many wrong rows": (PredictRequest, '{"model": {"layers": []}, "inputs": [%s]}' % ",".join(["[null]"] * 3000)),
    "one wrong row": (PredictRequest, '{"model": {"layers": []}, "inputs": [%s, [""]]}' % ",".join(["[1]"] * 3000)),
    "a wrong name late": (BackwardRequest, '{"expression": "x", "wrt": [%s, 3]}' % ",".join(['"x"'] * 3000)),
    "names that are numbers": (BackwardRequest, '{"expression": "x", "wrt": [%s]}' % ",".join(["1"] * 3000)),
    "names that are rows": (BackwardRequest, '{"expression": "x", "wrt": [%s]}' % ",".join(["[1]"] * 3000)),
    "names that are numbers and one": (BackwardRequest, '{"expression": "x", "wrt": [%s, "x"]}' % ",".join(["1"] * 3000)),
    "many unknown fields": (HvpRequest, "{%s}" % ",".join(f'"k{k}": []' for k in range(3000))),
    "as many unknown fields as are listed": (HvpRequest, "{%s}" % ",".join(f'"k{k}": {[0] * k}' for k in range(25))),
    "many neurons": (NetworkSpec, '{"inputs": 1, "layers": [%s, 2.5]}' % ",".join(["5"] * 3000)),
    "neurons and a name": (NetworkSpec, '{"inputs": 1, "layers": [%s, "x"]}' % ",".join(["5"] * 3000)),
    "an input called nodes": (BackwardRequest, '{"expression": "nodes", "inputs": {"nodes": [%s]}}' % ",".join(["5"] * 3000)),
    "a node with many arguments": (
        BackwardRequest,
        '{"expression": {"nodes": [{"id": 3, "op": "sum", "args": [%s]}]}}' % ",".join(["5"] * 3000),
    ),
    "a wrong node late": (
        BackwardRequest,
        '{"expression": {"nodes": [%s, {"id": 3}]}}' % ",".join(f'{{"id": "n{k}", "op": "value"}}' for k in range(3000)),
    ),
    "nodes twice": (
        BackwardRequest,
        '{"expression": {"nodes": [{"id": "x", "op": "value"}], "nodes": [%s]}}' % ",".join("1" * 3000),
    ),
    "five neurons and fields": (
        PredictRequest,
        '{"model": {"inputs": 1, "layers": [%s], %s}}' % (",".join(["5"] * 3000), ",".join(f'"k{k}": 1' for k in range(99))),
    ),
}


@for_each(("model", "text"), LONG.values())
@for_each("piece", [500, 1 << 18])
def test_long_lists_get_the_errors_of_plain_ones(model: type[RequestModel], text: str, piece: int) -> None:
    sizes = Sizes(piece=piece, container=100, string=100, key=200, passed=1000)
    assert in_pieces(text.encode(), model, sizes) == plainly(text.encode(), model)


NOT_JSON: dict[str, str] = {
    "cut off": '{"expression": "x", "inputs": {%s' % ",".join(f'"k{k}": 1' for k in range(3000)),
    "in the last entry": '{"expression": "x", "inputs": {%s, "x": }}' % ",".join(f'"k{k}": 1' for k in range(3000)),
    "on line 3": '{"expression":\n "x", "é": ["😀",\n%s, tru]}' % ",".join(["[1]"] * 3000),
    "in a long string": '{"expression": "%s\\x"}' % ("é" * 30_000),
    **{f"before {k} bytes and long characters": '{"expression": "\\x%s"}' % ("a" * k + "😀" * 15_000) for k in range(4)},
    "behind a long number": '{"a": [0.%s x]}' % ("1" * 5000),
    "half a character": '{"a": [%s], "b": "\\ud800"}' % ",".join(["1"] * 3000),
    "in a node": '{"nodes": [%s, {"id": nul}]}' % ",".join(["{}"] * 3000),
    "behind the end": '{"a": [%s]} {}' % ",".join(["1"] * 3000),
}


@pytest.mark.parametrize("text", NOT_JSON.values(), ids=NOT_JSON)
@pytest.mark.parametrize("size", [10, 1000, 1 << 20])
def test_fault_of_a_large_body_is_described_as_orjson_does(monkeypatch: pytest.MonkeyPatch, text: str, size: int) -> None:
    monkeypatch.setattr(bodies, "EXPLAINED_BYTES", 0)
    monkeypatch.setattr(bodies, "SLICE_BYTES", size)
    monkeypatch.setattr(scanner, "BYTES_PER_CHECK", size)
    with pytest.raises(orjson.JSONDecodeError) as whole:
        orjson.loads(text)
    with pytest.raises(Problem) as caught:
        bodies.parse(text.encode(), BackwardRequest)
    assert caught.value.kind.name == "invalid-json"
    assert caught.value.detail == f"the body is not JSON that can be read: {whole.value}"


@pytest.mark.parametrize("number", ["1e999", "-1e999", "9" * 400])
def test_number_beyond_doubles_in_a_large_body_is_json(monkeypatch: pytest.MonkeyPatch, number: str) -> None:
    """As in a small one, but for the path to its place, for which the body would have to be decoded."""
    text = '{"a": [%s,\n {"b": %s}]}' % (",".join(["{}"] * 3000), number)
    monkeypatch.setattr(bodies, "EXPLAINED_BYTES", 0)
    with pytest.raises(Problem) as caught:
        bodies.parse(text.encode(), BackwardRequest)
    assert (caught.value.kind.name, caught.value.kind.status) == ("invalid-request", 422)
    place = f"line 2 column 8 (char {text.index(number)})"
    assert caught.value.detail == f"expected a finite number, found one beyond 1.8e308: {place}"


@pytest.mark.parametrize("is_large", [False, True], ids=["a mebibyte", "more"])
def test_large_body_with_a_mistake_is_not_decoded_whole(monkeypatch: pytest.MonkeyPatch, is_large: bool) -> None:
    """That would take many times its memory, and no other thread would run meanwhile. The mistake is found all the same."""
    start = b'{"expression": "x", "nope": 1, "inputs": {"x": [0'
    body = start + b",0" * ((bodies.EXPLAINED_BYTES - len(start) - 3) // 2) + b"]}}"
    body = body.ljust(bodies.EXPLAINED_BYTES + is_large)
    decoded: list[int] = []
    loads = orjson.loads

    def noted(text: bytes) -> Any:
        decoded.append(len(text))
        return loads(text)

    monkeypatch.setattr(orjson, "loads", noted)
    with pytest.raises(Problem, match="'nope'"):
        bodies.parse(body, BackwardRequest)
    assert (len(body) in decoded) is not is_large


@pytest.mark.parametrize("slash", ["/", "\\/"], ids=["plain", "escaped"])
def test_large_base64_is_not_decoded_with_the_whole_body(monkeypatch: pytest.MonkeyPatch, slash: str) -> None:
    numbers = np.random.default_rng(5).normal(size=200_000)
    text = base64.b64encode(numbers.tobytes()).decode().replace("/", slash)
    body = b'{"expression": "x", "inputs": {"x": {"float64": "%s"}}}' % text.encode()
    longest = 0
    loads = orjson.loads

    def noted(part: bytes) -> Any:
        nonlocal longest
        longest = max(longest, len(part))
        return loads(part)

    monkeypatch.setattr(orjson, "loads", noted)
    request = bodies.parse(body, BackwardRequest)
    assert request.inputs is not None and np.array_equal(np.asarray(request.inputs["x"]), numbers)
    assert longest < len(body) // 2


@pytest.mark.parametrize("count", [30, 200_000], ids=["small", "large"])
def test_broken_base64_hides_no_other_fault(count: int) -> None:
    text = base64.b64encode(bytes(8 * count)).decode()
    body = {"expression": "x", "inputs": {"x": {"float64": f"{text[:20]}!{text[21:]}", "shap": [count]}}, "nope": 1}
    with pytest.raises(Problem) as caught:
        bodies.parse(json.dumps(body).encode(), BackwardRequest)
    assert [error.pointer for error in caught.value.errors] == ["/inputs/x/float64", "/inputs/x/shap", "/nope"]


def test_nesting_that_is_too_deep_is_described_as_orjson_does() -> None:
    with pytest.raises(Problem) as caught:
        bodies.parse(b"[" * (bodies.EXPLAINED_BYTES + 1), BackwardRequest)
    assert caught.value.detail.endswith("can be read: depth limit exceeded: line 1 column 1026 (char 1025)")


ENTRIES = ",".join(f'"k{k}": [{k}]' for k in range(40_000))
STOPPED: dict[str, str] = {
    "points": '{"expression": "x", "inputs": {"x": [%s]}}' % ",".join(["1"] * 3_000_000),
    "inputs": '{"expression": "x", "inputs": {%s}}' % ENTRIES,
    "unknown fields": '{"expression": "x", %s}' % ENTRIES,
    "nodes": '{"expression": {"nodes": [%s]}}' % ",".join(f'{{"id": "n{k}", "op": "value"}}' for k in range(40_000)),
    "wrong nodes": '{"expression": {"nodes": [%s, 3]}}' % ",".join(f'{{"id": "n{k}", "op": "value"}}' for k in range(40_000)),
    "not JSON": '{"expression": "x", "inputs": {%s' % ENTRIES,
}


@pytest.mark.parametrize("text", STOPPED.values(), ids=STOPPED)
def test_every_check_can_stop_the_decoding(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Wherever the deadline passes, decoding ends with what the check has raised."""
    body = text.encode()
    for reader in (scanner, node_reader):
        monkeypatch.setattr(reader, "BYTES_PER_CHECK", 1 << 18)
    checks = 0

    def count() -> None:
        nonlocal checks
        checks += 1

    with contextlib.suppress(Problem):
        bodies.parse(body, BackwardRequest, count)
    assert checks >= 4
    for last in range(1, checks + 1, max(checks // 10, 1)):
        left = iter(range(1, last))

        def check(left: Iterator[int] = left) -> None:
            if next(left, None) is None:
                raise TimeoutError

        with pytest.raises(TimeoutError):
            bodies.parse(body, BackwardRequest, check)


class Entry:
    """Something that notes how many others are left when nothing refers to it any more."""

    def __init__(self, left: list[int], among: list[Any] | dict[str, Any]) -> None:
        self.left, self.among = left, among

    def __del__(self) -> None:
        self.left.append(len(self.among))


def test_a_request_is_taken_apart_piece_by_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its large lists and objects are emptied, also those of the models within it."""
    monkeypatch.setattr(models, "PIECE_ENTRIES", 3)

    class Inner(BaseModel):
        names: dict[str, Any]

    class Outer(BaseModel):
        rows: list[Any]
        inner: Inner
        number: float

    left_of_rows: list[int] = []
    left_of_names: list[int] = []
    rows: list[Any] = []
    names: dict[str, Any] = {}
    rows += [Entry(left_of_rows, rows) for _ in range(8)]
    names |= {str(k): Entry(left_of_names, names) for k in range(4)}
    request = Outer.model_construct(rows=rows, inner=Inner.model_construct(names=names), number=1.0)
    models.take_apart(request)
    assert left_of_rows == [5, 5, 5, 2, 2, 2, 0, 0] and left_of_names == [3, 2, 1, 0]


@pytest.mark.parametrize("size", [1 << 20, (1 << 20) + 1])
def test_request_of_more_than_a_mebibyte_is_taken_apart(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    taken: list[BaseModel] = []
    monkeypatch.setattr(routing, "take_apart", taken.append)
    body = b'{"expression": "x", "inputs": {"x": 1}}'.ljust(size)
    response = send(create_app(Settings()), "POST", "/v1/forward", content=body)
    assert response.status_code == 200 and len(taken) == (size > 1 << 20)


def test_entries_before_a_fault_are_freed(monkeypatch: pytest.MonkeyPatch) -> None:
    emptied: list[int] = []
    empty = models._empty

    def noted(entries: list[Any]) -> None:
        emptied.append(len(entries))
        empty(entries)

    monkeypatch.setattr(models, "_empty", noted)
    row = '{"step": 1, "loss": 2, "data_loss": 3}'
    body = '{"history": [%s, {}]}' % ", ".join([row] * 10_000)
    with pytest.raises(Problem):
        bodies.parse(body.encode(), HistoryRequest)
    assert len(emptied) == 1 and emptied[0] > 1000


def test_deadline_is_checked_between_the_pieces_of_an_object(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each piece is validated in one go, so there is one check for each."""
    checks = []
    for entries in (10_000, 1_000):
        monkeypatch.setattr(models, "PIECE_ENTRIES", entries)
        seen: list[None] = []
        with contextlib.suppress(Problem):
            bodies.parse(STOPPED["inputs"].encode(), BackwardRequest, partial(seen.append, None))
        checks.append(len(seen))
    assert checks[1] - checks[0] == 40 - 4
