"""Every error a client can see, as `application/problem+json` (RFC 9457).

`KINDS` is the table of problems. Code that finds something wrong raises `Problem`; the handlers here turn it into a response.
"""

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from app.engine.errors import nearest_name

MEDIA_TYPE = "application/problem+json"
MAX_ERRORS = 20
MAX_DETAIL_LENGTH = 2000

ORIGINS_SETTING = "AUTODIFF_CORS_ORIGINS"

log = logging.getLogger("autodiff")


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of problem: the name in its type URI, its status and title, what it means, and how to fix it."""

    name: str
    status: int
    title: str
    meaning: str
    fix: str


# fmt: off
KINDS: dict[str, Kind] = {kind.name: kind for kind in (
    Kind("invalid-json", 400, "The body is not JSON",
         "The body could not be read as JSON text in UTF-8.",
         "Send a JSON object as JSON.stringify or json.dumps writes it. `detail` gives the line and column of the fault."),
    Kind("invalid-request", 422, "The request does not match the schema",
         "The body is JSON, but a field is missing, unknown or of the wrong type. Numbers must be finite JSON numbers: no "
         "strings, no booleans, no NaN or infinity, nothing beyond 1.8e308.",
         "Each entry of `errors` points at a place in the body and says what to write there."),
    Kind("unknown-node", 422, "No such node",
         "An argument, an output, a `wrt`, a tangent or an input names a node that the expression does not have.",
         "`detail` gives the nearest name. In text, the inputs are the names that are used but never assigned."),
    Kind("duplicate-node", 422, "Two nodes share an id",
         "An id, or a name assigned in text, stands for more than one node.",
         "Give one of the two another id."),
    Kind("graph-cycle", 422, "The graph has a cycle",
         "A node depends on itself, so no node of the cycle can be computed first. `detail` spells out one cycle.",
         "Remove one of the arguments on the cycle."),
    Kind("unknown-primitive", 422, "No such primitive",
         "There is no operation with this name.",
         "`detail` gives the nearest name. GET /v1/primitives lists all primitives."),
    Kind("wrong-arity", 422, "Too few or too many arguments",
         "An operation has a number of arguments that it does not take.",
         "GET /v1/primitives gives the number of arguments of every primitive."),
    Kind("unbound-input", 422, "An input has no number",
         "A leaf of the expression has neither `data` nor an entry in `inputs`.",
         "Add it to `inputs`, or give the node `data`."),
    Kind("syntax-error", 422, "The text is not an expression",
         "The text does not follow Python's arithmetic syntax. `detail` gives the line, the column and what was expected.",
         "Write powers as x**2, products with *, and separate statements by ; or a new line."),
    Kind("shape-mismatch", 422, "Lengths do not match",
         "Lists that must have the same length do not, or a list is empty.",
         "Give all lists the same length. A plain number holds at every point."),
    Kind("non-finite", 422, "A number is NaN or infinite",
         "A requested value or derivative is not a finite number. `detail` names the node at fault and its arguments' values.",
         "Move the inputs, or the start of a search, into the domain, or guard the node with where(condition, a, b). Where the "
         "endpoint has these fields, ask for fewer derivatives with `wrt`, or send \"nonfinite\": \"null\" to get null in "
         "such places."),
    Kind("not-converged", 422, "The search has no answer",
         "A search for a minimum never got anywhere, or the function is not bounded below: it keeps falling.",
         "Give `bounds` or `constraints` within which the function has a minimum, or start elsewhere."),
    Kind("too-large", 413, "Too large",
         "The body, the graph or the work exceeds a limit. `detail` gives the limit and the setting that raises it.",
         "Send less at once, or raise the setting."),
    Kind("unauthorized", 401, "An API key is required",
         "The service has API keys, and the request has no valid one.",
         "Send the header Authorization: Bearer <key>."),
    Kind("not-found", 404, "Not found",
         "There is nothing at this path.",
         "GET /docs shows all endpoints."),
    Kind("method-not-allowed", 405, "Method not allowed",
         "The path exists, but not for this method. The Allow header lists the methods it takes.",
         "Computations are POSTs; descriptions of the service are GETs."),
    Kind("not-acceptable", 406, "No response in an accepted media type",
         "The Accept header excludes every media type that the endpoint can respond with.",
         "Leave Accept out, or accept one of the types that `detail` lists."),
    Kind("unsupported-media-type", 415, "Unsupported media type",
         "The body is of a media type or a content coding that the service does not read.",
         "Send the header Content-Type: application/json. The body may be gzip."),
    Kind("too-many-requests", 429, "Too many requests at once",
         "One client has too much work in flight: waiting, running, or with a response that it has not read.",
         "Wait for responses, or try again after the number of seconds in the Retry-After header."),
    Kind("not-available", 501, "Not installed here",
         "The request needs a library that is not installed where the service runs.",
         "`detail` says what the operator has to install. Other formats may need no library."),
    Kind("overloaded", 503, "The service is overloaded",
         "The queue of computations is full, or the memory for them is in use.",
         "Try again after the number of seconds in the Retry-After header. Every request is safe to repeat."),
    Kind("deadline-exceeded", 503, "The computation took too long",
         "The time limit for one request ran out.",
         "Send less at once. Trying again helps only if the service was busy."),
    Kind("internal", 500, "Internal error",
         "The service has a defect. The request is not at fault.",
         "Report it with the request id that `detail` gives."),
)}
# fmt: on


class FieldError(BaseModel):
    """A place in the request that is at fault."""

    pointer: str = Field(description="A JSON Pointer (RFC 6901) into the body", examples=["/inputs/x"])
    detail: str = Field(description="What is wrong there, and what to write instead")


class ProblemDetails(BaseModel):
    """An error (RFC 9457). GET on `type` explains it."""

    type: str = Field(description="A relative URI of a page that explains the error", examples=["/problems/unknown-node"])
    title: str
    status: int
    detail: str = Field(description="What is wrong, where, and what to write instead")
    errors: list[FieldError] | None = Field(
        None, description=f"The places at fault, at most {MAX_ERRORS}", max_length=MAX_ERRORS
    )

    def to_json(self) -> bytes:
        """The problem as JSON, without `errors` where there are none."""
        return self.model_dump_json(exclude_none=True).encode()


@dataclass(frozen=True, slots=True)
class Paths:
    """The routes of an app, the method that each path takes, and the paths that people try instead."""

    routes: Sequence[APIRoute]
    methods: Mapping[str, str]
    others: Mapping[str, str]


NO_PATHS = Paths((), {}, {})


class Problem(Exception):
    """An error that is answered with a problem of the kind `name`.

    Args:
        name: a key of `KINDS`.
        detail: what is wrong, where, and what to write instead.
        errors: places in the body that are at fault.
        headers: further headers of the response.
        status: the status, for a kind that has several.
    """

    def __init__(
        self,
        name: str,
        detail: str,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
        status: int | None = None,
    ) -> None:
        super().__init__(detail)
        self.kind = KINDS[name] if status is None else replace(KINDS[name], status=status)
        self.detail = detail
        self.errors = errors
        self.headers = headers

    @property
    def details(self) -> ProblemDetails:
        """The problem object."""
        errors = [FieldError(pointer=error.pointer, detail=_printable(error.detail)) for error in self.errors[:MAX_ERRORS]]
        return ProblemDetails(
            type=f"/problems/{self.kind.name}",
            title=self.kind.title,
            status=self.kind.status,
            detail=_printable(self.detail),
            errors=errors or None,
        )


def pointer(path: Sequence[str | int]) -> str:
    """A JSON Pointer (RFC 6901). Lone surrogates, which UTF-8 cannot encode, become U+FFFD; long steps are cut."""
    steps = (str(step).encode("utf-8", "replace").decode()[:200] for step in path)
    return "".join("/" + step.replace("~", "~0").replace("/", "~1") for step in steps)


def problem_at(name: str, path: Sequence[str | int], detail: str) -> Problem:
    """A problem with one place in the body at fault."""
    return Problem(name, detail, [FieldError(pointer=pointer(path), detail=detail)] if path else ())


def too_large(what: str, limit: float, setting: str, *paths: Sequence[str | int]) -> Problem:
    """The 422 for something over a limit; it names the setting that raises the limit."""
    detail = f"{what}; the limit is {limit:.0f}, and AUTODIFF_{setting.upper()} raises it"
    return Problem("too-large", detail, [FieldError(pointer=pointer(path), detail=detail) for path in paths], status=422)


def _printable(text: str) -> str:
    """The text for people: cut where it is long, control characters escaped."""
    text = text[:MAX_DETAIL_LENGTH].encode("utf-8", "replace").decode()
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)


def response(problem: Problem) -> Response:
    """The response to a problem."""
    details = problem.details
    return Response(details.to_json(), details.status, problem.headers, MEDIA_TYPE)


def internal(request_id: str) -> Problem:
    """The problem for a defect of the service: it shows only the id under which the log has the reason."""
    return Problem("internal", f"the service failed; its log has the reason under request id {request_id}")


def responses(*names: str) -> dict[int | str, dict[str, Any]]:
    """FastAPI's `responses` for routes that can answer with these problems: one entry per status."""
    by_status: dict[int | str, list[Kind]] = {}
    for name in names:
        by_status.setdefault(KINDS[name].status, []).append(KINDS[name])
    content = {MEDIA_TYPE: {"schema": {"$ref": f"#/components/schemas/{ProblemDetails.__name__}"}}}
    return {
        status: {
            "description": "; ".join(f"[{kind.name}](/problems/{kind.name}): {kind.title}" for kind in kinds),
            "content": content,
        }
        for status, kinds in sorted(by_status.items())
    }


