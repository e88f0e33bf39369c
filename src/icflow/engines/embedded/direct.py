"""Terms that no table holds: XSPEC's functions are asked at every step.

Slower than tables by a factor of hundreds, and never wrong: free column
densities, several free shape parameters in one term, any additive and
multiplicative model of XSPEC. Where a fit stands, such a term is a row, and
every free shape parameter a row more, the derivative by it: a tangent, along
which the fit goes as far as it can be trusted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from icflow.engines.embedded.parameters import Model
from icflow.engines.embedded.terms import REDSHIFT, shape_parameters
from icflow.models.expression import Term
from icflow.typing import Floats

DIFFERENCE = 1e-4  # relative step of numerical derivatives
DIFFERENCE_REDSHIFT = 2e-3  # absolute: smaller ones fall between the hops of lines
KEPT = 64  # rows that are kept, so that none is asked for twice

# Expected counts in the selected channels of a term with norm 1, at given parameters.
Fold = Callable[[Term, Mapping[str, float]], Floats]


@dataclass(frozen=True)
class DirectTerm:
    """A term without a table.

    Attributes
    ----------
    row : int
        Where its counts stand among the rows of the shapes.
    tangents : dict of int to int
        By position of its free shape parameters, where the derivatives stand.
    """

    term: Term
    row: int
    tangents: dict[int, int]


@dataclass(frozen=True)
class Direct:
    """All terms of a model that no table holds.

    Attributes
    ----------
    fold : callable
        See `Fold`.
    """

    model: Model
    terms: tuple[DirectTerm, ...]
    fold: Fold
    kept: dict[tuple[object, ...], Floats] = field(default_factory=dict)

    @property
    def parameters(self) -> list[int]:
        """Positions of the parameters that the tangents go along."""
        return sorted({p for term in self.terms for p in term.tangents})

    def rows(self, theta: Floats, tangents: bool = True) -> dict[int, Floats]:
        """Return counts and derivatives at some parameters, by the row that they belong in.

        Parameters
        ----------
        tangents : bool
            Whether to evaluate the derivatives; otherwise they are 0.
        """
        rows = {}
        for term in self.terms:
            here = rows[term.row] = self._counts(term, theta)
            for position, row in term.tangents.items():
                rows[row] = np.zeros_like(here)
                if tangents:
                    moved = theta.copy()
                    moved[position] += self._difference(position, theta)
                    step = moved[position] - theta[position]
                    rows[row] = (self._counts(term, moved) - here) / step
        return rows

    def _counts(self, term: DirectTerm, theta: Floats) -> Floats:
        names = shape_parameters(term.term)
        values = {name: float(theta[self.model.position[name]]) for name in names}
        key = (term.row, *values.values())
        if key not in self.kept:
            if len(self.kept) >= KEPT:
                del self.kept[next(iter(self.kept))]
            self.kept[key] = self.fold(term.term, values)
        return self.kept[key]

    def _difference(self, position: int, theta: Floats) -> float:
        if self.model.names[position].endswith(f".{REDSHIFT}"):
            step = DIFFERENCE_REDSHIFT
        else:
            step = DIFFERENCE * max(abs(theta[position]), 1e-2)
        return -step if theta[position] + step > self.model.upper[position] else step
