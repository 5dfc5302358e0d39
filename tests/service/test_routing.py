"""The route of computations: what it requires of a function, where it runs it, and how it writes the answer."""

import asyncio
import gzip
import json
import threading
import time
from collections.abc import Iterator
from typing import Annotated, Any

import httpx
import numpy as np
import pytest
from fastapi import APIRouter, FastAPI, Query, Request, Response
from prometheus_client.registry import REGISTRY
from starlette.types import Message, Receive, Scope, Send

from app.main import create_app
from app.service.execution import INLINE_BYTES, Job
from app.service.models import Items, RequestModel, ResponseModel
from app.service.problems import Problem
from app.service.routing import (
    PNG,
    ComputationRoute,
    FileResponse,
    PrefixRouter,
    computation,
    file_response,
)
from app.settings import Settings
from tests.rows import for_each
from tests.service.fake_time import Clock
from tests.service.inprocess import running, send, service


class Count(RequestModel):
    """How many numbers to send."""

    model_config = {"strict": False}

    count: int
    seconds: float = 0.0


class Numbers(ResponseModel):
    """Numbers, and the thread that made them."""

    numbers: Any
    thread: str


def numbers_app(**settings: Any) -> FastAPI:
    """An application that counts, takes as long as it is told to estimate, and can write text."""
    router = APIRouter(route_class=ComputationRoute)

    @router.post("/count")
    @computation(
        estimate_seconds=lambda request: request.seconds,
        renderings={"text/plain": lambda answer: " ".join(map(str, answer.numbers.tolist())).encode()},
    )
    def count(request: Count, job: Job) -> Numbers:
        """Counts."""
        job.facts["points"] = request.count
        return Numbers(numbers=np.arange(float(request.count)), thread=threading.current_thread().name)

    @router.post("/gradients")
    @computation(estimate_seconds=lambda request: request.seconds, needs_gradients_only=True)
    def gradients(request: Count, job: Job) -> Numbers:
        """Counts, too."""
        return count(request, job)

    @router.get("/count")
    @computation(estimate_seconds=lambda request: request.seconds)
    def counted(request: Annotated[Count, Query()], job: Job) -> Numbers:
        """Counts what the query says."""
        return count(request, job)

    return service(router, settings=Settings(**settings))


def thread_of(app: FastAPI, **options: Any) -> str:
    """Whether a request is computed on the loop or in the pool."""
    response = send(app, "POST", "/count", **options)
    assert response.status_code == 200
    return "pool" if response.json()["thread"].startswith("compute") else "loop"


BODY = b'{"count": 3}'


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"content": BODY}, "loop"),
        ({"content": BODY.ljust(INLINE_BYTES)}, "loop"),
        ({"content": BODY.ljust(INLINE_BYTES + 1)}, "pool"),
        ({"content": gzip.compress(BODY), "headers": {"Content-Encoding": "gzip"}}, "pool"),
        ({"json": {"count": 3, "seconds": 0.0009}}, "loop"),
        ({"json": {"count": 3, "seconds": 0.0011}}, "pool"),
    ],
    ids=["small", "at the limit", "large", "gzip", "estimated as short", "estimated as long"],
)
def test_small_and_short_work_runs_on_the_loop(options: dict[str, Any], expected: str) -> None:
    assert thread_of(numbers_app(), **options) == expected


def test_function_without_options_takes_json_alone() -> None:
    router = APIRouter(route_class=ComputationRoute)

    @router.post("/count")
    def count(request: Count) -> Numbers:
        return Numbers(numbers=np.arange(float(request.count)), thread="")

    app = service(router)
    assert send(app, "POST", "/count", content=BODY, headers={"Content-Type": "application/json"}).status_code == 200
    assert send(app, "POST", "/count", content=BODY, headers={"Content-Type": "text/plain"}).status_code == 415


