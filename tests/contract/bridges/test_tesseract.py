"""Tesseract: the numbers are those of `/v1` to the last bit, in arrays of every shape and encoding; errors are FastAPI's."""

import base64
import json
from typing import Any
from urllib.parse import quote

import httpx
import numpy as np
import pytest

from tests.contract.bridges.tesseract_calls import TEXT, address, arrays, decoded, encoded, faults, post
from tests.contract.wire import json_of, problem, strict
from tests.rows import for_each

X, Y = [0.3, -1.7, 2.9], [1.1, 0.2, -0.8]


def v1(client: httpx.Client, operation: str, **body: Any) -> Any:
    """The answer of an endpoint of /v1 for the expression of these tests."""
    return json_of(client.post(f"/v1/{operation}", json={"expression": TEXT, **body}))


# --- numbers


@pytest.mark.parametrize("y", [Y, 1.1], ids=["points", "one number"])
def test_values_are_those_of_forward(client: httpx.Client, y: Any) -> None:
    found = arrays(post(client, "apply", {"inputs": {"x": X, "y": y}}))
    assert list(found) == ["output"]
    assert found["output"].tolist() == v1(client, "forward", inputs={"x": X, "y": y})["value"]


def test_scalars_give_a_scalar(client: httpx.Client) -> None:
    found = arrays(post(client, "apply", {"inputs": {"x": 0.3, "y": 1.1}}))["output"]
    assert found.shape == () and found == v1(client, "forward", inputs={"x": 0.3, "y": 1.1})["value"]


def test_tangents_are_those_of_jvp(client: httpx.Client) -> None:
    tangent = [1.0, -0.5, 2.0]
    body = {"inputs": {"x": X, "y": Y}, "jvp_inputs": ["x"], "jvp_outputs": ["output"], "tangent_vector": {"x": tangent}}
    found = arrays(post(client, "jacobian_vector_product", body))["output"]
    assert found.tolist() == v1(client, "jvp", inputs={"x": X, "y": Y}, tangents={"x": tangent})["tangent"]


def test_gradients_are_those_of_backward(client: httpx.Client) -> None:
    body = {
        "inputs": {"x": X, "y": Y},
        "vjp_inputs": ["x", "y"],
        "vjp_outputs": ["output"],
        "cotangent_vector": {"output": [1.0, -0.5, 2.0]},
    }
    found = arrays(post(client, "vector_jacobian_product", body))
    expected = v1(client, "backward", inputs={"x": X, "y": Y}, cotangent=[1.0, -0.5, 2.0], wrt=["x", "y"])["gradients"]
    assert {name: array.tolist() for name, array in found.items()} == expected


def test_gradient_by_what_all_points_share_is_that_of_the_sum(client: httpx.Client) -> None:
    """Each sum is rounded once, here and in /v1."""
    body = {
        "inputs": {"x": X, "y": 1.1},
        "vjp_inputs": ["y"],
        "vjp_outputs": ["output"],
        "cotangent_vector": {"output": [1.0, 1.0, 1.0]},
    }
    found = arrays(post(client, "vector_jacobian_product", body))["y"]
    expected = v1(client, "backward", inputs={"x": X, "y": 1.1}, wrt=["y"], reduce="sum")["gradients"]["y"]
    assert found.shape == () and found == expected


def test_jacobian_is_diagonal_by_points_and_a_column_by_what_they_share(client: httpx.Client) -> None:
    body = {"inputs": {"x": X, "y": 1.1}, "jac_inputs": ["x", "y"], "jac_outputs": ["output"]}
    found = json_of(post(client, "jacobian", body))
    expected = v1(client, "backward", inputs={"x": X, "y": 1.1}, wrt=["x", "y"])["gradients"]
    assert list(found) == ["output"]
    assert decoded(found["output"]["x"]).tolist() == np.diag(expected["x"]).tolist()
    assert decoded(found["output"]["y"]).tolist() == expected["y"]


SHAPES = [((), ()), ((3,), ()), ((1,), (3,)), ((2, 3), (3,)), ((2, 1), (1, 3)), ((4, 1, 2), (3, 1)), ((1, 1), ())]


