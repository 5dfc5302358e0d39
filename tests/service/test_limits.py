"""Limits of the service itself: bytes of bodies, places in the queue, time, and what is small enough for the event loop."""

import asyncio
import gzip
import json
import math
import struct
import time
import zlib
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, Request
from pydantic import ValidationError
from starlette.types import Message

from app.main import create_app
from app.service import execution
from app.service.execution import INLINE_BYTES, INLINE_SECONDS, SHORT_BYTES, SHORT_SECONDS, Execution, Job
from app.service.models import RequestModel, ResponseModel
from app.service.problems import Problem
from app.service.routing import ComputationRoute, computation
from app.settings import Settings
from tests.conftest import recorded_document
from tests.rows import for_each
from tests.service.inprocess import job_with, send, service
from tests.service.limits import app_with, assert_too_large

LINE = {"layers": [{"weights": [[1, 1]], "biases": [0]}]}
TRAINING = {"model": LINE, "data": {"dataset": "xor"}, "loss": "mse"}
SMALL: dict[str, dict[str, Any]] = {
    "forward": {"expression": "é", "inputs": {"é": 1}},
    "backward": {"expression": "é", "inputs": {"é": 1}},
    "jvp": {"expression": "é", "inputs": {"é": 1}},
    "jacobian": {"expression": "é = x", "inputs": {"x": 1}, "outputs": ["é"]},
    "hessian": {"expression": "é", "inputs": {"é": 1}},
    "hvp": {"expression": "é", "inputs": {"é": 1}},
    "check": {"expression": "é", "inputs": {"é": 1}},
    "parse": {"expression": "é"},
    "graph": {"expression": "é", "inputs": {"é": 1}},
    "derivative": {"expression": "é"},
    "code": {"expression": "é", "language": "python"},
    "minimize": {"expression": "é**2", "initial": {"é": 1}},
    "minimize/stream": {"expression": "é**2", "initial": {"é": 1}},
    "propagate": {"expression": "é", "inputs": {"é": {"value": 1, "u": 1}}},
    "fit": {"expression": "é*x", "data": {"x": [1, 2]}, "target": [1, 2], "parameters": {"é": 1}},
    "fit/stream": {"expression": "é*x", "data": {"x": [1, 2]}, "target": [1, 2], "parameters": {"é": 1}},
    "networks": {"inputs": 1, "layers": [1]},
    "networks/predict": {"model": LINE, "inputs": [[1, 2]]},
    "networks/backward": TRAINING,
    "networks/train": {**TRAINING, "steps": 1},
    "networks/train/stream": {**TRAINING, "steps": 1},
    "networks/graph": {"model": LINE, "inputs": [1, 2]},
    "networks/decision-boundary": {"model": LINE, "step": 1},
    "networks/history": {"history": [{"step": 0, "loss": 1}]},
    "networks/export": {"model": LINE, "format": "c"},
}
"""A small request for every endpoint under /v1 that takes JSON. Those of the bridges are in tests/api/bridges."""

ALWAYS_IN_POOL = (
    *("check", "derivative", "code", "minimize", "minimize/stream", "fit", "fit/stream"),
    *("networks/train/stream", "networks/graph", "networks/decision-boundary"),
)
"""Requests do not show how much work these are."""

SIZE = 500
"""More bytes than any of the small requests has."""


def padded(body: dict[str, Any], size: int) -> bytes:
    """The request in so many bytes of UTF-8."""
    content = json.dumps(body, ensure_ascii=False).encode()
    assert len(content) <= size
    return content.ljust(size)


def test_every_endpoint_with_a_body_has_a_small_request() -> None:
    paths = recorded_document()["paths"]
    posts = {path: methods["post"] for path, methods in paths.items() if "post" in methods and path.startswith("/v1/")}
    bodies = {path: operation["requestBody"]["content"] for path, operation in posts.items()}
    assert {path.removeprefix("/v1/") for path, content in bodies.items() if "application/json" in content} == set(SMALL)


# --- bytes of a body


async def in_parts(content: bytes) -> AsyncIterator[bytes]:
    """A body whose length is not declared, in parts."""
    for start in range(0, len(content), 64):
        yield content[start : start + 64]


