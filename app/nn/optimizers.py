"""Optimizers: PyTorch's, with its parameter names, defaults, buffers and update rules.

Each optimizer is a row of `OPTIMIZERS`. The compiled training loop, the checks of parameters and the state of a training all
come from the table, so a new optimizer is a new row and its update rule.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, Literal, NamedTuple

import numpy as np

from app.engine.errors import Place, nearest, quote
from app.engine.graph import Graph
from app.engine.jit import inline_without_refcounts
from app.nn.errors import InvalidNetwork
from app.nn.model import Floats

Setting = float | bool | tuple[float, float]
"""The value of a parameter: a number, a flag, or a pair of numbers."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of an optimizer.

    `kind` is `number`, `flag` (true or false) or `pair` (two numbers). Numbers are at least `minimum`, and less than `below`
    if that is given.
    """

    name: str
    default: Setting
    kind: Literal["number", "flag", "pair"]
    description: str
    minimum: float = 0.0
    below: float | None = None


@dataclass(frozen=True, slots=True)
class Buffer:
    """A vector that an optimizer keeps from step to step, one number per weight and bias.

    `kept_if` names the parameter without which (0 or false) the optimizer does not keep this buffer; None: it always does.
    """

    name: str
    kept_if: str | None = None


class Step(NamedTuple):
    """What an update rule knows about its step: the number (from 1), the learning rate, and whether all buffers are new."""

    number: int
    rate: float
    first: bool


Update = Callable[[Floats, Floats, Step, Any, Any], None]
"""An update rule: `update(theta, gradient, step, parameters, buffers)` changes `theta` and the buffers in place.

`theta` and `gradient` are vectors of all weights and biases. `parameters` and `buffers` are records with the names of the
row's parameters and buffers: `parameters.betas[0]`, `buffers.exp_avg[k]`. A buffer that is not kept has length 0. numba
compiles the rule; it must not allocate.
"""


def _accept(settings: Mapping[str, Any]) -> None:
    """Accept every combination of parameters."""


@dataclass(frozen=True, slots=True)
class OptimizerRow:
    """A row of the table of optimizers.

    `learning_rate` is the default. `check` raises InvalidNetwork for parameters that contradict each other; it gets the values
    of all parameters by name.
    """

    name: str
    description: str
    learning_rate: float
    parameters: tuple[Parameter, ...]
    buffers: tuple[Buffer, ...]
    update: Update
    check: Callable[[Mapping[str, Any]], None] = _accept


def _sgd(theta: Floats, gradient: Floats, step: Step, parameters: Any, buffers: Any) -> None:
    momentum, velocity = parameters.momentum, buffers.momentum_buffer
    for k in range(len(theta)):
        slope = gradient[k] + parameters.weight_decay * theta[k]
        if momentum != 0.0:
            velocity[k] = slope if step.first else momentum * velocity[k] + (1.0 - parameters.dampening) * slope
            slope = slope + momentum * velocity[k] if parameters.nesterov else velocity[k]
        theta[k] -= step.rate * slope


def _check_sgd(settings: Mapping[str, Any]) -> None:
    if settings["nesterov"] and (settings["momentum"] == 0.0 or settings["dampening"] != 0.0):
        raise InvalidNetwork("nesterov needs a momentum above 0 and a dampening of 0", ("nesterov",))


@inline_without_refcounts
def _adaptive_moments(
    theta: Floats, gradient: Floats, step: Step, parameters: Any, buffers: Any, decay: float, shrink: float
) -> None:
    """Adam's step. `decay` adds decay*theta to the gradient; `shrink` multiplies theta before the step."""
    beta1, beta2 = parameters.betas
    mean, square, largest = buffers.exp_avg, buffers.exp_avg_sq, buffers.max_exp_avg_sq
    size = step.rate / (1.0 - beta1**step.number)
    root = np.sqrt(1.0 - beta2**step.number)
    if not parameters.amsgrad:  # two loops, because one without a branch compiles to vector instructions
        for k in range(len(theta)):
            slope = gradient[k] + decay * theta[k]
            mean[k] += (1.0 - beta1) * (slope - mean[k])
            square[k] = beta2 * square[k] + (1.0 - beta2) * slope * slope
            theta[k] = shrink * theta[k] - size * mean[k] / (np.sqrt(square[k]) / root + parameters.eps)
    else:
        for k in range(len(theta)):
            slope = gradient[k] + decay * theta[k]
            mean[k] += (1.0 - beta1) * (slope - mean[k])
            square[k] = beta2 * square[k] + (1.0 - beta2) * slope * slope
            largest[k] = max(largest[k], square[k])
            theta[k] = shrink * theta[k] - size * mean[k] / (np.sqrt(largest[k]) / root + parameters.eps)


