"""Speed and accuracy of the embedded engine, one row per target.

    python benchmarks/engine.py                  # every row, full size
    python benchmarks/engine.py --row xspec      # one row
    python benchmarks/engine.py --scale 0.1      # a tenth of the spectra

Every row with a target is added to results/benchmarks.json as it completes. A row that used
fewer spectra than its target says gives times scaled up to the full number.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

# One thread a process: read by the linear algebra libraries when numpy loads them.
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", TQDM_DISABLE="1")

import limits
import numpy as np
import rows
from limits import Work
from numpy.typing import NDArray
from scipy.optimize import nnls
from yardstick import call_of_apec, xspec_calls

from icflow import config
from icflow import settings as settings_of
from icflow.config import Free
from icflow.config.fits import Errors
from icflow.engines.base import BACKGROUND, FitResult
from icflow.engines.embedded import staircase
from icflow.engines.embedded.descent import Minimum
from icflow.engines.embedded.engine import EmbeddedEngine, Task
from icflow.engines.embedded.fitting import Fitter, Outcome, by_cstat, separate
from icflow.engines.embedded.redshift import RedshiftFitter
from icflow.engines.embedded.shapes import NORM, Box, Shapes, model_counts, sources
from icflow.engines.embedded.tables import View, build_tables
from icflow.files import write_json
from icflow.models.expression import parse
from icflow.models.priors import Uniform
from icflow.models.scenario import complete, draw
from icflow.models.systematics import Deviates, as_known
from icflow.observation.fitting import limits_of
from icflow.ogip.spectra import read_spectra
from icflow.provenance import code_digest
from icflow.seeds import of_spectrum, poisson
from icflow.settings import FitSettings
from icflow.stages import simulate
from icflow.statistic import Data

Floats = NDArray[np.float64]

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT / "tests/data/xspec_reference"
# What a fit from one start may take, in calls of `apec`.
FIT_CALLS = {"2T_fixed": 0.5, "1T+IC_fixed": 0.5, "2T_free": 3.0, "1T+IC_free": 3.0}
FITS = tuple(FIT_CALLS)
DATASETS = {"2T": "test_2T", "1T+IC": "test_1T+IC"}
SHARD = 1000  # spectra in a file, at most
PARTS = 25  # of a row that goes on where it was interrupted
STARTS = 200  # of the exhaustive search, at least
ONE_SIGMA = 68.27  # per cent


# --- in the processes that work ------------------------------------------------------


@functools.cache
def fit_settings(name: str) -> FitSettings:
    run = config.load(ROOT / "config.yaml")
    return settings_of.label(run) if name == "label" else settings_of.baseline(run, name)


@functools.cache
def engine_of(kind: type[EmbeddedEngine] = EmbeddedEngine) -> EmbeddedEngine:
    label = fit_settings("label")
    return kind(label.modules, label.atomic_data)


_shared: dict[str, Any] = {}


def keep(barrier: Any) -> None:
    """Keep what all processes of a pool share."""
    _shared["barrier"] = barrier


def get_ready(_: int) -> None:
    """Make the tables and load the compiled functions, so that no row pays for them.

    A process waits for the others: each does this once.
    """
    engine = engine_of()
    counts = reference_counts()[:1]
    truth = {name: np.array([0.05]) for name in ("apec.Abundanc", "apec.Redshift")}
    for name in ("label", *FITS):
        settings = fit_settings(name)
        list(engine.fit(settings.model, settings, counts, truth, settings.at_truth))
    _shared["barrier"].wait()


def reference_counts() -> NDArray[np.int32]:
    counts: NDArray[np.int32] = np.load(REFERENCE / "spectra.npz")["counts"]
    return counts


def reference_fits() -> list[dict[str, Any]]:
    content: list[dict[str, Any]] = json.loads((REFERENCE / "fits.json").read_text())
    return content


def make_shard(dataset: str, first: int, count: int, path: Path) -> float:
    """Simulate spectra and write them; return the CPU seconds."""
    start = time.process_time()
    simulate.run(
        settings_of.simulate(config.load(ROOT / "config.yaml"), dataset), first, count, path
    )
    return time.process_time() - start


@functools.cache
def engine_with(systematics: bool) -> EmbeddedEngine:
    """Return the engine of the default run, with the default set of what is wrong or nothing."""
    above = [ROOT / "config/systematics.yaml"] * systematics
    run = config.load(ROOT / "config.yaml", *above)
    return EmbeddedEngine(run.modules, run.atomic_data)


def time_fakes(dataset: str, first: int, count: int) -> tuple[float, float]:
    """Return the CPU seconds that spectra take in memory, without and with systematics."""
    drawn = settings_of.simulate(config.load(ROOT / "config.yaml"), dataset)
    model, seconds = drawn.model, [0.0, 0.0]
    # What all spectra share is made for the first, and the two take turns.
    for number, counted in ((1, 0.0), (count, 0.5), (count, 0.5)):
        for wrong in (False, True):
            start, indices = time.process_time(), range(first, first + number)
            engine_with(wrong).fake(
                model.expression, model.parameters, drawn.seed, dataset, indices
            )
            seconds[wrong] += counted * (time.process_time() - start)
    return seconds[0], seconds[1]


def drawn_by(
    engine: EmbeddedEngine, dataset: str, first: int, count: int
) -> tuple[NDArray[np.int32], dict[str, Floats]]:
    """Return the counts of some spectra of a dataset of the default run, and their truth."""
    drawn = settings_of.simulate(config.load(ROOT / "config.yaml"), dataset)
    indices = range(first, first + count)
    return engine.fake(drawn.model.expression, drawn.model.parameters, drawn.seed, dataset, indices)


def time_integrals(name: str, dataset: str, first: int, count: int) -> tuple[float, int]:
    """Return the CPU seconds of an integral over the priors of some spectra, and their points."""
    settings = settings_of.integrate(config.load(ROOT / "config.yaml"), name)
    indices, engine = range(first, first + count), engine_of()
    counts, truth = drawn_by(engine, dataset, first, count)
    known = as_known(truth, settings.at_truth)
    seconds, points = 0.0, 0
    # What all spectra share is made for the first.
    for number in (1, count):
        randoms = (
            of_spectrum(settings.seed, dataset, i, f"integral/{name}") for i in indices[:number]
        )
        start = time.process_time()
        found = list(
            engine.integrate(
                settings.scenario,
                settings.energies,
                counts,
                known,
                settings.at_truth,
                randoms,
            )
        )
        seconds, points = time.process_time() - start, sum(one.evaluations for one in found)
    return seconds, points


def draws_alone(number: int) -> float:
    """Return the CPU seconds that the Poisson draws of some spectra take."""
    expected = np.maximum(reference_counts()[0].astype(np.float64), 0.1)
    start = time.process_time()
    for index in range(number):
        poisson(of_spectrum(1, "draws", index, "counts"), expected)
    return time.process_time() - start


def fit_shard(name: str, path: Path, changes: Mapping[str, Any] | None = None) -> list[FitResult]:
    shard, settings = read_spectra(path), fit_settings(name).model_copy(update=changes)
    return list(
        engine_of().fit(settings.model, settings, shard.counts, shard.truth, settings.at_truth)
    )


def work_of_fit(name: str) -> Work:
    """Return what one look at the minimum of a fit takes."""
    return limits.fit(task_of(name))


def work_of_integral(name: str, points: float) -> Work:
    """Return what the likelihoods of an evidence take."""
    return limits.likelihoods(task_of(name), points)


def task_of(name: str) -> Task:
    settings = fit_settings(name)
    return engine_of().task(settings.model, settings, settings.at_truth)


def fit_in_box(
    name: str, errors: str, first: int, count: int
) -> tuple[list[FitResult], dict[str, Floats]]:
    """Fit spectra whose background norms are drawn from the limits of the fit; return the truth."""
    settings, engine = fit_settings(name), engine_of()
    settings = settings.model_copy(update={"errors": errors})
    dataset = DATASETS[name.partition("_")[0]]
    simulated = settings_of.simulate(config.load(ROOT / "config.yaml"), dataset)
    model, key = simulated.model, f"box/{dataset}"
    limits = engine.background_limits(settings.background_range)
    box = {n: Uniform(uniform=list(ends)) for n, ends in limits.items()}
    given = complete(parse(model.expression), model.parameters, "parameters")
    indices = range(first, first + count)
    drawn = [draw(given | box, simulated.seed, key, i) for i in indices]
    deviates = [Deviates(simulated.seed, key, i) for i in indices]
    counts = [
        poisson(of_spectrum(simulated.seed, key, i, "counts"), expected)
        for i, expected in zip(
            indices, engine.observed(model.expression, given, drawn, deviates), strict=True
        )
    ]
    truth = {parameter: np.array([values[parameter] for values in drawn]) for parameter in drawn[0]}
    fits = engine.fit(settings.model, settings, np.array(counts), truth, settings.at_truth)
    return list(fits), truth


def fit_reference(
    name: str, changes: Mapping[str, Any], n: int
) -> tuple[list[FitResult], list[float]]:
    """Fit reference spectra; return the fits and the CPU seconds that each took."""
    settings = fit_settings(name).model_copy(update=changes)
    # The first spectrum twice: the first fit waits for the tables to be read.
    counts = reference_counts()[:n][[0, *range(n)]]
    z = np.array([fit["z"] for fit in reference_fits()[:n]])[[0, *range(n)]]
    results, seconds = [], [time.process_time()]
    for result in engine_of().fit(
        settings.model, settings, counts, {"apec.Redshift": z}, settings.at_truth
    ):
        results.append(result)
        seconds.append(time.process_time())
    return results[1:], list(np.diff(seconds)[1:])


def memory_of_shard(dataset: str, first: int, count: int) -> tuple[float, float]:
    """Simulate spectra and fit both models, z known; return peak memory, MiB, and CPU seconds."""
    reset_peak_memory()
    start = time.process_time()
    engine = engine_of()
    counts, truth = drawn_by(engine, dataset, first, count)
    for name in ("2T_fixed", "1T+IC_fixed"):
        settings = fit_settings(name)
        for _ in engine.fit(settings.model, settings, counts, truth, settings.at_truth):
            pass
    return peak_memory(), time.process_time() - start


def reset_peak_memory() -> None:
    # Where that is not allowed, the peak is that since the process started: higher, never lower.
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory() -> float:
    """Return the peak resident memory of this process, MiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    raise OSError("/proc/self/status has no VmHWM: this row needs Linux")


