"""Shared by the tests of networks: small models and data, variants of each optimizer, and the raw parts of a response."""

import json
from pathlib import Path
from typing import Any

DATA = Path(__file__).parents[1] / "data"
RECORDED = Path(__file__).parent / "recorded"

ACTIVATIONS = (
    "linear neg abs sign exp expm1 log log1p log2 log10 sqrt square reciprocal sin cos tan asin acos atan sinh cosh tanh asinh "
    "acosh atanh sigmoid softplus relu leaky_relu elu gelu silu erf erfc lgamma digamma"
).split()
"""`linear`, and the unary primitives that the contract lists."""

OPTIMIZERS: dict[str, dict[str, Any]] = {
    "sgd": {"name": "sgd", "learning_rate": 0.05},
    "sgd schedule": {"name": "sgd", "learning_rate": "0.1 - 0.09*step/100"},
    "sgd momentum": {"name": "sgd", "learning_rate": 0.02, "momentum": 0.9},
    "sgd nesterov": {"name": "sgd", "learning_rate": 0.02, "momentum": 0.9, "nesterov": True},
    "sgd dampening": {"name": "sgd", "learning_rate": 0.05, "momentum": 0.8, "dampening": 0.3},
    "sgd weight_decay": {"name": "sgd", "learning_rate": 0.05, "momentum": 0.5, "weight_decay": 0.02},
    "adam": {"name": "adam", "learning_rate": 0.01},
    "adam amsgrad": {"name": "adam", "learning_rate": 0.01, "amsgrad": True, "betas": [0.8, 0.9]},
    "adam weight_decay": {"name": "adam", "learning_rate": "0.02*0.99**step", "weight_decay": 0.05},
    "adamw": {"name": "adamw", "learning_rate": 0.01},
    "adamw amsgrad": {"name": "adamw", "learning_rate": 0.01, "amsgrad": True, "weight_decay": 0.1},
    "rmsprop": {"name": "rmsprop", "learning_rate": 0.005},
    "rmsprop momentum": {"name": "rmsprop", "learning_rate": 0.002, "momentum": 0.8},
    "rmsprop centered": {"name": "rmsprop", "learning_rate": 0.002, "centered": True, "momentum": 0.5},
    "rmsprop weight_decay": {"name": "rmsprop", "learning_rate": 0.005, "weight_decay": 0.05, "alpha": 0.9},
}

MODEL: dict[str, Any] = {
    "layers": [
        {"weights": [[0.1, -0.2], [0.3, 0.4], [-0.5, 0.6]], "biases": [0.1, 0.0, -0.1], "activation": "tanh"},
        {"weights": [[0.5, -0.6, 0.7]], "biases": [0.2], "activation": "linear"},
    ]
}
SPEC: dict[str, Any] = {"inputs": 2, "layers": [5, 1], "activation": "tanh", "seed": 3}
ROWS: dict[str, Any] = {"inputs": [[1.0, 2.0], [0.5, -1.0], [-1.5, 0.25], [0.0, 0.75]], "targets": [1, -1, -1, 1]}


def demo() -> dict[str, Any]:
    """Results that were recorded from micrograd's own code on its published demo."""
    found: dict[str, Any] = json.loads((DATA / "micrograd_demo.json").read_text("utf-8"))
    return found


def parameters(model: dict[str, Any]) -> list[float]:
    """The numbers of a model on the wire in micrograd's order: for each neuron its weights, then its bias."""
    return [
        number
        for layer in model["layers"]
        for row, bias in zip(layer["weights"], layer["biases"], strict=True)
        for number in (*row, bias)
    ]


def parts(content: bytes) -> dict[str, str]:
    """The top level of a JSON object, each value as the exact text in `content`."""
    text, decoder = content.decode("utf-8"), json.JSONDecoder()
    found: dict[str, str] = {}
    at = 1
    while text[at - 1] != "}":
        key, at = decoder.raw_decode(text, at)
        start = at + 1
        _, at = decoder.raw_decode(text, start)
        found[key] = text[start:at]
        at += 1
    return found


def rows(text: str) -> list[str]:
    """The entries of a JSON list, each as its exact text."""
    decoder = json.JSONDecoder()
    found = []
    at = 1
    while text[at - 1] != "]":
        start = at
        _, at = decoder.raw_decode(text, start)
        found.append(text[start:at])
        at += 1
    return found


def written(**fields: str | object) -> bytes:
    """A JSON object from its fields: Text is inserted as it is, everything else is encoded."""
    entries = [f'"{name}":{field if isinstance(field, Text) else json.dumps(field)}' for name, field in fields.items()]
    return ("{" + ",".join(entries) + "}").encode()


class Text(str):
    """JSON that `written` inserts as it is."""
