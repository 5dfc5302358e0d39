"""Flags and environment variables of `python -m app`."""

import contextlib
import errno
import os
import re
import socket
import subprocess
import sys
from typing import Any
from unittest.mock import Mock

import pytest

from app import __main__ as command
from app import __version__
from tests.conftest import ROOT
from tests.contract.wire import LOCAL

pytestmark = pytest.mark.usefixtures("environment_as_it_was")


def no_server(*_: Any, **__: Any) -> None:
    """Stands for uvicorn.run where no server may be started."""
    pytest.fail("a server was started")


@pytest.mark.parametrize(
    ("environment", "arguments", "expected"),
    [
        pytest.param({}, [], {"host": "127.0.0.1", "port": 8000, "workers": 1}, id="defaults"),
        pytest.param({"AUTODIFF_PORT": "9000"}, [], {"port": 9000}, id="variable"),
        pytest.param({"AUTODIFF_PORT": "9000"}, ["--port", "9001"], {"port": 9001}, id="flag over variable"),
        pytest.param(
            {"AUTODIFF_PORT": "9000", "AUTODIFF_HOST": "0.0.0.0"},
            ["--workers", "3"],
            {"port": 9000, "host": "0.0.0.0", "workers": 3},
            id="variables and flag",
        ),
        pytest.param({"AUTODIFF_WORKERS": "4"}, ["--host", "::1"], {"workers": 4, "host": "::1"}, id="IPv6"),
        pytest.param({}, [], {"log_config": None, "proxy_headers": False}, id="no proxy, and log lines of our own"),
        pytest.param({"AUTODIFF_LOG_LEVEL": "warning"}, [], {"log_level": "warning"}, id="level of the log"),
        pytest.param({"AUTODIFF_SHUTDOWN_S": "2.6"}, [], {"timeout_graceful_shutdown": 3}, id="time for a shutdown"),
        pytest.param({}, [], {"timeout_worker_healthcheck": 30}, id="time until a silent worker is replaced"),
        pytest.param(
            {}, [], {"factory": True, "ws": "none", "server_header": False, "access_log": False}, id="nothing but HTTP"
        ),
        pytest.param(
            {"AUTODIFF_TRUSTED_PROXIES": "10.0.0.1, 10.1.0.0/16"},
            [],
            {"proxy_headers": True, "forwarded_allow_ips": "10.0.0.1, 10.1.0.0/16"},
            id="proxies",
        ),
    ],
)
def test_flags_take_precedence_over_the_environment(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], arguments: list[str], expected: dict[str, Any]
) -> None:
    options: dict[str, Any] = {}
    monkeypatch.setattr("uvicorn.run", lambda *_, **given: options.update(given))
    monkeypatch.setattr("app.service.logs.configure_logging", lambda level: None)
    monkeypatch.setattr(command, "check_address", lambda host, port: None)  # somebody may listen there
    for name in [name for name in os.environ if name.startswith("AUTODIFF_")]:
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    command.main(arguments)
    assert expected.items() <= options.items()


