"""The log as other libraries write it."""

import json
import subprocess
import sys

from tests.conftest import ROOT

PROGRAM = """
import logging, warnings
from app.service.logs import configure_logging
configure_logging("info")
warnings.warn("of a library")
logging.getLogger("uvicorn.error").info("of uvicorn")
"""


def test_every_line_is_json() -> None:
    """Also a warning, of which Python writes two lines to standard error."""
    run = subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, check=True)
    warning, other = [json.loads(line) for line in run.stdout.splitlines()]
    assert "of a library" in warning["event"] and warning["level"] == "warning"
    assert other["event"] == "of uvicorn" and run.stderr == ""
