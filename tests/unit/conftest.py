"""A finished run made up from numbers: the files that evaluation, figures and report read."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from astropy.table import Table, vstack
from results import few_shuffles
from shared import made_once

from icflow import config as configuration
from icflow import settings as settings_of
from icflow.config import Config
from icflow.detection.base import FITS, INTEGRALS
from icflow.detection.detectors import fits_read, needed
from icflow.detection.input_files import InputFiles
from icflow.files import write_json
from icflow.layout import truth_of
from icflow.ogip.spectra import Recorded, SpectrumSet, write_spectra
from icflow.truth import Truth, write_truth

ROOT = Path(__file__).parents[2]
CHANNELS = 4096
WIDTH = 0.04  # keV
FIRST = 1.6  # keV, lower edge of the first channel
EXPOSURE = 1e6  # s


@pytest.fixture(scope="session")
def default() -> dict[str, Any]:
    """The default configuration as its file has it; tests change copies."""
    tree: dict[str, Any] = yaml.safe_load((ROOT / "config.yaml").read_text())
    return tree


@pytest.fixture(scope="session")
def config() -> Config:
    """The default configuration with small test sets and few folds."""
    return made_up_config(size=60)


@pytest.fixture(scope="session")
def pristine(config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of `config` up to the evaluation, and that of one evaluated."""

    def make(folder: Path) -> None:
        make_results(config, folder / "results")
        shutil.copytree(folder / "results", folder / "evaluated")
        run_evaluation(config, folder / "evaluated")

    return made_once(tmp_path_factory, "made-up", make)


@pytest.fixture
def results(pristine: Path, tmp_path: Path) -> Path:
    """A copy of the results of a run of `config`, without tables, figures and report."""
    return Path(shutil.copytree(pristine / "results", tmp_path / "results"))


