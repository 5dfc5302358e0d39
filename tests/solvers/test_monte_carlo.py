"""Propagation of distributions against the examples of JCGM 101:2008, clause 9, and what it says of coverage intervals.

The published figures come from Monte Carlo too, or from analysis. A limit of an interval from a million samples is uncertain by
some thousandths of the standard uncertainty, a limit of a shortest interval by some hundredths.
"""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from app.engine.errors import NonFinite
from app.engine.text import parse
from app.solvers import Estimate, InvalidArgument, PropagateOptions, Sampling, bounded, measured, propagate
from app.solvers.monte_carlo import BLOCK_SAMPLES, Simulation, coverage_ranks, intervals_agree
from app.solvers.propagate import Result

MILLION = Sampling(1_000_000, 1)
ROOT3 = math.sqrt(3.0)


def one(text: str, inputs: dict[str, float | Estimate], *correlations: tuple[str, str, float], **options: Any) -> Result:
    """The result of the only output."""
    options = {"monte_carlo": MILLION} | options
    (result,) = propagate(parse(text), inputs, correlations, PropagateOptions(**options)).results.values()
    return result


def simulated(result: Result) -> Simulation:
    assert result.monte_carlo is not None
    return result.monte_carlo


def assert_interval(found: tuple[float, float], published: tuple[float, float], tolerance: float) -> None:
    assert found == pytest.approx(published, abs=tolerance)


# --- JCGM 101, clause 9

SUM = "x1 + x2 + x3 + x4"


def four(*given: Estimate) -> dict[str, float | Estimate]:
    return {f"x{k}": estimate for k, estimate in enumerate(given, 1)}


def test_9_2_2_normal_inputs() -> None:
    """Table 2: 0, 2.0, [-3.92, 3.92], and the GUM's interval is validated."""
    result = one(SUM, four(*[measured(0.0, 1.0)] * 4))
    assert (result.value, result.standard_uncertainty) == (0.0, 2.0)
    assert [round(limit, 2) for limit in result.interval] == [-3.92, 3.92]
    found = simulated(result)
    assert found.mean == pytest.approx(0.0, abs=0.008) and found.standard_uncertainty == pytest.approx(2.0, abs=0.006)
    assert_interval(found.interval, (-3.92, 3.92), 0.02)
    assert_interval(found.shortest_interval, (-3.92, 3.92), 0.06)
    assert result.agrees is True


def test_9_2_3_rectangular_inputs_of_one_width() -> None:
    """Table 3: 0, 2.0, [-3.88, 3.88] by analysis and by Monte Carlo, and the GUM's [-3.92, 3.92] is validated."""
    result = one(SUM, four(*[bounded(0.0, ROOT3, "uniform")] * 4))
    assert result.standard_uncertainty == pytest.approx(2.0, rel=1e-15)
    found = simulated(result)
    assert found.standard_uncertainty == pytest.approx(2.0, abs=0.006)
    assert_interval(found.interval, (-3.88, 3.88), 0.015)
    assert_interval(found.shortest_interval, (-3.88, 3.88), 0.06)
    assert result.agrees is True


def test_9_2_4_one_rectangular_input_is_much_wider() -> None:
    """Table 4: 0, 10.1, [-17.0, 17.0]; the GUM's [-19.9, 19.9] is not validated."""
    result = one(SUM, four(*[bounded(0.0, ROOT3, "uniform")] * 3, bounded(0.0, 10 * ROOT3, "uniform")))
    assert round(result.standard_uncertainty, 1) == 10.1
    assert [round(limit, 1) for limit in result.interval] == [-19.9, 19.9]
    found = simulated(result)
    assert found.standard_uncertainty == pytest.approx(10.15, abs=0.03)
    assert_interval(found.interval, (-17.0, 17.0), 0.06)
    assert_interval(found.shortest_interval, (-17.0, 17.0), 0.1)
    assert result.agrees is False


