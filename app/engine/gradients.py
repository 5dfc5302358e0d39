"""Gradient tables, which `backward` returns instead of writing into values."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from app.engine.errors import MAX_COMPARED_NAMES, nearest, quote

MAX_NAMES_SHOWN = 8

Key = TypeVar("Key")
Entry = TypeVar("Entry")


class Gradients(Mapping[Key, Entry], Generic[Key, Entry]):
    """An immutable mapping from an id to the derivative of the output by that node.

    An entry is a float, or, for many points, an array of shape (points,). A table of a graph has the names that were asked for,
    with 0.0 for those that the output does not depend on; another name is a KeyError. A table of values has those that the
    output was computed from; any other value has the gradient 0.0. Iterates over the keys; `dict(gradients)` is a copy.
    """

    __slots__ = ("_entries", "_index")

    _index: Mapping[Key, int]
    _entries: Sequence[Entry] | npt.NDArray[np.float64]

    def __init__(self, table: Mapping[Key, Entry]) -> None:
        object.__setattr__(self, "_index", {key: k for k, key in enumerate(table)})
        object.__setattr__(self, "_entries", list(table.values()))

    @classmethod
    def of(cls, index: Mapping[Key, int], entries: npt.NDArray[np.float64]) -> "Gradients[Key, Entry]":
        """Return the table in which `entries[index[key]]` is the entry of `key`, without copying either.

        `entries` has shape (n,) or (n, points) and becomes read-only. If there are as many keys as entries, they must be in the
        order of the entries. A graph has an index of its nodes already, so a table of all nodes costs nothing.
        """
        made = cls.__new__(cls)
        entries.flags.writeable = False
        object.__setattr__(made, "_index", index)
        object.__setattr__(made, "_entries", entries)
        return made

    def copy(self) -> dict[Key, Entry]:
        """Return the entries as a dict, faster than `dict(gradients)`."""
        entries: Any = self._entries
        if isinstance(entries, np.ndarray) and entries.ndim == 1:
            entries = entries.tolist()
        if len(self._index) == len(entries):
            return dict(zip(self._index, entries, strict=True))
        return {key: entries[k] for key, k in self._index.items()}

    def parts(self, size: int) -> Iterator[dict[Key, Entry]]:
        """Return a table of numbers as dicts of up to `size` entries each, without one of all of them."""
        entries: Any = self._entries
        if len(self._index) != len(entries):
            entries = entries[list(self._index.values())]
        keys = iter(self._index)
        for low in range(0, len(entries), size):
            yield dict(zip(itertools.islice(keys, size), entries[low : low + size].tolist(), strict=True))

    @property
    def are_numbers(self) -> bool:
        """Return whether every entry is one number, and all of them are in one array."""
        return isinstance(self._entries, np.ndarray) and self._entries.ndim == 1

    def is_finite(self) -> bool:
        """Return whether all entries are in one array, and all its numbers are finite."""
        return isinstance(self._entries, np.ndarray) and bool(np.isfinite(self._entries).all())

    def __getitem__(self, key: Key) -> Entry:
        k = self._index.get(key)
        if k is None and isinstance(key, str):
            raise KeyError(f"there is no gradient by {quote(key)}.{_known(key, self._index)}")
        entry: Any = 0.0 if k is None else self._entries[k]
        return float(entry) if isinstance(entry, np.floating) else entry  # type: ignore[return-value]  # an Entry

    def __contains__(self, key: object) -> bool:
        return key in self._index

    def __iter__(self) -> Iterator[Key]:
        return iter(self._index)

    def __len__(self) -> int:
        return len(self._index)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("Gradients are immutable")

    def __delattr__(self, name: str) -> None:
        raise AttributeError("Gradients are immutable")

    def __repr__(self) -> str:
        return f"Gradients({self.copy()!r})"


def _known(name: str, names: Mapping[Any, int]) -> str:
    """Return a hint at the names of a table."""
    texts = [key for key, _ in zip(names, range(MAX_COMPARED_NAMES), strict=False) if isinstance(key, str)]
    if not texts:
        return " The table is by values: look up the value itself."
    few = f" There are {', '.join(map(quote, texts))}." if len(texts) <= MAX_NAMES_SHOWN else ""
    return nearest(name, texts) or few


class Tables(Mapping[Key, Gradients[Key, Entry]], Generic[Key, Entry]):
    """Gradient tables by id: a matrix with names, whose rows become tables when they are accessed."""

    __slots__ = ("_columns", "_matrix", "_rows")

    def __init__(self, rows: Sequence[Key], columns: Sequence[Key], matrix: npt.NDArray[np.float64]) -> None:
        self._rows: Mapping[Key, int] = {key: k for k, key in enumerate(rows)}
        self._columns: Mapping[Key, int] = {key: k for k, key in enumerate(columns)}
        self._matrix = matrix

    @classmethod
    def of(cls, rows: Mapping[Key, int], columns: Mapping[Key, int], matrix: npt.NDArray[np.float64]) -> "Tables[Key, Entry]":
        """Return the tables in which `matrix[rows[a], columns[b]]` is the entry of `b` in the table of `a`."""
        made = cls.__new__(cls)
        made._rows, made._columns, made._matrix = rows, columns, matrix
        return made

    def __getitem__(self, key: Key) -> Gradients[Key, Entry]:
        return Gradients.of(self._columns, self._matrix[self._rows[key]])

    def is_finite(self) -> bool:
        """Return whether all numbers of the matrix are finite."""
        return bool(np.isfinite(self._matrix).all())

    def __iter__(self) -> Iterator[Key]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        return f"Tables({dict(self)!r})"
