"""Write a network as source code with its weights: a function of a row of inputs, or of rows, to scores.

`LANGUAGES` is the table of languages. All numbers are written so that they are read back exactly.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import orjson

from app.engine.interruption import Checkpoint, never
from app.formats import languages
from app.formats.code import Language as CodeLanguage
from app.formats.code import further_functions
from app.nn.model import LINEAR, Floats, Layer, Model

NUMBERS_PER_LINE = 8
NUMBERS_AT_ONCE = 1 << 12
"""How many numbers are written at once, some lines: about a millisecond."""
CHARACTERS_PER_PIECE = 1 << 18
PREFIX = "network"
"""What the names of further functions begin with."""
MAX_ON_STACK = 4096
"""The neurons of the largest layer whose values a C function has on its stack."""


@dataclass(frozen=True, slots=True)
class Language:
    """How a network is written in a language.

    Attributes:
        suffix: of the file's name.
        activations: each activation as an expression of `x`.
        write: the lines of the file.
        code: the language, whose further functions the activations call as `network_erf(x)`; None if they call none.
    """

    suffix: str
    activations: Mapping[str, str]
    write: "Callable[[Language, Model], Iterator[str]]"
    code: CodeLanguage | None = None


def write_source(model: Model, language: str, *, checkpoint: Checkpoint = never) -> Iterator[bytes]:
    """Yield the source code of a network in one of `LANGUAGES`, as UTF-8, in pieces."""
    row = LANGUAGES[language]
    lines: list[str] = []
    characters = 0
    for line in row.write(row, model):
        checkpoint()
        lines.append(line)
        characters += len(line)
        if characters > CHARACTERS_PER_PIECE:
            yield _encoded(lines)
            lines, characters = [], 0
    if lines:
        yield _encoded(lines)


def _encoded(lines: list[str]) -> bytes:
    return ("\n".join(lines) + "\n").encode()


def special_functions(language: Language, model: Model) -> list[str]:
    """The source of the functions that the language lacks and a model needs, each after those that it needs itself."""
    assert language.code is not None
    used = [language.activations[name] for name in _names(model)]
    ops = {name for activation in used for name in re.findall(rf"\b{PREFIX}_(\w+)\(", activation)}
    return [source.strip("\n") for source in further_functions(language.code, ops, PREFIX)]


def _numbers(numbers: Floats, opening: str, indent: str, closing: str) -> Iterator[str]:
    """The lines of a list of numbers, each with as many digits as it needs. Some lines come as one text.

    orjson writes numbers as Python does, and much faster.
    """
    for low in range(0, len(numbers), NUMBERS_AT_ONCE):
        part = np.ascontiguousarray(numbers[low : low + NUMBERS_AT_ONCE])
        texts = orjson.dumps(part, option=orjson.OPT_SERIALIZE_NUMPY).decode()[1:-1].split(",")
        lines = [", ".join(texts[k : k + NUMBERS_PER_LINE]) for k in range(0, len(texts), NUMBERS_PER_LINE)]
        is_last = low + NUMBERS_AT_ONCE >= len(numbers)
        yield (indent if low else opening) + f",\n{indent}".join(lines) + (closing if is_last else ",")


def _lists(layer: Layer, indent: str, opening: str, closing: str) -> Iterator[str]:
    """The lines of a layer's weights, a list of rows."""
    for weights in layer.weights:
        yield from _numbers(weights, indent + opening, indent + " ", closing + ",")


def _python_numbers(layer: Layer, opening: str, closing: str) -> Iterator[str]:
    """The lines of a layer's weights and biases in Python."""
    yield f"        {opening}"
    yield from _lists(layer, " " * 12, "[", "]")
    yield f"        {closing},"
    yield from _numbers(layer.biases, f"        {opening}", " " * 9, f"{closing},")


def _names(model: Model) -> list[str]:
    """The activations of a model, each once, in order."""
    return list(dict.fromkeys(layer.activation for layer in model.layers))


def _pytorch(language: Language, model: Model) -> Iterator[str]:
    yield f'"""A network of {model.inputs} inputs and {model.outputs} outputs, in float64: scores = network()(rows)."""'
    yield ""
    yield "import torch"
    yield "from torch import nn"
    others = [name for name in _names(model) if not language.activations[name].startswith("nn.")]
    for name in others:
        yield ""
        yield ""
        yield f"class {_class(name)}(nn.Module):"
        yield f'    """The activation {name}."""'
        yield ""
        yield "    def forward(self, x):"
        yield f"        return {language.activations[name]}"
    yield ""
    yield ""
    yield "LAYERS = ("
    for layer in model.layers:
        yield "    ("
        yield from _python_numbers(layer, "[", "]")
        given = language.activations[layer.activation]
        yield f"        {given if layer.activation not in others else _class(layer.activation) + '()'},"
        yield "    ),"
    yield ")"
    yield from PYTORCH_END.strip("\n").split("\n")


