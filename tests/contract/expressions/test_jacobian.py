"""POST /v1/jacobian: the derivatives of several outputs."""

import pytest

from tests.contract.conftest import Post
from tests.contract.wire import json_of, leaf, node


def test_jacobian_of_the_outputs_of_a_text(post: Post) -> None:
    request = {"expression": "f = x*y; g = sin(x); h = f + g", "inputs": {"x": 0, "y": 5}, "outputs": ["f", "g"]}
    assert json_of(post("jacobian", **request)) == {
        "values": {"f": 0.0, "g": 0.0},
        "jacobian": {"f": {"x": 5.0, "y": 0.0}, "g": {"x": 1.0, "y": 0.0}},
    }


def test_jacobian_of_the_outputs_of_a_graph(post: Post) -> None:
    nodes = [leaf("x", 2), leaf("y", 3), node("f", "mul", "x", "y"), node("g", "sub", "f", "x")]
    found = json_of(post("jacobian", expression={"nodes": nodes, "outputs": ["g", "f"]}))
    assert found["values"] == {"g": 4.0, "f": 6.0}
    assert found["jacobian"] == {"g": {"x": 2.0, "y": 2.0}, "f": {"x": 3.0, "y": 2.0}}


def test_jacobian_of_one_output_is_its_gradient(post: Post) -> None:
    found = json_of(post("jacobian", expression="x**2*y", inputs={"x": 3, "y": 1}))
    assert found == {"values": {"output": 9.0}, "jacobian": {"output": {"x": 6.0, "y": 9.0}}}


@pytest.mark.parametrize("names", [["x"], ["x", "y"], ["y", "x", "z", "f"]], ids=",".join)
def test_jacobian_with_fewer_and_more_inputs_than_outputs(post: Post, names: list[str]) -> None:
    """Forward or reverse mode, whichever is chosen, the entries are the same."""
    text, inputs = "f = x*y; g = f*z; h = g - x", {"x": 2, "y": 3, "z": 5}
    found = json_of(post("jacobian", expression=text, inputs=inputs, outputs=["f", "g", "h"], wrt=names))["jacobian"]
    expected = {
        "f": {"x": 3.0, "y": 2.0, "z": 0.0, "f": 1.0},
        "g": {"x": 15.0, "y": 10.0, "z": 6.0, "f": 5.0},
        "h": {"x": 14.0, "y": 10.0, "z": 6.0, "f": 5.0},
    }
    assert found == {f: {name: row[name] for name in names} for f, row in expected.items()}


def test_jacobian_at_many_points(post: Post) -> None:
    request = {"expression": "f = x*y; g = y", "inputs": {"x": [1, 2], "y": 3}, "outputs": ["f", "g"]}
    found = json_of(post("jacobian", **request))
    assert found["values"] == {"f": [3.0, 6.0], "g": 3.0}, "only what depends on a point is a list"
    assert found["jacobian"] == {"f": {"x": [3.0, 3.0], "y": [1.0, 2.0]}, "g": {"x": [0.0, 0.0], "y": [1.0, 1.0]}}
