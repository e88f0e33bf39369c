"""What a model is folded into, at full resolution and in coarse bins."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from icflow import statistic as cstat
from icflow.engines.embedded.folded import PlasmaTable
from icflow.statistic import Data, Shapes
from icflow.typing import Floats, Integers


@dataclass(frozen=True)
class Tables:
    """What a model is folded into, in counts per channel for norm 1.

    Attributes
    ----------
    terms : ndarray of int, shape (n_terms, 6)
        As `Shapes.terms`; the background components last.
    rows, curves : ndarray
        As in `Shapes`.
    plasma : list of PlasmaTable
        The tables that PLASMA terms point to.
    redshift_of : list of int
        Parameter that is the redshift of each.
    coarse : ndarray of int, shape (n_coarse,)
        First channel of each coarse bin.
    searching : ndarray, shape (n_tables, n_redshifts, n_temperatures, 2, n_coarse)
        Counts that are smooth in redshift, in coarse bins.
    exposure : float
        Seconds: plasma tables hold rates, everything else counts.
    """

    terms: Integers
    rows: Floats
    curves: Floats
    plasma: list[PlasmaTable]
    redshift_of: list[int]
    coarse: Integers
    searching: Floats
    exposure: float
    n_backgrounds: int

    @property
    def temperatures(self) -> Floats:
        """Nodes of the plasma tables, keV."""
        return self.plasma[0].temperatures if self.plasma else np.array([0.0, 1.0])

    def exact(self, theta: Floats, chosen: Integers | None = None) -> Shapes:
        """Return the shapes at the redshifts in `theta`, every line in its own bin.

        Parameters
        ----------
        chosen : ndarray of int, optional
            Temperature nodes to fill; the others stay empty.
        """
        nodes = np.arange(len(self.temperatures)) if chosen is None else chosen
        plasma = np.zeros((len(self.plasma), 1, len(self.temperatures), 2, self.rows.shape[1]))
        for k, (table, position) in enumerate(zip(self.plasma, self.redshift_of, strict=True)):
            plasma[k, 0, nodes] = table.at(theta[position], nodes) * self.exposure
        return Shapes(self.terms, self.rows, self.curves, plasma, self.temperatures, np.zeros(2))

    def neighbourhood(self, theta: Floats) -> tuple[Integers, dict[int, tuple[float, float]]]:
        """Return the nodes of every temperature's cell and the two beside it.

        Returns
        -------
        nodes : ndarray of int
        limits : dict
            By position of the temperature, the range that they span, keV.
        """
        last = len(self.temperatures) - 1
        wanted: set[int] = set()
        limits = {}
        for term in self.terms[self.terms[:, cstat.KIND] == cstat.PLASMA]:
            position = int(term[cstat.FIRST])
            cell = int(np.searchsorted(self.temperatures, theta[position], side="right")) - 1
            low, high = max(min(cell, last - 1) - 1, 0), min(max(cell, 0) + 2, last)
            wanted.update(range(low, high + 1))
            limits[position] = (float(self.temperatures[low]), float(self.temperatures[high]))
        return np.array(sorted(wanted), dtype=np.int64), limits

    def smooth(self) -> Shapes:
        """Return the shapes that are smooth in redshift, in coarse bins."""
        grid = self.plasma[0].search_grid if self.plasma else np.zeros(2)
        return Shapes(
            self.terms, self._coarse_rows, self.curves, self.searching, self.temperatures, grid
        )

    def coarsen(self, shapes: Shapes) -> Shapes:
        """Return exact shapes in coarse bins."""
        return shapes._replace(rows=self._coarse_rows, plasma=self._sums(shapes.plasma))

    def coarse_data(self, channel_counts: Floats) -> Data:
        """Return counts in coarse bins."""
        counts, bins = self._sums(channel_counts), np.arange(len(self.coarse))
        return Data(counts, bins, bins + 1)

    @cached_property
    def _coarse_rows(self) -> Floats:
        return self._sums(self.rows)

    def _sums(self, values: Floats) -> Floats:
        return np.asarray(np.add.reduceat(values, self.coarse, axis=-1))

    def mixture(
        self, shapes: Shapes, theta: Floats, position: int
    ) -> tuple[Floats, list[tuple[PlasmaTable, Floats]]]:
        """Split the model counts into a part without, and tables with, one redshift.

        Returns
        -------
        base : ndarray, shape (n_channels,)
        parts : list
            Tables, each with how much of (A, B) at every temperature the
            model holds, shape (n_temperatures, 2).
        """
        model = cstat.model_counts(shapes, theta)
        parts = []
        cells = cstat.find_cells(shapes, theta)
        for k, (table, redshift) in enumerate(zip(self.plasma, self.redshift_of, strict=True)):
            if redshift != position:
                continue
            amounts = np.zeros((len(self.temperatures), 2))
            for term in self.terms:
                if term[cstat.KIND] != cstat.PLASMA or term[cstat.TABLE] != k:
                    continue
                norm, kT, Z = (theta[term[i]] for i in (cstat.NORM, cstat.FIRST, cstat.SECOND))
                cell = cells[term[cstat.FIRST]]
                low, high = self.temperatures[cell : cell + 2]
                share = (kT - low) / (high - low)
                amounts[cell] += norm * (1 - share) * np.array([1.0, Z])
                amounts[cell + 1] += norm * share * np.array([1.0, Z])
            model -= np.tensordot(amounts, shapes.plasma[k, 0], axes=2)
            parts.append((table, amounts * self.exposure))
        return model, parts
