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
import copy
import functools
import json
import math
import multiprocessing
import os
import platform
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

# One thread a process: read by the linear algebra libraries when numpy loads them.
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", TQDM_DISABLE="1")

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kstest

from icflow import config
from icflow import settings as settings_of
from icflow.config import FitModel, Scenario
from icflow.engines.base import BACKGROUND
from icflow.files import write_json
from icflow.models.background import read_background
from icflow.models.expression import parse
from icflow.models.scenario import at_source, complete, draw
from icflow.models.systematics import Deviates
from icflow.observation import fits as observed_fits
from icflow.observation import scores as observed_scores
from icflow.observation.engine import ObservedEngine, draw_counts, expected_background
from icflow.observation.regions import Region, fit_norms
from icflow.observation.scores import OBSERVED, REPLICAS
from icflow.observation.simulations import (
    Draws,
    ModelFitter,
    allowed,
    draw_each,
    goodness,
    replicas,
)
from icflow.observation.summary import DOUBTFUL
from icflow.ogip.observation import read_observation
from icflow.ogip.spectrum import Spectrum
from icflow.seeds import of_spectrum
from icflow.settings import ObserveSettings

Floats = NDArray[np.float64]

ROOT = Path(__file__).resolve().parents[1]
SEED = 7
REDSHIFT, COLUMN = 0.05, 0.00858
N = 200  # simulated observations
REGION = 4.0  # how much larger the regions of background spectra are
SIMULATIONS = 40  # behind each limit and each false-alarm probability
FAINT = 2e-4  # IC norm, where its error is not known
# Cases, as the names of rows end: calibration and background right, the background in a file,
# both wrong and the simulations behind probabilities and limits likewise, and these right.
PLAIN, FILE, WRONG, UNAWARE = "", "_with_background_file", "_with_systematics", "_unaware"
# Models of limits, by scenario.
MODELS_OF = {
    PLAIN: {"1T+IC": ("1T+IC", "2T+IC"), "2T+IC": ("2T+IC",)},
    FILE: {"1T+IC": ("1T+IC",)},
    WRONG: {"1T+IC": ("2T+IC",)},
    UNAWARE: {"1T+IC": ("2T+IC",)},
}
# What source-free regions see of the background of the example, as a tenth of its exposure would.
SHARES = (0.005, 0.008)
CHECKED = 40  # observations with a wrong redshift or column density
SHIFTS = {"Redshift": (0.0, 0.001, 0.002, 0.005), "nH": (0.0, 0.2, 0.5, 0.8)}


@functools.cache
def settings() -> ObserveSettings:
    loaded = config.load(ROOT / "config.yaml", ROOT / "config/observe-example.yaml")
    return settings_of.observe(loaded, "example")


@functools.cache
def scenarios() -> dict[str, Scenario]:
    return config.load(ROOT / "config.yaml").scenarios


@functools.cache
def engine(wrong: bool = False) -> ObservedEngine:
    """Return the engine of the example, right or wrong as `config/observe-systematics.yaml`."""
    (module,) = read_observation("example", settings().observation)
    given = config.load(ROOT / "config.yaml", ROOT / "config/observe-systematics.yaml")
    systematics = given.observe.systematics if wrong else None
    return ObservedEngine([module], settings(), False, settings().atomic_data, systematics)


def model_of(name: str, redshift: float = REDSHIFT, nH: float = COLUMN) -> FitModel:
    return at_source(settings().models[name], redshift, nH)


def simulated(
    scenario: str, index: int, wrong: bool = False
) -> tuple[NDArray[np.int32], dict[str, float]]:
    """Return one simulated observation, shape (1, n_channels), and its truth.

    Where something is wrong, it is drawn for each. 2T+IC has the plasmas of the scenario 2T and
    the IC emission of 1T+IC.
    """
    key = f"observations/{scenario}"
    truth: dict[str, float] = {}
    for name in ("1T+IC", "2T") if scenario == "2T+IC" else (scenario,):
        model = scenarios()[name]
        given = complete(parse(model.expression), model.parameters, "parameters")
        truth |= draw(given | {"apec.Redshift": REDSHIFT}, SEED, key, index)
    backgrounds = {BACKGROUND + name: 1.0 for name in engine().engine.backgrounds}
    deviates = [Deviates(SEED, key, index)]
    expected = engine(wrong).expected_each(model_of(scenario), [truth | backgrounds], deviates)
    return draw_counts(list(expected), SEED, key, [index]), truth


