"""Reading nodes in compiled code: the table that `tabulate` makes, or None, for any text."""

import json
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.engine import node_reader
from app.engine.errors import EngineError
from app.engine.graph import ID_LIMIT, Graph, Node, NodeTable, tabulate
from app.engine.node_table import MAX_TEXT_LOOKUPS, Nodes, read_nodes
from app.engine.transforms import backward
from tests.conftest import times
from tests.engine.conftest import graphs
from tests.rows import for_each

FIELDS = {"id", "op", "args", "data", "label"}


def strict_nodes(text: bytes) -> list[Node]:
    """The nodes of a text, read by Python's json module. Raises ValueError for what is not a node, or not JSON."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({key for key, _ in pairs}) < len(pairs):
            raise ValueError("a key twice")
        return dict(pairs)

    def number(x: Any) -> float:
        if isinstance(x, bool) or not isinstance(x, int | float) or math.isinf(float(x)) or math.isnan(x):
            raise ValueError("not a number")
        return float(x)

    def node(fields: Any) -> Node:
        if not isinstance(fields, dict) or not {"id", "op"} <= set(fields) <= FIELDS:
            raise ValueError("not a node")
        texts = [fields["id"], fields["op"], *([fields["label"]] if fields.get("label") is not None else [])]
        args, data = fields.get("args", []), fields.get("data")
        if not all(isinstance(x, str) for x in texts) or not isinstance(args, list):
            raise ValueError("not a node")
        arguments = tuple([x if isinstance(x, str) else number(x) for x in args])
        return Node(fields["id"], fields["op"], arguments, None if data is None else number(data), fields.get("label"))

    loaded = json.loads(text.decode(), object_pairs_hook=unique)
    if not isinstance(loaded, list):
        raise ValueError("not a list")
    return list(map(node, loaded))


def expected_table(text: bytes) -> NodeTable | None:
    """The table by way of Python objects; None if the text is not a list of valid nodes."""
    try:
        return tabulate(strict_nodes(text))
    except (ValueError, OverflowError, EngineError):
        return None


def numbers_in(table: NodeTable) -> tuple[list[Any], list[Any]]:
    """Arguments and data, each as the position of a node or as the bits of a number."""

    def bits(k: int) -> str:
        return float(table.numbers[k]).hex()

    return (
        [int(a) if a >= 0 else bits(-1 - a) for a in table.arg.tolist()],
        [bits(k) if k >= 0 else None for k in table.datum.tolist()],
    )


def assert_same(table: NodeTable, expected: NodeTable) -> None:
    assert list(table.ids) == list(expected.ids) and dict(table.index) == expected.index
    assert table.opcode.tolist() == expected.opcode.tolist() and table.start.tolist() == expected.start.tolist()
    assert numbers_in(table) == numbers_in(expected)


def as_dicts(nodes: tuple[Node, ...]) -> list[dict[str, Any]]:
    return [{key: value for key, value in node._asdict().items() if value not in (None, ())} for node in nodes]


@times(1.5)
@given(
    graphs(),
    st.sampled_from([None, 1, "\t"]),
    st.sampled_from([(",", ":"), (", ", ": "), (" , \r\n", "\n: ")]),
    st.booleans(),
    st.sampled_from([1, 7, 1000]),
)
def test_any_graph_in_any_layout(graph: Graph, indent: Any, separators: tuple[str, str], ascii_only: bool, size: int) -> None:
    """With and without escapes, and however often the reading pauses."""
    plain = {node.id: f'n é变😀 {k}/*[]{{}},:"\\\xa0' for k, node in enumerate(graph.nodes)}
    nodes = tuple(n._replace(id=plain[n.id], args=tuple(plain.get(a, a) for a in n.args)) for n in graph.nodes)  # type: ignore[arg-type]
    text = json.dumps(as_dicts(nodes), indent=indent, separators=separators, ensure_ascii=ascii_only).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(node_reader, "BYTES_PER_CHECK", size)
        patch.setattr(node_reader, "NAMES_PER_CHECK", size)
        table = read_nodes(text)
    expected = expected_table(text)
    assert table is not None and expected is not None
    assert_same(table, expected)
    assert tuple(Nodes(text, len(nodes))) == nodes


FULL = (
    '[{"op":"value","id":"é","data":-1.5e-3,"label":null,"args":[]},'
    '{"label":"a \'läbel\'","args":["é",2,0.1,"é"],"op":"sum","id":"y"},{"id":"z","op":"pow","args":["y",-0]}]'
).encode()


@times(3)
@given(st.lists(st.tuples(st.integers(0, len(FULL) - 1), st.integers(0, 255)), min_size=1, max_size=3), st.booleans())
@example([(0, 0x5B)], False)
def test_a_changed_text_is_refused_or_read_as_json_reads_it(changes: list[tuple[int, int]], cut: bool) -> None:
    text = bytearray(FULL)
    for place, byte in changes:
        text[place] = byte
    if cut:
        del text[changes[0][0]]
    table = read_nodes(bytes(text))
    if table is not None:
        expected = expected_table(bytes(text))
        assert expected is not None
        assert_same(table, expected)


VALUES = [
    "null",
    "true",
    "false",
    "0",
    "-1.5",
    '"x"',
    '"sum"',
    '""',
    "[]",
    "[1]",
    '["x"]',
    "[[]]",
    "[null]",
    "{}",
    '{"id":"x"}',
]


@for_each("is_last", [False, True])
@for_each("value", VALUES)
@for_each("name", sorted(FIELDS))
def test_field_takes_the_values_that_json_gives_it(name: str, value: str, is_last: bool) -> None:
    fields = {"id": '"y"', "op": '"sum"', "args": '["x",2]', "label": '"l"'}
    fields.pop(name, None)
    fields = {**fields, name: value} if is_last else {name: value, **fields}
    text = f'[{{"id":"x","op":"value"}},{{{",".join(f"{chr(34)}{key}{chr(34)}:{fields[key]}" for key in fields)}}}]'.encode()
    table, expected = read_nodes(text), expected_table(text)
    assert (table is None) is (expected is None)
    if table is not None and expected is not None:
        assert_same(table, expected)


@pytest.mark.parametrize("size", [1, 7, 1 << 21])
@pytest.mark.parametrize("last", ['{"id":"n1","op":"value"}', '{"id":"y","op":"neg","args":["n3"]}'], ids=["shared", "unknown"])
def test_name_of_two_nodes_or_of_none_is_refused(monkeypatch: pytest.MonkeyPatch, last: str, size: int) -> None:
    """However often the reading pauses."""
    monkeypatch.setattr(node_reader, "BYTES_PER_CHECK", size)
    monkeypatch.setattr(node_reader, "NAMES_PER_CHECK", size)
    leaves = ",".join(f'{{"id":"n{k}","op":"value"}}' for k in range(3))
    assert read_nodes(f"[{leaves}]".encode()) is not None
    assert read_nodes(f"[{leaves},{last}]".encode()) is None


def test_every_beginning_of_a_text_is_refused() -> None:
    assert read_nodes(FULL) is not None
    assert [k for k in range(len(FULL)) if read_nodes(FULL[:k]) is not None] == []


@pytest.mark.parametrize("size", [1, 7, 1 << 21])
def test_a_text_without_a_byte_is_refused_or_read_as_json_reads_it(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """However often the reading pauses."""
    monkeypatch.setattr(node_reader, "BYTES_PER_CHECK", size)
    for place in range(len(FULL)):
        text = FULL[:place] + FULL[place + 1 :]
        table, expected = read_nodes(text), expected_table(text)
        if table is not None:
            assert expected is not None, text
            assert_same(table, expected)


@pytest.mark.parametrize("size", [1, 7, 1 << 21])
def test_numbers_between_two_doubles_are_rounded_however_often_the_reading_pauses(
    monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """Odd numbers above 2**53 and a little more, which only their last digit rounds up."""
    monkeypatch.setattr(node_reader, "BYTES_PER_CHECK", size)
    above = [f"{2**53 + odd}.{'0' * 20}1" for odd in (1, 3, 5, 7)]
    leaves = ",".join(f'{{"id":"n{k}","op":"value","data":{number}}}' for k, number in enumerate(above))
    table = read_nodes(f'[{leaves},{{"id":"s","op":"sum","args":["n0",{",".join(above)}]}}]'.encode())
    assert table is not None
    assert table.numbers.tolist() == [2.0**53 + even for even in (2, 4, 6, 8)] * 2


@for_each("character", " \t\n\r\v\f\x1c\u00a0]x")
def test_only_the_white_space_of_json_may_follow(character: str) -> None:
    """RFC 8259, 2."""
    assert (read_nodes(FULL + character.encode()) is not None) is (character in " \t\n\r")


def a_node(fields: str) -> str:
    return f'[{{"id":"x","op":"value"{fields}}}]'


@for_each(
    "text",
    [
        "",  # nothing
        "3",  # a number
        "[]",  # an empty list
        "{}",  # an object
        "[3]",  # a number for a node
        "[{}]",  # an empty node
        '[{"id":"x"}]',  # no op
        '[{"op":"value"}]',  # no id
        '[{"id":"x","op":"valu"}]',  # an unknown op
        '[{"id":"x","op":"value_and_many_more"}]',  # an op longer than any
        '[{"id":"","op":"value"}]',  # an empty id
        f'[{{"id":"{"x" * 129}","op":"value"}}]',  # a long id
        f'[{{"id":"{"变" * 129}","op":"value"}}]',  # a long id beyond ASCII
        '[{"id":"a\x7f","op":"value"}]',  # delete in an id
        '[{"id":"a\x80","op":"value"}]',  # the first C1 control in an id
        '[{"id":"a\x9f","op":"value"}]',  # the last C1 control in an id
        '[{"id":"x\\n","op":"value"}]',  # an escape in an id
        '[{"id":"x\\u007f","op":"value"}]',  # the last control character of one byte
        '[{"id":"x\\u0080","op":"value"}]',  # the first control character of two bytes
        a_node(',"label":"\\ud800"'),  # the first high surrogate in a label
        a_node(',"label":"\\udbff"'),  # the last high surrogate in a label
        a_node(',"label":"\\udc00"'),  # the first low surrogate in a label
        a_node(',"label":"\\udfff"'),  # the last low surrogate in a label
        a_node(',"label":"\\ud800\\udbff"'),  # two high surrogates in a label
        a_node(',"label":"\\ud800\\ue000"'),  # a high surrogate and another character in a label
        '[{"id":"x","op":"value"},{"id":"x","op":"value"}]',  # an id twice
        a_node(',"id":"x"'),  # a key twice
        a_node(',"more":1'),  # an unknown key
        a_node(',"data":01'),  # a leading zero
        a_node(',"data":1.'),  # no fraction
        a_node(',"data":.5'),  # no integer part
        a_node(',"data":+1'),  # a plus
        a_node(',"data":1e'),  # no exponent
        a_node(',"data":1e999'),  # data out of range
        a_node(f',"data":{2**1024 - 2**970}'),  # data just out of range
        a_node(',"data":NaN'),
        a_node(',"data":true'),  # a boolean for data
        a_node(',"data":"1"'),  # a string for data
        a_node(',"args":null'),  # null for args
        a_node(',"args":[1]'),  # arguments of a leaf
        '[{"id":"x","op":"neg","data":1,"args":[1]}]',  # data of an operation
        '[{"id":"x","op":"neg","args":[]}]',  # no arguments
        '[{"id":"x","op":"neg","args":["y"]}]',  # an unknown argument
        '[{"id":"x","op":"neg","args":[1e999]}]',  # an argument out of range
        '[{"id":"x","op":"neg","args":[1,]}]',  # a comma behind the last argument
        '[{"id":"x","op":"neg","args":[[1]]}]',  # a list for an argument
        '[{"id":"x","op":"value"},]',  # a comma behind the last node
        '[{"id":"x","op":"value",}]',  # a comma behind the last field
        '[{"id":"x","op":"value"}]]',  # a bracket too many
        '[{"id":"x","op":"value"} {"id":"y","op":"value"}]',  # no comma between nodes
        '[{"id":"x" "op":"value"}]',  # no comma between fields
    ],
)
def test_a_list_that_is_not_plain_or_not_right_is_refused(text: str) -> None:
    assert read_nodes(text.encode()) is None


@for_each("name", ["é", "变" * ID_LIMIT, "😀" * ID_LIMIT, "\xa0", "\u200b", " ", "a/b'c", "{[,:]}"])
def test_an_id_that_needs_no_escape_is_plain(name: str) -> None:
    text = json.dumps([{"id": name, "op": "value"}, {"id": "y", "op": "neg", "args": [name]}], ensure_ascii=False).encode()
    table = read_nodes(text)
    assert table is not None and list(table.ids) == [name, "y"] and dict(table.index) == {name: 0, "y": 1}
    assert table.arg.tolist() == [0]


LENGTHS_IN_UTF8 = ["~", "\u07ff", "\u0800", "\ufffd", "\U00010000", "\U0010fffd"]
"""The first and last characters of one, two, three and four bytes that an id may have."""


@for_each(
    "name", ['"', "\\", '\\"', '"\\\\', "\\n", "/", "é", "\xa0", "变", "😀", "a" * ID_LIMIT, '"' * ID_LIMIT, *LENGTHS_IN_UTF8]
)
def test_an_id_is_the_same_however_it_is_escaped(name: str) -> None:
    units = [f"\\u{unit:04x}" for unit in memoryview(name.encode("utf-16-le")).cast("H")]
    spelled = [
        json.dumps(name),
        json.dumps(name, ensure_ascii=False),
        f'"{"".join(units)}"',
        json.dumps(name).replace("/", "\\/"),
    ]
    for id_text in spelled:
        for argument in spelled:
            text = f'[{{"id":{id_text},"op":"value","label":"\\n"}},{{"id":"y","op":"\\u006eeg","args":[{argument}]}}]'.encode()
            table = read_nodes(text)
            assert table is not None and list(table.ids) == [name, "y"] and table.arg.tolist() == [0]
            assert table.index.get(name) == 0 and dict(table.index) == {name: 0, "y": 1}
            assert Nodes(text, 2)[0] == Node(name, "value", (), None, "\n")


def test_look_ups_of_ids_with_escapes() -> None:
    names = [f'"\\{k}' for k in range(4 * MAX_TEXT_LOOKUPS)]
    table = read_nodes(json.dumps([{"id": name, "op": "value"} for name in names]).encode())
    assert table is not None and [table.index.get(name) for name in names] == list(range(len(names)))
    assert table.index.get("\\") is None and list(table.ids) == names


def test_few_names_are_sought_in_the_text_of_a_large_graph_and_many_in_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each search passes over the whole text."""
    find, searches = node_reader.find, []

    def counted(*arguments: Any) -> int:
        searches.append(arguments)
        return find(*arguments)

    monkeypatch.setattr(node_reader, "find", counted)
    names = [f"x{k}" for k in range(4 * MAX_TEXT_LOOKUPS)]
    for size, most in ((MAX_TEXT_LOOKUPS, 0), (len(names), MAX_TEXT_LOOKUPS)):
        nodes = [{"id": name, "op": "value"} for name in names[:size]]
        table = read_nodes(json.dumps(nodes).encode())
        searches.clear()
        assert table is not None and [table.index.get(name) for name in names[:size]] == list(range(size))
        assert len(searches) == most


