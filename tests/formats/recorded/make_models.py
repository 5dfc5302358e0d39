"""Record models that other programs wrote, with their scores and gradients, in the folder `models` and in models.json.

Run it in an environment of its own: `pip install torch onnxscript scikit-learn skl2onnx onnx`, then `python make_models.py`.
PyTorch 2.14.1, scikit-learn 1.9.1 and skl2onnx 1.20.0 were used.
"""

import io
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from skl2onnx import to_onnx
from sklearn.datasets import load_diabetes, load_iris, make_moons
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

warnings.simplefilter("ignore")
FOLDER = Path(__file__).parent / "models"
ROWS = 20


def networks() -> dict[str, tuple[nn.Sequential, int, torch.dtype]]:
    """PyTorch's networks by name, with the number of inputs and the type."""
    torch.manual_seed(15)
    return {
        "relu": (nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 1)), 2, torch.float32),
        "tanh_double": (nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2)), 3, torch.float64),
        "activations": (
            nn.Sequential(
                *(nn.Linear(3, 4), nn.LeakyReLU(), nn.Linear(4, 4), nn.ELU(), nn.Linear(4, 4), nn.SiLU(), nn.Linear(4, 4)),
                *(nn.GELU(), nn.Linear(4, 4), nn.Softplus(), nn.Linear(4, 4), nn.Sigmoid(), nn.Linear(4, 2)),
            ),
            3,
            torch.float32,
        ),
        "softmax": (nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3), nn.Softmax(dim=1)), 4, torch.float32),
        "sigmoid": (nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 1), nn.Sigmoid()), 4, torch.float32),
        "flatten": (
            nn.Sequential(
                nn.Flatten(), nn.Dropout(0.5), nn.Linear(6, 4, bias=False), nn.Tanh(), nn.Identity(), nn.Linear(4, 1)
            ),
            6,
            torch.float32,
        ),
    }


def pytorch(name: str, dynamo: bool) -> dict[str, Any]:
    """Export a network. The scores are the logits: a last Softmax or Sigmoid is left out."""
    network, width, dtype = networks()[name]
    network = network.to(dtype).eval()
    generator = torch.Generator().manual_seed(1)
    rows = torch.randn(ROWS, width, generator=generator, dtype=dtype)
    file = FOLDER / f"pytorch_{name}_{'dynamo' if dynamo else 'script'}.onnx"
    buffer = io.BytesIO()
    shape: dict[str, Any] = (
        {"dynamic_shapes": ({0: torch.export.Dim("rows")},)} if dynamo else {"dynamic_axes": {"x": {0: "rows"}}}
    )
    torch.onnx.export(network, (rows,), buffer, input_names=["x"], output_names=["y"], dynamo=dynamo, **shape)
    made = onnx.load_from_string(buffer.getvalue())
    for part in (*made.graph.node, *made.graph.value_info, *made.graph.input, *made.graph.output, made.graph):
        del part.metadata_props[:]  # stack traces, with the paths of the machine
    file.write_bytes(made.SerializeToString(deterministic=True))
    last = list(network)[-1]
    logits = network[:-1] if isinstance(last, nn.Softmax | nn.Sigmoid) else network
    logits, inputs = logits.to(torch.float64), rows.to(torch.float64).requires_grad_()
    scores = logits(inputs)
    scores.sum().backward()
    assert inputs.grad is not None
    return {"file": file.name, "rows": inputs.tolist(), "scores": scores.tolist(), "gradients": inputs.grad.tolist()}


def logits_of(network: Any, rows: Any) -> Any:
    """The outputs of a scikit-learn network before its last activation."""
    activation = network.out_activation_
    network.out_activation_ = "identity"
    found = network._forward_pass_fast(rows)
    network.out_activation_ = activation
    return found


def scikit_learn(name: str, model: Any, data: Any, dtype: Any, **options: Any) -> dict[str, Any]:
    """Fit and convert a model."""
    inputs, targets = data
    model.fit(inputs, targets)
    rows = np.asarray(inputs[:ROWS], dtype)
    file = FOLDER / f"sklearn_{name}.onnx"
    file.write_bytes(to_onnx(model, rows[:1], **options).SerializeToString())
    steps = list(model.named_steps.values()) if hasattr(model, "named_steps") else [model]
    scaled = rows.astype(np.float64)
    for step in steps[:-1]:
        scaled = step.transform(scaled)
    return {"file": file.name, "rows": rows.tolist(), "scores": np.asarray(logits_of(steps[-1], scaled)).tolist()}


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    common = {"hidden_layer_sizes": (6, 5), "random_state": 0, "max_iter": 200}
    moons, iris, diabetes = (
        make_moons(100, noise=0.1, random_state=0),
        load_iris(return_X_y=True),
        load_diabetes(return_X_y=True),
    )
    named = (moons[0], np.array(["no", "yes"])[moons[1]])
    found = [pytorch(name, dynamo) for name in networks() for dynamo in (True, False)]
    found += [
        scikit_learn("binary", MLPClassifier(**common), moons, np.float32),
        scikit_learn("binary_double", MLPClassifier(activation="logistic", **common), named, np.float64),
        scikit_learn("classes", MLPClassifier(activation="tanh", **common), iris, np.float32),
        scikit_learn("classes_array", MLPClassifier(**common), iris, np.float64, options={"zipmap": False}),
        scikit_learn("scaled_classes", make_pipeline(StandardScaler(), MLPClassifier(**common)), iris, np.float64),
        scikit_learn("regressor", make_pipeline(StandardScaler(), MLPRegressor(**common)), diabetes, np.float64),
        scikit_learn("regressor_single", make_pipeline(StandardScaler(), MLPRegressor(**common)), diabetes, np.float32),
        scikit_learn(
            "mean_only",
            make_pipeline(StandardScaler(with_std=False), MLPRegressor(activation="tanh", **common)),
            diabetes,
            np.float64,
        ),
    ]
    (FOLDER.parent / "models.json").write_text(json.dumps(found) + "\n", "utf-8")


if __name__ == "__main__":
    main()
