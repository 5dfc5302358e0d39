"""Random networks at nasty weights and data, and the check of one against mpmath.

Backpropagation is written once more here, neuron by neuron, with the derivatives of `jets`.
"""

import math
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import mpmath
import numpy as np
from mpmath import mp, mpf

from app.engine import transforms
from app.nn import Layer, Model, evaluation, losses
from app.nn.graphs import network_graph
from tests.fuzz.cases import DIGITS, FACTOR, NASTY, NOISY_DIGITS, RUNS, SUBNORMAL, UNITS
from tests.fuzz.jets import LARGEST, SMALLEST, UNARY, Noise, Sum, Unknown

MANY = 23
"""How often the rows are repeated, so that there are more than the 63 that are worked on one by one elsewhere."""


@dataclass(frozen=True)
class NetworkCase:
    """A model, rows of inputs and targets, a loss, and the factor of the sum of squares of all parameters."""

    model: Model
    inputs: tuple[tuple[float, ...], ...]
    targets: tuple[tuple[float, ...], ...]
    loss: str
    l2: float

    def __str__(self) -> str:
        layers = [(layer.activation, layer.weights.tolist(), layer.biases.tolist()) for layer in self.model.layers]
        return f"{layers}\n  {self.loss}, l2 = {self.l2}, inputs {self.inputs}, targets {self.targets}"


TARGETS: dict[str, Callable[[random.Random], float]] = {
    "max_margin": lambda rng: rng.choice((-1.0, 1.0)),
    "mse": lambda rng: rng.choice((0.0, 1.0, -2.5, rng.gauss(0.0, 3.0))),
    "mae": lambda rng: rng.choice((0.0, 1.0, -2.5, rng.gauss(0.0, 3.0))),
    "huber": lambda rng: rng.choice((0.0, 1.0, -2.5, rng.gauss(0.0, 3.0))),
    "binary_cross_entropy": lambda rng: rng.choice((0.0, 1.0, rng.random())),
    "cross_entropy": lambda rng: 0.0,
}


def draw(rng: random.Random) -> NetworkCase:
    """A case: 1 to 3 layers of up to 3 neurons, up to 3 rows, any activation and any loss."""
    nasty = rng.random() < 0.3

    def number() -> float:
        if nasty and rng.random() < 0.2:
            return rng.choice(NASTY)
        return float(rng.randint(-2, 2)) if rng.random() < 0.2 else rng.gauss(0.0, 1.0)

    loss = rng.choice(list(TARGETS))
    widths = [rng.randint(1, 3) for _ in range(rng.randint(2, 4))]
    if loss == "cross_entropy":
        widths[-1] = rng.randint(2, 4)
    layers = []
    for inputs, neurons in zip(widths, widths[1:], strict=False):
        weights = np.array([[number() for _ in range(inputs)] for _ in range(neurons)])
        activation = rng.choice(("linear", "tanh", "relu", *UNARY))
        layers.append(Layer(weights, np.array([number() for _ in range(neurons)]), activation))
    rows = range(rng.randint(1, 3))
    inputs_ = tuple(tuple(number() for _ in range(widths[0])) for _ in rows)
    if loss == "cross_entropy":
        targets: tuple[tuple[float, ...], ...] = tuple((float(rng.randrange(widths[-1])),) for _ in rows)
    else:
        targets = tuple(tuple(TARGETS[loss](rng) for _ in range(widths[-1])) for _ in rows)
    return NetworkCase(Model(tuple(layers)), inputs_, targets, loss, rng.choice((0.0, 0.0, 1e-4, 0.3)))


def _huber(s: Any, t: Any) -> tuple[Any, Any]:
    d = s - t
    return (d * d / 2, d) if abs(d) < 1 else (abs(d) - mpf(1) / 2, mpmath.sign(d))


SOFTPLUS, EXP = UNARY["softplus"], UNARY["exp"][0]

LOSSES: dict[str, Callable[[Any, Any], tuple[Any, Any]]] = {
    "max_margin": lambda s, t: (max(mpf(0), 1 - t * s), -t if 1 - t * s > 0 else mpf(0)),
    "mse": lambda s, t: ((s - t) ** 2, 2 * (s - t)),
    "mae": lambda s, t: (abs(s - t), mpmath.sign(s - t)),
    "huber": _huber,
    "binary_cross_entropy": lambda s, t: (
        Sum((t * SOFTPLUS[0](-s), (1 - t) * SOFTPLUS[0](s))),
        Sum((-t * SOFTPLUS[1](-s), (1 - t) * SOFTPLUS[1](s))),
    ),
}
"""Loss and derivative by the score of one score and its target."""