def test_check_stops_the_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_reader, "BYTES_PER_CHECK", 500)
    leaves = ",".join(f'{{"id":"n{k}","op":"value"}}' for k in range(1000))
    for text in (f"[{leaves}]", f'[{{"id":"y","op":"sum","args":[{",".join(["1"] * 3000)}]}}]'):
        checks = iter(range(4))

        def check(checks: Iterator[int] = checks) -> None:
            if next(checks) == 3:
                raise TimeoutError

        with pytest.raises(TimeoutError):
            read_nodes(text.encode(), check)


def test_check_is_called_for_every_part_of_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """For each five hundred bytes that are read, each ten names that are entered, and each ten arguments that are looked up."""
    monkeypatch.setattr(node_reader, "BYTES_PER_CHECK", 500)
    monkeypatch.setattr(node_reader, "NAMES_PER_CHECK", 10)
    leaves = ",".join(f'{{"id":"n{k}","op":"value"}}' for k in range(199))
    text = f'[{leaves},{{"id":"y","op":"sum","args":[{",".join(f"{chr(34)}n{k % 199}{chr(34)}" for k in range(300))}]}}]'
    checks: list[None] = []
    assert read_nodes(text.encode(), lambda: checks.append(None)) is not None
    assert len(checks) >= len(text) // 500 + 200 // 10 + 300 // 10


