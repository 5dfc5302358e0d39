"""Datasets: scikit-learn's own where they are its own, and the geometry of the others."""

import numpy as np
import pytest
from sklearn import datasets as sklearn_datasets

from app.nn.datasets import SOURCES, load
from app.nn.errors import InvalidNetwork
from tests.nn.networks import demo

NAMES = ("moons", "circles", "blobs", "spiral", "xor", "digits", "iris", "wine", "breast_cancer", "diabetes")
GENERATED = NAMES[:5]
BUNDLED = {
    "digits": (1797, 64, 10),
    "iris": (150, 4, 3),
    "wine": (178, 13, 3),
    "breast_cancer": (569, 30, 2),
    "diabetes": (442, 10, None),
}


def test_the_names_are_those_of_the_contract() -> None:
    assert tuple(SOURCES) == NAMES


@pytest.mark.parametrize(("samples", "noise", "seed"), [(100, 0.1, 1337), (7, 0.0, 0), (1000, 0.5, 2**32 - 1), (2, None, 3)])
def test_moons_are_scikit_learns(samples: int, noise: float | None, seed: int) -> None:
    found = load("moons", samples, noise, seed)
    inputs, classes = sklearn_datasets.make_moons(samples, noise=0.1 if noise is None else noise, random_state=seed)
    assert found.inputs.tolist() == inputs.tolist()
    assert found.targets.tolist() == [2.0 * c - 1.0 for c in classes.tolist()]


def test_the_demos_moons_are_those_that_micrograd_saw() -> None:
    found, published = load("moons", 100, 0.1, 1337), demo()
    assert found.inputs.tolist() == published["inputs"]
    assert found.targets.tolist() == published["targets"]


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_sets_are_scikit_learns_in_its_order(name: str) -> None:
    rows, features, classes = BUNDLED[name]
    found = load(name)
    inputs, targets = getattr(sklearn_datasets, f"load_{name}")(return_X_y=True)
    assert found.inputs.shape == (rows, features) and found.classes == classes
    assert found.inputs.tolist() == inputs.tolist() and found.targets.tolist() == targets.tolist()
    assert classes is None or set(found.targets.tolist()) == {float(k) for k in range(classes)}


@pytest.mark.parametrize("name", BUNDLED)
def test_samples_of_a_bundled_set_are_rows_of_it_each_once(name: str) -> None:
    whole, some = load(name), load(name, samples=20, seed=5)
    known = [(*row, target) for row, target in zip(whole.inputs.tolist(), whole.targets.tolist(), strict=True)]
    drawn = [(*row, target) for row, target in zip(some.inputs.tolist(), some.targets.tolist(), strict=True)]
    assert len(drawn) == 20 and set(drawn) <= set(known)
    assert all(drawn.count(row) <= known.count(row) for row in drawn)
    assert load(name, samples=20, seed=6).inputs.tolist() != some.inputs.tolist()
    assert load(name, samples=len(known), seed=5).inputs.tolist() == whole.inputs.tolist()


@pytest.mark.parametrize("name", GENERATED)
@pytest.mark.parametrize("samples", [1, 2, 3, 10, 101])
def test_generated_sets_have_two_halves(name: str, samples: int) -> None:
    found = load(name, samples, seed=4)
    assert found.inputs.shape == (samples, 2) and found.targets.shape == (samples,)
    assert set(found.targets.tolist()) <= {-1.0, 1.0} and found.classes is None
    if samples % 4 == 0 or name != "xor":
        assert abs(found.targets.sum()) <= 1
    assert np.isfinite(found.inputs).all()
    again = load(name, samples, seed=4)
    assert again.inputs.tolist() == found.inputs.tolist() and again.targets.tolist() == found.targets.tolist()
    if name != "xor":
        assert load(name, samples, seed=5).inputs.tolist() != found.inputs.tolist()


def test_circles_without_noise_are_circles() -> None:
    found = load("circles", 80, 0.0, 3)
    radii = np.hypot(*found.inputs.T)
    for side in (-1.0, 1.0):
        own = radii[found.targets == side]
        assert np.ptp(own) < 1e-12, "one radius"
    assert sorted({round(radius, 12) for radius in radii.tolist()}) == [0.5, 1.0]


def test_blobs_without_noise_are_two_points() -> None:
    found = load("blobs", 30, 0.0, 3)
    places = {(*row, target) for row, target in zip(found.inputs.tolist(), found.targets.tolist(), strict=True)}
    assert len(places) == 2


def test_the_deviation_of_blobs_is_their_noise() -> None:
    found = load("blobs", 4000, 2.5, 1)
    for side in (-1.0, 1.0):
        assert found.inputs[found.targets == side].std(axis=0) == pytest.approx(2.5, rel=0.1)


def test_the_arms_of_a_spiral_are_each_others_reflection() -> None:
    found = load("spiral", 200, 0.0, 0)
    one, other = found.inputs[found.targets == -1.0], found.inputs[found.targets == 1.0]
    np.testing.assert_allclose(one, -other, atol=1e-14)
    radii, angles = np.hypot(*one.T), np.unwrap(np.arctan2(*one.T[::-1]))
    assert (np.diff(radii) > 0).all() and (np.diff(angles) > 0).all()
    np.testing.assert_allclose(angles - angles[0], (radii - radii[0]) * (angles[-1] - angles[0]) / (radii[-1] - radii[0]))


def test_xor_without_noise_is_the_truth_table() -> None:
    found = load("xor")
    assert found.inputs.tolist() == [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]
    assert found.targets.tolist() == [-1.0, 1.0, 1.0, -1.0]


def test_noise_moves_points_by_as_much() -> None:
    for name in ("moons", "circles", "xor", "spiral"):
        still, moved = load(name, 4000, 0.0, 2), load(name, 4000, 0.3, 2)
        if name in ("xor", "spiral"):  # scikit-learn's shuffles before it draws noise, so rows stay in place there too
            assert moved.targets.tolist() == still.targets.tolist()
        assert (moved.inputs - still.inputs).std() == pytest.approx(0.3, rel=0.05)


@pytest.mark.parametrize(
    ("options", "path", "words"),
    [
        ({"name": "moonz"}, "dataset", "'moonz'.*'moons'"),
        ({"name": "abalone"}, "dataset", "'abalone'.*digits"),
        ({"name": "moons", "samples": 0}, "samples", "0"),
        ({"name": "moons", "samples": -1}, "samples", "-1"),
        ({"name": "moons", "samples": 100_001}, "samples", "100000"),
        ({"name": "iris", "samples": 151}, "samples", "150"),
        ({"name": "moons", "noise": -0.1}, "noise", "negative"),
        ({"name": "iris", "noise": 0.1}, "noise", "iris"),
        ({"name": "moons", "seed": -1}, "seed", "-1"),
        ({"name": "moons", "seed": 2**32}, "seed", "4294967295"),
        ({"name": "digits", "seed": 2**32}, "seed", "4294967295"),
    ],
)
def test_what_there_is_not(options: dict[str, object], path: str, words: str) -> None:
    with pytest.raises(InvalidNetwork, match=words) as caught:
        load(**options, place=("data",))  # type: ignore[arg-type]
    assert caught.value.path == ("data", path)


@pytest.mark.parametrize("name", GENERATED)
def test_noise_that_overflows_is_refused(name: str) -> None:
    with pytest.raises(InvalidNetwork, match="noise"):
        load(name, 100, 1e308, 1)
