"""The tools that language models can call: what each is for, the endpoint of /v1 behind it, and its schemas."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from pydantic import BaseModel

from app.api.bridges import mcp_checks
from app.api.bridges.mcp_checks import AnswerCheck, Fields, Post
from app.api.expressions.derivatives import DerivativeRequest, DerivativeResponse
from app.api.expressions.models import (
    BackwardRequest,
    BackwardResponse,
    CheckRequest,
    CheckResponse,
    ForwardRequest,
    ForwardResponse,
    HessianRequest,
    HessianResponse,
)
from app.api.solvers.fit import FitRequest, FitResponse
from app.api.solvers.minimize import MinimizeRequest, MinimizeResponse
from app.api.solvers.propagate import PropagateRequest, PropagateResponse
from app.engine.primitives import WIRE
from app.service.models import COMPONENT

Check = Callable[[Fields, Fields, Post], Awaitable[Fields]]


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool.

    Attributes:
        name: what a model calls it by.
        title: what people call it.
        path: the endpoint that it calls.
        request: the model of its arguments.
        response: the model of its result.
        description: when to choose it, and what comes back.
        check: how an answer is compared with difference quotients if the arguments ask for that; None where it cannot be.
    """

    name: str
    title: str
    path: str
    request: type[BaseModel]
    response: type[BaseModel]
    description: str
    check: Check | None = None


# fmt: off

TOOLS: dict[str, Tool] = {tool.name: tool for tool in (
    Tool("evaluate", "Evaluate an expression", "/v1/forward", ForwardRequest, ForwardResponse,
         "Compute the number that an expression gives for numbers you know, in double precision. Use it for arithmetic "
         "instead of computing in your head. Give lists in `inputs` to evaluate at many points in one call; add \"reduce\": "
         "\"sum\" or \"mean\" for a loss over data. For derivatives take `gradient` or `hessian`, for a formula `derivative`.",
         mcp_checks.check_gradient),
    Tool("gradient", "First derivatives at a point", "/v1/backward", BackwardRequest, BackwardResponse,
         "Compute the value of an expression and its exact first derivatives as numbers, at one point or many: slopes, "
         "sensitivities, the gradients of a loss. `gradients` has one number per variable. For the derivative as a formula "
         "take `derivative`, for second derivatives `hessian`.",
         mcp_checks.check_gradient),
    Tool("hessian", "Second derivatives at a point", "/v1/hessian", HessianRequest, HessianResponse,
         "Compute the exact second derivatives of an expression as numbers, with its value and gradients: curvature, or "
         "whether a stationary point is a minimum, a maximum or a saddle. `hessian[x][y]` is the derivative by x and y. Name "
         "few variables in `wrt` where there are many.",
         mcp_checks.check_hessian),
    Tool("derivative", "Derivative as a formula", "/v1/derivative", DerivativeRequest, DerivativeResponse,
         "Differentiate an expression symbolically: a simplified formula for each variable, as text, LaTeX and MathML. Needs "
         "no numbers. The text is an expression again: pass it to `derivative` for the next order, or to `evaluate`. For "
         "derivatives at given numbers, `gradient` is faster and as exact."),
    Tool("check", "Check derivatives numerically", "/v1/check", CheckRequest, CheckResponse,
         "Compare the exact derivatives of an expression, in reverse and in forward mode, with difference quotients, at the "
         "point in `inputs`. Use it to verify a derivative, to see whether a function is smooth there, or before you rely on "
         "a formula you wrote. The other tools do the same for their own answers with \"check\": true."),
    Tool("minimize", "Find a minimum", "/v1/minimize", MinimizeRequest, MinimizeResponse,
         "Find the values of variables at which an expression is smallest, within `bounds` and under `constraints` if there "
         "are any. `initial` names the variables and where the search starts; `inputs` are numbers that stay fixed, and lists "
         "in it are data over which the expression is summed. To maximize, minimize the negative. It finds a local minimum: "
         "for several, use `starts`. To fit a curve to data take `fit`, which also gives uncertainties. Look at `converged` "
         "and `message` before you report the result.",
         mcp_checks.check_minimum),
    Tool("fit", "Fit a curve to data", "/v1/fit", FitRequest, FitResponse,
         "Fit the parameters of a curve to data by nonlinear least squares (or a robust loss), with standard errors, "
         "confidence intervals and goodness of fit. `data` has the columns by name, `target` names the measured column, "
         "`parameters` has a rough start for each, and `expression` is the curve in terms of columns and parameters: "
         "\"a*exp(-k*t)\". Also predicts, with bands, at the rows in `predict`. Look at `converged` and `message` before you "
         "report the result.",
         mcp_checks.check_fit),
    Tool("propagate", "Propagate measurement uncertainty", "/v1/propagate", PropagateRequest, PropagateResponse,
         "Compute a result from measured quantities together with its uncertainty, by the GUM (JCGM 100): combined and "
         "expanded uncertainty, coverage interval, and how much each input contributes. An input is a plain number if it is "
         "exact, {\"value\", \"u\"} with a standard uncertainty, {\"readings\": [...]}, or {\"value\", \"half_width\", "
         "\"distribution\"}. Add `correlations`, \"order\": 2 or `monte_carlo` where the first order is not enough.",
         mcp_checks.check_propagation),
)}
# fmt: on

