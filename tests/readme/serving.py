"""Run a command of the README that starts the service, wait until it is ready, send the first request, and end it."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import httpx

from tests.conftest import ROOT
from tests.readme.blocks import Block, programs
from tests.readme.running import run_shell

SECONDS = 900
FILES = ("app", "openapi", ".ci", "LICENSE", "README.md", "pyproject.toml", "Dockerfile", ".dockerignore", "requirements.lock")
OWN = ("PYTHONPATH", "VIRTUAL_ENV")
"""Variables that are for this process, which a reader would not have."""


def copy_project(folder: Path) -> Path:
    """Copy what is installed, so that nothing is left in the project itself. Return the folder of the copy."""
    folder.mkdir()
    ignored = shutil.ignore_patterns("__pycache__")
    for name in FILES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=ignored)
        else:
            shutil.copy(source, folder / name)
    return folder


def first_request() -> Block:
    """The README's first request, with its answer."""
    return next(block for block in programs() if block.code.startswith("curl"))


def serve(code: str, folder: Path, log: Path, port: int = 8000) -> dict[str, float]:
    """Run a command in a folder until the first request has been answered as the README shows.

    Return the seconds from the start to the first connection, to readiness, and to the first answer.
    """
    url = f"http://127.0.0.1:{port}"
    if _status(f"{url}/livez"):
        raise RuntimeError(f"something listens on port {port} already")
    environment = {name: value for name, value in os.environ.items() if name not in OWN} | {"AUTODIFF_PORT": str(port)}
    began = time.perf_counter()
    with log.open("wb") as output:
        command = ["bash", "-c", code]
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    seconds: dict[str, float] = {}
    try:
        for state, path in (("listening", "/livez"), ("ready", "/readyz")):
            while _status(url + path) != 200:
                if process.poll() is not None or time.perf_counter() - began > SECONDS:
                    raise RuntimeError(f"the service did not start:\n{log.read_text()[-4000:]}")
                time.sleep(0.1)
            seconds[state] = time.perf_counter() - began
        run_shell(first_request(), url, folder)
        seconds["answered"] = time.perf_counter() - began
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(60)
    return seconds


def _status(url: str) -> int:
    """The status of an answer, or 0 if there is none."""
    try:
        return httpx.get(url, verify=False).status_code
    except httpx.TransportError:
        return 0