def made_up_config(size: int, folds_trained: int = 2) -> Config:
    base = configuration.load(ROOT / "config.yaml").model_dump(mode="json", exclude_none=True)
    sizes = dict.fromkeys(base["datasets"], size) | {"train_2T": 4 * size, "Coma": 1}
    above = {
        "datasets": {name: {"size": number} for name, number in sizes.items()},
        "shard_size": max(size // 2, 1),
        "autoencoder": {
            "training": {"spectra": 4 * size, "folds": 10, "folds_trained": folds_trained}
        },
        "detection": {"bootstrap": 100, "fitted": size},
        "figures": {"dpi": 100},
    }
    return configuration.validate(configuration.overlay(base, above), "made up")


def make_results(config: Config, folder: Path) -> None:
    """Write everything that comes before the evaluation, and the record of the run."""
    random = np.random.default_rng(1)
    truth = {name: draw_truth(config, name, random) for name in config.datasets}
    for name in (*config.detection.test, config.figures.cluster):
        write_dataset(config, name, truth[name], folder)
        write_components(config, name, truth[name], folder, random)
    for (name, fit), size in fits_read(config).items():
        write_fit(config, name, fit, truth[name], folder, random, size)
    write_fluxes(config, truth, folder)
    for (name, integral), size in needed(INTEGRALS, config.detection, config.datasets).items():
        write_integral(config, name, integral, folder, random, size)
    for network in config.autoencoder.networks:
        for fold in range(config.autoencoder.training.folds_trained):
            write_history(folder / f"train/{network}/fold-{fold}/history.ecsv", config, random)
            write_scores(config, network, fold, truth, folder, random)
            write_reconstructions(config, network, fold, truth, folder, random)
    training = config.detection.training
    for name in (training, "test_2T"):
        write_fit(config, name, "label", truth[name], folder, random)
    write_record(config, folder)
    for rule, seconds in (("simulate", 41.5), ("baseline", 301.2)):
        path = folder / f"benchmarks/{rule}/shard-0000.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"s\th:m:s\tmax_rss\tcpu_time\n{seconds}\t0:00:41\t300.5\t{seconds}\n")


def has_ic(config: Config, dataset: str) -> bool:
    return config.datasets[dataset].scenario == "1T+IC"


def draw_truth(config: Config, dataset: str, random: np.random.Generator) -> dict[str, np.ndarray]:
    size = config.datasets[dataset].size
    truth = {
        "apec.kT": random.uniform(1, 10, size),
        "apec.Abundanc": random.uniform(0.1, 1, size),
        "apec.Redshift": random.uniform(0.01, 0.1, size),
        "apec.norm": random.uniform(0.04, 0.165, size),
    }
    if has_ic(config, dataset):
        truth["powerlaw.norm"] = random.uniform(2e-4, 2e-3, size)
    else:
        truth["apec_3.kT"] = random.uniform(1, 10, size)
        truth["apec_3.norm"] = random.uniform(0.04, 0.165, size)
    fixed = config.datasets[dataset].parameters
    return truth | {name: np.full(size, value) for name, value in fixed.items()}


def shards(config: Config, dataset: str, size: int | None = None) -> list[tuple[int, np.ndarray]]:
    ranges = [(n, *config.shard_range(dataset, n)) for n in config.shards(dataset, size)]
    return [(shard, np.arange(first, first + count)) for shard, first, count in ranges]


def write_dataset(config: Config, dataset: str, truth: dict[str, np.ndarray], folder: Path) -> None:
    for shard, index in shards(config, dataset):
        spectra = SpectrumSet(
            counts=np.ones((index.size, 8), np.int32),
            index=index,
            truth={name: values[index] for name, values in truth.items()},
            modules=(Recorded(np.arange(8), EXPOSURE),),
            dataset=dataset,
            scenario=config.datasets[dataset].scenario,
        )
        path = folder / f"simulate/{dataset}/shard-{shard:04d}.pha"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_spectra(path, spectra)
        true = Truth(dataset, spectra.scenario, index, spectra.truth)
        expression = config.scenarios[spectra.scenario].expression
        write_truth(truth_of(path), true, expression)


def write_fluxes(config: Config, truth: dict[str, dict[str, np.ndarray]], folder: Path) -> None:
    tables = []
    for name in reversed(config.detection.test):
        values = truth[name]
        zero = np.zeros(config.datasets[name].size)
        ic_norm = values.get("powerlaw.norm", zero)
        thermal = values["apec.norm"] + values.get("apec_3.norm", zero)
        columns = {"ic_flux": 2e-9 * ic_norm, "thermal_flux": 1e-11 * thermal, "ic_norm": ic_norm}
        names = np.full(zero.size, name, dtype="U40")
        tables.append(Table({"dataset": names, "index": np.arange(zero.size), **columns}))
    table = vstack(tables)
    for name in ("ic_flux", "thermal_flux"):
        table[name].unit = "erg / (cm2 s)"
    table.meta["energies"] = [20.0, 80.0]
    path = folder / "fluxes/fluxes.ecsv"
    path.parent.mkdir(parents=True, exist_ok=True)
    table.write(path, format="ascii.ecsv")


def write_fit(
    config: Config,
    dataset: str,
    fit: str,
    truth: dict[str, np.ndarray],
    folder: Path,
    random: np.random.Generator,
    spectra: int | None = None,
) -> None:
    """C scatters around the degrees of freedom; the wrong model is a little worse."""
    meta = {
        "fit": fit,
        "strategy": "plain" if fit.endswith("plain") else "thorough",
        "ENGINE": "embedded",
        "XSPECVER": "12.15.0",
        "ATOMDB": "3.0.9",
        "ABUND": "angr",
        "XSECT": "vern",
        "group_min": 100,
        "free": ["apec.kT", "apec_3.kT", "background.lines"],
    }
    wrong = has_ic(config, dataset) != ("IC" in fit)
    for shard, index in shards(config, dataset, spectra):
        size = index.size
        table = Table(
            {
                "index": index,
                "cstat": 300 + 24 * random.normal(size=size) + 20 * wrong,
                "dof": np.full(size, 300),
                "bins": np.full(size, 309),
                "converged": np.ones(size, bool),
                "at_bound": np.full(size, "", dtype="U30"),
                "status": np.full(size, "ok", dtype="U60"),
                "apec.kT": truth["apec.kT"][index],
                "apec.norm": truth["apec.norm"][index],
                "apec_3.kT": 10 * random.random(size),
                "background.lines": 1 + 0.03 * random.normal(size=size),
            },
            meta=meta,
        )
        if shard == 0:
            table["converged"][1] = False
            table["status"][1] = "no minimum within 200 iterations"
            table["cstat"][2], table["converged"][2] = np.nan, False
            table["status"][2] = "the spectrum holds no counts"
            table["at_bound"][3] = "apec.norm"
        place = f"label/{dataset}" if fit == "label" else f"baseline/{dataset}/{fit}"
        path = folder / place / f"shard-{shard:04d}.ecsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        table.write(path, format="ascii.ecsv")


def write_integral(
    config: Config,
    dataset: str,
    integral: str,
    folder: Path,
    random: np.random.Generator,
    spectra: int,
) -> None:
    """The right class is more probable, mostly."""
    wrong = has_ic(config, dataset) != ("IC" in integral)
    for shard, index in shards(config, dataset, spectra):
        table = Table(
            {
                "index": index,
                "log_evidence": -150 + random.normal(size=index.size) - 2 * wrong,
                "error": np.full(index.size, 0.04),
                "effective": np.full(index.size, 350.0),
            }
        )
        path = folder / f"integrate/{dataset}/{integral}/shard-{shard:04d}.ecsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        table.write(path, format="ascii.ecsv")


def rates(truth: dict[str, np.ndarray], index: int) -> dict[str, np.ndarray]:
    """Something like a NuSTAR spectrum: counts/s/keV of each component in every channel."""
    energy = FIRST + WIDTH * (np.arange(CHANNELS) + 0.5)
    area = 1 / (1 + (energy / 20) ** 2.5) / (1 + np.exp(-(energy - 3.5)))

    def plasma(component: str) -> np.ndarray:
        kT, norm = truth[f"{component}.kT"][index], truth[f"{component}.norm"][index]
        lines = 1 + 0.6 * np.exp(-0.5 * ((energy - 6.4) / 0.18) ** 2)
        return norm * 30 * area * lines * energy**-1.4 * np.exp(-energy / kT) / np.sqrt(kT)

    found = {"TBabs*apec": plasma("apec")}
    if "apec_3.kT" in truth:
        found["TBabs*apec_3"] = plasma("apec_3")
    if "powerlaw.norm" in truth:
        found["TBabs*powerlaw"] = truth["powerlaw.norm"][index] * 300 * area * energy**-2.0
    lines = np.exp(-0.5 * ((energy - 28) / 1.2) ** 2) + 0.5 * np.exp(-0.5 * (energy - 85) ** 2 / 4)
    found["background.continuum"] = 1.2e-3 * (energy / 20) ** -0.4
    found["background.aperture"] = 3e-3 * energy**-0.3 * np.exp(-energy / 40)
    found["background.lines"] = 6e-3 * lines + 1e-4 * np.exp(-energy / 2)
    found["background.focused"] = 4e-4 * area
    return found


def write_components(
    config: Config,
    dataset: str,
    truth: dict[str, np.ndarray],
    folder: Path,
    random: np.random.Generator,
) -> None:
    index = config.figures.example if dataset in config.detection.test else 0
    parts = {name: rate * EXPOSURE * WIDTH for name, rate in rates(truth, index).items()}
    low = FIRST + WIDTH * np.arange(CHANNELS)
    total = np.sum(list(parts.values()), axis=0)
    source = sum(values for name, values in parts.items() if name.startswith("TBabs"))
    table = Table(
        {
            "channel": np.arange(CHANNELS),
            "energy_lo": low,
            "energy_hi": low + WIDTH,
            "counts": random.poisson(total),
            "source": source,
            **parts,
        },
        meta={
            "dataset": dataset,
            "scenario": config.datasets[dataset].scenario,
            "exposure": EXPOSURE,
            "truth": {name: float(values[index]) for name, values in truth.items()},
        },
    )
    path = folder / f"components/{dataset}.ecsv"
    path.parent.mkdir(parents=True, exist_ok=True)
    table.write(path, format="ascii.ecsv")


def write_history(path: Path, config: Config, random: np.random.Generator) -> None:
    epochs = config.autoencoder.training.epochs
    weight = config.autoencoder.networks[path.parent.parent.name].constraint
    epoch = np.arange(epochs)
    mse = 2e-2 * (epoch + 1) ** -1.1 * np.exp(0.1 * random.normal(size=epochs))
    constraint = 0.25 * (epoch + 1) ** -0.6 * np.exp(0.05 * random.normal(size=epochs))
    noise = np.exp(np.abs(0.4 * random.normal(size=epochs)))
    table = Table(
        {
            "epoch": epoch,
            "train_loss": mse + weight * constraint,
            "train_misfit": mse,
            "train_constraint": constraint,
            "selection_loss": (mse + weight * constraint) * noise,
            "selection_misfit": mse * noise,
            "learning_rate": np.full(epochs, 0.01),
        }
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    table.write(path, format="ascii.ecsv")


def write_scores(
    config: Config,
    network: str,
    fold: int,
    truth: dict[str, dict[str, np.ndarray]],
    folder: Path,
    random: np.random.Generator,
) -> None:
    fifth = config.datasets["train_2T"].size // 5
    parts = [
        ("train_2T", "selection", np.arange(fifth)),
        ("train_2T", "holdout", np.arange(fifth, 2 * fifth)),
    ]
    for dataset, part in (
        *((name, "validation") for name in config.detection.validation),
        *((name, "test") for name in config.detection.test),
    ):
        parts.append((dataset, part, np.arange(config.datasets[dataset].size)))
    columns: dict[str, list[np.ndarray]] = {}
    scatter = {"kT": 0.4, "Z": 0.1, "z": 0.012, "norm": 0.05}
    for dataset, part, index in parts:
        values = {name: truth[dataset][name][index] for name in truth[dataset]}
        rows = {
            "dataset": np.full(index.size, dataset, dtype="U40"),
            "index": index,
            "part": np.full(index.size, part, dtype="U12"),
            "R_a": np.exp(
                -7.8 + 0.5 * has_ic(config, dataset) + 0.5 * random.normal(size=index.size)
            ),
            "deviance": np.exp(
                1 + 0.5 * has_ic(config, dataset) + 0.5 * random.normal(size=index.size)
            ),
        }
        names = {"kT": "apec.kT", "Z": "apec.Abundanc", "z": "apec.Redshift", "norm": "apec.norm"}
        for label, name in names.items():
            # Labels from fits are those of the training spectra alone.
            known = part in ("selection", "holdout") or label in ("Z", "z")
            label_values = values[name] if known else np.nan * index
            rows[f"label_{label}"] = label_values
            rows[f"latent_{label}"] = values[name] + scatter[label] * random.normal(size=index.size)
        for name, column in rows.items():
            columns.setdefault(name, []).append(column)
    training = settings_of.train(config, network, fold).training.model_dump(mode="json")
    table = Table(
        {name: np.concatenate(c) for name, c in columns.items()}, meta={"training": training}
    )
    path = folder / f"score/{network}/fold-{fold}.ecsv"
    path.parent.mkdir(parents=True, exist_ok=True)
    table.write(path, format="ascii.ecsv")


def write_reconstructions(
    config: Config,
    network: str,
    fold: int,
    truth: dict[str, dict[str, np.ndarray]],
    folder: Path,
    random: np.random.Generator,
) -> None:
    inputs, index = 2960, config.figures.example
    energy = FIRST + WIDTH * (np.arange(inputs) + 0.5)
    tables = []
    for dataset in config.detection.test:
        expected = np.sum(list(rates(truth[dataset], index).values()), axis=0)[:inputs]
        rate = random.poisson(expected * EXPOSURE * WIDTH) / (EXPOSURE * WIDTH)
        tables.append(
            Table(
                {
                    "dataset": np.full(inputs, dataset, dtype="U40"),
                    "index": np.full(inputs, index),
                    "energy": energy,
                    "rate": rate,
                    "reconstruction": expected * (1 + 0.02 * np.sin(energy / 2)) + 1e-4,
                }
            )
        )
    columns = {n: np.concatenate([t[n] for t in tables]) for n in tables[0].colnames}
    path = folder / f"score/{network}/fold-{fold}-reconstructions.ecsv"
    path.parent.mkdir(parents=True, exist_ok=True)
    Table(columns).write(path, format="ascii.ecsv")


def write_record(config: Config, folder: Path) -> None:
    write_json(
        folder / "run.json",
        {
            "engine": "embedded",
            "xspec": "12.15.0",
            "atomdb": "3.0.9",
            "abundances": "angr",
            "cross_sections": "vern",
            "git_revision": None,
            "packages": {"numpy": "2.4.6", "torch": "2.9"},
            "resources": {"resources/responses/nustar_fpma.rmf": "2cd4" * 16},
            "config": config.model_dump(mode="json", exclude_none=True),
        },
    )


@pytest.fixture
def evaluated(pristine: Path, tmp_path: Path) -> Path:
    """A copy of the same results after the evaluation."""
    return Path(shutil.copytree(pristine / "evaluated", tmp_path / "evaluated"))


@pytest.fixture(scope="session")
def evaluate() -> Callable[[Config, Path], None]:
    """The evaluation as the workflow calls it, its settings handed over as JSON."""
    return run_evaluation


def run_evaluation(config: Config, results: Path) -> None:
    from icflow.stages import evaluate

    with few_shuffles():
        evaluate.evaluate(
            configuration.from_json(
                settings_of.EvaluateSettings, settings_of.evaluate(config).json_text()
            ),
            inputs_of(results, sorted(results.glob("score/*/fold-?.ecsv"))),
            results / "evaluate",
            results / "tables",
        )


def inputs_of(results: Path, scores: Sequence[Path]) -> InputFiles:
    """What an evaluation reads: some scores, and all else that is there."""

    def grouped(paths: Iterable[Path], key: Callable[[Path], Any]) -> dict[Any, list[Path]]:
        groups: dict[Any, list[Path]] = {}
        for path in paths:
            groups.setdefault(key(path), []).append(path)
        return groups

    def shard(path: Path) -> tuple[str, str]:
        return path.parent.parent.name, path.parent.name

    return InputFiles(
        scores=grouped(scores, lambda path: (path.parent.name, int(path.stem.split("-")[1]))),
        results={
            FITS: grouped(results.glob("baseline/*/*/*.ecsv"), shard),
            INTEGRALS: grouped(results.glob("integrate/*/*/*.ecsv"), shard),
        },
        truth=grouped(results.glob("simulate/*/*.truth.ecsv"), lambda path: path.parent.name),
        fluxes=results / "fluxes/fluxes.ecsv",
    )


@pytest.fixture(scope="session")
def inputs() -> Callable[[Path, Sequence[Path]], InputFiles]:
    """What an evaluation reads below a folder of results."""
    return inputs_of
