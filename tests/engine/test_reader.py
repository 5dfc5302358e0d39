"""Reading nodes in compiled code: the same columns as msgspec and `columns_of` make, or None, whatever the text is."""

import json
import math
import random
import struct
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from app.engine.errors import EngineError
from app.engine.graph import Columns, Graph, Node, columns_of
from app.engine.reader import FEW, Nodes, read
from app.engine.transforms import backward
from tests.engine.conftest import graphs


def decoded(text: bytes) -> Columns | None:
    """The columns by the other way; None where the text is not a list of valid nodes."""
    try:
        return columns_of(msgspec.json.decode(text, type=tuple[Node, ...]))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, EngineError):
        return None


def numbers_in(columns: Columns) -> tuple[list[Any], list[Any]]:
    """Arguments and data, each as the position of a node or as the bits of a number."""

    def bits(k: int) -> str:
        return float(columns.numbers[k]).hex()

    return (
        [int(a) if a >= 0 else bits(-1 - a) for a in columns.arg.tolist()],
        [bits(k) if k >= 0 else None for k in columns.datum.tolist()],
    )


def assert_same(read_ones: Columns, others: Columns) -> None:
    assert list(read_ones.ids) == list(others.ids) and dict(read_ones.index) == others.index
    assert read_ones.opcode.tolist() == others.opcode.tolist() and read_ones.start.tolist() == others.start.tolist()
    assert numbers_in(read_ones) == numbers_in(others)


@settings(max_examples=150, deadline=None)
@given(graphs(), st.sampled_from([None, 1, "\t"]), st.sampled_from([(",", ":"), (", ", ": "), (" , \r\n", "\n: ")]))
def test_any_graph_in_any_layout(graph: Graph, indent: Any, separators: tuple[str, str]) -> None:
    plain = {node.id: f"n {k}/*[]{{}},:" for k, node in enumerate(graph.nodes)}
    nodes = msgspec.to_builtins([replace(n, id=plain[n.id], args=tuple(plain.get(a, a) for a in n.args)) for n in graph.nodes])
    text = json.dumps(nodes, indent=indent, separators=separators).encode()
    columns, others = read(text), decoded(text)
    assert columns is not None and others is not None
    assert_same(columns, others)
    assert msgspec.to_builtins(list(Nodes(text, len(nodes)))) == nodes


FULL = (
    b'[{"op":"value","id":"x","data":-1.5e-3,"label":null,"args":[]},'
    b'{"label":"a \'label\'","args":["x",2,0.1,"x"],"op":"sum","id":"y"},{"id":"z","op":"pow","args":["y",-0]}]'
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(FULL) - 1), st.integers(0, 255)), min_size=1, max_size=3), st.booleans())
@example([(0, 0x5B)], False)
def test_a_text_with_any_bytes_changed_or_left_out(changes: list[tuple[int, int]], cut: bool) -> None:
    text = bytearray(FULL)
    for place, byte in changes:
        text[place] = byte
    if cut:
        del text[changes[0][0]]
    columns, others = read(bytes(text)), decoded(bytes(text))
    if columns is not None:
        assert others is not None, "what is read is right"
        assert_same(columns, others)


def test_every_beginning_of_a_text() -> None:
    assert read(FULL) is not None
    assert [k for k in range(len(FULL)) if read(FULL[:k]) is not None] == []


LEFT_TO_OTHERS = [
    b"",
    b"3",
    b"[]",
    b"{}",
    b"[3]",
    b"[{}]",
    b'[{"id":"x"}]',
    b'[{"op":"value"}]',
    b'[{"id":"x","op":"valu"}]',
    b'[{"id":"x","op":"value_and_many_more"}]',
    b'[{"id":"","op":"value"}]',
    b'[{"id":"%s","op":"value"}]' % (b"x" * 129),
    b'[{"id":"x","op":"value"},{"id":"x","op":"value"}]',
    b'[{"id":"x","id":"x","op":"value"}]',
    b'[{"id":"x","op":"value","more":1}]',
    b'[{"id":"x","op":"value","data":01}]',
    b'[{"id":"x","op":"value","data":1.}]',
    b'[{"id":"x","op":"value","data":.5}]',
    b'[{"id":"x","op":"value","data":+1}]',
    b'[{"id":"x","op":"value","data":1e}]',
    b'[{"id":"x","op":"value","data":1e999}]',
    b'[{"id":"x","op":"value","data":NaN}]',
    b'[{"id":"x","op":"value","data":true}]',
    b'[{"id":"x","op":"value","data":"1"}]',
    b'[{"id":"x","op":"value","args":null}]',
    b'[{"id":"x","op":"value","args":[1]}]',
    b'[{"id":"x","op":"neg","data":1,"args":[1]}]',
    b'[{"id":"x","op":"neg","args":[]}]',
    b'[{"id":"x","op":"neg","args":["y"]}]',
    b'[{"id":"x","op":"neg","args":[1,]}]',
    b'[{"id":"x","op":"neg","args":[[1]]}]',
    b'[{"id":"x","op":"value"},]',
    b'[{"id":"x","op":"value",}]',
    b'[{"id":"x","op":"value"}]]',
    b'[{"id":"x","op":"value"} {"id":"y","op":"value"}]',
    b'[{"id":"x" "op":"value"}]',
    b'[{"id":"x\\n","op":"value"}]',
    '[{"id":"x","op":"value","label":"\u00e9"}]'.encode(),
]


