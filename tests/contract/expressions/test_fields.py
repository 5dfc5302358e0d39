"""Null, values of another type, and unknown fields, at every level of a request."""

import json
from typing import Any

from tests.contract.conftest import Post
from tests.contract.expressions.requests import FULL
from tests.contract.wire import POSTS, assert_never_5xx, paths, problem, put
from tests.rows import for_each


@for_each("operation", POSTS)
def test_request_with_every_field_is_valid(post: Post, operation: str) -> None:
    assert post(operation, **FULL[operation]).status_code == 200


OTHER_VALUES: list[Any] = [None, True, 5, 1.5, "", "q", [], ["x"], [[]], [None], {}, {"x": "y"}, {"": None}, {"nodes": None}]
REQUIRED = ("expression", "nodes", "id", "op", "output", "x")
"""Fields that may not be null. "x" is a key of `inputs` and `tangents`."""


@for_each("value", OTHER_VALUES)
@for_each(("operation", "path"), [(operation, path) for operation in POSTS for path in paths(FULL[operation])])
def test_value_of_another_type_is_a_422_or_harmless(
    post: Post, operation: str, path: tuple[str | int, ...], value: Any
) -> None:
    response = post(operation, content=json.dumps(put(FULL[operation], path, value)).encode())
    assert_never_5xx(response)
    if value is None and (not path or isinstance(path[-1], int) or path[-1] in REQUIRED):
        problem(response, status=422)


UNKNOWN = ["extra", "", "id ", "Expression", "a - at `$.q", "a` - at `$.x[...][3]`", "$[0]", "`", "~/", "é", "x" * 50_000]
LEVELS = [(), ("expression",), ("expression", "nodes", 0), ("expression", "nodes", 1)]


@for_each("name", UNKNOWN)
@for_each("level", LEVELS)
@for_each("operation", POSTS)
def test_unknown_field_is_refused(post: Post, operation: str, level: tuple[str | int, ...], name: str) -> None:
    request = put(FULL[operation], (*level, name), 1)
    body = problem(post(operation, content=json.dumps(request).encode()), "invalid-request", 422)
    steps = [*level, name.replace("~", "~0").replace("/", "~1")]
    assert body["errors"][0]["pointer"].startswith(("/" + "/".join(map(str, steps)))[:100])


@for_each("value", ["nul", "", "a - at `$.q", "a` - at `$.inputs[...]`", "'", "q" * 100_000, "\u202e", "\n"])
def test_unknown_value_of_an_enumeration_is_refused(post: Post, value: str) -> None:
    problem(post("forward", expression="1", nonfinite=value), "invalid-request", 422, "/nonfinite")
