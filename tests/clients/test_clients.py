"""Clients in Python and TypeScript, generated from the recorded OpenAPI document, compiled strictly, and run.

The first needs the extra `clients`; the second needs node, and AUTODIFF_TEST_TYPESCRIPT, a folder with the npm packages
openapi-typescript, openapi-fetch and typescript.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.clients

DOCUMENT = ROOT / "openapi" / "openapi.json"
FOLDER = Path(__file__).parent
CALLS = 7


def run(command: Sequence[str | Path], folder: Path, **variables: str) -> str:
    """Run a command in a folder and return what it prints. It must succeed."""
    environment = {**os.environ, **variables}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600, check=False)
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    return output


@pytest.fixture(scope="module")
def python_client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the generated package `autodiff_http_client` and the program that uses it."""
    folder = tmp_path_factory.mktemp("python")
    (folder / "config.yaml").write_text("post_hooks: []\n")  # which format the code
    options = ["--path", str(DOCUMENT), "--meta", "none", "--output-path", "autodiff_http_client", "--config", "config.yaml"]
    output = run([sys.executable, "-m", "openapi_python_client", "generate", "--fail-on-warning", *options], folder)
    assert "arning" not in output
    shutil.copy(FOLDER / "python_client.py", folder)
    return folder


@pytest.fixture(scope="module")
def typescript_client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the generated types `service.d.ts` and the program that uses them."""
    folder = tmp_path_factory.mktemp("typescript")
    modules = Path(os.environ["AUTODIFF_TEST_TYPESCRIPT"]) / "node_modules"
    (folder / "node_modules").symlink_to(modules.absolute())
    output = run(["node_modules/.bin/openapi-typescript", DOCUMENT, "--output", "service.d.ts"], folder)
    assert "warn" not in output.lower() and "⚠" not in output, output
    shutil.copy(FOLDER / "typescript_client.ts", folder)
    return folder


def test_python_client_has_types(python_client: Path) -> None:
    """Every module, also those that the program does not import."""
    # The generator writes casts that change nothing, and annotates some variables twice. Both are harmless.
    strict = ["--strict", "--no-warn-redundant-casts", "--disable-error-code", "no-redef"]
    options = [*strict, "--config-file", "", "--cache-dir", ".mypy_cache"]
    run([sys.executable, "-m", "mypy", *options, "-p", "autodiff_http_client"], python_client)
    run([sys.executable, "-m", "mypy", *options, "python_client.py"], python_client)


def test_python_client_calls_the_service(python_client: Path, base_url: str) -> None:
    output = run([sys.executable, "python_client.py", base_url], python_client)
    assert output.count(" passed\n") == CALLS, output


def test_typescript_client_has_types(typescript_client: Path) -> None:
    run(["node_modules/.bin/tsc", "--strict", "--noEmit", "service.d.ts"], typescript_client)


def test_typescript_client_calls_the_service(typescript_client: Path, base_url: str) -> None:
    options = ["--strict", "--target", "es2022", "--lib", "es2022,dom", "--module", "commonjs", "--moduleResolution", "node10"]
    run(["node_modules/.bin/tsc", *options, "typescript_client.ts"], typescript_client)
    output = run(["node", "typescript_client.js", base_url], typescript_client)
    assert output.count(" passed\n") == CALLS, output
