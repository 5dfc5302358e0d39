"""The official SDK of the Model Context Protocol, which speaks the protocol; the tools are ours.

It is loaded by the first request that needs it: 0.4 s, once in a process, and 30 MB, which a service without such requests does
not pay. Its server keeps nothing between requests.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import orjson
from fastapi import FastAPI, Request
from starlette.types import ASGIApp

from app import __version__
from app.api.bridges.mcp_calls import CallFailed, call, described, failure_of
from app.api.bridges.mcp_checks import Fields, checked_answer
from app.api.bridges.mcp_tools import INSTRUCTIONS, TOOLS, Tool, input_schema, output_schema
from app.engine.errors import nearest
from app.engine.primitives import WIRE
from app.service.problems import KINDS, Problem, problem_at

if TYPE_CHECKING:
    import mcp_types as types
    from mcp.server.context import ServerRequestContext
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

MAX_MESSAGE_BYTES = 1 << 18
"""The most bytes of a request. The SDK reads it on the event loop, about 10 ms; what is larger belongs to /v1."""

MAX_ANSWER_BYTES = 1 << 18
"""The most bytes of an answer, which is written there too. It is more than most models can read at once."""

LISTED_SECONDS = 3600
"""How long clients may keep the list of tools, which changes with the version of the service only."""

FIXES = {
    "invalid-request": "Write at that place what the message says. The schema of the tool has all arguments.",
    "unknown-primitive": f"The functions are {', '.join(sorted(WIRE))}.",
    "wrong-arity": "Give the function as many arguments as the message says.",
    "too-large": "Send less at once.",
    "internal": "Nothing is wrong with the arguments. Tell the user, with the request id.",
}
"""What a model can do about a problem, where that is not what the page about it says."""


class Connector:
    """The SDK's server of one application, from the first request to it until the application ends."""

    def __init__(self, app: FastAPI) -> None:
        self.app = app
        self.stopped = asyncio.Event()
        self.task: asyncio.Task[None] | None = None
        self.handler: asyncio.Future[ASGIApp] = asyncio.get_running_loop().create_future()

    async def started(self) -> ASGIApp:
        """What answers requests. Raises Problem where the SDK is not installed."""
        if self.task is None:
            self.task = asyncio.create_task(self._run())
        return await asyncio.shield(self.handler)

    async def _run(self) -> None:
        """Run the SDK's session manager. Its cancel scopes must be left by the task that has entered them: this one."""
        try:
            manager = await asyncio.to_thread(_make_manager)
        except Exception as error:
            self.handler.set_exception(error)
            self.handler.exception()  # retrieved, so that asyncio does not report it
            return
        async with manager.run():
            self.handler.set_result(manager.handle_request)
            await self.stopped.wait()

    async def close(self) -> None:
        """End the session manager."""
        self.stopped.set()
        if self.task is not None:
            await self.task


@contextlib.asynccontextmanager
async def connecting(app: FastAPI) -> AsyncIterator[None]:
    """Let the application answer MCP's requests: within, `app.state.mcp` is its connector."""
    connector = app.state.mcp = Connector(app)
    try:
        yield
    finally:
        await connector.close()


