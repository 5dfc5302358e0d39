"""Errors about files of other programs.

EngineError
├── InvalidFile          a file is damaged, or holds something that is not read
├── CannotExport         a model has no counterpart in a format
└── MissingLibrary       an optional library is needed
"""

from importlib import import_module
from typing import Any

from app.engine.errors import EngineError


class InvalidFile(EngineError):
    """A file is damaged, or holds something that is not read."""


class CannotExport(EngineError):
    """A model uses something that a format does not have."""


class MissingLibrary(EngineError):
    """A library that is not installed is needed."""


def optional(module: str) -> Any:
    """Import a module of the extra `interop`, the first time it is needed. Raises MissingLibrary."""
    try:
        return import_module(module)
    except ImportError:
        detail = f"{module.partition('.')[0]} is not installed here; install it with: pip install 'autodiff-http[interop]'"
        raise MissingLibrary(detail) from None
