"""The mistakes that the documentation and the pages about problems show, sent as they stand there."""

import re
from html import unescape

import httpx

from app.api.mistakes import MISTAKES
from app.service.problems import KINDS
from tests.contract.wire import problem
from tests.rows import for_each

METHODS = ("GET ", "POST ")
NOT_HERE = {"unauthorized", "not-available"}
"""What this server does not answer: it has no keys, and all libraries."""

SENT = [name for name, mistake in MISTAKES.items() if mistake.wrong.startswith(METHODS) and name not in NOT_HERE]
REPAIRED = [name for name, mistake in MISTAKES.items() if mistake.right.startswith(METHODS)]


def send(client: httpx.Client, text: str) -> httpx.Response:
    """Send a request that is written as method and path, headers, an empty line, and a body."""
    head, _, body = text.partition("\n\n")
    first, *lines = head.split("\n")
    method, path = first.split(" ")
    headers = {"Content-Type": "application/json"} if body else {}
    return client.request(method, path, headers=headers | dict(line.split(": ", 1) for line in lines), content=body or None)


def test_every_kind_of_problem_has_a_mistake() -> None:
    assert list(MISTAKES) == list(KINDS)


@for_each("name", SENT)
def test_mistake_gets_its_problem(client: httpx.Client, name: str) -> None:
    refused = send(client, MISTAKES[name].wrong)
    assert problem(refused, name, KINDS[name].status)["detail"] == MISTAKES[name].detail


@for_each("name", REPAIRED)
def test_repaired_request_is_answered(client: httpx.Client, name: str) -> None:
    assert send(client, MISTAKES[name].right).status_code == 200


@for_each("name", MISTAKES)
def test_page_shows_the_mistake_the_error_and_the_fix(client: httpx.Client, name: str) -> None:
    page = client.get(f"/problems/{name}").text
    wrong, error, right = (unescape(text) for text in re.findall("<pre[^>]*>(.*?)</pre>", page, re.DOTALL))
    assert wrong == MISTAKES[name].wrong and right == MISTAKES[name].right
    assert f"/problems/{name}" in error and KINDS[name].title in error
