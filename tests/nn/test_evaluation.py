"""Predictions and gradients: against mpmath to 40 digits, and against laws that hold for any network."""

import itertools
import math
import random
import tracemalloc
from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest
from mpmath import mp

from app.engine import transforms
from app.engine.graph import ID_LIMIT
from app.engine.interruption import ITEMS_BETWEEN
from app.engine.text import parse
from app.nn import MLP, Layer, Model, evaluation, losses, optimizers, training
from app.nn.errors import InvalidNetwork, NetworkMismatch
from app.nn.graphs import network_graph
from app.nn.model import ACTIVATIONS as KNOWN
from tests.nn.networks import ACTIVATIONS
from tests.rows import for_each

Function = Callable[..., Any]

# Each with an interval in which it is smooth. `gelu` is exact (erf), `leaky_relu` has slope 0.01, `elu` has alpha 1.
FUNCTIONS: dict[str, tuple[Function, float, float]] = {
    "linear": (lambda x: x, -2, 2),
    "neg": (lambda x: -x, -2, 2),
    "abs": (abs, -2, -0.3),
    "sign": (mpmath.sign, -2, -0.3),
    "exp": (mpmath.exp, -2, 2),
    "expm1": (mpmath.expm1, -2, 2),
    "log": (mpmath.log, 0.3, 3),
    "log1p": (lambda x: mpmath.log(1 + x), -0.6, 3),
    "log2": (lambda x: mpmath.log(x, 2), 0.3, 3),
    "log10": (lambda x: mpmath.log(x, 10), 0.3, 3),
    "sqrt": (mpmath.sqrt, 0.3, 3),
    "square": (lambda x: x * x, -2, 2),
    "reciprocal": (lambda x: 1 / x, 0.4, 3),
    "sin": (mpmath.sin, -2, 2),
    "cos": (mpmath.cos, -2, 2),
    "tan": (mpmath.tan, -1, 1),
    "asin": (mpmath.asin, -0.8, 0.8),
    "acos": (mpmath.acos, -0.8, 0.8),
    "atan": (mpmath.atan, -2, 2),
    "sinh": (mpmath.sinh, -2, 2),
    "cosh": (mpmath.cosh, -2, 2),
    "tanh": (mpmath.tanh, -2, 2),
    "asinh": (mpmath.asinh, -2, 2),
    "acosh": (mpmath.acosh, 1.3, 4),
    "atanh": (mpmath.atanh, -0.8, 0.8),
    "sigmoid": (lambda x: 1 / (1 + mpmath.exp(-x)), -3, 3),
    "softplus": (lambda x: mpmath.log(1 + mpmath.exp(x)), -3, 3),
    "relu": (lambda x: max(x, mpmath.mpf(0)), 0.2, 2),
    "leaky_relu": (lambda x: x if x > 0 else x / 100, -2, -0.3),
    "elu": (lambda x: x if x > 0 else mpmath.expm1(x), -2, -0.3),
    "gelu": (lambda x: x * (1 + mpmath.erf(x / mpmath.sqrt(2))) / 2, -2, 2),
    "silu": (lambda x: x / (1 + mpmath.exp(-x)), -2, 2),
    "erf": (mpmath.erf, -1.5, 1.5),
    "erfc": (mpmath.erfc, -1.5, 1.5),
    "lgamma": (mpmath.loggamma, 0.5, 4),
    "digamma": (mpmath.digamma, 0.5, 4),
}


def test_every_unary_primitive_is_an_activation() -> None:
    assert set(FUNCTIONS) == set(ACTIVATIONS) == set(KNOWN)