def with_background_spectrum(
    counts: NDArray[np.int32], key: str, index: int
) -> tuple[ObservedEngine, NDArray[np.int64]]:
    """Return what analyses an observation with a background spectrum, and the counts of both.

    The background region is `REGION` times as large as that of the source. Nothing else is known
    of the background.
    """
    total = np.sum(list(engine().engine.backgrounds.values()), axis=0)
    drawn = draw_counts(REGION * total, SEED, f"{key}/background", [index])
    made = copy.copy(behind_engine())
    made.counts, made.behind = np.append(counts, drawn), expected_background(drawn[0], None)
    return made, made.counts[None]


def observed(
    scenario: str, index: int, case: str
) -> tuple[ObservedEngine, NDArray[np.int64], dict[str, float]]:
    """Return what analyses one simulated observation, its counts and its truth."""
    counts, truth = simulated(scenario, index, case in (WRONG, UNAWARE))
    if case == FILE:
        return *with_background_spectrum(counts, scenario, index), truth
    return engine(case == WRONG), counts.astype(np.int64), truth


def settling(used: ObservedEngine, counts: NDArray[np.int64]) -> ObservedEngine:
    """Return an engine for an observation that settles what is wrong with it, if anything is."""
    return used.settling(model_of("2T+IC"), counts)


@functools.cache
def behind_engine() -> ObservedEngine:
    """Return the engine of the example with a background spectrum instead of a description."""
    (module,) = read_observation("example", settings().observation)
    behind = replace(module.spectrum, backscal=REGION * np.asarray(module.spectrum.backscal))
    files = replace(module, background=None, behind=behind)
    return observed_fits.engine_for(settings(), [files])


# --- one observation -------------------------------------------------------------------


def limits_of(scenario: str, index: int, case: str = PLAIN) -> dict[str, tuple[bool, bool, bool]]:
    """Tell for each model whether limits and interval of the IC norm hold the truth, at 90 %.

    They are the upper limit, that by Wilks' theorem, and the interval. A limit holds the truth if
    C rises less up to there.
    """
    used, counts, truth = observed(scenario, index, case)
    norm = truth["powerlaw.norm"]
    used = settling(used, counts)
    found = {}
    for name in MODELS_OF[case][scenario]:
        model = model_of(name)
        (fit,) = used.fit(model)
        (there,) = used.fit(model, None, {"powerlaw.norm": np.array([norm])})
        profile = observed_fits.Profile(used, model, "powerlaw.norm")
        draws = Draws(SEED, f"limits/{scenario}/{index}")
        rise, _ = profile.upper_rises(fit, SIMULATIONS, draws)
        distance = there.cstat - fit.cstat
        below = norm <= fit.values["powerlaw.norm"]
        found[name] = (
            below or distance <= rise,
            below or distance <= observed_fits.UPPER_90,
            distance <= observed_fits.INTERVAL_90,
        )
    return found


def false_alarms_of(index: int, case: str = PLAIN) -> dict[str, tuple[float, int]]:
    """Return the false-alarm probabilities of a 2T observation, and its goodness.

    Each comes with the number of ranks that it is one of.
    """
    used, counts, _ = observed("2T", index, case)
    chosen, roles = settings().observe, ("2T", "1T+IC", "2T+IC")
    models = {role: model_of(role) for role in roles}
    used = settling(used, counts)
    fits = {role: used.fit(model)[0] for role, model in models.items()}
    error = fits["2T+IC"].errors["powerlaw.norm"]
    faint = error if 0 < error < 1e-2 else FAINT
    fitter = ModelFitter(used, chosen, models, "powerlaw.norm", faint)
    spectra = {OBSERVED: fitter.fit(used.counts[None])}
    for name in ("2T", "1T+IC"):
        key = f"{SEED}/{index}/{name}"
        model = models[name]
        drawn = replicas(used, model, fits[name], SIMULATIONS, Draws(SEED, f"{key}/replicas"))
        if name == "2T":
            spectra[REPLICAS] = fitter.fit(drawn)
            own = spectra[REPLICAS].fits[name]
        else:
            own = used.fit(model, drawn)
        truth = allowed(used, model, drawn, own, {}, Draws(SEED, key))
        spectra[name] = fitter.fit(draw_each(used, model, truth, Draws(SEED, key)), truth)
    scores = observed_scores.judge(chosen, spectra, SEED)
    found = {
        detector: (score.false_alarm, 1 + int(np.isfinite(score.excess[REPLICAS]).sum()))
        for detector, score in scores.items()
    }
    replicated = spectra[REPLICAS].fits["2T"]
    return found | {"goodness": (goodness(fits["2T"], replicated), 1 + len(replicated))}


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


