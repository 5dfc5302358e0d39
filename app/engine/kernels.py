"""Compiled loops over a tape, for one point. They know no operation by name; the rules come from the table of primitives.

All rows become one function, `if op == 0: row 0, if op == 1: row 1, ...`, which LLVM turns into a jump table; those that call
functions become a second one, which the first calls. The loops read it as a global, because numba caches their machine code on
disk only then.

What an operation did not select passes nothing on: the branch that a `where` did not take does no harm, whatever it holds. All
other products follow IEEE arithmetic, in which 0 times infinity is NaN. While all numbers are finite both come to the same, so
the fast loops look at neither: they return whether that was so, and if not, the loops named `..._carefully` walk again. These
keep a flag per slot, `live`: whether anything was passed on to it.

Throughout, `code` has shape (m, 4), `v`, `t`, `g` and `w` hold one number per slot, `p` holds partials in shape (m, 3), and
`s` holds second partials in shape (m, 6).
"""

import ast
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from app.engine import special
from app.engine.jit import inline, jit
from app.engine.primitives import PRIMITIVES, Primitive, zero

Ints = npt.NDArray[np.int32]
Code = npt.NDArray[np.int32]
"""Instructions, one per row: an opcode and three slots, as in `tape.Tape`."""
Floats = npt.NDArray[np.float64]
Function = Callable[..., Any]

Flags = npt.NDArray[np.bool_]

ARITY = np.array([len(row.d) for row in PRIMITIVES], np.int32)


def _flags(width: int, holds: Callable[[Primitive, int], bool]) -> Flags:
    """A flag for each opcode and each of `width` rules."""
    return np.array([[holds(row, k) for k in range(width)] for row in PRIMITIVES], np.bool_)


ZERO_STOPS = _flags(3, lambda row, k: k >= len(row.d) or row.selects or row.d[k] is zero)
"""Where a partial of exactly 0 passes nothing on, by opcode and argument: a selection, or no such argument."""
BENDS = _flags(6, lambda row, k: k < len(row.dd) and row.dd[k] is not zero)
"""Whether an operation has this second partial at all, by opcode and place in (aa, ab, bb, ac, bc, cc)."""


WRITTEN_OUT = frozenset({special.where, special.sigmoid, special.sigmoid_rest, special.sech2, special.tanh_slope})
"""Functions so small that LLVM writes them out where they are called."""


def switch(rows: Sequence[Primitive], rules_of: Callable[[Primitive], Sequence[Function]], width: int, out: str) -> Function:
    """Return a compiled function of an opcode and three arguments that returns the results of that row's rules.

    If `out` is ", out", the value is a further argument; if it is empty, the value is computed first, and is the first number
    returned. Rows with fewer than `width` rules return zeros for the rest. The function is generated as source code, a few
    lines per row, because numba types a chain of closures by recursion, deeper than Python's limit.
    """
    scope: dict[str, Any] = {"nan": np.nan}
    common: list[str] = []
    rare: list[str] = []
    for code, row in enumerate(rows):
        if row.fun is None:
            continue
        arguments = ", ".join("xyz"[: len(row.d)])
        rules = rules_of(row)
        results = [_written(rule, f"{arguments}, out", scope) for rule in rules]
        results += ["0.0"] * (width - len(results))
        lines = rare if any(map(_calls, rules if out else (row.fun, *rules))) else common
        lines.append(f"    if op == {code}:")
        if not out:
            lines.append(f"        out = {_written(row.fun, arguments, scope)}")
            results.insert(0, "out")
        lines.append(f"        return {', '.join(results)}")
    common.append(f"    return rare(op, x, y, z{out})")
    rare.append(f"    return {', '.join(['nan'] * (width + (not out)))}")
    for name, lines in (("rare", rare), ("rows", common)):
        exec("\n".join((f"def {name}(op, x, y, z{out}):", *lines)), scope)  # the source above, which holds nothing from a user
        scope[name] = inline(scope[name])
    return cast(Function, scope["rows"])