def network_for(activation: str) -> tuple[Model, np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """A model of two inputs, two neurons whose sums stay in the activation's interval and two outputs, with three rows."""
    _, low, high = FUNCTIONS[activation]
    draw = random.Random(activation)
    middle, reach = (low + high) / 2, (high - low) / 2
    weights = np.array([[draw.uniform(0.1, 0.45) * reach * draw.choice([-1, 1]) for _ in range(2)] for _ in range(2)])
    first = Layer(weights, np.array([middle, middle + 0.05 * reach]), activation)
    last = Layer(np.array([[draw.uniform(-1, 1) for _ in range(2)] for _ in range(2)]), np.array([0.1, -0.2]))
    inputs = np.array([[draw.uniform(-1, 1) for _ in range(2)] for _ in range(3)])
    return Model((first, last)), inputs, np.array([[draw.uniform(-1, 1) for _ in range(2)] for _ in range(3)])


def exact(model: Model, inputs: Any, targets: Any, numbers: list[Any]) -> Any:
    """The mean squared error in mpmath, from the parameters in micrograd's order."""
    give = iter(numbers)
    layers = []
    for layer in model.layers:
        rows = [[next(give) for _ in range(layer.weights.shape[1] + 1)] for _ in layer.weights]
        layers.append((rows, FUNCTIONS[layer.activation][0]))
    total = mpmath.mpf(0)
    for row, wanted in zip(inputs.tolist(), targets.tolist(), strict=True):
        values: list[Any] = [mpmath.mpf(x) for x in row]
        for neurons, function in layers:
            values = [function(mpmath.fdot(neuron[:-1], values) + neuron[-1]) for neuron in neurons]
        total += sum((s - mpmath.mpf(t)) ** 2 for s, t in zip(values, wanted, strict=True))
    return total / targets.size


@for_each("activation", FUNCTIONS)
def test_gradients_of_every_activation_equal_those_of_mpmath(activation: str) -> None:
    model, inputs, targets = network_for(activation)
    found = evaluation.gradients(model, inputs, targets, losses.named("mse"))
    with mp.workdps(40):
        numbers = [mpmath.mpf(p) for p in model.parameters()]
        assert found.data_loss == pytest.approx(float(exact(model, inputs, targets, numbers)), rel=1e-13)
        step = mpmath.mpf(10) ** -12  # central differences: an error of the order of step**2
        for k, gradient in enumerate(found.gradients.parameters()):
            up, down = [*numbers], [*numbers]
            up[k] += step
            down[k] -= step
            slope = (exact(model, inputs, targets, up) - exact(model, inputs, targets, down)) / (2 * step)
            assert gradient == pytest.approx(float(slope), rel=1e-12, abs=1e-13), k


LOSSES: dict[str, tuple[Function, list[float]]] = {
    "max_margin": (lambda s, t: max(mpmath.mpf(0), 1 - t * s), [-1.0, 1.0]),
    "mse": (lambda s, t: (s - t) ** 2, [-0.7, 0.4]),
    "mae": (lambda s, t: abs(s - t), [-0.7, 0.4]),
    "huber": (lambda s, t: (s - t) ** 2 / 2 if abs(s - t) < 1 else abs(s - t) - mpmath.mpf(1) / 2, [-2.5, 0.4]),
    "binary_cross_entropy": (
        lambda s, t: -t * mpmath.log(1 / (1 + mpmath.exp(-s))) - (1 - t) * mpmath.log(1 - 1 / (1 + mpmath.exp(-s))),
        [0.0, 1.0, 0.25],
    ),
}


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_and_its_derivative_equal_those_of_mpmath(name: str) -> None:
    """The model has one weight of 1: the score is the input, so the gradient by the input is the derivative of the loss."""
    function, wanted = LOSSES[name]
    model = Model((Layer(np.array([[1.0]]), np.array([0.0])),))
    scores = [-30.0, -3.0, -1.4, -0.6, -0.1, 0.3, 0.9, 2.0, 25.0]
    with mp.workdps(40):
        for score in scores:
            for target in wanted:
                given = np.array([[score]]), np.array([[target]])
                found = evaluation.gradients(model, *given, losses.named(name), by_inputs=True)
                assert found.data_loss == pytest.approx(float(function(mpmath.mpf(score), target)), rel=1e-14, abs=4e-15)
                slope = mpmath.diff(lambda s, t=target: function(s, t), mpmath.mpf(score), h=mpmath.mpf(10) ** -15)
                assert found.input_gradients is not None
                assert found.input_gradients[0, 0] == pytest.approx(float(slope), rel=1e-12, abs=1e-14), (score, target)


@pytest.mark.parametrize(("target", "side"), [(1.0, 1.0), (0.0, -1.0)])
def test_binary_cross_entropy_of_a_confident_score_keeps_its_digits(target: float, side: float) -> None:
    """Loss and derivative are small numbers here; a difference of large numbers would lose their digits."""
    function, _ = LOSSES["binary_cross_entropy"]
    one = Model((Layer(np.array([[1.0]]), np.array([0.0])),))
    with mp.workdps(40):
        for size in (5.0, 15.0, 25.0, 40.0):
            given = np.array([[side * size]]), np.array([[target]])
            found = evaluation.gradients(one, *given, losses.named("binary_cross_entropy"), by_inputs=True)
            assert found.data_loss == pytest.approx(float(function(mpmath.mpf(side * size), target)), rel=1e-12, abs=0.0)
            slope = 1 / (1 + mpmath.exp(-mpmath.mpf(side * size))) - target
            assert found.input_gradients is not None
            assert found.input_gradients[0, 0] == pytest.approx(float(slope), rel=1e-12, abs=0.0)


@pytest.mark.parametrize(
    ("score", "target", "expected"), [(1000.0, 0.0, 1000.0), (1000.0, 1.0, 0.0), (-1000.0, 1.0, 1000.0), (-1000.0, 0.0, 0.0)]
)
def test_binary_cross_entropy_of_large_scores_does_not_overflow(score: float, target: float, expected: float) -> None:
    """log(1 + exp(1000)) is 1000 to double precision."""
    one = Model((Layer(np.array([[1.0]]), np.array([0.0])),))
    found = evaluation.gradients(one, np.array([[score]]), np.array([[target]]), losses.named("binary_cross_entropy"))
    assert found.data_loss == expected


@pytest.mark.parametrize(("target", "expected"), [(0.0, 0.0), (1.0, 2000.0)])
def test_cross_entropy_of_large_scores_does_not_overflow(target: float, expected: float) -> None:
    """-log(softmax) of the smaller of two scores 2000 apart is 2000 to double precision."""
    two = Model((Layer(np.array([[1.0], [-1.0]]), np.zeros(2)),))
    found = evaluation.gradients(two, np.array([[1000.0]]), np.array([[target]]), losses.named("cross_entropy"))
    assert found.data_loss == expected
    assert np.isfinite(found.gradients.flat()).all()


@for_each("scale", [1.0, 1e8, 1e16, 1e300])
@for_each("outputs", [2, 3, 5])
def test_cross_entropy_of_equal_scores_is_the_logarithm_of_their_number(scale: float, outputs: int) -> None:
    """However large the scores; so it is as a graph."""
    model = Model((Layer(np.full((outputs, 1), scale), np.zeros(outputs)),))
    row, target, loss = np.array([1.0]), np.array([1.0]), losses.named("cross_entropy")
    found = evaluation.gradients(model, row[None, :], target[None, :], loss)
    assert found.data_loss == pytest.approx(math.log(outputs), rel=1e-15)
    slopes = [1.0 / outputs - (k == 1) for k in range(outputs)]
    np.testing.assert_allclose(found.gradients.layers[0].biases, slopes, rtol=1e-15)
    graph = network_graph(model, row, target, loss)
    table = transforms.backward(graph)
    assert table.value == pytest.approx(math.log(outputs), rel=1e-15)
    found_slopes = [float(table.gradients[f"layers.0.biases.{k}"]) for k in range(outputs)]
    np.testing.assert_allclose(found_slopes, slopes, rtol=1e-15)


def test_cross_entropy_of_a_sure_and_right_score_keeps_its_digits() -> None:
    """log(1 + exp(-50)) is exp(-50) to double precision, and so are the slopes."""
    model = Model((Layer(np.array([[50.0], [0.0]]), np.zeros(2)),))
    found = evaluation.gradients(model, np.array([[1.0]]), np.array([[0.0]]), losses.named("cross_entropy"))
    assert found.data_loss == pytest.approx(math.exp(-50.0), rel=1e-15)
    np.testing.assert_allclose(found.gradients.layers[0].biases, [-math.exp(-50.0), math.exp(-50.0)], rtol=1e-15)


@pytest.mark.parametrize(
    ("expression", "slope"), [("where(score > 0, log(score), 2*score)", 2.0), ("sqrt(score)**2", math.nan)]
)
def test_only_a_selection_in_a_loss_stops_what_is_infinite(expression: str, slope: float) -> None:
    one = Model((Layer(np.array([[1.0]]), np.array([0.0])),))
    found = evaluation.gradients(one, np.array([[0.0]]), np.array([[0.0]]), losses.of_expression(parse(expression)))
    np.testing.assert_array_equal(found.gradients.layers[0].biases, [slope])


def test_selection_in_a_loss_stops_what_is_infinite_in_each_row() -> None:
    """The derivative of the mean over four rows: a quarter of 1/score above 0, else a quarter of the row's target."""
    one = Model((Layer(np.array([[1.0]]), np.array([0.0])),))
    inputs, targets = np.array([[2.0], [0.0], [-3.0], [0.0]]), np.array([[9.0], [5.0], [7.0], [3.0]])
    loss = losses.of_expression(parse("where(score > 0, log(score), target*score)"))
    found = evaluation.gradients(one, inputs, targets, loss, by_inputs=True)
    assert found.input_gradients is not None
    np.testing.assert_allclose(found.input_gradients[:, 0], [0.125, 1.25, 1.75, 0.75], rtol=1e-15)


def test_cross_entropy_equals_that_of_mpmath() -> None:
    model = MLP(2, [5, 4], activation="tanh", seed=9)
    inputs, targets = np.array([[0.5, -1.0], [2.0, 0.3], [-0.7, -0.2]]), np.array([[3.0], [0.0], [1.0]])
    found = evaluation.gradients(model, inputs, targets, losses.named("cross_entropy"), by_inputs=True)
    scores = evaluation.predict(model, inputs)
    with mp.workdps(40):
        terms = [
            mpmath.log(sum(mpmath.exp(mpmath.mpf(s)) for s in row)) - mpmath.mpf(row[int(t)])
            for row, (t,) in zip(scores.tolist(), targets.tolist(), strict=True)
        ]
        assert found.data_loss == pytest.approx(float(sum(terms) / 3), rel=1e-14)
    assert found.accuracy == np.mean(scores.argmax(axis=1) == targets[:, 0])
    # A constant added to all scores changes nothing, so the slopes by the last biases add up to 0.
    assert found.gradients.layers[-1].biases.sum() == pytest.approx(0.0, abs=1e-15)


@pytest.mark.parametrize("name", [*LOSSES, "cross_entropy"])
def test_loss_of_a_batch_is_the_mean_over_its_rows(name: str) -> None:
    draw = random.Random(name)
    model = MLP(3, [5, 4, 3], activation="silu", seed=2)
    inputs = np.array([[draw.uniform(-2, 2) for _ in range(3)] for _ in range(11)])
    choices = [0.0, 1.0, 2.0] if name == "cross_entropy" else LOSSES[name][1]
    targets = np.array([[draw.choice(choices) for _ in range(1 if name == "cross_entropy" else 3)] for _ in range(11)])
    loss = losses.named(name)
    whole = evaluation.gradients(model, inputs, targets, loss, by_inputs=True)
    each = [evaluation.gradients(model, inputs[k : k + 1], targets[k : k + 1], loss, by_inputs=True) for k in range(11)]
    assert whole.data_loss == pytest.approx(np.mean([one.data_loss for one in each]), rel=1e-13)
    mean = np.mean([one.gradients.flat() for one in each], axis=0)
    np.testing.assert_allclose(whole.gradients.flat(), mean, rtol=1e-11, atol=1e-14)
    slopes = [one.input_gradients / 11 for one in each if one.input_gradients is not None]
    assert whole.input_gradients is not None
    np.testing.assert_allclose(whole.input_gradients, np.concatenate(slopes), rtol=1e-11, atol=1e-14)


def test_l2_adds_a_penalty_and_its_derivative() -> None:
    model = MLP(2, [4, 1], seed=6)
    inputs, targets = np.array([[1.0, -1.0], [0.5, 2.0]]), np.array([[1.0], [-1.0]])
    plain = evaluation.gradients(model, inputs, targets, losses.named("mse"))
    weighed = evaluation.gradients(model, inputs, targets, losses.named("mse"), l2=0.3)
    numbers = model.flat()
    assert weighed.data_loss == plain.data_loss and plain.regularization_loss == 0.0
    assert weighed.regularization_loss == pytest.approx(0.3 * float(numbers @ numbers), rel=1e-14)
    assert weighed.loss == weighed.data_loss + weighed.regularization_loss
    np.testing.assert_allclose(weighed.gradients.flat(), plain.gradients.flat() + 0.6 * numbers, rtol=1e-14)


@pytest.mark.parametrize("activation", ["relu", "abs", "sign"])
def test_derivative_at_the_kink_of_an_activation_is_zero(activation: str) -> None:
    model = Model((Layer(np.array([[1.0]]), np.array([0.0]), activation),))
    found = evaluation.gradients(model, np.array([[0.0]]), np.array([[1.0]]), losses.named("mse"), by_inputs=True)
    assert found.gradients.parameters() == [0.0, 0.0]


@pytest.mark.parametrize(("name", "score", "target"), [("max_margin", 1.0, 1.0), ("mae", 2.0, 2.0)])
def test_derivative_at_the_kink_of_a_loss_is_zero(name: str, score: float, target: float) -> None:
    one = Model((Layer(np.array([[1.0]]), np.array([0.0])),))
    found = evaluation.gradients(one, np.array([[score]]), np.array([[target]]), losses.named(name))
    assert found.data_loss == 0.0 and found.gradients.parameters() == [0.0, 0.0]


@pytest.mark.parametrize(
    ("name", "targets", "expected"),
    [
        pytest.param("max_margin", [-1, 1, 1, 1], 0.75, id="max_margin counts signs"),
        pytest.param("binary_cross_entropy", [0, 1, 1, 0], 0.5, id="binary_cross_entropy counts scores above 0"),
        pytest.param("binary_cross_entropy", [0.3, 0.4, 0.6, 0.2], 0.75, id="a probability counts as 1 above 0.5"),
        pytest.param("mse", [-1, -1, 1, 1], 1.0, id="mse with signs"),
        pytest.param("mse", [0, 1, 1, 0], 0.5, id="mse with 0 and 1"),
        pytest.param("mse", [0.5, 1, 1, 1], None, id="mse with other numbers"),
        pytest.param("mae", [3, -1, 1, 1], None, id="mae with other numbers"),
    ],
)
def test_accuracy_is_counted_as_the_contract_says(name: str, targets: list[float], expected: float | None) -> None:
    one = Model((Layer(np.array([[1.0]]), np.array([0.0])),))
    scores = np.array([[-2.0], [-0.1], [0.2], [3.0]])
    given = np.array([[float(target)] for target in targets])
    assert evaluation.gradients(one, scores, given, losses.named(name)).accuracy == expected


@pytest.mark.parametrize(
    ("name", "target", "expected"),
    [
        ("max_margin", -1.0, 1.0), ("max_margin", 1.0, 0.0), ("binary_cross_entropy", 0.0, 1.0),
        ("binary_cross_entropy", 1.0, 0.0),
    ],
)  # fmt: skip
def test_score_of_zero_is_not_above_zero(name: str, target: float, expected: float) -> None:
    """micrograd counts (score > 0) == (target > 0)."""
    one = Model((Layer(np.array([[1.0]]), np.array([0.0])),))
    assert evaluation.gradients(one, np.zeros((1, 1)), np.array([[target]]), losses.named(name)).accuracy == expected


@for_each(("targets", "share"), [([0, 1, 2, 2], 1.0), ([0, 2, 2, 2], 0.75), ([1, 0, 2, 0], 0.25), ([1, 0, 0, 0], 0.0)])
@for_each("rows", [4, 400])
def test_accuracy_of_classes_is_the_share_of_rows_with_the_largest_score_at_their_class(
    targets: list[int], share: float, rows: int
) -> None:
    """The scores are the inputs."""
    model = Model((Layer(np.eye(3), np.zeros(3), "linear"),))
    scores = np.array([[2.0, 1.0, -1.0], [0.0, 0.5, 0.25], [-3.0, -2.0, -1.0], [0.0, 0.0, 1e-9]] * (rows // 4))
    given = np.array([[float(target)] for target in targets] * (rows // 4))
    assert evaluation.gradients(model, scores, given, losses.named("cross_entropy")).accuracy == share


def test_accuracy_is_the_share_of_all_outputs() -> None:
    same = Model((Layer(np.eye(2), np.zeros(2)),))
    scores, targets = np.array([[2.0, -1.0], [-0.5, 3.0]]), np.array([[1.0, 1.0], [-1.0, 1.0]])
    found = evaluation.gradients(same, scores, targets, losses.named("max_margin"))
    assert found.accuracy == 0.75


# --- blocks of rows


MANY = np.array([[random.Random(k).uniform(-2, 2) for _ in range(3)] for k in range(700)])


def targets_of(name: str) -> np.ndarray[Any, Any]:
    draw = random.Random(name)
    choices = [0.0, 1.0] if name == "cross_entropy" else LOSSES[name][1]
    return np.array([[draw.choice(choices) for _ in range(1 if name == "cross_entropy" else 2)] for _ in MANY])


@pytest.mark.parametrize("name", [*LOSSES, "cross_entropy"])
def test_blocks_of_rows_give_the_result_of_all_rows(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    model, loss, targets = MLP(3, [5, 2], activation="tanh", seed=1), losses.named(name), targets_of(name)
    whole = evaluation.gradients(model, MANY, targets, loss, 0.1, by_inputs=True)
    monkeypatch.setattr(evaluation, "BLOCK_NUMBERS", 1)  # so that a block has 64 rows, and the last of 700 rows has 60
    assert evaluation.block_rows(model, loss) == 64
    parts = evaluation.gradients(model, MANY, targets, loss, 0.1, by_inputs=True)
    assert parts.data_loss == pytest.approx(whole.data_loss, rel=1e-13)
    assert parts.accuracy == whole.accuracy
    assert parts.regularization_loss == whole.regularization_loss
    np.testing.assert_allclose(parts.gradients.flat(), whole.gradients.flat(), rtol=1e-11, atol=1e-14)
    assert parts.input_gradients is not None and whole.input_gradients is not None
    np.testing.assert_allclose(parts.input_gradients, whole.input_gradients, rtol=1e-13)


@pytest.mark.parametrize("shape", [(2, 1_000_000, 1), (2, 1500, 1), (3900, 3900, 1), (100_000, 10), (5, 7)], ids=str)
def test_blocks_are_bounded_in_memory_and_in_time(shape: tuple[int, ...]) -> None:
    """At most 128 MB, and 2**29 products, which take about a tenth of a second; yet one row at least."""
    layers = [Layer(np.broadcast_to(0.5, (b, a)), np.zeros(b)) for a, b in itertools.pairwise(shape)]
    model = Model(tuple(layers))
    for loss in (None, losses.named("mse"), losses.named("cross_entropy")):
        rows = evaluation.block_rows(model, loss)
        assert rows == 1 or (rows > 1 and rows * model.size <= 2**29 and 32 * rows * model.neurons <= 128 << 20)


@pytest.mark.parametrize(
    ("neurons", "inputs", "rows"),
    [(65_536, 1, 64), (65_537, 1, 63), (2, 4_194_303, 64), (3, 2_796_202, 63)],
    ids=["128 MB", "a neuron more", "2**29 products", "a weight more"],
)
def test_block_is_as_large_as_its_bounds_allow(neurons: int, inputs: int, rows: int) -> None:
    """A row keeps four numbers per neuron; a neuron has a bias besides a weight per input."""
    model = Model((Layer(np.broadcast_to(0.5, (neurons, inputs)), np.zeros(neurons)),))
    assert evaluation.block_rows(model) == rows


@pytest.mark.parametrize("name", [*LOSSES, "cross_entropy"])
def test_a_step_of_training_works_on_the_same_blocks(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(evaluation, "BLOCK_NUMBERS", 1)
    model, loss, targets = MLP(3, [5, 2], activation="tanh", seed=1), losses.named(name), targets_of(name)
    options = training.TrainingOptions(loss, optimizers.make("sgd", 0.0), steps=1, l2=0.1)
    trained = training.train(model, MANY, targets, options)
    alone = evaluation.gradients(model, MANY, targets, loss, 0.1)
    row = trained.history[0]
    assert (row.data_loss, row.regularization_loss, row.accuracy) == (
        alone.data_loss, alone.regularization_loss, alone.accuracy,
    )  # fmt: skip


def test_predictions_in_blocks_are_those_of_each_row(monkeypatch: pytest.MonkeyPatch) -> None:
    model = MLP(3, [5, 2], activation="tanh", seed=1)
    monkeypatch.setattr(evaluation, "BLOCK_NUMBERS", 1)
    found = evaluation.predict(model, MANY)
    first, last = model.layers
    np.testing.assert_allclose(found, np.tanh(MANY @ first.weights.T + first.biases) @ last.weights.T + last.biases, rtol=1e-12)


class Stopped(Exception):
    """Raised by a checkpoint."""


@pytest.mark.parametrize("work", ["predict", "gradients"])
def test_checkpoint_stops_a_pass_between_blocks(monkeypatch: pytest.MonkeyPatch, work: str) -> None:
    monkeypatch.setattr(evaluation, "BLOCK_NUMBERS", 1)
    model, loss = MLP(3, [5, 2], seed=1), losses.named("mse")
    calls = 0

    def checkpoint() -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise Stopped

    with pytest.raises(Stopped):
        if work == "predict":
            evaluation.predict(model, MANY, checkpoint=checkpoint)
        else:
            evaluation.gradients(model, MANY, targets_of("mse"), loss, checkpoint=checkpoint)
    assert calls == 3


def test_checkpoint_is_called_while_a_network_becomes_a_graph() -> None:
    """While its nodes are made, weights and products, and again while they are looked up."""
    inputs, calls = 10 * ITEMS_BETWEEN, 0

    def checkpoint() -> None:
        nonlocal calls
        calls += 1

    network_graph(MLP(inputs, [1], seed=0), np.zeros(inputs), checkpoint=checkpoint)
    assert calls >= 10 + 10 + 20


@pytest.mark.parametrize("read_only", [True, False], ids=["read-only", "writeable"])
@pytest.mark.parametrize("work", ["predict", "gradients"])
def test_memory_of_a_pass_is_that_of_its_result(work: str, read_only: bool) -> None:
    """8 bytes for each number that comes out, at most 6 MB for a block, and a few bytes per target to check them."""
    rows = 200_000
    inputs, targets = np.ones((rows, 10)), np.ones((rows, 1))
    for array in (inputs, targets):
        array.flags.writeable = not read_only
    model, loss = MLP(10, [16, 16, 1], activation="tanh", seed=1), losses.named("max_margin")
    evaluation.gradients(model, inputs[:5], targets[:5], loss)
    evaluation.predict(model, inputs[:5])
    tracemalloc.start()
    try:
        if work == "predict":
            evaluation.predict(model, inputs)
        else:
            evaluation.gradients(model, inputs, targets, loss, by_inputs=True)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    result = 8 * (rows if work == "predict" else inputs.size)
    assert peak < result + 6_000_000


LONG_LOSS = f"sum(score, target, {', '.join(map(str, range(100)))})"
"""A loss of three nodes, whose numbers and sums are kept too."""


@for_each("outputs", [1, 10, 200])
@for_each("name", ["huber", "cross_entropy", LONG_LOSS])
def test_numbers_of_a_block_do_not_grow_with_the_outputs_or_the_loss(name: str, outputs: int) -> None:
    model, rows = MLP(3, [outputs + 1, outputs + 1], seed=1), 10**6
    loss = losses.of_expression(parse(name)) if name == LONG_LOSS else losses.named(name)
    targets = np.zeros((2, 1 if loss.graph is None else outputs + 1))
    network, objective = evaluation.network_of(model, loss, rows), evaluation.objective_of(model, targets, loss, 0.0, rows)
    count = network.cells.size + objective.values.size + objective.adjoints.size
    assert network.block == evaluation.MIN_BLOCK_ROWS or count <= evaluation.BLOCK_NUMBERS
    assert network.block >= evaluation.MIN_BLOCK_ROWS and count <= evaluation.MAX_BLOCK_NUMBERS


@pytest.mark.parametrize("length", [98, 99, 100, 101, ID_LIMIT - 4, ID_LIMIT - 1, ID_LIMIT])
def test_names_of_a_loss_may_be_as_long_as_any(length: int) -> None:
    """In the graph of a network with many outputs, where they get a prefix."""
    name = "n" * length
    loss = losses.of_expression(parse(f"{name} = (score - target)**2; {name}*1"))
    graph = network_graph(MLP(1, [12], seed=1), np.ones(1), np.zeros(12), loss)
    assert max(len(node.id) for node in graph.nodes) <= ID_LIMIT
    scores = evaluation.predict(MLP(1, [12], seed=1), np.ones((1, 1)))
    assert transforms.evaluate(graph)["loss"] == pytest.approx(float(np.mean(scores**2)), rel=1e-13)


@for_each("rows", [1, 5, 10**6])
@for_each("name", ["mse", "cross_entropy", LONG_LOSS])
def test_bytes_of_a_block_are_those_of_its_arrays(name: str, rows: int) -> None:
    """Of all rows if they are few."""
    model, loss = MLP(3, [20, 10], seed=1), losses.of_expression(parse(name)) if name == LONG_LOSS else losses.named(name)
    network = evaluation.network_of(model, loss, rows)
    objective = evaluation.objective_of(model, np.zeros((1, 1 if loss.graph is None else 10)), loss, 0.0, rows)
    size = network.cells.nbytes + objective.values.nbytes + objective.adjoints.nbytes
    assert evaluation.block_bytes(model, rows, loss) == size


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("read_only", [True, False], ids=["read-only", "writeable"])
def test_layout_of_the_data_does_not_matter_and_compiles_nothing(order: Any, read_only: bool) -> None:
    from app.nn import kernels

    model, loss, targets = MLP(3, [5, 2], activation="tanh", seed=1), losses.named("mse"), targets_of("mse")
    expected = evaluation.gradients(model, MANY, targets, loss).gradients.parameters(), evaluation.predict(model, MANY).tolist()
    compiled: Any = kernels
    counts = len(compiled.add_block.signatures), len(compiled.predict_block.signatures)
    inputs, others = np.array(MANY, order=order), np.array(targets, order=order)
    inputs.flags.writeable = others.flags.writeable = not read_only
    found = evaluation.gradients(model, inputs, others, loss).gradients.parameters(), evaluation.predict(model, inputs).tolist()
    assert found == expected
    assert counts == (len(compiled.add_block.signatures), len(compiled.predict_block.signatures)) == (1, 1)


@pytest.mark.parametrize(
    ("words", "kind", "place", "name", "targets"),
    [
        pytest.param("2.*max_margin.*-1 or 1", InvalidNetwork, ("targets", 2), "max_margin", [1, -1, 2], id="sign"),
        pytest.param("-1.*probability", InvalidNetwork, ("targets", 1), "binary_cross_entropy", [0, -1, 0], id="probability"),
        pytest.param(
            "model with one output per class", NetworkMismatch, ("model",), "cross_entropy", [0, 0, 0], id="one output"
        ),
    ],
)
def test_targets_that_a_loss_does_not_accept_are_refused(
    words: str, kind: type[Exception], place: tuple[str | int, ...], name: str, targets: list[float]
) -> None:
    given = np.array([[float(target)] for target in targets])
    with pytest.raises(kind, match=words) as caught:
        evaluation.gradients(MLP(2, [1]), np.ones((3, 2)), given, losses.named(name))
    assert getattr(caught.value, "place", None) == place


@for_each(
    ("words", "place", "name", "inputs", "targets"),
    [
        ("there are no rows of inputs", "inputs", "mse", (0, 2), (0, 5)),
        ("rows of inputs have 3 numbers, but the model takes 2", "inputs", "mse", (4, 3), (4, 5)),
        ("there are 3 targets for 4 rows of inputs", "targets", "mse", (4, 2), (3, 5)),
        ("there are 6 numbers per row of targets; mse needs 5 per row", "targets", "mse", (4, 2), (4, 6)),
        ("there are 6 numbers per row of targets; expression needs 5 per row", "targets", "score*target", (4, 2), (4, 6)),
        ("there are 5 numbers per row of targets; cross_entropy needs one class", "targets", "cross_entropy", (4, 2), (4, 5)),
        ("the model takes 2 inputs, not 3", "inputs", "mse", (3,), (5,)),
        ("the model has 5 outputs, but the target has 6 numbers", "target", "mse", (2,), (6,)),
        ("cross_entropy needs one class as target, not 5 numbers", "target", "cross_entropy", (2,), (5,)),
    ],
)
def test_a_shape_that_does_not_fit_is_named(
    words: str, place: str, name: str, inputs: tuple[int, ...], targets: tuple[int, ...]
) -> None:
    loss = losses.of_expression(parse(name)) if "*" in name else losses.named(name)
    evaluate: Callable[..., object] = network_graph if len(inputs) == 1 else evaluation.gradients
    with pytest.raises(NetworkMismatch) as caught:
        evaluate(MLP(2, [5]), np.ones(inputs), np.ones(targets), loss)
    assert caught.value.detail.startswith(words) and caught.value.place == (place,)


@pytest.mark.parametrize(
    ("words", "shape"),
    [("no rows of inputs", (0, 2)), ("have 3 numbers, but the model takes 2", (4, 3))],
    ids=["no rows", "width"],
)
def test_scores_of_a_wrong_shape_are_refused(words: str, shape: tuple[int, int]) -> None:
    with pytest.raises(NetworkMismatch, match=words) as caught:
        evaluation.predict(MLP(2, [5]), np.ones(shape))
    assert caught.value.place == ("inputs",)


@pytest.mark.parametrize(("loss", "target"), [("cross_entropy", [3.0]), ("cross_entropy", [0.0, 1.0]), ("mse", [1.0])])
def test_target_of_a_graph_that_does_not_fit_is_refused(loss: str, target: list[float]) -> None:
    with pytest.raises(NetworkMismatch) as caught:
        network_graph(MLP(2, [3]), np.ones(2), np.array(target), losses.named(loss))
    assert caught.value.place == ("target",)


@pytest.mark.parametrize("label", [3.0, -1.0, 0.5])
def test_a_class_without_an_output_is_refused(label: float) -> None:
    targets = np.array([[0.0], [label]])
    with pytest.raises(NetworkMismatch, match="classes are the integers 0 to 2") as caught:
        evaluation.gradients(MLP(2, [3]), np.ones((2, 2)), targets, losses.named("cross_entropy"))
    assert caught.value.place == ("targets", 1)


@pytest.mark.parametrize(("name", "wrong"), [("cross_entropy", 3.0), ("max_margin", 0.0), ("binary_cross_entropy", 2.0)])
def test_first_of_several_wrong_targets_is_named(name: str, wrong: float) -> None:
    targets = np.array([[1.0], [wrong], [1.0], [wrong]])
    if name != "cross_entropy":
        targets = np.column_stack([targets, np.ones((4, 2))])
    with pytest.raises((InvalidNetwork, NetworkMismatch), match="row 1 ") as caught:
        evaluation.gradients(MLP(2, [3]), np.ones((4, 2)), targets, losses.named(name))
    assert getattr(caught.value, "place", None) == ("targets", 1)


def test_loss_of_several_outputs_is_the_mean_over_rows_and_outputs() -> None:
    model, rng = MLP(2, [3]), np.random.default_rng(5)
    inputs, targets = rng.normal(size=(4, 2)), rng.normal(size=(4, 3))
    found = evaluation.gradients(model, inputs, targets, losses.named("mse"))
    errors = evaluation.predict(model, inputs) - targets
    assert math.isclose(found.data_loss, float(np.mean(errors**2)), rel_tol=1e-14)


@for_each("inputs", [63, 64, 65, 66])  # 4,096 weights are transposed before the product, 4,160 are not
@for_each("rows", [1, 2, 5, 130])
def test_integer_scores_and_gradients_are_exact_on_both_sides_of_what_is_transposed(inputs: int, rows: int) -> None:
    """Sums of integers are exact in any order, so NumPy's product of integers must give the same numbers."""
    rng = np.random.default_rng(inputs)
    weights, biases, last = rng.integers(-9, 10, (64, inputs)), rng.integers(-9, 10, 64), rng.integers(-9, 10, (1, 64))
    x = rng.integers(-9, 10, (rows, inputs))
    layers = (Layer(weights.astype(float), biases.astype(float), "linear"), Layer(last.astype(float), np.zeros(1), "linear"))
    model = Model(layers)
    scores = (x @ weights.T + biases) @ last.T
    assert evaluation.predict(model, x.astype(float)).tolist() == scores.tolist()
    loss = losses.of_expression(parse(f"{rows}*score"))
    found = evaluation.gradients(model, x.astype(float), np.zeros((rows, 1)), loss).gradients.layers
    slopes = np.repeat(last, rows, axis=0)  # of the sum of all scores by the outputs of the first layer
    assert [layer.weights.tolist() for layer in found] == [(slopes.T @ x).tolist(), [(x @ weights.T + biases).sum(0).tolist()]]
    assert [layer.biases.tolist() for layer in found] == [slopes.sum(0).tolist(), [rows]]


@pytest.mark.parametrize("inputs", [1, 64, 65])
def test_integer_scores_and_gradients_of_a_single_layer_are_exact(inputs: int) -> None:
    """With 65 inputs there is no layer whose weights are transposed."""
    rng = np.random.default_rng(inputs)
    weights, biases, x = rng.integers(-9, 10, (64, inputs)), rng.integers(-9, 10, 64), rng.integers(-9, 10, (3, inputs))
    model = Model((Layer(weights.astype(float), biases.astype(float), "linear"),))
    assert evaluation.predict(model, x.astype(float)).tolist() == (x @ weights.T + biases).tolist()
    loss = losses.of_expression(parse("192*score"))  # the loss is the mean over 3 rows and 64 outputs
    (layer,) = evaluation.gradients(model, x.astype(float), np.zeros((3, 64)), loss).gradients.layers
    assert (layer.weights.tolist(), layer.biases.tolist()) == ([x.sum(0).tolist()] * 64, [3.0] * 64)
