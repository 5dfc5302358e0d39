"""Errors of networks, their data and their training.

EngineError
├── InvalidNetwork    a value that is wrong by itself: an unknown activation, a learning rate below 0
└── NetworkMismatch   two values that do not fit each other: layers of different widths, rows too wide for a model

`place` starts with the name of an argument of the function that raised the error: ("inputs",), ("targets", 3), ("batch_size",).
"""

from app.engine.errors import EngineError


class InvalidNetwork(EngineError):
    """A model, a target, an optimizer or an option is wrong by itself."""


class NetworkMismatch(EngineError):
    """Two values do not fit each other: neighbouring layers, a model and its data, or a model and a training state."""
