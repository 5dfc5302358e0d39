"""The endpoints for networks as files: out to other programs and in from them. The formats are in `app.formats`."""

from typing import Annotated

from fastapi import APIRouter, Body, Response

from app.api.errors import BODY_PROBLEMS, located
from app.api.networks import translation, work
from app.api.networks.models import NetworkExportRequest, NetworkImportRequest, NetworkImportResponse
from app.formats.network_source import LANGUAGES, write_source
from app.formats.onnx_export import write_onnx
from app.formats.onnx_import import read_onnx
from app.formats.safetensors_files import is_safetensors, read_safetensors, write_safetensors
from app.service import problems
from app.service.execution import Job
from app.service.negotiation import FILE
from app.service.routing import ComputationRoute, computation, file_response

PROBLEMS = (*BODY_PROBLEMS, "shape-mismatch", "not-available")

router = APIRouter(
    prefix="/v1/networks", tags=["networks"], route_class=ComputationRoute, responses=problems.responses(*PROBLEMS)
)


@router.post("/export", summary="A network as a file for other programs")
@computation(estimate_seconds=work.estimate_export, file=True)
def network_export(request: NetworkExportRequest, job: Job) -> Response:
    """The file, with its name in `Content-Disposition`. Weights keep all their digits.

    `onnx` is in double precision, with operators that onnxruntime computes in double; an activation that has none, such as
    `erf` or `gelu`, is an error. `safetensors` has the activations in its metadata. `pytorch` and `numpy` are Python modules,
    `c` is a function in C11, `javascript` an ES module; none of them needs anything but what its language has.
    """
    model = translation.model_of(request.model, job, "model")
    work.check_export(job, model, request.format)
    content: list[bytes | memoryview]
    with located("model"):
        if request.format in LANGUAGES:
            content = list(write_source(model, request.format, checkpoint=job.check))
            name = f"network.{LANGUAGES[request.format].suffix}"
        else:
            write = write_onnx if request.format == "onnx" else write_safetensors
            content = list(write(model, checkpoint=job.check))
            name = f"network.{request.format}"
    return file_response(content, name)


@router.post("/import", summary="A network from a file of another program")
@computation(estimate_seconds=work.estimate_import)
def network_import(
    request: Annotated[NetworkImportRequest, Body(media_type=FILE)],
    job: Job,
) -> NetworkImportResponse:
    """The body is an ONNX file, or a safetensors file that `/v1/networks/export` wrote.

    An ONNX file must be a chain of layers: `Gemm` or `MatMul` and `Add`, activations, and what leaves numbers as they are
    (`Identity`, `Cast`, `Flatten`, `Reshape`). A scaler at its beginning is folded into the first layer. A last `Softmax` or
    `Sigmoid`, and what makes labels of it, are left out and listed in `removed`, since scores are logits here. Any other
    operator is an error that names it. External data are not read.
    """
    content = request.content
    size = len(content)
    work.check_import(job, size, 0)
    read = read_safetensors if is_safetensors(content) else read_onnx
    with located(whole=True):
        imported = read(content, reserve=lambda numbers: work.check_import(job, size, numbers), checkpoint=job.check)
    model = imported.model
    return NetworkImportResponse(model=translation.model_response(model), parameters=model.size, removed=list(imported.removed))
