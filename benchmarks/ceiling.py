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
from numpy.typing import NDArray
from ratio import NEAR, measured, probability, simulated
from scipy.stats import qmc
from sklearn.metrics import log_loss

from icflow import config
from icflow import settings as settings_of
from icflow.compiled import jit
from icflow.config import Config
from icflow.engines.embedded.correction import moved
from icflow.engines.embedded.descent import boxed_step
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
    expected,
    find_cells,
    slots_of,
)
from icflow.engines.embedded.symmetry import exchangeable, orders
from icflow.engines.evidence.integral import SCALES, UNIFORM
from icflow.engines.evidence.mixtures import Mixture, joined
from icflow.engines.evidence.nearest import norms_of
from icflow.engines.evidence.norms import MOST, Norms, expand, log_density, step_in_box
from icflow.engines.evidence.sampling import Integral, integrate
from icflow.files import write_json
from icflow.layout import Layout
from icflow.models.priors import Prior
from icflow.networks.ratio_weights import Hypotheses, inputs_of, load
from icflow.ogip.spectra import SpectrumSet
from icflow.seeds import of_spectrum
from icflow.statistic import Data, channels, metric, statistic

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]

ROOT = Path(__file__).resolve().parents[1]
DATASETS = ["test_2T_all", "test_1T+IC_all"]
# Offsets of the energy scale that spectra are tabulated for: up to so many sigmas, so many.
FARTHEST, OFFSETS = 5.0, 13
STARTS, RANKS = 1024, (0, 1, 2, 5, 20, 80)  # points to start from, and which descents do
STEPS, HALVINGS, ENOUGH = 60, 10, 1e-3
FREEDOM = 20.0  # degrees of freedom of what is sampled at given shapes
DRAWS = 4  # of these at every shape
FEW = 100.0  # points: with fewer, an evidence is uncertain
NOWHERE = -1e9  # ln of the likelihood where no draw lies in the priors
MOST_DEVIATES = 6.0  # in which descents look for what is wrong
DEEPEST = 8.0  # how far below the highest in ln L others are sampled about


class Seen(NamedTuple):
    """Expected counts of one class in bins, by its parameters and by what is wrong.

    Attributes
    ----------
    optics, rest : Shapes
        What comes through the optics, and what does not. All vary with the offset of the energy
        scale, as plasma tables usually do with redshift.
    area, tilt : ndarray, shape (n_nodes, n_bins)
        Logarithm of the factor of the area for a standard deviate of each node, and by how much
        that changes with the offset of the energy scale.
    sampled, bounded, scattered : ndarray of int
        Positions of the shape parameters, of the norms and of the background norms.
    spreads : ndarray
        Of the logarithms of the background norms.
    gain : float
        Standard deviation of the offset, keV; it is the last parameter.
    """

    optics: Shapes
    rest: Shapes
    area: Floats
    tilt: Floats
    sampled: Integers
    bounded: Integers
    scattered: Integers
    spreads: Floats
    gain: float


@jit
def fill(seen: Seen, theta: Floats, x: Floats, model: Floats, rows: Floats) -> None:
    """Compute expected counts and their derivatives by shapes and `x`.

    Parameters
    ----------
    x : ndarray, shape (n_bounded + n_scattered + 1 + n_nodes,)
        Norms, then standard deviates of backgrounds, energy scale and area, each plus 1.
    rows : ndarray, shape (n_sampled + len(x), n_bins)
    """
    k, m, b = len(seen.sampled), len(seen.bounded), len(seen.scattered)
    last, scale, n_bins = len(theta) - 1, k + m + b, len(model)
    here = theta.copy()
    here[seen.bounded] = x[:m]
    for i in range(b):
        spread = seen.spreads[i]
        here[seen.scattered[i]] = math.exp(spread * (x[m + i] - 1.0) - spread**2 / 2)
    here[last] = seen.gain * (x[m + b] - 1.0)
    every = np.concatenate(
        (seen.sampled, seen.bounded, seen.scattered, np.array([last], dtype=np.int64))
    )
    slot, scratch = slots_of(every, len(theta)), np.empty((6, n_bins))
    cells = find_cells(seen.optics, here)
    others, through = np.empty((scale + 1, n_bins)), np.empty(n_bins)
    expected(seen.optics, here, cells, slot, scratch, through, rows[: scale + 1])
    expected(seen.rest, here, cells, slot, scratch, model, others)
    for c in range(n_bins):
        wrong, slope = 0.0, 0.0
        for a in range(len(seen.area)):
            deviate = x[m + b + 1 + a] - 1.0
            wrong += deviate * (seen.area[a, c] + here[last] * seen.tilt[a, c])
            slope += deviate * seen.tilt[a, c]
        factor = math.exp(wrong)
        through[c] *= factor
        for i in range(scale + 1):
            rows[i, c] = factor * rows[i, c] + others[i, c]
        rows[scale, c] += slope * through[c]
        model[c] += through[c]
        for a in range(len(seen.area)):
            rows[scale + 1 + a, c] = through[c] * (seen.area[a, c] + here[last] * seen.tilt[a, c])
    for i in range(b):
        factor = seen.spreads[i] * here[seen.scattered[i]]
        for c in range(n_bins):
            rows[k + m + i, c] *= factor
    for c in range(n_bins):
        rows[scale, c] *= seen.gain


