"""The table of optimizers: defaults, checks of parameters, and the compiled switch that is made from it."""

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from app.engine.text import parse
from app.nn import Layer, Model, kernels, losses, optimizers, training
from app.nn.errors import InvalidNetwork
from app.nn.optimizers import OPTIMIZERS, Buffer, OptimizerRow, Parameter, Step
from tests.rows import for_each

# torch.optim.SGD, Adam, AdamW and RMSprop of PyTorch 2.13, with lr as learning_rate
PYTORCH: dict[str, dict[str, Any]] = {
    "sgd": {"learning_rate": 1e-3, "momentum": 0.0, "dampening": 0.0, "weight_decay": 0.0, "nesterov": False},
    "adam": {"learning_rate": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0, "amsgrad": False},
    "adamw": {"learning_rate": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 1e-2, "amsgrad": False},
    "rmsprop": {
        "learning_rate": 1e-2, "alpha": 0.99, "eps": 1e-8, "weight_decay": 0.0, "momentum": 0.0, "centered": False,
    },
}  # fmt: skip


def test_names_and_defaults_are_those_of_pytorch() -> None:
    found: dict[str, dict[str, Any]] = {
        name: {"learning_rate": row.learning_rate, **{parameter.name: parameter.default for parameter in row.parameters}}
        for name, row in OPTIMIZERS.items()
    }
    assert found == PYTORCH


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_row_is_consistent(name: str) -> None:
    row = OPTIMIZERS[name]
    assert row.name == name and row.description
    types: dict[str, type] = {"number": float, "flag": bool, "pair": tuple}
    assert all(type(parameter.default) is types[parameter.kind] and parameter.description for parameter in row.parameters)
    names = {parameter.name for parameter in row.parameters}
    assert {buffer.kept_if for buffer in row.buffers} - {None} <= names
    made = optimizers.make(name, None, {parameter.name: parameter.default for parameter in row.parameters})
    assert made == optimizers.make(name)


@pytest.mark.parametrize(
    ("name", "given", "buffers"),
    [
        ("sgd", {}, ()),
        ("sgd", {"momentum": 0.9}, ("momentum_buffer",)),
        ("adam", {}, ("exp_avg", "exp_avg_sq")),
        ("adamw", {"amsgrad": True}, ("exp_avg", "exp_avg_sq", "max_exp_avg_sq")),
        ("rmsprop", {}, ("square_avg",)),
        ("rmsprop", {"centered": True}, ("square_avg", "grad_avg")),
        ("rmsprop", {"centered": True, "momentum": 0.5}, ("square_avg", "momentum_buffer", "grad_avg")),
    ],
)
def test_buffers_depend_on_the_parameters(name: str, given: Mapping[str, float | bool], buffers: tuple[str, ...]) -> None:
    assert optimizers.make(name, None, given).buffers == buffers


@pytest.mark.parametrize(
    ("words", "place", "arguments"),
    [
        pytest.param("'adm'.*'adam'", ("name",), ("adm",), id="misspelt name"),
        pytest.param("'lion'.*sgd, adam, adamw, rmsprop", ("name",), ("lion",), id="unknown name"),
        pytest.param("not be negative; it is -1", ("learning_rate",), ("sgd", -1.0), id="negative learning rate"),
        pytest.param("finite", ("learning_rate",), ("sgd", float("inf")), id="infinite learning rate"),
        pytest.param(
            "sgd has no parameter 'betas'.*momentum", ("betas",), ("sgd", None, {"betas": [0.1, 0.2]}), id="betas of sgd"
        ),
        pytest.param(
            "momentum must not be negative; it is -0.5", ("momentum",), ("sgd", None, {"momentum": -0.5}), id="negative"
        ),
        pytest.param("momentum must be a finite", ("momentum",), ("sgd", None, {"momentum": float("nan")}), id="NaN"),
        pytest.param(
            "momentum must be a finite number", ("momentum",), ("sgd", None, {"momentum": True}), id="flag for number"
        ),
        pytest.param("nesterov must be true or false", ("nesterov",), ("sgd", None, {"nesterov": 1.0}), id="number for flag"),
        pytest.param("less than 1; it is 1", ("betas", 0), ("adam", None, {"betas": [1.0, 0.9]}), id="first beta"),
        pytest.param(
            "not be negative and must be less than 1; it is -0.1",
            ("betas", 1),
            ("adam", None, {"betas": (0.9, -0.1)}),
            id="second beta",
        ),
        pytest.param("two numbers", ("betas",), ("adam", None, {"betas": [0.9]}), id="one beta"),
        pytest.param("two numbers", ("betas",), ("adam", None, {"betas": 0.9}), id="number for pair"),
        pytest.param("needs a momentum", ("nesterov",), ("sgd", None, {"nesterov": True}), id="nesterov without momentum"),
        pytest.param(
            "a dampening of 0",
            ("nesterov",),
            ("sgd", None, {"nesterov": True, "momentum": 0.9, "dampening": 0.1}),
            id="nesterov with dampening",
        ),
    ],
)
def test_wrong_parameters_are_refused(words: str, place: tuple[str | int, ...], arguments: tuple[Any, ...]) -> None:
    with pytest.raises(InvalidNetwork, match=words) as caught:
        optimizers.make(*arguments)
    assert caught.value.place == place


