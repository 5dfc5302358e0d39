"""Large responses: the bytes of a small one, in pieces."""

import base64
import gzip
import json
from collections import deque
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.engine.gradients import Gradients, Tables
from app.service import pieces as module
from app.service.bodies import encode
from app.service.models import ABSENT, Arrays, ResponseModel
from app.service.pieces import LEAST_BYTES, compress, grouped, pieces


class Answer(ResponseModel):
    """A value, and perhaps its parts."""

    value: Any
    parts: list["Answer"] = ABSENT


def go_on() -> None:
    """A check that never ends the work."""


class Rows:
    """A list of dicts that are made when they are written."""

    def __init__(self, numbers: list[float]) -> None:
        self.numbers = numbers

    def __len__(self) -> int:
        return len(self.numbers)

    def json_rows(self, low: int, high: int) -> list[Any]:
        return [{"x": number} for number in self.numbers[low:high]]


class Squares:
    """A value that says itself how it looks in JSON."""

    def __init__(self, count: int) -> None:
        self.count = count

    def json_form(self) -> Any:
        return [k * k for k in range(self.count)]


floats = st.floats(allow_nan=False, allow_infinity=False)
arrays = st.tuples(st.lists(st.integers(0, 40), min_size=1, max_size=3), st.integers(0, 2**32 - 1)).map(
    lambda drawn: np.random.default_rng(drawn[1]).normal(size=drawn[0])
)
integers = st.lists(st.integers(-(2**53), 2**53), max_size=40).map(lambda drawn: np.array(drawn, np.int64))
leaves: st.SearchStrategy[Any] = integers | floats | st.none() | st.booleans() | st.text(max_size=200) | arrays


def table_of(rows: int, columns: int, points: tuple[int, ...]) -> Tables[str, Any]:
    """Gradient tables of any size, at one point or several."""
    matrix = np.random.default_rng(rows).normal(size=(rows, columns, *points))
    return Tables([f"f{k}" for k in range(rows)], [f"x{k}" for k in range(columns)], matrix)


tables = st.builds(table_of, st.integers(0, 9), st.integers(0, 9), st.sampled_from([(), (3,)]))
tables_of_numbers: st.SearchStrategy[Any] = st.builds(
    lambda size, more: Gradients.of({f"x{k}": k * (1 + more) for k in range(size)}, np.arange(size * (1.0 + more))),
    st.integers(0, 50),
    st.integers(0, 1),
)
leaves = leaves | tables | tables_of_numbers | st.lists(floats, max_size=50).map(Rows) | st.integers(0, 50).map(Squares)
values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=8)
        | st.dictionaries(st.text(max_size=8), inner, max_size=8)
        | inner.map(lambda value: Answer(value=value))
    ),
    max_leaves=20,
)


