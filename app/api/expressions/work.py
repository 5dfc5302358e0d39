"""Limits on requests about expressions, and estimates of their run time and memory.

Work is counted in nodes times points times passes over the graph. Estimates need only tell a millisecond from more, and must
not be far too small.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from app.engine.elimination import Allowance
from app.engine.errors import Place
from app.engine.graph import Graph
from app.formats.mathjson import MathJSON
from app.service.execution import Job
from app.service.problems import too_large

if TYPE_CHECKING:
    from app.api.expressions.expression import AnyExpression
    from app.api.expressions.models import ExpressionRequest, HessianRequest, JacobianRequest, ReducibleRequest

SECONDS_PER_CHARACTER = 1.5e-6
"""One character of a text, parsed."""
SECONDS_PER_ENTRY = 3e-6
"""One entry of a MathJSON array, read."""
SECONDS_PER_NODE = 0.2e-6
"""One node of a graph, read and recorded."""
SECONDS_PER_INSTRUCTION = 1e-8
"""One instruction at one point."""
SECONDS_PER_NUMBER = 1e-7
"""One number of a response."""
SECONDS_PER_CHECK = 2e-3
"""The comparison of gradients, however few there are."""

BYTES_PER_CHARACTER = 150
"""One character of a text, parsed."""
BYTES_PER_ENTRY = 700
"""One entry of a MathJSON array, read."""
BYTES_PER_NODE = 400
"""One node of a graph, connected and recorded, with its entries in tables."""
BYTES_PER_ARGUMENT = 60
"""One argument of a node with many, connected, recorded and walked over."""
BYTES_PER_NUMBER = 32
"""One number of a response, in an array and as text."""
BYTES_PER_SUM = 600
"""One number of a response that is an exact sum over points."""
BYTES_PER_PLACE = 60
"""One entry of a sparse matrix besides its number: its place, in arrays and as text."""
STEPS_PER_NUMBER = 2
"""How many steps of edge pushing there may be, for each number that a response may have."""
BYTES_PER_ROW = 600
"""One node or edge of a drawing, as objects and as text."""

BYTES_PER_PICTURE = 60_000_000
BYTES_PER_DRAWN_NUMBER = 3000
"""A picture by Matplotlib, and one number that it shows."""
BYTES_PER_DRAWN_NODE = 30_000
"""One node of a picture of a graph, with its edges."""

NODES_PER_ENTRY = 2
"""How many nodes one entry of a MathJSON array makes: a few functions make four, and names make one for all their places."""

ARGUMENTS_PER_NODE = 4
"""How many arguments nodes may have on average, if there are as many nodes as there can be."""

Given = Mapping[str, Any]
"""Numbers or arrays by name."""

POINT_FIELDS = ("inputs", "tangents", "cotangent")
"""The fields of requests whose lists are points."""


def estimate_parsing(request: "ExpressionRequest") -> float:
    """Estimated run time in seconds of reading an expression."""
    return reading_seconds(request.expression)


def estimate_evaluation(request: "ExpressionRequest") -> float:
    """Estimated run time in seconds of a few walks over an expression at all of its points."""
    nodes = count_nodes(request.expression)
    numbers = len(vars(request).get("wrt") or ()) or nodes  # pydantic takes long to say that a model has no such field
    seconds_per_point = 4.0 * SECONDS_PER_INSTRUCTION * nodes + SECONDS_PER_NUMBER * numbers
    return reading_seconds(request.expression) + seconds_per_point * _points(request)


def estimate_matrix(request: "ExpressionRequest") -> float:
    """Estimated run time in seconds of as many walks as an expression has leaves, which give tables of tables."""
    nodes = count_nodes(request.expression)
    walks = max(nodes, len(getattr(request, "wrt", None) or ()), len(getattr(request, "outputs", None) or ()))
    seconds_per_walk = 4.0 * SECONDS_PER_INSTRUCTION * nodes + SECONDS_PER_NUMBER * walks
    return estimate_evaluation(request) + seconds_per_walk * walks * _points(request)


def estimate_check(request: "ExpressionRequest") -> float:
    """Estimated run time in seconds of 122 walks for each leaf, which give four numbers each."""
    nodes = count_nodes(request.expression)
    walks = len(getattr(request, "wrt", None) or ()) or nodes
    seconds_per_point = 122.0 * 4.0 * SECONDS_PER_INSTRUCTION * nodes * walks + 40.0 * SECONDS_PER_NUMBER * walks
    return estimate_evaluation(request) + SECONDS_PER_CHECK + seconds_per_point * _points(request)


def estimate_drawing(request: "ExpressionRequest") -> float:
    """Estimated run time in seconds of an expression as rows of nodes and edges."""
    nodes = count_nodes(request.expression)
    return reading_seconds(request.expression) + 50.0 * SECONDS_PER_NUMBER * nodes * _points(request)


def estimate_unknown(request: object) -> float:
    """The estimate for work whose amount a request does not show: long."""
    return math.inf


def count_nodes(expression: "AnyExpression") -> int:
    """About the most nodes that an expression has: every operator of a text takes a character; the output may be one more."""
    if isinstance(expression, str):
        return len(expression) + 1
    if isinstance(expression, MathJSON):
        return NODES_PER_ENTRY * expression.entries + 1
    return len(expression.nodes if isinstance(expression, Graph) else expression.nodes.nodes)


def reading_seconds(expression: "AnyExpression") -> float:
    """Estimated time in seconds of reading an expression."""
    if isinstance(expression, MathJSON):
        return SECONDS_PER_ENTRY * expression.entries
    return (SECONDS_PER_CHARACTER if isinstance(expression, str) else SECONDS_PER_NODE) * count_nodes(expression)


def _points(request: "ExpressionRequest") -> int:
    """As many points as the longest list has numbers."""
    points = 1
    for field in POINT_FIELDS:
        given = vars(request).get(field)  # as in `estimate_evaluation`
        for numbers in given.values() if isinstance(given, dict) else (given,):
            if isinstance(numbers, np.ndarray) and len(numbers) > points:
                points = len(numbers)
    return points


def check_text(text: str, job: Job, path: Place) -> None:
    """Raise Problem for a text over the limit, before it is parsed."""
    limit = job.settings.max_text
    if len(text) * 4 > limit and (size := len(text.encode("utf-8", "replace"))) > limit:
        raise too_large(f"the text has {size:,} bytes", limit, "max_text", path)
    if job.share is not None:  # for the same reason as in `check`
        job.reserve(BYTES_PER_CHARACTER * len(text))


def check_entries(count: int, job: Job, path: Place) -> None:
    """Raise Problem where a MathJSON array has too many entries, or where the work must end. Else hold their memory."""
    job.check()
    if count > job.settings.max_nodes:
        raise too_large(f"the lists have more than {count:,} entries", job.settings.max_nodes, "max_nodes", path)
    job.reserve(BYTES_PER_ENTRY * count)


def check_nodes(count: int, job: Job, path: Place) -> None:
    """Raise Problem for a graph with too many nodes, before they are connected."""
    if count > job.settings.max_nodes:
        raise too_large(f"the graph has {count:,} nodes", job.settings.max_nodes, "max_nodes", path)


def check_arguments(count: int, job: Job, path: Place) -> None:
    """Raise Problem for nodes with too many arguments in all, before they are connected. Else hold their memory."""
    check_argument_count(count, job, path)
    job.reserve_more(BYTES_PER_ARGUMENT * count)


def check_size(graph: Graph, job: Job, path: Place) -> None:
    """Raise Problem for a graph over the limits of nodes and of their arguments."""
    assert graph.table is not None
    check_nodes(len(graph.nodes), job, path)
    check_argument_count(len(graph.table.arg), job, path)


def check_argument_count(count: int, job: Job, path: Place) -> None:
    """Raise Problem for nodes with too many arguments in all."""
    limit = ARGUMENTS_PER_NODE * job.settings.max_nodes
    if count > limit:
        raise too_large(f"the nodes have {count:,} arguments", limit, "max_nodes", path)


def count_sums(request: "ReducibleRequest", graph: Graph, numbers: int, wrt: Sequence[str] | None = None) -> int:
    """How many numbers of a response are sums or means over the points.

    Args:
        request: says whether there are any.
        graph: what is differentiated.
        numbers: how many numbers the response has, or, with `wrt`, how many outputs.
        wrt: the nodes that each output is differentiated by; by those that are lists, it has one derivative per point.
    """
    if request.reduce == "none":
        return 0
    if wrt is None:
        return numbers
    leaves, lists = set(graph.leaves), {name for name, given in request.inputs.items() if isinstance(given, np.ndarray)}
    return numbers * (1 + sum(name in leaves and name not in lists for name in wrt))


def check(job: Job, graph: Graph, passes: int, numbers: int, *fields: tuple[str, Given], rows: int = 0, sums: int = 0) -> int:
    """Raise Problem where a computation exceeds a limit, else hold the memory that it takes. Return how many numbers there are.

    Args:
        job: holds the limits.
        graph: what is walked over.
        passes: the number of walks per point.
        numbers: how many numbers the response has per point.
        fields: the names of the request's fields whose lists are points, and their numbers by name.
        rows: how many objects the response has, such as the nodes and edges of a drawing.
        sums: how many of the numbers are sums over the points, and so one for all of them.
    """
    points = _check_points(job, fields)
    nodes = len(graph.nodes)
    job.facts["nodes"], job.facts["points"] = nodes, points
    check_work(job, nodes, points, passes)
    total = (numbers - sums) * points + sums
    check_numbers(job, total)
    if job.share is not None:  # as `reserve` asks too; so small requests, which are followed most, pass through fewer files
        job.reserve(BYTES_PER_NODE * nodes + BYTES_PER_NUMBER * total + BYTES_PER_ROW * rows + BYTES_PER_SUM * sums)
    return total


def sparse_allowance(
    request: "HessianRequest | JacobianRequest", job: Job, graph: Graph, numbers: int, passes: int, columns: bool
) -> Allowance:
    """What a sparse matrix may take, besides what was checked before.

    Args:
        request: says at how many points.
        job: holds the limits.
        numbers: how many numbers the response has besides the matrix.
        graph: what is differentiated.
        passes: the number of walks per point that a dense matrix takes.
        columns: whether some entries differ from point to point; the others are one number, or one sum.
    """
    points = _points(request)
    per_entry = points if columns else 1
    per_number = BYTES_PER_NUMBER if columns or points == 1 else BYTES_PER_SUM

    def check_plan(steps: int, entries: int) -> None:
        check_work(job, steps, points, 1)
        check_numbers(job, numbers + entries * per_entry)
        job.reserve_more(BYTES_PER_PLACE * entries + per_number * entries * per_entry)

    def check_dense(size: int) -> None:
        check_work(job, len(graph.nodes), points, passes)
        if size > job.settings.max_numbers:
            detail = f"the matrix is too little sparse, and would be computed from {size:,} numbers"
            raise too_large(detail, job.settings.max_numbers, "max_numbers")
        job.reserve_more(2 * 8 * size)

    return Allowance(check_plan, check_dense, job.reserve_more, max(STEPS_PER_NUMBER * job.settings.max_numbers, 1))


def check_work(job: Job, nodes: int, points: int, passes: int) -> None:
    """Raise Problem for a computation that would take too long."""
    work = nodes * points * passes
    if work > job.settings.max_work:
        detail = f"{nodes:,} nodes, {points:,} points and {passes:,} passes are {work:,} steps of work"
        raise too_large(detail, job.settings.max_work, "max_work")


def _check_points(job: Job, fields: Iterable[tuple[str, Given]]) -> int:
    """The number of points, at least 1."""
    limit = job.settings.max_points
    points = 1
    for field, given in fields:
        for name, numbers in given.items():
            if isinstance(numbers, np.ndarray) and len(numbers) > points:
                points = len(numbers)
            if points > limit:
                path = (field, name) if name else (field,)
                raise too_large(f"{(name or field)[:60]!r} has {points:,} numbers", limit, "max_points", path)
    return points


def check_numbers(job: Job, numbers: float) -> None:
    """Raise Problem where a response or a model would have too many numbers."""
    if numbers > job.settings.max_numbers:
        raise too_large(f"there would be {numbers:.3g} numbers", job.settings.max_numbers, "max_numbers")


def check_drawn(job: Job, count: int, what: str, path: Place) -> None:
    """Raise Problem for a picture with too many points, or what else is counted."""
    if count > job.settings.max_drawn_points:
        raise too_large(f"a picture would have {count:,} {what}", job.settings.max_drawn_points, "max_drawn_points", path)


def reserve_picture(job: Job, numbers: int) -> None:
    """Hold memory for a picture that shows so many numbers, besides what was reserved before."""
    job.reserve_more(BYTES_PER_PICTURE + BYTES_PER_DRAWN_NUMBER * numbers)


def check_picture(job: Job, nodes: int) -> None:
    """Raise Problem for a graph that is too large for a picture, else hold the memory that it takes."""
    limit = job.settings.max_drawn_nodes
    if nodes > limit:
        detail = f"a picture would have {nodes:,} nodes; ask for JSON or DOT instead"
        raise too_large(detail, limit, "max_drawn_nodes", ("expression",))
    job.reserve_more(BYTES_PER_DRAWN_NODE * nodes)
