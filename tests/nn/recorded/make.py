"""Record the results of PyTorch's optimizers and losses on small networks: `python tests/nn/recorded/make.py`.

The tests read training.json and do not run this script. It needs an environment of its own:
`python -m venv torchvenv && torchvenv/bin/pip install torch==2.13.0 numpy`. It does not use the service.
"""

import json
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)

ROWS, WIDTHS, STEPS = 7, (3, 4, 3, 3), 20

ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "relu": torch.relu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "silu": nn.functional.silu,
    "gelu": nn.functional.gelu,
    "elu": nn.functional.elu,
    "leaky_relu": nn.functional.leaky_relu,
    "softplus": nn.functional.softplus,
    "linear": lambda x: x,
    "sin": torch.sin,
}

LOSSES: dict[str, tuple[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]]] = {
    "max_margin": ("signs", lambda s, t: torch.relu(1 - t * s).mean()),  # the contract's formula
    "mse": ("numbers", nn.MSELoss()),
    "mae": ("numbers", nn.L1Loss()),
    "huber": ("numbers", nn.HuberLoss()),
    "binary_cross_entropy": ("bits", nn.BCEWithLogitsLoss()),
    "cross_entropy": ("classes", lambda s, t: nn.CrossEntropyLoss()(s, t[:, 0].long())),
}

# on the wire -> PyTorch's class and arguments; what is left out here is left out there too, so that defaults are compared
OPTIMIZERS: dict[str, tuple[type[torch.optim.Optimizer], dict[str, Any]]] = {
    "sgd": (torch.optim.SGD, {"lr": 0.1}),
    "sgd default": (torch.optim.SGD, {}),
    "sgd momentum": (torch.optim.SGD, {"lr": 0.05, "momentum": 0.9}),
    "sgd nesterov": (torch.optim.SGD, {"lr": 0.05, "momentum": 0.9, "nesterov": True}),
    "sgd dampening": (torch.optim.SGD, {"lr": 0.1, "momentum": 0.8, "dampening": 0.4}),
    "sgd weight_decay": (torch.optim.SGD, {"lr": 0.1, "momentum": 0.5, "weight_decay": 0.05}),
    "adam": (torch.optim.Adam, {"lr": 0.02}),
    "adam default": (torch.optim.Adam, {}),
    "adam amsgrad": (torch.optim.Adam, {"lr": 0.05, "amsgrad": True, "betas": [0.7, 0.8]}),
    "adam weight_decay": (torch.optim.Adam, {"lr": 0.02, "weight_decay": 0.1, "betas": [0.8, 0.95], "eps": 1e-3}),
    "adamw": (torch.optim.AdamW, {"lr": 0.02}),
    "adamw default": (torch.optim.AdamW, {}),
    "adamw amsgrad": (torch.optim.AdamW, {"lr": 0.05, "weight_decay": 0.3, "amsgrad": True, "betas": [0.7, 0.8]}),
    "rmsprop": (torch.optim.RMSprop, {"lr": 0.01, "alpha": 0.9}),
    "rmsprop default": (torch.optim.RMSprop, {}),
    "rmsprop momentum": (torch.optim.RMSprop, {"lr": 0.005, "momentum": 0.7}),
    "rmsprop centered": (torch.optim.RMSprop, {"lr": 0.005, "centered": True, "eps": 1e-4}),
    "rmsprop weight_decay": (torch.optim.RMSprop, {"lr": 0.01, "weight_decay": 0.1, "momentum": 0.5, "centered": True}),
}

# an expression of the step, and PyTorch's scheduler of the same learning rate, which starts from the optimizer's
SCHEDULES: dict[str, tuple[float, str, Callable[[torch.optim.Optimizer], Any]]] = {
    "cosine": (0.1, "0.05*(1 + cos(pi*step/20))", lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, T_max=20)),
    "exponential": (0.1, "0.1*0.9**step", lambda o: torch.optim.lr_scheduler.ExponentialLR(o, gamma=0.9)),
    "steps": (0.1, "0.1 if step < 7 else 0.01", lambda o: torch.optim.lr_scheduler.MultiStepLR(o, [7], gamma=0.1)),
}

draw = random.Random(20240607)


def rows(number: Callable[[], float], columns: int) -> list[list[float]]:
    return [[number() for _ in range(columns)] for _ in range(ROWS)]


