"""Pictures of networks, drawn from requests: decision boundaries and histories."""

import numpy as np

from app.api.errors import drawable
from app.api.expressions.work import check_drawn, reserve_picture
from app.api.networks import translation, work
from app.api.networks.models import BoundaryRequest, HistoryRequest
from app.nn import evaluation
from app.nn.model import Floats, Model
from app.pictures.canvas import Format
from app.pictures.networks import Boundary, boundary_picture, history_picture
from app.service.execution import Job
from app.service.problems import problem_at

GRID_LINES = 200
"""How many points the grid of a picture has in each direction, whatever the `step` of the request."""

DEFAULT_RANGE = np.array([[-1.0, -1.0], [1.0, 1.0]])
"""What the grid covers if there are no data."""


def draw_boundary(request: BoundaryRequest, job: Job, form: Format) -> bytes:
    """The picture of a decision boundary. Raises Problem."""
    model = translation.model_of(request.model, job, "model")
    translation.check_two_inputs(model)
    points, targets = np.empty((0, 2)), None
    if request.data is not None:
        points, targets = translation.points_of(request.data, model)
    check_drawn(job, len(points), "points", ("data",))
    around = points if request.data is not None else DEFAULT_RANGE
    with drawable("data"), np.errstate(all="ignore"):
        low, high = around.min(axis=0) - request.padding, around.max(axis=0) + request.padding
        if not (low < high).all():
            detail = "the grid has no points; data without extent need a padding above 0"
            raise problem_at("invalid-request", ("padding",), detail)
        xs, ys = (np.linspace(low[k], high[k], GRID_LINES) for k in range(2))
        work.check_scores(job, model, GRID_LINES**2 + len(points), ("model",))
        scores = _scores(model, np.column_stack([np.tile(xs, len(ys)), np.repeat(ys, len(xs))]), job)
        accuracy = None
        if targets is not None and len(points):
            accuracy = _accuracy(_scores(model, points, job), targets)
        shown = targets if accuracy is not None else None
        boundary = Boundary(xs, ys, scores.reshape(len(ys), len(xs), model.outputs), points, shown, accuracy)
        reserve_picture(job, len(points) + scores.size)
        return boundary_picture(boundary, form, checkpoint=job.check)


def _scores(model: Model, inputs: Floats, job: Job) -> Floats:
    if not np.isfinite(inputs).all():
        raise problem_at("invalid-request", ("padding",), "the grid ends beyond the largest number; take a smaller padding")
    return translation.check_finite(evaluation.predict(model, inputs, checkpoint=job.check))


def _accuracy(scores: Floats, targets: Floats) -> float | None:
    """The share of rows whose class is that of the scores; None where the targets, one per row, are no classes."""
    found = set(np.unique(targets).tolist())
    if scores.shape[1] > 1:
        if not found <= set(map(float, range(scores.shape[1]))):
            return None
        return float(np.mean(scores.argmax(axis=1) == targets))
    if found <= {-1.0, 1.0} or found <= {0.0, 1.0}:
        return float(np.mean((scores[:, 0] > 0.0) == (targets > 0.0)))
    return None


def draw_history(request: HistoryRequest, job: Job, form: Format) -> bytes:
    """The picture of a history. Raises Problem."""
    translation.check_history(request)
    check_drawn(job, len(request.history), "rows", ("history",))
    steps = [row.step for row in request.history]
    columns = translation.history_columns(request)
    columns.pop("learning_rate", None)
    reserve_picture(job, len(steps))
    with drawable("history"):
        return history_picture(steps, columns, form, checkpoint=job.check)
