"""Every error of the service has its kind; the shapes that no request can bring about from outside are seen here."""

import asyncio
import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import given, settings
from hypothesis import strategies as st

from app.api import problems
from app.api.execution import Execution
from app.api.problems import ENGINE_KINDS, KINDS, FieldError, Problem, details, of_exception, page, pointer
from app.engine import errors
from app.engine.errors import EngineError
from app.main import create_app
from app.settings import Settings


def subclasses(kind: type[EngineError]) -> Iterator[type[EngineError]]:
    for child in kind.__subclasses__():
        yield child
        yield from subclasses(child)


def test_every_engine_error_has_a_kind() -> None:
    """Recursively, and for every package that is loaded."""
    missing = {kind for kind in subclasses(EngineError) if kind.__module__.startswith("app.")} - set(ENGINE_KINDS)
    assert not missing
    assert set(ENGINE_KINDS.values()) <= set(KINDS)


def example(kind: type[EngineError]) -> EngineError:
    return (
        kind("what is wrong", 1, 2) if kind is errors.ExpressionSyntaxError else kind("what is wrong", ("inputs", "a/b~c", 3))
    )  # type: ignore[call-arg]


@pytest.mark.parametrize("kind", [kind for kind in subclasses(EngineError) if kind.__module__ == "app.engine.errors"])
def test_every_engine_error_is_answered(kind: type[EngineError]) -> None:
    problem, headers = of_exception(example(kind))
    assert problem.status == 422 and headers is None
    assert problem.type == f"/problems/{ENGINE_KINDS[kind]}"
    assert "what is wrong" in problem.detail
    assert problem.errors[0].pointer == ("/expression" if kind is errors.ExpressionSyntaxError else "/inputs/a~1b~0c/3")


def test_an_error_without_a_place_has_no_errors() -> None:
    problem, _ = of_exception(errors.UnknownNode("nowhere"))
    assert "errors" not in json.loads(problems.response(problem).body)


def test_the_kinds_are_those_of_the_contract() -> None:
    expected = {
        "invalid-json": 400, "invalid-request": 422, "unknown-node": 422, "duplicate-node": 422, "graph-cycle": 422,
        "unknown-primitive": 422, "wrong-arity": 422, "unbound-input": 422, "syntax-error": 422, "shape-mismatch": 422,
        "non-finite": 422, "too-large": 413, "unauthorized": 401, "not-acceptable": 406, "unsupported-media-type": 415,
        "not-found": 404, "method-not-allowed": 405, "overloaded": 503, "deadline-exceeded": 503, "internal": 500,
    }  # fmt: skip
    assert {name: kind.status for name, kind in KINDS.items()} == expected
    assert all(name == kind.name for name, kind in KINDS.items())


@pytest.mark.parametrize("kind", KINDS.values(), ids=list(KINDS))
def test_every_kind_is_explained(kind: problems.Kind) -> None:
    assert kind.title and not kind.title.endswith(".") and len(kind.title) < 60
    assert kind.meaning.endswith(".") and kind.remedy.endswith(".")
    text = page(kind)
    assert kind.name in text and str(kind.status) in text and len(text) < 4000
    assert not re.search(r"<script|https?://", text)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ((), ""),
        (("inputs", "x"), "/inputs/x"),
        (("expression", "nodes", 3, "args", 1), "/expression/nodes/3/args/1"),
        (("",), "/"),
        (("a/b",), "/a~1b"),
        (("m~n",), "/m~0n"),
        (("~1", "~0", "/"), "/~01/~00/~1"),
        (("é", "日本", "😀"), "/é/日本/😀"),
        ((" ", '"', "\\", "%"), '/ /"/\\/%'),
        (("\ud800",), "/?"),
        ((0,), "/0"),
    ],
)
def test_pointers(path: tuple[str | int, ...], expected: str) -> None:
    assert pointer(path) == expected or path == ("\ud800",) and pointer(path) == "/\ufffd"


def test_a_long_step_is_cut() -> None:
    assert len(pointer(("x" * 100_000, 3))) < 500


@settings(deadline=None)
@given(st.lists(st.text(max_size=30) | st.integers(0, 10**6), max_size=5))
def test_any_pointer_can_be_encoded_and_read_back(path: list[str | int]) -> None:
    written = pointer(tuple(path))
    written.encode("utf-8")
    steps = [step.replace("~1", "/").replace("~0", "~") for step in written.split("/")[1:]]
    assert steps == [str(step).encode("utf-8", "replace").decode() for step in path]


def test_lists_and_texts_are_capped() -> None:
    many = [FieldError(f"/{k}", "x" * 50_000) for k in range(100)]
    problem = details(KINDS["invalid-request"], "y" * 50_000, many)
    assert len(problem.errors) == 20 and problem.errors[0].pointer == "/0"
    assert len(problem.detail) <= 2000
    one = details(KINDS["invalid-request"], "y", many[:1])
    assert len(problems.response(one).body) < 20_000


def test_a_detail_with_lone_surrogates_can_be_sent() -> None:
    body = problems.response(details(KINDS["unknown-node"], "there is no '\ud800'")).body
    assert json.loads(body)["detail"].startswith("there is no")


def test_a_problem_carries_its_headers() -> None:
    found, headers = of_exception(Problem("overloaded", "later", headers={"Retry-After": "1"}))
    assert found.status == 503 and headers == {"Retry-After": "1"}


# --- the application, in process


@pytest.fixture
def app() -> Iterator[FastAPI]:
    app = create_app(Settings())
    app.state.execution = Execution(app.state.settings)
    yield app
    app.state.execution.close()


def ask(app: FastAPI, method: str, path: str, **options: Any) -> httpx.Response:
    async def one() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            return await client.request(method, path, **options)

    return asyncio.run(one())


