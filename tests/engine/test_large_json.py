"""Large values hold what orjson reads, whatever the size of the pieces, and are decoded no further than needed."""

import json
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.engine import large_json
from app.engine.interruption import never
from app.engine.large_json import LargeList, LargeObject, LargeString, Sizes, decode, whole
from tests.rows import for_each

TINY = Sizes(piece=20, container=5, string=6, key=7, passed=4)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every text is large."""
    monkeypatch.setattr(large_json, "SIZES", TINY)


STRINGS = st.text(max_size=30)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**12), 10**12) | st.floats(allow_nan=False, allow_infinity=False) | STRINGS,
    lambda values: st.lists(values, max_size=8) | st.dictionaries(st.text(max_size=4), values, max_size=8),
    max_leaves=40,
)
LAYOUTS = st.sampled_from(
    [
        lambda value: json.dumps(value),
        lambda value: json.dumps(value, ensure_ascii=False),
        lambda value: json.dumps(value, indent=3),
        lambda value: " " + json.dumps(value, separators=(" ,\n", "\t: ")) + "  ",
    ]
)


@given(VALUES, LAYOUTS, st.builds(Sizes, *[st.integers(1, 40)] * 5))
def test_pieces_hold_what_orjson_reads(value: Any, layout: Any, sizes: Sizes) -> None:
    text = layout(value).encode("utf-8", "surrogatepass")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(large_json, "SIZES", sizes._replace(key=100))
        assert whole(decode(text, (), never)) == orjson.loads(text)


@pytest.mark.usefixtures("tiny")
@for_each("kind", ['"%s"', '["%s"]', '{"a": "%s"}', '{"a": ["%s", 1], "b": 2}'])
@for_each("text", ['\\"' * 20, "\\\\" * 20, "\\u00e9" * 20, "\\ud83d\\ude00" * 20, "é😀" * 10, "[{,:" * 9, " " * 40, ""])
def test_strings_are_cut_between_characters(kind: str, text: str) -> None:
    body = (kind % text).encode()
    assert whole(decode(body, (), never)) == orjson.loads(body)


@pytest.mark.parametrize("text", ["[ ]", "{ }", "[[ ], { }, 1]", '{"a": [ ], "b": { }, "c": [{ }]}', " [ { } , [ ] ] "])
@pytest.mark.usefixtures("tiny")
def test_nothing_but_space_is_an_empty_value(text: str) -> None:
    body = text.replace(" ", " " * 50).encode()
    assert whole(decode(body, (), never)) == orjson.loads(body)


@pytest.mark.parametrize("size", [50, 1000])
@pytest.mark.parametrize(
    "kind",
    ["%s", "[%s]", "[[1, %s]]", '{"a": %s}', '{"a": {"b": %s}}', '[{"a": [[2, %s], 3]}]', '{"a": [0, {"b": [%s]}], "c": %s}'],
)
def test_tokens_are_what_they_stand_for_however_deep(monkeypatch: pytest.MonkeyPatch, kind: str, size: int) -> None:
    """In texts that are read at once and in pieces."""
    monkeypatch.setattr(large_json, "SIZES", Sizes(piece=size, container=50, string=50, key=50, passed=4))
    bulk: Any = ["first", "second"]  # in place of arrays, which cannot be compared so easily
    count = kind.count("%s")
    tokens = tuple(f'"{large_json.TOKEN}{k}"' for k in range(count))
    found = whole(decode((kind % tokens).encode(), bulk, never))
    assert found == json.loads(kind % tuple(f'"{word}"' for word in bulk[:count]))


@pytest.mark.parametrize("name", ["x" * 30, "\\u00e9" * 9, "é" * 20, '\\"' * 9])
@pytest.mark.usefixtures("tiny")
def test_long_names_are_cut(name: str) -> None:
    text = b'{"a": 1, "%s" : [1, 2, 3, 4], "b": 2}' % name.encode()
    first, long, last = whole(decode(text, (), never)).items()
    assert (first, last) == (("a", 1), ("b", 2))
    assert len(long[0]) >= 1 and json.loads(f'"{name}"').startswith(long[0]) and long[1] == [1, 2, 3, 4]


@pytest.mark.usefixtures("tiny")
def test_last_of_two_names_counts_and_keeps_the_first_place() -> None:
    text = b'{"a": 1, "b": [%s], "c": 3, "a": 4, "b": "%s"}' % (b" " * 100, b"x" * 100)
    assert list(whole(decode(text, (), never)).items()) == list(orjson.loads(text).items())


@pytest.mark.usefixtures("tiny")
def test_fields_are_the_known_ones_and_some_others() -> None:
    names = [f"k{k}" for k in range(100)]
    value = decode(json.dumps({name: k for k, name in enumerate(names)} | {"k0": 5}).encode(), (), never)
    assert isinstance(value, LargeObject)
    assert list(value.fields({"k50", "k99"}, 3)) == ["k0", "k1", "k2", "k50", "k99"]
    twice = decode(b'{"u": 1, "v": 2, "w": 3, "u": 4, "k": 5}', (), never)
    assert isinstance(twice, LargeObject) and twice.fields({"k"}, 1) == {"u": 4, "k": 5}


@pytest.mark.usefixtures("tiny")
def test_other_field_that_comes_again_counts_once() -> None:
    known = {f"k{k}": k for k in range(20)}
    text = (
        json.dumps({"u": 1, **known})[:-1]
        + ', "u": 4, '
        + json.dumps({f"l{k}": k for k in range(20)})[1:-1]
        + ', "v": 2, "w": 3}'
    )
    value = decode(text.encode(), (), never)
    assert isinstance(value, LargeObject)
    found = value.fields(known | {f"l{k}": k for k in range(20)}, 2)
    assert {name: found.get(name) for name in "uvw"} == {"u": 4, "v": 2, "w": None}


LONG: dict[str, bytes] = {
    "short entries": b"[%s]" % b",".join([b"{}"] * 10_000),
    "long entries": b"[%s]" % b",".join([b"[%s]" % b",".join([b'""'] * 100)] * 100),
    "names": b"{%s}" % b",".join(b'"%d":1' % k for k in range(5000)),
    "one entry": b'{"a":[%s]}' % b",".join([b"[]"] * 10_000),
    "a string": b'["%s"]' % (b"x" * 30_000),
}


@pytest.mark.parametrize("text", LONG.values(), ids=LONG)
def test_nothing_long_is_decoded_at_once(monkeypatch: pytest.MonkeyPatch, text: bytes) -> None:
    monkeypatch.setattr(large_json, "SIZES", Sizes(piece=1000, container=300, string=300, key=100, passed=1000))
    lengths: list[int] = []
    loads = large_json._loads

    def noted(piece: Any, *arguments: Any) -> Any:
        lengths.append(len(piece))
        return loads(piece, *arguments)

    monkeypatch.setattr(large_json, "_loads", noted)
    assert whole(decode(text, (), never)) == orjson.loads(text)
    assert lengths and max(lengths) < 1500


@pytest.mark.parametrize("text", LONG.values(), ids=LONG)
def test_check_stops_the_decoding(monkeypatch: pytest.MonkeyPatch, text: bytes) -> None:
    monkeypatch.setattr(large_json, "SIZES", Sizes(piece=1000, container=300, string=300, key=100, passed=1000))
    checks = iter(range(10))

    def check() -> None:
        if next(checks) == 9:
            raise TimeoutError

    with pytest.raises(TimeoutError):
        whole(decode(text, (), check))


@pytest.mark.parametrize("text", LONG.values(), ids=LONG)
def test_check_is_called_while_a_value_is_passed_over(monkeypatch: pytest.MonkeyPatch, text: bytes) -> None:
    """Before anything is decoded, the end of the value is looked for."""
    monkeypatch.setattr(large_json, "SIZES", Sizes(piece=1000, container=300, string=300, key=100, passed=1000))
    checks: list[None] = []
    decode(text, (), lambda: checks.append(None))
    assert len(text) // 1000 - 2 <= len(checks) <= len(text) // 1000 + 2


def test_check_stops_the_decoding_of_a_string(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_json, "SIZES", Sizes(piece=1000, container=300, string=300, key=100, passed=1000))
    checks: list[None] = []
    value = LargeString(memoryview(b'"%s"' % (b"x" * 30_000)), (), lambda: checks.append(None))
    assert value.characters() == "x" * 30_000
    assert len(checks) >= 30, "before each piece of a thousand bytes"


def test_pieces_that_nobody_asks_for_are_not_decoded() -> None:
    def checks() -> Iterator[None]:
        yield from [None] * 100

    left = checks()
    value = decode(b"[%s]" % b",".join([b"{}"] * 1_000_000), (), lambda: next(left))
    assert isinstance(value, LargeList) and value.first(3) == [{}, {}, {}]
    assert len(list(left)) > 95


@pytest.mark.parametrize("count", [0, 1, 3, 7, 99, 100, 101])
@pytest.mark.usefixtures("tiny")
def test_first_entries_are_no_more_than_asked_for(count: int) -> None:
    """A piece may hold more."""
    value = decode(json.dumps(list(range(100))).encode(), (), never)
    assert isinstance(value, LargeList)
    assert value.first(count) == list(range(100))[:count]
