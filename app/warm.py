"""Makes every compiled loop ready, so that no request waits for a compiler. Not here: how they are compiled (`engine.jit`)."""

import logging
import time

import msgspec
import numpy as np

from app.engine import jit, reader, transforms
from app.engine.faults import Asked, explain
from app.engine.graph import Graph, Node
from app.engine.text import parse
from app.engine.value import backward, value
from app.nn import MLP, datasets, losses, optimizers, training

log = logging.getLogger("autodiff")


def warm() -> None:
    """Runs each kernel once, with the types that requests have: it is loaded from disk, or compiled and kept there."""
    began = time.perf_counter()
    if jit.FOLDER is None:
        log.warning("no folder for machine code can be written, so kernels are compiled at each start")
    elif not jit.IS_COMPLETE:
        log.info("compiling kernels; this is done once, and takes some seconds")
    graph = parse("where(x > 0, log(x)*y, mean(x, y, 1))")
    inputs = {"x": 0.5, "y": 2.0}
    transforms.evaluate(graph, inputs)
    transforms.backward(graph, inputs)
    transforms.hessian(graph, inputs)
    transforms.jacobian(graph, inputs, ["x"])
    transforms.jacobian(Graph(graph.nodes, tuple(node.id for node in graph.nodes[-2:])), inputs, ["x"])
    transforms.evaluate(graph, {"x": [0.5] * transforms.FEW, "y": 2.0})
    read = reader.read(msgspec.json.encode([Node(f"x{k}", "value", data=0.5) for k in range(2 * reader.FEW)]))
    assert read is not None and read.index["x1"] == 1 and read.ids[1] == "x1"
    backward(value(2.0) ** 2)
    for asked in Asked:
        explain(graph, inputs, asked, "x", float("nan"), seeds={"x": 1.0})
    model, rows, targets = MLP(2, [1]), np.zeros((2, 2)), np.ones((2, 1))
    training.predict(model, rows)
    training.gradients(model, rows, targets, losses.named("mse"))
    training.train(model, rows, targets, loss=losses.named("mse"), optimizer=optimizers.make("sgd", None, {}), steps=1)
    if not jit.IS_COMPLETE:
        jit.mark_complete()
        log.info("compiled kernels in %.1f s into %s", time.perf_counter() - began, jit.FOLDER)


def preload() -> None:
    """Loads what the first request for a dataset would otherwise wait for."""
    datasets.load("moons")


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    warm()