@pytest.mark.parametrize("text", LEFT_TO_OTHERS)
def test_what_is_not_plain_or_not_right_is_left_to_others(text: bytes) -> None:
    assert read(text) is None


def some_numbers(draw: random.Random, count: int) -> list[str]:
    """Numbers in JSON of every length and size, some of them just between two doubles."""

    def one() -> str:
        kind = draw.randrange(7)
        if kind == 0:
            return repr(draw.random())
        if kind == 1:
            return repr(struct.unpack("d", struct.pack("Q", draw.getrandbits(63)))[0])
        if kind == 2:
            return str(draw.randint(-(10 ** draw.randint(1, 25)), 10 ** draw.randint(1, 25)))
        if kind == 3:
            return f"{draw.gauss(0, 1) * 10.0 ** draw.randint(-30, 30):.{draw.randint(0, 25)}e}"
        if kind == 4:
            return f"{draw.gauss(0, 1):.{draw.randint(1, 25)}f}"
        low = draw.random() * 10.0 ** draw.randint(-5, 15)
        middle = (Decimal(low) + Decimal(math.nextafter(low, math.inf))) / 2
        return f"{middle:.{draw.randint(15, 25)}g}" if kind == 5 else f"{middle:.30f}"

    return [text for text in (one() for _ in range(count)) if text not in ("inf", "nan")]


def test_numbers_are_rounded_as_python_rounds_them() -> None:
    """Python's `float` is correctly rounded (D. Gay's algorithm)."""
    texts = some_numbers(random.Random(3), 40_000)
    texts += ["1e0000022", "1e0000000001", "1e-0000000003", "2.5E+00000002", "1e-00400", "0e999999", "0.0e-99999999", "1e000"]
    wrong = []
    for at in range(0, len(texts), 1000):  # of which some 300 are left to Python
        some = texts[at : at + 1000]
        columns = read(b'[{"id":"s","op":"sum","args":[%s]}]' % ",".join(some).encode())
        assert columns is not None
        wrong += [(t, x) for t, x in zip(some, columns.numbers.tolist(), strict=True) if x.hex() != float(t).hex()]
    assert wrong == []


def test_many_numbers_that_only_python_reads_are_left_to_others() -> None:
    text = b'[{"id":"s","op":"sum","args":[%s]}]'
    assert read(text % b",".join([b"1e-30"] * 900)) is not None
    assert read(text % b",".join([b"1e-30"] * 100_000)) is None


def fnv(ids: np.ndarray) -> np.ndarray:
    """The hash of rows of bytes, as the reader has it."""
    h = np.full(len(ids), 0xCBF29CE484222325, np.uint64)
    for column in ids.T:
        h = (h ^ column) * np.uint64(0x100000001B3)
    return (h ^ (h >> np.uint64(32))) & np.uint64(0x7FFFFFFF)


def test_ids_made_to_collide_cost_no_more_than_others() -> None:
    """A thousand ids with one place in the table are left to a dict; the answer is the same."""
    draw = np.random.default_rng(0)
    candidates = draw.integers(ord("a"), ord("z") + 1, (3_000_000, 8)).astype(np.uint64)
    chosen = candidates[(fnv(candidates) & np.uint64(2047)) == 7][:1000].astype(np.uint8)
    ids = [bytes(row).decode() for row in chosen]
    assert len(set(ids)) == 1000
    text = json.dumps([{"id": name, "op": "value", "data": 1} for name in ids]).encode()
    assert read(text) is None
    others = json.dumps([{"id": f"n{k}", "op": "value", "data": 1} for k in range(1000)]).encode()
    assert read(others) is not None


def test_few_look_ups_and_many() -> None:
    count = 4 * FEW
    text = json.dumps([{"id": f"n{k}", "op": "value", "data": k} for k in range(count)]).encode()
    for names in ([f"n{k}" for k in range(count)], ["n1", "n01", "\u00e9", "", "n255"]):
        columns = read(text)
        assert columns is not None
        expected = [int(name[1:]) if name.startswith("n") and name != "n01" else None for name in names]
        assert [columns.index.get(name) for name in names] == expected
        assert [name in columns.index for name in names] == [k is not None for k in expected]
        assert len(columns.index) == count and 3 not in columns.index
        with pytest.raises(KeyError):
            columns.index["nothing"]


def test_a_graph_that_was_read_is_a_graph() -> None:
    columns = read(FULL)
    assert columns is not None
    graph = Graph(Nodes(FULL, 3), ("z",), columns=columns)
    assert graph.names == columns.ids and list(graph.nodes[1:])[0].label == "a 'label'"
    assert backward(graph).gradients == backward(Graph(msgspec.json.decode(FULL, type=tuple[Node, ...]), ("z",))).gradients