def test_9_3_mass_calibration() -> None:
    """Table 7: the GUM 1.2340, 0.0539, [1.1285, 1.3395], second order 0.0750; Monte Carlo 1.2341, 0.0754, [1.0834, 1.3825]."""
    inputs: dict[str, float | Estimate] = {
        "m_R": measured(100_000.0, 0.050),
        "dm_R": measured(1.234, 0.020),
        "rho_a": bounded(1.20, 0.10, "uniform"),
        "rho_W": bounded(8000.0, 1000.0, "uniform"),
        "rho_R": bounded(8000.0, 50.0, "uniform"),
    }
    result = one("(m_R + dm_R)*(1 + (rho_a - 1.2)*(1/rho_W - 1/rho_R)) - 100000", inputs, order=2)
    assert result.value == pytest.approx(1.2340, abs=5e-5)
    assert round(result.standard_uncertainty, 4) == 0.0539
    assert_interval(result.interval, (1.1285, 1.3395), 6e-5)
    assert result.second_order is not None and round(result.second_order.standard_uncertainty or 0.0, 4) == 0.0750
    found = simulated(result)
    assert found.mean == pytest.approx(1.2341, abs=3e-4) and found.standard_uncertainty == pytest.approx(0.0754, abs=2e-4)
    assert_interval(found.shortest_interval, (1.0834, 1.3825), 4e-3)
    assert result.agrees is False


LOSS = [
    # x1; estimate and standard uncertainty by analysis, the same by the GUM's first order, and Monte Carlo's shortest interval,
    # all times 1e6 (tables 8 and 9).
    (0.000, 0.0, (50, 50), (0, 0), (0, 150)),
    (0.010, 0.0, (150, 112), (100, 100), (0, 367)),
    (0.050, 0.0, (2550, 502), (2500, 500), (1590, 3543)),
    (0.000, 0.9, (50, 67), (0, 0), (0, 185)),
    (0.010, 0.9, (150, 121), (100, 100), (13, 398)),
    (0.050, 0.9, (2550, 505), (2500, 500), (1628, 3555)),
]


@pytest.mark.parametrize(("x1", "r", "exact", "first_order", "shortest"), LOSS)
def test_9_4_comparison_loss(
    x1: float, r: float, exact: tuple[float, float], first_order: tuple[float, float], shortest: tuple[float, float]
) -> None:
    pairs = [("x1", "x2", r)] if r else []
    inputs: dict[str, float | Estimate] = {"x1": measured(x1, 0.005), "x2": measured(0.0, 0.005)}
    result = one("1e6*(x1**2 + x2**2)", inputs, *pairs, order=1 if r else 2)
    assert (result.value, result.standard_uncertainty) == pytest.approx(first_order, abs=0.01)
    if result.second_order is not None:
        assert (result.second_order.value, result.second_order.standard_uncertainty) == pytest.approx(exact, abs=0.5)
    found = simulated(result)
    assert (found.mean, found.standard_uncertainty) == pytest.approx(exact, abs=0.5 + exact[1] / 250)
    assert_interval(found.shortest_interval, shortest, 1.0 + exact[1] / 40)
    assert result.agrees is False


def test_9_5_gauge_block() -> None:
    """Table 11, at 99 %: Monte Carlo 838 nm, 36 nm, [745, 932]."""
    inputs: dict[str, float | Estimate] = {
        "L_S": measured(50_000_623.0, 25.0, 18),
        "D": measured(215.0, 6.0, 24),
        "d_1": measured(0.0, 4.0, 5),
        "d_2": measured(0.0, 7.0, 8),
        "alpha_S": bounded(11.5e-6, 2e-6, "uniform"),
        "theta_0": measured(-0.1, 0.2),
        "Delta": bounded(0.0, 0.5, "arcsine"),
        "d_alpha": bounded(0.0, 1e-6, "curvilinear_trapezoid", {"half_width_uncertainty": 0.1e-6}),
        "d_theta": bounded(0.0, 0.050, "curvilinear_trapezoid", {"half_width_uncertainty": 0.025}),
    }
    text = "L_S + D + d_1 + d_2 - L_S*(d_alpha*(theta_0 + Delta) + alpha_S*d_theta) - 50000000"
    result = one(text, inputs, coverage=0.99)
    assert result.value == pytest.approx(838.0, abs=1e-6) and round(result.standard_uncertainty) == 32
    found = simulated(result)
    assert found.mean == pytest.approx(838.0, abs=0.2) and round(found.standard_uncertainty) == 36
    assert_interval(found.interval, (745.0, 932.0), 1.5)
    assert_interval(found.shortest_interval, (745.0, 932.0), 4.0)


# --- distributions

