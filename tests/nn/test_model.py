"""Models: micrograd's order of parameters, immutability, and the update that makes a new one."""

import random

import numpy as np
import pytest

import app.nn
from app.engine.errors import EngineError
from app.nn import MLP, Layer, Model, apply_gradients, losses, optimizers, training
from app.nn.errors import InvalidNetwork, Misfit
from tests.nn.networks import demo


def test_the_public_names() -> None:
    assert set(app.nn.__all__) == {"MLP", "Layer", "Model", "apply_gradients"}


def test_parameters_stand_in_micrograds_order() -> None:
    assert MLP(2, [16, 16, 1], seed=1337).parameters() == demo()["initial_parameters"]


def test_parameters_go_neuron_by_neuron() -> None:
    first = Layer(np.array([[1.0, 2.0], [4.0, 5.0]]), np.array([3.0, 6.0]), "relu")
    model = Model((first, Layer(np.array([[7.0, 8.0]]), np.array([9.0]))))
    assert model.parameters() == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0]
    assert (model.inputs, model.outputs) == (2, 1)


def test_flat_and_back_is_the_same_model() -> None:
    model = MLP(3, [4, 2], activation="tanh", output_activation="sigmoid", seed=5)
    again = model.with_flat(model.flat())
    assert again.parameters() == model.parameters()
    assert [layer.activation for layer in again.layers] == ["tanh", "sigmoid"]


def test_a_gradient_step_makes_a_new_model_and_leaves_the_old() -> None:
    model, slope = MLP(2, [3, 1], seed=1), MLP(2, [3, 1], seed=2)
    before = model.parameters()
    moved = apply_gradients(model, slope, 0.25)
    assert model.parameters() == before
    assert moved.parameters() == [p - 0.25 * g for p, g in zip(before, slope.parameters(), strict=True)]
    assert [layer.activation for layer in moved.layers] == [layer.activation for layer in model.layers]


def test_numbers_of_a_model_cannot_be_changed() -> None:
    given = np.array([[1.0, 2.0]])
    layer = Layer(given, np.array([0.0]))
    given[0, 0] = 7.0
    assert layer.weights[0, 0] == 1.0, "what was given may change; the layer does not"
    for array in (layer.weights, layer.biases, *(part for lay in MLP(2, [2]).layers for part in (lay.weights, lay.biases))):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0.0
    with pytest.raises(AttributeError):
        layer.activation = "relu"  # type: ignore[misc]
    with pytest.raises(AttributeError):
        Model((layer,)).layers = ()  # type: ignore[misc]


def test_gradients_applied_by_hand_are_a_step_of_sgd() -> None:
    """The library's two halves, gradients and update, are what training does in one."""
    draw = random.Random(4)
    inputs = np.array([[draw.uniform(-1, 1) for _ in range(2)] for _ in range(9)])
    targets = np.array([[draw.choice([-1.0, 1.0])] for _ in range(9)])
    loss, sgd = losses.named("max_margin"), optimizers.make("sgd", 0.1, {})
    model = MLP(2, [6, 1], activation="sigmoid", seed=8)
    trained = training.train(model, inputs, targets, loss=loss, optimizer=sgd, steps=5, l2=1e-3)
    for _ in range(5):
        model = apply_gradients(model, training.gradients(model, inputs, targets, loss, 1e-3).gradients, 0.1)
    assert trained.model.parameters() == model.parameters(), "to the last bit"


def test_training_leaves_its_model_its_data_and_its_state_alone() -> None:
    model, loss, adam = MLP(2, [4, 1], seed=1), losses.named("mse"), optimizers.make("adam", 0.1, {})
    inputs, targets = np.array([[1.0, 2.0], [0.0, 1.0], [3.0, 1.0]]), np.array([[1.0], [-1.0], [0.5]])
    kept = model.parameters(), inputs.tolist(), targets.tolist()
    first = training.train(model, inputs, targets, loss=loss, optimizer=adam, steps=3, batch_size=2)
    numbers = {name: buffer.parameters() for name, buffer in first.state.buffers.items()}
    training.train(first.model, inputs, targets, loss=loss, optimizer=adam, steps=3, batch_size=2, state=first.state)
    training.gradients(model, inputs, targets, loss, by_inputs=True)
    training.predict(model, inputs)
    assert (model.parameters(), inputs.tolist(), targets.tolist()) == kept
    assert {name: buffer.parameters() for name, buffer in first.state.buffers.items()} == numbers


def test_gradients_of_another_shape_are_refused() -> None:
    for other in (MLP(2, [3, 1, 1]), MLP(2, [4, 1]), MLP(3, [3, 1])):
        with pytest.raises(Misfit, match="shape"):
            apply_gradients(MLP(2, [3, 1]), other, 0.1)


WRONG: list[tuple[str, type[EngineError], tuple[str | int, ...], object]] = [
    ("at least one input", InvalidNetwork, ("inputs",), lambda: MLP(0, [1])),
    ("at least one layer", InvalidNetwork, ("layers",), lambda: MLP(2, [])),
    ("at least one layer", InvalidNetwork, ("layers",), lambda: Model(())),
    ("at least one neuron", InvalidNetwork, ("layers", 1), lambda: MLP(2, [3, 0])),
    ("'normal'", InvalidNetwork, ("init",), lambda: MLP(2, [1], init="normal")),
    ("seed", InvalidNetwork, ("seed",), lambda: MLP(2, [1], seed=-1)),
    ("'relux'.*'relu'", InvalidNetwork, ("activation",), lambda: MLP(2, [1], activation="relux")),
    ("'add'", InvalidNetwork, ("output_activation",), lambda: MLP(2, [1], output_activation="add")),
    ("biases", Misfit, ("biases",), lambda: Layer(np.ones((2, 2)), np.ones(3))),
    ("weights", Misfit, ("weights",), lambda: Layer(np.ones(2), np.ones(2))),
    ("weights", Misfit, ("weights",), lambda: Layer(np.ones((2, 0)), np.ones(2))),
    ("layer 1 .*layer 0", Misfit, ("layers", 1, "weights"), lambda: Model((MLP(2, [3]).layers[0], MLP(2, [1]).layers[0]))),
]


@pytest.mark.parametrize(("words", "kind", "path", "make"), WRONG)
def test_what_makes_no_model(words: str, kind: type[EngineError], path: tuple[str | int, ...], make: object) -> None:
    assert callable(make)
    with pytest.raises(kind, match=words) as caught:
        make()
    assert caught.value.path == path
