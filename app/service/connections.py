"""Connections: uvicorn's HTTP protocol, with limits on what a client may leave unsaid, unsent or unread.

A client that sends no request, an endless head or a body drop by drop, or never reads its response, would otherwise hold memory
and a file for as long as it likes. uvicorn itself ends connections that are idle after a response. `python -m app` gives this
class to uvicorn's option `http`.
"""

import asyncio
import logging
import math
from collections import Counter
from enum import StrEnum
from functools import cache
from http import HTTPStatus
from typing import Any, cast
from weakref import WeakSet

from httptools import HttpParserUpgrade, HttpRequestParser
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.service.metrics import CLOSED
from app.settings import Settings

log = logging.getLogger("autodiff")

SWEEP_SECONDS = 0.5
"""How often connections are looked at. A timer for each request would take longer than a small request may."""

LINGER_SECONDS = 10.0
"""How long a client may go on to send a body after the response. If the connection were closed, it would lose the response."""

END_OF_HEAD = b"\r\n\r\n"

LEAST_RATE = 10_000
"""Bytes per second that a client must send, or read, to be waited for beyond the time limit."""

SEND = "AUTODIFF_SEND_TIMEOUT_S"
PER_CLIENT = "AUTODIFF_MAX_CONNECTIONS_PER_CLIENT"


class Phase(StrEnum):
    """What a connection waits for, as the setting that limits it: a request's head, its body, or its response."""

    HEAD = "AUTODIFF_HEAD_TIMEOUT_S"
    BODY = "AUTODIFF_BODY_TIMEOUT_S"
    RESPONSE = ""


swept: "WeakSet[asyncio.AbstractEventLoop]" = WeakSet()
"""The event loops whose connections are looked at."""


of_address: Counter[str] = Counter()
"""How many connections of this process an address has."""


@cache
def settings() -> Settings:
    """The settings of this process."""
    return Settings()


class RequestParser(HttpRequestParser):
    """The parser of a connection, which reads requests that offer to change to another protocol as if they did not."""

    def __init__(self, connection: "Connection") -> None:
        super().__init__(connection)
        self.connection = connection

    def offers_upgrade(self) -> bool:
        """Whether the request that is being read makes such an offer. A CONNECT is nothing else, and has no body."""
        return bool(self.should_upgrade()) and self.get_method() != b"CONNECT"

    def feed_data(self, data: Any) -> None:
        """Read a part of what the client sends."""
        try:
            super().feed_data(data)
        except HttpParserUpgrade as upgrade:
            if not self.offers_upgrade():
                raise
            self.connection.read_without_upgrade(data[upgrade.args[0] :])