@pytest.mark.parametrize("body", [BODY, BODY.ljust(INLINE_BYTES + 1)], ids=["on the loop", "in the pool"])
def test_rendering_in_pieces(body: bytes) -> None:
    router = APIRouter(route_class=ComputationRoute)

    @router.post("/count")
    @computation(renderings={"text/plain": lambda answer: (b"%d " % number for number in answer.numbers)})
    def count(request: Count) -> Numbers:
        return Numbers(numbers=np.arange(float(request.count)), thread="")

    assert send(service(router), "POST", "/count", content=body, headers={"Accept": "text/plain"}).text == "0 1 2 "


def test_function_without_options_ends_with_its_deadline() -> None:
    router = APIRouter(route_class=ComputationRoute)

    @router.post("/count")
    def count(request: Count) -> Numbers:
        time.sleep(0.2)
        return Numbers(numbers=np.arange(float(request.count)), thread="")

    body = BODY.ljust(INLINE_BYTES + 1)
    for seconds, status in ((30.0, 200), (0.05, 503)):
        app = service(router, settings=Settings(compute_timeout_s=seconds))
        assert send(app, "POST", "/count", content=body).status_code == status


def test_get_is_computed_in_the_pool() -> None:
    """It has no body, so that what is said of one does not matter."""
    response = send(numbers_app(), "GET", "/count?count=1000", headers={"Content-Type": "text/plain"})
    assert response.status_code == 200 and response.headers["content-encoding"] == "gzip"
    assert response.json()["numbers"] == list(range(1000)) and response.json()["thread"].startswith("compute")


def test_get_is_validated_by_fastapi_and_negotiated() -> None:
    refused = send(numbers_app(), "GET", "/count?count=x")
    assert refused.status_code == 422 and "'count'" in refused.json()["detail"]
    assert send(numbers_app(), "GET", "/count?count=1", headers={"Accept": "image/png"}).status_code == 406


@pytest.mark.parametrize("accept", ["text/plain", "text/*;q=0.5"])
def test_rendering_by_accept(accept: str) -> None:
    response = send(numbers_app(), "POST", "/count", json={"count": 3}, headers={"Accept": accept})
    assert response.text == "0.0 1.0 2.0" and response.headers["content-type"].startswith("text/plain")


