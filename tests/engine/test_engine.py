"""The engine's public names, and the example in its docstring."""

import builtins
import doctest
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import app.engine
from app.engine import backward, grad, graph_of, parse, text, value

PUBLIC = {
    *("PRIMITIVES", "EdgeRow", "EngineError", "Gradients", "Graph", "Node", "NodeRow", "Primitive", "Value"),
    *(
        "add",
        "backward",
        "check_gradients",
        "divide",
        "dot",
        "evaluate",
        "grad",
        "graph_of",
        "hessian",
        "hvp",
        "jacobian",
        "jvp",
    ),
    *("jacobian", "jvp", "mul", "neg", "parse", "relu", "rows", "sub", "value"),
}


def test_public_names() -> None:
    assert set(app.engine.__all__) == PUBLIC
    assert all(hasattr(app.engine, name) for name in PUBLIC)


def test_examples_in_docstrings() -> None:
    for module in (app.engine, sys.modules["app.engine.values"], text):
        found = doctest.testmod(module)
        assert found.failed == 0
    assert doctest.testmod(app.engine).attempted == 4
    assert callable(value)


def test_backward_of_a_text_takes_all_arguments_of_the_walk() -> None:
    """The sum of a*x over the points 1, 2 and 3."""
    inputs: dict[str, Any] = {"a": 2.0, "x": [1.0, 2.0, 3.0]}
    outputs: list[Any] = ["a*x", parse("a*x")]
    for output in outputs:
        value, gradients = backward(output, inputs, ["a"], 0.5, reduce="sum")
        assert (value, dict(gradients)) == (12.0, {"a": 3.0})
        value, gradients = backward(output, inputs, reduce="mean")
        assert (value, gradients["a"], np.ravel(gradients["x"]).tolist()) == (4.0, 2.0, [2 / 3] * 3)

        def stop() -> None:
            raise TimeoutError

        with pytest.raises(TimeoutError):
            backward(output, inputs, checkpoint=stop)


def test_words_of_micrograd_ex_come_from_one_place() -> None:
    """The README of MicrogradEx computes this: the gradient of x**2 at 3."""
    from app.engine import add, backward, divide, grad, mul, neg, pow, relu, sub, sum, value

    x, y = value(3.0), value(-2.0)
    assert grad(x, backward(pow(x, 2))) == 6.0
    output = sum([add(x, y), sub(x, y), mul(x, y), divide(x, y), neg(x), relu(y)])
    assert output.data == 1.0 + 5.0 - 6.0 - 1.5 - 3.0 + 0.0
    gradients = backward(output)
    assert grad(x, gradients) == 1.0 + 1.0 - 2.0 - 0.5 - 1.0
    assert grad(y, gradients) == 1.0 - 1.0 + 3.0 - 3.0 / 4.0 + 0.0


def test_nothing_is_shadowed() -> None:
    """A module of the engine has no name that stands for something else in it, and a star leaves Python's own names alone."""
    folder = Path(app.engine.__file__).parent
    modules = {file.stem for file in folder.glob("*.py")} - {"__init__"}
    assert not modules & {name for name, found in vars(app.engine).items() if not isinstance(found, ModuleType)}
    assert not set(app.engine.__all__) & set(vars(builtins))


def test_backward_takes_a_value_a_graph_or_a_text() -> None:
    x = value(3.0, "x")
    assert backward(x**2)[x] == 6.0
    assert backward("x**2", {"x": 3.0}).gradients["x"] == 6.0
    assert backward(parse("x**2"), {"x": 3.0}).gradients["x"] == 6.0
    assert backward(graph_of(x**2)).gradients["x"] == 6.0
    assert grad("x", backward("x**2", {"x": 3.0}).gradients) == 6.0
    for wrong in (3.0, None, ["x"]):
        with pytest.raises(TypeError, match="a Value, a Graph or a text"):
            backward(wrong)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="numbers already"):
        backward(x**2, {"x": 3.0})  # type: ignore[call-overload]


def test_unknown_names_raise_and_nodes_that_do_not_matter_have_the_gradient_zero() -> None:
    gradients = backward("unused = 2*y; x**2", {"x": 3.0, "y": 1.0}).gradients
    assert (gradients["x"], gradients["y"], gradients["unused"]) == (6.0, 0.0, 0.0)
    with pytest.raises(KeyError, match="no gradient by 'xx'. Did you mean 'x'"):
        gradients["xx"]
    x, y = value(3.0, "x"), value(1.0)
    assert backward(x**2)[y] == 0.0
    with pytest.raises(KeyError, match="look up the value itself"):
        backward(x**2)["x"]  # type: ignore[index]


def test_a_graph_is_shown_briefly() -> None:
    graph = parse("+".join(f"x{k}" for k in range(10_000)))
    assert repr(graph) == "Graph(19999 nodes, 10000 named leaves, outputs=('output',))"


def test_the_package_is_typed() -> None:
    assert (Path(app.engine.__file__).parents[1] / "py.typed").exists()


def test_the_engine_knows_no_http() -> None:
    """Importing the engine loads neither a web framework nor a validation library."""
    code = "import sys, app.engine; print(*sorted({m.split('.')[0] for m in sys.modules}))"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=60, check=True)
    loaded = set(done.stdout.split())
    assert {"app", "numpy", "numba"} <= loaded
    assert not loaded & {"fastapi", "starlette", "pydantic", "uvicorn", "httpx", "anyio"}
