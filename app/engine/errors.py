"""The errors of the engine.

    EngineError
    ├── UnknownNode           a name stands for no node
    ├── DuplicateNode         two nodes share an id
    ├── GraphCycle            a node depends on itself
    ├── UnknownPrimitive      there is no such operation
    ├── WrongArity            too few or too many arguments
    ├── InvalidNode           a node, or a request about one, is invalid
    ├── ExpressionSyntaxError the text is not an expression
    ├── UnboundInput          a leaf has no number
    ├── ShapeMismatch         lists have different lengths
    └── NonFinite             a requested number is NaN or infinite

The tree is flat: nobody needs to catch half of it.
"""

import difflib
from collections.abc import Collection, Iterable

Place = tuple[str | int, ...]

NAME_LIMIT = 60
MAX_COMPARED_NAMES = 300
MAX_EXAMINED_NAMES = 5
MISTAKEN_LENGTH = 4
LONG_NAME = 7


class EngineError(Exception):
    """Base class of all errors of the engine.

    `detail` is a sentence for the author of the expression: what is wrong, where, and what to write instead.

    `place` is where it is wrong, relative to the arguments of the engine's own functions: `("nodes", 3, "args", 1)`,
    `("outputs", 1)`, `("output",)`, `("inputs", "x")`, `("wrt", 0)`, `("tangents", "x")`, `("cotangent",)`, or `()` if there
    is no such place. `line` and `column` (from 1) are given for errors in text and are None otherwise; `detail` then starts
    with them.
    """

    def __init__(self, detail: str, place: Place = (), *, line: int | None = None, column: int | None = None) -> None:
        if line is not None:
            detail = f"line {line}, column {column}: {detail}"
        super().__init__(detail)
        self.detail = detail
        self.place = place
        self.line = line
        self.column = column


class UnknownNode(EngineError):
    """An argument, an output, or an entry of `wrt`, `inputs` or `tangents` names no node."""


class DuplicateNode(EngineError):
    """Two nodes share an id."""


class GraphCycle(EngineError):
    """A node depends on itself."""


class UnknownPrimitive(EngineError):
    """There is no operation of this name."""


class WrongArity(EngineError):
    """A primitive has too few or too many arguments."""


class InvalidNode(EngineError):
    """A node, or a request about one, is invalid: a bad id, data on an operation, an input that is not a leaf."""


class ExpressionSyntaxError(EngineError):
    """The text is not an expression. Always has `line` and `column`."""


class UnboundInput(EngineError):
    """A leaf has neither data of its own nor an input."""


class ShapeMismatch(EngineError):
    """Lists that must have the same length do not."""


class NonFinite(EngineError):
    """A requested value or derivative is NaN or infinite."""


def quote(name: object) -> str:
    """Return a name in quotes, ready for a message: long names are cut and control characters escaped."""
    text = str(name)
    return repr(text if len(text) <= NAME_LIMIT else text[: NAME_LIMIT - 1] + "…")


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ` Did you mean 'x'?` if a known name is similar to `name`, else an empty string. See `nearest_name`."""
    found = nearest_name(name, known)
    return "" if found is None else f" Did you mean {quote(found)}?"


def nearest_name(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that is similar to `name`, or None.

    Similar are names that differ only in case, or by a slip of the fingers: one letter left out, added, swapped with the next
    or, in names of four letters and more, mistaken; in names of seven letters and more, two of those. Of short names, other
    letters make other names (`cot` is not `cos`). Only the first 300 names of at most 60 characters are compared, so that the
    hint never costs more than the request.
    """
    names = zip(known, range(MAX_COMPARED_NAMES), strict=False)
    candidates: Collection[str] = [candidate for candidate, _ in names if len(candidate) <= NAME_LIMIT]
    same = [candidate for candidate in candidates if candidate.lower() == name.lower()]
    close = difflib.get_close_matches(name[:NAME_LIMIT], candidates, n=MAX_EXAMINED_NAMES)
    matches = same or [candidate for candidate in close if _is_slip(name[:NAME_LIMIT], candidate)]
    matches.sort(key=lambda candidate: sorted(candidate) != sorted(name))  # first those with letters swapped
    return matches[0] if matches else None


def _is_slip(typed: str, meant: str) -> bool:
    """Return whether `typed` is `meant` with a slip of the fingers or two."""
    if sorted(typed) == sorted(meant):  # letters swapped
        return sum(a != b for a, b in zip(typed, meant, strict=True)) <= 2
    blocks = difflib.SequenceMatcher(None, typed, meant, autojunk=False).get_opcodes()
    slips = sum(max(b - a, d - c) for tag, a, b, c, d in blocks if tag != "equal")
    if any(map(str.isdigit, "".join(typed[a:b] + meant[c:d] for tag, a, b, c, d in blocks if tag != "equal"))):
        return False  # numbers are not mistyped: w1 is another name than w2
    mistaken = any(tag == "replace" for tag, *_ in blocks)
    length = min(len(typed), len(meant))
    if mistaken and length < MISTAKEN_LENGTH:
        return False
    return slips <= (2 if length >= LONG_NAME else 1)
