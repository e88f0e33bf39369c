"""An engine for one observation: its spectra, responses, backgrounds and bins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from icflow.config import AtomicData, FitControl, FitModel, Instrument
from icflow.engines import folded
from icflow.engines.base import BACKGROUND, FitResult
from icflow.engines.embedded import EmbeddedEngine, Groups
from icflow.models.expression import parse
from icflow.models.scenario import generator
from icflow.ogip.observation import Module, observed_groups

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


class ObservedEngine:
    """Predict, fake and fit spectra like the observed one.

    Simulated spectra have the bins of the observed spectrum.

    Attributes
    ----------
    counts : ndarray of int, shape (n_channels,)
        The observed counts.
    groups : tuple of ndarray of int, shape (n_bins,)
        First channels of the bins, and one after their last.
    energies : ndarray, shape (n_channels, 2)
        Nominal limits of the channels, keV.
    """

    def __init__(
        self, module: Module, control: FitControl, regroup: bool, atomic_data: AtomicData
    ) -> None:
        """Load response and background.

        Parameters
        ----------
        regroup : bool
            Whether to group by `control.group_min` even if the file holds a
            grouping.
        """
        self.module = module
        spectrum = module.spectrum
        self.engine = EmbeddedEngine(
            Instrument(
                rmf=str(module.rmf),
                arf=None if module.arf is None else str(module.arf),
                exposure=spectrum.exposure,
                background=None if module.background is None else str(module.background),
            ),
            atomic_data,
        )
        # Intervals are found by `icflow.stages.observed_fits`.
        self.control = control.model_copy(update={"errors": "hessian"})
        self.counts = spectrum.counts
        rmf = self.engine.response.rmf
        self.energies = np.column_stack([rmf.e_min, rmf.e_max])
        keep = spectrum.grouping is not None and not regroup
        low, high = control.energies
        self.groups: Groups = observed_groups(
            spectrum, rmf, low, high, None if keep else control.group_min
        )

    def fit(
        self,
        model: FitModel,
        counts: NDArray[np.integer[Any]] | None = None,
        frozen: Mapping[str, Floats] | None = None,
    ) -> list[FitResult]:
        """Fit spectra, the observed one by default.

        Parameters
        ----------
        counts : ndarray of int, shape (n_spectra, n_channels)
        frozen : mapping of str to ndarray, shape (n_spectra,)
            Values of parameters that are not to be fitted.
        """
        frozen = frozen or {}
        return list(
            self.engine.fit(
                model,
                self.control,
                self.counts[None] if counts is None else counts,
                frozen,
                tuple(frozen),
                self.groups,
            )
        )

    def components(self, model: FitModel, values: Mapping[str, float]) -> dict[str, Floats]:
        """Return the expected counts per channel of every term and background component.

        Parameters
        ----------
        values : mapping
            Every parameter, as a fit returns them.
        """
        physical = {n: value for n, value in values.items() if not n.startswith(BACKGROUND)}
        return self.engine.components_of(model.expression, physical) | {
            BACKGROUND + name: row * values[BACKGROUND + name]
            for name, row in self.engine.backgrounds.items()
        }

    def unfolded(self, model: FitModel, values: Mapping[str, float]) -> dict[str, Floats]:
        """Return energy² × photons/cm²/s/keV of every term in the channels, absorption included."""
        edges = np.append(self.energies[:, 0], self.energies[-1, 1])
        weight = edges[1:] * edges[:-1] / np.diff(edges)
        return {
            term.name: folded.term_photons(term, values, edges)
            * weight
            * values[f"{term.additive.name}.norm"]
            for term in parse(model.expression).terms
        }

    def versions(self) -> dict[str, str]:
        """Return what the numbers depend on."""
        return self.engine.versions()

    @property
    def n_bins(self) -> int:
        """Number of bins that are fitted."""
        return len(self.groups[0])

    def module_of(self) -> NDArray[np.str_]:
        """Return the name of the module that each channel belongs to, shape (n_channels,)."""
        return np.full(len(self.counts), self.module.name)

    def used_channels(self) -> NDArray[np.bool_]:
        """Tell which channels are in a bin, shape (n_channels,)."""
        change = np.zeros(len(self.counts) + 1, dtype=np.int64)
        np.add.at(change, self.groups[0], 1)
        np.add.at(change, self.groups[1], -1)
        return np.asarray(np.cumsum(change)[:-1] > 0)

    def expected(self, model: FitModel, values: Mapping[str, float]) -> Floats:
        """Return the expected counts per channel, background included."""
        return np.asarray(sum(self.components(model, values).values()))


def draw_counts(
    expected: Floats | Sequence[Floats], seed: int, name: str, indices: Sequence[int]
) -> NDArray[np.int32]:
    """Draw Poisson counts; each spectrum depends on seed, name and its index alone.

    Parameters
    ----------
    expected : ndarray, shape (n_channels,), or a sequence of them, one for each index
    """
    rows = [expected] * len(indices) if isinstance(expected, np.ndarray) else expected
    return np.array(
        [
            generator(seed, name, index, "counts").poisson(row)
            for index, row in zip(indices, rows, strict=True)
        ],
        dtype=np.int32,
    )
