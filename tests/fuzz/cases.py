"""Random expressions at nasty points, and the check of one against mpmath."""

import math
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import mpmath
import numpy as np
from mpmath import mp, mpf

from app.engine import drawing, transforms
from app.engine.graph import Graph, Node
from app.engine.primitives import WIRE
from app.engine.text import parse
from tests.fuzz.jets import Jet, Noise, Unknown, apply, constant, leaf

DIGITS, NOISY_DIGITS = 50, 34
UNITS = 3.0
"""What a rule may be wrong by, in units in the last place, before it counts."""
RUNS = 3
FACTOR = 6.0
"""The bound is this many times the largest deviation of the noisy runs."""
SUBNORMAL = mpf(2) ** -1022
"""The smallest number with all its digits. An error below it is none."""
MANY = 70
"""Points enough for arrays: below 64, each point is walked alone."""

NASTY = [
    *(0.0, -0.0, 1.0, -1.0, 0.5, 2.0, 3.0, -2.0, 1e-8, 1 - 1e-8, 1 + 1e-8, 1e8, -1e8, 1e15, -1e16, 1e154, 1e160, -1e160),
    *(1e300, 1e-160, 1e-300, 1e-310, 1.7e308, 5e-324, 709.5, -745.0, 36.7, -36.7, math.pi, 1e-17, 5.5, 6.5, -8.0, 40.0),
    *(1.4616321449683622, 1.0 + 1e-15, -1.0 + 1e-15, -0.5, 1.5, -3.0, 0.9, 19.0, 1e5, 0.1, -1e-12),
]
DIRECTIONS = [
    (1, 1, 1),
    (-1, -1, -1),
    (1, -1, 1),
    (-1, 1, -1),
    (1, 0, 0),
    (0, 1, 0),
    (0, 0, 1),
    (-1, 0, 0),
    (0, -1, 0),
    (0, 0, -1),
]
"""From where limits are taken, by leaf."""
CLOSE = 1e-30
"""Limits are taken from points that are less than this away, in units of the larger of 1 and the number."""
JUMPS = frozenset(("lt", "le", "gt", "ge", "eq", "ne", "where", "sign", "atan2"))
OPERATIONS = list(WIRE.values())
SIMPLE = [WIRE[name] for name in ("add", "sub", "mul", "divide", "pow", "mul", "add")]


@dataclass(frozen=True)
class Case:
    """An expression as a graph and as text, and the numbers of its leaves."""

    nodes: tuple[Node, ...]
    inputs: Mapping[str, float]

    @property
    def output(self) -> str:
        """The last node."""
        return self.nodes[-1].id

    @property
    def text(self) -> str:
        """The same as assignments."""
        lines = []
        for node in self.nodes:
            if node.op != "value":
                lines.append(f"{node.id} = {node.op}({', '.join(a if isinstance(a, str) else repr(a) for a in node.args)})")
        return "\n".join(lines)

    def __str__(self) -> str:
        return f"{self.text}\n  at {dict(self.inputs)}"


def draw(rng: random.Random) -> Case:
    """A case: 1 to 3 leaves and up to 8 operations."""
    leaves = [f"x{k}" for k in range(rng.randint(1, 3))]
    nasty = rng.random() < 0.5

    def number() -> float:
        if nasty and rng.random() < 0.5:
            return rng.choice(NASTY)
        if rng.random() < 0.3:
            return float(rng.randint(-3, 3))
        return rng.choice((-1.0, 1.0)) * 10 ** rng.uniform(-3, 2) if rng.random() < 0.4 else rng.gauss(0.0, 1.5)

    nodes = [Node(name, "value") for name in leaves]
    names = list(leaves)
    for k in range(rng.choice((1, 1, 2, 3, 4, 5, 6, 8))):
        row = rng.choice(OPERATIONS if rng.random() < 0.75 else SIMPLE)
        count = row.min_arity if row.max_arity == row.min_arity else rng.randint(row.min_arity, 4)
        args: list[str | float] = []
        for _ in range(count):
            recent = names[-1] if rng.random() < 0.5 else rng.choice(names)
            args.append(number() if rng.random() < 0.12 else recent)
        if not any(isinstance(a, str) for a in args):
            args[0] = names[-1]
        nodes.append(Node(f"n{k}", row.name, tuple(args)))
        names.append(f"n{k}")
    return Case(tuple(nodes), {name: number() for name in leaves})