def test_learning_rate_may_be_an_expression() -> None:
    graph = parse("1/step")
    assert optimizers.make("adam", graph).learning_rate is graph


# --- combinations of options


def rules_of_pytorch(
    name: str, o: Mapping[str, Any], theta: Any, gradient: Any, kept: dict[str, Any], number: int, rate: float
) -> Any:
    """The parameters after step `number`, by the algorithms in the documentation of torch.optim. Changes `kept`."""
    if name == "adamw":
        theta = theta - rate * o["weight_decay"] * theta
    else:
        gradient = gradient + o["weight_decay"] * theta
    if name == "sgd":
        if o["momentum"]:
            old = kept.get("momentum_buffer")
            kept["momentum_buffer"] = gradient if old is None else o["momentum"] * old + (1 - o["dampening"]) * gradient
            gradient = gradient + o["momentum"] * kept["momentum_buffer"] if o["nesterov"] else kept["momentum_buffer"]
        return theta - rate * gradient
    if name == "rmsprop":
        kept["square_avg"] = o["alpha"] * kept.get("square_avg", 0.0) + (1 - o["alpha"]) * gradient**2
        spread = kept["square_avg"]
        if o["centered"]:
            kept["grad_avg"] = o["alpha"] * kept.get("grad_avg", 0.0) + (1 - o["alpha"]) * gradient
            spread = spread - kept["grad_avg"] ** 2
        move = gradient / (np.sqrt(spread) + o["eps"])
        if o["momentum"]:
            move = kept["momentum_buffer"] = o["momentum"] * kept.get("momentum_buffer", 0.0) + move
        return theta - rate * move
    beta1, beta2 = o["betas"]
    kept["exp_avg"] = beta1 * kept.get("exp_avg", 0.0) + (1 - beta1) * gradient
    kept["exp_avg_sq"] = square = beta2 * kept.get("exp_avg_sq", 0.0) + (1 - beta2) * gradient**2
    if o["amsgrad"]:
        kept["max_exp_avg_sq"] = square = np.maximum(kept.get("max_exp_avg_sq", 0.0), square)
    mean, spread = kept["exp_avg"] / (1 - beta1**number), square / (1 - beta2**number)
    return theta - rate * mean / (np.sqrt(spread) + o["eps"])


def combinations(**values: tuple[Any, ...]) -> list[dict[str, Any]]:
    """Every choice of one value per option."""
    return [dict(zip(values, chosen, strict=True)) for chosen in itertools.product(*values.values())]


DECAYS = (0.0, 0.1)
MOMENTS = {"betas": ((0.7, 0.8),), "eps": (1e-3,), "weight_decay": DECAYS, "amsgrad": (False, True)}
COMBINATIONS: list[tuple[str, dict[str, Any]]] = [
    *(
        ("sgd", chosen)
        for chosen in combinations(momentum=(0.0, 0.8), dampening=(0.0, 0.3), weight_decay=DECAYS, nesterov=(False, True))
        if not chosen["nesterov"] or (chosen["momentum"] and not chosen["dampening"])
    ),
    *(("adam", chosen) for chosen in combinations(**MOMENTS)),
    *(("adamw", chosen) for chosen in combinations(**MOMENTS)),
    *(
        ("rmsprop", chosen)
        for chosen in combinations(alpha=(0.9,), eps=(1e-3,), weight_decay=DECAYS, momentum=(0.0, 0.6), centered=(False, True))
    ),
]


