"""Where fits by XSPEC end with each strategy, as the copy of its descent predicts.

    python benchmarks/strategies.py [--spectra 15] [--fits 2T_fixed label] [--config FILE ...]

No XSPEC is needed: `icflow.engines.embedded.plain` goes down as XSPEC 12.9.1
does, step by step, and is taken through what the xspec engine asks XSPEC for.
Fits of the true model (labels: of one plasma to two) to spectra of the training
datasets. Told is how far above the minimum of the embedded engine they end, and
how often C is evaluated, which is what XSPEC's time goes with.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from icflow import config as configuration
from icflow import settings as settings_of
from icflow.config import Config
from icflow.engines.base import BACKGROUND
from icflow.engines.embedded.descent import Minimum
from icflow.engines.embedded.engine import EmbeddedEngine
from icflow.engines.embedded.plain import PlainFitter
from icflow.engines.embedded.shapes import Box
from icflow.engines.xspec.worker import CRITICAL_DELTA, MOST_ROUNDS
from icflow.models.expression import parse
from icflow.models.scenario import complete
from icflow.settings import FitSettings
from icflow.statistic import Data
from icflow.typing import Booleans, Floats

CONFIG = Path(__file__).parents[1] / "config.yaml"
DATASETS = {"2T": "train_2T", "1T+IC": "train_1T+IC"}
SEED = 777


def main() -> None:
    parser = argparse.ArgumentParser(description="where fits by XSPEC end")
    parser.add_argument("--spectra", type=int, default=15, help="of each class")
    fits = ["2T_fixed", "1T+IC_fixed", "2T_free", "1T+IC_free", "label"]
    parser.add_argument("--fits", nargs="+", default=fits)
    parser.add_argument("--config", type=Path, nargs="*", default=[], help="laid over config.yaml")
    args = parser.parse_args()
    run = configuration.load(CONFIG, *args.config)
    engine = EmbeddedEngine(run.modules, run.atomic_data)
    print(
        "| fit | strategy | fits | > 1 above | > 100 above | worst | evaluations |\n|"
        + 7 * " --- |"
    )
    for name in args.fits:
        ends: dict[str, list[tuple[float, int]]] = {}
        for strategy, above, evaluations in compare(run, engine, name, args.spectra):
            ends.setdefault(strategy, []).append((above, evaluations))
        for strategy, pairs in ends.items():
            above, evaluations = np.array(pairs).T
            print(
                f"| {name} | {strategy} | {len(above)} | {np.sum(above > 1)} | "
                f"{np.sum(above > 100)} | {above.max():.2f} | {evaluations.mean():.0f} |",
                flush=True,
            )


class Xspec(PlainFitter):
    """Fits as XSPEC makes them, evaluations counted."""

    evaluations = 0

    def _metric(self, data: Data, theta: Floats) -> tuple[Floats, Floats]:
        self.evaluations += 2 * len(self.box.free)
        return super()._metric(data, theta)

    def _cstat(self, data: Data, theta: Floats) -> float:
        self.evaluations += 1
        return super()._cstat(data, theta)

    def perform(self, data: Data, theta: Floats, free: Booleans | None = None) -> Minimum:
        """Fit from some parameters, by default with all free."""
        whole = self.box
        if free is not None:
            self.box = Box(whole.free[free], whole.lower[free], whole.upper[free])
        try:
            return self._perform(data, theta.copy())
        finally:
            self.box = whole

    def settle(self, data: Data, theta: Floats, fit: Callable[[Floats], Minimum]) -> Minimum:
        """Repeat a fit until it gains nothing to speak of."""
        lower = self._cstat(data, theta)
        for _ in range(MOST_ROUNDS):
            end = fit(theta)
            gain, lower, theta = lower - end.cstat, end.cstat, end.theta
            if gain < CRITICAL_DELTA:
                break
        return end

    def strategies(self, data: Data, start: Floats, seed: Floats) -> Iterator[tuple[str, float]]:
        """Yield where each strategy ends."""
        names = [self.model.names[p] for p in self.box.free]
        source = np.array([not name.startswith(BACKGROUND) for name in names])
        # The second fit tells whether the first has converged.
        first = self.perform(data, start)
        self.perform(data, first.theta)
        yield "plain", first.cstat
        end = self.settle(
            data, start, lambda t: self.perform(data, self.perform(data, t, source).theta)
        )
        yield "thorough", end.cstat
        yield "seeded", self.settle(data, seed, lambda t: self.perform(data, t)).cstat


def compare(
    run: Config, engine: EmbeddedEngine, name: str, number: int
) -> Iterator[tuple[str, float, int]]:
    """Yield strategy, C above the minimum, and evaluations, of every spectrum."""
    settings = settings_of.label(run) if name == "label" else settings_of.baseline(run, name)
    ours = engine.task(settings.model, settings, settings.at_truth)
    plain = settings.model_copy(update={"strategy": "plain"})
    task = engine.task(plain.model, plain, plain.at_truth)
    xspec = Xspec(task.model, task.fitter.tables, plain)
    for counts, truth in spectra(run, engine, name, settings, number):
        best = ours.fit(counts, ours.fixed(truth, settings.at_truth, 0), None)
        data, _ = task.selection.data(counts, task.group_min, None)
        theta = task.model.start.copy()
        for position, value in task.fixed(truth, settings.at_truth, 0).items():
            theta[position] = value
        seed = theta.copy()
        for parameter, position in task.model.position.items():
            seed[position] = best.values[parameter]
        start = xspec._start(data, theta)
        xspec.evaluations = 0
        for strategy, cstat in xspec.strategies(data, start, seed):
            yield strategy, cstat - best.cstat, xspec.evaluations
            xspec.evaluations = 0


def spectra(
    run: Config, engine: EmbeddedEngine, name: str, settings: FitSettings, number: int
) -> Iterator[tuple[Floats, dict[str, Floats]]]:
    """Yield spectra that the model of a fit is the true one of, and their parameters."""
    simulation = settings_of.simulate(run, DATASETS["1T+IC" if "IC" in name else "2T"])
    expression = simulation.model.expression
    parameters = complete(parse(expression), simulation.model.parameters, "parameters")
    counts, truth = engine.fake(expression, parameters, SEED, simulation.dataset, range(number))
    for row in range(number):
        yield counts[row], {key: truth[key][row : row + 1] for key in settings.at_truth}


if __name__ == "__main__":
    main()
