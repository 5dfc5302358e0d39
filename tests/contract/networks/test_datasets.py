"""GET /v1/datasets and /v1/datasets/{name}."""

from typing import Any

import httpx
import numpy as np
import pytest
from sklearn import datasets as sklearn_datasets

from tests.contract.conftest import Post
from tests.contract.wire import assert_mentions, json_of, label, problem
from tests.rows import for_each

NAMES = ["moons", "circles", "blobs", "spiral", "xor", "digits", "iris", "wine", "breast_cancer", "diabetes"]
CLASSES = {"digits": 10, "iris": 3, "wine": 3, "breast_cancer": 2}
FEATURES = {"digits": 64, "iris": 4, "wine": 13, "breast_cancer": 30, "diabetes": 10}


def get(client: httpx.Client, name: str, **query: Any) -> httpx.Response:
    """Ask for a dataset."""
    return client.get(f"/v1/datasets/{name}", params=query)


@pytest.fixture(scope="module")
def listed(client: httpx.Client) -> dict[str, dict[str, Any]]:
    """The rows of the list of datasets by name."""
    return {row["name"]: row for row in json_of(client.get("/v1/datasets"))["datasets"]}


def test_list_has_every_dataset(listed: dict[str, dict[str, Any]]) -> None:
    assert list(listed) == NAMES


@for_each("name", NAMES)
def test_list_states_features_and_default_samples(client: httpx.Client, listed: dict[str, dict[str, Any]], name: str) -> None:
    row = listed[name]
    assert row["description"] and row["features"] == FEATURES.get(name, 2)
    assert len(json_of(get(client, name))["inputs"]) == row["samples"]


def test_list_states_the_noise_of_generated_datasets(listed: dict[str, dict[str, Any]]) -> None:
    """Of a bundled dataset it is null, since there is none to choose; of `xor` it is 0."""
    noise = {"moons": 0.1, "circles": 0.05, "blobs": 1.0, "spiral": 0.05, "xor": 0.0}
    assert {name: row["noise"] for name, row in listed.items()} == {name: noise.get(name) for name in NAMES}


@for_each("name", NAMES)
def test_shape_and_targets_of_a_dataset(client: httpx.Client, name: str) -> None:
    response = get(client, name, samples=4, seed=1)
    found = json_of(response)
    assert set(found) == {"name", "inputs", "targets", "features"} | ({"classes"} if name in CLASSES else set())
    assert found["name"] == name and found["features"] == FEATURES.get(name, 2)
    assert np.shape(found["inputs"]) == (4, found["features"]) and np.shape(found["targets"]) == (4,)
    assert found.get("classes") == CLASSES.get(name)
    if name in CLASSES:
        assert set(found["targets"]) <= set(range(CLASSES[name]))
    elif name != "diabetes":
        assert set(found["targets"]) == {-1.0, 1.0}
    assert get(client, name, samples=4, seed=1).content == response.content


@pytest.mark.parametrize(
    ("samples", "noise", "seed"),
    [(100, 0.1, 1337), (51, 0.0, 0), (200, 1.5, 2**32 - 1)],
    ids=["micrograd", "odd, no noise", "greatest seed"],
)
def test_moons_are_those_of_scikit_learn(client: httpx.Client, samples: int, noise: float, seed: int) -> None:
    found = json_of(get(client, "moons", samples=samples, noise=noise, seed=seed))
    inputs, classes = sklearn_datasets.make_moons(samples, noise=noise, random_state=seed)
    assert found["inputs"] == inputs.tolist() and found["targets"] == (2 * classes - 1).tolist()


@pytest.mark.parametrize("name", [*CLASSES, "diabetes"])
def test_bundled_datasets_are_those_of_scikit_learn(client: httpx.Client, name: str) -> None:
    inputs, targets = getattr(sklearn_datasets, f"load_{name}")(return_X_y=True)
    found = json_of(get(client, name))
    assert found["inputs"] == inputs.tolist() and found["targets"] == targets.tolist()


@for_each("name", NAMES)
def test_dataset_can_be_sent_to_train_unchanged(client: httpx.Client, post: Post, name: str) -> None:
    found = json_of(get(client, name, samples=4))
    loss, outputs = ("cross_entropy", found["classes"]) if name in CLASSES else ("mse", 1)
    body = {"model": {"inputs": found["features"], "layers": [outputs], "init": "he"}, "loss": loss, "steps": 1}
    given = post("networks/train", data=found, **body)
    named = post("networks/train", data={"dataset": name, "samples": 4}, **body)
    assert given.status_code == 200 and given.content == named.content


@for_each(
    ("name", "query", "words"),
    [
        ("moons", {"samples": 0}, ["samples", "0"]),
        ("moons", {"samples": -5}, ["samples", "-5"]),
        ("moons", {"samples": 100_001}, ["samples", "100000"]),
        ("iris", {"samples": 151}, ["samples", "150"]),
        ("moons", {"samples": "many"}, ["samples", "integer"]),
        ("moons", {"samples": "2.5"}, ["samples", "integer"]),
        ("moons", {"samples": ""}, ["samples"]),
        ("moons", {"samples": "1" * 400}, ["samples"]),
        ("moons", {"samples": "9" * 5000}, ["samples"]),
        ("moons", {"noise": "-0.1"}, ["noise", "negative|at least 0"]),
        ("moons", {"noise": "nan"}, ["noise", "number"]),
        ("moons", {"noise": "inf"}, ["noise", "number"]),
        ("moons", {"noise": "1e999"}, ["noise", "number"]),
        ("moons", {"noise": "1e308"}, ["noise"]),
        ("moons", {"noise": "loud"}, ["noise", "number"]),
        ("iris", {"noise": "0.1"}, ["noise", "iris"]),
        ("moons", {"seed": "-1"}, ["seed", "-1"]),
        ("moons", {"seed": 2**32}, ["seed", "4294967295"]),
        ("moons", {"seed": "1_0"}, ["seed", "integer|number"]),
        ("moons", {"n": 5}, ["'n'; there are samples"]),
        ("moons", {"sample": 5}, ["'sample'", "samples"]),
        ("moons", {"Samples": 5}, ["'Samples'", "samples"]),
    ],
)
def test_invalid_query_is_named(client: httpx.Client, name: str, query: dict[str, Any], words: list[str]) -> None:
    assert_mentions(problem(get(client, name, **query), "invalid-request", 422), words)


@pytest.mark.parametrize("name", ["Moons", "mnist", "x" * 500, "%00", "a%2Fb"], ids=label)
def test_unknown_dataset_is_not_found(client: httpx.Client, name: str) -> None:
    problem(get(client, name), "not-found", 404)


def test_unknown_dataset_names_the_nearest(client: httpx.Client) -> None:
    assert_mentions(problem(get(client, "moonz"), "not-found", 404), ["'moonz'", "moons"])
