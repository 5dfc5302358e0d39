"""MCP's official client, and calls of tools by it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest

mcp = pytest.importorskip("mcp", reason="the SDK of MCP is not installed: pip install '.[mcp]'")

VERSIONS = {"2025-11-25": "legacy", "2026-07-28": "2026-07-28"}
"""Versions of the protocol, and the client's names for how it speaks them."""

Answer = TypeVar("Answer")


def connected(url: str, version: str, use: Callable[[Any], Awaitable[Answer]]) -> Answer:
    """Return what `use` makes of a client that is connected to the service at this URL, by a version of the protocol."""

    async def connect() -> Answer:
        async with mcp.Client(f"{url}/mcp", mode=VERSIONS[version]) as client:
            assert client.protocol_version == version
            return await use(client)

    return asyncio.run(connect())


def called(url: str, version: str, tool: str, arguments: dict[str, Any]) -> Any:
    """Return the result of one call of a tool. The client checks a structured result against the tool's output schema."""

    async def use(client: Any) -> Any:
        await client.list_tools()
        return await client.call_tool(tool, arguments)

    return connected(url, version, use)
