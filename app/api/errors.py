"""Errors of the engine and the networks as problems.

The libraries say what is wrong and where in terms of their own arguments. Here that place becomes a JSON pointer into the
request, and the message gets the advice that only makes sense to an HTTP client.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from fastapi import FastAPI, Request, Response

from app.engine import errors
from app.engine.errors import EngineError, Place
from app.formats.errors import CannotExport, InvalidFile, MissingLibrary
from app.formats.mathjson import MathJSON
from app.nn.errors import InvalidNetwork, NetworkMismatch
from app.pictures.canvas import NotDrawable
from app.service import problems
from app.service.problems import Problem, problem_at
from app.solvers.errors import InvalidArgument, MissingData, NotConverged

KIND_OF: dict[type[EngineError], str] = {
    errors.UnknownNode: "unknown-node",
    errors.DuplicateNode: "duplicate-node",
    errors.GraphCycle: "graph-cycle",
    errors.UnknownPrimitive: "unknown-primitive",
    errors.WrongArity: "wrong-arity",
    errors.InvalidNode: "invalid-request",
    errors.ExpressionSyntaxError: "syntax-error",
    errors.UnboundInput: "unbound-input",
    errors.ShapeMismatch: "shape-mismatch",
    errors.NonFinite: "non-finite",
    InvalidArgument: "invalid-request",
    MissingData: "unbound-input",
    InvalidNetwork: "invalid-request",
    NetworkMismatch: "shape-mismatch",
    NotConverged: "not-converged",
    InvalidFile: "invalid-request",
    CannotExport: "invalid-request",
    MissingLibrary: "not-available",
}
"""The kind of problem that each error of the libraries is."""

BODY_PROBLEMS = (
    "invalid-json",
    "unauthorized",
    "too-large",
    "too-many-requests",
    "overloaded",
    "deadline-exceeded",
    "unsupported-media-type",
    "invalid-request",
    "not-acceptable",
    "internal",
)
"""What can be wrong with any request that has a body."""

EXPRESSION_PROBLEMS = (
    "unknown-node",
    "duplicate-node",
    "graph-cycle",
    "unknown-primitive",
    "wrong-arity",
    "unbound-input",
    "syntax-error",
)
"""What can be wrong with an expression."""

NUMBER_PROBLEMS = ("shape-mismatch", "non-finite")
"""What can be wrong with numbers."""

OF_THE_EXPRESSION = ("nodes", "output", "outputs")
"""Places that are parts of the expression itself; all others are fields of the request."""


def problem_for(
    error: EngineError, expression: object, path: Place = ("expression",), *, nulls_allowed: bool = True
) -> Problem:
    """The problem for an error about an expression that stands at `path` in the request, in any form.

    `nulls_allowed` says that the request may ask for null in place of a number that is not finite.
    """
    is_text = isinstance(expression, str | MathJSON)
    place = error.place
    if error.line is not None or (is_text and place[:1] and place[0] in OF_THE_EXPRESSION):
        place = path
    elif place[:1] and place[0] in OF_THE_EXPRESSION:
        place = (*path, *place)
    return problem_at(KIND_OF[type(error)], place, error.detail + _advice(error, is_text, nulls_allowed))


def _advice(error: EngineError, is_text: bool, nulls_allowed: bool) -> str:
    if isinstance(error, errors.UnboundInput):
        what = "add them" if " have no number" in error.detail else "add it"
        alternative = "or " if ";" in error.detail else ""
        return f'; {alternative}{what} to "inputs"' + ("" if is_text else ' or give the node "data"')
    if isinstance(error, errors.NonFinite) and nulls_allowed:
        return '; with "nonfinite": "null" the response has null in its place'
    if isinstance(error, errors.UnknownPrimitive) and ". " not in error.detail:  # which would say more
        return " GET /v1/primitives lists them."
    return ""


@contextmanager
def located(*path: str | int, whole: bool = False) -> Iterator[None]:
    """Turn the libraries' errors into problems whose places lie under `path`.

    Args:
        path: where in the request the libraries' arguments stand.
        whole: point at `path` itself, because the client sent something that stands for those arguments.
    """
    try:
        yield
    except EngineError as error:
        place = path if whole else (*path, *error.place)
        if error.place == ("model",):  # data that do not fit a model say so; every request has it in this field
            place = error.place
        raise problem_at(KIND_OF[type(error)], place, error.detail) from None


@contextmanager
def drawable(*path: str | int) -> Iterator[None]:
    """Turn NotDrawable into a problem at `path` in the request."""
    try:
        yield
    except NotDrawable as error:
        raise problem_at("invalid-request", path, str(error)) from None


def install(app: FastAPI) -> None:
    """Register the exception handler for the libraries' errors."""
    app.add_exception_handler(EngineError, _answer_engine_error)


async def _answer_engine_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, EngineError)
    model = getattr(request.state, "model", None)
    problem = problem_for(error, getattr(model, "expression", None), nulls_allowed=hasattr(model, "nonfinite"))
    request.state.facts["problem"] = problem.kind.name
    return problems.response(problem)