def test_numbers_are_rounded_as_python_rounds_them() -> None:
    """Also those that only Python's `float` decides, of which there may be any amount."""
    texts = [
        "1.00000000000000011102230246251565404236316680908203125",
        "1e-30",
        "-0.0",
        "0.1",
        "123456789012345678901234567890",
    ]
    table = read_nodes(f'[{{"id":"s","op":"sum","args":[{",".join(texts * 2000)}]}}]'.encode())
    assert table is not None
    assert [x.hex() for x in table.numbers.tolist()] == [float(text).hex() for text in texts * 2000]


def fnv_hashes(ids: np.ndarray) -> np.ndarray:
    """The hash that the reader takes, of each row of bytes."""
    h = np.full(len(ids), 0xCBF29CE484222325, np.uint64)
    for column in ids.T:
        h = (h ^ column) * np.uint64(0x100000001B3)
    return (h ^ (h >> np.uint64(32))) & np.uint64(0x7FFFFFFF)


@pytest.mark.slow
def test_ids_made_to_collide_are_left_to_a_dict() -> None:
    """A thousand ids with the same place in the hash table would take quadratic time."""
    draw = np.random.default_rng(0)
    candidates = draw.integers(ord("a"), ord("z") + 1, (3_000_000, 8)).astype(np.uint64)
    chosen = candidates[(fnv_hashes(candidates) & np.uint64(2047)) == 7][:1000].astype(np.uint8)
    ids = [bytes(row).decode() for row in chosen]
    assert len(set(ids)) == 1000
    assert read_nodes(json.dumps([{"id": name, "op": "value", "data": 1} for name in ids]).encode()) is None
    others = json.dumps([{"id": f"n{k}", "op": "value", "data": 1} for k in range(1000)]).encode()
    assert read_nodes(others) is not None