class Connection(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.parser: RequestParser = RequestParser(self)
        self.phase = Phase.HEAD
        self.since = self.loop.time()  # when the phase began
        self.received = 0  # bytes in this phase
        self.is_reading = False  # between the first byte of a request and its last
        self.unread_since: float | None = None  # since when much of a response waits for the client to read it
        self.unread_bytes = 0  # how much waited then
        self.address = ""  # of the client
        self.lingers_until: float | None = None  # the response is sent, and the rest of the body is read for nothing

    def connection_made(self, transport: Any) -> None:
        """Make room for the connection, or refuse it."""
        if self.loop not in swept:
            swept.add(self.loop)
            self.loop.call_later(SWEEP_SECONDS, sweep, self.loop, self.connections)
        is_full = len(self.connections) >= settings().max_connections and not self._replaces_a_silent_one()
        super().connection_made(transport)
        self.address = self.client[0] if self.client else ""
        of_address[self.address] += 1
        limit = settings().max_connections_per_client
        if is_full:
            self._close("AUTODIFF_MAX_CONNECTIONS", 503, "There are too many connections.")
        elif limit and of_address[self.address] > limit and not settings().is_proxy(self.address):
            self._close(PER_CLIENT, 429, "One address has too many connections.")

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        super().connection_lost(exc)
        # It refers to this connection: together they would keep the last request until garbage is collected.
        self.cycle = None  # type: ignore[assignment]  # as uvicorn begins
        of_address[self.address] -= 1
        if of_address[self.address] <= 0:
            del of_address[self.address]

    def _replaces_a_silent_one(self) -> bool:
        """Close the connection that has waited longest for its head, and return whether there was one."""
        silent: list[Connection] = [c for c in self.connections if isinstance(c, Connection) and c.phase is Phase.HEAD]
        if not silent:
            return False
        oldest = min(silent, key=lambda connection: connection.since)
        oldest.abandon("AUTODIFF_MAX_CONNECTIONS")
        return True

    def data_received(self, data: bytes) -> None:
        """Count what comes, and refuse a head that is too long."""
        limit = settings().max_head_bytes
        if not self.is_reading and len(data) > limit and not 0 <= data.find(END_OF_HEAD) <= limit:
            self._refuse_head(limit)
            return
        self.received += len(data)
        super().data_received(data)
        if self.phase is Phase.HEAD and self.received > limit and not self.transport.is_closing():
            self._refuse_head(limit)

    def _refuse_head(self, limit: int) -> None:
        self._close("AUTODIFF_MAX_HEAD_BYTES", 431, f"The head of a request has at most {limit} bytes.")

    def read_without_upgrade(self, rest: bytes) -> None:
        """Read a request once more without its offer to change to another protocol, and what follows its head.

        A server may ignore that offer (RFC 9110, section 7.8), but httptools takes what follows for the other protocol: the
        body would be lost, or be read as a request. The client of Java makes the offer with every first request.
        """
        options = b",".join(value for name, value in self.headers if name == b"connection").split(b",")
        kept = [option.strip() for option in options if option.strip().lower() in (b"close", b"keep-alive")]
        headers = [(name, value) for name, value in self.headers if name not in (b"connection", b"upgrade")]
        headers += [(b"connection", b", ".join(kept))] if kept else []
        first = b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        head = b"\r\n".join([first, *(b"%s: %s" % header for header in headers), b"", b""])
        self.parser = RequestParser(self)
        self.parser.feed_data(head + rest)

    def on_message_begin(self) -> None:
        """A request begins."""
        self.is_reading = True
        self._enter(Phase.HEAD)
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Its body begins."""
        if self.parser.offers_upgrade():
            return
        self._enter(Phase.BODY)
        super().on_headers_complete()
        if self.cycle is not None:
            self.cycle.transport = cast(asyncio.Transport, ResponseTransport(self))

    def on_message_complete(self) -> None:
        """It has arrived."""
        self.is_reading = False
        if self.parser.offers_upgrade():
            return
        self._enter(Phase.RESPONSE)
        super().on_message_complete()
        if self.lingers_until is not None:
            self.transport.close()

    def linger(self) -> None:
        """Close the connection when the client has sent the rest of its body, or after some seconds."""
        if self.phase is Phase.BODY:
            self.lingers_until = self.loop.time() + LINGER_SECONDS
            self.flow.resume_reading()
        else:
            self.transport.close()

    def pause_writing(self) -> None:
        """The client does not read what was sent."""
        if self.unread_since is None:
            self.unread_since, self.unread_bytes = self.loop.time(), self.transport.get_write_buffer_size()
        super().pause_writing()

    def resume_writing(self) -> None:
        """It has read most of it."""
        self.unread_since = None
        super().resume_writing()

    def _enter(self, phase: Phase) -> None:
        self.phase, self.since, self.received = phase, self.loop.time(), 0

    def overdue(self, now: float) -> str | None:
        """The setting whose time limit is over, if there is one."""
        limits = settings()
        if self.lingers_until is not None and now > self.lingers_until:
            return Phase.BODY.value
        if self.unread_since is not None:
            read = self.unread_bytes - self.transport.get_write_buffer_size()
            if now - self.unread_since > limits.send_timeout_s + read / LEAST_RATE:
                return SEND
        if self.flow.read_paused:  # by the service, which does not wait for the client then
            self.since = now
        allowed = {
            Phase.HEAD: limits.head_timeout_s,
            Phase.BODY: limits.body_timeout_s + self.received / LEAST_RATE,
            Phase.RESPONSE: math.inf,
        }[self.phase]
        return self.phase.value if now - self.since > allowed else None

    def abandon(self, setting: str) -> None:
        """End the connection without waiting for anything."""
        self._count(setting)
        self.connections.discard(self)
        self.transport.abort()

    def _close(self, setting: str, status: int, message: str) -> None:
        """End the connection with a response."""
        self._count(setting)
        phrase = HTTPStatus(status).phrase
        head = f"HTTP/1.1 {status} {phrase}\r\ncontent-type: text/plain; charset=utf-8\r\nretry-after: 1\r\n"
        body = f"{message} {setting} sets the limit."
        self.transport.write(f"{head}content-length: {len(body)}\r\nconnection: close\r\n\r\n{body}".encode())
        self.transport.close()

    def _count(self, setting: str) -> None:
        CLOSED.labels(setting).inc()
        log.warning("closed a connection of %s because of %s", self.client[0] if self.client else "a socket", setting)


class ResponseTransport:
    """The transport of a connection for one response.

    The head is written together with the beginning of the body, or at the end of this turn of the event loop: uvicorn writes
    them apart, and each write is a system call and a packet, of 20 to 50 µs. An end waits for the rest of the request's body.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.transport = connection.transport
        self.head: bytes | None = b""  # None once it is written

    def __getattr__(self, name: str) -> Any:
        return getattr(self.transport, name)

    def write(self, data: bytes) -> None:
        """Write a part of the response; the first one is its head."""
        if self.head is None:
            self.transport.write(data)
        elif not self.head:
            self.head = data
            self.connection.loop.call_soon(self.flush)
        else:
            head, self.head = self.head, None
            self.transport.writelines((head, data))

    def flush(self) -> None:
        """Write the head if it has not been written yet."""
        if self.head and not self.transport.is_closing():
            head, self.head = self.head, None
            self.transport.write(head)

    def close(self) -> None:
        """End the connection after the response."""
        self.flush()
        self.connection.linger()


def sweep(loop: asyncio.AbstractEventLoop, connections: set[Any]) -> None:
    """End the connections whose time is over, again and again."""
    now = loop.time()
    for connection in list(connections):
        if isinstance(connection, Connection) and (setting := connection.overdue(now)) is not None:
            connection.abandon(setting)
    loop.call_later(SWEEP_SECONDS, sweep, loop, connections)
