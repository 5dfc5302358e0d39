"""The rooms of the house: which package may import which, and what the engine shows of itself."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import app.engine

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "app").rglob("*.py"))

ROOMS = ["app.engine", "app.nn", "app.optimize", "app.plots", "app.warm", "app.settings", "app.api", "app.main", "app.__main__"]
"""From top to bottom: a room imports itself and those above it."""

SEALED = {
    "app.settings": ["app.engine", "app.nn", "app.optimize", "app.plots", "app.warm"],
    "app.plots": ["app.optimize"],
    "app.optimize": ["app.nn"],
}
"""What is further shut although it stands above."""

HTTP = {"fastapi", "starlette", "pydantic", "pydantic_settings", "uvicorn", "httpx", "http", "socket", "asyncio"}


def module_of(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(module: str) -> str | None:
    return next((room for room in ROOMS if module == room or module.startswith(room + ".")), None)


def imports(file: Path, everywhere: bool = True) -> Iterator[str]:
    """The modules that a file imports: all, or those that are imported when it is."""
    tree = ast.parse(file.read_text("utf-8"))
    for node in ast.walk(tree) if everywhere else tree.body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: a relative import"
            assert node.module is not None
            for alias in node.names:
                module = f"{node.module}.{alias.name}"
                yield module if (ROOT / (module.replace(".", "/") + ".py")).exists() else node.module


def test_there_are_files_to_look_at() -> None:
    assert len(FILES) > 20
    assert {room for room in map(room_of, map(module_of, FILES)) if room} >= {"app.engine", "app.api", "app.main"}


@pytest.mark.parametrize("file", FILES, ids=module_of)
def test_imports_point_only_upward(file: Path) -> None:
    module = module_of(file)
    if module == "app":
        assert not [name for name in imports(file) if name.startswith("app")]
        return
    room = room_of(module)
    assert room, f"{module} stands in no room: add it to DESIGN.md and here"
    for name in imports(file):
        if name == "app" or not name.startswith("app."):
            continue
        other = room_of(name)
        assert other and ROOMS.index(other) <= ROOMS.index(room), f"{module} imports {name}"
        assert other not in SEALED.get(room, []), f"{module} imports {name}"


@pytest.mark.parametrize("file", [file for file in FILES if room_of(module_of(file)) in ROOMS[:5]], ids=module_of)
def test_the_library_knows_no_http(file: Path) -> None:
    assert not {name.split(".")[0] for name in imports(file)} & HTTP


@pytest.mark.parametrize("file", [file for file in FILES if module_of(file).startswith("app.api.schemas")], ids=module_of)
def test_the_wires_shapes_know_little(file: Path) -> None:
    """Structs only: nothing that computes, answers or routes."""
    for name in imports(file):
        assert not name.startswith("app.api") or name.startswith(("app.api.schemas", "app.api.problems")), name
        assert name.split(".")[0] not in {"fastapi", "starlette", "uvicorn"}


def test_no_module_imports_itself_by_way_of_others() -> None:
    graph = {module_of(file): {name for name in imports(file, everywhere=False) if name.startswith("app.")} for file in FILES}
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join((*path, module))
        if module not in done:
            for name in graph.get(module, ()):
                visit(name, (*path, module))
            done.add(module)

    for module in graph:
        visit(module, ())


@pytest.mark.parametrize("file", FILES, ids=module_of)
def test_every_module_says_what_it_is_for(file: Path) -> None:
    docstring = ast.get_docstring(ast.parse(file.read_text("utf-8")))
    assert docstring and len(docstring) > 20


def test_what_the_engine_shows() -> None:
    """Names are added here on purpose, and taken away never."""
    assert app.engine.__all__ == [
        "PRIMITIVES",
        "EdgeRow",
        "EngineError",
        "Gradients",
        "Graph",
        "Node",
        "NodeRow",
        "Primitive",
        "Value",
        "backward",
        "check_gradients",
        "dot",
        "evaluate",
        "hessian",
        "hvp",
        "jacobian",
        "jvp",
        "parse",
        "rows",
        "value",
    ]
    assert all(hasattr(app.engine, name) for name in app.engine.__all__)
