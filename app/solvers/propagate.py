"""Propagation of uncertainty by the Guide to the Expression of Uncertainty in Measurement, the GUM (JCGM 100:2008).

First order by the law of propagation, with correlations; second order by the terms of GUM 5.1.2; and, as a check on both, Monte
Carlo by JCGM 101. All sensitivities are exact derivatives.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy

from app.engine import transforms
from app.engine.derivative import gradient
from app.engine.errors import NonFinite, quote
from app.engine.faults import Fault, Quantity, explain, number_text
from app.engine.graph import Graph
from app.engine.interruption import Checkpoint, never
from app.engine.tape import Floats
from app.solvers.correlations import Correlations, Pair, correlated
from app.solvers.distributions import Estimate
from app.solvers.errors import InvalidArgument, check_not_constant
from app.solvers.monte_carlo import Interval, Sampling, Simulation, intervals_agree, simulate

Inputs = Mapping[str, float | Estimate]

ROUNDING = 1e-9
"""Degrees of freedom that are so little below a whole number, relatively, count as that number when they are truncated."""
EPSILON = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, slots=True)
class PropagateOptions:
    """What to compute.

    Attributes:
        coverage: the probability that intervals are to cover.
        coverage_factor: used in place of the one that `coverage` and the degrees of freedom give.
        order: 1, or 2 to add the terms of second order.
        monte_carlo: how to draw samples, if any are to be drawn.
    """

    coverage: float = 0.95
    coverage_factor: float | None = None
    order: int = 1
    monte_carlo: Sampling | None = None


@dataclass(frozen=True, slots=True)
class BudgetRow:
    """One input's part in the uncertainty of an output.

    `contribution` is |sensitivity| times uncertainty. `share` is the part of the variance, correlations included; None if the
    variance is 0.
    """

    input: str
    uncertainty: float
    sensitivity: float
    contribution: float
    share: float | None


@dataclass(frozen=True, slots=True)
class SecondOrder:
    """Estimate and standard uncertainty with terms of second order; None if the variance so computed is negative."""

    value: float
    standard_uncertainty: float | None


@dataclass(frozen=True, slots=True)
class Result:
    """The estimate of an output and its uncertainty.

    `degrees_of_freedom` is None if there are infinitely many, or if there is no formula for them; `messages` then says so.
    """

    value: float
    standard_uncertainty: float
    degrees_of_freedom: float | None
    coverage_factor: float
    expanded_uncertainty: float
    budget: tuple[BudgetRow, ...]
    second_order: SecondOrder | None = None
    monte_carlo: Simulation | None = None
    messages: tuple[str, ...] = ()

    @property
    def interval(self) -> Interval:
        """The estimate plus and minus the expanded uncertainty."""
        return self.value - self.expanded_uncertainty, self.value + self.expanded_uncertainty

    @property
    def agrees(self) -> bool | None:
        """Whether `interval` is that of the Monte Carlo samples, to two significant digits of the standard uncertainty."""
        if self.monte_carlo is None:
            return None
        return intervals_agree(self.interval, self.monte_carlo.interval, self.standard_uncertainty)


@dataclass(frozen=True, slots=True)
class Propagation:
    """The result for each output, and the correlation of each two of them: None for an output without uncertainty."""

    results: dict[str, Result]
    correlation: dict[str, dict[str, float | None]]


@dataclass(frozen=True, slots=True)
class _Budget:
    """First-order propagation of n inputs to m outputs.

    `sensitivities` and `shares` have shape (m, n), `uncertainties` (m,) and `correlation` (m, m). Shares and correlations of an
    output without uncertainty are NaN.
    """

    sensitivities: Floats
    uncertainties: Floats
    shares: Floats
    correlation: Floats


def propagate(
    graph: Graph,
    inputs: Inputs,
    correlations: Sequence[Pair] = (),
    options: PropagateOptions | None = None,
    *,
    checkpoint: Checkpoint = never,
) -> Propagation:
    """Propagate the uncertainties of inputs to the outputs of a graph.

    Args:
        graph: what is measured, as a function of the inputs.
        inputs: a number for what is exact, an Estimate for what is not. In a text, where every name needs an input, an exact
            number may have a name that the text does not use.
        correlations: pairs of inputs with their coefficients; all others are independent.
        options: what to compute.
        checkpoint: may raise to stop the work.

    Raises: InvalidArgument and UnknownNode for arguments that do not fit, with the place `("inputs", name)`,
    `("correlations", k)` and so on; UnboundInput for a leaf without a number; NonFinite where a number that is needed is NaN or
    infinite.
    """
    options = options or PropagateOptions()
    _check_options(options)
    if graph.source == "text":
        for name in inputs:
            check_not_constant(name, graph, ("inputs", name))
        inputs = {name: given for name, given in inputs.items() if isinstance(given, Estimate) or name in graph.index}
    uncertain = {name: given for name, given in inputs.items() if isinstance(given, Estimate)}
    related = correlated(inputs, list(uncertain), correlations, checkpoint)
    if options.order == 2 and len(related.members):
        raise InvalidArgument("the terms of second order are for independent inputs; use order 1, or Monte Carlo", ("order",))
    numbers = {name: given.value if isinstance(given, Estimate) else float(given) for name, given in inputs.items()}
    values, budget = _first_order(graph, numbers, uncertain, related, checkpoint)
    simulations: dict[str, Simulation] = {}
    if options.monte_carlo is not None:
        simulations = simulate(graph, inputs, related, options.monte_carlo, options.coverage, checkpoint=checkpoint)
    results = {}
    for row, name in enumerate(graph.outputs):
        checkpoint()
        result = _result(name, values[name], budget, row, uncertain, related, options)
        second, messages = None, result.messages
        if options.order == 2:
            second = _second_order(replace(graph, outputs=(name,)), numbers, uncertain, checkpoint)
            if second.standard_uncertainty is None:
                messages += ("the variance of second order is negative, so terms of higher order matter; use Monte Carlo",)
        if name in simulations and any(row.share and uncertain[row.input].degrees_of_freedom <= 2.0 for row in result.budget):
            messages += (
                "an input with 2 degrees of freedom or fewer is drawn from a t-distribution that has no variance, so the "
                "standard uncertainty of the samples does not settle, however many there are",
            )
        results[name] = replace(result, second_order=second, monte_carlo=simulations.get(name), messages=messages)
    return Propagation(results, _named(graph.outputs, budget.correlation))


def _check_options(options: PropagateOptions) -> None:
    if not 0.0 < options.coverage < 1.0:
        raise InvalidArgument(f"a coverage probability is between 0 and 1, this one is {options.coverage!r}", ("coverage",))
    factor = options.coverage_factor
    if factor is not None and not 0.0 < factor < math.inf:
        raise InvalidArgument(f"a coverage factor is a number above 0, this one is {factor!r}", ("coverage_factor",))
    if options.order not in (1, 2):
        raise InvalidArgument(f"the order is 1 or 2, not {options.order!r}", ("order",))


def _named(names: Sequence[str], matrix: Floats) -> dict[str, dict[str, float | None]]:
    """A matrix as tables, with None in place of NaN."""
    return {
        row: {column: None if math.isnan(number) else number for column, number in zip(names, numbers, strict=True)}
        for row, numbers in zip(names, matrix.tolist(), strict=True)
    }


# --- first order


def _first_order(
    graph: Graph, numbers: Mapping[str, float], uncertain: Mapping[str, Estimate], related: Correlations, checkpoint: Checkpoint
) -> tuple[dict[str, float], _Budget]:
    """The outputs' values, and the budget of their uncertainties (GUM 5.1.2 and 5.2.2)."""
    names, outputs = list(uncertain), graph.outputs
    found = transforms.jacobian(graph, numbers, names, checkpoint=checkpoint)
    values: dict[str, float] = {name: float(found.values[name]) for name in outputs}
    sensitivities = np.empty((len(outputs), len(names)))
    for row, output in enumerate(outputs):
        checkpoint()
        table = found.jacobian[output]
        sensitivities[row] = [table[name] for name in names]
        if not math.isfinite(values[output]):
            raise explain(graph, numbers, Fault(Quantity.VALUE, output, values[output]), checkpoint=checkpoint)
        for k in np.flatnonzero(~np.isfinite(sensitivities[row])).tolist():
            fault = Fault(Quantity.GRADIENT, names[k], float(sensitivities[row, k]), output=output)
            raise explain(graph, numbers, fault, checkpoint=checkpoint)
    uncertainties = np.array([given.uncertainty for given in uncertain.values()])
    with np.errstate(over="ignore", under="ignore"):
        signed = sensitivities * uncertainties
    _check_each(signed, outputs, names)
    return values, _combined(sensitivities, signed, outputs, related)


