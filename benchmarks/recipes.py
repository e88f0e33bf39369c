"""Loss against CPU time of the two recipes of training.

    python benchmarks/recipes.py [--results results] [--spectra 1250] [--paper 60] [--fast 6 12 20]

Trains the CAE in one fold on the first simulated spectra of a run: with the
recipe `paper` (batches of 150) for some epochs, and with the recipe `fast`
(batches of 64) from scratch for each of several numbers of epochs, because its
schedule ends with the last one. Writes the curves as `recipes.ecsv` and draws
them as `recipes.png` (``--output``); ``--draw`` only draws. CPU seconds, user
and system together.
"""

from __future__ import annotations

import argparse
import resource
import sys
from pathlib import Path

import numpy as np
from astropy.table import Table, vstack

from icflow import config as configuration
from icflow import settings as settings_of
from icflow.config import Config
from icflow.layout import Layout
from icflow.networks import devices, training
from icflow.networks.data import Channels, LabelScale, split
from icflow.networks.inputs import read_inputs, training_labels
from icflow.networks.training import Examples
from icflow.ogip.response import read_rmf
from icflow.publish.figures import style
from icflow.tables import read_table, write_table

CONFIG = Path(__file__).parents[1] / "config.yaml"
PAPER, FAST = {"recipe": "paper", "batch": 150}, {"recipe": "fast", "batch": 64}


def main() -> None:
    parser = argparse.ArgumentParser(description="loss against CPU time of both recipes")
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--output", type=Path, default=Path())
    parser.add_argument("--spectra", type=int, default=1250)
    parser.add_argument("--paper", type=int, default=60, help="epochs of the recipe paper")
    parser.add_argument("--fast", type=int, nargs="+", default=[6, 12, 20], help="of fast")
    parser.add_argument("--draw", action="store_true", help="draw what was measured before")
    args = parser.parse_args()
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


def settings(change: dict[str, object]) -> Config:
    """Return the default configuration with another training."""
    base = configuration.load(CONFIG).model_dump(mode="json", exclude_none=True)
    above = {"autoencoder": {"training": change | {"device": "cpu"}}}
    return configuration.validate(configuration.overlay(base, above), str(CONFIG))


def measure(config: Config, results: Path) -> Table:
    """Train the CAE in fold 0; return CPU time and losses after each epoch."""
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
    labels, _ = training_labels(own.labels, inputs, fits)
    parts = split(cuts.spectra, cuts.folds, own.fold, own.seed)
    scale = LabelScale.of(list(own.labels), labels[parts.train])
    sample, selection = (
        Examples(inputs.rates[rows], scale.scaled(labels[rows]))
        for rows in (parts.train, parts.selection)
    )
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