def install(app: FastAPI) -> None:
    """Register the exception handlers. Defects are answered by the middleware, which knows the request id."""
    app.add_exception_handler(Problem, _answer_problem)
    app.add_exception_handler(HTTPException, _answer_http_exception)
    app.add_exception_handler(RequestValidationError, _answer_invalid_parameters)
    app.add_exception_handler(ClientDisconnect, _answer_disconnected_client)
    app.add_exception_handler(MemoryError, _answer_memory_error)


async def answer(request: Request, error: Exception) -> Response:
    """The response that the app's exception handlers give; for a defect, which is logged, that of `internal`."""
    for kind in type(error).__mro__:
        handler: Any = request.app.exception_handlers.get(kind)
        if handler is not None:
            return await handler(request, error)  # type: ignore[no-any-return]  # a Response
    request_id = request.state.request_id
    log.error("request %s failed: %s %s", request_id, request.method, request.url.path, exc_info=error)
    return response(internal(request_id))


async def _answer_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    request.state.facts["problem"] = error.kind.name
    return response(error)


async def _answer_memory_error(request: Request, error: Exception) -> Response:
    log.warning("request %s needed more memory than there was: %s", request.state.request_id, request.url.path)
    detail = "there is not enough memory for this computation now; try again, or ask for less at once"
    return await _answer_problem(request, Problem("overloaded", detail, headers={"Retry-After": "1"}))


