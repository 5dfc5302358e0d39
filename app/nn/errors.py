"""What can be wrong with a network, its data or its training.

EngineError
├── InvalidNetwork   a model, an optimizer or a setting that makes no sense
└── Misfit           a model and data, or a model and a state, that do not fit each other
"""

from app.engine.errors import EngineError


class InvalidNetwork(EngineError):
    """A model, a label, an optimizer or a setting that makes no sense by itself."""


class Misfit(EngineError):
    """Two things that do not fit: layers that do not chain, rows of another width, a state of another model."""
