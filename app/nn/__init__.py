"""Neural networks: immutable models, and training that returns a new model.

>>> from app.nn import MLP
>>> len(MLP(2, [16, 16, 1], seed=1337).parameters())
337
"""

from app.nn.init import MLP
from app.nn.model import Layer, Model, apply_gradients

__all__ = ["MLP", "Layer", "Model", "apply_gradients"]
