"""Propagation of distributions by Monte Carlo (JCGM 101:2008, clauses 7 and 8)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from app.engine import transforms
from app.engine.errors import NonFinite, quote
from app.engine.faults import Fault, Quantity, explain
from app.engine.graph import Graph
from app.engine.interruption import Checkpoint, checked, never
from app.engine.tape import Floats
from app.solvers.correlations import Correlations
from app.solvers.distributions import Estimate
from app.solvers.errors import InvalidArgument

BLOCK_SAMPLES = 1 << 16
"""Samples that are drawn and evaluated between two checkpoints, if there are few inputs."""
BLOCK_NUMBERS = 1 << 20
"""The most random numbers that are held at once."""

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Sampling:
    """How many samples are drawn, and the seed that decides which."""

    samples: int
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Simulation:
    """What the samples of an output say of it: two coverage intervals, of equal tails and the shortest one."""

    mean: float
    standard_uncertainty: float
    interval: Interval
    shortest_interval: Interval


def simulate(
    graph: Graph,
    inputs: Mapping[str, float | Estimate],
    correlations: Correlations,
    sampling: Sampling,
    coverage: float,
    *,
    checkpoint: Checkpoint = never,
) -> dict[str, Simulation]:
    """Return the simulation of each output of a graph, at the given coverage probability.

    The numbers of each input come from a generator of their own (NumPy's PCG64, seeded with the seed and the input's index), so
    they depend neither on the blocks in which they are drawn nor on the outputs.

    Raises: InvalidArgument for correlated inputs that are not normal, and for too few samples; NonFinite for a sample at which
    an output is NaN or infinite.
    """
    names = [name for name, given in inputs.items() if isinstance(given, Estimate)]
    _check(inputs, names, correlations)
    ranks = coverage_ranks(sampling.samples, coverage)
    values = _samples(graph, inputs, names, correlations, sampling, checkpoint)
    simulations = {}
    for name, column in zip(graph.outputs, values, strict=True):
        checkpoint()
        simulations[name] = _summary(column, ranks)
    return simulations


def coverage_ranks(samples: int, coverage: float) -> int:
    """Return q, the number of steps in the sorted samples that a coverage interval takes (JCGM 101, 7.7.1).

    Raises InvalidArgument if there are not more samples than that.
    """
    exact = coverage * samples
    steps = int(exact) if exact == int(exact) else int(exact + 0.5)
    if not 1 <= steps < samples:
        least = max(1.0 / (1.0 - coverage), 1.0 / coverage)
        more = f"; draw at least {math.ceil(least) + 1:,}" if math.isfinite(least) else ""
        detail = f"{samples:,} samples are too few for an interval of coverage {coverage!r}{more}"
        raise InvalidArgument(detail, ("monte_carlo", "samples"))
    return steps


def intervals_agree(first: Interval, second: Interval, uncertainty: float) -> bool:
    """Return whether two intervals agree to two significant digits of the standard uncertainty (JCGM 101, clause 8)."""
    tolerance = 0.5 * 10.0 ** (int(f"{uncertainty:.1e}".partition("e")[2]) - 1) if uncertainty else 0.0
    return all(abs(a - b) <= tolerance for a, b in zip(first, second, strict=True))


def _check(inputs: Mapping[str, float | Estimate], names: Sequence[str], correlations: Correlations) -> None:
    for k in correlations.members.tolist():
        given = inputs[names[k]]
        assert isinstance(given, Estimate)
        if not given.is_normal:
            kind = given.distribution.name if given.distribution else "t"
            detail = f"{quote(names[k])} is correlated and has a {kind} distribution; Monte Carlo correlates normal inputs only"
            raise InvalidArgument(detail, ("inputs", names[k]))


def _samples(
    graph: Graph,
    inputs: Mapping[str, float | Estimate],
    names: Sequence[str],
    correlations: Correlations,
    sampling: Sampling,
    checkpoint: Checkpoint,
) -> Floats:
    """The outputs at all samples: an array of shape (outputs, samples)."""
    seeds = np.random.SeedSequence(sampling.seed).spawn(len(names))
    generators = [np.random.Generator(np.random.PCG64(seed)) for seed in checked(seeds, checkpoint)]
    estimates = [given for given in inputs.values() if isinstance(given, Estimate)]
    exact = {name: given for name, given in inputs.items() if not isinstance(given, Estimate)}
    values = np.empty((len(graph.outputs), sampling.samples))
    block = max(min(BLOCK_SAMPLES, BLOCK_NUMBERS // max(len(names), 1)), 1)
    for start in range(0, sampling.samples, block):
        checkpoint()
        count = min(block, sampling.samples - start)
        drawn = _draw(estimates, generators, correlations, count)
        here: dict[str, float | Floats] = {**exact, **dict(zip(names, drawn, strict=True))}
        found = transforms.evaluate(graph, here, checkpoint=checkpoint)
        for row, name in enumerate(graph.outputs):
            values[row, start : start + count] = found[name]
        _check_finite(graph, here, values[:, start : start + count], start)
    return values


def _draw(
    estimates: Sequence[Estimate], generators: Sequence[np.random.Generator], correlations: Correlations, count: int
) -> list[Floats]:
    """Random numbers for all inputs that are not exact, each an array of shape (count,)."""
    members = correlations.members.tolist()
    together = set(members)
    drawn = [
        generator.standard_normal(count) if k in together else estimate.draw(generator, count)
        for k, (estimate, generator) in enumerate(zip(estimates, generators, strict=True))
    ]
    if members:
        mixed = correlations.root @ np.stack([drawn[k] for k in members])
        for row, k in zip(mixed, members, strict=True):
            drawn[k] = estimates[k].value + estimates[k].uncertainty * row
    return drawn


def _check_finite(graph: Graph, inputs: Mapping[str, float | Floats], values: Floats, start: int) -> None:
    """Raise NonFinite for the first sample at which an output is not finite."""
    if np.isfinite(values).all():
        return
    row, sample = np.argwhere(~np.isfinite(values))[0].tolist()
    here = {name: given if isinstance(given, float) else float(given[sample]) for name, given in inputs.items()}
    error = explain(graph, here, Fault(Quantity.VALUE, graph.outputs[row], float(values[row, sample])))
    raise NonFinite(f"Monte Carlo sample {start + sample:,}: {error.detail}", error.place)


def _summary(samples: Floats, steps: int) -> Simulation:
    """Mean, standard deviation and coverage intervals of samples (JCGM 101, 7.6 and 7.7); sorts them in place."""
    samples.sort()
    count = len(samples)
    low, high = float(samples[0]), float(samples[-1])
    middle, scale = 0.5 * low + 0.5 * high, 0.5 * high - 0.5 * low
    mean, deviation = middle, 0.0
    if scale > 0.0:  # relative to the range, so that no sum overflows
        relative = (samples - middle) / scale
        shift = float(np.mean(relative))
        mean = middle + scale * shift
        deviation = scale * math.sqrt(float(np.sum((relative - shift) ** 2)) / (count - 1))
    rest = count - steps
    first = max(rest // 2 if rest % 2 == 0 else (rest + 1) // 2, 1) - 1
    shortest = int(np.argmin(samples[steps:] - samples[:rest]))
    return Simulation(
        mean,
        deviation,
        (float(samples[first]), float(samples[first + steps])),
        (float(samples[shortest]), float(samples[shortest + steps])),
    )
