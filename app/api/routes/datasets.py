"""The endpoints for datasets."""

from fastapi import APIRouter, Request
from msgspec import UNSET

from app.api.endpoint import QueryParameter, description
from app.api.problems import Problem
from app.api.schemas.networks import DatasetAnswer, DatasetRow, DatasetsAnswer
from app.engine.errors import quote
from app.nn.datasets import SOURCES, load
from app.nn.errors import InvalidNetwork

router = APIRouter(prefix="/v1/datasets", tags=["networks"])


@description(router, "")
def datasets(request: Request) -> DatasetsAnswer:
    """All datasets.

    Their names, numbers of features and rows, and what their targets are.
    """
    return DatasetsAnswer(
        [
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
    )


@description(
    router,
    "/{name}",
    problems=("not-found", "invalid-request", "not-acceptable", "internal"),
    path_example="moons",
    query=(
        QueryParameter("samples", int, "The number of rows; default: the dataset's own"),
        QueryParameter("noise", float, "The noise of a generated dataset; default: the dataset's own"),
        QueryParameter("seed", int, "Of what is drawn; default: 0"),
    ),
    pooled=True,
)
def dataset(request: Request) -> DatasetAnswer:
    """Rows of a dataset, with their targets.

    Generated sets (`moons`, `circles`, `blobs`, `spiral`, `xor`) have the targets -1 and 1; bundled ones classes, or numbers.
    The same query gives the same rows; `moons` with a seed is scikit-learn's `make_moons(samples, noise=noise,
    random_state=seed)`. The answer can be the `data` of a training as it is.
    """
    name, given = request.path_params["name"], request.state.query
    if name not in SOURCES:
        raise Problem("not-found", f"there is no dataset {quote(name)}; there are {', '.join(SOURCES)}")
    try:
        made = load(name, given["samples"], given["noise"], given["seed"] or 0)
    except InvalidNetwork as error:
        raise Problem("invalid-request", error.detail) from None
    return DatasetAnswer(
        name=made.name,
        inputs=made.inputs.tolist(),
        targets=made.targets.tolist(),
        features=made.inputs.shape[1],
        classes=UNSET if made.classes is None else made.classes,
    )
