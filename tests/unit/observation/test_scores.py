"""Scores of an observed spectrum among those of simulated ones."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from astropy.table import Table
from scipy.stats import kstest

from icflow.detection.fits import Features
from icflow.observation import scores as observed_scores


def test_false_alarms_are_ranks() -> None:
    simulated = np.array([0.0, 0.0, 1.0, 2.0, np.nan])
    assert observed_scores.false_alarm(3.0, simulated) == pytest.approx(1 / 5)
    assert observed_scores.false_alarm(1.5, simulated) == pytest.approx(2 / 5)
    assert observed_scores.false_alarm(0.0, simulated) == 1.0
    assert observed_scores.false_alarm(1e-4, simulated) == pytest.approx(3 / 5), "small counts too"
    assert observed_scores.false_alarm(math.nan, simulated) == 1.0


def test_false_alarms_below_a_level_are_as_rare_as_they_should_be() -> None:
    random = np.random.default_rng(1)
    found = np.array(
        [observed_scores.false_alarm(*random.normal(size=2)[:1], random.normal(size=19))
         for _ in range(4000)]
    )  # fmt: skip
    for level in (0.05, 0.1, 0.5):
        assert np.mean(found <= level + 1e-9) == pytest.approx(level, abs=0.025)


def scores_given_fits(random: np.random.Generator, each: int) -> tuple[Any, ...]:
    """Return fits and scores of an observed spectrum, of replicas and of allowed ones.

    Fits scatter about the truth, replicas about the observed fit, and allowed spectra about
    those of the replicas. Given the fit the score does not depend on the truth; its average
    and its scatter depend on the fit.
    """
    observed = random.normal(size=(1, 5))
    drawn = observed + random.normal(size=(each, 5))
    fits = np.concatenate([observed, drawn, drawn + random.normal(size=(each, 5))])
    distance = np.sum((fits - 1) ** 2, axis=1)
    scores = -0.5 * distance + np.sqrt(distance) * random.normal(size=len(fits))
    return Features(tuple("abcde"), fits), scores, np.ones(len(fits), dtype=bool)


def test_what_is_expected_of_a_fit_leaves_false_alarms_uniform() -> None:
    random = np.random.default_rng(5)
    found: dict[str, list[float]] = {"given the fit": [], "whatever the fit": []}
    for _ in range(500):
        fits, scores, without_ic = scores_given_fits(random, 40)
        excess = observed_scores.excess_given_fits(fits, scores, without_ic, 0)
        for name, values in zip(found, (excess, scores), strict=True):
            found[name].append(observed_scores.false_alarm(values[0], values[1:41]))
    spread = {name: np.array(p) - random.random(500) / 41 for name, p in found.items()}
    assert kstest(spread["given the fit"], "uniform").pvalue > 0.05
    for level in (0.05, 0.1, 0.9):
        share = np.mean(spread["given the fit"] <= level)
        assert share == pytest.approx(level, abs=2.6 * math.sqrt(level * (1 - level) / 500))
    assert kstest(spread["whatever the fit"], "uniform").pvalue < 1e-6


def test_no_spectrum_counts_in_what_is_expected_of_it() -> None:
    fits, scores, without_ic = scores_given_fits(np.random.default_rng(6), 30)
    without_ic[-5:] = False
    plain = observed_scores.excess_given_fits(fits, scores, without_ic, 0)
    more = scores.copy()
    more[0] += 3.0
    raised = observed_scores.excess_given_fits(fits, more, without_ic, 0)
    assert raised[0] - plain[0] == pytest.approx(3.0)
    # Nor do those with IC count in what is expected of others.
    more = scores.copy()
    more[-5:] += 3.0
    other = observed_scores.excess_given_fits(fits, more, without_ic, 0)
    np.testing.assert_array_equal(other[:-5], plain[:-5])
    assert np.all(other[-5:] > plain[-5:])
    # What cannot be fitted or scored is left out, and the unit of the score does not matter.
    fits.values[3, 0] = scores[7] = np.nan
    some = observed_scores.excess_given_fits(fits, scores, without_ic, 0)
    assert np.flatnonzero(np.isnan(some)).tolist() == [3, 7]
    tenfold = observed_scores.excess_given_fits(fits, 10 * scores + 4, without_ic, 0)
    np.testing.assert_allclose(tenfold, 10 * some, rtol=1e-9)


def test_equal_scores_are_not_ranked_by_rounding() -> None:
    fits, scores, without_ic = scores_given_fits(np.random.default_rng(7), 30)
    excess = observed_scores.excess_given_fits(fits, 0 * scores - 5.32059637, without_ic, 0)
    assert observed_scores.false_alarm(excess[0], excess[1:31]) == 1.0


def test_what_fits_have_settled_is_given_too() -> None:
    table = Table({"apec.kT": [4.0, 5.0], "TBabs.nH": [0.1, 0.1], "deviate.area.0": [0.5, -0.2]})
    table["apec.kT_error"] = [0.1, 0.1]
    table.meta["free"] = ["apec.kT"]
    features = observed_scores.with_deviates(table)
    assert features.names == ("apec.kT", "deviate.area.0")
    assert features.values.tolist() == [[4.0, 0.5], [5.0, -0.2]]
    del table["deviate.area.0"]
    assert observed_scores.with_deviates(table).values.tolist() == [[4.0], [5.0]]
