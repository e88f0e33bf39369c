"""What all engines promise of their results."""

from __future__ import annotations

import math

import pytest
from results import made_up

from icflow.engines.base import FitResult, checked


def result(cstat: float = 1.0, norm: float = 1.0) -> FitResult:
    # The error is that of a parameter at its limit.
    errors = {"powerlaw.norm": math.nan}
    return made_up(cstat=cstat, values={"powerlaw.norm": norm}, errors=errors)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_result_that_is_not_finite_is_not_ok(bad: float) -> None:
    good = result()
    assert checked(good) is good
    for refused in (checked(result(cstat=bad)), checked(result(norm=bad))):
        assert not refused.converged
        assert refused.status == "the fit gave numbers that are not finite; correct the model"
