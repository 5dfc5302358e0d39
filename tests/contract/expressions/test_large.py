"""Large expressions with closed-form results. There is no time limit but the client's."""

import httpx
import pytest

from tests.contract.conftest import Post
from tests.contract.wire import graph, json_of, leaf, node
from tests.rows import for_each

COUNT = 300_000
BLOCK = 15_000
DOUBLINGS = COUNT // BLOCK
SLOW = httpx.Timeout(120)


def chain() -> list[str]:
    """Return the JSON of n0 and 300,000 more nodes. Every 15,000th doubles, the others add 1: blocks map v to 2*(v + 14999)."""
    nodes = ['{"id":"n0","op":"value","data":3}']
    for k in range(1, COUNT + 1):
        op, number = ("mul", 2) if k % BLOCK == 0 else ("add", 1)
        nodes.append(f'{{"id":"n{k}","op":"{op}","args":["n{k - 1}",{number}]}}')
    return nodes


@pytest.mark.parametrize("reverse", [False, True], ids=["in order", "reversed"])
def test_chain_of_300_000_nodes(client: httpx.Client, reverse: bool) -> None:
    nodes = chain()[:: -1 if reverse else 1]
    body = f'{{"expression":{{"nodes":[{",".join(nodes)}],"output":"n{COUNT}"}},"wrt":["n0","n{BLOCK}","n{COUNT}"]}}'
    found = json_of(client.post("/v1/backward", content=body.encode(), timeout=SLOW))
    assert found["value"] == 2**DOUBLINGS * 3 + (BLOCK - 1) * (2 ** (DOUBLINGS + 1) - 2)
    assert found["gradients"] == {"n0": 2.0**DOUBLINGS, f"n{BLOCK}": 2.0 ** (DOUBLINGS - 1), f"n{COUNT}": 1.0}


def test_gradients_of_all_50_000_nodes_of_a_chain(client: httpx.Client) -> None:
    """The default `wrt` is every node, however many."""
    count = 50_000
    nodes = [leaf("n0", 1.0), *(node(f"n{k}", "neg", f"n{k - 1}") for k in range(1, count + 1))]
    found = json_of(client.post("/v1/backward", json={"expression": graph(*nodes)}, timeout=SLOW))
    assert found["value"] == 1.0
    assert found["gradients"] == {f"n{k}": (-1.0) ** (count - k) for k in range(count + 1)}


def test_node_with_100_000_arguments(post: Post) -> None:
    count = 100_000
    found = json_of(post("backward", expression=graph(leaf("x", 0.5), node("y", "sum", *["x"] * count)), wrt=["x"]))
    assert found["value"] == count / 2 and found["gradients"] == {"x": float(count)}


def test_node_with_100_000_users(client: httpx.Client) -> None:
    count = 100_000
    users = [node(f"u{k}", "mul", "x", k) for k in range(count)]
    expression = graph(leaf("x", 1.0), *users, node("y", "sum", *[f"u{k}" for k in range(count)]))
    found = json_of(client.post("/v1/backward", json={"expression": expression, "wrt": ["x"]}, timeout=SLOW))
    assert found["value"] == found["gradients"]["x"] == count * (count - 1) / 2


@for_each(
    ("text", "value", "gradient"),
    [
        ("(" * 5000 + "x" + ")" * 5000, 3.0, 1.0),
        ("(1 + " * 5000 + "x" + ")" * 5000, 5003.0, 1.0),
        ("-" * 5001 + "x", -3.0, -1.0),
        ("neg(" * 5000 + "x" + ")" * 5000, 3.0, 1.0),
        ("max(1, " * 5000 + "x" + ")" * 5000, 3.0, 1.0),
        ("x" + " + x" * 20_000, 60_003.0, 20_001.0),
        ("0 if x < 0 else " * 5000 + "x", 3.0, 1.0),
        ("x" + "**1" * 5000, 3.0, 1.0),
        ("\n".join(["a0 = x", *(f"a{k} = a{k - 1} + 1" for k in range(1, 20_000))]), 20_002.0, 1.0),
        ("x" + " " * 500_000, 3.0, 1.0),
        ("\n" * 100_000 + "x", 3.0, 1.0),
    ],
)
def test_deep_and_long_text(post: Post, text: str, value: float, gradient: float) -> None:
    found = json_of(post("backward", expression=text, inputs={"x": 3}, wrt=["x"]))
    assert found["value"] == value and found["gradients"] == {"x": gradient}


def test_20_000_points_and_a_constant(post: Post) -> None:
    x = [k / 64 for k in range(20_000)]
    found = json_of(post("backward", expression="x*x + w", inputs={"x": x, "w": 0.25}))
    assert found["value"] == [point * point + 0.25 for point in x]
    assert found["gradients"] == {"x": [2 * point for point in x], "w": [1.0] * 20_000}


def test_jacobian_at_20_000_points_with_a_list_per_input(post: Post) -> None:
    x = [float(k) for k in range(20_000)]
    request = {"expression": "f = x*y; g = y - x", "inputs": {"x": x, "y": x[::-1]}, "outputs": ["f", "g"]}
    found = json_of(post("jacobian", **request))
    assert found["jacobian"]["f"] == {"x": x[::-1], "y": x}
    assert found["jacobian"]["g"] == {"x": [-1.0] * 20_000, "y": [1.0] * 20_000}


def test_hessian_of_100_variables(post: Post) -> None:
    """f = sum over i of i*x_i*x_(i+1): only the neighbours of the diagonal are nonzero."""
    names = [f"x{k}" for k in range(100)]
    text = " + ".join(f"{k}*x{k}*x{k + 1}" for k in range(99))
    hessian = json_of(post("hessian", expression=text, inputs=dict.fromkeys(names, 1.0)))["hessian"]
    for i, a in enumerate(names):
        for j, b in enumerate(names):
            assert hessian[a][b] == (float(min(i, j)) if abs(i - j) == 1 else 0.0), (a, b)