def _calls(rule: Function) -> bool:
    """Return whether a rule calls a function of ours that LLVM does not write out where it is called.

    numba clears the places of the results of all calls in a function when it is entered, so each such rule would cost every
    other row two stores: with all of them in one function, a walk forward takes 1.5 times as long.
    """
    named = (rule.__globals__.get(name) for name in rule.__code__.co_names)
    return any(getattr(thing, "__module__", "") == special.__name__ and thing not in WRITTEN_OUT for thing in named)


def _written(rule: Function, arguments: str, scope: dict[str, Any]) -> str:
    """Return source code for the result of a rule, and put what it names into `scope`.

    The expression of a lambda is written out, since compiling an expression takes a third of the time of compiling a function.
    Rules of which this cannot be done are called: other functions, and those that mean something else by a name.
    """
    if rule is zero:
        return "0.0"
    code = rule.__code__
    expression = _expressions(code.co_filename).get(_place(rule)) if rule.__name__ == "<lambda>" else None
    named = {name: rule.__globals__[name] for name in code.co_names if name in rule.__globals__}
    means_the_same = all(scope.setdefault(name, thing) is thing for name, thing in named.items())
    if expression is not None and ", ".join(code.co_varnames) == arguments and means_the_same:
        return expression
    called = f"rule_{len(scope)}"
    scope[called] = inline(rule)
    return f"{called}({arguments})"


@cache
def _expressions(file: str) -> dict[tuple[int, int], str]:
    """Return the expressions of all lambdas in a file, by line and column; none if there is no such file."""
    if not Path(file).is_file():
        return {}
    tree = ast.parse(Path(file).read_text("utf-8"))
    bodies = [node.body for node in ast.walk(tree) if isinstance(node, ast.Lambda)]
    return {(body.lineno, body.col_offset): ast.unparse(body) for body in bodies}


def _place(rule: Function) -> tuple[int, int]:
    """Return the line and the column where a lambda's expression begins. Python may have been told not to keep columns."""
    places = [(line, column) for line, _, column, _ in rule.__code__.co_positions() if line and column]
    return min(places, default=(0, 0))


value_of = switch(PRIMITIVES, lambda row: (), 0, "")
value_and_partials_of = switch(PRIMITIVES, lambda row: row.d, 3, "")
partials_of = switch(PRIMITIVES, lambda row: row.d, 3, ", out")
second_partials_of = switch(PRIMITIVES, lambda row: row.dd, 6, ", out")


@jit
def apply(op: int, x: float, y: float, z: float) -> float:
    """Return the value of one instruction."""
    return value_of(np.int32(op), x, y, z)  # type: ignore[no-any-return]  # compiled for opcodes of a tape already


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
def linearize(code: Code, v: Floats, p: Floats) -> bool:
    """As `forward`, and compute the partials of each instruction by its arguments into `p`. Return whether they are finite.

    One call for both finds the row once, and shares what both need, such as an exponential.
    """
    base = len(v) - len(code)
    total = 0.0  # not finite if a term is not, and otherwise only in rare cases, which are walked carefully for nothing
    for k in range(len(code)):
        v[base + k], a, b, c = value_and_partials_of(code[k, 0], v[code[k, 1]], v[code[k, 2]], v[code[k, 3]])
        p[k, 0], p[k, 1], p[k, 2] = a, b, c
        total += a + b + c
    return bool(np.isfinite(total))


@jit
def push(code: Code, p: Floats, t: Floats) -> bool:
    """Push the tangents in `t` forward. A number already at an instruction's slot is added to its tangent.

    Return whether all are finite. If so, and if all partials are, they are right; otherwise see `push_carefully`.
    """
    base = len(t) - len(code)
    total = 0.0
    for k in range(len(code)):
        t[base + k] += p[k, 0] * t[code[k, 1]] + p[k, 1] * t[code[k, 2]] + p[k, 2] * t[code[k, 3]]
        total += t[base + k]
    return bool(np.isfinite(total))