async def _answer_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    method, path = request.method, request.url.path[:100]
    headers = error.headers
    if error.status_code == 405:
        allowed = (headers or {}).get("Allow", "").replace("GET", "GET, HEAD")
        others = f"; it takes {allowed}" if "," in allowed else ""
        detail = f"{path} does not take {method}; send {allowed.partition(',')[0]} {path} instead{others}"
        if method == "OPTIONS" and "access-control-request-method" in request.headers:
            detail = f"pages of other origins may not call this service, unless {ORIGINS_SETTING} lists their origins"
        problem = Problem("method-not-allowed", detail, headers={"Allow": allowed})
    elif error.status_code == 404:
        meant = meant_path(path, getattr(request.app.state, "paths", NO_PATHS))
        hint = f"you may mean {meant}; " if meant else ""
        problem = Problem("not-found", f"there is no {path}; {hint}GET /docs shows all endpoints", headers=headers)
    else:
        by_status = {kind.status: kind.name for kind in reversed(KINDS.values())}
        name = by_status.get(error.status_code, "invalid-request" if error.status_code < 500 else "internal")
        problem = Problem(name, str(error.detail), headers=headers, status=error.status_code)
    return await _answer_problem(request, problem)


def describe_paths(app: FastAPI, routers: Iterable[APIRouter], others: Mapping[str, str]) -> None:
    """Have the app answer requests to paths that do not exist with the one that was probably meant.

    `others` are paths that people try, in lower case, without a slash at either end and without a version, and the paths that
    they mean.
    """
    routes = [route for router in routers for route in router.routes if isinstance(route, APIRoute)]
    methods = {route.path: "GET" if "GET" in (route.methods or ()) else "POST" for route in routes}
    app.state.paths = Paths(routes, methods, others)


def meant_path(path: str, paths: Paths) -> str | None:
    """The method and path that a request to a path that does not exist was probably meant for, or None."""
    steps = [step for step in path.lower().split("/") if step]
    while steps and re.fullmatch(r"api|v\d+", steps[0]):
        del steps[0]
    shorter = path.rstrip("/")
    with_parameters = [
        route.path for route in paths.routes if "{" in route.path and shorter and route.path_regex.match(shorter)
    ]
    if with_parameters:
        return f"{paths.methods.get(with_parameters[0], 'GET')} {shorter}"
    known = {VERSION.sub("", found): found for found in paths.methods if "{" not in found}
    plain = "/".join(steps)
    found = known.get(plain) or paths.others.get(plain) or known.get(nearest_name(plain, known) or plain)
    while found is None and steps:  # what is known by the beginning of the path
        plain = "/".join(steps).partition(".")[0]
        found = known.get(plain) or paths.others.get(plain)
        del steps[-1]
    return f"{paths.methods[found]} {found}" if found is not None and found in paths.methods else None


VERSION = re.compile(r"^/(?:v\d+/?)?")


async def _answer_invalid_parameters(request: Request, error: Exception) -> Response:
    """Query and path parameters that FastAPI refuses. Bodies are validated before FastAPI sees them."""
    assert isinstance(error, RequestValidationError)
    details = [_parameter_error(request, entry) for entry in error.errors()[:MAX_ERRORS]]
    return await _answer_problem(request, Problem("invalid-request", "; ".join(details)))


def _parameter_error(request: Request, entry: Any) -> str:
    where, name = str(entry["loc"][0]), "/".join(map(str, entry["loc"][1:]))
    if entry["type"] != "extra_forbidden":
        return f"{where} parameter {name[:60]!r}: {entry['msg'][0].lower()}{entry['msg'][1:]}"
    operation = request.app.openapi()["paths"].get(request.scope["route"].path, {}).get("get", {})
    known = [parameter["name"] for parameter in operation.get("parameters", ()) if parameter["in"] == where]
    near = next((other for other in known if len(name) > 2 and (other in name or name in other)), "")
    hint = f"it is called {near!r} here; " if near else ""
    return f"there is no {where} parameter {name[:60]!r}; {hint}there are {', '.join(known)}"


async def _answer_disconnected_client(request: Request, error: Exception) -> Response:
    """The client left before its response was ready; nobody reads this one."""
    return Response(status_code=499)
