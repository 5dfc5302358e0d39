"""The process: settings, signals, several workers, and the same bytes from each of them. Needs no other server."""

import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from app import __main__ as command
from tests.conftest import ROOT, examples
from tests.contract.conftest import Start
from tests.contract.wire import LOCAL, POSTS, graph, leaf, node, smallest

pytestmark = pytest.mark.skipif(not LOCAL, reason="is about servers that the test starts")


def requests() -> list[tuple[str, bytes]]:
    """All examples, some sums of many numbers, points enough for blocks, and some errors."""
    rng = random.Random(11)
    bodies: list[tuple[str, dict[str, Any]]] = [
        (operation, example["request"]) for operation, _, example in examples() if operation in POSTS
    ]
    names = [f"x{k}" for k in range(300)]
    text = "logsumexp(" + ", ".join(f"sin({a}*{b})" for a, b in zip(names, names[1:], strict=False)) + ")"
    inputs: dict[str, Any] = {name: rng.uniform(-2, 2) for name in names}
    points = inputs | {name: [rng.uniform(-2, 2) for _ in range(500)] for name in names[:5]}
    for operation in ("backward", "graph", "parse", "check"):
        bodies.append((operation, {"expression": text, "inputs": inputs}))
    bodies.append(("backward", {"expression": text, "inputs": points}))
    bodies.append(("hessian", {"expression": text, "inputs": inputs, "wrt": names[:20]}))
    bodies.append(("hvp", {"expression": text, "inputs": points, "tangents": {names[0]: 1, names[1]: [0.1] * 500}}))
    special = "lgamma(x) + digamma(x) + erf(x)*erfc(y) + gelu(y)**x + atan2(x, y) + log1p(exp(x)) + hypot(x, y)"
    bodies.append(("hessian", {"expression": special, "inputs": {"x": [rng.uniform(0.1, 3) for _ in range(200)], "y": 0.7}}))
    for expression in (
        "x +",
        "x*y",
        "sn(x)",
        "log(-x)",
        graph(node("a", "neg", "b"), node("b", "neg", "a")),
        graph(leaf("x"), leaf("x")),
    ):
        bodies.append(("backward", smallest("backward", expression=expression)))
    bodies.append(("backward", {"expression": "x", "inputs": {"x": "1"}, "wrong": 1}))
    return [(operation, json.dumps(body).encode()) for operation, body in bodies]


def answers(url: str) -> list[tuple[int, bytes]]:
    with httpx.Client(base_url=url, timeout=60) as client:
        responses = [client.post(f"/v1/{operation}", content=body) for operation, body in requests()]
        pages = [client.get(path) for path in ("/openapi.json", "/v1/primitives", "/v1/info", "/docs", "/problems/non-finite")]
    return [(response.status_code, response.content) for response in responses + pages]


def test_two_processes_and_two_workers_answer_with_the_same_bytes(start: Start) -> None:
    """On any worker, after any restart; hash seeds and the order of requests make no difference. All end with code 0."""
    first = start(PYTHONHASHSEED="1")
    second = start("--workers", "2", PYTHONHASHSEED="2")
    expected = answers(first.url)
    assert {status for status, _ in expected} == {200, 422}
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(answers, [second.url] * 4):
            assert found == expected
    assert first.stop() == 0
    assert second.stop() == 0
    assert "Traceback" not in first.log.read_text() + second.log.read_text()


def test_a_request_under_way_is_answered_before_the_end(start: Start) -> None:
    """SIGTERM stops the listening, lets what runs finish, and ends the process with code 0."""
    server = start()
    names = [f"x{k}" for k in range(400)]
    text = " + ".join(f"sin({a}*{b})" for a, b in zip(names, names[1:], strict=False))
    points = {name: [0.1 * k for k in range(60)] for name in names}
    body = json.dumps({"expression": text, "inputs": points, "wrt": names[:250]})
    statuses: list[int] = []
    sent = threading.Event()

    def ask() -> None:
        connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=60)
        connection.request("POST", "/v1/hessian", body)
        sent.set()
        response = connection.getresponse()
        assert response.read()
        statuses.append(response.status)
        connection.close()

    thread = threading.Thread(target=ask)
    thread.start()
    sent.wait(30)
    time.sleep(0.15)
    assert not statuses, "the request was over too soon to show anything"
    server.process.send_signal(signal.SIGTERM)
    thread.join(60)
    assert statuses == [200]
    assert server.process.wait(30) == 0
    assert "Traceback" not in server.log.read_text()


