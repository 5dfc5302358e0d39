"""The endpoints for answers that need derivatives. What they compute is in `app.solvers`."""

from collections.abc import Callable
from functools import partial

from fastapi import APIRouter

from app.api.errors import BODY_PROBLEMS, EXPRESSION_PROBLEMS, NUMBER_PROBLEMS
from app.api.solvers import fit as fits
from app.api.solvers import minimize as minimization
from app.api.solvers import propagate as propagation
from app.api.solvers.fit import FitProgress, FitRequest, FitResponse
from app.api.solvers.fit_picture import draw_fit
from app.api.solvers.minimize import MinimizeIteration, MinimizeRequest, MinimizeResponse
from app.api.solvers.propagate import PropagateRequest, PropagateResponse
from app.service import problems
from app.service.execution import Job
from app.service.routing import PNG, SVG, ComputationRoute, computation
from app.service.streaming import pushed
from app.solvers.fit import check_fit
from app.solvers.search import Iteration

PROBLEMS = (*BODY_PROBLEMS, *EXPRESSION_PROBLEMS, *NUMBER_PROBLEMS, "not-converged")

router = APIRouter(prefix="/v1", tags=["solvers"], route_class=ComputationRoute, responses=problems.responses(*PROBLEMS))


@router.post("/minimize", summary="The minimum of an expression")
@computation(estimate_seconds=minimization.estimate_seconds, ends_early=True)
def minimize(request: MinimizeRequest, job: Job) -> MinimizeResponse:
    """Searches for the smallest value within bounds and under constraints, with exact first and second derivatives.

    Every name of the expression is either fixed, in `inputs`, or a variable, in `initial`. Lists in `inputs` are data: their
    points are summed, so that a loss is minimized as it stands. By default the method follows from the problem: `trust-exact`;
    with bounds, `l-bfgs-b`; with constraints, `slsqp` and, if that does not reach a minimum, `trust-constr`. Newton steps then
    finish the search to the last digit. An `initial` outside its bounds is moved to the nearest point inside, and `message`
    says so. Points outside the function's domain are avoided, except for the start, which must lie in it.

    At the deadline the best point so far is returned, with `converged: false`. A function that is not bounded below is
    `not-converged`. The minimum is a local one; try several `starts` where there may be others.
    """
    return minimization.run(request, minimization.prepare(request, job), job)


@router.post("/minimize/stream", summary="The minimum of an expression, with progress")
@computation(streams=True)
def minimize_stream(request: MinimizeRequest, job: Job) -> minimization.Events:
    """The same request as `/v1/minimize`, answered by server-sent events.

    `progress` events hold an iteration each, without its point, at most every 100 ms. Then comes one `result` with the whole
    response of `/v1/minimize`, or one `error` with a problem.
    """
    plan = minimization.prepare(request, job)

    def work(send: Callable[[tuple[str, MinimizeIteration | MinimizeResponse]], None]) -> None:
        def watch(iteration: Iteration) -> None:
            send(("progress", minimization.progress(iteration)))

        send(("result", minimization.run(request, plan, job, watch)))

    return pushed(work)


@router.post("/fit", summary="Fit a curve to data")
@computation(
    estimate_seconds=fits.estimate_fit,
    ends_early=True,
    pictures={SVG: partial(draw_fit, form="svg"), PNG: partial(draw_fit, form="png")},
)
def fit(request: FitRequest, job: Job) -> FitResponse:
    """Nonlinear least squares, or a robust loss, with the exact Jacobian, finished to the last digit that doubles can give.

    `covariance` is s^2 (J'WJ)^-1. Intervals take the t quantile of `degrees_of_freedom`; `"intervals": "profile"` gives exact
    ones, which need not be symmetric. Bands and the standard errors of `derived` follow by exact gradients (the delta method).
    `influence` is the derivative of each parameter by each row of the target, by implicit differentiation. What the data do
    not determine is null.

    With `Accept: image/svg+xml` or `image/png` the response is a picture of data, curve and bands, with the residuals below;
    where the expression uses several columns of data, of observed against fitted. `derived`, `intervals` and `influence` make
    no difference to it.
    """
    return fits.run(request, fits.prepare(request, job), job)


@router.post("/fit/stream", summary="Fit a curve to data, with progress")
@computation(streams=True)
def fit_stream(request: FitRequest, job: Job) -> fits.Events:
    """The same request as `/v1/fit`, answered by server-sent events.

    `progress` events hold an iteration each, at most every 100 ms. Then comes one `result` with the whole response of
    `/v1/fit`, or one `error` with a problem.
    """
    given = fits.prepare(request, job)
    check_fit(given)  # before the stream begins, so that what is wrong is a response with status 422

    def work(send: Callable[[tuple[str, FitProgress | FitResponse]], None]) -> None:
        def watch(iteration: int, value: float, gradient_norm: float) -> None:
            send(("progress", FitProgress(iteration=iteration, value=value, gradient_norm=gradient_norm)))

        send(("result", fits.run(request, given, job, watch)))

    return pushed(work)


@router.post("/propagate", summary="Uncertainty of a measurement (GUM)")
@computation(estimate_seconds=propagation.estimate_propagation)
def propagate(request: PropagateRequest, job: Job) -> PropagateResponse:
    """The law of propagation of uncertainty of the GUM (JCGM 100), with exact sensitivities.

    `standard_uncertainty` combines the contributions |sensitivity| * uncertainty of the inputs with their correlations.
    `degrees_of_freedom` are the effective ones of Welch and Satterthwaite; null means infinitely many, or that there is no
    formula, as `message` then says. Inputs that are given by readings or with `dof` have finitely many, all others infinitely
    many. The coverage factor is that of the t-distribution with truncated degrees of freedom, unless the request has one.

    With `"order": 2`, `second_order` has the value f + sum 1/2 f_ii u_i^2 and the variance sum f_i^2 u_i^2 + sum over i and j
    of (1/2 f_ij^2 + f_i f_ijj) u_i^2 u_j^2 (5.1.2 of the GUM). With `monte_carlo`, distributions are propagated (JCGM 101): an
    input with `dof` is drawn from a t-distribution. `interval` has equal tails. `agrees` says whether its limits are those of
    the first-order interval, to two significant digits of the standard uncertainty.
    """
    return propagation.respond(request, job)
