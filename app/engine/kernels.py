"""Compiled loops over a tape, for one point. They know no operation by name; the rules come from the table.

The rows become one function, `if op == 0: row 0, if op == 1: row 1, ...`, which LLVM turns into a jump table. The
loops read it as a global, for only so does numba keep their machine code on disk.

An exact zero passes nothing on: a product with a factor of 0 is 0, even if the other is NaN or infinite, forward and in
reverse. So the branch that a `where` did not take does no harm, whatever it holds.
"""

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from app.engine.jit import inline, jit
from app.engine.primitives import PRIMITIVES, Primitive

Ints = npt.NDArray[np.int32]
Code = npt.NDArray[np.int32]
"""Instructions, a row each: a row of the table and three slots, as in `tape.Tape`."""
Floats = npt.NDArray[np.float64]
Function = Callable[..., Any]

ARITY = np.array([len(row.d) for row in PRIMITIVES], np.int32)


def switch(rows: Sequence[Primitive], rules_of: Callable[[Primitive], Sequence[Function]], width: int, out: str) -> Function:
    """One compiled function of an opcode and three arguments, that returns the numbers of that row's rules.

    `out` is ", out" where the value is a further argument; else it is computed first, and is the first number returned. The
    function is written out as source, a few lines a row, because a chain of closures is typed by recursion, deeper than
    Python's limit. Rows with fewer than `width` rules give zeros for the rest.
    """
    scope: dict[str, Any] = {"nan": np.nan}
    lines = [f"def rows(op, x, y, z{out}):"]
    for code, row in enumerate(rows):
        if row.fun is None:
            continue
        arguments = ", ".join("xyz"[: len(row.d)])
        calls = []
        for k, rule in enumerate(rules_of(row)):
            scope[f"rule_{code}_{k}"] = inline(rule)
            calls.append(f"rule_{code}_{k}({arguments}, out)")
        calls += ["0.0"] * (width - len(calls))
        lines.append(f"    if op == {code}:")
        if not out:
            scope[f"value_{code}"] = inline(row.fun)
            lines.append(f"        out = value_{code}({arguments})")
            calls.insert(0, "out")
        lines.append(f"        return {', '.join(calls)}")
    lines.append(f"    return {', '.join(['nan'] * (width + (not out)))}")
    exec("\n".join(lines), scope)  # the text above, nothing of a user's
    return cast(Function, inline(scope["rows"]))


value_of = switch(PRIMITIVES, lambda row: (), 0, "")
value_and_partials_of = switch(PRIMITIVES, lambda row: row.d, 3, "")
partials_of = switch(PRIMITIVES, lambda row: row.d, 3, ", out")
second_partials_of = switch(PRIMITIVES, lambda row: row.dd, 6, ", out")


@inline
def times(x: float, y: float) -> float:
    """The product, in which an exact zero wins over NaN and infinity."""
    return 0.0 if x == 0.0 or y == 0.0 else x * y


@jit
def apply(op: int, x: float, y: float, z: float) -> float:
    """One instruction: the value of row `op`."""
    return value_of(op, x, y, z)  # type: ignore[no-any-return]  # compiled


@jit
def forward(code: Code, v: Floats) -> None:
    """Fills the values `v` behind the leaves', which are given."""
    base = len(v) - len(code)
    for k in range(len(code)):
        v[base + k] = value_of(code[k, 0], v[code[k, 1]], v[code[k, 2]], v[code[k, 3]])


@jit
def gather(numbers: Floats, slots: Ints) -> Floats:
    """The numbers at these slots; 0 for slot -1, which stands for a node that the outputs do not need."""
    picked = np.empty(len(slots))
    for k in range(len(slots)):
        picked[k] = numbers[slots[k]] if slots[k] >= 0 else 0.0
    return picked


@jit
def linearize(code: Code, v: Floats, p: Floats) -> None:
    """`forward`, with the partials of each instruction by its arguments into `p`, of shape (m, 3).

    Value and partials in one go find the row once for both, and share what both need, such as an exponential.
    """
    base = len(v) - len(code)
    for k in range(len(code)):
        v[base + k], p[k, 0], p[k, 1], p[k, 2] = value_and_partials_of(code[k, 0], v[code[k, 1]], v[code[k, 2]], v[code[k, 3]])


@jit
def push(code: Code, p: Floats, t: Floats) -> None:
    """Pushes the tangents in `t` forward. What stands at an instruction's slot before is added to its tangent."""
    base = len(t) - len(code)
    for k in range(len(code)):
        t[base + k] += times(p[k, 0], t[code[k, 1]]) + times(p[k, 1], t[code[k, 2]]) + times(p[k, 2], t[code[k, 3]])


