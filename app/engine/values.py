"""Value: a number that remembers how it was computed, for expressions written in Python itself.

Values never change: an expression makes new ones, and `backward` returns a separate gradient table. A value and a graph give
the same numbers to the last bit, since the same compiled row computes both.

    >>> x = value(3.0)
    >>> y = pow(x, 2)
    >>> gradients = backward(y)
    >>> grad(x, gradients)
    6.0
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from numbers import Real

import msgspec
import numpy as np

from app.engine import kernels
from app.engine.errors import GraphCycle
from app.engine.gradients import Entry, Gradients, Key
from app.engine.graph import CODES, Graph, Node, argument_starts, is_id, unknown_primitive, wrong_arity
from app.engine.primitives import ALIASES, LEAF, OPCODE, WIRE
from app.engine.tape import connect, record
from app.engine.walk import PointWalk

NUMBER_OPCODE = {name: OPCODE[row.with_number or name] for name, row in WIRE.items()}
"""The opcode of each operation whose last argument is a plain number."""


class Value(msgspec.Struct, frozen=True, eq=False, gc=False):
    """An immutable number with the operation and the arguments it came from.

    Operators and every primitive's name as a method make new values: `x * y`, `x ** 2`, `x.tanh()`, `x.max(y, 0)`.
    Numbers are promoted to constants. Two values are equal only if they are the same object, because their gradients differ;
    `<`, `<=`, `>` and `>=` give values of 1.0 or 0.0. A value refers only to older ones, so there are no cycles, and the
    garbage collector does not track values.

    A msgspec struct, because a program makes millions of values: one takes 0.35 µs, a frozen dataclass with slots 1.8 µs.
    """

    data: float
    op: str = LEAF
    args: tuple["Value | float", ...] = ()
    label: str | None = None
    grad: float | None = None

    def __post_init__(self) -> None:
        if type(self.data) is not float:
            msgspec.structs.force_setattr(self, "data", _number(self.data))

    def backward(self) -> "Gradients[Value, float]":
        """Return the gradient table of this value; see `backward`."""
        return backward(self)

    def with_grad(self, gradients: "Gradients[Value, float]") -> "Value":
        """Return a copy that shows its gradient."""
        return msgspec.structs.replace(self, grad=gradients[self])

    def with_label(self, label: str | None) -> "Value":
        """Return a copy with a label."""
        return msgspec.structs.replace(self, label=label)

    def __repr__(self) -> str:
        parts = [f"data={self.data!r}"]
        parts += [f"grad={self.grad!r}"] if self.grad is not None else []
        parts += [f"op={self.op!r}"] if self.op != LEAF else []
        parts += [f"label={self.label!r}"] if self.label is not None else []
        return f"Value({', '.join(parts)})"

    def __getattr__(self, name: str) -> "Callable[..., Value]":
        if name in WIRE or name in ALIASES:
            return lambda *others: apply(name, self, *others)
        hint = "" if name.startswith("_") else unknown_primitive(name, (), leaf=False).detail
        raise AttributeError(f"a Value has no attribute or primitive {name!r}; {hint}" if hint else name)

    def __dir__(self) -> list[str]:
        """List the attributes, and every primitive, which is a method."""
        return sorted({*object.__dir__(self), *WIRE, *ALIASES})

    def __float__(self) -> float:
        # Else math.sin(x) would be a plain number, and its gradient silently 0.
        raise TypeError("a Value is no plain number; write x.sin() for math.sin(x), which would lose the gradient, or x.data")

    def __bool__(self) -> bool:
        return self.data != 0.0

    def __add__(self, other: "Value | float") -> "Value":
        return _two("add", self, other)

    def __radd__(self, other: float) -> "Value":
        return _two("add", other, self)

    def __sub__(self, other: "Value | float") -> "Value":
        return _two("sub", self, other)

    def __rsub__(self, other: float) -> "Value":
        return _two("sub", other, self)

    def __mul__(self, other: "Value | float") -> "Value":
        return _two("mul", self, other)

    def __rmul__(self, other: float) -> "Value":
        return _two("mul", other, self)

    def __truediv__(self, other: "Value | float") -> "Value":
        return _two("divide", self, other)

    def __rtruediv__(self, other: float) -> "Value":
        return _two("divide", other, self)

    def __pow__(self, other: "Value | float") -> "Value":
        return _two("pow", self, other)

    def __rpow__(self, other: float) -> "Value":
        return _two("pow", other, self)

    def __neg__(self) -> "Value":
        return apply("neg", self)

    def __pos__(self) -> "Value":
        return self

    def __abs__(self) -> "Value":
        return apply("abs", self)

    def __lt__(self, other: "Value | float") -> "Value":
        return _two("lt", self, other)

    def __le__(self, other: "Value | float") -> "Value":
        return _two("le", self, other)

    def __gt__(self, other: "Value | float") -> "Value":
        return _two("gt", self, other)

    def __ge__(self, other: "Value | float") -> "Value":
        return _two("ge", self, other)


def value(data: float, label: str | None = None) -> Value:
    """Return a leaf. Raises TypeError if `data` is not a real number."""
    return Value(data, label=label)


def apply(name: str, *args: Value | float) -> Value:
    """Apply the primitive `name` to values and numbers. Raises UnknownPrimitive, WrongArity and TypeError."""
    row = WIRE.get(ALIASES.get(name, name))
    if row is None:
        raise unknown_primitive(name, ())
    count = len(args)
    if count < row.min_arity or (row.max_arity is not None and count > row.max_arity):
        raise wrong_arity(name, count, ())
    kept = tuple([arg if isinstance(arg, Value) else _number(arg) for arg in args])
    numbers = [arg.data if isinstance(arg, Value) else arg for arg in kept]
    if row.fold is not None:
        if row.shift and count > 2:
            largest = _folded("largest", numbers)
            data = _folded(row.fold, [number - largest for number in numbers]) + largest
        else:
            total = _folded(row.fold, numbers)
            data = kernels.apply(OPCODE["divide"], total, float(count), 0.0) if row.average else total
    else:
        code = (OPCODE if isinstance(kept[-1], Value) else NUMBER_OPCODE)[row.name]
        x, y, z = (*numbers, 0.0, 0.0)[:3]
        data = kernels.apply(code, x, y, z)
    return Value(data, row.name, kept)


def _folded(name: str, numbers: Sequence[float]) -> float:
    """Return the numbers as one, by an operation on two, from left to right."""
    code = OPCODE[name]
    total = numbers[0]
    for number in numbers[1:]:
        total = kernels.apply(code, total, number, 0.0)
    return total


def _two(name: str, left: Value | float, right: Value | float) -> Value:
    """As `apply`, but faster, for operators: two arguments and no chains."""
    x = left.data if isinstance(left, Value) else (left := _number(left))
    if isinstance(right, Value):
        y, code = right.data, OPCODE[name]
    else:
        y, code = (right := _number(right)), NUMBER_OPCODE[name]
    return Value(kernels.apply(code, x, y, 0.0), name, (left, right))


def backward(output: Value) -> Gradients[Value, float]:
    """Reverse mode: return the derivatives of `output` by all values it was computed from, itself included."""
    nodes, index = _trace(output)
    count = len(nodes)
    arguments = [node.args for node in nodes]
    flat = [arg for args in arguments for arg in args]
    constants = [arg for arg in flat if not isinstance(arg, Value)]
    numbering = iter(range(-1 - count, -1 - count - len(constants), -1))
    wiring, cycle = connect(
        np.fromiter((CODES[node.op] for node in nodes), np.int32, count),
        argument_starts(np.fromiter(map(len, arguments), np.int64, count)),
        np.fromiter((index[a] if isinstance(a, Value) else next(numbering) for a in flat), np.int32, len(flat)),
        np.arange(count, dtype=np.int32),
        np.array([*(node.data for node in nodes), *constants], np.float64),
        np.zeros(1, np.int32),
    )
    if cycle:
        raise GraphCycle("values cannot depend on themselves")
    tape = record(wiring)
    adjoints = PointWalk(tape, tape.numbers).pull({int(tape.slot[0]): 1.0})
    return Gradients.of(index, adjoints[tape.slot])


def grad(of: Key, gradients: Gradients[Key, Entry]) -> Entry:
    """Return the derivative by `of`, or 0.0 if the output does not depend on it. Raises KeyError for an unknown name."""
    return gradients[of]


def graph_of(output: Value) -> Graph:
    """Return the expression as a graph, for the other transforms and for drawing. Labels become ids where they can."""
    nodes, index = _trace(output)
    labels = [node.label for node in nodes]
    times = Counter(labels)
    fit = {label for label in times if label and times[label] == 1 and is_id(label) and not label.startswith("%")}
    names = [label if label in fit else f"%{k}" for k, label in enumerate(labels)]
    return Graph(
        tuple(
            Node(
                name,
                node.op,
                tuple([names[index[arg]] if isinstance(arg, Value) else arg for arg in node.args]),
                node.data if node.op == LEAF else None,
                node.label,
            )
            for name, node in zip(names, nodes, strict=True)
        ),
        (names[0],),
    )


def _trace(output: Value) -> tuple[list[Value], dict[Value, int]]:
    """Return all values that `output` was computed from, itself first, and the index of each."""
    nodes = [output]
    index = {output: 0}
    for node in nodes:
        for arg in node.args:
            if isinstance(arg, Value) and arg not in index:
                index[arg] = len(nodes)
                nodes.append(arg)
    return nodes, index


def _number(data: object) -> float:
    if isinstance(data, Real):
        return float(data)
    raise TypeError(f"a Value needs a real number, not {type(data).__name__}")


def add(left: Value | float, right: Value | float) -> Value:
    """Return left + right."""
    return apply("add", left, right)


def sub(left: Value | float, right: Value | float) -> Value:
    """Return left - right."""
    return apply("sub", left, right)


def mul(left: Value | float, right: Value | float) -> Value:
    """Return left * right."""
    return apply("mul", left, right)


def divide(left: Value | float, right: Value | float) -> Value:
    """Return left / right."""
    return apply("divide", left, right)


def pow(base: Value | float, exponent: Value | float) -> Value:
    """Return base ** exponent."""
    return apply("pow", base, exponent)


def neg(of: Value | float) -> Value:
    """Return -of."""
    return apply("neg", of)


def relu(of: Value | float) -> Value:
    """Return `of` if it is positive, else 0."""
    return apply("relu", of)


def sum(values: Iterable[Value | float]) -> Value:
    """Return the sum, from left to right, as one operation. The sum of nothing is the constant 0."""
    terms = tuple(values)
    return apply("sum", *terms) if terms else value(0.0)
