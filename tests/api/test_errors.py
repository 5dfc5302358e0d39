"""Errors of the engine and the networks as problems: every kind, and the places they point at."""

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import APIRouter

from app.api.errors import KIND_OF, located, problem_for
from app.api.expressions.derivatives import DerivativeRequest
from app.api.expressions.models import ForwardRequest
from app.engine import errors
from app.engine.errors import EngineError, Place
from app.formats.errors import MissingLibrary
from app.main import create_app
from app.nn.errors import InvalidNetwork, NetworkMismatch
from app.service.models import RequestModel
from app.service.problems import KINDS, Problem
from app.service.routing import ComputationRoute
from app.settings import Settings
from tests.rows import for_each
from tests.service.inprocess import send, service


def subclasses(kind: type[EngineError]) -> Iterator[type[EngineError]]:
    """All subclasses, at any depth."""
    for child in kind.__subclasses__():
        yield child
        yield from subclasses(child)


ERRORS = [kind for kind in subclasses(EngineError) if kind.__module__.startswith("app.")]


def example(kind: type[EngineError], place: Place = ("inputs", "a/b~c", 3)) -> EngineError:
    """An error with a place."""
    if kind is errors.ExpressionSyntaxError:
        return errors.ExpressionSyntaxError("what is wrong", line=1, column=2)
    return kind("what is wrong", place)


def test_every_error_has_a_kind() -> None:
    assert set(ERRORS) == set(KIND_OF)
    assert set(KIND_OF.values()) <= set(KINDS)


@for_each("kind", ERRORS)
def test_every_error_is_a_problem_at_its_place(kind: type[EngineError]) -> None:
    problem = problem_for(example(kind), "x")
    assert problem.kind.name == KIND_OF[kind] and problem.kind.status == (501 if kind is MissingLibrary else 422)
    assert "what is wrong" in problem.detail
    pointer = "/expression" if kind is errors.ExpressionSyntaxError else "/inputs/a~1b~0c/3"
    assert [error.pointer for error in problem.errors] == [pointer]


@pytest.mark.parametrize(
    ("place", "is_text", "pointer"),
    [
        (("nodes", 3, "args", 1), False, "/loss/expression/nodes/3/args/1"),
        (("nodes", 3, "args", 1), True, "/loss/expression"),
        (("output",), False, "/loss/expression/output"),
        (("outputs", 2), True, "/loss/expression"),
        (("inputs", "x"), False, "/inputs/x"),
        (("inputs", "x"), True, "/inputs/x"),
        (("wrt", 1), True, "/wrt/1"),
    ],
)
def test_place_in_the_expression_lies_under_its_path(place: Place, is_text: bool, pointer: str) -> None:
    expression = "x" if is_text else {"nodes": []}
    problem = problem_for(errors.UnknownNode("no such node", place), expression, ("loss", "expression"))
    assert [error.pointer for error in problem.errors] == [pointer]


def test_error_without_a_place_has_no_errors() -> None:
    assert problem_for(errors.UnknownNode("nowhere", ()), {"nodes": []}).details.errors is None


@pytest.mark.parametrize(
    ("error", "expression", "detail"),
    [
        (errors.UnboundInput("'x' has no number", ("nodes", 0)), "x", "'x' has no number; add it to \"inputs\""),
        (
            errors.UnboundInput("'x' has no number", ("nodes", 0)),
            {},
            '\'x\' has no number; add it to "inputs" or give the node "data"',
        ),
        (errors.UnboundInput("'x' and 'y' have no number", ()), "x", "'x' and 'y' have no number; add them to \"inputs\""),
        (
            errors.UnboundInput("'PI' has no number; pi is written pi", ()),
            "x",
            "'PI' has no number; pi is written pi; or add it to \"inputs\"",
        ),
        (errors.NonFinite("NaN", ()), "x", 'NaN; with "nonfinite": "null" the response has null in its place'),
        (errors.UnknownPrimitive("no 'q'.", ()), "x", "no 'q'. GET /v1/primitives lists them."),
        (errors.UnknownPrimitive("no 'sn'. Did you mean 'sin'?", ()), "x", "no 'sn'. Did you mean 'sin'?"),
    ],
    ids=[
        "unbound in a text",
        "unbound in a graph",
        "several unbound",
        "unbound, with a hint",
        "not finite",
        "unknown primitive",
        "nearly known primitive",
    ],
)
def test_advice_for_clients(error: EngineError, expression: object, detail: str) -> None:
    assert problem_for(error, expression).detail == detail


def test_located_prepends_the_path() -> None:
    with pytest.raises(Problem) as caught, located("state", "optimizer", "momentum"), located():
        raise NetworkMismatch("too few", ("layers", 0))
    assert caught.value.kind.name == "shape-mismatch"


@pytest.mark.parametrize(
    ("place", "whole", "pointer"),
    [
        (("inputs", 3), False, "/data/dataset/inputs/3"),
        (("inputs", 3), True, "/data/dataset"),
        (("model",), False, "/model"),
        (("model",), True, "/model"),
    ],
)
def test_located_points_at_the_part_or_the_whole(place: Place, whole: bool, pointer: str) -> None:
    with pytest.raises(Problem) as caught, located("data", "dataset", whole=whole):
        raise InvalidNetwork("wrong", place)
    assert [error.pointer for error in caught.value.errors] == [pointer]


def test_located_lets_other_errors_pass() -> None:
    with pytest.raises(ZeroDivisionError), located("model"):
        raise ZeroDivisionError


@pytest.mark.parametrize("expression", ["x*y", {"nodes": [{"id": "x", "op": "value"}], "output": "x"}], ids=["text", "graph"])
def test_error_that_no_route_has_located_is_a_problem(expression: object) -> None:
    """An unbound input comes up within the engine, when the route has long read the expression."""
    response = send(create_app(Settings()), "POST", "/v1/forward", json={"expression": expression})
    assert response.status_code == 422 and response.json()["type"] == "/problems/unbound-input"
    pointer = "/expression" if isinstance(expression, str) else "/expression/nodes/0"
    assert [error["pointer"] for error in response.json()["errors"]] == [pointer]


@pytest.mark.parametrize(("model", "advised"), [(ForwardRequest, True), (DerivativeRequest, False)])
def test_null_is_offered_only_where_a_request_can_ask_for_it(model: type[RequestModel], advised: bool) -> None:
    router = APIRouter(route_class=ComputationRoute)

    def work(request: Any) -> None:
        raise errors.NonFinite("the value is NaN", ())

    work.__annotations__["request"] = model
    router.post("/work")(work)
    detail = send(service(router), "POST", "/work", json={"expression": "x"}).json()["detail"]
    assert detail.startswith("the value is NaN") and ("nonfinite" in detail) == advised
