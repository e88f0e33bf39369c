"""Fits by sherpa, with XSPEC's own `apec` as a user model."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
from peer_job import FREE, Floats, Prepared, answer, apec
from sherpa.astro import ui
from sherpa.models import ArithmeticModel, Parameter


class Plasmas(ArithmeticModel):
    """Two plasmas, one abundance, at a known redshift."""

    def __init__(self, redshift: float, start: Mapping[str, float], limits: Mapping[str, Any]):
        self.redshift = redshift
        pars = []
        for name in FREE:
            par = Parameter("plasmas", name, start[name], *limits[name], *limits[name])
            setattr(self, name, par)
            pars.append(par)
        super().__init__("plasmas", tuple(pars))

    def calc(self, pars: Any, xlo: Floats, xhi: Floats, *_: Any, **__: Any) -> Floats:
        """Return photons/cm²/s per bin."""
        edges = np.append(xlo, xhi[-1])
        kt, abundance, norm, kt2, norm2 = pars
        one, other = (apec(edges, t, abundance, self.redshift) for t in (kt, kt2))
        return norm * one + norm2 * other


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
    model = Plasmas(job["redshift"], truth, job["limits"])
    ui.set_source(model)
    data = ui.get_data()

    def fit() -> dict[str, float]:
        for name in FREE:
            getattr(model, name).val = job["start"][name]
        ui.fit()
        return {name: float(getattr(model, name).val) for name in FREE}

    return np.asarray(data.eval_model_to_fit(ui.get_model()), dtype=float), fit


if __name__ == "__main__":
    answer(prepare)
