"""Limits seen from outside: a request at a limit is answered, and the same request is refused where the limit is one lower."""

import json
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import httpx
from fastapi import FastAPI
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from app.main import create_app
from app.settings import Settings
from tests.service.inprocess import send


@dataclass(frozen=True)
class AtLimit:
    """A request that is exactly as large as a limit allows.

    Attributes:
        path: without `/v1/`.
        body: the request.
        setting: the limit that it reaches.
        size: how large it is, at least 2.
        pointers: the places that the refusal points at.
        settings: other settings of the service.
    """

    path: str
    body: dict[str, Any]
    setting: str
    size: int
    pointers: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)


class _Given(Settings):
    """Settings as they are given. Looking for each of them in the environment takes longer than most requests."""

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource, *_: Any, **others: Any
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)


@cache
def _app() -> FastAPI:
    return create_app(Settings())


def app_with(**settings: Any) -> FastAPI:
    """The service with these settings, until the next call.

    It is always the same application with other settings, because building one takes longer than most requests.
    """
    app = _app()
    app.state.settings = _Given(**settings)
    return app


def post(path: str, body: Any, **settings: Any) -> httpx.Response:
    """The response to a POST of a body to a path below /v1/."""
    content = json.dumps(body, ensure_ascii=False).encode()
    return send(app_with(**settings), "POST", f"/v1/{path}", content=content, headers={"Content-Type": "application/json"})


def assert_too_large(response: httpx.Response, setting: str, limit: int, pointers: tuple[str, ...], status: int = 422) -> None:
    """The response refuses what is over a limit: it names the limit and the setting, and points at these places."""
    problem = response.json()
    assert response.headers["content-type"] == "application/problem+json"
    assert (response.status_code, problem["status"], problem["type"]) == (status, status, "/problems/too-large")
    assert f"AUTODIFF_{setting.upper()}" in problem["detail"]
    assert f"the limit is {limit}" in problem["detail"]
    assert tuple(error["pointer"] for error in problem.get("errors", ())) == pointers
    assert all(error["detail"] == problem["detail"] for error in problem.get("errors", ()))


def assert_held(case: AtLimit) -> httpx.Response:
    """The request is answered at its limit and refused one below. Returns the answer."""
    answer = post(case.path, case.body, **case.settings, **{case.setting: case.size})
    assert answer.status_code == 200, answer.text
    lower = case.size - 1
    assert_too_large(post(case.path, case.body, **case.settings, **{case.setting: lower}), case.setting, lower, case.pointers)
    return answer