@pytest.mark.parametrize(("of_x", "of_y"), SHAPES, ids=str)
def test_arrays_are_broadcast_as_numpy_does(client: httpx.Client, of_x: tuple[int, ...], of_y: tuple[int, ...]) -> None:
    rng = np.random.default_rng(3)
    x, y = rng.uniform(0.5, 2.0, of_x), rng.uniform(0.5, 2.0, of_y)
    inputs = {"x": encoded(x), "y": encoded(y)}
    value = arrays(post(client, "apply", {"inputs": inputs}))["output"]
    expected = x**2 * np.sin(y) / (1 + x)
    assert value.shape == expected.shape and value == pytest.approx(expected, rel=1e-14)
    shape = json_of(post(client, "abstract_eval", {"inputs": inputs}))
    assert shape == {"output": {"shape": list(expected.shape), "dtype": "float64"}}


@pytest.mark.parametrize(("of_x", "of_y"), SHAPES, ids=str)
def test_jacobian_and_products_agree(client: httpx.Client, of_x: tuple[int, ...], of_y: tuple[int, ...]) -> None:
    """J v and u J by the Jacobian itself, for arrays that share numbers in every way."""
    rng = np.random.default_rng(4)
    given = {"x": rng.uniform(0.5, 2.0, of_x), "y": rng.uniform(0.5, 2.0, of_y)}
    tangent = {name: rng.normal(size=array.shape) for name, array in given.items()}
    shape = np.broadcast_shapes(of_x, of_y)
    cotangent = rng.normal(size=shape)
    inputs = {name: encoded(array) for name, array in given.items()}
    names = {"inputs": ["x", "y"], "outputs": ["output"]}
    jac: dict[str, Any] = {"inputs": inputs} | {f"jac_{kind}": name for kind, name in names.items()}
    jvp: dict[str, Any] = {"inputs": inputs, "tangent_vector": {name: encoded(array) for name, array in tangent.items()}}
    vjp: dict[str, Any] = {"inputs": inputs, "cotangent_vector": {"output": encoded(cotangent)}}
    jvp |= {f"jvp_{kind}": name for kind, name in names.items()}
    vjp |= {f"vjp_{kind}": name for kind, name in names.items()}
    matrices = {name: decoded(a) for name, a in json_of(post(client, "jacobian", jac))["output"].items()}
    pushed = arrays(post(client, "jacobian_vector_product", jvp))["output"]
    pulled = arrays(post(client, "vector_jacobian_product", vjp))
    expected = sum(np.tensordot(matrices[name], tangent[name], given[name].ndim) for name in given)
    assert pushed == pytest.approx(expected, rel=1e-13)
    for name, array in given.items():
        assert matrices[name].shape == (*shape, *array.shape) and pulled[name].shape == array.shape
        assert pulled[name] == pytest.approx(np.tensordot(cotangent, matrices[name], len(shape)), rel=1e-13)


def test_partial_derivatives_are_those_of_the_formula(client: httpx.Client) -> None:
    x, y = 0.7, 1.3
    body = {"inputs": {"x": x, "y": y}, "jac_inputs": ["x", "y"], "jac_outputs": ["output"]}
    found = json_of(post(client, "jacobian", body))["output"]
    assert decoded(found["x"]) == pytest.approx((2 * x + x * x) / (1 + x) ** 2 * np.sin(y), rel=1e-15)
    assert decoded(found["y"]) == pytest.approx(x**2 / (1 + x) * np.cos(y), rel=1e-15)


def test_cotangent_may_be_shared_by_points(client: httpx.Client) -> None:
    """As tesseract-jax sends it under vmap with expand_dims."""
    body = {"inputs": {"x": X, "y": Y}, "vjp_inputs": ["x"], "vjp_outputs": ["output"]}
    one = arrays(post(client, "vector_jacobian_product", body | {"cotangent_vector": {"output": [2.0]}}))
    each = arrays(post(client, "vector_jacobian_product", body | {"cotangent_vector": {"output": [2.0] * 3}}))
    assert one["x"].tolist() == each["x"].tolist()


