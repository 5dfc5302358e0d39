"""Training against PyTorch and JAX: micrograd's demo, and networks on digits."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from app.engine.text import parse
from app.nn import MLP, datasets, losses, optimizers, training
from app.nn.model import Model
from app.nn.training import TrainingOptions
from tests.benchmarks.measure import OURS, Contestant, Row, race


def per_step(row: Row, steps: int) -> Row:
    """A row's times, of one step each."""
    seconds = {name: taken / steps for name, taken in row.seconds.items()}
    return Row(row.work, seconds, row.targets, row.compiled_s, row.note)


def torch_of(model: Model) -> Any:
    """The model in PyTorch, with doubles, on one thread."""
    import torch

    torch.set_num_threads(1)
    layers: list[Any] = []
    for layer in model.layers:
        neurons, inputs = layer.weights.shape
        linear = torch.nn.Linear(inputs, neurons, dtype=torch.float64)
        with torch.no_grad():
            linear.weight.copy_(torch.tensor(np.array(layer.weights)))
            linear.bias.copy_(torch.tensor(np.array(layer.biases)))
        layers.append(linear)
        if layer.activation == "relu":
            layers.append(torch.nn.ReLU())
    return torch.nn.Sequential(*layers)


def jax_forward(parameters: Any, x: Any) -> Any:
    """ReLU between layers, nothing behind the last."""
    import jax

    for k, (weights, biases) in enumerate(parameters):
        x = x @ weights.T + biases
        if k < len(parameters) - 1:
            x = jax.nn.relu(x)
    return x


def compiled(function: Callable[[], Any]) -> tuple[Contestant, Any]:
    """A contestant that JAX compiles at its first run, and what that gave."""
    import jax

    began = time.perf_counter()
    first = jax.block_until_ready(function())
    both = time.perf_counter() - began
    began = time.perf_counter()
    jax.block_until_ready(function())
    return Contestant(lambda: jax.block_until_ready(function()), both - (time.perf_counter() - began)), first


def eager_in_torch(
    model: Model, optimizer: Callable[..., Any], rates: Sequence[float], loss: Callable[[Any, int], Any]
) -> Callable[[], list[float]]:
    """Training in PyTorch, with a learning rate and a loss of the network for each step: returns the losses when called."""
    network, start = torch_of(model), torch_of(model).state_dict()

    def eager() -> list[float]:
        network.load_state_dict(start)
        stepper = optimizer(network.parameters(), lr=rates[0])
        found = []
        for step, rate in enumerate(rates):
            total = loss(network, step)
            stepper.param_groups[0]["lr"] = rate
            stepper.zero_grad()
            total.backward()
            stepper.step()
            found.append(total.item())
        return found

    return eager


def demo_in_torch(model: Model, inputs: np.ndarray, targets: np.ndarray, steps: int) -> Callable[[], list[float]]:
    """micrograd's demo in PyTorch."""
    import torch

    x, t = torch.tensor(inputs), torch.tensor(targets)

    def loss(network: Any, step: int) -> Any:
        return torch.relu(1 - t * network(x)).mean() + 1e-4 * sum((p * p).sum() for p in network.parameters())

    return eager_in_torch(model, torch.optim.SGD, [1.0 - 0.9 * step / 100 for step in range(steps)], loss)


def demo(*, in_torch: bool) -> Iterator[Row]:
    """micrograd's published demo: 2-16-16-1, 100 rows, 100 steps; against JAX, and PyTorch if `in_torch`."""
    import jax
    import jax.numpy as jnp

    steps = 100
    data = datasets.load("moons", 100, 0.1, 1337)
    model = MLP(2, [16, 16, 1], seed=1337)
    targets = data.targets[:, np.newaxis]
    loss = losses.named("max_margin")
    optimizer = optimizers.make("sgd", parse("1.0 - 0.9*step/100"))

    def ours() -> Any:
        return training.train(model, data.inputs, targets, TrainingOptions(loss, optimizer, steps, l2=1e-4))

    parameters = [(jnp.asarray(layer.weights), jnp.asarray(layer.biases)) for layer in model.layers]
    jx, jt = jnp.asarray(data.inputs), jnp.asarray(targets)

    def objective(parameters: Any) -> Any:
        squares = sum(jnp.sum(w * w) + jnp.sum(b * b) for w, b in parameters)
        return jnp.mean(jax.nn.relu(1 - jt * jax_forward(parameters, jx))) + 1e-4 * squares

    def step_of(parameters: Any, step: Any) -> Any:
        value, gradients = jax.value_and_grad(objective)(parameters)
        rate = 1.0 - 0.9 * step / 100
        return jax.tree.map(lambda p, g: p - rate * g, parameters, gradients), value

    scan = jax.jit(lambda parameters: jax.lax.scan(step_of, parameters, jnp.arange(float(steps))))
    contestant, (_, theirs) = compiled(lambda: scan(parameters))
    history = [row.loss for row in ours().history]
    np.testing.assert_allclose(history, theirs, rtol=1e-6)
    contestants = {OURS: Contestant(ours), "jax scan, compiled": contestant}
    most = {"jax scan, compiled": 0.8}
    if in_torch:
        eager = demo_in_torch(model, data.inputs, targets, steps)
        np.testing.assert_allclose(history, eager(), rtol=1e-6)
        contestants["torch eager"], most["torch eager"] = Contestant(eager), 1 / 50
    yield per_step(race("micrograd's demo, a step of 100", contestants, most, repeats=5), steps)


