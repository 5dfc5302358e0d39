"""Where the examples of the documentation lie."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.service import examples


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """The folder of the examples where the service is installed, and not run from its sources."""
    module, folder = tmp_path / "app" / "service" / "examples.py", tmp_path / "app" / "examples"
    for path in (module.parent, folder):
        path.mkdir(parents=True)
    monkeypatch.setattr(examples, "__file__", str(module))
    examples._examples.cache_clear()
    yield folder
    examples._examples.cache_clear()


def test_installed_service_has_its_examples(installed: Path) -> None:
    """The shortest request comes first."""
    for name, request in {
        "long": {"expression": "x + y"},
        "short": {"expression": "x"},
        "middle": {"expression": "x+1"},
    }.items():
        content = {"summary": f"A {name} one", "request": request, "answer": {"value": len(name)}}
        (installed / f"forward.{name}.json").write_text(json.dumps(content), "utf-8")
    (installed / "forward_other.name.json").write_text("{}", "utf-8")
    (installed / "forward.answer.json").write_text('{"summary": "Only this", "answer": {}}', "utf-8")
    requests, answers = examples.request_examples("forward"), examples.response_examples("forward")
    assert list(requests) == ["short", "middle", "long"]
    assert requests["long"] == {"summary": "A long one", "value": {"expression": "x + y"}}
    assert answers["long"] == {"summary": "A long one", "value": {"value": 4}}
    assert answers.keys() == {"short", "middle", "long", "answer"}
