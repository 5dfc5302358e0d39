"""The documentation: the OpenAPI document, and Swagger UI with all its assets served from here.

The assets are files of the npm package swagger-ui-dist, in the folder `swagger_ui`. Its `sbom.cdx.json` records the version,
the licence and the hashes.
"""

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.openapi.utils import get_openapi
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse
from starlette.exceptions import HTTPException

from app.api.mistakes import MISTAKES
from app.service.examples import request_examples, response_examples
from app.service.keys import Keys
from app.service.models import BESIDE_REFERENCES, COMPONENT
from app.service.negotiation import JSON
from app.service.problems import KINDS, MEDIA_TYPE, ProblemDetails

router = APIRouter(include_in_schema=False)

SUMMARY = "Automatic differentiation as a web service."
DESCRIPTION = """\
Post an expression, as text or as a JSON graph of scalar operations, and get its value and a **table of gradients** back.
Nothing is stored: a request carries everything, and the same request gets the same response.

* An expression is a text such as `h = tanh(w*x + b); (h - y)**2`, or `{"nodes": [...], "output": "y"}`.
* `inputs` gives numbers to its leaves; lists in it evaluate the expression at many points at once.
* **Arrays in base64**: wherever a list of numbers is accepted, so is `{"float64": "<base64 of little-endian IEEE doubles>"}`;
  with `"arrays": "base64"` in a request, the response has them too. The schema `Float64Array` says where.
* Every error is `application/problem+json` with a `type` that leads to a page about it.
* Every response has an `X-Request-ID`: the request's own, or a new one.
* All POSTs are pure, so they are safe to repeat.
* Language models call the same functions as tools, by the Model Context Protocol at `/mcp`.
"""

TAGS = [
    {
        "name": "expressions",
        "description": """\
Values and derivatives of an expression. Start with **/v1/backward**: the value and all first derivatives, in reverse mode,
whose cost does not grow with the number of inputs. A **jvp** is the derivative along one direction, in forward mode: it suits
one direction and many outputs. A **Jacobian** has a row per output, a **Hessian** all second derivatives, and an **hvp** is
the Hessian times a direction, without forming it. **/v1/derivative** and **/v1/code** give the derivative itself.""",
    },
    {
        "name": "networks",
        "description": "Multilayer perceptrons: make one, train it, look at it, take it away. Training returns a new model.",
    },
    {
        "name": "solvers",
        "description": "Answers that need derivatives: minima, fits with standard errors, and budgets of uncertainty (GUM).",
    },
    {
        "name": "Bridges",
        "description": "The same functions for clients of other protocols: **UM-Bridge**, for uncertainty quantification, and "
        "**Tesseract**, for its SDK and JAX. Numbers are equal to the last bit. Errors have the protocols' own forms.",
    },
    {"name": "service", "description": "Health, metrics, what the service can do, and what its errors mean."},
]
"""The groups of operations, in the order of the page."""

PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>autodiff-http</title>
<link rel="icon" type="image/png" href="{root}/docs/favicon.png">
<link rel="stylesheet" href="{root}/docs/swagger-ui.css">
<link rel="stylesheet" href="{root}/docs/style.css">
</head>
<body>
<div id="swagger-ui" data-document="{root}/openapi.json"></div>
<script src="{root}/docs/swagger-ui-bundle.js"></script>
<script src="{root}/docs/start.js"></script>
</body>
</html>
"""

START_SCRIPT = """\
// Swagger UI shows other pictures, but of an SVG only its text.
const ShowSvg = () => ({
  wrapComponents: {
    responseBody: (Original, system) => (props) => {
      const body = system.React.createElement(Original, props);
      if (!/svg/.test(props.contentType) || typeof props.content !== "string") return body;
      const src = "data:image/svg+xml," + encodeURIComponent(props.content);
      const style = { maxWidth: "100%", background: "white" };
      const picture = system.React.createElement("img", { src, style, alt: "The picture" });
      return system.React.createElement("div", null, picture, body);
    },
  },
});
// A kind of error is one line, which opens to an example.
const FoldErrors = () => ({
  wrapComponents: {
    response: (Original, system) => (props) => {
      const h = system.React.createElement;
      const examples = props.response.getIn(["content", "application/problem+json", "examples"]);
      if (!examples) return h(Original, props);
      const lines = examples.entrySeq().map(([name, example]) => h("details", { key: name },
        h("summary", null, example.get("summary")),
        h("p", null, "What ", h("a", { href: "problems/" + name }, name), " means, and how to fix it:"),
        h("pre", { tabIndex: 0 }, JSON.stringify(example.get("value").toJS(), null, 2))));
      return h("tr", { className: "response folded", "data-code": props.code },
        h("td", { className: "response-col_status" }, props.code),
        h("td", { className: "response-col_description", colSpan: 2 }, lines.toArray()));
    },
  },
});
SwaggerUIBundle({
  url: document.getElementById("swagger-ui").dataset.document,
  dom_id: "#swagger-ui",
  deepLinking: true,
  displayRequestDuration: true,
  defaultModelsExpandDepth: 0,
  tryItOutEnabled: true,
  validatorUrl: null,
  persistAuthorization: true,
  plugins: [ShowSvg, FoldErrors],
});
"""

STYLE = """\
.swagger-ui .folded details > summary { cursor: pointer; }
.swagger-ui .folded p { margin: 0.25rem 0 0; }
.swagger-ui .folded pre { white-space: pre-wrap; overflow-wrap: anywhere; font-size: 0.75rem; margin: 0.5rem 0 0; }
@media (max-width: 640px) {
  .swagger-ui .wrapper { padding: 0 0.75rem; }
  .swagger-ui .info { margin: 1rem 0; }
  .swagger-ui .info .title { font-size: 1.5rem; overflow-wrap: anywhere; }
  .swagger-ui .opblock .opblock-summary { flex-wrap: wrap; }
  .swagger-ui .opblock .opblock-summary-path-description-wrapper {
    flex: 1; flex-direction: column; align-items: start; gap: 0.125rem; min-width: 0; padding: 0 0.5rem;
  }
  .swagger-ui .opblock .opblock-summary-path { max-width: none; padding: 0; }
  .swagger-ui .opblock .opblock-summary-description { padding: 0; text-align: left; }
  .swagger-ui .opblock-tag { flex-wrap: wrap; }
  .swagger-ui .opblock-tag small { flex: 1 0 100%; order: 1; padding: 0.25rem 0; }
  .swagger-ui .opblock-tag button { margin-left: auto; }
  .swagger-ui .responses-inner, .swagger-ui .opblock-section-header { padding: 0.75rem; }
  .swagger-ui table.responses-table, .swagger-ui table.parameters { table-layout: fixed; }
  .swagger-ui .response-col_status { width: 3.5rem; min-width: 0; }
  .swagger-ui .response-col_links { display: none; }
  .swagger-ui .examples-select .examples-select-element { max-width: 100%; }
  .swagger-ui .response-controls { flex-direction: column; gap: 0.5rem; }
}
"""
"""What Swagger UI's own style sheet lacks: folded errors, and small screens."""

SWAGGER_UI = Path(__file__).parent / "swagger_ui"

MEDIA_TYPES = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui-bundle.js.LICENSE.txt": "text/plain",
    "swagger-ui.css": "text/css",
    "favicon.png": "image/png",
}

FORMATS = {"number": "double", "integer": "int64"}
"""Without a format, code generators take numbers for single precision and integers for 32 bits."""


@router.get("/openapi.json")
def document(request: Request) -> JSONResponse:
    """The OpenAPI document. In a thread, since making it takes a second."""
    return JSONResponse(request.app.openapi())


@router.get("/docs")
async def docs(request: Request) -> HTMLResponse:
    """The page with Swagger UI."""
    return HTMLResponse(PAGE.format(root=request.scope.get("root_path", "")))


@router.get("/docs/start.js")
async def start_script() -> Response:
    """The script that starts Swagger UI. It is a file so that the content security policy can forbid scripts in pages."""
    return Response(START_SCRIPT, media_type="text/javascript")


@router.get("/docs/style.css")
async def style() -> Response:
    """Rules beside those of Swagger UI."""
    return Response(STYLE, media_type="text/css")


@router.get("/docs/{name}")
async def asset(name: str) -> FileResponse:
    """Swagger UI's script, with the licences of what is bundled in it, style sheet and icon."""
    if name not in MEDIA_TYPES:
        raise HTTPException(404)
    return FileResponse(SWAGGER_UI / name, media_type=MEDIA_TYPES[name], headers={"Cache-Control": "max-age=86400"})


def extend_openapi(app: FastAPI, keys: Keys, root_path: str) -> None:
    """Let `app.openapi()` also describe keys, problems and the formats of numbers, as FastAPI's "Extending OpenAPI" shows."""
    app.openapi = _document_of(app, keys, root_path)  # type: ignore[method-assign]  # its documented way


def _document_of(app: FastAPI, keys: Keys, root_path: str) -> Callable[[], dict[str, Any]]:
    lock = threading.Lock()

    def openapi() -> dict[str, Any]:
        with lock:  # several first requests come at once
            if app.openapi_schema is None:
                app.openapi_schema = _document(app, keys, root_path)
            return app.openapi_schema

    return openapi