@jit
def pull(code: Code, p: Floats, g: Floats) -> bool:
    """Pull the cotangents in `g` back to the leaves; afterwards g[i] is the adjoint of slot i.

    No branch depends on the opcode, so the processor has nothing to mispredict. A third argument is rare.
    Return whether the adjoints of all instructions are finite. If so, and if all partials are, the result is right.
    """
    base = len(g) - len(code)
    total = 0.0
    for k in range(len(code) - 1, -1, -1):
        adjoint = g[base + k]
        if adjoint == 0.0:
            continue
        total += adjoint
        g[code[k, 1]] += adjoint * p[k, 0]
        g[code[k, 2]] += adjoint * p[k, 1]
        if p[k, 2] != 0.0:
            g[code[k, 3]] += adjoint * p[k, 2]
    return bool(np.isfinite(total))


@jit
def pull_one(code: Code, v: Floats, p: Floats, output: int, cotangent: float, slots: Ints) -> tuple[Floats, bool]:
    """Return the value of the slot `output`, and the adjoints of `slots` for a cotangent of this slot alone; 0 for slot -1.

    Also returns whether the adjoints are finite, as `pull` does. One call for both takes a third less time than two.
    """
    g = np.zeros(len(v))
    g[output] = cotangent
    finite = pull(code, p, g)
    entries = np.empty(1 + len(slots))
    entries[0] = v[output]
    for k in range(len(slots)):
        entries[1 + k] = g[slots[k]] if slots[k] >= 0 else 0.0
    return entries, finite


@jit
def push_carefully(code: Code, p: Floats, t: Floats, live: Flags) -> None:
    """As `push`, for any numbers. `live` says which slots have a tangent."""
    base = len(t) - len(code)
    for k in range(len(code)):
        for i in range(3):
            slot = code[k, 1 + i]
            if live[slot] and not (p[k, i] == 0.0 and ZERO_STOPS[code[k, 0], i]):
                t[base + k] += p[k, i] * t[slot]
                live[base + k] = True


@jit
def pull_carefully(code: Code, p: Floats, g: Floats, live: Flags) -> None:
    """As `pull`, for any numbers. `live` says which slots have an adjoint."""
    base = len(g) - len(code)
    for k in range(len(code) - 1, -1, -1):
        if not live[base + k]:
            continue
        for i in range(3):
            if not (p[k, i] == 0.0 and ZERO_STOPS[code[k, 0], i]):
                g[code[k, 1 + i]] += g[base + k] * p[k, i]
                live[code[k, 1 + i]] = True


@jit
def curve(code: Code, v: Floats, g: Floats, s: Floats) -> bool:
    """Compute each instruction's second partials (aa, ab, bb, ac, bc, cc) times its adjoint in `g` into `s`.

    Return whether all are finite.
    """
    base = len(v) - len(code)
    total = 0.0
    for k in range(len(code)):
        i, j, h = code[k, 1], code[k, 2], code[k, 3]
        aa, ab, bb, ac, bc, cc = second_partials_of(code[k, 0], v[i], v[j], v[h], v[base + k])
        adjoint = g[base + k]
        s[k, 0], s[k, 1], s[k, 2] = adjoint * aa, adjoint * ab, adjoint * bb
        s[k, 3], s[k, 4], s[k, 5] = adjoint * ac, adjoint * bc, adjoint * cc
        total += adjoint * aa + adjoint * ab + adjoint * bb + adjoint * ac + adjoint * bc + adjoint * cc
    return bool(np.isfinite(total))


@jit
def pull_tangents(code: Code, p: Floats, s: Floats, t: Floats, w: Floats) -> bool:
    """Forward over reverse: add the derivative of `pull` along the tangents `t` of all slots to `w`, which starts at 0.

    By the product rule, dg[i] += dg * p[i] + g * sum_j dd[i, j] * t[j]: the derivative of the adjoint passes through the
    partial, and the adjoint through the partial's derivative. `s` already holds g * dd. Return whether the numbers of all
    instructions are finite.
    """
    base = len(w) - len(code)
    total = 0.0
    for k in range(len(code) - 1, -1, -1):
        i, j, h = code[k, 1], code[k, 2], code[k, 3]
        dg = w[base + k]
        total += dg
        w[i] += dg * p[k, 0] + s[k, 0] * t[i] + s[k, 1] * t[j] + s[k, 3] * t[h]
        w[j] += dg * p[k, 1] + s[k, 1] * t[i] + s[k, 2] * t[j] + s[k, 4] * t[h]
        w[h] += dg * p[k, 2] + s[k, 3] * t[i] + s[k, 4] * t[j] + s[k, 5] * t[h]
    return bool(np.isfinite(total))


