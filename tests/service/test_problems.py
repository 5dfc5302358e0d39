"""Problems: their kinds, their bounded and printable texts, and every exception as a response."""

import asyncio
import json
import re
from typing import Any

import numpy as np
import pytest
from fastapi import APIRouter, HTTPException, Request
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY
from starlette.requests import ClientDisconnect

from app.api.problem_pages import page
from app.main import create_app
from app.service import problems
from app.service.models import RequestModel
from app.service.problems import KINDS, FieldError, Problem, pointer, problem_at, response, too_large
from app.service.routing import ComputationRoute
from app.settings import Settings
from tests.rows import for_each
from tests.service.inprocess import running, send, service


def body_of(problem: Problem) -> dict[str, Any]:
    """The problem object of a response."""
    body: dict[str, Any] = json.loads(bytes(response(problem).body))
    return body


def test_kinds_are_those_of_the_contract() -> None:
    expected = {
        "invalid-json": 400, "invalid-request": 422, "unknown-node": 422, "duplicate-node": 422, "graph-cycle": 422,
        "unknown-primitive": 422, "wrong-arity": 422, "unbound-input": 422, "syntax-error": 422, "shape-mismatch": 422,
        "non-finite": 422, "not-converged": 422,
        "too-large": 413, "unauthorized": 401, "not-acceptable": 406, "unsupported-media-type": 415,
        "not-found": 404, "method-not-allowed": 405, "overloaded": 503, "deadline-exceeded": 503, "internal": 500,
        "too-many-requests": 429, "not-available": 501,
    }  # fmt: skip
    assert {name: kind.status for name, kind in KINDS.items()} == expected
    assert all(name == kind.name for name, kind in KINDS.items())


@for_each("kind", KINDS.values())
def test_kind_is_explained(kind: problems.Kind) -> None:
    assert kind.title and not kind.title.endswith(".") and len(kind.title) < 60
    assert kind.meaning.endswith(".") and kind.fix.endswith(".")
    text = page(kind)
    assert kind.name in text and str(kind.status) in text and len(text) < 4000
    assert not re.search(r"<script|https?://", text)


@for_each(
    ("path", "expected"),
    [
        ((), ""),
        (("inputs", "x"), "/inputs/x"),
        (("expression", "nodes", 3, "args", 1), "/expression/nodes/3/args/1"),
        (("",), "/"),
        (("a/b",), "/a~1b"),
        (("m~n",), "/m~0n"),
        (("~1", "~0", "/"), "/~01/~00/~1"),
        (("é", "日本", "😀"), "/é/日本/😀"),
        ((" ", '"', "\\", "%"), '/ /"/\\/%'),
        (("\ud800",), "/?"),
        ((0,), "/0"),
    ],
)
def test_pointer(path: tuple[str | int, ...], expected: str) -> None:
    assert pointer(path) == expected


def test_long_step_of_a_pointer_is_cut() -> None:
    assert len(pointer(("x" * 100_000, 3))) < 500


@given(st.lists(st.text(max_size=30) | st.integers(0, 10**6), max_size=5))
def test_pointer_can_be_encoded_and_read_back(path: list[str | int]) -> None:
    written = pointer(tuple(path))
    written.encode("utf-8")
    steps = [step.replace("~1", "/").replace("~0", "~") for step in written.split("/")[1:]]
    assert steps == [str(step).encode("utf-8", "replace").decode() for step in path]


def test_response_of_a_problem() -> None:
    answer = response(problem_at("unknown-node", ("wrt", 1), "there is no node 'z'"))
    assert answer.status_code == 422 and answer.headers["content-type"] == "application/problem+json"
    assert json.loads(bytes(answer.body)) == {
        "type": "/problems/unknown-node",
        "title": "No such node",
        "status": 422,
        "detail": "there is no node 'z'",
        "errors": [{"pointer": "/wrt/1", "detail": "there is no node 'z'"}],
    }


