"""The endpoints for datasets."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query

from app.api.expressions.work import BYTES_PER_NUMBER
from app.api.networks.models import DatasetName, DatasetQuery, DatasetResponse, DatasetRow, DatasetsResponse
from app.engine.errors import quote
from app.nn.datasets import MAX_SAMPLES, SOURCES, load
from app.nn.errors import InvalidNetwork
from app.service import problems
from app.service.execution import Job
from app.service.negotiation import JSON, Accepts
from app.service.problems import Problem
from app.service.routing import ComputationRoute, computation

SECONDS_PER_ROW = 2e-6
PREFIX = "/v1/datasets"
PROBLEMS = problems.responses("unauthorized", "not-acceptable", "internal")

router = APIRouter(prefix=PREFIX, tags=["networks"], responses=PROBLEMS)
computations = APIRouter(prefix=PREFIX, tags=["networks"], responses=PROBLEMS, route_class=ComputationRoute)


def estimate_rows(query: DatasetQuery) -> float:
    """Estimated run time in seconds of the rows of a dataset."""
    return SECONDS_PER_ROW * min(query.samples or 0, MAX_SAMPLES)


@router.get("", summary="All datasets", dependencies=[Depends(Accepts(JSON))])
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


@computations.get(
    "/{name}",
    summary="Rows of a dataset",
    responses=problems.responses(
        "not-found", "invalid-request", "too-large", "too-many-requests", "overloaded", "deadline-exceeded"
    ),
)
@computation(estimate_seconds=estimate_rows)
def dataset(
    name: Annotated[DatasetName, Path(description="The name of a dataset", examples=["moons"])],
    query: Annotated[DatasetQuery, Query()],
    job: Job,
) -> DatasetResponse:
    """Inputs and targets, ready to be the `data` of a training as they are.

    Generated datasets have the targets -1 and 1; bundled ones have classes or numbers. The same query gives the same rows;
    `moons` with a seed is scikit-learn's `make_moons(samples, noise=noise, random_state=seed)`.
    """
    if name not in SOURCES:
        raise Problem("not-found", f"there is no dataset {quote(name)}; there are {', '.join(SOURCES)}")
    source = SOURCES[name]
    rows = min(query.samples or source.samples, source.max_samples)
    job.reserve(BYTES_PER_NUMBER * rows * (source.features + 1))
    try:
        made = load(name, query.samples, query.noise, query.seed)
    except InvalidNetwork as error:
        raise Problem("invalid-request", error.detail) from None
    classes = {} if made.classes is None else {"classes": made.classes}
    return DatasetResponse(name=made.name, inputs=made.inputs, targets=made.targets, features=made.inputs.shape[1], **classes)
