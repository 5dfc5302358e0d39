"""Doubles in base64, compared with the standard library's base64 and struct."""

import base64
import json
import math
import struct
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.engine import base64_doubles
from app.engine.base64_doubles import BrokenDoubles, length, read, write
from tests.rows import for_each

EXTREMES = [0.0, -0.0, 5e-324, -5e-324, sys.float_info.min, sys.float_info.max, -sys.float_info.max, 1.0, math.pi]
finite = st.floats(allow_nan=False, allow_infinity=False)
lists = st.lists(finite | st.sampled_from(EXTREMES), max_size=50)


def packed(numbers: list[float]) -> bytes:
    """The bytes of little-endian doubles."""
    return struct.pack(f"<{len(numbers)}d", *numbers)


def text_of(numbers: list[float]) -> bytes:
    """The numbers in base64, by the standard library."""
    return base64.b64encode(packed(numbers))


def numbers_in(text: bytes) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The numbers of a text without a fault."""
    found = read(text)
    assert isinstance(found, np.ndarray), found
    return found


@given(lists)
@example(EXTREMES)
def test_text_of_the_standard_library_is_read(numbers: list[float]) -> None:
    assert numbers_in(text_of(numbers)).tobytes() == packed(numbers)


@given(lists)
@example(EXTREMES)
def test_written_text_is_that_of_the_standard_library(numbers: list[float]) -> None:
    text = b"".join(write(np.array(numbers)))
    assert text == text_of(numbers) and len(text) == length(len(numbers))


@given(lists, st.integers(1, 100), st.integers(1, 5))
def test_parts_are_the_whole(numbers: list[float], characters: int, units: int) -> None:
    """Wherever reading pauses, and however long pieces are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(base64_doubles, "CHARACTERS_PER_CHECK", characters)
        patch.setattr(base64_doubles, "DOUBLES_PER_PIECE", 3 * units)
        assert numbers_in(text_of(numbers)).tobytes() == packed(numbers)
        pieces = list(write(np.array(numbers)))
    assert b"".join(pieces) == text_of(numbers)
    assert all(len(piece) <= length(3 * units) for piece in pieces)


ESCAPES = {
    "slash, as PHP writes it": (b"/", b"\\/"),
    "plus, as .NET writes it": (b"+", b"\\u002B"),
    "padding": (b"=", b"\\u003d"),
    "a letter": (b"A", b"\\u0041"),
}


@pytest.mark.parametrize(("character", "escape"), ESCAPES.values(), ids=ESCAPES)
@given(lists)
@example(np.frombuffer(bytes(range(240, 256)) * 15 + b"\xff" * 7 + b"\x3f", "<f8").tolist())
def test_escapes_of_json_are_read(character: bytes, escape: bytes, numbers: list[float]) -> None:
    numbers = [number for number in numbers if math.isfinite(number)]
    text = text_of(numbers).replace(character, escape)
    assert base64.b64decode(json.loads(b'"%s"' % text)) == packed(numbers)
    assert numbers_in(text).tobytes() == packed(numbers)


def test_a_text_ends_at_its_quote() -> None:
    assert numbers_in(text_of([1.0, 2.0, 3.0]) + b'", "shape": [3]').tolist() == [1.0, 2.0, 3.0]