@jit
def climb(
    seen: Seen, data: Data, norms: Norms, theta: Floats, x: Floats, info: Floats, push: Floats
) -> float:
    """Go to the likeliest `x` at given shapes; `x`, `info` and `push` follow."""
    k, n, n_bins = len(seen.sampled), len(x), len(data.counts)
    model, rows = np.empty(n_bins), np.empty((k + n, n_bins))
    fill(seen, theta, x, model, rows)
    value = log_density(data, model, norms, x)
    expand(data, norms, model, rows[k:], x, info, push)
    for _ in range(STEPS):
        step = step_in_box(norms, x, info, push)
        if not push @ step - 0.5 * step @ info @ step > ENOUGH:
            break
        before, part, trial = x.copy(), 1.0, -math.inf
        for _ in range(HALVINGS):
            x[:] = before + part * step
            fill(seen, theta, x, model, rows)
            trial = log_density(data, model, norms, x)
            if trial > value:
                break
            part *= 0.5
        if not trial > value:
            x[:] = before
            fill(seen, theta, x, model, rows)
            break
        value = trial
        expand(data, norms, model, rows[k:], x, info, push)
    return value


@jit
def log_likelihoods(
    seen: Seen, data: Data, norms: Norms, thetas: Floats, start: Floats, deviates: Floats
) -> Floats:
    """Return ln of the likelihood averaged over all but shapes, at many shapes.

    Parameters
    ----------
    deviates : ndarray, shape (n_points, n_draws, len(start))
        Of a t distribution.
    """
    k, n, m, n_bins = len(seen.sampled), len(start), len(norms.bounded), len(data.counts)
    info, push, x = np.empty((n, n)), np.empty(n), start.copy()
    model, rows = np.empty(n_bins), np.empty((k + n, n_bins))
    found = np.empty(len(thetas))
    width = 0.0
    for i in range(m):
        width += math.log(norms.upper[i] - norms.lower[i])
    # Of the Gaussian priors, and of the t distribution.
    priors = 0.5 * (n - m) * math.log(2 * math.pi) + width
    power = 0.5 * (FREEDOM + n)
    constant = math.lgamma(power) - math.lgamma(0.5 * FREEDOM)
    constant -= 0.5 * n * math.log(FREEDOM * math.pi)
    for t in range(len(thetas)):
        x[:] = start
        climb(seen, data, norms, thetas[t], x, info, push)
        # As wide as the priors at most; at a limit the likelihood falls as an exponential.
        precision = info.copy()
        for i in range(m):
            precision[i, i] += 12.0 / (norms.upper[i] - norms.lower[i]) ** 2
            if x[i] <= norms.lower[i] or x[i] >= norms.upper[i]:
                precision[i, i] += push[i] ** 2
        factor = np.linalg.cholesky(np.linalg.inv(precision))
        height = constant
        for i in range(n):
            height -= math.log(factor[i, i])
        total, highest = 0.0, -math.inf
        logs = np.full(deviates.shape[1], -math.inf)
        for d in range(deviates.shape[1]):
            own = x + factor @ deviates[t, d]
            inside = True
            for i in range(m):
                inside = inside and norms.lower[i] <= own[i] <= norms.upper[i]
            if not inside:
                continue
            fill(seen, thetas[t], own, model, rows)
            square = deviates[t, d] @ deviates[t, d]
            density = height - power * math.log1p(square / FREEDOM)
            logs[d] = log_density(data, model, norms, own) - priors - density
            highest = max(highest, logs[d])
        for d in range(len(logs)):
            total += math.exp(logs[d] - highest) if logs[d] > -math.inf else 0.0
        found[t] = highest + math.log(total / len(logs)) if total > 0 else NOWHERE
    return found


@jit
def descend(
    seen: Seen, data: Data, low: Floats, high: Floats, theta: Floats, y: Floats
) -> tuple[float, Floats, Floats, Floats, Floats, Floats]:
    """Climb from shapes and all else, `y`, to the likeliest beside it.

    Returns
    -------
    tuple
        What an `End` holds; likelihoods and curvatures with the Gaussian priors.
    """
    k, n, n_bins = len(seen.sampled), len(y), len(data.counts)
    free = k + len(seen.bounded)
    model, rows = np.empty(n_bins), np.empty((n, n_bins))
    info, push, step = np.empty((n, n)), np.empty(n), np.zeros(n)
    damping, value, trial = 1e-3, -math.inf, y.copy()
    for _ in range(2 * STEPS):
        here = theta.copy()
        here[seen.sampled] = trial[:k]
        fill(seen, here, trial[k:].copy(), model, rows)
        now = -0.5 * statistic(data, model) - 0.5 * np.sum((trial[free:] - 1.0) ** 2)
        if now > value:
            rise = now - value
            y[:], value = trial, now
            damping = max(0.1 * damping, 1e-9)
            metric(data, model, rows, 0.0, info, push)
            for i in range(free, n):
                info[i, i] += 1.0
                push[i] -= y[i] - 1.0
            if rise < ENOUGH:
                break
        else:
            damping *= 8.0
            if damping > 1e6:
                break
        held = ((y <= low) & (push < 0)) | ((y >= high) & (push > 0))
        if not boxed_step(info, push, damping, held, y, low, high, step):
            damping *= 10.0
            trial[:] = y
            continue
        trial[:] = np.minimum(np.maximum(y + step, low), high)
    return value, y, info, push, low, high


@jit
def heights(seen: Seen, data: Data, thetas: Floats, xs: Floats) -> Floats:
    """Return ln of the likelihoods at many points."""
    n_bins = len(data.counts)
    model = np.empty(n_bins)
    rows = np.empty((len(seen.sampled) + xs.shape[1], n_bins))
    found = np.empty(len(thetas))
    for i in range(len(thetas)):
        fill(seen, thetas[i], xs[i], model, rows)
        found[i] = -0.5 * statistic(data, model)
    return found


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
            return np.asarray(
                log_likelihoods(seen, data, self.norms, thetas, best, normal / stretch)
            )

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
