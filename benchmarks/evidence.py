"""Evidences checked: Laplace's approximation and nested sampling against `icflow integrate`.

    python benchmarks/evidence.py                # 50 spectra of each class
    python benchmarks/evidence.py --spectra 10   # fewer

Spectra are the first ones of the test datasets, redshift known. Every integral
is done three times: as the workflow does it (norms by Gaussian integrals, the
rest by importance sampling), by Laplace's approximation from the curvature at
the minima inside the priors, and by nested sampling, which shares nothing with
the former but the likelihood. Results go to results/evidence.json.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from pathlib import Path
from typing import Any

# One thread: read by the linear algebra libraries when numpy loads them.
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from icflow import config
from icflow.engines import cstat
from icflow.engines.cstat import Data, Minimum, Shapes, jit
from icflow.engines.embedded import EmbeddedEngine
from icflow.engines.integral import MOST_MINIMA, WITHIN, Integrator
from icflow.engines.norms import LOG_2PI, log_interval
from icflow.files import write_json
from icflow.models.scenario import generator

Floats = NDArray[np.float64]

ROOT = Path(__file__).resolve().parents[1]
DATASETS = ("test_2T", "test_1T+IC")
INTEGRALS = ("2T_fixed", "1T+IC_fixed")
# Nested sampling: live points, how many are replaced at a time, steps of each random walk.
LIVE, REPLACED, WALK = 400, 40, 200
# It ends when the live points can add less than this to ln of the evidence.
REMAINDER = 0.01


@jit
def log_likelihoods(shapes: Shapes, counts: Floats, thetas: Floats) -> Floats:
    """Return -C/2 at many parameters."""
    found = np.empty(len(thetas))
    for i in range(len(thetas)):
        found[i] = -0.5 * cstat.cstat(counts, cstat.model_counts(shapes, thetas[i]))
    return found


def laplace(integrator: Integrator, shapes: Shapes, data: Data, minima: list[Minimum]) -> float:
    """Return ln of the evidence by Laplace's approximation, for uniform priors.

    Each minimum adds a Gaussian over the box of the priors. Of parameters at a
    limit it adds the slope there: an integral of its own, the others given.
    """
    fitter = integrator.fitter
    free = np.array(fitter.model.free)
    low, high = fitter.model.lower[free], fitter.model.upper[free]
    logs = []
    for one in minima:
        # In units in which the priors are 1 wide.
        info, slope = cstat.information(shapes, data, fitter.box, one.theta)
        info, slope = info * np.outer(high - low, high - low), slope * (high - low)
        places = (one.theta[free] - low) / (high - low)
        at_limit = (places <= 0) | (places >= 1)
        total = -0.5 * one.cstat
        for i in np.flatnonzero(at_limit):
            root, push = math.sqrt(info[i, i]), abs(float(slope[i]))
            total += 0.5 * (push / root) ** 2 + 0.5 * LOG_2PI - math.log(root)
            total += log_interval(push / root, push / root + root)
        inside = np.flatnonzero(~at_limit)
        if len(inside):
            # Two components alike have no curvature in one direction: the box limits them.
            values, vectors = np.linalg.eigh(info[np.ix_(inside, inside)])
            values = np.maximum(values, 1.0)
            covariance = (vectors / values) @ vectors.T
            total += 0.5 * np.log(2 * np.pi / values).sum()
            box = multivariate_normal.cdf(
                np.ones(len(inside)),
                places[inside],
                0.5 * (covariance + covariance.T),
                allow_singular=True,
                lower_limit=np.zeros(len(inside)),
                rng=np.random.default_rng(0),
            )
            total += math.log(max(float(box), 1e-300))
        logs.append(total)
    # Of two mirror images one is looked for.
    return float(logsumexp(logs)) + (0.0 if integrator.mirror is None else math.log(2))


def nested(
    integrator: Integrator, shapes: Shapes, data: Data, theta: Floats, random: np.random.Generator
) -> tuple[float, float]:
    """Return ln of the evidence by nested sampling of all parameters, and its error."""
    model = integrator.fitter.model
    free = np.array(model.free)
    low, width = model.lower[free], model.upper[free] - model.lower[free]

    def function(points: Floats) -> Floats:
        thetas = np.repeat(theta[None], len(points), axis=0)
        thetas[:, free] = low + width * points
        return np.asarray(log_likelihoods(shapes, data.counts, thetas))

    mirror = None
    if integrator.mirror is not None:
        first = int(np.flatnonzero(integrator.mirror != np.arange(len(integrator.mirror)))[0])
        both = integrator.sampled[[first, integrator.mirror[first]]]
        mirror = [int(np.flatnonzero(free == position)[0]) for position in both]

    def allowed(points: Floats) -> NDArray[np.bool_]:
        inside = ((points > 0) & (points < 1)).all(axis=1)
        # One of two mirror images, over which the likelihood has the same mean.
        return inside & (points[:, mirror[0]] <= points[:, mirror[1]]) if mirror else inside

    points = random.random((4 * LIVE, len(free)))
    points = points[allowed(points)][:LIVE]
    values = function(points)
    logs, volume, information, scale = [], 0.0, 0.0, 1.0
    while True:
        order = np.argsort(values)
        worst, threshold = order[:REPLACED], values[order[REPLACED - 1]]
        # One after the other, the live points fewer by one each time.
        for place, i in enumerate(worst):
            step = 1 / (LIVE - place)
            logs.append(values[i] + volume + math.log(-math.expm1(-step)))
            volume -= step
        rest = np.delete(np.arange(LIVE), worst)
        if values.max() + volume < logsumexp(logs) + math.log(REMAINDER):
            break
        chosen = random.choice(rest, REPLACED)
        moved, heights = points[chosen], values[chosen]
        accepted = 0.0
        for _ in range(WALK):
            # Along the difference of two live points, or of two and two: it knows every degeneracy.
            pairs = points[random.choice(rest, (2, REPLACED))]
            stretch = scale * np.exp(random.normal(size=(REPLACED, 1)))
            trial = moved + stretch * (pairs[0] - pairs[1])
            trial += 1e-9 * random.normal(size=trial.shape)
            inside = allowed(trial)
            trial_values = np.full(REPLACED, -np.inf)
            trial_values[inside] = function(trial[inside])
            better = trial_values > threshold
            moved[better], heights[better] = trial[better], trial_values[better]
            accepted += better.mean() / WALK
        scale *= math.exp(accepted - 0.3)
        points[worst], values[worst] = moved, heights
    left = values[rest] + volume - math.log(len(rest))
    every = np.array([*logs, *left])
    total = float(logsumexp(every))
    heights = np.concatenate([np.array(logs) - volume_of(len(logs)), values[rest]])
    information = float(np.sum(np.exp(every - total) * heights)) - total
    return total, math.sqrt(max(information, 0.0) / LIVE)


def volume_of(number: int) -> Floats:
    """Return ln of the prior volume that each discarded point stands for."""
    steps = np.tile(1 / (LIVE - np.arange(REPLACED)), number // REPLACED)
    before = np.concatenate([[0.0], -np.cumsum(steps)[:-1]])
    return np.asarray(before + np.log(-np.expm1(-steps)))


def measure(engine: EmbeddedEngine, run: config.Config, number: int) -> list[dict[str, Any]]:
    """Integrate in three ways for some spectra of each class."""
    integrators = {}
    for name in INTEGRALS:
        settings = run.integral(name)
        integrators[name] = engine.integrator(
            settings.scenario, settings.energies, settings.at_truth
        )
    rows = []
    for dataset in DATASETS:
        simulated = run.simulate(dataset)
        counts, truth = engine.fake(
            simulated.model.expression,
            simulated.model.parameters,
            run.seed,
            dataset,
            range(number),
        )
        for i in range(number):
            for name, integrator in integrators.items():
                rows.append({"dataset": dataset, "index": i, "integral": name})
                rows[-1] |= one_spectrum(integrator, counts[i], truth, run, rows[-1])
                print(
                    "{dataset:>10} {index:3} {integral:>12}: {sampled:12.3f} ± {error:.3f} "
                    "({effective:4.0f} effective)   nested {nested:+7.3f} ± {nested_error:.3f}   "
                    "Laplace {laplace:+9.3f}".format(
                        **{
                            **rows[-1],
                            "nested": rows[-1]["nested"] - rows[-1]["sampled"],
                            "laplace": rows[-1]["laplace"] - rows[-1]["sampled"],
                        }
                    ),
                    flush=True,
                )
    return rows


def one_spectrum(
    integrator: Integrator,
    counts: NDArray[np.int32],
    truth: dict[str, Floats],
    run: config.Config,
    row: dict[str, Any],
) -> dict[str, Any]:
    """Return one integral of one spectrum, done in three ways."""
    settings = run.integral(row["integral"])
    model = integrator.fitter.model
    fixed = {model.position[n]: float(truth[n][row["index"]]) for n in settings.at_truth}
    inside = counts[integrator.channels].astype(np.float64)
    purpose = f"integral/{row['integral']}"
    random = generator(run.seed, row["dataset"], row["index"], purpose)
    begin = time.process_time()
    found = integrator.integrate(inside, fixed, random)
    seconds = time.process_time() - begin
    theta = model.start.copy()
    theta[list(fixed)] = list(fixed.values())
    shapes, data, minima = integrator.fitter.minima(inside, theta, WITHIN, MOST_MINIMA)
    value, error = nested(integrator, shapes, data, minima[0].theta, random)
    return {
        "sampled": found.log,
        "error": found.error,
        "effective": found.effective,
        "evaluations": found.evaluations,
        "seconds": seconds,
        "laplace": laplace(integrator, shapes, data, minima),
        "nested": value,
        "nested_error": error,
    }


def summarise(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what the rows say about the odds of all spectra."""
    keys = ("sampled", "laplace", "nested")
    pairs = list(zip(rows[::2], rows[1::2], strict=True))
    odds = {key: np.array([two[key] - one[key] for one, two in pairs]) for key in keys}
    errors = np.array(
        [
            math.hypot(*(row[key] for row in pair for key in ("error", "nested_error")))
            for pair in pairs
        ]
    )
    is_ic = np.array([pair[0]["dataset"] == DATASETS[1] for pair in pairs])
    # Where the odds decide nothing, a difference between two ways changes nothing.
    near = np.abs(odds["sampled"]) < 20
    deviates = (odds["nested"] - odds["sampled"])[near] / errors[near]
    off = (odds["laplace"] - odds["sampled"])[near]
    return {
        "spectra": len(pairs),
        "with odds below exp(20)": int(near.sum()),
        "least effective points": float(min(row["effective"] for row in rows)),
        "median effective points": float(np.median([row["effective"] for row in rows])),
        "largest error": float(max(row["error"] for row in rows)),
        "CPU seconds per spectrum": float(np.sum([row["seconds"] for row in rows]) / len(pairs)),
        "nested minus sampled, mean in sigma": float(deviates.mean()),
        "nested minus sampled, scatter in sigma": float(deviates.std()),
        "nested minus sampled, largest in sigma": float(np.abs(deviates).max()),
        "Laplace minus sampled, median": float(np.median(off)),
        "Laplace minus sampled, scatter": float(off.std()),
        "Laplace minus sampled, largest": float(np.abs(off).max()),
        **{
            f"balanced accuracy, {key}": float(
                (np.mean(values[is_ic] > 0) + np.mean(values[~is_ic] <= 0)) / 2
            )
            for key, values in odds.items()
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--spectra", type=int, default=50, help="of each class (50)")
    parser.add_argument("--output", type=Path, default=Path("results/evidence.json"))
    args = parser.parse_args()
    run = config.load(ROOT / "config.yaml")
    os.chdir(ROOT)
    engine = EmbeddedEngine(run.instrument, run.atomic_data)
    rows = measure(engine, run, args.spectra)
    summary = summarise(rows)
    for name, value in summary.items():
        print(f"{name}: {value:.4g}")
    args.output.parent.mkdir(parents=True, exist_ok=True)
    write_json(args.output, {"summary": summary, "rows": rows})


if __name__ == "__main__":
    main()
