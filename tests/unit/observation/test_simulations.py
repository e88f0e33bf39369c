"""How well a spectrum fits, among spectra simulated with its best fit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from icflow.engines.base import FitResult, failed_fit
from icflow.observation.simulations import UNFIT, goodness


def fits(*cstat: float) -> list[FitResult]:
    fit = failed_fit({}, (), "")
    return [replace(fit, cstat=value, status="ok") for value in cstat]


def test_goodness_is_the_fraction_that_fits_no_better() -> None:
    replicas = fits(*np.linspace(200, 300, 49))
    assert goodness(fits(250.0)[0], replicas) == 26 / 50
    assert goodness(fits(190.0)[0], replicas) == 1.0
    # The worst of all, but not by far.
    assert goodness(fits(310.0)[0], replicas) == 1 / 50


@pytest.mark.parametrize("number", [20, 100, 1000])
def test_a_spectrum_that_no_model_describes_is_told_by_few_simulations(number: int) -> None:
    replicas = fits(*np.random.default_rng(3).normal(267, 23, number))
    assert goodness(fits(267 * 50.0)[0], replicas) < UNFIT / 100
    assert goodness(fits(267 + 2 * 23.0)[0], replicas) > UNFIT
    # The chance of 5 sigma, at most that of a rank.
    assert goodness(fits(267 + 5 * 23.0)[0], replicas) < min(UNFIT, 1 / number)


def test_failed_replicas_count_as_worse() -> None:
    assert goodness(fits(1e6)[0], fits(1.0, 2.0, float("nan"))) == 2 / 4
