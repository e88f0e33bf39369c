"""Likelihood ratios for one observation: estimated by networks trained for it, and their values."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from astropy.table import Table

from icflow import seeds
from icflow.config import Observation, Scenario
from icflow.errors import IcflowError
from icflow.files import inputs_kept
from icflow.layout import TRAINED, WEIGHTS
from icflow.models.priors import Prior, Uniform
from icflow.models.scenario import at_source
from icflow.observation import fits as observed_fits
from icflow.observation.engine import ObservedEngine
from icflow.settings import ObserveRatioSettings, RatioSettings, SourceSettings
from icflow.typing import Counts

if TYPE_CHECKING:
    from icflow.networks.ratio import RatioInputs
    from icflow.networks.ratio_weights import Hypotheses

# Spectra that the observed one is compared with before a training, and how many times worse than
# all of them it may fit: what is closer is told by those that calibrate the network.
COMPARED, CLEARLY = 500, 2.0


def run(settings: ObserveRatioSettings, output: Path, threads: int = 1) -> None:
    """Train the estimate of a likelihood ratio with what an observation was made with.

    Spectra of both scenarios are drawn from their priors, at the redshift and column density of
    the source, with its responses, exposures and backgrounds, and with what is wrong with these.

    Parameters
    ----------
    output, threads
        As of `icflow.networks.ratio_weights.train_for`.

    Raises
    ------
    IcflowError
        If an input is missing or cannot be used, the observed spectrum is unlike all that the
        network would see, or the network cannot be trained.
    """
    from icflow.networks.ratio_weights import train_for

    check_ratio(settings.ratio, settings.observation, f"ratios.{settings.ratio.name}")
    _, engine = observed_fits.open_source(settings, settings.systematics)
    hypotheses = _hypotheses(settings.ratio, settings, engine)
    _check_drawn(hypotheses, engine.counts[None])
    train_for(hypotheses, output, threads)


def is_trained(settings: ObserveRatioSettings, output: Path) -> bool:
    """Tell whether a folder holds what `run` would make.

    Raises
    ------
    IcflowError
        If an input is missing or cannot be used, or what is there is damaged.
    """
    if not all((output / name).is_file() for name in TRAINED):
        return False
    from icflow.networks.ratio_weights import is_of

    _, engine = observed_fits.open_source(settings, settings.systematics)
    wanted = _trained_for(settings.ratio, settings, engine)
    with inputs_kept():  # of its own, so that what is there may be replaced
        return is_of(output / WEIGHTS, wanted)


def check_ratio(settings: RatioSettings, observation: Observation, key: str) -> None:
    """Check that a ratio can be estimated for an observation.

    Raises
    ------
    IcflowError
        If it takes as known what is not known of a source; `key` names the ratio.
    """
    for scenario in (settings.thermal, settings.alternative):
        own = _at_source(scenario, observation)
        for name in settings.at_truth:
            if isinstance(own.parameters.get(name), Prior):
                raise IcflowError(
                    f"{key}: {settings.name} takes {name} as known, and of an observation nothing "
                    "is but redshift and column density; leave it out of at_truth"
                )


class Estimator:
    """A trained estimate of a likelihood ratio, for spectra like the observed one.

    Parameters
    ----------
    settings : RatioSettings
    source : SourceSettings
        Of the observation.
    engine : ObservedEngine
    folder : path
        What `run` wrote.

    Raises
    ------
    IcflowError
        If that is missing, or of another training.
    """

    def __init__(
        self,
        settings: RatioSettings,
        source: SourceSettings,
        engine: ObservedEngine,
        folder: Path,
    ) -> None:
        from icflow.networks import ratio_weights

        self._hypotheses = _hypotheses(settings, source, engine)
        own = self._hypotheses.settings
        self._network = ratio_weights.load(folder / WEIGHTS, own)

    def check_spectrum(self, counts: Counts) -> None:
        """Check that the observed spectrum (1, n_channels) is like those that it was trained with.

        Raises
        ------
        IcflowError
        """
        if self._network.unlike(_inputs(self._hypotheses, counts)).any():
            raise _unlike(self._hypotheses)

    def table(self, counts: Counts) -> Table:
        """Return ln of the ratios of spectra (n, n_channels), as detectors read them."""
        odds = self._network.log_odds(_inputs(self._hypotheses, counts))
        # What a detector says of simulated spectra is compared, not believed.
        return Table({"log_ratio": odds, "unlike": np.zeros(len(odds), dtype=bool)})


def _inputs(hypotheses: Hypotheses, counts: Counts) -> RatioInputs:
    binned = hypotheses.binned(counts)
    return hypotheses.inputs(binned, np.empty((len(binned), 0)))


def _check_drawn(hypotheses: Hypotheses, counts: Counts) -> None:
    """Check before a training that the observed spectrum is not far from all that it would see.

    Raises
    ------
    IcflowError
    """
    settings = hypotheses.settings
    random = seeds.generator(settings.seed, f"ratio/{settings.name}/compared")
    worst = hypotheses.draw(COMPARED, random).inputs.misfit.max()
    if _inputs(hypotheses, counts).misfit[0] > CLEARLY * worst:
        raise _unlike(hypotheses)


def _unlike(hypotheses: Hypotheses) -> IcflowError:
    return IcflowError(
        f"ratios.{hypotheses.settings.name}: the observed spectrum is unlike all that the "
        "scenarios of the ratio lead to, so that it says nothing; give it scenarios whose priors "
        "hold the source, or leave its detector out of observe.detectors"
    )


def _hypotheses(
    settings: RatioSettings, source: SourceSettings, engine: ObservedEngine
) -> Hypotheses:
    """Return both scenarios as they would be observed.

    Raises
    ------
    IcflowError
        If the background is a spectrum of its own, or spectra of a scenario cannot be drawn.
    """
    from icflow.networks.ratio_weights import Hypotheses

    own = _trained_for(settings, source, engine)
    return Hypotheses(own, engine.drawing(_factor(source)))


def _trained_for(
    settings: RatioSettings, source: SourceSettings, engine: ObservedEngine
) -> RatioSettings:
    """Return the settings with what the observation was made with.

    Raises
    ------
    IcflowError
        If the background is a spectrum of its own.
    """
    if len(engine.behind):
        raise IcflowError(
            f"ratios.{settings.name}: {source.name} has a background spectrum, and networks learn "
            "with a background that is described; give one (icflow background fit), or leave the "
            "detector out of observe.detectors"
        )
    first, *others = engine.companions
    factor = _factor(source)
    return settings.model_copy(
        update={
            "modules": [
                first,
                *(m.model_copy(update={"cross_normalisation": factor}) for m in others),
            ],
            "energies": list(source.energies),
            "thermal": _at_source(settings.thermal, source.observation),
            "alternative": _at_source(settings.alternative, source.observation),
            "at_truth": [],
        }
    )


def _factor(source: SourceSettings) -> Uniform:
    """Return the prior of the factors between spectra."""
    return Uniform(uniform=list(source.cross_normalisation))


def _at_source(scenario: Scenario, observation: Observation) -> Scenario:
    return at_source(scenario, observation.redshift, observation.nH)
