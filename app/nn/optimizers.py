"""Optimizers: PyTorch's, with its parameter names, defaults and update rules, and the states that they keep.

Not here: the update loops themselves, which are compiled (`kernels`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from app.engine.errors import nearest, quote
from app.engine.graph import Graph
from app.nn.errors import InvalidNetwork
from app.nn.model import Floats

PARAMETERS = (
    "momentum", "dampening", "weight_decay", "nesterov", "beta1", "beta2", "eps", "amsgrad", "alpha", "centered",
)  # fmt: skip
"""The places in the vector of parameters that `kernels.update` reads."""

DEFAULTS: dict[str, dict[str, float]] = {
    "sgd": {"learning_rate": 1e-3, "momentum": 0.0, "dampening": 0.0, "weight_decay": 0.0, "nesterov": 0.0},
    "adam": {"learning_rate": 1e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.0, "amsgrad": 0.0},
    "adamw": {"learning_rate": 1e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 1e-2, "amsgrad": 0.0},
    "rmsprop": {
        "learning_rate": 1e-2, "alpha": 0.99, "eps": 1e-8, "weight_decay": 0.0, "momentum": 0.0, "centered": 0.0,
    },
}  # fmt: skip
"""PyTorch's, for each optimizer that there is."""

NAMES = tuple(DEFAULTS)


@dataclass(frozen=True)
class Optimizer:
    """An optimizer with its parameters. `learning_rate` is a number, or an expression of `step` as a graph."""

    name: str
    learning_rate: float | Graph
    parameters: Mapping[str, float] = field(default_factory=dict)

    @property
    def code(self) -> int:
        """Its number in `kernels.update`."""
        return NAMES.index(self.name)

    @property
    def vector(self) -> Floats:
        """The parameters in the order of `PARAMETERS`."""
        merged = {**DEFAULTS[self.name], **self.parameters}
        return np.array([float(merged.get(name, 0.0)) for name in PARAMETERS])

    @property
    def buffers(self) -> dict[str, int]:
        """The vectors that it keeps from step to step: PyTorch's name of each, and its row in the kernel's state."""
        of = {**DEFAULTS[self.name], **self.parameters}
        if self.name == "sgd":
            return {"momentum_buffer": 0} if of["momentum"] else {}
        if self.name == "rmsprop":
            rows = {"square_avg": (0, 1.0), "momentum_buffer": (1, of["momentum"]), "grad_avg": (2, of["centered"])}
        else:
            rows = {"exp_avg": (0, 1.0), "exp_avg_sq": (1, 1.0), "max_exp_avg_sq": (2, of["amsgrad"])}
        return {name: row for name, (row, kept) in rows.items() if kept}


def make(name: str, learning_rate: float | Graph | None, parameters: Mapping[str, float]) -> Optimizer:
    """An optimizer, its parameters checked as PyTorch checks them. Raises InvalidNetwork."""
    if name not in DEFAULTS:
        hint = nearest(name, NAMES) or f" There are {', '.join(NAMES)}."
        raise InvalidNetwork(f"there is no optimizer {quote(name)}.{hint}", ("optimizer", "name"))
    known = DEFAULTS[name]
    for key, number in parameters.items():
        if key not in known:
            options = ", ".join(name for name in known if name != "beta2").replace("beta1", "betas")
            raise InvalidNetwork(f"{name} has no parameter {key}; it has {options}", ("optimizer", key))
        if number < 0.0 or (key in ("beta1", "beta2") and number >= 1.0):
            raise InvalidNetwork(
                f"{key} is {'in [0, 1)' if 'beta' in key else 'not negative'}, not {number:g}", ("optimizer", key)
            )
    merged = {**known, **parameters}
    if merged.get("nesterov") and (not merged["momentum"] or merged["dampening"]):
        raise InvalidNetwork("nesterov wants momentum, and no dampening", ("optimizer", "nesterov"))
    if isinstance(learning_rate, float) and learning_rate < 0.0:
        raise InvalidNetwork(f"the learning rate is not negative, not {learning_rate:g}", ("optimizer", "learning_rate"))
    return Optimizer(name, known["learning_rate"] if learning_rate is None else learning_rate, dict(parameters))
