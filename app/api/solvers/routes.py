"""The endpoints for answers that need derivatives. What they compute is in `app.solvers`."""

from fastapi import APIRouter

from app.api.errors import BODY_PROBLEMS, EXPRESSION_PROBLEMS, NUMBER_PROBLEMS
from app.api.solvers import fit as fits
from app.api.solvers.fit import FitRequest, FitResponse
from app.service import problems
from app.service.execution import Job
from app.service.routing import ComputationRoute, computation

PROBLEMS = (*BODY_PROBLEMS, *EXPRESSION_PROBLEMS, *NUMBER_PROBLEMS)

router = APIRouter(prefix="/v1", tags=["solvers"], route_class=ComputationRoute, responses=problems.responses(*PROBLEMS))


@router.post("/fit", summary="Fit a curve to data")
@computation(estimate_seconds=fits.estimate_fit)
def fit(request: FitRequest, job: Job) -> FitResponse:
    """Nonlinear least squares, or a robust loss, with the exact Jacobian, finished to the last digit that doubles can give.

    `covariance` is s^2 (J'WJ)^-1. Intervals take the t quantile of `degrees_of_freedom`; `"intervals": "profile"` gives exact
    ones, which need not be symmetric. Bands and the standard errors of `derived` follow by exact gradients (the delta method).
    `influence` is the derivative of each parameter by each row of the target, by implicit differentiation. What the data do
    not determine is null.
    """
    return fits.respond(request, job)
