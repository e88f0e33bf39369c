"""The photons of a term of a model, as XSPEC's functions give them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from icflow.models import library
from icflow.models.expression import Component, Term
from icflow.typing import Floats


def component_values(component: Component, values: Mapping[str, float]) -> Floats:
    """Return the parameters of a component in XSPEC's order, without the norm."""
    return np.array([values[f"{component.name}.{p.name}"] for p in component.definition.parameters])


def factor(term: Term, values: Mapping[str, float], energies: Floats) -> Floats:
    """Return the product of the multiplicative models of a term, shape (n_bins,)."""
    product = np.ones(len(energies) - 1)
    for component in term.factors:
        product *= library.evaluate(
            component.definition, energies, component_values(component, values)
        )
    return product


def term_photons(term: Term, values: Mapping[str, float], energies: Floats) -> Floats:
    """Return the photons/cm²/s per bin of a term for norm 1, by XSPEC's functions."""
    additive = library.evaluate(
        term.additive.definition, energies, component_values(term.additive, values)
    )
    return additive * factor(term, values, energies)
