"""One pass over data: the scores of a model, and the gradients of a loss.

Rows are worked on in blocks, so that memory does not grow with them and the caller can stop the work in between.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from app.engine.interruption import Checkpoint, never
from app.nn import kernels
from app.nn.errors import NetworkMismatch
from app.nn.formulas import Formula, constant, formula_of
from app.nn.losses import Accuracy, Loss, check_targets
from app.nn.model import Floats, Model, contiguous, opcode_of, read_only

BLOCK_NUMBERS = 2**19
"""How many numbers a pass keeps for one block of rows: 4 MB."""

MIN_BLOCK_ROWS = 64
"""A block has at least so many rows; matrix products of fewer rows are slow. Only large models take fewer."""

MAX_BLOCK_NUMBERS = 2**24
"""A block never keeps more numbers: 128 MB."""

MAX_BLOCK_PRODUCTS = 2**29
"""A block never has more weights times rows: a tenth of a second, in which the caller cannot stop the work."""

MAX_TRANSPOSED = 2**12
"""The weights of a layer with at most so many are transposed before a product: 32 KB, which the fastest cache holds."""

ACCURACY: dict[Accuracy, int] = {
    "none": kernels.NO_ACCURACY,
    "sign": kernels.SIGN,
    "zero_one": kernels.ZERO_ONE,
    "argmax": kernels.ARGMAX,
}


@dataclass(frozen=True, slots=True)
class NetworkGradients:
    """The parts of a loss, and its gradients.

    `accuracy` is None for regression. `gradients` has the shape of the model; `input_gradients` has the shape of the inputs and
    is None unless it was asked for.
    """

    data_loss: float
    regularization_loss: float
    accuracy: float | None
    gradients: Model
    input_gradients: Floats | None

    @property
    def loss(self) -> float:
        """The sum of the two parts."""
        return self.data_loss + self.regularization_loss


def predict(model: Model, inputs: Floats, *, checkpoint: Checkpoint = never) -> Floats:
    """Return the scores, of shape (rows, outputs), for inputs of shape (rows, inputs).

    Raises NetworkMismatch if there are no rows or the width is wrong.
    """
    check_inputs(model, inputs)
    block = min(block_rows(model), len(inputs))
    cells, no_gradient = np.empty((2, block * model.neurons)), np.empty(0)
    network = kernels.Network(_layout(model), model.flat(), no_gradient, no_gradient, _room(model), cells, block)
    rows, scores = _kernel_rows(inputs), np.empty((len(inputs), model.outputs))
    for low in range(0, len(inputs), block):
        checkpoint()
        kernels.predict_block(network, rows[low : low + block], scores[low : low + block])
    return scores


def gradients(
    model: Model,
    inputs: Floats,
    targets: Floats,
    loss: Loss,
    l2: float = 0.0,
    by_inputs: bool = False,
    *,
    checkpoint: Checkpoint = never,
) -> NetworkGradients:
    """Return the mean loss over all rows, and its gradients by weights and biases and, with `by_inputs`, by the inputs.

    `inputs` has shape (rows, inputs); `targets` has shape (rows, outputs), or (rows, 1) for cross-entropy. `l2` is the factor
    of the sum of squares of all weights and biases. Raises NetworkMismatch and InvalidNetwork for data that do not fit the
    model or the loss, UnboundInput and InvalidNode for the expression of a loss.
    """
    check_data(model, inputs, targets, loss)
    objective = objective_of(model, targets, loss, l2, len(inputs))
    network = network_of(model, loss, len(inputs))
    data = data_of(inputs, targets)
    gx = np.empty(inputs.shape if by_inputs else (0, 0))
    found = np.empty(3)
    for low in range(0, len(inputs), network.block):
        checkpoint()
        kernels.add_block(network, objective, data, low, gx, found)
    data_loss, regularization_loss, accuracy = found.tolist()
    return NetworkGradients(
        data_loss,
        regularization_loss,
        None if objective.accuracy == kernels.NO_ACCURACY else accuracy,
        model.with_flat(read_only(network.gradient)),
        gx if by_inputs else None,
    )


def check_inputs(model: Model, inputs: Floats) -> None:
    """Raise NetworkMismatch at ("inputs",) unless there are rows, as wide as the model has inputs."""
    if not len(inputs):
        raise NetworkMismatch("there are no rows of inputs", ("inputs",))
    if inputs.shape[1] != model.inputs:
        detail = f"rows of inputs have {inputs.shape[1]} numbers, but the model takes {model.inputs}"
        raise NetworkMismatch(detail, ("inputs",))


def check_data(model: Model, inputs: Floats, targets: Floats, loss: Loss) -> None:
    """Raise NetworkMismatch at ("inputs",) or ("targets",) unless the shapes fit the model and the loss."""
    check_inputs(model, inputs)
    if len(targets) != len(inputs):
        raise NetworkMismatch(f"there are {len(targets)} targets for {len(inputs)} rows of inputs", ("targets",))
    width = 1 if loss.graph is None else model.outputs
    if targets.shape[1] != width:
        needed = "one class per row" if loss.graph is None else f"{width} per row, one for each output of the model"
        detail = f"there are {targets.shape[1]} numbers per row of targets; {loss.name} needs {needed}"
        raise NetworkMismatch(detail, ("targets",))


def data_of(inputs: Floats, targets: Floats) -> kernels.Data:
    """Return data as the kernels take them, without a copy where possible."""
    return kernels.Data(_kernel_rows(inputs), _kernel_rows(targets))


def network_of(model: Model, loss: Loss, rows: int) -> kernels.Network:
    """Allocate what passes over up to `rows` rows need. The model itself is copied."""
    block = block_rows(model, loss)
    theta = model.flat()
    cells = np.empty((4, min(rows, block) * model.neurons))
    block_gradient = np.zeros(len(theta) if rows > block else 0)
    return kernels.Network(_layout(model), theta, np.zeros(len(theta)), block_gradient, _room(model), cells, block)


def _room(model: Model) -> Floats:
    """Return room for the weights of any layer that are to be transposed."""
    sizes = (layer.weights.size for layer in model.layers)
    return np.empty(max((size for size in sizes if size <= MAX_TRANSPOSED), default=0))


def objective_of(model: Model, targets: Floats, loss: Loss, l2: float, rows: int) -> kernels.Objective:
    """Check the loss and its targets, and allocate what passes over up to `rows` rows need."""
    accuracy = ACCURACY[check_targets(loss, targets, model.outputs)]
    formula = _loss_formula(loss)
    count = 0 if loss.graph is None else min(rows, block_rows(model, loss)) * model.outputs
    score, target = formula.slots or (-1, -1)
    values, adjoints = np.empty((formula.tape.slots, count)), np.empty((formula.tape.slots, count))
    values[: formula.tape.leaves] = formula.numbers[:, np.newaxis]
    return kernels.Objective(formula.tape.code, score, target, values, adjoints, loss.graph is None, accuracy, l2)


def block_rows(model: Model, loss: Loss | None = None) -> int:
    """How many rows are worked on at once. It depends on the shape of the model and the length of the loss alone."""
    numbers = _numbers_per_row(model, loss)
    rows = max(MIN_BLOCK_ROWS, BLOCK_NUMBERS // numbers)
    return max(1, min(rows, MAX_BLOCK_NUMBERS // numbers, MAX_BLOCK_PRODUCTS // model.size))


def block_bytes(model: Model, rows: int, loss: Loss | None = None) -> int:
    """How many bytes a pass over `rows` rows takes besides the model and the data, at most."""
    return 8 * _numbers_per_row(model, loss) * min(rows, block_rows(model, loss))


def _numbers_per_row(model: Model, loss: Loss | None) -> int:
    numbers = 4 * model.neurons
    if loss is not None and loss.graph is not None:
        numbers += 2 * loss.graph.tape.slots * model.outputs
    return numbers


def _loss_formula(loss: Loss) -> Formula:
    """The tape of a loss; cross-entropy has none, so any will do."""
    return constant(0.0) if loss.graph is None else formula_of(loss.graph, ("score", "target"), ("loss",))


def _layout(model: Model) -> npt.NDArray[np.int64]:
    """The shape of a model as in `kernels.Network`."""
    rows = []
    at = 0
    for layer in model.layers:
        neurons, inputs = layer.weights.shape
        rows.append((inputs, neurons, at, at + neurons * inputs, opcode_of(layer.activation)))
        at += neurons * (inputs + 1)
    return np.array(rows, np.int64)


def _kernel_rows(array: Floats) -> Floats:
    """Return a contiguous, read-only view of rows, or a copy if they are not contiguous.

    Numba compiles a kernel again for read-only arrays, so the kernels take rows of data in this form alone.
    """
    return read_only(contiguous(array).view())