@jit
def pull(code: Code, p: Floats, g: Floats) -> None:
    """Pulls the cotangents in `g` back to the leaves: afterwards g[i] is the adjoint of slot i.

    It does not look at what an instruction is, so there is nothing for the processor to guess. A third argument is rare.
    """
    base = len(g) - len(code)
    for k in range(len(code) - 1, -1, -1):
        adjoint = g[base + k]
        if adjoint == 0.0:
            continue
        g[code[k, 1]] += 0.0 if p[k, 0] == 0.0 else adjoint * p[k, 0]
        g[code[k, 2]] += 0.0 if p[k, 1] == 0.0 else adjoint * p[k, 1]
        if p[k, 2] != 0.0:
            g[code[k, 3]] += adjoint * p[k, 2]


@jit
def curve(code: Code, v: Floats, g: Floats) -> Floats:
    """Each instruction's second partials (aa, ab, bb, ac, bc, cc) times its adjoint in `g`: an array of shape (m, 6)."""
    base = len(v) - len(code)
    s = np.zeros((len(code), 6))
    for k in range(len(code)):
        adjoint = g[base + k]
        if adjoint == 0.0:
            continue
        i, j, h = code[k, 1], code[k, 2], code[k, 3]
        aa, ab, bb, ac, bc, cc = second_partials_of(code[k, 0], v[i], v[j], v[h], v[base + k])
        s[k, 0] = times(adjoint, aa)
        s[k, 1] = times(adjoint, ab)
        s[k, 2] = times(adjoint, bb)
        s[k, 3] = times(adjoint, ac)
        s[k, 4] = times(adjoint, bc)
        s[k, 5] = times(adjoint, cc)
    return s


@jit
def pull_tangents(code: Code, p: Floats, s: Floats, t: Floats, w: Floats) -> None:
    """Forward over reverse: the derivative of `pull` along the tangents `t`, of all slots, into `w`, which starts at 0.

    An adjoint's derivative is the pulled derivative of the adjoint after it, plus that adjoint times the derivative of
    the partial: dg[i] += dg * p[i] + g * sum_j dd[i, j] * t[j], where `s` already holds g * dd.
    """
    base = len(w) - len(code)
    for k in range(len(code) - 1, -1, -1):
        i, j, h = code[k, 1], code[k, 2], code[k, 3]
        dg = w[base + k]
        w[i] += times(dg, p[k, 0]) + times(s[k, 0], t[i]) + times(s[k, 1], t[j]) + times(s[k, 3], t[h])
        w[j] += times(dg, p[k, 1]) + times(s[k, 1], t[i]) + times(s[k, 2], t[j]) + times(s[k, 4], t[h])
        w[h] += times(dg, p[k, 2]) + times(s[k, 3], t[i]) + times(s[k, 4], t[j]) + times(s[k, 5], t[h])


@jit
def blame_forward(code: Code, p: Floats, v: Floats, values: bool) -> Ints:
    """For each slot whose number in `v` is not finite, the first slot at fault for it; -1 for the others.

    The fault of an argument is inherited, first of all where the argument counts, that is, where its partial is not exactly
    0. If `v` holds `values`, it is inherited anyhow, as in NaN times 0; a tangent is not passed on by a partial of 0.
    """
    base = len(v) - len(code)
    culprit = np.full(len(v), -1, np.int32)
    for k in range(len(v)):
        if np.isfinite(v[k]):
            continue
        culprit[k] = k
        if k < base:
            continue
        arity = ARITY[code[k - base, 0]]
        for counts in range(2 if values else 1):  # first the arguments that count, then any
            for i in range(arity):
                fault = culprit[code[k - base, 1 + i]]
                if culprit[k] == k and fault >= 0 and (counts == 1 or p[k - base, i] != 0.0):
                    culprit[k] = fault
    return culprit


@jit
def blame_backward(code: Code, p: Floats, s: Floats, t: Floats, w: Floats) -> Ints:
    """For each slot whose adjoint in `w` is not finite, the first slot at fault in the reverse walk; -1 for the others.

    At fault is the instruction that makes an infinite or undefined adjoint of finite ones. With `s` and `t` of zeros `w`
    is a gradient; else its derivative along `t`, as in `pull_tangents`.
    """
    base = len(w) - len(code)
    culprit = np.full(len(w), -1, np.int32)
    for k in range(len(w) - 1, -1, -1):
        if not np.isfinite(w[k]) and culprit[k] < 0:
            culprit[k] = k
        if k < base:
            continue
        m = k - base
        from_here = culprit[k] if culprit[k] >= 0 else k
        i, j, h = code[m, 1], code[m, 2], code[m, 3]
        for place in range(3):
            to = code[m, 1 + place]
            row = 0 if place == 0 else (1 if place == 1 else 3)
            part = times(w[k], p[m, place]) + times(s[m, row], t[i])
            part += times(s[m, 1 if place == 0 else (2 if place == 1 else 4)], t[j])
            part += times(s[m, 3 if place == 0 else (4 if place == 1 else 5)], t[h])
            if not np.isfinite(part) and culprit[to] < 0 and not np.isfinite(w[to]):
                culprit[to] = from_here
    return culprit