def send_framed(path: str, content: bytes, framing: str, limit: int) -> httpx.Response:
    """The response to a body that is sent with its length, in parts, or as gzip."""
    headers = {"Content-Type": "application/json"}
    if framing == "gzip":
        headers["Content-Encoding"] = "gzip"
        content = gzip.compress(content)
        assert len(content) < SIZE - 1, "the body counts as decompressed only if that is longer"
    sent: Any = in_parts(content) if framing == "in parts" else content
    return send(app_with(max_body_bytes=limit), "POST", f"/v1/{path}", content=sent, headers=headers)


@for_each("path", SMALL)
@for_each("framing", ["with its length", "in parts", "gzip"])
def test_bytes_of_a_body(path: str, framing: str) -> None:
    """Counted after decompression, and in bytes where the text is not ASCII."""
    content = padded(SMALL[path], SIZE)
    answer = send_framed(path, content, framing, SIZE)
    assert answer.status_code == 200, answer.text
    assert "event: error" not in answer.text
    refused = send_framed(path, content, framing, SIZE - 1)
    assert_too_large(refused, "max_body_bytes", SIZE - 1, (), 413)


def test_gzip_of_several_members_counts_as_a_whole() -> None:
    content = padded(SMALL["forward"], SIZE)
    body = gzip.compress(content[:200]) + gzip.compress(content[200:])
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    for limit, status in ((SIZE, 200), (SIZE - 1, 413)):
        app = app_with(max_body_bytes=limit)
        assert send(app, "POST", "/v1/forward", content=body, headers=headers).status_code == status


def test_gzip_that_is_longer_than_the_limit_is_refused_as_it_is() -> None:
    content = padded(SMALL["forward"], SIZE)
    body = gzip.compress(content)
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    limit = len(body) - 1
    assert_too_large(
        send(app_with(max_body_bytes=limit), "POST", "/v1/forward", content=body, headers=headers),
        "max_body_bytes",
        limit,
        (),
        413,
    )


# --- the event loop or the pool


