"""What several worker processes share: a folder in which they count together."""

import atexit
import os
import shutil
import sys
import tempfile
from pathlib import Path

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
PREFIX = "autodiff-metrics-"


def prepare_metrics(workers: int) -> None:
    """Let several worker processes count together. Call this before anything imports `metrics`.

    The folder is removed when this process ends. Those of processes that were killed are removed at the next start. Where no
    folder can be made, each worker counts for itself.
    """
    if workers == 1 or VARIABLE in os.environ:
        return
    try:
        for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
            if not is_alive(folder.name.removeprefix(PREFIX).partition("-")[0]):
                shutil.rmtree(folder, ignore_errors=True)
        folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))
    except OSError as error:  # on a read-only file system
        print(f"each worker counts for itself in /metrics, since there is no temporary folder: {error}", file=sys.stderr)
        return
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ[VARIABLE] = str(folder)


def forget_dead_workers(folder: Path) -> None:
    """Remove what workers that have ended say they are doing. What they have counted stays."""
    for file in folder.glob("gauge_live*.db"):
        if not is_alive(file.stem.rpartition("_")[2]):
            file.unlink(missing_ok=True)


def is_alive(process: str) -> bool:
    """Return whether there is a process with this id; what is no id counts as alive."""
    if os.name == "nt":  # where this would end the process
        return True
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except (PermissionError, ValueError, OverflowError):
        pass
    return True
