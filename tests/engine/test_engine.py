"""The engine's public names, and the example in its docstring."""

import doctest
import subprocess
import sys
from pathlib import Path

import app.engine
from app.engine import text, value

PUBLIC = {
    *("PRIMITIVES", "EdgeRow", "EngineError", "Gradients", "Graph", "Node", "NodeRow", "Primitive", "Value"),
    *("backward", "check_gradients", "dot", "evaluate", "hessian", "hvp", "jacobian", "jvp", "parse", "rows", "value"),
}


def test_public_names() -> None:
    assert set(app.engine.__all__) == PUBLIC
    assert all(hasattr(app.engine, name) for name in PUBLIC)


def test_examples_in_docstrings() -> None:
    for module in (app.engine, sys.modules["app.engine.value"], text):
        found = doctest.testmod(module)
        assert found.failed == 0
    assert doctest.testmod(app.engine).attempted == 2
    assert callable(value)


def test_the_engine_knows_no_http() -> None:
    """Importing the engine loads neither a web framework nor a validation library."""
    code = "import sys, app.engine; print(*sorted({m.split('.')[0] for m in sys.modules}))"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=60, check=True)
    loaded = set(done.stdout.split())
    assert {"app", "numpy", "numba"} <= loaded
    assert not loaded & {"fastapi", "starlette", "pydantic", "uvicorn", "httpx", "anyio"}
