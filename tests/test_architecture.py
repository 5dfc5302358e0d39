"""The rooms of the project: which package may import which, and the size and shape of functions."""

import ast
import importlib
import inspect
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

import app.engine

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "app").rglob("*.py"))


@dataclass(frozen=True)
class Room:
    """A package or module and what it may import besides itself and Python's standard library.

    Attributes:
        rooms: other rooms.
        libraries: top-level packages of other projects.
    """

    rooms: frozenset[str]
    libraries: frozenset[str] = frozenset()


def room(rooms: str = "", libraries: str = "") -> Room:
    """A row of the table, from names separated by spaces."""
    return Room(frozenset(f"app.{name}" if name != "app" else name for name in rooms.split()), frozenset(libraries.split()))


ROOMS = {
    "app": room(),
    "app.machine": room(),
    "app.settings": room("machine", "pydantic pydantic_settings"),
    "app.engine": room("", "numpy numba llvmlite scipy orjson msgspec"),
    "app.nn": room("engine", "numpy scipy sklearn"),
    "app.solvers": room("engine", "numpy scipy"),
    "app.formats": room("engine nn", "numpy orjson"),
    "app.pictures": room("engine", "numpy matplotlib"),
    "app.warm": room("machine engine nn pictures", "numpy"),
    "app.service": room(
        "machine settings engine", "fastapi starlette pydantic pydantic_core numpy orjson prometheus_client structlog"
    ),
    "app.service.connections": room("settings service", "httptools uvicorn"),
    "app.api.errors": room("engine nn solvers formats pictures service", "fastapi"),
    "app.api.expressions": room("engine formats pictures service api.errors", "fastapi pydantic pydantic_core numpy orjson"),
    "app.api.networks": room(
        "engine nn formats pictures service api.errors api.expressions", "fastapi starlette pydantic pydantic_core numpy"
    ),
    "app.api.solvers": room(
        "engine solvers pictures service api.errors api.expressions", "fastapi starlette pydantic pydantic_core numpy"
    ),
    "app.api.bridges": room(
        "app settings engine nn service api.errors api.expressions api.networks api.solvers",
        "fastapi starlette pydantic pydantic_core numpy orjson mcp mcp_types",
    ),
    "app.api.mistakes": room("service"),
    "app.api.docs": room("service api.mistakes", "fastapi starlette"),
    "app.api.problem_pages": room("service api.mistakes", "fastapi"),
    "app.api.playground": room("", "fastapi starlette"),
    "app.api.operations": room("app settings engine service", "fastapi pydantic"),
    "app.api": room(),
    "app.main": room(
        "app machine settings warm service api.errors api.docs api.operations api.playground api.problem_pages "
        "api.expressions api.networks api.solvers api.bridges",
        "fastapi starlette",
    ),
    "app.__main__": room("app settings service", "pydantic uvicorn"),
    "app.deploy": room("machine engine warm", "numpy pyarrow ray tqdm"),
    "app.deploy.ray_serve": room("settings service warm main", "fastapi ray uvicorn"),
}
"""From bottom to top: a room may import only rooms above it in this table, and only those that its row names."""

NO_HTTP = {"http", "urllib", "socket", "socketserver", "ssl", "asyncio", "wsgiref", "xmlrpc"}
"""Modules of the standard library that the engine and the networks have no use for."""

FRAMEWORKS = {"starlette", "fastapi", "pydantic", "pydantic_core", "pydantic_settings", "uvicorn"}

MAX_LINES, MAX_PARAMETERS, MAX_DEPTH = 60, 8, 3
"""The lines and parameters of a function, and how deep functions are nested, the outermost being the first."""

COMPILERS = {"jit", "inline", "jit_without_refcounts", "inline_without_refcounts"}
"""Decorators of compiled kernels, which are exempt from the limits on lines and parameters: a call between kernels costs as
much as
an instruction of a tape, and numba passes arrays one by one."""

Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


def module_of(file: Path) -> str:
    """The dotted name of a file's module."""
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(file): ast.parse(file.read_text("utf-8")) for file in FILES}


def room_of(module: str) -> str:
    """The room of a module: the longest name in `ROOMS` that it begins with."""
    if module in ROOMS:
        return module
    parent = module.rpartition(".")[0]
    assert parent not in ("", "app", "app.api"), f"{module} is in no room: add it to ROOMS and to the design notes"
    return room_of(parent)


def for_type_checkers(node: ast.AST) -> bool:
    """Whether a statement is `if TYPE_CHECKING:`."""
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def statements(node: ast.AST, *, at_run_time: bool = False) -> Iterator[ast.AST]:
    """All nodes below one, without those that only type checkers see if `at_run_time`."""
    for child in ast.iter_child_nodes(node):
        if not (at_run_time and for_type_checkers(child)):
            yield child
            yield from statements(child, at_run_time=at_run_time)