def worst_count(scenario: str, first: int, count: int) -> float:
    """Return the largest relative difference between tables and direct evaluation.

    Parameters are drawn from the whole prior range; every channel that holds
    more than 1e-7 of the peak counts, background left out.
    """
    engine, model = engine_of(), config.load(ROOT / "config.yaml").scenarios[scenario]
    settings = fit_settings(f"{scenario}_free")
    plan = engine.plan(settings.model, settings, ())
    rmf = engine.foldings[0].response.rmf
    selection = engine.selection([0.0, 2 * float(rmf.e_max.max())])
    tables = build_tables(plan, engine.foldings, selection, engine.atomic_data)
    priors = complete(plan.expression, model.parameters, "parameters")
    worst = 0.0
    for index in range(first, first + count):
        values = draw(priors, 1, "expected_counts", index)
        theta = np.array([values.get(name, 0.0) for name in plan.names])
        found = model_counts(tables.exact(theta), theta)
        direct = sum(engine.components_of(model.expression, values).values(), np.zeros(1))
        held = direct > 1e-7 * direct.max()
        worst = max(worst, float(np.abs(found[held] / direct[held] - 1).max()))
    return worst


# --- the exhaustive search -------------------------------------------------------------


class Exhaustive(Fitter):
    """A fit from many random starts.

    They have nothing to do with the lattice that the engine takes its own from.
    """

    def _search(self, data: Data, channels: Data, theta: Floats) -> Outcome:
        exact = self.tables.exact(theta)
        best, minima = self._lowest(
            exact, data, channels.counts, theta, self.box, generator(channels.counts)
        )
        return Outcome(best, len(minima), 1, exact)

    def _lowest(
        self,
        shapes: Shapes,
        data: Data,
        counts: Floats,
        theta: Floats,
        box: Box,
        random: np.random.Generator,
    ) -> tuple[Minimum, list[Minimum]]:
        starts = [
            self._random_start(shapes, counts, theta, box, random)
            for _ in range(self.control.starts)
        ]
        minima = self._descend(shapes, data, box, starts)
        return min(minima, key=by_cstat), minima

    def _random_start(
        self,
        shapes: Shapes,
        counts: Floats,
        theta: Floats,
        box: Box,
        random: np.random.Generator,
    ) -> Floats:
        start = theta.copy()
        norms = sources(self.tables.terms)[:, NORM].tolist()
        for p, low, high in zip(box.free, box.lower, box.upper, strict=True):
            name = self.model.names[p]
            if name.endswith(".kT"):
                start[p] = np.exp(random.uniform(np.log(low), np.log(high)))
            elif name.endswith(".Abundanc"):
                start[p] = np.exp(random.uniform(np.log(0.05), np.log(2.0)))
            else:
                start[p] = random.uniform(low, high)
        # The best norms at this shape: random ones would waste most starts.
        rows = []
        for norm in norms:
            alone = start.copy()
            alone[self.tables.terms[:, NORM]] = 0.0
            alone[norm] = 1.0
            rows.append(model_counts(shapes, alone))
        without = start.copy()
        without[norms] = 0.0
        weight = 1 / np.sqrt(np.maximum(counts, 1.0))
        rest = counts - model_counts(shapes, without)
        start[norms] = nnls((np.array(rows) * weight).T, rest * weight)[0]
        return start


