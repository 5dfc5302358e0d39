"""From bytes to requests and from numbers to JSON, without a server."""

import json
import math
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.api import codec
from app.api.codec import Outgoing, decode, graph_of
from app.api.execution import JOB, Job
from app.api.problems import Problem, ProblemDetails, of_exception
from app.api.schemas.expressions import (
    BackwardRequest,
    CheckRequest,
    ExpressionGraph,
    ForwardRequest,
    HvpRequest,
    JacobianRequest,
)
from app.engine.errors import EngineError, InvalidNode, NonFinite, UnknownNode
from app.engine.faults import Asked
from app.engine.graph import Graph
from app.settings import Settings

DECODERS = {
    kind: msgspec.json.Decoder(kind) for kind in (BackwardRequest, CheckRequest, ForwardRequest, HvpRequest, JacobianRequest)
}


@pytest.fixture(autouse=True, scope="module")
def job() -> Iterator[None]:
    """Graphs are made within a job, whose limits they are held to."""
    token = JOB.set(Job(math.inf, Settings(), {}))
    yield
    JOB.reset(token)


def read(body: bytes | str, kind: Any) -> None:
    """Decodes a request and its expression."""
    request = decode(body.encode() if isinstance(body, str) else body, DECODERS[kind])
    if not isinstance(request.expression, str):
        graph_of(request.expression, several=True)


def refused(body: bytes | str, kind: Any = BackwardRequest) -> ProblemDetails:
    with pytest.raises((Problem, EngineError)) as caught:
        read(body, kind)
    return of_exception(caught.value)[0]


def graph_body(node: str) -> str:
    return '{"expression": {"nodes": [{"id": "x", "op": "value"}, NODE], "output": "x"}}'.replace("NODE", node)


