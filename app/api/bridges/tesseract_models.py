"""Requests of the Tesseract protocol, with its own names for fields."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, RootModel
from pydantic_core import PydanticCustomError

from app.api.bridges.tesseract_arrays import Array, ShapeAndType
from app.service.models import Items, NamedItems, RequestModel, found_text, is_number

Inputs = Annotated[
    NamedItems[Array],
    Field(
        description="An array for each input of the expression, which are broadcast to one shape: that of the points",
        examples=[{"x": 3.0, "y": 0.5}],
    ),
]
InputNames = Annotated[Items[str], Field(min_length=1, description="Names of inputs", examples=[["x"]])]
OutputNames = Annotated[Items[str], Field(min_length=1, description="The name of the output", examples=[["output"]])]


def _shape_of(value: Any) -> Any:
    """The shape of an input that is a number."""
    return {"shape": []} if is_number(value) else value


def _described(value: Any) -> Any:
    if isinstance(value, list):
        raise PydanticCustomError("shape", "expected a shape and a dtype, found {found}", {"found": found_text(value)})
    return _shape_of(value)


class TesseractApply(RequestModel):
    """An expression to evaluate."""

    inputs: Inputs


class TesseractJacobian(TesseractApply):
    """An expression whose Jacobian is asked for."""

    jac_inputs: InputNames
    jac_outputs: OutputNames


class TesseractJVP(TesseractApply):
    """An expression to differentiate along a direction."""

    jvp_inputs: InputNames
    jvp_outputs: OutputNames
    tangent_vector: NamedItems[Array] = Field(description="An array for each of `jvp_inputs`, in the shape of the input")


class TesseractVJP(TesseractApply):
    """An expression to differentiate in reverse mode."""

    vjp_inputs: InputNames
    vjp_outputs: OutputNames
    cotangent_vector: NamedItems[Array] = Field(description="An array for the output, in its shape")


class TesseractAbstract(RequestModel):
    """The shapes of the inputs."""

    inputs: NamedItems[Annotated[ShapeAndType, BeforeValidator(_described)]] = Field(
        description="The shape and dtype of each input", examples=[{"x": {"shape": [3], "dtype": "float64"}}]
    )


class TesseractShapes(RootModel[dict[str, ShapeAndType]]):
    """The shapes of the outputs."""


class TesseractHealth(RootModel[dict[str, str]]):
    """Whether the service answers."""


class TesseractSchema(RootModel[dict[str, Any]]):
    """An OpenAPI document."""


class TesseractRun(RequestModel):
    """What clients send in the query."""

    run_id: str | None = Field(None, description="Ignored")


class TesseractFault(RequestModel):
    """What is wrong at one place."""

    type: str = Field(examples=["missing"])
    loc: list[str | int] = Field(description="The place", examples=[["body", "inputs", "x"]])
    msg: str


class TesseractFaults(RequestModel):
    """What is wrong, as FastAPI has it."""

    detail: list[TesseractFault]
