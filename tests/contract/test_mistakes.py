"""Every row of the tables of mistakes: the answer says what is wrong and where, and what it proposes is right."""

import re
from typing import Any

import httpx
import pytest

from tests.contract.conftest import Post
from tests.contract.mistakes import NOT_JSON, PATHS, SENT, TYPED, Sent, Typed
from tests.contract.wire import assert_mentions, json_of, problem, resolve
from tests.rows import for_each

TEXT_PROBLEMS = ("syntax-error", "unknown-primitive", "wrong-arity")


def proposed(detail: str, text: str) -> bool:
    """Whether a detail ends with a text that it proposes."""
    return detail.endswith(f": {text}")


def value(post: Post, text: str, inputs: dict[str, float]) -> float:
    """The value of a text, with those of the inputs that it has."""
    used = {name: number for name, number in inputs.items() if re.search(rf"(?<!\w){name}(?!\w)", text)}
    return float(json_of(post("forward", expression=text, inputs=used))["value"])


@for_each("row", TYPED)
def test_text_is_explained_and_the_proposal_is_right(post: Post, row: Typed) -> None:
    body = problem(post("backward", expression=row.text, inputs={}), None, 422, "/expression")
    assert body["type"].removeprefix("/problems/") in TEXT_PROBLEMS
    assert re.match(r"line 1, column \d+: ", body["detail"])
    assert_mentions(body, row.says)
    if row.writes is None:
        assert not re.search(r": [^:']+$", body["detail"].removesuffix(".").partition(": ")[2]), "it proposes something"
        return
    assert proposed(body["detail"], row.writes), body["detail"]
    assert row.means is not None
    assert value(post, row.writes, row.inputs) == pytest.approx(row.means, rel=1e-12)


@for_each("row", SENT)
def test_request_is_explained_and_the_fixed_one_is_answered(post: Post, row: Sent) -> None:
    body = problem(post(row.operation, **row.body), row.problem, 422, row.pointer)
    assert_mentions({"detail": body["detail"]}, row.says)
    for entry in body["errors"]:
        resolve(row.body, entry["pointer"].rpartition("/")[0])
    if row.fixed is not None:
        assert post(row.operation, **row.fixed).status_code == 200


@for_each("name", NOT_JSON)
def test_body_that_is_not_json_is_explained(post: Post, name: str) -> None:
    content, *says = NOT_JSON[name]
    assert_mentions(problem(post("backward", content=content.encode()), "invalid-json", 400), says)


@for_each(("method", "path", "status", "meant"), PATHS)
def test_wrong_path_leads_to_the_right_one(client: httpx.Client, method: str, path: str, status: int, meant: str) -> None:
    name = {404: "not-found", 405: "method-not-allowed"}[status]
    detail = problem(client.request(method, path), name, status)["detail"]
    assert re.search(rf"{re.escape(meant)}(?![\w/])", detail), detail


def test_right_paths_exist(routes: dict[str, tuple[str, str]]) -> None:
    documented = {path for _, path in routes.values()} | {"/docs", "/openapi.json"}
    filled = [(f"{{{parameter}}}", name) for parameter, name in (("name", "moons"), ("name", "syntax-error"))]
    documented |= {path.replace(*pair) for path in documented for pair in filled}
    assert {meant.split()[-1] for *_, meant in PATHS} <= documented


FORMS: dict[str, dict[str, Any]] = {
    "form": {"data": {"expression": "x**2"}},
    "files": {"files": {"expression": ("x.txt", b"x**2")}},
    "text": {"content": b'{"expression": "1"}', "headers": {"Content-Type": "text/plain"}},
    "curl's default": {"content": b'{"expression": "1"}', "headers": {"Content-Type": "application/x-www-form-urlencoded"}},
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_other_content_types_are_told_the_right_one(client: httpx.Client, form: dict[str, Any]) -> None:
    body = problem(client.post("/v1/backward", **form), "unsupported-media-type", 415)
    assert "Content-Type: application/json" in body["detail"]


@pytest.mark.parametrize("accept", ["application/problem+json", "application/problem+json, application/json;q=0.5"])
def test_client_that_accepts_only_problems_is_answered(post: Post, accept: str) -> None:
    """Some generated clients name only the media type of the errors."""
    response = post("backward", headers={"Accept": accept}, expression="x**2", inputs={"x": 3})
    assert json_of(response)["gradients"]["x"] == 6.0


QUERIES = {
    "n_samples": ("/v1/datasets/moons?n_samples=5", "it is called 'samples' here"),
    "format": ("/v1/datasets/moons?format=csv", "there are samples, noise, seed, arrays"),
}


@pytest.mark.parametrize(("path", "says"), QUERIES.values(), ids=QUERIES)
def test_query_parameters_are_named(client: httpx.Client, path: str, says: str) -> None:
    assert says in problem(client.get(path), "invalid-request", 422)["detail"]


def test_excluded_type_is_told_the_right_one(post: Post) -> None:
    answer = post("backward", headers={"Accept": "text/html"}, expression="1")
    assert problem(answer, "not-acceptable", 406)["detail"].endswith("send Accept: application/json")


def test_there_are_enough_rows() -> None:
    assert len(TYPED) + len(SENT) + len(NOT_JSON) + len(PATHS) >= 400
