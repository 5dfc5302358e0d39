"""Servers as forks of one process in which the app is imported and its kernels are loaded, so that they start at once."""

import multiprocessing
import os
import signal
import subprocess
from pathlib import Path

from app.__main__ import main


def _serve(log: Path, folder: Path, flags: tuple[str, ...], environment: dict[str, str]) -> None:
    """Become `python -m app`: with its folder, its environment and its output."""
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for descriptor in (1, 2):
        os.dup2(output, descriptor)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    main(list(flags))


class Fork:
    """A forked server, with those methods of `subprocess.Popen` that tests use."""

    def __init__(self, log: Path, folder: Path, flags: tuple[str, ...], environment: dict[str, str]) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["tests.loaded"])
        self._process = context.Process(target=_serve, args=(log, folder, flags, environment), daemon=True)
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def poll(self) -> int | None:
        """Return the exit code, or None while the process runs."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code. Raises subprocess.TimeoutExpired."""
        self._process.join(timeout)
        code = self.poll()
        if code is None:
            raise subprocess.TimeoutExpired("python -m app", timeout or 0.0)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the process has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)
