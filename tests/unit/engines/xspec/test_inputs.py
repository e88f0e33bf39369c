"""The files that XSPEC reads."""

from __future__ import annotations

import pytest

from icflow.config import Instrument
from icflow.engines.xspec import inputs
from icflow.errors import IcflowError
from icflow.ogip.response import Rmf, read_rmf


def test_an_identity_needs_as_many_channels_as_bins(instrument: Instrument) -> None:
    rmf = read_rmf(instrument.rmf)
    short = Rmf(
        rmf.energy_lo[1:], rmf.energy_hi[1:], rmf.matrix[1:], rmf.channel, rmf.e_min, rmf.e_max
    )
    with pytest.raises(IcflowError, match=r"continuum: .*channels \(12\) as energy bins \(11\)"):
        inputs.identity(short, "continuum")
