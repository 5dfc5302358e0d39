"""Connections whose clients send too little, too much or too slowly, or do not read, under a fake clock."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest
from prometheus_client.registry import REGISTRY
from uvicorn import Config
from uvicorn.server import ServerState

from app.service import connections
from app.service.connections import Connection
from app.settings import Settings
from tests.service.fake_time import Clock, run_on, settle

HEAD = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"
SMALL = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"


class Transport(asyncio.Transport):
    """A socket that keeps what is written to it."""

    def __init__(self, connection: Connection, address: str) -> None:
        super().__init__()
        self.connection = connection
        self.address = address
        self.writes: list[bytes] = []
        self.too_late = 0  # how often something was written after the end
        self.ended: str | None = None
        self.unread = 0  # bytes that wait for the client

    def get_write_buffer_size(self) -> int:
        return self.unread

    @property
    def written(self) -> bytes:
        """All that was written."""
        return b"".join(self.writes)

    def write(self, data: Any) -> None:
        if self.ended is None:
            self.writes.append(bytes(data))
        else:
            self.too_late += 1

    def close(self) -> None:
        self._end("closed")

    def abort(self) -> None:
        self._end("aborted")

    def _end(self, how: str) -> None:
        if self.ended is None:
            self.ended = how
            self.connection.loop.call_soon(self.connection.connection_lost, None)

    def is_closing(self) -> bool:
        return self.ended is not None

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return (self.address, 80) if self.address and name in ("peername", "sockname") else default


async def never(scope: Any, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]) -> None:
    """An application that reads until its client leaves, and does not answer."""
    while (await receive())["type"] != "http.disconnect":
        pass


class Server:
    """A server without a socket."""

    def __init__(self, app: Any) -> None:
        self.config, self.state = Config(app, log_config=None, lifespan="off", ws="none"), ServerState()
        self.made: list[tuple[Connection, Transport]] = []

    def connect(self, *parts: bytes, address: str = "192.0.2.1") -> tuple[Connection, Transport]:
        """A new connection, on which the client sends these parts."""
        connection = Connection(self.config, self.state, {}, asyncio.get_running_loop())
        transport = Transport(connection, address)
        connection.connection_made(transport)
        for part in parts:
            connection.data_received(part)
        self.made.append((connection, transport))
        return connection, transport


def on_server(
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    test: Callable[[Server], Coroutine[Any, Any, None]],
    app: Any = never,
    **given: Any,
) -> None:
    """Run a test with a server that has these settings."""
    settings = Settings(**given)
    monkeypatch.setattr(connections, "settings", lambda: settings)

    async def main() -> None:
        server = Server(app)
        await test(server)
        for _, transport in server.made:
            transport.abort()
        await settle()
        assert not server.state.connections and not server.state.tasks, "a client that is gone leaves nothing behind"
        assert not connections.of_address

    run_on(clock, main())


def closed(setting: str) -> float:
    """How many connections a limit has closed so far."""
    return REGISTRY.get_sample_value("autodiff_connections_closed_total", {"setting": setting}) or 0.0


SLOW: dict[str, tuple[tuple[bytes, ...], str, float]] = {
    "nothing": ((), "AUTODIFF_HEAD_TIMEOUT_S", 10.0),
    "half a head": ((HEAD[:20],), "AUTODIFF_HEAD_TIMEOUT_S", 10.0),
    "half a second head": ((SMALL, HEAD[:20]), "AUTODIFF_HEAD_TIMEOUT_S", 10.0),
    "no body": ((HEAD,), "AUTODIFF_BODY_TIMEOUT_S", 30.0),
    "some of a body": ((HEAD, b"x" * 20_000), "AUTODIFF_BODY_TIMEOUT_S", 32.0),
}


@pytest.mark.parametrize(("parts", "setting", "seconds"), SLOW.values(), ids=SLOW)
def test_client_that_does_not_go_on_is_left(
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    parts: tuple[bytes, ...],
    setting: str,
    seconds: float,
) -> None:
    before = closed(setting)

    async def test(server: Server) -> None:
        _, transport = server.connect(*parts)
        await clock.pass_in_steps(seconds - 0.1, 0.1)
        assert transport.ended is None
        await clock.pass_in_steps(2 * connections.SWEEP_SECONDS, 0.1)
        assert transport.ended == "aborted"

    on_server(clock, monkeypatch, test)
    assert closed(setting) == before + 1
    assert caplog.text.count(setting) == 1 and "192.0.2.1" in caplog.text


def test_all_that_are_late_at_once_are_left(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """And those that are late afterwards."""

    async def test(server: Server) -> None:
        late = [server.connect()[1] for _ in range(5)]
        await clock.pass_in_steps(5.0, 0.1)
        late += [server.connect()[1] for _ in range(2)]
        await clock.pass_in_steps(10.0 + 2 * connections.SWEEP_SECONDS, 0.1)
        assert [transport.ended for transport in late] == ["aborted"] * 7

    on_server(clock, monkeypatch, test)


def test_one_timer_looks_at_all_connections(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else each connection would leave one behind."""
    looks: list[int] = []
    monkeypatch.setattr(connections, "sweep", lambda loop, found: looks.append(len(found)))

    async def test(server: Server) -> None:
        for _ in range(5):
            server.connect()
        await clock.advance(connections.SWEEP_SECONDS + 0.01)
        assert looks == [5]

    on_server(clock, monkeypatch, test)


