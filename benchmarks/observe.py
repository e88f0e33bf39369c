"""Limits, false-alarm probabilities and checks of observations, on simulated ones.

    python benchmarks/observe.py                      # every row, full size
    python benchmarks/observe.py --row limits         # one row
    python benchmarks/observe.py --scale 0.1          # a tenth of the spectra

Simulated observations have the response, exposure and background of the example and
parameters drawn from the priors of the scenarios. Every row is added to
results/benchmarks.json as it completes.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import multiprocessing
import os
import platform
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

# One thread a process: read by the linear algebra libraries when numpy loads them.
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", TQDM_DISABLE="1")

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kstest

from icflow import config
from icflow.config import FitModel, ObserveSettings
from icflow.engines.base import BACKGROUND
from icflow.engines.observed import ObservedEngine, draw_counts
from icflow.files import write_json
from icflow.models.expression import parse
from icflow.models.scenario import at_source, complete, draw
from icflow.ogip.observation import read_modules
from icflow.stages import observe, observed_fits, observed_scores
from icflow.stages.observed_simulations import population, replicas

Floats = NDArray[np.float64]

ROOT = Path(__file__).resolve().parents[1]
SEED = 7
REDSHIFT, COLUMN = 0.05, 0.00858
N = 200  # simulated observations
SIMULATIONS = 59  # behind each false-alarm probability
CHECKED = 40  # observations with a wrong redshift or column density
SHIFTS = {"Redshift": (0.0, 0.001, 0.002, 0.005), "nH": (0.0, 0.2, 0.5)}


@functools.cache
def settings() -> ObserveSettings:
    return config.load(ROOT / "config.yaml", ROOT / "config/observe-example.yaml").observing(
        "example"
    )


@functools.cache
def engine() -> ObservedEngine:
    (module,) = read_modules("example", settings().observation)
    return ObservedEngine([module], settings(), False, (0.8, 1.25), settings().atomic_data)


def model_of(name: str, redshift: float = REDSHIFT, nH: float = COLUMN) -> FitModel:
    return at_source(settings().models[name], redshift, nH)


def simulated(scenario: str, index: int) -> tuple[NDArray[np.int32], dict[str, float]]:
    """Return one simulated observation, shape (1, n_channels), and its truth."""
    model = config.load(ROOT / "config.yaml").scenarios[scenario]
    given = complete(parse(model.expression), model.parameters, "parameters")
    for name in given:
        if name.endswith(".Redshift") and name == "apec.Redshift":
            given[name] = REDSHIFT
    truth = draw(given, SEED, f"observations/{scenario}", index)
    backgrounds = {BACKGROUND + name: 1.0 for name in engine().engines[""].backgrounds}
    expected = engine().expected(model_of(scenario), truth | backgrounds)
    return draw_counts(expected, SEED, f"observations/{scenario}", [index]), truth


# --- one observation -------------------------------------------------------------------


def limits_of(index: int) -> dict[str, tuple[float, float, float, float]]:
    """Return truth, 90 % upper limit and 90 % interval of the IC norm by each model."""
    counts, truth = simulated("1T+IC", index)
    found = {}
    for name in ("1T+IC", "2T+IC"):
        model = model_of(name)
        (fit,) = engine().fit(model, counts)
        ends = [
            observed_fits.interval(engine(), model, fit, "powerlaw.norm", delta, counts)
            for delta in (observed_fits.UPPER_90, observed_fits.INTERVAL_90)
        ]
        found[name] = (truth["powerlaw.norm"], ends[0][1], *ends[1])
    return found


def false_alarms_of(index: int) -> dict[str, float]:
    """Return the false-alarm probabilities of a 2T observation, and its goodness."""
    counts, _ = simulated("2T", index)
    roles = ("2T", "1T+IC", "2T+IC")
    models = {role: model_of(role) for role in roles}
    observed = {role: engine().fit(model, counts)[0] for role, model in models.items()}
    name = f"{SEED}/{index}"
    sample = replicas(engine(), models["2T"], observed["2T"], SIMULATIONS, SEED, name)
    spectra = population(engine(), models["2T"], sample, {}, models, SEED, f"{name}/2T")
    # Thresholds need spectra of both classes; they do not enter the probabilities.
    fits = {"2T": spectra.fits, "1T+IC": spectra.fits}
    detectors = settings().observe.detectors
    fast = {n: d for n, d in detectors.items() if d.method in ("delta_cstat", "cstat_rule")}
    chosen = settings().observe.model_copy(update={"detectors": fast})
    scores = observed_scores.judge(chosen, observed, fits, SEED)
    found = {detector: score.false_alarm for detector, score in scores.items()}
    return found | {"goodness": sample.goodness(observed["2T"])}


def check_of(kind: str, shift: float, index: int) -> tuple[float, float]:
    """Return by how much C falls when a shifted parameter is fitted, and the error left then."""
    counts, _ = simulated("1T+IC", index)
    given = {"Redshift": REDSHIFT, "nH": COLUMN}
    truth = given[kind]
    given[kind] += shift
    model = model_of("1T+IC", given["Redshift"], given["nH"])
    (fit,) = engine().fit(model, counts)
    check = observed_fits.check_given(engine(), model, fit, kind, counts)
    assert check is not None
    return check.delta_cstat, abs(check.best - truth)


# --- rows ------------------------------------------------------------------------------


class Bench:
    """A pool of processes, and where results go."""

    def __init__(self, pool: ProcessPoolExecutor, output: Path, scale: float) -> None:
        self.pool, self.output, self.scale = pool, output, scale

    def number(self, full: int) -> int:
        return max(round(full * self.scale), 2)

    def run(self, function: Callable[..., Any], *arguments: Sequence[Any]) -> list[Any]:
        return list(self.pool.map(function, *arguments))

    def keep(self, row: str, value: float, unit: str, target: str, reached: bool, n: int) -> None:
        rows = json.loads(self.output.read_text()) if self.output.exists() else {}
        rows[row] = {
            "value": float(f"{value:.4g}"),
            "unit": unit,
            "target": target,
            "reached": bool(reached),
            "n": n,
            "scale": self.scale,
            "machine": platform.processor() or platform.machine(),
        }
        write_json(self.output, rows)
        mark = "reached" if reached else "NOT reached"
        print(f"{row}: {value:.4g} {unit} (target {target}; {mark}; {n} spectra)")


def limits(bench: Bench) -> None:
    n = bench.number(N)
    found = bench.run(limits_of, range(n))
    for name in ("1T+IC", "2T+IC"):
        truth, upper, low, high = np.array([one[name] for one in found]).T
        covered = 100 * np.mean(truth <= upper)
        bench.keep(
            f"ic_upper_limit_{name}", covered, "% of 90 % upper limits cover",
            "90 ± 4", abs(covered - 90) <= 4, n,
        )  # fmt: skip
        inside = 100 * np.mean((low <= truth) & (truth <= high))
        bench.keep(
            f"ic_interval_{name}", inside, "% of 90 % intervals cover",
            "90 ± 4", abs(inside - 90) <= 4, n,
        )  # fmt: skip


def false_alarms(bench: Bench) -> None:
    n = bench.number(N)
    found = bench.run(false_alarms_of, range(n))
    random = np.random.default_rng(SEED)
    for name in found[0]:
        values = np.array([one[name] for one in found])
        shares = [f"{100 * np.mean(values <= a + 1e-9):.1f} % up to {a}" for a in (0.05, 0.1, 0.2)]
        print(
            f"  {name}: {', '.join(shares)}; mean {values.mean():.2f}, scatter {values.std():.2f}"
        )
        # Ranks are discrete, and scores of 0 make 1 common: spread each over its step.
        step = np.full(n, 1 / (1 + SIMULATIONS))
        step[values == 1] = 1 - values[values < 1].max(initial=0.0)
        spread = values - step * random.random(n)
        chance = kstest(spread, "uniform").pvalue
        bench.keep(
            f"false_alarm_{name}", chance, "probability of a distribution less uniform",
            "≥ 0.05", chance >= 0.05, n,
        )  # fmt: skip


def checks(bench: Bench) -> None:
    for kind, shifts in SHIFTS.items():
        n = bench.number(CHECKED if kind == "Redshift" else CHECKED // 2)
        for shift in shifts:
            found = np.array(bench.run(check_of, [kind] * n, [shift] * n, range(n)))
            doubted = 100 * np.mean(found[:, 0] > observe.DOUBTFUL)
            wanted = shift == shifts[-1]
            bench.keep(
                f"doubt_{kind}_{shift:g}", doubted, "% warned of",
                "100" if wanted else "0" if shift == 0 else "any",
                math.isclose(doubted, 100) if wanted else shift > 0 or doubted == 0, n,
            )  # fmt: skip


ROWS: dict[str, Callable[[Bench], None]] = {
    "limits": limits,
    "false_alarms": false_alarms,
    "checks": checks,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--row", action="append", choices=ROWS, help="only this row (repeatable)")
    parser.add_argument("--scale", type=float, default=1.0, help="fraction of the spectra")
    parser.add_argument("--cores", type=int, default=2, help="processes that work")
    parser.add_argument("--output", type=Path, default=ROOT / "results/benchmarks.json")
    arguments = parser.parse_args()
    output = arguments.output.resolve()
    os.chdir(ROOT)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(arguments.cores, context) as pool:
        for name in arguments.row or ROWS:
            ROWS[name](Bench(pool, output, arguments.scale))


if __name__ == "__main__":
    main()