ONE, MANY = text_of([1.0]).decode(), text_of([1.0] * 40).decode()
FAULTS: dict[str, tuple[str, str, int]] = {
    "a character of no alphabet": ("AAAA!AAA8D8=", "character", 4),
    "a letter beyond ASCII": ("AAAAé", "character", 4),
    "a null": ("AAAA\0AAA8D8=", "character", 4),
    "a minus": ("AAAA-AAA8D8=", "URL", 4),
    "an underscore": ("_AAAAAAA8D8=", "URL", 0),
    "a space": ("AAAA AAAA8D8=", "space", 4),
    "a line break": (ONE + "\n", "padding", len(ONE)),
    "a line break in the middle": (MANY[:76] + "\r\n" + MANY[76:], "space", 76),
    "no padding": (ONE.rstrip("="), "padding", 11),
    "too much padding": (ONE + "=", "padding", 13),
    "padding that is not needed": (text_of([1.0] * 3).decode() + "=", "padding", 33),
    "padding alone": ("=", "padding", 1),
    "padding in the middle": ("AA==AAAA", "padding", 4),
    "numbers behind the padding": (ONE + ONE, "padding", 12),
    "one character": ("A", "padding", 1),
    "half a double": ("AAAAAA==", "length", 8),
    "a double and a byte": ("AAAAAAAA8D8A", "length", 12),
    "bits that belong to no byte": ("AAAAAAAA8D9=", "bits", 12),
    "NaN": (text_of([1.0, math.nan]).decode(), "not finite", 1),
    "infinity": (text_of([1.0] * 30 + [math.inf]).decode(), "not finite", 30),
    "minus infinity": (text_of([-math.inf] + [1.0] * 30).decode(), "not finite", 0),
    "a signalling NaN": (base64.b64encode(struct.pack("<Q", 0x7FF0000000000001)).decode(), "not finite", 0),
    "a fault far behind": (MANY[:400] + "*" + MANY[401:], "character", 400),
    "an escape that is no character of the alphabet": ("AAAA\\n", "character", 4),
    "an escape of another letter": ("AA\\u00e9A", "character", 2),
    "a fault behind escapes": ("\\u0041\\u0041AA*", "character", 4),
}


@for_each(("text", "fault", "position"), FAULTS.values())
def test_fault_and_its_place(text: str, fault: str, position: int) -> None:
    assert read(text.encode()) == BrokenDoubles(fault, position)


@pytest.mark.parametrize("characters", [7, 8, 100])
def test_place_of_a_fault_behind_many_escapes(monkeypatch: pytest.MonkeyPatch, characters: int) -> None:
    """Characters are counted in parts, and an escape is one wherever a part ends."""
    monkeypatch.setattr(base64_doubles, "CHARACTERS_PER_CHECK", characters)
    text = "\\u0041\\/A" * 40
    assert read(f"{text}*".encode()) == BrokenDoubles("character", 3 * 40)


@given(st.lists(st.sampled_from("AB/+=8D\n-"), max_size=40).map("".join))
def test_what_is_read_is_what_the_standard_library_reads(text: str) -> None:
    """Nothing but canonical base64 of whole finite doubles is read."""
    try:
        expected = base64.b64decode(text, validate=True)
        right = base64.b64encode(expected).decode() == text and len(expected) % 8 == 0
    except ValueError:
        right = False
    found = read(text.encode())
    if right and np.isfinite(np.frombuffer(expected, "<f8")).all():
        assert isinstance(found, np.ndarray) and found.tobytes() == expected
    else:
        assert isinstance(found, BrokenDoubles)


def test_check_is_called_now_and_then_and_not_for_every_number() -> None:
    """Every few milliseconds, in which some hundred thousand numbers are read."""
    text = base64.b64encode(np.arange(600_000.0).tobytes())
    checks: list[None] = []
    found = read(text, lambda: checks.append(None))
    assert isinstance(found, np.ndarray) and len(found) == 600_000
    assert 2 <= len(checks) <= 20


def test_check_ends_the_reading() -> None:
    def stop() -> None:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        read(b"", stop)


@pytest.mark.parametrize(
    "array",
    [
        pytest.param(np.arange(12.0).reshape(3, 4), id="rows"),
        pytest.param(np.arange(12.0).reshape(3, 4).T, id="a transposed matrix"),
        pytest.param(np.arange(12.0)[::2], id="every second"),
        pytest.param(np.arange(3.0).astype(">f8"), id="big-endian"),
        pytest.param(np.broadcast_to(np.array([1.5]), (5,)), id="read-only"),
    ],
)
def test_any_layout_is_written_row_by_row(array: Any) -> None:
    assert b"".join(write(array)) == text_of(np.asarray(array).ravel().tolist())


@pytest.mark.parametrize("text", [b"A===", b"AAAAAAAA8D8=A===", b"====", b"AAAAAAAA8D8====="])
def test_three_characters_of_padding_are_none(text: bytes) -> None:
    """RFC 4648, 4: a group has at most two."""
    found = read(text)
    assert isinstance(found, BrokenDoubles) and found.fault == "padding"
