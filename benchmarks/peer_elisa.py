"""Fits by elisa, with XSPEC's own `apec` as a model of its kind for functions in Python.

Its norm is taken out, as elisa's wrapper of XSPEC's models does, so that no difference quotient is
needed for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from elisa import Data, MaxLikeFit
from elisa.models import ParamConfig, PyAnaInt, UniformParameter
from peer_job import FREE, Floats, Prepared, answer, apec


class Apec(PyAnaInt):
    """A plasma."""

    type = "add"
    _config = (
        ParamConfig("kT", "kT", "keV", 5.0, 0.1, 60.0),
        ParamConfig("Abundanc", "Z", "", 0.5, 0.0, 5.0),
        ParamConfig("redshift", "z", "", 0.0, 0.0, 1.0, fixed=True),
        ParamConfig("norm", "K", "", 0.05, 0.0, 10.0),
    )

    @staticmethod
    def integral(egrid: Floats, params: Mapping[str, Any]) -> Floats:
        """Return photons/cm²/s per bin for norm 1."""
        values = (float(params[name]) for name in ("kT", "Abundanc", "redshift"))
        return apec(np.asarray(egrid), *values)

    @property
    def eval(self) -> Any:
        """The photons of any norm, as a function of edges and parameters."""
        of_norm_1 = super().eval

        def photons(egrid: Any, params: Mapping[str, Any]) -> Any:
            shape = {name: value for name, value in params.items() if name != "norm"}
            return params["norm"] * of_norm_1(egrid, shape)

        return jax.jit(photons)


def prepare(job: dict[str, Any], path: str, truth: Mapping[str, float]) -> Prepared:
    """Load a spectrum and set its model."""
    files = {"respfile": job["rmf"], "ancrfile": job["arf"], "spec_poisson": True}
    data = Data([job["energies"]], path, **files, name="A")
    free = {
        name: UniformParameter(name, start, *job["limits"][name])
        for name, start in job["start"].items()
    }
    shared = {"Abundanc": free["Abundanc"], "redshift": job["redshift"]}
    model = Apec(kT=free["kT"], norm=free["norm"], **shared)
    model += Apec(kT=free["kT_2"], norm=free["norm_2"], **shared)
    fit = MaxLikeFit(data, model, stat="cstat")
    helper = fit._helper
    names = helper.params_names["free"]  # in the order of FREE
    at_truth = helper.constr_arr_to_unconstr_arr(np.array([truth[name] for name in FREE]))
    counts = helper.get_sites(at_truth)["models"]["A_Non_model"]

    def run() -> dict[str, float]:
        found = fit.mle().mle
        return dict(zip(FREE, (float(found[name][0]) for name in names), strict=True))

    return np.asarray(counts), run


if __name__ == "__main__":
    answer(prepare)