def test_head_drop_by_drop_gets_no_more_time(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(server: Server) -> None:
        connection, transport = server.connect()
        sent = 0
        while transport.ended is None:
            connection.data_received(HEAD[sent : sent + 1])
            sent += 1
            await clock.pass_in_steps(1.0, 0.5)
        assert 10 <= sent <= 12

    on_server(clock, monkeypatch, test)


@pytest.mark.parametrize(("rate", "ended"), [(12_000, None), (5_000, "aborted")], ids=["fast enough", "too slow"])
def test_body_needs_a_rate(clock: Clock, monkeypatch: pytest.MonkeyPatch, rate: int, ended: str | None) -> None:
    async def test(server: Server) -> None:
        connection, transport = server.connect(HEAD)
        for _ in range(80):
            if transport.ended is None:
                connection.data_received(b"x" * rate)
            await clock.pass_in_steps(1.0, 0.5)
        assert transport.ended == ended

    on_server(clock, monkeypatch, test)


def test_client_may_wait_for_its_response(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(server: Server) -> None:
        _, transport = server.connect(SMALL)
        await clock.pass_in_steps(200.0, 0.5)
        assert transport.ended is None

    on_server(clock, monkeypatch, test)


def test_connection_that_has_ended_refers_to_no_request(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each would refer to the other, and the request wait for garbage to be collected."""

    async def test(server: Server) -> None:
        connection, transport = server.connect(SMALL)
        await settle()
        assert connection.cycle is not None
        transport.abort()
        await settle()
        assert connection.cycle is None

    on_server(clock, monkeypatch, test)


def test_time_in_which_the_service_does_not_read_does_not_count(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(server: Server) -> None:
        connection, transport = server.connect(HEAD)
        await settle()  # the application waits for more by now
        connection.flow.pause_reading()
        await clock.pass_in_steps(100.0, 0.5)
        connection.flow.resume_reading()
        await clock.pass_in_steps(29.0, 0.5)
        assert transport.ended is None
        await clock.pass_in_steps(2.0, 0.5)
        assert transport.ended == "aborted"

    on_server(clock, monkeypatch, test)


def test_time_limits_are_reached_before_they_are_over(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(server: Server) -> None:
        began = clock.now
        idle, _ = server.connect()
        sending, _ = server.connect(HEAD, b"x" * 20_000)
        reading, _ = server.connect(HEAD)
        reading.pause_writing()
        for connection, setting, seconds in (
            (idle, "AUTODIFF_HEAD_TIMEOUT_S", 10.0),
            (sending, "AUTODIFF_BODY_TIMEOUT_S", 32.0),
            (reading, "AUTODIFF_SEND_TIMEOUT_S", 30.0),
        ):
            assert connection.overdue(began + seconds) is None, setting
            assert connection.overdue(began + seconds + 1e-9) == setting

    on_server(clock, monkeypatch, test, head_timeout_s=10.0, body_timeout_s=30.0, send_timeout_s=30.0)


@pytest.mark.parametrize(("reads", "ended"), [(False, "aborted"), (True, None)], ids=["never", "now and then"])
def test_client_that_does_not_read_is_left(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, reads: bool, ended: str | None
) -> None:
    before = closed("AUTODIFF_SEND_TIMEOUT_S")

    async def test(server: Server) -> None:
        connection, transport = server.connect(SMALL)
        for _ in range(3):
            connection.pause_writing()
            await clock.pass_in_steps(50.0, 0.5)
            if reads:
                connection.resume_writing()
        assert transport.ended == ended

    on_server(clock, monkeypatch, test)
    assert closed("AUTODIFF_SEND_TIMEOUT_S") == before + (not reads)


@pytest.mark.parametrize(("rate", "ended"), [(12_000, None), (5_000, "aborted")], ids=["fast enough", "too slow"])
def test_reader_needs_a_rate(clock: Clock, monkeypatch: pytest.MonkeyPatch, rate: int, ended: str | None) -> None:
    async def test(server: Server) -> None:
        connection, transport = server.connect(SMALL)
        transport.unread = 10_000_000
        connection.pause_writing()
        for _ in range(200):
            transport.unread -= rate
            await clock.pass_in_steps(1.0, 0.5)
        assert transport.ended == ended

    on_server(clock, monkeypatch, test)


@pytest.mark.parametrize(
    ("proxies", "ended"),
    [("", "closed"), ("192.0.2.1", None), ("10.0.0.1, 192.0.2.0/24", None), ("10.0.0.1", "closed"), ("*", None)],
)
def test_address_has_a_limited_number_of_connections(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, proxies: str, ended: str | None
) -> None:
    """Unless it is a proxy, whose connections are those of many clients."""
    before = closed("AUTODIFF_MAX_CONNECTIONS_PER_CLIENT")

    async def test(server: Server) -> None:
        _, first = server.connect()
        _, second = server.connect()
        _, third = server.connect()
        _, other = server.connect(address="192.0.3.2")
        assert (first.ended, second.ended, third.ended, other.ended) == (None, None, ended, None)
        if ended:
            assert third.written.startswith(b"HTTP/1.1 429 Too Many Requests")
            assert b"One address has too many connections." in third.written
            assert b"AUTODIFF_MAX_CONNECTIONS_PER_CLIENT" in third.written
        assert closed("AUTODIFF_MAX_CONNECTIONS_PER_CLIENT") == before + (ended is not None)
        await settle()
        server.made[0][1].abort()
        await settle()
        _, again = server.connect()
        _, one_more = server.connect()
        assert (again.ended, one_more.ended) == (None, ended)

    on_server(clock, monkeypatch, test, max_connections_per_client=2, trusted_proxies=proxies)


@pytest.mark.parametrize(
    ("given", "trusted"),
    [
        ("", set()),
        (" ", set()),
        ("*", {"10.0.0.1", "10.9.9.9", "::1"}),
        (" * ", {"10.0.0.1", "10.9.9.9", "::1"}),
        ("10.0.0.1", {"10.0.0.1"}),
        (" 10.0.0.1 , ::1 ", {"10.0.0.1", "::1"}),
        ("10.0.0.0/8", {"10.0.0.1", "10.9.9.9"}),
    ],
)
def test_proxies_that_are_trusted(given: str, trusted: set[str]) -> None:
    settings = Settings(trusted_proxies=given)
    assert {address for address in ("10.0.0.1", "10.9.9.9", "::1") if settings.is_proxy(address)} == trusted


@pytest.mark.parametrize(("proxies", "ended"), [("192.0.2.1", "closed"), ("*", None)])
def test_connection_without_an_address_is_a_proxy_only_if_all_are(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, proxies: str, ended: str | None
) -> None:
    """Connections over a socket in the file system have no address, and count together."""

    async def test(server: Server) -> None:
        server.connect(address="")
        _, second = server.connect(address="")
        assert second.ended == ended
        await settle()

    on_server(clock, monkeypatch, test, max_connections_per_client=1, trusted_proxies=proxies)


def test_response_goes_on_when_its_reader_does(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(server: Server) -> None:
        connection, _ = server.connect(SMALL)
        connection.pause_writing()
        assert connection.flow.write_paused
        connection.resume_writing()
        assert not connection.flow.write_paused

    on_server(clock, monkeypatch, test)


def test_rest_of_a_body_is_read_after_an_early_response(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the service had stopped reading, because the application had enough to read."""

    async def test(server: Server) -> None:
        connection, transport = server.connect(HEAD, b"x" * 200_000)
        connection.flow.pause_reading()
        connection.linger()
        assert not connection.flow.read_paused and transport.ended is None
        connection.data_received(b"x" * 800_000)
        assert transport.ended == "closed"

    on_server(clock, monkeypatch, test)


def answering(*bodies: bytes, waits: Callable[[], Awaitable[Any]] | None = None) -> Any:
    """An application that responds with these parts, after it has waited behind the head."""

    async def app(scope: Any, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]) -> None:
        length = str(sum(map(len, bodies))).encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
        if waits is not None:
            await waits()
        for k, body in enumerate(bodies, 1):
            await send({"type": "http.response.body", "body": body, "more_body": k < len(bodies)})

    return app


@pytest.mark.parametrize("bodies", [(b"all of it",), (b"a part", b" and another")])
def test_head_and_body_are_one_write(clock: Clock, monkeypatch: pytest.MonkeyPatch, bodies: tuple[bytes, ...]) -> None:
    """So a small response is one packet."""

    async def test(server: Server) -> None:
        _, transport = server.connect(SMALL)
        await settle()
        head, _, body = transport.writes[0].partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK\r\n") and [body, *transport.writes[1:]] == list(bodies)

    on_server(clock, monkeypatch, test, answering(*bodies))


def test_head_does_not_wait_for_a_late_body(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """As that of a stream, whose first event may come after minutes."""
    computed = asyncio.Event()

    async def test(server: Server) -> None:
        _, transport = server.connect(SMALL)
        await settle()
        assert transport.written.startswith(b"HTTP/1.1 200 OK\r\n") and transport.written.endswith(b"\r\n\r\n")
        computed.set()
        await settle()
        assert transport.written.endswith(b"\r\n\r\nat last")

    on_server(clock, monkeypatch, test, answering(b"at last", waits=computed.wait))


def test_responses_without_a_body_are_written_and_closed(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(server: Server) -> None:
        _, kept = server.connect(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n")
        _, closed = server.connect(b"HEAD / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        await settle()
        for transport in (kept, closed):
            assert transport.written.startswith(b"HTTP/1.1 200 OK\r\n") and transport.written.endswith(b"\r\n\r\n")
        assert kept.ended is None and closed.ended == "closed"

    on_server(clock, monkeypatch, test, answering(b"left out"))


def test_responses_on_one_connection_keep_their_order(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(server: Server) -> None:
        _, transport = server.connect(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n" + SMALL)
        await settle()
        heads = transport.written.split(b"\r\n\r\n")
        assert len(heads) == 3 and heads[0].startswith(b"HTTP/1.1 200") and heads[1].startswith(b"HTTP/1.1 200")
        assert heads[2] == b"body"

    on_server(clock, monkeypatch, test, answering(b"body"))


def test_client_that_asks_first_is_told_at_once_to_send_its_body(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """With Expect: 100-continue (RFC 9110, section 10.1.1)."""

    async def test(server: Server) -> None:
        connection, transport = server.connect(HEAD.replace(b"Host: x", b"Host: x\r\nExpect: 100-continue"))
        await settle()
        assert transport.written == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.data_received(b"x" * 1_000_000)
        await settle()
        assert transport.writes[1].startswith(b"HTTP/1.1 200 OK\r\n") and transport.written.endswith(b"\r\n\r\nread")

    async def app(scope: Any, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]) -> None:
        while (await receive())["more_body"]:
            pass
        await answering(b"read")(scope, receive, send)

    on_server(clock, monkeypatch, test, app)


@pytest.mark.parametrize("before", [b"", SMALL], ids=["first", "second"])
@pytest.mark.parametrize(("size", "status"), [(20_000, b"200"), (20_001, b"431")])
def test_head_in_one_part_has_the_same_limit(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, before: bytes, size: int, status: bytes
) -> None:
    """Whether a body of any length follows or not."""

    async def test(server: Server) -> None:
        connection, transport = server.connect(before)
        await settle()
        first = len(transport.written)
        head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 50000\r\nX: \r\n\r\n"
        head = head.replace(b"X: ", b"X: " + (size - len(head) + 4) * b"x")
        assert head.index(b"\r\n\r\n") == size
        connection.data_received(head + 50_000 * b" ")
        await settle()
        assert transport.written[first:].startswith(b"HTTP/1.1 " + status)

    on_server(clock, monkeypatch, test, answering(b"body"), max_head_bytes=20_000)


def test_head_of_a_connection_that_is_closed_is_not_written(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """uvloop raises for writing to it, which would be a traceback in the log."""

    async def test(server: Server) -> None:
        _, transport = server.connect(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\ngarbage\r\n\r\n")
        await settle()
        assert transport.ended == "closed" and transport.written.startswith(b"HTTP/1.1 400 ")
        assert transport.too_late == 0

    on_server(clock, monkeypatch, test, answering(b"left out"))


UPGRADE = b"POST /x?y=1 HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n"


async def echo(scope: Any, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]) -> None:
    """An application that responds with the path and the body."""
    content, more = scope["raw_path"] + b"?" + scope["query_string"] + b" ", True
    while more:
        message = await receive()
        content, more = content + message["body"], message.get("more_body", False)
    assert not any(name in (b"upgrade", b"connection") for name, _ in scope["headers"])
    await answering(content)(scope, receive, send)


@pytest.mark.parametrize(
    "parts",
    [
        (UPGRADE + b'Content-Length: 7\r\n\r\n{"a":1}',),
        (UPGRADE + b"Content-Length: 7\r\n\r\n", b'{"a"', b":1}"),
        (UPGRADE[:90], UPGRADE[90:] + b"Content-Length: 7\r\n\r\n{", b'"a":1}'),
        (UPGRADE.replace(b"h2c", b"websocket") + b'Transfer-Encoding: chunked\r\n\r\n7\r\n{"a":1}\r\n0\r\n\r\n',),
    ],
    ids=["in one part", "body behind the head", "head in two parts", "chunks, to a web socket"],
)
def test_request_that_offers_another_protocol_is_read_as_it_is(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, parts: tuple[bytes, ...]
) -> None:
    """RFC 9110, section 7.8: a server may ignore the field. Java's client sends it with each first request."""

    async def test(server: Server) -> None:
        connection, transport = server.connect(*parts)
        await settle()
        assert transport.written.endswith(b'\r\n\r\n/x?y=1 {"a":1}') and transport.ended is None
        connection.data_received(SMALL)
        await settle()
        assert transport.written.count(b"HTTP/1.1 200") == 2 and transport.written.endswith(b"/? {}")

    on_server(clock, monkeypatch, test, echo)


def test_requests_behind_such_an_offer_are_answered(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(server: Server) -> None:
        _, transport = server.connect(UPGRADE + b"Content-Length: 2\r\n\r\n{}" + SMALL)
        await settle()
        assert transport.written.index(b"/x?y=1 {}") < transport.written.index(b"/? {}")

    on_server(clock, monkeypatch, test, echo)


@pytest.mark.parametrize("kept", [b"close", b"Keep-Alive"])
def test_other_options_of_the_connection_still_count(clock: Clock, monkeypatch: pytest.MonkeyPatch, kept: bytes) -> None:
    async def test(server: Server) -> None:
        options = b"Connection: Upgrade, " + kept
        _, transport = server.connect(b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\n" + options + b"\r\n\r\n")
        await settle()
        assert transport.written.startswith(b"HTTP/1.1 200") and (transport.ended == "closed") is (kept == b"close")

    on_server(clock, monkeypatch, test, answering(b"body"))


def test_client_of_a_socket_in_the_file_system_is_left_too(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def test(server: Server) -> None:
        _, transport = server.connect(address="")
        await clock.pass_in_steps(11.0, 0.5)
        assert transport.ended == "aborted"

    on_server(clock, monkeypatch, test)
    assert "closed a connection of a socket because of AUTODIFF_HEAD_TIMEOUT_S" in caplog.text


HEADS: dict[str, list[bytes]] = {
    "many headers": [b"GET / HTTP/1.1\r\n", *(b"X-%d: %s\r\n" % (k, b"y" * 1000) for k in range(200))],
    "one endless header": [b"GET / HTTP/1.1\r\nX: ", *([b"y" * 1000] * 200)],
    "an endless name": [b"GET / HTTP/1.1\r\n", *([b"y" * 1000] * 200)],
    "an endless path": [b"GET /", *([b"y" * 1000] * 200)],
}


@pytest.mark.parametrize("parts", HEADS.values(), ids=HEADS)
def test_head_has_a_limit(clock: Clock, monkeypatch: pytest.MonkeyPatch, parts: list[bytes]) -> None:
    async def test(server: Server) -> None:
        connection, transport = server.connect()
        sent = 0
        for part in parts:
            connection.data_received(part)
            sent += len(part)
            if transport.ended:
                break
        assert transport.ended == "closed" and 20_000 < sent <= 22_100
        assert transport.written.startswith(b"HTTP/1.1 431 ") and b"AUTODIFF_MAX_HEAD_BYTES" in transport.written
        assert not server.state.tasks, "no request has begun"

    on_server(clock, monkeypatch, test, max_head_bytes=20_000)


def test_head_at_the_limit_is_read(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes with the beginning of a head is not counted."""

    async def test(server: Server) -> None:
        connection, transport = server.connect(b"GET / HTTP/1.1\r\nX: ", b"y" * 20_000)
        assert transport.ended is None
        connection.data_received(b"y")
        assert transport.ended == "closed" and transport.written.startswith(b"HTTP/1.1 431 ")

    on_server(clock, monkeypatch, test, max_head_bytes=20_000)


def test_body_is_no_part_of_the_head(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(server: Server) -> None:
        _, transport = server.connect(HEAD, b"x" * 100_000)
        assert transport.ended is None

    on_server(clock, monkeypatch, test, max_head_bytes=20_000)


def test_new_connection_replaces_the_one_that_has_been_silent_longest(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(server: Server) -> None:
        for parts in ((SMALL,), (), (HEAD[:9],), (HEAD,)):
            server.connect(*parts)
            clock.now += 1.0
        server.connect()
        assert [transport.ended for _, transport in server.made] == [None, "aborted", None, None, None]
        server.connect()
        assert [transport.ended for _, transport in server.made] == [None, "aborted", "aborted", None, None, None]

    on_server(clock, monkeypatch, test, max_connections=4)


def test_no_request_under_way_is_ended_for_a_new_one(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(server: Server) -> None:
        server.connect(SMALL)
        server.connect(HEAD)
        _, transport = server.connect()
        assert transport.ended == "closed" and transport.written.startswith(b"HTTP/1.1 503 ")
        assert b"AUTODIFF_MAX_CONNECTIONS" in transport.written and b"retry-after: 1" in transport.written
        assert [t.ended for _, t in server.made[:2]] == [None, None]

    on_server(clock, monkeypatch, test, max_connections=2)


async def refusing(scope: Any, receive: Any, send: Callable[[Any], Awaitable[None]]) -> None:
    """An application that answers before it has read the body."""
    headers = [(b"content-length", b"3"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 413, "headers": headers})
    await send({"type": "http.response.body", "body": b"no\n"})


@pytest.mark.parametrize(
    ("pace", "end", "seconds"),
    [(250_000, "closed", 4.0), (1000, "aborted", 10.0), (0, "closed", 5.0)],
    ids=["sends all", "sends slowly", "sends no more"],
)
def test_early_response_is_not_lost(clock: Clock, monkeypatch: pytest.MonkeyPatch, pace: int, end: str, seconds: float) -> None:
    """If the service closed the connection, the client's next bytes would reset it, and the response with it."""

    async def test(server: Server) -> None:
        connection, transport = server.connect(HEAD)
        await settle()
        assert transport.written.startswith(b"HTTP/1.1 413 ") and transport.written.endswith(b"no\n")
        began = clock.now
        while transport.ended is None:
            if pace:
                connection.data_received(b"x" * pace)
            await clock.pass_in_steps(1.0, 0.5)
        assert transport.ended == end and abs(clock.now - began - seconds) <= 1.0
        assert transport.written.count(b"HTTP/1.1") == 1

    on_server(clock, monkeypatch, test, refusing)


def test_connection_is_closed_at_once_after_a_whole_request(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(server: Server) -> None:
        _, transport = server.connect(SMALL)
        await settle()
        assert transport.ended == "closed"

    on_server(clock, monkeypatch, test, refusing)