@pytest.fixture
def admitted(monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    """The jobs that asked for a place in the pool."""
    jobs: list[Job] = []
    admit = Execution.admit

    async def noted(self: Execution, job: Job, request: Request, *, is_short: bool) -> None:
        jobs.append(job)
        await admit(self, job, request, is_short=is_short)

    monkeypatch.setattr(Execution, "admit", noted)
    return jobs


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The places that were asked for: short or long."""
    found: list[str] = []
    wait = Execution._wait_for_place

    async def noted(self: Execution, job: Job, is_short: bool, request: Request) -> None:
        found.append("short" if is_short else "long")
        await wait(self, job, is_short, request)

    monkeypatch.setattr(Execution, "_wait_for_place", noted)
    return found


@pytest.mark.parametrize("path", SMALL)
def test_body_of_more_bytes_than_the_loop_reads_goes_to_the_pool(path: str, admitted: list[Job]) -> None:
    places = []
    for size in (INLINE_BYTES, INLINE_BYTES + 1):
        answer = send(app_with(), "POST", f"/v1/{path}", content=padded(SMALL[path], size))
        assert answer.status_code == 200, answer.text
        places.append(len(admitted))
        admitted.clear()
    assert places == ([1, 1] if path in ALWAYS_IN_POOL else [0, 1])


@pytest.mark.parametrize("path", SMALL)
def test_gzip_goes_to_the_pool_however_small(path: str, admitted: list[Job]) -> None:
    headers = {"Content-Encoding": "gzip"}
    content = gzip.compress(padded(SMALL[path], SIZE))
    assert send(app_with(), "POST", f"/v1/{path}", content=content, headers=headers).status_code == 200
    assert len(admitted) == 1


@pytest.mark.parametrize(
    ("seconds", "places"),
    [
        (0.0, 0),
        (INLINE_SECONDS, 0),
        (math.nextafter(INLINE_SECONDS, math.inf), 1),
        (math.inf, 1),
    ],
    ids=["no time", "as long as the loop waits", "longer", "unknown"],
)
def test_estimate_decides(seconds: float, places: int, admitted: list[Job]) -> None:
    class Nothing(RequestModel):
        pass

    class Done(ResponseModel):
        done: bool

    router = APIRouter(route_class=ComputationRoute)

    @router.post("/work")
    @computation(estimate_seconds=lambda request: seconds)
    def work(request: Nothing) -> Done:
        return Done(done=True)

    assert send(service(router), "POST", "/work", content=b"{}").json() == {"done": True}
    assert len(admitted) == places


def gzip_of_size(body: bytes, size: int) -> bytes:
    """A body as gzip of exactly this size: the file name in its header (RFC 1952, 2.3) fills it up."""
    raw = zlib.compress(body, wbits=-zlib.MAX_WBITS)
    tail = struct.pack("<II", zlib.crc32(body), len(body))
    head = b"\x1f\x8b\x08\x08\0\0\0\0\0\xff"
    return head + b"n" * (size - len(head) - len(raw) - len(tail) - 1) + b"\0" + raw + tail


@pytest.mark.parametrize(
    ("size", "zipped", "seconds", "expected"),
    [
        pytest.param(SHORT_BYTES, False, 0.0, ["short"], id="short"),
        pytest.param(SHORT_BYTES + 1, False, 0.0, ["long"], id="one byte over"),
        pytest.param(SHORT_BYTES, False, SHORT_SECONDS, ["short"], id="as long as short work"),
        pytest.param(SHORT_BYTES, False, math.nextafter(SHORT_SECONDS, math.inf), ["short", "long"], id="longer"),
        pytest.param(SHORT_BYTES // 32, True, 0.0, ["short"], id="gzip"),
        pytest.param(SHORT_BYTES // 32 + 1, True, 0.0, ["long"], id="gzip, one byte over"),
    ],
)
def test_places_that_a_body_asks_for(size: int, zipped: bool, seconds: float, expected: list[str], asked: list[str]) -> None:
    """The place for short work is for few bytes, of gzip 32 times as many; what turns out to be long gives it up."""

    class Nothing(RequestModel):
        pass

    class Done(ResponseModel):
        done: bool

    router = APIRouter(route_class=ComputationRoute)

    @router.post("/work")
    @computation(estimate_seconds=lambda request: seconds)
    def work(request: Nothing) -> Done:
        return Done(done=True)

    content = gzip_of_size(b"{}", size) if zipped else b"{}".ljust(size)
    assert len(content) == size
    headers = {"Content-Encoding": "gzip"} if zipped else {}
    assert send(service(router), "POST", "/work", content=content, headers=headers).json() == {"done": True}
    assert asked == expected


def text(characters: int) -> dict[str, Any]:
    """An expression of one node in a text of so many characters, each of which counts as a node, as does the output."""
    return {"expression": "x".ljust(characters), "inputs": {"x": 1}}


def at_points(name: str, count: int) -> dict[str, Any]:
    """An expression of two nodes, as its text has one character, at so many points."""
    ones = [1] * count
    return {"expression": "x", "inputs": {"x": 1}, name: ones if name == "cotangent" else {"x": ones}}


def prediction(rows: int) -> dict[str, Any]:
    """So many rows, and a new layer of 1,900 weights."""
    return {"model": {"inputs": 1, "layers": [1900]}, "inputs": [[1]] * rows}


def classification(rows: int) -> dict[str, Any]:
    """So many rows, all of the first of 1,000 classes."""
    data = {"inputs": [[1]] * rows, "targets": [0] * rows}
    return {"model": {"inputs": 1, "layers": [1000]}, "data": data, "loss": "cross_entropy"}


ESTIMATED: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    # 1.5 us to read a node.
    "parse": ("parse", text(665), text(666)),
    # 1.5 us to read a node, 4 * 0.01 us to compute it and 0.1 us to write it.
    "forward": ("forward", text(608), text(609)),
    "backward": ("backward", text(608), text(609)),
    "jvp": ("jvp", text(608), text(609)),
    "hvp": ("hvp", text(608), text(609)),
    # 3 us to read two nodes, then 2 * (4 * 0.01 + 0.1) us per point.
    "forward at points": ("forward", at_points("inputs", 3560), at_points("inputs", 3561)),
    "backward at points": ("backward", at_points("inputs", 3560), at_points("inputs", 3561)),
    "backward, cotangent": ("backward", at_points("cotangent", 3560), at_points("cotangent", 3561)),
    "jvp, tangents": ("jvp", at_points("tangents", 3560), at_points("tangents", 3561)),
    "hvp, tangents": ("hvp", at_points("tangents", 3560), at_points("tangents", 3561)),
    # 1.64 us per node, and 0.14 us per node and walk, with a walk for each node.
    "hessian": ("hessian", text(77), text(78)),
    "jacobian": ("jacobian", text(77), text(78)),
    # 1.5 us to read a node and 50 * 0.1 us to draw it.
    "graph": ("graph", text(152), text(153)),
    # 0.5 us per weight and 20 us per layer.
    "new network": ("networks", {"inputs": 1959, "layers": [1]}, {"inputs": 1961, "layers": [1]}),
    # 970 us for 1,900 weights and a layer, and 1,900 * 0.002 us per row.
    "prediction": ("networks/predict", prediction(7), prediction(8)),
    # 524 us for 1,000 weights and a layer, and per row 1,000 * 0.002 us and 2 * 0.01 us for 4 nodes of each of 1,000 outputs.
    "network gradients": ("networks/backward", classification(5), classification(6)),
    # 21 us for two weights and a layer, and per step 4 us and 4 * (2 * 0.002 + 4 * 2 * 0.01) us for four rows.
    "training": ("networks/train", {**TRAINING, "steps": 225}, {**TRAINING, "steps": 226}),
}
"""(path, request of just under a millisecond, request of just over it)."""


@pytest.mark.parametrize(("path", "shorter", "longer"), ESTIMATED.values(), ids=ESTIMATED)
def test_requests_of_more_than_a_millisecond_go_to_the_pool(
    path: str, shorter: dict[str, Any], longer: dict[str, Any], admitted: list[Job]
) -> None:
    places = []
    for body in (shorter, longer):
        assert len(json.dumps(body, separators=(",", ":"))) <= INLINE_BYTES
        answer = send(app_with(), "POST", f"/v1/{path}", json=body)
        assert answer.status_code == 200, answer.text
        places.append(len(admitted))
        admitted.clear()
    assert places == [0, 1]


@pytest.mark.parametrize(
    ("characters", "expected"),
    [
        pytest.param(20_000, ["short"], id="30 ms"),
        pytest.param(50_000, ["short", "long"], id="75 ms"),
        pytest.param(250_000, ["short", "long"], id="250 kB"),
        pytest.param(270_000, ["long"], id="270 kB"),
    ],
)
def test_short_work_has_256_kib_and_takes_50_ms(characters: int, expected: list[str], asked: list[str]) -> None:
    """A character takes 1.5 us. What turns out to be long exchanges its place."""
    assert send(app_with(), "POST", "/v1/parse", json=text(characters)).status_code == 200
    assert asked == expected


@pytest.mark.parametrize(("samples", "place"), [(10, "short"), (100_000, "long")], ids=["few rows", "many rows"])
def test_place_that_a_get_asks_for(samples: int, place: str, asked: list[str]) -> None:
    assert send(app_with(), "GET", f"/v1/datasets/spiral?samples={samples}").status_code == 200
    assert asked == [place]


# --- the queue


def connected() -> Request:
    """A request whose client stays connected."""

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError("nothing is received")

    return Request({"type": "http", "method": "POST", "headers": []}, receive)


@pytest.mark.parametrize(("places", "queue"), [(1, 0), (1, 1), (1, 3), (2, 0), (2, 1), (3, 2)])
def test_queue(places: int, queue: int) -> None:
    """As many jobs run as there are places, as many wait as the queue holds, and the next one is refused."""

    async def fill() -> None:
        pool = Execution(Settings(max_concurrency=places, max_queue=queue))
        jobs = [Job(pool.settings, math.inf, {}) for _ in range(places + queue + 1)]
        try:
            for job in jobs[:places]:
                await pool.admit(job, connected())
            waiting = [asyncio.create_task(pool.admit(job, connected())) for job in jobs[places:-1]]
            await asyncio.sleep(0)
            assert len(pool.admitted) == places + queue and not any(task.done() for task in waiting)
            with pytest.raises(Problem) as caught:
                await asyncio.wait_for(pool.admit(jobs[-1], connected()), 5)
            assert (caught.value.kind.name, caught.value.kind.status) == ("overloaded", 503)
            assert caught.value.headers == {"Retry-After": "1"}
            assert f"AUTODIFF_MAX_QUEUE is {queue}" in caught.value.detail
            for job in jobs[:-1]:
                pool.release(job)
                await asyncio.sleep(0)
            await asyncio.gather(*waiting)
        finally:
            pool.close()

    asyncio.run(fill())


# --- time


def test_deadline_follows_from_the_setting() -> None:
    class Deadline(ResponseModel):
        deadline: float

    class Nothing(RequestModel):
        pass

    router = APIRouter(route_class=ComputationRoute)

    @router.post("/deadline")
    @computation()
    def deadline(request: Nothing, job: Job) -> Deadline:
        return Deadline(deadline=job.deadline)

    app = service(router, settings=Settings(compute_timeout_s=7.0))
    for content in (b"{}", b"{}".ljust(INLINE_BYTES + 1)):
        before = time.perf_counter()
        found = send(app, "POST", "/deadline", content=content).json()["deadline"]
        assert before + 7.0 <= found <= time.perf_counter() + 7.0


def test_work_ends_only_past_its_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(execution, "time", SimpleNamespace(perf_counter=lambda: now))
    job = job_with(compute_timeout_s=7.0)
    job.deadline = 100.0
    job.check()
    now = math.nextafter(100.0, math.inf)
    with pytest.raises(Problem, match="the computation took over 7 s, the limit of AUTODIFF_COMPUTE_TIMEOUT_S"):
        job.check()


# --- the settings


LEAST: dict[str, float] = {
    **dict.fromkeys(("max_body_bytes", "max_nodes", "max_text", "max_points", "max_work", "max_numbers", "max_concurrency"), 1),
    "max_queue": 0,
    "shutdown_s": 0.0,
}


@for_each(("name", "least"), LEAST.items())
def test_least_value_of_a_setting(name: str, least: float) -> None:
    assert getattr(Settings(**{name: least}), name) == least  # type: ignore[arg-type]
    with pytest.raises(ValidationError, match=name):
        Settings(**{name: least - 1})  # type: ignore[arg-type]


TIMES = ("compute_timeout_s", "head_timeout_s", "body_timeout_s", "send_timeout_s")


@pytest.mark.parametrize("name", [*TIMES, "shutdown_s"])
def test_most_seconds_of_a_setting(name: str) -> None:
    assert getattr(Settings(**{name: 86_400.0}), name) == 86_400.0  # type: ignore[arg-type]
    with pytest.raises(ValidationError, match=name):
        Settings(**{name: 86_400.1})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", TIMES)
def test_times_are_above_0(name: str) -> None:
    assert getattr(Settings(**{name: 0.001}), name) == 0.001  # type: ignore[arg-type]
    with pytest.raises(ValidationError, match=name):
        Settings(**{name: 0.0})  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["", "/a", "/a/b", "/a-b_c.d/~e"])
def test_valid_root_path(text: str) -> None:
    assert Settings(root_path=text).root_path == text


@for_each("text", ["/", "/a/", "a", "a/b", "/a?", "/a?b", "/a#b", "https://a.example/a"])
def test_invalid_root_path(text: str) -> None:
    with pytest.raises(ValidationError, match="root_path"):
        Settings(root_path=text)


@pytest.mark.parametrize(("port", "valid"), [(65535, True), (65536, False), (-1, False)])
def test_port_is_one_that_exists(port: int, valid: bool) -> None:
    if valid:
        assert Settings(port=port).port == port
        return
    with pytest.raises(ValidationError, match="port"):
        Settings(port=port)


def test_limits_are_listed() -> None:
    names = [name for name in Settings.model_fields if name.startswith("max_")]
    odd = {name: 1000 + k for k, name in enumerate(names)}
    listed = send(create_app(Settings(**odd)), "GET", "/v1/info").json()["limits"]  # type: ignore[arg-type]
    assert {name: listed[name] for name in names} == odd
    assert listed["compute_timeout_s"] == Settings().compute_timeout_s
