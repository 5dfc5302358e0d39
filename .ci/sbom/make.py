"""Make the SBOM of a virtual environment and of Swagger UI, as CycloneDX JSON that is the same for the same contents.

    python .ci/sbom/make.py VENV >sbom.cdx.json

Run it in the top folder, with a Python that has requirements.lock installed. Swagger UI is not a Python package, so its
component is the one that is recorded beside its files. A document that is invalid or lacks a package of the environment is an
error.
"""

import json
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.utils import NormalizedName, canonicalize_name

SWAGGER_UI = Path("app/api/swagger_ui/sbom.cdx.json")


def read_environment(venv: str) -> dict[str, Any]:
    """The SBOM of the Python packages. Its root is the project of pyproject.toml. It is validated when it is complete."""
    options = ["--pyproject", "pyproject.toml", "--spec-version", "1.6", "--output-reproducible", "--no-validate"]
    command = [sys.executable, "-m", "cyclonedx_py", "environment", *options, venv]
    sbom: dict[str, Any] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return sbom


def complete(sbom: dict[str, Any]) -> None:
    """Add the version of the service, which is not in pyproject.toml, and Swagger UI."""
    root = sbom["metadata"]["component"]
    root["version"] = runpy.run_path("app/__init__.py")["__version__"]
    bundled = json.loads(SWAGGER_UI.read_text("utf-8"))["components"]
    references = [component["bom-ref"] for component in bundled]
    sbom["components"] += bundled
    next(entry for entry in sbom["dependencies"] if entry["ref"] == root["bom-ref"])["dependsOn"] += references
    sbom["dependencies"] += [{"ref": reference} for reference in references]


def missing_packages(sbom: dict[str, Any], venv: str) -> set[tuple[NormalizedName, str]]:
    """Names and versions of installed packages, from the names of their folders, that the SBOM lacks."""
    listed = {(canonicalize_name(c["name"]), c["version"]) for c in (sbom["metadata"]["component"], *sbom["components"])}
    folders = [folder.stem.partition("-") for folder in Path(venv).glob("lib/python*/site-packages/*.dist-info")]
    if not folders:
        raise SystemExit(f"{venv} is not a virtual environment with packages")
    return {(canonicalize_name(name), version) for name, _, version in folders} - listed


def main(venv: str) -> None:
    """Print the SBOM of a virtual environment."""
    sbom = read_environment(venv)
    complete(sbom)
    if missing := missing_packages(sbom, venv):
        raise SystemExit(f"the SBOM lacks {sorted(missing)}")
    text = json.dumps(sbom, indent=2, ensure_ascii=False)
    if error := JsonStrictValidator(SchemaVersion.V1_6).validate_str(text):
        raise SystemExit(f"the SBOM is not valid CycloneDX: {error}")
    print(text)


if __name__ == "__main__":
    main(*sys.argv[1:])
