"""Record uncertainties of correlated quantities, computed by GTC: `python tests/solvers/recorded/correlated.py`.

The tests read correlated.json and do not run this script. It needs an environment of its own:
`python -m venv gtcvenv && gtcvenv/bin/pip install gtc==1.5.1`. It does not use the service.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from GTC import component, cos, dof, exp, get_correlation, log, multiple_ureal, set_correlation, sin, uncertainty, ureal, value

VALUES = {"V": (4.999, 0.0032), "I": (0.019661, 0.0000095), "phi": (1.04446, 0.00075)}
PAIRS = [("V", "I", -0.36), ("V", "phi", 0.86), ("I", "phi", -0.65)]


def reported(results: Mapping[str, Any], inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Value, uncertainty, degrees of freedom, contributions and correlations of some results."""
    return {
        "results": {
            name: {
                "value": value(y),
                "standard_uncertainty": uncertainty(y),
                "degrees_of_freedom": dof(y) if math.isfinite(dof(y)) else None,
                "contributions": {key: abs(component(y, x)) for key, x in inputs.items()},
            }
            for name, y in results.items()
        },
        "correlation": {a: {b: get_correlation(y, z) for b, z in results.items()} for a, y in results.items()},
    }


def impedance(freedom: float) -> dict[str, Any]:
    """GUM, H.2, with the same degrees of freedom for all three quantities, and an independent fourth one with 7."""
    names = list(VALUES)
    quantities = multiple_ureal([VALUES[n][0] for n in names], [VALUES[n][1] for n in names], freedom)
    inputs = dict(zip(names, quantities, strict=True))
    for a, b, r in PAIRS:
        set_correlation(r, inputs[a], inputs[b])
    inputs["k"] = ureal(1.002, 0.0004, 7)
    v, i, phi, k = inputs["V"], inputs["I"], inputs["phi"], inputs["k"]
    return reported({"R": v / i * cos(phi), "X": v / i * sin(phi), "Z": v / i, "P": k * v * v / i}, inputs)


def curved() -> dict[str, Any]:
    """Functions that bend, of three correlated quantities and one that is independent."""
    inputs = {"a": ureal(2.0, 0.3, independent=False), "b": ureal(-1.5, 0.2, independent=False)}
    inputs |= {"c": ureal(0.7, 0.05, independent=False), "d": ureal(3.0, 0.4)}
    for first, second, r in [("a", "b", 0.5), ("b", "c", -0.25), ("a", "c", 0.1)]:
        set_correlation(r, inputs[first], inputs[second])
    a, b, c, d = inputs.values()
    return reported({"f": exp(b) * log(a + c), "g": a * b * c / d, "h": sin(a) ** 2 + d}, inputs)


if __name__ == "__main__":
    cases = {"impedance": impedance(4.0), "certain": impedance(math.inf), "curved": curved()}
    Path(__file__).with_suffix(".json").write_text(json.dumps(cases, indent=1) + "\n", "utf-8")