def batches_in_torch(
    model: Model, inputs: np.ndarray, classes: np.ndarray, drawn: list[np.ndarray], name: str, rate: float
) -> Callable[[], list[float]]:
    """Training with the rows `drawn` for each step in PyTorch."""
    import torch

    x, t = torch.tensor(inputs), torch.tensor(classes.astype(np.int64))
    picked = [torch.tensor(rows) for rows in drawn]

    def loss(network: Any, step: int) -> Any:
        return torch.nn.functional.cross_entropy(network(x[picked[step]]), t[picked[step]])

    kind = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}[name]
    return eager_in_torch(model, kind, [rate] * len(drawn), loss)


def batches(
    title: str, widths: list[int], inputs: np.ndarray, classes: np.ndarray, name: str, targets: dict[str, float]
) -> Iterator[Row]:
    """Mini-batches of 64, cross-entropy, 100 steps; there are as many rows as fill the batches of an epoch.

    Against the peers that have a target.
    """
    import jax
    import jax.numpy as jnp

    steps, size, rate = 100, 64, 0.01
    model = MLP(widths[0], widths[1:], init="he", seed=1)
    optimizer = optimizers.make(name, rate)
    loss = losses.named("cross_entropy")
    column = classes[:, np.newaxis].astype(np.float64)
    rows, bounds = training.batch_rows(len(inputs), size, 0, 0, steps)
    drawn = [rows[a:b] for a, b in zip(bounds[:-1], bounds[1:], strict=True)]

    def ours() -> Any:
        return training.train(model, inputs, column, TrainingOptions(loss, optimizer, steps, batch_size=size))

    parameters = [(jnp.asarray(layer.weights), jnp.asarray(layer.biases)) for layer in model.layers]
    jx, jt = jnp.asarray(inputs), jnp.asarray(classes.astype(np.int32))
    indices = jnp.asarray(np.stack(drawn))  # which needs all batches to be full

    def objective(parameters: Any, rows: Any) -> Any:
        scores = jax_forward(parameters, jx[rows])
        return jnp.mean(jax.nn.logsumexp(scores, axis=1) - jnp.take_along_axis(scores, jt[rows][:, None], 1)[:, 0])

    def sgd_step(state: Any, rows: Any) -> Any:
        value, gradients = jax.value_and_grad(objective)(state, rows)
        return jax.tree.map(lambda p, g: p - rate * g, state, gradients), value

    def adam_step(state: Any, rows: Any) -> Any:
        parameters, m, v, k = state
        value, gradients = jax.value_and_grad(objective)(parameters, rows)
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, gradients)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, gradients)
        a, b = 1 - 0.9 ** (k + 1), 1 - 0.999 ** (k + 1)
        moved = jax.tree.map(lambda p, m, v: p - rate * (m / a) / (jnp.sqrt(v / b) + 1e-8), parameters, m, v)
        return (moved, m, v, k + 1), value

    zeros = jax.tree.map(jnp.zeros_like, parameters)
    first: Any = (parameters, zeros, zeros, jnp.asarray(0.0)) if name == "adam" else parameters
    scan = jax.jit(lambda state, indices: jax.lax.scan(adam_step if name == "adam" else sgd_step, state, indices))
    contestant, (_, theirs) = compiled(lambda: scan(first, indices))
    history = [row.loss for row in ours().history]
    np.testing.assert_allclose(history, theirs, rtol=1e-6)
    contestants = {OURS: Contestant(ours), "jax scan, compiled": contestant}
    if "torch eager" in targets:
        eager = batches_in_torch(model, inputs, classes, drawn, name, rate)
        np.testing.assert_allclose(history, eager(), rtol=1e-6)
        contestants["torch eager"] = Contestant(eager)
    yield per_step(race(title, contestants, targets, repeats=5), steps)


def trainings(*, in_torch: bool) -> Iterator[Row]:
    """Digits, and a network as wide as for MNIST; against JAX, and PyTorch if `in_torch`."""
    digits = datasets.load("digits")
    whole = len(digits.inputs) // 64 * 64  # so that all batches are full
    scaled = np.ascontiguousarray(digits.inputs[:whole] / 16.0)
    targets = {"jax scan, compiled": 0.9} | ({"torch eager": 0.8} if in_torch else {})
    title = "64-32-10 on digits, batch 64, adam, a step"
    yield from batches(title, [64, 32, 10], scaled, digits.targets[:whole], "adam", targets)
    rng = np.random.default_rng(0)
    inputs, classes = rng.random((1024, 784)), rng.integers(0, 10, 1024).astype(np.float64)
    targets = {"jax scan, compiled": 1.2} | ({"torch eager": 1.0} if in_torch else {})
    yield from batches("784-128-10, batch 64, sgd, a step", [784, 128, 10], inputs, classes, "sgd", targets)
