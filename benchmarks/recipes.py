"""Loss against CPU time of the two recipes of training, and what parts of the network do.

    python benchmarks/recipes.py [--results results] [--spectra 1250] [--paper 60] [--fast 6 12 20]
    python benchmarks/recipes.py --parts [--without skips again] [--config FILE ...] [--seeds 1]

Trains the CAE in one fold on the first simulated spectra of a run: with the
recipe `paper` (batches of 150) for some epochs, and with the recipe `fast`
(batches of 64) from scratch for each of several numbers of epochs, because its
schedule ends with the last one. Writes the curves as `recipes.ecsv` and draws
them as `recipes.png` (``--output``); ``--draw`` only draws. CPU seconds, user
and system together.

With ``--parts`` the CAE is trained as the configuration says (``--config`` lays
files over `config.yaml`), as published and without some of the three parts in
which it differs from a network with linear latents and a plain decoder. Prints
one row of a Markdown table for each training: how many latents have died, that
is, are the same for all spectra, and, without ``--latents``, what R_a detects
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
from astropy.table import Table, vstack
from torch import Tensor, nn

from icflow import config as configuration
from icflow import settings as settings_of
from icflow.config import Config
from icflow.detection.base import TEST, VALIDATION, Material, Sample, with_ic
from icflow.detection.detectors import detect
from icflow.detection.metrics import confusion
from icflow.detection.roc import auc
from icflow.layout import Layout
from icflow.networks import devices, training
from icflow.networks.data import Channels, LabelScale, select_channels, split
from icflow.networks.inputs import read_inputs, training_labels
from icflow.networks.network import PublishedAutoencoder, create
from icflow.networks.scores import Scorer
from icflow.networks.training import Examples, Trained
from icflow.networks.weights import Description
from icflow.ogip.response import read_rmf
from icflow.publish.figures import style
from icflow.settings import TrainSettings
from icflow.tables import read_table, stack, write_table

CONFIG = Path(__file__).parents[1] / "config.yaml"
PAPER, FAST = {"recipe": "paper", "batch": 150}, {"recipe": "fast", "batch": 64}
DEAD = 1e-3  # scatter of a latent, of labels that scatter by 0.3, below which it says nothing


def main() -> None:
    parser = argparse.ArgumentParser(description="loss against CPU time of both recipes")
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--output", type=Path, default=Path())
    parser.add_argument("--spectra", type=int, default=1250)
    parser.add_argument("--paper", type=int, default=60, help="epochs of the recipe paper")
    parser.add_argument("--fast", type=int, nargs="+", default=[6, 12, 20], help="of fast")
    parser.add_argument("--draw", action="store_true", help="draw what was measured before")
    parser.add_argument("--parts", action="store_true", help="leave out parts of the network")
    parser.add_argument("--without", choices=PARTS, nargs="*", help="these only, all together")
    parser.add_argument("--config", type=Path, nargs="*", default=[], help="laid over config.yaml")
    parser.add_argument("--latents", action="store_true", help="count dead latents, score nothing")
    parser.add_argument("--seeds", type=int, default=1, help="trainings of each network")
    args = parser.parse_args()
    if args.parts:
        compare_parts(args)
        return
    path = args.output / "recipes.ecsv"
    if not args.draw:
        devices.prepare(1)
        runs = [FAST | {"epochs": epochs} for epochs in args.fast] + [
            PAPER | {"epochs": args.paper}
        ]
        curves: list[Table] = []
        for run in runs:
            curves.append(measure(settings(run | {"spectra": args.spectra}), args.results))
            write_table(path, vstack(curves, metadata_conflicts="silent"))
    table = read_table(path)
    print_table(table)
    draw(table, args.output / "recipes.png")


def settings(change: dict[str, object], files: Sequence[Path] = ()) -> Config:
    """Return the default configuration, files laid over it, with another training."""
    base = configuration.load(CONFIG, *files).model_dump(mode="json", exclude_none=True)
    above = {"autoencoder": {"training": change | {"device": "cpu"}}}
    return configuration.validate(configuration.overlay(base, above), str(CONFIG))


class Data(NamedTuple):
    """What the training of the CAE in fold 0 reads."""

    settings: TrainSettings
    scale: LabelScale
    sample: Examples
    selection: Examples


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
    return Data(own, scale, sample, selection)


def measure(config: Config, results: Path) -> Table:
    """Train the CAE in fold 0; return CPU time and losses after each epoch."""
    own, _, sample, selection = read(config, results)
    cuts = own.training
    marks = []
    started = cpu()

    def report(line: str) -> None:
        marks.append(cpu() - started)
        print(f"{cuts.recipe}, {marks[-1]:.1f} CPU s, {line}", file=sys.stderr, flush=True)

    trained = training.train(own, sample, selection, report=report)
    size = len(trained.history)
    return Table(
        {
            "recipe": [cuts.recipe] * size,
            "epochs": np.full(size, cuts.epochs),
            "cpu_time": np.round(marks, 1),
            "selection_loss": [float(f"{row.selection_loss:.4g}") for row in trained.history],
            "selection_misfit": [float(f"{row.selection_misfit:.4g}") for row in trained.history],
        },
        meta={"spectra": cuts.spectra},
    )


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


TRAINED = (
    "without", "seed", "selection loss", "dead latents", "CPU s per epoch and 1,000 spectra"
)  # fmt: skip
DETECTED = (
    "median R_a, 2T", "threshold", "precision", "recall", "balanced accuracy", "area under ROC"
)  # fmt: skip


def compare_parts(args: argparse.Namespace) -> None:
    """Train the CAE without each choice of parts and print what each training came to."""
    devices.prepare(1)
    config = settings({}, args.config)
    choices = [
        choice for size in range(len(PARTS) + 1) for choice in itertools.combinations(PARTS, size)
    ]
    if args.without is not None:
        choices = [tuple(args.without)]
    data = read(config, args.results)
    columns = TRAINED if args.latents else TRAINED + DETECTED
    print(f"| {' | '.join(columns)} |\n{'| --- ' * len(columns)}|", flush=True)
    for choice, number in itertools.product(choices, range(args.seeds)):
        started = cpu()
        network, trained = train_without(choice, data, config.seed + number)
        spent = (cpu() - started) / len(trained.history) / (len(data.sample.rates) / 1000)
        cells = [
            ", ".join(choice) or "nothing", str(config.seed + number),
            f"{trained.selection_loss:.2g}", str(dead_latents(network, data.selection)),
            f"{spent:.1f}",
        ]  # fmt: skip
        if not args.latents:
            scorer = scorer_of(config, network, data.scale, trained)
            cells += detected(config, args.results, scorer)
        print(f"| {' | '.join(cells)} |", flush=True)


def train_without(
    choice: Sequence[str], data: Data, seed: int
) -> tuple[PublishedAutoencoder, Trained]:
    """Train the CAE without some parts, from the weights of a seed; return it ready to use."""
    own = data.settings.model_copy(update={"seed": seed})

    def made(settings: TrainSettings, length: int) -> PublishedAutoencoder:
        network = create(settings, length)
        for part in choice:
            PARTS[part](network)
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
        return int((trained.encode(torch.from_numpy(examples.rates)).std(0) < DEAD).sum())


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
    material = Material(samples, classes, {"cae": [stack(tables)]}, fits={})
    judged = detect("cae", detection.detectors["cae"], material)
    is_ic = samples[TEST].is_ic
    matrix = confusion(judged.decision, is_ic)
    return [
        f"{np.median(judged.score[~is_ic]):.1e}", f"{judged.threshold:.1e}",
        f"{matrix.precision:.2f}", f"{matrix.recall:.2f}", f"{matrix.balanced_accuracy:.3f}",
        f"{auc(judged.score, is_ic):.3f}",
    ]  # fmt: skip


# --- curves ------------------------------------------------------------------------


def runs_of(table: Table) -> list[Table]:
    """Return the curve of each run."""
    keys = dict.fromkeys(zip(table["recipe"], table["epochs"], strict=True))
    return [table[(table["recipe"] == r) & (table["epochs"] == e)] for r, e in keys]


def print_table(table: Table) -> None:
    """Print the lowest loss of each run, and when the recipe paper had reached it."""
    paper = runs_of(table[table["recipe"] == "paper"])[0]
    reached = np.minimum.accumulate(np.asarray(paper["selection_loss"]))
    for run in runs_of(table):
        best, spent = float(np.min(run["selection_loss"])), float(run["cpu_time"][-1])
        later = np.flatnonzero(reached <= best)
        when = f"{paper['cpu_time'][later[0]]:.0f} CPU s" if later.size else "never"
        print(
            f"{run['recipe'][0]:5} {run['epochs'][0]:4d} epochs  {spent:6.0f} CPU s  lowest loss "
            f"{best:.4f}, misfit {np.min(run['selection_misfit']):.2e}; paper gets there: {when}"
        )


def draw(table: Table, path: Path) -> None:
    """Draw loss and misfit against CPU time."""
    with style.context():
        figure, axes = style.grid(1, 2, style.DOUBLE_COLUMN, 2.7, sharex=True)
        for panel, column, title in zip(
            axes[0],
            ("selection_loss", "selection_misfit"),
            ("Selection loss", f"Selection MSE ({style.SQUARED_RATE})"),
            strict=True,
        ):
            shades = iter((style.SKY, style.BLUE, style.GREEN, style.BLACK))
            for run in runs_of(table):
                recipe, epochs = str(run["recipe"][0]), int(run["epochs"][0])
                paper = recipe == "paper"
                panel.plot(
                    run["cpu_time"], run[column], lw=1.2 if paper else 1.0,
                    color=style.VERMILLION if paper else next(shades),
                    label=f"{recipe}, {epochs} epochs",
                )  # fmt: skip
                panel.plot(
                    run["cpu_time"][-1], run[column][-1], "o", ms=3.5,
                    color=panel.lines[-1].get_color(),
                )  # fmt: skip
            panel.set(xscale="log", yscale="log", xlabel="CPU time (s)", ylabel=title)
        axes[0, 0].legend()
        style.save(figure, path, 200)


if __name__ == "__main__":
    main()
