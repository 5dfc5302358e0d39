"""What can be wrong with an expression, its inputs, or its numbers.

    EngineError
    ├── UnknownNode           a name stands for no node
    ├── DuplicateNode         two nodes share an id
    ├── GraphCycle            a node depends on itself
    ├── UnknownPrimitive      no such operation
    ├── WrongArity            too few or too many arguments
    ├── InvalidNode           a node or a request about one that makes no sense
    ├── ExpressionSyntaxError the text is not an expression
    ├── UnboundInput          a leaf has no number
    ├── ShapeMismatch         lists of unlike length
    └── NonFinite             a number that was asked for is NaN or infinite

The tree is flat on purpose: nobody needs to catch half of it. Not here: anything about HTTP.
"""

import difflib
from collections.abc import Collection, Iterable

Path = tuple[str | int, ...]
NODES: Path = ("expression", "nodes")

NAME_LIMIT = 60
MOST_COMPARED = 300


class EngineError(Exception):
    """Base of all errors of the engine.

    `detail` is a sentence for the person who wrote the expression: what is wrong, where, and what would be
    right. `path` leads to the place: ("expression", "nodes", 3, "args", 1), ("inputs", "x"), or () for none.
    """

    def __init__(self, detail: str, path: Path = ()) -> None:
        super().__init__(detail)
        self.detail = detail
        self.path = path


class UnknownNode(EngineError):
    """An argument, an output, a `wrt` or an input names no node."""


class DuplicateNode(EngineError):
    """Two nodes share an id."""


class GraphCycle(EngineError):
    """A node depends on itself."""


class UnknownPrimitive(EngineError):
    """There is no such operation."""


class WrongArity(EngineError):
    """A primitive was given too few or too many arguments."""


class InvalidNode(EngineError):
    """A node, or what is asked of one, makes no sense: a bad id, data on an operation, an input that is no leaf."""


class ExpressionSyntaxError(EngineError):
    """The text is not an expression. `line` and `column` count from 1."""

    def __init__(self, message: str, line: int, column: int) -> None:
        super().__init__(f"line {line}, column {column}: {message}", ("expression",))
        self.line = line
        self.column = column


class UnboundInput(EngineError):
    """A leaf has neither data nor an input."""


class ShapeMismatch(EngineError):
    """Lists that should have one length do not."""


class NonFinite(EngineError):
    """A value or a derivative that was asked for is NaN or infinite."""


def quote(name: object) -> str:
    """A name in quotes, fit for a message: cut when it is long, control characters escaped."""
    text = str(name)
    return repr(text if len(text) <= NAME_LIMIT else text[: NAME_LIMIT - 1] + "…")


def nearest(name: str, known: Iterable[str]) -> str:
    """` Did you mean 'x'?` where a known name is close to `name`, else an empty string.

    Only the first 300 names of at most 60 characters are compared: help must not cost more than the work.
    """
    candidates: Collection[str] = [k for k, _ in zip(known, range(MOST_COMPARED), strict=False) if len(k) <= NAME_LIMIT]
    matches = difflib.get_close_matches(name[:NAME_LIMIT], candidates, n=1)
    if not matches:
        matches = [k for k in candidates if k.lower() == name.lower()][:1]
    return f" Did you mean {quote(matches[0])}?" if matches else ""
