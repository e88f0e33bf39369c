"""Fits by sherpa, with XSPEC's own `apec` in the form that sherpa's wrappers of it have.

Each plasma is a component of its own, whose spectrum sherpa keeps while its parameters stay.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
from peer_job import FREE, Floats, Prepared, answer, apec
from sherpa.astro import ui
from sherpa.models import ArithmeticModel, Parameter, modelCacher1d


class Apec(ArithmeticModel):
    """A plasma at a known redshift."""

    def __init__(self, name: str, redshift: float, limits: Mapping[str, Any], suffix: str) -> None:
        self.redshift = redshift
        self.kT, self.Abundanc, self.norm = (
            Parameter(name, own, low, low, high, low, high)
            for own, (low, high) in (
                ("kT", limits[f"kT{suffix}"]),
                ("Abundanc", limits["Abundanc"]),
                ("norm", limits[f"norm{suffix}"]),
            )
        )
        super().__init__(name, (self.kT, self.Abundanc, self.norm))

    @modelCacher1d
    def calc(self, pars: Any, xlo: Floats, xhi: Floats, *_: Any, **__: Any) -> Floats:
        """Return photons/cm²/s per bin."""
        kt, abundance, norm = pars
        return norm * apec(np.append(xlo, xhi[-1]), kt, abundance, self.redshift)


def prepare(job: dict[str, Any], path: str, truth: Mapping[str, float]) -> Prepared:
    """Load a spectrum and set its model."""
    logging.getLogger("sherpa").setLevel(logging.ERROR)
    ui.clean()
    ui.load_pha(path)
    ui.load_rmf(job["rmf"])
    ui.load_arf(job["arf"])
    ui.notice(*job["energies"])
    ui.set_stat("cstat")
    ui.set_method("levmar")
    one, other = (Apec(f"plasma{x}", job["redshift"], job["limits"], x) for x in ("", "_2"))
    free = dict(zip(FREE, (one.kT, one.Abundanc, one.norm, other.kT, other.norm), strict=True))
    other.Abundanc.link = one.Abundanc
    ui.set_source(one + other)

    def put(values: Mapping[str, float]) -> None:
        for name, parameter in free.items():
            parameter.val = values[name]

    def fit() -> dict[str, float]:
        put(job["start"])
        ui.fit()
        return {name: float(parameter.val) for name, parameter in free.items()}

    put(truth)
    counts = ui.get_data().eval_model_to_fit(ui.get_model())
    return np.asarray(counts, dtype=float), fit


if __name__ == "__main__":
    answer(prepare)
