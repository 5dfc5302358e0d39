"""The pages behind the types of problems."""

import re

import httpx

from tests.contract.wire import problem
from tests.rows import for_each

TYPES = {
    "invalid-json": 400,
    "invalid-request": 422,
    "unknown-node": 422,
    "duplicate-node": 422,
    "graph-cycle": 422,
    "unknown-primitive": 422,
    "wrong-arity": 422,
    "unbound-input": 422,
    "syntax-error": 422,
    "shape-mismatch": 422,
    "non-finite": 422,
    "not-converged": 422,
    "too-large": 413,
    "unauthorized": 401,
    "not-acceptable": 406,
    "unsupported-media-type": 415,
    "not-found": 404,
    "method-not-allowed": 405,
    "overloaded": 503,
    "deadline-exceeded": 503,
    "internal": 500,
}


@for_each(("name", "status"), TYPES.items())
def test_problem_page_explains_name_and_status(client: httpx.Client, name: str, status: int) -> None:
    response = client.get(f"/problems/{name}")
    assert response.status_code == 200
    assert response.headers["content-type"].split(";")[0] == "text/html"
    assert name in response.text and str(status) in response.text
    assert 300 < len(response.content) < 5000
    assert "`" not in response.text, "names of fields stand in elements of their own"
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", response.text), "no other host"
    for link in re.findall(r'href="([^"]+)"', response.text):
        assert client.get(httpx.URL(f"/problems/{name}").join(link)).status_code == 200, link


def test_type_of_an_error_is_a_link_to_its_page(client: httpx.Client) -> None:
    url = client.base_url.join("/v1/forward")
    kind = problem(client.post("/v1/forward", content=b"{"))["type"]
    assert client.get(url.join(kind)).status_code == 200
