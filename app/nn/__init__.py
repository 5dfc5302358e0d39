"""Neural networks: immutable models, and training that returns a new model.

>>> from app.nn import MLP, predict, train
>>> len(MLP(2, [16, 16, 1], seed=1337).parameters())
337
>>> inputs, targets = [[0, 0], [0, 1], [1, 0], [1, 1]], [-1, 1, 1, -1]
>>> result = train(MLP(2, [8, 1], seed=1), inputs, targets, loss="max_margin", optimizer="adam", learning_rate=0.05)
>>> [round(float(score)) > 0 for score in predict(result.model, inputs)[:, 0]]
[False, True, True, False]
"""

from app.nn.init import MLP
from app.nn.library import predict, train
from app.nn.model import Layer, Model, apply_gradients

__all__ = ["MLP", "Layer", "Model", "apply_gradients", "predict", "train"]