def _adam(theta: Floats, gradient: Floats, step: Step, parameters: Any, buffers: Any) -> None:
    _adaptive_moments(theta, gradient, step, parameters, buffers, parameters.weight_decay, 1.0)


def _adamw(theta: Floats, gradient: Floats, step: Step, parameters: Any, buffers: Any) -> None:
    _adaptive_moments(theta, gradient, step, parameters, buffers, 0.0, 1.0 - step.rate * parameters.weight_decay)


def _rmsprop(theta: Floats, gradient: Floats, step: Step, parameters: Any, buffers: Any) -> None:
    alpha, momentum = parameters.alpha, parameters.momentum
    square, mean, velocity = buffers.square_avg, buffers.grad_avg, buffers.momentum_buffer
    for k in range(len(theta)):
        slope = gradient[k] + parameters.weight_decay * theta[k]
        square[k] = alpha * square[k] + (1.0 - alpha) * slope * slope
        spread = square[k]
        if parameters.centered:
            mean[k] += (1.0 - alpha) * (slope - mean[k])
            spread -= mean[k] * mean[k]
        move = slope / (np.sqrt(spread) + parameters.eps)
        if momentum != 0.0:
            velocity[k] = momentum * velocity[k] + move
            move = velocity[k]
        theta[k] -= step.rate * move


def _weight_decay(default: float) -> Parameter:
    return Parameter("weight_decay", default, "number", "times each number, added to its gradient")


_EPS = Parameter("eps", 1e-8, "number", "added to the denominator")
_MOMENTUM = Parameter("momentum", 0.0, "number", "how much of the last step is added to this one")
_BETAS = Parameter(
    "betas", (0.9, 0.999), "pair", "decay rates of the running means of the gradient and of its square", below=1.0
)
_AMSGRAD = Parameter("amsgrad", False, "flag", "divide by the largest running mean of squares so far")
_MOMENTS = (Buffer("exp_avg"), Buffer("exp_avg_sq"), Buffer("max_exp_avg_sq", "amsgrad"))

OPTIMIZERS: dict[str, OptimizerRow] = {
    row.name: row
    for row in (
        OptimizerRow(
            "sgd",
            "stochastic gradient descent, optionally with momentum",
            1e-3,
            (
                _MOMENTUM,
                Parameter("dampening", 0.0, "number", "how much less of each gradient enters the momentum"),
                _weight_decay(0.0),
                Parameter("nesterov", False, "flag", "Nesterov momentum; needs a momentum and no dampening"),
            ),
            (Buffer("momentum_buffer", "momentum"),),
            _sgd,
            _check_sgd,
        ),
        OptimizerRow(
            "adam",
            "Adam (Kingma and Ba 2015)",
            1e-3,
            (_BETAS, _EPS, _weight_decay(0.0), _AMSGRAD),
            _MOMENTS,
            _adam,
        ),
        OptimizerRow(
            "adamw",
            "Adam with decoupled weight decay (Loshchilov and Hutter 2019)",
            1e-3,
            (
                _BETAS,
                _EPS,
                Parameter("weight_decay", 1e-2, "number", "how fast each number shrinks, relative to the learning rate"),
                _AMSGRAD,
            ),
            _MOMENTS,
            _adamw,
        ),
        OptimizerRow(
            "rmsprop",
            "RMSprop (Hinton 2012), optionally centered (Graves 2013) or with momentum",
            1e-2,
            (
                Parameter("alpha", 0.99, "number", "decay rate of the running mean of the squared gradient"),
                _EPS,
                _weight_decay(0.0),
                _MOMENTUM,
                Parameter("centered", False, "flag", "divide by an estimate of the variance instead of the squares"),
            ),
            (Buffer("square_avg"), Buffer("momentum_buffer", "momentum"), Buffer("grad_avg", "centered")),
            _rmsprop,
        ),
    )
}


