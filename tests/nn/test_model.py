"""Models: micrograd's order of parameters, immutability, and the update that returns a new model."""

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import app.nn
from app.engine.errors import EngineError
from app.nn import MLP, Layer, Model, apply_gradients, evaluation, losses, optimizers, training
from app.nn.errors import InvalidNetwork, NetworkMismatch
from app.nn.training import TrainingOptions
from tests.nn.networks import demo


def test_public_names() -> None:
    assert set(app.nn.__all__) == {"MLP", "Layer", "Model", "apply_gradients", "predict", "train"}


def test_parameters_are_in_the_order_of_micrograd() -> None:
    assert MLP(2, [16, 16, 1], seed=1337).parameters() == demo()["initial_parameters"]


def test_parameters_go_neuron_by_neuron() -> None:
    first = Layer(np.array([[1.0, 2.0], [4.0, 5.0]]), np.array([3.0, 6.0]), "relu")
    model = Model((first, Layer(np.array([[7.0, 8.0]]), np.array([9.0]))))
    assert model.parameters() == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0]
    assert (model.inputs, model.outputs, model.neurons, model.size) == (2, 1, 3, 9)


def test_with_flat_inverts_flat() -> None:
    model = MLP(3, [4, 2], activation="tanh", output_activation="sigmoid", seed=5)
    again = model.with_flat(model.flat())
    assert again.parameters() == model.parameters()
    assert [layer.activation for layer in again.layers] == ["tanh", "sigmoid"]


def test_apply_gradients_returns_a_new_model() -> None:
    model, slope = MLP(2, [3, 1], seed=1), MLP(2, [3, 1], seed=2)
    before = model.parameters()
    moved = apply_gradients(model, slope, 0.25)
    assert model.parameters() == before
    assert moved.parameters() == [p - 0.25 * g for p, g in zip(before, slope.parameters(), strict=True)]
    assert [layer.activation for layer in moved.layers] == [layer.activation for layer in model.layers]


def test_layer_copies_an_array_that_can_change() -> None:
    given = np.array([[1.0, 2.0]])
    layer = Layer(given, np.array([0.0]))
    given[0, 0] = 7.0
    assert layer.weights[0, 0] == 1.0
    assert given.flags.writeable


def test_layer_shares_a_read_only_array() -> None:
    weights, biases = np.frombuffer(np.arange(6.0).tobytes()).reshape(3, 2), np.frombuffer(np.arange(3.0).tobytes())
    layer = Layer(weights, biases)
    assert np.shares_memory(layer.weights, weights) and np.shares_memory(layer.biases, biases)


@pytest.mark.parametrize(
    "weights",
    [
        pytest.param(np.asfortranarray([[1.0, 2.0], [3.0, 4.0]]), id="column by column"),
        pytest.param(np.array([[1, 2], [3, 4]]), id="integers"),
        pytest.param(np.array([[1.0, 0.0, 2.0], [3.0, 0.0, 4.0]])[:, ::2], id="strided"),
    ],
)
def test_layer_copies_a_read_only_array_of_another_layout(weights: np.ndarray[Any, Any]) -> None:
    weights.flags.writeable = False
    layer = Layer(weights, np.zeros(2))
    assert layer.weights.tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert layer.weights.flags.c_contiguous and layer.weights.dtype == np.float64 and not layer.weights.flags.writeable
    assert evaluation.predict(Model((layer,)), np.array([[1.0, 10.0]])).tolist() == [[21.0, 43.0]]


def test_layer_copies_a_read_only_array_that_is_not_aligned() -> None:
    weights = np.zeros(17, np.uint8)[1:].view(np.float64).reshape(1, 2)
    weights[:] = [[1.0, 2.0]]
    weights.flags.writeable = False
    assert not weights.flags.aligned
    layer = Layer(weights, np.zeros(1))
    assert layer.weights.tolist() == [[1.0, 2.0]] and layer.weights.flags.aligned and not layer.weights.flags.writeable


def test_models_and_layers_are_immutable() -> None:
    layer = Layer(np.array([[1.0, 2.0]]), np.array([0.0]))
    for array in (layer.weights, layer.biases, *(part for made in MLP(2, [2]).layers for part in (made.weights, made.biases))):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0.0
    with pytest.raises(AttributeError):
        layer.activation = "relu"  # type: ignore[misc]
    with pytest.raises(AttributeError):
        Model((layer,)).layers = ()  # type: ignore[misc]


