"""Gradient tables, which `backward` returns instead of writing into values."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

Key = TypeVar("Key")
Entry = TypeVar("Entry")


class Gradients(Mapping[Key, Entry], Generic[Key, Entry]):
    """An immutable mapping from an id to the derivative of the output by that node.

    An entry is a float, or, for many points, an array of shape (points,). An id that is not in the table has the gradient
    0.0, because the output does not depend on it. Iterates over the ids; `dict(gradients)` is a copy.
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

    def __getitem__(self, key: Key) -> Entry:
        k = self._index.get(key)
        entry: Any = 0.0 if k is None else self._entries[k]  # zero is right for a number and for an array
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


class Tables(Mapping[Key, Gradients[Key, Entry]], Generic[Key, Entry]):
    """Gradient tables by id: a matrix with names, whose rows become tables when they are accessed."""

    __slots__ = ("_columns", "_matrix", "_rows")

    def __init__(self, rows: Sequence[Key], columns: Sequence[Key], matrix: npt.NDArray[np.float64]) -> None:
        self._rows = {key: k for k, key in enumerate(rows)}
        self._columns = {key: k for k, key in enumerate(columns)}
        self._matrix = matrix

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