def exact(case: Case, noise: Noise, moved: Mapping[str, Any] | None = None) -> Jet:
    """The jet of a case's output. Raises Unknown."""
    known: dict[str, Jet] = {}
    for node in case.nodes:
        if node.op == "value":
            number = mpf(case.inputs[node.id]) if moved is None else moved[node.id]
            known[node.id] = leaf(number, len(known), noise.leaves)
            continue
        try:
            args = [known[a] if isinstance(a, str) else constant(mpf(a), noise.leaves) for a in _needed(node, known)]
            known[node.id] = apply(node.op, args, noise)
        except (KeyError, Unknown):
            continue
    if case.output not in known:
        raise Unknown
    return known[case.output]


def _needed(node: Node, known: Mapping[str, Jet]) -> Sequence[str | float]:
    """The arguments; of `where`, the branch that is not taken is replaced by the one that is, which may be unknown."""
    if node.op != "where":
        return node.args
    condition, a, b = node.args
    taken = a if (known[condition].value if isinstance(condition, str) else condition) != 0 else b
    return (condition, taken, taken)


def sizes(case: Case) -> tuple[float, float]:
    """How far the numbers of a case are from 1, in decimal digits, summed upwards and downwards."""
    up = down = 0.0
    with np.errstate(all="ignore"):
        graph = Graph(case.nodes, (case.output,))
        values = transforms.evaluate(graph, case.inputs, everything=True)
        partials = [row.local_gradient for row in drawing.rows(graph, case.inputs)[1]]
    for number in [*values.values(), *partials]:
        x = abs(float(number))
        if math.isnan(x) or math.isinf(x):
            up = math.inf
        elif x:
            up += max(math.log10(x), 0.0)
            down += max(-math.log10(x), 0.0)
    return up, down


Answers = dict[str, dict[str, float]]
"""By way of computing (`one`, `text`, `3`, `70`): the numbers, by what they are."""


def answers(case: Case, tangents: Mapping[str, float], rng: random.Random) -> Answers:
    """Everything the engine says of a case."""
    names = list(case.inputs)
    ways: Answers = {}
    graph = Graph(case.nodes, (case.output,))
    text = parse(case.text)
    others = [float(x) for x in rng.sample(NASTY, 2)] + [rng.gauss(0.0, 2.0) for _ in range(MANY)]
    for way, points in (("one", 0), ("text", 0), ("3", 3), ("70", MANY)):
        here = text if way == "text" else graph
        inputs: dict[str, Any] = {n: x for n, x in case.inputs.items() if n in here.index}
        if points:
            inputs = {n: [x, *others[k : k + points - 1]] for k, (n, x) in enumerate(inputs.items())}
        given = {n: t for n, t in tangents.items() if n in here.index}
        ways[way] = numbers_of(here, inputs, given, names, second=way in ("one", "70"))
    return ways


def numbers_of(
    graph: Graph, inputs: Mapping[str, Any], tangents: Mapping[str, float], names: Sequence[str], second: bool = True
) -> dict[str, float]:
    """The value, gradients, tangent and, if wanted, second derivatives at the first point."""

    def at_first(x: Any) -> float:
        return float(np.ravel(x)[0])

    wrt = [n for n in names if n in graph.index]
    back = transforms.backward(graph, inputs, wrt)
    table = transforms.hessian(graph, inputs, wrt).hessian if second else {}
    found = {"value": at_first(back.value), "tangent": at_first(transforms.jvp(graph, inputs, tangents).tangent)}
    for i, a in enumerate(names):
        found[f"d{i}"] = at_first(back.gradients[a]) if a in graph.index else 0.0
        for j in range(i + 1):
            if second:
                both = a in graph.index and names[j] in graph.index
                found[f"d{i}{j}"] = at_first(table[a][names[j]]) if both else 0.0
                found[f"d{j}{i}'"] = at_first(table[names[j]][a]) if both else 0.0
    return found


