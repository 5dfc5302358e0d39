"""A training as server-sent events: read by the rules of the specification, by httpx and by curl; and left by its client."""

import asyncio
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from app.api.execution import Execution
from app.api.problems import Problem
from app.main import create_app
from app.nn import training
from tests.contract.conftest import Post, Start
from tests.contract.wire import LOCAL, answer, head, place, problem, strict
from tests.nn.networks import ROWS, SPEC

PATH = "/v1/networks/train/stream"
MOONS = {"dataset": "moons", "samples": 100, "noise": 0.1, "seed": 1337}
SMALL: dict[str, Any] = {"model": SPEC, "data": MOONS, "loss": "max_margin", "steps": 50}
LONG: dict[str, Any] = {
    "model": {"inputs": 2, "layers": [16, 16, 1], "seed": 1337},
    "data": MOONS,
    "loss": "max_margin",
    "l2": 1e-4,
    "optimizer": {"learning_rate": 0.01},
    "steps": 2_000_000,
    "log_every": 1000,
}
"""About twenty seconds of work."""


def events(lines: Iterator[str]) -> Iterator[tuple[str, str]]:
    """(event, data) of each event, by the rules of https://html.spec.whatwg.org/#event-stream-interpretation."""
    name, data = "", []
    for line in lines:
        if not line:
            if data:
                yield name or "message", "\n".join(data)
            name, data = "", []
        elif not line.startswith(":"):
            field, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if field == "event":
                name = value
            elif field == "data":
                data.append(value)
            else:
                assert field in ("id", "retry"), f"no client reads {field!r}"
    assert not name and not data, "an event that is not ended by an empty line is lost"


def read(text: str) -> list[tuple[str, Any]]:
    return [(name, strict(data.encode())) for name, data in events(iter(text.splitlines()))]


def checked(found: list[tuple[str, Any]]) -> list[Any]:
    """The rows of the progress in a stream that ended well: at least one, in order, each a row of the result's history."""
    assert [name for name, _ in found] == ["progress"] * (len(found) - 1) + ["result"]
    progress, result = [data for _, data in found[:-1]], found[-1][1]
    assert progress
    steps = [row["step"] for row in progress]
    assert steps == sorted(set(steps))
    by_step = {row["step"]: row for row in result["history"]}
    for row in progress:
        assert by_step[row["step"]] == row
    return progress


def test_the_result_is_the_answer_of_train(client: httpx.Client, post: Post) -> None:
    response = client.post(PATH, json=SMALL)
    assert response.status_code == 200
    assert response.headers["content-type"].partition(";")[0] == "text/event-stream"
    assert response.headers["x-request-id"]
    checked(read(response.text))
    name, data = list(events(iter(response.text.splitlines())))[-1]
    assert name == "result" and data.encode() == post("networks/train", **SMALL).content, "byte for byte"


@pytest.mark.parametrize(
    "accept",
    [None, "*/*", "text/event-stream", "text/*;q=0.5", "application/json;q=0.1, text/event-stream", "TEXT/Event-stream"],
)
def test_it_is_a_stream_for_those_who_take_one(client: httpx.Client, accept: str | None) -> None:
    response = client.post(PATH, json=SMALL, headers={} if accept is None else {"Accept": accept})
    assert response.status_code == 200 and response.headers["content-type"].startswith("text/event-stream")
    checked(read(response.text))


@pytest.mark.parametrize("accept", ["application/json", "text/html", "text/event-stream;q=0", "application/*, image/png"])
def test_it_is_not_acceptable_to_others(client: httpx.Client, accept: str) -> None:
    body = problem(client.post(PATH, json=SMALL, headers={"Accept": accept}), "not-acceptable", 406)
    assert "text/event-stream" in body["detail"]


@pytest.mark.parametrize(
    ("body", "name", "pointer"),
    [
        (SMALL | {"steps": 0}, "invalid-request", "/steps"),
        (SMALL | {"loss": "hinge"}, "invalid-request", "/loss"),
        (SMALL | {"loss": {"expression": "score +"}}, "syntax-error", "/loss/expression"),
        (SMALL | {"model": SPEC | {"inputs": 3}}, "shape-mismatch", None),
        (SMALL | {"data": ROWS | {"targets": [1, 2, 1, 1]}}, "invalid-request", "/data/targets/1"),
        (SMALL | {"optimizer": {"learning_rate": "1/stepp"}}, "unbound-input", "/optimizer/learning_rate"),
        (SMALL | {"state": {"step": 3, "optimizer": {"name": "adam"}}}, "shape-mismatch", "/state/optimizer/name"),
        (SMALL | {"wrong": 1}, "invalid-request", "/wrong"),
    ],
)
def test_what_is_wrong_before_the_start_is_a_problem(
    client: httpx.Client, body: dict[str, Any], name: str, pointer: str | None
) -> None:
    for accept in ("*/*", "text/event-stream"):
        problem(client.post(PATH, json=body, headers={"Accept": accept}), name, 422, pointer)


