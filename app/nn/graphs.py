"""A network written out as a scalar expression, neuron by neuron, so that its backpropagation can be seen and checked."""

from app.engine.errors import EngineError
from app.engine.graph import Graph, Node
from app.engine.interruption import checkpoint
from app.engine.primitives import LEAF
from app.nn.errors import InvalidNetwork, Misfit
from app.nn.losses import Loss, check_targets
from app.nn.model import LINEAR, Floats, Model
from app.nn.training import check_formula


def network_graph(model: Model, inputs: Floats, target: Floats | None = None, loss: Loss | None = None) -> Graph:
    """The expression of the model for one row of inputs, of shape (inputs,).

    Parameters are the leaves `layers.0.weights.3.1` (layer, neuron, input) and `layers.0.biases.3`, inputs are `inputs.0`;
    neurons are `layers.0.neurons.3`. Without a target the outputs are the scores; with one, of shape (outputs,) or, for
    cross-entropy, (1,), the output is `loss`, the mean over the scores. Raises Misfit, InvalidNetwork.
    """
    if inputs.shape != (model.inputs,):
        raise Misfit(f"a row has {model.inputs} inputs, not {inputs.size}", ("inputs",))
    nodes = [Node(f"inputs.{i}", LEAF, data=float(number)) for i, number in enumerate(inputs)]
    before = [node.id for node in nodes]
    for k, layer in enumerate(model.layers):
        here = []
        for j, (row, bias) in enumerate(zip(layer.weights.tolist(), layer.biases.tolist(), strict=True)):
            checkpoint()
            weights = [Node(f"layers.{k}.weights.{j}.{i}", LEAF, data=weight) for i, weight in enumerate(row)]
            products = [
                Node(f"layers.{k}.products.{j}.{i}", "mul", (weight.id, name))
                for i, (weight, name) in enumerate(zip(weights, before, strict=True))
            ]
            constant = Node(f"layers.{k}.biases.{j}", LEAF, data=bias)
            neuron = f"layers.{k}.neurons.{j}"
            total = neuron if layer.activation == LINEAR else f"layers.{k}.sums.{j}"
            nodes += [*weights, *products, constant, Node(total, "sum", (*(p.id for p in products), constant.id))]
            if layer.activation != LINEAR:
                nodes.append(Node(neuron, layer.activation, (total,)))
            here.append(neuron)
        before = here
    if target is None:
        if loss is not None:
            raise InvalidNetwork("a loss wants a target", ("target",))
        return Graph(tuple(nodes), tuple(before))
    return Graph((*nodes, *_loss_nodes(before, target, loss)), ("loss",))


def _loss_nodes(scores: list[str], target: Floats, loss: Loss | None) -> list[Node]:
    """The nodes that lead from scores and target to `loss`."""
    if loss is None:
        raise InvalidNetwork("a target wants a loss", ("loss",))
    if loss.graph is None:
        if target.shape != (1,):
            raise Misfit(f"cross_entropy wants the class as target, not {target.size} numbers", ("target",))
        _check_target(loss, target, len(scores))
        right = scores[int(target[0])]
        return [Node("loss.norm", "logsumexp", tuple(scores)), Node("loss", "sub", ("loss.norm", right))]
    if target.shape != (len(scores),):
        raise Misfit(f"the model has {len(scores)} outputs, and the target {target.size} numbers", ("target",))
    _check_target(loss, target, len(scores))
    check_formula(loss.graph, ("score", "target"), "loss")
    nodes = []
    terms = []
    for j, score in enumerate(scores):
        wanted = Node(f"targets.{j}", LEAF, data=float(target[j]))
        renamed = {"score": score, "target": wanted.id}
        names = {
            node.id: renamed.get(node.id, f"loss.{j}.{node.id}" if len(node.id) < 100 else f"loss.{j}#{k}")
            for k, node in enumerate(loss.graph.nodes)
        }
        nodes.append(wanted)
        nodes += [
            Node(names[n.id], n.op, tuple(names[a] if isinstance(a, str) else a for a in n.args), n.data, n.label)
            for n in loss.graph.nodes
            if n.id not in renamed
        ]
        terms.append(names[loss.graph.output])
    return [*nodes, Node("loss", "mean", tuple(terms))]


def _check_target(loss: Loss, target: Floats, outputs: int) -> None:
    try:
        check_targets(loss, target[None, :], outputs)
    except EngineError as error:
        error.path = ("target",)
        raise
