"""Datasets: the rows of scikit-learn's own, and the geometry of the generated ones."""

import math
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from sklearn import datasets as sklearn_datasets

from app.nn.datasets import SOURCES, load
from app.nn.errors import InvalidNetwork
from tests.nn.networks import demo
from tests.rows import for_each

NAMES = ("moons", "circles", "blobs", "spiral", "xor", "digits", "iris", "wine", "breast_cancer", "diabetes")
GENERATED = NAMES[:5]
BUNDLED = {
    "digits": (1797, 64, 10),
    "iris": (150, 4, 3),
    "wine": (178, 13, 3),
    "breast_cancer": (569, 30, 2),
    "diabetes": (442, 10, None),
}


def test_names_are_those_of_the_contract() -> None:
    assert tuple(SOURCES) == NAMES


@for_each("name", NAMES)
def test_row_describes_its_dataset(name: str) -> None:
    source, made = SOURCES[name], load(name)
    assert made.name == source.name == name
    assert made.inputs.shape == (source.samples, source.features) and made.targets.shape == (source.samples,)
    assert made.classes == source.classes
    assert source.generated == (name in GENERATED)
    classes = sorted({int(target) for target in made.targets.tolist()})
    said = f"classes 0 {'and' if len(classes) == 2 else 'to'} {classes[-1]}" if classes[0] == 0 else "-1 or 1"
    assert source.targets == ("numbers" if made.classes is None and classes != [-1, 1] else said)


WITHOUT_LIBRARY = """
import sys
sys.modules["sklearn"] = sys.modules["sklearn.datasets"] = None  # importing it fails
from app.nn.datasets import SOURCES, load
for name in SOURCES:
    try:
        load(name)
        print(name)
    except ImportError:
        pass
"""


def test_loads_library_says_whether_scikit_learn_is_imported() -> None:
    """In a process of its own, which cannot import scikit-learn."""
    found = subprocess.run([sys.executable, "-c", WITHOUT_LIBRARY], capture_output=True, text=True, check=True)
    assert found.stdout.split() == [name for name, source in SOURCES.items() if not source.loads_library]


@pytest.mark.parametrize(("samples", "noise", "seed"), [(100, 0.1, 1337), (7, 0.0, 0), (1000, 0.5, 2**32 - 1), (2, None, 3)])
def test_moons_equal_those_of_scikit_learn(samples: int, noise: float | None, seed: int) -> None:
    found = load("moons", samples, noise, seed)
    inputs, classes = sklearn_datasets.make_moons(samples, noise=0.1 if noise is None else noise, random_state=seed)
    assert found.inputs.tolist() == inputs.tolist()
    assert found.targets.tolist() == [2.0 * c - 1.0 for c in classes.tolist()]


@pytest.mark.parametrize("name", ["moons", "circles", "blobs", "spiral", "xor"])
def test_negative_zero_is_no_noise(name: str) -> None:
    np.testing.assert_array_equal(load(name, 8, -0.0, 3).inputs, load(name, 8, 0.0, 3).inputs)


@pytest.mark.parametrize(("samples", "noise", "seed"), [(100, 0.1, 1337), (7, 0.0, 0), (50, 2.0, 2**32 - 1)])
def test_circles_and_blobs_equal_those_of_scikit_learn(samples: int, noise: float, seed: int) -> None:
    circles = sklearn_datasets.make_circles(samples, noise=noise, random_state=seed, factor=0.5)
    blobs = sklearn_datasets.make_blobs(samples, cluster_std=noise, random_state=seed, centers=2)
    for name, (inputs, classes) in {"circles": circles, "blobs": blobs}.items():
        found = load(name, samples, noise, seed)
        assert found.inputs.tolist() == inputs.tolist()
        assert found.targets.tolist() == [2.0 * c - 1.0 for c in classes.tolist()]


def test_moons_of_the_demo_equal_micrograds() -> None:
    found, published = load("moons", 100, 0.1, 1337), demo()
    assert found.inputs.tolist() == published["inputs"]
    assert found.targets.tolist() == published["targets"]


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_dataset_equals_that_of_scikit_learn(name: str) -> None:
    rows, features, classes = BUNDLED[name]
    found = load(name)
    inputs, targets = getattr(sklearn_datasets, f"load_{name}")(return_X_y=True)
    assert found.inputs.shape == (rows, features) and found.classes == classes
    assert found.inputs.tolist() == inputs.tolist() and found.targets.tolist() == targets.tolist()
    assert classes is None or set(found.targets.tolist()) == {float(k) for k in range(classes)}


@pytest.mark.parametrize("name", BUNDLED)
def test_sample_of_bundled_dataset_takes_each_row_at_most_once(name: str) -> None:
    whole, some = load(name), load(name, samples=20, seed=5)
    known = [(*row, target) for row, target in zip(whole.inputs.tolist(), whole.targets.tolist(), strict=True)]
    drawn = [(*row, target) for row, target in zip(some.inputs.tolist(), some.targets.tolist(), strict=True)]
    assert len(drawn) == 20 and set(drawn) <= set(known)
    assert all(drawn.count(row) <= known.count(row) for row in drawn)
    assert load(name, samples=20, seed=6).inputs.tolist() != some.inputs.tolist()
    assert load(name, samples=len(known), seed=5).inputs.tolist() == whole.inputs.tolist()


