"""The ceiling with systematics: exact evidences, area, energy scale and backgrounds sampled too.

    # With networks trained by `snakemake ratio --configfile config.yaml config/scans/survival.yaml`
    python benchmarks/ceiling.py               # 100 spectra of each class
    python benchmarks/ceiling.py --spectra 25  # fewer

Spectra are the first ones of test datasets with systematics, redshift known. The likelihood of each
is averaged over the priors of both classes and over all that is wrong, by importance sampling:
temperatures and abundances as `icflow integrate` samples them; norms, background norms, area and
energy scale, at each of these points, from a t distribution about the highest likelihood there.
So every point holds all that varies, and none of it is approximated. How many points count is
told of each, and in how many evidences these are fewer than 100.

Averaged over spectra, the probabilities say how many of them can be told right at all, with less
scatter than a count of those that are; and how many fewer decisions of another kind tell right.
Results go to results/ceiling.json.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

# One thread: read by the linear algebra libraries when numpy loads them.
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

import numpy as np
from likelihoods import FREEDOM, Seen, descend, heights, log_likelihoods
from numpy.typing import NDArray
from ratio import NEAR, measured, probability, simulated
from scipy.stats import qmc
from sklearn.metrics import log_loss

from icflow import config
from icflow import settings as settings_of
from icflow.config import Config
from icflow.engines.embedded.correction import moved
from icflow.engines.embedded.population import Population, bins_of
from icflow.engines.embedded.shapes import (
    BACKGROUND,
    CURVE,
    FIRST,
    KIND,
    NORM,
    PLASMA,
    ROW,
    TABLE,
    THIRD,
    Box,
    Shapes,
)
from icflow.engines.embedded.symmetry import exchangeable, orders
from icflow.engines.evidence.integral import SCALES, UNIFORM
from icflow.engines.evidence.mixtures import Mixture, joined
from icflow.engines.evidence.nearest import norms_of
from icflow.engines.evidence.norms import MOST, Norms
from icflow.engines.evidence.sampling import Integral, integrate
from icflow.files import write_json
from icflow.layout import Layout
from icflow.models.priors import Prior
from icflow.networks.ratio_weights import Hypotheses, inputs_of, load
from icflow.ogip.spectra import SpectrumSet
from icflow.seeds import of_spectrum
from icflow.statistic import Data, channels

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]

ROOT = Path(__file__).resolve().parents[1]
DATASETS = ["test_2T_all", "test_1T+IC_all"]
# Offsets of the energy scale that spectra are tabulated for: up to so many sigmas, so many.
FARTHEST, OFFSETS = 5.0, 13
STARTS, RANKS = 1024, (0, 1, 2, 5, 20, 80)  # points to start from, and which descents do
DRAWS = 4  # of what is sampled at every shape
FEW = 100.0  # points: with fewer, an evidence is uncertain
MOST_DEVIATES = 6.0  # in which descents look for what is wrong
DEEPEST = 8.0  # how far below the highest in ln L others are sampled about


class End(NamedTuple):
    """A likeliest place: ln L there, shapes and all else, curvature, slope and limits."""

    value: float
    place: Floats
    info: Floats
    push: Floats
    low: Floats
    high: Floats


class Records:
    """How an instrument whose energy scale and area are wrong records a class.

    Parameters
    ----------
    population : Population
        Of one module, with an energy scale that may be off.
    """

    def __init__(self, population: Population) -> None:
        self.population, self.inner = population, population.selection
        self.wide = population.engine.selection(population.reached(self.inner.energies))
        self.tables = population.folded(self.wide)
        starts, last = bins_of(self.inner)
        places = np.searchsorted(self.wide.channels, self.inner.channels)
        self.starts, self.stops = places[starts], places[last] + 1
        (folding,), (part,) = population.engine.foldings, self.wide.slices
        self.edges = folding.response.channel_edges[part.start : part.stop + 1]
        gain = folding.systematics.gain
        assert gain is not None
        self.gain = gain.offset / 1000
        self.offsets = np.linspace(-FARTHEST, FARTHEST, OFFSETS) * self.gain
        self.focused = {population.model.position[f"background.{n}"] for n in folding.focused}
        self.area, self.tilt = self._areas(population.area(self.wide).T)

    def _areas(self, nodes: Floats) -> tuple[Floats, Floats]:
        """Return `Seen.area` and `Seen.tilt`, of what nodes (n_nodes, n_channels) add."""
        width, low = self.stops - self.starts, self.edges[:-1]
        ends = [
            self._in_bins(np.array([np.interp(low - d, low, row) for row in nodes])) / width
            for d in (-self.gain, self.gain)
        ]
        return self._in_bins(nodes) / width, (ends[1] - ends[0]) / (2 * self.gain)

    def _in_bins(self, values: Floats) -> Floats:
        total = np.cumsum(np.pad(values, ((0, 0), (1, 0))), axis=1)
        return np.asarray(total[:, self.stops] - total[:, self.starts])

    def _moved(self, rows: Floats) -> Floats:
        """Return rows of channels in bins at every offset, (n_rows, n_offsets, n_bins)."""
        n = np.arange(len(self.edges), dtype=np.float64)
        places = [np.interp(self.edges - d, self.edges, n) for d in self.offsets]
        shifted = np.array([moved(row, place) for row in rows for place in places])
        return self._in_bins(shifted).reshape(len(rows), OFFSETS, -1)

    def seen(self, redshift: float) -> tuple[Shapes, Shapes, Floats]:
        """Return `Seen.optics` and `Seen.rest` at a redshift, and parameters of it."""
        theta = np.append(self.population.model.start, 0.0)
        theta[self.population.redshift] = redshift
        exact, last = self.tables.exact(theta[:-1]), len(theta) - 1
        _, n_tables, n_kT, parts, n = exact.plasma.shape
        plasma = self._moved(exact.plasma.reshape(-1, n))
        plasma = plasma.reshape(n_tables, n_kT, parts, OFFSETS, -1).transpose(3, 0, 1, 2, 4)
        first, spacing = self.offsets[0], self.offsets[1] - self.offsets[0]
        terms, curves = exact.terms.copy(), []
        for term in terms:
            if term[KIND] == PLASMA:
                term[THIRD] = last
                continue
            assert term[KIND] in (ROW, BACKGROUND)
            curves.append([term[TABLE] * OFFSETS, OFFSETS, first, spacing])
            term[KIND], term[TABLE], term[FIRST] = CURVE, len(curves) - 1, last
        rows = self._moved(exact.rows)
        shapes = Shapes(
            terms,
            rows.reshape(-1, rows.shape[2]),
            np.array(curves),
            np.ascontiguousarray(plasma),
            exact.temperatures,
            np.array([first, spacing]),
        )
        background = exact.terms[:, KIND] == BACKGROUND
        through = ~background | np.isin(terms[:, NORM], list(self.focused))
        optics, rest = (shapes._replace(terms=terms[part]) for part in (through, ~through))
        return optics, rest, theta


class Class:
    """One class: evidences of spectra with a known redshift."""

    def __init__(self, population: Population) -> None:
        self.records = Records(population)
        self.priors = {p: q for p, q in population.priors.items() if p != population.redshift}
        terms = self.records.tables.terms
        bounded = [p for p in self.priors if p in norms_of(terms) and self.priors[p].flat][:MOST]
        self.bounded = np.array(bounded)
        self.sampled = np.array([p for p in self.priors if p not in bounded])
        self.scattered = np.array(list(population.scatters))
        self.spreads = np.sqrt(np.log1p(np.array(list(population.scatters.values())) ** 2))
        # All that is wrong, as standard deviates plus 1.
        wrong = len(self.scattered) + 1 + len(self.records.area)
        low, high = limits_of(self.priors, bounded)
        self.norms = Norms(self.bounded, low, high, np.arange(wrong), np.ones(wrong))
        low, high = limits_of(self.priors, list(self.priors))
        box = Box(np.array(list(self.priors)), low, high)
        self.images = orders(exchangeable(terms, box, self.priors), self.sampled.tolist())

    def evidence(self, counts: Integers, redshift: float, random: np.random.Generator) -> Integral:
        """Return the evidence of a spectrum in bins."""
        optics, rest, theta = self.records.seen(redshift)
        seen = Seen(
            optics,
            rest,
            self.records.area,
            self.records.tilt,
            self.sampled,
            self.bounded,
            self.scattered,
            self.spreads,
            self.records.gain,
        )
        data = channels(counts.astype(np.float64))
        ends = self._ends(seen, data, theta)
        best = ends[0].place[len(self.sampled) :].copy()

        def function(points: Floats) -> Floats:
            thetas = np.repeat(theta[None], len(points), axis=0)
            for column, position in enumerate(self.sampled.tolist()):
                thetas[:, position] = self.priors[position].quantile(points[:, column])
            normal = random.standard_normal((len(points), DRAWS, len(best)))
            stretch = np.sqrt(random.chisquare(FREEDOM, (len(points), DRAWS, 1)) / FREEDOM)
            highest, draws = ends[0].value, normal / stretch
            return np.asarray(log_likelihoods(seen, data, self.norms, thetas, best, highest, draws))

        start = joined(*(self._kernels(end, ends[0]) for end in ends))
        return integrate(function, start, random, self.images)

    def _ends(self, seen: Seen, data: Data, theta: Floats) -> list[End]:
        """Return the likeliest places, the highest first."""
        k, free = len(self.sampled), np.concatenate([self.sampled, self.bounded])
        sobol = qmc.Sobol(len(free), seed=1).random(STARTS)
        values = np.column_stack(
            [self.priors[p].quantile(sobol[:, i]) for i, p in enumerate(free.tolist())]
        )
        thetas = np.repeat(theta[None], STARTS, axis=0)
        thetas[:, free] = values
        right = np.ones(len(self.norms.scattered))
        xs = np.column_stack([values[:, k:], np.tile(right, (STARTS, 1))])
        order = np.argsort(-heights(seen, data, thetas, xs))
        bounds = limits_of(self.priors, free.tolist())
        low = np.append(bounds[0], right - MOST_DEVIATES)
        high = np.append(bounds[1], right + MOST_DEVIATES)
        ends = []
        for start in order[list(RANKS)]:
            place = np.append(values[start, :k], xs[start])
            ends.append(End(*descend(seen, data, low, high, theta, place)))
        ends.sort(key=lambda end: -end.value)
        return [end for end in ends if end.value > ends[0].value - DEEPEST]

    def _kernels(self, end: End, best: End) -> Mixture:
        """Return kernels about a place, as of `icflow.engines.evidence.integral`."""
        k, place = len(self.sampled), end.place
        free = np.arange(len(place)) < k + len(self.bounded)
        pairs = [(self.priors[p], v) for p, v in zip(self.sampled.tolist(), place, strict=False)]
        width = np.where(free, end.high - end.low, 1.0)
        width[:k] = [prior.slope(value) for prior, value in pairs]
        at_limit = (place <= end.low) | (place >= end.high)
        precision = end.info * np.outer(width, width)
        precision += np.diag(np.where(free, UNIFORM, 0.0))
        precision += np.diag(np.where(at_limit, end.push * width, 0.0) ** 2)
        covariance, scales = np.linalg.inv(precision)[:k, :k], np.array(SCALES)
        places = np.array([float(prior.probability(value)) for prior, value in pairs])
        return Mixture(
            math.exp(0.5 * (end.value - best.value)) / np.sqrt(scales),
            np.repeat(places[None], len(scales), axis=0),
            scales[:, None, None] * covariance,
        )


def limits_of(priors: Mapping[int, Prior], positions: list[int]) -> tuple[Floats, Floats]:
    """Return the lowest and highest values of parameters."""
    low, high = np.array([priors[p].bounds for p in positions]).T
    return low.copy(), high.copy()


def evidences(classes: list[Class], run: Config, spectra: SpectrumSet) -> list[dict[str, Any]]:
    """Return what is found of each spectrum, in order."""
    inner = classes[0].records.inner
    starts, _ = bins_of(inner)
    rows = []
    for i, index in enumerate(spectra.index.tolist()):
        inside = spectra.counts[i][inner.channels]
        counts = np.add.reduceat(inside, starts, dtype=np.int64)
        redshift = float(spectra.truth["apec.Redshift"][i])
        random = of_spectrum(run.seed, spectra.dataset, index, "ceiling")
        begin = time.process_time()
        thermal, with_ic = (own.evidence(counts, redshift, random) for own in classes)
        rows.append(
            {
                "dataset": spectra.dataset,
                "index": index,
                "log_ratio": with_ic.log - thermal.log,
                "error": math.hypot(thermal.error, with_ic.error),
                "effective": min(thermal.effective, with_ic.effective),
                "seconds": time.process_time() - begin,
            }
        )
    return rows


def compared(exact: Floats, odds: Floats, is_ic: Booleans) -> dict[str, float]:
    """Return how much an estimate of the odds falls short of the exact ones, on the same spectra.

    Expectations are over the classes that spectra may be of, by the exact odds.
    """
    p = probability(exact)
    lost = np.where((odds > 0) == (exact > 0), 0.0, np.abs(2 * p - 1))
    right = [(((z > 0) == is_ic) - 0.5) * 2 for z in (exact, odds)]
    apart = (right[0] - right[1]) / 2
    near = (np.abs(odds) < NEAR) & (np.abs(exact) < NEAR)
    return {
        "accuracy_lost": float(apart.mean()),
        "accuracy_lost_error": standard_error(apart),
        "accuracy_lost_expected": float(lost.mean()),
        "accuracy_lost_expected_error": standard_error(lost),
        "cross_entropy_lost": log_loss(is_ic, probability(odds)) - log_loss(is_ic, p),
        "correlation_near": float(np.corrcoef(odds[near], exact[near])[0, 1]),
    }


def standard_error(values: Floats) -> float:
    """Return that of a mean."""
    return float(values.std(ddof=1) / math.sqrt(len(values)))


def summary(
    rows: list[dict[str, Any]], is_ic: Booleans, odds: Mapping[str, Floats]
) -> dict[str, Any]:
    """Return what exact odds tell, and what estimates of them fall short of."""
    exact = np.array([row["log_ratio"] for row in rows])
    p = probability(exact)
    best = np.maximum(p, 1 - p)
    few = np.array([row["effective"] < FEW for row in rows])
    return {
        "spectra": len(rows),
        "few_points": int(few.sum()),
        "few_points_near": int((few & (np.abs(exact) < NEAR)).sum()),
        "median_effective": float(np.median([row["effective"] for row in rows])),
        "seconds": float(np.mean([row["seconds"] for row in rows])),
        "exact": measured(exact, is_ic)
        | {"accuracy_expected": float(best.mean()), "error": standard_error(best)},
        **{
            name: measured(values, is_ic) | compared(exact, values, is_ic)
            for name, values in odds.items()
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--spectra", type=int, default=100, help="of each class (100)")
    parser.add_argument("--configfile", nargs="+", default=["config/scans/survival.yaml"])
    parser.add_argument("--datasets", nargs=2, default=DATASETS, help="without and with IC")
    parser.add_argument("--name", default="wrong", help="of the ratio to compare with")
    parser.add_argument("--results", type=Path, default=ROOT / "results")
    parser.add_argument("--output", type=Path, default=ROOT / "results" / "ceiling.json")
    options = parser.parse_args()
    os.chdir(ROOT)
    run = config.load("config.yaml", *options.configfile)
    own = settings_of.ratio(run, options.name)
    network = load(Layout(options.results).ratio_weights(options.name), own)
    hypotheses = Hypotheses(own)
    classes = [Class(population) for population in hypotheses.populations]
    sets = [simulated(run, dataset, options.spectra) for dataset in options.datasets]
    rows = [row for spectra, _ in sets for row in evidences(classes, run, spectra)]
    inputs = [inputs_of(hypotheses, *each) for each in sets]
    odds = {
        "learnt": np.concatenate([network.log_odds(given) for given in inputs]),
        "before_learning": np.concatenate([given.rough for given in inputs]),
    }
    report = summary(rows, np.repeat([False, True], options.spectra), odds)
    for name, value in report.items():
        print(f"{name}: {value}")
    for i, row in enumerate(rows):
        row |= {name: float(values[i]) for name, values in odds.items()}
    write_json(options.output, report | {"rows": rows})


if __name__ == "__main__":
    main()
