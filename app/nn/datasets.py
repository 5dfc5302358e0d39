"""Datasets by name: scikit-learn's generators and bundled sets, and two of our own.

scikit-learn is imported when a set is first asked for, since it takes half a second. Not here: training.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from app.engine.errors import nearest, quote
from app.nn.errors import InvalidNetwork
from app.nn.model import Floats

MOST_SAMPLES = 100_000
MOST_NOISE = 1e6


@dataclass(frozen=True, slots=True)
class Dataset:
    """Rows of inputs of shape (rows, features), a target for each, and the number of classes, None where targets are no
    classes 0 to classes - 1.
    """

    name: str
    inputs: Floats
    targets: Floats
    classes: int | None


@dataclass(frozen=True, slots=True)
class Source:
    """A dataset that there is. `make(samples, noise, seed)` gives inputs and targets; `generated` sets take any number of
    samples and noise, the others have `samples` rows, of which fewer can be drawn.
    """

    name: str
    description: str
    features: int
    classes: int | None
    targets: str
    samples: int
    noise: float
    generated: bool
    make: Callable[[int, float, int], tuple[Floats, Floats]]


def _generated(maker: str, **options: Any) -> Callable[[int, float, int], tuple[Floats, Floats]]:
    """One of scikit-learn's generators of two classes, which become the targets -1 and 1."""

    def make(samples: int, noise: float, seed: int) -> tuple[Floats, Floats]:
        from sklearn import datasets

        if maker == "make_blobs":
            drawn = datasets.make_blobs(samples, cluster_std=noise, random_state=seed, **options)
        else:
            drawn = getattr(datasets, maker)(samples, noise=noise, random_state=seed, **options)
        return drawn[0], drawn[1] * 2.0 - 1.0

    return make


def _bundled(loader: str) -> Callable[[int, float, int], tuple[Floats, Floats]]:
    """One of the sets that scikit-learn carries; where fewer rows than all are wanted, they are drawn without repetition."""

    def make(samples: int, noise: float, seed: int) -> tuple[Floats, Floats]:
        from sklearn import datasets

        inputs, targets = getattr(datasets, loader)(return_X_y=True)
        if samples < len(inputs):
            rows = np.random.Generator(np.random.PCG64(seed)).permutation(len(inputs))[:samples]
            inputs, targets = inputs[rows], targets[rows]
        return np.ascontiguousarray(inputs, np.float64), targets.astype(np.float64)

    return make


def _spiral(samples: int, noise: float, seed: int) -> tuple[Floats, Floats]:
    """Two arms of a spiral around the origin, one turn and a half each, with normal noise."""
    generator = np.random.Generator(np.random.PCG64(seed))
    arms = np.arange(samples) % 2
    way = (np.arange(samples) // 2 + 1) / (samples // 2 + 1)
    angle = 3.0 * np.pi * way + np.pi * arms
    inputs = 2.0 * way[:, np.newaxis] * np.column_stack([np.cos(angle), np.sin(angle)])
    return inputs + generator.normal(0.0, noise, inputs.shape), np.where(arms == 1, 1.0, -1.0)


def _xor(samples: int, noise: float, seed: int) -> tuple[Floats, Floats]:
    """The corners of the unit square in turn, with normal noise; the target is 1 where the two coordinates differ."""
    generator = np.random.Generator(np.random.PCG64(seed))
    corners = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])[np.arange(samples) % 4]
    targets = np.where(corners[:, 0] == corners[:, 1], -1.0, 1.0)
    return corners + generator.normal(0.0, noise, corners.shape), targets


SOURCES: dict[str, Source] = {
    source.name: source
    for source in (
        Source(
            "moons", "two half circles, scikit-learn's make_moons", 2, None, "-1 or 1", 100, 0.1, True,
            _generated("make_moons"),
        ),
        Source(
            "circles", "a circle in a circle, scikit-learn's make_circles", 2, None, "-1 or 1", 100, 0.05, True,
            _generated("make_circles", factor=0.5),
        ),
        Source(
            "blobs", "two clouds of points, scikit-learn's make_blobs; noise is their deviation", 2, None, "-1 or 1", 100, 1.0,
            True, _generated("make_blobs", centers=2),
        ),
        Source("spiral", "two arms of a spiral", 2, None, "-1 or 1", 200, 0.05, True, _spiral),
        Source("xor", "the corners of a square, alike where they lie across", 2, None, "-1 or 1", 4, 0.0, True, _xor),
        Source("digits", "images of digits, 8 by 8", 64, 10, "classes 0 to 9", 1797, 0.0, False, _bundled("load_digits")),
        Source("iris", "three kinds of iris by four lengths", 4, 3, "classes 0 to 2", 150, 0.0, False, _bundled("load_iris")),
        Source("wine", "three wines by chemistry", 13, 3, "classes 0 to 2", 178, 0.0, False, _bundled("load_wine")),
        Source(
            "breast_cancer", "tumours by thirty measures of cells", 30, 2, "classes 0 and 1", 569, 0.0, False,
            _bundled("load_breast_cancer"),
        ),
        Source("diabetes", "progress of a disease, a number", 10, None, "numbers", 442, 0.0, False, _bundled("load_diabetes")),
    )
}  # fmt: skip


def load(
    name: str, samples: int | None = None, noise: float | None = None, seed: int = 0, place: tuple[str | int, ...] = ()
) -> Dataset:
    """The dataset `name`. Raises InvalidNetwork for a name that is none and for numbers out of range, at `place`."""
    source = SOURCES.get(name)
    if source is None:
        hint = nearest(name, SOURCES) or f" There are {', '.join(SOURCES)}."
        raise InvalidNetwork(f"there is no dataset {quote(name)}.{hint}", (*place, "dataset"))
    most = MOST_SAMPLES if source.generated else source.samples
    count = source.samples if samples is None else samples
    if not 1 <= count <= most:
        raise InvalidNetwork(f"{name} has 1 to {most} samples, not {count}", (*place, "samples"))
    if noise is not None and (not 0.0 <= noise <= MOST_NOISE or not source.generated):
        of_range = f"noise is not negative, and at most {MOST_NOISE:g}, not {noise:g}"
        detail = of_range if source.generated else f"{name} is bundled and takes no noise"
        raise InvalidNetwork(detail, (*place, "noise"))
    if not 0 <= seed < 2**32:
        raise InvalidNetwork(f"a seed is an integer from 0 to 4294967295, not {seed}", (*place, "seed"))
    inputs, targets = source.make(count, source.noise if noise is None else noise, seed)
    return Dataset(name, inputs, targets, source.classes)