# --- encodings


DTYPES = ["float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8", "bool"]


NUMBERS_IN_JSON = [("json", dtype) for dtype in DTYPES if dtype != "bool"]
"""JSON has true and false for booleans, which are no numbers."""


@for_each(("encoding", "dtype"), [*(("base64", dtype) for dtype in DTYPES), *NUMBERS_IN_JSON])
def test_arrays_of_every_type_are_read(client: httpx.Client, dtype: str, encoding: str) -> None:
    found = arrays(post(client, "apply", {"inputs": {"x": encoded([0, 1, 1], encoding, dtype)}}, text="3*x"))
    assert found["output"].tolist() == [0.0, 3.0, 3.0]


@pytest.mark.parametrize("inputs", [[[1, 2.5], [3, 4]], encoded([[1, 2.5], [3, 4]], "json"), encoded([[1, 2.5], [3, 4]])])
def test_nested_lists_and_encoded_arrays_are_the_same(client: httpx.Client, inputs: Any) -> None:
    assert arrays(post(client, "apply", {"inputs": {"x": inputs}}, text="2*x"))["output"].tolist() == [[2, 5], [6, 8]]


def test_flat_buffer_gets_the_shape(client: httpx.Client) -> None:
    array = encoded([[1.0, 2.0], [3.0, 4.0]], "json")
    array["data"]["buffer"] = [1.0, 2.0, 3.0, 4.0]
    assert arrays(post(client, "apply", {"inputs": {"x": array}}, text="x"))["output"].tolist() == [[1, 2], [3, 4]]


ACCEPTS = {
    "application/json": "json",
    "application/json+base64": "base64",
    "application/json+base64; gpu_transport=none": "base64",
    "application/*; gpu_transport=none": "json",
    "*/*": "json",
}


@pytest.mark.parametrize(("accept", "encoding"), ACCEPTS.items())
def test_accept_header_chooses_the_encoding(client: httpx.Client, accept: str, encoding: str) -> None:
    response = post(client, "apply", {"inputs": {"x": X, "y": Y}}, Accept=accept)
    found = strict(response.content)["output"]
    assert response.status_code == 200 and found["data"]["encoding"] == encoding
    assert decoded(found).tolist() == v1(client, "forward", inputs={"x": X, "y": Y})["value"]


def test_jacobian_in_base64(client: httpx.Client) -> None:
    body = {"inputs": {"x": X, "y": 1.1}, "jac_inputs": ["x"], "jac_outputs": ["output"]}
    in_base64 = strict(post(client, "jacobian", body, Accept="application/json+base64").content)["output"]["x"]
    in_json = json_of(post(client, "jacobian", body))["output"]["x"]
    assert in_base64["data"]["encoding"] == "base64" and decoded(in_base64).tolist() == decoded(in_json).tolist()


@pytest.mark.parametrize("points", [2, 300])
def test_base64_is_the_bytes_of_the_numbers(client: httpx.Client, points: int) -> None:
    """The larger of the two Jacobians is computed in the pool, and written in pieces."""
    x = np.linspace(0.0, 1.0, points)
    body = {"inputs": {"x": encoded(x), "y": 1.1}, "jac_inputs": ["x", "y"], "jac_outputs": ["output"]}
    response = post(client, "jacobian", body, text="x*y", Accept="application/json+base64")
    found = strict(response.content)["output"]
    assert response.headers["content-type"] == "application/json+base64"
    for name, expected in (("x", 1.1 * np.eye(points)), ("y", x)):
        array = found[name]
        assert list(array) == ["object_type", "shape", "dtype", "data"] and array["shape"] == list(expected.shape)
        assert array["data"] == {"encoding": "base64", "buffer": base64.b64encode(expected.tobytes()).decode()}


