"""Instruments: files, exposures, several modules."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import toy
from astropy import units

import icflow
from icflow.api.instrument import engine_of
from icflow.config import AtomicData


def test_what_it_is(folder: Path) -> None:
    instrument = icflow.Instrument("resp.rmf", Path("area.arf"), exposure=10 * units.ks)
    assert instrument.module.exposure == 1e4
    np.testing.assert_allclose(instrument.edges[:, 0], toy.LOW, rtol=1e-6)
    assert engine_of(instrument, AtomicData()) is engine_of(instrument, AtomicData())


def test_what_is_wrong_with_each_spectrum_is_drawn(folder: Path) -> None:
    model = icflow.Model("powerlaw", {"powerlaw.PhoIndex": 2, "powerlaw.norm": 1.0})
    right = icflow.Instrument("resp.rmf", "area.arf", exposure=toy.EXPOSURE)
    area = {"area": [[1.0, 0.2], [41.0, 0.2]]}
    wrong = icflow.Instrument("resp.rmf", "area.arf", exposure=toy.EXPOSURE, systematics=area)
    sums = [model.fake(instrument, n=40).sum(axis=1) for instrument in (right, wrong)]
    assert sums[0].std() / sums[0].mean() < 0.005
    assert 0.05 < sums[1].std() / sums[1].mean() < 0.5


@pytest.mark.parametrize(
    ("instrument", "sentence"),
    [
        (icflow.Instrument("gone.rmf"), "gone.rmf"),
        (icflow.Instrument(None), "rmf is None; give the name of a file"),  # type: ignore[arg-type]
        (icflow.Instrument("resp.rmf", "area.arf", exposure=-1), "exposure"),
        (icflow.Instrument("resp.rmf", "area.arf", exposure=3 * units.m), "cannot be converted"),
        ([icflow.Instrument("resp.rmf")] * 2, "several instruments are named '', ''"),
    ],
)
def test_what_it_cannot_be(folder: Path, instrument: icflow.Instrument, sentence: str) -> None:
    with pytest.raises(icflow.IcflowError, match=sentence):
        engine_of(instrument, AtomicData())