def regions_of(index: int) -> dict[str, tuple[bool, float]]:
    """Return whether the range of each background component holds the truth, and the range.

    Two source-free regions with norms drawn up to 50 % off those of the file.
    """
    (folding,) = engine().engine.foldings
    random = of_spectrum(SEED, "regions", index, "norms")
    truth = {name: random.uniform(0.5, 1.5) for name in folding.backgrounds}
    total = sum(truth[name] * counts for name, counts in folding.backgrounds.items())
    regions = []
    for share in SHARES:
        (counts,) = draw_counts(share * total, SEED, f"regions/{share}", [index])
        spectrum = Spectrum(folding.response.rmf.channel, counts, folding.exposure)
        regions.append(Region(spectrum, "", folding.response, dict.fromkeys(truth, share)))
    components = read_background(str(settings().observation.background))
    fitted = fit_norms(regions, {"": components}, settings().energies, False)
    found = {}
    for given in components:
        result = fitted.of("", given)
        norm = next(name for name in given.values if name.endswith(".norm"))
        low, high = result.limits(0.0)
        factor = truth[given.name] * given.values[norm] / result.values[norm]
        found[given.name] = low <= factor <= high, high - 1
    return found


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


def limits(bench: Bench, case: str = PLAIN) -> None:
    n = bench.number(N)
    for scenario, models in MODELS_OF[case].items():
        found = bench.run(limits_of, [scenario] * n, range(n), [case] * n)
        for name in models:
            shares = 100 * np.mean([one[name] for one in found], axis=0)
            for kind, share in zip(("limit", "limit_by_wilks", "interval"), shares, strict=True):
                bench.keep(
                    f"ic_{kind}_{name}_of_{scenario}{case}", share, "% hold the truth at 90 %",
                    "90 ± 4" if kind == "limit" else "any",
                    kind != "limit" or abs(share - 90) <= 4, n,
                )  # fmt: skip


def false_alarms(bench: Bench, case: str = PLAIN) -> None:
    n = bench.number(N)
    found = bench.run(false_alarms_of, range(n), [case] * n)
    random = np.random.default_rng(SEED)
    for name in found[0]:
        values, ranks = np.array([one[name] for one in found]).T
        shares = [f"{100 * np.mean(values <= a + 1e-9):.1f} % up to {a}" for a in (0.05, 0.1, 0.2)]
        print(
            f"  {name}: {', '.join(shares)}; mean {values.mean():.2f}, scatter {values.std():.2f}"
        )
        # Ranks are discrete: spread each over its step.
        spread = values - random.random(n) / ranks
        chance = kstest(spread, "uniform").pvalue
        bench.keep(
            f"false_alarm_{name}{case}", chance, "probability of a distribution less uniform",
            "≥ 0.05", chance >= 0.05, n,
        )  # fmt: skip


def checks(bench: Bench) -> None:
    for kind, shifts in SHIFTS.items():
        n = bench.number(CHECKED if kind == "Redshift" else CHECKED // 2)
        for shift in shifts:
            found = np.array(bench.run(check_of, [kind] * n, [shift] * n, range(n)))
            doubted = 100 * np.mean(found[:, 0] > DOUBTFUL)
            wanted = shift == shifts[-1]
            bench.keep(
                f"doubt_{kind}_{shift:g}", doubted, "% warned of",
                "100" if wanted else "0" if shift == 0 else "any",
                math.isclose(doubted, 100) if wanted else shift > 0 or doubted == 0, n,
            )  # fmt: skip


def regions(bench: Bench) -> None:
    n = bench.number(N)
    found = bench.run(regions_of, range(n))
    for name in found[0]:
        inside, ranges = np.array([one[name] for one in found]).T
        share = 100 * inside.mean()
        print(f"  {name}: ranges of {100 * np.median(ranges):.3g} %")
        # What trades with a component that ended at 0 has ranges that are too wide.
        bench.keep(
            f"range_{name}", share, "% hold the truth at 90 %", "at least 86", share >= 86, n
        )


ROWS: dict[str, Callable[[Bench], None]] = {
    f"{row.__name__}{case}": functools.partial(row, case=case)
    for case in MODELS_OF
    for row in (limits, false_alarms)
} | {"checks": checks, "regions": regions}


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
