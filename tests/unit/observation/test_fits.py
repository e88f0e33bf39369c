"""How far upper limits reach, where what simulations say is known."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from scipy.stats import norm

from icflow.config import FitModel, Systematics
from icflow.engines.base import FitResult
from icflow.observation import fits as observed_fits
from icflow.observation.engine import ObservedEngine
from icflow.observation.fits import BEYOND, UPPER_90, Limits, Profile, last_hidden
from icflow.observation.simulations import Draws
from icflow.typing import Counts, Floats

FIT: Any = None
NOTHING_KNOWN = Draws(1, "test")
WRONG = Systematics(background=0.1)


class Told(Profile):
    """A profile in which C rises by as much as the value, and what is hidden there is given."""

    # By how much C rises in one of ten spectra simulated where the observed one has risen by so
    # much, and in one of 741.
    hidden = (1.2, 8.0, 45.0, 60.0, 60.0, 60.0), (21.2, 28.0, 65.0, 900.0, 900.0, 900.0)

    def interval(self, fit: FitResult, delta: float) -> tuple[float, float]:
        return 0.0, min(delta, self.engine.range_of(self.model, self.name)[1])

    def rises(self, limit: float, number: int, draws: Draws) -> tuple[float, float]:
        place = [UPPER_90, *BEYOND].index(limit)
        return self.hidden[0][place], self.hidden[1][place]


class Normal(Profile):
    """A profile of which simulated spectra have best values this many sigma off, 5 on average."""

    def _signed_roots(self, truth: float, simulated: Counts) -> Floats:
        return np.asarray(5 * norm.ppf((np.arange(2000) + 0.5) / 2000))


def engine(systematics: Systematics | None, highest: float = 1e9) -> ObservedEngine:
    own = SimpleNamespace(
        systematics=systematics, range_of=lambda *_: (0.0, highest), fit=lambda *_: [None]
    )
    return cast(ObservedEngine, own)


def profile(kind: type[Profile], systematics: Systematics | None) -> Profile:
    return kind(engine(systematics), FitModel(expression="apec", parameters={}), "apec.norm")


def test_limits_are_where_spectra_simulated_there_say() -> None:
    assert profile(Told, None).upper_rises(FIT, 40, NOTHING_KNOWN) == (1.2, 21.2)


def test_limits_reach_as_far_as_what_is_wrong_hides() -> None:
    at_90, at_3_sigma = profile(Told, WRONG).upper_rises(FIT, 40, NOTHING_KNOWN)
    # Between the last rise that is hidden and the next: there as much is hidden as C rises.
    assert BEYOND[1] < at_90 < BEYOND[2]
    sigma = math.sqrt(at_90)
    assert sigma == pytest.approx(
        np.interp(sigma, np.sqrt(BEYOND[1:3]), np.sqrt(Told.hidden[0][2:4]))
    )
    # Rises were tried until one was not hidden, 1000.
    assert at_3_sigma == pytest.approx(900.0)


def test_limits_end_with_the_range_of_the_parameter() -> None:
    assert last_hidden([UPPER_90, 10.0, 30.0], [2.0, 12.0, 40.0]) == 40.0
    assert last_hidden([UPPER_90, 10.0], [1.0, 2.0]) == 1.0
    upper = {"90": 2.0, "3_sigma": 5.0}
    assert Limits(1.0, 0.0, 5.0, {}, upper, {}).endless
    assert not Limits(1.0, 0.0, 5.1, {}, upper, {}).endless
    tried: list[float] = []

    class Blind(Told):
        """All is hidden."""

        def rises(self, limit: float, number: int, draws: Draws) -> tuple[float, float]:
            tried.append(limit)
            return 4 * limit, 5 * limit

    model = FitModel(expression="apec", parameters={})
    blind = Blind(engine(WRONG, 50.0), model, "apec.norm")
    assert blind.upper_rises(FIT, 40, NOTHING_KNOWN) == (200.0, 250.0)
    assert tried == [UPPER_90, *BEYOND[:2], 50.0]


@pytest.mark.parametrize(
    ("systematics", "three_sigma"), [(None, 5 * 1.2816 + 3 - 1.2816), (WRONG, 5 * 3.0)]
)
def test_limits_at_three_sigma_are_as_much_wider_as_what_is_wrong_makes_them(
    systematics: Systematics | None, three_sigma: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observed_fits, "replicas", lambda *_: None)
    rises = profile(Normal, systematics).rises(1.0, 40, NOTHING_KNOWN)
    np.testing.assert_allclose(np.sqrt(rises), [5 * 1.2816, three_sigma], rtol=2e-3)
