"""What varies in a term."""

from __future__ import annotations

from icflow.config import Free, Link
from icflow.engines.embedded import terms
from icflow.models.expression import parse
from icflow.models.priors import Uniform
from icflow.models.scenario import complete

EXPRESSION = parse("tbabs*(apec+apec)+gaussian")
SETTINGS = complete(
    EXPRESSION,
    {
        "TBabs.nH": 0.01,
        "apec.kT": Free(free=[1.0, 9.0]),
        "apec_3.kT": Uniform(uniform=[0.5, 4.0]),
        "apec_3.Abundanc": Link(link="apec.Abundanc"),
        "apec.Abundanc": Free(free=[0.1, 2.0]),
        "gaussian.LineE": Free(free=[4.0, 8.0]),
        "gaussian.Sigma": 0.1,
    },
    "here",
)
FIRST, SECOND, LINE = EXPRESSION.terms


def test_links_vary_with_what_they_are_linked_to() -> None:
    assert terms.varying(FIRST, SETTINGS) == ["apec.kT", "apec.Abundanc"]
    assert terms.varying(SECOND, SETTINGS) == ["apec_3.kT", "apec_3.Abundanc"]
    assert terms.varying(LINE, SETTINGS) == ["gaussian.LineE"]


def test_a_plasma_has_its_table_unless_something_varies_in_front_of_it() -> None:
    assert terms.is_plasma(FIRST, SETTINGS) and not terms.is_plasma(LINE, SETTINGS)
    absorbed = SETTINGS | {"TBabs.nH": Free(free=[0.0, 1.0])}
    assert not terms.is_plasma(FIRST, absorbed)


def test_ranges_and_values() -> None:
    assert terms.bounds("apec_3.Abundanc", SETTINGS) == (0.1, 2.0)
    assert terms.bounds("gaussian.Sigma", SETTINGS) == (0.1, 0.1)
    assert terms.all_temperatures(EXPRESSION.terms, SETTINGS) == (0.5, 9.0)
    assert terms.fixed_values(LINE, SETTINGS)["gaussian.Sigma"] == 0.1
    assert "gaussian.LineE" not in terms.fixed_values(LINE, SETTINGS)
    assert terms.norm_of(SECOND) == "apec_3.norm"
    assert terms.plasma_parameters(SECOND)[2] == "apec_3.Redshift"
