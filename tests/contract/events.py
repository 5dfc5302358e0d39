"""Server-sent events, parsed as the HTML standard defines them."""

from collections.abc import Iterator
from typing import Any

from tests.contract.wire import strict


def events(lines: Iterator[str]) -> Iterator[tuple[str, str]]:
    """Yield (event, data) for each event; see https://html.spec.whatwg.org/#event-stream-interpretation."""
    name = ""
    data: list[str] = []
    for line in lines:
        if not line:
            if data:
                yield name or "message", "\n".join(data)
            name, data = "", []
        elif not line.startswith(":"):
            field, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if field == "event":
                name = value
            elif field == "data":
                data.append(value)
            else:
                assert field in ("id", "retry"), f"no client reads the field {field!r}"
    assert not name and not data, "a client drops an event that no empty line ends"


def read_events(text: str) -> list[tuple[str, Any]]:
    """Return (event, parsed data) for each event of a whole stream."""
    return [(name, strict(data.encode())) for name, data in events(iter(text.splitlines()))]