@for_each("name", GENERATED)
@for_each("samples", [1, 2, 3, 10, 101])
def test_generated_dataset_is_balanced_and_depends_on_its_seed(name: str, samples: int) -> None:
    found = load(name, samples, seed=4)
    assert found.inputs.shape == (samples, 2) and found.targets.shape == (samples,)
    assert set(found.targets.tolist()) <= {-1.0, 1.0} and found.classes is None
    if samples % 4 == 0 or name != "xor":
        assert abs(found.targets.sum()) <= 1
    assert np.isfinite(found.inputs).all()
    again = load(name, samples, seed=4)
    assert again.inputs.tolist() == found.inputs.tolist() and again.targets.tolist() == found.targets.tolist()
    if name != "xor":  # which has no noise by default
        assert load(name, samples, seed=5).inputs.tolist() != found.inputs.tolist()


def test_circles_without_noise_have_radii_of_a_half_and_one() -> None:
    found = load("circles", 80, 0.0, 3)
    radii = np.hypot(*found.inputs.T)
    for side in (-1.0, 1.0):
        assert np.ptp(radii[found.targets == side]) < 1e-12, "one radius per class"
    assert sorted({round(radius, 12) for radius in radii.tolist()}) == [0.5, 1.0]


def test_blobs_without_noise_are_two_points() -> None:
    found = load("blobs", 30, 0.0, 3)
    places = {(*row, target) for row, target in zip(found.inputs.tolist(), found.targets.tolist(), strict=True)}
    assert len(places) == 2


def test_noise_of_blobs_is_their_standard_deviation() -> None:
    found = load("blobs", 4000, 2.5, 1)
    for side in (-1.0, 1.0):
        assert found.inputs[found.targets == side].std(axis=0) == pytest.approx(2.5, rel=0.1)


def test_arms_of_the_spiral_mirror_each_other() -> None:
    found = load("spiral", 200, 0.0, 0)
    one, other = found.inputs[found.targets == -1.0], found.inputs[found.targets == 1.0]
    np.testing.assert_allclose(one, -other, atol=1e-14)
    radii, angles = np.hypot(*one.T), np.unwrap(np.arctan2(*one.T[::-1]))
    assert (np.diff(radii) > 0).all() and (np.diff(angles) > 0).all()
    np.testing.assert_allclose(angles - angles[0], (radii - radii[0]) * (angles[-1] - angles[0]) / (radii[-1] - radii[0]))


def test_arm_of_the_spiral_makes_one_and_a_half_turns_to_the_radius_two() -> None:
    found = load("spiral", 200, 0.0, 0)
    arm = found.inputs[found.targets == 1.0]
    radii, angles = np.hypot(*arm.T), np.unwrap(np.arctan2(*arm.T[::-1]))
    np.testing.assert_allclose(np.diff(angles), 3 * np.pi / 2 * np.diff(radii))
    assert 0.0 < radii[0] < 0.05 and 1.95 < radii[-1] < 2.0


def test_xor_without_noise_is_the_truth_table() -> None:
    found = load("xor")
    assert found.inputs.tolist() == [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]
    assert found.targets.tolist() == [-1.0, 1.0, 1.0, -1.0]


@pytest.mark.parametrize("name", ["moons", "circles", "xor", "spiral"])
def test_noise_is_the_standard_deviation_of_the_displacement(name: str) -> None:
    # scikit-learn shuffles before it draws noise, so a row is the same point with and without noise there too.
    still, moved = load(name, 4000, 0.0, 2), load(name, 4000, 0.3, 2)
    assert moved.targets.tolist() == still.targets.tolist()
    assert (moved.inputs - still.inputs).std() == pytest.approx(0.3, rel=0.05)


@pytest.mark.parametrize(
    ("options", "place", "words"),
    [
        pytest.param({"dataset": "moonz"}, "dataset", "'moonz'.*'moons'", id="misspelt name"),
        pytest.param({"dataset": "abalone"}, "dataset", "'abalone'.*digits", id="unknown name"),
        pytest.param({"dataset": "moons", "samples": 0}, "samples", "0", id="no samples"),
        pytest.param({"dataset": "moons", "samples": -1}, "samples", "-1", id="negative samples"),
        pytest.param({"dataset": "moons", "samples": 100_001}, "samples", "100000", id="too many generated samples"),
        pytest.param({"dataset": "iris", "samples": 151}, "samples", "150", id="more samples than rows"),
        pytest.param({"dataset": "moons", "noise": -0.1}, "noise", "negative", id="negative noise"),
        pytest.param({"dataset": "moons", "noise": float("nan")}, "noise", "nan", id="noise is NaN"),
        pytest.param(
            {"dataset": "moons", "noise": math.nextafter(1e6, math.inf)}, "noise", "1e\\+06", id="noise above a million"
        ),
        pytest.param({"dataset": "iris", "noise": 0.1}, "noise", "iris", id="noise for a bundled dataset"),
        pytest.param({"dataset": "moons", "seed": -1}, "seed", "-1", id="negative seed"),
        pytest.param({"dataset": "moons", "seed": 2**32}, "seed", "4294967295", id="seed of 33 bits"),
        pytest.param({"dataset": "digits", "seed": 2**32}, "seed", "4294967295", id="seed of 33 bits, bundled"),
    ],
)
def test_load_refuses_arguments_out_of_range(options: dict[str, Any], place: str, words: str) -> None:
    with pytest.raises(InvalidNetwork, match=words) as caught:
        load(**options)
    assert caught.value.place == (place,)


@pytest.mark.parametrize("options", [{"noise": 1e6}, {"samples": 100_000}, {"seed": 2**32 - 1}], ids=str)
def test_load_takes_the_largest_arguments(options: dict[str, Any]) -> None:
    assert len(load("moons", **options).inputs) == options.get("samples", 100)


@pytest.mark.parametrize("name", GENERATED)
def test_load_refuses_noise_that_would_overflow(name: str) -> None:
    with pytest.raises(InvalidNetwork, match="noise"):
        load(name, 100, 1e308, 1)
