"""Texts of derivatives and source code of random expressions, against mpmath and the walks of the engine.

`AUTODIFF_FORMAT_CASES` says how many expressions are drawn; by default few.
"""

import json
import math
import os
import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.engine import transforms
from app.engine.derivative import gradient
from app.engine.graph import Graph, Node
from app.engine.primitives import WIRE, Primitive
from app.engine.simplification import simplified
from app.engine.text import parse
from app.formats.formulas import formulas, text_names
from tests.formats.programs import PROGRAMS, SANITIZE, Task, needs, run
from tests.fuzz.cases import Case, check, draw

COUNT = int(os.environ.get("AUTODIFF_FORMAT_CASES", "150"))
RECORDED = json.loads((Path(__file__).parents[1] / "data" / "gradient_cases.json").read_text("utf-8"))
LARGE, SMALL = 1e40, 1e-40
"""Beyond these, what is written in another way may leave the range of doubles."""


def derivative_texts(graph: Graph, wrt: list[str]) -> list[str]:
    """The derivatives as the service answers them."""
    found = simplified(gradient(graph, wrt), len(graph.nodes))
    names = text_names(found)
    return [formulas(found, output, ("text",), names).text or "" for output in found.outputs[1:]]


def value_of(text: str, inputs: dict[str, float]) -> float:
    graph = parse(text)
    given = {name: number for name, number in inputs.items() if name in graph.leaves}
    return float(transforms.evaluate(graph, given)[graph.output])


def cases(count: int, seed: str) -> list[Case]:
    """Random expressions whose numbers are not close to the limits of doubles."""
    found: list[Case] = []
    k = 0
    while len(found) < count:
        k += 1
        case = draw(random.Random(f"{seed} {k}"))
        with np.errstate(all="ignore"):
            values = transforms.evaluate(Graph(case.nodes, (case.output,)), case.inputs, everything=True)
        sizes = {node.id: abs(float(values[node.id])) for node in case.nodes}
        # The slope exp(x - logsumexp(x, y)) has no more digits than the difference, nor has exp(-x**2) more than the square.
        flat = any(node.op == "logsumexp" and sizes[node.id] > 100 for node in case.nodes)
        steep = any(node.op in ("erf", "erfc", "gelu") and max(sizes.values()) > 5 for node in case.nodes)
        tiny = any(0 < abs(x) < 1e-6 for x in case.inputs.values())  # where s(x)*s(-x)**2 - s(x)**2*s(-x) cancels
        if not flat and not steep and not tiny and all(x == 0 or SMALL < x < LARGE for x in sizes.values()):
            found.append(case)
    return found