def test_problem_without_a_place_has_no_errors() -> None:
    assert "errors" not in body_of(problem_at("unknown-node", (), "nowhere"))


def test_problem_carries_its_headers() -> None:
    answer = response(Problem("overloaded", "later", headers={"Retry-After": "1"}))
    assert answer.status_code == 503 and answer.headers["retry-after"] == "1"


def test_too_large_names_the_setting_and_is_422() -> None:
    problem = too_large("the graph has 11 nodes", 10, "max_nodes", ("expression", "nodes"))
    body = body_of(problem)
    assert body["status"] == 422 and body["type"] == "/problems/too-large"
    assert body["detail"] == "the graph has 11 nodes; the limit is 10, and AUTODIFF_MAX_NODES raises it"
    assert [error["pointer"] for error in body["errors"]] == ["/expression/nodes"]


def test_at_most_20_errors_and_2000_characters() -> None:
    many = [FieldError(pointer=f"/{k}", detail="x" * 50_000) for k in range(100)]
    body = body_of(Problem("invalid-request", "y" * 50_000, many))
    assert len(body["errors"]) == 20 and body["errors"][0]["pointer"] == "/0"
    assert len(body["detail"]) <= 2000
    assert len(response(Problem("invalid-request", "y", many[:1])).body) < 20_000


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a lone \ud800", "a lone ?"), ("a\nb\x00", "a\\u000ab\\u0000"), ("日本 😀", "日本 😀"), ("\u202eevil", "\\u202eevil")],
    ids=["lone surrogate", "control characters", "other scripts", "direction mark"],
)
def test_text_is_printable(text: str, expected: str) -> None:
    body = body_of(problem_at("unknown-node", ("x",), text))
    assert body["detail"] == body["errors"][0]["detail"] == expected


def test_documented_responses_are_grouped_by_status() -> None:
    documented = problems.responses("invalid-request", "invalid-json", "unknown-node")
    assert list(documented) == [400, 422]
    assert re.findall(r"/problems/([a-z-]+)", documented[422]["description"]) == ["invalid-request", "unknown-node"]
    assert list(documented[400]["content"]) == ["application/problem+json"]


# --- exceptions as responses


class Nothing(RequestModel):
    """No fields."""


def failing(error: BaseException) -> APIRouter:
    """A computation, and a stock GET, that raise an exception."""
    router = APIRouter()

    @router.get("/fail")
    def fail_get(number: int = 0) -> None:
        raise error

    computations = APIRouter(route_class=ComputationRoute)

    @computations.post("/fail")
    def fail_post(request: Nothing) -> None:
        raise error

    router.include_router(computations)
    return router


def too_much_memory() -> MemoryError:
    """What NumPy raises for an array beyond all memory."""
    with pytest.raises(MemoryError) as raised:
        np.empty(2**58)
    return raised.value


METHODS = pytest.mark.parametrize(("method", "options"), [("GET", {}), ("POST", {"json": {}})], ids=["GET", "POST"])


@METHODS
@pytest.mark.parametrize(
    "error",
    [RuntimeError("s3cret"), KeyError("s3cret"), AssertionError("s3cret"), RecursionError("s3cret")],
    ids=lambda error: type(error).__name__,
)
def test_defect_shows_the_request_id_and_nothing_else(
    caplog: pytest.LogCaptureFixture, error: Exception, method: str, options: dict[str, Any]
) -> None:
    answer = send(service(failing(error)), method, "/fail", headers={"X-Request-ID": "the-id"}, **options)
    assert answer.status_code == 500 and answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-request-id"] == "the-id" and "the-id" in answer.json()["detail"]
    assert answer.json()["type"] == "/problems/internal"
    assert "s3cret" not in answer.text and "Error" not in answer.text
    assert "the-id" in caplog.text and "s3cret" in caplog.text


