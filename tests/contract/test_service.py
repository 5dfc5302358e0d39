"""A service that holds: keys, limits, compression, overload, clients that leave, and the end of a process."""

import concurrent.futures
import contextlib
import gzip
import json
import os
import signal
import socket
import time
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import psutil
import pytest

from tests.conftest import Server

pytestmark = pytest.mark.skipif("AUTODIFF_TEST_URL" in os.environ, reason="starts servers of its own")

SMALL = {"expression": "x*x", "inputs": {"x": 3}}
LONG = {
    "model": {"inputs": 2, "layers": [16, 16, 1]},
    "data": {"dataset": "moons"},
    "loss": "mse",
    "steps": 100_000_000,
    "log_every": 1_000_000,
}

Start = Callable[..., Server]


def send_and_leave(server: Server, path: str, body: object, wait: float) -> None:
    """Posts a request on a socket of its own, and closes it after a while without having read anything."""
    host, port = server.url.removeprefix("http://").split(":")
    content = json.dumps(body).encode()
    with socket.create_connection((host, int(port))) as connection:
        head = f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"
        connection.sendall(head.encode() + content)
        time.sleep(wait)


def pool(server: Server) -> float:
    """Computations that run in the pool or wait for it."""
    lines = httpx.get(f"{server.url}/metrics").text.splitlines()
    return sum(float(line.split()[1]) for line in lines if line.startswith(("autodiff_pool_running ", "autodiff_pool_queued ")))


def wait_for(condition: Callable[[], bool], seconds: float) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not come to that"
        time.sleep(0.02)


# --- keys


def test_keys(start: Start) -> None:
    """With keys, what computes wants one, what describes does not; no key is ever in the log."""
    server = start(AUTODIFF_API_KEYS="first-secret, second-secret")
    url = f"{server.url}/v1/backward"
    for headers in ({}, {"Authorization": "Bearer wrong-secret"}, {"Authorization": "Basic first-secret"}):
        refused = httpx.post(url, json=SMALL, headers=headers)
        assert refused.status_code == 401 and refused.headers["www-authenticate"] == "Bearer"
        assert refused.json()["type"] == "/problems/unauthorized" and "secret" not in refused.text
    assert httpx.post(f"{url}?key=first-secret&api_key=first-secret", json=SMALL).status_code == 401
    for key in ("first-secret", "second-secret"):
        assert httpx.post(url, json=SMALL, headers={"Authorization": f"Bearer {key}"}).json()["value"] == 9.0
    for path in ("/livez", "/readyz", "/docs", "/docs/start.js", "/openapi.json", "/problems/unauthorized", "/metrics"):
        assert httpx.get(server.url + path).status_code == 200
    assert httpx.get(f"{server.url}/v1/info").status_code == 401
    document = httpx.get(f"{server.url}/openapi.json").json()
    assert document["components"]["securitySchemes"]["ApiKey"]["scheme"] == "bearer"
    assert document["security"] == [{"ApiKey": []}]
    assert "secret" not in server.log.read_text()


def test_keys_under_a_root_path(start: Start) -> None:
    """What is open is open also where a proxy leaves the prefix on, and what wants a key wants one."""
    server = start(AUTODIFF_API_KEYS="k", AUTODIFF_ROOT_PATH="/autodiff")
    for path in ("/livez", "/docs", "/openapi.json", "/metrics"):
        assert httpx.get(f"{server.url}/autodiff{path}").status_code == 200
    assert httpx.get(f"{server.url}/autodiff/v1/info").status_code == 401


def test_a_page_of_another_origin_may_read_why_it_is_refused(start: Start) -> None:
    server = start(AUTODIFF_API_KEYS="k", AUTODIFF_CORS_ORIGINS="https://a.example")
    refused = httpx.post(f"{server.url}/v1/backward", json=SMALL, headers={"Origin": "https://a.example"})
    assert refused.status_code == 401 and refused.headers["access-control-allow-origin"] == "https://a.example"