PYTORCH_END = '''

def network():
    """Return the network as an nn.Sequential."""
    parts = []
    for weights, biases, activation in LAYERS:
        linear = nn.Linear(len(weights[0]), len(weights), dtype=torch.float64)
        with torch.no_grad():
            linear.weight.copy_(torch.tensor(weights, dtype=torch.float64))
            linear.bias.copy_(torch.tensor(biases, dtype=torch.float64))
        parts += [linear, activation]
    return nn.Sequential(*parts)
'''


def _class(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


def _numpy(language: Language, model: Model) -> Iterator[str]:
    yield f'"""A network of {model.inputs} inputs and {model.outputs} outputs: scores = predict(rows)."""'
    yield ""
    yield "import numpy as np"
    further = special_functions(language, model)
    for source in further:
        yield ""
        yield ""
        yield source
    yield ""
    yield ""
    yield "LAYERS = ("
    for layer in model.layers:
        yield "    ("
        yield from _python_numbers(layer, "np.array([", "])")
        yield f"        lambda x: {language.activations[layer.activation]},"
        yield "    ),"
    yield ")"
    yield ""
    yield ""
    if further:  # they compute branches that are not taken too
        yield '@np.errstate(all="ignore")'
    yield from NUMPY_END.strip("\n").split("\n")


NUMPY_END = '''

def predict(rows):
    """Return the scores, of shape (rows, outputs), of an array of shape (rows, inputs)."""
    x = np.asarray(rows, dtype=np.float64)
    for weights, biases, activation in LAYERS:
        x = activation(x @ weights.T + biases)
    return x
'''


def _c(language: Language, model: Model) -> Iterator[str]:
    yield f"/* A network of {model.inputs} inputs and {model.outputs} outputs."
    yield f" * double inputs[{model.inputs}], outputs[{model.outputs}]; predict(inputs, outputs);"
    yield " * Compile it with -std=c11, and link with -lm. */"
    yield "#include <math.h>"
    yield ""
    yield f"void predict(const double inputs[{model.inputs}], double outputs[{model.outputs}]);"
    for source in special_functions(language, model):
        yield ""
        yield source
    names = _names(model)
    for name in names:
        yield ""
        yield f"static double activation_{name}(double x) {{"
        yield f"    return {language.activations[name]};"
        yield "}"
    for k, layer in enumerate(model.layers):
        neurons, inputs = layer.weights.shape
        yield ""
        yield f"static const double weights_{k}[{neurons}][{inputs}] = {{"
        yield from _lists(layer, "    ", "{", "}")
        yield "};"
        yield f"static const double biases_{k}[{neurons}] = {{"
        yield from _numbers(layer.biases, "    ", "    ", "")
        yield "};"
    yield ""
    yield f"void predict(const double inputs[{model.inputs}], double outputs[{model.outputs}]) {{"
    last = len(model.layers) - 1
    for k, layer in enumerate(model.layers):
        neurons, inputs = layer.weights.shape
        source, target = "inputs" if k == 0 else f"values_{k - 1}", "outputs" if k == last else f"values_{k}"
        if k < last:
            yield f"    {'static ' if neurons > MAX_ON_STACK else ''}double {target}[{neurons}];"
        yield f"    for (int i = 0; i < {neurons}; i++) {{"
        yield f"        double sum = biases_{k}[i];"
        yield f"        for (int j = 0; j < {inputs}; j++) {{"
        yield f"            sum += weights_{k}[i][j] * {source}[j];"
        yield "        }"
        yield f"        {target}[i] = activation_{layer.activation}(sum);"
        yield "    }"
    yield "}"


def _javascript(language: Language, model: Model) -> Iterator[str]:
    yield f"// A network of {model.inputs} inputs and {model.outputs} outputs: scores = predict(row)."
    for source in special_functions(language, model):
        yield ""
        yield source
    yield ""
    yield "const layers = ["
    for layer in model.layers:
        yield "  {"
        yield "    weights: ["
        yield from _lists(layer, "      ", "[", "]")
        yield "    ],"
        yield from _numbers(layer.biases, "    biases: [", "      ", "],")
        yield f"    activation: (x) => {language.activations[layer.activation]},"
        yield "  },"
    yield "];"
    yield from JAVASCRIPT_END.strip("\n").split("\n")


JAVASCRIPT_END = """

/** The scores of a row of inputs, an array of numbers. */
export function predict(row) {
  let values = row;
  for (const { weights, biases, activation } of layers) {
    const before = values;
    values = weights.map((w, i) => activation(w.reduce((sum, weight, j) => sum + weight * before[j], biases[i])));
  }
  return values;
}
"""

SAME = ("exp", "expm1", "log", "log1p", "log2", "log10", "sqrt", "sin", "cos", "tan", "sinh", "cosh", "tanh")
"""Functions that have the same name everywhere."""
ARCUS = ("asin", "acos", "atan", "asinh", "acosh", "atanh")

PYTORCH: Mapping[str, str] = {
    LINEAR: "nn.Identity()",
    **{name: f"torch.{name}(x)" for name in (*SAME, *ARCUS, "neg", "abs", "sign", "erf", "erfc", "lgamma", "digamma")},
    "reciprocal": "1.0 / x",
    "square": "x * x",
    "sigmoid": "nn.Sigmoid()",
    "softplus": "torch.relu(x) + torch.log1p(torch.exp(-torch.abs(x)))",  # nn.Softplus is x beyond 20
    "relu": "nn.ReLU()",
    "leaky_relu": "nn.LeakyReLU(0.01)",
    "elu": "nn.ELU()",
    "gelu": "nn.GELU()",
    "silu": "nn.SiLU()",
}

NUMPY: Mapping[str, str] = {
    LINEAR: "x",
    **{name: f"np.{name}(x)" for name in (*SAME, "abs", "sign")},
    **{name: f"np.arc{name[1:]}(x)" for name in ARCUS},
    "neg": "-x",
    "reciprocal": "1.0 / x",
    "square": "x * x",
    "sigmoid": "np.exp(-np.logaddexp(0.0, -x))",
    "softplus": "np.logaddexp(0.0, x)",
    "relu": "np.maximum(x, 0.0)",
    "leaky_relu": "np.where(x > 0.0, x, 0.01 * x)",
    "elu": "np.where(x > 0.0, x, np.expm1(np.minimum(x, 0.0)))",
    "gelu": f"0.5 * x * {PREFIX}_erfc(-x / np.sqrt(2.0))",
    "silu": "x * np.exp(-np.logaddexp(0.0, -x))",
    **{name: f"{PREFIX}_{name}(x)" for name in ("erf", "erfc", "lgamma", "digamma")},
}

C: Mapping[str, str] = {
    LINEAR: "x",
    **{name: f"{name}(x)" for name in (*SAME, *ARCUS, "erf", "erfc", "lgamma")},
    "abs": "fabs(x)",
    "sign": "(double)((x > 0.0) - (x < 0.0))",
    "neg": "-x",
    "reciprocal": "1.0 / x",
    "square": "x * x",
    "softplus": "fmax(x, 0.0) + log1p(exp(-fabs(x)))",
    "relu": "x > 0.0 ? x : 0.0",
    "leaky_relu": "x > 0.0 ? x : 0.01 * x",
    "elu": "x > 0.0 ? x : expm1(x)",
    "gelu": "0.5 * x * erfc(-x * 0.7071067811865476)",
    "silu": f"x * {PREFIX}_sigmoid(x)",
    **{name: f"{PREFIX}_{name}(x)" for name in ("digamma", "sigmoid")},
}

JAVASCRIPT: Mapping[str, str] = {
    LINEAR: "x",
    **{name: f"Math.{name}(x)" for name in (*SAME, *ARCUS, "abs", "sign")},
    "neg": "-x",
    "reciprocal": "1 / x",
    "square": "x * x",
    "sigmoid": f"{PREFIX}_sigmoid(x)",
    "softplus": "Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)))",
    "relu": "x > 0 ? x : 0",
    "leaky_relu": "x > 0 ? x : 0.01 * x",
    "elu": "x > 0 ? x : Math.expm1(x)",
    "gelu": f"0.5 * x * {PREFIX}_erfc(-x * Math.SQRT1_2)",
    "silu": f"x * {PREFIX}_sigmoid(x)",
    **{name: f"{PREFIX}_{name}(x)" for name in ("erf", "erfc", "lgamma", "digamma")},
}

LANGUAGES: Mapping[str, Language] = {
    "pytorch": Language("py", PYTORCH, _pytorch),
    "numpy": Language("py", NUMPY, _numpy, languages.PYTHON),
    "c": Language("c", C, _c, languages.C),
    "javascript": Language("mjs", JAVASCRIPT, _javascript, languages.JAVASCRIPT),
}
"""The languages by the name of their format."""
