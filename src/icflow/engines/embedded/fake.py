"""Expected counts of many spectra whose parameters are drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from icflow.config import AtomicData
from icflow.engines.base import BACKGROUND
from icflow.engines.embedded import terms as of
from icflow.engines.embedded.calibration import calibration_of
from icflow.engines.embedded.folded import PlasmaTable, add_mix, plasma_table
from icflow.engines.embedded.folding import Folding
from icflow.models.expression import Term
from icflow.typing import Floats


class Simulator:
    """The expected counts of a source, and of all that is seen, in one module, at any parameters.

    Parameters
    ----------
    settings : mapping
        Every parameter of the model: fixed, linked, drawn or free.
    """

    def __init__(
        self,
        folding: Folding,
        terms: Sequence[Term],
        settings: of.Settings,
        atomic_data: AtomicData,
    ) -> None:
        self.folding, self.terms, self.settings = folding, terms, settings
        self.tables = {term.name: self._table(term, atomic_data) for term in terms}
        self.calibration = calibration_of(folding)
        self.background = sum(folding.backgrounds.values(), np.zeros(folding.n_channels))

    def expected(self, values: Mapping[str, float]) -> Floats:
        """Return the counts per channel of the source, times the factor of the module."""
        expected = np.zeros(self.folding.n_channels)
        for term in self.terms:
            expected += values[of.norm_of(term)] * self.counts(term, values)
        return expected * values.get(self.folding.factor, 1.0)

    def observed(self, values: Mapping[str, float]) -> Floats:
        """Return the counts per channel of source and background, with all that is wrong.

        Parameters
        ----------
        values : mapping
            Parameters, factors of backgrounds that scatter, and errors of the calibration.
        """
        backgrounds = self.folding.backgrounds
        source = self.expected(values)
        seen = self.background + source
        for name, counts in backgrounds.items():
            factor = values.get(BACKGROUND + name)
            if factor is not None:
                seen += (factor - 1) * counts
        area = self.calibration.area_factor(values)
        if area is not None:
            for name in self.folding.focused:
                source += values.get(BACKGROUND + name, 1.0) * backgrounds[name]
            seen += (area - 1) * source
        return self.calibration.recorded(seen, values)

    def counts(self, term: Term, values: Mapping[str, float]) -> Floats:
        """Return the expected counts per channel of a term with norm 1."""
        table = self.tables[term.name]
        if table is None:
            return self.folding.fold(term, values)
        if isinstance(table, np.ndarray):
            return table
        kT, abundance, redshift = (values[name] for name in of.plasma_parameters(term))
        nodes = table.temperatures
        cell = int(np.clip(np.searchsorted(nodes, kT, side="right") - 1, 0, len(nodes) - 2))
        share = (kT - nodes[cell]) / (nodes[cell + 1] - nodes[cell])
        amounts, counts = np.zeros((len(nodes), 2)), np.zeros(self.folding.n_channels)
        amounts[cell : cell + 2] = np.outer([1 - share, share], [1.0, abundance])
        add_mix(table, amounts * self.folding.exposure, np.array([redshift]), 0, counts[None])
        return counts

    def _table(self, term: Term, atomic_data: AtomicData) -> PlasmaTable | Floats | None:
        """Return what speeds a term up: a plasma table, its counts if fixed, or nothing."""
        values = of.fixed_values(term, self.settings)
        if not of.varying(term, self.settings):
            return self.folding.fold(term, values)
        if not of.is_plasma(term, self.settings):
            return None
        kT, _, redshift = of.plasma_parameters(term)
        ranges = of.bounds(kT, self.settings), of.bounds(redshift, self.settings)
        return plasma_table(term, values, self.folding.response, atomic_data, *ranges)