class ExhaustiveRedshift(Exhaustive, RedshiftFitter):
    """The same with a free redshift, part of every random start.

    Then every hop within REACH of the lowest minima is tried.
    """

    REACH, RIVAL, RIVALS, STEPS, AGAIN = 0.004, 10.0, 3, 40, 40

    def _search(self, data: Data, channels: Data, theta: Floats) -> Outcome:
        random = generator(channels.counts)
        coarse = self.tables.in_coarse_bins.data(channels)
        _, rough = self._lowest(self.smooth, coarse, coarse.counts, theta, self.box, random)
        best = min(
            (
                self._whole_staircase(data, minimum)
                for minimum in separate(rough, self.RIVAL)[: self.RIVALS]
            ),
            key=by_cstat,
        )
        exact = self.tables.exact(best.theta)
        control = self.control
        self.control = control.model_copy(update={"starts": min(self.AGAIN, control.starts)})
        again, _ = self._lowest(exact, data, channels.counts, best.theta, self.others, random)
        self.control = control
        return Outcome(min(best, again, key=by_cstat), len(rough), 1, exact)

    def _whole_staircase(self, data: Data, minimum: Minimum) -> Minimum:
        (position,) = self.redshifts
        z = minimum.theta[position]
        low = max(self.model.lower[position], z - self.REACH)
        high = min(self.model.upper[position], z + self.REACH)
        shapes = self.tables.exact(minimum.theta)
        view = View(self.tables, data)
        problem = staircase.Problem(view, shapes, self.others)
        found = staircase.survey(problem, minimum.theta, position, (low, high), 10**6)
        best = found.middle[np.argsort(found.cstat, kind="stable")[: self.STEPS]]
        ends = [self._on_step(view, minimum.theta, position, z) for z in best]
        return min(ends, key=by_cstat)


