"""Faulty requests about networks, and the problem that each of them gets."""

from typing import Any, NamedTuple

from tests.nn.networks import MODEL


class _Missing:
    """Stands for the removal of a field."""

    def __repr__(self) -> str:
        return "missing"


DELETE = _Missing()
NEITHER = ("invalid-request", "shape-mismatch")
"""Problems between which the contract does not choose."""


class Fault(NamedTuple):
    """A valid request with one place replaced, and what its problem must say."""

    place: str
    value: Any
    problem: str | tuple[str, ...]
    pointer: str
    words: tuple[str, ...]
    """What the detail must contain; "a|b" stands for a or b."""


def fault(place: str, value: Any, problem: str | tuple[str, ...], pointer: str, *words: str) -> Fault:
    """Return a fault whose `words` are given one by one."""
    return Fault(place, value, problem, pointer, words)


BUFFER = {"layers": [{"weights": layer["weights"], "biases": layer["biases"]} for layer in MODEL["layers"]]}
OTHER = {"layers": [BUFFER["layers"][1], {"weights": [[1.0]], "biases": [0.0]}]}
ADAM = {"name": "adam", "exp_avg": BUFFER, "exp_avg_sq": BUFFER}
RMSPROP = {"name": "rmsprop", "square_avg": BUFFER}
LAYERS = MODEL["layers"]
TWO_CLASSES = {"layers": [LAYERS[0], {"weights": [[1, 2, 3], [3, 2, 1]], "biases": [0, 0]}]}
DIGITS = {"dataset": "digits", "samples": 4}
NEW: dict[str, Any] = {"inputs": 2, "layers": [3, 1]}

CYCLE = {
    "nodes": [{"id": "s", "op": "add", "args": ["b", 1]}, {"id": "b", "op": "neg", "args": ["s"]}],
    "output": "s",
}

MODEL_FAULTS = [
    fault("/model", DELETE, "invalid-request", "/model", "missing|required"),
    fault("/model", None, "invalid-request", "/model"),
    fault("/model", [], "invalid-request", "/model"),
    fault("/model", {}, "invalid-request", "/model/layers", "missing|required"),
    fault("/model", {"layers": []}, "invalid-request", "/model/layers", "layer"),
    fault("/model", {"inputs": 2, "layers": []}, "invalid-request", "/model/layers", "at least one layer|at least 1"),
    fault("/model", {"layers": [3, 1]}, "invalid-request", "/model/inputs", "inputs"),
    fault("/model", {"inputs": 0, "layers": [3, 1]}, "invalid-request", "/model/inputs", "0|1"),
    fault("/model", {"inputs": 2, "layers": [3, 0]}, "invalid-request", "/model/layers/1", "0|1"),
    fault("/model", {"inputs": 2, "layers": [-3, 1]}, "invalid-request", "/model/layers/0", "-3|1"),
    fault("/model", {"inputs": 2, "layers": [2.5, 1]}, "invalid-request", "/model/layers/0"),
    fault("/model", {"inputs": 2, "layers": [True, 1]}, "invalid-request", "/model/layers/0"),
    fault("/model", NEW | {"init": "zero"}, "invalid-request", "/model/init", "uniform", "he", "xavier"),
    fault("/model", NEW | {"seed": -1}, "invalid-request", "/model/seed"),
    fault("/model", NEW | {"seed": 2**32}, "invalid-request", "/model/seed"),
    fault("/model", NEW | {"activation": "rellu"}, "invalid-request", "/model/activation", "'rellu'", "'relu'"),
    fault("/model", NEW | {"output_activation": "add"}, "invalid-request", "/model/output_activation", "'add'"),
    fault("/model", NEW | {"activations": "relu"}, "invalid-request", "/model/activations", "'activations'"),
    fault("/model", {"inputs": 2, "layers": [3, LAYERS[1]]}, "invalid-request", "/model/layers"),
    fault("/model", {"inputs": 2, "layers": LAYERS}, "invalid-request", "/model/inputs", "inputs"),
    fault("/model", {"seed": 5, "layers": LAYERS}, "invalid-request", "/model/seed", "seed"),
    fault("/model", {"activation": "relu", "layers": LAYERS}, "invalid-request", "/model/activation", "activation"),
    fault("/model/layers/0/activation", "rellu", "invalid-request", "/model/layers/0/activation", "'rellu'", "'relu'"),
    fault("/model/layers/0/activation", "max", "invalid-request", "/model/layers/0/activation", "'max'"),
    fault("/model/layers/0/activation", 5, "invalid-request", "/model/layers/0/activation"),
    fault("/model/layers/0/weight", [[1]], "invalid-request", "/model/layers/0/weight", "'weight'"),
    fault("/model/layers/0/weights", DELETE, "invalid-request", "/model/layers/0/weights", "missing|required"),
    fault("/model/layers/0/biases", DELETE, "invalid-request", "/model/layers/0/biases", "missing|required"),
    fault("/model/layers/0/biases", [0.0, 0.0], "shape-mismatch", "/model/layers/0/biases", "3", "2"),
    fault("/model/layers/1/biases", [], "shape-mismatch", "/model/layers/1/biases", "1", "0"),
    fault("/model/layers/0/weights/1", [1.0], "shape-mismatch", "/model/layers/0/weights/1", "1", "2"),
    fault("/model/layers/0/weights/2", [1.0, 2.0, 3.0], "shape-mismatch", "/model/layers/0/weights/2", "3", "2"),
    fault("/model/layers/0/weights", [], NEITHER, "/model/layers/0/weights", "rows"),
    fault("/model/layers/0/weights", [[], [], []], NEITHER, "/model/layers/0/weights", "rows"),
    fault("/model/layers/1/weights", [[1.0, 2.0]], "shape-mismatch", "/model/layers/1/weights", "layer 1", "layer 0", "2", "3"),
    fault("/model/layers/0/weights/0/0", "1", "invalid-request", "/model/layers/0/weights/0/0", "number"),
    fault("/model/layers/0/weights/0/0", None, "invalid-request", "/model/layers/0/weights/0/0", "number"),
    fault("/model/layers/0/biases/0", True, "invalid-request", "/model/layers/0/biases/0", "number"),
]

