"""Test problems of W. Hock and K. Schittkowski, Test Examples for Nonlinear Programming Codes (1981), by their numbers.

Each has the start and the value at the minimum that the book gives.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from app.solvers.minimize import Bounds

R2, R3, R7 = math.sqrt(2.0), math.sqrt(3.0), math.sqrt(7.0)


@dataclass(frozen=True)
class Constrained:
    """A problem: the text to minimize, its start, the published value, equations (= 0), inequalities (>= 0), bounds."""

    number: int
    expression: str
    start: Sequence[float]
    value: float
    equations: Sequence[str] = ()
    inequalities: Sequence[str] = ()
    bounds: dict[str, Bounds] = field(default_factory=dict)

    @property
    def initial(self) -> dict[str, float]:
        """The start by name."""
        return {f"x{k + 1}": float(number) for k, number in enumerate(self.start)}


def within(low: float | None, high: float | None, count: int, first: int = 1) -> dict[str, Bounds]:
    """The same bounds for several variables."""
    return {f"x{k}": (low, high) for k in range(first, first + count)}


ROSENBROCK = "100*(x2 - x1**2)**2 + (1 - x1)**2"
WOOD = (
    "100*(x2 - x1**2)**2 + (1 - x1)**2 + 90*(x4 - x3**2)**2 + (1 - x3)**2"
    " + 10.1*((x2 - 1)**2 + (x4 - 1)**2) + 19.8*(x2 - 1)*(x4 - 1)"
)
SQUARES = "x1**2 + x2**2 + x3**2 + x4**2 + x5**2"
LINEAR = ("x1 + 3*x2", "x3 + x4 - 2*x5", "x2 - x5")
POWELL = (f"{SQUARES} - 10", "x2*x3 - 5*x4*x5", "x1**3 + x2**3 + 1")

PROBLEMS = [
    Constrained(1, ROSENBROCK, (-2, 1), 0.0, bounds={"x2": (-1.5, None)}),
    Constrained(3, "x2 + 1e-5*(x2 - x1)**2", (10, 1), 0.0, bounds={"x2": (0, None)}),
    Constrained(4, "(x1 + 1)**3/3 + x2", (1.125, 0.125), 8 / 3, bounds={"x1": (1, None), "x2": (0, None)}),
    Constrained(
        5,
        "sin(x1 + x2) + (x1 - x2)**2 - 1.5*x1 + 2.5*x2 + 1",
        (0, 0),
        -R3 / 2 - math.pi / 3,
        bounds={"x1": (-1.5, 4), "x2": (-3, 3)},
    ),
    Constrained(6, "(1 - x1)**2", (-1.2, 1), 0.0, ("10*(x2 - x1**2)",)),
    Constrained(7, "log(1 + x1**2) - x2", (2, 2), -R3, ("(1 + x1**2)**2 + x2**2 - 4",)),
    Constrained(8, "-1 + 0*x1 + 0*x2", (2, 1), -1.0, ("x1**2 + x2**2 - 25", "x1*x2 - 9")),
    Constrained(9, "sin(pi*x1/12)*cos(pi*x2/16)", (0, 0), -0.5, ("4*x1 - 3*x2",)),
    Constrained(10, "x1 - x2", (-10, 10), -1.0, (), ("-3*x1**2 + 2*x1*x2 - x2**2 + 1",)),
    Constrained(11, "(x1 - 5)**2 + x2**2 - 25", (4.9, 0.1), -8.498464223, (), ("-x1**2 + x2",)),
    Constrained(12, "0.5*x1**2 + x2**2 - x1*x2 - 7*x1 - 7*x2", (0, 0), -30.0, (), ("25 - 4*x1**2 - x2**2",)),
    Constrained(14, "(x1 - 2)**2 + (x2 - 1)**2", (2, 2), 9 - 2.875 * R7, ("x1 - 2*x2 + 1",), ("-x1**2/4 - x2**2 + 1",)),
    Constrained(15, ROSENBROCK, (-2, 1), 306.5, (), ("x1*x2 - 1", "x1 + x2**2"), {"x1": (None, 0.5)}),
    Constrained(21, "0.01*x1**2 + x2**2 - 100", (-1, -1), -99.96, (), ("10*x1 - x2 - 10",), {"x1": (2, 50), "x2": (-50, 50)}),
    Constrained(22, "(x1 - 2)**2 + (x2 - 1)**2", (2, 2), 1.0, (), ("-x1 - x2 + 2", "-x1**2 + x2")),
    Constrained(
        24,
        f"((x1 - 3)**2 - 9)*x2**3/(27*{R3!r})",
        (1, 0.5),
        -1.0,
        (),
        (f"x1/{R3!r} - x2", f"x1 + {R3!r}*x2", f"-x1 - {R3!r}*x2 + 6"),
        within(0, None, 2),
    ),
    Constrained(26, "(x1 - x2)**2 + (x2 - x3)**4", (-2.6, 2, 2), 0.0, ("(1 + x2**2)*x1 + x3**4 - 3",)),
    Constrained(28, "(x1 + x2)**2 + (x2 + x3)**2", (-4, 1, 1), 0.0, ("x1 + 2*x2 + 3*x3 - 1",)),
    Constrained(29, "-x1*x2*x3", (1, 1, 1), -16 * R2, (), ("-x1**2 - 2*x2**2 - 4*x3**2 + 48",)),
    Constrained(
        30,
        "x1**2 + x2**2 + x3**2",
        (1, 1, 1),
        1.0,
        (),
        ("x1**2 + x2**2 - 1",),
        {"x1": (1, 10), "x2": (-10, 10), "x3": (-10, 10)},
    ),
    Constrained(
        32,
        "(x1 + 3*x2 + x3)**2 + 4*(x1 - x2)**2",
        (0.1, 0.7, 0.2),
        1.0,
        ("1 - x1 - x2 - x3",),
        ("6*x2 + 4*x3 - x1**3 - 3",),
        within(0, None, 3),
    ),
    Constrained(
        35,
        "9 - 8*x1 - 6*x2 - 4*x3 + 2*x1**2 + 2*x2**2 + x3**2 + 2*x1*x2 + 2*x1*x3",
        (0.5, 0.5, 0.5),
        1 / 9,
        (),
        ("3 - x1 - x2 - 2*x3",),
        within(0, None, 3),
    ),
    Constrained(
        36,
        "-x1*x2*x3",
        (10, 10, 10),
        -3300.0,
        (),
        ("72 - x1 - 2*x2 - 2*x3",),
        {"x1": (0, 20), "x2": (0, 11), "x3": (0, 42)},
    ),
    Constrained(37, "-x1*x2*x3", (10, 10, 10), -3456.0, (), ("72 - x1 - 2*x2 - 2*x3", "x1 + 2*x2 + 2*x3"), within(0, 42, 3)),
    Constrained(38, WOOD, (-3, -1, -3, -1), 0.0, bounds=within(-10, 10, 4)),
    Constrained(39, "-x1", (2, 2, 2, 2), -1.0, ("x2 - x1**3 - x3**2", "x1**2 - x2 - x4**2")),
    Constrained(40, "-x1*x2*x3*x4", (0.8, 0.8, 0.8, 0.8), -0.25, ("x1**3 + x2**2 - 1", "x1**2*x4 - x3", "x4**2 - x2")),
    Constrained(
        42,
        "(x1 - 1)**2 + (x2 - 2)**2 + (x3 - 3)**2 + (x4 - 4)**2",
        (1, 1, 1, 1),
        28 - 10 * R2,
        ("x1 - 2", "x3**2 + x4**2 - 2"),
    ),
    Constrained(
        43,
        "x1**2 + x2**2 + 2*x3**2 + x4**2 - 5*x1 - 5*x2 - 21*x3 + 7*x4",
        (0, 0, 0, 0),
        -44.0,
        (),
        (
            "8 - x1**2 - x2**2 - x3**2 - x4**2 - x1 + x2 - x3 + x4",
            "10 - x1**2 - 2*x2**2 - x3**2 - 2*x4**2 + x1 + x4",
            "5 - 2*x1**2 - x2**2 - x3**2 - 2*x1 + x2 + x4",
        ),
    ),
    Constrained(45, "2 - x1*x2*x3*x4*x5/120", (2, 2, 2, 2, 2), 1.0, bounds={f"x{k}": (0, k) for k in range(1, 6)}),
    Constrained(
        48,
        "(x1 - 1)**2 + (x2 - x3)**2 + (x4 - x5)**2",
        (3, 5, -3, 2, -2),
        0.0,
        ("x1 + x2 + x3 + x4 + x5 - 5", "x3 - 2*(x4 + x5) + 3"),
    ),
    Constrained(
        50,
        "(x1 - x2)**2 + (x2 - x3)**2 + (x3 - x4)**4 + (x4 - x5)**2",
        (35, -31, 11, 5, -5),
        0.0,
        ("x1 + 2*x2 + 3*x3 - 6", "x2 + 2*x3 + 3*x4 - 6", "x3 + 2*x4 + 3*x5 - 6"),
    ),
    Constrained(52, "(4*x1 - x2)**2 + (x2 + x3 - 2)**2 + (x4 - 1)**2 + (x5 - 1)**2", (2, 2, 2, 2, 2), 1859 / 349, LINEAR),
    Constrained(
        53,
        "(x1 - x2)**2 + (x2 + x3 - 2)**2 + (x4 - 1)**2 + (x5 - 1)**2",
        (2, 2, 2, 2, 2),
        176 / 43,
        LINEAR,
        bounds=within(-10, 10, 5),
    ),
    Constrained(
        60,
        "(x1 - 1)**2 + (x1 - x2)**2 + (x2 - x3)**4",
        (2, 2, 2),
        0.03256820025,
        (f"x1*(1 + x2**2) + x3**4 - 4 - 3*{R2!r}",),
        bounds=within(-10, 10, 3),
    ),
    Constrained(
        63,
        "1000 - x1**2 - 2*x2**2 - x3**2 - x1*x2 - x1*x3",
        (2, 2, 2),
        961.7151721,
        ("8*x1 + 14*x2 + 7*x3 - 56", "x1**2 + x2**2 + x3**2 - 25"),
        bounds=within(0, None, 3),
    ),
    Constrained(
        64,
        "5*x1 + 50000/x1 + 20*x2 + 72000/x2 + 10*x3 + 144000/x3",
        (1, 1, 1),
        6299.842428,
        (),
        ("1 - 4/x1 - 32/x2 - 120/x3",),
        within(1e-5, None, 3),
    ),
    Constrained(
        65,
        "(x1 - x2)**2 + (x1 + x2 - 10)**2/9 + (x3 - 5)**2",
        (-5, 5, 0),
        0.9535288567,
        (),
        ("48 - x1**2 - x2**2 - x3**2",),
        {"x1": (-4.5, 4.5), "x2": (-4.5, 4.5), "x3": (-5, 5)},
    ),
    Constrained(
        66,
        "0.2*x3 - 0.8*x1",
        (0, 1.05, 2.9),
        0.5181632741,
        (),
        ("x2 - exp(x1)", "x3 - exp(x2)"),
        {"x1": (0, 100), "x2": (0, 100), "x3": (0, 10)},
    ),
    Constrained(
        71,
        "x1*x4*(x1 + x2 + x3) + x3",
        (1, 5, 5, 1),
        17.0140173,
        ("x1**2 + x2**2 + x3**2 + x4**2 - 40",),
        ("x1*x2*x3*x4 - 25",),
        within(1, 5, 4),
    ),
    Constrained(
        72,
        "1 + x1 + x2 + x3 + x4",
        (1, 1, 1, 1),
        727.67937,
        (),
        ("0.0401 - 4/x1 - 2.25/x2 - 1/x3 - 0.25/x4", "0.010085 - 0.16/x1 - 0.36/x2 - 0.64/x3 - 0.64/x4"),
        {f"x{k}": (0.001, (5 - k) * 1e5) for k in range(1, 5)},
    ),
    Constrained(
        76,
        "x1**2 + 0.5*x2**2 + x3**2 + 0.5*x4**2 - x1*x3 + x3*x4 - x1 - 3*x2 + x3 - x4",
        (0.5, 0.5, 0.5, 0.5),
        -4.681818182,
        (),
        ("5 - x1 - 2*x2 - x3 - x4", "4 - 3*x1 - x2 - 2*x3 + x4", "x2 + 4*x3 - 1.5"),
        within(0, None, 4),
    ),
    Constrained(
        77,
        "(x1 - 1)**2 + (x1 - x2)**2 + (x3 - 1)**2 + (x4 - 1)**4 + (x5 - 1)**6",
        (2, 2, 2, 2, 2),
        0.24150513,
        (f"x1**2*x4 + sin(x4 - x5) - 2*{R2!r}", f"x2 + x3**4*x4**2 - 8 - {R2!r}"),
    ),
    Constrained(78, "x1*x2*x3*x4*x5", (-2, 1.5, 2, -1, -1), -2.91970041, POWELL),
    Constrained(
        79,
        "(x1 - 1)**2 + (x1 - x2)**2 + (x2 - x3)**2 + (x3 - x4)**4 + (x4 - x5)**4",
        (2, 2, 2, 2, 2),
        0.0787768209,
        (f"x1 + x2**2 + x3**3 - 2 - 3*{R2!r}", f"x2 - x3**2 + x4 + 2 - 2*{R2!r}", "x1*x5 - 2"),
    ),
    Constrained(
        80,
        "exp(x1*x2*x3*x4*x5)",
        (-2, 2, 2, -1, -1),
        0.0539498478,
        POWELL,
        bounds={**within(-2.3, 2.3, 2), **within(-3.2, 3.2, 3, 3)},
    ),
    Constrained(
        100,
        "(x1 - 10)**2 + 5*(x2 - 12)**2 + x3**4 + 3*(x4 - 11)**2 + 10*x5**6 + 7*x6**2 + x7**4 - 4*x6*x7 - 10*x6 - 8*x7",
        (1, 2, 0, 4, 0, 1, 1),
        680.6300573,
        (),
        (
            "127 - 2*x1**2 - 3*x2**4 - x3 - 4*x4**2 - 5*x5",
            "282 - 7*x1 - 3*x2 - 10*x3**2 - x4 + x5",
            "196 - 23*x1 - x2**2 - 6*x6**2 + 8*x7",
            "-4*x1**2 - x2**2 + 3*x1*x2 - 2*x3**2 - 5*x6 + 11*x7",
        ),
    ),
    Constrained(
        110,
        " + ".join(f"log(x{k} - 2)**2 + log(10 - x{k})**2" for k in range(1, 11))
        + f" - ({'*'.join(f'x{k}' for k in range(1, 11))})**0.2",
        (9,) * 10,
        -45.77846971,
        bounds=within(2.001, 9.999, 10),
    ),
]
