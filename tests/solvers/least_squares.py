"""Test functions of J. Moré, B. Garbow and K. Hillstrom, Testing Unconstrained Optimization Software, ACM TOMS 7 (1981) 17-41.

Numbers (1) to (18) of section 3, each with its standard start and the minima that the paper lists.
"""

import math
from dataclasses import dataclass, field

PI = repr(math.pi)


@dataclass(frozen=True)
class LeastSquares:
    """A sum of squared residuals: a text, the numbers or lists in it, the start, and the minima of the paper."""

    name: str
    expression: str
    start: dict[str, float]
    minima: tuple[float, ...]
    inputs: dict[str, object] = field(default_factory=dict)


def variables(*numbers: float) -> dict[str, float]:
    """Numbers named x1, x2, ..."""
    return {f"x{k + 1}": float(number) for k, number in enumerate(numbers)}


def counted(count: int, first: int = 1) -> list[float]:
    return [float(k) for k in range(first, first + count)]


BARD = [0.14, 0.18, 0.22, 0.25, 0.29, 0.32, 0.35, 0.39, 0.37, 0.58, 0.73, 0.96, 1.34, 2.10, 4.39]
GAUSSIAN = [0.0009, 0.0044, 0.0175, 0.0540, 0.1295, 0.2420, 0.3521, 0.3989]
MEYER = [34780, 28610, 23650, 19630, 16370, 13720, 11540, 9744, 8261, 7030, 6005, 5147, 4427, 3820, 3307, 2872]
KOWALIK_Y = [0.1957, 0.1947, 0.1735, 0.1600, 0.0844, 0.0627, 0.0456, 0.0342, 0.0323, 0.0235, 0.0246]
KOWALIK_U = [4.0, 2.0, 1.0, 0.5, 0.25, 0.167, 0.125, 0.1, 0.0833, 0.0714, 0.0625]
OSBORNE = [
    0.844, 0.908, 0.932, 0.936, 0.925, 0.908, 0.881, 0.850, 0.818, 0.784, 0.751, 0.718, 0.685, 0.658, 0.628, 0.603, 0.580,
    0.558, 0.538, 0.522, 0.506, 0.490, 0.478, 0.467, 0.457, 0.448, 0.438, 0.431, 0.424, 0.420, 0.414, 0.411, 0.406,
]  # fmt: skip
GULF_T = [k / 100 for k in range(1, 100)]
BIGGS_T = [k / 10 for k in range(1, 14)]

