"""An engine for one observation: its spectra, responses, backgrounds and bins."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from icflow.config import AtomicData, FitControl, FitModel, Free, Instrument
from icflow.engines.base import BACKGROUND, FitResult
from icflow.engines.embedded import folded
from icflow.engines.embedded.engine import EmbeddedEngine, Groups
from icflow.engines.embedded.joint import FACTOR, JointEngine
from icflow.models.expression import parse
from icflow.models.scenario import complete, generator
from icflow.ogip.observation import SpectrumFiles, observed_groups
from icflow.typing import Booleans, Counts, DrawnCounts, Floats


class ObservedEngine:
    """Predict, fake and fit spectra like the observed ones.

    The channels of several spectra stand one after another. Simulated spectra
    have the bins of the observed ones.

    Attributes
    ----------
    engines : dict of EmbeddedEngine
        By the name of the spectrum, which is empty if there is only one.
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
        factors: tuple[float, float],
        atomic_data: AtomicData,
    ) -> None:
        """Load responses and backgrounds.

        Parameters
        ----------
        regroup : bool
            Whether to group by `control.group_min` even if a file holds a
            grouping.
        factors : tuple of float
            Limits of the cross-normalisation of all spectra but the first.
        """
        instruments = {module.name: _instrument(module) for module in modules}
        self.joint = JointEngine(instruments, atomic_data, factors) if len(modules) > 1 else None
        self.engines: dict[str, EmbeddedEngine] = (
            dict(self.joint.engines)
            if self.joint is not None
            else {name: EmbeddedEngine([one], atomic_data) for name, one in instruments.items()}
        )
        self.factors = factors
        # Intervals are found by `icflow.observation.fits`.
        self.control = control.model_copy(update={"errors": "hessian"})
        self.counts = np.concatenate([module.spectrum.counts for module in modules])
        sizes = [len(module.spectrum.counts) for module in modules]
        self.module = np.repeat([module.name for module in modules], sizes)
        responses = [engine.response.rmf for engine in self.engines.values()]
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
        engine = next(iter(self.engines.values())) if self.joint is None else self.joint
        spectra = self.counts[None] if counts is None else counts
        frozen = frozen or {}
        return list(engine.fit(model, self.control, spectra, frozen, tuple(frozen), self.groups))

    def components(self, model: FitModel, values: Mapping[str, float]) -> dict[str, Floats]:
        """Return the expected counts per channel of every term and background component.

        Backgrounds of the same name in several spectra are one component.

        Parameters
        ----------
        values : mapping
            Every parameter, as a fit returns them.
        """
        declared = parse(model.expression).parameters
        physical = {name: value for name, value in values.items() if name in declared}
        parts = []
        for name, engine in self.engines.items():
            factor = values.get(FACTOR + name, 1.0)
            terms = engine.components_of(model.expression, physical)
            part = {term: counts * factor for term, counts in terms.items()}
            for background, row in engine.backgrounds.items():
                norm = self.background_name(name, background)
                part[BACKGROUND + background] = row * values[norm]
            parts.append(part)
        empty = [np.zeros(engine.response.n_channels) for engine in self.engines.values()]
        return {
            name: np.concatenate([part.get(name, e) for part, e in zip(parts, empty, strict=True)])
            for name in dict.fromkeys(name for part in parts for name in part)
        }

    def background_name(self, module: str, background: str) -> str:
        """Return the parameter that is the factor of a background component."""
        return BACKGROUND + (f"{module}.{background}" if module else background)

    def expected(self, model: FitModel, values: Mapping[str, float]) -> Floats:
        """Return the expected counts per channel, background included."""
        return np.asarray(sum(self.components(model, values).values()))

    def expected_each(
        self, model: FitModel, values: Sequence[Mapping[str, float]]
    ) -> Iterator[Floats]:
        """Yield what `expected` returns for each of many spectra, from folded tables."""
        settings = complete(parse(model.expression), model.parameters, "parameters")
        sources = [
            engine.sources(model.expression, settings, values) for engine in self.engines.values()
        ]
        for given, parts in zip(values, zip(*sources, strict=True), strict=True):
            expected = []
            for (name, engine), source in zip(self.engines.items(), parts, strict=True):
                total = source * given.get(FACTOR + name, 1.0)
                for background, row in engine.backgrounds.items():
                    total += row * given[self.background_name(name, background)]
                expected.append(total)
            yield np.concatenate(expected)

    def unfolded(self, model: FitModel, values: Mapping[str, float]) -> dict[str, Floats]:
        """Return energy² × photons/cm²/s/keV of every term in the channels, absorption included."""
        found: dict[str, list[Floats]] = {}
        for name in self.engines:
            low, high = self.energies[self.module == name].T
            edges = np.append(low, high[-1])
            weight = edges[1:] * edges[:-1] / np.diff(edges)
            for term in parse(model.expression).terms:
                photons = folded.term_photons(term, values, edges)
                norm = values[f"{term.additive.name}.norm"]
                found.setdefault(term.name, []).append(photons * weight * norm)
        return {name: np.concatenate(parts) for name, parts in found.items()}

    def range_of(self, model: FitModel, name: str) -> tuple[float, float]:
        """Return the limits of a free parameter of the source, or of a cross-normalisation."""
        if name.startswith(FACTOR):
            return self.factors
        setting = model.parameters[name]
        assert isinstance(setting, Free)
        return setting.free[0], setting.free[1]

    def versions(self) -> dict[str, str]:
        """Return what the numbers depend on."""
        return next(iter(self.engines.values())).versions()

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


def _instrument(module: SpectrumFiles) -> Instrument:
    return Instrument(
        rmf=str(module.rmf),
        arf=None if module.arf is None else str(module.arf),
        exposure=module.spectrum.exposure,
        background=None if module.background is None else str(module.background),
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
            generator(seed, name, index, "counts").poisson(row)
            for index, row in zip(indices, rows, strict=True)
        ],
        dtype=np.int32,
    )