def test_metrics_behind_a_key(start: Start) -> None:
    server = start(AUTODIFF_API_KEYS="k", AUTODIFF_METRICS_OPEN="false")
    assert httpx.get(f"{server.url}/metrics").status_code == 401
    assert httpx.get(f"{server.url}/metrics", headers={"Authorization": "Bearer k"}).status_code == 200


def test_security_headers(client: httpx.Client) -> None:
    for path in ("/livez", "/docs", "/v1/nothing"):
        headers = client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff" and "default-src 'none'" in headers["content-security-policy"]


def test_cors_is_off_unless_set(start: Start, client: httpx.Client) -> None:
    asked = {"Origin": "https://a.example", "Access-Control-Request-Method": "POST"}
    assert "access-control-allow-origin" not in client.options("/v1/backward", headers=asked).headers
    server = start(AUTODIFF_CORS_ORIGINS="https://a.example")
    allowed = httpx.options(f"{server.url}/v1/backward", headers=asked).headers
    assert allowed["access-control-allow-origin"] == "https://a.example"
    keyed = start(AUTODIFF_CORS_ORIGINS="https://a.example", AUTODIFF_API_KEYS="k")  # a preflight never has a key
    assert (
        httpx.options(f"{keyed.url}/v1/backward", headers=asked).headers["access-control-allow-origin"] == "https://a.example"
    )
    refused = httpx.options(f"{server.url}/v1/backward", headers=asked | {"Origin": "https://b.example"}).headers
    assert "access-control-allow-origin" not in refused


# --- limits


TEN = [f"x{k}" for k in range(10)]
MANY_NODES = {"nodes": [{"id": f"n{k}", "op": "value"} for k in range(21)], "output": "n0"}
LINE = {"layers": [{"weights": [[1, 1]], "biases": [0]}]}
LIMITS: dict[str, tuple[str, str, Any]] = {
    "AUTODIFF_MAX_NODES": ("20", "/v1/forward", {"expression": MANY_NODES}),
    "AUTODIFF_MAX_TEXT": ("60", "/v1/forward", {"expression": "x" + " + x" * 20, "inputs": {"x": 1}}),
    "AUTODIFF_MAX_POINTS": ("3", "/v1/forward", {"expression": "x", "inputs": {"x": [1, 2, 3, 4]}}),
    "AUTODIFF_MAX_WORK": ("1000", "/v1/networks/train", {**LONG, "model": LINE, "data": {"dataset": "xor"}, "steps": 100}),
    "AUTODIFF_MAX_NUMBERS": ("100", "/v1/hessian", {"expression": "+".join(TEN), "inputs": dict.fromkeys(TEN, 1)}),
}


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    environment = {name: limit for name, (limit, _, _) in LIMITS.items()}
    server = Server(tmp_path_factory.mktemp("limited") / "log", environment=environment | {"AUTODIFF_MAX_BODY_BYTES": "2000"})
    server.wait_until_ready()
    yield server
    server.stop()


def test_the_length_of_a_text_holds_wherever_it_stands(limited: Server) -> None:
    text = "score" + " + score" * 20
    rate = {"learning_rate": "step" + " + step" * 20}
    run = {"model": LINE, "data": {"dataset": "xor"}, "steps": 1}
    for body in ({**run, "loss": {"expression": text}}, {**run, "loss": "mse", "optimizer": rate}):
        refused = httpx.post(f"{limited.url}/v1/networks/train", json=body)
        assert refused.status_code == 422 and "AUTODIFF_MAX_TEXT" in refused.json()["detail"]


