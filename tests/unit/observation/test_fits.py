"""How far upper limits reach, where what simulations say is known."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from scipy.stats import norm

from icflow.config import FitModel
from icflow.engines.base import FitResult
from icflow.observation import fits as observed_fits
from icflow.observation.engine import ObservedEngine
from icflow.observation.fits import Limits, Profile
from icflow.observation.simulations import Draws
from icflow.typing import Counts, Floats

FIT: Any = None


class Normal(Profile):
    """A profile of which simulated spectra have best values this many sigma off, normally."""

    width = 1.0

    def interval(self, fit: FitResult, delta: float) -> tuple[float, float]:
        return 0.0, delta

    def _signed_roots(self, truth: float, simulated: Counts) -> Floats:
        return np.asarray(self.width * norm.ppf((np.arange(2000) + 0.5) / 2000))


class Never(Normal):
    """One whose simulated spectra all have best values at the truth."""

    width = 0.0


@pytest.mark.parametrize(
    ("kind", "sigmas"), [(Normal, 1.2816), (Never, observed_fits.LEAST_SIGMAS)]
)
def test_limits_are_where_spectra_simulated_there_say(
    kind: type[Profile], sigmas: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observed_fits, "replicas", lambda *_: None)
    engine = cast(ObservedEngine, SimpleNamespace(fit=lambda *_: [None]))
    profile = kind(engine, FitModel(expression="apec", parameters={}), "apec.norm")
    rises = profile.upper_rises(FIT, 40, Draws(1, "test"))
    # Beyond nine tenths, the tail is that of a normal distribution.
    np.testing.assert_allclose(np.sqrt(rises), [sigmas, sigmas + 3 - 1.2816], rtol=2e-3)


def test_limits_end_with_the_range_of_the_parameter() -> None:
    upper = {"90": 2.0, "3_sigma": 5.0}
    assert Limits(1.0, 0.0, 5.0, {}, upper, {}).endless
    assert not Limits(1.0, 0.0, 5.1, {}, upper, {}).endless
