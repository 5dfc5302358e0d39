"""Records the sparsity patterns that CasADi finds: `python -m tests.engine.recorded.casadi_patterns`, with the extra `bench`.

Each case is a text for this service's parser that is also Python, so both evaluate the same characters. There are no kinks
among them: CasADi lists an entry where a slope depends on a comparison, which is flat.
"""

import json
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("casadi_patterns.json")

CASES = {
    "rosenbrock": ("xyzuv", ["100*(y - x**2)**2 + (1 - x)**2 + 100*(z - y**2)**2 + (1 - y)**2 + 100*(v - u**2)**2"]),
    "separable": ("xyzuv", ["sin(x) + exp(y) + z**3 + u + 2*v"]),
    "partly linear": ("xyzuv", ["x*y + z*3 + sqrt(u)/2 + v - x"]),
    "quotient": ("xyzuv", ["x/y + z/4 + log(u)*v"]),
    "sum squared": ("xyzuv", ["(x + y + z)**2 + u*v"]),
    "nested": ("xyzuv", ["sin(x*y + z) + exp(u)*u + atan2(z, v)"]),
    "banded system": ("xyzuv", ["x*x - y", "y*y - x - z", "z*z - y - u", "u*u - z - v", "v*v - u"]),
    "arrow system": ("xyzuv", ["x + y + z + u + v", "x*y", "x - z", "sin(x)*u", "exp(x) + v**2"]),
    "shared": ("xyzuv", ["sin(x*y)*z", "sin(x*y) + u", "z*3", "v*v + u"]),
}
"""Variables and outputs. Hessians are of the first output."""


def main() -> None:
    """Write the file."""
    import casadi as ca

    found = {"casadi": ca.__version__, "cases": {}}
    for name, (variables, outputs) in CASES.items():
        x = ca.SX.sym("x", len(variables))
        scope: dict[str, Any] = {letter: x[k] for k, letter in enumerate(variables)}
        scope |= {f: getattr(ca, f) for f in ("sin", "exp", "log", "sqrt", "fabs", "fmin", "fmax", "atan2")}
        values = [eval(text, scope) for text in outputs]  # the cases above
        places = {
            "hessian": ca.tril(ca.hessian(values[0], x)[0]).sparsity().get_triplet(),
            "jacobian": ca.jacobian(ca.vertcat(*values), x).sparsity().get_triplet(),
        }
        found["cases"][name] = {"variables": variables, "outputs": outputs} | {
            kind: sorted([row, column] for row, column in zip(*triplet, strict=True)) for kind, triplet in places.items()
        }
    FILE.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
