"""Energy fluxes of models and of fits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from icflow.errors import IcflowError
from icflow.models import library
from icflow.models.expression import Term, parse
from icflow.models.inverse_compton import BINS, KEV
from icflow.models.photons import component_values, factor
from icflow.typing import Floats

# Relative step of numerical derivatives.
STEP = 1e-4


class Flux(NamedTuple):
    """An energy flux and its 1 sigma error, erg/cm²/s."""

    value: float
    error: float

    def __repr__(self) -> str:
        return f"({self.value:.4g} +/- {self.error:.2g}) erg/cm2/s"


def band_flux(
    expression: str,
    values: Mapping[str, float],
    energies: Sequence[float],
    component: str | None = None,
    absorbed: bool = True,
) -> float:
    """Return the energy flux of a model between two energies, erg/cm²/s.

    Parameters
    ----------
    values : mapping
        Every parameter.
    energies : sequence of float
        keV.
    component : str, optional
        The additive component that counts; by default all.
    absorbed : bool
        Whether multiplicative models count.

    Raises
    ------
    IcflowError
        If the model has no such component.
    """
    terms = {term.additive.name: term for term in parse(expression).terms}
    if component is not None and component not in terms:
        raise IcflowError(
            f"component is {component!r}, which {expression!r} does not have; "
            f"allowed: {', '.join(terms)}"
        )
    edges = np.geomspace(max(energies[0], 1e-3), energies[1], BINS + 1)
    middle = np.sqrt(edges[1:] * edges[:-1])
    chosen = terms.values() if component is None else [terms[component]]
    return KEV * sum(float(_photons(term, values, edges, absorbed) @ middle) for term in chosen)


def _photons(term: Term, values: Mapping[str, float], edges: Floats, absorbed: bool) -> Floats:
    """Return photons/cm²/s per bin of a term; of a norm of 0 no model is asked."""
    norm = values[f"{term.additive.name}.norm"]
    if norm == 0:
        return np.zeros(len(edges) - 1)
    parameters = component_values(term.additive, values)
    photons = norm * library.evaluate(term.additive.definition, edges, parameters)
    return photons * factor(term, values, edges) if absorbed else photons