@pytest.mark.parametrize("form", ["list", "base64"])
@pytest.mark.parametrize("size", [4, 5, 16])
@given(answer=values)
def test_pieces_are_the_whole(size: int, form: Arrays, answer: Any) -> None:
    """Whatever the size of a piece is, together they are the bytes that are written at once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "PIECE_ENTRIES", size)
        parts = list(pieces(answer, go_on, form))
    assert b"".join(parts) == encode(answer, form)


@pytest.mark.parametrize("form", ["list", "base64"])
@pytest.mark.parametrize("shape", [(100,), (50, 2), (2, 50)])
def test_pieces_of_integers_are_a_list(monkeypatch: pytest.MonkeyPatch, form: Arrays, shape: tuple[int, ...]) -> None:
    monkeypatch.setattr(module, "PIECE_ENTRIES", 16)
    rows = np.arange(100).reshape(shape)
    assert json.loads(b"".join(pieces(Answer(value=rows), go_on, form))) == {"value": rows.tolist()}


def as_lists(value: Any) -> Any:
    """A decoded response with lists in place of base64."""
    if isinstance(value, list):
        return list(map(as_lists, value))
    if not isinstance(value, dict):
        return value
    if "float64" not in value:
        return {name: as_lists(entry) for name, entry in value.items()}
    numbers = np.frombuffer(base64.b64decode(value["float64"], validate=True), "<f8")
    return numbers.reshape(value.get("shape", -1)).tolist()


@given(values)
def test_base64_holds_the_numbers_of_the_lists(answer: Any) -> None:
    assert as_lists(json.loads(encode(answer, "base64"))) == json.loads(encode(answer))


def test_form_of_arrays_in_base64() -> None:
    """Arrays of floats are encoded, with a shape if they have rows; all other numbers are as in lists."""
    answer = Answer(value={"a": np.array([1.0, 2.0]), "b": np.array([[1.0], [2.0]]), "rows": np.array([1, 2]), "list": [1.0]})
    expected = {
        "a": {"float64": "AAAAAAAA8D8AAAAAAAAAQA=="},
        "b": {"float64": "AAAAAAAA8D8AAAAAAAAAQA==", "shape": [2, 1]},
        "rows": [1, 2],
        "list": [1.0],
    }
    assert json.loads(encode(answer, "base64"))["value"] == expected


def longest(answer: Any, form: Arrays = "list") -> int:
    return max(map(len, pieces(answer, go_on, form)))


NUMBERS = np.random.default_rng(0).normal(size=(2000, 100))
NAMES = [f"x{k}" for k in range(2000)]
LARGE: dict[str, Any] = {
    "Jacobian": Tables(NAMES, NAMES[:100], NUMBERS),
    "Jacobian at many points": Tables(NAMES[:20], NAMES[:10], NUMBERS.reshape(20, 10, 1000)),
    "gradients": Gradients.of({f"x{k}": k for k in range(200_000)}, NUMBERS.ravel()),
    "array": NUMBERS.ravel(),
    "rows": NUMBERS,
    "one long row": NUMBERS.reshape(1, -1),
    "list": NUMBERS.ravel().tolist(),
    "tuple": tuple(NUMBERS.ravel().tolist()),
    "table": {f"x{k}": row for k, row in enumerate(NUMBERS)},
    "table of tables": {f"x{k}": {f"x{j}": x for j, x in enumerate(row)} for k, row in enumerate(NUMBERS.tolist())},
    "numbers before an array": {"a": 0.0, "b": NUMBERS.ravel()},
    "rows made when they are written": Rows(NUMBERS.ravel().tolist()),
    "models": [Answer(value=row) for row in NUMBERS],
    "texts": ["x" * 1000] * 8000,
    "long texts": ["x" * 1_900_000] * 8,
    "its own form": Squares(200_000),
}


@pytest.mark.parametrize("answer", LARGE.values(), ids=LARGE)
def test_no_piece_is_large(answer: Any) -> None:
    """A number takes up to 25 bytes; the key and brackets around one are not counted."""
    assert longest(Answer(value=answer)) < 64 * module.PIECE_ENTRIES
    assert len(list(pieces(answer, go_on))) > 5


@pytest.mark.parametrize("name", ["array", "rows", "one long row", "Jacobian at many points"])
def test_no_piece_in_base64_is_large(name: str) -> None:
    """An array of 1.6 MB, 2.1 in base64, comes in pieces of one."""
    assert longest(Answer(value=LARGE[name]), "base64") < 1_500_000


@pytest.mark.parametrize("name", ["array", "rows", "one long row"])
def test_check_is_called_for_each_piece_in_base64(name: str) -> None:
    """Pieces that hold more than punctuation."""
    checks: deque[None] = deque()
    sizes = [len(piece) for piece in pieces(Answer(value=LARGE[name]), lambda: checks.append(None), "base64")]
    assert len(checks) >= sum(size > 100 for size in sizes) >= 3


@pytest.mark.parametrize("answer", LARGE.values(), ids=LARGE)
def test_check_ends_the_writing(answer: Any) -> None:
    checks: deque[None] = deque()

    def stop_at_the_third() -> None:
        checks.append(None)
        if len(checks) == 3:
            raise TimeoutError

    written = []
    with pytest.raises(TimeoutError):
        for piece in pieces(Answer(value=answer), stop_at_the_third):
            written.append(piece)
    assert len(b"".join(written)) < len(encode(answer)) / 2


def test_short_texts_share_a_piece() -> None:
    """A piece holds about as many bytes of texts as of numbers."""
    assert len(list(pieces(Answer(value=["x" * 100] * 30_000), go_on))) < 20


def test_long_text_is_a_text() -> None:
    """And not a list of its characters."""
    text = 'é"' * (module.PIECE_ENTRIES * module.CHARACTERS_PER_ENTRY)
    for answer in (Answer(value=text), Answer(value=[text, 1.5]), Answer(value={"source": text})):
        assert b"".join(pieces(answer, go_on)) == encode(answer)


def test_small_answer_is_one_piece() -> None:
    assert list(pieces(Answer(value=[1.0, 2.0]), go_on)) == [b'{"value":[1.0,2.0]}']


# --- compression


@given(st.lists(st.binary(max_size=3000), max_size=4))
def test_compressed_response_can_be_read_and_is_always_the_same(content: list[bytes]) -> None:
    packed = b"".join(compress(content, go_on))
    assert gzip.decompress(packed) == b"".join(content)
    assert packed == b"".join(compress(content, go_on))


def test_compressed_response_has_no_time_of_day() -> None:
    """RFC 1952: the four bytes of the time are 0 where there is none."""
    assert b"".join(compress([b"x" * 2000], go_on))[4:8] == bytes(4)


def test_check_ends_the_compression() -> None:
    def stop() -> None:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        list(compress([b"x"], stop))


@given(st.lists(st.sampled_from([0, 1, 100, LEAST_BYTES // 2, LEAST_BYTES - 1, LEAST_BYTES, 3 * LEAST_BYTES]), max_size=12))
def test_short_pieces_of_a_file_are_put_together(sizes: list[int]) -> None:
    content = [bytes([k]) * size for k, size in enumerate(sizes)]
    found = list(grouped(iter(content)))
    assert b"".join(found) == b"".join(content)
    assert all(len(piece) < max([2 * LEAST_BYTES, *(size + 1 for size in sizes)]) for piece in found)
    assert all(len(a) + len(b) >= LEAST_BYTES for a, b in zip(found, found[1:], strict=False)) and all(found)


def test_short_pieces_are_put_together_until_they_are_long_enough() -> None:
    """And no further: else a file of short pieces would be one piece, with all its memory at once."""
    count, size = 100, LEAST_BYTES // 3 + 1
    groups = [len(group) for group in grouped([b"x" * size] * count)]
    assert groups == [3 * size] * (count // 3) + [size]


def test_array_of_many_dimensions_is_written_in_smaller_pieces() -> None:
    """orjson takes as long for one of its numbers as for as many others as there are dimensions."""
    deep = np.arange(4096.0).reshape(4096, *(1,) * 31)
    written = list(pieces(Answer(value=deep), go_on))
    assert b"".join(written) == encode(Answer(value=deep))
    assert max(piece.count(b".") for piece in map(bytes, written)) <= module.PIECE_ENTRIES // 32
