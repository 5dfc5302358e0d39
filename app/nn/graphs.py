"""Networks as scalar expressions, neuron by neuron, so that backpropagation can be seen and checked."""

from app.engine.errors import EngineError
from app.engine.graph import Graph, Node, tabulate
from app.engine.interruption import Checkpoint, checked, never
from app.engine.primitives import LEAF
from app.nn.errors import InvalidNetwork, NetworkMismatch
from app.nn.formulas import formula_of
from app.nn.losses import Loss, check_targets
from app.nn.model import LINEAR, Floats, Layer, Model

MAX_ID = 100
"""Longer ids of an expression are replaced by a number, so that prefixed ids stay within the limit on ids."""


def network_graph(
    model: Model,
    inputs: Floats,
    target: Floats | None = None,
    loss: Loss | None = None,
    *,
    checkpoint: Checkpoint = never,
) -> Graph:
    """Return the expression of a model for one row of inputs, of shape (inputs,).

    Parameters are the leaves `layers.0.weights.3.1` (layer, neuron, input) and `layers.0.biases.3`, inputs are `inputs.0`,
    neurons are `layers.0.neurons.3`. Without a target the outputs are the scores. With a target, of shape (outputs,), or (1,)
    for cross-entropy, the output is `loss`, the mean over the scores. Raises NetworkMismatch, InvalidNetwork, UnboundInput and
    InvalidNode.
    """
    if inputs.shape != (model.inputs,):
        raise NetworkMismatch(f"the model takes {model.inputs} inputs, not {inputs.size}", ("inputs",))
    if target is None and loss is not None:
        raise InvalidNetwork("a loss needs a target", ("target",))
    if target is not None and loss is None:
        raise InvalidNetwork("a target needs a loss", ("loss",))
    nodes = [Node(f"inputs.{i}", LEAF, data=float(number)) for i, number in enumerate(inputs)]
    names = [node.id for node in nodes]
    for k, layer in enumerate(model.layers):
        for j in range(len(layer.biases)):
            nodes += _neuron(layer, k, j, names, checkpoint)
        names = [f"layers.{k}.neurons.{j}" for j in range(len(layer.biases))]
    if target is not None and loss is not None:
        nodes += _loss_nodes(names, target, loss)
        names = ["loss"]
    return Graph(tuple(nodes), tuple(names), table=tabulate(nodes, checkpoint))


def _neuron(layer: Layer, k: int, j: int, before: list[str], checkpoint: Checkpoint) -> list[Node]:
    """The nodes of neuron j of layer k, whose inputs are the nodes `before`."""
    numbers = enumerate(checked(layer.weights[j].tolist(), checkpoint))
    weights = [Node(f"layers.{k}.weights.{j}.{i}", LEAF, data=weight) for i, weight in numbers]
    factors = enumerate(zip(weights, checked(before, checkpoint), strict=True))
    products = [Node(f"layers.{k}.products.{j}.{i}", "mul", (weight.id, name)) for i, (weight, name) in factors]
    bias = Node(f"layers.{k}.biases.{j}", LEAF, data=float(layer.biases[j]))
    neuron = f"layers.{k}.neurons.{j}"
    total = neuron if layer.activation == LINEAR else f"layers.{k}.sums.{j}"
    nodes = [*weights, *products, bias, Node(total, "sum", (*(product.id for product in products), bias.id))]
    if layer.activation != LINEAR:
        nodes.append(Node(neuron, layer.activation, (total,)))
    return nodes


def _loss_nodes(scores: list[str], target: Floats, loss: Loss) -> list[Node]:
    """The nodes that lead from the scores and the target to `loss`."""
    if loss.graph is None:
        if target.shape != (1,):
            raise NetworkMismatch(f"{loss.name} needs one class as target, not {target.size} numbers", ("target",))
        _check_target(loss, target, len(scores))
        right = int(target[0])  # its score is subtracted first: from a large sum, the loss would be lost
        margins = {j: Node(f"loss.margins.{j}", "sub", (name, scores[right])) for j, name in enumerate(scores) if j != right}
        arguments = tuple(margins[j].id if j in margins else 0.0 for j in range(len(scores)))
        return [*margins.values(), Node("loss", "logsumexp", arguments)]
    if target.shape != (len(scores),):
        detail = f"the model has {len(scores)} outputs, but the target has {target.size} numbers"
        raise NetworkMismatch(detail, ("target",))
    _check_target(loss, target, len(scores))
    formula_of(loss.graph, ("score", "target"), ("loss",))
    nodes = []
    terms = []
    for j, score in enumerate(scores):
        leaf = Node(f"targets.{j}", LEAF, data=float(target[j]))
        copies, term = _renamed(loss.graph, j, {"score": score, "target": leaf.id})
        nodes += [leaf, *copies]
        terms.append(term)
    return [*nodes, Node("loss", "mean", tuple(terms))]


def _renamed(graph: Graph, j: int, variables: dict[str, str]) -> tuple[list[Node], str]:
    """Copy the expression of a loss for output j: its nodes with new ids, and the id of its output."""
    names = {
        node.id: variables.get(node.id, f"loss.{j}.{node.id}" if len(node.id) < MAX_ID else f"loss.{j}#{k}")
        for k, node in enumerate(graph.nodes)
    }
    nodes = [
        Node(names[node.id], node.op, tuple(names[a] if isinstance(a, str) else a for a in node.args), node.data, node.label)
        for node in graph.nodes
        if node.id not in variables
    ]
    return nodes, names[graph.output]


def _check_target(loss: Loss, target: Floats, outputs: int) -> None:
    """Check the target of a single row; its place is the argument `target`."""
    try:
        check_targets(loss, target[None, :], outputs)
    except EngineError as error:
        error.place = ("target",)
        raise
