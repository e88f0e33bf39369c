"""Networks for one observation: trained on spectra like the observed one, and their scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from icflow.config import FitModel
from icflow.detection.base import TEST, VALIDATION
from icflow.detection.observed import check_network
from icflow.files import inputs_kept, sha256, sha256_of
from icflow.layout import TRAINED_OBSERVED, TRAINING_SPECTRA, WEIGHTS
from icflow.models.background import named_files
from icflow.models.scenario import at_source
from icflow.observation import fits as observed_fits
from icflow.observation.engine import ObservedEngine
from icflow.observation.simulations import Draws, FittedSpectra, allowed, draw_each, replicas
from icflow.ogip.observation import SpectrumFiles
from icflow.ogip.spectra import Recorded, SpectrumSet, write_spectra
from icflow.settings import ObserveNetworkSettings, ObserveSettings, ScoreSettings
from icflow.tables import stack
from icflow.typing import DrawnCounts

if TYPE_CHECKING:
    from astropy.table import Table

# The spectra that the network is trained with, as a dataset.
TRAINING = "training"


def run(settings: ObserveNetworkSettings, output: Path, threads: int = 1) -> None:
    """Simulate spectra without IC that the observed one allows, and train a network with them.

    What is wrong with calibration and background is drawn for each, as in the analysis.

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

    check_network(settings.score, f"autoencoder.networks.{settings.score.train.network}")
    modules, engine = observed_fits.open_source(settings, settings.systematics)
    truth = _truth(settings, engine)
    repeated = [truth[row % len(truth)] for row in range(settings.score.train.training.spectra)]
    draws = Draws.for_source(settings, TRAINING)
    counts = draw_each(engine, _model(settings), repeated, draws)
    training = _training_set(modules, counts[:, : engine.n_channels], repeated)
    write_spectra(output / TRAINING_SPECTRA, training)
    fold.run(_of(settings, modules).train, [output / TRAINING_SPECTRA], [], output, threads)


def is_trained(settings: ObserveNetworkSettings, output: Path) -> bool:
    """Tell whether a folder holds what `run` would make.

    Raises
    ------
    IcflowError
        If an input is missing or cannot be used, or what is there is damaged.
    """
    if not all((output / name).is_file() for name in TRAINED_OBSERVED):
        return False
    from icflow.networks.weights import load_weights

    modules = observed_fits.read_source(settings)
    with inputs_kept():  # of its own, so that what is there may be replaced
        return load_weights(output / WEIGHTS)[1].settings == _of(settings, modules).train


def _truth(settings: ObserveNetworkSettings, engine: ObservedEngine) -> list[dict[str, float]]:
    """Return parameters that the observed spectrum allows, as in its analysis."""
    name, model = settings.scenario, _model(settings)
    fit = observed_fits.best_fits(engine, {name: model})[name]
    draws = Draws.for_source(settings, f"{name}/replicas")
    counts = replicas(engine, model, fit, settings.simulations, draws)
    priors = settings.observation.priors.get(name, {})
    draws = Draws.for_source(settings, name)
    return allowed(engine, model, counts, engine.fit(model, counts), priors, draws)


def _model(settings: ObserveNetworkSettings) -> FitModel:
    return at_source(settings.model, settings.observation.redshift, settings.observation.nH)


def scores(
    settings: ObserveSettings,
    network: str,
    folder: Path,
    modules: Sequence[SpectrumFiles],
    spectra: Mapping[str, FittedSpectra],
) -> Table:
    """Return what a network says about each set of spectra, as detectors read it.

    Parameters
    ----------
    folder : path
        What `run` wrote.

    Raises
    ------
    IcflowError
        If that is missing, or of another training.
    """
    from icflow.networks.scores import Scorer

    first, *others = spectra
    # Networks read sources, background spectra left out.
    sizes = [module.spectrum.counts.size for module in modules]
    exposure = np.repeat([module.spectrum.exposure for module in modules], sizes)
    parts = {"training": TRAINING, "test": [first], "validation": others}
    own = _of(settings.of_network(network), modules).model_copy(update=parts)
    scorer = Scorer.load(own, folder / WEIGHTS)
    inputs = [scorer.read(TRAINING, [folder / TRAINING_SPECTRA])]
    for name in (*others, first):
        counts = np.asarray(spectra[name].counts[:, : exposure.size], dtype=np.int32)
        inputs.append(scorer.take(name, counts, exposure))
    table = stack([scorer.score(dataset)[0] for dataset in inputs])
    # Spectra that are judged choose the threshold too, as they do for the other detectors.
    dataset = np.asarray(table["dataset"])
    observe = settings.observe
    judged = {
        VALIDATION: table[np.isin(dataset, (observe.thermal, observe.with_ic))],
        TEST: table[dataset != TRAINING],
    }
    for part, rows in judged.items():
        rows["part"] = part
    return stack([table[dataset == TRAINING], *judged.values()])


def _of(settings: ObserveNetworkSettings, modules: Sequence[SpectrumFiles]) -> ScoreSettings:
    """Return the settings with the responses of the observed spectra, and what else is theirs."""
    own = {
        "responses": [str(module.rmf) for module in modules],
        "drawn_with": _drawn_with(settings, modules),
    }
    train = settings.score.train.model_copy(update=own)
    return settings.score.model_copy(update={"train": train})


def _drawn_with(settings: ObserveNetworkSettings, modules: Sequence[SpectrumFiles]) -> str:
    """Return the SHA-256 of the settings, and of the files that spectra are drawn with."""
    files = [file for module in modules for file in module.files]
    for module in modules:
        if module.background is not None:
            files += named_files(module.background)
    return sha256_of([settings.model_dump(mode="json"), [sha256(file) for file in files]])


def _training_set(
    modules: Sequence[SpectrumFiles], counts: DrawnCounts, truth: Sequence[Mapping[str, float]]
) -> SpectrumSet:
    """Return simulated spectra as files hold them."""
    return SpectrumSet(
        counts=counts,
        index=np.arange(len(counts)),
        truth={name: np.array([values[name] for values in truth]) for name in truth[0]},
        modules=tuple(map(_recorded, modules)),
        dataset=TRAINING,
        scenario=TRAINING,
    )


def _recorded(module: SpectrumFiles) -> Recorded:
    spectrum = module.spectrum
    return Recorded(
        channel=spectrum.channel,
        exposure=spectrum.exposure,
        respfile=module.rmf.name,
        ancrfile=None if module.arf is None else module.arf.name,
        telescope=spectrum.telescope,
        instrument=spectrum.instrument,
        module=module.name,
    )
