"""Training over HTTP: micrograd's published demo, PyTorch's numbers, resumption to the byte, digits, many clients at once."""

import json
import math
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pytest

from tests.contract.conftest import Post, Start
from tests.contract.wire import LOCAL, answer, problem
from tests.nn.networks import MODEL, OPTIMIZERS, RECORDED, ROWS, SPEC, Text, demo, parameters, parts, rows, written

MOONS = {"dataset": "moons", "samples": 40, "noise": 0.2, "seed": 5}


def train(post: Post, **body: Any) -> Any:
    return answer(post("networks/train", **({"model": SPEC, "data": MOONS, "loss": "max_margin"} | body)))


# --- the published demo


def test_micrograds_demo_from_its_seeds(client: httpx.Client) -> None:
    """Dataset, network, training: three requests, no number in them but sizes, seeds and the demo's hyperparameters."""
    published = demo()
    data = answer(client.get("/v1/datasets/moons", params={"samples": 100, "noise": 0.1, "seed": 1337}))
    assert data["inputs"] == published["inputs"]
    assert data["targets"] == published["targets"]
    made = answer(client.post("/v1/networks", json={"inputs": 2, "layers": [16, 16, 1], "seed": 1337}))
    assert parameters(made["model"]) == published["initial_parameters"]
    request = {
        "model": made["model"],
        "data": data,
        "loss": "max_margin",
        "l2": 1e-4,
        "optimizer": {"name": "sgd", "learning_rate": "1.0 - 0.9*step/100"},
        "steps": 100,
    }
    found = answer(client.post("/v1/networks/train", json=request))
    assert found["stopped"] == "completed" and "detail" not in found
    assert [row["step"] for row in found["history"]] == list(range(100))
    for row, expected in zip(found["history"], published["history"], strict=True):
        assert row["loss"] == pytest.approx(expected["loss"], rel=0.0, abs=1e-12)
        assert row["accuracy"] == expected["accuracy"]
        assert row["learning_rate"] == pytest.approx(1.0 - 0.9 * row["step"] / 100, rel=1e-15)
        assert row["loss"] == row["data_loss"] + row["regularization_loss"]
    final = parameters(found["model"])
    assert final == pytest.approx(published["final_parameters"], rel=0.0, abs=1e-10)
    scores = answer(client.post("/v1/networks/predict", json={"model": found["model"], "inputs": data["inputs"]}))["outputs"]
    assert sum((s > 0) == (t > 0) for (s,), t in zip(scores, published["targets"], strict=True)) == 100


def test_the_demo_is_also_one_request(post: Post) -> None:
    data = {"dataset": "moons", "samples": 100, "noise": 0.1, "seed": 1337}
    spec = {"inputs": 2, "layers": [16, 16, 1], "activation": "relu", "init": "uniform", "seed": 1337}
    rate = {"learning_rate": "1.0 - 0.9*step/100"}
    found = train(post, model=spec, data=data, l2=1e-4, optimizer=rate, steps=100)
    assert parameters(found["model"]) == pytest.approx(demo()["final_parameters"], rel=0.0, abs=1e-10)


# --- PyTorch

TORCH = json.loads((RECORDED / "training.json").read_text("utf-8"))


@pytest.mark.parametrize("case", TORCH["cases"], ids=[case["name"] for case in TORCH["cases"]])
def test_twenty_steps_are_pytorchs(post: Post, case: dict[str, Any]) -> None:
    layers = [
        {"weights": weights, "biases": biases, "activation": activation}
        for weights, biases, activation in zip(TORCH["weights"], TORCH["biases"], case["activations"], strict=True)
    ]
    data = {"inputs": TORCH["inputs"], "targets": TORCH["targets"][case["targets"]]}
    found = train(post, model={"layers": layers}, data=data, steps=20, **case["request"])
    losses = [row["loss"] for row in found["history"]]
    assert losses == pytest.approx(case["losses"], rel=0.0, abs=1e-9)
    flat = [n for layer in found["model"]["layers"] for n in (*(w for row in layer["weights"] for w in row), *layer["biases"])]
    assert flat == pytest.approx(case["parameters"], rel=0.0, abs=1e-8)


