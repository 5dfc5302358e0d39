"""Texts of derivatives and source code of random expressions, against mpmath and the walks of the engine.

`AUTODIFF_FORMAT_CASES` says how many expressions are drawn; by default few.
"""

import json
import math
import os
import random
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mpmath
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
from tests.fuzz.cases import UNITS, Case, check, draw, exact, expected
from tests.fuzz.jets import Noise, Unknown
from tests.rows import for_each

COUNT = int(os.environ.get("AUTODIFF_FORMAT_CASES", "150"))
RECORDED = json.loads((Path(__file__).parents[1] / "data" / "gradient_cases.json").read_text("utf-8"))
TOLERANCE = 1e-12
"""How far the texts of derivatives may be off, relatively and per unit of the condition number."""
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
        if all(x == 0 or SMALL < abs(float(x)) < LARGE for x in values.values()):
            found.append(case)
    return found


def as_case(text: str, inputs: Mapping[str, float]) -> Case | None:
    """A text as a case for mpmath; None if it is a number alone."""
    graph = parse(text)
    leaves = [node for node in graph.nodes if node.op == "value" and node.data is None]
    rest = sorted((node for node in graph.nodes if node.op != "value"), key=lambda node: node.id == graph.output)
    return Case((*leaves, *rest), {node.id: inputs[node.id] for node in leaves}) if leaves and rest else None


def is_exact(text: str, inputs: Mapping[str, float], want: Any) -> bool | None:
    """Whether a text is a number, to 1e-12, where nothing is rounded but its constants; None if that is not known."""
    case = as_case(text, inputs)
    if case is None or want is None:
        return None
    try:
        with mpmath.workdps(80):
            found = exact(case, Noise(len(case.inputs), 0.0, 0)).value
    except Unknown:
        return None
    return bool(abs(found - want) <= 1e-12 * abs(want) or abs(found - want) < 1e-60)  # 0 may be written so that it cancels


def jet_of(case: Case) -> Mapping[str, Any]:
    """The exact derivatives of a case, by the keys of `expected`. None, or not there, where they are not known."""
    try:
        with mpmath.workdps(80):
            return defaultdict(lambda: None, expected(exact(case, Noise(len(case.inputs), 0.0, 0)), [1.0] * len(case.inputs)))
    except Unknown:
        return defaultdict(lambda: None)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(3), ids=lambda part: f"part-{part}")