@inline
def second(i: int, j: int) -> int:
    """Return the place of the second partial by arguments i and j in (aa, ab, bb, ac, bc, cc)."""
    high = max(i, j)
    return high * (high + 1) // 2 + min(i, j)


@jit
def pull_tangents_carefully(
    code: Code, p: Floats, s: Floats, g_live: Flags, t: Floats, t_live: Flags, w: Floats, live: Flags
) -> None:
    """As `pull_tangents`, for any numbers. `g_live` says which slots have an adjoint, `t_live` a tangent, and `live` a `w`."""
    base = len(w) - len(code)
    for k in range(len(code) - 1, -1, -1):
        op = code[k, 0]
        for i in range(ARITY[op]):
            to = code[k, 1 + i]
            if live[base + k] and not (p[k, i] == 0.0 and ZERO_STOPS[op, i]):
                w[to] += w[base + k] * p[k, i]
                live[to] = True
            for j in range(ARITY[op]):
                if g_live[base + k] and t_live[code[k, 1 + j]] and BENDS[op, second(i, j)]:
                    w[to] += s[k, second(i, j)] * t[code[k, 1 + j]]
                    live[to] = True


@jit
def blame_forward(code: Code, p: Floats, v: Floats, live: Flags, values: bool) -> Ints:
    """Return, for each slot whose number in `v` is not finite, the first slot at fault for it, and -1 for the others.

    The fault of an argument is inherited, preferably of one that counts: whose partial is not exactly 0. If `v` holds
    `values`, it is inherited even then, as in NaN times 0; of tangents, those that are `live` and passed on.
    """
    base = len(v) - len(code)
    culprit = np.full(len(v), -1, np.int32)
    for k in range(len(v)):
        if np.isfinite(v[k]):
            continue
        culprit[k] = k
        if k < base:
            continue
        op = code[k - base, 0]
        for counts in range(2):  # first by arguments that count, then by any
            for i in range(ARITY[op]):
                slot = code[k - base, 1 + i]
                zero = p[k - base, i] == 0.0
                passes = values or (live[slot] and not (zero and ZERO_STOPS[op, i]))
                if culprit[k] == k and culprit[slot] >= 0 and passes and (counts == 1 or not zero):
                    culprit[k] = culprit[slot]
    return culprit


@jit
def blame_backward(code: Code, p: Floats, s: Floats, g_live: Flags, t: Floats, t_live: Flags, w: Floats, live: Flags) -> Ints:
    """Return, for each slot whose adjoint in `w` is not finite, the first slot at fault in reverse, and -1 for the others.

    The instruction at fault is the one that makes an adjoint that is not finite of finite ones. Arguments as in
    `pull_tangents_carefully`; if no slot has a tangent, `w` is a gradient.
    """
    base = len(w) - len(code)
    culprit = np.full(len(w), -1, np.int32)
    for k in range(len(w) - 1, -1, -1):
        if not np.isfinite(w[k]) and culprit[k] < 0:
            culprit[k] = k
        if k < base:
            continue
        op = code[k - base, 0]
        from_here = culprit[k] if culprit[k] >= 0 else k
        for i in range(ARITY[op]):
            to = code[k - base, 1 + i]
            passed = 0.0
            if live[k] and not (p[k - base, i] == 0.0 and ZERO_STOPS[op, i]):
                passed += w[k] * p[k - base, i]
            for j in range(ARITY[op]):
                if g_live[k] and t_live[code[k - base, 1 + j]] and BENDS[op, second(i, j)]:
                    passed += s[k - base, second(i, j)] * t[code[k - base, 1 + j]]
            if not np.isfinite(passed) and culprit[to] < 0 and not np.isfinite(w[to]):
                culprit[to] = from_here
    return culprit