DATA_FAULTS = [
    fault("/data", DELETE, "invalid-request", "/data", "missing|required"),
    fault("/data", {}, "invalid-request", "/data/inputs", "inputs"),
    fault("/data/targets", DELETE, "invalid-request", "/data/targets", "targets"),
    fault("/data/inputs", DELETE, "invalid-request", "/data/inputs", "inputs"),
    fault("/data/dataset", "moons", "invalid-request", "/data/dataset", "dataset", "inputs"),
    fault("/data/samples", 5, "invalid-request", "/data/samples", "samples", "dataset"),
    fault("/data/noise", 0.5, "invalid-request", "/data/noise", "noise", "dataset"),
    fault("/data/seed", 5, "invalid-request", "/data/seed", "seed", "dataset"),
    fault("/data", {"dataset": "moonz"}, "invalid-request", "/data/dataset", "'moonz'", "'moons'"),
    fault("/data", {"dataset": "moons", "samples": 0}, "invalid-request", "/data/samples", "0"),
    fault("/data", {"dataset": "moons", "samples": 100_001}, "invalid-request", "/data/samples", "100000"),
    fault("/data", {"dataset": "moons", "samples": 2.5}, "invalid-request", "/data/samples"),
    fault("/data", {"dataset": "moons", "noise": -1}, "invalid-request", "/data/noise", "negative|at least 0"),
    fault("/data", {"dataset": "iris", "noise": 1}, "invalid-request", "/data/noise", "iris"),
    fault("/data", {"dataset": "moons", "seed": -1}, "invalid-request", "/data/seed", "-1"),
    fault("/data", {"dataset": "moons", "seed": 2**32}, "invalid-request", "/data/seed", "4294967295"),
    fault("/data", DIGITS, "shape-mismatch", "/data/dataset", "64", "2"),
    fault("/data/inputs", [], NEITHER, "/data/inputs", "rows"),
    fault("/data/inputs", [[], [], [], []], NEITHER, "/data/inputs", "rows"),
    fault("/data/inputs", 5, "invalid-request", "/data/inputs", "list"),
    fault("/data/inputs/2", [1.0], "shape-mismatch", "/data/inputs/2", "row 2", "1", "2"),
    fault("/data/inputs", [[1.0, 2.0, 3.0]] * 4, "shape-mismatch", "/data/inputs", "3", "2"),
    fault("/data/inputs/0/0", "1", "invalid-request", "/data/inputs/0/0", "number"),
    fault("/data/inputs/0/0", True, "invalid-request", "/data/inputs/0/0", "number"),
    fault("/data/inputs/0/0", None, "invalid-request", "/data/inputs/0/0", "number"),
    fault("/data/targets", [], NEITHER, "/data/targets", "targets"),
    fault("/data/targets", [[], [], [], []], NEITHER, "/data/targets", "rows"),
    fault("/data/targets", [1, -1, 1], "shape-mismatch", "/data/targets", "3", "4"),
    fault("/data/targets", [1] * 5, "shape-mismatch", "/data/targets", "5", "4"),
    fault("/data/targets", [[1, 1]] * 4, "shape-mismatch", "/data/targets", "2", "1"),
    fault("/data/targets", [[1], [1], [1, 2], [1]], "shape-mismatch", "/data/targets/2", "row 2", "2", "1"),
    fault("/data/targets/1", "1", "invalid-request", "/data/targets/1"),
    fault("/data/targets/1", None, "invalid-request", "/data/targets/1"),
    fault("/data/rows", [], "invalid-request", "/data/rows", "'rows'"),
    fault("/loss", DELETE, "invalid-request", "/loss", "missing|required"),
    fault("/loss", "mze", "invalid-request", "/loss", "'mze'", "'mse'"),
    fault("/loss", "hinge", "invalid-request", "/loss", "'hinge'", "max_margin"),
    fault("/loss", 5, "invalid-request", "/loss"),
    fault("/loss", {}, "invalid-request", "/loss/expression", "missing|required"),
    fault("/loss", {"expr": "score"}, "invalid-request", "/loss/expr", "'expr'"),
    fault("/loss", {"expression": "(score - tarqet)**2"}, ("unbound-input", "syntax-error"), "/loss", "'tarqet'", "target"),
    fault("/loss", {"expression": "(score - target"}, "syntax-error", "/loss/expression", "line 1"),
    fault("/loss", {"expression": "skore(score)"}, "unknown-primitive", "/loss/expression", "'skore'"),
    fault("/loss", {"expression": "score = 2*target; score**2"}, "invalid-request", "/loss", "'score'"),
    fault("/loss", {"expression": CYCLE}, "graph-cycle", "/loss/expression", "s -> b", "b -> s"),
    fault("/l2", -0.1, "invalid-request", "/l2"),
    fault("/l2", "0", "invalid-request", "/l2", "number"),
]