@pytest.mark.parametrize("setting", LIMITS)
def test_a_limit_is_named_with_its_setting(limited: Server, setting: str) -> None:
    limit, path, body = LIMITS[setting]
    refused = httpx.post(limited.url + path, json=body)
    assert refused.status_code == 422, refused.text
    assert refused.json()["type"] == "/problems/too-large"
    assert limit in refused.json()["detail"] and setting in refused.json()["detail"]
    assert httpx.get(f"{limited.url}/v1/info").json()["limits"][setting.removeprefix("AUTODIFF_").lower()] == int(limit)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/parse", {"expression": "-" * 40 + "x"}),
        ("/v1/networks/graph", {"model": {"inputs": 4, "layers": [4]}, "inputs": [1, 1, 1, 1]}),
    ],
)
def test_the_number_of_nodes_holds_wherever_they_come_from(limited: Server, path: str, body: Any) -> None:
    refused = httpx.post(limited.url + path, json=body)
    assert refused.status_code == 422 and "AUTODIFF_MAX_NODES" in refused.json()["detail"]


def test_a_loss_is_worked_out_for_all_rows_at_once_and_so_has_a_limit(client: httpx.Client) -> None:
    """Some kilobytes would otherwise ask for as many gigabytes."""
    loss = {"expression": "(" + "-" * 7000 + "score)**2"}
    model, data = {"inputs": 2, "layers": [1]}, {"dataset": "spiral", "samples": 100_000}
    for path, more in (("backward", {}), ("train", {"steps": 1})):
        refused = client.post(f"/v1/networks/{path}", json={"model": model, "data": data, "loss": loss, **more})
        assert refused.status_code == 422 and "AUTODIFF_MAX_NUMBERS" in refused.json()["detail"]


def test_a_body_over_the_limit_is_not_read(limited: Server) -> None:
    """Declared or in chunks: 413, before the rest has been sent."""
    host, port = limited.url.removeprefix("http://").split(":")
    for head, part in (("content-length: 1000000000", b""), ("transfer-encoding: chunked", b"bb8\r\n" + b" " * 3000 + b"\r\n")):
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            start = f"POST /v1/forward HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n{head}\r\n\r\n"
            connection.sendall(start.encode() + part)
            answer = b""
            while part := connection.recv(65536):
                answer += part
            assert answer.startswith(b"HTTP/1.1 413") and b"AUTODIFF_MAX_BODY_BYTES" in answer


def test_a_hessian_of_a_hundred_thousand_inputs_is_refused(client: httpx.Client) -> None:
    nodes: list[dict[str, Any]] = [{"id": f"x{k}", "op": "value", "data": 1} for k in range(100_000)]
    nodes.append({"id": "y", "op": "sum", "args": [f"x{k}" for k in range(100_000)]})
    refused = client.post("/v1/hessian", json={"expression": {"nodes": nodes, "output": "y"}})
    assert refused.status_code == 422 and refused.json()["type"] == "/problems/too-large"


def test_the_time_limit(start: Start) -> None:
    """Training ends with the model so far, and goes on from it; other work is given up."""
    server = start(AUTODIFF_COMPUTE_TIMEOUT_S="0.3")
    began = time.monotonic()
    trained = httpx.post(f"{server.url}/v1/networks/train", json=LONG, timeout=30).json()
    assert trained["stopped"] == "deadline" and 0 < trained["state"]["step"] < LONG["steps"]
    assert time.monotonic() - began < 5
    more = {**LONG, "model": trained["model"], "state": trained["state"], "steps": 1}
    assert httpx.post(f"{server.url}/v1/networks/train", json=more).json()["state"]["step"] == trained["state"]["step"] + 1
    inputs = {f"x{k}": 1.0 for k in range(3000)}
    heavy = {"expression": "sum(" + ",".join(f"sin({name})" for name in inputs) + ")", "inputs": inputs}
    given_up = httpx.post(f"{server.url}/v1/check", json=heavy, timeout=30)
    assert given_up.status_code == 503 and given_up.json()["type"] == "/problems/deadline-exceeded"
    assert given_up.headers["retry-after"]


# --- compression


