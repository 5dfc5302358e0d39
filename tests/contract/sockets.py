"""Raw HTTP over sockets, for requests that no HTTP client would send."""

import json
import re
import socket
import time
from http.client import HTTPResponse
from urllib.parse import urlsplit


def address(base_url: str) -> tuple[str, int, str]:
    """Return host, port and path prefix of a service."""
    parts = urlsplit(base_url)
    return parts.hostname or "localhost", parts.port or 80, parts.path


def connect(base_url: str, seconds: float = 10.0) -> socket.socket:
    """Open a connection to a service."""
    host, port, _ = address(base_url)
    return socket.create_connection((host, port), timeout=seconds)


def head(base_url: str, path: str = "/v1/forward", method: str = "POST", **headers: str) -> bytes:
    """Return the head of a request. In header names, write _ for -."""
    host, port, prefix = address(base_url)
    lines = [f"{method} {prefix}{path} HTTP/1.1", f"Host: {host}:{port}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def json_request(base_url: str, path: str, body: object) -> bytes:
    """Return a whole request with a JSON body."""
    content = json.dumps(body).encode()
    return head(base_url, path, Content_Type="application/json", Content_Length=str(len(content))) + content


def exchange(base_url: str, *parts: bytes, hang_up: bool = False, seconds: float = 10.0) -> bytes:
    """Send raw bytes and return what comes back until the service closes the connection, or `seconds` have passed.

    With `hang_up` the client closes its end without reading as soon as everything is sent.
    """
    received = b""
    with connect(base_url, seconds) as connection:
        try:
            for part in parts:
                connection.sendall(part)
            if hang_up:
                return b""
            while chunk := connection.recv(65536):
                received += chunk
        except (TimeoutError, ConnectionError):
            pass
    return received


def first_response(base_url: str, sent: bytes) -> tuple[int, bytes]:
    """Send raw bytes and return status and body of the first response, without waiting for the end of the connection."""
    with connect(base_url) as connection:
        connection.sendall(sent)
        response = HTTPResponse(connection)
        response.begin()
        return response.status, response.read()


def send_and_leave(base_url: str, path: str, body: object, wait: float) -> None:
    """Post a request on a connection of its own and close it after `wait` seconds without reading anything."""
    with connect(base_url) as connection:
        connection.sendall(json_request(base_url, path, body))
        time.sleep(wait)


def status_of(received: bytes) -> int:
    """Return the status of a raw response."""
    match = re.match(rb"HTTP/1\.1 (\d{3}) ", received)
    assert match, received[:200]
    return int(match[1])
