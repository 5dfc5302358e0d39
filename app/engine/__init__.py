"""The engine: a pure library for values and derivatives of scalar expressions, with no knowledge of HTTP.

>>> from app.engine import backward, parse
>>> backward(parse("x**2 + 3*x"), {"x": 2.0}).gradients["x"]
7.0
"""

from app.engine.drawing import EdgeRow, NodeRow, dot, rows
from app.engine.errors import EngineError
from app.engine.gradients import Gradients
from app.engine.graph import Graph, Node
from app.engine.primitives import PRIMITIVES, Primitive
from app.engine.text import parse
from app.engine.transforms import backward, check_gradients, evaluate, hessian, hvp, jacobian, jvp
from app.engine.value import Value, value

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
    "backward",
    "check_gradients",
    "dot",
    "evaluate",
    "hessian",
    "hvp",
    "jacobian",
    "jvp",
    "parse",
    "rows",
    "value",
]
