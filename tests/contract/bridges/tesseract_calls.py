"""Requests of the Tesseract protocol, and the checks that hold for all of its errors."""

import base64
from typing import Any
from urllib.parse import quote

import httpx
import numpy as np
import numpy.typing as npt

from tests.contract.wire import MAX_ERROR_BYTES, json_of, strict

Floats = npt.NDArray[np.float64]

TEXT = "x**2*sin(y)/(1 + x)"


def address(text: str, endpoint: str) -> str:
    """The path of an endpoint for an expression."""
    return f"/tesseract/{quote(text, safe='')}/{endpoint}"


def post(client: httpx.Client, endpoint: str, body: Any, text: str = TEXT, **headers: str) -> httpx.Response:
    return client.post(address(text, endpoint), json=body, headers=headers)


def encoded(array: Any, encoding: str = "base64", dtype: str = "float64") -> dict[str, Any]:
    """An array as the SDK sends it."""
    array = np.asarray(array, dtype)
    buffer = base64.b64encode(array.tobytes()).decode() if encoding == "base64" else array.tolist()
    return {
        "object_type": "array",
        "shape": list(array.shape),
        "dtype": dtype,
        "data": {"buffer": buffer, "encoding": encoding},
    }


def decoded(value: Any) -> Floats:
    """An array of a response."""
    assert set(value) == {"object_type", "shape", "dtype", "data"}
    assert (value["object_type"], value["dtype"]) == ("array", "float64")
    data = value["data"]
    if data["encoding"] == "base64":
        array = np.frombuffer(base64.b64decode(data["buffer"]), "<f8").reshape(value["shape"])
    else:
        array = np.array(data["buffer"], np.float64)
    assert array.shape == tuple(value["shape"])
    return array


def arrays(response: httpx.Response) -> dict[str, Floats]:
    """The arrays of a success by name."""
    return {name: decoded(value) for name, value in json_of(response).items()}


def faults(response: httpx.Response, *loc: str | int) -> list[dict[str, Any]]:
    """FastAPI's list of errors, of which one must have this place."""
    assert (response.status_code, response.headers["content-type"]) == (422, "application/json"), response.text[:500]
    assert len(response.content) < MAX_ERROR_BYTES and response.headers["x-request-id"]
    body = strict(response.content)
    assert set(body) == {"detail"} and 1 <= len(body["detail"]) <= 20
    for entry in body["detail"]:
        assert set(entry) == {"type", "loc", "msg"}
        assert all(isinstance(entry[field], str) and entry[field] for field in ("type", "msg"))
        assert entry["loc"] and all(isinstance(step, str | int) for step in entry["loc"])
    if loc:
        assert list(loc) in [entry["loc"] for entry in body["detail"]], body
    return list(body["detail"])