def test_no_json_is_a_problem(client: httpx.Client) -> None:
    headers = {"Content-Type": "application/json", "Accept": "text/event-stream"}
    problem(client.post(PATH, content=b'{"model":', headers=headers), "invalid-json", 400)
    problem(client.post(PATH, content=b"{}", headers=headers | {"Content-Type": "text/plain"}), "unsupported-media-type", 415)
    problem(client.get(PATH), "method-not-allowed", 405)


def test_a_training_that_is_not_finite_ends_with_a_result(client: httpx.Client, post: Post) -> None:
    body = LONG | {"steps": 1000, "optimizer": {"learning_rate": 1e9}, "l2": 0.1}
    found = read(client.post(PATH, json=body).text)
    assert found[-1][0] == "result" and found[-1][1]["stopped"] == "non-finite"
    assert found[-1][1] == answer(post("networks/train", **body))


def test_progress_comes_while_it_goes_on(client: httpx.Client) -> None:
    """About every 100 to 200 ms, by their number for the time it took, which allows for a slow machine."""
    body = LONG | {"steps": 100_000}
    began = time.perf_counter()
    times: list[float] = []
    found: list[tuple[str, Any]] = []
    with client.stream("POST", PATH, json=body) as response:
        for name, data in events(response.iter_lines()):
            times.append(time.perf_counter() - began)
            found.append((name, strict(data.encode())))
    progress = checked(found)
    took = times[-1]
    assert times[0] < 0.5 + took / 10, "the first does not wait"
    assert took / 0.4 <= len(progress) <= took / 0.1 + 2, (took, len(progress))
    gaps = sorted(b - a for a, b in zip(times, times[1:], strict=False))
    assert gaps[len(gaps) // 2] < 0.3, gaps


def test_progress_comes_when_the_history_is_thin(client: httpx.Client) -> None:
    """`log_every` thins the history. Someone who watches sees the training go on all the same."""
    found: list[str] = []
    began = time.perf_counter()
    with client.stream("POST", PATH, json=LONG | {"steps": 150_000, "log_every": 10**6}) as response:
        found += [name for name, _ in events(response.iter_lines())]
    took = time.perf_counter() - began
    assert found[-1] == "result" and len(found) - 1 >= took / 0.4, f"{len(found) - 1} events in {took:.1f} s"


@pytest.mark.skipif(shutil.which("curl") is None, reason="wants curl")
def test_curl_shows_it_as_it_comes(base_url: str) -> None:
    command = ["curl", "-sN", "-H", "Content-Type: application/json", "-d", "@-", f"{base_url}{PATH}"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin and process.stdout
        began = time.perf_counter()
        process.stdin.write(json.dumps(LONG | {"steps": 60_000}))
        process.stdin.close()
        times, lines = [], []
        for line in process.stdout:
            lines.append(line.rstrip("\n"))
            times.append(time.perf_counter() - began)
    assert process.returncode == 0
    progress = checked(read("\n".join(lines) + "\n"))
    assert len(progress) >= 3
    assert times[0] < times[-1] / 2, "the first event is there long before the last"


# --- clients that leave


def prompt(client: httpx.Client, what: str) -> None:
    """A small training is answered at once: no thread works for someone who has left."""
    for _ in range(3):
        began = time.perf_counter()
        response = client.post("/v1/networks/train", json=SMALL, timeout=5.0)
        assert answer(response)["stopped"] == "completed"
        assert time.perf_counter() - began < 5.0, what


def test_a_client_that_leaves_frees_its_thread(client: httpx.Client, base_url: str) -> None:
    """Eight clients, one after the other, see the first event of twenty seconds of work and leave."""
    for _ in range(8):
        with httpx.Client(base_url=base_url, timeout=20) as other, other.stream("POST", PATH, json=LONG) as response:
            name, _ = next(events(response.iter_lines()))
            assert name == "progress"
    prompt(client, "one after the other")


def test_clients_that_leave_together_free_their_threads(client: httpx.Client, base_url: str) -> None:
    """Eight at once, so that most wait for a thread; all leave, some of them before a thread has looked at their request."""
    host, port, _ = place(base_url)
    body = json.dumps(LONG).encode()
    with ExitStack() as stack:
        connections = []
        for _ in range(8):
            connection = stack.enter_context(socket.create_connection((host, port), timeout=10))
            connection.sendall(head(base_url, PATH, Content_Type="application/json", Content_Length=str(len(body))) + body)
            connections.append(connection)
        assert connections[0].recv(65536).startswith(b"HTTP/1.1 200")
    prompt(client, "together")


def test_a_client_that_leaves_in_the_middle_frees_its_thread(client: httpx.Client, base_url: str) -> None:
    """After some events, and by a reset in place of an orderly end."""
    host, port, _ = place(base_url)
    body = json.dumps(LONG).encode()
    for _ in range(4):
        connection = socket.create_connection((host, port), timeout=10)
        connection.sendall(head(base_url, PATH, Content_Type="application/json", Content_Length=str(len(body))) + body)
        received = b""
        while received.count(b"event: progress") < 3:
            received += connection.recv(65536)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        connection.close()
    prompt(client, "in the middle")


# --- streams that wait for a thread


def ended(client: httpx.Client, body: dict[str, Any]) -> str:
    """How a stream ended: by its last event, or by the name of the problem in place of it. It ends in any case."""
    response = client.post(PATH, json=body, timeout=10.0)
    if response.status_code != 200:
        return str(problem(response)["type"])
    name, data = read(response.text)[-1]
    return str(data["stopped"] if name == "result" else data["type"])


@pytest.mark.skipif(not LOCAL, reason="starts servers of its own")
def test_streams_whose_time_runs_out_while_they_wait_are_ended(start: Start) -> None:
    """One thread, a second for each: those whose turn comes too late are told so, and not left without a word."""
    server = start(AUTODIFF_MAX_CONCURRENCY="1", AUTODIFF_COMPUTE_TIMEOUT_S="1")
    with httpx.Client(base_url=server.url) as client, ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: ended(client, LONG), range(4)))
    assert set(found) <= {"deadline", "/problems/deadline-exceeded"} and "deadline" in found