def test_until_the_kernels_are_ready_the_process_lives_but_is_not_ready(app: FastAPI) -> None:
    assert ask(app, "GET", "/livez").status_code == 200
    response = ask(app, "GET", "/readyz")
    assert response.status_code == 503 and int(response.headers["retry-after"]) >= 1
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["type"] == "/problems/overloaded"
    app.state.execution.ready.set()
    assert ask(app, "GET", "/readyz").status_code == 200


def test_a_computation_waits_for_the_kernels(app: FastAPI) -> None:
    async def both() -> None:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            task = asyncio.create_task(client.post("/v1/forward", json={"expression": "1"}))
            await asyncio.sleep(0.02)
            assert not task.done() and (await client.get("/livez")).status_code == 200
            app.state.execution.ready.set()
            assert (await task).json() == {"output": "output", "value": 1.0}

    asyncio.run(both())


@pytest.mark.parametrize(
    "error",
    [RuntimeError("s3cret"), KeyError("s3cret"), AssertionError("s3cret"), MemoryError("s3cret"), RecursionError("s3cret")],
)
def test_a_defect_is_answered_with_a_request_id_and_nothing_else(
    app: FastAPI, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    app.state.execution.ready.set()

    def fails(*_: Any) -> bytes:
        raise error

    monkeypatch.setattr(app.state.execution, "inline", fails)
    response = ask(app, "POST", "/v1/forward", json={"expression": "1"}, headers={"X-Request-ID": "the-id"})
    assert response.status_code == 500 and response.headers["content-type"] == "application/problem+json"
    assert response.headers["x-request-id"] == "the-id" and "the-id" in response.json()["detail"]
    assert response.json()["type"] == "/problems/internal"
    assert "s3cret" not in response.text and "Error" not in response.text
    assert "the-id" in caplog.text and "s3cret" in caplog.text


def test_a_defect_in_a_get_is_answered_in_the_same_way(app: FastAPI) -> None:
    del app.state.execution.ready
    response = ask(app, "GET", "/readyz")
    assert response.status_code == 500 and response.json()["type"] == "/problems/internal"
    app.state.execution.ready = asyncio.Event()


LINE = {"layers": [{"weights": [[1, 1]], "biases": [0]}]}
TRAIN = {"model": LINE, "data": {"dataset": "xor"}, "loss": "mse"}
WORK: list[tuple[str, dict[str, Any], bool]] = [
    ("backward", {"expression": "x", "inputs": {"x": 1}}, True),
    ("backward", {"expression": "x", "inputs": {"x": [1] * 5000}}, False),
    ("backward", {"expression": "x" + "*x" * 1000, "inputs": {"x": [1] * 1000}}, False),
    ("hessian", {"expression": "x*x", "inputs": {"x": 1}}, True),
    ("hessian", {"expression": "x" + "*x" * 1000, "inputs": {"x": 1}}, False),
    ("check", {"expression": "x", "inputs": {"x": 1}}, False),
    ("networks/predict", {"model": LINE, "inputs": [[1, 2]]}, True),
    ("networks/predict", {"model": {"inputs": 2, "layers": [3000, 1000]}, "inputs": [[1, 2]]}, False),
    ("networks/train", TRAIN | {"steps": 5}, True),
    ("networks/train", TRAIN | {"steps": 10_000}, False),
    ("networks/train", TRAIN | {"steps": 5, "data": {"dataset": "moons"}}, False),
    ("networks/train", TRAIN | {"steps": 5, "data": {"dataset": "spiral", "samples": 50_000}}, False),
    ("networks/backward", TRAIN, True),
    ("hessian", {"expression": "x*x", "inputs": {"x": 1}, "wrt": ["x"] * 1500}, False),
    ("jacobian", {"expression": "f=1*y", "inputs": {"y": 1}, "wrt": ["y"] * 900, "outputs": ["f"] * 900}, False),
    ("hvp", {"expression": "x" + "*x" * 500, "inputs": {"x": 1}, "tangents": {"x": [1] * 2000}}, False),
    ("backward", {"expression": "x" + "*x" * 500, "inputs": {"x": 1}, "cotangent": [1] * 2000}, False),
    ("parse", {"expression": "x" + "*x" * 2000}, False),
    ("graph", {"expression": "-" * 500 + "x", "inputs": {"x": 1}}, False),
    ("networks/train", TRAIN | {"steps": 100, "loss": {"expression": "-" * 3000 + "score**2"}}, False),
    ("networks/train", TRAIN | {"steps": 400, "optimizer": {"learning_rate": "0*(" + "-" * 600 + "step)"}}, False),
    ("networks/backward", TRAIN | {"model": {"inputs": 2, "layers": [1] * 500}}, False),
    ("networks/backward", TRAIN | {"data": {"dataset": "spiral", "samples": 15_000}}, False),
]


@pytest.mark.parametrize(("path", "asked", "inline"), WORK, ids=[row[0] for row in WORK])
def test_what_is_small_is_done_on_the_event_loop(
    app: FastAPI, monkeypatch: pytest.MonkeyPatch, path: str, asked: dict[str, Any], inline: bool
) -> None:
    """And the rest is not, however small the body that asks for it."""
    app.state.execution.ready.set()
    execution = app.state.execution
    seen: list[str] = []
    for name in ("inline", "pooled"):
        way = getattr(execution, name)
        monkeypatch.setattr(execution, name, lambda *given, name=name, way=way: (seen.append(name), way(*given))[1])
    assert ask(app, "POST", f"/v1/{path}", json=asked).status_code == 200
    assert seen == ["inline" if inline else "pooled"]
