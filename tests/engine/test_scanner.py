"""Bulk values are taken out of any JSON text, and put back they give what Python's json module reads."""

import base64
import json
import math
import random
import string
import struct
from decimal import Decimal
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.engine import scanner
from app.engine.scanner import (
    MAX_DEPTH,
    MIN_BROKEN,
    MIN_BULK,
    BrokenList,
    NodesText,
    NumberList,
    NumberRows,
    NumberText,
    Scan,
    scan,
)
from tests.rows import for_each

TOKEN = "no client can know this "


def scanned(text: str | bytes) -> Scan:
    """The scan of a text that is JSON."""
    found = scan(text.encode() if isinstance(text, str) else text, TOKEN)
    assert found is not None
    return found


def substituted(value: Any, found: Scan) -> Any:
    """A decoded skeleton with the bulk values put back."""
    if isinstance(value, dict):
        return {key: substituted(entry, found) for key, entry in value.items()}
    if isinstance(value, list):
        return [substituted(entry, found) for entry in value]
    if not isinstance(value, str) or not value.startswith(TOKEN):
        return value
    bulk = found.bulk[int(value.removeprefix(TOKEN))]
    if isinstance(bulk, NumberList):
        return bulk.values.tolist()
    if isinstance(bulk, NumberRows):
        return [row.tolist() for row in np.split(bulk.values, bulk.starts[1:-1])]
    if isinstance(bulk, NumberText):
        assert base64.b64decode(json.loads(bytes(bulk.text)), validate=True) == bulk.values.tobytes()
    else:
        assert isinstance(bulk, NodesText)
    return json.loads(bytes(bulk.text))


def restored(text: str | bytes) -> Any:
    """What a text holds, read by way of its scan."""
    found = scanned(text)
    return substituted(orjson.loads(found.skeleton), found)


def same(value: Any, other: Any) -> bool:
    """Whether two decoded texts are equal, an integer being equal to the double nearest to it."""
    if isinstance(value, dict):
        return isinstance(other, dict) and list(value) == list(other) and all(same(value[k], other[k]) for k in value)
    if isinstance(value, list):
        return isinstance(other, list) and len(value) == len(other) and all(map(same, value, other))
    if isinstance(value, bool) or not isinstance(value, int | float):
        return type(value) is type(other) and bool(value == other)
    return isinstance(other, int | float) and not isinstance(other, bool) and float(value) == float(other)


def encoded(numbers: list[float]) -> str:
    """A JSON string of numbers in base64."""
    return json.dumps(base64.b64encode(np.array(numbers, "<f8").tobytes()).decode())


def list_text(*elements: object, numbers: int = 0) -> str:
    """A list that begins with so many numbers and goes on with the elements, each a piece of JSON."""
    return f"[{','.join([*map(str, range(numbers)), *map(str, elements)])}]"


# --- what is bulk