@cache
def imported(module: str, *, at_run_time: bool = False) -> list[tuple[str, str | None]]:
    """What a module imports, anywhere in it, as pairs of module and name; None for a module as a whole."""
    found: list[tuple[str, str | None]] = []
    for node in statements(MODULES[module], at_run_time=at_run_time):
        if isinstance(node, ast.Import):
            found += ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                found.append((name, None) if name in MODULES else (str(node.module), alias.name))
    return found


@cache
def functions(module: str) -> list[tuple[Function, int]]:
    """Every function and lambda of a module, with its depth: 1 for one that is in no other."""
    return list(functions_below(MODULES[module]))


def functions_below(node: ast.AST, depth: int = 1) -> Iterator[tuple[Function, int]]:
    """Every function and lambda below a node, with its depth."""
    for child in ast.iter_child_nodes(node):
        is_function = isinstance(child, Function)
        if isinstance(child, Function):
            yield child, depth
        yield from functions_below(child, depth + is_function)


def is_kernel(function: Function) -> bool:
    """Whether numba compiles a function."""
    return not isinstance(function, ast.Lambda) and any(ast.unparse(d) in COMPILERS for d in function.decorator_list)


def place(module: str, node: ast.expr | ast.stmt) -> str:
    """Where a node is, for messages."""
    return f"{module.replace('.', '/')}.py:{node.lineno}"


def test_every_room_of_the_table_exists() -> None:
    assert {room_of(module) for module in MODULES} == set(ROOMS)


def test_rooms_import_only_rooms_above_them() -> None:
    order = list(ROOMS)
    below = {name: [other for other in row.rooms if order.index(other) >= order.index(name)] for name, row in ROOMS.items()}
    assert not any(below.values()), below


def may_import(module: str, name: str) -> bool:
    """Whether the room of a module may import another module or a library."""
    row, top = ROOMS[room_of(module)], name.partition(".")[0]
    if top == "app":
        return room_of(name) in {*row.rooms, room_of(module)}
    return top in sys.stdlib_module_names or top in row.libraries


def test_modules_import_only_what_their_rooms_may() -> None:
    assert not [
        f"{module} imports {name}" for module in MODULES for name, _ in imported(module) if not may_import(module, name)
    ]


LIBRARIES = ("app.engine", "app.nn", "app.solvers", "app.formats", "app.pictures", "app.warm")


def test_library_knows_no_http() -> None:
    http = NO_HTTP | FRAMEWORKS | {"httpx"}
    modules = [module for module in MODULES if room_of(module) in LIBRARIES]
    assert not [(module, name) for module in modules for name, _ in imported(module) if name.partition(".")[0] in http]


def test_no_import_is_relative() -> None:
    nodes = [(module, node) for module, tree in MODULES.items() for node in ast.walk(tree)]
    assert not [place(module, node) for module, node in nodes if isinstance(node, ast.ImportFrom) and node.level]


def is_private(name: str, member: str | None) -> bool:
    """Whether a name that is imported is private. Of ours, only names of modules are looked at, not folders."""
    parts = [member or ""] if name.startswith("app") else [*name.split("."), member or ""]
    return any(part.startswith("_") and part != "__version__" for part in parts)


@pytest.mark.parametrize("packages", [FRAMEWORKS, {"app"}], ids=["frameworks", "ours"])
def test_no_private_name_is_imported(packages: set[str]) -> None:
    names = [(module, *pair) for module in MODULES for pair in imported(module) if pair[0].partition(".")[0] in packages]
    assert not [found for found in names if is_private(*found[1:])]


@pytest.mark.slow
def test_start_loads_no_library_that_few_requests_need() -> None:
    """They are loaded once gradients can be computed, or by the first request that needs them."""
    libraries = {
        "matplotlib",
        "mcp",
        "mcp_types",
        "onnx",
        "pyarrow",
        "ray",
        "scipy.linalg",
        "scipy.optimize",
        "scipy.sparse",
        "sklearn",
    }
    program = f"import sys; import app.main; app.main.create_app(); print({libraries} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"


def test_msgspec_is_used_in_one_place() -> None:
    """A program makes millions of `Value`s, and a frozen dataclass takes five times as long to make."""
    users = [module for module in MODULES if "msgspec" in {name.partition(".")[0] for name, _ in imported(module)}]
    assert users == ["app.engine.values"]