@METHODS
@pytest.mark.parametrize("error", [MemoryError("s3cret"), too_much_memory()], ids=["Python's", "NumPy's"])
def test_lack_of_memory_is_an_overload(
    caplog: pytest.LogCaptureFixture, error: Exception, method: str, options: dict[str, Any]
) -> None:
    """It is no defect: the same request may succeed when others have ended."""
    answer = send(service(failing(error)), method, "/fail", headers={"X-Request-ID": "the-id"}, **options)
    assert answer.status_code == 503 and answer.headers["retry-after"] == "1"
    assert answer.json()["type"] == "/problems/overloaded"
    assert "s3cret" not in answer.text and "the-id" in caplog.text


@METHODS
@pytest.mark.parametrize(
    ("status", "name"),
    [(400, "invalid-json"), (401, "unauthorized"), (403, "invalid-request"), (503, "overloaded"), (502, "internal")],
)
def test_http_exception_keeps_its_status(status: int, name: str, method: str, options: dict[str, Any]) -> None:
    error = HTTPException(status, "the reason", headers={"X-More": "yes"})
    answer = send(service(failing(error)), method, "/fail", **options)
    assert answer.status_code == answer.json()["status"] == status
    assert answer.json()["detail"] == "the reason" and answer.headers["x-more"] == "yes"
    assert answer.json()["type"] == f"/problems/{name}"


@METHODS
def test_client_that_left_gets_no_problem(method: str, options: dict[str, Any]) -> None:
    answer = send(service(failing(ClientDisconnect())), method, "/fail", **options)
    assert answer.status_code == 499 and answer.content == b""


def test_unknown_path_and_method() -> None:
    app = service(failing(RuntimeError()))
    unknown = send(app, "GET", "/nowhere")
    assert unknown.status_code == 404 and "/nowhere" in unknown.json()["detail"]
    long = send(app, "GET", "/nowhere" + "x" * 5000).json()["detail"]
    assert "/nowhere" in long and len(long) < 500
    wrong = send(app, "DELETE", "/fail")
    assert wrong.status_code == 405 and wrong.json()["type"] == "/problems/method-not-allowed"
    assert "DELETE" in wrong.json()["detail"] and wrong.headers["allow"] in wrong.json()["detail"]


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("/api/livez", "GET /livez"),
        ("/API/livez/", "GET /livez"),
        ("/v1/livez", "GET /livez"),
        ("/v23/livez", "GET /livez"),
        ("/api/v2/forward", "POST /v1/forward"),
        ("/v1/api/forward", "POST /v1/forward"),
    ],
)
def test_prefixes_that_people_add_to_paths(path: str, meant: str) -> None:
    """`api` and a version, in any order."""
    assert problems.meant_path(path, create_app(Settings()).state.paths) == meant


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("/v1/hesian", "POST /v1/hessian"),
        ("/forwrad", "POST /v1/forward"),
        ("/v1/networks/trian", "POST /v1/networks/train"),
        ("/v1/propagaet", "POST /v1/propagate"),
        ("/metrcis", "GET /metrics"),
    ],
)
def test_mistyped_path(path: str, meant: str) -> None:
    assert problems.meant_path(path, create_app(Settings()).state.paths) == meant


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("/livez.json", "GET /livez"),
        ("/v1/backward.py", "POST /v1/backward"),
        ("/v1/backward/x/y", "POST /v1/backward"),
        ("/hessian.v2/x", "POST /v1/hessian"),
        ("/gradient/x", "POST /v1/backward"),
        ("/networks/train/stream/all", "POST /v1/networks/train/stream"),
        ("/nowhere/else.json", None),
    ],
)
def test_what_follows_a_path_is_passed_over(path: str, meant: str | None) -> None:
    """An extension, or more steps; the longest beginning that is known counts."""
    assert problems.meant_path(path, create_app(Settings()).state.paths) == meant


