"""Losses of trainings with the two recipes, and what parts of the network do.

    python benchmarks/recipes.py --curves results/train/cae/fold-0 OTHER/train/cae/fold-0 ...
    python benchmarks/recipes.py --parts [--without skips again] [--config FILE ...] [--seeds 1]
    python benchmarks/recipes.py --parts --without --output-weights published positive zero

With ``--curves``, folders of trained folds, prints the lowest losses of each
training and when the first recipe `paper` among them got there, and draws losses
against epochs as `recipes.png` (``--output``). An epoch costs the same CPU time in
batches of any size; ``--parts`` measures it.

With ``--parts`` the CAE is trained as the configuration says (``--config`` lays
files over `config.yaml`), as published and without some of the three parts in
which it differs from a network with linear latents and a plain decoder, and with
other weights of its last layer to begin with (``--output-weights``). Prints
one row of a Markdown table for each training: how many latents and channels of
the reconstruction have died, that is, are the same for all spectra, with the part
of the error that these channels have, and, without ``--latents``, what R_a detects
among the test spectra.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import resource
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import numpy as np
import torch
from astropy.table import Table
from torch import Tensor, nn

from icflow import config as configuration
from icflow import settings as settings_of
from icflow.config import Config
from icflow.detection.base import TEST, VALIDATION, Material, Sample, with_ic
from icflow.detection.detectors import detect
from icflow.detection.metrics import confusion
from icflow.detection.roc import auc
from icflow.layout import HISTORY, Layout
from icflow.networks import devices, training
from icflow.networks.data import Channels, LabelScale, select_channels, split
from icflow.networks.fold import dead, dead_channels
from icflow.networks.inputs import read_inputs, training_labels
from icflow.networks.network import PublishedAutoencoder, create
from icflow.networks.scores import Scorer
from icflow.networks.training import Examples, Trained
from icflow.networks.weights import Description
from icflow.ogip.response import read_rmf
from icflow.publish.figures import style
from icflow.settings import TrainSettings
from icflow.tables import read_table, stack
from icflow.typing import Singles

CONFIG = Path(__file__).parents[1] / "config.yaml"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--curves", type=Path, nargs="+", help="folders of trained folds")
    parser.add_argument("--output", type=Path, default=Path(), help="folder of the figure")
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--parts", action="store_true", help="leave out parts of the network")
    parser.add_argument("--without", choices=PARTS, nargs="*", help="these only, all together")
    parser.add_argument(
        "--output-weights", choices=OUTPUTS, nargs="+", default=["default"], help="first weights"
    )
    parser.add_argument("--config", type=Path, nargs="*", default=[], help="laid over config.yaml")
    parser.add_argument("--latents", action="store_true", help="count dead latents, score nothing")
    parser.add_argument("--seeds", type=int, default=1, help="trainings of each network")
    args = parser.parse_args()
    if args.curves:
        histories = [read_table(folder / HISTORY) for folder in args.curves]
        print_table(histories)
        draw(histories, args.output / "recipes.png")
    elif args.parts:
        compare_parts(args)
    else:
        parser.error("say --curves with folders of trained folds, or --parts")


def settings(files: Sequence[Path]) -> Config:
    """Return the default configuration, files laid over it, that trains on the CPU."""
    base = configuration.load(CONFIG, *files).model_dump(mode="json", exclude_none=True)
    above = {"autoencoder": {"training": {"device": "cpu"}}}
    return configuration.validate(configuration.overlay(base, above), str(CONFIG))


class Data(NamedTuple):
    """What the training of the CAE in fold 0 reads."""

    settings: TrainSettings
    scale: LabelScale
    sample: Examples
    selection: Examples
    counts_per_rate: Singles


def read(config: Config, results: Path) -> Data:
    """Read what the training of the CAE in fold 0 needs."""
    own = settings_of.train(config, "cae", 0)
    cuts = own.training
    dataset = config.detection.training
    shards = range(len(config.shards(dataset, cuts.spectra)))
    layout = Layout(results)
    inputs = read_inputs(
        [layout.spectra(dataset, shard) for shard in shards],
        Channels.of([read_rmf(path) for path in own.responses]), own.energies, cuts.spectra,
    )  # fmt: skip
    fits = [layout.labels(dataset, shard) for shard in shards]
    labels = training_labels(own.labels, inputs, fits).values
    parts = split(cuts.spectra, cuts.folds, own.fold, own.seed)
    scale = LabelScale.of(list(own.labels), labels[parts.train])
    sample, selection = (
        Examples(inputs.rates[rows], scale.scaled(labels[rows]))
        for rows in (parts.train, parts.selection)
    )
    return Data(own, scale, sample, selection, inputs.counts_per_rate)


def cpu() -> float:
    """Return the CPU time of this process, s."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