def test_an_interrupt_ends_it_too(start: Start) -> None:
    server = start()
    server.process.send_signal(signal.SIGINT)
    assert server.process.wait(30) in (0, 130, -signal.SIGINT)


def test_settings_from_the_environment(tmp_path: Path) -> None:
    """The port comes from AUTODIFF_PORT where no flag is given; the root path stands before all links."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "AUTODIFF_PORT": str(port),
        "AUTODIFF_ROOT_PATH": "/auto/diff",
        "AUTODIFF_LOG_LEVEL": "warning",
    }
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "app"], cwd=ROOT, env=environment, stdout=log, stderr=log)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            for _ in range(3000):
                try:
                    if client.get("/livez").status_code == 200:
                        break
                except httpx.TransportError:
                    time.sleep(0.01)
            page = client.get("/docs").text
            assert "/auto/diff/openapi.json" in page and "/auto/diff/docs/swagger-ui.css" in page
            assert 'href="/docs' not in page and 'src="/docs' not in page
            assert client.get("/").headers["location"] == "/auto/diff/docs"
            assert client.get("/auto/diff/docs").status_code == 200, "also where the proxy leaves the prefix in"
            servers = client.get("/openapi.json").json().get("servers", [])
            assert [entry["url"] for entry in servers] == ["/auto/diff"], "or Swagger UI and generated clients miss the prefix"
            assert client.post("/v1/forward", json={"expression": "1"}).status_code == 200
    finally:
        process.terminate()
        process.wait(30)
    assert "INFO" not in (tmp_path / "log").read_text()


@pytest.mark.parametrize(
    ("environment", "arguments", "expected"),
    [
        ({}, [], {"host": "127.0.0.1", "port": 8000, "workers": 1}),
        ({"AUTODIFF_PORT": "9000"}, [], {"port": 9000}),
        ({"AUTODIFF_PORT": "9000"}, ["--port", "9001"], {"port": 9001}),
        (
            {"AUTODIFF_PORT": "9000", "AUTODIFF_HOST": "0.0.0.0"},
            ["--workers", "3"],
            {"port": 9000, "host": "0.0.0.0", "workers": 3},
        ),
        ({"AUTODIFF_WORKERS": "4"}, ["--host", "::1"], {"workers": 4, "host": "::1"}),
    ],
)
def test_a_flag_comes_before_the_environment(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], arguments: list[str], expected: dict[str, Any]
) -> None:
    given: dict[str, Any] = {}
    monkeypatch.setattr(command.uvicorn, "run", lambda *_, **options: given.update(options))
    for name in [name for name in os.environ if name.startswith("AUTODIFF_")]:
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    command.main(arguments)
    assert expected.items() <= given.items()


@pytest.mark.parametrize("setting", [["--port", "x"], ["--port", "70000"], ["--workers", "0"], ["--nope"]])
def test_a_wrong_flag_is_said_to_be_wrong(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], setting: list[str]
) -> None:
    """With the exit code of a wrong command line, and before anything is started."""
    monkeypatch.setattr(command.uvicorn, "run", lambda *_, **__: pytest.fail("it was started"))
    with pytest.raises(SystemExit) as exit:
        command.main(setting)
    assert exit.value.code == 2 and setting[0] in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "value"),
    [("AUTODIFF_PORT", "x"), ("AUTODIFF_PORT", "-1"), ("AUTODIFF_WORKERS", "0"), ("AUTODIFF_LOG_LEVEL", "loud")],
)
def test_a_wrong_setting_is_said_to_be_wrong(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, value: str
) -> None:
    """In a line that names the variable as it stands in the environment, not in a trace."""
    monkeypatch.setattr(command.uvicorn, "run", lambda *_, **__: pytest.fail("it was started"))
    monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as exit:
        command.main([])
    message = f"{exit.value.code} {capsys.readouterr().err}"
    assert name in message and "Traceback" not in message


def test_a_port_that_is_taken(start: Start) -> None:
    """Ends at once, with a code and a line that say so."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        result = subprocess.run(
            [sys.executable, "-m", "app", "--port", port], cwd=ROOT, capture_output=True, text=True, timeout=60
        )
    assert result.returncode not in (0, None)
    assert "address already in use" in (result.stderr + result.stdout).lower()


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit:
        command.main(["--help"])
    shown = capsys.readouterr().out
    assert exit.value.code == 0 and all(flag in shown for flag in ("--host", "--port", "--workers"))
