"""Learnt likelihood ratios against exact ones, and whether their odds are frequencies.

    snakemake ratio --cores 2 --configfile config.yaml config/ratio.yaml
    python benchmarks/ratio.py                # 1,000 spectra of each class
    python benchmarks/ratio.py --spectra 200  # fewer
    python benchmarks/ratio.py --configfile config/systematics.yaml  # as many as the run had

Spectra are the first ones of the test datasets, simulated channel by channel. The rough ratio is
that of the fits, before anything is learnt. The exact ratio is that of the evidences of both
classes with the redshift known, which know of nothing that is wrong with calibration and
background. Results go to results/ratio.json.
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
from sklearn.metrics import log_loss, roc_auc_score

from icflow import config
from icflow import settings as settings_of
from icflow.config import Config, Systematics
from icflow.engines.embedded.engine import EmbeddedEngine
from icflow.files import write_json
from icflow.layout import Layout
from icflow.networks.ratio_weights import Hypotheses, inputs_of, load
from icflow.ogip.spectra import SpectrumSet, read_spectra
from icflow.seeds import of_spectrum
from icflow.stages import simulate

Floats = NDArray[np.float64]

ROOT = Path(__file__).resolve().parents[1]
DATASETS = ("test_2T", "test_1T+IC")
INTEGRALS = ("2T_fixed", "1T+IC_fixed")
NEAR = 5.0  # odds whose logarithms are compared
FRESH, CALIBRATION_BINS = 40_000, 15


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


def measured(odds: Floats, is_ic: NDArray[np.bool_]) -> dict[str, float]:
    """Return how well odds tell the classes apart."""
    right = (odds > 0) == is_ic
    return {
        "area": float(roc_auc_score(is_ic, odds)),
        "balanced_accuracy": float((right[is_ic].mean() + right[~is_ic].mean()) / 2),
        "cross_entropy": float(log_loss(is_ic, 1 / (1 + np.exp(-np.clip(odds, -500, 500))))),
    }


def calibration_error(odds: Floats, is_ic: NDArray[np.bool_]) -> float:
    """Return the mean distance of probabilities from frequencies, weighted by the spectra."""
    p = 1 / (1 + np.exp(-odds))
    place = np.minimum((p * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    parts = [place == number for number in range(CALIBRATION_BINS)]
    return float(sum(abs(np.sum(p[here] - is_ic[here])) for here in parts) / len(p))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--spectra", type=int, default=1000, help="of each class")
    parser.add_argument("--configfile", type=Path, nargs="*", default=[], help="laid over both")
    parser.add_argument("--results", type=Path, default=ROOT / "results")
    parser.add_argument("--names", nargs="+", default=["known", "unknown"])
    parser.add_argument("--output", type=Path, default=ROOT / "results" / "ratio.json")
    options = parser.parse_args()
    os.chdir(ROOT)
    run = config.load("config.yaml", "config/ratio.yaml", *options.configfile)
    sets = [simulated(run, dataset, options.spectra) for dataset in DATASETS]
    is_ic = np.repeat([False, True], options.spectra)
    report: dict[str, Any] = {}
    truth = np.concatenate([exact(run, spectra) for spectra, _ in sets])
    report["exact"] = measured(truth, is_ic)
    report["exact"]["false_alarms"] = float((truth[~is_ic] > 0).mean())
    for name in options.names:
        own = settings_of.ratio(run, name)
        network = load(Layout(options.results).ratio_weights(name), own)
        hypotheses = Hypotheses(own)
        hypotheses.draw(2, np.random.default_rng(0))  # compiled, or read from disk
        started = time.process_time()
        given = [inputs_of(hypotheses, spectra, path) for spectra, path in sets]
        odds = np.concatenate([network.log_odds(each) for each in given])
        row = measured(odds, is_ic)
        row["false_alarms"] = float((odds[~is_ic] > 0).mean())
        row["ms_a_spectrum"] = 1e3 * (time.process_time() - started) / len(odds)
        row["unlike"] = float(np.concatenate([network.unlike(each) for each in given]).mean())
        rough = np.concatenate([each.rough for each in given])
        row |= {f"{key}_rough": value for key, value in measured(rough, is_ic).items()}
        near = (np.abs(odds) < NEAR) & (np.abs(truth) < NEAR)
        if own.at_truth:
            row["correlation_near"] = float(np.corrcoef(odds[near], truth[near])[0, 1])
            exact_near = np.abs(truth) < NEAR
            row["correlation_near_rough"] = float(
                np.corrcoef(rough[exact_near], truth[exact_near])[0, 1]
            )
        fresh = hypotheses.draw(FRESH, np.random.default_rng(own.seed + 1))
        fresh_odds = network.log_odds(fresh.inputs)
        row["calibration_error"] = calibration_error(fresh_odds, fresh.is_ic)
        row |= {f"{key}_fresh": value for key, value in measured(fresh_odds, fresh.is_ic).items()}
        report[name] = row
    for name, row in report.items():
        print(f"{name:8}", "  ".join(f"{key} {value:.4f}" for key, value in row.items()))
    write_json(options.output, report)


if __name__ == "__main__":
    main()