def generator(counts: Floats) -> np.random.Generator:
    """Return random numbers that depend on the spectrum alone."""
    return np.random.default_rng([int(counts.sum()), len(counts)])


class ExhaustiveEngine(EmbeddedEngine):
    """The engine with the exhaustive search in place of its own."""

    fitters = Exhaustive, ExhaustiveRedshift


def search(name: str, starts: int, path: Path) -> list[tuple[float, float]]:
    """Return C from the default starts and from the exhaustive search."""
    shard, settings = read_spectra(path), fit_settings(name)
    many = settings.model_copy(update={"starts": starts})
    thorough = engine_of(ExhaustiveEngine).fit(
        settings.model, many, shard.counts, shard.truth, settings.at_truth
    )
    pairs = zip(fit_shard(name, path), thorough, strict=True)
    return [(quick.cstat, long.cstat) for quick, long in pairs]


def search_widely(name: str, starts: int, rows: Sequence[int]) -> list[tuple[float, float]]:
    """Do the same for reference spectra with the limits that `icflow fit` has by default."""
    settings, counts = fit_settings(name), reference_counts()[rows]
    model, declared = settings.model, parse(settings.model.expression).parameters
    wide = {
        parameter: Free(
            free=list(limits_of(parameter, declared[parameter], None, settings.energies))
        )
        for parameter, setting in model.parameters.items()
        if isinstance(setting, Free)
    }
    model = model.model_copy(update={"parameters": {**model.parameters, **wide}})
    truth = {"apec.Redshift": np.array([fit["z"] for fit in reference_fits()])[rows]}
    many = settings.model_copy(update={"starts": starts})
    quick = engine_of().fit(model, settings, counts, truth, settings.at_truth)
    long = engine_of(ExhaustiveEngine).fit(model, many, counts, truth, settings.at_truth)
    return [(one.cstat, other.cstat) for one, other in zip(quick, long, strict=True)]


# --- rows --------------------------------------------------------------------------------


@dataclass
class Bench:
    """What the rows share: a pool of processes, a folder of spectra, the output.

    Attributes
    ----------
    scale : float
        Fraction of the full number of spectra.
    most : int
        Spectra of the largest set that is simulated and fitted.
    """

    pool: ProcessPoolExecutor
    workers: int
    folder: Path
    output: Path
    scale: float
    most: int

    def size(self, full: int) -> int:
        return max(2, round(full * self.scale))

    def run(self, task: Callable[..., Any], arguments: Iterable[Sequence[Any]]) -> list[Any]:
        """Run a task once for each tuple of arguments, in all processes."""
        futures = [self.pool.submit(task, *each) for each in arguments]
        return [future.result() for future in futures]

    def kept(
        self, key: str, task: Callable[..., Any], arguments: Iterable[Sequence[Any]]
    ) -> list[Any]:
        """Return what `run` returned under a key, also before an interruption, or run it."""
        code = code_digest(["icflow.engines.embedded.engine"])
        kept = json.loads(self._parts.read_text()) if self._parts.exists() else {}
        if kept.get("code") != code:
            kept = {"code": code}
        if key not in kept:
            kept[key] = self.run(task, arguments)
            write_json(self._parts, kept)
        return list(kept[key])

    def forget(self) -> None:
        """Delete what is kept."""
        self._parts.unlink(missing_ok=True)

    @property
    def _parts(self) -> Path:
        return self.output.with_suffix(".parts.json")

    def blocks(self, n: int, most: int = SHARD) -> list[tuple[int, int]]:
        """Cut n spectra into (first, count), a block or more for every process."""
        block = min(most, -(-n // self.workers))
        return [(first, min(block, n - first)) for first in range(0, n, block)]

    def shards(self, dataset: str, n: int, most: int = SHARD) -> list[Path]:
        """Return files with the first n spectra of a dataset, simulated if they are not there."""
        blocks = self.blocks(n, most)
        paths = [self.folder / f"{dataset}-{first}+{count}.pha" for first, count in blocks]
        missing = [
            (dataset, first, count, path)
            for (first, count), path in zip(blocks, paths, strict=True)
            if not path.exists()
        ]
        self.run(make_shard, missing)
        return paths

    def save(self, row: str, value: float, unit: str, target: float, **more: Any) -> None:
        """Add a row to the output and print it; see `rows.save`."""
        rows.save(self.output, row, value, unit, target, scale=self.scale, **more)


def table(headings: Sequence[str], lines: Iterable[Sequence[object]]) -> None:
    rows = [[f"{x:.4f}" if isinstance(x, float) else str(x) for x in line] for line in lines]
    widths = [max(map(len, column)) + 2 for column in zip(headings, *rows, strict=True)]
    for row in (headings, *rows):
        print("".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True)))