# (kind, body, pointer, detail)
MISFITS: list[tuple[Any, str, str, str]] = [
    # --- the body itself
    (BackwardRequest, "[]", "", "expected an object, found a list"),
    (BackwardRequest, "3", "", "expected an object, found an integer"),
    (BackwardRequest, "3.5", "", "expected an object, found a number"),
    (BackwardRequest, '"x"', "", "expected an object, found a string"),
    (BackwardRequest, "null", "", "expected an object, found null"),
    (BackwardRequest, "false", "", "expected an object, found a boolean"),
    # --- fields that are missing or unknown
    (BackwardRequest, "{}", "/expression", "the field 'expression' is missing"),
    (
        HvpRequest,
        '{"expression": {"nodes": []}, "tangents": {}, "x": 1}',
        "/x",
        "unknown field 'x'. The fields are expression, ",
    ),
    (BackwardRequest, '{"expression": "x", "input": {}}', "/input", "unknown field 'input'. Did you mean 'inputs'?"),
    (BackwardRequest, '{"expression": "x", "WRT": []}', "/WRT", "unknown field 'WRT'. Did you mean 'wrt'?"),
    (BackwardRequest, '{"expression": "x", "a/b~c": 1}', "/a~1b~0c", "unknown field 'a/b~c'."),
    (BackwardRequest, '{"expression": "x", "": 1}', "/", "unknown field ''."),
    (BackwardRequest, '{"expression": "x", "`": 1}', "/`", "unknown field '`'."),
    (BackwardRequest, '{"expression": "x", "a` - at `$.b": 1}', "/a` - at `$.b", "unknown field 'a` - at `$.b'."),
    (BackwardRequest, '{"expression": {"output": "x"}}', "/expression/nodes", "the field 'nodes' is missing"),
    (
        BackwardRequest,
        '{"expression": {"nodes": [], "ouput": "x"}}',
        "/expression/ouput",
        "unknown field 'ouput'. Did you mean 'output'?",
    ),
    (BackwardRequest, graph_body('{"op": "neg"}'), "/expression/nodes/1/id", "the field 'id' is missing"),
    (BackwardRequest, graph_body('{"id": "y"}'), "/expression/nodes/1/op", "the field 'op' is missing"),
    (
        BackwardRequest,
        graph_body('{"id": "y", "op": "neg", "arg": []}'),
        "/expression/nodes/1/arg",
        "unknown field 'arg'. Did you mean 'args'?",
    ),
    # --- values of the wrong kind
    (BackwardRequest, '{"expression": 3}', "/expression", "expected a string or an object, found an integer"),
    (BackwardRequest, '{"expression": {"nodes": 3}}', "/expression/nodes", "expected a list, found an integer"),
    (
        BackwardRequest,
        '{"expression": {"nodes": [], "output": 3}}',
        "/expression/output",
        "expected a string or null, found an integer",
    ),
    (BackwardRequest, graph_body("3"), "/expression/nodes/1", "expected an object, found an integer"),
    (BackwardRequest, graph_body('{"id": 3, "op": "neg"}'), "/expression/nodes/1/id", "expected a string, found an integer"),
    (BackwardRequest, graph_body('{"id": "y", "op": null}'), "/expression/nodes/1/op", "expected a string, found null"),
    (
        BackwardRequest,
        graph_body('{"id": "y", "op": "neg", "args": {}}'),
        "/expression/nodes/1/args",
        "expected a list, found an object",
    ),
    (
        BackwardRequest,
        graph_body('{"id": "y", "op": "neg", "args": [1, true]}'),
        "/expression/nodes/1/args/1",
        "found a boolean",
    ),
    (
        BackwardRequest,
        graph_body('{"id": "y", "op": "value", "data": "3.5"}'),
        "/expression/nodes/1/data",
        "expected a number or null, found a string",
    ),
    (
        BackwardRequest,
        graph_body('{"id": "y", "op": "value", "label": 3}'),
        "/expression/nodes/1/label",
        "expected a string or null, found an integer",
    ),
    (BackwardRequest, '{"expression": "x", "inputs": []}', "/inputs", "expected an object, found a list"),
    (
        BackwardRequest,
        '{"expression": "x", "inputs": {"x": "3.5"}}',
        "/inputs/x",
        "expected a number or a list, found a string",
    ),
    (
        BackwardRequest,
        '{"expression": "x", "inputs": {"a": 1, "b": [2], "c": true}}',
        "/inputs/c",
        "expected a number or a list, found a boolean",
    ),
    (BackwardRequest, '{"expression": "x", "inputs": {"a/b": [1, null]}}', "/inputs/a~1b/1", "expected a number, found null"),
    (BackwardRequest, '{"expression": "x", "inputs": {"a": [], "b": [[]]}}', "/inputs/b/0", "expected a number, found a list"),
    (BackwardRequest, '{"expression": "x", "wrt": "x"}', "/wrt", "expected a list or null, found a string"),
    (BackwardRequest, '{"expression": "x", "wrt": ["x", 3]}', "/wrt/1", "expected a string, found an integer"),
    (BackwardRequest, '{"expression": "x", "values": 1}', "/values", "expected true or false, found an integer"),
    (BackwardRequest, '{"expression": "x", "cotangent": "1"}', "/cotangent", "expected a number or a list, found a string"),
    (HvpRequest, '{"expression": "x", "tangents": {"x": {}}}', "/tangents/x", "expected a number or a list, found an object"),
    (JacobianRequest, '{"expression": "x", "outputs": [null]}', "/outputs/0", "expected a string, found null"),
    # --- numbers
    (BackwardRequest, '{"expression": "x", "inputs": {"x": NaN}}', "/inputs/x", "finite"),
    (BackwardRequest, '{"expression": "x", "inputs": {"x": [1, -Infinity]}}', "/inputs/x/1", "finite"),
    (BackwardRequest, '{"expression": "x", "inputs": {"a~b": 1e999}}', "/inputs/a~0b", "finite"),
    (BackwardRequest, '{"expression": "x", "cotangent": %s}' % ("9" * 400), "/cotangent", "finite"),
    (BackwardRequest, '{"expression": "x", "nope": -1e999}', "/nope", ""),
    (BackwardRequest, "NaN", "", "finite"),
    (BackwardRequest, "[[Infinity]]", "/0/0", "finite"),
    (CheckRequest, '{"expression": "x", "tolerance": 0}', "/tolerance", "expected a number"),
    (CheckRequest, '{"expression": "x", "tolerance": -2.5}', "/tolerance", "expected a number"),
    # --- words
    (BackwardRequest, '{"expression": "x", "nonfinite": 3}', "/nonfinite", ""),
    (BackwardRequest, '{"expression": "x", "nonfinite": "nul"}', "/nonfinite", "expected"),
    (BackwardRequest, '{"expression": "x", "nonfinite": "a - at `$.b"}', "/nonfinite", "expected"),
]


