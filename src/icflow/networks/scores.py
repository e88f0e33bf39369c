"""What one trained network makes of every spectrum."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from astropy import units
from astropy.table import Table

from icflow.errors import IcflowError
from icflow.files import sha256
from icflow.networks import devices, weights
from icflow.networks.data import Channels, counts_per_rate, input_rates, select_channels, split
from icflow.networks.dense import DenseAutoencoder
from icflow.networks.inputs import (
    RATE,
    SQUARED_RATE,
    Inputs,
    read_inputs,
    training_labels,
    true_labels,
)
from icflow.networks.network import PublishedAutoencoder
from icflow.networks.scoring import reconstruct, reconstruction_deviance, reconstruction_error
from icflow.networks.weights import Description
from icflow.ogip.response import read_rmf
from icflow.settings import ScoreSettings
from icflow.tables import rounded, rows_of, stack, write_table
from icflow.typing import DrawnCounts, Floats, Indices, Singles, Strings

DIGITS = 7  # of numbers computed in single precision


def run(
    settings: ScoreSettings,
    weights_path: Path,
    spectra: Mapping[str, Sequence[Path]],
    labels: Sequence[Path],
    output: Path,
    reconstructions: Path | None = None,
) -> None:
    """Apply one trained network to all datasets and write errors and latents.

    Parameters
    ----------
    settings : ScoreSettings
    weights_path : path
        Weights of the network in its fold.
    spectra : mapping of str to sequence of path
        Type II files of each dataset.
    labels : sequence of path
        Tables of the label fits of the training dataset.
    output : path
        Gets one row per spectrum: its part (``train``, ``selection``, ``holdout``
        of the training dataset, ``validation``, ``test``), the reconstruction error
        ``R_a``, its Poisson ``deviance`` per channel, and ``latent_*`` and ``label_*``
        in the units of the labels (NaN where a spectrum has no label).
    reconstructions : path, optional
        Gets input and reconstruction of the example spectrum of each test dataset.

    Raises
    ------
    IcflowError
        If the weights are of another network, response or split, or a dataset or
        spectrum is missing.
    """
    scorer = Scorer.load(settings, weights_path)
    tables, examples = [], []
    # The training dataset comes first: its label fits give the units of the labels.
    training_set = [] if settings.training is None else [settings.training]
    for dataset in dict.fromkeys([*training_set, *settings.validation, *settings.test]):
        if dataset not in spectra:
            raise IcflowError(f"no spectra of the dataset {dataset} were given; add its files")
        inputs = scorer.read(dataset, spectra[dataset])
        table, reconstruction = scorer.score(inputs, labels)
        tables.append(table)
        if reconstructions is not None and dataset in settings.test:
            examples.append(scorer.example(inputs, reconstruction))
    write_table(output, stack(tables))
    if reconstructions is not None:
        write_table(reconstructions, stack(examples))


class Scorer:
    """A trained network and what it is applied with.

    Attributes
    ----------
    channels, inputs : Channels
        Those of the spectra, of all modules, and those that the network reads.
    scored : (m,) int
        The inputs, of all modules, over which errors are averaged.
    """

    def __init__(
        self,
        settings: ScoreSettings,
        channels: Channels,
        inputs: Channels,
        network: PublishedAutoencoder | DenseAutoencoder,
        description: Description,
    ) -> None:
        self.settings = settings
        self.channels = channels
        self.inputs = inputs
        self.network = network
        self.scale = description.scale
        self.units: dict[str, str] = {}
        self.scored: Indices = select_channels(inputs.e_min, inputs.e_max, settings.score_energies)
        self.meta = {
            "network": settings.train.network,
            "fold": settings.train.fold,
            "best_epoch": description.best_epoch,
            "score_energies": list(settings.score_energies),
            "training": settings.train.training.model_dump(mode="json"),
        }

    @classmethod
    def load(cls, settings: ScoreSettings, path: Path) -> Scorer:
        """Read responses and weights, and check that they belong together.

        Raises
        ------
        IcflowError
            If they do not, or one is missing.
        """
        devices.prepare(threads=1)
        responses = settings.train.responses
        channels = Channels.of([read_rmf(response) for response in responses])
        inputs = channels[select_channels(channels.e_min, channels.e_max, settings.train.energies)]
        state, description = weights.load_weights(path)
        digests = [sha256(response) for response in responses]
        weights.check(path, description, settings.train, digests, len(inputs.e_min))
        network = weights.build(path, state, description)
        return cls(settings, channels, inputs, network, description)

    def read(self, dataset: str, paths: Sequence[Path]) -> Inputs:
        """Read the spectra of a dataset; of the training dataset those that are trained with.

        Raises
        ------
        IcflowError
            If a file is not one of these responses or dataset, or spectra are missing.
        """
        train = self.settings.train
        size = train.training.spectra if dataset == self.settings.training else None
        inputs = read_inputs(paths, self.channels, train.energies, size)
        if inputs.dataset != dataset:
            raise IcflowError(
                f"{paths[0]}: holds spectra of the dataset {inputs.dataset}, given as {dataset}; "
                "name its own dataset"
            )
        return inputs

    def take(self, dataset: str, counts: DrawnCounts, exposure: Floats) -> Inputs:
        """Return counts (n, n_channels) as spectra of a dataset; exposures (n_channels,) in s."""
        bounds = self.channels.e_min, self.channels.e_max, self.settings.train.energies
        return Inputs(
            dataset=dataset,
            index=np.arange(len(counts)),
            rates=input_rates(counts, exposure, *bounds),
            counts_per_rate=counts_per_rate(exposure, *bounds),
            truth={},
        )

    def score(self, inputs: Inputs, fits: Sequence[Path] = ()) -> tuple[Table, Singles]:
        """Return the scores of a dataset, one row per spectrum, and its reconstructions.

        Parameters
        ----------
        fits : sequence of path
            Tables of the label fits of the training dataset.
        """
        sources = self.settings.train.labels
        if inputs.dataset == self.settings.training:
            known = training_labels(sources, inputs, fits)
            labels, self.units = known.values, known.units
            if known.doubts():
                self.meta["labels"] = known.doubts()
        else:
            labels = true_labels(sources, inputs)
        reconstruction, latents = reconstruct(self.network, inputs.rates)
        table = self._tabulate(inputs, self._parts(inputs), reconstruction, latents, labels)
        return table, reconstruction

    def _parts(self, inputs: Inputs) -> Strings:
        """Return the part that each spectrum plays."""
        settings = self.settings
        if inputs.dataset != settings.training:
            role = "test" if inputs.dataset in settings.test else "validation"
            return np.full(inputs.index.size, role)
        cuts = settings.train.training
        fold = split(cuts.spectra, cuts.folds, settings.train.fold, settings.train.seed)
        parts = np.full(inputs.index.size, "selection")  # the longest of the names
        for name, rows in fold.parts().items():
            parts[rows] = name
        return parts

    def _tabulate(
        self,
        inputs: Inputs,
        parts: Strings,
        reconstruction: Singles,
        latents: Singles,
        labels: Floats,
    ) -> Table:
        error = reconstruction_error(inputs.rates, reconstruction, self.scored)
        deviance = reconstruction_deviance(
            inputs.rates, reconstruction, inputs.counts_per_rate, self.scored
        )
        table = Table(
            {
                "dataset": np.full(inputs.index.size, inputs.dataset),
                "index": inputs.index,
                "part": parts,
                "R_a": rounded(error, DIGITS),
                "deviance": rounded(deviance, DIGITS),
            },
            meta=self.meta,
        )
        table["R_a"].unit = SQUARED_RATE
        names = self.scale.names
        physical = self.scale.physical(latents[:, : len(names)])
        for column, name in enumerate(names):
            table[f"latent_{name}"] = rounded(physical[:, column], DIGITS)
            table[f"label_{name}"] = labels[:, column]
            for kind in ("latent", "label"):
                table[f"{kind}_{name}"].unit = self.units.get(name)
        # Latents beyond the labels have no unit: they are written as they are.
        for column in range(len(names), latents.shape[1]):
            table[f"latent_{column}"] = rounded(latents[:, column], DIGITS)
        return table

    def example(self, inputs: Inputs, reconstruction: Singles) -> Table:
        """Return input and reconstruction of the example spectrum.

        Raises
        ------
        IcflowError
            If it is not among the spectra.
        """
        wanted = np.array([self.settings.example])
        row = rows_of(inputs.index, wanted, f"figures.example, dataset {inputs.dataset}")[0]
        energy = 0.5 * (self.inputs.e_min + self.inputs.e_max)
        table = Table(
            {
                "dataset": np.full(energy.size, inputs.dataset),
                "index": np.full(energy.size, inputs.index[row]),
                "energy": rounded(energy, DIGITS),
                "rate": rounded(inputs.rates[row], DIGITS),
                "reconstruction": rounded(reconstruction[row], DIGITS),
            },
            meta=self.meta,
        )
        if self.inputs.module.any():
            table.add_column(self.inputs.module, name="module", index=2)
        table["energy"].unit = units.keV
        for name in ("rate", "reconstruction"):
            table[name].unit = RATE
        return table