COUNT = 4 * MAX_TEXT_LOOKUPS


@pytest.mark.parametrize(
    "names",
    [
        pytest.param([f"n{k}" for k in range(COUNT)], id="more than are looked up in the text"),
        pytest.param(["n1", "n01", "é", "\ud800", "", "n255", "n256"], id="few"),
    ],
)
def test_look_ups(names: list[str]) -> None:
    table = read_nodes(json.dumps([{"id": f"n{k}", "op": "value", "data": k} for k in range(COUNT)]).encode())
    assert table is not None
    positions = {f"n{k}": k for k in range(COUNT)}
    assert [table.index.get(name) for name in names] == [positions.get(name) for name in names]
    assert [name in table.index for name in names] == [name in positions for name in names]
    assert len(table.index) == COUNT and 3 not in table.index  # type: ignore[comparison-overlap]
    with pytest.raises(KeyError):
        table.index["nothing"]


def test_a_graph_of_a_table_computes_what_a_graph_of_nodes_does() -> None:
    table = read_nodes(FULL)
    assert table is not None
    graph, plain = Graph(Nodes(FULL, 3), ("z",), table=table), Graph(strict_nodes(FULL), ("z",))
    assert graph.names == table.ids and graph.every_node_named
    assert graph.nodes[1:][0].label == "a 'läbel'" and tuple(graph.nodes) == plain.nodes
    assert backward(graph) == backward(plain)