@pytest.mark.parametrize(("kind", "body", "where", "detail"), MISFITS, ids=[row[1][:60] for row in MISFITS])
def test_what_is_said_of_a_misfit(kind: Any, body: str, where: str, detail: str) -> None:
    problem = refused(body, kind)
    assert problem.type == "/problems/invalid-request"
    assert [entry.pointer for entry in problem.errors] == [where]
    assert detail in problem.errors[0].detail
    assert problem.errors[0].detail in problem.detail
    assert (
        where in problem.detail
        or f"node 1{', at ' if where.count('/') > 3 else ''}" in problem.detail
        or "nodes:" in problem.detail
    )


BROKEN: list[tuple[bytes, str]] = [
    (b"", "empty"),
    (b" \r\n\t", "empty"),
    (b"{", "line 1, column 2"),
    (b'{"expression":\n  "x",\n  }', "line 3, column 3"),
    (b"{'expression': 'x'}", "line 1, column 2"),
    (b'{"expression": "x"} {', "line 1, column 21"),
    (b'{"expression": "x\n"}', "line 1, column 18"),
    (b'{"expression": "\xff"}', "byte 16"),
    (b"\xef\xbb\xbf{}", "BOM"),
    (b"\xff\xfe{\x00", "UTF-8"),
    (b"[" * 100_000, "deep"),
    (b'{"expression": "\\ud800"}', "surrogate"),
    (b'{"expression": "\\x"}', "line 1, column 17"),
    (b"\x00", "line 1, column 1"),
    (b"-", "line 1, column 1"),
]


@pytest.mark.parametrize(("body", "detail"), BROKEN, ids=[repr(row[0][:30]) for row in BROKEN])
def test_what_is_said_of_what_is_no_json(body: bytes, detail: str) -> None:
    problem = refused(body)
    assert problem.type == "/problems/invalid-json" and problem.status == 400
    assert detail in problem.detail and problem.errors == []


TWICE = [
    '{"inputs": {"x": "bad"}, "inputs": {"x": 1}, "expression": "x"}',
    '{"inputs": {"x": ["bad"]}, "inputs": 3, "expression": "x"}',
    '{"inputs": {"x": "bad", "x": 1}, "expression": "x"}',
    '{"inputs": {"x": 1e999, "x": 1}, "expression": "x"}',
    '{"expression": {"nodes": [], "output": 3}, "expression": "x"}',
    '{"expression": {"nodes": [{"id": "x", "op": "value", "a": 1, "a": 2}], "output": "x"}}',
]


@pytest.mark.parametrize("body", TWICE)
def test_a_misfit_in_what_a_later_key_hides_is_a_misfit(body: str) -> None:
    """The decoder meets the first of two keys, and a second look at the body sees the last only."""
    assert refused(body).type == "/problems/invalid-request"


def test_no_detail_is_long_and_none_repeats_the_body() -> None:
    for body in (
        json.dumps({"expression": "x", "nonfinite": "s3cret" * 20_000}),
        json.dumps({"expression": "x", "s3cret" * 20_000: 1}),
        json.dumps({"expression": "x", "inputs": {"x": "s3cret" * 20_000}}),
        json.dumps({"expression": "x", "inputs": {"q" * 20_000: None}}),
        json.dumps({"expression": graph_body("{}"), "wrt": [["s3cret"]]}),
    ):
        problem = refused(body)
        written = problem.detail + "".join(entry.pointer + entry.detail for entry in problem.errors)
        assert len(written) < 1500
        assert "s3cret" * 50 not in written


def test_the_decoder_takes_what_is_right() -> None:
    body = b'{"expression": "x", "inputs": {"x": [1, 2.5], "y": 3}, "wrt": ["x"], "cotangent": [1, 2], "values": true}'
    request = decode(body, DECODERS[BackwardRequest])
    assert request == BackwardRequest(
        expression="x", inputs={"x": [1.0, 2.5], "y": 3.0}, wrt=["x"], cotangent=[1.0, 2.0], values=True, nonfinite="error"
    )
    assert type(request.inputs["y"]) is float


