"""The endpoints for datasets: stock FastAPI GETs."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query

from app.api.networks.models import DatasetQuery, DatasetResponse, DatasetRow, DatasetsResponse
from app.engine.errors import quote
from app.nn.datasets import SOURCES, load
from app.nn.errors import InvalidNetwork
from app.service import problems
from app.service.negotiation import JSON, Accepts
from app.service.problems import Problem

router = APIRouter(
    prefix="/v1/datasets",
    tags=["networks"],
    dependencies=[Depends(Accepts(JSON))],
    responses=problems.responses("unauthorized", "not-acceptable", "internal"),
)


@router.get("", summary="All datasets")
async def datasets() -> DatasetsResponse:
    """Their names, numbers of features and rows, and what their targets are."""
    rows = [
        DatasetRow(
            name=source.name,
            description=source.description,
            features=source.features,
            classes=source.classes,
            targets=source.targets,
            samples=source.samples,
            noise=source.noise if source.generated else None,
        )
        for source in SOURCES.values()
    ]
    return DatasetsResponse(datasets=rows)


@router.get(
    "/{name}",
    summary="Rows of a dataset",
    response_model_exclude_unset=True,
    responses=problems.responses("not-found", "invalid-request"),
)
def dataset(
    name: Annotated[str, Path(description="The name of a dataset", examples=["moons"])],
    query: Annotated[DatasetQuery, Query()],
) -> DatasetResponse:
    """Inputs and targets, ready to be the `data` of a training as they are.

    Generated datasets have the targets -1 and 1; bundled ones have classes or numbers. The same query gives the same rows;
    `moons` with a seed is scikit-learn's `make_moons(samples, noise=noise, random_state=seed)`.
    """
    if name not in SOURCES:
        raise Problem("not-found", f"there is no dataset {quote(name)}; there are {', '.join(SOURCES)}")
    try:
        made = load(name, query.samples, query.noise, query.seed)
    except InvalidNetwork as error:
        raise Problem("invalid-request", error.detail) from None
    classes = {} if made.classes is None else {"classes": made.classes}
    return DatasetResponse(name=made.name, inputs=made.inputs, targets=made.targets, features=made.inputs.shape[1], **classes)