def _document(app: FastAPI, keys: Keys, root_path: str) -> dict[str, Any]:
    document = get_openapi(
        title=app.title,
        version=app.version,
        summary=app.summary,
        description=app.description,
        license_info=app.license_info,
        terms_of_service=app.terms_of_service,
        contact=app.contact,
        tags=app.openapi_tags,
        routes=app.routes,
        webhooks=app.webhooks.routes,
        servers=[{"url": root_path}] if root_path else app.servers,
    )
    schemas = document["components"]["schemas"]
    problem = ProblemDetails.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas |= {**problem.pop("$defs"), ProblemDetails.__name__: problem}
    named: dict[str, Any] = {}
    schemas = {name: _with_components(_for_generators(schema), named) for name, schema in schemas.items()}
    if keys.digests:
        document["components"]["securitySchemes"] = {
            "ApiKey": {"type": "http", "scheme": "bearer", "description": "An API key"}
        }
        document["security"] = [{"ApiKey": []}]
    for path, operations in document["paths"].items():
        for operation in operations.values():
            _add_examples(operation)
            if keys.digests and keys.is_open(path):
                operation["security"] = []
            for parameter in operation.get("parameters", []):
                parameter["schema"] = _with_components(_for_generators(parameter["schema"]), named)
    document["components"]["schemas"] = dict(sorted((schemas | named).items()))
    return document


def _add_examples(operation: dict[str, Any]) -> None:
    """Add the examples of openapi/examples. Here, because FastAPI drops the nulls of examples in a route's options."""
    examples = request_examples(operation["operationId"]), response_examples(operation["operationId"])
    described = operation.get("requestBody", {}), operation["responses"].get("200", {})
    for found, part in zip(examples, described, strict=True):
        if found and JSON in part.get("content", {}):
            part["content"][JSON]["examples"] = found
    for status, response in operation["responses"].items():
        kinds = [kind for kind in KINDS.values() if f"/problems/{kind.name})" in response["description"]]
        if kinds and status >= "400":  # or "default"
            found = {kind.name: {"summary": kind.title, "value": MISTAKES[kind.name].example(kind.name)} for kind in kinds}
            response["content"][MEDIA_TYPE]["examples"] = found


def _for_generators(schema: Any) -> Any:
    """The schema in a form that code generators understand: number formats, defaults in words, and no `anyOf`."""
    if isinstance(schema, list):
        return [_for_generators(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {key: value if key in ("default", "examples", "enum") else _for_generators(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict):
        schema["properties"] = {name: _default_in_words(field) for name, field in schema["properties"].items()}
    kinds = schema.get("type")
    for kind in [kinds] if isinstance(kinds, str) else kinds if isinstance(kinds, list) else []:
        if kind in FORMATS:
            schema.setdefault("format", FORMATS[kind])
    choices = schema.pop("anyOf", None)
    if choices is None:
        return schema
    others = [choice for choice in choices if choice != {"type": "null"}]
    is_plain = len(others) == 1 and isinstance(others[0].get("type"), str) and COMPONENT not in others[0]
    if is_plain and len(choices) == 2:
        return {**others[0], **schema, "type": [others[0]["type"], "null"]}
    return {**schema, "oneOf": choices}


def _default_in_words(field: dict[str, Any]) -> dict[str, Any]:
    """The schema of a field with its default in the description: openapi-typescript makes fields with a default required."""
    if "default" not in field:
        return field
    kept = {key: value for key, value in field.items() if key != "default"}
    if field["default"] is not None:
        described = field.get("description", "")
        stop = "" if not described else " " if described.endswith(".") else ". "
        kept["description"] = f"{described}{stop}Default: `{json.dumps(field['default'])}`."
    return kept


def _with_components(schema: Any, named: dict[str, Any]) -> Any:
    """The schema with its components moved to `named`: those marked so, and the titled choices of a `oneOf`.

    Of the latter, generators lose a string next to an object.
    """
    if isinstance(schema, list):
        return [_with_components(item, named) for item in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {key: _with_components(value, named) for key, value in schema.items()}
    for k, choice in enumerate(schema.get("oneOf", ())):
        if "$ref" in choice:
            schema["oneOf"][k] = {"$ref": choice["$ref"]}  # pydantic repeats the field's description beside it
        elif "title" in choice:
            named[choice["title"]] = choice
            schema["oneOf"][k] = {"$ref": f"#/components/schemas/{choice['title']}"}
    names = schema.pop(COMPONENT, None)
    if names is None:
        return schema
    beside = {key: schema.pop(key) for key in BESIDE_REFERENCES if key in schema}
    beside.pop("title", None)
    found = {**schema, **names}
    assert named.setdefault(names["title"], found) == found, f"two components are called {names['title']}"
    return {"$ref": f"#/components/schemas/{names['title']}", **beside}