numbers = st.floats(allow_nan=False, allow_infinity=False)
names = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@settings(deadline=None)
@given(st.dictionaries(names, numbers | st.lists(numbers)), st.lists(names), numbers | st.lists(numbers))
def test_requests_survive_the_wire(inputs: dict[str, Any], wrt: list[str], cotangent: Any) -> None:
    request = BackwardRequest(expression="x", inputs=inputs, wrt=wrt, cotangent=cotangent)
    assert decode(codec.encode(request), DECODERS[BackwardRequest]) == request
    assert decode(json.dumps(msgspec.to_builtins(request)).encode(), DECODERS[BackwardRequest]) == request


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["x", "a - at `$.b", "value", "neg"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["id", "op", "args", "data", "nodes", "output", "x", "` - at `$.", ""]) | st.text(),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["expression", "inputs", "wrt", "cotangent", "values", "nonfinite", "other", "a - at `$.b"]),
        json_values,
    )
)
def test_any_json_is_decoded_or_refused(body: dict[str, Any]) -> None:
    """Whatever the body holds, the answer is a request or a problem, and each pointer leads into the body."""
    try:
        read(json.dumps(body), BackwardRequest)
    except (Problem, EngineError) as error:
        for entry in of_exception(error)[0].errors:
            place: Any = json.loads(json.dumps(body))
            for step in entry.pointer.split("/")[1:-1]:
                step = step.replace("~1", "/").replace("~0", "~")
                place = place[int(step) if isinstance(place, list) else step]


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_are_decoded_or_refused(body: bytes) -> None:
    with pytest.raises(Problem):
        decode(body, DECODERS[BackwardRequest])


# --- graphs

NODES = msgspec.Raw(b'[{"id": "x", "op": "value"}, {"id": "y", "op": "neg", "args": ["x"]}]')


@pytest.mark.parametrize(
    ("output", "outputs", "several", "asked", "place"),
    [
        (None, None, False, None, ("expression", "output")),
        (None, None, True, None, ("expression", "output")),
        ("x", ["x"], True, None, ("expression", "output")),
        (None, ["x"], False, None, ("expression", "outputs")),
        ("x", None, True, [], ("outputs",)),
        ("x", None, True, ["x", "z"], ("outputs", 1)),
        (None, [], True, None, ("expression", "outputs")),
        (None, ["z"], True, None, ("expression", "outputs", 0)),
        (None, ["x", "z"], True, None, ("expression", "outputs", 1)),
        ("z", None, False, None, ("expression", "output")),
    ],
)
def test_too_few_and_too_many_outputs(
    output: str | None, outputs: list[str] | None, several: bool, asked: list[str] | None, place: Any
) -> None:
    with pytest.raises((InvalidNode, UnknownNode)) as caught:
        graph_of(ExpressionGraph(NODES, output, outputs), asked, several)
    assert caught.value.path == place
    assert not caught.value.detail.endswith('either "output"'), "either without an or"


def test_outputs_of_graph_and_text() -> None:
    assert graph_of(ExpressionGraph(NODES, "y")).outputs == ("y",)
    assert graph_of(ExpressionGraph(NODES, outputs=["y", "x"]), several=True).outputs == ("y", "x")
    assert graph_of("f = x; g = f*x", ["g", "f"], several=True).outputs == ("g", "f")
    assert graph_of("f = x; g = f*x").outputs == ("g",)


# --- answers


def outgoing(text: str, inputs: dict[str, Any], nonfinite: Any) -> tuple[Outgoing, Graph]:
    request = ForwardRequest(expression=text, inputs=inputs, nonfinite=nonfinite)
    graph = graph_of(text)
    return Outgoing(request, graph), graph


def test_finite_numbers_go_out_as_they_are() -> None:
    out, _ = outgoing("y = x*x", {"x": 1.5}, "error")
    assert out.table(Asked.VALUE, {"x": 1.5, "y": np.array([2.25, 1.0])}) == {"x": 1.5, "y": [2.25, 1.0]}
    assert out.one(Asked.VALUE, 2.25) == 2.25
    assert out.nonfinite is msgspec.UNSET


def test_with_null_the_list_is_there_and_may_be_empty() -> None:
    out, _ = outgoing("y = x*x", {"x": 1.5}, "null")
    assert out.table(Asked.VALUE, {"x": 1.5}) == {"x": 1.5} and out.nonfinite == []


