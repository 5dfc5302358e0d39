"""A minimal HTTP/1.1 client: it costs so little that the load tests measure the service and not the client."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field


def request(path: str, body: object, method: str = "POST") -> bytes:
    """Return the bytes of a request. A `body` that is not bytes is sent as JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = (
        f"{method} {path} HTTP/1.1\r\nhost: service\r\ncontent-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


class Lost(Exception):
    """The connection was closed before the response was complete."""


class Refused(Exception):
    """The connection was refused."""


@dataclass
class Connection:
    """A connection that opens when it is first used, and again after it was closed."""

    host: str
    port: int
    reader: asyncio.StreamReader | None = None
    writer: asyncio.StreamWriter | None = None

    async def send(self, sent: bytes) -> tuple[int, bytes]:
        """Send a request and return status and body of the response. Raises Refused or Lost."""
        if self.writer is None:
            await self.open()
        assert self.reader is not None and self.writer is not None
        try:
            self.writer.write(sent)
            await self.writer.drain()
            head = (await self.reader.readuntil(b"\r\n\r\n")).lower()
            if b"transfer-encoding: chunked" in head:
                content = b"".join([part async for part in _chunks(self.reader)])
            else:
                length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
                content = await self.reader.readexactly(length)
        except (OSError, asyncio.IncompleteReadError) as error:
            self.close()
            raise Lost from error
        if b"connection: close" in head:
            self.close()
        return int(head.split(b" ", 2)[1]), content

    async def open(self) -> None:
        """Connect. Raises Refused."""
        try:
            self.reader, self.writer = await asyncio.open_connection(self.host, self.port, limit=1 << 26)
        except OSError as error:
            raise Refused from error

    def close(self) -> None:
        """Close the connection."""
        if self.writer is not None:
            self.writer.close()
        self.writer = None


async def _chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """Yield the chunks of a chunked body."""
    while size := int(await reader.readuntil(b"\r\n"), 16):
        yield (await reader.readexactly(size + 2))[:-2]
    await reader.readexactly(2)


@dataclass
class Tally:
    """How many responses were right, wrong, put off (503) or lost, and how long they took."""

    right: int = 0
    wrong: int = 0
    put_off: int = 0
    lost: int = 0
    refused: int = 0
    seconds: list[float] = field(default_factory=list)

    async def send(self, connection: Connection, sent: bytes, expected: bytes | None, status: int = 200) -> int | None:
        """Send a request and compare the response byte by byte, or only its status if `expected` is None."""
        began = time.perf_counter()
        try:
            found, content = await connection.send(sent)
        except Lost:
            self.lost += 1
            return None
        except Refused:
            self.refused += 1
            return None
        self.seconds.append(time.perf_counter() - began)
        if found == status and (expected is None or content == expected):
            self.right += 1
        elif found == 503:
            self.put_off += 1
        else:
            self.wrong += 1
        return found

    def latency(self) -> dict[str, float]:
        """Return percentiles in milliseconds."""
        return milliseconds(self.seconds)


def milliseconds(seconds: list[float]) -> dict[str, float]:
    """Return percentiles in milliseconds."""
    ordered = sorted(seconds)
    shares = (50, 90, 99, 99.9, 100)
    return {
        f"p{share:g}": round(1e3 * ordered[max(0, round(len(ordered) * share / 100) - 1)], 2) for share in shares if ordered
    }
