"""The gradient table: what `backward` returns instead of writing into the values. Not here: how it is computed."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Generic, TypeVar

Key = TypeVar("Key")
Entry = TypeVar("Entry")


class Gradients(Mapping[Key, Entry], Generic[Key, Entry]):
    """An immutable table from an id to the derivative of the output by that node.

    A float for each id, or, for many points, an array with one entry a point. An id that is not in the table has
    the gradient 0.0, as the output does not depend on it. Iterates over the ids; `dict(gradients)` is a copy.
    """

    __slots__ = ("_table",)

    def __init__(self, table: Mapping[Key, Entry]) -> None:
        object.__setattr__(self, "_table", MappingProxyType(dict(table)))

    _table: MappingProxyType[Key, Entry]

    @classmethod
    def owning(cls, table: dict[Key, Entry]) -> "Gradients[Key, Entry]":
        """A table of this dict, which nobody else has, and so is not copied."""
        made = cls.__new__(cls)
        object.__setattr__(made, "_table", MappingProxyType(table))
        return made

    def copy(self) -> dict[Key, Entry]:
        """The entries as a dict; as `dict(gradients)`, but faster."""
        return self._table | {}

    def __getitem__(self, key: Key) -> Entry:
        return self._table.get(key, 0.0)  # type: ignore[return-value]  # zero is right for a number and for an array

    def __contains__(self, key: object) -> bool:
        return key in self._table

    def __iter__(self) -> Iterator[Key]:
        return iter(self._table)

    def __len__(self) -> int:
        return len(self._table)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("Gradients are immutable")

    def __delattr__(self, name: str) -> None:
        raise AttributeError("Gradients are immutable")

    def __repr__(self) -> str:
        return f"Gradients({dict(self._table)!r})"
