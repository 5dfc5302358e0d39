"""Swagger UI's files, which are copies: each is the recorded one, and the installed package has all of them."""

import json
import re
from hashlib import sha256
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import pytest

from app.api import docs

FOLDER = docs.SWAGGER_UI
RECORD = FOLDER / "sbom.cdx.json"
COMPONENT: dict[str, Any] = json.loads(RECORD.read_text("utf-8"))["components"][0]
HASHES: dict[str, str] = {file["name"]: file["hashes"][0]["content"] for file in COMPONENT["components"]}
LICENCES = ("LICENSE", "NOTICE", "swagger-ui-bundle.js.LICENSE.txt")


def hash_of(file: Path) -> str:
    """The SHA-256 of a file."""
    return sha256(file.read_bytes()).hexdigest()


def installed() -> Distribution:
    """The project as pip installed it from a wheel."""
    try:
        found = distribution("autodiff-http")
    except PackageNotFoundError:
        pytest.skip("the project is not installed")
    if "app/__init__.py" not in {str(file) for file in found.files or ()}:
        pytest.skip("an editable installation has no copies")
    return found


def test_every_file_has_the_recorded_hash() -> None:
    found = {file.name: hash_of(file) for file in FOLDER.iterdir() if file != RECORD}
    assert found == HASHES, f"{RECORD.name} should have the hashes {json.dumps(found, indent=2)}"


def test_every_asset_is_recorded() -> None:
    assert set(docs.MEDIA_TYPES) <= set(HASHES)


def test_package_version_and_licence_are_recorded() -> None:
    version = COMPONENT["version"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", version)
    assert COMPONENT["purl"] == f"pkg:npm/swagger-ui-dist@{version}"
    assert COMPONENT["licenses"][0]["license"]["id"] == "Apache-2.0"
    assert [(entry["alg"], len(entry["content"])) for entry in COMPONENT["hashes"]] == [("SHA-512", 128)]


def test_licence_and_notices_are_there() -> None:
    texts = [(FOLDER / name).read_text("utf-8") for name in LICENCES]
    for text, words in zip(texts, ("Apache License", "SmartBear", "DOMPurify"), strict=True):
        assert words in text


@pytest.mark.parametrize("name", ["swagger-ui-bundle.js", "swagger-ui.css"])
def test_no_file_names_a_source_map(name: str) -> None:
    """It would be requested by the developer tools of browsers, and is not there."""
    assert b"sourceMappingURL" not in (FOLDER / name).read_bytes()


def test_licences_that_the_bundle_refers_to_are_served() -> None:
    first_line = (FOLDER / "swagger-ui-bundle.js").read_text("utf-8").partition("\n")[0]
    assert "swagger-ui-bundle.js.LICENSE.txt" in first_line and "swagger-ui-bundle.js.LICENSE.txt" in docs.MEDIA_TYPES


def test_installed_package_has_every_file() -> None:
    project = installed()
    folder = Path(str(project.locate_file("app/api/swagger_ui")))
    assert {name: hash_of(folder / name) for name in HASHES} == HASHES


def test_metadata_of_the_installed_package_has_licences_and_sbom() -> None:
    files = {str(file).partition(".dist-info/")[2] for file in installed().files or ()}
    assert {f"licenses/app/api/swagger_ui/{name}" for name in LICENCES} <= files
    assert f"sboms/{RECORD.name}" in files