def test_texts_have_the_derivatives_that_mpmath_has(part: int) -> None:
    """First and second derivatives differ by at most 1e-12 times the condition number, relatively.

    The condition number is how many times more the exact derivative changes, relatively, than what it is computed from: here,
    by as much as the result of every operation and every input changes at once, plus 1. With 80 digits, there is no difference.
    """
    tally: Counter[str] = Counter()
    for case in cases(COUNT // 3, f"texts {part}"):
        graph, names = Graph(case.nodes, (case.output,)), list(case.inputs)
        inputs = dict(case.inputs)
        found = {}
        truth = jet_of(case)
        with np.errstate(all="ignore"):
            for i, text in enumerate(derivative_texts(graph, names)):
                found[f"d{i}"] = value_of(text, inputs)
                tally["exact"] += is_exact(text, inputs, truth[f"d{i}"]) is True
                assert is_exact(text, inputs, truth[f"d{i}"]) is not False, (str(case), text)
                known = [name for name in names[: i + 1] if name in parse(text).index]
                for name, second in zip(known, derivative_texts(parse(text), known), strict=True):
                    key = f"d{i}{names.index(name)}"
                    found[key] = value_of(second, inputs)
                    assert is_exact(second, inputs, truth[key]) is not False, (str(case), text, second)
        finite = {key: x for key, x in found.items() if math.isfinite(x)}
        bounds: dict[str, Any] = {"factor": TOLERANCE / (UNITS * 2.0**-53), "units": TOLERANCE / 2.0**-53, "inputs_too": True}
        wrong = check(case, random.Random(1), tally, given={"text": finite}, **bounds) if finite else []
        assert not wrong, "\n".join([str(case), *wrong, *derivative_texts(graph, names)])
        want = transforms.backward(graph, inputs, names)
        for i, name in enumerate(names):  # a finite gradient is never lost
            if math.isfinite(want.value) and math.isfinite(float(want.gradients[name])):
                assert math.isfinite(found[f"d{i}"]), (str(case), derivative_texts(graph, names)[i])
    assert tally["compared"] > COUNT / 3 / 4 and tally["exact"] > COUNT / 3 / 4, tally


def test_other_outputs_and_names_without_effect_change_nothing() -> None:
    """Names may come twice, in any order, and be those of operations."""
    without_effect = 0
    for k, case in enumerate(cases(COUNT, "outputs")):
        rng = random.Random(k)
        alone = Graph(case.nodes, (case.output,))
        others = [Node("u", "value"), Node("v", "sin", ("u",)), Node("w", "mul", ("v", *rng.choices(list(case.inputs))))]
        nodes = [*case.nodes, *others]
        rng.shuffle(nodes)
        graph = Graph(nodes, (case.output, *rng.sample([node.id for node in nodes if node.id != case.output], 2)))
        wanted = [*case.inputs, "u", "v", *rng.choices([node.id for node in nodes], k=3)]
        rng.shuffle(wanted)
        found = gradient(graph, wanted)
        names = list(dict.fromkeys(wanted))
        assert found.output == case.output and len(found.outputs) == 1 + len(names)
        with np.errstate(all="ignore"):
            values = transforms.evaluate(found, {**case.inputs, "u": 0.7})
            want = transforms.backward(graph, {**case.inputs, "u": 0.7}, names)
            texts = derivative_texts(alone, list(case.inputs))
        for name, output, text in zip(names, found.outputs[1:], derivative_texts(graph, names), strict=True):
            if name in "uvw":
                assert values[output] == 0.0 and text == "0", (str(case), name)
                without_effect += 1
            elif math.isfinite(want.value) and math.isfinite(want.gradients[name]):
                assert math.isfinite(values[output]), (str(case), name)
            if name in case.inputs:
                assert text == texts[list(case.inputs).index(name)], (str(case), name)
    assert without_effect >= 2 * COUNT


LOSSES = [
    ("hypot(x, y)", "x", 2, {"x": 1e8, "y": 1.0}, 1e-24),
    ("hypot(x, y)", "x", 3, {"x": 1e8, "y": 1.0}, -3e-32),
    ("hypot(3*x, y + 1)", "x", 2, {"x": 1e8, "y": 1.0}, 36 / 2.7e25),
    ("hypot(x, 1e-8)", "x", 2, {"x": 1.0}, 1e-16),
    ("sigmoid(x)", "x", 2, {"x": 1e-9}, -1.25e-10),
    ("sigmoid(-2*x)", "x", 2, {"x": 1e-9}, 1e-9),
    ("softplus(x)", "x", 3, {"x": 1e-9}, -1.25e-10),
    ("logsumexp(x, y)", "x", 1, {"x": 1e16, "y": 1e16}, 0.5),
    ("logsumexp(x, y, z)", "x", 1, {"x": 1e16, "y": 1e16, "z": 1e16}, 1 / 3),
    ("logsumexp(x)", "x", 1, {"x": 1e16}, 1.0),
    ("(tan(x) - x)**2", "x", 1, {"x": 0.0025655550952640343}, 7.4100052875452284e-14),
]
"""Derivatives whose plainest forms cancel: their order, where, and what they are."""


@for_each(("text", "wrt", "order", "at", "want"), LOSSES)
def test_no_digits_are_lost_where_forms_cancel(text: str, wrt: str, order: int, at: dict[str, float], want: float) -> None:
    for _ in range(order):
        (text,) = derivative_texts(parse(text), [wrt])
    assert value_of(text, at) == pytest.approx(want, rel=1e-12), text


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


@pytest.mark.slow
@pytest.mark.parametrize("language", PROGRAMS)
def test_random_expressions_in_each_language(language: str, tmp_path: Path) -> None:
    """Value and gradient are within 4 units in the last place times the condition number, plus 4.

    The condition number is how many units the exact number changes by when the result of every operation and every input
    changes by one unit at once.
    """
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
        bounds: dict[str, Any] = {"factor": 4.0 / UNITS, "units": 4.0, "inputs_too": True, "runs": 12}
        wrong = check(case, random.Random(1), tally, given={language: ways}, **bounds) if ways else []
        assert not wrong, "\n".join([str(case), *wrong])
    assert tally["compared"] > len(drawn) / 4, tally


def _writable(node: Node) -> bool:
    """Whether a node is no polygamma function whose order is not known, or not whole."""
    return node.op != "polygamma" or (not isinstance(node.args[0], str) and float(node.args[0]) in range(101))