PROBLEMS = [
    LeastSquares("Rosenbrock", "(10*(x2 - x1**2))**2 + (1 - x1)**2", variables(-1.2, 1), (0.0,)),
    LeastSquares(
        "Freudenstein and Roth",
        "(-13 + x1 + ((5 - x2)*x2 - 2)*x2)**2 + (-29 + x1 + ((x2 + 1)*x2 - 14)*x2)**2",
        variables(0.5, -2),
        (0.0, 48.9842),
    ),
    LeastSquares("Powell badly scaled", "(1e4*x1*x2 - 1)**2 + (exp(-x1) + exp(-x2) - 1.0001)**2", variables(0, 1), (0.0,)),
    LeastSquares("Brown badly scaled", "(x1 - 1e6)**2 + (x2 - 2e-6)**2 + (x1*x2 - 2)**2", variables(1, 1), (0.0,)),
    LeastSquares(
        "Beale",
        "(1.5 - x1*(1 - x2))**2 + (2.25 - x1*(1 - x2**2))**2 + (2.625 - x1*(1 - x2**3))**2",
        variables(1, 1),
        (0.0,),
    ),
    LeastSquares(
        "Jennrich and Sampson",
        "(2 + 2*i - (exp(i*x1) + exp(i*x2)))**2",
        variables(0.3, 0.4),
        (124.362,),
        {"i": counted(10)},
    ),
    LeastSquares(
        "Helical valley",
        f"theta = atan(x2/x1)/(2*{PI}) + (0.5 if x1 < 0 else 0)\n"
        "(10*(x3 - 10*theta))**2 + (10*(sqrt(x1**2 + x2**2) - 1))**2 + x3**2",
        variables(-1, 0, 0),
        (0.0,),
    ),
    LeastSquares(
        "Bard",
        "(y - (x1 + u/(v*x2 + w*x3)))**2",
        variables(1, 1, 1),
        (8.21487e-3, 17.4286),
        {"y": BARD, "u": counted(15), "v": [16.0 - u for u in counted(15)], "w": [min(u, 16 - u) for u in counted(15)]},
    ),
    LeastSquares(
        "Gaussian",
        "(x1*exp(-x2*(t - x3)**2/2) - y)**2",
        variables(0.4, 1, 0),
        (1.12793e-8,),
        {"t": [(8 - i) / 2 for i in range(1, 16)], "y": GAUSSIAN + GAUSSIAN[-2::-1]},
    ),
    LeastSquares(
        "Meyer",
        "(x1*exp(x2/(t + x3)) - y)**2",
        variables(0.02, 4000, 250),
        (87.9458,),
        {"t": [45.0 + 5 * i for i in range(1, 17)], "y": [float(y) for y in MEYER]},
    ),
    LeastSquares(
        "Gulf research and development",
        "(exp(-abs(y - x2)**x3/x1) - t)**2",
        variables(5, 2.5, 0.15),
        (0.0,),
        {"t": GULF_T, "y": [25 + (-50 * math.log(t)) ** (2 / 3) for t in GULF_T]},
    ),
    LeastSquares(
        "Box three-dimensional",
        "(exp(-t*x1) - exp(-t*x2) - x3*(exp(-t) - exp(-10*t)))**2",
        variables(0, 10, 20),
        (0.0,),
        {"t": [i / 10 for i in range(1, 11)]},
    ),
    LeastSquares(
        "Powell singular",
        "(x1 + 10*x2)**2 + 5*(x3 - x4)**2 + (x2 - 2*x3)**4 + 10*(x1 - x4)**4",
        variables(3, -1, 0, 1),
        (0.0,),
    ),
    LeastSquares(
        "Wood",
        "(10*(x2 - x1**2))**2 + (1 - x1)**2 + 90*(x4 - x3**2)**2 + (1 - x3)**2 + 10*(x2 + x4 - 2)**2 + (x2 - x4)**2/10",
        variables(-3, -1, -3, -1),
        (0.0,),
    ),
    LeastSquares(
        "Kowalik and Osborne",
        "(y - x1*(u**2 + u*x2)/(u**2 + u*x3 + x4))**2",
        variables(0.25, 0.39, 0.415, 0.39),
        (3.07505e-4, 1.02734e-3),
        {"y": KOWALIK_Y, "u": KOWALIK_U},
    ),
    LeastSquares(
        "Brown and Dennis",
        "((x1 + t*x2 - exp(t))**2 + (x3 + x4*sin(t) - cos(t))**2)**2",
        variables(25, 5, -5, -1),
        (85822.2,),
        {"t": [i / 5 for i in range(1, 21)]},
    ),
    LeastSquares(
        "Osborne 1",
        "(y - (x1 + x2*exp(-t*x4) + x3*exp(-t*x5)))**2",
        variables(0.5, 1.5, -1, 0.01, 0.02),
        (5.46489e-5,),
        {"y": OSBORNE, "t": [10.0 * i for i in range(33)]},
    ),
    LeastSquares(
        "Biggs EXP6",
        "(x3*exp(-t*x1) - x4*exp(-t*x2) + x6*exp(-t*x5) - y)**2",
        variables(1, 2, 1, 1, 1, 1),
        (5.65565e-3, 0.0),
        {"t": BIGGS_T, "y": [math.exp(-t) - 5 * math.exp(-10 * t) + 3 * math.exp(-4 * t) for t in BIGGS_T]},
    ),
]
