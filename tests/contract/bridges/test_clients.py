"""The protocols' own clients, which the extra `bench` has: umbridge, tesseract-core and, for JAX, tesseract-jax.

JAX's own numbers are the reference for derivatives.
"""

import os
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import httpx
import numpy as np
import pytest
from scipy.optimize import minimize

from tests.contract.bridges.umbridge_calls import NETWORK, ROSENBROCK

MISSING = "is not installed; the bench extra has it"
TEXT = "x**2*sin(y)/(1 + x)"


# --- UM-Bridge


@pytest.fixture
def umbridge() -> Any:
    return pytest.importorskip("umbridge", reason=f"umbridge {MISSING}")


def v1(client: httpx.Client, operation: str, **body: Any) -> Any:
    response = client.post(f"/v1/{operation}", json=body)
    assert response.status_code == 200, response.text
    return response.json()


def test_umbridge_client_gets_the_numbers_of_v1_for_an_expression(umbridge: Any, base_url: str, client: httpx.Client) -> None:
    model = umbridge.HTTPModel(f"{base_url}/umbridge", "expression")
    config = {"expression": "h = tanh(w*x + b); (h - 1)**2"}
    names, point, vec = ["w", "x", "b"], [0.5, 2.0, -0.9], [0.3, -1.7, 0.2]
    body: dict[str, Any] = {"expression": config["expression"], "inputs": dict(zip(names, point, strict=True))}
    tangents = dict(zip(names, vec, strict=True))
    assert (model.get_input_sizes(config), model.get_output_sizes(config)) == ([3], [1])
    assert model([point], config) == [[v1(client, "forward", **body)["value"]]]
    gradients = v1(client, "backward", **body, cotangent=0.7)["gradients"]
    assert model.gradient(0, 0, [point], [0.7], config) == [gradients[name] for name in names]
    assert model.apply_jacobian(0, 0, [point], vec, config) == [v1(client, "jvp", **body, tangents=tangents)["tangent"]]
    product = v1(client, "hvp", **body, tangents=tangents)["hvp"]
    assert model.apply_hessian(0, 0, 0, [point], [0.7], vec, config) == [0.7 * product[name] for name in names]


def test_umbridge_client_gets_the_numbers_of_v1_for_a_network(umbridge: Any, base_url: str, client: httpx.Client) -> None:
    model = umbridge.HTTPModel(f"{base_url}/umbridge", "network")
    config, row, vec, names = {"model": NETWORK}, [0.4, -1.3], [0.3, -1.7], ["inputs.0", "inputs.1"]
    graph = v1(client, "networks/graph", model=NETWORK, inputs=row)["graph"]
    outputs = [{"nodes": graph["nodes"], "output": name} for name in graph["outputs"]]
    tangents = dict(zip(names, vec, strict=True))
    assert (model.get_input_sizes(config), model.get_output_sizes(config)) == ([2], [2])
    assert model([row], config) == v1(client, "networks/predict", model=NETWORK, inputs=[row])["outputs"]
    gradients = v1(client, "backward", expression=outputs[1], wrt=names, cotangent=0.7)["gradients"]
    assert model.gradient(0, 0, [row], [0.0, 0.7], config) == [gradients[name] for name in names]
    tangent = [v1(client, "jvp", expression=output, tangents=tangents)["tangent"] for output in outputs]
    assert model.apply_jacobian(0, 0, [row], vec, config) == tangent
    product = v1(client, "hvp", expression=outputs[0], tangents=tangents, wrt=names)["hvp"]
    assert model.apply_hessian(0, 0, 0, [row], [0.7, 0.0], vec, config) == [0.7 * product[name] for name in names]


def test_umbridge_client_raises_what_the_service_says(umbridge: Any, base_url: str) -> None:
    model = umbridge.HTTPModel(f"{base_url}/umbridge", "expression")
    with pytest.raises(Exception, match=r"error of type InvalidInput: input has 3 numbers, and the model takes 2"):
        model([[0.0, 0.0, 0.0]])
    with pytest.raises(Exception, match="error of type InvalidInput: outWrt is 1"):
        model.gradient(1, 0, [[0.0, 0.0]], [1.0])
    with pytest.raises(Exception, match="nope not supported by server"):
        umbridge.HTTPModel(f"{base_url}/umbridge", "nope")