def test_no_import_is_a_cycle() -> None:
    """At run time. Annotations may refer back, since only type checkers import for them."""
    graph = {module: {name for name, _ in imported(module, at_run_time=True) if name in MODULES} for module in MODULES}
    while graph:
        leaves = {module for module, names in graph.items() if not names & set(graph)}
        assert leaves, f"these modules import each other: {sorted(graph)}"
        graph = {module: names for module, names in graph.items() if module not in leaves}


def lines_of(function: Function) -> int:
    """How many lines a function has."""
    return (function.end_lineno or 0) - function.lineno + 1


def parameters_of(function: Function) -> int:
    """How many parameters a function has."""
    row = function.args
    return len([*row.posonlyargs, *row.args, *row.kwonlyargs, *filter(None, (row.vararg, row.kwarg))])


@pytest.mark.parametrize(("measure", "most"), [(lines_of, MAX_LINES), (parameters_of, MAX_PARAMETERS)])
def test_functions_are_short_and_have_few_parameters(measure: Callable[[Function], int], most: int) -> None:
    """But for kernels."""
    found = [(place(module, f), measure(f)) for module in MODULES for f, _ in functions(module) if not is_kernel(f)]
    assert found and not [(where, count) for where, count in found if count > most]


def test_functions_are_nested_at_most_three_deep() -> None:
    assert not [place(module, f) for module in MODULES for f, depth in functions(module) if depth > MAX_DEPTH]


def test_exempt_functions_are_compiled() -> None:
    """The decorators that exempt a function come from the module that compiles, whatever they are called."""
    compile_module = importlib.import_module("app.engine.jit")
    for name in COMPILERS:
        assert callable(getattr(compile_module, name))
    for module in MODULES:
        used = {ast.unparse(d) for f, _ in functions(module) if not isinstance(f, ast.Lambda) for d in f.decorator_list}
        origins = {member: name for name, member in imported(module)}
        for name in used & COMPILERS:
            assert module == "app.engine.jit" or origins[name] == "app.engine.jit", f"{module}: {name}"


def test_every_module_says_what_it_is_for() -> None:
    assert not [module for module, tree in MODULES.items() if len(ast.get_docstring(tree) or "") <= 20]


def test_public_names_of_the_engine() -> None:
    """Names may be added; none is taken away."""
    kept = "PRIMITIVES EdgeRow EngineError Gradients Graph Node NodeRow Primitive Value add backward check_gradients divide dot"
    kept += " evaluate grad graph_of hessian hvp jacobian jvp mul neg parse relu rows sub value"
    assert app.engine.__all__ == kept.split()
    assert [name for name in app.engine.__all__ if not hasattr(app.engine, name)] == []


def called(module: str, call: ast.Call) -> object:
    """What a call within a module calls, if it is a name of the module, or of a module or class that it has imported."""
    scope, function = vars(importlib.import_module(module)), call.func
    if isinstance(function, ast.Name):
        return scope.get(function.id)
    if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name):
        return getattr(scope.get(function.value.id), function.attr, None)
    return None


def position_of_checkpoint(function: object) -> int | None:
    """Where a function takes a checkpoint, None if it takes none."""
    if not callable(function):
        return None
    try:
        names = list(inspect.signature(function).parameters)
    except ValueError:  # a built-in function
        return None
    return names.index("checkpoint") if "checkpoint" in names else None


def passes_checkpoint(call: ast.Call, position: int) -> bool:
    """Whether a call gives the argument at this position, or by its name, or may do so with a star."""
    starred = any(isinstance(argument, ast.Starred) for argument in call.args)
    return starred or len(call.args) > position or any(word.arg in ("checkpoint", None) for word in call.keywords)


SHORT = {
    ("app.api.expressions.derivatives", "needed"),  # each call of it follows a check
    ("app.api.expressions.expression", "_parse_short"),  # of at most 4 kB
    ("app.api.networks.translation", "parse"),  # of a name of a loss that does not exist
}
"""Calls of the service that need no checkpoint, by module and name."""


def test_work_can_be_stopped_wherever_it_is() -> None:
    """What is given a checkpoint gives it to all that takes one, and the service to all work: else a deadline passes unseen."""
    forgotten = []
    for module, tree in MODULES.items():
        if module == "app.deploy.ray_serve":  # needs Ray
            continue
        takers = [f for f, _ in functions(module) if "checkpoint" in [a.arg for a in (*f.args.args, *f.args.kwonlyargs)]]
        for scope in [tree] if module.startswith("app.api.") else takers:
            for call in (node for node in ast.walk(scope) if isinstance(node, ast.Call)):
                position, name = position_of_checkpoint(called(module, call)), ast.unparse(call.func)
                if position is not None and not passes_checkpoint(call, position) and (module, name) not in SHORT:
                    forgotten.append(f"{place(module, call)} {name}")
    assert not forgotten
