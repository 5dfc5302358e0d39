"""Load or compile every kernel and import the solvers, so that no request has to."""

import contextlib
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib import import_module

import numpy as np

from app.engine import base64_doubles, jit, kernels, large_json, node_reader, node_table, points, scanner, sparse, transforms
from app.engine.elimination import Allowance
from app.engine.faults import Fault, Quantity, explain
from app.engine.graph import Graph
from app.engine.interruption import never
from app.engine.special import lgamma, polygamma
from app.engine.text import LONG_TEXT, parse
from app.engine.values import backward, value
from app.machine import usable_processors
from app.nn import MLP, datasets, evaluation, losses, optimizers, training
from app.nn.training import TrainingOptions
from app.pictures import canvas

log = logging.getLogger("autodiff")

EXPRESSION = "where(x > 0, log(x)*y, mean(x, y, 1))"
INPUTS, AT_ZERO = {"x": 0.5, "y": 2.0}, {"x": 0.0, "y": 2.0}


def warm(gradients_are_ready: Callable[[], None] = lambda: None) -> None:
    """Load every kernel from disk, or compile and save it there; then import the solvers.

    Of several processes one compiles, and the others wait.
    `gradients_are_ready` is called as soon as those for gradients at one point are there. While kernels are compiled, a second
    process compiles a part of them, which this one then loads from disk.
    """
    began = time.perf_counter()
    if jit.FOLDER is None:
        log.warning("no cache folder is writable, so kernels are compiled at every start")
    elif not jit.IS_COMPLETE:
        log.info("compiling kernels, about 30 s, once")
    with jit.alone():
        with _second_process():
            _gradients()
            gradients_are_ready()
            _other_gradients()
            _values_and_networks()
            _long_texts()
        _readers()
        _other_derivatives()
        _solvers()
        if not jit.IS_COMPLETE:
            jit.mark_complete()
            log.info("compiled kernels in %.1f s into %s", time.perf_counter() - began, jit.FOLDER)


@contextlib.contextmanager
def _second_process() -> Iterator[None]:
    """Have a second process compile kernels for reading and for other derivatives, and wait for it at the end.

    What it could not save, this process compiles.
    """
    if jit.FOLDER is None or jit.IS_COMPLETE or usable_processors() == 1:
        yield
        return
    program = f"import sys; sys.path[:] = {sys.path!r}; from app import warm; warm.compile_beside()"
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # no process can be started
            # In a session of its own, since Ctrl-C is for the first process alone.
            process = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, start_new_session=True)
            stack.enter_context(process)
            stack.callback(process.wait)
        yield


def compile_beside() -> None:
    """Compile what the second process compiles. It ends if the first does, which holds the other end of its standard input."""

    def end_with_the_first() -> None:
        os.read(sys.stdin.fileno(), 1)
        os._exit(1)

    threading.Thread(target=end_with_the_first, daemon=True).start()
    parse(EXPRESSION)  # the first process needs these kernels as soon as it has compiled `linearize`
    _readers()
    _other_derivatives()  # these need some kernels for gradients, which the first process has saved by now


def _gradients() -> None:
    """Run the kernels that gradients of an expression need, once each, with the argument types of requests."""
    code = np.zeros((1, 4), np.int32)
    code.flags.writeable = False
    kernels.linearize(code, np.zeros(2), np.empty((1, 3)))  # takes longest, and the second process compiles others meanwhile
    transforms.backward(parse(EXPRESSION), INPUTS)


def _other_gradients() -> None:
    """Run the kernels for gradients that are not finite, and for many points."""
    graph = parse(EXPRESSION)
    transforms.backward(graph, AT_ZERO)  # the careful loops, because log'(0) is infinite
    transforms.evaluate(graph, {"x": [0.5] * points.MIN_BLOCK_POINTS, "y": 2.0}, reduce="sum")
    explain(graph, INPUTS, Fault(Quantity.GRADIENT, "x", float("nan")), {})


def _values_and_networks() -> None:
    """Run the kernel for values, and those of networks, which share its switch."""
    transforms.evaluate(parse(EXPRESSION), INPUTS)
    model, rows, targets = MLP(2, [1]), np.zeros((2, 2)), np.ones((2, 1))
    evaluation.predict(model, rows)
    evaluation.gradients(model, rows, targets, losses.named("mse"))
    training.train(model, rows, targets, TrainingOptions(losses.named("mse"), optimizers.make("sgd"), steps=1))


def _readers() -> None:
    """Run the kernels that read and write JSON."""
    leaves = ",".join(f'{{"id": "x{k}", "op": "value", "data": 0.5}}' for k in range(2 * node_table.MAX_TEXT_LOOKUPS))
    table = node_table.read_nodes(f"[{leaves}]".encode())
    assert table is not None and table.index["x1"] == 1 and table.ids[1] == "x1"
    found = scanner.scan(b"[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]", "token")
    assert found is not None and len(found.bulk) == 1
    array = base64_doubles.read(b"".join(base64_doubles.write(np.ones(5))))
    assert isinstance(array, np.ndarray) and array.tolist() == [1.0] * 5
    large_json.whole(large_json.decode(b'["%s"]' % (b"x" * large_json.SIZES.piece), (), never))
    nodes = b'{"id": "\\u0078", "op": "value"}, {"id": "y", "op": "neg", "args": ["x"]}'
    table = node_table.read_nodes(b"[%s%s]" % (nodes, b" " * node_reader.BYTES_PER_CHECK))
    assert table is not None and table.ids[0] == "x"


def _long_texts() -> None:
    """Run the kernels that parse long texts."""
    parse("x".ljust(LONG_TEXT))


def _other_derivatives() -> None:
    """Run the kernels of the other derivatives."""
    graph = parse(EXPRESSION)
    transforms.hessian(graph, INPUTS)
    sparse.hessian(graph, INPUTS)
    sparse.hessian(graph, AT_ZERO)
    sparse.hessian(parse(EXPRESSION), INPUTS, allowance=Allowance(most_steps=1))
    transforms.jacobian(graph, INPUTS, ["x"])
    transforms.jacobian(Graph(graph.nodes, tuple(node.id for node in graph.nodes[-2:])), INPUTS, ["x"])
    backward(value(2.0) ** 2)
    lgamma(np.ones(2))
    polygamma(3.0, np.ones(2))
    transforms.jvp(graph, AT_ZERO, {"x": 1.0})
    transforms.hvp(graph, INPUTS, {"x": 1.0})
    for quantity in Quantity:
        explain(graph, INPUTS, Fault(quantity, "x", float("nan")), {"x": 1.0})


def _solvers() -> None:
    """Import what the solvers use of SciPy, which imports its parts at their first use. Gradients need none of them."""
    for part in ("scipy.optimize", "scipy.sparse.csgraph"):
        import_module(part)


PRELOADED: Sequence[Callable[[], object]] = (
    partial(import_module, "scipy.stats"),
    partial(import_module, "sklearn.datasets"),
    partial(datasets.load, "moons"),
    partial(import_module, "matplotlib.figure"),
    canvas.load,
)
"""What the first request for a dataset or a picture would otherwise wait for, in parts of some tenths of a second."""


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    warm()