@for_each(("name", "given"), COMBINATIONS)
def test_every_combination_of_options_follows_pytorch(name: str, given: dict[str, Any]) -> None:
    """A linear model under the squared error, whose gradient is known, and a learning rate that changes with the step."""
    inputs, targets = np.array([[1.0, 2.0], [0.5, -1.0], [-1.5, 0.25]]), np.array([[1.0], [-0.5], [2.0]])
    model = Model((Layer(np.array([[0.4, -0.3]]), np.array([0.2])),))
    rows = np.column_stack([inputs, np.ones(3)])
    theta, kept = model.flat(), dict[str, Any]()
    for step in range(12):
        gradient = 2 / 3 * rows.T @ (rows @ theta - targets[:, 0])
        theta = rules_of_pytorch(name, given, theta, gradient, kept, step + 1, 0.2 / (1 + step))
    optimizer = optimizers.make(name, parse("0.2/(1 + step)"), given)
    options = training.TrainingOptions(losses.named("mse"), optimizer, steps=12)
    found = training.train(model, inputs, targets, options)
    np.testing.assert_allclose(found.model.flat(), theta, rtol=1e-10)
    assert set(found.state.buffers) == set(kept)
    for buffer, expected in kept.items():
        np.testing.assert_allclose(found.state.buffers[buffer].flat(), expected, rtol=1e-10, err_msg=buffer)


# --- a new row


def descend_by_sign(theta: Any, gradient: Any, step: Any, parameters: Any, buffers: Any) -> None:
    for k in range(len(theta)):
        theta[k] -= step.rate * np.sign(gradient[k])


def descend_by_everything(theta: Any, gradient: Any, step: Any, parameters: Any, buffers: Any) -> None:
    """Use every kind of parameter, a buffer that is kept and one that is not."""
    low, high = parameters.clip
    for k in range(len(theta)):
        slope = min(max(gradient[k], low), high)
        buffers.total[k] = slope if step.first else buffers.total[k] + slope
        theta[k] -= step.rate * buffers.total[k] / step.number
        if parameters.decay:
            theta[k] *= parameters.factor
    theta[0] += len(buffers.unused)


NEW_ROWS = (
    OptimizerRow("sign", "descent by the sign of the gradient", 0.1, (), (), descend_by_sign),
    OptimizerRow(
        "everything",
        "one of each kind",
        0.1,
        (
            Parameter("factor", 0.5, "number", "a factor"),
            Parameter("clip", (-1.0, 1.0), "pair", "limits", minimum=-10.0),
            Parameter("decay", False, "flag", "whether to multiply by the factor"),
        ),
        (Buffer("unused", "decay"), Buffer("total")),
        descend_by_everything,
    ),
)


@pytest.mark.slow
def test_a_new_optimizer_is_a_new_row_and_nothing_else() -> None:
    """The switch hands each rule its own parameters and buffers; the rows before are not affected."""
    from app.engine.jit import jit

    rows = [*OPTIMIZERS.values(), *NEW_ROWS]
    switch = kernels.update_switch(rows)
    apply: Any = jit(lambda updates, step, theta, gradient: switch(updates, step, theta, gradient))
    gradient = np.array([2.0, -0.25, 0.0])

    def after(name: str, parameters: list[float], kept: list[int], buffers: Any, number: int, first: bool) -> list[float]:
        code = [row.name for row in rows].index(name)
        updates = kernels.Updates(code, np.array(parameters), buffers, np.array(kept, np.int64))
        theta = np.array([1.0, 2.0, 3.0])
        apply(updates, Step(number, 0.5, first), theta, gradient)
        found: list[float] = theta.tolist()
        return found

    assert after("sign", [], [], np.zeros((0, 3)), 1, True) == [0.5, 2.5, 3.0]
    total = np.full((1, 3), 7.0)
    assert after("everything", [0.25, -0.125, 1.0, 0.0], [-1, 0], total, 1, True) == [0.5, 2.0625, 3.0]
    assert total.tolist() == [[1.0, -0.125, 0.0]]
    assert after("everything", [0.25, -0.125, 1.0, 0.0], [-1, 0], total, 2, False) == [0.5, 2.0625, 3.0]
    assert total.tolist() == [[2.0, -0.25, 0.0]]
    both = np.zeros((2, 3))
    assert after("everything", [0.25, -0.125, 1.0, 1.0], [0, 1], both, 1, True) == [3.125, 0.515625, 0.75]
    assert after("sgd", [0.0, 0.0, 0.0, 0.0], [-1], np.zeros((0, 3)), 1, True) == [0.0, 2.125, 3.0]