class Moved:
    """Numbers moved as `Noise` does, which remembers whether one is infinite, or has lost digits, as a double."""

    def __init__(self, noise: Noise) -> None:
        self.noise = noise
        self.out_of_range = False

    def __call__(self, x: Any) -> Any:
        moved = self.noise(x)
        if moved != 0 and not SMALLEST <= abs(moved) <= LARGEST / 1000:  # which many rows may add up to more
            self.out_of_range = True
        return moved

    def total(self, terms: Sequence[Any]) -> Any:
        """A sum, each term of which was rounded."""
        return self(mpmath.fsum([self(term) for term in terms]))


def _activated(activation: str, x: Any, moved: Moved) -> tuple[Any, Any]:
    """An activation and its derivative. Raises Unknown where one of them is not defined or infinite."""
    if activation == "linear":
        return x, mpf(1)
    value, slope, _ = UNARY[activation]
    try:
        return moved(value(x)), moved(slope(x))
    except ZeroDivisionError:
        raise Unknown from None


def exact(case: NetworkCase, noise: Noise) -> tuple[dict[str, Any], bool]:
    """The loss, its parts and all gradients, by name, and whether a number on the way is out of the range of doubles."""
    moved = Moved(noise)
    rows = len(case.inputs)
    slopes: dict[str, list[Any]] = {}
    entries = []
    found: dict[str, Any] = {}
    count = rows * case.model.outputs
    for r, (row, target) in enumerate(zip(case.inputs, case.targets, strict=True)):
        outs, bends = [[mpf(x) for x in row]], []
        for layer in case.model.layers:
            pairs = []
            for weights, bias in zip(layer.weights.tolist(), layer.biases.tolist(), strict=True):
                pairs.append(
                    _activated(
                        layer.activation,
                        moved.total([*(mpf(w) * x for w, x in zip(weights, outs[-1], strict=True)), mpf(bias)]),
                        moved,
                    )
                )
            outs.append([value for value, _ in pairs])
            bends.append([slope for _, slope in pairs])
        scores = outs[-1]
        for j, score in enumerate(scores):
            found[f"score {r} {j}"] = score
        if case.loss == "cross_entropy":
            right = int(target[0])
            powers = [moved(EXP(moved(s - scores[right]))) for s in scores]
            others = mpmath.fsum(p for j, p in enumerate(powers) if j != right)
            entries.append(moved(mpmath.log1p(others)))
            deltas = [moved((p if j != right else -others) / (1 + others) / rows) for j, p in enumerate(powers)]
        else:
            pairs = [LOSSES[case.loss](s, mpf(t)) for s, t in zip(scores, target, strict=True)]
            entries += [moved(value) for value, _ in pairs]
            deltas = [moved(moved(slope) / count) for _, slope in pairs]
        for k in range(len(case.model.layers) - 1, -1, -1):
            deltas = [moved(d * slope) for d, slope in zip(deltas, bends[k], strict=True)]
            for j, delta in enumerate(deltas):
                slopes.setdefault(f"biases {k} {j}", []).append(delta)
                for i, x in enumerate(outs[k]):
                    slopes.setdefault(f"weights {k} {j} {i}", []).append(delta * x)
            columns = zip(*case.model.layers[k].weights.tolist(), strict=True)
            deltas = [moved.total([delta * mpf(w) for delta, w in zip(deltas, column, strict=True)]) for column in columns]
        for i, delta in enumerate(deltas):
            found[f"input {r} {i}"] = delta
    l2 = mpf(case.l2)
    found["data loss"] = moved(moved.total(entries) / (rows if case.loss == "cross_entropy" else count))
    found["regularization loss"] = moved(l2 * moved.total([mpf(p) ** 2 for p in case.model.parameters()])) if l2 else mpf(0)
    for name, number in parameters(case.model).items():
        found[name] = moved.total([*slopes[name], 2 * l2 * mpf(number)]) if l2 else moved.total(slopes[name])
    return found, moved.out_of_range


def parameters(model: Model) -> dict[str, float]:
    """The numbers of a model, or of its gradients, by name."""
    found = {}
    for k, layer in enumerate(model.layers):
        for j, (weights, bias) in enumerate(zip(layer.weights.tolist(), layer.biases.tolist(), strict=True)):
            found[f"biases {k} {j}"] = bias
            found |= {f"weights {k} {j} {i}": weight for i, weight in enumerate(weights)}
    return found