def test_shape_without_numbers_is_explained(client: httpx.Client) -> None:
    array = {"shape": [2**62, 0], "dtype": "float64", "data": {"buffer": [], "encoding": "json"}}
    found = faults(post(client, "apply", {"inputs": {"x": array}}, text="x"), "body", "inputs", "x")
    assert found[0]["msg"] == "an array has no numbers; give at least one" and found[0]["type"] == "shape-mismatch"


def test_encoding_that_there_is_not_is_refused(client: httpx.Client) -> None:
    response = post(client, "apply", {"inputs": {"x": X, "y": Y}}, Accept="application/json+binref")
    problem(response, "not-acceptable", 406)


@pytest.mark.parametrize("form", ["base64", "json", "lists", "rows", "cube"])
def test_large_arrays_are_read_to_the_last_bit(client: httpx.Client, form: str) -> None:
    shape = {"rows": (20, 600), "cube": (4, 10, 300)}.get(form, (12_000,))
    x = np.random.default_rng(5).normal(size=shape)
    value: Any = encoded(x, form) if form in ("base64", "json") else x.tolist()
    assert np.array_equal(arrays(post(client, "apply", {"inputs": {"x": value}}, text="x/2"))["output"], x / 2)


# --- the expression in the path


PATHS = {
    "percent-encoded": quote("a = x/y; a + 1", safe=""),
    "a bare slash, as urllib leaves it": quote("a = x/y; a + 1"),
    "a new line": quote("a = x/y\na + 1", safe=""),
    "base64url": "b64:" + base64.urlsafe_b64encode(b"a = x/y; a + 1").decode(),
    "base64url without padding": "b64:" + base64.urlsafe_b64encode(b"a = x/y; a + 1 ").decode().rstrip("="),
    "base64url, percent-encoded": quote("b64:" + base64.urlsafe_b64encode(b"a = x/y; a + 1").decode(), safe=""),
}


@for_each("path", PATHS.values())
@for_each("endpoint", ["apply", "openapi.json"])
def test_forms_of_the_path(base_url: str, path: str, endpoint: str) -> None:
    url = f"{base_url}/tesseract/{path}/{endpoint}"
    if endpoint == "apply":
        found = httpx.post(url, json={"inputs": {"x": 3.0, "y": 2.0}})
        assert found.json()["output"]["data"]["buffer"] == 2.5, found.text
    else:
        assert set(httpx.get(url).json()["components"]["schemas"]["Apply_InputSchema"]["properties"]) == {"x", "y"}


def test_names_beyond_ascii(client: httpx.Client) -> None:
    assert arrays(post(client, "apply", {"inputs": {"φ": 2.0}}, text="φ**2"))["output"] == 4.0


def test_endpoint_name_within_an_expression(client: httpx.Client) -> None:
    """The last segment counts: here the expression is a quotient of two names."""
    url = client.base_url.copy_with(path="/tesseract/x/apply/apply")
    assert httpx.post(url, json={"inputs": {"x": 6.0, "apply": 3.0}}).json()["output"]["data"]["buffer"] == 2.0


@for_each(
    ("path", "words"),
    [
        ("log%28x", "line 1, column 6"),  # syntax
        ("sofplus%28x%29", "Did you mean 'softplus'"),  # primitive
        ("%FF", "not UTF-8"),
        ("b64:%2A%2A", "not base64url"),
        ("b64:eA%3F", "not base64url"),  # a sign after it
        ("b64:_w", "not UTF-8"),  # not UTF-8 in base64url
        ("b64:", ""),  # nothing
        ("%20", ""),  # space
        ("%00", ""),  # control character
        ("%3Cscript%3E", ""),  # markup
    ],
)
@for_each("endpoint", ["apply", "openapi.json", "abstract_eval"])
def test_wrong_expression_is_an_error_in_the_path(client: httpx.Client, path: str, words: str, endpoint: str) -> None:
    url = f"/tesseract/{path}/{endpoint}"
    response = client.get(url) if endpoint == "openapi.json" else client.post(url, json={"inputs": {}})
    assert words in faults(response, "path", "expression")[0]["msg"]


