"""Every error a client can see, and the one place where exceptions become `application/problem+json` (RFC 9457).

Not here: what is wrong with a body (`codec`) or an expression (`engine.errors`); they raise, this answers.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import Any

import msgspec
from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from app.engine import errors
from app.engine.errors import EngineError
from app.nn.errors import InvalidNetwork, Misfit

MEDIA_TYPE = "application/problem+json"
MOST_ERRORS = 20
LONGEST_DETAIL = 2000

log = logging.getLogger("autodiff")


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of problem: its name in the type URI, its status and title, what it means and how it is mended."""

    name: str
    status: int
    title: str
    meaning: str
    remedy: str


# fmt: off
KINDS: dict[str, Kind] = {kind.name: kind for kind in (
    Kind("invalid-json", 400, "The body is not JSON",
         "The body could not be read as JSON text in UTF-8.",
         "Send a JSON object as JSON.stringify or json.dumps writes it; `detail` says at which byte reading stopped."),
    Kind("invalid-request", 422, "The request has not the documented shape",
         "The body is JSON, but a field is missing, unknown, or not of the documented type. Numbers must be finite JSON "
         "numbers: not strings, not booleans, not NaN or infinite, not beyond 1.8e308.",
         "Each entry of `errors` points at a place in the body and says what would be right there."),
    Kind("unknown-node", 422, "No such node",
         "An argument, an output, a `wrt`, a tangent or an input names no node of the expression.",
         "`detail` gives the nearest name. In text, an input is a name that is used and never assigned."),
    Kind("duplicate-node", 422, "Two nodes share an id",
         "An id, or a name assigned in text, stands for one node only.",
         "Give one of the two another id."),
    Kind("graph-cycle", 422, "The graph has a cycle",
         "A node depends on itself, so nothing can be computed first. `detail` spells one cycle.",
         "Take one of the arguments on the cycle out."),
    Kind("unknown-primitive", 422, "No such primitive",
         "There is no operation of this name.",
         "`detail` gives the nearest name; GET /v1/primitives lists all."),
    Kind("wrong-arity", 422, "Too few or too many arguments",
         "An operation was given a number of arguments that it does not take.",
         "GET /v1/primitives says how many each takes."),
    Kind("unbound-input", 422, "A leaf has no number",
         "A leaf of the expression has neither `data` nor an entry in `inputs`.",
         "Add it to `inputs`, or give the node `data`."),
    Kind("syntax-error", 422, "The text is not an expression",
         "The text does not follow Python's arithmetic syntax. `detail` says line, column and what was expected.",
         "Powers are written **, products need *, and statements are separated by ; or a new line."),
    Kind("shape-mismatch", 422, "Lengths do not fit",
         "Lists that should be of one length are not.",
         "Give all lists the same length; a plain number holds at every point."),
    Kind("non-finite", 422, "A number is NaN or infinite",
         "A value or a derivative that was asked for is not a finite number. `detail` names the node at fault and the "
         "numbers it was given.",
         "Move the inputs into the domain, guard the node with where(condition, a, b), ask for less with `wrt`, or send "
         "\"nonfinite\": \"null\" to get null in such places."),
    Kind("too-large", 413, "Too large",
         "The body, the graph or the work is over a limit. `detail` gives the limit and the setting that raises it.",
         "Send less at once, or raise the setting."),
    Kind("unauthorized", 401, "An API key is wanted",
         "The service has API keys, and the request has none that it knows.",
         "Send the header Authorization: Bearer <key>."),
    Kind("not-found", 404, "There is nothing here",
         "No endpoint has this path.",
         "GET /docs shows all endpoints."),
    Kind("method-not-allowed", 405, "The path does not take this method",
         "The path exists, but not for this method. The Allow header lists those it takes.",
         "Computations are POSTs; what only describes the service is a GET."),
    Kind("not-acceptable", 406, "No answer in an accepted media type",
         "The Accept header rules out every media type that the endpoint can answer with.",
         "Leave Accept out, or accept one of the types that `detail` lists."),
    Kind("unsupported-media-type", 415, "The body is not of a media type that is read",
         "Bodies are JSON, without a content coding.",
         "Send the header Content-Type: application/json."),
    Kind("overloaded", 503, "Too much work is waiting",
         "The queue of computations is full.",
         "Try again after the seconds in the Retry-After header; every request is safe to repeat."),
    Kind("deadline-exceeded", 503, "The computation took too long",
         "The time limit of one request ran out.",
         "Send less at once; trying again helps only if the service was busy."),
    Kind("internal", 500, "A defect of the service",
         "Something went wrong that is not the request's fault.",
         "Report it with the request id that `detail` gives."),
)}
# fmt: on