def _check_each(signed: Floats, outputs: Sequence[str], names: Sequence[str]) -> None:
    """Raise NonFinite for the first contribution that is too large for a double."""
    if not np.isfinite(signed).all():
        row, column = np.argwhere(~np.isfinite(signed))[0].tolist()
        detail = f"the contribution of {quote(names[column])} to the uncertainty of {quote(outputs[row])} is beyond 1.8e308"
        raise NonFinite(detail, ("inputs", names[column]))


def _combined(sensitivities: Floats, signed: Floats, outputs: Sequence[str], related: Correlations) -> _Budget:
    """Combine contributions, of shape (m, n), each output's relative to its largest, so that no square overflows."""
    m, n = signed.shape
    scale = np.max(np.abs(signed), axis=1, initial=0.0)
    relative = signed / np.where(scale > 0.0, scale, 1.0)[:, None]
    passed = related.times(relative)
    products = relative * passed
    variances = np.sum(products, axis=1)
    # What is left of terms that cancel is 0 if it is no larger than their rounding errors.
    rounding = 4.0 * EPSILON * n * np.sum(np.abs(products), axis=1)
    variances = np.where(variances > rounding, variances, 0.0) if len(related.members) else variances
    roots = np.sqrt(variances)
    with np.errstate(over="ignore"):
        uncertainties = scale * roots
    if not np.isfinite(uncertainties).all():
        name = outputs[int(np.argmin(np.isfinite(uncertainties)))]
        raise NonFinite(f"the uncertainty of {quote(name)} is beyond 1.8e308", ())
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = np.where(variances[:, None] > 0.0, products / variances[:, None], np.nan)
        products_of_two = relative @ passed.T
        correlation = np.clip((products_of_two + products_of_two.T) / (2.0 * np.outer(roots, roots)), -1.0, 1.0)
    correlation[np.outer(roots, roots) == 0.0] = np.nan
    correlation[np.diag_indices(m)] = np.where(roots > 0.0, 1.0, np.nan)
    return _Budget(sensitivities, uncertainties, shares, correlation)