def n_reference(bench: Bench) -> int:
    return 14 if bench.scale >= 0.01 else 2


def one_start(bench: Bench) -> None:
    """Time complete fits (grouping, lattice, one start, errors) one by one, in one process."""
    n = n_reference(bench)
    (call,) = bench.run(call_of_apec, [()])
    print(f"one call of apec: {call * 1e3:.2f} ms of CPU time")
    for name, target in FIT_CALLS.items():
        ((_, one),) = bench.run(fit_reference, [(name, {"starts": 1}, n)])
        ((_, default),) = bench.run(fit_reference, [(name, {}, n)])
        fit, all_starts = float(np.median(one)), float(np.median(default))
        times = xspec_calls(name) * call / fit
        (work,) = bench.run(work_of_fit, [(name,)])
        bench.save(
            f"fit_{name}",
            fit / call,
            "calls of apec",
            target,
            limit=work.limit(fit),
            note=f"{times:,.0f} × XSPEC; {fit * 1e3:.2f} ms, all starts {all_starts * 1e3:.2f} ms",
            times_xspec=times,
            ms={"one start": fit * 1e3, "default starts": all_starts * 1e3, "apec": call * 1e3},
        )


def errors(bench: Bench) -> None:
    """Print what a fit from all starts takes with each kind of errors."""
    n, lines = n_reference(bench), []
    for name in FITS:
        times = []
        for kind in get_args(Errors):
            ((_, seconds),) = bench.run(fit_reference, [(name, {"errors": kind}, n)])
            times.append(f"{1e3 * np.mean(seconds):.1f} ms")
        lines.append((name, *times))
    table(("fit", *get_args(Errors)), lines)


def xspec(bench: Bench) -> None:
    """Compare the lowest C with that of XSPEC and that of the true parameters."""
    n, fits = n_reference(bench), reference_fits()
    found = bench.run(fit_reference, [(name, {}, n) for name in FITS])
    lines, above_truth = [], []
    for name, (results, _) in zip(FITS, found, strict=True):
        for fit, result in zip(fits, results, strict=False):
            difference = result.cstat - fit[name]["cstat"]
            winner = "both" if abs(difference) < 0.01 else "icflow" if difference < 0 else "XSPEC"
            lines.append(
                (
                    fit["index"],
                    fit["kind"],
                    name,
                    fit[name]["cstat"],
                    result.cstat,
                    difference,
                    winner,
                )
            )
            if name.startswith(fit["kind"]):
                above_truth.append(result.cstat - fit["cstat_truth"])
    headings = ("spectrum", "simulated", "fit", "C XSPEC", "C icflow", "difference", "lower")
    table(headings, lines)
    wins = {who: sum(line[-1] == who for line in lines) for who in ("icflow", "XSPEC", "both")}
    bench.save(
        "cstat_above_xspec",
        max(line[5] for line in lines),
        "largest difference in C",
        0.01,
        note=f"lower C: {wins}",
        fits=[dict(zip(headings, line, strict=True)) for line in lines],
    )
    bench.save(
        "cstat_above_truth",
        max(above_truth),
        "largest difference in C",
        0.0,
        note="fits of the true model",
    )


