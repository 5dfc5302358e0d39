"""The solvers: whole requests beside what a scientist runs in process."""

import json
import math
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from scipy import optimize

from tests.benchmarks.measure import OURS, Contestant, Row, race
from tests.conftest import Server

NIST: list[dict[str, Any]] = json.loads((Path(__file__).parents[1] / "data/nist_regression.json").read_text())["problems"]
FITS = ("DanWood", "ENSO", "Eckerle4", "Gauss1", "Kirby2", "MGH17", "Misra1a", "Thurber")
SOLVED = 4.0
"""A peer's fit counts where so many digits of each parameter are right."""
NUMPY = {name: getattr(np, name) for name in ("exp", "cos", "sin")} | {"pi": math.pi}
VARIABLES = 100
POINTS = 1_000_000


def solvers() -> Iterator[Row]:
    """All rows, against one server."""
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder) / "log")
        try:
            server.wait_until_ready()
            headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
            with httpx.Client(base_url=server.url, headers=headers, timeout=120) as client:
                yield from fits(client)
                yield from valley(client)
                yield from sums(client)
        finally:
            server.stop()


def ask(client: httpx.Client, path: str, body: bytes) -> Any:
    """A request and its decoded response."""
    response = client.post(path, content=body)
    assert response.status_code == 200, response.text[:500]
    return response.json()


# --- fits


def digits(found: dict[str, float], certified: dict[str, float]) -> float:
    """How many digits are right in the worst parameter, at most 11."""
    return min(11.0, *(-math.log10(max(abs(found[n] - c) / abs(c), 1e-99)) for n, c in certified.items()))


def curve_of(problem: dict[str, Any]) -> Callable[..., Any]:
    """The curve as a Python function of x and the parameters, as users of lmfit and SciPy write it."""
    function: Callable[..., Any] = eval(f"lambda x, {', '.join(problem['certified'])}: {problem['expression']}", dict(NUMPY))
    return function


def by_lmfit(problem: dict[str, Any], start: dict[str, float]) -> dict[str, float]:
    """The fit of lmfit with its defaults; the start where it fails."""
    import lmfit

    model = lmfit.Model(curve_of(problem))
    with np.errstate(all="ignore"):
        x, y = np.array(problem["data"]["x"]), np.array(problem["target"])
        try:
            return dict(model.fit(y, model.make_params(**start), x=x).best_values)
        except ValueError:
            return start


def by_curve_fit(problem: dict[str, Any], start: dict[str, float]) -> dict[str, float]:
    """The fit of SciPy's `curve_fit` with its defaults; the start where it fails."""
    with np.errstate(all="ignore"):
        x, y = np.array(problem["data"]["x"]), np.array(problem["target"])
        try:
            found, _ = optimize.curve_fit(curve_of(problem), x, y, p0=list(start.values()))
        except RuntimeError:
            return start
    return dict(zip(start, found, strict=True))


def fits(client: httpx.Client) -> Iterator[Row]:
    """Each fit as a whole request beside lmfit's in process, and the sum over those that lmfit solves."""
    total = {OURS: 0.0, "lmfit": 0.0}
    counted = 0
    accuracy: dict[str, list[float]] = {OURS: [], "lmfit": [], "curve_fit": []}
    for problem in NIST:
        if problem["name"] not in FITS:
            continue
        for k, start in enumerate(problem["starts"]):
            data = {**problem["data"], "y": problem["target"]}
            body = json.dumps({"expression": problem["expression"], "data": data, "target": "y", "parameters": start}).encode()
            found = {
                OURS: digits(ask(client, "/v1/fit", body)["parameters"], problem["certified"]),
                "lmfit": digits(by_lmfit(problem, start), problem["certified"]),
                "curve_fit": digits(by_curve_fit(problem, start), problem["certified"]),
            }
            for name, right in found.items():
                accuracy[name].append(max(right, 0.0))
            contestants = {
                OURS: Contestant(partial(ask, client, "/v1/fit", body)),
                "lmfit": Contestant(partial(by_lmfit, problem, start)),
            }
            note = ", ".join(f"{name} {right:.1f} digits" for name, right in found.items())
            row = race(f"POST /v1/fit, {problem['name']} from start {k + 1}", contestants, {}, repeats=5, note=note)
            yield row
            if found["lmfit"] >= SOLVED:
                counted += 1
                total = {name: total[name] + row.seconds[name] for name in total}
    note = "mean of the worst digits: " + ", ".join(f"{name} {np.mean(found):.2f}" for name, found in accuracy.items())
    yield Row(f"the {counted} fits that lmfit solves to 4 digits", total, {"lmfit": 3.0}, note=note)


# --- minima


def valley(client: httpx.Client) -> Iterator[Row]:
    """Rosenbrock's function in 100 variables beside SciPy's `trust-exact` with JAX's compiled derivatives."""
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    terms = [f"100*(x{k + 1} - x{k}**2)**2 + (1 - x{k})**2" for k in range(VARIABLES - 1)]
    initial = {f"x{k}": 0.5 for k in range(VARIABLES)}
    body = json.dumps({"expression": " + ".join(terms), "initial": initial}).encode()

    def value(x: Any) -> Any:
        return jnp.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)

    compiled = [jax.jit(function) for function in (value, jax.grad(value), jax.hessian(value))]
    value_at, gradient_at, hessian_at = (lambda x, f=f: np.asarray(f(x)) for f in compiled)
    minimize: Any = optimize.minimize  # whose types do not know functions of JAX

    def theirs() -> Any:
        return minimize(value_at, np.full(VARIABLES, 0.5), jac=gradient_at, hess=hessian_at, method="trust-exact")

    ours = ask(client, "/v1/minimize", body)
    note = f"ours ends at {ours['value']:.2g}, trust-exact at {theirs().fun:.2g}"
    contestants = {
        OURS: Contestant(partial(ask, client, "/v1/minimize", body)),
        "trust-exact with JAX": Contestant(theirs),
    }
    work, targets = f"POST /v1/minimize, Rosenbrock in {VARIABLES} variables", {"trust-exact with JAX": 2.0}
    yield race(work, contestants, targets, repeats=5, note=note)


# --- sums over points


def sums(client: httpx.Client) -> Iterator[Row]:
    """The gradient of a sum over a million points beside the gradients at each of them."""
    rng = np.random.default_rng(0)
    inputs: dict[str, Any] = {"x": rng.normal(size=POINTS).tolist(), "y": rng.normal(size=POINTS).tolist(), "a": 0.5, "b": 0.1}
    request = {"expression": "(tanh(a*x + b) - y)**2", "inputs": inputs, "wrt": ["a", "b"]}
    bodies = {how: json.dumps({**request, "reduce": how}).encode() for how in ("sum", "none")}

    def post(how: str) -> bytes:
        response = client.post("/v1/backward", content=bodies[how])
        assert response.status_code == 200
        return response.content

    contestants = {OURS: Contestant(partial(post, "sum")), "without reduce": Contestant(partial(post, "none"))}
    yield race(f'POST /v1/backward, "reduce": "sum", {POINTS:,} points', contestants, {"without reduce": 0.5}, repeats=5)
