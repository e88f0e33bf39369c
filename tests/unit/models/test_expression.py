"""Expressions: names as PyXspec gives them, expansion into terms, errors."""

from __future__ import annotations

import pytest

from icflow.errors import IcflowError
from icflow.models.expression import parse


@pytest.mark.parametrize(
    ("text", "components", "terms"),
    [
        ("tbabs*(apec+apec)", ["TBabs", "apec", "apec_3"], ["TBabs*apec", "TBabs*apec_3"]),
        ("tbabs(apec + powerlaw)", ["TBabs", "apec", "powerlaw"], ["TBabs*apec", "TBabs*powerlaw"]),
        ("(apec+powerlaw)*TBABS", ["apec", "powerlaw", "TBabs"], ["TBabs*apec", "TBabs*powerlaw"]),
        ("apec+apec+apec", ["apec", "apec_2", "apec_3"], ["apec", "apec_2", "apec_3"]),
        ("constant*tbabs*apec", ["constant", "TBabs", "apec"], ["constant*TBabs*apec"]),
        ("powerl", ["powerlaw"], ["powerlaw"]),
    ],
)
def test_names_and_terms(text: str, components: list[str], terms: list[str]) -> None:
    expression = parse(text)
    assert [component.name for component in expression.components] == components
    assert [term.name for term in expression.terms] == terms


def test_parameters_are_in_the_order_of_xspec() -> None:
    assert list(parse("tbabs*(apec+powerlaw)").parameters) == [
        "TBabs.nH",
        "apec.kT",
        "apec.Abundanc",
        "apec.Redshift",
        "apec.norm",
        "powerlaw.PhoIndex",
        "powerlaw.norm",
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("tbabs*", "a model name is expected, found 'the end'"),
        ("tbabs*(apec", "a closing bracket is missing"),
        ("apec)", r"unexpected '\)'"),
        ("apec-apec", "'-' is not allowed"),
        ("tbabs", "holds 0 additive models"),
        ("apec*apec", "holds 2 additive models"),
        ("apecc", "unknown model 'apecc'"),
        ("pol", "it could be polconst, pollin, polpow"),
        ("mek*", "no such XSPEC model"),
        ("gsmooth*apec", "kind 'con'"),
        ("", "a model name is expected"),
    ],
)
def test_refuses(text: str, reason: str) -> None:
    with pytest.raises(IcflowError, match=reason):
        parse(text)


@pytest.mark.parametrize(
    ("short", "name"),
    [
        ("po", "powerlaw"),
        ("ga", "gaussian"),
        ("gauss", "gaussian"),
        ("bb", "bbody"),
        ("wa*po", "powerlaw"),
        ("phabs(bkn)", "bknpower"),
        ("tb*ap", "apec"),
    ],
)
def test_everyday_abbreviations(short: str, name: str) -> None:
    (term,) = parse(short).terms
    assert term.additive.definition.name == name


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("+".join(["powerlaw"] * 200), "of 399 names and signs, expected at most 250"),
        (
            "*".join(["(" + "+".join(["constant"] * 7) + ")"] * 8),
            "brackets multiply to more than 250",
        ),
        ("(" * 9999 + "powerlaw" + ")" * 9999, "of 19999 names and signs"),
    ],
)
def test_what_would_take_all_memory_is_refused(text: str, reason: str) -> None:
    with pytest.raises(IcflowError, match=reason):
        parse(text)