def minimum(bench: Bench) -> None:
    """Compare the default starts with an exhaustive search."""
    n = bench.size(100)  # of each scenario
    starts = max(round(STARTS * min(1.0, 10 * bench.scale)), 4)
    for kind in ("fixed", "free"):
        excess, details = [], {}
        for name in (f"2T_{kind}", f"1T+IC_{kind}"):
            paths = [p for d in DATASETS.values() for p in bench.shards(d, n, max(n // 8, 1))]
            pairs = [p for ps in bench.run(search, [(name, starts, x) for x in paths]) for p in ps]
            above = np.array([quick - long for quick, long in pairs])
            details[name] = {
                "same": float(np.mean(np.abs(above) < 0.01)),
                "exhaustive lower": int(np.sum(above >= 0.01)),
                "default lower": int(np.sum(above <= -0.01)),
                "largest excess": float(above.max()),
            }
            excess.append(above)
        joined = np.concatenate(excess)
        table(("fit", *details[name]), [(name, *x.values()) for name, x in details.items()])
        bench.save(
            f"minimum_{kind}",
            float(np.mean(joined < 0.01)),
            "fraction within 0.01",
            0.995,
            at_least=True,
            note=f"{2 * n} spectra, both models, {starts} starts",
            spectra=2 * n,
            starts=starts,
            fits=details,
        )


def default_limits(bench: Bench) -> None:
    """Do the same with the limits that `icflow fit` has by default, on reference spectra."""
    n, starts = n_reference(bench), max(round(STARTS * min(1.0, 10 * bench.scale)), 4)
    rows = [list(range(i, n, bench.workers)) for i in range(bench.workers)]
    tasks = [(name, starts, part) for name in ("2T_fixed", "1T+IC_fixed") for part in rows]
    pairs = [pair for part in bench.run(search_widely, tasks) for pair in part]
    above = np.array([quick - long for quick, long in pairs])
    bench.save(
        "minimum_default_limits",
        float(above.max()),
        "largest excess in C",
        0.01,
        note=f"{len(pairs)} fits, {int(np.sum(above <= -0.01))} lower than with {starts} starts",
        starts=starts,
    )


def labels(bench: Bench) -> None:
    """Time the fits behind the labels."""
    n = bench.size(10_000)
    paths = bench.shards("train_2T", n)
    _timed(bench, "labels", [("label", path) for path in paths], n, 10_000, 20.0)


def baseline(bench: Bench) -> None:
    """Time both models, z fixed and free, on both test datasets."""
    n = bench.size(1000)
    tasks = [
        (name, path)
        for dataset in DATASETS.values()
        for path in bench.shards(dataset, n, 500)
        for name in FITS
    ]
    _timed(bench, "baseline", tasks, 2 * n, 2000, 25.0)


def _timed(
    bench: Bench, row: str, tasks: list[tuple[str, Path]], n: int, full: int, target: float
) -> None:
    start = time.perf_counter()
    results = [r for part in bench.run(fit_shard, tasks) for r in part]
    seconds = time.perf_counter() - start
    works = bench.run(work_of_fit, [(name,) for name in dict.fromkeys(name for name, _ in tasks)])
    each = Work(*(sum(part) for part in zip(*works, strict=True)))
    bench.save(
        row,
        seconds * full / n,
        f"s on {bench.workers} cores",
        target,
        limit=each.limit(seconds * full / n * bench.workers, full),
        note=_scaled(n, full, seconds),
        spectra=n,
        unconverged=sum(not result.converged for result in results),
    )


def _scaled(n: int, full: int, seconds: float) -> str:
    return "" if n == full else f"scaled up from {n} spectra in {seconds:.2f} s"


def simulation(bench: Bench) -> None:
    """Time spectra from the draw to a type II file, the engine's start included."""
    n_train, n_test = bench.size(12_000), bench.size(1000)
    n = n_train + 2 * n_test
    counts = {"train_2T": n_train, **dict.fromkeys(DATASETS.values(), n_test)}
    with tempfile.TemporaryDirectory(dir=bench.folder) as folder:
        tasks = [
            (dataset, first, count, Path(folder) / f"{dataset}-{first}.pha")
            for dataset, total in counts.items()
            for first, count in bench.blocks(total)
        ]
        seconds = sum(bench.run(make_shard, tasks)) / bench.workers
    (draws,) = bench.run(draws_alone, [(100,)])
    bench.save(
        "simulation",
        seconds * 14_000 / n,
        f"CPU s on each of {bench.workers}",
        8.0,
        note=_scaled(n, 14_000, seconds),
        limit=f"{draws * 140 / bench.workers:.1f} s for the Poisson draws",
        spectra=n,
    )


def systematics(bench: Bench) -> None:
    """Time spectra of which everything is wrong that `config/systematics.yaml` says."""
    n = bench.size(1000)
    tasks = [(dataset, *block) for dataset in DATASETS.values() for block in bench.blocks(n)]
    right, wrong = np.sum(bench.run(time_fakes, tasks), axis=0)
    bench.save(
        "systematics",
        wrong / right,
        "CPU time with against without",
        2.0,
        note=f"spectra per CPU s: {2 * n / right:.0f} without, {2 * n / wrong:.0f} with",
        spectra=2 * n,
    )


def integrals(bench: Bench) -> None:
    """Time evidences: the likelihood averaged over the priors of both scenarios."""
    n, each, notes, least = bench.size(200), [], [], []
    for name in ("2T_fixed", "1T+IC_fixed"):
        blocks = [(name, dataset, *b) for dataset in DATASETS.values() for b in bench.blocks(n)]
        seconds, points = np.sum(bench.run(time_integrals, blocks), axis=0)
        each.append(1000 * seconds / (2 * n))
        notes.append(f"{name}: {each[-1]:.1f} ms, {points / (2 * n):,.0f} points")
        least += bench.run(work_of_integral, [(name, points / (2 * n))])
    mean = float(np.mean(each))
    bench.save(
        "integrals",
        mean,
        "CPU ms",
        10.0,
        limit=Work(*np.mean(least, axis=0)).limit(1e-3 * mean),
        note="; ".join(notes),
        spectra=2 * n,
    )


def memory(bench: Bench) -> None:
    """Simulate and fit ever more spectra, shard by shard, as the workflow does.

    The first shards are made again after each part: CPU time depends on what else a machine does,
    and that of the same spectra says how much. A part that was measured is kept until all are.
    """
    powers = range(3, max(4, len(str(bench.most)) - 1) + 1)
    sizes = [bench.size(10**power) for power in powers]
    shards = bench.blocks(sizes[-1] // 2, max(1, sizes[0] // 2))
    tasks = [(dataset, *shard) for shard in shards for dataset in DATASETS.values()]
    found, again = [], []
    for number, part in enumerate(np.array_split(np.arange(len(tasks)), min(PARTS, len(tasks)))):
        chosen = [tasks[i] for i in part] + tasks[: len(DATASETS)]
        *own, first, second = bench.kept(f"memory {sizes[-1]} {number}", memory_of_shard, chosen)
        found += own
        again.append(first[1] + second[1])
        print(f"{sum(task[2] for task in tasks[: len(found)])} of {sizes[-1]} spectra", flush=True)
    lines = {}
    for n in sizes:
        inside = [each for each, task in zip(found, tasks, strict=True) if task[1] < n // 2]
        seconds, peak = sum(cpu for _, cpu in inside), max(peak for peak, _ in inside)
        lines[n] = {"CPU seconds": seconds, "MiB": peak * bench.workers}
    table(("spectra", "CPU seconds", "MiB"), [(n, *line.values()) for n, line in lines.items()])
    last = sizes[-1]
    counts = shards[0][1] * reference_counts()[0].nbytes
    bench.save(
        "memory",
        lines[last]["MiB"],
        f"MiB, {bench.workers} processes",
        2048.0,
        limit=f"{bench.workers * counts / 2**20:.0f} MiB for the counts of a shard",
        sizes={str(n): line for n, line in lines.items()},
        note=f"{last} spectra, shared tables counted {bench.workers} times",
    )
    each, first_each = lines[last]["CPU seconds"] / last, np.mean(again) / (2 * shards[0][1])
    bench.save(
        "linearity",
        each / float(first_each),
        "time per spectrum",
        1.05,
        note=f"{last} spectra against {2 * shards[0][1]}, in the same hours; "
        f"a million on 32 cores: {1e6 * each / 32 / 60:.1f} min",
    )
    bench.forget()


def expected_counts(bench: Bench) -> None:
    """Compare folded tables with direct evaluation over the whole prior range."""
    n = bench.size(200)
    tasks = [(scenario, *block) for scenario in DATASETS for block in bench.blocks(n)]
    worst = max(bench.run(worst_count, tasks))
    bench.save(
        "expected_counts",
        worst,
        "largest relative",
        1e-5,
        note=f"{n} draws of each model, all channels",
    )


def coverage(bench: Bench) -> None:
    """Count how often 68 % intervals hold the truth, for fits of the true model."""
    n = bench.size(2000)
    profile = {"errors": "profile"}
    known = _coverage(bench, n, FITS, {**profile, "background_range": 0.0})
    free = _coverage(bench, n, ("2T_fixed", "1T+IC_fixed"), profile)
    for row, lines, column, note in (
        ("coverage", known, "interval %", "profiles, backgrounds known"),
        ("coverage_free", free, "interval %", "profiles, backgrounds free"),
        ("coverage_hessian", free, "hessian %", "curvature, backgrounds free"),
    ):
        source = [line for line in lines if not line["parameter"].startswith(BACKGROUND)]
        bench.save(
            row,
            max(abs(line[column] - ONE_SIGMA) for line in source),
            "largest |coverage − 68.3|, %",
            3.0,
            note=f"{note}; {n} fits per model, source parameters",
            spectra=n,
            parameters=lines,
        )


def coverage_box(bench: Bench) -> None:
    """Count the same where the background norms are anywhere in what the fits let them take."""
    _coverage_box(bench, "coverage_box", "profile", "profiles")


def coverage_marginal(bench: Bench) -> None:
    """Count the same of intervals that are averaged over them."""
    _coverage_box(bench, "coverage_marginal", "marginal", "averages")


def _coverage_box(bench: Bench, row: str, errors: str, note: str) -> None:
    n, name = bench.size(2000), "1T+IC_fixed"
    blocks = [(name, errors, *block) for block in bench.blocks(n, max(n // 8, 1))]
    parts = bench.run(fit_in_box, blocks)
    truth = _joined([truth for _, truth in parts])
    lines = _covered(name, [fit for fits, _ in parts for fit in fits], truth)
    table(list(lines[0]), [list(line.values()) for line in lines])
    source = [line for line in lines if not line["parameter"].startswith(BACKGROUND)]
    bench.save(
        row,
        max(abs(line["interval %"] - ONE_SIGMA) for line in source),
        "largest |coverage − 68.3|, %",
        3.0,
        note=f"{note}, backgrounds drawn from their limits; {n} fits, source parameters",
        spectra=n,
        parameters=lines,
    )


def _coverage(
    bench: Bench, n: int, names: Sequence[str], changes: Mapping[str, Any]
) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = []
    for name in names:
        paths = bench.shards(DATASETS[name.partition("_")[0]], n, max(n // 8, 1))
        truth = _joined([read_spectra(path).truth for path in paths])
        parts = bench.run(fit_shard, [(name, path, changes) for path in paths])
        lines += _covered(name, [result for part in parts for result in part], truth)
    table(list(lines[0]), [list(line.values()) for line in lines])
    return lines


def _joined(parts: Sequence[Mapping[str, Floats]]) -> dict[str, Floats]:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _covered(
    name: str, results: list[FitResult], truth: Mapping[str, Floats]
) -> list[dict[str, Any]]:
    free = results[0].free
    value = {p: np.array([r.values[p] for r in results]) for p in free}
    error = {p: np.array([r.errors[p] for r in results]) for p in free}
    nothing = np.nan, np.nan
    low = {p: np.array([r.intervals.get(p, nothing)[0] for r in results]) for p in free}
    high = {p: np.array([r.intervals.get(p, nothing)[1] for r in results]) for p in free}
    true = {p: truth[p] if p in truth else np.ones(len(results)) for p in free}
    if "apec_3.kT" in free:
        # Two like plasmas have no order: by temperature in fit and truth.
        fitted = value["apec.kT"] > value["apec_3.kT"]
        for numbers in (value, error, low, high):
            _exchange(numbers, fitted)
        _exchange(true, true["apec.kT"] > true["apec_3.kT"])
    return [
        {
            "fit": name,
            "parameter": p,
            "interval %": 100 * float(np.mean((low[p] <= true[p]) & (true[p] <= high[p]))),
            # One without an error says nothing: it does not hold the truth.
            "hessian %": 100 * float(np.mean(np.abs(value[p] - true[p]) < error[p])),
            "no error": int(np.isnan(error[p]).sum()),
            "no interval": int(np.isnan(low[p]).sum()),
        }
        for p in free
    ]


def _exchange(numbers: dict[str, Floats], swap: NDArray[np.bool_]) -> None:
    """Exchange the two plasmas of the spectra marked in `swap`."""
    for p in ("kT", "norm"):
        one, other = numbers[f"apec.{p}"], numbers[f"apec_3.{p}"]
        numbers[f"apec.{p}"] = np.where(swap, other, one)
        numbers[f"apec_3.{p}"] = np.where(swap, one, other)


ROWS: dict[str, Callable[[Bench], None]] = {
    "one_start": one_start,
    "errors": errors,
    "xspec": xspec,
    "expected_counts": expected_counts,
    "simulation": simulation,
    "systematics": systematics,
    "integrals": integrals,
    "labels": labels,
    "baseline": baseline,
    "memory": memory,
    "coverage": coverage,
    "coverage_box": coverage_box,
    "coverage_marginal": coverage_marginal,
    "minimum": minimum,
    "default_limits": default_limits,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--row", action="append", choices=ROWS, help="only this row (repeatable)")
    parser.add_argument("--scale", type=float, default=1.0, help="fraction of the spectra")
    parser.add_argument("--cores", type=int, default=2, help="processes that work")
    parser.add_argument(
        "--most", type=int, default=10_000, help="spectra of the largest set, up to 1,000,000"
    )
    parser.add_argument("--output", type=Path, default=ROOT / "results/benchmarks.json")
    arguments = parser.parse_args()
    output = arguments.output.resolve()
    # Files in config.yaml are relative to the root.
    os.chdir(ROOT)
    print(rows.machine())
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(arguments.cores)
    with (
        tempfile.TemporaryDirectory() as folder,
        ProcessPoolExecutor(arguments.cores, context, keep, (barrier,)) as pool,
    ):
        bench = Bench(pool, arguments.cores, Path(folder), output, arguments.scale, arguments.most)
        bench.run(get_ready, [(i,) for i in range(arguments.cores)])
        for name in arguments.row or ROWS:
            ROWS[name](bench)


if __name__ == "__main__":
    main()
