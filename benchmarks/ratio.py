"""Learnt likelihood ratios against exact ones, and whether their odds are frequencies.

    snakemake ratio --cores 2 --configfile config.yaml config/ratio.yaml
    python benchmarks/ratio.py                # 1,000 spectra of each class
    python benchmarks/ratio.py --spectra 200  # fewer
    # The files that the networks were trained with, and other spectra:
    python benchmarks/ratio.py --configfile config/scans/survival.yaml --names known wrong \
        --datasets test_2T_all test_1T+IC_all

Spectra are the first ones of the test datasets, simulated channel by channel. The rough ratio is
that of the fits, before anything is learnt. The exact ratio is that of the evidences of both
classes with the redshift known, which know of nothing that is wrong with calibration and
background. Whether odds are frequencies is seen in fresh spectra of the training population, all
together and in groups as bright or as hot. Results go to results/ratio.json.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

# One thread: read by the linear algebra libraries when numpy loads them.
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kstest
from sklearn.metrics import log_loss, roc_auc_score

from icflow import config
from icflow import settings as settings_of
from icflow.config import Config, Systematics
from icflow.engines.embedded.engine import EmbeddedEngine
from icflow.files import write_json
from icflow.layout import Layout
from icflow.networks.ratio import RatioNetwork
from icflow.networks.ratio_weights import Hypotheses, inputs_of, load
from icflow.ogip.spectra import SpectrumSet, read_spectra
from icflow.seeds import of_spectrum
from icflow.stages import simulate

Floats = NDArray[np.float64]
Booleans = NDArray[np.bool_]

ROOT = Path(__file__).resolve().parents[1]
DATASETS = ["test_2T", "test_1T+IC"]
INTEGRALS = ("2T_fixed", "1T+IC_fixed")
NEAR = 5.0  # odds whose logarithms are compared
FRESH, CALIBRATION_BINS = 10_000, 15
# Groups of brightness and temperature are as wide as a third of a decade, if they have so many.
PER_DECADE, FEWEST = 3, 300


def simulated(run: Config, dataset: str, number: int) -> tuple[SpectrumSet, Path]:
    """Return the first spectra of a dataset."""
    path = Path(tempfile.mkdtemp()) / f"{dataset}.pha"
    simulate.run(settings_of.simulate(run, dataset), 0, number, path)
    return read_spectra(path), path


def exact(run: Config, spectra: SpectrumSet) -> Floats:
    """Return the logarithm of the ratio of the evidences of both classes."""
    logs = {}
    for name in INTEGRALS:
        own = settings_of.integrate(run, name)
        modules = [m.model_copy(update={"systematics": Systematics()}) for m in own.modules]
        engine = EmbeddedEngine(modules, own.atomic_data)
        randoms = (
            of_spectrum(own.seed, spectra.dataset, int(i), f"integral/{name}")
            for i in spectra.index
        )
        integrals = engine.integrate(
            own.scenario, own.energies, spectra.counts, spectra.truth, own.at_truth, randoms
        )
        logs[name] = np.array([integral.log for integral in integrals])
    return logs["1T+IC_fixed"] - logs["2T_fixed"]


def measured(odds: Floats, is_ic: Booleans) -> dict[str, float]:
    """Return how well odds tell the classes apart."""
    right = (odds > 0) == is_ic
    return {
        "false_alarms": float((odds[~is_ic] > 0).mean()),
        "area": float(roc_auc_score(is_ic, odds)),
        "balanced_accuracy": float((right[is_ic].mean() + right[~is_ic].mean()) / 2),
        "cross_entropy": float(log_loss(is_ic, probability(odds))),
    }


def probability(odds: Floats) -> Floats:
    """Return the probability of IC, of classes that are equally frequent."""
    return np.asarray(1 / (1 + np.exp(-np.clip(odds, -500, 500))))


def calibration_error(p: Floats, is_ic: Booleans) -> float:
    """Return the mean distance of probabilities from frequencies, weighted by the spectra.

    What chance adds is taken off in each bin, in quadrature, as for `ece` in metrics.json.
    """
    place = np.minimum((p * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    parts = [place == number for number in range(CALIBRATION_BINS)]
    off = [np.sum(p[here] - is_ic[here]) ** 2 - np.sum(p[here] * (1 - p[here])) for here in parts]
    return float(np.sqrt(np.maximum(off, 0.0)).sum() / len(p))


def calibration(
    network: RatioNetwork, hypotheses: Hypotheses, random: np.random.Generator
) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """Return how far odds of fresh spectra are off, and the same by groups.

    The rank of the class of a spectrum, spread at random over its probability, is uniform in every
    group of spectra that look alike if probabilities are frequencies.
    """
    drawn = [population.draw(FRESH // 2, random) for population in hypotheses.populations]
    counts, known = (np.concatenate(pair) for pair in zip(*drawn, strict=True))
    is_ic = np.repeat([False, True], FRESH // 2)
    inputs = hypotheses.inputs(counts, known)
    odds = network.log_odds(inputs)
    p = probability(odds)
    ranks = np.where(is_ic, 1 - p * random.random(FRESH), (1 - p) * random.random(FRESH))
    looks = {
        "rate (1/s)": counts.sum(axis=1) / hypotheses.settings.modules[0].exposure,
        "kT of 1T+IC (keV)": temperatures(hypotheses, inputs.fits),
    }
    groups: list[dict[str, Any]] = []
    for name, values in looks.items():
        place = np.floor(PER_DECADE * np.log10(values)).astype(int)
        for number in np.unique(place).tolist():
            here = place == number
            if here.sum() < FEWEST:
                continue
            spread = np.sqrt(np.sum(p[here] * (1 - p[here])))
            groups.append(
                {
                    "of": name,
                    "from": 10 ** (number / PER_DECADE),
                    "to": 10 ** ((number + 1) / PER_DECADE),
                    "spectra": int(here.sum()),
                    "too_often_sigma": float(np.sum(p[here] - is_ic[here]) / spread),
                    "ks_probability": float(kstest(ranks[here], "uniform").pvalue),
                }
            )
    return {
        "calibration_error": calibration_error(p, is_ic),
        "ranks_ks_probability": float(kstest(ranks, "uniform").pvalue),
        **{f"{key}_fresh": value for key, value in measured(odds, is_ic).items()},
    }, groups


def temperatures(hypotheses: Hypotheses, fits: Floats) -> Floats:
    """Return the temperatures of the fits with IC."""
    alternative = hypotheses.populations[1]
    free = [p for p in alternative.priors if p not in alternative.exact]
    # Places, widths and slopes of all that is fitted come last.
    first = fits.shape[1] - 3 * (len(free) + alternative.wrong)
    position = alternative.model.position["apec.kT"]
    place = fits[:, first + free.index(position)]
    return np.asarray(alternative.priors[position].quantile(place))


def row_of(
    run: Config,
    name: str,
    results: Path,
    sets: list[tuple[SpectrumSet, Path]],
    truth: Floats,
    is_ic: Booleans,
) -> dict[str, Any]:
    """Return what a network reaches on simulated spectra, and on fresh ones of its population."""
    own = settings_of.ratio(run, name)
    network, hypotheses = load(Layout(results).ratio_weights(name), own), Hypotheses(own)
    hypotheses.draw(2, np.random.default_rng(0))  # compiled, or read from disk
    started = time.process_time()
    given = [inputs_of(hypotheses, spectra, path) for spectra, path in sets]
    odds = np.concatenate([network.log_odds(each) for each in given])
    row: dict[str, Any] = measured(odds, is_ic)
    row["ms_a_spectrum"] = 1e3 * (time.process_time() - started) / len(odds)
    row["unlike"] = float(np.concatenate([network.unlike(each) for each in given]).mean())
    rough = np.concatenate([each.rough for each in given])
    row |= {f"{key}_rough": value for key, value in measured(rough, is_ic).items()}
    if own.at_truth:
        near = (np.abs(odds) < NEAR) & (np.abs(truth) < NEAR)
        row["correlation_near"] = float(np.corrcoef(odds[near], truth[near])[0, 1])
        near = (np.abs(rough) < NEAR) & (np.abs(truth) < NEAR)
        row["correlation_near_rough"] = float(np.corrcoef(rough[near], truth[near])[0, 1])
    fresh, row["groups"] = calibration(network, hypotheses, np.random.default_rng(own.seed + 1))
    return row | fresh


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--spectra", type=int, default=1000, help="of each class")
    parser.add_argument("--configfile", nargs="+", default=["config/ratio.yaml"])
    parser.add_argument("--datasets", nargs=2, default=DATASETS, help="without and with IC")
    parser.add_argument("--results", type=Path, default=ROOT / "results")
    parser.add_argument("--names", nargs="+", help="of ratios; all by default")
    parser.add_argument("--output", type=Path, default=ROOT / "results" / "ratio.json")
    options = parser.parse_args()
    os.chdir(ROOT)
    run = config.load("config.yaml", *options.configfile)
    sets = [simulated(run, dataset, options.spectra) for dataset in options.datasets]
    is_ic = np.repeat([False, True], options.spectra)
    truth = np.concatenate([exact(run, spectra) for spectra, _ in sets])
    report: dict[str, Any] = {"exact": measured(truth, is_ic)}
    print("exact", report["exact"], flush=True)
    for name in options.names or run.ratios:
        row = report[name] = row_of(run, name, options.results, sets, truth, is_ic)
        print(
            name, *(f"  {key}: {value}" for key, value in row.items() if key != "groups"), sep="\n"
        )
        for group in row["groups"]:
            print("   ", *(f"{v:.3g}" if isinstance(v, float) else v for v in group.values()))
        write_json(options.output, report)


if __name__ == "__main__":
    main()