def expected(jet: Jet, tangents: Sequence[float]) -> dict[str, Any]:
    """The same numbers of a jet; None where they are not known."""
    n = len(tangents)
    found: dict[str, Any] = {"value": jet.value}
    first, second = jet.first, jet.second
    found["tangent"] = None if first is None else mpmath.fsum(t * d for t, d in zip(tangents, first, strict=True))
    at = 0
    for i in range(n):
        found[f"d{i}"] = None if first is None else first[i]
        for j in range(i + 1):
            found[f"d{i}{j}"] = found[f"d{j}{i}'"] = None if second is None else second[at]
            at += 1
    return found


def check(
    case: Case,
    rng: random.Random,
    tally: Counter[str],
    runs: int = RUNS,
    digits: int = DIGITS,
    given: Answers | None = None,
    factor: float = FACTOR,
    units: float = 4.0,
    inputs_too: bool = False,
) -> list[str]:
    """Compare one case with mpmath in every way of computing it, or in the ways that are given; return what is wrong.

    The bound is `factor` times the largest deviation of the noisy runs, and `units` in the last place. In these runs, every
    operation is moved by up to UNITS in its last place and, with `inputs_too`, every input.
    """
    tangents = dict(zip(case.inputs, (rng.choice((1.0, -2.0, 0.5)) for _ in case.inputs), strict=True))
    with np.errstate(all="ignore"):
        ways = answers(case, tangents, rng) if given is None else given
    wrong = []
    if given is None:
        wrong = [
            f"text and graph differ in {key}: {ways['text'][key]!r} and {ways['one'][key]!r}"
            for key in ways["one"]
            if key in ways["text"] and not _same(ways["one"][key], ways["text"][key])
        ]
    leaves = len(case.inputs)
    still = Noise(leaves, 0.0, 0)
    try:
        with mp.workdps(digits):
            truth = expected(exact(case, still), list(tangents.values()))
        with mp.workdps(NOISY_DIGITS):
            noises = [Noise(leaves, UNITS, rng.getrandbits(32)) for _ in range(runs)]
            moves = [_moved(case, rng) if inputs_too else None for _ in noises]
            noisy = [expected(exact(case, *run), list(tangents.values())) for run in zip(noises, moves, strict=True)]
    except Unknown:
        tally["undefined"] += 1
        return wrong if given is not None else wrong + beside(case, ways["one"], tangents, tally)
    if still.out_of_range:
        tally["out of range"] += 1
        return wrong
    if _may_jump(still, noises):
        tally["at a jump"] += 1
        return wrong
    up, down = sizes(case)
    tally["compared"] += 1
    for way, found in ways.items():
        for key, got in found.items():
            want = truth[key]
            if want is None or any(run[key] is None for run in noisy):
                tally["slope unknown"] += 1
                continue
            deviation = max(abs(run[key] - want) for run in noisy)
            bends = key[0] == "d" and len(key.strip("'")) > 2
            out_of_range = key != "value" and (still.slopes_out_of_range or (bends and still.bends_out_of_range))
            if deviation > abs(want) / 1000 or out_of_range:
                tally["not known to doubles"] += 1
                continue
            bound = factor * deviation + units * abs(want) * mpf(2) ** -53
            if abs(want) < mpf(10) ** -300:
                bound += SUBNORMAL
            if not math.isfinite(got):
                if not still.steep and up < 290 and down < 290 and abs(want) < mpf(10) ** 300:
                    wrong.append(f"{way}: {key} is {got}, and should be {mpmath.nstr(want, 17)}")
                tally["refused"] += 1
            elif abs(got - want) > bound and down < (145 if bends else 290):  # a product of two may be below all doubles
                wrong.append(f"{way}: {key} is {got!r}, {mpmath.nstr(want, 17)} +- {mpmath.nstr(bound, 3)}")
    if given is None and (truth["tangent"] is None or truth["d0"] is None):
        wrong += beside(case, ways["one"], tangents, tally)
    return wrong


def _moved(case: Case, rng: random.Random) -> dict[str, Any]:
    """The inputs, each moved by UNITS in its last place, up or down."""
    return {name: mpf(x) * (1 + rng.choice((-1, 1)) * UNITS * mpf(2) ** -53) for name, x in case.inputs.items()}


def _may_jump(still: Noise, noises: Sequence[Noise]) -> bool:
    """Whether the rounding of what is compared, or chosen by, may decide on which side of a jump it is."""
    for k, margin in enumerate(still.margins):
        moved = [noise.margins[k] for noise in noises if k < len(noise.margins)]
        if len(moved) < len(noises) or abs(margin) < FACTOR * max(abs(other - margin) for other in moved):
            return True
    return False