CDF = {
    "normal": (measured(1.0, 0.5), stats.norm(1.0, 0.5)),
    "t": (measured(1.0, 0.5, 4.5), stats.t(4.5, 1.0, 0.5)),
    "uniform": (bounded(1.0, 0.5, "uniform"), stats.uniform(0.5, 1.0)),
    "triangular": (bounded(1.0, 0.5, "triangular"), stats.triang(0.5, 0.5, 1.0)),
    "arcsine": (bounded(1.0, 0.5, "arcsine"), stats.arcsine(0.5, 1.0)),
    "trapezoidal": (bounded(1.0, 0.5, "trapezoidal", {"beta": 0.4}), stats.trapezoid(0.3, 0.7, 0.5, 1.0)),
}


@pytest.mark.parametrize("name", CDF)
def test_samples_have_the_distribution(name: str) -> None:
    """Kolmogorov's test. The seed is fixed, so it always has the same outcome."""
    estimate, distribution = CDF[name]
    drawn = estimate.draw(np.random.default_rng(3), 100_000)
    assert stats.kstest(drawn, distribution.cdf).pvalue > 0.01


def test_correlated_samples_have_their_correlation() -> None:
    """Corr(x, y) = 0.6, seen in the variances of the sum and the difference."""
    inputs: dict[str, float | Estimate] = {"x": measured(0.0, 1.0), "y": measured(0.0, 2.0), "z": measured(0.0, 1.0)}
    graph = replace(parse("p = x + y; m = x - y; s = x + z"), outputs=("p", "m", "s"))
    options = PropagateOptions(monte_carlo=Sampling(200_000))
    found = {n: simulated(r) for n, r in propagate(graph, inputs, [("x", "y", 0.6)], options).results.items()}
    assert found["p"].standard_uncertainty ** 2 == pytest.approx(5.0 + 2 * 0.6 * 2.0, rel=0.01)
    assert found["m"].standard_uncertainty ** 2 == pytest.approx(5.0 - 2 * 0.6 * 2.0, rel=0.01)
    assert found["s"].standard_uncertainty ** 2 == pytest.approx(2.0, rel=0.01)


def test_perfectly_correlated_samples() -> None:
    inputs: dict[str, float | Estimate] = {"x": measured(0.0, 1.0), "y": measured(0.0, 1.0)}
    assert simulated(one("x - y", inputs, ("x", "y", 1.0))).standard_uncertainty == pytest.approx(0.0, abs=1e-7)
    assert simulated(one("x + y", inputs, ("x", "y", -1.0))).standard_uncertainty == pytest.approx(0.0, abs=1e-7)


# --- reproducible


def test_seed_decides_the_samples() -> None:
    inputs: dict[str, float | Estimate] = {"x": measured(1.0, 0.1)}
    first, again, other = (one("x", inputs, monte_carlo=Sampling(1000, seed)).monte_carlo for seed in (1, 1, 2))
    assert first == again != other


def test_samples_depend_neither_on_blocks_nor_on_other_outputs(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs: dict[str, float | Estimate] = {
        "a": measured(1.0, 0.1),
        "b": measured(1.0, 0.1, 3),
        "c": bounded(1.0, 0.1, "trapezoidal", {"beta": 0.5}),
        "d": measured(1.0, 0.1),
    }
    text, pairs, options = "f = a*b*c*d; g = a/b", [("a", "d", 0.5)], PropagateOptions(monte_carlo=Sampling(10_000))
    whole = propagate(replace(parse(text), outputs=("f", "g")), inputs, pairs, options)
    alone = propagate(replace(parse(text), outputs=("g",)), inputs, pairs, options)
    assert whole.results["g"] == alone.results["g"]
    assert BLOCK_SAMPLES > 10_000
    monkeypatch.setattr("app.solvers.monte_carlo.BLOCK_SAMPLES", 777)
    assert whole == propagate(replace(parse(text), outputs=("f", "g")), inputs, pairs, options)


# --- coverage intervals


def test_ranks_of_jcgm_101() -> None:
    """7.7.1: q is p M if that is a whole number, else the whole part of p M + 1/2."""
    assert coverage_ranks(1_000_000, 0.95) == 950_000
    assert coverage_ranks(1_000_000, 0.99) == 990_000
    assert coverage_ranks(101, 0.95) == 96  # 95.95 + 1/2


def test_intervals_of_few_samples_by_hand() -> None:
    """M = 10 and p = 0.8: q = 8, r = (10 - 8)/2 = 1, so the interval reaches from the first to the ninth number."""
    found = one("x", {"x": measured(0.0, 1.0)}, coverage=0.8, monte_carlo=Sampling(10))
    generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence(0).spawn(1)[0]))
    numbers = np.sort(generator.standard_normal(10))
    simulation = simulated(found)
    assert simulation.interval == (numbers[0], numbers[8])
    widths = numbers[8:] - numbers[:2]
    assert simulation.shortest_interval == (numbers[np.argmin(widths)], numbers[np.argmin(widths) + 8])
    assert simulation.mean == pytest.approx(numbers.mean(), rel=1e-13)
    assert simulation.standard_uncertainty == pytest.approx(numbers.std(ddof=1), rel=1e-13)