@pytest.mark.parametrize("path", ["/tesseract", "/tesseract/x", "/tesseract//apply", "/tesseract/x/nope", "/tesseract/apply"])
def test_other_paths_are_not_found(client: httpx.Client, path: str) -> None:
    problem(client.post(path, json={"inputs": {}}), "not-found", 404)


def test_method_is_checked(client: httpx.Client) -> None:
    response = client.get(address("x", "apply"))
    problem(response, "method-not-allowed", 405)
    assert response.headers["allow"] == "POST"


# --- errors in the body


REQUESTS: dict[str, dict[str, Any]] = {
    "apply": {},
    "jacobian": {"jac_inputs": ["x"], "jac_outputs": ["output"]},
    "jacobian_vector_product": {"jvp_inputs": ["x"], "jvp_outputs": ["output"], "tangent_vector": {"x": 1.0}},
    "vector_jacobian_product": {"vjp_inputs": ["x"], "vjp_outputs": ["output"], "cotangent_vector": {"output": 1.0}},
}

every_endpoint = for_each("endpoint", REQUESTS)


@every_endpoint
@for_each(
    ("inputs", "loc"),
    [
        ({"x": 1.0}, ("inputs", "y")),  # missing
        ({"x": 1.0, "y": 1.0, "z": 1.0}, ("inputs", "z")),  # unknown
        ({"x": [1.0, 2.0], "y": [1.0, 2.0, 3.0]}, ("inputs", "y")),  # shapes
        ({"x": "1", "y": 1.0}, ("inputs", "x")),  # string
        ({"x": None, "y": 1.0}, ("inputs", "x")),  # null
        ({"x": True, "y": 1.0}, ("inputs", "x")),  # boolean
        ({"x": [1.0, "2"], "y": 1.0}, ("inputs", "x")),  # string in a list
        ({"x": [[1.0], [1.0, 2.0]], "y": 1.0}, ("inputs", "x")),  # ragged
        ({"x": [1.0, [2.0]], "y": 1.0}, ("inputs", "x")),  # mixed depth
        ({"x": [], "y": 1.0}, ("inputs", "x")),  # empty
        ({"x": [1.0] * 2000 + ["2"], "y": 1.0}, ("inputs", "x")),  # string in a long list
        ([1.0], ("inputs",)),  # list
        (None, ("inputs",)),  # nothing
    ],
)
def test_wrong_inputs(client: httpx.Client, endpoint: str, inputs: Any, loc: tuple[str, ...]) -> None:
    faults(post(client, endpoint, {**REQUESTS[endpoint], "inputs": inputs}), "body", *loc)


def changed(**fields: Any) -> dict[str, Any]:
    """An encoded array of two numbers with other fields; those of `data` are named data_*."""
    array = encoded([1.0, 2.0])
    for name, value in fields.items():
        if name.startswith("data_"):
            array["data"][name.removeprefix("data_")] = value
        else:
            array[name] = value
    return array


@for_each(
    "array",
    [
        changed(shape=[3]),
        changed(shape=[-2]),  # negative shape
        changed(shape=[2**62, 4]),  # enormous shape
        changed(shape=[1] * 33 + [2]),  # dimensions
        changed(shape="2"),  # shape of a string
        changed(dtype="complex128"),
        changed(dtype="float32"),  # bytes of another dtype
        changed(object_type="tensor"),  # object type
        changed(data_encoding="binref"),
        changed(data_compression="lz4"),  # compressed
        changed(data_buffer="*"),  # not base64
        changed(data_buffer="AAA"),  # padding
        changed(data_buffer=[1.0, 2.0]),  # list in base64
        changed(data_encoding="json"),  # string in json
        changed(data_encoding="json", data_buffer=[1.0]),  # too few numbers
        changed(dtype="int64", data_encoding="json", data_buffer=[1.0, 2.5]),  # fraction among integers
        changed(dtype="uint8", data_encoding="json", data_buffer=[1, 256]),  # integer out of range
        changed(dtype="int8", data_encoding="json", data_buffer=[-129, 0]),  # negative integer out of range
        changed(dtype="bool", data_encoding="json", data_buffer=[1, 2]),  # 2 for a boolean
        changed(shape=[2**62, 0], data_buffer=""),  # enormous shape without numbers
        changed(more=1),  # unknown field
        encoded([1.0, float("nan")]),
        encoded([1.0, float("inf")]),  # infinity
        {},  # empty object
    ],
)
def test_wrong_array(client: httpx.Client, array: Any) -> None:
    found = faults(post(client, "apply", {"inputs": {"x": array}}, text="x"))
    assert all(entry["loc"][:3] == ["body", "inputs", "x"] for entry in found)


