"""For each kind of problem a request that gets it, what the error says, and the request as it should be.

The documentation and the pages about problems show them; the tests send them.
"""

from dataclasses import dataclass
from typing import Any

from app.service.problems import Problem


@dataclass(frozen=True, slots=True)
class Mistake:
    """A request that gets a problem, and one that does not.

    Attributes:
        wrong: the request as a text: method and path, headers, an empty line, and the body.
        detail: what the error says.
        right: the request as it should be, or what to do.
    """

    wrong: str
    detail: str
    right: str

    def example(self, name: str) -> dict[str, Any]:
        """The error as the documentation shows it."""
        return Problem(name, self.detail).details.model_dump(exclude_none=True)


def _backward(wrong: str, detail: str, right: str) -> Mistake:
    """Two bodies of POST /v1/backward."""
    return Mistake(f"POST /v1/backward\n\n{wrong}", detail, f"POST /v1/backward\n\n{right}")


SQUARE = '{"expression": "x**2", "inputs": {"x": 3}}'

# fmt: off
MISTAKES = {
    "invalid-json": _backward("{'expression': 'x**2', 'inputs': {'x': 3}}",
        "the body is not JSON: expecting property name enclosed in double quotes at line 1, column 2; "
        'names and texts stand in double quotes: {"x": 3}',
        SQUARE),
    "invalid-request": _backward('{"expression": "x**2", "inputs": {"x": "3"}}',
        "at /inputs/x: expected a number or a list of numbers, found a string; a number stands without quotes: 3",
        SQUARE),
    "unknown-node": _backward(
        '{"expression": "radius**2", "inputs": {"radus": 3}}',
        "there is no node 'radus'. Did you mean 'radius'?",
        '{"expression": "radius**2", "inputs": {"radius": 3}}'),
    "duplicate-node": _backward(
        '{"expression": {"nodes": [{"id": "x", "op": "value", "data": 3}, {"id": "x", "op": "square", "args": ["x"]}], '
        '"output": "x"}}',
        "nodes 0 and 1 share the id 'x'",
        '{"expression": {"nodes": [{"id": "x", "op": "value", "data": 3}, {"id": "y", "op": "square", "args": ["x"]}], '
        '"output": "y"}}'),
    "graph-cycle": _backward(
        '{"expression": {"nodes": [{"id": "a", "op": "neg", "args": ["b"]}, {"id": "b", "op": "exp", "args": ["a"]}], '
        '"output": "b"}}',
        "the graph has a cycle: b -> a -> b",
        '{"expression": {"nodes": [{"id": "a", "op": "value", "data": 1}, {"id": "b", "op": "exp", "args": ["a"]}], '
        '"output": "b"}}'),
    "unknown-primitive": _backward(
        '{"expression": "sigmod(x)", "inputs": {"x": 3}}',
        "line 1, column 1: there is no primitive 'sigmod'. Did you mean 'sigmoid'?",
        '{"expression": "sigmoid(x)", "inputs": {"x": 3}}'),
    "wrong-arity": _backward(
        '{"expression": "atan2(x)", "inputs": {"x": 3}}',
        "line 1, column 1: atan2 takes 2 arguments, not 1",
        '{"expression": "atan2(x, 1)", "inputs": {"x": 3}}'),
    "unbound-input": _backward(
        '{"expression": "w*x", "inputs": {"x": 3}}',
        "'w' has no number; add it to \"inputs\"",
        '{"expression": "w*x", "inputs": {"x": 3, "w": 0.5}}'),
    "syntax-error": _backward('{"expression": "x^2", "inputs": {"x": 3}}',
        "line 1, column 2: expected an operator or the end of the statement, found '^'; "
        "write a power with **: x**2",
        SQUARE),
    "shape-mismatch": _backward(
        '{"expression": "x*y", "inputs": {"x": [1, 2, 3], "y": [1, 2]}}',
        "'y' has 2 numbers and 'x' has 3: all lists need one length",
        '{"expression": "x*y", "inputs": {"x": [1, 2, 3], "y": [1, 2, 4]}}'),
    "non-finite": _backward(
        '{"expression": "sqrt(x)", "inputs": {"x": 0}}',
        "the gradient of 'output' by 'x' is Infinity: in the backward pass, node 'output' = sqrt(0.0) has the"
        " first derivative at fault; with \"nonfinite\": \"null\" the response has null in its place",
        '{"expression": "sqrt(x)", "inputs": {"x": 0}, "nonfinite": "null"}'),
    "not-converged": Mistake(
        'POST /v1/minimize\n\n{"expression": "x**3", "initial": {"x": 1}}',
        "the function is not bounded below: its value is -7.35e+100 at 'x' = -4.19e+33. Give bounds or "
        "constraints within which it has a minimum",
        'POST /v1/minimize\n\n{"expression": "x**3", "initial": {"x": 1}, "bounds": {"x": [-2, 2]}}'),
    "too-large": Mistake(
        "a body of 100 MB",
        "the body has 100,000,000 bytes; the limit is 67108864 bytes, and AUTODIFF_MAX_BODY_BYTES raises it",
        "the same in several requests, or with arrays in place of long lists of nodes"),
    "unauthorized": Mistake(
        f"POST /v1/backward\n\n{SQUARE}",
        "the request has no valid API key; send the header Authorization: Bearer <key>",
        f"POST /v1/backward\nAuthorization: Bearer <key>\n\n{SQUARE}"),
    "not-found": Mistake("GET /v1/primitive",
        "there is no /v1/primitive; you may mean GET /v1/primitives; GET /docs shows all endpoints",
        "GET /v1/primitives"),
    "method-not-allowed": Mistake("GET /v1/backward",
        "/v1/backward does not take GET; send POST /v1/backward instead",
        f"POST /v1/backward\n\n{SQUARE}"),
    "not-acceptable": Mistake(
        f"POST /v1/backward\nAccept: text/html\n\n{SQUARE}",
        "the response is application/json, which the Accept header excludes; send Accept: application/json",
        f"POST /v1/backward\nAccept: application/json\n\n{SQUARE}"),
    "unsupported-media-type": Mistake(
        f"POST /v1/backward\nContent-Type: text/plain\n\n{SQUARE}",
        "the body is declared as text/plain; send Content-Type: application/json",
        f"POST /v1/backward\nContent-Type: application/json\n\n{SQUARE}"),
    "too-many-requests": Mistake(
        "a hundred long requests at once",
        "64 computations of this client are in flight, and AUTODIFF_MAX_CONCURRENCY_PER_CLIENT is 64",
        "a few at a time, each after the response to one before"),
    "not-available": Mistake(
        'POST /v1/networks/export\n\n{"model": {"inputs": 2, "layers": [3, 1]}, "format": "onnx"}',
        "onnx is not installed here; install it with: pip install 'autodiff-http[interop]'",
        "the same, where the service was installed with pip install 'autodiff-http[interop]'"),
    "overloaded": Mistake(
        "a long request while many others run",
        "64 computations are waiting, and AUTODIFF_MAX_QUEUE is 64",
        "the same, after the seconds that the Retry-After header gives"),
    "deadline-exceeded": Mistake(
        "a request that computes for longer than AUTODIFF_COMPUTE_TIMEOUT_S",
        "the computation took over 30 s, the limit of AUTODIFF_COMPUTE_TIMEOUT_S",
        "fewer points, nodes or steps at once"),
    "internal": Mistake(
        "any request that meets a defect",
        "the service failed; its log has the reason under request id 5f1c7a3e9b2d4860",
        "the same, once the defect is fixed"),
}
# fmt: on