INPUTS = rows(lambda: round(draw.uniform(-2, 2), 3), WIDTHS[0])
TARGETS: dict[str, list[list[float]]] = {
    "signs": rows(lambda: draw.choice([-1.0, 1.0]), WIDTHS[-1]),
    "numbers": rows(lambda: round(draw.uniform(-2, 2), 3), WIDTHS[-1]),
    "bits": rows(lambda: draw.choice([0.0, 1.0]), WIDTHS[-1]),
    "classes": rows(lambda: float(draw.randrange(WIDTHS[-1])), 1),
}
SHAPES = list(zip(WIDTHS[1:], WIDTHS, strict=False))
WEIGHTS = [[[round(draw.uniform(-1, 1), 3) for _ in range(n)] for _ in range(m)] for m, n in SHAPES]
BIASES = [[round(draw.uniform(-0.5, 0.5), 3) for _ in range(m)] for m, _ in SHAPES]


def run(
    optimizer: str, loss: str, activations: tuple[str, str, str], l2: float = 0.0, schedule: str | None = None
) -> dict[str, Any]:
    """Twenty steps: the loss before each, and the parameters after the last, layer by layer, weights and then biases."""
    layers = []
    for weights, biases in zip(WEIGHTS, BIASES, strict=True):
        layer = nn.Linear(len(weights[0]), len(weights))
        layer.weight.data, layer.bias.data = torch.tensor(weights), torch.tensor(biases)
        layers.append(layer)
    parameters = [p for layer in layers for p in (layer.weight, layer.bias)]
    kind, options = OPTIMIZERS[optimizer]
    if schedule is not None:
        options = {**options, "lr": SCHEDULES[schedule][0]}
    update = kind(parameters, **options)
    scheduler = SCHEDULES[schedule][2](update) if schedule is not None else None
    targets, criterion = LOSSES[loss]
    x, t = torch.tensor(INPUTS), torch.tensor(TARGETS[targets])
    losses = []
    for _ in range(STEPS):
        score = x
        for layer, activation in zip(layers, activations, strict=True):
            score = ACTIVATIONS[activation](layer(score))
        total = criterion(score, t) + l2 * sum((p * p).sum() for p in parameters)
        losses.append(total.item())
        update.zero_grad()
        total.backward()
        update.step()
        if scheduler is not None:
            scheduler.step()
    final = [number for p in parameters for number in p.detach().flatten().tolist()]
    assert all(map(math.isfinite, [*losses, *final]))
    wire = {"name": kind.__name__.lower(), **options}
    if "lr" in wire:
        wire["learning_rate"] = wire.pop("lr")
    if schedule is not None:
        wire["learning_rate"] = SCHEDULES[schedule][1]
    name = ", ".join(filter(None, [optimizer, schedule, loss, *activations[:2], "l2" * bool(l2)]))
    return {
        "name": name,
        "request": {"optimizer": wire, "loss": loss, "l2": l2},
        "activations": activations,
        "targets": targets,
        "losses": losses,
        "parameters": final,
    }


def main() -> None:
    kinds = list(ACTIVATIONS)
    cases = []
    for i, optimizer in enumerate(OPTIMIZERS):
        for j, loss in enumerate(LOSSES):
            k = 6 * i + j
            activations = (kinds[k % 10], kinds[(k + i // 2 + 3) % 10], "linear")
            cases.append(run(optimizer, loss, activations, l2=0.01 if k % 4 == 1 else 0.0))
    for name in kinds:  # each as the activation of the last layer too
        cases.append(run("sgd", "mse", (name, "tanh", name)))
    for i, schedule in enumerate(SCHEDULES):
        for optimizer in ("sgd", "sgd momentum", "adam"):
            cases.append(run(optimizer, list(LOSSES)[i], ("tanh", "gelu", "linear"), schedule=schedule))
    head = {"made_by": f"make.py with torch {torch.__version__}", "inputs": INPUTS, "targets": TARGETS}
    head |= {"weights": WEIGHTS, "biases": BIASES}
    lines = ",\n".join(json.dumps(case) for case in cases)
    text = json.dumps(head)[:-1] + ', "cases": [\n' + lines + "\n]}\n"
    Path(__file__).with_name("training.json").write_text(text, "utf-8")
    print(len(cases), "cases")


if __name__ == "__main__":
    main()
