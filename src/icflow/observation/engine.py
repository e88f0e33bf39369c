"""The embedded engine for one observation: its spectra, companions and bins."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from icflow.config import AtomicData, FitControl, FitModel, Free, Module
from icflow.engines.base import BACKGROUND, FitResult
from icflow.engines.embedded.engine import EmbeddedEngine
from icflow.engines.embedded.folding import FACTOR, Groups, term_photons
from icflow.models.expression import parse
from icflow.models.scenario import complete
from icflow.ogip.observation import SpectrumFiles, observed_groups
from icflow.seeds import of_spectrum
from icflow.typing import Booleans, Counts, DrawnCounts, Floats


class ObservedEngine:
    """Predict, fake and fit spectra like the observed ones.

    The channels of several spectra stand one after another. Simulated spectra
    have the bins of the observed ones.

    Parameters
    ----------
    control : FitControl
        Of all fits.
    regroup : bool
        Whether to group by `control.group_min` even if a file holds a grouping.

    Attributes
    ----------
    engine : EmbeddedEngine
        For the modules of the observation.
    counts : ndarray of int, shape (n_channels,)
        The observed counts.
    groups : tuple of ndarray of int, shape (n_bins,)
        First channels of the bins, and one after their last.
    energies : ndarray, shape (n_channels, 2)
        Nominal limits of the channels, keV.
    module : ndarray of str, shape (n_channels,)
        The spectrum that each channel belongs to.
    """

    def __init__(
        self,
        modules: Sequence[SpectrumFiles],
        control: FitControl,
        regroup: bool,
        atomic_data: AtomicData,
    ) -> None:
        self.engine = EmbeddedEngine([_companions(module) for module in modules], atomic_data)
        # Intervals are found by `icflow.observation.fits`.
        self.control = control.model_copy(update={"errors": "hessian"})
        self.counts = np.concatenate([module.spectrum.counts for module in modules])
        sizes = [len(module.spectrum.counts) for module in modules]
        self.module = np.repeat([module.name for module in modules], sizes)
        responses = [folding.response.rmf for folding in self.engine.foldings]
        self.energies = np.concatenate([np.column_stack([r.e_min, r.e_max]) for r in responses])
        starts, stops, first = [], [], 0
        low, high = control.energies
        for module, rmf, size in zip(modules, responses, sizes, strict=True):
            keep = module.spectrum.grouping is not None and not regroup
            groups = observed_groups(
                module.spectrum, rmf, low, high, None if keep else control.group_min
            )
            starts.append(groups[0] + first)
            stops.append(groups[1] + first)
            first += size
        self.groups: Groups = np.concatenate(starts), np.concatenate(stops)

    def fit(
        self,
        model: FitModel,
        counts: Counts | None = None,
        frozen: Mapping[str, Floats] | None = None,
    ) -> list[FitResult]:
        """Fit spectra, the observed ones by default.

        Parameters
        ----------
        counts : ndarray of int, shape (n_spectra, n_channels)
        frozen : mapping of str to ndarray, shape (n_spectra,)
            Values of parameters that are not to be fitted.
        """
        spectra = self.counts[None] if counts is None else counts
        frozen = frozen or {}
        fits = self.engine.fit(model, self.control, spectra, frozen, tuple(frozen), self.groups)
        return list(fits)

    def components(self, model: FitModel, values: Mapping[str, float]) -> dict[str, Floats]:
        """Return the expected counts per channel of every term and background component.

        Backgrounds of the same name in several spectra are one component.

        Parameters
        ----------
        values : mapping
            Every parameter, as a fit returns them.
        """
        known = {*parse(model.expression).parameters, *self.engine.factors}
        own = {name: value for name, value in values.items() if name in known}
        parts = self.engine.components_of(model.expression, own)
        for name, row in self.engine.backgrounds.items():
            component = BACKGROUND + name.rpartition(".")[2]
            part = row * values[BACKGROUND + name]
            parts[component] = parts[component] + part if component in parts else part
        return parts

    def expected(self, model: FitModel, values: Mapping[str, float]) -> Floats:
        """Return the expected counts per channel, background included."""
        return np.asarray(sum(self.components(model, values).values()))

    def expected_each(
        self, model: FitModel, values: Sequence[Mapping[str, float]]
    ) -> Iterator[Floats]:
        """Yield what `expected` returns for each of many spectra, from folded tables."""
        settings = complete(parse(model.expression), model.parameters, "parameters")
        backgrounds = self.engine.backgrounds
        for given, total in zip(
            values, self.engine.sources(model.expression, settings, values), strict=True
        ):
            for name, row in backgrounds.items():
                total += row * given[BACKGROUND + name]
            yield total

    def unfolded(self, model: FitModel, values: Mapping[str, float]) -> dict[str, Floats]:
        """Return energy² × photons/cm²/s/keV of every term in the channels, absorption included."""
        rows: dict[str, list[Floats]] = {}
        for folding in self.engine.foldings:
            low, high = self.energies[self.module == folding.name].T
            edges = np.append(low, high[-1])
            weight = edges[1:] * edges[:-1] / np.diff(edges)
            for term in parse(model.expression).terms:
                photons = term_photons(term, values, edges)
                norm = values[f"{term.additive.name}.norm"]
                rows.setdefault(term.name, []).append(photons * weight * norm)
        return {name: np.concatenate(parts) for name, parts in rows.items()}

    def range_of(self, model: FitModel, name: str) -> tuple[float, float]:
        """Return the limits of a free parameter of the source, or of a cross-normalisation."""
        if name.startswith(FACTOR):
            low, high = self.control.cross_normalisation
            return low, high
        setting = model.parameters[name]
        assert isinstance(setting, Free)
        return setting.free[0], setting.free[1]

    def versions(self) -> dict[str, str]:
        """Return what the numbers depend on."""
        return self.engine.versions()

    @property
    def n_bins(self) -> int:
        """Number of bins that are fitted."""
        return len(self.groups[0])

    def used_channels(self) -> Booleans:
        """Tell which channels are in a bin, shape (n_channels,)."""
        change = np.zeros(len(self.counts) + 1, dtype=np.int64)
        np.add.at(change, self.groups[0], 1)
        np.add.at(change, self.groups[1], -1)
        return np.asarray(np.cumsum(change)[:-1] > 0)


def _companions(spectrum: SpectrumFiles) -> Module:
    """Return what an observed spectrum is folded with, as engines read it."""
    return Module(
        name=spectrum.name,
        rmf=str(spectrum.rmf),
        arf=None if spectrum.arf is None else str(spectrum.arf),
        exposure=spectrum.spectrum.exposure,
        background=None if spectrum.background is None else str(spectrum.background),
    )


def draw_counts(
    expected: Floats | Sequence[Floats], seed: int, name: str, indices: Sequence[int]
) -> DrawnCounts:
    """Draw Poisson counts; each spectrum depends on seed, name and its index alone.

    Parameters
    ----------
    expected : ndarray, shape (n_channels,), or a sequence of them, one for each index
    """
    rows = [expected] * len(indices) if isinstance(expected, np.ndarray) else expected
    return np.array(
        [
            of_spectrum(seed, name, index, "counts").poisson(row)
            for index, row in zip(indices, rows, strict=True)
        ],
        dtype=np.int32,
    )
