"""Correlations between inputs: read from pairs, checked, and put to use."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy

from app.engine.errors import Place, UnknownNode, nearest, quote
from app.engine.interruption import Checkpoint, checked, never
from app.engine.tape import Bools, Floats, Ints
from app.solvers.distributions import Estimate
from app.solvers.errors import InvalidArgument

Pair = tuple[str, str, float]
"""Two inputs and their coefficient of correlation."""

TOLERANCE = 1e-10
"""An eigenvalue that is not further below 0 than this, times the number of inputs, counts as 0."""


@dataclass(frozen=True)
class Correlations:
    """The correlations of n inputs, of which k have any: `members` are their indices, and `matrix` has shape (k, k)."""

    members: Ints
    matrix: Floats

    def times(self, rows: Floats) -> Floats:
        """Return rows of shape (m, n) times the correlation matrix of all inputs."""
        product = rows.copy()
        if len(self.members):
            product[:, self.members] = rows[:, self.members] @ self.matrix
        return product

    def groups(self, active: Bools) -> list[Ints]:
        """Return the active inputs, of shape (n,), in groups: each is correlated with others of its group only."""
        here = self.members[active[self.members]]
        among = active[self.members]
        alone = active.copy()
        alone[here] = False
        groups = [np.array([k], np.int32) for k in np.flatnonzero(alone).tolist()]
        if len(here):
            count, labels = scipy.sparse.csgraph.connected_components(self.matrix[np.ix_(among, among)] != 0.0, directed=False)
            groups += [here[labels == label] for label in range(count)]
        return groups

    @cached_property
    def root(self) -> Floats:
        """A matrix of shape (k, k) whose product with its own transpose is `matrix`."""
        try:
            return np.asarray(np.linalg.cholesky(self.matrix), np.float64)
        except np.linalg.LinAlgError:  # it has an eigenvalue of 0
            values, vectors = np.linalg.eigh(self.matrix)
            root: Floats = vectors * np.sqrt(np.maximum(values, 0.0))
            return root


def correlated(
    inputs: Mapping[str, float | Estimate], names: Sequence[str], pairs: Sequence[Pair], checkpoint: Checkpoint = never
) -> Correlations:
    """Return the correlations of the inputs that are not exact, `names`.

    Raises UnknownNode and InvalidArgument, at the place `("correlations", k, ...)`: for a name that is no input, an exact
    input, a pair that is there twice, a coefficient outside [-1, 1]; and for a matrix that is not positive semidefinite.
    """
    index = {name: k for k, name in enumerate(names)}
    seen: dict[tuple[int, int], int] = {}
    for k, (a, b, r) in checked(enumerate(pairs), checkpoint):
        for side, name in enumerate((a, b)):
            _check_name(name, inputs, index, ("correlations", k, side))
        if a == b:
            raise InvalidArgument(f"{quote(a)} is correlated with itself; name two inputs", ("correlations", k))
        if not -1.0 <= r <= 1.0:
            detail = f"the correlation of {quote(a)} and {quote(b)} must be between -1 and 1, and {r!r} is not"
            raise InvalidArgument(detail, ("correlations", k, 2))
        key = (min(index[a], index[b]), max(index[a], index[b]))
        if key in seen:
            detail = f"the correlation of {quote(a)} and {quote(b)} is given twice, first in entry {seen[key]}"
            raise InvalidArgument(detail, ("correlations", k))
        seen[key] = k
    members = sorted({i for key, k in seen.items() if pairs[k][2] != 0.0 for i in key})
    place = {i: k for k, i in enumerate(members)}
    matrix = np.eye(len(members))
    for (i, j), k in seen.items():
        if pairs[k][2] != 0.0:
            matrix[place[i], place[j]] = matrix[place[j], place[i]] = pairs[k][2]
    _check_semidefinite(matrix, [names[i] for i in members])
    return Correlations(np.array(members, np.int32), matrix)


def _check_name(name: str, inputs: Mapping[str, float | Estimate], index: Mapping[str, int], place: Place) -> None:
    if name in index:
        return
    if name in inputs:
        raise InvalidArgument(f"{quote(name)} is exact, so it has no correlation; give it an uncertainty", place)
    hint = nearest(name, index) or (f" They are {', '.join(map(quote, index))}." if 0 < len(index) <= 8 else "")
    raise UnknownNode(f"{quote(name)} is none of the inputs that have an uncertainty.{hint}", place)


def _check_semidefinite(matrix: Floats, names: Sequence[str]) -> None:
    """Raise InvalidArgument unless a symmetric matrix could be a correlation matrix."""
    if not len(matrix):
        return
    smallest = float(np.linalg.eigvalsh(matrix)[0])
    if smallest < -TOLERANCE * len(matrix):
        shown = ", ".join(map(quote, names[:8])) + (", ..." if len(names) > 8 else "")
        detail = (
            f"the correlation matrix of {shown} is not positive semidefinite: its smallest eigenvalue is {smallest:.3g}, so no "
            "quantities can have these correlations"
        )
        raise InvalidArgument(detail, ("correlations",))
