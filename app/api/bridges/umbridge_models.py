"""Requests and responses of UM-Bridge 1.0, with its own names for fields.

The models of this protocol have several input and output vectors. Ours have one of each, so an index is always 0.
"""

import math
from copy import deepcopy
from itertools import pairwise
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BeforeValidator, Field, GetPydanticSchema, SkipValidation, WrapValidator
from pydantic_core import PydanticCustomError, core_schema

from app.api.expressions.expression import Expression
from app.api.networks.models import ModelOrSpec
from app.engine.errors import quote
from app.engine.large_json import LargeList
from app.engine.scanner import BrokenList, NumberList, NumberRows
from app.service.models import Floats, Handler, Items, RequestModel, ResponseModel, Vector, WholeNumber, component, found_text

EXPRESSION, NETWORK = "expression", "network"
MODELS = (EXPRESSION, NETWORK)

ROSENBROCK = "(1 - x)**2 + 100*(y - x**2)**2"
"""The default expression (H. H. Rosenbrock, The Computer Journal 3 (1960) 175-184)."""


class ModelNotFound(Exception):
    """A model that there is not. No ValueError, so that it ends the validation at once: it counts before all else."""

    def __init__(self, name: str) -> None:
        super().__init__(f"there is no model {quote(name)}; there are {' and '.join(MODELS)}")


def _known_model(value: Any) -> Any:
    if isinstance(value, list) and len(value) == 1:  # as R's client writes a string
        value = value[0]
    if isinstance(value, str) and value not in MODELS:
        raise ModelNotFound(value)
    return value


def _config(value: Any, handler: Handler) -> Any:
    """The configuration; R's and MATLAB's clients write an empty list for none."""
    return handler({} if value == [] else value)


def _only_vector(value: Any, handler: Handler) -> Any:
    """The one vector of a list of vectors. The handler validates a list of vectors."""
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], list) and set(map(type, value[0])) == {float}:
        if math.isfinite(sum(value[0])):  # a sum is finite only if all its terms are
            return np.array(value[0])
    count = 1
    if isinstance(value, NumberRows):
        count = len(value.starts) - 1
        low, high = next(pairwise(value.starts.tolist()))
        inner: Any = NumberList(value.values[low:high])
    elif isinstance(value, BrokenList) and value.rows:
        inner = BrokenList(value.start or 0, value.found)
    elif isinstance(value, list | LargeList):
        entries = value.first(2) if isinstance(value, LargeList) else value
        count, inner = len(entries), entries[0] if entries else None
    elif isinstance(value, NumberList | BrokenList):
        count, inner = 2, None
    else:
        raise PydanticCustomError("vectors", "expected a list of vectors, found {found}", {"found": found_text(value)})
    if count != 1 or not isinstance(inner, list | LargeList | NumberList | BrokenList):
        detail = "expected one input vector, in a list of its own: [[1.0, 2.0]]"
        raise PydanticCustomError("vectors", detail)
    return handler([inner])[0]


Index = Annotated[WholeNumber, Field(description="0: there is one vector", examples=[0])]
VECTORS_SCHEMA: dict[str, Any] = {
    "type": "array",
    "items": {"type": "array", "items": {"type": "number"}},
    "minItems": 1,
    "maxItems": 1,
}
InputVector = Annotated[
    Floats,
    GetPydanticSchema(
        lambda source, handler: core_schema.no_info_wrap_validator_function(_only_vector, handler(list[Vector])),
        lambda source, handler: deepcopy(VECTORS_SCHEMA),  # pydantic writes into it
    ),
    Field(description="The input vector, in a list of its own", examples=[[[0.0, 0.0]]]),
]
Sensitivity = Annotated[Vector, Field(description="The gradient of an objective by the output vector", examples=[[1.0]])]
Direction = Annotated[
    Vector, Field(description="What the matrix is multiplied by, one number per input", examples=[[1.0, 0.0]])
]


class UMBridgeConfig(RequestModel):
    """Which function a model is. The model `expression` takes the first three fields, `network` the last."""

    expression: Expression | None = Field(None, description="Default: Rosenbrock's function of x and y")
    inputs: Items[str] | None = Field(
        None, description="The names of the input vector's numbers, in order; default: the inputs of the expression"
    )
    outputs: Items[str] | None = Field(None, description="The names of the output vector's numbers; default: the output")
    model: ModelOrSpec | None = Field(None, description="Default: a small network of two inputs")


ModelName = Annotated[
    Literal["expression", "network"],
    BeforeValidator(_known_model),
    Field(
        description="The name of a model",
        examples=["expression"],
        json_schema_extra=component("UMBridgeModelName", "The name of a model."),
    ),
]
Config = Annotated[UMBridgeConfig, WrapValidator(_config), Field(default_factory=UMBridgeConfig)]


class UMBridgeModel(RequestModel):
    """A model by its name."""

    name: ModelName


class UMBridgeSizes(UMBridgeModel):
    """A model whose sizes are asked for."""

    config: Config


class UMBridgeEvaluate(UMBridgeSizes):
    """A model to evaluate."""

    input: InputVector


class UMBridgeGradient(UMBridgeEvaluate):
    """A model whose Jacobian is multiplied from the left."""

    outWrt: Index
    inWrt: Index
    sens: Sensitivity


class UMBridgeApplyJacobian(UMBridgeEvaluate):
    """A model whose Jacobian is multiplied by a vector."""

    outWrt: Index
    inWrt: Index
    vec: Direction


class UMBridgeApplyHessian(UMBridgeEvaluate):
    """A model of whose Hessian, in the direction of `sens`, the product with a vector is asked for."""

    outWrt: Index
    inWrt1: Index
    inWrt2: Index
    sens: Sensitivity
    vec: Direction


class UMBridgeInfo(ResponseModel):
    """What the server speaks and which models it has."""

    protocolVersion: float = Field(examples=[1.0])
    models: list[str]


class UMBridgeSupport(ResponseModel):
    """Which operations a model supports."""

    Evaluate: bool
    Gradient: bool
    ApplyJacobian: bool
    ApplyHessian: bool


class UMBridgeModelInfo(ResponseModel):
    """What a model supports."""

    support: UMBridgeSupport


class UMBridgeInputSizes(ResponseModel):
    """The length of each input vector."""

    inputSizes: list[int]


class UMBridgeOutputSizes(ResponseModel):
    """The length of each output vector."""

    outputSizes: list[int]


class UMBridgeOutputs(ResponseModel):
    """The output vectors."""

    output: SkipValidation[list[list[float]]]


class UMBridgeProduct(ResponseModel):
    """A matrix times a vector."""

    output: SkipValidation[list[float]]


class UMBridgeFault(ResponseModel):
    """What is wrong."""

    type: str = Field(
        description="`InvalidInput`, `ModelNotFound`, `UnsupportedFeature` or `InvalidOutput`; for what the protocol has no "
        "name for, such as `Overloaded`, that of the problem",
        examples=["InvalidInput"],
    )
    message: str = Field(description="What is wrong, where, and what to write instead")


class UMBridgeError(ResponseModel):
    """An error, in this protocol's form."""

    error: UMBridgeFault