def test_gzip_both_ways(client: httpx.Client) -> None:
    body = {"expression": "x*x", "inputs": {"x": list(range(2000))}}
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json", "Accept-Encoding": "gzip"}
    packed = client.post("/v1/forward", content=gzip.compress(json.dumps(body).encode()), headers=headers)
    plain = client.post("/v1/forward", json=body, headers={"Accept-Encoding": "identity"})
    assert packed.headers["content-encoding"] == "gzip" and "content-encoding" not in plain.headers
    assert packed.content == plain.content and packed.json()["value"][-1] == 1999.0**2
    assert "content-encoding" not in client.post("/v1/forward", json=SMALL, headers={"Accept-Encoding": "gzip"}).headers


def test_a_gzip_bomb_is_refused_before_it_goes_off(start: Start) -> None:
    """Ten gigabytes of zeros in ten megabytes: 413 at once, and memory stays as it was."""
    server = start()
    process = psutil.Process(server.process.pid)
    httpx.post(f"{server.url}/v1/forward", json=SMALL)
    before = process.memory_info().rss
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    part = packer.compress(bytes(1 << 22)) + packer.flush(zlib.Z_FULL_FLUSH)
    again = packer.compress(bytes(1 << 22)) + packer.flush(zlib.Z_FULL_FLUSH)
    bomb = part + again * 2500
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    refused = httpx.post(f"{server.url}/v1/forward", content=bomb, headers=headers, timeout=30)
    assert refused.status_code == 413 and refused.json()["type"] == "/problems/too-large"
    assert process.memory_info().rss < before + 200_000_000


def test_gzip_of_many_members_and_with_a_long_tail(client: httpx.Client) -> None:
    """RFC 1952 allows any number of members; each is taken from where the one before ended, without copying the rest."""
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    body = json.dumps(SMALL).encode()
    split = b"".join(gzip.compress(body[k : k + 3]) for k in range(0, len(body), 3))
    assert client.post("/v1/forward", content=split, headers=headers).json()["value"] == 9.0
    began = time.monotonic()
    empty = client.post("/v1/forward", content=gzip.compress(b"") * 100_000, headers=headers)
    assert empty.status_code == 400 and "empty" in empty.json()["detail"]
    cut = client.post("/v1/forward", content=gzip.compress(body)[:-3], headers=headers)
    assert cut.status_code == 400 and "cut off" in cut.json()["detail"]
    assert time.monotonic() - began < 5


# --- overload, and clients that leave


def test_a_full_queue_is_said_at_once(start: Start) -> None:
    """Beyond the pool and its queue: 503 with Retry-After, while small requests and health go on as ever."""
    server = start(AUTODIFF_MAX_CONCURRENCY="1", AUTODIFF_MAX_QUEUE="1")
    with concurrent.futures.ThreadPoolExecutor(2) as threads:
        waiting = [threads.submit(send_and_leave, server, "/v1/networks/train", LONG, 2.0) for _ in range(2)]
        wait_for(lambda: pool(server) == 2, 5)
        refused = httpx.post(f"{server.url}/v1/networks/train", json=LONG)
        assert refused.status_code == 503 and refused.json()["type"] == "/problems/overloaded"
        assert int(refused.headers["retry-after"]) >= 1
        assert httpx.post(f"{server.url}/v1/backward", json=SMALL).json()["value"] == 9.0
        assert httpx.get(f"{server.url}/livez").status_code == 200
        for future in waiting:
            future.result()
    wait_for(lambda: pool(server) == 0, 5)
    assert httpx.post(f"{server.url}/v1/networks/train", json={**LONG, "steps": 1}).status_code == 200


@pytest.mark.parametrize("path", ["/v1/networks/train", "/v1/networks/train/stream"])
def test_work_ends_when_its_clients_have_gone(start: Start, path: str) -> None:
    server = start()
    with concurrent.futures.ThreadPoolExecutor(20) as threads:
        for future in [threads.submit(send_and_leave, server, path, LONG, 0.5) for _ in range(20)]:
            future.result()
    wait_for(lambda: pool(server) == 0, 5)
    assert httpx.post(f"{server.url}/v1/networks/train", json={**LONG, "steps": 1}).status_code == 200