def _make_manager() -> "StreamableHTTPSessionManager":
    """Load the SDK and make its session manager. Raises Problem where it is not installed."""
    try:
        import mcp_types as types
        from mcp.server.caching import CacheHint
        from mcp.server.lowlevel import Server
        from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
    except ImportError:
        detail = "the SDK of MCP is not installed here; install it with: pip install 'autodiff-http[mcp]'"
        raise Problem("not-available", detail) from None
    logging.getLogger("mcp").setLevel(logging.WARNING)  # or it logs the end of every request
    schemas = {name: input_schema(tool) for name, tool in TOOLS.items()}
    tools = types.ListToolsResult(tools=[_described(tool, schemas[tool.name]) for tool in TOOLS.values()])

    async def list_tools(context: "ServerRequestContext", params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        return tools

    server = Server(
        "autodiff-http",
        version=__version__,
        title="autodiff-http",
        instructions=INSTRUCTIONS,
        cache_hints={"tools/list": CacheHint(LISTED_SECONDS * 1000, "public")},
        get_tool_input_schema=schemas.get,
        on_list_tools=list_tools,
        on_call_tool=_call_tool,
    )
    # Hosts and origins have been checked, and the sizes of requests.
    return StreamableHTTPSessionManager(server, json_response=True, stateless=True, max_request_body_size=MAX_MESSAGE_BYTES)


def _described(tool: Tool, arguments: dict[str, Any]) -> "types.Tool":
    """A tool as the protocol lists it."""
    import mcp_types as types

    return types.Tool(
        name=tool.name,
        title=tool.title,
        description=tool.description,
        input_schema=arguments,
        output_schema=output_schema(tool),
        annotations=types.ToolAnnotations(
            read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False
        ),
    )


async def _call_tool(context: "ServerRequestContext", params: "types.CallToolRequestParams") -> "types.CallToolResult":
    """Answer a call of a tool. What is wrong with its arguments is a result too, for the model to read."""
    import mcp_types as types
    from mcp.shared.exceptions import MCPError

    request: Request = context.request
    tool = TOOLS.get(params.name)
    if tool is None:
        known = f"{nearest(params.name, list(TOOLS))} The tools are {', '.join(TOOLS)}.".strip()
        raise MCPError(types.INVALID_PARAMS, f"there is no such tool. {known}")
    request.scope["state"]["facts"]["tool"] = tool.name
    try:
        answer = await _answer(tool, params.arguments or {}, request)
    except Exception as error:
        failed = error if isinstance(error, CallFailed) else await failure_of(request, error)
        return types.CallToolResult(content=[types.TextContent(text=explained(failed))], is_error=True)
    text = orjson.dumps(answer).decode()
    return types.CallToolResult(content=[types.TextContent(text=text)], structured_content=answer)


async def _answer(tool: Tool, arguments: Fields, request: Request) -> Fields:
    """The answer of a tool, with the report of its check if the arguments ask for one. Raises CallFailed."""
    timeout = request.app.state.settings.compute_timeout_s
    deadline = asyncio.get_running_loop().time() + timeout
    check = None
    if tool.check is not None and "check" in arguments:
        arguments = dict(arguments)
        check = arguments.pop("check")
        if not isinstance(check, bool | None):
            raise CallFailed(described(problem_at("invalid-request", ("check",), "expected true or false")))

    async def post(path: str, fields: Fields) -> Fields:
        return await call(request, path, fields, MAX_ANSWER_BYTES)

    async def post_in_time(path: str, fields: Fields) -> Fields:
        try:
            async with asyncio.timeout_at(deadline):
                return await post(path, fields)
        except TimeoutError:
            detail = f"the answer and its check took over {timeout:g} s, the limit of AUTODIFF_COMPUTE_TIMEOUT_S"
            raise CallFailed(described(Problem("deadline-exceeded", detail))) from None

    answer = await post(tool.path, arguments)
    return await checked_answer(tool.check, arguments, answer, post_in_time) if tool.check and check else answer


def explained(failed: CallFailed) -> str:
    """A problem as a text from which a model can tell what is wrong, where in its arguments, and what to do."""
    problem, kind = failed.problem, KINDS[failed.name]
    entries = problem.get("errors") or ()
    found = [f"at {entry['pointer']}: {entry['detail']}" for entry in entries] or [problem["detail"]]
    lines = [f"{kind.name}: {kind.title}", *(line.removesuffix(" GET /v1/primitives lists them.") for line in found)]
    lines.append(f"How to fix it: {FIXES.get(kind.name, kind.fix)}")
    if failed.retry_after is not None:
        lines.append(f"The same call may succeed after {failed.retry_after} s.")
    return "\n".join(lines)
