"""POST /v1/code: an expression and its derivatives as source code."""

from typing import Any

import httpx
import pytest

from app.formats.languages import LANGUAGES
from tests.contract.conftest import Post
from tests.contract.wire import graph, json_of, leaf, node, problem

EXPRESSION = "h = tanh(w*x + b); (h - y)**2"


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("derivatives", ["none", "gradient", "hessian"])
def test_every_language(post: Post, client: httpx.Client, language: str, derivatives: str) -> None:
    request = {"expression": EXPRESSION, "language": language, "derivatives": derivatives}
    answer = json_of(post("code", **request))
    assert answer["language"] == language and answer["inputs"] == ["w", "x", "b", "y"] and answer["renamed"] == {}
    assert "\n" not in answer["usage"] and "f" in answer["usage"]
    plain = client.post("/v1/code", json=request, headers={"Accept": "text/plain"})
    assert plain.status_code == 200 and plain.headers["content-type"].startswith("text/plain")
    assert plain.text == answer["source"]


def test_names_are_changed_where_the_language_does_not_allow_them(post: Post) -> None:
    nodes = graph(leaf("if"), leaf("x 1"), leaf("exp"), leaf("f"), node("y", "prod", "if", "x 1", "exp", "f"))
    answer = json_of(post("code", expression=nodes, language="c"))
    assert answer["renamed"] == {"if": "if_2", "x 1": "x_1", "exp": "exp_2", "f": "f_2"}
    assert answer["inputs"] == ["if_2", "x_1", "exp_2", "f_2"]
    assert json_of(post("code", expression="V/I", language="elixir"))["renamed"] == {"V": "v", "I": "i"}
    assert json_of(post("code", expression="x", language="c", name="double"))["renamed"] == {"double": "double_2"}


def test_wrt_chooses_the_derivatives(post: Post) -> None:
    answer = json_of(post("code", expression="x*y*z", wrt=["z"], language="c"))
    assert answer["usage"] == "double gradient[1]; double value = f(x, y, z, gradient);"
    assert "gradient[1] =" not in answer["source"]
    assert json_of(post("code", expression="k = 2; k*x", language="python"))["inputs"] == ["x"]


@pytest.mark.parametrize(
    ("fields", "name", "pointer"),
    [
        ({"language": "cobol"}, "invalid-request", "/language"),
        ({"language": 5}, "invalid-request", "/language"),
        ({"derivatives": "third"}, "invalid-request", "/derivatives"),
        ({"name": ""}, "invalid-request", "/name"),
        ({"wrt": ["q"]}, "unknown-node", "/wrt/0"),
        ({"inputs": {"x": 1}}, "invalid-request", "/inputs"),
        ({"expression": "polygamma(2.5, x)"}, "invalid-request", "/expression"),
    ],
)
def test_faults(post: Post, fields: dict[str, Any], name: str, pointer: str) -> None:
    problem(post("code", **{"expression": "x*y", "language": "c", **fields}), name, 422, pointer)


def test_unknown_language_is_told_all_that_are_known(post: Post) -> None:
    detail = problem(post("code", expression="x", language="cobol"), "invalid-request", 422, "/language")["detail"]
    assert set(detail.partition("expected one of ")[2].split(", ")) == {"c", "elixir", "javascript", "latex", "python", "r"}


def test_missing_language(client: httpx.Client) -> None:
    problem(client.post("/v1/code", json={"expression": "x"}), "invalid-request", 422)
