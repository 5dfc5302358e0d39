"""Activations as ONNX operators.

onnxruntime computes few operators in double precision: it has Relu, Tanh, Exp and Log, and neither Softplus nor Erf. So an
activation is composed of those that it has, in a way that keeps its digits. What cannot be composed has no row in `RULES`.
"""

import math
from collections.abc import Callable, Mapping
from functools import cache

from app.nn.model import ACTIVATIONS, LINEAR

Argument = str | int | float
"""The input `X`, an earlier step by its index, or a number."""

Step = tuple[str, tuple[Argument, ...]]
"""An operator and its arguments."""

X = "x"


class Steps(list[Step]):
    """Steps in the order of computation. A call appends one and returns its index."""

    def __call__(self, operator: str, *arguments: Argument) -> int:
        """Append a step."""
        self.append((operator, arguments))
        return len(self) - 1


Rule = Callable[[Steps, Argument], int]
"""Appends the steps of an activation of an argument, and returns the index of the last one."""


def _expm1(s: Steps, x: Argument) -> int:
    """exp(x) - 1 = tanh(x/2)*(exp(x) + 1), without cancellation."""
    return s("Mul", s("Tanh", s("Mul", x, 0.5)), s("Add", s("Exp", x), 1.0))


def _log1p(s: Steps, x: Argument) -> int:
    """log(u)*x/(u - 1) with u = 1 + x rounded: its error cancels (Kahan). At u = 1 it is x."""
    u = s("Add", x, 1.0)
    d = s("Sub", u, 1.0)
    is_zero = s("Equal", d, 0.0)
    return s("Where", is_zero, x, s("Mul", s("Log", u), s("Div", x, s("Where", is_zero, 1.0, d))))


def _cosh(s: Steps, x: Argument) -> int:
    return s("Mul", s("Add", s("Exp", x), s("Exp", s("Neg", x))), 0.5)


def _asinh(s: Steps, x: Argument) -> int:
    """sign(x)*log1p(a + a*a/(1 + sqrt(1 + a*a))) with a = abs(x); log(2*a) where the square could overflow."""
    a = s("Abs", x)
    bounded = s("Min", a, 1e100)
    square = s("Mul", bounded, bounded)
    root = s("Sqrt", s("Add", square, 1.0))
    small = _log1p(s, s("Add", bounded, s("Div", square, s("Add", root, 1.0))))
    large = s("Add", s("Log", a), math.log(2.0))
    return s("Mul", s("Sign", x), s("Where", s("Greater", a, 1e100), large, small))


def _acosh(s: Steps, x: Argument) -> int:
    """log1p(t + sqrt(2*t + t*t)) with t = x - 1; log(2*x) where the square could overflow."""
    t = s("Min", s("Sub", x, 1.0), 1e100)
    small = _log1p(s, s("Add", t, s("Sqrt", s("Add", s("Mul", t, 2.0), s("Mul", t, t)))))
    return s("Where", s("Greater", x, 1e100), s("Add", s("Log", x), math.log(2.0)), small)


def _atanh(s: Steps, x: Argument) -> int:
    """log1p(2*x/(1 - x))/2."""
    return s("Mul", _log1p(s, s("Div", s("Mul", x, 2.0), s("Sub", 1.0, x))), 0.5)


def _softplus(s: Steps, x: Argument) -> int:
    """max(x, 0) + log1p(exp(-abs(x)))."""
    return s("Add", s("Relu", x), _log1p(s, s("Exp", s("Neg", s("Abs", x)))))


def _leaky_relu(s: Steps, x: Argument) -> int:
    return s("Where", s("Greater", x, 0.0), x, s("Mul", x, 0.01))


def _elu(s: Steps, x: Argument) -> int:
    return s("Where", s("Greater", x, 0.0), x, _expm1(s, s("Min", x, 0.0)))


def _one(operator: str) -> Rule:
    """A single operator."""
    return lambda s, x: s(operator, x)


RULES: Mapping[str, Rule] = {
    LINEAR: _one("Identity"),
    **{name: _one(name.capitalize()) for name in ("neg", "abs", "sign", "exp", "log", "sqrt", "sin", "cos", "tanh", "relu")},
    "reciprocal": _one("Reciprocal"),
    "sigmoid": _one("Sigmoid"),
    "square": lambda s, x: s("Mul", x, x),
    "expm1": _expm1,
    "log1p": _log1p,
    "log2": lambda s, x: s("Div", s("Log", x), math.log(2.0)),
    "log10": lambda s, x: s("Div", s("Log", x), math.log(10.0)),
    "tan": lambda s, x: s("Div", s("Sin", x), s("Cos", x)),
    "sinh": lambda s, x: s("Mul", s("Tanh", x), _cosh(s, x)),
    "cosh": _cosh,
    "asinh": _asinh,
    "acosh": _acosh,
    "atanh": _atanh,
    "softplus": _softplus,
    "leaky_relu": _leaky_relu,
    "elu": _elu,
    "silu": lambda s, x: s("Mul", x, s("Sigmoid", x)),
}
"""The activations that can be written."""


def _gelu_of_erf(s: Steps, x: Argument) -> int:
    """As PyTorch writes it below version 20 of the operators."""
    return s("Mul", s("Mul", x, s("Add", s("Erf", s("Div", x, math.sqrt(2.0))), 1.0)), 0.5)


def _softplus_with_threshold(s: Steps, x: Argument) -> int:
    """As PyTorch writes it: beyond 20, softplus(x) is x."""
    return s("Where", s("Greater", x, 20.0), x, s("Softplus", x))


OTHER_RULES: Mapping[str, tuple[Rule, ...]] = {
    "gelu": (_gelu_of_erf,),
    "softplus": (_softplus_with_threshold,),
    "square": (lambda s, x: s("Pow", x, 2.0),),
    "silu": (lambda s, x: s("Mul", s("Sigmoid", x), x),),
}
"""Compositions that other programs write."""

OPERATORS: Mapping[str, tuple[str, Mapping[str, float | bytes]]] = {
    **{name.capitalize(): (name, {}) for name in ACTIVATIONS if name in ("asin", "acos", "atan", "tan", "sinh", "cosh", "erf")},
    **{name.capitalize(): (name, {}) for name in ("asinh", "acosh", "atanh", "softplus")},
    "LeakyRelu": ("leaky_relu", {"alpha": 0.01}),
    "Elu": ("elu", {"alpha": 1.0}),
    "Gelu": ("gelu", {"approximate": b"none"}),
}
"""Operators that are read but not written: the activation, and the attributes that they must have, which are the defaults."""


@cache
def steps_of(activation: str) -> tuple[Step, ...]:
    """The steps of an activation. Raises KeyError for one that cannot be composed."""
    return _recorded(RULES[activation])


@cache
def known_compositions() -> tuple[tuple[str, tuple[Step, ...]], ...]:
    """All compositions with the activations that they are, the longest first."""
    rules = [*RULES.items(), *((name, rule) for name, others in OTHER_RULES.items() for rule in others)]
    found = [(name, _recorded(rule)) for name, rule in rules if name != LINEAR]
    return tuple(sorted(found, key=lambda row: -len(row[1])))


def _recorded(rule: Rule) -> tuple[Step, ...]:
    steps = Steps()
    rule(steps, X)
    return tuple(steps)
