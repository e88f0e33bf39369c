"""Deviates as parameters of fits: their bins beside the channels."""

from __future__ import annotations

import numpy as np
import pytest

from icflow.engines.base import FitResult
from icflow.engines.embedded.deviations import (
    MANY,
    MEASURED,
    NOTHING_WRONG,
    Deviations,
    deviates_in,
    measured,
    settled,
)
from icflow.statistic import cstat

DEVIATIONS = Deviations({"area.0": 0.5, "gain.offset": -2.0}, np.array([[1.0, 2, 3], [0, 1, 0]]))


@pytest.mark.parametrize("measurement", [0.0, -1.5])
def test_c_of_its_bin_is_the_square_of_a_deviate(measurement: float) -> None:
    counts = np.rint(measured(np.array([measurement, 0.0])))
    expected = measured(np.array([measurement + 2.0, 0.0]))
    assert cstat(counts, expected) == pytest.approx(4.0, rel=2e-3)


def test_rows_add_up_to_what_is_expected() -> None:
    rows = dict(DEVIATIONS.rows())
    assert list(rows) == [MEASURED, "deviate.area.0", "deviate.gain.offset"]
    assert list(DEVIATIONS.limits) == list(rows)
    total = rows[MEASURED] + 0.7 * rows["deviate.area.0"] - 2.0 * rows["deviate.gain.offset"]
    # The tables hold what is expected with 0.5 and -2.
    np.testing.assert_allclose(total[:3], 0.2 * np.array([1, 2, 3]))
    np.testing.assert_allclose(total[3:], measured(np.array([0.7, -2.0])))
    start, low, high = DEVIATIONS.limits["deviate.gain.offset"]
    assert low < -8 < start == -2 < 4 < high and DEVIATIONS.limits[MEASURED] == (1, 1, 1)
    assert not NOTHING_WRONG.limits and not list(NOTHING_WRONG.rows()) and not len(NOTHING_WRONG)


def test_deviates_are_no_parameters_of_the_source() -> None:
    values = {"apec.kT": 5.0, MEASURED: 1.0, "deviate.area.0": 0.5, "deviate.gain.offset": 8.0}
    free = ("apec.kT", "deviate.area.0", "deviate.gain.offset")
    given = FitResult(
        cstat=3.0, dof=7, bins=10, converged=True, starts=1, agreeing=1, iterations=1, gradient=0.0,
        values=values, errors=values, free=free, at_bound=("deviate.gain.offset",),
        covariance=np.diag([4.0, 1, 1]),
    )  # fmt: skip
    fit = settled(given, 2)
    assert (fit.bins, fit.dof, fit.free, fit.at_bound) == (8, 7, ("apec.kT",), ())
    assert fit.covariance.tolist() == [[4.0]] and set(fit.values) == set(values) - {MEASURED}
    assert deviates_in(fit.values) == {"area.0": 0.5, "gain.offset": 8.0}
    assert settled(given, 0) is given
    assert int(measured(np.zeros(1))[0]) == MANY
