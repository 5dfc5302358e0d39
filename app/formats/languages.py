"""The languages of source code: one row each."""

import re

from app.formats.code import Entry, Language
from app.formats.formulas import LATEX, latex_name
from app.formats.notation import ATOM, CHOICE, POWER, Template

CIRCULAR = ("sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "exp", "log", "sqrt")
AREA = ("asinh", "acosh", "atanh")
MORE = ("expm1", "log1p", "log2", "log10")


def _calls(prefix: str, *names: str, **others: str) -> dict[str, str]:
    """Functions of one argument that the language calls by the same name, and others."""
    return {name: f"{prefix}{name}({{0}})" for name in names} | others


C_FUNCTIONS = _calls(
    "",
    *(*CIRCULAR, *AREA, *MORE, "erf", "erfc", "lgamma", "floor"),
    abs="fabs({0})",
    pow="pow({0}, {1})",
    atan2="atan2({0}, {1})",
    hypot="hypot({0}, {1})",
)
C_RESERVED = """
auto break case char const continue default do double else enum extern float for goto if inline int long register restrict
return short signed sizeof static struct switch typedef union unsigned void volatile while _Alignas _Alignof _Atomic _Bool
_Complex _Generic _Imaginary _Noreturn _Static_assert _Thread_local asm typeof bool true false NULL INFINITY NAN HUGE_VAL main
abs labs div exit abort printf scanf puts malloc free index signgam gamma tgamma y0 y1 yn j0 j1 jn M_PI M_E class namespace
template new delete this operator private public protected virtual try catch throw using gradient hessian inputs value fabs
fmax fmin fmod floor ceil round trunc cbrt exp2 ldexp frexp modf logb ilogb nan rint remainder acos asin atan atan2 cos sin
tan acosh asinh atanh cosh sinh tanh exp expm1 log log10 log1p log2 pow sqrt hypot erf erfc lgamma unix linux I complex clog
csqrt cexp errno
""".split()

C = Language(
    "c",
    "C11",
    {
        "none": "#include <math.h>\n\n{helpers}double {name}({parameters})\n{{\n{definitions}    return {value};\n}}\n",
        "gradient": "#include <math.h>\n\n{helpers}double {name}({parameters}{comma}double gradient[])\n{{\n"
        "{definitions}{gradient}    return {value};\n}}\n",
        "hessian": "#include <math.h>\n\n{helpers}double {name}({parameters}{comma}double gradient[], double hessian[])\n{{\n"
        "{definitions}{gradient}{hessian}    return {value};\n}}\n",
    },
    {
        "none": "double value = {name}({arguments});",
        "gradient": "double gradient[{room}]; double value = {name}({arguments}{comma}gradient);",
        "hessian": "double gradient[{room}], hessian[{area}]; double value = {name}({arguments}{comma}gradient, hessian);",
    },
    "    const double {name} = {value};",
    "static double {name}({parameters})\n{{\n{definitions}    return {value};\n}}\n\n",
    functions=C_FUNCTIONS,
    templates={"where": Template("({0} ? {1} : {2})", ATOM, (CHOICE,))},
    reserved=frozenset(C_RESERVED),
    parameter="double {name}",
    no_parameters="void",
    identifier=r"(?!__|_[A-Z])[A-Za-z_][A-Za-z0-9_]*",
    many="const double inputs[]",
    unpacked="    const double {name} = inputs[{k}];",
    unused="    (void){name};",
    gradient=Entry("    gradient[{k}] = {value};\n", "", empty="    (void)gradient;\n"),
    hessian=Entry("    hessian[{k}] = {value};\n", "", "{entries}", "", "    (void)hessian;\n"),
)

JAVASCRIPT_RESERVED = """
abstract arguments await boolean break byte case catch char class const continue debugger default delete do double else enum
eval export extends false final finally float for function goto if implements import in instanceof int interface let long
native new null package private protected public return short static super switch synchronized this throw throws transient
true try typeof undefined var void volatile while with yield async of NaN Infinity Math Number Object globalThis gradient
hessian inputs value
""".split()

JAVASCRIPT = Language(
    "javascript",
    "JavaScript (an ES module)",
    {
        "none": "{helpers}export function {name}({parameters}) {{\n{definitions}  return {value};\n}}\n",
        "gradient": "{helpers}export function {name}({parameters}) {{\n{definitions}"
        "  return {{ value: {value}, gradient: [{gradient}] }};\n}}\n",
        "hessian": "{helpers}export function {name}({parameters}) {{\n{definitions}"
        "  return {{ value: {value}, gradient: [{gradient}], hessian: [{hessian}] }};\n}}\n",
    },
    {
        "none": "const value = {name}({arguments});",
        "gradient": "const {{ value, gradient }} = {name}({arguments});",
        "hessian": "const {{ value, gradient, hessian }} = {name}({arguments});",
    },
    "  const {name} = {value};",
    "function {name}({parameters}) {{\n{definitions}  return {value};\n}}\n\n",
    functions=_calls(
        "Math.",
        *(*CIRCULAR, *AREA, *MORE, "abs", "floor", "sign"),
        pow="Math.pow({0}, {1})",
        atan2="Math.atan2({0}, {1})",
        max="Math.max({0}, {1})",
        min="Math.min({0}, {1})",
    ),
    templates={"where": Template("({0} ? {1} : {2})", ATOM, (CHOICE,))},
    condition="{0} !== 0",
    truth="({0} ? 1 : 0)",
    identifier=r"[A-Za-z_$][A-Za-z0-9_$]*",
    reserved=frozenset(JAVASCRIPT_RESERVED),
    unpacked="  const {name} = inputs[{k}];",
)

PYTHON_RESERVED = """
False None True and as assert async await break class continue def del elif else except finally for from global if import in
is lambda nonlocal not or pass raise return try while with yield match case type np numpy float gradient hessian inputs value
""".split()

PYTHON = Language(
    "python",
    "Python with NumPy; inputs may be arrays",
    {
        "none": 'import numpy as np\n\n\n{helpers}@np.errstate(all="ignore")\ndef {name}({parameters}):\n{definitions}'
        "    return {value}\n",
        "gradient": 'import numpy as np\n\n\n{helpers}@np.errstate(all="ignore")\ndef {name}({parameters}):\n{definitions}'
        "    return {value}, [{gradient}]\n",
        "hessian": 'import numpy as np\n\n\n{helpers}@np.errstate(all="ignore")\ndef {name}({parameters}):\n{definitions}'
        "    return {value}, [{gradient}], [{hessian}]\n",
    },
    {
        "none": "value = {name}({arguments})",
        "gradient": "value, gradient = {name}({arguments})",
        "hessian": "value, gradient, hessian = {name}({arguments})",
    },
    "    {name} = {value}",
    "def {name}({parameters}):\n{definitions}    return {value}\n\n\n",
    functions=_calls(
        "np.",
        *("sin", "cos", "tan", "sinh", "cosh", "tanh", "exp", "log", "sqrt", "abs", "floor", "sign", *MORE),
        **{name: f"np.arc{name[1:]}({{0}})" for name in ("asin", "acos", "atan", *AREA)},
        pow="np.power({0}, {1})",
        atan2="np.arctan2({0}, {1})",
        hypot="np.hypot({0}, {1})",
        max="np.maximum({0}, {1})",
        min="np.minimum({0}, {1})",
        logaddexp="np.logaddexp({0}, {1})",
        where="np.where({0}, {1}, {2})",
    ),
    templates={"where": Template("np.where({0}, {1}, {2})", ATOM, (CHOICE,))},
    truth="np.where({0}, 1.0, 0.0)",
    reserved=frozenset(PYTHON_RESERVED),
    prepared="    {name} = np.asarray({name}, dtype=float)[()]",
    unpacked="    {name} = inputs[{k}]",
)

R_RESERVED = """
if else repeat while function for next break TRUE FALSE NULL Inf NaN NA NA_integer_ NA_real_ NA_character_ in T F c t list
matrix ifelse abs sign sqrt exp log sin cos tan pi pmax pmin floor return gradient hessian inputs value
""".split()

R = Language(
    "r",
    "R",
    {
        "none": "{helpers}{name} <- function({parameters}) {{\n{definitions}  {value}\n}}\n",
        "gradient": "{helpers}{name} <- function({parameters}) {{\n{definitions}"
        "  list(value = {value}, gradient = c({gradient}))\n}}\n",
        "hessian": "{helpers}{name} <- function({parameters}) {{\n{definitions}  list(\n    value = {value},\n"
        "    gradient = c({gradient}),\n    hessian = matrix(c({hessian}), {count}, {count}, byrow = TRUE)\n  )\n}}\n",
    },
    {
        "none": "value <- {name}({arguments})",
        "gradient": "result <- {name}({arguments})",
        "hessian": "result <- {name}({arguments})",
    },
    "  {name} <- {value}",
    "{name} <- function({parameters}) {{\n{definitions}  {value}\n}}\n\n",
    functions=_calls(
        "",
        *(*CIRCULAR, *AREA, *MORE, "abs", "floor", "sign"),
        atan2="atan2({0}, {1})",
        max="pmax({0}, {1})",
        min="pmin({0}, {1})",
    ),
    templates={
        "where": Template("ifelse({0}, {1}, {2})", ATOM, (CHOICE,)),
        "pow": Template("{0}^{1}", POWER, (ATOM, ATOM)),
    },
    condition="{0} != 0",
    truth="as.numeric({0})",
    identifier=r"[A-Za-z][A-Za-z0-9_]*",
    reserved=frozenset(R_RESERVED),
    unpacked="  {name} <- inputs[{k1}]",
    gradient=Entry(empty="numeric(0)"),
    hessian=Entry(row="{entries}", empty="numeric(0)"),
)


def _elixir_number(digits: str) -> str:
    """A number with a decimal point, without which Elixir takes it for an integer or refuses it."""
    return re.sub(r"^(-?\d+)e", r"\1.0e", digits)


ELIXIR_RESERVED = """
true false nil when and or not in fn do end catch rescue after else if unless case cond for with def defp defmodule import
alias require use quote unquote receive try raise throw gradient hessian inputs value abs max min elem
""".split()

ELIXIR = Language(
    "elixir",
    "Elixir; it has neither NaN nor infinity, so what is not defined raises an ArithmeticError",
    {
        "none": "defmodule {module} do\n  def {name}({parameters}) do\n{definitions}    {value}\n  end\n{helpers}end\n",
        "gradient": "defmodule {module} do\n  def {name}({parameters}) do\n{definitions}    {{{value}, [{gradient}]}}\n  end\n"
        "{helpers}end\n",
        "hessian": "defmodule {module} do\n  def {name}({parameters}) do\n{definitions}"
        "    {{{value}, [{gradient}], [{hessian}]}}\n  end\n{helpers}end\n",
    },
    {
        "none": "value = {module}.{name}({arguments})",
        "gradient": "{{value, gradient}} = {module}.{name}({arguments})",
        "hessian": "{{value, gradient, hessian}} = {module}.{name}({arguments})",
    },
    "    {name} = {value}",
    "\n  defp {name}({parameters}) do\n{definitions}    {value}\n  end\n",
    number=_elixir_number,
    functions=_calls(
        ":math.",
        *(*CIRCULAR, *AREA, "log2", "log10", "erf", "erfc", "floor"),
        pow=":math.pow({0}, {1})",
        atan2=":math.atan2({0}, {1})",
        abs="abs({0})",
        max="max({0}, {1})",
        min="min({0}, {1})",
    ),
    templates={"where": Template("(if {0}, do: {1}, else: {2})", ATOM, (CHOICE,))},
    truth="(if {0}, do: 1.0, else: 0.0)",
    identifier=r"[a-z][A-Za-z0-9_]*",
    reserved=frozenset(ELIXIR_RESERVED),
    unpacked="    {name} = elem(inputs, {k})",
    unused="    _ = {name}",
)

LATEX_CODE = Language(
    "latex",
    "LaTeX, for the amsmath package",
    {
        "none": "\\begin{{align*}}\n{definitions}{name}({parameters}) &= {value}\n\\end{{align*}}\n",
        "gradient": "\\begin{{align*}}\n{definitions}{name}({parameters}) &= {value}{gradient}\n\\end{{align*}}\n",
        "hessian": "\\begin{{align*}}\n{definitions}{name}({parameters}) &= {value}{gradient}{hessian}\n\\end{{align*}}\n",
    },
    dict.fromkeys(("none", "gradient", "hessian"), "\\input{{{name}.tex}}"),
    "{name} &= {value} \\\\",
    gradient=Entry(" \\\\\n\\frac{{\\partial {name}}}{{\\partial {input}}} &= {value}", ""),
    hessian=Entry(
        " \\\\\n\\frac{{\\partial^2 {name}}}{{\\partial {input} \\, \\partial {other}}} &= {value}", "", "{entries}", ""
    ),
    shown=latex_name,
    notation=LATEX,
)

LANGUAGES = {language.name: language for language in (C, JAVASCRIPT, PYTHON, R, ELIXIR, LATEX_CODE)}
"""The languages by name."""