def _result(
    name: str,
    value: float,
    budget: _Budget,
    row: int,
    uncertain: Mapping[str, Estimate],
    related: Correlations,
    options: PropagateOptions,
) -> Result:
    """The first-order result of one output."""
    uncertainty = float(budget.uncertainties[row])
    freedom = np.array([given.degrees_of_freedom for given in uncertain.values()])
    effective, message = effective_degrees_of_freedom(budget.shares[row], freedom, related)
    messages = [message] if message else []
    factor = options.coverage_factor
    if factor is None:
        factor, message = coverage_factor(options.coverage, effective)
        messages += [message] if message else []
    expanded = factor * uncertainty
    if not math.isfinite(expanded) or not math.isfinite(abs(value) + expanded):
        detail = f"the expanded uncertainty of {quote(name)} is {number_text(expanded)}"
        raise NonFinite(f"{detail}, with the coverage factor {number_text(factor)}", ())
    rows = []
    for k, (input_name, given) in enumerate(uncertain.items()):
        sensitivity, share = float(budget.sensitivities[row, k]), float(budget.shares[row, k])
        contribution = abs(sensitivity) * given.uncertainty
        rows.append(BudgetRow(input_name, given.uncertainty, sensitivity, contribution, None if math.isnan(share) else share))
    return Result(value, uncertainty, effective, factor, expanded, tuple(rows), messages=tuple(messages))


def effective_degrees_of_freedom(shares: Floats, freedom: Floats, related: Correlations) -> tuple[float | None, str]:
    """The effective degrees of freedom by the formula of Welch and Satterthwaite (GUM G.4.1), and a message.

    Inputs that are correlated with each other are one component of the formula if they have the same degrees of freedom. If
    they do not, the result is None and the message says why. Infinitely many are None too.

    Args:
        shares: each input's share of the variance, of shape (n,); NaN if there is no variance.
        freedom: the inputs' degrees of freedom, of shape (n,).
        related: their correlations.
    """
    active = np.isfinite(shares) & (shares != 0.0)
    parts, counts = [], []
    groups = related.groups(active)
    for group in groups:
        own = freedom[group]
        if (own != own[0]).any():
            message = "correlated inputs have different degrees of freedom, so there is no effective number of them"
            return None, f"{message}; the coverage factor is that of a normal distribution unless it was given"
        if own[0] < math.inf:
            parts.append(float(np.sum(shares[group])) if len(groups) > 1 else 1.0)
            counts.append(float(own[0]))
    total = sum(part * part * (min(counts) / count) for part, count in zip(parts, counts, strict=True))
    effective = min(counts) / total if total > 0.0 else math.inf
    return (None if math.isinf(effective) else effective), ""


