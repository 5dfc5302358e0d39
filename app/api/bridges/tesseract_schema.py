"""The OpenAPI document of one Tesseract, from which its clients take the names of inputs and outputs.

The names of the components, and the keys that begin with `x-`, are those that the Tesseract SDK looks for.
"""

from collections.abc import Iterable
from typing import Any

from app import __version__

ARRAY = "EncodedArrayModel__anyrank__float64__DIFFERENTIABLE"
ENCODINGS = ["json", "json+base64"]
DTYPES = ["float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8", "bool"]


def openapi_document(text: str, inputs: tuple[str, ...], output: str) -> dict[str, Any]:
    """The document of the function of an expression, from arrays by the names in `inputs` to one array, `output`."""
    schemas = _array_schemas() | _apply_schemas(inputs, output) | _derivative_schemas(inputs, output)
    endpoints = (
        ("apply", "ApplyInputSchema", "ApplyOutputSchema", "Evaluate the expression at all points."),
        ("jacobian", "JacobianInputSchema", "JacobianOutputSchema", "The Jacobian by each input."),
        ("jacobian_vector_product", "JVPInputSchema", "JVPOutputSchema", "The derivative along a tangent vector."),
        ("vector_jacobian_product", "VJPInputSchema", "VJPOutputSchema", "A cotangent vector times the Jacobian."),
        ("abstract_eval", "AbstractInputSchema", "AbstractOutputSchema", "The shape of the output."),
    )
    paths: dict[str, Any] = {f"/{name}": _post(name, given, found, about) for name, given, found, about in endpoints}
    paths["/health"] = {
        "get": {
            "summary": "Health",
            "operationId": "health",
            "responses": {"200": _answer({"type": "object", "additionalProperties": {"type": "string"}})},
        }
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "autodiff-http", "version": __version__, "description": text},
        "paths": paths,
        "components": {"schemas": schemas},
        "x-supported-output-formats": ENCODINGS,
        "x-supported-gpu-transports": ["none"],
        "x-supported-compressions": ["none"],
    }


def _reference(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(properties: dict[str, Any], **more: Any) -> dict[str, Any]:
    """An object that has all of these properties, and no others."""
    required = {"required": list(properties)} if properties else {}
    return {"type": "object", "properties": properties, **required, "additionalProperties": False, **more}


def _map(names: Iterable[str], value: dict[str, Any]) -> dict[str, Any]:
    """An object with any of these names."""
    return {"type": "object", "propertyNames": {"enum": list(names)}, "additionalProperties": value}


def _names(names: Iterable[str]) -> dict[str, Any]:
    return {"type": "array", "items": {"type": "string", "enum": list(names)}, "uniqueItems": True, "minItems": 1}


def _array_schemas() -> dict[str, Any]:
    integers = {"type": "array", "items": {"type": "integer", "minimum": 0}}
    data = {
        "base64": {"buffer": {"type": "string"}, "encoding": {"type": "string", "const": "base64"}},
        "json": {"buffer": {}, "encoding": {"type": "string", "const": "json"}},
    }
    array = _object(
        {
            "object_type": {"type": "string", "const": "array", "default": "array"},
            "shape": integers,
            "dtype": {"type": "string", "enum": DTYPES},
            "data": {
                "oneOf": [_reference("Base64ArrayData"), _reference("JsonArrayData")],
                "discriminator": {
                    "propertyName": "encoding",
                    "mapping": {
                        "base64": "#/components/schemas/Base64ArrayData",
                        "json": "#/components/schemas/JsonArrayData",
                    },
                },
            },
        },
        array_flags=["DIFFERENTIABLE"],
    )
    array["required"] = ["shape", "dtype", "data"]
    return {
        "Base64ArrayData": _object(data["base64"]),
        "JsonArrayData": _object(data["json"]),
        ARRAY: array,
        "ShapeDType": {
            "type": "object",
            "properties": {"shape": integers, "dtype": {"type": "string", "enum": DTYPES}},
            "required": ["shape", "dtype"],
        },
    }


def _apply_schemas(inputs: tuple[str, ...], output: str) -> dict[str, Any]:
    """The inputs and outputs as arrays and as shapes. An array without a shape here may have any."""
    array, shape = _reference(ARRAY), _reference("ShapeDType")
    differentiable = {"dtype": "float64"}
    return {
        "Apply_InputSchema": _object(dict.fromkeys(inputs, array)),
        "Apply_OutputSchema": _object({output: array}),
        "ApplyInputSchema": _object(
            {"inputs": _reference("Apply_InputSchema")},
            differentiable_arrays=dict.fromkeys(inputs, differentiable),
            field_order={"": list(inputs)},
        ),
        "ApplyOutputSchema": {
            **_reference("Apply_OutputSchema"),
            "differentiable_arrays": {output: differentiable},
            "field_order": {"": [output]},
        },
        "AbstractEval_InputSchema": _object(dict.fromkeys(inputs, shape)),
        "AbstractEval_OutputSchema": _object({output: shape}),
        "AbstractInputSchema": _object({"inputs": _reference("AbstractEval_InputSchema")}),
        "AbstractOutputSchema": _reference("AbstractEval_OutputSchema"),
    }


def _derivative_schemas(inputs: tuple[str, ...], output: str) -> dict[str, Any]:
    array, given = _reference(ARRAY), _reference("Apply_InputSchema")
    by_input, by_output = _map(inputs, array), _map([output], array)
    return {
        "JacobianInputSchema": _object({"inputs": given, "jac_inputs": _names(inputs), "jac_outputs": _names([output])}),
        "JacobianOutputSchema": _map([output], by_input),
        "JVPInputSchema": _object(
            {"inputs": given, "jvp_inputs": _names(inputs), "jvp_outputs": _names([output]), "tangent_vector": by_input}
        ),
        "JVPOutputSchema": by_output,
        "VJPInputSchema": _object(
            {"inputs": given, "vjp_inputs": _names(inputs), "vjp_outputs": _names([output]), "cotangent_vector": by_output}
        ),
        "VJPOutputSchema": by_input,
    }


def _post(name: str, given: str, found: str, about: str) -> dict[str, Any]:
    content = {"application/json": {"schema": _reference(given)}}
    return {
        "post": {
            "summary": name.replace("_", " ").capitalize(),
            "description": about,
            "operationId": name,
            "requestBody": {"required": True, "content": content},
            "responses": {"200": _answer(_reference(found))},
        }
    }


def _answer(schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": "Successful Response", "content": {"application/json": {"schema": schema}}}
