"""No error repeats what the request contained."""

import json
from typing import Any

from tests.contract.conftest import Post
from tests.contract.wire import graph, leaf, node, problem
from tests.rows import for_each

SECRET = "s3cr3tMarker"

ECHOES: list[tuple[str, Any]] = [
    ("value of an unknown field", {"expression": "1", "other": SECRET}),
    ("value of an unknown field of a node", {"expression": graph({**leaf("x", 1.0), "other": {SECRET: SECRET}})}),
    ("number", {"expression": "x", "inputs": {"x": SECRET}}),
    ("item", {"expression": "x", "inputs": {"x": [1, SECRET]}}),
    ("data", {"expression": graph({**leaf("x", 1.0), "data": SECRET})}),
    ("nonfinite", {"expression": "1", "nonfinite": SECRET}),
    ("values", {"expression": "1", "values": SECRET}),
    ("inputs", {"expression": "1", "inputs": SECRET}),
    ("nodes", {"expression": {"nodes": SECRET, "output": "x"}}),
    ("expression", {"expression": [SECRET]}),
    ("label", {"expression": graph({**leaf("x", 1.0), "label": SECRET}, node("y", "nope", "x", label=SECRET))}),
    ("other ids", {"expression": graph(leaf(SECRET, 1), leaf("x", 1.0), node("y", "nope", "x"))}),
    ("comment", {"expression": f"x +* 2  # {SECRET}", "inputs": {"x": 1}}),
    ("text around", {"expression": f"{SECRET} = 1\ny = 2 + * {SECRET}", "inputs": {}}),
    ("text that is not finite", {"expression": f"{SECRET} = 1; y = log(-1)"}),
    ("other inputs", {"expression": f"{SECRET} = x; log({SECRET}*0 - 1)", "inputs": {"x": 1}}),
    ("body", SECRET),
    ("list", [SECRET]),
]


@for_each(("where", "body"), ECHOES)
def test_error_does_not_echo_the_request(post: Post, where: str, body: Any) -> None:
    response = post("forward", content=json.dumps(body).encode())
    problem(response)
    assert SECRET not in response.text and SECRET not in str(response.headers)


WHOLE = json.dumps({SECRET: SECRET, "expression": SECRET, "x": [SECRET]}).encode()
INVALID = {f"cut by {cut}": WHOLE[:-cut] for cut in (1, 5, 20, 40, 60)}
INVALID |= {"not UTF-8": b"\xff" + WHOLE, "surrogate": WHOLE[:-1] + b"\xed\xa0\x80", "null byte": WHOLE[:-1] + b"\x00"}
INVALID |= {"bare word": SECRET.encode()}


@for_each("content", INVALID.values())
def test_invalid_json_is_not_echoed(post: Post, content: bytes) -> None:
    response = post("forward", content=content)
    problem(response, "invalid-json", 400)
    assert SECRET not in response.text