TRIED = {
    "POST /v1/backward": "ad autodiff backprop derivatives grad gradient gradients reverse value_and_grad vjp",
    "POST /v1/forward": "compute eval evaluate evaluation expression value",
    "POST /v1/derivative": "diff differentiate latex simplify symbolic",
    "POST /v1/hessian": "hess hesse",
    "POST /v1/jacobian": "jac",
    "POST /v1/minimize": "minimise minimization optimise optimize solve",
    "POST /v1/fit": "curve-fit curve_fit curvefit fitting least-squares least_squares regression",
    "POST /v1/propagate": "error-propagation gum propagation uncertainty",
    "POST /v1/code": "codegen export generate",
    "POST /v1/graph": "draw plot svg",
    "POST /v1/networks/train": "fit/network network/train networks/fit train training",
    "POST /v1/networks/predict": "network/predict predict prediction",
    "POST /v1/networks": "mlp network networks/create networks/new nn",
    "POST /v1/networks/backward": "gradients/network networks/gradient networks/loss",
    "GET /v1/datasets": "dataset",
    "GET /v1/primitives": "functions operations ops",
    "GET /v1/info": "info version",
    "GET /": "index.html playground web",
    "GET /readyz": "health healthcheck healthz ping ready status up",
    "GET /livez": "alive live",
    "GET /openapi.json": "openapi openapi.yaml schema swagger.json",
    "GET /docs": "documentation help redoc swagger swagger-ui ui",
}
"""Names under which people look for an endpoint."""


@for_each("meant", TRIED)
def test_names_that_people_try(meant: str) -> None:
    paths = create_app(Settings()).state.paths
    assert {problems.meant_path(f"/v1/{name}", paths) for name in TRIED[meant].split()} == {meant}


@pytest.mark.parametrize(
    ("path", "meant"),
    [("/tesseract/x/apply/", "POST /tesseract/x/apply"), ("/tesseract/x/health/", "GET /tesseract/x/health")],
)
def test_slash_after_a_path_with_a_parameter(path: str, meant: str) -> None:
    assert problems.meant_path(path, create_app(Settings()).state.paths) == meant


@pytest.mark.parametrize("path", ["/apiary/livez", "/myapi/livez", "/v1beta/livez", "/v/livez"])
def test_what_only_begins_like_a_prefix_is_another_path(path: str) -> None:
    assert problems.meant_path(path, create_app(Settings()).state.paths) != "GET /livez"


@pytest.mark.parametrize(
    ("name", "status"), [("invalid-json", 400), ("not-found", 404), ("non-finite", 422), ("overloaded", 503)]
)
def test_rejected_requests_are_counted_by_their_problem(name: str, status: int) -> None:
    def counted(label: str) -> float:
        return REGISTRY.get_sample_value("autodiff_rejected_total", {"problem": label}) or 0.0

    before = counted(name)
    assert send(service(failing(Problem(name, "a detail"))), "GET", "/fail").status_code == status
    assert counted(name) == before + 1 and counted("200") == 0.0


def test_invalid_query_parameter_is_named() -> None:
    answer = send(service(failing(RuntimeError())), "GET", "/fail?number=many")
    assert answer.status_code == 422 and answer.json()["type"] == "/problems/invalid-request"
    assert answer.json()["detail"].startswith("query parameter 'number': input should be a valid integer")
    assert "many" not in answer.text


def test_answer_is_that_of_the_handlers() -> None:
    """As streams need it, which have begun their response when something goes wrong."""

    async def answers() -> list[tuple[int, str]]:
        app = service()
        scope = {"type": "http", "method": "GET", "path": "/", "headers": [], "query_string": b"", "app": app}
        request = Request({**scope, "state": {"facts": {}, "request_id": "the-id"}, "server": ("test", 80)})
        async with running(app):
            errors = (Problem("overloaded", "later"), HTTPException(404), RuntimeError("s3cret"))
            found = [await problems.answer(request, error) for error in errors]
        return [(row.status_code, bytes(row.body).decode()) for row in found]

    overloaded, unknown, internal = asyncio.run(answers())
    assert overloaded[0] == 503 and "later" in overloaded[1]
    assert unknown[0] == 404
    assert internal[0] == 500 and "the-id" in internal[1] and "s3cret" not in internal[1]
