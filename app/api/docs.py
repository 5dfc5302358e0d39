"""The documentation: the OpenAPI document, and Swagger UI with every asset served by the service itself.

The assets are those that the package fastapi-offline carries; its own code is not used.
"""

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec
from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.openapi.utils import get_openapi
from fastapi.responses import FileResponse, HTMLResponse
from starlette.exceptions import HTTPException

from app import __version__
from app.api.endpoint import DESCRIBED, SCHEMAS

router = APIRouter(include_in_schema=False)

DESCRIPTION = """\
Post an expression, as text or as a JSON graph of scalar operations, and get its value and a **table of gradients** back.
Nothing is stored: a request carries everything, and the same request gets the same answer.

* An expression is a text such as `h = tanh(w*x + b); (h - y)**2`, or `{"nodes": [...], "output": "y"}`.
* `inputs` gives numbers to its leaves; lists in it evaluate the expression at many points at once.
* Every error is `application/problem+json` with a `type` that leads to a page about it.
* Every answer has an `X-Request-ID`, the request's own or a new one.
* All POSTs are pure, so they are safe to repeat.
"""

PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>autodiff-http</title>
<link rel="icon" type="image/png" href="{root}/docs/favicon.png">
<link rel="stylesheet" href="{root}/docs/swagger-ui.css">
</head>
<body>
<div id="swagger-ui" data-document="{root}/openapi.json"></div>
<script src="{root}/docs/swagger-ui-bundle.js"></script>
<script src="{root}/docs/start.js"></script>
</body>
</html>
"""

START = """\
SwaggerUIBundle({
  url: document.getElementById("swagger-ui").dataset.document,
  dom_id: "#swagger-ui",
  deepLinking: true,
  displayRequestDuration: true,
  defaultModelsExpandDepth: 0,
  tryItOutEnabled: true,
  validatorUrl: null,
});
"""

MEDIA_TYPES = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "favicon.png": "image/png",
}


@cache
def _assets() -> Path:
    spec = find_spec("fastapi_offline")
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent / "static"


@router.get("/docs")
async def docs(request: Request) -> Response:
    """The page with Swagger UI."""
    return HTMLResponse(PAGE.format(root=request.scope.get("root_path", "")))


@router.get("/docs/start.js")
async def start(request: Request) -> Response:
    """What starts Swagger UI: a script of its own, so that a content security policy can forbid those in pages."""
    return Response(START, media_type="text/javascript")


@router.get("/docs/{name}")
async def asset(name: str) -> Response:
    """Swagger UI's script, style sheet and icon."""
    if name not in MEDIA_TYPES:
        raise HTTPException(404)
    return FileResponse(_assets() / name, media_type=MEDIA_TYPES[name], headers={"Cache-Control": "max-age=86400"})


@router.get("/openapi.json")
async def openapi(request: Request) -> Response:
    """The OpenAPI document."""
    return Response(msgspec.json.encode(document(request.app)), media_type="application/json")


def document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document: FastAPI's paths, with the schemas of the structs that are really on the wire."""
    if app.openapi_schema is None:
        schema = get_openapi(
            title="autodiff-http",
            version=__version__,
            summary="Automatic differentiation as a web service.",
            description=DESCRIPTION,
            license_info={"name": "MIT", "identifier": "MIT"},
            routes=app.routes,
        )
        _, components = msgspec.json.schema_components(SCHEMAS, ref_template="#/components/schemas/{name}")
        key = {"type": "http", "scheme": "bearer", "description": "An API key, where the service has any"}
        schema["components"] = {"schemas": dict(sorted(components.items())), "securitySchemes": {"ApiKey": key}}
        schema["security"] = [{"ApiKey": []}] if app.state.settings.keys else [{}, {"ApiKey": []}]
        if app.root_path:
            schema["servers"] = [{"url": app.root_path}]
        for path, operations in schema["paths"].items():
            for operation in operations.values():
                operation |= DESCRIBED.get(operation["operationId"], {})
                if not path.startswith("/v1"):
                    operation["security"] = []
        app.openapi_schema = schema
    return app.openapi_schema