@pytest.mark.parametrize(("count", "compressed"), [(3, False), (200, False), (300, True), (3000, True)])
def test_long_response_is_compressed_for_clients_that_accept_it(count: int, compressed: bool) -> None:
    """One that fits into a packet of Ethernet is not: with its head of TCP/IP it has at most 1,500 bytes."""
    app = numbers_app()
    plain = send(app, "POST", "/count", json={"count": count}, headers={"Accept-Encoding": "identity"})
    zipped = send(app, "POST", "/count", json={"count": count}, headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in plain.headers and (len(plain.content) > 1460) == compressed
    assert (zipped.headers.get("content-encoding") == "gzip") == compressed
    assert zipped.json() == plain.json()
    assert plain.headers["vary"] == zipped.headers["vary"] == "Accept, Accept-Encoding"  # it has another rendering too


class SlowRows:
    """A long list of which each part takes a second to write."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def __len__(self) -> int:
        return 2_000_000

    def json_rows(self, low: int, high: int) -> list[int]:
        self.clock.now += 1.0
        return [0] * (high - low)


@pytest.mark.parametrize(("ends_early", "status"), [(False, 503), (True, 200)], ids=["late", "ended in time"])
def test_deadline_holds_while_the_answer_is_written(clock: Clock, ends_early: bool, status: int) -> None:
    """Of work that has ended early to be in time, the answer is written; else the deadline ends the writing too."""
    router = APIRouter(route_class=ComputationRoute)

    @router.post("/slow")
    @computation(estimate_seconds=lambda request: 1.0, ends_early=ends_early)
    def slow(request: Count, job: Job) -> Numbers:
        return Numbers(numbers=SlowRows(clock), thread="")

    began = clock.now
    response = send(service(router, settings=Settings(compute_timeout_s=30.0)), "POST", "/slow", json={"count": 1})
    assert response.status_code == status
    if status == 503:
        assert response.json()["type"] == "/problems/deadline-exceeded"
        assert clock.now - began <= 32.0
    else:
        assert response.json()["numbers"] == [0] * 2_000_000 and clock.now - began > 32.0


@pytest.mark.parametrize(("seconds", "ends_early", "status"), [(29.9, False, 200), (30.1, False, 503), (30.1, True, 200)])
def test_small_answer_that_is_late_is_none(clock: Clock, seconds: float, ends_early: bool, status: int) -> None:
    """However long its work was without looking at the time."""
    router = APIRouter(route_class=ComputationRoute)

    @router.post("/slow")
    @computation(estimate_seconds=lambda request: 1.0, ends_early=ends_early)
    def slow(request: Count, job: Job) -> Numbers:
        clock.now += seconds
        return Numbers(numbers=[1.0], thread="")

    response = send(service(router, settings=Settings(compute_timeout_s=30.0)), "POST", "/slow", json={"count": 1})
    assert response.status_code == status
    assert status == 200 or response.json()["type"] == "/problems/deadline-exceeded"


@pytest.mark.parametrize("coding", ["identity", "gzip"])
@pytest.mark.parametrize(("seconds", "ends_early", "status"), [(0.2, False, 200), (0.4, False, 503), (0.4, True, 200)])
def test_deadline_holds_while_another_media_type_is_written(
    clock: Clock, seconds: float, ends_early: bool, status: int, coding: str
) -> None:
    def rows(answer: Numbers) -> Iterator[bytes]:
        for _ in range(100):
            clock.now += seconds
            yield b"row\n"

    router = APIRouter(route_class=ComputationRoute)

    @router.post("/slow")
    @computation(estimate_seconds=lambda request: 1.0, ends_early=ends_early, renderings={"text/plain": rows})
    def slow(request: Count, job: Job) -> Numbers:
        return Numbers(numbers=[1.0], thread="")

    app, began = service(router, settings=Settings(compute_timeout_s=30.0)), clock.now
    headers = {"Accept": "text/plain", "Accept-Encoding": coding}
    response = send(app, "POST", "/slow", json={"count": 1}, headers=headers)
    assert response.status_code == status
    if status == 200:
        assert response.content == b"row\n" * 100 and response.headers["content-type"].startswith("text/plain")
    else:
        assert response.json()["type"] == "/problems/deadline-exceeded" and clock.now - began < 31.0


@pytest.mark.parametrize("accept", ["application/json", "text/plain", "image/png", "application/octet-stream"])
def test_response_holds_as_much_memory_as_it_has_bytes(accept: str) -> None:
    """While it is sent; what its computation has held is free by then."""
    router = APIRouter(route_class=ComputationRoute)

    def draw(request: Count, job: Job) -> bytes:
        job.reserve(1e6)
        return b"x" * 500

    @router.post("/numbers")
    @computation(
        estimate_seconds=lambda request: 1.0, renderings={"text/plain": lambda answer: iter([b"x" * 500])}, pictures={PNG: draw}
    )
    def numbers(request: Count, job: Job) -> Numbers:
        job.reserve(1e6)
        return Numbers(numbers=[1.0] * 100, thread="")

    @router.post("/file")
    @computation(estimate_seconds=lambda request: 1.0, file=True)
    def file(request: Count, job: Job) -> FileResponse:
        job.reserve(1e6)
        return file_response([b"x" * 500], "x.bin")

    app = service(router)
    held: list[int] = []

    async def observed(scope: Scope, receive: Receive, send: Send) -> None:
        async def observe(message: Message) -> None:
            if message["type"] == "http.response.body":
                held.append(app.state.execution.budget.used)
            await send(message)

        await app(scope, receive, observe)

    async def respond() -> httpx.Response:
        async with running(app), httpx.AsyncClient(transport=httpx.ASGITransport(observed), base_url="http://test") as client:
            path = "/file" if accept.endswith("stream") else "/numbers"
            return await client.post(path, json={"count": 1}, headers={"Accept": accept, "Accept-Encoding": "identity"})

    response = asyncio.run(respond())
    assert response.status_code == 200 and set(held) == {len(response.content)}
    assert app.state.execution.budget.used == 0


class SlowRow(SlowRows):
    """The same of one part."""

    def __len__(self) -> int:
        return 1


@pytest.mark.parametrize("estimate", [0.0, 1.0], ids=["on the loop", "in the pool"])
def test_time_of_each_phase(clock: Clock, estimate: float) -> None:
    router = APIRouter(route_class=ComputationRoute)

    @router.post("/slow")
    @computation(estimate_seconds=lambda request: estimate)
    def slow(request: Count, job: Job) -> Numbers:
        clock.now += 3.0
        return Numbers(numbers=SlowRow(clock), thread="")

    def seconds(phase: str) -> float:
        return REGISTRY.get_sample_value("autodiff_phase_seconds_sum", {"phase": phase}) or 0.0

    before = seconds("compute"), seconds("encode")
    assert send(service(router), "POST", "/slow", json={"count": 1}).status_code == 200
    spent = seconds("compute") - before[0], seconds("encode") - before[1]
    assert spent == pytest.approx((3.0, 1.0), abs=1e-9)


class Table(RequestModel):
    """Rows."""

    rows: Items[dict[str, int]]


@pytest.mark.parametrize(("rows", "left"), [(10_000, 10_000), (140_000, 0)], ids=["100 KB", "over a megabyte"])
def test_large_request_is_taken_apart_when_it_is_answered(rows: int, left: int) -> None:
    """Also one that is refused: what it held would be freed at once otherwise, while no other thread runs."""
    router = APIRouter(route_class=ComputationRoute)
    seen: list[Table] = []

    @router.post("/table")
    @computation(estimate_seconds=lambda request: 1.0)
    def table(request: Table) -> Numbers:
        seen.append(request)
        if request.rows[0]["k"]:
            raise Problem("invalid-request", "k is not 0")
        return Numbers(numbers=len(request.rows), thread="")

    for k, status in ((0, 200), (1, 422)):
        response = send(service(router), "POST", "/table", json={"rows": [{"k": k}] * rows})
        assert response.status_code == status and len(seen[-1].rows) == left
        assert status == 422 or response.json()["numbers"] == rows


@pytest.mark.parametrize("accept_encoding", ["identity", "gzip"])
def test_long_response_in_pieces_has_its_length(accept_encoding: str) -> None:
    """It is not sent in chunks, so that a client can show how far it is."""
    headers = {"Accept-Encoding": accept_encoding}
    response = send(numbers_app(), "POST", "/count", json={"count": 200_000, "seconds": 1.0}, headers=headers)
    assert response.json()["numbers"] == list(range(200_000))
    assert "transfer-encoding" not in response.headers
    if accept_encoding == "identity":
        assert int(response.headers["content-length"]) == len(response.content) > 1_000_000
    else:
        assert response.headers["content-encoding"] == "gzip"
        assert 1000 < int(response.headers["content-length"]) < len(response.content) / 2


def test_computation_waits_until_the_kernels_are_ready() -> None:
    async def test() -> None:
        app = numbers_app()
        async with running(app, ready=False) as client:
            task = asyncio.create_task(client.post("/count", content=BODY))
            await asyncio.sleep(0.02)
            assert not task.done()
            app.state.execution.ready.set()
            assert (await task).json()["numbers"] == [0.0, 1.0, 2.0]

    asyncio.run(test())


@pytest.mark.parametrize(("path", "spaces"), [("/gradients", 0), ("/gradients", 5000), ("/count", 0)])
def test_only_small_requests_for_gradients_are_answered_before_all_kernels_are_ready(path: str, spaces: int) -> None:
    """They run in the pool, where a kernel that is still to compile does not stop the loop."""
    is_early = path == "/gradients" and not spaces

    async def test() -> None:
        app = numbers_app()
        async with running(app, ready=False) as client:
            task = asyncio.create_task(client.post(path, content=BODY + b" " * spaces))
            await asyncio.sleep(0.02)
            assert not task.done()
            app.state.execution.gradients_ready.set()
            if is_early:
                assert (await task).json()["thread"].startswith("compute")
            await asyncio.sleep(0.02)
            assert task.done() == is_early
            app.state.execution.ready.set()
            assert (await task).json()["numbers"] == [0.0, 1.0, 2.0]

    asyncio.run(test())


@pytest.mark.parametrize("path", ["/gradients", "/count"])
def test_request_that_waits_for_kernels_is_answered_before_a_shutdown_ends(path: str) -> None:
    async def test() -> None:
        app = numbers_app(shutdown_s=2.0)  # the last two of which belong to the answers
        async with running(app, ready=False) as client:
            task = asyncio.create_task(client.post(path, content=BODY))
            await asyncio.sleep(0.02)
            app.state.execution.drain()
            response = await asyncio.wait_for(task, 60)
        assert response.status_code == 503 and response.headers["retry-after"] == "1"
        assert response.json()["type"] == "/problems/deadline-exceeded" and "shutting down" in response.json()["detail"]

    asyncio.run(test())


def test_kernels_that_are_loaded_during_a_shutdown_answer_what_waits_for_them() -> None:
    async def test() -> None:
        app = numbers_app(shutdown_s=60.0)
        async with running(app, ready=False) as client:
            task = asyncio.create_task(client.post("/count", content=BODY))
            await asyncio.sleep(0.02)
            app.state.execution.drain()
            await asyncio.sleep(1.0)
            app.state.execution.ready.set()
            assert (await asyncio.wait_for(task, 60)).json()["numbers"] == [0.0, 1.0, 2.0]

    asyncio.run(test())


@pytest.mark.parametrize("ready", [False, True], ids=["not ready", "ready"])
def test_process_lives_before_it_is_ready(ready: bool) -> None:
    app = create_app(Settings())
    assert send(app, "GET", "/livez", ready=ready).status_code == 200
    response = send(app, "GET", "/readyz", ready=ready)
    assert response.status_code == (200 if ready else 503)
    if not ready:
        assert int(response.headers["retry-after"]) >= 1 and response.json()["type"] == "/problems/overloaded"


@pytest.mark.alone
def test_deadline_runs_from_the_request() -> None:
    router = APIRouter(route_class=ComputationRoute)

    @router.post("/wait")
    @computation(estimate_seconds=lambda request: 1.0)
    def wait(request: Count, job: Job) -> Numbers:
        for _ in range(1000):
            time.sleep(0.005)
            job.check()
        raise AssertionError("the job went on past its deadline")

    response = send(service(router, settings=Settings(compute_timeout_s=0.05)), "POST", "/wait", content=BODY)
    assert response.status_code == 503 and response.json()["type"] == "/problems/deadline-exceeded"


def test_function_needs_one_request_model() -> None:
    router = APIRouter(route_class=ComputationRoute)

    def without(x: int) -> Numbers:
        raise NotImplementedError

    def with_two(first: Count, second: Count) -> Numbers:
        raise NotImplementedError

    with pytest.raises(TypeError, match="without must have one parameter that is a RequestModel, and has 0"):
        router.post("/without")(without)
    with pytest.raises(TypeError, match="and has 2"):
        router.post("/with-two")(with_two)


def test_document_shows_request_response_and_renderings() -> None:
    operation = numbers_app().openapi()["paths"]["/count"]["post"]
    assert operation["requestBody"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Count"}
    assert operation["requestBody"]["required"] is True
    success = operation["responses"]["200"]["content"]
    assert success["application/json"]["schema"] == {"$ref": "#/components/schemas/Numbers"}
    assert success["text/plain"]["schema"] == {"type": "string"}
    assert "parameters" not in operation and operation["description"] == "Counts."


LINE = {"layers": [{"weights": [[1, 1]], "biases": [0]}]}
TRAIN = {"model": LINE, "data": {"dataset": "xor"}, "loss": "mse"}
WORK: dict[str, tuple[str, dict[str, Any], str]] = {
    "one point": ("backward", {"expression": "x", "inputs": {"x": 1}}, "loop"),
    "1,000 nodes at 1,000 points": ("backward", {"expression": "x" + "*x" * 1000, "inputs": {"x": [1] * 1000}}, "pool"),
    "small Hessian": ("hessian", {"expression": "x*x", "inputs": {"x": 1}}, "loop"),
    "large Hessian": ("hessian", {"expression": "x" + "*x" * 1000, "inputs": {"x": 1}}, "pool"),
    "check": ("check", {"expression": "x", "inputs": {"x": 1}}, "pool"),
    "prediction": ("networks/predict", {"model": LINE, "inputs": [[1, 2]]}, "loop"),
    "wide prediction": ("networks/predict", {"model": {"inputs": 2, "layers": [2000, 1]}, "inputs": [[1, 2]]}, "pool"),
    "5 steps": ("networks/train", TRAIN | {"steps": 5}, "loop"),
    "10,000 steps": ("networks/train", TRAIN | {"steps": 10_000}, "pool"),
    "dataset of a library": ("networks/train", TRAIN | {"steps": 5, "data": {"dataset": "moons"}}, "pool"),
    "50,000 rows": ("networks/train", TRAIN | {"steps": 5, "data": {"dataset": "spiral", "samples": 50_000}}, "pool"),
    "gradients": ("networks/backward", TRAIN, "loop"),
    "1,500 names in wrt": ("hessian", {"expression": "x*x", "inputs": {"x": 1}, "wrt": ["x"] * 1500}, "pool"),
    "900 outputs": (
        "jacobian",
        {"expression": "f=1*y", "inputs": {"y": 1}, "wrt": ["y"] * 900, "outputs": ["f"] * 900},
        "pool",
    ),
    "2,000 tangents": ("hvp", {"expression": "x" + "*x" * 500, "inputs": {"x": 1}, "tangents": {"x": [1] * 2000}}, "pool"),
    "2,000 cotangents": ("backward", {"expression": "x" + "*x" * 500, "inputs": {"x": 1}, "cotangent": [1] * 2000}, "pool"),
    "long text": ("parse", {"expression": "x" + "*x" * 2000}, "pool"),
    "drawing": ("graph", {"expression": "-" * 500 + "x", "inputs": {"x": 1}}, "pool"),
    "long loss": ("networks/train", TRAIN | {"steps": 100, "loss": {"expression": "-" * 3000 + "score**2"}}, "pool"),
    "long learning rate": (
        "networks/train",
        TRAIN | {"steps": 400, "optimizer": {"learning_rate": "0*(" + "-" * 600 + "step)"}},
        "pool",
    ),
    "500 layers": ("networks/backward", TRAIN | {"model": {"inputs": 2, "layers": [1] * 500}}, "pool"),
    "15,000 rows": ("networks/backward", TRAIN | {"data": {"dataset": "spiral", "samples": 15_000}}, "pool"),
    "small source": ("networks/export", {"model": LINE, "format": "c"}, "loop"),
    "large source": ("networks/export", {"model": {"inputs": 2, "layers": [1000, 1]}, "format": "c"}, "pool"),
    "network as an expression": ("networks/graph", {"model": LINE, "inputs": [1, 2]}, "pool"),
    "grid": ("networks/decision-boundary", {"model": LINE, "step": 1}, "pool"),
    "derivative": ("derivative", {"expression": "x*x"}, "pool"),
    "source code": ("code", {"expression": "x*x", "language": "c"}, "pool"),
    "search": ("minimize", {"expression": "x*x", "initial": {"x": 1}}, "pool"),
    "fit": ("fit", {"expression": "a*x", "parameters": {"a": 1}, "data": {"x": [1, 2]}, "target": [2, 4]}, "pool"),
    "propagation": ("propagate", {"expression": "x", "inputs": {"x": {"value": 1, "u": 1}}}, "loop"),
    "propagated distributions": (
        "propagate",
        {"expression": "x", "inputs": {"x": {"value": 1, "u": 1}}, "monte_carlo": {"samples": 100_000}},
        "pool",
    ),
}


@pytest.mark.parametrize(("path", "body", "expected"), WORK.values(), ids=WORK)
def test_where_requests_of_the_service_run(
    monkeypatch: pytest.MonkeyPatch, path: str, body: dict[str, Any], expected: str
) -> None:
    """What is small on the event loop, and the rest in the pool, however small the body that asks for it."""
    threads: list[str] = []
    answer = ComputationRoute._answer

    def noted(*arguments: Any) -> Any:
        threads.append("pool" if threading.current_thread().name.startswith("compute") else "loop")
        return answer(*arguments)

    monkeypatch.setattr(ComputationRoute, "_answer", noted)
    assert len(json.dumps(body, separators=(",", ":"))) < INLINE_BYTES
    assert send(create_app(Settings()), "POST", f"/v1/{path}", json=body).status_code == 200
    assert threads == [expected]


class Square(ResponseModel):
    """One number."""

    value: float


def answers_of_other_kinds() -> FastAPI:
    """Functions that return something else than a model, or take FastAPI's own parameters."""
    router = APIRouter(route_class=ComputationRoute)

    @router.post("/dict", response_model=Square)
    def a_dict(request: Count) -> Any:
        return {"value": 9.0, "secret": "hidden"}

    @router.post("/response")
    def a_response(request: Count) -> Any:
        return Response(b"text", media_type="text/plain")

    @router.post("/created", status_code=201)
    def created(request: Count) -> Square:
        return Square(value=4.0)

    @router.post("/parameters")
    def parameters(body: Count, request: Request, response: Response, job: Job) -> Square:
        response.headers["X-Path"] = request.url.path
        return Square(value=job.settings.compute_timeout_s)

    return service(router, settings=Settings(compute_timeout_s=7.0))


def test_dict_is_filtered_by_the_response_model() -> None:
    assert send(answers_of_other_kinds(), "POST", "/dict", json={"count": 1}).json() == {"value": 9.0}


def test_response_is_passed_on() -> None:
    response = send(answers_of_other_kinds(), "POST", "/response", json={"count": 1})
    assert (response.text, response.headers["content-type"]) == ("text", "text/plain; charset=utf-8")


def test_status_code_of_the_route_is_used() -> None:
    assert send(answers_of_other_kinds(), "POST", "/created", json={"count": 1}).status_code == 201


def test_function_can_take_the_request_and_the_response() -> None:
    response = send(answers_of_other_kinds(), "POST", "/parameters", json={"count": 1})
    assert response.json() == {"value": 7.0} and response.headers["x-path"] == "/parameters"


def test_coroutine_function_is_refused() -> None:
    async def square(request: Count) -> Square:
        return Square(value=1.0)

    with pytest.raises(TypeError, match="square must be a plain function"):
        APIRouter(route_class=ComputationRoute).add_api_route("/square", square, methods=["POST"])


def test_app_whose_lifespan_has_not_run_says_so() -> None:
    async def ask() -> None:
        transport = httpx.ASGITransport(create_app())
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            await client.get("/livez")

    with pytest.raises(RuntimeError, match="the app's lifespan has not run"):
        asyncio.run(ask())


def prefixed_app() -> FastAPI:
    """An application with two routers of one prefix, the second of which has a path with a parameter."""
    first, second = PrefixRouter(prefix="/v1"), PrefixRouter(prefix="/v1")

    @first.post("/plain")
    async def plain() -> str:
        return "plain"

    @second.get("/plain")
    async def gotten() -> str:
        return "gotten"

    @second.post("/{name}")
    async def named(name: str) -> str:
        return f"named {name}"

    app = FastAPI(redirect_slashes=False)
    app.include_router(first)
    app.include_router(second)
    return app


@for_each(
    ("method", "path", "expected"),
    [
        ("POST", "/v1/plain", "plain"),
        ("GET", "/v1/plain", "gotten"),
        ("POST", "/v1/other", "named other"),
        ("PUT", "/v1/plain", 405),
        ("POST", "/v2/plain", 404),
        ("POST", "/plain", 404),
        ("POST", "/v1/plain/", 404),
    ],
)
@for_each("root_path", ["", "/root"])
def test_prefix_router_finds_the_route(root_path: str, method: str, path: str, expected: str | int) -> None:
    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(prefixed_app(), root_path=root_path)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.request(method, root_path + path)

    response = asyncio.run(ask())
    assert (response.json() if response.status_code == 200 else response.status_code) == expected