def test_a_list_of_sixteen_numbers_is_bulk() -> None:
    found = scanned(f'{{"x": {list_text(numbers=16)}, "y": {list_text(numbers=15)}}}')
    assert bytes(found.skeleton).decode() == f'{{"x": "{TOKEN}0", "y": {list_text(numbers=15)}}}'
    [bulk] = found.bulk
    assert isinstance(bulk, NumberList)
    assert bulk.values.dtype == np.float64 and bulk.values.tolist() == list(range(16))
    assert not bulk.values.flags.writeable


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param([[1] * 8, [2] * 8], id="two rows of eight"),
        pytest.param([[1] * 15, [2]], id="rows of unlike length"),
        pytest.param([[], [1] * 16, [], []], id="empty rows"),
        pytest.param([[k] for k in range(5000)], id="many rows of one number"),
    ],
)
def test_rows_of_numbers_are_bulk(rows: list[list[int]]) -> None:
    found = scanned(json.dumps([None, rows]))
    [bulk] = found.bulk
    assert isinstance(bulk, NumberRows) and bytes(found.skeleton).decode() == f'[null, "{TOKEN}0"]'
    assert bulk.starts.dtype == np.int64 and bulk.starts.tolist() == [0, *np.cumsum([len(row) for row in rows]).tolist()]
    assert bulk.values.tolist() == [number for row in rows for number in row]
    assert not bulk.values.flags.writeable and not bulk.starts.flags.writeable


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("[]", id="an empty list"),
        pytest.param(list_text(numbers=15), id="fifteen numbers"),
        pytest.param(json.dumps([[1] * 7, [2] * 8]), id="fifteen numbers in rows"),
        pytest.param(list_text("null", numbers=40), id="a null at the end"),
        pytest.param(list_text('"1"', numbers=40), id="a string at the end"),
        pytest.param(list_text("true", numbers=40), id="a boolean at the end"),
        pytest.param(list_text("[1]", numbers=40), id="a row at the end"),
        pytest.param(list_text("{}", numbers=40), id="an object at the end"),
        pytest.param(json.dumps([[k] for k in range(40)] + [1]), id="rows and a number"),
        pytest.param(json.dumps([[k, None] for k in range(40)]), id="rows with nulls"),
        pytest.param('"[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]"', id="a string that looks like a list"),
        pytest.param("1", id="a number"),
        pytest.param('{"edges": [{"a": 1}], "nodes": {}, "node": []}', id="no list named nodes"),
    ],
)
def test_everything_else_stays_in_the_skeleton(text: str) -> None:
    found = scanned(text)
    assert len(found.bulk) == 0 and found.skeleton == text.encode()


def test_one_row_is_a_list_within_a_list() -> None:
    found = scanned(json.dumps([[1] * 20]))
    assert bytes(found.skeleton).decode() == f'["{TOKEN}0"]' and isinstance(found.bulk[0], NumberList)


@pytest.mark.parametrize(
    "nodes",
    [
        "[]",
        "[1]",
        '[{"id": "x", "op": "value", "data": 1}]',
        '[{"id": "]", "label": "\\"]\\\\"}, [[]], {"nodes": [2]}, "é", -1.5e-3, true, false, null]',
        list_text(numbers=40),
        json.dumps([[1] * 20] * 3),
    ],
)
def test_the_list_of_a_key_named_nodes_is_kept_as_text(nodes: str) -> None:
    text = f'{{"expression" : {{ "nodes" : {nodes} , "output": "y"}}, "x": 1}}'
    found = scanned(text)
    assert bytes(found.skeleton).decode() == f'{{"expression" : {{ "nodes" : "{TOKEN}0" , "output": "y"}}, "x": 1}}'
    [bulk] = found.bulk
    assert isinstance(bulk, NodesText) and bytes(bulk.text) == nodes.encode()


def test_the_doubles_of_a_key_named_float64_are_bulk() -> None:
    numbers = [k / 7 for k in range(MIN_BULK)]
    found = scanned(f'{{"x": {{"float64" : {encoded(numbers)} , "shape": [8, 2]}}}}')
    assert bytes(found.skeleton).decode() == f'{{"x": {{"float64" : "{TOKEN}0" , "shape": [8, 2]}}}}'
    [bulk] = found.bulk
    assert isinstance(bulk, NumberText) and bulk.values.tolist() == numbers and not bulk.values.flags.writeable
    assert bytes(bulk.text).decode() == encoded(numbers)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(f'{{"float64": {encoded([1.0] * 15)}}}', id="fifteen doubles"),
        pytest.param(f'{{"float32": {encoded([1.0] * 40)}}}', id="another key"),
        pytest.param(f'["float64", {encoded([1.0] * 40)}]', id="no key"),
        pytest.param(f'{{"float64": [{encoded([1.0] * 40)}]}}', id="in a list"),
        pytest.param(f'{{"float64": {encoded([1.0] * 40 + [math.nan])}}}', id="NaN at the end"),
        pytest.param(f'{{"float64": "{encoded([1.0] * 40)[1:-2]}"}}', id="no padding"),
        pytest.param(f'{{"float64": "{encoded([1.0] * 40)[1:-1]}A"}}', id="something behind the padding"),
        pytest.param('{"float64": "2*x"}', id="another text"),
    ],
)
def test_other_strings_stay_in_the_skeleton(text: str) -> None:
    found = scanned(text)
    assert len(found.bulk) == 0 and found.skeleton == text.encode()