@pytest.mark.parametrize(("number", "word"), [(math.nan, "NaN"), (math.inf, "Infinity"), (-math.inf, "-Infinity")])
def test_nulls_are_listed_with_their_pass_and_point(number: float, word: str) -> None:
    out, _ = outgoing("y = x*x", {"x": [1, 2]}, "null")
    assert out.table(Asked.VALUE, {"y": np.array([1.0, number])}) == {"y": [1.0, None]}
    assert out.table(Asked.GRADIENT, {"x": number}) == {"x": None}
    assert msgspec.to_builtins(out.nonfinite) == [
        {"node": "y", "pass": "forward", "value": word, "point": 1},
        {"node": "x", "pass": "backward", "value": word},
    ]


def test_the_list_stops_at_20() -> None:
    out, _ = outgoing("y = x*x", {"x": 1}, "null")
    table = out.table(Asked.VALUE, {"x": np.full(15, np.nan), "y": np.full(15, np.inf)})
    assert table == {"x": [None] * 15, "y": [None] * 15}
    assert isinstance(out.nonfinite, list) and len(out.nonfinite) == 20
    assert [row.node for row in out.nonfinite] == ["x"] * 15 + ["y"] * 5
    assert out.one(Asked.VALUE, math.nan) is None and len(out.nonfinite) == 20


def test_without_null_the_first_fault_is_raised() -> None:
    out, _ = outgoing("y = log(x)", {"x": [1.0, -1.0]}, "error")
    with pytest.raises(NonFinite, match=r"'y' = log\(-1.0\)"):
        out.table(Asked.VALUE, {"y": np.array([0.0, np.nan])})


def test_no_nan_ever_gets_into_json() -> None:
    """Were one to slip through, it would have to be null: clients cannot read anything else."""
    assert codec.encode({"x": math.nan}) == b'{"x":null}'


def test_engine_errors_have_paths_that_make_pointers() -> None:
    for text in ("x +", "sn(x)", "a = 1; a = 2", "sin(x, x)", "q" * 200):
        with pytest.raises(EngineError) as caught:
            graph_of(text)
        assert caught.value.path == ("expression",), "a text has no nodes to point at"


# --- bodies too large to be read twice

ROOM = b" " * (codec.LOOKED_AT + 1)
LARGE: list[tuple[bytes, str, str, str]] = [
    (b'{"expression":"x","inputs":{"x":[1,"a"]}}', "invalid-request", "/inputs", "expected a number, found a string"),
    (b'{"expression":"x","wrt":[3]}', "invalid-request", "/wrt/0", "expected a string, found an integer"),
    (b'{"expression":"x","more":3}', "invalid-request", "/more", "unknown field 'more'"),
    (b'{"expression":"x","inputs":{"x":1e999}}', "invalid-request", "", "out of range"),
    (b'{"expression":"x","inputs":{"x":NaN}}', "invalid-json", "", "JSON"),
    (b'{"expression":"\xff"}', "invalid-json", "", "UTF-8"),
    (b'{"expression":"x"', "invalid-json", "", "JSON"),
    (b'{"expression":{"nodes":[ {"id":1}],"output":"x"}}', "invalid-request", "/expression/nodes/0/id", "expected a string"),
    (b'{"expression":{"nodes":[ {"id":"x","op":"value","data":1e999}],"output":"x"}}', "invalid-request", "", "out of range"),
    (b'{"expression":{"nodes":[ {"id":"\xff","op":"value"}],"output":"x"}}', "invalid-json", "", "UTF-8"),
]


@pytest.mark.parametrize(("body", "kind", "where", "detail"), LARGE, ids=[repr(row[0][12:50]) for row in LARGE])
def test_of_a_large_body_less_is_said_but_no_less_true(body: bytes, kind: str, where: str, detail: str) -> None:
    """What msgspec says of it is enough; to read it again would take many times its size in memory."""
    problem = refused(body.replace(b"[ ", b"[" + ROOM) if b"[ " in body else body + ROOM if where else ROOM + body)
    assert problem.type == f"/problems/{kind}"
    assert detail in problem.detail and len(problem.detail) < 300
    assert [error.pointer for error in problem.errors] == ([where] if where else [p.pointer for p in problem.errors])