def coverage_factor(coverage: float, degrees_of_freedom: float | None) -> tuple[float, str]:
    """The coverage factor for a probability, from the t-distribution with truncated degrees of freedom (GUM G.4.1).

    None stands for infinitely many: the factor is that of a normal distribution. Fewer than one cannot be truncated and are
    used as they are, which the message says.
    """
    tail = 0.5 * (1.0 - coverage)
    if degrees_of_freedom is None:
        return -float(scipy.special.ndtri(tail)), ""
    whole = math.floor(degrees_of_freedom * (1.0 + ROUNDING))
    factor = -float(scipy.special.stdtrit(whole or degrees_of_freedom, tail))
    if abs(float(scipy.special.stdtr(whole or degrees_of_freedom, -factor)) - tail) > ROUNDING * tail:
        factor = math.inf  # SciPy's is not the quantile if that is beyond 1e152
    message = "there is less than one degree of freedom, which is not truncated for the coverage factor"
    return factor, "" if whole else message


# --- second order


def _second_order(
    graph: Graph, numbers: Mapping[str, float], uncertain: Mapping[str, Estimate], checkpoint: Checkpoint
) -> SecondOrder:
    """Estimate and uncertainty of the only output with terms of second order, for independent inputs.

    The estimate is f + sum 1/2 f_ii u_i^2; its variance sum f_i^2 u_i^2 + sum over i and j of (1/2 f_ij^2 + f_i f_ijj) u_i^2
    u_j^2 (GUM 5.1.2). The third derivatives f_ijj are second derivatives of the graph of f_i.
    """
    names = [name for name, given in uncertain.items() if given.uncertainty > 0.0]
    u = np.array([uncertain[name].uncertainty for name in names])
    whole = transforms.hessian(graph, numbers, names, checkpoint=checkpoint)
    first = np.array([whole.gradients[name] for name in names])
    second = _matrix(whole, names)
    for i, j in np.argwhere(~np.isfinite(second)).tolist():
        fault = Fault(Quantity.SECOND, names[j], float(second[i, j]))
        raise explain(graph, numbers, fault, {names[i]: 1.0}, checkpoint=checkpoint)
    third = _third_derivatives(graph, numbers, names, checkpoint)
    with np.errstate(all="ignore"):
        linear, curved = first * u, second * u[:, None] * u
        cubic = third * u[:, None] * u * u
        scale = max(float(np.max(np.abs(part), initial=0.0)) for part in (linear, curved, cubic)) or 1.0
        linear, curved, cubic = linear / scale, curved / scale, cubic / scale
        variance = math.fsum((linear**2).tolist())
        variance += math.fsum((0.5 * curved**2 + linear[:, None] * cubic).ravel().tolist())
        value = float(whole.value) + 0.5 * scale * math.fsum(np.diag(curved).tolist())
        uncertainty = scale * math.sqrt(variance) if variance >= 0.0 else None
    if not math.isfinite(value) or not math.isfinite(uncertainty or 0.0):
        raise NonFinite(f"the terms of second order of {quote(graph.output)} are beyond 1.8e308", ())
    return SecondOrder(value, uncertainty)


def _third_derivatives(graph: Graph, numbers: Mapping[str, float], names: Sequence[str], checkpoint: Checkpoint) -> Floats:
    """The third derivatives f_ijj, of shape (n, n): once by name i and twice by name j. Raises NonFinite."""
    slopes = gradient(graph, names, checkpoint=checkpoint)
    third = np.zeros((len(names), len(names)))
    for i, output in enumerate(slopes.outputs[1:]):
        checkpoint()
        slope = replace(slopes, outputs=(output,))
        wanted = [j for j, name in enumerate(names) if slope.tape.slot[slope.index[name]] >= 0]
        varied = [names[j] for j in wanted]
        found = transforms.hessian(slope, numbers, varied, checkpoint=checkpoint)
        third[i, wanted] = np.diag(_matrix(found, varied))
        for j in np.flatnonzero(~np.isfinite(third[i])).tolist():
            by = f"{quote(names[i])} and twice by {quote(names[j])}" if i != j else f"{quote(names[i])} three times"
            raise NonFinite(f"the derivative of {quote(graph.output)} by {by} is {number_text(float(third[i, j]))}", ())
    return third


def _matrix(found: transforms.Hessian, names: Sequence[str]) -> Floats:
    """The second derivatives as an array of shape (n, n)."""
    rows = [list(found.hessian[name].copy().values()) for name in names]
    return np.array(rows, np.float64).reshape(len(names), len(names))