INSTRUCTIONS = f"""\
Exact derivatives and what they are good for: values, gradients, Hessians, derivative formulas, minima, curve fits and \
measurement uncertainty of expressions that you write.

Write an expression as text in Python's arithmetic syntax: + - * / **, parentheses, comparisons, `a if condition else b`, the \
constants pi and e, and calls of functions. Write products with *: 2*x, not 2x. Intermediate results are assignments, \
separated by ; and the last statement is the output: "h = tanh(w*x + b); (h - y)**2". Every name that is not assigned is an \
input and needs a number. The functions are {", ".join(sorted(WIRE))}.

Nothing is stored between calls: send all that a call needs. An error says what is wrong, where in the arguments (as a JSON \
Pointer) and how to fix it; correct the arguments and call again. With "check": true an answer comes with a comparison of its \
derivatives with difference quotients."""

CHECK_ARGUMENT = {
    "type": "boolean",
    "default": False,
    "description": "Whether to compare the derivatives with difference quotients too; the result has the report in `check`",
}

NOT_FOR_MODELS = ("title", "examples", COMPONENT)
"""Keywords of schemas that add nothing to names and descriptions. A model reads every word of a schema."""


@cache
def input_schema(tool: Tool) -> dict[str, Any]:
    """The JSON schema of a tool's arguments: that of the endpoint's request, and `check` where answers can be checked."""
    schema: dict[str, Any] = _without_absent(_plain(tool.request.model_json_schema()))
    if tool.check is not None:
        schema["properties"]["check"] = CHECK_ARGUMENT
    return schema


@cache
def output_schema(tool: Tool) -> dict[str, Any]:
    """The JSON schema of a tool's result: that of the endpoint's response, and `check` where answers can be checked."""
    schema: dict[str, Any] = _plain(tool.response.model_json_schema())
    if tool.check is not None:
        schema["properties"]["check"] = _plain(AnswerCheck.model_json_schema())
    return schema


def _plain(schema: Any, named: bool = False) -> Any:
    """A schema without what models do not need. In an object of properties the keys are names, and are all kept."""
    if isinstance(schema, list):
        return [_plain(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {}
    for key, value in schema.items():
        if named:
            kept[key] = _plain(value)
        elif key in ("default", "enum", "const", "required"):
            kept[key] = value
        elif key == "description":
            kept[key] = value.partition("\n\n")[0]
        elif key not in NOT_FOR_MODELS and value is not None:
            kept[key] = _plain(value, named=key in ("properties", "$defs"))
    return kept


def _without_absent(schema: Any) -> Any:
    """A schema of arguments without null for optional fields: a model leaves them out."""
    if isinstance(schema, list):
        return [_without_absent(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {key: _without_absent(value) for key, value in schema.items()}
    for name, field in schema.get("properties", {}).items():
        if name not in schema.get("required", ()):
            schema["properties"][name] = _not_null(field)
    return schema


def _not_null(field: dict[str, Any]) -> dict[str, Any]:
    """The schema of a field that may be null, without null."""
    field = {key: value for key, value in field.items() if key != "default" or value is not None}
    if isinstance(field.get("type"), list):
        kinds = [kind for kind in field["type"] if kind != "null"]
        field["type"] = kinds[0] if len(kinds) == 1 else kinds
    if "enum" in field:
        field["enum"] = [choice for choice in field["enum"] if choice is not None]
    for choices in field.keys() & {"anyOf", "oneOf"}:
        others = [choice for choice in field.pop(choices) if choice != {"type": "null"}]
        field |= {choices: others} if len(others) > 1 else {**others[0], **field}
    return field
