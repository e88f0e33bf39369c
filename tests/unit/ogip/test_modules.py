"""Modules with the exposures of spectra at hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from icflow.config import Module
from icflow.errors import IcflowError
from icflow.ogip.modules import as_observed
from icflow.ogip.spectra import Recorded, SpectrumSet


def spectra(**exposures: float) -> SpectrumSet:
    """One spectrum of three channels for each module; `_` stands for no name."""
    channel = np.arange(3)
    modules = tuple(
        Recorded(channel, exposure, module=name.removeprefix("_"))
        for name, exposure in exposures.items()
    )
    counts = np.zeros((1, 3 * len(modules)), dtype=np.int32)
    return SpectrumSet(counts, np.arange(1), {}, modules, "test", "2T")


def module(name: str, exposure: float = 1e6) -> Module:
    return Module(rmf=f"{name}.rmf", exposure=exposure, name=name)


def test_the_exposure_is_that_of_the_spectra_and_all_else_of_the_instrument() -> None:
    given = [module("A"), module("B")]
    observed = as_observed(given, spectra(A=2e4, B=3e4), Path("s.pha"))
    assert [own.exposure for own in observed] == [2e4, 3e4]
    assert [own.model_copy(update={"exposure": 1e6}) for own in observed] == given


@pytest.mark.parametrize(
    ("exposures", "words"),
    [
        ({"A": 1e4}, "of the modules A, but instrument has the modules A, B"),
        ({"B": 1e4, "A": 1e4}, "of the modules B, A, but instrument has the modules A, B"),
        ({"_": 1e4}, "of a single module without name, but instrument has the modules A, B"),
    ],
)
def test_other_modules_are_refused(exposures: dict[str, float], words: str) -> None:
    with pytest.raises(IcflowError, match=rf"s\.pha: its spectra are {words}; simulate"):
        as_observed([module("A"), module("B")], spectra(**exposures), Path("s.pha"))