def test_port_that_only_root_may_take_is_explained(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Tests may be run by root."""

    def bind(*_: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("uvicorn.run", no_server)
    monkeypatch.setattr(socket, "socket", lambda *_: contextlib.nullcontext(Mock(bind=bind)))
    with pytest.raises(SystemExit) as exit:
        command.main(["--port", "80"])
    said = "cannot listen on 127.0.0.1 port 80: permission denied; ports below 1024 are reserved: --port 8000\n"
    assert exit.value.code == 1 and capsys.readouterr().err == said


INVALID = [
    *(["--port", "x"], ["--port", "70000"], ["--port", "65536"], ["--port=-1"]),
    *(["--workers", "0"], ["--workers", "257"], ["--nope"]),
]


@pytest.mark.parametrize("arguments", INVALID, ids=" ".join)
def test_invalid_flag_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    """The exit code is 2, and no server is started."""
    monkeypatch.setattr("uvicorn.run", no_server)
    with pytest.raises(SystemExit) as exit:
        command.main(arguments)
    assert exit.value.code == 2 and arguments[0].partition("=")[0] in capsys.readouterr().err


OUT_OF_RANGE = {
    **dict.fromkeys(("PORT", "MAX_QUEUE", "MAX_CONCURRENCY_PER_CLIENT", "MAX_CONNECTIONS_PER_CLIENT", "SHUTDOWN_S"), "-1"),
    **dict.fromkeys(("WORKERS", "MAX_CONCURRENCY", "MAX_CONNECTIONS", "MEMORY_BYTES", "MAX_BODY_BYTES", "MAX_TEXT"), "0"),
    **dict.fromkeys(("MAX_NODES", "MAX_POINTS", "MAX_WORK", "MAX_NUMBERS", "MAX_VARIABLES"), "0"),
    **dict.fromkeys(("MAX_DRAWN_NODES", "MAX_DRAWN_POINTS"), "0"),
    **dict.fromkeys(("COMPUTE_TIMEOUT_S", "HEAD_TIMEOUT_S", "BODY_TIMEOUT_S", "SEND_TIMEOUT_S"), "0"),
    "MAX_HEAD_BYTES": "99",
}
TOO_LARGE = {
    **dict.fromkeys(("COMPUTE_TIMEOUT_S", "HEAD_TIMEOUT_S", "BODY_TIMEOUT_S", "SEND_TIMEOUT_S", "SHUTDOWN_S"), "86401"),
    "PORT": "65536",
    "WORKERS": "257",
}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((f"AUTODIFF_{name}", value) for table in (OUT_OF_RANGE, TOO_LARGE) for name, value in table.items()),
        *(("AUTODIFF_PORT", "x"), ("AUTODIFF_LOG_LEVEL", "loud"), ("AUTODIFF_ROOT_PATH", "no-slash")),
        *(("AUTODIFF_API_KEYS", ","), ("AUTODIFF_TRUSTED_PROXIES", "proxy"), ("AUTODIFF_ALLOWED_HOSTS", "http://a.example")),
    ],
)
def test_invalid_environment_variable_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, value: str
) -> None:
    """The message names the variable and is not a traceback."""
    monkeypatch.setattr("uvicorn.run", no_server)
    monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as exit:
        command.main([])
    message = f"{exit.value.code} {capsys.readouterr().err}"
    assert name in message and "Traceback" not in message
    assert message.count("AUTODIFF_") == 1, "settings that follow from the wrong one are not named"


def test_all_invalid_environment_variables_are_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also one after a setting whose default follows from a wrong one."""
    monkeypatch.setattr("uvicorn.run", no_server)
    for name, value in {"AUTODIFF_WORKERS": "0", "AUTODIFF_LOG_LEVEL": "loud", "AUTODIFF_PORT": "x"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as exit:
        command.main([])
    lines = capsys.readouterr().err.splitlines()
    named = [line.partition(":")[0] for line in lines]
    assert exit.value.code == 2 and named == ["AUTODIFF_PORT", "AUTODIFF_WORKERS", "AUTODIFF_LOG_LEVEL"]


def test_help_lists_the_flags(capsys: pytest.CaptureFixture[str]) -> None:
    """Each with what it is for, and its default."""
    with pytest.raises(SystemExit) as exit:
        command.main(["--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert exit.value.code == 0
    for flag in ("--host HOST address to listen on", "--port PORT port to listen on", "--workers WORKERS number of processes"):
        assert f"{flag} (default: " in shown


@pytest.mark.skipif(not LOCAL, reason="starts servers of its own")
def test_port_in_use_ends_the_process_with_a_message() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        command_line = [sys.executable, "-m", "app", "--port", str(taken.getsockname()[1])]
        result = subprocess.run(command_line, cwd=ROOT, capture_output=True, text=True, timeout=120)
        port = taken.getsockname()[1]
    assert result.returncode == 1 and result.stdout == "" and "Traceback" not in result.stderr
    proposed = re.fullmatch(
        rf"cannot listen on 127.0.0.1 port {port}: address already in use; take another one: --port (\d+)\n", result.stderr
    )
    assert proposed and int(proposed[1]) > port


@pytest.mark.parametrize(("port", "proposed"), [(8000, 8003), (65533, 65535), (65535, 0)])
def test_next_port_that_is_free_is_proposed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], port: int, proposed: int
) -> None:
    """Ports end at 65535; with 0 the system chooses one."""
    in_use = OSError(errno.EADDRINUSE, "Address already in use")
    monkeypatch.setattr(command, "_listening_error", lambda host, other: None if other == proposed else in_use)
    with pytest.raises(SystemExit):
        command.check_address("127.0.0.1", port)
    assert capsys.readouterr().err.endswith(f"take another one: --port {proposed}\n")


def test_port_whose_connections_the_last_server_has_closed_is_free() -> None:
    """The system remembers such connections for a minute."""
    with socket.create_server(("127.0.0.1", 0)) as server:  # with SO_REUSEADDR, as asyncio's
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            accepted, _ = server.accept()
            accepted.close()
            assert client.recv(1) == b""
    with socket.socket() as attempt, pytest.raises(OSError, match="in use"):
        attempt.bind(("127.0.0.1", port))
    command.check_address("127.0.0.1", port)


@pytest.mark.parametrize(("host", "message"), [("203.0.113.1", "cannot assign"), ("no-such-host.invalid", "name|address")])
def test_address_that_is_none_of_the_machine_ends_the_process_with_a_message(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], host: str, message: str
) -> None:
    monkeypatch.setattr("uvicorn.run", no_server)
    with pytest.raises(SystemExit) as exit:
        command.main(["--host", host, "--port", "0"])
    shown = capsys.readouterr().err
    assert exit.value.code == 1 and host in shown and re.search(message, shown)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit:
        command.main(["--version"])
    assert exit.value.code == 0 and capsys.readouterr().out == f"autodiff-http {__version__}\n"
