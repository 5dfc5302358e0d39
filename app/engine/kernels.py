"""Compiled loops over a tape, for one point. They know no operation by name; the rules come from the table of primitives.

All rows become one function, `if op == 0: row 0, if op == 1: row 1, ...`, which LLVM turns into a jump table. The loops read
it as a global, because numba caches their machine code on disk only then.

An exact zero passes nothing on: a product with a factor of 0 is 0, even if the other factor is NaN or infinite, in forward
and in reverse mode. The branch that a `where` did not take therefore does no harm, whatever it holds.

Throughout, `code` has shape (m, 4), `v`, `t`, `g` and `w` hold one number per slot, `p` holds partials in shape (m, 3), and
`s` holds second partials in shape (m, 6).
"""

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from app.engine.jit import inline, jit
from app.engine.primitives import PRIMITIVES, Primitive

Ints = npt.NDArray[np.int32]
Code = npt.NDArray[np.int32]
"""Instructions, one per row: an opcode and three slots, as in `tape.Tape`."""
Floats = npt.NDArray[np.float64]
Function = Callable[..., Any]

ARITY = np.array([len(row.d) for row in PRIMITIVES], np.int32)


def switch(rows: Sequence[Primitive], rules_of: Callable[[Primitive], Sequence[Function]], width: int, out: str) -> Function:
    """Return a compiled function of an opcode and three arguments that returns the results of that row's rules.

    If `out` is ", out", the value is a further argument; if it is empty, the value is computed first, and is the first number
    returned. Rows with fewer than `width` rules return zeros for the rest. The function is generated as source code, a few
    lines per row, because numba types a chain of closures by recursion, deeper than Python's limit.
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
    exec("\n".join(lines), scope)  # the source above, which holds nothing from a user
    return cast(Function, inline(scope["rows"]))


value_of = switch(PRIMITIVES, lambda row: (), 0, "")
value_and_partials_of = switch(PRIMITIVES, lambda row: row.d, 3, "")
partials_of = switch(PRIMITIVES, lambda row: row.d, 3, ", out")
second_partials_of = switch(PRIMITIVES, lambda row: row.dd, 6, ", out")


@inline
def times(x: float, y: float) -> float:
    """Return the product, in which an exact zero wins over NaN and infinity."""
    return 0.0 if x == 0.0 or y == 0.0 else x * y


@jit
def apply(op: int, x: float, y: float, z: float) -> float:
    """Return the value of one instruction."""
    return value_of(op, x, y, z)  # type: ignore[no-any-return]  # compiled


@jit
def forward(code: Code, v: Floats) -> None:
    """Compute the values of all instructions into `v`, which holds those of the leaves."""
    base = len(v) - len(code)
    for k in range(len(code)):
        v[base + k] = value_of(code[k, 0], v[code[k, 1]], v[code[k, 2]], v[code[k, 3]])


@jit
def gather(numbers: Floats, slots: Ints) -> Floats:
    """Return the numbers in these slots, and 0 for slot -1, which stands for a node that the outputs do not need."""
    picked = np.empty(len(slots))
    for k in range(len(slots)):
        picked[k] = numbers[slots[k]] if slots[k] >= 0 else 0.0
    return picked


@jit
def linearize(code: Code, v: Floats, p: Floats) -> None:
    """As `forward`, and compute the partials of each instruction by its arguments into `p`.

    One call for both finds the row once, and shares what both need, such as an exponential.
    """
    base = len(v) - len(code)
    for k in range(len(code)):
        v[base + k], p[k, 0], p[k, 1], p[k, 2] = value_and_partials_of(code[k, 0], v[code[k, 1]], v[code[k, 2]], v[code[k, 3]])


@jit
def push(code: Code, p: Floats, t: Floats) -> None:
    """Push the tangents in `t` forward. A number already at an instruction's slot is added to its tangent."""
    base = len(t) - len(code)
    for k in range(len(code)):
        t[base + k] += times(p[k, 0], t[code[k, 1]]) + times(p[k, 1], t[code[k, 2]]) + times(p[k, 2], t[code[k, 3]])


@jit
def pull(code: Code, p: Floats, g: Floats) -> None:
    """Pull the cotangents in `g` back to the leaves; afterwards g[i] is the adjoint of slot i.

    No branch depends on the opcode, so the processor has nothing to mispredict. A third argument is rare.
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
    """Return each instruction's second partials (aa, ab, bb, ac, bc, cc) times its adjoint in `g`, in shape (m, 6)."""
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
    """Forward over reverse: add the derivative of `pull` along the tangents `t` of all slots to `w`, which starts at 0.

    By the product rule, dg[i] += dg * p[i] + g * sum_j dd[i, j] * t[j]: the derivative of the adjoint passes through the
    partial, and the adjoint through the partial's derivative. `s` already holds g * dd.
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
    """Return, for each slot whose number in `v` is not finite, the first slot at fault for it, and -1 for the others.

    The fault of an argument is inherited, preferably of one that counts: whose partial is not exactly 0. If `v` holds
    `values`, it is inherited even then, as in NaN times 0; a tangent is not passed on by a partial of 0.
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
        for counts in range(2 if values else 1):  # first by arguments that count, then by any
            for i in range(arity):
                fault = culprit[code[k - base, 1 + i]]
                if culprit[k] == k and fault >= 0 and (counts == 1 or p[k - base, i] != 0.0):
                    culprit[k] = fault
    return culprit


@jit
def blame_backward(code: Code, p: Floats, s: Floats, t: Floats, w: Floats) -> Ints:
    """Return, for each slot whose adjoint in `w` is not finite, the first slot at fault in reverse, and -1 for the others.

    The instruction at fault is the one that makes an adjoint that is not finite of finite ones. If `s` and `t` are zeros, `w`
    is a gradient; otherwise it is the derivative of one along `t`, as in `pull_tangents`.
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
            passed = times(w[k], p[m, place]) + times(s[m, row], t[i])
            passed += times(s[m, 1 if place == 0 else (2 if place == 1 else 4)], t[j])
            passed += times(s[m, 3 if place == 0 else (4 if place == 1 else 5)], t[h])
            if not np.isfinite(passed) and culprit[to] < 0 and not np.isfinite(w[to]):
                culprit[to] = from_here
    return culprit