def test_bulk_values_are_numbered_in_order() -> None:
    numbers = list_text(numbers=MIN_BULK)
    found = scanned(f'[{numbers}, {{"nodes": []}}, {numbers}, [[1, 2], {numbers}]]')
    skeleton = f'["{TOKEN}0", {{"nodes": "{TOKEN}1"}}, "{TOKEN}2", "{TOKEN}3"]'
    assert bytes(found.skeleton).decode() == skeleton
    assert [type(bulk) for bulk in found.bulk] == [NumberList, NodesText, NumberList, NumberRows]


@pytest.mark.parametrize("token", ['"', "\\", "\n", "é", "a\x00"], ids=ascii)
def test_a_token_that_needs_an_escape_is_refused(token: str) -> None:
    with pytest.raises(ValueError, match="printable ASCII"):
        scan(b"[]", token)


# --- broken lists


@pytest.mark.parametrize(
    ("element", "found"),
    [
        ('"1"', "string"),
        ("true", "boolean"),
        ("false", "boolean"),
        ("null", "null"),
        ("[1]", "list"),
        ('{"a": [1, {}]}', "object"),
        ("1e999", "number out of range"),
        ("-1e400", "number out of range"),
        ("1" + "0" * 400, "number out of range"),
    ],
)
class TestBrokenLists:
    """A list of 1,000 numbers or more that holds something else never becomes Python objects."""

    def test_a_long_list(self, element: str, found: str) -> None:
        text = list_text(element, '"]"', "[[1, 2], {}]", "null", numbers=MIN_BROKEN)
        result = scanned(f'{{"x": {text}, "y": 1}}')
        assert list(result.bulk) == [BrokenList(MIN_BROKEN, found)]
        assert result.bulk[0].place == (MIN_BROKEN,)  # type: ignore[union-attr]
        assert bytes(result.skeleton).decode() == f'{{"x": "{TOKEN}0", "y": 1}}'

    def test_a_shorter_list(self, element: str, found: str) -> None:
        text = list_text(element, numbers=MIN_BROKEN - 1)
        result = scan(text.encode(), TOKEN)
        if found == "number out of range":
            assert result is None
        else:
            assert result is not None and len(result.bulk) == 0 and result.skeleton == text.encode()

    def test_a_row(self, element: str, found: str) -> None:
        text = f"[[1, 2], [3], {list_text(element, '5', numbers=MIN_BROKEN)}, [1], true]"
        result = scanned(text)
        assert list(result.bulk) == [BrokenList(2, found, MIN_BROKEN, rows=True)]
        assert result.bulk[0].place == (2, MIN_BROKEN)  # type: ignore[union-attr]
        assert bytes(result.skeleton).decode() == f'"{TOKEN}0"'

    def test_a_row_behind_other_bulk(self, element: str, found: str) -> None:
        """The place is counted from the beginning of the list, whatever was read before it."""
        row = list_text(element, numbers=MIN_BROKEN)
        result = scanned(f"[{list_text(numbers=20)}, [[1, 2], {list_text(numbers=20)}], [[1, 2], [3], {row}]]")
        assert result.bulk[-1] == BrokenList(2, found, MIN_BROKEN, rows=True)

    def test_something_in_place_of_a_row(self, element: str, found: str) -> None:
        row = f"[{list_text(numbers=MIN_BROKEN)}, [], {element}, [1]]"
        kind = {"number out of range": "number"}.get(found, found)
        assert (list(scanned(row).bulk) == [BrokenList(2, kind, rows=True)]) == (found != "list")

    def test_what_follows_must_be_json_too(self, element: str, found: str) -> None:
        for rest in ("nul]", "1}", "1", "1,]", '"]', "01]", "[1}]", "1 2]", '{"a"}]', '"\xff"]'):
            text = list_text(element, numbers=MIN_BROKEN)[:-1] + "," + rest
            assert scan(text.encode("latin-1"), TOKEN) is None, rest