TRAIN_FAULTS = [
    fault("/optimizer", "adam", "invalid-request", "/optimizer", "object"),
    fault("/optimizer", {"name": "adamm"}, "invalid-request", "/optimizer/name", "'adamm'", "'adam'"),
    fault("/optimizer", {"name": "lbfgs"}, "invalid-request", "/optimizer/name", "'lbfgs'", "sgd"),
    fault("/optimizer/lr", 0.1, "invalid-request", "/optimizer/lr", "'lr'", "learning_rate"),
    fault("/optimizer", {"name": "adam", "momentum": 0.9}, "invalid-request", "/optimizer/momentum", "adam", "momentum"),
    fault("/optimizer", {"name": "sgd", "betas": [0.9, 0.99]}, "invalid-request", "/optimizer/betas", "sgd", "betas"),
    fault("/optimizer", {"name": "sgd", "amsgrad": True}, "invalid-request", "/optimizer/amsgrad", "sgd", "amsgrad"),
    fault("/optimizer", {"name": "sgd", "amsgrad": False}, "invalid-request", "/optimizer/amsgrad", "sgd", "amsgrad"),
    fault("/optimizer", {"name": "adam", "betas": [1.5, 0.9]}, "invalid-request", "/optimizer/betas/0", "1.5"),
    fault("/optimizer", {"name": "adam", "betas": [0.9, 1.0]}, "invalid-request", "/optimizer/betas/1", "1"),
    fault("/optimizer", {"name": "adam", "betas": [0.9]}, "invalid-request", "/optimizer/betas", "2"),
    fault("/optimizer", {"name": "adam", "eps": -1e-8}, "invalid-request", "/optimizer/eps", "negative|at least 0"),
    fault("/optimizer", {"name": "adam", "amsgrad": 1}, "invalid-request", "/optimizer/amsgrad", "true"),
    fault("/optimizer", {"name": "sgd", "momentum": -0.5}, "invalid-request", "/optimizer/momentum", "negative|at least 0"),
    fault(
        "/optimizer", {"name": "sgd", "weight_decay": -1}, "invalid-request", "/optimizer/weight_decay", "negative|at least 0"
    ),
    fault("/optimizer", {"name": "sgd", "nesterov": True}, "invalid-request", "/optimizer/nesterov", "momentum"),
    fault(
        "/optimizer",
        {"name": "sgd", "nesterov": True, "momentum": 0.9, "dampening": 0.1},
        "invalid-request",
        "/optimizer/nesterov",
        "dampening",
    ),
    fault("/optimizer/learning_rate", -0.1, "invalid-request", "/optimizer/learning_rate", "negative|at least 0"),
    fault("/optimizer/learning_rate", True, "invalid-request", "/optimizer/learning_rate"),
    fault("/optimizer/learning_rate", "0.1*", "syntax-error", "/optimizer/learning_rate", "line 1", "column 5"),
    fault("/optimizer/learning_rate", "0.1*stepp", ("unbound-input", "syntax-error"), "/optimizer/learning_rate", "'stepp'"),
    fault(
        "/optimizer/learning_rate", "score", ("unbound-input", "syntax-error"), "/optimizer/learning_rate", "'score'", "step"
    ),
    fault("/optimizer/learning_rate", "decay(step)", "unknown-primitive", "/optimizer/learning_rate", "'decay'"),
    fault("/optimizer/learning_rate", "step = 3; step*2", "invalid-request", "/optimizer/learning_rate", "'step'"),
    fault("/optimizer/learning_rate", "", "syntax-error", "/optimizer/learning_rate"),
    fault("/steps", 0, "invalid-request", "/steps", "1"),
    fault("/steps", -1, "invalid-request", "/steps", "1"),
    fault("/steps", 1.5, "invalid-request", "/steps", "integer"),
    fault("/steps", "5", "invalid-request", "/steps", "integer"),
    fault("/batch_size", 0, "invalid-request", "/batch_size", "1"),
    fault("/batch_size", -4, "invalid-request", "/batch_size", "1"),
    fault("/batch_size", 2.5, "invalid-request", "/batch_size", "integer"),
    fault("/seed", -1, "invalid-request", "/seed"),
    fault("/log_every", 0, "invalid-request", "/log_every", "1"),
    fault("/stepz", 5, "invalid-request", "/stepz", "'stepz'", "'steps'"),
    fault("/state", {}, "invalid-request", "/state/step", "missing|required"),
    fault("/state", {"step": -1}, "invalid-request", "/state/step"),
    fault("/state", {"step": 2**63 - 1}, "invalid-request", "/state/step"),
    fault("/state", {"step": 2**63}, "invalid-request", "/state/step"),
    fault("/state", {"step": 10**30}, "invalid-request", "/state/step"),
    fault("/state", {"step": 1, "optimizer": {"name": "adam"}}, NEITHER, "/state/optimizer/name", "adam", "sgd"),
    fault(
        "/state",
        {"step": 1, "optimizer": {"name": "sgd", "momentum_buffer": BUFFER}},
        NEITHER,
        "/state/optimizer/momentum_buffer",
        "momentum_buffer",
    ),
    fault(
        "/state",
        {"step": 1, "optimizer": {"name": "sgd", "momentum": BUFFER}},
        "invalid-request",
        "/state/optimizer/momentum",
        "'momentum'",
    ),
]
