"""Expressions that several tests use."""

from tests.contract.wire import leaf, node

MICROGRAD = """\
c = a + b
d = a*b + b**3
c1 = c + (c + 1)
c2 = c1 + (1 + c1 + (-a))
d1 = d + (d*2 + relu(b + a))
d2 = d1 + (3*d1 + relu(b - a))
e = c2 - d2
f = e**2
g = f/2.0 + 10.0/f"""

MICROGRAD_VALUE, MICROGRAD_BY_A, MICROGRAD_BY_B = 24.70408163265306, 138.83381924198252, 645.5772594752186
"""The example of micrograd's README at commit c911406, https://github.com/karpathy/micrograd, and its published results."""

MICROGRAD_NODES = [
    leaf("a", -4.0),
    leaf("b", 2.0),
    node("c", "add", "a", "b"),
    node("ab", "mul", "a", "b"),
    node("b3", "pow", "b", 3),
    node("d", "add", "ab", "b3"),
    node("c+1", "add", "c", 1),
    node("c'", "add", "c", "c+1"),
    node("-a", "neg", "a"),
    node("1+c'", "add", 1, "c'"),
    node("1+c'-a", "add", "1+c'", "-a"),
    node("c''", "add", "c'", "1+c'-a"),
    node("2d", "mul", "d", 2),
    node("b+a", "add", "b", "a"),
    node("relu(b+a)", "relu", "b+a"),
    node("2d+", "add", "2d", "relu(b+a)"),
    node("d'", "add", "d", "2d+"),
    node("3d'", "mul", 3, "d'"),
    node("b-a", "sub", "b", "a"),
    node("relu(b-a)", "relu", "b-a"),
    node("3d'+", "add", "3d'", "relu(b-a)"),
    node("d''", "add", "d'", "3d'+"),
    node("e", "sub", "c''", "d''"),
    node("f", "pow", "e", 2),
    node("f/2", "divide", "f", 2.0),
    node("10/f", "divide", 10.0, "f"),
    node("g", "add", "f/2", "10/f"),
]

TANGLED = "sin(x*y)*exp(z/x) + log(x + y**2)*atan2(y, z) + pow(x, y) + logsumexp(x, y, z)"
POINT = {"x": 1.3, "y": -0.7, "z": 0.4}

TEXTS: dict[str, tuple[str, dict[str, float]]] = {
    "micrograd": (MICROGRAD, {"a": -4.0, "b": 2.0}),
    "tangled": (TANGLED, POINT),
    "name": ("x", {"x": 0.1}),
    "assignment": ("y = x", {"x": 0.1}),
    "number": ("4.5", {}),
    "calls": ("mean(x, y, 3) if x > y else prod(x, y, x) / 3", {"x": 1.7, "y": 0.3}),
    "neuron": ("h = tanh(w*x + b); (h - y)**2", {"w": 0.3, "x": -1.7, "b": 0.2, "y": 1.0}),
    "unicode": ("α = β*β; α/3", {"β": 0.7}),
}
"""Texts with their inputs, by name."""