def test_the_records_cover_every_optimizer_loss_and_activation() -> None:
    cases = TORCH["cases"]
    assert {case["request"]["optimizer"]["name"] for case in cases} == {"sgd", "adam", "adamw", "rmsprop"}
    assert {case["request"]["loss"] for case in cases} == {
        "max_margin", "mse", "mae", "huber", "binary_cross_entropy", "cross_entropy",
    }  # fmt: skip
    used = {activation for case in cases for activation in case["activations"]}
    assert used == {"relu", "tanh", "sigmoid", "silu", "gelu", "elu", "leaky_relu", "softplus", "linear", "sin"}
    named = {option for case in cases for option in case["request"]["optimizer"]}
    assert named == {
        "name", "learning_rate", "momentum", "nesterov", "dampening", "weight_decay", "betas", "eps", "amsgrad", "alpha",
        "centered",
    }  # fmt: skip


# --- losses of one's own


def test_a_loss_as_an_expression_is_the_named_one(post: Post) -> None:
    """(score - target)**2 is "mse" to the last bit; so is its graph, and for several outputs."""
    nodes = [
        {"id": "score", "op": "value"},
        {"id": "target", "op": "value"},
        {"id": "d", "op": "sub", "args": ["score", "target"]},
        {"id": "out", "op": "pow", "args": ["d", 2]},
    ]
    data = {"inputs": ROWS["inputs"], "targets": [[0.5, 1.0], [-1.0, 2.0], [0.25, 0.0], [3.0, -1.0]]}
    body = {"model": SPEC | {"layers": [5, 2]}, "data": data, "steps": 30, "optimizer": {"name": "adam", "learning_rate": 0.05}}
    named = post("networks/train", loss="mse", **body)
    assert named.status_code == 200
    for expression in ("(score - target)**2", {"nodes": nodes, "output": "out"}):
        assert post("networks/train", loss={"expression": expression}, **body).content == named.content
    by_name = post("networks/backward", model=body["model"], data=data, loss="mse")
    by_text = post("networks/backward", model=body["model"], data=data, loss={"expression": "(score - target)**2"})
    assert by_name.status_code == 200 and by_name.content == by_text.content


def test_a_loss_need_not_look_at_everything(post: Post) -> None:
    for expression, first in (("score", None), ("target", 0.0), ("1.5", 1.5), ("a = score*score; 0.5*a", None)):
        found = train(post, loss={"expression": expression}, steps=3, data=MOONS)
        if first is not None:
            assert [row["loss"] for row in found["history"]] == [first] * 3, "half of moons' targets are -1, half 1"


# --- the request itself


def test_the_contracts_request_as_it_stands_there(post: Post) -> None:
    """Every field, nulls too; and all that may be left out is what the contract writes."""
    data = {"inputs": [[1.0, 1.0], [0.5, -1.0]], "targets": [1, -1]}
    layers = [
        {"weights": [[0.1, -0.2], [0.3, 0.4]], "biases": [0.0, 0.0], "activation": "relu"},
        {"weights": [[0.5, -0.6]], "biases": [0.0], "activation": "linear"},
    ]
    request = {
        "model": {"layers": layers},
        "data": data,
        "loss": "max_margin",
        "l2": 0.0001,
        "optimizer": {"name": "sgd", "learning_rate": "1.0 - 0.9*step/100"},
        "steps": 100,
        "batch_size": None,
        "seed": 0,
        "log_every": 1,
        "state": None,
    }
    response = post("networks/train", **request)
    found = answer(response)
    assert set(found) == {"model", "state", "history", "stopped"} and len(found["history"]) == 100
    # By hand: scores are -0.6*0.7 and 0.5*0.25, so the margins are 1.42 and 1.125; the squares of the weights add up to 0.91.
    first = found["history"][0]
    assert first["data_loss"] == pytest.approx((1.42 + 1.125) / 2, rel=1e-15)
    assert first["regularization_loss"] == pytest.approx(0.91e-4, rel=1e-14)
    assert first["accuracy"] == 0.0 and first["learning_rate"] == 1.0
    for name in ("batch_size", "seed", "log_every", "state", "steps"):
        del request[name]
        assert post("networks/train", **request).content == response.content, name


