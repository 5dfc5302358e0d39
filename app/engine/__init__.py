"""The engine: a pure library for values and derivatives of scalar expressions, with no knowledge of HTTP.

>>> from app.engine import backward, grad, value
>>> x = value(3.0)
>>> grad(x, backward(x**2))
6.0
>>> backward("x**2 + 3*x", {"x": 2.0}).gradients["x"]
7.0
"""

from app.engine.differentiation import backward
from app.engine.drawing import EdgeRow, NodeRow, dot, rows
from app.engine.errors import EngineError
from app.engine.gradients import Gradients
from app.engine.graph import Graph, Node
from app.engine.primitives import PRIMITIVES, Primitive
from app.engine.text import parse
from app.engine.transforms import check_gradients, evaluate, hessian, hvp, jacobian, jvp
from app.engine.values import Value, add, divide, grad, graph_of, mul, neg, relu, sub, value
from app.engine.values import pow as pow
from app.engine.values import sum as sum

__all__ = [
    "PRIMITIVES",
    "EdgeRow",
    "EngineError",
    "Gradients",
    "Graph",
    "Node",
    "NodeRow",
    "Primitive",
    "Value",
    "add",
    "backward",
    "check_gradients",
    "divide",
    "dot",
    "evaluate",
    "grad",
    "graph_of",
    "hessian",
    "hvp",
    "jacobian",
    "jvp",
    "mul",
    "neg",
    "parse",
    "relu",
    "rows",
    "sub",
    "value",
]
"""`pow` and `sum` are imported by name only, so that `from app.engine import *` leaves Python's own in place."""
