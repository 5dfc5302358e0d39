"""Datasets by name: scikit-learn's generators and bundled datasets, and two of our own.

scikit-learn is imported when one of its datasets is first loaded, because that takes half a second.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from app.engine.errors import nearest, quote
from app.nn.errors import InvalidNetwork
from app.nn.model import Floats

MAX_SAMPLES = 100_000
MAX_NOISE = 1e6
MAX_SEED = 2**32 - 1

Make = Callable[[int, float, int], tuple[Floats, Floats]]
"""Make a dataset from (samples, noise, seed): inputs of shape (samples, features) and targets of shape (samples,)."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """A loaded dataset: `inputs` of shape (rows, features) and `targets` of shape (rows,).

    `classes` is the number of classes if the targets are the classes 0 to classes - 1, else None.
    """

    name: str
    inputs: Floats
    targets: Floats
    classes: int | None


@dataclass(frozen=True, slots=True)
class Source:
    """A row of the table of datasets.

    `samples` and `noise` are the defaults. A generated dataset takes any number of samples, up to MAX_SAMPLES, and any noise;
    a bundled one has `samples` rows, of which fewer can be drawn. `targets` says in words what the targets are. If
    `loads_library` is true, the first call of `make` imports scikit-learn.
    """

    name: str
    description: str
    features: int
    classes: int | None
    targets: str
    samples: int
    noise: float
    generated: bool
    loads_library: bool
    make: Make

    @property
    def max_samples(self) -> int:
        """The largest number of samples that can be loaded."""
        return MAX_SAMPLES if self.generated else self.samples


def _moons(samples: int, noise: float, seed: int) -> tuple[Floats, Floats]:
    from sklearn.datasets import make_moons

    return _signs(make_moons(samples, noise=noise, random_state=seed))


def _circles(samples: int, noise: float, seed: int) -> tuple[Floats, Floats]:
    from sklearn.datasets import make_circles

    return _signs(make_circles(samples, noise=noise, random_state=seed, factor=0.5))


def _blobs(samples: int, noise: float, seed: int) -> tuple[Floats, Floats]:
    from sklearn.datasets import make_blobs

    return _signs(make_blobs(samples, cluster_std=noise, random_state=seed, centers=2))


def _signs(drawn: tuple[Any, Any]) -> tuple[Floats, Floats]:
    """Replace the classes 0 and 1 by the targets -1 and 1."""
    inputs, classes = drawn
    return inputs, classes * 2.0 - 1.0


def _bundled(loader: str) -> Make:
    """Return the `make` of a dataset that scikit-learn carries. A smaller sample is drawn without repetition."""

    def make(samples: int, noise: float, seed: int) -> tuple[Floats, Floats]:
        from sklearn import datasets

        inputs, targets = getattr(datasets, loader)(return_X_y=True)
        if samples < len(inputs):
            rows = np.random.Generator(np.random.PCG64(seed)).permutation(len(inputs))[:samples]
            inputs, targets = inputs[rows], targets[rows]
        return np.ascontiguousarray(inputs, np.float64), targets.astype(np.float64)

    return make


def _spiral(samples: int, noise: float, seed: int) -> tuple[Floats, Floats]:
    """Two arms around the origin, one and a half turns each, with normal noise."""
    generator = np.random.Generator(np.random.PCG64(seed))
    arms = np.arange(samples) % 2
    way = (np.arange(samples) // 2 + 1) / (samples // 2 + 1)
    angle = 3.0 * np.pi * way + np.pi * arms
    inputs = 2.0 * way[:, np.newaxis] * np.column_stack([np.cos(angle), np.sin(angle)])
    return inputs + generator.normal(0.0, noise, inputs.shape), np.where(arms == 1, 1.0, -1.0)


def _xor(samples: int, noise: float, seed: int) -> tuple[Floats, Floats]:
    """The corners of the unit square in turn, with normal noise. The target is 1 if the two coordinates differ, else -1."""
    generator = np.random.Generator(np.random.PCG64(seed))
    corners = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])[np.arange(samples) % 4]
    targets = np.where(corners[:, 0] == corners[:, 1], -1.0, 1.0)
    return corners + generator.normal(0.0, noise, corners.shape), targets


def _two_classes(name: str, description: str, samples: int, noise: float, make: Make, loads_library: bool) -> Source:
    """A generated dataset of two features, with the targets -1 and 1."""
    return Source(
        name=name,
        description=description,
        features=2,
        classes=None,
        targets="-1 or 1",
        samples=samples,
        noise=noise,
        generated=True,
        loads_library=loads_library,
        make=make,
    )


def _from_library(name: str, description: str, features: int, classes: int | None, targets: str, samples: int) -> Source:
    """A dataset that scikit-learn loads with `load_<name>`."""
    return Source(
        name=name,
        description=description,
        features=features,
        classes=classes,
        targets=targets,
        samples=samples,
        noise=0.0,
        generated=False,
        loads_library=True,
        make=_bundled(f"load_{name}"),
    )


SOURCES: dict[str, Source] = {
    row.name: row
    for row in (
        _two_classes("moons", "two half circles, scikit-learn's make_moons", 100, 0.1, _moons, True),
        _two_classes("circles", "a circle in a circle, scikit-learn's make_circles", 100, 0.05, _circles, True),
        _two_classes(
            "blobs",
            "two clouds of points, scikit-learn's make_blobs; noise is their standard deviation",
            100,
            1.0,
            _blobs,
            True,
        ),
        _two_classes("spiral", "two arms of a spiral", 200, 0.05, _spiral, False),
        _two_classes("xor", "the corners of a square; opposite corners have the same target", 4, 0.0, _xor, False),
        _from_library("digits", "images of handwritten digits, 8 by 8 pixels", 64, 10, "classes 0 to 9", 1797),
        _from_library("iris", "three species of iris by four measurements", 4, 3, "classes 0 to 2", 150),
        _from_library("wine", "three wines by chemical analysis", 13, 3, "classes 0 to 2", 178),
        _from_library("breast_cancer", "tumours by thirty measurements of cell nuclei", 30, 2, "classes 0 and 1", 569),
        _from_library("diabetes", "disease progression after one year", 10, None, "numbers", 442),
    )
}


def load(dataset: str, samples: int | None = None, noise: float | None = None, seed: int = 0) -> Dataset:
    """Load a dataset by name. None stands for the dataset's own number of samples and noise.

    Raises InvalidNetwork for an unknown name or a number out of range, at the name of the argument.
    """
    source = SOURCES.get(dataset)
    if source is None:
        plain = dataset.lower().removeprefix("make_").removeprefix("load_").removeprefix("two_")
        other = f" It is called {quote(plain)} here." if plain in SOURCES else nearest(dataset, SOURCES)
        hint = other or f" Use one of {', '.join(SOURCES)}."
        raise InvalidNetwork(f"there is no dataset {quote(dataset)}.{hint}", ("dataset",))
    count = source.samples if samples is None else samples
    if not 1 <= count <= source.max_samples:
        raise InvalidNetwork(f"samples of {dataset} must be from 1 to {source.max_samples}, not {count}", ("samples",))
    if noise is not None:
        if not source.generated:
            raise InvalidNetwork(f"{dataset} is a bundled dataset and takes no noise", ("noise",))
        if not 0.0 <= noise <= MAX_NOISE:
            raise InvalidNetwork(f"noise must not be negative and must be at most {MAX_NOISE:g}, not {noise:g}", ("noise",))
    if not 0 <= seed <= MAX_SEED:
        raise InvalidNetwork(f"seed must be an integer from 0 to {MAX_SEED}, not {seed}", ("seed",))
    inputs, targets = source.make(count, source.noise if noise is None else abs(noise), seed)  # NumPy refuses -0.0
    return Dataset(dataset, inputs, targets, source.classes)
