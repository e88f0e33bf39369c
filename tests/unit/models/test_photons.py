"""The photons of a term: the additive model times the multiplicative ones."""

from __future__ import annotations

import numpy as np
import pytest

from icflow.models import library
from icflow.models.expression import Term, parse
from icflow.models.photons import component_values, factor, term_photons

EDGES = np.array([1.0, 3.0, 5.0, 8.0])  # keV
# In another order than XSPEC's, and with what belongs to other terms.
VALUES = {
    "powerlaw.norm": 7.0,
    "powerlaw.PhoIndex": 2.0,
    "apec.Redshift": 0.1,
    "apec.norm": 9.0,
    "apec.Abundanc": 0.4,
    "apec.kT": 8.0,
    "constant.factor": 3.0,
    "TBabs.nH": 0.5,
}


def terms(text: str) -> list[Term]:
    return list(parse(text).terms)


def test_values_are_in_the_order_of_xspec_without_the_norm() -> None:
    (term,) = terms("apec")
    assert component_values(term.additive, VALUES).tolist() == [8.0, 0.4, 0.1]


def test_a_missing_value_is_not_guessed() -> None:
    (term,) = terms("apec")
    with pytest.raises(KeyError, match=r"apec\.Redshift"):
        component_values(term.additive, {"apec.kT": 8.0, "apec.Abundanc": 0.4})


def test_photons_are_for_norm_one() -> None:
    """An integral of E^-2 by hand."""
    (term,) = terms("powerlaw")
    np.testing.assert_array_equal(factor(term, VALUES, EDGES), np.ones(3))
    photons = term_photons(term, VALUES, EDGES)
    np.testing.assert_allclose(photons, 1 / EDGES[:-1] - 1 / EDGES[1:], rtol=1e-9)


def test_all_factors_of_a_term_are_multiplied() -> None:
    (bare,), (term,) = terms("powerlaw"), terms("constant*tbabs*powerlaw")
    absorbed = library.evaluate(term.factors[1].definition, EDGES, np.array([0.5]))
    assert 0 < absorbed[0] < absorbed[1] < absorbed[2] < 1
    np.testing.assert_allclose(factor(term, VALUES, EDGES), 3 * absorbed, rtol=1e-12)
    np.testing.assert_allclose(
        term_photons(term, VALUES, EDGES),
        3 * absorbed * term_photons(bare, VALUES, EDGES),
        rtol=1e-12,
    )


def test_factors_are_those_of_their_own_term() -> None:
    first, second = terms("constant*powerlaw+apec")
    assert factor(first, VALUES, EDGES).tolist() == [3.0, 3.0, 3.0]
    assert factor(second, VALUES, EDGES).tolist() == [1.0, 1.0, 1.0]