def test_scipy_minimises_through_umbridge(umbridge: Any, base_url: str) -> None:
    """Rosenbrock's function has its minimum at (1, 1)."""
    model = umbridge.HTTPModel(f"{base_url}/umbridge", "expression")
    search: Any = minimize
    found = search(
        lambda x: float(model([x.tolist()])[0][0]),
        [-1.2, 1.0],
        method="trust-ncg",
        jac=lambda x: np.array(model.gradient(0, 0, [x.tolist()], [1.0])),
        hessp=lambda x, p: np.array(model.apply_hessian(0, 0, 0, [x.tolist()], [1.0], p.tolist())),
        options={"gtol": 1e-10},
    )
    assert found.success and found.x == pytest.approx([1.0, 1.0], abs=1e-9)


# --- Tesseract


@pytest.fixture
def connect(base_url: str) -> Callable[[str], Any]:
    """Connect to the Tesseract of an expression."""
    core = pytest.importorskip("tesseract_core", reason=f"tesseract-core {MISSING}")
    return lambda text: core.Tesseract.from_url(f"{base_url}/tesseract/{quote(text)}")


ENCODINGS = ["json", "json+base64"]


@pytest.mark.parametrize("output_format", ENCODINGS)
def test_tesseract_client_applies_and_differentiates(
    connect: Callable[[str], Any], client: httpx.Client, output_format: str
) -> None:
    tesseract = connect(TEXT).with_encoding(output_format=output_format)
    x, y = np.array([0.3, -1.7, 2.9]), np.array(1.1)
    inputs = {"x": x, "y": y}
    given = {"x": x.tolist(), "y": 1.1}
    expected = v1(client, "backward", expression=TEXT, inputs=given, wrt=["x", "y"])
    by_x, by_y = np.array(expected["gradients"]["x"]), np.array(expected["gradients"]["y"])
    assert tesseract.health() == {"status": "ok"}
    assert tesseract.apply(inputs)["output"].tolist() == expected["value"]
    jacobian = tesseract.jacobian(inputs, ["x", "y"], ["output"])["output"]
    assert np.array_equal(jacobian["x"], np.diag(by_x)) and np.array_equal(jacobian["y"], by_y)
    pushed = tesseract.jacobian_vector_product(inputs, ["x"], ["output"], {"x": np.ones(3)})
    tangents = {"x": [1.0, 1.0, 1.0]}
    assert pushed["output"].tolist() == v1(client, "jvp", expression=TEXT, inputs=given, tangents=tangents)["tangent"]
    pulled = tesseract.vector_jacobian_product(inputs, ["x"], ["output"], {"output": np.ones(3)})
    assert np.array_equal(pulled["x"], by_x)
    abstract = tesseract.abstract_eval({"x": {"shape": [3], "dtype": "float64"}, "y": {"shape": [], "dtype": "float64"}})
    assert abstract == {"output": {"shape": [3], "dtype": "float64"}}


def test_tesseract_client_raises_what_the_service_says(connect: Callable[[str], Any]) -> None:
    with pytest.raises(ValueError, match=r"body.inputs.y\n  the input 'y' is required"):
        connect(TEXT).apply({"x": 1.0})
    with pytest.raises(ValueError, match=r"path.expression\n  line 1, column 6"):
        connect("log(x").apply({"x": 1.0})
    with pytest.raises(ValueError, match="does not accept output_format='json\\+binref'"):
        connect(TEXT).with_encoding(output_format="json+binref")


# --- JAX


@pytest.fixture
def jax() -> Any:
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    module = pytest.importorskip("jax", reason=f"JAX {MISSING}")
    module.config.update("jax_enable_x64", True)
    return module


@pytest.fixture
def ours(jax: Any, connect: Callable[[str], Any]) -> Callable[..., Any]:
    """The function of the expression, through the service."""
    package = pytest.importorskip("tesseract_jax", reason=f"tesseract-jax {MISSING}")
    tesseract = connect(TEXT)
    return lambda x, y: package.apply_tesseract(tesseract, {"x": x, "y": y}, vmap_method="expand_dims")["output"]


@pytest.fixture
def theirs(jax: Any) -> Callable[..., Any]:
    """The same function in JAX."""
    return lambda x, y: x**2 * jax.numpy.sin(y) / (1 + x)