def test_a_number_that_only_python_can_tell_to_be_out_of_range() -> None:
    """1.7976931348623158e308 rounds to infinity from half a unit above the largest double; here 19 digits do not decide."""
    largest = 2**1024 - 2**970
    over, under = str(largest), str(largest - 1)
    assert math.isinf(float(over)) and not math.isinf(float(under))
    assert scanned(list_text(under, numbers=20)).bulk[0].values[-1] == float(under)  # type: ignore[union-attr]
    assert list(scanned(list_text(over, 1, numbers=20)).bulk) == [BrokenList(20, "number out of range")]
    rows = f"[[], {list_text(numbers=20)}, [], [1, {over}], [2]]"
    assert list(scanned(rows).bulk) == [BrokenList(3, "number out of range", 1, rows=True)]
    rows = f"[[], {list_text(numbers=20)}, [], [{over}, 1], [2]]"
    assert list(scanned(rows).bulk) == [BrokenList(3, "number out of range", 0, rows=True)]


def test_a_number_out_of_range_breaks_its_own_list_alone() -> None:
    over = str(2**1024 - 2**970)
    found = scanned(f'{{"a": {list_text(numbers=20)}, "b": {list_text(over, *range(20))}, "c": {list_text(numbers=20)}}}').bulk
    assert [type(bulk) for bulk in found] == [NumberList, BrokenList, NumberList]


# --- any text


NUMBERS = st.one_of(
    st.integers(-(10**25), 10**25).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.floats(allow_nan=False, allow_infinity=False).map(lambda x: f"{x:.30e}"),
    st.sampled_from(["-0", "-0.0", "0e5", "1E+2", "5e-324", "1e-999", "123456789012345678901234567890.5"]),
)
STRINGS = st.text(max_size=5).map(json.dumps) | st.text('é€😀\x7f]}"\\,', max_size=5).map(
    lambda text: json.dumps(text, ensure_ascii=False)
)
SPACE = st.sampled_from(["", "", "", " ", "\n\t", "\r\n  "])


def listed(elements: st.SearchStrategy[str], min_size: int = 0, max_size: int = 4) -> st.SearchStrategy[str]:
    """Lists of these elements, in any layout."""
    separated = st.tuples(SPACE, elements, SPACE).map("".join)
    joined = st.lists(separated, min_size=min_size, max_size=max_size).map(",".join)
    return st.tuples(SPACE, joined).map(lambda parts: f"[{parts[0]}{parts[1]}]")


