"""The embedded engine for one observation: its spectra, companions and bins."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Self

import numpy as np

from icflow.config import AtomicData, FitControl, FitModel, Free, Module, Systematics
from icflow.engines.base import BACKGROUND, FitResult
from icflow.engines.embedded.calibration import check_within
from icflow.engines.embedded.deviations import (
    DEVIATE,
    deviates_in,
    measured,
    settled,
)
from icflow.engines.embedded.engine import EmbeddedEngine
from icflow.engines.embedded.folding import FACTOR, Behind, Groups
from icflow.models.expression import parse
from icflow.models.photons import term_photons
from icflow.models.priors import Prior
from icflow.models.scenario import complete
from icflow.models.systematics import Deviates
from icflow.ogip.bins import Binned, binned, bins_of_counts, used_channels
from icflow.ogip.observation import SpectrumFiles, observed_groups
from icflow.ogip.response import FROM_ZERO, Rmf
from icflow.seeds import of_spectrum, poisson
from icflow.statistic import Data
from icflow.statistic import binned as summed
from icflow.typing import Booleans, Counts, DrawnCounts, Floats

# The component that background spectra stand for.
FROM_FILE = f"{BACKGROUND}file"
# Spectra are simulated with what a background spectrum says on average over so many counts.
SMOOTH = 20
# Deviates that slopes are taken over, to both sides. These are right about there: an observed
# spectrum is fitted again with those where its deviates are, if that is farther away, but not
# without end.
STEP, CLOSE, ROUNDS = 0.05, 0.3, 6


class ObservedEngine:
    """Predict, fake and fit spectra like the observed ones.

    The channels of several spectra stand one after another, behind them those
    of their background spectra, if there are such. Simulated spectra have the
    bins of the observed ones, and background spectra of their own.

    Parameters
    ----------
    control : FitControl
        Of all fits.
    regroup : bool
        Whether to group by `control.group_min` even if a file holds a grouping.
    systematics : Systematics, optional
        What is wrong with simulated spectra.

    Attributes
    ----------
    companions : list of Module
        What each spectrum is folded with.
    nominal : EmbeddedEngine
        For the modules of the observation, by the files: simulates spectra.
    engine : EmbeddedEngine
        Fits spectra: the same, or one that settles what is wrong with each (`settling`).
    n_channels : int
        Of all spectra, background spectra left out.
    counts : ndarray of int, shape (n_channels,) or (2 n_channels,)
        The observed counts, and those of the background spectra: 0 where a
        spectrum has none, left out if none has. Behind these the measurements of
        the deviates that are settled.
    behind : ndarray, shape (n_channels,)
        Expected counts of the background spectra, as spectra are simulated
        with; empty without.
    ratio : ndarray, shape (n_bins,)
        How many times as much background they hold; 0 where there is none.
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
        systematics: Systematics | None = None,
    ) -> None:
        self.companions = [_companions(module, systematics) for module in modules]
        self.systematics = systematics
        engine = EmbeddedEngine(self.companions, atomic_data, control.energies)
        self.control, self.n_channels = control, engine.n_channels
        responses = [folding.response.rmf for folding in engine.foldings]
        sizes = [len(rmf.channel) for rmf in responses]
        self.module = np.repeat([module.name for module in modules], sizes)
        self.energies = engine.channel_edges
        spectra = [
            _binned(module, rmf, control, regroup)
            for module, rmf in zip(modules, responses, strict=True)
        ]
        self.engine = self.nominal = engine.scaled(
            [np.ones(len(s.counts)) if s.scale is None else s.scale for s in spectra]
        )
        self.counts = np.concatenate([spectrum.counts for spectrum in spectra])
        first = np.cumsum([0, *sizes[:-1]])
        self.groups: Groups = (
            np.concatenate([s.starts + n for s, n in zip(spectra, first, strict=True)]),
            np.concatenate([s.stops + n for s, n in zip(spectra, first, strict=True)]),
        )
        self.ratio = np.concatenate(
            [np.zeros(len(s.starts)) if s.ratio is None else s.ratio for s in spectra]
        )
        self.behind = np.empty(0)
        if self.ratio.any():
            # Zeros stand for spectra without.
            behind = [
                np.zeros_like(s.counts) if s.background is None else s.background for s in spectra
            ]
            self.counts = np.concatenate([self.counts, *behind])
            self.behind = np.concatenate(
                [expected_background(b, s.scale) for b, s in zip(behind, spectra, strict=True)]
            )

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
        frozen, behind = frozen or {}, None
        n, last, beside = self.n_channels, self._n_recorded, len(self.engine.deviations)
        sources = np.hstack([spectra[:, :n], spectra[:, last : last + beside]])
        bins = n + np.arange(beside)
        starts, stops = self.groups
        groups = np.append(starts, bins), np.append(stops, bins + 1)
        if len(self.behind):
            none = np.zeros((len(spectra), beside), dtype=spectra.dtype)
            others = np.hstack([spectra[:, n:last], none])
            behind = Behind(others, np.append(self.ratio, np.zeros(beside)))
        fits = self.engine.fit(model, self.control, sources, frozen, tuple(frozen), groups, behind)
        return [settled(fit, beside) for fit in fits]

    @property
    def _n_recorded(self) -> int:
        """Number of channels of all spectra, background spectra included."""
        return self.n_channels + len(self.behind)

    def components(self, model: FitModel, values: Mapping[str, float]) -> dict[str, Floats]:
        """Return the expected counts per channel of every term and background component.

        Backgrounds of the same name in several spectra are one component.

        Parameters
        ----------
        values : mapping
            Every parameter, as a fit returns them.
        """
        wrong = deviates_in(values)
        engine = self.nominal.corrected(self.wrong(values)) if wrong else self.engine
        known = {*parse(model.expression).parameters, *engine.factors}
        own = {name: value for name, value in values.items() if name in known}
        parts = engine.components_of(model.expression, own)
        for name, row in engine.backgrounds.items():
            component = BACKGROUND + name.rpartition(".")[2]
            part = row * values[BACKGROUND + name]
            parts[component] = parts[component] + part if component in parts else part
        if len(self.behind):
            parts[FROM_FILE] = self._behind_sources
        return parts

    @cached_property
    def _behind_sources(self) -> Floats:
        """What the background spectra say about the channels of the sources."""
        place = np.searchsorted(self.groups[0], np.arange(self.n_channels), side="right") - 1
        ratio = self.ratio[np.maximum(place, 0)]
        there = ratio > 0
        return np.asarray(np.where(there, self.behind, 0.0) / np.where(there, ratio, 1.0))

    def expected(self, model: FitModel, values: Mapping[str, float]) -> Floats:
        """Return the expected counts per channel, background included; then the background's."""
        return self._with_behind(np.asarray(sum(self.components(model, values).values())))

    def _with_behind(self, expected: Floats) -> Floats:
        return np.concatenate([expected, self.behind]) if len(self.behind) else expected

    def right(self) -> ObservedEngine:
        """Return an engine for spectra that nothing is wrong with: simulated, and fitted."""
        right = copy.copy(self)
        right.systematics = None
        right.engine = self.nominal
        return right

    def settling(self, model: FitModel, counts: Counts | None = None) -> Self:
        """Return an engine that settles what is wrong with each spectrum that it fits.

        It is made for the observed spectrum, and treats those that are simulated alike: their
        deviates are measured as those of the observed one are, with a standard error of 1, and all
        that is free minimises C and the squares of the distances from what was measured. For the
        observed spectrum that is 0; for a simulated one it is drawn about its truth.

        Parameters
        ----------
        model : FitModel
            What the observed spectrum is made of; slopes are taken about its fit.
        counts : ndarray of int, shape (1, n_channels), optional
            By default the observed spectrum; behind it, its background spectrum.
        """
        settling = copy.copy(self)
        if counts is not None:
            settling.counts = counts[0]
        if self.systematics is None:
            return settling
        recorded = settling.counts[: self._n_recorded]
        at = dict.fromkeys(self.nominal.deviates, 0.0)
        (fit,) = settling.fit(model)
        for _ in range(ROUNDS):
            slopes = self._slopes(model, fit.values, at)
            settling.engine = self.nominal.settling(at, slopes)
            settling.counts = np.append(recorded, measured(np.zeros(len(slopes))).astype(np.int64))
            (fit,) = settling.fit(model)
            found = self.wrong(fit.values)
            if fit.status != "ok" or all(abs(found[name] - at[name]) < CLOSE for name in at):
                break
            at = found
        return settling

    def _slopes(
        self, model: FitModel, values: Mapping[str, float], at: Mapping[str, float]
    ) -> dict[str, Floats]:
        """Return by how much each deviate changes what is expected, of those that do."""
        moved = [{**at, name: at[name] + step} for name in at for step in (-STEP, STEP)]
        rows = np.array(list(self.wrong_each(model, [values] * len(moved), moved)))
        slopes = (rows[1::2] - rows[::2]) / (2 * STEP)
        return {name: slope for name, slope in zip(at, slopes, strict=True) if slope.any()}

    def calibrated_as(self, joint: ObservedEngine, values: Mapping[str, float]) -> Self:
        """Return the engine, fitting with what a joint one has settled, and settling nothing.

        Parameters
        ----------
        values : mapping
            Every parameter of a fit of the joint one: what is wrong in its tables is only about
            what the fit has found.
        """
        names = {folding.name for folding in self.engine.foldings}
        calibrated = copy.copy(self)
        calibrated.engine = joint.nominal.corrected(joint.wrong(values))
        every = calibrated.engine.foldings
        calibrated.engine.foldings = tuple(folding for folding in every if folding.name in names)
        return calibrated

    @property
    def settles(self) -> bool:
        """Whether fits settle what is wrong."""
        return len(self.engine.deviations) > 0

    def wrong(self, values: Mapping[str, float]) -> dict[str, float]:
        """Return all deviates, of the parameters of a fit that has settled some."""
        return dict.fromkeys(self.nominal.deviates, 0.0) | deviates_in(values)

    def recorded(self, values: Mapping[str, float]) -> dict[str, float]:
        """Return the truth of a spectrum, what fits have settled as wrong in the words of datasets.

        Parameters
        ----------
        values : mapping
            Every parameter, deviates among them.
        """
        if not self.settles:
            return dict(values)
        own = {name: value for name, value in values.items() if not name.startswith(DEVIATE)}
        return own | self.nominal.errors_of(self.wrong(values))

    def drawing(self, factor: Prior) -> EmbeddedEngine:
        """Return the engine of its modules with a prior of the factors between them."""
        drawing = copy.copy(self.nominal)
        drawing.foldings = tuple(copy.copy(folding) for folding in self.nominal.foldings)
        for folding in drawing.foldings[1:]:
            folding.cross_normalisation = factor
        return drawing

    def expected_each(
        self,
        model: FitModel,
        values: Sequence[Mapping[str, float]],
        deviates: Sequence[Deviates | Mapping[str, float]] = (),
    ) -> Iterator[Floats]:
        """Yield what `expected` returns for each of many spectra, from folded tables.

        Parameters
        ----------
        deviates : sequence of Deviates, or of their values by name
            One for each spectrum, which what is wrong with it is drawn from, if there are
            systematics. Those that are settled are measured, too.
        """
        if self.systematics is not None:
            # What background spectra say is not the instrument's, so nothing is wrong with it.
            rest = self._behind_sources if len(self.behind) else 0.0
            wrong = self.wrong_each(model, values, deviates)
            for total, own in zip(wrong, deviates, strict=True):
                truth = np.array([own[name] for name in self.engine.deviations.at])
                yield np.append(self._with_behind(total + rest), measured(truth))
            return
        settings = complete(parse(model.expression), model.parameters, "parameters")
        backgrounds = self.engine.backgrounds
        for given, total in zip(
            values, self.engine.sources(model.expression, settings, values), strict=True
        ):
            for name, row in backgrounds.items():
                total += row * given[BACKGROUND + name]
            if len(self.behind):
                total += self._behind_sources
            yield self._with_behind(total)

    def wrong_each(
        self,
        model: FitModel,
        values: Sequence[Mapping[str, float]],
        deviates: Sequence[Deviates | Mapping[str, float]],
    ) -> Iterator[Floats]:
        """Yield the expected counts of sources and described backgrounds, wrong each by its own.

        Parameters
        ----------
        values, deviates
            As of `expected_each`.
        """
        settings = complete(parse(model.expression), model.parameters, "parameters")
        return self.nominal.observed(model.expression, settings, values, deviates)

    def unfolded(self, model: FitModel, values: Mapping[str, float]) -> dict[str, Floats]:
        """Return energy² × photons/cm²/s/keV of every term in the channels, absorption included.

        In the channels from the first to the last that is fitted; 0 in others, where models may
        be infinite.
        """
        rows: dict[str, Floats] = {}
        used = self.used_channels()
        for folding in self.engine.foldings:
            here = np.flatnonzero(self.module == folding.name)
            fitted = np.flatnonzero(used[here])
            here = here[fitted[0] : fitted[-1] + 1]
            # Energies of gratings fall with the channel.
            here = here[np.argsort(self.energies[here, 0], kind="stable")]
            edges = np.append(self.energies[here, 0], self.energies[here[-1], 1])
            edges[0] = max(edges[0], FROM_ZERO * edges[1])
            weight = edges[1:] * edges[:-1] / np.diff(edges)
            for term in parse(model.expression).terms:
                photons = term_photons(term, values, edges)
                norm = values[f"{term.additive.name}.norm"]
                row = rows.setdefault(term.name, np.zeros(self.n_channels))
                row[here] = photons * weight * norm
        return rows

    def range_of(self, model: FitModel, name: str) -> tuple[float, float]:
        """Return the limits of a free parameter, a cross-normalisation or a background factor."""
        if name.startswith(FACTOR):
            low, high = self.control.cross_normalisation
        elif name.startswith(BACKGROUND):
            low, high = self.engine.background_limits(self.control.background_range)[name]
        else:
            setting = model.parameters[name]
            assert isinstance(setting, Free)
            low, high = setting.free
        return low, high

    def versions(self) -> dict[str, str]:
        """Return what the numbers depend on."""
        return self.engine.versions()

    @property
    def n_bins(self) -> int:
        """Number of bins that are fitted."""
        return len(self.groups[0])

    @property
    def behind_per_bin(self) -> float:
        """Counts of background spectra in a bin that has one, on average; infinite without."""
        if not self.ratio.any():
            return math.inf
        held = self.counts[self.n_channels : self._n_recorded][self.used_channels()].sum()
        return float(held / np.count_nonzero(self.ratio))

    @cached_property
    def unexplained(self) -> Counts:
        """Counts of the bins that neither a photon nor a background reaches, shape (n_unreached,).

        No model explains them: C rises by hundreds for each bin that has some.
        """
        counts = self.source_counts.astype(np.float64)
        reach = [folding.response.reach for folding in self.engine.foldings]
        every = [np.concatenate(reach), *self.engine.backgrounds.values()]
        data = Data(counts, *self.groups)
        unreached = (summed(data, np.abs(every).sum(axis=0)) == 0) & (self.ratio == 0)
        return np.asarray(summed(data, counts)[unreached])

    @property
    def source_counts(self) -> Counts:
        """The observed counts without those of background spectra, shape (n_channels,)."""
        return np.asarray(self.counts[: self.n_channels])

    def used_channels(self) -> Booleans:
        """Tell which channels are in a bin, shape (n_channels,)."""
        change = np.zeros(self.n_channels + 1, dtype=np.int64)
        np.add.at(change, self.groups[0], 1)
        np.add.at(change, self.groups[1], -1)
        return np.asarray(np.cumsum(change)[:-1] > 0)


