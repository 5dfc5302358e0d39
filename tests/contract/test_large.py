"""Large requests with closed-form answers. Nothing here is about speed but that it ends."""

from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.contract.conftest import Post
from tests.contract.wire import answer, graph, leaf, node

COUNT = 300_000
BLOCK = 15_000
DOUBLINGS = COUNT // BLOCK
SLOW = httpx.Timeout(120)


def chain() -> list[str]:
    """x, then 300,000 nodes: every 15,000th doubles, the others add one; each block is v -> 2*(v + 14999)."""
    nodes = ['{"id":"n0","op":"value","data":3}']
    for k in range(1, COUNT + 1):
        op, number = ("mul", 2) if k % BLOCK == 0 else ("add", 1)
        nodes.append(f'{{"id":"n{k}","op":"{op}","args":["n{k - 1}",{number}]}}')
    return nodes


@pytest.mark.parametrize("reverse", [False, True], ids=["in order", "reversed"])
def test_a_chain_of_300_000_nodes(client: httpx.Client, reverse: bool) -> None:
    nodes = chain()[:: -1 if reverse else 1]
    body = f'{{"expression":{{"nodes":[{",".join(nodes)}],"output":"n{COUNT}"}},"wrt":["n0","n{BLOCK}","n{COUNT}"]}}'
    found = answer(client.post("/v1/backward", content=body.encode(), timeout=SLOW))
    assert found["value"] == 2**DOUBLINGS * 3 + (BLOCK - 1) * (2 ** (DOUBLINGS + 1) - 2)
    assert found["gradients"] == {"n0": 2.0**DOUBLINGS, f"n{BLOCK}": 2.0 ** (DOUBLINGS - 1), f"n{COUNT}": 1.0}


def test_all_the_gradients_of_a_long_chain(client: httpx.Client) -> None:
    """The default `wrt` is every node, however many."""
    count = 50_000
    nodes = [leaf("n0", 1.0), *(node(f"n{k}", "neg", f"n{k - 1}") for k in range(1, count + 1))]
    found = answer(client.post("/v1/backward", json={"expression": graph(*nodes)}, timeout=SLOW))
    assert found["value"] == 1.0
    assert found["gradients"] == {f"n{k}": (-1.0) ** (count - k) for k in range(count + 1)}


def test_a_node_with_100_000_arguments(post: Post) -> None:
    count = 100_000
    found = answer(post("backward", expression=graph(leaf("x", 0.5), node("y", "sum", *["x"] * count)), wrt=["x"]))
    assert found["value"] == count / 2 and found["gradients"] == {"x": float(count)}


def test_a_node_that_100_000_others_use(client: httpx.Client) -> None:
    count = 100_000
    users = [node(f"u{k}", "mul", "x", k) for k in range(count)]
    expression = graph(leaf("x", 1.0), *users, node("y", "sum", *[f"u{k}" for k in range(count)]))
    found = answer(client.post("/v1/backward", json={"expression": expression, "wrt": ["x"]}, timeout=SLOW))
    assert found["value"] == found["gradients"]["x"] == count * (count - 1) / 2


def test_others_are_served_while_a_large_request_is_computed(base_url: str, client: httpx.Client) -> None:
    """Health above all: an orchestrator that gets no answer ends the process."""
    names = [f"x{k}" for k in range(400)]
    text = " + ".join(f"sin({a}*{b})" for a, b in zip(names, names[1:], strict=False))
    request = {"expression": text, "inputs": {name: [0.1 * k for k in range(60)] for name in names}, "wrt": names[:200]}
    served = 0
    with ThreadPoolExecutor(1) as pool:
        large = pool.submit(httpx.post, f"{base_url}/v1/hessian", json=request, timeout=SLOW)
        while not large.done():
            assert client.get("/livez").status_code == client.get("/readyz").status_code == 200
            assert answer(client.post("/v1/forward", json={"expression": "1 + 1"}))["value"] == 2.0
            served += not large.done()
    assert large.result().status_code == 200 and served > 3


@pytest.mark.parametrize(
    ("text", "value", "gradient"),
    [
        ("(" * 5000 + "x" + ")" * 5000, 3.0, 1.0),
        ("(1 + " * 5000 + "x" + ")" * 5000, 5003.0, 1.0),
        ("-" * 5001 + "x", -3.0, -1.0),
        ("neg(" * 5000 + "x" + ")" * 5000, 3.0, 1.0),
        ("max(1, " * 5000 + "x" + ")" * 5000, 3.0, 1.0),
        ("x" + " + x" * 20_000, 60_003.0, 20_001.0),
        ("0 if x < 0 else " * 5000 + "x", 3.0, 1.0),
        ("x" + "**1" * 1, 3.0, 1.0),
        ("x" + "**1" * 5000, 3.0, 1.0),
        ("\n".join(["a0 = x", *(f"a{k} = a{k - 1} + 1" for k in range(1, 20_000))]), 20_002.0, 1.0),
        ("x" + " " * 500_000, 3.0, 1.0),
        ("\n" * 100_000 + "x", 3.0, 1.0),
    ],
    ids=[
        "parentheses",
        "sums",
        "signs",
        "calls",
        "calls of two",
        "operators",
        "conditions",
        "power",
        "powers",
        "statements",
        "spaces",
        "lines",
    ],
)
def test_deep_and_long_texts(post: Post, text: str, value: float, gradient: float) -> None:
    found = answer(post("backward", expression=text, inputs={"x": 3}, wrt=["x"]))
    assert found["value"] == value and found["gradients"] == {"x": gradient}


def test_20_000_points(post: Post) -> None:
    x = [k / 64 for k in range(20_000)]
    found = answer(post("backward", expression="x*x + w", inputs={"x": x, "w": 0.25}))
    assert found["value"] == [point * point + 0.25 for point in x]
    assert found["gradients"] == {"x": [2 * point for point in x], "w": [1.0] * 20_000}


def test_20_000_points_of_a_list_for_each_input(post: Post) -> None:
    x = [float(k) for k in range(20_000)]
    request = {"expression": "f = x*y; g = y - x", "inputs": {"x": x, "y": x[::-1]}, "outputs": ["f", "g"]}
    found = answer(post("jacobian", **request))
    assert found["jacobian"]["f"] == {"x": x[::-1], "y": x}
    assert found["jacobian"]["g"] == {"x": [-1.0] * 20_000, "y": [1.0] * 20_000}


def test_a_hessian_of_100_variables(post: Post) -> None:
    """f = sum over i of i*x_i*x_(i+1): only the neighbours of the diagonal are not zero."""
    names = [f"x{k}" for k in range(100)]
    text = " + ".join(f"{k}*x{k}*x{k + 1}" for k in range(99))
    hessian = answer(post("hessian", expression=text, inputs=dict.fromkeys(names, 1.0)))["hessian"]
    for i, a in enumerate(names):
        for j, b in enumerate(names):
            assert hessian[a][b] == (float(min(i, j)) if abs(i - j) == 1 else 0.0)