X, Y, ROWS = [0.3, 1.7, 2.9], [1.1, 0.2, -0.8], [[0.3, 1.7, 2.9], [0.4, 0.5, 0.6]]
TRANSFORMS: dict[str, tuple[Callable[[Any, Any], Callable[..., Any]], Any, Any]] = {
    "jit": (lambda jax, f: jax.jit(f), X, Y),
    "grad": (lambda jax, f: jax.grad(f, (0, 1)), 0.7, 1.3),
    "grad of a sum": (lambda jax, f: jax.grad(lambda x, y: f(x, y).sum(), (0, 1)), X, 1.3),
    "jit of grad": (lambda jax, f: jax.jit(jax.grad(f, (0, 1))), 0.7, 1.3),
    "vjp": (lambda jax, f: lambda x, y: jax.vjp(f, x, y)[1](jax.numpy.array([1.0, -0.5, 2.0])), X, Y),
    "vjp, one shared": (lambda jax, f: lambda x, y: jax.vjp(f, x, y)[1](jax.numpy.array([1.0, -0.5, 2.0])), X, 1.3),
    "jvp": (lambda jax, f: lambda x, y: jax.jvp(f, (x, y), (y, x)), X, Y),
    "vmap": (lambda jax, f: jax.vmap(f), X, Y),
    "vmap, one shared": (lambda jax, f: jax.vmap(f, (0, None)), X, 1.3),
    "vmap over rows": (lambda jax, f: jax.vmap(f, (0, None)), ROWS, Y),
    "jit of vmap": (lambda jax, f: jax.jit(jax.vmap(f, (0, None))), ROWS, Y),
    "vmap of grad": (lambda jax, f: jax.vmap(jax.grad(f, (0, 1))), X, Y),
    "vmap of grad, one shared": (lambda jax, f: jax.vmap(jax.grad(f), (0, None)), X, 1.3),
    "jacfwd": (lambda jax, f: jax.jacfwd(f, (0, 1)), X, Y),
    "jacrev": (lambda jax, f: jax.jacrev(f, (0, 1)), X, 1.3),
}


@pytest.mark.parametrize(("transform", "x", "y"), TRANSFORMS.values(), ids=TRANSFORMS)
def test_jax_transformations_give_its_own_numbers(
    jax: Any,
    ours: Callable[..., Any],
    theirs: Callable[..., Any],
    transform: Callable[[Any, Any], Callable[..., Any]],
    x: Any,
    y: Any,
) -> None:
    x, y = jax.numpy.array(x), jax.numpy.array(y)
    found = jax.tree.leaves(transform(jax, ours)(x, y))
    expected = jax.tree.leaves(transform(jax, theirs)(x, y))
    assert [array.shape for array in found] == [array.shape for array in expected]
    for mine, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-12, atol=0.0)


def test_second_order_is_beyond_tesseract_jax(jax: Any, ours: Callable[..., Any]) -> None:
    """It differentiates its calls once. The README says what to do."""
    with pytest.raises(RuntimeError, match="Cannot take higher-order derivatives"):
        jax.grad(jax.grad(ours))(jax.numpy.array(0.7), jax.numpy.array(1.3))


def test_second_order_by_the_expression_of_the_derivative(
    jax: Any, connect: Callable[[str], Any], theirs: Callable[..., Any], client: httpx.Client
) -> None:
    """/v1/derivative gives the derivative as an expression, which is a Tesseract too."""
    package = pytest.importorskip("tesseract_jax", reason=f"tesseract-jax {MISSING}")
    text = v1(client, "derivative", expression=TEXT, wrt=["x"], forms=["text"])["derivatives"]["x"]["text"]
    slope = connect(text)
    x, y = jax.numpy.array(0.7), jax.numpy.array(1.3)
    found = jax.grad(lambda x: package.apply_tesseract(slope, {"x": x, "y": y})["output"])(x)
    assert float(found) == pytest.approx(float(jax.grad(jax.grad(theirs))(x, y)), rel=1e-12)


def test_scipy_minimises_through_tesseract_and_jax(jax: Any, connect: Callable[[str], Any]) -> None:
    """Rosenbrock's function has its minimum at (1, 1)."""
    package = pytest.importorskip("tesseract_jax", reason=f"tesseract-jax {MISSING}")
    tesseract = connect(ROSENBROCK)
    function = jax.value_and_grad(lambda v: package.apply_tesseract(tesseract, {"x": v[0], "y": v[1]})["output"])
    search: Any = minimize
    found = search(lambda v: function(jax.numpy.array(v)), [-1.2, 1.0], jac=True, method="BFGS", options={"gtol": 1e-9})
    assert found.success and found.x == pytest.approx([1.0, 1.0], abs=1e-8)