def test_the_default_optimizer_is_plain_sgd(post: Post) -> None:
    body: dict[str, Any] = {"model": SPEC, "data": MOONS, "loss": "mse", "steps": 5}
    plain = post("networks/train", **body)
    assert plain.status_code == 200
    for optimizer in ({}, {"name": "sgd"}, {"learning_rate": None}, {"name": "sgd", "learning_rate": 0.001, "nesterov": False}):
        assert post("networks/train", optimizer=optimizer, **body).content == plain.content


# --- resumption


def resume(post: Post, first: httpx.Response, **body: Any) -> httpx.Response:
    """The rest of a training, from the very text of the model and the state in an answer."""
    text = parts(first.content)
    assert answer(first)["stopped"] == "completed"
    return post("networks/train", content=written(**body | {"model": Text(text["model"]), "state": Text(text["state"])}))


@pytest.mark.parametrize("batch", [None, 7], ids=["all rows", "batches"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_sixty_steps_and_forty_are_a_hundred(post: Post, name: str, batch: int | None) -> None:
    body: dict[str, Any] = {
        "data": MOONS,
        "loss": "max_margin",
        "l2": 1e-3,
        "optimizer": OPTIMIZERS[name],
        "batch_size": batch,
        "seed": 3,
    }
    whole = post("networks/train", model=SPEC, steps=100, **body)
    expected = parts(whole.content)
    assert list(expected) == ["model", "state", "history", "stopped"]
    for first, second in ((60, 40), (1, 99), (99, 1)):
        one = post("networks/train", model=SPEC, steps=first, **body)
        two = resume(post, one, steps=second, **body)
        found = parts(two.content)
        assert (found["model"], found["state"]) == (expected["model"], expected["state"]), (first, second)
        assert rows(parts(one.content)["history"]) + rows(found["history"]) == rows(expected["history"])

        # A client that reads numbers and writes them again, as Python does.
        state, model = json.loads(json.dumps(answer(one)["state"])), json.loads(json.dumps(answer(one)["model"]))
        assert post("networks/train", model=model, state=state, steps=second, **body).content == two.content

    # Thinned: each seventh step of the whole, and the last of each part.
    thin = body | {"log_every": 7}
    one = post("networks/train", model=SPEC, steps=60, **thin)
    two = resume(post, one, steps=40, **thin)
    found = parts(two.content)
    assert (found["model"], found["state"]) == (expected["model"], expected["state"])
    every = rows(expected["history"])
    assert rows(parts(one.content)["history"]) == [*every[:60:7], every[59]]
    assert rows(found["history"]) == [*every[63::7], every[99]]


def test_a_state_counts_steps_and_has_pytorchs_names(post: Post) -> None:
    names = {
        "sgd": set(),
        "sgd momentum": {"momentum_buffer"},
        "adam": {"exp_avg", "exp_avg_sq"},
        "adam amsgrad": {"exp_avg", "exp_avg_sq", "max_exp_avg_sq"},
        "adamw": {"exp_avg", "exp_avg_sq"},
        "rmsprop": {"square_avg"},
        "rmsprop momentum": {"square_avg", "momentum_buffer"},
        "rmsprop centered": {"square_avg", "grad_avg", "momentum_buffer"},
    }
    for name, buffers in names.items():
        state = train(post, optimizer=OPTIMIZERS[name], steps=5)["state"]
        assert state["step"] == 5 and state["optimizer"]["name"] == OPTIMIZERS[name]["name"]
        assert set(state["optimizer"]) - {"name"} == buffers


def test_a_history_has_every_so_many_steps_and_the_last(post: Post) -> None:
    for steps, every, expected in (
        (5, 1, [0, 1, 2, 3, 4]),
        (10, 4, [0, 4, 8, 9]),
        (9, 4, [0, 4, 8]),
        (1, 50, [0]),
        (7, 50, [0, 6]),
    ):
        found = train(post, steps=steps, log_every=every)
        assert [row["step"] for row in found["history"]] == expected
        assert set(found["history"][0]) == {"step", "loss", "data_loss", "regularization_loss", "accuracy", "learning_rate"}
    regression = train(post, loss="mse", data={"inputs": [[1, 2]], "targets": [3]}, steps=1)
    assert "accuracy" not in regression["history"][0]


# --- mini-batches


def drawn(post: Post, count: int, **body: Any) -> list[set[int]]:
    """The rows of each step. Target k is 2**k, the score is 0 and nothing is learnt, so a step's loss tells its rows."""
    model = {"layers": [{"weights": [[0.0]], "biases": [0.0]}]}
    data = {"inputs": [[0.0]] * count, "targets": [2.0**k for k in range(count)]}
    found = train(post, model=model, data=data, loss="mae", optimizer={"learning_rate": 0.0}, **body)
    size, steps = body["batch_size"], []
    per_epoch = math.ceil(count / size)
    for row in found["history"]:
        here = count - size * (per_epoch - 1) if row["step"] % per_epoch == per_epoch - 1 else size
        bits = round(row["loss"] * here)
        steps.append({k for k in range(count) if bits >> k & 1})
        assert len(steps[-1]) == here
    return steps


def test_an_epoch_uses_each_row_once(post: Post) -> None:
    for count, size in ((23, 5), (20, 5), (7, 1), (9, 8)):
        per_epoch = math.ceil(count / size)
        steps = drawn(post, count, batch_size=size, steps=4 * per_epoch, seed=1)
        for epoch in range(4):
            used = [row for batch in steps[epoch * per_epoch : (epoch + 1) * per_epoch] for row in batch]
            assert sorted(used) == list(range(count))
        if per_epoch > 2:
            assert steps[:per_epoch] != steps[per_epoch : 2 * per_epoch], "each epoch has an order of its own"


def test_the_rows_of_a_step_depend_on_seed_and_step_alone(post: Post) -> None:
    whole = drawn(post, 23, batch_size=5, steps=30, seed=1)
    assert drawn(post, 23, batch_size=5, steps=12, seed=1) == whole[:12]
    for start in (1, 4, 5, 10, 17):
        assert drawn(post, 23, batch_size=5, steps=30 - start, seed=1, state={"step": start}) == whole[start:]
    assert drawn(post, 23, batch_size=5, steps=30, seed=2) != whole
    assert drawn(post, 23, batch_size=5, steps=30, seed=0) == drawn(post, 23, batch_size=5, steps=30)


def test_no_batches_are_all_rows(post: Post) -> None:
    body: dict[str, Any] = {"model": SPEC, "data": MOONS, "loss": "max_margin", "steps": 20}
    whole = post("networks/train", **body)
    assert whole.status_code == 200
    for size in (None, 40, 41, 10**9):
        assert post("networks/train", batch_size=size, **body).content == whole.content


# --- what is not finite


@pytest.mark.parametrize("every", [1, 10, 1000])
@pytest.mark.parametrize("loss", ["max_margin", "mse", "huber"])
@pytest.mark.parametrize("optimizer", [{"name": "sgd"}, {"name": "sgd", "momentum": 0.9}, {"name": "adam"}])
def test_a_learning_rate_of_a_billion_ends_with_the_last_finite_model(
    post: Post, optimizer: dict[str, Any], loss: str, every: int
) -> None:
    body: dict[str, Any] = {
        "model": {"inputs": 2, "layers": [8, 8, 8, 1], "seed": 1},
        "data": MOONS,
        "loss": loss,
        "l2": 1e-4,
        "optimizer": optimizer | {"learning_rate": 1e9 if optimizer["name"] == "sgd" else "1e9*10**step"},
        "steps": 1000,
        "log_every": every,
    }
    response = post("networks/train", **body)
    assert b"null" not in response.content
    found = answer(response)
    assert found["stopped"] == "non-finite" and found["detail"]
    last = found["history"][-1]["step"]
    assert f"step {last}" in found["detail"] or f"step {last + 1}" in found["detail"]
    assert found["state"]["step"] == last
    assert [row["step"] for row in found["history"]] == sorted({*range(0, last, every), last})
    assert all(math.isfinite(number) for row in found["history"] for number in row.values())
    assert all(map(math.isfinite, parameters(found["model"])))

    # The last finite model: its loss is that of the last row, and it can go on from its state, with a smaller rate.
    again = answer(post("networks/backward", model=found["model"], data=MOONS, loss=loss, l2=1e-4))
    assert again["loss"] == found["history"][-1]["loss"]
    rest = body | {"model": found["model"], "state": found["state"], "optimizer": optimizer | {"learning_rate": 0.0}}
    rest |= {"steps": 3, "log_every": 1}
    resumed = answer(post("networks/train", **rest))
    assert resumed["history"][0]["step"] == last and resumed["history"][0]["loss"] == found["history"][-1]["loss"]
    if resumed["stopped"] == "completed":
        assert resumed["state"]["step"] == last + 3
    else:  # Adam squares the gradient of that very step, which may overflow at any rate
        assert optimizer["name"] == "adam"
        assert resumed["state"] == found["state"] and resumed["model"] == found["model"]


def test_a_learning_rate_that_is_not_finite_is_named(post: Post) -> None:
    found = train(post, optimizer={"learning_rate": "0.1/(step - 5)"}, steps=20)
    assert found["stopped"] == "non-finite"
    assert "learning rate" in found["detail"] and "step 5" in found["detail"]
    assert found["history"][-1]["step"] == 4 == found["state"]["step"]


def test_data_that_overflow_at_once_give_the_model_back(post: Post) -> None:
    found = train(post, model=MODEL, loss="mse", data={"inputs": [[1, 2]], "targets": [1e200]}, steps=5)
    assert found["stopped"] == "non-finite" and "step 0" in found["detail"]
    assert found["model"] == MODEL and found["state"]["step"] == 0 and found["history"] == []


# --- digits


def test_digits_are_learnt_in_one_request(client: httpx.Client) -> None:
    """Five times: thirty epochs on four fifths of scikit-learn's digits, and at least 97 % of the rows held out are right."""
    data = answer(client.get("/v1/datasets/digits"))
    inputs, targets = np.array(data["inputs"]) / 16, np.array(data["targets"])
    order = np.random.default_rng(0).permutation(len(inputs))
    right = 0
    for held_out in np.array_split(order, 5):
        kept = np.setdiff1d(order, held_out)
        request = {
            "model": {"inputs": 64, "layers": [32, 10], "init": "he", "seed": 0},
            "data": {"inputs": inputs[kept].tolist(), "targets": targets[kept].tolist()},
            "loss": "cross_entropy",
            "optimizer": {"name": "adam", "learning_rate": 0.01},
            "batch_size": 64,
            "steps": 30 * math.ceil(len(kept) / 64),
            "log_every": 100,
        }
        found = answer(client.post("/v1/networks/train", json=request))
        assert found["stopped"] == "completed" and found["history"][-1]["accuracy"] > 0.95
        asked = {"model": found["model"], "inputs": inputs[held_out].tolist()}
        scores = answer(client.post("/v1/networks/predict", json=asked))["outputs"]
        right += int((np.argmax(scores, axis=1) == targets[held_out]).sum())
    assert right / len(inputs) >= 0.97


# --- many at once


def test_a_thousand_trainings_at_once_are_each_as_if_alone(client: httpx.Client) -> None:
    """Sixteen clients, 1,000 requests of many kinds: every answer has the bytes of the same request sent alone."""
    bodies: list[dict[str, Any]] = []
    for k, optimizer in enumerate(OPTIMIZERS.values()):
        moons = {"dataset": "moons", "samples": 20 + 5 * k, "noise": 0.1, "seed": k}
        spec = {"inputs": 2, "layers": [16, 16, 1], "activation": ["relu", "tanh", "gelu"][k % 3], "seed": 1337 + k}
        body = {"model": spec, "data": moons, "loss": ["max_margin", "mse", "huber"][k % 3], "optimizer": optimizer}
        bodies.append({**body, "steps": 15 + k, "batch_size": [None, 8][k % 2], "seed": k})
    iris = {"model": {"inputs": 4, "layers": [8, 3], "init": "xavier"}, "data": {"dataset": "iris"}, "loss": "cross_entropy"}
    bodies.append({**iris, "steps": 20, "batch_size": 32, "optimizer": {"name": "adam"}})
    bodies.append({**bodies[0], "loss": {"expression": "log(cosh(score - target))"}, "l2": 0.01})
    bodies.append({**bodies[0], "optimizer": {"learning_rate": 1e9}, "l2": 1e-3, "steps": 200})
    contents = [json.dumps(body).encode() for body in bodies]
    headers = {"Content-Type": "application/json"}

    def send(k: int) -> tuple[int, bytes]:
        response = client.post("/v1/networks/train", content=contents[k], headers=headers)
        return response.status_code, response.content

    alone = [send(k) for k in range(len(contents))]
    assert [status for status, _ in alone] == [200] * len(contents)
    assert len({content for _, content in alone}) == len(contents)
    with ThreadPoolExecutor(16) as pool:
        for k, found in enumerate(pool.map(send, [k % len(contents) for k in range(1000)])):
            assert found == alone[k % len(contents)]


@pytest.mark.skipif(not LOCAL, reason="starts servers of its own")
def test_another_process_gives_the_same_bytes(post: Post, start: Start) -> None:
    server = start()
    for optimizer in OPTIMIZERS.values():
        body = {"model": SPEC, "data": MOONS, "loss": "max_margin", "optimizer": optimizer, "steps": 300, "batch_size": 9}
        here, there = post("networks/train", **body), httpx.post(f"{server.url}/v1/networks/train", json=body)
        assert here.status_code == 200 and here.content == there.content


# --- the limit of time, and clients that leave


@pytest.mark.skipif(not LOCAL, reason="starts servers of its own")
def test_a_training_that_takes_too_long_ends_with_the_model_so_far(start: Start) -> None:
    server = start(AUTODIFF_COMPUTE_TIMEOUT_S="1")
    body: dict[str, Any] = {"model": SPEC, "data": MOONS, "loss": "max_margin", "optimizer": {"name": "adam"}, "batch_size": 7}
    with httpx.Client(base_url=f"{server.url}/v1", timeout=30) as client:

        def send(**more: Any) -> Any:
            return answer(client.post("/networks/train", json={**body, "log_every": 10**6, **more}))

        began = time.perf_counter()
        found = send(steps=10**9)
        assert time.perf_counter() - began < 5.0
        assert found["stopped"] == "deadline" and str(10**9) in found["detail"]
        done = found["state"]["step"]
        assert 0 < done < 10**9 and found["history"][-1]["step"] == done - 1
        if done < 200_000:  # else it would take too long to do it again
            whole = send(steps=done)
            assert whole["stopped"] == "completed" and whole["model"] == found["model"] and whole["state"] == found["state"]
        part = send(steps=100)
        rest = send(steps=10**9, model=part["model"], state=part["state"])
        assert rest["stopped"] == "deadline" and rest["state"]["step"] > 100


@pytest.mark.skipif(not LOCAL, reason="starts servers of its own")
def test_a_training_whose_client_has_left_is_left_too(start: Start) -> None:
    """Eight clients ask for twenty seconds of work each and leave: the next one is not kept waiting."""
    server = start()
    body = {"model": SPEC, "data": MOONS, "loss": "max_margin", "steps": 10**8, "log_every": 10**6}
    for _ in range(8):
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{server.url}/v1/networks/train", json=body, timeout=httpx.Timeout(5, read=0.1))
    began = time.perf_counter()
    try:
        response = httpx.post(f"{server.url}/v1/networks/train", json={**body, "steps": 10}, timeout=5.0)
    except httpx.ReadTimeout:
        pytest.fail("a small training waits for those that nobody waits for")
    assert answer(response)["stopped"] == "completed"
    assert time.perf_counter() - began < 5.0


def test_steps_are_counted_as_far_as_they_can_be(post: Post) -> None:
    """A state of many steps is as good as one of few; one beyond what a counter holds is refused."""
    far = 10**12
    found = train(post, state={"step": far}, steps=3)
    assert [row["step"] for row in found["history"]] == [far, far + 1, far + 2] and found["state"]["step"] == far + 3
    for step in (2**63 - 2, 2**63, 10**30):
        body = {"model": SPEC, "data": MOONS, "loss": "max_margin", "steps": 3, "state": {"step": step}}
        problem(post("networks/train", **body), None, 422, "/state/step")
