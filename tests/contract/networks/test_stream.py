"""POST /v1/networks/train/stream: a training as server-sent events."""

import json
import shutil
import subprocess
import time
from typing import Any

import httpx
import pytest

from tests.contract.client import stream_events
from tests.contract.conftest import Post
from tests.contract.events import events, read_events
from tests.contract.networks.streams import LONG, PATH, SMALL, assert_progress
from tests.contract.wire import json_of, problem, strict
from tests.nn.networks import ROWS, SPEC
from tests.rows import for_each


def test_result_is_the_response_of_train(client: httpx.Client, post: Post) -> None:
    response = client.post(PATH, json=SMALL)
    assert response.status_code == 200
    assert response.headers["content-type"].partition(";")[0] == "text/event-stream"
    assert response.headers["x-request-id"]
    assert_progress(read_events(response.text))
    name, data = list(events(iter(response.text.splitlines())))[-1]
    assert name == "result" and data.encode() == post("networks/train", **SMALL).content, "byte for byte"


@pytest.mark.parametrize(
    "accept",
    [None, "*/*", "text/event-stream", "text/*;q=0.5", "application/json;q=0.1, text/event-stream", "TEXT/Event-stream"],
    ids=lambda accept: accept or "no header",
)
def test_accept_header_that_admits_event_streams(client: httpx.Client, accept: str | None) -> None:
    response = client.post(PATH, json=SMALL, headers={} if accept is None else {"Accept": accept})
    assert response.status_code == 200 and response.headers["content-type"].startswith("text/event-stream")
    assert_progress(read_events(response.text))


@pytest.mark.parametrize("accept", ["application/json", "text/html", "text/event-stream;q=0", "application/*, image/png"])
def test_accept_header_without_event_streams_is_not_acceptable(client: httpx.Client, accept: str) -> None:
    body = problem(client.post(PATH, json=SMALL, headers={"Accept": accept}), "not-acceptable", 406)
    assert "text/event-stream" in body["detail"]


@for_each("accept", ["*/*", "text/event-stream"])
@for_each(
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
def test_fault_in_the_request_is_a_problem_and_not_an_event(
    client: httpx.Client, body: dict[str, Any], name: str, pointer: str | None, accept: str
) -> None:
    problem(client.post(PATH, json=body, headers={"Accept": accept}), name, 422, pointer)


def test_invalid_json_is_a_problem_and_not_an_event(client: httpx.Client) -> None:
    headers = {"Content-Type": "application/json", "Accept": "text/event-stream"}
    problem(client.post(PATH, content=b'{"model":', headers=headers), "invalid-json", 400)


def test_other_content_type_is_a_problem_and_not_an_event(client: httpx.Client) -> None:
    headers = {"Content-Type": "text/plain", "Accept": "text/event-stream"}
    problem(client.post(PATH, content=b"{}", headers=headers), "unsupported-media-type", 415)


def test_stream_allows_post_only(client: httpx.Client) -> None:
    problem(client.get(PATH), "method-not-allowed", 405)


def test_diverging_training_ends_with_a_result(client: httpx.Client, post: Post) -> None:
    body = LONG | {"steps": 1000, "optimizer": {"learning_rate": 1e9}, "l2": 0.1}
    found = read_events(client.post(PATH, json=body).text)
    assert found[-1][0] == "result" and found[-1][1]["stopped"] == "non-finite"
    assert found[-1][1] == json_of(post("networks/train", **body))


@pytest.mark.alone
def test_progress_arrives_every_100_to_200_ms(client: httpx.Client) -> None:
    """The bounds on the number of events allow for a slow machine."""
    body = LONG | {"steps": 100_000}
    began = time.perf_counter()
    times: list[float] = []
    found: list[tuple[str, Any]] = []
    for name, data in stream_events(client, PATH, body):
        times.append(time.perf_counter() - began)
        found.append((name, strict(data.encode())))
    progress = assert_progress(found, LONG["log_every"])
    took = times[-1]
    assert times[0] < 0.5 + took / 10, "the first event comes early"
    assert took / 0.4 <= len(progress) <= took / 0.1 + 2, (took, len(progress))
    gaps = sorted(b - a for a, b in zip(times, times[1:], strict=False))
    assert gaps[len(gaps) // 2] < 0.3, gaps


@pytest.mark.alone
def test_progress_arrives_even_if_log_every_is_large(client: httpx.Client) -> None:
    """`log_every` thins the history, not the progress."""
    began = time.perf_counter()
    found = [name for name, _ in stream_events(client, PATH, LONG | {"steps": 150_000, "log_every": 10**6})]
    took = time.perf_counter() - began
    assert found[-1] == "result" and len(found) - 1 >= took / 0.4, f"{len(found) - 1} events in {took:.1f} s"


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
@pytest.mark.alone
def test_curl_shows_events_as_they_arrive(base_url: str) -> None:
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
    progress = assert_progress(read_events("\n".join(lines) + "\n"), LONG["log_every"])
    assert len(progress) >= 3
    assert times[0] < times[-1] / 2, "the first event comes long before the last"
