"""`backward` for whatever an expression is: a value, a graph or a text."""

from collections.abc import Sequence
from typing import overload

from app.engine import transforms, values
from app.engine.binding import Inputs, Seed
from app.engine.gradients import Gradients
from app.engine.graph import Graph
from app.engine.interruption import Checkpoint, never
from app.engine.points import Reduce
from app.engine.text import parse
from app.engine.transforms import Backward
from app.engine.values import Value


@overload
def backward(output: Value) -> Gradients[Value, float]: ...


@overload
def backward(
    output: Graph | str,
    inputs: Inputs | None = None,
    wrt: Sequence[str] | None = None,
    cotangent: Seed = 1.0,
    *,
    reduce: Reduce = "none",
    checkpoint: Checkpoint = never,
) -> Backward: ...


def backward(
    output: Value | Graph | str,
    inputs: Inputs | None = None,
    wrt: Sequence[str] | None = None,
    cotangent: Seed = 1.0,
    *,
    reduce: Reduce = "none",
    checkpoint: Checkpoint = never,
) -> Gradients[Value, float] | Backward:
    """Reverse mode: the derivatives of `output` by all that it depends on.

    Of a value, the gradient table by values. Of a graph or a text, at `inputs`, the value and the gradient table by names; the
    other arguments are those of `transforms.backward`, and so are the errors, with those of `parse` for a text. Raises
    TypeError for a value with inputs, since it has its numbers already, and for anything else.
    """
    if isinstance(output, Value):
        if inputs or wrt is not None:
            raise TypeError("a Value has its numbers already, so backward takes no inputs and no names for it")
        return values.backward(output)
    if isinstance(output, str):
        output = parse(output, checkpoint=checkpoint)
    if not isinstance(output, Graph):
        raise TypeError(f"backward takes a Value, a Graph or a text, not {type(output).__name__}")
    return transforms.backward(output, inputs, wrt, cotangent, reduce=reduce, checkpoint=checkpoint)