@dataclass(frozen=True, slots=True)
class Optimizer:
    """An optimizer with a value for each of its parameters.

    `learning_rate` is a number, or an expression of `step` as a graph.
    """

    row: OptimizerRow
    learning_rate: float | Graph
    settings: Mapping[str, Setting]

    @property
    def name(self) -> str:
        """The name of the row."""
        return self.row.name

    @property
    def buffers(self) -> tuple[str, ...]:
        """The names of the buffers that it keeps with these parameters."""
        return tuple(b.name for b in self.row.buffers if b.kept_if is None or self.settings[b.kept_if])


OTHERS = ("adadelta", "adagrad", "adamax", "adafactor", "asgd", "lamb", "lars", "lbfgs", "lion", "nadam", "radam", "rprop")
"""Optimizers that there are not, and that no other is meant by."""


def make(
    name: str,
    learning_rate: float | Graph | None = None,
    given: Mapping[str, float | bool | Sequence[float]] | None = None,
) -> Optimizer:
    """Return an optimizer. What is not `given` has PyTorch's default; None as `learning_rate` too.

    Raises InvalidNetwork at ("name",), ("learning_rate",), (parameter,), or (parameter, 0) within a pair.
    """
    row = OPTIMIZERS.get(name)
    if row is None:
        other = "sgd" if name.lower() in ("gd", "gradient_descent", "momentum") else name.lower().removesuffix("optimizer")
        near = "" if other in OTHERS else nearest(name, OPTIMIZERS)
        hint = f" It is called {quote(other)} here." if other in OPTIMIZERS else near
        hint = hint or f" Use one of {', '.join(OPTIMIZERS)}."
        raise InvalidNetwork(f"there is no optimizer {quote(name)}.{hint}", ("name",))
    settings: dict[str, Setting] = {parameter.name: parameter.default for parameter in row.parameters}
    known = {parameter.name: parameter for parameter in row.parameters}
    for key, value in (given or {}).items():
        if key not in known:
            raise InvalidNetwork(f"{name} has no parameter {quote(key)}; it has {', '.join(known)}", (key,))
        settings[key] = _setting(known[key], value)
    row.check(settings)
    rate = row.learning_rate if learning_rate is None else learning_rate
    if not isinstance(rate, Graph):
        rate = _number(rate, "learning_rate", ("learning_rate",))
    return Optimizer(row, rate, settings)


def _setting(parameter: Parameter, value: float | bool | Sequence[float]) -> Setting:
    """Check the value of a parameter."""
    name = parameter.name
    if parameter.kind == "flag":
        if not isinstance(value, bool | np.bool_):
            raise InvalidNetwork(f"{name} must be true or false", (name,))
        return bool(value)
    if parameter.kind == "number":
        return _number(value, name, (name,), parameter.minimum, parameter.below)
    if not isinstance(value, Sequence | np.ndarray) or len(value) != 2:
        raise InvalidNetwork(f"{name} must be a list of two numbers", (name,))
    first, second = (_number(value[k], name, (name, k), parameter.minimum, parameter.below) for k in range(2))
    return first, second


def _number(value: object, name: str, place: Place, minimum: float = 0.0, below: float | None = None) -> float:
    """Check a number: finite, at least `minimum`, and less than `below` if that is given."""
    if not isinstance(value, Real) or isinstance(value, bool) or not math.isfinite(value):
        raise InvalidNetwork(f"{name} must be a finite number", place)
    number = float(value)
    if number < minimum or (below is not None and number >= below):
        limits = f"be at least {minimum:g}" if minimum else "not be negative"
        limits += "" if below is None else f" and must be less than {below:g}"
        raise InvalidNetwork(f"{name} must {limits}; it is {number:g}", place)
    return number