@pytest.mark.parametrize(
    ("uncertainty", "tolerance"),
    [
        # JCGM 101, 7.9.2: half a unit of the second digit.
        (0.35, 0.005),
        (2.0, 0.05),
        (10.1, 0.5),
        (0.0754, 0.0005),
        (0.0999, 0.005),  # which is 0.10
        (3.5e-200, 0.5e-201),
    ],
)
def test_agreement_to_two_digits(uncertainty: float, tolerance: float) -> None:
    assert intervals_agree((1.0 * uncertainty, 0.0), (1.0 * uncertainty, 0.99 * tolerance), uncertainty)
    assert not intervals_agree((0.0, 0.0), (0.0, 1.01 * tolerance), uncertainty)
    assert not intervals_agree((0.0, 0.0), (1.01 * tolerance, 0.0), uncertainty)


def test_agreement_without_uncertainty() -> None:
    result = one("x", {"x": 3.0}, monte_carlo=Sampling(100))
    assert simulated(result) == Simulation(3.0, 0.0, (3.0, 3.0), (3.0, 3.0)) and result.agrees is True


def test_samples_of_any_size() -> None:
    for size in (1e-300, 1e300):
        found = simulated(one("x", {"x": measured(0.0, size)}, monte_carlo=Sampling(10_000)))
        assert found.standard_uncertainty == pytest.approx(size, rel=0.03)


# --- what is wrong


def test_correlated_inputs_must_be_normal() -> None:
    for other in (bounded(1.0, 0.1, "uniform"), measured(1.0, 0.1, 5)):
        with pytest.raises(InvalidArgument, match="normal inputs only") as error:
            one("x + y", {"x": measured(1.0, 0.1), "y": other}, ("x", "y", 0.5), monte_carlo=Sampling(100))
        assert error.value.place == ("inputs", "y")


@pytest.mark.parametrize(("samples", "coverage"), [(5, 0.95), (2, 0.5), (1000, 0.99999), (10, 1e-9)])
def test_too_few_samples(samples: int, coverage: float) -> None:
    if (samples, coverage) == (2, 0.5):
        assert coverage_ranks(samples, coverage) == 1
        return
    with pytest.raises(InvalidArgument, match="too few") as error:
        one("x", {"x": measured(1.0, 0.1)}, coverage=coverage, monte_carlo=Sampling(samples))
    assert error.value.place == ("monte_carlo", "samples")
    needed = int(error.value.detail.rpartition("at least ")[2].replace(",", ""))
    assert coverage_ranks(needed, coverage) >= 1


def test_sample_outside_the_domain_is_named() -> None:
    with pytest.raises(NonFinite, match=r"Monte Carlo sample \d+: the value of 'output' is NaN.*log\(-"):
        one("log(x)", {"x": measured(1.0, 0.5)})


def test_input_without_a_variance_is_said() -> None:
    result = one("x + y", {"x": measured(1.0, 0.1, 2), "y": measured(1.0, 0.1)}, monte_carlo=Sampling(1000))
    assert "no variance" in result.messages[0]
    assert not one("x + y", {"x": measured(1.0, 0.1, 3), "y": 1.0}, monte_carlo=Sampling(1000)).messages


def test_checkpoint_stops_the_samples() -> None:
    class StopError(Exception):
        pass

    calls = []

    def stop() -> None:
        calls.append(0)
        if len(calls) > 20:
            raise StopError

    with pytest.raises(StopError):
        propagate(parse("x*x"), {"x": measured(1.0, 0.1)}, (), PropagateOptions(monte_carlo=MILLION), checkpoint=stop)


def test_no_number_of_samples_is_enough_for_a_coverage_of_nearly_nothing() -> None:
    with pytest.raises(InvalidArgument, match="too few") as error:
        coverage_ranks(1000, 5e-324)
    assert "at least" not in error.value.detail
