"""Limits on what one request may ask for, each a setting. What is over one is refused before it is computed.

`work` is counted in nodes times points times passes over the graph, or in parameters times rows times steps. Not here: the
limit on time (`execution`).
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise

from app.api.execution import JOB
from app.api.problems import FieldError, Problem, pointer
from app.api.schemas.expressions import ExpressionGraph
from app.engine.errors import NODES, Path
from app.engine.graph import Graph
from app.engine.interruption import checkpoint
from app.nn.losses import Loss
from app.settings import Settings


def described(settings: Settings) -> dict[str, int | float]:
    """All limits, by the names of their settings."""
    names = (
        "max_body_bytes", "max_nodes", "max_text", "max_points", "max_work", "max_numbers", "compute_timeout_s",
        "max_concurrency", "max_queue",
    )  # fmt: skip
    return {name: getattr(settings, name) for name in names}


def too_large(what: str, limit: float, setting: str, *places: tuple[str | int, ...]) -> Problem:
    """The 422 for something over a limit, which names the setting that raises it."""
    detail = f"{what}; the limit is {limit:.0f}, and AUTODIFF_{setting.upper()} raises it"
    return Problem("too-large", detail, [FieldError(pointer(place), detail) for place in places], status=422)


def check_expression(expression: str | ExpressionGraph, place: tuple[str | int, ...] = ("expression",)) -> None:
    """Raises Problem for a text over the limit, before it is looked at."""
    most = JOB.get().settings.max_text
    if isinstance(expression, str) and (size := len(expression.encode("utf-8", "replace"))) > most:
        raise too_large(f"the text has {size:,} bytes", most, "max_text", place)


def check_nodes(count: int, place: Path = NODES) -> None:
    """Raises Problem for a graph of so many nodes over the limit, before they are connected."""
    most = JOB.get().settings.max_nodes
    if count > most:
        raise too_large(f"the graph has {count:,} nodes", most, "max_nodes", place)


def check_points(inputs: Mapping[str, float | list[float]], place: Path) -> int:
    """The number of points that lists ask for, at least 1. Raises Problem where it is over the limit, at `place`."""
    most = JOB.get().settings.max_points
    points = 1
    for name, given in inputs.items():
        if isinstance(given, list):
            points = max(points, len(given))
            if points > most:
                raise too_large(f"{name[:60]!r} has {points:,} numbers", most, "max_points", (*place, name))
    return points


def check_work(graph: Graph, points: int, passes: int, numbers: int) -> None:
    """Raises Problem where `passes` walks over a graph at `points` points, or the numbers of the answer, are too many."""
    job = JOB.get()
    nodes = len(graph.nodes)
    job.facts |= {"nodes": nodes, "points": points}
    work = nodes * points * passes
    if work > job.settings.max_work:
        what = f"{nodes:,} nodes, {points:,} points and {passes:,} passes are {work:,} steps of work"
        raise too_large(what, job.settings.max_work, "max_work")
    check_numbers(numbers * points)
    checkpoint()


def check_numbers(numbers: int) -> None:
    """Raises Problem where so many numbers, of an answer or a model, are too many."""
    most = JOB.get().settings.max_numbers
    if numbers > most:
        raise too_large(f"there would be {numbers:.3g} numbers", most, "max_numbers")


def check_model(inputs: int, layers: Sequence[int]) -> None:
    """Raises Problem for a new model that would have too many weights."""
    widths = [max(inputs, 0), *(max(neurons, 0) for neurons in layers)]
    check_numbers(sum(a * b for a, b in pairwise(widths)) + sum(widths[1:]))


def check_training(parameters: int, rows: int, steps: int, loss: Loss, outputs: int) -> None:
    """Raises Problem where `steps` steps on `rows` rows are too much work, or an expression of the loss, which is worked out
    for all rows and outputs at once, would have too many numbers.
    """
    job = JOB.get()
    if loss.graph is not None:
        check_numbers(len(loss.graph.nodes) * rows * outputs)
    work = parameters * rows * steps
    if work > job.settings.max_work:
        what = f"{parameters:,} parameters, {rows:,} rows a step and {steps:,} steps are {work:,} steps of work"
        raise too_large(what, job.settings.max_work, "max_work", ("steps",))