def test_looking_up_one_node_decodes_neither_ids_nor_nodes() -> None:
    leaves = [{"id": f"n{k}", "op": "value", "data": k} for k in range(1000)]
    text = json.dumps([*leaves, {"id": "y", "op": "sum", "args": [leaf["id"] for leaf in leaves]}]).encode()
    table = read_nodes(text)
    assert table is not None
    nodes = Nodes(text, len(table.ids))
    assert backward(Graph(nodes, ("y",), table=table), {"n5": 2.0}, ["n5"]).gradients == {"n5": 1.0}
    assert nodes._decoded is None and table.ids._decoded is None  # type: ignore[attr-defined]


@pytest.mark.parametrize("code", [0x00, 0x1F, 0x22, 0x5C, 0x7F, 0x80, 0x9F])
def test_escape_stays(code: int) -> None:
    """Those of control characters, which no name has, and, in their short form, those of what JSON must escape."""
    text = b'"a\\u%04xb"' % code
    short = {0x22: b'"a\\"b"', 0x5C: b'"a\\\\b"'}
    found = node_reader.unescape(np.frombuffer(text, np.uint8)).tobytes()
    assert found == short.get(code, text) and json.loads(found) == json.loads(text)


@for_each("code", [0x20, 0x21, 0x7E, 0xA0, 0x7FF, 0x800, 0xD7FF, 0xE000, 0xFFFF, 0x10000, 0x10FFFF])
def test_escape_becomes_a_character(code: int) -> None:
    """Of one to four bytes in UTF-8."""
    text = json.dumps(chr(code)).encode() if code > 0x7F else b'"\\u%04x"' % code
    assert b"\\u" in text
    assert node_reader.unescape(np.frombuffer(text, np.uint8)).tobytes() == f'"{chr(code)}"'.encode()
