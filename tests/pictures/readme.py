"""Draw the pictures of the README: `python -m tests.pictures.readme .github/pictures`.

The service draws them, in process. Those by Matplotlib are made smaller, with fewer colours, to be light in the repository.
"""

import io
import json
import sys
from pathlib import Path
from typing import Any

from PIL import Image

from app.main import create_app
from app.settings import Settings
from tests.conftest import ROOT
from tests.service.inprocess import send

SIZE, COLOURS = (720, 540), 256

ENZYME = {
    "expression": "Vm*conc/(K + conc)",
    "data": {
        "conc": [0.02, 0.02, 0.06, 0.06, 0.11, 0.11, 0.22, 0.22, 0.56, 0.56, 1.1, 1.1],
        "rate": [76, 47, 97, 107, 123, 139, 159, 152, 191, 201, 207, 200],
    },
    "target": "rate",
    "parameters": {"Vm": 200, "K": 0.05},
}
"""The treated cells of R's Puromycin, as the playground's lesson `fit/enzyme` has them."""


def pictures() -> dict[str, bytes]:
    """The pictures by the names of their files."""
    app = create_app(Settings())

    def post(path: str, body: dict[str, Any], accept: str = "application/json") -> bytes:
        response = send(app, "POST", path, json=body, headers={"accept": accept}, timeout=60)
        response.raise_for_status()
        return response.content

    training = json.loads((ROOT / "openapi" / "examples" / "train_stream.moons.json").read_text("utf-8"))["request"]
    model = json.loads(post("/v1/networks/train", training))["model"]
    moons = {"model": model, "data": training["data"], "padding": 0.5}
    loss = {"expression": "loss = (w*x - y)**2", "inputs": {"w": 2, "x": 3, "y": 5}}  # the README's first request
    return {
        "loss.svg": post("/v1/graph", loss, "image/svg+xml"),
        "backward.svg": post("/v1/graph", {"expression": "b = a + a; c = b*b", "inputs": {"a": 3}}, "image/svg+xml"),
        "moons.png": _small(post("/v1/networks/decision-boundary", moons, "image/png")),
        "fit.png": _small(post("/v1/fit", ENZYME, "image/png")),
    }


def _small(png: bytes) -> bytes:
    picture = Image.open(io.BytesIO(png)).convert("RGB").resize(SIZE, Image.Resampling.LANCZOS)
    made = io.BytesIO()
    picture.quantize(COLOURS, dither=Image.Dither.NONE).save(made, "png", optimize=True)
    return made.getvalue()


if __name__ == "__main__":
    for name, content in pictures().items():
        (Path(sys.argv[1]) / name).write_bytes(content)
        print(f"{name}: {len(content):,} bytes")