# --- parts of the network ----------------------------------------------------------


class Nothing(nn.Module):
    """A residual connection that adds nothing."""

    def forward(self, x: Tensor) -> Tensor:
        return x.new_zeros(())


def linear_latents(network: PublishedAutoencoder) -> None:
    """Take away the GELU after the latents."""
    network.dense = network.dense[:-1]


def no_skips(network: PublishedAutoencoder) -> None:
    """Take away the residual connections of the decoder."""
    for stage in network.up:
        stage.skip = Nothing()


def normalised_once(network: PublishedAutoencoder) -> None:
    """Take away the second normalisation and GELU of each stage of the decoder."""
    for stage in network.up:
        stage.again = nn.Identity()


PARTS: dict[str, Callable[[PublishedAutoencoder], None]] = {
    "latents": linear_latents, "skips": no_skips, "again": normalised_once
}  # fmt: skip


# Ranges of the first weights of the last layer, and of its bias: those of a convolution in torch,
# with which networks begin; those of a transposed one, as in the authors' code; others.
OUTPUTS: dict[str, tuple[tuple[float, float], tuple[float, float]] | None] = {
    "default": None,
    "published": ((-1.0, 1.0), (-1.0, 1.0)),
    "positive": ((0.0, 1.0), (0.0, 0.0)),
    "zero": ((0.0, 0.0), (0.0, 0.0)),
}


def begin_with(output: str, network: PublishedAutoencoder) -> None:
    """Draw the weights and the bias of the last layer."""
    ranges = OUTPUTS[output]
    if ranges is not None:
        for tensor, (low, high) in zip(network.output.parameters(), ranges, strict=True):
            nn.init.uniform_(tensor, low, high)


TRAINED = (
    "without", "output weights", "seed", "selection loss", "dead latents", "dead channels",
    "CPU s per epoch and 1,000 spectra",
)  # fmt: skip
DETECTED = (
    "median R_a, 2T", "threshold", "precision", "recall", "balanced accuracy", "area under ROC"
)  # fmt: skip


def compare_parts(args: argparse.Namespace) -> None:
    """Train the CAE without each choice of parts and print what each training came to."""
    devices.prepare(1)
    config = settings(args.config)
    choices = [
        choice for size in range(len(PARTS) + 1) for choice in itertools.combinations(PARTS, size)
    ]
    if args.without is not None:
        choices = [tuple(args.without)]
    data = read(config, args.results)
    columns = TRAINED if args.latents else TRAINED + DETECTED
    print(f"| {' | '.join(columns)} |\n{'| --- ' * len(columns)}|", flush=True)
    ways = itertools.product(choices, args.output_weights, range(args.seeds))
    for choice, output, number in ways:
        started = cpu()
        network, trained = train_without(choice, data, config.seed + number, output)
        spent = (cpu() - started) / len(trained.history) / (len(data.sample.rates) / 1000)
        cells = [
            ", ".join(choice) or "nothing", output, str(config.seed + number),
            f"{trained.selection_loss:.2g}", str(dead_latents(network, data.selection)),
            lost(network, data), f"{spent:.1f}",
        ]  # fmt: skip
        if not args.latents:
            scorer = scorer_of(config, network, data.scale, trained)
            cells += detected(config, args.results, scorer)
        print(f"| {' | '.join(cells)} |", flush=True)