def extended(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Lists and objects of these values."""
    keys = st.sampled_from(['"nodes"', '"float64"', '"float64"', '"a"', '"n\\u006fdes"', '""', '"é"']) | STRINGS
    entries = st.dictionaries(keys, values, max_size=4)
    return listed(values, max_size=4) | entries.map(lambda d: "{" + " , ".join(f"{k} : {v}" for k, v in d.items()) + "}")


BULK = listed(NUMBERS, min_size=14, max_size=40) | listed(listed(NUMBERS, max_size=12), min_size=1, max_size=8)
ENCODED = st.tuples(
    st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=14, max_size=40), st.sampled_from(["/", "\\/"])
).map(lambda drawn: encoded(drawn[0]).replace("/", drawn[1]))
TEXTS = st.recursive(NUMBERS | STRINGS | ENCODED | st.sampled_from(["true", "false", "null"]) | BULK, extended, max_leaves=12)


def accepts(text: bytes) -> bool:
    """Whether orjson reads a text."""
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True


@given(TEXTS)
def test_bulk_put_back_into_the_skeleton_is_what_json_reads(text: str) -> None:
    if accepts(text.encode()):
        assert same(restored(text), json.loads(text))


@st.composite
def changed_texts(draw: st.DrawFn) -> bytes:
    """Texts with bytes replaced, inserted or left out, or cut off anywhere."""
    raw = bytearray(draw(TEXTS).encode())
    for _ in range(draw(st.integers(1, 3))):
        if not raw:
            break
        place = draw(st.integers(0, len(raw) - 1))
        byte = draw(st.sampled_from(b'[]{}",:-.0123456789eE+ntfadu\\ \n\x00\x7f\x80\xc3\xff'))
        kind = draw(st.sampled_from(["replace", "insert", "delete", "cut"]))
        if kind == "replace":
            raw[place] = byte
        elif kind == "insert":
            raw.insert(place, byte)
        elif kind == "delete":
            del raw[place]
        else:
            del raw[place:]
    return bytes(raw)


@given(changed_texts())
@example(b'"\\ud83d\\ude00"')
@example(b'"\\ud83d"')
@example(b'"\\ude00"')
@example(b'"\\ud83d\\u0041"')
@example(b'"\\ud83d\\ud83d\\ude00"')
@example(b"[1e999]")
@example(b'{"nodes": [1e999]}')
def test_a_changed_text_is_refused_or_read_as_json_reads_it(changed: bytes) -> None:
    found = scan(changed, TOKEN)
    assert (found is not None) == accepts(changed)
    if found is not None:
        assert same(restored(changed), json.loads(changed))


# --- in parts


@given(TEXTS.map(str.encode) | changed_texts(), st.integers(1, 20))
def test_pauses_change_nothing(text: bytes, size: int) -> None:
    """However often the scan pauses, within lists, rows, strings and keys."""
    whole = scan(text, TOKEN)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scanner, "BYTES_PER_CHECK", size)
        paused = scan(text, TOKEN)
    assert (whole is None) == (paused is None)
    if whole is not None and paused is not None:
        assert paused.skeleton == whole.skeleton
        assert same(substituted(orjson.loads(paused.skeleton), paused), substituted(orjson.loads(whole.skeleton), whole))


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(json.dumps([0.1 * k for k in range(40)]), id="list"),
        pytest.param(json.dumps([[k, k + 0.5, -k] for k in range(12)]), id="rows"),
        pytest.param(f'{{"float64": {encoded([0.1 * k for k in range(40)])}}}', id="doubles"),
        pytest.param(json.dumps([*range(MIN_BROKEN), "x", 1]), id="list that breaks off"),
        pytest.param(json.dumps([*[[k, 1] for k in range(MIN_BROKEN)], "x", [1]]), id="rows that break off"),
        pytest.param(json.dumps([*[[k, 1] for k in range(MIN_BROKEN)], [1, "x"], [1]]), id="row that breaks off"),
        pytest.param(json.dumps({"nodes": [{"id": f"n{k}", "op": "value", "data": k} for k in range(20)]}), id="nodes"),
    ],
)
@pytest.mark.parametrize("size", [1, 2, 3, 7, 20])
def test_pauses_within_bulk_change_nothing(text: str, size: int) -> None:
    (whole,) = scanned(text).bulk
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scanner, "BYTES_PER_CHECK", size)
        paused = scanned(text)
    assert len(paused.bulk) == 1
    if isinstance(whole, BrokenList):
        assert paused.bulk[0] == whole
    else:
        assert same(substituted(orjson.loads(paused.skeleton), paused), json.loads(text))


@given(changed_texts(), st.integers(1, 20))
@example(b'{"a": [1, 2, 3], "b" 1}', 3)
@example(b'{"a": 1} x', 3)
@example(b"[]0]", 1)
@example(b"[{}, ]", 1)
@example(b'{"a": }', 1)
def test_fault_is_found_without_what_precedes_it(changed: bytes, size: int) -> None:
    if not accepts(changed) and is_utf8(changed):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(scanner, "BYTES_PER_CHECK", size)
            beginning, first = scanner.fault(changed)
        whole, rest = refusal(changed), refusal(beginning + changed[first:])
        before = len(changed[:first].decode())
        assert (whole.msg, whole.pos) == (rest.msg, rest.pos - len(beginning) + before)


def is_utf8(text: bytes) -> bool:
    """Whether a text is UTF-8."""
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def refusal(text: bytes) -> orjson.JSONDecodeError:
    """What orjson says about a text that is not JSON."""
    with pytest.raises(orjson.JSONDecodeError) as caught:
        orjson.loads(text)
    return caught.value


@pytest.mark.parametrize(
    "text",
    [
        b"[%s]" % b",".join([b"1"] * 5000),
        b"[%s]" % b",".join([b"[1]"] * 5000),
        b'"%s"' % (b"x" * 5000),
        b'{"float64": "%s"}' % (b"AAAA" * 1250),
        b"[" * 1000 + b"]" * 1000,
    ],
    ids=["list", "rows", "string", "doubles", "brackets"],
)
def test_check_stops_the_scan(monkeypatch: pytest.MonkeyPatch, text: bytes) -> None:
    monkeypatch.setattr(scanner, "BYTES_PER_CHECK", 500)
    checks = 0

    def check() -> None:
        nonlocal checks
        checks += 1
        if checks == 3:
            raise TimeoutError

    with pytest.raises(TimeoutError):
        scan(text, TOKEN, check)


FULL = (
    '{"a": [[1, 2.5], [-0.0, 1e5]], "nodes": [{"id": "é\\n\\u00e9"}], "b": '
    + list_text("1.5e-7", numbers=20)
    + ', "c": [true, false, null, {}], "d": {"float64": '
    + encoded([0.5] * 20)
    + "}}"
)


def test_every_beginning_of_a_text_is_refused() -> None:
    raw = FULL.encode()
    assert scan(raw, TOKEN) is not None
    assert [k for k in range(len(raw)) if scan(raw[:k], TOKEN) is not None] == []


@pytest.mark.parametrize("text", [b"\xff", b'"\xc3"', b'"\xed\xa0\x80"', b'"\xc0\x80"', b'"\xf5\x80\x80\x80"', b'"\xe2\x82"'])
def test_invalid_utf8_is_refused(text: bytes) -> None:
    assert scan(text, TOKEN) is None
    assert scan(b'{"a": [%s]}' % text, TOKEN) is None


@pytest.mark.parametrize("text", [b'"\xc3"', b'"\xed\xa0\x80"', b'"\xc0\x80"', b'"\xf5\x80\x80\x80"', b'"\xe2\x82"'])
def test_invalid_utf8_in_a_string_of_a_node_is_refused(text: bytes) -> None:
    assert scan(b'{"nodes": [%s]}' % text, TOKEN) is None


@given(st.binary(max_size=6))
@example(b"\xf0\x90\x80\x80")
@example(b"\xf4\x8f\xbf\xbf")
@example(b"\xf4\x90\x80\x80")
def test_strings_are_the_utf8_that_python_decodes(raw: bytes) -> None:
    assert (scan(b'"%s"' % raw, TOKEN) is not None) == accepts(b'"%s"' % raw)


@pytest.mark.parametrize("brackets", ["[]", '{"a":}'], ids=["lists", "objects"])
def test_nesting_up_to_the_limit(brackets: str) -> None:
    opening, closing = brackets[:-1], brackets[-1]
    for depth in (MAX_DEPTH - 1, MAX_DEPTH, MAX_DEPTH + 1, 100_000):
        text = opening * depth + ("1" if opening == '{"a":' else "") + closing * depth
        assert (scan(text.encode(), TOKEN) is not None) == (depth <= MAX_DEPTH), depth
        assert scan((opening * depth).encode(), TOKEN) is None, depth


@pytest.mark.parametrize("over", [0, 1])
def test_a_list_of_nodes_is_nested_no_deeper_than_anything_else(over: int) -> None:
    """The list, the nodes in it and the arguments of these are three levels."""
    nodes = '{"nodes": [{"id": "x", "op": "value", "data": 1}, {"id": "y", "op": "neg", "args": ["x"]}]}'
    around = MAX_DEPTH - 4 + over
    assert (scan(('{"a":' * around + nodes + "}" * around).encode(), TOKEN) is None) is bool(over)


# --- numbers


def spellings(draw: random.Random) -> str:
    """A number in JSON, of any length and size; some are just between two doubles."""
    bits = draw.getrandbits(63)
    double = struct.unpack("d", struct.pack("Q", bits))[0]
    kind = draw.randrange(8)
    if kind == 0:
        return repr(draw.random())
    if kind == 1:
        return repr(double)
    if kind == 2:
        return str(draw.randint(-(10 ** draw.randint(1, 40)), 10 ** draw.randint(1, 40)))
    if kind == 3:
        return f"{double:.{draw.randint(0, 30)}e}"
    if kind == 4:
        return f"{draw.gauss(0, 1):.{draw.randint(1, 25)}f}"
    if kind == 5:  # below the normal numbers
        return f"{struct.unpack('d', struct.pack('Q', draw.getrandbits(draw.randint(1, 53))))[0]:.{draw.randint(0, 25)}e}"
    if kind == 6:
        return f"{draw.getrandbits(draw.randint(1, 64))}e{draw.randint(-345, 289)}"
    low = draw.random() * 10.0 ** draw.randint(-5, 15)
    middle = (Decimal(low) + Decimal(math.nextafter(low, math.inf))) / 2
    return f"{middle:.{draw.randint(15, 60)}g}"


def test_a_hundred_thousand_numbers_are_rounded_as_python_rounds_them() -> None:
    """Python's `float` is correctly rounded (David Gay's algorithm)."""
    draw = random.Random(3)
    texts = [text for text in (spellings(draw) for _ in range(100_000)) if text not in ("inf", "nan")]
    texts = [text for text in texts if not math.isinf(float(text))]
    [bulk] = scanned(f"[{','.join(texts)}]").bulk
    assert isinstance(bulk, NumberList) and len(texts) > 95_000
    expected = [0.0 if text == "-0" else float(text) for text in texts]
    assert [(text, x) for text, x, y in zip(texts, bulk.values.tolist(), expected, strict=True) if x.hex() != y.hex()] == []


@for_each(
    ("text", "number"),
    [
        ("-0", 0.0),
        ("-0.0", -0.0),
        ("-0e0", -0.0),
        ("9007199254740993", 9007199254740992.0),
        ("9007199254740995", 9007199254740996.0),
        ("1e23", 1e23),
        ("8.98846567431158e307", 8.98846567431158e307),
        ("1.7976931348623157e308", 1.7976931348623157e308),
        ("1.7976931348623158e308", 1.7976931348623157e308),
        ("2.2250738585072011e-308", 2.2250738585072011e-308),
        ("2.2250738585072014e-308", 2.2250738585072014e-308),
        ("4.9406564584124654e-324", 5e-324),
        ("2.4703282292062327e-324", 0.0),
        ("2.4703282292062328e-324", 5e-324),
        ("1e-400", 0.0),
        ("0e999999999999999999999", 0.0),
        ("1e-99999999999999999999", 0.0),
        ("1e0000000000000000000001", 10.0),
        ("0." + "0" * 400 + "1e401", 1.0),
        ("1" + "0" * 400 + "e-400", 1.0),
        ("6929495644600919.5", 6929495644600920.0),
        ("3." + "1" * 5000, 3.1111111111111112),
    ],
)
def test_a_number_at_a_limit(text: str, number: float) -> None:
    """The values are the ones of IEEE 754, each the nearest double, ties to even."""
    [bulk] = scanned(list_text(text, numbers=20)).bulk
    assert isinstance(bulk, NumberList)
    assert bulk.values[-1].hex() == number.hex()


@for_each("text", ["01", "-", "+1", ".5", "1.", "1.e5", "1e", "1e+", "0x1", "1_0", "NaN", "Infinity", "١", "--1"])
def test_what_is_not_a_number_in_json_is_refused(text: str) -> None:
    assert scan(text.encode(), TOKEN) is None
    assert scan(list_text(text, numbers=20).encode(), TOKEN) is None


def test_any_amount_of_numbers_may_be_left_to_python() -> None:
    middle = "1.00000000000000011102230246251565404236316680908203125"  # 1 + 2**-53
    [bulk] = scanned(list_text(*[middle, middle + "1"] * 5000)).bulk
    assert isinstance(bulk, NumberList) and bulk.values.tolist() == [1.0, math.nextafter(1, 2)] * 5000


def test_punctuation_alone_never_crashes_the_scan() -> None:
    draw = random.Random(5)
    alphabet = string.punctuation + "0 \n"
    for _ in range(20_000):
        raw = "".join(draw.choices(alphabet, k=draw.randrange(12))).encode()
        assert (scan(raw, TOKEN) is not None) == accepts(raw), raw
