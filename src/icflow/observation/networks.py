"""Networks for one observation: trained on spectra like the observed one, and their scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from astropy.table import Table

from icflow.config import FitModel, Observe
from icflow.detection.base import TEST, VALIDATION
from icflow.errors import IcflowError
from icflow.models.scenario import at_source
from icflow.observation import fits as observed_fits
from icflow.observation.engine import ObservedEngine
from icflow.observation.simulations import Draws, Spectra, allowed, draw_each, replicas
from icflow.ogip.observation import SpectrumFiles
from icflow.ogip.spectra import Recorded, SpectrumSet, write_spectra
from icflow.settings import ObserveNetworkSettings, ScoreSettings, SourceSettings
from icflow.tables import stack
from icflow.typing import DrawnCounts

# The spectra that the network is trained with, as a dataset.
TRAINING = "training"
SPECTRA = "training.pha"


def run(settings: ObserveNetworkSettings, output: Path, threads: int = 1) -> None:
    """Simulate spectra without IC that the observed one allows, and train a network with them.

    Parameters
    ----------
    output : path
        Folder that gets the spectra, ``training.pha``, and what
        `icflow.networks.fold.run` writes.

    Raises
    ------
    IcflowError
        If an input is missing or cannot be used, or the network cannot be trained.
    """
    from icflow.networks import fold

    check(settings.score, settings, f"autoencoder.networks.{settings.score.train.network}")
    (module,), engine = observed_fits.open_source(settings)
    truth = _truth(settings, engine)
    repeated = [truth[row % len(truth)] for row in range(settings.score.train.training.spectra)]
    draws = Draws(settings.seed, f"observations/{settings.name}/{TRAINING}")
    counts = draw_each(engine, _model(settings), repeated, draws)
    write_spectra(output / SPECTRA, _training_set(module, counts[:, : engine.n_channels], repeated))
    fold.run(_of(settings.score, module).train, [output / SPECTRA], [], output, threads)


def _truth(settings: ObserveNetworkSettings, engine: ObservedEngine) -> list[dict[str, float]]:
    """Return parameters that the observed spectrum allows, as in its analysis."""
    name, model = settings.scenario, _model(settings)
    fit = observed_fits.best_fits(engine, {name: model})[name]
    draws = Draws(settings.seed, f"observations/{settings.name}/{name}")
    own = Draws(settings.seed, f"{draws.key}/replicas")
    counts = replicas(engine, model, fit, settings.simulations, own)
    priors = settings.observation.priors.get(name, {})
    return allowed(engine, model, counts, engine.fit(model, counts), priors, draws)


def _model(settings: ObserveNetworkSettings) -> FitModel:
    return at_source(settings.model, settings.observation.redshift, settings.observation.nH)


def check(score: ScoreSettings, settings: SourceSettings, key: str) -> None:
    """Check that a network can be trained for an observation.

    Raises
    ------
    IcflowError
        If it needs fits of its training spectra, or the observation has
        several spectra; `key` names the network.
    """
    train = score.train
    fitted = [name for name, source in train.labels.items() if "fit:" in source]
    if fitted:
        raise IcflowError(
            f"{key}: the latents of {train.network!r} are held to label fits "
            f"({', '.join(fitted)}), which are not made for observations; name a network with "
            "constraint 0"
        )
    if settings.observation.spectra is not None:
        raise IcflowError(
            f"{key} is {train.network!r}, and networks read one spectrum, but observations."
            f"{settings.name} has several; leave detectors with networks out, or analyse the "
            "spectra one by one"
        )


def scores(
    settings: ScoreSettings,
    folder: Path,
    modules: Sequence[SpectrumFiles],
    spectra: Mapping[str, Spectra],
    observe: Observe,
) -> Table:
    """Return what a network says about each set of spectra, as detectors read it.

    Parameters
    ----------
    folder : path
        What `run` wrote.
    """
    from icflow.networks import fold
    from icflow.networks.scores import Scorer

    (module,) = modules
    first, *others = spectra
    # Networks read sources, background spectra left out.
    size = module.spectrum.counts.size
    parts = {"training": TRAINING, "test": [first], "validation": others}
    own = _of(settings, module).model_copy(update=parts)
    scorer = Scorer.load(own, folder / fold.WEIGHTS)
    inputs = [scorer.read(TRAINING, [folder / SPECTRA])]
    for name in (*others, first):
        counts = np.asarray(spectra[name].counts[:, :size], dtype=np.int32)
        inputs.append(scorer.take(name, counts, module.spectrum.exposure))
    table = stack([scorer.score(dataset)[0] for dataset in inputs])
    # Spectra that are judged choose the threshold too, as they do for the other detectors.
    dataset = np.asarray(table["dataset"])
    judged = {
        VALIDATION: table[np.isin(dataset, (observe.thermal, observe.with_ic))],
        TEST: table[dataset != TRAINING],
    }
    for part, rows in judged.items():
        rows["part"] = part
    return stack([table[dataset == TRAINING], *judged.values()])


def _of(settings: ScoreSettings, module: SpectrumFiles) -> ScoreSettings:
    """Return the settings with the response of the observed spectrum."""
    train = settings.train.model_copy(update={"responses": [str(module.rmf)]})
    return settings.model_copy(update={"train": train})


def _training_set(
    module: SpectrumFiles, counts: DrawnCounts, truth: Sequence[Mapping[str, float]]
) -> SpectrumSet:
    """Return simulated spectra as files hold them."""
    spectrum = module.spectrum
    recorded = Recorded(
        channel=spectrum.channel,
        exposure=spectrum.exposure,
        respfile=module.rmf.name,
        ancrfile=None if module.arf is None else module.arf.name,
        telescope=spectrum.telescope,
        instrument=spectrum.instrument,
    )
    return SpectrumSet(
        counts=counts,
        index=np.arange(len(counts)),
        truth={name: np.array([values[name] for values in truth]) for name in truth[0]},
        modules=(recorded,),
        dataset=TRAINING,
        scenario=TRAINING,
    )
