"""Random MathJSON expressions of the functions that the project reads, and their values by Compute Engine."""

import json
import random
import subprocess
from pathlib import Path
from typing import Any

EVALUATE = Path(__file__).parent / "recorded" / "evaluate.mjs"

UNARY = (
    *("Negate", "Square", "Exp", "Exp2", "Sin", "Cos", "Tan", "Sec", "Csc", "Cot", "Arctan", "Arccot", "Sinh", "Cosh", "Tanh"),
    *("Sech", "Csch", "Coth", "Arsinh", "Arcsch", "Haversine", "Degrees", "Abs", "Sign", "Erf", "Erfc", "Digamma", "Trigamma"),
    *("Sqrt", "Ln", "Log", "Lb", "Lg", "Log2", "Log10", "GammaLn", "Arcosh", "Arcsec", "Arccsc", "Arcoth"),
    *("Arcsin", "Arccos", "Artanh", "Arsech"),
)
AT_LEAST_1 = {"Sqrt", "Ln", "Log", "Lb", "Lg", "Log2", "Log10", "GammaLn", "Arcosh", "Arcsec", "Arccsc", "Arcoth"}
AT_MOST_1 = {"Arcsin", "Arccos", "Artanh", "Arsech"}
MANY = ("Add", "Multiply", "Min", "Max", "Mean", "InvisibleOperator")
COMPARISONS = ("Less", "LessEqual", "Greater", "GreaterEqual", "Equal", "NotEqual")
NAMES = ("x", "y", "z")
CONSTANTS = ("Pi", "ExponentialE", "Half", "GoldenRatio", "EulerGamma", "CatalanConstant", "e")


class Cases:
    """A source of random expressions; the same seed gives the same ones."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def case(self) -> dict[str, Any]:
        """An expression, and numbers for its names."""
        inputs = {name: round(self.random.uniform(-3.0, 3.0), 3) for name in NAMES}
        return {"expression": self.call(self.random.randint(2, 4)), "inputs": inputs}

    def leaf(self) -> Any:
        choice = self.random.random()
        if choice < 0.6:
            return self.random.choice(NAMES)
        if choice < 0.75:
            return self.random.choice(CONSTANTS)
        if choice < 0.85:
            return ["Rational", self.random.randint(-9, 9), self.random.randint(1, 9)]
        return self.random.choice([self.random.randint(-5, 5), round(self.random.uniform(-4.0, 4.0), 2)])

    def number(self, depth: int) -> Any:
        return self.leaf() if depth <= 0 or self.random.random() < 0.1 else self.call(depth)

    def call(self, depth: int) -> Any:
        """A call of a random function."""
        kind = self.random.random()
        if kind < 0.4:
            return self.unary(depth)
        if kind < 0.65:
            return [self.random.choice(MANY), *(self.number(depth - 1) for _ in range(self.random.randint(2, 4)))]
        if kind < 0.85:
            return self.binary(depth)
        return self.conditional(depth)

    def unary(self, depth: int) -> Any:
        name = self.random.choice(UNARY)
        argument = self.number(depth - 1)
        if name in AT_LEAST_1:
            argument = ["Add", ["Square", argument], 1.25]
        elif name in AT_MOST_1:
            argument = ["Divide", 1, ["Add", ["Square", argument], 1.25]]
        return [name, argument]

    def binary(self, depth: int) -> Any:
        a, b = self.number(depth - 1), self.number(depth - 1)
        positive = ["Add", ["Abs", a], 0.5]
        return self.random.choice(
            [
                ["Subtract", a, b],
                ["Divide", a, b],
                ["Power", positive, b],
                ["Power", a, self.random.randint(2, 4)],
                ["Power", a, ["Rational", 1, self.random.choice([3, 5])]],
                ["Power", "ExponentialE", a],
                ["Power", positive, ["Rational", self.random.choice([1, 3, 5]), 2]],
                ["Root", positive, self.random.randint(2, 5)],
                ["Root", a, 3],
                ["Arctan2", a, b],
                ["Hypot", a, b],
                ["Log", positive, self.random.choice([2, 3, 10])],
                ["Ln", positive, ["Add", ["Square", b], 2]],
                ["PolyGamma", self.random.randint(0, 3), positive],
                ["Clamp", a, -1, 2],
                ["InvisibleOperator", self.random.randint(-3, 3), ["Rational", 1, 3]],
                ["InvisibleOperator", 2, ["Delimiter", a]],
                ["Max", ["List", a, b]],
            ]
        )

    def conditional(self, depth: int) -> Any:
        a, b = self.number(depth - 1), self.number(depth - 1)
        return self.random.choice(
            [
                ["If", self.truth(depth - 1), a, b],
                ["Which", self.truth(depth - 1), a, self.truth(depth - 1), b, "True", 1],
                ["Boole", self.truth(depth - 1)],
            ]
        )

    def truth(self, depth: int) -> Any:
        """A comparison, or several in one."""
        kind = self.random.random()
        if depth > 0 and kind < 0.3:
            return [self.random.choice(("And", "Or")), self.truth(depth - 1), self.truth(depth - 1)]
        if depth > 0 and kind < 0.4:
            return ["Not", self.truth(depth - 1)]
        if kind < 0.5:
            return ["Less", *(self.number(depth - 1) for _ in range(3))]
        return [self.random.choice(COMPARISONS), self.number(depth - 1), self.number(depth - 1)]


def random_cases(seed: int, count: int) -> list[dict[str, Any]]:
    """So many expressions with inputs."""
    cases = Cases(seed)
    return [cases.case() for _ in range(count)]


def evaluated(cases: list[dict[str, Any]], modules: Path) -> list[float | None]:
    """Their values by Compute Engine, installed below `modules`; None where the value is no finite real number."""
    run = subprocess.run(
        ["node", str(EVALUATE), str(modules)], input=json.dumps(cases), capture_output=True, text=True, check=True, timeout=600
    )
    values: list[float | None] = json.loads(run.stdout)
    return values