def train_without(
    choice: Sequence[str], data: Data, seed: int, output: str
) -> tuple[PublishedAutoencoder, Trained]:
    """Train the CAE without some parts, from first weights of a seed; return it ready to use."""
    own = data.settings.model_copy(update={"seed": seed})

    def made(settings: TrainSettings, length: int) -> PublishedAutoencoder:
        network = create(settings, length)
        for part in choice:
            PARTS[part](network)
        begin_with(output, network)
        return network

    def report(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    with mock.patch.object(training, "create", made):
        trained = training.train(own, data.sample, data.selection, report=report)
    network = made(own, data.sample.rates.shape[1])
    network.load_state_dict(trained.state)
    return network.eval(), trained


def dead_latents(network: PublishedAutoencoder, examples: Examples) -> int:
    """Return how many latents are the same for all spectra.

    The spectra are normalised as in training: running statistics say little after few steps.
    """
    trained = copy.deepcopy(network).train()
    with torch.no_grad():
        return len(dead(trained.encode(torch.from_numpy(examples.rates))))


def lost(network: PublishedAutoencoder, data: Data) -> str:
    """Return how many channels are dead, and their part of the error."""
    rates = data.selection.rates
    with torch.no_grad():
        made = network(torch.from_numpy(rates))[0].numpy()
    channels, share = dead_channels(made, rates, data.counts_per_rate)
    return f"{channels.size} ({share:.0%})"


def scorer_of(
    config: Config, network: PublishedAutoencoder, scale: LabelScale, trained: Trained
) -> Scorer:
    """Return what scores spectra with a network that no file holds."""
    own = settings_of.score(config, "cae", 0)
    channels = Channels.of([read_rmf(path) for path in own.train.responses])
    inside = channels[select_channels(channels.e_min, channels.e_max, own.train.energies)]
    description = Description(
        own.train, scale, len(inside.e_min), [], trained.best_epoch, trained.selection_loss
    )
    return Scorer(own, channels, inside, network, description)


def detected(config: Config, results: Path, scorer: Scorer) -> list[str]:
    """Return what R_a of a network detects among the test spectra."""
    layout, detection, sizes = Layout(results), config.detection, scorer.settings.shards.spectra
    tables = []
    for dataset in (detection.training, *detection.validation, *detection.test):
        shards = range(len(config.shards(dataset, sizes[dataset])))
        inputs = scorer.read(dataset, [layout.spectra(dataset, shard) for shard in shards])
        fits = [layout.labels(dataset, shard) for shard in shards]
        tables.append(scorer.score(inputs, fits)[0])
    classes = with_ic(config.datasets, detection.training)
    samples = {
        part: Sample.of({name: sizes[name] for name in names}, classes)
        for part, names in ((VALIDATION, detection.validation), (TEST, detection.test))
    }
    material = Material(samples, classes, {"cae": [stack(tables)]}, results={})
    judged = detect("cae", detection.detectors["cae"], material)
    is_ic = samples[TEST].is_ic
    matrix = confusion(judged.decision, is_ic)
    return [
        f"{np.median(judged.score[~is_ic]):.1e}", f"{judged.threshold:.1e}",
        f"{matrix.precision:.2f}", f"{matrix.recall:.2f}", f"{matrix.balanced_accuracy:.3f}",
        f"{auc(judged.score, is_ic):.3f}",
    ]  # fmt: skip


# --- curves ------------------------------------------------------------------------


def title(history: Table) -> str:
    """Return the recipe of a training, and how many epochs of how many spectra it has."""
    own = history.meta["training"]
    spectra = own["spectra"] * (own["folds"] - 2) // own["folds"]
    epochs = f"{len(history)} of {own['epochs']}" if len(history) < own["epochs"] else own["epochs"]
    return f"{own['recipe']}, {epochs} epochs of {spectra:,}"


def print_table(histories: Sequence[Table]) -> None:
    """Print the lowest loss of each training, and when the recipe paper had reached it."""
    papers = [run for run in histories if run.meta["training"]["recipe"] == "paper"]
    if not papers:
        sys.exit("None of these folds was trained with the recipe paper, which others are held to")
    reached = papers[0]["selection_loss"]
    print(
        "| training | lowest loss | lowest misfit | `paper` gets there |\n| --- | --- | --- | --- |"
    )
    for run in histories:
        best = float(np.min(run["selection_loss"]))
        later = np.flatnonzero(reached <= best)
        when = f"after {later[0] + 1} epochs" if later.size else "never"
        misfit = float(np.min(run["selection_misfit"]))
        print(f"| {title(run)} | {best:.2g} | {misfit:.2g} | {when} |")


def draw(histories: Sequence[Table], path: Path) -> None:
    """Draw loss and misfit against epochs; dots mark the epochs of the lowest loss."""
    with style.context():
        figure, axes = style.grid(1, 2, style.DOUBLE_COLUMN, 2.7, sharex=True)
        for panel, column, label in zip(
            axes[0],
            ("selection_loss", "selection_misfit"),
            ("Selection loss", f"Selection MSE ({style.SQUARED_RATE})"),
            strict=True,
        ):
            shades = itertools.cycle((style.BLUE, style.GREEN, style.SKY, style.BLACK))
            for run in histories:
                paper = run.meta["training"]["recipe"] == "paper"
                epochs, losses = np.asarray(run["epoch"]) + 1, np.asarray(run[column])
                (line,) = panel.plot(
                    epochs, losses, lw=1.2 if paper else 1.0, label=title(run),
                    color=style.VERMILLION if paper else next(shades),
                )  # fmt: skip
                best = int(np.argmin(run["selection_loss"]))
                panel.plot(epochs[best], losses[best], "o", ms=3.5, color=line.get_color())
            panel.set(xscale="log", yscale="log", xlabel="Epoch", ylabel=label)
        axes[0, 0].legend()
        style.save(figure, path, 200)


if __name__ == "__main__":
    main()
