"""The README's pictures are small, and what the service draws now."""

import io
import re

import numpy as np
import pytest
from PIL import Image

from tests.conftest import ROOT
from tests.pictures.readme import pictures

SHOWN = re.findall(r"[(\"](\.github/pictures/([\w.]+))[)\"]", (ROOT / "README.md").read_text("utf-8"))


@pytest.fixture(scope="module")
def drawn() -> dict[str, bytes]:
    return pictures()


def test_pictures_that_are_shown() -> None:
    assert sorted(name for _, name in SHOWN) == ["backward.svg", "fit.png", "loss.svg", "moons.png"]


@pytest.mark.parametrize(("path", "name"), SHOWN, ids=[name for _, name in SHOWN])
def test_picture_is_small_and_current(drawn: dict[str, bytes], path: str, name: str) -> None:
    """Text may differ a little between releases of Matplotlib."""
    content = (ROOT / path).read_bytes()
    assert len(content) < 60_000
    if name.endswith(".svg"):
        assert content == drawn[name]
        return
    found, wanted = (np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), float) for png in (content, drawn[name]))
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).mean() < 4.0  # of 255
