"""How a function becomes an endpoint: read, decode, run, encode; and how it is described in the OpenAPI document.

A computation is a function of a request struct that returns an answer struct. Its first docstring line is the summary,
the rest the description. Not here: any particular endpoint.
"""

import inspect
import json
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

import msgspec
from fastapi import APIRouter, Request, Response

from app.api import codec
from app.api.execution import Execution
from app.api.negotiation import JSON, accepted, check_content
from app.api.problems import KINDS, MEDIA_TYPE, ProblemDetails

BODY_PROBLEMS = (
    "invalid-json",
    "unsupported-media-type",
    "invalid-request",
    "not-acceptable",
    "internal",
)
EXPRESSION_PROBLEMS = (
    *BODY_PROBLEMS,
    "unknown-node",
    "duplicate-node",
    "graph-cycle",
    "unknown-primitive",
    "wrong-arity",
    "unbound-input",
    "syntax-error",
    "shape-mismatch",
    "non-finite",
)

SCHEMAS: list[type] = [ProblemDetails]
"""The structs that the OpenAPI document's schemas are made of."""


@cache
def examples(operation: str) -> dict[str, dict[str, Any]]:
    """The examples of an operation by name, from openapi/examples/<operation>.<name>.json."""
    packaged = Path(__file__).parent / "examples"
    folder = packaged if packaged.is_dir() else Path(__file__).parents[2] / "openapi" / "examples"
    files = sorted(folder.glob(f"{operation}.*.json"))
    return {file.name.split(".")[1]: json.loads(file.read_text("utf-8")) for file in files}


def computation(
    router: APIRouter,
    path: str,
    *,
    proportional: bool = True,
    problems: tuple[str, ...] = EXPRESSION_PROBLEMS,
    renderings: Mapping[str, Callable[[Any], bytes]] | None = None,
) -> Callable[[Callable[[Any], Any]], Callable[[Any], Any]]:
    """Makes a POST endpoint of a function from a request struct to an answer struct.

    `proportional` says that its work grows no faster than its body. `renderings` are media types beside JSON that an answer
    can be had in.
    """

    def register(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
        hints = get_type_hints(function)
        kind, answer = hints["request"], hints["return"]
        writers: dict[str, Callable[[Any], bytes]] = {JSON: codec.encode, **(renderings or {})}
        offered = tuple(writers)
        decoder = msgspec.json.Decoder(kind)

        async def endpoint(request: Request) -> Response:
            check_content(request)
            media = accepted(request, offered)
            write = writers[media]
            body = await request.body()

            def work() -> bytes:
                return write(function(codec.decode(body, decoder)))

            execution: Execution = request.app.state.execution
            content = await execution.run(work, len(body), proportional)
            return Response(content, media_type=media)

        name = function.__name__
        SCHEMAS.extend((kind, answer))
        shown = {key: {"summary": e["summary"], "value": e["request"]} for key, e in examples(name).items()}
        results = {key: {"summary": e["summary"], "value": e["answer"]} for key, e in examples(name).items() if "answer" in e}
        content: dict[str, Any] = {JSON: {"schema": _reference(answer), "examples": results}}
        content |= {media: {"schema": {"type": "string"}} for media in renderings or {}}
        router.add_api_route(
            path,
            endpoint,
            methods=["POST"],
            **_described(function),
            response_class=Response,
            openapi_extra={
                "requestBody": {
                    "required": True,
                    "content": {JSON: {"schema": _reference(kind), "examples": shown}},
                },
                "responses": {"200": {"description": "The answer", "content": content}, **_problem_responses(problems)},
            },
        )
        return function

    return register


def description(
    router: APIRouter, path: str, *, media: str = JSON, problems: tuple[str, ...] = ("not-acceptable", "internal")
) -> Callable[[Callable[[Request], Any]], Callable[[Request], Any]]:
    """Makes a GET endpoint of a function that describes the service: it gets the request and returns an answer struct, or,
    for other media types than JSON, a whole response.
    """

    def register(function: Callable[[Request], Any]) -> Callable[[Request], Any]:
        answer = get_type_hints(function)["return"]
        structured = isinstance(answer, type) and issubclass(answer, msgspec.Struct)

        async def endpoint(request: Request) -> Response:
            accepted(request, (media,))
            result = function(request)
            return Response(codec.encode(result), media_type=media) if structured else result

        schema = {"type": "string"}
        if structured:
            SCHEMAS.append(answer)
            schema = _reference(answer)
        results = {key: {"summary": e["summary"], "value": e["answer"]} for key, e in examples(function.__name__).items()}
        content = {media: {"schema": schema, **({"examples": results} if results else {})}}
        parameters = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}, "example": "unknown-node"}
            for name in ("name",)
            if f"{{{name}}}" in path
        ]
        router.add_api_route(
            path,
            endpoint,
            methods=["GET"],
            **_described(function),
            response_class=Response,
            openapi_extra={
                "responses": {"200": {"description": "The answer", "content": content}, **_problem_responses(problems)},
                **({"parameters": parameters} if parameters else {}),
            },
        )
        return function

    return register


def _described(function: Callable[..., Any]) -> dict[str, Any]:
    summary, _, text = inspect.cleandoc(function.__doc__ or "").partition("\n\n")
    return {"operation_id": function.__name__, "summary": summary.rstrip("."), "description": text}


def _reference(kind: type) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{kind.__name__}"}


def _problem_responses(names: tuple[str, ...]) -> dict[str, Any]:
    """The error answers, one for each status, with the problems that have it."""
    by_status: dict[int, list[str]] = {}
    for name in names:
        by_status.setdefault(KINDS[name].status, []).append(name)
    return {
        str(status): {
            "description": "; ".join(f"[{name}](/problems/{name}): {KINDS[name].title}" for name in kinds),
            "content": {MEDIA_TYPE: {"schema": _reference(ProblemDetails)}},
        }
        for status, kinds in sorted(by_status.items())
    }