def _same(a: float, b: float) -> bool:
    return a == b or (math.isnan(a) and math.isnan(b))


def beside(case: Case, found: Mapping[str, float], tangents: Mapping[str, float], tally: Counter[str]) -> list[str]:
    """Where something is infinite or not defined: a number that is answered must be the limit from a side, if there is one."""
    if not math.isfinite(found["value"]) or any(node.op in JUMPS for node in case.nodes) or has_kink(case):
        return []  # which the value says, or there need be no limit, or the slope is a convention
    limits: dict[str, list[Any]] = {key: [] for key in found}
    leaves = len(case.inputs)
    with mp.workdps(120):
        for signs in DIRECTIONS:
            near = []
            for step in (mpf(10) ** -40, mpf(10) ** -50):
                moved = {
                    n: mpf(x) + s * step * max(1, abs(mpf(x))) for (n, x), s in zip(case.inputs.items(), signs, strict=False)
                }
                try:
                    for units, seed in ((0.0, 0), (UNITS, 1), (UNITS, 2), (UNITS, 3)):  # one alone may cancel
                        near.append(expected(exact(case, Noise(leaves, units, seed), moved), list(tangents.values())))
                except Unknown:
                    break
            if len(near) < 8:
                continue
            for key in found:
                numbers = [one[key] for one in near]
                if None not in numbers:
                    # Without and with noise, further and closer: else there is no limit, or doubles cannot know it.
                    limit = numbers[4]
                    agree = all(abs(x - limit) <= mpf(10) ** -9 * (1 + abs(limit)) for x in numbers)
                    limits[key].append(limit if agree else None)
    wrong = []
    if any(x is None or abs(found["value"] - x) > mpf(10) ** -6 * (1 + abs(x)) for x in limits["value"]):
        return []  # the value jumps
    for key, got in found.items():
        if math.isfinite(got) and limits[key] and all(limit is not None for limit in limits[key]):
            tally["limit"] += 1
            if all(abs(got - limit) > mpf(10) ** -6 * (1 + abs(limit)) for limit in limits[key]):
                wrong.append(f"{key} is {got!r}, but the limits are {[mpmath.nstr(x, 6) for x in limits[key]]}")
    return wrong


def has_kink(case: Case) -> bool:
    """Whether an operation is where its slope is a convention, or so close that limits are taken across it."""
    with np.errstate(all="ignore"):
        values = transforms.evaluate(Graph(case.nodes, (case.output,)), case.inputs, everything=True)
    for node in case.nodes:
        args = [float(values[a]) if isinstance(a, str) else a for a in node.args]
        if node.op in ("abs", "relu", "leaky_relu", "elu", "hypot") and all(abs(x) < CLOSE for x in args):
            return True
        if node.op in ("min", "max") and any(abs(a - b) <= CLOSE * abs(a) + CLOSE for a, b in combinations(args, 2)):
            return True
        if node.op == "pow" and abs(args[0]) < CLOSE and _has_jump_at_zero(args[1]):
            return True
    return False


def _has_jump_at_zero(exponent: float) -> bool:
    """Whether x**exponent or a derivative of it is one number at x = 0, and another as close to it as limits are taken.

    x**1e-160 is 0 at 0, and 1 beside it; the second derivative of x**(2 + 1e-16) is 0 at 0, and 2 beside it. And the slope y/x
    of x**y has no limit at (0, 0).
    """
    return abs(exponent) < 0.01 or any(0 < abs(exponent - whole) < 0.01 for whole in (1, 2))


def shrink(case: Case, fails: Callable[[Case], bool]) -> Case:
    """A smaller case that still fails: without the last operations, or without those that nothing uses."""
    better = True
    while better:
        better = False
        for k, node in enumerate(case.nodes):
            rest = (*case.nodes[:k], *case.nodes[k + 1 :])
            if any(node.id in other.args for other in rest) or not any(n.op != "value" for n in rest):
                continue
            inputs = {n: x for n, x in case.inputs.items() if n != node.id}
            smaller = Case(rest, inputs)
            if inputs and rest[-1].op != "value" and fails(smaller):
                case, better = smaller, True
                break
    return case
