"""What the bridges have in common: errors in another protocol's form, and the inputs of an expression as a vector."""

from abc import abstractmethod
from collections.abc import Callable, Coroutine
from functools import lru_cache
from typing import Any, TypeVar

import orjson
from fastapi import Request, Response
from pydantic import BaseModel
from starlette.requests import ClientDisconnect

from app.api.errors import problem_for
from app.engine.errors import EngineError
from app.engine.graph import Graph
from app.service import problems
from app.service.negotiation import JSON
from app.service.problems import ProblemDetails
from app.service.routing import ComputationRoute

TAG = "Bridges"
"""The group of the bridges in the documentation."""

Made = TypeVar("Made", bound=BaseModel)

Handler = Callable[[Request], Coroutine[Any, Any, Response]]

KEPT_HEADERS = ("retry-after", "connection", "accept-post", "accept-encoding")


def request_of(model: type[Made], graph: Graph, **fields: Any) -> Made:
    """A request of /v1 for a graph. It is not validated, since its fields are from our own code."""
    made: Made = _with_defaults(model).model_copy(update={"expression": graph, **fields})
    return made


@lru_cache
def _with_defaults(model: type[BaseModel]) -> Any:
    """A request of which only the defaults are set: to copy it is faster than to look for them each time."""
    return model.model_construct()


class BridgeRoute(ComputationRoute):
    """A route for a computation whose errors have the form of another protocol."""

    @abstractmethod
    def translate(self, details: ProblemDetails) -> tuple[int, Any] | None:
        """The status and the JSON for a problem; None where the problem is answered as it is everywhere else."""

    def get_route_handler(self) -> Handler:
        """The handler of computations, behind one that translates what it raises."""
        handle = super().get_route_handler()

        async def handle_translated(request: Request) -> Response:
            try:
                return await handle(request)
            except ClientDisconnect:
                raise
            except Exception as error:
                return await self._answer_error(request, error)

        return handle_translated

    async def _answer_error(self, request: Request, error: Exception) -> Response:
        if isinstance(error, EngineError):  # here, as these protocols have no null in place of a number that is not finite
            error = problem_for(error, "", nulls_allowed=False)
        response = await problems.answer(request, error)
        translated = self.translate(ProblemDetails.model_validate_json(bytes(response.body)))
        if translated is None:
            return response
        status, content = translated
        headers = {name: response.headers[name] for name in KEPT_HEADERS if name in response.headers}
        return Response(orjson.dumps(content), status, headers, JSON)


def free_inputs(graph: Graph) -> tuple[str, ...]:
    """The named leaves without a number of their own, in the order of the expression; if all have one, all named leaves."""
    unbound = tuple(name for name in graph.leaves if graph.nodes[graph.index[name]].data is None)
    return unbound or graph.leaves