@every_endpoint
def test_wrong_names_of_what_is_differentiated(client: httpx.Client, endpoint: str) -> None:
    body = {"inputs": {"x": 1.0, "y": 1.0}, **REQUESTS[endpoint]}
    for field in body:
        if field.endswith("puts") and field != "inputs":
            faults(post(client, endpoint, {**body, field: ["nope"]}), "body", field, 0)
            faults(post(client, endpoint, {**body, field: []}), "body", field)
            faults(post(client, endpoint, {**body, field: "x"}), "body", field)
        elif field.endswith("vector"):
            faults(post(client, endpoint, {**body, field: {}}), "body", field)
            faults(post(client, endpoint, {**body, field: {"q": 1.0}}), "body", field)
            name = next(iter(body[field]))
            faults(post(client, endpoint, {**body, field: {name: [1.0, 2.0]}}), "body", field, name)


@every_endpoint
def test_number_that_is_not_finite(client: httpx.Client, endpoint: str) -> None:
    text = "log(x - 1)*y"
    found = faults(post(client, endpoint, {"inputs": {"x": 1.0, "y": 1.0}, **REQUESTS[endpoint]}, text=text))
    assert found[0]["type"] == "non-finite" and "null" not in found[0]["msg"]


@pytest.mark.parametrize("content", [b"", b"nope", b'{"inputs": {"x": NaN}}', b"\xff", b"[]", b"null"], ids=repr)
def test_body_that_is_no_request(client: httpx.Client, content: bytes) -> None:
    response = client.post(address("x", "apply"), content=content, headers={"Content-Type": "application/json"})
    assert faults(response)[0]["loc"][0] == "body"


def test_expression_without_inputs(client: httpx.Client) -> None:
    assert arrays(post(client, "apply", {"inputs": {}}, text="2**10"))["output"] == 1024.0
    faults(post(client, "jacobian", {"inputs": {}, **REQUESTS["jacobian"]}, text="2**10"), "body", "jac_inputs", 0)


# --- the schemas


def test_document_names_inputs_outputs_and_encodings(client: httpx.Client) -> None:
    document = json.loads(client.get(address("r = a*x/b; r**2 + a", "openapi.json")).content)
    schemas = document["components"]["schemas"]
    assert list(schemas["Apply_InputSchema"]["properties"]) == ["a", "x", "b"]
    assert list(schemas["Apply_OutputSchema"]["properties"]) == ["output"]
    assert schemas["ApplyInputSchema"]["differentiable_arrays"] == dict.fromkeys("axb", {"dtype": "float64"})
    assert document["x-supported-output-formats"] == ["json", "json+base64"]
    assert document["x-supported-gpu-transports"] == document["x-supported-compressions"] == ["none"]
    assert set(document["paths"]) == {f"/{name}" for name in (*REQUESTS, "abstract_eval", "health")}


def test_last_assignment_names_the_output(client: httpx.Client) -> None:
    document = json.loads(client.get(address("r = a/b", "openapi.json")).content)
    assert list(document["components"]["schemas"]["Apply_OutputSchema"]["properties"]) == ["r"]
    assert list(arrays(post(client, "apply", {"inputs": {"a": 1.0, "b": 2.0}}, text="r = a/b"))) == ["r"]


def test_document_is_valid_openapi(client: httpx.Client) -> None:
    from openapi_spec_validator import validate

    validate(json.loads(client.get(address(TEXT, "openapi.json")).content))


def test_health(client: httpx.Client) -> None:
    assert json_of(client.get(address(TEXT, "health"))) == {"status": "ok"}