@pytest.mark.skipif(not LOCAL, reason="starts servers of its own")
@pytest.mark.parametrize("queue", ["0", "2"])
def test_a_stream_is_refused_before_it_begins_or_not_at_all(start: Start, queue: str) -> None:
    """Where the queue is full it is a 503 at once. A stream that has begun ends with a result."""
    server = start(AUTODIFF_MAX_CONCURRENCY="1", AUTODIFF_MAX_QUEUE=queue)
    with ExitStack() as stack:
        clients = [stack.enter_context(httpx.Client(base_url=server.url)) for _ in range(8)]
        pool = stack.enter_context(ThreadPoolExecutor(8))
        found = [how for _ in range(40) for how in pool.map(lambda client: ended(client, SMALL), clients)]
    assert set(found) <= {"completed", "/problems/overloaded"} and "completed" in found


# --- what fails on the way


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (RuntimeError("a secret of ours"), "internal"),
        (Problem("deadline-exceeded", "the time ran out"), "deadline-exceeded"),
        (MemoryError(), "internal"),
    ],
)
def test_what_fails_on_the_way_is_an_error_event(monkeypatch: pytest.MonkeyPatch, error: Exception, kind: str) -> None:
    """The status is 200 by then, so the problem comes as the last event, and says nothing of a defect but its request id."""
    row = training.Row(0, 1.0, 1.0, 0.0, None, 0.1)

    def begin(*_: Any, **__: Any) -> Iterator[list[training.Row]]:
        yield [row]
        raise error

    async def ask() -> httpx.Response:
        app = create_app()
        app.state.execution = Execution(app.state.settings)  # not by the start, which warms and freezes its process
        app.state.execution.ready.set()
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://in-process") as client:
            response = await client.post(PATH, json=SMALL, headers={"X-Request-ID": "a-request"})
        app.state.execution.close()
        return response

    monkeypatch.setattr(training, "begin", begin)
    response = asyncio.run(ask())
    assert response.status_code == 200
    found = read(response.text)
    assert [name for name, _ in found] == ["progress", "error"]
    told = found[-1][1]
    assert told["type"] == f"/problems/{kind}" and told["title"] and told["detail"]
    assert told["status"] == (500 if kind == "internal" else 503)
    assert "secret" not in response.text and "Traceback" not in response.text
    if kind == "internal":
        assert "a-request" in told["detail"]
