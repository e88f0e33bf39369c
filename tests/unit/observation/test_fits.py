"""How far upper limits reach, where what simulations say is known."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from icflow.config import FitModel, Systematics
from icflow.engines.base import FitResult
from icflow.observation.engine import ObservedEngine
from icflow.observation.fits import UPPER_90, Profile
from icflow.observation.simulations import Draws

# By how much C rises in one of ten spectra simulated where the observed one has risen by so much.
HIDDEN = {UPPER_90: 1.2, 10.0: 8.0, 30.0: 45.0, 100.0: 60.0, 300.0: 60.0}


class Told(Profile):
    """A profile in which C rises by as much as the value."""

    def interval(self, fit: FitResult, delta: float) -> tuple[float, float]:
        return 0.0, delta

    def rises(self, limit: float, number: int, draws: Draws) -> tuple[float, float]:
        return HIDDEN[limit], HIDDEN[limit] + 20


@pytest.mark.parametrize(
    ("systematics", "expected"), [(None, (1.2, 21.2)), (Systematics(background=0.1), (45.0, 65.0))]
)
def test_limits_reach_as_far_as_what_is_wrong_hides(
    systematics: Systematics | None, expected: tuple[float, float]
) -> None:
    engine = cast(ObservedEngine, SimpleNamespace(systematics=systematics))
    profile = Told(engine, FitModel(expression="apec", parameters={}), "apec.norm")
    fit: Any = None
    assert profile.upper_rises(fit, 40, Draws(1, "test")) == expected