ENGINE_KINDS: dict[type[EngineError], str] = {
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
    InvalidNetwork: "invalid-request",
    Misfit: "shape-mismatch",
}


class FieldError(msgspec.Struct, frozen=True):
    """A place in the body that is at fault."""

    pointer: str
    detail: str


class ProblemDetails(msgspec.Struct, frozen=True, omit_defaults=True):
    """An error, as RFC 9457 has it. GET on `type` explains it."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[FieldError] = []


class Problem(Exception):
    """An error of the API itself. `at` are places in the body with what is wrong there; `status` is the kind's own, unless
    it has several.
    """

    def __init__(
        self,
        name: str,
        detail: str,
        at: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
        status: int | None = None,
    ) -> None:
        super().__init__(detail)
        kind = KINDS[name]
        self.kind = kind if status is None else replace(kind, status=status)
        self.detail = detail
        self.at = at
        self.headers = headers


def pointer(path: Sequence[str | int]) -> str:
    """A JSON Pointer (RFC 6901). Lone surrogates, which UTF-8 cannot write, become U+FFFD; a long step is cut."""
    steps = (str(step).encode("utf-8", "replace").decode()[:200] for step in path)
    return "".join("/" + step.replace("~", "~0").replace("/", "~1") for step in steps)


def details(kind: Kind, detail: str, at: Sequence[FieldError] = ()) -> ProblemDetails:
    """The problem object of a kind."""
    errors = [FieldError(error.pointer, _readable(error.detail)) for error in at[:MOST_ERRORS]]
    return ProblemDetails(f"/problems/{kind.name}", kind.title, kind.status, _readable(detail), errors)


def _readable(text: str) -> str:
    """A text for people: cut where it is long, and without characters that would steer a terminal."""
    text = text[:LONGEST_DETAIL].encode("utf-8", "replace").decode()
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)


def of_exception(error: Exception) -> tuple[ProblemDetails, Mapping[str, str] | None]:
    """The problem object, and headers, for an exception that is the client's to see."""
    if isinstance(error, Problem):
        return details(error.kind, error.detail, error.at), error.headers
    assert isinstance(error, EngineError)
    at = [FieldError(pointer(error.path), error.detail)] if error.path else []
    return details(KINDS[ENGINE_KINDS[type(error)]], error.detail, at), None


def failure_of(error: Exception, request: Request) -> ProblemDetails:
    """The problem object for any exception; a defect is logged, and nothing of it is shown."""
    if isinstance(error, EngineError | Problem):
        return of_exception(error)[0]
    request_id = request.state.request_id
    log.error("request %s failed: %s %s", request_id, request.method, request.url.path, exc_info=error)
    return _internal(request_id)


def response(problem: ProblemDetails, headers: Mapping[str, str] | None = None) -> Response:
    """The answer with this problem."""
    return Response(msgspec.json.encode(problem), problem.status, headers, MEDIA_TYPE)


def internal(request_id: str) -> Response:
    """The answer where a defect of ours came up: nothing of it but the id under which it stands in the log."""
    return response(_internal(request_id))


def _internal(request_id: str) -> ProblemDetails:
    return details(KINDS["internal"], f"the service failed; its log has the reason under request id {request_id}")


def page(kind: Kind) -> str:
    """The page behind a problem's `type`."""
    name, title = escape(kind.name), escape(kind.title)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{name}</title><main><h1>{title}</h1><p><code>{name}</code>, status {kind.status}</p>"
        f"<h2>What it means</h2><p>{escape(kind.meaning)}</p><h2>How to mend it</h2><p>{escape(kind.remedy)}</p>"
        f'<p><a href="../docs">All endpoints</a></p></main></html>'
    )


def install(app: FastAPI) -> None:
    """Answers every exception with a problem, but for defects, which `middleware` answers where the request id is known."""
    app.add_exception_handler(EngineError, _known)
    app.add_exception_handler(Problem, _known)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(ClientDisconnect, _gone)


async def _known(request: Request, error: Exception) -> Response:
    problem, headers = of_exception(error)
    request.state.facts["problem"] = problem.type.rpartition("/")[2]
    return response(problem, headers)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    method, path = request.method, request.url.path[:100]
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "").replace("GET", "GET, HEAD")
        detail = f"{path} does not take {method}; it takes {allowed}"
        return response(details(KINDS["method-not-allowed"], detail), {"Allow": allowed})
    if error.status_code == 404:
        return response(details(KINDS["not-found"], f"there is no {path}; GET /docs shows all endpoints"))
    kind: Any = next((kind for kind in KINDS.values() if kind.status == error.status_code), KINDS["invalid-request"])
    return response(details(kind, str(error.detail)), error.headers)


async def _gone(request: Request, error: Exception) -> Response:
    """The client left before its body was whole; nobody reads this."""
    return Response(status_code=499)
