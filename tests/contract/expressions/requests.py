"""Request bodies for the tests that put hostile values into every place."""

import json
from typing import Any

from tests.contract.wire import WRITTEN, graph, leaf, node, smallest

HOLE = "@@HOLE@@"
"""Stands in a request for the JSON that a test puts there."""


def filled(operation: str, fields: dict[str, Any], literal: str) -> bytes:
    """Return the body of a request with the text of a literal in its hole."""
    return json.dumps(smallest(operation, **fields)).replace(f'"{HOLE}"', literal).encode()


OPTIONAL_FIELDS: dict[str, dict[str, Any]] = {
    "forward": {"values": True},
    "backward": {"values": True, "wrt": ["x"], "cotangent": 1},
    "jvp": {},
    "jacobian": {"wrt": ["x"], "outputs": ["y"]},
    "hessian": {"wrt": ["x"]},
    "hvp": {"wrt": ["x"]},
    "check": {"wrt": ["x"], "tolerance": 0.5},
    "parse": {},
    "graph": {"gradients": True},
    "derivative": {"wrt": ["x"], "forms": ["text", "mathml"]},
    "code": {"wrt": ["x"], "language": "c", "derivatives": "hessian", "name": "g"},
}

PRODUCT = graph({**leaf("x", 1.0), "args": [], "label": "l"}, node("y", "mul", "x", 2, label="m"))

FULL = {
    operation: smallest(operation, expression=PRODUCT, **fields) | ({} if operation in WRITTEN else {"nonfinite": "error"})
    for operation, fields in OPTIONAL_FIELDS.items()
}
"""A request for each operation that uses every optional field."""