def test_apply_gradients_equals_a_step_of_sgd_to_the_last_bit() -> None:
    draw = random.Random(4)
    inputs = np.array([[draw.uniform(-1, 1) for _ in range(2)] for _ in range(9)])
    targets = np.array([[draw.choice([-1.0, 1.0])] for _ in range(9)])
    loss = losses.named("max_margin")
    model = MLP(2, [6, 1], activation="sigmoid", seed=8)
    options = TrainingOptions(loss, optimizers.make("sgd", 0.1), steps=5, l2=1e-3)
    trained = training.train(model, inputs, targets, options)
    for _ in range(5):
        model = apply_gradients(model, evaluation.gradients(model, inputs, targets, loss, 1e-3).gradients, 0.1)
    assert trained.model.parameters() == model.parameters()


def test_training_does_not_change_its_arguments() -> None:
    model, loss, adam = MLP(2, [4, 1], seed=1), losses.named("mse"), optimizers.make("adam", 0.1)
    inputs, targets = np.array([[1.0, 2.0], [0.0, 1.0], [3.0, 1.0]]), np.array([[1.0], [-1.0], [0.5]])
    kept = model.parameters(), inputs.tolist(), targets.tolist()
    first = training.train(model, inputs, targets, TrainingOptions(loss, adam, steps=3, batch_size=2))
    numbers = {name: buffer.parameters() for name, buffer in first.state.buffers.items()}
    again = TrainingOptions(loss, adam, steps=3, batch_size=2, state=first.state)
    training.train(first.model, inputs, targets, again)
    evaluation.gradients(model, inputs, targets, loss, by_inputs=True)
    evaluation.predict(model, inputs)
    assert (model.parameters(), inputs.tolist(), targets.tolist()) == kept
    assert {name: buffer.parameters() for name, buffer in first.state.buffers.items()} == numbers
    assert inputs.flags.writeable and targets.flags.writeable


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(MLP(2, [3, 1, 1]), id="one more layer"),
        pytest.param(MLP(2, [4, 1]), id="one more neuron"),
        pytest.param(MLP(4, [2, 1]), id="as many numbers"),
        pytest.param(MLP(3, [3, 1]), id="one more input"),
    ],
)
def test_apply_gradients_refuses_another_shape(other: Model) -> None:
    with pytest.raises(NetworkMismatch, match="shape") as caught:
        apply_gradients(MLP(2, [3, 1]), other, 0.1)
    assert caught.value.place == ("gradients",)


@pytest.mark.parametrize(
    ("words", "kind", "place", "make"),
    [
        pytest.param("at least one input", InvalidNetwork, ("inputs",), lambda: MLP(0, [1]), id="no inputs"),
        pytest.param("at least one layer", InvalidNetwork, ("layers",), lambda: MLP(2, []), id="no widths"),
        pytest.param("at least one layer", InvalidNetwork, ("layers",), lambda: Model(()), id="no layers"),
        pytest.param("at least one neuron", InvalidNetwork, ("layers", 1), lambda: MLP(2, [3, 0]), id="empty layer"),
        pytest.param("'normal'.*uniform", InvalidNetwork, ("init",), lambda: MLP(2, [1], init="normal"), id="initializer"),
        pytest.param("seed", InvalidNetwork, ("seed",), lambda: MLP(2, [1], seed=-1), id="negative seed"),
        pytest.param(
            "'relux'.*'relu'", InvalidNetwork, ("activation",), lambda: MLP(2, [1], activation="relux"), id="activation"
        ),
        pytest.param(
            "'add'",
            InvalidNetwork,
            ("output_activation",),
            lambda: MLP(2, [1], output_activation="add"),
            id="binary activation",
        ),
        pytest.param(
            "'sine'",
            InvalidNetwork,
            ("activation",),
            lambda: Layer(np.ones((1, 1)), np.ones(1), "sine"),
            id="layer's activation",
        ),
        pytest.param("biases", NetworkMismatch, ("biases",), lambda: Layer(np.ones((2, 2)), np.ones(3)), id="extra bias"),
        pytest.param("weights", NetworkMismatch, ("weights",), lambda: Layer(np.ones(2), np.ones(2)), id="flat weights"),
        pytest.param("weights", NetworkMismatch, ("weights",), lambda: Layer(np.ones((2, 0)), np.ones(2)), id="empty weights"),
        pytest.param("biases", NetworkMismatch, ("biases",), lambda: Layer(np.ones((2, 3)), np.ones((2, 1))), id="a column"),
        pytest.param(
            "layer 1 .*layer 0",
            NetworkMismatch,
            ("layers", 1, "weights"),
            lambda: Model((MLP(2, [3]).layers[0], MLP(2, [1]).layers[0])),
            id="widths of neighbours",
        ),
    ],
)
def test_invalid_models_are_refused(
    words: str, kind: type[EngineError], place: tuple[str | int, ...], make: Callable[[], object]
) -> None:
    with pytest.raises(kind, match=words) as caught:
        make()
    assert caught.value.place == place