def answers(case: NetworkCase) -> dict[str, dict[str, float]]:
    """What the networks say of a case: for its rows, for its rows again and again, and for the graph of one row."""
    loss = losses.named(case.loss)
    inputs, targets = np.array(case.inputs), np.array(case.targets)
    ways = {}
    for way, times in (("rows", 1), ("many rows", MANY)):
        some = np.tile(inputs, (times, 1)), np.tile(targets, (times, 1))
        found = evaluation.gradients(case.model, *some, loss, case.l2, by_inputs=True)
        assert found.input_gradients is not None
        ways[way] = {"data loss": found.data_loss, "regularization loss": found.regularization_loss}
        ways[way] |= parameters(found.gradients)
        scores = evaluation.predict(case.model, some[0])
        for r in range(len(inputs)):
            ways[way] |= {f"score {r} {j}": float(score) for j, score in enumerate(scores[r])}
            ways[way] |= {f"input {r} {i}": float(times * slope) for i, slope in enumerate(found.input_gradients[r])}
    if len(inputs) == 1 and not case.l2:
        ways["graph"] = _by_graph(case, inputs[0], targets[0], loss)
    return ways


def _by_graph(case: NetworkCase, row: Any, target: Any, loss: losses.Loss) -> dict[str, float]:
    graph = network_graph(case.model, row, target, loss)
    back = transforms.backward(graph, {}, None)
    assert isinstance(back.value, float | np.ndarray)

    def gradient(name: str) -> float:
        return float(back.gradients[name])

    found = {"data loss": float(back.value), "regularization loss": 0.0}
    for name in parameters(case.model):
        kind, k, *rest = name.split()
        found[name] = gradient(f"layers.{k}.{kind}.{'.'.join(rest)}")
    return found | {f"input 0 {i}": gradient(f"inputs.{i}") for i in range(len(row))}


def check(case: NetworkCase, rng: random.Random, tally: Counter[str], runs: int = RUNS, digits: int = DIGITS) -> list[str]:
    """Compare one case with mpmath; return what is wrong."""
    with np.errstate(all="ignore"):
        ways = answers(case)
    try:
        with mp.workdps(digits):
            truth, out_of_range = exact(case, Noise(0, 0.0, 0))
        with mp.workdps(NOISY_DIGITS):
            noisy = [exact(case, Noise(0, UNITS, rng.getrandbits(32)))[0] for _ in range(runs)]
    except Unknown:
        tally["undefined"] += 1
        return _disagreements(ways)
    if out_of_range:
        tally["out of range"] += 1
        return []
    tally["compared"] += 1
    return [fault for way, found in ways.items() for fault in _faults(way, found, truth, noisy, tally)]


def _faults(
    way: str, found: Mapping[str, float], truth: Mapping[str, Any], noisy: Sequence[Mapping[str, Any]], tally: Counter[str]
) -> list[str]:
    wrong = []
    for key, want in truth.items():
        if key.startswith("score") and max(abs(run[key] - want) for run in noisy) > (1 + abs(want)) / 1000:
            tally["scores not known to doubles"] += 1
            return []  # nor is, then, on which side of a kink of the loss they are
    for key, got in found.items():
        want = truth[key]
        deviation = max(abs(run[key] - want) for run in noisy)
        if deviation > abs(want) / 1000:
            tally["not known to doubles"] += 1
            continue
        bound = FACTOR * deviation + 4 * abs(want) * mpf(2) ** -53 + (SUBNORMAL if abs(want) < mpf(10) ** -300 else 0)
        if not math.isfinite(got) or abs(got - want) > bound:
            wrong.append(f"{way}: {key} is {got!r}, {mpmath.nstr(want, 17)} +- {mpmath.nstr(bound, 3)}")
    return wrong


def _disagreements(ways: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Where a number is not defined or infinite: what is refused of a network's graph must be refused of the network too.

    The other way round it may be refused although its graph has an answer: products of matrices do not know of selections.
    """
    if "graph" not in ways or not math.isfinite(ways["rows"]["data loss"]):
        return []  # of which nothing is answered
    rows, graph = ways["rows"], ways["graph"]
    keys = graph if math.isfinite(graph["data loss"]) else ["data loss"]
    return [
        f"rows: {key} is {rows[key]!r}, but of the graph {graph[key]!r}"
        for key in keys
        if math.isfinite(rows[key]) and not math.isfinite(graph[key])
    ]