def test_a_slow_client_holds_nothing_but_its_connection(client: httpx.Client, base_url: str) -> None:
    host, port = base_url.removeprefix("http://").split(":")
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(socket.create_connection((host, int(port)))) for _ in range(50)]
        for connection in slow:
            connection.sendall(
                b"POST /v1/backward HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 900\r\n\r\n{"
            )
        assert client.post("/v1/networks/train", json={**LONG, "steps": 1}).status_code == 200


# --- the end of a process


def test_a_stop_lets_requests_end(start: Start) -> None:
    """On SIGTERM /readyz turns 503; a training that runs comes to its end; the exit code is 0."""
    server = start(AUTODIFF_SHUTDOWN_S="3")
    with concurrent.futures.ThreadPoolExecutor(2) as threads:
        trained = threads.submit(httpx.post, f"{server.url}/v1/networks/train", json=LONG, timeout=30)
        stream = threads.submit(httpx.post, f"{server.url}/v1/networks/train/stream", json=LONG, timeout=30)
        wait_for(lambda: pool(server) == 2, 5)
        server.process.send_signal(signal.SIGTERM)
        wait_for(lambda: httpx.get(f"{server.url}/readyz").status_code == 503, 1)
        assert trained.result().json()["stopped"] == "deadline"
        assert stream.result().text.count("event: result") == 1
    assert server.process.wait(10) == 0


def test_a_worker_that_is_killed_comes_back(start: Start) -> None:
    server = start("--workers", "2")
    supervisor = psutil.Process(server.process.pid)

    def workers() -> set[int]:
        found = set()
        for child in supervisor.children():
            with contextlib.suppress(psutil.Error):  # one that has just ended has no command line any more
                if "spawn_main" in " ".join(child.cmdline()):
                    found.add(child.pid)
        return found

    wait_for(lambda: len(workers()) == 2, 20)
    before = workers()
    os.kill(min(before), signal.SIGKILL)
    lost = 0
    until = time.monotonic() + 3
    while time.monotonic() < until:
        try:
            assert httpx.post(f"{server.url}/v1/backward", json=SMALL).json()["value"] == 9.0
        except httpx.TransportError:
            lost += 1
    assert lost <= 5
    wait_for(lambda: len(workers()) == 2 and workers() != before, 20)
    assert "autodiff_requests_total" in httpx.get(f"{server.url}/metrics").text
    assert server.stop() == 0


# --- eyes


def test_the_log_has_a_line_for_each_request_and_no_body(start: Start) -> None:
    server = start()
    body = {"expression": "private_name * 2", "inputs": {"private_name": [1, 2, 3]}}
    httpx.post(f"{server.url}/v1/backward?private_query=1", json=body, headers={"X-Request-ID": "my-id"})
    wait_for(lambda: "my-id" in server.log.read_text(), 2)
    text = server.log.read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    line = next(line for line in lines if line.get("request_id") == "my-id")
    assert line["route"] == "/v1/backward" and line["status"] == 200 and line["ms"] > 0
    assert (
        line["nodes"] == 2
        and line["points"] == 3
        and line["bytes_in"] == len(httpx.Request("POST", "http://x", json=body).content)
    )
    assert "private" not in text


def test_metrics_count(start: Start) -> None:
    server = start()
    for _ in range(3):
        httpx.post(f"{server.url}/v1/backward", json=SMALL)
    httpx.post(f"{server.url}/v1/backward", json={"expression": "x +"})
    expected = (
        'autodiff_requests_total{route="/v1/backward",status="200"} 3.0',
        'autodiff_rejected_total{problem="syntax-error"} 1.0',
        'autodiff_phase_seconds_count{phase="compute"} 3.0',
        'autodiff_request_seconds_count{route="/v1/backward"} 4.0',
    )
    wait_for(lambda: all(line in httpx.get(f"{server.url}/metrics").text for line in expected), 2)  # counted when answered