@pytest.mark.parametrize("part", range(3), ids=lambda part: f"part-{part}")
def test_texts_have_the_derivatives_that_mpmath_has(part: int) -> None:
    tally: Counter[str] = Counter()
    for case in cases(COUNT // 3, f"texts {part}"):
        graph, names = Graph(case.nodes, (case.output,)), list(case.inputs)
        inputs = dict(case.inputs)
        found = {}
        with np.errstate(all="ignore"):
            for i, text in enumerate(derivative_texts(graph, names)):
                found[f"d{i}"] = value_of(text, inputs)
                if any(node.op == "hypot" for node in case.nodes):
                    continue  # 1/h - x**2/h**3 loses the digits of y**2/h**3
                known = [name for name in names[: i + 1] if name in parse(text).index]
                for name, second in zip(known, derivative_texts(parse(text), known), strict=True):
                    found[f"d{i}{names.index(name)}"] = value_of(second, inputs)
        finite = {key: x for key, x in found.items() if math.isfinite(x)}
        wrong = check(case, random.Random(1), tally, given={"text": finite}) if finite else []
        assert not wrong, "\n".join([str(case), *wrong, *derivative_texts(graph, names)])
        want = transforms.backward(graph, inputs, names)
        for i, name in enumerate(names):  # a finite gradient is never lost
            if math.isfinite(want.value) and math.isfinite(float(want.gradients[name])):
                assert math.isfinite(found[f"d{i}"]), (str(case), derivative_texts(graph, names)[i])
    assert tally["compared"] > COUNT / 3 / 4, tally


@pytest.mark.parametrize("case", RECORDED, ids=[case["expression"][:40] for case in RECORDED])
def test_recorded_cases(case: dict[str, Any]) -> None:
    graph, inputs, names = parse(case["expression"]), case["inputs"], list(case["gradients"])
    at = {name: number for name, number in inputs.items() if name in graph.leaves}
    want = transforms.hessian(graph, at, names)
    for name, text in zip(names, derivative_texts(graph, names), strict=True):
        assert value_of(text, inputs) == pytest.approx(case["gradients"][name], rel=1e-12, abs=1e-15)
        assert value_of(text, inputs) == pytest.approx(want.gradients[name], rel=1e-12, abs=1e-15)
        inner = parse(text)
        known = [other for other in names if other in inner.index]
        seconds = dict(zip(known, derivative_texts(inner, known), strict=True))
        for other in names:
            second = value_of(seconds[other], inputs) if other in seconds else 0.0
            assert second == pytest.approx(want.hessian[name][other], rel=1e-11, abs=1e-14)


# --- source code


def primitive_tasks() -> list[tuple[Primitive, Task]]:
    """Each operation on leaves, at points of its domain and at its kinks."""
    tasks = []
    for row in WIRE.values():
        rng = np.random.default_rng(sum(map(ord, row.name)))
        arities = (len(row.d),) if row.fold is None else (2, 3) if row.fun is not None else (1, 2, 4)
        for arity in arities:
            names = [f"x{k}" for k in range(arity)]
            domain = row.domain if len(row.domain) == arity else ((-3.0, 3.0),) * arity
            points = [tuple(float(rng.uniform(*limits)) for limits in domain) for _ in range(4)]
            points += [point for point, _ in row.kinks if len(point) == arity]
            args: list[str | float] = list(names)
            if row.name == "polygamma":
                args[0] = float(rng.integers(1, 7))
            used = [name for name in names if name in args]
            graph = Graph([*(Node(name, "value") for name in used), Node("f", row.name, tuple(args))], ("f",))
            for point in points:
                at = {name: x for name, x in zip(names, point, strict=True) if name in used}
                tasks.append((row, Task(graph, at, used)))
    return tasks


@pytest.mark.parametrize("language", PROGRAMS)
def test_each_primitive_in_each_language(language: str, tmp_path: Path) -> None:
    needs(language)
    rows = primitive_tasks()
    if language in ("r", "elixir") and "AUTODIFF_FORMAT_CASES" not in os.environ:
        rows = rows[::3]
    found = run(language, [task for _, task in rows], tmp_path, ["-O1", *SANITIZE])
    for (row, task), numbers in zip(rows, found, strict=True):
        names = list(task.wrt)
        want = transforms.hessian(task.graph, task.inputs, names)
        at = (row.name, task.inputs, numbers)
        if language == "elixir" and math.isnan(numbers[0]) and 0.0 in task.inputs.values():
            continue  # it raises an error where others have a NaN or an infinity that is not selected
        assert len(numbers) == 1 + len(names) + len(names) ** 2, at
        assert abs(numbers[0] - float(np.ravel(want.value)[0])) <= 4 * math.ulp(float(np.ravel(want.value)[0])), at
        assert numbers[1 : 1 + len(names)] == pytest.approx([want.gradients[x] for x in names], rel=1e-13, abs=1e-300), at
        second = [float(want.hessian[x][y]) for x in names for y in names]
        for got, wanted in zip(numbers[1 + len(names) :], second, strict=True):
            if math.isfinite(wanted):
                assert got == pytest.approx(wanted, rel=1e-12, abs=1e-300), at


@pytest.mark.parametrize("language", PROGRAMS)
def test_random_expressions_in_each_language(language: str, tmp_path: Path) -> None:
    needs(language)
    count = COUNT if "AUTODIFF_FORMAT_CASES" in os.environ else 60
    drawn = [case for case in cases(count, "code") if all(_writable(node) for node in case.nodes)]
    tasks = [Task(Graph(case.nodes, (case.output,)), case.inputs, list(case.inputs), "gradient") for case in drawn]
    found = run(language, tasks, tmp_path, SANITIZE if count == 60 else ["-O2"])
    tally: Counter[str] = Counter()
    for case, numbers in zip(drawn, found, strict=True):
        keys = ["value", *(f"d{k}" for k in range(len(case.inputs)))]
        ways = {key: x for key, x in zip(keys, numbers, strict=language != "elixir") if math.isfinite(x)}
        if language != "elixir":
            want = transforms.backward(Graph(case.nodes, (case.output,)), case.inputs, list(case.inputs))
            assert math.isfinite(numbers[0]), str(case)
            for name, number in zip(case.inputs, numbers[1:], strict=True):
                assert math.isfinite(number) or not math.isfinite(float(want.gradients[name])), str(case)
        wrong = check(case, random.Random(1), tally, given={language: ways}) if ways else []
        assert not wrong, "\n".join([str(case), *wrong])
    assert tally["compared"] > len(drawn) / 4, tally


def _writable(node: Node) -> bool:
    """Whether a node is no polygamma function whose order is not known, or not whole."""
    return node.op != "polygamma" or (not isinstance(node.args[0], str) and float(node.args[0]) in range(101))
