"""What fits with a free redshift lose where the search of the staircase is cut short.

    python benchmarks/shortcuts.py [--spectra 1000]

Spectra of both classes are fitted as always, and by searches that leave something out. Told are
the CPU time of a fit from all starts, how often C is above the lowest that any of them found, the
median and the largest of how much it is, and what of it reaches Table 1: the balanced accuracy of
the published rule (C per degree of freedom closer to 1) and of the difference in C at its best
threshold.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor

# One thread a process: read by the linear algebra libraries when numpy loads them.
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", TQDM_DISABLE="1")

import numpy as np
from engine import DATASETS, ROOT, drawn_by, engine_of, fit_settings, table
from rows import machine
from yardstick import call_of_apec

from icflow.engines.embedded.descent import Minimum
from icflow.engines.embedded.engine import EmbeddedEngine
from icflow.engines.embedded.fitting import Fitter, Outcome
from icflow.engines.embedded.redshift import FIRST_ERROR, STAIRS, RedshiftFitter
from icflow.engines.embedded.tables import View
from icflow.statistic import Data
from icflow.typing import Floats

MODELS = ("2T_free", "1T+IC_free")
BLOCK = 125  # spectra that a process fits at a time
SAME = 0.01


class FirstStart(RedshiftFitter):
    """The staircase is searched around the best redshift of the smooth tables alone."""

    def _near(self, theta: Floats, other: Floats, reach: float) -> bool:
        # Which steps are told apart at full resolution stays as it is.
        return reach > STAIRS or super()._near(theta, other, reach)


class Smooth(FirstStart):
    """No survey: the redshift is that of the smooth tables."""

    def _refine(
        self, view: View, coarse: Data, theta: Floats, reach: float, tried: list[Minimum]
    ) -> Outcome:
        outcome = self._at_redshift(view, coarse, theta, [theta])
        tried.append(outcome.best)
        return outcome


class OnePass(Smooth):
    """One survey of it, for the best minimum there, and a descent on the step that promises most.

    The survey takes no other combination of temperatures, and is not made again from where the
    descent ends.
    """

    def _refine(
        self, view: View, coarse: Data, theta: Floats, reach: float, tried: list[Minimum]
    ) -> Outcome:
        outcome = super()._refine(view, coarse, theta, reach, tried)
        (position,) = self.redshifts
        stairs = self._survey(view, outcome.shapes, outcome.best.theta, position, reach)
        lowest = int(np.argmin(stairs.cstat))
        if stairs.cstat[lowest] < outcome.best.cstat + FIRST_ERROR:
            step = self._on_step(view, outcome.best.theta, position, stairs.middle[lowest])
            tried.append(step)
        return outcome


class FirstStartEngine(EmbeddedEngine):
    fitters = Fitter, FirstStart


class OnePassEngine(EmbeddedEngine):
    fitters = Fitter, OnePass


class SmoothEngine(EmbeddedEngine):
    fitters = Fitter, Smooth


SEARCHES: dict[str, type[EmbeddedEngine]] = {
    "as always": EmbeddedEngine,
    "around the best start": FirstStartEngine,
    "one pass": OnePassEngine,
    "smooth alone": SmoothEngine,
}


def fitted(
    search: str, name: str, dataset: str, first: int, count: int
) -> tuple[Floats, int, float]:
    """Return C of some spectra, shape (count,), degrees of freedom, and CPU seconds of a fit."""
    engine, settings = engine_of(SEARCHES[search]), fit_settings(name)
    counts, truth = drawn_by(engine, dataset, first, count)
    # What all fits share is made for the first.
    for number in (1, count):
        start = time.process_time()
        fits = list(engine.fit(settings.model, settings, counts[:number], truth, settings.at_truth))
    seconds = time.process_time() - start
    return np.array([fit.cstat for fit in fits]), fits[0].dof, seconds / count


def accuracy(score: Floats, threshold: float) -> float:
    """Return the balanced accuracy where larger scores are called IC; 2T spectra come first."""
    without, with_ic = np.split(score, 2)
    return float(np.mean(without <= threshold) + np.mean(with_ic > threshold)) / 2


def main() -> None:
    """Fit, compare and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--spectra", type=int, default=1000, help="of each class")
    parser.add_argument("--cores", type=int, default=2, help="processes that work")
    arguments = parser.parse_args()
    os.chdir(ROOT)
    n = arguments.spectra
    tasks = [
        (search, name, dataset, first, min(BLOCK, n - first))
        for search in SEARCHES
        for name in MODELS
        for dataset in DATASETS.values()
        for first in range(0, n, BLOCK)
    ]
    with ProcessPoolExecutor(arguments.cores, multiprocessing.get_context("spawn")) as pool:
        found = list(pool.map(fitted, *zip(*tasks, strict=True)))
    shape = len(SEARCHES), len(MODELS), -1
    cstat = np.concatenate([values for values, *_ in found]).reshape(shape)
    dof = np.array([number for _, number, _ in found]).reshape(shape)[0, :, :1]
    seconds = np.array([each for *_, each in found]).reshape(shape).mean(axis=-1)
    above = cstat - cstat.min(axis=0)
    print(f"{machine()}; one call of apec {1e3 * call_of_apec():.2f} ms")
    lines = [
        (
            search,
            name,
            1e3 * seconds[i, j],
            100 * float(np.mean(above[i, j] >= SAME)),
            float(np.median(above[i, j])),
            float(above[i, j].max()),
        )
        for i, search in enumerate(SEARCHES)
        for j, name in enumerate(MODELS)
    ]
    table(("search", "fit", "CPU ms", f"% above {SAME}", "median", "most"), lines)
    print()
    scores = []
    for i, search in enumerate(SEARCHES):
        thermal, alternative = np.abs(cstat[i] / dof - 1)
        difference = cstat[i, 0] - cstat[i, 1]
        best = max(accuracy(difference, threshold) for threshold in difference)
        scores.append((search, accuracy(thermal - alternative, 0.0), best))
    table(("search", "closer to 1", "difference in C"), scores)


if __name__ == "__main__":
    main()
