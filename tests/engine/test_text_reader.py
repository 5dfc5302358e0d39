"""Reading long texts in compiled code: the graph that `text` makes, or None, for any text and however often it pauses."""

import math
import random
import re
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from app.engine import text as expression_text
from app.engine import text_reader
from app.engine.errors import EngineError, ExpressionSyntaxError
from app.engine.graph import ID_LIMIT, Graph
from app.engine.interruption import never
from app.engine.text import LONG_TEXT, parse
from app.engine.transforms import backward, evaluate
from tests.conftest import times
from tests.engine.test_text import FRAGMENTS, NAMES, SYNTAX, evaluated_by_python, expressions, mutilated
from tests.rows import for_each


@pytest.fixture(scope="module", params=[None, 1, 3], ids=["at once", "every token", "every third"])
def pauses(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let the reading pause after so many bytes, and after so many tokens."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param:
            patch.setattr(text_reader, "BYTES_PER_CHECK", request.param)
            patch.setattr(text_reader, "TOKENS_PER_CHECK", request.param)
        yield


def by_python_code(text: str) -> Graph | None:
    """The graph by way of Python objects; None if the text has a fault."""
    try:
        return expression_text._Parser(text, never).graph()
    except EngineError:
        return None


def assert_same(found: Graph, expected: Graph) -> None:
    """Compare two graphs in all that a caller can see, numbers to the last bit."""
    assert found.names == expected.names and found.outputs == expected.outputs and found.source == expected.source
    assert tuple(found.nodes) == tuple(expected.nodes) and dict(found.index) == dict(expected.index)
    assert found.table is not None and expected.table is not None
    assert list(found.table.ids) == list(expected.table.ids)
    for field in ("opcode", "start", "arg", "datum", "numbers"):
        ours, theirs = getattr(found.table, field), getattr(expected.table, field)
        assert ours.dtype == theirs.dtype and ours.tobytes() == theirs.tobytes(), field


@given(expressions())
@example("-2.0**2.0")
@example("2.0**-1.0**2.0")
@example("2.0**3.0**2.0")
@example("1.0 - 2.0 - 3.0 / 4.0 / 5.0")
@example("1.0 < 2.0 < 3.0 == 3.0 != 4.0")
@example("x < -(y < z)")
@example("1.0 if 0.0 else 2.0 if 0.0 else 3.0")
@example("1.0 + 2.0 if x < y else 3.0 + 4.0")
@example("max(x, y,) if 1.0 else sum(x,\n y, z)")
@times(2)
def test_precedence_and_associativity_are_pythons(text: str) -> None:
    text = text.replace("1_0.0", "10.0").replace("0.1_5", "0.15").replace("1e0_1", "1e1")
    graph = text_reader.read(text)
    assert graph is not None, "all of it is plain"
    want = evaluated_by_python(text, {"max": max, "sum": lambda *terms: math.fsum(terms)})
    assume(math.isfinite(want))
    got = evaluate(graph, {name: x for name, x in NAMES.items() if name in graph.index})[graph.output]
    assert got == pytest.approx(want, rel=1e-14 if "**" in text else 0.0, abs=0.0)


PARTS = st.sampled_from(
    [*FRAGMENTS, "a1 = ", "b = a1\n", "\r\n", "# not code\n", "2.", ".5", "007.5", "00", "3.e2", "(x)", "mean("]
)


@pytest.mark.usefixtures("pauses")
@given(st.lists(PARTS, max_size=25).map("".join))
@times(5)
@example("x = 3\ny = -x\nx")
@example("x\n")
@example("pi = pi; pi")
@example("output = 1; output_2 = 2; output*output_2*3")
@example("0.12345678901234567890123456789*1e-330 + 12345678901234567890")
def test_any_text_is_the_same_graph_or_is_left_to_python_code(text: str) -> None:
    found = text_reader.read(text)
    if found is not None:
        expected = by_python_code(text)
        assert expected is not None, f"{text!r} has a fault"
        assert_same(found, expected)


@pytest.mark.usefixtures("pauses")
def test_valid_texts_are_read() -> None:
    """What Python code takes of mutilated texts is read, unless it is not plain."""
    read = 0
    for text in mutilated(8):
        expected, found = by_python_code(text), text_reader.read(text)
        if expected is not None and text.isascii() and not re.search(r"\d_|(?<![\w.])00", text):
            assert found is not None, text
            assert_same(found, expected)
            read += 1
        else:
            assert found is None or expected is not None, text
    assert read > 300


@for_each("text", [text for text, *_ in SYNTAX])
def test_what_has_a_fault_is_not_read(text: str) -> None:
    assert text_reader.read(text) is None


def test_names_up_to_the_limit_are_read() -> None:
    assert text_reader.read("n" * ID_LIMIT) is not None
    assert text_reader.read("n" * (ID_LIMIT + 1)) is None
    assert text_reader.read("n" * (ID_LIMIT + 1) + " = 1") is None


def test_numbers_are_rounded_as_python_rounds_them() -> None:
    """Also those with more digits than 64 bits hold, which are halfway between two doubles or nearly so."""
    chosen = random.Random(3)
    texts = [f"{chosen.uniform(0, 10)!r}e{chosen.randint(-330, 300)}" for _ in range(500)]
    texts += [
        "9007199254740993",
        "9007199254740993.00000000000000000001",
        "2.2250738585072011e-308",
        "1" * 40,
        "0." + "0" * 30 + "1",
    ]
    texts += [str(chosen.randrange(10 ** (digits - 1), 10**digits)) for digits in range(17, 22) for _ in range(20)]
    graph = text_reader.read("sum(" + ", ".join(texts) + ")")
    assert graph is not None and graph.table is not None
    assert graph.table.numbers.tolist() == [float(text) for text in texts]


def program(lines: int) -> str:
    return "\n".join(f"a{k} = tanh(a{k - 1}*w + 0.5)**2 if x < {k} else b" for k in range(1, lines)) + "\nb*2"


def test_parse_reads_long_texts_so() -> None:
    text = program(200)
    assert len(text) > LONG_TEXT
    expected = by_python_code(text)
    found = parse(text)
    assert expected is not None
    assert type(found.nodes) is not type(expected.nodes)
    assert_same(found, expected)
    inputs = {"a0": 0.25, "w": -1.5, "x": 100.0, "b": 3.0}
    got, want = backward(found, inputs), backward(expected, inputs)
    assert got.value == want.value and dict(got.gradients) == dict(want.gradients)


def test_unnamed_nodes_of_a_long_text_are_numbered_from_one() -> None:
    graph = parse(program(200))
    unnamed = [node.id for node in graph.nodes if node.id.startswith("%")]
    assert [graph.nodes[graph.index[name]].id for name in unnamed] == unnamed
    for name in ("%0", f"%{len(unnamed) + 1}", "%01", "%-1", "%", "%x"):
        assert graph.index.get(name) is None, name


def test_a_fault_in_a_long_text_has_its_line_and_column() -> None:
    with pytest.raises(ExpressionSyntaxError, match="expected a number, a name, a call or '\\(', found '\\*'") as caught:
        parse(program(200) + " +* 3")
    assert (caught.value.line, caught.value.column) == (200, 6)


def test_the_checkpoint_is_called_and_may_stop_the_work() -> None:
    calls = 0

    def stop() -> None:
        nonlocal calls
        calls += 1
        if calls == 20:
            raise TimeoutError

    with pytest.MonkeyPatch.context() as patch, pytest.raises(TimeoutError):
        patch.setattr(text_reader, "BYTES_PER_CHECK", 1000)
        text_reader.read(program(1000), stop)


def test_names_made_to_collide_are_left_to_python_code() -> None:
    """A text whose names all fall on one place of the hash table would take quadratic time."""
    numbers = np.arange(1_000_000)
    hashes = np.full(len(numbers), 0xCBF29CE484222325, np.uint64)
    for byte in (np.full(len(numbers), ord("n")), *(ord("0") + numbers // 10**digit % 10 for digit in range(5, -1, -1))):
        hashes = (hashes ^ byte.astype(np.uint64)) * np.uint64(0x100000001B3)
    places = (hashes ^ (hashes >> np.uint64(32))) & np.uint64(2047)
    alike = numbers[places == places[0]][:250]
    unlike = numbers[:250]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_reader, "BYTES_PER_CHECK", 64)
        for form, join in (("n{:06}", "+"), ("n{:06} = 1.234", "\n")):  # statements of 16 bytes, with pauses between them
            assert text_reader.read(join.join(map(form.format, unlike))) is not None
            assert text_reader.read(join.join(map(form.format, alike))) is None