def expected_background(counts: Counts, scale: Floats | None) -> Floats:
    """Return what is expected in the channels of a background spectrum, shape (n_channels,).

    Its counts, spread evenly over runs of channels that hold at least `SMOOTH`:
    a channel without counts is not one in which none can be.

    Parameters
    ----------
    scale : ndarray, shape (n_channels,), or None
        0 in channels that do not count.
    """
    expected = np.zeros(len(counts))
    left = np.flatnonzero(np.ones(len(counts), bool) if scale is None else scale > 0)
    for start, stop in zip(
        *bins_of_counts(counts[left], np.ones(left.size, bool), SMOOTH), strict=True
    ):
        here = left[start:stop]
        expected[here] = counts[here].mean()
    return expected


def _binned(files: SpectrumFiles, rmf: Rmf, control: FitControl, regroup: bool) -> Binned:
    """Return a spectrum in the bins that are fitted."""
    # Channels by themselves are bins of the file too.
    grouped = files.spectrum.grouping is not None or control.group_min == 0
    keep = grouped and not regroup
    low, high = control.energies
    minimum = None if keep else control.group_min
    starts, stops = observed_groups(files.spectrum, rmf, low, high, minimum)
    used = used_channels(files.spectrum, regroup=minimum is not None)
    return binned(files.spectrum, starts, stops, used, files.behind)


def check_systematics(files: SpectrumFiles, systematics: Systematics | None) -> None:
    """Check that what may be wrong with an observed spectrum is of its response and background.

    Raises
    ------
    IcflowError
        If a node of the area lies outside of the response, the energy scale may be off by more
        than the channels have room for, or the background has no such component.
    """
    if systematics is not None:
        key = f"observe.systematics, of {files.key}"
        check_within(_companions(files, systematics), key)


def _companions(spectrum: SpectrumFiles, systematics: Systematics | None) -> Module:
    """Return what an observed spectrum is folded with, as engines read it."""
    return Module(
        name=spectrum.name,
        rmf=str(spectrum.rmf),
        arf=None if spectrum.arf is None else str(spectrum.arf),
        exposure=spectrum.spectrum.exposure,
        background=None if spectrum.background is None else str(spectrum.background),
        systematics=systematics or Systematics(),
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
            poisson(of_spectrum(seed, name, index, "counts"), row)
            for index, row in zip(indices, rows, strict=True)
        ],
        dtype=np.int32,
    )
