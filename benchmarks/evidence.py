"""Evidences checked: plain importance sampling and Laplace's approximation.

    python benchmarks/evidence.py                # 25 spectra of each class
    python benchmarks/evidence.py --spectra 10   # fewer

Spectra are the first ones of the test datasets, redshift known. Every integral
is done three times: as `icflow integrate` does it (norms by Gaussian integrals,
the rest by importance sampling from distributions about the minima), by
importance sampling of all parameters from a mixture fitted to Markov chains,
which shares nothing with the former but the likelihood, and by Laplace's
approximation from the curvature at the minima inside the priors. Results go to
results/evidence.json.
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
from scipy.stats import multivariate_normal, multivariate_t
from sklearn.mixture import GaussianMixture

from icflow import config
from icflow import settings as settings_of
from icflow.compiled import jit
from icflow.engines.embedded.descent import Minimum
from icflow.engines.embedded.engine import EmbeddedEngine
from icflow.engines.embedded.shapes import Shapes, information, model_counts
from icflow.engines.evidence.integral import MOST_MINIMA, WITHIN, Integrator
from icflow.engines.evidence.norms import LOG_2PI, log_interval
from icflow.files import write_json
from icflow.seeds import of_spectrum
from icflow.statistic import Data, channels, cstat

Floats = NDArray[np.float64]

ROOT = Path(__file__).resolve().parents[1]
DATASETS = ("test_2T", "test_1T+IC")
INTEGRALS = ("2T_fixed", "1T+IC_fixed")
# Parameters that two like plasmas exchange.
LIKE = (("apec.kT", "apec_3.kT"), ("apec.norm", "apec_3.norm"))
# Markov chains side by side, steps of each, of which the first half is left out, and what is kept.
CHAINS, STEPS, EVERY = 200, 4000, 10
# How far a step goes along the difference of two chains; 1 goes from mode to mode.
STRETCHES = (0.3, 0.75, 1.0)
# Powers of the likelihood that chains are run for. Between the place where two plasmas are alike,
# their norms anything, and those where one is faint, its temperature anything, chains for the
# likelihood itself hardly move.
POWERS = (1.0, 0.3)
# Of the mixture: components, how much wider they are than the chains, degrees of freedom.
COMPONENTS, WIDER, DEGREES = 30, 2.0, 4
POINTS = 40_000  # drawn from it
LEAST = -1e12  # ln L below any


@jit
def log_likelihoods(shapes: Shapes, counts: Floats, thetas: Floats) -> Floats:
    """Return -C/2 at many parameters."""
    found = np.empty(len(thetas))
    for i in range(len(thetas)):
        found[i] = -0.5 * cstat(counts, model_counts(shapes, thetas[i]))
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
        info, slope = information(shapes, data, fitter.box, one.theta)
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
    return float(logsumexp(logs)) + math.log(len(integrator.images))


class Cube:
    """The likelihood of a spectrum over the priors, in units in which each is 1 wide."""

    def __init__(
        self, integrator: Integrator, shapes: Shapes, data: Data, minima: list[Minimum]
    ) -> None:
        model = integrator.fitter.model
        self.shapes, self.data, self.theta = shapes, data, minima[0].theta
        self.free = np.array(model.free)
        self.low = model.lower[self.free]
        self.width = model.upper[self.free] - self.low
        self.minima = np.array([(one.theta[self.free] - self.low) / self.width for one in minima])
        # Of two like plasmas the first is taken to be the cooler one; the rest mirrors it.
        self.temperatures: list[int] = []
        if len(integrator.images) > 1:
            places = {
                name: model.free.index(model.position[name]) for pair in LIKE for name in pair
            }
            self.temperatures = [places[name] for name in LIKE[0]]
            order = np.arange(len(self.free))
            for one, other in LIKE:
                order[[places[one], places[other]]] = places[other], places[one]
            swap = self._mirrored(self.minima)
            self.minima[swap] = self.minima[swap][:, order]

    def _mirrored(self, points: Floats) -> NDArray[np.bool_]:
        if not self.temperatures:
            return np.zeros(len(points), dtype=bool)
        first, second = self.temperatures
        return np.asarray(points[:, first] > points[:, second])

    def log_likelihoods(self, points: Floats) -> Floats:
        """Return ln L at points (n, n_free): -inf outside of the priors and in the mirror image."""
        inside = ((points > 0) & (points < 1)).all(axis=1) & ~self._mirrored(points)
        thetas = np.repeat(self.theta[None], int(inside.sum()), axis=0)
        thetas[:, self.free] = self.low + self.width * points[inside]
        found = np.full(len(points), -np.inf)
        found[inside] = log_likelihoods(self.shapes, self.data.counts, thetas)
        return found


def chains(cube: Cube, power: float, steps: int, random: np.random.Generator) -> Floats:
    """Return points (n, n_free) distributed as a power of the likelihood.

    By differential evolution (ter Braak 2006).
    """

    def log_density(points: Floats) -> Floats:
        return power * cube.log_likelihoods(points)

    size = cube.minima.shape[1]
    starts = cube.minima[random.integers(0, len(cube.minima), CHAINS)]
    points = starts + 1e-3 * random.normal(size=(CHAINS, size))
    # Every other chain begins anywhere: a ridge is long, and a minimum only a place on it.
    points[::2] = random.random(points[::2].shape)
    # A chain that begins outside goes to wherever there is a likelihood.
    values = np.maximum(log_density(points), LEAST)
    kept = []
    for step in range(steps):
        # Along the difference of two others: it knows every degeneracy.
        one, other = points[random.integers(0, CHAINS, (2, CHAINS))]
        stretch = random.choice(STRETCHES, (CHAINS, 1))
        trial = points + stretch * (one - other) + 1e-5 * random.normal(size=points.shape)
        trial_values = log_density(trial)
        better = trial_values > values + np.log(random.random(CHAINS))
        points[better], values[better] = trial[better], trial_values[better]
        if step >= steps // 2 and step % EVERY == 0:
            kept.append(points[values > LEAST])
    return np.concatenate(kept)


def sampled_in_all(
    cube: Cube, steps: int, random: np.random.Generator
) -> tuple[float, float, float]:
    """Return ln of the evidence by importance sampling of all parameters, its error, and points.

    These are the effective ones.
    """
    sample = np.concatenate([chains(cube, power, steps, random) for power in POWERS])
    mixture = GaussianMixture(COMPONENTS, reg_covar=1e-12, random_state=0).fit(sample)
    parts = [
        multivariate_t(mean, WIDER * covariance, df=DEGREES, allow_singular=True, seed=random)
        for mean, covariance in zip(mixture.means_, mixture.covariances_, strict=True)
    ]
    numbers = random.multinomial(POINTS, mixture.weights_)
    points = np.concatenate(
        [part.rvs(n).reshape(n, -1) for part, n in zip(parts, numbers, strict=True) if n]
    )
    density = logsumexp(
        [part.logpdf(points) for part in parts], axis=0, b=mixture.weights_[:, None]
    )
    weights = cube.log_likelihoods(points) - density
    total = float(logsumexp(weights)) - math.log(POINTS)
    effective = math.exp(2 * logsumexp(weights) - logsumexp(2 * weights))
    # The prior is spread over two mirror images, of which one was integrated.
    total += math.log(2) if cube.temperatures else 0.0
    return total, math.sqrt(1 / effective - 1 / POINTS), effective


def measure(
    engine: EmbeddedEngine, run: config.Config, number: int, steps: int
) -> list[dict[str, Any]]:
    """Integrate in three ways for some spectra of each class."""
    integrators = {}
    for name in INTEGRALS:
        settings = settings_of.integrate(run, name)
        integrators[name] = engine.integrator(
            settings.scenario, settings.energies, settings.at_truth
        )
    rows = []
    for dataset in DATASETS:
        simulated = settings_of.simulate(run, dataset)
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
                rows[-1] |= one_spectrum(integrator, counts[i], truth, run, rows[-1], steps)
                print(
                    "{dataset:>10} {index:3} {integral:>12}: {sampled:12.3f} ± {error:.3f} "
                    "({effective:4.0f} effective)   in all {in_all:+7.3f} ± {in_all_error:.3f}   "
                    "Laplace {laplace:+9.3f}".format(
                        **{
                            **rows[-1],
                            "in_all": rows[-1]["in_all"] - rows[-1]["sampled"],
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
    steps: int,
) -> dict[str, Any]:
    """Return one integral of one spectrum, done in three ways."""
    settings = settings_of.integrate(run, row["integral"])
    model = integrator.fitter.model
    fixed = {model.position[n]: float(truth[n][row["index"]]) for n in settings.at_truth}
    inside = counts[integrator.channels].astype(np.float64)
    purpose = f"integral/{row['integral']}"
    random = of_spectrum(run.seed, row["dataset"], row["index"], purpose)
    begin = time.process_time()
    found = integrator.integrate(inside, fixed, random)
    seconds = time.process_time() - begin
    theta = model.start.copy()
    theta[list(fixed)] = list(fixed.values())
    shapes, data, minima = integrator.fitter.minima(channels(inside), theta, WITHIN, MOST_MINIMA)
    cube = Cube(integrator, shapes, data, minima)
    value, error, points = sampled_in_all(cube, steps, random)
    return {
        "sampled": found.log,
        "error": found.error,
        "effective": found.effective,
        "evaluations": found.evaluations,
        "seconds": seconds,
        "laplace": laplace(integrator, shapes, data, minima),
        "in_all": value,
        "in_all_error": error,
        "in_all_effective": points,
    }


def summarise(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what the rows say about the odds of all spectra."""
    keys = ("sampled", "laplace", "in_all")
    pairs = list(zip(rows[::2], rows[1::2], strict=True))
    odds = {key: np.array([two[key] - one[key] for one, two in pairs]) for key in keys}
    errors = np.array(
        [
            math.hypot(*(row[key] for row in pair for key in ("error", "in_all_error")))
            for pair in pairs
        ]
    )
    is_ic = np.array([pair[0]["dataset"] == DATASETS[1] for pair in pairs])
    # Where the odds decide nothing, a difference between two ways changes nothing.
    near = np.abs(odds["sampled"]) < 20
    deviates = (odds["in_all"] - odds["sampled"])[near] / errors[near]
    off = (odds["laplace"] - odds["sampled"])[near]
    return {
        "spectra": len(pairs),
        "with odds below exp(20)": int(near.sum()),
        "least effective points": float(min(row["effective"] for row in rows)),
        "median effective points": float(np.median([row["effective"] for row in rows])),
        "largest error": float(max(row["error"] for row in rows)),
        "CPU seconds per spectrum": float(np.sum([row["seconds"] for row in rows]) / len(pairs)),
        "in all minus sampled, mean in sigma": float(deviates.mean()),
        "in all minus sampled, scatter in sigma": float(deviates.std()),
        "in all minus sampled, largest in sigma": float(np.abs(deviates).max()),
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
    parser.add_argument("--spectra", type=int, default=25, help="of each class (25)")
    parser.add_argument("--steps", type=int, default=STEPS, help=f"of each chain ({STEPS})")
    parser.add_argument("--output", type=Path, default=Path("results/evidence.json"))
    args = parser.parse_args()
    run = config.load(ROOT / "config.yaml")
    os.chdir(ROOT)
    engine = EmbeddedEngine(run.modules, run.atomic_data)
    rows = measure(engine, run, args.spectra, args.steps)
    summary = summarise(rows)
    for name, value in summary.items():
        print(f"{name}: {value:.4g}")
    args.output.parent.mkdir(parents=True, exist_ok=True)
    write_json(args.output, {"summary": summary, "rows": rows})


if __name__ == "__main__":
    main()
